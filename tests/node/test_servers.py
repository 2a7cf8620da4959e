"""A node with several servers: by turns, without the dead ones, each result to the one whose it is."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from node_farm import Farm, Message, ScriptedServer, until


@pytest.fixture
def other() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.stop()


def urls(*servers: ScriptedServer) -> list[str]:
    return [f"http://127.0.0.1:{server.port}" for server in servers]


def uuids(server: ScriptedServer, kind: str = "done") -> set[str]:
    return {message["uuid"] for message in server.of(kind)}


def test_each_server_has_its_turn_and_its_own_results(farm: Farm, other: ScriptedServer) -> None:
    other.info = {**other.info, "server": "far-1"}
    farm.give(*(farm.task(f"a{n}", n) for n in range(3)))
    other.tasks += [farm.task(f"b{n}", n + 10) for n in range(3)]
    farm.node(server=urls(farm.server, other))
    farm.server.wait(lambda: uuids(farm.server) == {"a0", "a1", "a2"})
    other.wait(lambda: uuids(other) == {"b0", "b1", "b2"})
    assert uuids(farm.server, "report") <= {"a0", "a1", "a2"}
    assert farm.server.of("identity")[0]["name"] == other.of("identity")[0]["name"]


def test_a_dead_server_is_passed_over_until_it_is_back(farm: Farm, other: ScriptedServer) -> None:
    other.stop()
    farm.server.info["hibernation"] = other.info["hibernation"] = 0.5
    farm.give(farm.task("a1"))
    node = farm.node(server=urls(other, farm.server))
    farm.server.wait(lambda: uuids(farm.server) == {"a1"})
    other.start()
    other.tasks += [farm.task("b1", 2)]
    other.wait(lambda: uuids(other) == {"b1"})
    assert node.poll() is None


def test_a_result_goes_to_another_server_of_the_same_farm_while_its_own_is_away(
    farm: Farm, other: ScriptedServer
) -> None:
    farm.server.info = {**farm.server.info, "server": "studio-1"}
    other.info = {**other.info, "server": "studio-2"}
    farm.give(farm.task("a1", seconds=1.5))
    farm.node(server=urls(farm.server, other))
    farm.server.wait(lambda: farm.server.of("report"))
    farm.server.stop()
    other.wait(lambda: uuids(other) == {"a1"})
    until(lambda: not list((farm.folder / "config.spool").glob("*.json")))


def test_another_farms_no_is_none(farm: Farm, other: ScriptedServer) -> None:
    """A server that knows nothing of an attempt may not have it dropped: its own gets it when it is back."""
    other.info = {**other.info, "server": "elsewhere-1"}
    other.verdict = lambda result: [{"id": "refused", "uuid": result["uuid"], "why": "no such job"}]
    farm.server.info = {**farm.server.info, "server": "studio-1", "hibernation": 0.5}
    farm.give(farm.task("a1", seconds=1))
    farm.node(server=urls(farm.server, other))
    farm.server.wait(lambda: farm.server.of("report"))
    other.kills = [{"id": "kill", "uuid": "a1", "frame": 1}]
    farm.server.stop()
    until(lambda: list((farm.folder / "config.spool").glob("*.json")))
    beats = len(other.of("info"))
    other.wait(lambda: len(other.of("info")) > beats + 3)
    assert (farm.version / ".a1.x.0001.png").exists()
    assert len(other.of("done")) <= 1, "it isn't asked again"
    farm.server.start()
    farm.server.wait(lambda: uuids(farm.server) == {"a1"})


def test_a_server_that_refuses_the_node_ends_it_only_where_it_is_the_last(
    farm: Farm, other: ScriptedServer
) -> None:
    other.status = 401
    farm.give(farm.task("a1"))
    node = farm.node(server=urls(other, farm.server))
    farm.server.wait(lambda: uuids(farm.server) == {"a1"})
    assert node.poll() is None


def test_waits_longer_after_each_failure_as_the_server_told(farm: Farm) -> None:
    farm.server.info.update(error_scale=2, hibernation=1.0, arrhythmia=5)
    node = farm.node()
    beats = farm.server.wait(lambda: len(farm.server.of("info")) > 4 and len(farm.server.of("info")))
    farm.server.stop()
    assert node.stderr is not None
    assert "connected" in node.stderr.readline()
    assert "can't be reached" in node.stderr.readline()
    farm.server.start()
    farm.server.wait(lambda: len(farm.server.of("info")) > beats)
    assert "is back" in node.stderr.readline()


def test_says_once_why_it_gets_nothing(farm: Farm) -> None:
    farm.server.info["closed"] = "paused by ana"
    node = farm.node()
    farm.server.wait(lambda: len(farm.server.of("info")) > 3)
    del farm.server.info["closed"]
    beats = len(farm.server.of("info"))
    farm.server.wait(lambda: len(farm.server.of("info")) > beats + 1)
    node.terminate()
    assert node.stderr is not None
    lines = [line.partition(" ")[2] for line in node.stderr.read().splitlines()]
    assert [line for line in lines if "work" in line] == [
        "no work for this computer now: paused by ana",
        "there may be work again",
    ]


# -- being admitted -----------------------------------------------------------------------------------


def test_a_node_without_a_token_asks_to_be_admitted(farm: Farm) -> None:
    answers: list[tuple[int, Message, str]] = [
        (429, {"again": 0.05}, "too many ask"),
        (202, {"state": "waiting", "code": "K7M-2QX", "again": 0.05}, "Say yes on the page Computers."),
        (202, {"state": "waiting", "code": "K7M-2QX", "again": 0.05}, "Say yes on the page Computers."),
    ]
    admitted = (200, {"state": "admitted", "token": "fresh-token", "name": "render7"}, "Welcome.")
    farm.server.admit = lambda request: answers.pop(0) if answers else admitted
    config = farm.config(token="", extra="kept")
    node = farm.nodes(config)
    identity = farm.server.wait(lambda: farm.server.of("identity"))[0]
    assert identity["name"] == "render7"
    assert farm.server.tokens == {"Bearer fresh-token"}
    assert len({request["secret"] for request in farm.server.asked}) == 1
    assert len(farm.server.asked[0]["secret"]) >= 32
    written = config.read_text()
    assert '"token": "fresh-token"' in written
    assert '"extra": "kept"' in written
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert not list(farm.folder.glob(".*.secret"))
    node.terminate()
    assert node.wait(20) == 0


def test_a_node_that_is_not_wanted_ends_with_the_reason(farm: Farm) -> None:
    farm.server.admit = lambda request: (403, {"state": "refused"}, "An admin said no to this computer.")
    node = farm.node(token="", blender=sys.executable)
    assert node.wait(20) == 1
    assert node.stderr is not None
    assert node.stderr.read().strip() == "node: An admin said no to this computer."


def test_a_restarted_node_goes_on_waiting_with_the_same_secret(farm: Farm) -> None:
    farm.server.admit = lambda request: (202, {"code": "AAA-111", "again": 0.05}, "Wait.")
    first = farm.node(token="")
    farm.server.wait(lambda: farm.server.asked)
    first.terminate()
    assert first.wait(20) == 0
    asked = len(farm.server.asked)
    farm.node(token="")
    farm.server.wait(lambda: len(farm.server.asked) > asked)
    assert len({request["secret"] for request in farm.server.asked}) == 1
    (secret,) = farm.folder.glob(".*.secret")
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


# -- shutting down ------------------------------------------------------------------------------------


def off(farm: Farm, **more: Any) -> Any:
    command = f"{sys.executable} -c \"open('{farm.folder}/off', 'w')\""
    return farm.node(shutdown_command=command, **more)


def test_shuts_its_computer_down_where_that_is_allowed(farm: Farm) -> None:
    node = off(farm, allow_shutdown=True)
    farm.server.wait(lambda: farm.server.of("info"))
    assert farm.server.of("info")[0]["can_shutdown"] is True
    farm.server.info["shutdown"] = True
    assert node.wait(30) == 0
    assert (farm.folder / "off").exists()
    assert farm.server.of("info")[-1].get("shutting_down") is True


def test_keeps_its_computer_on_where_it_is_not_allowed(farm: Farm) -> None:
    node = off(farm)
    farm.server.info["shutdown"] = True
    farm.server.wait(lambda: len(farm.server.of("info")) > 4)
    assert farm.server.of("info")[0]["can_shutdown"] is False
    assert node.poll() is None
    assert not (farm.folder / "off").exists()


def test_goes_on_where_the_computer_will_not_go_off(farm: Farm) -> None:
    node = farm.node(allow_shutdown=True, shutdown_command="false")
    farm.server.wait(lambda: farm.server.of("info"))
    farm.server.info["shutdown"] = True
    farm.server.wait(lambda: farm.server.of("info")[-1].get("can_shutdown") is False)
    assert node.poll() is None
