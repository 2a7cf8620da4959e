"""Jobs that come after other jobs: all of one, or frame by frame.

Holds the tasks of a job that must wait, and lets go of them as the other job's frames are done. Works in the
committer's thread, between turns; a turn only notes what it did of a job that others follow.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from server.farm.jobs import states
from server.farm.jobs.job import Event, Job
from server.farm.jobs.tasks import SATISFIED
from server.farm.stages import Stage

log = logging.getLogger("croft.farm")

KEPT_TASKS = 200_000  # of jobs that ended otherwise than done, and are followed frame by frame
FINISHING = ("done", "skip")  # events that can only let go


class Follower(Protocol):
    """A job in memory."""

    @property
    def id(self) -> str: ...
    @property
    def job(self) -> Job: ...


class Jobs(Protocol):
    """Where they are: the board."""

    @property
    def live(self) -> Mapping[str, Any]: ...
    @property
    def ended(self) -> Mapping[str, Any]: ...
    def stand(self, live: Any) -> None: ...
    def read_ended(self, ended: Any) -> Job | None: ...


class Following:
    """Who follows whom, and what of it has still to be looked at."""

    def __init__(self, board: Jobs) -> None:
        self._board = board
        self._followers: dict[str, set[str]] = {}  # job -> those that come after it
        # Those that ended, with their tasks, the last used last: their journals may be long.
        self._kept: dict[str, tuple[Any, Job]] = {}
        self._news: deque[tuple[str, tuple[int, ...] | None]] = deque()  # job, its tasks; None: look at all

    def add(self, live: Follower) -> None:
        """A job was taken in: it may follow others, and others may follow it."""
        for after in live.job.plan.after:
            self._followers.setdefault(after.job, set()).add(live.id)
        if live.job.plan.after:
            self.look(live)
        self.changed(live.id)

    def remove(self, job: Job) -> None:
        """It isn't here any more."""
        for after in job.plan.after:
            found = self._followers.get(after.job, set())
            found.discard(job.id)
            if not found:
                self._followers.pop(after.job, None)
                self._kept.pop(after.job, None)

    def changed(self, job_id: str) -> None:
        """Anything may have changed of a job, or that it is there at all. Safe for any thread."""
        if job_id in self._followers:
            self._news.append((job_id, None))

    def note(self, job: Job, events: Iterable[Event], more: bool) -> None:
        """What a turn did. `more`: somebody else wrote to the journal, too. Safe for any thread."""
        if job.id not in self._followers:
            return
        tasks: list[int] = []
        for event in events:
            if event["event"] in FINISHING:
                tasks.append(event["task"])
            elif event["event"] in ("requeue", "state"):
                more = True
        self._news.append((job.id, None if more else tuple(tasks)))

    def settle(self) -> None:
        """Have all followers wait for what they have to wait for, as things are now."""
        while self._news:
            job_id, tasks = self._news.popleft()
            if tasks is None:
                self._kept.pop(job_id, None)
            for follower in sorted(self._followers.get(job_id, ())):
                live = self._board.live.get(follower)
                if live is None:
                    continue
                try:
                    self._settle_one(live, job_id, tasks)
                except Exception:
                    log.exception("job %s can't be told what became of job %s", follower, job_id)

    def _settle_one(self, live: Follower, job_id: str, tasks: tuple[int, ...] | None) -> None:
        found = self._board.live.get(job_id)
        if tasks is None or found is None or found.state == states.DONE:
            self.look(live)
        elif self._let_go(live.job, found.job, tasks):
            self._board.stand(live)

    def look(self, live: Follower) -> None:
        """Look at all that a job comes after, and hold what has to wait."""
        job = live.job
        held: set[int] = set()
        for after in job.plan.after:
            if self._state(after.job) == states.DONE:
                continue
            other = self._fold(after.job) if after.by == "frame" else None
            held.update(_all(job) if other is None else _waiting_for(job, other))
        everything = list(_all(job))
        job.hold([task for task in everything if task in held], True)
        job.hold([task for task in everything if task not in held], False)
        self._board.stand(live)

    def _let_go(self, job: Job, other: Job, tasks: Iterable[int]) -> bool:
        """Let go of what comes after these tasks of another job; whether that may be anything."""
        if all(after.by == "all" for after in job.plan.after):
            return False  # only their ends count
        free = [task for task in self._of_frames(job, other, tasks) if not self._waits(job, task)]
        job.hold(free, False)
        return bool(free)

    def _waits(self, job: Job, task: int) -> bool:
        for after in job.plan.after:
            if self._state(after.job) == states.DONE:
                continue
            other = self._fold(after.job) if after.by == "frame" else None
            if other is None or _waits_for(job, other, task):
                return True
        return False

    def _of_frames(self, job: Job, other: Job, tasks: Iterable[int]) -> Iterator[int]:
        """The tasks of `job` that are for the same frames as these of `other`."""
        seen: set[int] = set()
        for task in tasks:
            stage = other.stage_of(task)
            for at in range(*stage.span(task - stage.first)):
                for mine in _firsts(job):
                    index = _index(job, other.frames[at])
                    if index is not None:
                        low, high = mine.covering(index, index + 1)
                        seen.update(range(mine.first + low, mine.first + high))
        return iter(sorted(seen))

    def _state(self, job_id: str) -> str:
        found = self._board.live.get(job_id) or self._board.ended.get(job_id)
        return found.state if found is not None else ""

    def _fold(self, job_id: str) -> Job | None:
        """The job with its tasks; None where nothing is known of them."""
        live = self._board.live.get(job_id)
        if live is not None:
            known: Job = live.job
            return known
        ended = self._board.ended.get(job_id)
        if ended is None:
            return None
        before, job = self._kept.pop(job_id, (None, None))
        if job is None or before is not ended:
            job = self._board.read_ended(ended)
        if job is not None and job_id in self._followers:
            self._kept[job_id] = (ended, job)
            over = sum(kept.tasks for _, kept in self._kept.values()) - KEPT_TASKS
            while over > 0 and len(self._kept) > 1:
                over -= self._kept.pop(next(iter(self._kept)))[1].tasks
        return job


def _firsts(job: Job) -> list[Stage]:
    """The stages that wait for nothing in the job itself: the others come after them."""
    return [stage for stage in job.stages if not stage.after]


def _all(job: Job) -> Iterator[int]:
    for stage in _firsts(job):
        yield from range(stage.first, stage.end)


def _waiting_for(job: Job, other: Job) -> Iterator[int]:
    for task in _all(job):
        if _waits_for(job, other, task):
            yield task


def _waits_for(job: Job, other: Job, task: int) -> bool:
    """Is a frame of this task still to be done in the other job? One that it doesn't have is no matter."""
    stage, frames = job.stage_of(task), _frame_stage(other)
    for at in range(*stage.span(task - stage.first)):
        index = _index(other, job.frames[at])
        if index is not None:
            low, high = frames.covering(index, index + 1)
            cells = other.cells[frames.first + low : frames.first + high]
            if any(cell not in SATISFIED for cell in cells):
                return True
    return False


def _frame_stage(job: Job) -> Stage:
    """The last stage that was asked for and makes single frames, or else the last one."""
    wanted = [stage for stage in job.stages if not stage.optional]
    single = [stage for stage in wanted if stage.covering(0, 1) != (0, stage.tasks) or stage.tasks == 1]
    return (single or wanted)[-1]


def _index(job: Job, frame: int) -> int | None:
    try:
        return job.frames.index(frame)
    except ValueError:
        return None
