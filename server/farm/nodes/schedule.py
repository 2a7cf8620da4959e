"""The hours in which a node may work: pure, of wall time and a time zone.

A schedule is a list of windows, each with its weekdays, a beginning and an end by the clock on the wall. One
whose end isn't after its beginning crosses midnight and belongs to the day on which it begins; equal
times are a whole day. Without any window it is always open. Windows are compared as instants, so that a
change to or from summer time makes a night longer or shorter by an hour and never tears it.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from server.disk.errors import BadInput
from server.disk.speech import say, together

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NAMES = (say("Mon"), say("Tue"), say("Wed"), say("Thu"), say("Fri"), say("Sat"), say("Sun"))
EVERY_DAY = frozenset(range(7))
CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)\Z")
MOST_WINDOWS = 30
AHEAD_DAYS = 8  # a window of one weekday comes again within so many


@dataclass(frozen=True, slots=True)
class Window:
    """From one time of the day to another, in minutes after midnight, on the days (0: Monday) it begins."""

    days: frozenset[int]
    begins: int
    ends: int

    @property
    def crosses(self) -> bool:
        """Whether it ends on the day after."""
        return self.ends <= self.begins

    def words(self) -> str:
        """'20:00–07:00 Mon, Tue'; without the days where it is every day."""
        said = f"{_clock(self.begins)}–{_clock(self.ends)}"
        if self.begins == self.ends:
            next_day = say("{clock} to the next day", clock=_clock(self.begins))
            said = next_day if self.begins else say("all day")
        return said if self.days == EVERY_DAY else say("{hours} {days}", hours=said, days=_days(self.days))


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a node works. Equal schedules are equal objects."""

    windows: tuple[Window, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.windows)

    def look(self, at: float, zone: ZoneInfo) -> tuple[bool, float]:
        """Whether it is open at this moment (seconds since the epoch), and until when that holds: the next
        moment at which it may be otherwise; infinite where it never is."""
        if not self.windows:
            return True, float("inf")
        spans = self._spans(at, zone)
        edge = at
        while True:  # windows that touch or overlap are one
            later = max((end for begin, end in spans if begin <= edge < end), default=edge)
            if later <= edge:
                break
            edge = later
        if edge > at:
            return True, edge
        following = [begin for begin, _ in spans if begin > at]
        return False, min(following, default=at + 86400.0)

    def words(self) -> str:
        """All windows in words; "" where it is always open."""
        return together([window.words() for window in self.windows], ", ")

    def view(self) -> list[dict[str, Any]]:
        """As it is written and as the API shows it."""
        return [
            {
                "days": [DAYS[day] for day in sorted(window.days)],
                "from": _clock(window.begins),
                "to": _clock(window.ends),
            }
            for window in self.windows
        ]

    def _spans(self, at: float, zone: ZoneInfo) -> list[tuple[float, float]]:
        """Every window near this moment as two instants."""
        today = datetime.datetime.fromtimestamp(at, zone).date()
        found = []
        for ahead in range(-2, AHEAD_DAYS):
            day = today + datetime.timedelta(days=ahead)
            for window in self.windows:
                if day.weekday() in window.days:
                    last = day + datetime.timedelta(days=1) if window.crosses else day
                    begins = _instant(day, window.begins, zone, 0)
                    found.append((begins, _instant(last, window.ends, zone, 1)))
        return found


def read(data: Any) -> Schedule:
    """A schedule from JSON: `[{"days": ["mon", …], "from": "20:00", "to": "07:00"}]`; without days it is
    every day. BadInput says what is wrong."""
    if data in (None, ""):
        return Schedule()
    if not isinstance(data, Sequence) or isinstance(data, str):
        raise BadInput("The hours are a list of windows, each with days, from and to.", field="schedule")
    if len(data) > MOST_WINDOWS:
        raise BadInput(
            "At most {most_windows} windows make a schedule.", field="schedule", most_windows=MOST_WINDOWS
        )
    return Schedule(tuple(_window(item) for item in data))


def _window(item: Any) -> Window:
    if not isinstance(item, Mapping):
        raise BadInput('Hours are said like {"from": "20:00", "to": "07:00"}.', field="schedule")
    days = item.get("days")
    if days is None:
        days = list(DAYS)
    if not isinstance(days, list) or not days:
        raise BadInput(
            "Name the days on which the hours begin: {days}.", field="schedule", days=", ".join(DAYS)
        )
    wrong = [day for day in days if not isinstance(day, str) or day.lower()[:3] not in DAYS]
    if wrong:
        raise BadInput(
            "{wrong} is no day: {days} are.",
            field="schedule",
            wrong=repr(str(wrong[0])[:40]),
            days=", ".join(DAYS),
        )
    numbers = frozenset(DAYS.index(day.lower()[:3]) for day in days)
    return Window(numbers, _minutes(item.get("from")), _minutes(item.get("to")))


def _minutes(text: Any) -> int:
    if text == "24:00":
        return 0
    found = CLOCK.match(text) if isinstance(text, str) else None
    if found is None:
        raise BadInput(
            "{text} is no time of the day: write it like 20:00.", field="schedule", text=repr(str(text)[:40])
        )
    return int(found[1]) * 60 + int(found[2])


def _instant(day: datetime.date, minutes: int, zone: ZoneInfo, fold: int) -> float:
    """The moment when clocks show this time. Where they show it twice `fold` says which; where never, the
    time that they would show had they not been put forward."""
    hour, minute = divmod(minutes, 60)
    local = datetime.datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=fold)
    if datetime.datetime.fromtimestamp(local.timestamp(), zone).replace(tzinfo=None) != local.replace(
        tzinfo=None
    ):
        # Never shown: one reading for beginnings and ends, so that windows that touch stay so.
        return local.replace(fold=0).timestamp()
    return local.timestamp()


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def _days(days: frozenset[int]) -> str:
    """'Mon–Fri', 'Sat, Sun'."""
    order = sorted(days)
    if len(order) > 2 and order[-1] - order[0] == len(order) - 1:
        return say("{first}–{last}", first=NAMES[order[0]], last=NAMES[order[-1]])
    return together([NAMES[day] for day in order], ", ")
