"""Names that Croft gives to files: to a new one once it is whole, to one that is renamed another.

What is renamed goes with its sidecar and its companion, a sequence with every frame, a folder whole. Within
one share, and never over anything.
"""

from __future__ import annotations

import os
from pathlib import Path

from server.disk import deletions, files, moves, paths
from server.disk.errors import BadInput, Conflict, NotFound
from server.disk.locks import Locks
from server.disk.paths import Share


def place(share: Share, locks: Locks, temporary: Path, inside: str, disk: files.Os = files.REAL) -> None:
    """Give a whole file its name, flushed; Conflict when something is there already."""
    path, address = share.path(inside), paths.address(share.name, inside)
    if len(os.fsencode(path.name)) > paths.NAME_BYTES - len(".json"):
        raise BadInput("{address} can't be the name of a file: it is too long.", address=address)
    files.make_folders(path.parent, share.root, disk=disk)
    with locks.hold(paths.lock_key(inside)):
        try:
            fd = disk.open(temporary, os.O_RDWR)
            try:
                files.share_with_group(fd, path.parent)
                disk.fsync(fd)
            finally:
                disk.close(fd)
        except OSError as error:
            files.fail(error, temporary)
        if temporary.parent == path.parent:
            moves.place(temporary, path, disk=disk)
        else:
            moves.move(temporary, path, root=share.root, branches=share.branches, disk=disk)


def rename(share: Share, locks: Locks, inside: str, new: str, disk: files.Os = files.REAL) -> None:
    """Conflict when something is there already."""
    source, target = share.path(inside), share.path(new)
    files.make_folders(target.parent, share.root, disk=disk)
    with locks.hold_all([paths.lock_key(inside), paths.lock_key(new)]):
        if os.path.lexists(target):
            address = paths.address(share.name, new)
            raise Conflict("{new} is there already.", path=str(target), new=address)
        _move_all(share, source, target, disk)


def _move_all(share: Share, source: Path, target: Path, disk: files.Os) -> None:
    own = deletions.own_names(source)
    if not any(os.path.lexists(source.parent / name) for name in own):
        raise NotFound("There is no {source}.", path=str(source), source=source.name)
    if own != [source.name] and not deletions.is_sequence(target.name):
        raise BadInput(
            "{target} can't be the name of an image sequence: it is like walk.@.png.", target=target.name
        )
    if any(os.path.lexists(target.parent / name) for name in deletions.own_names(target)):
        raise Conflict("{target} is there already.", path=str(target), target=target.name)
    pairs = [
        *((source.parent / old, target.parent / new) for old, new in deletions.named_as(own, target.name)),
        (paths.sidecar_of(source), paths.sidecar_of(target)),
        (paths.companion_of(source), paths.companion_of(target)),
    ]
    for old, new in pairs:
        if os.path.lexists(old):
            files.make_folders(new.parent, share.root, disk=disk)
            moves.move(old, new, root=share.root, branches=share.branches, disk=disk)
