"""Square pictures of people and teams: `photos/users/<ident>.jpg`, `photos/projects/<ident>.jpg`.

They lie in the configuration, never on a share, and may be put there and deleted by hand; RFAM's, which
files name as `image`, are shown where there is none. Looks at the folders at most once a second, whoever
asks. Reads and writes what it is given: that it is a picture, and a small one, was checked before.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from server.disk import files
from server.disk.encoding import quote
from server.disk.errors import BadInput, NotFound
from server.disk.speech import say

KINDS = ("users", "projects")
LOOK_S = 1.0
MAX_BYTES = 1 << 20  # a larger one was put there by hand, and isn't shown: upload it instead
JPEG = b"\xff\xd8\xff"
Seen = tuple[int, int, int]  # size, mtime in nanoseconds, inode


class Photos:
    """The pictures of one configuration. Thread-safe; holds hashes, not pictures."""

    def __init__(
        self,
        folder: Path,
        elsewhere: Callable[[str], Mapping[str, Path]] = lambda kind: {},
        clock: Callable[[], float] = time.monotonic,
        disk: files.Os = files.REAL,
    ) -> None:
        """`elsewhere(kind)`: where the pictures of those lie who have none here."""
        self._folder = folder
        self._elsewhere = elsewhere
        self._clock = clock
        self._disk = disk
        self._lock = threading.Lock()
        self._looked: dict[str, float] = {}
        self._seen: dict[str, dict[str, tuple[Seen, str]]] = {}
        self._urls: dict[str, Mapping[str, str]] = {kind: MappingProxyType({}) for kind in KINDS}

    def urls(self, kind: str) -> Mapping[str, str]:
        """Ident -> address of the picture, which changes with it. The same object until one changes."""
        now = self._clock()
        if now - self._looked.get(kind, -LOOK_S) >= LOOK_S:
            with self._lock:
                self._looked[kind] = now
                self._look(kind)
        return self._urls[kind]

    def url(self, kind: str, ident: str) -> str:
        """The address of a picture; '' where there is none."""
        return self.urls(kind).get(ident, "")

    def read(self, kind: str, ident: str) -> bytes:
        """A picture's bytes, JPEG. NotFound where there is none that can be shown."""
        for path in (self._path(kind, ident), self._elsewhere(kind).get(ident)):
            with contextlib.suppress(OSError):
                raw = files.read_bounded(path, MAX_BYTES)[0] if path is not None else b""
                if raw.startswith(JPEG):
                    return raw
        raise NotFound(say("There is no picture of {ident}.", ident=ident[:100]))

    def keep(self, kind: str, ident: str, jpeg: bytes) -> None:
        """Put a picture in place of the one that is there, if any."""
        path = self._path(kind, ident)
        files.make_folders(path.parent, self._folder.parent, disk=self._disk)
        files.write_atomic(path, jpeg, disk=self._disk, mode=0o640)
        self._looked.pop(kind, None)

    def remove(self, kind: str, ident: str) -> bytes:
        """Delete a picture; its bytes, for whoever changes their mind. NotFound where there is none."""
        path = self._path(kind, ident)
        kept = b""
        with contextlib.suppress(OSError):
            kept, _ = files.read_bounded(path, MAX_BYTES)
        try:
            self._disk.unlink(path)
        except FileNotFoundError:
            raise NotFound(say("There is no picture of {ident}.", ident=ident[:100])) from None
        self._looked.pop(kind, None)
        return kept

    def _path(self, kind: str, ident: str) -> Path:
        odd = (
            not ident
            or ident[0] == "."
            or "/" in ident
            or "\0" in ident
            or len(ident.encode("utf-8", "replace")) > 240
        )
        if kind not in KINDS or odd:
            raise BadInput(say("Nobody can be called '{ident}'.", ident=ident[:100]))
        return self._folder / kind / f"{ident}.jpg"

    def _look(self, kind: str) -> None:
        old, new = self._seen.get(kind, {}), {}
        there = dict(self._elsewhere(kind))
        with contextlib.suppress(OSError), os.scandir(self._folder / kind) as entries:
            for entry in entries:
                ident, dot, form = entry.name.rpartition(".")
                if form == "jpg" and dot and ident[:1] not in ("", "."):
                    there[ident] = Path(entry.path)
        for ident, path in there.items():
            with contextlib.suppress(OSError):
                st = os.lstat(path)
                if stat.S_ISREG(st.st_mode):
                    seen = (st.st_size, st.st_mtime_ns, st.st_ino)
                    known = old.get(ident)
                    new[ident] = known if known and known[0] == seen else (seen, self._mark(kind, ident))
        self._seen[kind] = new
        found = {
            ident: f"/photo/{kind}/{quote(ident, safe='')}.{mark}.jpg"
            for ident, (_, mark) in new.items()
            if mark
        }
        if found != self._urls[kind]:
            self._urls[kind] = MappingProxyType(found)

    def _mark(self, kind: str, ident: str) -> str:
        """Stands for the content in its address; '' for what can't be shown."""
        try:
            return hashlib.blake2b(self.read(kind, ident), digest_size=6).hexdigest()
        except (NotFound, BadInput):
            return ""
