"""How much room is left where renders are written, and whether that is enough to give out more work.

A render that fills a disk takes everybody's saving with it, so claims stop before: where less is free than
`keep_free_gb`, or than `keep_free_percent` of the disk if that is less (small disks can't spare 20 GB). Of a
mergerfs pool the branches count that a new file may go to, by the pool's own create policy: the roomiest of
them, and under a policy that keeps to existing folders (`ep…`) of those that hold the folder. Asks the kernel
alone; what it found is remembered for a moment, so that who asks about a job never waits for a disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from server.disk import branches, paths, speech
from server.disk.branches import Pool
from server.disk.errors import CroftError
from server.disk.health import free, size
from server.disk.records import Problem
from server.disk.settings import Settings
from server.disk.speech import say
from server.disk.store import Store

GB = 1 << 30
LOOK_S = 5.0  # how often a folder is looked at while renders wait for it, or run
POOL_S = 60.0  # how often a mount is asked whether it is a pool, and of what
KEPT = 5000  # folders that are remembered

StatVfs = Callable[[Path], os.statvfs_result]


@dataclass(frozen=True, slots=True)
class Low:
    """There isn't room enough."""

    place: str  # the disk, as an admin knows it
    left: int  # bytes
    whole: int
    needed: int  # bytes that must be free

    @property
    def sentence(self) -> str:
        """For people who wait."""
        return say(
            "the disk is nearly full: {size} of {size2} are left. It goes on by itself when {size3} are free",
            size=size(self.left),
            size2=size(self.whole),
            size3=size(self.needed),
        )


class Room:
    """One for a farm. `look` asks the disk; everything else answers from what that found."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        monotonic: Callable[[], float],
        statvfs: StatVfs = os.statvfs,
        pool_of: Callable[[Path], Pool | None] = branches.pool_of,
    ) -> None:
        self._settings = settings
        self._store = store
        self._monotonic = monotonic
        self._statvfs = statvfs
        self._pool_of = pool_of
        self._guard = threading.Lock()
        self._known: dict[str, tuple[float, Low | None]] = {}  # address of a folder -> when, what
        self._pools: dict[Path, tuple[float, Pool | None]] = {}  # root of a share -> when, what

    def low(self, folder: str) -> Low | None:
        """What was found last of the folder at this address; None where there is room, or nobody looked."""
        return self._known.get(folder, (0.0, None))[1]

    def why(self, folder: str) -> str:
        """Why nothing more is rendered into this folder; "" where there is room."""
        low = self.low(folder)
        return low.sentence if low is not None else ""

    def look(self, folder: str, now: bool = False) -> bool:
        """Ask the disk, unless that was done just now. True when the answer is another than before."""
        at = self._monotonic()
        before = self._known.get(folder)
        if before is not None and at - before[0] < LOOK_S and not now:
            return False
        try:
            found = self._ask(folder)
        except (OSError, CroftError):
            found = None  # it is away, which is said elsewhere
        with self._guard:
            self._known.pop(folder, None)
            self._known[folder] = (at, found)
            while len(self._known) > KEPT:
                del self._known[next(iter(self._known))]
        return (before is not None and before[1] is not None) != (found is not None)

    def problems(self, folders: Iterable[str]) -> list[Problem]:
        """Each disk that renders wait for, once."""
        found: dict[str, tuple[Low, str, int]] = {}
        for folder in folders:
            low = self.low(folder)
            if low is not None:
                first, of, count = found.get(low.place, (low, folder, 0))
                found[low.place] = (first, of, count + 1)
        return [
            Problem(
                f"room:{place}",
                "room",
                paths.address(paths.parse(folder)[0]),
                speech.count(
                    "{n} render waits: {place} has {left} of {whole} left. {needed} are kept free, so that "
                    "people can save.",
                    "{n} renders wait: {place} has {left} of {whole} left. {needed} are kept free, so that "
                    "people can save.",
                    count,
                    place=place,
                    left=size(low.left),
                    whole=size(low.whole),
                    needed=size(low.needed),
                ),
                say("Delete old renders or earlier saves there, or add a disk. They go on by themselves."),
                severity="error",
            )
            for place, (low, folder, count) in sorted(found.items())
        ]

    # -- asking the disk ------------------------------------------------------------------------------

    def _ask(self, folder: str) -> Low | None:
        share = self._store.share(folder)
        inside = paths.parse(folder)[1]
        pool = self._pool(share.root)
        if pool is None:
            return self._judge(_there(share.root, inside))
        beyond = os.path.relpath(os.path.realpath(share.root), pool.mount)
        into = os.path.normpath(os.path.join(beyond, inside))
        open_to = [branch for branch, writable in pool.branches if writable]
        having = [branch for branch in open_to if (branch / into).is_dir()]
        if pool.keeps_paths and having:
            open_to = having
        roomiest = max(open_to, key=self._left, default=None)
        if roomiest is None or not roomiest.is_dir():
            return self._judge(_there(share.root, inside))  # this machine doesn't see the branches
        return self._judge(roomiest, pool.least_bytes)

    def _judge(self, place: Path, least: int = 0) -> Low | None:
        found = self._statvfs(place)
        left, whole = free(found), found.f_blocks * found.f_frsize
        needed = min(
            float(self._settings.get("keep_free_gb")) * GB,
            float(self._settings.get("keep_free_percent")) / 100 * whole,
        )
        needed = max(needed, least) if needed else 0  # below its own limit the pool refuses new files
        if left >= needed:
            return None
        disk = place if least else branches.mount_point(place)
        return Low(str(disk), left, whole, int(needed))

    def _left(self, branch: Path) -> int:
        try:
            return free(self._statvfs(branch))
        except OSError:
            return -1

    def _pool(self, root: Path) -> Pool | None:
        at = self._monotonic()
        known = self._pools.get(root)
        if known is None or at - known[0] > POOL_S:
            known = self._pools[root] = (at, self._pool_of(root))
        return known[1]


def _there(root: Path, inside: str) -> Path:
    """The folder, or the nearest above it that is there."""
    while inside and not os.path.isdir(f"{root}/{inside}"):
        inside = inside.rpartition("/")[0]
    return root / inside
