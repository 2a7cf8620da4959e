"""A farm without disks, wires or real time: the real scheduler, committer, verdicts and folds.

`Simulation` has a clock that jumps from one event to the next. Jobs have no files: their journal is a list.
Nodes render for as long as they are told, fail, hang, vanish and come back. What is looked at all the time:
no open node that can do something that waits goes without it.
"""

from __future__ import annotations

import datetime
import heapq
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
from farm_kit import folded

from server.disk.paths import Share
from server.disk.settings import Settings
from server.farm.committer import Bundle, Committer
from server.farm.committer.board import Board
from server.farm.committer.decide import may_give
from server.farm.committer.dressing import work_of
from server.farm.committer.fail import bound_s
from server.farm.committer.live import Live
from server.farm.committer.turn import Op
from server.farm.job_types import JobTypes
from server.farm.job_types.seal import seal
from server.farm.jobs import states
from server.farm.jobs.attempts import split_attempt
from server.farm.jobs.fold import replay
from server.farm.jobs.job import Job
from server.farm.jobs.place import Seen
from server.farm.nodes import Node, Nodes
from server.farm.scheduler import Means, misfit
from server.farm.statistics import disagreements

BEGAN = datetime.datetime(2026, 11, 23, 8, tzinfo=datetime.UTC).timestamp()
LEASE_S = 90.0
IDLE_S = 10.0
CHECKED = 1.0  # of all that go without, so many of a farm's size are looked at again
BLENDER = frozenset({"blender", "ffmpeg"})


