"""The kernel's notices of what changes in watched folders.

One instance with one watch a folder; an event says 'look at this path again'. watchdog brings the system
calls; the reading loop is ours, because it has to survive everything, tell an overflow, and cost little for
a hundred thousand folders.
"""

from __future__ import annotations

import ctypes
import errno
import logging
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from watchdog.observers.inotify_c import InotifyConstants as In
from watchdog.observers.inotify_c import Mask, WatchDescriptor
from watchdog.observers.inotify_c import inotify_add_watch as _add_watch
from watchdog.observers.inotify_c import inotify_init as _init
from watchdog.observers.inotify_c import inotify_rm_watch as _remove_watch

log = logging.getLogger(__name__)

# No IN_MODIFY: the appends of our own journals would flood us; a close tells that a write is over.
# IN_ATTRIB: a client sets the file's old mtime after it has copied it.
EVENTS = Mask(
    In.IN_CREATE
    | In.IN_MOVED_FROM
    | In.IN_MOVED_TO
    | In.IN_DELETE
    | In.IN_CLOSE_WRITE
    | In.IN_ATTRIB
    | In.IN_DELETE_SELF
    | In.IN_MOVE_SELF
    | In.IN_ONLYDIR
    | In.IN_DONT_FOLLOW
    | In.IN_EXCL_UNLINK
)
# Of the user, and of the user namespace (a container) that we are in.
LIMIT_FILES = (Path("/proc/sys/fs/inotify/max_user_watches"), Path("/proc/sys/user/max_inotify_watches"))
BUFFER_BYTES = 1 << 20
GATHER_S = 0.01  # what one act brings about is read at once
_HEADER = struct.Struct("iIII")

OnEvent = Callable[[str, str, int], None]
"""folder (as given to `watch`), name in it ('' for the folder itself), inotify's mask."""


class LimitReached(OSError):
    """The kernel gives no more watches. `/proc/sys/fs/inotify/max_user_watches` says how many."""


class Inotify:
    """Watches of folders, each under a name of the caller's choosing."""

    def __init__(self, on_event: OnEvent, on_overflow: Callable[[], None]) -> None:
        self._on_event = on_event
        self._on_overflow = on_overflow
        self._lock = threading.Lock()
        self._folders: dict[int, str] = {}  # watch descriptor -> folder
        self._watches: dict[str, int | tuple[int, ...]] = {}  # folder -> its watches, one a branch
        self.errors = 0  # what the loop survived
        self._fd = _init()
        if self._fd == -1:
            raise OSError(ctypes.get_errno(), "inotify: no more instances")
        os.set_inheritable(self._fd, False)
        os.set_blocking(self._fd, False)
        self._wake, self._wake_writer = os.pipe()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inotify", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._folders)

    def watch(self, path: str, folder: str) -> None:
        """Watches the folder at `path`; its events come under the name `folder`. Twice is safe."""
        with self._lock:
            if self._stopping.is_set():
                return
            watch = _add_watch(self._fd, os.fsencode(path), EVENTS)
            if watch == -1:
                code = ctypes.get_errno()
                if code == errno.ENOSPC:
                    raise LimitReached(code, "no more inotify watches", path)
                raise OSError(code, os.strerror(code), path)
            before = self._folders.get(watch)
            if before == folder:
                return
            if before is not None:
                self._part(before, watch)  # the same folder under a new name: it was moved
            self._folders[watch] = folder
            known = self._watches.get(folder)
            if known is None:
                self._watches[folder] = watch
            else:
                self._watches[folder] = (*(known if isinstance(known, tuple) else (known,)), watch)

    def forget(self, folder: str) -> None:
        """Ends the watches of a folder and of those below it."""
        below = folder if folder.endswith("::") else folder + "/"
        with self._lock:
            gone = [name for name in self._watches if name == folder or name.startswith(below)]
            for name in gone:
                for watch in self._of(name):
                    self._folders.pop(watch, None)
                    _remove_watch(self._fd, WatchDescriptor(watch))
                del self._watches[name]

    def watched(self, folder: str) -> bool:
        return folder in self._watches

    def folders(self, prefix: str) -> list[str]:
        """The watched folders whose names begin so."""
        with self._lock:
            return [folder for folder in self._watches if folder.startswith(prefix)]

    def close(self) -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            self._stopping.set()
        os.write(self._wake_writer, b"!")
        self._thread.join()
        for fd in (self._fd, self._wake, self._wake_writer):
            os.close(fd)

    # -- the loop ---------------------------------------------------------------------------------

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        while not self._stopping.is_set():
            try:
                poller.poll()
                if self._stopping.wait(GATHER_S):
                    return
                for watch, mask, name in parse(os.read(self._fd, BUFFER_BYTES)):
                    self._tell(watch, mask, name)
            except BlockingIOError:
                continue
            except Exception:
                # Whatever it was, the next event has to be heard; what was lost a scan finds.
                self.errors += 1
                log.exception("An inotify event could not be handled")
                self._overflow()
                time.sleep(0.05)

    def _tell(self, watch: int, mask: int, name: str) -> None:
        if mask & In.IN_Q_OVERFLOW:
            self._overflow()
            return
        folder = self._folders.get(watch)
        if folder is None:
            return
        if mask & In.IN_IGNORED:
            with self._lock:
                self._folders.pop(watch, None)
                self._part(folder, watch)
        self._on_event(folder, name, mask)

    def _overflow(self) -> None:
        try:
            self._on_overflow()
        except Exception:
            self.errors += 1
            log.exception("An overflow could not be told")

    def _of(self, folder: str) -> tuple[int, ...]:
        known = self._watches.get(folder, ())
        return known if isinstance(known, tuple) else (known,)

    def _part(self, folder: str, watch: int) -> None:
        left = tuple(other for other in self._of(folder) if other != watch)
        if not left:
            self._watches.pop(folder, None)
        else:
            self._watches[folder] = left if len(left) > 1 else left[0]


def parse(buffer: bytes) -> Iterator[tuple[int, int, str]]:
    """Watch, mask and name of each event, as inotify(7) lays them out."""
    at = 0
    while at + _HEADER.size <= len(buffer):
        watch, mask, _, length = _HEADER.unpack_from(buffer, at)
        at += _HEADER.size
        yield watch, mask, os.fsdecode(buffer[at : at + length].rstrip(b"\0"))
        at += length


def limit() -> int:
    """How many watches the kernel allows this user; 0 when unknown."""
    found = []
    for path in LIMIT_FILES:
        try:
            found.append(int(path.read_text()))
        except (OSError, ValueError):
            continue
    return min(found, default=0)
