"""Answers that may be some seconds old, since pages ask for them again and again."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

MOST, KEPT_S = 200, 5.0  # how many are kept, and for how long

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Kept(Generic[K, V]):
    """For many threads: two that ask at once may both make it."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._known: dict[K, tuple[float, V]] = {}

    def get(self, key: K, make: Callable[[], V]) -> V:
        """What was made for this key a moment ago, or what `make` gives."""
        now = self._monotonic()
        known = self._known.get(key)
        if known is None or now - known[0] > KEPT_S:
            if len(self._known) > MOST:
                self._known.clear()
            known = self._known[key] = (now, make())
        return known[1]
