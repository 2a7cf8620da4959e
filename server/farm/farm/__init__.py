"""The farm as the web wing sees it: submit, look, steer, talk with nodes.

Everything that changes a job is decided by the committer's one thread; what is only looked at is answered
from memory. Errors are the project's own and carry a sentence for a person.
"""

from __future__ import annotations

import contextlib
import logging
import random
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from server.disk import files, paths
from server.disk.errors import BadInput, Conflict, CroftError, NotFound
from server.disk.records import Change, JobPlace, Problem
from server.disk.settings import Settings
from server.disk.speech import say
from server.disk.store import Store
from server.farm import statistics
from server.farm.checks import NOTE, Checks, UsesOf
from server.farm.committer import Committer
from server.farm.committer.board import Board
from server.farm.committer.decide import Op, Turn
from server.farm.committer.dressing import source_address
from server.farm.committer.keeper import Keeper, Subscriber
from server.farm.committer.live import Ended, Live
from server.farm.farm import judging, memory, source, steer
from server.farm.farm.bridging import Bridging
from server.farm.farm.figures import Figures
from server.farm.farm.forecast import Forecast
from server.farm.farm.machines import Machines
from server.farm.farm.neighbours import Neighbours
from server.farm.farm.once import Once
from server.farm.farm.places import Places
from server.farm.farm.powering import Powering
from server.farm.farm.rows import Rows
from server.farm.farm.talk import Talk
from server.farm.farm.views import Views
from server.farm.job_types import JobTypes
from server.farm.jobs import plan as plans
from server.farm.jobs import snapshots, states
from server.farm.jobs.snapshots import Sibling
from server.farm.jobs.submit import Submitter
from server.farm.jobs.texts import LogPart, Text
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

