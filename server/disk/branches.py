"""What kind of disk a share lies on, as far as noticing changes goes.

mergerfs shows several disks (branches) as one; where this machine sees the branches themselves they can be
watched and read at disk speed. On other network and FUSE mounts inotify tells only of what this machine
does, so they have to be looked at. Only asks, changes nothing.
"""

from __future__ import annotations

import os
from pathlib import Path

from server.disk.paths import SHARE_MARKER

CONTROL_FILE = ".mergerfs"
# The newest first; 2.28 and older say srcmounts.
BRANCH_XATTRS = ("user.mergerfs.branches", "user.mergerfs.srcmounts")
REMOTE = ("fuse", "nfs", "cifs", "smb", "9p", "ceph", "glusterfs", "lustre", "afs", "vboxsf", "virtiofs")


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
    for xattr in BRANCH_XATTRS:
        try:
            value = os.fsdecode(os.getxattr(os.path.join(mount, CONTROL_FILE), xattr))
        except OSError:
            continue
        names = []
        for branch in value.split(":"):
            name, _, mode = branch.rpartition("=")  # /mnt/d1=RW, /mnt/d2=NC,1M; srcmounts name no mode
            names.append(name if name and mode[:2] in ("RW", "RO", "NC") else branch)
        return names
    return []


def _holds(branch: Path, marker: bytes) -> bool:
    try:
        return (branch / SHARE_MARKER).read_bytes() == marker
    except OSError:
        return False
