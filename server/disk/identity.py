"""Knows an asset again when its file was renamed, moved or copied by hand.

A file that appears where none was, and one that went and left its sidecar or companion folder behind, are
one asset when exactly one fits the other: then it gets them back. Two holders of one uuid are a move that
goes on, or a copy: after a quiet time the copy gets a uuid of its own. Equal content alone proves nothing,
new assets come from the same template. What can't be decided is told as a problem. Deletes nothing that a
person made.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import uuid as uuids
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.disk import carry, deletions, faults, paths
from server.disk.carry import CROFT, is_derived
from server.disk.errors import BadInput, Conflict, CroftError, NotFound
from server.disk.paths import Share
from server.disk.records import Entry, Problem, Stat
from server.disk.scan import Found

if TYPE_CHECKING:
    from server.disk.store import Store

log = logging.getLogger(__name__)

DECIDE_S = 0.1  # after the last change that matters
CONTEST_S = 10.0  # a move over the network is copy, then delete
RECENT_S = 60.0  # a move that isn't a rename: the copy appears this close to the loss
TOGETHER_S = 5.0  # renames of one act, of which two looks may each see a part
CONTESTS_AT_ONCE = 20
OFFERED = 6  # files that a problem has buttons for
MANY = 20_000  # candidates remembered; beyond, all entries are looked through
AGAIN_S = (
    0.8,
    0.8,
    5.0,
    60.0,
)  # after a move that didn't work out: a lock, a full disk, a mount that lags behind
TICK_NS = 100  # what Windows keeps of a time: a copy by Explorer has no finer one


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
        self._lock = threading.Lock()
        self._lost: dict[str, _Lost] = {}
        self._new: dict[str, float] = {}  # files that appeared, not yet decided on, and when
        self._unseen: set[str] = set()  # of these, the ones that appeared while nobody watched
        self._all = True  # nothing is known of before the start: every file may be the lost one
        self._decide_at: float | None = clock()
        self._stripped: dict[str, tuple[str, float]] = {}  # uuid -> the file that its record left, and when
        self._before: dict[str, tuple[Stat, float]] = {}  # names that lost their file a moment ago, and which
        self._looks_at: deque[float] = deque(maxlen=4)  # when renames were looked for last
        self._after: dict[str, float] = {}  # names that got another a moment ago
        self._contests: dict[str, float] = {}  # uuid -> when it is decided
        self._first: dict[str, str] = {}  # uuid -> who held it before it was contested
        self._unclear: dict[str, tuple[str, ...]] = {}  # lost address -> files that may be it
        self._not: dict[str, set[str]] = {}  # lost address -> files that a person said aren't it
        self._tries: dict[str, int] = {}  # lost address -> how often its record couldn't be given back
        self._alike: dict[tuple[int, int], set[str]] | None = None  # all files by their looks, while deciding
        self._kept_looks: dict[str, tuple[int, int] | None] = {}  # of missing files, by their file.json

    # -- told by the watcher ----------------------------------------------------------------------

    def saw(self, found: Found) -> None:
        """A look changed this."""
        now = self._clock()
        index = self._store.index
        for entry in found.lost:
            if _can_be_known(entry.address):
                uuid = entry.facts.uuid if entry.facts is not None else ""
                self._lost[entry.address] = _Lost(entry.stat, now, uuid)
        for address in found.new:
            if _can_be_known(address):
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

    def renamed(self, found: Found, gone: Iterable[tuple[str, str]]) -> Found:
        """Right after a look: files that are the very ones (same inode) that were just elsewhere get their
        sidecars at once, before anybody takes them for new. So do files that changed places."""
        index = self._store.index
        done = Found()
        # A look at many may take longer than that: what the last few saw counts in any case.
        self._looks_at.append(self._clock())
        since = min(self._clock() - TOGETHER_S, self._looks_at[0])
        self._before = {a: kept for a, kept in self._before.items() if kept[1] >= since}
        self._after = {a: at for a, at in self._after.items() if at >= since}
        self._note(found, [index.get(paths.join(folder, name)) for folder, name in gone])
        if not self._before:
            return done
        were: dict[tuple[int, int, int], list[str]] = {}
        changed: set[str] = set()  # names that have another file by now
        for address, (stat, _) in self._before.items():
            were.setdefault(_same_file(stat), []).append(address)
            entry = index.get(address)
            if entry is not None and entry.stat is not None and _same_file(entry.stat) != _same_file(stat):
                changed.add(address)
        moved: dict[str, str] = {}
        for address in self._after:
            entry = index.get(address)
            matches = were.get(_same_file(entry.stat), []) if entry is not None and entry.stat else []
            # Of several names that it had in this moment the first is where it came from.
            origin = matches[0] if matches else address
            if origin != address and _share_of(origin) == _share_of(address) and origin not in moved:
                moved[origin] = address
        rows = self._possible(moved, changed)
        for old, new in list(rows.items()):
            if old in changed or new in changed:
                continue
            del rows[old]
            done.add(self._store.scanner(old).refresh(old))
            left = index.get(old)
            if left is not None and left.stat is None:
                done.add(self._give_back(old, new))
        if rows:
            done.add(self._change_places(rows))
        self._note(done)  # Race: the next rename came while these records were carried.
        return done

    def _note(self, found: Found, went: Iterable[Entry | None] = ()) -> None:
        """Keep for a moment which names lost their file and which got one: two looks may each have seen a
        part of what belongs together."""
        now = self._clock()
        for entry in (*found.changed, *went):
            if entry is not None and entry.stat is not None and _is_one_file(entry.address):
                self._before.setdefault(entry.address, (entry.stat, now))
        came = (*found.new, *(entry.address for entry in found.changed))
        self._after.update(dict.fromkeys(filter(_is_one_file, came), now))

    def _forget_moved(self, *addresses: str) -> None:
        for address in addresses:
            self._before.pop(address, None)
            self._after.pop(address, None)

    def _possible(self, moved: dict[str, str], changed: set[str]) -> dict[str, str]:
        """Of these moves (from, to) the ones whose records can follow. A name that goes on with a file that
        is new keeps its record: who puts a file aside and saves another in its place goes on with that."""
        left = dict(moved)
        while True:
            targets = set(left.values())
            wrong = [
                old
                for old, new in left.items()
                if (old in changed and old not in targets)
                or (new in left) != (new in changed)
                or (new not in changed and not self._is_free(new))
            ]
            if not wrong:
                return left
            for old in wrong:
                del left[old]

    def _is_free(self, address: str) -> bool:
        entry = self._store.index.get(address)
        if entry is None or entry.stat is None or entry.broken or entry.jobs:
            return False
        return entry.facts is None or self._is_unclaimed(entry)

    def _change_places(self, moved: dict[str, str]) -> Found:
        """Records follow files of which some went to where another was."""
        store = self._store
        done = Found()
        everywhere = sorted({*moved, *moved.values()})
        inside = {address: paths.parse(address)[1] for address in everywhere}
        try:
            share = store.check_writable(everywhere[0])
            with store.locks(share.name).hold_all(map(paths.lock_key, everywhere)):
                for new in moved.values():  # Race: it went on meanwhile.
                    entry = store.index.get(new)
                    st = os.lstat(share.path(inside[new]))
                    if entry is None or entry.stat is None or st.st_size != entry.stat.size:
                        return done
                carry.rotate(share, {inside[old]: inside[new] for old, new in moved.items()}, store.disk)
            self._forget_moved(*everywhere)
            self._put_away_passed(share, {paths.folder_of(address) for address in everywhere}, done)
            log.info("these changed places, and so did their records: %s", moved)
        except (CroftError, OSError) as error:
            log.warning("the records of %s can't follow them: %s", moved, error)
        for address in everywhere:
            done.add(store.scanner(address).refresh(address))
        return done

    def _put_away_passed(self, share: Share, folders: set[str], done: Found) -> None:
        """A name that a file only passed through, and for which a record was made in that moment."""
        for address in list(self._after):
            entry = self._store.index.get(address)
            if entry is None or paths.folder_of(address) not in folders:
                continue
            done.add(self._store.scanner(address).refresh(address))
            entry = self._store.index.get(address)
            if entry is None or entry.stat is not None or entry.jobs or not self._is_unclaimed(entry):
                continue
            inside = paths.parse(address)[1]
            with self._store.locks(share.name).hold(paths.lock_key(inside)):
                if not _is_there(share.path(inside)):
                    deletions.put_away(share, inside, CROFT, self._store.disk)
            self._forget_moved(address)
            done.add(self._store.scanner(address).refresh(address))

    def next_due_s(self) -> float | None:
        due = [at for at in (self._decide_at, *self._contests.values()) if at is not None]
        return max(0.0, min(due) - self._clock()) if due else None

    def undecided(self) -> bool:
        """Whether something is decided within a second."""
        soon = self._clock() + 1
        return self._decide_at is not None or any(at <= soon for at in self._contests.values())

    def due(self) -> Found:
        """Decides what is due. What it changed on disk is in the index already."""
        found = Found()
        now = self._clock()
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
                faults.mending(f"It is {_told_apart(other, candidates)}", "same", address, other=other)
                for other in candidates[:OFFERED]
            ]
            actions.append(
                faults.mending("Neither" if several else "No, it isn’t", "not-same", address,
                               others=list(candidates))
            )  # fmt: skip
            found.append(
                faults.problem(
                    "identity",
                    address,
                    f"{name} is gone; what was known of it stayed. It may have become "
                    f"{' or '.join(_told_apart(other, candidates) for other in candidates)}.",
                    "Say which one it is: owner, state, notes and renders come back to it.",
                    *actions,
                )
            )
        return found

    def decide(self, lost: str, found: str, who: str) -> None:
        """A person says that this file is the lost one: it gets its record. Conflict, NotFound, BadInput."""
        index = self._store.index
        left, entry = index.get(lost), index.get(found)
        if left is None or left.stat is not None:
            raise Conflict(f"{paths.name_of(lost)} isn't missing any more.", address=lost)
        if entry is None or entry.stat is None:
            raise NotFound(f"There is no {paths.name_of(found)}.", address=found)
        if not _can_be_known(found) or (entry.jobs and not self._is_unclaimed(entry)):
            raise BadInput(f"{paths.name_of(found)} is an asset of its own by now.", address=found)
        if not self._may_take(left, entry, asked=True):
            raise Conflict(f"Somebody has worked with {paths.name_of(found)} already.", address=found)
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
        if _share_of(lost) != share.name:
            raise Conflict("The files lie on different shares: what was known was copied.", address=found)
        old, new = paths.parse(lost)[1], paths.parse(found)[1]
        with store.locks(share.name).hold_all([paths.lock_key(old), paths.lock_key(new)]):
            path = share.path(old)
            if _is_there(path) or os.path.lexists(paths.sidecar_of(path)):
                raise Conflict(f"{paths.name_of(lost)} is there again.", address=lost)
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
            raise Conflict(f"{paths.name_of(lost)} isn't missing any more.", address=lost)
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
        missing = {entry.address: entry for entry in index.missing() if _can_be_known(entry.address)}
        self._lost = {address: lost for address, lost in list(self._lost.items()) if address in missing}
        everything, self._all = self._all, False
        if not missing:
            self._forget_old(now, set())
            self._set_unclear({})
            return Found()
        candidates = (
            list(index.entries()) if everything else [index.get(address) for address in list(self._new)]
        )
        fresh = [e for e in candidates if e is not None and e.stat is not None and _can_be_known(e.address)]
        waiting = {entry.address for entry in fresh if entry.arriving}
        if everything:
            self._unseen.update(waiting)
            self._new.update(dict.fromkeys(waiting, now))
        fresh = [entry for entry in fresh if not entry.arriving and not entry.broken]
        same_content: dict[tuple[int, int], list[Entry]] = {}
        for entry in fresh:
            if entry.stat is not None:
                same_content.setdefault(_looks(entry.stat), []).append(entry)
        self._kept_looks = {a: looks for a, looks in self._kept_looks.items() if a in missing}
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
        seen = lost.stat if lost is not None and _is_one_file(address) else None
        looks = _looks(seen) if seen is not None else self._looked(address)
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
        if lost is not None and lost.stat is not None and len(found) > 1 and _is_one_file(address):
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
                    self._alike.setdefault(_looks(entry.stat), set()).add(entry.address)
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
        return _told(record) == _told(said)

    def _give_back(self, lost: str, found: str, asked: bool = False) -> Found:
        """Carries sidecar and companion of `lost` to `found`; nothing if one of them changed meanwhile."""
        store = self._store
        done = Found()
        given = False
        try:
            there, here = store.check_writable(lost), store.check_writable(found)
            with contextlib.ExitStack() as held:
                keys = [
                    (share.name, paths.lock_key(address)) for share, address in ((there, lost), (here, found))
                ]
                for name in sorted({name for name, _ in keys}):
                    held.enter_context(store.locks(name).hold_all(key for n, key in keys if n == name))
                given = self._carry(there, lost, here, found, done, asked)
            if given:
                log.info("%s was %s: it has its record back", found, lost)
        except (CroftError, OSError) as error:
            log.warning("%s can't have back what %s left: %s", found, lost, error)
        for address in (lost, found):
            done.add(store.scanner(address).refresh(address))
        if given:
            self._forget_moved(lost, found)
            self._own_again(lost, found)
            self._lost.pop(lost, None)
            self._new.pop(found, None)
            self._tries.pop(lost, None)
        else:
            self._try_again(lost)
        return done

    def _carry(self, there: Share, lost: str, here: Share, found: str, done: Found, asked: bool) -> bool:
        """Under the locks of both. False when something changed meanwhile."""
        store = self._store
        old, new = paths.parse(lost)[1], paths.parse(found)[1]
        source = there.path(old)
        # Race: somebody put it back, or another server was first; or the mount doesn't know it yet.
        if _is_there(source) or not _is_there(here.path(new)):
            return False
        done.add(store.scanner(lost).refresh(lost))
        done.add(store.scanner(found).refresh(found))
        left, entry = store.index.get(lost), store.index.get(found)
        if left is None or entry is None or not self._may_take(left, entry, asked):
            return False
        # What the look saw counts: a pool's mount may still show for a second what went from a disk.
        with_sidecar = bool(left.etag or left.broken) and os.path.lexists(paths.sidecar_of(source))
        if not with_sidecar and not os.path.lexists(paths.companion_of(source)):
            return False
        if there.name != here.name:
            carry.carry_over(there, old, here, new, with_sidecar=with_sidecar, disk=store.disk)
            deletions.put_away(there, old, CROFT, store.disk)
        elif with_sidecar:
            carry.carry(here, old, new, store.disk)
        else:
            carry.carry_companion(here, old, new, store.disk)
        return True

    def _own_again(self, lost: str, found: str) -> None:
        """A move that took so long that it was taken for a copy: it has its own uuid again."""
        was = self._lost.get(lost)
        entry = self._store.index.get(found)
        if was is None or not was.uuid or entry is None or entry.facts is None:
            return
        uuid = was.uuid
        if entry.facts.derived_from != uuid or self._store.index.holders(uuid):
            return

        def change(data: dict[str, Any]) -> dict[str, Any]:
            if data.get("derived_from") != uuid:
                return data  # Race: somebody else changed it
            return {**{key: value for key, value in data.items() if key != "derived_from"}, "uuid": uuid}

        try:
            self._store.edit(found, change, who=CROFT)
        except (CroftError, OSError) as error:
            log.warning("%s can't have its uuid again: %s", found, error)

    def _try_again(self, lost: str) -> None:
        """A disk may be full, a lock busy; a pool's mount tells some time late what happened on a disk."""
        tries = self._tries.get(lost, 0)
        if tries < len(AGAIN_S):
            self._tries[lost] = tries + 1
            again = self._clock() + AGAIN_S[tries]
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
            found.add(self._bring_companion(gone[0], there[0]))
        if len(there) < 2:
            return found
        keeper = min(there, key=lambda e: (e.address != first, _since(e), e.address))
        for entry in there:
            if entry is not keeper:
                found.add(self._make_own(entry.address, uuid))
        return found

    def _make_own(self, address: str, uuid: str) -> Found:
        """A copy becomes an asset of its own."""

        def change(data: dict[str, Any]) -> dict[str, Any]:
            if data.get("uuid") != uuid:
                return data  # Race: another server, or a person, did it
            return {**data, "uuid": str(uuids.uuid4()), "derived_from": uuid}

        try:
            self._store.edit(address, change, who=CROFT)
            log.info("%s is a copy: it has a uuid of its own now", address)
        except (CroftError, OSError) as error:
            log.warning("%s can't have a uuid of its own: %s", address, error)
        return self._store.scanner(address).refresh(address)

    def _bring_companion(self, gone: Entry, there: Entry) -> Found:
        store = self._store
        done = Found()
        try:
            share = store.check_writable(there.address)
            home = store.check_writable(gone.address)
            old, new = (paths.parse(a)[1] for a in (gone.address, there.address))
            with contextlib.ExitStack() as held:
                keys = [(home.name, paths.lock_key(old)), (share.name, paths.lock_key(new))]
                for name in sorted({name for name, _ in keys}):
                    held.enter_context(store.locks(name).hold_all(key for n, key in keys if n == name))
                if _is_there(home.path(old)):
                    return done
                if home.name == share.name:
                    carry.carry_companion(share, old, new, store.disk)
                else:
                    carry.carry_over(home, old, share, new, with_sidecar=False, disk=store.disk)
                if any(
                    os.path.lexists(home.path(old).parent / n) for n in deletions.record_names(home.path(old))
                ):
                    # The sidecar was copied, not moved: two holders would keep each other's jobs waiting.
                    deletions.put_away(home, old, CROFT, store.disk)
        except (CroftError, OSError) as error:
            log.warning("The companion of %s can't follow it: %s", there.address, error)
        for address in (gone.address, there.address):
            done.add(store.scanner(address).refresh(address))
        return done


