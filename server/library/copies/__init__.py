"""Files that a system named as a copy of the one beside them: `hero (1).blend`, `hero - Copy.blend`.

Tells of each, with buttons: one with the same content may be discarded; any other becomes a new version of
its original (whose present bytes are kept first) or stays as a file of its own, which is then remembered
with it. Nothing is done by itself. Follows the store's changes in memory; content is compared in a thread of
low priority, and only where the sizes agree.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from server.disk import faults, paths
from server.disk.encoding import quote
from server.disk.errors import BadInput, Broken, Conflict, CroftError, NotFound
from server.disk.follower import Follower
from server.disk.records import Action, Change, Entry, Problem, Stat
from server.disk.speech import say
from server.disk.store import Store

from ..assets import Assets, tells_of
from ..assets.listing import listed
from ..media import kinds
from ..people import User, require
from ..projects import Projects
from ..saves import Saves
from .naming import originals

log = logging.getLogger(__name__)

CHUNK_BYTES = 1 << 20
NICE = 10
MARK = "own"  # in the sidecar, or beside a file without one: it looks like a copy and is meant to stay
MARK_FILE = "own.json"
DOINGS = ("discard", "version", "own", "ask", "undo")


@dataclass(frozen=True, slots=True)
class Offer:
    """A copy, what it is a copy of, and whether both hold the same."""

    address: str
    original: str
    same: bool
    stats: tuple[Stat, Stat]  # of both, when they were compared

    @property
    def path(self) -> str:
        """Of the call that does something about it."""
        return _path(self.address)


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, and what takes it back."""

    message: str
    undo: Action | None = None


