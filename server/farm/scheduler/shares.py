"""How much of the farm a project, or a person in a project, has now and had lately. Pure.

Who has less for its weight comes next. What it had over the last half hour counts too: who had less than the
others is taken to have up to two tasks fewer than it has, who had more to have as many more. So shares even
out where whole tasks can't be divided, and where one's tasks are short and another's long.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

WINDOW_S = 1800.0  # after so long a third of what was had is still remembered
GAIN = 20.0  # what a task more than the others had, on the mean, counts now
MOST_LAG = 2.0  # tasks that the past may count at most
JUMPS_EACH = 0.25  # first frames that may jump ahead for each task that came in its turn

Order = tuple[float, float, int]  # what counts, weight (negative), serial


class Share:
    """One who shares. `load` is what its tasks count; divided by `weight` it is what it has."""

    __slots__ = (
        *("ident", "in_use", "jumps", "lag", "load", "mean"),
        *("most_jumps", "pools", "serial", "since", "weight"),
    )

    def __init__(self, ident: str, serial: int, weight: float, most_jumps: float, now: float) -> None:
        self.ident = ident
        self.serial = serial
        self.weight = weight
        self.in_use = 0  # tasks that are out
        self.load = 0.0
        self.mean = 0.0  # of `has`, as of `since`
        self.since = now
        self.lag = 0.0  # what the past counts, as of the last look at all who share
        self.most_jumps = most_jumps
        self.jumps = most_jumps  # first frames that may still jump ahead
        self.pools: set[Any] = set()  # where work of its stands

    @property
    def key(self) -> float:
        """What counts: smaller comes first."""
        return self.load / self.weight + self.lag

    @property
    def active(self) -> bool:
        """It has work, or nodes that do some."""
        return bool(self.pools) or self.in_use > 0

    def shift(self, tasks: int, load: float, now: float) -> None:
        """So many tasks more (or fewer) are out."""
        self.mean_at(now)
        self.in_use += tasks
        self.load += load

    def earn(self, jumps: float) -> None:
        """A part of another jump ahead."""
        self.jumps = min(self.jumps + jumps, self.most_jumps)

    def weigh(self, weight: float, now: float) -> None:
        """Another weight counts from now on."""
        self.mean_at(now)
        self.weight = weight

    def mean_at(self, now: float) -> float:
        """What it had lately."""
        if now > self.since:
            has = self.load / self.weight
            self.mean = has + (self.mean - has) * math.exp((self.since - now) / WINDOW_S)
            self.since = now
        return self.mean

    def at_least(self, mean: float, now: float) -> None:
        """Having come back, it has no claim on what the others got while it had no work."""
        if self.mean_at(now) < mean:
            self.mean = mean

    def order(self) -> Order:
        """Its place among those who share."""
        return (self.load / self.weight + self.lag, -self.weight, self.serial)


def look_back(shares: Iterable[Share], now: float) -> list[Share]:
    """Have the past count as it is now, among those who share. Those of which that changed anything."""
    active = [share for share in shares if share.active]
    if not active:
        return []
    usual = sum(share.mean_at(now) for share in active) / len(active)
    changed = []
    for share in active:
        most = MOST_LAG / share.weight
        lag = max(-most, min(most, GAIN * (share.mean - usual)))
        if lag != share.lag:
            share.lag = lag
            changed.append(share)
    return changed


class Project(Share):
    """A project and those who work in it."""

    __slots__ = ("people",)

    def __init__(self, ident: str, serial: int, weight: float, most_jumps: float, now: float) -> None:
        super().__init__(ident, serial, weight, most_jumps, now)
        self.people: dict[str, Person] = {}


class Person(Share):
    """One person in one project."""

    __slots__ = ("project", "turns")

    def __init__(self, project: Project, ident: str, serial: int, most_jumps: float, now: float) -> None:
        super().__init__(ident, serial, 1.0, most_jumps, now)
        self.project = project
        self.turns = 0  # tasks that were given out in this person's turn
