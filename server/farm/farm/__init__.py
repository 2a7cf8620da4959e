"""The farm as the web wing sees it: submit, look, steer, talk with nodes.

Everything that changes a job is decided by the committer's one thread; what is only looked at is answered
from memory. Errors are the project's own and carry a sentence for a person.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from server.disk import files, paths
from server.disk.errors import Conflict, CroftError, NotFound
from server.disk.records import Change, JobPlace
from server.disk.settings import Settings
from server.disk.store import Store
from server.farm.checks import NOTE, Checks, UsesOf
from server.farm.committer import Committer
from server.farm.committer.board import Board
from server.farm.committer.decide import Op, Turn
from server.farm.committer.keeper import Keeper, Subscriber
from server.farm.committer.live import Ended, Live
from server.farm.farm import judging, logs, memory, source, steer
from server.farm.farm.bridging import Bridging
from server.farm.farm.figures import Figures
from server.farm.farm.forecast import Forecast
from server.farm.farm.health import Health
from server.farm.farm.kept import Kept
from server.farm.farm.machines import Machines
from server.farm.farm.neighbours import Neighbours
from server.farm.farm.once import Once
from server.farm.farm.places import Places
from server.farm.farm.powering import Powering
from server.farm.farm.rows import Rows
from server.farm.farm.talk import Talk
from server.farm.farm.views import Views
from server.farm.job_types import JobTypes
from server.farm.jobs import snapshots, states
from server.farm.jobs.snapshots import Sibling
from server.farm.jobs.submit import Submitter
from server.farm.jobs.texts import LogPart
from server.farm.nodes import Nodes
from server.farm.power.ledger import Ledger
from server.farm.reasons import Reasons
from server.farm.room import Room
from server.farm.statistics.film import Film, records, task_of
from server.farm.statistics.presence import Presence
from server.farm.watching import Watching
from server.library import versions
from server.library.people import User
from server.library.projects import Projects

Job = Live | Ended  # what `job` and `jobs` give: for `view`
MAX_SIBLINGS = 20  # other jobs of a file that a new one may share its snapshot with
WARNINGS = 20  # that a job keeps


class Farm:
    """One server's farm. `close` ends its threads and leaves its claims to their leases."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        projects: Projects | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        disk: files.Os = files.REAL,
        rng: random.Random | None = None,
        uses: UsesOf = lambda address: (),
        reading_s: float = 0.0,
        room: Room | None = None,
        power: bool = True,
    ) -> None:
        """`uses` says which files a scene names, itself and through its libraries; `power`: whether this
        server switches nodes off and wakes them."""
        self._settings = settings
        self._reading_s = reading_s
        self._store = store
        self._projects = projects or Projects(settings, store)
        self.server = f"{settings.get('site')}-{secrets.token_hex(3)}"
        self.types = JobTypes(settings)
        self._nodes = Nodes(settings, monotonic, wall)
        self.board = Board(
            *(settings, store, self.types, self._nodes, self._project_priority, monotonic, self.server, disk),
            room=room,
            wall=wall,
        )
        self._committer = Committer(self.board, monotonic, wall, rng)
        self.keeper = Keeper(self.board, self._committer, monotonic)
        self._talk = Talk(self.board, self._committer, monotonic, wall)
        self._reasons = Reasons(self.board)
        self._views = Views(self.board, self._reasons)
        self._rows = Rows(self.view, time.perf_counter)
        self.forecast = Forecast(self.board, monotonic, wall, self._weight_of)
        self.powering = Powering(self.board, self._nodes, Ledger(settings.folder_path, disk), wall)
        self.machines = Machines(self.board, self._committer, self._nodes, self._views, wall, self.powering)
        self._submitter = Submitter(
            *(settings, store, self.types, self._project_of, wall, disk, self._siblings_of, self._is_job),
            uses=uses,
        )
        self.places = Places(self.board, self._committer, settings, self._weight_of, disk)
        self.bridging = Bridging(self.board, self.places, self._talk.surely_gone)
        self._reasons.elsewhere = self.places.waits
        self.keeper.duties.append(self.places.look)
        self._once = Once(store, self.jobs, self.job, wall)
        presence = Presence(settings.folder_path / "cache" / "presence.json", disk)
        self._renders: Kept[tuple[str, str], dict[str, Any]] = Kept(monotonic)  # by address and since when
        self._advice: Kept[str, list[str]] = Kept(monotonic)  # by job
        self.figures = Figures(self.board, self.forecast, monotonic, wall, presence)
        self.keeper.duties.append(self.figures.look)
        self.figures.saved_hours = self.powering.saved_hours
        self.watching = Watching(self.board, self._committer, monotonic)
        self._checks = Checks(self.board, self._submitter, self._reasons, uses)
        self.health = Health(self.board, self._committer, self.keeper, self.places, self.powering, self._rows)
        versions.settle_all(store)
        self._committer.start()
        self._unsubscribe = store.subscribe(self._on_changes)
        self.keeper.duties.append(self._nodes.keep)
        self._neighbours = Neighbours(self.board, self._nodes, settings.folder_path, power)
        self._neighbours.start()
        self.keeper.duties.append(self._neighbours.look)
        self.powering.leads = self._neighbours.leads
        self.keeper.start()
        self._nodes.learn(memory.paces(self.board))
        self.watching.start()
        if power:
            self.powering.start()

    def close(self) -> None:
        """End the threads; what was answered is on the disk already."""
        self._unsubscribe()
        self.forecast.close()
        self.places.close()
        self.powering.close()
        self.figures.presence.save()
        self.keeper.close()
        self._committer.close()
        self._nodes.keep()
        self._neighbours.close()
        for live in list(self.board.live.values()):
            live.place.close()

    def _on_changes(self, changes: list[Change]) -> None:
        self.keeper.changed(changes)
        self.watching.changed(changes)

    def subscribe(self, function: Subscriber) -> Callable[[], None]:
        """Be told of changed jobs and nodes, gathered, after they are durable. Returns how to end that."""
        self.keeper.subscribers = [*self.keeper.subscribers, function]

        def end() -> None:
            self.keeper.subscribers = [f for f in self.keeper.subscribers if f is not function]

        return end

    # -- nodes' side ----------------------------------------------------------------------------------

    def talk(self, token_name: str, requests: Any) -> bytes:
        """One node's message, answered: JSON bytes. `token_name` is the name its token is bound to."""
        return self._talk.talk(token_name, requests)

    # -- jobs -----------------------------------------------------------------------------------------

    def submit(self, user: User | str, request: Mapping[str, Any], role: str = "", key: str = "") -> Job:
        """Make a job: everything is checked before anything is written. `role`: of who asks, where that is
        another. `key`: asked with it before, it is the job that was made then (`once`)."""
        who = user if isinstance(user, str) else user.ident
        role = role or ("admin" if isinstance(user, str) else user.role)
        if not key:
            return self._submit(who, request, role)
        return self._once.job(who, request, key, lambda asked: self._submit(who, request, role, asked))

    def _submit(
        self, who: str, request: Mapping[str, Any], role: str, asked: Mapping[str, str] | None = None
    ) -> Job:
        self._checks.await_facts(request, self._reading_s)
        record = self._submitter.check(who, request, role)
        notices = self._checks.notices(record)
        self._checks.refuse(notices)
        told = [notice.sentence for notice in notices if notice.lasting and notice.severity != NOTE]
        record["warnings"] = told[:WARNINGS]
        if asked:
            record["asked"] = dict(asked)
        self._store.check_writable(record["file"])
        record, folder = self._submitter.make(record)
        place = JobPlace(record["id"], record["file"], folder)
        live = self.board.read(place)
        self.board.room.look(self.board.writes(live.job))
        self._committer.do(lambda: self.board.add(live))
        self._committer.ask(Op("look", record["id"]))
        self.board.tell("job", record["id"])
        self._store.refresh(folder)
        return live

    def check(self, user: User | str, request: Mapping[str, Any], wait: bool = False) -> dict[str, Any]:
        """What to know before this is submitted: `ok`, `notices`, and which frames it would be. `wait`: for a
        scene that is being read just now."""
        if wait:
            self._checks.await_facts(request, self._reading_s)
        if isinstance(user, str):
            return self._checks.ask(user, request)
        return self._checks.ask(user.ident, request, user.role)

    def job(self, job_id: str) -> Job:
        """One job; NotFound when there is none of this id."""
        found: Job | None = self.board.live.get(job_id) or self.board.ended.get(job_id)
        if found is None and job_id in self._store.index.jobs:
            self.keeper.changed([Change("job", job_id)])
            self.keeper.tick_index()
            found = self.board.live.get(job_id) or self.board.ended.get(job_id)
        if found is None:
            why = self.board.broken.get(job_id)
            raise NotFound(why) if why else NotFound("There is no job {job}.", job=repr(str(job_id)[:100]))
        return found

    def jobs(self, project: str = "", state: str = "", user: str = "", file: str = "") -> list[Job]:
        """All jobs that fit, newest first."""
        everything: list[Job] = [*self.board.live.values(), *self.board.ended.values()]
        found = [
            job
            for job in everything
            if (not project or job.record.get("project") == project)
            and (not state or job.state == state)
            and (not user or job.record.get("user") == user)
            and (not file or job.address == file)
        ]
        return sorted(found, key=lambda job: (str(job.record.get("created") or ""), job.id), reverse=True)

    def sums(self, project: str = "") -> dict[str, int]:
        """Of the jobs that aren't over: how many there are, their tasks, those of them done and failed."""
        opened = [
            live.job
            for live in list(self.board.live.values())
            if live.state not in states.ENDED and (not project or live.record.get("project") == project)
        ]
        return {
            "jobs": len(opened),
            "total": sum(job.total for job in opened),
            "done": sum(job.counts["done"] for job in opened),
            "failed": sum(job.counts["failed"] for job in opened),
        }

    def view(self, job: Job | str) -> dict[str, Any]:
        """A job as the API shows it."""
        if isinstance(job, str):
            job = self.job(job)
        if isinstance(job, Ended):
            return {**self._views.ended(job), "where": None}
        opened = job.state in states.OPEN
        ends = self.forecast.view(job.id) if opened else None
        with job.settled():
            return {**self._views.job(job, ends), "where": self.places.view(job.id) if opened else None}

    def rows(self, jobs: Sequence[Job]) -> list[Any]:
        """Jobs as the API shows them in a list: JSON that is ready to be put into an answer."""
        return self._rows.of(jobs)

    def tasks(
        self, job_id: str, start: int = 0, limit: int = 100, state: str = "", stage: str = ""
    ) -> tuple[list[dict[str, Any]], int]:
        """One page of tasks, and how many there are; of optional stages where their `stage` is named."""
        live = self.fold(job_id)
        with live.settled():
            return self._views.tasks(live, start, limit, state, stage)

    def task(self, job_id: str, n: int) -> dict[str, Any]:
        """One task; NotFound where the job has no such number."""
        live = self.fold(job_id)
        self._check_task(live, n)
        with live.settled():
            return self._views.task(live, n)

    def film(self, job_id: str) -> Film:
        """A job frame by frame, gathered for drawing."""
        live = self.fold(job_id)
        with live.settled():
            return self._views.film(live)

    def frame(self, job_id: str, n: int) -> dict[str, Any]:
        """The task that makes the picture of a job's n-th frame."""
        live = self.fold(job_id)
        with live.settled():
            return self._views.task(live, task_of(live.job, n))

    def records(
        self, job_id: str, start: int = 0, limit: int = 100
    ) -> tuple[list[dict[str, Any]], int | None]:
        """What is kept of the frames that are done, from the n-th on; where the next page begins."""
        live = self.fold(job_id)
        with live.settled():
            return records(live.job, start, limit)

    def advice(self, job_id: str) -> list[str]:
        """What of a job could go better; of one that goes on it may be some seconds old."""
        live = self.fold(job_id)
        return self._advice.get(job_id, lambda: [one.text for one in self.figures.advice(live)])

    def renders(self, address: str, span: list[int] | None, since: str = "") -> dict[str, Any]:
        """What is known of a file's renders; it may be some seconds old: pages ask again and again."""
        return self._renders.get((address, since), lambda: self.figures.renders(address, span, since))

    def log(self, job_id: str, n: int, attempt: int = 0, offset: int = 0) -> LogPart:
        """What an attempt at a task says or said, from this position on (negative: so many bytes from the
        end). Without an attempt: the newest that has something. NotFound where nobody has begun it."""
        live = self.fold(job_id)
        self._check_task(live, n)
        return logs.part(self.board, self.keeper, live, n, attempt, offset)

    def why(self, job_id: str) -> dict[str, Any]:
        """Why a job waits: `{"sentence", "reasons": [{"kind", "text"}], "nodes": [{"name", "text"}]}`."""
        return self._reasons.why(self.job(job_id))

    def why_node(self, name: str) -> dict[str, Any]:
        """What a node does or why nothing, and its newest choices: `{"sentence", "choices": […]}`."""
        return self._reasons.why_node(self._nodes.get(name))

    def next_up(self, count: int = 3) -> list[str]:
        """The jobs of which a node that can do everything would be given tasks next."""
        return self.board.line.next_up(count)

    def cancel(self, job_id: str, who: str) -> Job:
        """Stop a job for good. Its finished frames stay, its nodes are told to stop."""
        return self._act(job_id, steer.change(states.CANCELLED, who))

    def pause_job(self, job_id: str, who: str) -> Job:
        """Give out no more of its tasks. What nodes render now is still taken."""
        return self._act(job_id, steer.change(states.PAUSED, who))

    def resume_job(self, job_id: str, who: str) -> Job:
        """Go on with a paused job. One of another installation is adopted by that."""
        return self._act(job_id, steer.resume(who))

    def set_priority(self, job_id: str, priority: int, who: str) -> Job:
        """1 (last) to 5 (first)."""
        return self._act(job_id, steer.priority(priority, who))

    def set_plan(self, job_id: str, changes: Mapping[str, Any], who: str) -> Job:
        """Another `nodes_most` or `start_after` ("" or null: at once); `after: []` waits for no job."""
        return self._act(job_id, steer.plan(changes, self._is_job, self.board, who))

    def inputs(self, job_id: str) -> list[dict[str, Any]]:
        """The files that a job is rendered from, with their hashes."""
        return self.watching.rows(self.fold(job_id))

    def requeue(self, job_id: str, tasks: str | Iterable[int], who: str) -> Job:
        """Have tasks rendered again: "failed", "rest" (all that isn't done, of a stopped job), "all", or
        numbers."""
        act = steer.requeue(tasks, who)
        self._bring_back(job_id)
        return self._act(job_id, act)

    def judge(
        self, address: str, version: str, who: str, approved: bool, rejected: bool = False, comment: str = ""
    ) -> dict[str, Any]:
        """Approve or reject a rendered version, or neither; its record. An approved version takes no more
        frames: what isn't done of its render is stopped, and goes on when the approval is taken back."""
        said = judging.Word(address, version, who, approved, rejected, comment)
        record = judging.say(self._store, self.board, self._committer, said)
        if not approved and judging.was_stopped(self.board, str(record.get("job") or ""), version):
            with contextlib.suppress(CroftError):
                self.requeue(str(record["job"]), "rest", who)
        return record

    def dress_source(self, address: str, save: str, copy: str) -> list[str]:
        """The scene of a render was brought back as `copy`: its simulations too, where they are the same;
        the files it names that aren't. `save` is a version's id, or the job's."""
        return source.dress(self._store, lambda job: self.job(job).record, address, save, copy)

    def skip(self, job_id: str, tasks: Iterable[int], who: str) -> Job:
        """Do without these tasks."""
        act = steer.skip(tasks, who)
        self._bring_back(job_id)
        return self._act(job_id, act)

    def forgive(self, job_id: str, who: str, nodes: list[str] | None = None) -> Job:
        """Let nodes that failed at a job have its tasks again, and a job that waits for a licence try now."""
        return self._act(job_id, steer.forgive(nodes, who))

    def _bring_back(self, job_id: str) -> None:
        """Before an ended job goes on: its simulations, which only open jobs keep, or a word why not."""
        live = self.fold(job_id)
        if live.job.state in states.ENDED:
            self._store.check_writable(live.job.address)
            live.place.bring_caches()

    def _act(self, job_id: str, act: Callable[[Turn], Any]) -> Job:
        job = self.job(job_id)
        self._store.check_writable(job.address)
        self._committer.ask(Op("act", job_id, act=act))
        return self.job(job_id)

    def fold(self, job_id: str) -> Live:
        """A job with its tasks; one that ended long ago is read again."""
        job = self.job(job_id)
        if isinstance(job, Live):
            return job
        # Here, not in the committer's thread: a hundred thousand tasks take a second to read.
        fresh = self.board.read(job.place)
        with self._store.locks(fresh.job.share).hold(job_id):
            fresh.place.catch_up()
        fresh.finalised = True
        fresh.changed = list(job.result.get("changed") or ())
        self._committer.do(lambda: self.board.add(fresh) if job_id not in self.board.live else None)
        live = self.board.live.get(job_id)
        if live is None:
            raise Conflict("Job {job_id} is just being put away. Try again.", job_id=job_id)
        return live

    def _check_task(self, live: Live, n: int) -> None:
        if not 0 <= n < live.job.tasks:
            raise NotFound(
                "Job {id} has no task {number}: they are 0 to {tasks}.",
                id=live.job.id,
                number=n,
                tasks=live.job.tasks - 1,
            )

    # -- helpers --------------------------------------------------------------------------------------

    def _siblings_of(self, address: str) -> list[Sibling]:
        """The jobs of a file, the newest first: their snapshots may be of the same bytes."""
        scenes = self._store.path(paths.folder_of(address))
        found: list[Sibling] = []
        for job in self.jobs(file=address)[:MAX_SIBLINGS]:
            folder = job.job.folder if isinstance(job, Live) else job.place.folder
            found += snapshots.siblings(job.record, scenes, self._store.path(folder))
        return found

    def _is_job(self, job_id: str) -> bool:
        return job_id in self.board.live or job_id in self.board.ended

    def _project_of(self, address: str) -> tuple[str, int] | None:
        project = self._projects.of(address)
        return (project.ident, project.render_priority) if project is not None else None

    def _weight_of(self, project: str) -> float:
        """A project's share of the farm, against the others'."""
        try:
            return float(self._projects.get(project).render_priority)
        except CroftError:
            return 1.0

    def _project_priority(self, address: str) -> int:
        found = self._project_of(address)
        return found[1] if found is not None else 0
