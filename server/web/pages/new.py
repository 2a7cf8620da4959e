"""New: a file from its type's template. Name and type are all it takes; the rest is for who wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bottle

from server.disk.encoding import quote
from server.disk.errors import CroftError
from server.disk.speech import key, say
from server.library.creation import LOADS_MOST
from server.web.pages.shell import Shell, all_values
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import AssetType

COMP = "comp"
ABOUT = {  # of the types that come with Croft
    "char": key("Somebody who acts in the film."),
    "prop": key("A thing that is used or stands around."),
    "set": key("A place where shots happen."),
    "shot": key("A piece of the film, seen by one camera."),
    "comp": key("Puts rendered pictures together."),
    "video": key("The film itself, cut from its shots."),
    "mat": key("Materials that several files share."),
    "ani": key("Movements that several shots share."),
    "other": key("Whatever is none of these."),
}


def page(shell: Shell, call: Call, ident: str) -> bottle.HTTPResponse:
    """The form. `?type=` and `?of=` (files that a composite loads) come from other pages."""
    user = call.require("student")
    project = shell.project(ident)
    words = shell.wording(project)
    chosen = [(one, name) for one in all_values(call, "of") or [] if (name := name_of(shell, one))]
    types = [kind for kind in words.offered_types if not chosen or kind.ident == COMP]
    types = types or list(words.offered_types)
    asked = call.query.get("type") or (COMP if chosen else "")
    first = next((kind.ident for kind in types if kind.ident in (asked, "shot")), words.default_type)
    loadable = [] if chosen else shell.services.creation.loadable(project)
    picked = asked if any(kind.ident == asked for kind in types) else first
    width, height = words.resolution
    return shell.page(
        call,
        "new.html",
        title=say("New file"),
        here="Files",
        project=project,
        types=[shown(kind) for kind in types],
        picked=picked,
        size=f"{width} × {height}" if width else "",
        chosen=chosen[:LOADS_MOST],
        loads_most=LOADS_MOST,
        offered=[(one, name_of(shell, one)) for one in loadable],
        comp=COMP,
        people=sorted(shell.titles().items(), key=lambda pair: pair[1].casefold()),
        mine=user.ident,
        folder=shell.folder_for_people(project.address),
        names=f"/api/projects/{quote(project.ident, safe='')}/file_name",
    )


def shown(kind: AssetType) -> dict[str, Any]:
    return {"ident": kind.ident, "title": kind.title, "about": ABOUT.get(kind.ident, "")}


def name_of(shell: Shell, address: str) -> str:
    """What a file is called; '' where there is none."""
    try:
        return str(shell.services.assets.view(shell.services.assets.get(address))["name"])
    except CroftError:
        return ""
