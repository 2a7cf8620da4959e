"""By what a file is known again. Pure, but for one look at the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from server.disk import deletions, paths
from server.disk.records import Entry, Stat
from server.disk.speech import say

TICK_NS = 100  # what Windows keeps of a time: a copy by Explorer has no finer one


def told(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if value is not None}


def can_be_known(address: str) -> bool:
    """A project's own file is known by its folder."""
    return paths.name_of(address) != paths.PROJECT_FILE


def is_one_file(address: str) -> bool:
    """A sequence is many: it comes and goes frame by frame, and has no inode."""
    return "@" not in paths.name_of(address) and can_be_known(address)


def is_there(path: Path) -> bool:
    """Whether a file, or a frame of the sequence of this name, is there."""
    return any(os.path.lexists(path.parent / name) for name in deletions.own_names(path))


def same_file(stat: Stat) -> tuple[int, int, int]:
    """The same file under another name: a rename keeps these, and only these, for certain."""
    return (stat.inode, stat.size, stat.mtime_ns)


def looks_of(stat: Stat) -> tuple[int, int]:
    """What a copy has in common with its original."""
    return (stat.size, stat.mtime_ns // TICK_NS)


def told_apart(address: str, others: Iterable[str]) -> str:
    """The name, with its folder where another has the same."""
    name = paths.name_of(address)
    alike = sum(paths.name_of(other) == name for other in others)
    return name if alike < 2 else say("{name} in {folder_of}", name=name, folder_of=paths.folder_of(address))


def share_of(address: str) -> str:
    return address.partition(paths.SEPARATOR)[0]


def since(entry: Entry) -> int:
    """The server's own time of its last change: a copy's is later than its original's."""
    return entry.stat.ctime_ns if entry.stat else 0
