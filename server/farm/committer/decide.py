"""What becomes of each thing that a node, a person or the clock asks of one job. Under the job's lock.

Each function applies its events to the job at once and adds them to `Turn.events`, which the committer
then appends in one write. Nothing here waits, hashes or talks; outputs are renamed here, since a `done`
counts only with its frames in place.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from server.disk import encoding, paths
from server.disk.errors import CroftError, NotFound
from server.farm.committer.board import Board, Live, commandment
from server.farm.jobs import states
from server.farm.jobs.job import Event, Job, code_text
from server.farm.jobs.logs import Said
from server.farm.jobs.tasks import DONE
from server.farm.nodes import Node
from server.farm.scheduler import Need, misfit

LOST_LIMIT = 10  # attempts at one task that may be lost: a frame that takes every machine down ends
STRIKES = 10  # tasks failed for good, none done: the scene is wrong, and the farm has better things to do
MAX_OUTPUTS = 200  # files of one task


class Op:
    """One thing asked of one job. `answer` is what its asker gets, b"" for nothing."""

    __slots__ = (
        *("act", "answer", "attempt", "code", "data", "error"),
        *("job_id", "kind", "node", "result", "task"),
    )

    def __init__(
        self,
        kind: str,
        job_id: str,
        task: int = 0,
        code: int = 0,
        attempt: str = "",
        node: Node | None = None,
        data: dict[str, Any] | None = None,
        act: Callable[[Turn], Any] | None = None,
    ) -> None:
        self.kind = kind
        self.job_id = job_id
        self.task = task
        self.code = code
        self.attempt = attempt
        self.node = node
        self.data = data or {}
        self.act = act
        self.answer = b""
        self.result: Any = None
        self.error: CroftError | None = None


class Turn:
    """One job's turn in one commit: its lock is held."""

    __slots__ = (
        *("at", "board", "events", "frames", "issued", "job", "lease_s"),
        *("live", "logs", "moved", "now", "random"),
    )

    def __init__(
        self, board: Board, live: Live, at: str, now: float, issued: int, lease_s: float, rng: random.Random
    ) -> None:
        self.board = board
        self.live = live
        self.job = live.job
        self.at = at
        self.now = now
        self.issued = issued
        self.lease_s = lease_s
        self.random = rng
        self.events: list[Event] = []
        self.logs: list[Said] = []  # of attempts that are over
        self.frames: list[str] = []  # addresses of frames that lie under their names now
        self.moved = False  # outputs were renamed: their folder must be flushed

    def add(self, event: Event) -> None:
        """Have an event happen: in memory now, in the journal at the end of the turn."""
        self.job.apply(event)
        self.events.append(event)

    def change(self, to: str, by: str = "", why: str = "") -> None:
        """The one door for a job's state."""
        states.check(self.job.id, self.job.state, to)
        event: Event = {"at": self.at, "event": "state", "to": to}
        if by:
            event["by"] = by
        if why:
            event["why"] = why
        self.add(event)


def handle(turn: Turn, op: Op) -> None:
    """One op."""
    _HANDLERS[op.kind](turn, op)


def give(turn: Turn, node: Node, count: int, stage: int = 0) -> list[bytes]:
    """Up to `count` tasks of one stage of this job for a node, claimed."""
    job = turn.job
    given: list[bytes] = []
    if not job.open or not turn.board.ours(job):
        return given
    avoid = _avoid(turn.board, turn.live, node, stage)
    while len(given) < count:
        task = job.next_task(stage, avoid)
        if task is None:
            break
        code = ((job.latest[task] >> 16) + 1) << 16 | turn.random.getrandbits(16)
        turn.add(
            {
                "at": turn.at,
                "event": "claim",
                "task": task,
                "attempt": code_text(code),
                "node": node.name,
                "server": turn.board.server,
            }
        )
        claim = job.claims[task]
        claim.deadline = turn.now + turn.lease_s
        given.append(commandment(turn.live, task, claim.attempt, turn.issued))
    if given and job.state == states.WAITING:
        turn.change(states.RUNNING)
    return given


def may_give(board: Board, live: Live, node: Node, stage: int) -> bool:
    """Is there a task of this stage that this node could be given? Without the job's lock."""
    return live.job.next_task(stage, _avoid(board, live, node, stage)) is not None


