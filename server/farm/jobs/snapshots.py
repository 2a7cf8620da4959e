"""The bytes that a job renders: a copy of the scene beside it, and of the simulations baked to disk for it.

Blender looks for a simulation's cache by the file's own name, so the copy of `blendcache_sh010` is called
after the snapshot; a snapshot without one renders wrong without an error. Jobs of the same bytes share
them: each has a hard link of its own, the disk counts them, and the last one that goes takes the bytes
along. Nobody writes into a snapshot; what a person saves or bakes is never linked to, always copied.
Everything here is made before the job is (its intent names the snapshot), under no lock.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.disk import encoding, files, paths
from server.disk.errors import Conflict, CroftError, DiskFull, NotFound
from server.disk.speech import say
from server.farm.jobs.record import SNAPSHOT

CACHES = "caches.json"  # in the job's folder: which files its copy of the cache holds
TRIES = 3  # a scene that is saved again and again while it is copied
MAX_CACHES_BYTES = 64 << 20  # of caches.json
CACHE_FILES = 200_000
CACHE_MODE, CACHE_FOLDER_MODE = 0o444, 0o2555  # Blender writes into caches that aren't baked: not into these
LOST_CACHE = say("the simulation that it was rendered with is gone or was baked anew: submit the scene again")


@dataclass(frozen=True)
class Sibling:
    """Another job of the same file, whose bytes may be the same."""

    source: Mapping[str, Any]  # of its job.json
    snapshot: Path  # where its copy lies now
    folder: Path  # the job's own
    beside: Path  # where its copy of the cache lies, if it has one


def siblings(record: Mapping[str, Any], scenes: Path, folder: Path) -> list[Sibling]:
    """Where a job may have its copy, by its request: beside the scene; in its own folder once it ended."""
    name = record.get("snapshot")
    source = record.get("source")
    if not isinstance(name, str) or not name or not isinstance(source, dict):
        return []
    beside = scenes / name
    kept = folder / (SNAPSHOT + "".join(beside.suffixes[-1:]))
    return [Sibling(source, place, folder, beside) for place in (beside, kept)]


def take(
    scene: Path, snapshot: Path, others: Iterable[Sibling] = (), disk: files.Os = files.REAL
) -> dict[str, Any]:
    """Have the scene's present bytes under the snapshot's name: what identifies them, with their hash.

    Reads nothing where another job has the same state already. Conflict when the scene keeps changing.
    """
    known = list(others)
    try:
        for _ in range(TRIES):
            before = _look(scene)
            source = _share_same_state(scene, before, snapshot, known, disk)
            source = source or _copy(scene, before, snapshot, disk)
            if source is not None:
                _share_same_bytes(source, snapshot, known, disk)
                files.sync_folder(snapshot.parent, disk)
                return source
    except OSError as error:
        files.fail(error, snapshot)
    drop(snapshot, disk)
    raise Conflict("{scene} is being saved over and over. Try again when it is at rest.", scene=scene.name)


def take_caches(
    scene_name: str,
    snapshot: Path,
    folder: Path,
    others: Iterable[Sibling] = (),
    disk: files.Os = files.REAL,
) -> dict[str, Any]:
    """Copy the simulations that were baked to disk for the scene: their name, number, size and hash; {} where
    there are none. Conflict while one is being baked: a half of it renders wrong."""
    ours, theirs = cache_folders(snapshot, scene_name)
    before = _listed(theirs)
    if not before:
        return {}
    try:
        _make_room(ours, before, disk)
        entries = _shared_caches(ours, before, list(others), disk)
        for name, state in before.items():
            if name not in entries:
                entries[name] = [*state, _copy_cache(theirs / name, ours / name, state, disk), 0]
        _check_still(theirs, before, entries)
        for name, entry in entries.items():
            entry[-1] = os.lstat(ours / name).st_mtime_ns
        os.chmod(ours, CACHE_FOLDER_MODE)
        files.sync_folder(ours, disk)
    except FileNotFoundError:
        raise _baking(theirs) from None  # Race: a bake was freed meanwhile
    except OSError as error:
        files.fail(error, ours)
    told = {"schema": 1, "folder": ours.name, "files": entries}
    files.write_atomic(folder / CACHES, encoding.dumps(told) + b"\n", disk=disk)
    total = sum(entry[0] for entry in entries.values())
    return {"folder": ours.name, "files": len(entries), "bytes": total, "sha256": _sum_of(entries)}


def has_caches(beside: Path, told: object) -> bool:
    """Is the cache there that this job was submitted with? Also where it had none."""
    if not isinstance(told, dict) or not told:
        return True
    return os.path.isdir(cache_folder(beside))


def bring_caches(
    scene_name: str, beside: Path, folder: Path, told: object, disk: files.Os = files.REAL
) -> None:
    """Have an ended job's cache again, which isn't kept: from the scene's own, if that is still the same.
    Conflict in words where it isn't."""
    if has_caches(beside, told):
        return
    assert isinstance(told, dict)
    try:
        found = take_caches(scene_name, beside, folder, (), disk)
    except CroftError:
        drop_caches(beside, disk)
        raise
    if found.get("sha256") != told.get("sha256"):
        drop_caches(beside, disk)
        raise Conflict("It can't be rendered as it was: {lost_cache}.", lost_cache=LOST_CACHE)


