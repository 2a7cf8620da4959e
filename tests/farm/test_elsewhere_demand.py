"""What prenodes are asked for: as many computers as there is work for, and no more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from farm_kit import Node, World, here_for_long, until

from server.farm.elsewhere import Ledger, Run
from server.farm.farm import Farm


class Bridge:
    """A prenode of our own protocol, spoken by hand."""

    def __init__(self, world: World, farm: Farm, name: str = "lab") -> None:
        self.world, self.farm, self.name = world, farm, name
        self.told: dict[str, Any] = {"protocol": 2, "name": name, "version": "1", "engine": "slurm"}
        self.runs: list[dict[str, Any]] = []

    def ask(self, **more: Any) -> dict[str, Any]:
        self.world.clock.now += 1.0
        answer = self.farm.bridging.potential({**self.told, "runs": self.runs, **more})
        assert answer["again"] > 0
        return dict(answer)

    def wants(self, **more: Any) -> dict[str, int]:
        """Job -> computers."""
        return {row["job"]: row["nodes"] for row in self.ask(**more)["demand"]}

    def start(self, job: str, count: int, state: str = "waiting") -> None:
        """It has so many more now."""
        at = len(self.runs)
        self.runs += [
            {"run": f"r{n}", "job": job, "there": f"1_{n}", "state": state, "why": "Priority"}
            for n in range(at, at + count)
        ]


def far(farm: Farm, world: World, run: str, name: str = "lab") -> Node:
    """A computer that a prenode started."""
    node = Node(farm, f"{name}-{run}", world.root)
    node.facts = {"prenode": name, "run": run, "single_use": True}
    return node


def settled(world: World, farm: Farm) -> Farm:
    """One that began long ago: who is here is known."""
    world.clock.now += 60
    return farm


def test_as_many_are_asked_for_as_the_house_s_own_leave(
    world: World, farm: Farm, submit: Callable[..., str]
) -> None:
    # Given two computers of the house's own and a render of 60 frames
    own = [Node(farm, name, world.root) for name in ("n1", "n2")]
    here_for_long(world, *own)
    bridge = Bridge(world, farm)
    job = submit("1-60")
    # Then two frames are theirs
    assert bridge.wants() == {job: 58}
    # What has begun counts no more
    own[1].say({"id": "info"})
    task = own[0].one()
    assert bridge.wants() == {job: 57}
    # A computer elsewhere that is at a frame is one of those that are wanted
    bridge.start(job, 57)
    there = far(farm, world, "r0")
    got, later = there.ask(2)  # it has the next one already
    assert bridge.wants() == {job: 56}
    own[1].say({"id": "info"})
    own[0].say({"id": "report", "uuid": task["uuid"], "frame": task["frame"]})
    assert there.deliver(got)["id"] == "accepted"
    assert bridge.wants() == {job: 56}
    assert there.deliver(later)["id"] == "accepted"
    assert bridge.wants() == {job: 55}
    assert own[0].deliver(task)["id"] == "accepted"
    (row,) = bridge.ask()["demand"]
    assert (row["name"], row["project"]) == ("sh010", "demo")
    assert row["reason"]


def test_who_is_busy_for_long_is_not_waited_for(world: World) -> None:
    at = [1_700_000_000.0]
    farm = world.open(wall=lambda: at[0])
    own = Node(farm, "n1", world.root)
    here_for_long(world, own)
    bridge = Bridge(world, farm)
    job = farm.view(farm.submit("anna", {"file": "data::demo/shots/sh010.blend", "frames": "1-2"}))["id"]
    task = own.one()
    assert bridge.wants() == {}, "its one computer begins the other frame soon"
    at[0] += 600
    own.say({"id": "report", "uuid": task["uuid"], "frame": task["frame"], "progress": 0.5})
    assert bridge.wants() == {job: 1}
    own.say({"id": "report", "uuid": task["uuid"], "frame": task["frame"], "progress": 0.9})
    assert bridge.wants() == {}


def test_what_is_over_is_said_and_what_is_paused_loses_its_waiting_ones(
    world: World, farm: Farm, submit: Callable[..., str]
) -> None:
    settled(world, farm)
    bridge = Bridge(world, farm)
    job, other = submit("1-3"), submit("1-2")
    assert bridge.wants() == {job: 3, other: 2}
    bridge.start(job, 3)
    bridge.start(other, 2)
    bridge.start("20200101-000000-abcdef", 1)
    farm.pause_job(other, "anna")
    farm.cancel(job, "anna")
    answer = bridge.ask()
    assert answer["demand"] == []
    until(lambda: bridge.ask()["ended"] == sorted([job, "20200101-000000-abcdef"]))
    farm.resume_job(other, "anna")
    assert bridge.wants() == {other: 2}
    farm.machines.pause_all(True)
    assert bridge.wants() == {}


def test_two_prenodes_do_not_start_the_same_work_twice(
    world: World, farm: Farm, submit: Callable[..., str]
) -> None:
    settled(world, farm)
    one, two = Bridge(world, farm, "one"), Bridge(world, farm, "two")
    job = submit("1-10")
    # Given that the first may have four at once
    assert one.wants(at_most=4) == {job: 4}
    assert two.wants() == {job: 6}
    assert one.wants(at_most=4) == {job: 4}
    # And where the second is gone for good, or can't do it
    world.clock.now += 61
    assert one.wants() == {job: 10}
    gpu = submit("1-2", requires=["gpu"])
    assert two.wants(provides=["cpu"]) == {}
    assert one.wants(provides={"provides": ["gpu"], "programs": {"blender": "4.2"}}) == {job: 10, gpu: 2}


def test_after_a_start_the_house_s_own_computers_speak_up_first(world: World) -> None:
    farm = world.open()
    job = farm.view(farm.submit("anna", {"file": "data::demo/shots/sh010.blend", "frames": "1-4"}))["id"]
    bridge = Bridge(world, farm)
    # What runs over there goes on, and nothing is added before anybody can have spoken
    assert bridge.wants() == {}
    bridge.start(job, 6)  # some of them at frames, which isn't known yet
    assert bridge.wants() == {job: 6}
    world.clock.now += 5
    assert bridge.wants() == {job: 4}


def test_what_fails_to_start_there_rests(world: World, farm: Farm, submit: Callable[..., str]) -> None:
    settled(world, farm)
    bridge = Bridge(world, farm)
    job = submit("1-4")
    now = farm.board.wall()
    for n in range(3):
        failed = {"run": f"f{n}", "job": job, "there": f"9_{n}", "state": "failed", "why": "no such image"}
        bridge.runs.append({**failed, "since": now - 1})
    assert bridge.wants() == {}
    # Of those that came to talk the farm itself judges
    far(farm, world, "f0").say({"id": "info"})
    assert bridge.wants() == {job: 4}


def test_nonsense_of_a_prenode_is_told_or_passed_over(world: World, farm: Farm) -> None:
    bridge = Bridge(world, farm)
    good = {"run": "a", "job": "b", "state": "running", "since": "2026-01-01T00:00:00Z"}
    bridge.runs = [7, {}, {"run": 1}, {**good, "state": "flying"}, good]  # type: ignore[list-item]
    assert bridge.ask(at_most="many", provides=7, error=None, version={})["ended"] == ["b"]
    (one,) = farm.places.bridges.all()
    assert [run.id for run in one.runs.values()] == ["a"]


def rule(world: World, *rules: dict[str, Any], **more: Any) -> None:
    """These rules count from now on."""
    path = world.config / "where.json"
    path.write_bytes(orjson.dumps({"rules": rules, **more}))
    for farm, store in world.farms:
        store.settings.look_again("where.json")
        farm.places.look()


def test_a_rule_says_which_computers_may_have_a_job(
    world: World, farm: Farm, submit: Callable[..., str]
) -> None:
    settled(world, farm)
    own, there = Node(farm, "n1", world.root), far(farm, world, "r1")
    bridge = Bridge(world, farm)
    rule(world, {"if": {"user": "anna"}, "then": "never-elsewhere", "why": "it is Anna's"})
    job = submit("1-4")
    # New, and held to the rule at once
    assert there.ask() == []
    assert bridge.wants() == {}
    assert own.one()["job"] == job
    view = farm.view(job)["where"]
    assert (view["here"], view["elsewhere"], view["rule"]) == (True, 0, 1)
    assert view["reason"] == "it is never rendered elsewhere: it is Anna's"
    why = {one["name"]: one["text"] for one in farm.why(job)["nodes"]}
    assert why["lab-r1"] == "can't: this job is rendered on the house's own computers"
    # Another rule holds for the same job as soon as it is written
    rule(world, {"then": "elsewhere"})
    assert own.ask() == []
    assert bridge.wants() == {job: 3}
    works = zip(farm.board.live[job].job.stages, farm.board.live[job].works, strict=True)
    asked = {stage.name: work.need.where for stage, work in works}
    assert asked == {"render": "elsewhere", "preview": ""}, "what nobody waits for may always be done here"
    until(lambda: farm.view(job)["where"]["here"] is False)
    assert there.one()["job"] == job
    world.clock.now += 61
    farm.places.look()
    nobody = "it is rendered elsewhere alone, and nobody is there who starts computers elsewhere"
    until(lambda: {"kind": "place", "text": nobody} in farm.why(job)["reasons"])
    # And none
    rule(world)
    assert own.one()["job"] == job
    assert farm.view(job)["where"] is None


def test_what_overflows_is_asked_for_as_far_as_it_takes(
    world: World, farm: Farm, submit: Callable[..., str]
) -> None:
    """Two computers here, frames of ten minutes, two hours allowed: the estimates say how many must help."""
    own = [Node(farm, name, world.root) for name in ("n1", "n2")]
    here_for_long(world, *own)
    rule(world, {"if": {"queue_hours_over": 2}, "then": "overflow"}, {"then": "local"})
    bridge = Bridge(world, farm)
    job = submit("1-60")

    def wanted() -> int:
        for node in own:
            node.say({"id": "info"})
        farm.places.here.work_out()
        return bridge.wants().get(job, 0)

    # Nobody knows yet how long a frame takes
    assert wanted() == 0
    assert farm.view(job)["where"]["reason"] == "it is rendered here"
    # The first one says it: nearly five hours here
    task = own[0].one()
    assert own[0].answer_to(own[0].render(task, time=600.0))["id"] == "accepted"
    assert wanted() == 3
    assert "here alone it would take 5.0 hours, and 2 are allowed" in farm.view(job)["where"]["reason"]
    # And what computers elsewhere are at counts for them, not for those here
    there = [far(farm, world, f"r{n}") for n in range(3)]
    tasks = [node.one() for node in there]
    bridge.start(job, 3, "running")
    assert wanted() == 3
    assert 56 * 300 < farm.places.here.left()[job] < 58 * 300
    # A short one overflows nothing
    for node, task in zip(there, tasks, strict=True):
        assert node.answer_to(node.render(task, time=600.0))["id"] == "accepted"
    farm.skip(job, range(24, 60), "anna")
    until(lambda: wanted() == 0)
    assert there[0].ask() == []


def test_rfam_s_prenode_is_told_of_what_may_leave_the_house(
    world: World, farm: Farm, submit: Callable[..., str]
) -> None:
    settled(world, farm)
    rule(world, {"then": "local"})
    job = submit("1-9")
    assert farm.bridging.potential("old") == []
    farm.places.look()
    assert farm.bridging.potential("old") == []
    rule(world, {"then": "both", "at_most_nodes": 4})
    assert [(told["uuid"], told["frames"]) for told in farm.bridging.potential("old")] == [(job, 4)]
    assert farm.bridging.potential("old") == []


def test_hours_of_a_day_are_counted_through_a_restart(world: World) -> None:
    at = [1_700_000_000.0]  # 22:13 UTC
    farm = settled(world, world.open(wall=lambda: at[0]))
    rule(world, {"then": "both"}, node_hours_a_day=2)
    bridge = Bridge(world, farm)
    job = farm.view(farm.submit("anna", {"file": "data::demo/shots/sh010.blend", "frames": "1-4"}))["id"]
    assert bridge.wants() == {job: 4}
    bridge.start(job, 2, "running")
    bridge.wants()
    at[0] += 2700
    assert bridge.wants() == {job: 4}
    assert farm.places.node_hours() == pytest.approx(1.5)
    bridge.runs.pop()  # one is done
    bridge.wants()
    world.close()
    # Given a server that starts anew, with the other still running over there
    at[0] += 900
    farm = bridge.farm = settled(world, world.open(wall=lambda: at[0]))
    farm.places.look()
    bridge.wants()
    assert farm.places.node_hours() == pytest.approx(1.75)
    at[0] += 960
    answer = bridge.ask()
    assert answer["demand"] == [] or answer["demand"][0]["nodes"] == 0
    assert "used up" in farm.view(job)["where"]["reason"]
    assert far(farm, world, "r0").ask() == []
    # On the next day they go on; what ran over midnight counts as far as it did
    at[0] = 1_700_006_400.0 + 600
    assert bridge.wants() == {job: 4}
    assert farm.places.node_hours() == pytest.approx(1 / 6)
    # A prenode that is gone for good has nothing running
    at[0] += 7200
    assert farm.places.node_hours() == pytest.approx(1 / 6)


def test_a_spoilt_ledger_of_hours_costs_its_lines_alone(tmp_path: Path) -> None:
    lines = [
        {"at": 100, "event": "began", "prenode": "a", "run": "1"},
        {"at": 3700, "event": "ended", "prenode": "a", "run": "1"},
    ]
    text = b"\n".join(orjson.dumps(line) for line in lines)
    (tmp_path / "elsewhere.jsonl").write_bytes(b"[]\n{\n" + text + b'\n{"at": "x"')
    ledger = Ledger(tmp_path, 4000)
    assert ledger.hours(0, 4000) == 1
    ledger.hear("a", [Run("2", "j", "", "", "running", "", 0)], 4000)
    ledger.hear("a", [], 7600)
    assert Ledger(tmp_path, 8000).hours(0, 8000) == 2
    # Nothing that changes writes nothing
    before = (tmp_path / "elsewhere.jsonl").stat().st_mtime_ns
    ledger.hear("a", [], 7700)
    assert (tmp_path / "elsewhere.jsonl").stat().st_mtime_ns == before
