"""The thread that shuts nodes down and wakes them: it asks `power.decide` every few seconds and obeys.

What it knows of nodes that are not here (when they went, whether they were called and came) lives in memory
and, as far as it must outlive a restart, in the ledger. A node is shut down by its own hand: it is told so
with its next heartbeat, and only if its own configuration allows it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from server.disk.errors import Conflict, NotFound
from server.disk.speech import say
from server.farm.committer.board import Board
from server.farm.nodes import Node, Nodes
from server.farm.nodes.node import AWAY_HEARTBEATS, LEAVE_S
from server.farm.power import packet
from server.farm.power.decide import COME_S, Demand, Machine, Step, decide, later_s
from server.farm.power.ledger import Account, Ledger
from server.farm.scheduler import Need, misfit

log = logging.getLogger("croft.farm")

LOST_TRIES = 2  # calls in vain, before it is a problem
LOOK_S = 5.0  # at most so long between two looks
START_HEARTBEATS = 6  # after a start: nodes that are on have so long to report before others are called
WENT = say("was switched off by the farm")


@dataclass(slots=True)
class Known:
    """What is remembered of one node's power. Times are monotonic."""

    gone: float = float("-inf")  # when it went
    was_on: bool = False
    busy_at: float = float("-inf")  # when it was last seen at work
    told: bool = False  # it was told to shut down, by whomever
    called: float = 0.0
    sent: float = 0.0
    tries: int = 0
    not_before: float = 0.0


