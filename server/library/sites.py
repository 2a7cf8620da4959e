"""What other sites did to their copy of a share, once a synchronising program has brought it here.

Sidecars get the changes that their histories tell of; where two sites changed a field differently, or a file
itself, both are kept and a person is asked. Conflict copies of what Croft wrote are brought together and go
to `old/`; those of people's files are shown, with buttons. Works from a queue in one thread; with one site
alone it does nothing but look at conflict copies.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from server.disk import conflicts, deletions, faults, files, journal, merge, paths, sidecar
from server.disk.encoding import quote
from server.disk.errors import BadInput, Broken, Busy, Conflict, CroftError, NotFound
from server.disk.follower import Follower
from server.disk.merge import Rival
from server.disk.records import Action, Change, Problem
from server.disk.sites import events_of
from server.disk.speech import say
from server.disk.store import Store

from .assets.fields import SUPERVISORS
from .assets.guard import may_unlock
from .people import People, User, require
from .problems.mending import Mended, Mending
from .saves import Saves

log = logging.getLogger(__name__)

WHO = "croft"
PATIENCE_S = 30.0  # a sidecar's conflict copy that no history knows: its history may be on the way
RETRY_S = 5.0
DEPTH = 3  # of what lies in a companion: jobs/<id>/journal.jsonl


class Sites(Follower):
    """`start` to `close`; all else is thread-safe."""

    def __init__(
        self,
        store: Store,
        people: People,
        saves: Saves,
        mending: Mending,
        clock: Callable[[], float] = time.monotonic,
        patience_s: float = PATIENCE_S,
    ) -> None:
        super().__init__(store, "sites")
        self._people = people
        self._saves = saves
        self._mending = mending
        self._clock = clock
        self._patience_s = patience_s
        self._queue: OrderedDict[str, None] = OrderedDict()
        self._later: dict[str, float] = {}
        self._seen: dict[str, float] = {}  # a conflict copy that has to wait: since when
        self._busy = False
        self._fields: dict[str, Mapping[str, tuple[Rival, ...]]] = {}  # address -> what is to be decided
        self._copies: dict[str, str] = {}  # address of a conflict copy -> that of its original
        self._others: dict[str, tuple[str, ...]] = {}  # of each share, as of the last look
        for name, function in (
            ("decide", self._decide),
            ("keep-mine", self._keep_mine),
            ("keep-theirs", self._keep_theirs),
            ("keep-both", self._keep_both),
        ):
            mending.add(name, function)

    # Telling

    def problems(self) -> list[Problem]:
        """What a person has to decide."""
        found = []
        for address, fields in sorted(self._fields.copy().items()):
            found += [self._of_field(address, name, rivals) for name, rivals in sorted(fields.items())]
        for address, original in sorted(self._copies.copy().items()):
            found.append(self._of_copy(address, original))
        return found

    def _of_field(self, address: str, name: str, rivals: tuple[Rival, ...]) -> Problem:
        said = "; ".join(f"{_shown(rival.value)} ({self._whose(rival)})" for rival in rivals)
        text = say(
            "{name} of {address} was changed in two places at once: {said}.",
            name=name.capitalize(),
            address=paths.name_of(address),
            said=said,
        )
        actions = tuple(
            faults.mending(
                say("Take {shown}", shown=_shown(rival.value)),
                "decide",
                address,
                field=name,
                value=json.dumps(rival.value),
            )
            for rival in rivals
        )
        mend = say("Until somebody decides it stays as it is; the other is kept.")
        told = faults.problem("conflict", address, text, mend, *actions)
        return Problem(
            f"conflict:{address}#{name}", told.kind, address, text, mend, actions, severity=told.severity
        )

    def _of_copy(self, address: str, original: str) -> Problem:
        name, first = paths.name_of(address), paths.name_of(original)
        there = (entry := self._store.index.get(original)) is not None and entry.stat is not None
        text = say(
            "{first} was saved in two places at once. The other one is kept as {name}.",
            first=first,
            name=name,
        )
        mend = say("Look at both. What isn’t kept goes to old/, so either can be brought back.")
        mine = faults.mending(say("Keep {first} as it is", first=first), "keep-mine", address)
        theirs = faults.mending(say("Take the other one"), "keep-theirs", address)
        both = faults.mending(say("Keep both"), "keep-both", address)
        if first == paths.PROJECT_FILE:
            mend = say("Copy what you want to keep from the other into it by hand.")
            return faults.problem("conflict", address, text, mend, mine)
        return faults.problem("conflict", address, text, mend, *((mine, theirs, both) if there else (both,)))

    def _whose(self, rival: Rival) -> str:
        user = next((u for u in self._people.users() if u.ident == rival.who), None)
        who = user.title if user is not None else rival.who or say("by hand")
        here = not rival.site or rival.site.removesuffix(merge.BY_HAND) == self._store.sites.own
        return f"{who}, {'here' if here else 'at ' + rival.site.removesuffix(merge.BY_HAND)}"

    # Doing

    def _decide(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """One of the values of a field; it counts as somebody's word on all of them."""
        name = more.get("field")
        if name in SUPERVISORS:
            require(user, "supervisor")
        try:
            value = json.loads(str(more.get("value")))
        except ValueError as error:
            raise BadInput("That isn't one of the values.", field="value") from error
        together = self._store.bring_together(address)
        rivals = together.conflicts.get(str(name), ()) if together is not None else ()
        if all(value != rival.value for rival in rivals):
            raise Conflict("That is decided already: nothing was changed.", address=address)
        before = together.side.data.get(str(name)) if together is not None else None

        def take(record: dict[str, Any]) -> dict[str, Any]:
            if value is None:
                record.pop(str(name), None)
                return record
            return {**record, str(name): value}

        self._store.edit(address, take, who=user.ident, decided=str(name))
        self._look(address)
        undo = None
        if before != value:
            path = f"/api/assets/{quote(address, safe='/:@')}"
            undo = Action(say("Undo"), "PATCH", path, {str(name): before})
        return Mended(
            say("{name} is {shown} now, everywhere.", name=str(name).capitalize(), shown=_shown(value)), undo
        )

    def _keep_mine(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """The conflict copy goes to `old/`."""
        original = self._original(address)
        entry = self._store.index.get(original)
        for name in (address, original):
            # A protected original stays as it is: who may unlock it may say so.
            mine = name == original and entry is not None and may_unlock(entry, user)
            if paths.name_of(name) != paths.PROJECT_FILE and not mine:
                self._mending.movable(name, user)
        folder = self._put_away(address, user.ident)
        undo = Action(say("Undo"), "POST", "/api/restore", {"folder": folder})
        return Mended(
            say(
                "{original} stays as it is; the other one lies in {folder}.",
                original=paths.name_of(original),
                folder=folder,
            ),
            undo,
        )

    def _keep_theirs(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """The conflict copy's content in the original's place; what was there is kept first."""
        original = self._original(address)
        entry = self._store.index.get(original)
        if entry is None or entry.stat is None:
            raise NotFound(
                "{original} is gone: keep the other one.", address=original, original=paths.name_of(original)
            )
        kept = self._saves.replace(original, self._store.path(address), user, "before the other site’s came")
        self._put_away(address, user.ident)
        path = f"/api/assets/{quote(original, safe='/:@')}/restore"
        undo = Action(say("Undo"), "POST", path, {"save": kept}) if kept else None
        return Mended(
            say("{original} is the other one now; what it was is kept.", original=paths.name_of(original)),
            undo,
        )

    def _keep_both(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        """The conflict copy becomes a file of its own."""
        original = self._original(address)
        folder, first = paths.split(original)
        stem = paths.stem_of(first)
        for number in range(1, 1000):
            name = f"{stem} other{f' {number}' if number > 1 else ''}{first[len(stem) :]}"
            new = paths.join(folder, name)
            with contextlib.suppress(Conflict):
                self._store.move(address, new, user.ident)
                break
        else:
            raise Conflict("There are too many files like {first}.", first=first)
        self._copies.pop(address, None)
        undo = Action(say("Undo"), "DELETE", f"/api/assets/{quote(new, safe='/:@')}")
        return Mended(say("The other one is {name} now.", name=name), undo)

    def _original(self, address: str) -> str:
        folder, name = paths.split(address)
        first = conflicts.original(name)
        if not first or not os.path.lexists(self._store.path(address)):
            raise Conflict("There is no such copy any more: nothing was changed.", address=address)
        return paths.join(folder, first)

    def _put_away(self, address: str, who: str) -> str:
        """Into `old/`; the address of that folder."""
        share = self._store.check_writable(address)
        inside = paths.parse(address)[1]
        aside = deletions.delete(share, self._store.locks(share.name), inside, who, self._store.disk)
        self._copies.pop(address, None)
        self._store.refresh(address)
        return paths.address(share.name, aside)

    # Following

    def _begin(self) -> None:
        for share in self._store.shares:
            self._sweep(share.name)

    def _has_work(self) -> bool:
        return bool(self._queue or self._busy)

    def _on_changes(self, changes: list[Change]) -> None:
        wanted = []
        for change in changes:
            if change.kind in ("asset", "companion"):
                wanted.append(change.id)
            elif change.kind == "share":
                self._sweep(change.id)
        if wanted:
            self._ask(wanted)

    def _sweep(self, share: str) -> None:
        try:
            several = bool(self._store.sites.others(self._store.share(share)))
        except CroftError:
            return
        self._ask([
            entry.address
            for entry in self._store.index.under(paths.address(share))
            if (several and entry.facts is not None) or conflicts.is_copy(paths.name_of(entry.address))
        ])  # fmt: skip

    def _ask(self, addresses: list[str]) -> None:
        with self._condition:
            for address in addresses:
                self._later.pop(address, None)
                self._queue[address] = None
            self._condition.notify_all()

    def _work(self) -> None:
        while True:
            with self._condition:
                self._busy = False
                now = self._clock()
                for address in [known for known, when in self._later.items() if when <= now]:
                    del self._later[address]
                    self._queue[address] = None
                if self._closed:
                    return
                if not self._queue:
                    self._condition.notify_all()
                    due = min(self._later.values(), default=None)
                    self._condition.wait(None if due is None else max(0.05, due - now))
                    continue
                address, _ = self._queue.popitem(last=False)
                self._busy = True
            try:
                self._look(address)
            except Busy:
                self._put_off(address)
            except CroftError as error:
                log.info("%s isn't brought together: %s", address, error.message)
            except Exception:
                self.faults += 1
                log.exception("%s can't be brought together", address)

    def _put_off(self, address: str) -> None:
        with self._condition:
            self._later[address] = self._clock() + RETRY_S

    def _look(self, address: str) -> None:
        """One file, by what its name says it is."""
        name = paths.name_of(address)
        entry = self._store.index.get(address)
        if conflicts.is_copy(name):
            if entry is None or entry.stat is None:
                self._copies.pop(address, None)
                self._seen.pop(address, None)
            elif not entry.arriving:
                self._take_copy(address, paths.join(paths.folder_of(address), conflicts.original(name)))
            return
        share = self._store.share(address)
        if entry is None or share.read_only:
            self._fields.pop(address, None)
            return
        self._store.sites.hear(share, paths.companion_of(self._store.path(address)))
        others = self._store.sites.others(share)
        if others != self._others.get(share.name, ()):
            self._others[share.name] = others
            self._sweep(share.name)  # what came before it was known that somebody else writes here
        if not others:
            return
        if not paths.is_own(paths.parse(address)[1]) and entry.facts is not None:
            self._tidy(address)
            together = self._store.bring_together(address)
            if together is not None and together.conflicts:
                self._fields[address] = together.conflicts
                self._store.notify([Change("problems", "all")])
            elif self._fields.pop(address, None):
                self._store.notify([Change("problems", "all")])

    def _take_copy(self, address: str, original: str) -> None:
        """A conflict copy beside its original: Croft's own is merged, a person's is asked about."""
        path, first = self._store.path(address), self._store.path(original)
        base = paths.file_of_sidecar(original)
        name = paths.name_of(original)
        of_record = name.endswith(".json") and name != paths.PROJECT_FILE
        if of_record and ((known := self._store.index.get(base)) is not None and known.facts is not None):
            if self._merge_copy(path, base):
                self._seen.pop(address, None)
                self._put_away(address, WHO)
            else:
                self._put_off(address)
            return
        with contextlib.suppress(OSError):
            if first.is_file() and filecmp.cmp(path, first, shallow=False):
                self._put_away(address, WHO)  # the same on both sides
                return
        if self._copies.get(address) != original:
            self._copies[address] = original
            self._store.notify([Change("problems", "all")])

    def _merge_copy(self, path: Path, base: str) -> bool:
        """What the other side's sidecar says, taken into ours. False: too early to say."""
        store = self._store
        try:
            theirs = sidecar.read(path)
        except Broken:
            return False  # a person's to look at: `check` names it
        companion = paths.companion_of(store.path(base))
        store.bring_together(base)
        events = events_of(companion)
        _, known = merge.vector_of(theirs.etag, events, store.sites.own)
        if known:
            return True  # its histories have said all that it says
        since = self._seen.setdefault(store.share(base).address(path), self._clock())
        if self._clock() - since < self._patience_s:
            return False
        share = store.check_writable(base)
        with store.locks(share.name).hold(paths.lock_key(base)):
            mine = sidecar.read(paths.sidecar_of(store.path(base)))
            differing = {
                name: (mine.data.get(name), theirs.data.get(name))
                for name in {*mine.data, *theirs.data}
                if mine.data.get(name) != theirs.data.get(name)
            }
            if differing:
                vector, _ = merge.vector_of(mine.etag, events, store.sites.own)
                # What is there stays; what the copy says stands against it until somebody decides.
                held = {name: (None, now) for name, (now, _) in differing.items()}
                store.sites.say(companion, "", held, vector, mine.etag)
                store.sites.say(companion, "", differing, {}, theirs.etag, by_hand=True)
        self._ask([base])
        return True

    # Conflict copies of what lies in a companion

    def _tidy(self, address: str) -> None:
        companion = paths.companion_of(self._store.path(address))
        for path in _copies_in(companion):
            first = path.with_name(conflicts.original(path.name))
            inside = path.relative_to(self._store.share(address).root).as_posix()
            if path.parent.name == "notes":
                continue  # each is a note of its own, whatever it is called
            if not os.path.lexists(first):
                continue  # all that is there of it: its original may be on the way
            if first.suffix == ".jsonl" and first.exists() and not self._unite(address, first, path):
                continue
            with contextlib.suppress(NotFound):  # Race: another server was at it, too
                share = self._store.share(address)
                deletions.delete(share, self._store.locks(share.name), inside, WHO, self._store.disk)

    def _unite(self, address: str, first: Path, copy: Path) -> bool:
        """Lines that only the copy has, among those of the original. Whether the copy may go."""
        own = first.name == f"history.{self._store.sites.own}.jsonl"
        of_job = first.name == "journal.jsonl" and first.parent.parent.name == "jobs"
        locks = self._store.locks(address)
        key = first.parent.name if of_job else paths.lock_key(address)
        with locks.hold(key):
            mine, theirs = _lines(first), _lines(copy)
            missing = [line for line in theirs if line not in set(mine)]
            if not missing:
                return True
            if not (own or of_job):
                return False  # its site does it, and alone writes there
            if of_job:
                united = journal.united(mine, theirs)
                files.write_atomic(first, b"".join(line + b"\n" for line in united), disk=self._store.disk)
            else:
                # Offsets in it are known elsewhere: what is there stays where it is.
                tail = b"" if first.read_bytes()[-1:] in (b"\n", b"") else b"\n"
                raw = first.read_bytes() + tail + b"".join(line + b"\n" for line in missing)
                files.write_atomic(first, raw, disk=self._store.disk)
        return True


def _copies_in(companion: Path) -> Iterator[Path]:
    for at, folders, names in os.walk(companion):
        depth = len(Path(at).relative_to(companion).parts)
        folders[:] = [n for n in folders if depth < DEPTH and n not in ("thumbs", "versions", paths.OLD)]
        for name in names:
            if conflicts.is_copy(name):
                yield Path(at) / name


def _lines(path: Path) -> list[bytes]:
    raw, _ = files.read_bounded(path, journal.MAX_BYTES)
    return [line for line in raw.split(b"\n") if line.strip()]


def _shown(value: object) -> str:
    if value in (None, "", []):
        return "nothing"
    if isinstance(value, list):
        return ", ".join(map(str, value))[:80]
    return str(value)[:80]
