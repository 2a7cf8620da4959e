"""Shares that come and go.

A share is here while its marker is, with the id that the configuration remembers; else it is away, and
nothing is written there nor taken for missing. The marker is made when a share is configured for the first
time. Each time a share appears its disk is tried out; one that can't be locked as the marker says, or not
be written to, is read-only.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from server.disk import faults, files, health, paths, probes
from server.disk.branches import branch_names, branches_of, mount_point
from server.disk.errors import BadInput, CroftError, DiskFull, NotFound, ReadOnly, ShareAway
from server.disk.paths import Share
from server.disk.records import Problem
from server.disk.settings import Settings
from server.disk.speech import say

log = logging.getLogger("croft.mounts")

AGAIN_S = 20.0  # before a share that can't be written to is tried again


class Mounts:
    """The shares of this server by name, as they are now. Safe for threads.

    `arrived(share)` is called once for each time a share appears, outside of any guard; `left(name)` when
    it is noticed to be gone.
    """

    def __init__(
        self,
        settings: Settings,
        shares: Sequence[Share],
        disk: files.Os,
        arrived: Callable[[Share], None],
        left: Callable[[str], None],
    ) -> None:
        self.probes: dict[str, probes.Probe] = {}
        self._settings = settings
        self._disk = disk
        self._arrived = arrived
        self._left = left
        self._shares = {share.name: share for share in shares}
        self._gone: dict[str, str] = {share.name: say("it wasn't opened yet") for share in shares}
        self._devices: dict[str, int] = {}  # what each was on when it appeared
        self._pools: dict[str, list[str]] = {}  # the disks that its pool named then
        self._guard = threading.Lock()
        self._tried: dict[str, float] = {}  # when a read-only share was tried last
        self._clock = time.monotonic

    def all(self) -> list[Share]:
        return list(self._shares.values())

    def get(self, name: str) -> Share:
        """The share of this name, or the one that an address is on."""
        name = name.partition(paths.SEPARATOR)[0]
        found = self._shares.get(name)
        if found is None:
            raise NotFound("There is no share {name}.", share=name, name=repr(name))
        return found

    def away(self, name: str) -> bool:
        """Whether it isn't mounted. One that came back is taken in on the way."""
        share = self.get(name)
        if share.name in self._gone:
            return not self._appear(share.name)
        if self._is_still_here(share):
            return False
        with self._guard:
            noticed = share.name not in self._gone
            self._gone.setdefault(
                share.name, say("{root} has no {marker}", root=share.root, marker=paths.SHARE_MARKER)
            )
        if noticed:
            log.warning("share %s is away: %s", share.name, self._gone.get(share.name))
            self._left(share.name)
        return True

    def _is_still_here(self, share: Share) -> bool:
        """Whether its marker is, on the disk that it was on: else another may lie in its place by now."""
        try:
            st = os.stat(f"{share.root}/{paths.SHARE_MARKER}")  # asked at every change: no Path is made
        except OSError:
            return False
        return stat.S_ISREG(st.st_mode) and st.st_dev == self._devices.get(share.name, st.st_dev)

    def writable(self, address: str, *, take_in: bool = True) -> Share:
        """The share of an address; ShareAway or ReadOnly when nothing may be written there.

        Without `take_in` one that came back is left to others, who have the time to look at all of it.
        """
        share = self.get(address)
        if (not take_in and share.name in self._gone) or self.away(share.name):
            raise ShareAway(
                "The share {share} isn't there: {why}. Nothing is lost; mount it again at {root}.",
                share=share.name,
                why=self._gone.get(share.name, ""),
                root=share.root,
            )
        share = self._shares[share.name]
        if share.read_only:
            raise ReadOnly(
                "The share {share} is read-only here: {read_only}.",
                share=share.name,
                read_only=share.read_only,
            )
        return share

    def problems(self) -> list[Problem]:
        """Shares that are away, read-only or nearly full."""
        found = []
        for share in self.all():
            place = share.name + paths.SEPARATOR
            if self.away(share.name):
                text = say(
                    "The share {share} isn't there: {get}.",
                    share=share.name,
                    get=self._gone.get(share.name, ""),
                )
                mend = say(
                    "Mount it at {root}. If it was emptied on purpose, remove "
                    "{folder_path}/shares/{share}.json and it begins anew.",
                    root=share.root,
                    folder_path=self._settings.folder_path,
                    share=share.name,
                )
                found.append(Problem(f"away:{share.name}", "share", place, text, mend, severity="error"))
                continue
            share = self._shares[share.name]
            if share.read_only and not self.try_again(share.name):
                text = say(
                    "Nothing can be written to the share {share}: {read_only}.",
                    share=share.name,
                    read_only=share.read_only,
                )
                mend = say("Mend the mount or its rights: Croft tries again by itself.")
                again = faults.mending(say("Try again now"), "try-share", place)
                found.append(faults.problem("read-only", place, text, mend, again))
            found += health.disks(share)
        return found

    def try_again(self, name: str, *, at_once: bool = False) -> bool:
        """Whether a share that couldn't be written to can be now; tried out once in a while."""
        share = self.get(name)
        now = self._clock()
        if not share.read_only:
            return True
        if not at_once and now - self._tried.get(name, -AGAIN_S) < AGAIN_S:
            return False
        with self._guard:
            self._tried[name] = now
            if name in self._gone:
                return False
            try:
                marker = probes.read_marker(share.root)
            except (CroftError, OSError):
                return False
            if marker is None:
                return False
            tried = self._try_out(share, marker)
            if tried.read_only:
                self._shares[name] = tried
                return False
            self._shares[name] = tried
        self._arrived(tried)
        return True

    def disks_changed(self, name: str) -> bool:
        """Whether a disk was added to the pool of a share, or taken out, while it was mounted. Asks the
        pool alone, no disk."""
        share = self.get(name)
        known = self._pools.get(share.name)
        return bool(known) and (now := branch_names(mount_point(share.root))) != known and bool(now)

    def take_in_again(self, name: str) -> None:
        """Look at a share anew: its pool has other disks than before."""
        share = self.get(name)
        with self._guard:
            marker = probes.read_marker(share.root)
            if share.name in self._gone or marker is None:
                return
            tried = self._try_out(share, marker)
            # What lay on a disk that went stays as it was, as when it drops out, until the next start.
            out = [disk for disk in (*share.branches, *share.out) if disk not in tried.branches]
            tried = self._shares[share.name] = dataclasses.replace(tried, out=tuple(out))
        log.info("share %s: its pool has the disks %s now", share.name, ", ".join(map(str, tried.branches)))
        self._arrived(tried)

    def _appear(self, name: str) -> bool:
        """Take in a share if it is here. Whether it is."""
        with self._guard:
            if name not in self._gone:
                return True  # Race: another thread took it in.
            share = self._shares[name]
            try:
                marker, why = self._marker(share)
            except (CroftError, OSError) as error:
                marker, why = None, str(error).rstrip(".")
            if marker is None:
                if self._gone[name] != why:
                    log.warning("share %s is away: %s", name, why)
                self._gone[name] = why
                return False
            share = self._shares[name] = self._try_out(share, marker)
            self._devices[name] = os.stat(share.root / paths.SHARE_MARKER).st_dev
            del self._gone[name]
        self._arrived(share)
        return True

    def _marker(self, share: Share) -> tuple[probes.Marker | None, str]:
        """The marker of a share that is here, or why it counts as away."""
        known = dict(self._settings.folder("shares").get(share.name, {}))
        root = str(share.root)
        before = known.get("id") if known.get("root", root) == root else None
        marker = probes.read_marker(share.root)
        if marker is None:
            if before:
                return None, say(
                    "{root} has no {share_marker}", root=share.root, share_marker=paths.SHARE_MARKER
                )
            marker = self._first_marker(share)
        elif before and before != marker.id:
            return None, say("another share lies at {root}: its marker holds another id", root=share.root)
        if known.get("id") != marker.id or known.get("root") != root:
            try:
                self._settings.write("shares", share.name, {**known, "id": marker.id, "root": root})
            except CroftError as error:
                log.warning("the id of share %s can't be kept: %s", share.name, error)
        return marker, ""

    def _first_marker(self, share: Share) -> probes.Marker:
        if not share.root.is_dir():
            share.root.mkdir(parents=True, exist_ok=True)
            share.root.chmod(files.FOLDER_MODE)
        return probes.first_marker(share.root, share.name, disk=self._disk)

    def _try_out(self, share: Share, marker: probes.Marker) -> Share:
        self._pools[share.name] = branch_names(mount_point(share.root))
        branches = branches_of(share.root)
        found = self.probes[share.name] = probes.probe(share.root, len(branches))
        why = found.why
        if not why and marker.locks and marker.locks != found.lock_class:
            why = say(
                "other servers lock it as {locks}, this one could only as {lock_class}; if there are "
                "none any more, remove the key locks from {root}",
                locks=marker.locks,
                lock_class=found.lock_class,
                root=share.root / paths.SHARE_MARKER,
            )
        elif not why and not marker.locks:
            marked = dataclasses.replace(marker, locks=found.lock_class)
            try:
                probes.write_marker(share.root, marked, disk=self._disk)
            except DiskFull:
                pass  # recorded at the next start
            except CroftError as error:
                why = error.message.rstrip(".")
        log.info("share %s at %s: %s", share.name, share.root, found.line())
        if why:
            log.warning("share %s is read-only here: %s", share.name, why)
        return dataclasses.replace(share, id=marker.id, branches=branches, read_only=why)


