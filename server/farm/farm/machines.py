"""Nodes as people see and steer them: change, admit, forget, pause them all.

What is decided for a node is written to the configuration by the room below; here it is told to those who
look, and what nodes hold is taken back where a person wants that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from server.disk.errors import BadInput, Conflict, CroftError, NotFound
from server.farm.committer import Bundle, Committer
from server.farm.committer.board import Board
from server.farm.committer.decide import Op
from server.farm.committer.live import Live
from server.farm.farm import steer
from server.farm.farm.powering import Powering
from server.farm.farm.views import Views
from server.farm.jobs import states
from server.farm.nodes import Node, Nodes
from server.farm.nodes.node import NOT_OPEN
from server.farm.nodes.waiting import ADMITTED, REFUSED, WAIT, Asking, Waiting

log = logging.getLogger("croft.farm")

DOINGS = {"admit": ADMITTED, "refuse": REFUSED, "wait": WAIT}
FORGOTTEN = 100
ALL_S = 10.0  # so long it is waited for frames to be given back


class Machines:
    """Made once by the farm."""

    def __init__(
        self,
        board: Board,
        committer: Committer,
        nodes: Nodes,
        views: Views,
        wall: Callable[[], float],
        powering: Powering,
    ) -> None:
        self._board = board
        self._committer = committer
        self._nodes = nodes
        self._views = views
        self._forgotten: dict[str, dict[str, Any]] = {}  # the newest, to be remembered again
        self.powering = powering
        self.waiting = Waiting(board.monotonic, wall, nodes.taken, lambda name: board.tell("node", name))

    # -- looking --------------------------------------------------------------------------------------

    def all(self) -> list[dict[str, Any]]:
        """All nodes with what they do."""
        return [self._view(node) for node in self._nodes.all()]

    def one(self, name: str) -> dict[str, Any]:
        """One node; NotFound when it was never heard of."""
        return self._view(self._nodes.get(name))

    @property
    def paused(self) -> bool:
        """No node gets new tasks."""
        return self._nodes.farm_paused

    def _view(self, node: Node) -> dict[str, Any]:
        return {**self._views.node(node), "saved_hours": round(self.powering.saved_hours(node.name), 2)}

    def recent(self, name: str) -> list[dict[str, Any]]:
        """What became of its newest tasks since the server was started."""
        found = []
        for at, job_id, n, reason in list(self._nodes.get(name).recent):
            live = self._board.live.get(job_id) or self._board.ended.get(job_id)
            record = live.record if live is not None else {}
            found.append(
                {
                    "at": at,
                    "job": job_id,
                    "n": n,
                    "reason": reason,
                    "name": record.get("name"),
                    "project": record.get("project"),
                    "words": live.job.words_for(n) if isinstance(live, Live) else "",
                }
            )
        return found

    def versions(self, name: str) -> list[tuple[float, str, str]]:
        """Which of its programs have spoken since the server was started: when, version, build."""
        return list(self._nodes.get(name).versions)

    def asking(self) -> list[dict[str, Any]]:
        """Computers that ask to join; `replaces`: one of that name was here."""
        return [self.asking_view(one) for one in self.waiting.all()]

    def asking_view(self, one: Asking) -> dict[str, Any]:
        return {**one.view(), "replaces": self._nodes.heard_of(one.name)}

    # -- changing -------------------------------------------------------------------------------------

    def change(self, name: str, changes: Mapping[str, Any], who: str = "") -> dict[str, Any]:
        """Pause, drain, groups, tags, hours, power …: BadInput for what makes no sense."""
        node = self._nodes.change(name, changes, who)
        self._board.tell("node", name)
        if node.wishes.give_back and changes.keys() & {"schedule", "idle_only", "give_back"}:
            self._board.stirred.set()
        return self._view(node)

    def decide(self, code: str, do: str, who: str, revoke: Callable[[str], None]) -> dict[str, Any]:
        """Admit, refuse or let wait again who asks to join. `revoke(name)` takes a node's tokens back."""
        if do not in DOINGS:
            raise BadInput('Say "admit", "refuse" or "wait".', field="do")
        before = next((one for one in self.waiting.all() if one.code == code.strip().upper()), None)
        if do == "admit" and before is not None:
            revoke(before.name)  # of the computer that had the name
        one = self.waiting.decide(code, DOINGS[do], who)
        if do == "admit":
            self._nodes.admit(one.name, who)
        elif one.token or before is None:
            one.token = ""
            revoke(one.name)
            self._nodes.forget_unheard(one.name)
        return self.asking_view(one)

    def forget(self, name: str, revoke: Callable[[str], None]) -> dict[str, Any]:
        """Take a node out of the farm: its tokens are revoked, its settings go. Conflict while it renders."""
        node = self._nodes.get(name)
        node.must_be_ours()
        if node.held:
            raise Conflict("{name} still has frames: let it finish, or pause it and wait.", name=name)
        revoke(name)
        kept = self._forgotten[name] = self._nodes.forget(name)
        while len(self._forgotten) > FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]
        self._board.tell("node", name)
        return kept

    def remember(self, name: str) -> dict[str, Any]:
        """Take it back that a node was forgotten; NotFound where this process didn't do it."""
        if name not in self._forgotten:
            raise NotFound("No computer {name} was forgotten lately.", name=repr(name[:100]))
        node = self._nodes.restore(name, self._forgotten.pop(name))
        self._board.tell("node", name)
        return self._view(node)

    def wake(self, name: str, who: str = "") -> dict[str, Any]:
        """Call a node that is off, or take back that it is to leave."""
        node = self._nodes.get(name)
        self.powering.wake(node, who)
        return self._view(node)

    def shut_down(self, name: str, who: str = "") -> dict[str, Any]:
        """Have a node switch itself off once it has finished."""
        node = self._nodes.get(name)
        self.powering.shut_down(node, who)
        return self._view(node)

    def forgive(self, name: str, who: str) -> dict[str, Any]:
        """A person has looked after a node: it is well, and may have every job's tasks again."""
        node = self._nodes.get(name)
        node.sickness.forgive()
        for live in list(self._board.live.values()):
            if live.state not in states.ENDED and live.job.troubles.knows(name):
                try:
                    self._committer.ask(Op("act", live.id, act=steer.forgive([name], who)))
                except CroftError as error:
                    log.info("job %s doesn't forgive %s: %s", live.id, name, error)
        self._board.tell("node", name)
        return self._view(node)

    def pause_all(self, paused: bool, stop: bool = False) -> None:
        """Give out no tasks at all, or go on. `stop`: what renders is given back at once."""
        self._nodes.pause_farm(paused)
        self._board.tell("farm", "")
        if paused and stop:
            self.give_back([node for node in self._nodes.present() if node.held])
        for live in list(self._board.live.values()):
            if live.job.state in states.OPEN:
                self._board.tell("job", live.job.id)

    def give_back(self, nodes: list[Node]) -> None:
        """Take what these nodes hold back: others may have it, and they are told with their next report."""
        ops = [
            Op("release", job_id, claim.task, claim.code, attempt, node)
            for node in nodes
            for attempt, (job_id, claim) in list(node.held.items())
            if (live := self._board.live.get(job_id)) is None
            or node.can_stop(live.job.task_frame(claim.task))
        ]
        if ops:
            bundle = Bundle(ops=ops)
            self._committer.put(bundle)
            bundle.wait(ALL_S)

    def offer(self, program: dict[str, str]) -> None:
        """What nodes can bring themselves up to date with: version, build, url and sha256."""
        self._nodes.program = program

    def update(self, name: str) -> dict[str, Any]:
        """Have a node bring itself up to date once it is idle."""
        node = self._nodes.get(name)
        self._must_be_here(node)
        if node.protocol < 2:
            raise Conflict("{name} is a node of RFAM's: it can't be updated from here.", name=name)
        self._nodes.update(node)
        self._board.tell("node", name)
        return self._view(node)

    def _must_be_here(self, node: Node) -> None:
        node.must_be_ours()
        heartbeat_s = self._nodes.heartbeat_s()
        if node.state(self._board.monotonic(), heartbeat_s) in NOT_OPEN:
            raise Conflict("{node} isn't on at the moment.", node=node.name)
