"""What the farm did and what became of it, as pages and API ask: sums, costs, renders of a file, advice,
failures that wait for their owner. Reads the board, changes nothing.

Sums come from the folds of jobs in memory and from the kept sums of ended ones, so they are what the
journals say, wherever a file was moved to; a job that was deleted is gone from them.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from server.disk.errors import BadInput
from server.farm.committer.board import Board
from server.farm.committer.live import Ended, Live
from server.farm.failures import words
from server.farm.farm.forecast import Forecast
from server.farm.jobs import states
from server.farm.jobs.tasks import DONE
from server.farm.statistics import advice, film, tables
from server.farm.statistics.advice import Advice, Frame
from server.farm.statistics.deliveries import Delivery, Shot, deliveries
from server.farm.statistics.estimate import Ends
from server.farm.statistics.presence import Presence
from server.farm.statistics.sums import standing
from server.farm.statistics.tables import Part, Table

KEPT_S = 2.0  # a table is answered again for so long: pages and their drawings ask for the same
KEPT = 64
SAVE_S = 3600.0  # between two writings of who was there
RENDERS = 200  # of a file that are told one by one
ADVICE_FRAMES = 20_000  # beyond so many a part of them is looked at
LIKELY_FRAMES = 3  # done, before the newest render stands for what a frame of the file takes

AnyJob = Live | Ended


class Figures:
    """Made once. `saved_hours` are those for which computers were kept off."""

    def __init__(
        self,
        board: Board,
        forecast: Forecast,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        presence: Presence,
    ) -> None:
        self._board = board
        self._forecast = forecast
        self._monotonic = monotonic
        self._wall = wall
        self.presence = presence
        self._saved = monotonic()
        self._tables: dict[tuple[Any, ...], tuple[float, Table]] = {}
        self.saved_hours: Callable[[], float] = lambda: 0.0

    def look(self) -> None:
        """Once a round of the keeper's: who is there to work. Written when jobs are worked on anyway."""
        now, wall = self._monotonic(), self._wall()
        heartbeat_s = float(self._board.settings.get("heartbeat_s"))
        there = (
            (node.name, node.slots)
            for node in self._board.nodes.present()
            if node.held or node.may_work(now, heartbeat_s)
        )
        paused = self._board.nodes.farm_paused
        looked = self.presence.look(wall, () if paused else there)
        if looked and self._board.claimed_jobs and now - self._saved >= SAVE_S:
            self._saved = now
            self.presence.save()

    def zone(self) -> datetime.tzinfo:
        """In which people's days are counted."""
        return self._board.nodes.zone()

    # -- sums -----------------------------------------------------------------------------------------

    def table(self, by: str, days: int, zone: datetime.tzinfo, project: str = "", user: str = "") -> Table:
        """The work of the last `days` days, or of all time (0), by day, project, user, node or file."""
        if by not in tables.BY:
            raise BadInput(
                "by must be one of {by}, not {given}.", by=", ".join(tables.BY), given=repr(by[:40])
            )
        now = self._monotonic()
        key = (by, days, str(zone), project, user)
        known = self._tables.get(key)
        if known is not None and now - known[0] < KEPT_S:
            return known[1]
        today = datetime.datetime.fromtimestamp(self._wall(), zone)
        window = tables.window(days, today) if days else []
        narrow = bool(project or user)
        found = tables.table(
            self._parts(project, user), by, window, zone, {} if narrow else self.presence.snapshot()
        )
        if len(self._tables) >= KEPT:
            self._tables.clear()
        self._tables[key] = (now, found)
        return found

    def forget(self) -> None:
        """Count anew at the next question."""
        self._tables.clear()

    def _parts(self, project: str, user: str) -> Iterable[Part]:
        for job in self._jobs():
            record = job.record
            whose, who = str(record.get("project") or ""), str(record.get("user") or "")
            if (project and whose != project) or (user and who != user):
                continue
            if isinstance(job, Live):
                hours: tables.Hours = {
                    hour: dict(nodes) for hour, nodes in job.job.usage.by_hour.copy().items()
                }
                reasons = {hour: dict(counts) for hour, counts in job.job.usage.reasons.copy().items()}
            else:
                hours, reasons = tables.hours_of(job.result), tables.reasons_of(job.result)
            yield Part(job.id, whose, who, job.address, hours, reasons)

    def _jobs(self) -> list[AnyJob]:
        return [*self._board.live.values(), *self._board.ended.values()]

    def newest_frame(self, project: str) -> tuple[AnyJob, float] | None:
        """The render of a project that made a frame last, and when (seconds since the epoch)."""
        own = ((job, _last_frame_at(job)) for job in self._jobs() if job.record.get("project") == project)
        framed = [(job, at) for job, at in own if at]
        # Times are whole seconds: among equals the one that goes on.
        return max(framed, key=lambda pair: (pair[1], pair[0].state in states.OPEN, pair[0].id), default=None)

    # -- one file -------------------------------------------------------------------------------------

    def renders(self, address: str, span: Sequence[int] | None = None, since: str = "") -> dict[str, Any]:
        """What is known of a file's renders that were asked for after `since`; `span` is the scene's own
        range, for what all of it takes."""
        jobs = sorted(
            (
                job
                for job in self._jobs()
                if job.address == address and str(job.record.get("created") or "") >= since
            ),
            key=lambda job: (str(job.record.get("created") or ""), job.id),
            reverse=True,
        )
        rows = [_render(job) for job in jobs]
        done = [row for row in rows if row["done"]]
        newest = next((row for row in done if row["done"] >= LIKELY_FRAMES), done[0] if done else None)
        frames, seconds = sum(row["done"] for row in done), sum(row["seconds"] for row in done)
        every = {
            "frames": frames,
            "mean": round(seconds / frames, 3) if frames else None,
            "fastest": min((row["fastest"] for row in done if row["fastest"] is not None), default=None),
            "slowest": max((row["slowest"] for row in done if row["slowest"] is not None), default=None),
            "hours": round(sum(row["hours"] for row in rows), 4),
            "hours_for_nothing": round(sum(row["hours_for_nothing"] for row in rows), 4),
        }
        chosen = next((job for job in jobs if newest and job.id == newest["id"]), None)
        return {
            "file": address,
            "count": len(rows),
            "renders": rows[:RENDERS],
            "newest": newest,
            "all": every,
            "whole": self._whole(span, newest),
            "advice": [_said(one) for one in self.advice(chosen)] if isinstance(chosen, Live) else [],
        }

    def _whole(self, span: Sequence[int] | None, newest: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """What the whole range would take, by the newest render: on one computer, and on those here now."""
        if not span or len(span) != 2 or newest is None or newest["mean"] is None:
            return None
        count = max(1, span[1] - span[0] + 1)
        seconds = count * float(newest["mean"])
        slots = min(count, self._forecast.slots())
        return {
            "first": span[0],
            "last": span[1],
            "frames": count,
            "seconds": round(seconds, 1),
            "slots": slots,
            "elapsed": round(max(seconds / slots, newest["mean"]), 1) if slots else None,
        }

    def advice(self, live: Live) -> list[Advice]:
        """What is known of a job that could go better."""
        job = live.job
        frames = []
        if not film.parts_of(job):
            step = max(1, len(job.frames) // ADVICE_FRAMES)
            letters, times = film.frames_of(job)
            for at in range(0, len(letters), step):
                if letters[at] == DONE:
                    task = film.task_of(job, at)
                    node = job.done_by(task) if job.cells[task] == DONE else ""
                    frames.append(Frame(job.frames[at], times[at] / 1000, node, job.memory[task]))
        memory = {
            node.name: float(node.hardware["memory_mb"])
            for node in self._board.nodes.present()
            if isinstance(node.hardware.get("memory_mb"), (int, float))
        }
        failed = {name: sums[2] for name, sums in job.usage.by_node.copy().items() if sums[2]}
        waited_s = job.usage.waited_milliseconds / 1000 if len(job.frames) <= ADVICE_FRAMES else 0.0
        return advice.advise(frames, waited_s=waited_s, memory_mb=memory, failed=failed)

    # -- what is due ----------------------------------------------------------------------------------

    def deliveries(self, shots: Iterable[Shot], zone: datetime.tzinfo) -> list[Delivery]:
        """Of files with a day: what the present queue makes of it. Their jobs are filled in here."""
        opened: dict[str, list[str]] = {}
        for live in list(self._board.live.values()):
            if live.job.state not in states.ENDED:
                opened.setdefault(live.address, []).append(live.id)
        known: dict[str, Ends] = {}
        asked = []
        for shot in shots:
            jobs = tuple(opened.get(shot.address, ()))
            known |= {job: ends for job in jobs if (ends := self._forecast.of(job)) is not None}
            asked.append(Shot(shot.address, shot.name, shot.due, shot.owner, shot.delivered, jobs))
        return deliveries(asked, known, self._wall(), zone)

    # -- what went wrong ------------------------------------------------------------------------------

    def failures(self, user: str, project: str = "", most: int = 20) -> list[dict[str, Any]]:
        """What of a person's renders (of everybody's without one) failed and isn't put right: the newest
        failure of each job first.

        A frame that failed for good stands until it is tried again or left out; one that is tried again by
        itself is told as long as nothing of the job is done, since then the scene may be wrong.
        """
        mine = [
            job
            for job in self._jobs()
            if (not user or job.record.get("user") == user)
            and (not project or job.record.get("project") == project)
        ]
        newest: dict[str, str] = {}  # file -> when it was submitted last: older failures are of the past
        for job in mine:
            newest[job.address] = max(newest.get(job.address, ""), str(job.record.get("created") or ""))
        found = []
        for job in mine:
            if job.state == states.CANCELLED or str(job.record.get("created") or "") < newest[job.address]:
                continue
            if isinstance(job, Live):
                told = standing(job.job)
            else:
                told = _ended_failure(job.result) if job.state == states.FAILED else None
            if told is not None:
                found.append({**_told(job), **told})
        found.sort(key=lambda one: str(one["at"]), reverse=True)
        return found[:most]


def _last_frame_at(job: AnyJob) -> float:
    """When a render made its newest frame; 0: it has none. Of one that is over, when it ended."""
    if isinstance(job, Live):
        return float(job.job.done_at[job.job.last_task]) if job.job.last_task >= 0 else 0.0
    if not job.result.get("newest"):
        return 0.0
    try:
        return datetime.datetime.fromisoformat(str(job.result.get("ended"))).timestamp()
    except ValueError:
        return 0.0


def _render(job: AnyJob) -> dict[str, Any]:
    """One render of a file, in figures."""
    record = job.record
    if isinstance(job, Live):
        counts, total = dict(job.job.counts), job.job.total
        seconds = job.job.usage.milliseconds / 1000
        hours: tables.Hours = {hour: dict(nodes) for hour, nodes in job.job.usage.by_hour.copy().items()}
        times = film.times_of(job.job)
        done = len(times)
        fastest = min(times)[0] / 1000 if times else None
        slowest = max(times)[0] / 1000 if times else None
        ended = job.job.ended or None
    else:
        result = job.result
        counts, total = dict(result.get("counts") or {}), int(result.get("total") or 0)
        seconds = float(result.get("seconds") or 0)
        hours = tables.hours_of(result)
        fastest, slowest = result.get("seconds_shortest"), result.get("seconds_longest")
        ended = result.get("ended")
        done = int(result.get("frames_done") or counts.get("done") or 0)
    busy = [sums for nodes in hours.values() for sums in nodes.values()]
    nothing = sum(sums[4] for sums in busy) / 1000
    spent = sum(sums[1] + sums[4] + sums[5] for sums in busy) / 1000
    return {
        "id": job.id,
        "version": record.get("version"),
        "user": record.get("user"),
        "state": job.state,
        "frames": record.get("frames"),
        "total": total,
        "done": done,
        "submitted": record.get("created"),
        "ended": ended,
        "seconds": round(seconds, 3),
        "mean": round(seconds / done, 3) if done else None,
        "fastest": fastest,
        "slowest": slowest,
        "hours": round(spent / 3600, 4),
        "hours_for_nothing": round(nothing / 3600, 4),
    }


def _said(one: Advice) -> dict[str, str]:
    return {"kind": one.kind, "text": one.text}


def _told(job: AnyJob) -> dict[str, Any]:
    return {
        "job": job.id,
        "name": job.record.get("name"),
        "project": job.record.get("project"),
        "user": str(job.record.get("user") or ""),
        "file": job.address,
        "state": job.state,
        "submitted": str(job.record.get("created") or ""),
    }


def _ended_failure(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the sum of a failed job says of it; sums of before said it in a line."""
    kept = result.get("failure")
    told = kept if isinstance(kept, dict) else {}
    counts = result.get("counts") or {}
    return {
        "n": told.get("n"),
        "frame": told.get("frame"),
        "words": str(told.get("words") or str(result.get("first_failure") or "").partition(":")[0]),
        "node": str(told.get("node") or ""),
        "reason": str(told.get("reason") or ""),
        "sentence": str(told.get("sentence") or result.get("first_failure") or result.get("why") or ""),
        "to_do": str(told.get("to_do") or words.to_do(str(told.get("reason") or ""))),
        "at": str(told.get("at") or result.get("ended") or ""),
        "attempts": told.get("attempts") or 0,
        "count": int(counts.get("failed") or 0),
        "final": True,
    }
