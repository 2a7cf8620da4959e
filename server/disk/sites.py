"""Several installations at work on copies of one share that a program synchronises.

Each leaves its name in `.croft-sites/`, a file of its own, so that all know how many they are; with one
alone nothing here costs anything. Brings a sidecar up to what the histories of all sites say (see `merge`).
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from server.disk import conflicts, files, merge, paths, sidecar
from server.disk.errors import CroftError
from server.disk.journal import Journal
from server.disk.merge import Event, Rival
from server.disk.paths import Share
from server.disk.records import Stat, utc_now
from server.disk.sidecar import Sidecar

log = logging.getLogger("croft.sites")

FOLDER = ".croft-sites"
HISTORY_BYTES = 16 << 20  # of each site's: what is older is settled
LOOK_S = 1.0  # how often, at most, it is asked who else there is
YOUNG_S = 600.0  # a sidecar that nobody knows and that is younger may have come before its history
TURNS = 3


@dataclass(frozen=True, slots=True)
class Together:
    """A sidecar with every site's changes in it, and the fields that somebody has to decide."""

    side: Sidecar
    vector: Mapping[str, int]
    conflicts: Mapping[str, tuple[Rival, ...]]
    changed: bool = False


class Sites:
    """The sites of one server's shares. Thread-safe; `bring_together` under the file's lock."""

    def __init__(
        self,
        site: str,
        disk: files.Os = files.REAL,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.own = paths.safe_name(site)
        self._disk = disk
        self._monotonic = monotonic
        self._wall = wall
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}  # share -> when looked, the others
        self._heard: dict[str, frozenset[str]] = {}  # share -> sites whose histories came before their names

    def announce(self, share: Share) -> None:
        """Leave our name on a share that can be written to."""
        place = share.root / FOLDER
        try:
            if not (place / f"{self.own}.json").exists():
                files.make_folders(place, share.root, disk=self._disk)
                said = {"schema": 1, "site": self.own, "since": utc_now()}
                files.write_once(place / f"{self.own}.json", sidecar.dump(said), disk=self._disk)
        except CroftError as error:
            log.warning("share %s doesn't learn of this site: %s", share.name, error)
        with self._lock:
            self._known.pop(share.name, None)

    def others(self, share: Share) -> tuple[str, ...]:
        """The other sites that have a copy of this share."""
        now = self._monotonic()
        known = self._known.get(share.name)
        if known is not None and now - known[0] < LOOK_S:
            return known[1]
        try:
            names = os.listdir(share.root / FOLDER)
        except OSError:
            names = []
        found = {
            name.removesuffix(".json")
            for name in names
            if name.endswith(".json") and name[0] != "." and not conflicts.is_copy(name)
        }
        heard = self._heard.get(share.name, frozenset())
        others = tuple(sorted({*found, *heard} - {self.own}))
        with self._lock:
            self._known[share.name] = (now, others)
        return others

    def hear(self, share: Share, companion: Path) -> None:
        """A synchronising program may bring a site's history before its name."""
        try:
            names = os.listdir(companion)
        except OSError:
            return
        found = {site_of(name) for name in names} - {"", self.own}
        with self._lock:
            known = self._heard.get(share.name, frozenset())
            if not found <= known:
                self._heard[share.name] = known | found
                self._known.pop(share.name, None)

    def suffix(self, share: Share) -> str:
        """What the names of versions get, so that two sites never make the same: '' where there is one."""
        return self.own if self.others(share) else ""

    def bring_together(
        self, path: Path, companion: Path, side: Sidecar, *, editing: bool = False
    ) -> Together:
        """The sidecar at `path` with all changes that the histories in `companion` tell of, written where it
        lacked one. `editing`: an edit follows, which will count as made on all of them."""
        changed = False
        for _ in range(TURNS):
            events = events_of(companion)
            if not side.etag or side.newer or not events:
                everything = merge.merge({}, {}, events).vector
                return Together(side, everything, {}, changed)
            vector, known = merge.vector_of(side.etag, events, self.own)
            found = merge.merge(side.data, vector, events, by_hand=not known)
            if found.doubts:
                if found.complete and not editing:
                    return Together(side, vector, {}, changed)  # somebody's edit, of which nothing follows
                old = side.stat is None or self._wall() - side.stat.mtime_ns / 1e9 > YOUNG_S
                by_hand = not (old and found.complete)
                self.say(companion, "", found.doubts, {} if by_hand else vector, side.etag, by_hand=by_hand)
                continue
            if found.record != side.data:
                raw = sidecar.dump(found.record, side.raw)
                st = files.write_atomic(path, raw, disk=self._disk)
                side = Sidecar(found.record, raw, sidecar.etag(raw), Stat.of(st))
                self.say(companion, "", {}, found.vector, side.etag, merged=True)
                changed = True
                log.info("%s: the changes of several sites were brought together", path)
            return Together(side, found.vector, found.conflicts, changed)
        return Together(side, {}, {}, changed)

    def line(
        self,
        who: str,
        fields: Mapping[str, Any],
        vector: Mapping[str, int],
        etag: str,
        at: str = "",
        **more: bool,
    ) -> dict[str, Any]:
        """A line of our history: what was changed, in the knowledge of what; `at`: not just now."""
        line: dict[str, Any] = {"at": at or utc_now(), "who": who, "fields": fields, "etag": etag}
        seen = {site: end for site, end in vector.items() if site != self.own}
        if seen:
            line["seen"] = seen
        return {**line, **{name: True for name, said in more.items() if said}}

    def say(
        self,
        companion: Path,
        who: str,
        fields: Mapping[str, tuple[Any, Any]],
        vector: Mapping[str, int],
        etag: str,
        at: str = "",
        **more: bool,
    ) -> None:
        """Append a line to our history."""
        journal = Journal(companion / f"history.{self.own}.jsonl", self._disk)
        try:
            told = {name: list(change) for name, change in fields.items()}
            journal.append([self.line(who, told, vector, etag, at, **more)])
        finally:
            journal.close()


def events_of(companion: Path) -> list[Event]:
    """What every site's history of a file tells, as far as it can be read."""
    found: list[Event] = []
    try:
        names = sorted(os.listdir(companion))
    except OSError:
        return found
    for name in names:
        if site := site_of(name):
            found += _read(companion / name, site)
    return found


def site_of(name: str) -> str:
    """`north` of `history.north.jsonl`; '' for what is no history."""
    if name.startswith("history.") and name.endswith(".jsonl") and not conflicts.is_copy(name):
        return name.removeprefix("history.").removesuffix(".jsonl")
    return ""


def _read(path: Path, site: str) -> list[Event]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            start = max(0, os.fstat(fd).st_size - HISTORY_BYTES)
            raw = os.pread(fd, HISTORY_BYTES, start)
        finally:
            os.close(fd)
    except OSError:
        return []  # `check` tells of it
    events = []
    end = start
    for line in raw.split(b"\n")[:-1]:  # what follows the last newline is torn, or still being written
        end += len(line) + 1
        try:
            said = orjson.loads(line)
        except ValueError:
            continue  # a bad line, or the rest of one
        event = merge.read_event(site, end, said) if isinstance(said, dict) else None
        if event is not None:
            events.append(event)
    return events
