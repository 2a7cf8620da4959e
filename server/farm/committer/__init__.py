"""The one thread that changes jobs.

Requests from many nodes wait in a queue; the committer takes all of them at once, takes each touched
job's lock once, catches up with what other servers wrote, decides, appends all lines in one write,
flushes, and only then answers. So an old disk's slow flush is shared by everybody who waits for it, jobs
wait for theirs together, and an `accepted` survives a power cut. A job whose disk or lock fails is let
be; the others go on.

    live       a job in memory
    dressing   what its tasks ask of a node, and tell it
    following  jobs that come after others
    board      the jobs in memory and their line
    decide     what becomes of each thing asked of one job
"""

from __future__ import annotations

import datetime
import logging
import queue
import random
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from server.disk.errors import Busy, CroftError, NotFound, ShareAway
from server.disk.speech import say
from server.farm.committer.board import Board
from server.farm.committer.decide import Op, Turn, close_approved, give, handle, may_give, settle
from server.farm.committer.live import Live
from server.farm.jobs import states
from server.farm.jobs.logs import Said
from server.farm.jobs.place import Seen
from server.farm.nodes import Node
from server.farm.scheduler import Choice

log = logging.getLogger("croft.farm")

Key = tuple[str, int]  # job, stage
Flush = Callable[[], None]
Waits = Generator[Flush, None, None]
"""A job's turn: it yields what it waits for, and is thrown what that raised."""

LOCK_S = 2.0  # the locks of a commit's jobs are waited for so long, then a job rests
ANSWER_S = 30.0  # a request is given up after so long
OFFERS_S = 5.0  # a request for tasks is offered one job after the other for so long, until it has enough
MEET_S = 2.0  # how often it is counted what the nodes can do
FLUSHES = 8  # flushes that a slow disk is asked for at the same time
MANY_FLUSHES = 6  # so many are worth handing to several threads
SLOW_FLUSH_S = 0.005  # a disk is slow where one takes longer
ENDING = ("done", "failed", "release")  # what nodes say of claims that are over
OPEN_JOURNALS = 128  # journals kept open between commits


class Gone(NotFound):
    """A job's folder isn't there at the moment: what we know of it stays, to compare with what comes back."""


class Bundle:
    """All that one request asks for. Waits until it was committed."""

    __slots__ = ("_gate", "answers", "before", "error", "node", "ops", "passed", "wants")

    def __init__(self, node: Node | None = None, wants: int = 0, ops: Iterable[Op] = ()) -> None:
        self.node = node
        self.wants = wants  # tasks that the node asks for
        self.ops = list(ops)
        self.answers: list[bytes] = []  # tasks given
        self.passed: set[Key] = set()  # work that it was offered in vain
        self.error: CroftError | None = None
        self.before: Callable[[], Any] | None = None  # done first, in the committer's thread
        self._gate = threading.Lock()
        self._gate.acquire()

    def wait(self, timeout_s: float = ANSWER_S) -> None:
        """Until it is committed and durable; Busy when that takes too long."""
        if not self._gate.acquire(timeout=timeout_s):
            raise Busy("The farm's disk did not answer in time.", path="", holder="", waited_s=timeout_s)
        if self.error is not None:
            raise self.error

    def release(self) -> None:
        self._gate.release()


Given = tuple[Bundle, list[bytes]]  # who asked, the tasks


@dataclass(frozen=True, slots=True)
class Offer:
    """Tasks of one stage of one job that a node is about to be given."""

    bundle: Bundle
    stage: int
    choices: list[Choice]


