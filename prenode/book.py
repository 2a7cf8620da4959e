"""What this prenode has started, in one file that is replaced whole before and after every submission.

A batch is one submission, an array of nodes; a run is one of them. A batch is written as an intent before it
is submitted, and carries its own name over there: so a listing tells, after a crash, whether it was. What a
run has become is judged from three witnesses: the engine's listing, the marks that `far.py` leaves in the
folder, and what this prenode itself has asked for. Times are wall-clock seconds, given by the caller.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Optional

from .engine import Item
from .marks import Mark

SCHEMA = 1
SETTLE_S = 15.0  # for a submission whose answer was lost to show up in a listing
GONE_S = 5.0  # what a listing doesn't have is asked for again before it counts as gone
MUTE_S = 120.0  # a node that shows no sign for so long is gone: six beats missed
PATIENCE_S = 3600.0  # without a listing: for what was asked for to begin
KEPT_S = 3600.0  # what failed is told for so long
KNOWN_S = 600.0  # what ended well is known for so long: a listing may still show how it is cleaned up
HOUR_S = 3600.0
IDLE = 75  # a node's exit code where it has delivered nothing
OPEN = ("waiting", "running")


@dataclass
class Run:
    """One node over there."""

    index: int
    state: str = "waiting"  # running, done, idle, cancelled, failed, lost
    why: str = ""
    host: str = ""
    since: float = 0.0
    stopping: str = ""  # "waiting": to be taken back if it hasn't begun; "all": in any case
    asked_at: float = 0.0  # when it was
    seen: bool = False  # in a listing
    missed_at: float = 0.0  # since when no listing has it


@dataclass
class Batch:
    """One submission."""

    id: str
    job: str
    made: float
    there: str = ""  # the engine's id
    sent: bool = False  # known to have arrived
    runs: Dict[int, Run] = field(default_factory=dict)

    def open(self) -> List[Run]:
        return [run for run in self.runs.values() if run.state in OPEN]


@dataclass
class Trial:
    """How a job goes over there: what holds back the next node for it."""

    failures: int = 0  # one after the other
    idles: int = 0  # nodes that found nothing to do, likewise
    next_at: float = 0.0
    why: str = ""
    ended_at: float = 0.0  # since when the server says that it needs nothing more


class Book:
    """Used by one thread."""

    def __init__(self, path: Path, prefix: str, retry_s: float = 30.0, tries: int = 5) -> None:
        self.path, self.prefix = path, prefix
        self.batches: Dict[str, Batch] = {}
        self.trials: Dict[str, Trial] = {}
        self._retry_s, self._tries = retry_s, tries
        self._saved: Any = None
        self._load()

    # -- names

    def name_of(self, batch: Batch) -> str:
        """What it is called over there: prenode, job and batch, so that a listing alone brings it back."""
        return f"{self.prefix}{batch.job}.{batch.id}"

    # -- reading

    def runs(self) -> Iterator["tuple[Batch, Run]"]:
        for batch in self.batches.values():
            for run in batch.runs.values():
                yield batch, run

    def open(self, job: Optional[str] = None) -> List["tuple[Batch, Run]"]:
        """What waits or runs, as far as is known."""
        return [(batch, run) for batch, run in self.runs() if run.state in OPEN and job in (None, batch.job)]

    def trial(self, job: str) -> Trial:
        return self.trials.setdefault(job, Trial())

    # -- submissions

    def intend(self, batch: Batch) -> None:
        """Before it is submitted: on the disk, or it isn't."""
        self.batches[batch.id] = batch
        self.save()

    def arrived(self, batch: Batch, there: str) -> None:
        batch.there, batch.sent = there, True
        self.save()

    def doubtful(self, batch: Batch, why: str, now: float) -> None:
        """It was refused, or nobody answered: a listing will tell. Meanwhile it counts as waiting."""
        batch.made = now
        for run in batch.runs.values():
            run.why = why
        self.failed(batch.job, why, now)
        self.save()

    # -- what has become of them

    def judge(self, listing: Optional[Iterable[Item]], marks: Mapping[str, Mark], now: float) -> None:
        """`listing` is None where the engine can't list: then the marks alone tell."""
        items = self._adopted(listing, now) if listing is not None else None
        good: Dict[str, str] = {}
        bad: Dict[str, str] = {}
        for batch in list(self.batches.values()):
            for run in list(batch.runs.values()):
                mark = marks.get(f"{batch.id}.{run.index}")
                item = items.get((batch.id, run.index)) if items is not None else None
                before = run.state
                if before not in OPEN and (item is None or item.state not in OPEN):
                    continue  # one that was taken for gone may be there after all
                self._judge(batch, run, item, mark, items is not None, now)
                if run.state == before:
                    continue
                run.since = now
                if run.state in ("done", "idle"):
                    good[batch.job] = run.state if good.get(batch.job) != "done" else "done"
                elif run.state in ("failed", "lost") and batch.sent:  # else its submission was counted
                    bad[batch.job] = run.why
        for job, how in good.items():
            self._ended_well(job, how, now)
        for job, why in bad.items():
            if good.get(job) != "done":
                self.failed(job, why, now)
        self._forget(now)
        self.save()

    def blind(self) -> None:
        """Nothing could be listed: whoever was missed before has his time again."""
        for _, run in self.runs():
            run.missed_at = 0.0

    def _adopted(self, listing: Iterable[Item], now: float) -> Dict["tuple[str, int]", Item]:
        """The entries by batch and number. What lives there under our name, unknown, is taken in."""
        found: Dict["tuple[str, int]", Item] = {}
        for item in listing:
            job, _, ident = item.name[len(self.prefix) :].rpartition(".")
            if not item.name.startswith(self.prefix) or not job or not ident:
                continue
            found[ident, item.index] = item
            batch = self.batches.get(ident)
            if batch is None and item.state in OPEN:
                batch = self.batches[ident] = Batch(ident, job, now, item.id, True)
            if batch is None:
                continue
            batch.there, batch.sent = item.id, True
            if item.index not in batch.runs and item.state in OPEN:
                batch.runs[item.index] = Run(item.index, since=now)
        return found

    def _judge(
        self, batch: Batch, run: Run, item: Optional[Item], mark: Optional[Mark], lists: bool, now: float
    ) -> None:
        run.host = (
            (item.host if item is not None else "") or (mark.host if mark is not None else "") or run.host
        )
        if item is not None:
            run.seen, run.missed_at = True, 0.0
        if mark is not None and mark.ended and not mark.told:
            run.state = "done" if mark.code == 0 else "idle" if mark.code == IDLE else "failed"
            run.why = "" if run.state != "failed" else mark.why or f"ended with code {mark.code}"
        elif item is not None and item.state in OPEN:
            if run.stopping == "waiting" and item.state == "running":
                run.stopping = ""  # it began before it could be taken back: it ends when it has nothing to do
            run.state, run.why = item.state, item.why
        elif item is not None:
            in_vain = item.state == "over" and mark is not None and mark.code == IDLE
            why = "its time was up before it had done a frame" if in_vain else item.why
            self._ended(run, "failed" if in_vain else item.state, why)
        elif mark is not None and mark.ended:
            self._ended(run, "cancelled", "")
        elif lists:
            self._missed(batch, run, mark, now)
        elif mark is not None:
            run.state, run.why = "running", ""
            if now - mark.alive_at > MUTE_S:
                self._ended(run, "lost", "it gave no sign of life any more")
        elif now - batch.made > (PATIENCE_S if batch.sent else SETTLE_S):
            why = "it has not begun within an hour" if batch.sent else run.why
            self._ended(run, "lost" if batch.sent else "never", why)

    def _missed(self, batch: Batch, run: Run, mark: Optional[Mark], now: float) -> None:
        """No listing has it."""
        run.missed_at = run.missed_at or now
        if not batch.sent:
            # The answer to its submission was lost, or it was refused; the engine may be slow to show it.
            if now - max(batch.made, run.missed_at) >= SETTLE_S:
                self._ended(run, "never", run.why)
        elif now - run.missed_at >= (GONE_S if run.seen else 2 * SETTLE_S):
            began = "its node had begun" if mark is not None else "its node had not begun"
            self._ended(run, "lost", f"it is not known over there any more; {began}")

    def _ended(self, run: Run, how: str, why: str) -> None:
        if run.stopping and how != "done":
            run.state, run.why = "cancelled", ""
        elif how in ("done", "over"):
            run.state, run.why = "done", why if how == "over" else ""
        elif how == "cancelled":
            run.state, run.why = "lost", "somebody has cancelled it over there"
        elif how == "never":  # without a reason this prenode was stopped before it came to submit it
            run.state, run.why = "failed" if why else "cancelled", why
        else:
            run.state, run.why = how, why or how

    # -- going slow where it goes wrong

    def failed(self, job: str, why: str, now: float) -> None:
        """One failure of this job, however many nodes it took along: the next try waits, longer each time."""
        trial = self.trial(job)
        trial.failures, trial.idles, trial.why = trial.failures + 1, 0, why
        wait_s = self._retry_s * 2.0 ** min(trial.failures - 1, 20)
        trial.next_at = now + (HOUR_S if trial.failures >= self._tries else min(wait_s, HOUR_S))

    def _ended_well(self, job: str, how: str, now: float) -> None:
        trial = self.trial(job)
        trial.failures, trial.why = 0, ""
        if how == "done":
            trial.idles, trial.next_at = 0, 0.0
            return
        # The server asks for nodes and then has nothing for them: don't start them round and round.
        trial.idles += 1
        trial.next_at = now + min(self._retry_s * 2.0 ** min(trial.idles - 1, 20), HOUR_S)

    def gave_up(self, job: str) -> bool:
        return self.trial(job).failures >= self._tries

    def _forget(self, now: float) -> None:
        """What ended well after ten minutes, what failed after an hour; a job's trouble after another."""
        for batch in list(self.batches.values()):
            for index, run in list(batch.runs.items()):
                kept_s = KEPT_S if run.state in ("failed", "lost") else KNOWN_S
                if run.state not in OPEN and now - run.since > kept_s:
                    del batch.runs[index]
            if not batch.runs:
                del self.batches[batch.id]
        for job, trial in list(self.trials.items()):
            if now > trial.next_at + KEPT_S and not self.open(job):
                del self.trials[job]

    # -- the file

    def save(self) -> None:
        """The old content or the new, never half of it; flushed, or it isn't known."""
        told = {
            "schema": SCHEMA,
            "batches": [
                {**asdict(batch), "runs": [asdict(run) for run in batch.runs.values()]}
                for batch in self.batches.values()
            ],
            "trials": {job: asdict(trial) for job, trial in self.trials.items()},
        }
        if told == self._saved:
            return
        fresh = self.path.with_name(f".{self.path.name}.new")
        with open(fresh, "w", encoding="utf-8") as file:
            json.dump(told, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._saved = told

    def _load(self) -> None:
        """A file that can't be read is set aside: a listing brings back what lives."""
        try:
            told: Any = json.loads(self.path.read_text("utf-8"))
            for item in told["batches"]:
                runs = {int(run["index"]): Run(**run) for run in item.pop("runs")}
                batch = Batch(**item, runs=runs)
                self.batches[batch.id] = batch
            self.trials = {job: Trial(**trial) for job, trial in told["trials"].items()}
            self.blind()
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.batches, self.trials = {}, {}
            os.replace(self.path, self.path.with_name(f"{self.path.name}.bad"))
