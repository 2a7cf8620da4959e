"""The jobs that this server has in memory, and the line in which they wait for nodes.

`live` holds jobs as folds; jobs that ended long ago are kept as their sum (`Ended`) and become folds again
when someone asks. Changed by the committer's thread alone; readable by all.
"""

from __future__ import annotations

import heapq
import secrets
import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from server.disk import encoding, files, paths
from server.disk.errors import CroftError, NotFound
from server.disk.records import JobPlace
from server.disk.settings import Settings
from server.disk.store import Store
from server.farm import scheduler, stages
from server.farm.committer.following import Following
from server.farm.failures.book import RuleBook
from server.farm.failures.bounds import Usual
from server.farm.job_types import JobTypes, seal
from server.farm.job_types.commands import fill, harmless, writes
from server.farm.jobs import record as records
from server.farm.jobs import states
from server.farm.jobs.job import Claim, Job
from server.farm.jobs.place import Place, Reach
from server.farm.jobs.texts import Texts
from server.farm.nodes import Nodes
from server.farm.room import Room
from server.farm.scheduler import Choice, Choices, Need, Scheduler, misfit
from server.farm.stages import Stage

NEW_FRAMES = 32  # at most so many are told of at once
UNSEALED = "its commands were not written by this server: submit it again"
SETTLE_S = 1.0  # who looks at a job waits at most so long for a commit that is under way
FORGOTTEN = 256  # jobs whose folder went away that are remembered
LEAST_WEIGHT = 0.25  # of a project whose priority is none
BUSY_REST_S = 2.0  # a job whose lock or disk didn't answer is let be for so long


@dataclass(frozen=True, slots=True)
class Work:
    """What giving out the tasks of one stage takes."""

    need: Need
    commandment: bytes  # of a task, with words left open; b"" where nobody knows how to do it
    words: tuple[str, ...] = ()  # those that are another in each task
    why: str = ""  # why nobody does
    writes: bool = True  # each of its tasks must leave a file


class Live:
    """A job as a fold, its files, and what giving out its tasks needs."""

    __slots__ = (
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
        "works",
    )

    def __init__(self, job: Job, place: Place, works: list[Work], project_priority: int) -> None:
        self.job = job
        self.place = place
        self.project_priority = project_priority
        self.works = works  # by stage
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
        self.frames: deque[str] = deque(maxlen=NEW_FRAMES)  # addresses of frames that were accepted just now
        self.stirred = threading.Event()
        self.following = Following(self)
        self.sleeping: list[tuple[float, str]] = []  # when (wall clock) each job that may not begin yet may
        self._project_priority = project_priority
        self._limits: object = None  # as the configuration said them last
        self.wrong_limits: list[str] = []

    # -- finding --------------------------------------------------------------------------------------

    def find(self, job_id: str) -> Live | None:
        """A job as a fold; one that ended long ago is read again. Only for the committer's thread."""
        live = self.live.get(job_id)
        if live is None and job_id in self.ended:
            live = self.read(self.ended[job_id].place)
            live.finalised = True
            self.add(live)
        return live

    def read(self, place: JobPlace) -> Live:
        """A job from its files: its request; the journal is read by whoever holds its lock."""
        folder = self.store.path(place.folder)
        record = records.read_record(folder)
        if record["id"] != place.id:
            raise NotFound(f"{folder} holds the job {record['id']}.", path=str(folder))
        return self._dress(Job(record, place.address, place.folder))

    def _dress(self, job: Job) -> Live:
        share = self.store.share(job.share)
        job.home = self._home(job)
        works = [self._work(job, stage) for stage in job.stages]
        return Live(job, Place(job, share, self.disk), works, self._project_priority(job.address))

    def works_of(self, record: Mapping[str, Any]) -> list[Work]:
        """What the stages of a job would ask for that this request would make; those that it needs."""
        job = Job({**record, "id": "none"}, record["file"], "")
        return [self._work(job, stage) for stage in job.stages if not stage.optional]

    def _work(self, job: Job, stage: Stage) -> Work:
        labels = job.requires | frozenset(stage.texts("requires"))
        if stage.commands is not None:
            commands: Any = fill(stage.commands, _values(job, stage), _IN_TEXT)
            sealed = seal.fits(self._secret, job.record)
            if not sealed and (stage.per == "list" or not harmless(commands)):
                return Work(Need(job.share, labels), b"", why=UNSEALED)
            simple = bool(stage.record.get("simple")) and job.output == "scene"
            programs, does = frozenset(stage.texts("programs")), frozenset(stage.texts("does"))
            need = _need(job, stage, labels, programs, simple, does)
            leaves = stage.per != "list" and writes(commands, _UUID)
            if stage.per == "list":
                commands = _OPEN["listed"]
            return Work(need, *_template(job, commands), writes=leaves)
        try:
            job_type = self.types.get(job.record.get("type"))
        except CroftError:
            why = f"there is no job type {job.record.get('type')} any more"
            return Work(Need(job.share, labels), b"", why=why)
        simple = job_type.simple_nodes and job.output == "scene"
        need = _need(job, stage, labels, job_type.programs, simple)
        plan = job_type.stages[0]
        if plan.per not in ("frame", "chunk") or not harmless(plan.commands):
            return Work(need, b"", why=UNSEALED)
        return Work(need, *_template(job, fill(plan.commands, _values(job, stage))))

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
            live = self.read(ended.place)
            with self.store.locks(live.job.share).hold(live.id, SETTLE_S):
                live.place.catch_up()
        except (CroftError, OSError):
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
        """What the work that stands in line needs, and how many tasks of it wait."""
        for job_id in list(self.line.jobs()):
            live = self.live.get(job_id)
            if live is not None:
                for work, ready in zip(live.works, live.job.ready, strict=True):
                    if ready and work.commandment:
                        yield work.need, ready

    def nobody_for(self, need: Need) -> str:
        """Why none of the nodes that are here could serve a need, whether they may now or not; "" where one
        could."""
        heartbeat_s, now = float(self.settings.get("heartbeat_s")), self.monotonic()
        whys = [
            misfit(need, node.means)
            for node in self.nodes.present()
            if node.seen_at and node.state(now, heartbeat_s) != "away"
        ]
        return "" if "" in whys else min(whys, default="no computer is there")

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
            live.works = fresh.works
            live.project_priority = fresh.project_priority
            self.stand(live)

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


