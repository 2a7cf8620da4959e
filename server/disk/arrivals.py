"""Which files are still being copied, and when they have come to rest.

A file is `arriving` until it is unchanged between two looks that lie `settle_s` apart and its end is there.
Clients keep old and even future mtimes, so only the server's monotonic clock counts. Pure bookkeeping: it
is told what a look saw and says when to look again.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from server.disk.records import Stat

OPEN_FACTOR = 3  # whoever made it was not seen to close it: wait that much longer
PATIENCE_S = 30.0  # a file without its end may be a copy that stalled; after that it is taken as it is


@dataclass(slots=True)
class _Arrival:
    stat: Stat
    since: float  # when it was first seen like this
    is_open: bool
    due: float


class Arrivals:
    """The files that are arriving, by address. Safe for several threads."""

    def __init__(self, settle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.settle_s = settle_s
        self._clock = clock
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
                arrival = self._arrivals[address] = _Arrival(stat, now, opened and not closed, 0.0)
            else:
                if arrival.stat != stat:
                    arrival.stat, arrival.since = stat, now
                arrival.is_open = (arrival.is_open or opened) and not closed
            self._schedule(address, arrival, arrival.since + self._quiet_s(arrival))

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
        at = self._clock() + max(self.settle_s, 0.1)
        with self._lock:
            for address, arrival in self._arrivals.items():
                if not arrival.due:
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

    def settled(self, address: str, stat: Stat | None, complete: Callable[[], bool]) -> bool:
        """The second look: whether it has come to rest. Gone counts as that; if not, it is due again."""
        now = self._clock()
        with self._lock:
            arrival = self._arrivals.get(address)
            if arrival is None:
                return True
            if stat is None:
                del self._arrivals[address]
                return True
            if arrival.stat != stat:
                arrival.stat, arrival.since = stat, now
            quiet_s = now - arrival.since
            rested = quiet_s >= self._quiet_s(arrival)
        # The end of a file may be slow to read: no lock is held.
        over = rested and (quiet_s >= PATIENCE_S or complete())
        with self._lock:
            if self._arrivals.get(address) is not arrival:
                return True
            if over:
                del self._arrivals[address]
            elif rested:
                self._schedule(address, arrival, now + max(self.settle_s, 0.1))
            else:
                self._schedule(address, arrival, arrival.since + self._quiet_s(arrival))
            return over

    def forget(self, address: str) -> None:
        """It is gone, or whole by another proof."""
        with self._lock:
            self._arrivals.pop(address, None)

    def _quiet_s(self, arrival: _Arrival) -> float:
        return self.settle_s * (OPEN_FACTOR if arrival.is_open else 1)

    def _schedule(self, address: str, arrival: _Arrival, at: float) -> None:
        if arrival.due != at:
            arrival.due = at
            heapq.heappush(self._queue, (at, address))
