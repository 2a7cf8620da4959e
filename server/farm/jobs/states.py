"""The states of a job and the moves between them. `check` is the one door: every state event passes it."""

from __future__ import annotations

from server.disk.errors import Conflict
from server.disk.speech import say

WAITING, RUNNING, PAUSED, DONE, FAILED, CANCELLED = (
    "waiting",
    "running",
    "paused",
    "done",
    "failed",
    "cancelled",
)
STATES = (WAITING, RUNNING, PAUSED, DONE, FAILED, CANCELLED)
OPEN = frozenset({WAITING, RUNNING})  # tasks are given out
ENDED = frozenset({DONE, FAILED, CANCELLED})

# from -> to. An ended job comes back to life only by tasks being asked for again (requeue).
MOVES: dict[str, frozenset[str]] = {
    WAITING: frozenset({RUNNING, PAUSED, DONE, FAILED, CANCELLED}),
    RUNNING: frozenset({PAUSED, DONE, FAILED, CANCELLED, WAITING}),
    PAUSED: frozenset({WAITING, RUNNING, DONE, FAILED, CANCELLED}),
    DONE: frozenset({WAITING}),
    FAILED: frozenset({WAITING}),
    CANCELLED: frozenset({WAITING}),
}

NODE_GONE, OTHER = "node gone", "other"
REASONS = (  # why an attempt failed, as nodes say it and as it is counted
    *("renderer error", "crash", "out of memory", "time-out", "missing file", "bad output"),
    *(NODE_GONE, OTHER),
)

_WORDS = {
    DONE: say("is done already"),
    FAILED: say("has failed already"),
    CANCELLED: say("was cancelled already"),
    PAUSED: say("is paused already"),
    WAITING: say("is waiting already"),
    RUNNING: say("is running already"),
}


def check(job_id: str, present: str, to: str) -> None:
    """Conflict with a sentence when a job in state `present` may not become `to`."""
    if to not in MOVES.get(present, frozenset()):
        raise Conflict("Job {job} {how}.", job=job_id, state=present, how=_WORDS.get(present, present))


def reason_of(text: str) -> str:
    """The reason that a text stands for: `"missing file: tree.png"` is a missing file."""
    begin = text.strip().lower()
    return next((reason for reason in REASONS if begin.startswith(reason)), OTHER)
