"""Checkpoints: copies of a file and its sidecar in `old/<utc>-<id>/`; and replacing a file's content.

A copy is made beside everything, under no lock that anybody else wants, flushed, and counts once its
intent says 'done'; what a crash left half made is taken away at the next start. New content gets a file's
name in one step, after the present content was kept and while it is still what was kept: who reads the
file meanwhile has the old bytes or the new ones.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from server.disk import deletions, files, intents, moves, paths, sidecar
from server.disk.errors import BadInput, Conflict, CroftError, NotFound
from server.disk.intents import Intent
from server.disk.locks import Locks
from server.disk.paths import Share
from server.disk.records import Stat

log = logging.getLogger("croft.checkpoints")

WHAT = "checkpoint"
HASH_NAME = "blake2b-160"
TRIES = 3  # a file that is saved again and again while it is copied

Known = Callable[[Stat], str]  # the hash of a file's present state, where somebody knows it already


def checkpoint(
    share: Share,
    locks: Locks,
    inside: str,
    who: str,
    comment: str = "",
    *,
    known: Known = lambda stat: "",
    disk: files.Os = files.REAL,
) -> Intent:
    """Keep a copy of the present content. NotFound without a file, Conflict while it is being written."""
    intent = _new(share, inside, who, comment, disk)
    with locks.hold(_lock(inside)):
        _keep(intent, known)
        intent.end()
    return intent


def replace(
    share: Share,
    locks: Locks,
    inside: str,
    new: Mapping[str, Path],
    who: str,
    comment: str = "",
    *,
    take: bool = False,
    known: Known = lambda stat: "",
    disk: files.Os = files.REAL,
) -> Intent | None:
    """Give a file (the frames of a sequence) new content; what is there now is kept first.

    `new` is the content by name; frames that it doesn't name go. With `take` the files are moved here
    instead of copied (they must lie on this share). Answers the checkpoint, None where nothing was there.
    """
    for last in range(TRIES, 0, -1):
        try:
            return _replace(share, locks, inside, new, who, comment, take, known, disk)
        except _Changed as error:  # Race: saved again between the copy and now; that is to be kept, too
            if last == 1:
                raise Conflict(
                    "{inside} is being saved again and again. Try again in a moment.",
                    inside=paths.name_of(inside),
                ) from error
    raise AssertionError


def finish(intent: Intent) -> None:
    """After a crash: what had begun to be replaced is replaced; what hadn't is taken back."""
    _check(intent)
    if "steps" in intent.data:
        _step(intent)
        _close(intent)
    else:
        _take_back(intent)


def content_of(intent: Intent) -> dict[str, Path]:
    """The kept content by name: of a sequence every frame."""
    return {
        name: intent.folder / name
        for name in intent.data["names"]
        if is_own(intent, name) and os.path.lexists(intent.folder / name)
    }


def is_own(intent: Intent, name: str) -> bool:
    """Whether this is the file itself, or a frame of the sequence."""
    inside = paths.name_of(str(intent.data["inside"]))
    key = paths.sequence_key(name)
    return name == inside or (key is not None and key[0] == inside)


def digest(path: Path) -> str:
    """`blake2b-160:<hex>` of a file's bytes."""
    with open(path, "rb", buffering=0) as file:
        return f"{HASH_NAME}:{hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()}"


def digest_all(found: Mapping[str, Path]) -> str:
    """The hash of an image sequence: of each frame's number and bytes, whatever it is called."""
    whole = hashlib.blake2b(digest_size=20)
    for number, path in sorted((frame_number(name), path) for name, path in found.items()):
        whole.update(f"{number} {digest(path)}\n".encode())
    return f"{HASH_NAME}:{whole.hexdigest()}"


def frame_number(name: str) -> int:
    """Of a frame by its name; 0 for what is none."""
    return (paths.sequence_key(name) or ("", 0))[1]


class _Changed(Exception):
    """What was kept isn't what is there any more."""


def _lock(inside: str) -> str:
    """Nobody waits for this one but who copies the same file."""
    return paths.lock_key(inside + "/saves")


def _new(share: Share, inside: str, who: str, comment: str, disk: files.Os) -> Intent:
    path = share.path(inside)
    if os.path.isdir(path):
        raise BadInput("{path} is a folder: keep its files.", path=path.name)
    return intents.new(share, inside, WHAT, who, disk, comment=comment, hash="", size=0, names={})


