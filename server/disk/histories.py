"""Who changed which field of an asset, from what to what: `history.<site>.jsonl` in its companion folder.

Each site appends to its own alone. A line is not flushed by itself: a power cut may cost the last ones. The
change itself stands where its line can't be written; that is told, and nothing is taken back.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.disk import files, paths
from server.disk.errors import CroftError
from server.disk.journal import Journal
from server.disk.records import Problem, utc_now
from server.disk.sites import Sites
from server.disk.speech import say

log = logging.getLogger("croft.store")

BYTES = 4 << 20  # of each site's: the newest changes, some 20,000 of them


def read(path: Path) -> list[dict[str, Any]]:
    """What all sites say of the asset at this path, oldest first."""
    folder = paths.companion_of(path)
    events: list[dict[str, Any]] = []
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    for name in names:
        if name.startswith("history.") and name.endswith(".jsonl"):
            with contextlib.suppress(CroftError):  # `check` tells of one that can't be read
                events += Journal(folder / name).last(BYTES)
    return sorted(events, key=lambda event: str(event.get("at", "")))


class Histories:
    """Those of this site, and which of them lack a line."""

    def __init__(self, sites: Sites) -> None:
        self._sites = sites
        self._wrong: dict[str, str] = {}  # address -> what went wrong

    def open(self, path: Path, disk: files.Os) -> Journal:
        """The asset's own. Its folder is made before the edit: a full disk shows here."""
        folder = paths.companion_of(path)
        files.make_folders(folder, path.parent, disk=disk)
        return Journal(folder / f"history.{self._sites.own}.jsonl", disk)

    def record(
        self,
        journal: Journal,
        address: str,
        who: str,
        fields: Mapping[str, list[Any]],
        vector: Mapping[str, int],
        etag: str,
        why: str = "",
    ) -> None:
        """One line for one edit. Closes the journal."""
        try:
            line = self._sites.line(who, fields, vector, etag)
            journal.append([{**line, "comment": why} if why else line])
            self._wrong.pop(address, None)
        except (CroftError, TypeError) as error:
            # The edit itself stands; to refuse it now would be untrue.
            log.warning("the history of %s lacks a change: %s", address, error)
            self._wrong[address] = str(error)
        finally:
            journal.close()

    def tell(self, address: str, path: Path, who: str, event: Mapping[str, Any], disk: files.Os) -> bool:
        """A line that isn't an edit; lost on a full disk. Is it there?"""
        try:
            journal = self.open(path, disk)
            try:
                journal.append([{"at": utc_now(), "who": who, **event}])
            finally:
                journal.close()
        except (CroftError, TypeError) as error:
            log.warning("the history of %s lacks an event: %s", address, error)
            return False
        return True

    def problems(self) -> list[Problem]:
        """Histories that lack a line."""
        return [
            Problem(
                f"history:{address}",
                "history",
                address,
                say("A change of {address} is missing in its history: {why}", address=address, why=why),
                say("Make room on the disk; the change itself was made."),
            )
            for address, why in list(self._wrong.items())
        ]