log = logging.getLogger("croft.farm")
Job = Live | Ended  # what `job` and `jobs` give: for `view`
MAX_POTENTIAL_NAMES = 1000
MAX_SIBLINGS = 20  # other jobs of a file that a new one may share its snapshot with
ADVICES, ADVICE_S = 200, 5.0  # how many are kept, and for how long
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
        self._renders: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}  # address -> when, what
        self._advice: dict[str, tuple[float, list[str]]] = {}  # job id -> when, what
        self.figures = Figures(self.board, self.forecast, monotonic, wall, presence)
        self.keeper.duties.append(self.figures.look)
        self.figures.saved_hours = self.powering.saved_hours
        self.watching = Watching(self.board, self._committer, monotonic)
        self._checks = Checks(self.board, self._submitter, self._reasons, uses)
        self._told: dict[str, set[str]] = {}  # prenode's name -> jobs that it knows
        self._told_lock = threading.Lock()
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

    def potential(self, name: Any) -> Any:
        """For a prenode: what it is to have running (`Bridging.answer`). For RFAM's, which sends its name
        alone: the open jobs that it wasn't told of yet."""
        if isinstance(name, dict):
            return self.bridging.answer(name)
        if not isinstance(name, str) or not name or len(name) > 200:
            raise BadInput("A prenode sends its name, as a JSON string.")
        with self._told_lock:
            told = self._told.setdefault(name, set())
            if len(self._told) > MAX_POTENTIAL_NAMES:
                del self._told[next(iter(self._told))]
            found = []
            for job_id in list(self.board.line.jobs()):
                live = self.board.live.get(job_id)
                if live is None or job_id in told:
                    continue
                decided = self.places.of(job_id)
                if not decided.elsewhere if decided is not None else self.places.rules.rules:
                    continue  # told of once it is known that it may be rendered elsewhere
                told.add(job_id)
                found.append(_potential(live, decided.elsewhere if decided is not None else None))
        return found

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
        live = self._fold(job_id)
        with live.settled():
            return self._views.tasks(live, start, limit, state, stage)

    def task(self, job_id: str, n: int) -> dict[str, Any]:
        """One task; NotFound where the job has no such number."""
        live = self._fold(job_id)
        self._check_task(live, n)
        with live.settled():
            return self._views.task(live, n)

    def film(self, job_id: str) -> Film:
        """A job frame by frame, gathered for drawing."""
        live = self._fold(job_id)
        with live.settled():
            return self._views.film(live)

    def frame(self, job_id: str, n: int) -> dict[str, Any]:
        """The task that makes the picture of a job's n-th frame."""
        live = self._fold(job_id)
        with live.settled():
            return self._views.task(live, task_of(live.job, n))

    def records(
        self, job_id: str, start: int = 0, limit: int = 100
    ) -> tuple[list[dict[str, Any]], int | None]:
        """What is kept of the frames that are done, from the n-th on; where the next page begins."""
        live = self._fold(job_id)
        with live.settled():
            return records(live.job, start, limit)

    def advice(self, job_id: str) -> list[str]:
        """What of a job could go better; of one that goes on it may be some seconds old."""
        live, now = self._fold(job_id), self.board.monotonic()
        known = self._advice.get(job_id)
        if known is None or now - known[0] > ADVICE_S:
            if len(self._advice) > ADVICES:
                self._advice.clear()
            known = self._advice[job_id] = (now, [one.text for one in self.figures.advice(live)])
        return known[1]

    def renders(self, address: str, span: list[int] | None, since: str = "") -> dict[str, Any]:
        """What is known of a file's renders; it may be some seconds old: pages ask again and again."""
        now = self.board.monotonic()
        known = self._renders.get((address, since))
        if known is None or now - known[0] > ADVICE_S:
            if len(self._renders) > ADVICES:
                self._renders.clear()
            known = self._renders[address, since] = (now, self.figures.renders(address, span, since))
        return known[1]

    def log(self, job_id: str, n: int, attempt: int = 0, offset: int = 0) -> LogPart:
        """What an attempt at a task says or said, from this position on (negative: so many bytes from the
        end). Without an attempt: the newest that has something. NotFound where nobody has begun it."""
        live = self._fold(job_id)
        self._check_task(live, n)
        with live.settled():
            latest = live.job.latest[n] >> 16
            claim = live.job.claims.get(n)
        running = claim.code >> 16 if claim is not None else 0
        if not latest or not 0 <= attempt <= latest:
            raise NotFound(
                "Task {number} of job {job_id} has no log: nobody has begun with it.", number=n, job_id=job_id
            )
        self.keeper.write_logs()
        kept = live.place.logs.attempts(n, latest)
        number = attempt or running or (kept[-1] if kept else latest)
        attempts = tuple(sorted({*kept, *([running] if running else [])}))
        if claim is not None and number == running:
            self.board.texts.watch(claim.attempt)
            text, start, following, end = self.board.texts.part(claim.attempt, offset)
            return LogPart(text, start, following, end, True, number, attempts)
        found = live.place.logs.read(n, number) or Text()
        return LogPart(*found.part(offset), found.end, False, number, attempts)

    def why(self, job_id: str) -> dict[str, Any]:
        """Why a job waits: `{"sentence", "reasons": [{"kind", "text"}], "nodes": [{"name", "text"}]}`."""
        return self._reasons.why(self.job(job_id))

    def next_up(self, count: int = 3) -> list[str]:
        """The jobs of which a node that can do everything would be given tasks next."""
        return self.board.line.next_up(count)

    def cancel(self, job_id: str, who: str) -> Job:
        """Stop a job for good. Its finished frames stay, its nodes are told to stop."""
        return self._change(job_id, states.CANCELLED, who)

    def pause_job(self, job_id: str, who: str) -> Job:
        """Give out no more of its tasks. What nodes render now is still taken."""
        return self._change(job_id, states.PAUSED, who)

    def resume_job(self, job_id: str, who: str) -> Job:
        """Go on with a paused job. One of another installation is adopted by that."""

        def act(turn: Turn) -> None:
            turn.live.place.restored = False
            if not self.board.ours(turn.job):
                turn.add({"at": turn.at, "event": "site", "value": self._store.site, "by": who})
            if turn.job.state == states.PAUSED:
                begun = turn.job.started and turn.job.counts["done"] + turn.job.counts["claimed"]
                turn.change(states.RUNNING if begun else states.WAITING, by=who)
            elif turn.job.state in states.ENDED:
                states.check(turn.job.id, turn.job.state, states.RUNNING)

        return self._act(job_id, act)

    def set_priority(self, job_id: str, priority: int, who: str) -> Job:
        """1 (last) to 5 (first)."""
        if not isinstance(priority, int) or isinstance(priority, bool) or not 1 <= priority <= 5:
            raise BadInput("A job's priority is a whole number from 1 to 5.")

        def act(turn: Turn) -> None:
            if turn.job.priority != priority:
                turn.add({"at": turn.at, "event": "priority", "value": priority, "by": who})

        return self._act(job_id, act)

    def set_plan(self, job_id: str, changes: Mapping[str, Any], who: str) -> Job:
        """Another `nodes_most` or `start_after` ("" or null: at once); `after: []` waits for no job."""
        zone = self._settings.get("timezone")
        if changes.get("after") not in (None, []):
            raise BadInput("after can only be taken away: [] waits for no other job any more.")
        found = plans.check(
            {k: v for k, v in changes.items() if k != "after"}, self._is_job, self.board.wall(), zone
        )
        event: dict[str, Any] = {"event": "plan", "by": who}
        for key, none in (("nodes_most", 0), ("start_after", "")):
            if key in changes:
                event[key] = found.get(key, none)
        if changes.get("after") == []:
            event["after"] = []

        def act(turn: Turn) -> None:
            self.board.following.remove(turn.job)
            turn.add({"at": turn.at, **event})
            self.board.following.add(turn.live)
            self.board.following.look(turn.live)

        return self._act(job_id, act)

    def inputs(self, job_id: str) -> list[dict[str, Any]]:
        """The files that a job is rendered from, with their hashes."""
        return self.watching.rows(self._fold(job_id))

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
        name = save.removeprefix("render-")
        try:
            if paths.version_number(name) is not None:
                name = str(versions.one(self._store, address, name).get("job") or "")
            return source.dress(self._store, self.job(name).record, copy)
        except CroftError:
            return []  # Race: the render was put away.

    def skip(self, job_id: str, tasks: Iterable[int], who: str) -> Job:
        """Do without these tasks."""
        act = steer.skip(tasks, who)
        self._bring_back(job_id)
        return self._act(job_id, act)

    def forgive(self, job_id: str, who: str, nodes: list[str] | None = None) -> Job:
        """Let nodes that failed at a job have its tasks again, and a job that waits for a licence try now."""
        return self._act(job_id, steer.forgive(nodes, who))

    def forgive_node(self, name: str, who: str) -> dict[str, Any]:
        """A person has looked after a node: it is well, and may have every job's tasks again."""
        node = self._nodes.get(name)
        node.sickness.forgive()
        for live in list(self.board.live.values()):
            if live.state not in states.ENDED and live.job.troubles.knows(name):
                try:
                    self._committer.ask(Op("act", live.id, act=steer.forgive([name], who)))
                except CroftError as error:
                    log.info("job %s doesn't forgive %s: %s", live.id, name, error)
        self.board.tell("node", name)
        return self._views.node(node)

    def _bring_back(self, job_id: str) -> None:
        """Before an ended job goes on: its simulations, which only open jobs keep, or a word why not."""
        live = self._fold(job_id)
        if live.job.state in states.ENDED:
            self._store.check_writable(live.job.address)
            live.place.bring_caches()

    def _change(self, job_id: str, to: str, who: str) -> Job:
        def act(turn: Turn) -> None:
            if turn.job.state != to:
                turn.change(to, by=who)

        return self._act(job_id, act)

    def _act(self, job_id: str, act: Callable[[Turn], Any]) -> Job:
        job = self.job(job_id)
        self._store.check_writable(job.address)
        self._committer.ask(Op("act", job_id, act=act))
        return self.job(job_id)

    def _fold(self, job_id: str) -> Live:
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

    # -- nodes and the farm, people's side ------------------------------------------------------------

    def nodes(self) -> list[dict[str, Any]]:
        """All nodes with what they do."""
        return self.machines.all()

    def node(self, name: str) -> dict[str, Any]:
        """One node; NotFound when it was never heard of."""
        return self.machines.one(name)

    def why_node(self, name: str) -> dict[str, Any]:
        """What a node does or why nothing, and its newest choices: `{"sentence", "choices": […]}`."""
        return self._reasons.why_node(self._nodes.get(name))

    def pause(self, who: str = "", stop: bool = False) -> None:
        """Give out no tasks until `resume`; it keeps through restarts. `stop`: take back what renders."""
        self.machines.pause_all(True, stop)

    def resume(self, who: str = "") -> None:
        """Give out tasks again."""
        self.machines.pause_all(False)

    @property
    def paused(self) -> bool:
        """No node gets new tasks."""
        return self._nodes.farm_paused

    # -- operations -----------------------------------------------------------------------------------

    def _unshown(self) -> dict[str, str]:
        """Jobs that are here and yet have no row, and why."""
        here = (self.board.live, self.board.ended)
        return {ident: why for ident, why in list(self._rows.wrong.items()) if any(ident in j for j in here)}

    def problems(self) -> list[Problem]:
        """What a person should know of the farm."""
        found = [
            Problem(
                f"job:{job_id}",
                "job",
                job_id,
                say("The job {job} is not shown: {why}", job=job_id, why=why),
                say("Put its folder back from a backup, or delete it."),
            )
            for job_id, why in sorted({**self._unshown(), **self.board.broken}.items())
        ]
        found += [
            Problem(
                "config:limits",
                "config",
                "server.json",
                say("server.json: {why}", why=why),
                say("Correct it there."),
            )
            for why in self.board.wrong_limits
        ]
        found += self.places.problems()
        self.types.all()  # as they are now
        for ident, why in sorted(self.types.wrong.items()):
            mend = say("Correct the file; what it said before is used until then.")
            found.append(Problem(f"job-type:{ident}", "config", ident, why, mend))
        found += self.board.room.problems(self.board.writes(live.job) for live in self._held_up())
        for ident, why in sorted(self.board.rules.wrong.items()):
            found.append(
                Problem(f"failure-rules:{ident}", "config", ident, why, say("Correct it in its folder."))
            )
        for live in list(self.board.live.values()):
            if live.place.bad or live.job.bad:
                found.append(
                    Problem(
                        f"journal:{live.job.id}",
                        "job",
                        live.job.address,
                        say(
                            "{bad} lines of the journal of job {id} make no sense and are passed over. What "
                            "they said is lost, the rest counts.",
                            bad=live.place.bad + live.job.bad,
                            id=live.job.id,
                        ),
                        say("Nothing needs to be done; frames that are missing can be rendered again."),
                    )
                )
            if live.job.why.startswith("restored"):
                found.append(
                    Problem(
                        f"restored:{live.job.id}",
                        "job",
                        live.job.address,
                        say("The job {id} was put back from a backup, to an earlier state.", id=live.job.id),
                        say("Look at its frames, then resume or cancel it."),
                    )
                )
        for node in self.powering.lost():
            text = say("The node {node} {did}.", node=node.name, did=node.power_words.partition(";")[0])
            mend = say("Look whether it has power and its cable, and whether Wake-on-LAN is on in its BIOS.")
            found.append(Problem(f"lost:{node.name}", "node", node.name, text, mend))
        for ident, why in sorted(self._nodes.wrong.items()):
            text = say(
                "In the configuration file nodes/{ident}.json something makes no sense: {why}",
                ident=ident,
                why=why,
            )
            found.append(
                Problem(f"node-file:{ident}", "config", ident, text, say("Correct it; the rest counts."))
            )
        for node in self._nodes.present():
            if node.means.wrong_shares:
                names = ", ".join(sorted(node.means.wrong_shares))
                found.append(
                    Problem(
                        f"node:{node.name}",
                        "node",
                        node.name,
                        say(
                            "The node {node} has other data than this server under the name {names}.",
                            node=node.name,
                            names=names,
                        ),
                        say("Correct the paths in its config.json; until then it gets no task there."),
                    )
                )
        return found

    def metrics(self) -> dict[str, float]:
        """Figures for /metrics."""
        heartbeat_s = self._nodes.heartbeat_s()
        now = self.board.monotonic()
        found: dict[str, float] = {
            "commits_total": self._committer.commits,
            "faults_total": self._committer.faults + self.keeper.faults,
            "jobs_in_line": len(self.board.line),
            "refused_results_total": self.board.refused,
            "refused_reports_total": self.board.refused_reports,
            "claims": sum(len(live.job.claims) for live in list(self.board.live.values())),
            "tasks_done": sum(live.job.counts["done"] for live in list(self.board.live.values()))
            + sum(ended.result.get("counts", {}).get("done", 0) for ended in list(self.board.ended.values())),
        }
        job_states = Counter(live.job.state for live in list(self.board.live.values()))
        job_states.update(ended.result["state"] for ended in list(self.board.ended.values()))
        for state in states.STATES:
            found[f"jobs_{state}"] = job_states[state]
        for state, count in Counter(n.state(now, heartbeat_s) for n in self._nodes.present()).items():
            found[f"nodes_{state}"] = count
        return found

    def disagreements(self, job_id: str) -> list[str]:
        """Where a job's sums contradict each other: empty, always."""
        return statistics.disagreements(self._fold(job_id).job)

    def trouble(self, project: str) -> str:
        """What holds up all renders of a project, or some, for a person; "" where nothing does."""
        for live in self._held_up():
            if live.record.get("project") == project:
                return say("Renders wait: {why}.", why=self.board.room.why(self.board.writes(live.job)))
        return ""

    def short_of_room(self) -> bool:
        """Does any open job wait for room on its disk?"""
        return bool(self._held_up())

    def _held_up(self) -> list[Live]:
        """Open jobs that wait for room on their disk."""
        board = self.board
        opened = [live for live in list(board.live.values()) if live.job.open]
        return [live for live in opened if board.room.low(board.writes(live.job))]

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


def _potential(live: Live, most: int | None = None) -> dict[str, Any]:
    job = live.job
    video = job.stages[0].per == "once" and isinstance(job.task_frame(0), list)
    return {
        "uuid": job.id,
        "name": job.record.get("name"),
        "created": job.record.get("created"),
        "file": source_address(job),
        "priority": job.priority,
        "video": video,
        "requires": sorted(job.requires),
        # A number: RFAM's prenode starts so many nodes, or one for a video.
        "frames": len(job.frames) if video else min(job.total, job.total if most is None else most),
    }
