"""What lies in `old/` for long enough, deleted for good: the one place where Croft frees space.

Goes by what each folder's `intent.json` says, and touches nothing that isn't done, or that says nothing. A
folder is renamed out of sight first, under its file's lock; what a crash leaves half deleted is deleted next
time. Knows the disk alone: it needs no server, and one may run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from server.disk import checkpoints, deletions, files, intents, paths
from server.disk.errors import BadInput, CroftError
from server.disk.intents import Intent
from server.disk.locks import Locks
from server.disk.paths import Share

HIDDEN = files.TEMPORARY + "purge-"
UNITS = {"h": 3600.0, "d": 86_400.0, "w": 7 * 86_400.0, "y": 365 * 86_400.0}


@dataclass(frozen=True, slots=True)
class Old:
    """One deletion, or one save that was kept."""

    share: str
    aside: str  # its folder, inside the share
    inside: str  # where it was
    what: str
    at: str
    bytes: int

    @property
    def is_save(self) -> bool:
        return self.what == checkpoints.WHAT


def seconds_of(text: str) -> float:
    """`30d`, `12h`, `6w`, `1y`. BadInput."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit() and len(number) < 6 and unit in UNITS):
        raise BadInput("{text} is no age: say 30d, 12h, 6w or 1y.", text=repr(text[:40]))
    return int(number) * UNITS[unit]


def find(share: Share, older_s: float, now: float, saves: bool = False) -> Iterator[Old]:
    """What lies in `old/` for longer: deletions, and with `saves` the saves that were kept, too."""
    for old in _olds(share.root):
        inside = os.path.relpath(old, share.root)
        for name in sorted(intents.names(Path(old))):
            if not intents.is_ident(name):
                continue
            try:
                intent = intents.read(share, paths.join(inside, name))
            except CroftError:
                continue  # a person's own, or not to be read: it stays
            what, at = str(intent.data.get("what")), _moment(intent)
            wanted = what in deletions.WHAT or (saves and what == checkpoints.WHAT)
            if wanted and intent.data.get("done") and at and now - at >= older_s:
                size = _weight(intent.folder)
                yield Old(share.name, intent.aside, intent.inside, what, str(intent.data.get("at")), size)


def purge(share: Share, locks: Locks, old: Old) -> bool:
    """Delete it for good. False where somebody brought it back meanwhile."""
    with locks.hold(paths.lock_key(old.inside)):
        try:
            intent = intents.read(share, old.aside)
        except CroftError:
            return False
        if not intent.data.get("done"):
            return False
        hidden = intent.folder.with_name(HIDDEN + intent.folder.name)
        os.rename(intent.folder, hidden)
        files.sync_folder(hidden.parent)
    _delete(hidden)
    return True


def sweep(share: Share) -> int:
    """Delete what an interrupted purge left. How many there were."""
    count = 0
    for old in _olds(share.root):
        for name in intents.names(Path(old)):
            if name.startswith(HIDDEN):
                _delete(Path(old) / name)
                count += 1
    return count


def _olds(root: Path) -> Iterator[str]:
    """Every `old/` of a share."""
    for at, folders, _ in os.walk(root):
        if os.path.basename(at) == paths.OLD:
            folders.clear()
            yield at
            continue
        rendered = os.path.basename(os.path.dirname(at)) == paths.RENDER
        folders[:] = sorted(
            name for name in folders if name[0] != "." and not (rendered and paths.version_number(name))
        )


def _moment(intent: Intent) -> float:
    """When it came there."""
    try:
        return datetime.fromisoformat(str(intent.data.get("at"))).timestamp()
    except ValueError:
        return 0.0


def _weight(folder: Path) -> int:
    size = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(at, name)).st_size
    return size


def _delete(folder: Path) -> None:
    for at, folders, _ in os.walk(folder):
        for name in folders:
            with contextlib.suppress(OSError):
                os.chmod(
                    os.path.join(at, name), files.FOLDER_MODE
                )  # what is read-only, such as published ones
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.rmdir(folder.parent)
