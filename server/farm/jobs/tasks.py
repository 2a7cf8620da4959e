"""A job's tasks as columns: a byte of state each, which are ready, which comes next. No events, no files.

A task is ready when it waits and all that it comes after (`stages.py`) is done or skipped. The optional
stages' tasks come last, from `total` on, and are counted apart, since nobody asked for them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from server.disk.speech import say
from server.farm import frames as frame_ranges
from server.farm import stages
from server.farm.stages import Stage

WAITING, CLAIMED, DONE, FAILED, SKIPPED = b"wcdfs"
LETTERS = {WAITING: "waiting", CLAIMED: "claimed", DONE: "done", FAILED: "failed", SKIPPED: "skipped"}
READY, HELD = 1, 2  # of a task that waits: it may be given out; it could but for another job's frame
SATISFIED = frozenset({DONE, SKIPPED})  # what comes after such a task need not wait for it


class Tasks:
    """All tasks of one job, by number."""

    failures: dict[int, Any]  # tasks of which attempts failed

    def __init__(self, record: dict[str, Any]) -> None:
        self.frames = frame_ranges.parse(record["frames"], max_frames=10**7)
        self.stages = stages.read(record, len(self.frames))
        self.tasks = self.stages[-1].end
        # Those that were asked for; the rest are the optional stages'.
        self.total = next((stage.first for stage in self.stages if stage.optional), self.tasks)
        # The stage whose outputs are the job's frames: the last that was asked for.
        self.shown = next(stage for stage in reversed(self.stages) if not stage.optional)
        self.chunked = next((stage for stage in self.stages if stage.per == "chunk"), None)
        self._firsts = [stage.first for stage in self.stages]
        self._later: list[list[tuple[Stage, str]]] = [[] for _ in self.stages]  # who comes after each
        for stage in self.stages:
            for after in stage.after:
                self._later[after.stage].append((stage, after.by))
        self._order = _ordering(record.get("order", "linear"), self.stages)
        self._position: array[int] | None = None
        if self._order is not None:
            self._position = array("i", bytes(4 * self.tasks))
            for position, task in enumerate(self._order):
                self._position[task] = position
        self._holds = bytearray()  # by task: 1 where another job's frame comes first; none: nowhere

    def reset_tasks(self) -> None:
        """All wait."""
        self.cells = bytearray(b"w") * self.tasks
        self._ready = bytearray(self.tasks)  # by position in the order: READY, HELD or 0
        self.ready = [0] * len(self.stages)  # how many those are, by stage
        self._unmet = [stage.tasks for stage in self.stages]  # tasks that are neither done nor skipped
        self._cursors = self._firsts.copy()  # by stage: no position before it is ready
        for stage in self.stages:
            if not stage.after:
                self._ready[stage.first : stage.end] = b"\x01" * stage.tasks
                self.ready[stage.index] = stage.tasks
        self.held_back = 0  # tasks that wait for nothing but other jobs
        for task in range(self.tasks) if any(self._holds) else ():
            if self._holds[task]:
                self._look(self.stage_of(task), task)
        none = {"waiting": 0, "claimed": 0, "done": 0, "failed": 0, "skipped": 0}
        self.counts = {**none, "waiting": self.total}
        self.extras = {**none, "waiting": self.tasks - self.total}  # the same of the optional tasks

    def stage_of(self, task: int) -> Stage:
        """The stage that a task belongs to."""
        return self.stages[0 if task < self.stages[0].end else bisect_right(self._firsts, task) - 1]

    def task_frame(self, task: int) -> int | list[int] | None:
        """Its frame; the first and last of a chunk or a video; None where it is for no frame."""
        stage = self.stage_of(task)
        return stages.frame_of(stage, task - stage.first, self.frames)

    def frames_in(self, task: int) -> int:
        """How many of the job's frames are there once this task is done; parts count as one."""
        stage = self.shown
        if not stage.first <= task < stage.end:
            return 0
        if stage.per == "list":
            return 1
        if stage.per_frame > 1:  # tiles: the first of each frame stands for it
            return int((task - stage.first) % stage.per_frame == 0)
        low, high = stage.span(task - stage.first)
        return high - low

    def words_for(self, task: int) -> str:
        """A task as a person calls it: "frame 7", "frames 1 to 10"."""
        stage = self.stage_of(task)
        tile = stage.tile(task - stage.first)
        where = (
            say(" (part {tile}, {tile2})", tile=tile[0] + 1, tile2=tile[1] + 1) if tile is not None else ""
        )
        frame = self.task_frame(task)
        if isinstance(frame, int):
            return say("frame {frame}{where}", frame=frame, where=where)
        if frame is None or stage.per == "once":
            return str(stage.record.get("title") or f"{stage.name} {task - stage.first + 1}")
        return say("frames {frame} to {frame2}", frame=frame[0], frame2=frame[1])

    def is_ready(self, task: int) -> bool:
        """May it be given out, as far as this job goes, were it not given out already?"""
        return self._ready[task if self._position is None else self._position[task]] != 0

    def hold(self, tasks: Iterable[int], held: bool) -> None:
        """Have tasks wait for another job, or no more. No event: who knows the other job says so, each time
        that this one is read."""
        if not self._holds:
            if not held:
                return
            self._holds = bytearray(self.tasks)
        for task in tasks:
            if self._holds[task] != held:
                self._holds[task] = held
                self._look(self.stage_of(task), task)

    def next_task(
        self, stage: int = 0, avoid: Callable[[int], bool] | None = None, looks: int = 64
    ) -> int | None:
        """A stage's next task in the job's order, passing over at most `looks` that `avoid` names."""
        ready, end = self._ready, self.stages[stage].end
        position = ready.find(READY, self._cursors[stage], end)
        self._cursors[stage] = position if position >= 0 else end
        for _ in range(looks):
            if position < 0:
                return None
            task = position if self._order is None else self._order[position]
            if avoid is None or task not in self.failures or not avoid(task):
                return task
            position = ready.find(READY, position + 1, end)
        return None

    def mark(self, task: int, letter: int) -> None:
        """A task is in another state now."""
        before = self.cells[task]
        if before == letter:
            return
        counts = self.counts if task < self.total else self.extras
        counts[LETTERS[before]] -= 1
        counts[LETTERS[letter]] += 1
        self.cells[task] = letter
        stage = self.stage_of(task)
        self._look(stage, task)
        if (before in SATISFIED) == (letter in SATISFIED):
            return
        met = letter in SATISFIED
        self._unmet[stage.index] += -1 if met else 1
        turned = self._unmet[stage.index] == (0 if met else 1)  # the whole stage is met now, or no more
        for later, by in self._later[stage.index]:
            if by == "frame" or turned:
                for other in self._related(stage, task, later, by):
                    self._look(later, other)

    def is_met(self, stage: Stage) -> bool:
        """Are all tasks of a stage done or skipped?"""
        return self._unmet[stage.index] == 0

    def followers(self, stage: Stage, task: int, whole: bool) -> Iterator[int]:
        """The tasks that come after a task; those that come after all of its stage only where `whole`."""
        for later, by in self._later[stage.index]:
            if by == "frame" or whole:
                yield from self._related(stage, task, later, by)

    def _look(self, stage: Stage, task: int) -> None:
        """Is a task ready now?"""
        position = task if self._position is None else self._position[task]
        now, before = 0, self._ready[position]
        if self.cells[task] == WAITING and not (stage.after and self._blocked(stage, task)):
            now = HELD if self._holds and self._holds[task] else READY
        if now != before:
            self._ready[position] = now
            self.ready[stage.index] += (now == READY) - (before == READY)
            self.held_back += (now == HELD) - (before == HELD)
            if now == READY:
                self._cursors[stage.index] = min(self._cursors[stage.index], position)

    def _blocked(self, stage: Stage, task: int) -> bool:
        """Does it come after something that is neither done nor skipped?"""
        for after in stage.after:
            if not self._unmet[after.stage]:
                continue
            if after.by == "all":
                return True
            other = self.stages[after.stage]
            low, high = other.covering(*stage.span(task - stage.first))
            if self.cells[other.first + low : other.first + high].translate(None, b"ds"):
                return True
        return False

    def _related(self, stage: Stage, task: int, later: Stage, by: str) -> range:
        """The tasks of a later stage that come after this task."""
        if by == "all":
            return range(later.first, later.end)
        low, high = later.covering(*stage.span(task - stage.first))
        return range(later.first + low, later.first + high)


def _ordering(name: str, found: tuple[Stage, ...]) -> array[int] | None:
    """The task numbers in the order they are to be claimed, stage by stage; None where that is 0, 1, 2, …"""
    orders = [None if stage.per == "list" else frame_ranges.ordering(name, stage.tasks) for stage in found]
    if not any(orders):
        return None
    whole = array("i")
    for stage, order in zip(found, orders, strict=True):
        whole.extend(range(stage.first, stage.end) if order is None else (stage.first + n for n in order))
    return whole
