"""What is told to who wants to publish: the sequences of a folder, and what stands beside them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .manifest import Difference

NONE = Difference()


@dataclass(frozen=True, slots=True)
class Row:
    """A sequence of a folder, and whether it is published."""

    address: str  # of the sequence
    asset: str  # whose version it is or would be; '' where it can't be any
    facts: Mapping[str, Any]  # first last count padding missing
    files: int
    size: int
    version: str = ""  # the newest one that is this sequence in place
    at: str = ""
    difference: Difference = NONE  # from that
    why: str = ""  # it can't be published, with what mends that
    arriving: bool = False  # which is that it is still being written

    @property
    def state(self) -> str:
        """`no` (it can't be), `arriving` (not yet), `new`, `published`, or `changed` since then."""
        if self.why:
            return "arriving" if self.arriving else "no"
        return "new" if not self.version else "changed" if self.difference else "published"

    def view(self) -> dict[str, Any]:
        told = {name: self.facts.get(name) for name in ("first", "last", "padding", "missing")}
        return {
            "address": self.address, "asset": self.asset or None, "state": self.state, "why": self.why,
            **told, "frames": self.facts.get("count", 0), "files": self.files, "size": self.size,
            "version": self.version or None, "at": self.at or None,
            "changes": self.difference.view() if self.version else None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder holds for who wants to publish."""

    address: str
    rows: list[Row]
    folders: list[str]  # addresses of those below
    renders: str  # the address of its `render`, which isn't among them; '' where it has none
    others: list[str]  # names of files that are no frames of a sequence
    links: list[str]  # names of links that aren't followed