def _need(
    job: Job,
    stage: Stage,
    labels: frozenset[str],
    programs: frozenset[str],
    simple: bool,
    does: frozenset[str] = frozenset(),
) -> Need:
    """What a stage asks of a node, with what the job's request says of it."""
    groups = frozenset(map(str, job.record.get("groups") or ()))
    # What nobody asked for, like a preview, takes no licence.
    licences = frozenset(() if stage.optional else map(str, job.record.get("licences") or ()))
    memory_mb = int(stage.record.get("memory_mb") or 0)
    return Need(job.share, labels, programs, simple, memory_mb, does, groups, licences)


def _values(job: Job, stage: Stage) -> dict[str, Any]:
    """What the words of a stage's commands stand for. Those of a single task are filled in for each."""
    record = job.record
    return {
        **record.get("parameters", {}),
        "file": source_address(job),
        "frames": str(job.frames),
        "folder": paths.join(job.home, record["folder"]) if record.get("folder") else None,
        "name": stage.base if record.get("folder") else None,
        "frames_name": job.shown.base,
        "stem": paths.own_stem(paths.name_of(job.address)),
        "scene_folder": job.home,
        "fps": record.get("fps"),
        "job": job.id,
        "project": record.get("project"),
        "user": record.get("user"),
        "attempt": _UUID,
        **_OPEN,
    }


def _prman(frame: object, units: list[list[str]]) -> dict[str, Any]:
    """The same commands as RFAM's node takes them."""
    told = [{"command": shlex.join(argv)} for argv in units]
    return {"commands": {"texture": [], "frames": {str(frame): told}}}


def source_address(job: Job) -> str:
    """The address of the file that is rendered: the snapshot."""
    return paths.join(job.home, str(job.record.get("snapshot") or ""))


# Words that no file is named by: what stands in their place is filled in for each task.
_UUID, _NUMBER, _ISSUED, _BOUND = (f"@@{n}{secrets.token_hex(8)}@@" for n in range(4))
_OPEN = {word: f"@@{word}{secrets.token_hex(8)}@@" for word in stages.WORDS}
_IN_TEXT = {word: f"@@{word}{secrets.token_hex(8)}@@" for word in stages.WORDS}


def _template(job: Job, commands: Any) -> tuple[bytes, tuple[str, ...]]:
    """The commandment of a task as bytes in which some words are left open, and which."""
    whole = encoding.dumps(
        {
            "id": "task",
            "uuid": _UUID,
            "frame": _OPEN["frame"],
            "file": source_address(job),
            "requires": sorted(job.requires),
            "issued": _ISSUED,
            "prmanCommands": _OPEN["prman"] if commands == _OPEN["listed"] else None,
            "job": job.id,
            "n": _NUMBER,
            "type": job.record.get("type"),
            "commands": commands,
            "timeout": job.record.get("timeout_s"),
            "bound": _BOUND,
            "silence": job.record.get("silence_s", 0),
        }
    ).replace(b"%", b"%%")
    own = ((_NUMBER, "n"), (_ISSUED, "issued"), (_BOUND, "bound"))
    for text, name in (*own, *((text, name) for name, text in _OPEN.items())):
        # Alone it stands for a value of any kind, within a text for its letters.
        whole = whole.replace(b'"%b"' % text.encode(), b"%%(%b)b" % name.encode())
        whole = whole.replace(text.encode(), b"%%(in_%b)b" % name.encode())
    for name, text in _IN_TEXT.items():
        whole = whole.replace(text.encode(), b"%%(in_%b)b" % name.encode())
    used = tuple(
        name
        for name in stages.WORDS
        if b"_%b)b" % name.encode() in whole or b"(%b)b" % name.encode() in whole
    )
    return whole.replace(_UUID.encode(), b"%(uuid)b"), used


def commandment(live: Live, task: int, attempt: str, issued: int, bound_s: float = 0.0) -> bytes:
    """The `task` that a node gets for an attempt; the same for the same attempt. `bound_s`: how long it may
    take there; 0: nobody knows."""
    job = live.job
    stage = job.stage_of(task)
    values: dict[bytes, bytes] = {b"uuid": attempt.encode(), b"n": b"%d" % task, b"issued": b"%d" % issued}
    values[b"bound"] = b"%d" % bound_s
    work, words = live.works[stage.index], stages.words(stage, task - stage.first, job.frames)
    if stage is job.chunked:  # an attempt before may have left some of it
        words["chunk"] = str(job.left_of(task))
    if stage.per == "list":
        units = words["listed"]
        words["listed"] = [{"do": "run", "argv": argv, "where": job.home} for argv in units]
        words["prman"] = _prman(words["frame"], units)
    for name in work.words:
        text = values[name.encode()] = encoding.dumps(words[name])
        values[b"in_" + name.encode()] = text.strip(b'"')
    return work.commandment % values
