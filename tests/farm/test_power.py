"""When are nodes switched off and woken? Decided purely: random days with a fake clock, no flapping."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from farm_kit import SCENE, Node, World
from hypothesis import given, settings
from hypothesis import strategies as st

from server.disk.errors import Conflict
from server.farm.farm import Farm
from server.farm.power import packet
from server.farm.power.decide import (
    BRIEFLY_S,
    CALL_AGAIN_S,
    COME_S,
    LATER_S,
    Demand,
    Machine,
    Step,
    decide,
    later_s,
)
from server.farm.power.ledger import LONG_BYTES, Ledger

NOW = 1_000_000.0
ALL = frozenset({"a", "b", "c"})


def on(name: str, **more: Any) -> Machine:
    return Machine(name, on=True, since=0.0, may_sleep=True, may_wake=True, **more)


def off(name: str, **more: Any) -> Machine:
    return Machine(name, on=False, since=more.pop("since", 0.0), may_sleep=True, may_wake=True, **more)


def waits(tasks: int = 5, since: float = 0.0, fits: frozenset[str] = ALL) -> Demand:
    return Demand(tasks, since, fits)


def do(steps: list[Step]) -> list[tuple[str, str]]:
    return [(step.do, step.name) for step in steps]


@pytest.mark.parametrize(
    ("machine", "demands", "steps"),
    [
        (on("a"), [], [("off", "a")]),
        (replace(on("a"), may_sleep=False), [], []),
        (on("a", busy=True), [], []),
        (on("a", leaving=True), [], []),
        (on("a", hands_off=True), [], []),
        (on("a", idle_since=NOW - 1799), [], []),
        (replace(on("a"), since=NOW - 1199, idle_s=60), [], []),
        (on("a"), [waits()], []),
        (on("a"), [waits(fits=frozenset({"b"}))], [("off", "a")]),
        (on("a", open=False), [waits()], [("off", "a")]),  # outside its hours it can't take it
        (off("a"), [], []),
        (off("a"), [waits()], [("wake", "a")]),
        (off("a"), [waits(tasks=0)], []),
        (replace(off("a"), may_wake=False), [waits()], []),
        (off("a", open=False), [waits()], []),
        (off("a", hands_off=True), [waits()], []),
        (off("a", open_for_s=600.0), [waits()], []),  # its hours end too soon to be worth it
        (off("a", since=NOW - 599), [waits()], []),
        (off("a", not_before=NOW + 1), [waits()], []),
        (off("a", called=NOW - 10, sent=NOW - 10), [waits()], []),
        (off("a", called=NOW - 60, sent=NOW - CALL_AGAIN_S), [waits()], [("again", "a")]),
        (off("a", called=NOW - COME_S, sent=NOW - 5), [waits()], [("lost", "a")]),
    ],
)
def test_one_machine(machine: Machine, demands: list[Demand], steps: list[tuple[str, str]]) -> None:
    assert do(decide([machine], demands, NOW)) == steps


def test_as_many_are_woken_as_there_is_work_for() -> None:
    three = [off("a", slots=2), off("b"), off("c")]
    assert do(decide(three, [waits(1)], NOW)) == [("wake", "a")]
    assert do(decide(three, [waits(3)], NOW)) == [("wake", "a"), ("wake", "b")]
    assert do(decide(three, [waits(30)], NOW)) == [("wake", "a"), ("wake", "b"), ("wake", "c")]
    # Whoever is awake and free takes it; whoever is coming already counts.
    assert do(decide([on("a"), off("b")], [waits(1)], NOW)) == []
    assert do(decide([off("a", called=NOW - 5, sent=NOW - 5), off("b")], [waits(1)], NOW)) == []
    assert do(decide([off("a", called=NOW - 5, sent=NOW - 5), off("b")], [waits(2)], NOW)) == [("wake", "b")]


def test_what_others_do_in_a_moment_wakes_nobody() -> None:
    machines = [on("a", busy=True), off("b")]
    assert do(decide(machines, [waits(1, since=NOW - BRIEFLY_S + 1)], NOW)) == []
    assert do(decide(machines, [waits(1, since=NOW - BRIEFLY_S)], NOW)) == [("wake", "b")]
    # Where nobody who is awake could do it there is nothing to wait for.
    only = waits(1, since=NOW, fits=frozenset({"b"}))
    assert do(decide(machines, [only], NOW)) == [("wake", "b")]


def test_what_few_can_do_gets_those_few() -> None:
    gpu, any_ = waits(1, fits=frozenset({"a"})), waits(1, fits=frozenset({"a", "b"}))
    for demands in ([gpu, any_], [any_, gpu]):
        assert sorted(do(decide([off("a"), off("b")], demands, NOW))) == [("wake", "a"), ("wake", "b")]


def test_one_that_does_not_come_is_let_be_ever_longer() -> None:
    assert [later_s(n) for n in (1, 2, 3)] == [LATER_S, 2 * LATER_S, 4 * LATER_S]
    assert later_s(50) == later_s(60) < 86400
    # Those that come are called before those that didn't.
    assert do(decide([off("a", tries=2), off("b")], [waits(1)], NOW)) == [("wake", "b")]


@dataclass
class Pc:
    """A computer that needs time to start and to stop, and may not hear."""

    machine: Machine
    deaf: bool = False
    starts_at: float = 0.0
    stops_at: float = 0.0
    work_until: float = 0.0


STEP_S = 30.0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 8), days=st.just(3))
def test_random_days_never_flap_and_leave_no_work_alone(seed: int, count: int, days: int) -> None:
    # Given computers of all kinds, of which some never hear the call, and work that comes and goes…
    rng = random.Random(seed)
    pcs = {
        name: Pc(
            Machine(
                name, on=rng.random() < 0.5, since=-86400.0, may_sleep=rng.random() < 0.8,
                may_wake=rng.random() < 0.8, slots=rng.choice([1, 2]),
                idle_s=rng.choice([0.0, 60.0, 600.0, 1800.0]),
                least_up_s=rng.choice([60.0, 600.0, 1200.0]), least_down_s=rng.choice([60.0, 600.0]),
            ),
            deaf=rng.random() < 0.2,
        )
        for name in "abcdefgh"[:count]
    }  # fmt: skip
    tasks, since, now = 0, 0.0, 0.0
    changed: dict[str, list[tuple[float, bool]]] = {name: [] for name in pcs}
    unserved_s = 0.0
    while now < days * 86400.0:
        now += STEP_S
        if rng.random() < 0.004:
            tasks, since = rng.choice([0, 1, 5, 200]), now
        for name, pc in pcs.items():
            m = pc.machine
            if pc.starts_at and now >= pc.starts_at:
                pc.starts_at = 0.0
                m = replace(m, on=True, since=now, idle_since=now, called=0.0, sent=0.0, tries=0)
                changed[name].append((now, True))
            if pc.stops_at and now >= pc.stops_at:
                pc.stops_at = 0.0
                m = replace(m, on=False, since=now, leaving=False)
                changed[name].append((now, False))
            if m.on and m.busy and now >= pc.work_until:
                m = replace(m, busy=False, idle_since=now)
            if m.on and not m.busy and not m.leaving and tasks:
                tasks -= 1
                pc.work_until = now + rng.choice([10.0, 300.0])
                m = replace(m, busy=True)
            pc.machine = m
        demands = [Demand(tasks, since, frozenset(pcs))] if tasks else []
        steps = decide([pc.machine for pc in pcs.values()], demands, now)
        assert len({step.name for step in steps}) == len(steps), steps
        for step in steps:
            pc = pcs[step.name]
            m = pc.machine
            if step.do == "off":
                assert m.on
                assert not m.busy
                assert not tasks
                assert now - m.since >= m.least_up_s
                pc.machine, pc.stops_at = replace(m, leaving=True), now + rng.choice([5.0, 60.0])
            elif step.do == "wake":
                assert not m.on
                assert tasks
                assert now - m.since >= m.least_down_s
                pc.machine = replace(m, called=now, sent=now)
                pc.starts_at = 0.0 if pc.deaf else now + rng.choice([20.0, 90.0])
            elif step.do == "again":
                pc.machine = replace(m, sent=now)
            elif step.do == "lost":
                tries = m.tries + 1
                pc.machine = replace(m, called=0.0, tries=tries, not_before=now + later_s(tries))
        # …then work that somebody could be woken for isn't left alone for longer than that takes.
        free = [pc for pc in pcs.values() if not pc.deaf and (pc.machine.on or pc.machine.may_wake)]
        nobody_at_it = not any(pc.machine.on for pc in pcs.values())
        unserved_s = unserved_s + STEP_S if tasks and free and nobody_at_it else 0.0
        assert unserved_s <= 600.0 + COME_S + 120.0
    # Then nobody was up, or down by us, for less than its least time.
    for name, times in changed.items():
        m = pcs[name].machine
        for (began, was_on), (ended, _) in pairwise(times):
            assert ended - began >= (m.least_up_s if was_on else m.least_down_s)


# The packet


@pytest.fixture
def ear() -> Iterator[socket.socket]:
    """Where packets are heard."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(20)
        yield listener


