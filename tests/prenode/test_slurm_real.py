"""A prenode on a real Slurm: it overflows, survives whatever is stopped, takes back, and checks machines."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from bridge_farm import BridgeFarm
from real_farm import until
from slurm_kit import Slurm

from prenode.engine import load


@pytest.fixture
def farm(tmp_path: Path, slurm: Slurm) -> Iterator[BridgeFarm]:
    made = BridgeFarm(tmp_path, slurm)
    yield made
    made.close()
    slurm.clear()


def far(farm: BridgeFarm, job: str) -> int:
    """Frames that the cluster has done."""
    return sum(count for node, count in farm.done_by(job).items() if not node.startswith("near"))


@pytest.mark.timeout(150)
def test_the_cluster_does_what_two_computers_here_leave_and_every_frame_is_done_once(
    farm: BridgeFarm, slurm: Slurm
) -> None:
    big = {"big": ["--comment=big"]}
    farm.start_prenode(engine=farm.slow_engine(), requirements=big)
    job = farm.pattern(60, 1)
    until((farm.folder / "submitting").exists)  # and sbatch hasn't begun yet
    assert [batch["sent"] for batch in farm.book()["batches"]] == [False]
    farm.kill_prenode()
    farm.start_prenode(requirements=big)
    until(lambda: far(farm, job) >= 2)
    farm.start_node("near1", processes=[1])  # not before: on a slow machine they would do it all
    farm.start_node("near2", processes=[1])
    assert len(farm.book()["batches"]) == 1
    started = set(slurm.jobs())
    assert len(started) <= 4
    slurm.restart_controller()
    farm.kill_prenode()
    farm.start_prenode(requirements=big)
    farm.kill_server()
    farm.start_server()
    until(lambda: far(farm, job) >= 6)
    assert set(slurm.jobs()) == started  # none twice, none lost
    slurm.set_machine("down")
    until(lambda: not slurm.jobs("RUNNING"))
    slurm.set_machine("resume")
    before = far(farm, job)
    until(lambda: far(farm, job) > before)
    assert farm.expect_once(job, 60)["counts"]["failed"] == 0
    by = farm.done_by(job)
    assert by["near1"]
    assert by["near2"]
    until(lambda: not slurm.jobs())  # they end when there is nothing more to do
    assert set(farm.told_to_end()) <= {0, 75}  # each had given its frames back
    # A second one, which only machines over there can do, is cancelled in its middle: nothing of it stays.
    other = farm.pattern(200, 0.5, requires=["big"])
    until(lambda: far(farm, other) >= 1)
    assert set(slurm.run("squeue", "-h", "-o", "%k").split()) == {"big"}
    farm.api("DELETE", f"/api/jobs/{other}")
    farm.wait_for(other, "cancelled")
    until(lambda: not slurm.jobs())
    assert "failed" not in farm.said()


def test_what_waits_is_taken_back_one_by_one_and_what_is_gone_already_is_no_mistake(
    slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", slurm.environment["SLURM_CONF"])
    engine = load("slurm", {}, [], tmp_path)
    held = slurm.run("sbatch", "--parsable", "--hold", "--output=/dev/null", "--array=1-6", "--wrap=true")
    engine.cancel([(held, 6)], waiting=True)
    assert sorted(slurm.jobs()) == [f"{held}_{index}" for index in range(1, 6)]
    engine.cancel([(held, 6), (held, 5)], waiting=True)
    assert len(slurm.jobs()) == 4
    slurm.clear()


def test_a_check_says_of_each_machine_what_is_wrong_before_anything_is_sent(
    farm: BridgeFarm, slurm: Slurm, tmp_path: Path
) -> None:
    code, said = farm.check()
    assert said.startswith(f"{slurm.host}: ready (data at {farm.data}, the server at http")
    assert "Blender 3" in said
    assert code == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other/.croft-share.json").write_text('{"ident": "data", "id": "another"}')
    false = {"paths": {"data": str(tmp_path / "other")}, "blender": "/bin/false"}
    code, said = farm.check(node={**false, "server": "http://127.0.0.1:9"})
    lines = said.splitlines()
    assert code == 1
    assert all(line.startswith(f"{slurm.host}: ") for line in lines)
    assert "another share than the server's" in lines[0]
    assert "can't be reached" in lines[1]
    assert "rendered no picture" in lines[2]
    code, said = farm.check(python="/opt/none/python3")
    assert code == 1
    assert "/opt/none/python3" in said
    slurm.set_machine("drain")
    code, said = farm.check()
    slurm.set_machine("resume")
    assert code == 1
    assert said == f"{slurm.host}: Slurm gives it no work (drained: test)\n"
    assert farm.api("GET", "/api/nodes")[1] == []


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_long_job_while_a_dice_stops_and_restarts_everything(farm: BridgeFarm, slurm: Slurm) -> None:
    dice = random.Random(6)
    farm.start_node("near1", processes=[1])
    farm.start_node("near2", processes=[1])
    farm.start_prenode()
    job = farm.pattern(600, 0.6)
    end = time.monotonic() + 400
    events = 0
    while farm.job(job)["state"] not in ("done", "failed") and time.monotonic() < end:
        time.sleep(dice.uniform(0.5, 4))
        event = dice.randrange(7)
        events += 1
        if event == 0:
            slurm.restart_controller()
        elif event == 1:
            farm.kill_prenode()
            time.sleep(dice.uniform(0, 3))
            farm.start_prenode()
        elif event == 2:
            farm.kill_server()
            time.sleep(dice.uniform(0, 3))
            farm.start_server()
        elif event == 3:
            slurm.set_machine("down")
            time.sleep(dice.uniform(0, 3))
            slurm.set_machine("resume")
        elif event == 4 and slurm.jobs():
            slurm.run("scancel", dice.choice(slurm.jobs() or ["1"]))
        elif event == 5 and slurm.jobs("RUNNING"):
            slurm.run("scancel", "--signal=KILL", "--full", dice.choice(slurm.jobs("RUNNING") or ["1"]))
        assert len(slurm.jobs()) <= 4
    farm.expect_once(job, 600)
    assert events > 20
    until(lambda: not slurm.jobs())
