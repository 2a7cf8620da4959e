"""Servers of one configuration know of each other's nodes, and write nothing while nothing changes."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from farm_kit import SCENE, Node, World, here_for_long, until

from server.disk.errors import Conflict
from server.farm.committer.live import Live
from server.farm.farm import Farm

CLONE = Path(__file__).resolve().parents[2]
MAC = "0a:1b:2c:3d:4e:5f"


@pytest.fixture
def pair(world: World) -> tuple[Farm, Farm]:
    """Two servers that have noticed each other."""
    found = (world.open(), world.open())
    meet(world, *found)
    return found


def meet(world: World, *farms: Farm, nodes: tuple[Node, ...] = ()) -> None:
    """Each looks what the others have to say, twice: what it says itself is heard, too."""
    for _ in range(2):
        world.clock.now += 1
        for node in nodes:
            node.say({"id": "info"})
        for farm in farms:
            farm.keeper.tick()
            farm._neighbours.look_now()


def submit(world: World, farm: Farm, **request: Any) -> str:
    """A job that all servers have noticed."""
    live = farm.submit("anna", {"file": SCENE, **request})
    assert isinstance(live, Live)
    for other, store in world.farms:
        store.refresh(live.job.folder)
        other.keeper.tick()
    return live.id


def told(world: World) -> dict[str, Any]:
    """What servers say of nodes just now."""
    found: dict[str, Any] = {}
    for path in (world.config / "servers").glob("*.json"):
        with contextlib.suppress(FileNotFoundError):  # its server is just being closed
            found.update(json.loads(path.read_bytes())["nodes"])
    return found


def test_a_node_of_another_server_is_there_too(world: World, pair: tuple[Farm, Farm]) -> None:
    first, second = pair
    node = Node(first, "n1", world.root)
    node.facts = {"hardware": {"cores": 8, "memory_mb": 32000}, "provides": ["gpu"]}
    meet(world, *pair, nodes=(node,))
    # Then the second server shows it, with what it can do and with whom it talks
    view = second.machines.one("n1")
    assert (view["state"], view["hardware"]["cores"], view["programs"]) == ("idle", 8, {"blender": "3.4.1"})
    assert view["provides"] == ["gpu"]
    assert view["at"]
    assert first.machines.one("n1")["at"] is None
    # … counts with it, and doesn't wait for it to ask
    job = submit(world, second, frames="1-4")
    assert "no computer" not in second.why(job)["sentence"]
    world.clock.now += 1.5
    assert second.board.nodes.pace().idle_s == {}
    # What a person wishes on one holds on the other, and the first gives the frames out
    second.machines.change("n1", {"paused": True}, "ben")
    until(lambda: first.machines.one("n1")["state"] == "paused")
    assert node.ask() == []
    first.machines.change("n1", {"paused": False}, "ben")
    until(node.ask)
    meet(world, *pair, *pair, nodes=(node,))
    until(lambda: second.machines.one("n1")["state"] == "busy")
    # What only its heartbeats bring is told at its own server
    for do in (second.machines.update, second.machines.shut_down, lambda n: second.machines.forget(n, str)):
        with pytest.raises(Conflict, match="n1 talks with the server on"):
            do("n1")
    # When it has gone there, it has gone here
    world.clock.now += 5
    meet(world, *pair)
    assert (second.machines.one("n1")["state"], second.machines.one("n1")["at"]) == ("away", None)


def test_who_talks_with_both_is_ones_own(world: World, pair: tuple[Farm, Farm]) -> None:
    nodes = tuple(Node(farm, "n1", world.root) for farm in pair)
    meet(world, *pair, nodes=nodes)
    assert [farm.machines.one("n1")["at"] for farm in pair] == [None, None]
    meet(world, *pair, nodes=nodes[:1])
    world.clock.now += 3
    meet(world, *pair, nodes=nodes[:1])
    assert pair[1].machines.one("n1")["at"], "it has turned to the first"
    nodes[1].say({"id": "info"})
    assert pair[1].machines.one("n1")["at"] is None


def test_a_frame_waits_for_a_capable_node_of_another_server(world: World, pair: tuple[Farm, Farm]) -> None:
    first, second = pair
    here, there = Node(first, "here", world.root), Node(second, "there", world.root)
    here_for_long(world, here, there)
    meet(world, *pair, nodes=(here, there))
    job = submit(world, first, frames="1")
    for _ in range(3):
        for task in here.ask():
            here.fail(task)
        meet(world, *pair, nodes=(here, there))
    # One that is alone tries three times, and it isn't: the other one has it
    assert first.view(job)["state"] in ("waiting", "running")
    until(lambda: second.job(job).state in ("waiting", "running"))
    assert there.deliver(until(there.ask)[0])["id"] == "accepted"
    meet(world, *pair, *pair, nodes=(here, there))
    until(lambda: first.view(job)["state"] == "done")


def test_nothing_is_written_while_nodes_beat_and_render(world: World, pair: tuple[Farm, Farm]) -> None:
    nodes = tuple(Node(pair[0], f"n{number}", world.root) for number in range(5))
    meet(world, *pair, nodes=nodes)
    assert told(world).keys() == {node.name for node in nodes}
    submit(world, pair[0], frames="1-10")

    def stamps() -> dict[str, int]:
        found = [
            world.config / "servers",
            *world.config.glob("servers/*"),
            *world.config.glob(".croft-locks/*"),
        ]
        return {path.name: path.stat().st_mtime_ns for path in found}

    before = stamps()
    for node in nodes:
        for task in node.ask(2):
            meet(world, *pair, nodes=nodes)
            node.deliver(task)
    assert stamps() == before
    # One server alone says nothing at all
    world.close()
    assert list((world.config / "servers").iterdir()) == []
    farm = world.open()
    node = Node(farm, "n1", world.root)
    meet(world, farm, nodes=(node,))
    assert told(world) == {}


def test_a_killed_server_s_nodes_are_away_and_its_leavings_are_taken_away(world: World) -> None:
    farm = world.open(monotonic=time.monotonic)
    farm.submit("anna", {"file": SCENE, "frames": "1-9"})
    script, where = str(CLONE / "tests/farm/server_process.py"), (str(world.config), str(world.root))
    command = [sys.executable, script, *where, "n1", "hold", "1"]
    process = subprocess.Popen(command, cwd=CLONE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        until(lambda: any(view["at"] and view["state"] == "busy" for view in farm.machines.all()))
        assert str(process.pid) in farm.machines.one("n1")["at"]
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    until(lambda: farm.machines.one("n1")["state"] == "away")
    assert farm.machines.one("n1")["at"] is None
    until(lambda: not told(world))
    assert len(list((world.config / ".croft-locks").glob("server-*"))) == 1, "its own"


def test_nonsense_and_a_deleted_folder_cost_nothing(world: World, pair: tuple[Farm, Farm]) -> None:
    first, second = pair
    node = Node(first, "n1", world.root)
    meet(world, *pair, nodes=(node,))
    names = {path.stem: path for path in (world.config / "servers").glob("*.json")}
    path = next(path for path in names.values() if "n1" in path.read_text())
    good = path.read_bytes()
    says = {"name": 7, "hardware": "much", "slots": -1, "paths": 3, "gpus": 4, "mac": []}
    for text in (
        *(good[:50], b"", b"[]", b'{"nodes": 7}', b'{"nodes": {"n2": 7, "": {}, "n3": {"says": 1}}}'),
        json.dumps(
            {"host": "a", "nodes": {"n\n4": {"says": {}}, "<b>": {"says": says, "here": True}}}
        ).encode(),
    ):
        path.write_bytes(text)
        meet(world, second)
        assert second.keeper.faults == 0
    assert {view["name"] for view in second.machines.all() if view["state"] != "away"} == {"<b>"}
    for gone in (world.config / ".croft-locks").iterdir():
        gone.unlink()
    path.write_bytes(good)
    meet(world, *pair, *pair, nodes=(node,))
    assert second.machines.one("n1")["at"]


def test_one_server_wakes_for_all(world: World, pair: tuple[Farm, Farm]) -> None:
    sent: list[tuple[int, str]] = []
    for number, farm in enumerate(pair):
        farm.powering._send = lambda mac, to, n=number: sent.append((n, mac)) or []  # type: ignore[misc,assignment]
    first, second = pair
    node = Node(first, "n1", world.root)
    node.facts = {"mac": MAC}
    meet(world, *pair, nodes=(node,))
    power = {
        "shutdown": True,
        "wake": True,
        "idle_minutes": 0,
        "least_up_minutes": 0,
        "least_down_minutes": 0,
    }
    first.machines.change("n1", {"power": power}, "ben")
    until(lambda: second.machines.one("n1")["power"]["wake"])
    world.clock.now += 20
    for _ in range(3):
        meet(world, *pair, nodes=(node,))
        for farm in reversed(pair):
            farm.powering.tick()
    # Only the server that it talks with told it to go, and both know that it is off
    assert second.board.nodes.get("n1").leaves_until == 0.0
    assert any(one.get("shutdown") for one in node.say({"id": "info"}))
    node.say({"id": "info", "shutting_down": True})
    for _ in range(2):
        for farm in pair:
            farm.powering.tick()
        meet(world, *pair)
    assert [farm.machines.one("n1")["state"] for farm in pair] == ["off", "off"]
    submit(world, second, frames="1")
    world.clock.now += 60
    for _ in range(3):
        until(lambda: all(len(farm.board.line) for farm in pair))
        for farm in pair:
            farm.powering.tick()
        meet(world, *pair)
    assert len(sent) == 1
    assert [farm.machines.one("n1")["state"] for farm in pair] == ["waking", "waking"]
    # It comes to the other one
    meet(world, *pair, nodes=(Node(second, "n1", world.root),))
    for farm in pair:
        farm.powering.tick()
    assert [farm.machines.one("n1")["state"] for farm in pair] == ["idle", "idle"]
