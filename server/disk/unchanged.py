"""Whether folders still look as a snapshot says: every name, and every file's size, times and inode.

Also a program of its own, so that a start can look while it reads: `unchanged.py SNAPSHOT PART PARTS SPEC`
reads every so many-th part, waits for a line on standard input, and prints the folders that are in doubt.
Reads the disk, changes nothing. Says 'no' whenever it isn't sure.
"""

from __future__ import annotations

import json
import marshal
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from server.disk import paths
from server.disk.listing import NOTES, RESULT_FILE, WORTH_KEEPING, disk_numbers, ignorer, notes_among
from server.disk.paths import COMPANION
from server.disk.snapshot import FILES, RENDERS, Look, NoSnapshot, Snapshot

TICK_NS = 3_000_000_000  # no disk's clock is coarser


def doubtful(looks: Iterable[Look], roots: Sequence[str], ignored: Callable[[str], bool]) -> list[str]:
    """Of these folders those that don't look as they should."""
    found = []
    disks = disk_numbers(roots)
    for look in looks:
        places = [f"{root}/{look.inside}" if look.inside else root for root in roots]
        try:
            is_files = look.kind == FILES
            if not (_files(look, places, ignored, disks) if is_files else _renders(look, places)):
                found.append(look.inside)
        except OSError:
            found.append(look.inside)
    return found


def _files(look: Look, places: list[str], ignored: Callable[[str], bool], disks: Mapping[int, int]) -> bool:
    """A folder with files: exactly these names, and each in the state it was in."""
    tokens, folders = look.tokens, look.folders
    token_of = tokens.get
    left = len(tokens)
    seen: set[str] = set()
    several = len(places) > 1
    inner = set()
    with_companions = []
    there = False
    for place in places:
        try:
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        there = True
        try:
            with os.scandir(fd) as items:  # relative to the folder: the kernel looks up one name, not a path
                for item in items:
                    name = item.name
                    token = token_of(name)
                    if several:
                        if name in seen:
                            continue  # a branch further down: the mount shows the first
                        if token is not None:
                            seen.add(name)
                    if token is None:
                        if name in folders:
                            if not item.is_dir(follow_symlinks=False):
                                return False
                            inner.add(name)
                        elif name == COMPANION:
                            with_companions.append(place)
                        elif not ignored(name):
                            return False
                        continue
                    st = item.stat(follow_symlinks=False)
                    inode = st.st_ino ^ disks.get(st.st_dev, 0)
                    if hash((st.st_size, st.st_mtime_ns, st.st_ctime_ns, inode)) != token:
                        return False
                    left -= 1
        finally:
            os.close(fd)
    return (
        there
        and not left
        and len(inner) == len(folders)
        and companions(look, [f"{place}/{COMPANION}" for place in with_companions], ignored, 0) is not None
    )


def companions(
    look: Look, places: Iterable[str], ignored: Callable[[str], bool], now_ns: int
) -> dict[str, int] | None:
    """Whether the companion folders in these `.croft` hold what the index keeps of them: whether they are
    there, their jobs and notes, and for a file that is gone whether there is something to show it for. None
    when they don't, else a token of each by which the next look needn't open it (0: it has to)."""
    told = look.companions
    states: dict[str, list[tuple[int, int, int]]] = {}
    where: dict[str, list[str]] = {}
    for place in places:
        fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with os.scandir(fd) as items:
                for item in items:
                    name = item.name
                    if name not in told:
                        if not ignored(name):
                            return None  # nobody watches it yet
                        continue
                    st = item.stat(follow_symlinks=False)
                    state = (st.st_mtime_ns, st.st_ctime_ns, st.st_ino)
                    states.setdefault(name, []).append(state)
                    where.setdefault(name, []).append(place)
        finally:
            os.close(fd)
    tokens: dict[str, int] = {}
    for name, (jobs_then, watched, kept_then, notes_then, token) in told.items():
        state_now = tuple(states.get(name, ()))
        tokens[name] = hash(state_now)
        if token and tokens[name] == token:
            continue  # nothing came, nothing went
        jobs: set[str] = set()
        notes: set[str] = set()
        keeps = changes_below = False
        for place in where.get(name, ()):
            content = os.listdir(f"{place}/{name}")
            keeps = keeps or not WORTH_KEEPING.isdisjoint(content)
            if NOTES in content:
                changes_below = True
                notes.update(notes_among(os.listdir(f"{place}/{name}/{NOTES}")))
            if "jobs" not in content:
                continue
            changes_below = True
            for job in os.listdir(f"{place}/{name}/jobs"):
                path = f"{place}/{name}/jobs/{job}"
                if job[0] == "." or not os.path.isdir(path):
                    continue
                jobs.add(job)
                if job not in watched and not os.path.lexists(f"{path}/{RESULT_FILE}"):
                    return None  # it hasn't ended, and nobody watches it
        if tuple(sorted(job for job in jobs if job.isascii())) != jobs_then:
            return None
        if tuple(sorted(notes)) != notes_then:
            return None
        alone = name not in look.tokens and f"{name}.json" not in look.tokens
        if alone and (keeps or bool(jobs)) != kept_then:
            return None
        # Jobs and notes change below; and within a tick of the disk's clock a change may not show.
        if changes_below or any(now_ns - changed < TICK_NS for _, changed, _ in state_now):
            tokens[name] = 0
    return tokens


def _renders(look: Look, places: list[str]) -> bool:
    """`render` has these folders; `render/<stem>` these versions with a sidecar."""
    folders: set[str] = set()
    versions: set[str] = set()
    there = False
    for place in places:
        try:
            with os.scandir(place) as items:
                for item in items:
                    name = item.name
                    if look.kind == RENDERS:
                        if name[0] != "." and item.is_dir(follow_symlinks=False):
                            folders.add(name)
                    elif name.endswith(".json") and paths.version_number(name) is not None:
                        versions.add(name[:-5])
            there = True
        except (FileNotFoundError, NotADirectoryError):
            continue
    if look.kind == RENDERS:
        return there and folders == look.folders
    return there and tuple(sorted(versions, key=paths.by_version)) == look.versions


def main(arguments: Sequence[str]) -> int:
    path, part, parts = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    try:
        snapshot = Snapshot(path)
    except NoSnapshot:
        return 1
    looks = [look for number in range(part, len(snapshot), parts) for look in snapshot.looks(number)]
    spec = json.loads(arguments[3])
    ignored = ignorer(spec["globs"])
    if not sys.stdin.readline():
        return 1  # whoever asked has gone
    found = doubtful(looks, spec["roots"], ignored)
    sys.stdout.buffer.write(marshal.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
