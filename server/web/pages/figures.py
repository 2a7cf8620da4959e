"""The page of the farm's figures: drawings by our own templates, and the tables that say the same."""

from __future__ import annotations

import datetime
import math
from typing import Any

import bottle

from server.disk.encoding import quote
from server.disk.speech import say as say_later
from server.farm.statistics.tables import Row, Table
from server.web import requests
from server.web.languages import say
from server.web.pages import sheets, words
from server.web.pages.shell import Shell
from server.web.requests import Call

SPANS = (  # days, as a label, and in the sentence above
    (7, say_later("A week"), say_later("a week")),
    (14, say_later("Two weeks"), say_later("two weeks")),
    (30, say_later("A month"), say_later("a month")),
    (90, say_later("Three months"), say_later("three months")),
    (365, say_later("A year"), say_later("a year")),
)
USUAL = 14  # days
ROWS = 15  # of a table
HEIGHT = 120  # of the drawing, in its own units: a bar's height is a part of it
STEP = 12  # of a day's bar, with its gap
RULES = 4  # at most so many lines across
SLICES = (  # what each table is by, its heading, and that of its first column
    ("project", say_later("By project"), say_later("Project")),
    ("user", say_later("By person"), say_later("Person")),
    ("node", say_later("By computer"), say_later("Computer")),
    ("file", say_later("By file"), say_later("File")),
)
REASONS = {
    **sheets.REASONS,
    "bad output": say_later("the picture wasn’t whole"),
    "node gone": say_later("the computer wasn’t heard of any more"),
    "other": say_later("something else"),
}


def page(shell: Shell, call: Call, ident: str = "") -> bottle.HTTPResponse:
    """`/statistics` and `/p/<project>/statistics`."""
    figures, now = shell.services.farm.figures, shell.now()
    project = shell.project(ident) if ident else None
    days = requests.number(call.query, "days", USUAL, 1, 366)
    zone = figures.zone()
    by_day = figures.table("day", days, zone, ident)
    slices = [
        slice_of(shell, by, title, head, figures.table(by, days, zone, ident))
        for by, title, head in SLICES
        if not (ident and by == "project")
    ]
    base = f"/p/{quote(ident, safe='')}/statistics" if ident else "/statistics"
    total = by_day.total
    return shell.page(
        call,
        "statistics.html",
        title=say("Statistics"),
        here="Rendering",
        project=project,
        figure=words.duration(total.busy) if total.busy else say("Nothing yet"),
        summary=summary(total, days),
        chart=chart(by_day, days, now) if total.busy else None,
        days=[day_row(row, now) for row in reversed(by_day.rows)],
        slices=slices,
        reasons=[(REASONS.get(reason, reason), count) for reason, count in ordered(by_day.reasons)],
        spans=[(label, f"{base}?days={count}", count == days) for count, label, _ in SPANS],
        download=f"/api/farm/statistics.csv?days={days}&project={quote(ident, safe='')}&by=",
        back=f"/p/{quote(ident, safe='')}/rendering" if ident else "/rendering",
        saved=words.duration(figures.saved_hours() * 3600) if not ident and figures.saved_hours() > 0 else "",
        zone=str(zone),
    )


def summary(total: Row, days: int) -> str:
    """What the one figure stands for."""
    span = {count: words for count, _, words in SPANS}.get(days) or words.number(days, "day")
    frames = words.number(total.frames, "frame")
    said = [say("Computers’ time in {span}: {frames}", span=span, frames=frames)]
    said.append(words.number(len(total.jobs), "render"))
    if total.busy and total.for_nothing / total.busy >= 0.01:
        said.append(say("{share:.0%} of the time for nothing", share=total.for_nothing / total.busy))
    used = total.utilisation()
    if used is not None:
        said.append(say("computers in use {share:.0%} of the time that they were there", share=used))
    return " · ".join(said)


def ordered(reasons: dict[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))


def day_row(row: Row, now: datetime.datetime) -> dict[str, Any]:
    """One day in words."""
    return {"name": day_words(row.key, now), **cells(row)}


def cells(row: Row) -> dict[str, Any]:
    """What every table says of its row."""
    used = row.utilisation()
    return {
        "frames": words.figure(row.frames),
        "jobs": words.figure(len(row.jobs)),
        "time": words.duration(row.seconds) if row.seconds else "",
        "nothing": words.duration(row.for_nothing) if row.for_nothing else "",
        "failed": words.figure(row.failed + row.lost) if row.failed + row.lost else "",
        "used": words.percent(used) if used is not None else "",
    }