def _told(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None}


def _can_be_known(address: str) -> bool:
    """A project's own file is known by its folder."""
    return paths.name_of(address) != paths.PROJECT_FILE


def _is_one_file(address: str) -> bool:
    """A sequence is many: it comes and goes frame by frame, and has no inode."""
    return "@" not in paths.name_of(address) and _can_be_known(address)


def _is_there(path: Path) -> bool:
    """Whether a file, or a frame of the sequence of this name, is there."""
    return any(os.path.lexists(path.parent / name) for name in deletions.own_names(path))


def _is_bare(entry: Entry) -> bool:
    return entry.stat is not None and entry.facts is None and not entry.broken and not entry.jobs


def _same_file(stat: Stat) -> tuple[int, int, int]:
    """The same file under another name: a rename keeps these, and only these, for certain."""
    return (stat.inode, stat.size, stat.mtime_ns)


def _looks(stat: Stat) -> tuple[int, int]:
    """What a copy has in common with its original."""
    return (stat.size, stat.mtime_ns // TICK_NS)


def _told_apart(address: str, others: Iterable[str]) -> str:
    """The name, with its folder where another has the same."""
    name = paths.name_of(address)
    alike = sum(paths.name_of(other) == name for other in others)
    return name if alike < 2 else f"{name} in {paths.folder_of(address)}"


def _share_of(address: str) -> str:
    return address.partition(paths.SEPARATOR)[0]


def _since(entry: Entry) -> int:
    """The server's own time of its last change: a copy's is later than its original's."""
    return entry.stat.ctime_ns if entry.stat else 0
