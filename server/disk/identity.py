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
import shutil
import threading
import time
import uuid as uuids
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.disk import files, moves, paths
from server.disk.errors import CroftError
from server.disk.records import Entry, Problem, Stat
from server.disk.scan import Found

if TYPE_CHECKING:
    from server.disk.store import Store

log = logging.getLogger(__name__)

CROFT = "croft"  # who, in a history, where no person did it
DECIDE_S = 0.1  # after the last change that matters
CONTEST_S = 10.0  # a move over the network is copy, then delete
RECENT_S = 60.0  # a move that isn't a rename: the copy appears this close to the loss
CONTESTS_AT_ONCE = 20
MANY = 20_000  # candidates remembered; beyond, all entries are looked through
_DERIVED = frozenset(("file.json", "thumbs"))


@dataclass(frozen=True, slots=True)
class _Lost:
    """What is known of a file that went."""

    stat: Stat | None  # its last, where this process saw it
    at: float


class Identity:
    """Used by the watcher's thread; `problems` by any."""

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
        self._contests: dict[str, float] = {}  # uuid -> when it is decided
        self._first: dict[str, str] = {}  # uuid -> who held it before it was contested
        self._unclear: dict[str, tuple[str, ...]] = {}  # lost address -> files that may be it

    # -- told by the watcher ----------------------------------------------------------------------

    def saw(self, found: Found) -> None:
        """A look changed this."""
        now = self._clock()
        index = self._store.index
        for entry in found.lost:
            if _can_be_known(entry.address):
                self._lost[entry.address] = _Lost(entry.stat, now)
        for address in found.new:
            if _can_be_known(address):
                self._new[address] = now
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
        """Right after a look: files that are the very ones (same inode) that just went by a rename get
        their sidecars at once, before anybody takes them for new."""
        index = self._store.index
        done = Found()
        fresh = [entry for address in found.new if (entry := index.get(address)) and _is_bare(entry)]
        if not fresh:
            return done
        before: dict[tuple[int, int, int], list[str]] = {}
        for folder, name in gone:
            entry = index.get(paths.join(folder, name))
            if entry is not None and entry.stat is not None and _can_be_known(entry.address):
                before.setdefault(_same_file(entry.stat), []).append(entry.address)
        for entry in fresh:
            matches = before.get(_same_file(entry.stat), []) if entry.stat else []
            if len(matches) == 1 and matches[0] != entry.address and _can_be_known(entry.address):
                done.add(self._store.scanner(matches[0]).refresh(matches[0]))
                left = index.get(matches[0])
                if left is not None and left.stat is None:
                    done.add(self._give_back(left.address, entry.address))
        return done

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
        return [
            Problem(
                f"identity:{address}",
                "identity",
                address,
                f"{paths.name_of(address)} is gone, its record stayed. It may have become "
                f"{' or '.join(map(paths.name_of, candidates))}.",
                f"Rename its sidecar {paths.name_of(address)}.json to match the right one, or delete it.",
            )
            for address, candidates in sorted(unclear.items())
        ]

    # -- the lost and the found -------------------------------------------------------------------

    def _decide(self, now: float) -> Found:
        """Gives back to each file that appeared what the one lost file that fits it has left behind."""
        index = self._store.index
        missing = {entry.address: entry for entry in index.missing() if _can_be_known(entry.address)}
        self._lost = {address: lost for address, lost in self._lost.items() if address in missing}
        everything, self._all = self._all, False
        if not missing:
            self._forget_old(now, set())
            self._set_unclear({})
            return Found()
        candidates = list(index.entries()) if everything else [index.get(address) for address in self._new]
        fresh = [e for e in candidates if e is not None and e.stat is not None and _can_be_known(e.address)]
        waiting = {entry.address for entry in fresh if entry.arriving}
        if everything:
            self._unseen.update(waiting)
            self._new.update(dict.fromkeys(waiting, now))
        fresh = [entry for entry in fresh if not entry.arriving and not entry.broken and not entry.jobs]
        same_content: dict[tuple[str, int, int], list[Entry]] = {}
        for entry in fresh:
            if entry.stat is not None:
                same_content.setdefault(_looks(entry.address, entry.stat), []).append(entry)
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
        self._forget_old(now, waiting)
        self._set_unclear(unclear)
        return found

    def _forget_old(self, now: float, waiting: set[str]) -> None:
        """A file that has been there for a while is nobody's copy that goes on."""
        self._new = {a: at for a, at in self._new.items() if a in waiting or now - at < RECENT_S}
        self._unseen &= self._new.keys()

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
        self, left: Entry, same_content: dict[tuple[str, int, int], list[Entry]], everything: bool, now: float
    ) -> list[str]:
        """The files that may be this lost one."""
        address = left.address
        lost = self._lost.get(address)
        record = self._record(address)
        if lost is not None and lost.stat is not None:
            looks = _looks(address, lost.stat)
        elif isinstance(record.get("size"), int) and isinstance(record.get("mtime_ns"), int):
            looks = (_share_of(address), record["size"], record["mtime_ns"])
        else:
            return []
        recent = lost is not None and now - lost.at < RECENT_S
        name = paths.name_of(address)
        fitting = [
            e
            for e in same_content.get(looks, ())
            if (recent or everything or e.address in self._unseen or paths.name_of(e.address) == name)
            and self._may_take(left, e)
            and self._same_content(record, e.address)
        ]
        found = [e.address for e in fitting]
        if found and self._is_common(looks, found):
            return []  # copies of one template: content proves nothing
        if lost is not None and lost.stat is not None and len(found) > 1:
            # An inode alone proves nothing either, a disk gives it again; among several it points to one.
            inode = lost.stat.inode
            found = [e.address for e in fitting if e.stat and e.stat.inode == inode] or found
        return found

    def _is_common(self, looks: tuple[str, int, int], fitting: list[str]) -> bool:
        """Whether files that are other assets look just the same."""
        return any(
            entry.stat is not None
            and entry.stat.size == looks[1]
            and entry.stat.mtime_ns == looks[2]
            and entry.address not in fitting
            for entry in self._store.index.entries()
        )

    def _same_content(self, record: dict[str, Any], address: str) -> bool:
        ours, theirs = record.get("hash"), self._record(address).get("hash")
        return ours is None or theirs is None or ours == theirs

    def _record(self, address: str) -> dict[str, Any]:
        try:
            return self._store.read_json(paths.join(paths.companion_of(address), "file.json"))
        except (CroftError, OSError):
            return {}

    def _may_take(self, left: Entry, entry: Entry) -> bool:
        """Whether a file has no use yet for what was left behind: sidecar and companion, or it alone."""
        if entry.jobs or entry.broken:
            return False
        if not left.etag and not left.broken and entry.etag:
            # The sidecar went along, the hidden companion folder stayed.
            return _is_derived(paths.companion_of(self._store.path(entry.address)))
        return self._is_unclaimed(entry)

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

    def _give_back(self, lost: str, found: str) -> Found:
        """Moves sidecar and companion of `lost` to `found`; nothing if one of them changed meanwhile."""
        store = self._store
        done = Found()
        try:
            share = store.check_writable(found)
            source = share.path(paths.parse(lost)[1])
            target = share.path(paths.parse(found)[1])
            with store.locks(share.name).hold_all([paths.lock_key(lost), paths.lock_key(found)]):
                # Race: somebody put it back, or another server was first.
                if os.path.lexists(source) or not os.path.lexists(target):
                    return done
                done.add(store.scanner(lost).refresh(lost))
                done.add(store.scanner(found).refresh(found))
                left, entry = store.index.get(lost), store.index.get(found)
                if left is None or entry is None or not self._may_take(left, entry):
                    return done
                pairs = (
                    (paths.sidecar_of(source), paths.sidecar_of(target)),
                    (paths.companion_of(source), paths.companion_of(target)),
                )
                if not any(os.path.lexists(old) for old, _ in pairs):
                    return done
                for old, new in pairs:
                    if os.path.lexists(old):
                        _make_room(new)
                        files.make_folders(new.parent, share.root, disk=store.disk)
                        moves.move(old, new, root=share.root, branches=share.branches, disk=store.disk)
            log.info("%s was %s: it has its record back", found, lost)
        except (CroftError, OSError) as error:
            log.warning("%s can't have back what %s left: %s", found, lost, error)
        for address in (lost, found):
            done.add(store.scanner(address).refresh(address))
        self._lost.pop(lost, None)
        self._new.pop(found, None)
        return done

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
        if len(there) == 1 and len(gone) == 1 and not there[0].jobs:
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
            if store.share(gone.address).name != share.name:
                return done
            old, new = (share.path(paths.parse(a)[1]) for a in (gone.address, there.address))
            source, target = paths.companion_of(old), paths.companion_of(new)
            keys = [paths.lock_key(gone.address), paths.lock_key(there.address)]
            with store.locks(share.name).hold_all(keys):
                if os.path.lexists(old) or not os.path.isdir(source) or not _is_derived(target):
                    return done
                _make_room(target)
                files.make_folders(target.parent, share.root, disk=store.disk)
                moves.move(source, target, root=share.root, branches=share.branches, disk=store.disk)
        except (CroftError, OSError) as error:
            log.warning("The companion of %s can't follow it: %s", there.address, error)
        for address in (gone.address, there.address):
            done.add(store.scanner(address).refresh(address))
        return done


