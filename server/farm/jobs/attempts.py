"""Attempts: one claim of a task by one node. How one is named on the wire and in journals, and what is known
of it while it is out. No files, no clock.
"""

from __future__ import annotations


class Claim:
    """One attempt that is out. What the fold knows, and below it what lives in memory alone."""

    __slots__ = (
        "at",
        "attempt",
        "code",
        "deadline",
        "foreign_since",
        "line",
        "node",
        "progress",
        "reported",
        "resent",
        "server",
        "task",
    )

    def __init__(self, task: int, code: int, attempt: str, node: str, server: str, at: str) -> None:
        self.task = task
        self.code = code
        self.attempt = attempt  # the id that the node echoes
        self.node = node
        self.server = server
        self.at = at
        self.deadline = 0.0  # monotonic; 0: not yet given one by this process
        self.reported = 0.0  # monotonic
        self.foreign_since = 0.0  # monotonic: reported to us since then, though another server gave it
        self.resent = False  # sent a second time to a node that doesn't report it
        self.progress = 0.0
        self.line = ""


def attempt_id(job_id: str, task: int, code: int) -> str:
    """`<job id>.<task>.<number of attempt>.<4 random hex digits>`.

    The random part keeps an attempt that a restored journal has forgotten from passing for a new one.
    """
    return f"{job_id}.{task}.{code >> 16}.{code & 0xFFFF:04x}"


def split_attempt(text: object) -> tuple[str, int, int] | None:
    """Job id, task, code; None where `text` was never an attempt of ours."""
    if not isinstance(text, str):
        return None
    parts = text.split(".")
    if len(parts) != 4:
        return None
    try:
        return parts[0], int(parts[1]), int(parts[2]) << 16 | int(parts[3], 16)
    except ValueError:
        return None


def code_of(text: str) -> int:
    """`"2.ab3f"`, an attempt's number and random part as journals hold them, as one number."""
    number, _, random_part = text.partition(".")
    return int(number) << 16 | int(random_part, 16)


def code_text(code: int) -> str:
    """The other way round."""
    return f"{code >> 16}.{code & 0xFFFF:04x}"
