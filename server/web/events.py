"""Tells browsers what changed: ids only, gathered each half second, caught up after a lost connection.

One ring of numbered events for each process. A stream that asks for a number the ring no longer (or never)
had is told to reload. Streams have a cap of their own; beyond it a page polls the same ring as JSON.
Promises that whoever notifies is never held up, and that a process without news wakes for nobody.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from server.disk.errors import Busy
from server.disk.records import Change
from server.disk.speech import say
from server.web.requests import dumps

log = logging.getLogger(__name__)

GATHER_S = 0.5
HEARTBEAT_S = 15.0  # proxies close what is silent for 30 or 60 seconds
RING = 1000  # events kept for those who come back
IDS = 500  # beyond, a page does better to load itself again than to fetch each one
FIRST = b"retry: 2000\n\n"


@dataclass(frozen=True, slots=True)
class Event:
    """One gathered change of one kind; `ids` empty means that too many changed: reload."""

    number: int
    kind: str
    ids: tuple[str, ...]


class Events:
    """Gathers changes and hands them to streams and polls."""

    def __init__(
        self,
        streams: int = 64,
        gather_s: float = GATHER_S,
        heartbeat_s: float = HEARTBEAT_S,
        watched: Callable[[], object] = lambda: None,
    ) -> None:
        """`watched` is called now and then while somebody follows: an open page counts as a person."""
        self._run = secrets.token_hex(4)  # numbers of another run or process mean nothing here
        self._streams = streams
        self._watched = watched
        self._gather_s, self._heartbeat_s = gather_s, heartbeat_s
        self._waiting: dict[str, dict[str, None]] = {}  # kind -> ids, in the order of their coming
        self._ring: deque[Event] = deque(maxlen=RING)
        self._number = 0
        self._written: tuple[tuple[int, int], bytes] = ((0, 0), b"")
        self._changed = threading.Condition()  # guards _waiting
        self._news = threading.Condition()  # guards _ring, _number, _open
        self._open = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._gather, name="events", daemon=True)
        self._thread.start()
        self.faults = 0

    def notify(self, changes: Iterable[Change]) -> None:
        """Remember what changed. Called by the store and the farm, from any thread; returns at once."""
        with self._changed:
            was_empty = not self._waiting
            for change in changes:
                self._waiting.setdefault(change.kind, {})[change.id] = None
            if was_empty and self._waiting:
                self._changed.notify()

    @property
    def last_id(self) -> str:
        return f"{self._run}-{self._number}"

    @property
    def open_streams(self) -> int:
        return self._open

    def since(self, last_id: str) -> dict[str, Any]:
        """What came after `last_id`, for those who poll. `reload` when that can't be told."""
        with self._news:
            number = self._number_of(last_id)
            missed = self._after(number) if number is not None else []
            reload = number is None or any(not event.ids for event in missed)
            changes = [{"kind": event.kind, "ids": list(event.ids)} for event in missed if event.ids]
            return {"id": self.last_id, "changes": [] if reload else changes, "reload": reload}

    def stream(self, last_id: str = "") -> Iterator[bytes]:
        """Server-sent events until the client goes or the server stops. Busy when all streams are taken."""
        with self._news:
            if self._open >= self._streams or self._closed.is_set():
                text = say("All event streams are taken: ask /api/events?since=… now and then.")
                raise Busy(text, path="events")
            self._open += 1
            number = self._number_of(last_id) if last_id else self._number
        return _Stream(self, number)

    def close(self) -> None:
        """End every stream, so that their threads are free."""
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        with self._news:
            self._news.notify_all()
        if self._thread is not threading.current_thread():
            self._thread.join(5)

    # Inside

    def _gather(self) -> None:
        while not self._closed.is_set():
            try:
                with self._changed:
                    while not self._waiting and not self._closed.is_set():
                        self._changed.wait()
                if self._closed.wait(self._gather_s):
                    return
                with self._changed:
                    waiting, self._waiting = self._waiting, {}
                self._publish(waiting)
            except Exception:
                self.faults += 1
                log.exception("The events thread met an error and goes on.")

    def _publish(self, waiting: dict[str, dict[str, None]]) -> None:
        with self._news:
            for kind, ids in waiting.items():
                self._number += 1
                self._ring.append(Event(self._number, kind, tuple(ids) if len(ids) <= IDS else ()))
            self._news.notify_all()

    def _number_of(self, last_id: str) -> int | None:
        """The number that an id names, or None where this ring can't continue from it."""
        run, _, text = last_id.partition("-")
        if run != self._run or not text.isdigit() or len(text) > 15:
            return None
        number = int(text)
        oldest = self._ring[0].number - 1 if self._ring else self._number
        return number if oldest <= number <= self._number else None

    def _after(self, number: int) -> list[Event]:
        """The ring's events behind `number`, oldest first."""
        found = []
        for event in reversed(self._ring):
            if event.number <= number:
                break
            found.append(event)
        return found[::-1]

    def _render(self, events: list[Event]) -> bytes:
        """As the wire has it. A hundred streams are woken for the same news: it is written out once."""
        which = (events[0].number, events[-1].number)
        kept = self._written
        if kept[0] == which:
            return kept[1]
        parts = []
        for event in events:
            ident = f"id: {self._run}-{event.number}\n".encode()
            if event.ids:
                parts.append(
                    b"event: change\n" + ident + b"data: " + dumps({"kind": event.kind, "ids": event.ids})
                )
            else:
                parts.append(b"event: reload\n" + ident + b"data: {}")
        made = b"\n\n".join(parts) + b"\n\n"
        self._written = (which, made)
        return made


class _Stream:
    """The body of one event stream: an iterator that WSGI servers close when the client is gone."""

    def __init__(self, events: Events, number: int | None) -> None:
        self._events = events
        self._number = number
        self._begun = self._ended = False

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> bytes:
        owner = self._events
        if not self._begun:
            self._begun = True
            return FIRST + self._greeting()
        with owner._news:
            if self._number == owner._number and not owner._closed.is_set():
                owner._news.wait(owner._heartbeat_s)
            if owner._closed.is_set():
                self.close()
                raise StopIteration
            number = self._number if self._number is not None else owner._number
            events = owner._after(number)
            lost = events and events[0].number != number + 1  # so slow that the ring went round
            self._number = owner._number
            ident = owner.last_id
        if lost:
            return f"event: reload\nid: {ident}\ndata: {{}}\n\n".encode()
        owner._watched()
        return owner._render(events) if events else b": still here\n\n"

    def _greeting(self) -> bytes:
        owner = self._events
        with owner._news:
            known = self._number is not None
            if not known:
                self._number = owner._number
            ident = owner.last_id if not known else f"{owner._run}-{self._number}"
        kind = "ready" if known else "reload"
        return f"event: {kind}\nid: {ident}\ndata: {{}}\n\n".encode()

    def close(self) -> None:
        with self._events._news:
            if not self._ended:
                self._ended = True
                self._events._open -= 1

    def __del__(self) -> None:
        # Race: a server that drops the body without closing it must not leak a place.
        if not self._ended:
            self.close()
