"""Begins with what the last run knew of a share, as far as the disk still looks so.

All watches of the last run are set first, so that nothing is lost from then on; helper processes compare
the disk with the snapshot while this one makes the index of it; folders in doubt are looked at as in any
first look. So the index is what a full look would give. Keeps the snapshot, in the cache folder alone.
"""

from __future__ import annotations

import gc
import json
import logging
import marshal
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Set
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from server.disk import unchanged
from server.disk.paths import COMPANION, RENDER, SEPARATOR, folder_of, join, name_of
from server.disk.records import Entry
from server.disk.scan import Found, Scanner
from server.disk.snapshot import (
    FILES,
    RENDERS,
    VERSIONS,
    Companion,
    Folder,
    Known,
    Look,
    NoSnapshot,
    Snapshot,
    key_of,
    write,
)

log = logging.getLogger(__name__)

HELPERS = 4
PARTS_ALONE = 1  # so small a snapshot isn't worth a process

# Of one folder the companions that are watched, and which of their jobs are.
Watched = dict[str, dict[str, tuple[str, ...]]]


def start(scanner: Scanner, path: Path) -> Found:
    """The share's first look, by means of the snapshot at `path` where there is a good one."""
    name = scanner.share.name
    began = time.perf_counter()
    try:
        if scanner.index.has_folder(name + SEPARATOR):
            raise NoSnapshot("the share is known already")
        snapshot = Snapshot(path, _key(scanner))
        found, doubtful = _start(scanner, snapshot)
    except NoSnapshot as why:
        log.info("share %s: no snapshot of the index: %s", name, why)
    except Exception:
        # It is there to save time: whatever is wrong with it must not keep a share from being looked at.
        log.exception("the snapshot of share %s is of no use", name)
        scanner.index.drop_folder(name + SEPARATOR)
    else:
        if found.complete:
            took = time.perf_counter() - began
            log.info("share %s: as the last run left it but for %d folders, %.2f s", name, doubtful, took)
            return found
        scanner.index.drop_folder(name + SEPARATOR)
    found = scanner.scan()
    found.new.clear()  # nobody knows since when
    return found


def keep(scanner: Scanner, path: Path, watched: list[str], unsure: Set[str]) -> int:
    """Write the snapshot of a share for the next start; how many entries it holds. `watched`: the folders
    of the share that are watched, all of them; `unsure`: those in which something has just happened."""
    before = _Before(path, _key(scanner))
    return write(path, _key(scanner), watched, _known(scanner, _companions(watched), unsure, before))


def _key(scanner: Scanner) -> dict[str, Any]:
    return key_of(scanner.share.id, scanner.lister.roots, scanner.globs)


# -- beginning ------------------------------------------------------------------------------------


def _start(scanner: Scanner, snapshot: Snapshot) -> tuple[Found, int]:
    """What differed from the snapshot, and how many folders did."""
    index, lister = scanner.index, scanner.lister
    prefix = scanner.share.name + SEPARATOR
    collecting = gc.isenabled()
    gc.disable()  # every object stays: looking for garbage would double the time
    try:
        with _Comparison(scanner, snapshot) as comparison:
            if lister.watch is not None:
                for folder in snapshot.watched:
                    for path in lister.paths(folder.removeprefix(prefix)):
                        with suppress(OSError):  # gone, or on another branch: the comparison tells
                            lister.watch(path, folder)
            comparison.begin()
            parts = list(snapshot.folders(scanner.share.name))
            doubtful = comparison.doubtful()
        unsure = {prefix + inside for inside in doubtful}
        trusted: list[Folder] = [folder for part in parts for folder in part if folder[0] not in unsure]
        index.fill(trusted)
        # What the snapshot left out: folders in which something was going on, or that couldn't be read.
        for address, names, _, _ in trusted:
            for inner in (join(address, name) for name in names):
                if not index.has_folder(inner):
                    unsure.add(inner)
        if not index.has_folder(prefix):
            unsure.add(prefix)
        insides = [folder.removeprefix(prefix) for folder in unsure]
        found = scanner.look_again(insides, [folder[0] for folder in trusted])
        _compare(scanner, [folder for part in parts for folder in part if folder[0] in unsure], found)
        return found, len(unsure)
    finally:
        if collecting:
            gc.enable()


