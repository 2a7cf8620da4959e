"""The file in which a server keeps its index over a restart: in its own cache folder, never on a share.

Holds two things for each folder: what the index knew of it, in columns that are quickly made objects of
again, and what the disk must still look like for that to be trusted (`Look`). Written aside, checked by
sums, and of one share, one version and one Python: whatever doesn't fit is no snapshot. Looks at no share.
"""

from __future__ import annotations

import contextlib
import json
import logging
import marshal
import mmap
import os
import sys
import zlib
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import repeat
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from server.disk.paths import SEPARATOR
from server.disk.records import Entry, Facts, Stat

log = logging.getLogger(__name__)

MAGIC = b"CROFT INDEX 2\n"
PART_ENTRIES = 5_000  # entries of one part, so that neither side holds much at once
HEADER_BYTES = 64 << 20
FILES, RENDERS, VERSIONS = range(3)  # what kind of folder: with files, `render`, `render/<stem>`
STAT_FIELDS = {"size": "q", "mtime_ns": "q", "ctime_ns": "q", "inode": "Q"}  # a pool's inodes take 64 bits
FACT_FIELDS = tuple(Facts.__dataclass_fields__)

# What else an entry says passes: one that isn't as these is not kept.
ORDINARY = {
    name: field.default
    for name, field in Entry.__dataclass_fields__.items()
    if name not in ("address", "stat", "facts", "etag", "jobs", "notes", "side")
}


Companion = tuple[tuple[str, ...], tuple[str, ...], bool, tuple[str, ...], int]
"""Its jobs, which of these are watched, whether it must be worth showing by itself, its notes, a token of the
folder."""


class Look(NamedTuple):
    """What a folder must look like. Tokens are `records.token` of a file's stat."""

    inside: str
    kind: int
    tokens: dict[str, int]  # of its files and their sidecars
    folders: frozenset[str]
    companions: dict[str, Companion]
    versions: tuple[str, ...]


class Known(NamedTuple):
    """What the index knew of a folder."""

    look: Look
    folders: tuple[str, ...]
    entries: list[tuple[str, Entry]]  # with their names


Folder = tuple[str, tuple[str, ...], tuple[str, ...], dict[str, Entry]]
"""address, the folders in it, its versions, its entries by name: as `Index.fill` takes it."""


def key_of(share_id: str, roots: Iterable[str], globs: Iterable[str]) -> dict[str, Any]:
    """What a snapshot is of. Every part has to agree."""
    return {
        "share": share_id,
        "roots": list(roots),
        "globs": list(globs),
        "fields": [*FACT_FIELDS, *Entry.__dataclass_fields__],
        "python": [*sys.version_info[:2], marshal.version, sys.hash_info.width, sys.byteorder],
    }


# -- writing --------------------------------------------------------------------------------------


def write(path: Path, key: Mapping[str, Any], watched: list[str], known: Iterable[Known]) -> int:
    """Write a snapshot in place of the one before; how many entries it holds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    count = 0
    try:
        with open(aside, "wb") as file:
            file.write(MAGIC)
            _put(file, json.dumps(dict(key)).encode())
            _put(file, marshal.dumps(watched))
            for part in _parts(known):
                _put(file, marshal.dumps([tuple(folder.look) for folder in part]))
                _put(file, marshal.dumps(_columns(part)))
                count += sum(len(folder.entries) for folder in part)
            _put(file, b"")
        os.replace(aside, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            aside.unlink()
    return count


def _parts(known: Iterable[Known]) -> Iterator[list[Known]]:
    part: list[Known] = []
    count = 0
    for folder in known:
        part.append(folder)
        count += len(folder.entries) + 1
        if count >= PART_ENTRIES:
            yield part
            part, count = [], 0
    if part:
        yield part


def _columns(part: list[Known]) -> tuple[Any, ...]:
    entries = [entry for folder in part for _, entry in folder.entries]
    stats = [entry.stat for entry in entries]
    facts = [entry.facts for entry in entries]
    there = [stat for stat in stats if stat is not None]
    told = [fact for fact in facts if fact is not None]
    return (
        [(f.look.inside, len(f.entries), f.folders, f.look.versions) for f in part],
        [name for folder in part for name, _ in folder.entries],
        bytes(stat is not None for stat in stats),
        [array(kind, map(attrgetter(field), there)).tobytes() for field, kind in STAT_FIELDS.items()],
        bytes(fact is not None for fact in facts),
        [list(map(attrgetter(field), told)) for field in FACT_FIELDS],
        [entry.etag for entry in entries],
        [entry.side for entry in entries],
        [entry.jobs for entry in entries],
        [entry.notes for entry in entries],
    )


def _put(file: BinaryIO, raw: bytes) -> None:
    file.write(len(raw).to_bytes(4, "big") + zlib.crc32(raw).to_bytes(4, "big"))
    file.write(raw)


# -- reading --------------------------------------------------------------------------------------


class NoSnapshot(Exception):
    """There is none, or it isn't of this share, this version, or whole."""


