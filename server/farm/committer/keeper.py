"""The thread that does what nobody asks for: leases, other servers' claims, ended jobs, news.

Wakes when something happened or once a second. Every decision on a job goes through the committer; what
takes long (hashing a journal, moving a snapshot, telling subscribers) happens here, under no lock.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from server.disk import paths
from server.disk.errors import CroftError
from server.disk.records import Change, JobPlace
from server.farm.committer import Bundle, Committer
from server.farm.committer.board import Board
from server.farm.committer.decide import Op
from server.farm.committer.dressing import source_address
from server.farm.committer.ends import Ends
from server.farm.committer.live import Ended, Live
from server.farm.committer.orphans import Orphans
from server.farm.jobs import record as records
from server.farm.jobs.attempts import split_attempt
from server.farm.jobs.logs import Said

log = logging.getLogger("croft.farm")

FRAMES_S = 1.0  # how often new frames are told of: of those that pour in, the newest alone
GATHER_S = 0.1  # news are gathered for so long before they are told
LOOK_RUNNING_S = 2.0  # how often the journal of a job is looked at for other servers' lines
MANY_JOBS = 200  # beyond so many jobs those that don't run are looked at less often
JUDGE_S = 5.0  # how often frames that wait for one more computer are judged anew: it may be gone
LOOK_AROUND_S = 0.5  # at most so often all jobs are gone through
LOOK_S = 10.0
LOOK_AT_ROOM_S = 5.0  # how often the disks that open jobs write to are asked for their room
STALE_INTERVALS = 3  # heartbeats without its beat file being touched: a server is gone
TAKEN_BACK_S = 60.0  # what an attempt that nobody holds any more has said is kept for so long

Subscriber = Callable[[list[Change]], None]
Thing = TypeVar("Thing")


class Keeper:
    """Started and closed with the farm. `tick` is one round, for tests."""

    def __init__(self, board: Board, committer: Committer, monotonic: Callable[[], float]) -> None:
        self.board = board
        self._committer = committer
        self._monotonic = monotonic
        self._thread = threading.Thread(target=self._run, name="farm-keeper", daemon=True)
        self._ending = threading.Event()
        self._writing = threading.Lock()
        self._places: set[str] = set()  # job ids whose place in the index changed
        self._beats: dict[tuple[str, str], tuple[int, float]] = {}  # (share, server) -> mtime, since when
        self._beaten: dict[str, float] = {}  # share -> when we touched our own beat file
        self._ends = Ends(board, committer, monotonic, self._each)
        self._orphans = Orphans(board.store, board.disk, monotonic)
        self._looked = 0.0
        self._undressed = False
        self._room_looked = 0.0
        self._framed = -FRAMES_S
        self._judged: dict[str, float] = {}  # jobs with frames that wait for one more computer -> when
        self.subscribers: list[Subscriber] = []
        self.duties: list[Callable[[], Any]] = []  # what others want done once a round
        self.faults = 0

    def start(self) -> None:
        """Read every job, then keep on."""
        self._each(list(self.board.store.index.jobs.values()), self._load)
        self._look_at_room()
        self._look(list(self.board.live.values()), wait=True)
        self._thread.start()

    def close(self) -> None:
        self._ending.set()
        self.board.stirred.set()
        if self._thread.is_alive():
            self._thread.join(timeout=20)
        for name in list(self._beaten):
            self._stop_beating(name)

    def changed(self, changes: Iterable[Change]) -> None:
        """The store's subscriber: only notes what to look at."""
        for change in changes:
            if change.kind == "job":
                self._places.add(change.id)
                self.board.stirred.set()
            elif change.kind in ("project", "config"):
                self._undressed = True
                self.board.stirred.set()
            elif change.kind == "share":
                self._places.update(self.board.store.index.jobs)
                self._places.update(self.board.live)
                self.board.stirred.set()

    def _run(self) -> None:
        while not self._ending.is_set():
            self.board.stirred.wait(self._pause_s())
            self.board.stirred.clear()
            if self._ending.is_set():
                break
            self.tick()
            self._ending.wait(GATHER_S)
        self._tell()

    def _pause_s(self) -> float:
        lease_s = float(self.board.settings.get("lease_s"))
        heartbeat_s = float(self.board.settings.get("heartbeat_s"))
        return max(0.05, min(1.0, heartbeat_s / 2, lease_s / 4))

    def tick(self) -> None:
        """One round; each duty survives the others' failures."""
        duties: tuple[Callable[[], Any], ...] = (
            self._follow_index,
            self._wake,
            self._expire,
            self._beat,
            self._look_around,
            self._look_at_room,
            self._ends.begin_versions,
            self._ends.finish,
            self._orphans.tick,
            self.write_logs,
            *self.duties,
            self._tell,
        )
        self._each(duties, lambda duty: duty())

    def _each(self, things: Iterable[Thing], duty: Callable[[Thing], Any]) -> list[Thing]:
        """Do something with each; one that fails keeps nobody from the others. Those that failed."""
        failed = []
        for thing in things:
            try:
                duty(thing)
            except Exception as error:
                failed.append(thing)
                if isinstance(error, CroftError):
                    log.info("%s: %s", getattr(thing, "__name__", thing), error)
                else:
                    self.faults += 1
                    log.exception("%s failed", getattr(thing, "__name__", thing))
        return failed

    def tick_index(self) -> None:
        """Take in at once what the index says of jobs."""
        self._follow_index()

    # -- which jobs there are -------------------------------------------------------------------------

    def _follow_index(self) -> None:
        if self._undressed:
            self._undressed = False
            self._in_turn(self.board.dress_again)
        due: list[str] = []
        while self._places:
            try:
                due.append(self._places.pop())
            except KeyError:
                break  # Race: somebody who asks for a job looks at the same time.
        self._places.update(self._each(due, self._follow))
        known = [live for job_id in due if (live := self.board.live.get(job_id)) is not None]
        self._look([live for live in known if live.place.stirred()])  # else it was ourselves

    def _follow(self, job_id: str) -> None:
        board = self.board
        place = board.store.index.jobs.get(job_id)
        live, ended = board.live.get(job_id), board.ended.get(job_id)
        known = live.job.folder if live is not None else ended.place.folder if ended is not None else ""
        if place is None:
            board.broken.pop(job_id, None)
            if known and not board.store.away(known):
                if live is not None and live.record.get("snapshot"):
                    self._orphans.lost(job_id, source_address(live.job))
                self._in_turn(partial(board.forget, job_id))
            return
        place = self._home(place)
        if known and known != place.folder and not board.store.away(known):
            self._in_turn(partial(board.forget, job_id))
            known = ""
        again = ended is not None and (
            job_id in board.broken or _differs(ended, self._read_result(place))
        )  # its request may be mended now
        if not known or again:
            self._load(place)

    def _home(self, place: JobPlace) -> JobPlace:
        """Of several copies of a job's folder the one that lies with the file it was submitted for."""
        places = self.board.store.index.job_places(place.id)
        for other in places if len(places) > 1 else ():
            try:
                record = records.read_record(self.board.store.path(other.folder))
            except CroftError:
                continue
            if record.get("file") == other.address:
                return other
        return place

    def _load(self, place: JobPlace) -> None:
        board = self.board
        try:
            folder = board.store.path(place.folder)
            result = records.read_result(folder)
            if result is not None:
                ended = Ended(records.read_record(folder), result, place)
                self._in_turn(partial(_remember, board, place.id, ended))
                return
            live = board.read(place)
        except Exception as error:
            if not isinstance(error, CroftError):
                self.faults += 1
                log.exception("job %s can't be read", place.id)
            elif self._orphans.unborn(place):
                return
            board.broken[place.id] = str(error)
            return
        self._in_turn(partial(board.add, live))

    def _read_result(self, place: JobPlace) -> dict[str, Any] | None:
        return records.read_result(self.board.store.path(place.folder))

    def _in_turn(self, what: Callable[[], Any]) -> None:
        """Change the board in the committer's thread, between commits (or here, before there are any)."""
        if self._thread.is_alive():
            self._committer.do(what)
        else:
            what()

    def _wake(self) -> None:
        """Jobs whose time has come."""
        sleeping = self.board.sleeping
        if sleeping and sleeping[0][0] <= self.board.wall():
            self._in_turn(self.board.wake)

    # -- leases ---------------------------------------------------------------------------------------

    def _expire(self) -> None:
        now = self._monotonic()
        ops: list[Op] = []
        for job_id in list(self.board.claimed_jobs):
            live = self.board.live.get(job_id)
            if live is None or not self.board.ours(live.job):
                continue
            ops += [
                Op("expire", job_id, claim.task, claim.code, claim.attempt)
                for claim in list(live.job.claims.values())
                if claim.deadline < now and self._ours_to_expire(live, claim.server)
            ]
        self._ask(ops)

    def _ours_to_expire(self, live: Live, server: str) -> bool:
        """Our own claims, and those of a server whose beat file nobody touches any more."""
        if server == self.board.server:
            return True
        key = (live.job.share, server)
        mtime = _mtime_ns(self._beat_path(*key))
        seen, since = self._beats.get(key, (None, 0.0))
        now = self._monotonic()
        if seen != mtime:
            self._beats[key] = (mtime, now)
            return False
        return now - since > STALE_INTERVALS * float(self.board.settings.get("heartbeat_s"))

    def _beat(self) -> None:
        """Touch our beat file where claims of ours are out; have none where not."""
        shares = {
            live.job.share
            for job_id in list(self.board.claimed_jobs)
            if (live := self.board.live.get(job_id)) is not None
            and any(c.server == self.board.server for c in list(live.job.claims.values()))
        }
        self._each(shares, self._beat_on)
        for name in [name for name in self._beaten if name not in shares]:
            self._stop_beating(name)

    def _beat_on(self, share: str) -> None:
        now = self._monotonic()
        due = now - self._beaten.get(share, -1e9) >= float(self.board.settings.get("heartbeat_s")) * 0.8
        if due and not self.board.store.away(share):
            self._beat_path(share, self.board.server).write_text(self.board.server + "\n", "utf-8")
            self._beaten[share] = now

    def _stop_beating(self, name: str) -> None:
        self._beaten.pop(name, None)
        try:
            self._beat_path(name, self.board.server).unlink()
        except OSError:
            pass  # gone, or the share is

    def _beat_path(self, share: str, server: str) -> Path:
        name = f"server-{paths.safe_name(server)}.beat"
        return self.board.store.share(share).root / paths.LOCKS / name

    # -- other servers --------------------------------------------------------------------------------

    def _look_around(self) -> None:
        """Catch up with journals that somebody else wrote to, and with jobs that rested."""
        now = self._monotonic()
        if now - self._looked < LOOK_AROUND_S:
            return
        self._looked = now
        self._judged = {job_id: at for job_id, at in self._judged.items() if job_id in self.board.live}
        due: list[Live] = []
        many = len(self.board.live) > MANY_JOBS
        for live in list(self.board.live.values()):
            if live.rests_until:
                # A share that came back is taken in here, not by the thread that nodes wait for.
                if live.rests_until <= now and not self.board.store.away(live.job.share):
                    live.rests_until = 0.0
                    due.append(live)
                continue
            if live.held_until and live.held_until <= now:
                live.held_until = 0.0
                due.append(live)
                continue
            if live.stuck and now - self._judged.get(live.job.id, 0.0) >= JUDGE_S:
                self._judged[live.job.id] = now
                due.append(live)
                continue
            every_s = LOOK_S if many and not live.job.claims else LOOK_RUNNING_S
            if now - live.checked >= every_s:
                live.checked = now
                extras = live.job.extras["waiting"] and not live.job.counts["waiting"]
                if (extras or live.place.stirred()) and not self.board.store.away(live.job.share):
                    due.append(live)
        self._look(due)

    def _look_at_room(self) -> None:
        """Is there room for what open jobs write? Those that stopped for want of it go on by themselves."""
        now = self._monotonic()
        if now - self._room_looked < LOOK_AT_ROOM_S and self._room_looked:
            return
        self._room_looked = now
        board = self.board
        for live in list(board.live.values()):
            if live.job.open and board.ours(live.job) and board.room.look(board.writes(live.job)):
                self._in_turn(partial(board.stand, live))
                board.tell("job", live.job.id)
                board.tell("problems", "")

    def _look(self, lives: list[Live], wait: bool = False) -> None:
        self._ask([Op("look", live.job.id) for live in lives], wait)

    def _ask(self, ops: list[Op], wait: bool = False) -> None:
        if ops:
            bundle = Bundle(ops=ops)
            self._committer.put(bundle)
            if wait:
                bundle.wait(600)

    # -- logs and news --------------------------------------------------------------------------------

    def write_logs(self) -> None:
        """Put what attempts said that are over into files, each job's together. All are there on return."""
        with self._writing:  # who reads a log must not come between its taking and its writing
            waiting: dict[str, tuple[Live, list[Said]]] = {}
            while True:
                try:
                    live, said = self._committer.logs.get_nowait()
                except queue.Empty:
                    break
                said.text = self.board.texts.take(said.uuid)
                waiting.setdefault(live.job.id, (live, []))[1].append(said)
            limit_bytes = int(float(self.board.settings.get("log_mb")) * (1 << 20))
            for live, all_said in waiting.values():
                live.place.logs.keep(all_said, self.board.store.site, limit_bytes)
                self.board.tell("job", live.job.id)
            self.board.texts.forget_unless(self._is_held, TAKEN_BACK_S)

    def _is_held(self, uuid: str) -> bool:
        job_id, task, code = split_attempt(uuid) or ("", 0, 0)
        live = self.board.live.get(job_id)
        return live is not None and live.job.held(task, code) is not None

    def _tell(self) -> None:
        changed = self.board.changed
        changes: list[Change] = []
        while changed:
            changes.append(Change(*changed.pop()))
        # A thumbnail of each would be drawn by the very processors that render: the others' are made when
        # somebody looks at them.
        if self._monotonic() - self._framed >= FRAMES_S and self.board.frames:
            self._framed = self._monotonic()
            frames = [self.board.frames.popleft() for _ in range(len(self.board.frames))]
            changes += [Change("frame", address) for address in frames]
        if not changes:
            return
        for subscriber in list(self.subscribers):
            try:
                subscriber(changes)
            except Exception:
                self.faults += 1
                log.exception("a subscriber of the farm failed")


def _remember(board: Board, job_id: str, ended: Ended) -> None:
    live = board.live.get(job_id)
    if live is not None:
        board.remove(live)
    board.broken.pop(job_id, None)
    board.ended[job_id] = ended
    board.following.changed(job_id)
    board.tell("job", job_id)


def _differs(ended: Ended, result: dict[str, Any] | None) -> bool:
    return result is None or result != ended.result


def _mtime_ns(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
