"""What is told of earlier saves, and the interface of rooms that bring more of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ..people import User


@dataclass(frozen=True, slots=True)
class Save:
    """One state of a file that can be brought back."""

    id: str
    kind: str  # checkpoint, deleted, version, render, backup
    at: str  # RFC 3339, UTC
    who: str = ""
    comment: str = ""
    size: int | None = None
    hash: str = ""
    until: str = ""  # it was so at this time still, as a backup knows; '' where nothing says it

    def view(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it: the file's address, and the id of the save that its content before became ('':
    there was none). Restoring that one is the undo."""

    address: str
    kept: str
    beside: bool = False
    was_missing: bool = False  # the file; its record was there


@dataclass(frozen=True, slots=True)
class Deleted:
    """A deletion that can be undone."""

    folder: str  # address of old/<id>
    address: str  # where the file was, and would be again
    kind: str  # file or record
    at: str
    who: str
    size: int | None = None

    def view(self) -> dict[str, Any]:
        return asdict(self)


class Source(Protocol):
    """Where further saves come from: backups. The ids begin with a word of the source's own and '-'."""

    def list(self, address: str) -> Sequence[Save]: ...

    def open(self, address: str, id: str) -> Path:
        """The saved file, or for a sequence the folder of its frames. NotFound."""
        ...

    def check(self, address: str, user: User | None) -> None:
        """Forbidden to who may not see or bring back its saves of this file."""
        ...


def save_of(id: str, kind: str, said: Mapping[str, Any]) -> Save:
    """A save from what its record says."""
    at, who, comment, hashed = (str(said.get(key) or "") for key in ("at", "who", "comment", "hash"))
    size = said.get("size")
    return Save(id, kind, at, who, comment, size if isinstance(size, int) else None, hashed)
