"""Home's part of the farm: what of mine failed, what of mine renders, what ends when, what is due."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from server.disk.encoding import quote
from server.farm.statistics.deliveries import DELIVERED, MISSED, PAST, TIGHT, UNKNOWN
from server.web import due
from server.web.pages import cards, sheets, words
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import Project

FAILURES = 5  # renders of mine that failed
RENDERS = 3  # cards
QUEUE = 12  # rows of what ends when
DUE = 12
LATE = (PAST, MISSED, UNKNOWN, TIGHT)

VERDICTS = {  # of a delivery: glyph and colour role, word
    "past": ("failed", "Late"),
    "missed": ("failed", "Will be late"),
    "unknown": ("needs", "Nobody can say"),
    "tight": ("needs", "Tight"),
    "safe": ("done", "In time"),
    "nothing": ("waiting", "Not rendering"),
    "delivered": ("done", "Delivered"),
}


def failures(shell: Shell, call: Call, project: Project) -> list[dict[str, Any]]:
    """Each render of mine that has a failure: frame, computer, file, and one thing to do."""
    if call.user is None:
        return []
    now = shell.now()
    found = shell.services.farm.figures.failures(call.user.ident, project.ident, FAILURES)
    return [failure(one, now) for one in found]


def failure(one: dict[str, Any], now: datetime.datetime) -> dict[str, Any]:
    """One in words, with its button."""
    base = f"/p/{quote(str(one['project']), safe='')}/job/{quote(one['job'])}"
    n, count = one["n"], int(one["count"])
    again = None
    if one["final"] and n is not None:
        what = one["words"] if count == 1 else f"all {count:,} failed frames"
        tasks = [n] if count == 1 else "failed"
        again = {
            "label": f"Try {what} again",
            "act": f"POST /api/jobs/{quote(one['job'])}/requeue",
            "body": json.dumps({"tasks": tasks}),
            "undo": "",
            "undo_body": "",
        }
    return {
        "key": one["job"],
        "text": sheets.in_peoples_words(one["sentence"]),
        "to_do": sheets.in_peoples_words(one["to_do"]),
        "more": f"{words.number(count - 1, 'more frame')} of it failed." if count > 1 else "",
        "note": "" if one["final"] else "It is tried again by itself.",
        "when": words.when(one["at"], now),
        "page": base if n is None else f"{base}/frame/{n}",
        "again": again,
    }


def queue(shell: Shell, project: Project, user: str) -> list[dict[str, Any]]:
    """What is rendered in the project, the soonest end first; what has none stands last, with why."""
    farm, now, titles = shell.services.farm, shell.now(), shell.titles()
    jobs = [job for job in farm.jobs(project=project.ident) if job.state in cards.OPEN]
    rows = []
    for job in by_end(shell, jobs)[:QUEUE]:
        view = farm.view(job)
        said = words.done_between(view.get("ends"), now)
        stuck = view["state"] == "running" and view.get("why")  # begun, but nobody works on it just now
        state = "waiting" if stuck else view["state"]
        glyph, word = words.JOB_STATES.get(state, ("waiting", state))
        who = str(view.get("user") or "")
        rows.append({
            "key": view["id"],
            "name": view["name"],
            "page": f"/p/{quote(project.ident, safe='')}/job/{quote(view['id'])}",
            "glyph": glyph, "word": word,
            "who": titles.get(who, who),
            "mine": who == user and bool(who),
            "progress": sheets.progress(view),
            "end": said.removeprefix("done ").capitalize() if said else sheets.because(view, titles),
            "known": bool(said),
        })  # fmt: skip
    return rows


def by_end(shell: Shell, jobs: list[Any]) -> list[Any]:
    """The soonest end first; those of which it isn't known last, the oldest first."""
    found = {job.id: shell.services.farm.forecast.of(job.id) for job in jobs}

    def order(job: Any) -> tuple[float, str]:
        end = found[job.id]
        return (end.likely if end is not None else float("inf"), str(job.record.get("created") or ""))

    return sorted(jobs, key=order)


def deliveries(shell: Shell, project: Project) -> list[dict[str, Any]]:
    """What is to be delivered and isn't yet, the soonest first."""
    now = shell.now()
    found = [one for one in due.of_project(shell.services, project) if one["verdict"] != DELIVERED]
    return [delivery(shell, project, one, now) for one in found[:DUE]]


def late(shell: Shell, projects: Sequence[Project]) -> list[dict[str, Any]]:
    """What the present queue will not bring by its day, or not surely, of several projects."""
    now = shell.now()
    found = [
        (one["until"], project, one)
        for project in projects
        for one in due.of_project(shell.services, project)
        if one["verdict"] in LATE
    ]
    found.sort(key=lambda row: row[0])
    return [delivery(shell, project, one, now) for _, project, one in found[:DUE]]


def delivery(shell: Shell, project: Project, one: dict[str, Any], now: datetime.datetime) -> dict[str, Any]:
    """One in words."""
    glyph, word = VERDICTS[one["verdict"]]
    inside = quote(project.inside(one["address"]), safe="/")
    return {
        "key": one["address"],
        "name": one["name"],
        "page": f"/p/{quote(project.ident, safe='')}/asset/{inside}",
        "owner": shell.titles().get(one["owner"] or "", one["owner"] or ""),
        "day": words.day(one["due"], now),
        "glyph": glyph,
        "word": word,
        "text": sheets.in_peoples_words(one["text"]),
        "end": words.done_between(one["ends"], now).capitalize(),
        "late": one["late"],
    }
