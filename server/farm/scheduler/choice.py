"""What was chosen for a node, and why, in words that are put together only when somebody asks."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from server.disk.speech import key, say
from server.farm.scheduler.line import Work

KEPT_EACH = 20  # newest choices of a node
KEPT_NODES = 2000
HAD = (  # whether it had as much or more over the last half hour
    key("{one} had {had}, {other} {others}."),
    key("{one} had {had}, {other} {others}, and as much or more over the last half hour."),
)
IN_IT = (
    key("In {project} {one} had {had}, {other} {others}."),
    key("In {project} {one} had {had}, {other} {others}, and as much or more over the last half hour."),
)
THERE = (
    key("There {one} had {had}, {other} {others}."),
    key("There {one} had {had}, {other} {others}, and as much or more over the last half hour."),
)
LONGEST = (
    key("Of the renders it has waited longest for a computer."),
    key("Of {user}'s renders it has waited longest for a computer."),
)
BY_AGE = (
    key("Of the renders it comes first, by priority and age."),
    key("Of {user}'s renders it comes first, by priority and age."),
)
FIRST, STAY, TURN, WAITED = "first", "stay", "turn", "waited"


class Choice(NamedTuple):
    """The next task of `work`, and what counted."""

    work: Work
    kind: str  # FIRST, STAY, TURN or WAITED
    project_in_use: int = 0  # at that moment, of its project
    rival: str = ""  # the project that would have come next
    rival_in_use: int = 0
    rival_weight: float = 1.0
    user_in_use: int = 0
    rival_user: str = ""  # of the same project
    rival_user_in_use: int = 0
    rivals: int = 0  # other work of its owner that this node could have done
    rarity: int = 0

    @property
    def key(self) -> tuple[str, int]:
        """The job and its stage."""
        return self.work.job, self.work.stage

    @property
    def job(self) -> str:
        return self.work.job

    @property
    def stage(self) -> int:
        return self.work.stage

    @property
    def why(self) -> str:
        """A sentence or a few."""
        work = self.work
        if self.kind == FIRST:
            return say("Its first frame comes ahead of others' later ones, to show early what breaks.")
        if self.kind == STAY:
            return say("This computer was at it already, and nobody who waits had fewer computers.")
        said: list[str] = []
        if self.rarity and (self.rival or self.rival_user or self.rivals):
            said.append(say("Few computers can do it, so those that can prefer it."))
        if self.rival:
            mine = _computers(self.project_in_use, work.weight)
            other = _computers(self.rival_in_use, self.rival_weight)
            more = self.project_in_use / work.weight >= self.rival_in_use / self.rival_weight
            project = work.project or say("no project")
            said.append(say(HAD[more], one=project, had=mine, other=self.rival, others=other))
        if self.rival_user:
            had, others = self.user_in_use, self.rival_user_in_use
            user, rival, more = work.user or say("nobody"), self.rival_user, had >= others
            if work.project:
                said.append(
                    say(IN_IT[more], project=work.project, one=user, had=had, other=rival, others=others)
                )
            else:
                said.append(say(THERE[more], one=user, had=had, other=rival, others=others))
        if self.rivals:
            whose = 1 if work.user else 0
            said.append(say((LONGEST if self.kind == WAITED else BY_AGE)[whose], user=work.user))
        return " ".join(said) or say("Nothing else that this computer can do was waiting.")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A task that was given out, when, and why."""

    at: str
    task: int
    choice: Choice


class Choices:
    """The newest choices of each node. Written by several threads, each for other nodes."""

    def __init__(self) -> None:
        self._of: dict[str, deque[Chosen]] = {}

    def note(self, node: str, at: str, task: int, choice: Choice) -> None:
        """A node was given a task."""
        kept = self._of.get(node)
        if kept is None:
            kept = self._of[node] = deque(maxlen=KEPT_EACH)
            if len(self._of) > KEPT_NODES:
                self._of.pop(next(iter(self._of)), None)
        kept.append(Chosen(at, task, choice))

    def of(self, node: str) -> list[Chosen]:
        """Newest first."""
        return list(self._of.get(node, ()))[::-1]


def _computers(count: int, weight: float) -> str:
    return say("{count} (priority {weight:g})", count=count, weight=weight)
