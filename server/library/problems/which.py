"""The answers to 'which file is it?': a file went, and another may be it under a new name or place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.disk import faults, paths
from server.disk.errors import BadInput, Conflict
from server.disk.looks import Knowing
from server.disk.speech import say
from server.disk.store import Store

from ..people import User
from .mending import Mended, Mending


class Which:
    """Adds its mends to `mending`."""

    def __init__(self, store: Store, mending: Mending) -> None:
        self._store = store
        mending.add("same", self._same)
        mending.add("undo-same", self._undo_same)
        mending.add("not-same", self._not_same)
        mending.add("undo-not-same", self._undo_not_same)

    def _same(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        other = self._other(more.get("other"))
        self._identity().decide(address, other, user.ident)
        text = say(
            "{other} is what {address} was: all that was known is back.",
            other=paths.name_of(other),
            address=paths.name_of(address),
        )
        return Mended(text, faults.mending(say("Undo"), "undo-same", address, other=other))

    def _undo_same(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        self._identity().undecide(address, self._other(more.get("other")), user.ident)
        return Mended(say("{address} is missing again.", address=paths.name_of(address)))

    def _not_same(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        others = self._others(more)
        self._identity().decide_not(address, others, user.ident)
        undo = faults.mending(say("Undo"), "undo-not-same", address, others=others)
        return Mended(
            say("{address} stays missing. It isn’t asked again.", address=paths.name_of(address)), undo
        )

    def _undo_not_same(self, address: str, more: Mapping[str, Any], user: User) -> Mended:
        self._identity().decide_not(address, self._others(more), user.ident, undo=True)
        return Mended(say("Which file {address} is now is open again.", address=paths.name_of(address)))

    def _others(self, more: Mapping[str, Any]) -> list[str]:
        others = more.get("others")
        if not isinstance(others, list) or not 0 < len(others) <= 1000:
            raise BadInput("Say which files it isn’t: others.", field="others")
        return [self._other(other) for other in others]

    def _other(self, other: object) -> str:
        if not isinstance(other, str):
            raise BadInput("Say which file it is: other.", field="other")
        paths.parse(other)
        return other

    def _identity(self) -> Knowing:
        watcher = self._store.looks.watcher
        if watcher is None:
            raise Conflict("This server doesn’t watch its shares.")
        return watcher.identity
