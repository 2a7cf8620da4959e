"""The page where files are dropped: what waits, what was read from it, where it is to go, and Add."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import bottle

from server.disk import paths
from server.disk.encoding import quote
from server.library.uploads import limits
from server.web.pages import asset, listing, words
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import Project
    from server.library.uploads import Upload

Thing = dict[str, Any]

SHOWN = 100  # files with their fields; the rest is counted
ADDED_SHOWN = 12
FOLDERS_OFFERED = 500
ORDER = ("same", "needs", "ready", "checking", "receiving", "expired")
GLYPHS = {
    "same": ("waiting", "There already"),
    "needs": ("needs", "Needs you"),
    "ready": ("done", "Ready"),
    "checking": ("running", "Looking into it"),
    "receiving": ("waiting", "Not here as a whole"),
    "expired": ("needs", "Waited too long"),
}


def page(shell: Shell, call: Call, rows: listing.Listing, ident: str) -> bottle.HTTPResponse:
    """`/p/<project>/drop`."""
    services = shell.services
    project = shell.project(ident)
    user = call.require("student")
    everything = services.uploads.waiting(user)
    mine = [upload for upload in everything if upload.project == ident]
    views = services.uploads.views(mine)
    ordered = sorted(views, key=lambda view: ORDER.index(standing(view)))
    ready = [view["id"] for view in views if standing(view) == "ready"]
    wording = shell.wording(project)
    return shell.page(
        call,
        "drop.html",
        title=f"Drop files into {project.title}",
        here="Drop",
        project=project,
        mine=f"{user.ident}/",
        under=project.address + "/",
        folder=shell.folder_for_people(project.address),
        limits=json.dumps(limits.told(services.settings)),
        limits_words=listing.limits_in_words(limits.told(services.settings)),
        kinds=" ".join(limits.endings(services.settings)) or "every kind",
        folders=folders_of(shell, project),
        into=rows.drop_folder(project),
        projects=[(one.ident, one.title) for one in services.projects.list()],
        types=[(kind.ident, kind.title) for kind in wording.types.values()],
        rows=[row(shell, view) for view in ordered[:SHOWN]],
        more=len(ordered) - SHOWN,
        ready=len(ready),
        add_all=json.dumps({"ids": ready}),
        summary=summary([standing(view) for view in views]),
        elsewhere=elsewhere(shell, everything, ident),
        added=[added(shell, upload) for upload in services.uploads.added(user, ident)[:ADDED_SHOWN]],
    )


def standing(view: Thing) -> str:
    """Where an upload stands, for its person: one of ORDER."""
    if view["there"] is not None and view["there"]["same"]:
        return "same"
    if view["state"] != "ready":
        return str(view["state"])
    blocked = view["there"] is not None and view["choice"] != "version"
    return "needs" if blocked or view["why"] else "ready"


def row(shell: Shell, view: Thing) -> Thing:
    """An upload as the page shows it."""
    state = standing(view)
    there = view["there"]
    facts = {"size": view["size"], "modified": None, "creator": "", "kind": view["kind"]}
    percent = 100 * view["offset"] // view["size"] if view["size"] else 100
    return {
        **view,
        "state": state,
        "mark": GLYPHS[state],
        "api": f"/api/uploads/{quote(view['id'])}",
        "url_add": json.dumps({"ids": [view["id"]]}),
        "about": [*asset.in_words(shell, facts, view["facts"]), *in_its_name(view["named"])],
        "as_version": json.dumps({"name": view["copy_of"], "choice": "version"}),
        "percent": percent,
        "scene": view["kind"] == "scene",
        "asset": view["kind"] in ("scene", "film", "sequence"),
        "no_camera": view["facts"].get("camera") is False,
        "there_words": there_words(shell, there) if there else "",
        "rename": json.dumps({"name": there["free"]}) if there and there["free"] else "",
        "back": json.dumps({"name": view["name"], "choice": ""}),
    }


def in_its_name(named: Thing) -> list[tuple[str, str]]:
    """What the file's name says: 'shot 010, task anim, version 3'."""
    said = ", ".join(f"{field} {value}" for field, value in named.items())
    return [("Its name says", said)] if said else []


def there_words(shell: Shell, there: Thing) -> str:
    """'fox.blend is there already: Ana's, 12 MB, changed today 14:05.'"""
    if there["folder"]:
        return f"A folder named {there['name']} is there already."
    whose = shell.titles().get(there["owner"], "")
    told = [f"{whose}’s" if whose else "", words.size(there["size"])]
    told.append(f"changed {words.when(there['modified'], shell.now())}")
    said = ", ".join(part for part in told if part)
    if there["same"]:
        return f"The same is there already ({there['name']}, {said})."
    return f"{there['name']} is there already: {said}."


def added(shell: Shell, upload: Upload) -> Thing:
    """One that was added a while ago."""
    told = upload.added or {}
    address = str(told.get("address") or "")
    project = shell.services.projects.of(address)
    url = f"/p/{quote(project.ident)}/asset/{quote(project.inside(address))}" if project else ""
    return {"url": url, "name": paths.name_of(address), "message": str(told.get("message") or "")}


def folders_of(shell: Shell, project: Project) -> list[str]:
    """The folders of a project that files may go into."""
    found = []
    for address in shell.services.store.index.tree(project.address):
        inside = project.inside(address)
        if inside and not set(limits.CLOSED) & set(inside.split("/")):
            found.append(inside)
            if len(found) == FOLDERS_OFFERED:
                break
    return found


def summary(states: list[str]) -> str:
    """'5 files wait: 3 ready, 1 needs you.'"""
    if not states:
        return "Nothing waits to be added."
    states = ["needs" if state == "same" else state for state in states]
    needs = "needs you" if states.count("needs") == 1 else "need you"
    said = {"ready": "ready", "needs": needs, "checking": "being looked into", "receiving": "not here yet"}
    parts = [f"{states.count(state)} {word}" for state, word in said.items() if state in states]
    text = words.number(len(states), "file")
    return f"{text} {'waits' if len(states) == 1 else 'wait'}" + (f": {', '.join(parts)}." if parts else ".")


def elsewhere(shell: Shell, everything: list[Upload], ident: str) -> list[Thing]:
    """Other projects that files of this person wait for."""
    titles = {project.ident: project.title for project in shell.services.projects.list()}
    counts: dict[str, int] = {}
    for upload in everything:
        if upload.project != ident:
            counts[upload.project] = counts.get(upload.project, 0) + 1
    return [
        {
            "url": f"/p/{quote(one, safe='')}/drop",
            "words": f"{words.number(count, 'file')} for {titles.get(one, one)}",
        }
        for one, count in sorted(counts.items())
    ]
