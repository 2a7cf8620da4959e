"""Whose turn it is among what stands in the pools that a node may take from. Changes nothing."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from server.farm.scheduler.choice import FIRST, STAY, TURN, WAITED, Choice
from server.farm.scheduler.line import Ordered, Pool, Rank, Unit
from server.farm.scheduler.shares import Person, Project

RARE_IN_PROJECTS = 1 / 3  # what a halving of the capable nodes counts there: a task at the usual priority
SLACK = 0.5  # a node stays with its job where somebody else has less than so many tasks fewer
WAITED_EACH = 4  # each so many-th task of a person goes to what has waited longest
WAITED_S = 20.0  # if so long: where tasks are short, all of it soon comes by itself

Refused = Callable[[str, int], bool]  # job and stage that are to be passed over


def first_frame(pools: list[Pool], refused: Refused | None) -> Choice | None:
    """The first frame of a job of which nothing was begun, if its owner may still jump ahead."""
    best: Unit | None = None
    for pool in pools:
        for entry in pool.fresh:
            person: Person = entry[-1]
            if person.project.jumps < 1 or person.project not in pool.projects:
                continue
            unit = _first(pool.buckets[person].fresh, refused)
            if unit is not None:
                if best is None or unit.rank < best.rank:
                    best = unit
                break
    return Choice(best.work, FIRST) if best is not None else None


def stay(pools: list[Pool], unit: Unit, refused: Refused | None) -> Choice | None:
    """What the node was at, where nobody has much less and nothing of its owner is more urgent."""
    if not unit.inside or unit.pool not in pools:
        return None
    person, project, pool = unit.person, unit.person.project, unit.pool
    if project not in pool.projects or person not in pool.people[project]:
        return None
    for other in pools:
        favour = other.rarity - pool.rarity
        least: Project = other.projects.first()
        if least.key - favour * RARE_IN_PROJECTS < project.key - SLACK / project.weight:
            return None
        people = other.people.get(project)
        if not people:
            continue
        if people.first().key - favour < person.key - SLACK:
            return None
        bucket = other.buckets.get(person)
        if bucket is not None and bucket.ranked:
            first: Unit = bucket.ranked.first()
            if favour > 0 or first.work.priority > unit.work.priority:
                return None
    if refused is not None and refused(unit.work.job, unit.work.stage):
        return None
    return Choice(unit.work, STAY)


def in_turn(pools: list[Pool], refused: Refused | None, now: float) -> Choice | None:
    """By what projects have, then people, then their own order."""
    for project in _merged([(pool.projects, pool.rarity * RARE_IN_PROJECTS) for pool in pools]):
        where = [pool for pool in pools if project in pool.projects]
        for person in _merged([(pool.people[project], pool.rarity) for pool in where]):
            waited = person.turns % WAITED_EACH == WAITED_EACH - 1
            unit = _longest_waiting(person, where, refused, now) if waited else None
            if unit is not None:
                return _explained(unit, pools, where, waited)
            unit = _first_of(person, where, refused)
            if unit is not None:
                return _explained(unit, pools, where, False)
    return None


def _first_of(person: Person, pools: list[Pool], refused: Refused | None) -> Unit | None:
    """Of one person's work what few nodes can do, then what stands first."""
    found = [_first(pool.buckets[person].ranked, refused) for pool in pools if person in pool.buckets]
    return min((unit for unit in found if unit is not None), key=_rare_first, default=None)


def _rare_first(unit: Unit) -> tuple[int, Rank]:
    return -unit.pool.rarity, unit.rank


def _longest_waiting(person: Person, pools: list[Pool], refused: Refused | None, now: float) -> Unit | None:
    """Of one person's work what few nodes can do, then what has waited longest, if that is long."""
    found = [_longest(pool.buckets[person].waited, refused, now) for pool in pools if person in pool.buckets]
    return min((unit for unit in found if unit is not None), key=_rare_and_waiting, default=None)


def _rare_and_waiting(unit: Unit) -> tuple[int, int, Rank]:
    return -unit.pool.rarity, unit.served, unit.rank


def _explained(unit: Unit, pools: list[Pool], where: list[Pool], waited: bool) -> Choice:
    """The facts that stood when it was chosen; the words come when somebody asks."""
    person, project = unit.person, unit.person.project
    rival = _next(((pool.projects, pool.rarity * RARE_IN_PROJECTS) for pool in pools), project)
    colleague = _next(((pool.people[project], pool.rarity) for pool in where), person)
    standing = 0
    for pool in where:
        bucket = pool.buckets.get(person)
        standing += len(bucket.ranked) if bucket is not None else 0
    rarity = unit.pool.rarity if any(pool.rarity < unit.pool.rarity for pool in pools) else 0
    return Choice(
        unit.work,
        WAITED if waited else TURN,
        project.in_use,
        rival.ident if rival is not None else "",
        rival.in_use if rival is not None else 0,
        rival.weight if rival is not None else 1.0,
        person.in_use,
        colleague.ident if colleague is not None else "",
        colleague.in_use if colleague is not None else 0,
        standing - 1,
        rarity,
    )


def _first(line: Ordered[Unit], refused: Refused | None) -> Unit | None:
    for entry in line:
        unit: Unit = entry[-1]
        if refused is None or not refused(unit.work.job, unit.work.stage):
            return unit
    return None


def _longest(line: Iterable[Unit], refused: Refused | None, now: float) -> Unit | None:
    for unit in line:
        if now - unit.since < WAITED_S:
            return None
        if refused is None or not refused(unit.work.job, unit.work.stage):
            return unit
    return None


def _merged(lines: Sequence[tuple[Ordered[Any], float]]) -> Iterator[Any]:
    """Who stands in these lines, each once, in the order of what they have. In the line of what is rare one
    comes before those elsewhere who have as many tasks less as the rarity says."""
    if len(lines) == 1:
        for entry in lines[0][0]:
            yield entry[-1]
        return
    # Nearly always the very first is it: no need to merge all for that.
    chosen, least = None, (0.0,)
    for line, favour in lines:
        for entry in line:
            key = (entry[0] - favour, *entry[1:-1])
            if chosen is None or key < least:
                chosen, least = entry[-1], key
            break
    if chosen is None:  # nobody stands in any line
        return
    yield chosen
    moved = [((entry[0] - favour, *entry[1:]) for entry in line) for line, favour in lines]
    for other in dict.fromkeys(entry[-1] for entry in heapq.merge(*moved)):
        if other is not chosen:
            yield other


def _next(lines: Iterable[tuple[Ordered[Any], float]], chosen: Project | Person) -> Any:
    """Who would have been next but for the chosen one."""
    best, least = None, 0.0
    for line, favour in lines:
        for entry in line:
            if entry[-1] is not chosen:
                if best is None or entry[0] - favour < least:
                    best, least = entry[-1], entry[0] - favour
                break
    return best
