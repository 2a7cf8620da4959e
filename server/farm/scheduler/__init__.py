"""Which work a node gets its next task from, and why. Pure: no files, no clock, nothing of jobs' insides.

Work (a stage of a job) stands in a pool for its kind of need. For a node that asks, in this order:

1. The first frame of a job of which nothing was ever begun, by priority and age: breakage shows early. Each
   project and person has a few such jumps, and earns new ones by tasks that come in turn.
2. The project with the fewest tasks out for its priority; of those with as few, who had fewer lately.
3. In it, the person with the fewest tasks out, a task of a job of priority 4 counting half, of 2 twice.
4. Of that person's work what few nodes can do, then by priority, then by age; each fourth time what has
   waited longest for a node, if that is long enough to be felt.

A node stays with its job for a while where that is as fair. What limits forbid doesn't stand in the line.

    needs    what work asks of a node, and whether a node has it
    limits   how many tasks may be out at once
    shares   how much somebody has, and had lately
    line     pools, and what stands in them in order
    books    all of this, kept right while it changes
    choice   what was chosen, and why
    turns    whose turn it is
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from server.farm.scheduler.books import Books, Key
from server.farm.scheduler.choice import FIRST, STAY, Choice, Choices, Chosen
from server.farm.scheduler.limits import Limits, read_limits
from server.farm.scheduler.line import Pool, Unit, Work
from server.farm.scheduler.needs import Means, Need, misfit
from server.farm.scheduler.shares import JUMPS_EACH
from server.farm.scheduler.turns import Refused, first_frame, in_turn, stay

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

STAY_S = 30.0  # how long a node stays with its job while others who had as little wait
KEPT_NODES = 20_000  # of which it is known what they are at
KEPT_FITS = 10_000


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


class Scheduler(Books):
    """The work that tasks are given out of."""

    def __init__(self) -> None:
        super().__init__()
        self._fits: dict[int, tuple[Means, int, list[Pool]]] = {}  # by the object: nodes keep theirs
        self._at: dict[str, tuple[Key, float]] = {}  # node -> what it works at, since when
        self._served = 0

    # -- choosing -------------------------------------------------------------------------------------

    def choose(
        self, means: Means, now: float, refused: Refused | None = None, node: str = ""
    ) -> Choice | None:
        """The work that a node with these means gets its next task from; None where there is none.

        `refused` passes over work, by job and stage. Only `take` changes anything by a choice.
        """
        with self._lock:
            self._look_back(now)
            self._arrange()
            pools = self._open_pools(means)
            if not pools:
                return None
            found = first_frame(pools, refused)
            if found is None and node in self._at:
                key, since = self._at[node]
                unit = self._units.get(key)
                if unit is not None and now - since <= STAY_S:
                    found = stay(pools, unit, refused)
            return found or in_turn(pools, refused, now)

    def take(self, choice: Choice, now: float, node: str = "") -> None:
        """A task of this choice is about to be given out: it counts. `took` says that it was, `settle` that
        all was said."""
        with self._lock:
            unit = self._units.get(choice.key)
            if unit is None:
                return
            person = unit.person
            if choice.kind == FIRST:
                person.jumps -= 1
                person.project.jumps -= 1
            else:
                person.earn(JUMPS_EACH)
                person.project.earn(JUMPS_EACH)
                if choice.kind != STAY:
                    person.turns += 1
                if node:
                    self._begin(node, choice.key, now)
            self._served += 1
            unit.served = self._served
            unit.since = now
            unit.reserved += 1
            self._expected.add(unit)
            self._shift(unit, 1, now)
            if unit.inside:
                unit.pool.serve(unit)
            self._stand(unit, now)

    def _open_pools(self, means: Means) -> list[Pool]:
        """Where this node may take from: what it can do, of which the licences aren't all in use."""
        known, shape, pools = self._fits.get(id(means), (None, -1, []))
        if shape != self._shape or known is not means:
            pools = [pool for need, pool in self._pools.items() if not misfit(need, means)]
            if len(self._fits) > KEPT_FITS:
                self._fits.clear()
            self._fits[id(means)] = (means, self._shape, pools)
        return [pool for pool in pools if pool.projects and self._licensed(pool.need)]

    def _begin(self, node: str, key: Key, now: float) -> None:
        before, since = self._at.get(node, (None, 0.0))
        if before != key or now - since > STAY_S:
            self._at.pop(node, None)
            self._at[node] = (key, now)
            if len(self._at) > KEPT_NODES:
                del self._at[next(iter(self._at))]

    # -- questions ------------------------------------------------------------------------------------

    def jobs(self) -> Iterator[str]:
        """All ids, by their projects' and their own priority and age."""
        with self._lock:
            standing = self._standing()
        return iter(dict.fromkeys(unit.work.job for unit in standing))

    def waiting(self) -> list[tuple[Need, str]]:
        """What stands in line: a need and a job each."""
        with self._lock:
            return [(unit.work.need, unit.work.job) for unit in self._units.values() if unit.inside]

    def allowed(self) -> dict[Need, int]:
        """How many of the tasks that stand in line could be out too, were there nodes for all: what limits
        forbid isn't counted. Each need may use up a limit for itself, as it may be the only one served."""
        with self._lock:
            counts: dict[Need, int] = {}
            left: dict[tuple[object, str, str], int] = {}
            for unit in self._standing():
                need = unit.work.need
                count = self._within(unit, left, need)
                if count > 0:
                    counts[need] = counts.get(need, 0) + count
            return counts

    def lined(self) -> list[tuple[Work, int]]:
        """What stands in line, what comes first first, and how many of its tasks could be out too, were there
        nodes for all: what limits forbid isn't counted."""
        with self._lock:
            left: dict[tuple[object, str, str], int] = {}
            return [(unit.work, max(0, self._within(unit, left))) for unit in self._standing()]

    def _standing(self) -> list[Unit]:
        standing = [unit for unit in self._units.values() if unit.inside]
        return sorted(standing, key=lambda unit: (-unit.work.weight, unit.rank))

    def _within(self, unit: Unit, left: dict[tuple[object, str, str], int], each: object = None) -> int:
        """How many of its tasks limits let be out, of which so much is left; what it takes is taken away."""
        count, rooms = unit.ready - unit.reserved, self._rooms(unit)
        for kind, name, room in rooms:
            count = min(count, left.setdefault((each, kind, name), room))
        if count > 0:
            for kind, name, _ in rooms:
                left[each, kind, name] -= count
        return count

    def next_up(self, count: int = 3) -> list[str]:
        """The jobs that come next, each once, were there a node that can do everything."""
        with self._lock:
            self._arrange()
            pools = [pool for pool in self._pools.values() if pool.projects and self._licensed(pool.need)]
            found: list[str] = []
            while len(found) < count:
                choice = first_frame(pools, _among(found)) or in_turn(pools, _among(found), -math.inf)
                if choice is None:
                    break
                found.append(choice.job)
            return found

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
            first: Unit = bucket.ranked.first()
            others = [(entry[-1].ident, entry[-1].in_use) for entry in itertools.islice(pool.projects, 20)]
            return replace(
                ahead,
                own=bucket.ranked.before(unit),
                next="" if first is unit else first.work.job,
                others=tuple(other for other in others if other[0] != project.ident),
            )

    def in_use(self, project: str, user: str | None = None) -> int:
        """Tasks that are out, of a project or of one person in it."""
        found = self._projects.get(project)
        if found is None:
            return 0
        if user is None:
            return found.in_use
        person = found.people.get(user)
        return person.in_use if person is not None else 0

    def _rooms(self, unit: Unit) -> list[tuple[str, str, int]]:
        """The limits that this counts for, and how many tasks more each lets be out."""
        work, person, project = unit.work, unit.person, unit.person.project
        found: list[tuple[str, str, int]] = []
        if work.most:
            found.append(("job", work.job, work.most - unit.job.in_use))
        for name in work.need.licences:
            most = self._limits.licences.get(name)
            if most is not None:
                found.append(("licence", name, most - self._licences[name]))
        most = self._limits.of_user(person.ident)
        if most is not None:
            found.append(("user", person.ident, most - self._of_user(person.ident)))
        most = self._limits.projects.get(project.ident)
        if most is not None:
            found.append(("project", project.ident, most - project.in_use))
        return found

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


def _among(jobs: list[str]) -> Refused:
    return lambda job, stage: job in jobs