def chosen_data(settings: Settings, default: Path) -> Path:
    """Where the share `data` lies when no command line says so: as `shares/data.json` has it."""
    path = {**rfam_shares(settings), **settings.folder("shares")}.get("data", {}).get("path")
    return Path(os.path.abspath(path)) if isinstance(path, str) and path else default


def rfam_shares(settings: Settings) -> dict[str, dict[str, str]]:
    """RFAM's named paths that its projects lie in. Its others hold photos: they're no shares."""
    projects = settings.folder("projects").values()
    used = {str(data.get("directory")).partition(paths.SEPARATOR)[0] for data in projects}
    found = {}
    for file, data in settings.folder("paths").items():
        name, path = str(data.get("ident") or file), data.get("path")
        if name in used and isinstance(path, str) and path:
            found[name] = {"path": str(settings.folder_path / path)}
    return found


def configured_shares(settings: Settings, data: Path | str | None) -> list[Share]:
    """The shares that the configuration names, `data` always among them."""
    found: dict[str, Share] = {}
    for name, facts in {"data": {}, **rfam_shares(settings), **settings.folder("shares")}.items():
        where = data if name == "data" and data is not None else facts.get("path")
        if isinstance(where, (str, Path)) and str(where):
            found[name] = Share(name, Path(os.path.abspath(where)))
    roots = sorted((os.path.realpath(share.root), share.name) for share in found.values())
    for outer, first in roots:
        for inner, second in roots:
            if first != second and (inner == outer or inner.startswith(outer.rstrip("/") + "/")):
                raise BadInput(
                    "The share {second} lies within {first}: a file would have two addresses.",
                    second=second,
                    first=first,
                )
    return list(found.values())
