"""What setting up asks of the machine: mounts, users, programs. Replaced by tests where they need another.

Only asks, changes nothing; `run_as` runs a few lines of shell as another user, which only root can.
"""

from __future__ import annotations

import fnmatch
import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.disk import branches

SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # where an ordinary user's PATH doesn't look
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /etc/fstab or of the kernel's table."""

    source: str
    point: str
    kind: str


class Machine:
    """This machine."""

    fstab = Path("/etc/fstab")
    mountinfo = Path("/proc/self/mountinfo")
    units = Path("/etc/systemd/system")

    # Programs.

    def program(self, name: str) -> str | None:
        return shutil.which(name) or shutil.which(name, path=SBIN)

    def run(
        self, command: Sequence[str], *, timeout_s: float = TIMEOUT_S, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """A program's end; 127 with what was wrong where it can't be run or takes too long."""
        environment = {**os.environ, "LC_ALL": "C.UTF-8", **more}
        try:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                timeout=timeout_s, check=False, env=environment,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            return subprocess.CompletedProcess(list(command), 127, "", str(error))

    def run_as(self, uid: int, gid: int, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Lines of shell as another user with this one group. Needs root unless it is ourselves."""
        command = ["/bin/sh", "-euc", script, "sh", *words]
        ids: dict[str, Any] = {}
        if uid != os.geteuid():
            ids = {"user": uid, "group": gid, "extra_groups": ()}
        try:
            done: subprocess.CompletedProcess[str] = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                timeout=TIMEOUT_S, check=False, umask=0o002, cwd="/", **ids,
            )  # fmt: skip
            return done
        except (OSError, subprocess.SubprocessError) as error:
            return subprocess.CompletedProcess(command, 127, "", str(error))

    def is_root(self) -> bool:
        return os.geteuid() == 0

    # People.

    def user(self, uid: int) -> str:
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return str(uid)

    def uid(self, name: str) -> int | None:
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            return None

    def group(self, gid: int) -> str:
        try:
            return grp.getgrgid(gid).gr_name
        except KeyError:
            return str(gid)

    def members(self, gid: int) -> list[str]:
        """Who is in a group, as far as this machine lists its people (a directory service may not)."""
        try:
            named = list(grp.getgrgid(gid).gr_mem)
        except KeyError:
            named = []
        first = [entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == gid]
        return sorted({*named, *first})

    def groups_of(self, uid: int) -> set[int]:
        """The groups of a user; of ourselves, those that this process has."""
        if uid == os.geteuid():
            return {os.getegid(), *os.getgroups()}
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return set()
        return set(os.getgrouplist(entry.pw_name, entry.pw_gid))

    # Mounts.

    def mounted(self) -> list[Mount]:
        """What is mounted now, the last on top."""
        found = []
        for line in _lines(self.mountinfo):
            before, _, after = line.partition(" - ")
            words, rest = before.split(), after.split()
            if len(words) > 4 and len(rest) > 1:
                found.append(Mount(_plain(rest[1]), _plain(words[4]), rest[0]))
        return found

    def wanted(self) -> list[Mount]:
        """What /etc/fstab says should be mounted."""
        found = []
        for line in _lines(self.fstab):
            words = line.split("#")[0].split()
            if len(words) > 2 and words[1].startswith("/") and words[2] != "swap":
                found.append(Mount(_plain(words[0]), os.path.normpath(_plain(words[1])), words[2]))
        return found

    def filesystem(self, path: Path) -> str:
        return branches.filesystem_of(path)

    def free(self, path: Path) -> tuple[int, int]:
        """Bytes that are free for ordinary users, and all."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize

    def disks_of_pools(self) -> Iterator[tuple[str, str]]:
        """(disk, pool) of every mergerfs pool that is mounted or should be."""
        for mount in self.mounted():
            if mount.kind == "fuse.mergerfs":
                for name in branches.branch_names(mount.point):
                    yield os.path.realpath(name), mount.point
        for mount in self.wanted():
            if "mergerfs" in mount.kind:
                for pattern in mount.source.split(":"):
                    yield pattern.rpartition("=")[0] or pattern, mount.point


def is_within(path: str, folder: str) -> bool:
    """Whether a path is the folder or lies in it; the folder may hold wildcards, as in /etc/fstab."""
    wanted, parts = folder.rstrip("/").split("/"), path.split("/")
    return len(parts) >= len(wanted) and all(
        fnmatch.fnmatchcase(part, pattern) for part, pattern in zip(parts, wanted, strict=False)
    )


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def _plain(word: str) -> str:
    """As the kernel and fstab write a space: \\040."""
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\134", "\\")):
        word = word.replace(code, letter)
    return word