def _compare(scanner: Scanner, before: list[Folder], found: Found) -> None:
    """Tells files that came and went since the snapshot from those that were there, of these folders. Of
    records that changed since nothing is told: who knows which file they were of then?"""
    known: set[str] = set()
    for _, _, _, entries in before:
        for was in entries.values():
            now = scanner.index.get(was.address)
            if was.stat is None:
                continue
            if now is not None and now.stat is not None and now.stat.inode == was.stat.inode:
                known.add(was.address)
            elif was.facts is not None and was.facts.uuid and now is not None and now.etag == was.etag:
                if now.stat is None:
                    found.lost.append(was)
                else:
                    found.changed.append(was)
                    known.add(was.address)
    found.new = [address for address in found.new if address not in known]


class _Comparison:
    """The disk is compared with the snapshot: by other processes, or where it is small by this one."""

    def __init__(self, scanner: Scanner, snapshot: Snapshot) -> None:
        self._scanner = scanner
        self._snapshot = snapshot
        self._stack = ExitStack()
        self._helpers: list[subprocess.Popen[bytes]] = []
        count = min(HELPERS, len(os.sched_getaffinity(0)), len(snapshot))
        if len(snapshot) <= PARTS_ALONE or not sys.executable:
            return
        spec = json.dumps({"roots": scanner.lister.roots, "globs": scanner.globs})
        for number in range(count):
            # Without our own packages: it starts in the time that the watches take.
            program = [sys.executable, "-I", "-S", unchanged.__file__]
            command = [*program, str(snapshot.path), str(number), str(count), spec]
            # Without a buffer: closing the pipe to one that has ended finds nothing left to write.
            helper = subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._helpers.append(self._stack.enter_context(helper))

    def __enter__(self) -> _Comparison:
        return self

    def __exit__(self, *_: object) -> None:
        for helper in self._helpers:
            with suppress(OSError):
                helper.kill()
        self._stack.close()

    def begin(self) -> None:
        """All watches are set: what happens from now on is heard."""
        for helper in self._helpers:
            assert helper.stdin is not None
            with suppress(BrokenPipeError):
                helper.stdin.write(b"\n")
                helper.stdin.flush()

    def doubtful(self) -> list[str]:
        """The folders that don't look as they should."""
        if not self._helpers:
            looks = [look for part in range(len(self._snapshot)) for look in self._snapshot.looks(part)]
            lister = self._scanner.lister
            return unchanged.doubtful(looks, lister.roots, lister.ignored)
        found: list[str] = []
        for helper in self._helpers:
            told, _ = helper.communicate()
            if helper.returncode:
                raise NoSnapshot("a helper couldn't compare it with the disk")
            found += marshal.loads(told)
        return found


# -- keeping --------------------------------------------------------------------------------------


class _Before:
    """The companions that the snapshot before this one tells of, a part at a time."""

    def __init__(self, path: Path, key: dict[str, Any]) -> None:
        self._snapshot: Snapshot | None = None
        self._where: dict[str, int] = {}
        self._part = -1
        self._looks: dict[str, Mapping[str, Companion]] = {}
        with suppress(NoSnapshot):
            self._snapshot = Snapshot(path, key)
            for part in range(len(self._snapshot)):
                for look in self._snapshot.looks(part):
                    if look.companions:
                        self._where[look.inside] = part

    def companions(self, inside: str) -> Mapping[str, Companion]:
        part = self._where.get(inside)
        if part is None or self._snapshot is None:
            return {}
        if part != self._part:
            self._looks = {look.inside: look.companions for look in self._snapshot.looks(part)}
            self._part = part
        return self._looks.get(inside, {})