class Copies(Follower):
    """`start` to `close`; all else is thread-safe."""

    def __init__(self, store: Store, projects: Projects, assets: Assets, saves: Saves) -> None:
        super().__init__(store, "copies", NICE)
        self._projects = projects
        self._assets = assets
        self._saves = saves
        self._everything = True
        self._touched: OrderedDict[str, None] = OrderedDict()
        self._wanted: dict[str, set[str]] = {}  # a name that copies would have been made of: these copies
        self._offers: dict[str, Offer] = {}
        self._busy = False

    # Telling

    def offer(self, address: str) -> Offer | None:
        """What is offered for this file, if it still is as it was compared."""
        offer = self._offers.get(address)
        return (
            offer if offer is not None and self._stats(offer.address, offer.original) == offer.stats else None
        )

    def problems(self) -> list[Problem]:
        """Every copy that nobody has said anything about."""
        return [
            self._problem(offer) for address in sorted(self._offers.copy()) if (offer := self.offer(address))
        ]

    def actions(self, offer: Offer) -> tuple[Action, ...]:
        """The buttons of an offer."""
        keep = Action(say("Keep it as its own"), "POST", offer.path, {"do": "own"})
        if offer.same:
            return (Action(say("Discard it"), "POST", offer.path, {"do": "discard"}), keep)
        label = say("Make it a new version of {original}", original=paths.name_of(offer.original))
        return (Action(label, "POST", offer.path, {"do": "version"}), keep)

    @staticmethod
    def sentence(offer: Offer) -> str:
        """What was seen."""
        holds = say("holds the same") if offer.same else say("holds something else")
        name, original = paths.name_of(offer.address), paths.name_of(offer.original)
        return say(
            "{name} looks like a copy of {original}, and {holds}.", name=name, original=original, holds=holds
        )

    # Doing

    def do(self, address: str, doing: str, user: User, **more: str) -> Done:
        """Discard a copy, make it a version of its original, or let it be a file of its own.

        Conflict where what was offered isn't so any more; Forbidden, NotFound … as the rooms below say.
        """
        require(user, "student")
        if doing not in DOINGS:
            raise BadInput("'do' is one of {doings}.", field="do", doings=", ".join(DOINGS))
        if doing == "undo":
            return self._put_back(address, user, more.get("save", ""), more.get("folder", ""))
        entry = self._assets.get(address)
        name = paths.name_of(address)
        if doing in ("own", "ask"):
            self._mark(entry, doing == "own", user)
            other = Action(say("Undo"), "POST", _path(address), {"do": "ask" if doing == "own" else "own"})
            sentence = say("is a file of its own") if doing == "own" else say("is looked at as a copy again")
            return Done(f"{name} {sentence}.", other)
        original = self._original(entry)
        if original is None:
            raise Conflict("{name} isn’t a copy of a file beside it any more.", address=address, name=name)
        if doing == "discard":
            if not self._same(entry, original):
                raise Conflict(
                    "{name} holds something else than {original}. Make it a new version, or keep it as "
                    "its own.",
                    address=address,
                    name=name,
                    original=paths.name_of(original.address),
                )
            folder = self._assets.delete(address, user)
            return Done(
                say("{name} is discarded.", name=name),
                Action(say("Undo"), "POST", "/api/restore", {"folder": folder}),
            )
        return self._make_version(entry, original, user)

    def _make_version(self, entry: Entry, original: Entry, user: User) -> Done:
        """The copy's content into the original, whose present bytes are kept; then the copy goes to old/."""
        name, comment = (
            paths.name_of(original.address),
            say("from {entry}", entry=paths.name_of(entry.address)),
        )
        save = self._saves.replace(original.address, self._store.path(entry.address), user, comment)
        folder = self._assets.delete(entry.address, user)
        body = {"do": "undo", "save": save, "folder": folder}
        undo = Action(say("Undo"), "POST", _path(original.address), body)
        return Done(
            say(
                "{name} is what {entry} was. What it was before is kept.",
                name=name,
                entry=paths.name_of(entry.address),
            ),
            undo,
        )

    def _put_back(self, address: str, user: User, save: str, folder: str) -> Done:
        if not save or not folder:
            raise BadInput("'save' and 'folder' say what to undo.", field="save")
        self._saves.restore(address, save, user)
        copy = self._saves.bring_back(folder, user)
        return Done(
            say(
                "{address} and {copy} are as they were.",
                address=paths.name_of(address),
                copy=paths.name_of(copy),
            )
        )

    def _mark(self, entry: Entry, own: bool, user: User) -> None:
        if self._projects.of(entry.address) is None:
            raise BadInput("{address} isn't a file of a project.", address=entry.address)
        if entry.facts is not None:

            def make(data: dict[str, Any]) -> dict[str, Any]:
                return {**data, MARK: True} if own else {k: v for k, v in data.items() if k != MARK}

            self._store.edit(entry.address, make, who=user.ident)
        else:
            self._store.write_json(_mark_file(entry.address), {"schema": 1, MARK: own, "who": user.ident})
        self._on_changes([Change("asset", entry.address)])

    # Following what changes

    def _has_work(self) -> bool:
        return bool(self._everything or self._touched or self._busy)

    def _on_changes(self, changes: list[Change]) -> None:
        with self._condition:
            for change in changes:
                if change.kind == "asset":
                    self._touched[change.id] = None
                elif change.kind in ("share", "project"):
                    self._everything = True
            self._condition.notify_all()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                self._condition.notify_all()
                self._condition.wait_for(lambda: self._everything or self._touched or self._closed)
                if self._closed:
                    return
                self._busy = True
                everything, self._everything = self._everything, False
                touched = list(self._touched)
                self._touched.clear()
            try:
                if everything:
                    touched = [entry.address for entry in self._store.index.entries()]
                found: dict[str, None] = {}
                self._try_each(self._try_each(touched, found), found, again=True)
                self._store.notify([Change("asset", copy) for copy in found])
            except Exception:
                self.faults += 1
                log.exception("copies can't be looked for")

    def _try_each(self, touched: list[str], found: dict[str, None], *, again: bool = False) -> list[str]:
        """Look at each; those to look at once more, since something failed."""
        failed = []
        for address in touched:
            try:
                found.update(dict.fromkeys(self._look(address)))
            except Exception:
                failed.append(address)
                if again:
                    self.faults += 1
                    log.exception("%s can't be compared", address)
        return failed

    def _look(self, address: str) -> list[str]:
        """One file that changed: of which copies another thing is offered now, it or those made of it."""
        folder, name = paths.split(address)
        copies = set(self._wanted.get(address, ()))
        for original in originals(name):
            self._wanted.setdefault(paths.join(folder, original), set()).add(address)
            copies.add(address)
        return [copy for copy in sorted(copies) if self._look_at_copy(copy)]

    def _look_at_copy(self, address: str) -> bool:
        before = self._offers.get(address)
        try:
            offer = self._judge(address)
        except (CroftError, OSError) as error:
            log.debug("%s can't be compared: %s", address, error)
            offer = None
        if offer is None:
            self._offers.pop(address, None)
            if self._store.index.get(address) is None:
                self._forget(address)
        else:
            self._offers[address] = offer
        return offer != before

    def _forget(self, address: str) -> None:
        folder, name = paths.split(address)
        for original in originals(name):
            place = paths.join(folder, original)
            held = self._wanted.get(place)
            if held is not None:
                held.discard(address)
                if not held:
                    del self._wanted[place]

    def _judge(self, address: str) -> Offer | None:
        entry = self._store.index.get(address)
        original = self._original(entry) if entry is not None else None
        if entry is None or original is None or entry.stat is None or original.stat is None:
            return None
        before = self._offers.get(address)
        stats = (entry.stat, original.stat)
        if self._is_own(entry):
            return None
        if before is not None and before.stats == stats and before.original == original.address:
            return before
        return Offer(address, original.address, self._same(entry, original), stats)

    def _original(self, entry: Entry) -> Entry | None:
        """The file beside it that this one's name says it is a copy of."""
        if not _settled(entry) or not listed(entry) or self._projects.of(entry.address) is None:
            return None
        folder, name = paths.split(entry.address)
        for original in originals(name):
            found = self._store.index.get(paths.join(folder, original))
            if found is not None and _settled(found):
                return found
        return None

    def _is_own(self, entry: Entry) -> bool:
        """Whether somebody said that it stays as it is."""
        try:
            if entry.facts is not None:
                return bool(self._store.read(entry.address).data.get(MARK))
            return bool(self._store.read_json(_mark_file(entry.address)).get(MARK))
        except (NotFound, Broken):
            return False

    def _stats(self, copy: str, original: str) -> tuple[Stat | None, Stat | None]:
        entries = (self._store.index.get(copy), self._store.index.get(original))
        one, other = (entry.stat if entry is not None else None for entry in entries)
        return one, other

    def _same(self, copy: Entry, original: Entry) -> bool:
        """Whether both hold the same bytes: by their hashes where these are of now, else read."""
        if copy.stat is None or original.stat is None or copy.stat.size != original.stat.size:
            return False
        hashes = [
            record.get("hash") if tells_of(record, stat) else None
            for record, stat in (
                (self._assets.file_record(copy.address), copy.stat),
                (self._assets.file_record(original.address), original.stat),
            )
        ]
        if all(hashes):
            return hashes[0] == hashes[1]
        with (
            open(self._store.path(copy.address), "rb", buffering=0) as one,
            open(self._store.path(original.address), "rb", buffering=0) as other,
        ):
            while not self._closed:
                mine, theirs = one.read(CHUNK_BYTES), other.read(CHUNK_BYTES)
                if mine != theirs:
                    return False
                if not mine:
                    return True
        return False

    def _problem(self, offer: Offer) -> Problem:
        mend = (
            say("Discard it, or keep it.")
            if offer.same
            else say("Say which: a new version, or a file of its own.")
        )
        kind = "duplicate" if offer.same else "copy"
        return faults.problem(
            kind, offer.address, self.sentence(offer), mend, *self.actions(offer), severity="note"
        )


def _settled(entry: Entry) -> bool:
    return (
        entry.stat is not None
        and not entry.arriving
        and kinds.kind(paths.name_of(entry.address)) != "sequence"
    )


def _path(address: str) -> str:
    return f"/api/assets/{quote(address, safe='/:@')}/copy"


def _mark_file(address: str) -> str:
    return paths.join(paths.companion_of(address), MARK_FILE)
