"""The page where files are dropped: what waits, what was read from it, where it is to go, and Add."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import bottle

from server.disk import paths
from server.disk.encoding import quote
from server.disk.speech import say as say_later
from server.library.uploads import limits
from server.web.languages import count, say
from server.web.pages import asset, content, listing, words
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import Project
    from server.library.uploads import Upload

Thing = dict[str, Any]

SHOWN = 100  # files with their fields; the rest is counted
ADDED_SHOWN = 12
FOLDERS_OFFERED = 500
USES_SHOWN = 6
SEQUENCE_LEAST = 3  # numbered pictures that are shown as one
SPAN_MOST = 20_000  # of their numbers that is looked through for gaps
ORDER = ("same", "needs", "ready", "checking", "receiving", "expired")
GLYPHS = {
    "same": ("waiting", say_later("There already")),
    "needs": ("needs", say_later("Needs you")),
    "ready": ("done", say_later("Ready")),
    "checking": ("running", say_later("Looking into it")),
    "receiving": ("waiting", say_later("Not here yet")),
    "expired": ("needs", say_later("Waited too long")),
}


def page(shell: Shell, call: Call, rows: listing.Listing, ident: str) -> bottle.HTTPResponse:
    """`/p/<project>/drop`."""
    services = shell.services
    project = shell.project(ident)
    user = call.require("student")
    everything = services.uploads.waiting(user)
    mine = [upload for upload in everything if upload.project == ident]
    views = services.uploads.views(mine)
    ordered = sorted(gathered(mine, views), key=lambda view: ORDER.index(standing(view)))
    ready = [view["id"] for view in views if standing(view) == "ready"]
    wording = shell.wording(project)
    told, said = listing.upload_limits(services.settings)
    return shell.page(
        call,
        "drop.html",
        title=say("Drop files into {project}", project=project.title),
        here="Files",
        project=project,
        mine=f"{user.ident}/",
        under=project.address + "/",
        folder=shell.folder_for_people(project.address),
        limits=told,
        limits_words=said,
        kinds=" ".join(limits.endings(services.settings)) or say("every kind"),
        folders=folders_of(shell, project),
        into=rows.drop_folder(project),
        projects=[(one.ident, one.title) for one in services.projects.list()],
        types=[(kind.ident, kind.title) for kind in wording.offered_types],
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


def gathered(uploads: list[Upload], views: list[Thing]) -> list[Thing]:
    """The views, numbered pictures of one folder as one; those that need their person stay apart."""
    groups: dict[tuple[str, str], list[tuple[int, Thing]]] = {}
    for upload, view in zip(uploads, views, strict=True):
        if upload.numbered and view["there"] is None and standing(view) in ("ready", "checking", "receiving"):
            key, number = upload.numbered
            groups.setdefault((upload.folder, key), []).append((number, view))
    found = {view["id"]: view for view in views}
    for members in groups.values():
        if len(members) < SEQUENCE_LEAST:
            continue
        members.sort(key=lambda member: member[0])
        for _, view in members:
            del found[view["id"]]
        first = members[0][1]
        found[first["id"]] = {**first, "state": as_one(members), "members": members}
    return list(found.values())


def as_one(members: list[tuple[int, Thing]]) -> str:
    """Where a sequence stands: as the last of its pictures."""
    states = {view["state"] for _, view in members}
    return next(state for state in ("receiving", "checking", "ready") if state in states)


def sequence(members: list[tuple[int, Thing]]) -> Thing:
    """What the page says of numbered pictures together."""
    numbers = [number for number, _ in members]
    missing = sorted(set(range(numbers[0], min(numbers[-1], numbers[0] + SPAN_MOST))) - set(numbers))
    here = sum(view["state"] == "ready" for _, view in members)
    told = [
        (
            say("Pictures"),
            words.figure(len(members))
            if here == len(members)
            else count("{here:,} of {n} is here", "{here:,} of {n} are here", len(members), here=here),
        ),
        (say("Numbers"), say("{first} to {last}", first=numbers[0], last=numbers[-1])),
        (say("Missing"), content.missing(ranges(missing))),
        (say("Size"), words.size(sum(view["size"] for _, view in members))),
    ]
    middle = members[len(members) // 2][1]
    return {
        "name": say("{first} to {last}", first=members[0][1]["name"], last=members[-1][1]["name"]),
        "about": [(word, value) for word, value in told if value],
        "picture": middle["picture"] or members[0][1]["picture"],
        "url_add": json.dumps({"ids": [view["id"] for _, view in members]}),
        "count": len(members),
        "ids": " ".join(view["id"] for _, view in members),
    }


def ranges(numbers: list[int]) -> str:
    """'4,9-12' of the numbers in their order."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1][-1:] = [number] if len(runs[-1]) > 1 else [runs[-1][0], number]
        else:
            runs.append([number])
    return ",".join("-".join(str(number) for number in run) for run in runs)


