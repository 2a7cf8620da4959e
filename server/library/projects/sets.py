"""The words and starting points of a project: asset types, states, priorities, pictures' size, templates.

A set is one JSON object (`sets/<ident>.json`, a project's own `set.json`, or what `rfam` makes of an RFAM
folder). What it doesn't say it takes from the set that it is `like`. A word with
`"offered": false` is understood where a record uses it, but people aren't offered it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from server.disk.speech import say

from ..names import Named, Pattern, read_first

DEFAULT_SET = "default"
LEVELS = 5  # bars of a priority
OUTPUT = "//render/{file}/{file}.####"
STAGES = {"layout": say("Layout"), "animation": say("Animation"), "light": say("Light"), "comp": say("Comp")}
LIKE_MOST = 8  # sets that stand on each other
EDGE_MOST = 65536  # pixels, as Blender has it


@dataclass(frozen=True)
class AssetType:
    """A kind of asset in a studio's words. `folders` are the names of folders that hold such assets."""

    ident: str
    title: str
    folders: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()  # of file; none named: any
    render: bool = False
    order: int = 0
    final: bool = False  # renders to a film
    offered: bool = True
    folder: str = ""  # in the project, where a new one is put
    template: str = ""  # the .blend that a new one begins as
    pattern: str = "{name}"  # of a new one's file name
    output: str = OUTPUT  # where its scene writes
    state: str = ""  # that it begins with; empty: the set's first
    states: tuple[str, ...] = ()  # that it goes through, in this order; none named: all
    priority: int = 0  # that it begins with; 0: the set's
    time_budget: float = 0  # hours
    protect_on_publish: bool = False  # its working file is locked by publishing
    validations: Mapping[str, str] = field(default_factory=dict)  # severities, where others than the set's


@dataclass(frozen=True)
class State:
    """A production state. `role` is one of the look's colour roles, `glyph` stands beside the word."""

    ident: str
    title: str
    role: str = "quiet"
    glyph: str = "○"
    order: int = 0
    final: bool = False
    boost: bool = True  # whether what waits for such an asset raises its priority
    render: bool = False  # good enough to be rendered
    render_priority: float = 1
    offered: bool = True


