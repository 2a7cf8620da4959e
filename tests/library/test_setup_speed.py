"""The verdict on a disk: measured for real, and said in words that fit the figures."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from server.disk.probes import first_marker
from server.library.setup.records import worst
from server.library.setup.speed import Speed, measure, verdict
from tests.misc.kit import pool

FAST = Speed(reads=100_000, lists=500_000, flush_ms=0.5, rename_us=10, lock_us=100, file_system="ext4")


def test_a_real_disk_is_measured_and_left_as_it_was(tmp_path: Path) -> None:
    found = measure(tmp_path)
    assert min(found.reads, found.lists, found.flush_ms, found.rename_us, found.lock_us) > 0
    assert [path.name for path in tmp_path.rglob("*")] == [".croft-locks"]
    assert "records a second" in found.line()


def test_a_clock_that_runs_ahead_ends_the_measuring(tmp_path: Path) -> None:
    """A disk that takes a second for each: a few of each are enough."""
    times = iter(range(10_000))
    found = measure(tmp_path, lambda: float(next(times)))
    assert found.flush_ms == pytest.approx(1000)
    assert next(times) < 200


@pytest.mark.parametrize(
    ("change", "state", "said"),
    [
        ({}, "right", "Fast enough for a class of thirty"),
        ({"flush_ms": 25.0}, "right", "about 40 saves a second"),
        ({"flush_ms": 60.0}, "note", "slow for a big farm"),
        ({"flush_ms": 400.0}, "wrong", "Too slow for a class"),
        ({"reads": 400.0}, "wrong", "looking at 100,000 files takes 250 s"),
        ({"reads": 400.0, "branch_reads": 90_000.0, "file_system": "fuse.mergerfs"}, "right", "Fast enough"),
        ({"reads": 900.0, "file_system": "fuse.mergerfs"}, "wrong", "doesn't see the pool's disks from here"),
        ({"reads": 3000.0, "file_system": "nfs4"}, "note", "on the machine that has the disks"),
        ({"lock_us": 9000.0}, "note", "A lock takes 9.0 ms"),
    ],
)
def test_the_sentence_fits_the_figures(change: dict[str, object], state: str, said: str) -> None:
    checks = verdict(replace(FAST, **change))
    assert worst(checks) == state
    text = " ".join(f"{check.text} {check.mend}" for check in checks)
    assert said in text
    assert all(check.mend for check in checks if check.state == "wrong")


def test_a_pool_is_measured_through_its_mount_and_below(needs: Callable[[str], str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    with tempfile.TemporaryDirectory() as home, pool(Path(home), needs):
        root = Path(home) / "pool" / "film"
        root.mkdir()
        first_marker(root, "data")
        found = measure(root)
        assert found.file_system == "fuse.mergerfs"
        assert found.branch_reads > found.reads
        assert "on the disk below" in found.line()
        assert [path.name for path in root.iterdir() if not path.name.startswith(".")] == []
