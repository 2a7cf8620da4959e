"""How long each frame took, gathered for a drawing, and which frames stand out.

Pure; reads a fold's columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress

from server.farm.jobs.job import Job
from server.farm.jobs.tasks import DONE

BARS = 240
SLOW_TIMES = 2.0  # so many times the middle one's time is slow …
SLOW_S = 1.0  # … if it is also so much longer: of quick frames none is worth a look
SLOW_FRAMES = 5  # that are named


@dataclass(frozen=True, slots=True)
class Plot:
    """A bar for each frame, or for `group` frames with the slowest of them; 0 where none is done."""

    group: int
    seconds: list[float]
    median: float
    slow: list[tuple[int, float]]  # task and seconds of those that stand out, the slowest first


def plot(job: Job, bars: int = BARS) -> Plot:
    """What is known so far."""
    done = [cell == DONE for cell in job.cells[: job.total]]
    times = [value if is_done else 0 for value, is_done in zip(job.milliseconds, done, strict=False)]
    group = max(1, -(-job.total // bars))
    tops = times if group == 1 else [max(times[at : at + group]) for at in range(0, job.total, group)]
    known = sorted(compress(times, done))
    median = known[len(known) // 2] if known else 0
    limit = max(SLOW_TIMES * median, median + 1000 * SLOW_S)
    slow: list[tuple[int, float]] = []
    if known and known[-1] > limit:
        least = max(limit, known[-SLOW_FRAMES] if len(known) >= SLOW_FRAMES else 0)
        found = [(n, value / 1000) for n, value in enumerate(times) if value >= least and value > limit]
        slow = sorted(found, key=lambda pair: (-pair[1], pair[0]))[:SLOW_FRAMES]
    return Plot(group, [value / 1000 for value in tops], median / 1000, slow)
