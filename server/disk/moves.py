"""Renames across folders that end up whole, on one disk and on a mergerfs pool.

On a pool a file's rename may answer EXDEV, and a folder's may move one branch's half and report success.
So: make the target's parents on the source's branches, rename, look at what came of it, and copy, check,
delete what is left. Never onto something that exists. After a failure everything is at one of the two
places, whole; moving again finishes it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from server.disk import files
from server.disk.errors import Conflict, DiskError, NotFound

ANOTHER_DISK = {errno.EXDEV, errno.ENOTSUP, errno.ENOENT}  # ENOENT: a parent is missing on that branch


def move(
    source: Path, target: Path, *, root: Path, branches: Sequence[Path] = (), disk: files.Os = files.REAL
) -> None:
    """Move a file or folder within the share at `root`; Conflict when the target is there already."""
    try:
        _move(source, target, root, branches, disk, merge=False)
        files.sync_folder(target.parent, disk)
        if source.parent != target.parent:
            files.sync_folder(source.parent, disk)
    except FileNotFoundError as error:
        raise NotFound("{source} is gone.", path=str(source), source=source) from error
    except OSError as error:
        files.fail(error, target)


def resume(
    source: Path, target: Path, *, root: Path, branches: Sequence[Path] = (), disk: files.Os = files.REAL
) -> None:
    """Finish a move that was interrupted: what is at the target already stays, the rest follows it.

    Conflict when somebody put other content at the source meanwhile; both stay.
    """
    try:
        if os.path.lexists(source):
            _move(source, target, root, branches, disk, merge=True)
            files.sync_folder(target.parent, disk)
    except OSError as error:
        files.fail(error, target)


def place(source: Path, target: Path, *, disk: files.Os = files.REAL) -> None:
    """Give a finished file of the same folder its name; Conflict when that name is taken.

    Not a rename: that would replace what somebody put there a moment ago.
    """
    try:
        try:
            disk.link(source, target)
        except FileExistsError:
            raise Conflict("{target} is there already.", path=str(target), target=target.name) from None
        except OSError as error:
            if error.errno not in files.NO_LINKS:
                raise
            # A disk without links. Race: a microsecond between the look and the rename is left unguarded.
            if os.path.lexists(target):
                raise Conflict("{target} is there already.", path=str(target), target=target.name) from None
            disk.rename(source, target)
        else:
            disk.unlink(source)
        files.sync_folder(target.parent, disk)
    except OSError as error:
        files.fail(error, target)


def _move(
    source: Path, target: Path, root: Path, branches: Sequence[Path], disk: files.Os, *, merge: bool
) -> None:
    st = os.lstat(source)
    if os.path.lexists(target) and not merge:
        raise Conflict("{target} is there already.", path=str(target), target=target)
    if stat.S_ISDIR(st.st_mode):
        _move_folder(source, target, root, branches, disk)
    else:
        _move_file(source, target, root, branches, disk)


def _move_file(source: Path, target: Path, root: Path, branches: Sequence[Path], disk: files.Os) -> None:
    if os.path.lexists(target):
        # Only when resuming: the copy was made, the original not yet deleted.
        if source.is_symlink() or _hash(source) == _hash(target):
            disk.unlink(source)
            return
        raise Conflict(
            "{target} is there already, with another content than {source}.",
            path=str(target),
            target=target,
            source=source,
        )
    try:
        disk.rename(source, target)
        return
    except OSError as error:
        if error.errno not in ANOTHER_DISK or not os.path.lexists(source):
            raise
    if _make_parents(source, target, root, branches):
        try:
            disk.rename(source, target)
            return
        except OSError as error:
            if error.errno not in ANOTHER_DISK or not os.path.lexists(source):
                raise
    _copy(source, target, disk)
    disk.unlink(source)


def _move_folder(source: Path, target: Path, root: Path, branches: Sequence[Path], disk: files.Os) -> None:
    before = list(_walk(source))
    _make_parents(source, target, root, branches)
    if not os.path.lexists(target):
        try:
            disk.rename(source, target)
        except OSError as error:
            if error.errno not in (*ANOTHER_DISK, errno.EEXIST, errno.ENOTEMPTY):
                raise
    # Success may mean that one branch's half moved: go by what is there, not by what was answered.
    if os.path.lexists(source):
        _make_like(source, target, disk)
        for name in sorted(os.listdir(source)):
            _move(source / name, target / name, root, branches, disk, merge=True)
        try:
            disk.rmdir(source)
        except FileNotFoundError:
            pass  # the last rename took it along
    missing = [inside for inside in before if not os.path.lexists(target / inside)]
    if missing or os.path.lexists(source):
        what = missing[0] if missing else source.name
        raise DiskError(
            "{source} was moved to {target}, but not all of it came along ({what}). Nothing was deleted.",
            path=str(target),
            source=source,
            target=target,
            what=what,
        )


def _walk(folder: Path) -> Iterator[str]:
    """Everything below a folder, as relative paths."""
    for at, folders, names in os.walk(folder):
        base = os.path.relpath(at, folder)
        for name in (*folders, *names):
            yield os.path.normpath(os.path.join(base, name))


def _make_parents(source: Path, target: Path, root: Path, branches: Sequence[Path]) -> bool:
    """Make the target's parent on every branch that holds the source. Whether there is such a branch."""
    try:
        inside, parent = source.relative_to(root), target.parent.relative_to(root)
    except ValueError:
        return False
    found = False
    for branch in branches:
        if not os.path.lexists(branch / inside):
            continue
        found = True
        place, here = branch, root
        for part in parent.parts:
            place, here = place / part, here / part
            if place.is_dir():
                continue
            like = here.stat()
            try:
                os.mkdir(place)
                os.chmod(place, stat.S_IMODE(like.st_mode))
                os.chown(place, like.st_uid, like.st_gid)
            except FileExistsError:
                continue  # Race: mergerfs cloned it there meanwhile.
            except PermissionError:
                break  # a server that isn't root may own nothing on the disks themselves: it copies
    return found


