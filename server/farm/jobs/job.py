"""One job in memory: the fold over its journal. No files, no clock, no locks here.

`apply(event)` is the only thing that changes a job, so `fold(all lines)` and any run of catch-ups give
the same. Tasks are columns (a byte of state, a number of attempt, milliseconds, a node), not objects:
100,000 of them cost about three megabytes, and the next one that is ready is found by `bytearray.find`.
Tasks belong to stages (`stages.py`); one is ready when it waits and all that it comes after is done or
skipped. Requeueing a task takes back what was made of it. The optional stages' tasks come last, from
`total` on: `counts` and sums leave them out, since nobody asked for them.
Lines that make no sense are counted and skipped; kinds of event that are not known are let be.
"""

from __future__ import annotations

import datetime
from array import array
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from server.disk.errors import CroftError
from server.farm import frames as frame_ranges
from server.farm import stages
from server.farm.jobs import plan as plans
from server.farm.jobs import states
from server.farm.jobs.tasks import CLAIMED, DONE, FAILED, SATISFIED, SKIPPED, WAITING, Tasks
from server.farm.jobs.troubles import Failure, Troubles, epoch, gone

Event = dict[str, Any]

KEPT_CHANGES = 200  # of the files that it is rendered from


FATAL = 3  # strikes of a failure that no computer could do better


class Claim:
    """One attempt that is out. What the fold knows, and below it what lives in memory alone."""

    __slots__ = (
        "at",
        "attempt",
        "code",
        "deadline",
        "foreign_since",
        "line",
        "node",
        "progress",
        "reported",
        "resent",
        "server",
        "task",
    )

    def __init__(self, task: int, code: int, attempt: str, node: str, server: str, at: str) -> None:
        self.task = task
        self.code = code
        self.attempt = attempt  # the id that the node echoes
        self.node = node
        self.server = server
        self.at = at
        self.deadline = 0.0  # monotonic; 0: not yet given one by this process
        self.reported = 0.0  # monotonic
        self.foreign_since = 0.0  # monotonic: reported to us since then, though another server gave it
        self.resent = False  # sent a second time to a node that doesn't report it
        self.progress = 0.0
        self.line = ""


class Listener(Protocol):
    """Is told when claims come and go, to keep its own maps by node."""

    def claimed(self, job: Job, claim: Claim) -> None: ...
    def unclaimed(self, job: Job, claim: Claim) -> None: ...


def attempt_id(job_id: str, task: int, code: int) -> str:
    """`<job id>.<task>.<number of attempt>.<4 random hex digits>`.

    The random part keeps an attempt that a restored journal has forgotten from passing for a new one.
    """
    return f"{job_id}.{task}.{code >> 16}.{code & 0xFFFF:04x}"


def split_attempt(text: object) -> tuple[str, int, int] | None:
    """Job id, task, code; None where `text` was never an attempt of ours."""
    if not isinstance(text, str):
        return None
    parts = text.split(".")
    if len(parts) != 4:
        return None
    try:
        return parts[0], int(parts[1]), int(parts[2]) << 16 | int(parts[3], 16)
    except ValueError:
        return None


