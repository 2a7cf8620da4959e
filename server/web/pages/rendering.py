"""What renders until when: the page of all renders."""

from __future__ import annotations

import contextlib
import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import bottle

from server.disk.errors import NotFound
from server.disk.speech import say as say_later
from server.web import requests
from server.web.languages import count, say, told
from server.web.pages import computers, elsewhere, mine, sheets, words
from server.web.pages.cards import OPEN, View, cards, ordered, priorities
from server.web.pages.shell import Shell, all_values
from server.web.requests import Call

CARDS = 20
NEXT_UP = 3
STATES = (
    ("", say_later("All renders")),
    ("open", say_later("Not done yet")),
    ("running", say_later("Rendering ‹just now›")),
    ("waiting", say_later("Waiting")),
    ("paused", say_later("Paused")),
    ("failed", say_later("Failed")),
    ("done", say_later("Done")),
    ("cancelled", say_later("Stopped")),
)
Job = Any  # of the farm: in memory, or its sum


def page(shell: Shell, call: Call, ident: str = "") -> bottle.HTTPResponse:
    """`/rendering` and `/p/<project>/rendering`; `?mine=1`, `?state=failed` and `?project=green` choose."""
    farm, now = shell.services.farm, shell.now()
    project = shell.project(ident) if ident else None
    asked = {name: call.query.get(name, "") for name in ("project", "state", "mine")}
    asked["project"] = ident or asked["project"]
    everything = farm.jobs(project=asked["project"])
    found = ordered(chosen(call, everything, asked))
    start = requests.number(call.query, "from", 0, 0, 10**9)
    shown = found[start : start + CARDS]
    only = all_values(call, "only") if call.query.get("part") == "1" else None
    wanted = shown if only is None else [job for job in shown if job.id in only]
    opened = [job for job in everything if job.state in ("running", "waiting")]
    projects = {str(job.record.get("project") or "") for job in opened}
    ends, untold = farm.forecast.over(job.id for job in opened)
    nodes = farm.machines.all()
    supervisor = call.user is not None and call.user.at_least("supervisor")
    base = {name: value for name, value in asked.items() if value and not (name == "project" and ident)}
    return shell.page(
        call,
        "rendering.html",
        title=say("Rendering"),
        here="Rendering",
        project=project,
        due=mine.late(shell, [project] if project else shell.services.projects.list()),
        figure=figure(everything, ends, now),
        summary=summary(farm.sums(asked["project"]), nodes, untold if ends else 0),
        next_up=next_up(shell),
        jobs=cards(shell, call, [farm.view(job) for job in wanted], limit=sheets.ROW_CELLS),
        order=" ".join(f"j-{job.id}" for job in shown),
        total=len(found),
        asked=asked,
        choices=choices(shell, everything, asked, ident),
        filtered=bool(base),
        before="?" + urlencode({**base, "from": max(0, start - CARDS)}) if start else "",
        more="?" + urlencode({**base, "from": start + CARDS}) if start + CARDS < len(found) else "",
        shown=say(
            "{first:,} to {last:,} of {renders}",
            first=start + 1,
            last=start + len(shown),
            renders=words.number(len(found), "render"),
        ),
        priorities=priorities(shell, project),
        computers=computers.figure(nodes),
        computers_more=computers.summary(nodes),
        full=sorted({text for name, text in farm.health.held_up().items() if name in projects}),
        elsewhere=elsewhere.section(shell, project),
        farm_paused=farm.machines.paused,
        may_farm=supervisor,
    )


def chosen(call: Call, jobs: Sequence[Job], asked: Mapping[str, str]) -> list[Job]:
    """Those that the page's address asks for."""
    user, state = call.user, asked["state"]
    mine = user.ident if asked["mine"] and user is not None else ""
    return [
        job
        for job in jobs
        if (not state or job.state == state or (state == "open" and job.state in OPEN))
        and (not mine or job.record.get("user") == mine)
    ]


def choices(
    shell: Shell, jobs: Sequence[Job], asked: Mapping[str, str], ident: str
) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """The filters: name, label, options with how many there are."""
    counts = Counter(job.state for job in jobs)
    counts["open"] = sum(counts[state] for state in OPEN)
    counts[""] = len(jobs)
    there = [(name, word) for name, word in STATES if counts[name] or name == asked["state"]]
    states = [(name, f"{told(word)} ({words.figure(counts[name])})") for name, word in there]
    found = [
        ("state", say("Which"), states),
        ("mine", say("Whose"), [("", say("Everybody’s")), ("1", say("Mine"))]),
    ]
    if not ident:
        projects = [(one.ident, one.title) for one in shell.services.projects.list()]
        found.append(("project", say("Project"), [("", say("All projects")), *projects]))
    return found


def next_up(shell: Shell) -> list[dict[str, str]]:
    """Which renders the next free computers are for."""
    farm, found = shell.services.farm, []
    for job_id in farm.next_up(NEXT_UP):
        with contextlib.suppress(NotFound):  # Race: it has just been put away.
            view = farm.view(farm.job(job_id))
            found.append({"name": str(view["name"]), "url": sheets.page_of(view)})
    return found


def figure(found: list[Any], ends: View | None, now: datetime.datetime) -> str:
    """The one figure of the page: when all of it will be there."""
    if ends:
        return words.capital(words.done_between(ends, now))
    for state, word in (
        ("running", say("Rendering ‹just now›")),
        ("waiting", say("Waiting")),
        ("paused", say("Paused")),
    ):
        if any(job.state == state for job in found):
            return word
    return say("All done") if found else say("Nothing to render")


def summary(sums: Mapping[str, int], nodes: Sequence[View], untold: int = 0) -> str:
    """One sentence, also for those who hear the page. `untold`: renders whose end nobody knows yet."""
    busy = sum(1 for node in nodes if node["state"] == "busy")
    here = sum(1 for node in nodes if node["state"] not in computers.GONE)
    parts = []
    if sums["jobs"]:
        renders = words.number(sums["jobs"], "render")
        parts.append(
            count(
                "{renders}: {done:,} of {n} frame done",
                "{renders}: {done:,} of {n} frames done",
                sums["total"],
                renders=renders,
                done=sums["done"],
            )
        )
    if sums["failed"]:
        parts.append(words.number(sums["failed"], "failed", "failed"))
    if untold:
        parts.append(count("the end of {n} can’t be told yet", "the end of {n} can’t be told yet", untold))
    if not here:
        parts.append(say("no computer is on") if nodes else say("no computer has reported yet"))
        return words.capital(" · ".join(parts))
    parts.append(
        count("{busy:,} of {n} computer rendering", "{busy:,} of {n} computers rendering", here, busy=busy)
    )
    return " · ".join(parts)
