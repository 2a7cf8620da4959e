"""What a line of a history says, as people ask for it: who did what to which file, and when. Pure.

A line is an edit (`fields`) or tells of itself in keys of its own (`kept`, `published`, `uploaded` …). What
it says is bounded here: a long value is cut, so that memory holds many.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from server.disk import encoding, paths
from server.disk.errors import BadInput

from ..search import fold

KINDS = (
    "edit",
    "new",
    "upload",
    "saved",
    "save",
    "back",
    "version",
    "approved",
    "moved",
    "deleted",
    "render",
    "note",
)
VALUE = 200  # characters of a value that are kept
FIELDS = 60  # of one edit
MORE = 300  # characters of what else a line says
TYPED = frozenset({"name", "description", "tags", "start", "end", "time_budget", "time_spent"})
BROUGHT_S = 60.0  # within which what Croft itself put there is seen as a save
SITTING_S = 600.0  # between two savings of a text that somebody types
ASKED = frozenset({"name", "type", "owner", "state"})  # of a new record, which says everything at once
SILENT = frozenset({"at", "who", "fields", "etag", "seen", "base", "unsaid"})  # keys that tell people nothing
NO_FIELDS: Mapping[str, tuple[Any, Any]] = {}
TOLD = {  # key of a line that is no edit: what kind it is
    "saved": "saved", "uploaded": "upload", "restored": "back", "kept": "save", "published": "version",
    "approved": "approved", "was": "moved", "note": "note", "created": "new",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody did. Ordered by `key`."""

    at: str  # RFC 3339, UTC, with milliseconds: they compare as text
    id: str  # the same as long as the line is the same
    kind: str
    who: str
    address: str
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)  # before, after; None: not there
    more: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""  # folded: what a search looks in
    place: int = 0  # among those of the same file that were written down in the same millisecond

    @property
    def key(self) -> tuple[str, int, str]:
        return (self.at, self.place, self.id)


