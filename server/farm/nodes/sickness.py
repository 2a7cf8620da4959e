"""When a node that fails rests: so that one that is broken can't burn through a job.

A node that fails several tasks in a row where others do well is sick, and rests, longer each time. Times
are monotonic seconds; nothing here is written anywhere.
"""

from __future__ import annotations

SICK_AFTER = 3  # failures in a row, in different tasks
REST_S = 30.0  # a sick node's first rest; doubled each time
LONGEST_REST_S = 1800.0


class Sickness:
    """How one node fares. Written by the committer's thread, and when a person forgives."""

    __slots__ = ("failed_in_row", "rests", "rests_until")

    def __init__(self) -> None:
        self.failed_in_row = 0
        self.rests = 0
        self.rests_until = 0.0

    def succeeded(self) -> None:
        """A task was accepted."""
        self.failed_in_row = self.rests = 0

    def stumbled(self, now: float, others_do_well: bool) -> None:
        """A task failed. The node rests only where it can't be the scene's fault alone."""
        self.failed_in_row += 1
        if others_do_well and self.failed_in_row >= SICK_AFTER:
            self.rests_until = now + min(REST_S * 2**self.rests, LONGEST_REST_S)
            self.rests += 1
            self.failed_in_row = 0

    def forgive(self) -> None:
        """A person has looked after it: it starts anew."""
        self.rests_until = 0.0
        self.failed_in_row = self.rests = 0

    def why(self, now: float) -> str:
        """Why it gets nothing now; "" while it is well."""
        if now >= self.rests_until:
            return ""
        left_s = self.rests_until - now
        left = f"{left_s:.0f} seconds" if left_s < 100 else f"{left_s / 60:.0f} minutes"
        return f"sick: {SICK_AFTER} tasks failed in a row where others do well, rests for {left} more"
