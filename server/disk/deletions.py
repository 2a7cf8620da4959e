"""Deletions that lose nothing: what goes is moved to `old/<utc>-<id>/` beside it.

An intent file there says what is to move, before anything does; a pointer among the locks says where such
an intent lies, until it is done. So a start finishes what a crash interrupted, and finds it at once.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.disk import files, moves, paths, sidecar
from server.disk.errors import BadInput, CroftError, NotFound
from server.disk.locks import Locks
from server.disk.paths import Share
from server.disk.records import utc_now

log = logging.getLogger("croft.deletions")

INTENT = "intent.json"
_POINTER = re.compile(r"intent-\d{8}-\d{6}-[0-9a-f]{6}\.json")


def delete(share: Share, locks: Locks, inside: str, who: str, disk: files.Os = files.REAL) -> str:
    """Move a file (or sequence, or folder) with its sidecar and companion into `old/`. Returns where."""
    path = share.path(inside)
    ident = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    aside = paths.join(paths.folder_of(inside), paths.OLD, ident)
    folder = share.path(aside)
    pointer = share.root / paths.LOCKS / f"intent-{ident}.json"
    with locks.hold(paths.lock_key(inside)) as held:
        what = [name for name in belongings(path) if os.path.lexists(path.parent / name)]
        if not what:
            raise NotFound(f"There is no {paths.name_of(inside)}.", path=str(path))
        files.make_folders(folder, share.root, disk=disk)
        intent = {
            "schema": 1,
            "what": "delete",
            "inside": inside,
            "who": who,
            "at": utc_now(),
            "done": False,
            "names": {name: _identity(path.parent / name) for name in what},
        }
        held.check()
        files.write_atomic(pointer, sidecar.dump({"folder": aside, "inside": inside}), disk=disk)
        files.write_atomic(folder / INTENT, sidecar.dump(intent), disk=disk)
        _finish(share, folder, intent, pointer, disk)
    return aside


def finish_all(share: Share, locks: Locks, disk: files.Os = files.REAL) -> None:
    """Finish every deletion that a crash interrupted. What can't be finished is logged, and tried again."""
    for pointer in pending(share):
        try:
            said = sidecar.read(pointer).data
            folder = share.path(str(said["folder"]))
            if folder.parent.name != paths.OLD:
                raise BadInput(f"{folder} is no folder of deletions.")
            with locks.hold(paths.lock_key(str(said["inside"]))):
                if not os.path.lexists(pointer):
                    continue  # Race: the server that was at it, or another, finished it.
                try:
                    intent = sidecar.read(folder / INTENT).data
                except NotFound:
                    disk.unlink(pointer)  # nothing was moved yet: the deletion never began
                    continue
                log.info("finishing the deletion of %s", said["inside"])
                _finish(share, folder, intent, pointer, disk)
        except (CroftError, OSError, KeyError, AttributeError) as error:
            log.warning("the deletion that %s names can't be finished: %s", pointer, error)


def pending(share: Share) -> Iterator[Path]:
    """Pointers to deletions that aren't done."""
    folder = share.root / paths.LOCKS
    for name in _names(folder):
        if _POINTER.fullmatch(name):
            yield folder / name


def belongings(path: Path) -> list[str]:
    """What goes when this file goes, as names in its folder: itself, its sidecar, its companion."""
    own = [path.name]
    if "@" in path.name and not os.path.lexists(path):
        keys = ((paths.sequence_key(name), name) for name in _names(path.parent))
        own = sorted(name for key, name in keys if key and key[0] == path.name)
    return [*own, paths.sidecar_of(path).name, f"{paths.COMPANION}/{path.name}"]


def _finish(share: Share, folder: Path, intent: dict[str, Any], pointer: Path, disk: files.Os) -> None:
    """Move what an intent names and what is still the same; then the intent is a record."""
    home = folder.parent.parent
    for name, identity in intent["names"].items():
        source, target = home / name, folder / name
        if not os.path.lexists(source) or not _same(source, identity):
            continue  # moved already; or a person put another of this name there: that one stays
        files.make_folders(target.parent, share.root, disk=disk)
        moves.resume(source, target, root=share.root, branches=share.branches, disk=disk)
    files.write_atomic(folder / INTENT, sidecar.dump({**intent, "done": True}), disk=disk)
    try:
        disk.unlink(pointer)
    except FileNotFoundError:
        pass
    except OSError as error:
        files.fail(error, pointer)


def _identity(path: Path) -> list[int]:
    """What tells a file from a later one of its name."""
    st = os.lstat(path)
    return [st.st_ino, st.st_size, st.st_mtime_ns]


def _same(path: Path, identity: object) -> bool:
    """Folders always count as the same: half of one may have gone, on a pool."""
    try:
        return os.path.isdir(path) or _identity(path) == identity
    except OSError:
        return False


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
