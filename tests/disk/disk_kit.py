"""What the tests of the store share: a disk that fails on demand, and a store on a folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from server.disk import files
from server.disk.paths import Share
from server.disk.settings import Settings
from server.disk.store import Store

CLONE = Path(__file__).resolve().parents[2]
FILE = "data::green/shots/sh010.blend"
POLICIES = ("mfs", "epmfs", "ff")


@dataclass(frozen=True)
class Pool:
    """A mounted pool and the folders it is made of."""

    root: Path
    branches: tuple[Path, ...]
    policy: str


class FailingDisk(files.Os):
    """The `nth` call (from 1) among `calls` fails with `error`; `seen` counts them."""

    def __init__(self, calls: set[str], nth: int, error: int = errno.EIO, *, for_good: bool = False) -> None:
        self.calls, self.nth, self.error, self.for_good = calls, nth, error, for_good
        self.seen = 0

    def _count(self, call: str) -> None:
        if call not in self.calls:
            return
        self.seen += 1
        if self.seen == self.nth or (self.for_good and self.seen > self.nth):
            raise OSError(self.error, os.strerror(self.error))

    def open(self, path: str | Path, flags: int, mode: int = files.FILE_MODE) -> int:
        self._count("open")
        return super().open(path, flags, mode)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if "short" in self.calls and len(data) > 1:
            # Half of it lands, as on a disk that is just now full; the next call says so.
            data = bytes(data)[: len(data) // 2]
        self._count("short")
        self._count("write")
        return super().write(fd, data)

    def fsync(self, fd: int) -> None:
        self._count("fsync")
        super().fsync(fd)

    def fdatasync(self, fd: int) -> None:
        self._count("fdatasync")
        super().fdatasync(fd)

    def replace(self, source: str | Path, target: str | Path) -> None:
        self._count("replace")
        super().replace(source, target)

    def rename(self, source: str | Path, target: str | Path) -> None:
        self._count("rename")
        super().rename(source, target)

    def link(self, source: str | Path, target: str | Path) -> None:
        self._count("link")
        super().link(source, target)

    def unlink(self, path: str | Path) -> None:
        self._count("unlink")
        super().unlink(path)

    def rmdir(self, path: str | Path) -> None:
        self._count("rmdir")
        super().rmdir(path)

    def mkdir(self, path: str | Path) -> None:
        self._count("mkdir")
        super().mkdir(path)


def mount_pool(program: str, root: Path, branches: tuple[Path, ...], policy: str) -> None:
    # Without minfreespace a pool keeps 4 GB free on each disk: more than these have.
    options = f"allow_other,use_ino,minfreespace=64K,category.create={policy}"
    subprocess.run([program, "-o", options, ":".join(map(str, branches)), str(root)], check=True)


def make_store(root: Path, config: Path | None = None, disk: files.Os = files.REAL) -> Store:
    """An open store whose share `data` lies at `root`."""
    settings = Settings(config or root.with_name(root.name + "-config"), CLONE / "config")
    store = Store(settings, [Share("data", root)], disk=disk)
    store.open()
    return store


def make_file(root: Path, inside: str = "green/shots/sh010.blend", content: bytes = b"BLENDER") -> Path:
    path = root / inside
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def leftovers(root: Path) -> list[str]:
    """Temporary files that somebody forgot."""
    return [name for _, _, names in os.walk(root) for name in names if name.startswith(files.TEMPORARY)]


def together(processes: list[subprocess.Popen[str]]) -> list[int]:
    """Let them all begin at once (they wait for a line); how each ended."""
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=50)
    return [process.returncode for process in processes]


def worker(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Another process of Croft's, running this code."""
    environment = {**os.environ, "PYTHONPATH": f"{CLONE}:{Path(__file__).parent}"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
    )
