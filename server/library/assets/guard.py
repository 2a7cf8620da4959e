"""What a protected file lets nobody do through Croft, and who may unlock it. Pure.

`protect` in the sidecar is what counts. It binds everybody alike: whoever may lift it has to do that first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.disk import paths
from server.disk.errors import Forbidden
from server.disk.records import Entry
from server.disk.speech import say

from ..people import People, User


def is_protected(entry: Entry | None) -> bool:
    """Whether its record says so."""
    return entry is not None and entry.facts is not None and entry.facts.protect


def may_unlock(entry: Entry, user: User | None) -> bool:
    """Its owner and supervisors."""
    if user is None or not user.at_least("student"):
        return False
    return user.at_least("supervisor") or (entry.facts is not None and entry.facts.owner == user.ident)


def check_owner(entry: Entry, fields: Mapping[str, Any], user: User) -> None:
    """Who may unlock a protected file isn't for everybody to say. Forbidden."""
    if "owner" in fields and is_protected(entry) and not may_unlock(entry, user):
        raise Forbidden(
            "{name} is protected: its owner or a supervisor gives it to somebody else.",
            name=paths.name_of(entry.address),
            address=entry.address,
        )


def check(entry: Entry | None, user: User, people: People) -> None:
    """Nothing for a file that isn't protected. Else Forbidden, and what this person can do."""
    if entry is None or not is_protected(entry):
        return
    name, owner = paths.name_of(entry.address), entry.facts.owner if entry.facts is not None else ""
    if may_unlock(entry, user):
        said = say(
            "{name} is protected: nothing was changed. Unlock it and say why, or carry on as a new file.",
            name=name,
        )
    elif owner and people.known(owner):
        said = say(
            "{name} is protected: nothing was changed. Ask {owner} or a supervisor to unlock it, or carry on "
            "as a new file.",
            name=name,
            owner=people.user(owner).title,
        )
    else:
        said = say(
            "{name} is protected: nothing was changed. Ask a supervisor to unlock it, or carry on as a new "
            "file.",
            name=name,
        )
    raise Forbidden(said, address=entry.address)
