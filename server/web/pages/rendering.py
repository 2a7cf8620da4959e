"""What renders until when: the page of all renders."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import bottle

from server.web import requests
from server.web.pages import computers, words
from server.web.pages.cards import View, cards, ordered, priorities
from server.web.pages.shell import Shell
from server.web.requests import Call

CARDS = 30


def page(shell: Shell, call: Call, ident: str = "") -> bottle.HTTPResponse:
    """`/rendering` and `/p/<project>/rendering`."""
    farm, now = shell.services.farm, shell.now()
    project = shell.project(ident) if ident else None
    start = requests.number(call.query, "from", 0, 0, 10**9)
    found = ordered(farm.jobs(project=ident))
    views = [farm.view(job) for job in found[start : start + CARDS]]
    opened = [job for job in found if job.state in ("running", "waiting")]
    ends, untold = farm.forecast.over(job.id for job in opened)
    nodes = farm.nodes()
    supervisor = call.user is not None and call.user.at_least("supervisor")
    return shell.page(
        call,
        "rendering.html",
        title="Rendering",
        here="Rendering",
        project=project,
        figure=figure(found, ends, now),
        summary=summary(farm.sums(ident), nodes, untold if ends else 0),
        jobs=cards(shell, call, views),
        more=f"?from={start + CARDS}" if start + CARDS < len(found) else "",
        priorities=priorities(shell, project),
        computers=computers.figure(nodes),
        computers_more=computers.summary(nodes),
        farm_paused=bool(farm.paused),
        may_farm=supervisor,
    )


def figure(found: list[Any], ends: View | None, now: datetime.datetime) -> str:
    """The one figure of the page: when all of it will be there."""
    if ends:
        return words.done_between(ends, now).capitalize()
    for state, word in (("running", "Rendering"), ("waiting", "Waiting"), ("paused", "Paused")):
        if any(job.state == state for job in found):
            return word
    return "All done" if found else "Nothing to render"


def summary(sums: Mapping[str, int], nodes: Sequence[View], untold: int = 0) -> str:
    """One sentence, also for those who hear the page. `untold`: renders whose end nobody knows yet."""
    busy = sum(1 for node in nodes if node["state"] == "busy")
    here = sum(1 for node in nodes if node["state"] not in computers.GONE)
    parts = []
    if sums["jobs"]:
        renders, frames = words.number(sums["jobs"], "render"), words.number(sums["total"], "frame")
        parts.append(f"{renders}: {sums['done']:,} of {frames} done")
    if sums["failed"]:
        parts.append(f"{sums['failed']:,} failed")
    if untold:
        parts.append(f"the end of {untold:,} can’t be told yet")
    if not here:
        return " · ".join(
            [*parts, "no computer is on" if nodes else "no computer has reported yet"]
        ).capitalize()
    parts.append(f"{busy} of {words.number(here, 'computer')} rendering")
    return " · ".join(parts)
