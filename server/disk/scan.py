"""Looks at a share's disk and tells the index what is there.

A look is of the whole share (at start), of a folder, or of some names of one (after an event); all three
take the way through the same listing and the same entries. Nothing is taken for lost before the share's
marker was seen again. Changes nothing on disk.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from server.disk import conflicts, paths
from server.disk.arrivals import Arrivals
from server.disk.entries import MOVED, Entries, stem_of
from server.disk.errors import ShareAway
from server.disk.index import Index
from server.disk.listing import NO_JOBS, NOTES, Lister, Listing, Unreadable, frame_key
from server.disk.paths import COMPANION, PROJECT_FILE, RENDER, SEPARATOR, Share, join, split
from server.disk.records import Change, Entry, Stat

log = logging.getLogger(__name__)

MANY_NAMES = 40  # more names than this in one folder are looked at by listing it


@dataclass(slots=True)
class Found:
    """What a look changed."""

    addresses: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    companions: set[str] = field(default_factory=set)  # files of which somebody else may have said something
    lost: list[Entry] = field(default_factory=list)  # as they were before their file went
    bare: list[Entry] = field(default_factory=list)  # as they were before their record went, not they
    new: list[str] = field(default_factory=list)  # files that weren't there before
    changed: list[Entry] = field(default_factory=list)  # as they were before another file had their name
    torn: list[tuple[str, str]] = field(default_factory=list)  # folder, name: perhaps still being written
    below: list[tuple[str, bool]] = field(default_factory=list)  # folders yet to look at; came by a rename
    folders: int = 0
    complete: bool = True  # False: the share went away meanwhile, or a folder couldn't be read

    def of_files(self) -> Found:
        """The part of it that says which files came and went."""
        return Found(lost=self.lost, bare=self.bare, new=self.new, changed=self.changed)

    def says_of_files(self) -> bool:
        return bool(self.lost or self.bare or self.new or self.changed)

    def changes(self) -> list[Change]:
        """The same, as notices."""
        changes = [Change("asset", address) for address in sorted(self.addresses)]
        changes += [Change("job", job_id) for job_id in sorted(self.jobs)]
        changes += [Change("companion", address) for address in sorted(self.companions - self.addresses)]
        tops = {folder for folder, name in map(split, self.addresses) if name == PROJECT_FILE}
        changes += [Change("project", paths.name_of(top)) for top in sorted(tops) if "/" not in top]
        return changes

    def add(self, other: Found) -> None:
        self.addresses |= other.addresses
        self.jobs |= other.jobs
        self.companions |= other.companions
        self.lost += other.lost
        self.bare += other.bare
        self.new += other.new
        self.changed += other.changed
        self.torn += other.torn
        self.folders += other.folders
        self.complete = self.complete and other.complete


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
        self.globs = tuple(globs)
        self.lister = Lister(share, self.globs, watch)
        self.entries = Entries(index, self.lister.ignored, arrivals, wall)
        self.entries.unwatched = self.lister.unwatched
        self.entries.disks = self.lister.disks
        self.here = here
        self.failed: dict[str, str] = {}  # folders that the last look couldn't understand, and why
        self._arrivals = arrivals
        self._lock = threading.RLock()
        self._prefix = share.name + SEPARATOR

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
                    if changed_only and self.lister.unchanged(inside):
                        waiting += [join(inside, n) for n in self.index.folders(self._prefix + inside)]
                    else:
                        waiting += [join(inside, n) for n in self._look_safely(inside, found, moved)]
        except ShareAway:
            found.complete = False
        finally:
            if collecting:
                gc.enable()
        return found

    def look_again(self, folders: Iterable[str], trusted: Iterable[str]) -> Found:
        """After a start that took some folders on trust: looks at the others (paths inside the share) by
        themselves, and at all below them that nothing is known of. What was trusted goes where the folder
        above doesn't name it: a link may lie there, and all below it look as before."""
        found = Found()
        chosen = set(folders)
        below: dict[str, list[str]] = {}
        for address in trusted:
            below.setdefault(split(address)[0], []).append(address)
        try:
            for inside in sorted(chosen):
                folder = self._prefix + inside
                above, name = split(folder)
                names: list[str] = []
                with self._lock:
                    if inside and name not in self.index.folders(above):
                        pass  # it went, or a link lies there
                    elif paths.name_of(above) == RENDER:
                        self._look_versions(inside, found)
                    else:
                        names = self._look(inside, found)
                    there = self.index.folders(folder)
                    waiting = [a for a in below.get(folder, ()) if split(a)[1] not in there]
                    while waiting:
                        address = waiting.pop()
                        waiting += below.get(address, ())
                        self.index.drop_folder(address)
                for inner in (join(inside, name) for name in names):
                    if inner not in chosen and not self.index.has_folder(self._prefix + inner):
                        found.add(self.scan(inner))
        except ShareAway:
            found.complete = False
        return found

    def refresh(self, address: str) -> Found:
        """Looks at one path: a file, a sidecar, a folder, anything in a companion folder or a job."""
        if self._inside(address) == "":
            return self.scan()
        folder, name = split(address)
        return self.refresh_names(folder, {name: 0})

    def stat(self, address: str) -> Stat | None:
        """What lies at an address now. Tells the index nothing."""
        folder, name = split(address)
        item = self.lister.names(self._inside(folder), [name]).files.get(name)
        return self.entries.stat(item.stat(follow_symlinks=False)) if item is not None else None

    def has_settled(self, address: str) -> Found:
        """What was arriving has come to rest, as the look a moment ago saw it."""
        return self._mark(address, arriving=False)

    def has_no_end(self, address: str) -> Found:
        """What seemed at rest has no end, or has had none for an hour: it is arriving, still."""
        return self._mark(address, arriving=True)

    def _mark(self, address: str, *, arriving: bool) -> Found:
        found = Found()
        with self._lock:
            entry = self.index.get(address)
            if entry is not None and entry.stat is not None:
                lacking = arriving and self._arrivals is not None and self._arrivals.incomplete(address)
                if self.index.put(replace(entry, arriving=arriving, incomplete=lacking)):
                    found.addresses.add(address)
        return found

    def refresh_names(self, folder: str, names: Mapping[str, int]) -> Found:
        """Looks at some names of one folder. The values say how they came up (CREATED, CLOSED, …)."""
        found = Found()
        inside = self._inside(folder)
        parts = inside.split("/") if inside else []
        at = min((parts.index(name) for name in (COMPANION, RENDER) if name in parts), default=len(parts))
        if any(self.lister.ignored(part) for part in parts[:at]):
            return found
        try:
            with self._lock:
                unknown = self._first_unknown(parts[:at])
                if unknown:
                    found.below.append((unknown, all(how & MOVED for how in names.values())))
                elif at == len(parts):
                    self._refresh_files(inside, names, found)
                elif parts[at] == COMPANION:
                    self._refresh_companions(parts, names, found)
                else:
                    self._refresh_render(parts, names, found)
        except ShareAway:
            found.complete = False
        # Folder by folder: whoever edits something meanwhile doesn't wait for all of them.
        below, found.below = found.below, []
        for inner, moved in below:
            found.add(self.scan(inner, moved=moved))
        return found

    def _first_unknown(self, parts: list[str]) -> str:
        """The topmost of these nested folders that the index doesn't know; empty when it knows all."""
        for depth in range(len(parts) + 1):
            inside = "/".join(parts[:depth])
            if depth and not self.index.has_folder(self._prefix + inside):
                return self._prefix + inside
        return ""

    def _look_safely(self, inside: str, found: Found, moved: bool) -> list[str]:
        """A folder that can't be understood keeps nobody from the others; what is known of it stays."""
        folder = self._prefix + inside
        try:
            names = self._look(inside, found, moved)
        except ShareAway:
            raise
        except Exception as error:
            log.exception("%s can't be looked at", folder)
            self.failed[folder] = f"{type(error).__name__}: {error}"
            found.complete = False
            return []
        self.failed.pop(folder, None)
        return names

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
            listing = self.lister.folder(inside)
        except Unreadable:
            found.complete = False
            return []
        if listing is None:
            self._lose_folder(folder, found)
            return []
        how = dict.fromkeys(listing.files, MOVED) if moved else (hints or {})
        entries = self._make(folder, listing, how, found)
        entries += self._keep_lost(entries, self.index.folder(folder))
        gone = set(self.index.folders(folder)).difference(listing.folders)
        if gone and not self._all_mounted():
            listing.folders |= gone
            gone.clear()
        for name in gone:
            self._lose_folder(join(folder, name), found)
        before = {entry.address: entry for entry in self.index.folder(folder)}
        for address in self.index.put_folder(folder, entries, listing.folders):
            self._note(before.get(address), self.index.get(address), found)
        return sorted(listing.folders)

    # -- some names -------------------------------------------------------------------------------

    def _refresh_files(self, inside: str, names: Mapping[str, int], found: Found) -> None:
        folder = self._prefix + inside
        known = self.index.has_folder(folder)  # false only for a share's root that was never scanned
        stems = {stem_of(name) for name in names if not self.lister.ignored(name)}
        listed = len(stems) > MANY_NAMES or not known or COMPANION in names
        if listed or any("@" in stem or frame_key(stem) for stem in stems):
            # A sequence is made of all its frames, so it takes a listing.
            for name in self._look(inside, found, hints=names):
                inner = self._prefix + join(inside, name)
                if name in names or not self.index.has_folder(inner):
                    found.below.append((inner, bool(names.get(name, 0) & MOVED)))
            return
        folders = set(self.index.folders(folder))
        for name in sorted(stems):
            self._refresh_name(inside, name, names, folders, found)

    def _refresh_name(
        self, inside: str, stem: str, names: Mapping[str, int], folders: set[str], found: Found
    ) -> None:
        """Looks at `stem`, `stem.json`, `stem.json.json`: whether one is a sidecar depends on the others."""
        folder = self._prefix + inside
        looked = [stem]
        while len(looked) < 3 or looked[-1] + ".json" in names or self._known(inside, looked[-1] + ".json"):
            looked.append(looked[-1] + ".json")
        listing = self.lister.names(inside, looked)
        made = self._make(folder, listing, names, found)
        before = [entry for name in looked if (entry := self.index.get(join(folder, name)))]
        entries = {entry.address: entry for entry in made + self._keep_lost(made, before)}
        for name in looked:
            address = join(folder, name)
            old = self.index.get(address)
            fresh = entries.get(address)
            if self.index.drop(address) if fresh is None else self.index.put(fresh):
                self._note(old, fresh, found)
            is_folder = name in listing.folders and name not in listing.files
            if is_folder:
                found.below.append((join(folder, name), bool(names.get(name, 0) & MOVED)))
            elif name in folders:
                self._lose_folder(address, found)

    def _known(self, inside: str, name: str) -> bool:
        return self.index.get(join(self._prefix + inside, name)) is not None or self.lister.exists(
            inside, name
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
            found.companions.update(join(folder, name) for name in names if name[0] != ".")
            return
        file = rest[0]
        noted = rest[1:] == [NOTES] or (len(rest) == 1 and NOTES in names)
        if noted or any(name.startswith("history.") or conflicts.is_copy(name) for name in names):
            found.companions.add(join(folder, file))
        entry = self.index.get(join(folder, file))
        # What lies in a job's folder says nothing of its file.
        in_job = len(rest) == 3 and rest[1] == "jobs" and entry is not None and rest[2] in entry.jobs
        outside = len(rest) > 1 and not in_job
        if outside or noted or "jobs" in names or entry is None or entry.stat is None:
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
            if any(name.endswith(".json") for name in names):
                found.addresses.add(self._prefix + "/".join(parts))  # one may be approved now

    def _look_render(self, inside: str, found: Found) -> None:
        folder = self._prefix + inside
        names = self.lister.folders(inside)
        if names is None:
            self._lose_folder(folder, found)
            return
        gone = set(self.index.folders(folder)) - names
        if gone and not self._all_mounted():
            names |= gone
        elif gone:
            found.companions.add(split(folder)[0])  # another folder may have this one's place
        self.index.put_folder(folder, [], names)
        for name in sorted(names):
            self._look_versions(join(inside, name), found)

    def _look_versions(self, inside: str, found: Found) -> None:
        folder = self._prefix + inside
        versions = self.lister.versions(inside)
        if versions is None:
            self._lose_folder(folder, found)
            return
        gone = set(self.index.versions(folder)) - versions
        if gone and not self._all_mounted():
            versions |= gone
        elif gone:
            found.companions.add(split(split(folder)[0])[0])
        self.index.put_folder(folder, [], [])
        if self.index.put_versions(folder, versions):
            found.addresses.add(folder)

    # -- what went --------------------------------------------------------------------------------

    def _keep_lost(self, fresh: list[Entry], before: Iterable[Entry]) -> list[Entry]:
        """Entries that a look didn't find whole, and that must not go: a disk isn't mounted. A file may lie
        on another disk than its record, which would be taken for missing, and a new one made in its place."""
        now = {entry.address: entry for entry in fresh}
        lost = [entry for entry in before if _lacks(entry, now.get(entry.address))]
        if not lost or self._all_mounted():
            return []
        kept: dict[str, Entry] = {}
        for old in lost:
            new = now.get(old.address)
            if new is None or new.stat is None:
                kept[old.address] = old
            else:
                jobs = tuple(sorted({*old.jobs, *new.jobs}))
                notes = tuple(sorted({*old.notes, *new.notes}))
                known = new if new.etag else replace(old, side=0)
                kept[old.address] = replace(
                    known, stat=new.stat, arriving=new.arriving, jobs=jobs, notes=notes
                )
        fresh[:] = [entry for entry in fresh if entry.address not in kept]
        return list(kept.values())

    def _all_mounted(self) -> bool:
        """Asked before anything is taken for lost. ShareAway when the whole share is away."""
        self._confirm_here()
        return not self.lister.lost_branches()

    def _confirm_here(self) -> None:
        """Race: the share may have been unmounted between a look at its marker and the listing."""
        if self.here is not None and not self.here():
            raise ShareAway("The share {share} isn't mounted.", share=self.share.name)

    def _lose_folder(self, folder: str, found: Found) -> None:
        if not self.index.has_folder(folder):
            return
        if not self._all_mounted():
            return
        for entry in list(self.index.under(folder)):
            self._note(entry, None, found)
        if paths.name_of(folder) == RENDER:
            found.companions.add(split(folder)[0])
        if folder.endswith(SEPARATOR):
            self.index.put_folder(folder, [], [])
        else:
            self.index.drop_folder(folder)
        self.lister.forget(folder)

    def _note(self, old: Entry | None, new: Entry | None, found: Found) -> None:
        entry = new or old
        if entry is None:
            return
        found.addresses.add(entry.address)
        was, now = (old.jobs if old else NO_JOBS), (new.jobs if new else NO_JOBS)
        if was != now:
            found.jobs.update(set(was).symmetric_difference(now))
        if old is not None and old.stat is not None and (new is None or new.stat is None):
            found.lost.append(old)
            if self._arrivals is not None:
                self._arrivals.forget(old.address)
        elif new is not None and new.stat is not None and (old is None or old.stat is None):
            found.new.append(new.address)
        elif old is not None and old.stat and new and new.stat and old.stat.inode != new.stat.inode:
            found.changed.append(old)
        if old is not None and old.etag and new is not None and new.stat is not None and not new.etag:
            found.bare.append(old)

    # -- helpers ----------------------------------------------------------------------------------

    def _make(self, folder: str, listing: Listing, how: Mapping[str, int], found: Found) -> list[Entry]:
        made = self.entries.of(folder, listing, how)
        if self.entries.torn:
            found.torn += self.entries.torn
            self.entries.torn.clear()
        return made

    def _inside(self, address: str) -> str:
        return address.partition(SEPARATOR)[2].rstrip("/") if SEPARATOR in address else address


def _lacks(old: Entry, new: Entry | None) -> bool:
    """Whether a look found less of an entry than was known: its file, its record, a job, a note."""
    return (
        new is None
        or (old.stat is not None and new.stat is None)
        or (bool(old.etag) and not new.etag and not new.broken)
        or (old.jobs != new.jobs and not set(old.jobs) <= set(new.jobs))
        or (old.notes != new.notes and not set(old.notes) <= set(new.notes))
    )
