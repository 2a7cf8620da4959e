"""What an image sequence tells of itself: its first and last frame, how many, and which are missing.

From the names of its frames alone, by fileseq. Loaded when the first sequence is looked at, since that
library takes 20 ms and most folders hold none.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from server.disk import paths

SPREAD = 1_000_000  # frames between the first and the last: one stray number is no gap of millions
RANGES = 200  # of missing frames, how many are told


def facts(names: Iterable[str]) -> dict[str, Any]:
    """`first` `last` `count` `padding` `missing` ("4,9-12"; '' for none), of names of one sequence's frames.

    `missing` isn't told of a sequence spread too wide; `padding` is that of the shortest number.
    """
    numbers: set[int] = set()
    padding = 0
    for name in names:
        found = paths.sequence_key(name)
        if found is None:
            continue
        key, number = found
        width = len(name) - (len(key) - 1)
        padding = min(padding or width, width)
        numbers.add(number)
    return told(numbers, padding) if numbers else {}


def told(numbers: set[int], padding: int) -> dict[str, Any]:
    """As `facts`, of the frames' numbers, one at least."""
    first, last = min(numbers), max(numbers)
    found: dict[str, Any] = {"first": first, "last": last, "count": len(numbers), "padding": padding}
    if last - first < SPREAD:
        found["missing"] = missing(numbers) if len(numbers) <= last - first else ""
    return found


def missing(numbers: Iterable[int]) -> str:
    """The frames between the first and the last that aren't there: "4,9-12"."""
    from fileseq.frameset import FrameSet

    gaps = FrameSet(sorted(numbers)).invertedFrameRange().split(",")
    return ",".join(gaps[:RANGES]) + (",…" if len(gaps) > RANGES else "")
