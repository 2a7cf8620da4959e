"""For how long slots were there to work, by hour and node: what busy hours are held against.

Nodes' heartbeats live in memory, so this is sampled there; it is written to the server's own cache when a
caller says that it is time (not while the farm is idle), and what a crash loses is a little of it.
"""

from __future__ import annotations

import datetime
import json
import logging
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from server.disk import files
from server.disk.errors import CroftError

log = logging.getLogger("croft.farm")

LOOK_S = 10.0  # between two samples at least
GAP_S = 120.0  # a longer pause says nothing of the time between
MOST_CELLS = 60_000  # hours × nodes that are kept one by one
MOST_HOURS = 400 * 24
ALL = ""  # the node's name where an old hour is kept as one sum
MAX_BYTES = 8 << 20

Hours = dict[str, dict[str, float]]


class Presence:
    """Slot seconds. `look` is called often; `hours` is for readers, who don't change it."""

    def __init__(self, path: Path | None = None, disk: files.Os = files.REAL) -> None:
        self.hours: Hours = {}
        self._path = path
        self._disk = disk
        self._cells = 0
        self._last: tuple[float, list[tuple[str, int]]] | None = None
        self._changed = False
        self._guard = threading.Lock()
        if path is not None:
            self._read(path)

    def look(self, wall: float, slots: Iterable[tuple[str, int]]) -> bool:
        """Which nodes take work now, with how many slots; what was there since the last look is counted."""
        with self._guard:
            if self._last is not None and 0 <= wall - self._last[0] < LOOK_S:
                return False
            last, self._last = self._last, (wall, list(slots))
            if last is None or not 0 < wall - last[0] <= GAP_S:
                return True
            hour = datetime.datetime.fromtimestamp(last[0], datetime.UTC).isoformat()[:13]
            nodes = self.hours.setdefault(hour, {})
            for name, count in last[1]:
                self._cells += name not in nodes
                nodes[name] = nodes.get(name, 0.0) + count * (wall - last[0])
                self._changed = True
            if not nodes:
                del self.hours[hour]
            self._shorten()
            return True

    def snapshot(self) -> Hours:
        """All of it, for a reader in another thread."""
        with self._guard:
            return {hour: dict(nodes) for hour, nodes in self.hours.items()}

    def save(self) -> None:
        """Write it, if something is new. A disk that refuses costs figures, nothing else."""
        if self._path is None or not self._changed:
            return
        found = {hour: {n: round(s) for n, s in nodes.items()} for hour, nodes in self.snapshot().items()}
        self._changed = False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            files.write_atomic(self._path, json.dumps(found).encode(), disk=self._disk)
        except (OSError, CroftError) as error:
            log.warning("the hours in which computers were there can't be kept: %s", error)

    def _shorten(self) -> None:
        """Old hours become one sum each, the oldest go."""
        if self._cells > MOST_CELLS:
            for hour in sorted(self.hours):
                nodes = self.hours[hour]
                if len(nodes) > 1:
                    self._cells -= len(nodes) - 1
                    self.hours[hour] = {ALL: sum(nodes.values())}
                if self._cells <= MOST_CELLS * 0.9:
                    break
        while len(self.hours) > MOST_HOURS:
            self._cells -= len(self.hours.pop(min(self.hours)))

    def _read(self, path: Path) -> None:
        try:
            raw, _ = files.read_bounded(path, MAX_BYTES)
            found = json.loads(raw)
            hours = {
                str(hour): {str(name): float(seconds) for name, seconds in nodes.items()}
                for hour, nodes in found.items()
                if isinstance(nodes, Mapping)
            }
        except (OSError, ValueError, TypeError, AttributeError, CroftError):
            return  # none yet, or not ours
        self.hours = hours
        self._cells = sum(len(nodes) for nodes in hours.values())
