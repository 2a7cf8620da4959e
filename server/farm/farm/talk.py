"""What nodes say and are told: the wire's requests and commandments, both protocols.

Reports, `info` and idle polls are answered from memory. Results and claims go through the committer, all
of one message in one bundle, and are answered when they are durable. A request that makes no sense is
passed over, so that one bad entry doesn't lose a node its finished frames.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from server.disk import encoding
from server.disk.errors import BadInput, Busy, CroftError, DiskError, DiskFull, Forbidden
from server.disk.speech import say
from server.farm.committer import Bundle, Committer, fail
from server.farm.committer.board import Board
from server.farm.committer.decide import Op, refused
from server.farm.committer.dressing import commandment
from server.farm.failures.rules import Found
from server.farm.jobs.attempts import Claim, split_attempt
from server.farm.nodes import AWAY_HEARTBEATS, Node
from server.farm.nodes.pace import ERROR_SCALE

MOST_INSIDE = 256  # messages that wait for a commit at once
HANGING_S = 5.0  # a commit that takes longer: the disk hangs
MOST_NAMES = 200  # of programs that a node is asked for
MAX_TASKS = 64  # that one request may claim
MAX_REQUESTS = 5000  # in one message: a node that was cut off for long delivers much at once
SILENT_HEARTBEATS = 2.5  # an attempt that a talking node doesn't report for so long is sent again
COPY_BACK_S = 60.0  # a job whose folder vanished may be coming back from a backup for so long
MEMORY_S = 3600.0  # how long a node may keep a renderer for nothing


class Talk:
    """Answers one message of one node."""

    def __init__(
        self,
        board: Board,
        committer: Committer,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._board = board
        self._committer = committer
        self._monotonic = monotonic
        self._wall = wall
        self._inside = threading.BoundedSemaphore(MOST_INSIDE)

    def talk(self, token_name: str, requests: Any) -> bytes:
        """The commandments for a list of requests, as JSON. `token_name`: whose token it is ('*': any)."""
        if not isinstance(requests, list):
            raise BadInput("A node sends a JSON list of requests.")
        if len(requests) > MAX_REQUESTS:
            raise BadInput("A node sends at most {max_requests} requests at once.", max_requests=MAX_REQUESTS)
        told = [r for r in requests if isinstance(r, dict)]
        node = self._who(token_name, told)
        answers: list[bytes] = []
        ops: list[Op] = []
        wants = 0
        tasks: dict[str, Any] | None = None
        informed = False
        for request in told:
            kind = request.get("id")
            if kind == "report":
                self._report(node, request, answers, ops)
            elif kind in ("done", "failed", "release"):
                op = self._result(node, kind, request, answers)
                if op is not None:
                    ops.append(op)
            elif kind == "task":
                tasks = request
                wants += _count(request.get("count", 1))
            elif kind == "info":
                self._note(node, request)
                answers.append(self._info(node))
                informed = True
        self._take_back(node, ops, answers)
        if tasks is not None:
            self._take_means(node, tasks)
            wants -= self._again(node, wants, answers, ops, told)
            wants = self._at_most(node, wants)
            if not self._may_have(node) or (not ops and not len(self._board.line)):
                wants = 0
            if not informed and self._asks_too_rarely(node):
                answers.append(self._info(node))
        if ops or wants > 0:
            self._commit(node, wants, ops, answers)
        return b"[" + b",".join(answers) + b"]"

    def _commit(self, node: Node, wants: int, ops: list[Op], answers: list[bytes]) -> None:
        # A disk that hangs must not hold a thread for every node: pages need some too.
        patience_s = 0.0 if self._committer.busy_s() > HANGING_S else HANGING_S
        if not self._inside.acquire(timeout=patience_s):
            raise Busy("The farm's disk does not answer. Try again.", path="", holder="", waited_s=patience_s)
        try:
            self._commit_now(node, wants, ops, answers)
        finally:
            self._inside.release()

    def _commit_now(self, node: Node, wants: int, ops: list[Op], answers: list[bytes]) -> None:
        bundle = Bundle(node, wants, ops)
        self._committer.put(bundle)
        bundle.wait()
        if node.protocol < 2 and any(isinstance(op.error, (Busy, DiskError, DiskFull)) for op in ops):
            # It takes any answer for a yes, and says its `done` again only where it got none.
            raise Busy("The farm's disk could not take this. Say it again.", path="", holder="", waited_s=0.0)
        if node.protocol >= 2:
            answers += [op.answer for op in ops if op.answer]
        answers += bundle.answers

    # -- who ------------------------------------------------------------------------------------------

    def _who(self, token_name: str, requests: list[dict[str, Any]]) -> Node:
        identity = next((r for r in requests if r.get("id") == "identity"), None)
        name = identity.get("name") if identity is not None else None
        if token_name and token_name != "*":
            if name is not None and name != token_name:
                raise Forbidden(
                    "This token is for the node {token_name}, not for {name}.",
                    token_name=repr(token_name),
                    name=repr(str(name)[:100]),
                )
            name = token_name
        if not isinstance(name, str):
            name = self._holder(requests)
        node = self._board.nodes.meet(name)
        if identity is not None:
            if isinstance(identity.get("instance"), str):
                patience_s = AWAY_HEARTBEATS * self._board.nodes.heartbeat_s()
                node.spoken_by(identity["instance"], self._monotonic(), patience_s)
            if "version" not in identity and isinstance(requests[0].get("version"), (int, str)):
                # RFAM's node puts it on whatever it says first.
                identity = {**identity, "version": requests[0]["version"]}
            ids = {share.name: share.id for share in self._board.store.shares}
            if self._board.nodes.describe(node, identity, ids):
                self._board.tell("node", node.name)
        return node

    def _holder(self, requests: list[dict[str, Any]]) -> str:
        """Who it is that doesn't say so: the node that holds one of the attempts it talks of."""
        for request in requests:
            found = split_attempt(request.get("uuid"))
            live = self._board.live.get(found[0]) if found is not None else None
            if live is None or found is None:
                continue
            claim = live.job.held(found[1], found[2])
            if claim is not None:
                return claim.node
            if live.job.was_accepted(found[1], found[2]):
                return live.job.done_by(found[1])
        raise BadInput('A node says who it is: {"id": "identity", "name": …}.')

    def _take_means(self, node: Node, request: Mapping[str, Any]) -> None:
        """A request for tasks names shares and labels too; RFAM's node says them nowhere else."""
        shares, provides = request.get("paths"), request.get("provides")
        if isinstance(provides, list):
            node.provides = frozenset(map(str, provides))
        named = frozenset(map(str, shares)) if isinstance(shares, (list, dict)) else None
        self._board.nodes.equip(node, named)

    # -- what it says ---------------------------------------------------------------------------------

    def _report(self, node: Node, request: dict[str, Any], answers: list[bytes], ops: list[Op]) -> None:
        found = split_attempt(request.get("uuid"))
        if found is None:
            if isinstance(request.get("uuid"), str):  # of the server that it served before us
                _kill(request, answers)
            return
        job_id, task, code = found
        live = self._board.live.get(job_id)
        claim = live.job.held(task, code) if live is not None else None
        if claim is None:
            if live is not None or self.surely_gone(job_id):
                self._board.refused_reports += 1
                _kill(request, answers)
            return
        assert live is not None
        now = self._monotonic()
        claim.deadline = now + float(self._board.settings.get("lease_s"))
        claim.reported = now
        if node.protocol >= 2:
            # RFAM's node says nothing of a Blender that ended: one that always ends later than a heartbeat
            # would be sent again for ever.
            claim.resent = False
        if isinstance(request.get("outputs"), list) and request["outputs"]:
            ops.append(Op("part", job_id, task, code, claim.attempt, node, request))
        progress = request.get("progress")
        if progress is None and request.get("total"):
            progress = _ratio(request.get("done"), request.get("total"))
        if isinstance(progress, (int, float)) and 0 <= progress <= 1 and progress != claim.progress:
            claim.progress = float(progress)
            self._board.tell("node", node.name)
        if isinstance(request.get("line"), str):
            claim.line = request["line"][:300]
        texts = self._board.texts
        news = "log" in request and texts.add(claim.attempt, request.get("log_at"), request["log"])
        if news and texts.watched([claim.attempt]):
            self._board.tell("log", claim.attempt)
        if fail.overruns(self._board, live, node, claim, request):
            told = {"seconds": request.get("seconds")}
            ops.append(Op("overrun", job_id, task, code, claim.attempt, node, told))
        elif claim.server != self._board.server and self._comes_to_us(claim, now):
            ops.append(Op("adopt", job_id, task, code, claim.attempt, node))

    def _comes_to_us(self, claim: Claim, now: float) -> bool:
        """Does a node report here for good what another server gave it? Where a proxy spreads messages over
        several servers each hears of it now and then, and it need not change hands every time."""
        if not claim.foreign_since:
            claim.foreign_since = now
        return now - claim.foreign_since > float(self._board.settings.get("lease_s")) / 3

    def surely_gone(self, job_id: str) -> bool:
        """Not merely out of sight: it was deleted, and isn't being copied back right now."""
        board = self._board
        if job_id in board.live or job_id in board.broken or job_id in board.store.index.jobs:
            return job_id in board.ended
        away_since = board.forgotten.get(job_id, (None, float("-inf")))[1]
        return self._monotonic() - away_since > COPY_BACK_S and not any(
            board.store.away(share.name) for share in board.store.shares
        )

    def _result(self, node: Node, kind: str, request: dict[str, Any], answers: list[bytes]) -> Op | None:
        uuid = request.get("uuid")
        found = split_attempt(uuid)
        if found is None or self._gone(found[0]):
            if node.protocol >= 2 and isinstance(uuid, str) and kind != "release":
                answers.append(refused(uuid, say("there is no such job")))
            return None
        op = Op(kind, *found, attempt=str(uuid), node=node, data=request)
        if kind == "failed":
            op.found = self._judge(*found[:2], request)
        return op

    def _judge(self, job_id: str, task: int, request: dict[str, Any]) -> Found | None:
        """What the rules say of a failure. Here, not in the committer's thread: a log may be long."""
        live, log = self._board.live.get(job_id), request.get("log")
        if live is None or not isinstance(log, str) or not 0 <= task < live.job.tasks:
            return None
        try:
            own: object = self._board.types.get(live.job.record.get("type")).rules
        except CroftError:
            own = ()
        return self._board.rules.judge(log, live.works[live.job.stage_of(task).index].need.programs, own)

    def _gone(self, job_id: str) -> bool:
        return job_id not in self._board.live and job_id not in self._board.ended and self.surely_gone(job_id)

    # -- what it is told ------------------------------------------------------------------------------

    def _info(self, node: Node) -> bytes:
        nodes, now = self._board.nodes, self._monotonic()
        pace = nodes.pace()
        node.told_idle = nodes.idle_s(node)
        told: dict[str, Any] = {
            "id": "info",
            "heartbeat": pace.heartbeat_s,
            "arrhythmia": pace.arrhythmia_s,
            "error_scale": ERROR_SCALE,
            "hibernation": pace.hibernation_s,
            "memory": MEMORY_S,
            "idle": node.told_idle,
            "server": self._board.server,
        }
        watched = self._board.texts.watched(node.held)
        if watched:
            told["watched"] = watched
        if node.protocol >= 2:
            unknown = self._board.types.asked_for() - node.programs.keys()
            if unknown:
                told["look_for"] = sorted(unknown)[:MOST_NAMES]
            closed = say("the farm is paused") if nodes.farm_paused else node.closed(now)
            if closed:
                told["closed"] = closed
            if now < node.leaves_until and not node.held:
                told["shutdown"] = True
            if now < node.updates_until and not node.held and nodes.program:
                told["update"] = nodes.program
        return encoding.dumps(told)

    def _asks_too_rarely(self, node: Node) -> bool:
        """Whether an idle node that was told to wait long is to ask more often now."""
        return node.protocol >= 2 and node.told_idle > 2 * self._board.nodes.idle_s(node)

    def _note(self, node: Node, request: Mapping[str, Any]) -> None:
        """What a node says of itself with its heartbeat; told on where it changes what the node may do."""
        before = node.closed(self._monotonic()), node.left, node.update_said
        node.take_note(request)
        if before != (node.closed(self._monotonic()), node.left, node.update_said):
            self._board.tell("node", node.name)

    def _take_back(self, node: Node, ops: list[Op], answers: list[bytes]) -> None:
        """Relieve a node that isn't to work now of what it renders, where people wish that: somebody has sat
        down at it, or its hours are over."""
        if not node.held or not node.wishes.give_back:
            return
        if node.state(self._monotonic(), self._board.nodes.heartbeat_s()) not in ("used", "hours"):
            return
        over = {op.attempt for op in ops}
        for attempt, (job_id, claim) in list(node.held.items()):
            live = self._board.live.get(job_id)
            if attempt in over or live is None:
                continue
            frame = live.job.task_frame(claim.task)
            if not node.can_stop(frame):
                continue
            ops.append(Op("release", job_id, claim.task, claim.code, attempt, node))
            # RFAM's node prints the frame as a number, and stops only what has this very frame.
            _kill({"uuid": attempt, "frame": frame if isinstance(frame, int) else None}, answers)

    def _at_most(self, node: Node, wants: int) -> int:
        """Not more than people let it have at once."""
        most = node.wishes.slots
        return max(0, min(wants, most - len(node.held))) if most else wants

    def _may_have(self, node: Node) -> bool:
        return not self._board.nodes.farm_paused and not node.closed(self._monotonic())

    def _again(
        self,
        node: Node,
        wants: int,
        answers: list[bytes],
        ops: list[Op],
        requests: list[dict[str, Any]],
    ) -> int:
        """Attempts that this node holds but doesn't speak of: the answer that gave them was lost, or its
        Blender ended without a word (RFAM's node). They are sent again, once to an RFAM node."""
        if not node.held:
            return 0
        now = self._monotonic()
        silent_s = SILENT_HEARTBEATS * self._board.nodes.heartbeat_s()
        spoken = {r["uuid"] for r in requests if isinstance(r.get("uuid"), str)}
        count = 0
        for attempt, (job_id, claim) in list(node.held.items()):
            if now - claim.reported < silent_s or attempt in spoken:
                continue
            live = self._board.live.get(job_id)
            if live is None:
                continue
            if claim.resent and node.protocol < 2:
                told = {"reason": say("the renderer ended without a frame")}
                ops.append(Op("failed", job_id, claim.task, claim.code, attempt, node, told))
            elif count < wants:
                claim.resent = True
                claim.reported = now
                bound_s = fail.bound_s(self._board, live, node, claim.task)
                answers.append(commandment(live, claim.task, claim.attempt, int(self._wall()), bound_s))
                count += 1
        return count


def _kill(request: Mapping[str, Any], answers: list[bytes]) -> None:
    if not isinstance(request.get("frame"), list):  # a video: RFAM's node would end over it
        answers.append(
            encoding.dumps({"id": "kill", "uuid": request.get("uuid"), "frame": request.get("frame")})
        )


def _count(value: object) -> int:
    return max(0, min(value, MAX_TASKS)) if isinstance(value, int) and not isinstance(value, bool) else 1


def _ratio(done: object, total: object) -> float | None:
    if isinstance(done, (int, float)) and isinstance(total, (int, float)) and total > 0:
        return max(0.0, min(1.0, done / total))
    return None
