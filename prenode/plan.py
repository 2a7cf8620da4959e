"""What to start and what to take back, from what the server wants and what the book has: pure, no I/O.

`decide` starts no more for a job than the server says, none that this place can't serve, none before its
time after a failure, and never more than `at_most` in all. Beyond what is wanted it takes back what still
waits; what runs goes on, and ends by itself when there is nothing more for it; only what the server says has
ended is stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from .book import HOUR_S, Batch, Book, Run

ENDING_S = 10.0  # for nodes to end by themselves, once their job has
AGAIN_S = 30.0  # what was to be taken back and is still there is asked for again
Pair = Tuple[Batch, Run]


@dataclass
class Wish:
    """A job that the server wants nodes for."""

    job: str
    nodes: int
    name: str = ""
    requires: List[str] = field(default_factory=list)
    memory_mb: int = 0

    @staticmethod
    def of(told: Mapping[str, Any]) -> "Wish":
        """Raises KeyError, TypeError, ValueError for what is no wish."""
        requires = told.get("requires") or []
        if isinstance(requires, dict):
            requires = requires.get("labels") or sorted(requires)
        return Wish(
            job=str(told["job"]),
            nodes=max(0, int(told["nodes"])),
            name=str(told.get("name") or ""),
            requires=sorted(map(str, requires)),
            memory_mb=int(told.get("memory_mb") or 0),
        )


@dataclass
class Actions:
    """In this order: take back, then start. `troubles` says why a job gets none."""

    cancel_waiting: List[Pair] = field(default_factory=list)
    cancel: List[Pair] = field(default_factory=list)
    start: List[Tuple[Wish, int, List[str]]] = field(default_factory=list)  # how many, with which options
    troubles: Dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """What this prenode has to offer."""

    provides: Sequence[str]
    requirements: Mapping[str, Sequence[str]]
    at_most: int
    most_at_once: int


def decide(wishes: Sequence[Wish], ended: Sequence[str], book: Book, place: Place, now: float) -> Actions:
    actions = Actions()
    wanted = {wish.job: wish for wish in wishes}
    for batch, run in book.open():
        if batch.job in ended:
            trial = book.trial(batch.job)
            trial.ended_at = trial.ended_at or now
            if run.state == "waiting" or now - trial.ended_at >= ENDING_S:
                ask(actions.cancel if run.state == "running" else actions.cancel_waiting, batch, run, now)
        elif batch.job not in wanted and run.state == "waiting":
            ask(actions.cancel_waiting, batch, run, now)
    free = place.at_most - len(book.open())
    for wish in wishes:
        if wish.job in ended:
            continue
        book.trial(wish.job).ended_at = 0.0
        options, lacking = options_for(wish, place)
        if lacking:
            actions.troubles[wish.job] = f"No machine over there has {lacking!r}, as far as is known."
        has = book.open(wish.job)  # those that are being taken back, too: they may begin yet
        surplus = len(has) - (0 if lacking else wish.nodes)
        if surplus > 0:
            surplus -= sum(bool(run.stopping) for _, run in has)
            waiting = [pair for pair in has if pair[1].state == "waiting" and not pair[1].stopping]
            waiting.sort(key=lambda pair: (pair[0].made, pair[1].index), reverse=True)
            for batch, run in waiting[: max(0, surplus)]:
                ask(actions.cancel_waiting, batch, run, now)
            continue
        count = min(-surplus, free)
        trial = book.trial(wish.job)
        rests = 0 < trial.next_at - now <= HOUR_S  # more: the clock was put back
        if count <= 0 or lacking or rests:
            continue
        if book.gave_up(wish.job):
            count = 1  # one node finds out whether it goes again
        free -= count
        while count > 0:
            once = min(count, max(1, place.most_at_once))
            actions.start.append((wish, once, options))
            count -= once
    for batch, run in book.open():
        if run.stopping and now - run.asked_at >= AGAIN_S:
            ask(actions.cancel if run.stopping == "all" else actions.cancel_waiting, batch, run, now)
    return actions


def ask(where: List[Pair], batch: Batch, run: Run, now: float) -> None:
    """Once; after a while again. Not before it is known to have arrived: there is nothing to take back."""
    if batch.sent and (not run.stopping or now - run.asked_at >= AGAIN_S):
        run.asked_at = now
        where.append((batch, run))


def options_for(wish: Wish, place: Place) -> Tuple[List[str], str]:
    """The options that ask for a machine which can do it, and the first requirement that none can meet."""
    options: List[str] = []
    for label in wish.requires:
        if label in place.requirements:
            options += place.requirements[label]
        elif label not in place.provides:
            return [], label
    if wish.memory_mb and "memory_mb" in place.requirements:
        options += [part.replace("{value}", str(wish.memory_mb)) for part in place.requirements["memory_mb"]]
    return options, ""
