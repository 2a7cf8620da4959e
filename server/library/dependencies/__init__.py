"""Who uses what: the libraries, textures and other files that scenes name, and what people say that an
asset waits for; and from that, who rises above whom.

Built in the background from the facts in `file.json`, kept in step by the store's changes; the disk is read
for scenes that changed and, at the start, once for each. Whether a file is there is asked of the index at
the moment of the question. Bounded: beyond USES_MOST no more is followed, which is told.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from server.disk import files, paths
from server.disk.errors import CroftError
from server.disk.follower import Follower
from server.disk.records import Change, Entry, Problem
from server.disk.store import Store

from ..media import kinds
from ..projects import Projects
from . import hints
from .book import USES_MOST, Book, Raw, Use, is_unlisted
from .rising import Rising

__all__ = ["Dependencies", "Use", "named"]

log = logging.getLogger(__name__)

OF_ONE_MOST = 5000  # of one scene
FACTS_BYTES = 16 << 20
NICE = 12
AT_ONCE = 200  # files read between two looks at what else there is to do
REST_S = 0.002  # after each: pages go first
UNLISTED_MOST = 50
DEEP_MOST = 300  # libraries of libraries that a warning looks through


class Dependencies(Follower):
    """Answers are of this moment, as far as the background has come: `wait` waits for it."""

    def __init__(self, store: Store, projects: Projects) -> None:
        super().__init__(store, "dependencies", NICE)
        self.book = Book(store)
        self.rising = Rising(store, projects, self.book)
        self.hints = hints.Hints(store)
        self.unreadable: dict[str, str] = {}  # scene -> why its file.json can't be read
        self._queue: OrderedDict[str, None] = OrderedDict()  # scenes to read
        self._changed: OrderedDict[str, None] = OrderedDict()  # files that came, went or were edited
        self._all = True  # every rank is to be made
        self._busy = False
        self.spoilt: Callable[[str], None] = lambda address: None  # told of scenes to be read again

    # Asking

    def uses(self, address: str, facts: object = None) -> list[Use]:
        """What a scene names and what people say that it waits for, in the file's order. `facts`: what was
        read from it just now, where the background may not have come so far."""
        found = self.book.of(address) if facts is None else self.book.meant(address, named(facts))
        entry = self._store.index.get(address)
        said = entry.facts.dependencies if entry is not None and entry.facts is not None else ()
        meant = dict(zip(said, self.rising.declared.get(address, ()), strict=False))
        for text in said:
            target = meant.get(text, "")
            there = bool(target) and self.book.is_there(target)
            found.append(Use(text, "asset", target, "ok" if there else "missing"))
        return found

    def used_by(self, address: str) -> list[str]:
        """The assets that use a file or wait for it, sorted."""
        users = self.book.users(address) | self.rising.declared_by.get(address, set())
        return sorted(users - {address})

    def sources(self, target: str) -> list[str]:
        """The scenes that name a file, sorted."""
        return sorted(self.book.users(target))

    def moved(self, target: str) -> str:
        """Where an asset that was at this address lies now; '' where that isn't known."""
        return self.book.moved(target)

    def missing(self, address: str) -> list[Use]:
        """What a scene names that isn't there, or not for every computer."""
        if address not in self.book.bad:
            return []
        return [use for use in self.uses(address) if use.status != "ok"]

    def warnings(self, address: str) -> list[str]:
        """What to say before this scene is rendered: what it, or a library of it, lacks."""
        said: dict[str, None] = {}
        for use, scene in self.deep(address):
            told = hints.lacks(use, "" if scene == address else paths.name_of(scene))
            if told:
                said[" ".join(told)] = None
        return list(said)

    def deep(self, address: str, facts: object = None) -> Iterator[tuple[Use, str]]:
        """What a scene uses, itself and through its libraries; each with the scene that names it."""
        seen = {address}
        waiting = [address]
        while waiting and len(seen) <= DEEP_MOST:
            scene = waiting.pop()
            for use in self.uses(scene, facts if scene == address else None):
                yield use, scene
                if use.kind == "library" and use.status != "missing" and use.address not in {"", *seen}:
                    seen.add(use.address)
                    waiting.append(use.address)

    @property
    def true(self) -> Mapping[str, float]:
        """The true priority of each asset that rises above its own."""
        return self.rising.true

    @property
    def waiting(self) -> Mapping[str, int]:
        """How many assets that aren't final wait for each."""
        return self.rising.waiting

    def rise(self) -> Mapping[str, float]:
        """The true priorities of all that rise: the same mapping until one changes."""
        return self.rising.true

    def true_priority(self, address: str, own: float) -> float:
        """An asset's own priority, or what it rises to."""
        return self.rising.true.get(address, own)

    def problems(self) -> Iterator[Problem]:
        """What is missing, and what only some computers find. Costs what is wrong, not what there is."""
        with self.book.lock:
            absent = sorted(self.book.absent)
            odd = {address: uses for address, uses in sorted(self.book.bad.items()) if uses}
        self._look_at_unlisted(absent)
        yield from self.hints.problems(self, absent, odd)
        if self.book.count >= USES_MOST:
            yield hints.too_many(USES_MOST)

    # Following

    def _begin(self) -> None:
        self._sweep()

    def _has_work(self) -> bool:
        return bool(self._queue or self._changed or self._busy or self._all)

    def _on_changes(self, changes: list[Change]) -> None:
        changed = [change.id for change in changes if change.kind == "asset"]
        if any(change.kind == "share" for change in changes):
            self._sweep()
        if changed:
            with self._condition:
                self._changed.update(dict.fromkeys(changed))
                self._condition.notify_all()

    def _sweep(self) -> None:
        """Look at every scene: at the start, and when a share came."""
        found = [entry.address for entry in self._store.index.entries() if is_scene(entry)]
        with self._condition:
            self._queue.update(dict.fromkeys(found))
            self._all = True
            self._condition.notify_all()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                while not (self._closed or self._queue or self._changed or self._all):
                    self._condition.wait()
                if self._closed or self._condition.wait_for(lambda: self._closed, REST_S):
                    return
                self._busy = True
                changed, self._changed = self._changed, OrderedDict()
                queue = [self._queue.popitem(last=False)[0] for _ in range(min(AT_ONCE, len(self._queue)))]
                everything = self._all and not self._queue
                self._all = self._all and not everything
            try:
                told = self._take(changed, queue, everything)
                if told:
                    self._store.notify([Change("uses", address) for address in sorted(told)])
            except Exception:
                self.faults += 1
                log.exception("What uses what can't be followed")
                self._take_singly([*queue, *changed], everything)

    def _take(self, changed: Iterable[str], queue: Iterable[str], everything: bool) -> set[str]:
        """What changed, and scenes that were never read. Of whom something else is told afterwards."""
        told: set[str] = set()
        roots: set[str] = set()
        for address in queue:
            told |= self._read(address)
        roots |= told
        for address in changed:
            entry = self._store.index.get(address)
            news = self._read(address) if is_scene(entry) else self._put(address, ())
            for target in (address, *self.book.frames(address)):
                if self.book.is_named(target) and (users := self.book.look(target)):
                    news |= {target, *users}
            told |= news
            roots |= news | self.rising.note(address, entry)
        if everything:
            return told | self.rising.everything()
        # While many are read for the first time, everything comes at the end.
        return told | self.rising.some(roots) if roots and not self._all else told

    def _take_singly(self, batch: list[str], everything: bool) -> None:
        """Once more after a fault, each by itself: one that can't be followed takes no other with it."""
        for address in batch:
            try:
                self._take([address], (), False)
            except Exception:
                self.faults += 1
                log.exception("What %s uses can't be followed", address)
        self._store.notify([Change("uses", address) for address in batch])
        with self._condition:
            self._all = self._all or not everything  # what was done before the fault has no ranks yet

    def _read(self, address: str) -> set[str]:
        """What the facts of a scene name."""
        share, inside = paths.parse(paths.join(paths.companion_of(address), "file.json"))
        try:
            # An address of the index: it needs no second look whether it leads out of its share.
            raw, _ = files.read_bounded(self._store.share(share).root / inside, FACTS_BYTES)
            record = orjson.loads(raw)
            self.unreadable.pop(address, None)
        except FileNotFoundError:
            self.unreadable.pop(address, None)
            return set()  # it wasn't read yet
        except (OSError, ValueError, CroftError) as error:
            if address not in self.unreadable:
                self.unreadable[address] = str(error)
                self.spoilt(address)
            return set()
        return self._put(address, named(record.get("facts") if isinstance(record, dict) else None))

    def _put(self, address: str, raws: tuple[Raw, ...]) -> set[str]:
        """A scene names these now: itself, and whose 'used by' is another one."""
        if self.book.uses.get(address, ()) == raws:
            return set()
        return {address, *self.book.put(address, raws)}

    def _look_at_unlisted(self, absent: list[str]) -> None:
        """Nobody tells when a file comes that the index doesn't list: a few are asked for now and then."""
        there = [target for target in absent if is_unlisted(target)][:UNLISTED_MOST]
        there = [target for target in there if self.book.is_there(target)]
        if there:
            with self._condition:
                self._changed.update(dict.fromkeys(there))
                self._condition.notify_all()


def is_scene(entry: Entry | None) -> bool:
    """Whether a file may name others."""
    return entry is not None and entry.stat is not None and kinds.kind(entry.address) == "scene"


def named(facts: Any) -> tuple[Raw, ...]:
    """The files that a scene's facts name. What is packed into the scene needs no file."""
    if not isinstance(facts, dict):
        return ()
    found: dict[Raw, None] = {}
    uses = facts.get("uses")
    if isinstance(uses, list):
        for use in uses[:OF_ONE_MOST]:
            if isinstance(use, dict) and isinstance(use.get("path"), str) and not use.get("packed"):
                found[f"{plain_kind(use.get('kind'))}:{use['path']}"] = None
        return tuple(found)
    for key, kind in (("libraries", "library"), ("textures", "image")):
        listed = facts.get(key)
        for path in (listed if isinstance(listed, list) else [])[:OF_ONE_MOST]:
            if isinstance(path, str):
                found[f"{kind}:{path}"] = None
    return tuple(found)


def plain_kind(kind: object) -> str:
    """A kind as the facts have it; `file` for what is none."""
    return kind if isinstance(kind, str) and kind.isidentifier() else "file"
