"""Uploads on the disk: bytes that come chunk by chunk, each flushed and noted before it counts.

What counts is what `chunks.jsonl` says, so that neither `kill -9` nor a power cut leaves an offset that the
disk doesn't hold. Whoever writes holds the upload's lock; bodies were read and checked before.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server.disk import files
from server.disk.errors import CroftError
from server.disk.journal import Journal

from .record import CHUNKS, CONTENT

READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part that came whole: where it begins, how long it is, its CRC-32 (as zlib has it)."""

    at: int
    size: int
    crc: int

    @property
    def end(self) -> int:
        return self.at + self.size


def chunks(folder: Path) -> list[Chunk]:
    """What is there for sure, without a gap, from the beginning on."""
    try:
        events, _, _ = Journal(folder / CHUNKS).read()
        there = os.stat(folder / CONTENT).st_size
    except (CroftError, OSError):
        return []
    found: list[Chunk] = []
    end = 0
    for event in events:
        try:
            chunk = Chunk(int(event["at"]), int(event["size"]), int(event["crc"]))
        except (KeyError, TypeError, ValueError):
            continue
        if chunk.at == end and chunk.size > 0 and chunk.end <= there:
            found.append(chunk)
            end = chunk.end
    return found


def offset_of(found: list[Chunk]) -> int:
    return found[-1].end if found else 0


def append(folder: Path, chunk: Chunk, data: bytes, disk: files.Os) -> None:
    """Put a chunk behind what is there: on the disk when this returns. A failure leaves what was there."""
    path = folder / CONTENT
    try:
        fd = disk.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
        try:
            before = os.fstat(fd)
            if before.st_size > chunk.at:
                os.ftruncate(fd, chunk.at)  # the rest of a chunk that never counted
            if not before.st_size:
                files.share_with_group(fd, folder)
            os.lseek(fd, chunk.at, os.SEEK_SET)
            try:
                files.write_all(fd, data, disk)
                disk.fsync(fd)
            except OSError:
                os.ftruncate(fd, chunk.at)  # a full disk gets the room back
                raise
        finally:
            disk.close(fd)
        if not chunk.at:
            files.sync_folder(folder, disk)
    except OSError as error:
        files.fail(error, path)
    journal = Journal(folder / CHUNKS, disk)
    try:
        journal.append([{"at": chunk.at, "size": chunk.size, "crc": chunk.crc}])
        journal.sync()
    finally:
        journal.close()


def begin_again(folder: Path, disk: files.Os) -> None:
    """Forget every byte: what came isn't what was sent. The note goes first."""
    for name in (CHUNKS, CONTENT):
        try:
            disk.unlink(folder / name)
        except FileNotFoundError:
            pass
        except OSError as error:
            files.fail(error, folder / name)


def digest(folder: Path, found: list[Chunk], stopped: Callable[[], bool] = lambda: False) -> str:
    """SHA-256 of the content as the disk gives it back; '' if a chunk isn't what came, or it was stopped."""
    whole = hashlib.sha256()
    try:
        fd = os.open(folder / CONTENT, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return whole.hexdigest() if not found else ""
    try:
        for chunk in found:
            crc, at = 0, chunk.at
            while at < chunk.end:
                part = os.pread(fd, min(READ_BYTES, chunk.end - at), at)
                if not part or stopped():
                    return ""
                whole.update(part)
                crc = zlib.crc32(part, crc)
                at += len(part)
            if crc != chunk.crc:
                return ""
    finally:
        os.close(fd)
    return whole.hexdigest()


def digest_of(
    path: Path, chunk_bytes: int = 8 << 20, stopped: Callable[[], bool] = lambda: False
) -> tuple[str, list[Chunk]]:
    """SHA-256 of any file and its parts as a browser would send them; '' if it can't be read, or changed
    meanwhile."""
    whole = hashlib.sha256()
    chunks: list[Chunk] = []
    try:
        with open(path, "rb", buffering=0) as file:
            before, at = os.fstat(file.fileno()), 0
            while part := file.read(READ_BYTES):
                if stopped():
                    return "", []
                whole.update(part)
                while part:
                    last = chunks[-1] if chunks and chunks[-1].size < chunk_bytes else Chunk(at, 0, 0)
                    taken = part[: chunk_bytes - last.size]
                    if last.size:
                        chunks.pop()
                    chunks.append(Chunk(last.at, last.size + len(taken), zlib.crc32(taken, last.crc)))
                    at, part = at + len(taken), part[len(taken) :]
            after = os.fstat(file.fileno())
    except OSError:
        return "", []  # gone, or not ours to read
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    return (whole.hexdigest(), chunks) if same else ("", [])
