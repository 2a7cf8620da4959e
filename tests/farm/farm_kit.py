"""What the tests of the farm share: a share with a scene, farms on it, nodes that speak the wire by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from server.disk.paths import Share
from server.disk.settings import Settings
from server.disk.store import Store
from server.farm import statistics
from server.farm.farm import Farm
from server.farm.jobs.attempts import Claim
from server.farm.jobs.job import Job
from server.farm.jobs.troubles import Failure, Troubles
from server.farm.jobs.usage import Usage

SCENE = "data::demo/shots/sh010.blend"
SETTINGS = {"heartbeat_s": 1.0, "lease_s": 30.0, "settle_s": 0.0, "site": "here"}


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A share, its configuration, and farms on it."""

    def __init__(self, folder: Path, root: Path | None = None) -> None:
        self.folder = folder
        self.root = root or folder / "data"
        self.config = folder / "config"
        self.clock = Clock()
        self.farms: list[tuple[Farm, Store]] = []

    def lay(self, **settings: Any) -> World:
        """Make the share and the configuration."""
        self.config.mkdir(parents=True, exist_ok=True)
        (self.config / "server.json").write_bytes(orjson.dumps({**SETTINGS, **settings}))
        shots = self.root / "demo" / "shots"
        shots.mkdir(parents=True, exist_ok=True)
        (self.root / "demo" / "project.json").write_text("{}")
        (shots / "sh010.blend").write_bytes(b"BLENDER-v304" + bytes(range(256)) * 40 + b"ENDB")
        (shots / "notes.txt").write_text("buy milk")
        (shots / "fake.blend").write_text("buy milk")
        return self

    def open(self, **arguments: Any) -> Farm:
        """A server's farm on this share."""
        settings = Settings(self.config)
        store = Store(settings, [Share("data", self.root)])
        store.open()
        farm = Farm(settings, store, **{"monotonic": self.clock, **arguments})
        self.farms.append((farm, store))
        return farm

    def close(self) -> None:
        for farm, store in self.farms:
            farm.close()
            store.close()
        self.farms.clear()

    def path(self, address: str) -> Path:
        return self.root / address.partition("::")[2]


class Node:
    """A node of Croft's own kind, as seen on the wire."""

    def __init__(self, farm: Farm, name: str, root: Path, protocol: int = 2) -> None:
        self.farm = farm
        self.name = name
        self.root = root
        self.protocol = protocol
        self.facts: dict[str, Any] = {}  # what else it says of itself

    def say(self, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        identity: dict[str, Any] = {"id": "identity", "name": self.name, "version": "1", "provides": []}
        if self.protocol > 1:
            more = {"protocol": self.protocol, "slots": 1, "programs": {"blender": "3.4.1"}}
            identity.update(more, paths={"data": ""}, **self.facts)
        answer = self.farm.talk(self.name, [identity, *requests])
        return list(orjson.loads(answer))

    def ask(self, count: int = 1) -> list[dict[str, Any]]:
        return [
            a
            for a in self.say({"id": "task", "paths": ["data"], "provides": [], "count": count})
            if a["id"] == "task"
        ]

    def one(self) -> dict[str, Any]:
        tasks = self.ask()
        assert len(tasks) == 1, tasks
        return tasks[0]

    def render(self, task: dict[str, Any], content: bytes = b"a picture", **more: Any) -> dict[str, Any]:
        """Write what the task asks for, and say the `done` for it (unsent)."""
        command = task["commands"][0]
        folder = self.root / command["folder"].partition("::")[2]
        name = command["name"].replace("####", f"{task['frame']:04d}") + ".png"
        temp = f".{task['uuid']}.{name}"
        (folder / temp).write_bytes(content)
        output = {"name": name, "path": name, "temp": temp, "size": len(content), "kind": "frame"}
        return {
            "id": "done",
            "uuid": task["uuid"],
            "frame": task["frame"],
            "time": 1.5,
            "outputs": [output],
            **more,
        }

    def deliver(self, task: dict[str, Any], content: bytes = b"a picture") -> dict[str, Any]:
        """Render and send: the answer."""
        return self.answer_to(self.render(task, content))

    def answer_to(self, request: dict[str, Any]) -> dict[str, Any]:
        answers = [a for a in self.say(request) if a.get("uuid") == request["uuid"]]
        assert len(answers) == 1, answers
        return answers[0]

    def fail(
        self, task: dict[str, Any], reason: str = "crash", log: str = "Segmentation fault"
    ) -> dict[str, Any]:
        told = {
            "id": "failed",
            "uuid": task["uuid"],
            "frame": task["frame"],
            "time": 1,
            "reason": reason,
            "log": log,
        }
        return self.answer_to(told)


def here_for_long(world: World, *nodes: Node) -> None:
    """These nodes have been here for a while: nobody waits for their neighbours to wake up."""
    for _ in range(30):
        for node in nodes:
            node.say({"id": "info"})
        world.clock.now += 2.5


def until(what: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Wait for something that another thread does: its value once it is true."""
    gate = threading.Event()
    for _ in range(int(seconds / 0.02)):
        value = what()
        if value:
            return value
        gate.wait(0.02)
    raise AssertionError(f"never happened: {what}")


def events_of(world: World, job_id: str) -> list[dict[str, Any]]:
    """The whole lines of a job's journal."""
    path = world.root / "demo/shots/.croft/sh010.blend/jobs" / job_id / "journal.jsonl"
    return [orjson.loads(line) for line in path.read_bytes().splitlines() if line.endswith(b"}")]


# Of a job in memory: what no line of its journal says, or what follows from the request alone.
PASSING = {"listener", "_cursors", "_holds", "_last", "stages", "shown", "chunked", "_later"}


def folded(job: Any) -> Any:
    """All that a journal says of a job, to compare: the same after any way of reading the same lines."""
    if isinstance(job, dict):
        return {key: folded(value) for key, value in job.items()}
    if isinstance(job, list):
        return [folded(value) for value in job]
    if isinstance(job, Claim):
        return job.attempt, job.node, job.server, job.at
    if isinstance(job, Job):
        names = vars(job).keys()
    elif isinstance(job, Usage | Troubles | Failure):
        names = type(job).__slots__
    else:
        return job
    return {name: folded(getattr(job, name)) for name in names if name not in PASSING}


def disagreements(farm: Farm, job_id: str) -> list[str]:
    """Where a job's sums contradict each other: empty, always."""
    return statistics.disagreements(farm.fold(job_id).job)
