"""Where a file's rendered versions lie, their records, and where `current` leads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.disk import encoding, files, paths
from server.disk.errors import Conflict
from server.disk.store import Store

SCHEMA = 1
CURRENT = "current"
RECORD_MODE = 0o644  # approvals aren't anybody's to write
MAX_BYTES = 4 << 20


def place_of(store: Store, address: str) -> Path:
    """`render/<stem>` of a file."""
    share, inside = paths.parse(paths.render_folder(address))
    return store.share(share).root / inside


def names_in(place: Path) -> list[str]:
    """The versions there, in no order."""
    try:
        with os.scandir(place) as entries:
            return [e.name for e in entries if paths.version_number(e.name) is not None and e.is_dir()]
    except OSError:
        return []


def read(path: Path) -> dict[str, Any]:
    """A version's sidecar; {} where it is gone, Conflict where it is no longer an object."""
    try:
        raw, _ = files.read_bounded(path, MAX_BYTES)
        data = encoding.loads(raw)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Conflict("{path} can't be read: {why}.", path=str(path), why=error) from error
    if not isinstance(data, dict):
        raise Conflict("{path} is not a version's record.", path=str(path))
    return data


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Replace a version's sidecar."""
    files.write_atomic(path, encoding.dumps(record, indent=True) + b"\n", mode=RECORD_MODE)


def has_frames(record: Mapping[str, Any]) -> bool:
    """Whether a version is one that can be used: its first frame is there."""
    outputs = record.get("outputs")
    told = outputs if isinstance(outputs, list) else ()
    done = any(isinstance(one, dict) and one.get("done") for one in told)
    return done or bool(record.get("first_frame")) or record.get("state") == "done"


def standing(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Which of a file's versions `current` leads to: the approved one, else the newest with frames that
    wasn't rejected, else the newest with frames; '' for none. Pure."""
    approved = [name for name, record in records.items() if record.get("approved")]
    usable = [name for name, record in records.items() if has_frames(record)]
    wanted = [name for name in usable if not records[name].get("rejected")]
    found = approved or wanted or usable
    return max(found, key=paths.by_version, default="")


def _leads_right(place: Path, changed: str) -> bool:
    """Whether `current` leads where it should, by two records instead of all: it did before the change.
    False where that can't be told so."""
    try:
        target = os.readlink(place / CURRENT)
        if paths.version_number(target) is None or not (place / target).is_dir():
            return False
        record = read(place / f"{target}.json")
        if not record.get("approved") and (not has_frames(record) or record.get("rejected")):
            return False
        if target == changed or record.get("approved"):
            return True
        other = read(place / f"{changed}.json")
    except (OSError, Conflict):
        return False
    newer = paths.by_version(changed) > paths.by_version(target)
    return not (newer and has_frames(other) and not other.get("rejected"))


def point_current(place: Path, changed: str = "") -> None:
    """Have `current` lead where it should. Under the versions' lock. `changed`: the only version whose record
    is another than it was, if it is one alone; no approval was given or taken by that."""
    if changed and _leads_right(place, changed):
        return
    records: dict[str, dict[str, Any]] = {}
    for name in names_in(place):
        try:
            records[name] = read(place / f"{name}.json")
        except Conflict:
            continue
    wanted, link = standing(records), place / CURRENT
    try:
        if not wanted:
            if link.is_symlink() and not link.exists():
                link.unlink()
            return
        if link.is_symlink() and os.readlink(link) == wanted:
            return
        if link.exists() and not link.is_symlink():
            return  # a person's own folder of that name
        aside = files.temporary(place)
        os.symlink(wanted, aside)
        os.replace(aside, link)
        files.sync_folder(place)
    except OSError:
        pass  # a disk without symlinks: the versions themselves are what counts
