"""The nouns that the wings pass around: frozen, small, without behaviour beyond their own fields."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Stat:
    """What identifies one state of a file on disk. Times in nanoseconds since the epoch."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, st: os.stat_result, disk: int = 0) -> Stat:
        """`disk`: on which of a pool's it lies (`listing.disk_numbers`): each counts inodes for itself."""
        modified, changed = st.st_mtime_ns, st.st_ctime_ns
        # Mostly the same number: one object for both, by the hundred thousand.
        return cls(st.st_size, modified, modified if changed == modified else changed, st.st_ino ^ disk)

    @property
    def token(self) -> int:
        """All of it as one number, the same in every process."""
        return hash((self.size, self.mtime_ns, self.ctime_ns, self.inode))

    @property
    def content(self) -> tuple[int, int]:
        """What changes when somebody writes into it."""
        return (self.size, self.mtime_ns)


@dataclass(frozen=True, slots=True)
class Change:
    """Something changed: look again. `kind` is asset, job, node, frame, project, share, config, upload,
    people, problems (the list of them), uses (what a file uses, or who uses it) or note (what people say of
    a file). A companion: somebody else may have written what Croft keeps of this file, or of
    all files of a folder."""

    kind: str
    id: str  # an address, a job id, a node name, a project ident


@dataclass(frozen=True, slots=True)
class Action:
    """A button that mends a problem: a call of the API, as a page makes it."""

    label: str  # what it does, as a person says it: 'Bring it back'
    method: str
    path: str  # of the call, quoted: /api/…
    body: Mapping[str, Any] = field(default_factory=dict)
    role: str = "student"  # what its presser must at least be


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a person should know of: what it is and means (`text`) and what mends it (`mend`)."""

    id: str  # the same as long as the problem is the same
    kind: str
    address: str
    text: str
    mend: str
    actions: tuple[Action, ...] = ()
    severity: str = "warning"  # error: work is lost or stands still; warning; note: good to know
    command: str = ""  # what an admin types on the server to mend it


@dataclass(frozen=True, slots=True)
class JobPlace:
    """Where a job lies on a share."""

    id: str
    address: str  # of the asset's file, or of project.json
    folder: str  # address of the job's folder


@dataclass(frozen=True, slots=True)
class Facts:
    """What the index keeps of a sidecar. Unknown keys are not kept here: the file has them."""

    name: str = ""
    description: str = ""
    type: str = ""
    creator: str = ""
    owner: str = ""
    support: tuple[str, ...] = ()
    state: str = ""
    priority: int = 0
    render: bool = False
    final: bool = False
    time_budget: float = 0.0
    tags: tuple[str, ...] = ()
    uuid: str = ""
    protect: bool = False
    schema: int = 1
    derived_from: str = ""  # the uuid of what it was copied from
    dependencies: tuple[str, ...] = ()  # what it waits for, as people name it
    due: str = ""  # the day by whose end it is to be delivered: "2026-11-22"
    start: int | None = None  # first and last frame, where people say others than the scene itself
    end: int | None = None
    rating: float = 0.0  # stars, 0 to 5
    pipeline: tuple[tuple[str, str], ...] = ()  # stage and its state, in the file's order
    time_spent: float = 0.0  # hours of people's


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that the index knows, or one that is missing and whose sidecar stayed."""

    address: str
    stat: Stat | None  # None: the file is gone
    facts: Facts | None = None  # None: it has no sidecar (or none that was ever readable)
    etag: str = ""  # hash of the sidecar's bytes
    broken: str = ""  # why the sidecar can't be read; `facts` are then the last good ones
    arriving: bool = False
    jobs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # the names of the files in its companion's `notes/`
    incomplete: bool = False  # it has been arriving for an hour, without its end: a copy that was cut off
    side: int = field(default=0, compare=False)  # the token of its sidecar's stat as it was read; 0: unsure

    @property
    def status(self) -> str:
        """`missing`, `broken`, `arriving` or `ok`."""
        if self.stat is None:
            return "missing"
        if self.broken:
            return "broken"
        return "arriving" if self.arriving else "ok"


def plain(value: Any) -> Any:
    """Tuples to lists, for JSON."""
    if isinstance(value, tuple):
        return [plain(v) for v in value]
    return value


def utc_now() -> str:
    """Now, as it is stored: RFC 3339, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
