"""Who did what to which file: every change and every upload of all projects, newest first.

Fed in the background from the histories that lie in the files' companions, of every site, and from what else
is put in (renders). Follows what changes on the shares; what somebody changed by hand it adds to the history
itself. Keeps the newest in memory and no
more than that; one file's own history is read whole from the disk. Disposable, as the index is.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from server.disk import paths
from server.disk.errors import BadInput, Busy, CroftError
from server.disk.follower import Follower
from server.disk.records import Action, Change
from server.disk.store import Store

from ..assets.listing import becomes_asset
from ..people import User
from ..projects import Projects
from ..saves import Saves
from ..search import fold
from . import reading, undoing
from .by_hand import ByHand
from .lines import KINDS, Entry, entries, make, of_render
from .project_by_hand import ProjectsByHand

__all__ = ["KINDS", "Entry", "Found", "History", "make", "of_render", "tell_upload"]

log = logging.getLogger(__name__)

KEPT = 50_000  # entries in memory, some 30 MB
FILE_MOST = 1000  # of one file
FILE_BYTES = 256 << 10  # of each site's history of a file, read for all of them together
BATCH = 200  # files between two takings over
TOLD = 50  # files that are named
REST_S = 0.005  # after a batch: pages come first


@dataclass(frozen=True, slots=True)
class Found:
    """A part of an answer. `next` is the cursor that continues it, '' at the end."""

    entries: list[Entry]
    next: str


class History(Follower):
    """`start` to `close`; everything else is thread-safe. `changed` is called with the files of
    which there is more to see; where these are many, with their projects' folders, each with a '/'."""

    def __init__(
        self,
        store: Store,
        projects: Projects,
        saves: Saves,
        kept: int = KEPT,
        whose: Callable[[int], User | None] = lambda uid: None,
    ) -> None:
        super().__init__(store, "history")
        self._by_hand = ByHand(store, whose)
        self._projects_by_hand = ProjectsByHand(store, projects, whose)
        self._projects = projects
        self._saves = saves
        self._most = kept
        self._queue: OrderedDict[str, None] = OrderedDict()  # addresses of files, and of folders with an old/
        self._put: dict[str, list[Entry]] = {}  # from elsewhere, to be taken over
        self._by: dict[str, tuple[Entry, ...]] = {}  # where from -> entries
        self._all: list[Entry] = []  # oldest first; replaced whole, so that who reads needs no lock
        self._oldest = ""  # what is older than this was let go
        self._busy = False
        self.changed: Callable[[list[str]], None] = lambda addresses: None
        self.renders: Callable[[str], list[Entry]] = lambda address: []  # of one file, as the farm knows them

    # Asking

    @property
    def unread(self) -> int:
        """How many files are still to be read."""
        return len(self._queue)

    @property
    def since(self) -> str:
        """What is older than this isn't in memory; '' where everything is."""
        return self._oldest

    def entries(
        self,
        project: str | None = None,
        person: str | None = None,
        file: str | None = None,
        kind: str | None = None,
        since: str | None = None,
        until: str | None = None,
        text: str = "",
        *,
        people: Sequence[str] = (),
        limit: int = 100,
        cursor: str = "",
    ) -> Found:
        """What fits all that is given, newest first, `limit` from after `cursor`.

        `file` is a part of its path; `since` (included) and `until` (not) are stored times; each word of
        `text` stands somewhere in what was said, or begins a name of `people` (their idents, for whom the
        words stand). NotFound for the project, BadInput for a spoilt cursor or an unknown kind.
        """
        if kind and kind not in KINDS:
            raise BadInput(
                "'{kind}' isn't a kind of change: use {kinds}.",
                field="kind",
                kind=kind[:40],
                kinds=", ".join(KINDS),
            )
        inside = self._projects.get(project).address + "/" if project else ""
        everything = self._all
        at = bisect_left(everything, _key(cursor), key=_key_of) if cursor else len(everything)
        words = fold(text).split()
        part = fold(file or "").strip()
        found: list[Entry] = []
        for place in range(at - 1, -1, -1):
            entry = everything[place]
            if since and entry.at < since:
                break
            if (
                (until and entry.at >= until)
                or (kind and entry.kind != kind)
                or (person and entry.who != person)
                or (inside and not entry.address.startswith(inside))
                or (part and part not in fold(entry.address.partition(paths.SEPARATOR)[2]))
                or not (entry.who in people or all(word in entry.text for word in words))
            ):
                continue
            if len(found) == limit:
                return Found(found, "~".join(map(str, found[-1].key)))
            found.append(entry)
        return Found(found, "")

    def of(self, address: str) -> list[Entry]:
        """One file's own, newest first, all that its histories hold, and its renders. Reads the disk."""
        found = reading.read(self._store, address, reading.ALL_BYTES, reading.ALL_BYTES)
        project = self._projects.of(address)
        top = paths.join(project.address, paths.PROJECT_FILE) if project is not None else ""
        told = [entry for entry in self._by.get(top, ()) if entry.address == address and address != top]
        return sorted([*found, *told, *self.renders(address)], key=_key_of, reverse=True)

    def action(self, entry: Entry, user: User | None) -> Action | None:
        """The call that takes this back; None where that can't be done, or not by this person. Cheap."""
        return undoing.action(self._store, self._projects, entry, user)

    # Changing

    def put(self, origin: str, found: Iterable[Entry]) -> None:
        """What somebody else knows (of a render): in place of what came from there before. Cheap."""
        with self._condition:
            self._put[origin] = list(found)
            self._condition.notify_all()

    def undo(self, address: str, id: str, user: User) -> tuple[str, list[str]]:
        """Set back what an edit changed, if nobody changed it since: the new entry's id, and the fields.

        NotFound where there is no such entry, Conflict where a field is another one since, Forbidden.
        """
        fields = undoing.undo(self._store, self._projects, address, id, user)
        newest = next((entry for entry in self.of(address) if entry.who == user.ident), None)
        return (newest.id if newest is not None else ""), fields

    # Following

    def _begin(self) -> None:
        for share in self._store.shares:
            self._sweep(share.name)

    def _has_work(self) -> bool:
        return bool(self._queue or self._put or self._busy)

    def _on_changes(self, changes: list[Change]) -> None:
        wanted = []
        for change in changes:
            if change.kind in ("asset", "companion"):
                wanted.append(change.id)
            elif change.kind == "share":
                self._sweep(change.id)
        if wanted:
            with self._condition:
                self._queue.update(dict.fromkeys(wanted))
                self._condition.notify_all()

    def _sweep(self, share: str) -> None:
        """All of a share that may have a history."""
        try:
            if self._store.away(share):
                return  # nothing is lost: what was read stays
        except CroftError:
            return
        wanted = [
            entry.address
            for entry in self._store.index.under(paths.address(share))
            if entry.facts is not None or entry.broken or paths.name_of(entry.address) == paths.PROJECT_FILE
        ]
        with self._condition:
            self._queue.update(dict.fromkeys(wanted))
            self._queue.update(dict.fromkeys(project.address for project in self._projects.list()))
            self._condition.notify_all()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                if self._closed:
                    return
                if not self._queue and not self._put:
                    self._condition.notify_all()
                    self._condition.wait()
                    continue
                count = min(BATCH, len(self._queue))
                batch = [self._queue.popitem(last=False)[0] for _ in range(count)]
                fresh, self._put = self._put, {}
                self._busy = True
            try:
                self._take_over({**self._look(batch), **fresh})
            except Exception:
                self.faults += 1
                log.exception("histories can't be read")
            if count == BATCH:
                time.sleep(REST_S)

    def _look(self, batch: Iterable[str]) -> dict[str, list[Entry]]:
        """What these files' histories say now, and what was deleted beside them."""
        found: dict[str, list[Entry]] = {}
        folders: set[str] = set()
        for address in batch:
            try:
                if self._store.away(paths.parse(address)[0]):
                    continue
                if self._store.index.has_folder(address):
                    folders.update(self._saves.folders_with_old(address))
                    continue
                whole = paths.name_of(address) == paths.PROJECT_FILE  # it tells of many files
                size = (reading.ALL_BYTES, 10 * FILE_MOST) if whole else (FILE_BYTES, FILE_MOST)
                found[address] = self._read(address, *size)
                entry, folder = self._store.index.get(address), paths.folder_of(address)
                if entry is None or entry.stat is None or "deleted:" + folder in self._by:
                    while not self._store.index.has_folder(folder) and "/" in folder:
                        folder = paths.folder_of(folder)  # it was deleted whole
                    folders.add(folder)
            except CroftError as error:
                log.info("the history of %s isn't read: %s", address, error.message)
        for folder in folders:
            try:
                found["deleted:" + folder] = list(self._deletions(folder))
            except (CroftError, OSError) as error:
                log.info("what was deleted in %s isn't read: %s", folder, error)
        return found

    def _read(self, address: str, size_bytes: int, most: int) -> list[Entry]:
        """What a file's histories say, with what was changed by hand just now or while no Croft ran."""
        lines = reading.lines(self._store, address, size_bytes)
        of_project = paths.name_of(address) == paths.PROJECT_FILE
        try:
            told = (self._projects_by_hand if of_project else self._by_hand).look(address, lines)
        except Busy:
            with self._condition:
                self._queue[address] = None  # again, when whoever is at it is done
        except CroftError as error:
            log.info("whether %s was changed by hand can't be told: %s", address, error.message)
        else:
            if told:
                lines = reading.lines(self._store, address, size_bytes)
        return reading.said(address, lines, most)

    def _take_over(self, found: dict[str, list[Entry]]) -> None:
        gone: set[int] = set()
        of: set[str] = set()
        fresh: list[Entry] = []
        for origin, new in found.items():
            old = self._by.get(origin, ())
            kept = tuple(entry for entry in new if entry.at >= self._oldest)
            if kept == old:
                continue
            gone.update(map(id, old))
            of.update(entry.address for entry in (*old, *kept))
            fresh += kept
            if kept:
                self._by[origin] = kept
            else:
                self._by.pop(origin, None)
        if not gone and not fresh:
            return
        everything = [entry for entry in self._all if id(entry) not in gone] if gone else self._all.copy()
        everything += fresh
        everything.sort(key=_key_of)
        if len(everything) > self._most + self._most // 10:
            everything = self._let_go(everything)
        self._all = everything
        self.changed(sorted(of if len(of) <= TOLD else {f"{paths.top_of(address)}/" for address in of}))

    def _let_go(self, everything: list[Entry]) -> list[Entry]:
        """Only the newest stay."""
        everything = everything[-self._most :]
        self._oldest = everything[0].at
        self._by = {
            origin: kept
            for origin, old in self._by.items()
            if (kept := tuple(entry for entry in old if entry.at >= self._oldest))
        }
        return [entry for entry in everything if entry.at >= self._oldest]

    # Reading

    def _deletions(self, folder: str) -> Iterator[Entry]:
        """What was deleted in a folder, and what was done to it before."""
        for row in self._saves.deleted_in(folder):
            more = {"folder": row.folder, "record": row.kind != "file"}
            yield make("deleted", row.at, row.who, row.address, "d" + paths.name_of(row.folder), more=more)
            companion = self._store.path(row.folder) / paths.COMPANION / paths.name_of(row.address)
            for site, lines in reading.histories(companion, FILE_BYTES):
                yield from entries(row.address, site, lines)


def tell_upload(
    store: Store, address: str, who: str, size: int | None, *, project: str, kept: str = ""
) -> None:
    """Write down that somebody uploaded a file, `kept`: as a new version of what is that save now.

    One that is no asset has no history of its own: its project's tells of it (`project`: its folder)."""
    said: dict[str, Any] = {"size": size, **({"kept": kept} if kept else {})}
    name = paths.name_of(address)
    entry = store.index.get(address)
    if becomes_asset(address) or (entry is not None and entry.facts is not None):
        store.tell(address, who, {"uploaded": name, **said})
    elif project and paths.within(address, project):
        inside = address[len(project) + 1 :]
        store.tell(paths.join(project, paths.PROJECT_FILE), who, {"uploaded": name, "file": inside, **said})


def _key_of(entry: Entry) -> tuple[str, int, str]:
    return entry.key


def _key(cursor: str) -> tuple[str, int, str]:
    parts = cursor.split("~")
    if len(parts) != 3 or not parts[1].isdecimal() or len(cursor) > 200:
        raise BadInput("This cursor isn't one of ours.", field="cursor")
    return (parts[0], int(parts[1]), parts[2])
