"""Which files are still being copied, when they have come to rest, and which never got their end.

A file is `arriving` until it is unchanged between two looks that lie `settle_s` apart and its end is there.
Clients keep old and even future mtimes, so only the server's monotonic clock counts. One that rests without
its end stays `arriving`: it is looked at less and less often, and after an hour, counted from its ctime, it
is `incomplete` and left alone until somebody writes to it. Pure bookkeeping: it is told what a look saw and
says when to look again.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from server.disk.records import Stat

OPEN_FACTOR = 3  # whoever made it was not seen to close it: wait that much longer
OPEN_S = 15.0  # and so long where no end can tell that it is whole: a copy over the network pauses
RARER = 0.5  # the next look for a missing end comes after half the time that it has been missing
INCOMPLETE_S = 3600.0  # a copy that rests so long without its end was broken off
LEAST_S = 0.1


@dataclass(slots=True)
class _Arrival:
    stat: Stat
    since: float  # when it was first seen like this
    is_open: bool
    due: float  # 0: said, and not answered yet; infinite: not by the clock
    age_s: float  # how old its state was when it was first seen, as its ctime says
    lacks_end: bool = False  # it rests, and its end isn't there


class Arrivals:
    """The files that are arriving, by address. Safe for several threads."""

    def __init__(
        self,
        settle_s: float,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settle_s = settle_s
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._arrivals: dict[str, _Arrival] = {}
        self._queue: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._arrivals)

    def __contains__(self, address: str) -> bool:
        return address in self._arrivals

    def seen(self, address: str, stat: Stat, *, opened: bool = False, closed: bool = False) -> None:
        """A look saw this. `opened`, `closed`: so did whoever writes it, as far as was heard."""
        now = self._clock()
        with self._lock:
            arrival = self._arrivals.get(address)
            if arrival is None:
                arrival = _Arrival(stat, now, opened and not closed, 0.0, self._age_s(stat))
                self._arrivals[address] = arrival
            elif arrival.stat != stat:
                self._renew(arrival, stat, now)
                arrival.is_open = (arrival.is_open or opened) and not closed
            elif opened or closed:
                arrival.is_open = (arrival.is_open or opened) and not closed
            else:
                return  # as it was: a look of somebody else's brings the next one no nearer
            self._schedule(address, arrival, max(arrival.since + self._quiet_s(arrival), now))

    def doubt(self, address: str, stat: Stat) -> None:
        """Somebody who read it found no end, though it seemed at rest."""
        now = self._clock()
        with self._lock:
            arrival = self._arrivals.get(address)
            if arrival is None or arrival.stat != stat:
                arrival = self._arrivals[address] = _Arrival(stat, now, False, 0.0, self._age_s(stat), True)
                self._schedule(address, arrival, self._next_look(arrival, now))

    def incomplete(self, address: str) -> bool:
        """Whether this file has rested for an hour without its end."""
        arrival = self._arrivals.get(address)
        return arrival is not None and arrival.lacks_end and self._missing_s(arrival) >= INCOMPLETE_S

    def unsettled(self) -> int:
        """How many are still moving: those that rest without their end aren't counted."""
        with self._lock:
            return sum(1 for arrival in self._arrivals.values() if not arrival.lacks_end)

    def due(self) -> list[str]:
        """Addresses to look at now. Each is said once; `settled` has to follow."""
        now = self._clock()
        found: list[str] = []
        with self._lock:
            while self._queue and self._queue[0][0] <= now:
                at, address = heapq.heappop(self._queue)
                arrival = self._arrivals.get(address)
                if arrival is not None and arrival.due == at:
                    arrival.due = 0.0
                    found.append(address)
        return found

    def again(self) -> None:
        """What `due` said got no answer (the look failed): it will be said again."""
        at = self._clock() + max(self.settle_s, LEAST_S)
        with self._lock:
            for address, arrival in self._arrivals.items():
                if not arrival.due:
                    self._schedule(address, arrival, at)

    def put_off(self, address: str, at: float) -> None:
        """What `due` said is looked at later: its folder is too long to be listed so soon."""
        with self._lock:
            arrival = self._arrivals.get(address)
            if arrival is not None and not arrival.due:
                self._schedule(address, arrival, at)

    def next_due_s(self) -> float | None:
        """Seconds until something is due; None when nothing is arriving."""
        with self._lock:
            while self._queue:
                at, address = self._queue[0]
                arrival = self._arrivals.get(address)
                if arrival is not None and arrival.due == at:
                    return max(0.0, at - self._clock())
                heapq.heappop(self._queue)
        return None

    def settled(self, address: str, stat: Stat | None, complete: Callable[[], bool | None]) -> bool:
        """The second look: whether it has come to rest. Gone counts as that; if not, it is due again.

        `complete` says whether the end is there; None where this kind of file has none.
        """
        now = self._clock()
        with self._lock:
            arrival = self._arrivals.get(address)
            if arrival is None:
                return True
            if stat is None:
                del self._arrivals[address]
                return True
            if arrival.stat != stat:
                self._renew(arrival, stat, now)
            quiet_s = now - arrival.since
            rested = quiet_s >= self._quiet_s(arrival)
        # The end of a file may be slow to read: no lock is held.
        end = complete() if rested else None
        with self._lock:
            if self._arrivals.get(address) is not arrival:
                return True
            if not rested:
                self._schedule(address, arrival, arrival.since + self._quiet_s(arrival))
                return False
            if end is None and arrival.is_open and quiet_s < OPEN_S:
                self._schedule(address, arrival, arrival.since + OPEN_S)
                return False
            if end is False:
                arrival.lacks_end = True
                self._schedule(address, arrival, self._next_look(arrival, now))
                return False
            del self._arrivals[address]
            return True

    def forget(self, address: str) -> None:
        """It is gone, or whole by another proof."""
        with self._lock:
            self._arrivals.pop(address, None)

    # Within

    def _renew(self, arrival: _Arrival, stat: Stat, now: float) -> None:
        arrival.stat, arrival.since, arrival.lacks_end = stat, now, False
        arrival.age_s = self._age_s(stat)

    def _age_s(self, stat: Stat) -> float:
        """How long ago the state came to be. The disk's own clock set the ctime, no client can."""
        return max(0.0, self._wall() - stat.ctime_ns / 1e9)

    def _missing_s(self, arrival: _Arrival) -> float:
        return self._clock() - arrival.since + arrival.age_s

    def _next_look(self, arrival: _Arrival, now: float) -> float:
        """When to look for the end again: ever more rarely, once when the hour is over, then no more."""
        missing_s = self._missing_s(arrival)
        if missing_s >= INCOMPLETE_S:
            return math.inf
        pause_s = max(self.settle_s, LEAST_S, missing_s * RARER)
        return min(now + pause_s, now + INCOMPLETE_S - missing_s)

    def _quiet_s(self, arrival: _Arrival) -> float:
        return self.settle_s * (OPEN_FACTOR if arrival.is_open else 1)

    def _schedule(self, address: str, arrival: _Arrival, at: float) -> None:
        if arrival.due != at:
            arrival.due = at
            if at != math.inf:
                heapq.heappush(self._queue, (at, address))
