"""The jobs that this server has in memory, and the line in which they wait for nodes.

`live` holds jobs as folds; jobs that ended long ago are kept as their sum (`Ended`) and become folds again
when someone asks. Changed by the committer's thread alone; readable by all.
"""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from server.disk import files, paths
from server.disk.errors import Broken, CroftError, NotFound, broken
from server.disk.records import JobPlace
from server.disk.settings import Settings
from server.disk.speech import say
from server.disk.store import Store
from server.farm import scheduler
from server.farm.committer.dressing import work_of
from server.farm.committer.following import Following
from server.farm.committer.live import SETTLE_S, Ended, Live, Work
from server.farm.failures.book import RuleBook
from server.farm.job_types import JobTypes, seal
from server.farm.jobs import record as records
from server.farm.jobs import states
from server.farm.jobs.attempts import Claim
from server.farm.jobs.job import Job
from server.farm.jobs.place import Place, Reach
from server.farm.jobs.texts import Texts
from server.farm.nodes import Nodes
from server.farm.room import Room
from server.farm.scheduler import Choice, Choices, Need, Scheduler, misfit

log = logging.getLogger("croft.farm")

NEW_FRAMES = 1  # at most so many are told of at once
FORGOTTEN = 256  # jobs whose folder went away that are remembered
LEAST_WEIGHT = 0.25  # of a project whose priority is none
BUSY_REST_S = 2.0  # a job whose lock or disk didn't answer is let be for so long


