"""Published versions: frozen copies of a file and its sidecar, in its companion's `versions/v001` ….

A version counts once its `version.json` is there, which is written last; what a crash left without one is
never shown, and taken away when the file is published again. Nothing here is ever changed but a
supervisor's approval. Copies share their blocks with the file where the disk can, never the file itself:
who writes in place must not write into a version.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.disk import deletions, files, paths, sidecar
from server.disk.checkpoints import HASH_NAME, Known, digest, digest_all, frame_number
from server.disk.errors import BadInput, Broken, Conflict, CroftError, NotFound
from server.disk.records import Stat, utc_now
from server.disk.store import Store

from . import begun

SCHEMA = 1
RECORD = "version.json"
FROZEN_MODE = 0o444  # nobody writes into one by mistake
RECORD_MODE = 0o644  # Croft's own user alone says whether it is approved
BEGUN = f"{files.TEMPORARY}begun"  # in a version that is being made: what a crash leaves is known by it

__all__ = ["HASH_NAME", "RECORD", "Changed", "approve", "content", "holds", "listed", "look", "publish"]


class Changed(Exception):
    """The file isn't what was looked at any more."""


def look(store: Store, address: str) -> dict[str, Stat]:
    """The file that is there now, or each frame of the sequence, by name. NotFound where there is none."""
    path = store.path(address)
    found = {}
    for name in deletions.own_names(path):
        with contextlib.suppress(OSError):
            if os.path.isfile(path.parent / name):
                found[name] = Stat.of(os.stat(path.parent / name))
    if not found:
        raise NotFound("There is no {file}.", path=str(path), file=path.name)
    return found


def publish(
    store: Store,
    address: str,
    who: str,
    comment: str,
    now: Mapping[str, Stat],
    known: Known,
    more: Mapping[str, Any],
) -> tuple[dict[str, Any], bool]:
    """Freeze the content that `now` names as the next version: what its `version.json` says, `more` in it.

    False where the newest version holds just that: nothing is made then. Changed where the file isn't what
    `now` says any more. Nobody waits for the copy but who publishes the same file.
    """
    share, path = store.for_people(address)
    folder = folder_of(path)
    files.make_folders(folder.parent, share.root, disk=store.disk)
    files.make_folders(folder, share.root, disk=store.disk, mode=files.OWN_MODE)
    locks, suffix = store.locks(share.name), store.sites.suffix(share)
    with locks.hold(_making(address)), begun.noted(store, share, address):
        with locks.hold(lock_of(address)):
            _sweep(folder, suffix)
            name = paths.version_folder(highest(folder) + 1, suffix)
            place = folder / name
            try:
                files.make_folders(place, share.root, disk=store.disk, mode=files.OWN_MODE)
            except BaseException:
                _undo(place)
                raise
        try:
            files.write_atomic(place / BEGUN, b"", disk=store.disk)
            content = _freeze(store, path, now, place, known)
            newest = next(iter(listed(store, address)), None)
            if newest is not None and content["hash"] == newest.get("hash"):
                _undo(place)
                return newest, False
            record = {"schema": SCHEMA, "version": name, "at": utc_now(), "who": who, "comment": comment,
                      "name": path.name, **content, **more, "approved": False}  # fmt: skip
            files.sync_folder(place, store.disk)
            with locks.hold(lock_of(address)):
                files.write_atomic(place / RECORD, sidecar.dump(record), disk=store.disk, mode=RECORD_MODE)
        except OSError as error:
            _undo(place)
            files.fail(error, place)
        except BaseException:
            _undo(place)
            raise
        with contextlib.suppress(OSError):
            (place / BEGUN).unlink()
    store.tell(address, who, {"published": name, "comment": comment})
    return record, True