def _keep(intent: Intent, known: Known) -> None:
    """Copy the file and its sidecar; after a failure nothing is left."""
    inside = str(intent.data["inside"])
    path = intent.share.path(inside)
    own = [name for name in deletions.own_names(path) if os.path.lexists(path.parent / name)]
    if not own:
        raise NotFound("There is no {file}.", path=str(path), file=path.name)
    beside = paths.sidecar_of(path)
    with contextlib.suppress(CroftError):
        intent.data["uuid"] = str(sidecar.read(beside).data.get("uuid") or "")
    intent.begin(_lock(inside))
    try:
        said: dict[str, list[int]] = {}
        size, stat = 0, None
        for name in own:
            stat = _copy(intent, path.parent / name)
            said[name] = [stat.inode, stat.size, stat.mtime_ns]
            size += stat.size
        if os.path.lexists(beside) and not os.path.isdir(beside):
            with contextlib.suppress(NotFound):
                of_record = _copy(intent, beside)
                said[beside.name] = [of_record.inode, of_record.size, of_record.mtime_ns]
        files.sync_folder(intent.folder, intent.disk)
        hashed = ""
        if len(own) == 1 and stat is not None:
            hashed = known(stat) or digest(intent.folder / own[0])
        intent.data.update(names=said, size=size, hash=hashed)
    except OSError as error:
        _take_back(intent)
        files.fail(error, intent.folder)
    except BaseException:
        _take_back(intent)
        raise


def _copy(intent: Intent, source: Path) -> Stat:
    for last in range(TRIES, 0, -1):
        try:
            aside = files.temporary(intent.folder)
            stat = files.copy_aside(source, aside, disk=intent.disk)
            break
        except Conflict:
            if last == 1:
                raise
    try:
        intent.disk.rename(aside, intent.folder / source.name)
    except OSError:
        _forget(aside)
        raise
    return stat


def _replace(
    share: Share,
    locks: Locks,
    inside: str,
    new: Mapping[str, Path],
    who: str,
    comment: str,
    take: bool,
    known: Known,
    disk: files.Os,
) -> Intent | None:
    intent = _new(share, inside, who, comment, disk)
    path = share.path(inside)
    with locks.hold(_lock(inside)):
        try:
            _keep(intent, known)
        except NotFound:
            if os.path.lexists(path):
                raise
            intent.begin(_lock(inside))  # nothing is there: nothing has to be kept
        try:
            steps = _stage(intent, path.parent, new, take)
            with locks.hold(paths.lock_key(inside)) as held:
                held.check()
                _check_unchanged(intent, path)
                intent.write(steps=steps)
                if not _step(intent):
                    raise _Changed
        except OSError as error:
            _give_up(intent)
            files.fail(error, path)
        except BaseException:
            _give_up(intent)
            raise
        return intent if _close(intent) else None


def _stage(intent: Intent, folder: Path, new: Mapping[str, Path], take: bool) -> dict[str, dict[str, Any]]:
    """Have the new content beside the old under hidden names. What each name is to be replaced by."""
    share, disk = intent.share, intent.disk
    present = {name: known for name, known in intent.data["names"].items() if name in _own(intent)}
    staged: dict[str, Any] = {}
    if take:
        # Written down before it is moved: after a crash it goes back to where it came from.
        planned = {
            name: [files.temporary(folder).name, os.path.relpath(source, share.root)]
            for name, source in new.items()
        }
        intent.write(taken=list(planned.values()))
        for name, (hidden, _) in planned.items():
            target = folder / hidden
            moves.move(new[name], target, root=share.root, branches=share.branches, disk=disk)
            fd = disk.open(target, os.O_RDWR)
            try:
                files.share_with_group(fd, folder)
                disk.fsync(fd)
            finally:
                disk.close(fd)
            staged[name] = hidden
    else:
        staged = {name: files.temporary(folder).name for name in new}
        intent.write(staged=list(staged.values()))
        for name, source in new.items():
            files.copy_aside(source, folder / staged[name], disk=disk)
            os.utime(folder / staged[name])  # it changed now: whoever compares times must see it
    return {
        name: {
            "was": present.get(name),
            "by": staged.get(name, ""),
            "is": intents.identity(folder / staged[name]) if name in staged else None,
        }
        for name in (*present, *(name for name in staged if name not in present))
    }


def _own(intent: Intent) -> set[str]:
    return {name for name in intent.data["names"] if is_own(intent, name)}


def _check_unchanged(intent: Intent, path: Path) -> None:
    """_Changed unless what is there is what was kept, no more and no less."""
    now = {name for name in deletions.own_names(path) if os.path.lexists(path.parent / name)}
    kept = _own(intent)
    if now != kept or not all(
        intents.is_same(path.parent / name, intent.data["names"][name]) for name in kept
    ):
        raise _Changed


def _step(intent: Intent) -> bool:
    """Each name gets its new content, where it still has what was kept. Whether all of them have it."""
    home, disk = intent.home, intent.disk
    whole = True
    try:
        for name, step in intent.data["steps"].items():
            path, hidden = home / name, home / step["by"] if step["by"] else None
            if hidden is None:
                if intents.is_same(path, step["was"]):
                    disk.unlink(path)
                continue
            if not os.path.lexists(hidden):
                continue  # it was done before the crash
            if step["was"] is None:
                try:
                    moves.place(hidden, path, disk=disk)
                except Conflict:
                    whole = False
                continue
            whole = _exchange(hidden, path, step, disk) and whole
        files.sync_folder(home, disk)
    except OSError as error:
        files.fail(error, home)
    return whole