class Committer:
    """Takes bundles, commits them together. `pause` and `resume` of the thread are for tests."""

    def __init__(
        self,
        board: Board,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        rng: random.Random | None = None,
    ) -> None:
        self.board = board
        self._monotonic = monotonic
        self._wall = wall
        self._random = rng or random.Random()
        self._queue: queue.SimpleQueue[Bundle | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="farm-committer", daemon=True)
        self._pool = ThreadPoolExecutor(FLUSHES, thread_name_prefix="farm-flush")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="farm-read")
        self._closed = False
        self._open: dict[str, Live] = {}  # jobs whose journal is open, the longest unused first
        self._writable: set[str] = set()  # shares that this round has seen there
        self._began = 0.0  # monotonic: of the commit under way
        self._met = -MEET_S  # monotonic: when the nodes were counted
        self._met_news = -1
        self.faults = 0
        self.commits = 0
        self.logs: queue.SimpleQueue[tuple[Live, Said]] = queue.SimpleQueue()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Commit what waits, then end."""
        self._closed = True
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout=ANSWER_S)
        self._pool.shutdown()
        self._reader.shutdown(cancel_futures=True)

    def put(self, bundle: Bundle) -> None:
        """Have a bundle committed; the caller waits for it."""
        if self._closed:
            raise _busy(say("This server is stopping. Try again in a moment."))
        self._queue.put(bundle)

    def busy_s(self) -> float:
        """How long the present commit has taken: a disk that hangs shows here."""
        began = self._began
        return self._monotonic() - began if began else 0.0

    def do(self, what: Callable[[], Any]) -> None:
        """Have something done between two commits, in the committer's thread; wait for it."""
        bundle = Bundle()
        bundle.before = what
        self.put(bundle)
        bundle.wait()

    def ask(self, op: Op) -> Any:
        """Commit one op and give its result; raises what it raised."""
        bundle = Bundle(ops=[op])
        self.put(bundle)
        bundle.wait()
        if op.error is not None:
            raise op.error
        return op.result

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            try:
                while True:
                    batch.append(self._queue.get_nowait())
            except queue.Empty:
                pass
            bundles = [bundle for bundle in batch if bundle is not None]
            try:
                self.commit(bundles)
            except Exception:
                self.faults += 1
                log.exception("a commit failed")
                for bundle in bundles:
                    bundle.error = _busy(say("The farm failed at this. Try again."))
            self._began = 0.0
            for bundle in bundles:
                bundle.release()
            if len(bundles) != len(batch):
                return

    def commit(self, bundles: list[Bundle]) -> None:
        """One commit of many bundles. Their answers are durable when it returns."""
        self.commits += 1
        self._began = self._monotonic()
        asked: dict[str, list[Op]] = {}
        for bundle in bundles:
            if bundle.before is not None:
                self._do_before(bundle, bundle.before)
            for op in bundle.ops:
                asked.setdefault(op.job_id, []).append(op)
        hungry = [bundle for bundle in bundles if bundle.wants > 0 and bundle.node is not None]
        self.board.wake()
        self.board.following.settle()
        self.board.follow_limits()
        self._writable.clear()
        while True:
            offers = self._offer(hungry, bundles if asked else [])
            if not asked and not offers:
                break
            until = self._monotonic() + LOCK_S
            self._together(
                # Always in the same order, so that two servers never wait for each other in a circle.
                self._turn(job_id, asked.get(job_id, []), offers.get(job_id, []), until)
                for job_id in sorted({*asked, *offers})
            )
            self.board.line.settle(self._monotonic())
            self.board.following.settle()
            self._writable.clear()
            asked = {}
            hungry = [bundle for bundle in hungry if len(bundle.answers) < bundle.wants]
            if self._monotonic() - self._began > OFFERS_S:
                break  # slow disks: what is given already must not wait for more
        self._close_some()

    def _do_before(self, bundle: Bundle, what: Callable[[], Any]) -> None:
        try:
            what()
        except Exception as error:
            bundle.error = error if isinstance(error, CroftError) else _busy(say("The farm failed at this."))
            log.exception("a change of the board failed")

    def _offer(self, hungry: list[Bundle], ended: list[Bundle]) -> dict[str, list[Offer]]:
        """Which jobs the hungry nodes are offered next: a task each by turns, until they have enough.

        What a node says that it ended counts as ended when its turn comes, what is offered as given: as if
        they had asked one by one. `ended`: those whose word wasn't heard yet.
        """
        if not hungry:
            return {}
        line, now = self.board.line, self._monotonic()
        self._meet_nodes(now)
        offers: dict[tuple[Bundle, Key], Offer] = {}
        waiting = [(bundle, bundle.wants - len(bundle.answers)) for bundle in hungry]
        unheard = {bundle for bundle in ended if bundle.ops}
        for bundle in unheard.difference(hungry):
            self._hear_ends(bundle, now)
        while waiting:
            left = []
            for bundle, wants in waiting:
                node = bundle.node
                assert node is not None
                if bundle in unheard:
                    unheard.discard(bundle)
                    self._hear_ends(bundle, now)
                choice = line.choose(node.means, now, self._refused(node, bundle.passed), node.name)
                if choice is None:
                    continue
                line.take(choice, now, node.name)
                offer = offers.setdefault((bundle, choice.key), Offer(bundle, choice.stage, []))
                offer.choices.append(choice)
                if wants > 1:
                    left.append((bundle, wants - 1))
            waiting = left
        found: dict[str, list[Offer]] = {}
        for (bundle, key), offer in offers.items():
            bundle.passed.add(key)  # until it gave
            found.setdefault(key[0], []).append(offer)
        return found

    def _hear_ends(self, bundle: Bundle, now: float) -> None:
        """What a node says that it ended counts no more."""
        for op in bundle.ops:
            ended = self._ended_by(op)
            if ended is not None:
                self.board.line.expect_end(*ended, now)

    def _ended_by(self, op: Op) -> Key | None:
        """The work of which a claim will be over."""
        live = self.board.live.get(op.job_id) if op.kind in ENDING else None
        if live is None or live.job.held(op.task, op.code) is None:
            return None
        return op.job_id, live.job.stage_of(op.task).index

    def _refused(self, node: Node, passed: set[Key]) -> Callable[[str, int], bool]:
        """Passes over what this request was offered in vain, and what this node shouldn't try again."""

        def refused(job_id: str, stage: int) -> bool:
            if (job_id, stage) in passed:
                return True
            live = self.board.live.get(job_id)
            return (
                live is not None and bool(live.job.failures) and not may_give(self.board, live, node, stage)
            )

        return refused

    def _meet_nodes(self, now: float) -> None:
        """Have the scheduler know what the nodes can do, to see what is rare."""
        if now - self._met < MEET_S and self._met_news == self.board.node_news:
            return
        self._met, self._met_news = now, self.board.node_news
        heartbeat_s = self.board.nodes.heartbeat_s()
        present = [n.means for n in self.board.nodes.present() if n.may_work(now, heartbeat_s)]
        self.board.line.meet(Counter(present))

    def _together(self, turns: Iterable[Waits]) -> None:
        """Have turns go on, each to where it must wait for its disk; they wait there together."""
        going: list[tuple[Waits, Exception | None]] = [(turn, None) for turn in turns]
        try:
            while going:
                waiting: list[tuple[Waits, Flush]] = []
                for turn, error in going:
                    with suppress(StopIteration):
                        waiting.append((turn, turn.throw(error) if error is not None else next(turn)))
                errors = self._flush_all([flush for _, flush in waiting])
                going = [(turn, error) for (turn, _), error in zip(waiting, errors, strict=True)]
        finally:
            for turn, _ in going:
                turn.close()

    def _flush_all(self, flushes: list[Flush]) -> list[Exception | None]:
        """Do each; what it raised. A few are asked of a quick disk one after the other, of a slow one at the
        same time; of many a disk makes fewer where they come together."""
        errors: list[Exception | None] = []
        for flush in flushes if len(flushes) < MANY_FLUSHES else ():
            began = self._monotonic()
            errors.append(_tried(flush))
            if self._monotonic() - began > SLOW_FLUSH_S:
                break
        left = flushes[len(errors) :]
        found: list[Exception | None] = [None] * len(left)
        shares = [left[at::FLUSHES] for at in range(min(FLUSHES, len(left)))]
        for at, tried in enumerate(self._pool.map(_all_tried, shares)):
            found[at::FLUSHES] = tried
        return errors + found

    def _turn(self, job_id: str, ops: list[Op], offers: list[Offer], until: float) -> Waits:
        """One job's part of a commit: decide, write, flush, or take all of it back. Its lock is waited for
        until then. Only once it has ended its answers are durable."""
        try:
            live = self.board.find(job_id)
        except Exception as error:
            if not isinstance(error, CroftError):
                self.faults += 1
                log.exception("job %s can't be read", job_id)
            _fail(ops, error)
            return
        if live is None:
            for op in ops:
                _unknown(op)
            return
        with live.lock:
            try:
                given, only_claims = yield from self._locked_turn(live, ops, offers, until)
                # A claim may be forgotten in a power cut: its frame is given out once more then.
                if not only_claims and not live.place.durable:
                    yield live.place.sync
            except GeneratorExit:  # the commit failed as a whole
                live.place.forget()
                raise
            except Exception as error:
                self._take_back(live, ops, error)
            else:
                for bundle, tasks in given:
                    bundle.answers += tasks

    def _take_back(self, live: Live, ops: list[Op], error: Exception) -> None:
        if not isinstance(error, (CroftError, OSError)):
            self.faults += 1
            log.error("job %s failed", live.job.id, exc_info=error)
        elif not isinstance(error, (Busy, ShareAway, Gone)):
            self.faults += 1
            log.warning("job %s can't be written now: %s", live.job.id, error)
        if not isinstance(error, Gone):
            live.place.forget()
        self.board.rest(live)
        _fail(ops, error)

    def _locked_turn(
        self, live: Live, ops: list[Op], offers: list[Offer], until: float
    ) -> Generator[Flush, None, tuple[list[Given], bool]]:
        """What was given, and whether that is all that happened."""
        board, job = self.board, live.job
        if job.share not in self._writable:
            board.store.check_writable(job.address, take_in=False)
            self._writable.add(job.share)
        with board.store.locks(job.share).hold(job.id, until - self._monotonic()) as held:
            wall = self._wall()
            at = _stamp(wall)
            now = self._monotonic()
            lease_s = float(board.settings.get("lease_s"))
            turn = Turn(board, live, at, now, int(wall), lease_s, self._random)
            live.checked = now
            seen = live.place.catch_up()
            if seen is Seen.GONE:
                raise Gone("The folder of job {job} is gone.", job=job.id)
            if seen is not Seen.SAME:
                held.check()  # reading took its time
            if seen is Seen.BACKWARDS and job.state in states.OPEN:
                turn.change(states.PAUSED, why="restored, resume?")
            close_approved(turn)
            for op in ops:
                handle(turn, op)
            given: list[Given] = []
            contested = bool(offers) and board.contested(job)
            if offers and not contested and self._ready(turn):
                for offer in offers:
                    tasks = self._give(turn, offer)
                    if tasks:
                        given.append((offer.bundle, tasks))
            settle(turn)
            if live.place.renamed:  # before the journal says what lies there
                yield live.place.sync_folders
            if turn.events:
                held.check()
                live.place.append(turn.events)
                self._open.pop(job.id, None)
                self._open[job.id] = live
            else:
                live.place.glimpse()  # still under the lock: what another server appends next is news
        board.frames.extend(turn.frames)
        if turn.frames and not live.begun:
            live.begun = True
            board.begun.append(live)
        for said in turn.logs:
            self.logs.put((live, said))
        board.following.note(job, turn.events, seen is not Seen.SAME)
        if seen is not Seen.SAME:
            live.stuck = None  # others decided too
        if turn.events or seen is not Seen.SAME:
            live.finalised = False
            board.tell("job", job.id)
        board.stand(live, writable=True)
        if contested:
            board.rest(live)
        return given, not ops and all(event["event"] == "claim" for event in turn.events)

    def _give(self, turn: Turn, offer: Offer) -> list[bytes]:
        """Give a node what it was offered of this job, as far as it is still there."""
        node = offer.bundle.node
        assert node is not None
        before = len(turn.events)
        tasks = give(turn, node, len(offer.choices), offer.stage)
        if len(tasks) == len(offer.choices):
            offer.bundle.passed.discard((turn.job.id, offer.stage))
        claims = [event["task"] for event in turn.events[before:] if event["event"] == "claim"]
        self.board.chosen(node.name, turn.at, claims, offer.choices)
        return tasks

    def _ready(self, turn: Turn) -> bool:
        """Are the snapshot and the version folder there? Looked at before the first claim, and again when
        a node misses something."""
        live = turn.live
        if live.ready:
            return not live.guarded or self._vouched(turn)
        folder = live.place.outputs
        why = live.place.bring_snapshot()
        if why:
            if turn.job.state in states.OPEN:
                turn.change(states.PAUSED, why=why)
            return False
        if folder is not None and not folder.is_dir():
            turn.board.store.make_folder(turn.board.store.share(turn.job.share).address(folder))
        live.ready = True
        return not live.guarded or self._vouched(turn)

    def _vouched(self, turn: Turn) -> bool:
        """What runs programs does so only while its snapshot is what was submitted, and after its end only
        where people asked here for more. A large snapshot is read by another thread."""
        live, source = turn.live, turn.job.record.get("source")
        why: str | None = ""
        if self.board.revived_by_others(turn.job):
            why = say("it was asked for again, but not on this server: submit it again")
        elif live.place.snapshot is not None and isinstance(source, dict):
            why = live.vouched.why(live.place.snapshot, source, self._reader)
        if why and turn.job.state in states.OPEN:
            turn.change(states.PAUSED, why=why)
        return why == ""

    def _close_some(self) -> None:
        while len(self._open) > OPEN_JOURNALS:
            job_id = next(iter(self._open))
            self._open.pop(job_id).place.close()


def _tried(flush: Flush) -> Exception | None:
    try:
        flush()
    except Exception as error:
        return error
    return None


def _all_tried(flushes: list[Flush]) -> list[Exception | None]:
    return [_tried(flush) for flush in flushes]


def _fail(ops: list[Op], error: Exception) -> None:
    """Nothing of this was done: nodes get no answer and ask again, people get the reason."""
    for op in ops:
        op.answer = b""
        op.result = None
        op.error = error if isinstance(error, CroftError) else _busy(str(error))


def _busy(text: str) -> Busy:
    return Busy(text, path="", holder="", waited_s=0.0)


def _unknown(op: Op) -> None:
    op.error = NotFound("There is no job {job}.", job=op.job_id)


def _stamp(wall: float) -> str:
    now = datetime.datetime.fromtimestamp(wall, datetime.UTC)
    return now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
