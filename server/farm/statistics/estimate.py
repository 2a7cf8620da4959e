"""When each job of the present queue will be done: a range of moments. Pure; no files, no clock.

The queue is played through as a fluid: computers that can do the same work are one class, whose slots go
to projects by weight, to people within a project evenly, and to one person's jobs mostly by priority and
age, as far as each can use them. Steps grow with the time played, so that a thousand jobs on five hundred
computers cost a few hundred rounds at most. Played several times, with each frame at its shortest, likely
and longest; what isn't known (no frame done yet, no computer) widens the range or leaves it out.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

HORIZON_S = 400 * 86_400.0  # what ends later isn't told
STEP = 0.05  # of the time played so far: what ends within one step doesn't free its slots before the next
LEAST_STEP_S = 2.0
DOUBT = 0.05  # relative, beyond what the frames' own spread says: computers come and go
SURE = 1.64  # standard deviations on each side: nine in ten ends lie within
ROUNDS = 5
WAITED = 0.25  # at most so much of a person's slots goes to what has waited longest, whatever its place
GAPS_S = (0.0, 0.1, 0.3)  # between a slot's one task and the next
LAST_WORD_S = 3.0  # until the last frame's computer has said so
LATER = 12  # jobs of a person among which that part goes round
PRIOR_TASKS = 3.0  # a computer's pace counts as everybody's until it has done a few


@dataclass(frozen=True, slots=True)
class Computer:
    """A node that would take work now."""

    name: str
    slots: int
    serves: frozenset[int]  # the needs, by number, that it can serve
    pace: float = 1.0  # its time for a frame, over what others need for the same


@dataclass(frozen=True, slots=True)
class Stage:
    """Tasks of one kind of a job, done in any order, after those of the stage before."""

    waiting: int
    running: tuple[float, ...]  # of the tasks that are out: the part still to be done, 0 to 1
    seconds: float | None  # a task on a usual computer; None: nobody knows
    spread: float = 0.5  # standard deviation of one task, relative
    known: int = 0  # tasks of it that were measured
    need: int = 0  # what a computer must serve, by number

    @property
    def left(self) -> float:
        return self.waiting + sum(self.running)

    @property
    def tasks(self) -> int:
        return self.waiting + len(self.running)


@dataclass(frozen=True, slots=True)
class Work:
    """A job that isn't over and isn't paused."""

    id: str
    project: str
    user: str
    stages: tuple[Stage, ...]
    priority: int = 3
    created: str = ""
    weight: float = 1.0  # of its project
    most: int = 0  # tasks of it at once; 0: no limit
    begins: float = 0.0  # seconds from now, not before
    after: tuple[str, ...] = ()  # jobs that must be done first


@dataclass(frozen=True, slots=True)
class Ends:
    """Seconds from now."""

    earliest: float
    likely: float
    latest: float


def ends(jobs: Sequence[Work], computers: Iterable[Computer]) -> dict[str, Ends]:
    """The end of every job that one can be told for."""
    classes = _classes(computers)
    served = frozenset().union(*(one.serves for one in classes)) if classes else frozenset()
    usable = [work for work in jobs if all(stage.need in served for stage in work.stages if stage.tasks)]
    likely = _Play(usable, classes, 0, WAITED / 2).run()
    # Who of one person's jobs comes first is the one thing that moves an end by much: both ways are played.
    short = _each(min, *(_Play(usable, classes, -1, part).run() for part in (0.0, WAITED)))
    long = _each(max, *(_Play(usable, classes, 1, part).run() for part in (0.0, WAITED)))
    found = {}
    for work in usable:
        middle = likely.get(work.id, math.inf)
        if middle < HORIZON_S and all(stage.seconds is not None for stage in work.stages):
            last = min(long.get(work.id, HORIZON_S) + LAST_WORD_S, HORIZON_S)
            found[work.id] = Ends(*sorted((short.get(work.id, middle), middle, last)))
    return found


def _each(
    choose: Callable[[float, float], float], one: Mapping[str, float], other: Mapping[str, float]
) -> dict[str, float]:
    """Of two playings' ends the sooner, or the later; what only one knows isn't told."""
    return {job: choose(one[job], other[job]) for job in one if job in other}


def paces(jobs: Iterable[Mapping[str, Sequence[float]]]) -> dict[str, float]:
    """Each computer's time for a frame over everybody's, from jobs that several had a part in.

    `jobs`: of each, computer -> (frames done, seconds in all). Frames of one job are alike; what differs
    between jobs says nothing of the computers.
    """
    parts: list[list[tuple[str, float, float]]] = []  # computer, frames, logarithm of their mean
    for by_node in jobs:
        done = [(name, float(sums[0]), float(sums[1])) for name, sums in by_node.items() if sums[0] > 0]
        if len(done) > 1:
            parts.append([(name, count, math.log(max(time / count, 1e-3))) for name, count, time in done])
    found: dict[str, float] = dict.fromkeys((name for part in parts for name, _, _ in part), 0.0)
    for _ in range(ROUNDS):  # what a job's frames take, given the computers; then the other way round
        sums = dict.fromkeys(found, (0.0, 0.0))
        for part in parts:
            usual = sum(n * (mean - found[name]) for name, n, mean in part) / sum(n for _, n, _ in part)
            for name, n, mean in part:
                weight, total = sums[name]
                sums[name] = (weight + n, total + n * (mean - usual))
        found = {name: total / (weight + PRIOR_TASKS) for name, (weight, total) in sums.items()}
    return {name: math.exp(value) for name, value in found.items()}


@dataclass(slots=True)
class _Class:
    """Computers that serve the same needs."""

    serves: frozenset[int]
    slots: float = 0.0
    rate: float = 0.0  # of usual slots

    @property
    def speed(self) -> float:
        return self.rate / self.slots


def _classes(computers: Iterable[Computer]) -> list[_Class]:
    found: dict[frozenset[int], _Class] = {}
    for one in computers:
        if one.slots > 0 and one.serves:
            group = found.setdefault(one.serves, _Class(one.serves))
            group.slots += one.slots
            group.rate += one.slots / min(max(one.pace, 0.02), 50.0)
    return list(found.values())


def _lean(stage: Stage, lean: int) -> float:
    """A task's seconds at the short, likely or long end of what is believed."""
    seconds = 60.0 if stage.seconds is None else max(stage.seconds, 1e-3)
    seconds += GAPS_S[lean + 1]
    if not lean:
        return seconds
    doubt = math.sqrt(
        DOUBT**2
        + (SURE * stage.spread) ** 2 / max(1.0, stage.known)
        + (SURE * stage.spread) ** 2 / max(1.0, stage.tasks)
    )
    return seconds * (1 + doubt) if lean > 0 else seconds / (1 + doubt)