def _exchange(hidden: Path, path: Path, step: Mapping[str, Any], disk: files.Os) -> bool:
    """The new content under the name, the old one gone; False where the name has other content by now."""
    if intents.is_same(hidden, step["was"]) and not intents.is_same(hidden, step["is"]):
        disk.unlink(hidden)  # a crash came after the exchange
        return True
    if not intents.is_same(path, step["was"]):
        return False
    try:
        disk.exchange(hidden, path)
    except OSError as error:
        if error.errno not in files.NO_EXCHANGE:
            raise
        # Race: on such a disk a save within this microsecond would be replaced unseen.
        disk.replace(hidden, path)
        return True
    if not os.path.lexists(hidden):
        return True  # this disk took it for a plain rename
    if intents.is_same(hidden, step["was"]):
        disk.unlink(hidden)
        return True
    # Race: it was saved between the look and the exchange. That save gets its name back.
    disk.exchange(hidden, path)
    return False


def _close(intent: Intent) -> bool:
    """It is done. False when nothing had to be kept: then nothing of it stays."""
    try:
        _drop_staged(intent)
    except OSError as error:
        log.warning("%s isn't tidied up yet, a start will do it: %s", intent.aside, error)
        return bool(intent.data["names"])
    if not intent.data["names"]:
        intent.withdraw()
        return False
    rest = ("steps", "staged", "taken")
    intent.data = {key: value for key, value in intent.data.items() if key not in rest}
    intent.end()
    return True


def _give_up(intent: Intent) -> None:
    """After a failure. Once replacing has begun the copy stays: it may be the only one."""
    if "steps" not in intent.data:
        _take_back(intent)
        return
    try:
        _close(intent)
    except (CroftError, OSError) as error:
        log.warning("%s can't be ended now, a start will: %s", intent.aside, error)


def _take_back(intent: Intent) -> None:
    """What was staged goes where it came from, the copies go; unless a copy is all that is left."""
    try:
        _drop_staged(intent)
        path = intent.home / paths.name_of(str(intent.data["inside"]))
        own = deletions.own_names(path)
        beside = paths.sidecar_of(path).name
        for name in intents.names(intent.folder):
            lone = name != beside and not name.startswith(".") and name != intents.INTENT
            if lone and (name not in own or not os.path.lexists(path.parent / name)):
                # The original went meanwhile: this copy is the last.
                kept = {n: intents.identity(intent.folder / n) for n in intents.names(intent.folder)
                        if n != intents.INTENT and not n.startswith(".")}  # fmt: skip
                intent.end(names=kept)
                return
        for name in intents.names(intent.folder):
            if name != intents.INTENT:
                intent.disk.unlink(intent.folder / name)
        intent.withdraw()
    except (CroftError, OSError) as error:
        log.warning("%s can't be taken back now, a start will: %s", intent.aside, error)


def _drop_staged(intent: Intent) -> None:
    home, share = intent.home, intent.share
    for step in intent.data.get("steps", {}).values():
        hidden = home / step["by"]
        if step["by"] and intents.is_same(hidden, step["was"]) and not intents.is_same(hidden, step["is"]):
            intent.disk.unlink(hidden)  # the old content, which was kept
    for hidden, origin in intent.data.get("taken", ()):
        source = home / hidden
        if os.path.lexists(source):
            target = share.path(origin)
            files.make_folders(target.parent, share.root, disk=intent.disk)
            with contextlib.suppress(Conflict):
                moves.move(source, target, root=share.root, branches=share.branches, disk=intent.disk)
    for hidden in intent.data.get("staged", ()):
        with contextlib.suppress(FileNotFoundError):
            intent.disk.unlink(home / hidden)


def _check(intent: Intent) -> None:
    """BadInput for an intent that isn't ours: students can write where it lies, and what it names goes."""
    data = intent.data
    hidden = [*data.get("staged", ()), *(pair[0] for pair in data.get("taken", ()))]
    hidden += [step["by"] for step in data.get("steps", {}).values() if step["by"]]
    names = [*data["names"], *data.get("steps", ())]
    inside = paths.name_of(str(data["inside"]))
    for name in hidden:
        if not name.startswith(files.TEMPORARY) or "/" in name:
            raise BadInput(
                "{aside} names {name}, which is none of Croft's own.",
                aside=intent.aside,
                name=repr(name[:100]),
            )
    for name in names:
        key = paths.sequence_key(name)
        if name not in (inside, paths.sidecar_of(inside)) and (key is None or key[0] != inside):
            raise BadInput(
                "{aside} names {name}, which isn't of {inside}.",
                aside=intent.aside,
                name=repr(name[:100]),
                inside=inside,
            )


def _forget(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
