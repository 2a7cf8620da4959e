"""What the kernel told of changes, gathered by folder and name until somebody looks.

Keeps the last word on each name, knows when more happened than was told (an overflow) or fewer folders are
watched than there are (the limit), and can wait until all that happened so far has been told. Looks at
nothing itself.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from watchdog.observers.inotify_c import InotifyConstants as In

from server.disk import paths
from server.disk.entries import CLOSED, CREATED, FOLDER, GONE, LEFT, MOVED
from server.disk.inotify import Inotify, LimitReached, limit
from server.disk.records import Problem
from server.disk.speech import say

log = logging.getLogger(__name__)

MANY_NAMES = 200_000  # more than that is not remembered one by one
OVERFLOW = "inotify's queue ran over"
OVERFLOW_SHOWN_S = 3600.0
COMPANION_SHARE = 0.75  # of the kernel's watches: beyond, only folders that people see get one
_SENTINEL = "sentinel"

Heard = dict[str, dict[str, int]]
"""folder -> name -> how it came up"""


class Hearing:
    """`condition` guards what was heard and wakes who waits for it; `unmounted` is told of an unmount."""

    def __init__(
        self, unmounted: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.condition = threading.Condition()
        self.everything = ""  # why all has to be looked at
        self.limit_reached = False
        self.limit_hits = 0
        self._unmounted = unmounted
        self._clock = clock
        self._heard: Heard = {}
        self._count = 0
        self._overflows = 0
        self._overflow_at = -OVERFLOW_SHOWN_S
        self._sentinels: set[str] = set()
        self._sentinel_folder: Path | None = None
        self._most_watches = limit()
        self._why_deaf = ""
        self._inotify: Inotify | None = None
        try:
            self._inotify = Inotify(self._on_event, self._on_overflow)
        except OSError as error:
            self._why_deaf = str(error.strerror or error)
            log.warning("No inotify (%s): folders are looked at instead", self._why_deaf)

    @property
    def deaf(self) -> bool:
        """The kernel gives no notices at all."""
        return self._inotify is None

    @property
    def watches(self) -> int:
        return len(self._inotify) if self._inotify is not None else 0

    def watch(self, path: str, folder: str) -> None:
        """Set the watch of a folder that is about to be listed. FileNotFoundError when it went."""
        if self._inotify is None:
            return
        if (
            self._most_watches
            and f"/{paths.COMPANION}/" in folder
            and len(self._inotify) > self._most_watches * COMPANION_SHARE
        ):
            self._reached_limit()
            return
        try:
            self._inotify.watch(path, folder)
        except LimitReached:
            self._reached_limit()
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            log.debug("%s can't be watched: %s", path, error)

    def watched(self, folder: str) -> bool:
        return self._inotify is not None and self._inotify.watched(folder)

    def folders(self, prefix: str) -> list[str] | None:
        """The watched folders whose names begin so; None where not every one could be watched."""
        if self._inotify is None or self.limit_reached:
            return None
        return self._inotify.folders(prefix)

    def forget(self, folder: str) -> None:
        """A folder went: no more watches of it and of what was below it."""
        if self._inotify is not None:
            self._inotify.forget(folder)

    @property
    def waiting(self) -> bool:
        """Whether something was heard that nobody has taken."""
        return bool(self._heard or self.everything)

    def pending(self) -> set[str] | None:
        """The folders in which something was heard that nobody has taken; None: perhaps in any."""
        with self.condition:
            return None if self.everything else set(self._heard)

    @property
    def names_waiting(self) -> bool:
        return bool(self._heard) and not self.everything

    def take(self) -> tuple[Heard, str]:
        """What was heard, or why everything has to be looked at."""
        with self.condition:
            heard, self._heard, self._count = self._heard, {}, 0
            why, self.everything = self.everything, ""
            return heard, why

    def ask_for_everything(self, why: str) -> None:
        with self.condition:
            self.everything = self.everything or why
            self.condition.notify_all()

    def wait_for_all(self, end: float) -> bool:
        """Until all that happened before this call was told; False if that can't be known by `end`.

        A file of ours in a folder of ours: when its event has come, all earlier ones have.
        """
        if self._inotify is None:
            return False
        if self._sentinel_folder is None:
            self._sentinel_folder = Path(tempfile.mkdtemp(prefix="croft-sentinel-"))
        try:
            self._inotify.watch(str(self._sentinel_folder), _SENTINEL)
        except OSError:
            return False
        while self._clock() < end:
            fd, path = tempfile.mkstemp(dir=self._sentinel_folder)
            os.close(fd)
            name = os.path.basename(path)
            with self.condition:
                told = self.condition.wait_for(lambda n=name: n in self._sentinels, 1.0)  # type: ignore[misc]
                self._sentinels.discard(name)
            os.unlink(path)
            if told:
                return True
            # Its event was lost in an overflow: the next one may come through.
        return False

    def close(self) -> None:
        if self._inotify is not None:
            self._inotify.close()
        if self._sentinel_folder is not None:
            shutil.rmtree(self._sentinel_folder, ignore_errors=True)

    def problems(self) -> list[Problem]:
        """What keeps it from hearing everything."""
        told = [
            (
                self.deaf,
                "inotify",
                say(
                    "The kernel gives no notices of changes ({why_deaf}); folders are looked at instead, "
                    "and new files show up later.",
                    why_deaf=self._why_deaf,
                ),
                say("Raise fs.inotify.max_user_instances and start Croft again."),
            ),
            (
                self.limit_reached,
                "watches",
                say(
                    "The kernel allows {limit:,} watched folders, and there are more on the shares: "
                    "changes in the others show up later.",
                    limit=limit(),
                ),
                say("Raise it: sysctl fs.inotify.max_user_watches=1000000 (and in /etc/sysctl.d)."),
            ),
            (
                self._clock() - self._overflow_at < OVERFLOW_SHOWN_S,
                "overflow",
                say(
                    "More changed at once than the kernel could tell ({overflows} times since the "
                    "start); everything was looked at again.",
                    overflows=self._overflows,
                ),
                say("If it happens often, raise fs.inotify.max_queued_events."),
            ),
        ]
        return [Problem(ident, "watcher", "", text, mend) for is_so, ident, text, mend in told if is_so]

    # -- in inotify's thread ----------------------------------------------------------------------

    def _on_event(self, folder: str, name: str, mask: int) -> None:
        if folder == _SENTINEL:
            with self.condition:
                self._sentinels.add(name)
                self.condition.notify_all()
            return
        if mask & In.IN_UNMOUNT:
            with self.condition:
                self._unmounted()
                # Mounted again before the look, it would seem never to have gone, and have no watches.
                self.everything = self.everything or "a disk was unmounted"
                self.condition.notify_all()
            return
        how = how_of(mask)
        # A folder's own mode or time says nothing of what lies in it, and looking there may take long.
        if name and how != FOLDER and (name[0] != "." or name == paths.COMPANION):
            self._note(folder, name, how)

    def _note(self, folder: str, name: str, how: int) -> None:
        with self.condition:
            first = not self._heard
            names = self._heard.get(folder)
            if names is None:
                names = self._heard[folder] = {}
            before = names.get(name)
            if before is None:
                self._count += 1
            # The last word counts: created after it went is there, gone after it was made is not. That what
            # Croft keeps went matters, though something else has its name by now.
            another = before is not None and (before ^ how) & GONE and name != paths.COMPANION
            kept = 0 if before is None else before & LEFT if another else before
            names[name] = how | kept
            if self._count > MANY_NAMES:
                self._heard.clear()
                self._count = 0
                self.everything = "more changed at once than is worth remembering"
            if first or self.everything:  # else who looks was woken already
                self.condition.notify_all()

    def _on_overflow(self) -> None:
        log.warning("inotify's queue ran over: everything is looked at again")
        with self.condition:
            self._overflows += 1
            self._overflow_at = self._clock()
            self.everything = OVERFLOW
            self.condition.notify_all()

    def _reached_limit(self) -> None:
        self.limit_hits += 1
        if not self.limit_reached:
            self.limit_reached = True
            log.warning("The kernel's limit of %d watched folders is reached", limit())


def how_of(mask: int) -> int:
    """How a name came up, from inotify's mask. 0: something about it changed."""
    how = 0
    if mask & In.IN_CREATE:
        how = CREATED
    elif mask & In.IN_CLOSE_WRITE:
        how = CLOSED
    elif mask & In.IN_MOVED_TO:
        how = MOVED
    elif mask & In.IN_MOVED_FROM:
        how = GONE | MOVED | LEFT
    elif mask & In.IN_DELETE:
        how = GONE
    return how | FOLDER if mask & In.IN_ISDIR else how
