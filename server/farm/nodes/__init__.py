"""The nodes that talk to us: who they are, what they can do, what they hold, how they fare.

All of it lives in memory and is heard anew from each node's requests; what a person decided, and that a
node is sick, is written to the configuration.

    node       one node, and the gate before new work
    wishes     what people decided for it
    notebook   its file
    shown      how the API shows it
    schedule   the hours in which it may work
    sickness   when it fails too often
    pace       how often nodes report and ask
    waiting    computers that ask to join
"""

from __future__ import annotations

import threading
import zoneinfo
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from server.disk.errors import BadInput, NotFound
from server.disk.settings import Settings
from server.disk.speech import say
from server.farm.nodes import shown, wishes
from server.farm.nodes.node import AWAY_HEARTBEATS, NOT_OPEN, UPDATE_S, Node
from server.farm.nodes.notebook import FARM, Notebook, ident
from server.farm.nodes.pace import Pace, pace
from server.farm.scheduler import Means

__all__ = ["AWAY_HEARTBEATS", "Node", "Nodes"]

MAX_NODES = 20_000  # single-use nodes come and go: the oldest that are away are forgotten
IDENTITY = (
    "protocol",
    "paths",
    "programs",
    "provides",
    "slots",
    "hardware",
    "mac",
    "version",
    "does",
    "gpus",
)
SINGLE_USE_S = 900.0  # a node that was to be used once is forgotten when it was away for so long


