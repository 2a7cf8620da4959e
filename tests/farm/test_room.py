"""Renders wait while a disk that they would go to is nearly full: on real small disks and pools."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from farm_kit import SCENE, Node, World, until

from server.disk.branches import Pool, pool_of
from server.disk.paths import Share
from server.disk.settings import Settings
from server.disk.store import Store
from server.farm.room import GB, Room

MB = 1 << 20
DISK_MB = 40


def statvfs(free: int, whole: int) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, whole // 4096, free // 4096, free // 4096, 10, 5, 5, 0, 255))


class Disks:
    """Made-up disks by path, and a pool of them."""

    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        world = World(tmp_path).lay(**settings)
        self.root = world.root
        self.store = Store(Settings(world.config), [Share("data", world.root)])
        self.free: dict[Path, tuple[float, float]] = {world.root: (1000, 4000)}  # free, whole, in GB
        self.pool: Pool | None = None
        self.room = Room(self.store.settings, self.store, world.clock, self.statvfs, lambda root: self.pool)
        self.clock = world.clock

    def statvfs(self, path: Path) -> os.statvfs_result:
        free, whole = next(self.free[place] for place in (path, *path.parents) if place in self.free)
        return statvfs(int(free * GB), int(whole * GB))

    def why(self, folder: str = "data::demo/shots/render/sh010/v001") -> str:
        self.room.look(folder, now=True)
        return self.room.why(folder)


@pytest.mark.parametrize(
    ("free", "whole", "low"),
    [
        (19.9, 4000, True), (20.1, 4000, False),  # 20 GB of a large disk
        (9.9, 100, True), (10.1, 100, False),  # 10 % of a middling one
        (0.39, 4, True), (0.41, 4, False),  # and of a small one
    ],
)  # fmt: skip
def test_the_smaller_of_two_limits_counts(tmp_path: Path, free: float, whole: float, low: bool) -> None:
    disks = Disks(tmp_path)
    disks.free[disks.root] = (free, whole)
    assert bool(disks.why()) == low


@pytest.mark.parametrize("key", ["keep_free_gb", "keep_free_percent"])
def test_it_can_be_turned_off(tmp_path: Path, key: str) -> None:
    disks = Disks(tmp_path, **{key: 0})
    disks.free[disks.root] = (0, 4000)
    assert disks.why() == ""


def test_what_it_says(tmp_path: Path) -> None:
    disks = Disks(tmp_path)
    disks.free[disks.root] = (3.2, 500)
    assert disks.why() == (
        "the disk is nearly full: 3.2 GB of 500.0 GB are left. It goes on by itself when 20.0 GB are free"
    )


@pytest.mark.parametrize(
    ("policy", "free", "having", "low"),
    [
        ("mfs", (1, 900), "a", False),  # the other disk has room, and it goes there
        ("mfs", (1, 2), "ab", True),
        ("epmfs", (1, 900), "a", True),  # it keeps to the disk that has the folder
        ("epmfs", (900, 1), "a", False),
        ("epmfs", (1, 900), "ab", False),
        ("ff", (1, 900), "a", False),
    ],
)
def test_a_pool_is_asked_where_new_files_go(
    tmp_path: Path, policy: str, free: tuple[float, float], having: str, low: bool
) -> None:
    disks = Disks(tmp_path)
    branches = [tmp_path / "a", tmp_path / "b"]
    for branch, room in zip(branches, free, strict=True):
        (branch / ("demo/shots/render/sh010/v001" if branch.name in having else "x")).mkdir(parents=True)
        disks.free[branch] = (room, 1000)
    disks.pool = Pool(disks.root, tuple((branch, True) for branch in branches), policy, 0)
    assert bool(disks.why()) == low
    # Read-only and NC branches take no new files
    disks.pool = Pool(disks.root, tuple((branch, branch.name == "a") for branch in branches), policy, 0)
    disks.clock.now += 100
    assert bool(disks.why()) == (free[0] < 20)


def test_below_its_own_limit_a_pool_takes_nothing(tmp_path: Path) -> None:
    disks = Disks(tmp_path)
    branch = tmp_path / "a"
    branch.mkdir()
    disks.free[branch] = (30, 1000)
    disks.pool = Pool(disks.root, ((branch, True),), "mfs", 40 * GB)
    assert "when 40.0 GB are free" in disks.why()


def mount(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(params=["folder", "mfs", "epmfs"])
def small(request: pytest.FixtureRequest, tmp_path: Path, needs: Callable[[str], str]) -> Iterator[Path]:
    """A share on a real disk of 40 MB, or on a real pool of two such."""
    root, disks = tmp_path / "share", [tmp_path / "disk1", tmp_path / "disk2"]
    for folder in (root, *disks):
        folder.mkdir()
    mounted: list[Path] = []
    try:
        if request.param == "folder":
            mount("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(root))
        else:
            for disk in disks:
                mount("mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(disk))
                mounted.insert(0, disk)
            options = f"allow_other,use_ino,minfreespace=1M,category.create={request.param}"
            mount(needs("mergerfs"), "-o", options, ":".join(map(str, disks)), str(root))
        mounted.insert(0, root)
        yield root
    finally:
        for place in mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk: Path, leave: float) -> Path:
    """Leave so many bytes."""
    found = os.statvfs(disk)
    path = disk / "somebody's film.mov"
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - int(leave))
    return path


def test_claims_stop_on_a_full_disk_and_go_on_by_themselves(
    small: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    world = World(tmp_path / "world", small).lay()
    farm = world.open()
    try:
        # Given a render under way, and the disk fills that it goes to
        job_id = farm.submit("anna", {"file": SCENE, "frames": "1-4"}).id
        node = Node(farm, "n1", small)
        task = node.one()
        version = farm.view(job_id)["folder"].partition("::")[2]
        pool = pool_of(small)
        disks = [branch for branch, _ in pool.branches] if pool else [small]
        holding = [disk for disk in disks if (disk / version).is_dir()]
        assert len(holding) == 1
        full = [fill(holding[0], 3.5 * MB)]

        def look() -> None:
            world.clock.now += 10
            farm.keeper.tick()

        if pool is not None and pool.policy == "mfs":
            # Then a pool that puts new files on its roomiest disk goes on, until no disk has room
            look()
            assert farm.view(job_id)["why"] == ""
            full += [fill(disk, 3.5 * MB) for disk in disks if disk not in holding]
        look()
        until(lambda: node.ask() == [])
        why = farm.view(job_id)["why"]
        assert "the disk is nearly full: 3 MB of 40 MB are left" in why
        assert "when 4 MB are free" in why
        assert farm.health.held_up()["demo"].startswith("Renders wait: the disk is nearly full")
        (problem,) = [p for p in farm.health.problems() if p.kind == "room"]
        assert problem.severity == "error"
        told = [str(disk) for disk in disks if f" {disk} has 3 MB of 40 MB left" in problem.text]
        assert "1 render waits" in problem.text
        assert len(told) == 1 if len(full) > 1 else told == [str(holding[0])]
        # What was begun is still taken; a new job waits, too
        assert node.deliver(task)["id"] == "accepted"
        second = farm.submit("anna", {"file": SCENE, "frames": "1"}).id
        if pool is None or pool.policy == "mfs":
            assert "nearly full" in farm.view(second)["why"]
            assert node.ask() == []
        else:  # its folder may have come to lie on the other disk
            farm.cancel(second, "anna")
        # When somebody makes room
        full[0].unlink()
        look()
        until(lambda: "nearly full" not in farm.view(job_id)["why"])
        assert len(node.ask()) == 1
        assert farm.health.held_up() == {}
        assert [p for p in farm.health.problems() if p.kind == "room"] == []
    finally:
        world.close()
