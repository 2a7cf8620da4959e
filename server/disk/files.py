"""Bytes onto a disk, whole or not at all.

Everything that Croft writes goes through an `Os`, so that a test can make the n-th `write`, `fsync` or
`replace` fail. Knows nothing of shares, sidecars or journals. What is made here can be moved and deleted
by the users of the folder's group.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import secrets
import stat
from pathlib import Path
from typing import Any, NoReturn

from server.disk.errors import Conflict, CroftError, DiskError, DiskFull, NotFound, ReadOnly
from server.disk.records import Stat

FILE_MODE = 0o664
FOLDER_MODE = 0o2775  # setgid: what is made inside belongs to the folder's group
OWN_MODE = 0o2755  # of folders whose content nobody but Croft's own user changes
HELD_MODE = 0o3775  # of those where the group adds files, and takes away or renames its own alone
TEMPORARY = ".croft-tmp-"  # a dot-file: listings, scans and Samba's clients skip it
COPY_BYTES = 1 << 20

FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)
EXCHANGE = 2  # linux/fs.h: RENAME_EXCHANGE
AT_FDCWD = -100

NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
_NO_CLONE = {*NO_LINKS, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.EBADF, errno.ETXTBSY}
NO_EXCHANGE = {*NO_LINKS, errno.EINVAL, errno.EXDEV}
_NO_FOLDER_FSYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}  # some network file systems


class Os:
    """The disk functions that Croft writes with: the real ones."""

    def open(self, path: str | Path, flags: int, mode: int = FILE_MODE) -> int:
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        return os.write(fd, data)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def replace(self, source: str | Path, target: str | Path) -> None:
        os.replace(source, target)

    def rename(self, source: str | Path, target: str | Path) -> None:
        os.rename(source, target)

    def link(self, source: str | Path, target: str | Path) -> None:
        os.link(source, target, follow_symlinks=False)

    def unlink(self, path: str | Path) -> None:
        os.unlink(path)

    def mkdir(self, path: str | Path) -> None:
        os.mkdir(path)

    def rmdir(self, path: str | Path) -> None:
        os.rmdir(path)

    def clone(self, source: int, target: int) -> None:
        """The whole content, sharing its blocks, where the file system can (btrfs, XFS)."""
        fcntl.ioctl(target, FICLONE, source)

    def copy_range(self, source: int, target: int, count: int) -> int:
        return os.copy_file_range(source, target, count)

    def exchange(self, one: str | Path, other: str | Path) -> None:
        """Swap two names in one step, where the file system can."""
        rename = _renameat2()
        if rename is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        if rename(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), EXCHANGE):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(one))


@functools.cache
def _renameat2() -> Any:
    """The C library's function, which Python doesn't offer; None where there is none."""
    try:
        function = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return function


REAL = Os()


def translate(error: OSError, path: str | Path) -> CroftError:
    """The sentence for what the disk answered."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            "The disk is full, {path} was not written. Make room (old/ folders, versions) and try again.",
            path=str(path),
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return ReadOnly(
            "This server may not write {path} ({why}). Give its user the right to.",
            path=str(path),
            why=error.strerror,
        )
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NotFound("The folder of {path} is gone.", path=str(path))
    if error.errno == errno.ENAMETOOLONG:
        return Conflict("The name of {path} is too long for this disk.", path=str(path))
    return DiskError(
        "The disk answered '{why}' for {path}.",
        path=str(path),
        errno=error.errno,
        why=error.strerror,
    )


def fail(error: OSError, path: str | Path) -> NoReturn:
    """Raise what `translate` says."""
    raise translate(error, path) from error


def temporary(folder: Path) -> Path:
    """A new name in this folder that listings skip."""
    return folder / f"{TEMPORARY}{secrets.token_hex(8)}"


def write_all(fd: int, data: bytes | memoryview, disk: Os = REAL) -> None:
    """Write everything, or raise what the disk says: one `write` may take only a part of it."""
    view = memoryview(data)
    while view:
        count = disk.write(fd, view)
        if count <= 0:
            raise OSError(errno.EIO, "wrote nothing")
        view = view[count:]


def share_with_group(fd: int, folder: str | Path, mode: int = FILE_MODE) -> None:
    """Give an open file its mode and the group of its folder (the umask must not keep students out).

    In a folder that is closed to the group, as a published version's, it can't write into files either.
    """
    above = os.stat(folder)
    wanted = above.st_gid
    if not above.st_mode & stat.S_IWGRP:
        mode &= ~stat.S_IWGRP
    now = os.fstat(fd)
    if now.st_gid != wanted:
        try:
            os.fchown(fd, -1, wanted)
        except OSError:
            pass  # not in that group: the folder isn't ours to hand over
    if stat.S_IMODE(now.st_mode) != mode:
        try:
            os.fchmod(fd, mode)
        except OSError:
            pass  # a file system without modes


def write_atomic(
    path: Path, data: bytes, *, disk: Os = REAL, mode: int = FILE_MODE, flush: bool = True, last: bool = True
) -> os.stat_result:
    """The old content or the new, on a full disk and after a power cut too. Returns the new file's stat.
    Without `flush` for what can be had again, and is told from what a power cut leaves of it. Without `last`
    it may be the old one still after a power cut, until the caller flushes the folder.

    A failure after the replacement (the folder's fsync) raises as well: the new content is there then,
    but a power cut may still bring back the old.
    """
    folder = path.parent
    aside = temporary(folder)
    try:
        fd = disk.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    except OSError as error:
        fail(error, path)
    replaced = False
    try:
        try:
            share_with_group(fd, folder, mode)
            write_all(fd, data, disk)
            if flush:
                disk.fsync(fd)
            result = os.fstat(fd)
        finally:
            disk.close(fd)
        disk.replace(aside, path)
        replaced = True
        if flush and last:
            sync_folder(folder, disk)
    except OSError as error:
        fail(error, path)
    finally:
        if not replaced:
            _forget(aside)
    return result