def test_the_packet_is_what_network_cards_listen_for(ear: socket.socket) -> None:
    assert packet.wake("0a:1b:2C-3d:4e:5f", [f"127.0.0.1:{ear.getsockname()[1]}"]) == []
    heard = ear.recv(2000)
    assert heard == b"\xff" * 6 + bytes.fromhex("0a1b2c3d4e5f") * 16
    assert len(heard) == 102


def test_targets_that_are_none_are_told() -> None:
    for target in ("nas.local", "10.0.0.256", "127.0.0.1:0", "127.0.0.1:x"):
        (trouble,) = packet.wake("0a:1b:2c:3d:4e:5f", [target])
        assert target in trouble
    for mac in ("", "0a:1b", "0a:1b:2c:3d:4e:5g"):
        with pytest.raises(ValueError, match="network card"):
            packet.magic(mac)


# The ledger


def test_saved_hours_outlive_a_restart_and_a_torn_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.off("a", 1000.0, {"slots": 2})
    ledger.off("a", 2000.0, {"slots": 2})  # said twice: it counts once
    ledger.on("a", 4600.0)
    ledger.on("a", 9000.0)
    ledger.off("b", 5000.0, {})
    with open(tmp_path / "power.jsonl", "a") as file:
        file.write('nonsense\n{"at": 6000, "no')
    again = Ledger(tmp_path)
    assert again.accounts["a"].saved(9000.0) == 3600.0
    assert again.accounts["a"].identity == {"slots": 2}
    assert again.accounts["b"].saved(6000.0) == 1000.0
    again.on("b", 8600.0)  # after the torn line, on a line of its own
    assert Ledger(tmp_path).saved_s(9000.0) == 7200.0


