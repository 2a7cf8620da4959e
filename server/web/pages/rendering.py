"""What renders where and until when: the page of all renders and computers, and the page of one render."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import bottle

from server.disk.encoding import quote
from server.disk.errors import CroftError, NotFound
from server.web import requests
from server.web.pages import listing, sheets, words
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import Project

CARDS = 30
TASKS = 200
FAILURES = 3  # failed frames that a card shows with their last lines
TAIL_LINES, TAIL_BYTES = 12, 2000
LOG_LINES, LOG_BYTES = 1000, 100_000  # on a frame's own page
OPEN = ("running", "waiting", "paused")

View = Mapping[str, Any]


def page(shell: Shell, call: Call, ident: str = "") -> bottle.HTTPResponse:
    """`/rendering` and `/p/<project>/rendering`."""
    farm, now = shell.services.farm, shell.now()
    project = shell.project(ident) if ident else None
    start = requests.number(call.query, "from", 0, 0, 10**9)
    found = ordered(farm.jobs(project=ident))
    views = [farm.view(job) for job in found[start : start + CARDS]]
    running = [farm.view(job) for job in found[:CARDS] if job.state == "running"]
    nodes = [computer(view, now) for view in farm.nodes()]
    supervisor = call.user is not None and call.user.at_least("supervisor")
    return shell.page(
        call,
        "rendering.html",
        title="Rendering",
        here="Rendering",
        project=project,
        figure=figure(found, running, now),
        summary=summary(farm.sums(ident), nodes),
        jobs=cards(shell, call, views),
        more=f"?from={start + CARDS}" if start + CARDS < len(found) else "",
        priorities=priorities(shell, project),
        nodes=nodes,
        farm_paused=bool(farm.paused),
        may_farm=supervisor,
        may_nodes=supervisor,
    )


def one(shell: Shell, call: Call, ident: str, job_id: str) -> bottle.HTTPResponse:
    """`/p/<project>/job/<id>`: the frames, how long they took, what went wrong."""
    farm = shell.services.farm
    project = shell.project(ident)
    view = farm.view(farm.job(job_id))
    if view["project"] != ident:
        raise NotFound(f"There is no such render in {project.title}.")
    start = requests.number(call.query, "from", 0, 0, 10**9)
    tasks, total = farm.tasks(job_id, start, TASKS)
    strip = sheets.frames(tasks)
    shown = newest_picture(strip)
    job = cards(shell, call, [view], limit=sheets.PAGE_CELLS)[0]
    return shell.page(
        call,
        "job.html",
        title=f"{view['name']}, rendered",
        here="Rendering",
        project=project,
        job=job,
        priorities=priorities(shell, project),
        frames=strip,
        picture=shown["large"] if shown else "",
        picture_words=f"Frame {shown['frame']}" if shown else "",
        no_picture="The first frame shows here as soon as it is rendered.",
        chart=sheets.chart(tasks),
        statistics=sheets.sums(view, tasks),
        folder=shell.folder_for_people(str(view["folder"])) if view.get("folder") else "",
        tasks=sheets.rows(ident, job_id, tasks),
        more=f"?from={start + TASKS}" if start + TASKS < total else "",
    )


def frame(shell: Shell, call: Call, ident: str, job_id: str, n: str) -> bottle.HTTPResponse:
    """`/p/<project>/job/<id>/frame/<n>`: one task, with its picture, its failed tries and their log."""
    farm, now = shell.services.farm, shell.now()
    project = shell.project(ident)
    view = farm.view(farm.job(job_id))
    if view["project"] != ident or not (n.isascii() and n.isdigit() and len(n) < 9):
        raise NotFound(f"There is no such frame in {project.title}.")
    task = farm.task(job_id, int(n))
    tries = [
        {
            "at": words.when(one.get("at"), now),
            "node": one.get("node"),
            "reason": sheets.reason(str(one.get("reason") or "")),
        }
        for one in task.get("failures") or []
    ]
    facts = [
        ("Computer", str(task.get("node") or "")),
        ("Time", words.duration(task.get("seconds"))),
        ("Tried", words.number(int(task.get("attempts") or 0), "time")),
    ]
    number = frame_words(task["frame"])
    return shell.page(
        call,
        "frame.html",
        title=f"Frame {number} of {view['name']}",
        here="Rendering",
        project=project,
        job=cards(shell, call, [view])[0],
        task={**sheets.rows(ident, job_id, [task])[0], **sheets.pictures(task)},
        frame=number,
        facts=[(word, value) for word, value in facts if value],
        tries=tries,
        log=tail(shell, job_id, int(n), LOG_LINES, LOG_BYTES) if tries else "",
    )


def cards(
    shell: Shell, call: Call, views: Sequence[View], limit: int = sheets.CARD_CELLS
) -> list[dict[str, Any]]:
    """Each job with all that its card shows."""
    now, titles, user = shell.now(), shell.titles(), call.user
    made = []
    for view in views:
        may = user is not None and (view.get("user") == user.ident or user.at_least("supervisor"))
        fps, thumbnail = scene_of(shell, view)
        card = sheets.card(view, now, titles=titles, may=may, fps=fps, limit=limit)
        card["thumbnail"] = frame_of(shell, view) or thumbnail
        card["may_priority"] = user is not None and user.at_least("supervisor")
        if int(view["counts"].get("failed", 0)):
            card["failures"] = failures(shell, view["id"])
        made.append(card)
    return made


def scene_of(shell: Shell, view: View) -> tuple[float, str | None]:
    """The frame rate and the picture of the file that is rendered."""
    assets = shell.services.assets
    try:
        entry = assets.get(str(view["file"]))
        fps = assets.facts(entry.address).get("fps")
        return float(fps) if isinstance(fps, (int, float)) else 24.0, assets.thumbnail_url(entry)
    except (CroftError, OSError):
        return 24.0, None  # the file was moved or deleted since


def frame_of(shell: Shell, view: View) -> str:
    """The picture of a render's newest frame, known without its tasks: an ended one's lie on the disk."""
    found = view.get("newest")
    return sheets.pictures(found)["thumbnail"] if found else ""


def failures(shell: Shell, job_id: str) -> list[dict[str, Any]]:
    """The first failed frames, each with the last lines of its log."""
    farm = shell.services.farm
    tasks, _ = farm.tasks(job_id, 0, FAILURES, "failed")
    return [
        {
            **task,
            "tail": tail(shell, job_id, int(task["n"])),
            "reason": sheets.reason(str(task.get("reason") or "")),
        }
        for task in tasks
    ]


def tail(shell: Shell, job_id: str, n: int, lines: int = TAIL_LINES, most: int = TAIL_BYTES) -> str:
    """The end of what the renderer said at the newest failed try; '' if there is nothing of it."""
    try:
        text = shell.services.farm.log(job_id, n)
    except (CroftError, OSError):
        return ""
    return "\n".join(text.rstrip().splitlines()[-lines:])[-most:]


def ordered(jobs: list[Any]) -> list[Any]:
    """What runs first, then what waits, then what ended, the newest first among each."""
    places = {state: place for place, state in enumerate(OPEN)}
    return sorted(jobs, key=lambda job: places.get(job.state, len(OPEN)))


def figure(found: list[Any], running: Sequence[View], now: datetime.datetime) -> str:
    """The one figure of the page: when all of it will be there."""
    ends = [end for view in running if (end := words.moment(view.get("estimated_end")))]
    if ends:
        return words.done_about(max(ends).isoformat(), now).capitalize()
    if running:
        return "Rendering"
    for state, word in (("waiting", "Waiting"), ("paused", "Paused")):
        if any(job.state == state for job in found):
            return word
    return "All done" if found else "Nothing to render"


def summary(sums: Mapping[str, int], nodes: list[dict[str, Any]]) -> str:
    """One sentence, also for those who hear the page."""
    busy = sum(1 for node in nodes if node["busy"])
    here = sum(1 for node in nodes if not node["away"])
    parts = []
    if sums["jobs"]:
        renders, frames = words.number(sums["jobs"], "render"), words.number(sums["total"], "frame")
        parts.append(f"{renders}: {sums['done']:,} of {frames} done")
    if sums["failed"]:
        parts.append(f"{sums['failed']:,} failed")
    if not here:
        return " · ".join(
            [*parts, "no computer is on" if nodes else "no computer has reported yet"]
        ).capitalize()
    parts.append(f"{busy} of {words.number(here, 'computer')} rendering")
    return " · ".join(parts)


def computer(view: View, now: datetime.datetime) -> dict[str, Any]:
    """A node in words."""
    state = str(view["state"])
    hardware = view.get("hardware") or {}
    memory = hardware.get("memory_mb")
    with_ = [words.number(int(hardware["cores"]), "core")] if isinstance(hardware.get("cores"), int) else []
    if isinstance(memory, (int, float)):
        with_.append(f"{memory / 1024:.0f} GB")
    doing = [
        f"{one.get('name') or 'a render'}, frame {frame_words(one.get('frame'))}"
        + (f", {float(one['progress']):.0%}" if one.get("progress") else "")
        for one in view.get("doing") or []
    ]
    return {
        "key": listing.key(str(view["name"])),
        "name": view["name"],
        "state": words.NODE_STATES.get(state, ("waiting", state)),
        "paused": state == "paused" or bool(view.get("paused")),
        "away": state == "away",
        "busy": state == "busy",
        "doing": doing[:8],
        "with_": ", ".join(with_),
        "seen": "now" if state in ("idle", "busy") else words.when(view.get("seen"), now),
        "url": "/api/nodes/" + quote(str(view["name"]), safe=""),
    }


def frame_words(frame: Any) -> str:
    """'7', or '1 to 24' for a film."""
    if isinstance(frame, (list, tuple)) and len(frame) == 2:
        return f"{frame[0]} to {frame[1]}"
    return str(frame)


def newest_picture(strip: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The last frame that has a picture."""
    return next((frame for frame in reversed(strip) if frame["thumbnail"]), None)


def priorities(shell: Shell, project: Project | None) -> list[tuple[int, str]]:
    """What a job's priority may be, the most urgent first."""
    return sorted(shell.wording(project).priorities.items(), reverse=True)
