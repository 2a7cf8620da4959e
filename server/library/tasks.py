"""Who works on what: each person's open assets by true priority, the first of them, and whom they support.

An asset is somebody's task while they own it, its file is there and its state isn't a final one. What others
wait for rises above them (see `dependencies`), unless the project's set says that nothing rises, or that
what is in this state doesn't. Pure but for what `Tasks` keeps: a project is worked out again when one of its
assets, a priority or its words changed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from server.disk import paths
from server.disk.records import Entry

from .assets import Assets
from .dependencies import Dependencies
from .projects import AssetSet, Project, Projects


@dataclass(frozen=True, slots=True)
class Work:
    """A project's open tasks at one moment. Shared: not to be changed."""

    by_owner: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)  # '' is nobody

    def of(self, user: str) -> tuple[Entry, ...]:
        """A person's tasks, the most urgent first."""
        return self.by_owner.get(user, ()) if user else ()

    def free(self) -> tuple[Entry, ...]:
        """What nobody owns."""
        return self.by_owner.get("", ())

    def primary(self, user: str) -> Entry | None:
        """What a person is to do now."""
        return next(iter(self.of(user)), None)

    def to_support(self, user: str) -> list[Entry]:
        """The first tasks of others that this person supports, by their owners."""
        found = ((owner, self.primary(owner)) for owner in self.by_owner if owner and owner != user)
        mine = [(owner, task) for owner, task in found if task is not None and user in supporters(task)]
        return [task for _, task in sorted(mine, key=lambda pair: pair[0])]


class Tasks:
    """`of(project)` for whoever asks. Thread-safe."""

    def __init__(self, assets: Assets, projects: Projects, dependencies: Dependencies) -> None:
        self._assets = assets
        self._projects = projects
        self._dependencies = dependencies
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[object, object, object, Work]] = {}

    def of(self, project: Project) -> Work:
        """Everybody's tasks: the same object until something of it changes."""
        entries = self._assets.find(project.ident)
        true, words = self._dependencies.true, self._projects.set_of(project)
        kept = self._kept.get(project.ident)
        if kept is not None and kept[0] is entries and kept[1] is true and kept[2] is words:
            return kept[3]
        work = Work(ranked(entries, true, words))
        with self._lock:
            self._kept[project.ident] = (entries, true, words, work)
        return work


def ranked(
    entries: Iterable[Entry], true: Mapping[str, float], words: AssetSet
) -> dict[str, tuple[Entry, ...]]:
    """Each owner's open tasks, by true priority, then by the day they are due, else in the order given."""
    found: dict[str, list[tuple[float, str, Entry]]] = {}
    for entry in entries:
        if not is_open(entry, words):
            continue
        facts = entry.facts
        assert facts is not None
        place = (-priority(entry, true, words), facts.due or "9", entry)
        found.setdefault(facts.owner, []).append(place)
    return {
        owner: tuple(place[2] for place in sorted(places, key=lambda place: place[:2]))
        for owner, places in found.items()
    }


def is_open(entry: Entry, words: AssetSet) -> bool:
    """Whether there is still something to do with it."""
    facts = entry.facts
    if facts is None or entry.stat is None or facts.final:
        return False
    state = words.states.get(facts.state)
    return state is None or not state.final


def priority(entry: Entry, true: Mapping[str, float], words: AssetSet) -> float:
    """What a task counts for: its own priority, or what it rises to by those who wait for it."""
    facts = entry.facts
    own = float(facts.priority) if facts is not None else 0.0
    if facts is None or not words.boosting or not words.state(facts.state).boost:
        return own
    return max(own, true.get(entry.address, own))


def supporters(entry: Entry) -> tuple[str, ...]:
    """Who helps with an asset, its owner apart."""
    facts = entry.facts
    return tuple(one for one in facts.support if one != facts.owner) if facts is not None else ()


def name_of(entry: Entry) -> str:
    """What people call an asset."""
    return (entry.facts.name if entry.facts is not None else "") or paths.name_of(entry.address)
