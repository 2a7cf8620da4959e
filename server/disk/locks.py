"""Exclusion between threads, processes and machines that share a disk.

The only room that knows `filelock`. A lock is a file `.croft-locks/<key>.lock` on the share itself, taken
with `flock` through the mount. Threads of one process queue on a lock in memory first, so that only
processes poll. Locks are not reentrant. Hold none while hashing, rendering or talking.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from server.disk import files, paths
from server.disk.errors import Busy, CroftError, ReadOnly, ShareAway

TIMEOUT_S = 10.0
POLL_S = 0.005  # among processes; threads don't poll
KEPT = 2048  # lock objects kept for the next use: making one costs as much as taking it
HOLDER_BYTES = 200


class _Replaced(Exception):
    """The file that was locked is no longer the one of that name."""


class Held:
    """A lock in one's hands."""

    __slots__ = ("_identity", "key", "path")

    def __init__(self, key: str, path: str, identity: tuple[int, int]) -> None:
        self.key = key
        self.path = path
        self._identity = identity

    def still(self) -> bool:
        """False when the lock file was replaced or deleted meanwhile: another may hold its successor."""
        try:
            st = os.stat(self.path)
        except OSError:
            return False
        return (st.st_dev, st.st_ino) == self._identity

    def check(self) -> None:
        """Busy when the lock was lost. Called right before a write, it leaves only microseconds unguarded."""
        if not self.still():
            raise Busy(
                "The lock {path} was replaced while it was held (a restore?). Try again.",
                path=self.path, holder="", waited_s=0.0,
            )  # fmt: skip


class _Slot:
    __slots__ = ("file", "identity", "thread", "users")

    def __init__(self, path: str, holder: str) -> None:
        self.thread = threading.Lock()
        self.users = 0
        self.identity = (0, 0)
        self.file = FileLock(
            path, mode=files.FILE_MODE, thread_local=False, poll_interval=POLL_S, fallback_to_soft=False,
            preserve_lock_file=True, on_acquired=lambda fd: self._acquired(fd, path, holder),
        )  # fmt: skip

    def _acquired(self, fd: int, path: str, holder: str) -> None:
        st = os.fstat(fd)
        try:
            now = os.stat(path)
        except FileNotFoundError:
            raise _Replaced from None
        if (st.st_dev, st.st_ino) != (now.st_dev, now.st_ino):
            # Race: a restore or a clean-up put another file of this name here while we waited.
            raise _Replaced
        self.identity = (st.st_dev, st.st_ino)
        text = holder.encode("utf-8", "replace")[:HOLDER_BYTES]
        # Rewritten only when somebody else held it last: an unchanged file costs the disk nothing.
        if st.st_size != len(text) or os.pread(fd, HOLDER_BYTES, 0) != text:
            with suppress(OSError):  # a full disk must not stop what frees it
                os.ftruncate(fd, 0)
                os.pwrite(fd, text, 0)


