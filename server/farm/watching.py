"""Files that open jobs are rendered from: their hashes, and what changes of them meanwhile.

A thread of its own reads what nobody has hashed yet, one file after the other and with little claim to the
processor; a submission never waits for it. Told of changes by the store, and looking by itself at the files
of jobs that are being rendered, it notes in the job's journal which file changed when, and which frames were
done by then.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from server.disk.errors import CroftError
from server.disk.records import Change
from server.farm import frames as frame_ranges
from server.farm.committer import Committer
from server.farm.committer.board import Board
from server.farm.committer.decide import Op, Turn
from server.farm.committer.live import Live
from server.farm.jobs import inputs, states
from server.farm.jobs.job import Job
from server.farm.jobs.tasks import DONE

log = logging.getLogger("croft.farm")

NICE = 15
LOOK_S = 10.0  # how often the files of a job that is being rendered are looked at
HASHED_MOST = 20_000  # hashes that are remembered: shots share their textures
MAX_FILE_BYTES = 64 << 30  # larger files aren't hashed
TEXT_MOST = 300  # characters of a list of frames

State = tuple[int, ...]


class Watching:
    """`start` it with the farm, `close` it before. `look` is for who wants to know now."""

    def __init__(self, board: Board, committer: Committer, monotonic: Callable[[], float]) -> None:
        self._board = board
        self._committer = committer
        self._monotonic = monotonic
        self._known: dict[str, dict[str, State]] = {}  # job id -> name of a file -> its state
        self._users: dict[str, set[str]] = {}  # address of a file -> the open jobs that use it
        self._hashes: OrderedDict[tuple[str, State], str] = OrderedDict()
        self._looked: dict[str, float] = {}
        self._unhashed: OrderedDict[str, None] = OrderedDict()  # ids of jobs
        self._stirred: set[str] = set()  # addresses that changed
        self._condition = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="farm-inputs", daemon=True)
        self.faults = 0

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(30)

    def changed(self, changes: Iterable[Change]) -> None:
        """The store's subscriber: only notes where to look."""
        found = {change.id for change in changes if change.kind == "asset" and change.id in self._users}
        if found:
            with self._condition:
                self._stirred |= found
                self._condition.notify_all()

    def idle(self) -> bool:
        """Everything that can be hashed is. For tests."""
        with self._condition:
            return not self._unhashed

    # -- within ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        except (OSError, AttributeError):
            pass
        while not self._closed:
            try:
                self._round()
            except Exception:
                self.faults += 1
                log.exception("what jobs are rendered from can't be followed")
            with self._condition:
                if not self._closed and not self._stirred:
                    self._condition.wait(0.05 if self._unhashed else 1.0)

    def _round(self) -> None:
        self._follow()
        with self._condition:
            stirred, self._stirred = self._stirred, set()
        now = self._monotonic()
        due = {job_id for address in stirred for job_id in self._users.get(address, ())}
        due |= {
            job_id
            for job_id in self._known
            if job_id in self._board.claimed_jobs and now - self._looked.get(job_id, 0.0) >= LOOK_S
        }
        for job_id in sorted(due):
            live = self._board.live.get(job_id)
            if live is not None and not self._closed:
                self.look(live)
        if not self._closed:
            self._hash_some()

    def _follow(self) -> None:
        """Which jobs are open now."""
        opened = {
            live.job.id: live
            for live in list(self._board.live.values())
            if live.job.state not in states.ENDED and self._board.ours(live.job)
        }
        for job_id in self._known.keys() - opened.keys():
            self._forget(job_id)
        for job_id in opened.keys() - self._known.keys():
            try:
                self._meet(opened[job_id])
            except Exception:
                self.faults += 1
                log.exception("the files of job %s can't be followed", job_id)
                self._known[job_id] = {}

    def _meet(self, live: Live) -> None:
        job, found = live.job, self.files(live)
        told = job.record.get("inputs") or {}
        known = {name: tuple(state[:2]) for name, state in told.items() if isinstance(state, list)}
        for change in job.changes:  # what was told before this server started
            if change.get("file") in known:
                known[change["file"]] = tuple(change.get("now") or ())
        for name in known:
            self._users.setdefault(found.address(name), set()).add(job.id)
        if any(len(state) < 3 for state in told.values()):
            with self._condition:
                self._unhashed[job.id] = None
        self._known[job.id] = known

    def _forget(self, job_id: str) -> None:
        self._known.pop(job_id, None)
        self._looked.pop(job_id, None)
        with self._condition:
            self._unhashed.pop(job_id, None)
        for address in [address for address, users in self._users.items() if job_id in users]:
            self._users[address].discard(job_id)
            if not self._users[address]:
                del self._users[address]

    def files(self, live: Live) -> inputs.Files:
        """Where the files of a job lie."""
        return inputs.Files(live.place.asset_folder, self._board.store.shares)

    def look(self, live: Live) -> None:
        """Compare a job's files with what they were; what changed is noted in its journal."""
        job = live.job
        known = self._known.get(job.id)
        if known is None:
            self._meet(live)
            known = self._known[job.id]
        self._looked[job.id] = self._monotonic()
        found = self.files(live)
        news: list[tuple[str, State]] = []
        for name, before in known.items():
            if self._closed:
                return
            now = tuple(found.state(name) or ())
            if now != before and not self._board.store.away(found.address(name)):
                news.append((name, now))
        if not news:
            return
        self._committer.ask(Op("act", job.id, act=lambda turn: _note(turn, news)))
        known.update(news)
        self._board.tell("job", job.id)

    # -- hashes ---------------------------------------------------------------------------------------

    def _hash_some(self) -> None:
        """The next job's files, all of them unless something else comes up."""
        with self._condition:
            job_id = next(iter(self._unhashed), "")
        live = self._board.live.get(job_id)
        if live is None:
            with self._condition:
                self._unhashed.pop(job_id, None)
            return
        found, told = self.files(live), live.job.record.get("inputs") or {}
        hashes = inputs.read_hashes(live.place.folder)
        missing = [name for name, state in told.items() if len(state) < 3 and name not in hashes]
        over = True
        for name in missing:
            if self._closed or self._stirred:
                over = False  # the rest after what is more urgent
                break
            hashes[name] = self._hash(found, name, list(told[name]))
        if missing:
            try:
                inputs.write_hashes(live.place.folder, hashes, self._board.disk)
            except CroftError:
                over = True  # its share is away or full: nothing is lost that can't be made again
        if over:
            with self._condition:
                self._unhashed.pop(job_id, None)

    def _hash(self, found: inputs.Files, name: str, state: list[int]) -> str:
        key = (found.address(name), tuple(state))
        digest = self._hashes.get(key)
        if digest is None:
            digest = inputs.digest_of(found, name, state) if state[0] <= MAX_FILE_BYTES else ""
            self._hashes[key] = digest
            if len(self._hashes) > HASHED_MOST:
                self._hashes.popitem(last=False)
        return digest

    def rows(self, live: Live) -> list[dict[str, Any]]:
        """A job's files as the API tells them: state then, hash, and whether it is as it was."""
        job, found = live.job, self.files(live)
        hashes = inputs.read_hashes(live.place.folder)
        changes = {change.get("file"): change for change in job.changes}
        rows = []
        for name, state in (job.record.get("inputs") or {}).items():
            change = changes.get(name)
            rows.append(
                {
                    "name": name,
                    "address": found.address(name),
                    "size": state[0],
                    "mtime_ns": state[1],
                    "hash": (state[2] if len(state) > 2 else hashes.get(name)) or None,
                    "state": str(change.get("what")) if change else "same",
                }
            )
        return rows


def _note(turn: Turn, news: list[tuple[str, State]]) -> None:
    job = turn.job
    if job.state in states.ENDED:
        return
    last = {change.get("file"): change.get("now") for change in job.changes}
    done, before = frames_done(job)
    for name, now in news:
        if last.get(name) == list(now):
            continue  # another server was first
        what = "changed" if now else "gone"
        turn.add(
            {
                "at": turn.at,
                "event": "input",
                "file": name,
                "what": what,
                "now": list(now),
                "done": done,
                "before": before,
            }
        )


def frames_done(job: Job) -> tuple[int, str]:
    """How many of the shown frames are done, and which, as far as that can be said shortly."""
    stage = job.shown
    tasks = [n for n in range(stage.first, stage.end) if job.cells[n] == DONE]
    if not tasks or stage.per != "frame":
        return len(tasks), ""
    frames = sorted(job.frames[n - stage.first] for n in tasks)
    parts: list[range] = []
    for frame in frames:
        if parts and parts[-1].stop == frame:
            parts[-1] = range(parts[-1].start, frame + 1)
        else:
            parts.append(range(frame, frame + 1))
    text = str(frame_ranges.Frames(tuple(parts)))
    return len(tasks), text if len(text) <= TEXT_MOST else ""
