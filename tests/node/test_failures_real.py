"""Real Blender's and real programs' failures, as a student reads them."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_farm import RealFarm, make_scenes, until

pytestmark = pytest.mark.timeout(150)  # real renders, on whatever machine


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shots")
    if shutil.which("blender"):
        make_scenes(folder, "plain", "denoised")
    return folder


@pytest.fixture
def farm(needs: Any, tmp_path: Path) -> Iterator[RealFarm]:
    needs("blender")
    made = RealFarm(tmp_path)
    yield made
    made.close()


def first_task(farm: RealFarm, ident: str) -> dict[str, Any]:
    task: dict[str, Any] = farm.api("GET", f"/api/jobs/{ident}/tasks/0")[1]
    return task


def test_what_blender_says_is_said_in_a_sentence(farm: RealFarm, shots: Path) -> None:
    """Given scenes that can't work, when they are rendered, then each is given up after a frame or two, and
    says what is wrong and what to do; the next job is rendered as ever."""
    farm.start_node("alpha")
    camera = farm.submit(shots / "plain.blend", "1-40", parameters={"camera": "Left"})
    job = farm.wait_for(camera, "failed")
    told = first_task(farm, camera)
    assert told["sentence"].startswith(
        "Frame 1 of plain.blend failed on alpha: The file has no camera named 'Left'"
    )
    assert job["failed_attempts"] <= 2
    assert farm.api("GET", f"/api/jobs/{camera}/tasks/0/log")[1]["text"].splitlines()[-1]
    denoised = farm.submit(shots / "denoised.blend", "1-3")
    job = farm.wait_for(denoised, "failed", "done")
    if job["state"] == "failed":  # a Blender that can denoise does
        assert "switch denoising off" in first_task(farm, denoised)["sentence"]
    fine = farm.submit(shots / "plain.blend", "1-2")
    farm.expect_whole(farm.wait_for(fine, "done"), [1, 2])
    assert farm.api("GET", "/api/nodes/alpha")[1]["state"] in ("idle", "busy"), "no computer is to blame"


def test_a_licence_that_comes_free(farm: RealFarm, shots: Path, tmp_path: Path) -> None:
    """Given a program that finds no licence at first, then its job says so, waits, and is done without a
    frame having counted as failed."""
    rules = farm.config / "failure_rules"
    rules.mkdir(exist_ok=True)
    own = {"match": "no seat for (.{1,40}) is free", "is": "licence", "say": "{1} is in use.", "wait_s": 2}
    (rules / "seats.json").write_text(json.dumps({"rules": [own]}))
    flag = tmp_path / "free"
    code = f"import os, sys; os.path.exists({str(flag)!r}) or sys.exit('no seat for Renderer is free')"
    farm.start_node("alpha")
    ident = farm.submit(
        shots / "plain.blend",
        "1-2",
        type="command-line",
        parameters={"command": [sys.executable, "-c", code]},
    )
    why = until(lambda: (job := farm.job(ident))["held"] and job["why"])
    assert why.startswith("Renderer is in use: it is tried again at ")
    flag.write_text("")
    job = farm.wait_for(ident, "done")
    assert job["free_attempts"] == job["failed_attempts"] >= 1
    assert job["counts"]["failed"] == 0
