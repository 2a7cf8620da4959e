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

Key = tuple[int, int, str, str]  # priorities, when it was submitted, its id; smaller comes first


@dataclass(frozen=True, slots=True)
class Need:
    """What a job asks of a node."""

    share: str
    requires: frozenset[str] = frozenset()  # labels that the node must provide
    programs: frozenset[str] = frozenset()
    simple: bool = False  # also for nodes that take no commands (RFAM's)


@dataclass(frozen=True, slots=True)
class Means:
    """What a node has."""

    protocol: int = 2
    shares: frozenset[str] | None = None  # None: it didn't say, so all
    wrong_shares: frozenset[str] = frozenset()  # under this name it has other data than we
    provides: frozenset[str] = frozenset()
    programs: frozenset[str] = frozenset()


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
    return ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a job stands: its line and its key there."""

    need: Need
    key: Key


class Line:
    """The jobs that tasks are given out of, in order. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._lines: dict[Need, list[Key]] = {}
        self._places: dict[str, Place] = {}
        self._fits: dict[Means, tuple[int, list[Need]]] = {}
        self._shape = 0  # grows when a kind of need comes or goes

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._places

    def put(self, job_id: str, need: Need, project_priority: int, priority: int, created: str = "") -> None:
        """Have a job stand where it belongs; again is harmless, and moves it when something changed."""
        with self._lock:
            place = Place(need, (-project_priority, -priority, created, job_id))
            if self._places.get(job_id) == place:
                return
            self.drop(job_id)
            line = self._lines.get(need)
            if line is None:
                line = self._lines[need] = []
                self._shape += 1
            insort(line, place.key)
            self._places[job_id] = place

    def drop(self, job_id: str) -> None:
        """Take a job out; it may not be there."""
        with self._lock:
            place = self._places.pop(job_id, None)
            if place is None:
                return
            line = self._lines[place.need]
            del line[bisect_left(line, place.key)]
            if not line:
                del self._lines[place.need]
                self._shape += 1

    def jobs(self) -> Iterator[str]:
        """All ids, in order."""
        with self._lock:
            lines = [list(line) for line in self._lines.values()]
        return (key[3] for key in heapq.merge(*lines))

    def choose(self, means: Means, refused: Callable[[str], bool] | None = None) -> str | None:
        """The id of the first job that this node can serve and that `refused` doesn't pass over."""
        with self._lock:
            needs = self._needs(means)
            if refused is None:
                heads = [self._lines[need][0] for need in needs]
                return min(heads)[3] if heads else None
            for key in heapq.merge(*(self._lines[need] for need in needs)):
                if not refused(key[3]):
                    return key[3]
            return None

    def ahead(self, job_id: str, means: Means) -> int:
        """How many jobs such a node would serve before this one."""
        with self._lock:
            place = self._places.get(job_id)
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
