"""One Slurm for all tests of a module, and the real farm of the node's tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "node"))  # real_farm

from slurm_kit import Slurm


@pytest.fixture(scope="module")
def slurm(needs: Callable[[str], str]) -> Iterator[Slurm]:
    for program in ("slurmctld", "slurmd", "sbatch", "munged"):
        needs(program)
    made = Slurm()
    yield made
    made.close()