class Snapshot:
    """An opened snapshot: its sums are right, and it is of this key. NoSnapshot otherwise."""

    def __init__(self, path: Path, key: Mapping[str, Any] | None = None) -> None:
        """Without a key whoever it is of: for the helpers, which are told what to read."""
        self.path = path
        try:
            with open(path, "rb") as file:
                raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise NoSnapshot(str(error.strerror)) from error
        except ValueError as error:
            raise NoSnapshot("it is empty") from error
        if raw[: len(MAGIC)] != MAGIC:
            raise NoSnapshot("it is of another version")
        blocks = list(_blocks(memoryview(raw)[len(MAGIC) :]))
        # Only what has the right sum goes to marshal, which trusts its bytes.
        if len(blocks) % 2 or len(blocks) < 2:
            raise NoSnapshot("it ends too early")
        found = json.loads(bytes(blocks[0]))
        if key is not None and found != json.loads(json.dumps(dict(key))):
            raise NoSnapshot("it is of another share, or of other settings")
        self.key: dict[str, Any] = found
        self.watched: list[str] = marshal.loads(blocks[1])
        self._looks = blocks[2::2]
        self._columns = blocks[3::2]
        self.size = len(raw)

    def __len__(self) -> int:
        """How many parts it has."""
        return len(self._looks)

    def looks(self, part: int) -> list[Look]:
        """What the folders of one part must look like."""
        return [Look._make(folder) for folder in marshal.loads(self._looks[part])]

    def folders(self, share: str) -> Iterator[list[Folder]]:
        """What the index knew, part by part."""
        for columns in self._columns:
            yield _folders(share + SEPARATOR, *marshal.loads(columns))


def _blocks(raw: memoryview) -> Iterator[memoryview]:
    """Each block up to the empty one that ends them."""
    at = 0
    while True:
        size = int.from_bytes(raw[at : at + 4], "big")
        total = int.from_bytes(raw[at + 4 : at + 8], "big")
        at += 8
        block = raw[at : at + size]
        if at > len(raw) or len(block) < size or zlib.crc32(block) != total:
            raise NoSnapshot("it is damaged")
        if not size:
            return
        yield block
        at += size


def _folders(
    prefix: str,
    folders: list[tuple[str, int, tuple[str, ...], tuple[str, ...]]],
    names: list[str],
    has_stat: bytes,
    stats: list[bytes],
    has_facts: bytes,
    facts: list[list[Any]],
    etags: list[str],
    sides: list[int],
    jobs: list[tuple[str, ...]],
    notes: list[tuple[str, ...]],
) -> list[Folder]:
    """The objects again, a column at a time: an `Entry(…)` for each would take five times as long."""
    addresses: list[str] = []
    at = 0
    for inside, count, _, _ in folders:
        address = f"{prefix}{inside}/" if inside else prefix
        addresses += map(address.__add__, names[at : at + count])
        at += count
    stat_values = [array(kind) for kind in STAT_FIELDS.values()]
    for values, raw in zip(stat_values, stats, strict=True):
        values.frombytes(raw)
    made_stats = _make(Stat, sum(has_stat), zip(STAT_FIELDS, stat_values, strict=True))
    made_facts = _make(Facts, sum(has_facts), zip(FACT_FIELDS, facts, strict=True))
    entries = _make(
        Entry,
        len(names),
        (
            ("address", addresses),
            ("stat", _spread(made_stats, has_stat)),
            ("facts", _spread(made_facts, has_facts)),
            ("etag", etags),
            ("jobs", jobs),
            ("notes", notes),
            ("side", sides),
            *((field, repeat(value)) for field, value in ORDINARY.items()),
        ),
    )
    made: list[Folder] = []
    at = 0
    for inside, count, inner, versions in folders:
        files = dict(zip(names[at : at + count], entries[at : at + count], strict=True))
        made.append((prefix + inside, inner, versions, files))
        at += count
    return made


def _make(kind: type[Any], count: int, columns: Iterable[tuple[str, Iterable[Any]]]) -> list[Any]:
    made = list(map(object.__new__, repeat(kind, count)))
    for field, values in columns:
        put = getattr(kind, field).__set__  # the slot itself: it doesn't know that it is frozen
        deque(map(put, made, values), maxlen=0)
    return made


def _spread(values: list[Any], there: bytes) -> list[Any]:
    if len(values) == len(there):
        return values
    following = iter(values)
    return [next(following) if is_there else None for is_there in there]
