"""Home's part of the farm: what of mine failed, what of mine renders, what ends when, what is due."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from server.disk.encoding import quote
from server.disk.speech import count, say
from server.farm.statistics.deliveries import DELIVERED, MISSED, PAST, TIGHT, UNKNOWN
from server.web import due
from server.web.pages import cards, sheets, words
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import Project

FAILURES = 5  # renders of mine that failed
QUEUE = 12  # rows of what ends when
DUE = 12
LATE = (PAST, MISSED, UNKNOWN, TIGHT)

VERDICTS = {  # of a delivery: glyph and colour role, word
    "past": ("failed", say("Late")),
    "missed": ("failed", say("Will be late")),
    "unknown": ("needs", say("Nobody can say")),
    "tight": ("needs", say("Tight")),
    "safe": ("done", say("In time")),
    "nothing": ("waiting", say("Not rendering")),
    "delivered": ("done", say("Delivered")),
}


def failures(shell: Shell, call: Call, project: Project) -> list[dict[str, Any]]:
    """Each render of mine that has a failure: frame, computer, file, and one thing to do. Supervisors see
    everybody's."""
    user = call.user
    if user is None or not user.at_least("student"):
        return []
    now = shell.now()
    whose = "" if user.at_least("supervisor") else user.ident
    found = shell.services.farm.figures.failures(whose, project.ident, FAILURES)
    return [{**failure(one, now), "who": "" if one["user"] == user.ident else one["user"]} for one in found]


def failure(one: dict[str, Any], now: datetime.datetime) -> dict[str, Any]:
    """One in words, with its button."""
    base = f"/p/{quote(str(one['project']), safe='')}/job/{quote(one['job'])}"
    n, failed = one["n"], int(one["count"])
    again = None
    if one["final"] and n is not None:
        tasks = [n] if failed == 1 else "failed"
        again = {
            "label": say("Try {what} again", what=one["words"])
            if failed == 1
            else say("Try all {n:,} failed frames again", n=failed),
            "act": f"POST /api/jobs/{quote(one['job'])}/requeue",
            "body": json.dumps({"tasks": tasks}),
            "undo": "",
            "undo_body": "",
        }
    return {
        "key": one["job"],
        "text": sheets.in_peoples_words(one["sentence"]),
        "to_do": sheets.in_peoples_words(one["to_do"]),
        "more": count("{n} more frame of it failed.", "{n} more frames of it failed.", failed - 1)
        if failed > 1
        else "",
        "note": "" if one["final"] else say("It is tried again by itself."),
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
            "end": words.capital(said.removeprefix("done ")) if said else sheets.because(view, titles),
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
        "end": words.capital(words.done_between(one["ends"], now)),
        "late": one["late"],
    }
