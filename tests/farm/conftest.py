"""A share with a project and a scene on a folder or a real pool, a farm there, and a node."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from farm_kit import SCENE, Node, World

from server.farm.farm import Farm

POLICIES = ("mfs", *(pytest.param(policy, marks=pytest.mark.soak) for policy in ("epmfs", "ff")))


@pytest.fixture(params=["folder", *POLICIES])
def disk_root(request: pytest.FixtureRequest, tmp_path: Path, needs: Callable[[str], str]) -> Iterator[Path]:
    """A place for a share: a plain folder, then a mergerfs pool of three under each create policy."""
    root = tmp_path / "share"
    root.mkdir()
    if request.param == "folder":
        yield root
        return
    branches = [tmp_path / f"disk{number}" for number in (1, 2, 3)]
    for branch in branches:
        branch.mkdir()
    options = f"allow_other,use_ino,minfreespace=1M,category.create={request.param}"
    subprocess.run([needs("mergerfs"), "-o", options, ":".join(map(str, branches)), str(root)], check=True)
    yield root
    if os.path.ismount(root):
        subprocess.run(["umount", "--lazy", str(root)], check=True)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path).lay()
    yield world
    world.close()


@pytest.fixture
def farm(world: World) -> Farm:
    return world.open()


@pytest.fixture
def node(world: World, farm: Farm) -> Node:
    return Node(farm, "n1", world.root)


@pytest.fixture
def submit(farm: Farm) -> Callable[..., str]:
    """Submit a job for the scene; its id."""

    def make(frames: str = "1-4", **more: Any) -> str:
        job = farm.submit("anna", {"file": SCENE, "frames": frames, **more})
        return str(farm.view(job)["id"])

    return make
