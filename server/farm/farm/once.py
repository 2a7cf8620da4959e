"""Asking twice, getting one job: by the key that a program sends with its request (`Idempotency-Key`).

No database keeps the keys: `job.json` has the hash of its own, and the job's id ends in its first digits. So
a server that has just started, or another one on the same share, finds it by looking at one folder.
"""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from server.disk import encoding, paths
from server.disk.errors import Conflict, CroftError
from server.disk.store import Store
from server.farm.committer.live import Ended, Live
from server.farm.jobs import record as records

KEPT_S = 7 * 86_400.0  # afterwards the same key makes a new job
TAIL = 6  # digits of the hash that a job's id ends in
WAIT_S = 60.0  # for whoever asks the same just now: copying a large scene takes a while


class Once:
    """Safe for many threads, and for many servers on one share."""

    def __init__(
        self,
        store: Store,
        jobs: Callable[[], list[Live | Ended]],
        job: Callable[[str], Live | Ended],
        wall: Callable[[], float],
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._job = job
        self._wall = wall

    def job(
        self,
        who: str,
        request: Mapping[str, Any],
        key: str,
        make: Callable[[Mapping[str, str]], Live | Ended],
    ) -> Live | Ended:
        """The job that this person's key stands for; made where there is none yet. Conflict when it stood
        for something else. The lock that is held meanwhile is the key's own: nobody else waits for it."""
        asked = {
            "key": hashlib.sha256(encoding.dumps([who, key])).hexdigest(),
            "request": hashlib.sha256(encoding.dumps(sorted(request.items()))).hexdigest(),
        }
        address = request.get("file")
        if not isinstance(address, str) or paths.SEPARATOR not in address:
            return make(asked)  # which says what is wrong with it
        with self._store.locks(paths.parse(address)[0]).hold("once-" + asked["key"][:20], WAIT_S):
            found = self._found(asked["key"], address)
            if found is None:
                return make(asked)
            if found["asked"].get("request") != asked["request"]:
                raise Conflict(
                    "This Idempotency-Key was sent before with another request, which is the job {job}: send "
                    "a new key.",
                    job=found["id"],
                )
            return self._job(found["id"])

    def _found(self, key: str, address: str) -> Mapping[str, Any] | None:
        for record in self._records(key, address):
            if (record.get("asked") or {}).get("key") == key and self._is_young(record):
                return record
        return None

    def _records(self, key: str, address: str) -> Iterator[Mapping[str, Any]]:
        """The jobs that are known here, then those of the file that another server may just have made."""
        yield from (job.record for job in self._jobs())
        folder = paths.join(paths.companion_of(address), "jobs")
        try:
            names = sorted(os.listdir(self._store.path(folder)), reverse=True)
        except OSError:
            return
        for name in names:
            if name.endswith("-" + key[:TAIL]):
                place = paths.join(folder, name)
                try:
                    record = records.read_record(self._store.path(place))
                except CroftError:
                    continue  # it isn't one, or is just being taken back
                self._store.refresh(place)
                yield record

    def _is_young(self, record: Mapping[str, Any]) -> bool:
        try:
            made = datetime.datetime.fromisoformat(str(record.get("created"))).timestamp()
        except ValueError:
            return False
        return self._wall() - made < KEPT_S