def _companions(watched: list[str]) -> Watched:
    """By folder its watched companions, and which of their jobs are."""
    found: Watched = {}
    for address in watched:
        folder, between, rest = address.partition(f"/{COMPANION}/")
        if not between:
            folder, between, rest = address.partition(f"{SEPARATOR}{COMPANION}/")
            folder += SEPARATOR
        if between:
            name, _, below = rest.partition("/")
            there = found.setdefault(folder, {})
            jobs = there.setdefault(name, ())
            if below.startswith("jobs/"):
                there[name] = (*jobs, below[5:])
    return found


def _seen(scanner: Scanner, look: Look) -> dict[str, int] | None:
    """Tokens of a folder's companions, which are looked at now; None where they aren't as the index says."""
    places = [f"{path}/{COMPANION}" for path in scanner.lister.paths(look.inside)]
    try:
        there = [place for place in places if os.path.isdir(place)]
        return unchanged.companions(look, there, scanner.lister.ignored, time.time_ns())
    except OSError:
        return None  # Race: it went meanwhile


def _known(scanner: Scanner, watched: Watched, unsure: Set[str], before: _Before) -> Iterator[Known]:
    """What is worth keeping of each folder of the share. What is left out is read at the next start."""
    index = scanner.index
    prefix = scanner.share.name + SEPARATOR
    for folder in list(index.tree(prefix)):
        names = index.folders(folder)
        inside = folder.removeprefix(prefix)
        if name_of(inside) == RENDER:
            look = Look(inside, RENDERS, {}, frozenset(names), {}, ())
            yield Known(look, names, [])
        elif inside and name_of(folder_of(inside)) == RENDER:
            look = Look(inside, VERSIONS, {}, frozenset(), {}, index.versions(folder))
            yield Known(look, names, [])
        elif folder not in unsure:
            entries = index.folder(folder)
            tokens = _tokens(entries)
            if tokens is not None:
                there = _companion_looks(entries, watched.get(folder, {}), before.companions(inside))
                look = Look(inside, FILES, tokens, frozenset(names), there, ())
                if there:
                    seen = _seen(scanner, look)
                    if seen is None:
                        continue
                    kept = {name: (*told[:4], seen[name]) for name, told in there.items()}
                    look = look._replace(companions=kept)
                yield Known(look, names, [(name_of(entry.address), entry) for entry in entries])


def _tokens(entries: list[Entry]) -> dict[str, int] | None:
    """The state of each file that these entries were made of; None where one isn't sure."""
    tokens: dict[str, int] = {}
    for entry in entries:
        name = name_of(entry.address)
        has_sidecar = bool(entry.etag)
        # A sequence is many files. A sidecar of unknown state has no token.
        if entry.broken or entry.arriving or "@" in name or (has_sidecar and not entry.side):
            return None
        if entry.stat is not None:
            tokens[name] = entry.stat.token
        if has_sidecar:
            tokens[name + ".json"] = entry.side
    return tokens


def _companion_looks(
    entries: list[Entry], watched: dict[str, tuple[str, ...]], before: Mapping[str, Companion]
) -> dict[str, Companion]:
    """What companions have to look like; `before`: as the snapshot before this one has them."""

    def token(name: str) -> int:
        return before[name][4] if name in before else 0

    looks: dict[str, Companion] = {
        name: ((), tuple(sorted(jobs)), False, (), token(name)) for name, jobs in watched.items()
    }
    for entry in entries:
        name = name_of(entry.address)
        if entry.jobs or entry.notes or entry.stat is None:
            alone = entry.stat is None and not entry.etag
            looks[name] = (entry.jobs, tuple(sorted(watched.get(name, ()))), alone, entry.notes, 0)
    return looks
