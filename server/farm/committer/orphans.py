"""What a crash or a deletion left of jobs: submissions that never became one, snapshots whose job is gone.

Both may only look so: another server may be submitting, a folder may be coming back from a backup. So an hour
passes first, and whatever is a job by then stays.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from server.disk import files
from server.disk.errors import CroftError
from server.disk.records import JobPlace
from server.disk.store import Store
from server.farm.jobs import record as records
from server.farm.jobs import snapshots, submit

ORPHAN_S = 3600.0  # what was left is taken away after so long
LOOK_S = 60.0


class Orphans:
    """Used by the keeper's thread alone."""

    def __init__(self, store: Store, disk: files.Os, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._disk = disk
        self._monotonic = monotonic
        self._unborn: dict[str, JobPlace] = {}  # by job id
        self._lost: dict[str, tuple[str, float]] = {}  # job id -> address of its snapshot, since when
        self._looked = float("-inf")

    def unborn(self, place: JobPlace) -> bool:
        """Is this folder that of a submission under way, or what one left? It is seen to, then."""
        try:
            young = _age_s(self._store.path(place.folder))
        except (OSError, CroftError):
            return False
        if young is None:
            return False
        if young < ORPHAN_S:
            self._unborn[place.id] = place
            return True
        self._unborn.pop(place.id, None)
        return submit.clean_up(self._store, place, self._disk)

    def lost(self, job_id: str, snapshot: str) -> None:
        """This job's folder is gone; its snapshot, at this address, may be left."""
        self._lost[job_id] = (snapshot, self._monotonic())

    def tick(self) -> None:
        """See to those whose hour is over."""
        now = self._monotonic()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        for place in list(self._unborn.values()):
            if not self.unborn(place):
                self._unborn.pop(place.id, None)  # it is a job by now, or nothing at all
        for job_id, (snapshot, since) in list(self._lost.items()):
            if job_id in self._store.index.jobs:
                del self._lost[job_id]
            elif now - since >= ORPHAN_S and not self._store.away(snapshot):
                del self._lost[job_id]
                snapshots.drop(self._store.path(snapshot), self._disk)


def _age_s(folder: Path) -> float | None:
    """Seconds since something happened in a folder that holds no job; None where it holds one, or parts of
    one that somebody copies here."""
    newest = os.stat(folder).st_mtime
    with os.scandir(folder) as entries:
        names = {entry.name: entry for entry in entries}
        if records.RECORD in names:
            return None
        ours = submit.INTENT in names
        for name, entry in names.items():
            if not ours and not name.startswith(files.TEMPORARY):
                return None
            newest = max(newest, entry.stat(follow_symlinks=False).st_mtime)
    return max(0.0, time.time() - newest)
