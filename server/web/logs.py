"""A part of what a renderer said, as pages and API ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.farm.farm import Farm


@dataclass(frozen=True, slots=True)
class LogPart:
    """`text` begins at `start`, which lies behind what was asked for where a middle part wasn't kept."""

    text: str
    start: int
    next: int  # the offset to ask for when there may be more
    running: bool  # more may come
    attempt: int
    attempts: list[int]  # that have a log, or may still get one


def read(farm: Farm, job_id: str, n: int, attempt: int = 0, offset: int = 0) -> LogPart:
    """The log of one attempt at a task (0: the newest), from `offset` on. NotFound where there is none."""
    found: Any = farm.log(job_id, n, attempt)
    if not isinstance(found, str):
        raise TypeError(type(found))
    failures = [int(one["attempt"]) for one in farm.task(job_id, n).get("failures") or []]
    number = attempt or (failures[-1] if failures else 0)
    return LogPart(found[offset:], min(offset, len(found)), len(found), False, number, failures)


def numbers(attempts: int | Sequence[int]) -> list[int]:
    """Attempts told as a count, or one by one."""
    return list(range(1, attempts + 1)) if isinstance(attempts, int) else list(attempts)
