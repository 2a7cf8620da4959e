"""Which folders have an `old/`, so that listing what was deleted costs what was deleted, not every folder.

Whatever goes to `old/` leaves its folder, of which the store tells: such folders are asked again, and those
that were never asked; all of them now and then, for an `old/` that somebody put there by hand.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from server.disk import paths
from server.disk.errors import CroftError
from server.disk.records import Change
from server.disk.store import Store

EVERY_S = 600.0  # all folders are asked anew


class Olds:
    """Thread-safe."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._asked: dict[str, bool] = {}  # folder -> whether it has an old/
        self._since = clock()
        store.subscribe(self._on_changes)

    def below(self, folder: str) -> Iterator[str]:
        """The folders that have an `old/`: this one and those below it."""
        with self._lock:
            if self._clock() - self._since > EVERY_S:
                self._asked.clear()
                self._since = self._clock()
        for one in self._store.index.tree(folder):
            known = self._asked.get(one)
            if known or (known is None and self._ask(one)):
                yield one

    def _ask(self, folder: str) -> bool:
        self._asked[folder] = True  # Race: a change that is told while the disk is asked takes it out again
        share, inside = paths.parse(folder)
        try:
            there = os.path.isdir(self._store.share(share).root / inside / paths.OLD)
        except CroftError:
            self._asked.pop(folder, None)
            return False
        if not there:
            with self._lock:
                if folder in self._asked:
                    self._asked[folder] = False
        return there

    def _on_changes(self, changes: Iterable[Change]) -> None:
        with self._lock:
            for change in changes:
                if change.kind == "share":
                    self._asked.clear()
                elif change.kind == "asset":
                    # A folder that was deleted lies in the old/ of one above it.
                    place = change.id
                    self._asked.pop(place, None)
                    while (folder := paths.folder_of(place)) != place:
                        self._asked.pop(folder, None)
                        place = folder
