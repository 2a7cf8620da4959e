"""Published versions: frozen copies of a file and its sidecar, in its companion's `versions/v001` ….

A version counts once its `version.json` is there, which is written last; what a crash left without one is
never shown, and its number never given again. Nothing here is ever changed but a supervisor's approval.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.disk import deletions, files, paths, sidecar
from server.disk.checkpoints import HASH_NAME, Known, digest
from server.disk.errors import BadInput, Broken, Conflict, CroftError, NotFound
from server.disk.records import utc_now
from server.disk.store import Store

SCHEMA = 1
RECORD = "version.json"
FROZEN_MODE = 0o444  # nobody writes into one by mistake

__all__ = ["HASH_NAME", "RECORD", "approve", "content", "listed", "publish"]


def publish(store: Store, address: str, who: str, comment: str, known: Known) -> dict[str, Any]:
    """Freeze the present content as the next version; what its `version.json` says."""
    share, path = store.for_people(address)
    own = [name for name in deletions.own_names(path) if os.path.isfile(path.parent / name)]
    if not own:
        raise NotFound("There is no {file}.", path=str(path), file=path.name)
    folder = _folder(path)
    with store.locks(share.name).hold(_lock(address)):
        files.make_folders(folder, share.root, disk=store.disk)
        name = paths.version_folder(_highest(folder) + 1, store.sites.suffix(share))
        place = folder / name
        files.make_folders(place, share.root, disk=store.disk)
        try:
            record = _freeze(store, path, own, place, known)
            record = {"schema": SCHEMA, "version": name, "at": utc_now(), "who": who, "comment": comment,
                      "name": path.name, **record, "approved": False}  # fmt: skip
            files.sync_folder(place, store.disk)
            files.write_atomic(place / RECORD, sidecar.dump(record), disk=store.disk)
        except OSError as error:
            _undo(place)
            files.fail(error, place)
        except BaseException:
            _undo(place)
            raise
    store.tell(address, who, {"published": name, "comment": comment})
    return record


def listed(store: Store, address: str) -> list[dict[str, Any]]:
    """What is known of each published version, newest first."""
    folder = _folder(store.path(address))
    found = []
    for name in _names(folder):
        with contextlib.suppress(CroftError):  # without its record it was never published
            found.append({**sidecar.read(folder / name / RECORD).data, "version": name})
    approved = max((str(one.get("approved_at") or "") for one in found if one.get("approved")), default="")
    for one in found:  # a crash between two writes may have left two
        one["approved"] = bool(one.get("approved")) and str(one.get("approved_at") or "") == approved
    return sorted(found, key=lambda record: paths.by_version(record["version"]), reverse=True)


def holding(store: Store, address: str, hashed: str) -> str:
    """The newest version whose content has this hash; '' where none has."""
    same = (record for record in listed(store, address) if hashed and record.get("hash") == hashed)
    return next((str(record["version"]) for record in same), "")


def content(store: Store, address: str, name: str) -> dict[str, Path]:
    """The frozen files of a version, by the names they had."""
    place = _folder(store.path(address)) / name
    if paths.version_number(name) is None or not (place / RECORD).is_file():
        raise NotFound("{address} has no version {name}.", address=paths.name_of(address), name=name[:40])
    said = str(sidecar.read(place / RECORD).data.get("name") or "")
    beside = paths.sidecar_of(said or paths.name_of(address))
    return {
        entry.name: place / entry.name
        for entry in os.scandir(place)
        if entry.name not in (RECORD, beside)
        and entry.is_file(follow_symlinks=False)
        and (not said or _is_of(said, entry.name))
    }


def _is_of(published: str, name: str) -> bool:
    """Whether this is the file that was published, or a frame of the sequence."""
    return name == published or (paths.sequence_key(name) or ("",))[0] == published


def approve(
    store: Store, address: str, name: str, who: str, approved: bool, rejected: bool = False, comment: str = ""
) -> dict[str, Any]:
    """What is said of a version: approved, rejected, or neither. At most one is approved:
    the new word is written first, and of two the later counts."""
    if approved and rejected:
        raise BadInput("A version is approved or rejected, not both.", field="rejected")
    share, path = store.for_people(address)
    folder = _folder(path)
    content(store, address, name)
    with store.locks(share.name).hold(_lock(address)):
        for other in (name, *(other for other in _names(folder) if approved and other != name)):
            try:
                record = sidecar.read(folder / other / RECORD).data
            except (NotFound, Broken):
                continue
            wanted: Mapping[str, Any] = {"approved": False}
            if other == name:
                wanted = {"approved": approved, "rejected": rejected, "approved_by": who,
                          "approved_at": utc_now(), "approved_comment": comment}  # fmt: skip
            elif not record.get("approved"):
                continue
            files.write_atomic(folder / other / RECORD, sidecar.dump({**record, **wanted}), disk=store.disk)
        return {**sidecar.read(folder / name / RECORD).data, "version": name}


def _freeze(store: Store, path: Path, own: list[str], place: Path, known: Known) -> dict[str, Any]:
    size, hashed = 0, ""
    beside = paths.sidecar_of(path)
    for name in (*own, beside.name):
        aside = files.temporary(place)
        try:
            stat = files.copy_aside(path.parent / name, aside, disk=store.disk, mode=FROZEN_MODE)
        except NotFound:
            if name == beside.name:
                continue  # a file that is no asset
            raise
        target = place / name
        if os.path.lexists(target) or name == RECORD:
            aside.unlink()
            raise Conflict("A file of the name {name} can't be published.", name=name)
        store.disk.rename(aside, target)
        if name != beside.name:
            size += stat.size
            if len(own) == 1:
                hashed = known(stat) or digest(target)
    return {"size": size, "hash": hashed}


def _undo(place: Path) -> None:
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(place)):
            os.unlink(entry.path)
        os.rmdir(place)


def _folder(path: Path) -> Path:
    return paths.companion_of(path) / "versions"


def _lock(address: str) -> str:
    return paths.lock_key(address + "/published")


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if paths.version_number(name) is not None]
    except OSError:
        return []


def _highest(folder: Path) -> int:
    return max((paths.version_number(name) or 0 for name in _names(folder)), default=0)


folder_of, lock_of, highest = _folder, _lock, _highest  # for versions that lie where they are