@dataclass(slots=True)
class _Run:
    """A job while it is played."""

    work: Work
    lean: int
    stage: int = -1
    left: float = 0.0  # tasks
    need: int = 0
    width: float = 0.0  # tasks that can be out at once
    seconds: float = 0.0
    tail: float = 0.0  # what the last round takes beyond the fluid's end
    share: float = 0.0  # usual slots that it has now
    slots: float = 0.0
    order: tuple[int, str, str] = field(default=(0, "", ""))

    def __post_init__(self) -> None:
        self.order = (-self.work.priority, self.work.created, self.work.id)
        self.next_stage()

    def next_stage(self) -> bool:
        """Go on to the next stage that has anything to do; False where there is none."""
        for at in range(self.stage + 1, len(self.work.stages)):
            stage = self.work.stages[at]
            if stage.tasks:
                self.stage, self.left, self.seconds = at, stage.left, _lean(stage, self.lean)
                self.need = stage.need
                self.width = float(min(stage.tasks, self.work.most or stage.tasks))
                return True
        self.left = 0.0
        return False


class _Play:
    """One playing of the queue."""

    def __init__(self, jobs: Sequence[Work], classes: list[_Class], lean: int, waited: float) -> None:
        self._classes = sorted(classes, key=lambda one: len(one.serves))  # the choosy first
        self._waiting = [_Run(work, lean) for work in jobs]
        self._teams: dict[str, dict[str, list[_Run]]] = {}  # project -> user -> by priority and age
        self._weights: dict[str, float] = {}
        self._busy: dict[str, _Run] = {}  # those that have slots
        self._ended: dict[str, float] = {}
        self._ids = {work.id for work in jobs}
        self._waited = waited
        self._now = 0.0

    def run(self) -> dict[str, float]:
        """Job id -> seconds until its end; those beyond the horizon or never begun are missing."""
        while self._now < HORIZON_S:
            self._begin()
            self._share_out()
            if self._busy:
                soonest = min(_until(run) for run in self._busy.values())
                self._go(max(soonest, LEAST_STEP_S, STEP * self._now))
                continue
            upcoming = [run.work.begins for run in self._waiting if run.work.begins > self._now]
            if not upcoming:
                break  # what is left can't be served, or waits for what can't
            self._now = min(upcoming)
        return self._ended

    def _begin(self) -> None:
        still = []
        for run in self._waiting:
            work = run.work
            before = any(other in self._ids and other not in self._ended for other in work.after)
            if before or work.begins > self._now:
                still.append(run)
            elif run.left <= 0:
                self._ended[work.id] = self._now
            else:
                self._weights[work.project] = max(0.01, work.weight)
                users = self._teams.setdefault(work.project, {})
                insort(users.setdefault(work.user, []), run, key=lambda one: one.order)
        self._waiting = still

    def _go(self, seconds: float) -> None:
        """Let time pass. What ends within the step ends at its own moment."""
        for run in self._busy.values():
            spent = seconds
            while (needed := _until(run)) <= spent:
                spent -= needed
                tail = _tail(run)
                if not run.next_stage():
                    self._end(run, self._now + seconds - spent + tail)
                    break
                scale = min(1.0, run.width / run.slots)  # until the next dealing it keeps what it has
                run.share, run.slots = run.share * scale, run.slots * scale
            else:
                run.left -= spent * run.share / run.seconds
        self._now += seconds

    def _end(self, run: _Run, at: float) -> None:
        self._ended[run.work.id] = at
        users = self._teams[run.work.project]
        users[run.work.user].remove(run)  # near the front, where the busy ones are
        if not users[run.work.user]:
            del users[run.work.user]
        if not users:
            del self._teams[run.work.project]

    # -- who gets what --------------------------------------------------------------------------------

    def _share_out(self) -> None:
        for run in self._busy.values():
            run.share = run.slots = 0.0
        self._busy = {}
        for group in self._classes:
            wants = {
                project: {user: _wants(runs, group) for user, runs in users.items()}
                for project, users in self._teams.items()
            }
            teams = {project: sum(users.values()) for project, users in wants.items()}
            for project, slots in _deal(group.slots, teams, self._weights).items():
                even = dict.fromkeys(wants[project], 1.0)
                for user, part in _deal(slots, wants[project], even).items():
                    self._give(self._teams[project][user], group, part)

    def _give(self, runs: list[_Run], group: _Class, slots: float) -> None:
        """One person's slots to their jobs: in order, but for the part that those get who wait longest."""
        later = [run for run in runs[1:LATER] if _room(run, group) > 0] if self._waited else []
        part = slots * self._waited
        for run in later:
            slots -= self._take(run, group, part / len(later))
        for run in runs:
            if slots <= 1e-9:
                break
            slots -= self._take(run, group, slots)

    def _take(self, run: _Run, group: _Class, slots: float) -> float:
        taken = min(slots, _room(run, group))
        if taken > 0:
            run.slots += taken
            run.share += taken * group.speed
            self._busy[run.work.id] = run
        return taken


