"""One thing asked of one job, and the job's turn in a commit, in which it is decided."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from server.disk.errors import CroftError
from server.farm.committer.board import Board
from server.farm.committer.live import Live
from server.farm.failures.rules import Found
from server.farm.jobs import states
from server.farm.jobs.fold import apply
from server.farm.jobs.job import Event
from server.farm.jobs.logs import Said
from server.farm.nodes import Node


class Op:
    """One thing asked of one job. `answer` is what its asker gets, b"" for nothing."""

    __slots__ = (
        *("act", "answer", "attempt", "code", "data", "error", "found"),
        *("job_id", "kind", "node", "result", "task"),
    )

    def __init__(
        self,
        kind: str,
        job_id: str,
        task: int = 0,
        code: int = 0,
        attempt: str = "",
        node: Node | None = None,
        data: dict[str, Any] | None = None,
        act: Callable[[Turn], Any] | None = None,
    ) -> None:
        self.kind = kind
        self.job_id = job_id
        self.task = task
        self.code = code
        self.attempt = attempt
        self.node = node
        self.data = data or {}
        self.act = act
        self.found: Found | None = None  # the rule that its log fits
        self.answer = b""
        self.result: Any = None
        self.error: CroftError | None = None


class Turn:
    """One job's turn in one commit: its lock is held."""

    __slots__ = (
        *("at", "board", "events", "frames", "issued", "job", "lease_s"),
        *("live", "logs", "now", "random"),
    )

    def __init__(
        self, board: Board, live: Live, at: str, now: float, issued: int, lease_s: float, rng: random.Random
    ) -> None:
        self.board = board
        self.live = live
        self.job = live.job
        self.at = at
        self.now = now
        self.issued = issued
        self.lease_s = lease_s
        self.random = rng
        self.events: list[Event] = []
        self.logs: list[Said] = []  # of attempts that are over
        self.frames: list[str] = []  # addresses of frames that lie under their names now

    def add(self, event: Event) -> None:
        """Have an event happen: in memory now, in the journal at the end of the turn."""
        apply(self.job, event)
        self.events.append(event)

    def change(self, to: str, by: str = "", why: str = "") -> None:
        """The one door for a job's state."""
        states.check(self.job.id, self.job.state, to)
        event: Event = {"at": self.at, "event": "state", "to": to}
        if by:
            event["by"] = by
        if why:
            event["why"] = why
        if self.live.guarded and self.job.state in states.ENDED and to not in states.ENDED:
            event["seal"] = self.board.revival(self.job.id, self.job.events + 1, self.at)
        self.add(event)
