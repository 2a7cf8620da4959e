"""A job's files on its share: `job.json`, `journal.jsonl`, `result.json`, `logs/`, its outputs.

Everything that changes a journal happens under the job's file lock, which the caller holds. What was
read is folded into the `Job`; a journal that a restore put back to an earlier time is noticed here
(`Seen.BACKWARDS`), as is a folder that is gone.
"""

from __future__ import annotations

import enum
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.disk import encoding, files, paths
from server.disk.errors import CroftError, NotFound, Restored
from server.disk.journal import Journal
from server.disk.speech import say
from server.farm.jobs import snapshots, states
from server.farm.jobs.attempts import Claim, split_attempt
from server.farm.jobs.fold import replay
from server.farm.jobs.job import Event, Job
from server.farm.jobs.logs import Logs
from server.farm.jobs.record import JOURNAL, LOGS, RECORD, RESULT, SCHEMA, SNAPSHOT
from server.library import versions


class Seen(enum.Enum):
    """What a look at the journal found."""

    SAME = "same"
    MORE = "more"
    AGAIN = "again"  # another file, or read anew after a failure, saying at least as much
    BACKWARDS = "backwards"  # another file that knows less than we did
    GONE = "gone"  # the job's folder isn't there


class Reach:
    """How far a job had come, to tell a restore to an earlier time from a copy of the same."""

    def __init__(self, job: Job) -> None:
        self.events = job.events
        self.latest = job.latest[:]

    def reached_by(self, job: Job) -> bool:
        if job.events < self.events:
            return False
        return all(now >= then for now, then in zip(job.latest, self.latest, strict=True))


