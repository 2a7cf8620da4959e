"""The nodes that talk to us: who they are, what they can do, what they hold, how they fare.

All of it lives in memory and is heard anew from each node's requests; only what a person decided
(`paused`) is written, to the configuration. A node that fails again and again where others succeed is
sick and rests, longer each time, so that it can't burn through a job.
"""

from __future__ import annotations

import datetime
import hashlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from server.disk.errors import BadInput, Conflict, NotFound
from server.disk.settings import IDENT, Settings
from server.farm.jobs.job import Claim
from server.farm.scheduler import Means

AWAY_HEARTBEATS = 3  # silent for so many: it is away
SICK_AFTER = 3  # failures in a row, in different tasks
REST_S = 30.0  # a sick node's first rest; doubled each time
LONGEST_REST_S = 1800.0
MAX_NODES = 20_000  # single-use nodes come and go: the oldest that are away are forgotten
PACE_WEIGHT = 0.2  # of the newest task in the running mean
FARM = "@farm"  # the configuration file of the whole farm's pause


class Node:
    """One node as it last described itself."""

    __slots__ = (
        "displaced",
        "doing",
        "failed",
        "failed_in_row",
        "hardware",
        "held",
        "instance",
        "instance_at",
        "means",
        "name",
        "pace",
        "paused",
        "programs",
        "protocol",
        "rests",
        "rests_until",
        "seconds",
        "seen",
        "seen_at",
        "slots",
        "tasks",
        "version",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.means = Means(protocol=1)
        self.protocol = 1
        self.version = ""
        self.slots = 1
        self.hardware: dict[str, Any] = {}
        self.programs: dict[str, str] = {}
        self.seen = 0.0  # monotonic
        self.seen_at = 0.0  # seconds since the epoch
        self.held: dict[str, tuple[str, Claim]] = {}  # attempt -> job id, claim
        self.instance = ""  # the running program that has this name: another at each start
        self.instance_at = 0.0  # monotonic; when it last spoke
        self.displaced = ""  # the one that had the name before
        self.paused = False
        self.failed_in_row = 0
        self.rests = 0
        self.rests_until = 0.0  # monotonic
        self.tasks = 0
        self.failed = 0
        self.seconds = 0.0
        self.pace = 0.0  # seconds a task takes here, lately

    def succeeded(self, seconds: float) -> None:
        """A task of its was accepted."""
        self.tasks += 1
        self.seconds += seconds
        self.pace = seconds if self.tasks == 1 else self.pace + PACE_WEIGHT * (seconds - self.pace)
        self.failed_in_row = 0
        self.rests = 0

    def spoken_by(self, instance: str, now: float, patience_s: float) -> None:
        """A newly started program takes the name over, as after a crash. One that was displaced and speaks
        again while its successor lives is a second computer with the same name: Conflict."""
        if instance != self.instance:
            if instance == self.displaced and now - self.instance_at < patience_s:
                raise Conflict(f"Another node is called {self.name!r} too: give each node a name of its own.")
            self.displaced, self.instance = self.instance, instance
        self.instance_at = now

    def stumbled(self, now: float, others_do_well: bool) -> None:
        """A task of its failed. It rests only where it can't be the scene's fault alone."""
        self.failed += 1
        self.failed_in_row += 1
        if others_do_well and self.failed_in_row >= SICK_AFTER:
            self.rests_until = now + min(REST_S * 2**self.rests, LONGEST_REST_S)
            self.rests += 1
            self.failed_in_row = 0

    def state(self, now: float, heartbeat_s: float) -> str:
        """away, paused, sick, busy or idle."""
        if now - self.seen > AWAY_HEARTBEATS * heartbeat_s + 1:
            return "away"
        if self.paused:
            return "paused"
        if now < self.rests_until:
            return "sick"
        return "busy" if self.held else "idle"


class Nodes:
    """All nodes by name. Written by the threads that answer nodes, each for its own."""

    def __init__(self, settings: Settings, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._wall = wall
        self._nodes: dict[str, Node] = {}
        self._lock = threading.Lock()
        self._configured: Mapping[str, dict[str, Any]] | None = None
        self._farm_paused = False

    def __len__(self) -> int:
        return len(self._nodes)

    def all(self) -> list[Node]:
        """Every node that was heard of or configured, by name."""
        self._follow_settings()
        return [node for _, node in sorted(self._nodes.copy().items())]

    def present(self) -> list[Node]:
        """Every node that was heard of, in no order."""
        return list(self._nodes.values())

    def get(self, name: str) -> Node:
        """One node; NotFound when it was never heard of."""
        node = self._nodes.get(name)
        if node is None:
            self._follow_settings()
            node = self._nodes.get(name)
        if node is None:
            raise NotFound(f"There is no node {name[:100]!r}.")
        return node

    def meet(self, name: str) -> Node:
        """The node of this name, which talks right now. `seen` is set."""
        node = self._nodes.get(name)
        if node is None:
            if not name or len(name) > 128 or not name.isprintable():
                raise BadInput("A node's name is 1 to 128 printable characters.")
            node = self._make(name)
        node.seen = self._monotonic()
        node.seen_at = self._wall()
        return node

    def known(self, name: str) -> Node:
        """The node of this name, made where it was never heard of (a journal names it)."""
        return self._nodes.get(name) or self._make(name)

    def describe(self, node: Node, told: Mapping[str, Any], share_ids: Mapping[str, str]) -> bool:
        """Take in an `identity`. True when something changed. Nonsense in single fields is left out."""
        protocol = told.get("protocol", 1)
        protocol = protocol if isinstance(protocol, int) and 1 <= protocol <= 99 else 1
        paths = told.get("paths")
        # RFAM's node says these with its requests for tasks alone: what it said there stays.
        shares, labels = node.means.shares, node.means.provides
        wrong: frozenset[str] | None = None
        if isinstance(paths, Mapping):
            shares = frozenset(str(name) for name in paths)
            wrong = frozenset(
                str(name)
                for name, marker in paths.items()
                if marker and share_ids.get(str(name)) and marker != share_ids[str(name)]
            )
        programs = told.get("programs")
        programs = {str(k): str(v) for k, v in programs.items()} if isinstance(programs, Mapping) else {}
        if isinstance(told.get("provides"), list) and (protocol > 1 or node.means.shares is None):
            labels = frozenset(map(str, told["provides"]))
        means = Means(
            protocol=protocol,
            shares=shares,
            wrong_shares=wrong or frozenset(),
            provides=labels,
            programs=frozenset(programs),
        )
        slots = told.get("slots", 1)
        hardware = told.get("hardware")
        before = (node.means, node.slots, node.version)
        node.protocol = protocol
        node.programs = programs
        node.slots = slots if isinstance(slots, int) and 1 <= slots <= 256 else 1
        node.version = str(told.get("version", ""))[:60]
        node.hardware = dict(hardware) if isinstance(hardware, Mapping) else {}
        if isinstance(told.get("mac"), str):
            node.hardware["mac"] = told["mac"][:40]
        if node.means != means:
            node.means = means
        return before != (node.means, node.slots, node.version)

    def pause(self, name: str, paused: bool) -> Node:
        """Give a node no new tasks, or again; it keeps through restarts."""
        node = self.get(name)
        ident = _ident(name)
        kept = {k: v for k, v in self._settings.folder("nodes").get(ident, {}).items() if k != "paused"}
        self._settings.write("nodes", ident, {**kept, "name": name, "paused": paused})
        node.paused = paused
        if not paused:
            node.rests_until = 0.0
            node.failed_in_row = node.rests = 0
        self._configured = None
        return node

    @property
    def farm_paused(self) -> bool:
        """No node gets new tasks."""
        self._follow_settings()
        return self._farm_paused

    def pause_farm(self, paused: bool) -> None:
        """Stop giving out tasks, or go on."""
        self._settings.write("nodes", FARM, {"paused": paused})
        self._farm_paused = paused
        self._configured = None

    def view(self, node: Node, heartbeat_s: float) -> dict[str, Any]:
        """A node as the API shows it; `doing` is the farm's to add."""
        now = self._monotonic()
        seen = ""
        if node.seen_at:
            stamp = datetime.datetime.fromtimestamp(node.seen_at, datetime.UTC)
            seen = stamp.isoformat(timespec="seconds").replace("+00:00", "Z")
        return {
            "name": node.name,
            "state": node.state(now, heartbeat_s) if node.seen_at else "away",
            "slots": node.slots,
            "busy": min(len(node.held), node.slots),
            "provides": sorted(node.means.provides),
            "programs": node.programs,
            "version": node.version,
            "protocol": node.protocol,
            "seen": seen or None,
            "hardware": node.hardware,
            "wrong_shares": sorted(node.means.wrong_shares),
            "pace": round(node.pace, 3) if node.tasks else None,
            "tasks": node.tasks,
            "failed": node.failed,
        }

    def _make(self, name: str) -> Node:
        with self._lock:
            node = self._nodes.get(name)
            if node is None:
                if len(self._nodes) >= MAX_NODES:
                    self._forget_oldest()
                node = Node(name)
                node.paused = bool(self._settings.folder("nodes").get(_ident(name), {}).get("paused"))
                self._nodes[name] = node
            return node

    def _forget_oldest(self) -> None:
        idle = sorted((n for n in self._nodes.values() if not n.held), key=lambda n: n.seen)
        for node in idle[: MAX_NODES // 10]:
            del self._nodes[node.name]

    def _follow_settings(self) -> None:
        configured = self._settings.folder("nodes")
        if configured is self._configured:
            return
        self._configured = configured
        self._farm_paused = bool(configured.get(FARM, {}).get("paused"))
        for ident, data in configured.items():
            if ident != FARM:
                name = data.get("name")
                self.known(name if isinstance(name, str) and name else ident)
        for node in list(self._nodes.values()):
            node.paused = bool(configured.get(_ident(node.name), {}).get("paused"))


def _ident(name: str) -> str:
    """The name of a node's configuration file."""
    if IDENT.match(name) and not name.startswith("@"):
        return name
    return "@" + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:20]
