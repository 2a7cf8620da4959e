"""Whom a file's notes concern, and why. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .record import ANYBODY, Note

TODO, MENTION, REPLY, MINE, OWN = "todo", "mention", "reply", "mine", "own"


@dataclass(frozen=True, slots=True)
class Concern:
    """A note that somebody should know of. `why`: it is theirs to do, names them, answers them, is said of
    their file; or (`own`) they gave themselves something to do, which is no news."""

    note: Note
    why: str


def concerned(notes: Sequence[Note], owner: str, support: Iterable[str]) -> dict[str, tuple[Concern, ...]]:
    """By user, the notes of one file that concern them, oldest first."""
    holders = [ident for ident in (owner, *support) if ident]
    threads: dict[str, set[str]] = {}  # the first note of a thread -> who spoke in it so far
    found: dict[str, list[Concern]] = {}
    for note in notes:
        if note.deleted:
            continue
        why = dict.fromkeys(holders, MINE)
        thread = threads.setdefault(note.reply_to or note.id, set())
        why |= dict.fromkeys(thread, REPLY)
        why |= dict.fromkeys(note.mentions, MENTION)
        why |= dict.fromkeys(doers(note, owner, holders), TODO)
        thread.add(note.who)
        if why.pop(note.who, "") == TODO and note.who:
            why[note.who] = OWN
        for ident, reason in why.items():
            found.setdefault(ident, []).append(Concern(note, reason))
    return {ident: tuple(concerns) for ident, concerns in found.items()}


def doers(note: Note, owner: str, holders: Sequence[str]) -> Sequence[str]:
    """Who is to do it: of a file that nobody owns who supports it."""
    if note.todo == ANYBODY:
        return [owner] if owner else holders
    return [note.todo.lower()] if note.todo else []
