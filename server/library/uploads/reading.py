"""What happens to an upload once all of it came: it is compared with what was sent, and read.

Two threads work from queues. What doesn't agree with its checksums is begun again, and says so; what does
is looked into by the bounded helper, as a file on the share would be. Nothing is locked while it reads.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from server.disk.errors import CroftError
from server.disk.speech import say
from server.disk.store import Store

from ..media import Media, facts_of
from ..media.ends import ending
from . import staging
from .record import CONTENT, PICTURE, Upload
from .shelf import Shelf
from .targets import Digests, State

log = logging.getLogger(__name__)

SWEEP_S = 24 * 3600.0
LARGE = 1  # the lane of what takes long, so that nobody's small files wait for somebody's film
LARGE_BYTES = 256 << 20
FAILED = "time", "memory", "damaged", "crash"


class Reader:
    """Reads what came, in the background, from `start` to `close`.

    `begin_again(place, why)` forgets what came, `tell(upload)` says that one changed, `sweep()` is called
    once a day.
    """

    def __init__(
        self,
        store: Store,
        media: Media,
        shelf: Shelf,
        digests: Digests,
        begin_again: Callable[[str, str], None],
        tell: Callable[[Upload], None],
        sweep: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._media, self._shelf, self._digests = store, media, shelf, digests
        self._begin_again, self._tell, self._sweep = begin_again, tell, sweep
        self._clock = clock
        lock = threading.RLock()
        self._condition = threading.Condition(lock)  # there is something to read
        # Apart: threads with nothing to do that told it each other would never come to rest.
        self._rests = threading.Condition(lock)
        self._queues: tuple[OrderedDict[str, None], OrderedDict[str, None]] = (OrderedDict(), OrderedDict())
        self._compare: OrderedDict[State, dict[str, Upload]] = OrderedDict()  # files to hash: for whom
        self._busy = [False, False]
        self._closed = False
        self._sweep_at = 0.0
        self._threads: list[threading.Thread] = []
        self.faults = 0

    def start(self) -> None:
        self._sweep_at = self._clock() + SWEEP_S
        for lane, name in enumerate(("uploads", "uploads-large")):
            thread = threading.Thread(target=self._work, args=(lane,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        for thread in self._threads:
            thread.join(timeout=30)

    def sweep_soon(self) -> None:
        """Have `sweep` called, before its day is over."""
        with self._condition:
            self._sweep_at = self._clock()
            self._condition.notify_all()

    def ask(self, upload: Upload) -> None:
        """Have an upload read of which everything came."""
        with self._condition:
            self._queues[upload.size > LARGE_BYTES][upload.place] = None
            self._condition.notify_all()

    def compare(self, state: State, upload: Upload) -> None:
        """Have a file hashed that an upload may be the same as; its person's page is told then."""
        with self._condition:
            self._compare.setdefault(state, {})[upload.id] = upload
            self._condition.notify_all()

    def wait(self, timeout_s: float = 30.0) -> bool:
        """Until nothing is left to read. For tests."""
        with self._rests:
            return self._rests.wait_for(
                lambda: not (any(self._queues) or self._compare or any(self._busy)), timeout_s
            )

    def _work(self, lane: int) -> None:
        """A thread: survives whatever a file does. The first reads, the second what takes long."""
        while True:
            with self._condition:
                self._busy[lane] = False
                job = self._next(lane)
                while job is None and not self._closed:
                    self._rests.notify_all()
                    self._condition.wait(self._sweep_at - self._clock() if lane == LARGE else None)
                    job = self._next(lane)
                if job is None or self._closed:
                    return
                self._busy[lane] = True
            try:
                job()
            except CroftError as error:
                log.info("an upload isn't read: %s", error.message)
            except Exception:
                self.faults += 1
                log.exception("an upload can't be read")

    def _next(self, lane: int) -> Callable[[], None] | None:
        """What this thread is to do now."""
        if self._queues[lane]:
            place = self._queues[lane].popitem(last=False)[0]
            return lambda: self._read(place)
        if lane == LARGE and self._compare:
            state, uploads = self._compare.popitem(last=False)
            return lambda: self._hash(state, list(uploads.values()))
        if lane == LARGE and self._clock() >= self._sweep_at:
            self._sweep_at = self._clock() + SWEEP_S
            return self._sweep
        return None

    def _hash(self, state: State, uploads: list[Upload]) -> None:
        self._digests.make(state)
        for upload in uploads:
            self._tell(upload)

    def _read(self, place: str) -> None:
        upload = self._shelf.load(place)
        if upload is None or upload.read or not upload.open or upload.data.get("expired"):
            return
        chunks = self._shelf.chunks(upload)
        if staging.offset_of(chunks) != upload.size:
            return
        folder = self._shelf.path(place)
        digest = staging.digest(folder, chunks, lambda: self._closed)
        if self._closed:
            return
        if not digest:
            self._begin_again(place, say("The disk didn't keep what came. It is sent again."))
            return
        said = upload.data.get("hash")
        if said and said != digest:
            self._begin_again(place, say("What came isn't what was sent. It is sent again."))
            return
        answer = self._media.look_path(folder / CONTENT, upload.kind)
        changes: dict[str, Any] = {"sha256": digest, "facts": facts_of(answer), "why": ""}
        changes["cut"] = ending(folder / CONTENT, thorough=True, name=upload.name) is False
        if answer.error in FAILED:
            changes["unread"] = str(answer.data.get("why", answer.error))[:300]
        if answer.content and answer.data.get("format") in ("jpg", "png"):
            name = f"{PICTURE}.{answer.data['format']}"
            (folder / name).write_bytes(answer.content)  # not flushed: nothing is lost with it
            changes["picture"] = name
        self._shelf.keep(place, changes)
        self._tell(upload)
