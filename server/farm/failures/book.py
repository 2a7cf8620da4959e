"""The rules as configured now: files of `config/failure_rules/`. One that makes no sense is told and its last
good content kept."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from server.disk.errors import BadInput
from server.disk.settings import Settings
from server.farm.failures import rules
from server.farm.failures.rules import Found, Rule, RuleFile


class RuleBook:
    """All general rules. `wrong`: file -> what is wrong with it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen: Mapping[str, dict[str, Any]] | None = None
        self._files: dict[str, RuleFile] = {}
        self._own: dict[int, tuple[object, tuple[Rule, ...]]] = {}
        self.wrong: dict[str, str] = {}

    def judge(self, log: str, programs: frozenset[str], own: object = ()) -> Found | None:
        """What a failed attempt's log says. `own`: the rules of its job type, as they stand there."""
        fitting = (f.rules for f in self.follow().values() if not f.programs or f.programs & programs)
        return rules.judge(chain(self._read_own(own), *fitting), log)

    def _read_own(self, own: object) -> tuple[Rule, ...]:
        if not own:
            return ()
        known = self._own.get(id(own))
        if known is None or known[0] is not own:
            try:
                found = rules.read(list(own) if isinstance(own, (list, tuple)) else own)
            except BadInput:
                found = ()
            if len(self._own) > 1000:
                self._own.clear()
            known = self._own[id(own)] = (own, found)
        return known[1]

    def follow(self) -> dict[str, RuleFile]:
        """The files as they are now, a renderer's own before the general ones."""
        folder = self._settings.folder("failure_rules")
        if folder is not self._seen:
            files: dict[str, RuleFile] = {}
            wrong: dict[str, str] = {}
            for ident, data in sorted(
                folder.items(), key=lambda item: (not item[1].get("programs"), item[0])
            ):
                try:
                    files[ident] = rules.read_file(data)
                except BadInput as error:
                    wrong[ident] = f"failure_rules/{ident}.json can't be used: {error.message}"
                    if ident in self._files:
                        files[ident] = self._files[ident]
            self._files, self.wrong, self._seen = files, wrong, folder
        return self._files
