"""Where a file's rendered versions lie, their records, and where `current` leads."""

from __future__ import annotations

import contextlib
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


def write(path: Path, record: Mapping[str, Any], last: bool = True) -> None:
    """Replace a version's sidecar. Without `last` the caller flushes the folder, after what else is to be
    done in it."""
    files.write_atomic(path, encoding.dumps(record, indent=True) + b"\n", mode=RECORD_MODE, last=last)


def has_frames(record: Mapping[str, Any]) -> bool:
    """Whether a version is one that can be used: its first frame is there."""
    outputs = record.get("outputs")
    told = outputs if isinstance(outputs, list) else ()
    done = any(isinstance(one, dict) and one.get("done") for one in told)
    return done or bool(record.get("first_frame")) or record.get("state") == "done"


def _records(place: Path) -> dict[str, dict[str, Any]]:
    """Of all versions there that can be read."""
    records: dict[str, dict[str, Any]] = {}
    for name in names_in(place):
        with contextlib.suppress(Conflict):
            records[name] = read(place / f"{name}.json")
    return records


def standing(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Which of a file's versions `current` leads to: the approved one, else the newest with frames that
    wasn't rejected, else the newest with frames; '' for none. Pure."""
    approved = [name for name, record in records.items() if record.get("approved")]
    usable = [name for name, record in records.items() if has_frames(record)]
    wanted = [name for name in usable if not records[name].get("rejected")]
    found = approved or wanted or usable
    return max(found, key=paths.by_version, default="")


def _next(place: Path, changed: str, record: Mapping[str, Any]) -> str:
    """Where `current` should lead, by two records instead of all: it led right before the change. '' where
    that can't be told so."""
    try:
        target = os.readlink(f"{place}/{CURRENT}")
        if paths.version_number(target) is None or not os.path.isdir(f"{place}/{target}"):
            return ""
        before = record if target == changed else read(place / f"{target}.json")
    except (OSError, Conflict):
        return ""
    if before.get("approved"):
        return target
    if not has_frames(before) or before.get("rejected"):
        return ""
    if paths.by_version(changed) <= paths.by_version(target):
        return target
    usable = has_frames(record) and not record.get("rejected")
    return changed if usable and os.path.isdir(f"{place}/{changed}") else target


def point_current(place: Path, changed: str = "", record: Mapping[str, Any] | None = None) -> bool:
    """Have `current` lead where it should. Under the versions' lock. `changed`: the only version whose record
    is another than it was, which is `record` now, if it is one alone; no approval was given or taken by that.
    Whether it leads elsewhere now, and the folder was flushed."""
    wanted = _next(place, changed, record) if record is not None else ""
    wanted, link = wanted or standing(_records(place)), f"{place}/{CURRENT}"
    try:
        leads = os.readlink(link) if os.path.islink(link) else ""
        if not wanted and leads and not os.path.exists(link):
            os.unlink(link)
        if leads == wanted or not wanted or (not leads and os.path.exists(link)):
            return False  # the last: a person's own folder of that name
        aside = files.temporary(place)
        os.symlink(wanted, aside)
        os.replace(aside, link)
        files.sync_folder(place)
    except OSError:
        return False  # a disk without symlinks: the versions themselves are what counts
    return True
