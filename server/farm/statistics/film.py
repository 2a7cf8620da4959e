"""A job frame by frame, whatever its tasks are: the state of each frame, its picture, the time that it took.

A task may be a frame, a chunk of frames or a tile of one, and several stages may work on a frame: a frame
shows the worst state of all that it needs. Tasks that belong to no frame (a list of commands) are parts, and
stand for frames here. Pure; reads a fold's columns.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from itertools import compress
from typing import Any

from server.disk import paths
from server.farm.jobs import outputs
from server.farm.jobs.job import Job
from server.farm.jobs.tasks import CLAIMED, DONE, FAILED, LETTERS, SKIPPED, WAITING
from server.farm.stages import Stage

CELLS = 480  # at most so many letters show a film
BARS = 240
FILMS = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".ogv")
SLOW_TIMES = 2.0  # so many times the middle one's time is slow …
SLOW_S = 1.0  # … if it is also so much longer: of quick frames none is worth a look
SLOW_FRAMES = 5  # that are named
WORST_FIRST = (FAILED, CLAIMED, WAITING, DONE, SKIPPED)


@dataclass(frozen=True, slots=True)
class Film:
    """What a page draws. `n` is a frame's place among the job's frames, 0 for the first."""

    numbers: str  # the frames as people write them; of parts "1-7"
    total: int
    parts: bool
    cells: str  # a letter for each frame, or for each `group` of them the worst
    group: int
    seconds: list[float]  # for each `bar` frames the longest that one took; 0 where none is done
    bar: int
    median: float
    slow: list[tuple[int, float]]  # frame and seconds of those that stand out, the slowest first
    chunk: int  # frames of each task of the first stage …
    tiles: int  # … or tasks for each frame
    video: str  # the address of the video that is made of the frames; "" while there is none
    video_attempts: int
    video_state: str  # of the task that makes it; "" where none does


def film(job: Job) -> Film:
    """All of it."""
    parts = parts_of(job)
    total = job.total if parts else len(job.frames)
    letters, times = (bytes(job.cells[:total]), _own_times(job)) if parts else frames_of(job)
    group = max(1, -(-total // CELLS))
    bar = max(1, -(-total // BARS))
    tops = times if bar == 1 else [max(times[at : at + bar]) for at in range(0, total, bar)]
    known = sorted(compress(times, times))
    median = known[len(known) // 2] if known else 0
    first = job.stages[0]
    video, video_attempts, video_state = video_of(job)
    return Film(
        numbers=f"1-{total}" if parts else str(job.frames),
        total=total,
        parts=parts,
        cells=gathered(letters, group),
        group=group,
        seconds=[value / 1000 for value in tops],
        bar=bar,
        median=median / 1000,
        slow=_slow(times, known, median),
        chunk=1 if parts else max(1, first.chunk if first.per == "chunk" else 1),
        tiles=1 if parts else max(1, first.per_frame),
        video=video,
        video_attempts=video_attempts,
        video_state=video_state,
    )


def video_of(job: Job) -> tuple[str, int, str]:
    """The film as one file, beside the folder of the frames: its address, attempts, the state of its task."""
    folder = str(job.record.get("folder") or "")
    for task, ending in list(job.videos.items()):
        if folder:
            return paths.join(job.home, folder + ending), job.latest[task] >> 16, LETTERS[job.cells[task]]
    task, name = job.shown.first, outputs.name_of(job, job.shown.first) if job.shown.tasks == 1 else ""
    place = outputs.folder(job)
    if place and name.lower().endswith(FILMS):  # the job makes a film and no frames
        return paths.join(place, name), job.latest[task] >> 16, LETTERS[job.cells[task]]
    made = next((one for one in job.stages if one.optional and one.per == "once"), None)
    return "", 0, LETTERS[job.cells[made.first]] if made is not None else ""


def parts_of(job: Job) -> bool:
    """Are its tasks no frames?"""
    return any(one.per == "list" and one.tasks != one.frames for one in needed(job))


def needed(job: Job) -> list[Stage]:
    """The stages that a frame isn't done without."""
    return [one for one in job.stages if not one.optional]


