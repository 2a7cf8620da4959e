"""What a farm still knows of its nodes when its server starts anew, whether it was closed or killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from farm_kit import SCENE, Node, World, until

from server.farm.farm import Farm
from server.farm.nodes.sickness import LONGEST_REST_S, Sickness

CLONE = Path(__file__).resolve().parents[2]
DISK_FULL = "This computer's own disk is full: /tmp."
NOW, AHEAD = 500.0, 1_790_000_000.0


def file_of(world: World, name: str) -> Path:
    return world.config / "nodes" / f"{name}.json"


def kept(world: World, name: str) -> Any:
    """What a node's file says of its sickness."""
    try:
        return json.loads(file_of(world, name).read_text("utf-8")).get("sickness")
    except FileNotFoundError:
        return None


def fall_ill(world: World, farm: Farm, name: str = "bad") -> Node:
    """A node that fails by its own fault, in its file too."""
    farm.submit("anna", {"file": SCENE, "frames": "1-9"})
    node = Node(farm, name, world.root)
    node.fail(node.one(), log=DISK_FULL)
    until(lambda: kept(world, name))
    return node


def open_farm(world: World) -> Farm:
    """Its clock on the wall goes with the test's."""
    return world.open(wall=lambda: AHEAD + world.clock.now)


def state(farm: Farm, name: str) -> str:
    return str(farm.machines.one(name)["state"])


# -- sickness ---------------------------------------------------------------------------------------------


def ill() -> Sickness:
    sick = Sickness()
    sick.failed(NOW, ("j", 1), "the disk is full", False, False, at_fault=True)
    sick.failed(NOW + 40, ("j", 2), "the disk is full", False, False, at_fault=True)
    return sick


def test_a_sickness_is_written_and_read() -> None:
    sick, again = ill(), Sickness()
    told = sick.record(NOW + 41, AHEAD)
    assert told == {
        "why": "the disk is full",
        "since": "2026-09-21T14:21:40Z",
        "until": "2026-09-21T14:23:20Z",
        "times": 2,
        "spells": [["2026-09-21T14:21:40Z", "2026-09-21T14:22:20Z"]],
    }
    # When another process, whose clock began at another time, reads it
    again.recall(json.loads(json.dumps(told)), 41.0, AHEAD + NOW)
    assert again.why(41.0).startswith("sick: the disk is full; rests for 59 seconds more")
    assert again.rests == 2
    assert not again.why(100.0), "it comes back by itself"
    again.failed(101.0, ("k", 1), "crash", False, False)
    assert again.rests_until == 101.0 + 120, "… on probation, and rests twice as long again"
    again.forgive()
    assert again.record(102.0, AHEAD).keys() == {"spells"}, "when it failed as a sick one stays known"
    assert Sickness().record(NOW, AHEAD) == {}


@pytest.mark.parametrize(
    "told",
    [
        *(None, 7, "sick", [], {}, {"times": "many"}, {"until": 12}, {"until": "tomorrow", "times": 0}),
        {"times": -3, "spells": [["a", "b"], 4, [1], ["2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"]]},
    ],
)
def test_nonsense_makes_nobody_sick(told: object) -> None:
    sick = Sickness()
    sick.recall(told, NOW, AHEAD)
    assert not sick.why(NOW)
    assert sick.rests == 0
    assert sick.record(NOW, AHEAD) == {}


def test_nobody_rests_for_longer_than_ever_whatever_the_file_says() -> None:
    sick = Sickness()
    sick.recall({"why": "x" * 9999, "until": "2099-01-01T00:00:00Z", "times": 10**9}, NOW, AHEAD)
    assert sick.rests_until == NOW + LONGEST_REST_S
    assert len(sick.why(NOW)) < 500
    sick.failed(sick.rests_until, ("j", 1), "crash", False, False)
    assert sick.rests_until == NOW + 2 * LONGEST_REST_S


def test_a_sick_node_rests_on_after_a_start_until_its_time_is_over(world: World) -> None:
    # Given a node that fell ill, and a server that is started anew
    fall_ill(world, open_farm(world))
    world.clock.now += 10
    world.close()
    farm = open_farm(world)
    node = Node(farm, "bad", world.root)
    # Then it gets nothing, and its page says why, since when, how often
    assert node.ask() == []
    assert farm.machines.one("bad")["closed"].startswith(
        "sick: The computer's own disk is full (/tmp): make room there; rests for 20 seconds more"
    )
    assert farm.machines.one("bad")["sickness"]["times"] == 1
    # And later it tries again, and is well once it did something well, after another start too
    world.clock.now += 21
    task = node.one()
    world.close()
    farm = open_farm(world)
    node = Node(farm, "bad", world.root)
    assert farm.machines.one("bad")["sickness"]["times"] == 1, "on probation"
    node.deliver(task)
    until(lambda: "times" not in kept(world, "bad"))
    world.close()
    assert open_farm(world).machines.one("bad")["sickness"] is None


