"""Disks that are full or can't be written to, and clocks that are wrong.

Asks the kernel alone (statvfs, clocks): nothing is read from a disk, and nothing written. Each disk of a
pool is looked at by itself: one that is full or failed breaks writing for some files and not for others.
"""

from __future__ import annotations

import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from server.disk import faults, paths
from server.disk.paths import Share
from server.disk.records import Problem
from server.disk.speech import count, say

LOW_BYTES = 1 << 30  # less room than this is told as full
SOON_BYTES = 10 << 30  # and less than this, if it is also less than SOON_SHARE of the disk, as nearly full
SOON_SHARE = 0.05
OLD_DAYS = 30  # deletions that are older are what an admin may do without
JUMP_S = 30.0  # steps of the clock that matter
SHARE_OFF_S = 10.0  # of a share's clock; some count in steps of two seconds
JUMP_TOLD_S = 3600.0
MAKE_ROOM = say("Delete old renders, empty old/ folders, or add a disk.")
EMPTY_OLD = r".*/old/[0-9]{8}-[0-9]{6}-[0-9a-f]{6}"

Room = Callable[[Path], os.statvfs_result]


def disks(share: Share, room: Room = os.statvfs) -> Iterator[Problem]:
    """What is the matter with the disks of a share that is here."""
    address = paths.address(share.name)
    whole = _look(share.root, room)
    if whole is not None:
        yield from _fullness(share, share.root, whole, say("The share {share}", share=share.name), address)
        if whole.f_flag & os.ST_RDONLY and not share.read_only:
            yield _read_only(share.root, say("The disk of the share {share}", share=share.name), address)
    for branch in share.branches:
        found = _look(branch, room)
        if found is None:
            continue
        place = f"{address}#{branch}"
        if found.f_flag & os.ST_RDONLY:
            yield _read_only(
                branch, say("{branch}, a disk of the share {share},", branch=branch, share=share.name), place
            )
        elif free(found) < LOW_BYTES and whole is not None and free(whole) >= LOW_BYTES:
            # Where the whole pool is full this says nothing new.
            text = say(
                "{branch}, a disk of the share {share}, has {size} left. Others have room: new files "
                "go there; what lies here can’t grow.",
                branch=branch,
                share=share.name,
                size=size(free(found)),
            )
            yield _of_share(
                "full", place, text, say("Move some of it to another disk of the pool."), severity="warning",
                command=_empty(branch),
            )  # fmt: skip


def free(found: os.statvfs_result) -> int:
    """Bytes that people may still write."""
    return found.f_bavail * found.f_frsize


def size(count: int) -> str:
    """`700 MB`, `3.2 GB`."""
    return say("{n} MB", n=count >> 20) if count < 1 << 30 else say("{n:.1f} GB", n=count / (1 << 30))


def _look(path: Path, room: Room) -> os.statvfs_result | None:
    try:
        return room(path)
    except OSError:
        return None  # gone: told as away, or as a disk that isn't mounted


def _fullness(
    share: Share, root: Path, found: os.statvfs_result, what: str, address: str
) -> Iterator[Problem]:
    left, whole = free(found), found.f_blocks * found.f_frsize
    if left < LOW_BYTES:
        text = say("{what} has {size} left: saving and rendering will fail.", what=what, size=size(left))
        yield _of_share("full", address, text, MAKE_ROOM, command=_empty(root))
    elif left < SOON_BYTES and left < whole * SOON_SHARE:
        text = say(
            "{what} is nearly full: {left} of {whole} are left.",
            what=what,
            left=size(left),
            whole=size(whole),
        )
        yield _of_share("full", address, text, MAKE_ROOM, severity="warning", command=_empty(root))


def _read_only(path: Path, what: str, address: str) -> Problem:
    text = say("{what} can only be read now. The kernel does this to a disk that fails.", what=what)
    mend = say("Look at what the kernel says (dmesg) before you let it be written to again.")
    return _of_share(
        "read-only", address, text, mend, command=f"sudo mount -o remount,rw {shlex.quote(str(path))}"
    )


