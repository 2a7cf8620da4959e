"""Which projects there are, and the sets of words they use (asset types, states, priorities).

A project is a folder at the top of a share with a `project.json` ('{}' will do), known from the moment it
is there, or one that the configuration names (`projects/<ident>.json`). Reads through the index and keeps
what it read until the file's stat changes; writes only when `prepare` is asked to.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.disk import faults, files, paths, sidecar
from server.disk.errors import BadInput, Conflict, CroftError, Forbidden, NotFound, Stale
from server.disk.records import Entry, Problem, Stat
from server.disk.settings import DEFAULTS, IDENT, Settings
from server.disk.speech import say
from server.disk.store import Store

from ..names import DEFAULT as DEFAULT_PATTERN
from ..names import Pattern, Patterns
from ..people import User, require
from . import approving, changes, rfam, sets
from .record import External, Project, Role, read_project
from .sets import DEFAULT_SET, EMPTY_SET, AssetSet, AssetType, State, read_set

log = logging.getLogger(__name__)

DEFAULT_SHARE = "data"
DEMO = "demo"  # comes with every configuration, and begins empty
MAX_BYTES = 4 << 20  # of project.json


class Projects:
    """The projects of all shares. Thread-safe; cheap enough for every request."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store
        self._files: dict[str, tuple[Stat, dict[str, Any], str]] = {}  # address: as last read, and its ETag
        self._prepared: object = None  # the configured projects whose folders were made
        self._rfam = rfam.Defaults(settings.folder_path)
        self._sets: tuple[tuple[object, ...], dict[str, AssetSet]] = ((), {})
        self._called: tuple[object, dict[str, AssetSet | None]] = (None, {})  # sets by what projects say
        self._own: dict[str, tuple[object, AssetSet, AssetSet]] = {}  # folder: file, like which, set
        self._patterns = Patterns()
        self._unlike: list[Problem] = []  # sets that are like one that isn't there
        self._known: tuple[object, dict[str, Project]] = (None, {})
        self._broken: dict[str, str] = {}  # address of project.json -> why it can't be read

    def list(self) -> list[Project]:
        """Every project, by ident."""
        return list(self._all().values())

    def get(self, ident: str) -> Project:
        """The project of that ident. NotFound if there is none."""
        project = self._all().get(ident)
        if project is None:
            raise NotFound("There is no project '{project}'.", project=ident)
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

    def may_approve(self, project: Project | None, entry: Entry | None, user: User | None) -> bool:
        """Whether somebody may approve or reject a version of this file, by what the project says."""
        return approving.may_approve(project, entry, user)

    def set_of(self, project: Project | None) -> AssetSet:
        """The words of a project; the default ones where it names a set that isn't there."""
        found = self._all_sets()
        named = self._called_so(found, project.set) if project else None
        common = named or found.get(DEFAULT_SET) or EMPTY_SET
        return self._own_set(project, common) if project is not None else common

    def sets(self) -> Mapping[str, AssetSet]:
        """Every set of the configuration, RFAM's `defaults` among them, by ident."""
        return self._all_sets()

    def template(self, words: AssetSet, name: str) -> Path | None:
        """A set's template .blend, of the first of its places that has one of that name; None if none has."""
        try:
            paths.check_inside(name)
        except BadInput:
            return None
        for place in words.places if name else ():
            try:
                own = paths.SEPARATOR in place
                path = self._store.path(paths.join(place, name)) if own else Path(place) / name
                if path.is_file():
                    return path
            except (CroftError, OSError):
                continue  # a link that leads out of the share, or a folder that can't be read
        return None

    def view(self, project: Project) -> dict[str, Any]:
        """What the API tells of a project."""
        return {**project.view(), "set_title": self.set_of(project).title}

    def prepare(self, folders: bool = False) -> None:
        """Make the folder and `project.json` of each configured project that lacks them, where it may;
        `folders`: one for each of its types, too, which a new one has in any case; but for the demo's."""
        configured = self._settings.folder("projects")
        if configured is self._prepared:
            return
        put_off = False
        for name, data in configured.items():
            place = _place(name, data)
            address = paths.join(place, paths.PROJECT_FILE)
            try:
                if self._store.away(paths.parse(place)[0]):
                    put_off = True
                    continue
                if self._store.path(address).exists():
                    continue
                kept = {key: data[key] for key in ("title", "description", "licence", "set") if data.get(key)}
                new = name != DEMO and not self._store.path(place).exists()
                self._make(place, kept, folders or new)
            except CroftError as error:
                put_off = True
                log.warning("project %s: %s", name, error.message)
        self._prepared = None if put_off else configured

    def problems(self) -> tuple[Problem, ...]:
        """Projects whose file can't be read: they are shown as they were last. Patterns with a mistake.

        Also the moment when projects that the configuration names since a while get their folders.
        """
        self.prepare(folders=True)
        self._all()
        self._all_sets()
        index = self._store.index
        there = [(address, why) for address, why in self._broken.copy().items() if index.get(address)]
        back = say("Put the last good one back")
        broken = tuple(
            faults.broken(address, why, *(
                [faults.mending(back, "put-back", address)]
                if paths.name_of(address) == paths.PROJECT_FILE else []
            ))
            for address, why in there
        )  # fmt: skip
        return (*broken, *self._patterns.problems(), *self._unlike, *self._rfam.problems())

    def last_good(self, address: str) -> dict[str, Any]:
        """What a `project.json` said when it could be read last; {} where this process never saw it so."""
        kept = self._files.get(address)
        return dict(kept[1]) if kept is not None else {}

    # Changing

    def change(
        self, ident: str, make: changes.Change, user: User, etag: str | None = None
    ) -> tuple[Project, Any]:
        """Change what `project.json` says, under its lock; the project as it is then, and what `make` tells.

        `make` gets what the file says and the project of it. Stale where the file isn't the one of `etag`.
        """
        require(user, "student")
        project = self.get(ident)
        if not changes.may_change(user, project):
            raise Forbidden(say("Only its team, supervisors and admins may change this."), project=ident)
        address = paths.join(project.address, paths.PROJECT_FILE)
        share = self._store.check_writable(project.address)
        with self._store.locks(share.name).hold(paths.lock_key(address)):
            data, present = self._present(address)
            now = self._made(ident, project.address, data, True, present)
            if etag is not None and etag != present:
                said = say("{title} was changed by somebody else meanwhile. Look at it.", title=now.title)
                raise Stale(said, etag=present, record=self.view(now))
            new, told = make(dict(data), now)
            if new != data:
                self._store.write_json(address, new)
                before, (after, present) = changes.told(now), self.present(project)
                fields = {key: [before[key], after[key]] for key in after if after[key] != before[key]}
                # Under the lock: who compares the file with its history sees both, or neither.
                self._store.tell(address, user.ident, {"fields": fields, "etag": present})
        return self.get(ident), told

    def present(self, project: Project) -> tuple[changes.Data, str]:
        """What a history tells of a project, as its file says it at this moment, and the file's ETag, which
        is '' where there is none. Broken."""
        data, etag = self._present(paths.join(project.address, paths.PROJECT_FILE))
        return changes.told(self._made(project.ident, project.address, data, True)), etag

    def set_back(self, ident: str, said: Mapping[str, Any], user: User) -> None:
        """Take back what a change of a project said: field -> before, after. As `change`; Conflict."""
        self.change(
            ident, lambda data, now: (changes.set_back(data, now, said, user, self.sets()), None), user
        )

    def create(self, title: str, user: User, *, ident: str = "", set: str = "") -> Project:
        """A new project: its folder on the default share, `project.json`, a folder for each asset type.

        Conflict where there is such a folder, also one whose letters differ in case alone.
        """
        require(user, "admin")
        name = paths.plain_name(ident or title) or "project"
        if paths.is_ignored(name) or name in (paths.OLD, paths.RENDER) or paths.safe_name(name) != name:
            raise BadInput(say("A project can’t be called {name}.", name=name[:60]), field="title")
        data = changes.fields({}, {"title": title, **({"set": set} if set else {})}, user, self.sets())
        address = paths.address(DEFAULT_SHARE, name)
        share = self._store.check_writable(address)
        with self._store.locks(share.name).hold(paths.lock_key(address)):
            there = {one.casefold() for one in os.listdir(share.root)}
            if name in self._all() or name.casefold() in there:
                raise Conflict(say("There is a project or folder called {name} already.", name=name))
            self._make(address, data, True)
        self._store.tell(paths.join(address, paths.PROJECT_FILE), user.ident, {"created": title})
        return self.get(name)

    def _make(self, address: str, data: dict[str, Any], folders: bool) -> None:
        """A project's folder, and one for each of its types."""
        self._store.write_json(paths.join(address, paths.PROJECT_FILE), data)
        if not folders:
            return
        words = self.set_of(read_project("", address, rfam.of_project(data), True))
        for kind in words.offered_types:
            try:
                if kind.folder:
                    self._store.make_folder(paths.join(address, kind.folder.strip("/")))
            except CroftError as error:  # a set's file may name anything
                log.warning("%s: no folder %s: %s", address, kind.folder, error.message)

    def _present(self, address: str) -> tuple[dict[str, Any], str]:
        """What a file says just now, and its ETag; both empty where there is none. Broken."""
        path = self._store.path(address)
        try:
            raw, _ = files.read_bounded(path, MAX_BYTES)
        except FileNotFoundError:
            return {}, ""
        except OSError as error:
            files.fail(error, path)
        return sidecar.parse(raw, path), sidecar.etag(raw)

    def _made(self, ident: str, place: str, data: dict[str, Any], here: bool, etag: str = "") -> Project:
        """A project from what its file says, and the configuration where that is silent."""
        named = self._settings.folder("projects")
        said = next((one for name, one in named.items() if _ident(name, one) == ident), {})
        return read_project(ident, place, {**rfam.of_project(said), **rfam.of_project(data)}, here, etag)

    def _all(self) -> dict[str, Project]:
        configured = self._settings.folder("projects")
        stamp = (self._store.index.generation, configured)
        known = self._known
        if known[0] == stamp:
            return known[1]
        found: dict[str, Project] = {}
        tops = self._store.index.projects()
        claimed = set()
        for name, data in configured.items():
            ident, place = _ident(name, data), _place(name, data)
            claimed.add(place)
            here = place in tops or self._store.index.has_folder(place)
            found[ident] = self._made(ident, place, self._file(place), here, self._etag(place))
        # The default share's folders keep their plain names where another share has the same.
        for place in sorted(tops, key=lambda top: (not top.startswith(DEFAULT_SHARE + "::"), top)):
            if place in claimed:
                continue
            share, name = place.split(paths.SEPARATOR)
            ident = name if name not in found else f"{name}.{share}"
            found[ident] = self._made(ident, place, self._file(place), True, self._etag(place))
        ordered = dict(sorted(found.items()))
        self._known = (stamp, ordered)
        return ordered

    def _file(self, place: str) -> dict[str, Any]:
        """What `project.json` says; what it said last while it can't be read."""
        address = paths.join(place, paths.PROJECT_FILE)
        entry = self._store.index.get(address)
        if entry is None or entry.stat is None:
            return {}
        return self._json(address, entry.stat)

    def _json(self, address: str, stat: Stat) -> dict[str, Any]:
        """What this file says; what it said last while it can't be read."""
        kept = self._files.get(address)
        if kept is not None and kept[0] == stat:
            return kept[1]
        try:
            data, etag = self._present(address)
            self._broken.pop(address, None)
        except CroftError as error:
            log.warning("%s: %s", address, error.message)
            self._broken[address] = str(error.facts.get("why") or error.message)
            data, etag = (kept[1], kept[2]) if kept is not None else ({}, "")
        self._files[address] = (stat, data, etag)
        return data

    def _etag(self, place: str) -> str:
        kept = self._files.get(paths.join(place, paths.PROJECT_FILE))
        return kept[2] if kept is not None else ""

    def _all_sets(self) -> dict[str, AssetSet]:
        stamp = (self._settings.folder("sets"), self._rfam.sets(), self._settings.get("name_patterns"))
        known = self._sets
        if len(known[0]) == len(stamp) and all(a is b for a, b in zip(known[0], stamp, strict=True)):
            return known[1]
        own, theirs, texts = stamp
        data: dict[str, Mapping[str, Any]] = {**theirs, **own}
        common = self._patterns.of("server.json", texts)
        found = {DEFAULT_SET: read_set(DEFAULT_SET, {}, common)}
        lists = []
        for ident in data:
            said = sets.resolved(ident, data)
            patterns, naming = common, list(texts) != [DEFAULT_PATTERN]
            if said.get("patterns") is not None:
                naming = True
                lists.append(f"sets/{ident}.json")
                patterns = self._patterns_of(lists[-1], said["patterns"])
            places = [str(self._settings.folder_path / "sets" / ident)] if ident in own else []
            places += [str(self._rfam.place(ident))] if ident in theirs else []
            places += [str(self._settings.folder_path / "sets"), str(DEFAULTS / "sets")]
            found[ident] = read_set(ident, said, patterns, tuple(places), naming)
        own_sets = (paths.join(folder, paths.SET_FILE) for folder in self._own)
        self._patterns.keep(["server.json", *lists, *own_sets])
        self._unlike = [unlike(ident, str(one["like"])) for ident, one in own.items() if lost(one, data)]
        self._sets = (stamp, found)
        return found

    def _called_so(self, found: dict[str, AssetSet], name: str) -> AssetSet | None:
        """The set that a project means; asked for every asset that is shown, so it is remembered."""
        if self._called[0] is not found:
            self._called = (found, {})
        known = self._called[1]
        if name not in known:
            known[name] = sets.find(found, name)
        return known[name]

    def _patterns_of(self, where: str, asked: Any) -> tuple[Pattern, ...]:
        return self._patterns.of(where, asked if isinstance(asked, list) else [asked])

    def _own_set(self, project: Project, common: AssetSet) -> AssetSet:
        """The set in the project's own folder, where there is one: on the set that it says it is like."""
        address = paths.join(project.address, paths.SET_FILE)
        entry = self._store.index.get(address)
        if entry is None or entry.stat is None:
            return common
        data, kept = self._json(address, entry.stat), self._own.get(project.address)
        if kept is not None and kept[0] is data and kept[1] is common:
            return kept[2]
        like = sets.find(self.sets(), str(data.get("like") or "")) or common
        files = {**self._settings.folder("sets"), **self._rfam.sets()}
        said = sets.joined(sets.resolved(like.ident, files), data)
        patterns, naming = like.patterns, like.naming
        if data.get("patterns") is not None:
            patterns, naming = self._patterns_of(address, data["patterns"]), True
        made = read_set(project.ident, said, patterns, (project.address, *like.places), naming)
        self._own[project.address] = (data, common, made)
        return made


