"""How Croft says times, durations, counts and states to people.

Pure functions of their arguments; the moment and the time zone are handed in. Nothing here escapes HTML:
that is the templates' work, whose autoescape stays on.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

JOB_STATES = {  # state: (glyph and colour role, word)
    "waiting": ("waiting", "Waiting"),
    "running": ("running", "Rendering"),
    "paused": ("paused", "Paused"),
    "done": ("done", "Done"),
    "failed": ("failed", "Failed"),
    "cancelled": ("skipped", "Stopped"),
}
TASK_STATES = {
    "waiting": ("waiting", "waiting"),
    "claimed": ("running", "rendering"),
    "done": ("done", "done"),
    "failed": ("failed", "failed"),
    "skipped": ("skipped", "left out"),
}
NODE_STATES = {
    "idle": ("waiting", "Free"),
    "busy": ("running", "Rendering"),
    "paused": ("paused", "Paused"),
    "draining": ("paused", "Finishing"),
    "sick": ("needs", "Needs a look"),
    "hours": ("paused", "Outside its hours"),
    "used": ("paused", "Somebody works at it"),
    "updating": ("running", "Being updated"),
    "leaving": ("paused", "Shutting down"),
    "away": ("skipped", "Away"),
    "off": ("skipped", "Switched off"),
    "waking": ("running", "Starting"),
}
ROLES = {"quiet": "waiting", "waiting": "waiting", "running": "running", "done": "done", "failed": "failed"}
ROLES |= {"needs": "needs", "paused": "paused"}


def moment(value: Any) -> datetime.datetime | None:
    """The time that an RFC 3339 string or seconds since the epoch stand for; None where there is none."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return datetime.datetime.fromtimestamp(value, datetime.UTC)
        found = datetime.datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)


def when(value: Any, now: datetime.datetime) -> str:
    """'today 14:05', 'yesterday 09:10', 'Tue 16:00', '3 May 12:00', '3 May 2024'; in the zone of `now`."""
    then = moment(value)
    if then is None:
        return ""
    then = then.astimezone(now.tzinfo)
    days = (now.date() - then.date()).days
    clock = f"{then:%H:%M}"
    if days == 0:
        return f"today {clock}"
    if days == 1:
        return f"yesterday {clock}"
    if days == -1:
        return f"tomorrow {clock}"
    if -7 < days < 7:
        return f"{then:%a} {clock}"
    if then.year == now.year:
        return f"{then.day} {then:%b} {clock}"
    return f"{then.day} {then:%b %Y}"


def day(value: str, now: datetime.datetime) -> str:
    """Of a date: 'today', 'tomorrow', 'Fri 27 Nov', '27 Nov 2027'."""
    try:
        date = datetime.date.fromisoformat(value)
    except ValueError:
        return ""
    near = {-1: "yesterday", 0: "today", 1: "tomorrow"}.get((date - now.date()).days)
    if near:
        return near
    return f"{date.day} {date:%b} {date.year}" if date.year != now.year else f"{date:%a} {date.day} {date:%b}"


def done_about(value: Any, now: datetime.datetime) -> str:
    """'done about 16:20', with the day where it isn't today."""
    said = when(value, now)
    return f"done about {said.removeprefix('today ')}" if said else ""


def done_between(ends: Any, now: datetime.datetime) -> str:
    """'done between 16:10 and 16:40', of a job's `ends`; 'done about 16:20' where the two are the same."""
    if not isinstance(ends, Mapping):
        return ""
    found = [moment(ends.get(key)) for key in ("earliest", "latest")]
    if found[0] is None or found[1] is None:
        return ""
    step = next(step for ahead, step in _ROUNDING if (found[1] - now).total_seconds() < ahead)
    first = _rounded(found[0], step, up=False)
    last = _rounded(found[1], step, up=True)
    if last - first <= datetime.timedelta(seconds=step):
        return done_about(last.isoformat(), now)
    begin, end = when(first.isoformat(), now), when(last.isoformat(), now)
    day = begin.rpartition(" ")[0]
    if day and end.startswith(day + " "):
        end = end.removeprefix(day + " ")
    return f"done between {begin.removeprefix('today ')} and {end.removeprefix('today ')}"


_ROUNDING = ((1800, 60), (3 * 3600, 300), (12 * 3600, 600), (float("inf"), 1800))  # seconds ahead: step


def _rounded(moment: datetime.datetime, step: int, *, up: bool) -> datetime.datetime:
    second = moment.timestamp()
    second = -(-second // step) * step if up else second // step * step
    return datetime.datetime.fromtimestamp(second, datetime.UTC)


def duration(seconds: float | None) -> str:
    """'0.4 s', '12 s', '3 min', '1 h 20 min', '2 days 3 h'."""
    if seconds is None or seconds < 0:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def size(count: int | None) -> str:
    """Bytes as '740 bytes', '12.4 MB'."""
    if count is None:
        return ""
    if count < 1000:
        return f"{count} bytes"
    value = float(count)
    for unit in ("KB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return ""


def number(count: int, one: str, many: str = "") -> str:
    """'1 frame', '24 frames', '100,000 frames'."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def initials(title: str) -> str:
    """Two letters that stand for a person: of the first and last name, else the first two."""
    parts = title.split()
    if not parts:
        return "?"
    if len(parts) == 1:
        return parts[0][:2]
    return parts[0][:1] + parts[-1][:1]


def role(name: str) -> str:
    """The glyph and colour for a role that a configuration names; the quiet one for an unknown."""
    return ROLES.get(name, "waiting")


def counted(counts: Mapping[str, int], total: int) -> str:
    """'24 frames: 12 done, 2 rendering, 10 waiting', for those who hear a page."""
    parts = [f"{counts[state]:,} {word}" for state, (_, word) in TASK_STATES.items() if counts.get(state)]
    order = sorted(parts, key=lambda part: not part.endswith("done"))
    return f"{number(total, 'frame')}: {', '.join(order)}"
