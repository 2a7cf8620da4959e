"""What becomes of attempts that gave no frame, and who may try again. Under the job's lock.

The facts come from the job's own troubles and from the nodes that exist; the judgement is
`server/farm/failures/verdict.py`.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from server.disk.speech import say
from server.farm.committer.board import Board
from server.farm.committer.live import Live
from server.farm.committer.turn import Op, Turn
from server.farm.failures import bounds, verdict
from server.farm.failures.rules import LONGEST_WAIT_S, WAIT_S, Found
from server.farm.failures.verdict import Candidate, Fault
from server.farm.jobs.attempts import Claim, code_text
from server.farm.jobs.job import Event, Job
from server.farm.jobs.logs import Said
from server.farm.jobs.tasks import CLAIMED, WAITING
from server.farm.jobs.troubles import epoch
from server.farm.nodes import Node
from server.farm.scheduler import misfit

EXISTS_S = 3600.0  # a node that was away for no longer still exists, and may come back to try
BEGIN_S = 60.0  # so long after a start not all nodes may have been heard of
HERE = ("idle", "busy")
SOON = ("away", "off", "waking", "updating")  # states of nodes that exist and can't take anything now
LATER = ("hours", "used")  # states of nodes that open again by themselves, who knows when
MOST_JUDGED = 200  # tasks that one turn looks at


# -- who exists ---------------------------------------------------------------------------------------


def candidates(
    board: Board, live: Live, stage: int, task: int | None = None, failing: str = ""
) -> list[Candidate]:
    """The nodes that exist and could do a stage's tasks, or this one, by what they are. `failing`: at which
    the task fails just now."""
    now, wall = board.monotonic(), board.wall()
    heartbeat_s = board.nodes.heartbeat_s()
    need, troubles = live.works[stage].need, live.job.troubles
    least_mb = troubles.needs_mb.get(task, 0) if task is not None else 0
    failed = troubles.failed_tasks(wall - board.avoid_s())
    found: list[Candidate] = []
    for node in board.nodes.present():
        if not node.seen_at or misfit(need, node.means) or (least_mb and _memory_mb(node) <= least_mb):
            continue
        state = node.state(now, heartbeat_s)
        if state in HERE or (state in SOON and (now - node.seen < EXISTS_S or state != "away")):
            proven = task is not None and node.tasks > 0 and _proven(live.job, node, task, failing)
            # One that came back from its rest is on probation until it does something well.
            suspect, unwell = node.sickness.rests > 0, node.sickness.spells(wall - now)
            found.append(Candidate(node.name, state in HERE, suspect, proven, unwell=unwell))
        elif state == "sick":
            found.append(Candidate(node.name, False, suspect=True))
    if not least_mb:
        # What other servers' nodes hold of this job tells that they exist.
        holders = {claim.node for claim in live.job.claims.values()}
        found += [Candidate(name) for name in holders if not board.nodes.known(name).seen_at]
    kept = {c.name for c in found if verdict.kept_from_job(c.name, failed, found)}
    return [_kept(c) if c.name in kept else c for c in found]


def _proven(job: Job, node: Node, task: int, failing: str) -> bool:
    """Is it known that a node is well, so that what it says of a task counts? It did another task well since;
    where nobody else is to be asked, just before is enough."""
    if job.retries == 1:
        return node.sickness.well_but_for((job.id, task))
    return node.name != failing and node.sickness.well_since((job.id, task))


def _kept(node: Candidate) -> Candidate:
    """What a sick one failed at says little: it may try again when it is well and that is forgiven."""
    return replace(node, suspect=True, kept=not (node.suspect or node.unwell))


def kept_away(board: Board, live: Live, name: str, stage: int = 0) -> bool:
    """Is this node kept from the whole job, since it failed at it where others may do better?"""
    failed = live.job.troubles.failed_tasks(board.wall() - board.avoid_s())
    if failed.get(name, 0) < verdict.KEPT_AFTER:
        return False
    return any(c.name == name and c.suspect for c in candidates(board, live, stage))


def passes_over(board: Board, live: Live, node: Node, stage: int = 0) -> Callable[[int], bool] | None:
    """Which waiting tasks this node isn't given: those that came to nothing here, as long as another node
    could try them, and those that need more memory. None where there was no trouble."""
    job = live.job
    if not job.failures:
        return None
    since, memory_mb = board.wall() - board.avoid_s(), _memory_mb(node)
    known: dict[bool, list[Candidate]] = {}

    def avoid(task: int) -> bool:
        troubles = job.troubles
        least_mb = troubles.needs_mb.get(task, 0)
        if least_mb and memory_mb <= least_mb:
            return bool(candidates(board, live, stage, task))
        barred = troubles.barred(task, since)
        if node.name not in barred:
            return False
        if False not in known:
            known[False] = candidates(board, live, stage)
        nodes = known[False] if not least_mb else candidates(board, live, stage, task)
        return not verdict.may_try(node.name, barred, troubles.faults(task), nodes, job.retries)

    return avoid


def _memory_mb(node: Node) -> int:
    memory = node.hardware.get("memory_mb")
    return memory if isinstance(memory, int) and not isinstance(memory, bool) else 0


# -- what failed --------------------------------------------------------------------------------------


def fail(turn: Turn, op: Op) -> None:
    """An attempt failed: whether it counts, who tries next, whether it was the last."""
    job, board = turn.job, turn.board
    claim = job.held(op.task, op.code)
    if claim is None:
        return
    reason = str(op.data.get("reason") or "failed")[:300]
    found = op.found
    say = found.say if found is not None else first_line(op.data.get("log"))
    stage = job.stage_of(op.task).index
    node = op.node or board.nodes.known(claim.node)
    nodes = candidates(board, turn.live, stage, op.task, failing=claim.node)
    event: Event = {
        "at": turn.at,
        "event": "failed",
        "task": op.task,
        "attempt": code_text(op.code),
        "node": claim.node,
        "reason": reason,
    }
    told = op.data.get("time")  # a node may have held it for long before it began
    if isinstance(told, (int, float)) and 0 <= told < 1e6:
        event["seconds"] = round(told, 3)
    if say:
        event["say"] = say[:300]
    others = [c for c in nodes if c.name != claim.node and not c.suspect]
    fatal = found is not None and found.kind == "fatal"
    if found is not None:
        event["rule"] = found.kind
        event.update(_allowance(turn, found, others, op.task))
    if reason == "out of memory" or (found is not None and found.kind == "memory"):
        event["reason"] = "out of memory"
        event.update(_more_memory(turn, node, stage, op.task))
    if found is not None and found.kind == "missing" and not reason.startswith("missing file"):
        event["reason"] = "missing file"
    counts = not event.get("free")
    faults = job.troubles.faults(op.task)
    if counts:
        timed_out = str(event["reason"]).startswith("time-out")
        faults.append(Fault(claim.node, timed_out, float(turn.issued)))
        judged = verdict.verdict(faults, _with_unheard(turn, nodes, faults, op.task), job.retries)
        if found is not None and found.kind == "lacking" and not others:
            fatal = True  # nobody left who could have it
        event["final"] = fatal or judged.final
        if not event["final"] and len(faults) >= verdict.needed(faults, job.retries):
            _stuck(turn).add(op.task)
    turn.add(event)
    keep_log(turn, op, claim.node, reason[:100], failed=True)
    node.note(job.id, op.task, str(event["reason"])[:100])
    if found is None or found.kind not in ("licence", "later", "lacking", "fatal"):
        _blame(turn, node, op.task, say or reason, at_fault=found is not None and found.kind == "computer")


def _allowance(turn: Turn, found: Found, others: list[Candidate], task: int) -> dict[str, Any]:
    """Whether a failure of this kind is free, and until when the job waits."""
    if found.kind in ("licence", "later"):
        wait_s = min((found.wait_s or WAIT_S) * 2 ** min(turn.job.troubles.waits, 10), LONGEST_WAIT_S)
        until = datetime.datetime.fromtimestamp(turn.issued + wait_s, datetime.UTC)
        return {"free": True, "until": until.isoformat(timespec="seconds").replace("+00:00", "Z")}
    tried = turn.job.troubles.barred(task, 0.0)
    if found.kind in ("computer", "lacking") and any(c.name not in tried for c in others):
        return {"free": True}
    return {}


def _more_memory(turn: Turn, node: Node, stage: int, task: int) -> dict[str, Any]:
    """A node had too little memory: free, as long as there is one with more."""
    memory_mb = _memory_mb(node)
    if not memory_mb:
        return {}
    troubles = turn.job.troubles
    before = troubles.needs_mb.get(task, 0)
    troubles.needs_mb[task] = max(memory_mb, before)
    try:
        larger = candidates(turn.board, turn.live, stage, task)
    finally:
        if before:
            troubles.needs_mb[task] = before
        else:
            troubles.needs_mb.pop(task, None)
    return {"free": True, "memory_mb": memory_mb} if larger else {}


def _with_unheard(turn: Turn, nodes: list[Candidate], faults: list[Fault], task: int) -> list[Candidate]:
    """While a farm wakes up there may be more nodes than were heard of yet: after a start, those that did
    this job before; and where all that failed have only just come, their neighbours. Where nothing shows
    that those which failed are well, who works at other hours exists, too."""
    board, job = turn.board, turn.job
    waking = turn.now - board.began < BEGIN_S and epoch(str(job.record.get("created") or "")) < board.began_at
    if job.retries > 1:
        failing = [board.nodes.known(name) for name in {fault.node for fault in faults}]
        if not any(node.tasks > 0 and node.sickness.well_but_for((job.id, task)) for node in failing):
            waking = waking or all(turn.now - node.came < BEGIN_S for node in failing)
            nodes = [*nodes, *later(board, turn.live, job.stage_of(task).index, task)]
    return [*nodes, Candidate("another", there=False)] if waking else nodes


def later(board: Board, live: Live, stage: int, task: int) -> list[Candidate]:
    """Nodes that could do a task and are closed now: outside their hours, or somebody works at them."""
    now, need, heartbeat_s = board.monotonic(), live.works[stage].need, board.nodes.heartbeat_s()
    least_mb = live.job.troubles.needs_mb.get(task, 0)
    return [
        Candidate(node.name, there=False)
        for node in board.nodes.present()
        if node.state(now, heartbeat_s) in LATER
        and not misfit(need, node.means)
        and not (least_mb and _memory_mb(node) <= least_mb)
    ]


def _blame(turn: Turn, node: Node, task: int, reason: str, at_fault: bool) -> None:
    job = turn.job
    elsewhere = {f.node for f in job.failures.get(task, ()) if not f.lost and f.node != node.name}
    well = any(sums[0] for other, sums in job.usage.by_node.items() if other != node.name)
    fellows = [name for name in job.troubles.on_node if name != node.name] if at_fault else []
    for name in fellows:
        turn.board.nodes.known(name).sickness.doubted(job.id)
        turn.board.tell("node", name)
    node.failed += 1
    node.sickness.failed(
        turn.now,
        (job.id, task),
        reason[:150],
        others_do_well=well,
        elsewhere_too=bool(elsewhere),
        at_fault=at_fault and not fellows,
    )
    for name in elsewhere:
        turn.board.nodes.known(name).sickness.excused((job.id, task))
    if node.sickness.why(turn.now):
        turn.board.tell("node", node.name)


def praise(turn: Turn, node: Node, task: int, seconds: float) -> None:
    """A node did a task: those that failed at it are surely to blame, and its pace is compared."""
    job = turn.job
    usual_s = turn.live.usual_s(task)
    node.succeeded(seconds)
    node.worth.saw(seconds, usual_s)
    for failure in job.failures.get(task, ()):
        if failure.node != node.name and not failure.lost:
            turn.board.nodes.known(failure.node).sickness.proven(turn.now, (job.id, task))


def expire(turn: Turn, op: Op) -> None:
    """An attempt's deadline has passed. Looked at again: a report may have come in meanwhile."""
    job = turn.job
    claim = job.held(op.task, op.code)
    if claim is None or claim.deadline > turn.now:
        return
    lost_on = [f.node for f in job.failures.get(op.task, ()) if f.lost]
    nodes = candidates(turn.board, turn.live, job.stage_of(op.task).index, op.task)
    lost = job.troubles.lost.get(op.task, 0) + 1
    turn.add(
        {
            "at": turn.at,
            "event": "expired",
            "task": op.task,
            "attempt": code_text(op.code),
            "node": claim.node,
            "final": verdict.lost_for_good([*lost_on, claim.node], lost, nodes, job.retries),
        }
    )
    if op.attempt in turn.board.texts:
        op.data = {"log": say("The computer {node} was not heard of any more.", node=claim.node)}
        keep_log(turn, op, claim.node, "lost", failed=True)


