"""Checks what Croft keeps beside people's files: companions, their histories, notes and jobs."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from server.disk import encoding, faults, files, paths, sidecar
from server.disk.check.parts import Parts, names_in
from server.disk.check.renders import Renders
from server.disk.check.versions import Published
from server.disk.records import Problem
from server.disk.speech import say

JobJudge = Callable[[Path], str]  # what is wrong with the request in a job's folder; '' when nothing is


def is_closed(companion: Path) -> bool:
    """Whether Croft alone may change it: published versions lie there, or the scene of a render
    that was approved."""
    if (companion / "versions").is_dir():
        return True
    renders = companion.parent.parent / paths.RENDER / paths.own_stem(companion.name)
    try:
        shut = stat.S_IMODE(os.stat(companion / "jobs").st_mode) == files.OWN_MODE
        return shut and any(map(was_judged, renders.glob("v*.json")))
    except OSError:
        return False


def was_judged(record: Path) -> bool:
    """Whether somebody approved it once: its folders stay closed, though that be taken back."""
    try:
        said = encoding.loads(files.read_bounded(record, sidecar.MAX_BYTES)[0])
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and bool(said.get("approved") or said.get("approved_by"))


class Companions:
    """The `.croft` folders of one share."""

    def __init__(self, parts: Parts, renders: Renders, judge: JobJudge) -> None:
        self.parts = parts
        self.renders = renders
        self.judge = judge
        self.published = Published(parts)
        self.jobs: dict[str, str] = {}  # id -> the first place that it was seen in

    def folder(self, inside: str, beside: dict[str, os.DirEntry[str]]) -> Iterator[Problem]:
        base = paths.join(inside, paths.COMPANION)
        found = self.parts.list(base)
        if isinstance(found, Problem):
            yield found
            return
        root = self.parts.share.root
        closed = any(is_closed(root / base / entry.name) for entry in found)
        yield from self.parts.rights(base, closed=closed)
        for entry in sorted(found, key=lambda entry: entry.name):
            if not entry.is_dir(follow_symlinks=False):
                continue
            subject, place = entry.name, paths.join(base, entry.name)
            known = subject in beside or subject + ".json" in beside or subject == paths.PROJECT_FILE
            if not known and not ("@" in subject and has_frames(subject, beside)):
                yield faults.orphan(self.parts.address(paths.join(inside, subject)))
            yield from self._companion(place)

    def _companion(self, place: str) -> Iterator[Problem]:
        found = self.parts.list(place)
        if isinstance(found, Problem):
            yield found
            return
        yield from self.parts.rights(place, closed=is_closed(self.parts.share.root / place))
        for entry in sorted(found, key=lambda entry: entry.name):
            inside = paths.join(place, entry.name)
            if entry.name.startswith(files.TEMPORARY):
                yield from self.parts.leftover(inside, entry)
            elif entry.name in ("file.json", "protect.json"):
                record = yield from self.parts.read(inside)
                yield from self.parts.newer(inside, record)
            elif entry.name.startswith("history.") and entry.name.endswith(".jsonl"):
                yield from self.parts.journal(inside)
            elif entry.name == "versions" and entry.is_dir(follow_symlinks=False):
                yield from self.published.folder(inside)
            elif entry.name == "notes" and entry.is_dir(follow_symlinks=False):
                for at, _, names in os.walk(self.parts.share.root / inside):
                    for name in sorted(names):
                        where = paths.join(os.path.relpath(at, self.parts.share.root), name)
                        if name.endswith(".json"):
                            yield from self.parts.read(where)
            elif entry.name == "jobs" and entry.is_dir(follow_symlinks=False):
                for job in sorted(names_in(self.parts.share.root / inside)):
                    yield from self._job(paths.join(inside, job), job)

    def _job(self, place: str, ident: str) -> Iterator[Problem]:
        folder = self.parts.share.root / place
        if not folder.is_dir():
            return
        yield from self.parts.rights(place)
        first = self.jobs.setdefault(ident, place)
        if first != place:
            yield self.parts.problem(
                "job",
                place,
                say("The job {ident} lies in {first} too: one is a copy.", ident=ident, first=first),
                say("Nothing runs twice. Delete the copy if it isn't wanted as history."),
            )
        names = names_in(folder)
        record = None
        if "job.json" not in names:
            yield self.parts.problem(
                "job",
                place,
                say("The job has no job.json: nobody knows what was asked."),
                say("Copy the folder back from a backup, or delete it."),
            )
        else:
            request = paths.join(place, "job.json")
            record = yield from self.parts.read(request)
            yield from self.parts.newer(request, record)
            readable = record is not None and sidecar.schema_of(record) <= sidecar.SCHEMA
            why = self.judge(folder) if readable else ""
            if why:
                text = say("This request can't be trusted: {why}. Nothing is done with it.", why=why)
                yield self.parts.problem(
                    "job", request, text, say("Copy the job's folder back from a backup.")
                )
        if "journal.jsonl" in names:
            events = yield from self.parts.journal(paths.join(place, "journal.jsonl"))
            yield from self.renders.frames(place, record or {}, events)
        if "result.json" in names:
            result = yield from self.parts.read(paths.join(place, "result.json"))
            if result is not None and not self._sums_up(result, folder / "journal.jsonl"):
                yield self.parts.problem(
                    "result", paths.join(place, "result.json"),
                    say("It is not the sum of the journal beside it (one of them was restored)."),
                    say("It is ignored, the journal counts. It may be deleted."),
                )  # fmt: skip

    def _sums_up(self, result: dict[str, Any], journal: Path) -> bool:
        told = result.get("journal")
        if not isinstance(told, dict):
            return False
        digest, length = hashlib.sha256(), 0
        try:
            with open(journal, "rb") as file:
                while chunk := file.read(files.COPY_BYTES):
                    digest.update(chunk)
                    length += len(chunk)
        except OSError:
            return False
        return told.get("length") == length and told.get("sha256") == digest.hexdigest()


def has_frames(key: str, names: Iterable[str]) -> bool:
    """Whether a sequence has a frame among these names."""
    return any((paths.sequence_key(name) or ("",))[0] == key for name in names)
