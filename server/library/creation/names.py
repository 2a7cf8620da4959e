"""What a new asset's file is called: made from its name, or checked where a person says it. Pure.

A made name is small letters, digits and underscores of any script, as every system, renderer and command line
takes them. A name that a person gives stays as it is, or is refused with what is wrong about it.
"""

from __future__ import annotations

import unicodedata

from server.disk import paths
from server.disk.errors import BadInput
from server.disk.speech import say

ENDING = ".blend"
GIVEN_MOST = 1000  # of one that a person gives, folders included


def made(pattern: str, name: str, type: str, project: str) -> str:
    """A file's name without its ending, from a type's pattern such as `{type}_{name}`."""
    text = pattern if "{name}" in pattern else "{name}"
    for field, value in (("{name}", name), ("{type}", type), ("{project}", project)):
        text = text.replace(field, paths.plain_name(value))
    stem = paths.plain_name(text.replace("{", "").replace("}", "")) or paths.plain_name(type) or "new"
    return paths.safe_name(stem)


def given(text: str, folder: str) -> str:
    """The path within the project that a person wrote: its file's name alone goes into `folder`.

    BadInput says which part can't be, and why.
    """
    text = unicodedata.normalize("NFC", text.strip()).replace("\\", "/").strip("/")
    if len(text) > GIVEN_MOST:
        raise BadInput(say("This file name is too long."), field="file")
    if not text:
        raise BadInput(say("The file name is empty."), field="file")
    if "/" not in text and folder:
        text = f"{folder}/{text}"
    if not text.lower().endswith(ENDING):
        text += ENDING
    for part in text.split("/"):
        _check(part)
    return text


def _check(part: str) -> None:
    shown = part[:60]
    if any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn") for c in part):
        said = say("The file name holds a character that can’t be seen. Type it anew.")
        raise BadInput(said, field="file")
    if paths.is_own(part) or part.casefold() in (paths.OLD, paths.RENDER) or paths.is_ignored(part):
        said = say("“{name}” can’t be used: Croft keeps such names for itself.", name=shown)
        raise BadInput(said, field="file")
    if part in ("", ".blend") or paths.safe_name(part) != part:
        said = say(
            "“{name}” can’t be the name of a file or folder on every computer. Letters, digits, dashes and "
            "underscores always can.",
            name=shown,
        )
        raise BadInput(said, field="file")
