"""Deletions that lose nothing: what goes is moved to `old/<utc>-<id>/` beside it, and can be brought back.

What is to move is written down first (see `intents`), so a start finishes what a crash interrupted.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from server.disk import files, intents, moves, paths, sidecar
from server.disk.errors import BadInput, Conflict, CroftError, NotFound
from server.disk.intents import INTENT, Intent, pending
from server.disk.locks import Locks
from server.disk.paths import Share
from server.disk.records import utc_now

__all__ = ["INTENT", "WHAT", "belongings", "bring_back", "delete", "finish", "pending"]

log = logging.getLogger("croft.deletions")

# A file with its record; the record of one that is gone; a file whose record stays.
WHAT = ("delete", "forget", "away")


def delete(
    share: Share,
    locks: Locks,
    inside: str,
    who: str,
    disk: files.Os = files.REAL,
    what: str = "delete",
    more: Iterable[str] = (),
) -> str:
    """Move a file (or sequence, or folder) with its sidecar and companion into `old/`. Returns where.

    To 'forget' moves sidecar and companion alone, 'away' the file alone: it is missing then. `more`: names
    beside it that go along.
    """
    with locks.hold(paths.lock_key(inside)) as held:
        return _begin(share, inside, who, disk, what, held.check, more)


def put_away(share: Share, inside: str, who: str, disk: files.Os = files.REAL) -> str:
    """Move sidecar and companion into `old/`; the caller holds the file's lock. Returns where."""
    return _begin(share, inside, who, disk, "forget", lambda: None)


def bring_back(share: Share, locks: Locks, aside: str, who: str, disk: files.Os = files.REAL) -> str:
    """Undo a deletion: move what lies in this folder of `old/` back. Returns the file's place inside.

    Never over anything: Conflict where a file of that name is there again. Where a record has been made
    for that name meanwhile, that one stays, and the old one stays in `old/`.
    """
    inside = intents.read(share, aside, disk).inside
    with locks.hold(paths.lock_key(inside)) as held:
        intent = intents.read(share, aside, disk)  # Race: another server brought it back meanwhile.
        if intent.data["what"] not in WHAT or not intent.data.get("done"):
            raise BadInput("{aside} isn't a deletion that could be undone.", aside=aside)
        if intent.data.get("restored"):
            raise Conflict("This was brought back already.", path=aside)
        path = intent.home / paths.name_of(inside)
        record = record_names(path)
        there = [name for name in intent.data["names"] if os.path.lexists(intent.folder / name)]
        own = [name for name in there if name not in record]
        for name in own:
            if os.path.lexists(intent.home / name):
                raise Conflict(
                    "There is a file {name} again. Rename it first, then bring the old one back.",
                    path=str(intent.home / name),
                    name=name,
                )
        taken = any(os.path.lexists(intent.home / name) for name in record)
        if taken and not own:
            raise Conflict("There is a record of {file} again.", path=str(path), file=path.name)
        back = own if taken else there
        if not back:
            raise NotFound("Nothing lies in {path} any more.", path=aside)
        held.check()
        intent.begin_again(back=back, back_by=who)
        finish(intent)
    return inside


def belongings(path: Path) -> list[str]:
    """What goes when this file goes, as names in its folder: itself, its sidecar, its companion, and what
    its jobs have put beside it."""
    return [*own_names(path), *record_names(path), *snapshot_names(path)]


def record_names(path: Path) -> list[str]:
    """What is known of this file: its sidecar and its companion."""
    return [paths.sidecar_of(path).name, f"{paths.COMPANION}/{path.name}"]


def snapshot_names(path: Path) -> list[str]:
    """Snapshots of a file's jobs that lie beside it, and the links to its caches that they have."""
    found = []
    for job in intents.names(paths.companion_of(path) / "jobs"):
        name = paths.snapshot_name(path.name, job)
        link = "blendcache_" + paths.stem_of(name)
        found.append(name)
        if os.path.islink(path.parent / link):
            found.append(link)
    return found


def own_names(path: Path) -> list[str]:
    """The file itself; of an image sequence each frame."""
    if "@" in path.name and not os.path.lexists(path):
        keys = ((paths.sequence_key(name), name) for name in intents.names(path.parent))
        return sorted(name for key, name in keys if key and key[0] == path.name)
    return [path.name]


def is_sequence(name: str) -> bool:
    """Whether this is the key of an image sequence: `walk.@.png`."""
    begin, sign, end = name.partition("@")
    return bool(sign and end) and paths.sequence_key(f"{begin}0000{end}") == (name, 0)


def named_as(own: list[str], key: str) -> Iterator[tuple[str, str]]:
    """The names of a file, or of a sequence's frames, and what they are under the name `key`."""
    begin, _, end = key.partition("@")
    for old in own:
        frame = paths.sequence_key(old)
        if frame is None or not is_sequence(key):
            yield old, key
        else:
            head, _, tail = frame[0].partition("@")
            yield old, begin + old[len(head) : len(old) - len(tail)] + end


def finish(intent: Intent) -> None:
    """Move what an intent names and what is still the same; then the intent is a record."""
    if "back" in intent.data:
        _finish_back(intent)
        return
    for name, known in intent.data["names"].items():
        source, target = intent.home / name, intent.folder / name
        if not os.path.lexists(source) or not intents.is_same(source, known):
            continue  # moved already; or a person put another of this name there: that one stays
        _move(intent, source, target)
    intent.end()


def _begin(
    share: Share,
    inside: str,
    who: str,
    disk: files.Os,
    what: str,
    check: Callable[[], None],
    more: Iterable[str] = (),
) -> str:
    path = share.path(inside)
    intent = intents.new(share, inside, what, who, disk)
    wanted = {"delete": belongings, "forget": record_names, "away": own_names}[what](path)
    found = [name for name in (*wanted, *more) if os.path.lexists(path.parent / name)]
    if not found:
        raise NotFound(
            "There is no {inside}, or no record of it.", path=str(path), inside=paths.name_of(inside)
        )
    intent.data["names"] = {name: intents.identity(path.parent / name) for name in found}
    with contextlib.suppress(CroftError):
        intent.data["uuid"] = str(sidecar.read(paths.sidecar_of(path)).data.get("uuid") or "")
    check()
    intent.begin()
    finish(intent)
    return intent.aside


def _finish_back(intent: Intent) -> None:
    for name in intent.data["back"]:
        source, target = intent.folder / name, intent.home / name
        if not os.path.lexists(source) or (os.path.lexists(target) and not source.is_dir()):
            continue  # moved already; or a person put another of this name there: that one stays
        _move(intent, source, target)
    for folder in (intent.folder / paths.COMPANION,):
        if folder.is_dir() and not intents.names(folder):
            intent.disk.rmdir(folder)
    if intents.names(intent.folder) == [INTENT]:
        intent.withdraw()
        return
    rest = {key: value for key, value in intent.data.items() if key != "back"}
    intent.data = {**rest, "restored": utc_now()}
    intent.end()


def _move(intent: Intent, source: Path, target: Path) -> None:
    share, disk = intent.share, intent.disk
    files.make_folders(target.parent, share.root, disk=disk)
    moves.resume(source, target, root=share.root, branches=share.branches, disk=disk)
