"""The commands that tasks are made of: which there are, what each must be told, and which are harmless.

`node/commands/` does them. A harmless one touches nothing but the job's own outputs, whatever it is told;
the others run only where the farm itself has sealed the job (`seal.py`). Also how their words are filled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from server.disk.errors import BadInput
from server.farm import stages

WORD = re.compile(r"\{([a-z_]+)\}")
# What the words of a command can stand for, besides the type's own settings and those of `stages.WORDS`.
OF_JOB = (
    *("file", "frames", "folder", "name", "stem", "frames_name", "fps", "scene_folder"),
    *("job", "project", "user", "attempt"),
)
ON_NODE = ("scratch",)  # filled in by the node: a folder of the attempt's own, gone with it


@dataclass(frozen=True, slots=True)
class Command:
    """One kind of command."""

    needs: tuple[str, ...]  # keys that it must have
    may: tuple[str, ...] = ()
    harmless: bool = True
    program: str = ""  # that the node must have
    newer: tuple[str, ...] = ()  # keys of `may` that are left out where nothing was said


_BLENDER = ("frames", "chunk", "folder", "name", "format", "scene", "view_layer", "camera", "width", "height")
_NEWER = ("percentage", "samples", "engine")
COMMANDS: dict[str, Command] = {
    "blender-frame": Command(("file", "frame"), (*_BLENDER, "tile", *_NEWER), True, "blender", _NEWER),
    "blender-video": Command(("file", "frames", "name"), (*_BLENDER, "frame", *_NEWER), True, "blender"),
    "blender-assemble": Command(
        ("file", "frame", "folder", "name", "parts", "columns", "rows"), _BLENDER, True, "blender"
    ),
    "make-preview": Command(("folder", "name", "source", "frames"), ("fps", "width"), True, "ffmpeg"),
    "test-pattern": Command(("frame",), ("seconds", "width", "height", "folder", "name", "chunk"), True),
    "verify": Command((), ("least", "width", "height", "suffix"), True),
    "run": Command(("argv",), ("folder", "name", "where", "environment"), False),
    "copy": Command(("from", "folder"), ("name", "kind"), False),
    "move": Command(("from", "folder"), ("name", "kind"), False),
}
ANYWHERE = ("do", "progress")  # keys that every command may have


def check(commands: Any, known: Iterable[str], place: str) -> tuple[dict[str, Any], ...]:
    """A type's commands; BadInput names the key that is wrong."""
    if not isinstance(commands, list) or not commands:
        raise BadInput("{place} must be a list of commands", place=place)
    words = {*known, *OF_JOB, *ON_NODE, *stages.WORDS}
    for n, command in enumerate(commands):
        where = f"{place}[{n}]"
        if not isinstance(command, Mapping):
            raise BadInput("{where} must be an object in braces", where=where)
        kind = COMMANDS.get(str(command.get("do")))
        if kind is None:
            raise BadInput(
                "{where}.do must be one of {commands}, not {do}",
                where=where,
                commands=", ".join(COMMANDS),
                do=repr(command.get("do")),
            )
        for key in kind.needs:
            if command.get(key) in (None, "", []):
                raise BadInput("{where}.{key} is missing", where=where, key=key)
        for key in command:
            if key not in (*kind.needs, *kind.may, *ANYWHERE) and not str(key).startswith("_"):
                allowed = ", ".join((*kind.needs, *kind.may))
                raise BadInput(
                    "{where} has no key {key}: {do} may have {allowed}",
                    where=where,
                    key=repr(str(key)[:40]),
                    do=command["do"],
                    allowed=allowed,
                )
        if command["do"] == "run":
            _check_arguments(command["argv"], f"{where}.argv", words)
        for word in words_in(command):
            if word not in words:
                raise BadInput(
                    "{where} has the word {{word}}, which stands for nothing", where=where, word=word
                )
    return tuple(dict(command) for command in commands)


def _check_arguments(argv: Any, place: str, words: set[str]) -> None:
    if isinstance(argv, str) and WORD.fullmatch(argv):
        return
    if not isinstance(argv, list) or not isinstance(argv[0], str) or not argv[0]:
        raise BadInput("{place} must be a list that begins with the program's name", place=place)
    for n, part in enumerate(argv):
        if isinstance(part, list):
            if not all(isinstance(inner, str) for inner in part):
                raise BadInput("{place}[{number}] must be a list of texts", place=place, number=n)
        elif not isinstance(part, str):
            raise BadInput(
                "{place}[{number}] must be a text, or a list of texts that belong together",
                place=place,
                number=n,
            )


