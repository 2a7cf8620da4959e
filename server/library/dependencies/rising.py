"""Which assets wait for which, by what scenes link and by what people say, and who rises by that.

A change costs what can be reached from it, not the whole graph: whoever isn't reached keeps its rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from server.disk import paths
from server.disk.records import Entry
from server.disk.store import Store

from ..projects import Projects
from .book import Book
from .ranks import Rank, ranks


class Stand(NamedTuple):
    """An asset's own priority, and whether who waits for it raises that."""

    priority: int
    rises: bool


Standing = Stand | None  # None: it is final, or no asset


class Rising:
    """One writer. `true` and `waiting` are other mappings whenever something in them changes."""

    def __init__(self, store: Store, projects: Projects, book: Book) -> None:
        self._store = store
        self._projects = projects
        self._book = book
        self.true: Mapping[str, float] = {}
        """The true priority of each asset that rises above its own."""
        self.waiting: Mapping[str, int] = {}
        """How many assets that aren't final wait for this one."""
        self.declared: dict[
            str, tuple[str, ...]
        ] = {}  # asset -> what people say it waits for, in their order
        self.declared_by: dict[str, set[str]] = {}
        self._declaring: set[str] = set()  # assets of which people say so
        self._open: dict[str, set[str]] = {}  # what may settle a name that stands for nothing -> its assets
        self._opens: dict[str, set[str]] = {}  # asset -> what may settle its names
        self._standing: dict[str, Standing] = {}  # as it was when ranks were made
        self._names: dict[str, tuple[int, dict[str, list[str]]]] = {}  # project -> generation, by name

    def note(self, address: str, entry: Entry | None) -> set[str]:
        """An asset changed. Where ranks have to be made anew from."""
        roots: set[str] = set()
        facts = entry.facts if entry is not None and entry.stat is not None else None
        if facts is not None and facts.dependencies:
            self._declaring.add(address)
        if address in self._declaring:
            roots |= self._declare(address, entry)
        for asset in self._concerned(address, entry):  # a name that somebody waits for may have come to be
            roots |= self._declare(asset, self._store.index.get(asset))
        known = address in self._standing
        takes_part = known or self._book.is_named(address) or address in self._book.uses
        if takes_part and self._standing.get(address) != self._stands(entry):
            roots |= {address, *self._waits_for(address)}
        return roots

    def everything(self) -> set[str]:
        """Ranks anew, of all: where the answer is another one."""
        for entry in self._store.index.entries():
            if entry.facts is not None and entry.facts.dependencies and entry.stat is not None:
                self._declaring.add(entry.address)
                self._declare(entry.address, entry)
        named = set(self._book.named()).union(self.declared_by)
        assets = {address for address in named if self._look(address) is not None}
        users = {user for address in assets for user in self._users(address)}
        return self._rank({*assets, *users})

    def some(self, roots: Iterable[str]) -> set[str]:
        """Ranks anew, of these and of what they wait for, directly or not."""
        reached: set[str] = set()
        waiting = list(roots)
        while waiting:
            address = waiting.pop()
            if address not in reached:
                reached.add(address)
                waiting += self._waits_for(address)
        return self._rank(reached)

    def _rank(self, reached: set[str]) -> set[str]:
        """Whatever is reached from outside has a rank that stays."""
        own: dict[str, Rank] = {}
        fixed: set[str] = set()
        waits: dict[str, list[str]] = {}
        counts: dict[str, int] = {}
        stands = {address: self._look(address) for address in reached}
        for address, stand in stands.items():
            if stand is None:
                continue
            best = (stand.priority, 0)
            if not stand.rises:
                fixed.add(address)
            count = 0
            for user in self._users(address):
                theirs = stands[user] if user in stands else self._known(user)
                if theirs is None:
                    continue
                count += 1
                if user in stands:
                    waits.setdefault(user, []).append(address)
                else:
                    rank = self._rank_of(user, theirs.priority)
                    best = max(best, (rank[0], rank[1] + 1)) if stand.rises else best
            own[address] = best
            if count:
                counts[address] = count
        found = ranks(own, waits, fixed)
        true, waiting = dict(self.true), dict(self.waiting)
        changed: set[str] = set()
        for address, standing in stands.items():
            value = None
            if standing is not None and found[address] > (standing.priority, 0):
                value = number(found[address])
            if true.get(address) != value or waiting.get(address) != counts.get(address):
                changed.add(address)
                _set(true, address, value)
                _set(waiting, address, counts.get(address))
        if changed:
            self.true, self.waiting = true, waiting
        return changed

    def _rank_of(self, address: str, priority: int) -> Rank:
        true = self.true.get(address)
        return (priority, 0) if true is None else rank_of(true)

    def _known(self, address: str) -> Standing:
        if address not in self._standing:
            return self._look(address)
        return self._standing[address]

    def _look(self, address: str) -> Standing:
        """How an asset stands; kept, so that a later change is known for one. Other files never stand."""
        entry = self._store.index.get(address)
        if entry is None or entry.facts is None:
            self._standing.pop(address, None)
            return None
        stands = self._standing[address] = self._stands(entry)
        return stands

    def _stands(self, entry: Entry | None) -> Standing:
        if entry is None or entry.facts is None or entry.stat is None or entry.facts.final:
            return None
        words = self._projects.set_of(self._projects.of(entry.address))
        state = words.state(entry.facts.state)
        if state.final:
            return None
        return Stand(entry.facts.priority, words.boosting and state.boost)

    def _users(self, address: str) -> set[str]:
        return (self._book.users(address) | self.declared_by.get(address, set())) - {address}

    def _waits_for(self, address: str) -> set[str]:
        index = self._store.index
        named = self._book.targets(address) | set(self.declared.get(address, ()))
        return {file for file in named if (entry := index.get(file)) is not None and entry.facts is not None}

    # What people say

    def _declare(self, address: str, entry: Entry | None) -> set[str]:
        """What an asset waits for by people's word. Where ranks change by it."""
        facts = entry.facts if entry is not None and entry.stat is not None else None
        named = facts.dependencies if facts is not None else ()
        before = self.declared.get(address, ())
        now = tuple(self._meant(address, text) for text in named)
        if not named:
            self._declaring.discard(address)
            self.declared.pop(address, None)
        else:
            self.declared[address] = now
        unknown = [text for text, meant in zip(named, now, strict=True) if not meant]
        self._wait_for_names(address, {key for text in unknown for key in self._keys(address, text)})
        if now == before:
            return set()
        for file in {*before} - {*now, ""}:
            self.declared_by.get(file, set()).discard(address)
        for file in {*now} - {*before, ""}:
            self.declared_by.setdefault(file, set()).add(address)
        return {address, *before, *now} - {""}

    def _concerned(self, address: str, entry: Entry | None) -> set[str]:
        """The assets one of whose names stands for this file, or may from now on."""
        name = paths.name_of(address)
        if name == paths.PROJECT_FILE:  # names are looked for in projects
            return set(self._opens)
        keys = {address, name, paths.stem_of(name), name.removesuffix(".blend")}
        if entry is not None and entry.facts is not None:
            keys.add(entry.facts.name)
        found = set(self.declared_by.get(address, ()))
        for key in keys:
            found |= self._open.get(key.casefold(), set())
        return found

    def _keys(self, source: str, text: str) -> Iterator[str]:
        """What a name that stands for nothing waits for: a file's name, an asset's, or that one of several
        that it fits becomes another."""
        plain = _plain(text)
        yield paths.name_of(plain).casefold()
        yield plain.casefold()
        project = self._projects.of(source)
        if project is not None:
            yield from (file.casefold() for file in self._by_name(project.address).get(plain.casefold(), ()))

    def _wait_for_names(self, asset: str, keys: set[str]) -> None:
        before = self._opens.pop(asset, set())
        for key in before - keys:
            held = self._open[key]
            held.discard(asset)
            if not held:
                del self._open[key]
        for key in keys - before:
            self._open.setdefault(key, set()).add(asset)
        if keys:
            self._opens[asset] = keys

    def _meant(self, source: str, text: str) -> str:
        """The address of the one asset that a name stands for (an address, a path, a file's or an asset's
        name); '' where there is none, or several."""
        text = text.strip()
        index = self._store.index
        if paths.SEPARATOR in text:
            return text if index.get(text) is not None else ""
        project = self._projects.of(source)
        if project is None or not text:
            return ""
        plain = _plain(text)
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


def _plain(text: str) -> str:
    return text.strip().replace("\\", "/").removeprefix("//").strip("/")


def number(rank: Rank) -> float:
    """A rank as one number that sorts like it: 3.002 is two above priority 3."""
    return round(rank[0] + rank[1] / 1000, 3)


def rank_of(number: float) -> Rank:
    """The rank that such a number stands for."""
    return int(number), round((number - int(number)) * 1000)


def _set(held: dict[str, float] | dict[str, int], address: str, value: float | int | None) -> None:
    if value is None:
        held.pop(address, None)
    else:
        held[address] = value  # type: ignore[assignment]
