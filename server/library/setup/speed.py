"""How fast a share's disk is at what Croft does with it, and what that means.

Measures in a folder among the locks, which it takes away again; a few seconds, and a few hundred small files.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server.disk import files, paths
from server.disk.branches import branches_of, filesystem_of
from server.disk.locks import Locks
from server.disk.speech import say
from server.library.setup.records import Check, note, right, wrong

SIDECARS = 300
SIDECAR = (
    json.dumps({"name": "sh010", "owner": "ana", "state": "doing", "tags": ["x" * 40] * 5}, indent=2)
).encode()
FLUSHES, LOCKS, RENAMES = 20, 200, 200
LONGEST_S = 4.0  # for each of them: a very slow disk is told from fewer


@dataclass(frozen=True, slots=True)
class Speed:
    """Medians. `branch_reads` is of the pool's disk below, where this machine sees it; else 0."""

    reads: float  # sidecars opened, read and closed a second
    lists: float  # names a second, with size and time
    flush_ms: float  # write aside, flush, replace, flush the folder
    rename_us: float
    lock_us: float  # take a lock and give it back
    branch_reads: float = 0.0
    file_system: str = ""

    def line(self) -> str:
        below = (
            say(" ({branch_reads:,.0f} on the disk below)", branch_reads=self.branch_reads)
            if self.branch_reads
            else ""
        )
        return say(
            "{reads:,.0f} records a second{below}, {lists:,.0f} names listed a second, "
            "{flush_ms:.1f} ms for a save, {rename_us:.0f} µs for a rename, {lock_us:.0f} µs for "
            "a lock",
            reads=self.reads,
            below=below,
            lists=self.lists,
            flush_ms=self.flush_ms,
            rename_us=self.rename_us,
            lock_us=self.lock_us,
        )


def measure(root: Path, clock: Callable[[], float] = time.perf_counter) -> Speed:
    """Try the share at `root`. OSError or CroftError where it can't be written to."""
    folder = root / paths.LOCKS / f".speed-{secrets.token_hex(4)}"
    files.make_folders(folder / paths.LOCKS, root)
    try:
        names = [folder / f"{number}.json" for number in range(SIDECARS)]
        for name in names:
            name.write_bytes(SIDECAR)
        below = [branch / folder.relative_to(root) for branch in branches_of(root)]
        reads = _each(lambda n: _read(names[n % SIDECARS]), SIDECARS, clock)
        listing = _each(lambda n: sum(1 for entry in os.scandir(folder) if entry.stat().st_size), 5, clock)
        flush = _each(lambda n: files.write_atomic(folder / "saved.json", SIDECAR), FLUSHES, clock)
        two = (names[0], names[0].with_suffix(".renamed"))
        rename = _each(lambda n: os.replace(two[n % 2], two[1 - n % 2]), RENAMES, clock)
        locks = Locks(folder, "run.py check --speed")
        lock = _each(lambda n: _lock(locks), LOCKS, clock)
        there = [place / name.name for name in names for place in below if (place / name.name).exists()]
        branch = 1 / _each(lambda n: _read(there[n % len(there)]), SIDECARS, clock) if there else 0.0
        return Speed(
            1 / reads,
            (SIDECARS + 1) / listing,
            flush * 1e3,
            rename * 1e6,
            lock * 1e6,
            branch,
            filesystem_of(root),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _each(action: Callable[[int], object], times: int, clock: Callable[[], float]) -> float:
    """The median of seconds; never 0."""
    taken: list[float] = []
    end = clock() + LONGEST_S
    for number in range(times):
        began = clock()
        action(number)
        now = clock()
        taken.append(now - began)
        if now > end:
            break
    return max(statistics.median(taken), 1e-9)


def _read(path: Path) -> bytes:
    return files.read_bounded(path, 1 << 20)[0]


def _lock(locks: Locks) -> None:
    with locks.hold("speed"):
        pass


# What it means. A class of thirty saves a few times a minute; ten nodes report some frames a second.
FLUSH_FINE_MS, FLUSH_SLOW_MS = 30.0, 120.0  # an old disk takes 10 to 25 ms for the two flushes of a save
READS_FINE, READS_SLOW = (
    5_000.0,
    1_000.0,
)  # through FUSE 10,000; 100,000 files then take 100 s at the slow end
LOCK_SLOW_US = 5_000.0  # a network mount's


def verdict(speed: Speed) -> list[Check]:
    """One sentence on the whole, then what is worth changing."""
    reads = speed.branch_reads or speed.reads
    saves, start = 1000 / speed.flush_ms, 100_000 / reads
    pace = f"{start:,.0f} s" if start >= 1 else say("less than a second")
    figures = say(
        "about {saves:,.0f} saves a second one after the other, and {pace} to look at 100,000 files",
        saves=saves,
        pace=pace,
    )
    found: list[Check] = []
    if speed.flush_ms > FLUSH_SLOW_MS:
        text = say(
            "A save takes {flush_ms:.0f} ms until it is on the disk; a healthy old disk needs 25.",
            flush_ms=speed.flush_ms,
        )
        mend = say(
            "Is it failing (`smartctl -a`), asleep, a shingled (SMR) disk, or a USB stick? "
            "Replace it in the pool."
        )
        found.append(wrong(text, mend))
    elif speed.flush_ms > FLUSH_FINE_MS:
        text = say(
            "A save takes {flush_ms:.0f} ms until it is on the disk: enough for a class, slow "
            "for a big farm.",
            flush_ms=speed.flush_ms,
        )
        found.append(note(text, say("An SSD as one disk of the pool, or 'noatime' in /etc/fstab, helps.")))
    if reads < READS_SLOW:
        text = say(
            "{reads:,.0f} records a second: looking at 100,000 files takes {start:,.0f} s at each start.",
            reads=reads,
            start=start,
        )
        found.append(wrong(text, _for_reads(speed)))
    elif reads < READS_FINE:
        found.append(
            note(
                say("{reads:,.0f} records a second: a start with many files takes a while.", reads=reads),
                _for_reads(speed),
            )
        )
    if speed.lock_us > LOCK_SLOW_US:
        text = say(
            "A lock takes {lock_us:.1f} ms, as on a network mount: each change waits for it.",
            lock_us=speed.lock_us / 1000,
        )
        found.append(note(text, say("Run Croft on the machine that has the disks.")))
    if not found:
        return [
            right(say("Fast enough for a class of thirty and their renders: {figures}.", figures=figures))
        ]
    grave = any(check.state == "wrong" for check in found)
    summary = (
        say("Too slow for a class: {figures}.", figures=figures)
        if grave
        else say("Good enough for a class: {figures}.", figures=figures)
    )
    return [wrong(summary, say("See below.")) if grave else right(summary), *found]


def _for_reads(speed: Speed) -> str:
    if speed.file_system == "fuse.mergerfs" and not speed.branch_reads:
        return say(
            "Croft doesn't see the pool's disks from here: run it on the machine that has them, "
            "not in a container, or mount with cache.attr=30,cache.entry=30,cache.readdir=true."
        )
    if speed.file_system.startswith(("nfs", "cifs", "smb")):
        return say("Run Croft on the machine that has the disks.")
    return say("Is the disk busy with something else (`iotop`), or failing (`smartctl -a`)?")