def _of_share(kind: str, place: str, text: str, mend: str, **more: str) -> Problem:
    """A problem of a share: its address is the share's, its id the disk's."""
    address, _, _ = place.partition("#")
    found = faults.problem(kind, address, text, mend, **more)
    return Problem(
        f"{kind}:{place}", kind, address, text, mend, severity=found.severity, command=found.command
    )


def _empty(root: Path) -> str:
    """What takes away deletions and earlier saves of more than a month ago."""
    place = shlex.quote(str(root))
    regex = f"-regextype posix-extended -regex '{EMPTY_OLD}'"
    return f"find {place} -type d {regex} -mtime +{OLD_DAYS} -prune -exec rm -r {{}} +"


@dataclass(slots=True)
class _Jump:
    """A step of the clock, in seconds, and when it was noticed."""

    step_s: float
    at: float


class Clocks:
    """The server's clock against one that nobody can set, and each share's against the server's."""

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        self._wall, self._steady = wall, steady
        self._guard = threading.Lock()
        self._offset = wall() - steady()
        self._jump: _Jump | None = None
        self._off: dict[str, float] = {}  # share -> how far its clock is ahead

    def wrote(self, share: str, mtime_s: float) -> None:
        """A file of this share was written just now, and got this time."""
        off = mtime_s - self._wall()
        if abs(off) > SHARE_OFF_S:
            self._off[share] = off
        else:
            self._off.pop(share, None)

    def accept(self) -> None:
        """A person says that the time is right now."""
        with self._guard:
            self._offset = self._wall() - self._steady()
            self._jump = None

    def problems(self) -> Iterator[Problem]:
        """A clock that jumped, for an hour or until it jumps back; shares whose clock is off."""
        step_s = self._step_s()
        if abs(step_s) > JUMP_S:
            yield Problem(
                "clock:server",
                "clock",
                "",
                say(
                    "The server’s clock was set ahead by {time}. What was saved or rendered around then may "
                    "show in the wrong order."
                    if step_s > 0
                    else "The server’s clock was set back by {time}. What was saved or rendered around then "
                    "may show in the wrong order.",
                    time=duration(step_s),
                ),
                say("If the time is right now, all is well: say so. Let it be set by a time server."),
                (faults.mending(say("The time is right now"), "accept-clock", "", "admin"),),
                command="sudo timedatectl set-ntp true",
            )
        for share, off in sorted(self._off.items()):
            yield Problem(
                f"clock:{share}",
                "clock",
                paths.address(share),
                say(
                    "The clock of the disk that the share {share} lies on is {time} ahead of the server’s: "
                    "files that are saved there get wrong times."
                    if off > 0
                    else "The clock of the disk that the share {share} lies on is {time} behind the "
                    "server’s: files that are saved there get wrong times.",
                    share=share,
                    time=duration(off),
                ),
                say("Let both be set by the same time server; then look again."),
                (faults.mending(say("Look again"), "look-at-clock", paths.address(share)),),
                command="sudo timedatectl set-ntp true",
            )

    def _step_s(self) -> float:
        with self._guard:
            now = self._steady()
            step_s = self._wall() - now - self._offset
            if abs(step_s) <= JUMP_S:
                self._jump = None
            elif self._jump is None or abs(self._jump.step_s - step_s) > JUMP_S:
                self._jump = _Jump(step_s, now)
            elif now - self._jump.at > JUMP_TOLD_S:
                self._offset += step_s
                self._jump = None
                return 0.0
            return step_s


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h`, `2 days`."""
    long = abs(seconds)
    if long < 120:
        return say("{n} s", n=round(long))
    if long < 7200:
        return say("{minutes} min", minutes=round(long / 60))
    if long < 48 * 3600:
        return say("{hours} h", hours=round(long / 3600))
    return count("{n} day", "{n} days", round(long / 86400))
