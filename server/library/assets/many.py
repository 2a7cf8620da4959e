"""One change of many assets, and what takes it back.

Each is changed by itself, under its own lock: what can't be changed is told and holds up none of the others.
`was` guards against what somebody else changed meanwhile: where a field isn't what its person saw, that asset
stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from server.disk.errors import BadInput, CroftError, NotFound, Stale
from server.disk.sidecar import facts
from server.disk.speech import Said, say

from ..search import NOBODY
from .fields import validate, with_changes
from .guard import check_owner

if TYPE_CHECKING:
    from server.disk.store import Store

    from ..people import People, User
    from ..projects import Projects
    from . import Assets

EMPTY: Mapping[str, Any] = {"owner": "", "support": [], "tags": [], "due": "", "description": ""}


class _ChangedMeanwhile(Exception):
    """A field isn't what its person saw."""

    def __init__(self, field: str, present: Any) -> None:
        super().__init__(field)
        self.field, self.present = field, present


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to become of one asset. Fields of `was` must still be so."""

    address: str
    fields: Mapping[str, Any]
    was: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """Which assets were changed, which weren't and why, and the wishes that take it back."""

    changed: list[str] = field(default_factory=list)
    failed: list[tuple[str, CroftError]] = field(default_factory=list)
    undo: list[Wish] = field(default_factory=list)


class Many:
    """Thread-safe."""

    def __init__(self, store: Store, projects: Projects, people: People, assets: Assets) -> None:
        self._store, self._projects, self._people, self._assets = store, projects, people, assets

    def change(self, wishes: Sequence[Wish], user: User) -> Outcome:
        """Every wish that can be had. Where none can, the first one's error."""
        outcome = Outcome()
        for wish in wishes:
            try:
                before = self._change(wish, user)
            except CroftError as error:
                outcome.failed.append((wish.address, error))
                continue
            outcome.changed.append(wish.address)
            if before is not None:
                outcome.undo.append(Wish(wish.address, before[0], before[1]))
        if not outcome.changed and outcome.failed:
            raise outcome.failed[0][1]
        return outcome

    def _change(self, wish: Wish, user: User) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
        """Change one; what it was and what it is, of the fields that became others; None where none did."""
        entry = self._assets.get(wish.address)
        if entry.facts is None:
            raise NotFound("{address} isn't an asset. Make it one first.", address=wish.address)
        project = self._projects.of(wish.address)
        if project is None:
            raise BadInput("{address} lies in no project.", address=wish.address)
        words = self._projects.set_of(project)
        asked = {**wish.fields}
        if asked.get("owner") in NOBODY and not self._people.known(str(asked["owner"])):
            asked["owner"] = ""
        checked = validate(asked, words, user, self._people)
        check_owner(entry, checked, user)
        old: dict[str, Any] = {}

        def make(data: dict[str, Any]) -> dict[str, Any]:
            shown = facts(data)  # RFAM's priorities and hours are shown otherwise than they are written
            for name, seen in wish.was.items():
                present = _present(data, name, seen)
                if str(present or "") != str(seen or ""):
                    present = getattr(shown, name, present)
                if str(present or "") != str(seen or ""):
                    raise _ChangedMeanwhile(name, present)
            old.clear()
            for name, value in checked.items():
                present = _present(data, name, value)
                if present != value:
                    old[name] = present
            return with_changes(data, checked)

        try:
            self._store.edit(wish.address, make, who=user.ident)
        except _ChangedMeanwhile as other:
            record = self._assets.one(wish.address)
            said = self._told(wish.address, other.field, other.present, words)
            raise Stale(said, field=other.field, etag=record["etag"], record=record) from None
        return (dict(old), {name: checked[name] for name in old}) if old else None

    def _told(self, address: str, name: str, present: Any, words: Any) -> Said:
        """Who changed this field meanwhile, and to what."""
        who = next((one["who"] for one in self._assets.history(address) if one["field"] == name), "")
        if who and self._people.known(str(who)):
            who = self._people.user(str(who)).title
        shown = _titled(name, present, words, self._people) or say("nothing")
        return say(
            "{user} changed this to “{value}” meanwhile, so it stays so. If yours is right, choose it again.",
            user=who or say("Somebody"),
            value=shown,
        )


def _present(data: Mapping[str, Any], name: str, asked: Any) -> Any:
    """What a field is; of the pipeline the stages alone that are asked about."""
    present = data.get(name, EMPTY.get(name))
    if name != "pipeline" or not isinstance(asked, Mapping):
        return present
    stages = present if isinstance(present, Mapping) else {}
    return {stage: stages.get(stage, "") for stage in asked}


def _titled(name: str, value: Any, words: Any, people: People) -> str:
    """A value as people see it."""
    known: Callable[[Any], Any] | None = {"type": words.types.get, "state": words.states.get}.get(name)
    if known is not None and (one := known(value)) is not None:
        return str(one.title)
    if name == "priority":
        return str(words.priorities.get(value, value))
    if name == "owner" and value and people.known(str(value)):
        return people.user(str(value)).title
    return str(value or "")
