"""How often somebody tried lately, in memory: what makes guessing slow.

Each process counts for itself and forgets at its end; a bounded number of keys is remembered.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from server.disk.speech import say
from server.web.requests import TooMany

WINDOW_S = 300
DAY_S = 24 * 3600
COUNTED = 100  # tries of one key, at most: no limit may be larger
KEYS = 10_000


class Attempts:
    """Failed tries of late, by key."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, key: str, limit: int, window_s: float = WINDOW_S) -> None:
        """Nothing, or TooMany with the seconds to wait."""
        with self._lock:
            times = self._failed.get(key)
            if times is None:
                return
            now = self._clock()
            while times and times[0] <= now - DAY_S:
                times.popleft()
            if not times:
                del self._failed[key]
            elif sum(one > now - window_s for one in times) >= limit:
                wait = int(times[-limit] + window_s - now) + 1
                raise TooMany(words(wait), retry_after_s=wait)

    def failed(self, key: str) -> None:
        with self._lock:
            if len(self._failed) >= KEYS:
                self._failed.clear()
            self._failed.setdefault(key, deque(maxlen=COUNTED)).append(self._clock())

    def forget(self, *keys: str) -> None:
        with self._lock:
            for key in keys:
                self._failed.pop(key, None)

    def forget_about(self, ident: str) -> None:
        """Everything about one person, wherever it was tried: they were given another door."""
        with self._lock:
            for key in [one for one in self._failed if one.split(" at ")[0].endswith(f" {ident}")]:
                del self._failed[key]


def words(wait_s: int) -> str:
    minutes = max(1, round(wait_s / 60))
    if minutes <= 90:
        return say("Too many tries. Wait {minutes} min, then try again.", minutes=minutes)
    return say("Too many tries today. Ask your supervisor for another PIN.")
