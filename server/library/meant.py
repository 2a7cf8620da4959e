"""What was meant by a change of a protected file: its published bytes put back, or carried on as a new file.

Both keep what is there now. A putting back is undone by the save that it kept, and by that one alone: else it
would be a way around protection.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from server.disk import paths
from server.disk.errors import BadInput, Conflict, CroftError, NotFound
from server.disk.store import Store

from .assets import Assets
from .creation import Creation
from .people import User, require
from .protection import Protection
from .saves import Saves

log = logging.getLogger(__name__)

TRIES = 1000  # numbers tried for a free name


@dataclass(frozen=True, slots=True)
class PutBack:
    """Which version is there again, and the save that the content before became ('': there was none)."""

    version: str
    kept: str


@dataclass(frozen=True, slots=True)
class CarriedOn:
    """The new file; and what was put back, where the protected one had been changed."""

    address: str
    put_back: PutBack | None


class Meant:
    """Thread-safe."""

    def __init__(
        self, store: Store, assets: Assets, protection: Protection, creation: Creation, saves: Saves
    ) -> None:
        self._store = store
        self._assets = assets
        self._protection = protection
        self._creation = creation
        self._saves = saves

    def put_back(self, address: str, user: User) -> PutBack:
        """The published bytes in place of what a protected file has become, which is kept."""
        require(user, "student")
        mark = self._protection.mark(address)
        name = paths.name_of(address)
        if not mark.version:
            raise Conflict("No published version holds what {name} was.", address=address, name=name)
        self._protection.look(address)
        if not self._protection.is_changed(address):
            raise Conflict("{name} is as it was published.", address=address, name=name)
        done = self._saves.restore(address, mark.version, user, guarded=False)
        self._protection.note_kept(address, done.kept)
        self._protection.look(address)
        return PutBack(mark.version, done.kept)

    def undo_put_back(self, address: str, kept: str, new: str, user: User) -> None:
        """What was changed is there again; `new`: the file that it was carried on as goes to `old/`."""
        require(user, "student")
        mark = self._protection.mark(address)
        if not kept or mark.kept != kept:
            raise BadInput("Nothing was put back that can be undone.", field="save")
        if new:
            self._check_derived(new, address)
        self._saves.restore(address, kept, user, guarded=False)
        self._protection.note_kept(address, "")
        self._protection.look(address)
        if new:
            self._assets.delete(new, user)

    def carry_on(self, address: str, user: User) -> CarriedOn:
        """A copy beside it that is this user's, and knows what it was made of. What a protected file was
        changed to goes on there, and the published bytes come back under its name."""
        require(user, "student")
        entry = self._assets.get(address)
        self._protection.look(address)
        changed = self._protection.is_changed(address)
        if entry.stat is None:
            raise NotFound("The file {address} is gone.", address=paths.name_of(address))
        new = self._copy(address, user)
        if entry.facts is not None and entry.facts.uuid:
            self._store.edit(new, {"derived_from": entry.facts.uuid}, who=user.ident)
        put_back = None
        if changed:
            try:
                put_back = self.put_back(address, user)
            except CroftError as error:  # the copy is there, and the question stays open
                log.info("%s is carried on as %s, and not put back: %s", address, new, error.message)
        return CarriedOn(new, put_back)

    def _copy(self, address: str, user: User) -> str:
        """Under the name of the file with the first number that is free."""
        title = str(self._assets.view(self._assets.get(address))["name"])
        name = paths.name_of(address)
        stem = paths.stem_of(name)
        ending = name[len(stem) :]
        folder = paths.folder_of(address)
        for number in range(2, TRIES):
            free = f"{stem}_{number}{ending}"
            if self._store.index.get(paths.join(folder, free)) is not None:
                continue
            try:
                return self._creation.clone(address, user, f"{title} {number}"[:200], free)
            except Conflict:
                continue
        raise Conflict("There are too many names like {name}.", name=name)

    def _check_derived(self, new: str, address: str) -> None:
        made, of = self._assets.get(new).facts, self._assets.get(address).facts
        if made is None or of is None or not of.uuid or made.derived_from != of.uuid:
            name, other = paths.name_of(new), paths.name_of(address)
            raise BadInput("{name} wasn't made of {other}.", field="discard", name=name, other=other)
