"""When a node that fails rests: so that one that is broken can't burn through jobs.

What failed on a node is held against it as long as the same task didn't fail elsewhere too; when another
node does it well, it is certain. Three such in a row, certain or of several jobs, and the node is sick: it
rests, longer each time, and always comes back by itself, on probation. So does at once one whose failure
says that it is the computer's own, unless the same job fails on another one, too: then it may be the job,
which is not to put one computer after the other to rest. Times are monotonic seconds; `record` and `recall`
say them by the wall clock, for the node's file.
"""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Mapping
from typing import Any

from server.disk.speech import say
from server.farm.jobs.troubles import epoch

SICK_AFTER = 3  # different tasks in a row
REST_S = 30.0  # a sick node's first rest; doubled each time
LONGEST_REST_S = 1800.0
KEPT = 50  # tasks that are held against a node
SPELLS = 20  # times that it was sick, which are remembered
ROUND_S = 1.0  # journals' times are compared with these
OLD_S = 30 * 86_400.0  # a spell of so long ago isn't written down any more
MOST_RESTS = 20
MOST_SAID = 300

Key = tuple[str, int]  # a job's id and a task


class Fault:
    """One task that failed here since one was done well."""

    __slots__ = ("at", "certain", "excused", "reason")

    def __init__(self, at: float, reason: str, certain: bool, excused: bool) -> None:
        self.at = at
        self.reason = reason
        self.certain = certain  # others do well where this node failed
        self.excused = excused  # it failed on another node too


