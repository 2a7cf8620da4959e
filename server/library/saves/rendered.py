"""The scenes that renders were made of, as they were: kept with each render, and brought back by its job or
its version."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.disk import paths
from server.disk.errors import Conflict, CroftError, NotFound
from server.disk.store import Store

from .. import versions

RENDER = "render-"  # an id: the snapshot of this job, or the exact source of this version
MOST = 20  # newest jobs of a file whose snapshots are offered

Found = tuple[dict[str, Any], Path]  # what the job's request says, and where the scene lies


def snapshots(store: Store, address: str) -> Iterator[tuple[str, Found]]:
    """Of the newest jobs of a file, with their ids."""
    entry = store.index.get(address)
    for job in sorted(entry.jobs, reverse=True)[:MOST] if entry is not None else ():
        found = snapshot(store, address, job)
        if found is not None:
            yield job, found


def snapshot(store: Store, address: str, job: str) -> Found | None:
    """What a job renders, or rendered; None where it isn't kept any more."""
    folder = paths.job_folder(address, job)
    try:
        record = store.read_json(paths.join(folder, "job.json"))
        name = str(record.get("snapshot") or "")
        if not name or "/" in name:
            return None
        kept = "snapshot" + "".join(Path(name).suffixes[-1:])
        places = (paths.join(folder, kept), paths.join(paths.folder_of(address), name))
        return record, next(p for place in places if (p := store.path(place)).is_file())
    except (CroftError, OSError, StopIteration):
        return None


def source(store: Store, address: str, version: str) -> Path:
    """The very bytes that a version was rendered from. NotFound; Conflict where they aren't."""
    job = str(versions.one(store, address, version).get("job") or "")
    found = snapshot(store, address, job) if job and "/" not in job else None
    number = paths.version_number(version) or 0
    if found is None:
        raise NotFound("The scene that version {n} was rendered from isn't kept any more.", n=number)
    record, path = found
    told = record.get("source")
    wanted = told.get("sha256") if isinstance(told, dict) else None
    with open(path, "rb", buffering=0) as file:
        if wanted and hashlib.file_digest(file, "sha256").hexdigest() != wanted:
            raise Conflict("What is kept of the scene of version {n} isn't what was rendered.", n=number)
    return path
