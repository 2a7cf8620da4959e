"""Walks shares and names every fault of Croft's files, with its path and what mends it.

Reads only, and knows nothing of a running server: what one is just writing may be told as unfinished.
Nothing that is found is touched.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from server.disk import deletions, files, paths, probes, sidecar
from server.disk.errors import Broken, CroftError, NotFound
from server.disk.journal import Journal
from server.disk.paths import Share
from server.disk.records import Problem

NOTES = frozenset({"leftover", "missing", "conflict"})  # told, but no fault of a file
FRESH_S = 3600.0  # a younger temporary file may be somebody's who is writing it
RECORD_BYTES = 64 << 20
_SIDECAR_KEYS = frozenset(("owner", "state", "creator", "support", "priority", "uuid", "schema", "type"))
_CONFLICTS = (".sync-conflict-", "(conflicted copy", "(conflict copy", "'s conflicted copy")


Progress = Callable[[str], None]
JobJudge = Callable[[Path], str]  # what is wrong with the request in a job's folder; '' when nothing is


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
        yield from _Walk(share, time.time() if now is None else now, progress, judge).problems()


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
    print(f"{_count(faults, 'fault')}, {_count(notes, 'note')}.", file=out)
    return 1 if faults else 0


def _count(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"


class _Walk:
    """One share's walk."""

    def __init__(self, share: Share, now: float, progress: Progress, judge: JobJudge) -> None:
        self.judge = judge
        self.share = share
        self.progress = progress
        self.now = now
        self.uuids: dict[str, str] = {}  # uuid -> the first path inside that holds it
        self.jobs: dict[str, str] = {}

    def problems(self) -> Iterator[Problem]:
        root = self.share.root
        try:
            marker = probes.read_marker(root)
        except Broken as error:
            yield self._problem("marker", paths.SHARE_MARKER, error.message, "Copy it back from a backup.")
            marker = None
        else:
            if marker is None:
                yield self._problem(
                    "away", "", f"{root} has no {paths.SHARE_MARKER}: it isn't mounted, or was never opened.",
                    "Mount it; a new share gets its marker when Croft is started.",
                )  # fmt: skip
        if marker is None:
            return
        for pointer in deletions.pending(self.share):
            yield self._problem(
                "leftover", f"{paths.LOCKS}/{pointer.name}", "A deletion was begun and not finished.",
                "Start Croft: it finishes it.",
            )  # fmt: skip
        yield from self._folder("")

    def _folder(self, inside: str) -> Iterator[Problem]:
        self.progress(paths.address(self.share.name, inside))
        found = self._list(inside)
        if isinstance(found, Problem):
            yield found
            return
        names = {entry.name: entry for entry in found}
        yield from self._clashes(inside, names)
        folders: list[str] = []
        for name, entry in sorted(names.items()):
            place = paths.join(inside, name)
            if name.startswith(files.TEMPORARY):
                yield from self._leftover(place, entry)
            elif entry.is_symlink():
                yield from self._link(place)
            elif entry.is_dir(follow_symlinks=False):
                if name.endswith(".json") and name.removesuffix(".json") in names:
                    yield self._broken(place, "it is a folder, where a sidecar should be")
                folders.append(name)
            elif name.endswith(".json"):
                yield from self._json(inside, name, names)
            if any(mark in name for mark in _CONFLICTS):
                yield self._problem(
                    "conflict", place, f"{name} is a copy that a synchronising program made of a conflict.",
                    "Compare it with the original, keep the better one, delete the other.",
                )  # fmt: skip
        for name in folders:
            place = paths.join(inside, name)
            if name == paths.COMPANION:
                yield from self._companions(inside, names)
            elif name == paths.RENDER:
                yield from self._renders(place)
            elif not paths.is_ignored(name):
                yield from self._folder(place)

    # Files beside people's own.

    def _json(self, inside: str, name: str, names: dict[str, os.DirEntry[str]]) -> Iterator[Problem]:
        place = paths.join(inside, name)
        if name == paths.PROJECT_FILE:
            if inside and "/" not in inside:
                record = yield from self._read(place)
                yield from self._newer(place, record)
            return
        if paths.is_ignored(name) or place == paths.SHARE_MARKER:
            return
        subject = name.removesuffix(".json")
        companion = self.share.root / inside / paths.COMPANION / subject
        if subject in names or ("@" in subject and self._has_frames(subject, names)):
            record = yield from self._read(place)
            if record is not None:
                yield from self._newer(place, record)
                yield from self._uuid(paths.join(inside, subject), record)
            return
        try:
            record = sidecar.parse(files.read_bounded(self.share.root / place, sidecar.MAX_BYTES)[0], place)
        except (OSError, CroftError):
            record = None  # a file of a person's own, unless a companion says that it was a sidecar
        if companion.is_dir() or (record is not None and len(_SIDECAR_KEYS & record.keys()) >= 2):
            yield self._problem(
                "missing", paths.join(inside, subject), f"{subject} is gone; its sidecar is still there.",
                "Put the file back, or delete the asset on its page.",
            )  # fmt: skip
            if record is None:
                yield from self._read(place)

    def _has_frames(self, key: str, names: dict[str, os.DirEntry[str]]) -> bool:
        return any((paths.sequence_key(name) or ("",))[0] == key for name in names)

    def _uuid(self, place: str, record: dict[str, Any]) -> Iterator[Problem]:
        uuid = record.get("uuid")
        if not isinstance(uuid, str) or not uuid:
            return
        first = self.uuids.setdefault(uuid, place)
        if first != place:
            yield self._problem(
                "uuid", place, f"It holds the same uuid as {first}: one is a copy.",
                "Start Croft: the copy gets a uuid of its own.",
            )  # fmt: skip

    def _clashes(self, inside: str, names: Iterable[str]) -> Iterator[Problem]:
        """Names that Windows and macOS take for one."""
        seen: dict[str, str] = {}
        for name in sorted(names):
            other = seen.setdefault(name.casefold(), name)
            if other != name:
                yield self._problem(
                    "case", paths.join(inside, name),
                    f"{name} and {other} differ in upper and lower case alone: Windows shows one of them.",
                    "Rename one.",
                )  # fmt: skip

    def _link(self, place: str) -> Iterator[Problem]:
        try:
            self.share.path(place)
        except NotFound:
            yield self._problem(
                "link", place, "It is a link that leads outside the share: Croft doesn't follow it.",
                "Copy what it leads to onto the share, or delete it.",
            )  # fmt: skip

    def _leftover(self, place: str, entry: os.DirEntry[str]) -> Iterator[Problem]:
        try:
            age_s = self.now - entry.stat(follow_symlinks=False).st_mtime
        except OSError:
            return  # Race: whoever wrote it has finished.
        if age_s > FRESH_S:
            yield self._problem(
                "leftover", place, "A temporary file that a crash left behind.", "It may be deleted."
            )

    # What Croft keeps.

    def _companions(self, inside: str, beside: dict[str, os.DirEntry[str]]) -> Iterator[Problem]:
        base = paths.join(inside, paths.COMPANION)
        found = self._list(base)
        if isinstance(found, Problem):
            yield found
            return
        yield from self._rights(base)
        for entry in sorted(found, key=lambda entry: entry.name):
            if not entry.is_dir(follow_symlinks=False):
                continue
            subject, place = entry.name, paths.join(base, entry.name)
            known = subject in beside or subject + ".json" in beside or subject == paths.PROJECT_FILE
            if not known and not ("@" in subject and self._has_frames(subject, beside)):
                yield self._problem(
                    "missing", paths.join(inside, subject),
                    f"{subject} is gone; what Croft knew of it lies in {place}.",
                    "Put the file back, or move that folder to old/ when nobody misses it.",
                )  # fmt: skip
            yield from self._companion(place)

    def _companion(self, place: str) -> Iterator[Problem]:
        yield from self._rights(place)
        found = self._list(place)
        if isinstance(found, Problem):
            yield found
            return
        for entry in sorted(found, key=lambda entry: entry.name):
            inside = paths.join(place, entry.name)
            if entry.name.startswith(files.TEMPORARY):
                yield from self._leftover(inside, entry)
            elif entry.name == "file.json":
                record = yield from self._read(inside)
                yield from self._newer(inside, record)
            elif entry.name.startswith("history.") and entry.name.endswith(".jsonl"):
                yield from self._journal(inside)
            elif entry.name in ("notes", "versions") and entry.is_dir(follow_symlinks=False):
                for at, _, names in os.walk(self.share.root / inside):
                    for name in sorted(names):
                        where = paths.join(os.path.relpath(at, self.share.root), name)
                        if name.endswith(".json"):
                            yield from self._read(where)
            elif entry.name == "jobs" and entry.is_dir(follow_symlinks=False):
                for job in sorted(_names(self.share.root / inside)):
                    yield from self._job(paths.join(inside, job), job)

    def _job(self, place: str, ident: str) -> Iterator[Problem]:
        folder = self.share.root / place
        if not folder.is_dir():
            return
        yield from self._rights(place)
        first = self.jobs.setdefault(ident, place)
        if first != place:
            yield self._problem(
                "job", place, f"The job {ident} lies in {first} too: one is a copy.",
                "Nothing runs twice. Delete the copy if it isn't wanted as history.",
            )  # fmt: skip
        names = _names(folder)
        record = None
        if "job.json" not in names:
            yield self._problem(
                "job",
                place,
                "The job has no job.json: nobody knows what was asked.",
                "Copy the folder back from a backup, or delete it.",
            )
        else:
            request = paths.join(place, "job.json")
            record = yield from self._read(request)
            yield from self._newer(request, record)
            readable = record is not None and sidecar.schema_of(record) <= sidecar.SCHEMA
            why = self.judge(folder) if readable else ""
            if why:
                text = f"This request can't be trusted: {why}. Nothing is done with it."
                yield self._problem("job", request, text, "Copy the job's folder back from a backup.")
        if "journal.jsonl" in names:
            events = yield from self._journal(paths.join(place, "journal.jsonl"))
            yield from self._frames(place, record or {}, events)
        if "result.json" in names:
            result = yield from self._read(paths.join(place, "result.json"))
            if result is not None and not self._sums_up(result, folder / "journal.jsonl"):
                yield self._problem(
                    "result", paths.join(place, "result.json"),
                    "It is not the sum of the journal beside it (one of them was restored).",
                    "It is ignored, the journal counts. It may be deleted.",
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

    def _journal(self, place: str) -> Generator[Problem, None, list[dict[str, Any]]]:
        """Yields what is wrong, returns the events."""
        mend = "Copy it back from a backup if that has them; else nothing needs doing."
        try:
            events, end, bad = Journal(self.share.root / place).read()
            torn = os.path.getsize(self.share.root / place) > end
        except (CroftError, OSError) as error:
            yield self._problem("journal", place, f"It can't be read: {error}", "Copy it back from a backup.")
            return []
        if bad or torn:
            text = f"{_count(bad + torn, 'line')} can't be read, as after a power cut; all others count."
            yield self._problem("journal", place, text, mend)
        return events

    def _frames(self, place: str, record: dict[str, Any], events: list[dict[str, Any]]) -> Iterator[Problem]:
        """What the job's attempts delivered: there, and as long as it was when it was accepted."""
        inside = record.get("folder")
        if not isinstance(inside, str) or not _is_plain(inside):
            return
        version = paths.join(paths.folder_of(paths.file_of_companion(place)), inside)
        folder = self.share.root / version
        if not folder.is_dir() or not os.path.isfile(f"{folder}.json"):
            return  # told with the version's sidecar; without one, somebody has done away with it
        sizes: dict[str, object] = {}
        for event in events:
            outputs = event.get("outputs") if event.get("event") == "done" else None
            for output in outputs if isinstance(outputs, list) else ():
                if isinstance(output, dict) and isinstance(output.get("path"), str):
                    sizes[output["path"]] = output.get("size")
        yield from self._compare(version + ".json", folder, sizes)

    # Versions.

    def _renders(self, inside: str) -> Iterator[Problem]:
        for stem in sorted(_names(self.share.root / inside)):
            place = paths.join(inside, stem)
            if stem == paths.COMPANION or not (self.share.root / place).is_dir():
                continue
            found = self._list(place)
            if isinstance(found, Problem):
                yield found
                continue
            for entry in sorted(found, key=lambda entry: entry.name):
                name = entry.name
                if entry.is_symlink():
                    yield from self._link(paths.join(place, name))
                elif name.endswith(".json") and paths.version_number(name) is not None:
                    record = yield from self._read(paths.join(place, name))
                    if record is not None:
                        yield from self._newer(paths.join(place, name), record)
                        yield from self._outputs(paths.join(place, name), record)
                elif name.startswith(files.TEMPORARY):
                    yield from self._leftover(paths.join(place, name), entry)

    def _outputs(self, place: str, record: dict[str, Any]) -> Iterator[Problem]:
        """The version's files: there, and as long as they were when they were accepted."""
        folder = self.share.root / place.removesuffix(".json")
        if not folder.is_dir():
            yield self._problem(
                "version", place, f"The version's folder {folder.name} is gone.",
                "Copy it back from a backup, or delete its sidecar.",
            )  # fmt: skip
            return
        outputs = record.get("outputs")
        sizes: dict[str, object] = {}
        for output in outputs if isinstance(outputs, list) else ():
            facts = output if isinstance(output, dict) else {"name": output}
            name = facts.get("path", facts.get("name"))
            if isinstance(name, str) and "#" not in name:  # frames are compared with their job's journal
                sizes[name] = facts.get("size")
        yield from self._compare(place, folder, sizes)

    def _compare(self, place: str, folder: Path, sizes: dict[str, object]) -> Iterator[Problem]:
        """One problem for all files of a version that aren't as they should be."""
        gone, other = [], []
        for name, size in sizes.items():
            if not _is_plain(name):
                continue
            try:
                there = os.stat(folder / name).st_size
            except OSError:
                gone.append(name)
            else:
                if isinstance(size, int) and size != there:
                    other.append(f"{name} ({there} bytes instead of {size})")
        for names, words in ((gone, "gone"), (other, "of another length than when accepted")):
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                yield self._problem(
                    "version",
                    place,
                    f"Of its {_count(len(sizes), 'file')} {len(names)} {'is' if len(names) == 1 else 'are'} "
                    f"{words}: {', '.join(names[:3])}{more}.",
                    "Copy them back from a backup, or render them again.",
                )

    # Parts.

    def _read(self, place: str) -> Generator[Problem, None, dict[str, Any] | None]:
        """A generator that yields what is wrong and returns the record, if there is one."""
        path = self.share.root / place
        try:
            raw, _ = files.read_bounded(
                path, RECORD_BYTES if "/.croft/" in f"/{place}" else sidecar.MAX_BYTES
            )
            return sidecar.parse(raw, path)
        except FileNotFoundError:
            return None  # Race: it was moved after the listing.
        except OSError as error:
            why = "it is a link" if error.errno == errno.ELOOP else str(error.strerror)
        except Broken as error:
            why = str(error.why)
        yield self._broken(place, why)
        return None

    def _broken(self, place: str, why: str) -> Problem:
        return self._problem(
            "broken", place, f"It can't be read: {why}.",
            "Correct it in a text editor, or copy it back from a backup. Until then Croft only shows it.",
        )  # fmt: skip

    def _newer(self, place: str, record: dict[str, Any] | None) -> Iterator[Problem]:
        schema = sidecar.schema_of(record or {})
        if schema > sidecar.SCHEMA:
            yield self._problem(
                "newer", place, f"A newer Croft wrote it (schema {schema}): this one only reads it.",
                "Bring this Croft up to date.",
            )  # fmt: skip

    def _rights(self, place: str) -> Iterator[Problem]:
        """Croft's own folders must be the group's, or students can't move or delete them over Samba."""
        path = self.share.root / place
        try:
            st, above = os.stat(path), os.stat(path.parent)
        except OSError:
            return
        if not st.st_mode & stat.S_IWGRP and above.st_mode & stat.S_IWGRP:
            yield self._problem(
                "rights", place, "Its group may not write to this folder: only Croft can move or delete it.",
                f"chmod -R g+rwX '{path}'",
            )  # fmt: skip

    def _list(self, inside: str) -> list[os.DirEntry[str]] | Problem:
        try:
            with os.scandir(self.share.root / inside) as entries:
                return list(entries)
        except OSError as error:
            return self._problem(
                "unreadable",
                inside,
                f"The folder can't be listed: {error.strerror}.",
                "Mend its rights or its disk.",
            )

    def _problem(self, kind: str, inside: str, text: str, mend: str) -> Problem:
        address = paths.address(self.share.name, inside)
        return Problem(f"{kind}:{address}", kind, address, text, mend)


def _is_plain(inside: str) -> bool:
    """Whether a path that a file names stays in the folder that it is meant for."""
    try:
        paths.check_inside(inside)
    except CroftError:
        return False
    return bool(inside)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
