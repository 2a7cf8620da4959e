"""Disks to test on: a plain folder, tiny file systems, and real mergerfs pools."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

POLICIES = ("mfs", "epmfs", "ff")


@dataclass(frozen=True)
class Pool:
    """A mounted pool and the folders it is made of."""

    root: Path
    branches: tuple[Path, ...]
    policy: str


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """`tiny("name", size)`: a tmpfs of so many bytes, mounted for this test alone."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mounted: list[Path] = []

    def mount(name: str, size: int, options: str = "") -> Path:
        path = tmp_path / name
        path.mkdir()
        wanted = f"size={size},mode=0775{',' + options if options else ''}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", wanted, "tmpfs", str(path)], check=True)
        mounted.append(path)
        return path

    yield mount
    for path in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def pool(
    tmp_path: Path, tiny: Callable[..., Path], needs: Callable[[str], str]
) -> Iterator[Callable[[str], Pool]]:
    """`pool("mfs")`: three disks of different sizes as one mergerfs pool with this create policy."""
    program = needs("mergerfs")
    mounted: list[Path] = []

    def mount(policy: str) -> Pool:
        branches = tuple(tiny(f"disk{number}", size << 20) for number, size in enumerate((40, 60, 50), 1))
        root = tmp_path / "pool"
        root.mkdir()
        mount_pool(program, root, branches, policy)
        mounted.append(root)
        return Pool(root, branches, policy)

    yield mount
    for root in mounted:
        if os.path.ismount(root):
            subprocess.run(["umount", "--lazy", str(root)], check=True)


def mount_pool(program: str, root: Path, branches: tuple[Path, ...], policy: str) -> None:
    # Without minfreespace a pool keeps 4 GB free on each disk: more than these have.
    options = f"allow_other,use_ino,minfreespace=1M,category.create={policy}"
    subprocess.run([program, "-o", options, ":".join(map(str, branches)), str(root)], check=True)


@pytest.fixture(params=["folder", *POLICIES])
def disk_root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A place for a share: a plain folder, then a pool under each create policy."""
    if request.param == "folder":
        root = tmp_path / "share"
        root.mkdir()
        return root
    make: Callable[[str], Pool] = request.getfixturevalue("pool")
    return make(request.param).root
