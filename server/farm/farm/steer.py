"""What people ask of a job: pause, resume, another priority or plan; of its tasks: render again, leave out;
to forgive the nodes that failed. As acts that the committer does within the job's turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from server.disk.errors import BadInput, Conflict, NotFound
from server.farm.committer.board import Board
from server.farm.committer.turn import Turn
from server.farm.farm.views import chosen_tasks
from server.farm.jobs import plan as plans
from server.farm.jobs import states
from server.farm.jobs.attempts import code_text
from server.farm.jobs.job import Event, Job
from server.farm.jobs.tasks import CLAIMED, FAILED, WAITING

WHOLE = ("failed", "rest", "all")
MOST_CHOSEN = 100_000
Act = Callable[[Turn], None]


def change(to: str, who: str) -> Act:
    """Pause or cancel it; nothing where it is so already."""

    def act(turn: Turn) -> None:
        if turn.job.state != to:
            turn.change(to, by=who)

    return act


def resume(who: str) -> Act:
    """Go on with a paused job. One of another installation is adopted by that."""

    def act(turn: Turn) -> None:
        job, board = turn.job, turn.board
        turn.live.place.restored = False
        if not board.ours(job):
            turn.add({"at": turn.at, "event": "site", "value": board.store.site, "by": who})
        if job.state == states.PAUSED:
            begun = job.started and job.counts["done"] + job.counts["claimed"]
            turn.change(states.RUNNING if begun else states.WAITING, by=who)
        elif job.state in states.ENDED:
            states.check(job.id, job.state, states.RUNNING)

    return act


def priority(value: int, who: str) -> Act:
    """1 (last) to 5 (first)."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 5:
        raise BadInput("A job's priority is a whole number from 1 to 5.")

    def act(turn: Turn) -> None:
        if turn.job.priority != value:
            turn.add({"at": turn.at, "event": "priority", "value": value, "by": who})

    return act


def plan(changes: Mapping[str, Any], is_job: Callable[[str], bool], board: Board, who: str) -> Act:
    """Another `nodes_most` or `start_after` ("" or null: at once); `after: []` waits for no job."""
    if changes.get("after") not in (None, []):
        raise BadInput("after can only be taken away: [] waits for no other job any more.")
    told = {key: value for key, value in changes.items() if key != "after"}
    found = plans.check(told, is_job, board.wall(), board.settings.get("timezone"))
    event: Event = {"event": "plan", "by": who}
    for key, none in (("nodes_most", 0), ("start_after", "")):
        if key in changes:
            event[key] = found.get(key, none)
    if changes.get("after") == []:
        event["after"] = []

    def act(turn: Turn) -> None:
        board.following.remove(turn.job)
        turn.add({"at": turn.at, **event})
        board.following.add(turn.live)
        board.following.look(turn.live)

    return act


def numbers_of(tasks: str | Iterable[int]) -> str | list[int]:
    """What a person chose, checked; BadInput says what would do."""
    if isinstance(tasks, str):
        if tasks not in WHOLE:
            raise BadInput('Tasks to render again are "failed", "rest", "all" or a list of task numbers.')
        return tasks
    found = list(tasks)
    if not all(isinstance(n, int) and not isinstance(n, bool) for n in found):
        raise BadInput("Task numbers are whole numbers.")
    if len(found) > MOST_CHOSEN:
        raise BadInput("Choose at most {most_chosen} tasks at once.", most_chosen=MOST_CHOSEN)
    return found


def requeue(tasks: str | Iterable[int], who: str) -> Act:
    """Render again what failed, all that isn't done, everything, or what was chosen: that too which is being
    rendered just now, by another attempt."""
    chosen = numbers_of(tasks)

    def act(turn: Turn) -> None:
        job = turn.job
        refuse_approved(turn)
        if not isinstance(chosen, str):
            check(job, chosen)
            _take_back(turn, chosen)
        for ranges in chosen_tasks(job, chosen):
            turn.add({"at": turn.at, "event": "requeue", "tasks": ranges, "anew": True, "by": who})
        turn.live.stuck = None
        if job.state in states.ENDED and any(job.ready):
            turn.live.ready = False
            turn.change(states.WAITING, by=who)

    return act


def skip(tasks: Iterable[int], who: str) -> Act:
    """Do without these: what comes after them need not wait, and the job can be done."""
    chosen = numbers_of(tasks)
    assert not isinstance(chosen, str)

    def act(turn: Turn) -> None:
        job = turn.job
        check(job, chosen)
        _take_back(turn, chosen)
        left = [n for n in chosen if job.cells[n] in (WAITING, FAILED)]
        if not left:
            raise Conflict("None of these waits any more: what is done stays.", job=job.id)
        if job.state in states.ENDED and job.state != states.FAILED:
            raise Conflict(
                "Job {job} is {state} already: nothing is left to skip.", job=job.id, state=job.state
            )
        for n in left:
            turn.add({"at": turn.at, "event": "skip", "task": n, "by": who})
        if job.state == states.FAILED:
            turn.live.ready = False
            turn.change(states.WAITING, by=who)  # it comes to its end in this same turn, if that was all

    return act


def forgive(nodes: list[str] | None, who: str) -> Act:
    """Let nodes that failed have the job's tasks again; all of them where None."""

    def act(turn: Turn) -> None:
        event: Event = {"at": turn.at, "event": "forgive", "by": who}
        if nodes is not None:
            event["nodes"] = nodes
        turn.add(event)
        turn.live.stuck = None

    return act


def refuse_approved(turn: Turn) -> None:
    """Conflict where its version is approved: nothing of it is rendered again."""
    why = turn.live.place.why_closed()
    if why:
        raise Conflict("It can't be rendered again: {why}.", job=turn.job.id, why=why)


def check(job: Job, chosen: list[int]) -> None:
    """NotFound where a number is no task of the job."""
    if any(not 0 <= n < job.tasks for n in chosen):
        raise NotFound("Job {job} has the tasks 0 to {tasks}.", job=job.id, tasks=job.tasks - 1)


def _take_back(turn: Turn, chosen: list[int]) -> None:
    for n in chosen:
        claim = turn.job.claims.get(n)
        if claim is not None and turn.job.cells[n] == CLAIMED:
            event: Event = {"at": turn.at, "event": "released", "task": n, "attempt": code_text(claim.code)}
            turn.add(event)
