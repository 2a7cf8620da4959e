"""What lies in `old/` of a file: checkpoints and deletions, each intent read once until it changes."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator

from server.disk import checkpoints, intents, paths
from server.disk.errors import CroftError
from server.disk.intents import Intent
from server.disk.store import Store

KEPT_INTENTS = 20_000  # read ones that are remembered


class Kept:
    """Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._read: OrderedDict[str, tuple[tuple[int, int], Intent | None]] = OrderedDict()

    def of(self, address: str) -> Iterator[Intent]:
        """Checkpoints and deletions of a file: in `old/` beside it, and where it was before it moved."""
        share, inside = paths.parse(address)
        entry = self._store.index.get(address)
        uuid = entry.facts.uuid if entry is not None and entry.facts is not None else ""
        name = paths.name_of(inside)
        seen = set()
        for intent in self.within(share, paths.join(paths.folder_of(inside), paths.OLD)):
            own = uuid and intent.data.get("uuid") == uuid
            if own or paths.name_of(str(intent.data["inside"])) == name:
                seen.add(paths.name_of(intent.aside))
                if checkpoints.content_of(intent):
                    yield intent
        for event in self._store.history(address):
            kept = event.get("kept")
            if isinstance(kept, str) and paths.name_of(kept) not in seen and paths.SEPARATOR in kept:
                seen.add(paths.name_of(kept))
                other, aside = kept.split(paths.SEPARATOR, 1)
                found = self.one(share, aside) if other == share else None
                if found is not None and (not uuid or found.data.get("uuid") == uuid):
                    yield found

    def within(self, share: str, old: str) -> Iterator[Intent]:
        """What lies in one `old/`."""
        for ident in intents.names(self._store.share(share).root / old):
            if intents.is_ident(ident):
                intent = self.one(share, paths.join(old, ident))
                if intent is not None and intent.data.get("done"):
                    yield intent

    def one(self, share: str, aside: str) -> Intent | None:
        """What lies in a folder of `old/`, remembered until its intent changes."""
        key = paths.address(share, aside)
        try:
            st = os.stat(self._store.share(share).root / aside / intents.INTENT)
        except OSError:
            return None
        stamp = (st.st_mtime_ns, st.st_ino)
        known = self._read.get(key)
        if known is not None and known[0] == stamp:
            return known[1]
        try:
            intent = intents.read(self._store.share(share), aside)
        except CroftError:
            intent = None
        with self._lock:
            self._read[key] = (stamp, intent)
            if len(self._read) > KEPT_INTENTS:
                self._read.popitem(last=False)
        return intent


def size_of(intent: Intent) -> int | None:
    """How much content lies there; None where nobody knows."""
    size = intent.data.get("size")
    if isinstance(size, int):
        return size
    own = [known for name, known in intent.data["names"].items() if checkpoints.is_own(intent, name)]
    try:
        return sum(int(known[1]) for known in own) if own else None
    except (TypeError, ValueError, IndexError):
        return None