class Sickness:
    """How one node fares. Written by the committer's threads, and when a person forgives or its file says
    otherwise. `changes` counts what must be written down."""

    __slots__ = ("_faults", "_over", "_said", "_spells", "changes", "rests", "rests_until")

    def __init__(self) -> None:
        self._faults: dict[Key, Fault] = {}
        self._spells: deque[list[float]] = deque(maxlen=SPELLS)  # from its first failure to its last
        self._said = ""
        self._over = ""  # the job of which one failure was the whole cause of its rest
        self.rests = 0
        self.rests_until = 0.0
        self.changes = 0

    def succeeded(self) -> None:
        """A task was accepted."""
        self._faults.clear()
        if self.rests:
            self.rests = 0
            self.changes += 1

    def failed(
        self,
        now: float,
        key: Key,
        reason: str,
        others_do_well: bool,
        elsewhere_too: bool,
        at_fault: bool = False,
    ) -> None:
        """A task failed here. `elsewhere_too`: on another node as well. `at_fault`: the failure itself says
        that it is this computer's, and nobody else's."""
        self._faults.pop(key, None)
        reason = reason.rstrip(". ")
        if self.rests and self._spells:
            self._spells[-1][1] = now
        self._faults[key] = Fault(now, reason, others_do_well and not elsewhere_too, elsewhere_too)
        if len(self._faults) > KEPT:
            self._faults.pop(next(iter(self._faults)), None)
        self._look(now, at_fault and not elsewhere_too, reason, key[0])

    def excused(self, key: Key) -> None:
        """The task failed on another node too."""
        fault = self._faults.get(key)
        if fault is not None:
            fault.excused, fault.certain = True, False

    def doubted(self, job: str) -> None:
        """The job fails on another node, too. A rest that only one failure of it had caused is over."""
        if job == self._over and self.rests == 1:
            self.rests, self.rests_until, self._over = 0, 0.0, ""
            if self._spells:
                self._spells.pop()
            self.changes += 1

    def proven(self, now: float, key: Key) -> None:
        """Another node did the task well."""
        fault = self._faults.get(key)
        if fault is not None and not fault.certain:
            fault.excused, fault.certain = False, True
            self._look(now, False, fault.reason)

    def well_but_for(self, key: Key) -> bool:
        """Did nothing else fail here since it did something well?"""
        return not (self._faults.keys() - {key})

    def well_since(self, key: Key) -> bool:
        """Did it do something well since this failed here?"""
        return key not in self._faults and not self.rests

    def spells(self, offset: float) -> tuple[tuple[float, float], ...]:
        """From when to when it failed as a sick one, on the clock that is `offset` seconds ahead of ours."""
        return tuple((begin + offset - ROUND_S, end + offset + ROUND_S) for begin, end in self._spells)

    def forgive(self) -> None:
        """A person has looked after it: it starts anew."""
        self.changes += bool(self.rests or self.rests_until)
        self.rests_until = 0.0
        self.rests = 0
        self._faults.clear()

    def record(self, now: float, offset: float) -> dict[str, Any]:
        """What must outlive the server, by the wall clock, `offset` seconds ahead; {}: nothing."""
        spells = [[begin, end] for begin, end in list(self._spells) if now - end < OLD_S]
        found: dict[str, Any] = {}
        if self.rests or now < self.rests_until:
            found = {
                "why": self._said,
                "since": _stamp(round(spells[-1][0] + offset)) if spells else "",
                "until": _stamp(round(self.rests_until + offset)),
                "times": self.rests,
            }
        if spells:
            found["spells"] = [
                [_stamp(round(begin + offset)), _stamp(round(end + offset))] for begin, end in spells
            ]
        return found

    def recall(self, told: object, now: float, offset: float) -> None:
        """Be as a record says, which somebody may have edited: what makes no sense in it isn't there. Nobody
        rests for longer than ever."""
        said: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
        times, until = said.get("times"), epoch(str(said.get("until") or "")) - offset
        rests = min(max(times, 0), MOST_RESTS) if isinstance(times, int) else int(until > now)
        self._said = str(said.get("why") or "")[:MOST_SAID]
        self.rests_until = min(until, now + LONGEST_REST_S) if until > now else 0.0
        self._spells = deque(_spells(said.get("spells"), offset), maxlen=SPELLS)
        if rests:
            if not self._spells:
                self._spells.append([now, now])
            # What came in while it rested was begun as a sick one.
            self._spells[-1][1] = max(self._spells[-1][1], min(until, now))
        self.rests, self._over = rests, ""
        self._faults.clear()

    def why(self, now: float) -> str:
        """Why it gets nothing now; "" while it is well."""
        if now >= self.rests_until:
            return ""
        left_s = self.rests_until - now
        left = (
            say("{left_s:.0f} seconds", left_s=left_s)
            if left_s < 100
            else say("{left_s:.0f} minutes", left_s=left_s / 60)
        )
        return say("sick: {said}; rests for {left} more, then tries again", said=self._said, left=left)

    def _look(self, now: float, at_fault: bool, reason: str, job: str = "") -> None:
        if now < self.rests_until:
            return  # what was out when it fell ill comes in
        standing = {key: fault for key, fault in list(self._faults.items()) if not fault.excused}
        limit = 1 if self.rests else SICK_AFTER
        certain = any(fault.certain for fault in standing.values())
        if not at_fault and (
            len(standing) < limit or not (certain or self.rests or len({key[0] for key in standing}) > 1)
        ):
            return
        count = len(standing)
        if at_fault or count < 2:
            self._said = reason
        elif certain:
            self._said = say(
                "{count} frames failed in a row where others do well ({reason})", count=count, reason=reason
            )
        else:
            self._said = say(
                "{count} frames of several renders failed in a row ({reason})", count=count, reason=reason
            )
        if not self.rests:
            self._spells.append([min((fault.at for fault in standing.values()), default=now), now])
        self.rests_until = now + min(REST_S * 2**self.rests, LONGEST_REST_S)
        self._over = job if at_fault and not self.rests and count < 2 else ""
        self.rests = min(self.rests + 1, MOST_RESTS)
        self.changes += 1
        self._faults.clear()


def _spells(told: object, offset: float) -> list[list[float]]:
    found = []
    for one in told if isinstance(told, list) else ():
        if isinstance(one, list) and len(one) == 2:
            begin, end = epoch(str(one[0])), epoch(str(one[1]))
            if 0 < begin <= end:
                found.append([begin - offset, end - offset])
    return found


def _stamp(second: float) -> str:
    found = datetime.datetime.fromtimestamp(second, datetime.UTC)
    return found.isoformat(timespec="seconds").replace("+00:00", "Z")
