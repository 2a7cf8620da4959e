"""Disks to test on: a plain folder, tiny file systems, and real mergerfs pools."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disk_kit import POLICIES, Pool, mount_pool


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
) -> Iterator[Callable[..., Pool]]:
    """`pool("mfs")`: three disks of different sizes as one mergerfs pool with this create policy."""
    program = needs("mergerfs")
    mounted: list[Path] = []

    def mount(policy: str, sizes_mb: tuple[int, ...] = (4000, 6000, 5000)) -> Pool:
        branches = tuple(tiny(f"disk{number}", size << 20) for number, size in enumerate(sizes_mb, 1))
        root = tmp_path / "pool"
        root.mkdir()
        mount_pool(program, root, branches, policy)
        mounted.append(root)
        return Pool(root, branches, policy)

    yield mount
    for root in mounted:
        if os.path.ismount(root):
            subprocess.run(["umount", "--lazy", str(root)], check=True)


@pytest.fixture(params=["folder", *POLICIES])
def disk_root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A place for a share: a plain folder, then a pool under each create policy."""
    if request.param == "folder":
        root = tmp_path / "share"
        root.mkdir()
        return root
    make: Callable[..., Pool] = request.getfixturevalue("pool")
    return make(request.param).root
