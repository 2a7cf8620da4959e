"""Where uploads lie: finding, reading and writing their records, under their locks.

One folder for each person on each project's share; a record is read again only when its file changed.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from server.disk import files, paths, sidecar
from server.disk.errors import CroftError, NotFound
from server.disk.locks import Held
from server.disk.store import Store

from ..projects import Project, Projects
from . import staging
from .record import CHUNKS, IDENT, RECORD, Upload

KEPT = 4000  # records remembered


class Shelf:
    """The uploads of everybody on all shares. Thread-safe."""

    def __init__(self, store: Store, projects: Projects) -> None:
        self._store = store
        self._projects = projects
        self._known: OrderedDict[str, tuple[tuple[int, int, int], Upload]] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, person: str) -> Iterator[Upload]:
        """All of one person's, in all projects, oldest first in each."""
        for project in self._projects.list():
            yield from self.within(project, person)

    def within(self, project: Project, person: str) -> Iterator[Upload]:
        base = paths.uploads_folder(project.address, person)
        for name in self._names(base):
            if IDENT.fullmatch(name) and (upload := self.load(paths.join(base, name))) is not None:
                yield upload

    def everybody(self) -> Iterator[Upload]:
        """Everybody's, of the projects that may be written to just now."""
        for project in self._projects.list():
            try:
                self._store.check_writable(project.address, take_in=False)
            except CroftError:
                continue
            for person in self._names(paths.uploads_folder(project.address)):
                yield from self.within(project, person)

    def load(self, place: str) -> Upload | None:
        """The upload of a folder; None where there is none that can be read."""
        try:
            st = os.stat(self.path(place, RECORD))
        except (OSError, CroftError):
            return None
        stamp = (st.st_size, st.st_mtime_ns, st.st_ino)
        kept = self._known.get(place)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        try:
            upload = Upload.of(place, self._store.read_json(paths.join(place, RECORD)))
        except (CroftError, KeyError, TypeError, ValueError):
            return None
        home = self._projects.of(place)
        if home is not None and upload.project not in (project.ident for project in self._projects.list()):
            return replace(upload, project=home.ident)  # the project was given another name
        with self._lock:
            self._known[place] = (stamp, upload)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return upload

    def must(self, place: str) -> Upload:
        """The upload of a folder; NotFound."""
        upload = self.load(place)
        if upload is None:
            raise NotFound("This upload is gone. Drop the file once more.")
        return upload

    def chunks(self, upload: Upload) -> list[staging.Chunk]:
        """What of it is on the disk for sure."""
        return staging.chunks(self.path(upload.place))

    def path(self, place: str, name: str = "") -> Path:
        """Where a file of an upload lies, or its folder."""
        return self._store.path(paths.join(place, name) if name else place)

    def touched(self, upload: Upload) -> float:
        """When somebody last did something with it: seconds since the epoch."""
        newest = 0.0
        for name in (RECORD, CHUNKS):
            try:
                newest = max(newest, os.stat(self.path(upload.place, name)).st_mtime)
            except (OSError, CroftError):
                continue
        return newest

    def hold(self, place: str) -> AbstractContextManager[Held]:
        """The lock of one upload."""
        return self._store.locks(place).hold(paths.lock_key(place))

    def try_hold(self, place: str) -> AbstractContextManager[Held | None]:
        return self._store.locks(place).try_hold(paths.lock_key(place))

    def write(self, place: str, data: Mapping[str, Any]) -> Upload:
        """Write a record; the caller holds its lock."""
        files.write_atomic(self.path(place, RECORD), sidecar.dump(dict(data)), disk=self._store.disk)
        return self.must(place)

    def keep(self, place: str, changes: Mapping[str, Any]) -> Upload:
        """Change some keys of a record."""
        with self.hold(place):
            return self.write(place, {**self.must(place).data, **changes})

    def _names(self, base: str) -> list[str]:
        try:
            return sorted(os.listdir(self._store.path(base)))
        except (OSError, CroftError):
            return []
