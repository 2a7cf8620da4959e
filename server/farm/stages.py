"""The stages of a job: which tasks it has, which frames each is for, and what must be done before it.

Frozen in `job.json` when it was submitted, so that an edited job type changes no job. Task numbers run
through the stages in their order, the optional ones last. A stage's tasks are frames, chunks of frames,
tiles of frames, a list of commands, or one task alone; each covers a run of the job's frames, by which
tasks of one stage wait for those of another. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.disk.errors import BadInput
from server.farm import frames as frame_ranges

PER = ("frame", "chunk", "tile", "list", "once")
BY = ("all", "frame")
MOST_STAGES = 50
MOST_TASKS = 10**7
MOST_TILES = 64  # in one direction


@dataclass(frozen=True, slots=True)
class After:
    """A stage that must be done first: all of it, or the tasks for the same frames."""

    stage: int  # its index
    by: str  # all or frame


@dataclass(frozen=True, eq=False)
class Stage:
    """One stage. Tasks are told by their index in it, 0 for its first."""

    index: int
    name: str
    per: str
    first: int  # the number of its first task in the job
    tasks: int
    frames: int  # how many the job has
    chunk: int
    tiles: tuple[int, int]  # columns and rows that a frame is cut into
    after: tuple[After, ...]
    optional: bool  # that it fails is told, and the job is done nevertheless
    base: str  # what its outputs are called, `####` for the frame
    record: Mapping[str, Any]  # as it stands in job.json

    @property
    def end(self) -> int:
        """One more than the number of its last task."""
        return self.first + self.tasks

    @property
    def per_frame(self) -> int:
        """Tasks for each frame; 0 where a task is for several."""
        return {"frame": 1, "tile": self.tiles[0] * self.tiles[1]}.get(self.per, 0)

    def span(self, index: int) -> tuple[int, int]:
        """Which of the job's frames a task is for: the first, and one more than the last, counted from 0."""
        if self.per_frame:
            at = index // self.per_frame
            return at, at + 1
        if self.per == "chunk":
            return index * self.chunk, min((index + 1) * self.chunk, self.frames)
        if self.per == "list" and self.tasks == self.frames:
            return index, index + 1
        return 0, self.frames

    def covering(self, low: int, high: int) -> tuple[int, int]:
        """The tasks that are for any of these frames: the first, and one more than the last."""
        if self.per_frame:
            return low * self.per_frame, high * self.per_frame
        if self.per == "chunk":
            return low // self.chunk, (high - 1) // self.chunk + 1
        if self.per == "list" and self.tasks == self.frames:
            return low, high
        return 0, self.tasks

    def tile(self, index: int) -> tuple[int, int] | None:
        """Column and row of a tile, from the lower left."""
        if self.per != "tile":
            return None
        return index % self.per_frame % self.tiles[0], index % self.per_frame // self.tiles[0]

    def texts(self, key: str) -> list[str]:
        """Names that its record holds under a key."""
        found = self.record.get(key) or ()
        return [str(name) for name in found]

    @property
    def commands(self) -> list[dict[str, Any]] | None:
        """What its tasks do; None for jobs from before there were stages: their type says."""
        return self.record.get("commands")