def entries(address: str, site: str, lines: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """What the lines of one history say of a file; those that say nothing to people are left out."""
    found: list[Entry] = []
    for line in gathered(lines):
        entry = read(address, site, line)
        if entry is None:
            continue
        last = found[-1] if found else None
        if last is not None and entry.kind == "upload" and last.kind == "new" and last.who == entry.who:
            found.pop()  # the record that an upload got: said by the upload
        elif entry.kind == "saved" and last is not None and _is_of(last, entry):
            continue
        elif last is not None and last.at == entry.at:
            entry = replace(entry, place=last.place + 1)
        found.append(entry)
    return found


def _is_of(last: Entry, saved: Entry) -> bool:
    """Whether this save is what was told a moment ago: Croft brought it, or another server saw it, too."""
    if last.kind in ("back", "upload") and seconds(saved.at) - seconds(last.at) < BROUGHT_S:
        return True
    return last.kind == "saved" and last.more.get("of") == saved.more.get("of")


def gathered(lines: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The lines, with a text that somebody typed as one change: its field saves itself every half second."""
    last: Mapping[str, Any] | None = None
    for line in lines:
        if last is not None and (both := _together(last, line)) is not None:
            last = both
            continue
        if last is not None:
            yield last
        last = line
    if last is not None:
        yield last


def _together(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Two edits as one, where they are of one sitting; None where they aren't."""
    fields, following = one.get("fields"), other.get("fields")
    if one.get("who") != other.get("who") or seconds(other.get("at")) - seconds(one.get("at")) > SITTING_S:
        return None
    if "saved" in one and "saved" in other:
        times = one.get("times")
        again = one.get("of") != other.get("of")
        return {**other, "times": (times if isinstance(times, int) else 1) + again}
    if not (isinstance(fields, dict) and isinstance(following, dict)):
        return None
    if len(fields) != 1 or fields.keys() != following.keys() or not fields.keys() <= TYPED:
        return None
    name = next(iter(fields))
    before, after = fields[name], following[name]
    if not (isinstance(before, list) and isinstance(after, list) and len(before) == len(after) == 2):
        return None
    if one.get("hand") != other.get("hand"):
        return None  # one of them was made past Croft
    if before[1] != after[0] or before[0] == after[1] or not other.get("who"):
        return None  # what became as it was stands as two: a change, and that it was taken back
    return {**other, "fields": {name: [before[0], after[1]]}}


def read(address: str, site: str, line: Mapping[str, Any]) -> Entry | None:
    """One line; None where it says nothing that people would ask for."""
    said = line.get("fields")
    fields = {
        sys.intern(str(name)[:100]): (cut(change[0]), cut(change[1]))
        for name, change in (list(said.items())[:FIELDS] if isinstance(said, dict) else ())
        if isinstance(change, list) and len(change) == 2
    }
    kind = next((kind for key, kind in TOLD.items() if key in line), "")
    if fields and not kind:
        kind = "new" if fields.get("uuid", (0, 0))[0] is None and "uuid" in fields else "edit"
        if kind == "new":
            fields = {name: change for name, change in fields.items() if name in ASKED and change[1]}
    if not kind:
        return None
    more = {
        key: cut(value, MORE) for key, value in line.items() if key not in SILENT and isinstance(key, str)
    }
    of = more.get("file")
    if (
        kind == "upload" and isinstance(of, str) and of
    ):  # a project's history tells of files that are no assets
        place = paths.join(paths.folder_of(address), of)
        with contextlib.suppress(BadInput):  # whoever can write there may have written anything
            paths.parse(place)
            address = place
    who = line.get("who")
    return make(
        kind, line.get("at"), who if isinstance(who, str) else "", address, ident(site, line), fields, more
    )


def make(
    kind: str,
    at: Any,
    who: str,
    address: str,
    id: str,
    fields: Mapping[str, tuple[Any, Any]] = NO_FIELDS,
    more: Mapping[str, Any] = NO_FIELDS,
) -> Entry:
    """An entry, with what a search looks in."""
    words = [address.partition(paths.SEPARATOR)[2], who, *fields]
    for change in fields.values():
        words += [
            value if isinstance(value, str) else plain(value) for value in change if value not in (None, "")
        ]
    words += [value for value in more.values() if isinstance(value, str)]
    text = fold("\n".join(words))
    return Entry(
        moment(at), id, sys.intern(kind), sys.intern(who[:100]), sys.intern(address), fields, more, text
    )


def of_render(job_id: str, address: str, record: Mapping[str, Any]) -> Entry:
    """That somebody had a file rendered, as the render's own record has it."""
    said = {"version": str(record.get("version") or ""), "job": job_id}
    return make("render", record.get("created"), str(record.get("user") or ""), address, job_id, more=said)


def ident(site: str, line: Mapping[str, Any]) -> str:
    """A line's name: its site's and what it says, so that it stays where lines come before it."""
    try:
        raw = encoding.dumps(dict(line))
    except (TypeError, ValueError, RecursionError):
        raw = repr(line).encode("utf-8", "replace")
    return hashlib.blake2b(site.encode("utf-8", "replace") + b"\0" + raw, digest_size=9).hexdigest()


def moment(at: Any) -> str:
    """A stored time in one form; '' for none."""
    if isinstance(at, str) and len(at) == 24 and at[-1] == "Z" and at[10] == "T":
        return at
    try:
        found = datetime.datetime.fromisoformat(str(at)[:40])
        if found.tzinfo is None:
            found = found.replace(tzinfo=datetime.UTC)
        return found.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return ""


def seconds(at: Any) -> float:
    """A stored time in seconds; 0 for none."""
    try:
        return datetime.datetime.fromisoformat(str(at)[:40]).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def cut(value: Any, most: int = VALUE) -> Any:
    """A value that is short enough to be kept."""
    if isinstance(value, int) and value.bit_length() > 64:
        return "…"
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return value if len(value) <= most else value[: most - 1] + "…"
    if isinstance(value, (list, dict)) and len(repr(value)) > most:
        return cut(plain(value), most)
    return value


def plain(value: Any) -> str:
    """A value as text: lists with commas, stages with their states, roles with who has them."""
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, dict) and "id" in value and (value.get("name") or value.get("title")):
        named, people = str(value.get("name") or value["title"]), plain(value.get("people"))
        return f"{named} ({people})" if people else named
    if isinstance(value, dict):
        return ", ".join(f"{key}: {plain(inner)}" for key, inner in list(value.items())[:FIELDS])
    if isinstance(value, list):
        return ", ".join(plain(inner) for inner in value[:FIELDS])
    return str(value)
