"""What somebody changed in a file's record by hand, past Croft, written into its history: from what to what.

Compares the record with what its history leads to, and where that is silent with what was seen of it last; so
a change that was made while no Croft ran is found, too. Only where one site writes: what several did, `sites`
brings together. A record that nothing is known of yet says nothing of changes.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from server.disk import files, paths, sidecar
from server.disk.errors import NotFound
from server.disk.records import Change, Entry, Facts, plain, utc_now
from server.disk.store import Store

from ..people import User
from ..problems.mending import folded
from . import reading
from .lines import moment
from .reading import Lines

WAIT_S = 2.0  # for the record's lock: whoever holds it changes it, and it is looked at again
NOTHING: tuple[Any, ...] = (None, "", [], (), {})


class ByHand:
    """`whose` tells a person by the number of their login. For one thread."""

    def __init__(self, store: Store, whose: Callable[[int], User | None]) -> None:
        self._store = store
        self._whose = whose
        self._own = store.sites.own
        self._seen: dict[str, Entry] = {}  # address -> as it was looked at last

    def look(self, address: str, histories: Lines) -> bool:
        """Whether a line was added to a file's history, of which these were read. Busy, other CroftErrors."""
        entry = self._store.index.get(address)
        if entry is None:
            self._seen.pop(address, None)
            return False
        if entry.facts is None or entry.broken or not entry.etag:
            return False  # what is broken becomes good again, and is compared then
        before, last = self._seen.get(address), last_etag(histories.get(self._own, []))
        told = False
        fresh = entry.etag != last and (bool(last) if before is None else entry.etag != before.etag)
        if fresh and histories.keys() <= {self._own}:
            told = self._write(address, before.facts if before is not None else None)
        self._seen[address] = entry
        return told

    def _write(self, address: str, before: Facts | None) -> bool:
        store = self._store
        share = store.share(address)
        if share.read_only or store.sites.others(share):
            return False
        store.check_writable(address, take_in=False)
        path = store.path(address)
        companion = paths.companion_of(path)
        with store.locks(share.name).hold(paths.lock_key(address), WAIT_S):
            try:
                side = sidecar.read(paths.sidecar_of(path))
            except NotFound:
                return False  # Race: it went meanwhile
            lines = reading.lines(store, address, reading.ALL_BYTES).get(self._own, [])
            if side.etag == last_etag(lines):
                return False  # Race: it was Croft's own, or another server has told of it
            fields = changed(lines, before, side.data)
            if not fields or "uuid" in fields:
                return (
                    False  # nothing but blanks; or it is another file's record, which `identity` looks after
                )
            files.make_folders(companion, path.parent, disk=store.disk)
            who = whose_is(paths.sidecar_of(path), self._whose)
            at = when(side.stat.mtime_ns, lines) if side.stat is not None else ""
            store.sites.say(companion, who, fields, {}, side.etag, at=at, hand=True)
        store.notify([Change("companion", address)])
        return True


def whose_is(path: Path, whose: Callable[[int], User | None]) -> str:
    """Whose file this is now: an editor that writes aside leaves its person's."""
    try:
        user = whose(os.stat(path).st_uid)
    except OSError:
        return ""  # Race: it went meanwhile
    return user.ident if user is not None else ""


def last_etag(lines: Iterable[Mapping[str, Any]]) -> str:
    """Of the record, as the last of these lines left it; '' where none tells."""
    return next((line["etag"] for line in reversed(list(lines)) if _is_edit(line)), "")


def changed(
    lines: Iterable[dict[str, Any]], before: Facts | None, data: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Field -> what it was by the history, else by what was seen last; and what the record says. Pure."""
    edits = [line for line in lines if _is_edit(line)]
    known = folded(edits)
    said = {name for line in edits for name in line["fields"]}
    found = {
        name: (known.get(name), data.get(name))
        for name in dict.fromkeys([*known, *data])
        if name in said and not _alike(known.get(name), data.get(name))
    }
    if before is None:
        return found
    present = sidecar.facts(data)
    for name in Facts.__slots__:
        old = getattr(before, name)
        if name in said or old == getattr(present, name):
            continue
        if isinstance(old, str) and len(old) >= sidecar.TEXT:
            continue  # it was longer than what was kept of it: nobody knows how it went on
        old = dict(old) if name == "pipeline" else plain(old)
        found[name] = (None if old in NOTHING else old, data.get(name))
    return found


def _is_edit(line: Mapping[str, Any]) -> bool:
    """Whether this is a change of the record; of one that gave way to it, lines tell without an ETag."""
    etag = line.get("etag")
    return isinstance(etag, str) and bool(etag) and isinstance(line.get("fields"), dict)


def _alike(one: Any, other: Any) -> bool:
    return one == other or (one in NOTHING and other in NOTHING)


def when(mtime_ns: int, lines: Iterable[Mapping[str, Any]]) -> str:
    """The file's own time where that can be: after the last line, and not to come. '' for now."""
    written = datetime.datetime.fromtimestamp(mtime_ns / 1e9, datetime.UTC)
    at = moment(written.isoformat())
    last = max((moment(line.get("at")) for line in lines), default="")
    return at if last <= at <= utc_now() else ""
