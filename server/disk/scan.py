"""Looks at a share's disk and tells the index what is there.

The only place that makes entries, so that a scan at start, an event and a reconciling scan can't disagree.
One pass: the watch of a folder is set before the folder is listed, so nothing that happens in between is
lost. On a mergerfs pool whose branches are visible it lists and reads the branches. Changes nothing on disk.
"""

from __future__ import annotations

import gc
import logging
import os
import re
import stat as modes
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import translate
from typing import Any, Protocol

import orjson

from server.disk import files as disk_files
from server.disk import paths, sidecar
from server.disk.arrivals import Arrivals
from server.disk.branches import is_remote
from server.disk.errors import Broken, ShareAway
from server.disk.index import Index
from server.disk.paths import COMPANION, PROJECT_FILE, RENDER, SEPARATOR, Share, join, split
from server.disk.records import Change, Entry, Facts, Stat

log = logging.getLogger(__name__)

# How a name came to be looked at, from inotify's events.
CREATED, CLOSED, MOVED, GONE, FOLDER = 1, 2, 4, 8, 16

ORPHAN_BYTES = 64 << 10  # a lone JSON file longer than this is a file of its own
RESULT_FILE = "result.json"
FRAMES = (".png", ".jpg", ".jpeg", ".exr", ".tif", ".tiff", ".tga", ".dpx", ".hdr", ".bmp", ".webp", ".jp2")
MANY_NAMES = 40  # more names than this in one folder are looked at by listing it
FRESH_S = 10.0  # a file whose ctime is younger may still be written

# What of a companion folder makes a file that left no sidecar worth showing as missing, besides jobs.
_WORTH_KEEPING = frozenset(("notes", "versions"))
_NO_JOBS: tuple[str, ...] = ()


class Item(Protocol):
    """A file of a listing: an `os.DirEntry`, or one looked at by itself."""

    @property
    def path(self) -> str: ...

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result: ...


@dataclass(slots=True)
class Found:
    """What a look changed."""

    addresses: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    lost: list[Entry] = field(default_factory=list)  # as they were before their file went
    new: list[str] = field(default_factory=list)  # files that weren't there before
    torn: list[tuple[str, str]] = field(default_factory=list)  # folder, name: perhaps still being written
    folders: int = 0
    complete: bool = True  # False: the share went away meanwhile, or a folder couldn't be read

    def changes(self) -> list[Change]:
        """The same, as notices."""
        changes = [Change("asset", address) for address in sorted(self.addresses)]
        changes += [Change("job", job_id) for job_id in sorted(self.jobs)]
        tops = {folder for folder, name in map(split, self.addresses) if name == PROJECT_FILE}
        changes += [Change("project", paths.name_of(top)) for top in sorted(tops) if "/" not in top]
        return changes

    def add(self, other: Found) -> None:
        self.addresses |= other.addresses
        self.jobs |= other.jobs
        self.lost += other.lost
        self.new += other.new
        self.torn += other.torn
        self.folders += other.folders
        self.complete = self.complete and other.complete


@dataclass(frozen=True, slots=True)
class _Seen:
    """One name looked at by itself: what a DirEntry is to a listing."""

    name: str
    path: str
    status: os.stat_result

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return self.status


@dataclass(slots=True)
class _Listing:
    """A folder's content, the branches laid over each other as the pool's mount shows them."""

    files: dict[str, Item] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    companions: dict[str, tuple[tuple[str, ...], bool]] = field(default_factory=dict)  # jobs, worth showing


class _Unreadable(Exception):
    """A folder is there but can't be listed: what is known of it stays."""


