"""A render as every page shows it: its card, its picture, what went wrong, the end of its log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from server.disk.errors import CroftError
from server.web.languages import say
from server.web.pages import judging, sheets, words
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import Project

FAILURES, FAILED_TASKS = 3, 100  # reasons that are told, among so many failed frames
NAMED = 8  # frames that are named for a reason
TAIL_LINES, TAIL_BYTES = 12, 2000
OPEN = ("running", "waiting", "paused")

View = Mapping[str, Any]


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
        version, file = str(view.get("version") or ""), str(view["file"])
        card["verdict"] = None
        if version and view["counts"].get("done"):
            card["verdict"] = judging.verdict(shell, call, file, f"render-{version}", key=str(view["id"]))
        card["may_priority"] = user is not None and user.at_least("supervisor")
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


def failures(shell: Shell, view: View) -> list[dict[str, Any]]:
    """What went wrong, the same for several frames said once: which, where, what to do, the log's end."""
    if not int(view["counts"].get("failed", 0)):
        return []
    job_id = str(view["id"])
    tasks, _ = shell.services.farm.tasks(job_id, 0, FAILED_TASKS, "failed")
    groups: dict[str, list[dict[str, Any]]] = {}
    for task in tasks:
        groups.setdefault(_why(task), []).append(task)
    return [failure(shell, job_id, reason, found) for reason, found in list(groups.items())[:FAILURES]]


def failure(shell: Shell, job_id: str, reason: str, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    """One reason, and the frames that failed for it."""
    first = tasks[0]
    nodes = sorted({str(one["node"]) for task in tasks for one in task.get("failures") or () if one["node"]})
    attempts = first["failures"][-1]["attempt"] if first["failures"] else 0
    return {
        "n": first["n"],
        "frames": [(frame_words(task.get("frame", task.get("frames"))), task["n"]) for task in tasks[:NAMED]],
        "more": len(tasks) - NAMED if len(tasks) > NAMED else 0,
        "tasks": [task["n"] for task in tasks],
        "nodes": words.some(nodes, 4),
        "reason": reason or say("it failed"),
        "mend": sheets.mend(first),
        "tail": tail(shell, job_id, int(first["n"]), attempts) if attempts else "",
    }


def _why(task: dict[str, Any]) -> str:
    last = task["failures"][-1] if task.get("failures") else task
    return sheets.what_failed(last)


def tail(
    shell: Shell, job_id: str, n: int, attempt: int, lines: int = TAIL_LINES, most: int = TAIL_BYTES
) -> str:
    """The end of what the renderer said at this try; '' if there is nothing of it."""
    try:
        part = shell.services.farm.log(job_id, n, attempt, -most)
    except (CroftError, OSError):
        return ""
    return "\n".join(part.text.rstrip().splitlines()[-lines:])[-most:]


def ordered(jobs: list[Any]) -> list[Any]:
    """What runs first, then what waits, then what ended, the newest first among each."""
    places = {state: place for place, state in enumerate(OPEN)}
    return sorted(jobs, key=lambda job: places.get(job.state, len(OPEN)))


def frame_words(frame: Any) -> str:
    """'7', or '1 to 24' for a film."""
    if isinstance(frame, (list, tuple)) and len(frame) == 2:
        return say("{first} to {last}", first=frame[0], last=frame[1])
    return str(frame)


def priorities(shell: Shell, project: Project | None) -> tuple[tuple[int, str], ...]:
    """What a job's priority may be, the most urgent first."""
    return shell.wording(project).offered_priorities