def write_once(path: Path, data: bytes, *, disk: Os = REAL, mode: int = FILE_MODE) -> bytes:
    """Make a file, whole in one step, unless another process was first. Returns what is there then."""
    aside = temporary(path.parent)
    try:
        fd = disk.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            share_with_group(fd, path.parent, mode)
            write_all(fd, data, disk)
            disk.fsync(fd)
        finally:
            disk.close(fd)
        try:
            disk.link(aside, path)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if not os.path.lexists(path):
                disk.rename(aside, path)
        sync_folder(path.parent, disk)
        return path.read_bytes()
    except OSError as error:
        fail(error, path)
    finally:
        _forget(aside)


def copy_content(source: int, target: int, size: int, disk: Os = REAL) -> int:
    """The bytes of one open file into another, empty one: shared blocks where the disk can, else in the
    kernel, else by reading and writing. How many came; `size` at most, however long it grows. Not flushed."""
    try:
        disk.clone(source, target)
        return os.fstat(target).st_size
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
    count = 0
    try:
        while count < size and (
            copied := disk.copy_range(source, target, min(size - count, COPY_BYTES << 6))
        ):
            count += copied
    except OSError as error:
        if error.errno not in _NO_CLONE:
            raise
    # What is left, which is all of it where the kernel can't; some file systems give 0 for what they can't.
    while count < size and (chunk := os.pread(source, min(size - count, COPY_BYTES), count)):
        os.lseek(target, count, os.SEEK_SET)
        write_all(target, chunk, disk)
        count += len(chunk)
    return count


def copy_aside(source: Path, aside: Path, *, disk: Os = REAL, mode: int = FILE_MODE) -> Stat:
    """A flushed copy under a new name that listings skip. The state of what was copied.

    Never a hard link: who writes into one must not write into the other. Conflict while somebody writes
    into the source. The copy keeps the source's time.
    """
    folder = aside.parent
    done = False
    try:
        reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            before = os.fstat(reader)
            if not stat.S_ISREG(before.st_mode):
                raise Conflict(
                    "{source} is no plain file: it can't be copied.", path=str(source), source=source.name
                )
            writer = disk.open(aside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
            try:
                count = copy_content(reader, writer, before.st_size, disk)
                after = os.fstat(reader)
                if Stat.of(after).content != Stat.of(before).content or count != before.st_size:
                    raise Conflict(
                        "{source} is being written just now. Try again in a moment.",
                        path=str(source),
                        source=source.name,
                    )
                share_with_group(writer, folder, mode)
                os.utime(writer, ns=(before.st_atime_ns, before.st_mtime_ns))
                disk.fsync(writer)
            finally:
                disk.close(writer)
        finally:
            os.close(reader)
        done = True
        return Stat.of(before)
    except FileNotFoundError as error:
        raise NotFound("{source} is gone.", path=str(source), source=source) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Conflict(
                "{source} is a link: go to the file that it leads to.", source=source.name
            ) from error
        fail(error, folder / source.name)
    finally:
        if not done:
            _forget(aside)


def sync_folder(folder: str | Path, disk: Os = REAL) -> None:
    """Make renames in this folder last."""
    fd = disk.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        disk.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_FOLDER_FSYNC:
            raise
    finally:
        disk.close(fd)


def make_folders(folder: Path, root: Path, *, disk: Os = REAL, mode: int = FOLDER_MODE) -> None:
    """Make `folder` and its parents below `root` (which must be there), each for its parent's group."""
    try:
        _make_folders(folder, root, disk, mode)
    except OSError as error:
        fail(error, folder)


def _make_folders(folder: Path, root: Path, disk: Os, mode: int) -> None:
    if folder == root or folder.is_dir():
        return
    if root not in folder.parents:
        raise OSError(errno.ENOENT, "outside its root")
    _make_folders(folder.parent, root, disk, mode)
    try:
        disk.mkdir(folder)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return  # Race: another process made it between the look and now.
    group = os.stat(folder.parent).st_gid
    try:
        if os.stat(folder).st_gid != group:
            os.chown(folder, -1, group)
        os.chmod(folder, mode)
    except OSError:
        pass  # not in that group, or a file system without modes
    sync_folder(folder.parent, disk)


def read_bounded(path: str | Path, limit: int) -> tuple[bytes, os.stat_result]:
    """A regular file's bytes and its stat; OSError(EFBIG) beyond the limit, never a wait on a pipe."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        st = os.fstat(fd)
        if stat.S_ISDIR(st.st_mode):
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        if not stat.S_ISREG(st.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if st.st_size > limit:
            raise OSError(errno.EFBIG, f"it is {st.st_size} bytes long, at most {limit} are read", str(path))
        data = os.read(fd, st.st_size + 1)
        if len(data) == st.st_size:
            return data, st
        # Race: it grew or shrank meanwhile, or one read didn't give all of it.
        parts, count = [data], len(data)
        while data and count <= limit:
            data = os.read(fd, COPY_BYTES)
            parts.append(data)
            count += len(data)
        if count > limit:
            raise OSError(errno.EFBIG, f"it is longer than {limit} bytes", str(path))
        return b"".join(parts), os.fstat(fd)
    finally:
        os.close(fd)


def _forget(path: Path) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # never made, or the disk is beyond this: `check` names what was left
