"""What a stage asks of a node, and what nodes are told: made once for a stage, filled in for a task."""

from __future__ import annotations

import secrets
import shlex
from typing import Any

from server.disk import encoding, paths
from server.disk.errors import CroftError
from server.disk.speech import say
from server.farm import stages
from server.farm.committer.live import Live, Work
from server.farm.job_types import JobTypes, seal
from server.farm.job_types.commands import fill, harmless, own, writes
from server.farm.job_types.plan import said
from server.farm.jobs import outputs
from server.farm.jobs.job import Job
from server.farm.scheduler import Need
from server.farm.stages import Stage

UNSEALED = say("its commands were not written by this server: submit it again")


def work_of(job: Job, stage: Stage, types: JobTypes, secret: bytes) -> Work:
    """What giving out a stage's tasks takes. `secret` is what this installation seals its jobs with."""
    labels = job.requires | frozenset(stage.texts("requires"))
    if stage.commands is not None:
        commands: Any = fill(stage.commands, _values(job, stage), _IN_TEXT)
        guarded = stage.per == "list" or not harmless(commands)
        if not seal.fits(secret, job.record) and (guarded or not own(stage.commands, commands)):
            return Work(Need(job.share, labels), b"", why=UNSEALED)
        simple = bool(stage.record.get("simple")) and job.output == "scene"
        # RFAM's node renders with whatever the scene was saved with.
        simple = simple and not (job.record.get("parameters") or {}).get("engine")
        programs, does = frozenset(stage.texts("programs")), frozenset(stage.texts("does"))
        need = _need(job, stage, labels, programs, simple, does)
        leaves = stage.per != "list" and writes(commands, _UUID)
        if stage.per == "list":
            commands = _OPEN["listed"]
        return Work(need, *_template(job, commands), writes=leaves, guarded=guarded)
    try:
        job_type = types.get(job.record.get("type"))
    except CroftError:
        why = say("there is no job type {type} any more", type=job.record.get("type"))
        return Work(Need(job.share, labels), b"", why=why)
    simple = job_type.simple_nodes and job.output == "scene"
    need = _need(job, stage, labels, job_type.programs, simple)
    plan = job_type.stages[0]
    if plan.per not in ("frame", "chunk") or not harmless(plan.commands):
        return Work(need, b"", why=UNSEALED)
    # It is from before there were stages, and what its type was told to ask for since is as nobody said.
    defaults = {name: setting.default for name, setting in job_type.settings.items()}
    values = {**defaults, **_values(job, stage)}
    commands = [said(command, stage.per, values) for command in plan.commands]
    return Work(need, *_template(job, fill(commands, values)))


def _need(
    job: Job,
    stage: Stage,
    labels: frozenset[str],
    programs: frozenset[str],
    simple: bool,
    does: frozenset[str] = frozenset(),
) -> Need:
    """What a stage asks of a node, with what the job's request says of it."""
    groups = frozenset(map(str, job.record.get("groups") or ()))
    # What nobody asked for, like a preview, takes no licence.
    licences = frozenset(() if stage.optional else map(str, job.record.get("licences") or ()))
    memory_mb = int(stage.record.get("memory_mb") or 0)
    return Need(job.share, labels, programs, simple, memory_mb, does, groups, licences)


def _values(job: Job, stage: Stage) -> dict[str, Any]:
    """What the words of a stage's commands stand for. Those of a single task are filled in for each."""
    record = job.record
    return {
        **record.get("parameters", {}),
        "file": source_address(job),
        "frames": str(job.frames),
        "folder": paths.join(job.home, record["folder"]) if record.get("folder") else None,
        "name": stage.base if record.get("folder") else None,
        "frames_name": job.shown.base,
        "stem": paths.own_stem(paths.name_of(job.address)),
        "scene_folder": job.home,
        "fps": record.get("fps"),
        "job": job.id,
        "project": record.get("project"),
        "user": record.get("user"),
        "attempt": _UUID,
        **_OPEN,
    }


def _prman(frame: object, units: list[list[str]]) -> dict[str, Any]:
    """The same commands as RFAM's node takes them."""
    told = [{"command": shlex.join(argv)} for argv in units]
    return {"commands": {"texture": [], "frames": {str(frame): told}}}


def source_address(job: Job) -> str:
    """The address of the file that is rendered: the snapshot."""
    return paths.join(job.home, str(job.record.get("snapshot") or ""))


# Words that no file is named by: what stands in their place is filled in for each task.
_UUID, _NUMBER, _ISSUED, _BOUND = (f"@@{n}{secrets.token_hex(8)}@@" for n in range(4))
_OPEN = {word: f"@@{word}{secrets.token_hex(8)}@@" for word in stages.WORDS}
_IN_TEXT = {word: f"@@{word}{secrets.token_hex(8)}@@" for word in stages.WORDS}


def _template(job: Job, commands: Any) -> tuple[bytes, tuple[str, ...]]:
    """The commandment of a task as bytes in which some words are left open, and which."""
    whole = encoding.dumps(
        {
            "id": "task",
            "uuid": _UUID,
            "frame": _OPEN["frame"],
            "file": source_address(job),
            "requires": sorted(job.requires),
            "issued": _ISSUED,
            "prmanCommands": _OPEN["prman"] if commands == _OPEN["listed"] else None,
            "job": job.id,
            "n": _NUMBER,
            "type": job.record.get("type"),
            "commands": commands,
            "timeout": job.record.get("timeout_s"),
            "bound": _BOUND,
            "silence": job.record.get("silence_s", 0),
        }
    ).replace(b"%", b"%%")
    own = ((_NUMBER, "n"), (_ISSUED, "issued"), (_BOUND, "bound"))
    for text, name in (*own, *((text, name) for name, text in _OPEN.items())):
        # Alone it stands for a value of any kind, within a text for its letters.
        whole = whole.replace(b'"%b"' % text.encode(), b"%%(%b)b" % name.encode())
        whole = whole.replace(text.encode(), b"%%(in_%b)b" % name.encode())
    for name, text in _IN_TEXT.items():
        whole = whole.replace(text.encode(), b"%%(in_%b)b" % name.encode())
    used = tuple(
        name
        for name in stages.WORDS
        if b"_%b)b" % name.encode() in whole or b"(%b)b" % name.encode() in whole
    )
    return whole.replace(_UUID.encode(), b"%(uuid)b"), used


def commandment(live: Live, task: int, attempt: str, issued: int, bound_s: float = 0.0) -> bytes:
    """The `task` that a node gets for an attempt; the same for the same attempt. `bound_s`: how long it may
    take there; 0: nobody knows."""
    job = live.job
    stage = job.stage_of(task)
    values: dict[bytes, bytes] = {b"uuid": attempt.encode(), b"n": b"%d" % task, b"issued": b"%d" % issued}
    values[b"bound"] = b"%d" % bound_s
    work, words = live.works[stage.index], stages.words(stage, task - stage.first, job.frames)
    if stage is job.chunked:  # an attempt before may have left some of it
        words["chunk"] = str(outputs.left_of(job, task))
    if stage.per == "list":
        units = words["listed"]
        words["listed"] = [{"do": "run", "argv": argv, "where": job.home} for argv in units]
        words["prman"] = _prman(words["frame"], units)
    for name in work.words:
        text = values[name.encode()] = encoding.dumps(words[name])
        values[b"in_" + name.encode()] = text.strip(b'"')
    return work.commandment % values
