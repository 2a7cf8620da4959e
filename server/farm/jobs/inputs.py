"""The other files that a scene is rendered from: libraries, textures, caches, and what libraries use again.

A job renders the scene that was submitted, from a snapshot; what the scene links is not copied. So the
state of each file is kept with the job (`inputs` in `job.json`, hashes that took longer in `inputs.json`),
and what changes until its end is told. A file is named by its path from the scene's folder, so that a
project may be moved; one on another share by its address. Folders (simulations' caches) and image
sequences count as one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from server.disk import checkpoints, encoding, files, paths
from server.disk.errors import CroftError
from server.disk.listing import frame_key
from server.disk.paths import Share
from server.disk.speech import count, say
from server.farm.jobs import facts, snapshots
from server.library.dependencies import Use

HASHES = "inputs.json"  # in the job's folder
MAX_INPUTS = 2000  # of one scene; the rest isn't watched
MAX_IN_FOLDER = 20_000  # files of a cache or a sequence that are looked at
MAX_BYTES = 16 << 20
UDIM = re.compile(r"1001(?=[^/]*$)")

Inputs = dict[str, list[Any]]  # name -> size, mtime in nanoseconds[, hash]
UsesOf = Callable[[str], Iterable[tuple[Use, str]]]


class Files:
    """Where the files lie that a scene in one folder names."""

    def __init__(self, folder: Path, shares: Iterable[Share]) -> None:
        self.folder = folder
        self._shares = list(shares)
        whole = str(folder)
        self._home = next((s for s in self._shares if whole.startswith(_below(s.root))), None)

    def name(self, address: str) -> str:
        """What a file at this address is called; "" for what is none."""
        share, inside = paths.parse(address)
        if self._home is None or not inside:
            return ""
        if share != self._home.name:
            return address
        return os.path.relpath(self._home.root / inside, self.folder)

    def path(self, name: str) -> Path | None:
        """Where a file of this name lies; None where that is on no share."""
        if paths.SEPARATOR in name:
            try:
                share, inside = paths.parse(name)
            except CroftError:
                return None
            return next((s.root / inside for s in self._shares if s.name == share), None)
        whole = os.path.normpath(self.folder / name)
        home = self._home
        return Path(whole) if home is not None and whole.startswith(_below(home.root)) else None

    def address(self, name: str) -> str:
        """Where on the shares that is."""
        path = self.path(name)
        if path is None or self._home is None or paths.SEPARATOR in name:
            return name
        return paths.address(self._home.name, os.path.relpath(path, self._home.root))

    def state(self, name: str) -> list[int] | None:
        """Size and time, as they are now; of a folder or a sequence all together. None: it isn't there."""
        path = self.path(name)
        if path is None:
            return None
        try:
            if "@" in path.name and not path.exists():
                return _sum(entry for entry in os.scandir(path.parent) if frame_key(entry.name) == path.name)
            st = os.stat(path)
            if os.path.isdir(path):
                return _sum(_deep(path))
        except (OSError, ValueError):
            return None
        return [st.st_size, st.st_mtime_ns]


def look(scene: Path, address: str, known: Files, uses: UsesOf, has: Callable[[str], bool]) -> Inputs:
    """The files that this scene links, and its libraries, and that are there, as they are now. Hashes where
    the library has read the file in this state. `has`: does the index know something at this address?"""
    found: Inputs = {}
    for name in _names(scene, address, known, uses, has):
        if name in found or len(found) >= MAX_INPUTS:
            continue
        state = known.state(name)
        if state is not None:
            digest = _known_hash(known.path(name), state)
            found[name] = [*state, digest] if digest else state
    return found


def changed(known: Files, inputs: Mapping[str, Any]) -> list[str]:
    """Which of these files are no longer what they were, by name."""
    return [name for name, before in inputs.items() if known.state(name) != list(before)[:2]]


def digest_of(known: Files, name: str, state: list[int]) -> str:
    """The hash of a file that is in this state before and after it was read; "" for what isn't, or is a
    folder."""
    path = known.path(name)
    if path is None or not path.is_file():
        return ""
    try:
        found = checkpoints.digest(path)
    except OSError:
        return ""
    return found if known.state(name) == state else ""


