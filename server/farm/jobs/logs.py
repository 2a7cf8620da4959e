"""What attempts of one job said, kept in `logs/` of its folder, limited in size.

A failed attempt has a file, `<task>.<attempt>.txt`. The others are packed: `done.<site>.log.gz` is one gzip
member after the other, each beginning with a line that says whose it is, so that `zcat` reads it all;
`done.<site>.index` beside it has a line `<task>.<attempt> <position> <length>` for each. A pack that a crash
has torn is let be, and another one begun. The loss of a log loses no frame: nothing here raises.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.disk import files, paths
from server.disk.errors import CroftError
from server.farm.jobs.texts import Text

log = logging.getLogger("croft.farm")
SHORT_BYTES = 8 << 10  # of a failed attempt's last words, where the job's logs are full
MEMBER_BYTES = 2 << 20  # no attempt says more: the head, the tail and what the node says of a failure
INDEX_BYTES = 64 << 20
SCAN_BYTES = 256 << 20  # unpacked at most, where an index is missing
PACKS = 100
KEPT_ATTEMPTS = 200  # of a task that are looked for
_WHOSE = re.compile(rb"== task (\d+), attempt (\d+)[,\n ]")


@dataclass(slots=True)
class Said:
    """What an attempt said that is over: to be kept. `output`: what its node told at the end."""

    task: int
    attempt: int
    uuid: str
    failed: bool
    about: str  # for people who read the pack: which frame, whose, when
    output: Any = None
    words: str = ""  # why it failed, with the last lines
    text: Text | None = field(default=None)

    def gather(self) -> bytes:
        """All of it."""
        text = self.text or Text()
        for piece in self.output if isinstance(self.output, list) else ():
            if isinstance(piece, list) and len(piece) == 2:
                at, data = piece
                if isinstance(at, int) and isinstance(data, str) and at >= 0:
                    text.add(at, data.encode("utf-8", "replace"))
        whole = text.whole()
        words = self.words.encode("utf-8", "replace")[-SHORT_BYTES:]
        if not whole:
            return words
        # The node's sentence; its last lines stand there already.
        recent = whole[-8 * SHORT_BYTES :]
        news = [line for line in words.split(b"\n") if line.strip() and line not in recent]
        return b"\n".join([whole.rstrip(b"\n"), *news, b""]) if news else whole


class Logs:
    """The folder of one job. Safe for threads."""

    def __init__(self, folder: Path, job_folder: Path, disk: files.Os = files.REAL) -> None:
        self.folder = folder
        self._job_folder = job_folder
        self._disk = disk
        self._lock = threading.Lock()
        self._bytes = -1  # of all files; -1: not yet looked
        self._pack: Path | None = None  # that this process appends to

    # -- keeping --------------------------------------------------------------------------------------

    def keep(self, said: Iterable[Said], site: str, limit_bytes: int) -> None:
        """Bring it to the disk, as far as the job's limit goes."""
        with self._lock:
            try:
                files.make_folders(self.folder, self._job_folder, disk=self._disk)
                if self._bytes < 0:
                    self._bytes = sum(entry.stat().st_size for entry in os.scandir(self.folder))
                packed = []
                for one in said:
                    data = one.gather()
                    if one.failed:
                        self._keep_failed(one, data, limit_bytes)
                    elif data:
                        packed.append((one, data))
                if packed and self._bytes < limit_bytes:
                    self._append(packed, site)
            except (CroftError, OSError) as error:
                log.info("the log of a job in %s can't be kept: %s", self._job_folder, error)

    def _keep_failed(self, said: Said, data: bytes, limit_bytes: int) -> None:
        if self._bytes >= limit_bytes:
            data = data[-SHORT_BYTES:]
        if not data or self._bytes >= 2 * limit_bytes:
            return
        files.write_atomic(self._file(said.task, said.attempt), data, disk=self._disk)
        self._bytes += len(data)

    def _append(self, packed: list[tuple[Said, bytes]], site: str) -> None:
        members, marks, at = [], [], 0
        for said, data in packed:
            whose = f"== task {said.task}, attempt {said.attempt}, {said.about} ==\n"
            member = _pack(whose.encode("utf-8", "replace") + data)
            marks.append((f"{said.task}.{said.attempt}", at, len(member)))
            members.append(member)
            at += len(member)
        if self._pack is None:
            self._pack = self._choose_pack(site)
        begin = self._write(self._pack, b"".join(members))
        lines = "".join(f"{name} {begin + at} {length}\n" for name, at, length in marks)
        self._write(_index_of(self._pack), lines.encode())

    def _choose_pack(self, site: str) -> Path:
        """The pack of this site; another one where the last one's end isn't what its index says."""
        base = f"done.{paths.safe_name(site)}"
        for number in range(1, PACKS):
            pack = self.folder / (f"{base}.log.gz" if number == 1 else f"{base}.{number}.log.gz")
            try:
                size = pack.stat().st_size
            except OSError:
                return pack
            if size == _covered(_read(_index_of(pack), INDEX_BYTES)):
                return pack
        return self.folder / f"{base}.{PACKS}.log.gz"

    def _write(self, path: Path, data: bytes) -> int:
        """Append in one go, whole or not at all; the position that it stands at."""
        fd = self._disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            before = os.fstat(fd).st_size
            try:
                files.write_all(fd, data, self._disk)
            except OSError:
                self._pack = None
                os.ftruncate(fd, before)
                raise
            if not before:
                files.share_with_group(fd, self.folder)
            self._bytes += len(data)
            return os.lseek(fd, 0, os.SEEK_CUR) - len(data)
        finally:
            self._disk.close(fd)

    # -- reading --------------------------------------------------------------------------------------

    def read(self, task: int, attempt: int) -> Text | None:
        """What one attempt said; None where nothing was kept."""
        data = _read(self._file(task, attempt), MEMBER_BYTES)
        if data is not None:
            return Text.of(data)
        for pack in self._packs():
            found = _find(pack, task, attempt)
            if found is not None:
                return Text.of(found)
        return None

    def attempts(self, task: int, latest: int) -> list[int]:
        """Those of a task's attempts, up to the latest, that have a log."""
        numbers = range(max(1, latest - KEPT_ATTEMPTS + 1), latest + 1)
        found = {number for number in numbers if self._file(task, number).exists()}
        for pack in self._packs():
            index = b"\n" + (_read(_index_of(pack), INDEX_BYTES) or b"")
            found.update(n for n in numbers if n not in found and b"\n%d.%d " % (task, n) in index)
        return sorted(found)

    def _packs(self) -> list[Path]:
        return sorted(self.folder.glob("done.*.log.gz"))

    def _file(self, task: int, attempt: int) -> Path:
        return self.folder / f"{task}.{attempt}.txt"


