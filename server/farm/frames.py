"""Frame ranges: what a person writes ("1-24x2,30") and the order in which a farm renders it.

A `Frames` is a list of frame numbers without repeats, kept as a few ranges, so that 100,000 frames cost
nothing. Task number `n` of a job is the frame `frames[n]`. Anything that can't be meant is refused with
a sentence that says what is wrong; nothing here reads or writes files.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise

from server.disk.errors import BadInput, TooLarge

FIRST, LAST = -1_048_574, 1_048_574  # Blender's own limits (DNA_scene_types.h, MINAFRAME and MAXFRAME)
MAX_TEXT = 4000  # characters; a longer list is a mistake
ORDERS = ("linear", "spread")

_PART = re.compile(r"(-?\d{1,12})(?:\s*(?:-|\.\.)\s*(-?\d{1,12})(?:\s*x\s*(\d{1,12}))?)?", re.ASCII)


class Frames:
    """Frame numbers in the order they were asked for; `len`, indexing, iteration, `str`."""

    __slots__ = ("_ends", "ranges")

    def __init__(self, ranges: tuple[range, ...]) -> None:
        self.ranges = ranges
        total, ends = 0, []
        for part in ranges:
            total += len(part)
            ends.append(total)
        self._ends = ends

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, n: int) -> int:
        """The frame of task `n`."""
        if not 0 <= n < len(self):
            raise IndexError(n)
        at = bisect_right(self._ends, n)
        return self.ranges[at][n - (self._ends[at - 1] if at else 0)]

    def __iter__(self) -> Iterator[int]:
        for part in self.ranges:
            yield from part

    def __contains__(self, frame: object) -> bool:
        return any(frame in part for part in self.ranges)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frames) and self.ranges == other.ranges

    def __hash__(self) -> int:
        return hash(self.ranges)

    def index(self, frame: int) -> int:
        """The task number of `frame`; ValueError when it isn't one of these."""
        before = 0
        for part in self.ranges:
            if frame in part:
                return before + part.index(frame)
            before += len(part)
        raise ValueError(frame)

    def __str__(self) -> str:
        return ",".join(_text(part) for part in self.ranges)

    def __repr__(self) -> str:
        return f"Frames({str(self)!r})"


def parse(text: object, max_frames: int = 100_000) -> Frames:
    """`"1-24"`, `"1-100x5"`, `"1,5,9-12"` or one int, as a `Frames`. A frame named twice counts once."""
    if isinstance(text, bool) or not isinstance(text, (str, int)):
        raise BadInput('Frames are written like "1-24", "1-100x5" or "1,5,9-12".')
    return _parse(str(text), max_frames)


@lru_cache(maxsize=256)
def _parse(text: str, max_frames: int) -> Frames:
    if len(text) > MAX_TEXT:
        raise BadInput("The list of frames is longer than {max_text} characters.", max_text=MAX_TEXT)
    parts: list[range] = []
    total = 0
    for piece in text.split(","):
        part = _range(piece.strip())
        total += len(part)
        if total > max_frames:
            raise TooLarge(
                "{text} asks for more than the {limit:,} frames that one job may have here.",
                limit=max_frames,
                text=repr(text),
            )
        parts.append(part)
    return Frames(_without_repeats(parts))


def of(numbers: Iterable[int]) -> Frames:
    """These frames, as few ranges."""
    return Frames(_compact(dict.fromkeys(numbers)))


def _range(piece: str) -> range:
    found = _PART.fullmatch(piece)
    if not found:
        shown = piece if len(piece) <= 40 else piece[:40] + "…"
        what = f"{shown!r} is no frame range" if shown else "A frame range is missing"
        raise BadInput('{what}: frames are written like "1-24", "1-100x5" or "1,5,9-12".', what=what)
    first = int(found[1])
    last = int(found[2]) if found[2] is not None else first
    step = int(found[3]) if found[3] is not None else 1
    if step == 0:
        raise BadInput("{piece} has a step of 0: the smallest step is 1.", piece=repr(piece))
    for frame in (first, last):
        if not FIRST <= frame <= LAST:
            raise BadInput(
                "Frame {frame} is outside of what Blender knows ({first} to {last}).",
                frame=frame,
                first=FIRST,
                last=LAST,
            )
    if last < first:
        raise BadInput(
            "{piece} runs backwards: write {last}-{first} instead.", piece=repr(piece), last=last, first=first
        )
    count = (last - first) // step + 1
    return range(first, first + (count - 1) * step + 1, step)


def _without_repeats(parts: list[range]) -> tuple[range, ...]:
    """The same frames in the same order, each once; touching ranges joined where that is plain."""
    ordered = sorted(parts, key=lambda part: part.start)
    apart = all(left[-1] < right.start for left, right in pairwise(ordered))
    if apart:
        return tuple(parts)
    return _compact(dict.fromkeys(frame for part in parts for frame in part))


def _compact(frames: dict[int, None]) -> tuple[range, ...]:
    found: list[range] = []
    run: list[int] = []
    for frame in frames:
        even = len(run) < 2 or frame - run[-1] == run[1] - run[0]
        if even and (len(run) != 1 or frame > run[0]):
            run.append(frame)
            continue
        found.append(_as_range(run))
        run = [frame]
    found.append(_as_range(run))
    return tuple(found)


def _as_range(run: list[int]) -> range:
    step = run[1] - run[0] if len(run) > 1 else 1
    return range(run[0], run[-1] + 1, step)


def _text(part: range) -> str:
    if len(part) == 1:
        return str(part.start)
    return f"{part.start}-{part[-1]}" + (f"x{part.step}" if part.step != 1 else "")


def ordering(name: str, total: int) -> array[int] | None:
    """The task numbers in the order they are to be claimed, or None where that is 0, 1, 2, …

    `spread`: first, last, middle, then the middles of what is left, so that a person sees early whether
    the whole range will be right.
    """
    if name == "linear" or total < 3:
        return None
    if name != "spread":
        raise BadInput("{name} is no order: use one of {orders}.", name=repr(name), orders=", ".join(ORDERS))
    order = array("i", (0, total - 1))
    gaps = [(0, total - 1)]
    while gaps:
        smaller: list[tuple[int, int]] = []
        for low, high in gaps:
            middle = (low + high) // 2
            if middle == low:
                continue
            order.append(middle)
            smaller += [(low, middle), (middle, high)]
        gaps = smaller
    return order
