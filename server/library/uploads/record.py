"""What is known of one upload: `upload.json` in its folder, as frozen records.

Bytes that came are `content` beside it; what of them is on the disk for sure stands in `chunks.jsonl`. Keys
that a newer Croft wrote stay when it is written again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from server.disk import paths

from ..media import kinds

SCHEMA = 1
RECORD, CONTENT, CHUNKS, PICTURE = "upload.json", "content", "chunks.jsonl", "picture"
IDENT = re.compile(r"\d{8}-\d{6}-[0-9a-f]{10}")


@dataclass(frozen=True, slots=True)
class Upload:
    """One file on its way into a project. `place` is the address of its folder, `data` the whole record."""

    id: str
    place: str
    user: str
    project: str
    folder: str  # inside the project; '' for its top
    name: str
    dropped: str  # its path as it was dropped, by which it is known again after a reload
    size: int
    data: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, place: str, data: Mapping[str, Any]) -> Upload:
        """From `upload.json`. KeyError, TypeError or ValueError where it isn't one."""
        return cls(
            paths.name_of(place),
            place,
            str(data["user"]),
            str(data["project"]),
            str(data["folder"]),
            str(data["name"]),
            str(data.get("dropped") or data["name"]),
            int(data["size"]),
            data,
        )

    @property
    def kind(self) -> str:
        return kinds.kind(self.name)

    @property
    def numbered(self) -> tuple[str, int] | None:
        """The key and number of a picture that may be one of a sequence."""
        return paths.sequence_key(self.name) if self.kind == "image" else None

    @property
    def digest(self) -> str:
        """SHA-256 of the whole: what was found in what came, else what the sender said; '' while unknown."""
        return str(self.data.get("sha256") or self.data.get("hash") or "")

    @property
    def read(self) -> bool:
        """Whether all of it came, agreed, and was looked into."""
        return bool(self.data.get("sha256"))

    @property
    def added(self) -> Mapping[str, Any] | None:
        found = self.data.get("added")
        return found if isinstance(found, Mapping) else None

    @property
    def open(self) -> bool:
        """Whether its person still has to do with it: neither added nor removed."""
        return not self.data.get("added") and not self.data.get("removed")

    def at(self, name: str) -> str:
        """The address of one of its files."""
        return paths.join(self.place, name)
