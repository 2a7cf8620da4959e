"""Which projects there are, and the sets of words they use (asset types, states, priorities).

A project is a folder at the top of a share with a `project.json` ('{}' will do), known from the moment it
is there, or one that the configuration names (`projects/<ident>.json`). Reads through the index and keeps
what it read until the file's stat changes; writes only when `prepare` is asked to.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from server.disk import faults, paths
from server.disk.errors import BadInput, CroftError, NotFound
from server.disk.records import Problem, Stat
from server.disk.settings import Settings
from server.disk.store import Store

from .names import Named, Pattern, Patterns, read_first

log = logging.getLogger(__name__)

DEFAULT_SET = "default"
DEFAULT_SHARE = "data"


@dataclass(frozen=True)
class AssetType:
    """A kind of asset in a studio's words. `folders` are the names of folders that hold such assets."""

    ident: str
    title: str
    folders: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()  # of file; none named: any
    render: bool = False
    order: int = 0


@dataclass(frozen=True)
class State:
    """A production state. `role` is one of the look's colour roles, `glyph` stands beside the word."""

    ident: str
    title: str
    role: str = "quiet"
    glyph: str = "○"
    order: int = 0
    final: bool = False


@dataclass(frozen=True, eq=False)  # by identity: the same until its file changes
class AssetSet:
    """The words of a project: types, states and priorities, each in their order."""

    ident: str
    title: str
    types: Mapping[str, AssetType]
    states: Mapping[str, State]
    priorities: Mapping[int, str]
    default_type: str
    default_state: str
    default_priority: int
    patterns: tuple[Pattern, ...] = ()

    def named(self, name: str) -> Named:
        """What a file's name says, as the set's patterns read it. Shared: not to be changed."""
        return read_first(self.patterns, name)

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
            "types": [{"id": t.ident, "title": t.title, "render": t.render} for t in self.types.values()],
            "states": [
                {"id": s.ident, "title": s.title, "role": s.role, "glyph": s.glyph, "final": s.final}
                for s in self.states.values()
            ],
            "priorities": [{"id": number, "title": title} for number, title in self.priorities.items()],
            "default_type": self.default_type,
            "default_state": self.default_state,
            "default_priority": self.default_priority,
        }


@dataclass(frozen=True)
class Project:
    """One project. `address` is its folder; `here` is False where that folder isn't there."""

    ident: str
    address: str
    title: str
    description: str = ""
    licence: str = ""
    set: str = DEFAULT_SET
    render_priority: int = 3
    here: bool = True
    roles: Mapping[str, Any] = field(default_factory=dict)

    def inside(self, address: str) -> str:
        """The path of an asset of this project within its folder."""
        return address[len(self.address) :].lstrip("/")


class Projects:
    """The projects of all shares. Thread-safe; cheap enough for every request."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._files: dict[str, tuple[Stat, dict[str, Any]]] = {}  # address of project.json: as last read
        self._sets: tuple[object, object, dict[str, AssetSet]] = (None, None, {})
        self._patterns = Patterns()
        self._known: tuple[object, dict[str, Project]] = (None, {})
        self._broken: dict[str, str] = {}  # address of project.json -> why it can't be read

    def list(self) -> list[Project]:
        """Every project, by ident."""
        return list(self._all().values())

    def get(self, ident: str) -> Project:
        """The project of that ident. NotFound if there is none."""
        project = self._all().get(ident)
        if project is None:
            raise NotFound(f"There is no project '{ident}'.", project=ident)
        return project

    def of(self, address: str) -> Project | None:
        """The project that an address lies in; None outside of all."""
        top = paths.top_of(address)
        for project in self._all().values():
            if project.address == top:
                return project
        for project in self._all().values():  # the configuration may name a folder further down
            if address.startswith(project.address + "/"):
                return project
        return None

    def set_of(self, project: Project | None) -> AssetSet:
        """The words of a project; the default ones where it names a set that isn't there."""
        sets = self._all_sets()
        return sets.get(project.set if project else DEFAULT_SET) or sets.get(DEFAULT_SET) or EMPTY_SET

    def view(self, project: Project) -> dict[str, Any]:
        """What the API tells of a project."""
        return {
            "id": project.ident,
            "address": project.address,
            "title": project.title,
            "description": project.description,
            "licence": project.licence,
            "set": project.set,
            "render_priority": project.render_priority,
            "here": project.here,
            "url": f"/p/{project.ident}/assets",
        }

    def prepare(self) -> None:
        """Make the folder and `project.json` of each configured project that lacks them, where it may."""
        for ident, data in self._settings.folder("projects").items():
            place = _place(ident, data)
            address = paths.join(place, paths.PROJECT_FILE)
            try:
                if self._store.away(paths.parse(place)[0]) or self._store.path(address).exists():
                    continue
                kept = {key: data[key] for key in ("title", "description", "licence", "set") if data.get(key)}
                self._store.write_json(address, kept)
            except CroftError as error:
                log.warning("project %s: %s", ident, error.message)

    def problems(self) -> tuple[Problem, ...]:
        """Projects whose file can't be read: they are shown as they were last. Patterns with a mistake."""
        self._all()
        self._all_sets()
        index = self._store.index
        there = [(address, why) for address, why in self._broken.copy().items() if index.get(address)]
        broken = tuple(
            faults.broken(address, why, faults.mending("Put the last good one back", "put-back", address))
            for address, why in there
        )
        return (*broken, *self._patterns.problems())

    def last_good(self, address: str) -> dict[str, Any]:
        """What a `project.json` said when it could be read last; {} where this process never saw it so."""
        kept = self._files.get(address)
        return dict(kept[1]) if kept is not None else {}

    def _all(self) -> dict[str, Project]:
        configured = self._settings.folder("projects")
        stamp = (self._store.index.generation, configured)
        known = self._known
        if known[0] == stamp:
            return known[1]
        found: dict[str, Project] = {}
        tops = self._store.index.projects()
        claimed = set()
        for ident, data in configured.items():
            place = _place(ident, data)
            claimed.add(place)
            here = place in tops or self._store.index.has_folder(place)
            found[ident] = _project(ident, place, {**data, **self._file(place)}, here)
        # The default share's folders keep their plain names where another share has the same.
        for place in sorted(tops, key=lambda top: (not top.startswith(DEFAULT_SHARE + "::"), top)):
            if place in claimed:
                continue
            share, name = place.split(paths.SEPARATOR)
            ident = name if name not in found else f"{name}.{share}"
            found[ident] = _project(ident, place, self._file(place), True)
        ordered = dict(sorted(found.items()))
        self._known = (stamp, ordered)
        return ordered

    def _file(self, place: str) -> dict[str, Any]:
        """What `project.json` says; what it said last while it can't be read."""
        address = paths.join(place, paths.PROJECT_FILE)
        entry = self._store.index.get(address)
        if entry is None or entry.stat is None:
            return {}
        kept = self._files.get(address)
        if kept is not None and kept[0] == entry.stat:
            return kept[1]
        try:
            data: dict[str, Any] = self._store.read_json(address)
            self._broken.pop(address, None)
        except CroftError as error:
            log.warning("%s: %s", address, error.message)
            self._broken[address] = str(error.facts.get("why") or error.message)
            data = kept[1] if kept is not None else {}
        self._files[address] = (entry.stat, data)
        return data

    def _all_sets(self) -> dict[str, AssetSet]:
        data, texts = self._settings.folder("sets"), self._settings.get("name_patterns")
        if self._sets[0] is not data or self._sets[1] is not texts:
            common = self._patterns.of("server.json", texts)
            sets = {DEFAULT_SET: read_set(DEFAULT_SET, {}, common)}
            own_lists = [
                f"sets/{ident}.json" for ident, one in data.items() if one.get("patterns") is not None
            ]
            for ident, one in data.items():
                own = one.get("patterns")
                asked = own if isinstance(own, list) else [own]
                patterns = common if own is None else self._patterns.of(f"sets/{ident}.json", asked)
                sets[ident] = read_set(ident, one, patterns)
            self._patterns.keep(["server.json", *own_lists])
            self._sets = (data, texts, sets)
        return self._sets[2]