def _wants(runs: list[_Run], group: _Class) -> float:
    """The slots that these jobs could use, as far as there are any."""
    found = 0.0
    for run in runs:
        found += _room(run, group)
        if found >= group.slots:
            return group.slots
    return found


def _room(run: _Run, group: _Class) -> float:
    """Further slots of this class that a job could use."""
    if run.need not in group.serves:
        return 0.0
    return max(0.0, min(run.width, max(1.0, math.ceil(run.left))) - run.slots)


def _deal(slots: float, wants: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, float]:
    """Slots by weight, nobody more than they want."""
    given = dict.fromkeys(wants, 0.0)
    # Who wants least by their weight is served first: what they leave is the others'.
    order = sorted(wants, key=lambda name: wants[name] / weights[name])
    weight = sum(weights[name] for name in wants)
    for name in order:
        given[name] = min(wants[name], slots * weights[name] / weight)
        slots -= given[name]
        weight = max(1e-9, weight - weights[name])
    return given


def _until(run: _Run) -> float:
    return run.left * run.seconds / run.share


def _tail(run: _Run) -> float:
    """The last tasks don't end together: half a task's time where there are more tasks than slots, and what
    the slowest of those that run side by side takes beyond the others."""
    stage = run.work.stages[run.stage]
    peers = min(float(stage.tasks), run.slots)
    if peers <= 1.0:
        return 0.0
    uneven = 0.5 * (1 - 1 / peers) if stage.tasks > run.slots else 0.0
    slowest = stage.spread * math.sqrt(2 * math.log(peers)) * (0.3, 0.7, 1.1)[run.lean + 1]
    return (uneven + slowest) * run.seconds * run.slots / run.share
