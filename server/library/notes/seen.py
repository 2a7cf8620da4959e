"""Which notes each person has read: a file each, in the configuration (`seen/<user>.json`), written when
somebody reads and never otherwise.

Holds the newest thousand by id; what is older than all of these counts as read. So a note that comes late,
from another site or a backup, is news though newer ones were read.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from server.disk import files, sidecar
from server.disk.errors import CroftError

KEPT = 1000
LOOK_S = 1.0  # how often, at most, it is looked whether another process has written one
BYTES = 1 << 18
_IDENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class Read:
    """What one person has read. Compared by identity: another object says something else."""

    ids: frozenset[str] = field(default_factory=frozenset)
    floor: str = ""  # what is older by its id is read

    def has(self, ident: str) -> bool:
        return ident in self.ids or ident < self.floor


NOTHING = Read()


class Seen:
    """Thread-safe. What can't be written is remembered until this process ends."""

    def __init__(
        self, folder: Path, disk: files.Os = files.REAL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._disk = disk
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[
            str, tuple[float, tuple[int, ...], Read]
        ] = {}  # when looked, its stat, what it says

    def of(self, user: str) -> Read:
        """What somebody has read: the same object until that changes."""
        known = self._known.get(user)
        if known is not None and self._clock() - known[0] < LOOK_S:
            return known[2]
        if not _IDENT.match(user):
            return NOTHING
        with self._lock:
            return self._look(user)

    def add(self, user: str, idents: Iterable[str]) -> bool:
        """Somebody has read these. False where that is known."""
        if not _IDENT.match(user):
            return False
        with self._lock:
            before = self._look(user)
            fresh = {ident for ident in idents if not before.has(ident)}
            if not fresh:
                return False
            ids = sorted(before.ids | fresh)
            floor = max(before.floor, ids[-KEPT]) if len(ids) > KEPT else before.floor
            now = Read(frozenset(ids[-KEPT:]), floor)
            said = {"schema": 1, "floor": floor, "read": ids[-KEPT:]}
            path = self._path(user)
            state: tuple[int, ...] = ()
            with contextlib.suppress(CroftError, OSError):  # a full disk: it is news once more, later
                path.parent.mkdir(exist_ok=True)
                state = _state(files.write_atomic(path, sidecar.dump(said), disk=self._disk, mode=0o600))
            self._known[user] = (self._clock(), state or self._known[user][1], now)
            return True

    def forget(self, user: str) -> None:
        """Somebody is to be forgotten."""
        if _IDENT.match(user):
            with self._lock, contextlib.suppress(OSError):
                self._known.pop(user, None)
                self._disk.unlink(self._path(user))

    def _path(self, user: str) -> Path:
        return self._folder / f"{user}.json"

    def _look(self, user: str) -> Read:
        known = self._known.get(user)
        try:
            state = _state(os.stat(self._path(user)))
        except OSError:
            state = ()
        if known is None or (state and state != known[1]):
            read = self._read(user) if state else NOTHING
        else:
            read = known[2]
        self._known[user] = (self._clock(), state, read)
        return read

    def _read(self, user: str) -> Read:
        try:
            said = sidecar.parse(files.read_bounded(self._path(user), BYTES)[0], self._path(user))
        except (CroftError, OSError):
            return NOTHING  # spoilt: everything is news once more
        ids, floor = said.get("read"), said.get("floor")
        listed = ids if isinstance(ids, list) else []
        return Read(
            frozenset(ident for ident in listed if isinstance(ident, str)),
            floor if isinstance(floor, str) else "",
        )


def _state(st: os.stat_result) -> tuple[int, ...]:
    return (st.st_size, st.st_mtime_ns, st.st_ino)
