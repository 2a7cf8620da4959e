"""Which work a node gets its next task from, and why. Pure: no files, no clock, nothing of jobs' insides.

Work (a stage of a job) stands in a pool for its kind of need. For a node that asks, in this order:

1. The first frame of a job of which nothing was ever begun, by priority and age: breakage shows early. Each
   project and person has a few such jumps, and earns new ones by tasks that come in turn.
2. The project with the fewest tasks out for its priority; of those with as few, who had fewer lately.
3. In it, the person with the fewest tasks out, a task of a job of priority 4 counting half, of 2 twice.
4. Of that person's work what few nodes can do, then by priority, then by age; each fourth time what has
   waited longest for a node.

A node stays with its job for a while where that is as fair. What limits forbid doesn't stand in the line.

    needs    what work asks of a node, and whether a node has it
    shares   how much somebody has, and had lately
    line     pools, and what stands in them in order
    choice   what was chosen, and why
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from server.farm.scheduler.choice import FIRST, STAY, TURN, WAITED, Choice, Choices, Chosen
from server.farm.scheduler.line import JobUse, Ordered, Pool, Unit, Work
from server.farm.scheduler.needs import Means, Need, misfit
from server.farm.scheduler.shares import JUMPS_EACH, Person, Project

__all__ = [
    "Ahead",
    "Choice",
    "Choices",
    "Chosen",
    "Limits",
    "Means",
    "Need",
    "Scheduler",
    "Work",
    "misfit",
    "read_limits",
]

JUMPS_OF_A_PERSON = 3.0  # first frames in a row that may come ahead of others' later ones
JUMPS_OF_A_PROJECT = 6.0
STAY_S = 30.0  # how long a node stays with its job while others who had as little wait
RARE_IN_PROJECTS = 1 / 3  # what a halving of the capable nodes counts there: a task at the usual priority
WAITED_EACH = 4  # each so many-th task of a person goes to what has waited longest
MOST_SHARES = 10_000  # projects' people that are remembered
KEPT_FITS = 10_000
KEPT_POOLS = 64  # beyond so many those in which nothing stands are let go

Key = tuple[str, int]  # job, stage


@dataclass(frozen=True, slots=True)
class Limits:
    """How many tasks may be out at once; what isn't named has no limit."""

    projects: Mapping[str, int] = field(default_factory=dict)
    users: Mapping[str, int] = field(default_factory=dict)
    users_each: int = 0  # of each user that isn't named; 0: any number
    licences: Mapping[str, int] = field(default_factory=dict)

    def of_user(self, ident: str) -> int | None:
        """The most for this user, in all projects together; None: any number."""
        return self.users.get(ident, self.users_each or None)


def read_limits(told: Mapping[str, Any]) -> tuple[Limits, list[str]]:
    """The limits that a configuration says, and what of it makes no sense and counts for nothing."""
    wrong: list[str] = []
    tables: dict[str, dict[str, int]] = {"projects": {}, "users": {}, "licences": {}}
    each = 0
    for key, value in told.items():
        if key in tables and isinstance(value, Mapping):
            for name, most in value.items():
                if isinstance(most, int) and not isinstance(most, bool) and most >= 0:
                    tables[key][str(name)] = most
                else:
                    wrong.append(f"limits: {key}: {name} must be a whole number, not {str(most)[:40]!r}")
        elif key == "users_each" and isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            each = value
        elif not key.startswith("_"):
            wrong.append(f"limits: {key} makes no sense there: it has projects, users, users_each, licences")
    return Limits(tables["projects"], tables["users"], each, tables["licences"]), wrong


@dataclass(frozen=True, slots=True)
class Ahead:
    """Whose turn comes before a piece of work's."""

    limit: str = ""  # "job", "user", "project" or "licence <name>": what keeps it from more
    most: int = 0  # what that limit is
    own: int = 0  # its owner's work that stands before it
    next: str = ""  # the job of that work which comes first
    project_in_use: int = 0
    user_in_use: int = 0
    others: tuple[tuple[str, int], ...] = ()  # other projects that wait, with the tasks they have out


