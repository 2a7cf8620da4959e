"""Who may try a task again, and when it has failed for good: counted over the computers that exist.

A task has failed when enough different capable nodes failed at it, none of them known to be sick and one of
them proven by what it did well since, or when no node is left that could try. Until then it waits for
the others: so as long as one node that is well exists, sick ones condemn no healthy job. One node alone is
tried `retries` times. A time-out by itself never condemns: each gives the next try twice the time, and two
tries more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from server.disk.speech import say

KEPT_AFTER = 3  # different tasks of a job that failed on a node: it is kept from the job
MORE_FOR_TIME = 2  # tries that a task has more, one for each that only took too long
SUSPECTS = 3  # so many times `retries` different nodes are enough, however little is known of them
LOST_LIMIT = 10  # attempts at one task that may be lost: a frame that takes every machine down ends
HOPELESS_NONE = 5  # tasks that failed for good, one after the other, while none was done: the scene is wrong
HOPELESS = 20  # the same where some were done


@dataclass(frozen=True, slots=True)
class Fault:
    """One attempt that failed and counts: not one that was free."""

    node: str
    timed_out: bool = False
    when: float = 0.0  # seconds since the epoch


@dataclass(frozen=True, slots=True)
class Candidate:
    """A node that exists and could do the task by what it is: away for a short time, perhaps, or sick."""

    name: str
    there: bool = True  # works, or would if it had something
    suspect: bool = False  # it fails too often: what it says of a task is worth little
    proven: bool = False  # it did another task well since it failed at this one
    kept: bool = False  # it is a suspect since it is kept from this job, not since it is sick
    # From when to when it was found to be sick since; the last may still go on. Seconds since the epoch.
    unwell: tuple[tuple[float, float], ...] = ()

    def doubts(self, fault: Fault) -> bool:
        """Does a failure here say little of the task? A node that is well again failed as a sick one then."""
        return self.suspect or any(begin <= fault.when <= end for begin, end in self.unwell)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`final`: it has failed for good, because `why`. Else `waits_for` names who is to try it."""

    final: bool
    why: str = ""
    waits_for: tuple[str, ...] = ()


def needed(faults: Sequence[Fault], retries: int) -> int:
    """How many tries a task has at least."""
    return retries + min(sum(fault.timed_out for fault in faults), MORE_FOR_TIME)


def weighty(faults: Sequence[Fault], nodes: Iterable[Candidate]) -> Sequence[Fault]:
    """The failures that count as tries: those at nodes that were sick only where there are no others."""
    known = {node.name: node for node in nodes}
    if all(node.suspect for node in known.values()):
        return faults
    return [fault for fault in faults if not (fault.node in known and known[fault.node].doubts(fault))]


def verdict(faults: Sequence[Fault], nodes: Iterable[Candidate], retries: int) -> Verdict:
    """What becomes of a task after these failures, of which at least one is new."""
    failed_on = {fault.node for fault in faults}
    known = {node.name: node for node in nodes}
    untried = tuple(n.name for n in known.values() if n.name not in failed_on and not n.suspect)
    counted = weighty(faults, known.values())
    if len(counted) < needed(counted, retries) and len(failed_on) < SUSPECTS * retries:
        return Verdict(False, waits_for=untried)
    sound = {fault.node for fault in counted if fault.node not in known or not known[fault.node].suspect}
    proven = any(name in known and known[name].proven for name in sound)
    if (len(sound) >= retries and proven) or len(failed_on) >= SUSPECTS * retries:
        return Verdict(True, say("it failed on {names}", names=_names(failed_on)))
    # A sick node always comes back: what nobody but sick ones could try waits for that.
    ill = tuple(n.name for n in known.values() if n.name not in failed_on and n.suspect and not n.kept)
    if untried or ill:
        return Verdict(False, waits_for=untried or ill)
    return Verdict(
        True, say("it failed on {names}, and no other computer can try it", names=_names(failed_on))
    )


def may_try(
    name: str, barred: set[str], faults: Sequence[Fault], nodes: Iterable[Candidate], retries: int
) -> bool:
    """May this node try the task? One at which it came to nothing (`barred`) may again only where nobody else
    is there to try, and only as often as the job allows."""
    if name not in barred:
        return True
    nodes = list(nodes)
    counted = weighty(faults, nodes)
    if len(counted) >= needed(counted, retries) and any(fault.node == name for fault in faults):
        return False
    return not any(n.there and not n.suspect and n.name not in barred for n in nodes)


def kept_from_job(name: str, failed_tasks: dict[str, int], nodes: Iterable[Candidate]) -> bool:
    """Has this node failed so many of the job's tasks that others had better do it? Never the last one."""
    if failed_tasks.get(name, 0) < KEPT_AFTER:
        return False
    return any(
        n.name != name and n.there and not n.suspect and failed_tasks.get(n.name, 0) < KEPT_AFTER
        for n in nodes
    )


def lost_for_good(lost_on: Sequence[str], lost: int, nodes: Iterable[Candidate], retries: int) -> bool:
    """Has a task been lost so often, on so many nodes, that it must be the task? `lost_on`: who lost it."""
    if lost < LOST_LIMIT:
        return False
    names = set(lost_on)
    return len(names) >= retries or not any(n.name not in names and not n.suspect for n in nodes)


def hopeless(strikes: int, done: int) -> bool:
    """Have so many tasks failed for good, one after the other, that the rest needn't be tried?"""
    return strikes >= (HOPELESS if done else HOPELESS_NONE)


def _names(names: Iterable[str]) -> str:
    found = sorted(names)
    if len(found) == 1:
        return found[0]
    if len(found) > 4:
        return say("{found} computers", found=len(found))
    return say("{found} and {found2}", found=", ".join(found[:-1]), found2=found[-1])
