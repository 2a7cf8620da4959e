"""What was said of rendered versions, as pages ask it for many files: kept in memory until a change is told.

What changed on the disk without anybody telling (another server's approval, where nothing is watched) shows
after KEPT_S. A look that began before a change isn't remembered after it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from server.disk import paths
from server.disk.errors import CroftError
from server.disk.records import Change
from server.disk.store import Store

from .. import versions

KEPT_S = 60.0
KEPT_MOST = 50_000
APPROVED, REJECTED = "approved", "rejected"
Found = TypeVar("Found")


class Judged:
    """Thread-safe."""

    def __init__(self, store: Store, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._told = 0  # changes: a look that began before one isn't remembered after it
        self._kept: dict[tuple[str, str], tuple[tuple[str, ...], float, Any]] = {}
        store.subscribe(self._on_changes)

    def approved(self, address: str) -> str:
        """The name of a file's approved version; '' for none."""
        return self._look("", address, lambda: versions.approved(self._store, address), "")

    def of(self, address: str) -> Mapping[str, str]:
        """`approved` or `rejected` by the name of the version; others aren't in it."""

        def look() -> Mapping[str, str]:
            return {
                str(record["version"]): APPROVED if record.get("approved") else REJECTED
                for record in versions.listed(self._store, address)
                if record.get("approved") or record.get("rejected")
            }

        return self._look("all", address, look, {})

    def _look(self, what: str, address: str, look: Callable[[], Found], none: Found) -> Found:
        folder = paths.render_folder(address)
        names, now = self._store.index.versions(folder), self._monotonic()
        known = self._kept.get((what, folder))
        if known is not None and known[0] == names and now - known[1] < KEPT_S:
            return known[2]  # type: ignore[no-any-return]
        told = self._told
        found = known[2] if known is not None else none
        with contextlib.suppress(CroftError, OSError):  # else as it was known last
            found = look()
        with self._lock:
            if len(self._kept) >= KEPT_MOST:
                self._kept.clear()
            if told == self._told:
                self._kept[what, folder] = (names, now, found)
        return found

    def _on_changes(self, changes: Iterable[Change]) -> None:
        with self._lock:
            for change in changes:
                if change.kind == "asset":
                    self._told += 1
                    for folder in (change.id, paths.render_folder(change.id)):
                        for what in ("", "all"):
                            self._kept.pop((what, folder), None)
