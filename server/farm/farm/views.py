"""Jobs, tasks and nodes as the API shows them. Reads the board, changes nothing."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from server.disk import paths
from server.farm import frames as frame_ranges
from server.farm import statistics
from server.farm.committer.board import Board
from server.farm.committer.live import Ended, Live
from server.farm.jobs import inputs, outputs, states
from server.farm.jobs import plan as plans
from server.farm.jobs.job import Job
from server.farm.jobs.record import pictures_of
from server.farm.jobs.tasks import CLAIMED, DONE, LETTERS
from server.farm.nodes import Node
from server.farm.reasons import Reasons, trouble
from server.farm.statistics import film, tables

RANGES = 200  # in one requeue
FILMS, FILM_S = 200, 0.4  # how many are kept, and how old that of a long job may be
LONG = 5000  # frames


class Views:
    """Made once; answers from what is in memory."""

    def __init__(self, board: Board, reasons: Reasons) -> None:
        self._board = board
        self._reasons = reasons
        self._cells: dict[str, tuple[int, str]] = {}  # job id -> events then, cells then
        self._films: dict[str, tuple[int, float, film.Film]] = {}  # job id -> events then, when, the film

    def job(self, live: Live, ends: Mapping[str, str] | None = None) -> dict[str, Any]:
        """A job that is in memory as a fold. `ends`: when it will be over, where that can be told."""
        job = live.job
        if job.state not in states.OPEN:
            ends = None
        return {
            **self._request(job.record, job.address),
            "state": job.state,
            "site": job.site,
            "elsewhere": not self._board.ours(job),
            "why": self.why(live),
            "priority": job.priority,
            **_plan(job.plan),
            "started": job.started or None,
            "ended": job.ended or None,
            "counts": dict(job.counts),
            "progress": _progress(job.counts, job.total),
            "seconds": job.usage.milliseconds / 1000,
            "seconds_per_task": job.usage.seconds_per_task(job.counts["done"]),
            "estimated_end": ends["likely"] if ends else None,
            "ends": dict(ends) if ends else None,
            "attempts": job.usage.attempts,
            "seconds_for_nothing": job.usage.nothing_milliseconds / 1000,
            "failed_attempts": job.usage.failed_attempts,
            "lost_attempts": job.usage.lost_attempts,
            "peak_memory_mb": round(job.usage.peak_memory_mb) or None,
            "output_bytes": job.output_bytes,
            "nodes": job.usage.of_nodes(),
            "cells": self._cells_of(job),
            "changed": live.changed or list(dict.fromkeys(change["file"] for change in job.changes)),
            "changes": [_change(change) for change in job.changes],
            "stages": _stages(job.record, job),
            "preview": _video(job.home, job.record, next(iter(job.videos.values()), "")),
            **trouble.of_job(self._board, live),
            "newest": _picture(outputs.folder(job), statistics.newest(job)),
        }

    def ended(self, ended: Ended) -> dict[str, Any]:
        """A job that is over, from its sum."""
        result = ended.result
        counts = {**dict.fromkeys(LETTERS.values(), 0), **result.get("counts", {})}
        kept = ("state", "started", "ended", "seconds", "seconds_per_task", "attempts")
        more = ("failed_attempts", "lost_attempts", "peak_memory_mb", "output_bytes", "nodes", "cells")
        asked = self._request(ended.record, ended.place.address)
        return {
            **asked,
            "site": ended.site,
            "elsewhere": not self._board.ours(ended),
            "priority": result.get("priority", ended.record.get("priority", 3)),
            "counts": counts,
            "progress": _progress(counts, result.get("total", 0)),
            "estimated_end": None,
            "ends": None,
            **{key: result.get(key) for key in kept + more},
            "seconds_for_nothing": tables.seconds_for_nothing(result),
            **trouble.of_ended(result),
            "why": result.get("why") or inputs.sentence(result.get("changed") or []),
            "changed": result.get("changed") or [],
            "changes": [_change(change) for change in result.get("changes") or []],
            "stages": _stages(ended.record, None),
            "preview": _video(paths.folder_of(ended.place.address), ended.record, result.get("video")),
            "newest": _picture(
                pictures_of(paths.folder_of(ended.place.address), ended.record), result.get("newest")
            ),
        }

    def _request(self, record: dict[str, Any], address: str) -> dict[str, Any]:
        folder = record.get("folder")
        return {
            "id": record["id"],
            "name": record.get("name") or paths.stem_of(paths.name_of(address)),
            "file": address,
            "warnings": record.get("warnings") or [],
            "project": record.get("project"),
            "user": record.get("user"),
            "type": record.get("type"),
            "description": record.get("description", ""),
            "frames": record.get("frames"),
            "order": record.get("order", "linear"),
            "output": record.get("output"),
            "version": record.get("version"),
            "folder": paths.join(paths.folder_of(address), folder) if folder else None,
            "parameters": record.get("parameters", {}),
            "requires": record.get("requires", []),
            **_plan(plans.read(record)),
            "licences": record.get("licences", []),
            "groups": record.get("groups", []),
            "retries": record.get("retries"),
            "source_hash": (record.get("source") or {}).get("sha256"),
            "submitted": record.get("created"),
            "total": record.get("total"),
        }

    def _cells_of(self, job: Job) -> str:
        events, text = self._cells.get(job.id, (-1, ""))
        if events != job.events:
            text = statistics.cells(job)
            self._cells[job.id] = (job.events, text)
            if len(self._cells) > 2000:
                self._cells.pop(next(iter(self._cells)))
        return text

    def why(self, live: Live) -> str:
        """Why a job is as it is, in a sentence: above all what a waiting one waits for."""
        return self._reasons.sentence(live)

    # -- tasks ----------------------------------------------------------------------------------------

    def tasks(
        self, live: Live, start: int = 0, limit: int = 100, state: str = "", stage: str = ""
    ) -> tuple[list[dict[str, Any]], int]:
        """One page of a job's tasks, and how many there are of this state. Those of optional stages are shown
        to who asks for that `stage`."""
        job = live.job
        if stage:
            own = next((found for found in job.stages if found.name == stage), None)
            numbers = [n for n in range(own.first, own.end) if _is(job, n, state)] if own is not None else []
            return [self.task(live, n) for n in numbers[start : start + limit]], len(numbers)
        if not state:
            return [self.task(live, n) for n in range(start, min(start + limit, job.total))], job.total
        letter = next((letter for letter, name in LETTERS.items() if name == state), None)
        if letter is None:
            return [], 0
        found = _skip(_of_state(job, letter), start)
        return [self.task(live, n) for n, _ in zip(found, range(limit), strict=False)], job.counts[state]

    def task(self, live: Live, n: int) -> dict[str, Any]:
        """One task."""
        job = live.job
        cell = job.cells[n]
        claim = job.claims.get(n)
        failures = job.failures.get(n) or []
        node = None
        if claim is not None:
            node = claim.node
        elif cell == DONE:
            node = job.done_by(n)
        elif failures:
            node = failures[-1].node
        name = outputs.name_of(job, n)
        return {
            "n": n,
            **_told_of(job, n),
            "state": LETTERS[cell],
            "node": node,
            "seconds": job.milliseconds[n] / 1000 if cell == DONE else None,
            "attempts": job.latest[n] >> 16,
            "progress": round(claim.progress, 3) if cell == CLAIMED and claim is not None else None,
            **trouble.of_task(live, n),
            "image": paths.join(outputs.folder(job), name) if outputs.folder(job) and name else None,
            "log": job.latest[n] >> 16 or None,
        }

    def film(self, live: Live) -> film.Film:
        """The job frame by frame. Of a long one that goes on it may be a moment old: many look at it, and
        what comes next brings it up to date."""
        job, now = live.job, self._board.monotonic()
        known = self._films.get(job.id)
        if known is not None:
            hurries = job.total > LONG and job.state == states.RUNNING and len(job.claims) > 0
            if known[0] == job.events or (hurries and now - known[1] < FILM_S):
                return known[2]
        found = film.film(job)
        if len(self._films) > FILMS:
            self._films.clear()
        self._films[job.id] = (job.events, now, found)
        return found

    # -- nodes ----------------------------------------------------------------------------------------

    def node(self, node: Node) -> dict[str, Any]:
        """One node with what it does."""
        board = self._board
        view = board.nodes.view(node, board.nodes.heartbeat_s())
        doing = []
        for job_id, claim in list(node.held.values()):
            live = board.live.get(job_id)
            if live is not None and claim.task < live.job.tasks:
                doing.append(
                    {
                        "job": job_id,
                        "n": claim.task,
                        **_told_of(live.job, claim.task),
                        "progress": round(claim.progress, 3),
                        "words": live.job.words_for(claim.task),
                        "name": live.job.record.get("name"),
                        "project": live.record.get("project"),
                        "file": live.job.address,
                        "line": claim.line,
                    }
                )
        return {**view, "doing": doing}


def _change(change: dict[str, Any]) -> dict[str, Any]:
    """A file that changed while it was rendered from, with a sentence."""
    kept = {key: change.get(key) for key in ("file", "what", "at", "done", "before")}
    return {**kept, "sentence": inputs.told(change)}


def _picture(folder: str | None, newest: Any) -> dict[str, Any] | None:
    """Where the picture lies that stands for a job, and what tells it from an earlier one of its name."""
    if not folder or not isinstance(newest, dict) or "/" in str(newest.get("name") or "/"):
        return None
    found = {"image": paths.join(folder, str(newest["name"])), "attempts": newest.get("attempts")}
    return {**found, "n": newest.get("n")}


def _stages(record: dict[str, Any], job: Job | None) -> list[dict[str, Any]]:
    """What a job is made of, in order."""
    found = []
    for n, stage in enumerate(record.get("stages") or ()):
        told = {key: stage.get(key) for key in ("name", "title", "per", "tasks", "after")}
        told["optional"] = bool(stage.get("optional"))
        if job is not None:
            own = job.stages[n]
            cells = job.cells[own.first : own.end]
            told["counts"] = {name: cells.count(letter) for letter, name in LETTERS.items()}
            told["why"] = job.left_out.get(n, "")
        found.append(told)
    return found


def _video(home: str, record: dict[str, Any], ending: object) -> str | None:
    """Where the video of a version lies: beside its folder."""
    folder = record.get("folder")
    return paths.join(home, folder) + ending if folder and isinstance(ending, str) and ending else None


def _told_of(job: Job, n: int) -> dict[str, Any]:
    """What a task is: the frame or frames, the stage and the tile."""
    stage, frame = job.stage_of(n), job.task_frame(n)
    told: dict[str, Any] = {"frames": frame} if isinstance(frame, list) else {"frame": frame}
    tile = stage.tile(n - stage.first)
    return {**told, "stage": stage.name, **({"tile": list(tile)} if tile is not None else {})}


def chosen_tasks(job: Job, tasks: str | list[int]) -> list[str]:
    """Task numbers as ranges, for requeues: "failed", "rest" (all that isn't done), "all", or a list."""
    if isinstance(tasks, str):
        letters = {"failed": b"f", "rest": b"fs"}.get(tasks, b"dfs")
        return ranges_of([n for n, cell in enumerate(job.cells) if cell in letters])
    return ranges_of(sorted(_with_parts(job, set(tasks))))


def _with_parts(job: Job, numbers: set[int]) -> set[int]:
    """Of a job that is done also the parts that a picture is put together from: they are gone."""
    found = set(numbers)
    for n in numbers if job.state == states.DONE else ():
        stage = job.stage_of(n)
        for after in stage.after:
            other = job.stages[after.stage]
            if other.record.get("parts"):
                low, high = other.covering(*stage.span(n - stage.first))
                found |= set(range(other.first + low, other.first + high))
    return found


def ranges_of(numbers: list[int]) -> list[str]:
    """`[0, 1, 2, 5]` as `["0-2,5"]`; several texts where one would be too long to be read again."""
    parts: list[range] = []
    for n in numbers:
        if parts and parts[-1].stop == n:
            parts[-1] = range(parts[-1].start, n + 1)
        else:
            parts.append(range(n, n + 1))
    return [str(frame_ranges.Frames(tuple(parts[at : at + RANGES]))) for at in range(0, len(parts), RANGES)]


def _of_state(job: Job, letter: int) -> Iterator[int]:
    n = job.cells.find(letter, 0, job.total)
    while n >= 0:
        yield n
        n = job.cells.find(letter, n + 1, job.total)


def _is(job: Job, n: int, state: str) -> bool:
    return not state or LETTERS[job.cells[n]] == state


def _skip(numbers: Iterator[int], count: int) -> Iterator[int]:
    for at, n in enumerate(numbers):
        if at >= count:
            yield n


def _plan(plan: plans.Plan) -> dict[str, Any]:
    return {
        "after": [{"job": after.job, "by": after.by} for after in plan.after],
        "start_after": _time(plan.start),
        "nodes_most": plan.most,
    }


def _time(seconds: float) -> str | None:
    if not seconds:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat().replace("+00:00", "Z")


def _progress(counts: dict[str, int], total: int) -> float:
    over = counts.get("done", 0) + counts.get("skipped", 0) + counts.get("failed", 0)
    return round(over / total, 4) if total else 0.0
