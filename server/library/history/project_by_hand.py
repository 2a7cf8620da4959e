"""What somebody changed in a `project.json` by hand, past Croft, written into its history: from what to what.

As `by_hand` does for files' records. A project is compared with what its history tells, which begins
with how it was when it was first seen; its roles with what was seen last, until the history tells of them:
whom the credits name stands in no history by our doing. What isn't known says nothing of changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from server.disk import paths
from server.disk.errors import Broken
from server.disk.store import Store

from ..people import User
from ..projects import Project, Projects, changes
from . import reading
from .by_hand import WAIT_S, last_etag, when, whose_is
from .reading import Lines

ROLES = "roles"
Line = Mapping[str, Any]


class ProjectsByHand:
    """`whose` tells a person by the number of their login. For one thread."""

    def __init__(self, store: Store, projects: Projects, whose: Callable[[int], User | None]) -> None:
        self._store = store
        self._projects = projects
        self._whose = whose
        self._own = store.sites.own
        # address -> the newest edit that its history told of, and what the project said
        self._seen: dict[str, tuple[Line, changes.Data]] = {}

    def look(self, address: str, histories: Lines) -> bool:
        """Whether a line was added to a project's history, of which these are. Busy, other CroftErrors."""
        project = self._projects.of(address)
        if project is None or not project.etag or paths.join(project.address, paths.PROJECT_FILE) != address:
            return False
        lines = histories.get(self._own, [])
        if project.etag == last_etag(lines):
            self._seen[address] = (newest(lines), changes.told(project))
            return False
        return histories.keys() <= {self._own} and self._write(project, address)

    def _write(self, project: Project, address: str) -> bool:
        store = self._store
        share = store.share(address)
        if share.read_only or store.sites.others(share):
            return False
        store.check_writable(address, take_in=False)
        with store.locks(share.name).hold(paths.lock_key(address), WAIT_S):
            try:
                now, etag = self._projects.present(project)
            except Broken:
                return False  # it becomes good again, and is compared then
            lines = self._lines(address)
            if not etag or etag == last_etag(lines):
                return False  # Race: it went meanwhile, or it was Croft's own change
            last, before = self._seen.get(address, ({}, {}))
            if not last_etag(lines):
                told: dict[str, Any] = {"base": {name: value for name, value in now.items() if name != ROLES}}
            else:
                was = {**(before if last == newest(lines) else {}), **known(lines)}
                fields = {
                    name: [was[name], now[name]] for name in now if name in was and was[name] != now[name]
                }
                told = {"fields": fields, "hand": True} if fields else {}
            if told:
                path = store.path(address)
                at = when(os.stat(path).st_mtime_ns, lines)
                who = whose_is(path, self._whose) if "hand" in told else ""
                stamp = {"at": at} if at and "hand" in told else {}
                store.tell(address, who, {"fields": {}, **told, **stamp, "etag": etag})
            self._seen[address] = (newest(self._lines(address)), now)
        return bool(told)

    def _lines(self, address: str) -> list[dict[str, Any]]:
        return reading.lines(self._store, address, reading.ALL_BYTES).get(self._own, [])


def doubt(store: Store, address: str, etag: str = "") -> None:
    """What was told and seen of people is no measure of the file any more: somebody is forgotten.

    Called before the file changes, and after, with its ETag."""
    store.tell(address, "", {"fields": {}, "unsaid": [ROLES, "external"], **({"etag": etag} if etag else {})})


def newest(lines: Iterable[Line]) -> Line:
    """The last edit of these; {} for none."""
    return next((line for line in reversed(list(lines)) if isinstance(line.get("fields"), dict)), {})


def known(lines: Iterable[Line]) -> changes.Data:
    """Field -> what it was after the last line that tells of it. Pure."""
    found: changes.Data = {}
    for line in lines:
        base, fields, unsaid = (line.get(name) for name in ("base", "fields", "unsaid"))
        if isinstance(base, dict):
            found = dict(base)
        for name, change in fields.items() if isinstance(fields, dict) else ():
            if isinstance(change, list) and len(change) == 2:
                found[name] = change[1]
        for name in unsaid if isinstance(unsaid, list) else ():
            found.pop(str(name), None)
    return found
