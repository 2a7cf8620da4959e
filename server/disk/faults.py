"""What can be wrong with the files of a share, in words, each with what mends it.

The one mechanism of the Problems page and of `run.py check`: both find such a thing in their own way (what
the index knows, or a walk), and tell of it with the same id, kind and sentences. Touches no disk.
"""

from __future__ import annotations

import os
import shlex
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from server.disk import encoding, paths
from server.disk.records import Action, Problem
from server.disk.speech import say

MEND = "/api/problems/mend"
LONGEST = paths.NAME_BYTES - len(".json")  # bytes of a name beside which a record fits
FRESH_S = 3600.0  # a younger temporary file may be somebody's who is writing it
NOTES = frozenset({"leftover", "orphan", "conflict"})  # told by `check`, but no fault of a file
SEVERITY = {
    **dict.fromkeys(("sidecar", "missing-library", "full", "read-only"), "error"),
    **dict.fromkeys(("leftover", "history", "newer"), "note"),
}


def problem(kind: str, address: str, text: str, mend: str, *actions: Action, **more: Any) -> Problem:
    """A problem whose id is its kind and place."""
    more.setdefault("severity", SEVERITY.get(kind, "warning"))
    return Problem(f"{kind}:{address}", kind, address, text, mend, actions, **more)


def mending(label: str, mend: str, address: str, role: str = "student", **more: Any) -> Action:
    """A button that has `mend` done to the file of this address (see library/problems/mending)."""
    return Action(label, "POST", MEND, {"mend": mend, "address": address, **more}, role)


def broken(address: str, why: str, *actions: Action, of: str = "") -> Problem:
    """A file of Croft's that isn't what it should be: its own address, and that of what it tells `of`."""
    name = paths.name_of(address)
    if name == paths.PROJECT_FILE:
        what = say("What the project says of itself")
    elif name == paths.SET_FILE:
        what = say("The project’s own set")
    elif paths.file_of_companion(address):
        what = say("What Croft noted of {file}", file=paths.name_of(paths.file_of_companion(address)))
    else:
        what = say("What people said of {file}", file=name.removesuffix(".json"))
    text = say(
        "{what} can’t be read: {why}. It is shown as it was last, and stays as it is.", what=what, why=why
    )
    mend = say("Correct {name} in a text editor, or copy it back from a backup.", name=name)
    if actions:
        mend = say("Put the last good one back. Or: {mend}", mend=mend)
    return problem("sidecar", of or address, text, mend, *actions)


def orphan(address: str, *actions: Action) -> Problem:
    """A record without its file."""
    text = say(
        "{address} is gone. What people said of it, and its renders, are still there.",
        address=paths.name_of(address),
    )
    return problem(
        "orphan", address, text, say("Put the file back under this name, or let its record go."), *actions
    )


def clashes(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names of one folder that Windows and macOS take for one, each with the earlier one."""
    seen: dict[str, str] = {}
    for name in sorted(names):
        # ASCII alone is what nearly all names are.
        plain = name if name.isascii() else unicodedata.normalize("NFC", name)
        other = seen.setdefault(plain.casefold(), name)
        if other != name:
            yield name, other


def clash(folder: str, name: str, other: str, *actions: Action) -> Problem:
    """Two names that differ in case, or in how an accent is stored, alone."""
    if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other):
        text = say(
            "Two files are named {name}: they store its accents differently. A Mac shows one.", name=name
        )
    else:
        text = say(
            "{name} and {other} differ in upper and lower case alone: Windows and macOS show one "
            "of them, and may save into the wrong one.",
            name=name,
            other=other,
        )
    return problem("case-clash", paths.join(folder, name), text, say("Rename one."), *actions)


def fits_a_record(name: str) -> bool:
    """Whether a sidecar's name fits beside a file of this name."""
    return len(name) <= LONGEST and (name.isascii() or len(os.fsencode(name)) <= LONGEST)


def odd_name(folder: str, name: str) -> Problem | None:
    """A name that is no text, or so long that no record fits beside it; None for the others."""
    if name.isascii() and len(name) <= LONGEST:
        return None
    address = paths.join(folder, name)
    action = mending(say("Give it a readable name"), "readable-name", address)
    shown = encoding.shown(name)
    if shown != name:
        text = say(
            "The name of {shown} isn’t text that every program reads: Windows and macOS may not open it.",
            shown=shown,
        )
        return problem("name", address, text, say("Give it a name in letters that all know."), action)
    if fits_a_record(name):
        return None
    size = len(os.fsencode(name))
    text = say(
        "{name}… has a name of {size} bytes. No record fits beside it, so nobody can own it "
        "or give it a state. It can be opened, fetched and rendered.",
        name=name[:40],
        size=size,
    )
    action = mending(say("Shorten its name"), "readable-name", address)
    return problem("name", address, text, say("Give it a shorter name."), action)


def leftover(address: str, *actions: Action) -> Problem:
    """A temporary file of Croft's that is too old to be written still."""
    text = say("{address} is a temporary file that a crash left behind.", address=paths.name_of(address))
    return problem("leftover", address, text, say("It may be deleted."), *actions)


def interrupted(address: str) -> Problem:
    """Something that a crash cut off, in a folder that isn't there any more."""
    name, folder = paths.name_of(address), paths.folder_of(address)
    text = say(
        "Croft was cut off while {name} was deleted, kept or brought back, and {folder} is gone since.",
        name=name,
        folder=folder,
    )
    mend = say("Put the folder back, under any name, and start Croft again: then it is finished.")
    return problem("interrupted", address, text, mend)


def conflict(address: str, *actions: Action) -> Problem:
    """A copy that a synchronising program made."""
    text = say(
        "{address} is a copy that a synchronising program made of a conflict.", address=paths.name_of(address)
    )
    mend = say("Compare it with the original, keep the better one, delete the other.")
    return problem("conflict", address, text, mend, *actions)


def unreadable(address: str, why: str, path: Path | None = None, *actions: Action) -> Problem:
    """A folder or file that can't be looked at. With its path, the command that lets Croft in."""
    text = say(
        "{address} can’t be seen: {why}. What Croft knew of it is shown as it was.", address=address, why=why
    )
    command = ""
    if path is not None:
        place, above = shlex.quote(str(path)), shlex.quote(str(path.parent))
        # The group of the folder above is the one that students and Croft share.
        command = f"sudo chgrp -R --reference={above} {place} && sudo chmod -R g+rwX {place}"
    return problem(
        "unreadable", address, text, say("Give Croft’s user the right to read it."), *actions, command=command
    )


def newer(address: str, schema: int) -> Problem:
    """A file of a Croft that is newer than this one."""
    text = say("A newer Croft wrote it (schema {schema}): this one only reads it.", schema=schema)
    return problem("newer", address, text, say("Bring this Croft up to date."))


def same_uuid(address: str, first: str) -> Problem:
    """Two sidecars that claim to be one asset."""
    text = say("It holds the same uuid as {first}: one is a copy.", first=first)
    return problem("identity", address, text, say("Start Croft: the copy gets a uuid of its own."))


def as_data(problem: Problem) -> Mapping[str, Any]:
    """As the API tells it."""
    return {
        "id": problem.id,
        "kind": problem.kind,
        "address": problem.address,
        "text": problem.text,
        "mend": problem.mend,
        "severity": problem.severity,
        "command": problem.command,
        "actions": [action_data(action) for action in problem.actions],
    }


def action_data(action: Action) -> Mapping[str, Any]:
    """A button as the API tells it."""
    return {
        "label": action.label,
        "method": action.method,
        "path": action.path,
        "body": dict(action.body),
        "role": action.role,
    }
