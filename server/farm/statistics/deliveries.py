"""Which shots the present queue will not bring by the day on which they are due. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass

from server.farm.statistics.estimate import Ends

# What becomes of a delivery, the worst first.
PAST, MISSED, UNKNOWN, TIGHT, SAFE, NOTHING, DELIVERED = VERDICTS = (
    *("past", "missed", "unknown", "tight", "safe", "nothing", "delivered"),
)


@dataclass(frozen=True, slots=True)
class Shot:
    """A file with a day, and what is rendered of it just now."""

    address: str
    name: str
    due: str  # 2026-11-22
    owner: str = ""
    delivered: bool = False  # its state is a final one
    jobs: tuple[str, ...] = ()  # that are not over
    why: str = ""  # why no end can be told of one of them


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is to be said of a shot."""

    shot: Shot
    verdict: str
    due: float  # seconds since the epoch: the end of its day
    ends: Ends | None  # of the last of its jobs, in seconds since the epoch


def deliveries(
    shots: Iterable[Shot], ends: dict[str, Ends], now: float, zone: datetime.tzinfo
) -> list[Delivery]:
    """The soonest day first, and of one day the worst first."""
    found = [judge(shot, ends, now, zone) for shot in shots]
    return sorted(found, key=lambda one: (one.due, VERDICTS.index(one.verdict), one.shot.address))


def judge(shot: Shot, ends: dict[str, Ends], now: float, zone: datetime.tzinfo) -> Delivery:
    """One shot."""
    due = end_of(shot.due, zone)
    told = [ends[job] for job in shot.jobs if job in ends]
    last: Ends | None = None
    if told and len(told) == len(shot.jobs):
        last = Ends(max(e.earliest for e in told), max(e.likely for e in told), max(e.latest for e in told))
    if shot.delivered:
        verdict = DELIVERED
    elif now >= due:
        verdict = PAST
    elif not shot.jobs:
        verdict = NOTHING
    elif last is None:
        verdict = UNKNOWN
    elif last.likely > due:
        verdict = MISSED
    else:
        verdict = TIGHT if last.latest > due else SAFE
    return Delivery(shot, verdict, due, last)


def end_of(day: str, zone: datetime.tzinfo) -> float:
    """The moment at which a day is over."""
    following = datetime.date.fromisoformat(day) + datetime.timedelta(days=1)
    return datetime.datetime.combine(following, datetime.time(), zone).timestamp()
