"""What follows on a job's first frame, and on its end: in the keeper's thread, under no lock of a job.

A first frame makes a version one that can be used. An ended job is summed up (`result.json`), its snapshot
put away, what dead attempts left swept up, its version's record completed; those of one commit together.
Each round does so for a while only: who else waits for that thread (leases, the server's beat) must not wait
for hundreds of jobs. What a crash interrupts is done again, since the sum comes last.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from server.disk.errors import Conflict, CroftError
from server.farm import statistics
from server.farm.committer import Bundle, Committer
from server.farm.committer.board import Board
from server.farm.committer.decide import Op, Turn
from server.farm.committer.live import Live
from server.farm.jobs import inputs, outputs, states
from server.farm.jobs import record as records
from server.library import versions

log = logging.getLogger("croft.farm")

ROUND_S = 0.2  # of a round for the ends of jobs
FIRST_FRAMES_S = 0.01  # and of others' first frames: hundreds that begin at once take turns with the rest
TOGETHER = 16  # jobs that are summed up after one commit
KEEP_ENDED_S = 300.0  # a job stays a fold for so long after its end
FAILED_REST_S = 15.0  # an ended job that couldn't be summed is let be for so long
COMMIT_S = 600.0  # a commit is waited for so long

# What a version's sidecar keeps of its render's sum.
KEPT_SUMS = ("frames_done", "seconds", "seconds_shortest", "seconds_longest", "peak_memory_mb", "nodes")

Thing = TypeVar("Thing")
Each = Callable[[Iterable[Any], Callable[[Any], Any]], list[Any]]
"""Do something with each; those that failed. One that fails keeps nobody from the others."""


class Ends:
    """Used by the keeper's thread alone."""

    def __init__(
        self, board: Board, committer: Committer, monotonic: Callable[[], float], each: Each
    ) -> None:
        self._board = board
        self._committer = committer
        self._monotonic = monotonic
        self._each = each
        self._ended_at: dict[str, float] = {}

    def begin_versions(self) -> None:
        """What has a frame can be used: its version's record says so, and `current` may lead there."""
        begun = [self._board.begun.popleft() for _ in range(len(self._board.begun))]
        self._board.begun.extend(self._for_a_while(begun, self._begin_version, FIRST_FRAMES_S))

    def finish(self) -> None:
        """Jobs that ended are summed up; those that ended long ago are no folds any more."""
        now, board = self._monotonic(), self._board
        for job_id in self._ended_at.keys() - board.over:
            del self._ended_at[job_id]
        due: list[Live] = []
        for job_id in list(board.over):
            live = board.live.get(job_id)
            if live is None or not board.ours(live.job) or live.rests_until:
                continue
            since = self._ended_at.setdefault(job_id, now)
            if not live.finalised:
                due.append(live)
            elif now - since > KEEP_ENDED_S:
                self._each([live], self._retire)
        self._for_a_while(
            [due[at : at + TOGETHER] for at in range(0, len(due), TOGETHER)], self._finish, ROUND_S
        )

    def _for_a_while(self, things: list[Thing], duty: Callable[[Thing], Any], while_s: float) -> list[Thing]:
        """Do something with each; those that failed, and those that are left for the next round."""
        until, left, failed = self._monotonic() + while_s, list(reversed(things)), []
        while left and self._monotonic() < until:
            failed += self._each([left.pop()], duty)
        if left:
            self._board.stirred.set()
        return [*reversed(left), *failed]

    def _begin_version(self, live: Live) -> None:
        version = live.record.get("version")
        if version and live.state not in states.ENDED:  # else its end tells all
            versions.begin(self._board.store, live.address, version, live.job.last_done)

    # -- the end --------------------------------------------------------------------------------------

    def _finish(self, lives: list[Live]) -> None:
        """Sum up jobs after one commit. Again is harmless."""
        closing: list[tuple[Live, Op, int, str]] = []

        def close(live: Live) -> None:
            live.changed = self._changed_files(live)
            length, digest = live.place.hash_journal()
            closing.append((live, Op("act", live.id, act=partial(_close, length=length)), length, digest))

        def sum_up(closed: tuple[Live, Op, int, str]) -> None:
            live, op, length, digest = closed
            if op.error is not None:
                raise op.error
            if op.result is not None:  # else somebody asked for more meanwhile
                self._sum_up(live, op.result, length, digest)

        failed = self._each(lives, close)
        try:
            self._commit([op for _, op, _, _ in closing])
            failed += [live for live, *_ in self._each(closing, sum_up)]
        except CroftError as error:
            log.info("jobs that ended can't be summed up now: %s", error)
            failed = lives
        for live in failed:  # the disk is full, perhaps: not again at once
            live.finalised = False
            live.rests_until = self._monotonic() + FAILED_REST_S

    def _commit(self, ops: list[Op]) -> None:
        if ops:
            bundle = Bundle(ops=ops)
            self._committer.put(bundle)
            bundle.wait(COMMIT_S)

    def _sum_up(self, live: Live, summary: dict[str, Any], length: int, digest: str) -> None:
        job, place, store = live.job, live.place, self._board.store
        place.sweep()
        if job.record.get("version"):
            told: dict[str, Any] = {"state": job.state, "ended": job.ended, "outputs": outputs_of(live)}
            told["changed"] = live.changed
            told["statistics"] = {key: summary[key] for key in KEPT_SUMS}
            with contextlib.suppress(Conflict):  # it is no record any more: a person's to mend
                versions.update(store, job.address, job.record["version"], told)
        place.write_result({**summary, "changed": live.changed}, length, digest)
        self._board.tell("job", job.id)

    def _changed_files(self, live: Live) -> list[str]:
        """Which of the files that it is rendered from changed since it was submitted, whenever that was."""
        found = inputs.Files(live.place.asset_folder, self._board.store.shares)
        told = [str(change["file"]) for change in live.job.changes]
        now = inputs.changed(found, live.job.record.get("inputs") or {})
        return list(dict.fromkeys([*told, *now]))

    def _retire(self, live: Live) -> None:
        result = records.read_result(live.place.folder)
        if result is None:
            return
        self._ended_at.pop(live.id, None)

        def retire() -> None:
            if live.finalised and self._board.live.get(live.id) is live:
                self._board.retire(live, result)

        self._committer.do(retire)


def _close(turn: Turn, length: int) -> dict[str, Any] | None:
    """In a job's turn: its sum, once nothing of it is to be done any more. None where its journal isn't the
    one that was read: somebody asked for more."""
    if turn.job.state not in states.ENDED or turn.live.place.offset != length:
        return None
    turn.live.place.keep_snapshot()
    turn.live.ready = False
    turn.live.finalised = True
    return statistics.summary(turn.job)


def outputs_of(live: Live) -> list[dict[str, Any]]:
    """What a version's sidecar says of its frames."""
    job = live.job
    name = outputs.pattern(job)
    if not name:
        return []
    told = {"done": job.counts["done"], "bytes": job.output_bytes}
    return [{"name": name, "frames": str(job.frames), **told}]
