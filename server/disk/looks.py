"""What is seen of the shares: a scanner each, whose findings go to the index, the watcher and who asked.

A share is looked at whole when it comes; from then on here and there, by whoever wrote something, was told
of a foreign edit or asks for a rescan. What is known of it is kept for the next start.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from server.disk import paths, restart
from server.disk.entries import MOVED
from server.disk.index import Index
from server.disk.mounts import Mounts
from server.disk.paths import Share
from server.disk.records import Change, Problem, Stat
from server.disk.scan import Found, Scanner
from server.disk.settings import Settings

log = logging.getLogger("croft.store")


class Knowing(Protocol):
    """What a person says of files that are known again, or aren't."""

    def decide(self, lost: str, found: str, who: str) -> None: ...
    def undecide(self, lost: str, found: str, who: str) -> None: ...
    def decide_not(self, lost: str, others: Sequence[str], who: str, undo: bool = False) -> None: ...


class Watcher(Protocol):
    """What is needed of the watcher that stands above."""

    @property
    def identity(self) -> Knowing: ...
    def start(self) -> None: ...
    def close(self) -> None: ...
    def problems(self) -> list[Problem]: ...
    def watch(self, path: str, folder: str) -> None: ...
    def watched(self, share: str) -> list[str] | None: ...
    def look_again(self, why: str) -> None: ...
    def overhear(self, found: Found) -> None: ...
    def unsure(self) -> set[str] | None: ...
    def someone_is_active(self) -> None: ...


class Looks:
    """All shares of one server. `notify` tells of changes; no lock is held meanwhile."""

    def __init__(
        self, settings: Settings, index: Index, mounts: Mounts, notify: Callable[[list[Change]], None]
    ) -> None:
        self.watcher: Watcher | None = None
        self.arrivals: Any = None  # the watcher's, handed to the scanners
        self.scanners: dict[str, Scanner] = {}
        self._settings = settings
        self._index = index
        self._mounts = mounts
        self._notify = notify

    def begin(self, share: Share) -> None:
        """Look at a share that has come."""
        name = share.name
        scanner = Scanner(
            share,
            self._index,
            globs=tuple(self._settings.get("ignore")),
            watch=self.watcher.watch if self.watcher is not None else None,
            arrivals=self.arrivals,
            here=lambda: not self._mounts.away(name),
        )
        self.scanners[name] = scanner
        began = time.perf_counter()
        try:
            changes = self._told(restart.start(scanner, self._snapshot(name)))
        except Exception as error:
            # What is wrong in one place of a share must not keep all shares from being served.
            if self.watcher is None:
                raise
            log.exception("the first look at share %s failed", name)
            changes = []
            self.watcher.look_again(f"the first look at share {name} failed: {error}")
        log.info("share %s scanned in %.2f s", name, time.perf_counter() - began)
        self._notify([*changes, Change("share", name)])

    def keep(self) -> None:
        """Keep what is known of the shares for the next start, in the cache folder."""
        unsure = self.watcher.unsure() if self.watcher is not None else None
        if self.watcher is None or unsure is None:
            return
        for share in self._mounts.all():
            scanner = self.scanners.get(share.name)
            watched = self.watcher.watched(share.name)
            if (
                scanner is None
                or not watched
                or scanner.lister.lost_branches()
                or self._mounts.away(share.name)
            ):
                continue
            began = time.perf_counter()
            try:
                count = restart.keep(scanner, self._snapshot(share.name), watched, unsure)
            except Exception as error:
                log.warning(
                    "what is known of share %s can't be kept for the next start: %s", share.name, error
                )
            else:
                took = time.perf_counter() - began
                log.info("share %s: %d entries kept for the next start, %.2f s", share.name, count, took)

    # -- again ----------------------------------------------------------------------------------------

    def at(self, address: str) -> list[Change]:
        """Look at this place again: a file, its sidecar, a folder, anything below a companion."""
        share = self._mounts.get(address)
        if self._mounts.away(share.name):
            return []
        scanner = self.scanners.get(share.name)
        return self._tell(scanner.refresh(address)) if scanner is not None else []

    def at_whole(self, address: str) -> None:
        """Take in a file that got its name when it was whole: nobody has to wait for it to settle."""
        folder, name = paths.split(address)
        scanner = self.scanners.get(self._mounts.get(address).name)
        try:
            if scanner is not None:
                self._tell(scanner.refresh_names(folder, {name: MOVED}))
        except Exception:
            log.exception("%s can't be looked at", address)

    def at_everything(self, share: str | None = None) -> list[Change]:
        """Look at a share whole; at all of them where None."""
        changes: list[Change] = []
        known = [self._mounts.get(share)] if share else self._mounts.all()
        for name in [one.name for one in known]:
            if not self._mounts.away(name) and name in self.scanners:
                changes += self._told(self.scanners[name].scan())
        self._notify(changes)
        return changes

    def doubt(self, address: str, stat: Stat) -> None:
        """Who read this file found no end, though it seemed at rest: it is arriving until it has one."""
        scanner = self.scanners.get(self._mounts.get(address).name)
        entry = self._index.get(address)
        if scanner is None or entry is None or entry.stat != stat:
            return  # it changed meanwhile: it will be looked at anyway
        if self.arrivals is not None:
            self.arrivals.doubt(address, stat)
        self._notify(scanner.has_no_end(address).changes())

    # -- helpers --------------------------------------------------------------------------------------

    def _tell(self, found: Found) -> list[Change]:
        changes = self._told(found)
        self._notify(changes)
        return changes

    def _told(self, found: Found) -> list[Change]:
        """What a look changed, of which the watcher hears too: no look of its own will find it again."""
        if self.watcher is not None:
            self.watcher.overhear(found)
        return found.changes()

    def _snapshot(self, share: str) -> Path:
        return self._settings.folder_path / "cache" / f"{share}.index"
