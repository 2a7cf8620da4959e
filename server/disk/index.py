"""What lies on the shares, as maps in memory. No I/O: it is told, it answers.

Disposable: the disk is the truth, and building it anew gives the same maps (`dump` compares two).
One writer at a time (a lock of its own); readers need none, because values are replaced whole and every
answer is a copy taken in one step. Jobs, projects and uuids are derived from the entries, so they can't
disagree with them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import takewhile
from types import MappingProxyType
from typing import Any

from server.disk.paths import PROJECT_FILE, by_version, job_folder, join, split, top_of
from server.disk.records import Entry, JobPlace

CHANGES_KEPT = 5000  # changed addresses remembered for each top folder


class Index:
    """Entries by address, and what follows from them: folders, projects, jobs, uuids."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._files: dict[str, dict[str, Entry]] = {}  # folder -> name -> entry; every known folder
        self._folders: dict[str, tuple[str, ...]] = {}  # folder -> names of the folders in it
        self._versions: dict[str, tuple[str, ...]] = {}  # render/<stem> -> versions that have a sidecar
        self._projects: frozenset[str] = frozenset()
        self._jobs: dict[str, JobPlace] = {}
        self._more_jobs: dict[str, tuple[JobPlace, ...]] = {}  # ids that lie in several places: a copy
        self._uuids: dict[str, str | tuple[str, ...]] = {}
        self._contested: set[str] = set()  # of these, the ones with several holders
        self._missing: set[str] = set()
        self._incomplete: set[str] = set()
        self._broken: set[str] = set()
        self._count = 0
        self._generations: dict[str, int] = {}
        self._changes: dict[str, deque[tuple[int, str]]] = {}  # top -> (generation, address), the newest
        self._filled: dict[str, int] = {}  # top -> generation before which no change is remembered
        self.generation = 0
        """Grows with every change: an answer made from the index is good for as long as this stays."""

    # -- reading ----------------------------------------------------------------------------------

    def get(self, address: str) -> Entry | None:
        folder, name = split(address)
        files = self._files.get(folder)
        return files.get(name) if files else None

    def folder(self, address: str) -> list[Entry]:
        """The entries of one folder, itself only, in no order."""
        files = self._files.get(address.rstrip("/"))
        return list(files.values()) if files else []

    def folders(self, address: str) -> tuple[str, ...]:
        """The names of the folders in a folder, sorted."""
        return self._folders.get(address.rstrip("/"), ())

    def has_folder(self, address: str) -> bool:
        return address.rstrip("/") in self._files

    def tree(self, address: str) -> Iterator[str]:
        """A folder and all folders below it, top first, siblings by name."""
        waiting = [address.rstrip("/")]
        while waiting:
            folder = waiting.pop()
            if folder in self._files:
                yield folder
                waiting.extend(join(folder, name) for name in reversed(self._folders.get(folder, ())))

    def under(self, prefix: str) -> Iterator[Entry]:
        """The entries of a folder and of all folders below it."""
        for folder in self.tree(prefix):
            yield from self.folder(folder)

    def entries(self) -> Iterator[Entry]:
        """Every entry of every share."""
        for files in list(self._files.values()):
            yield from list(files.values())

    def __len__(self) -> int:
        return self._count

    def projects(self) -> list[str]:
        """Addresses of the top folders that hold a `project.json`, sorted."""
        return sorted(self._projects)

    @property
    def jobs(self) -> Mapping[str, JobPlace]:
        """Every job on the shares by its id. Of a job that lies in several places (someone copied its
        folder) the one that counts: not a copy's, then the first by address. `job_places` has all."""
        return MappingProxyType(self._jobs)

    def job_places(self, job_id: str) -> tuple[JobPlace, ...]:
        more = self._more_jobs.get(job_id)
        if more:
            return more
        place = self._jobs.get(job_id)
        return (place,) if place else ()

    def versions(self, render_folder: str) -> tuple[str, ...]:
        """The versions in a `render/<stem>` folder that have a sidecar (`v001`, `v002-site`), newest last."""
        return self._versions.get(render_folder, ())

    def holders(self, uuid: str) -> tuple[str, ...]:
        """Addresses whose sidecar holds this uuid, sorted. More than one: a copy, or half of a move."""
        found = self._uuids.get(uuid, ())
        return (found,) if isinstance(found, str) else found

    def contested(self) -> dict[str, tuple[str, ...]]:
        """uuids with several holders, and these."""
        return {uuid: held for uuid in self._contested.copy() if len(held := self.holders(uuid)) > 1}

    def missing(self) -> list[Entry]:
        """Entries whose file is gone and whose sidecar or jobs stayed."""
        found = (self.get(address) for address in sorted(self._missing.copy()))
        return [entry for entry in found if entry is not None]

    def broken(self) -> list[Entry]:
        """Entries whose sidecar can't be read."""
        found = (self.get(address) for address in sorted(self._broken.copy()))
        return [entry for entry in found if entry is not None]

    def incomplete(self) -> list[Entry]:
        """Entries of copies that were cut off."""
        found = (self.get(address) for address in sorted(self._incomplete.copy()))
        return [entry for entry in found if entry is not None]

    def generation_of(self, top: str) -> int:
        """As `generation`, for one top folder (`share::green`) alone."""
        return self._generations.get(top, 0)

    def changed_since(self, top: str, generation: int) -> list[str] | None:
        """The addresses of the entries below a top folder that changed after its generation was this one,
        each once; None where that is longer ago than the index remembers: look at all of them."""
        with self._lock:
            if generation < self._filled.get(top, 0):
                return None
            changes = self._changes.get(top)
            if changes is None:
                return []
            if len(changes) == CHANGES_KEPT and changes[0][0] > generation:
                return None
            newest = takewhile(lambda change: change[0] > generation, reversed(changes))
            return list(dict.fromkeys(address for _, address in newest))

    def dump(self) -> dict[str, Any]:
        """Everything, in a form that two indexes can be compared by. What is transient is left out."""
        with self._lock:
            entries = {
                # The last good record of a broken sidecar is in nobody's memory after a restart.
                entry.address: (
                    entry.stat,
                    None if entry.broken else entry.facts,
                    entry.etag,
                    entry.broken,
                    entry.jobs,
                    entry.notes,
                )
                for entry in self.entries()
            }
            broken = {entry.address for entry in self.entries() if entry.broken}
            return {
                "entries": entries,
                "folders": {folder: self._folders.get(folder, ()) for folder in self._files},
                "versions": dict(self._versions),
                "projects": self._projects,
                "jobs": dict(self._jobs),
                "job_places": dict(self._more_jobs),
                "uuids": {
                    uuid: held
                    for uuid in list(self._uuids)
                    if (held := [address for address in self.holders(uuid) if address not in broken])
                },
                "missing": set(self._missing),
                "count": self._count,
            }

    # -- writing ----------------------------------------------------------------------------------

    def put(self, entry: Entry) -> bool:
        """Takes in an entry in place of what was there. False when that was the same already."""
        folder, name = split(entry.address)
        with self._lock:
            files = self._files.get(folder)
            if files is None:
                files = self._make_folder(folder)
            old = files.get(name)
            if old == entry:
                files[name] = entry  # what doesn't count may differ: when its sidecar was read
                return False
            files[name] = entry
            self._follow(folder, name, entry.address, old, entry)
            return True

    def drop(self, address: str) -> bool:
        """Forgets an entry. False when there was none."""
        folder, name = split(address)
        with self._lock:
            old = self._files.get(folder, {}).pop(name, None)
            if old is None:
                return False
            self._follow(folder, name, address, old, None)
            return True

    def put_folder(self, folder: str, entries: Iterable[Entry], folders: Iterable[str]) -> list[str]:
        """A folder's whole content: what isn't named is forgotten, folders below included.
        Answers the addresses that changed (of files; those of lost folders included)."""
        with self._lock:
            changed: list[str] = []
            if folder not in self._files:
                self._make_folder(folder)
            names = tuple(sorted(folders))
            before = self._folders.get(folder, ())
            if names != before:
                for name in set(before).difference(names):
                    changed += self.drop_folder(join(folder, name))
                self._set_folders(folder, names)
            fresh = {split(entry.address)[1]: entry for entry in entries}
            files = self._files[folder]
            for name in [name for name in files if name not in fresh]:
                address = files[name].address
                self.drop(address)
                changed.append(address)
            changed += [entry.address for entry in fresh.values() if self.put(entry)]
            return changed

    def fill(self, folders: Iterable[tuple[str, tuple[str, ...], tuple[str, ...], dict[str, Entry]]]) -> None:
        """Folders that nothing is known of yet, many at once: address, the folders in it, the versions
        (of a `render/<stem>`), and the entries by name."""
        with self._lock:
            uuids = self._uuids
            for folder, names, versions, files in folders:
                self._files[folder] = files
                self._count += len(files)
                if names:
                    self._folders[folder] = names
                if versions:
                    self._versions[folder] = versions
                special = []
                for name, entry in files.items():
                    if entry.stat is None or entry.jobs or entry.broken or name == PROJECT_FILE:
                        special.append((name, entry))
                    elif (facts := entry.facts) is not None and (uuid := facts.uuid):
                        held = uuids.setdefault(uuid, entry.address)
                        if held is not entry.address:
                            self._set_holders(uuid, {*self.holders(uuid), entry.address})
                for name, entry in special:
                    self._count -= 1
                    self._follow(folder, name, entry.address, None, entry)
                self._touch(folder)
                top = top_of(folder)
                self._filled[top] = self._generations[top]

    def drop_folder(self, folder: str) -> list[str]:
        """Forgets a folder and all below it. Answers the addresses of the files it held."""
        with self._lock:
            lost: list[str] = []
            for inner in reversed(list(self.tree(folder))):
                lost += [entry.address for entry in self.folder(inner) if self.drop(entry.address)]
                self._files.pop(inner, None)
                self._folders.pop(inner, None)
                self._versions.pop(inner, None)
                self._touch(inner)
            if not folder.endswith("::"):
                parent, name = split(folder)
                names = self._folders.get(parent, ())
                if name in names:
                    self._set_folders(parent, tuple(n for n in names if n != name))
            return lost

    def put_versions(self, render_folder: str, versions: Iterable[str]) -> bool:
        """Which versions of a `render/<stem>` folder have a sidecar. False when that is known."""
        with self._lock:
            names = tuple(sorted(versions, key=by_version))
            if names == self._versions.get(render_folder, ()):
                return False
            if names:
                self._versions[render_folder] = names
            else:
                self._versions.pop(render_folder, None)
            self._touch(render_folder)
            return True

    # -- what follows from an entry ---------------------------------------------------------------

    def _follow(self, folder: str, name: str, address: str, old: Entry | None, new: Entry | None) -> None:
        """Keeps jobs, uuids, projects and the missing in step with one replaced entry."""
        self._count += (new is not None) - (old is not None)
        old_jobs = old.jobs if old else ()
        new_jobs = new.jobs if new else ()
        if old_jobs != new_jobs:
            for job_id in set(old_jobs).difference(new_jobs):
                self._leave_job(job_id, address)
            for job_id in set(new_jobs).difference(old_jobs):
                self._join_job(JobPlace(job_id, address, job_folder(address, job_id)))
        elif new_jobs and _is_copy(old) != _is_copy(new):
            for job_id in new_jobs:
                self._set_places(job_id, self.job_places(job_id))
        old_uuid = old.facts.uuid if old and old.facts else ""
        new_uuid = new.facts.uuid if new and new.facts else ""
        if old_uuid != new_uuid:
            if old_uuid:
                self._set_holders(old_uuid, set(self.holders(old_uuid)) - {address})
            if new_uuid:
                self._set_holders(new_uuid, set(self.holders(new_uuid)) | {address})
        if new is not None and new.stat is None:
            self._missing.add(address)
        elif old is not None and old.stat is None:
            self._missing.discard(address)
        if new is not None and new.broken:
            self._broken.add(address)
        elif old is not None and old.broken:
            self._broken.discard(address)
        if new is not None and new.incomplete:
            self._incomplete.add(address)
        elif old is not None and old.incomplete:
            self._incomplete.discard(address)
        if name == PROJECT_FILE and "/" not in folder and not folder.endswith("::"):
            there = new is not None and new.stat is not None
            self._projects = self._projects | {folder} if there else self._projects - {folder}
        self._touch(folder)
        top = top_of(folder)
        changes = self._changes.get(top)
        if changes is None:
            changes = self._changes[top] = deque(maxlen=CHANGES_KEPT)
        changes.append((self._generations[top], address))

    def _join_job(self, place: JobPlace) -> None:
        self._set_places(place.id, (*self.job_places(place.id), place))

    def _leave_job(self, job_id: str, address: str) -> None:
        self._set_places(job_id, tuple(p for p in self.job_places(job_id) if p.address != address))

    def _set_places(self, job_id: str, places: tuple[JobPlace, ...]) -> None:
        if len(places) > 1:
            places = tuple(sorted(set(places), key=lambda p: (_is_copy(self.get(p.address)), p.folder)))
            self._more_jobs[job_id] = places
        else:
            self._more_jobs.pop(job_id, None)
        if places:
            self._jobs[job_id] = places[0]
        else:
            self._jobs.pop(job_id, None)

    def _set_holders(self, uuid: str, held: set[str]) -> None:
        if len(held) > 1:
            self._uuids[uuid] = tuple(sorted(held))
            self._contested.add(uuid)
            return
        self._contested.discard(uuid)
        if held:
            self._uuids[uuid] = next(iter(held))
        else:
            self._uuids.pop(uuid, None)

    def _make_folder(self, folder: str) -> dict[str, Entry]:
        """The folder, known to its parents as well."""
        files: dict[str, Entry] = {}
        self._files[folder] = files
        self._touch(folder)
        if not folder.endswith("::"):
            parent, name = split(folder)
            if parent not in self._files:
                self._make_folder(parent)
            names = self._folders.get(parent, ())
            if name not in names:
                self._set_folders(parent, tuple(sorted((*names, name))))
        return files

    def _set_folders(self, folder: str, names: tuple[str, ...]) -> None:
        if names:
            self._folders[folder] = names
        else:
            self._folders.pop(folder, None)
        self._touch(folder)

    def _touch(self, folder: str) -> None:
        top = top_of(folder)
        self.generation += 1
        self._generations[top] = self._generations.get(top, 0) + 1


def _is_copy(entry: Entry | None) -> bool:
    """A copied asset brought its original's jobs along: they are history there."""
    return entry is not None and entry.facts is not None and bool(entry.facts.derived_from)
