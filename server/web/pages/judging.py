"""What is said of a rendered version, and the buttons that say it, on whichever page it stands."""

from __future__ import annotations

from typing import Any

from server.disk import paths
from server.disk.encoding import quote
from server.library.versions.judged import APPROVED, REJECTED
from server.web.languages import say
from server.web.pages.shell import Shell
from server.web.requests import Call

Thing = dict[str, Any]


def may(shell: Shell, call: Call, address: str) -> bool:
    """Whether who looks may approve and reject this file's versions."""
    projects, index = shell.services.projects, shell.services.store.index
    return projects.may_approve(projects.of(address), index.get(address), call.user)


def verdict(
    shell: Shell, call: Call, address: str, ident: str, said: str | None = None, key: str = ""
) -> Thing:
    """What the macro of this name shows of a version, by its id in the API. `said`: approved, rejected or
    nothing, where that is known; `key` tells it from another place of the same page."""
    version = ident.removeprefix("render-")
    if said is None:
        said = shell.services.judged.of(address).get(version, "")
    return {
        "key": key or ident,
        "title": say("Version {n}", n=paths.version_number(version) or 0),
        "said": said,
        "word": word(said),
        "call": f"PATCH /api/assets/{quote(address, safe='/:')}/versions/{quote(ident, safe='')}"
        if may(shell, call, address)
        else "",
    }


def word(said: str) -> tuple[str, str] | None:
    """Glyph and word."""
    if said == APPROVED:
        return ("done", say("Approved"))
    return ("failed", say("Rejected")) if said == REJECTED else None
