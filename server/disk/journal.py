"""An append-only file of events, one JSON object a line.

Read and appended under the lock of what it belongs to. An append is one write; an event counts once
`sync` returned. Torn and other bad lines are skipped and counted; nothing is ever truncated. A restore may
put another file in its place at any time: reading on from where one was then raises `Restored`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from server.disk import files
from server.disk.errors import NotFound, Restored, broken

MAX_BYTES = 1 << 30  # a job of 100,000 frames writes about 30 MB
MAX_LINE = 1 << 20
READ_BYTES = 4 << 20  # at a time
TAIL = 64  # bytes before one's place that must be the same when one reads on


class Journal:
    """One journal. Not for several threads at once: who holds its lock uses it.

    `local`: what the kernel says of the file is so. A network mount must open it to hear of others' lines.
    """

    def __init__(self, path: Path, disk: files.Os = files.REAL, *, local: bool = False) -> None:
        self.path = path
        self._disk = disk
        self._local = local
        self._fd = -1
        self._opened = (0, 0)  # device and inode of what is open
        self._identity: tuple[int, int] | None = None  # device and inode of what was read or written last
        self._tail = b""  # what stood before `_tail_end` there
        self._tail_end = 0
        self._unsynced: int | None = None  # where bytes begin that no successful flush has covered
        self._failed = False  # the last flush did: the kernel may take those bytes for written now
        self._foreign = False  # it holds lines that were read, not written: who wrote them may have fallen

    def read(self, offset: int = 0) -> tuple[list[dict[str, Any]], int, int]:
        """Events from `offset` on, the offset to read on from, and how many lines were bad.

        A last line without its newline is left for the next read, unless it is whole. No file is no
        events. Restored when `offset` is in a file that is no longer there.
        """
        if offset and self._local and self._fd >= 0 and self._is_as_left(offset):
            return [], offset, 0
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            if offset:
                raise self._restored() from None
            self._identity, self._tail, self._tail_end = None, b"", 0
            return [], 0, 0
        except OSError as error:
            raise broken(self.path, str(error.strerror)) from error
        try:
            return self._read(fd, offset)
        except OSError as error:
            raise broken(self.path, str(error.strerror)) from error
        finally:
            os.close(fd)

    def last(self, size_bytes: int) -> list[dict[str, Any]]:
        """The events of the last so many bytes, for who only shows them. Any file may be there: a hostile
        one costs no more."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                start = max(0, os.fstat(fd).st_size - size_bytes)
                raw = os.pread(fd, size_bytes, start)
            finally:
                os.close(fd)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise broken(self.path, str(error.strerror)) from error
        events: list[dict[str, Any]] = []
        _decode(raw.split(b"\n")[1 if start else 0 :], events)  # the first is a part of a line
        return events

    def append(self, events: Iterable[Mapping[str, Any]], *, expect: int | None = None) -> int:
        """Add events in one write, under the lock. Returns the offset after them; `sync` makes them last.

        `expect` is the offset that the caller has read up to: Restored when the file ends elsewhere. After
        any exception the caller must read again: a part of what it gave may stand there.
        """
        blob = b"".join(_encode(event) + b"\n" for event in events)
        try:
            st = self._open()
            size = st.st_size
            if expect is not None and size != expect and not self._only_torn(expect, size):
                raise self._restored()
            if not blob:
                return size
            if size and self._last_byte(size) != b"\n":
                blob = b"\n" + blob  # a torn line stays, as a bad line of its own
            if self._unsynced is None:
                self._unsynced = size
            files.write_all(self._fd, blob, self._disk)
        except OSError as error:
            files.fail(error, self.path)
        end = size + len(blob)
        self._identity = (st.st_dev, st.st_ino)
        self._tail, self._tail_end = blob[-TAIL:], end
        return end

    def sync(self) -> None:
        """Flush. When this returns, what was appended survives a power cut."""
        if self._unsynced is None:
            return
        try:
            if self._fd < 0:
                self._open()  # closed since: what was appended before isn't on the disk for that
            if self._failed:
                self._dirty_again()
            self._disk.fdatasync(self._fd)
        except OSError as error:
            self._failed = True
            files.fail(error, self.path)
        self._unsynced = None
        self._failed = self._foreign = False

    @property
    def durable(self) -> bool:
        """Is nothing left for `sync` to do?"""
        return self._unsynced is None

    def vouch(self) -> None:
        """Have the next `sync` flush what others appended, too: before we say that it is there to stay."""
        if self._foreign and self._unsynced is None:
            self._unsynced = 0

    @property
    def looks(self) -> tuple[int, int]:
        """Size and inode after the last `append`, as a `stat` would say them."""
        return self._tail_end, self._opened[1]

    def changed(self, offset: int) -> bool:
        """True when the file isn't the one read up to `offset`, or is shorter: read from the start."""
        try:
            self.read(offset)
        except Restored:
            return True
        return False

    def close(self) -> None:
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1

    def _read(self, fd: int, offset: int) -> tuple[list[dict[str, Any]], int, int]:
        st = os.fstat(fd)
        size = min(st.st_size, MAX_BYTES)
        identity = (st.st_dev, st.st_ino)
        if offset:
            if identity != self._identity or size < offset:
                raise self._restored()
            known = self._tail if self._tail_end == offset else b""
            if known and os.pread(fd, len(known), offset - len(known)) != known:
                raise self._restored()  # overwritten in place, as `cp` does
        events: list[dict[str, Any]] = []
        bad, rest, place = 0, b"", offset
        while place < size:
            chunk = os.pread(fd, min(READ_BYTES, size - place), place)
            if not chunk:
                break
            place += len(chunk)
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            bad += _decode(lines, events)
            if len(rest) > MAX_LINE:
                rest = rest[:1]  # no line of ours: counted as bad when its end comes
        if rest and _whole(rest):
            _decode([rest], events)
            rest = b""
        end = place - len(rest)
        self._foreign = self._foreign or bool(events)
        if offset == 0 or end != offset:
            start = max(0, end - TAIL)
            self._tail, self._tail_end = os.pread(fd, end - start, start), end
        self._identity = identity
        return events, end, bad

    def _is_as_left(self, offset: int) -> bool:
        """Whether nothing was written since, and nothing else put in its place: with two system calls
        instead of four, since this is asked of every job in every commit."""
        tail = self._tail
        if self._tail_end != offset or self._opened != self._identity:
            return False
        try:
            st = os.stat(self.path, follow_symlinks=False)
            return (
                (st.st_dev, st.st_ino) == self._opened
                and st.st_size == offset
                and os.pread(self._fd, len(tail), offset - len(tail)) == tail
            )
        except OSError:
            return False

    def _open(self) -> os.stat_result:
        """The stat of the file of our name, which `_fd` then is. Made where it is missing."""
        try:
            st = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            st = None
        if self._fd >= 0:
            if st is not None and self._opened == (st.st_dev, st.st_ino):
                return st
            # A restore put another file here, or took it away: what we have open is nobody's any more.
            self.close()
            self._unsynced, self._failed = None, False
        flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW
        if st is None:
            if self._identity is not None:
                raise self._restored()
            try:
                self._fd = self._disk.open(self.path, flags | os.O_CREAT)
            except FileNotFoundError as error:
                raise NotFound("The folder of {path} is gone.", path=str(self.path)) from error
            files.share_with_group(self._fd, self.path.parent)
            files.sync_folder(self.path.parent, self._disk)
        else:
            self._fd = self._disk.open(self.path, flags)
        st = os.fstat(self._fd)
        self._opened = (st.st_dev, st.st_ino)
        return st

    def _only_torn(self, expect: int, size: int) -> bool:
        """Whether nothing but a torn line stands after `expect`."""
        if not expect < size <= expect + MAX_LINE:
            return False
        rest = os.pread(self._fd, size - expect, expect)
        return b"\n" not in rest and not _whole(rest)

    def _last_byte(self, size: int) -> bytes:
        if size == self._tail_end and self._tail:
            return self._tail[-1:]
        return os.pread(self._fd, 1, size - 1)

    def _dirty_again(self) -> None:
        """Write the bytes of a failed flush to their place once more.

        After a failed flush the kernel calls those pages clean, and the next flush succeeds without them.
        """
        begin = self._unsynced or 0
        fd = self._disk.open(self.path, os.O_RDWR | os.O_NOFOLLOW)  # O_APPEND would move the write to the end
        try:
            ours, there = os.fstat(self._fd), os.fstat(fd)
            if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
                raise self._restored()
            place = begin
            while chunk := os.pread(fd, READ_BYTES, place):
                os.pwrite(fd, chunk, place)
                place += len(chunk)
            self._disk.fdatasync(fd)
        finally:
            self._disk.close(fd)

    def _restored(self) -> Restored:
        return Restored(
            "{path} is not the file it was (a restore?): it is read again from its start.",
            path=str(self.path),
        )


