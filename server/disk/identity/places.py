"""Renames that are certain: the very file, by its inode, has another name; or several changed places."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from server.disk import carry, deletions, paths
from server.disk.carry import CROFT
from server.disk.errors import CroftError
from server.disk.paths import Share
from server.disk.records import Entry, Stat
from server.disk.scan import Found

from .looks import is_one_file, is_there, same_file, share_of

if TYPE_CHECKING:
    from server.disk.store import Store

log = logging.getLogger(__name__)

TOGETHER_S = 5.0  # renames of one act, of which two looks may each see a part


class Places:
    """Which name had which file a moment ago. Used by the watcher's thread.

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
        self._before: dict[str, tuple[Stat, float]] = {}  # names that lost their file a moment ago, and which
        self._after: dict[str, float] = {}  # names that got another a moment ago
        self._looks_at: deque[float] = deque(maxlen=4)  # when renames were looked for last

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
            were.setdefault(same_file(stat), []).append(address)
            entry = index.get(address)
            if entry is not None and entry.stat is not None and same_file(entry.stat) != same_file(stat):
                changed.add(address)
        moved: dict[str, str] = {}
        for address in self._after:
            entry = index.get(address)
            matches = were.get(same_file(entry.stat), []) if entry is not None and entry.stat else []
            # Of several names that it had in this moment the first is where it came from.
            origin = matches[0] if matches else address
            if origin != address and share_of(origin) == share_of(address) and origin not in moved:
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
            if entry is not None and entry.stat is not None and is_one_file(entry.address):
                self._before.setdefault(entry.address, (entry.stat, now))
        came = (*found.new, *(entry.address for entry in found.changed))
        self._after.update(dict.fromkeys(filter(is_one_file, came), now))

    def forget(self, *addresses: str) -> None:
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
            self.forget(*everywhere)
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
                if not is_there(share.path(inside)):
                    deletions.put_away(share, inside, CROFT, self._store.disk)
            self.forget(address)
            done.add(self._store.scanner(address).refresh(address))
