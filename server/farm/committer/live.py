"""A job as this server has it in memory, and one that is over. No decisions here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from server.disk.records import JobPlace
from server.farm import scheduler
from server.farm.failures.bounds import Usual
from server.farm.jobs.job import Job
from server.farm.jobs.place import Place
from server.farm.jobs.snapshots import Vouched
from server.farm.scheduler import Need

SETTLE_S = 1.0  # who looks at a job waits at most so long for a commit that is under way


@dataclass(frozen=True, slots=True)
class Work:
    """What giving out the tasks of one stage takes."""

    need: Need
    commandment: bytes  # of a task, with words left open; b"" where nobody knows how to do it
    words: tuple[str, ...] = ()  # those that are another in each task
    why: str = ""  # why nobody does
    writes: bool = True  # each of its tasks must leave a file
    guarded: bool = False  # it runs programs: only on what was submitted, and when people here asked for it


class Live:
    """A job as a fold, its files, and what giving out its tasks needs."""

    __slots__ = (
        "begun",
        "changed",
        "checked",
        "finalised",
        "held_until",
        "job",
        "lock",
        "place",
        "project_priority",
        "ready",
        "rests_until",
        "standing",
        "stuck",
        "told",
        "usuals",
        "vouched",
        "where",
        "works",
    )

    def __init__(self, job: Job, place: Place, works: list[Work], project_priority: int) -> None:
        self.job = job
        self.place = place
        self.project_priority = project_priority
        self.works = works  # by stage
        self.where = ""  # where it may run, as its works say it
        self.standing: list[scheduler.Work] = []  # the same as the scheduler knows them
        self.told: object = None  # of what those were made
        self.lock = threading.Lock()  # held from the first change of a commit until it is on the disk
        self.ready = False  # its snapshot and version folder were seen
        self.rests_until = 0.0
        self.held_until = 0.0  # monotonic: it waits for a licence or the like
        self.stuck: set[int] | None = None  # tasks tried often enough, that wait for others; None: not known
        self.usuals = [Usual() for _ in works]  # by stage
        self.checked = 0.0  # monotonic: when its journal was looked at last
        self.finalised = False
        self.begun = False  # its version is known to have a frame
        self.vouched = Vouched()  # of its snapshot
        self.changed: list[str] = []  # files that the scene links and that were changed until its end

    @contextmanager
    def settled(self) -> Iterator[None]:
        """For who shows it: nothing that isn't durable yet is seen, unless the disk doesn't answer."""
        held = self.lock.acquire(timeout=SETTLE_S)
        try:
            yield
        finally:
            if held:
                self.lock.release()

    @property
    def id(self) -> str:
        return self.job.id

    def usual_s(self, task: int) -> float:
        """How long such a task usually takes in this job; 0 while too few are done."""
        job, stage = self.job, self.job.stage_of(task)
        done = job.counts["done"] + job.extras["done"]
        return self.usuals[stage.index].seconds(done, job.milliseconds, job.cells, stage.first, stage.end)

    @property
    def guarded(self) -> bool:
        """Does any of its stages run programs?"""
        return any(work.guarded for work in self.works)

    @property
    def waiting(self) -> Work:
        """Of the first stage of which tasks could be given out, or else of the first of all."""
        ready = (work for work, count in zip(self.works, self.job.ready, strict=True) if count)
        return next(ready, self.works[0])

    @property
    def state(self) -> str:
        return self.job.state

    @property
    def address(self) -> str:
        """Of the file that it renders."""
        return self.job.address

    @property
    def record(self) -> dict[str, Any]:
        return self.job.record


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that is over: its request, its sum and where it lies."""

    record: dict[str, Any]
    result: dict[str, Any]
    place: JobPlace

    @property
    def id(self) -> str:
        return self.place.id

    @property
    def state(self) -> str:
        return str(self.result.get("state"))

    @property
    def site(self) -> str:
        """The installation that ran it."""
        return str(self.result.get("site") or self.record.get("site", ""))

    @property
    def address(self) -> str:
        return self.place.address
