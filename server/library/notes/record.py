"""What the files of a `notes` folder say, and what they make together. Pure.

A note is written once, by its author. Whatever becomes of it (ticked, resolved, changed, deleted) is a file
of its own, by whoever did it: no file has two writers, so copies of a share come together by themselves. Of
two words on one thing the later counts; a note under two names is one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from server.disk import conflicts

from . import marks
from .marks import Marks

TEXT_MOST = 10_000  # characters
FRAMES = range(-1_000_000, 10_000_001)
TICKS_MOST = 100
ANYBODY = "*"  # a to-do of whoever owns the file
WHOLE = "all"  # the tick of a to-do that isn't a list

_NAME = re.compile(r"(\d{8}T\d{6}Z)-(.*)-([0-9a-f]{6,12})\Z", re.DOTALL)
_VERSION = re.compile(r"v\d{1,9}(?:-[\w.-]{1,64})?\Z", re.ASCII)
_ITEM = re.compile(r"\s*(?:[-*•]\s+)?(?:\[[ xX]?\]\s*)?")
_MENTION = re.compile(r"(?<![\w@.])@([a-zA-Z0-9][a-zA-Z0-9._-]{0,63})")


@dataclass(frozen=True, slots=True)
class Piece:
    """One file: a note, or what was said of one."""

    id: str
    at: str
    who: str
    of: str  # the note that it changes; '' for a note
    data: Mapping[str, Any]  # a note's own fields, or the changed ones


@dataclass(frozen=True, slots=True)
class Tick:
    """One thing to do. `key` stays when other lines change."""

    key: str
    text: str
    done: bool = False
    who: str = ""
    at: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody said, as it is now."""

    id: str
    address: str
    at: str
    who: str
    text: str = ""
    frame: int | None = None
    version: str = ""  # of the file's renders: v003
    reply_to: str = ""
    marks: Marks | None = None
    todo: str = ""  # who is to do it, ANYBODY for the file's owner; '' where nothing is to be done
    ticks: tuple[Tick, ...] = ()
    resolved: bool = False
    resolved_by: str = ""
    deleted: bool = False
    edited: str = ""  # when its text was changed last
    mentions: frozenset[str] = field(default_factory=frozenset)

    @property
    def open(self) -> bool:
        """Whether somebody should still look at it. An answer only where there is something to do in it."""
        done = all(tick.done for tick in self.ticks) if self.ticks else bool(self.reply_to)
        return not (self.deleted or self.resolved or done)

    def view(self) -> dict[str, Any]:
        """As the API shows it."""
        return {
            "id": self.id,
            "address": self.address,
            "at": self.at,
            "who": self.who,
            "text": self.text,
            "frame": self.frame,
            "version": self.version,
            "reply_to": self.reply_to,
            "marks": self.marks.data() if self.marks else None,
            "todo": self.todo,
            "ticks": [{"key": t.key, "text": t.text, "done": t.done, "who": t.who} for t in self.ticks],
            "resolved": self.resolved,
            "resolved_by": self.resolved_by,
            "open": self.open,
            "edited": self.edited,
        }


def id_of(name: str) -> str:
    """The note's id in a file's name `<time>-<user>-<token>.json`: `<time>-<token>`, whoever it is of."""
    stem = (conflicts.original(name) or name).removesuffix(".json")
    if match := _NAME.fullmatch(stem):
        return f"{match[1]}-{match[3]}"
    token = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()
    return f"00000000T000000Z-{token}"


def name_of(ident: str, who: str) -> str:
    """The name of the file that holds this note of somebody."""
    time, _, token = ident.partition("-")
    return f"{time}-{who}-{token}.json"


def read(name: str, data: Mapping[str, Any]) -> Piece:
    """What a file says, as far as it can be understood."""
    ident = id_of(name)
    at = _moment(data.get("at")) or _moment(ident.partition("-")[0])
    changed = data.get("set")
    of = data.get("of")
    if isinstance(of, str) and of and isinstance(changed, dict):
        return Piece(ident, at, _text(data.get("who")), of, changed)
    return Piece(ident, at, _text(data.get("who")), "", data)


def fold(address: str, pieces: Iterable[Piece]) -> tuple[Note, ...]:
    """The notes that these files make, oldest first; the deleted ones too, which can be brought back."""
    found = {piece.id: piece for piece in pieces}  # the same note under two names is one
    said: dict[str, list[Piece]] = {}
    for piece in sorted(found.values(), key=lambda piece: (piece.at, piece.id)):
        if piece.of:
            said.setdefault(piece.of, []).append(piece)
    notes = [_note(address, piece, said.get(piece.id, ())) for piece in found.values() if not piece.of]
    return tuple(sorted(notes, key=lambda note: (note.at, note.id)))


