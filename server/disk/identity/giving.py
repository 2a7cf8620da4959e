"""Carries records to where their files are now, and gives uuids: what `identity` has decided, done."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid as uuids
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from server.disk import carry, deletions, paths
from server.disk.carry import CROFT
from server.disk.errors import CroftError
from server.disk.paths import Share
from server.disk.records import Entry
from server.disk.scan import Found

from .looks import is_there

if TYPE_CHECKING:
    from server.disk.store import Store

log = logging.getLogger(__name__)

MayTake = Callable[[Entry, Entry], bool]  # (what was left, the file that may be it)


class Giving:
    """Each call looks again, under the locks of both files, whether what was decided still holds."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def give_back(self, lost: str, found: str, may_take: MayTake) -> tuple[Found, bool]:
        """Carries sidecar and companion of `lost` to `found`; nothing if one of them changed meanwhile.
        What changed, and whether it was done."""
        store = self._store
        done = Found()
        given = False
        try:
            there, here = store.check_writable(lost), store.check_writable(found)
            with self._held((there, lost), (here, found)):
                given = self._carry(there, lost, here, found, done, may_take)
            if given:
                log.info("%s was %s: it has its record back", found, lost)
        except (CroftError, OSError) as error:
            log.warning("%s can't have back what %s left: %s", found, lost, error)
        for address in (lost, found):
            done.add(store.scanner(address).refresh(address))
        return done, given

    def own_again(self, uuid: str, found: str) -> None:
        """A move that took so long that it was taken for a copy: it has its own uuid again."""
        entry = self._store.index.get(found)
        if not uuid or entry is None or entry.facts is None or entry.facts.derived_from != uuid:
            return
        if self._store.index.holders(uuid):
            return

        def change(data: dict[str, Any]) -> dict[str, Any]:
            if data.get("derived_from") != uuid:
                return data  # Race: somebody else changed it
            return {**{key: value for key, value in data.items() if key != "derived_from"}, "uuid": uuid}

        try:
            self._store.edit(found, change, who=CROFT)
        except (CroftError, OSError) as error:
            log.warning("%s can't have its uuid again: %s", found, error)

    def make_own(self, address: str, uuid: str) -> Found:
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

    def bring_companion(self, gone: Entry, there: Entry) -> Found:
        """The companion of one whose file and sidecar were moved. A sidecar that stayed is put away."""
        store = self._store
        done = Found()
        try:
            share = store.check_writable(there.address)
            home = store.check_writable(gone.address)
            old, new = (paths.parse(a)[1] for a in (gone.address, there.address))
            with self._held((home, old), (share, new)):
                if is_there(home.path(old)):
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

    def _carry(
        self, there: Share, lost: str, here: Share, found: str, done: Found, may_take: MayTake
    ) -> bool:
        """Under the locks of both. False when something changed meanwhile."""
        store = self._store
        old, new = paths.parse(lost)[1], paths.parse(found)[1]
        source = there.path(old)
        # Race: somebody put it back, or another server was first; or the mount doesn't know it yet.
        if is_there(source) or not is_there(here.path(new)):
            return False
        done.add(store.scanner(lost).refresh(lost))
        done.add(store.scanner(found).refresh(found))
        left, entry = store.index.get(lost), store.index.get(found)
        if left is None or entry is None or not may_take(left, entry):
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

    @contextlib.contextmanager
    def _held(self, *files: tuple[Share, str]) -> Iterator[None]:
        """The locks of files of one share or two, always in the same order."""
        keys = [(share.name, paths.lock_key(place)) for share, place in files]
        with contextlib.ExitStack() as held:
            for name in sorted({name for name, _ in keys}):
                held.enter_context(self._store.locks(name).hold_all(key for n, key in keys if n == name))
            yield
