"""What a share's disk can do, tried out at the start; and the marker that says which share it is.

Each probe works in a folder of its own among the locks and leaves nothing. The lock class names how locks
are taken through this kind of mount: `flock` through a pool or a network mount doesn't exclude `flock`
on the disks below, so servers that mount a share differently must not both write to it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from server.disk import files, paths
from server.disk.branches import filesystem_of
from server.disk.errors import CroftError, DiskFull, NotFound, ReadOnly, broken
from server.disk.speech import say

_LOCAL = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "bcachefs", "tmpfs", "overlay"}
_LOCAL |= {"exfat", "vfat", "ntfs3", "fuseblk"}
_NETWORK = {"nfs": "nfs", "nfs4": "nfs", "cifs": "smb", "smb3": "smb", "smbfs": "smb"}
_ODD_NS = 1_234_567_891_123_456_789  # a time with something in each digit


@dataclass(frozen=True)
class Probe:
    """What was found (on a full disk, no more than what can be read). `why` says what forbids writing."""

    file_system: str = ""
    lock_class: str = ""
    exclusion: bool = False
    mtime_step_ns: int = 0
    case_sensitive: bool = True
    replaces: bool = False
    symlinks: bool = False
    hard_links: bool = False
    free_bytes: int = 0
    branches: int = 0
    why: str = ""

    def line(self) -> str:
        """For the log."""
        return ", ".join(f"{name} {value}" for name, value in asdict(self).items() if value != "")


def probe(root: Path, branches: int = 0) -> Probe:
    """Try the disk out. Never raises: what can't be written to says so in `why`."""
    file_system = filesystem_of(root) or "unknown"
    free = os.statvfs(root)
    found = Probe(
        file_system, lock_class(file_system), free_bytes=free.f_bavail * free.f_frsize, branches=branches
    )
    folder = root / paths.LOCKS / f".probe-{secrets.token_hex(6)}"
    try:
        files.make_folders(folder, root)
    except DiskFull:
        return found  # for now: who makes room must not have to start Croft again
    except ReadOnly:
        return _replace(
            found, why=say("the disk is mounted read-only, or this server's user may not write there")
        )
    except (CroftError, OSError) as error:
        return _replace(found, why=say("nothing can be written there: {why}", why=str(error).rstrip(".")))
    try:
        return _try_out(folder, found)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return found
        return _replace(found, why=say("the disk answered '{why}' when it was tried out", why=error.strerror))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _try_out(folder: Path, found: Probe) -> Probe:
    one, two = folder / "Probe", folder / "other"
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    excludes = _excludes(one)
    case_sensitive = not (folder / "probe").exists()
    os.utime(one, ns=(_ODD_NS, _ODD_NS))
    off = abs(os.stat(one).st_mtime_ns - _ODD_NS)
    step = 1 if off == 0 else 10 ** len(str(off))
    os.replace(two, one)
    replaces = one.read_bytes() == b"2" and not two.exists()
    symlinks = _works(lambda: os.symlink("Probe", folder / "symlink"))
    hard_links = _works(lambda: os.link(one, folder / "link"))
    why = ""
    if not excludes:
        why = say("its locks don't exclude anybody")
    elif not replaces:
        why = say("it can't replace a file by another in one step")
    return _replace(
        found,
        exclusion=excludes,
        mtime_step_ns=step,
        case_sensitive=case_sensitive,
        replaces=replaces,
        symlinks=symlinks,
        hard_links=hard_links,
        why=why,
    )


def _replace(probe: Probe, **facts: object) -> Probe:
    return Probe(**{**asdict(probe), **facts})


def _excludes(path: Path) -> bool:
    """Whether a second opening of a locked file can't lock it."""
    with open(path, "rb+") as first, open(path, "rb+") as second:
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in (errno.EWOULDBLOCK, errno.EACCES)
        return False


def _works(action: object) -> bool:
    try:
        action()  # type: ignore[operator]
    except OSError:
        return False
    return True


def lock_class(file_system: str) -> str:
    """How locks are taken through this kind of mount."""
    if file_system in _LOCAL:
        return "flock"
    return "flock-" + _NETWORK.get(file_system, file_system.removeprefix("fuse."))


# The marker.

NOTE = "Marks this folder as a share of Croft's. Without this file the share counts as not mounted."


@dataclass(frozen=True, slots=True)
class Marker:
    """`.croft-share.json`: which share this is, and how it is locked."""

    id: str
    name: str = ""
    locks: str = ""


def read_marker(root: Path) -> Marker | None:
    """The share's marker; None when there is none. Broken when it can't be read."""
    path = root / paths.SHARE_MARKER
    try:
        raw, _ = files.read_bounded(path, 1 << 16)
        data = json.loads(raw.decode("utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise broken(path, str(error)) from error
    if not isinstance(data, dict) or not isinstance(data.get("id"), str) or not data["id"]:
        raise broken(path, "it holds no id")
    locks = data.get("locks")
    return Marker(data["id"], str(data.get("name", "")), locks if isinstance(locks, str) else "")


def first_marker(root: Path, name: str, *, disk: files.Os = files.REAL) -> Marker:
    """Make the marker of a new share; another server's, if that was first."""
    data = {"schema": 1, "id": secrets.token_hex(16), "name": name, "note": NOTE}
    files.write_once(root / paths.SHARE_MARKER, _text(data), disk=disk)
    marker = read_marker(root)
    if marker is None:
        raise NotFound("The marker of {root} is gone again.", path=str(root), root=root)
    return marker


def write_marker(root: Path, marker: Marker, *, disk: files.Os = files.REAL) -> None:
    """Complete the marker; what else a person wrote there stays."""
    path = root / paths.SHARE_MARKER
    try:
        data = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError):
        data = {}
    data = {**data, "schema": 1, "id": marker.id, "name": marker.name, "locks": marker.locks}
    files.write_atomic(path, _text(data), disk=disk)


def _text(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")