def united(one: list[bytes], other: list[bytes]) -> list[bytes]:
    """The lines of two copies of one journal: each once, what both begin with first, then by their times.

    Lines of one side keep their order.
    """
    both = 0
    while both < min(len(one), len(other)) and one[both] == other[both]:
        both += 1
    left, right = one[both:], [line for line in other[both:] if line not in set(one)]
    found = one[:both]
    while left and right:
        found.append(left.pop(0) if _at(left[0]) <= _at(right[0]) else right.pop(0))
    return [*found, *left, *right]


def _at(line: bytes) -> str:
    event = _loads(line)
    return str(event.get("at", "")) if isinstance(event, dict) else ""


def _encode(event: Mapping[str, Any]) -> bytes:
    """One line. Numbers beyond 64 bits and names that aren't UTF-8 are for the slower writer."""
    try:
        return orjson.dumps(event)
    except TypeError:
        return json.dumps(event).encode("ascii")


def _decode(lines: list[bytes], events: list[dict[str, Any]]) -> int:
    """Append what these lines say to `events`; how many said nothing."""
    bad = 0
    for line in lines:
        if not line or line.isspace():
            continue
        event = None
        if len(line) <= MAX_LINE:
            try:
                event = orjson.loads(line)
            except ValueError:
                event = _loads(line)  # escaped lone surrogates are JSON, too
        if isinstance(event, dict):
            events.append(event)
        else:
            bad += 1
    return bad


def _whole(line: bytes) -> bool:
    """Whether a line without its newline is an object all the same (a person's editor leaves it off)."""
    return isinstance(_loads(line), dict)


def _loads(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
