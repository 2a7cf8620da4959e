"""What an attempt at a task says or said: of one that runs from memory, of one that is over from its file."""

from __future__ import annotations

from server.disk.errors import NotFound
from server.farm.committer.board import Board
from server.farm.committer.keeper import Keeper
from server.farm.committer.live import Live
from server.farm.jobs.texts import LogPart, Text


def part(board: Board, keeper: Keeper, live: Live, n: int, attempt: int, offset: int) -> LogPart:
    """From this position on (negative: so many bytes from the end). Attempt 0: the newest that has something.
    NotFound where nobody has begun with the task."""
    with live.settled():
        latest = live.job.latest[n] >> 16
        claim = live.job.claims.get(n)
    running = claim.code >> 16 if claim is not None else 0
    if not latest or not 0 <= attempt <= latest:
        raise NotFound(
            "Task {number} of job {job_id} has no log: nobody has begun with it.", number=n, job_id=live.id
        )
    keeper.write_logs()
    kept = live.place.logs.attempts(n, latest)
    number = attempt or running or (kept[-1] if kept else latest)
    attempts = tuple(sorted({*kept, *([running] if running else [])}))
    if claim is not None and number == running:
        board.texts.watch(claim.attempt)
        text, start, following, end = board.texts.part(claim.attempt, offset)
        return LogPart(text, start, following, end, True, number, attempts)
    found = live.place.logs.read(n, number) or Text()
    return LogPart(*found.part(offset), found.end, False, number, attempts)
