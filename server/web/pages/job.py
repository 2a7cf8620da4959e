"""The page of one render: its film, its sheet, what went wrong, what it takes, why it waits."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import bottle

from server.disk import paths
from server.disk.errors import NotFound
from server.disk.speech import say as say_later
from server.farm.jobs import inputs
from server.web import requests
from server.web.languages import count, say
from server.web.pages import elsewhere, notes, sheets
from server.web.pages.cards import OPEN, View, cards, failures, priorities, scene_of
from server.web.pages.film import film
from server.web.pages.shell import Shell
from server.web.requests import Call

TASKS = 48  # rows of the table, two seconds of film
WHY_NODES = 40  # computers that are told of one by one
LISTS = (
    ("all", say_later("All ‹frames›")),
    ("failed", say_later("Failed ‹frames›")),
    ("claimed", say_later("Rendering ‹frames›")),
    ("waiting", say_later("Waiting")),
)
ONWARD = (
    ("after", '{"after": []}', say_later("Don’t wait for the other render")),
    ("start", '{"start_after": null}', say_later("Begin now")),
)


def page(shell: Shell, call: Call, ident: str, job_id: str) -> bottle.HTTPResponse:
    """`/p/<project>/job/<id>`; `?frame=12` shows that frame, `?why=1` what each computer says to it,
    `?list=failed&from=48` which frames the table holds."""
    farm = shell.services.farm
    project = shell.project(ident)
    view = farm.view(farm.job(job_id))
    if view["project"] != ident:
        raise NotFound("There is no such render in {project}.", project=project.title)
    start = requests.number(call.query, "from", 0, 0, 10**9)
    listed = call.query.get("list", "")
    listed = listed if listed in dict(LISTS) else ""
    tasks, total = farm.tasks(job_id, start, TASKS, listed.removeprefix("all")) if listed else ([], 0)
    fps, _ = scene_of(shell, view)
    job = {**cards(shell, call, [view])[0], "where_words": elsewhere.of_job(view)}
    if view.get("changes") and view["why"] == inputs.sentence(view["changed"]):
        job["why"] = ""  # said of each file, with the frames that had it as it was
    shown = film(shell, call, view, fps=fps, may=job["may"])
    talk = notes.section(
        shell, call, project, str(view["file"]), shown, str(view.get("version") or ""), only=True
    )
    return shell.page(
        call,
        "job.html",
        title=say("{name}, rendered", name=view["name"]),
        here="Rendering",
        project=project,
        job=job,
        why=why(shell, call, view),
        onward=onward(shell, view) if job["may"] else [],
        priorities=priorities(shell, project),
        film=shown,
        talk=talk,
        file=str(view["file"]),
        failed=failures(shell, view),
        statistics=sheets.sums(view),
        advice=[sheets.in_peoples_words(text) for text in farm.advice(job_id)],
        folder=shell.folder_for_people(place) if (place := frames_folder(view)) else "",
        tasks=sheets.rows(ident, job_id, tasks),
        listed=listed,
        lists=lists(view, listed),
        more=address(call, **{"from": str(start + TASKS)}) if start + TASKS < total else "",
    )


def frames_folder(view: View) -> str:
    """The address of the folder of its frames: its version's, or where the scene itself says."""
    newest = view.get("newest")
    return str(view.get("folder") or (paths.folder_of(newest["image"]) if newest else ""))


def why(shell: Shell, call: Call, view: View) -> dict[str, Any] | None:
    """What each computer says to a render that waits, where the page's address asks for it."""
    if not view.get("why") or view["state"] not in ("waiting", "running"):
        return None
    if call.query.get("why") != "1":
        return {"open": False, "url": address(call, why="1")}
    found: dict[str, Any] = getattr(shell.services.farm, "why", lambda _: {})(str(view["id"]))
    said = sheets.in_peoples_words
    nodes = [(str(one["name"]), said(str(one["text"]))) for one in found.get("nodes") or ()]
    left = len(nodes) - WHY_NODES
    return {
        "open": True,
        "url": address(call, why=""),
        "reasons": [said(str(one["text"])) for one in found.get("reasons") or ()],
        "nodes": nodes[:WHY_NODES],
        "more": count("and {n} more computer", "and {n} more computers", left) if left > 0 else "",
    }


def onward(shell: Shell, view: View) -> list[tuple[str, str]]:
    """What has a render begin that waits for another or for its time: the change, and its words."""
    if view["state"] not in OPEN or not (view.get("after") or view.get("start_after")):
        return []
    kinds = {one["kind"] for one in shell.services.farm.why(str(view["id"])).get("reasons") or ()}
    return [(body, word) for kind, body, word in ONWARD if kind in kinds]


def lists(view: View, listed: str) -> list[tuple[str, str, bool]]:
    """Which frames the table can hold, those that there are."""
    counts = view["counts"]
    return [
        (word, f"?list={name}#each", name == listed)
        for name, word in LISTS
        if name == "all" or counts.get(name) or name == listed
    ]


def address(call: Call, **changed: str) -> str:
    """The page's own address with some of its questions changed; an empty one is left out."""
    kept = {name: value for name, value in call.query.items() if name not in ("part", "only")}
    asked = {name: value for name, value in {**kept, **changed}.items() if value}
    return "?" + urlencode(asked)
