"""Versions of what is rendered from a file: folders `render/<stem>/v001` …, their sidecars, `current`.

A version folder is made here, by the server, and by nobody else: whole, empty, writable for the folder's
group. `v001.json` beside it says which job and which bytes it came from, and whether a supervisor
approved it. `current` is a relative symlink to the approved version, else to the newest.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

from server.disk import encoding, files, paths
from server.disk.errors import Conflict, NotFound
from server.disk.store import Store

SCHEMA = 1
CURRENT = "current"
MAX_BYTES = 4 << 20


def make(store: Store, address: str, record: dict[str, Any]) -> tuple[str, str]:
    """A new version of the file at `address`: its name and the address of its folder.

    Two servers that make one at the same time get two different ones, and two sites that hear of each other
    only later, too. `record` goes into its sidecar.
    """
    folder = paths.render_folder(address)
    share, inside = paths.parse(folder)
    root = store.share(share).root
    place = root / inside
    with store.locks(share).hold(paths.lock_key(inside + "/versions")):
        files.make_folders(place, root)
        site = store.sites.suffix(store.share(share))
        name = paths.version_folder(_highest(place) + 1, site)
        try:
            os.mkdir(place / name)
            _open_to_group(place / name)
            files.sync_folder(place)
        except OSError as error:
            files.fail(error, place / name)
        write(place / f"{name}.json", {"schema": SCHEMA, "version": name, **record, "approved": False})
        store.index.put_versions(folder, {*store.index.versions(folder), name})  # before the watcher tells
    return name, paths.join(folder, name)


def unmake(store: Store, address: str, name: str) -> None:
    """Take back a version that nothing was rendered into. One with files in it stays."""
    place = _place(store, address)
    try:
        os.rmdir(place / name)
        (place / f"{name}.json").unlink(missing_ok=True)
        place.rmdir()
        place.parent.rmdir()
    except OSError:
        pass  # something lies there: it is kept


def unmake_of(store: Store, address: str, job_id: str) -> None:
    """Take back the versions that a submission made which never became this job, and those that a crash left
    before it was written whose they are."""
    share, inside = paths.parse(paths.render_folder(address))
    place = store.share(share).root / inside
    with store.locks(share).hold(paths.lock_key(inside + "/versions")):
        for name in _names(place):
            try:
                record = read(place / f"{name}.json")
            except Conflict:
                continue  # a person's to mend
            if record.get("job", job_id) == job_id:
                unmake(store, address, name)


def update(store: Store, address: str, name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Change a version's sidecar under its lock; `current` follows."""
    share, inside = paths.parse(paths.render_folder(address))
    place = store.share(share).root / inside
    with store.locks(share).hold(paths.lock_key(inside + "/versions")):
        record = {**read(place / f"{name}.json"), **changes}
        write(place / f"{name}.json", record)
        _point_current(place)
    return record


def approve(store: Store, address: str, name: str, who: str, approved: bool = True) -> dict[str, Any]:
    """A supervisor's word on a version. At most one of a file's versions is approved."""
    place = _place(store, address)
    if not (place / f"{name}.json").exists():
        raise NotFound("{address} has no version {name}.", address=paths.name_of(address), name=name)
    if approved:
        for other in listed(store, address):
            if other["version"] != name and other.get("approved"):
                update(store, address, other["version"], {"approved": False})
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return update(store, address, name, {"approved": approved, "approved_by": who, "approved_at": now})


def listed(store: Store, address: str) -> list[dict[str, Any]]:
    """The sidecars of a file's versions, newest first. One that can't be read is told as `broken`."""
    place = _place(store, address)
    found: list[dict[str, Any]] = []
    for name in _names(place):
        try:
            record = read(place / f"{name}.json")
        except Conflict as error:
            record = {"broken": error.message}
        found.append({**record, "version": name, "address": paths.join(paths.render_folder(address), name)})
    return sorted(found, key=lambda record: paths.version_number(record["version"]) or 0, reverse=True)


def approved(store: Store, address: str) -> str:
    """The name of the version that a supervisor approved; '' while there is none. Reads one file where
    `current` leads to it."""
    place = _place(store, address)
    try:
        names = [os.readlink(place / CURRENT)]
    except OSError:  # a disk without symlinks, or a person's own folder of that name
        names = _names(place)
    for name in names:
        try:
            if paths.version_number(name) is not None and read(place / f"{name}.json").get("approved"):
                return name
        except Conflict:
            continue
    return ""


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


def write(path: Path, record: dict[str, Any]) -> None:
    """Replace a version's sidecar."""
    files.write_atomic(path, encoding.dumps(record, indent=True) + b"\n")


def _place(store: Store, address: str) -> Path:
    share, inside = paths.parse(paths.render_folder(address))
    return store.share(share).root / inside


def _names(place: Path) -> list[str]:
    try:
        entries = list(os.scandir(place))
    except OSError:
        return []
    return [e.name for e in entries if paths.version_number(e.name) is not None and e.is_dir()]


def _highest(place: Path) -> int:
    """The highest number in use, of a folder or of the sidecar of one that was deleted."""
    try:
        names = os.listdir(place)
    except FileNotFoundError:
        return 0
    return max((paths.version_number(name) or 0 for name in names), default=0)


def _open_to_group(folder: Path) -> None:
    group = os.stat(folder.parent).st_gid
    try:
        if os.stat(folder).st_gid != group:
            os.chown(folder, -1, group)
        os.chmod(folder, files.FOLDER_MODE)
    except OSError:
        pass  # not in that group, or a file system without modes


def _point_current(place: Path) -> None:
    """Have `current` lead to the approved version, else to the newest that holds something."""
    approved, newest = "", ""
    for name in sorted(_names(place), key=lambda name: paths.version_number(name) or 0):
        try:
            record = read(place / f"{name}.json")
        except Conflict:
            continue
        approved = name if record.get("approved") else approved
        newest = name if record.get("state") == "done" else newest
    wanted = approved or newest
    link = place / CURRENT
    try:
        if not wanted or (link.is_symlink() and os.readlink(link) == wanted):
            return
        if link.exists() and not link.is_symlink():
            return  # a person's own folder of that name
        aside = files.temporary(place)
        os.symlink(wanted, aside)
        os.replace(aside, link)
        files.sync_folder(place)
    except OSError:
        pass  # a disk without symlinks: the versions themselves are what counts
