"""What becomes of each thing that a node, a person or the clock asks of one job. Under the job's lock.

Each function applies its events to the job at once and adds them to `Turn.events`, which the committer
then appends in one write. Nothing here waits, hashes or talks; outputs are renamed here, since a `done`
counts only with its frames in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from server.disk import encoding, paths
from server.disk.errors import CroftError, NotFound
from server.disk.speech import say
from server.farm.committer import fail
from server.farm.committer.board import Board
from server.farm.committer.dressing import commandment
from server.farm.committer.live import Live
from server.farm.committer.turn import Op, Turn
from server.farm.failures.verdict import hopeless
from server.farm.jobs import outputs as made
from server.farm.jobs import states
from server.farm.jobs.attempts import code_text
from server.farm.jobs.job import Event, Job
from server.farm.jobs.tasks import DONE, FAILED
from server.farm.nodes import Node

__all__ = ["Op", "Turn"]
MAX_OUTPUTS = 200  # files of one task


def handle(turn: Turn, op: Op) -> None:
    """One op."""
    _HANDLERS[op.kind](turn, op)


def give(turn: Turn, node: Node, count: int, stage: int = 0) -> list[bytes]:
    """Up to `count` tasks of one stage of this job for a node, claimed."""
    job = turn.job
    given: list[bytes] = []
    if not job.open or not turn.board.ours(job):
        return given
    if fail.kept_away(turn.board, turn.live, node.name, stage):
        return given
    avoid = fail.passes_over(turn.board, turn.live, node, stage)
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
        bound_s = fail.bound_s(turn.board, turn.live, node, task)
        given.append(commandment(turn.live, task, claim.attempt, turn.issued, bound_s))
    if given and job.state == states.WAITING:
        turn.change(states.RUNNING)
    return given


def may_give(board: Board, live: Live, node: Node, stage: int) -> bool:
    """Is there a task of this stage that this node could be given? Without the job's lock."""
    if fail.kept_away(board, live, node.name, stage):
        return False
    return live.job.next_task(stage, fail.passes_over(board, live, node, stage)) is not None


def close_approved(turn: Turn) -> None:
    """An approved version takes no more frames: what of its job isn't done is stopped. What nobody insisted
    on, such as its video, may still be made."""
    job = turn.job
    if job.state in states.ENDED or not job.counts["waiting"] + job.counts["claimed"]:
        return
    why = turn.live.place.why_closed()
    if why:
        turn.change(states.CANCELLED, why=why)


def settle(turn: Turn) -> None:
    """After all ops: has the job come to its end, or is it hopeless?"""
    job = turn.job
    if job.state not in (*states.OPEN, states.PAUSED):
        return
    _leave_out(turn)
    if job.state in states.OPEN:
        fail.give_up(turn)
    if job.finished:
        failed = job.counts["failed"]
        if failed:
            word = "frame" if failed == 1 else "frames"
            turn.change(
                states.FAILED,
                why=say(
                    "{failed} {word} of {total} could not be rendered",
                    failed=failed,
                    word=word,
                    total=job.total,
                ),
            )
        else:
            turn.change(states.DONE, why=_left_out(job))
    elif job.state in states.OPEN and hopeless(job.strikes, job.counts["done"]):
        failed = job.counts["failed"]
        frames = "1 frame" if failed == 1 else say("{failed} frames", failed=failed)
        first = say("the first") if not job.counts["done"] else "one after the other,"
        turn.change(
            states.FAILED,
            why=say("{first} {frames} could not be rendered, so it was stopped", first=first, frames=frames),
        )


def _leave_out(turn: Turn) -> None:
    """What nobody insisted on isn't waited for where no computer that is here could do it."""
    job = turn.job
    if not job.extras["waiting"] or job.counts["waiting"] or job.counts["claimed"]:
        return
    for stage in job.stages:
        if not stage.optional or not job.ready[stage.index]:
            continue
        why = turn.board.nobody_for(turn.live.works[stage.index].need)
        while why and (task := job.next_task(stage.index)) is not None:
            turn.add({"at": turn.at, "event": "skip", "task": task, "why": why})


def _left_out(job: Job) -> str:
    """Which of the things that nobody insisted on a job is done without."""
    lost = {job.stage_of(task) for task in range(job.total, job.tasks) if job.cells[task] == FAILED}
    return ", ".join(
        say("{title} could not be made", title=stage.record.get("title") or stage.name) for stage in lost
    )


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
        _count_refused(turn, op)
        return
    why = _too_many(job, op.task, outputs) or _incomplete(job, op.task, outputs)
    if not why:
        why = place.check_outputs(op.attempt, outputs, turn.live.works[job.stage_of(op.task).index].writes)
    if why:
        place.drop_outputs(op.attempt, outputs)
        op.data = {"reason": f"bad output: {why}", "log": str(op.data.get("log") or "")}
        fail.fail(turn, op)
        op.answer = refused(op.attempt, why)
        return
    kept: list[dict[str, Any]] = []
    if place.outputs is not None and isinstance(outputs, list):
        try:
            place.take_outputs(outputs)
        except NotFound as error:
            # Race: someone took the file away since it was checked.
            op.data = {"reason": f"bad output: {error.message}"}
            fail.fail(turn, op)
            op.answer = refused(op.attempt, error.message)
            return
        kept = [_kept(output) for output in outputs]
    elif place.outputs is None:
        kept = [_kept(output) for output in place.own_outputs(op.attempt, outputs)]
    turn.frames += [paths.join(made.folder(job), o["path"]) for o in kept if "kind" not in o]
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
    fail.keep_log(turn, op, event["node"], f"{seconds:g} s")
    if op.node is not None:
        fail.praise(turn, op.node, op.task, seconds)
        op.node.note(job.id, op.task)
    op.answer = accepted(op.attempt)


