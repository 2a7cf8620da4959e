"""How Croft says times, durations, counts and states to people.

Pure functions of their arguments and of who reads: the moment and the time zone are handed in, and what
comes back is in the reader's language. Nothing here escapes HTML: that is the templates' work, whose
autoescape stays on. The words of states are said when they are shown (`languages.told`, every template).
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from server.disk.speech import key, pair
from server.disk.speech import say as say_later
from server.web.languages import count, reading, say, told

UNITS = (key("{n} KB"), key("{n} MB"), key("{n} GB"), key("{n} TB"))
TODAY, YESTERDAY, TOMORROW = say_later("today"), say_later("yesterday"), say_later("tomorrow")
JOB_STATES = {  # state: (glyph and colour role, word)
    "waiting": ("waiting", say_later("Waiting")),
    "running": ("running", say_later("Rendering ‹just now›")),
    "paused": ("paused", say_later("Paused")),
    "done": ("done", say_later("Done")),
    "failed": ("failed", say_later("Failed")),
    "cancelled": ("skipped", say_later("Stopped")),
}
TASK_STATES = {
    "waiting": ("waiting", say_later("waiting")),
    "claimed": ("running", say_later("rendering")),
    "done": ("done", say_later("done")),
    "failed": ("failed", say_later("failed")),
    "skipped": ("skipped", say_later("left out")),
}
NODE_STATES = {
    "idle": ("waiting", say_later("Free")),
    "busy": ("running", say_later("Rendering ‹just now›")),
    "paused": ("paused", say_later("Paused")),
    "draining": ("paused", say_later("Finishing")),
    "sick": ("needs", say_later("Needs a look")),
    "hours": ("paused", say_later("Outside its hours")),
    "used": ("paused", say_later("Somebody works at it")),
    "updating": ("running", say_later("Being updated")),
    "leaving": ("paused", say_later("Shutting down")),
    "away": ("skipped", say_later("Away")),
    "off": ("skipped", say_later("Switched off")),
    "waking": ("running", say_later("Starting")),
}
COUNTED = {
    "done": pair("{n} done", "{n} done"),
    "waiting": pair("{n} waiting", "{n} waiting"),
    "claimed": pair("{n} rendering", "{n} rendering"),
    "failed": pair("{n} failed", "{n} failed"),
    "skipped": pair("{n} left out", "{n} left out"),
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


def when(value: Any, now: datetime.datetime, *, today: bool = True) -> str:
    """'today 14:05', 'yesterday 09:10', 'Tue 16:00', '3 May 12:00', '3 May 2024'; in the zone of `now`.
    Without `today`, of a time today the clock alone."""
    then = moment(value)
    if then is None:
        return ""
    then = then.astimezone(now.tzinfo)
    days = (now.date() - then.date()).days
    clock = f"{then:%H:%M}"
    if days == 0:
        return say("today {time}", time=clock) if today else clock
    if days == 1:
        return say("yesterday {time}", time=clock)
    if days == -1:
        return say("tomorrow {time}", time=clock)
    if -7 < days < 7:
        return say("{day} {time}", day=reading().date(then, "E"), time=clock)
    if then.year == now.year:
        return say("{day} {time}", day=reading().date(then, "MMMd"), time=clock)
    return reading().date(then, "yMMMd")


def day(value: str, now: datetime.datetime) -> str:
    """Of a date: 'today', 'tomorrow', 'Fri 27 Nov', '27 Nov 2027'."""
    try:
        date = datetime.date.fromisoformat(value)
    except ValueError:
        return ""
    near = {-1: YESTERDAY, 0: TODAY, 1: TOMORROW}.get((date - now.date()).days)
    if near:
        return str(told(near))
    return reading().date(date, "yMMMd" if date.year != now.year else "MMMEd")


def done_between(ends: Any, now: datetime.datetime) -> str:
    """'done between 16:10 and 16:40', of a job's `ends`; 'done about 16:20' where the two are the same."""
    return _between(ends, now, key("done about {time}"), key("done between {start} and {end}"))


