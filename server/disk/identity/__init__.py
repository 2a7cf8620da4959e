"""Knows an asset again when its file was renamed, moved or copied by hand.

A file that appears where none was, and one that went and left its sidecar or companion folder behind, are
one asset when exactly one fits the other: then it gets them back. Two holders of one uuid are a move that
goes on, or a copy: after a quiet time the copy gets a uuid of its own. Equal content alone proves nothing,
new assets come from the same template. What can't be decided is told as a problem. Deletes nothing that a
person made.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from server.disk import carry, faults, paths
from server.disk.carry import CROFT, is_derived
from server.disk.errors import BadInput, Conflict, CroftError, NotFound
from server.disk.records import Entry, Problem, Stat
from server.disk.scan import Found
from server.disk.speech import say

from .giving import Giving
from .looks import TICK_NS, can_be_known, is_one_file, is_there, looks_of, share_of, since, told, told_apart
from .places import Places

if TYPE_CHECKING:
    from server.disk.store import Store

log = logging.getLogger(__name__)

DECIDE_S = 0.1  # after the last change that matters
CONTEST_S = 10.0  # a move over the network is copy, then delete
RECENT_S = 60.0  # a move that isn't a rename: the copy appears this close to the loss
CONTESTS_AT_ONCE = 20
OFFERED = 6  # files that a problem has buttons for
MANY = 20_000  # candidates remembered; beyond, all entries are looked through
# After a move that didn't work out: a lock, a full disk, a pool's mount that lags behind.
AGAIN_S = (0.8, 0.8, 5.0, 60.0)


@dataclass(frozen=True, slots=True)
class _Lost:
    """What is known of a file that went."""

    stat: Stat | None  # its last, where this process saw it
    at: float
    uuid: str = ""


class Identity:
    """Used by the watcher's thread; `problems` and what a person decides by any."""

    def __init__(
        self, store: Store, *, clock: Callable[[], float] = time.monotonic, contest_s: float = CONTEST_S
    ) -> None:
        self.contest_s = contest_s
        self._store = store
        self._clock = clock
        self._giving = Giving(store)
        self._places = Places(store, clock, self._give_back, self._is_unclaimed)
        self._lock = threading.Lock()
        self._lost: dict[str, _Lost] = {}
        self._new: dict[str, float] = {}  # files that appeared, not yet decided on, and when
        self._unseen: set[str] = set()  # of these, the ones that appeared while nobody watched
        self._all = True  # nothing is known of before the start: every file may be the lost one
        self._decide_at: float | None = clock()
        self._stripped: dict[str, tuple[str, float]] = {}  # uuid -> the file that its record left, and when
        self._undone: set[tuple[str, str]] = set()  # lost, found: a person took back that they are one
        self._contests: dict[str, float] = {}  # uuid -> when it is decided
        self._first: dict[str, str] = {}  # uuid -> who held it before it was contested
        self._unclear: dict[str, tuple[str, ...]] = {}  # lost address -> files that may be it
        self._not: dict[str, set[str]] = {}  # lost address -> files that a person said aren't it
        self._tries: dict[
            str, tuple[int, float]
        ] = {}  # lost address -> how often giving back failed, when again
        self._alike: dict[tuple[int, int], set[str]] | None = None  # all files by their looks, while deciding
        self._kept_looks: dict[str, tuple[int, int] | None] = {}  # of missing files, by their file.json

    # -- told by the watcher ----------------------------------------------------------------------

    def saw(self, found: Found) -> None:
        """A look changed this."""
        now = self._clock()
        index = self._store.index
        for entry in found.lost:
            if can_be_known(entry.address):
                uuid = entry.facts.uuid if entry.facts is not None else ""
                self._lost[entry.address] = _Lost(entry.stat, now, uuid)
        # A name that has another file by now: that is new there, too.
        for address in (*found.new, *(entry.address for entry in found.changed)):
            if can_be_known(address):
                self._new[address] = now
        for entry in found.bare:
            if entry.facts is not None and entry.facts.uuid:
                self._stripped[entry.facts.uuid] = (entry.address, now)
                self._decide_at = now + DECIDE_S
        if len(self._new) > MANY:
            self._all = True
            self._new.clear()
        if found.lost or found.new or any(address in self._new for address in found.addresses):
            self._decide_at = now + DECIDE_S
        for uuid, held in index.contested().items():
            if uuid not in self._contests:
                self._contests[uuid] = now + self.contest_s
                before = [address for address in held if address not in found.new]
                if len(before) == 1:
                    self._first[uuid] = before[0]

    def all_again(self) -> None:
        """A share came back: what happened to it meanwhile is unknown."""
        self._all = True
        self._decide_at = self._clock() + DECIDE_S

    def before_looks(self, overheard: Found, gone: Iterable[tuple[str, str]]) -> None:
        """What other threads' looks saw meanwhile; and names (folder, name) that renames left."""
        self._places.before_looks(overheard, gone)

    def renamed(self, found: Found) -> Found:
        """Right after a look, before anybody takes a file for new: see `places`."""
        return self._places.renamed(found)

    def next_due_s(self) -> float | None:
        times = (self._decide_at, self._places.again_at, *self._contests.values())
        due = [at for at in times if at is not None]
        return max(0.0, min(due) - self._clock()) if due else None

    def undecided(self) -> bool:
        """Whether something is decided within a second."""
        soon = self._clock() + 1
        if self._decide_at is not None or self._places.again_at is not None:
            return True
        return any(at <= soon for at in self._contests.values())

    def due(self) -> Found:
        """Decides what is due. What it changed on disk is in the index already."""
        found = Found()
        now = self._clock()
        if self._places.again_at is not None and self._places.again_at <= now:
            found.add(self._places.renamed(Found()))
        if self._decide_at is not None and self._decide_at <= now:
            self._decide_at = None
            found.add(self._decide(now))
        due = [uuid for uuid, at in self._contests.items() if at <= now]
        for uuid in due[:CONTESTS_AT_ONCE]:  # each waits for the disk: between them events are heard
            found.add(self._decide_contest(uuid, now))
        return found

    def problems(self) -> list[Problem]:
        """What a person has to decide."""
        with self._lock:
            unclear = dict(self._unclear)
        found = []
        for address, candidates in sorted(unclear.items()):
            name = paths.name_of(address)
            several = len(candidates) > 1
            actions = [
                faults.mending(
                    say("It is {told_apart}", told_apart=told_apart(other, candidates)),
                    "same",
                    address,
                    other=other,
                )
                for other in candidates[:OFFERED]
            ]
            actions.append(
                faults.mending(say("Neither") if several else say("No, it isn’t"), "not-same", address,
                               others=list(candidates))
            )  # fmt: skip
            found.append(
                faults.problem(
                    "identity",
                    address,
                    say(
                        "{name} is gone; what was known of it stayed. It may have become {candidates}.",
                        name=name,
                        candidates=" or ".join(told_apart(other, candidates) for other in candidates),
                    ),
                    say("Say which one it is: owner, state, notes and renders come back to it."),
                    *actions,
                )
            )
        return found

    def decide(self, lost: str, found: str, who: str) -> None:
        """A person says that this file is the lost one: it gets its record. Conflict, NotFound, BadInput."""
        index = self._store.index
        left, entry = index.get(lost), index.get(found)
        if left is None or left.stat is not None:
            raise Conflict("{lost} isn't missing any more.", address=lost, lost=paths.name_of(lost))
        if entry is None or entry.stat is None:
            raise NotFound("There is no {found}.", address=found, found=paths.name_of(found))
        if not can_be_known(found) or (entry.jobs and not self._is_unclaimed(entry)):
            raise BadInput(
                "{found} is an asset of its own by now.", address=found, found=paths.name_of(found)
            )
        if not self._may_take(left, entry, asked=True):
            raise Conflict(
                "Somebody has worked with {found} already.", address=found, found=paths.name_of(found)
            )
        self._undone.discard((lost, found))
        changes = self._give_back(lost, found, asked=True)
        now = index.get(lost)
        if now is not None and now.etag:
            raise Conflict("That didn't work out just now. Try again in a moment.", address=lost)
        self._set_unclear({})
        self._store.tell(found, who, {"was": lost})
        self._store.notify(changes.changes())

    def undecide(self, lost: str, found: str, who: str) -> None:
        """Takes `decide` back: the record belongs to the lost file again, `found` begins anew."""
        store = self._store
        share = store.check_writable(found)
        said = [event["was"] for event in store.history(found) if "was" in event]
        if said[-1:] != [lost]:
            raise Conflict(
                "Nobody said that {found} is {lost}.",
                address=found,
                found=paths.name_of(found),
                lost=paths.name_of(lost),
            )
        if share_of(lost) != share.name:
            raise Conflict("The files lie on different shares: what was known was copied.", address=found)
        old, new = paths.parse(lost)[1], paths.parse(found)[1]
        with store.locks(share.name).hold_all([paths.lock_key(old), paths.lock_key(new)]):
            path = share.path(old)
            if is_there(path) or os.path.lexists(paths.sidecar_of(path)):
                raise Conflict("{lost} is there again.", address=lost, lost=paths.name_of(lost))
            self._undone.add((lost, found))  # or the record would follow the file that it leaves now
            carry.carry(share, new, old, store.disk)
        for address in (lost, found):
            store.refresh(address)
        store.tell(lost, who, {"wasn't": found})
        self._new[found] = self._clock()
        self._decide_at = self._clock() + DECIDE_S

    def decide_not(self, lost: str, others: Sequence[str], who: str, undo: bool = False) -> None:
        """A person says that none of these is the lost one (or, with `undo`, that one may be after all).
        Kept in its history."""
        left = self._store.index.get(lost)
        if left is None or left.stat is not None:
            raise Conflict("{lost} isn't missing any more.", address=lost, lost=paths.name_of(lost))
        self._store.tell(lost, who, {"maybe" if undo else "not": sorted(others)})
        with self._lock:
            self._not.pop(lost, None)
            if not undo:
                self._unclear.pop(lost, None)
        self._new.update(dict.fromkeys(others, self._clock()))
        self._decide_at = self._clock() + DECIDE_S

    # -- the lost and the found -------------------------------------------------------------------

    def _decide(self, now: float) -> Found:
        """Gives back to each file that appeared what the one lost file that fits it has left behind."""
        index = self._store.index
        missing = {entry.address: entry for entry in index.missing() if can_be_known(entry.address)}
        self._lost = {address: lost for address, lost in list(self._lost.items()) if address in missing}
        everything, self._all = self._all, False
        if not missing:
            self._forget_old(now, set())
            self._set_unclear({})
            return Found()
        candidates = (
            list(index.entries()) if everything else [index.get(address) for address in list(self._new)]
        )
        fresh = [e for e in candidates if e is not None and e.stat is not None and can_be_known(e.address)]
        waiting = {entry.address for entry in fresh if entry.arriving}
        if everything:
            self._unseen.update(waiting)
            self._new.update(dict.fromkeys(waiting, now))
        fresh = [entry for entry in fresh if not entry.arriving and not entry.broken]
        same_content: dict[tuple[int, int], list[Entry]] = {}
        for entry in fresh:
            if entry.stat is not None:
                same_content.setdefault(looks_of(entry.stat), []).append(entry)
        self._kept_looks = {a: looks for a, looks in self._kept_looks.items() if a in missing}
        self._tries = {a: tried for a, tried in list(self._tries.items()) if a in missing}
        self._alike = None
        fits: dict[str, list[str]] = {}
        for address, left in missing.items():
            fitting = self._fitting(left, same_content, everything, now)
            if fitting:
                fits[address] = fitting
        wanted: dict[str, list[str]] = {}
        for address, fitting in fits.items():
            for other in fitting:
                wanted.setdefault(other, []).append(address)
        found = Found()
        unclear: dict[str, tuple[str, ...]] = {}
        for address, fitting in fits.items():
            if len(fitting) == 1 and len(wanted[fitting[0]]) == 1:
                found.add(self._give_back(address, fitting[0]))
            else:
                unclear[address] = tuple(fitting)
        self._alike = None
        self._forget_old(now, waiting)
        self._set_unclear(unclear)
        return found

    def _forget_old(self, now: float, waiting: set[str]) -> None:
        """A file that has been there for a while is nobody's copy that goes on."""
        self._new = {a: at for a, at in list(self._new.items()) if a in waiting or now - at < RECENT_S}
        self._unseen &= self._new.keys()
        self._stripped = {u: told for u, told in list(self._stripped.items()) if now - told[1] < RECENT_S}

    def _set_unclear(self, unclear: dict[str, tuple[str, ...]]) -> None:
        with self._lock:
            missing = {entry.address for entry in self._store.index.missing()}
            kept = {a: c for a, c in self._unclear.items() if a in missing and a not in unclear}
            self._unclear = {
                address: still
                for address, candidates in {**kept, **unclear}.items()
                if (still := tuple(c for c in candidates if self._is_bare_still(c)))
            }

    def _is_bare_still(self, address: str) -> bool:
        entry = self._store.index.get(address)
        return entry is not None and entry.stat is not None and not entry.jobs

    def _fitting(
        self, left: Entry, same_content: dict[tuple[int, int], list[Entry]], everything: bool, now: float
    ) -> list[str]:
        """The files that may be this lost one."""
        address = left.address
        if stayed := self._stripped_of(left):
            return stayed
        lost = self._lost.get(address)
        # What was seen last of a sequence are its last frames; all of it stands in its file.json.
        seen = lost.stat if lost is not None and is_one_file(address) else None
        looks = looks_of(seen) if seen is not None else self._looked(address)
        if looks is None or looks not in same_content:
            return []
        record = self._record(address)
        recent = lost is not None and now - lost.at < RECENT_S
        name = paths.name_of(address)
        others = self._said_not(address)
        fitting = [
            e
            for e in same_content[looks]
            if (recent or everything or e.address in self._unseen or paths.name_of(e.address) == name)
            and e.address not in others
            and self._may_take(left, e)
            and self._same_content(record, e.address)
        ]
        found = [e.address for e in fitting]
        if found and self._is_common(looks, found):
            return []  # copies of one template: content proves nothing
        if lost is not None and lost.stat is not None and len(found) > 1 and is_one_file(address):
            # An inode alone proves nothing either, a disk gives it again; among several it points to one.
            inode = lost.stat.inode
            found = [e.address for e in fitting if e.stat and e.stat.inode == inode] or found
        return found

    def _stripped_of(self, left: Entry) -> list[str]:
        """The file beside which this record lay a moment ago. It stayed: a pool moves of a folder only what
        lies on one disk, and a record may lie on another one than its file."""
        uuid = left.facts.uuid if left.facts is not None else ""
        address, _ = self._stripped.get(uuid, ("", 0.0))
        entry = self._store.index.get(address) if address and address != left.address else None
        if entry is None or entry.stat is None or address in self._said_not(left.address):
            return []
        if (left.address, address) in self._undone:
            return []
        return [address] if self._may_take(left, entry) else []

    def _looked(self, address: str) -> tuple[int, int] | None:
        """How a missing file looked when Croft read it last. That is read once: it can't change."""
        if address not in self._kept_looks:
            record = self._record(address)
            size, mtime_ns = record.get("size"), record.get("mtime_ns")
            known = isinstance(size, int) and isinstance(mtime_ns, int)
            self._kept_looks[address] = (size, mtime_ns // TICK_NS) if known else None  # type: ignore[operator, assignment]
        return self._kept_looks[address]

    def _said_not(self, address: str) -> set[str]:
        """What a person said this lost file isn't."""
        if address not in self._not:
            ruled_out: set[str] = set()
            for event in self._store.history(address):
                for key, change in (("not", ruled_out.update), ("maybe", ruled_out.difference_update)):
                    others = event.get(key)
                    if isinstance(others, list):
                        change(others)
            self._not[address] = ruled_out
        return self._not[address]

    def _is_common(self, looks: tuple[int, int], fitting: list[str]) -> bool:
        """Whether files that are other assets look just the same."""
        if self._alike is None:
            self._alike = {}
            for entry in self._store.index.entries():
                if entry.stat is not None:
                    self._alike.setdefault(looks_of(entry.stat), set()).add(entry.address)
        return bool(self._alike.get(looks, set()).difference(fitting))

    def _same_content(self, record: dict[str, Any], address: str) -> bool:
        ours, theirs = record.get("hash"), self._record(address).get("hash")
        return ours is None or theirs is None or ours == theirs

    def _record(self, address: str) -> dict[str, Any]:
        try:
            return self._store.read_json(paths.join(paths.companion_of(address), "file.json"))
        except (CroftError, OSError):
            return {}

    def _may_take(self, left: Entry, entry: Entry, asked: bool = False) -> bool:
        """Whether a file has no use yet for what was left behind: sidecar and companion, or it alone."""
        if entry.broken:
            return False
        if not left.etag and not left.broken and entry.etag:
            # The sidecar went along, the hidden companion folder stayed. Both become one.
            lost = self._lost.get(left.address)
            uuid = lost.uuid if lost is not None else ""
            facts = entry.facts
            own = bool(uuid and facts is not None and uuid in (facts.uuid, facts.derived_from))
            return asked or own or is_derived(paths.companion_of(self._store.path(entry.address)))
        return not entry.jobs and self._is_unclaimed(entry)

    def _is_unclaimed(self, entry: Entry) -> bool:
        """Whether nobody has done anything with this file yet: no record, or one that Croft made and that
        says what Croft wrote. Who edits it as a file leaves no history."""
        if entry.facts is None:
            return True
        events = self._store.history(entry.address)
        if not events or any(event.get("who") != CROFT for event in events):
            return False
        said: dict[str, Any] = {}
        for event in events:
            fields = event.get("fields")
            for key, change in fields.items() if isinstance(fields, dict) else ():
                said[key] = change[1] if isinstance(change, list) and len(change) == 2 else None
        try:
            record = self._store.read(entry.address).data
        except CroftError:
            return False
        return told(record) == told(said)

    def _give_back(self, lost: str, found: str, asked: bool = False) -> Found:
        """Carries sidecar and companion of `lost` to `found`; tried again when that didn't work out."""
        done, given = self._giving.give_back(
            lost, found, lambda left, entry: self._may_take(left, entry, asked)
        )
        if given:
            self._places.forget(lost, found)
            was = self._lost.pop(lost, None)
            self._giving.own_again(was.uuid if was is not None else "", found)
            self._new.pop(found, None)
            self._tries.pop(lost, None)
        else:
            self._try_again(lost)
        return done

    def _try_again(self, lost: str) -> None:
        """A disk may be full, a lock busy; a pool's mount tells some time late what happened on a disk."""
        now = self._clock()
        tries, again = self._tries.get(lost, (0, now))
        if now >= again:  # what fails again within the pause is the same failure
            if tries >= len(AGAIN_S):
                return
            again = now + AGAIN_S[tries]
            self._tries[lost] = (tries + 1, again)
        self._decide_at = min(again, self._decide_at) if self._decide_at is not None else again

    # -- two holders of one uuid ------------------------------------------------------------------

    def _decide_contest(self, uuid: str, now: float) -> Found:
        """One of the holders keeps the uuid; each other that still has its file gets its own."""
        index = self._store.index
        found = Found()
        entries = [entry for address in index.holders(uuid) if (entry := index.get(address))]
        if any(entry.arriving for entry in entries):
            self._contests[uuid] = now + self.contest_s
            return found
        self._contests.pop(uuid, None)
        first = self._first.pop(uuid, "")
        there = [entry for entry in entries if entry.stat is not None and not entry.broken]
        gone = [entry for entry in entries if entry.stat is None]
        if len(there) == 1 and len(gone) == 1:
            # Its file and sidecar were moved, the hidden companion folder stayed behind.
            found.add(self._giving.bring_companion(gone[0], there[0]))
        if len(there) < 2:
            return found
        keeper = min(there, key=lambda e: (e.address != first, since(e), e.address))
        for entry in there:
            if entry is not keeper:
                found.add(self._giving.make_own(entry.address, uuid))
        return found
