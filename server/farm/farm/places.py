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
from server.farm.elsewhere import Bridges, Ledger, Wanted, midnight
from server.farm.elsewhere.bridges import STATES
from server.farm.farm.forecast import Here
from server.farm.jobs import states
from server.farm.jobs.attempts import Claim
from server.farm.jobs.job import Job
from server.farm.nodes.node import MAY_WORK
from server.farm.policy import Decision, FarmFacts, JobFacts, Rules
from server.farm.scheduler import Means, Need, misfit
from server.farm.statistics import moments

log = logging.getLogger("croft.farm")

FRESH_S = 2.0  # how often it is decided anew
ASKED_S = 0.5  # how old a decision may be that a prenode is answered from
SHARE = 25.0  # it is idle for so many times as long as deciding took
SOON_S = 120.0  # who is done with a frame sooner begins another before a computer elsewhere would
PATIENCE_S = 2.0  # who tries rules out waits at most so long for how long the queue is
TAKING = (*MAY_WORK, "waking")  # states of a computer that begins a frame soon
EVERYWHERE = Decision()


class Places:
    """One for a farm. `look` is a duty of the keeper; all else answers from what it found."""

    def __init__(
        self,
        board: Board,
        committer: Committer,
        settings: Settings,
        weight: Callable[[str], float],
        disk: files.Os = files.REAL,
    ) -> None:
        self._board = board
        self._committer = committer
        self._settings = settings
        self.bridges = Bridges(board.monotonic, board.wall)
        self.ledger = Ledger(settings.folder_path, board.wall(), disk)
        self.here = Here(board, board.monotonic, board.wall, weight)
        self.rules, self.wrong = policy.NO_RULES, list[str]()
        self._told: object = None  # of what the rules were read
        self._found: dict[str, Decision] = {}
        self.wanted: list[Wanted] = []
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
        counts = self.bridges.counts(job_id)
        return {**_told(found), "runs": {state: counts[state] for state in STATES}}

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

    def dry(self, told: Mapping[str, Any] | None) -> dict[str, Any]:
        """What these rules would decide of every open job, beside what was decided; None: those that count.
        Changes nothing."""
        rules, wrong = (self.rules, self.wrong) if told is None else policy.read_rules(told)
        farm, asked = self._gather(rules, PATIENCE_S)
        return {
            "wrong": wrong,
            "queue_hours": farm.queue_hours,
            "node_hours_today": round(farm.node_hours_today, 3),
            "jobs": [
                {
                    **summary(live),
                    "waiting": facts.waiting,
                    "hours": facts.hours,
                    "now": _told(policy.decide(facts, farm, self.rules)),
                    "then": _told(policy.decide(facts, farm, rules)),
                }
                for live, _, facts in asked
            ],
        }

    # -- deciding -------------------------------------------------------------------------------------

    def look(self) -> None:
        """Decide anew where that is due."""
        self._follow_rules()
        if self._board.monotonic() >= self._due:
            self._look()

    def freshen(self) -> None:
        """Decide anew unless that was done just now: a prenode asks."""
        self._follow_rules()
        if self._board.monotonic() >= max(self._at + ASKED_S, self._rests_until):
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
                self._found, self.wanted = {}, []
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
        self._farm, asked = self._gather(self.rules)
        found: dict[str, Decision] = {}
        wanted: list[Wanted] = []
        for live, needs, facts in asked:
            decision = found[live.id] = policy.decide(facts, self._farm, self.rules)
            if decision.elsewhere:
                wanted.append(Wanted(live.id, needs, decision.elsewhere, decision.reason))
        if self._found != found:
            for job_id in {*self._found, *found}:
                if self._found.get(job_id) != found.get(job_id):
                    self._board.tell("job", job_id)
        self._found, self.wanted = found, wanted

    def _gather(
        self, rules: Rules, patience_s: float = 0.0
    ) -> tuple[FarmFacts, list[tuple[Live, frozenset[Need], JobFacts]]]:
        """What rules ask of the farm, and of every open job in the order of the line. `patience_s`: how long
        the first look at what lies ahead is waited for."""
        board = self._board
        standing: dict[str, tuple[int, set[Need]]] = {}
        for work, count in board.line.lined():
            ready, needs = standing.setdefault(work.job, (0, set()))
            live = board.live.get(work.job)
            if live is not None and not live.job.stages[work.stage].optional:
                needs.add(replace(work.need, where=""))
                standing[work.job] = (ready + count, needs)
        ends = self.here.left(patience_s) if rules.by_time else {}
        known = [ends[job] for job in standing if job in ends]
        farm = FarmFacts(max(known, default=0.0) / 3600 if ends else None, self.node_hours())
        free, there = self._own_slots(), self._there()
        lives = [live for live in list(board.live.values()) if live.job.open and board.ours(live.job)]
        order = {job: n for n, job in enumerate(standing)}
        found = []
        for live in sorted(lives, key=lambda live: order.get(live.id, len(order))):
            ready, needs = standing.get(live.id, (0, set[Need]()))
            before, ends_s = self._found.get(live.id, EVERYWHERE), ends.get(live.id)
            facts = replace(
                _asked(live.job),
                waiting=ready,
                here=_take(free, needs, ready) if before.local else 0,
                there=there[live.id],
                hours=None if ends_s is None else ends_s / 3600,
                task_s=self.here.seconds_of(live.id),
                rule=before.rule,
            )
            found.append((live, frozenset(needs), facts))
        return farm, found

    def _own_slots(self) -> Counter[Means]:
        """What the house's own computers will begin soon: their slots, by what they can do."""
        board = self._board
        now, wall, heartbeat_s = board.monotonic(), board.wall(), board.nodes.heartbeat_s()
        found: Counter[Means] = Counter()
        for node in board.nodes.present():
            if not node.means.place and node.state(now, heartbeat_s) in TAKING:
                claims = [claim for _, claim in list(node.held.values())]
                late = sum(_left_s(claim, wall) > SOON_S for claim in claims)
                found[node.means] += max(0, node.slots - late)
        return found

    def _there(self) -> Counter[str]:
        """Of each job, how many computers elsewhere are at it. What they hold for later counts for none."""
        found: Counter[str] = Counter()
        for node in self._board.nodes.present():
            if node.means.place:
                self.bridges.meet(node.place, node.run)
                found.update([job for job, _ in list(node.held.values())][: node.slots])
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


def summary(live: Live) -> dict[str, Any]:
    """Which job it is."""
    return {
        "job": live.id,
        "name": live.record.get("name") or paths.stem_of(paths.name_of(live.address)),
        "project": live.record.get("project"),
        "user": live.record.get("user"),
        "file": live.address,
        "priority": live.job.priority,
    }


def _told(found: Decision) -> dict[str, Any]:
    return {
        "here": found.local,
        "elsewhere": found.elsewhere,
        "reason": found.reason,
        "rule": found.rule or None,
    }


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