class Place:
    """What a job's files would be."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.journal: list[dict[str, Any]] = []
        self.outputs = None
        self.known = None
        self.restored = False
        self.bad = 0

    def catch_up(self) -> Seen:
        return Seen.SAME

    def append(self, events: list[dict[str, Any]]) -> None:
        self.journal += events

    def check_outputs(self, *_: Any) -> str:
        return ""

    def bring_snapshot(self) -> str:
        return ""

    def own_outputs(self, attempt: str, outputs: object) -> list[Any]:
        return []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_: None


class Store:
    """A share that is always there, and has nothing on it."""

    site = "here"

    def __init__(self) -> None:
        self.index = SimpleNamespace(get=lambda address: None)

    def share(self, name: str) -> Share:
        return Share(name, Path("/nowhere"))

    def path(self, address: str) -> Path:
        return Path("/nowhere") / address.partition("::")[2]

    def check_writable(self, *_: Any, **__: Any) -> None:
        pass

    def locks(self, share: str) -> Store:
        return self

    @contextmanager
    def hold(self, *_: Any) -> Iterator[Any]:
        yield SimpleNamespace(check=lambda: None)


class Pool:
    """Instead of threads: so that a seed gives the same run each time."""

    def map(self, function: Callable[[Any], Any], things: Any) -> list[Any]:
        return [function(thing) for thing in things]

    def shutdown(self) -> None:
        pass


@dataclass(eq=False)
class Machine:
    """A simulated node: what it renders, and what is wrong with it."""

    name: str
    slots: int
    speed: float
    real: Node
    doing: dict[str, float] = field(default_factory=dict)  # attempt -> when it will be over
    ready: list[Op] = field(default_factory=list)  # to be said
    up: bool = True
    heard: bool = True  # the server and it can talk
    sick: bool = False
    slow: float = 1.0


class Simulation:
    """`step_s`: what happens within so many seconds is said together."""

    def __init__(self, folder: Path, seed: int, step_s: float = 1.0, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        told = {"heartbeat_s": 10.0, "lease_s": LEASE_S, "site": "here", **settings}
        (folder / "server.json").write_bytes(orjson.dumps(told))
        self.rng = random.Random(seed)
        self.now = 0.0
        self.step_s = step_s
        clock, wall = lambda: self.now, lambda: BEGAN + self.now
        self.settings = Settings(folder)
        store: Any = Store()
        room: Any = SimpleNamespace(why=lambda folders: "", look=lambda folders: False)
        self.nodes = Nodes(self.settings, clock, wall)
        self.board = Board(
            *(self.settings, store, JobTypes(self.settings), self.nodes, self._weight, clock, "server"),
            room=room,
            wall=wall,
        )
        self.committer = Committer(self.board, clock, wall, random.Random(seed))
        self.committer._pool.shutdown()
        pool: Any = Pool()
        self.committer._pool = pool
        self.weights: dict[str, int] = {}
        self.machines: list[Machine] = []
        self.seconds: dict[str, Callable[[int], float]] = {}  # job -> how long each task takes
        self.bad: dict[str, Callable[[int], bool]] = {}  # job -> which tasks fail on every node
        self.accepted: Counter[tuple[str, int]] = Counter()
        self.busy: defaultdict[tuple[str, str], float] = defaultdict(float)  # project, user -> slot seconds
        self.idle_checks = 0
        self._last_busy = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = 0
        self._hungry: dict[Machine, None] = {}
        self._waking = False

    def close(self) -> None:
        self.committer.close()

    # -- what there is --------------------------------------------------------------------------------

    def machine(self, slots: int = 1, speed: float = 1.0, provides: str = "", memory_mb: int = 0) -> Machine:
        """One more node."""
        name = f"n{len(self.machines):03}"
        node = self.nodes.meet(name)
        node.slots, node.protocol = slots, 2
        node.means = Means(
            shares=frozenset({"data"}),
            provides=frozenset(provides.split()),
            programs=BLENDER,
            memory_mb=memory_mb,
        )
        if memory_mb:
            node.hardware = {"memory_mb": memory_mb}
        found = Machine(name, slots, speed, node)
        self.machines.append(found)
        self._hear(found, True)
        self._hungry[found] = None
        return found

    def job(
        self,
        project: str,
        user: str,
        frames: int,
        seconds: Callable[[int], float] | float,
        preview: bool = False,
        bad: Callable[[int], bool] | None = None,
        **more: Any,
    ) -> str:
        """Submit a job; its id."""
        self._serial += 1
        ident = f"j{self._serial:06}"
        record: dict[str, Any] = {
            "id": ident,
            "type": "test-pattern",
            "file": f"data::{project}/a.blend",
            "project": project,
            "user": user,
            "frames": f"1-{frames}",
            "total": frames,
            "site": "here",
            "retries": 3,
            "name": ident,
            "base": "a.####",
            "output": "version",
            "created": self._at(),
            **more,
        }
        stage = {"name": "render", "per": "frame", "programs": ["blender"], "commands": [{"do": "x"}]}
        stages = [stage]
        if preview:
            after = [{"stage": "render", "by": "all"}]
            film = {"name": "preview", "per": "once", "after": after, "optional": True}
            stages.append({**film, "programs": ["ffmpeg"], "commands": [{"do": "y"}]})
        record["stages"] = stages
        record["seal"] = seal(self.board._secret, record)
        job = Job(record, record["file"], "")
        works = [work_of(job, stage, self.board.types, self.board._secret) for stage in job.stages]
        place: Any = Place(job)
        live = Live(job, place, works, self._weight(record["file"]))
        live.ready = True
        self.seconds[ident] = seconds if callable(seconds) else lambda task: float(seconds)
        if bad is not None:
            self.bad[ident] = bad
        self.board.add(live)
        self._wake()
        return ident

    def _weight(self, address: str) -> int:
        return self.weights.get(address.partition("::")[2].partition("/")[0], 3)

    def live(self, ident: str) -> Live:
        return self.board.live[ident]

    # -- time -----------------------------------------------------------------------------------------

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Have something happen then."""
        self._serial += 1
        heapq.heappush(self._events, (when, self._serial, what))

    def run(self, until: float, done: Callable[[], bool] = lambda: False) -> None:
        """Let time go by, until then or until `done`."""
        self._talk()
        while self._events and self._events[0][0] <= until and not done():
            self._move(max(self.now, self._events[0][0]))
            while self._events and self._events[0][0] <= self.now + self.step_s:
                heapq.heappop(self._events)[2]()
            self._talk()
        if not done():
            self._move(max(self.now, until))

    def _move(self, to: float) -> None:
        """Count whose tasks are out meanwhile."""
        passed = to - self._last_busy
        if passed > 0:
            for project in self.board.line._projects.values():
                for person in project.people.values():
                    if person.in_use:
                        self.busy[project.ident, person.ident] += person.in_use * passed
            self._last_busy = to
        self.now = to

    def _at(self) -> str:
        when = datetime.datetime.fromtimestamp(BEGAN + self.now, datetime.UTC)
        return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")

    # -- talking --------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Something new is there: who has nothing to do asks again, as it does every few seconds."""
        self._waking = False
        if not len(self.board.line):
            return
        for machine in self.machines:
            if len(machine.doing) < machine.slots:
                self._hungry[machine] = None

    def _talk(self) -> None:
        """All who have something to say or room for more, in one commit; until nobody gets more."""
        asking = [m for m in self._hungry if m.up and m.heard]
        self._hungry.clear()
        self.rng.shuffle(asking)
        bundles = []
        for machine in asking:
            free = machine.slots - len(machine.doing)
            wants = free if not machine.real.closed(self.now) else 0
            ops, machine.ready = machine.ready, []
            if ops or wants > 0:
                bundles.append((machine, Bundle(machine.real, max(0, wants), ops)))
        if not bundles:
            return
        self.committer.commit([bundle for _, bundle in bundles])
        for machine, bundle in bundles:
            for op in bundle.ops:
                assert op.error is None, op.error
                if op.kind == "done" and op.answer.startswith(b'{"id":"accepted"'):
                    self.accepted[op.job_id, op.task] += 1
            for answer in bundle.answers:
                self._start(machine, orjson.loads(answer)["uuid"])
            if bundle.ops and len(machine.doing) < machine.slots:
                rest = machine.real.sickness.rests_until
                self.at(max(self.now + 5, rest + 0.1), lambda m=machine: self._hungry.setdefault(m))
        for machine, bundle in bundles:
            if bundle.wants > len(bundle.answers) and self.rng.random() < CHECKED / len(self.machines):
                self._check_idle(machine)

    def _check_idle(self, machine: Machine) -> None:
        """It wanted more and got nothing: is there truly nothing that it could do?"""
        self.idle_checks += 1
        node = machine.real
        if node.closed(self.now):
            return
        limits = self.board.line._limits
        going = [live for live in self.board.live.values() if live.job.open or live.job.claims]
        out = Counter((live.record["user"]) for live in going for _ in live.job.claims)
        teams = Counter(live.record["project"] for live in going for _ in live.job.claims)
        licences = Counter(
            name
            for live in going
            for task in live.job.claims
            for name in live.works[live.job.stage_of(task).index].need.licences
        )
        for live in going:
            job, user, project = live.job, live.record["user"], live.record["project"]
            if not job.open or job.plan.start > BEGAN + self.now or live.held_until > self.now:
                continue
            if job.plan.most and len(job.claims) >= job.plan.most:
                continue
            most, team = limits.of_user(user), limits.projects.get(project)
            if (most is not None and out[user] >= most) or (team is not None and teams[project] >= team):
                continue
            for stage, (work, ready) in enumerate(zip(live.works, job.ready, strict=True)):
                if not ready or misfit(work.need, node.means):
                    continue
                if any(licences[n] >= limits.licences[n] for n in work.need.licences if n in limits.licences):
                    continue
                if may_give(self.board, live, node, stage):
                    raise AssertionError(
                        f"{machine.name} goes without {job.id}, stage {stage}, at {self.now}"
                    )

    def _start(self, machine: Machine, attempt: str) -> None:
        found = split_attempt(attempt)
        assert found is not None
        ident, task, code = found
        live = self.live(ident)
        claim = live.job.held(task, code)
        if claim is None:
            return  # the job came to its end in the same commit: its first report is answered by a kill
        claim.deadline = float("inf")  # it reports
        seconds = 0.5 if machine.sick else self.seconds[ident](task) * machine.speed * machine.slow
        bound = bound_s(self.board, live, machine.real, task)
        timed_out = bool(bound) and seconds > bound
        seconds = bound if timed_out else seconds
        machine.doing[attempt] = self.now + seconds
        self.at(self.now + seconds, lambda: self._over(machine, attempt, found, seconds, timed_out))

    def _over(
        self, machine: Machine, attempt: str, found: tuple[str, int, int], seconds: float, timed_out: bool
    ) -> None:
        if machine.doing.pop(attempt, None) is None:
            return  # it was killed meanwhile
        ident, task, code = found
        data: dict[str, Any] = {"time": seconds, "outputs": []}
        kind = "done"
        if timed_out:
            kind, data = "failed", {"reason": "time-out", "log": "too slow"}
        elif machine.sick or (ident in self.bad and self.bad[ident](task)):
            kind, data = "failed", {"reason": "crash", "log": "Segmentation fault"}
        machine.ready.append(Op(kind, ident, task, code, attempt, machine.real, data))
        self._hungry[machine] = None
        if not self._waking:  # who is idle asks every few seconds: something may have become ready
            self._waking = True
            self.at(self.now + IDLE_S, self._wake)

    # -- trouble --------------------------------------------------------------------------------------

    def _hear(self, machine: Machine, heard: bool) -> None:
        """Silent from now on, or talking again."""
        machine.heard = heard
        machine.real.seen = 1e18 if heard else self.now
        machine.real.seen_at = BEGAN + self.now
        for _, claim in list(machine.real.held.values()):
            claim.deadline = float("inf") if heard else self.now + LEASE_S
        if not heard:
            self.at(self.now + LEASE_S + 1, lambda: self._expire(machine))

    def _expire(self, machine: Machine) -> None:
        ops = [
            Op("expire", ident, claim.task, claim.code, attempt)
            for attempt, (ident, claim) in list(machine.real.held.items())
            if claim.deadline < self.now
        ]
        if ops:
            self.committer.commit([Bundle(ops=ops)])
            self._wake()

    def kill(self, machine: Machine, for_s: float) -> None:
        """The program is gone, with all that it rendered; started again later."""
        machine.up = False
        machine.doing.clear()
        machine.ready.clear()
        self._hear(machine, False)
        self.at(self.now + for_s, lambda: self._back(machine))

    def disconnect(self, machine: Machine, for_s: float) -> None:
        """It renders on, and delivers when the network is back."""
        self._hear(machine, False)
        self.at(self.now + for_s, lambda: self._back(machine))

    def _back(self, machine: Machine) -> None:
        machine.up = True
        self._hear(machine, True)
        for attempt in list(machine.doing):
            found = split_attempt(attempt)
            if found is not None and self.live(found[0]).job.held(found[1], found[2]) is None:
                del machine.doing[attempt]  # its report is answered by a kill
        # What it was given and doesn't speak of any more is sent again: to be rendered anew.
        for attempt in list(machine.real.held):
            if attempt not in machine.doing and all(op.attempt != attempt for op in machine.ready):
                self._start(machine, attempt)
        self._hungry[machine] = None

    def make_sick(self, machine: Machine, for_s: float) -> None:
        """Everything fails on it, quickly."""
        machine.sick = True

        def heal() -> None:
            machine.sick = False

        self.at(self.now + for_s, heal)

    def slow_down(self, machine: Machine, times: float, for_s: float) -> None:
        machine.slow = times

        def recover() -> None:
            machine.slow = 1.0

        self.at(self.now + for_s, recover)

    def ask_about(self, idents: list[str]) -> None:
        """Have jobs looked at."""
        if idents:
            self.committer.commit([Bundle(ops=[Op("look", ident) for ident in idents])])
            self._wake()

    # -- the end --------------------------------------------------------------------------------------

    def unfinished(self) -> list[str]:
        return [ident for ident, live in self.board.live.items() if live.state not in states.ENDED]

    def check(self) -> None:
        """Every frame of every healthy job is done once, and all sums add up."""
        for ident, live in self.board.live.items():
            job, place = live.job, live.place
            assert disagreements(job) == []
            assert not job.claims
            again = Job(job.record, job.address, job.folder)
            replay(again, place.journal)  # type: ignore[attr-defined]
            assert folded(again) == folded(job)
            done = Counter(e["task"] for e in place.journal if e["event"] == "done")  # type: ignore[attr-defined]
            assert not done or max(done.values()) == 1
            if ident not in self.bad:
                assert job.state == states.DONE, (ident, job.state, job.why)
                assert job.counts["done"] == job.total
                assert done.keys() >= set(range(job.total))
            else:
                assert job.state in (states.DONE, states.FAILED, states.PAUSED), (ident, job.state)
        assert all(not node.held for node in self.nodes.present())
        assert max(self.accepted.values()) == 1
        for project in self.board.line._projects.values():
            assert project.in_use == 0
            assert project.load == 0
            for person in project.people.values():
                assert (person.in_use, person.load) == (0, 0)
        assert not +self.board.line._licences
        assert len(self.board.line) == 0