def overrun(turn: Turn, op: Op) -> None:
    """A node has been at a task for far longer than it should take there. It is told to stop at its next
    report, since the attempt isn't held any more."""
    claim = turn.job.held(op.task, op.code)
    if claim is None:
        return
    seconds, usual_s = float(op.data.get("seconds") or 0), turn.live.usual_s(op.task)
    text = say(
        "it took more than {time}; such a frame usually takes {usual}",
        time=words_of(seconds),
        usual=words_of(usual_s),
    )
    op.data = {"reason": "time-out", "log": f"{text}\n{claim.line}".strip()}
    fail(turn, op)


def bound_s(board: Board, live: Live, node: Node, task: int) -> float:
    """How long this node may take for a task, in seconds; 0: nobody knows."""
    return bounds.bound_s(
        live.usual_s(task),
        node.worth.times,
        live.job.troubles.time_outs(task) if task in live.job.failures else 0,
        float(board.settings.get("timeout_times")),
        float(board.settings.get("timeout_least_s")),
    )


def overruns(board: Board, live: Live, node: Node, claim: Claim, told: Mapping[str, Any]) -> bool:
    """Has a node been at a task for too long? It ends it by itself at the bound that it was told; one that
    was told none, or doesn't, is ended a little later."""
    limit_s = bound_s(board, live, node, claim.task)
    if not limit_s or isinstance(told.get("frame"), list):
        return False  # a video of RFAM's node can't be taken back
    seconds = told.get("seconds")
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        seconds = board.wall() - epoch(claim.at)
    return seconds > limit_s * bounds.GRACE + 2 * board.nodes.heartbeat_s()