def frames_of(job: Job) -> tuple[bytes, list[int]]:
    """A letter and the milliseconds for each frame."""
    total, stages = len(job.frames), needed(job)
    if len(stages) == 1 and stages[0].per == "frame":
        return bytes(job.cells[:total]), _own_times(job)
    letters, times = bytearray(total), [0] * total
    rank = {letter: at for at, letter in enumerate(WORST_FIRST)}
    for stage in stages:
        chunked = stage is job.chunked
        for n in range(stage.tasks):
            low, high = stage.span(n)
            letter, milliseconds = job.cells[stage.first + n], job.milliseconds[stage.first + n]
            for at in range(low, min(high, total)):
                known = chunked and job.there[at]  # as soon as it lies there, whatever becomes of the others
                own = DONE if known else letter
                if not letters[at] or rank[own] < rank[letters[at]]:
                    letters[at] = own
                if own == DONE:
                    told = job.frame_milliseconds[at] if known else 0
                    times[at] += told or milliseconds // (high - low)
    done = [value if letter == DONE else 0 for value, letter in zip(times, letters, strict=True)]
    return bytes(letter or WAITING for letter in letters), done


def _own_times(job: Job) -> list[int]:
    done = zip(job.milliseconds[: job.total], job.cells[: job.total], strict=True)
    return [milliseconds if cell == DONE else 0 for milliseconds, cell in done]


def times_of(job: Job) -> list[tuple[int, int]]:
    """Milliseconds and number of each frame that is done; of parts their number."""
    if parts_of(job):
        return [(job.milliseconds[n], n + 1) for n in range(job.total) if job.cells[n] == DONE]
    letters, times = frames_of(job)
    done = (at for at, letter in enumerate(letters) if letter == DONE)
    return [(times[at], job.frames[at]) for at in done]


def gathered(letters: bytes, group: int) -> str:
    """The most telling letter of each group."""
    if group <= 1:
        return letters.decode()
    groups = (letters[at : at + group] for at in range(0, len(letters), group))
    return "".join(chr(next(letter for letter in WORST_FIRST if letter in found)) for found in groups)


def _slow(times: list[int], known: list[int], median: int) -> list[tuple[int, float]]:
    limit = max(SLOW_TIMES * median, median + 1000 * SLOW_S)
    if not known or known[-1] <= limit:
        return []
    least = max(limit, known[-SLOW_FRAMES] if len(known) >= SLOW_FRAMES else 0)
    found = [(n, value / 1000) for n, value in enumerate(times) if value >= least and value > limit]
    return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:SLOW_FRAMES]


def task_of(job: Job, n: int) -> int:
    """The task that makes a frame's picture."""
    if parts_of(job):
        return n
    stage = job.shown
    return stage.first + stage.covering(n, n + 1)[0]


def records(job: Job, start: int, limit: int) -> tuple[list[dict[str, Any]], int | None]:
    """What is kept of frames that are done, from frame `start` on, and where the next ones begin."""
    found: list[dict[str, Any]] = []
    total = job.total if parts_of(job) else len(job.frames)
    n = max(0, start)
    single = job.shown.per == "frame" and job.shown.first == 0
    while n < total:
        if single:  # over what isn't done in one step
            n = job.cells.find(DONE, n, total)
            if n < 0:
                return found, None
        if len(found) >= limit:
            return found, n
        task = task_of(job, n)
        if job.there[n] if job.shown is job.chunked else job.cells[task] == DONE:
            found.append(_record(job, n, task))
        n += 1
    return found, None


def _record(job: Job, n: int, task: int) -> dict[str, Any]:
    folder, name, parts = outputs.folder(job), outputs.name_of(job, task), parts_of(job)
    stage = job.stage_of(task)
    low, high = stage.span(task - stage.first)
    frame = n + 1 if parts else job.frames[n]
    if name and not parts and n != low and job.record.get("folder"):
        name = outputs.numbered(job, stage, n)
    own_seconds = own_bytes = 0.0
    if stage is job.chunked:
        name = outputs.name_of_frame(job, n)
        own_seconds, own_bytes = job.frame_milliseconds[n] / 1000, job.frame_sizes[n]
    at = datetime.datetime.fromtimestamp(job.done_at[task], datetime.UTC).isoformat()
    return {
        "n": n,
        "task": task,
        "frame": frame,
        "path": paths.join(folder, name) if folder and name else None,
        "at": at.replace("+00:00", "Z") if job.done_at[task] else None,
        "seconds": own_seconds or job.milliseconds[task] / 1000 / (1 if parts else high - low),
        "node": _who(job, task),
        "memory_mb": job.memory[task] or None,
        "bytes": int(own_bytes) or job.sizes[task] // (1 if parts else high - low) or None,
        "attempts": job.latest[task] >> 16,
    }


def _who(job: Job, task: int) -> str:
    """Who made it; of a chunk that isn't done, who is at it, or was."""
    if job.cells[task] == DONE:
        return job.done_by(task)
    claim, failures = job.claims.get(task), job.failures.get(task)
    return claim.node if claim is not None else failures[-1].node if failures else ""
