"""Which scene names which files, as maps in memory, and whether they are there.

Told what a scene names, it keeps who is named by whom, what of that is missing, and what only some
computers find. Whether a file is there is asked of the index, and of the disk for what the index doesn't
list. Small at 100,000 scenes: paths are shared among all that say the same, addresses with the index.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from server.disk import paths
from server.disk.errors import CroftError
from server.disk.listing import frame_key
from server.disk.store import Store

from .links import Link, Links

USES_MOST = 2_000_000  # of all scenes
FEW = 8  # users: more are a set

Raw = str  # `kind:path`, the path as it stands in the scene


@dataclass(frozen=True, slots=True)
class Use:
    """One file that a scene uses, or that people say it waits for (kind `asset`)."""

    raw: str
    kind: str  # library image sound film font cache volume text asset
    address: str  # '' where it lies on no share
    status: str  # ok, missing, absolute (there, but named as one computer sees it), outside (of all shares)


class Book:
    """One writer; readers take copies under the lock."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lock = threading.RLock()
        self.uses: dict[str, tuple[Raw, ...]] = {}  # scene -> what it names
        self.absent: set[str] = set()  # of the files that are named
        self.bad: dict[
            str, tuple[Use, ...]
        ] = {}  # scenes with something amiss: what only some computers find
        self.count = 0
        self._users: dict[str, str | tuple[str, ...] | set[str]] = {}  # file -> the scenes that name it
        self._frames: dict[str, set[str]] = {}  # sequence -> those of its frames that scenes name
        self._raws: dict[Raw, Raw] = {}  # each once
        self._uuids: dict[str, str] = {}  # of named assets, to know one again that was renamed
        self._links: tuple[object, Links] | None = None

    # Asking

    def of(self, scene: str) -> list[Use]:
        """What a scene names, in its order, as it is now."""
        with self.lock:
            raws = self.uses.get(scene, ())
        return self.meant(scene, raws)

    def meant(self, scene: str, raws: Iterable[Raw]) -> list[Use]:
        """What paths mean that stand in a scene."""
        return [use for raw in raws if (use := self._use(raw, self._link(scene, raw))) is not None]

    def targets(self, scene: str) -> set[str]:
        """The files that a scene names and that lie on a share."""
        with self.lock:
            raws = self.uses.get(scene, ())
        found = {link.address for raw in raws if (link := self._link(scene, raw)) is not None}
        return found - {"", scene}

    def users(self, file: str) -> set[str]:
        """The scenes that name a file; for a sequence those that name one of its frames."""
        with self.lock:
            found = self._of(file)
            for frame in self._frames.get(file, ()):
                found |= self._of(frame)
        return found

    def named(self) -> list[str]:
        """Every file that some scene names."""
        with self.lock:
            return list(self._users)

    def is_named(self, file: str) -> bool:
        return file in self._users

    def frames(self, key: str) -> list[str]:
        """The frames of a sequence that scenes name."""
        with self.lock:
            return list(self._frames.get(key, ()))

    def moved(self, file: str) -> str:
        """Where an asset that was at this address lies now, by its uuid; '' where that isn't known."""
        held = self._store.index.holders(self._uuids.get(file, ""))
        there = [address for address in held if address != file and self.is_there(address)]
        return there[0] if len(there) == 1 else ""

    def is_there(self, file: str) -> bool:
        """Whether a file is there; what lies on a share that is away counts as there."""
        index = self._store.index
        entry = index.get(file)
        if entry is not None:
            return entry.stat is not None
        folder, name = paths.split(file)
        key = frame_key(name)
        sequence = index.get(paths.join(folder, key)) if key else None
        if sequence is not None or is_unlisted(file):
            return self._is_on_disk(file)
        # Names that the configuration ignores are on the disk alone.
        return index.has_folder(file) or (self._is_ignored(name) and self._is_on_disk(file))

    # Being told

    def put(self, scene: str, raws: tuple[Raw, ...]) -> set[str]:
        """A scene names these now. The files that it didn't name before, or doesn't any more."""
        with self.lock:
            before = self.uses.get(scene, ())
            if before == raws:
                return set()
            if self.count + len(raws) - len(before) > USES_MOST:
                raws = raws[: len(before)]
            raws = tuple(self._raws.setdefault(raw, raw) for raw in raws)
            old = self.targets(scene)
            self.count += len(raws) - len(before)
            if raws:
                self.uses[scene] = raws
            else:
                self.uses.pop(scene, None)
            linked = [(raw, self._link(scene, raw)) for raw in raws]
            new = {link.address for _, link in linked if link is not None} - {"", scene}
            for file in old - new:
                self._leave(file, scene)
            for file in new - old:
                self._join(file, scene)
        used = [use for raw, link in linked if (use := self._use(raw, link)) is not None]
        missing = {use.address for use in used if use.status == "missing"}
        with self.lock:
            self.absent |= missing & new
        for file in new - old - missing:
            self._keep_uuid(file)
        self._judge(scene, used)
        return old ^ new

    def look(self, file: str) -> set[str]:
        """Look whether a file that scenes name is there. Where that is news: its users."""
        there = self.is_there(file)
        if not there and is_folder(file):
            return set()  # caches that weren't made yet
        if there:
            self._keep_uuid(file)
        with self.lock:
            if file not in self._users or there == (file not in self.absent):
                return set()
            (self.absent.discard if there else self.absent.add)(file)
            users = self._of(file)
        for scene in users:
            self._judge(scene, self.of(scene))
        return users

    # Within

    def _judge(self, scene: str, used: Iterable[Use]) -> None:
        bad = [use for use in used if use.status != "ok"]
        with self.lock:
            if bad:
                self.bad[scene] = tuple(use for use in bad if use.status != "missing")
            else:
                self.bad.pop(scene, None)

    def _link(self, scene: str, raw: Raw) -> Link | None:
        return self._how().resolve(scene, raw.partition(":")[2])

    def _use(self, raw: Raw, link: Link | None) -> Use | None:
        if link is None:
            return None
        kind, _, path = raw.partition(":")
        if not link.address:
            return Use(path, kind, "", "outside")
        if not self.is_there(link.address) and not (kind == "cache" and is_folder(link.address)):
            return Use(path, kind, link.address, "missing")
        return Use(path, kind, link.address, "absolute" if link.absolute else "ok")

    def _how(self) -> Links:
        """How paths are understood; made anew when the configuration of shares changes."""
        configured = self._store.settings.folder("shares")
        known = self._links
        if known is None or known[0] is not configured:
            known = self._links = (configured, Links(self._store.shares, configured))
        return known[1]

    def _keep_uuid(self, file: str) -> None:
        entry = self._store.index.get(file)
        if entry is not None and entry.facts is not None and entry.facts.uuid:
            self._uuids[file] = entry.facts.uuid

    def _of(self, file: str) -> set[str]:
        held = self._users.get(file, ())
        return {held} if isinstance(held, str) else set(held)

    def _join(self, file: str, scene: str) -> None:
        held = self._users.get(file)
        if held is None:
            entry = self._store.index.get(file)
            self._users[entry.address if entry is not None else file] = scene
            if key := sequence_of(file):
                self._frames.setdefault(key, set()).add(file)
        elif isinstance(held, str):
            self._users[file] = (held, scene)
        elif isinstance(held, tuple):
            more = (*held, scene)
            self._users[file] = more if len(more) <= FEW else set(more)
        else:
            held.add(scene)

    def _leave(self, file: str, scene: str) -> None:
        held = self._of(file) - {scene}
        if len(held) > FEW:
            self._users[file] = held
        elif len(held) > 1:
            self._users[file] = tuple(held)
        elif held:
            self._users[file] = held.pop()
        elif self._users.pop(file, None) is not None:
            self.absent.discard(file)
            self._uuids.pop(file, None)
            if key := sequence_of(file):
                frames = self._frames.get(key, set())
                frames.discard(file)
                if not frames:
                    self._frames.pop(key, None)

    def _is_ignored(self, name: str) -> bool:
        return paths.is_ignored(name, self._store.settings.get("ignore"))

    def _is_on_disk(self, file: str) -> bool:
        try:
            share = self._store.share(file)
            if self._store.away(share.name):
                return True
            return os.path.exists(self._store.path(file))
        except CroftError:
            return False


def is_folder(address: str) -> bool:
    """Whether a cache is a folder, by its name: one that wasn't baked yet isn't missing."""
    return not os.path.splitext(address)[1]


def sequence_of(address: str) -> str:
    """The sequence that a frame belongs to; '' for what is no frame."""
    folder, name = paths.split(address)
    key = frame_key(name)
    return paths.join(folder, key) if key else ""


def is_unlisted(address: str) -> bool:
    """Whether the index never lists what lies there: in a companion, in `old/`, among rendered frames."""
    parts = address.partition(paths.SEPARATOR)[2].split("/")
    return any(part in (paths.RENDER, paths.OLD) or part.startswith((".", "blendcache_")) for part in parts)
