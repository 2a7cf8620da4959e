"""The farm's work by day, project, person, computer or file: sums over what jobs keep of each hour.

Pure. A job gives its hours (UTC), each with what every node did in it; days are those of the zone that is
handed in, and work counts on the day on which it ended.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from server.farm.jobs import states
from server.farm.statistics import moments

BY = ("day", "project", "user", "node", "file")
DAYS_MOST = 366
NOTHING: Mapping[str, Any] = {}

Hours = Mapping[str, Mapping[str, Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Part:
    """One job's share: who asked for it, and its hours."""

    job: str
    project: str
    user: str
    file: str
    hours: Hours
    reasons: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Row:
    """What one day, project, person, computer or file comes to."""

    key: str
    frames: int = 0
    seconds: float = 0.0  # that nodes spent on these frames
    for_nothing: float = 0.0  # seconds spent on attempts that gave no frame, or whose frame was made again
    beside: float = 0.0  # seconds spent on what comes along, such as previews
    failed: int = 0  # attempts
    lost: int = 0
    jobs: set[str] = field(default_factory=set)
    available: float | None = None  # seconds that slots were there for work; None: nobody knows
    covered: float = 0.0  # seconds that slots worked in the hours of which that is known

    @property
    def busy(self) -> float:
        """Seconds that slots worked."""
        return self.seconds + self.for_nothing + self.beside

    def add(self, job: str, sums: Sequence[int], known: bool = False) -> None:
        if known:
            self.covered += (sums[1] + sums[4] + sums[5]) / 1000
        self.frames += sums[6]
        self.seconds += sums[1] / 1000
        self.failed += sums[2]
        self.lost += sums[3]
        self.for_nothing += sums[4] / 1000
        self.beside += sums[5] / 1000
        self.jobs.add(job)

    def view(self) -> dict[str, Any]:
        """As the API tells it."""
        hours = {"hours": self.seconds, "hours_for_nothing": self.for_nothing, "hours_beside": self.beside}
        return {
            "key": self.key,
            "frames": self.frames,
            "jobs": len(self.jobs),
            "seconds": round(self.seconds, 3),
            **{name: round(seconds / 3600, 4) for name, seconds in hours.items()},
            "failed": self.failed,
            "lost": self.lost,
            "hours_available": None if self.available is None else round(self.available / 3600, 4),
            "utilisation": self.utilisation(),
        }

    def utilisation(self) -> float | None:
        """The part of the slots' time in which they worked. Work counts where it ended: at most all of it."""
        if not self.available:
            return None
        return round(min(1.0, self.covered / self.available), 4)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows, their sum, and why attempts failed."""

    rows: list[Row]
    total: Row
    reasons: dict[str, int]


def window(days: int, now: datetime.datetime) -> list[str]:
    """The last `days` days up to that of `now`, in its zone, the oldest first."""
    today = now.date()
    return [(today - datetime.timedelta(days=ago)).isoformat() for ago in range(days - 1, -1, -1)]


def table(
    parts: Iterable[Part],
    by: str,
    days: Sequence[str],
    zone: datetime.tzinfo,
    available: Mapping[str, Mapping[str, float]] = NOTHING,
) -> Table:
    """Sums by `by` over these days; none given: over all. `available`: hour -> node -> slot seconds."""
    wanted = set(days)
    rows: dict[str, Row] = {day: Row(day) for day in days} if by == "day" else {}
    total, reasons = Row("total"), dict.fromkeys(states.REASONS, 0)

    def day_in(hour: str) -> str:
        day = moments.day_of(hour, zone)
        return day if not wanted or day in wanted else ""

    for part in parts:
        fixed = {"project": part.project, "user": part.user, "file": part.file}.get(by)
        for hour, nodes in part.hours.items():
            day = day_in(hour)
            if not day:
                continue
            for node, sums in nodes.items():
                key = fixed if fixed is not None else day if by == "day" else node
                row = rows.get(key)
                if row is None:
                    row = rows[key] = Row(key)
                row.add(part.job, sums, hour in available)
                total.add(part.job, sums, hour in available)
        for hour, counts in part.reasons.items():
            if day_in(hour):
                for reason, count in counts.items():
                    known = reason if reason in reasons else states.OTHER
                    reasons[known] += count
    _take_available(rows, total, by, available, day_in)
    found = list(rows.values())
    found.sort(key=(lambda row: row.key) if by == "day" else (lambda row: (-row.busy, row.key)))
    return Table(found, total, {reason: count for reason, count in reasons.items() if count})


def _take_available(
    rows: dict[str, Row],
    total: Row,
    by: str,
    available: Mapping[str, Mapping[str, float]],
    day_in: Callable[[str], str],
) -> None:
    for hour, nodes in available.items():
        day = day_in(hour)
        if not day:
            continue
        for node, seconds in nodes.items():
            total.available = (total.available or 0.0) + seconds
            if by in ("day", "node"):
                key = day if by == "day" else node
                row = rows.get(key)
                if row is None:
                    row = rows[key] = Row(key)
                row.available = (row.available or 0.0) + seconds


def seconds_for_nothing(result: Mapping[str, Any]) -> float:
    """What an ended job's attempts took that gave no frame, or whose frame was made again."""
    return sum(sums[4] for nodes in hours_of(result).values() for sums in nodes.values()) / 1000


def hours_of(result: Mapping[str, Any]) -> Hours:
    """The hours of an ended job; of one that was summed before there were any, all of it where it ended."""
    found = result.get("by_hour")
    if isinstance(found, dict):
        return {hour: _nodes(nodes) for hour, nodes in found.items() if isinstance(nodes, dict)}
    nodes = result.get("nodes")
    if not isinstance(nodes, dict):
        return {}
    spent = {
        str(name): [_int(told.get("done")), round(_number(told.get("seconds")) * 1000),
                    _int(told.get("failed")), _int(told.get("lost")), 0, 0, _int(told.get("done"))]
        for name, told in nodes.items() if isinstance(told, dict)
    }  # fmt: skip
    return {moments.stamp(moments.epoch(str(result.get("ended") or "")))[:13]: spent}


def reasons_of(result: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Why attempts of an ended job failed, by the hour."""
    found = result.get("reasons")
    if not isinstance(found, dict):
        return {}
    return {
        str(hour): {str(reason): _int(count) for reason, count in counts.items()}
        for hour, counts in found.items()
        if isinstance(counts, dict)
    }


def _nodes(nodes: Mapping[str, Any]) -> dict[str, list[int]]:
    """Written where people can write: numbers, seven of them."""
    return {
        str(name): [*(_int(n) for n in sums[:7]), *([0] * (7 - len(sums[:7])))]
        for name, sums in nodes.items()
        if isinstance(sums, list)
    }


def _int(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
