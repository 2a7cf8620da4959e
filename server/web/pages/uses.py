"""'Uses' and 'Used by' on a file's page, each a link, what is missing marked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from server.disk import paths
from server.disk.encoding import quote
from server.disk.errors import CroftError
from server.disk.speech import say as say_later
from server.disk.speech import together
from server.web.languages import say
from server.web.pages import words
from server.web.pages.shell import Shell

if TYPE_CHECKING:
    from server.library.projects import Project

SHOWN = 30  # of each list
KINDS = {
    "library": say_later("linked scene"),
    "image": "picture",
    "sound": "sound",
    "film": "film",
    "font": "font",
    "cache": "cache",
    "volume": "volume",
    "text": "text",
    "asset": say_later("waits for it"),
}
STATES = {
    "ok": ("done", "there"),
    "missing": ("failed", "missing"),
    "absolute": ("needs", say_later("by one computer’s path")),
    "outside": ("needs", say_later("on one computer alone")),
}


def section(shell: Shell, a: dict[str, Any], project: Project) -> dict[str, Any]:
    """What a template shows of who uses what; hints say where a missing file may be."""
    found = sorted(a["uses"], key=lambda use: (use["status"] == "ok", use["path"]))
    dependencies = shell.services.dependencies
    uses = []
    for use in found[:SHOWN]:
        glyph, word = STATES[use["status"]]
        hint = ""
        if use["status"] == "missing" and use["address"]:
            hint = dependencies.hints.of(dependencies, use["address"]).text
        place = use["address"] or ""
        uses.append(
            {
                "name": paths.name_of(place) if place else use["path"],
                "url": page_of(shell, place),
                "path": inside(place, project) if place else "",
                "kind": KINDS.get(use["kind"], "file"),
                "glyph": glyph,
                "word": word,
                "hint": hint,
            }
        )
    users = [
        {"name": paths.name_of(place), "url": page_of(shell, place), "path": inside(place, project)}
        for place in a["used_by"][:SHOWN]
    ]
    waiting = a["waited_for_by"]
    return {
        "uses": uses,
        "more_uses": len(found) - SHOWN,
        "uses_words": words.number(len(found), "file"),
        "users": users,
        "more_users": len(a["used_by"]) - SHOWN,
        "waited": say("Waited for by {waiting}.", waiting=waiting) if waiting else "",
        "risen": a["true_priority"] > a["priority"],
    }


def warnings(shell: Shell, address: str) -> list[str]:
    """What the render box says before anything is rendered."""
    found = shell.services.farm.check("", {"file": address})["notices"]
    said = [together([notice["text"], notice["todo"]]) for notice in found if told(notice)]
    if len(said) > 5:
        said = [*said[:4], say("And {said} more like this.", said=len(said) - 4)]
    return said


def told(notice: dict[str, Any]) -> bool:
    """Does the render box of a file say this? What is refused it finds out by itself."""
    return bool(notice["severity"] != "note" and notice["kind"] != "refused")


def page_of(shell: Shell, address: str) -> str:
    """The page of a file; '' where there is none."""
    if not address or shell.services.store.index.get(address) is None:
        return ""
    try:
        project = shell.services.projects.of(address)
    except CroftError:
        return ""
    if project is None:
        return ""
    return f"/p/{quote(project.ident, safe='')}/asset/{quote(project.inside(address), safe='/')}"


def inside(address: str, project: Project) -> str:
    """Where a file lies: within the project, else within its share."""
    if paths.within(address, project.address):
        return project.inside(address)
    return address.partition(paths.SEPARATOR)[2]
