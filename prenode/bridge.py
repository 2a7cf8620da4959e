"""The loop: look what became of what was started, tell the server, take back and start what it wants.

Nothing is decided while the engine can't be asked or the server doesn't answer: what runs goes on. Every
submission is in the book before it happens, and the engine's command inherits an open, locked file, so that
a prenode that is started anew waits for a command of the one before that still runs.
"""

from __future__ import annotations

import datetime
import fcntl
import logging
import os
import secrets
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from . import VERSION, wire
from .book import OPEN, Batch, Book, Run
from .config import Config
from .engine import Engine, EngineError
from .marks import Marks
from .plan import Actions, Pair, Place, Wish, decide
from .program import Program

log = logging.getLogger("croft.prenode")
PROTOCOL = 2
MOST_TOLD = 1000
ORPHAN_S = 120.0  # for a command of the prenode before to end
LOGS_DAYS = 7


class Bridge:
    """`run` returns when `stop` is set; `round` is one look. Used by one thread."""

    def __init__(
        self,
        config: Config,
        engine: Engine,
        program: Program,
        *,
        wall: Callable[[], float] = time.time,
        stop: Optional[threading.Event] = None,
        ask: Callable[..., Any] = wire.ask,
    ) -> None:
        self.config, self.engine, self.program = config, engine, program
        self.stop = stop or threading.Event()
        self.error = ""  # what goes wrong, for the server
        self.late = ""  # what went wrong since it was told last
        self.failures = 0  # of talks with the server, one after the other
        self.answered: Dict[str, Any] = {}
        self._wall, self._ask = wall, ask
        self.prefix = f"croft.{config.name}."
        folder = config.folder
        self.book = Book(folder / "state.json", self.prefix, config.retry_time, config.tries)
        self.marks = Marks(folder / "runs")
        self._place = Place(
            config.provides,
            {**engine.requirements, **config.requirements},
            config.at_most,
            engine.most,
        )
        self._troubles: Dict[str, str] = {}
        self._submitting = os.open(folder / "submitting", os.O_RDWR | os.O_CREAT, 0o600)
        self._swept_at = 0.0

    def close(self) -> None:
        os.close(self._submitting)

    def run(self) -> None:
        """Raises Rejected where the server never would have this prenode."""
        self.await_orphans()
        met = False
        while not self.stop.is_set():
            try:
                wait_s = self.round()
                met = met or not self.failures
            except wire.Rejected as error:
                if not met:
                    raise
                wait_s = self._away(str(error))
            except Exception:
                # The loop must go on: nodes run over there.
                log.exception("a round stumbled")
                wait_s = self.config.retry_time
            self.stop.wait(wait_s)

    def await_orphans(self, timeout_s: float = ORPHAN_S) -> None:
        """Until no command of the prenode before runs any more: what it starts would not be known yet."""
        end = time.monotonic() + timeout_s
        while not self.stop.is_set():
            try:
                fcntl.flock(self._submitting, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > end:
                    log.warning("a command of the prenode before still runs; going on without it")
                    return
                self.stop.wait(0.1)

    # -- one round

    def round(self) -> float:
        """One look and what follows from it; in how many seconds the next is due."""
        self.error, self.late = self.late, ""
        known = self._look()
        try:
            answer = self._ask(self.config.server, self.config.token, self.status())
        except wire.Away as error:
            return self._away(str(error))
        if not isinstance(answer, dict):
            return self._away("the server doesn't know this prenode's protocol: is it up to date?")
        if self.failures:
            log.warning("the server is back")
        self.failures, self.answered = 0, answer
        if known:
            self._obey(answer)
        again = answer.get("again")
        least = again if isinstance(again, (int, float)) and again > 0 else self.config.check_time
        return float(min(least, self.config.check_time))

    def _look(self) -> bool:
        """Whether it is known what is going on over there."""
        now = self._wall()
        listing = None
        if self.engine.lists:
            try:
                listing = self.engine.list(self.prefix)
            except EngineError as error:
                self.error = f"{self.engine.title} can't be asked: {error}"
                log.warning("%s", self.error)
                self.book.blind()
                return False
        names = [name_of(batch, run) for batch, run in self.book.runs()]
        self.book.judge(listing, self.marks.read(names, now), now)
        self._sweep(now)
        return True

    def _away(self, sentence: str) -> float:
        if not self.failures:
            log.warning("%s; what runs over there goes on", sentence)
        self.failures += 1
        return min(self.config.retry_time, self.config.check_time * 2.0 ** min(self.failures, 20))

    def _obey(self, answer: Dict[str, Any]) -> None:
        wishes: List[Wish] = []
        for told in answer.get("demand") or []:
            try:
                wishes.append(Wish.of(told))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                log.warning("the server said something strange: %r (%r)", told, error)
        ended = [str(job) for job in answer.get("ended") or []]
        actions = decide(wishes, ended, self.book, self._place, self._wall())
        self._troubles = {**self._stopped(wishes), **actions.troubles}
        self._take_back(actions)
        for wish, count, options in actions.start:
            if self.stop.is_set():
                return
            self._start(wish, count, options)

    # -- what it does

    def _take_back(self, actions: Actions) -> None:
        for pairs, waiting in ((actions.cancel_waiting, True), (actions.cancel, False)):
            if not pairs:
                continue
            spared = waiting and (self.engine.spares_running or not self.engine.cancels)
            for _, run in pairs:
                run.stopping = "waiting" if spared else "all"
            self.book.save()
            log.info("%s: %s", "not needed any more" if waiting else "taking back", names(pairs))
            try:
                if self.engine.cancels:
                    ids = [(batch.there, run.index) for batch, run in pairs if batch.there]
                    self.engine.cancel(ids, waiting)
                else:
                    for batch, run in pairs:
                        self.marks.stop(name_of(batch, run))
            except (EngineError, OSError) as error:
                self.late = f"what isn't needed could not be taken back: {error}"
                log.warning("%s", self.late)

    def _start(self, wish: Wish, count: int, options: List[str]) -> None:
        now = self._wall()
        batch = Batch(secrets.token_hex(4), wish.job, now)
        batch.runs = {index: Run(index, since=now) for index in range(1, count + 1)}
        script = self.program.script(batch.id, wish.requires)
        self.book.intend(batch)
        log.info("starting %d for %s (%s)", count, wish.name or wish.job, batch.id)
        given = {"name": self.book.name_of(batch), "batch": batch.id, "job": wish.job, "script": str(script)}
        try:
            # Where nothing can be listed an orphan could not be found anyway, and nodes may inherit the file.
            keep_open = [self._submitting] if self.engine.lists else []
            there = self.engine.submit(count, given, options, keep_open)
        except EngineError as error:
            self.late = f"{self.engine.title} took no nodes for {wish.name or wish.job}: {error}"
            log.warning("%s", self.late)
            self.book.doubtful(batch, str(error), self._wall())
            return
        self.book.arrived(batch, there)

    # -- what it says

    def status(self) -> Dict[str, Any]:
        """The message to the server."""
        told = [
            {
                "run": name_of(batch, run),
                "job": batch.job,
                "there": self.engine.one(batch.there, run.index) if batch.there else "",
                "state": run.state,
                "why": run.why,
                "host": run.host,
                "since": stamp(run.since),
            }
            for batch, run in self.book.runs()
            if run.state in (*OPEN, "failed", "lost")
        ]
        told.sort(key=lambda row: (row["state"] not in OPEN, row["since"]))
        return {
            "protocol": PROTOCOL,
            "name": self.config.name,
            "version": VERSION,
            "engine": self.engine.title,
            "provides": {
                "provides": sorted({*self.config.provides, *self._place.requirements} - {"memory_mb"}),
                **self.program.means(),
            },
            "at_most": self.config.at_most,
            "error": self.error,
            "troubles": self._troubles,
            "runs": told[:MOST_TOLD],
        }

    def _stopped(self, wishes: List[Wish]) -> Dict[str, str]:
        """Jobs for which nothing is started now, and why."""
        found = {}
        for wish in wishes:
            trial, now = self.book.trial(wish.job), self._wall()
            if wish.nodes and trial.next_at > now and trial.failures:
                times = f"{trial.failures} times" if trial.failures > 1 else "once"
                wait_s = round(trial.next_at - now)
                wait = f"{round(wait_s / 60)} minutes" if wait_s >= 90 else f"{wait_s} seconds"
                found[wish.job] = f"Failed {times}, tried again in {wait}: {trial.why}"
        return found

    # -- tidiness

    def _sweep(self, now: float) -> None:
        """Marks of what is forgotten, logs that are a week old, programs that nobody runs any more."""
        if now - self._swept_at < 60:
            return
        self._swept_at = now
        self.marks.sweep(self.book.batches)
        for path in (self.config.folder / "logs").iterdir():
            if now - path.stat().st_mtime > LOGS_DAYS * 86400:
                path.unlink()
        if not self.book.open():
            self.program.sweep()


def name_of(batch: Batch, run: Run) -> str:
    return f"{batch.id}.{run.index}"


def names(pairs: List[Pair]) -> str:
    shown = ", ".join(name_of(*pair) for pair in pairs[:5])
    return shown + (f" and {len(pairs) - 5} more" if len(pairs) > 5 else "")


def stamp(when: float) -> str:
    return datetime.datetime.fromtimestamp(when, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def locked(folder: Path) -> int:
    """The folder is this prenode's alone, as long as the file number that this gives is open."""
    folder.mkdir(parents=True, exist_ok=True)
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        raise wire.Rejected(f"a prenode runs already with the folder {folder}") from None
    return fd
