"""How many computers each prenode is to have waiting or running for which job. Pure.

What other prenodes have already, or were just asked for, counts: two bridges don't start the same work twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from server.disk.speech import count, say
from server.farm.elsewhere.bridges import FAILED, Prenode, Run
from server.farm.scheduler import Need, misfit

STRIKES = 3  # computers that failed to come before it is waited
REST_S = 60.0  # then, and twice as long each time more
MOST_REST_S = 1800.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the policy wants for a job."""

    job: str
    needs: frozenset[Need]  # of what waits
    nodes: int  # elsewhere in all
    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a prenode is asked for."""

    job: str
    nodes: int
    reason: str


def deal(
    wanted: Iterable[Wanted],
    to: Prenode,
    others: Sequence[Prenode],
    at_most: int | None,
    failed: Mapping[str, Sequence[Run]],
    now: float,
) -> list[Asked]:
    """What this prenode is asked for, the most urgent job first.

    `others`: those that are there too. `at_most`: computers elsewhere over all prenodes. `failed`: of each
    job, what failed there without its computer ever having come. `now`: seconds since the epoch.
    """
    own = to.active()
    theirs: dict[str, int] = {}
    for other in others:
        active = other.active()
        for job in {*active, *other.asked}:
            theirs[job] = theirs.get(job, 0) + max(active[job], other.asked.get(job, 0))
    left = to.at_most if to.at_most is not None else 1 << 30
    if at_most is not None:
        left = min(left, max(0, at_most - sum(theirs.values())))
    found = []
    for one in wanted:
        nodes, reason = max(0, one.nodes - theirs.get(one.job, 0)), one.reason
        cannot = _misfit(one.needs, to) if nodes else ""
        if cannot:
            nodes, reason = 0, say("its computers can't do it: {why}", why=cannot)
        rest_s, why = _rest(failed.get(one.job, ()), now)
        if rest_s > 0 and nodes > own[one.job]:
            nodes = own[one.job]
            reason = count(
                "it failed to start there {n} time: {why}; it is tried again in {seconds} s",
                "it failed to start there {n} times: {why}; it is tried again in {seconds} s",
                len(failed[one.job]),
                why=why,
                seconds=round(rest_s),
            )
        if nodes > left:
            nodes, reason = left, say("{why}; no more are allowed at once", why=reason)
        left -= nodes
        if nodes or own[one.job]:
            found.append(Asked(one.job, nodes, reason))
    return found


def _misfit(needs: frozenset[Need], to: Prenode) -> str:
    """Why its computers could do nothing of what waits; "" where they could do some of it."""
    if not needs:
        return ""
    if not to.knows_programs:
        needs = frozenset(replace(need, programs=frozenset()) for need in needs)
    whys = [misfit(need, to.means) for need in needs]
    return "" if "" in whys else min(whys)


def _rest(failed: Sequence[Run], now: float) -> tuple[float, str]:
    """How long a job is let be that only failed there, and why it did."""
    runs = [run for run in failed if run.state == FAILED]
    if len(runs) < STRIKES:
        return 0.0, ""
    newest = max(runs, key=lambda run: run.since)
    rest_s = min(MOST_REST_S, REST_S * 2.0 ** min(len(runs) - STRIKES, 10))
    return newest.since + rest_s - now, newest.why or say("it didn't say why")