def _index_of(pack: Path) -> Path:
    return pack.with_name(pack.name.removesuffix(".log.gz") + ".index")


def _read(path: Path, limit: int) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(limit)
    except OSError:
        return None


def _pack(data: bytes) -> bytes:
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def _covered(index: bytes | None) -> int:
    """How far a pack goes, as its index says; -1 where that can't be told."""
    try:
        _, at, length = (index or b"").splitlines()[-1].split()
        return int(at) + int(length)
    except (IndexError, ValueError):
        return -1


def _find(pack: Path, task: int, attempt: int) -> bytes | None:
    index = b"\n" + (_read(_index_of(pack), INDEX_BYTES) or b"")
    name = b"\n%d.%d " % (task, attempt)
    where = index.rfind(name)
    try:
        if where >= 0:
            at, length = index[where + len(name) :].split(b"\n", 1)[0].split()
            found = _member(pack, int(at), int(length), task, attempt)
            if found is not None:
                return found
        if _covered(index) == pack.stat().st_size:
            return None  # the index is whole, and knows nothing of it
    except (OSError, ValueError):
        pass
    wanted = (b"%d" % task, b"%d" % attempt)
    for data in _members(pack):
        whose = _WHOSE.match(data)
        if whose is not None and whose.groups() == wanted:
            return data.partition(b"\n")[2]
    return None


def _member(pack: Path, at: int, length: int, task: int, attempt: int) -> bytes | None:
    """One member, if it is the one that the index takes it for."""
    if at < 0 or not 0 < length <= 2 * MEMBER_BYTES:
        return None
    with open(pack, "rb") as file:
        file.seek(at)
        packed = file.read(length)
    try:
        data = zlib.decompressobj(31).decompress(packed, MEMBER_BYTES)
    except zlib.error:
        return None
    whose = _WHOSE.match(data)
    if whose is None or (int(whose[1]), int(whose[2])) != (task, attempt):
        return None
    return data.partition(b"\n")[2]


def _members(pack: Path) -> Iterator[bytes]:
    """Every member of a pack whose index is missing, as far as it is whole."""
    left = SCAN_BYTES
    try:
        with open(pack, "rb") as file:
            rest = file.read(1 << 16)
            while rest and left > 0:
                unpacker, data = zlib.decompressobj(31), bytearray()
                while rest and not unpacker.eof and left > 0:
                    more = unpacker.decompress(rest, 1 << 20)
                    data += more[: MEMBER_BYTES - len(data)]
                    left -= len(more)
                    rest = unpacker.unconsumed_tail or (b"" if unpacker.eof else file.read(1 << 16))
                if not unpacker.eof:
                    return
                yield bytes(data)
                rest = unpacker.unused_data or file.read(1 << 16)
    except (OSError, zlib.error):
        return
