"""Where an upload is to lie, and what is there already.

Names count as Windows and macOS take them: `Hero.blend` is there when `hero.blend` is. Looks at each folder
once for all the uploads of one answer; compares contents by hashes that are made once for each file state.
"""

from __future__ import annotations

import os
import stat as modes
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from server.disk import paths
from server.disk.errors import CroftError
from server.disk.store import Store

from ..projects import Project
from . import staging
from .record import Upload

DIGESTS_KEPT = 2000
FREE_TRIES = 1000

State = tuple[str, int, int, int]  # path, inode, size, mtime in nanoseconds: one state of a file


@dataclass(frozen=True, slots=True)
class There:
    """What has the name already."""

    name: str
    address: str
    size: int
    mtime_ns: int
    folder: bool
    state: State


@dataclass(slots=True)
class Looks:
    """What folders hold, each looked at once: for one answer."""

    store: Store
    folders: dict[str, dict[str, str]] = field(default_factory=dict)

    def names(self, folder: str) -> dict[str, str]:
        """The names in a folder by the key under which systems take them for one."""
        found = self.folders.get(folder)
        if found is None:
            try:
                found = {paths.lock_key(name): name for name in os.listdir(self.store.path(folder))}
            except (OSError, CroftError):
                found = {}
            self.folders[folder] = found
        return found

    def there(self, address: str) -> There | None:
        """What lies at an address, or differs from it in case alone; None where nothing does."""
        folder, name = paths.split(address)
        taken = self.names(folder).get(paths.lock_key(name))
        if taken is None:
            return None
        place = paths.join(folder, taken)
        try:
            path = self.store.path(place)
            st = os.lstat(path)
        except (OSError, CroftError):
            return None  # Race: gone since the folder was listed.
        state = (str(path), st.st_ino, st.st_size, st.st_mtime_ns)
        return There(taken, place, st.st_size, st.st_mtime_ns, modes.S_ISDIR(st.st_mode), state)

    def free(self, address: str) -> str:
        """A name near this one that nothing has: `hero-2.blend`."""
        folder, name = paths.split(address)
        names = self.names(folder)
        stem = paths.stem_of(name)
        for number in range(2, FREE_TRIES):
            other = f"{stem}-{number}{name[len(stem) :]}"
            if paths.lock_key(other) not in names:
                return other
        return ""


class Digests:
    """SHA-256 of files that are there and the CRC-32 of their parts, made once for each state of a file."""

    def __init__(self, chunk_bytes: Callable[[], int] = lambda: 8 << 20) -> None:
        self._chunk_bytes = chunk_bytes
        self._known: OrderedDict[State, tuple[str, list[staging.Chunk]]] = OrderedDict()
        self._lock = threading.Lock()

    def known(self, state: State) -> str:
        return self._known.get(state, ("", []))[0]

    def parts(self, state: State) -> list[staging.Chunk] | None:
        """The parts of a file, which a browser compares with its own; None while they aren't known."""
        found = self._known.get(state)
        return found[1] if found is not None else None

    def make(self, state: State) -> str:
        """Reads the whole file: '' where that can't be done."""
        found = self.known(state)
        if not found:
            made = staging.digest_of(Path(state[0]), self._chunk_bytes())
            found = made[0]
        if found and state not in self._known:
            with self._lock:
                self._known[state] = made
                while len(self._known) > DIGESTS_KEPT:
                    self._known.popitem(last=False)
        return found

    def same(self, upload: Upload, there: There) -> bool | None:
        """Whether the content is the same; None while that isn't known."""
        if there.folder or there.size != upload.size:
            return False
        if not upload.size:
            return True
        ours, theirs = upload.digest, self.known(there.state)
        return ours == theirs if ours and theirs else None


def address_of(project: Project, upload: Upload) -> str:
    """Where the upload is to lie."""
    return paths.join(project.address, *filter(None, (upload.folder, upload.name)))
