"""The pages of one frame: its picture and its tries, and what its renderer said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import bottle

from server.disk.errors import NotFound
from server.web import requests
from server.web.languages import say
from server.web.pages import sheets, words
from server.web.pages.cards import cards, frame_words, tail
from server.web.pages.film import facts
from server.web.pages.shell import Shell
from server.web.requests import Call

LOG_LINES, LOG_BYTES = 40, 8_000  # on a frame's own page: all of it has a page of its own
View = Mapping[str, Any]


def page(shell: Shell, call: Call, ident: str, job_id: str, n: str) -> bottle.HTTPResponse:
    """`/p/<project>/job/<id>/frame/<n>`: one frame, with its picture, its failed tries and their log."""
    now = shell.now()
    view, task = found(shell, ident, job_id, n)
    tries = [
        {
            "at": words.when(one.get("at"), now),
            "node": one.get("node"),
            "reason": sheets.what_failed(one),
            "attempt": one.get("attempt"),
        }
        for one in task.get("failures") or []
    ]
    told = [
        (say("Computer"), str(task.get("node") or "")),
        (say("Time"), words.duration(task.get("seconds"))),
        (
            say("Memory, at most"),
            words.size(int(task["memory_mb"]) * 1_000_000) if task.get("memory_mb") else "",
        ),
        (say("Tried"), words.number(int(task.get("attempts") or 0), "time")),
    ]
    number = frame_words(task.get("frame", task.get("frames")))
    job = cards(shell, call, [view])[0]
    row = sheets.rows(ident, job_id, [task])[0]
    return shell.page(
        call,
        "frame.html",
        title=say("Frame {frame} of {name}", frame=number, name=view["name"]),
        here="Rendering",
        project=shell.project(ident),
        job=job,
        task={**row, **sheets.pictures(task)},
        frame=number,
        before=f"{job['page']}/frame/{int(n) - 1}" if int(n) > 0 else "",
        after=f"{job['page']}/frame/{int(n) + 1}" if int(n) + 1 < int(view["total"]) else "",
        facts=[(word, value) for word, value in told if value],
        tries=tries,
        mend=sheets.mend(task) if task["state"] == "failed" else "",
        log=tail(shell, job_id, int(n), int(tries[-1]["attempt"]), LOG_LINES, LOG_BYTES) if tries else "",
    )


def log(shell: Shell, call: Call, ident: str, job_id: str, n: str) -> bottle.HTTPResponse:
    """`/p/<project>/job/<id>/frame/<n>/log?attempt=2`: what the renderer said, followed while it goes on."""
    now = shell.now()
    view, task = found(shell, ident, job_id, n)
    attempt = requests.number(call.query, "attempt", 0, 0, 10**9)
    part = None
    try:
        part = shell.services.farm.log(job_id, int(n), attempt)
    except NotFound:
        if attempt:
            raise
    number = frame_words(task.get("frame", task.get("frames")))
    failed = {int(one["attempt"]): one for one in task.get("failures") or []}
    job = cards(shell, call, [view])[0]
    row = sheets.rows(ident, job_id, [task])[0]
    this = failed.get(part.attempt) if part else None
    api = f"/api/jobs/{job_id}/tasks/{n}/log?" + urlencode({"attempt": part.attempt if part else 0})
    return shell.page(
        call,
        "log.html",
        title=say("Log of frame {frame} of {name}", frame=number, name=view["name"]),
        here="Rendering",
        project=shell.project(ident),
        job=job,
        task=row,
        frame=number,
        facts=facts(task),
        log=part,
        tries=[
            (
                trying(one, failed.get(one), now),
                f"?attempt={one}",
                one == part.attempt,
            )
            for one in part.attempts
        ]
        if part
        else [],
        reason=say(
            "{reason}, on {computer}.",
            reason=words.capital(sheets.reason(str(this["reason"]))),
            computer=this["node"],
        )
        if this
        else "",
        mend=sheets.mend({**task, "reason": this["reason"]}) if this else "",
        api=api,
        raw=f"{row['page']}/log.txt?" + urlencode({"attempt": part.attempt if part else 0}),
        raw_name=say("{name} frame {frame}.txt", name=view["name"], frame=number),
        nothing=nothing(task),
    )


def raw(shell: Shell, ident: str, job_id: str, n: str, call: Call) -> bottle.HTTPResponse:
    """`…/log.txt`: the same as a file."""
    found(shell, ident, job_id, n)
    attempt = requests.number(call.query, "attempt", 0, 0, 10**9)
    text, offset = [], 0
    while True:
        part = shell.services.farm.log(job_id, int(n), attempt, offset)
        text.append(part.text)
        if part.next >= part.end or part.next <= offset:
            break
        attempt, offset = part.attempt, part.next
    headers = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "private, no-cache"}
    return bottle.HTTPResponse("".join(text).encode("utf-8", "replace"), 200, headers=headers)


def found(shell: Shell, ident: str, job_id: str, n: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The views of the job and of its task."""
    farm, project = shell.services.farm, shell.project(ident)
    view = farm.view(farm.job(job_id))
    if view["project"] != ident or not (n.isascii() and n.isdigit() and len(n) < 9):
        raise NotFound("There is no such frame in {project}.", project=project.title)
    return view, farm.task(job_id, int(n))


def trying(n: int, failure: View | None, now: Any) -> str:
    """'Try 2', 'Try 1, today 14:05 on atom-3' of one that failed."""
    if failure is None:
        return say("Try {n}", n=n)
    when = words.when(failure.get("at"), now)
    return say("Try {n}, {when} on {computer}", n=n, when=when, computer=failure.get("node"))


def nothing(task: View) -> str:
    """Why there is no log."""
    if task["state"] == "waiting":
        return say("This frame waits for a computer. Its log shows here as soon as it is rendered.")
    if task["state"] == "claimed":
        return say("The computer hasn’t said anything yet.")
    return say("Nothing is kept of what the renderer said.")