class Locks:
    """The locks of one share. `holder` is who we are: host, process and server, told to who waits in vain."""

    def __init__(self, root: Path, holder: str) -> None:
        self.root = root
        self.holder = holder
        self.folder = root / paths.LOCKS
        self._prefix = str(self.folder) + "/"
        self._guard = threading.Lock()
        self._slots: OrderedDict[str, _Slot] = OrderedDict()

    @contextmanager
    def hold(self, key: str, timeout_s: float = TIMEOUT_S) -> Iterator[Held]:
        """Hold one lock; Busy names who has it when it isn't free in time."""
        began = time.monotonic()
        slot = self._borrow(key)
        try:
            if not slot.thread.acquire(timeout=max(timeout_s, 0)):
                raise self._busy(key, time.monotonic() - began)
            try:
                self._take(slot, key, began, timeout_s)
                try:
                    yield Held(key, self._path(key), slot.identity)
                finally:
                    slot.file.release()
            finally:
                slot.thread.release()
        finally:
            self._give_back(key, slot)

    @contextmanager
    def hold_all(self, keys: Iterable[str], timeout_s: float = TIMEOUT_S) -> Iterator[list[Held]]:
        """Hold several, always in the same order, so that two who want the same never wait in a circle."""
        with ExitStack() as stack:
            yield [stack.enter_context(self.hold(key, timeout_s)) for key in sorted(set(keys))]

    @contextmanager
    def try_hold(self, key: str) -> Iterator[Held | None]:
        """Hold it if it is free right now; None otherwise."""
        with ExitStack() as stack:
            try:
                held = stack.enter_context(self.hold(key, 0))
            except Busy:
                yield None
            else:
                yield held

    def prune(self, keep: int = KEPT) -> int:
        """Delete lock files that nobody holds, where there are more than `keep`. Returns how many.

        Safe at any time: who waits for a deleted file notices, and makes another. Each costs a block.
        """
        try:
            names = [name for name in os.listdir(self.folder) if name.endswith(".lock")]
        except OSError:
            return 0
        count = 0
        for name in names[keep:]:
            with suppress(CroftError, OSError), self.try_hold(name.removesuffix(".lock")) as held:
                if held is not None and held.still():
                    os.unlink(held.path)
                    count += 1
        return count

    def holder_of(self, key: str) -> str:
        """Who wrote themselves into the lock file last: who holds it, when it is held."""
        try:
            with open(self._path(key), "rb") as file:
                return file.read(HOLDER_BYTES).decode("utf-8", "replace") or "someone"
        except OSError:
            return "someone"

    def _path(self, key: str) -> str:
        return f"{self._prefix}{key}.lock"

    def _borrow(self, key: str) -> _Slot:
        with self._guard:
            slot = self._slots.get(key)
            if slot is None:
                slot = self._slots[key] = _Slot(self._path(key), self.holder)
            else:
                self._slots.move_to_end(key)
            slot.users += 1
            return slot

    def _give_back(self, key: str, slot: _Slot) -> None:
        with self._guard:
            slot.users -= 1
            if len(self._slots) > KEPT:
                for old, idle in list(self._slots.items())[: KEPT // 8]:
                    if not idle.users:
                        del self._slots[old]

    def _take(self, slot: _Slot, key: str, began: float, timeout_s: float) -> None:
        while True:
            left = timeout_s - (time.monotonic() - began)
            if not os.path.isdir(self.folder):
                # filelock would make it, on the bare mount point of a share that isn't mounted too.
                self._make_folder()
            try:
                slot.file.acquire(timeout=max(left, 0))
                return
            except Timeout:
                raise self._busy(key, time.monotonic() - began) from None
            except _Replaced:
                if left <= 0:
                    raise self._busy(key, time.monotonic() - began) from None
                time.sleep(0.001)  # no inode agrees with itself on a disk that is broken: don't spin
            except OSError as error:
                self._explain(error)

    def _make_folder(self) -> None:
        if not os.path.isfile(self.root / paths.SHARE_MARKER):
            raise ShareAway(
                "The share at {root} isn't there. Mount it again; nothing is lost.",
                share=str(self.root),
                root=self.root,
            )
        files.make_folders(self.folder, self.root)

    def _explain(self, error: OSError) -> None:
        """Say what is the matter, unless trying again helps."""
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENOTCONN, errno.ESTALE, errno.EIO):
            self._make_folder()
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                return  # Race: the folder was deleted after the look.
        if error.errno == errno.ENOSYS:
            raise ReadOnly(
                "The file system of {root} has no locks.", path=str(self.root), root=self.root
            ) from error
        files.fail(error, self.folder)

    def _busy(self, key: str, waited_s: float) -> Busy:
        holder = self.holder_of(key)
        return Busy(
            "{path} was not free for {waited_s:.1f} seconds: {holder} holds it. Try again.",
            path=self._path(key), holder=holder, waited_s=waited_s,
        )  # fmt: skip
