"""Sessions that somebody ended by signing out, as long as their cookies would still be good.

One line each in the configuration's file `ended-sessions`, so that all processes of a server know them. Only
appended to; a start drops those that have ended by themselves.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from server.disk import files

log = logging.getLogger(__name__)

FILE = "ended-sessions"
MAX_BYTES = 16 << 20


class Ended:
    """The ended sessions of one configuration. Thread-safe."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = folder / FILE
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._nonces: frozenset[str] = frozenset()
        self._tidy()

    def add(self, nonce: str, until: float) -> None:
        """This session is over; its cookie would have been good until then (seconds since the epoch)."""
        with self._lock:
            self._nonces |= {nonce}
            try:
                fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
                try:
                    os.write(fd, f"{int(until)} {nonce}\n".encode())
                finally:
                    os.close(fd)
            except (
                OSError
            ) as error:  # the disk is full: this process knows it, and the browser's cookie is gone
                log.warning("%s can't be written: %s", self._path, error)

    def has(self, nonce: str) -> bool:
        """Whether this session was ended."""
        try:
            st = os.stat(self._path)
        except OSError:
            return nonce in self._nonces
        seen = (st.st_size, st.st_mtime_ns, st.st_ino)
        if seen != self._seen:
            with self._lock:
                self._nonces |= {one for _, one in self._read()}
                self._seen = seen
        return nonce in self._nonces

    def _read(self) -> list[tuple[int, str]]:
        found = []
        with contextlib.suppress(OSError):
            raw, _ = files.read_bounded(self._path, MAX_BYTES)
            for line in raw.decode("ascii", "replace").splitlines():
                until, _, nonce = line.partition(" ")
                if until.isdigit() and nonce:
                    found.append((int(until), nonce))
        return found

    def _tidy(self) -> None:
        lines = self._read()
        now = self._clock()
        good = [(until, nonce) for until, nonce in lines if until > now]
        if len(good) < len(lines):
            text = "".join(f"{until} {nonce}\n" for until, nonce in good)
            with contextlib.suppress(OSError):
                files.write_atomic(self._path, text.encode(), mode=0o600)
        self._nonces = frozenset(nonce for _, nonce in good)
