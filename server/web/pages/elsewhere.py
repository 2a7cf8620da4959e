"""Computers elsewhere, as the page of all renders shows them: what waits, runs and failed there, and why."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Mapping
from typing import Any

from server.disk.errors import NotFound
from server.disk.speech import pair
from server.disk.speech import say as say_later
from server.library.projects import Project
from server.web import languages
from server.web.languages import count, say
from server.web.pages import listing, sheets, words
from server.web.pages.shell import Shell

WHYS = 3  # of one render that are said
ROWS, EACH = 20, 100  # renders of one place, and computers one by one
LOOKED = 200  # renders of one place that are looked at
STATES = (  # state there, glyph, words
    ("running", "running", pair("{n} renders", "{n} render")),
    ("waiting", "waiting", pair("{n} waits", "{n} wait")),
    ("failed", "failed", pair("{n} failed", "{n} failed")),
    ("lost", "needs", pair("{n} was lost", "{n} were lost")),
)
WORDS = {  # of one computer: glyph, word
    "running": ("running", say_later("Rendering ‹just now›")),
    "waiting": ("waiting", say_later("Waiting")),
    "failed": ("failed", say_later("Failed")),
    "lost": ("needs", say_later("Lost")),
}

View = Mapping[str, Any]


def section(shell: Shell, project: Project | None) -> dict[str, Any] | None:
    """All places that computers are borrowed from; None where there are none."""
    found = shell.services.farm.bridging.view()
    if not found["prenodes"]:
        return None
    now = shell.now()
    today, most = found["node_hours_today"], found["node_hours_a_day"]
    return {
        "hours": hours(today, most),
        "places": [place(shell, one, project, now) for one in found["prenodes"]],
    }


def hours(today: float, most: float | None) -> str:
    """How much of the day's hours is used."""
    if most is not None:
        return say(
            "{hours} of {most} hours are used today.",
            hours=words.figure(today, 1),
            most=words.figure(most),
        )
    return say("{hours} hours are used today.", hours=words.figure(today, 1)) if today >= 0.05 else ""


def place(shell: Shell, view: View, project: Project | None, now: datetime.datetime) -> dict[str, Any]:
    """One place: how it goes there, its renders, its computers."""
    runs: dict[str, list[View]] = {}
    for run in view["runs"]:
        runs.setdefault(run["job"], []).append(run)
    for job_id in view["troubles"]:
        runs.setdefault(job_id, [])
    shown = list(runs.items())[:LOOKED]
    rows = [row for job_id, own in shown if (row := render(shell, job_id, own, view, project)) is not None]
    names = {row["id"]: row["name"] for row in rows}
    each = [run for run in view["runs"] if run["job"] in names]
    seen = words.when(view["seen"], now)
    return {
        "key": "e-" + listing.key(str(view["name"])),
        "name": view["name"],
        "engine": view["engine"],
        "states": states(Counter(run["state"] for run in each)),
        "silent": "" if view["here"] else say("Nothing was heard from there since {time}.", time=seen),
        "error": view["error"],
        "rows": rows[:ROWS],
        "more": count("and {n} more", "and {n} more", len(rows) - ROWS) if len(rows) > ROWS else "",
        "each": [computer(run, names, now) for run in each[:EACH]],
        "each_more": count("and {n} more", "and {n} more", len(each) - EACH) if len(each) > EACH else "",
    }


def render(
    shell: Shell, job_id: str, runs: list[View], place: View, project: Project | None
) -> dict[str, Any] | None:
    """One render there; None where it is another project's, or gone."""
    farm = shell.services.farm
    try:
        view = farm.view(farm.job(job_id))
    except NotFound:
        return None
    if project is not None and view["project"] != project.ident:
        return None
    reason = words.capital(languages.known((view.get("where") or {}).get("reason", "")))
    whys = [place["troubles"].get(job_id, ""), reason]
    whys += [run["why"] for run in sorted(runs, key=lambda run: run["state"] != "failed")]
    said = [why for why in dict.fromkeys(whys) if why]
    return {
        "id": job_id,
        "name": view["name"],
        "url": sheets.page_of(view),
        "states": states(Counter(run["state"] for run in runs)),
        "whys": said[:WHYS],
    }


def states(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Glyph and words of each state that there is."""
    return [(glyph, count(*said, counts[state])) for state, glyph, said in STATES if counts.get(state)]


def computer(run: View, names: Mapping[str, str], now: datetime.datetime) -> dict[str, Any]:
    """One computer there."""
    glyph, word = WORDS[run["state"]]
    return {
        "key": "e-" + listing.key(str(run["run"])),
        "name": run["host"] or run["there"] or run["run"],
        "render": names[run["job"]],
        "glyph": glyph,
        "word": languages.told(word),
        "why": run["why"],
        "since": words.when(run["since"], now) if run["since"] else "",
    }


def of_job(view: View) -> str:
    """Where a render may run and why, and what it has elsewhere; '' where nothing was decided."""
    where = view.get("where")
    if not where or not (where["rule"] or any(where["runs"].values())):
        return ""
    there = ", ".join(text for _, text in states(where["runs"]))
    said = f"{words.capital(languages.known(where['reason'])).rstrip('.')}."
    return say("{reason} Elsewhere: {there}.", reason=said, there=there) if there else said
