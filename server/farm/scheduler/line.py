"""Where work stands: a pool for each kind of need, in it the projects in order, their people in order, and
each person's jobs in order. Everything here is kept sorted while things change, so that the next one is
found without looking at the others."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from server.farm.scheduler.needs import Need
from server.farm.scheduler.shares import Order, Person, Project

Thing = TypeVar("Thing")
Rank = tuple[int, str, str, int]  # priority (negative), when it was submitted, job, stage
USUAL_PRIORITY = 3


@dataclass(frozen=True, slots=True)
class Work:
    """One stage of one job: what is given out task by task."""

    job: str
    stage: int
    need: Need
    project: str = ""
    user: str = ""
    weight: float = 1.0  # of the project
    priority: int = USUAL_PRIORITY  # 1 (last) to 5 (first)
    created: str = ""
    most: int = 0  # tasks of the job that may be out at once; 0: any number

    @property
    def rank(self) -> Rank:
        """Its place among its owner's work; smaller comes first."""
        return (-self.priority, self.created, self.job, self.stage)

    @property
    def load(self) -> float:
        """What a task of it counts for its owner: one of priority 4 half as much as one of priority 3."""
        return float(2.0 ** (USUAL_PRIORITY - self.priority))


class JobUse:
    """What is out of all stages of one job."""

    __slots__ = ("in_use", "units")

    def __init__(self) -> None:
        self.in_use = 0
        self.units: dict[int, Unit] = {}


class Unit:
    """Work, and how it stands."""

    __slots__ = (
        *("ending", "fresh", "in_use", "inside", "job", "load", "person"),
        *("pool", "rank", "ready", "reserved", "served", "since", "work"),
    )

    def __init__(self, work: Work, person: Person, job: JobUse, pool: Pool, now: float) -> None:
        self.change(work, person, pool)
        self.job = job
        self.ready = 0  # tasks that wait and may be done now
        self.reserved = 0  # of these: about to be given out
        self.ending = 0  # tasks that are out and about to be over
        self.in_use = 0  # tasks that are out, those reserved among them, those ending not
        self.fresh = False  # nothing of the job was ever begun
        self.inside = False  # it stands in its pool
        self.served = 0  # when it was given out last: counts what was given out
        self.since = now  # monotonic: when it was given out last, else when it came

    def change(self, work: Work, person: Person, pool: Pool) -> None:
        """It is this work now. Not while it stands in a pool, or counts for somebody."""
        self.work = work
        self.person = person
        self.pool = pool
        self.rank = work.rank
        self.load = work.load


class Ordered(Generic[Thing]):
    """Things by their keys, smallest first. Keys are tuples, each another's."""

    __slots__ = ("_keys", "_list")

    def __init__(self) -> None:
        self._list: list[tuple[Any, ...]] = []
        self._keys: dict[Thing, tuple[Any, ...]] = {}

    def __len__(self) -> int:
        return len(self._list)

    def __contains__(self, thing: Thing) -> bool:
        return thing in self._keys

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """The keys, each with its thing as last part."""
        return iter(self._list)

    def place(self, thing: Thing, key: tuple[Any, ...]) -> None:
        """Have it stand where it belongs."""
        old = self._keys.get(thing)
        if old is not None:
            if old[:-1] == key:
                return
            del self._list[bisect_left(self._list, old)]
        entry = (*key, thing)
        self._keys[thing] = entry
        insort(self._list, entry)

    def drop(self, thing: Thing) -> None:
        """Take it out; it may not be there."""
        old = self._keys.pop(thing, None)
        if old is not None:
            del self._list[bisect_left(self._list, old)]

    def first(self) -> Any:
        """The first thing, or None."""
        return self._list[0][-1] if self._list else None

    def before(self, thing: Thing) -> int:
        """How many stand before it."""
        return bisect_left(self._list, self._keys[thing])


class Bucket:
    """One person's work in one pool."""

    __slots__ = ("fresh", "ranked", "waited")

    def __init__(self) -> None:
        self.ranked: Ordered[Unit] = Ordered()  # by priority and age
        self.fresh: Ordered[Unit] = Ordered()  # of these: whose first frame was never begun
        self.waited: OrderedDict[Unit, None] = OrderedDict()  # since something of it was given out

    def put(self, unit: Unit) -> None:
        self.ranked.place(unit, unit.rank)
        self.waited[unit] = None
        self.freshen(unit)

    def drop(self, unit: Unit) -> None:
        self.ranked.drop(unit)
        self.waited.pop(unit, None)
        self.fresh.drop(unit)

    def freshen(self, unit: Unit) -> bool:
        """Is its first frame to be had? Whether that is another answer than before."""
        fresh = unit.fresh and not unit.reserved
        if fresh == (unit in self.fresh):
            return False
        if fresh:
            self.fresh.place(unit, unit.rank)
        else:
            self.fresh.drop(unit)
        return True


class Pool:
    """All work of one kind of need."""

    __slots__ = ("buckets", "capable", "fresh", "need", "people", "projects", "rarity")

    def __init__(self, need: Need) -> None:
        self.need = need
        self.rarity = 0  # how often the nodes must be halved to come down to those that can do it
        self.capable = 0  # nodes that can do it
        self.projects: Ordered[Project] = Ordered()
        self.people: dict[Project, Ordered[Person]] = {}
        self.buckets: dict[Person, Bucket] = {}
        self.fresh: Ordered[Person] = Ordered()  # who has a first frame that may jump ahead

    def put(self, unit: Unit) -> None:
        """Work comes in, or its place has changed."""
        person = unit.person
        bucket = self.buckets.get(person)
        if bucket is None:
            bucket = self.buckets[person] = Bucket()
            person.pools.add(self)
            person.project.pools.add(self)
            self.people.setdefault(person.project, Ordered())
        bucket.put(unit)
        unit.inside = True

    def drop(self, unit: Unit) -> None:
        """Work goes out. Its owner's place is put right by `arrange`."""
        self.buckets[unit.person].drop(unit)
        unit.inside = False

    def serve(self, unit: Unit) -> None:
        """Something of it was given out."""
        bucket = self.buckets[unit.person]
        bucket.waited.move_to_end(unit)
        bucket.freshen(unit)

    def arrange(self, person: Person, order: Order, admitted: bool) -> None:
        """Put a person where they belong after a change. `admitted`: no limit keeps them from more."""
        bucket = self.buckets.get(person)
        people = self.people.get(person.project)
        if bucket is None or people is None:
            return
        if bucket.ranked and admitted:
            people.place(person, order)
        else:
            people.drop(person)
        first = bucket.fresh.first() if admitted and person.jumps >= 1 else None
        if first is not None:
            self.fresh.place(person, first.rank)
        else:
            self.fresh.drop(person)
        if not bucket.ranked:
            del self.buckets[person]
            person.pools.discard(self)

    def arrange_project(self, project: Project, order: Order, admitted: bool) -> None:
        """Put a project where it belongs, after its people."""
        people = self.people.get(project)
        if people and admitted:
            self.projects.place(project, order)
            return
        self.projects.drop(project)
        if not people and not any(person.project is project for person in self.buckets):
            self.people.pop(project, None)
            project.pools.discard(self)