class Place:
    """Where one job lies. Used by one thread at a time, the one that holds the job's lock."""

    def __init__(
        self, job: Job, share: paths.Share, disk: files.Os = files.REAL, *, local: bool = False
    ) -> None:
        """`local`: its disk is this machine's own (`Journal`)."""
        self.job = job
        self.share = share
        self.folder = share.root / paths.parse(job.folder)[1]
        self.asset_folder = share.root / paths.parse(job.home)[1]
        inside = job.record.get("folder")
        # The version folder that nodes write into; None for jobs that write where the scene says.
        self.outputs: Path | None = self.asset_folder / inside if inside else None
        self._disk = disk
        self._journal = Journal(self.folder / JOURNAL, disk, local=local)
        self.logs = Logs(self.folder / LOGS, self.folder, disk)
        self._moved: set[str] = set()  # temporary names of outputs renamed since the journal was written
        self.renamed: set[Path] = set()  # folders in which something was, and that weren't flushed since
        self.offset = 0
        self._stale = False
        self.bad = 0
        self._glimpse = (-1, -1)
        self._judged: tuple[tuple[int, int, int], str] = ((0, 0, 0), "")
        self.known: Reach | None = None  # how far it had come when its folder was seen last
        self.restored = False  # it went backwards, and no person has resumed it since

    @property
    def snapshot(self) -> Path | None:
        """The copy of the scene that is rendered, beside the scene."""
        name = self.job.record.get("snapshot")
        return self.asset_folder / name if name else None

    @property
    def kept_snapshot(self) -> Path | None:
        """Where the snapshot stays once the job has ended."""
        beside = self.snapshot
        return self.folder / (SNAPSHOT + "".join(beside.suffixes[-1:])) if beside is not None else None

    def why_closed(self) -> str:
        """Why its version takes no more frames: it is approved. "" while it may. Asks the disk each time, and
        reads where that has another answer than before, so that it holds whoever approved it."""
        if self.outputs is None:
            return ""
        path = f"{self.outputs}.json"
        try:
            st = os.stat(path)
        except OSError:
            return ""
        state = (st.st_mtime_ns, st.st_size, st.st_ino)
        if self._judged[0] != state:
            try:
                approved = bool(versions.read(Path(path)).get("approved"))
            except CroftError:
                return self._judged[1]  # somebody is editing it by hand
            self._judged = (state, versions.why_closed(self.outputs.name) if approved else "")
        return self._judged[1]

    # -- the journal ----------------------------------------------------------------------------------

    def catch_up(self) -> Seen:
        """Fold in what others have appended. Under the job's lock."""
        if self._stale:
            self._read_again()
            self._stale = False
            return self._judge(Seen.AGAIN)
        try:
            events, self.offset, bad = self._journal.read(self.offset)
        except Restored:
            if not (self.folder / RECORD).exists():
                return Seen.GONE
            self.known = Reach(self.job)
            self._read_again()
            return self._judge(Seen.AGAIN)
        self.bad += bad
        if events:
            replay(self.job, events)
            return self._judge(Seen.MORE)
        if not self.offset and not (self.folder / RECORD).exists():
            return Seen.GONE
        return self._judge(Seen.SAME)

    def _judge(self, seen: Seen) -> Seen:
        """A journal that knows less than we did was put back from a backup. While files are still being
        copied it is read again and again; the verdict stays until a person resumes the job."""
        behind = self.known is not None and not self.known.reached_by(self.job)
        self.known = None
        if behind:
            self.restored = True
        return Seen.BACKWARDS if behind or (self.restored and seen is Seen.AGAIN) else seen

    def stirred(self) -> bool:
        """Does the journal look as if somebody else wrote to it? Without the lock, and cheap."""
        try:
            st = os.stat(self.folder / JOURNAL)
        except OSError:
            return True
        return (st.st_size, st.st_ino) != self._glimpse

    def glimpse(self) -> None:
        """Remember how the journal looks now that it is read."""
        try:
            st = os.stat(self.folder / JOURNAL)
            self._glimpse = (st.st_size, st.st_ino)
        except OSError:
            self._glimpse = (-1, -1)

    def _read_again(self) -> None:
        """Read all of it, keeping the deadlines of claims that are still out."""
        claims = {claim.attempt: claim for claim in self.job.claims.values()}
        # The same Journal: it knows which bytes a flush has failed to bring to the disk.
        events, self.offset, self.bad = self._journal.read(0)
        self.job.reset()
        replay(self.job, events)
        for claim in self.job.claims.values():
            _keep_lease(claim, claims.get(claim.attempt))

    def append(self, events: list[Event]) -> None:
        """Write what was decided (and applied to the job already). After a failure the job is read anew."""
        try:
            self.offset = self._journal.append(events, expect=self.offset)
        except BaseException:
            self._stale = True
            raise
        self._moved.clear()
        self._glimpse = self._journal.looks

    def forget(self) -> None:
        """What was applied isn't written: read the journal anew at the next look."""
        self._stale = True

    def sync(self) -> None:
        """Make what was appended last."""
        self._journal.sync()

    @property
    def durable(self) -> bool:
        """Is nothing left for `sync` to do?"""
        return self._journal.durable

    def vouch(self) -> None:
        """Somebody is about to hear that an event is durable that we may only have read."""
        self._journal.vouch()

    def close(self) -> None:
        """Let go of the file; it is opened again when needed."""
        self._journal.close()

    # -- outputs --------------------------------------------------------------------------------------

    def check_outputs(self, attempt: str, outputs: object, some: bool = True) -> str:
        """Why these outputs can't be taken; "" when each is whole, under its temporary or its final name.
        `some`: the task must have made something."""
        folder = self.outputs
        if folder is None:
            return ""
        if not isinstance(outputs, list) or (some and not outputs):
            return "the node wrote nothing"
        taken: set[str] = set()
        for output in outputs:
            why = _check_names(attempt, output)
            if why:
                return why
            name = output["path"]
            if name in taken:
                return f"two outputs are called {name}"
            taken.add(name)
            if _whole(f"{folder}/{output['temp']}", output):
                continue
            if self._may_lie_there(attempt, output) and _whole(self.target(folder, output), output):
                continue
            return f"{name} is not there with the size that the node told"
        return ""

    def _may_lie_there(self, attempt: str, output: dict[str, Any]) -> bool:
        """Can what lies under the final name be this attempt's? It is where the server fell, or its disk
        failed, between the renaming and the journal, or where a chunk's frame was told before. Of a task
        that was asked for again an older picture lies there, often of the same size. Clocks of servers and
        storage differ, so its times don't count: where we don't know, it is rendered once more."""
        found = split_attempt(attempt)
        job = self.job
        if found is None or not job.redone[found[1]] or output["temp"] in self._moved:
            return True
        if job.stage_of(found[1]) is not job.chunked:
            return False
        frame = output.get("frame")
        return output.get("kind") == "preview" or (
            isinstance(frame, int) and frame in job.frames and job.there[job.frames.index(frame)] == 1
        )

    def take_outputs(self, outputs: list[dict[str, Any]]) -> None:
        """Rename an accepted attempt's outputs to their names. One whose temporary name is gone was taken
        before (the server fell between renaming and the journal): what it is called now was checked."""
        folder = self.outputs
        if folder is None:
            return
        self.renamed.add(folder)
        for output in outputs:
            target = self.target(folder, output)
            if output.get("kind") == "video":
                self.renamed.add(folder.parent)
            elif output.get("kind") == "preview":
                files.make_folders(Path(target).parent, folder, disk=self._disk)
            try:
                self._disk.replace(f"{folder}/{output['temp']}", target)
                self._moved.add(output["temp"])
            except FileNotFoundError:
                if not os.path.exists(target):
                    raise NotFound("{path} is gone.", path=target) from None
            except OSError as error:
                files.fail(error, target)

    def own_outputs(self, attempt: str, outputs: object) -> list[dict[str, Any]]:
        """What a node has put where the scene itself says, as far as it really lies there. Nobody's frame
        fails by it; previews go with the thumbnails."""
        folder = self._scene_outputs()
        if folder is None or not isinstance(outputs, list):
            return []
        found: list[dict[str, Any]] = []
        for output in outputs:
            if _check_names(attempt, output):
                continue
            if output.get("kind") == "preview":
                target = preview_path(folder, output["path"])
                try:
                    files.make_folders(target.parent, folder, disk=self._disk)
                    self._disk.replace(folder / output["temp"], target)
                except (OSError, CroftError):
                    pass  # a frame without a preview is still a frame
            elif _whole(f"{folder}/{output['path']}", output):
                found.append(output)
        return found

    def target(self, folder: Path, output: dict[str, Any]) -> str:
        """Where an output belongs: frames into the version's folder, its video beside that, previews with the
        thumbnails. Parts that later stages put together keep out of people's sight."""
        name, kind = output["path"], output.get("kind")
        if kind == "preview":
            return str(preview_path(folder, name))
        if kind == "video":
            return str(video_path(folder, name))
        if kind == "part":
            return f"{folder}/.{self.job.id}.part.{name}"
        return f"{folder}/{name}"

    def sync_folders(self) -> None:
        """Make the renames last. What a failure here undoes is asked again, and renamed again."""
        while self.renamed:
            files.sync_folder(self.renamed.pop(), self._disk)

    def drop_outputs(self, attempt: str, outputs: object) -> None:
        """Delete what a refused attempt wrote, under its own temporary names alone."""
        folder = self.outputs
        if folder is None or not isinstance(outputs, list):
            return
        for output in outputs:
            if not _check_names(attempt, output):
                try:
                    self._disk.unlink(folder / output["temp"])
                except OSError:
                    pass  # gone already, or swept up when the job ends

    def sweep(self) -> int:
        """Delete what dead attempts of this job left where its outputs go. Once it has ended."""
        folder, count = self.outputs or self._scene_outputs(), 0
        if folder is None:
            return 0
        try:
            names = [entry.name for entry in os.scandir(folder) if entry.name.startswith(f".{self.job.id}.")]
        except OSError:
            return 0
        for name in names:
            if name.startswith(f".{self.job.id}.part."):
                if self.job.state == states.DONE:  # put together, and not needed any more
                    self._disk.unlink(folder / name)
                continue
            attempt = split_attempt(".".join(name[1:].split(".")[:4]))
            if attempt is None or self.job.held(*attempt[1:]) is not None:
                continue  # Race: somebody asked for the frame again, and a node is at it already.
            try:
                self._disk.unlink(folder / name)
                count += 1
            except OSError:
                pass  # a node writes it just now; the purge finds it
        return count

    def _scene_outputs(self) -> Path | None:
        """The folder that the scene itself writes to, where it lies on the job's share."""
        writes = self.job.record.get("writes")
        if not isinstance(writes, str) or not writes:
            return None
        try:
            share, inside = paths.parse(writes)
        except CroftError:
            return None
        return self.share.root / inside if share == self.share.name else None

    # -- the end --------------------------------------------------------------------------------------

    def write_result(self, summary: dict[str, Any], length: int, digest: str) -> None:
        """The job's sum with the journal's length and hash: reading it needs no fold any more. Not flushed:
        one that a power cut tore isn't the journal's, and is made again."""
        data = {"schema": SCHEMA, **summary, "journal": {"length": length, "sha256": digest}}
        blob = encoding.dumps(data, indent=True) + b"\n"
        files.write_atomic(self.folder / RESULT, blob, disk=self._disk, flush=False)

    def hash_journal(self) -> tuple[int, str]:
        """Length and hash of the journal as it is now. Takes its time: under no lock."""
        digest, length = hashlib.sha256(), 0
        try:
            for chunk in _chunks(self.folder / JOURNAL):
                digest.update(chunk)
                length += len(chunk)
        except OSError as error:
            files.fail(error, self.folder / JOURNAL)
        return length, digest.hexdigest()

    def keep_snapshot(self) -> None:
        """Move the snapshot out of people's sight, into the job's folder. Its caches aren't kept."""
        beside, kept = self.snapshot, self.kept_snapshot
        if beside is not None and kept is not None:
            _move(beside, kept, self._disk)  # one that a power cut takes back is found there as well
            snapshots.drop_caches(beside, self._disk)

    def bring_snapshot(self) -> str:
        """Have the snapshot beside its scene. Why it can't be rendered any more; "" when it can."""
        beside, kept = self.snapshot, self.kept_snapshot
        if beside is None or kept is None:
            return ""
        if not beside.exists():
            if not kept.exists():
                return say("its snapshot is gone: submit the scene again")
            _move(kept, beside, self._disk)
            self.renamed.add(beside.parent)
        if not snapshots.has_caches(beside, self.job.record.get("caches")):
            return snapshots.LOST_CACHE
        return ""

    def bring_caches(self) -> None:
        """Before an ended job goes on: have its caches again. Takes its time, so under no lock."""
        beside = self.snapshot
        if beside is not None:
            name = paths.name_of(self.job.address)
            snapshots.bring_caches(name, beside, self.folder, self.job.record.get("caches"), self._disk)


