"""The prenodes that talk to us: who they are, and what they say waits, runs or failed over there.

All of it lives in memory and is said anew in each of their messages. What makes no sense in single fields is
left out, so that one bad entry loses nothing else.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.disk.errors import BadInput
from server.farm.scheduler import Means
from server.farm.statistics import moments

MOST_PRENODES = 200
MOST_RUNS = 1000  # of one prenode that are looked at
SILENT_S = 60.0  # one that said nothing for so long isn't there
FORGOTTEN_S = 86_400.0
WAITING, RUNNING, FAILED, LOST = "waiting", "running", "failed", "lost"
STATES = (WAITING, RUNNING, FAILED, LOST)
MOST_TROUBLES = 200
MET = 5000  # runs whose computers came to talk that are remembered


@dataclass(frozen=True, slots=True)
class Run:
    """One computer that a prenode asked for."""

    id: str
    job: str
    there: str  # how the scheduler over there calls it
    host: str  # the computer, where that is known
    state: str
    why: str
    since: float  # seconds since the epoch: in this state; 0: not said


@dataclass(slots=True)
class Prenode:
    """One prenode as it last described itself."""

    name: str
    version: str = ""
    engine: str = ""
    at_most: int | None = None
    error: str = ""
    troubles: dict[str, str] = field(default_factory=dict)  # job -> what keeps it from starting more of it
    means: Means = field(default_factory=Means)
    knows_programs: bool = False  # it says which programs its computers have
    runs: dict[str, Run] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)  # job -> computers that it was last asked for
    seen: float = 0.0  # monotonic
    seen_at: float = 0.0  # seconds since the epoch

    def here(self, now: float) -> bool:
        """Did it speak lately?"""
        return now - self.seen <= SILENT_S

    def counts(self) -> Counter[str]:
        """How many are in each state."""
        return Counter(run.state for run in self.runs.values())

    def active(self) -> Counter[str]:
        """Of each job, how many wait or run."""
        return Counter(run.job for run in self.runs.values() if run.state in (WAITING, RUNNING))


class Bridges:
    """All prenodes by name. Safe for threads."""

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._known: dict[str, Prenode] = {}
        self._met: dict[tuple[str, str], None] = {}  # prenode, run
        self._lock = threading.Lock()
        self._by_job: dict[str, Counter[str]] = {}
        self._counted = -1  # as of which news
        self.news = 0  # grows when something is another than before

    def all(self) -> list[Prenode]:
        """Every prenode that was heard within a day, by name."""
        now = self._monotonic()
        with self._lock:
            for name in [n for n, one in self._known.items() if now - one.seen > FORGOTTEN_S]:
                del self._known[name]
            return [self._known[name] for name in sorted(self._known)]

    def hear(self, told: Mapping[str, Any]) -> Prenode:
        """What a prenode says now. BadInput where it doesn't say who it is."""
        name = told.get("name")
        if not isinstance(name, str) or not name or len(name) > 128 or not name.isprintable():
            raise BadInput('A prenode says who it is: {"name": …}, 1 to 128 printable characters.')
        runs = told.get("runs", [])
        if not isinstance(runs, list):
            raise BadInput("runs must be a list of what waits or runs.")
        with self._lock:
            one = self._known.get(name)
            if one is None:
                if len(self._known) >= MOST_PRENODES:
                    del self._known[min(self._known, key=lambda other: self._known[other].seen)]
                one = self._known[name] = Prenode(name)
            found = {run.id: run for run in map(_run, runs[:MOST_RUNS]) if run is not None}
            most = told.get("at_most")
            before = (one.runs, one.error, one.troubles, one.engine)
            one.version, one.engine = _text(told, "version", 60), _text(told, "engine", 60)
            one.at_most = most if isinstance(most, int) and not isinstance(most, bool) and most >= 0 else None
            one.error = _text(told, "error")
            one.means, one.knows_programs = _means(name, told.get("provides"))
            one.runs = found
            one.troubles = _troubles(told.get("troubles"))
            if before != (one.runs, one.error, one.troubles, one.engine) or not one.here(self._monotonic()):
                self.news += 1
            one.seen, one.seen_at = self._monotonic(), self._wall()
            return one

    def counts(self, job_id: str) -> Counter[str]:
        """Of a job, how many wait, run and failed, over all prenodes."""
        if self._counted != self.news:
            self._counted = self.news
            found: dict[str, Counter[str]] = {}
            for one in self.all():
                for run in one.runs.values():
                    found.setdefault(run.job, Counter())[run.state] += 1
            self._by_job = found
        return self._by_job.get(job_id) or Counter()

    def meet(self, prenode: str, run: str) -> None:
        """A computer that was started by this run has spoken."""
        key = (prenode, run)
        if key not in self._met:
            with self._lock:
                self._met[key] = None
                while len(self._met) > MET:
                    del self._met[next(iter(self._met))]

    def met(self, prenode: str, run: str) -> bool:
        """Did the computer of this run ever speak?"""
        return (prenode, run) in self._met


def _run(told: object) -> Run | None:
    if not isinstance(told, Mapping):
        return None
    ident, job, state = told.get("run"), told.get("job"), told.get("state")
    if not isinstance(ident, str) or not isinstance(job, str) or state not in STATES:
        return None
    there, host, why = _text(told, "there", 100), _text(told, "host", 100), _text(told, "why")
    return Run(ident[:200], job[:200], there, host, str(state), why, _epoch(told.get("since")))


def _troubles(told: object) -> dict[str, str]:
    pairs = list(told.items())[:MOST_TROUBLES] if isinstance(told, Mapping) else []
    return {job[:200]: why[:300] for job, why in pairs if isinstance(job, str) and isinstance(why, str)}


def _means(name: str, told: object) -> tuple[Means, bool]:
    """What its computers have: labels alone, as RFAM's say them, or what nodes tell of themselves."""
    if isinstance(told, list):
        return Means(provides=frozenset(map(str, told)), place=name), False
    if not isinstance(told, Mapping):
        return Means(place=name), False
    labels, programs, shares = told.get("provides"), told.get("programs"), told.get("paths")
    memory_mb = told.get("memory_mb")
    means = Means(
        shares=frozenset(map(str, shares)) if isinstance(shares, (list, Mapping)) and shares else None,
        provides=frozenset(map(str, labels)) if isinstance(labels, list) else frozenset(),
        programs=frozenset(map(str, programs)) if isinstance(programs, (list, Mapping)) else frozenset(),
        memory_mb=memory_mb if isinstance(memory_mb, int) and not isinstance(memory_mb, bool) else 0,
        place=name,
    )
    return means, bool(programs)


def _text(told: Mapping[str, Any], name: str, most: int = 300) -> str:
    value = told.get(name)
    return value[:most] if isinstance(value, str) else ""


def _epoch(told: object) -> float:
    """Seconds since the epoch of an RFC 3339 time, or of a number; 0 where it is neither."""
    if isinstance(told, (int, float)) and not isinstance(told, bool) and 0 < told < 1e11:
        return float(told)
    return moments.epoch(told) if isinstance(told, str) else 0.0