class Job(Tasks):
    """A job's request (`record`, never changed) and all that its journal says of it."""

    def __init__(self, record: dict[str, Any], address: str, folder: str) -> None:
        super().__init__(record)
        self.record = record
        self.id: str = record["id"]
        self.address = address  # of the asset it belongs to
        self.folder = folder  # address of the job's own folder
        self.home = address.rpartition("/")[0]  # the folder of its snapshot and its frames
        self.share = address.partition("::")[0]
        self.retries = int(record.get("retries", 3))
        self.output: str = record.get("output", "version")
        self.requires: frozenset[str] = frozenset(record.get("requires") or ())
        self.listener: Listener | None = None
        self.claims: dict[int, Claim] = {}
        self.reset()

    def reset(self) -> None:
        """Forget all that the journal said."""
        for claim in list(self.claims.values()):
            self._drop_claim(claim.task)
        self.reset_tasks()
        tasks = self.tasks
        self.state = states.WAITING
        self.why = ""
        self.by = ""
        self.priority = int(self.record.get("priority", 3))
        self.plan = plans.read(self.record)
        self.site = str(self.record.get("site", ""))  # the installation that runs it
        self.latest = array("I", bytes(4 * tasks))  # number and random part of the newest attempt
        self.superseded = bytearray(tasks)  # 1: the newest attempt counts no more, and no other is out yet
        self.redone = bytearray(tasks)  # 1: asked for again once it was done, so old outputs lie about
        self.milliseconds = array("I", bytes(4 * tasks))  # of done tasks
        self.worker = array("H", bytes(2 * tasks))  # of done tasks, an index into `node_names`
        self.done_at = array("I", bytes(4 * tasks))  # of done tasks, seconds since the epoch
        self.sizes = array("Q", bytes(8 * tasks))  # of done tasks' outputs, in bytes
        self.memory = array("I", bytes(4 * tasks))  # of done tasks, the most they had, in MB
        # Of a job in chunks: which of its frames lie there, the milliseconds and bytes of each.
        many = len(self.frames) if self.chunked is not None else 0
        self.there = bytearray(many)
        self.frame_milliseconds = array("I", bytes(4 * many))
        self.frame_sizes = array("Q", bytes(8 * many))
        self.node_names: list[str] = []
        self._node_index: dict[str, int] = {}
        self.troubles = Troubles(self.retries)
        self.failures = self.troubles.failures
        self.names: dict[int, str] = {}  # outputs of done tasks that aren't called as the job says
        self.suffixes = [""] * len(self.stages)  # of their outputs: known from the first
        self.videos: dict[int, str] = {}  # done tasks that made a video -> what its name ends in
        self.left_out: dict[int, str] = {}  # stage -> why tasks of it were skipped
        self.total_milliseconds = 0
        self.by_node: dict[str, list[int]] = {}  # name -> done, milliseconds, failed, lost
        # "2026-11-22T14" in UTC -> name -> tasks done, their milliseconds, failed, lost, milliseconds for
        # nothing, those of what nobody asked for (optional tasks), frames that are there by these tasks
        self.by_hour: dict[str, dict[str, list[int]]] = {}
        self.reasons: dict[str, dict[str, int]] = {}  # the same hours -> reason -> attempts that failed so
        self.waited_milliseconds = 0  # that done tasks waited for their scene to be opened
        self.attempts = 0
        self.failed_attempts = 0
        self.lost_attempts = 0
        self.output_bytes = 0
        self.peak_memory_mb = 0.0
        self.strikes = 0  # tasks failed for good since one was done or a person said resume
        self.started = ""
        self.ended = ""
        self.last_done = ""
        self.last_task = -1  # that was done
        self._last = ("", 0.0, _hour_of(0))  # the last time that was read, and what it says
        self.changes: list[Event] = []  # files that it is rendered from and that changed meanwhile
        self.events = 0
        self.revived: tuple[int, Event] | None = None  # the last event that it went on by after its end
        self.bad = 0  # lines that made no sense

    # -- the fold -------------------------------------------------------------------------------------

    def fold(self, events: Iterable[Event]) -> None:
        """Apply many."""
        for event in events:
            self.apply(event)

    def apply(self, event: Event) -> None:
        """One line of the journal. Never raises: a line that makes no sense is counted."""
        self.events += 1
        try:
            handler = _HANDLERS.get(event["event"])
            if handler is not None:
                handler(self, event)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError, CroftError):
            self.bad += 1

    def _claim(self, event: Event) -> None:
        task, code = self._task(event), _code(event["attempt"])
        if self.cells[task] != WAITING or self.state in states.ENDED or not self.is_ready(task):
            return
        node = str(event["node"])
        claim = Claim(task, code, attempt_id(self.id, task, code), node, str(event["server"]), event["at"])
        self.latest[task] = code
        self.superseded[task] = 0
        self.attempts += 1
        self._set(task, CLAIMED)
        self.claims[task] = claim
        if not self.started:
            self.started = event["at"]
        if self.listener is not None:
            self.listener.claimed(self, claim)

    def _done(self, event: Event) -> None:
        task = self._task(event)
        if not self.may_finish(task, _code(event["attempt"])):
            return
        milliseconds = round(float(event.get("seconds") or 0) * 1000)
        if not 0 <= milliseconds < 2**32:
            raise ValueError("seconds")
        name, at = str(event.get("node", "")), str(event["at"])
        second, hour = self._moment(at)
        self._drop_claim(task)
        self._set(task, DONE)
        self.milliseconds[task] = milliseconds
        self.worker[task] = self._index_of(name)
        if task < self.total:
            self.total_milliseconds += milliseconds
            sums = self._sums(name)
            sums[0] += 1
            sums[1] += milliseconds
            spent = self._hour(hour, name)
            spent[0] += 1
            spent[1] += milliseconds
            spent[6] += self.frames_in(task)
            self.strikes = 0
        else:
            self._hour(hour, name)[5] += milliseconds
        self.last_done = at
        if self.shown.first <= task < self.shown.end:
            self.last_task = task
        self.done_at[task] = int(second)
        self._note_outputs(task, event.get("outputs") or ())
        told = event.get("statistics") or {}
        memory, waited = told.get("memory_mb"), told.get("waited_s")
        if isinstance(waited, (int, float)) and 0 <= waited * 1000 <= milliseconds and task < self.total:
            self.waited_milliseconds += round(waited * 1000)
        if isinstance(memory, (int, float)) and 0 <= memory < 2**31:
            self.memory[task] = round(memory)
            self.peak_memory_mb = max(self.peak_memory_mb, float(memory))

    def _note_outputs(self, task: int, outputs: Iterable[dict[str, Any]]) -> None:
        first = True
        for output in outputs:
            size = int(output.get("size") or 0)
            size = size if 0 <= size < 2**50 else 0
            if "frame" in output and self._note_frame(task, output, size):
                continue  # told before, as soon as it was there
            self.output_bytes += size
            self.sizes[task] += size
            name = str(output.get("path") or "")
            if output.get("kind") == "video" and "." in name:
                self.videos[task] = name[name.rindex(".") :]
            if first and name and output.get("kind", "frame") in ("frame", "video"):
                first = False
                stage = self.stage_of(task).index
                if not self.suffixes[stage] and "." in name:
                    self.suffixes[stage] = name[name.rindex(".") :]
                if name != self.expected_name(task):
                    self.names[task] = name

    def _note_frame(self, task: int, output: dict[str, Any], size: int) -> bool:
        """One frame of a chunk lies there. Was that known?"""
        stage = self.stage_of(task)
        if stage is not self.chunked or output.get("kind", "frame") != "frame":
            return False
        at = self.frames.index(output["frame"])
        low, high = stage.span(task - stage.first)
        if not low <= at < high:
            raise ValueError("frame")
        known = self.there[at] == 1
        self.there[at] = 1
        seconds = float(output.get("seconds") or 0)
        self.frame_milliseconds[at] = round(seconds * 1000) if 0 <= seconds < 4e6 else 0
        self.frame_sizes[at] = size
        return known

    def _part(self, event: Event) -> None:
        """Frames of a chunk are there while the rest of it is rendered, or in spite of its failure."""
        claim = self._held(event)
        if claim is not None:
            self._note_outputs(claim.task, event.get("outputs") or ())

    def _failed(self, event: Event) -> None:
        claim = self._held(event)
        if claim is None:
            return
        self.failed_attempts += 1
        self._sums(claim.node)[2] += 1
        reason = str(event.get("reason") or "failed")
        self._for_nothing(claim, event["at"], reason)[2] += 1
        failure = Failure(
            event["at"],
            claim.code >> 16,
            claim.node,
            reason,
            say=str(event.get("say") or ""),
            rule=str(event.get("rule") or ""),
            free=bool(event.get("free")),
        )
        self.troubles.failed(claim.task, failure, event)
        self._give_back(claim.task, bool(event.get("final")))
        if failure.rule == "fatal" and claim.task < self.total:
            self.strikes += FATAL - 1

    def _expired(self, event: Event) -> None:
        claim = self._held(event)
        if claim is None:
            return
        self.lost_attempts += 1
        self._sums(claim.node)[3] += 1
        self._for_nothing(claim, event["at"], states.NODE_GONE)[3] += 1
        self.troubles.vanished(claim.task, gone(event["at"], claim.code >> 16, claim.node))
        self._give_back(claim.task, bool(event.get("final")))

    def _gave_up(self, event: Event) -> None:
        """A task that waited for another node to try it has failed for good: there is none any more."""
        task = self._task(event)
        if self.cells[task] == WAITING:
            self.strikes += task < self.total
            self._set(task, FAILED)

    def _forgive(self, event: Event) -> None:
        nodes = event.get("nodes")
        self.troubles.forgive([str(name) for name in nodes] if isinstance(nodes, list) else None)

    def _refused(self, event: Event) -> None:
        self.troubles.refused += 1

    def _released(self, event: Event) -> None:
        claim = self._held(event)
        if claim is not None:
            self._give_back(claim.task, final=False)

    def _adopt(self, event: Event) -> None:
        claim = self._held(event)
        if claim is not None:
            claim.server = str(event["server"])
            claim.foreign_since = 0.0

    def _skip(self, event: Event) -> None:
        task = self._task(event)
        if self.cells[task] in (WAITING, FAILED):
            self._set(task, SKIPPED)
            if event.get("why"):
                self.left_out[self.stage_of(task).index] = str(event["why"])

    def _requeue(self, event: Event) -> None:
        anew = bool(event.get("anew"))  # Journals from before it was said are folded as they were then.
        for task in frame_ranges.parse(event["tasks"], max_frames=10**7):
            if 0 <= task < self.tasks and self.cells[task] not in (WAITING, CLAIMED):
                self._again(task, anew)
            elif 0 <= task < self.tasks and self.cells[task] == WAITING and anew:
                self.superseded[task] = 1

    def _again(self, task: int, anew: bool) -> None:
        """Have a task done anew, and all that was made of it. What its old attempts still say is too late."""
        stage, before = self.stage_of(task), self.cells[task]
        if anew:
            self.superseded[task] = 1
        whole = self._unmet[stage.index] == 0
        if before == DONE:
            self.redone[task] = 1
            self._take_back(task)
            if stage is self.chunked:
                low, high = stage.span(task - stage.first)
                self.there[low:high] = bytes(high - low)
        self.troubles.forget(task)
        self.names.pop(task, None)
        self.videos.pop(task, None)
        self._set(task, WAITING)
        if before in SATISFIED:
            for later, by in self._later[stage.index]:
                # What waits for all of a stage was begun only where all of it was there.
                if by == "frame" or whole:
                    for other in self._related(stage, task, later, by):
                        self._overtake(other, anew)

    def _overtake(self, task: int, anew: bool) -> None:
        """What a task was made from is being made anew. An attempt that is out or lost is superseded."""
        self.superseded[task] = 1 if anew else self.superseded[task] ^ 1
        if self.cells[task] == CLAIMED:
            self._drop_claim(task)
            self._set(task, WAITING)
        elif self.cells[task] in (DONE, FAILED):
            self._again(task, anew)

    def _take_back(self, task: int) -> None:
        """A done task is to be done again: what it took was for nothing, in the hour in which it ended."""
        milliseconds, name = self.milliseconds[task], self.node_names[self.worker[task]]
        hour = self._hour(_hour_of(self.done_at[task]), name)
        hour[4] += milliseconds
        hour[1 if task < self.total else 5] -= milliseconds
        if task < self.total:
            hour[0] -= 1
            hour[6] -= self.frames_in(task)
            self.total_milliseconds -= milliseconds
            sums = self._sums(name)
            sums[0] -= 1
            sums[1] -= milliseconds
        self.output_bytes -= self.sizes[task]
        self.milliseconds[task] = self.sizes[task] = self.memory[task] = self.done_at[task] = 0

    def _state(self, event: Event) -> None:
        to = event["to"]
        if to not in states.STATES:
            raise ValueError(to)
        if self.state in states.ENDED and to not in states.ENDED:
            self.revived = self.events, event
        self.state = to
        self.why = str(event.get("why") or "")
        self.by = str(event.get("by") or "")
        if to in states.ENDED:
            self.ended = event["at"]
            for task, claim in list(self.claims.items()):
                self._for_nothing(claim, event["at"])
                self._give_back(task, final=False)
        else:
            self.ended = ""
            if self.by:
                self.strikes = 0

    def _priority(self, event: Event) -> None:
        self.priority = int(event["value"])

    def _plan(self, event: Event) -> None:
        """People changed what the request said of when, and on how many nodes."""
        said = plans.read(event)
        self.plan = plans.Plan(
            said.after if "after" in event else self.plan.after,
            said.start if "start_after" in event else self.plan.start,
            said.most if "nodes_most" in event else self.plan.most,
        )

    def _site(self, event: Event) -> None:
        self.site = str(event["value"])

    def _input(self, event: Event) -> None:
        if isinstance(event["file"], str) and len(self.changes) < KEPT_CHANGES:
            self.changes.append(event)

    # -- questions ------------------------------------------------------------------------------------

    def may_finish(self, task: int, code: int) -> bool:
        """Is this the newest attempt at a task that isn't done? One that expired may still come in,
        as long as nobody else was given the task, and nobody asked for it again."""
        return (
            0 <= task < self.tasks
            and self.latest[task] == code
            and not self.superseded[task]
            and self.cells[task] in (CLAIMED, WAITING, FAILED)
            and self.state not in states.ENDED
        )

    def was_accepted(self, task: int, code: int) -> bool:
        """Is this the attempt whose result the task has?"""
        return 0 <= task < self.tasks and self.latest[task] == code and self.cells[task] == DONE

    def held(self, task: int, code: int) -> Claim | None:
        """The claim that is out under this code."""
        claim = self.claims.get(task)
        return claim if claim is not None and claim.code == code else None

    @property
    def open(self) -> bool:
        """Tasks of it may be given out."""
        return self.state in states.OPEN and any(self.ready)

    @property
    def finished(self) -> bool:
        """Nothing is left that can be done: what still waits does so for what has failed."""
        return not self.claims and not any(self.ready) and not self.held_back

    @property
    def suffix(self) -> str:
        """What the names of its frames end in; "" before there is one."""
        return self.suffixes[self.shown.index]

    @property
    def base(self) -> str:
        """What its outputs are called, `####` for the frame."""
        return str(self.record.get("base") or "")

    def expected_name(self, task: int) -> str:
        """What the node is likely to call the task's frame."""
        stage = self.stage_of(task)
        low, _ = stage.span(task - stage.first)
        return numbered(stage.base, self.frames[low]) + self.suffixes[stage.index]

    def frame_name(self, at: int) -> str:
        """The file name of one of the job's frames, by its place among them; "" where it isn't there."""
        stage = self.shown
        if stage is self.chunked:
            suffix = self.suffixes[stage.index]
            return numbered(stage.base, self.frames[at]) + suffix if self.there[at] and suffix else ""
        low, high = stage.covering(at, at + 1)
        return self.output_name(stage.first + low) if high - low == 1 else ""

    def left_of(self, task: int) -> frame_ranges.Frames:
        """The frames of a chunk that are still to be rendered; all where each is there."""
        stage = self.stage_of(task)
        low, high = stage.span(task - stage.first)
        left = [at for at in range(low, high) if not self.there[at]]
        if not left or len(left) == high - low:
            return stages.part_of(self.frames, low, high)
        return frame_ranges.of(self.frames[at] for at in left)

    def output_name(self, task: int) -> str:
        """The file name of what a done task made, "" where there is nothing."""
        if self.cells[task] != DONE or not self.suffixes[self.stage_of(task).index]:
            return ""
        return self.names.get(task) or self.expected_name(task)

    def comparable(self) -> dict[str, Any]:
        """All that the fold is, for tests: equal after any way of reading the same lines."""
        return {
            "state": (self.state, self.why, self.priority, self.started, self.ended, self.strikes),
            "plan": self.plan,
            "cells": bytes(self.cells),
            "ready": bytes(self._ready),
            "latest": list(self.latest),
            "anew": (bytes(self.superseded), bytes(self.redone)),
            "milliseconds": list(self.milliseconds),
            "ready_counts": list(self.ready),
            "unmet": list(self._unmet),
            "counts": (dict(self.counts), dict(self.extras)),
            "claims": {n: (c.attempt, c.node, c.server, c.at) for n, c in self.claims.items()},
            "by_node": {name: list(sums) for name, sums in self.by_node.items()},
            "by_hour": {hour: {n: list(s) for n, s in found.items()} for hour, found in self.by_hour.items()},
            "reasons": {hour: dict(counts) for hour, counts in self.reasons.items()},
            "waited": self.waited_milliseconds,
            "frames": (list(self.done_at), list(self.sizes), list(self.memory)),
            "troubles": self.troubles.comparable(),
            "names": dict(self.names),
            "parts": (bytes(self.there), list(self.frame_milliseconds), list(self.frame_sizes)),
            "sums": (
                self.total_milliseconds,
                self.attempts,
                self.failed_attempts,
                self.lost_attempts,
                self.output_bytes,
            ),
        }

    # -- helpers of the fold --------------------------------------------------------------------------

    def _task(self, event: Event) -> int:
        task = event["task"]
        if not isinstance(task, int) or not 0 <= task < self.tasks:
            raise ValueError("task")
        return task

    def _held(self, event: Event) -> Claim | None:
        return self.held(self._task(event), _code(event["attempt"]))

    def _drop_claim(self, task: int) -> None:
        claim = self.claims.pop(task, None)
        if claim is not None and self.listener is not None:
            self.listener.unclaimed(self, claim)

    def _give_back(self, task: int, final: bool) -> None:
        self._drop_claim(task)
        if final and task < self.total:
            self.strikes += 1
        self._set(task, FAILED if final else WAITING)

    def _index_of(self, name: str) -> int:
        index = self._node_index.get(name)
        if index is None:
            if len(self.node_names) >= 65_535:
                return 65_534
            index = self._node_index[name] = len(self.node_names)
            self.node_names.append(name)
        return index

    def _sums(self, name: str) -> list[int]:
        sums = self.by_node.get(name)
        if sums is None:
            sums = self.by_node[name] = [0, 0, 0, 0]
        return sums

    def _hour(self, hour: str, name: str) -> list[int]:
        nodes = self.by_hour.get(hour)
        if nodes is None:
            nodes = self.by_hour[hour] = {}
        sums = nodes.get(name)
        if sums is None:
            sums = nodes[name] = [0, 0, 0, 0, 0, 0, 0]
        return sums

    def _for_nothing(self, claim: Claim, at: object, reason: str = "") -> list[int]:
        """An attempt ended without a frame: the time that its node spent on it, in this hour's sums."""
        second, hour = self._moment(str(at))
        if reason:
            counts, kind = self.reasons.setdefault(hour, {}), states.reason_of(reason)
            counts[kind] = counts.get(kind, 0) + 1
        sums = self._hour(hour, claim.node)
        seconds = second - self._moment(str(claim.at))[0]
        sums[4] += round(seconds * 1000) if 0 < seconds < 1e7 else 0
        return sums

    def _moment(self, at: str) -> tuple[float, str]:
        """Seconds since the epoch, and the hour; many lines in a row say the same time."""
        if at != self._last[0]:
            second = epoch(at)
            self._last = (at, second, _hour_of(int(second)))
        return self._last[1], self._last[2]


