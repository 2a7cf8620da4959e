"""How much of the farm a project, or a person in a project, has now and had lately. Pure.

Who has less for its weight comes next. Where two have the same now, it is who had less over the last half
hour: a mean that forgets, so that one who got nothing for long doesn't take the whole farm afterwards. Both
are compared by a key that stays right until the next change, however much time goes by.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.farm.scheduler.line import Pool

WINDOW_S = 1800.0  # after so long a third of what was had is still remembered
JUMPS_EACH = 0.25  # first frames that may jump ahead for each task that came in its turn

Order = tuple[float, int, float, float, int]  # has now; had lately (a sign and a size); weight; serial


class Share:
    """One who shares. `load` is what its tasks count; divided by `weight` it is what it has."""

    __slots__ = (
        "ident",
        "in_use",
        "jumps",
        "load",
        "mean",
        "most_jumps",
        "pools",
        "serial",
        "since",
        "weight",
    )

    def __init__(self, ident: str, serial: int, weight: float, most_jumps: float, now: float) -> None:
        self.ident = ident
        self.serial = serial
        self.weight = weight
        self.in_use = 0  # tasks that are out
        self.load = 0.0
        self.mean = 0.0  # of `has`, as of `since`
        self.since = now
        self.most_jumps = most_jumps
        self.jumps = most_jumps  # first frames that may still jump ahead
        self.pools: set[Pool] = set()  # where work of its stands

    @property
    def has(self) -> float:
        """What counts: smaller comes first."""
        return self.load / self.weight

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
        """Its key: the same until something of it changes.

        The mean draws near to what it has now, for all who have the same by the same factor a second, so
        their order stays. The factor is taken out by its logarithm, lest it grow beyond all numbers.
        """
        has = self.load / self.weight
        apart = self.mean - has
        if -1e-9 < apart < 1e-9:
            return (has, 0, 0.0, -self.weight, self.serial)
        size = math.log(abs(apart)) + self.since / WINDOW_S
        sign = 1 if apart > 0 else -1
        return (has, sign, size * sign, -self.weight, self.serial)


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