def test_a_killed_server_forgets_no_sick_node(world: World) -> None:
    farm = world.open()
    farm.submit("anna", {"file": SCENE, "frames": "1-9"})
    world.close()
    script, where = str(CLONE / "tests/farm/server_process.py"), (str(world.config), str(world.root))
    command = [sys.executable, script, *where, "bad", "sick"]
    process = subprocess.Popen(command, cwd=CLONE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "failed\n"
        told = until(lambda: kept(world, "bad"))
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    farm = world.open()
    node = Node(farm, "bad", world.root)
    assert node.ask() == []
    assert state(farm, "bad") == "sick"
    assert farm.machines.one("bad")["sickness"] == {
        key: told[key] for key in ("why", "since", "until", "times")
    }
    farm.machines.forgive("bad", "ben")
    until(lambda: "until" not in kept(world, "bad"))
    assert node.ask() != []


def test_what_people_wished_for_a_sick_node_stays_and_its_file_is_not_touched_again(world: World) -> None:
    farm = open_farm(world)
    file_of(world, "bad").parent.mkdir(exist_ok=True)
    file_of(world, "bad").write_text('{"tags": ["gpu"], "shelf": "by the window"}')
    node = fall_ill(world, farm)
    farm.machines.change("bad", {"groups": ["lab2"]}, "ben")
    told = json.loads(file_of(world, "bad").read_text("utf-8"))
    assert told.keys() == {"tags", "shelf", "name", "sickness", "groups"}
    before = file_of(world, "bad").stat().st_mtime_ns
    for _ in range(20):
        world.clock.now += 1
        node.say({"id": "info"})
        farm.keeper.tick()
    assert file_of(world, "bad").stat().st_mtime_ns == before
    # Whoever deletes that by hand has forgiven it
    before_that = file_of(world, "bad").read_text("utf-8")
    told.pop("sickness")
    file_of(world, "bad").write_text(json.dumps(told))
    until(lambda: state(farm, "bad") == "idle")
    # … and who puts a backup of it back has it as it was
    file_of(world, "bad").write_text(before_that)
    until(lambda: state(farm, "bad") == "sick")


def test_a_file_that_somebody_has_torn_is_left_to_them(world: World) -> None:
    farm = open_farm(world)
    file_of(world, "bad").parent.mkdir(exist_ok=True)
    file_of(world, "bad").write_text('{"tags": ["gpu"')
    farm.submit("anna", {"file": SCENE, "frames": "1-9"})
    node = Node(farm, "bad", world.root)
    node.fail(node.one(), log=DISK_FULL)
    farm.keeper.tick()
    assert state(farm, "bad") == "sick", "as long as this server knows"
    assert file_of(world, "bad").read_text() == '{"tags": ["gpu"'
    world.close()
    assert Node(open_farm(world), "bad", world.root).ask() != []


def test_one_servers_sick_node_is_sick_for_the_others(world: World) -> None:
    first, second = open_farm(world), open_farm(world)
    node, same = fall_ill(world, first), Node(second, "bad", world.root)
    until(lambda: same.ask() == [] and state(second, "bad") == "sick")
    second.machines.forgive("bad", "ben")
    until(lambda: node.say({"id": "info"}) and state(first, "bad") == "idle")


# -- what is kept from it ---------------------------------------------------------------------------------


def test_a_node_stays_kept_from_a_job_at_which_it_failed(world: World) -> None:
    # Given a node that failed at three frames of a job where another does well
    farm = open_farm(world)
    job = farm.submit("anna", {"file": SCENE, "frames": "1-30"}).id
    well, bad = (Node(farm, name, world.root) for name in ("well", "bad"))
    well.deliver(well.one())
    for _ in range(3):
        bad.fail(bad.one())
    assert state(farm, "bad") == "sick"
    world.close()
    # When a server is started anew, and its rest is over
    farm = open_farm(world)
    well, bad = (Node(farm, name, world.root) for name in ("well", "bad"))
    well.say({"id": "info"})
    world.clock.now += 31
    well.say({"id": "info"})
    assert bad.ask() == []
    assert state(farm, "bad") == "idle"
    assert [one["node"] for one in farm.view(job)["avoided"]] == ["bad"]
    assert well.ask() != []


# -- pace -------------------------------------------------------------------------------------------------


def test_how_fast_each_node_is_follows_from_the_jobs(world: World) -> None:
    # Given a node that takes three times as long as another, in a job that ended and one that goes on
    farm = open_farm(world)
    for number in range(2):
        farm.submit("anna", {"file": SCENE, "frames": "1-20"})
        for _ in range(10 - number):
            for name, seconds in (("fast", 10.0), ("slow", 30.0)):
                node = Node(farm, name, world.root)
                task = node.one()
                assert node.answer_to({**node.render(task), "time": seconds})["id"] == "accepted"
    world.close()
    farm = open_farm(world)
    for name in ("fast", "slow"):
        Node(farm, name, world.root).say({"id": "info"})
    fast, slow = (farm.board.nodes.get(name) for name in ("fast", "slow"))
    assert slow.worth.times / fast.worth.times == pytest.approx(3, rel=0.15)
    assert (farm.machines.one("fast")["pace"], farm.machines.one("slow")["pace"]) == (10.0, 30.0)
    assert [view["name"] for view in open_farm(World(world.folder / "other").lay()).machines.all()] == []
