"""How long computers elsewhere worked: one JSON object a line in `elsewhere.jsonl` of the configuration.

A line is written when one begins to run and when it is over, so that a limit of hours a day holds through a
restart; while nothing begins or ends nothing is written. One that was running when this server ended counts
on until its prenode says otherwise. Lines that make no sense are passed over.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from server.disk import files
from server.farm.elsewhere.bridges import RUNNING, Run
from server.farm.power import ledger

log = logging.getLogger("croft.farm")

NAME = "elsewhere.jsonl"
BEGAN, ENDED = "began", "ended"
SILENT_S = (
    3600.0  # a prenode that said nothing for so long is taken to have nothing running since its last word
)
HOUR_S = 3600.0
KEPT_S = 48 * HOUR_S
MANY = 10_000  # of what is over; then those are let go that no day needs any more

Key = tuple[str, str]  # prenode, run


class Ledger:
    """Read at start, appended to. Times are seconds since the epoch. Safe for threads."""

    def __init__(self, folder: Path, now: float, disk: files.Os = files.REAL) -> None:
        self._path = folder / NAME
        self._disk = disk
        self._lock = threading.Lock()
        self._open: dict[Key, float] = {}  # what runs -> since when
        self._over: list[tuple[float, float]] = []  # from, to
        self._spoke: dict[str, float] = {}  # prenode -> when
        lines, size, self.trouble = ledger.read(self._path)
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                self._apply(line)
        self._spoke = {prenode: now for prenode, _ in self._open}
        if size > ledger.LONG_BYTES:
            self._shorten(now)

    def hear(self, prenode: str, runs: Iterable[Run], now: float) -> None:
        """What a prenode says runs now."""
        told = {run.id: run for run in runs}
        with self._lock:
            self._spoke[prenode] = now
            lines: list[dict[str, Any]] = []
            for run in told.values():
                if run.state == RUNNING and (prenode, run.id) not in self._open:
                    since = run.since if 0 < run.since <= now else now
                    lines.append({"at": round(since), "event": BEGAN, "prenode": prenode, "run": run.id})
            for key in [key for key in self._open if key[0] == prenode]:
                found = told.get(key[1])
                if found is None or found.state != RUNNING:
                    at = found.since if found is not None and self._open[key] < found.since <= now else now
                    lines.append({"at": round(at), "event": ENDED, "prenode": prenode, "run": key[1]})
            self._add(lines)

    def close_silent(self, now: float) -> None:
        """What runs for prenodes that are gone for good is taken to be over."""
        with self._lock:
            gone = {name for name, spoke in self._spoke.items() if now - spoke > SILENT_S}
            self._add(
                {"at": round(self._spoke[key[0]]), "event": ENDED, "prenode": key[0], "run": key[1]}
                for key in list(self._open)
                if key[0] in gone
            )
            for name in gone:
                del self._spoke[name]

    def hours(self, since: float, now: float) -> float:
        """How many hours they worked from a moment on."""
        with self._lock:
            spans = [*self._over, *((began, now) for began in self._open.values())]
        return sum(max(0.0, to - max(begin, since)) for begin, to in spans) / HOUR_S

    def _add(self, lines: Iterable[Mapping[str, Any]]) -> None:
        listed = list(lines)
        if listed:
            for line in listed:
                self._apply(line)
            self.trouble = ledger.append(self._path, listed)

    def _apply(self, line: Mapping[str, Any]) -> None:
        key, at = (str(line["prenode"]), str(line["run"])), float(line["at"])
        if line["event"] == BEGAN:
            self._open.setdefault(key, at)
        elif line["event"] == ENDED and key in self._open:
            self._over.append((self._open.pop(key), at))
            if len(self._over) > MANY:
                self._over = [span for span in self._over if span[1] > at - KEPT_S]

    def _shorten(self, now: float) -> None:
        """Keep what the last days need."""
        self._over = [span for span in self._over if span[1] > now - KEPT_S]
        lines: list[dict[str, Any]] = []
        for n, (begin, to) in enumerate(self._over):
            one = {"prenode": "", "run": str(n)}
            lines += [{"at": begin, "event": BEGAN, **one}, {"at": to, "event": ENDED, **one}]
        lines += [
            {"at": at, "event": BEGAN, "prenode": key[0], "run": key[1]} for key, at in self._open.items()
        ]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        try:
            files.write_atomic(self._path, text.encode("utf-8", "replace"), disk=self._disk)
        except Exception as error:
            log.warning("%s can't be shortened: %s", self._path, error)


def midnight(now: float, zone: datetime.tzinfo) -> float:
    """When the day began, in a zone."""
    today = datetime.datetime.fromtimestamp(now, zone).date()
    return datetime.datetime.combine(today, datetime.time(), zone).timestamp()
