"""A person copies files back from a backup while the farm works: nothing is lost silently or done twice."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm_kit import SCENE, Node, World, disagreements, events_of, until

from server.farm.farm import Farm


@pytest.fixture
def pooled(tmp_path: Path, disk_root: Path) -> Iterator[World]:
    world = World(tmp_path / "here", disk_root).lay()
    yield world
    world.close()


def begin(world: World, tmp_path: Path) -> tuple[Farm, Node, str, Path, Path]:
    """A job of six frames, two done, one of them before the backup was made."""
    farm = world.open()
    node = Node(farm, "n1", world.root)
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-6"}).id
    folder = world.root / "demo/shots/.croft/sh010.blend/jobs" / job_id
    node.deliver(node.one())
    backup = tmp_path / "backup"
    shutil.copytree(folder, backup)
    node.deliver(node.one())
    return farm, node, job_id, folder, backup


def test_a_journal_replaced_by_an_older_one_pauses_its_job(pooled: World, tmp_path: Path) -> None:
    farm, node, job_id, folder, backup = begin(pooled, tmp_path)
    held = node.one()
    shutil.copyfile(backup / "journal.jsonl", folder / "restored")
    os.replace(folder / "restored", folder / "journal.jsonl")
    # The next thing that anybody asks finds it out
    assert node.answer_to(node.render(held))["id"] == "refused"
    view = farm.view(job_id)
    assert (view["state"], view["why"]) == ("paused", "restored, resume?")
    assert view["counts"]["done"] == 1
    assert node.ask() == []
    assert [p.text for p in farm.health.problems()] == [
        f"The job {job_id} was put back from a backup, to an earlier state."
    ]
    finish(pooled, farm, node, job_id)


def test_a_journal_overwritten_in_place_pauses_its_job(pooled: World, tmp_path: Path) -> None:
    farm, node, job_id, folder, backup = begin(pooled, tmp_path)
    (folder / "journal.jsonl").write_bytes((backup / "journal.jsonl").read_bytes())
    node.ask()
    assert farm.view(job_id)["why"] == "restored, resume?"
    finish(pooled, farm, node, job_id)


def test_a_whole_job_folder_replaced_pauses_its_job(pooled: World, tmp_path: Path) -> None:
    farm, node, job_id, folder, backup = begin(pooled, tmp_path)
    shutil.rmtree(folder)
    pooled.farms[0][1].refresh("data::demo/shots/.croft/sh010.blend/jobs")
    farm.keeper.tick()
    assert farm.jobs() == []
    shutil.copytree(backup, folder)
    pooled.farms[0][1].refresh("data::demo/shots/.croft/sh010.blend/jobs")
    until(lambda: farm.keeper.tick() or farm.jobs())
    until(lambda: farm.view(job_id)["why"] == "restored, resume?")
    finish(pooled, farm, node, job_id)


def test_a_folder_swapped_behind_our_back_pauses_its_job(pooled: World, tmp_path: Path) -> None:
    farm, node, job_id, folder, backup = begin(pooled, tmp_path)
    shutil.rmtree(folder)
    assert node.ask() == []  # in between, nothing can be claimed
    shutil.copytree(backup, folder)
    pooled.clock.now += 5
    until(lambda: farm.keeper.tick() or farm.view(job_id)["why"] == "restored, resume?")
    finish(pooled, farm, node, job_id)


def test_the_same_journal_copied_back_goes_on(pooled: World, tmp_path: Path) -> None:
    farm, node, job_id, folder, _ = begin(pooled, tmp_path)
    held = node.one()
    shutil.copyfile(folder / "journal.jsonl", folder / "restored")
    os.replace(folder / "restored", folder / "journal.jsonl")
    assert node.deliver(held)["id"] == "accepted"
    assert farm.view(job_id)["state"] == "running"


def test_a_lock_file_replaced_while_in_use(pooled: World, tmp_path: Path) -> None:
    farm, node, job_id, _, _ = begin(pooled, tmp_path)
    locks = pooled.root / ".croft-locks"
    for _ in range(3):
        shutil.copyfile(locks / f"{job_id}.lock", locks / "new")
        os.replace(locks / "new", locks / f"{job_id}.lock")
        assert node.deliver(node.one())["id"] == "accepted"
    assert disagreements(farm, job_id) == []


def test_a_torn_line_costs_only_itself(pooled: World, tmp_path: Path) -> None:
    farm, node, job_id, folder, _ = begin(pooled, tmp_path)
    with open(folder / "journal.jsonl", "ab") as journal:
        journal.write(b'{"at":"2026-11-21T20:00:00Z","event":"cla')
    finish(pooled, farm, node, job_id)


def test_a_copied_asset_folder_does_not_double_its_job(pooled: World, tmp_path: Path) -> None:
    farm, node, job_id, _, _ = begin(pooled, tmp_path)
    shutil.copytree(pooled.root / "demo/shots", pooled.root / "demo/copies")
    pooled.farms[0][1].rescan()
    farm.keeper.tick()
    assert [job.address for job in farm.jobs()] == [SCENE]
    finish(pooled, farm, node, job_id)


def test_a_job_of_another_installation_is_shown_and_can_be_adopted(world: World, tmp_path: Path) -> None:
    farm = world.open()
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-2"}).id
    world.close()
    other = World(tmp_path / "other", world.root).lay(site="there")
    farm = other.open()
    node = Node(farm, "n1", world.root)
    assert node.ask() == []
    assert "it is rendered at here" in farm.view(job_id)["why"]
    farm.resume_job(job_id, "anna")
    assert node.deliver(node.one())["id"] == "accepted"
    other.close()


def finish(world: World, farm: Farm, node: Node, job_id: str) -> None:
    """Resume where it is paused, render what is left: each frame is there once, and the sums add up."""
    if farm.view(job_id)["state"] == "paused":
        farm.resume_job(job_id, "anna")
    for _ in range(12):
        for task in node.ask(2):
            node.deliver(task)
    view = farm.view(job_id)
    assert (view["state"], view["counts"]["done"]) == ("done", 6)
    assert disagreements(farm, job_id) == []
    counts = Counter(event["task"] for event in events_of(world, job_id) if event["event"] == "done")
    assert counts == dict.fromkeys(range(6), 1)
    folder = world.path(view["folder"])
    until(lambda: not [path for path in folder.iterdir() if path.name.startswith(".")])
    assert len(list(folder.iterdir())) == 6