def read_hashes(folder: Path) -> dict[str, str]:
    """The hashes that were made after the submission, by name. "" where there can't be one."""
    try:
        raw, _ = files.read_bounded(folder / HASHES, MAX_BYTES)
        found = encoding.loads(raw)["hashes"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {str(k): v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def write_hashes(folder: Path, hashes: Mapping[str, str], disk: files.Os = files.REAL) -> None:
    """Keep them."""
    told = {"schema": 1, "hashes": dict(hashes)}
    files.write_atomic(folder / HASHES, encoding.dumps(told) + b"\n", disk=disk)


def sentence(names: list[str]) -> str:
    """What to tell of files that changed; "" of none."""
    if not names:
        return ""
    some = ", ".join(os.path.basename(name) for name in names[:3]) + (", …" if len(names) > 3 else "")
    return count(
        "a file that it links was changed while it was rendered: {files}",
        "{n} files that it links were changed while it was rendered: {files}",
        len(names),
        files=some,
    )


def told(change: Mapping[str, Any]) -> str:
    """What to tell of one change, with the frames that came before it."""
    name = os.path.basename(str(change.get("file", "")))
    gone = change.get("what") == "gone"
    done, before = change.get("done") or 0, change.get("before") or ""
    if not done:
        if gone:
            return say("{file} is gone after this was submitted, before its first frame was done.", file=name)
        return say("{file} was changed after this was submitted, before its first frame was done.", file=name)
    frames = (
        say("frame {frame}", frame=before)
        if before.isdigit()
        else say("the frames {frames}", frames=", ".join(before.split(",")))
    )
    earlier = frames if before else count("{n} frame", "{n} frames", done)
    if gone:
        return say(
            "{file} is gone while this is rendered: {frames} had it as it was, the others don't.",
            file=name, frames=earlier,
        )  # fmt: skip
    return say(
        "{file} was changed while this is rendered: {frames} had it as it was, the others don't.",
        file=name, frames=earlier,
    )  # fmt: skip


# -- which files --------------------------------------------------------------------------------------


def _names(
    scene: Path, address: str, known: Files, uses: UsesOf, has: Callable[[str], bool]
) -> Iterator[str]:
    yield from _of_facts(scene)
    for use, _ in uses(address):
        if not use.address or use.kind == "asset" or use.address == address:
            continue
        folder, name = paths.split(use.address)
        if "<UDIM>" in use.raw:
            yield from _tiles(known, use.address)
        elif has(sequence := paths.join(folder, frame_key(name) or "@")):
            yield known.name(sequence)
        else:
            yield known.name(use.address)
        if use.kind == "library":
            caches = snapshots.cache_folder(Path(name)).name
            yield known.name(paths.join(folder, caches))


def _of_facts(scene: Path) -> Iterator[str]:
    """Paths from the scene's folder, as the facts read from its content tell; `//` is that folder."""
    told = facts.of(scene).told
    for key in ("libraries", "textures"):
        listed = told.get(key)
        for path in listed if isinstance(listed, list) else ():
            if not isinstance(path, str) or "\0" in path:
                continue
            path = path.replace("\\", "/")
            if path.startswith("//"):
                yield os.path.normpath(path[2:])
            elif path.startswith("/"):
                yield os.path.relpath(path, scene.parent)


def _tiles(known: Files, address: str) -> Iterator[str]:
    """All tiles of a texture whose first is 1001."""
    first = known.name(address)
    path = known.path(first)
    if path is None:
        return
    pattern = re.compile(UDIM.sub(r"[12]\\d{3}", re.escape(path.name)))
    try:
        names = sorted(name for name in os.listdir(path.parent) if pattern.fullmatch(name))
    except OSError:
        return
    for name in names[:100]:
        yield os.path.join(os.path.dirname(first), name)


def _known_hash(path: Path | None, state: list[int]) -> str:
    """What the library has read of an asset in this very state."""
    if path is None or path.suffix.casefold() != ".blend":
        return ""
    found = facts.of(path)
    return found.hash if list(found.state) == state and found.hash else ""


def _sum(entries: Iterable[os.DirEntry[str]]) -> list[int] | None:
    size = newest = count = 0
    for entry in entries:
        st = entry.stat(follow_symlinks=False)
        size += st.st_size
        newest = max(newest, st.st_mtime_ns)
        count += 1
        if count >= MAX_IN_FOLDER:
            break
    return [size, newest] if count else None


def _deep(folder: Path) -> Iterator[os.DirEntry[str]]:
    waiting = [str(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry


def _below(root: Path) -> str:
    return str(root).rstrip("/") + "/"
