"""What a job's tasks have made: names and sizes of files, and which frames of a chunk lie there already.

Most files are called as the job says, so that a name is kept only where it differs: it follows from the
task's frame and from what the first output of its stage ended in.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from server.farm import frames as frame_ranges
from server.farm import stages
from server.farm.jobs.job import Job
from server.farm.jobs.record import pictures_of
from server.farm.jobs.tasks import DONE
from server.farm.stages import Stage


def folder(job: Job) -> str:
    """The address of the folder that its frames lie in; "" where that is on no share."""
    return pictures_of(job.home, job.record)


def name_of(job: Job, task: int) -> str:
    """The file name of what a done task made, "" where there is nothing."""
    if job.cells[task] != DONE:
        return ""
    if not job.sizes[task] and not job.record.get("folder"):
        return ""  # written where the scene says, and nobody has told what
    stage = job.stage_of(task)
    return (job.names.get(task) or _expected(job, stage, task)) if job.suffixes[stage.index] else ""


def name_of_frame(job: Job, at: int) -> str:
    """The file name of one of the job's frames, by its place among them; "" where it isn't there."""
    stage = job.shown
    if stage is job.chunked:
        if not job.there[at] or not job.suffixes[stage.index]:
            return ""
        return job.frame_names.get(at) or numbered(job, stage, at)
    low, high = stage.covering(at, at + 1)
    return name_of(job, stage.first + low) if high - low == 1 else ""


def pattern(job: Job) -> str:
    """What its frames are called, `####` for the number; "" before there is one."""
    suffix = job.suffixes[job.shown.index]
    return str(job.record.get("base") or "") + suffix if suffix else ""


def numbered(job: Job, stage: Stage, at: int) -> str:
    """What a stage calls one of the job's frames, by its place among them."""
    frame = job.frames[at]
    digits = f"{frame:04d}" if frame >= 0 else f"-{-frame:04d}"
    return stage.base.replace("####", digits) + job.suffixes[stage.index]


def left_of(job: Job, task: int) -> frame_ranges.Frames:
    """The frames of a chunk that are still to be rendered; all where each is there."""
    stage = job.stage_of(task)
    low, high = stage.span(task - stage.first)
    left = [at for at in range(low, high) if not job.there[at]]
    if not left or len(left) == high - low:
        return stages.part_of(job.frames, low, high)
    return frame_ranges.of(job.frames[at] for at in left)


def _expected(job: Job, stage: Stage, task: int) -> str:
    """What the node is likely to call the task's frame."""
    return numbered(job, stage, stage.span(task - stage.first)[0])


# -- the fold's part ----------------------------------------------------------------------------------


def note(job: Job, task: int, outputs: Iterable[dict[str, Any]]) -> None:
    """A task made these."""
    stage = job.stage_of(task)
    first = True
    for output in outputs:
        size = int(output.get("size") or 0)
        size = size if 0 <= size < 2**50 else 0
        if "frame" in output and stage is job.chunked and _note_frame(job, stage, task, output, size):
            continue  # told before, as soon as it was there
        job.output_bytes += size
        job.sizes[task] += size
        name = str(output.get("path") or "")
        kind = output.get("kind", "frame")
        if kind == "video" and "." in name:
            job.videos[task] = name[name.rindex(".") :]
        if first and name and kind in ("frame", "video"):
            first = False
            if not job.suffixes[stage.index] and "." in name:
                job.suffixes[stage.index] = name[name.rindex(".") :]
            if name != _expected(job, stage, task):
                job.names[task] = name


def _note_frame(job: Job, stage: Stage, task: int, output: dict[str, Any], size: int) -> bool:
    """One frame of a chunk lies there. Was that known?"""
    if output.get("kind", "frame") != "frame":
        return False
    at = job.frames.index(output["frame"])
    low, high = stage.span(task - stage.first)
    if not low <= at < high:
        raise ValueError("frame")
    known = job.there[at] == 1
    job.there[at] = 1
    seconds = float(output.get("seconds") or 0)
    job.frame_milliseconds[at] = round(seconds * 1000) if 0 <= seconds < 4e6 else 0
    job.frame_sizes[at] = size
    name = str(output.get("path") or "")
    if name and name.rpartition(".")[0] != numbered(job, stage, at).removesuffix(job.suffixes[stage.index]):
        job.frame_names[at] = name
    return known


def take_back(job: Job, stage: Stage, task: int) -> None:
    """What a done task made counts no more."""
    job.output_bytes -= job.sizes[task]
    job.sizes[task] = 0
    if stage is job.chunked:
        low, high = stage.span(task - stage.first)
        job.there[low:high] = bytes(high - low)