@dataclass(frozen=True, eq=False)  # by identity: the same until its file changes
class AssetSet:
    """The words of a project: types, states and priorities, each in their order, those not offered last."""

    ident: str
    title: str
    types: Mapping[str, AssetType]
    states: Mapping[str, State]
    priorities: Mapping[int, str]
    default_type: str
    default_state: str
    default_priority: int
    patterns: tuple[Pattern, ...] = ()
    boosting: bool = True
    visible: bool = True  # whether people see and change priorities
    stages: Mapping[str, str] = field(default_factory=lambda: dict(STAGES))
    engine: str = ""  # as Blender calls it; empty: the template's
    resolution: tuple[int, int] = (0, 0)  # pixels; zero: the template's
    fps: int = 0
    places: tuple[
        str, ...
    ] = ()  # folders of its templates, paths or addresses: the first that has one counts
    names: tuple[str, ...] = ()  # by which RFAM's projects call it
    naming: bool = False  # whether names are meant to fit its patterns
    validations: Mapping[str, str] = field(default_factory=dict)  # severities of checks before publishing

    def named(self, name: str) -> Named:
        """What a file's name says, as the set's patterns read it. Shared: not to be changed."""
        return read_first(self.patterns, name)

    def type(self, ident: str) -> AssetType:
        """The type of that ident; one that only has its name where the set knows none."""
        return self.types.get(ident) or AssetType(ident, ident)

    def state(self, ident: str) -> State:
        """The state of that ident; one that only has its name where the set knows none."""
        return self.states.get(ident) or State(ident, ident)

    @cached_property
    def offered_types(self) -> tuple[AssetType, ...]:
        """The types that people choose from."""
        return tuple(one for one in self.types.values() if one.offered)

    @cached_property
    def offered_priorities(self) -> tuple[tuple[int, str], ...]:
        """The priorities that people choose from, the most urgent first; none where they see none."""
        return tuple(sorted(self.priorities.items(), reverse=True)) if self.visible else ()

    def offered_states(self, type: str = "") -> tuple[State, ...]:
        """The states that people choose from, of this type, in the order it goes through them."""
        named = self.type(type).states
        found = tuple(self.states[ident] for ident in named if ident in self.states)
        return found or tuple(one for one in self.states.values() if one.offered)

    @cached_property
    def _by_folder(self) -> dict[str, list[AssetType]]:
        found: dict[str, list[AssetType]] = {}
        for one in self.types.values():
            for folder in one.folders:
                found.setdefault(folder.casefold(), []).append(one)
        return found

    def type_for(self, inside: str, kind: str) -> str:
        """The type of a new asset, by the nearest folder whose name a type claims.

        `inside` is the path within the project, `kind` the file's (`scene`, `film`…).
        """
        for folder in reversed(inside.split("/")[:-1]):
            for one in self._by_folder.get(folder.casefold(), ()):
                if not one.kinds or kind in one.kinds:
                    return one.ident
        for one in self.types.values():
            if kind in ("film", "sequence") and kind in one.kinds:
                return one.ident
        return self.default_type

    def view(self) -> dict[str, Any]:
        """For the API and the pages: lists in their order."""
        return {
            "id": self.ident,
            "title": self.title,
            "types": [
                {
                    "id": t.ident,
                    "title": t.title,
                    "render": t.render,
                    "final": t.final,
                    "folder": t.folder,
                    "states": [s.ident for s in self.offered_states(t.ident)],
                    "priority": t.priority or self.default_priority,
                    "time_budget": t.time_budget,
                    "protect_on_publish": t.protect_on_publish,
                }
                for t in self.offered_types
            ],
            "states": [
                {
                    "id": s.ident,
                    "title": s.title,
                    "role": s.role,
                    "glyph": s.glyph,
                    "final": s.final,
                    "boost": s.boost,
                    "render": s.render,
                }
                for s in self.offered_states()
            ],
            "priorities": [{"id": number, "title": title} for number, title in self.priorities.items()],
            "stages": [{"id": ident, "title": title} for ident, title in self.stages.items()],
            "default_type": self.default_type,
            "default_state": self.default_state,
            "default_priority": self.default_priority,
            "boosting": self.boosting,
            "resolution": list(self.resolution),
            "fps": self.fps,
            "engine": self.engine,
        }


