"""Walks shares and names every fault of Croft's files, with its path and what mends it.

Reads only, and knows nothing of a running server: what one is just writing may be told as unfinished.
Nothing that is found is touched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from server.disk import conflicts, deletions, faults, files, paths, probes, sidecar
from server.disk.check.companions import Companions, JobJudge, has_frames
from server.disk.check.parts import Parts, count
from server.disk.check.renders import Renders
from server.disk.errors import Broken, CroftError
from server.disk.faults import NOTES
from server.disk.paths import Share
from server.disk.records import Problem
from server.disk.speech import say

__all__ = ["NOTES", "JobJudge", "Walk", "check", "main"]

_SIDECAR_KEYS = frozenset(("owner", "state", "creator", "support", "priority", "uuid", "schema", "type"))

Progress = Callable[[str], None]


def check(
    shares: Iterable[Share],
    now: float | None = None,
    progress: Progress = lambda words: None,
    judge: JobJudge = lambda folder: "",
) -> Iterator[Problem]:
    """Every problem of these shares, in the order of their folders.

    `progress` is told of each folder. `judge` knows what a job's request must say; this wing doesn't.
    """
    for share in shares:
        yield from Walk(share, time.time() if now is None else now, progress, judge).problems()


def main(
    shares: Iterable[Share],
    out: TextIO,
    progress: Progress = lambda words: None,
    judge: JobJudge = lambda folder: "",
) -> int:
    """Print every problem; 1 when a file of Croft's is at fault, else 0 (notes alone are no fault).

    `progress("")` is called before something is printed, to clear its line.
    """
    faults = notes = 0
    for share in shares:
        for problem in check([share], progress=progress, judge=judge):
            note = problem.kind in NOTES
            notes += note
            faults += not note
            progress("")
            lines = (
                f"{'note' if note else 'fault'}: {problem.address}\n    {problem.text}\n    {problem.mend}"
            )
            # File names that aren't UTF-8 must not end the check.
            print(lines.encode("utf-8", "backslashreplace").decode("utf-8"), file=out)
    print(f"{count(faults, 'fault')}, {count(notes, 'note')}.", file=out)
    return 1 if faults else 0


class Walk:
    """One share's walk: files beside people's own here, all else in the rooms beside."""

    def __init__(self, share: Share, now: float, progress: Progress, judge: JobJudge) -> None:
        self.parts = Parts(share, now)
        self.renders = Renders(self.parts)
        self.companions = Companions(self.parts, self.renders, judge)
        self.progress = progress
        self.uuids: dict[str, str] = {}  # uuid -> the first path inside that holds it

    def problems(self) -> Iterator[Problem]:
        root = self.parts.share.root
        try:
            marker = probes.read_marker(root)
        except Broken as error:
            yield self.parts.problem(
                "marker", paths.SHARE_MARKER, error.message, say("Copy it back from a backup.")
            )
            marker = None
        else:
            if marker is None:
                yield self.parts.problem(
                    "away",
                    "",
                    say(
                        "{root} has no {share_marker}: it isn't mounted, or was never opened.",
                        root=root,
                        share_marker=paths.SHARE_MARKER,
                    ),
                    say("Mount it; a new share gets its marker when Croft is started."),
                )
        if marker is None:
            return
        for pointer in deletions.pending(self.parts.share):
            yield self.parts.problem(
                "leftover", f"{paths.LOCKS}/{pointer.name}", say("A deletion was begun and not finished."),
                say("Start Croft: it finishes it."),
            )  # fmt: skip
        yield from self._folder("")

    def _folder(self, inside: str) -> Iterator[Problem]:
        self.progress(paths.address(self.parts.share.name, inside))
        found = self.parts.list(inside)
        if isinstance(found, Problem):
            yield found
            return
        names = {entry.name: entry for entry in found}
        folder = self.parts.address(inside)
        for name, other in faults.clashes(names):
            yield faults.clash(folder, name, other)
        folders: list[str] = []
        for name, entry in sorted(names.items()):
            place = paths.join(inside, name)
            if name.startswith(files.TEMPORARY):
                yield from self.parts.leftover(place, entry)
            elif entry.is_symlink():
                yield from self.parts.link(place)
            elif entry.is_dir(follow_symlinks=False):
                if name.endswith(".json") and name.removesuffix(".json") in names:
                    yield faults.broken(
                        self.parts.address(place), "it is a folder, where a sidecar should be"
                    )
                folders.append(name)
            elif name.endswith(".json"):
                yield from self._json(inside, name, names)
            if conflicts.is_copy(name):
                yield faults.conflict(self.parts.address(place))
        for name in folders:
            place = paths.join(inside, name)
            if name == paths.COMPANION:
                yield from self.companions.folder(inside, names)
            elif name == paths.RENDER:
                yield from self.renders.renders(place)
            elif not paths.is_ignored(name):
                yield from self._folder(place)

    def _json(self, inside: str, name: str, names: dict[str, os.DirEntry[str]]) -> Iterator[Problem]:
        place = paths.join(inside, name)
        if name == paths.PROJECT_FILE:
            if inside and "/" not in inside:
                record = yield from self.parts.read(place)
                yield from self.parts.newer(place, record)
            return
        if paths.is_ignored(name) or place == paths.SHARE_MARKER:
            return
        subject = name.removesuffix(".json")
        companion = self.parts.share.root / inside / paths.COMPANION / subject
        if subject in names or ("@" in subject and has_frames(subject, names)):
            record = yield from self.parts.read(place)
            if record is not None:
                yield from self.parts.newer(place, record)
                yield from self._uuid(paths.join(inside, subject), record)
            return
        try:
            record = sidecar.parse(
                files.read_bounded(self.parts.share.root / place, sidecar.MAX_BYTES)[0], place
            )
        except (OSError, CroftError):
            record = None  # a file of a person's own, unless a companion says that it was a sidecar
        if companion.is_dir() or (record is not None and len(_SIDECAR_KEYS & record.keys()) >= 2):
            yield faults.orphan(self.parts.address(paths.join(inside, subject)))
            if record is None:
                yield from self.parts.read(place)

    def _uuid(self, place: str, record: dict[str, Any]) -> Iterator[Problem]:
        uuid = record.get("uuid")
        if not isinstance(uuid, str) or not uuid:
            return
        first = self.uuids.setdefault(uuid, place)
        if first != place:
            yield faults.same_uuid(self.parts.address(place), first)
