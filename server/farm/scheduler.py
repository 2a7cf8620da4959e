"""Which job a node gets its next task from. Pure: no files, no locks, no clock.

Jobs that may be given out stand in line by (project's priority, job's priority, age), one line for each
kind of need (share, labels, programs, what the node must understand). A node looks at the heads of the
lines it can serve, so that a thousand waiting jobs cost it what one does, and a thousand that it can't
serve nothing at all.
"""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Unit = tuple[str, int]  # a job's id and one of its stages
Key = tuple[int, int, str, Unit]  # priorities, when the job was submitted, itself; smaller comes first


@dataclass(frozen=True, slots=True)
class Need:
    """What a job asks of a node."""

    share: str
    requires: frozenset[str] = frozenset()  # labels that the node must provide
    programs: frozenset[str] = frozenset()
    simple: bool = False  # also for nodes that take no commands (RFAM's)
    does: frozenset[str] = frozenset()  # commands that the node must know


@dataclass(frozen=True, slots=True)
class Means:
    """What a node has."""

    protocol: int = 2
    shares: frozenset[str] | None = None  # None: it didn't say, so all
    wrong_shares: frozenset[str] = frozenset()  # under this name it has other data than we
    provides: frozenset[str] = frozenset()
    programs: frozenset[str] = frozenset()
    does: frozenset[str] | None = None  # commands that it knows; None: it didn't say, so all


def misfit(need: Need, means: Means) -> str:
    """Why a node with these means can't serve this need; "" when it can."""
    if means.protocol < 2 and not need.simple:
        return "this job is for Croft's own nodes"
    if need.share in means.wrong_shares:
        return f"it has other data under the name {need.share}"
    if means.shares is not None and need.share not in means.shares:
        return f"it has no share {need.share}"
    missing = need.requires - means.provides
    if missing:
        return f"it does not provide {', '.join(sorted(missing))}"
    if means.protocol >= 2 and need.programs - means.programs:
        return f"it has no {', '.join(sorted(need.programs - means.programs))}"
    if means.protocol >= 2 and means.does is not None and need.does - means.does:
        return (
            f"it doesn't know how to do {', '.join(sorted(need.does - means.does))}: is it older than this?"
        )
    return ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job's stage stands: its line and its key there."""

    need: Need
    key: Key


class Line:
    """The stages of jobs that tasks are given out of, in order. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._lines: dict[Need, list[Key]] = {}
        self._places: dict[Unit, Place] = {}
        self._fits: dict[Means, tuple[int, list[Need]]] = {}
        self._shape = 0  # grows when a kind of need comes or goes

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, unit: Unit) -> bool:
        return unit in self._places

    def put(self, unit: Unit, need: Need, project_priority: int, priority: int, created: str = "") -> None:
        """Have a stage stand where it belongs; again is harmless, and moves it when something changed."""
        with self._lock:
            place = Place(need, (-project_priority, -priority, created, unit))
            if self._places.get(unit) == place:
                return
            self.drop(unit)
            line = self._lines.get(need)
            if line is None:
                line = self._lines[need] = []
                self._shape += 1
            insort(line, place.key)
            self._places[unit] = place

    def drop(self, unit: Unit) -> None:
        """Take a stage out; it may not be there."""
        with self._lock:
            place = self._places.pop(unit, None)
            if place is None:
                return
            line = self._lines[place.need]
            del line[bisect_left(line, place.key)]
            if not line:
                del self._lines[place.need]
                self._shape += 1

    def jobs(self) -> Iterator[str]:
        """The ids of all jobs, in order."""
        with self._lock:
            lines = [list(line) for line in self._lines.values()]
        return iter(dict.fromkeys(key[3][0] for key in heapq.merge(*lines)))

    def choose(self, means: Means, refused: Callable[[Unit], bool] | None = None) -> Unit | None:
        """The first stage of a job that this node can serve and that `refused` doesn't pass over."""
        with self._lock:
            needs = self._needs(means)
            if refused is None:
                heads = [self._lines[need][0] for need in needs]
                return min(heads)[3] if heads else None
            for key in heapq.merge(*(self._lines[need] for need in needs)):
                if not refused(key[3]):
                    return key[3]
            return None

    def ahead(self, unit: Unit, means: Means) -> int:
        """How many stages of jobs such a node would serve before this one."""
        with self._lock:
            place = self._places.get(unit)
            if place is None:
                return 0
            return sum(bisect_left(self._lines[need], place.key) for need in self._needs(means))

    def _needs(self, means: Means) -> list[Need]:
        shape, needs = self._fits.get(means, (-1, []))
        if shape != self._shape:
            needs = [need for need in self._lines if not misfit(need, means)]
            if len(self._fits) > 10_000:
                self._fits.clear()
            self._fits[means] = (self._shape, needs)
        return needs