def _told(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None}


def _can_be_known(address: str) -> bool:
    """Sequences are many files, and a project's own file is known by its folder."""
    name = paths.name_of(address)
    return "@" not in name and name != paths.PROJECT_FILE


def _is_bare(entry: Entry) -> bool:
    return entry.stat is not None and entry.facts is None and not entry.broken and not entry.jobs


def _same_file(stat: Stat) -> tuple[int, int, int]:
    """The same file under another name: a rename keeps these, and only these, for certain."""
    return (stat.inode, stat.size, stat.mtime_ns)


def _looks(address: str, stat: Stat) -> tuple[str, int, int]:
    """What a copy has in common with its original: share, size and time."""
    return (_share_of(address), stat.size, stat.mtime_ns)


def _share_of(address: str) -> str:
    return address.partition(paths.SEPARATOR)[0]


def _since(entry: Entry) -> int:
    """The server's own time of its last change: a copy's is later than its original's."""
    return entry.stat.ctime_ns if entry.stat else 0


def _is_derived(companion: Path) -> bool:
    """Whether a companion folder holds nothing that couldn't be made again (or isn't there)."""
    try:
        names = os.listdir(companion)
    except OSError:
        return True
    return all(name in _DERIVED or name.startswith((".", "history.")) for name in names)


def _make_room(target: Path) -> None:
    """Clears what Croft made of itself for a file that it took for a new one."""
    if target.is_dir() and not target.is_symlink():
        if _is_derived(target):
            shutil.rmtree(target)
    elif target.exists():
        target.unlink()
