"""How long a task may take on a node: ten times the job's usual, more on a node that is usually slower.

`Usual` knows a stage's median, `Worth` how a node fares beside others at the same jobs. Before a few tasks
are done nobody knows, and nothing is bounded.
"""

from __future__ import annotations

import math
from array import array

KNOWN_AFTER = 5  # tasks done before a median means something
LOOK_AGAIN = 1.15  # when so many times as many are done, the median is made anew
SAMPLE = 1000  # tasks of which it is made
WEIGHT = 0.15  # of the newest task in a node's worth
LEAST, MOST = 0.5, 20.0  # of a node's worth
GRACE = 1.2  # the node ends it itself at the bound: the server a little later
DONE = b"d"[0]


class Usual:
    """The median time of a stage's done tasks, made anew now and then."""

    __slots__ = ("_done", "_seconds")

    def __init__(self) -> None:
        self._done = 0
        self._seconds = 0.0

    def seconds(self, done: int, milliseconds: array[int], cells: bytearray, first: int, end: int) -> float:
        """0 while too few are done. `done`: how many tasks of the whole job are."""
        if done < KNOWN_AFTER or (self._done and self._done <= done < self._done * LOOK_AGAIN):
            return self._seconds if done >= KNOWN_AFTER else 0.0
        times = sorted(milliseconds[task] for task in _sample(cells, first, end, done))
        self._done = done
        self._seconds = times[len(times) // 2] / 1000 if len(times) >= KNOWN_AFTER else 0.0
        return self._seconds


def _sample(cells: bytearray, first: int, end: int, done: int) -> list[int]:
    """Some of the done tasks: all where they are few, else those at regular distances."""
    if done > SAMPLE:
        step = max(1, (end - first) // SAMPLE)
        found = [task for task in range(first, end, step) if cells[task] == DONE]
        if len(found) >= KNOWN_AFTER:
            return found
    found = []
    task = cells.find(DONE, first, end)
    while task >= 0 and len(found) < SAMPLE:
        found.append(task)
        task = cells.find(DONE, task + 1, end)
    return found


class Worth:
    """How many times as long as others a node takes for the same work: 1 is usual, 2 half as fast."""

    __slots__ = ("_log", "tasks")

    def __init__(self) -> None:
        self._log = 0.0
        self.tasks = 0

    def saw(self, seconds: float, usual_s: float) -> None:
        """It did a task of a job that usually takes `usual_s`."""
        if seconds <= 0 or usual_s <= 0:
            return
        told = math.log(max(LEAST / 4, min(MOST, seconds / usual_s)))
        self.tasks += 1
        self._log += max(WEIGHT, 1 / self.tasks) * (told - self._log)

    def learn(self, times: float) -> None:
        """It was so before the server was started."""
        self._log = math.log(max(LEAST / 4, min(MOST, times)))
        self.tasks = round(1 / WEIGHT)

    @property
    def times(self) -> float:
        return max(LEAST, min(MOST, math.exp(self._log)))


def bound_s(usual_s: float, worth: float, time_outs: int, times: float, least_s: float) -> float:
    """Seconds after which a task is given up; 0: never. Each time-out that it had doubles it."""
    if usual_s <= 0 or times <= 0:
        return 0.0
    return max(least_s, times * usual_s * max(LEAST, worth)) * 2.0 ** min(time_outs, 20)
