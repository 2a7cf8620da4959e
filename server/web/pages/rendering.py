"""What renders where and until when: the page of all renders and computers."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

import bottle

from server.disk.encoding import quote
from server.web import requests
from server.web.pages import listing, words
from server.web.pages.cards import View, cards, frame_words, ordered, priorities
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
    nodes = [computer(view, now) for view in farm.nodes()]
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
        nodes=nodes,
        farm_paused=bool(farm.paused),
        may_farm=supervisor,
        may_nodes=supervisor,
    )


def figure(found: list[Any], ends: View | None, now: datetime.datetime) -> str:
    """The one figure of the page: when all of it will be there."""
    if ends:
        return words.done_between(ends, now).capitalize()
    for state, word in (("running", "Rendering"), ("waiting", "Waiting"), ("paused", "Paused")):
        if any(job.state == state for job in found):
            return word
    return "All done" if found else "Nothing to render"


def summary(sums: Mapping[str, int], nodes: list[dict[str, Any]], untold: int = 0) -> str:
    """One sentence, also for those who hear the page. `untold`: renders whose end nobody knows yet."""
    busy = sum(1 for node in nodes if node["busy"])
    here = sum(1 for node in nodes if not node["away"])
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
