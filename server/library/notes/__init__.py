"""What people say of files: notes with marks on the picture and things to do, and whom they concern.

Each lies in its file's companion (`notes/<time>-<user>-<id>.json`), written once. The index knows their
names; what they say is read once, in a thread of its own, and kept: no page opens a file for what it counts.
Promises that a note which comes back from a backup or from another site shows by itself.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from server.disk import files, paths, sidecar
from server.disk.errors import BadInput, CroftError, Forbidden, NotFound
from server.disk.follower import Follower
from server.disk.listing import NOTES
from server.disk.records import Change, Entry
from server.disk.speech import say
from server.disk.store import Store

from ..assets import Assets
from ..people import SOMEONE, People, User, require
from . import fields, marks, record, sheaves
from .concerns import MENTION, MINE, OWN, REPLY, TODO, Concern
from .record import ANYBODY, TEXT_MOST, Note, Tick, fitting
from .seen import Read, Seen
from .sheaves import EMPTY, NOTE_BYTES, Sheaf

__all__ = ["ANYBODY", "MENTION", "MINE", "OWN", "REPLY", "TEXT_MOST", "TODO"]
__all__ += ["Concern", "News", "Note", "Notes", "Seen", "Tick"]

log = logging.getLogger(__name__)

SCHEMA = 1
TOLD_AT_ONCE = 200  # files, while many are read
AUTHORS = frozenset(("text", "frame", "version", "marks"))  # what only its author may change of a note


@dataclass(frozen=True, slots=True)
class News:
    """A note that concerns somebody."""

    note: Note
    why: str
    read: bool


class Notes(Follower):
    """Thread-safe. `start` to `close` it follows what happens on the shares; before, it looks when asked."""

    def __init__(
        self,
        store: Store,
        assets: Assets,
        people: People,
        seen: Seen,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        token: Callable[[], str] = lambda: secrets.token_hex(3),
    ) -> None:
        super().__init__(store, "notes")
        self._assets = assets
        self._people = people
        self._seen = seen
        self._now = now
        self._token = token
        self._lock = threading.RLock()  # guards the maps below while they change; readers need none
        self._sheaves: dict[str, Sheaf] = {}
        self._of: dict[str, dict[str, tuple[Concern, ...]]] = {}  # user -> address -> what concerns them
        self._changes: dict[str, int] = {}  # user -> how often `_of` changed
        self._news: dict[str, tuple[int, Read, tuple[News, ...], int]] = {}
        self._all: tuple[int, tuple[Note, ...]] = (-1, ())
        self._generation = 0
        self._queue: OrderedDict[str, bool] = OrderedDict()  # address -> whether what was read may be old
        self._busy = False

    # Reading

    def of(self, address: str, *, answered: bool = False) -> tuple[Note, ...]:
        """What was said of a file, oldest first; with `answered` deleted notes too, whose answers are left.
        NotFound where there is no such file."""
        notes = self._sheaf(self._assets.get(address)).notes
        left = {note.reply_to for note in notes if not note.deleted} if answered else set()
        return tuple(note for note in notes if not note.deleted or note.id in left)

    def open_count(self, address: str) -> int:
        """How many notes of a file somebody should still look at. A look into memory."""
        sheaf = self._sheaves.get(address)
        return sheaf.open if sheaf is not None else 0

    def one(self, address: str, ident: str, *, deleted: bool = False) -> Note:
        """One note of a file. NotFound."""
        sheaf = self._sheaf(self._assets.get(address))
        note = next((note for note in sheaf.notes if note.id == ident), None)
        if note is None or (note.deleted and not deleted):
            raise NotFound(say("There is no such note. It may have been deleted."))
        return note

    def all(self, under: str = "") -> tuple[Note, ...]:
        """Everything that was said, newest first, of all files or of those below a folder."""
        generation, found = self._all
        if generation != self._generation:
            generation, sheaves = self._generation, dict(self._sheaves)
            # Of a folder that was copied the first by address has them.
            ordered = (sheaves[address] for address in sorted(sheaves, reverse=True))
            notes = {note.id: note for sheaf in ordered for note in sheaf.notes if not note.deleted}
            found = tuple(sorted(notes.values(), key=lambda note: (note.at, note.id), reverse=True))
            self._all = (generation, found)
        return tuple(note for note in found if note.address.startswith(under)) if under else found

    def search(self, text: str, under: str = "", limit: int = 50) -> list[Note]:
        """The newest notes that hold each of these words; none for no words."""
        return list(islice(fitting(self.all(under), text), limit)) if text.strip() else []

    def shown(self, user: str, show: str, under: str = "", text: str = "") -> Sequence[Note]:
        """Newest first: `mine`, what concerns somebody; `todo`, what they are to do; `open`, what is neither
        done nor resolved; else all. Of these, those below a folder that hold each word of a text."""
        found: Sequence[Note]
        if show == "mine":
            found = [one.note for one in self.for_user(user)]
        elif show == "todo":
            found = self.todo_for(user)[::-1]
        else:
            found = self.all(under)
        if show in ("mine", "todo") and under:
            found = [note for note in found if note.address.startswith(under)]
        if show == "open":
            found = [note for note in found if note.open]
        return list(fitting(found, text)) if text.strip() else found

    def for_user(self, user: str) -> tuple[News, ...]:
        """What concerns somebody, newest first: what is theirs to do, what names them, answers, notes on
        their files. What is done or resolved is no news."""
        return self._known(user)[2]

    def unread(self, user: str) -> int:
        """How many of these are new. Cheap."""
        return self._known(user)[3]

    def todo_for(self, user: str) -> list[Note]:
        """What somebody is to do and hasn't done, the oldest first."""
        found = {
            concern.note.id: concern.note
            for concerns in list(self._of.get(user, {}).values())
            for concern in concerns
            if concern.why in (TODO, OWN) and concern.note.todo and concern.note.open
        }
        return sorted(found.values(), key=lambda note: (note.at, note.id))

    def read(self, user: str, idents: Iterable[str] | None = None) -> int:
        """Somebody has read these, or all that concerns them; how many of them were new."""
        news = [one.note.id for one in self.for_user(user) if not one.read]
        wanted = set(news) if idents is None else set(news).intersection(idents)
        if wanted and self._seen.add(user, wanted):
            self._store.notify([Change("note", user)])
        return len(wanted)

    def _known(self, user: str) -> tuple[int, Read, tuple[News, ...], int]:
        read, changes = self._seen.of(user), self._changes.get(user, 0)
        known = self._news.get(user)
        if known is None or known[0] != changes or known[1] is not read:
            found: dict[str, News] = {}
            for _, concerns in sorted(dict(self._of.get(user, {})).items()):
                for note, why in ((one.note, one.why) for one in concerns if one.why != OWN):
                    closed = not note.open and not note.reply_to
                    found.setdefault(note.id, News(note, why, closed or read.has(note.id)))
            news = tuple(sorted(found.values(), key=lambda one: (one.note.at, one.note.id), reverse=True))
            known = self._news[user] = (changes, read, news, sum(not one.read for one in news))
        return known

    # Writing

    def add(self, address: str, user: User, text: str = "", **more: Any) -> Note:
        """Say something of a file: `frame`, `version`, `reply_to`, `marks` or `where`, `todo`."""
        require(user, "student")
        entry = self._assets.get(address)
        checked = self._check({"text": text, **more}, entry)
        if "todo" not in more and not more.get("reply_to") and record.has_items(checked["text"]):
            checked["todo"] = ANYBODY
        said = {name: value for name, value in checked.items() if value not in (None, "")}
        if not said.keys() & {"text", "marks"}:
            raise BadInput(say("The note is empty: write something, or draw on the picture."), field="text")
        if answered := str(more.get("reply_to") or ""):
            first = self.one(address, answered)
            said["reply_to"] = first.reply_to or first.id
        ident = self._write(address, user, said)
        self._store.tell(address, user.ident, {"note": ident})
        return self.one(address, ident)

    def change(
        self, address: str, ident: str, user: User, given: Mapping[str, Any]
    ) -> tuple[Note, dict[str, Any]]:
        """Change, tick, resolve, delete or bring back a note; what it is now, and what takes that back."""
        require(user, "student")
        before = self.one(address, ident, deleted=given.get("deleted") is False)
        changed = self._check(given, self._assets.get(address))
        mine = before.who == user.ident
        if AUTHORS & changed.keys() and not mine:
            raise Forbidden(say("Only who wrote a note may change what it says. Answer it instead."))
        if {"deleted", "todo"} & changed.keys() and not (mine or user.at_least("supervisor")):
            raise Forbidden(say("Only who wrote a note, and supervisors, may do that. Resolve it instead."))
        if "text" in changed and not changed["text"] and not (changed.get("marks") or before.marks):
            raise BadInput(say("The note is empty: write something, or delete it."), field="text")
        back = self._back(before, changed)
        if back:
            self._write(address, user, {"of": ident, "set": {name: changed[name] for name in back}}, before)
            if not self.one(address, ident, deleted=True).open and before.open and not changed.get("deleted"):
                self._store.tell(address, user.ident, {"note": ident, "done": True})
        return self.one(address, ident, deleted=True), back

    def forget(self, user: str) -> int:
        """Take a person's name out of every note; how many files were written anew."""
        count = 0
        for address in [
            address for address, sheaf in list(self._sheaves.items()) if sheaves.names(sheaf, user)
        ]:
            with contextlib.suppress(CroftError):  # its share is away, or read-only
                count += self._forget(address, user)
        self._seen.forget(user)
        return count

    def _check(self, given: Mapping[str, Any], entry: Entry) -> dict[str, Any]:
        return fields.check(given, self._people.known, lambda: self._aspect(entry))

    def _aspect(self, entry: Entry) -> float:
        size = self._assets.facts(entry.address).get("resolution")
        if isinstance(size, list) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size):
            return float(min(20.0, max(0.05, size[0] / size[1])))
        return marks.ASPECT

    def _back(self, note: Note, changed: Mapping[str, Any]) -> dict[str, Any]:
        """What of a change is one, and what it was before."""
        was: dict[str, Any] = {**note.view(), "deleted": note.deleted}
        back = {name: was[name] for name in changed if name != "ticks" and changed[name] != was[name]}
        ticks = {tick.key: tick.done for tick in note.ticks}
        for key, done in changed.get("ticks", {}).items():
            if key not in ticks:
                raise NotFound(say("That is no longer in the note: somebody has changed it."))
            if ticks[key] != done:
                back.setdefault("ticks", {})[key] = ticks[key]
        return back

    def _write(self, address: str, user: User, said: Mapping[str, Any], after: Note | None = None) -> str:
        """One more file; the id of what it says."""
        self._store.for_people(address)
        now = self._now()
        if after is not None:  # whatever a clock says: later than all that was said of it so far
            now = max(now, sheaves.later_than(self._sheaves.get(address, EMPTY), after))
        ident = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{self._token()}"
        name = record.name_of(ident, paths.safe_name(user.ident))
        data = {"schema": SCHEMA, "at": record.stamp(now), "who": user.ident, **said}
        self._store.write_json(paths.join(paths.companion_of(address), NOTES, name), data)
        self._take(address)
        self._store.notify([Change("note", address)])
        return ident

    def _forget(self, address: str, user: str) -> int:
        self._store.for_people(address)
        folder = paths.join(paths.companion_of(address), NOTES)
        count = 0
        for name in self._sheaves.get(address, EMPTY).names:
            path = self._store.path(paths.join(folder, name))
            try:
                data = sidecar.parse(files.read_bounded(path, NOTE_BYTES)[0], path)
            except (CroftError, OSError):
                continue
            fresh = fields.without(data, user)
            if fresh == data:
                continue
            ident = record.id_of(name)
            other = record.name_of(ident, SOMEONE) if data.get("who") == user else name
            self._store.write_json(paths.join(folder, other), fresh)
            if other != name:
                self._store.disk.unlink(path)
            count += 1
        self._store.refresh(address)
        self._take(address, look=True)
        self._store.notify([Change("note", address)])
        return count

    # Following

    def _begin(self) -> None:
        self._ask({entry.address: False for entry in self._store.index.entries() if entry.notes})

    def _has_work(self) -> bool:
        return bool(self._queue or self._busy)

    def _on_changes(self, changes: list[Change]) -> None:
        """The store's subscriber: only remembers where to look."""
        wanted: dict[str, bool] = {}
        for change in changes:
            if change.kind == "asset":
                entry, sheaf = self._store.index.get(change.id), self._sheaves.get(change.id)
                if not sheaves.is_of(sheaf or EMPTY, entry):
                    wanted[change.id] = wanted.get(change.id, False)
            elif change.kind == "companion" and change.id in self._sheaves:
                wanted[change.id] = True
            elif change.kind == "share":
                entries = self._store.index.under(paths.address(change.id))
                wanted.update({entry.address: True for entry in entries if entry.notes})
        if wanted:
            self._ask(wanted)

    def _ask(self, wanted: Mapping[str, bool]) -> None:
        with self._condition:
            for address, look in wanted.items():
                self._queue[address] = self._queue.get(address, False) or look
            self._condition.notify_all()

    def _work(self) -> None:
        told: list[Change] = []
        while True:
            with self._condition:
                self._busy = bool(told)
                if not self._queue and not told:
                    self._condition.notify_all()
                    self._condition.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return
                address, look = self._queue.popitem(last=False) if self._queue else ("", False)
                self._busy = True
            try:
                if address and self._take(address, look=look):
                    told.append(Change("note", address))
                if not self._queue or len(told) >= TOLD_AT_ONCE:
                    ready, told = told, []
                    self._store.notify(ready)
            except Exception:
                self.faults += 1
                log.exception("the notes of %s can't be read", address)

    def _sheaf(self, entry: Entry) -> Sheaf:
        sheaf = self._sheaves.get(entry.address, EMPTY)
        if not sheaves.is_of(sheaf, entry):
            self._take(entry.address)
            sheaf = self._sheaves.get(entry.address, EMPTY)
        return sheaf

    def _take(self, address: str, *, look: bool = False) -> bool:
        """Read what is new of a file's notes (`look`: and what may be other than it was); whether that says
        something else now."""
        with self._lock:
            entry, old = self._store.index.get(address), self._sheaves.get(address, EMPTY)
            if not look and sheaves.is_of(old, entry):
                return False
            sheaf = EMPTY
            if entry is not None and entry.notes:
                folder = self._store.path(paths.join(paths.companion_of(address), NOTES))
                sheaf = self._sheaves[address] = sheaves.read(entry, folder, old, look)
            else:
                self._sheaves.pop(address, None)
            for ident in {*old.concerns, *sheaf.concerns}:
                if old.concerns.get(ident) != sheaf.concerns.get(ident):
                    of = self._of.setdefault(ident, {})
                    of.pop(address, None)
                    if ident in sheaf.concerns:
                        of[address] = sheaf.concerns[ident]
                    self._changes[ident] = self._changes.get(ident, 0) + 1
            if old.notes == sheaf.notes:
                return False
            self._generation += 1
            return True