class Scanner:
    """Looks at one share. Several threads may ask; one look goes on at a time."""

    def __init__(
        self,
        share: Share,
        index: Index,
        *,
        globs: Iterable[str] = (),
        watch: Callable[[str, str], None] | None = None,
        arrivals: Arrivals | None = None,
        here: Callable[[], bool] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`watch(path, address)` is called before a folder is listed; `here()` says whether the share is
        mounted, and is asked before anything is taken for lost."""
        self.share = share
        self.index = index
        self.watch = watch
        self.arrivals = arrivals
        self.here = here
        self.unreadable: dict[str, str] = {}  # address -> why
        self.unwatched = not share.branches and is_remote(share.root)
        """Whether things change there that inotify doesn't tell of."""
        self.mtimes: dict[str, tuple[int, ...]] | None = {} if self.unwatched else None  # of folders
        self._wall = wall
        self._lock = threading.RLock()
        self._roots = tuple(str(branch) for branch in share.branches) or (str(share.root),)
        self._prefix = share.name + SEPARATOR
        self._ignored = ignorer(globs)
        self._lists: dict[tuple[str, ...], tuple[str, ...]] = {}

    # -- looking ----------------------------------------------------------------------------------

    def scan(self, folder: str = "", *, moved: bool = False, changed_only: bool = False) -> Found:
        """Looks at a folder (its address; the whole share without one) and everything below it.

        `moved`: it came by a rename, so its files are whole. `changed_only`: folders whose mtimes are as
        they were at the last look are not listed again.
        """
        found = Found()
        waiting = [self._inside(folder)]
        collecting = gc.isenabled() and not len(self.index)
        if collecting:  # every object of a first scan stays: looking for garbage would double its time
            gc.disable()
        try:
            while waiting:
                inside = waiting.pop()
                with self._lock:
                    if changed_only and self._unchanged(inside):
                        waiting += [join(inside, n) for n in self.index.folders(self._prefix + inside)]
                    else:
                        waiting += [join(inside, n) for n in self._look(inside, found, moved)]
        except ShareAway:
            found.complete = False
        finally:
            if collecting:
                gc.enable()
        return found

    def refresh(self, address: str) -> Found:
        """Looks at one path: a file, a sidecar, a folder, anything in a companion folder or a job."""
        if self._inside(address) == "":
            return self.scan()
        folder, name = split(address)
        return self.refresh_names(folder, {name: 0})

    def has_settled(self, address: str) -> Found:
        """What was arriving has come to rest, as the look a moment ago saw it."""
        found = Found()
        with self._lock:
            entry = self.index.get(address)
            if entry is not None and entry.arriving:
                self.index.put(replace(entry, arriving=False))
                found.addresses.add(address)
        return found

    def refresh_names(self, folder: str, names: Mapping[str, int]) -> Found:
        """Looks at some names of one folder. The values say how they came up (CREATED, CLOSED, …)."""
        found = Found()
        inside = self._inside(folder)
        parts = inside.split("/") if inside else []
        at = min((parts.index(name) for name in (COMPANION, RENDER) if name in parts), default=len(parts))
        if any(self._ignored(part) for part in parts[:at]):
            return found
        try:
            with self._lock:
                unknown = self._first_unknown(parts[:at])
                if unknown:
                    return self.scan(unknown, moved=all(how & MOVED for how in names.values()))
                if at == len(parts):
                    self._refresh_files(inside, names, found)
                elif parts[at] == COMPANION:
                    self._refresh_companions(parts, names, found)
                else:
                    self._refresh_render(parts, names, found)
        except ShareAway:
            found.complete = False
        return found

    def _first_unknown(self, parts: list[str]) -> str:
        """The topmost of these nested folders that the index doesn't know; empty when it knows all."""
        for depth in range(len(parts) + 1):
            inside = "/".join(parts[:depth])
            if depth and not self.index.has_folder(self._prefix + inside):
                return self._prefix + inside
        return ""

    # -- one folder -------------------------------------------------------------------------------

    def _look(
        self, inside: str, found: Found, moved: bool = False, hints: Mapping[str, int] | None = None
    ) -> list[str]:
        """Lists one folder into the index; the names of the folders to look at next."""
        found.folders += 1
        if paths.name_of(inside) == RENDER:
            self._look_render(inside, found)
            return []
        folder = self._prefix + inside
        try:
            listing = self._list(inside)
        except _Unreadable:
            found.complete = False
            return []
        if listing is None:
            self._lose_folder(folder, found)
            return []
        how = dict.fromkeys(listing.files, MOVED) if moved else (hints or {})
        entries = self._entries(folder, listing, how, found)
        self._check_losses(entries, self.index.folder(folder))
        for name in set(self.index.folders(folder)).difference(listing.folders):
            self._lose_folder(join(folder, name), found)
        before = {entry.address: entry for entry in self.index.folder(folder)}
        for address in self.index.put_folder(folder, entries, listing.folders):
            self._note(before.get(address), self.index.get(address), found)
        return sorted(listing.folders)

    def _list(self, inside: str) -> _Listing | None:
        """What is in a folder; None when it isn't there. Watches it first."""
        listing = _Listing()
        files, folders, ignored = listing.files, listing.folders, self._ignored
        folder = self._prefix + inside
        mtimes: list[int] = []
        there = False
        for path in self._paths(inside):
            has_companions = False
            try:
                if self.mtimes is not None:
                    mtimes.append(os.stat(path).st_mtime_ns)  # before listing: a later change is seen later
                if self.watch is not None:
                    self.watch(path, folder)
                with os.scandir(path) as items:
                    for item in items:
                        name = item.name
                        if ignored(name):
                            has_companions = has_companions or name == COMPANION
                        elif name in files:
                            continue  # a branch further down: the mount shows the first
                        elif item.is_dir(follow_symlinks=False):
                            folders.add(name)
                        elif name in folders:
                            continue
                        elif item.is_file(follow_symlinks=False):
                            if name.isascii() or self._named_well(folder, name):
                                files[name] = item
                        elif item.is_symlink() and (seen := self._linked(name, item.path)):
                            files[name] = seen
                there = True
                self.unreadable.pop(folder, None)
            except (FileNotFoundError, NotADirectoryError):
                continue  # Race: it went after its parent was listed; or another branch has it
            except OSError as error:
                self.unreadable[folder] = str(error.strerror)
                log.warning("%s can't be listed: %s", folder, error)
                raise _Unreadable from error
            if has_companions:
                self._list_companions(path, folder, listing, mtimes)
        if not there:
            return None
        if self.mtimes is not None:
            self.mtimes[folder] = tuple(mtimes)
        return listing

    def _list_companions(self, path: str, folder: str, listing: _Listing, mtimes: list[int]) -> None:
        base = f"{path}/{COMPANION}"
        address = join(folder, COMPANION)
        try:
            if self.mtimes is not None:
                mtimes.append(os.stat(base).st_mtime_ns)
            if self.watch is not None:
                self.watch(base, address)
            with os.scandir(base) as items:
                names = [item.name for item in items if item.is_dir(follow_symlinks=False)]
        except OSError:
            return
        for name in names:
            if not self._ignored(name) and (name.isascii() or self._named_well(address, name)):
                self._add_companion(f"{base}/{name}", f"{address}/{name}", name, listing.companions)

    def _add_companion(
        self, path: str, address: str, name: str, companions: dict[str, tuple[tuple[str, ...], bool]]
    ) -> None:
        """What the index needs of one companion folder on one branch, laid over what is known of it."""
        try:
            if self.watch is not None:
                self.watch(path, address)
            content = os.listdir(path)
        except OSError:
            return
        jobs = self._job_ids(f"{path}/jobs", f"{address}/jobs") if "jobs" in content else _NO_JOBS
        keeps = bool(jobs) or not _WORTH_KEEPING.isdisjoint(content)
        if name in companions:
            more, kept = companions[name]
            jobs, keeps = tuple(sorted({*more, *jobs})), kept or keeps
        companions[name] = (jobs, keeps)

    def _job_ids(self, path: str, address: str) -> tuple[str, ...]:
        try:
            if self.watch is not None:
                self.watch(path, address)
            with os.scandir(path) as items:
                ids = sorted(i.name for i in items if i.name[0] != "." and i.is_dir(follow_symlinks=False))
        except OSError:
            return _NO_JOBS
        if self.watch is not None:
            for job_id in ids:
                # A job that hasn't ended may be changed by another server or a restore.
                if not os.path.lexists(f"{path}/{job_id}/{RESULT_FILE}"):
                    try:
                        self.watch(f"{path}/{job_id}", f"{address}/{job_id}")
                    except OSError:
                        pass  # Race: it went meanwhile
        return tuple(job_id for job_id in ids if job_id.isascii())

    # -- some names -------------------------------------------------------------------------------

    def _refresh_files(self, inside: str, names: Mapping[str, int], found: Found) -> None:
        folder = self._prefix + inside
        known = self.index.has_folder(folder)  # false only for a share's root that was never scanned
        stems = {_stem(name) for name in names if not self._ignored(name)}
        listed = len(stems) > MANY_NAMES or not known or COMPANION in names
        if listed or any("@" in stem or frame_key(stem) for stem in stems):
            # A sequence is made of all its frames, so it takes a listing.
            for name in self._look(inside, found, hints=names):
                inner = self._prefix + join(inside, name)
                if name in names or not self.index.has_folder(inner):
                    found.add(self.scan(inner, moved=bool(names.get(name, 0) & MOVED)))
            return
        folders = set(self.index.folders(folder))
        for name in sorted(stems):
            self._refresh_name(inside, name, names, folders, found)

    def _refresh_name(
        self, inside: str, stem: str, names: Mapping[str, int], folders: set[str], found: Found
    ) -> None:
        """Looks at `stem`, `stem.json`, `stem.json.json`: whether one is a sidecar depends on the others."""
        folder = self._prefix + inside
        listing = _Listing()
        places = self._paths(inside)
        looked = []
        name = stem
        while True:
            looked.append(name)
            for place in places:
                item = self._seen(place, name)
                if item is None:
                    continue
                if modes.S_ISDIR(item.status.st_mode):
                    listing.folders.add(name)
                elif name not in listing.files:
                    listing.files[name] = item
            for place in places:
                companion = f"{place}/{COMPANION}/{name}"
                if os.path.isdir(companion):
                    address = join(folder, COMPANION, name)
                    self._add_companion(companion, address, name, listing.companions)
            name += ".json"
            if len(looked) > 2 and name not in names and not self._known(folder, places, name):
                break
        entries = {entry.address: entry for entry in self._entries(folder, listing, names, found)}
        before = [entry for name in looked if (entry := self.index.get(join(folder, name)))]
        self._check_losses(entries.values(), before)
        for name in looked:
            address = join(folder, name)
            old = self.index.get(address)
            fresh = entries.get(address)
            if self.index.drop(address) if fresh is None else self.index.put(fresh):
                self._note(old, fresh, found)
            is_folder = name in listing.folders and name not in listing.files
            if is_folder:
                moved = bool(names.get(name, 0) & MOVED)
                found.add(self.scan(join(folder, name), moved=moved))
            elif name in folders:
                self._lose_folder(address, found)

    def _known(self, folder: str, places: Iterable[str], name: str) -> bool:
        return self.index.get(join(folder, name)) is not None or any(
            os.path.lexists(f"{place}/{name}") for place in places
        )

    def _refresh_companions(self, parts: list[str], names: Mapping[str, int], found: Found) -> None:
        """Events in `.croft`, `.croft/<file>`, `.croft/<file>/jobs` and `.croft/<file>/jobs/<id>`."""
        at = parts.index(COMPANION)
        inside = "/".join(parts[:at])
        rest = parts[at + 1 :]
        folder = self._prefix + inside
        if not self.index.has_folder(folder):
            return
        if all(name[0] == "." for name in names):
            return
        if not rest:
            self._refresh_files(inside, dict.fromkeys(names, 0), found)
            return
        file = rest[0]
        entry = self.index.get(join(folder, file))
        if len(rest) > 1 or "jobs" in names or entry is None or entry.stat is None:
            self._refresh_files(inside, {file: 0}, found)
        if len(rest) == 1 and "file.json" in names:
            found.addresses.add(join(folder, file))
        elif len(rest) == 2 and rest[1] == "jobs":
            found.jobs.update(name for name in names if name[0] != ".")
        elif len(rest) == 3 and rest[1] == "jobs" and any(name[0] != "." for name in names):
            found.jobs.add(rest[2])

    # -- render versions --------------------------------------------------------------------------

    def _refresh_render(self, parts: list[str], names: Mapping[str, int], found: Found) -> None:
        """Events in `render` and in `render/<stem>`."""
        at = parts.index(RENDER)
        inside = "/".join(parts[: at + 1])
        below = len(parts) - at - 1
        known = self.index.has_folder(self._prefix + "/".join(parts[: at + 2]))
        if below == 0 or not known:
            self._look_render(inside, found)
        elif below == 1 and any(paths.version_number(name) is not None for name in names):
            self._look_versions("/".join(parts), found)

    def _look_render(self, inside: str, found: Found) -> None:
        folder = self._prefix + inside
        names: set[str] = set()
        there = False
        for path in self._paths(inside):
            try:
                if self.watch is not None:
                    self.watch(path, folder)
                with os.scandir(path) as items:
                    names.update(
                        i.name for i in items if i.name[0] != "." and i.is_dir(follow_symlinks=False)
                    )
                there = True
            except OSError:
                continue
        if not there:
            self._lose_folder(folder, found)
            return
        lost = set(self.index.folders(folder)).difference(names)
        if lost:
            self._confirm_here()
        self.index.put_folder(folder, [], names)
        for name in sorted(names):
            self._look_versions(join(inside, name), found)

    def _look_versions(self, inside: str, found: Found) -> None:
        folder = self._prefix + inside
        versions: set[str] = set()
        there = False
        for path in self._paths(inside):
            try:
                if self.watch is not None:
                    self.watch(path, folder)
                versions.update(
                    name[:-5]
                    for name in os.listdir(path)
                    if name.endswith(".json") and paths.version_number(name) is not None
                )
                there = True
            except OSError:
                continue
        if not there:
            self._lose_folder(folder, found)
            return
        if set(self.index.versions(folder)) - versions:
            self._confirm_here()
        self.index.put_folder(folder, [], [])
        if self.index.put_versions(folder, versions):
            found.addresses.add(folder)

    # -- entries ----------------------------------------------------------------------------------

    def _entries(self, folder: str, listing: _Listing, how: Mapping[str, int], found: Found) -> list[Entry]:
        """The entries that these names make. Which JSON file is a sidecar is decided here alone."""
        files, companions = listing.files, listing.companions
        prefix = folder if folder.endswith(SEPARATOR) else folder + "/"
        sequences = self._sequences(files, companions)
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
            jobs = companions[name][0] if name in companions else _NO_JOBS
            entry = self._entry(prefix + name, Stat.of(status), side, jobs, how.get(name, 0), found)
            if side is None and side_name in listing.folders:
                entry = replace(entry, broken="its sidecar is a folder")
            entries.append(entry)
        for key, group in sequences.items():
            stat = _stat_of_all(files[name] for name in group)
            if stat is not None:
                jobs = companions[key][0] if key in companions else _NO_JOBS
                entries.append(self._entry(prefix + key, stat, files.get(key + ".json"), jobs, 0, found))
        for base, (jobs, keeps) in companions.items():
            if base not in files and base not in sequences and base not in orphans:
                side = files.get(base + ".json")
                if side is not None or keeps:
                    entries.append(self._entry(prefix + base, None, side, jobs, 0, found))
        for base, item in orphans.items():
            entries.append(self._entry(prefix + base, None, item, _NO_JOBS, 0, found))
        return entries

    def _entry(
        self,
        address: str,
        stat: Stat | None,
        side: Item | None,
        jobs: tuple[str, ...],
        how: int,
        found: Found,
    ) -> Entry:
        old = self.index.get(address)
        facts, etag, why = (None, "", "") if side is None else self._sidecar(address, side, old, found)
        arriving = stat is not None and self._arriving(address, stat, old, how)
        return Entry(address, stat, facts, etag, why, arriving, jobs)

    def _sidecar(
        self, address: str, item: Item, old: Entry | None, found: Found
    ) -> tuple[Facts | None, str, str]:
        """Facts, ETag and what is wrong with it."""
        try:
            raw = _read(item.path)
            etag = sidecar.etag(raw)
            if old is not None and old.etag == etag and old.facts is not None and not old.broken:
                return old.facts, etag, ""
            return self._facts(raw, item.path), etag, ""
        except Broken as error:
            why, etag = str(error.why), ""
        except FileNotFoundError:
            return None, "", ""  # Race: it went after the listing
        except OSError as error:
            why, etag = str(error.strerror), ""
        if self._is_fresh(item):
            folder, name = split(address)
            found.torn.append((folder, name + ".json"))
        return (old.facts if old else None), etag, why

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
        if not base or self._ignored(base):
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

    def _sequences(self, files: Mapping[str, Item], companions: Mapping[str, Any]) -> dict[str, list[str]]:
        """Image sequences by key (`name.@.ext`): several numbered images, or a sidecar that says so."""
        groups: dict[str, list[str]] = {}
        for name in files:
            if name.endswith(FRAMES) and (key := frame_key(name)) and name + ".json" not in files:
                groups.setdefault(key, []).append(name)
        return {
            key: group
            for key, group in groups.items()
            if len(group) > 1 or key + ".json" in files or key in companions
        }

    # -- what went --------------------------------------------------------------------------------

    def _check_losses(self, fresh: Iterable[Entry], before: Iterable[Entry]) -> None:
        there = {entry.address for entry in fresh if entry.stat is not None}
        if any(entry.stat is not None and entry.address not in there for entry in before):
            self._confirm_here()

    def _confirm_here(self) -> None:
        """Race: the share may have been unmounted between a look at its marker and the listing."""
        if self.here is not None and not self.here():
            raise ShareAway(f"The share {self.share.name} isn't mounted.", share=self.share.name)

    def _lose_folder(self, folder: str, found: Found) -> None:
        if not self.index.has_folder(folder):
            return
        self._confirm_here()
        for entry in list(self.index.under(folder)):
            self._note(entry, None, found)
        if folder.endswith(SEPARATOR):
            self.index.put_folder(folder, [], [])
        else:
            self.index.drop_folder(folder)
        if self.mtimes is not None:
            for known in [k for k in self.mtimes if paths.within(k, folder)]:
                del self.mtimes[known]

    def _note(self, old: Entry | None, new: Entry | None, found: Found) -> None:
        entry = new or old
        if entry is None:
            return
        found.addresses.add(entry.address)
        was, now = (old.jobs if old else _NO_JOBS), (new.jobs if new else _NO_JOBS)
        if was != now:
            found.jobs.update(set(was).symmetric_difference(now))
        if old is not None and old.stat is not None and (new is None or new.stat is None):
            found.lost.append(old)
            if self.arrivals is not None:
                self.arrivals.forget(old.address)
        elif new is not None and new.stat is not None and (old is None or old.stat is None):
            found.new.append(new.address)

    # -- helpers ----------------------------------------------------------------------------------

    def _inside(self, address: str) -> str:
        return address.partition(SEPARATOR)[2].rstrip("/") if SEPARATOR in address else address

    def _paths(self, inside: str) -> list[str]:
        return [f"{root}/{inside}" for root in self._roots] if inside else list(self._roots)

    def _unchanged(self, inside: str) -> bool:
        """Whether a folder's mtimes are those of its last listing."""
        known = (self.mtimes or {}).get(self._prefix + inside)
        if known is None:
            return False
        now: list[int] = []
        for path in self._paths(inside):
            for place in (path, f"{path}/{COMPANION}"):
                try:
                    now.append(os.stat(place).st_mtime_ns)
                except OSError:
                    continue
        return tuple(now) == known

    def _seen(self, place: str, name: str) -> _Seen | None:
        path = f"{place}/{name}"
        try:
            status = os.lstat(path)
        except OSError:
            return None
        if modes.S_ISLNK(status.st_mode):
            return self._linked(name, path)
        if modes.S_ISREG(status.st_mode) or modes.S_ISDIR(status.st_mode):
            return _Seen(name, path, status)
        return None

    def _linked(self, name: str, path: str) -> _Seen | None:
        """A link to a file counts as that file, where it doesn't lead out of the share."""
        try:
            real = os.path.realpath(path)
            if not any(paths.within(real, os.path.realpath(root)) for root in self._roots):
                return None
            status = os.stat(real)
        except OSError:
            return None
        return _Seen(name, real, status) if modes.S_ISREG(status.st_mode) else None

    def _is_fresh(self, item: Item) -> bool:
        try:
            return self._wall() - item.stat(follow_symlinks=False).st_ctime < FRESH_S
        except OSError:
            return False

    def _named_well(self, folder: str, name: str) -> bool:
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            shown = name.encode("utf-8", "replace").decode("utf-8")
            self.unreadable[join(folder, shown)] = "its name isn't UTF-8"
            return False
        return True


def ignorer(globs: Iterable[str] = ()) -> Callable[[str], bool]:
    """`paths.is_ignored` for these globs, made for names by the hundred thousand."""
    patterns = (*paths.IGNORED, *globs)
    exact: set[str] = set()
    starts: list[str] = []
    ends: list[str] = []
    rest: list[str] = []
    for glob in patterns:
        wild = sum(glob.count(c) for c in "*?[")
        if wild == 0:
            exact.add(glob)
        elif wild == 1 and glob.endswith("*"):
            starts.append(glob[:-1])
        elif wild == 1 and glob.startswith("*"):
            ends.append(glob[1:])
        else:
            rest.append(glob)
    first, last = tuple(starts), tuple(ends)
    pattern = re.compile("|".join(map(translate, rest))) if rest else None
    # `*.blend[1-9]`: the pattern is asked only of names that end in a digit.
    numbers_only = all(glob.endswith(("[1-9]", "[0-9]")) for glob in rest)

    def ignored(name: str) -> bool:
        if name.startswith(first) or name.endswith(last) or name in exact:
            return True
        if pattern is None or (numbers_only and not name[-1].isdigit()):
            return False
        return pattern.match(name) is not None

    return ignored


def frame_key(name: str) -> str:
    """`shot.0012.png` to `shot.@.png`; empty for what isn't a frame of a sequence.

    Stricter than a number before the ending: `sh010.png` and `sh020.png` are two images.
    """
    key = paths.sequence_key(name) if name.endswith(FRAMES) else None
    if key is None:
        return ""
    head, _, _ = key[0].rpartition("@")
    digits = len(name) - len(key[0]) + 1
    return key[0] if head.endswith(".") or (digits > 2 and head.endswith(("_", "-"))) else ""


def _stem(name: str) -> str:
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
