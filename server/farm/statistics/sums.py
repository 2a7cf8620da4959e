"""Sums over a job and the time it will still take. Pure; every figure comes from the fold's own columns,
and `disagreements` says where they would not add up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from server.farm.failures import words
from server.farm.jobs import outputs
from server.farm.jobs.job import Job
from server.farm.jobs.tasks import CLAIMED, DONE, FAILED, SKIPPED, WAITING
from server.farm.statistics import film

CELLS = 400  # at most so many letters show a job: a letter stands for several tasks in longer ones
_WORST_FIRST = (FAILED, CLAIMED, WAITING, DONE, SKIPPED)  # what a letter for several tasks says


def summary(job: Job) -> dict[str, Any]:
    """What is kept of an ended job (result.json), and shown of one that runs."""
    usage = job.usage
    times = sorted(film.times_of(job))
    return {
        "state": job.state,
        "why": job.why,
        "priority": job.priority,
        "started": job.started or None,
        "ended": job.ended or None,
        "total": job.total,
        "counts": dict(job.counts),
        "attempts": usage.attempts,
        "site": job.site,
        "failed_attempts": usage.failed_attempts,
        "lost_attempts": usage.lost_attempts,
        "free_attempts": job.troubles.free_attempts,
        "refused_attempts": job.troubles.refused,
        "seconds": usage.milliseconds / 1000,
        "seconds_per_task": usage.seconds_per_task(job.counts["done"]),
        "seconds_shortest": times[0][0] / 1000 if times else None,
        "seconds_longest": times[-1][0] / 1000 if times else None,
        "fastest": times[0][1] if times else None,
        "slowest": times[-1][1] if times else None,
        "frames_done": len(times),
        "seconds_waited": usage.waited_milliseconds / 1000,
        "peak_memory_mb": round(usage.peak_memory_mb) or None,
        "output_bytes": job.output_bytes,
        "newest": newest(job),
        "video": next(iter(job.videos.values()), None),
        **({"changes": job.changes} if job.changes else {}),
        "nodes": usage.of_nodes(),
        "by_hour": {
            hour: {name: list(sums) for name, sums in sorted(found.items()) if any(sums)}
            for hour, found in sorted(usage.by_hour.items())
        },
        "reasons": {hour: dict(counts) for hour, counts in sorted(usage.reasons.items())},
        "cells": cells(job),
        "first_failure": _first_failure(job),
        "failure": standing(job),
    }


def cells(job: Job) -> str:
    """One letter a task (w c d f s), or the most telling one of each group where there are many."""
    size = -(-job.total // CELLS)
    letters = bytes(job.cells[: job.total])
    if size <= 1:
        return letters.decode()
    *worse, best = [letter for letter in _WORST_FIRST if letter in letters]
    shown = bytearray([best]) * -(-job.total // size)
    for letter in reversed(worse):  # the worst has the last word
        at = letters.find(letter)
        while at >= 0:
            shown[at // size] = letter
            at = letters.find(letter, (at // size + 1) * size)
    return shown.decode()


def newest(job: Job) -> dict[str, Any] | None:
    """The picture that stands for the job: the file name of the frame that was done last."""
    task = job.last_task
    if task < 0 or job.cells[task] != DONE:  # it is to be rendered again
        task = job.cells.rfind(DONE, job.shown.first, job.shown.end)
    name = outputs.name_of(job, task) if task >= 0 else ""
    at = job.shown.span(task - job.shown.first)[0] if name else 0
    return {"n": at, "name": name, "attempts": job.latest[task] >> 16} if name else None


def disagreements(job: Job) -> list[str]:
    """Where a job's sums contradict each other: empty, always."""
    wrong: list[str] = []
    letters = {"waiting": WAITING, "claimed": CLAIMED, "done": DONE, "failed": FAILED, "skipped": SKIPPED}
    for name, letter in letters.items():
        there = job.cells.count(letter)
        if there != job.counts[name] + job.extras[name]:
            wrong.append(f"{job.counts[name]} tasks are counted as {name}, {there} are")
    if sum(job.counts.values()) != job.total:
        wrong.append("the counts don't sum up to the total")
    claimed = job.counts["claimed"] + job.extras["claimed"]
    if len(job.claims) != claimed:
        wrong.append(f"{len(job.claims)} claims for {claimed} claimed tasks")
    if sum(sums[0] for sums in job.usage.by_node.values()) != job.counts["done"]:
        wrong.append("the nodes' done tasks don't sum up")
    if sum(sums[1] for sums in job.usage.by_node.values()) != job.usage.milliseconds:
        wrong.append("the nodes' seconds don't sum up")
    if sum(milliseconds for _, milliseconds in _times(job)) != job.usage.milliseconds:
        wrong.append("the tasks' seconds don't sum up")
    if sum(sums[2] for sums in job.usage.by_node.values()) != job.usage.failed_attempts:
        wrong.append("the nodes' failures don't sum up")
    return wrong + _hours_disagree(job)


def _hours_disagree(job: Job) -> list[str]:
    """Where the sums by hour aren't those by node."""
    hours: dict[str, list[int]] = {}
    for found in job.usage.by_hour.values():
        for name, sums in found.items():
            known = hours.setdefault(name, [0, 0, 0, 0])
            hours[name] = [a + b for a, b in zip(known, sums[:4], strict=True)]
    whole = {name: sums for name, sums in job.usage.by_node.items() if any(sums)}
    hours = {name: sums for name, sums in hours.items() if any(sums)}
    wrong = [] if hours == whole else ["the hours' tasks don't sum up"]
    counted = sum(sum(counts.values()) for counts in job.usage.reasons.values())
    if counted != job.usage.failed_attempts + job.usage.lost_attempts:
        wrong.append("the reasons of failures don't sum up")
    if sum(job.sizes) != job.output_bytes:
        wrong.append("the tasks' bytes don't sum up")
    return wrong


def _times(job: Job) -> Iterator[tuple[int, int]]:
    """Number and milliseconds of the done tasks that were asked for."""
    cells = job.cells
    return ((task, job.milliseconds[task]) for task in range(job.total) if cells[task] == DONE)


def standing(job: Job) -> dict[str, Any] | None:
    """The failure that its owner should look at: the newest of the tasks that failed for good; before
    anything is done also of those that are tried again, since then the scene may be wrong. Failures that
    are no fault of the frame (a licence, a computer that went away) are none of the owner's."""
    counts, failures = job.counts, job.failures.copy()
    for_good = bool(counts["failed"])
    if not failures or (not for_good and counts["done"]):
        return None
    tasks = [
        n for n, found in failures.items()
        if found and n < job.total and (job.cells[n] == FAILED if for_good else found[-1].counts)
    ]  # fmt: skip
    if not tasks:
        return None
    n = max(tasks, key=lambda task: str(failures[task][-1].at))
    newest = failures[n][-1]
    return {
        "n": n,
        "frame": job.task_frame(n),
        "words": job.words_for(n),
        "node": newest.node,
        "reason": newest.reason,
        "sentence": words.happened(
            job.words_for(n), newest.node, job.address.rpartition("/")[2], newest.reason, newest.say
        ),
        "to_do": words.to_do(newest.reason, newest.rule),
        "at": str(newest.at),
        "attempts": len(failures[n]),
        "count": counts["failed"] if for_good else len(tasks),
        "final": job.cells[n] == FAILED,
    }


def _first_failure(job: Job) -> str | None:
    for task in sorted(job.failures):
        if job.cells[task] == FAILED and job.failures[task]:
            failure = job.failures[task][-1]
            return f"{job.words_for(task)}: {failure.reason} (node {failure.node})"
    return None