def read_set(ident: str, data: Mapping[str, Any], patterns: tuple[Pattern, ...] = ()) -> AssetSet:
    """A set from its file; what is missing or of the wrong kind gets a plain default."""
    types = {
        key: AssetType(
            key,
            str(one.get("title") or key),
            _words(one.get("folders")),
            _words(one.get("kinds")),
            bool(one.get("render")),
            _number(one.get("order"), 99),
        )
        for key, one in _objects(data.get("types"))
    } or {"other": AssetType("other", "Other")}
    states = {
        key: State(
            key,
            str(one.get("title") or key),
            str(one.get("role") or "quiet"),
            str(one.get("glyph") or "○"),
            _number(one.get("order"), 99),
            bool(one.get("final")),
        )
        for key, one in _objects(data.get("states"))
    } or {"todo": State("todo", "To do")}
    priorities = {
        _number(key, 0): str(one.get("title") or key) for key, one in _objects(data.get("priorities"))
    } or {3: "Normal"}
    types = dict(sorted(types.items(), key=lambda item: item[1].order))
    states = dict(sorted(states.items(), key=lambda item: item[1].order))
    priorities = dict(sorted(priorities.items()))
    default_type, default_state = str(data.get("default_type")), str(data.get("default_state"))
    default_priority = _number(data.get("default_priority"), 3)
    return AssetSet(
        ident,
        str(data.get("title") or ident),
        types,
        states,
        priorities,
        default_type if default_type in types else list(types)[-1],
        default_state if default_state in states else next(iter(states)),
        default_priority if default_priority in priorities else list(priorities)[len(priorities) // 2],
        patterns,
    )


def _place(ident: str, data: Mapping[str, Any]) -> str:
    """The address of a configured project's folder: `address`, or RFAM's `path`, or the default share's."""
    for key in ("address", "path"):
        value = data.get(key)
        if isinstance(value, str) and paths.SEPARATOR in value:
            try:
                paths.parse(value.rstrip("/"))
            except BadInput:
                continue
            return value.rstrip("/")
    return paths.address(DEFAULT_SHARE, ident)


def _project(ident: str, place: str, data: Mapping[str, Any], here: bool) -> Project:
    roles = data.get("roles")
    return Project(
        ident=ident,
        address=place,
        title=str(data.get("title") or data.get("name") or ident),
        description=str(data.get("description") or ""),
        licence=str(data.get("licence") or data.get("license") or ""),
        set=str(data.get("set") or data.get("configuration_set") or DEFAULT_SET),
        render_priority=_number(data.get("render_priority"), 3),
        here=here,
        roles=roles if isinstance(roles, dict) else {},
    )


def _objects(value: Any) -> list[tuple[str, Mapping[str, Any]]]:
    if not isinstance(value, dict):
        return []
    return [(str(key), one if isinstance(one, dict) else {"title": one}) for key, one in value.items()]


def _words(value: Any) -> tuple[str, ...]:
    return tuple(str(one) for one in value) if isinstance(value, list) else ()


def _number(value: Any, fallback: int) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        return fallback


EMPTY_SET = read_set(DEFAULT_SET, {})
