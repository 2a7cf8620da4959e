"""Other servers of this configuration, and the nodes that talk with them.

Each server holds a lock of its own for as long as it lives; when it dies the kernel lets go of that. While
another one lives, and only then, it writes `servers/<server>.json`: which nodes talk with it and what they
can do. Written when something of that changes, never with heartbeats or frames. What another's file says is
taken over into our nodes, except for those that talk with us as well.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.disk import encoding, files, paths
from server.disk.errors import CroftError
from server.disk.locks import Held
from server.farm.committer.board import Board
from server.farm.nodes import AWAY_HEARTBEATS, Node, Nodes
from server.farm.nodes.node import NOT_OPEN

log = logging.getLogger("croft.farm")

LOOK_S = 2.0  # between two looks at most; a node that has come is known to the others by then
FOLDER = "servers"
PREFIX, SUFFIX = "server-", ".lock"
MAX_BYTES = 64 << 20
MOST_NODES = 20_000
TOLD = ("at_keyboard", "idle_only", "can_shutdown")
FACTS = {"build": "build", "single_use": "single_use", "prenode": "place", "run": "run"}  # as said, as kept


@dataclass(slots=True)
class Other:
    """Another server, as its file was last."""

    seen: tuple[int, int, int] = (0, 0, 0)
    at: str = ""  # its computer
    power: bool = False  # it switches nodes off and wakes them
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Neighbours:
    """`start` to `close`; `look` is a duty of the keeper's thread."""

    def __init__(self, board: Board, nodes: Nodes, folder: Path, power: bool) -> None:
        """`folder` is the configuration's; `power`: whether this server switches nodes off and wakes them."""
        self._board = board
        self._nodes = nodes
        self._folder = folder / FOLDER
        self._power = power
        self._name = paths.safe_name(board.server)
        self._locks = nodes.notebook.locks
        self._life = ExitStack()
        self._held: Held | None = None
        self._due = float("-inf")
        self._looking = threading.Lock()
        self._others: dict[str, Other] = {}
        self._signs: dict[str, tuple[Any, ...]] = {}  # what our file says of each node, told apart quickly
        self._written = False
        self._taken: dict[str, Mapping[str, Any]] = {}  # what was taken over from others' files

    def start(self) -> None:
        """Be alive, for the others."""
        try:
            self._held = self._life.enter_context(self._locks.hold(PREFIX + self._name, 1.0))
        except (CroftError, OSError) as error:
            log.warning("other servers won't know of this one: %s", error)

    def close(self) -> None:
        """Be gone."""
        self._forget_file(self._name)
        if self._held is not None and self._held.still():
            with contextlib.suppress(OSError):
                os.unlink(self._held.path)
        self._life.close()
        self._held = None

    def leads(self) -> bool:
        """Whether this server is the one that wakes nodes that are off: one is enough."""
        return not any(other.power and name < self._name for name, other in list(self._others.items()))

    def look(self) -> None:
        """Who else lives, what do they say, what do they have to know?"""
        now = self._board.monotonic()
        if now >= self._due:
            self._due = now + min(LOOK_S, self._nodes.heartbeat_s())
            self.look_now()

    def look_now(self) -> None:
        """The same, however young the last look is."""
        with self._looking:
            self._look(self._board.monotonic())

    def _look(self, now: float) -> None:
        if self._held is not None and not self._held.still():
            # Somebody deleted it, or put back a backup.
            self._life.close()
            self._held = None
            self.start()
        alive = self._alive()
        for name in self._others.keys() - alive:
            del self._others[name]
        self._tell(bool(alive))
        for name in alive:
            self._hear(name, self._others.setdefault(name, Other()))
        self._take_over(now)

    def _alive(self) -> set[str]:
        """The other servers that live. What dead ones left is taken away."""
        found: set[str] = set()
        try:
            names = os.listdir(self._locks.folder)
        except OSError:
            return found
        for key in [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]:
            name = key.removeprefix(PREFIX)
            if name == key or name == self._name:
                continue
            try:
                with self._locks.try_hold(key) as held:
                    if held is None:
                        found.add(name)
                    elif held.still():
                        self._forget_file(name)
                        os.unlink(held.path)
            except (CroftError, OSError) as error:
                log.info("whether the server %s lives can't be said: %s", name, error)
        return found

    # -- what others are told -------------------------------------------------------------------------

    def _tell(self, anybody: bool) -> None:
        if not anybody:
            if self._written:
                self._forget_file(self._name)
                self._written, self._signs = False, {}
            return
        now, heartbeat_s = self._board.monotonic(), self._nodes.heartbeat_s()
        signs: dict[str, tuple[Any, ...]] = {}
        told: list[Node] = []
        for node in self._nodes.present():
            if not node.seen_at or node.at:
                continue
            here = node.state(now, heartbeat_s) not in NOT_OPEN
            if here or node.power_state:
                signs[node.name] = (
                    *(here, node.means, node.slots, node.version, node.build, node.run, node.proofs),
                    *(node.power_state, node.power_words, *map(node.told.get, TOLD)),
                )
                told.append(node)
        if self._written and signs == self._signs:
            return
        found = {node.name: _record(node, signs[node.name][0]) for node in told[:MOST_NODES]}
        said = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "power": self._power,
            "nodes": found,
        }
        try:
            self._folder.mkdir(exist_ok=True)
            files.write_atomic(self._path(self._name), encoding.dumps(said), disk=self._board.disk)
            self._written, self._signs = True, signs
        except (CroftError, OSError) as error:
            log.warning("other servers can't be told of the nodes here: %s", error)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _forget_file(self, name: str) -> None:
        with contextlib.suppress(OSError):
            self._path(name).unlink()

    # -- what others tell -----------------------------------------------------------------------------

    def _hear(self, name: str, other: Other) -> None:
        """Read another's file where it changed."""
        path = self._path(name)
        try:
            st = os.stat(path)
            seen = (st.st_mtime_ns, st.st_size, st.st_ino)
            if seen == other.seen:
                return
            told = encoding.loads(files.read_bounded(path, MAX_BYTES)[0])
        except FileNotFoundError:
            return  # it has only just begun
        except (CroftError, OSError, ValueError) as error:
            log.info("what the server %s says can't be read: %s", name, error)
            return
        nodes = told.get("nodes") if isinstance(told, Mapping) else None
        if not isinstance(nodes, Mapping):
            return
        host, process = str(told.get("host"))[:100], told.get("process")
        other.seen = seen
        other.at = host if host != socket.gethostname() else f"{host}, process {process}"
        other.power = told.get("power") is True
        known = other.nodes
        # The same object as long as it says the same: that is how a change is noticed.
        other.nodes = {
            str(one): known[one] if known.get(one) == record else record
            for one, record in list(nodes.items())[:MOST_NODES]
            if isinstance(record, Mapping) and isinstance(record.get("says"), Mapping) and _is_name(one)
        }

    def _take_over(self, now: float) -> None:
        """Have our nodes be as the others say of those that talk with them alone."""
        found: dict[str, tuple[str, Mapping[str, Any]]] = {}
        for other in self._others.values():
            for name, record in other.nodes.items():
                if name not in found or record.get("here") is True:
                    found[name] = (other.at, record)
        leads = self.leads()
        ids = {share.name: share.id for share in self._board.store.shares} if found else {}
        for name, (at, record) in found.items():
            news = self._taken.get(name) is not record
            if self._hear_of(name, at, record, ids if news else None, leads):
                self._taken[name] = record
                if news:
                    self._board.tell("node", name)
        for name in self._taken.keys() - found.keys():
            del self._taken[name]
            if self._lose(name):
                self._board.tell("node", name)

    def _hear_of(
        self,
        name: str,
        at: str,
        told: Mapping[str, Any],
        ids: Mapping[str, str] | None,
        leads: bool,
    ) -> bool:
        """What is told of a node; False where it talks with us. `ids` of our shares: where it is news.
        `leads`: it is we who wake nodes, and know best of that."""
        nodes, now = self._nodes, self._board.monotonic()
        node = nodes.known(name)
        if not node.at and node.seen_at and node.state(now, nodes.heartbeat_s()) not in NOT_OPEN:
            return False
        here = told.get("here") is True
        if ids is not None:
            nodes.describe(node, told["says"], ids)
            shares = told.get("shares")
            nodes.equip(node, frozenset(map(str, shares)) if isinstance(shares, list) else None)
            if here or not leads or not node.power_state:
                node.power_state = str(told.get("power") or "")
                node.power_words = str(told.get("power_words") or "")
        if not here:
            return not node.at or self._lose(name)
        if not node.at:
            node.came, node.left = now, False
            node.leaves_until = node.updates_until = 0.0  # it has begun anew there
        node.at, node.seen, node.seen_at = at, now, self._board.wall()
        return True

    def _lose(self, name: str) -> bool:
        """No other server has it any more. False where it talks with us, or is forgotten."""
        node = self._nodes.find(name)
        if node is None or not node.at:
            return False
        node.at = ""
        node.seen = self._board.monotonic() - AWAY_HEARTBEATS * self._nodes.heartbeat_s() - 2
        return True


def _record(node: Node, here: bool) -> dict[str, Any]:
    """What others need to know of a node: what it says of itself, but for what changes all the time."""
    says = {**node.identity, **{said: getattr(node, kept) for said, kept in FACTS.items()}}
    says["hardware"] = node.hardware
    says.update({key: node.told[key] for key in TOLD if key in node.told})
    shares = node.means.shares
    return {
        "here": here,
        "says": says,
        "shares": None if shares is None else sorted(shares),
        "power": node.power_state,
        "power_words": node.power_words,
    }


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= 128 and name.isprintable()
