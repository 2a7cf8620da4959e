"""Are disks that are full or read-only told, one by one, and clocks that are wrong?"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from disk_kit import FILE, make_file, make_store

from server.disk import health
from server.disk.health import Clocks
from server.disk.paths import Share
from server.disk.records import Problem
from tests.nas.kit import pool, tmpfs

GB = 1 << 30


def rooms(**disks: tuple[float, float, bool]) -> Callable[[Path], Any]:
    """A statvfs by the folder's name: free and whole, in GB, and whether it can only be read."""

    def room(path: Path) -> Any:
        free, whole, read_only = disks[path.name]
        return SimpleNamespace(
            f_bavail=int(free * GB), f_blocks=int(whole * GB), f_frsize=1,
            f_flag=os.ST_RDONLY if read_only else 0,
        )  # fmt: skip

    return room


def told(found: list[Problem]) -> list[tuple[str, str, str]]:
    return [(problem.kind, problem.id, problem.severity) for problem in found]


@pytest.mark.parametrize(
    ("free", "whole", "severity"),
    [(0.5, 1000, "error"), (5, 1000, "warning"), (5, 20, ""), (60, 1000, ""), (12, 1000, "")],
)
def test_a_disk_that_fills_up(free: float, whole: float, severity: str) -> None:
    share = Share("data", Path("/x/pool"))
    found = told(list(health.disks(share, rooms(pool=(free, whole, False)))))
    assert found == ([("full", "full:data::", severity)] if severity else [])


def test_each_disk_of_a_pool_by_itself() -> None:
    share = Share("data", Path("/x/pool"), branches=(Path("/x/d1"), Path("/x/d2"), Path("/x/d3")))
    room = rooms(pool=(500, 3000, False), d1=(0.1, 1000, False), d2=(400, 1000, True), d3=(100, 1000, False))
    found = list(health.disks(share, room))
    assert told(found) == [
        ("full", "full:data::#/x/d1", "warning"),
        ("read-only", "read-only:data::#/x/d2", "error"),
    ]
    assert "/x/d2, a disk of the share data, can only be read" in found[1].text
    # One that is gone is told as that, elsewhere.
    assert list(health.disks(share, lambda path: os.statvfs("/nowhere"))) == []


def test_a_real_disk_is_full_until_its_old_folders_are_emptied(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    with tmpfs(tmp_path / "disk", 1100 << 20) as root:
        store = make_store(root, tmp_path / "config")
        assert told(store.mounts.problems()) == []
        kept = "green/shots/old/20260101-120000-abc123/"
        os.truncate(make_file(root, kept + "big.bin"), 200 << 20)
        with open(root / kept / "big.bin", "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, 200 << 20)
        make_file(root, "green/shots/old/20991231-120000-abc123/new.bin")
        month = time.time() - 40 * 86400
        os.utime(root / kept, (month, month))
        [problem] = store.mounts.problems()
        assert (problem.kind, problem.severity) == ("full", "error")
        # When the admin does what it says…
        subprocess.run(problem.command, shell=True, check=True)
        # …then what is a month old is gone, and the problem is.
        assert sorted(os.listdir(root / "green/shots/old")) == ["20991231-120000-abc123"]
        assert store.mounts.problems() == []
        store.close()


def test_a_disk_that_turns_read_only_and_back(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    with tmpfs(tmp_path / "disk", 3 << 30) as root:
        store = make_store(root, tmp_path / "config")
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        [problem] = store.mounts.problems()
        assert (problem.kind, problem.severity) == ("read-only", "error")
        subprocess.run(problem.command.replace("sudo ", ""), shell=True, check=True)
        assert store.mounts.problems() == []
        store.close()


def test_a_share_that_was_read_only_at_the_start_is_tried_again(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    with tmpfs(tmp_path / "disk", 3 << 30) as root:
        make_store(root, tmp_path / "config").close()
        make_file(root)
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        store = make_store(root, tmp_path / "config")
        kinds = {problem.kind for problem in store.mounts.problems()}
        assert kinds == {"read-only"}
        subprocess.run(["mount", "-o", "remount,rw", str(root)], check=True)
        assert store.mounts.try_again("data", at_once=True)
        assert store.mounts.problems() == []
        store.edit(FILE, {"owner": "mia"}, who="mia")
        store.close()


def test_a_full_disk_in_a_real_pool(tmp_path: Path, needs: Callable[[str], str]) -> None:
    with pool(tmp_path, needs, "mfs", (3000, 2000)) as made:
        store = make_store(made.root, tmp_path / "config")
        assert store.mounts.problems() == []
        big = make_file(made.branches[1], "big.bin")
        with open(big, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, 1500 << 20)
        [problem] = store.mounts.problems()
        assert problem.severity == "warning"
        assert str(made.branches[1]) in problem.text
        big.unlink()
        assert store.mounts.problems() == []
        store.close()


class Time:
    """Clocks that a test sets."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_000_000.0, 50.0

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def clocks(clock: Time) -> Clocks:
    return Clocks(lambda: clock.wall, lambda: clock.steady)


def test_a_clock_that_jumps_and_back(clock: Time, clocks: Clocks) -> None:
    clock.passes(90_000)
    assert list(clocks.problems()) == []
    clock.wall += 7200
    [problem] = clocks.problems()
    assert "set ahead by 2 h" in problem.text
    clock.passes(600)
    assert len(list(clocks.problems())) == 1
    clock.wall -= 7195
    assert list(clocks.problems()) == []
    clock.wall -= 86400 * 3
    [problem] = clocks.problems()
    assert "set back by 3 days" in problem.text
    clocks.accept()
    assert list(clocks.problems()) == []


def test_a_jump_is_old_news_after_an_hour(clock: Time, clocks: Clocks) -> None:
    clock.wall += 7200
    assert len(list(clocks.problems())) == 1
    clock.passes(3500)
    assert len(list(clocks.problems())) == 1
    clock.passes(200)
    assert list(clocks.problems()) == []
    clock.wall += 100
    assert len(list(clocks.problems())) == 1


def test_a_share_whose_clock_is_off(clock: Time, clocks: Clocks) -> None:
    clocks.wrote("data", clock.wall + 2)
    assert list(clocks.problems()) == []
    clocks.wrote("data", clock.wall - 600)
    [problem] = clocks.problems()
    assert problem.address == "data::"
    assert "10 min behind the server’s" in problem.text
    clocks.wrote("data", clock.wall)
    assert list(clocks.problems()) == []


def test_every_write_tells_the_time_of_its_disk(tmp_path: Path, clock: Time) -> None:
    make_file(tmp_path / "share")
    store = make_store(tmp_path / "share")
    store.clocks = Clocks(lambda: clock.wall, lambda: clock.steady)  # a server whose year is 1970
    store.edit(FILE, {"owner": "mia"}, who="mia")
    [problem] = store.clocks.problems()
    assert "ahead of the server’s" in problem.text
    clock.wall = time.time()
    store.write_json("data::green/shots/.croft/sh010.blend/file.json", {"size": 7})
    assert [problem.id for problem in store.clocks.problems()] == ["clock:server"]  # that step itself
    store.close()