def row(shell: Shell, view: Thing) -> Thing:
    """An upload as the page shows it."""
    state = standing(view)
    there = view["there"]
    facts = {key: view[key] for key in ("size", "kind", "named")} | {"modified": None, "creator": ""}
    members = view.get("members")
    percent = 100 * view["offset"] // view["size"] if view["size"] else 100
    shown = {
        **view,
        "count": 1,
        "ids": view["id"],
        "state": state,
        "mark": GLYPHS[state],
        "api": f"/api/uploads/{quote(view['id'])}{'?sequence=true' if members else ''}",
        "url_add": json.dumps({"ids": [view["id"]]}),
        "about": [*asset.in_words(shell, facts, view["facts"]), *used(view["facts"])],
        "as_version": json.dumps({"name": view["copy_of"], "choice": "version"}),
        "percent": percent,
        "scene": view["kind"] == "scene",
        "asset": view["kind"] in ("scene", "film", "sequence"),
        "no_camera": view["facts"].get("camera") is False,
        "there_words": there_words(shell, there) if there else "",
        "rename": json.dumps({"name": there["free"]}) if there and there["free"] else "",
        "back": json.dumps({"name": view["name"], "choice": ""}),
    }
    if members:
        about = [pair for pair in asset.in_words(shell, facts, view["facts"]) if pair[0] != "Size"]
        together = sequence(members)
        shown |= {**together, "about": [*together["about"], *about]}
    return shown


def used(facts: Thing) -> list[tuple[str, str]]:
    """What a scene names besides itself: other scenes, textures, and what only one computer finds."""
    uses = [use for use in facts.get("uses") or [] if isinstance(use, dict) and not use.get("packed")]

    def few(found: list[Thing]) -> str:
        return words.some([str(use.get("path")) for use in found], USES_SHOWN)

    told = [
        (say("Links ‹scenes›"), few([use for use in uses if use.get("kind") == "library"])),
        (say("Uses"), few([use for use in uses if use.get("kind") != "library"])),
        (say("Only found on one computer"), few([use for use in uses if use.get("absolute")])),
    ]
    return [(word, value) for word, value in told if value]


def there_words(shell: Shell, there: Thing) -> str:
    """'fox.blend is there already: Ana's, 12 MB, changed today 14:05.'"""
    if there["folder"]:
        return say("A folder named {name} is there already.", name=there["name"])
    whose = shell.titles().get(there["owner"], "")
    told = [say("{user}’s", user=whose) if whose else "", words.size(there["size"])]
    told.append(say("changed {when}", when=words.when(there["modified"], shell.now())))
    said = ", ".join(part for part in told if part)
    if there["same"]:
        return say("The same is there already ({name}, {said}).", name=there["name"], said=said)
    return say("{name} is there already: {said}.", name=there["name"], said=said)


def added(shell: Shell, upload: Upload) -> Thing:
    """One that was added lately."""
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
        return say("Drop a scene, pictures or a whole folder, look them over, then press Add.")
    states = ["needs" if state == "same" else state for state in states]
    n = {state: states.count(state) for state in states}
    said = {
        "ready": words.number(n.get("ready", 0), "ready", "ready"),
        "needs": words.number(n.get("needs", 0), "needs you", "need you"),
        "checking": words.number(n.get("checking", 0), "being looked into", "being looked into"),
        "receiving": words.number(n.get("receiving", 0), "not here yet", "not here yet"),
    }
    parts = [text for state, text in said.items() if state in n]
    if not parts:
        return count("{n} file waits.", "{n} files wait.", len(states))
    return count("{n} file waits: {how}.", "{n} files wait: {how}.", len(states), how=", ".join(parts))


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
            "words": count(
                "{n} file for {project}", "{n} files for {project}", n, project=titles.get(one, one)
            ),
        }
        for one, n in sorted(counts.items())
    ]
