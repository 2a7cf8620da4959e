"""What prenodes say, and what they are told: `/potential` of our own protocol, and those that talk it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from server.disk.errors import BadInput
from server.disk.speech import say
from server.farm.committer.board import Board
from server.farm.committer.dressing import source_address
from server.farm.committer.live import Live
from server.farm.elsewhere import Asked, Prenode, Run, Wanted, deal
from server.farm.elsewhere.bridges import FAILED, STATES
from server.farm.farm.places import Places, summary
from server.farm.jobs import states
from server.farm.nodes import AWAY_HEARTBEATS
from server.farm.statistics import moments

MOST_NAMES = 1000  # of prenodes of RFAM's that are remembered
AGAIN_S, IDLE_AGAIN_S = 2.0, 5.0  # when a prenode is to ask again


class Bridging:
    """Made once by the farm. `surely_gone`: is a job gone for good?"""

    def __init__(self, board: Board, places: Places, surely_gone: Callable[[str], bool]) -> None:
        self._board = board
        self._places = places
        self._surely_gone = surely_gone
        self._told: dict[str, set[str]] = {}  # name of a prenode of RFAM's -> jobs that it knows
        self._guard = threading.Lock()

    def potential(self, told: Any) -> Any:
        """What a prenode is to have running. To RFAM's, which sends its name alone: the open jobs that it
        wasn't told of yet."""
        if isinstance(told, dict):
            return self.answer(told)
        if not isinstance(told, str) or not told or len(told) > 200:
            raise BadInput("A prenode sends its name, as a JSON string.")
        with self._guard:
            known = self._told.setdefault(told, set())
            if len(self._told) > MOST_NAMES:
                del self._told[next(iter(self._told))]
            return list(self._untold(known))

    def answer(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """What a prenode is to have running, for which job. `check`: one of its computers only wants to know
        what it would be told."""
        places, bridges = self._places, self._places.bridges
        if told.get("check") is True:
            one = Prenode(str(told.get("name")))
        else:
            news = bridges.news
            one = bridges.hear(told)
            places.ledger.hear(one.name, one.runs.values(), self._board.wall())
            if bridges.news != news:
                self._board.tell("farm", "")
        places.freshen()
        asked = [] if self._board.nodes.farm_paused else self._deal(one)
        one.asked = {ask.job: ask.nodes for ask in asked}
        busy = asked or one.runs or len(self._board.line)
        return {
            "again": AGAIN_S if busy else IDLE_AGAIN_S,
            "demand": [self._row(ask) for ask in asked],
            "ended": sorted({run.job for run in one.runs.values() if self._over(run.job)}),
            "shares": {share.name: share.id for share in self._board.store.shares},
        }

    def view(self) -> dict[str, Any]:
        """All prenodes and what they have, as the API shows it."""
        now, wall = self._board.monotonic(), self._board.wall()
        rules = self._places.rules
        return {
            "prenodes": [self._view(one, now, wall) for one in self._places.bridges.all()],
            "node_hours_today": round(self._places.node_hours(), 3),
            "node_hours_a_day": rules.node_hours_a_day,
            "rules": len(rules.rules),
            "wrong": list(self._places.wrong),
        }

    def _view(self, one: Prenode, now: float, wall: float) -> dict[str, Any]:
        counts = one.counts()
        return {
            "name": one.name,
            "engine": one.engine,
            "version": one.version,
            "here": one.here(now),
            "seen": moments.stamp(one.seen_at),
            "error": one.error,
            "at_most": one.at_most,
            "counts": {state: counts[state] for state in STATES},
            "troubles": dict(one.troubles),
            "runs": [
                {
                    "run": run.id,
                    "job": run.job,
                    "there": run.there,
                    "host": run.host,
                    "state": run.state,
                    "why": run.why,
                    "since": moments.stamp(run.since) if run.since else None,
                }
                for run in one.runs.values()
            ],
        }

    def _deal(self, one: Prenode) -> list[Asked]:
        places, now = self._places, self._board.monotonic()
        others = [other for other in places.bridges.all() if other.name != one.name and other.here(now)]
        failed: dict[str, list[Run]] = {}
        for run in one.runs.values():
            if run.state == FAILED and not places.bridges.met(one.name, run.id):
                failed.setdefault(run.job, []).append(run)
        wanted, own = places.wanted, one.active()
        told = {want.job for want in wanted}
        wanted = wanted + [  # they need nothing more just now, and keep what runs
            Wanted(job, frozenset(), 0, found.reason)
            for job in sorted(own)
            if job not in told and (found := places.of(job)) is not None
        ]
        young = now - self._board.began < AWAY_HEARTBEATS * self._board.nodes.heartbeat_s()
        kept = [  # who is here isn't known yet, or the job is out of sight just now: nothing is changed
            Asked(job, nodes, say("this server has only just begun"))
            if young
            else Asked(job, nodes, say("this job can't be seen just now"))
            for job, nodes in sorted(own.items())
            if not self._over(job) and (young or job not in self._board.live)
        ]
        if young:
            return kept
        return kept + deal(wanted, one, others, places.rules.at_most_nodes, failed, self._board.wall())

    def _untold(self, known: set[str]) -> Iterator[dict[str, Any]]:
        """Jobs that aren't among the known ones, which they are then."""
        for job_id in list(self._board.line.jobs()):
            live = self._board.live.get(job_id)
            if live is None or job_id in known:
                continue
            decided = self._places.of(job_id)
            if not decided.elsewhere if decided is not None else self._places.rules.rules:
                continue  # told of once it is known that it may be rendered elsewhere
            known.add(job_id)
            yield _potential(live, decided.elsewhere if decided is not None else None)

    def _row(self, ask: Asked) -> dict[str, Any]:
        live = self._board.live.get(ask.job)
        if live is None:
            return {"job": ask.job, "nodes": ask.nodes, "reason": ask.reason}
        stages = zip(live.job.stages, live.works, strict=True)
        needs = [work.need for stage, work in stages if not stage.optional]
        return {
            **summary(live),
            "requires": sorted(live.job.requires.union(*(need.requires for need in needs))),
            "programs": sorted(frozenset[str]().union(*(need.programs for need in needs))),
            "memory_mb": max((need.memory_mb for need in needs), default=0),
            "nodes": ask.nodes,
            "reason": ask.reason,
        }

    def _over(self, job_id: str) -> bool:
        """Does it need nothing more? Not merely out of sight."""
        live = self._board.live.get(job_id)
        if live is not None:
            return live.state in states.ENDED
        return job_id in self._board.ended or self._surely_gone(job_id)


def _potential(live: Live, most: int | None) -> dict[str, Any]:
    """A job as RFAM's prenodes know it."""
    job = live.job
    video = job.stages[0].per == "once" and isinstance(job.task_frame(0), list)
    return {
        "uuid": job.id,
        "name": job.record.get("name"),
        "created": job.record.get("created"),
        "file": source_address(job),
        "priority": job.priority,
        "video": video,
        "requires": sorted(job.requires),
        # A number: RFAM's prenode starts so many nodes, or one for a video.
        "frames": len(job.frames) if video else min(job.total, job.total if most is None else most),
    }