def _hour_of(epoch: int) -> str:
    """`"2026-11-22T14"`, in UTC."""
    return datetime.datetime.fromtimestamp(epoch, datetime.UTC).isoformat()[:13]


def numbered(base: str, frame: int) -> str:
    digits = f"{frame:04d}" if frame >= 0 else f"-{-frame:04d}"
    return base.replace("####", digits)


def _code(text: str) -> int:
    """`"2.ab3f"`, an attempt's number and random part, as one number."""
    number, _, random_part = text.partition(".")
    return int(number) << 16 | int(random_part, 16)


def code_text(code: int) -> str:
    """The other way round: what journals hold."""
    return f"{code >> 16}.{code & 0xFFFF:04x}"


_HANDLERS: dict[str, Callable[[Job, Event], None]] = {
    "claim": Job._claim,
    "done": Job._done,
    "part": Job._part,
    "failed": Job._failed,
    "expired": Job._expired,
    "gave_up": Job._gave_up,
    "forgive": Job._forgive,
    "refused": Job._refused,
    "released": Job._released,
    "adopt": Job._adopt,
    "skip": Job._skip,
    "requeue": Job._requeue,
    "state": Job._state,
    "priority": Job._priority,
    "plan": Job._plan,
    "site": Job._site,
    "input": Job._input,
}
