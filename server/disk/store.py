"""The one way to files on the shares: every read, edit, upload and deletion of Croft's goes through here.

A write is: lock, read what is there, decide, write aside, replace, index, release, notify. Foreign edits
come in through `refresh`. A share whose marker is gone is away: nothing is written there, nothing missing.
Knows nothing of what a file means.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from server.disk import (
    carry,
    checkpoints,
    deletions,
    edits,
    faults,
    files,
    health,
    histories,
    intents,
    paths,
    renames,
    restores,
    sidecar,
)
from server.disk.edits import Changes
from server.disk.errors import (
    BadInput,
    NotFound,
)
from server.disk.histories import Histories
from server.disk.index import Index
from server.disk.locks import TIMEOUT_S, Locks
from server.disk.looks import Looks
from server.disk.mounts import Mounts, configured_shares
from server.disk.paths import Share
from server.disk.records import Change, Problem, Stat
from server.disk.scan import Scanner
from server.disk.settings import Settings
from server.disk.sidecar import Sidecar
from server.disk.sites import Sites, Together
from server.disk.speech import say

__all__ = ["Store", "configured_shares"]

log = logging.getLogger("croft.store")


FINISHERS = {
    checkpoints.WHAT: checkpoints.finish,
    carry.WHAT: carry.finish,
    restores.WHAT: restores.finish,
    **dict.fromkeys(deletions.WHAT, deletions.finish),
}

Subscriber = Callable[[list[Change]], None]


class Store:
    """All shares of one server. Safe for threads and, through the locks, beside other servers."""

    def __init__(
        self,
        settings: Settings,
        shares: Sequence[Share],
        clock: Callable[[], float] = time.monotonic,
        disk: files.Os = files.REAL,
    ) -> None:
        self.settings = settings
        self.index = Index()
        self.clock = clock
        self.disk = disk
        self.site: str = settings.get("site")
        self.sites = Sites(self.site, disk)
        self.histories = Histories(self.sites)
        self._locks: dict[str, Locks] = {}
        self.mounts = Mounts(settings, shares, disk, self._arrived, self._left)
        self.looks = Looks(settings, self.index, self.mounts, self.notify)
        self.clocks = health.Clocks()
        self._subscribers: list[Subscriber] = []
        self._lost: dict[str, list[str]] = {}  # share -> what was being done where no folder is now
        holder = f"{socket.gethostname()} process {os.getpid()} site {self.site}"
        for share in shares:
            self._locks[share.name] = Locks(share.root, holder)

    # Opening.

    def open(self) -> None:
        """Find the shares, try their disks, finish what a crash interrupted, scan, watch."""
        for share in self.shares:
            self.away(share.name)
        if self.looks.watcher is not None:
            self.looks.watcher.start()

    def close(self) -> None:
        self.looks.keep()
        if self.looks.watcher is not None:
            self.looks.watcher.close()

    # Where things are.

    @property
    def shares(self) -> list[Share]:
        return self.mounts.all()

    def share(self, name: str) -> Share:
        """The share of this name, or the one that an address is on."""
        return self.mounts.get(name)

    def path(self, address: str) -> Path:
        """Where an address lies on this machine. It need not exist, but can't be outside its share."""
        name, inside = paths.parse(address)
        return self.share(name).path(inside)

    def locks(self, share: str) -> Locks:
        """The locks of a share (or of the share of an address)."""
        return self._locks[self.share(share).name]

    def scanner(self, share: str) -> Scanner:
        return self.looks.scanners[self.share(share).name]

    def away(self, share: str) -> bool:
        """Whether the share isn't mounted. One that came back is opened and scanned on the way."""
        return self.mounts.away(share)

    def check_writable(self, address: str, *, take_in: bool = True) -> Share:
        """The share of an address; ShareAway or ReadOnly when nothing may be written there. `take_in`:
        one that came back may be scanned on the way."""
        return self.mounts.writable(address, take_in=take_in)

    def for_people(self, address: str) -> tuple[Share, Path]:
        """Share and path of what a person may change: nothing that is Croft's own."""
        share = self.check_writable(address)
        inside = paths.parse(address)[1]
        if not inside or paths.is_own(inside):
            raise BadInput(
                "{address} isn't a file of a project's: names that begin with a dot are Croft's own.",
                address=address,
            )
        return share, share.path(inside)

    # Reading.

    def read(self, address: str) -> Sidecar:
        """The sidecar of the file at this address: NotFound where it has none, Broken where it is bad."""
        return sidecar.read(paths.sidecar_of(self.path(address)))

    def read_json(self, address: str) -> dict[str, Any]:
        """Any of Croft's own JSON files: NotFound or Broken as for a sidecar."""
        return edits.read_json(self.path(address), address)

    def history(self, address: str) -> list[dict[str, Any]]:
        """Who changed which field of this asset when, of all sites, oldest first."""
        return histories.read(self.path(address))

    # Writing.

    def edit(
        self,
        address: str,
        changes: Changes,
        *,
        etag: str | None = None,
        who: str,
        timeout_s: float = TIMEOUT_S,
        decided: str = "",
        why: str = "",
    ) -> Sidecar:
        """Change fields of a sidecar, or make it. Returns what is there now.

        `changes` is new values by key, or a function from the present record to the new one (called under
        the lock: it must be quick). Stale when the sidecar isn't the one of `etag` any more; Broken and
        ReadOnly leave it as it is. `decided`: a field that sites had changed differently; what it is now is
        written down as somebody's word, though it be what it was. `why`: stands beside the change in its
        history.
        """
        share, path = self.for_people(address)
        beside = edits.place_of(path)
        told: list[Change] = []
        try:
            with self.locks(share.name).hold(paths.lock_key(address), timeout_s) as held:
                old = self._present(address, path)
                vector: Mapping[str, int] = {}
                if self.sites.others(share):
                    together = self.sites.bring_together(beside, paths.companion_of(path), old, editing=True)
                    old, vector = together.side, together.vector
                new = edits.decide(address, beside, old, changes, etag)
                if old.etag and new == old.data:
                    if decided:
                        said = {decided: [old.data.get(decided), new.get(decided)]}
                        history = self.histories.open(path, self.disk)
                        self.histories.record(history, address, who, said, vector, old.etag)
                    return old
                raw = edits.dumped(new, old.raw)
                history = self.histories.open(path, self.disk)
                held.check()
                st = files.write_atomic(beside, raw, disk=self.disk)
                self.clocks.wrote(share.name, st.st_mtime)
                made = Sidecar(new, raw, sidecar.etag(raw), Stat.of(st))
                changed = edits.difference(old.data, new)
                self.histories.record(history, address, who, changed, vector, made.etag, why)
                told = [Change("companion", address)]
                return made
        finally:
            self._look(address)
            # Race: the watcher may have told of the sidecar before its history had the line.
            self.notify(told)

    def write_json(self, address: str, data: Mapping[str, Any]) -> None:
        """Write one of Croft's own JSON files, its folders included. The caller holds what lock it needs.

        A file of a newer schema stays; so does a broken one, except in a companion folder, where Croft
        alone writes.
        """
        share = self.mounts.writable(address)
        path = share.path(paths.parse(address)[1])
        # Race: a student may have renamed the folder meanwhile; it isn't made again for Croft's own files.
        file = paths.file_of_companion(address)
        root = share.path(paths.parse(paths.folder_of(file))[1]) if file else share.root
        files.make_folders(path.parent, root, disk=self.disk)
        old = edits.bytes_to_replace(path, address)
        raw = edits.dumped(data, old, edits.JSON_BYTES)
        if raw != old:
            st = files.write_atomic(path, raw, disk=self.disk)
            self.clocks.wrote(share.name, st.st_mtime)
            self._look(address)

    def temporary(self, address: str) -> Path:
        """A name beside the file of this address, for `place` to give its real name."""
        share, path = self.for_people(address)
        files.make_folders(path.parent, share.root, disk=self.disk)
        return files.temporary(path.parent)

    def place(self, temporary: Path, address: str, who: str) -> None:
        """Give a whole, flushed file its name; Conflict when something is there already."""
        share, _ = self.for_people(address)
        renames.place(share, self.locks(share.name), temporary, paths.parse(address)[1], self.disk)
        log.info("%s placed by %s", address, who)
        self.looks.at_whole(address)

    def make_folder(self, address: str) -> None:
        """Make a folder and its parents, for the group."""
        share = self.mounts.writable(address)
        path = share.path(paths.parse(address)[1])
        files.make_folders(path, share.root, disk=self.disk)
        self._look(address)

    def move(self, address: str, new: str, who: str) -> None:
        """Rename a file with its sidecar and companion, or a folder. Within one share."""
        share, other = self.for_people(address)[0], self.for_people(new)[0]
        if other.name != share.name:
            raise BadInput("A move goes within one share; copy it to the other.")
        inside, goal = paths.parse(address)[1], paths.parse(new)[1]
        try:
            renames.rename(share, self.locks(share.name), inside, goal, self.disk)
        finally:
            self._look(address)
            self._look(new)
        log.info("%s moved to %s by %s", address, new, who)

    def delete(self, address: str, who: str, what: str = "delete", more: Iterable[str] = ()) -> str:
        """Move a file, its sidecar and its companion into `old/` ('away': the file alone); returns that
        folder's address. `more`: names beside it that go along.

        An intent file is written first, so that a start finishes what a crash interrupted.
        """
        share, _ = self.for_people(address)
        inside = paths.parse(address)[1]
        try:
            aside = deletions.delete(share, self.locks(share.name), inside, who, self.disk, what, more)
        finally:
            self._look(address)
        log.info("%s deleted by %s: it lies in %s", address, who, aside)
        return paths.address(share.name, aside)

    def forget(self, address: str, who: str) -> str:
        """Move sidecar and companion of a file into `old/`; returns that folder's address."""
        share, _ = self.for_people(address)
        inside = paths.parse(address)[1]
        try:
            aside = deletions.delete(share, self.locks(share.name), inside, who, self.disk, "forget")
        finally:
            self._look(address)
        log.info("%s forgotten by %s: its record lies in %s", address, who, aside)
        return paths.address(share.name, aside)

    def bring_back(self, folder: str, who: str) -> str:
        """Undo the deletion that this folder of `old/` holds; the address of what is back.

        Conflict where a file of that name is there again.
        """
        share, _ = self.for_people(folder)
        aside = paths.parse(folder)[1]
        inside = deletions.bring_back(share, self.locks(share.name), aside, who, self.disk)
        address = paths.address(share.name, inside)
        self.looks.at_whole(address)
        log.info("%s brought back by %s", address, who)
        return address

    def checkpoint(
        self, address: str, who: str, comment: str = "", known: checkpoints.Known = lambda stat: ""
    ) -> str:
        """Keep a copy of a file's present content in `old/`; returns that folder's address."""
        share, _ = self.for_people(address)
        kept = checkpoints.checkpoint(
            share, self.locks(share.name), paths.parse(address)[1], who, comment, known=known, disk=self.disk
        )
        folder = paths.address(share.name, kept.aside)
        self.tell(address, who, {"kept": folder, "comment": comment})
        return folder

    def replace(
        self,
        address: str,
        new: Mapping[str, Path],
        who: str,
        comment: str = "",
        *,
        take: bool = False,
        known: checkpoints.Known = lambda stat: "",
    ) -> str:
        """Give a file new content (by name: of a sequence each frame's), the present content is kept first.

        The sidecar stays. Returns the address of what was kept, '' where no file was there. With `take`
        the new files, which must lie on this share, are moved here instead of copied.
        """
        share, path = self.for_people(address)
        files.make_folders(path.parent, share.root, disk=self.disk)
        inside = paths.parse(address)[1]
        try:
            kept = checkpoints.replace(
                share, self.locks(share.name), inside, new, who, comment,
                take=take, known=known, disk=self.disk,
            )  # fmt: skip
        finally:
            self.looks.at_whole(address)
        folder = paths.address(share.name, kept.aside) if kept is not None else ""
        log.info("%s replaced by %s, what it was is kept in %s", address, who, folder or "nothing")
        return folder

    def bring_together(self, address: str) -> Together | None:
        """Take into a sidecar what other sites changed. None where this site is the only one, or there is no
        sidecar."""
        share, path = self.for_people(address)
        beside = paths.sidecar_of(path)
        if not self.sites.others(share):
            return None
        with self.locks(share.name).hold(paths.lock_key(address)):
            try:
                side = sidecar.read(beside)
            except NotFound:
                return None
            together = self.sites.bring_together(beside, paths.companion_of(path), side)
        if together.changed:
            self._look(address)
        return together

    def tell(self, address: str, who: str, event: Mapping[str, Any]) -> None:
        """A line in an asset's history that isn't an edit. Not flushed by itself, and lost on a full disk."""
        _, path = self.for_people(address)
        if self.histories.tell(address, path, who, event, self.disk):
            self.notify([Change("companion", address)])

    # Looking again, and telling.

    def refresh(self, address: str) -> list[Change]:
        """Look at this place on disk again: a file, its sidecar, a folder, anything below a companion."""
        return self.looks.at(address)

    def rescan(self, share: str | None = None) -> list[Change]:
        """Look at everything again."""
        return self.looks.at_everything(share)

    def someone_is_active(self) -> None:
        """A person asked for something: places that aren't watched are worth looking at. Cheap."""
        if self.looks.watcher is not None:
            self.looks.watcher.someone_is_active()

    def subscribe(self, function: Subscriber) -> Callable[[], None]:
        """Be told of changes, after they were made and locks released. Returns how to end that."""
        self._subscribers = [*self._subscribers, function]

        def end() -> None:
            self._subscribers = [known for known in self._subscribers if known is not function]

        return end

    def notify(self, changes: list[Change]) -> None:
        """Tell everybody who subscribed; what fails there is logged and harms nobody else."""
        if not changes:
            return
        for function in self._subscribers:
            try:
                function(changes)
            except Exception:
                log.exception("a subscriber failed")

    def problems(self) -> list[Problem]:
        """What a person should know of the shares and their sidecars."""
        found = [*self.settings.problems(), *self.mounts.problems(), *self.clocks.problems()]
        for entry in self.index.broken():
            beside = paths.sidecar_of(entry.address)
            put_back = faults.mending(say("Put the last good one back"), "put-back", beside)
            found.append(faults.broken(beside, entry.broken, put_back, of=entry.address))
        found += self.histories.problems()
        found += [
            faults.interrupted(paths.address(share, inside))
            for share, lost in list(self._lost.items())
            for inside in lost
        ]
        watcher = self.looks.watcher
        return found + (watcher.problems() if watcher is not None else [])

    # Shares that come and go.

    def _arrived(self, share: Share) -> None:
        name = share.name
        if not share.read_only:
            self.sites.announce(share)
            self._lost[name] = intents.finish_all(share, self.locks(name), FINISHERS, self.disk)
            self.locks(name).prune()
        self.looks.begin(share)

    def _left(self, name: str) -> None:
        self.notify([Change("share", name)])

    # Parts of a write.

    def _look(self, address: str) -> None:
        """Take into the index what was written; what was written stays written if that fails."""
        try:
            self.refresh(address)
        except Exception:
            log.exception("%s can't be looked at", address)

    def _present(self, address: str, path: Path) -> Sidecar:
        """What the sidecar says now. NotFound where there is no such asset, nor was one."""
        known = self.index.get(address)
        written = known is not None and known.etag

        def lost() -> list[str]:
            return self.scanner(address).lister.lost_branches() if written else []

        return edits.present(path, known is not None, lost)