class Scheduler:
    """The work that tasks are given out of. Safe for several threads. `now` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._units: dict[Key, Unit] = {}
        self._jobs: dict[str, JobUse] = {}
        self._pools: dict[Need, Pool] = {}
        self._projects: dict[str, Project] = {}
        self._people: dict[str, set[Person]] = {}  # user -> who they are in each project
        self._dirty: set[Person] = set()
        self._licences: Counter[str] = Counter()  # in use
        self._limits = Limits()
        self._fits: dict[Means, tuple[int, list[Pool]]] = {}
        self._shape = 0  # grows when a pool comes or goes
        self._nodes: Mapping[Means, int] = {}
        self._at: dict[str, tuple[Key, float]] = {}  # node -> what it works at, since when
        self._serial = 0
        self._served = 0
        self._inside = 0

    def __len__(self) -> int:
        return self._inside

    def __contains__(self, job: str) -> bool:
        found = self._jobs.get(job)
        return found is not None and any(unit.inside for unit in found.units.values())

    # -- what stands in line --------------------------------------------------------------------------

    def put(self, work: Work, ready: int, fresh: bool = False, now: float = 0.0) -> None:
        """Have work stand where it belongs, with so many tasks ready; again is harmless."""
        with self._lock:
            unit = self._units.get((work.job, work.stage))
            if unit is None:
                unit = self._new(work, now)
            elif unit.work is not work and unit.work != work:
                self._change(unit, work, now)
            unit.ready = ready
            if unit.fresh != fresh:
                unit.fresh = fresh
                if unit.inside:
                    unit.pool.put(unit)
                    self._dirty.add(unit.person)
            self._stand(unit, now)

    def drop(self, job: str, stage: int | None = None) -> None:
        """No task of it may be given out now; what is out counts on. It may not be there."""
        with self._lock:
            found = self._jobs.get(job)
            for unit in found.units.values() if found is not None else ():
                if stage is None or unit.work.stage == stage:
                    unit.ready = 0
                    self._stand(unit, 0.0)

    def forget(self, job: str, now: float = 0.0) -> None:
        """It is gone; nothing of it is out any more."""
        with self._lock:
            self.drop(job)
            found = self._jobs.pop(job, None)
            for unit in found.units.values() if found is not None else ():
                self._shift(unit, -unit.in_use, now)
                del self._units[job, unit.work.stage]

    def took(self, job: str, stage: int, now: float) -> None:
        """A task is out."""
        self._count(job, stage, 1, now)

    def gave_back(self, job: str, stage: int, now: float) -> None:
        """A task is out no more: done, failed or lost."""
        self._count(job, stage, -1, now)

    def limit(self, limits: Limits) -> None:
        """These limits count from now on."""
        with self._lock:
            if limits == self._limits:
                return
            self._limits = limits
            for people in self._people.values():
                self._dirty |= people

    def meet(self, nodes: Mapping[Means, int]) -> None:
        """These nodes are there, so many of each kind: what few of them can do is rare."""
        with self._lock:
            if nodes != self._nodes:
                self._nodes = dict(nodes)
                for pool in self._pools.values():
                    self._rate(pool)

    def jobs(self) -> Iterator[str]:
        """All ids, by their projects' and their own priority and age."""
        with self._lock:
            standing = [unit.work for unit in self._units.values() if unit.inside]
        standing.sort(key=lambda work: (-work.weight, *work.rank))
        return iter(dict.fromkeys(work.job for work in standing))

    def waiting(self) -> list[tuple[Need, str]]:
        """What stands in line: a need and a job each."""
        with self._lock:
            return [(unit.work.need, unit.work.job) for unit in self._units.values() if unit.inside]

    def next_up(self, count: int = 3) -> list[str]:
        """The jobs that come next, each once, were there a node that can do everything."""
        with self._lock:
            self._arrange()
            pools = [pool for pool in self._pools.values() if pool.projects and self._licensed(pool.need)]
            found: list[str] = []
            while len(found) < count:
                choice = self._first_frame(pools, _among(found)) or self._in_turn(pools, _among(found))
                if choice is None:
                    break
                found.append(choice.job)
            return found

    # -- choosing -------------------------------------------------------------------------------------

    def choose(
        self, means: Means, now: float, refused: Callable[[str, int], bool] | None = None, node: str = ""
    ) -> Choice | None:
        """The work that a node with these means gets its next task from; None where there is none.

        `refused` passes over work, by job and stage. Only `take` changes anything by a choice.
        """
        with self._lock:
            self._arrange()
            pools = self._open_pools(means)
            if not pools:
                return None
            return (
                self._first_frame(pools, refused)
                or self._stay(pools, now, refused, node)
                or self._in_turn(pools, refused)
            )

    def take(self, choice: Choice, now: float, node: str = "") -> None:
        """A task of this choice is about to be given out: it counts, until `untake`."""
        with self._lock:
            unit = self._units.get((choice.job, choice.stage))
            if unit is None:
                return
            person = unit.person
            if choice.kind == FIRST:
                person.jumps -= 1
                person.project.jumps -= 1
            else:
                for share in (person, person.project):
                    share.jumps = min(share.jumps + JUMPS_EACH, share.most_jumps)
                if choice.kind != STAY:
                    person.turns += 1
            self._served += 1
            unit.served = self._served
            unit.reserved += 1
            if node and choice.kind != FIRST:
                self._begin(node, (choice.job, choice.stage), now)
            self._shift(unit, 1, now)
            if unit.inside:
                unit.pool.put(unit)
            self._stand(unit, now)

    def untake(self, choice: Choice, now: float) -> None:
        """It was given out, which `took` counts, or it wasn't."""
        with self._lock:
            unit = self._units.get((choice.job, choice.stage))
            if unit is None or not unit.reserved:
                return
            unit.reserved -= 1
            self._shift(unit, -1, now)
            if unit.inside:
                unit.pool.put(unit)
            self._stand(unit, now)

    def capable(self, need: Need) -> int:
        """How many of the nodes can serve this need."""
        return sum(count for means, count in self._nodes.items() if not misfit(need, means))

    # -- questions ------------------------------------------------------------------------------------

    def ahead(self, job: str, stage: int = 0) -> Ahead:
        """What comes before this work."""
        with self._lock:
            self._arrange()
            unit = self._units.get((job, stage))
            if unit is None:
                return Ahead()
            person, project, pool = unit.person, unit.person.project, unit.pool
            kind, most = self._limit_of(unit)
            ahead = Ahead(kind, most, project_in_use=project.in_use, user_in_use=self._of_user(person.ident))
            bucket = pool.buckets.get(person)
            if kind or bucket is None or unit not in bucket.ranked:
                return ahead
            first = bucket.ranked.first()
            others = [(entry[-1].ident, entry[-1].in_use) for entry in itertools.islice(pool.projects, 20)]
            return replace(
                ahead,
                own=bucket.ranked.before(unit),
                next="" if first is unit else first.work.job,
                others=tuple(other for other in others if other[0] != project.ident),
            )

    def _limit_of(self, unit: Unit) -> tuple[str, int]:
        """Which limit keeps this from being given out, and what it is."""
        work, person, project = unit.work, unit.person, unit.person.project
        if work.most and unit.job.in_use >= work.most:
            return "job", work.most
        for name in sorted(work.need.licences):
            most = self._limits.licences.get(name)
            if most is not None and self._licences[name] >= most:
                return f"licence {name}", most
        most = self._limits.of_user(person.ident)
        if most is not None and self._of_user(person.ident) >= most:
            return "user", most
        most = self._limits.projects.get(project.ident)
        if most is not None and project.in_use >= most:
            return "project", most
        return "", 0

    def in_use(self, project: str, user: str | None = None) -> int:
        """Tasks that are out, of a project or of one person in it."""
        found = self._projects.get(project)
        if found is None:
            return 0
        if user is None:
            return found.in_use
        person = found.people.get(user)
        return person.in_use if person is not None else 0

    # -- choosing, step by step -----------------------------------------------------------------------

    def _open_pools(self, means: Means) -> list[Pool]:
        """Where this node may take from: what it can do, of which the licences aren't all in use."""
        shape, pools = self._fits.get(means, (-1, []))
        if shape != self._shape:
            pools = [pool for need, pool in self._pools.items() if not misfit(need, means)]
            if len(self._fits) > KEPT_FITS:
                self._fits.clear()
            self._fits[means] = (self._shape, pools)
        return [pool for pool in pools if pool.projects and self._licensed(pool.need)]

    def _licensed(self, need: Need) -> bool:
        licences = self._limits.licences
        return not need.licences or all(
            self._licences[name] < licences[name] for name in need.licences if name in licences
        )

    def _first_frame(self, pools: list[Pool], refused: Callable[[str, int], bool] | None) -> Choice | None:
        best: Unit | None = None
        for pool in pools:
            for entry in pool.fresh:
                person: Person = entry[-1]
                if person.project.jumps < 1 or person.project not in pool.projects:
                    continue
                unit = _first(pool.buckets[person].fresh, refused)
                if unit is not None:
                    if best is None or unit.work.rank < best.work.rank:
                        best = unit
                    break
        return Choice(best.work, FIRST) if best is not None else None

    def _stay(
        self, pools: list[Pool], now: float, refused: Callable[[str, int], bool] | None, node: str
    ) -> Choice | None:
        """What the node was at, where nobody has less and nothing of its owner is more urgent."""
        key, since = self._at.get(node, (None, 0.0))
        unit = self._units.get(key) if key is not None else None
        if unit is None or now - since > STAY_S or not unit.inside or unit.pool not in pools:
            return None
        if refused is not None and refused(unit.work.job, unit.work.stage):
            return None
        person, project, pool = unit.person, unit.person.project, unit.pool
        if project not in pool.projects or person not in pool.people[project]:
            return None
        for other in pools:
            favour = other.rarity - pool.rarity
            least = other.projects.first()
            if least is not None and least.has - favour * RARE_IN_PROJECTS < project.has:
                return None
            people = other.people.get(project)
            if people:
                if people.first().has - favour < person.has:
                    return None
                bucket = other.buckets.get(person)
                mine = bucket.ranked.first() if bucket is not None else None
                if mine is not None and (favour > 0 or mine.work.priority > unit.work.priority):
                    return None
        return Choice(unit.work, STAY)

    def _in_turn(self, pools: list[Pool], refused: Callable[[str, int], bool] | None) -> Choice | None:
        for project in _merged([(pool.projects, pool.rarity * RARE_IN_PROJECTS) for pool in pools]):
            where = [pool for pool in pools if project in pool.projects]
            people = [(pool.people[project], pool.rarity) for pool in where]
            for person in _merged(people):
                waited = person.turns % WAITED_EACH == WAITED_EACH - 1
                unit = self._of_person(person, where, waited, refused)
                if unit is not None:
                    return self._explain(unit, pools, where, waited)
        return None

    def _of_person(
        self, person: Person, pools: list[Pool], waited: bool, refused: Callable[[str, int], bool] | None
    ) -> Unit | None:
        best: Unit | None = None
        best_key: tuple[Any, ...] = ()
        for pool in pools:
            bucket = pool.buckets.get(person)
            if bucket is None:
                continue
            unit = _first(bucket.waited if waited else bucket.ranked, refused)
            if unit is not None:
                key = (-pool.rarity, *((unit.served,) if waited else ()), *unit.work.rank)
                if best is None or key < best_key:
                    best, best_key = unit, key
        return best

    def _explain(self, unit: Unit, pools: list[Pool], where: list[Pool], waited: bool) -> Choice:
        """The facts that stood when it was chosen; the words come when somebody asks."""
        person, project = unit.person, unit.person.project
        rival = _next(((pool.projects, pool.rarity * RARE_IN_PROJECTS) for pool in pools), project)
        colleague = _next(((pool.people[project], pool.rarity) for pool in where), person)
        standing = sum(len(pool.buckets[person].ranked) for pool in where if person in pool.buckets)
        rarity = unit.pool.rarity if any(pool.rarity < unit.pool.rarity for pool in pools) else 0
        return Choice(
            unit.work,
            WAITED if waited else TURN,
            project.in_use,
            rival.ident if rival is not None else "",
            rival.in_use if rival is not None else 0,
            rival.weight if rival is not None else 1.0,
            person.in_use,
            colleague.ident if colleague is not None else "",
            colleague.in_use if colleague is not None else 0,
            standing - 1,
            rarity,
        )

    # -- keeping order --------------------------------------------------------------------------------

    def _new(self, work: Work, now: float) -> Unit:
        job = self._jobs.get(work.job)
        if job is None:
            job = self._jobs[work.job] = JobUse()
        unit = Unit(work, self._person(work, now), job, self._pool(work.need))
        job.units[work.stage] = unit
        self._units[work.job, work.stage] = unit
        return unit

    def _change(self, unit: Unit, work: Work, now: float) -> None:
        """The same stage of the same job, but its priority, its project's or its need is another."""
        if unit.inside:
            self._out(unit)
        unit.pool = self._pool(work.need)
        out = unit.in_use
        self._shift(unit, -out, now)
        unit.work = work
        unit.person = self._person(work, now)
        self._shift(unit, out, now)

    def _person(self, work: Work, now: float) -> Person:
        project = self._projects.get(work.project)
        if project is None:
            self._forget_some()
            project = Project(work.project, self._next_serial(), work.weight, JUMPS_OF_A_PROJECT, now)
            self._projects[work.project] = project
        elif project.weight != work.weight:
            project.weigh(work.weight, now)
            self._dirty.update(project.people.values())
        person = project.people.get(work.user)
        if person is None:
            person = Person(project, work.user, self._next_serial(), JUMPS_OF_A_PERSON, now)
            project.people[work.user] = person
            self._people.setdefault(work.user, set()).add(person)
        return person

    def _pool(self, need: Need) -> Pool:
        pool = self._pools.get(need)
        if pool is None:
            if len(self._pools) >= KEPT_POOLS:
                self._pools = {need: pool for need, pool in self._pools.items() if pool.buckets}
            pool = self._pools[need] = Pool(need)
            self._rate(pool)
            self._shape += 1
        return pool

    def _rate(self, pool: Pool) -> None:
        """How rare are the nodes that can do what stands in this pool?"""
        total = sum(self._nodes.values())
        pool.capable = self.capable(pool.need)
        pool.rarity = (total // pool.capable).bit_length() - 1 if pool.capable else 0

    def _stand(self, unit: Unit, now: float) -> None:
        """Have it stand in its pool if a task of it may be given out, and only then."""
        most = unit.work.most
        may = unit.ready > unit.reserved and not (most and unit.job.in_use >= most)
        if may == unit.inside:
            return
        if not may:
            self._out(unit)
            return
        person = unit.person
        if not person.active:
            self._come_back(person, person.project.people.values(), now)
        if not person.project.active:
            self._come_back(person.project, self._projects.values(), now)
        unit.pool = self._pool(unit.work.need)
        unit.pool.put(unit)
        self._inside += 1
        self._dirty.add(person)

    def _out(self, unit: Unit) -> None:
        unit.pool.drop(unit)
        self._inside -= 1
        self._dirty.add(unit.person)

    def _come_back(self, share: Project | Person, peers: Iterable[Project | Person], now: float) -> None:
        means = [peer.mean_at(now) for peer in peers if peer is not share and peer.active]
        if means:
            share.at_least(min(means), now)

    def _count(self, job: str, stage: int, by: int, now: float) -> None:
        with self._lock:
            unit = self._units.get((job, stage))
            if unit is not None:
                self._shift(unit, by, now)

    def _shift(self, unit: Unit, by: int, now: float) -> None:
        """So many more tasks of this are out."""
        if not by:
            return
        unit.in_use += by
        unit.job.in_use += by
        person = unit.person
        person.shift(by, by * unit.work.load, now)
        person.project.shift(by, by, now)
        for name in unit.work.need.licences:
            self._licences[name] += by
        self._dirty.add(person)
        if self._limits.of_user(person.ident) is not None:
            self._dirty |= self._people[person.ident]
        if unit.work.most:
            for other in unit.job.units.values():
                self._stand(other, now)

    def _arrange(self) -> None:
        """Put everybody whose share changed where they belong."""
        if not self._dirty:
            return
        projects: dict[Project, None] = {}
        for person in self._dirty:
            most = self._limits.of_user(person.ident)
            admitted = most is None or self._of_user(person.ident) < most
            for pool in tuple(person.pools):
                pool.arrange(person, admitted)
            projects[person.project] = None
        self._dirty.clear()
        for project in projects:
            most = self._limits.projects.get(project.ident)
            admitted = most is None or project.in_use < most
            for pool in tuple(project.pools):
                pool.arrange_project(project, admitted)

    def _of_user(self, ident: str) -> int:
        return sum(person.in_use for person in self._people.get(ident, ()))

    def _begin(self, node: str, key: Key, now: float) -> None:
        before, since = self._at.get(node, (None, 0.0))
        if before != key or now - since > STAY_S:
            self._at.pop(node, None)
            self._at[node] = (key, now)
            if len(self._at) > MOST_SHARES:
                del self._at[next(iter(self._at))]

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def _forget_some(self) -> None:
        """Projects that have nothing here any more: there may be many in the course of years."""
        if len(self._projects) < MOST_SHARES:
            return
        known = {unit.person.project for unit in self._units.values()}
        for project in [p for p in self._projects.values() if p not in known]:
            del self._projects[project.ident]
            for person in project.people.values():
                self._people[person.ident].discard(person)


def _among(jobs: list[str]) -> Callable[[str, int], bool]:
    return lambda job, stage: job in jobs


def _first(line: Ordered[Unit], refused: Callable[[str, int], bool] | None) -> Unit | None:
    if refused is None:
        first: Unit | None = line.first()
        return first
    for entry in line:
        unit: Unit = entry[-1]
        if not refused(unit.work.job, unit.work.stage):
            return unit
    return None


def _merged(lines: Sequence[tuple[Ordered[Any], float]]) -> Iterator[Any]:
    """Who stands in these lines, each once, in the order of what they have. In the line of what is rare one
    comes before those elsewhere who have as many tasks less as the rarity says."""
    if len(lines) == 1:
        return (entry[-1] for entry in lines[0][0])
    moved = [((entry[0] - rarity, *entry[1:]) for entry in line) for line, rarity in lines]
    return iter(dict.fromkeys(entry[-1] for entry in heapq.merge(*moved)))


def _next(lines: Iterable[tuple[Ordered[Any], float]], chosen: Any) -> Any:
    """Who would have been next but for the chosen one."""
    best, best_key = None, (0.0,)
    for line, rarity in lines:
        for entry in line:
            if entry[-1] is not chosen:
                if best is None or entry[0] - rarity < best_key[0]:
                    best, best_key = entry[-1], (entry[0] - rarity,)
                break
    return best
