"""Problems that follow from what the index knows, kept in step with it: names that clash, records without
their file, times that lie in the future.

Told of changes, it looks at the folders that they are in and at no others; of a project that changed also at
those that are new; at all of them once at the start and when a share comes. Reads no disk.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable

from server.disk import encoding, faults, paths
from server.disk.encoding import quote
from server.disk.errors import CroftError
from server.disk.records import Action, Change, Problem
from server.disk.speech import count, say
from server.disk.store import Store

FUTURE_S = 300.0  # a computer's clock that is off by less does no harm
MOST = 2000  # of each kind: more are told in one sentence


class Standing:
    """`note` is told of changes, by any thread; `problems` says what stands."""

    def __init__(self, store: Store, wall: Callable[[], float] = time.time) -> None:
        self._store = store
        self._wall = wall
        self._guard = threading.Lock()
        self._everything = True
        self._touched: set[str] = set()  # folders to look at again
        self._tops: set[str] = set()  # names of the folders of projects that changed
        self._seen: set[str] = set()  # folders that were looked at
        self._clashes: dict[str, list[Problem]] = {}
        self._future: dict[str, set[str]] = {}  # folder -> addresses whose time lies ahead

    def note(self, changes: Iterable[Change]) -> None:
        """Remember where something changed."""
        with self._guard:
            for change in changes:
                if change.kind == "asset":
                    self._touched.add(paths.folder_of(change.id))
                elif change.kind == "project":
                    self._tops.add(change.id)
                elif change.kind == "share":
                    self._everything = True

    def problems(self) -> list[Problem]:
        """What stands now."""
        self._look()
        found = [problem for told in list(self._clashes.values()) for problem in told]
        return [*found[:MOST], *self._orphans(), *self._from_the_future(), *self._leftovers()]

    def _look(self) -> None:
        index = self._store.index
        with self._guard:
            everything, self._everything = self._everything, False
            touched, self._touched = self._touched, set()
            tops, self._tops = self._tops, set()
        if everything:
            touched = {
                folder for share in self._store.shares for folder in index.tree(paths.address(share.name))
            }
            self._keep(touched)
        for top in [paths.address(share.name, name) for share in self._store.shares for name in tops]:
            tree = set(index.tree(top))
            new = tree - self._seen
            touched |= new.union(map(paths.folder_of, new))  # a new one's name may be like that beside it
            self._keep(tree, top)
        limit = (self._wall() + FUTURE_S) * 1e9
        for folder in touched:
            self._look_at(folder, limit)
        self._seen |= {folder for folder in touched if next(index.tree(folder), "")}

    def _keep(self, there: set[str], below: str = "") -> None:
        """Let go of what was known of folders that aren't there any more."""

        def stays(folder: str) -> bool:
            return folder in there or bool(below and not paths.within(folder, below))

        self._clashes = {folder: told for folder, told in self._clashes.items() if stays(folder)}
        self._future = {folder: held for folder, held in self._future.items() if stays(folder)}
        self._seen = set(filter(stays, self._seen))

    def _look_at(self, folder: str, limit: float) -> None:
        index = self._store.index
        entries = [entry for entry in index.folder(folder) if entry.stat is not None]
        names = [paths.name_of(entry.address) for entry in entries]
        names += index.folders(folder)
        told = [odd for name in names if (odd := faults.odd_name(folder, name)) is not None]
        told += [
            faults.clash(folder, name, other, *self._apart(folder, name))
            for name, other in faults.clashes(names)
        ]
        if told:
            self._clashes[folder] = told
        else:
            self._clashes.pop(folder, None)
        ahead = {entry.address for entry in entries if entry.stat is not None and entry.stat.mtime_ns > limit}
        if ahead:
            self._future[folder] = ahead
        else:
            self._future.pop(folder, None)

    def _apart(self, folder: str, name: str) -> list[Action]:
        address = paths.join(folder, name)
        return [faults.mending(say("Rename {name}", name=encoding.shown(name)), "rename-apart", address)]

    def _orphans(self) -> list[Problem]:
        gone = self._store.index.missing()
        found = []
        for entry in gone[:MOST]:
            quoted = quote(entry.address, safe="/:@")
            found.append(
                faults.orphan(
                    entry.address, Action(say("Let its record go"), "POST", f"/api/assets/{quoted}/forget")
                )
            )
        if len(gone) > MOST:
            found.append(
                more(
                    "orphan",
                    count(
                        "{n} more file is gone whose record is still there.",
                        "{n} more files are gone whose records are still there.",
                        len(gone) - MOST,
                    ),
                )
            )
        return found

    def _leftovers(self) -> list[Problem]:
        """Temporary files that are too old to be written still. Those of deeper folders `check` tells of."""
        found = []
        for share in self._store.shares:
            try:
                known = self._store.scanner(share.name).lister.leftovers.copy()
            except (CroftError, KeyError):
                continue  # it was never here yet
            for folder, names in sorted(known.items()):
                for name in names:
                    address = paths.join(folder, name)
                    try:
                        age_s = self._wall() - os.lstat(share.root / paths.parse(address)[1]).st_mtime
                    except (OSError, CroftError):
                        continue  # it went meanwhile
                    if age_s > faults.FRESH_S:
                        found.append(
                            faults.leftover(address, faults.mending(say("Put it away"), "drop", address))
                        )
        return found[:MOST]

    def _from_the_future(self) -> list[Problem]:
        limit = (self._wall() + FUTURE_S) * 1e9
        found = []
        for address in sorted(address for held in self._future.values() for address in held)[:MOST]:
            entry = self._store.index.get(address)
            if entry is None or entry.stat is None or entry.stat.mtime_ns <= limit:
                continue  # its day has come
            when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(entry.stat.mtime_ns / 1e9))
            found.append(
                faults.problem(
                    "clock",
                    address,
                    say(
                        "{address} says that it was changed on {when} UTC: that is still to come. Lists that "
                        "are sorted by time show it first, and programs that compare times may keep an older "
                        "copy.",
                        address=paths.name_of(address),
                        when=when,
                    ),
                    say("Set the clock of the computer that saved it; then set this file’s time."),
                    faults.mending(say("Set its time to now"), "touch", address),
                )
            )
        return found


def more(kind: str, text: str) -> Problem:
    """The rest of a list that is too long to be of use."""
    return Problem(f"{kind}:more", kind, "", text, say("Mend these first."))
