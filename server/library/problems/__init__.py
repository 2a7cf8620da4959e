"""Everything that a person should know of, whoever found it; and the buttons that mend it.

Gathers what every room's `problems()` says, keeps the answer, and tells (a change of kind "problems") when
it has become another one. A problem is computed from the present state alone: what is gone leaves by
itself. What a source costs must not depend on the number of files; what does is kept by `standing`, from
the changes. Looks again when something changed, and now and then while somebody asks; an idle Croft rests.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from server.disk import paths
from server.disk.follower import Follower
from server.disk.records import Change, Problem
from server.disk.store import Store

from .standing import Standing

log = logging.getLogger(__name__)

FRESH_S = 1.0  # an answer this young is given again
EVERY_S = 5.0  # how often disks and clocks are asked while somebody looks
WATCHED_S = 60.0  # somebody asked this lately: they still look
GATHER_S = 0.2  # changes come in crowds
SETTLE_S = 2.0  # between two looks while changes pour in, at most
SHARE = 0.05  # of a processor that looking may take then
SEVERITIES = {"error": 0, "warning": 1, "note": 2}
NOWHERE = ("share", "full", "read-only", "clock", "watch")  # of a whole share: every project's concern

Source = Callable[[], Iterable[Problem]]


class Problems(Follower):
    """`all()` for whoever asks; `add` a room's `problems` before `start`."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(store, "problems")
        self._clock = clock
        self.standing = Standing(store)
        self._sources: list[Source] = [store.problems, self.standing.problems]
        self._guard = threading.Lock()  # one gathers at a time
        self._found: tuple[Problem, ...] = ()
        self._counts: dict[str, int] = {}
        self._by_address: dict[str, list[Problem]] = {}
        self._looked = -WATCHED_S
        self._asked = -WATCHED_S
        self._changed = True

    def add(self, source: Source) -> None:
        """Another room's problems. It is called often and must be quick; what it raises is logged."""
        self._sources.append(source)

    def all(self) -> tuple[Problem, ...]:
        """Every problem of this moment, the worst first."""
        self.wake()
        if self._changed or self._clock() - self._looked > FRESH_S:
            return self._look()
        return self._found

    def of(self, addresses: Iterable[str]) -> list[Problem]:
        """The problems of these places, as of the last look. Cheap."""
        self.wake()
        known = self._by_address
        return [problem for address in addresses for problem in known.get(address, ())]

    def count(self, folder: str = "") -> int:
        """How many aren't mere notes, below a folder or in all, as of the last look. Cheap."""
        self.wake()
        known = self._counts.get(folder)
        if known is None:
            counted = [p for p in self._found if p.severity != "note"]
            known = self._counts[folder] = len(counted if not folder else of_project(counted, folder))
        return known

    def wake(self) -> None:
        """Somebody looks: what no event tells of is worth asking for."""
        now = self._clock()
        # Whoever comes after nobody looked wakes the thread, which sleeps without an end then.
        due = now - self._looked > EVERY_S or now - self._asked >= WATCHED_S
        self._asked = now
        if due:
            with self._condition:
                self._condition.notify_all()

    def look_again(self) -> None:
        """Something was mended: the next answer is a fresh one."""
        self._changed = True
        with self._condition:
            self._condition.notify_all()

    # Within

    def _on_changes(self, changes: list[Change]) -> None:
        relevant = [change for change in changes if change.kind != "problems"]
        if relevant:
            self.standing.note(relevant)
            told, self._changed = self._changed, True
            if not told:
                with self._condition:
                    self._condition.notify_all()

    def _work(self) -> None:
        while True:
            with self._condition:
                while not self._closed and not self._has_work():
                    now = self._clock()
                    rest_s = max(0.05, EVERY_S - (now - self._looked))  # others look meanwhile, too
                    self._condition.wait(rest_s if now - self._asked < WATCHED_S else None)
                if self._closed or self._condition.wait_for(lambda: self._closed, GATHER_S):
                    return
            began = time.monotonic()
            try:
                self._look()
            except Exception:
                self.faults += 1
                log.exception("The problems can't be gathered")
            rest_s = min(SETTLE_S, (time.monotonic() - began) / SHARE)
            with self._condition:
                if self._condition.wait_for(lambda: self._closed, rest_s):
                    return

    def _has_work(self) -> bool:
        now = self._clock()
        if self._changed:
            return True
        return now - self._asked < WATCHED_S and now - self._looked >= EVERY_S

    def _look(self) -> tuple[Problem, ...]:
        with self._guard:
            self._changed = False
            found: dict[str, Problem] = {}
            for source in list(self._sources):
                try:
                    for problem in source():
                        found.setdefault(problem.id, problem)
                except Exception:
                    self.faults += 1
                    log.exception("A source of problems failed")
            ordered = tuple(sorted(found.values(), key=order))
            self._looked = self._clock()
            news = ordered != self._found
            if news:
                self._found = ordered
                self._counts = {}
                by_address: dict[str, list[Problem]] = {}
                for problem in ordered:
                    by_address.setdefault(problem.address, []).append(problem)
                self._by_address = by_address
        if news:
            self._store.notify([Change("problems", "all")])
        return ordered


def order(problem: Problem) -> tuple[int, str, str]:
    """The worst first, then by kind and place."""
    return SEVERITIES.get(problem.severity, 1), problem.kind, problem.id


def of_project(problems: Iterable[Problem], folder: str) -> list[Problem]:
    """Those that concern whoever works in this folder: below it, or of its whole share."""
    share = folder.partition(paths.SEPARATOR)[0] + paths.SEPARATOR
    return [
        problem
        for problem in problems
        if paths.within(problem.address, folder) or (problem.address == share and problem.kind in NOWHERE)
    ]
