"""The one place that makes entries: what a folder's listing means.

Decides which JSON file is a sidecar, which images are one sequence, what is missing, broken or arriving. A
whole listing and some names of it give the same entries, so a scan and an event can't disagree.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from server.disk import conflicts, sidecar
from server.disk import files as disk_files
from server.disk.arrivals import Arrivals
from server.disk.errors import Broken
from server.disk.index import Index
from server.disk.listing import NO_JOBS, Companion, Item, Listing, sequences_in
from server.disk.paths import PROJECT_FILE, SEPARATOR, split
from server.disk.records import Entry, Facts, Stat

# How a name came to be looked at, from inotify's events.
# LEFT stays, whatever comes after: a file of that name got another one by a rename.
CREATED, CLOSED, MOVED, GONE, FOLDER, LEFT = 1, 2, 4, 8, 16, 32

ORPHAN_BYTES = 64 << 10  # a lone JSON file longer than this is a file of its own
FRESH_S = 10.0  # a file whose ctime is younger may still be written
TICK_S = 3.0  # no disk's clock is coarser
TORN_S = 2.0  # a sidecar that is as young and can't be read is looked at again
NOTHING: Companion = (NO_JOBS, False, ())  # of a file without a companion


class Entries:
    """Makes entries of listings. `torn` collects sidecars that may still be written: (folder, name)."""

    def __init__(
        self,
        index: Index,
        ignored: Callable[[str], bool],
        arrivals: Arrivals | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.index = index
        self.arrivals = arrivals
        self.torn: list[tuple[str, str]] = []
        self.disks: Mapping[int, int] = {}  # what is added to inodes, by device
        self.unwatched = False  # whether things change there that nobody tells of
        self._ignored = ignored
        self._wall = wall

    def of(self, folder: str, listing: Listing, how: Mapping[str, int]) -> list[Entry]:
        """The entries that these names make. Which JSON file is a sidecar is decided here alone."""
        files, companions = listing.files, listing.companions
        prefix = folder if folder.endswith(SEPARATOR) else folder + "/"
        sequences = sequences_in(files, companions)
        frames = {frame for group in sequences.values() for frame in group}
        entries: list[Entry] = []
        orphans: dict[str, Item] = {}
        for name, item in files.items():
            if name in frames:
                continue
            if name.endswith(".json") and name != PROJECT_FILE:
                base = name[:-5]
                if base in files or base in sequences or base in companions:
                    continue
                if self._is_orphan(base, item):
                    orphans[base] = item
                    continue
            try:
                status = item.stat(follow_symlinks=False)
            except OSError:
                continue  # Race: it went after the listing; its event follows
            side_name = name + ".json"
            side = files.get(side_name) if side_name != PROJECT_FILE else None
            kept = companions.get(name, NOTHING)
            entry = self._entry(prefix + name, self.stat(status), side, kept, how.get(name, 0))
            if side is None and side_name in listing.folders:
                entry = replace(entry, broken="its sidecar is a folder")
            entries.append(entry)
        for key, group in sequences.items():
            stat = _stat_of_all(files[name] for name in group)
            if stat is not None:
                kept = companions.get(key, NOTHING)
                entries.append(self._entry(prefix + key, stat, files.get(key + ".json"), kept, 0))
        for base, kept in companions.items():
            if base not in files and base not in sequences and base not in orphans:
                side = files.get(base + ".json")
                if side is not None or kept[1]:
                    entries.append(self._entry(prefix + base, None, side, kept, 0))
        for base, item in orphans.items():
            entries.append(self._entry(prefix + base, None, item, NOTHING, 0))
        return entries

    def stat(self, status: os.stat_result) -> Stat:
        return Stat.of(status, self.disks.get(status.st_dev, 0))

    def _entry(
        self,
        address: str,
        stat: Stat | None,
        side: Item | None,
        kept: Companion,
        how: int,
    ) -> Entry:
        old = self.index.get(address)
        facts, etag, why, token = (None, "", "", 0) if side is None else self._sidecar(address, side, old)
        arriving = stat is not None and self._arriving(address, stat, old, how)
        incomplete = arriving and self.arrivals is not None and self.arrivals.incomplete(address)
        jobs, _, notes = kept
        return Entry(address, stat, facts, etag, why, arriving, jobs, notes, incomplete, token)

    def _sidecar(self, address: str, item: Item, old: Entry | None) -> tuple[Facts | None, str, str, int]:
        """Facts, ETag, what is wrong with it, and the token of its stat."""
        try:
            raw, st = disk_files.read_bounded(item.path, sidecar.MAX_BYTES)
            etag = sidecar.etag(raw)
            token = self._token(st)
            if old is not None and old.etag == etag and old.facts is not None and not old.broken:
                return old.facts, etag, "", token
            return self._facts(raw, item.path), etag, "", token
        except Broken as error:
            why, etag = str(error.why), ""
        except FileNotFoundError:
            return None, "", "", 0  # Race: it went after the listing
        except OSError as error:
            why, etag = str(error.strerror), ""
        if self._is_torn(item):
            folder, name = split(address)
            self.torn.append((folder, name + ".json"))
        return (old.facts if old else None), etag, why, 0

    def _token(self, st: os.stat_result) -> int:
        """0 where a write may follow in the same tick of the disk's clock, and nobody would tell of it."""
        if self.unwatched and self._wall() - st.st_ctime < TICK_S:
            return 0
        return hash((st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino ^ self.disks.get(st.st_dev, 0)))

    def _facts(self, raw: bytes, path: str) -> Facts:
        try:
            data: Any = orjson.loads(raw)
        except orjson.JSONDecodeError:
            data = sidecar.parse(raw, path)  # takes more (byte-order marks), and says what is wrong
        if type(data) is not dict:
            data = sidecar.parse(raw, path)
        return sidecar.facts(data)

    def _arriving(self, address: str, stat: Stat, old: Entry | None, how: int) -> bool:
        """Whether it may still be written. A rename brings a whole file: so does Blender's save."""
        if self.arrivals is None:
            return False
        if how & MOVED:
            self.arrivals.forget(address)
            return False
        before = old.stat if old else None
        if address in self.arrivals:
            self.arrivals.seen(address, stat, opened=bool(how & CREATED), closed=bool(how & CLOSED))
            return True
        if before is not None and (before.size, before.mtime_ns, before.inode) == (
            stat.size,
            stat.mtime_ns,
            stat.inode,
        ):
            return False
        # The server's own clock set the ctime; a file at rest for longer needs no second look.
        if self._wall() - stat.ctime_ns / 1e9 > max(FRESH_S, 4 * self.arrivals.settle_s):
            return False
        self.arrivals.seen(address, stat, opened=bool(how & CREATED), closed=bool(how & CLOSED))
        return True

    def _is_orphan(self, base: str, item: Item) -> bool:
        """Whether a JSON file without its file is a sidecar that stayed, by what it holds."""
        if not base or self._ignored(base) or conflicts.is_copy(base + ".json"):
            return False
        try:
            if item.stat(follow_symlinks=False).st_size > ORPHAN_BYTES:
                return False
            data = orjson.loads(_read(item.path).removeprefix(b"\xef\xbb\xbf"))
        except (OSError, Broken, orjson.JSONDecodeError):
            return False
        return type(data) is dict and (
            ("uuid" in data and "schema" in data) or ("type" in data and "state" in data and "owner" in data)
        )

    def _is_torn(self, item: Item) -> bool:
        try:
            return self._wall() - item.stat(follow_symlinks=False).st_ctime < TORN_S
        except OSError:
            return False


def stem_of(name: str) -> str:
    """`x.blend.json.json` to `x.blend`: all that decide over each other share it."""
    while name.endswith(".json") and name != PROJECT_FILE and len(name) > 5:
        name = name[:-5]
    return name


def _stat_of_all(items: Iterable[Item]) -> Stat | None:
    """A sequence's: the sum of its sizes, the newest times, and in place of an inode the count."""
    size = mtime = ctime = count = 0
    for item in items:
        try:
            status = item.stat(follow_symlinks=False)
        except OSError:
            continue
        size += status.st_size
        mtime = max(mtime, status.st_mtime_ns)
        ctime = max(ctime, status.st_ctime_ns)
        count += 1
    return Stat(size, mtime, ctime, count) if count else None


def _read(path: str) -> bytes:
    return disk_files.read_bounded(path, sidecar.MAX_BYTES)[0]
