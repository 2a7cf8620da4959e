"""Real Blender on several nodes at once while they are killed, frozen, slowed, filled and cut off at random.

However it goes: every frame of every healthy job is there once and whole, the broken computer rests and says
why, the one frame that crashes Blender is the only one that failed, and the sums are those of the journals.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from chaos_kit import Chaos
from real_farm import make_scenes

SEED = int(os.environ.get("CROFT_SEED", "20261122"))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chaos-scenes")
    if shutil.which("blender"):
        make_scenes(folder, "plain", "slow", "crash")
    return folder


@pytest.mark.timeout(150)
def test_a_short_storm(needs: Any, tmp_path: Path, scenes: Path) -> None:
    needs("blender")
    storm(tmp_path, scenes, SEED, nodes=2, seconds=5, frames=5, pause=(0.2, 0.6), ending_s=100)


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_ten_minutes_of_storm(needs: Any, tmp_path: Path, scenes: Path) -> None:
    needs("blender")
    seconds = float(os.environ.get("CROFT_STORM_S", "600"))
    storm(tmp_path, scenes, SEED, nodes=4, seconds=seconds, frames=60, pause=(0.5, 4), ending_s=500)


def storm(
    folder: Path,
    scenes: Path,
    seed: int,
    *,
    nodes: int,
    seconds: float,
    frames: int,
    pause: tuple[float, float],
    ending_s: float,
) -> None:
    chaos = Chaos(folder, scenes, seed, nodes)
    try:
        # Two computers are tried by two, else the job waits for the broken one to come back from its rest.
        chaos.submit("blue", "crash", 6, retries=min(3, nodes))
        chaos.run(seconds, frames, pause)
        chaos.recover(ending_s)
        chaos.check()
    except BaseException:
        print(f"seed {seed}", *chaos.log, sep="\n")
        raise
    finally:
        print(dict(chaos.done), len(chaos.jobs), "jobs", chaos.sick_said)
        chaos.close()
