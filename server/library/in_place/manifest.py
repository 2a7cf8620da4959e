"""What a version that lies where it is was made of: each frame's size and time, and what became of them.

Frames go by the digits in their names, so a manifest stays true of a sequence that is renamed. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from server.disk import encoding
from server.disk.errors import Broken
from server.disk.speech import count

from .finding import Frames

SCHEMA = 1
NAME = "manifest.json"
TOLD = 5  # frames of each kind that are named
SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Difference:
    """What is another than it was: the digits of frames, sorted."""

    other: tuple[str, ...] = ()  # of another size or time
    gone: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.other or self.gone or self.added)

    def view(self) -> dict[str, Any]:
        """As the API tells it: how many, and which, of each kind."""
        kinds = {"other": self.other, "gone": self.gone, "added": self.added}
        return {
            **{kind: len(frames) for kind, frames in kinds.items()},
            "frames": {kind: list(frames[:TOLD]) for kind, frames in kinds.items()},
        }

    def told(self) -> list[str]:
        """A sentence for each kind."""
        each = (
            (self.other, "{n} frame was changed since.", "{n} frames were changed since."),
            (self.gone, "{n} frame is gone since.", "{n} frames are gone since."),
            (self.added, "{n} frame came since.", "{n} frames came since."),
        )
        return [count(one, many, len(frames)) for frames, one, many in each if frames]


def dump(key: str, frames: Frames) -> bytes:
    """As it is written beside the version's record."""
    return encoding.dumps({"schema": SCHEMA, "name": key, "frames": dict(sorted(frames.items()))}) + b"\n"


def frames_of(data: Mapping[str, Any], path: str) -> Frames:
    """What a manifest says. Broken where it isn't one."""
    found = data.get("frames")
    try:
        if not isinstance(found, dict):
            raise TypeError
        return {str(digits): (int(known[0]), int(known[1])) for digits, known in found.items()}
    except (TypeError, ValueError, IndexError, KeyError):
        raise Broken("{path} is no list of frames.", path=path, why="it is no list of frames") from None


def compare(was: Frames, now: Frames) -> Difference:
    """What became of the frames."""
    if was == now:
        return Difference()
    return Difference(
        _sorted(digits for digits in was.keys() & now.keys() if not _same(was[digits], now[digits])),
        _sorted(was.keys() - now.keys()),
        _sorted(now.keys() - was.keys()),
    )


def _sorted(frames: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(frames, key=lambda digits: (int(digits), digits)))


def _same(was: tuple[int, int], now: tuple[int, int]) -> bool:
    """The same size and time; a copy on a disk that keeps whole seconds alone is the same, too."""
    if was == now:
        return True
    whole = was[1] % SECOND_NS == 0 or now[1] % SECOND_NS == 0
    return was[0] == now[0] and whole and was[1] // SECOND_NS == now[1] // SECOND_NS