def settle(turn: Turn) -> None:
    """After all ops: has the job come to its end, or is it hopeless?"""
    job = turn.job
    if job.state not in (*states.OPEN, states.PAUSED):
        return
    if job.finished:
        failed = job.counts["failed"]
        if failed:
            word = "frame" if failed == 1 else "frames"
            turn.change(states.FAILED, why=f"{failed} {word} of {job.total} could not be rendered")
        else:
            turn.change(states.DONE, why=_left_out(job))
    elif job.state in states.OPEN and job.strikes >= STRIKES and not job.counts["done"]:
        turn.change(
            states.PAUSED,
            why=f"the first {job.strikes} frames all failed: mend the scene and submit it again, or resume",
        )


def _left_out(job: Job) -> str:
    """Which of the things that nobody insisted on a job is done without."""
    lost = {job.stage_of(task) for task in range(job.total, job.tasks) if job.cells[task] != DONE}
    return ", ".join(f"{stage.record.get('title') or stage.name} could not be made" for stage in lost)


def accepted(attempt: str) -> bytes:
    return b'{"id":"accepted","uuid":%b}' % encoding.dumps(attempt)


def refused(attempt: str, why: str) -> bytes:
    return b'{"id":"refused","uuid":%b,"why":%b}' % (encoding.dumps(attempt), encoding.dumps(why))


# -- from nodes ---------------------------------------------------------------------------------------


def _done(turn: Turn, op: Op) -> None:
    job, place = turn.job, turn.live.place
    outputs = op.data.get("outputs")
    if job.was_accepted(op.task, op.code):
        place.vouch()
        op.answer = accepted(op.attempt)
        return
    if not job.may_finish(op.task, op.code):
        place.drop_outputs(op.attempt, outputs)
        op.answer = refused(op.attempt, _why_not(job, op))
        return
    if isinstance(outputs, list) and len(outputs) > MAX_OUTPUTS:
        why = f"more than {MAX_OUTPUTS} files for one task"
    else:
        why = place.check_outputs(op.attempt, outputs)
    if why:
        place.drop_outputs(op.attempt, outputs)
        op.data = {"reason": f"bad output: {why}", "log": str(op.data.get("log") or "")}
        _fail(turn, op)
        op.answer = refused(op.attempt, why)
        return
    kept: list[dict[str, Any]] = []
    if place.outputs is not None and isinstance(outputs, list):
        turn.moved = True
        try:
            place.take_outputs(outputs)
        except NotFound as error:
            # Race: someone took the file away since it was checked.
            op.data = {"reason": f"bad output: {error.message}"}
            _fail(turn, op)
            op.answer = refused(op.attempt, error.message)
            return
        kept = [_kept(output) for output in outputs]
        folder = paths.join(job.home, str(job.record["folder"]))
        turn.frames += [paths.join(folder, output["path"]) for output in kept if "kind" not in output]
    told = op.data.get("time")
    seconds = round(told, 3) if isinstance(told, (int, float)) and 0 <= told < 1e6 else 0.0
    event: Event = {
        "at": turn.at,
        "event": "done",
        "task": op.task,
        "attempt": code_text(op.code),
        "node": op.node.name if op.node is not None else "",
        "seconds": seconds,
    }
    if kept:
        event["outputs"] = kept
    statistics = op.data.get("statistics")
    if isinstance(statistics, dict) and statistics:
        event["statistics"] = {
            str(key)[:40]: value for key, value in list(statistics.items())[:20] if _number(value)
        }
    turn.add(event)
    _keep_log(turn, op, event["node"], f"{seconds:g} s")
    if op.node is not None:
        op.node.succeeded(seconds)
    op.answer = accepted(op.attempt)


def _kept(output: dict[str, Any]) -> dict[str, Any]:
    """What the journal keeps of an output; that it is a frame goes without saying."""
    kept = {key: output[key] for key in ("path", "size", "width", "height") if _known(output.get(key))}
    if output.get("kind", "frame") != "frame":
        kept["kind"] = str(output["kind"])[:20]
    return kept


def _known(value: object) -> bool:
    return isinstance(value, str) or _number(value)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15


def _failed(turn: Turn, op: Op) -> None:
    if turn.job.held(op.task, op.code) is None:
        # A repeat, or an attempt that was given up: nothing to count, nothing to keep at the node.
        op.answer = accepted(op.attempt)
        return
    if str(op.data.get("reason", "")).startswith("missing file"):
        turn.live.ready = False  # look for the snapshot before the next claim
    _fail(turn, op)
    op.answer = accepted(op.attempt)


