"""Looks at a file before it is published: what the checks find, and which files it was made with, by hash."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from server.disk import paths
from server.disk.errors import Busy, CroftError
from server.disk.records import Problem, Stat
from server.disk.speech import say
from server.disk.store import Store

from ..assets import Assets, tells_of
from ..dependencies import Dependencies, Use
from ..media import Media, ending, facts_of, kinds
from ..projects import Project, Projects
from .checks import CHECKS, SEVERITIES, Finding, Subject, found
from .pins import Pins

USES_MOST = 5000  # of one file, itself and through its libraries

Listed = Callable[[str], list[dict[str, Any]]]  # the published versions of a file, newest first


@dataclass(frozen=True)
class Look:
    """What is known of a file before it is published. Not `sure` while it is still being read."""

    findings: tuple[Finding, ...]
    uses: tuple[tuple[Use, str], ...] = ()
    sure: bool = True

    def of(self, severity: str) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity == severity]


class Validations:
    """Thread-safe. Without `media` and `dependencies` nothing is known but what was read before."""

    def __init__(
        self,
        store: Store,
        projects: Projects,
        assets: Assets,
        media: Media | None = None,
        dependencies: Dependencies | None = None,
    ) -> None:
        self._store = store
        self._projects = projects
        self._assets = assets
        self._media = media
        self._dependencies = dependencies
        self._pins = Pins(store, assets)

    def look(self, address: str, now: Mapping[str, Stat] | None = None) -> Look:
        """What there is to know. `now` is what lies there: it is read where nobody did yet, which takes its
        time; without it (for a page) only what is known already counts, and no disk is asked."""
        kind = kinds.kind(paths.name_of(address))
        facts, sure = self._facts(address, kind, now)
        project = self._projects.of(address)
        words = self._projects.set_of(project)
        uses = tuple(self._uses(address, facts, now is not None)) if kind == "scene" else ()
        type = words.type(self._type_of(address, project))
        subject = Subject(
            address,
            kind,
            words,
            type,
            project.title if project is not None else "",
            facts,
            self._is_whole(address, kind, now is not None),
            uses,
        )
        said = {**words.validations, **type.validations, **(project.validations if project else {})}
        findings = [one for one in found(subject, said) if sure or one.id != "unread"]
        return Look(tuple(findings), uses, sure)

    def pins(self, look: Look, listed: Listed, before: object = None) -> list[dict[str, Any]]:
        """The files that it was made with, each with its hash. `before`: those of the last version, whose
        hashes still count where a file has the same size and time."""
        return self._pins.of((use for use, _ in look.uses), listed, before)

    def problems(self) -> Iterator[Problem]:
        """Severities that stand in the configuration for no check, or are none."""
        for words in self._projects.sets().values():
            where = f"sets/{words.ident}.json"
            yield from _mistakes(where, words.validations)
            for type in words.types.values():
                yield from _mistakes(where, type.validations)
        for project in self._projects.list():
            yield from _mistakes(f"{project.ident}/{paths.PROJECT_FILE}", project.validations)
            own = self._projects.set_of(project)
            if own.ident == project.ident and own.ident not in self._projects.sets():
                yield from _mistakes(f"{project.ident}/{paths.SET_FILE}", own.validations)

    # Within

    def _facts(
        self, address: str, kind: str, now: Mapping[str, Stat] | None
    ) -> tuple[Mapping[str, Any], bool]:
        """What is in it as it is now, and whether that was looked for."""
        entry = self._store.index.get(address)
        if kind == "sequence" and now is not None and self._media is not None:
            return self._media.sequence(address), True
        stat = now.get(paths.name_of(address)) if now else entry.stat if entry is not None else None
        record = self._assets.file_record(address)
        if stat is not None and tells_of(record, stat):
            return dict(record.get("facts") or {}), True
        if now is None or kind != "scene" or self._media is None:
            return {}, kind not in ("scene", "sequence")
        answer = self._media.look(address)
        if answer.error == "dropped":
            raise Busy("{name} is still being read. Try again in a moment.", name=paths.name_of(address))
        return facts_of(answer), True

    def _is_whole(self, address: str, kind: str, thorough: bool) -> bool:
        """Busy while something is copied that has no end to be known by."""
        entry = self._store.index.get(address)
        if entry is not None and entry.incomplete:
            return False
        if not thorough or kind == "sequence":
            return True
        end = ending(self._store.path(address))
        if end is None and entry is not None and entry.arriving:
            raise Busy("{name} is still being copied. Try again in a moment.", name=paths.name_of(address))
        return end is not False

    def _uses(self, address: str, facts: Mapping[str, Any], thorough: bool) -> Iterator[tuple[Use, str]]:
        if self._dependencies is None:
            return
        number = 0
        for number, (use, scene) in enumerate(self._dependencies.deep(address, facts or None)):
            if number == USES_MOST:
                return
            yield (self._as_it_is(use) if thorough else use), scene

    def _as_it_is(self, use: Use) -> Use:
        """Whether it is there, by the disk: the index may not have seen yet what came a moment ago."""
        if not use.address or use.kind in ("cache", "asset") or use.status not in ("ok", "missing"):
            return use
        try:
            there = os.path.exists(self._store.path(use.address))
        except CroftError:
            return use
        status = "ok" if there else "missing"
        return use if status == use.status else Use(use.raw, use.kind, use.address, status)

    def _type_of(self, address: str, project: Project | None) -> str:
        entry = self._store.index.get(address)
        if entry is not None and entry.facts is not None and entry.facts.type:
            return entry.facts.type
        return ""


def _mistakes(where: str, said: Mapping[str, str]) -> Iterator[Problem]:
    known = {check.id for check in CHECKS}
    for ident, severity in said.items():
        if ident not in known:
            text = say(
                "{file} names a check before publishing that there isn’t: {name}.", file=where, name=ident
            )
            mend = say("There are these: {names}.", names=", ".join(sorted(known)))
        elif severity not in SEVERITIES:
            text = say(
                "{file} says {severity} of the check {name}.", file=where, severity=severity, name=ident
            )
            mend = say("It can be one of these: {names}.", names=", ".join(SEVERITIES))
        else:
            continue
        yield Problem(f"config:{where}: validations {ident}", "config", where, text, mend)