def _make_like(source: Path, target: Path, disk: files.Os) -> None:
    """The target folder, with the source's mode and group."""
    st = os.stat(source)
    try:
        disk.mkdir(target)
    except FileExistsError:
        return
    try:
        os.chown(target, -1, st.st_gid)
        os.chmod(target, stat.S_IMODE(st.st_mode))
    except OSError:
        pass  # not in that group: it is still there and ours


def _copy(source: Path, target: Path, disk: files.Os) -> None:
    """A checked copy under the target's name, whole from its first moment."""
    if source.is_symlink():
        os.symlink(os.readlink(source), target)
        return
    aside = files.temporary(target.parent)
    done = False
    try:
        copied = hashlib.blake2b()
        with open(source, "rb") as reader:
            st = os.fstat(reader.fileno())
            fd = disk.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
            try:
                while chunk := reader.read(files.COPY_BYTES):
                    copied.update(chunk)
                    files.write_all(fd, chunk, disk)
                files.share_with_group(fd, target.parent, stat.S_IMODE(st.st_mode))
                disk.fsync(fd)
            finally:
                disk.close(fd)
        shutil.copystat(source, aside)
        if _hash(aside) != copied.digest():
            raise OSError(errno.EIO, "the copy differs from what was copied")
        now = os.stat(source)
        if (now.st_size, now.st_mtime_ns, now.st_ino) != (st.st_size, st.st_mtime_ns, st.st_ino):
            raise OSError(errno.EBUSY, "it changed while it was copied")
        # Copying takes a while: somebody may have saved a file of that name meanwhile, which stays.
        place(aside, target, disk=disk)
        done = True
    finally:
        if not done and os.path.lexists(aside):
            os.unlink(aside)


def _hash(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()