class Board:
    """All jobs. Also told by the jobs themselves when claims come and go."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        types: JobTypes,
        nodes: Nodes,
        project_priority: Callable[[str], int],
        monotonic: Callable[[], float],
        server: str,
        disk: files.Os = files.REAL,
        room: Room | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._secret = settings.secret("job-seal")
        self.store = store
        self.types = types
        self.nodes = nodes
        self.monotonic = monotonic
        self.wall = wall
        self.began = monotonic()
        self.began_at = wall()
        self.rules = RuleBook(settings)
        self.refused = 0  # results of superseded attempts
        self.refused_reports = 0  # and reports of them
        self.server = server
        self.disk = disk
        self.room = room or Room(settings, store, monotonic)
        self.live: dict[str, Live] = {}
        self.ended: dict[str, Ended] = {}
        self.broken: dict[str, str] = {}  # job id -> why it can't be read
        # Jobs whose folder went away: how far they had come, and when (monotonic) that was.
        self.forgotten: dict[str, tuple[Reach, float]] = {}
        self.line = Scheduler()
        self.choices = Choices()
        self.texts = Texts(monotonic)  # what attempts that run have said so far
        self.claimed_jobs: set[str] = set()
        self.over: set[str] = set()  # jobs that ended and are still folds
        self.changed: set[tuple[str, str]] = set()  # (kind, id) to be told of
        self.node_news = 0  # grows when a node comes, changes or is paused
        self.frames: deque[str] = deque(maxlen=NEW_FRAMES)  # addresses of frames that were accepted last
        self.begun: deque[Live] = deque()  # jobs whose first frame was accepted just now
        self.stirred = threading.Event()
        self.following = Following(self)
        self.where: Callable[[Job], str] = lambda job: ""  # where it may run; "": anywhere
        self.sleeping: list[tuple[float, str]] = []  # when (wall clock) each job that may not begin yet may
        self._project_priority = project_priority
        self._limits: object = None  # as the configuration said them last
        self.wrong_limits: list[str] = []

    # -- finding --------------------------------------------------------------------------------------

    def find(self, job_id: str) -> Live | None:
        """A job as a fold; one that ended long ago is read again. Only for the committer's thread."""
        live = self.live.get(job_id)
        if live is None and job_id in self.ended:
            live = self._read_again(self.ended[job_id])
            live.finalised = True
            self.add(live)
        return live

    def read(self, place: JobPlace) -> Live:
        """A job from its files: its request; the journal is read by whoever holds its lock."""
        folder = self.store.path(place.folder)
        record = records.read_record(folder)
        if record["id"] != place.id:
            raise NotFound("{folder} holds the job {id}.", path=str(folder), folder=folder, id=record["id"])
        try:
            return self._dress(Job(record, place.address, place.folder))
        except CroftError:
            raise
        except Exception as error:
            log.exception("the request of job %s makes no sense", place.id)
            raise broken(folder / records.RECORD, f"it makes no sense ({error!r})") from error

    def _read_again(self, ended: Ended) -> Live:
        """One that ended, and whose request may have been edited since: that it can't be read is told."""
        try:
            return self.read(ended.place)
        except Broken as error:
            self.broken[ended.id] = error.message
            raise

    def _dress(self, job: Job) -> Live:
        share = self.store.share(job.share)
        job.home = self._home(job)
        works = [work_of(job, stage, self.types, self._secret) for stage in job.stages]
        probe = self.store.mounts.probes.get(share.name)
        place = Place(job, share, self.disk, local=probe is not None and probe.lock_class == "flock")
        live = Live(job, place, works, self._project_priority(job.address))
        self._put_where(live)
        return live

    def _put_where(self, live: Live) -> None:
        """Have what it needs say where it may run. What nobody waits for, like a preview, always may here."""
        where = live.where = self.where(live.job)
        only = where if where == "here" else ""
        stages = zip(live.job.stages, live.works, strict=True)
        live.works = [
            replace(work, need=replace(work.need, where=only if stage.optional else where))
            for stage, work in stages
        ]

    def works_of(self, record: Mapping[str, Any]) -> list[Work]:
        """What the stages of a job would ask for that this request would make; those that it needs."""
        job = Job({**record, "id": "none"}, record["file"], "")
        return [work_of(job, stage, self.types, self._secret) for stage in job.stages if not stage.optional]

    def revival(self, job_id: str, place: int, at: str) -> str:
        """What shows that this installation brought an ended job back to life."""
        return seal.revival(self._secret, job_id, place, at)

    def revived_by_others(self, job: Job) -> bool:
        """Did somebody write into its journal that it goes on after its end?"""
        if job.revived is None:
            return False
        place, event = job.revived
        return not seal.same(event.get("seal"), self.revival(job.id, place, str(event.get("at"))))

    def _home(self, job: Job) -> str:
        """The address of the folder that the snapshot and the frames lie in: the asset's, or the one that
        it was moved out of since."""
        now = paths.folder_of(job.address)
        then = paths.folder_of(str(job.record.get("file") or job.address))
        marks = [job.record[key] for key in ("folder", "snapshot") if job.record.get(key)]
        for folder in (now, then):
            try:
                if any(self.store.path(paths.join(folder, mark)).exists() for mark in marks):
                    return folder
            except CroftError:
                continue
        return now

    # -- changing -------------------------------------------------------------------------------------

    def add(self, live: Live) -> None:
        """Take in a job whose journal is read or about to be."""
        old = self.live.get(live.job.id)
        if old is not None:
            self.remove(old)
        self.ended.pop(live.job.id, None)
        self.broken.pop(live.job.id, None)
        live.place.known = self.forgotten.pop(live.job.id, (None, 0.0))[0]
        live.job.listener = self
        self.live[live.job.id] = live
        self._meet(live)
        for claim in live.job.claims.values():
            self.claimed(live.job, claim)
        self.stand(live)
        self.following.add(live)

    def remove(self, live: Live) -> None:
        """Forget a job: its folder is gone, or it is over and summed."""
        job = live.job
        for claim in list(job.claims.values()):
            self.unclaimed(job, claim)
        job.listener = None
        self.live.pop(job.id, None)
        self.over.discard(job.id)
        self.line.forget(job.id, self.monotonic())
        self.following.remove(job)
        live.place.close()
        self.tell("job", job.id)

    def forget(self, job_id: str) -> None:
        """Its folder is gone. Should it come back from a backup, we know how far it had come."""
        self.ended.pop(job_id, None)
        self.broken.pop(job_id, None)
        live = self.live.get(job_id)
        self.following.changed(job_id)
        if live is not None:
            self.remove(live)
            self.forgotten[job_id] = (Reach(live.job), self.monotonic())
            if len(self.forgotten) > FORGOTTEN:
                self.forgotten.pop(next(iter(self.forgotten)))

    def retire(self, live: Live, result: dict[str, Any]) -> None:
        """Keep only the sum of a job that is over."""
        self.remove(live)
        job = live.job
        self.ended[job.id] = Ended(job.record, result, JobPlace(job.id, job.address, job.folder))

    def stand(self, live: Live, writable: bool = False) -> None:
        """Put a job in line, or take it out, as its state now is. `writable`: its share was just seen."""
        job = live.job
        if writable:
            live.rests_until = 0.0
        if job.state in states.ENDED:
            self.over.add(job.id)
        else:
            self.over.discard(job.id)
        left_s = job.troubles.held_until - self.wall()
        live.held_until = self.monotonic() + left_s if left_s > 0 else 0.0
        if (
            job.open
            and self.ours(job)
            and (writable or not self._away(job))
            and not self.room.why(self.writes(job))
            and live.rests_until <= self.monotonic()
            and left_s <= 0
            and self._awake(job)
        ):
            self._meet(live)
            now = self.monotonic()
            for standing, work, ready in zip(live.standing, live.works, job.ready, strict=True):
                fresh = not job.started and not standing.stage
                self.line.put(standing, ready if work.commandment else 0, fresh, now)
        else:
            self.line.drop(job.id)

    def _awake(self, job: Job) -> bool:
        """May it begin by now? If not it is looked at again when it may."""
        start = job.plan.start
        if start <= self.wall():
            return True
        if (start, job.id) not in self.sleeping:
            heapq.heappush(self.sleeping, (start, job.id))
        return False

    def wake(self) -> None:
        """Put those in line whose time has come."""
        now = self.wall()
        while self.sleeping and self.sleeping[0][0] <= now:
            live = self.live.get(heapq.heappop(self.sleeping)[1])
            if live is not None:
                self.stand(live)
                self.tell("job", live.id)

    def read_ended(self, ended: Ended) -> Job | None:
        """A job that ended long ago, with its tasks; None where its disk doesn't answer."""
        try:
            live = self._read_again(ended)
            with self.store.locks(live.job.share).hold(live.id, SETTLE_S):
                live.place.catch_up()
        except (CroftError, OSError):
            return None
        except Exception:
            log.exception("job %s, which others come after, can't be read", ended.id)
            return None
        live.place.close()
        return live.job

    def follow_limits(self) -> None:
        """Have the limits count that the configuration says now."""
        told = self.settings.get("limits")
        if told is not self._limits:
            self._limits = told
            limits, self.wrong_limits = scheduler.read_limits(told)
            self.line.limit(limits)

    def _meet(self, live: Live) -> None:
        """Have the scheduler know a job, as it is now."""
        job = live.job
        weight = max(float(live.project_priority), LEAST_WEIGHT)
        told = (job.priority, weight, live.works, job.plan.most)
        if live.told == told:
            return
        live.told = told
        project, user, created = (str(job.record.get(key) or "") for key in ("project", "user", "created"))
        live.standing = [
            scheduler.Work(
                job.id, stage, work.need, project, user, weight, job.priority, created, job.plan.most
            )
            for stage, work in enumerate(live.works)
        ]
        for standing in live.standing:
            self.line.put(standing, 0, False, self.monotonic())

    def chosen(self, node: str, at: str, tasks: list[int], choices: list[Choice]) -> None:
        """Remember why a node was given these tasks."""
        for task, choice in zip(tasks, choices, strict=False):
            self.choices.note(node, at, task, choice)

    def held(self, live: Live) -> bool:
        """Does it wait for a licence or the like, that was missing a moment ago?"""
        return live.job.troubles.held_until > self.wall()

    def avoid_s(self) -> float:
        """How long a node is kept from what it failed at."""
        return float(self.settings.get("avoid_s"))

    def ours(self, job: Job | Ended) -> bool:
        """Is this installation the one that runs it?"""
        return not job.site or job.site == self.store.site

    def unready(self, job: Job) -> str:
        """Why nothing of it can be worked on now, whichever node asks; "" when it can."""
        return self._away(job) or self.room.why(self.writes(job))

    def writes(self, job: Job) -> str:
        """The address of the folder that its outputs go to, as far as that is known."""
        folder = job.record.get("folder")
        return paths.join(job.home, folder) if folder else str(job.record.get("writes") or job.home)

    def _away(self, job: Job) -> str:
        try:
            self.store.check_writable(job.address, take_in=False)
        except CroftError as error:
            return error.message
        return ""

    def contested(self, job: Job) -> bool:
        """Is its file being copied or moved, so that it isn't clear yet whose job this is?"""
        entry = self.store.index.get(job.address)
        uuid = entry.facts.uuid if entry is not None and entry.facts is not None else ""
        return bool(uuid) and len(self.store.index.holders(uuid)) > 1

    def waiting(self) -> Iterator[tuple[Need, int]]:
        """What the work that stands in line needs, and how many tasks of it wait that limits allow."""
        self.follow_limits()  # where all sleep nothing else looks
        yield from self.line.allowed().items()

    def nobody_for(self, need: Need) -> str:
        """Why none of the nodes that are here could serve a need, whether they may now or not; "" where one
        could."""
        heartbeat_s, now = float(self.settings.get("heartbeat_s")), self.monotonic()
        whys = [
            misfit(need, node.means)
            for node in self.nodes.present()
            if node.seen_at and node.state(now, heartbeat_s) != "away"
        ]
        return "" if "" in whys else min(whys, default=say("no computer is there"))

    def rest(self, live: Live) -> None:
        """Let a job be for a moment: its lock is held by another, or its disk doesn't answer."""
        live.rests_until = self.monotonic() + BUSY_REST_S
        self.line.drop(live.job.id)

    def tell(self, kind: str, ident: str) -> None:
        """Note a change to be told to subscribers after the commit."""
        self.changed.add((kind, ident))
        if kind == "node":
            self.node_news += 1
        self.stirred.set()

    def dress_again(self) -> None:
        """Projects, job types or priorities may have changed: all jobs stand where they belong now."""
        for live in list(self.live.values()):
            fresh = self._dress(live.job)
            live.works, live.where = fresh.works, fresh.where
            live.project_priority = fresh.project_priority
            self.stand(live)

    def place_again(self, job_ids: Iterable[str]) -> None:
        """Where these jobs may run has changed."""
        for live in [self.live[job_id] for job_id in job_ids if job_id in self.live]:
            self._put_where(live)
            if live.state not in states.ENDED:
                self.stand(live)
            self.tell("job", live.id)

    # -- told by jobs ---------------------------------------------------------------------------------

    def claimed(self, job: Job, claim: Claim) -> None:
        node = self.nodes.known(claim.node)
        node.held[claim.attempt] = (job.id, claim)
        now = self.monotonic()
        if not claim.deadline:  # new here, or from before a start: a full lease
            claim.deadline = now + float(self.settings.get("lease_s"))
        if not claim.reported:
            claim.reported = now
        self.claimed_jobs.add(job.id)
        self.line.took(job.id, job.stage_of(claim.task).index, now)

    def unclaimed(self, job: Job, claim: Claim) -> None:
        self.nodes.known(claim.node).held.pop(claim.attempt, None)
        self.line.gave_back(job.id, job.stage_of(claim.task).index, self.monotonic())
        if not job.claims:
            self.claimed_jobs.discard(job.id)
