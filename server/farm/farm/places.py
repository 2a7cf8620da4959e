"""Where each job may run now: the rules of `where.json` put to the farm as it is, and what follows told on.

Decided anew every few seconds while there are rules or prenodes, for all jobs at once; the scheduler has the
outcome as part of what a job needs, so that a node's asking costs nothing more. Prenodes are answered from
that, too.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from server.disk import files, paths
from server.disk.records import Problem
from server.disk.settings import Settings
from server.disk.speech import say
from server.farm import policy
from server.farm.committer import Committer
from server.farm.committer.board import Board
from server.farm.committer.live import Live
from server.farm.elsewhere import Asked, Bridges, Ledger, Prenode, Run, Wanted, deal, midnight
from server.farm.elsewhere.bridges import FAILED, STATES
from server.farm.farm.forecast import Here
from server.farm.jobs import states
from server.farm.jobs.job import Claim, Job
from server.farm.nodes import AWAY_HEARTBEATS
from server.farm.policy import Decision, FarmFacts, JobFacts
from server.farm.scheduler import Means, Need, misfit
from server.farm.statistics import moments

log = logging.getLogger("croft.farm")

FRESH_S = 2.0  # how often it is decided anew
ASKED_S = 0.5  # how old a decision may be that a prenode is answered from
SHARE = 25.0  # it is idle for so many times as long as deciding took
AGAIN_S, IDLE_AGAIN_S = 2.0, 5.0  # when a prenode is to ask again
SOON_S = 120.0  # who is done with a frame sooner begins another before a computer elsewhere would
EVERYWHERE = Decision()


class Places:
    """One for a farm. `look` is a duty of the keeper; all else answers from what it found."""

    def __init__(
        self,
        board: Board,
        committer: Committer,
        settings: Settings,
        weight: Callable[[str], float],
        surely_gone: Callable[[str], bool],
        disk: files.Os = files.REAL,
    ) -> None:
        self._board = board
        self._committer = committer
        self._settings = settings
        self._surely_gone = surely_gone
        self.bridges = Bridges(board.monotonic, board.wall)
        self.ledger = Ledger(settings.folder_path, board.wall(), disk)
        self.here = Here(board, board.monotonic, board.wall, weight)
        self.rules, self.wrong = policy.NO_RULES, list[str]()
        self._told: object = None  # of what the rules were read
        self._found: dict[str, Decision] = {}
        self._wanted: list[Wanted] = []
        self._farm = FarmFacts()
        self._due = self._at = self._rests_until = -math.inf  # monotonic
        self._guard = threading.Lock()
        self._follow_rules()
        board.where = self._where

    def close(self) -> None:
        self.here.close()

    def of(self, job_id: str) -> Decision | None:
        """What was decided for a job; None where nobody decides: there are neither rules nor prenodes."""
        return self._found.get(job_id)

    def view(self, job_id: str) -> dict[str, Any] | None:
        """The same as the API tells it, with what waits, runs and failed elsewhere."""
        found = self._found.get(job_id)
        if found is None:
            return None
        runs = [run for one in self.bridges.all() for run in one.runs.values() if run.job == job_id]
        counts = Counter(run.state for run in runs)
        return {
            "here": found.local,
            "elsewhere": found.elsewhere,
            "reason": found.reason,
            "rule": found.rule or None,
            "runs": {state: counts[state] for state in STATES},
        }

    def waits(self, job_id: str) -> str:
        """Why a job waits of which the house's own computers may take nothing; "" where they may."""
        found = self._found.get(job_id)
        if found is None or found.local:
            return ""
        now = self._board.monotonic()
        there = [one for one in self.bridges.all() if one.here(now)]
        if not there:
            return say("{reason}, and nobody is there who starts computers elsewhere", reason=found.reason)
        why: str = next((text for one in there if (text := one.troubles.get(job_id) or one.error)), "")
        return say("{reason}, where {why}", reason=found.reason, why=why) if why else found.reason

    # -- deciding -------------------------------------------------------------------------------------

    def look(self) -> None:
        """Decide anew where that is due."""
        self._follow_rules()
        if self._board.monotonic() >= self._due:
            self._look()

    def _look(self) -> None:
        if not self._guard.acquire(blocking=False):
            return
        try:
            began = self._board.monotonic()
            if self.rules.rules or any(one.here(began) for one in self.bridges.all()):
                self._decide()
                self._apply()
            elif self._found:
                self._found, self._wanted = {}, []
                self._apply()
            self._at = self._board.monotonic()
            self._rests_until = self._at + SHARE * (self._at - began)
            self._due = max(self._at + FRESH_S, self._rests_until)
        finally:
            self._guard.release()

    def _follow_rules(self) -> None:
        told = self._settings.single("where.json")
        if told is not self._told:
            self._told = told
            self.rules, self.wrong = policy.read_rules(told)
            self._due = -math.inf

    def _decide(self) -> None:
        """Every open job, those that come first first: they have the house's own computers."""
        board, rules = self._board, self.rules
        standing: dict[str, tuple[int, set[Need]]] = {}
        for work, count in board.line.lined():
            ready, needs = standing.setdefault(work.job, (0, set()))
            live = board.live.get(work.job)
            if live is not None and not live.job.stages[work.stage].optional:
                needs.add(replace(work.need, where=""))
                standing[work.job] = (ready + count, needs)
        ends = self.here.left() if rules.by_time else {}
        self._farm = FarmFacts(
            max((ends[job] for job in standing if job in ends), default=0.0) / 3600 if ends else None,
            self.node_hours(),
        )
        free, there = self._own_slots(), self._there()
        found: dict[str, Decision] = {}
        wanted: list[Wanted] = []
        lives = [live for live in list(board.live.values()) if self._counts(live)]
        order = {job: n for n, job in enumerate(standing)}
        for live in sorted(lives, key=lambda live: order.get(live.id, len(order))):
            ready, needs = standing.get(live.id, (0, set[Need]()))
            before = self._found.get(live.id, EVERYWHERE)
            facts = self._facts(live, ends, before, ready, there[live.id], _take(free, needs, ready))
            decision = found[live.id] = policy.decide(facts, self._farm, rules)
            if decision.elsewhere:
                wanted.append(Wanted(live.id, frozenset(needs), decision.elsewhere, decision.reason))
        self._found, self._wanted = found, wanted

    def _facts(
        self, live: Live, ends: Mapping[str, float], before: Decision, waiting: int, there: int, here: int
    ) -> JobFacts:
        ends_s = ends.get(live.id)
        return replace(
            _asked(live.job),
            waiting=waiting,
            here=here,
            there=there,
            hours=None if ends_s is None else ends_s / 3600,
            task_s=self.here.seconds_of(live.id),
            rule=before.rule,
        )

    def _counts(self, live: Live) -> bool:
        return live.job.open and self._board.ours(live.job)

    def _own_slots(self) -> Counter[Means]:
        """What the house's own computers will begin soon: their slots, by what they can do."""
        board = self._board
        now, wall, heartbeat_s = board.monotonic(), board.wall(), board.nodes.heartbeat_s()
        found: Counter[Means] = Counter()
        for node in board.nodes.present():
            if not node.means.place and node.may_work(now, heartbeat_s):
                claims = [claim for _, claim in list(node.held.values())]
                late = sum(_left_s(claim, wall) > SOON_S for claim in claims)
                found[node.means] += max(0, node.slots - late)
        return found

    def _there(self) -> Counter[str]:
        """Of each job, how many of its tasks are with computers elsewhere."""
        found: Counter[str] = Counter()
        for node in self._board.nodes.present():
            if node.means.place:
                self.bridges.meet(node.place, node.run)
                found.update(job for job, _ in list(node.held.values()))
        return found

    def _apply(self) -> None:
        """Have the scheduler know what changed."""
        live = self._board.live
        changed = [job for job, one in list(live.items()) if one.where != self._where(one.job)]
        if changed:
            self._committer.do(lambda: self._board.place_again(changed))

    def _where(self, job: Job) -> str:
        """Where a job may run; of one that is new here, by what is known of it already."""
        found = self._found.get(job.id)
        if found is None and self.rules.rules and job.state not in states.ENDED:
            found = policy.decide(replace(_asked(job), waiting=job.total), self._farm, self.rules)
        return found.where if found is not None else ""

    def node_hours(self) -> float:
        """How many hours computers elsewhere have worked today."""
        now = self._board.wall()
        self.ledger.close_silent(now)
        return self.ledger.hours(midnight(now, self._board.nodes.zone()), now)

    def problems(self) -> list[Problem]:
        """What a person should know of it."""
        mend = say("Correct it there: what makes no sense counts for nothing until then.")
        found = [
            Problem(f"config:where {n}", "config", "where.json", say("where.json: {why}.", why=why), mend)
            for n, why in enumerate(self.wrong)
        ]
        for one in self.bridges.all():
            if one.error:
                text = say("The prenode {name} has trouble: {why}", name=one.name, why=one.error)
                look = say("Look at what it prints, on its own computer.")
                found.append(Problem(f"prenode:{one.name}", "node", one.name, text, look))
        if self.ledger.trouble:
            mend = say("Give its folder its rights back.")
            found.append(Problem("ledger:elsewhere", "config", "elsewhere.jsonl", self.ledger.trouble, mend))
        return found

    # -- prenodes -------------------------------------------------------------------------------------

    def answer(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """What a prenode of our own protocol is to have running, for which job. `check`: one of its computers
        only wants to know what it would be told."""
        if told.get("check") is True:
            one = Prenode(str(told.get("name")))
        else:
            one = self.bridges.hear(told)
            self.ledger.hear(one.name, one.runs.values(), self._board.wall())
        self._follow_rules()
        now = self._board.monotonic()
        if now >= max(self._at + ASKED_S, self._rests_until):
            self._look()
        asked = [] if self._board.nodes.farm_paused else self._deal(one)
        one.asked = {ask.job: ask.nodes for ask in asked}
        busy = bool(asked or one.runs)
        return {
            "again": AGAIN_S if busy or len(self._board.line) else IDLE_AGAIN_S,
            "demand": [self._row(ask) for ask in asked],
            "ended": sorted({run.job for run in one.runs.values() if self._over(run.job)}),
            "shares": {share.name: share.id for share in self._board.store.shares},
        }

    def _deal(self, one: Prenode) -> list[Asked]:
        now = self._board.monotonic()
        others = [other for other in self.bridges.all() if other is not one and other.here(now)]
        failed: dict[str, list[Run]] = {}
        for run in one.runs.values():
            if run.state == FAILED and not self.bridges.met(one.name, run.id):
                failed.setdefault(run.job, []).append(run)
        wanted = self._wanted
        told = {want.job for want in wanted}
        wanted = wanted + [  # they need nothing more just now, and keep what runs
            Wanted(job, frozenset(), 0, found.reason)
            for job in sorted(one.active())
            if job not in told and (found := self._found.get(job)) is not None
        ]
        asked = deal(wanted, one, others, self.rules.at_most_nodes, failed, self._board.wall())
        if now - self._board.began < AWAY_HEARTBEATS * self._board.nodes.heartbeat_s():
            # Who is here isn't known yet: the house's own computers speak up first.
            own = one.active()
            asked = [replace(ask, nodes=min(ask.nodes, own[ask.job])) for ask in asked if own[ask.job]]
        return asked + [  # out of sight just now: nothing is changed
            Asked(job, nodes, say("this job can't be seen just now"))
            for job, nodes in sorted(one.active().items())
            if job not in self._board.live and not self._over(job)
        ]

    def _row(self, ask: Asked) -> dict[str, Any]:
        live = self._board.live.get(ask.job)
        if live is None:
            return {"job": ask.job, "nodes": ask.nodes, "reason": ask.reason}
        needs = [work.need for work, s in zip(live.works, live.job.stages, strict=True) if not s.optional]
        return {
            "job": live.id,
            "name": live.record.get("name") or paths.stem_of(paths.name_of(live.address)),
            "project": live.record.get("project"),
            "file": live.address,
            "priority": live.job.priority,
            "requires": sorted(live.job.requires.union(*(need.requires for need in needs))),
            "programs": sorted(frozenset().union(*(need.programs for need in needs))),
            "memory_mb": max((need.memory_mb for need in needs), default=0),
            "nodes": ask.nodes,
            "reason": ask.reason,
        }

    def _over(self, job_id: str) -> bool:
        """Does it need nothing more? Not merely out of sight."""
        live = self._board.live.get(job_id)
        if live is not None:
            return live.state in states.ENDED
        return job_id in self._board.ended or self._surely_gone(job_id)


def _asked(job: Job) -> JobFacts:
    """What rules ask of a job and its request says."""
    project, user, kind = (str(job.record.get(key) or "") for key in ("project", "user", "type"))
    return JobFacts(project, user, kind, job.priority, job.requires)


def _take(free: Counter[Means], needs: set[Need], ready: int) -> int:
    """So many of these tasks the house's own computers begin soon: they are taken from what is free."""
    taken = 0
    for means in list(free):
        if taken >= ready:
            break
        if free[means] > 0 and any(not misfit(need, means) for need in needs):
            some = min(free[means], ready - taken)
            free[means] -= some
            taken += some
    return taken


def _left_s(claim: Claim, wall: float) -> float:
    """How long a task that is out will take still; 0 where nobody knows."""
    if claim.progress < 0.02:
        return 0.0
    gone_s = max(0.0, wall - moments.epoch(claim.at))
    return gone_s * (1 - claim.progress) / claim.progress
