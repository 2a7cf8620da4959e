"""A thread beside the store: it is told of each change, notes what that leaves to do, and does it in peace.

For rooms that keep in memory what the disk says. Promises that whoever made the change waits for nothing
but the noting, and that the thread ends when it is asked to; that it survives its work is up to `_work`.
"""

from __future__ import annotations

import contextlib
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from .records import Change
from .store import Store


class Follower(ABC):
    """`start` to `close` it follows what changes; `faults` counts how often its thread stumbled."""

    def __init__(self, store: Store, name: str, nice: int = 0) -> None:
        self._store = store
        self._condition = threading.Condition()  # guards what is left to do; told when that becomes another
        self._nice = nice
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._unsubscribe: Callable[[], None] = lambda: None
        self.faults = 0

    def start(self) -> None:
        """Take in what is there, then follow what changes."""
        self._unsubscribe = self._store.subscribe(self._on_changes)
        self._begin()
        self._thread.start()

    def close(self) -> None:
        """End the thread, at latest after 30 s."""
        self._unsubscribe()
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        if self._thread.ident is not None:
            self._thread.join(30)

    def wait(self, timeout_s: float = 30.0) -> bool:
        """Until all that is known to have changed was worked off. For tests and measurements."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._has_work(), timeout_s)

    def _run(self) -> None:
        if self._nice:
            with contextlib.suppress(OSError, AttributeError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._nice)
        self._work()

    def _begin(self) -> None:  # noqa: B027  # not every room has something to do then
        """Note what is to be done of what is there at the start."""

    @abstractmethod
    def _on_changes(self, changes: list[Change]) -> None:
        """In whichever thread made the changes: only note them."""

    @abstractmethod
    def _has_work(self) -> bool:
        """Whether something is left to do, or under way. Called with the condition held."""

    @abstractmethod
    def _work(self) -> None:
        """The thread, until `_closed`: survives whatever its work raises, and counts it."""
