"""What the scheduler knows of work, of who shares, and of what is out, kept in order while it changes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping

from server.farm.scheduler.limits import Limits
from server.farm.scheduler.line import JobUse, Pool, Unit, Work
from server.farm.scheduler.needs import Means, Need, misfit
from server.farm.scheduler.shares import Person, Project, look_back

JUMPS_OF_A_PERSON = 3.0  # first frames in a row that may come ahead of others' later ones
JUMPS_OF_A_PROJECT = 6.0
MOST_SHARES = 10_000  # projects that are remembered
LOOK_BACK_S = 5.0  # how often it is seen who had how much lately
KEPT_POOLS = 64  # beyond so many those in which nothing stands are let go

Key = tuple[str, int]  # job, stage


class Books:
    """Safe for several threads. `now` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._units: dict[Key, Unit] = {}
        self._jobs: dict[str, JobUse] = {}
        self._pools: dict[Need, Pool] = {}
        self._projects: dict[str, Project] = {}
        self._people: dict[str, set[Person]] = {}  # user -> who they are in each project
        self._dirty: set[Person] = set()  # whose place isn't right any more
        self._expected: set[Unit] = set()  # of which something is reserved or about to end
        self._licences: Counter[str] = Counter()  # in use
        self._limits = Limits()
        self._shape = 0  # grows when a pool comes or goes
        self._nodes: Mapping[Means, int] = {}
        self._serial = 0
        self._inside = 0
        self._looked_back = -LOOK_BACK_S

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
                self._freshen(unit)
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
                self._expected.discard(unit)

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

    # -- what is out ----------------------------------------------------------------------------------

    def took(self, job: str, stage: int, now: float) -> None:
        """A task is out. One that was reserved counts as such already."""
        with self._lock:
            unit = self._units.get((job, stage))
            if unit is None:
                return
            if unit.reserved:
                unit.reserved -= 1
                unit.ready -= 1
                unit.fresh = False
                self._freshen(unit)
            else:
                self._shift(unit, 1, now)

    def gave_back(self, job: str, stage: int, now: float) -> None:
        """A task is out no more: done, failed or lost."""
        with self._lock:
            unit = self._units.get((job, stage))
            if unit is None:
                return
            if unit.ending:
                unit.ending -= 1
            else:
                self._shift(unit, -1, now)

    def expect_end(self, job: str, stage: int, now: float) -> None:
        """A task is about to be over: it counts no more, unless `settle` finds that it is out still."""
        with self._lock:
            unit = self._units.get((job, stage))
            if unit is not None:
                unit.ending += 1
                self._expected.add(unit)
                self._shift(unit, -1, now)

    def settle(self, now: float) -> None:
        """What was reserved and not taken, or expected to end and didn't, counts as it is."""
        with self._lock:
            for unit in self._expected:
                self._shift(unit, unit.ending - unit.reserved, now)
                unit.ending = unit.reserved = 0
                self._freshen(unit)
                self._stand(unit, now)
            self._expected.clear()

    # -- keeping order --------------------------------------------------------------------------------

    def _new(self, work: Work, now: float) -> Unit:
        job = self._jobs.get(work.job)
        if job is None:
            job = self._jobs[work.job] = JobUse()
        unit = Unit(work, self._person(work, now), job, self._pool(work.need), now)
        job.units[work.stage] = unit
        self._units[work.job, work.stage] = unit
        return unit

    def _change(self, unit: Unit, work: Work, now: float) -> None:
        """The same stage of the same job, but its priority, its project's or its need is another."""
        unit.ready = 0  # it stands nowhere meanwhile
        if unit.inside:
            self._out(unit)
        out = unit.in_use
        self._shift(unit, -out, now)
        unit.change(work, self._person(work, now), self._pool(work.need))
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
        pool.capable = sum(count for means, count in self._nodes.items() if not misfit(pool.need, means))
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
            _come_back(person, person.project.people.values(), now)
        if not person.project.active:
            _come_back(person.project, self._projects.values(), now)
        unit.pool = self._pool(unit.work.need)
        unit.pool.put(unit)
        self._inside += 1
        self._dirty.add(person)

    def _out(self, unit: Unit) -> None:
        unit.pool.drop(unit)
        self._inside -= 1
        self._dirty.add(unit.person)

    def _freshen(self, unit: Unit) -> None:
        """Its first frame may be in the line of first frames, or no more."""
        if unit.inside and unit.pool.buckets[unit.person].freshen(unit):
            self._dirty.add(unit.person)

    def _shift(self, unit: Unit, by: int, now: float) -> None:
        """So many more tasks of this are out."""
        if not by:
            return
        unit.in_use += by
        unit.job.in_use += by
        person = unit.person
        person.shift(by, by * unit.load, now)
        person.project.shift(by, by, now)
        self._dirty.add(person)
        for name in unit.work.need.licences:
            self._licences[name] += by
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
            order = person.order()
            for pool in tuple(person.pools):
                pool.arrange(person, order, admitted)
            projects[person.project] = None
        self._dirty.clear()
        for project in projects:
            most = self._limits.projects.get(project.ident)
            admitted = most is None or project.in_use < most
            project_order = project.order()
            for pool in tuple(project.pools):
                pool.arrange_project(project, project_order, admitted)

    def _look_back(self, now: float) -> None:
        """Now and then: who had more than the others lately, and who less?"""
        if now - self._looked_back < LOOK_BACK_S:
            return
        self._looked_back = now
        changed = {id(share) for share in look_back(self._projects.values(), now)}
        for project in self._projects.values():
            if project.active:
                people = look_back(project.people.values(), now)
                self._dirty.update(person for person in people if isinstance(person, Person))
                if id(project) in changed:
                    self._dirty.update(person for person in project.people.values() if person.pools)

    def _of_user(self, ident: str) -> int:
        return sum(person.in_use for person in self._people.get(ident, ()))

    def _licensed(self, need: Need) -> bool:
        licences = self._limits.licences
        return not need.licences or all(
            self._licences[name] < licences[name] for name in need.licences if name in licences
        )

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


def _come_back(share: Project | Person, peers: Iterable[Project | Person], now: float) -> None:
    """It has work again, and no claim on what the others got meanwhile."""
    means = [peer.mean_at(now) for peer in peers if peer is not share and peer.active]
    if means:
        share.at_least(min(means), now)
