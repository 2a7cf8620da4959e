"""Who uses what: the libraries, textures and other files that scenes name, and what people say that an
asset waits for; and from that, who rises above whom.

Built in the background from the facts in `file.json`, kept in step by the store's changes; the disk is read
for scenes that changed and, at the start, once for each. Whether a file is there is asked of the index at
the moment of the question. Bounded: a scene's raw paths are shared among all that say the same, and beyond
USES_MOST no more are followed, which is told.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from server.disk import files, paths
from server.disk.errors import CroftError
from server.disk.listing import frame_key
from server.disk.records import Change, Entry, Problem
from server.disk.store import Store

from ..media import kinds
from ..projects import Projects
from . import hints
from .links import Links
from .ranks import Rank, ranks

log = logging.getLogger(__name__)

USES_MOST = 2_000_000  # of all scenes
OF_ONE_MOST = 5000  # of one scene
FACTS_BYTES = 16 << 20
NICE = 12
AT_ONCE = 500  # files read between two looks at what else there is to do
RANK_PAUSE = 10  # ranking takes at most a tenth of the time
UNLISTED_MOST = 50
DEEP_MOST = 300  # libraries of libraries that a warning looks through
WORDS = {"library": "scene", "image": "texture", "texture": "texture"}

Raw = tuple[str, str]  # the path as it stands in the scene, and what kind of file it names


@dataclass(frozen=True, slots=True)
class Use:
    """One file that a scene uses, or that people say it waits for (kind `asset`)."""

    raw: str
    kind: str  # library image sound film font cache volume text asset
    address: str  # '' where it lies on no share
    status: str  # ok, missing, absolute (there, but named as one computer sees it), outside (of all shares)


class Dependencies:
    """Answers are of this moment, as far as the background has come: `settled` waits for it."""

    def __init__(self, store: Store, projects: Projects, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._projects = projects
        self._clock = clock
        self._lock = threading.RLock()  # the maps
        self._uses: dict[str, tuple[Raw, ...]] = {}  # scene -> what it names
        self._targets: dict[str, str | set[str]] = {}  # file -> the scene, or scenes, that name it
        self._absent: set[str] = set()  # of the targets
        self._frames: dict[str, set[str]] = {}  # sequence -> those of its frames that scenes name
        self._bad: dict[
            str, tuple[Use, ...]
        ] = {}  # scenes with something amiss: what only some computers find
        self._raws: dict[Raw, Raw] = {}  # each once
        self._count = 0
        self._uuids: dict[str, str] = {}  # of targets, to know one again that was renamed
        self._declared: dict[str, tuple[str, ...]] = {}  # asset -> what people say it waits for
        self._declared_by: dict[str, set[str]] = {}
        self._standing: dict[str, tuple[int, bool]] = {}  # of assets in the graph: priority, final
        self.unreadable: dict[str, str] = {}  # scene -> why its file.json can't be read
        self.true: Mapping[str, float] = {}
        """The true priority of each asset that rises above its own; another mapping when one changes."""
        self.waiting: Mapping[str, int] = {}
        """How many assets that aren't final wait for this one."""
        self._links: tuple[object, Links] | None = None
        self._names: dict[str, tuple[int, dict[str, list[str]]]] = {}  # project -> generation, by name
        self._condition = threading.Condition()
        self._queue: OrderedDict[str, None] = OrderedDict()  # scenes to read
        self._changed: OrderedDict[str, None] = OrderedDict()  # files that came, went or were edited
        self._rank_wanted = False
        self._rank_at = 0.0
        self._busy = False
        self._closed = False
        self._thread: threading.Thread | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self.faults = 0
        self.hints = hints.Hints(store)

    def start(self) -> None:
        """Begin to read, and to follow."""
        self._unsubscribe = self._store.subscribe(self._on_changes)
        self._sweep()
        self._thread = threading.Thread(target=self._run, name="dependencies", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._unsubscribe()
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        if self._thread is not None:
            self._thread.join(30)

    def settled(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that changed before is known. For tests."""
        with self._condition:
            return self._condition.wait_for(
                lambda: not (self._queue or self._changed or self._busy or self._rank_wanted), timeout_s
            )

    # Asking

    def uses(self, address: str) -> list[Use]:
        """What a scene names and what people say that it waits for, in the file's order."""
        with self._lock:
            raws = self._uses.get(address, ())
            declared = self._declared.get(address, ())
        found = [use for raw in raws if (use := self._use(address, raw)) is not None]
        entry = self._store.index.get(address)
        named = entry.facts.dependencies if entry is not None and entry.facts is not None else ()
        if named:
            known = dict(zip(named, declared, strict=False))
            for text in named:
                target = known.get(text, "")
                found.append(
                    Use(text, "asset", target, "ok" if target and self._is_there(target) else "missing")
                )
        return found

    def used_by(self, address: str) -> list[str]:
        """The assets that use a file or wait for it, sorted."""
        with self._lock:
            held = self._targets.get(address, ())
            users = {held} if isinstance(held, str) else set(held)
            for frame in self._frames.get(address, ()):
                users |= self._sources(frame)
            users |= self._declared_by.get(address, set())
        return sorted(users - {address})

    def missing(self, address: str) -> list[Use]:
        """What a scene names that isn't there, or not for every computer."""
        with self._lock:
            if address not in self._bad:
                return []
        return [use for use in self.uses(address) if use.status != "ok"]

    def warnings(self, address: str) -> list[str]:
        """What to say before this scene is rendered: what it, or a library of it, lacks."""
        said: dict[str, None] = {}
        seen = {address}
        waiting = [address]
        while waiting and len(seen) <= DEEP_MOST:
            scene = waiting.pop()
            through = "" if scene == address else f", which {paths.name_of(scene)} uses,"
            for use in self.uses(scene):
                if use.status == "missing" and use.kind != "asset":
                    name = paths.name_of(use.address)
                    said[f"The {word(use)} {name}{through} isn’t there. {hints.EFFECT[word(use)]}"] = None
                elif use.status in ("absolute", "outside"):
                    said[
                        f"{use.raw}{through} is the path of one computer: others may not find it. "
                        "In Blender: File › External Data › Make Paths Relative."
                    ] = None
                elif use.kind == "library" and use.address not in seen:
                    seen.add(use.address)
                    waiting.append(use.address)
        return list(said)

    def rise(self) -> Mapping[str, float]:
        """The true priorities of all that rise: the same mapping until one changes."""
        return self.true

    def true_priority(self, address: str, own: float) -> float:
        """An asset's own priority, or what it rises to."""
        return self.true.get(address, own)

    def problems(self) -> Iterator[Problem]:
        """What is missing, and what only some computers find. Costs what is wrong, not what there is."""
        with self._lock:
            absent = sorted(self._absent)
            odd = {address: uses for address, uses in sorted(self._bad.items()) if uses}
        self._look_at_unlisted(absent)
        yield from self.hints.problems(self, absent, odd)
        if self._count >= USES_MOST:
            yield hints.too_many(USES_MOST)

    # Following

    def _on_changes(self, changes: list[Change]) -> None:
        """In whichever thread made the change: only note it."""
        changed = [change.id for change in changes if change.kind == "asset"]
        swept = any(change.kind == "share" for change in changes)
        if not changed and not swept:
            return
        if swept:
            self._sweep()
        with self._condition:
            for address in changed:
                self._changed[address] = None
            self._condition.notify_all()

    def _sweep(self) -> None:
        """Look at every scene: at the start, and when a share came."""
        found = [entry.address for entry in self._store.index.entries() if is_scene(entry)]
        with self._condition:
            self._links = None
            self._queue.update(dict.fromkeys(found))
            self._rank_wanted = True
            self._condition.notify_all()

    def _run(self) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        except (OSError, AttributeError):
            pass
        while True:
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                while not (self._closed or self._queue or self._changed or self._rank_due() == 0):
                    self._condition.wait(self._rank_due())
                if self._closed:
                    return
                self._busy = True
                changed, self._changed = self._changed, OrderedDict()
                queue = [self._queue.popitem(last=False)[0] for _ in range(min(AT_ONCE, len(self._queue)))]
                rank = not (self._queue or queue) and self._rank_due() == 0
            try:
                told = self._take(changed)
                for address in queue:
                    told |= self._read(address)
                if rank:
                    told |= self._rank()
                if told:
                    self._store.notify([Change("uses", address) for address in sorted(told)])
            except Exception:
                self.faults += 1
                log.exception("What uses what can't be followed")

    def _rank_due(self) -> float | None:
        """Seconds until the ranks are made again; None while nobody wants them."""
        if not self._rank_wanted:
            return None
        return max(0.0, self._rank_at - self._clock())

    def _take(self, changed: Iterable[str]) -> set[str]:
        """Files that came, went or were edited: as scenes they are read, as targets their users hear."""
        told: set[str] = set()
        index = self._store.index
        for address in changed:
            entry = index.get(address)
            if is_scene(entry):
                told |= self._read(address)
            elif address in self._uses:
                told |= self._set(address, ())
            for target in (address, *self._frames.get(address, ())):
                if target in self._targets:
                    told |= self._look_at_target(target)
            self._note_standing(address, entry)
        return told

    def _look_at_target(self, target: str) -> set[str]:
        """Whether a file that scenes name is there: if that is news, what is said of them changes."""
        there = self._is_there(target)
        if not there and is_folder(target):
            return set()  # caches that weren't made yet
        entry = self._store.index.get(target)
        if there and entry is not None and entry.facts is not None and entry.facts.uuid:
            self._uuids[target] = entry.facts.uuid
        with self._lock:
            if there == (target not in self._absent):
                return set()
            (self._absent.discard if there else self._absent.add)(target)
            users = self._sources(target)
        self._rank_wanted = True
        for address in users:
            self._judge(address)
        return {*users, target}

    def _note_standing(self, address: str, entry: Entry | None) -> None:
        """Whether an edit changes who rises."""
        facts = entry.facts if entry is not None and entry.stat is not None else None
        if facts is not None and facts.dependencies:
            self._rank_wanted = True
        known = self._standing.get(address)
        if known is None:
            # A name that people wait for may have come to be.
            if self._declared and facts is not None:
                self._rank_wanted = True
            return
        if facts is None or known != (facts.priority, self._is_final(entry)):
            self._rank_wanted = True

    def _read(self, address: str) -> set[str]:
        """What the facts of a scene name."""
        place = paths.join(paths.companion_of(address), "file.json")
        try:
            raw, _ = files.read_bounded(self._store.path(place), FACTS_BYTES)
            record = orjson.loads(raw)
            self.unreadable.pop(address, None)
        except FileNotFoundError:
            self.unreadable.pop(address, None)
            return set()  # it wasn't read yet
        except (OSError, ValueError, CroftError) as error:
            self.unreadable[address] = str(error)
            return set()
        return self._set(address, named(record.get("facts") if isinstance(record, dict) else None))

    def _set(self, address: str, raws: tuple[Raw, ...]) -> set[str]:
        """A scene names these now. Whose 'used by' changed, and itself."""
        with self._lock:
            before = self._uses.get(address, ())
            if before == raws:
                return set()
            if self._count + len(raws) - len(before) > USES_MOST:
                raws = raws[: len(before)]
            raws = tuple(self._raws.setdefault(raw, raw) for raw in raws)
            old, new = self._targets_of(address, before), self._targets_of(address, raws)
            self._count += len(raws) - len(before)
            if raws:
                self._uses[address] = raws
            else:
                self._uses.pop(address, None)
            for target in old - new:
                self._leave(target, address)
            for target in new - old:
                self._join(target, address)
        caches = self._targets_of(address, [raw for raw in raws if raw[1] == "cache"])
        for target in new - old:
            entry = self._store.index.get(target)
            if entry is not None and entry.facts is not None and entry.facts.uuid:
                self._uuids[target] = entry.facts.uuid
            if not self._is_there(target) and not (target in caches and is_folder(target)):
                self._absent.add(target)
        self._judge(address)
        self._rank_wanted = True
        return {address, *(old ^ new)}

    def _look_at_unlisted(self, absent: list[str]) -> None:
        """Nobody tells when a file comes that the index doesn't list: a few are asked for now and then."""
        there = [target for target in absent if is_unlisted(target)][:UNLISTED_MOST]
        there = [target for target in there if self._is_there(target)]
        if there:
            with self._condition:
                self._changed.update(dict.fromkeys(there))
                self._condition.notify_all()

    def _targets_of(self, address: str, raws: Iterable[Raw]) -> set[str]:
        links = self._how()
        return {
            link.address
            for raw, _ in raws
            if (link := links.resolve(address, raw)) is not None and link.address and link.address != address
        }

    def _judge(self, address: str) -> None:
        """Whether a scene names something that isn't as it should be."""
        with self._lock:
            raws = self._uses.get(address, ())
        bad = [use for raw in raws if (use := self._use(address, raw)) is not None and use.status != "ok"]
        with self._lock:
            if bad:
                self._bad[address] = tuple(use for use in bad if use.status != "missing")
            else:
                self._bad.pop(address, None)

    # Ranks

    def _rank(self) -> set[str]:
        """Who rises above whom, from the whole graph. Whose true priority or count changed."""
        began = self._clock()
        self._rank_wanted = False
        index = self._store.index
        self._name_declared()
        with self._lock:
            pairs = [
                (source, target)
                for target, held in self._targets.items()
                if target not in self._absent
                for source in ((held,) if isinstance(held, str) else held)
            ]
            pairs += [
                (source, target) for source, held in self._declared.items() for target in held if target
            ]
        own: dict[str, int] = {}
        standing: dict[str, tuple[int, bool]] = {}
        tracked: dict[str, bool] = {}  # whether it takes part
        for address in (address for pair in pairs for address in pair):
            if address in tracked:
                continue
            entry = index.get(address)
            tracked[address] = False
            if entry is not None and entry.facts is not None and entry.stat is not None:
                final = self._is_final(entry)
                standing[address] = (entry.facts.priority, final)
                if not final:
                    tracked[address] = True
                    own[address] = entry.facts.priority
        waits: dict[str, list[str]] = {}
        counts: dict[str, set[str]] = {}
        for source, target in pairs:
            if tracked[source] and tracked[target] and source != target:
                waits.setdefault(source, []).append(target)
                counts.setdefault(target, set()).add(source)
        found = ranks({address: own[address] for address in {*waits, *counts}}, waits)
        true = {address: value for address, rank in found.items() if (value := number(rank)) > own[address]}
        waiting = {address: len(users) for address, users in counts.items()}
        changed = {a for a in {*true, *self.true} if true.get(a) != self.true.get(a)}
        changed |= {a for a in {*waiting, *self.waiting} if waiting.get(a) != self.waiting.get(a)}
        self._standing = standing
        if changed:
            self.true, self.waiting = true, waiting
        now = self._clock()
        self._rank_at = now + RANK_PAUSE * (now - began)
        return changed

    def _is_final(self, entry: Entry | None) -> bool:
        facts = entry.facts if entry is not None else None
        if facts is None or entry is None:
            return True
        if facts.final:
            return True
        state = self._projects.set_of(self._projects.of(entry.address)).states.get(facts.state)
        return state is not None and state.final

    def _name_declared(self) -> None:
        """What people mean by the names that assets wait for."""
        index = self._store.index
        declared: dict[str, tuple[str, ...]] = {}
        declared_by: dict[str, set[str]] = {}
        for entry in index.entries():
            if entry.facts is not None and entry.facts.dependencies and entry.stat is not None:
                meant = tuple(self._meant(entry.address, text) for text in entry.facts.dependencies)
                declared[entry.address] = meant
                for target in meant:
                    if target:
                        declared_by.setdefault(target, set()).add(entry.address)
        with self._lock:
            self._declared, self._declared_by = declared, declared_by

    def _meant(self, source: str, text: str) -> str:
        """The address of the one asset that a name stands for; '' where there is none, or several."""
        text = text.strip()
        index = self._store.index
        if paths.SEPARATOR in text:
            return text if index.get(text) is not None else ""
        project = self._projects.of(source)
        if project is None or not text:
            return ""
        plain = text.replace("\\", "/").removeprefix("//").strip("/")
        for base in (project.address, paths.folder_of(source)):
            for ending in ("", ".blend"):
                place = paths.join(base, plain + ending)
                if index.get(place) is not None:
                    return place
        fitting = self._by_name(project.address).get(plain.casefold(), [])
        return fitting[0] if len(fitting) == 1 else ""

    def _by_name(self, folder: str) -> dict[str, list[str]]:
        """A project's assets by each of their names: of the file, without its ending, and the pretty one."""
        index = self._store.index
        generation = index.generation_of(paths.top_of(folder))
        kept = self._names.get(folder)
        if kept is not None and kept[0] == generation:
            return kept[1]
        found: dict[str, list[str]] = {}
        for entry in index.under(folder):
            if entry.facts is not None:
                name = paths.name_of(entry.address)
                for known in {name.casefold(), paths.stem_of(name).casefold(), entry.facts.name.casefold()}:
                    found.setdefault(known, []).append(entry.address)
        self._names[folder] = (generation, found)
        return found

    # Within

    def _use(self, source: str, raw: Raw) -> Use | None:
        link = self._how().resolve(source, raw[0])
        if link is None:
            return None
        if not link.address:
            return Use(*raw, "", "outside")
        if not self._is_there(link.address) and not (raw[1] == "cache" and is_folder(link.address)):
            return Use(*raw, link.address, "missing")
        return Use(*raw, link.address, "absolute" if link.absolute else "ok")

    def _is_there(self, target: str) -> bool:
        """Whether a file is there; what lies on a share that is away counts as there."""
        index = self._store.index
        entry = index.get(target)
        if entry is not None:
            return entry.stat is not None
        folder, name = paths.split(target)
        key = frame_key(name)
        sequence = index.get(paths.join(folder, key)) if key else None
        if sequence is None and not is_unlisted(target):
            # Names that the index ignores, by the configuration, are on the disk alone; so are folders.
            return index.has_folder(target) or (self._is_ignored(name) and self._is_on_disk(target))
        return self._is_on_disk(target)

    def _is_ignored(self, name: str) -> bool:
        return paths.is_ignored(name, self._store.settings.get("ignore"))

    def _is_on_disk(self, target: str) -> bool:
        try:
            share = self._store.share(target)
            if self._store.away(share.name):
                return True
            return os.path.exists(self._store.path(target))
        except CroftError:
            return False

    def _how(self) -> Links:
        """How paths are understood; made anew when the configuration of shares changes."""
        configured = self._store.settings.folder("shares")
        known = self._links
        if known is None or known[0] is not configured:
            known = self._links = (configured, Links(self._store.shares, configured))
        return known[1]

    def sources(self, target: str) -> list[str]:
        """The scenes that name a file, sorted."""
        with self._lock:
            return sorted(self._sources(target))

    def _sources(self, target: str) -> set[str]:
        held = self._targets.get(target, ())
        return {held} if isinstance(held, str) else set(held)

    def _join(self, target: str, source: str) -> None:
        held = self._targets.get(target)
        if held is None:
            self._targets[target] = source
            if key := sequence_of(target):
                self._frames.setdefault(key, set()).add(target)
        elif isinstance(held, str):
            self._targets[target] = {held, source}
        else:
            held.add(source)

    def _leave(self, target: str, source: str) -> None:
        held = self._targets.get(target)
        if isinstance(held, set):
            held.discard(source)
            if len(held) == 1:
                self._targets[target] = held.pop()
        elif held == source:
            del self._targets[target]
            self._absent.discard(target)
            self._uuids.pop(target, None)
            if key := sequence_of(target):
                frames = self._frames.get(key, set())
                frames.discard(target)
                if not frames:
                    self._frames.pop(key, None)

    def moved(self, target: str) -> str:
        """Where an asset that was at this address lies now, by its uuid; '' where that isn't known."""
        held = self._store.index.holders(self._uuids.get(target, ""))
        there = [address for address in held if address != target and self._is_there(address)]
        return there[0] if len(there) == 1 else ""


def is_scene(entry: Entry | None) -> bool:
    """Whether a file may name others."""
    return entry is not None and entry.stat is not None and kinds.kind(entry.address) == "scene"


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


def named(facts: Any) -> tuple[Raw, ...]:
    """The files that a scene's facts name. What is packed into the scene needs no file."""
    if not isinstance(facts, dict):
        return ()
    found: dict[Raw, None] = {}
    uses = facts.get("uses")
    if isinstance(uses, list):
        for use in uses[:OF_ONE_MOST]:
            if isinstance(use, dict) and isinstance(use.get("path"), str) and not use.get("packed"):
                found[(use["path"], str(use.get("kind") or "file"))] = None
        return tuple(found)
    for key, kind in (("libraries", "library"), ("textures", "image")):
        listed = facts.get(key)
        for path in (listed if isinstance(listed, list) else [])[:OF_ONE_MOST]:
            if isinstance(path, str):
                found[(path, kind)] = None
    return tuple(found)


def word(use: Use) -> str:
    """What a person calls such a file."""
    return WORDS.get(use.kind, "file")


def number(rank: Rank) -> float:
    """A rank as one number that sorts like it: 3.002 is two above priority 3."""
    return round(rank[0] + rank[1] / 1000, 3)
