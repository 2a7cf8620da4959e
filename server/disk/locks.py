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

from filelock import lock_descriptor, unlock_descriptor

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
    """What this process keeps of one key between two holds. Its file is opened anew for each."""

    __slots__ = ("fd", "identity", "path", "signed", "thread", "users")

    def __init__(self, path: str) -> None:
        self.path = path
        self.thread = threading.Lock()
        self.users = 0
        self.fd = -1  # while it is held
        self.identity = (0, 0)
        self.signed = (0, 0)  # inode and time of the file when our name stood in it

    def try_lock(self, holder: str) -> bool:
        """One attempt; False when another has it. _Replaced where it was won in vain."""
        fd = _open(self.path)
        won = False
        try:
            if lock_descriptor(fd, blocking=False):
                self._check(fd, holder)
                won = True
        finally:
            if not won:
                os.close(fd)
        self.fd = fd if won else -1
        return won

    def let_go(self) -> None:
        fd, self.fd = self.fd, -1
        try:
            unlock_descriptor(fd)  # a child between its fork and its exec has the file open, too
        finally:
            os.close(fd)

    def _check(self, fd: int, holder: str) -> None:
        st = os.fstat(fd)
        try:
            now = os.stat(self.path)
        except FileNotFoundError:
            raise _Replaced from None
        if (st.st_dev, st.st_ino) != (now.st_dev, now.st_ino):
            # Race: a restore or a clean-up put another file of this name here while we waited.
            raise _Replaced
        self.identity = (st.st_dev, st.st_ino)
        if self.signed != (st.st_ino, st.st_mtime_ns):
            self._sign(fd, st, holder)

    def _sign(self, fd: int, st: os.stat_result, holder: str) -> None:
        """Say in the file who has it. Rewritten only when somebody else held it last: an unchanged file
        costs the disk nothing."""
        text = holder.encode("utf-8", "replace")[:HOLDER_BYTES]
        with suppress(OSError):  # a full disk must not stop what frees it
            if st.st_size != len(text) or os.pread(fd, HOLDER_BYTES, 0) != text:
                os.ftruncate(fd, 0)
                os.pwrite(fd, text, 0)
                st = os.fstat(fd)
            self.signed = (st.st_ino, st.st_mtime_ns)


def _open(path: str) -> int:
    """The lock file, made where it is missing (its folder isn't)."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        try:
            return os.open(path, flags)
        except FileNotFoundError:
            pass
        try:
            fd = os.open(path, flags | os.O_CREAT | os.O_EXCL, files.FILE_MODE)
        except FileExistsError:
            continue  # Race: another process made it between the two.
        with suppress(OSError):  # a file system without modes
            os.fchmod(fd, files.FILE_MODE)  # the umask must not keep other servers out
        return fd


class Locks:
    """The locks of one share. `holder` is who we are: host, process and server, told to who waits in vain.
    `marked`: the root is a share, whose marker must be there."""

    def __init__(self, root: Path, holder: str, marked: bool = True) -> None:
        self.root = root
        self._marked = marked
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
                    slot.let_go()
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
                slot = self._slots[key] = _Slot(self._path(key))
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
        made = False
        while True:
            pause_s = POLL_S
            try:
                if slot.try_lock(self.holder):
                    return
            except _Replaced:
                pause_s = 0.001  # no inode agrees with itself on a disk that is broken: don't spin
            except OSError as error:
                self._explain(error)
                if not made:
                    made = True
                    continue
            left = timeout_s - (time.monotonic() - began)
            if left <= 0:
                raise self._busy(key, time.monotonic() - began)
            time.sleep(min(pause_s, left))

    def _make_folder(self) -> None:
        # Never on the bare mount point of a share that isn't mounted.
        if self._marked and not os.path.isfile(self.root / paths.SHARE_MARKER):
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