def count(per: str, frames: int, chunk: int = 1, tiles: tuple[int, int] = (1, 1), listed: int = 0) -> int:
    """How many tasks a stage has."""
    if per == "chunk":
        return -(-frames // chunk)
    return {"frame": frames, "tile": frames * tiles[0] * tiles[1], "list": listed}.get(per, 1)


def read(record: Mapping[str, Any], frames: int) -> tuple[Stage, ...]:
    """The stages of a job's request; BadInput where they make no sense. Old requests have a task a frame."""
    told = record.get("stages")
    base = str(record.get("base") or "")
    if told is None:
        return (Stage(0, "render", "frame", 0, frames, frames, 1, (1, 1), (), False, base, {}),)
    if not isinstance(told, list) or not 0 < len(told) <= MOST_STAGES:
        raise BadInput("its stages make no sense")
    found: list[Stage] = []
    for data in told:
        try:
            found.append(_stage(data, found, frames, base))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput("its stages make no sense ({why})", why=repr(error)) from error
    if found[-1].end > MOST_TASKS:
        raise BadInput("it has too many tasks")
    return tuple(found)


def _stage(data: Mapping[str, Any], before: list[Stage], frames: int, base: str) -> Stage:
    per, optional = data["per"], bool(data.get("optional"))
    chunk, tiles, listed = int(data.get("chunk") or 1), tuple(data.get("tiles") or (1, 1)), 0
    if per == "list":
        listed = len(data["lists"])
    columns, rows = tiles
    if per not in PER or chunk < 1 or not all(type(n) is int and 1 <= n <= MOST_TILES for n in tiles):
        raise ValueError(per)
    tasks = count(per, frames, chunk, (columns, rows), listed)
    if tasks < 1 or data.get("tasks", tasks) != tasks:
        raise ValueError("tasks")
    if before and before[-1].optional and not optional:
        raise ValueError("optional stages come last")
    names = [stage.name for stage in before]
    after = tuple(
        After(names.index(told["stage"]), told.get("by", "all")) for told in data.get("after") or ()
    )
    if any(told.by not in BY or (before[told.stage].optional and not optional) for told in after):
        raise ValueError("after")
    name = data["name"]
    if not isinstance(name, str) or not name or name in names:
        raise ValueError("name")
    if data.get("commands") is not None and not all(isinstance(part, dict) for part in data["commands"]):
        raise ValueError("commands")
    first = before[-1].end if before else 0
    own = str(data.get("base") or base)
    return Stage(
        len(before), name, per, first, tasks, frames, chunk, (columns, rows), after, optional, own, data
    )


def frame_of(stage: Stage, index: int, frames: frame_ranges.Frames) -> int | list[int] | None:
    """What the wire and the API call a task's frame: a number, the first and last of several, or None
    where it is for no frame in particular."""
    if stage.per == "list" and stage.tasks != len(frames):
        return None
    low, high = stage.span(index)
    if stage.per == "once" or high - low > 1:
        return [frames[low], frames[high - 1]]
    return frames[low]


def part_of(frames: frame_ranges.Frames, low: int, high: int) -> frame_ranges.Frames:
    """The frames from one place to before another, as ranges."""
    found: list[range] = []
    before = 0
    for part in frames.ranges:
        start, stop = max(low - before, 0), min(high - before, len(part))
        if start < stop:
            found.append(part[start:stop])
        before += len(part)
    return frame_ranges.Frames(tuple(found))


# The words of a stage's commands that stand for something else in each of its tasks.
WORDS = (
    *("frame", "first", "last", "chunk", "count", "padded"),
    *("tile", "column", "row", "listed", "prman"),
)


def words(stage: Stage, index: int, frames: frame_ranges.Frames) -> dict[str, Any]:
    """What those words stand for in one task."""
    if stage.per == "frame":
        frame = frames[index]
        return {
            **_PLAIN,
            "frame": frame,
            "first": frame,
            "last": frame,
            "chunk": str(frame),
            "padded": _padded(frame),
        }
    low, high = stage.span(index)
    tile = stage.tile(index)
    return {
        "frame": frame_of(stage, index, frames),
        "first": frames[low],
        "last": frames[high - 1],
        "chunk": str(part_of(frames, low, high)),
        "count": high - low,
        "padded": _padded(frames[low]),
        "tile": [*tile, *stage.tiles] if tile is not None else None,
        "column": tile[0] + 1 if tile is not None else None,
        "row": tile[1] + 1 if tile is not None else None,
        "listed": stage.record["lists"][index] if stage.per == "list" else None,
        "prman": None,
    }


_PLAIN: dict[str, Any] = {
    "count": 1,
    "tile": None,
    "column": None,
    "row": None,
    "listed": None,
    "prman": None,
}


def _padded(frame: int) -> str:
    return f"{frame:04d}" if frame >= 0 else f"-{-frame:04d}"
