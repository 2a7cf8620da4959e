"""Which files a version was made with, each pinned by its hash.

A file's is that of its bytes, as its record has it, or the last version, or this process since it read them.
Of many files that are one thing (a sequence's frames, tiles, a folder of caches) it is that of their list:
names, sizes and times, marked `list:`; no sequence of terabytes is read for it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from server.disk import paths
from server.disk.checkpoints import HASH_NAME, digest
from server.disk.errors import CroftError
from server.disk.listing import frame_key
from server.disk.records import Stat
from server.disk.store import Store

from ..assets import Assets, tells_of
from ..dependencies import Use

MOST = 2000  # files of one version
LISTED_MOST = 200_000  # files of one list
KEPT = 20_000  # hashes that this process remembers
TILES = {"<UDIM>": "[0-9][0-9][0-9][0-9]", "<UVTILE>": "u[0-9]*_v[0-9]*"}

Pin = dict[str, Any]


class Pins:
    """Thread-safe."""

    def __init__(self, store: Store, assets: Assets) -> None:
        self._store = store
        self._assets = assets
        self._lock = threading.Lock()
        self._hashes: OrderedDict[tuple[str, Stat], str] = OrderedDict()

    def of(
        self, uses: Iterable[Use], listed: Callable[[str], list[dict[str, Any]]], before: object = None
    ) -> list[Pin]:
        """A row for each file, in the order of the uses: `path`, `kind`, `hash` ('' where it isn't there),
        `size`, and the `version` of it that was published with these bytes."""
        rows = before if isinstance(before, list) else []
        known = {row.get("path"): row for row in rows if isinstance(row, dict)}
        found: dict[str, Pin] = {}
        for use in uses:
            if len(found) == MOST:
                break
            if use.address and use.address not in found:
                pin = self._pin(use, known)
                if pin["path"] not in found:
                    self._add_version(pin, listed)
                    found[pin["path"]] = pin
        return list(found.values())

    def _pin(self, use: Use, known: Mapping[Any, Pin]) -> Pin:
        pin: Pin = {"path": use.address, "kind": use.kind, "hash": ""}
        try:
            path = self._store.path(use.address)
            names = self._names(use, path)
            if names is not None:
                files = list(_stats(path.parent, names))
                key = paths.join(paths.folder_of(use.address), frame_key(path.name) or path.name)
                return {**pin, "path": key, **_of_list(files)}
            st = os.stat(path)
            if stat.S_ISDIR(st.st_mode):
                return {**pin, **_of_list(_below(path))}
            now = Stat.of(st)
            pin |= {"size": now.size, "mtime_ns": now.mtime_ns}
            pin["hash"] = self._hash(use.address, path, now, known.get(use.address, {}))
        except (CroftError, OSError):
            pass  # it isn't there, or lies where nobody may look: what is missing is told elsewhere
        return pin

    def _names(self, use: Use, path: Path) -> Callable[[str], bool] | None:
        """Which names of its folder belong to it, where it is more than one file."""
        name = use.raw.replace("\\", "/").rpartition("/")[2]
        for mark, glob in TILES.items():
            if mark in name:
                begin, _, end = (part.replace("[", "[[]") for part in name.partition(mark))
                return lambda other: fnmatch.fnmatchcase(other, begin + glob + end)
        key = frame_key(path.name)
        if not key or use.kind not in ("image", "film", "file"):
            return None
        folder = paths.folder_of(use.address)
        listed = self._store.index.get(paths.join(folder, key)) is not None
        if not listed and f"/{paths.RENDER}/" not in use.address:
            return None
        return lambda other: frame_key(other) == key

    def _hash(self, address: str, path: Path, now: Stat, before: Mapping[str, Any]) -> str:
        record = self._assets.file_record(address)
        if tells_of(record, now) and record.get("hash"):
            return str(record["hash"])
        if (before.get("size"), before.get("mtime_ns")) == now.content and before.get("hash"):
            return str(before["hash"])
        with self._lock:
            kept = self._hashes.get((address, now))
        if kept is None:
            kept = digest(path)
            with self._lock:
                self._hashes[(address, now)] = kept
                if len(self._hashes) > KEPT:
                    self._hashes.popitem(last=False)
        return kept

    def _add_version(self, pin: Pin, listed: Callable[[str], list[dict[str, Any]]]) -> None:
        """Which version these bytes are: a published one, or that of a render."""
        entry = self._store.index.get(pin["path"])
        try:
            if entry is not None and entry.facts is not None and pin["hash"]:
                same = (one["version"] for one in listed(pin["path"]) if one.get("hash") == pin["hash"])
                if version := next(same, ""):
                    pin["version"] = version
            elif f"/{paths.RENDER}/" in pin["path"]:
                folder = os.path.realpath(self._store.path(paths.folder_of(pin["path"])))
                if paths.version_number(os.path.basename(folder)) is not None:
                    pin["version"] = f"render-{os.path.basename(folder)}"
        except CroftError:
            pass


def _stats(folder: Path, belongs: Callable[[str], bool]) -> Iterator[tuple[str, Stat]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if belongs(entry.name) and entry.is_file():
                yield entry.name, Stat.of(entry.stat())


def _below(folder: Path) -> Iterator[tuple[str, Stat]]:
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            yield os.path.relpath(path, folder), Stat.of(os.lstat(path))


def _of_list(found: Iterable[tuple[str, Stat]]) -> Pin:
    rows = []
    for row in found:
        rows.append(row)
        if len(rows) == LISTED_MOST:
            break
    hashed = hash_of_list((name, now.size, now.mtime_ns) for name, now in rows) if rows else ""
    return {"hash": hashed, "size": sum(now.size for _, now in rows), "files": len(rows)}


def hash_of_list(rows: Iterable[tuple[str, int, int]]) -> str:
    """Of many files that are one thing: their names, sizes in bytes, and times in nanoseconds."""
    whole = hashlib.blake2b(digest_size=20)
    for name, size, mtime_ns in sorted(rows):
        whole.update(f"{name}\0{size}\0{mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return f"list:{HASH_NAME}:{whole.hexdigest()}"
