"""Why does a node get no work? One gate: paused, draining, its hours, somebody at it, being updated."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from farm_kit import SCENE, Node, World
from farm_kit import Clock as Monotonic

from server.disk.errors import BadInput, Conflict
from server.farm.farm import Farm

MONDAY_NOON = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC).timestamp()
NIGHTS = [{"from": "20:00", "to": "07:00"}]


class Wall(Monotonic):
    """The time of day, as a test wants it."""


@pytest.fixture
def wall() -> Wall:
    made = Wall()
    made.now = MONDAY_NOON
    return made


@pytest.fixture
def farm(world: World, wall: Wall) -> Farm:
    made = world.open(wall=wall)
    made.submit("anna", {"file": SCENE, "frames": "1-20"})
    return made


@pytest.fixture
def node(farm: Farm, world: World) -> Node:
    made = Node(farm, "n1", world.root)
    made.say({"id": "info"})
    return made


def change(farm: Farm, **changes: Any) -> dict[str, Any]:
    return farm.machines.change("n1", changes, "admin")


def gate(farm: Farm) -> tuple[str, str]:
    view = farm.machines.one("n1")
    return view["state"], view["closed"]


def test_two_computers_of_one_name_are_told_of_where_people_look(
    farm: Farm, node: Node, world: World
) -> None:
    node.facts["instance"] = "the lab's"
    node.say()
    other = Node(farm, "n1", world.root)
    other.facts["instance"] = "a copy of its folder"
    other.say()
    assert not farm.machines.one("n1")["clash"]  # so far it may have been started again
    with pytest.raises(Conflict):
        node.say()
    other.say()
    assert farm.machines.one("n1")["clash"]
    world.clock.now += 200  # the copy is switched off
    node.say()
    assert not farm.machines.one("n1")["clash"]


def test_draining_finishes_what_it_has(farm: Farm, node: Node) -> None:
    task = node.one()
    change(farm, draining=True)
    assert node.ask() == []
    assert gate(farm) == ("draining", "draining: finishes what it has")
    assert node.deliver(task)["id"] == "accepted"
    assert gate(farm) == ("draining", "draining: has nothing more to do: it may be switched off")
    change(farm, draining=False)
    assert len(node.ask()) == 1


def test_hours(farm: Farm, node: Node, wall: Wall, world: World) -> None:
    change(farm, schedule=NIGHTS)
    assert node.ask() == []
    assert gate(farm) == ("hours", "outside its hours (20:00–07:00)")
    wall.now += 8 * 3600
    task = node.one()
    # When they end, what it has is finished…
    wall.now += 11 * 3600
    (info,) = node.say({"id": "info"}, {"id": "report", "uuid": task["uuid"], "frame": 1, "progress": 0.5})
    assert info["closed"] == "outside its hours (20:00–07:00)"
    assert node.ask() == []
    assert node.deliver(task)["id"] == "accepted"
    # …or given back, where people want that: another gets the frame, and nobody's tries are counted.
    change(farm, schedule=[], give_back=True)
    task = node.one()
    change(farm, schedule=NIGHTS)
    kills = [a["uuid"] for a in node.say({"id": "info"}) if a["id"] == "kill"]
    assert kills == [task["uuid"]]
    assert Node(farm, "n2", world.root).one()["frame"] == task["frame"]
    assert node.deliver(task)["id"] == "refused"


def test_the_zone_is_the_configured_one(farm: Farm, node: Node) -> None:
    change(farm, schedule=[{"from": "20:00", "to": "22:00"}])
    assert gate(farm)[0] == "hours"
    farm._settings.change(timezone="Asia/Tokyo")  # 12:00 in UTC is 21:00 there
    assert gate(farm)[0] == "idle"


def test_somebody_sits_down(farm: Farm, node: Node) -> None:
    change(farm, idle_only=True)
    first = node.one()
    node.say({"id": "info", "at_keyboard": True})
    assert gate(farm) == ("used", "somebody is working at it")
    assert node.ask() == []
    assert node.deliver(first)["id"] == "accepted"
    node.say({"id": "info", "at_keyboard": False})
    task = node.one()
    # A setting says that the frame is given back at once.
    change(farm, give_back=True)
    answers = node.say({"id": "info", "at_keyboard": True})
    assert [a["uuid"] for a in answers if a["id"] == "kill"] == [task["uuid"]]
    assert farm.machines.one("n1")["busy"] == 0
    # Who only reports it, and isn't asked to step back, works on.
    change(farm, idle_only=False)
    assert len(node.ask()) == 1


def test_no_more_than_people_let_it_have(farm: Farm, node: Node) -> None:
    change(farm, slots_most=2)
    assert len(node.ask(5)) == 2
    assert node.ask(5) == []
    change(farm, slots_most=0)
    assert len(node.ask(3)) == 3


def test_labels_and_groups_from_people(farm: Farm, node: Node, world: World) -> None:
    farm.cancel(farm.jobs()[0].id, "admin")
    job = farm.submit("anna", {"file": SCENE, "frames": "1-2", "requires": ["quiet"]}).id
    assert node.ask() == []
    assert "quiet" in farm.view(job)["why"]
    change(farm, tags=["quiet"], groups=["lab"])
    assert len(node.ask()) == 1
    view = farm.machines.one("n1")
    assert (view["tags"], view["groups"], view["provides"]) == (["quiet"], ["lab"], ["quiet"])
    # They outlive the server.
    world.close()
    again = world.open()
    assert (again.machines.one("n1")["tags"], again.machines.one("n1")["groups"]) == (["quiet"], ["lab"])


def test_stopping_everything_at_once(farm: Farm, node: Node, world: World) -> None:
    task = node.one()
    farm.machines.pause_all(True, stop=True)
    assert farm.machines.one("n1")["busy"] == 0
    assert node.ask() == []
    answers = node.say({"id": "report", "uuid": task["uuid"], "frame": task["frame"], "progress": 0.1})
    assert [a["id"] for a in answers] == ["kill"]
    farm.machines.pause_all(False)
    assert node.one()["frame"] == task["frame"]


def test_bringing_one_up_to_date(farm: Farm, node: Node, world: World) -> None:
    offer = {"version": "9", "build": "abc", "url": "/node.zip", "sha256": "00"}
    farm.machines.offer(offer)
    assert farm.machines.one("n1")["behind"] is True
    task = node.one()
    farm.machines.update("n1")
    # It finishes what it has, gets nothing more, and is then told where the program lies.
    (info,) = node.say({"id": "info"}, {"id": "report", "uuid": task["uuid"], "frame": 1})
    assert "update" not in info
    assert node.ask() == []
    assert gate(farm) == ("updating", "being brought up to date")
    node.deliver(task)
    (info,) = node.say({"id": "info"})
    assert info["update"] == offer
    # A failure is shown, and it works on.
    node.say({"id": "info", "update_error": "the disk is full"})
    assert (farm.machines.one("n1")["update_said"], gate(farm)[0]) == ("the disk is full", "idle")
    # One that has the program isn't behind; one that doesn't come back is given work again after a while.
    farm.machines.update("n1")
    world.clock.now += 601
    node.say({"id": "info"})
    assert gate(farm)[0] == "idle"
    farm.machines.offer({**offer, "version": "1"})
    assert farm.machines.one("n1")["behind"] is False
    world.clock.now += 100
    with pytest.raises(Conflict, match="isn't on"):
        farm.machines.update("n1")


def test_single_use_nodes_are_forgotten(farm: Farm, world: World) -> None:
    identity = {"id": "identity", "name": "slurm-1", "protocol": 2, "single_use": True, "paths": {"data": ""}}
    farm.talk("*", [identity, {"id": "info"}])
    assert farm.machines.one("slurm-1")["single_use"] is True
    world.clock.now += 1000
    assert [node["name"] for node in farm.machines.all()] == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"paused": "yes"}, "true or false"),
        ({"groups": "lab"}, "list"),
        ({"tags": ["two words"]}, "one word"),
        ({"slots_most": -1}, "whole number"),
        ({"power": {"mac": "nonsense"}}, "network address"),
        ({"power": {"idle_minutes": -5}}, "number of minutes"),
        ({"power": {"wake": 1}}, "true or false"),
        ({"power": []}, "object"),
        ({"schedule": [{"from": "20:00", "to": "26:00"}]}, "no time"),
    ],
)
def test_nonsense_changes_nothing(farm: Farm, node: Node, changes: dict[str, Any], words: str) -> None:
    before = farm.machines.one("n1")
    with pytest.raises(BadInput, match=words):
        farm.machines.change("n1", {"draining": True, **changes}, "admin")
    assert farm.machines.one("n1") == before


def test_a_file_that_was_edited_by_hand_counts_as_far_as_it_makes_sense(
    farm: Farm, node: Node, world: World
) -> None:
    path = world.config / "nodes" / "n1.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"paused": "maybe", "groups": ["lab"], "mine": {"kept": true}, "schedule": "always"}')
    farm._settings.look_again("nodes")
    view = next(view for view in farm.machines.all() if view["name"] == "n1")
    assert (view["paused"], view["groups"], view["schedule"]) == (False, ["lab"], [])
    assert any("nodes/n1.json" in problem.text for problem in farm.health.problems())
    # What Croft doesn't know stays in the file.
    change(farm, draining=True)
    assert '"mine"' in path.read_text()
