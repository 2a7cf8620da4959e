"""Thumbnails beside what they show, and the facts of scenes, both from the bounded helper.

A thumbnail lies in the companion folder's `thumbs/`, its name holding width, size and mtime of the file:
a changed file gets a new one, and any may be deleted at any time. Made when asked for; nothing is written
otherwise. On a share that this server may not write they go to its own cache folder, if it has one.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import math
import os
import secrets
import stat as modes
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.disk import files, paths
from server.disk.errors import CroftError
from server.disk.records import Stat
from server.disk.settings import Settings
from server.disk.speech import say
from server.disk.store import Store

from . import kinds, sequences
from .ends import complete
from .workers import Answer, Work, Workers

log = logging.getLogger(__name__)

WIDTHS = (128, 256, 512, 1024)  # pixels; what is asked for gets the next
THUMBS = "thumbs"
NODE_PREVIEW = "node.png"  # made by a node, of a format that Pillow can't read
FORMS = (".jpg", ".png")
HOPELESS_KEPT = 20_000
CPU_S, CPU_BYTES_S = 4.0, 10 << 20  # processor time that a file may take: so much, and more by its size
PEEK_S, PEEKED_KEPT = 0.3, 2000  # how long a page waits for facts, and of how many files they are kept
VERSIONS_TRIED, FRAMES_TRIED = 3, 20_000  # for a frame that stands in for a scene's preview
TRANSIENT = ("gone", "dropped")  # errors that say nothing of the file
PASSING = ("time", "memory", "crash")  # errors that another time, or a larger limit, may not have
PASSING_S, PASSING_MOST_S = 30.0, 3600.0  # until such a file is tried again; four times as long each time


@dataclass(frozen=True, slots=True)
class _Failed:
    """A state of a file that gave no thumbnail."""

    until: float  # monotonic; infinite: for good
    wait_s: float


class Media:
    """Thumbnails and facts for the server. Thread-safe; `close` ends its processes."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        cache: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._settings = settings
        self._cache = cache
        self.readers = int(settings.get("thumbnail_workers"))  # how many files are looked at at once
        self._workers = Workers(self.readers)
        self._clock = clock
        self._hopeless: OrderedDict[tuple[str, int, int], _Failed] = OrderedDict()
        self._peeked: OrderedDict[tuple[str, int, int], dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()
        self._listeners: list[Callable[[str], None]] = []
        self._full = False  # the disk was full: said once

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """`listener(address)` is called in a worker's thread when a thumbnail has been made."""
        self._listeners.append(listener)

    def thumbnail(self, address: str, width: int = 256, *, wait_s: float = 0.0) -> Path | None:
        """The thumbnail of a file, of at least `width` pixels (up to the widest there is).

        None while it isn't there yet (it is asked for then, and waited for up to `wait_s`) and where none
        can be had. A scene that was rendered shows a frame of its newest render, else its own preview.
        Raises as `Store.path` does: BadInput, NotFound, ShareAway.
        """
        found = self._source(address)
        if found is None:
            return None
        source, stat = found
        if frame := self._rendered(address):
            return self.thumbnail(frame, width, wait_s=wait_s)
        width = next((one for one in WIDTHS if one >= width), WIDTHS[-1])
        folder = self._folder(address)
        if folder is None:
            return None
        there = _look(folder, _name(width, stat))
        if there is not None:
            return there
        if self.hopeless(address, stat):
            return None
        entry = self._store.index.get(address)
        if not complete(source):
            if entry is not None and not entry.arriving and entry.stat == stat:
                self._store.looks.doubt(address, stat)  # a copy that was cut off while nobody looked
            return None
        work = self._ask(address, source, stat, width, "thumbnail")
        if wait_s > 0 and work.done.wait(wait_s):
            return _look(folder, _name(width, stat))
        return None

    def request(self, address: str) -> None:
        """Have the usual thumbnail made in the background, if it isn't there: a frame has arrived."""
        try:
            self.thumbnail(address)
        except CroftError as error:
            log.debug("no thumbnail of %s: %s", address, error.message)

    def possible(self, address: str) -> bool:
        """Whether asking again may give a thumbnail: nothing is known against it."""
        entry = self._store.index.get(address)
        if entry is not None and entry.incomplete:
            return False
        found = self._source(address)
        return found is not None and not (self.hopeless(address, found[1]) and not self._rendered(address))

    def hopeless(self, address: str, stat: Stat) -> bool:
        """Whether this state of the file is known to give no thumbnail; for a passing reason, for a while."""
        failed = self._hopeless.get((address, stat.size, stat.mtime_ns))
        return failed is not None and self._clock() < failed.until

    def look(self, address: str, *, timeout_s: float = 120.0) -> Answer:
        """Facts of a scene, image or film, waited for; its thumbnail is made in the same pass.

        `data["facts"]` as `scenes`, `exif` and `films` have them, with `size` and `mtime_ns` of
        what was read; or `error` and `why`. Raises as `Store.path` does.
        """
        found = self._source(address, itself=True)
        if found is None:
            return Answer({"error": "gone", "why": say("it is no longer there")})
        source, stat = found
        work = self._ask(address, source, stat, 256, "facts")
        if not work.done.wait(timeout_s) or work.answer is None:
            return Answer({"error": "dropped", "why": say("too much else was asked for")})
        return work.answer

    def sequence(self, address: str, *, timeout_s: float = 120.0) -> dict[str, Any]:
        """Facts of an image sequence, from the names of its frames and one of them; {} if none is left."""
        folder, key = paths.split(address)
        head, _, tail = key.rpartition("@")
        names = (name for name in self._names(folder, None) if name.startswith(head) and name.endswith(tail))
        found = sequences.facts(name for name in names if (paths.sequence_key(name) or ("",))[0] == key)
        if found:
            picture = facts_of(self.look(address, timeout_s=timeout_s))
            found |= {name: picture[name] for name in ("size", "mode") if name in picture}
        return found

    def peek(self, address: str) -> dict[str, Any]:
        """Facts of a file that has no `file.json`, if they are known already; else they are asked for.

        For what is shown of textures and other files that are no assets: kept in memory, not on the disk.
        """
        kind = kinds.kind(paths.name_of(address))
        if kind == "sequence":
            return self.sequence(address, timeout_s=PEEK_S)
        if kind not in kinds.READ:
            return {}
        found = self._source(address, itself=True)
        if found is None:
            return {}
        key = (address, found[1].size, found[1].mtime_ns)
        with self._lock:
            kept = self._peeked.get(key)
        if kept is None:
            self._ask(address, *found, 256, "facts").done.wait(PEEK_S)
            with self._lock:
                kept = self._peeked.get(key)
        return dict(kept or {})

    def look_path(self, path: Path, kind: str, *, width: int = 256, timeout_s: float = 120.0) -> Answer:
        """Facts and thumbnail of a file that no index knows (an upload that waits), waited for.

        `kind` as `kinds.kind` says it of the name that the file is to have; what `path` itself is called
        doesn't count. `data["facts"]`, and the thumbnail in `content` (`data["format"]`: jpg or png) where
        there is one; `error` `none` and {} for a kind of which nothing is read. Nothing is kept. Raises
        nothing: a file that isn't there is `gone`.
        """
        if kind not in kinds.READ:
            return Answer({"error": "none", "why": say("nothing is read from this kind of file")})
        try:
            # Resolved, since the helper follows no link: whoever asks vouches for the path.
            source = Path(os.path.realpath(path))
            stat = Stat.of(os.lstat(source))
        except OSError:
            return Answer({"error": "gone", "why": say("it is no longer there")})
        key = ("path", str(source), width, stat.size, stat.mtime_ns)
        request = self._request("facts", source, stat, width, kind)
        work = self._workers.ask(key, request, lambda answer: None, first=True)
        if not work.done.wait(timeout_s) or work.answer is None:
            return Answer({"error": "dropped", "why": say("too much else was asked for")})
        return work.answer

    def square(self, path: Path, edge: int, *, timeout_s: float = 30.0) -> Answer:
        """The middle of the picture at `path` as a square JPEG, made anew of its pixels alone, as `content`;
        else `error` and `why`. Nothing is kept. Waits; raises nothing."""
        try:
            stat = Stat.of(os.lstat(path))
        except OSError:
            return Answer({"error": "gone", "why": say("it is no longer there")})
        request = self._request("square", path, stat, edge, "image")
        work = self._workers.ask(("square", str(path)), request, lambda answer: None, first=True)
        if not work.done.wait(timeout_s) or work.answer is None:
            return Answer({"error": "dropped", "why": say("too much else was asked for")})
        return work.answer

    def waiting(self) -> int:
        """How many files wait to be looked at."""
        return self._workers.waiting()

    @property
    def restarts(self) -> int:
        """How many helper processes had to be replaced since the start."""
        return self._workers.restarts

    def close(self) -> None:
        """Forget what waits and end the helper processes."""
        self._workers.close()

    # Within

    def _source(self, address: str, *, itself: bool = False) -> tuple[Path, Stat] | None:
        """The file to draw from (or `itself`) and its stat; None if it can't be drawn or isn't there."""
        name = paths.name_of(address)
        if not kinds.drawable(name):
            return None
        if kinds.kind(name) == "sequence":
            address = self._frame_of(address)
            if not address:
                return None
        if kinds.suffix(name) in kinds.NODE_ONLY and not itself:
            address = paths.join(paths.companion_of(address), THUMBS, NODE_PREVIEW)
        try:
            # Resolved, since the helper follows no link: the share's inner links are followed here.
            path = Path(os.path.realpath(self._store.path(address)))
            st = os.lstat(path)
        except OSError:
            return None
        return (path, Stat.of(st)) if modes.S_ISREG(st.st_mode) else None

    def _rendered(self, address: str) -> str:
        """A frame from the middle of a scene's newest render that has any; '' if there is none."""
        if kinds.kind(paths.name_of(address)) != "scene":
            return ""
        folder = paths.render_folder(address)
        newest = self._store.index.versions(folder)
        for version in reversed(newest[-VERSIONS_TRIED:]):
            place = paths.join(folder, version)
            names = self._names(place)
            frames = sorted(name for name in names if name[0] != "." and kinds.kind(name) == "image")
            if frames:
                return paths.join(place, frames[len(frames) // 2])
        return ""

    def _frame_of(self, address: str) -> str:
        """A frame from the first half of an image sequence; '' if none is left.

        The same one until there are twice as many: a sequence that grows isn't drawn anew for each frame.
        """
        folder, key = paths.split(address)
        frames = sorted(name for name in self._names(folder) if (paths.sequence_key(name) or ("",))[0] == key)
        return paths.join(folder, frames[(1 << len(frames).bit_length()) // 4]) if frames else ""

    def _names(self, folder: str, most: int | None = FRAMES_TRIED) -> list[str]:
        try:
            with os.scandir(self._store.path(folder)) as entries:
                return [entry.name for entry in itertools.islice(entries, most)]
        except OSError:
            return []

    def _folder(self, address: str) -> Path | None:
        share = self._store.share(paths.parse(address)[0])
        if not share.read_only:
            folder: Path = self._store.path(paths.join(paths.companion_of(address), THUMBS))
            return folder
        if self._cache is None:
            return None
        digest = hashlib.blake2b(address.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        return self._cache / THUMBS / digest[:2] / digest

    def _ask(self, address: str, source: Path, stat: Stat, width: int, op: str) -> Work:
        request = self._request(op, source, stat, width, kinds.kind(source.name))
        key = (op, address, width, stat.size, stat.mtime_ns)
        return self._workers.ask(
            key, request, lambda answer: self._take(address, source, stat, width, answer), first=op == "facts"
        )

    def _failed(self, key: tuple[str, int, int], error: str) -> None:
        """Note that this state of a file gives no thumbnail: for good, or until it may be tried again."""
        with self._lock:
            wait_s = math.inf
            if error in PASSING:
                before = self._hopeless.get(key)
                wait_s = min(before.wait_s * 4, PASSING_MOST_S) if before else PASSING_S
            self._hopeless[key] = _Failed(self._clock() + wait_s, wait_s)
            self._hopeless.move_to_end(key)
            if len(self._hopeless) > HOPELESS_KEPT:
                self._hopeless.popitem(last=False)

    def _request(self, op: str, source: Path, stat: Stat, width: int, kind: str) -> dict[str, Any]:
        seconds = float(self._settings.get("thumbnail_seconds"))
        return {
            "op": op,
            "path": str(source),
            "kind": kind,
            "width": width,
            "seconds": seconds,
            # Small files that take long are broken or hostile: they mustn't keep the others waiting.
            "cpu_seconds": min(seconds, CPU_S + stat.size / CPU_BYTES_S),
            "memory_mb": int(self._settings.get("thumbnail_memory_mb")),
        }

    def _take(self, address: str, source: Path, stat: Stat, width: int, answer: Answer) -> None:
        """In a worker's thread: keep what came, or that nothing will."""
        if "facts" in answer.data or answer.error == "damaged":
            with self._lock:
                self._peeked[(address, stat.size, stat.mtime_ns)] = facts_of(answer)
                if len(self._peeked) > PEEKED_KEPT:
                    self._peeked.popitem(last=False)
        error = answer.error or ("" if answer.content else "none")
        if error:
            if error not in TRANSIENT:
                if error != "none":
                    log.info("no thumbnail of %s: %s", address, answer.data.get("why", error))
                if "facts" not in answer.data or kinds.suffix(paths.name_of(address)) not in kinds.NODE_ONLY:
                    self._failed((address, stat.size, stat.mtime_ns), error)
            return
        if (answer.data.get("size"), answer.data.get("mtime_ns")) != (stat.size, stat.mtime_ns):
            return  # Race: it changed meanwhile; whoever asks next asks for the new one.
        form = str(answer.data.get("format"))
        if "." + form not in FORMS:
            return
        try:
            folder = self._folder(address)
            if folder is None or not source.exists():
                return  # Race: it went, and its companion must not be made again.
            _keep(folder, _name(width, stat), "." + form, answer.content)
            self._full = False
        except (OSError, CroftError) as failure:
            if not self._full:
                log.warning("thumbnail of %s not kept: %s", address, failure)
            self._full = True
            return
        for listener in self._listeners:
            listener(address)


def facts_of(answer: Answer) -> dict[str, Any]:
    """The facts in a `look`'s answer; {} if there are none."""
    facts = answer.data.get("facts")
    return facts if isinstance(facts, dict) else {}


def _name(width: int, stat: Stat) -> str:
    return f"{width}-{stat.size:x}-{stat.mtime_ns & 0xFFFFFFFFFFFFFFFF:x}"


def _look(folder: Path, name: str) -> Path | None:
    """The thumbnail of that name, in either form. An empty one is what a power cut left, a link a trap."""
    for form in FORMS:
        path = folder / (name + form)
        with contextlib.suppress(OSError):
            status = os.lstat(path)
            if status.st_size > 0 and modes.S_ISREG(status.st_mode):
                return path
    return None


def _keep(folder: Path, name: str, form: str, content: bytes) -> None:
    """Written aside, renamed, older states of the same width removed. Not flushed: it is derived."""
    _make(folder)
    aside = folder / f"{files.TEMPORARY}{secrets.token_hex(6)}"
    try:
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o664)
        with os.fdopen(fd, "wb") as file:
            files.share_with_group(file.fileno(), folder)
            file.write(content)
        os.replace(aside, folder / (name + form))
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(aside)
        raise
    width = name.partition("-")[0] + "-"
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(width) and entry.name != name + form:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def _make(folder: Path) -> None:
    """The folder and its parents, each for the group of the one it lies in."""
    if folder.is_dir():
        return
    if folder.name != paths.COMPANION:  # Race: a folder of people's that went isn't made again
        _make(folder.parent)
    try:
        os.mkdir(folder)
    except FileExistsError:
        return  # Race: another worker or server made it.
    with contextlib.suppress(OSError):
        os.chown(folder, -1, os.stat(folder.parent).st_gid)
        os.chmod(folder, files.FOLDER_MODE)
