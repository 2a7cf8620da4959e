"""All that is known of one file's notes. Reads their files, each once; changes nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from server.disk import files, sidecar
from server.disk.errors import CroftError
from server.disk.records import Entry, Stat

from . import fields, record
from .concerns import Concern, concerned
from .record import Note, Piece

NOTE_BYTES = 1 << 20
FILES_MOST = 5000  # the newest

Pieces = Mapping[str, tuple[int, Piece | None]]  # by name; the token of its stat, and what it says
Holders = tuple[str, tuple[str, ...]]  # a file's owner and who supports them


@dataclass(frozen=True, slots=True)
class Sheaf:
    """`notes`: oldest first, deleted ones too."""

    names: tuple[str, ...]
    holders: Holders
    pieces: Pieces = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    concerns: Mapping[str, tuple[Concern, ...]] = field(default_factory=dict)
    open: int = 0


EMPTY = Sheaf((), ("", ()))  # the one of every file of which nothing was said


def is_of(sheaf: Sheaf, entry: Entry | None) -> bool:
    """Whether it is what the index says."""
    if entry is None or not entry.notes:
        return sheaf is EMPTY
    return sheaf.names == entry.notes and sheaf.holders == _holders(entry)


def read(entry: Entry, folder: Path, old: Sheaf, look: bool) -> Sheaf:
    """What the notes in this folder say now. With `look` those that were read before are read again where
    they aren't as they were. One that can't be read is passed over: `check` tells of it."""
    found: dict[str, tuple[int, Piece | None]] = {}
    for name in entry.notes[-FILES_MOST:]:
        before = old.pieces.get(name)
        if before is None or look:
            try:
                token = Stat.of(os.stat(folder / name)).token
                if before is None or before[0] != token:
                    raw, st = files.read_bounded(folder / name, NOTE_BYTES)
                    before = (Stat.of(st).token, record.read(name, sidecar.parse(raw, folder / name)))
            except (CroftError, OSError):
                before = (0, None)
        found[name] = before
    notes = record.fold(entry.address, [piece for _, piece in found.values() if piece is not None])
    holders = _holders(entry)
    count = sum(note.open for note in notes)
    return Sheaf(entry.notes, holders, found, notes, concerned(notes, *holders), count)


def later_than(sheaf: Sheaf, note: Note) -> datetime:
    """A moment after all that was said of a note so far, whatever the clocks of those who said it."""
    of = (piece for _, piece in sheaf.pieces.values() if piece is not None)
    newest = max((piece.at for piece in of if note.id in (piece.id, piece.of)), default=note.at)
    try:
        return datetime.fromisoformat(newest) + timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return datetime.min.replace(tzinfo=UTC)


def names(sheaf: Sheaf, user: str) -> bool:
    """Whether a person's name stands in it."""
    said = ({"who": piece.who, **piece.data} for _, piece in sheaf.pieces.values() if piece is not None)
    return any(fields.without(one, user) != one for one in said)


def _holders(entry: Entry) -> Holders:
    return (entry.facts.owner, entry.facts.support) if entry.facts is not None else ("", ())
