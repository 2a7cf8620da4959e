"""What a step of setting up shows: its checks, each with what it found and what mends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

RIGHT, NOTE, TODO, WRONG = "right", "note", "todo", "wrong"
ORDER = (RIGHT, NOTE, TODO, WRONG)  # the worst last


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `text` says what was found, `mend` what to do (a command as `code`)."""

    state: str
    text: str
    mend: str = ""
    command: str = ""  # to type or paste, where a command mends it


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the admin's path as it stands now: looked at anew each time, kept nowhere."""

    ident: str
    title: str
    about: str
    checks: tuple[Check, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()  # what to copy, each with where it goes

    @property
    def state(self) -> str:
        """The worst of its checks; a step without any is still to be done."""
        return worst(self.checks)


def worst(checks: Iterable[Check]) -> str:
    """The state of several checks together."""
    found = [check.state for check in checks]
    return max(found, key=ORDER.index) if found else TODO


def right(text: str) -> Check:
    return Check(RIGHT, text)


def wrong(text: str, mend: str = "", command: str = "") -> Check:
    return Check(WRONG, text, mend, command)


def note(text: str, mend: str = "", command: str = "") -> Check:
    return Check(NOTE, text, mend, command)


def todo(text: str, mend: str = "", command: str = "") -> Check:
    return Check(TODO, text, mend, command)
