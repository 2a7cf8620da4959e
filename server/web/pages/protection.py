"""A protected file on its page: what it is protected as, and how its people go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from server.disk import paths
from server.disk.encoding import quote
from server.web.languages import say
from server.web.pages import words
from server.web.pages.about import api_of
from server.web.pages.shell import Shell

if TYPE_CHECKING:
    from server.library.people import User


def section(shell: Shell, a: dict[str, Any], user: User | None) -> dict[str, Any] | None:
    """What a template shows of it; None for a file that isn't protected."""
    mark = a["protection"]
    if mark is None:
        return None
    titles = shell.titles()
    student = user is not None and user.at_least("student")
    project = quote(a["project"], safe="")
    # Where it was changed, what stands below asks for more than that.
    goes_on = student and a["status"] == "ok" and a["kind"] != "sequence" and not mark["changed"]
    owner = titles.get(a["owner"] or "", "")
    return {
        "since": since(mark, titles, shell),
        "version": mark["version"],
        "changed": mark["changed"],
        "api": api_of(a),
        "then": f"/p/{project}/asset/{{path}}" if goes_on else "",
        "unlock": shell.services.protection.may_unlock(a["address"], user),
        "whose": say("{owner} or a supervisor can do that.", owner=owner)
        if owner
        else say("A supervisor can do that."),
    }


def since(mark: dict[str, Any], titles: dict[str, str], shell: Shell) -> str:
    """'It is version 2, which Ana published today 14:05.'"""
    number = paths.version_number(mark["version"])
    who, when = titles.get(mark["who"], ""), words.when(mark["at"], shell.now())
    if mark["changed"]:
        kept = say("Version {n} stands beside it as it was published.", n=number)
        return kept if number else say("It was changed.")
    if number and who:
        return say("It is version {n}, which {who} published {when}.", n=number, who=who, when=when)
    if number:
        return say("It is version {n}, as it was published.", n=number)
    if who:
        return say("{who} protected it {when}.", who=who, when=when)
    return say("It stays as it is.")