def test_a_long_ledger_is_summed_up(tmp_path: Path) -> None:
    line = json.dumps({"at": 0, "node": "a", "event": "known", "identity": {"provides": ["x" * 1000]}}) + "\n"
    path = tmp_path / "power.jsonl"
    path.write_text(line * (LONG_BYTES // len(line) + 1))
    with open(path, "a") as file:
        for n in range(1, 11):
            file.write(json.dumps({"at": n * 10, "node": "a", "event": "off"}) + "\n")
            file.write(json.dumps({"at": n * 10 + 5, "node": "a", "event": "on"}) + "\n")
        file.write(json.dumps({"at": 110, "node": "a", "event": "off"}) + "\n")
    before = Ledger(tmp_path).accounts["a"]
    assert path.stat().st_size < 5000
    after = Ledger(tmp_path).accounts["a"]
    assert (before.saved_s, before.off_at, before.times, before.identity) == (
        after.saved_s, after.off_at, after.times, after.identity,
    )  # fmt: skip
    assert after.saved(210.0) == 150.0


def test_a_ledger_that_cannot_be_written_costs_its_lines_alone(tmp_path: Path) -> None:
    (tmp_path / "power.jsonl").mkdir()
    ledger = Ledger(tmp_path)
    ledger.off("a", 1.0, {})
    assert "can't be written" in ledger.trouble
    assert ledger.saved_s(3601.0) == 3600.0


# The whole, on the wire


class Sleeper(Node):
    """A node that lets itself be switched off and woken."""

    def say(self, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        told = {"can_shutdown": True}
        return super().say(*({**r, **told} if r["id"] == "info" else r for r in requests))

    def beat(self, **more: Any) -> dict[str, Any]:
        (info,) = [a for a in self.say({"id": "info", **more}) if a["id"] == "info"]
        return info


@pytest.fixture
def sleeper(world: World, farm: Farm, ear: socket.socket) -> Sleeper:
    """A node in a farm whose packets are heard, with power switched on for it."""
    farm._settings.change(wake_to=[f"127.0.0.1:{ear.getsockname()[1]}"])
    node = Sleeper(farm, "n1", world.root)
    node.beat()
    power = {"shutdown": True, "wake": True, "mac": "0A-1B-2C-3D-4E-5F", "idle_minutes": 10}
    farm.machines.change("n1", {"power": {**power, "least_up_minutes": 20, "least_down_minutes": 5}}, "admin")
    return node


def pass_by(world: World, farm: Farm, minutes: float, *nodes: Sleeper) -> list[dict[str, Any]]:
    """Time goes by; these nodes beat. What they were told last."""
    told: list[dict[str, Any]] = []
    for _ in range(round(minutes * 60 / 2)):
        world.clock.now += 2.0
        told = [node.beat() for node in nodes]
        farm.powering.tick()
    return told


def test_a_node_goes_to_sleep_and_is_woken_for_work(
    world: World, farm: Farm, sleeper: Sleeper, ear: socket.socket
) -> None:
    # Given an idle node, it stays on for its least time, and is then told to switch itself off…
    (info,) = pass_by(world, farm, 19.5, sleeper)
    assert "shutdown" not in info
    (info,) = pass_by(world, farm, 1, sleeper)
    assert info["shutdown"] is True
    assert farm.machines.one("n1")["state"] == "leaving"
    # …and gets nothing more meanwhile. It says that it goes, and is off, not lost.
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-4"}).id
    assert sleeper.ask() == []
    sleeper.beat(shutting_down=True)
    farm.powering.tick()
    assert farm.machines.one("n1")["state"] == "off"
    assert "woken as soon as they may" in farm.view(job_id)["why"]
    # When work waits that it could do, it is called, once it was down for its least time.
    pass_by(world, farm, 4.9)
    assert farm.machines.one("n1")["state"] == "off"
    pass_by(world, farm, 0.2)
    assert ear.recv(2000) == packet.magic("0a:1b:2c:3d:4e:5f")
    assert farm.machines.one("n1")["state"] == "waking"
    assert farm.view(job_id)["why"] == "n1 is being started for it"
    # It comes, works, and the hours that it was off are counted.
    world.clock.now += 60
    assert len(sleeper.ask(4)) == 4
    farm.powering.tick()
    found = farm.machines.one("n1")
    assert (found["state"], found["power_words"]) == ("busy", "")
    assert (world.config / "power.jsonl").read_text().count("\n") == 3  # known, off, on


def test_one_that_does_not_come_is_told_and_called_again(
    world: World, farm: Farm, sleeper: Sleeper, ear: socket.socket
) -> None:
    pass_by(world, farm, 20.5, sleeper)
    sleeper.beat(shutting_down=True)
    farm.submit("anna", {"file": SCENE, "frames": "1-4"})
    pass_by(world, farm, 5.2 + COME_S / 60)
    view = farm.machines.one("n1")
    assert view["state"] == "off"
    assert "did not come" in view["power_words"]
    assert "BIOS" in view["power_words"]
    while True:  # the first call and its repetitions
        ear.settimeout(0.05)
        try:
            ear.recv(2000)
        except TimeoutError:
            break
    assert [problem.id for problem in farm.health.problems()] == []
    pass_by(world, farm, LATER_S / 60 + 0.2)
    ear.settimeout(20)
    assert len(ear.recv(2000)) == 102
    # When that was in vain, too, it is a problem that people see.
    pass_by(world, farm, COME_S / 60 + 0.2)
    assert [problem.id for problem in farm.health.problems()] == ["lost:n1"]


def test_a_restarted_server_knows_who_sleeps_and_what_they_can_do(
    world: World, farm: Farm, sleeper: Sleeper, ear: socket.socket
) -> None:
    pass_by(world, farm, 20.5, sleeper)
    sleeper.beat(shutting_down=True)
    farm.powering.tick()
    world.close()
    again = world.open()
    assert again.machines.one("n1")["state"] == "off"
    assert again.machines.one("n1")["programs"] == {"blender": "3.4.1"}
    again.submit("anna", {"file": SCENE, "frames": "1"})
    pass_by(world, again, 0.07)  # those that are on have some heartbeats to report
    assert again.machines.one("n1")["state"] == "off"
    pass_by(world, again, 5)
    assert len(ear.recv(2000)) == 102


def test_by_hand(world: World, farm: Farm, sleeper: Sleeper, ear: socket.socket) -> None:
    with pytest.raises(Conflict, match="is on"):
        farm.machines.wake("n1", "admin")
    task = next(iter([farm.submit("anna", {"file": SCENE, "frames": "1"}) and sleeper.one()]))
    farm.machines.shut_down("n1", "admin")
    # It finishes what it has first; Undo takes it back.
    assert "shutdown" not in sleeper.beat()
    assert sleeper.deliver(task)["id"] == "accepted"
    assert sleeper.beat()["shutdown"] is True
    farm.machines.wake("n1", "admin")
    assert "shutdown" not in sleeper.beat()
    farm.machines.shut_down("n1", "admin")
    sleeper.beat(shutting_down=True)
    farm.powering.tick()
    with pytest.raises(Conflict, match="isn't on"):
        farm.machines.shut_down("n1", "admin")
    farm.machines.wake("n1", "admin")
    assert len(ear.recv(2000)) == 102
    # One that doesn't allow it says so, and one without an address can't be called.
    other = Node(farm, "n2", world.root)
    other.say({"id": "info", "can_shutdown": False})
    with pytest.raises(Conflict, match="allow_shutdown"):
        farm.machines.shut_down("n2", "admin")
    world.clock.now += 1000
    with pytest.raises(Conflict, match="address isn't known"):
        farm.machines.wake("n2", "admin")


def test_an_idle_farm_writes_no_line(world: World, farm: Farm, sleeper: Sleeper) -> None:
    pass_by(world, farm, 5, sleeper)
    before = (world.config / "power.jsonl").stat().st_mtime_ns
    pass_by(world, farm, 5, sleeper)
    assert (world.config / "power.jsonl").stat().st_mtime_ns == before