def slice_of(shell: Shell, by: str, title: str, head: str, found: Table) -> dict[str, Any]:
    """One table with a bar in each row; the costliest first."""
    top = max((row.busy for row in found.rows), default=0.0) or 1.0
    rows = []
    for row in found.rows[:ROWS]:
        name, url, place = named(shell, by, row.key)
        good = 100 * (row.seconds + row.beside) / top
        rows.append({
            "name": name, "url": url, "place": place, **cells(row),
            "good": round(good, 2), "bad": round(100 * row.for_nothing / top, 2),
        })  # fmt: skip
    more = max(0, len(found.rows) - ROWS)
    return {
        "by": by,
        "title": title,
        "head": head,
        "rows": rows,
        "more": more,
        "used": by == "node" and any(row["used"] for row in rows),
    }


def named(shell: Shell, by: str, key: str) -> tuple[str, str, str]:
    """What a row is called, its page, and where it lies."""
    if by == "user":
        return shell.titles().get(key, key) or say("Nobody"), "", ""
    if by == "project":
        known = {one.ident: one.title for one in shell.services.projects.list()}
        url = f"/p/{quote(key, safe='')}/statistics" if key in known else ""
        return known.get(key, key) or say("No project"), url, ""
    if by == "file":
        folder, _, name = key.partition("::")[2].rpartition("/")
        here = shell.services.store.index.get(key) is not None
        ident, _, path = key.partition("::")[2].partition("/")
        return (
            name,
            f"/p/{quote(ident, safe='')}/asset/{quote(path, safe='/')}" if here and path else "",
            folder,
        )
    return key or say("earlier, all computers"), "", ""


def day_words(day: str, now: datetime.datetime) -> str:
    """'today', 'Fri 20 Nov'."""
    return words.day(day, now)


def chart(found: Table, days: int, now: datetime.datetime) -> dict[str, Any]:
    """Each day a bar: time for frames below, time for nothing above; rules at round numbers of hours."""
    rows = found.rows
    top_hours = max(row.busy for row in rows) / 3600
    step = rule_step(top_hours)
    top = step * math.ceil(top_hours / step)
    bars = []
    for n, row in enumerate(rows):
        good = HEIGHT * (row.seconds + row.beside) / 3600 / top
        bad = HEIGHT * row.for_nothing / 3600 / top
        date = datetime.date.fromisoformat(row.key)
        bars.append({
            "x": n * STEP, "good": round(good, 2), "bad": round(bad, 2),
            "good_y": round(HEIGHT - good, 2), "bad_y": round(HEIGHT - good - bad, 2),
            "monday": date.weekday() == 0,
        })  # fmt: skip
    best = max(rows, key=lambda row: row.busy)
    labels = [day_words(rows[at].key, now) for at in sorted({0, (len(rows) - 1) // 2, len(rows) - 1})]
    most = words.duration(best.busy)
    days_words = words.number(days, "day")
    if best.key == now.date().isoformat():
        said = say("Computers’ time on each of {days}; the most, {time}, today.", days=days_words, time=most)
    else:
        said = say(
            "Computers’ time on each of {days}; the most, {time}, on {day}.",
            days=days_words, time=most, day=day_words(best.key, now),
        )  # fmt: skip
    return {
        "width": len(rows) * STEP,
        "height": HEIGHT,
        "bar": STEP - 3,
        "bars": bars,
        "rules": [
            (
                round(HEIGHT - HEIGHT * step * n / top, 2),
                round(100 - 100 * step * n / top, 3),
                hours(step * n),
            )
            for n in range(1, round(top / step) + 1)
        ],
        "labels": labels,
        "words": said,
    }


def rule_step(top_hours: float) -> float:
    """A round number of hours, so that at most a few rules are needed."""
    for step in (1 / 60, 1 / 12, 0.25, 0.5, 1, 2, 6, 12, 24, 48, 120, 240, 600, 1200, 2400, 6000):
        if top_hours / step <= RULES:
            return step
    return float(10 ** math.ceil(math.log10(top_hours / RULES)))


def hours(value: float) -> str:
    """'5 min', '2 h'."""
    if value < 1:
        return say("{minutes} min", minutes=round(value * 60))
    return say("{hours} h", hours=words.figure(value, 0))
