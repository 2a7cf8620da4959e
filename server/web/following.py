"""Tells browsers of what somebody changes in the configuration's folder by hand, while they look.

Looks twice a second as long as somebody follows, at what `settings` keeps anyway; else not at all.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence

from server.disk.records import Change
from server.web.events import Events

log = logging.getLogger(__name__)

LOOK_S = 0.5
Look = Callable[[], object]  # the same object as long as nothing changed


class Following:
    """`start` to `close`. `looks`: the kind of change that is told where one of these became another;
    `changed` is called before."""

    def __init__(
        self,
        events: Events,
        looks: Mapping[str, Sequence[Look]],
        every_s: float = LOOK_S,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._events = events
        self._changed = changed
        self._looks = looks
        self._every_s = every_s
        self._seen: dict[str, list[object]] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self.faults = 0

    def start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="following", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join(10)

    def look(self) -> list[Change]:
        """What became another since the last look; nothing at the first."""
        changes = []
        for kind, looks in self._looks.items():
            found = [look() for look in looks]
            seen = self._seen.get(kind)
            if seen is not None and any(one is not other for one, other in zip(found, seen, strict=True)):
                changes.append(Change(kind, ""))
            self._seen[kind] = found
        return changes

    def _work(self) -> None:
        while not self._closed.wait(self._every_s):
            if not self._events.open_streams:
                continue
            try:
                if changes := self.look():
                    self._changed()
                    self._events.notify(changes)
            except Exception:
                self.faults += 1
                log.exception("the configuration couldn't be looked at")