def between(ends: Any, now: datetime.datetime) -> str:
    """The same without its 'done', where a heading says that already."""
    return _between(ends, now, key("about {time}"), key("between {start} and {end}"))


def _between(ends: Any, now: datetime.datetime, about: str, two: str) -> str:
    if not isinstance(ends, Mapping):
        return ""
    found = [moment(ends.get(key)) for key in ("earliest", "latest")]
    if found[0] is None or found[1] is None:
        return ""
    step = next(step for ahead, step in _ROUNDING if (found[1] - now).total_seconds() < ahead)
    first = _rounded(found[0], step, up=False)
    last = _rounded(found[1], step, up=True)
    end = when(last.isoformat(), now, today=False)
    if last - first <= datetime.timedelta(seconds=step):
        return say(about, time=end)
    one_day = first.astimezone(now.tzinfo).date() == last.astimezone(now.tzinfo).date()
    if one_day:
        end = f"{last.astimezone(now.tzinfo):%H:%M}"
    return say(two, start=when(first.isoformat(), now, today=False), end=end)


_ROUNDING = ((1800, 60), (3 * 3600, 300), (12 * 3600, 600), (float("inf"), 1800))  # seconds ahead: step


def _rounded(moment: datetime.datetime, step: int, *, up: bool) -> datetime.datetime:
    second = moment.timestamp()
    second = -(-second // step) * step if up else second // step * step
    return datetime.datetime.fromtimestamp(second, datetime.UTC)


def duration(seconds: float | None) -> str:
    """'0.4 s', '12 s', '3 min', '1 h 20 min', '2 days 3 h'."""
    if seconds is None or seconds < 0:
        return ""
    if seconds < 100:
        return say("{n} s", n=reading().number(seconds, 1 if seconds < 10 else 0))
    minutes = round(seconds / 60)
    if minutes < 60:
        return say("{minutes} min", minutes=minutes)
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        if not minutes:
            return say("{hours} h", hours=hours)
        return say("{hours} h {minutes} min", hours=hours, minutes=minutes)
    days, hours = divmod(hours, 24)
    if not hours:
        return number(days, "day")
    return count("{n} day {hours} h", "{n} days {hours} h", days, hours=hours)


def size_limit(most: int) -> str:
    """A limit of bytes as an admin means it: 64 << 30 is 64 GB."""
    units = {1 << 30: "{n} GB", 1 << 20: "{n} MB"}
    found = next((say(unit, n=most // one) for one, unit in units.items() if most % one == 0), None)
    return found or size(most)


def size(count: int | None) -> str:
    """Bytes as '740 bytes', '12.4 MB'."""
    if count is None:
        return ""
    if count < 1000:
        return number(count, "byte")
    value = float(count)
    for unit in UNITS:
        value /= 1000
        if value < 999.5 or unit == UNITS[-1]:
            return say(unit, n=reading().number(value, 1 if value < 10 else 0))
    return ""


def number(n: int, one: str, many: str = "") -> str:
    """'1 frame', '24 frames', '100,000 frames': short for `count("{n} frame", "{n} frames", n)`."""
    return count(f"{{n}} {one}", f"{{n}} {many or one + 's'}", n)


def some(names: Sequence[str], most: int) -> str:
    """'A, B and 3 more'."""
    if len(names) <= most:
        return ", ".join(names)
    said = ", ".join(names[:most])
    return count("{names} and {n} more", "{names} and {n} more", len(names) - most, names=said)


def figure(value: float, digits: int | None = None) -> str:
    """A number as the reader writes it: '1,234.5', '1.234,5', '1 234,5'."""
    return reading().number(value, digits)


def percent(share: float, digits: int = 0) -> str:
    """A share of one: '12%', '12 %'."""
    return reading().percent(share, digits)


def capital(text: str) -> str:
    """A sentence's beginning, of what stood in the middle of one."""
    text = str(told(text))
    return text[:1].upper() + text[1:]


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
    parts = [count(*COUNTED[state], counts[state]) for state in COUNTED if counts.get(state)]
    return say("{frames}: {states}", frames=number(total, "frame"), states=", ".join(parts))
