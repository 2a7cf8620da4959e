"""What somebody says of a rendered version, said so that its render heeds it at once."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Any

from server.disk.store import Store
from server.farm.committer import Committer
from server.farm.committer.board import Board
from server.farm.committer.decide import Op, Turn, close_approved
from server.farm.committer.live import Ended
from server.farm.jobs import states
from server.library import versions


@dataclass(frozen=True, slots=True)
class Word:
    """Approved, rejected, or neither any more, with a comment."""

    address: str
    version: str
    who: str
    approved: bool
    rejected: bool = False
    comment: str = ""


def say(store: Store, board: Board, committer: Committer, word: Word) -> dict[str, Any]:
    """The version's record then. What isn't done of its render is stopped in the same turn, under the job's
    lock, so that no frame comes after the approval."""
    store.check_writable(word.address)
    job_id = str(versions.one(store, word.address, word.version).get("job") or "")

    def act(turn: Turn) -> dict[str, Any]:
        record = versions.judge(store, *astuple(word))
        close_approved(turn)
        return record

    live = board.live.get(job_id)
    if live is None or live.address != word.address or not board.ours(live.job):
        record = versions.judge(store, *astuple(word))
    else:
        record = committer.ask(Op("act", job_id, act=act))
        board.tell("job", job_id)
    if word.approved:
        versions.close_frames(store, word.address, word.version)
    return record


def was_stopped(board: Board, job_id: str, version: str) -> bool:
    """Whether this version's approval ended its render."""
    job = board.live.get(job_id) or board.ended.get(job_id)
    if job is None or job.state != states.CANCELLED:
        return False
    why = job.result.get("why") if isinstance(job, Ended) else job.job.why
    return bool(why == versions.why_closed(version))
