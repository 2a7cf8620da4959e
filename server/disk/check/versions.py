"""Checks published versions: whole, each with its record, as long as when they were published."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.disk import faults, files, paths
from server.disk.check.parts import Parts, is_plain
from server.disk.records import Problem
from server.disk.speech import say

RECORD = "version.json"


class Published:
    """The `versions` folders of one share's companions."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    def folder(self, inside: str) -> Iterator[Problem]:
        found = self.parts.list(inside)
        if isinstance(found, Problem):
            yield found
            return
        for entry in sorted(found, key=lambda entry: entry.name):
            place = paths.join(inside, entry.name)
            if entry.name.startswith(files.TEMPORARY):
                yield from self.parts.leftover(place, entry)
            elif paths.version_number(entry.name) is not None and entry.is_dir(follow_symlinks=False):
                yield from self._version(place, entry)

    def _version(self, place: str, entry: os.DirEntry[str]) -> Iterator[Problem]:
        folder = self.parts.share.root / place
        record = yield from self.parts.read(paths.join(place, RECORD))
        if record is None:
            if not (folder / RECORD).exists() and self._is_old(entry):
                yield self.parts.problem(
                    "version", place, say("It has no {record}: it was never published whole.", record=RECORD),
                    say("Copy it back from a backup, or delete it."),
                )  # fmt: skip
            return
        yield from self.parts.newer(paths.join(place, RECORD), record)
        yield from self._others(place)
        if record.get("in_place"):
            yield from self._manifest(place, record)
            return
        size = record.get("size")
        there = _bytes_of(folder, str(record.get("name") or ""))
        if isinstance(size, int) and there is not None and there != size:
            yield self.parts.problem(
                "version", place,
                say("It holds {there} bytes instead of {size}: it isn’t what was published.", there=there,
                    size=size),
                say("Copy it back from a backup."),
            )  # fmt: skip

    def _others(self, place: str) -> Iterator[Problem]:
        """The record that was frozen with the file, and what a crash left."""
        found = self.parts.list(place)
        for entry in () if isinstance(found, Problem) else sorted(found, key=lambda entry: entry.name):
            if entry.name.startswith(files.TEMPORARY):
                yield from self.parts.leftover(paths.join(place, entry.name), entry)
            elif entry.name.endswith(".json") and entry.name != RECORD:
                yield from self.parts.read(paths.join(place, entry.name))

    def _manifest(self, place: str, record: dict[str, Any]) -> Iterator[Problem]:
        name = record.get("files")
        named = isinstance(name, str) and is_plain(name)
        if not named or not os.path.lexists(self.parts.share.root / place / str(name)):
            yield self.parts.problem(
                "version", place, say("The list of its frames is gone: nobody knows what was published."),
                say("Copy it back from a backup, or publish the sequence again."),
            )  # fmt: skip

    def _is_old(self, entry: os.DirEntry[str]) -> bool:
        """Whether nobody can be making it still."""
        try:
            return self.parts.now - entry.stat(follow_symlinks=False).st_mtime > faults.FRESH_S
        except OSError:
            return False  # Race: it was taken back


def _bytes_of(folder: Path, name: str) -> int | None:
    """How long the published file is, or all frames of the sequence together."""
    total = 0
    try:
        for entry in os.scandir(folder):
            if entry.name == name or (paths.sequence_key(entry.name) or ("",))[0] == name:
                total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        return None  # Race: it was taken away
    return total
