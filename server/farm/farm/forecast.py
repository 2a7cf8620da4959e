"""When each unfinished job will be done, worked out aside while somebody looks.

A look answers with what is known and has it worked out again where that is a few seconds old; so pages
never wait for it, a thousand jobs cost a small part of a core, and an idle farm nothing. The sums
themselves are `statistics.estimate`'s; here its questions are gathered from the board.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from statistics import median
from typing import Any

from server.farm.committer.board import Board
from server.farm.committer.live import Live
from server.farm.jobs import states
from server.farm.jobs.attempts import Claim
from server.farm.jobs.job import Job
from server.farm.jobs.tasks import DONE
from server.farm.nodes import Node
from server.farm.scheduler import Need, misfit
from server.farm.statistics import estimate, moments
from server.farm.statistics.estimate import Computer, Ends, Stage, Work

log = logging.getLogger("croft.farm")

FRESH_S = 3.0  # an estimate of so few seconds ago is answered as it is
SHARE = 25.0  # it is idle for so many times as long as it worked
FIRST_S = 0.5  # who looks first waits at most so long
SAMPLE = 200  # of a stage's done tasks are looked at
OTHERS_SPREAD = 0.5  # of a frame's time where only earlier renders of the file tell of it
PROJECT_SPREAD = 1.2  # where only the project's other renders do
OWN_LEAST_SPREAD = 0.15
HISTORY = 2000  # ended jobs that are looked at for how long frames took


class Forecast:
    """`of` answers; `work_out` does it now, for tests."""

    def __init__(
        self,
        board: Board,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        weight: Callable[[str], float],
    ) -> None:
        """`weight` is a project's share of the farm against the others', by the project's ident."""
        self._board = board
        self._monotonic = monotonic
        self._wall = wall
        self._weight = weight
        self._found: dict[str, Ends] = {}
        self._at = 0.0  # wall clock: when that was worked out
        self._due = -math.inf  # monotonic: not again before
        self._samples: dict[tuple[str, int], tuple[int, tuple[float, float, int]]] = {}
        self._seconds: dict[str, float | None] = {}  # job -> of a task on a usual computer
        self._wanted, self._first, self._ending = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()
        self.faults = 0

    def of(self, job_id: str) -> Ends | None:
        """A job's end in seconds since the epoch; None where none can be told."""
        self._ask()
        found = self._found.get(job_id)
        if found is None:
            return None
        return Ends(found.earliest + self._at, found.likely + self._at, found.latest + self._at)

    def view(self, job_id: str) -> dict[str, str] | None:
        """The same as the API tells it."""
        found = self.of(job_id)
        if found is None:
            return None
        times = {"earliest": found.earliest, "likely": found.likely, "latest": found.latest}
        return {name: moments.stamp(second) for name, second in times.items()}

    def over(self, job_ids: Iterable[str]) -> tuple[dict[str, str] | None, int]:
        """When the last of these jobs will be done, and of how many it can't be told."""
        found = [(job_id, self.of(job_id)) for job_id in job_ids]
        known = [ends for _, ends in found if ends is not None]
        if not known:
            return None, len(found)
        names = ("earliest", "likely", "latest")
        last = {name: moments.stamp(max(getattr(ends, name) for ends in known)) for name in names}
        return last, len(found) - len(known)

    def slots(self) -> int:
        """How many frames can be rendered at once by the computers that take work now."""
        now, heartbeat_s = self._monotonic(), float(self._board.settings.get("heartbeat_s"))
        return sum(node.slots for node in self._board.nodes.present() if node.may_work(now, heartbeat_s))

    def close(self) -> None:
        self._ending.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(timeout=20)

    def _ask(self, patience_s: float = FIRST_S) -> None:
        if self._monotonic() < self._due:
            return
        with self._guard:
            if self._thread is None and not self._ending.is_set():
                self._thread = threading.Thread(target=self._run, name="farm-forecast", daemon=True)
                self._thread.start()
        self._wanted.set()
        self._first.wait(patience_s)

    def _run(self) -> None:
        while True:
            self._wanted.wait()
            if self._ending.is_set():
                return
            self._wanted.clear()
            began = self._monotonic()
            try:
                self.work_out()
            except Exception:
                self.faults += 1
                log.exception("the ends of jobs can't be estimated")
            self._due = self._monotonic() + max(FRESH_S, SHARE * (self._monotonic() - began))
            self._first.set()

    def work_out(self) -> dict[str, Ends]:
        """Look at the queue as it is now: each job's end in seconds from now."""
        at = self._wall()
        found: dict[str, Ends] = {}
        if not self._board.nodes.farm_paused:
            lives = [live for live in list(self._board.live.values()) if self._counts(live)]
            needs: dict[Need, int] = {}
            for live in lives:
                for part in live.works:
                    needs.setdefault(part.need, len(needs))
            paces = estimate.paces(self._parts())
            computers = self._computers(needs, paces)
            if computers:
                past = _Past(self._board)
                works = [self._work(live, needs, paces, past, at) for live in lives]
                found = estimate.ends(works, computers)
            kept = {live.id for live in lives}
            self._samples = {key: value for key, value in self._samples.items() if key[0] in kept}
            self._seconds = {key: value for key, value in self._seconds.items() if key in kept}
        self._found, self._at = found, at
        return found

    def _counts(self, live: Live) -> bool:
        job = live.job
        return (
            job.state in states.OPEN
            and self._board.ours(job)
            and all(w.commandment or s.optional for s, w in zip(job.stages, live.works, strict=True))
            and not (job.held_back and any(self._over(after.job) for after in job.plan.after))
        )

    def _over(self, job_id: str) -> bool:
        """Has a job that others wait for ended undone, or gone? Then nobody knows when they go on."""
        other = self._board.live.get(job_id) or self._board.ended.get(job_id)
        return other is None or (other.state in states.ENDED and other.state != states.DONE)

    def _parts(self) -> Iterable[Mapping[str, tuple[float, float]]]:
        for live in list(self._board.live.values()):
            if len(live.job.usage.by_node) > 1:
                yield {name: (s[0], s[1] / 1000) for name, s in live.job.usage.by_node.copy().items()}
        for ended in list(self._board.ended.values())[-HISTORY:]:
            nodes = ended.result.get("nodes")
            if isinstance(nodes, dict) and len(nodes) > 1:
                yield {name: (told.get("done", 0), told.get("seconds", 0)) for name, told in nodes.items()}

    def _computers(self, needs: Mapping[Need, int], paces: Mapping[str, float]) -> list[Computer]:
        now = self._monotonic()
        heartbeat_s = float(self._board.settings.get("heartbeat_s"))
        served: dict[Any, frozenset[int]] = {}
        found = []
        for node in self._board.nodes.present():
            if not node.may_work(now, heartbeat_s):
                continue
            key = self._likeness(node)
            serves = served.get(key)
            if serves is None:
                serves = served[key] = frozenset(n for need, n in needs.items() if self._can(node, need))
            found.append(Computer(node.name, node.slots, serves, paces.get(node.name, 1.0)))
        return found

    @staticmethod
    def _likeness(node: Node) -> Any:
        return node.means

    def _can(self, node: Node, need: Need) -> bool:
        return not misfit(need, node.means)

    def _claims(self, job: Job) -> list[Claim]:
        """What of it is out."""
        return list(job.claims.values())

    # -- one job --------------------------------------------------------------------------------------

    def _work(
        self, live: Live, needs: Mapping[Need, int], paces: Mapping[str, float], past: _Past, at: float
    ) -> Work:
        job, record = live.job, live.job.record
        stages = []
        claims = self._claims(job)
        for stage, part in zip(job.stages, live.works, strict=True):
            if stage.optional:  # nobody waits for it
                continue
            out = [claim for claim in claims if stage.first <= claim.task < stage.end]
            found = self._stage(job, stage.index, stage.first, stage.end, out, paces, past, at)
            stages.append(replace(found, need=needs[part.need]))
            if stage.index == 0:
                self._seconds[job.id] = found.seconds
        plan = job.plan  # as people changed it since
        return Work(
            id=job.id,
            project=str(record.get("project") or ""),
            user=str(record.get("user") or ""),
            stages=tuple(stages),
            priority=job.priority,
            created=str(record.get("created") or ""),
            weight=self._weight(str(record.get("project") or "")),
            most=plan.most,
            begins=max(0.0, plan.start - at),
            after=tuple(one.job for one in plan.after),
        )

    def _stage(
        self,
        job: Job,
        number: int,
        first: int,
        end: int,
        out: list[Claim],
        paces: Mapping[str, float],
        past: _Past,
        at: float,
    ) -> Stage:
        waiting = job.cells.count(b"w", first, end)
        mean, spread, known = self._sample(job, number, first, end, paces)
        seconds: float | None = mean if known else None
        if not known:
            seconds, spread = past.seconds(job, number)
            known = 1 if seconds is not None else 0
        running = []
        for claim in out:
            gone_s = max(0.0, at - moments.epoch(claim.at))
            if seconds is None and claim.progress >= 0.1:  # its first frame tells of the others
                seconds, spread, known = gone_s / claim.progress, OTHERS_SPREAD, 1
            if claim.progress > 0:
                running.append(max(0.01, 1 - claim.progress))
            elif seconds:
                running.append(max(0.05, 1 - gone_s / (seconds * paces.get(claim.node, 1.0))))
            else:
                running.append(1.0)
        return Stage(waiting, tuple(running), seconds, spread, known)

    def _sample(
        self, job: Job, number: int, first: int, end: int, paces: Mapping[str, float]
    ) -> tuple[float, float, int]:
        """A task's mean seconds on a usual computer, its relative deviation, and how many tasks say so."""
        done = job.counts["done"] + job.extras["done"]
        known = self._samples.get((job.id, number))
        if known is not None and known[0] == done:
            return known[1]
        step = max(1, (end - first) // (SAMPLE * 4))
        times = []
        for task in range(first, end, step):
            if job.cells[task] == DONE:
                pace = paces.get(job.done_by(task), 1.0)
                times.append(job.milliseconds[task] / 1000 / pace)
                if len(times) >= SAMPLE * 2:
                    break
        found = (0.0, 0.0, 0)
        if times:
            mean = sum(times) / len(times)
            spread = math.sqrt(sum((t - mean) ** 2 for t in times) / len(times)) / mean if mean else 0.0
            if len(times) < 4:
                spread = max(spread, OTHERS_SPREAD)
            found = (mean, max(spread, OWN_LEAST_SPREAD), len(times))
        self._samples[job.id, number] = (done, found)
        return found


class Here(Forecast):
    """When the house's own computers alone would be done with all that waits, wherever it may run."""

    def left(self, patience_s: float = 0.0) -> dict[str, float]:
        """Of each job, seconds from now; it may be a moment old. Who looks first waits at most so long."""
        self._ask(patience_s)
        gone_s = self._wall() - self._at
        return {job: max(0.0, ends.likely - gone_s) for job, ends in self._found.items()}

    def seconds_of(self, job_id: str) -> float | None:
        """A task's seconds on a usual computer; None while nobody knows."""
        return self._seconds.get(job_id)

    def _can(self, node: Node, need: Need) -> bool:
        return not node.place and not misfit(replace(need, where=""), node.means)

    def _claims(self, job: Job) -> list[Claim]:
        nodes = self._board.nodes
        return [claim for claim in job.claims.values() if not nodes.known(claim.node).place]


class _Past:
    """How long frames took in jobs before: of this file, else of this project."""

    def __init__(self, board: Board) -> None:
        self._files: dict[tuple[str, Any], list[float]] = {}
        self._projects: dict[tuple[Any, Any], list[float]] = {}
        for ended in list(board.ended.values())[-HISTORY:]:
            self._take(ended.record, ended.address, ended.result.get("seconds_per_task"))
        for live in list(board.live.values()):
            job = live.job
            if done := job.counts["done"]:
                self._take(job.record, job.address, job.usage.milliseconds / done / 1000)

    def _take(self, record: Mapping[str, Any], address: str, seconds: Any) -> None:
        if isinstance(seconds, (int, float)) and seconds > 0:
            kind = record.get("type")
            self._files.setdefault((address, kind), []).append(float(seconds))
            self._projects.setdefault((record.get("project"), kind), []).append(float(seconds))

    def seconds(self, job: Job, number: int) -> tuple[float | None, float]:
        """And how much it may differ, relative."""
        if number:  # a later stage, such as a preview: what frames take says nothing of it
            return (None, 0.0) if not job.total else (_LATER_S, PROJECT_SPREAD)
        kind = job.record.get("type")
        if mine := self._files.get((job.address, kind)):
            return mine[-1], OTHERS_SPREAD
        if others := self._projects.get((job.record.get("project"), kind)):
            return median(others), PROJECT_SPREAD
        return None, 0.0


_LATER_S = 10.0  # a stage after the first, of which none is done yet: a film of the frames, mostly
