"""Changes of a file's record that go by what it says at that moment: a supporter more, some hours more."""

from __future__ import annotations

from typing import Any

from server.disk import paths
from server.disk.errors import BadInput, Conflict
from server.disk.sidecar import facts
from server.disk.speech import say
from server.disk.store import Store

from ..people import People, User, require
from . import Assets
from .fields import HOURS_MOST, LIST_LIMIT


def support(
    store: Store, people: People, assets: Assets, address: str, who: str, on: bool, user: User
) -> bool:
    """Add a person to a file's supporters, or take them out; whether that changed anything."""
    _check(assets, address, user)
    if on and not people.known(who):
        raise BadInput(say("There is nobody named {name}.", name=who[:100]), field="user")
    changed = False

    def make(record: dict[str, Any]) -> dict[str, Any]:
        nonlocal changed
        there = list(facts(record).support)
        changed = (who in there) != on
        if not changed:
            return record
        if len(there) >= LIST_LIMIT and on:
            raise Conflict(say("No more than {n} people can support a file.", n=LIST_LIMIT), address=address)
        return {**record, "support": [*there, who] if on else [one for one in there if one != who]}

    store.edit(address, make, who=user.ident)
    return changed


def spend(store: Store, assets: Assets, address: str, hours: float, user: User) -> tuple[float, float]:
    """Add hours to those that people spent on a file; how many it were before and are now."""
    _check(assets, address, user)
    before = after = 0.0

    def make(record: dict[str, Any]) -> dict[str, Any]:
        nonlocal before, after
        before = facts(record).time_spent
        after = round(min(HOURS_MOST, max(0.0, before + hours)), 2)
        return {**record, "time_spent": int(after) if after == int(after) else after}

    store.edit(address, make, who=user.ident)
    return before, after


def _check(assets: Assets, address: str, user: User) -> None:
    require(user, "student")
    if assets.get(address).facts is None:
        name = paths.name_of(address)
        raise Conflict(say("{file} isn’t an asset. Make it one first.", file=name), address=address)
