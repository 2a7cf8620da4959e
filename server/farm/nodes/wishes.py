"""What people decided for one node: the file `nodes/<ident>.json` of the configuration.

`read` takes what makes sense of a file that somebody may have written by hand; `changed` refuses what
makes none, with a sentence. Keys that are not known here stay in the file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from server.disk.errors import BadInput, CroftError
from server.disk.speech import say
from server.farm.nodes import schedule
from server.farm.nodes.schedule import Schedule

MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}\Z")
WORD = re.compile(r"[^\s,\x00-\x1f]{1,60}\Z")
MOST_WORDS = 50
MOST_MINUTES = 60 * 24 * 7


@dataclass(frozen=True, slots=True)
class Power:
    """Whether a node may be shut down when there is nothing to do, and woken when there is."""

    shutdown: bool = False
    wake: bool = False
    mac: str = ""
    idle_minutes: float = 30.0
    least_up_minutes: float = 20.0
    least_down_minutes: float = 10.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """One node's file."""

    paused: bool = False
    paused_by: str = ""
    draining: bool = False
    groups: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()  # labels that people gave it, besides those it names itself
    slots: int = 0  # at most so many tasks at once; 0: as many as it has
    schedule: Schedule = field(default_factory=Schedule)
    power: Power = field(default_factory=Power)
    idle_only: bool = False  # only while nobody sits at it
    give_back: bool = False  # give running frames back when somebody sits down, or when its hours end
    approved: str = ""  # who let it in

    def view(self) -> dict[str, Any]:
        """As it is written, and as the API shows it."""
        power = {item.name: getattr(self.power, item.name) for item in fields(Power)}
        return {
            "paused": self.paused,
            "paused_by": self.paused_by,
            "draining": self.draining,
            "groups": sorted(self.groups),
            "tags": sorted(self.tags),
            "slots_most": self.slots,
            "schedule": self.schedule.view(),
            "power": power,
            "idle_only": self.idle_only,
            "give_back": self.give_back,
            "approved": self.approved,
        }


NONE = Wishes()
_FLAGS = ("paused", "draining", "idle_only", "give_back")


def read(data: Mapping[str, Any]) -> tuple[Wishes, str]:
    """What a file says, and what of it makes no sense ('' if all does): that is passed over."""
    found, wrong = NONE, ""
    for key, value in data.items():
        try:
            found = _take(found, key, value)
        except CroftError as error:
            wrong = wrong or error.message
    return found, wrong


def changed(wishes: Wishes, changes: Mapping[str, Any]) -> Wishes:
    """With these changes; BadInput for the first that makes no sense."""
    for key, value in changes.items():
        wishes = _take(wishes, key, value)
    return wishes


def _take(wishes: Wishes, key: str, value: Any) -> Wishes:
    if key in _FLAGS:
        if not isinstance(value, bool):
            raise BadInput("{field} is true or false.", field=key)
        return _with(wishes, key, value)
    if key in ("paused_by", "approved"):
        return _with(wishes, key, str(value)[:100])
    if key in ("groups", "tags"):
        return _with(wishes, key, _words(key, value))
    if key in ("slots", "slots_most"):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 256:
            raise BadInput("slots is a whole number from 0 to 256; 0: as many as it has.", field=key)
        return replace(wishes, slots=value)
    if key == "schedule":
        return replace(wishes, schedule=schedule.read(value))
    if key == "power":
        return replace(wishes, power=_power(wishes.power, value))
    return wishes


def _with(wishes: Wishes, key: str, value: Any) -> Wishes:
    changes: dict[str, Any] = {key: value}
    return replace(wishes, **changes)


def _words(key: str, value: Any) -> frozenset[str]:
    if not isinstance(value, list) or len(value) > MOST_WORDS:
        raise BadInput("{field} is a list of at most {most_words} words.", field=key, most_words=MOST_WORDS)
    for word in value:
        if not isinstance(word, str) or not WORD.match(word):
            raise BadInput(
                "{word} can't stand in {field}: use one word.", field=key, word=repr(str(word)[:80])
            )
    return frozenset(value)


def _power(power: Power, value: Any) -> Power:
    if not isinstance(value, Mapping):
        raise BadInput("power is an object: shutdown, wake, mac, idle_minutes …", field="power")
    changes: dict[str, Any] = {}
    for key, said in value.items():
        if key in ("shutdown", "wake"):
            if not isinstance(said, bool):
                raise BadInput("power: {key} is true or false.", field="power", key=key)
            changes[key] = said
        elif key == "mac":
            if said and not (isinstance(said, str) and MAC.match(said)):
                text = say("{said} is no network address like 0a:1b:2c:3d:4e:5f.", said=repr(str(said)[:40]))
                raise BadInput(text, field="power")
            changes[key] = str(said or "").lower().replace("-", ":")
        elif key in ("idle_minutes", "least_up_minutes", "least_down_minutes"):
            number = isinstance(said, (int, float)) and not isinstance(said, bool)
            if not number or not 0 <= said <= MOST_MINUTES:
                raise BadInput("power: {key} is a number of minutes.", field="power", key=key)
            changes[key] = float(said)
    return replace(power, **changes)
