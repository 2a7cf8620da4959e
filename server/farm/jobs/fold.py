"""The fold over a job's journal: what each kind of line does to the job. No files, no clock, no locks here.

`apply` is the only thing that changes a job, so replaying all lines and any run of catch-ups give the same.
One function a kind; lines that make no sense are counted and skipped, kinds that are not known are let be.
Requeueing a task takes back what was made of it, in all stages that come after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from server.disk.errors import CroftError
from server.farm import frames as frame_ranges
from server.farm.jobs import outputs, states
from server.farm.jobs import plan as plans
from server.farm.jobs.attempts import Claim, attempt_id, code_of
from server.farm.jobs.job import Event, Job
from server.farm.jobs.tasks import CLAIMED, DONE, FAILED, SATISFIED, SKIPPED, WAITING
from server.farm.jobs.troubles import Failure, gone

KEPT_CHANGES = 200  # of the files that it is rendered from
FATAL = 3  # strikes of a failure that no computer could do better
NAMES_MOST = 65_535  # nodes that are told apart in the column of who did what


def replay(job: Job, events: Iterable[Event]) -> None:
    """Apply many."""
    for event in events:
        apply(job, event)


def apply(job: Job, event: Event) -> None:
    """One line of the journal. Never raises: a line that makes no sense is counted."""
    job.events += 1
    try:
        handler = _HANDLERS.get(event["event"])
        if handler is not None:
            handler(job, event)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError, CroftError):
        job.bad += 1


# -- attempts -----------------------------------------------------------------------------------------


def _claim(job: Job, event: Event) -> None:
    task, code = _task(job, event), code_of(event["attempt"])
    if job.cells[task] != WAITING or job.state in states.ENDED or not job.is_ready(task):
        return
    node = str(event["node"])
    claim = Claim(task, code, attempt_id(job.id, task, code), node, str(event["server"]), event["at"])
    job.latest[task] = code
    job.superseded[task] = 0
    job.usage.attempts += 1
    job.mark(task, CLAIMED)
    job.claims[task] = claim
    if not job.started:
        job.started = event["at"]
    if job.listener is not None:
        job.listener.claimed(job, claim)


def _adopt(job: Job, event: Event) -> None:
    claim = _held(job, event)
    if claim is not None:
        claim.server = str(event["server"])
        claim.foreign_since = 0.0


def _part(job: Job, event: Event) -> None:
    """Frames of a chunk are there while the rest of it is rendered, or in spite of its failure."""
    claim = _held(job, event)
    if claim is not None:
        outputs.note(job, claim.task, event.get("outputs") or ())


def _done(job: Job, event: Event) -> None:
    task = _task(job, event)
    if not job.may_finish(task, code_of(event["attempt"])):
        return
    milliseconds = round(float(event.get("seconds") or 0) * 1000)
    if not 0 <= milliseconds < 2**32:
        raise ValueError("seconds")
    usage, asked = job.usage, task < job.total
    name, at = str(event.get("node", "")), str(event["at"])
    second, hour = usage.moment(at)
    job.drop_claim(task)
    job.mark(task, DONE)
    job.milliseconds[task] = milliseconds
    job.worker[task] = _index_of(job, name)
    if asked:
        usage.done(name, hour, milliseconds, job.frames_in(task))
        job.strikes = 0
    else:
        usage.done_unasked(name, hour, milliseconds)
    job.last_done = at
    if job.shown.first <= task < job.shown.end:
        job.last_task = task
    job.done_at[task] = int(second)
    job.troubles.waits = 0
    outputs.note(job, task, event.get("outputs") or ())
    told = event.get("statistics") or {}
    memory, waited = told.get("memory_mb"), told.get("waited_s")
    if isinstance(waited, (int, float)) and 0 <= waited * 1000 <= milliseconds and asked:
        usage.waited_milliseconds += round(waited * 1000)
    if isinstance(memory, (int, float)) and 0 <= memory < 2**31:
        job.memory[task] = round(memory)
        usage.peak_memory_mb = max(usage.peak_memory_mb, float(memory))


def _failed(job: Job, event: Event) -> None:
    claim = _held(job, event)
    if claim is None:
        return
    reason = str(event.get("reason") or "failed")
    job.usage.failed(claim, event["at"], reason, event.get("seconds"))
    failure = Failure(
        event["at"],
        claim.code >> 16,
        claim.node,
        reason,
        say=str(event.get("say") or ""),
        rule=str(event.get("rule") or ""),
        free=bool(event.get("free")),
    )
    job.troubles.failed(claim.task, failure, event)
    _give_back(job, claim.task, bool(event.get("final")))
    if failure.rule == "fatal" and claim.task < job.total:
        job.strikes += FATAL - 1


def _expired(job: Job, event: Event) -> None:
    claim = _held(job, event)
    if claim is None:
        return
    job.usage.lost(claim, event["at"])
    job.troubles.vanished(claim.task, gone(event["at"], claim.code >> 16, claim.node))
    _give_back(job, claim.task, bool(event.get("final")))


def _released(job: Job, event: Event) -> None:
    claim = _held(job, event)
    if claim is not None:
        _give_back(job, claim.task, final=False)


def _refused(job: Job, event: Event) -> None:
    job.troubles.refused += 1


# -- tasks --------------------------------------------------------------------------------------------


def _gave_up(job: Job, event: Event) -> None:
    """A task that waited for another node to try it has failed for good: there is none any more."""
    task = _task(job, event)
    if job.cells[task] == WAITING:
        job.strikes += task < job.total
        job.mark(task, FAILED)


def _skip(job: Job, event: Event) -> None:
    task = _task(job, event)
    if job.cells[task] in (WAITING, FAILED):
        job.mark(task, SKIPPED)
        if event.get("why"):
            job.left_out[job.stage_of(task).index] = str(event["why"])


def _requeue(job: Job, event: Event) -> None:
    anew = bool(event.get("anew"))  # Journals from before it was said are folded as they were then.
    for task in frame_ranges.parse(event["tasks"], max_frames=10**7):
        if 0 <= task < job.tasks and job.cells[task] not in (WAITING, CLAIMED):
            _again(job, task, anew)
        elif 0 <= task < job.tasks and job.cells[task] == WAITING and anew:
            job.superseded[task] = 1


def _again(job: Job, task: int, anew: bool) -> None:
    """Have a task done anew, and all that was made of it. What its old attempts still say is too late."""
    stage, before = job.stage_of(task), job.cells[task]
    if anew:
        job.superseded[task] = 1
    whole = job.is_met(stage)
    if before == DONE:
        job.redone[task] = 1
        _take_back(job, task)
        outputs.take_back(job, stage, task)
    job.troubles.forget(task)
    job.names.pop(task, None)
    job.videos.pop(task, None)
    job.mark(task, WAITING)
    if before in SATISFIED:
        # What waits for all of a stage was begun only where all of it was there.
        for other in job.followers(stage, task, whole):
            _overtake(job, other, anew)


def _overtake(job: Job, task: int, anew: bool) -> None:
    """What a task was made from is being made anew. An attempt that is out or lost is superseded."""
    job.superseded[task] = 1 if anew else job.superseded[task] ^ 1
    if job.cells[task] == CLAIMED:
        job.drop_claim(task)
        job.mark(task, WAITING)
    elif job.cells[task] in (DONE, FAILED):
        _again(job, task, anew)


def _take_back(job: Job, task: int) -> None:
    """A done task is to be done again."""
    spent, second, asked = job.milliseconds[task], job.done_at[task], task < job.total
    job.usage.taken_back(job.done_by(task), second, spent, job.frames_in(task), asked)
    job.milliseconds[task] = job.memory[task] = job.done_at[task] = 0


# -- the job ------------------------------------------------------------------------------------------


def _state(job: Job, event: Event) -> None:
    to = event["to"]
    if to not in states.STATES:
        raise ValueError(to)
    if job.state in states.ENDED and to not in states.ENDED:
        job.revived = job.events, event
    job.state = to
    job.why = str(event.get("why") or "")
    job.by = str(event.get("by") or "")
    if to in states.ENDED:
        job.ended = event["at"]
        for task, claim in list(job.claims.items()):
            job.usage.stopped(claim, event["at"])
            _give_back(job, task, final=False)
    else:
        job.ended = ""
        if job.by:
            job.strikes = 0


def _priority(job: Job, event: Event) -> None:
    job.priority = int(event["value"])


def _plan(job: Job, event: Event) -> None:
    """People changed what the request said of when, and on how many nodes."""
    said = plans.read(event)
    job.plan = plans.Plan(
        said.after if "after" in event else job.plan.after,
        said.start if "start_after" in event else job.plan.start,
        said.most if "nodes_most" in event else job.plan.most,
    )


def _site(job: Job, event: Event) -> None:
    job.site = str(event["value"])


def _input(job: Job, event: Event) -> None:
    if isinstance(event["file"], str) and len(job.changes) < KEPT_CHANGES:
        job.changes.append(event)


def _forgive(job: Job, event: Event) -> None:
    nodes = event.get("nodes")
    job.troubles.forgive([str(name) for name in nodes] if isinstance(nodes, list) else None)


# -- helpers ------------------------------------------------------------------------------------------


def _task(job: Job, event: Event) -> int:
    task = event["task"]
    if not isinstance(task, int) or not 0 <= task < job.tasks:
        raise ValueError("task")
    return task


def _held(job: Job, event: Event) -> Claim | None:
    return job.held(_task(job, event), code_of(event["attempt"]))


def _give_back(job: Job, task: int, final: bool) -> None:
    job.drop_claim(task)
    if final and task < job.total:
        job.strikes += 1
    job.mark(task, FAILED if final else WAITING)


def _index_of(job: Job, name: str) -> int:
    index = job.node_index.get(name)
    if index is None:
        if len(job.node_names) >= NAMES_MOST:
            return NAMES_MOST - 1
        index = job.node_index[name] = len(job.node_names)
        job.node_names.append(name)
    return index


_HANDLERS: dict[str, Callable[[Job, Event], None]] = {
    "claim": _claim,
    "adopt": _adopt,
    "part": _part,
    "done": _done,
    "failed": _failed,
    "expired": _expired,
    "released": _released,
    "refused": _refused,
    "gave_up": _gave_up,
    "skip": _skip,
    "requeue": _requeue,
    "state": _state,
    "priority": _priority,
    "plan": _plan,
    "site": _site,
    "input": _input,
    "forgive": _forgive,
}