def resolved(ident: str, files: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a set's file says, with what it takes from those that it is like. A circle ends there."""
    chain: list[Mapping[str, Any]] = []
    seen: set[str] = set()
    while ident in files and ident not in seen and len(chain) < LIKE_MOST:
        seen.add(ident)
        chain.append(files[ident])
        ident = str(files[ident].get("like") or "")
    found: dict[str, Any] = {}
    for data in reversed(chain):
        found = joined(found, data)
    return found


def joined(base: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """A set's file on what it is like: words are added to and changed one by one, `null` takes one away."""
    found = {key: value for key, value in base.items() if key != "names"}
    for key, value in data.items():
        own = found.get(key)
        if key in ("types", "states", "validations") and isinstance(value, dict) and isinstance(own, dict):
            both = {word: _over(own.get(word), said) for word, said in {**own, **value}.items()}
            found[key] = {word: said for word, said in both.items() if said is not None}
        else:
            found[key] = value
    return found


def read_set(
    ident: str,
    data: Mapping[str, Any],
    patterns: tuple[Pattern, ...] = (),
    places: tuple[str, ...] = (),
    naming: bool = False,
) -> AssetSet:
    """A set from what its file says; what is missing or of the wrong kind gets a plain default."""
    types = {key: _type(key, one) for key, one in _objects(data.get("types"))}
    states = {key: _state(key, one) for key, one in _objects(data.get("states"))}
    types = types or {"other": AssetType("other", say("Other"))}
    states = states or {"todo": State("todo", say("To do"))}
    priorities = {
        level: say(str(one.get("title") or key))
        for key, one in _objects(data.get("priorities"))
        if 1 <= (level := number(key, 0)) <= LEVELS
    } or {3: say("Normal")}
    types = dict(sorted(types.items(), key=lambda item: (not item[1].offered, item[1].order)))
    states = dict(sorted(states.items(), key=lambda item: (not item[1].offered, item[1].order)))
    priorities = dict(sorted(priorities.items()))
    default_type, default_state = str(data.get("default_type")), str(data.get("default_state"))
    default_priority = number(data.get("default_priority"), 3)
    stages = {key: say(str(one.get("title") or key)) for key, one in _objects(data.get("stages"))}
    live_types = [key for key, one in types.items() if one.offered] or list(types)
    return AssetSet(
        ident,
        str(data.get("title") or ident),
        types,
        states,
        priorities,
        default_type if default_type in types else live_types[-1],
        default_state if default_state in states else next(iter(states)),
        default_priority if default_priority in priorities else list(priorities)[len(priorities) // 2],
        patterns,
        boosting=data.get("boosting") is not False,
        visible=data.get("visible") is not False,
        stages=stages or dict(STAGES),
        engine=str(data.get("engine") or ""),
        resolution=_size(data.get("resolution")),
        fps=min(max(number(data.get("fps"), 0), 0), 1000),
        places=places,
        names=_words(data.get("names")),
        naming=naming,
        validations=severities(data.get("validations")),
    )


def _type(key: str, one: Mapping[str, Any]) -> AssetType:
    return AssetType(
        key,
        say(str(one.get("title") or key)),
        _words(one.get("folders")),
        _words(one.get("kinds")),
        bool(one.get("render")),
        number(one.get("order"), 99),
        final=bool(one.get("final")),
        offered=one.get("offered") is not False,
        folder=str(one.get("folder") or next(iter(_words(one.get("folders"))), "")),
        template=str(one.get("template") or ""),
        pattern=str(one.get("pattern") or "{name}"),
        output=str(one.get("output") or OUTPUT),
        state=str(one.get("state") or ""),
        states=_words(one.get("states")),
        priority=number(one.get("priority"), 0),
        time_budget=_hours(one.get("time_budget")),
        protect_on_publish=one.get("protect_on_publish") is True,
        validations=severities(one.get("validations")),
    )


def _state(key: str, one: Mapping[str, Any]) -> State:
    final = bool(one.get("final"))
    return State(
        key,
        say(str(one.get("title") or key)),
        str(one.get("role") or "quiet"),
        str(one.get("glyph") or "○"),
        number(one.get("order"), 99),
        final,
        boost=bool(one.get("boost", not final)),
        render=bool(one.get("render")),
        render_priority=_float(one.get("render_priority"), 1),
        offered=one.get("offered") is not False,
    )


def _over(base: Any, said: Any) -> Any:
    return {**base, **said} if isinstance(base, dict) and isinstance(said, dict) else said


def _objects(value: Any) -> list[tuple[str, Mapping[str, Any]]]:
    if not isinstance(value, dict):
        return []
    return [(str(key), one if isinstance(one, dict) else {"title": one}) for key, one in value.items()]


def severities(value: Any) -> dict[str, str]:
    """How grave the checks before publishing are here, by their ids."""
    return {str(key): str(one) for key, one in value.items()} if isinstance(value, dict) else {}


def _words(value: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else ()


def _size(value: Any) -> tuple[int, int]:
    if isinstance(value, list) and len(value) == 2:
        width, height = number(value[0], 0), number(value[1], 0)
        if 0 < width <= EDGE_MOST and 0 < height <= EDGE_MOST:
            return width, height
    return 0, 0


def _hours(value: Any) -> float:
    return min(max(_float(value, 0), 0), 1e6)


def _float(value: Any, fallback: float) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return fallback
    return found if abs(found) < 1e12 else fallback


def number(value: Any, fallback: int) -> int:
    """A whole number, or else this."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return fallback


def find(sets: Mapping[str, AssetSet], name: str) -> AssetSet | None:
    """The set of that ident, or that RFAM's projects call so."""
    if name in sets:
        return sets[name]
    asked = name.casefold()
    return next((one for one in sets.values() if asked in map(str.casefold, one.names)), None)


def titles(sets: Iterable[AssetSet]) -> list[tuple[str, str]]:
    """Ident and title of each, by title, as people choose from."""
    return sorted(((one.ident, one.title) for one in sets), key=lambda pair: pair[1].casefold())


EMPTY_SET = read_set(DEFAULT_SET, {})
