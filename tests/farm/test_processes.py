"""Several server processes on one share, for real, on a folder and on real pools."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from farm_kit import SCENE, Node, World, disagreements, events_of, until

CLONE = Path(__file__).resolve().parents[2]
Spawn = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def spawn(world: World) -> Iterator[Spawn]:
    """Start a server process on the world's share; all are gone at the end."""
    started: list[subprocess.Popen[str]] = []

    def start(world: World, *arguments: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            str(CLONE / "tests/farm/server_process.py"),
            str(world.config),
            str(world.root),
        ]
        process = subprocess.Popen(
            [*command, *arguments], cwd=CLONE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def pooled(tmp_path: Path, disk_root: Path) -> Iterator[World]:
    world = World(tmp_path / "here", disk_root).lay(heartbeat_s=0.2, lease_s=1.0)
    yield world
    world.close()


def test_eight_processes_claim_each_frame_once(world: World, spawn: Spawn) -> None:
    farm = world.open(monotonic=time.monotonic)
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-96"}).id
    others = [spawn(world, f"n{number}", "work") for number in range(8)]
    for process in others:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in others:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in others:
        assert process.wait(50) == 0
    events = events_of(world, job_id)
    for kind in ("claim", "done"):
        counts = Counter(event["task"] for event in events if event["event"] == kind)
        assert counts == dict.fromkeys(range(96), 1)
    assert len({event["node"] for event in events if event["event"] == "claim"}) > 1
    until(lambda: farm.view(job_id)["state"] == "done")
    folder = world.path(farm.view(job_id)["folder"])
    assert len([path for path in folder.iterdir() if path.suffix == ".png"]) == 96


def test_a_killed_server_s_claims_are_taken_over_by_the_other(pooled: World, spawn: Spawn) -> None:
    # Given a server whose node holds three claims and reports them
    farm = pooled.open(monotonic=time.monotonic)
    node = Node(farm, "mine", pooled.root)
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-6"}).id
    other = spawn(pooled, "theirs", "hold", "3")
    assert other.stdout is not None
    held = other.stdout.readline().split()
    assert len(held) == 3
    # When it lives, its claims stay, however long past our own idea of their lease
    until(lambda: farm.view(job_id)["counts"]["claimed"] == 3)
    claims = farm.board.live[job_id].job.claims.values()
    until(lambda: all(claim.deadline < time.monotonic() - 0.5 for claim in claims))
    assert [e for e in events_of(pooled, job_id) if e["event"] in ("expired", "adopt")] == []
    # When it is killed, they are given away once its beat has stopped
    other.send_signal(signal.SIGKILL)
    other.wait()
    delivered = 0

    def render() -> bool:
        nonlocal delivered
        for task in node.ask(2):
            delivered += node.deliver(task)["id"] == "accepted"
        return str(farm.view(job_id)["state"]) == "done"

    until(render)
    # Then every frame is there once, and the late node is refused
    assert delivered == 6
    counts = Counter(e["task"] for e in events_of(pooled, job_id) if e["event"] == "done")
    assert counts == dict.fromkeys(range(6), 1)
    assert farm.view(job_id)["lost_attempts"] == 3
    assert disagreements(farm, job_id) == []
    assert (
        node.answer_to({"id": "done", "uuid": held[0], "frame": 1, "time": 1, "outputs": []})["id"]
        == "refused"
    )


def test_claims_survive_a_restart_with_a_full_lease(world: World) -> None:
    # Given a claim, and a server that is started anew
    first = world.open()
    job_id = first.submit("anna", {"file": SCENE, "frames": "1-2"}).id
    task = Node(first, "n1", world.root).one()
    world.clock.now += 25  # of a lease of 30
    world.close()
    second = world.open()
    node = Node(second, "n1", world.root)
    # Then it has a full lease there, and its reports make it the new server's own
    world.clock.now += 25
    second.keeper.tick()
    assert second.view(job_id)["counts"]["claimed"] == 1
    report = {"id": "report", "uuid": task["uuid"], "frame": 1, "progress": 0.5}
    assert node.say(report) == []
    assert events_of(world, job_id)[-1]["event"] != "adopt"
    world.clock.now += 11
    assert node.say(report) == []
    assert events_of(world, job_id)[-1]["event"] == "adopt"
    assert node.deliver(task)["id"] == "accepted"


def test_a_fall_between_the_renames_and_the_journal_heals(world: World, spawn: Spawn) -> None:
    # Given a server killed after it moved a frame into place and before it said so
    farm = world.open()
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-2"}).id
    world.close()
    process = spawn(world, "n1", "fall")
    assert process.stdout is not None
    uuid = process.stdout.readline().strip()
    assert process.wait(30) == -signal.SIGKILL
    farm = world.open()
    folder = world.path(farm.view(job_id)["folder"])
    assert os.listdir(folder) == ["sh010.0001.png"]
    assert farm.view(job_id)["counts"] == {"waiting": 1, "claimed": 1, "done": 0, "failed": 0, "skipped": 0}
    # When its node, which had no answer, says its done again
    node = Node(farm, "n1", world.root)
    name = "sh010.0001.png"
    output = {"name": name, "path": name, "temp": f".{uuid}.{name}", "size": 20, "kind": "frame"}
    again = {"id": "done", "uuid": uuid, "frame": 1, "time": 1, "outputs": [output]}
    assert node.answer_to(again)["id"] == "accepted"
    # Then the frame is known and whole
    assert (folder / name).read_bytes() == b"from before the fall"
    node.deliver(node.one())
    assert farm.view(job_id)["state"] == "done"


def test_a_fall_whose_node_never_comes_back_is_rendered_again(world: World, spawn: Spawn) -> None:
    farm = world.open()
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1"}).id
    world.close()
    process = spawn(world, "n1", "fall")
    process.wait(30)
    farm = world.open()
    world.clock.now += 31
    farm.keeper.tick()
    world.clock.now += 31  # the fallen server's beat file is looked at twice
    until(lambda: farm.keeper.tick() or farm.view(job_id)["counts"]["waiting"] == 1)
    node = Node(farm, "n2", world.root)
    assert node.deliver(node.one(), b"rendered again")["id"] == "accepted"
    folder = world.path(farm.view(job_id)["folder"])
    assert (folder / "sh010.0001.png").read_bytes() == b"rendered again"