def _note(address: str, piece: Piece, changes: Iterable[Piece]) -> Note:
    data = dict(piece.data)
    ticked: dict[str, Piece] = {}
    edited = resolved_by = ""
    for change in changes:
        data.update({name: value for name, value in change.data.items() if name != "ticks"})
        if "text" in change.data:
            edited = change.at
        if "resolved" in change.data:
            resolved_by = change.who
        ticks = change.data.get("ticks")
        ticked.update(dict.fromkeys(ticks, change) if isinstance(ticks, dict) else {})
    text = _text(data.get("text"))[: TEXT_MOST * 2]
    todo = _text(data.get("todo"))[:64]
    frame = data.get("frame")
    version = _text(data.get("version"))
    return Note(
        id=piece.id,
        address=address,
        at=piece.at,
        who=piece.who,
        text=text,
        frame=frame if type(frame) is int and frame in FRAMES else None,
        version=version if is_version(version) else "",
        reply_to=_text(data.get("reply_to")),
        marks=marks.read(data.get("marks")),
        todo=todo,
        ticks=tuple(_ticked(tick, ticked) for tick in items(text)) if todo else (),
        resolved=data.get("resolved") is True,
        resolved_by=resolved_by if data.get("resolved") is True else "",
        deleted=data.get("deleted") is True,
        edited=edited,
        mentions=mentions(text),
    )


def _ticked(tick: Tick, ticked: Mapping[str, Piece]) -> Tick:
    piece = ticked.get(tick.key)
    if piece is None or piece.data["ticks"][tick.key] is not True:
        return tick
    return Tick(tick.key, tick.text, True, piece.who, piece.at)


def items(text: str) -> tuple[Tick, ...]:
    """What there is to do: each line that begins with a dash, a star or a box; without any all of it."""
    found: dict[str, Tick] = {}
    for line in text.splitlines():
        if (item := item_of(line)) and len(found) < TICKS_MOST:
            found.setdefault(key_of(item), Tick(key_of(item), item))
    return tuple(found.values()) or (Tick(WHOLE, text),)


def item_of(line: str) -> str:
    """What a line of a list says: `- longer hold`, `[ ] longer hold`; '' for another line."""
    match = _ITEM.match(line)
    return line[match.end() :].strip() if match and match[0].strip() else ""


def has_items(text: str) -> bool:
    """Whether some line of it is something to do."""
    return any(map(item_of, text.splitlines()))


def key_of(item: str) -> str:
    """A short name for one thing to do, by what it says."""
    return hashlib.blake2b(item.casefold().encode("utf-8", "replace"), digest_size=4).hexdigest()


def mentions(text: str) -> frozenset[str]:
    """The users that a text names: `@ana`."""
    return frozenset(match[1].rstrip("._-").lower() for match in _MENTION.finditer(text))


def pieces_of(text: str) -> list[tuple[str, str]]:
    """A text as ('', words) and (user, '@user'), in their order."""
    found: list[tuple[str, str]] = []
    end = 0
    for match in _MENTION.finditer(text):
        name = match[1].rstrip("._-")
        found += [("", text[end : match.start()]), (name.lower(), "@" + name)]
        end = match.start() + 1 + len(name)
    return [piece for piece in (*found, ("", text[end:])) if piece[1]]


def fitting(notes: Iterable[Note], text: str) -> Iterator[Note]:
    """Those that hold each word of a text."""
    words = text.casefold().split()
    for note in notes:
        said = note.text.casefold()
        if all(word in said for word in words):
            yield note


def is_version(text: str) -> bool:
    """Whether this can be the version of a render: `v003`, `v003-north`."""
    return _VERSION.fullmatch(text) is not None


def clean(text: str) -> str:
    """As it is stored: no bytes that no page or file can hold, one kind of line end."""
    text = text.encode("utf-8", "replace").decode()
    text = "".join(c for c in text.replace("\r\n", "\n").replace("\r", "\n") if c >= " " or c in "\n\t")
    return text.strip()


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(value: object) -> str:
    """Any way of writing a time as ours, so that texts are in the order of their times; '' for none."""
    try:
        found = datetime.fromisoformat(str(value))
        return stamp(found if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        return ""


def _text(value: object) -> str:
    return clean(value) if isinstance(value, str) else ""
