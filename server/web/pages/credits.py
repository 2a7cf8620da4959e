"""The credits of a project: as a page, as plain text for the end of the film, as Markdown for its page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import bottle

from server.disk.encoding import quote
from server.library.credits import Made, Roll
from server.library.projects import External
from server.web import languages
from server.web.languages import say
from server.web.pages import listing
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import Project

SHOWN = 100  # files of each type on the page; the text has them all
WEB = re.compile(r"https?://[^\s<>\"']+\Z", re.I)
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|!~+]|^\s*[-=>]|^\s*\d+(?=[.)]))", re.M)

Escape = Callable[[str], str]


def page(shell: Shell, call: Call, ident: str) -> bottle.HTTPResponse:
    """`/p/<project>/credits`."""
    project = shell.project(ident)
    roll = shell.services.credits.of(project)
    base = f"/p/{quote(ident, safe='')}"
    pages = {
        "project": f"{base}/project",
        "people": "/admin/users",
        "files": f"{listing.page_of(ident)}?owner=none",
    }
    admin = call.user is not None and call.user.at_least("admin")
    return shell.page(
        call,
        "credits.html",
        title=say("Credits of {project}", project=project.title),
        here="Credits",
        project=project,
        base=base,
        under=project.address + "/",
        roll=roll,
        made=[
            {
                "title": title,
                "rows": [(one.name, page_of(project, one), who(one)) for one in files[:SHOWN]],
                "more": max(0, len(files) - SHOWN),
            }
            for title, files in roll.made
        ],
        external=[
            {
                "name": one.name or one.description,
                "description": one.description if one.name else "",
                "licence": one.licence,
                "author": one.author,
                "origin": one.origin,
                "link": one.origin if WEB.match(one.origin) else "",
            }
            for one in roll.external
        ],
        missing=[
            (one.text, pages[one.where] if one.where != "people" or admin else "") for one in roll.missing
        ],
    )


def text(shell: Shell, call: Call, ident: str) -> bottle.HTTPResponse:
    """`/p/<project>/credits.txt`."""
    return written(call, ident, "\n".join(plain(shell.services.credits.of(shell.project(ident)))), "plain")


def markdown(shell: Shell, call: Call, ident: str) -> bottle.HTTPResponse:
    """`/p/<project>/credits.md`."""
    return written(
        call, ident, "\n".join(marked(shell.services.credits.of(shell.project(ident)))), "markdown"
    )


def written(call: Call, ident: str, body: str, kind: str) -> bottle.HTTPResponse:
    headers = {"Content-Type": f"text/{kind}; charset=utf-8", "Cache-Control": "private, no-cache"}
    if call.query.get("download"):
        name = quote(f"{ident}-credits.{'md' if kind == 'markdown' else 'txt'}", safe="")
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{name}"
    return bottle.HTTPResponse((body + "\n").encode("utf-8", "replace"), 200, headers=headers)


def page_of(project: Project, one: Made) -> str:
    return f"/p/{quote(project.ident, safe='')}/asset/{quote(project.inside(one.address), safe='/')}"


def who(one: Made, escape: Escape = str) -> str:
    """'Ana, with Ben and Cem'."""
    helped = ", ".join(map(escape, one.helped))
    if not one.by:
        return helped
    return say("{name}, with {others}", name=escape(one.by), others=helped) if helped else escape(one.by)


# ---- as text


def plain(roll: Roll) -> Iterator[str]:
    """Lines, as they may roll at the end of the film."""
    yield from (roll.title.upper(), *((roll.description, "") if roll.description else ("",)))
    for title, names in roll.roles:
        yield from ("", title, *(f"    {name}" for name in names))
    if roll.others:
        yield from ("", say("And"), *(f"    {name}" for name in roll.others))
    if roll.made:
        yield from ("", "", say("Who made what").upper())
    for title, files in roll.made:
        yield from ("", title, *(f"    {one.name}: {who(one)}" for one in files))
    if roll.external:
        yield from ("", "", say("From others").upper())
    for one in roll.external:
        yield from ("", named(one), *(f"    {line}" for line in told(one)))
    if roll.licence:
        yield from ("", "", say("Licence of the film: {licence}", licence=roll.licence))
    if roll.missing:
        yield from ("", "", say("Still missing").upper(), *(f"- {shown(one.text)}" for one in roll.missing))


def marked(roll: Roll) -> Iterator[str]:
    """The same as Markdown. What people wrote is escaped: it can't become a heading or a link by chance."""
    yield from (f"# {safe(roll.title)}", "")
    if roll.description:
        yield from (safe(roll.description), "")
    for title, names in roll.roles:
        yield from (f"## {safe(title)}", "", *(f"- {safe(name)}" for name in names), "")
    if roll.others:
        yield from (f"## {say('And')}", "", *(f"- {safe(name)}" for name in roll.others), "")
    if roll.made:
        yield from (f"## {say('Who made what')}", "")
    for title, files in roll.made:
        yield from (f"### {safe(title)}", "", *(f"- {safe(one.name)}: {who(one, safe)}" for one in files), "")
    if roll.external:
        yield from (f"## {say('From others')}", "")
    for one in roll.external:
        yield from (f"- **{safe(named(one))}**  ", *(f"  {line}  " for line in told(one, safe)))
    if roll.external:
        yield ""
    if roll.licence:
        yield from (say("Licence of the film: {licence}", licence=safe(roll.licence)), "")
    if roll.missing:
        heading = f"## {say('Still missing')}"
        yield from (heading, "", *(f"- {safe(shown(one.text))}" for one in roll.missing))


def named(one: External) -> str:
    name = one.name or one.description
    return say("{name}, by {author}", name=name, author=one.author) if one.author else name


def told(one: External, escape: Escape = str) -> Iterator[str]:
    """What is to be said of something that others made."""
    if one.name and one.description and one.description != one.name:
        yield escape(one.description).replace("\n", " ")
    if one.licence:
        yield say("Licence: {licence}", licence=escape(one.licence).replace("\n", " "))
    if one.origin:
        yield say("From: {origin}", origin=f"<{one.origin}>" if escape is safe and WEB.match(one.origin) else
                  escape(one.origin))  # fmt: skip


def shown(text: Any) -> str:
    """A sentence of the rooms below, in the reader's language."""
    return str(languages.told(text))


def safe(text: str) -> str:
    """What Markdown shows as this text. Lines stay lines."""
    return _MARKS.sub(r"\\\1", text)
