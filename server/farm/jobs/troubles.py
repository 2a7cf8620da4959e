"""What went wrong with a job's attempts, where and when: a part of the fold over its journal.

Who is kept from a task or from the whole job follows from here and from who exists
(`server/farm/failures/verdict.py`); nothing of that is stored. A `forgive` takes nodes back in.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from server.farm.failures.verdict import KEPT_AFTER, Fault
from server.farm.failures.words import GONE

KEPT_FAILURES = 8  # a task's newest failures that are kept in memory, at least
FREE = ("licence", "later")  # rules that hold the whole job for a while


class Failure:
    """Why one attempt at a task didn't give a frame."""

    __slots__ = ("at", "attempt", "forgiven", "free", "lost", "node", "reason", "rule", "say", "when")

    def __init__(
        self,
        at: str,
        attempt: int,
        node: str,
        reason: str,
        *,
        say: str = "",
        rule: str = "",
        free: bool = False,
        lost: bool = False,
    ) -> None:
        self.at = at
        self.when = epoch(at)
        self.attempt = attempt  # its number, 1 for the first
        self.node = node
        self.reason = reason
        self.say = say  # what a rule, or the log's first line, says of it
        self.rule = rule
        self.free = free  # not counted as a try
        self.lost = lost  # the node went away
        self.forgiven = False

    @property
    def counts(self) -> bool:
        return not (self.free or self.lost or self.forgiven)


class Troubles:
    """All of one job's. Changed by the fold alone."""

    __slots__ = (
        *("_kept", "failures", "free_attempts", "held_until", "held_why", "lacking", "lost", "needs_mb"),
        *("on_node", "refused", "waits"),
    )

    def __init__(self, retries: int) -> None:
        self._kept = max(KEPT_FAILURES, 3 * retries + 4)
        self.failures: dict[int, list[Failure]] = {}
        self.lost: dict[int, int] = {}  # times that an attempt at a task was lost
        # Node -> tasks of the job that failed there, and when that was.
        self.on_node: dict[str, dict[int, float]] = {}
        self.lacking: dict[str, float] = {}  # nodes that lack what the scene asks for, and since when
        self.needs_mb: dict[int, int] = {}  # task -> a node with no more memory than this is too small
        self.held_until = 0.0  # seconds since the epoch: nothing of the job is given out before
        self.held_why = ""
        self.waits = 0  # how often it was held since something was done
        self.free_attempts = 0
        self.refused = 0  # results of attempts that others had superseded

    def failed(self, task: int, failure: Failure, event: Mapping[str, Any]) -> None:
        """An attempt failed."""
        self._keep(task, failure)
        self.free_attempts += failure.free
        rule = failure.rule
        if rule in FREE:
            until = epoch(str(event.get("until") or ""))
            if until > self.held_until:
                self.held_until, self.held_why = until, failure.say or failure.reason
            self.waits += 1
            return
        if rule == "lacking":
            self.lacking[failure.node] = failure.when
        memory = event.get("memory_mb")
        if isinstance(memory, int) and not isinstance(memory, bool) and 0 < memory < 2**31:
            self.needs_mb[task] = max(memory, self.needs_mb.get(task, 0))
        else:
            self.on_node.setdefault(failure.node, {})[task] = failure.when

    def vanished(self, task: int, failure: Failure) -> None:
        """An attempt was lost: its node went away."""
        self._keep(task, failure)
        self.lost[task] = self.lost.get(task, 0) + 1

    def forget(self, task: int) -> None:
        """A task begins anew."""
        self.failures.pop(task, None)
        self.lost.pop(task, None)
        self.needs_mb.pop(task, None)
        for node in [node for node, tasks in self.on_node.items() if tasks.pop(task, None) is not None]:
            if not self.on_node[node]:
                del self.on_node[node]

    def forgive(self, nodes: Iterable[str] | None) -> None:
        """Let nodes have the job's tasks again; all of them where None."""
        names = None if nodes is None else set(nodes)
        if names is None:
            self.held_until, self.held_why, self.waits = 0.0, "", 0
        for kept in (self.on_node, self.lacking):
            for name in list(kept) if names is None else names:
                kept.pop(name, None)
        for found in self.failures.values():
            for failure in found:
                if names is None or failure.node in names:
                    failure.forgiven = True

    def knows(self, node: str) -> bool:
        """Did anything fail on this node that isn't forgiven?"""
        if node in self.on_node or node in self.lacking:
            return True
        return any(
            f.node == node and not f.forgiven for found in self.failures.copy().values() for f in found
        )

    # -- questions ------------------------------------------------------------------------------------

    def faults(self, task: int, since: float = 0.0) -> list[Fault]:
        """A task's failures that count, from a time on."""
        return [
            Fault(failure.node, failure.reason.startswith("time-out"), failure.when)
            for failure in self.failures.get(task, ())
            if failure.counts and failure.when >= since
        ]

    def barred(self, task: int, since: float) -> set[str]:
        """Nodes on which attempts at a task came to nothing, lost and free ones too, from a time on."""
        return {
            failure.node
            for failure in self.failures.get(task, ())
            if not failure.forgiven and failure.when >= since and failure.rule not in FREE
        }

    def time_outs(self, task: int) -> int:
        """How often a task took too long."""
        return sum(f.reason.startswith("time-out") for f in self.failures.get(task, ()))

    def failed_tasks(self, since: float) -> dict[str, int]:
        """Node -> how many different tasks failed there, from a time on."""
        found = {node: sum(when >= since for when in tasks.values()) for node, tasks in self.on_node.items()}
        for node, when in self.lacking.items():
            if when >= since:
                found[node] = max(KEPT_AFTER, found.get(node, 0))
        return found

    def _keep(self, task: int, failure: Failure) -> None:
        found = self.failures.setdefault(task, [])
        found.append(failure)
        del found[: -self._kept]


def gone(at: str, attempt: int, node: str) -> Failure:
    """An attempt whose node went away."""
    return Failure(at, attempt, node, GONE, lost=True)


def epoch(at: str) -> float:
    """Seconds since the epoch of an RFC 3339 time; 0 where it is none."""
    try:
        found = datetime.datetime.fromisoformat(at)
        second = found.replace(tzinfo=found.tzinfo or datetime.UTC).timestamp()
    except (ValueError, OverflowError, TypeError):
        return 0.0
    return second if 0 <= second < 2**32 else 0.0