def holds(
    store: Store, address: str, version: Mapping[str, Any], now: Mapping[str, Stat], known: Known
) -> bool:
    """Whether a version is just what is there now. Reads the file where nobody knows its hash."""
    hashed = version.get("hash")
    if not hashed or version.get("size") != sum(stat.size for stat in now.values()):
        return False
    path = store.path(address)
    try:
        if list(now) != [path.name]:
            kept = content(store, address, str(version["version"]))
            # A frozen frame keeps its time: equal ones needn't be read, by the thousand.
            stamps = {frame_number(name): Stat.of(os.stat(frame)).content for name, frame in kept.items()}
            if stamps == {frame_number(name): stat.content for name, stat in now.items()}:
                return True
            return str(hashed) == digest_all({name: path.parent / name for name in now})
        return str(hashed) == (known(now[path.name]) or digest(path))
    except OSError as error:
        raise Changed from error  # Race: it is gone, or was renamed
    except NotFound:
        return False


def listed(store: Store, address: str) -> list[dict[str, Any]]:
    """What is known of each published version, newest first."""
    folder = folder_of(store.path(address))
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
    place = folder_of(store.path(address)) / name
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
    folder = folder_of(path)
    content(store, address, name)
    with store.locks(share.name).hold(lock_of(address)):
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
            files.write_atomic(
                folder / other / RECORD, sidecar.dump({**record, **wanted}), disk=store.disk, mode=RECORD_MODE
            )
        return {**sidecar.read(folder / name / RECORD).data, "version": name}


def _freeze(store: Store, path: Path, now: Mapping[str, Stat], place: Path, known: Known) -> dict[str, Any]:
    """Copy what `now` names and the sidecar; size and hash of the content."""
    beside = paths.sidecar_of(path)
    for name in (*now, beside.name):
        aside = files.temporary(place)
        try:
            stat = files.copy_aside(path.parent / name, aside, disk=store.disk, mode=FROZEN_MODE)
        except NotFound as error:
            if name == beside.name:
                continue  # a file that is no asset
            raise Changed from error
        target = place / name
        if os.path.lexists(target) or name == RECORD:
            aside.unlink()
            raise Conflict("A file of the name {name} can't be published.", name=name)
        store.disk.rename(aside, target)
        if name in now and stat.content != now[name].content:
            raise Changed
    told: dict[str, Any] = {"size": sum(stat.size for stat in now.values())}
    if list(now) == [path.name]:
        told["hash"] = known(now[path.name]) or digest(place / path.name)
    else:
        told["frames"] = len(now)
        told["hash"] = digest_all({name: place / name for name in now})
    return told


def _sweep(folder: Path, suffix: str) -> None:
    """Take away what a crash left of our own. What has no mark may be on its way from a backup, or from
    another site: it stays."""
    for name in _names(folder):
        place = folder / name
        if name != paths.version_folder(paths.version_number(name) or 0, suffix):
            continue
        if (place / RECORD).exists():
            with contextlib.suppress(OSError):
                (place / BEGUN).unlink(missing_ok=True)
        elif (place / BEGUN).exists() or _has_barely_begun(place):
            _undo(place)
        else:
            with contextlib.suppress(OSError):
                place.rmdir()  # only where it is empty


def _has_barely_begun(place: Path) -> bool:
    """Whether a crash came while the mark itself was written."""
    names = os.listdir(place)
    return bool(names) and all(name.startswith(files.TEMPORARY) for name in names)


def _undo(place: Path) -> None:
    """Take away what was made of a version; its mark last, so that a start goes on after a crash."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(place), key=lambda name: name == BEGUN):
            os.unlink(place / name)
        os.rmdir(place)


def folder_of(path: Path) -> Path:
    return paths.companion_of(path) / "versions"


def lock_of(address: str) -> str:
    return paths.lock_key(address + "/published")


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if paths.version_number(name) is not None]
    except OSError:
        return []


def highest(folder: Path) -> int:
    return max((paths.version_number(name) or 0 for name in _names(folder)), default=0)


def _making(address: str) -> str:
    return paths.lock_key(address + "/publishing")


def settle_all(store: Store) -> None:
    """Take away what a crash left of versions that were being made."""
    for share, address, pointer in begun.of_crashes(store):
        folder = folder_of(share.root / paths.parse(address)[1])
        locks = store.locks(share.name)
        with locks.try_hold(_making(address)) as alone, contextlib.suppress(CroftError, OSError):
            if alone is None:
                continue  # another server is at it
            with locks.hold(lock_of(address)):
                _sweep(folder, store.sites.suffix(share))
                begun.sweep_asides(folder)
            pointer.unlink(missing_ok=True)