# -- those that wait for somebody to try them ---------------------------------------------------------


def give_up(turn: Turn) -> None:
    """Tasks that were tried often enough and waited for another node, where there is none any more."""
    job, live = turn.job, turn.live
    stuck = _stuck(turn)
    for task in list(stuck)[:MOST_JUDGED]:
        faults = job.troubles.faults(task)
        if job.cells[task] != WAITING or len(faults) < verdict.needed(faults, job.retries):
            if job.cells[task] != CLAIMED:
                stuck.discard(task)
            continue
        nodes = candidates(turn.board, live, job.stage_of(task).index, task)
        judged = verdict.verdict(faults, _with_unheard(turn, nodes, faults, task), job.retries)
        if judged.final:
            stuck.discard(task)
            turn.add({"at": turn.at, "event": "gave_up", "task": task, "why": judged.why})


def _stuck(turn: Turn) -> set[int]:
    live, job = turn.live, turn.job
    if live.stuck is None:
        live.stuck = {
            task
            for task in job.failures
            if len(faults := job.troubles.faults(task)) >= verdict.needed(faults, job.retries)
        }
    return live.stuck


# -- logs and words -----------------------------------------------------------------------------------


def keep_log(turn: Turn, op: Op, node: str, what: str, failed: bool = False) -> None:
    """Have what an attempt said kept, aside, once this turn is written."""
    words, output = op.data.get("log"), op.data.get("output")
    words = words if failed and isinstance(words, str) else ""
    if words or output or op.attempt in turn.board.texts:
        about = f"{turn.job.words_for(op.task)}, {node}, {turn.at}, {what}"
        turn.logs.append(Said(op.task, op.code >> 16, op.attempt, failed, about, output, words))


def first_line(log: object) -> str:
    """What the node says itself stands first in a failure's log."""
    return log.strip().partition("\n")[0].strip()[:200] if isinstance(log, str) else ""


def words_of(seconds: float) -> str:
    """A time for people."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return say("{seconds:.0f} min", seconds=seconds / 60) if seconds < 6000 else f"{seconds / 3600:.1f} h"
