"""Rendered versions that nobody needs any more: which they are, by the policy, and putting them away.

Put away means moved to `old/` beside them, whole, from where each can be brought back until it is purged.
Asked once in a while by a person; it looks at every version of every file, and at who uses them.
"""

from __future__ import annotations

import datetime
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from server.disk import paths
from server.disk.errors import Busy, CroftError
from server.disk.settings import Settings
from server.disk.speech import say
from server.disk.store import Store
from server.farm.farm import Farm
from server.farm.jobs import inputs, states
from server.library import versions
from server.library.dependencies import Dependencies
from server.library.notes import Notes
from server.library.projects import Projects
from server.library.saves import frozen
from server.library.versions import policy

log = logging.getLogger("croft.farm")

READ_S = 60.0  # how long it waits until all scenes are read
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Row:
    """One version, and what becomes of it."""

    address: str  # of the file that it was rendered from
    version: str
    project: str
    goes: bool
    why: str
    files: int = 0
    bytes: int = 0

    def view(self) -> dict[str, Any]:
        return asdict(self)


class Pruning:
    """`plan` says what would go, `put_away` does it."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        projects: Projects,
        dependencies: Dependencies,
        notes: Notes,
        farm: Farm,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._store = store
        self._projects = projects
        self._dependencies = dependencies
        self._notes = notes
        self._farm = farm
        self._wall = wall

    def plan(self, project: str = "") -> list[Row]:
        """Every rendered version there is, of all projects or of one. Busy while scenes are still read."""
        if not self._dependencies.wait(READ_S):
            raise Busy(
                say("Croft is still reading what the scenes use. Try again in a while."),
                path="", holder="", waited_s=READ_S,
            )  # fmt: skip
        chosen = [self._projects.get(project)] if project else self._projects.list()
        used = self._used()
        rows: list[Row] = []
        for one in chosen:
            for folder, addresses in sorted(self._folders(one.address).items()):
                rule = policy.read(self._settings.get("prune"), one.ident)
                rows += self._of(folder, addresses, one.ident, rule, used)
        return rows

    def put_away(self, row: Row, who: str) -> str:
        """Move a version into `old/`, unless it came to be approved or rendered meanwhile; the address of its
        folder there, '' where it stays."""
        folder = paths.render_folder(row.address)
        with versions.held(self._store, row.address):
            record = versions.read(versions.place_of(self._store, row.address) / f"{row.version}.json")
            if record.get("approved") or self._rendering(record) or not self._may_write(row.address):
                return ""
            more = [f"{row.version}{ending}" for ending in VIDEOS]
            gone = self._store.delete(paths.join(folder, row.version), who, more=more)
            versions.settle(self._store, row.address)
        self._store.refresh(paths.join(folder, f"{row.version}.json"))
        log.info("%s of %s put away by %s, %s", row.version, row.address, who, row.why)
        return gone

    # Within

    def _folders(self, under: str) -> dict[str, list[str]]:
        """The `render/<stem>` folders of a project, with the files that render there."""
        index = self._store.index
        found: dict[str, list[str]] = {}
        for folder in index.tree(under):
            for entry in index.folder(folder):
                place = paths.render_folder(entry.address)
                if index.versions(place):
                    found.setdefault(place, []).append(entry.address)
        return found

    def _of(
        self, folder: str, addresses: list[str], project: str, rule: policy.Policy, used: Mapping[str, str]
    ) -> Iterator[Row]:
        told = dict(used) | {
            paths.join(folder, name): why for address in addresses for name, why in self._noted(address)
        }
        records = {str(one["version"]): one for one in versions.listed(self._store, addresses[0])}
        facts = [
            self._fact(record, told.get(paths.join(folder, name), "")) for name, record in records.items()
        ]
        for choice in policy.choose(facts, rule):
            record = records[choice.name]
            of = str(record.get("file") or "")
            files, size = self._weight(paths.join(folder, choice.name)) if choice.goes else (0, 0)
            address = of if of in addresses else addresses[0]
            yield Row(address, choice.name, project, choice.goes, choice.why, files, size)

    def _fact(self, record: Mapping[str, Any], used: str) -> policy.Fact:
        moments = [_epoch(record.get(key)) for key in ("created", "ended", "approved_at")]
        days = max(0.0, (self._wall() - max(moments)) / DAY_S) if any(moments) else 0.0
        if record.get("broken"):
            used = used or say("its record can't be read")
        elif self._rendering(record):
            used = say("being rendered")
        framed = versions.has_frames(record) or self._weight(str(record["address"]))[0] > 0
        approved, rejected = bool(record.get("approved")), bool(record.get("rejected"))
        return policy.Fact(str(record["version"]), days, approved, rejected and not approved, used, framed)

    def _rendering(self, record: Mapping[str, Any]) -> bool:
        """Whether its job goes on, or can't be known just now."""
        job_id = str(record.get("job") or "")
        if not job_id:
            return False
        try:
            return self._farm.job(job_id).state not in states.ENDED
        except CroftError:
            return job_id in self._farm.board.broken

    def _may_write(self, address: str) -> bool:
        try:
            self._store.check_writable(address)
        except CroftError:
            return False
        return True

    def _used(self) -> dict[str, str]:
        """Versions that something names, by the address of their folder: what uses them."""
        found = dict(self._published())
        for file in self._dependencies.book.named():
            for folder in self._versions_of(file):
                for user in self._dependencies.used_by(file)[:1]:
                    found[folder] = say("used by {name}", name=paths.name_of(user))
        for user in list(self._dependencies.rising.declared):
            said = say("used by {name}", name=paths.name_of(user))
            for file in self._waits_for(user):
                found |= dict.fromkeys(self._versions_of(file), said)
        for live in list(self._farm.board.live.values()):
            if live.state in states.ENDED:
                continue
            name = str(live.record.get("name") or live.id)
            said = say("a render of {name} needs it", name=name)
            there = inputs.Files(live.place.asset_folder, self._store.shares)
            for file in live.record.get("inputs") or {}:
                found |= dict.fromkeys(self._versions_of(there.address(str(file))), said)
            for after in live.job.plan.after:
                found |= dict.fromkeys(self._made_by(after.job), said)
        return found

    def _waits_for(self, address: str) -> Iterator[str]:
        """What people say that an asset waits for, where that may be a path: from its folder or project."""
        entry = self._store.index.get(address)
        for text in entry.facts.dependencies if entry is not None and entry.facts is not None else ():
            if paths.SEPARATOR in text:
                yield text
                continue
            for folder in (paths.folder_of(address), paths.top_of(address)):
                yield paths.join(folder, text.lstrip("/"))

    def _versions_of(self, file: str) -> Iterator[str]:
        """The version folder that a path leads into, if it does; of `current` the one it leads to."""
        folder = file
        while (above := paths.folder_of(folder)) != folder:
            name = paths.name_of(folder).partition(".")[0]  # its video is called `v003.mp4`
            if paths.name_of(paths.folder_of(above)) == paths.RENDER:
                if paths.version_number(name) is not None:
                    yield paths.join(above, name)
                elif name == versions.CURRENT:
                    try:
                        yield paths.join(above, os.readlink(self._store.path(above) / name))
                    except (CroftError, OSError):
                        return
                return
            folder = above

    def _made_by(self, job_id: str) -> Iterator[str]:
        try:
            job = self._farm.job(job_id)
        except CroftError:
            return
        if job.record.get("version"):
            yield paths.join(paths.render_folder(job.address), str(job.record["version"]))

    def _published(self) -> Iterator[tuple[str, str]]:
        """Versions that were published where they lie, and those that something published was made with."""
        for entry in list(self._store.index.entries()):
            if entry.facts is None:
                continue
            for record in frozen.listed(self._store, entry.address):
                sequence = record.get("sequence")
                if isinstance(sequence, str) and sequence:
                    told = say("published as {version}", version=str(record["version"]))
                    file = paths.join(paths.folder_of(entry.address), sequence)
                    yield from ((place, told) for place in self._versions_of(file))
                name, version = paths.name_of(entry.address), str(record["version"])
                told = say("used by {version} of {name}", version=version, name=name)
                pins = record.get("dependencies")
                for pin in pins if isinstance(pins, list) else ():
                    yield from ((place, told) for place in self._pinned(pin))

    def _pinned(self, pin: object) -> Iterator[str]:
        """The version folder that a published version says it was made with: by its name, since `current`
        leads to another one later."""
        if not isinstance(pin, dict) or not isinstance(pin.get("path"), str):
            return
        version = str(pin.get("version") or "").removeprefix("render-")
        before, found, after = pin["path"].partition(f"/{paths.RENDER}/")
        if found and paths.version_number(version) is not None:
            yield paths.join(before, paths.RENDER, after.partition("/")[0], version)
        else:
            yield from self._versions_of(pin["path"])

    def _noted(self, address: str) -> Iterator[tuple[str, str]]:
        """Versions that somebody is still to look at, by what was said."""
        if not self._notes.open_count(address):
            return
        for note in self._notes.of(address):
            if note.open and note.version:
                yield note.version, say("a note is about it")

    def _weight(self, folder: str) -> tuple[int, int]:
        """How many files lie in a version's folder, and their bytes."""
        count = size = 0
        try:
            with os.scandir(self._store.path(folder)) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        count, size = count + 1, size + entry.stat(follow_symlinks=False).st_size
        except (CroftError, OSError):
            pass  # Race: somebody is taking it away just now.
        return count, size


VIDEOS = (".mp4", ".webm", ".mov", ".mkv")  # of a version, beside its folder


def _epoch(text: object) -> float:
    try:
        return datetime.datetime.fromisoformat(str(text)).timestamp() if text else 0.0
    except ValueError:
        return 0.0