def words_in(thing: Any) -> set[str]:
    """The words that stand for something anywhere in it."""
    if isinstance(thing, str):
        return set(WORD.findall(thing))
    if isinstance(thing, Mapping):
        return {word for key, value in thing.items() if key != "progress" for word in words_in(value)}
    if isinstance(thing, (list, tuple)):
        return {word for value in thing for word in words_in(value)}
    return set()


def harmless(commands: Iterable[Mapping[str, Any]]) -> bool:
    """Do all of them touch nothing but the job's own outputs?"""
    kinds = [COMMANDS.get(_plain(str(command.get("do")))) for command in commands]
    return all(kind is not None and kind.harmless for kind in kinds)


_FRAMES = ("{frames}", "{chunk}")
_OWN = {"file": ("{file}",), "folder": ("{folder}",), "frames": _FRAMES, "chunk": _FRAMES}
_NAMES = ("name", "source", "parts", "suffix")  # of files in the job's own folder


def own(commands: Iterable[Mapping[str, Any]], filled: Iterable[Mapping[str, Any]]) -> bool:
    """Do they name nothing but the job's own file, folder and frames? `commands`: with their words."""
    for command in commands:
        if any(key in command and command[key] not in allowed for key, allowed in _OWN.items()):
            return False
    names = [command.get(key) for command in filled for key in _NAMES]
    return all(name is None or (isinstance(name, str) and not set("/\\\0") & set(name)) for name in names)


def writes(commands: Iterable[Mapping[str, Any]], attempt: str) -> bool:
    """Must a task of these leave a file? A program that was told no name of the `attempt` may not."""

    def one(command: Mapping[str, Any]) -> bool:
        if command.get("do") == "run":
            return any(attempt in part for part in command["argv"])
        return bool(command.get("folder"))

    return any(one(command) for command in commands)


def _plain(do: str) -> str:
    return "blender-frame" if do == "blender-frames" else do


def fill(
    commands: Iterable[Mapping[str, Any]], values: Mapping[str, Any], texts: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """Commands with each word replaced by what it stands for. A text that is nothing but one word takes the
    value as it is: numbers stay numbers, null stays null. `texts`: other values in a program's arguments."""
    return [_fill_object(command, values, {**values, **(texts or {})}) for command in commands]


def _fill_object(
    thing: Mapping[str, Any], values: Mapping[str, Any], texts: Mapping[str, Any]
) -> dict[str, Any]:
    found = {}
    for key, value in thing.items():
        if key == "progress":
            found[key] = value
        elif key == "argv":
            found[key] = _fill_arguments(value, texts)
        else:
            found[key] = _fill(value, values)
    return found


def _fill(thing: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(thing, str):
        whole = WORD.fullmatch(thing)
        if whole and whole[1] in values:
            return values[whole[1]]
        return WORD.sub(lambda found: str(values.get(found[1], found[0])), thing)
    if isinstance(thing, dict):
        return _fill_object(thing, values, values)
    if isinstance(thing, list):
        return [_fill(value, values) for value in thing]
    return thing


def _fill_arguments(argv: Any, values: Mapping[str, Any]) -> list[str]:
    """The arguments of a program, all texts. What a person typed as a whole command line has words too.
    Parts in a list of their own belong together: they are left out where one of their words has no value."""
    if isinstance(argv, str):
        typed = values.get(argv[1:-1])
        argv = typed if isinstance(typed, list) else [argv]
    found: list[str] = []
    for part in argv:
        if isinstance(part, list):
            if all(values.get(word, "") is not None for word in words_in(part)):
                found += [_text(inner, values) for inner in part]
        elif WORD.fullmatch(part) and isinstance(values.get(part[1:-1]), list):
            found += [_text(inner, values) for inner in values[part[1:-1]]]
        else:
            found.append(_text(part, values))
    return found


def _text(part: str, values: Mapping[str, Any]) -> str:
    def value(found: re.Match[str]) -> str:
        known = values.get(found[1], found[0])
        return "" if known is None else str(known).lower() if isinstance(known, bool) else str(known)

    return WORD.sub(value, part)