def drop(snapshot: Path, disk: files.Os = files.REAL) -> None:
    """Delete a snapshot and its copy of the caches. Again is harmless."""
    for path in (snapshot, _aside(snapshot)):
        try:
            disk.unlink(path)
        except OSError:
            pass  # never made
    drop_caches(snapshot, disk)


def drop_caches(snapshot: Path, disk: files.Os = files.REAL) -> None:
    """Delete a snapshot's copy of the caches; bytes that other jobs have too stay theirs."""
    folder = cache_folder(snapshot)
    try:
        if stat.S_ISLNK(os.lstat(folder).st_mode):  # of a job that an older Croft made
            disk.unlink(folder)
            return
        os.chmod(folder, files.FOLDER_MODE)
    except OSError:
        return  # there is none
    shutil.rmtree(folder, ignore_errors=True)


def cache_folder(snapshot: Path) -> Path:
    """Where Blender looks for the disk caches of this file."""
    return snapshot.with_name("blendcache_" + paths.stem_of(snapshot.name))


def cache_folders(beside: Path, scene_name: str) -> tuple[Path, Path]:
    """Where Blender looks for the disk caches of the snapshot, and where the scene has its own."""
    return cache_folder(beside), cache_folder(beside.with_name(scene_name))


# -- is it still what was submitted? ------------------------------------------------------------------

AT_ONCE_BYTES = 16 << 20  # so much is read while the farm waits
CHANGED = say("its snapshot isn't the file any more that was submitted: submit it again")


class Vouched:
    """That a snapshot's bytes are those that were submitted: read once, and again when its state differs."""

    def __init__(self) -> None:
        self._known: tuple[dict[str, int], str] | None = None  # its state, and what is wrong with it
        self._reading: Future[tuple[dict[str, int], str]] | None = None

    def why(self, snapshot: Path, source: Mapping[str, Any], reader: Executor) -> str | None:
        """What is wrong with it; "" when nothing is, None while it is being read."""
        try:
            found = _look(snapshot)
        except (NotFound, Conflict):
            return CHANGED
        if found.st_size != source.get("size"):
            return CHANGED
        state = _state(found)
        if self._reading is not None and self._reading.done():
            self._known, self._reading = self._reading.result(), None
            if not self._known[0]:
                return self._known[1]
        if self._known is not None and self._known[0] == state:
            return self._known[1]
        if found.st_size <= AT_ONCE_BYTES:
            self._known = _compared(snapshot, source)
            return self._known[1]
        if self._reading is None:
            self._reading = reader.submit(_compared, snapshot, source)
        return None


