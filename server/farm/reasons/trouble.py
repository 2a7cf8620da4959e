"""What went wrong, as the API shows it: each failure with its sentence and one thing to do, who is kept from
what and until when. Reads, changes nothing."""

from __future__ import annotations

import datetime
from typing import Any

from server.disk import paths
from server.disk.speech import say
from server.farm.committer import fail
from server.farm.committer.board import Board
from server.farm.committer.live import Live
from server.farm.failures import verdict, words
from server.farm.jobs import states
from server.farm.jobs.tasks import DONE, WAITING
from server.farm.jobs.troubles import Failure

MOST = 50  # avoided nodes that are told of
MOST_TASKS = 200  # of whose failures they are gathered


def of_task(live: Live, n: int) -> dict[str, Any]:
    """Why its attempts gave nothing."""
    failures = live.job.failures.get(n) or []
    last = failures[-1] if failures and live.job.cells[n] != DONE else None
    return {
        "reason": last.reason if last is not None else None,
        "sentence": sentence(live, n, last) if last is not None else None,
        "to_do": words.to_do(last.reason, last.rule) if last is not None else None,
        "rule": (last.rule or None) if last is not None else None,
        "failures": [
            {
                "attempt": f.attempt,
                "node": f.node,
                "reason": f.reason,
                "at": f.at,
                "say": f.say or None,
                "rule": f.rule or None,
                "counts": f.counts,
                "sentence": sentence(live, n, f),
                "to_do": words.to_do(f.reason, f.rule),
            }
            for f in failures
        ],
    }


def sentence(live: Live, n: int, failure: Failure) -> str:
    """What happened, naming frame, computer and file."""
    file = paths.name_of(live.job.address)
    return words.happened(live.job.words_for(n), failure.node, file, failure.reason, failure.say)


def of_job(board: Board, live: Live) -> dict[str, Any]:
    """Who is kept from it, and what it waits for."""
    troubles = live.job.troubles
    held = board.held(live)
    return {
        "free_attempts": troubles.free_attempts,
        "refused_attempts": troubles.refused,
        "avoided": avoided(board, live) if live.job.failures and live.state not in states.ENDED else [],
        "held": {"until": stamp(troubles.held_until), "why": troubles.held_why} if held else None,
    }


def of_ended(result: dict[str, Any]) -> dict[str, Any]:
    """The same of a job that is over, from its sum."""
    sums = {key: result.get(key, 0) for key in ("free_attempts", "refused_attempts")}
    return {**sums, "avoided": [], "held": None}


def avoided(board: Board, live: Live) -> list[dict[str, Any]]:
    """Nodes that are kept from the job or from tasks of it, why, and until when."""
    job, found = live.job, {}
    since = board.wall() - board.avoid_s()
    for name, count in job.troubles.failed_tasks(since).items():
        if count >= verdict.KEPT_AFTER and fail.kept_away(board, live, name):
            tasks = job.troubles.on_node.get(name, {})
            last = max([*tasks.values(), job.troubles.lacking.get(name, 0.0)])
            why = (
                say("{tasks} frames in a row failed there", tasks=len(tasks))
                if len(tasks) > 1
                else say("it lacks what the scene needs")
            )
            found[name] = {"node": name, "why": why, "until": stamp(last + board.avoid_s()), "whole": True}
    for task in [n for n in list(job.failures)[:MOST_TASKS] if job.cells[n] == WAITING]:
        for failure in job.failures.get(task, ()):
            if failure.forgiven or failure.when < since or failure.node in found:
                continue
            if failure.node in job.troubles.barred(task, since):
                why = say(
                    "{words_for} failed there: {say}",
                    words_for=job.words_for(task),
                    say=failure.say or failure.reason,
                )
                until = stamp(failure.when + board.avoid_s())
                found[failure.node] = {"node": failure.node, "why": why, "until": until, "whole": False}
        if len(found) >= MOST:
            break
    return list(found.values())[:MOST]


def waiting_for(board: Board, live: Live) -> str:
    """Where frames were tried often enough and wait for a certain computer more: which; else ""."""
    job = live.job
    small = [n for n in list(job.troubles.needs_mb)[:MOST] if job.cells[n] == WAITING]
    for task in [*list(live.stuck or ())[:MOST], *small]:
        if job.cells[task] != WAITING:
            continue
        faults = job.troubles.faults(task)
        nodes = fail.candidates(board, live, job.stage_of(task).index, task)
        if task in job.troubles.needs_mb and not any(node.there for node in nodes):
            least = job.troubles.needs_mb[task] / 1024
            names = ", ".join(node.name for node in nodes[:3]) or "none"
            return say(
                "{words_for} needs more memory than {least:.0f} GB: {names} has it, and isn't here",
                words_for=job.words_for(task),
                least=least,
                names=names,
            )
        counted = verdict.weighty(faults, nodes)
        if len(counted) < verdict.needed(counted, job.retries):
            continue
        names = ", ".join(sorted({fault.node for fault in faults})[:3])
        judged = verdict.verdict(faults, nodes, job.retries)
        if judged.final:
            judged = verdict.verdict(
                faults, [*nodes, *fail.later(board, live, job.stage_of(task).index, task)], job.retries
            )
        if judged.waits_for and not judged.final:
            return say(
                "{words_for} failed on {names}: {waits_for} will try it",
                words_for=job.words_for(task),
                names=names,
                waits_for=", ".join(judged.waits_for[:3]),
            )
        return say(
            "{words_for} failed on {names}: other computers are waited for, a minute at most",
            words_for=job.words_for(task),
            names=names,
        )
    return ""


def stamp(seconds: float) -> str:
    """A time as the API tells it."""
    at = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