def _keep_lease(claim: Claim, known: Claim | None) -> None:
    if known is not None:
        claim.deadline = known.deadline
        claim.reported = known.reported
        claim.foreign_since = known.foreign_since
        claim.resent = known.resent
        claim.progress = known.progress
        claim.line = known.line


def _whole(path: str, output: dict[str, Any]) -> bool:
    try:
        st = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISREG(st.st_mode) and st.st_size == output["size"] > 0


def _check_names(attempt: str, output: object) -> str:
    if not isinstance(output, dict):
        return "an output is no object"
    name, temp, size = output.get("path"), output.get("temp"), output.get("size")
    if not isinstance(name, str) or not isinstance(temp, str) or not isinstance(size, int):
        return "an output lacks its path, temp or size"
    if "/" in name or "\\" in name or "\0" in name or not name or name.startswith("."):
        return f"{name[:100]!r} is no name for an output"
    if temp != f".{attempt}.{name}":
        return f"{temp[:100]!r} is not this attempt's name for {name[:100]!r}"
    return ""


def video_path(folder: Path, name: str) -> Path:
    """Where the preview video of the version in `folder` lies: beside it, since a folder of frames is to
    hold nothing else."""
    return folder.with_name(folder.name + Path(name).suffix)


def preview_path(folder: Path, name: str) -> Path:
    """Where the preview `sh010.0001.exr.png` of the frame `sh010.0001.exr` lies."""
    return paths.companion_of(folder / name.removesuffix(".png")) / "thumbs" / "node.png"


def _move(source: Path, target: Path, disk: files.Os) -> None:
    """Rename within a share; copy, check and unlink where a pooled disk won't (EXDEV). Again is harmless."""
    try:
        disk.replace(source, target)
        if source.exists():  # both were the same file: nothing was done, says POSIX
            disk.unlink(source)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno != errno.EXDEV:
            files.fail(error, target)
        data = _Copy(source)
        data.into(target, disk)
        files.sync_folder(target.parent, disk)
        disk.unlink(source)


class _Copy:
    def __init__(self, source: Path) -> None:
        self.source = source

    def into(self, target: Path, disk: files.Os) -> None:
        aside = files.temporary(target.parent)
        fd = disk.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            for chunk in _chunks(self.source):
                files.write_all(fd, chunk, disk)
            files.share_with_group(fd, target.parent)
            disk.fsync(fd)
        except OSError as error:
            disk.unlink(aside)
            files.fail(error, target)
        finally:
            disk.close(fd)
        disk.replace(aside, target)


def _chunks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while chunk := file.read(files.COPY_BYTES):
            yield chunk