def _compared(snapshot: Path, source: Mapping[str, Any]) -> tuple[dict[str, int], str]:
    """Its state, and what is wrong with its bytes."""
    try:
        fd = os.open(snapshot, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                return {}, CHANGED
            digest = _digest(fd)
        finally:
            os.close(fd)
    except OSError as error:
        return {}, say("its snapshot can't be read: {why}", why=error.strerror)
    return _state(before), "" if digest == source.get("sha256") else CHANGED


# -- the scene ----------------------------------------------------------------------------------------


def _look(scene: Path) -> os.stat_result:
    try:
        found = os.lstat(scene)
    except FileNotFoundError:
        raise NotFound("{scene} is gone.", scene=scene.name) from None
    except OSError as error:
        files.fail(error, scene)
    if not stat.S_ISREG(found.st_mode):
        raise Conflict(
            "{scene} is a link: render the file that it leads to.", path=str(scene), scene=scene.name
        )
    return found


def _share_same_state(
    scene: Path, before: os.stat_result, snapshot: Path, others: list[Sibling], disk: files.Os
) -> dict[str, Any] | None:
    """Link to the copy that another job made of this very state of the scene."""
    state = _state(before)
    for sibling in others:
        same = all(sibling.source.get(key) == value for key, value in state.items())
        if same and _intact(sibling) and _link(sibling.snapshot, snapshot, disk):
            if _state(_look(scene)) == state:
                return dict(sibling.source)
            disk.unlink(snapshot)
            return None  # Race: saved in this moment
    return None


def _share_same_bytes(source: dict[str, Any], snapshot: Path, others: list[Sibling], disk: files.Os) -> None:
    """Another job may have the same bytes of an earlier save: one of the copies is enough."""
    for sibling in others:
        if sibling.source.get("sha256") != source["sha256"] or not _intact(sibling):
            continue
        aside = _aside(snapshot)
        if not os.path.samefile(sibling.snapshot, snapshot) and _link(sibling.snapshot, aside, disk):
            disk.replace(aside, snapshot)
            source["copied_ns"] = sibling.source["copied_ns"]
        return


def _intact(sibling: Sibling) -> bool:
    """Is its copy still as it was made? One that an older Croft made doesn't say."""
    try:
        found = os.lstat(sibling.snapshot)
    except OSError:
        return False
    wanted = (sibling.source.get("size"), sibling.source.get("copied_ns"))
    return stat.S_ISREG(found.st_mode) and (found.st_size, found.st_mtime_ns) == wanted


def _copy(scene: Path, before: os.stat_result, snapshot: Path, disk: files.Os) -> dict[str, Any] | None:
    """A flushed copy and its hash; None when the scene was written meanwhile."""
    done = False
    try:
        source = os.open(scene, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        files.fail(error, scene)
    target = -1
    try:
        target = disk.open(snapshot, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        files.copy_content(source, target, before.st_size, disk)
        digest = _digest(target)
        files.share_with_group(target, snapshot.parent)
        disk.fsync(target)
        copied = os.fstat(target)
        states = [_state(st) for st in (before, os.fstat(source), _look(scene))]
        if states.count(states[0]) < len(states) or copied.st_size != before.st_size:
            return None
        done = True
        return {"sha256": digest, **states[0], "copied_ns": copied.st_mtime_ns}
    except OSError as error:
        files.fail(error, snapshot)
    finally:
        os.close(source)
        if target >= 0:
            disk.close(target)
            if not done:
                drop(snapshot, disk)


def _state(st: os.stat_result) -> dict[str, int]:
    return {
        "size": st.st_size,
        "mtime_ns": st.st_mtime_ns,
        "ctime_ns": st.st_ctime_ns,
        "inode": st.st_ino,
    }


def _digest(fd: int) -> str:
    digest, place = hashlib.sha256(), 0
    while chunk := os.pread(fd, files.COPY_BYTES, place):
        digest.update(chunk)
        place += len(chunk)
    return digest.hexdigest()


def _link(path: Path, name: Path, disk: files.Os) -> bool:
    """One more name for these bytes; False where the disk can't."""
    try:
        disk.link(path, name)
        return True
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False  # too many links, another disk of a pool, or none at all there


def _aside(snapshot: Path) -> Path:
    return snapshot.with_name(snapshot.name + "-")


# -- its caches ---------------------------------------------------------------------------------------

State = tuple[int, int, int, int]
# Name -> size, mtime, ctime, inode of the scene's own; hash; mtime of the copy.
Entries = dict[str, list[Any]]


def _listed(folder: Path) -> dict[str, State]:
    """The files of a cache. Blender makes no folders there."""
    found: dict[str, State] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or not entry.is_file(follow_symlinks=False):
                    continue
                st = entry.stat(follow_symlinks=False)
                found[entry.name] = (st.st_size, st.st_mtime_ns, st.st_ctime_ns, st.st_ino)
                if len(found) > CACHE_FILES:
                    raise Conflict(
                        "{folder} holds more than {cache_files:,} files: bake it to less.",
                        folder=folder.name,
                        cache_files=CACHE_FILES,
                    )
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return {}  # nor can Blender have made one
        files.fail(error, folder)
    return dict(sorted(found.items()))


def _make_room(ours: Path, before: Mapping[str, State], disk: files.Os) -> None:
    need = sum(state[0] for state in before.values())
    room = os.statvfs(ours.parent)
    if need > room.f_bavail * room.f_frsize:
        raise DiskFull(
            "There is no room for a copy of the simulation ({need} MB).", path=str(ours), need=need >> 20
        )
    disk.mkdir(ours)
    try:
        os.chown(ours, -1, os.stat(ours.parent).st_gid)
    except OSError:
        pass  # not in that group
    os.chmod(ours, files.FOLDER_MODE)


def _shared_caches(ours: Path, before: Mapping[str, State], others: list[Sibling], disk: files.Os) -> Entries:
    """Links to what another job has copied of these very states."""
    found: Entries = {}
    for sibling in others:
        theirs = cache_folder(sibling.beside)
        for name, entry in _known(sibling.folder).items():
            if name in found or before.get(name) != tuple(entry[:4]):
                continue
            try:
                st = os.lstat(theirs / name)
            except OSError:
                break  # it has ended: its copy is gone
            if (st.st_size, st.st_mtime_ns) == (entry[0], entry[5]) and _link(
                theirs / name, ours / name, disk
            ):
                found[name] = list(entry)
        if len(found) == len(before):
            break
    return found


def _known(folder: Path) -> Entries:
    try:
        raw, _ = files.read_bounded(folder / CACHES, MAX_CACHES_BYTES)
        told = encoding.loads(raw)["files"]
        return {
            name: entry
            for name, entry in told.items()
            if isinstance(entry, list) and len(entry) == 6 and "/" not in name and "\0" not in name
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _copy_cache(source: Path, target: Path, state: State, disk: files.Os) -> str:
    """Copy one file of a cache: its hash."""
    reader = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        writer = disk.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            files.copy_content(reader, writer, state[0], disk)
            digest = _digest(writer)
            files.share_with_group(writer, target.parent, CACHE_MODE)
            disk.fsync(writer)
        finally:
            disk.close(writer)
    finally:
        os.close(reader)
    return digest


def _check_still(theirs: Path, before: Mapping[str, State], entries: Entries) -> None:
    """A bake writes one file a frame: what was copied must be all there is, and be what is there now."""
    if _listed(theirs) != before:
        raise _baking(theirs)
    for name, entry in entries.items():
        if entry[5]:
            continue  # linked: its state is that of a copy that was looked at like this
        fd = os.open(theirs / name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if _digest(fd) != entry[4]:
                raise _baking(theirs)
        finally:
            os.close(fd)
    if _listed(theirs) != before:
        raise _baking(theirs)


def _baking(folder: Path) -> Conflict:
    return Conflict(
        "A simulation is being baked into {folder} just now. Submit when the bake is over.",
        path=str(folder),
        folder=folder.name,
    )


def _sum_of(entries: Entries) -> str:
    """One hash for all of a cache: of names and hashes, in order."""
    digest = hashlib.sha256()
    for name, entry in sorted(entries.items()):
        digest.update(f"{entry[4]} {name}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


SiblingsOf = Callable[[str], list[Sibling]]