class Nodes:
    """All nodes by name. Written by the threads that answer nodes, each for its own."""

    def __init__(self, settings: Settings, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self._settings = settings
        self.notebook = Notebook(settings)
        self._monotonic = monotonic
        self._wall = wall
        self._nodes: dict[str, Node] = {}
        self._paces: Mapping[str, tuple[float, float]] = {}
        self._lock = threading.Lock()
        self._configured: Mapping[str, dict[str, Any]] | None = None
        self._farm_paused = False
        self._zone: zoneinfo.ZoneInfo | None = None
        self._pace = pace(0, {}, float(settings.get("heartbeat_s")), float(settings.get("lease_s")))
        self._pace_until = 0.0
        self.wrong: dict[str, str] = {}  # configuration file -> what of it makes no sense
        self.program: dict[str, str] = {}  # what nodes can bring themselves up to date with

    def __len__(self) -> int:
        return len(self._nodes)

    def all(self) -> list[Node]:
        """Every node that was heard of or configured, by name."""
        self._follow_settings()
        now = self._monotonic()
        for node in self.present():
            if node.single_use and not node.held and now - node.seen > SINGLE_USE_S:
                self._nodes.pop(node.name, None)
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
            raise NotFound("There is no node {name}.", name=repr(name[:100]))
        return node

    def find(self, name: str) -> Node | None:
        """One node; None when it was never heard of."""
        return self._nodes.get(name)

    def meet(self, name: str) -> Node:
        """The node of this name, which talks right now. `seen` is set."""
        node = self._nodes.get(name)
        if node is None:
            if not name or len(name) > 128 or not name.isprintable():
                raise BadInput("A node's name is 1 to 128 printable characters.")
            node = self._make(name)
        now = self._monotonic()
        node.at = ""
        if node.left or not node.seen_at or now - node.seen > AWAY_HEARTBEATS * self.heartbeat_s() + 1:
            node.came = now
            node.left = False
            self._pace_until = 0.0
        node.seen = now
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
        shares = node.means.shares
        wrong: frozenset[str] | None = None
        if isinstance(paths, Mapping):
            shares = frozenset(str(name) for name in paths)
            node.proofs = {
                str(name): _proof(marker, share_ids.get(str(name))) for name, marker in paths.items()
            }
            wrong = frozenset(name for name, proof in node.proofs.items() if proof == "other")
        programs = told.get("programs")
        programs = {str(k): str(v) for k, v in programs.items()} if isinstance(programs, Mapping) else {}
        if isinstance(told.get("provides"), list) and (protocol > 1 or node.means.shares is None):
            node.provides = frozenset(map(str, told["provides"]))
        slots = told.get("slots", 1)
        hardware = told.get("hardware")
        before = (node.means, node.slots, node.version, node.build)
        node.protocol = protocol
        node.programs = programs
        does = told.get("does")
        node.does = frozenset(map(str, does)) if isinstance(does, list) else None
        node.slots = slots if isinstance(slots, int) and 1 <= slots <= 256 else 1
        node.version = str(told.get("version", ""))[:60]
        node.build = str(told.get("build", ""))[:40]
        node.single_use = told.get("single_use") is True
        node.place, node.run = _name(told, "prenode"), _name(told, "run")
        node.hardware = dict(hardware) if isinstance(hardware, Mapping) else {}
        if isinstance(told.get("mac"), str):
            node.hardware["mac"] = told["mac"][:40]
        node.take_note(told)
        self.equip(node, shares, wrong or frozenset())
        node.identity = {key: told[key] for key in IDENTITY if key in told}
        if (node.version, node.build) != before[2:]:
            node.versions.appendleft((self._wall(), node.version, node.build))
        return before != (node.means, node.slots, node.version, node.build)

    def equip(
        self, node: Node, shares: frozenset[str] | None = None, wrong: frozenset[str] | None = None
    ) -> None:
        """Say anew what a node has, of what it told and of the labels that people gave it."""
        old = node.means
        means = Means(
            protocol=node.protocol,
            shares=old.shares if shares is None else shares,
            wrong_shares=old.wrong_shares if wrong is None else wrong,
            provides=node.provides | node.wishes.tags,
            programs=frozenset(node.programs),
            does=node.does,
            memory_mb=_memory_mb(node.hardware),
            groups=node.wishes.groups,
            place=node.place,
        )
        if old != means:
            node.means = means

    def change(self, name: str, changes: Mapping[str, Any], who: str = "") -> Node:
        """Do as a person wishes; it keeps through restarts. BadInput for what makes no sense."""
        node = self.get(name)
        fresh = wishes.changed(node.wishes, changes)
        if "paused" in changes:
            fresh = wishes.changed(fresh, {"paused_by": who if fresh.paused else ""})
        said = {key: value for key, value in fresh.view().items() if key in changes}
        if "paused" in changes:
            said["paused_by"] = fresh.paused_by
        self.notebook.change(name, lambda kept: {**kept, **said})
        self._wish(node, fresh)
        if changes.get("paused") is False:
            node.sickness.forgive()
        self._configured = None
        return node

    def taken(self, name: str) -> str:
        """Why a computer that asks to join can't have this name; "" when it can: nobody has it, or one that
        is away, which an admin may replace."""
        now, heartbeat_s = self._monotonic(), self.heartbeat_s()
        for node in self.present():
            here = node.state(now, heartbeat_s) not in NOT_OPEN
            if here and node.name.casefold() == name.casefold():
                return say(
                    "There is a computer called {node} already: give this one another name.", node=node.name
                )
        return ""

    def heard_of(self, name: str) -> bool:
        """Whether a node of this name was ever here."""
        node = self._nodes.get(name)
        return node is not None and bool(node.seen_at)

    def admit(self, name: str, who: str) -> None:
        """Note who let a node in."""
        self.known(name)
        self.change(name, {"approved": who})

    def forget(self, name: str) -> dict[str, Any]:
        """Know nothing more of a node: what was decided for it, to be put back by `restore`."""
        kept = self.notebook.remove(name)
        self._configured = None
        with self._lock:
            self._nodes.pop(name, None)
        return {**kept, "name": name}

    def restore(self, name: str, kept: Mapping[str, Any]) -> Node:
        """Take a forgotten node in again, with what was decided for it."""
        self.notebook.change(name, lambda _: dict(kept))
        self._configured = None
        return self.known(name)

    def keep(self) -> None:
        """Write down which nodes have fallen ill since it was called last, and which are well again: so that
        a server that starts knows, and others do. What people and other servers wrote counts from now on."""
        self._follow_settings()
        now = self._monotonic()
        for node in self.present():
            if node.sickness.changes != node.kept and not node.single_use:
                self.notebook.keep(node, now, self._wall() - now)

    def learn(self, paces: Mapping[str, tuple[float, float]]) -> None:
        """After a start, from the jobs: how many times as long as others each node takes, and the seconds of
        a task there."""
        self._paces = paces
        for node in self.present():
            node.learn(*paces.get(node.name, (0.0, 0.0)))

    def forget_unheard(self, name: str) -> None:
        """Forget one that was admitted and never came."""
        node = self._nodes.get(name)
        if node is not None and not node.seen_at:
            self.forget(name)

    def update(self, node: Node) -> None:
        """Have it bring itself up to date."""
        node.update_said = ""
        node.updates_until = self._monotonic() + UPDATE_S

    def behind(self, node: Node) -> bool:
        """Whether its program is another than the one that this server offers."""
        if not self.program or node.protocol < 2 or not node.seen_at:
            return False
        if node.build:
            return node.build != self.program["build"]
        return node.version != self.program["version"]

    def pause(self, name: str, paused: bool, who: str = "") -> Node:
        """Give a node no new tasks, or again."""
        return self.change(name, {"paused": paused}, who)

    @property
    def farm_paused(self) -> bool:
        """No node gets new tasks."""
        self._follow_settings()
        return self._farm_paused

    def pause_farm(self, paused: bool) -> None:
        """Stop giving out tasks, or go on."""
        self.notebook.pause_farm(paused)
        self._farm_paused = paused
        self._configured = None

    def heartbeat_s(self) -> float:
        """How often nodes are to report now."""
        return self.pace().heartbeat_s

    def pace(self) -> Pace:
        """How often nodes report and ask, by how many there are; counted anew each second."""
        now = self._monotonic()
        if now >= self._pace_until:
            self._pace_until = now + max(1.0, len(self._nodes) / 500)
            beat_s = self._pace.heartbeat_s
            idle: Counter[Hashable] = Counter()
            here = 0
            for node in self.present():
                if node.at:
                    continue
                state = node.state(now, beat_s)
                here += state not in NOT_OPEN
                if state == "idle" or (state == "busy" and len(node.held) < node.slots):
                    idle[kind_of(node)] += 1
            configured, lease_s = (
                float(self._settings.get("heartbeat_s")),
                float(self._settings.get("lease_s")),
            )
            self._pace = pace(here, idle, configured, lease_s)
        return self._pace

    def idle_s(self, node: Node) -> float:
        """How long this node waits before it asks again; one that gets nothing anyway: a heartbeat."""
        if node.closed(self._monotonic()) or self._farm_paused:
            return self.heartbeat_s()
        return self.pace().idle_of(kind_of(node))

    def zone(self) -> zoneinfo.ZoneInfo:
        """The time zone of schedules."""
        name = str(self._settings.get("timezone"))
        if self._zone is None or self._zone.key != name:
            try:
                self._zone = zoneinfo.ZoneInfo(name)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                if self._zone is None:
                    self._zone = zoneinfo.ZoneInfo("UTC")
        return self._zone

    def view(self, node: Node, heartbeat_s: float) -> dict[str, Any]:
        """A node as the API shows it; `doing` is the farm's to add."""
        now = self._monotonic()
        told = shown.view(node, now, heartbeat_s)
        sickness = node.sickness.record(now, self._wall() - now)
        sickness.pop("spells", None)
        return {**told, "behind": self.behind(node), "sickness": sickness or None}

    def _make(self, name: str) -> Node:
        with self._lock:
            node = self._nodes.get(name)
            if node is None:
                if len(self._nodes) >= MAX_NODES:
                    self._forget_oldest()
                node = Node(name, self._wall, self.zone)
                told, now = self.notebook.of(name), self._monotonic()
                self._wish(node, wishes.read(told)[0])
                self.notebook.recall(node, told, now, self._wall() - now)
                node.learn(*self._paces.get(name, (0.0, 0.0)))
                self._nodes[name] = node
            return node

    def _forget_oldest(self) -> None:
        idle = sorted((n for n in self._nodes.values() if not n.held), key=lambda n: n.seen)
        for node in idle[: MAX_NODES // 10]:
            del self._nodes[node.name]

    def _follow_settings(self) -> None:
        configured = self.notebook.all()
        if configured is self._configured:
            return
        self._configured = configured
        self._farm_paused = bool(configured.get(FARM, {}).get("paused"))
        for key, data in configured.items():
            if key != FARM:
                name = data.get("name")
                self.known(name if isinstance(name, str) and name else key)
        self.wrong = {}
        now = self._monotonic()
        for node in list(self._nodes.values()):
            told = configured.get(ident(node.name), {})
            fresh, wrong = wishes.read(told)
            if wrong:
                self.wrong[ident(node.name)] = wrong
            self._wish(node, fresh)
            self.notebook.recall(node, told, now, self._wall() - now)

    def _wish(self, node: Node, fresh: wishes.Wishes) -> None:
        if node.wishes != fresh:
            node.wishes = fresh
            self.equip(node)


def _proof(theirs: Any, ours: str | None) -> str:
    """Whether a node's share is the same as ours, by the ids on their markers."""
    if not theirs or not ours:
        return "unproven"
    return "same" if theirs == ours else "other"


def kind_of(node: Node) -> Hashable:
    """Nodes of one kind can do the same work, or nearly: memory counts by its power of two."""
    means = node.means
    what = (means.provides, means.programs, means.does, means.groups, means.memory_mb.bit_length())
    return (means.protocol, means.shares, means.wrong_shares, *what)


def _memory_mb(hardware: Mapping[str, Any]) -> int:
    found = hardware.get("memory_mb")
    return int(found) if isinstance(found, (int, float)) and 0 < found < 1e9 else 0


def _name(told: Mapping[str, Any], key: str) -> str:
    value = told.get(key)
    return value[:200] if isinstance(value, str) else ""
