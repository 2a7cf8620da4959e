"""What a job has used: attempts, and the time of nodes, by node and by hour. Changed by the fold alone.

Time that came to nothing (an attempt failed, was lost or stopped, its frame is asked for again) and time for
what nobody asked for (the optional stages) is counted apart, so that the rest adds up to the tasks' own.
"""

from __future__ import annotations

import datetime
from typing import Any

from server.farm.jobs import states
from server.farm.jobs.attempts import Claim
from server.farm.jobs.troubles import epoch


class Usage:
    """All of one job's."""

    __slots__ = (
        *("_last", "attempts", "by_hour", "by_node", "failed_attempts", "lost_attempts", "milliseconds"),
        *("nothing_milliseconds", "peak_memory_mb", "reasons", "waited_milliseconds"),
    )

    def __init__(self) -> None:
        self.attempts = 0
        self.failed_attempts = 0
        self.lost_attempts = 0
        self.milliseconds = 0  # of done tasks that were asked for
        self.nothing_milliseconds = 0  # of attempts that gave no frame, or whose frame is made again
        self.waited_milliseconds = 0  # that done tasks waited for their scene to be opened
        self.peak_memory_mb = 0.0
        self.by_node: dict[str, list[int]] = {}  # name -> done, milliseconds, failed, lost
        # "2026-11-22T14" in UTC -> name -> tasks done, their milliseconds, failed, lost, milliseconds for
        # nothing, those of what nobody asked for (optional tasks), frames that are there by these tasks
        self.by_hour: dict[str, dict[str, list[int]]] = {}
        self.reasons: dict[str, dict[str, int]] = {}  # the same hours -> reason -> attempts that failed so
        self._last = ("", 0.0, _hour_of(0))  # the last time that was read, and what it says

    def done(self, node: str, hour: str, milliseconds: int, frames: int) -> None:
        """A task that was asked for is done, and with it so many frames are there."""
        self.milliseconds += milliseconds
        sums = self._of_node(node)
        sums[0] += 1
        sums[1] += milliseconds
        spent = self._of_hour(hour, node)
        spent[0] += 1
        spent[1] += milliseconds
        spent[6] += frames

    def done_unasked(self, node: str, hour: str, milliseconds: int) -> None:
        """A task of an optional stage is done."""
        self._of_hour(hour, node)[5] += milliseconds

    def taken_back(self, node: str, second: int, milliseconds: int, frames: int, asked: bool) -> None:
        """A done task is to be done again: what it took was for nothing, in the hour in which it ended."""
        spent = self._of_hour(_hour_of(second), node)
        spent[4] += milliseconds
        self.nothing_milliseconds += milliseconds
        spent[1 if asked else 5] -= milliseconds
        if asked:
            spent[0] -= 1
            spent[6] -= frames
            self.milliseconds -= milliseconds
            sums = self._of_node(node)
            sums[0] -= 1
            sums[1] -= milliseconds

    def failed(self, claim: Claim, at: str, reason: str, told: object = None) -> None:
        """An attempt failed, after as many seconds of rendering as its node has told."""
        self.failed_attempts += 1
        self._of_node(claim.node)[2] += 1
        self._count(at, reason)
        self.stopped(claim, at, told)[2] += 1

    def lost(self, claim: Claim, at: str) -> None:
        """An attempt was lost: its node went away."""
        self.lost_attempts += 1
        self._of_node(claim.node)[3] += 1
        self._count(at, states.NODE_GONE)
        self.stopped(claim, at)[3] += 1

    def stopped(self, claim: Claim, at: str, told: object = None) -> list[int]:
        """An attempt ended without a frame: the time that its node spent on it, in this hour's sums. Where
        the node hasn't told, as long as it had it: that may be more, since nodes hold a task for later."""
        second, hour = self.moment(str(at))
        spent = self._of_hour(hour, claim.node)
        seconds = second - self.moment(str(claim.at))[0]
        if isinstance(told, (int, float)) and 0 <= told < seconds:
            seconds = float(told)
        milliseconds = round(seconds * 1000) if 0 < seconds < 1e7 else 0
        spent[4] += milliseconds
        self.nothing_milliseconds += milliseconds
        return spent

    def moment(self, at: str) -> tuple[float, str]:
        """Seconds since the epoch, and the hour; many lines in a row say the same time."""
        if at != self._last[0]:
            second = epoch(at)
            self._last = (at, second, _hour_of(int(second)))
        return self._last[1], self._last[2]

    # -- questions ------------------------------------------------------------------------------------

    def of_nodes(self) -> dict[str, dict[str, Any]]:
        """Name -> what the node did, as it is told and kept."""
        return {
            name: {"done": sums[0], "seconds": sums[1] / 1000, "failed": sums[2], "lost": sums[3]}
            for name, sums in sorted(self.by_node.copy().items())
        }

    def seconds_per_task(self, done: int) -> float | None:
        """The mean of so many done tasks."""
        return round(self.milliseconds / done / 1000, 3) if done else None

    # -- helpers --------------------------------------------------------------------------------------

    def _count(self, at: str, reason: str) -> None:
        counts, kind = self.reasons.setdefault(self.moment(str(at))[1], {}), states.reason_of(reason)
        counts[kind] = counts.get(kind, 0) + 1

    def _of_node(self, name: str) -> list[int]:
        sums = self.by_node.get(name)
        if sums is None:
            sums = self.by_node[name] = [0, 0, 0, 0]
        return sums

    def _of_hour(self, hour: str, name: str) -> list[int]:
        nodes = self.by_hour.get(hour)
        if nodes is None:
            nodes = self.by_hour[hour] = {}
        sums = nodes.get(name)
        if sums is None:
            sums = nodes[name] = [0, 0, 0, 0, 0, 0, 0]
        return sums


def _hour_of(second: int) -> str:
    """`"2026-11-22T14"`, in UTC."""
    return datetime.datetime.fromtimestamp(second, datetime.UTC).isoformat()[:13]
