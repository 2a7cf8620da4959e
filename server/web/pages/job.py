"""The page of one render: its frames, how long they took, what went wrong; and the page of one frame."""

from __future__ import annotations

import bottle

from server.disk.errors import NotFound
from server.web import requests
from server.web.pages import sheets, words
from server.web.pages.cards import cards, frame_words, newest_picture, priorities, tail
from server.web.pages.shell import Shell
from server.web.requests import Call

TASKS = 200
LOG_LINES, LOG_BYTES = 1000, 100_000  # on a frame's own page


def page(shell: Shell, call: Call, ident: str, job_id: str) -> bottle.HTTPResponse:
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
        log=tail(shell, job_id, int(n), 0, LOG_LINES, LOG_BYTES) if tries else "",
    )
