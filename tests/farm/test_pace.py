"""How fast do nodes ask and report, so that many don't drown the server and few never wait?"""

from __future__ import annotations

import orjson
import pytest
from farm_kit import SCENE, Node, World
from hypothesis import given
from hypothesis import strategies as st

from server.farm.farm import Farm
from server.farm.nodes.pace import LEAST_IDLE_S, POLLS_A_SECOND, pace

SECOND = 1.0


@pytest.mark.parametrize(
    ("present", "idle", "heartbeat_s", "idle_s"),
    [
        (1, {"a": 1}, 10.0, {"a": 0.25}),
        (4, {"a": 4}, 10.0, {"a": 0.25}),
        (50, {"a": 50}, 10.0, {"a": 3.12}),
        (500, {"a": 500}, 10.0, {"a": 10.0}),
        # One that can do what the others can't asks often, however many those are.
        (500, {"a": 499, "gpu": 1}, 10.0, {"a": 10.0, "gpu": 0.25}),
        (2000, {"a": 10}, 20.0, {"a": 0.62}),
        (100_000, {}, 30.0, {}),  # at least three times in a lease
    ],
)
def test_the_pace(present: int, idle: dict[str, int], heartbeat_s: float, idle_s: dict[str, float]) -> None:
    found = pace(present, idle, 10.0, 90.0)
    assert found.heartbeat_s == heartbeat_s
    assert dict(found.idle_s) == pytest.approx(idle_s, abs=0.01)


@given(idle=st.dictionaries(st.integers(0, 300), st.integers(1, 500), max_size=300))
def test_polls_stay_below_their_limit(idle: dict[int, int]) -> None:
    present = sum(idle.values())
    found = pace(present, idle, 10.0, 90.0)
    polls = sum(count / found.idle_of(kind) for kind, count in idle.items())
    # A node never waits for longer than a heartbeat, which thousands of nodes make longer.
    assert polls <= 1.05 * (POLLS_A_SECOND + present / found.heartbeat_s)
    assert all(LEAST_IDLE_S <= found.idle_of(kind) <= found.heartbeat_s for kind in idle)


def test_what_nodes_are_told(world: World, farm: Farm) -> None:
    # Given ninety idle nodes of one kind, and one that can do more…
    nodes = [Node(farm, f"n{n}", world.root) for n in range(90)]
    for node in nodes:
        node.say({"id": "info"})
    gpu_idle(farm)
    world.clock.now += 1.5
    (info,) = nodes[0].say({"id": "info"})
    assert (info["heartbeat"], info["idle"]) == (1.0, 1.0)
    assert 0 < info["arrhythmia"] < info["heartbeat"]
    assert gpu_idle(farm) == LEAST_IDLE_S
    # When nearly all of them go, the one that is left is told to hurry with its next question already.
    world.clock.now += 20
    answers = nodes[0].say({"id": "task", "paths": ["data"], "provides": [], "count": 1})
    assert [a["idle"] for a in answers if a["id"] == "info"] == [LEAST_IDLE_S]
    assert nodes[0].say({"id": "task", "paths": ["data"], "provides": [], "count": 1}) == []


def gpu_idle(farm: Farm) -> float:
    """What a node is told that has what the others haven't."""
    identity = {"id": "identity", "name": "gpu", "protocol": 2, "provides": ["gpu"], "paths": {"data": ""}}
    (info,) = orjson.loads(farm.talk("gpu", [identity, {"id": "info"}]))
    return float(info["idle"])


def test_one_that_gets_nothing_need_not_hurry(world: World, farm: Farm, node: Node) -> None:
    node.say({"id": "info"})
    farm.machines.change("n1", {"paused": True}, "admin")
    (info,) = node.say({"id": "info"})
    assert (info["idle"], info["closed"]) == (1.0, "paused by admin")
    farm.machines.change("n1", {"paused": False}, "admin")
    farm.machines.pause_all(True)
    (info,) = node.say({"id": "info"})
    assert (info["idle"], info["closed"]) == (1.0, "the farm is paused")
    farm.machines.pause_all(False)
    (info,) = node.say({"id": "info"})
    assert "closed" not in info


def test_work_reaches_a_free_node_with_its_next_question(world: World, farm: Farm, node: Node) -> None:
    (info,) = node.say({"id": "info"})
    assert info["idle"] < SECOND
    farm.submit("anna", {"file": SCENE, "frames": "1"})
    assert len(node.ask()) == 1
