"""One project's rows, kept in step with the index; sorted and filtered as they are asked for.

Brought up to date by comparing the index's entries, which are replaced whole: among 100,000 that takes some
30 ms after a change and nothing otherwise. Answers are remembered until an entry of the project changes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

from server.disk import paths
from server.disk.records import Entry
from server.disk.store import Store

from ..media import kinds
from ..projects import AssetSet
from ..search import Query, Row

QUERIES_KEPT = 16  # answers remembered for each project
ASSET_KINDS = ("scene", "film")  # what becomes an asset by itself


class Listing:
    """The rows of one project, kept in step with the index; sorted and filtered as they are asked for."""

    def __init__(self, store: Store, address: str) -> None:
        self._store = store
        self._address = address
        self._top = paths.top_of(address)
        self._lock = threading.Lock()
        self._generation = -1
        self._rows: dict[str, Row] = {}
        self._answers: OrderedDict[tuple[Query, AssetSet], list[Row]] = OrderedDict()
        self._entries: dict[tuple[Query, AssetSet], tuple[Entry, ...]] = {}

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
        """All that match, in order; remembered until an entry of the project changes."""
        key = (query, words)
        with self._lock:
            self._refresh()
            rows = self._answers.get(key)
            if rows is not None:
                self._answers.move_to_end(key)
                return rows
            rows = query.run(self._rows.values(), words)
            self._answers[key] = rows
            if len(self._answers) > QUERIES_KEPT:
                self._entries.pop(self._answers.popitem(last=False)[0], None)
            return rows

    def entries(self, query: Query, words: AssetSet) -> tuple[Entry, ...]:
        """The entries of `rows`, as one tuple that stays the same as long as they do."""
        rows = self.rows(query, words)
        key = (query, words)
        with self._lock:
            kept = self._entries.get(key)
            if kept is None or self._answers.get(key) is not rows:
                kept = tuple(row.entry for row in rows)
                if self._answers.get(key) is rows:
                    self._entries[key] = kept
            return kept

    def count(self) -> int:
        """How many rows are assets."""
        with self._lock:
            self._refresh()
            return sum(1 for row in self._rows.values() if row.asset)

    def _refresh(self) -> None:
        """Take over what changed in the index: entries are replaced whole, so identity tells."""
        index = self._store.index
        generation = index.generation_of(self._top)
        if generation == self._generation:
            return
        before = self._rows
        rows: dict[str, Row] = {}
        changed = False
        for entry in index.under(self._address):
            row = before.get(entry.address)
            if row is None or row.entry is not entry:
                if not listed(entry):
                    continue
                row = Row(entry, is_asset(entry))
                changed = True
            rows[entry.address] = row
        if changed or len(rows) != len(before):
            self._rows = rows
            self._answers.clear()
            self._entries.clear()
        self._generation = generation


def is_asset(entry: Entry) -> bool:
    """Whether people track this file: it has a sidecar (or a broken one), or will get one by itself."""
    if entry.facts is not None or entry.broken:
        return True
    return entry.stat is not None and kinds.kind(paths.name_of(entry.address)) in ASSET_KINDS


def listed(entry: Entry) -> bool:
    """Whether a listing shows this file at all, as an asset or as a file."""
    name = paths.name_of(entry.address)
    return name != paths.PROJECT_FILE and f"/{paths.RENDER}/" not in entry.address
