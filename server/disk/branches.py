"""What kind of disk a share lies on, as far as noticing changes goes.

mergerfs shows several disks (branches) as one; where this machine sees the branches themselves they can be
watched and read at disk speed. On other network and FUSE mounts inotify tells only of what this machine
does, so they have to be looked at. Only asks, changes nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from server.disk.paths import SHARE_MARKER

CONTROL_FILE = ".mergerfs"
# The newest first; 2.28 and older say srcmounts.
BRANCH_XATTRS = ("user.mergerfs.branches", "user.mergerfs.srcmounts")
REMOTE = ("fuse", "nfs", "cifs", "smb", "9p", "ceph", "glusterfs", "lustre", "afs", "vboxsf", "virtiofs")


@dataclass(frozen=True, slots=True)
class Pool:
    """A mergerfs pool, as far as it matters where new files go."""

    mount: Path
    branches: tuple[tuple[Path, bool], ...]  # each with whether new files may go there
    policy: str  # of creating files: mfs, epmfs, ff …
    least_bytes: int  # a branch with less room gets no new files

    @property
    def keeps_paths(self) -> bool:
        """Do new files go only to branches that have their folder already?"""
        return self.policy.startswith("ep")


def branches_of(root: Path) -> tuple[Path, ...]:
    """The folders that together are `root` when it lies on a mergerfs pool, in the pool's order.

    Empty when it doesn't, or when this machine doesn't see every one of them: inside a container the
    pool's paths may lead elsewhere, so the share's marker has to be found in one of them.
    """
    mount = mount_point(root)
    names = branch_names(mount)
    if not names:
        return ()
    inside = os.path.relpath(os.path.realpath(root), mount)
    branches = tuple(Path(name) if inside == "." else Path(name, inside) for name in names)
    if not all(os.path.isdir(name) for name in names):
        return ()
    try:
        marker = (root / SHARE_MARKER).read_bytes()
    except OSError:
        return ()
    return branches if any(_holds(branch, marker) for branch in branches) else ()


def pool_of(root: Path) -> Pool | None:
    """How the pool that `root` lies on gives new files a place; None where this is no pool."""
    mount = mount_point(root)
    parts: list[tuple[Path, bool]] = []
    for branch in _branch_texts(mount):
        name, mode = _split_mode(branch)
        parts.append((Path(name), mode in ("", "RW")))
    if not parts:
        return None
    least = _control(mount, "user.mergerfs.minfreespace")
    policy = _control(mount, "user.mergerfs.func.create") or _control(mount, "user.mergerfs.category.create")
    return Pool(Path(mount), tuple(parts), policy, int(least) if least.isdigit() else 0)


def is_remote(root: Path) -> bool:
    """Whether changes may happen there that inotify on this machine doesn't tell of."""
    return filesystem_of(root).startswith(REMOTE)


def mount_point(path: Path) -> str:
    """The mount that a path lies on."""
    here = os.path.realpath(path)
    while not os.path.ismount(here):
        here = os.path.dirname(here)
    return here


def filesystem_of(path: Path) -> str:
    """The kernel's name of the file system: `ext4`, `fuse.mergerfs`, `nfs4`; empty when unknown."""
    mount = mount_point(path)
    found = ""
    try:
        with open("/proc/self/mountinfo", "rb") as lines:
            for line in lines:
                before, _, after = line.partition(b" - ")
                name = before.split(b" ")[4].decode("unicode_escape").encode("latin-1")
                if os.fsdecode(name) == mount:
                    found = after.split(b" ")[0].decode("ascii", "replace")  # the last one lies on top
    except (OSError, IndexError):
        return ""
    return found


def branch_names(mount: str) -> list[str]:
    """The folders that a mounted pool is made of; empty for what is none."""
    return [_split_mode(branch)[0] for branch in _branch_texts(mount)]


def _branch_texts(mount: str) -> list[str]:
    for xattr in BRANCH_XATTRS:
        value = _control(mount, xattr)
        if value:
            return value.split(":")
    return []


def _split_mode(branch: str) -> tuple[str, str]:
    """/mnt/d1=RW, /mnt/d2=NC,1M; srcmounts name no mode."""
    name, _, mode = branch.rpartition("=")
    return (name, mode[:2]) if name and mode[:2] in ("RW", "RO", "NC") else (branch, "")


def _control(mount: str, xattr: str) -> str:
    """What mergerfs says of itself; "" where it isn't one."""
    try:
        return os.fsdecode(os.getxattr(os.path.join(mount, CONTROL_FILE), xattr))
    except OSError:
        return ""


def _holds(branch: Path, marker: bytes) -> bool:
    try:
        return (branch / SHARE_MARKER).read_bytes() == marker
    except OSError:
        return False
