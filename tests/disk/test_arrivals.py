"""When has a file that arrives come to rest, and what becomes of one that never gets its end?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from server.disk.arrivals import INCOMPLETE_S, OPEN_S, Arrivals
from server.disk.records import Stat
from tests.disk.live import living, write

A = "data::p/a.blend"


@dataclass
class Clock:
    """A monotonic clock and the wall's, which stand until somebody turns them."""

    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return 1.7e9 + self.now


@dataclass
class Copy:
    """One file as its arrival is told of it."""

    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.arrivals = Arrivals(1.0, self.clock.monotonic, self.clock.wall)
        self.stat = self.written(0)
        self.looks = 0

    def written(self, size: int) -> Stat:
        return Stat(size, 0, int(self.clock.wall() * 1e9), 7)

    def write(self, size: int, *, opened: bool = False, closed: bool = False) -> None:
        self.stat = self.written(size)
        self.arrivals.seen(A, self.stat, opened=opened, closed=closed)

    def run(self, seconds: float, end: bool | None) -> bool:
        """Let time go by as the watcher does; whether it has settled."""
        until = self.clock.now + seconds
        while True:
            due = self.arrivals.next_due_s()
            if due is None or self.clock.now + due > until:
                self.clock.now = until
                return A not in self.arrivals
            self.clock.now += due
            for address in self.arrivals.due():
                self.looks += 1
                self.arrivals.settled(address, self.stat, lambda: end)


@pytest.fixture
def copy() -> Copy:
    return Copy()


def test_quiet_and_its_end_make_it_whole_within_three_seconds(copy: Copy) -> None:
    copy.write(100, opened=True)
    copy.write(200, closed=True)
    assert not copy.run(0.9, end=True)
    assert copy.run(2.0, end=True)


def test_a_file_cut_off_is_never_whole_and_looked_at_ever_more_rarely(copy: Copy) -> None:
    copy.write(100, opened=True, closed=True)
    assert not copy.run(60, end=False)
    in_a_minute = copy.looks
    assert not copy.arrivals.incomplete(A)
    assert not copy.run(INCOMPLETE_S - 61, end=False)
    assert not copy.arrivals.incomplete(A)
    assert not copy.run(1, end=False)
    assert copy.arrivals.incomplete(A)
    assert in_a_minute < 15
    assert copy.looks - in_a_minute < 15
    # After the hour nobody looks any more: the disks may sleep.
    before = copy.looks
    assert copy.arrivals.next_due_s() is None
    assert not copy.run(10 * INCOMPLETE_S, end=False)
    assert copy.looks == before
    # Somebody who merely looks, as at night, brings nothing back; who goes on copying does.
    copy.arrivals.seen(A, copy.stat)
    assert copy.arrivals.next_due_s() is None
    copy.write(300, opened=True, closed=True)
    assert not copy.arrivals.incomplete(A)
    assert copy.run(3, end=True)


def test_after_a_restart_the_ctime_says_how_long_its_end_is_missing(copy: Copy) -> None:
    copy.clock.now += 2 * INCOMPLETE_S
    copy.arrivals.doubt(A, copy.stat)
    assert copy.arrivals.incomplete(A)
    assert copy.arrivals.next_due_s() is None
    later = copy.written(1)
    copy.arrivals.doubt(A, later)
    assert not copy.arrivals.incomplete(A)
    assert not copy.run(INCOMPLETE_S, end=False)
    assert copy.arrivals.incomplete(A)


def test_a_clock_that_jumps_lists_nothing(copy: Copy) -> None:
    copy.write(1, closed=True)
    assert not copy.run(10, end=False)
    copy.stat = Stat(1, 0, int(1e9 * (copy.clock.wall() + 9e9)), 7)  # a ctime of the future
    copy.arrivals.seen(A, copy.stat)
    assert not copy.run(100, end=False)
    assert not copy.arrivals.incomplete(A)


def test_a_writer_that_pauses_with_the_file_open_is_waited_for(copy: Copy) -> None:
    """A kind without a known end: only the close says that it is over, or a long quiet."""
    copy.write(100, opened=True)
    assert not copy.run(OPEN_S - 1, end=None)
    copy.write(200)
    assert not copy.run(OPEN_S - 1, end=None)
    copy.write(300, closed=True)
    assert copy.run(1, end=None)
    copy.write(100, opened=True)
    assert copy.run(OPEN_S, end=None), "who never closes it doesn't keep it from people for ever"


def test_a_look_that_failed_is_said_again_but_not_what_rests(copy: Copy) -> None:
    copy.write(1, closed=True)
    copy.clock.now += 5
    assert copy.arrivals.due() == [A]
    copy.arrivals.again()
    copy.clock.now += 2
    assert copy.arrivals.due() == [A]
    copy.arrivals.settled(A, copy.stat, lambda: False)
    assert not copy.run(2 * INCOMPLETE_S, end=False)
    copy.arrivals.again()
    assert copy.arrivals.next_due_s() is None


def test_a_file_that_rests_without_its_end_is_at_rest_and_arriving(tmp_path: Path) -> None:
    lacking = {"a.blend"}
    with living(
        tmp_path / "share", tmp_path / "config", complete=lambda path: path.name not in lacking
    ) as live:
        write(live.root / "p/a.blend", b"half")
        live.settle()
        assert live.entry(A).status == "arriving"
        assert not live.entry(A).incomplete
        live.watcher.arrivals._clock = lambda: math.inf  # an hour and more goes by
        live.store.refresh(A)
        assert live.entry(A).incomplete
        assert live.entry(A).status == "arriving"