def _fail(turn: Turn, op: Op) -> None:
    job = turn.job
    claim = job.held(op.task, op.code)
    if claim is None:
        return
    final = job.tries.get(op.task, 0) + 1 >= job.retries
    turn.add(
        {
            "at": turn.at,
            "event": "failed",
            "task": op.task,
            "attempt": code_text(op.code),
            "node": claim.node,
            "reason": str(op.data.get("reason") or "failed")[:300],
            "final": final,
        }
    )
    _keep_log(turn, op, claim.node, str(op.data.get("reason") or "failed")[:100], failed=True)
    if op.node is not None:
        op.node.stumbled(turn.now, others_do_well=_others_do_well(job, op.node.name))


def _keep_log(turn: Turn, op: Op, node: str, what: str, failed: bool = False) -> None:
    """Have what an attempt said kept, aside, once this turn is written."""
    words, output = op.data.get("log"), op.data.get("output")
    words = words if failed and isinstance(words, str) else ""
    if words or output or op.attempt in turn.board.texts:
        about = f"frame {turn.job.frames[op.task]}, {node}, {turn.at}, {what}"
        turn.logs.append(Said(op.task, op.code >> 16, op.attempt, failed, about, output, words))


def _others_do_well(job: Job, name: str) -> bool:
    return any(sums[0] for other, sums in job.by_node.items() if other != name)


def _release(turn: Turn, op: Op) -> None:
    if turn.job.held(op.task, op.code) is not None:
        turn.add({"at": turn.at, "event": "released", "task": op.task, "attempt": code_text(op.code)})


def _why_not(job: Job, op: Op) -> str:
    if job.state in states.ENDED:
        return f"the job is {job.state}"
    if not 0 <= op.task < job.tasks or job.latest[op.task] >> 16 < op.code >> 16:
        return "this attempt is not known (was the job restored?)"
    if job.cells[op.task] == DONE:
        return "the frame was accepted from another attempt"
    return "the frame was given to another node"


# -- from the clock -----------------------------------------------------------------------------------


def _expire(turn: Turn, op: Op) -> None:
    """An attempt's deadline has passed. Looked at again: a report may have come in meanwhile."""
    claim = turn.job.held(op.task, op.code)
    if claim is None or claim.deadline > turn.now:
        return
    final = turn.job.lost.get(op.task, 0) + 1 >= LOST_LIMIT
    turn.add(
        {
            "at": turn.at,
            "event": "expired",
            "task": op.task,
            "attempt": code_text(op.code),
            "node": claim.node,
            "final": final,
        }
    )
    if op.attempt in turn.board.texts:
        op.data = {"log": f"The computer {claim.node} was not heard of any more."}
        _keep_log(turn, op, claim.node, "lost", failed=True)


def _adopt(turn: Turn, op: Op) -> None:
    """A node reports to us what it claimed from another server: its lease is ours to keep now."""
    claim = turn.job.held(op.task, op.code)
    if claim is not None and claim.server != turn.board.server:
        turn.add(
            {
                "at": turn.at,
                "event": "adopt",
                "task": op.task,
                "attempt": code_text(op.code),
                "server": turn.board.server,
            }
        )


# -- from people --------------------------------------------------------------------------------------


def _act(turn: Turn, op: Op) -> None:
    assert op.act is not None
    try:
        op.result = op.act(turn)
    except CroftError as error:
        op.error = error


def _look(turn: Turn, op: Op) -> None:
    """Nothing to do: the turn itself has caught up with the journal."""


_HANDLERS: dict[str, Callable[[Turn, Op], None]] = {
    "done": _done,
    "failed": _failed,
    "release": _release,
    "expire": _expire,
    "adopt": _adopt,
    "act": _act,
    "look": _look,
}


# -- which task ---------------------------------------------------------------------------------------


def _avoid(board: Board, live: Live, node: Node, stage: int) -> Callable[[int], bool] | None:
    """Passes over tasks that failed on this node, as long as another node could try them instead."""
    failures = live.job.failures
    if not failures:
        return None
    need = live.works[stage].need

    def avoid(task: int) -> bool:
        tried = {failure.node for failure in failures[task]}
        return node.name in tried and _others(board, node, need, tried)

    return avoid


def _others(board: Board, node: Node, need: Need, tried: set[str]) -> bool:
    """Is another node here, well and able to do this, that didn't try yet?"""
    heartbeat_s, now = board.nodes.heartbeat_s(), board.monotonic()
    return any(
        other is not node
        and other.name not in tried
        and other.may_work(now, heartbeat_s)
        and not misfit(need, other.means)
        for other in board.nodes.present()
    )