def _kept(output: dict[str, Any]) -> dict[str, Any]:
    """What the journal keeps of an output; that it is a frame goes without saying."""
    keys = ("path", "size", "width", "height", "frame", "seconds")
    kept = {key: output[key] for key in keys if _known(output.get(key))}
    if output.get("kind", "frame") != "frame":
        kept["kind"] = str(output["kind"])[:20]
    return kept


def _known(value: object) -> bool:
    return isinstance(value, str) or _number(value)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15


def _too_many(job: Job, task: int, outputs: object) -> str:
    stage = job.stage_of(task)
    low, high = stage.span(task - stage.first)
    most = MAX_OUTPUTS * (high - low if stage is job.chunked else 1)
    return (
        say("more than {most} files for one task", most=most)
        if isinstance(outputs, list) and len(outputs) > most
        else ""
    )


def _incomplete(job: Job, task: int, outputs: object) -> str:
    """Which frame of a chunk is lacking; "" where none is, or where the node does not say which is which."""
    stage = job.stage_of(task)
    if stage is not job.chunked or not isinstance(outputs, list):
        return ""
    frames = [output.get("frame") for output in outputs if isinstance(output, dict)]
    if not all(frame is None or _known(frame) for frame in frames):
        return say("a file for a frame that is no number")
    told = set(frames)
    if told <= {None}:
        return ""
    low, high = stage.span(task - stage.first)
    lacking = [job.frames[at] for at in range(low, high) if not job.there[at] and job.frames[at] not in told]
    return say("frame {lacking} was not rendered", lacking=lacking[0]) if lacking else ""


def _part(turn: Turn, op: Op) -> None:
    """Frames of a chunk are whole before all of it is: they are taken at once, and not rendered again should
    the rest fail. Said again with the end, so nothing is answered."""
    job, place = turn.job, turn.live.place
    outputs = op.data.get("outputs")
    if job.held(op.task, op.code) is None or place.outputs is None or not isinstance(outputs, list):
        return
    if job.stage_of(op.task) is not job.chunked or _too_many(job, op.task, outputs):
        return
    if place.check_outputs(op.attempt, outputs):
        return
    try:
        place.take_outputs(outputs)
    except NotFound:
        return  # Race: someone took a file away since it was checked; the end tells of it.
    kept = [_kept(output) for output in outputs]
    folder = paths.join(job.home, str(job.record["folder"]))
    turn.frames += [paths.join(folder, output["path"]) for output in kept if "kind" not in output]
    attempt = code_text(op.code)
    turn.add({"at": turn.at, "event": "part", "task": op.task, "attempt": attempt, "outputs": kept})


def _failed(turn: Turn, op: Op) -> None:
    if turn.job.held(op.task, op.code) is None:
        # A repeat, or an attempt that was given up: nothing to keep at the node.
        op.answer = accepted(op.attempt)
        if not any(f.attempt == op.code >> 16 and not f.lost for f in turn.job.failures.get(op.task, ())):
            _count_refused(turn, op)
        return
    if str(op.data.get("reason", "")).startswith("missing file"):
        turn.live.ready = False  # look for the snapshot before the next claim
    _part(turn, op)
    fail.fail(turn, op)
    op.answer = accepted(op.attempt)


def _count_refused(turn: Turn, op: Op) -> None:
    """A result of an attempt that isn't the task's any more. An ended job's journal stays as it is summed."""
    turn.board.refused += 1
    if turn.job.state not in states.ENDED:
        event: Event = {"at": turn.at, "event": "refused", "task": op.task, "attempt": code_text(op.code)}
        if op.node is not None:
            event["node"] = op.node.name
        turn.add(event)


def _release(turn: Turn, op: Op) -> None:
    if turn.job.held(op.task, op.code) is not None:
        turn.add({"at": turn.at, "event": "released", "task": op.task, "attempt": code_text(op.code)})


def _why_not(job: Job, op: Op) -> str:
    if job.state in states.ENDED:
        return say("the job is {state}", state=job.state)
    if not 0 <= op.task < job.tasks or job.latest[op.task] >> 16 < op.code >> 16:
        return say("this attempt is not known (was the job restored?)")
    if job.cells[op.task] == DONE:
        return say("the frame was accepted from another attempt")
    if job.superseded[op.task]:
        return say("the frame was asked for again")
    return say("the frame was given to another computer")


# -- from the clock -----------------------------------------------------------------------------------


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
    "part": _part,
    "release": _release,
    "expire": fail.expire,
    "overrun": fail.overrun,
    "adopt": _adopt,
    "act": _act,
    "look": _look,
}
