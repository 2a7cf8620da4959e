"""Renames that are certain: the very file, by its inode, has another name; or several changed places."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.disk import carry, deletions, paths
from server.disk.carry import CROFT
from server.disk.errors import CroftError
from server.disk.records import Entry, Stat
from server.disk.scan import Found

from .looks import is_one_file, is_there, same_file, share_of

if TYPE_CHECKING:
    from server.disk.store import Store

log = logging.getLogger(__name__)

File = tuple[int, int, int]

AGAIN_S = (0.2, 0.8, 5.0)
TOGETHER_S = 5.0  # renames of one act, of which two looks may each see a part
LONGEST_S = 300.0  # that looks at many may take


@dataclass(frozen=True, slots=True)
class _Held:
    """A file that a name had, and by what the record is known that lay beside it then."""

    file: File
    uuid: str
    etag: str
    at: float
    replaced: bool  # by another file; else it may have been deleted, and its inode given to another

    def is_record_of(self, entry: Entry | None) -> bool:
        """Whether that record is this entry's now."""
        if entry is None or not entry.etag:
            return False
        if self.uuid:
            return entry.facts is not None and entry.facts.uuid == self.uuid
        return entry.etag == self.etag


class Places:
    """Which name had which file a moment ago. Used by the watcher's thread.

    A record belongs to the last file that its name had for its own: not to one that came from another name.
    `give_back` carries a record from a name whose file went to one that is free; `is_unclaimed` says whether
    nobody has done anything with a file yet.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        give_back: Callable[[str, str], Found],
        is_unclaimed: Callable[[Entry], bool],
    ) -> None:
        self._store = store
        self._clock = clock
        self._give_back = give_back
        self._is_unclaimed = is_unclaimed
        self._had: dict[str, list[_Held]] = {}  # names that lost their file a moment ago: those, in turn
        self._got: dict[str, float] = {}  # names that got another a moment ago
        self._left: dict[str, float] = {}  # names that a rename left, and when
        self._went: set[str] = set()  # names that a rename left: the index may still show the file there
        self._passed: set[str] = set()  # names among which some were only passed
        self._looks_at: deque[float] = deque(maxlen=4)  # when renames were looked for last
        self._tries = 0  # that came to nothing, in a row
        self.again_at: float | None = None  # when it is tried once more

    def before_looks(self, overheard: Found, gone: Iterable[tuple[str, str]]) -> None:
        """What other threads' looks saw meanwhile; and names (folder, name) that renames left."""
        self._note(overheard)
        for folder, name in gone:
            address = paths.join(folder, name)
            self._left[address] = self._clock()
            entry = self._store.index.get(address)
            if entry is None or entry.stat is None or not is_one_file(address):
                continue
            now = self._store.scanner(address).stat(address)
            # Race: the index may know already of another that came after.
            if now is None or same_file(now) != same_file(entry.stat):
                self._lost(entry, entry.stat, now is not None)
                self._went.add(address)

    def renamed(self, found: Found) -> Found:
        """Right after looks: files that are the very ones (same inode) that were just elsewhere get their
        sidecars at once, before anybody takes them for new. So do files that changed places."""
        index = self._store.index
        now = self._clock()
        # A look at many may take longer than that: what the last few saw counts in any case.
        self._looks_at.append(now)
        if self.again_at is None:
            self._forget_before(max(now - LONGEST_S, min(now - TOGETHER_S, self._looks_at[0])))
        self.again_at = None
        self._note(found)
        done = Found()
        rows = self._possible(self._moved())
        carried: set[str] = set()
        for old, new in list(rows.items()):
            if new in rows or self._file_at(old) is not None:
                continue
            del rows[old]
            done.add(self._store.scanner(old).refresh(old))
            left = index.get(old)
            if left is not None and left.stat is None:
                done.add(self._give_back(old, new))
                carried.add(new)
        if rows:
            done.add(self._change_places(rows))
            carried.update(rows.values())
        done.add(self._put_away_passed())
        if self.again_at is None:
            self._tries = 0
        self._note(done, carried)  # Race: the next rename came while these records were carried.
        return done

    def forget(self, *addresses: str) -> None:
        """These names have the records of their files."""
        for address in addresses:
            self._had.pop(address, None)
            self._went.discard(address)

    # -- what was seen ----------------------------------------------------------------------------

    def _note(self, found: Found, carried: Container[str] = ()) -> None:
        """Keep for a moment which names lost their file and which got one: two looks may each have seen a
        part of what belongs together. `carried`: names to which a record has just been brought."""
        for entries, replaced in ((found.changed, True), (found.lost, False)):
            for entry in entries:
                if entry.stat is not None and is_one_file(entry.address):
                    self._lost(entry, entry.stat, replaced, entry.address in carried)
        came = (*found.new, *(entry.address for entry in found.changed))
        self._got.update(dict.fromkeys(filter(is_one_file, came), self._clock()))

    def _lost(self, entry: Entry, stat: Stat, replaced: bool, carried: bool = False) -> None:
        """`carried`: the record that lay there then isn't the one that does now."""
        had = self._had.setdefault(entry.address, [])
        if not had or had[-1].file != same_file(stat):
            uuid = entry.facts.uuid if entry.facts is not None and not carried else ""
            etag = "" if carried else entry.etag
            had.append(_Held(same_file(stat), uuid, etag, self._clock(), replaced))

    def _forget_before(self, since: float) -> None:
        self._had = {a: had for a, had in self._had.items() if had[-1].at >= since}
        self._got = {a: at for a, at in self._got.items() if at >= since}
        self._left = {a: at for a, at in self._left.items() if at >= since}
        self._went &= self._had.keys()

    # -- what that means --------------------------------------------------------------------------

    def _moved(self) -> dict[str, str]:
        """Files whose records are still at the names that they had (from, to)."""
        first: dict[File, tuple[float, str]] = {}  # where each came from: the first name that it had
        for address, had in self._had.items():
            for held in had:
                if held.file not in first or held.at < first[held.file][0]:
                    first[held.file] = (held.at, address)
        now: dict[File, list[str]] = {}
        for address in dict.fromkeys((*self._got, *self._had)):
            entry = self._store.index.get(address)
            if entry is not None and entry.stat is not None and same_file(entry.stat) in first:
                now.setdefault(same_file(entry.stat), []).append(address)
        moved: dict[str, str] = {}
        for old, had in list(self._had.items()):
            own = [held for held in had if first[held.file][1] == old]
            if not own or not any(name != old for name in now.get(own[-1].file, ())):
                continue
            if not own[-1].replaced and old not in self._left:
                continue  # deleted, as far as anybody has told
            here = self._file_at(old)
            if here is not None and (here not in first or first[here][1] == old):
                continue  # who puts a file aside and saves another in its place goes on with that
            # A name that it only passed is still in the index: what lies there now counts.
            new = next((name for name in now[own[-1].file] if self._file_at(name) == own[-1].file), "")
            if not new or share_of(new) != share_of(old):
                continue
            if self._has_followed(own[-1], old, new):
                self.forget(old)
            else:
                moved[old] = new
        return moved

    def _has_followed(self, held: _Held, old: str, new: str) -> bool:
        """Whether nothing is left to follow: somebody moved the record too, or there was none."""
        index = self._store.index
        left = index.get(old)
        if left is None or held.is_record_of(index.get(new)):
            return True
        return bool(held.uuid) and not held.is_record_of(left)

    def _file_at(self, address: str) -> File | None:
        """The file that a name has now."""
        if address in self._went:
            stat = self._store.scanner(address).stat(address)
        else:
            entry = self._store.index.get(address)
            stat = entry.stat if entry is not None else None
        return same_file(stat) if stat is not None else None

    def _possible(self, moved: dict[str, str]) -> dict[str, str]:
        """Of these moves the ones whose records can follow: where to is free, or becomes it."""
        left = dict(moved)
        while wrong := [old for old, new in left.items() if new not in left and not self._is_free(new)]:
            for old in wrong:
                del left[old]
        return left

    def _is_free(self, address: str) -> bool:
        entry = self._store.index.get(address)
        if entry is None or entry.stat is None or entry.broken or entry.jobs:
            return False
        return entry.facts is None or self._is_unclaimed(entry)

    # -- doing it ---------------------------------------------------------------------------------

    def _change_places(self, moved: dict[str, str]) -> Found:
        """Records follow files of which some went to where another was."""
        store = self._store
        done = Found()
        everywhere = sorted({*moved, *moved.values()})
        inside = {address: paths.parse(address)[1] for address in everywhere}
        try:
            share = store.check_writable(everywhere[0])
            with store.locks(share.name).hold_all(map(paths.lock_key, everywhere)):
                seen = Found()
                for address in everywhere:  # Race: it went on meanwhile.
                    seen.add(store.scanner(address).refresh(address))
                done.add(seen)
                self._note(seen)
                if moved.items() <= self._moved().items():
                    carry.rotate(share, {inside[old]: inside[new] for old, new in moved.items()}, store.disk)
                    self.forget(*everywhere)
                    folders = {paths.folder_of(address) for address in everywhere}
                    self._passed.update(name for name in self._got if paths.folder_of(name) in folders)
                    log.info("these changed places, and so did their records: %s", moved)
                else:
                    self._try_again()
        except (CroftError, OSError) as error:
            log.warning("the records of %s can't follow them: %s", moved, error)
            self._try_again()
        for address in everywhere:
            done.add(store.scanner(address).refresh(address))
        return done

    def _try_again(self) -> None:
        """A lock is busy, a disk full, or the next rename was faster; its own events may bring it sooner."""
        if self.again_at is None and self._tries < len(AGAIN_S):
            self.again_at = self._clock() + AGAIN_S[self._tries]
            self._tries += 1

    def _put_away_passed(self) -> Found:
        """Names that a file only passed through, and for which a record was made in that moment."""
        done = Found()
        for address in list(self._passed):
            done.add(self._store.scanner(address).refresh(address))
            entry = self._store.index.get(address)
            if entry is None or entry.stat is not None or entry.jobs or not self._is_unclaimed(entry):
                self._passed.discard(address)
                continue
            try:
                share = self._store.check_writable(address)
                inside = paths.parse(address)[1]
                with self._store.locks(share.name).hold(paths.lock_key(inside)):
                    if is_there(share.path(inside)):
                        self._try_again()  # a pool's mount shows for some time what went from a disk
                        continue
                    deletions.put_away(share, inside, CROFT, self._store.disk)
            except (CroftError, OSError) as error:
                log.warning("the record of %s, which is gone, can't be put away: %s", address, error)
                self._try_again()
                continue
            self._passed.discard(address)
            done.add(self._store.scanner(address).refresh(address))
        return done
