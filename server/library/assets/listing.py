"""One project's rows, kept in step with the index; sorted and filtered as they are asked for.

Brought up to date by what the index says has changed: one edit among 100,000 files costs a search in each
remembered answer, a page that nobody asks for costs nothing. Answers are copied before they change, so that
who holds one may go on reading it. After very many changes all entries are looked at again.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.disk import paths
from server.disk.records import Entry
from server.disk.store import Store

from ..media import kinds
from ..projects import AssetSet
from ..search import Change, Query, Row

QUERIES_KEPT = 16  # answers remembered for each project
BEHIND = 2000  # changes from which on an answer is made anew rather than followed
ASSET_KINDS = ("scene", "film", "sequence")  # what becomes an asset by itself
SUPPORT = frozenset({  # in folders of these names a sequence is a texture or a cache
    "tex", "texs", "texture", "textures", "maps", "udim", "udims", "cache", "caches", "hdri", "hdris",
    "refs", "references", "brushes",
})  # fmt: skip
NOBODY: Mapping[str, float] = {}  # whose true priority is another than its own


Key = tuple[Query, AssetSet]


@dataclass(slots=True)
class Answer:
    """The rows of one query, and what has changed since they were right."""

    rows: list[Row]
    behind: list[Change] = field(default_factory=list)
    entries: tuple[Entry, ...] | None = None


class Listing:
    """The rows of one project, kept in step with the index; sorted and filtered as they are asked for."""

    def __init__(
        self, store: Store, address: str, rise: Callable[[], Mapping[str, float]] = lambda: NOBODY
    ) -> None:
        """`rise` tells whose true priority is above its own: the same mapping until one changes."""
        self._store = store
        self._rise = rise
        self._risen: Mapping[str, float] = NOBODY
        self._address = address
        self._inside = address + "/"
        self._top = paths.top_of(address)
        self._lock = threading.Lock()
        self._generation = -1
        self._rows: dict[str, Row] = {}
        self._assets = 0  # how many rows are assets
        self._answers: OrderedDict[Key, Answer] = OrderedDict()

    def page(
        self, query: Query, words: AssetSet, limit: int, after: list[Any] | None
    ) -> tuple[list[Row], int, str]:
        """Rows from after the cursor's place on, how many match in all, and the next cursor."""
        rows = self.rows(query, words)
        start = query.place(rows, after, words) if after is not None else 0
        part = rows[start : start + limit]
        more = start + limit < len(rows)
        return part, len(rows), query.cursor(part[-1], words) if more and part else ""

    def rows(self, query: Query, words: AssetSet) -> list[Row]:
        """All that match, in order: the same list until one of them changes. Shared: don't change it."""
        with self._lock:
            return self._answer(query, words).rows

    def entries(self, query: Query, words: AssetSet) -> tuple[Entry, ...]:
        """The entries of `rows`, as one tuple that stays the same as long as they do."""
        with self._lock:
            answer = self._answer(query, words)
            if answer.entries is None:
                answer.entries = tuple(row.entry for row in answer.rows)
            return answer.entries

    def count(self) -> int:
        """How many rows are assets."""
        with self._lock:
            self._refresh()
            return self._assets

    def _answer(self, query: Query, words: AssetSet) -> Answer:
        self._refresh()
        key = (query, words)
        answer = self._answers.get(key)
        if answer is not None and answer.behind:
            rows = query.follow(answer.rows, answer.behind, words)
            if rows is None:
                answer = None
            elif rows is answer.rows:
                answer.behind = []
            else:
                answer = self._answers[key] = Answer(rows)
        if answer is None:
            answer = self._answers[key] = Answer(query.run(self._rows.values(), words))
        self._answers.move_to_end(key)
        if len(self._answers) > QUERIES_KEPT:
            self._answers.popitem(last=False)
        return answer

    def _refresh(self) -> None:
        """Take over what changed in the index: entries are replaced whole, so identity tells."""
        index = self._store.index
        generation = index.generation_of(self._top)
        risen = self._rise()
        if risen is not self._risen:
            self._follow_priorities(risen)
        if generation == self._generation:
            return
        changed = index.changed_since(self._top, self._generation) if self._generation >= 0 else None
        if changed is None:
            self._look_at_all()
        else:
            self._follow(changed)
        # Changes after `generation` was read may be in already; they are looked at once more then.
        self._generation = generation

    def _look_at_all(self) -> None:
        before = self._rows
        rows: dict[str, Row] = {}
        for entry in self._store.index.under(self._address):
            row = before.get(entry.address)
            if row is None or row.entry is not entry:
                if not listed(entry):
                    continue
                row = self._row(entry)
            rows[entry.address] = row
        self._rows = rows
        self._assets = sum(1 for row in rows.values() if row.asset)
        self._answers.clear()

    def _follow(self, changed: list[str]) -> None:
        changes: list[Change] = []
        for address in changed:
            if not address.startswith(self._inside):
                continue
            old = self._rows.get(address)
            entry = self._store.index.get(address)
            if old is not None and old.entry is entry:
                continue
            new = self._row(entry) if entry is not None and listed(entry) else None
            if new is not None:
                self._rows[address] = new
            elif old is not None:
                del self._rows[address]
            else:
                continue
            self._assets += (new is not None and new.asset) - (old is not None and old.asset)
            changes.append((old, new))
        self._take_over(changes)

    def _follow_priorities(self, risen: Mapping[str, float]) -> None:
        """Rows whose true priority became another one are made anew."""
        before, self._risen = self._risen, risen
        changes: list[Change] = []
        for address in {*before, *risen}:
            old = self._rows.get(address)
            if old is not None and before.get(address) != risen.get(address):
                new = self._rows[address] = self._row(old.entry)
                changes.append((old, new))
        self._take_over(changes)

    def _row(self, entry: Entry) -> Row:
        return Row(entry, is_asset(entry), self._risen.get(entry.address))

    def _take_over(self, changes: list[Change]) -> None:
        for key, answer in list(self._answers.items()):
            answer.behind += changes
            if len(answer.behind) > BEHIND:
                del self._answers[key]


def is_asset(entry: Entry) -> bool:
    """Whether people track this file: it has a sidecar (or a broken one), or will get one by itself."""
    if entry.facts is not None or entry.broken:
        return True
    if entry.stat is None or entry.incomplete:  # a copy that was cut off becomes none
        return False
    return becomes_asset(entry.address)


def becomes_asset(address: str) -> bool:
    """Whether a file of this name, at this place, becomes an asset by itself."""
    kind = kinds.kind(paths.name_of(address))
    if kind not in ASSET_KINDS:
        return False
    return kind != "sequence" or SUPPORT.isdisjoint(part.casefold() for part in address.split("/")[1:-1])


def listed(entry: Entry) -> bool:
    """Whether a listing shows this file at all, as an asset or as a file."""
    name = paths.name_of(entry.address)
    return name != paths.PROJECT_FILE and f"/{paths.RENDER}/" not in entry.address