def lost(data: Mapping[str, Any], known: Mapping[str, Any]) -> bool:
    """Whether a set says that it is like one that isn't there."""
    return bool(data.get("like")) and str(data["like"]) not in known


def unlike(ident: str, like: str) -> Problem:
    """What an admin hears of it."""
    file = f"sets/{ident}.json"
    said = say("The configuration set {name} is like {other}, which isn’t there.", name=ident, other=like)
    mend = say("Correct what stands behind like in {file}, or bring that set back.", file=file)
    return Problem(f"config:{file}: like", "config", file, said, mend)


def _ident(name: str, data: Mapping[str, Any]) -> str:
    """RFAM's projects say who they are; Croft's are called like their file."""
    ident = data.get("ident")
    return ident if isinstance(ident, str) and IDENT.match(ident) else name


def _place(ident: str, data: Mapping[str, Any]) -> str:
    """The address of a configured project's folder: `address`, or RFAM's `path`, or the default share's."""
    for key in ("address", "path", "directory"):
        value = data.get(key)
        if isinstance(value, str) and paths.SEPARATOR in value:
            try:
                paths.parse(value.rstrip("/"))
            except BadInput:
                continue
            return value.rstrip("/")
    return paths.address(DEFAULT_SHARE, ident)


__all__ = [
    "AssetSet",
    "AssetType",
    "External",
    "Project",
    "Projects",
    "Role",
    "State",
    "read_set",
]
