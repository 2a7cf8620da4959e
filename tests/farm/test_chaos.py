"""Nodes, servers and people in any order: whatever happens, each frame is there once and whole."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from farm_kit import SCENE, Node, World, disagreements, events_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.disk.errors import Conflict
from server.farm.farm import Farm

FRAMES = 6
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *["ask"] * 4,
                *["deliver"] * 4,
                *("repeat", "lose the answer", "fail", "release", "report", "late", "expire"),
                *("restart", "other server", "pause", "resume", "cancel", "again", "write, not said"),
            ]
        ),
        st.integers(0, 2),
    ),
    max_size=40,
)


class Chaos:
    """Two servers on one share, three nodes that talk to either, and all that they hold."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.farms = [world.open(), world.open()]
        self.job_id = self.farms[0].submit("anna", {"file": SCENE, "frames": f"1-{FRAMES}", "retries": 3}).id
        self.meet(self.farms[1])
        self.side = 0
        self.held: list[list[dict[str, Any]]] = [[], [], []]
        self.said: list[dict[str, Any]] = []
        self.accepted: dict[str, bytes] = {}
        self.count = 0

    def meet(self, farm: Farm) -> None:
        """Have the other server know of the job, as its watcher would."""
        store = next(store for known, store in self.world.farms if known is farm)
        store.rescan()
        farm.keeper.tick()
        farm.job(self.job_id)

    @property
    def farm(self) -> Farm:
        return self.farms[self.side]

    def node(self, number: int) -> Node:
        return Node(self.farm, f"n{number}", self.world.root)

    def say(self, node: Node, done: dict[str, Any], content: bytes) -> None:
        """A delivery. What is accepted counts from then on."""
        answers = {a["uuid"]: a["id"] for a in node.say(done) if a["id"] in ("accepted", "refused")}
        if answers.get(done["uuid"]) == "accepted" and done["uuid"] not in self.accepted:
            self.accepted[done["uuid"]] = content

    def step(self, what: str, number: int) -> None:
        node, held = self.node(number), self.held[number]
        if what == "ask":
            held += [task for task in node.ask(2) if task["uuid"] not in {h["uuid"] for h in held}]
        elif what == "restart":
            old = self.farm
            store = next(store for known, store in self.world.farms if known is old)
            old.close()
            store.close()
            self.world.farms = [pair for pair in self.world.farms if pair[0] is not old]
            self.farms[self.side] = self.world.open()
        elif what == "other server":
            self.side = 1 - self.side
        elif what == "expire":
            self.world.clock.now += 32
            for farm in self.farms:
                farm.keeper.tick()
        elif what in ("pause", "resume", "cancel", "again"):
            self.steer(what)
        elif what == "repeat":
            for done in self.said[-2:]:
                node.say(done)
        elif held:
            self.with_task(what, number, node, held.pop(0))

    def with_task(self, what: str, number: int, node: Node, task: dict[str, Any]) -> None:
        self.count += 1
        content = b"picture %d" % self.count
        if what == "deliver":
            done = node.render(task, content)
            self.said.append(done)
            self.say(node, done, content)
        elif what == "lose the answer":
            done = node.render(task, content)
            node.say(done)
            self.say(node, done, content)
        elif what == "late":
            done = node.render(task, content)
            self.world.clock.now += 32
            self.farm.keeper.tick()
            self.node((number + 1) % 3).ask()
            self.say(node, done, content)
        elif what == "fail":
            node.say({"id": "failed", "uuid": task["uuid"], "frame": task["frame"], "reason": "crash"})
        elif what == "release":
            node.say({"id": "release", "uuid": task["uuid"]})
        elif what == "report":
            node.say({"id": "report", "uuid": task["uuid"], "frame": task["frame"], "progress": 0.5})
            self.held[number].append(task)
        elif what == "write, not said":
            node.render(task, content)

    def steer(self, what: str) -> None:
        try:
            if what == "pause":
                self.farm.pause_job(self.job_id, "anna")
            elif what == "resume":
                self.farm.resume_job(self.job_id, "anna")
            elif what == "cancel":
                self.farm.cancel(self.job_id, "anna")
            else:
                self.farm.requeue(self.job_id, "rest", "anna")
        except Conflict:
            pass  # its state doesn't allow it now

    def finish(self) -> None:
        """Everything is set going again, and one well node does what is left."""
        farm = self.farm
        self.world.clock.now += 200
        for _ in range(3):
            for each in self.farms:
                each.keeper.tick()
            self.world.clock.now += 32
        self.steer("again")
        if farm.view(self.job_id)["state"] == "paused":
            farm.resume_job(self.job_id, "anna")
        well = Node(farm, "well", self.world.root)
        for _ in range(60):
            for task in well.ask(2):
                content = b"at last %d" % task["n"]
                self.say(well, well.render(task, content), content)
            if farm.view(self.job_id)["state"] == "done":
                return
            self.world.clock.now += 32
            for each in self.farms:
                each.keeper.tick()
            self.steer("again")
        raise AssertionError(farm.view(self.job_id))

    def check(self) -> None:
        view = self.farm.view(self.job_id)
        assert view["counts"]["done"] == FRAMES
        assert disagreements(self.farm, self.job_id) == []
        events = events_of(self.world, self.job_id)
        done = Counter(event["task"] for event in events if event["event"] == "done")
        assert done == dict.fromkeys(range(FRAMES), 1)
        claims = Counter((event["task"], event["attempt"]) for event in events if event["event"] == "claim")
        assert max(claims.values()) == 1
        folder = self.world.path(view["folder"])
        holders: dict[int, str] = {}
        for event in events:
            if event["event"] == "claim":
                holders[event["task"]] = event["attempt"]
            if event["event"] == "done":
                assert holders[event["task"]] == event["attempt"], "a late attempt was accepted"
                uuid = f"{self.job_id}.{event['task']}.{event['attempt']}"
                assert (folder / event["outputs"][0]["path"]).read_bytes() == self.accepted[uuid]


@given(STEPS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_happens_each_frame_is_there_once(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder)).lay()
        try:
            chaos = Chaos(world)
            for what, number in steps:
                chaos.step(what, number)
            chaos.finish()
            chaos.check()
        finally:
            world.close()