class Powering:
    """Started and closed with the farm. `tick` is one round, for tests."""

    def __init__(
        self,
        board: Board,
        nodes: Nodes,
        ledger: Ledger,
        wall: Callable[[], float],
        send: Callable[[str, Sequence[str]], list[str]] = packet.wake,
    ) -> None:
        self.ledger = ledger
        self._board = board
        self._nodes = nodes
        self._wall = wall
        self._send = send
        self.leads: Callable[[], bool] = lambda: True  # whether it is this server that wakes nodes
        self._known: dict[str, Known] = {}
        self._since: dict[Need, float] = {}  # since when work of this kind waits
        self._began = board.monotonic()
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="farm-power", daemon=True)
        self.faults = 0
        for name, account in ledger.accounts.items():
            self._recall(name, account)

    def _recall(self, name: str, account: Account) -> None:
        """What was known of a node before the server was started, while it doesn't speak for itself."""
        try:
            node = self._nodes.get(name)
        except NotFound:
            return  # it was forgotten since
        if not node.seen_at and account.identity:
            self._nodes.describe(node, account.identity, {})
        if account.off_at:
            self._known[name] = Known(gone=self._began - max(0.0, self._wall() - account.off_at))
            node.power_state, node.power_words = "off", WENT

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(timeout=20)

    def _run(self) -> None:
        while not self._ending.wait(min(LOOK_S, self._nodes.heartbeat_s())):
            try:
                self.tick()
            except Exception:
                self.faults += 1
                log.exception("the farm's power stumbled")

    # -- one round ------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Look who came and went, decide, do."""
        now = self._board.monotonic()
        with self._lock:
            nodes = [node for node in self._nodes.all() if self._concerns(node)]
            if not nodes:
                return
            for node in nodes:
                self._look(node, now)
            everybody = self._nodes.present()
            machines = [self._machine(node, now) for node in everybody]
            demands = self._demands(everybody, now)
            if not self.leads() or now - self._began < START_HEARTBEATS * self._nodes.heartbeat_s():
                machines = [m for m in machines if m.on]
            for step in decide(machines, demands, now):
                self._do(step, now)

    def _concerns(self, node: Node) -> bool:
        power = node.wishes.power
        return power.shutdown or power.wake or node.name in self._known

    def _look(self, node: Node, now: float) -> None:
        """Has it come, has it gone?"""
        known = self._known.setdefault(node.name, Known())
        is_on = self._is_on(node, now)
        if node.held:
            known.busy_at = now
        if is_on and not known.was_on:
            if known.called:
                node.power_words = ""
            known.called, known.tries, known.not_before, known.told = 0.0, 0, 0.0, False
            node.power_state = ""
            self.ledger.on(node.name, self._wall())
            self._tell(node)
        elif not is_on and known.was_on:
            known.gone = now
            if known.told:
                node.power_state, node.power_words = "off", WENT
                self.ledger.off(node.name, self._wall(), node.identity)
            self._tell(node)
        elif not is_on and not known.called and not node.power_state and self._is_off(node):
            node.power_state = "off"
            node.power_words = node.power_words or WENT
        known.was_on = is_on
        if is_on and known.told and now >= node.leaves_until and node.leaves_until:
            known.told, node.leaves_until = False, 0.0
            known.not_before = now + later_s(1)
            node.power_words = say("was told to switch itself off, and is still on")
            self._tell(node)
        if is_on and not node.at and node.wishes.power.wake and node.identity:
            self.ledger.know(node.name, self._wall(), node.identity)

    def _is_on(self, node: Node, now: float) -> bool:
        return bool(node.seen_at) and not node.left and not self._silent(node, now)

    def _silent(self, node: Node, now: float) -> bool:
        return now - node.seen > AWAY_HEARTBEATS * self._nodes.heartbeat_s() + 1

    def _is_off(self, node: Node) -> bool:
        account = self.ledger.accounts.get(node.name)
        return account is not None and bool(account.off_at)

    def _machine(self, node: Node, now: float) -> Machine:
        known = self._known.get(node.name) or Known()
        power, is_on = node.wishes.power, self._is_on(node, now)
        closed = node.closed(now)
        paused = node.wishes.paused or node.wishes.draining
        used = node.told.get("at_keyboard") is True
        mac = power.mac or str(node.hardware.get("mac") or "")
        allowed = power.shutdown and not node.at and node.told.get("can_shutdown") is not False
        return Machine(
            name=node.name,
            on=is_on,
            since=node.came if is_on else known.gone,
            busy=bool(node.held),
            idle_since=max(node.came, known.busy_at),
            may_sleep=allowed and now >= known.not_before,
            may_wake=power.wake and bool(mac),
            open=not closed if is_on else not paused and node.in_hours(),
            open_for_s=node.hours_left_s(),
            hands_off=paused or (is_on and (used or now < node.updates_until)),
            slots=node.slots,
            idle_s=power.idle_minutes * 60,
            least_up_s=power.least_up_minutes * 60,
            least_down_s=power.least_down_minutes * 60,
            leaving=now < node.leaves_until,
            called=known.called,
            sent=known.sent,
            tries=known.tries,
            not_before=known.not_before,
        )

    def _demands(self, nodes: Sequence[Node], now: float) -> list[Demand]:
        """The work that waits, gathered by what it needs."""
        if self._nodes.farm_paused:
            return []
        tasks: dict[Need, int] = {}
        for need, count in self._board.waiting():
            tasks[need] = tasks.get(need, 0) + count
        self._since = {need: self._since.get(need, now) for need in tasks}
        return [
            Demand(
                count,
                self._since[need],
                frozenset(node.name for node in nodes if not misfit(need, node.means)),
            )
            for need, count in tasks.items()
        ]

    # -- doing ----------------------------------------------------------------------------------------

    def _do(self, step: Step, now: float) -> None:
        node = self._nodes.known(step.name)
        known = self._known.setdefault(step.name, Known())
        if step.do == "off":
            log.info("%s is told to switch itself off: %s", node.name, step.why)
            self._leave(node, known, now, say("is switched off: {why}", why=step.why))
        elif step.do in ("wake", "again"):
            self._call(
                node, known, now, say("is called: {why}", why=step.why) if step.why else node.power_words
            )
        elif step.do == "lost":
            known.tries += 1
            known.called = known.sent = 0.0
            known.not_before = now + later_s(known.tries)
            node.power_state = "off" if self._is_off(node) else ""
            times = "once" if known.tries == 1 else say("{tries} times", tries=known.tries)
            node.power_words = say(
                "was called {times} and did not come; again in {later_s:.0f} minutes. Is Wake-on-LAN "
                "switched on in its BIOS, and its cable in?",
                times=times,
                later_s=later_s(known.tries) / 60,
            )
            log.warning("%s %s", node.name, node.power_words)
        self._tell(node)

    def _leave(self, node: Node, known: Known, now: float, why: str) -> None:
        node.leaves_until = now + LEAVE_S
        node.power_words = why
        known.told = known.was_on = True

    def _call(self, node: Node, known: Known, now: float, why: str) -> None:
        mac = node.wishes.power.mac or str(node.hardware.get("mac") or "")
        known.called, known.sent = known.called or now, now
        node.power_state, node.power_words = "waking", why
        try:
            troubles = self._send(mac, list(self._board.settings.get("wake_to")))
        except (ValueError, OSError) as error:
            troubles = [str(error)]
        if troubles:
            node.power_words = say("could not be called: {troubles}", troubles="; ".join(troubles))
            log.warning("%s %s", node.name, node.power_words)

    def _tell(self, node: Node) -> None:
        self._board.tell("node", node.name)

    # -- by hand --------------------------------------------------------------------------------------

    def wake(self, node: Node, who: str = "") -> None:
        """A person calls it, or takes back that it shall leave. Conflict where that can't be."""
        now = self._board.monotonic()
        with self._lock:
            known = self._known.setdefault(node.name, Known())
            if self._is_on(node, now):
                if now >= node.leaves_until:
                    raise Conflict("{node} is on.", node=node.name)
                node.leaves_until, known.told, node.power_words = 0.0, False, ""
            elif not (node.wishes.power.mac or node.hardware.get("mac")):
                text = say("its network card's address isn't known. Write it down under Power, on its page.")
                raise Conflict("{node} can't be woken: {text}", node=node.name, text=text)
            else:
                known.called = now
                self._call(node, known, now, say("is called{who}", who=" by " + who if who else ""))
        self._tell(node)

    def shut_down(self, node: Node, who: str = "") -> None:
        """A person switches it off: it finishes what it has. Conflict where that can't be."""
        now = self._board.monotonic()
        node.must_be_ours()
        with self._lock:
            if not self._is_on(node, now):
                raise Conflict("{node} isn't on.", node=node.name)
            if node.protocol < 2 or node.told.get("can_shutdown") is False:
                text = say('put "allow_shutdown": true into its config.json.')
                raise Conflict(
                    "{node} doesn't let itself be switched off from here: {text}", node=node.name, text=text
                )
            known = self._known.setdefault(node.name, Known())
            self._leave(node, known, now, say("is switched off{who}", who=" by " + who if who else ""))
        self._tell(node)

    def lost(self) -> list[Node]:
        """Nodes that were called in vain, again and again."""
        return [
            self._nodes.known(name) for name, known in list(self._known.items()) if known.tries >= LOST_TRIES
        ]

    def saved_hours(self, name: str = "") -> float:
        """For how long one node, or all, were off by the farm's doing."""
        now = self._wall()
        if not name:
            return self.ledger.saved_s(now) / 3600
        account = self.ledger.accounts.get(name)
        return account.saved(now) / 3600 if account is not None else 0.0


__all__ = ["COME_S", "Powering"]
