"""A part of what a renderer said, as pages and API ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from server.farm.jobs.texts import LogPart

if TYPE_CHECKING:
    from server.farm.farm import Farm


def read(farm: Farm, job_id: str, n: int, attempt: int = 0, offset: int = 0) -> LogPart:
    """The log of one attempt at a task (0: the newest), from `offset` on. NotFound where there is none."""
    return farm.log(job_id, n, attempt, offset)


def numbers(attempts: int | Sequence[int]) -> list[int]:
    """Attempts told as a count, or one by one."""
    return list(range(1, attempts + 1)) if isinstance(attempts, int) else list(attempts)
