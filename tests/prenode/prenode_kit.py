"""A scheduler in memory, a server that says what a test wants, and a prenode between them, in one process.

The scheduler's commands can be made to fail at every point where a real one can: before it has taken a
submission, after it has taken it and before the answer, or by not answering at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from prenode.bridge import Bridge
from prenode.config import Config, load
from prenode.engine import EngineError, Item, Machine
from prenode.program import Program

JOB = "20261122-120000-abc123"
OTHER = "20261122-120000-def456"


class Crash(BaseException):
    """The prenode's process ends here."""


class Cluster:
    """An `Engine` whose scheduler is a dictionary. `points`: what the next submissions meet."""

    title, most, index = "Slurm", 1000, ""
    lists = cancels = spares_running = True
    knows_machines = needs_cmd = False
    requirements: Mapping[str, list[str]] = {"gpu": ["--gres=gpu:1"], "memory_mb": ["--mem={value}M"]}

    def __init__(self) -> None:
        self.nodes: dict[tuple[str, int], dict[str, Any]] = {}  # (id, index) -> name, state, why
        self.points: list[str] = []
        self.submissions: list[tuple[int, str, list[str]]] = []
        self.down = False
        self.most_alive: dict[str, int] = {}
        self.hidden: dict[tuple[str, int], int] = {}  # for how many listings more it isn't shown

    def submit(
        self, count: int, batch: Mapping[str, str], options: Sequence[str], keep_open: Sequence[int] = ()
    ) -> str:
        point = self.points.pop(0) if self.points else ""
        if point == "crash before":
            raise Crash
        if self.down or point == "refuse":
            raise EngineError("sbatch: error: invalid partition")
        ident = str(len(self.submissions) + 1)
        self.submissions.append((count, batch["name"], list(options)))
        for index in range(1, count + 1):
            self.nodes[ident, index] = {"name": batch["name"], "state": "waiting", "why": "Priority"}
            if "late" in point:
                self.hidden[ident, index] = 5
        self.count()
        if point.startswith("lose"):
            raise EngineError("sbatch: error: Socket timed out on send/recv operation")
        if point.startswith("crash after"):
            raise Crash
        return ident

    def list(self, prefix: str) -> list[Item]:
        if self.down:
            raise EngineError("squeue: error: Unable to contact slurm controller")
        unseen = {key for key, listings in self.hidden.items() if listings > 0}
        self.hidden = {key: listings - 1 for key, listings in self.hidden.items()}
        return [
            Item(ident, index, node["name"], node["state"], node["why"], "c1")
            for (ident, index), node in self.nodes.items()
            if node["name"].startswith(prefix) and (ident, index) not in unseen
        ]

    def cancel(self, ids: Sequence[tuple[str, int]], waiting: bool) -> None:
        if self.down:
            raise EngineError("scancel: error: no controller")
        for key in ids:
            node = self.nodes[key]
            hits_running = not waiting or not self.spares_running
            if node["state"] == "waiting" or (hits_running and node["state"] == "running"):
                node["state"] = "cancelled"

    def machines(self) -> list[Machine]:
        return []

    def on_machine(self, machine: str) -> list[str]:
        return []

    def one(self, ident: str, index: int) -> str:
        return f"{ident}_{index}"

    # -- for tests

    def turn(self, state: str, *keys: tuple[str, int], why: str = "") -> None:
        """All nodes that live, or these, come into another state."""
        for key, node in self.nodes.items():
            if key in keys or (not keys and node["state"] in ("waiting", "running")):
                node.update(state=state, why=why)

    def alive(self, job: str = JOB, state: str = "") -> list[tuple[str, int]]:
        states = (state,) if state else ("waiting", "running")
        return [
            key for key, node in self.nodes.items() if node["state"] in states and f".{job}." in node["name"]
        ]

    def count(self) -> None:
        for job in (JOB, OTHER):
            self.most_alive[job] = max(self.most_alive.get(job, 0), len(self.alive(job)))


class Server:
    """Says what a test wants; hears what the prenode says."""

    def __init__(self) -> None:
        self.demand: list[dict[str, Any]] = []
        self.ended: list[str] = []
        self.heard: list[Any] = []
        self.error: Exception | None = None

    def ask(self, url: str, token: str, message: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.heard.append(json.loads(json.dumps(message)))
        return {"again": 2, "demand": self.demand, "ended": self.ended}

    def want(self, nodes: int, job: str = JOB, **more: Any) -> None:
        self.demand = [wish for wish in self.demand if wish["job"] != job]
        self.demand.append({"job": job, "name": "sh010", "nodes": nodes, "requires": [], **more})

    @property
    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.heard[-1]["runs"]
        return found


class Rig:
    """A prenode that can be started again, with a clock that a test turns."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.cluster, self.server, self.now = Cluster(), Server(), 1_000_000.0
        self.config = configuration(folder, **changes)
        self.bridge = self._made()

    def _made(self) -> Bridge:
        engine: Any = self.cluster
        program = Program(self.config, "")
        return Bridge(self.config, engine, program, wall=lambda: self.now, ask=self.server.ask)

    def again(self) -> None:
        """The process has ended, and is started again."""
        self.bridge.close()
        self.bridge = self._made()
        self.bridge.await_orphans()

    def rounds(self, count: int = 1, seconds: float = 2.0) -> float:
        wait_s = 0.0
        for _ in range(count):
            self.now += seconds
            wait_s = self.bridge.round()
            self.cluster.count()
        return wait_s

    def ends(self, batch_key: tuple[str, int], code: int, why: str = "", told: bool = False) -> None:
        """A node over there ends by itself and leaves its mark."""
        node = self.cluster.nodes[batch_key]
        run = f"{node['name'].rpartition('.')[2]}.{batch_key[1]}"
        mark = {"host": "c1", "code": code, "told": told, "why": why}
        (self.config.folder / "runs" / f"{run}.ended").write_text(json.dumps(mark))
        node["state"] = "done" if code in (0, 75) else "failed"

    def until(self, true: Callable[[], Any], rounds: int = 50) -> None:
        for _ in range(rounds):
            if true():
                return
            self.rounds()
        raise AssertionError("it never came true")


def configuration(folder: Path, **changes: Any) -> Config:
    told = {
        "name": "lab",
        "server": "http://127.0.0.1:1",
        "token": "a node's token",
        "engine": "slurm",
        "retry_time": 10,
        "node": {"paths": {"data": "/mnt/film"}},
        **changes,
    }
    path = folder / "prenode.json"
    path.write_text(json.dumps(told))
    return load(path)
