"""The credits of a film: who did what, who made which file, what comes from others, and what is missing.

Worked out from the project's own file, its assets and the users. Who doesn't want to be named isn't, nowhere;
of whom nothing is known any more nothing is said but that somebody is missing. `compose` is pure; `Credits`
keeps what it composed until something of it changes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from server.disk.records import Entry
from server.disk.settings import Settings
from server.disk.speech import count, say

from .assets import Assets
from .people import SOMEONE
from .projects import AssetSet, External, Project, Projects
from .tasks import name_of, supporters

FREE = ("cc0", "public domain", "pd", "unlicense", "0bsd")  # licences that ask for no name

NOBODYS = frozenset((SOMEONE, "croft"))  # who was forgotten, and files that Croft found by itself


@dataclass(frozen=True, slots=True)
class Made:
    """A file and who made it. `helped` are those who supported its owner."""

    name: str
    by: str
    helped: tuple[str, ...] = ()
    address: str = ""


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that the credits lack. `where` is what it can be mended on: project, people, or an owner's
    absence on the page of files."""

    text: str
    where: str = "project"


@dataclass(frozen=True, slots=True)
class Roll:
    """The credits of one project at one moment."""

    title: str
    description: str
    licence: str
    roles: tuple[tuple[str, tuple[str, ...]], ...]  # in their order, with the names of who has them
    others: tuple[str, ...]  # who worked on it and has no role
    made: tuple[tuple[str, tuple[Made, ...]], ...]  # by type, in the order of the set
    external: tuple[External, ...]
    missing: tuple[Missing, ...]
    unnamed: int = 0  # people who worked on it and don't want to be named


class Credits:
    """`of(project)` for whoever asks. Thread-safe."""

    def __init__(self, settings: Settings, assets: Assets, projects: Projects) -> None:
        self._settings = settings
        self._assets = assets
        self._projects = projects
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[object, object, object, Project, Roll]] = {}

    def of(self, project: Project) -> Roll:
        """The same object until an asset, a user, the project or its words change."""
        entries, users = self._assets.find(project.ident), self._settings.folder("users")
        words = self._projects.set_of(project)
        kept = self._kept.get(project.ident)
        if kept and kept[0] is entries and kept[1] is users and kept[2] is words and kept[3] == project:
            return kept[4]
        roll = compose(project, entries, users, words)
        with self._lock:
            self._kept[project.ident] = (entries, users, words, project, roll)
        return roll


def compose(
    project: Project, entries: Iterable[Entry], users: Mapping[str, Mapping[str, Any]], words: AssetSet
) -> Roll:
    """The credits that follow from these files."""
    names = Names(users)
    missing: list[Missing] = []
    if not project.licence:
        missing.append(Missing(say("The film has no licence: nobody knows what they may do with it.")))
    if not project.description:
        missing.append(Missing(say("The film has no description.")))
    roles = _roles(project, names, missing)
    made, ownerless = _made(entries, names, words)
    with_role = {one for role in project.roles for one in role.people}
    for ident, data in users.items():  # who is of the team is named, whatever they made
        if project.ident in texts(data.get("projects")) and data.get("role") != "guest":
            names.of(ident)
    others = tuple(names.of(one) for one in names.sorted(set(names.seen) - with_role))
    missing += [Missing(say("{name} has no role yet.", name=name)) for name in others]
    if ownerless:
        said = count("{n} file has no owner.", "{n} files have no owner.", ownerless)
        missing.append(Missing(said, "files"))
    for ident in sorted(names.unknown):
        text = say("Nobody knows who ‘{name}’ is, whom a file names.", name=ident)
        missing.append(Missing(text, "people"))
    missing += [lack for one in project.external for lack in _lacks(one)]
    return Roll(
        project.title,
        project.description,
        project.licence,
        roles,
        others,
        made,
        project.external,
        tuple(missing),
        len(names.hidden),
    )


class Names:
    """What people are called in the credits: those who may be named. Remembers who was asked for."""

    def __init__(self, users: Mapping[str, Mapping[str, Any]]) -> None:
        self._users = users
        self.seen: dict[str, None] = {}  # may be named
        self.hidden: set[str] = set()
        self.unknown: set[str] = set()

    def of(self, ident: str) -> str:
        """A person's name; '' for who isn't to be named."""
        if not ident or ident in NOBODYS:
            return ""
        data = self._users.get(ident)
        if data is None:
            self.unknown.add(ident)
            return ""
        if data.get("credit") is False:
            self.hidden.add(ident)
            return ""
        self.seen[ident] = None
        return str(data.get("title") or data.get("name") or ident)

    def all(self, idents: Iterable[str]) -> tuple[str, ...]:
        """The names of several, each once, in their order."""
        return tuple(dict.fromkeys(name for one in idents if (name := self.of(one))))

    def in_role(self, people: Iterable[str]) -> tuple[str, ...]:
        """Who has a role: users, or plain names, as of those who were forgotten and agreed to be named."""
        found = (self.of(one) if one in self._users else one for one in people if one != SOMEONE)
        return tuple(dict.fromkeys(name for name in found if name))

    def sorted(self, idents: Iterable[str]) -> list[str]:
        """By name."""
        return sorted(idents, key=lambda one: (self.of(one).casefold(), one))


def _roles(project: Project, names: Names, missing: list[Missing]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    for role in project.roles:
        people = names.in_role(role.people)
        if people:
            found.append((role.title, people))
        elif not role.people:
            missing.append(Missing(say("Nobody has the role ‘{role}’ yet.", role=role.title)))
    if not project.roles:
        missing.append(Missing(say("Nobody has a role yet: directing, animation, music …")))
    return tuple(found)


def _made(
    entries: Iterable[Entry], names: Names, words: AssetSet
) -> tuple[tuple[tuple[str, tuple[Made, ...]], ...], int]:
    """Files by type with who made them, and how many have no owner."""
    by_type: dict[str, list[Made]] = {}
    ownerless = 0
    for entry in entries:
        facts = entry.facts
        if facts is None or entry.stat is None:
            continue
        if not facts.owner:
            ownerless += 1
        by = names.of(facts.owner or facts.creator)
        helped = names.all(supporters(entry))
        if by or helped:
            by_type.setdefault(facts.type, []).append(Made(name_of(entry), by, helped, entry.address))
    known = [(kind.title, by_type.pop(kind.ident)) for kind in words.types.values() if kind.ident in by_type]
    return tuple((title, tuple(files)) for title, files in [*known, *sorted(by_type.items())]), ownerless


def texts(value: Any) -> list[str]:
    """What a file says in a list, where it is one."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _lacks(one: External) -> list[Missing]:
    """What has to be known of something that others made."""
    name = one.name or one.description[:60] or "?"
    found = []
    if not one.licence:
        found.append(say("‘{name}’ has no licence: without one it may not be shown.", name=name))
    elif not one.author and not one.licence.casefold().startswith(FREE):
        found.append(say("Nobody says who made ‘{name}’.", name=name))
    if not one.origin:
        found.append(say("Nobody says where ‘{name}’ comes from.", name=name))
    return [Missing(text) for text in found]
