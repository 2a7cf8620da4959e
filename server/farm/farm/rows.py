"""The rows of long lists of jobs, as JSON that is kept from one asking to the next.

A row whose job has changed is made anew at once. What else a row tells (what it waits for, when it ends) is
brought up to date for as many rows as a few milliseconds allow, those first that are oldest: in a short list
all of them each time, in one of a thousand each within some askings.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from server.disk import encoding
from server.farm.committer.live import Ended, Live

log = logging.getLogger("croft.farm")

PATIENCE_S = 0.002  # for bringing rows up to date that nothing happened to
FEWEST = 8  # rows that are brought up to date however long it takes
NODES = 20  # that a row names; a job's own page names all
KEPT = 5000

AnyJob = Live | Ended


@dataclass(slots=True)
class _Row:
    job: AnyJob
    events: int  # of its journal, as far as the row tells
    finalised: bool
    at: float  # when it was made
    raw: Any  # ready JSON; None where it can't be shown


class Rows:
    """`view` makes a row; `now` is a clock of seconds."""

    def __init__(self, view: Callable[[AnyJob], dict[str, Any]], now: Callable[[], float]) -> None:
        self._view = view
        self._now = now
        self._kept: dict[str, _Row] = {}
        self._guard = threading.Lock()
        self.wrong: dict[str, str] = {}  # job id -> why it has no row

    def of(self, jobs: Sequence[AnyJob]) -> list[Any]:
        """The jobs' rows, ready to be put into an answer."""
        with self._guard:
            return self._of(jobs)

    def _of(self, jobs: Sequence[AnyJob]) -> list[Any]:
        kept, began = self._kept, self._now()
        if len(kept) > KEPT:
            kept.clear()
        rows: list[_Row] = []
        older: list[tuple[float, int]] = []
        for place, job in enumerate(jobs):
            row = kept.get(job.id)
            if row is None or row.job is not job or row.raw is None:
                row = self._make(job)
            elif isinstance(job, Live):
                if row.events != job.job.events or row.finalised != job.finalised:
                    row = self._make(job)
                elif row.at < began:
                    older.append((row.at, place))
            rows.append(row)
        older.sort()
        begun = self._now()
        for count, (_, place) in enumerate(older):
            if count >= FEWEST and self._now() - begun > PATIENCE_S:
                break
            rows[place] = self._make(jobs[place])
        return [row.raw for row in rows if row.raw is not None]

    def _make(self, job: AnyJob) -> _Row:
        events, finalised = (job.job.events, job.finalised) if isinstance(job, Live) else (0, True)
        at = self._now()
        row = _Row(job, events, finalised, at, None)
        try:
            row.raw = encoding.ready(shortened(self._view(job)))
            self.wrong.pop(job.id, None)
        except Exception as error:
            if job.id not in self.wrong:
                log.exception("job %s can't be shown", job.id)
            self.wrong[job.id] = f"it makes no sense ({error!r})"
        self._kept[job.id] = row
        return row


def shortened(view: dict[str, Any]) -> dict[str, Any]:
    """A job's view with those nodes alone that did most of it: a row is as long whatever the farm's size."""
    nodes = view.get("nodes")
    if not isinstance(nodes, dict) or len(nodes) <= NODES:
        return view
    most = sorted(nodes, key=lambda name: -int(nodes[name].get("done") or 0))[:NODES]
    return {**view, "nodes": {name: nodes[name] for name in sorted(most)}, "more_nodes": len(nodes) - NODES}
