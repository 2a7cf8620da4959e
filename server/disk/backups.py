"""What misc/backup has made: trees named by their time, each with every share. Only ever reads.

A tree counts once its record is there, which is written last. A path in one is given out only where it
doesn't lead out of its share's copy: people make links, and a backup keeps them.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server.disk import files, paths
from server.disk.errors import BadInput, NotFound

# As misc/backup has them, which may be copied away from here and so shares no code with us.
NAME = "%Y-%m-%dT%H%M%SZ"
MARKER = ".croft-backups.json"
RECORD = ".croft-backup.json"
LAST = ".croft-last-run.json"
MAX_BYTES = 1 << 20
_NAME = re.compile(r"\d{4}-\d\d-\d\dT\d{6}Z\Z")


@dataclass(frozen=True, slots=True)
class Tree:
    """One backup."""

    name: str
    at: datetime
    path: Path

    def share(self, name: str) -> Path:
        return self.path / name

    def folder(self, share: str, inside: str) -> Path | None:
        """Where its copy of this folder lies; None where it has none, or where a link leads elsewhere."""
        paths.check_inside(inside)
        root = self.share(share)
        path = root / inside if inside else root
        real, real_root = os.path.realpath(path), os.path.realpath(root)
        if not os.path.isdir(real) or not (real == real_root or real.startswith(real_root + "/")):
            return None
        return path

    def find(self, share: str, inside: str) -> Path | None:
        """Where its copy of a file or folder lies, which may be a link; None where it has none."""
        folder = self.folder(share, paths.folder_of(inside))
        path = folder / paths.name_of(inside) if folder is not None else None
        return path if path is not None and os.path.lexists(path) else None

    def record(self) -> dict[str, Any]:
        """What it says of itself: `at`, `shares`, `faults`."""
        return read(self.path / RECORD)


class Backups:
    """The folder of backups. Thread-safe; a listing is kept until the folder changes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._known: tuple[int, tuple[Tree, ...]] = (-1, ())

    def is_here(self) -> bool:
        """Whether its disk is mounted."""
        return (self.root / MARKER).is_file()

    def trees(self) -> Sequence[Tree]:
        """The whole ones, newest first. OSError when the folder can't be read."""
        stamp = os.stat(self.root).st_mtime_ns
        with self._lock:
            if self._known[0] == stamp:
                return self._known[1]
        found = tuple(
            Tree(name, at, self.root / name)
            for name in sorted(os.listdir(self.root), reverse=True)
            if (at := time_of(name)) is not None and (self.root / name / RECORD).exists()
        )
        with self._lock:
            self._known = (stamp, found)
        return found

    def get(self, name: str) -> Tree:
        """The one of this name; NotFound."""
        at = time_of(name)
        if at is None or not (self.root / name / RECORD).exists():
            raise NotFound("There is no backup {name} in {root}.", name=repr(name[:40]), root=self.root)
        return Tree(name, at, self.root / name)

    def before(self, moment: datetime) -> Tree:
        """The newest that was there at this moment; NotFound."""
        for tree in self.trees():
            if tree.at <= moment:
                return tree
        raise NotFound(
            "There is no backup from {moment:%Y-%m-%d %H:%M} UTC or before in {root}.",
            moment=moment,
            root=self.root,
        )

    def last_run(self) -> dict[str, Any]:
        """How the last run went: `at`, `code`, `line`; {} where none said so."""
        return read(self.root / LAST)


def time_of(name: str) -> datetime | None:
    """When the backup of this name was made; None for another name."""
    if not _NAME.match(name):
        return None
    try:
        return datetime.strptime(name, NAME).replace(tzinfo=UTC)
    except ValueError:
        return None


def moment_of(text: str, zone: Any, now: datetime) -> datetime:
    """`14:10` (today, else yesterday), `2026-11-22 14:10`, or a backup's own name. BadInput."""
    named = time_of(text)
    if named is not None:
        return named
    try:
        if re.fullmatch(r"\d{1,2}:\d\d", text):
            hour, minute = map(int, text.split(":"))
            found = now.astimezone(zone).replace(hour=hour, minute=minute, second=59, microsecond=0)
            day = found if found <= now else datetime.fromtimestamp(found.timestamp() - 86400, zone)
            return day.astimezone(UTC)
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadInput(
            "{text} isn't a time: say 14:10, or 2026-11-22 14:10.", text=repr(text[:40])
        ) from error
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone)
    if found.second == 0:
        found = found.replace(second=59)  # 'at 14:10' means until that minute's end
    return found.astimezone(UTC)


def read(path: Path) -> dict[str, Any]:
    """A JSON object of a backup's; {} for what can't be read: it only informs."""
    try:
        raw, _ = files.read_bounded(path, MAX_BYTES)
        data = json.loads(raw)
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
