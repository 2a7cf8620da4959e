"""A job, the farm and the rules: where the job may run, on how many computers elsewhere, and why."""

from __future__ import annotations

import math
from dataclasses import dataclass

from server.disk.speech import count, say
from server.farm.policy.rules import BOTH, ELSEWHERE, LOCAL, NEVER, OVERFLOW, Rule, Rules

STEADY = 0.9  # what passed a limit of hours counts as over it until it is so far below

HERE, THERE, NOWHERE, ANYWHERE = "here", "elsewhere", "nowhere", ""


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What rules ask of a job."""

    project: str = ""
    user: str = ""
    type: str = ""
    priority: int = 3
    requires: frozenset[str] = frozenset()
    waiting: int = 0  # tasks that could be begun now
    here: int = 0  # of these: what the house's own computers begin before others could
    there: int = 0  # computers elsewhere that are at it
    hours: float | None = None  # until the house's own computers alone would be done with it; None: not known
    task_s: float | None = None  # of a task on a usual computer
    rule: int = 0  # that decided when it was looked at last


@dataclass(frozen=True, slots=True)
class FarmFacts:
    """What rules ask of the farm."""

    queue_hours: float | None = None  # until the house's own computers would be done with all that waits
    node_hours_today: float = 0.0  # that computers elsewhere worked


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a job may run now."""

    local: bool = True  # on the house's own computers
    remote: bool = True  # on those elsewhere that are there
    elsewhere: int = 0  # how many should wait or run elsewhere, those that do included
    reason: str = ""
    rule: int = 0  # which rule decided; 0: none did

    @property
    def where(self) -> str:
        """The same in a word, for the scheduler."""
        if self.local:
            return ANYWHERE if self.remote else HERE
        return THERE if self.remote else NOWHERE


def decide(job: JobFacts, farm: FarmFacts, rules: Rules) -> Decision:
    """What the rules say of a job now."""
    fitting = [rule for rule in rules.rules if _fits(rule, job, farm)]
    rule = next((r for r in fitting if r.then == NEVER), None) or next(iter(fitting), _NONE)
    if rule.then == NEVER:
        return Decision(True, False, 0, _say(rule, say("it is never rendered elsewhere")), rule.number)
    if rule.then == LOCAL:
        return Decision(True, False, 0, _say(rule, say("it is rendered here")), rule.number)
    local = rule.then != ELSEWHERE
    limit = rules.node_hours_a_day
    if limit is not None and farm.node_hours_today >= limit:
        said = say(
            "the {limit:g} hours of today for computers elsewhere are used up: they go on tomorrow",
            limit=limit,
        )
        return Decision(local, False, job.there, said, rule.number)
    if rule.then == OVERFLOW:
        return _overflow(rule, job)
    wanted = _at_most(rule, job, job.there + max(0, job.waiting - (job.here if local else 0)))
    said = say("it is rendered here and elsewhere") if local else say("it is rendered elsewhere alone")
    return Decision(local, True, wanted, _say(rule, said), rule.number)


def _overflow(rule: Rule, job: JobFacts) -> Decision:
    """As many computers elsewhere as it takes to have it done in time."""
    allowed = rule.within_hours
    if job.hours is None or job.task_s is None:
        said = say("nobody knows yet how long it takes: until its first frames are done it is rendered here")
        return Decision(True, job.there > 0, job.there, said, rule.number)
    if job.hours <= allowed * (STEADY if job.there else 1):
        said = say("it will be done here within {hours:g} hours", hours=allowed)
        return Decision(True, False, 0, _say(rule, said), rule.number)
    left = job.waiting + job.there
    beyond = max(1, math.ceil((job.hours - allowed) / job.hours * left))
    needed = math.ceil(beyond * job.task_s / (allowed * 3600))
    wanted = _at_most(rule, job, min(left, max(needed, 1)))
    said = count(
        "here alone it would take {hours:.1f} hours, and {allowed:g} are allowed: {n} computer elsewhere "
        "is to help",
        "here alone it would take {hours:.1f} hours, and {allowed:g} are allowed: {n} computers elsewhere "
        "are to help",
        wanted,
        hours=job.hours,
        allowed=allowed,
    )
    return Decision(True, True, wanted, _say(rule, said), rule.number)


def _at_most(rule: Rule, job: JobFacts, wanted: int) -> int:
    """No more than a rule lets be, each with enough to do."""
    if rule.frames_each > 1:
        wanted = max(job.there, math.ceil(wanted / rule.frames_each))
    return wanted if rule.at_most_nodes is None else min(wanted, rule.at_most_nodes)


def _say(rule: Rule, said: str) -> str:
    return say("{what}: {why}", what=said, why=rule.why) if rule.why else said


def _fits(rule: Rule, job: JobFacts, farm: FarmFacts) -> bool:
    asked = rule.names
    if asked:
        own = {"project": {job.project}, "user": {job.user}, "type": {job.type}, "requires": job.requires}
        if any(not names & own[name] for name, names in asked.items()):
            return False
    if rule.priority_at_least is not None and job.priority < rule.priority_at_least:
        return False
    if rule.priority_at_most is not None and job.priority > rule.priority_at_most:
        return False
    steady = STEADY if job.rule == rule.number else 1.0
    for value, over in ((farm.queue_hours, rule.queue_hours_over), (job.hours, rule.finish_hours_over)):
        if over is not None and (value is None or value <= over * steady):
            return False
    under = rule.node_hours_today_under
    return under is None or farm.node_hours_today < under


_NONE = Rule(0, BOTH)
