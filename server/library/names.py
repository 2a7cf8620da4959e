"""What a file's name says: project, sequence, shot, task and version, by patterns that a studio writes down.

    {project}_{sequence}_{shot}_{task}_v{version}      green_sq01_sh010_anim_v003

A pattern is text with fields in braces; it fits a name, without its ending, when it fits all of it. A field
takes at least one character, and none that begins the text after it or (at the end) the text before it, so
every name has one reading at most. `{version}` and `{field:number}` take digits alone, `{field:letters}` no
digit; `{field:text}` takes separators too, as few as do. Two fields stand side by side only where one is of
digits and the other of letters. Letters of the text fit in either case; `{{` and `}}` are braces. Pure.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from server.disk import faults
from server.disk.errors import BadInput
from server.disk.records import Problem
from server.disk.speech import say

from .media import kinds

FIELDS = ("project", "sequence", "shot", "task", "version")
TYPES = ("word", "number", "letters", "text")
DEFAULT = "{project}_{sequence}_{shot}_{task}_v{version}"
LONGEST = 200  # characters of a pattern
TEXTS = 2  # fields of the type text: each makes looking for a fit longer
DIGITS = 12  # of a number
NO_NAME = re.compile(r"[\x00-\x1f/\x7f]")
READ_KEPT = 16384

Named = Mapping[str, Any]
NOTHING: Named = {}


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a pattern, and where it stands there."""

    name: str
    type: str
    position: int


@dataclass(frozen=True)
class Pattern:
    """One pattern. Made by `parse` alone."""

    text: str
    _expression: re.Pattern[str] = field(repr=False)
    _numbers: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """BadInput says what is wrong; its `position` is that of the character, counted from 0."""
        parts = _parts(text)
        expression = "".join(_expression(parts, n) for n in range(len(parts)))
        numbers = frozenset(p.name for p in parts if isinstance(p, _Field) and p.type == "number")
        return cls(text, re.compile(expression, re.IGNORECASE | re.DOTALL), numbers)

    def read(self, stem: str) -> dict[str, Any]:
        """What this pattern reads from a name without its ending; {} where it doesn't fit."""
        found = self._expression.fullmatch(stem)
        if found is None:
            return {}
        return {
            name: int(value) if name in self._numbers else value for name, value in found.groupdict().items()
        }


def read(pattern: Pattern, name: str) -> dict[str, Any]:
    """What a pattern reads from the name of a file or sequence: {} where it doesn't fit."""
    return pattern.read(stem_of(name))


def read_first(patterns: Sequence[Pattern], name: str) -> Named:
    """What the first pattern that fits reads. Shared: not to be changed."""
    return _read_first(tuple(patterns), stem_of(name))


@lru_cache(maxsize=READ_KEPT)
def _read_first(patterns: tuple[Pattern, ...], stem: str) -> Named:
    for pattern in patterns:
        if found := pattern.read(stem):
            return found
    return NOTHING


def stem_of(name: str) -> str:
    """A name without its ending, and a sequence's (`sh010.@.png`) without the place of its number."""
    stem = name[: -len(kinds.suffix(name)) or None]
    return stem[:-1].rstrip("._-") if stem.endswith("@") else stem


class Patterns:
    """The patterns that the configuration names, made once. A list with a mistake in it is told, and what
    was there before it stays in use. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str, tuple[tuple[str, ...], tuple[Pattern, ...]]] = {}  # the last good ones
        self._problems: dict[str, tuple[tuple[Any, ...], list[Problem]]] = {}

    def of(self, where: str, texts: Iterable[Any]) -> tuple[Pattern, ...]:
        """The patterns of a list that stands at `where` (as people know the file and key)."""
        asked = tuple(texts)
        with self._lock:
            made = self._made.get(where)
            if made is not None and made[0] == asked:
                self._problems.pop(where, None)
                return made[1]
            told = self._problems.get(where)
            if told is None or told[0] != asked:
                patterns, problems = _made_of(where, asked)
                if not problems:
                    self._made[where] = (asked, patterns)
                    self._problems.pop(where, None)
                    return patterns
                self._problems[where] = (asked, problems)
                if made is None:  # nothing good was there before: those of the list that are
                    made = self._made[where] = ((), patterns or (_DEFAULT,))
            return made[1] if made is not None else (_DEFAULT,)

    def keep(self, places: Iterable[str]) -> None:
        """Forget the mistakes of lists that are gone."""
        with self._lock:
            kept = set(places)
            self._problems = {where: told for where, told in self._problems.items() if where in kept}

    def problems(self) -> list[Problem]:
        """The mistakes, each with its place."""
        with self._lock:
            return [problem for _, problems in self._problems.values() for problem in problems]


def _made_of(where: str, texts: tuple[Any, ...]) -> tuple[tuple[Pattern, ...], list[Problem]]:
    patterns: list[Pattern] = []
    problems: list[Problem] = []
    for number, text in enumerate(texts, 1):
        try:
            patterns.append(Pattern.parse(text))
        except BadInput as error:
            place = f"{where}, pattern {number}"
            at = f" (character {error.facts.get('position', 0) + 1} of {str(text)[:LONGEST]!r})"
            mend = say("Correct it; what was there before is used until then.")
            problems.append(
                faults.problem(
                    "name", place, say("In {place}: {why}{at}", place=place, why=error.message, at=at), mend
                )
            )
    return tuple(patterns), problems


def _wrong(sentence: str, position: int) -> BadInput:
    return BadInput(sentence, position=position, field="name_patterns")


def _parts(text: str) -> list[_Field | str]:
    """Fields and the text between them, checked."""
    if not isinstance(text, str) or not text:
        raise _wrong(say("A name pattern is a text with fields in braces, such as {shot}_{task}."), 0)
    if len(text) > LONGEST:
        raise _wrong(say("A name pattern has {longest} characters at most.", longest=LONGEST), LONGEST)
    parts: list[_Field | str] = []
    place = 0
    while place < len(text):
        character = text[place]
        if character in "{}" and text[place : place + 2] == 2 * character:
            place = _add_text(parts, character, place) + 1
        elif character == "{":
            found = _field_at(text, place)
            _check_beside(parts, found)
            parts.append(found)
            place = text.index("}", place) + 1
        elif character == "}":
            raise _wrong(say("There is a } without its {. A brace in a name is written }}."), place)
        elif NO_NAME.match(character):
            raise _wrong(say("No file name holds this character."), place)
        else:
            place = _add_text(parts, character, place)
    fields = [part for part in parts if isinstance(part, _Field)]
    if not fields:
        raise _wrong(say("No field is in it: put one of {fields} in braces.", fields=", ".join(FIELDS)), 0)
    texts = [one for one in fields if one.type == "text"]
    if len(texts) > TEXTS:
        raise _wrong(say("{texts} fields of the type text at most.", texts=TEXTS), texts[TEXTS].position)
    return parts


def _add_text(parts: list[_Field | str], character: str, place: int) -> int:
    if parts and isinstance(parts[-1], str):
        parts[-1] += character
    else:
        parts.append(character)
    return place + 1


def _field_at(text: str, place: int) -> _Field:
    end = text.find("}", place)
    if end < 0 or "{" in text[place + 1 : end]:
        raise _wrong(say("This { has no }. A brace in a name is written {{."), place)
    name, colon, kind = text[place + 1 : end].partition(":")
    if name not in FIELDS:
        raise _wrong(
            say("There is no field {name}: use {fields}.", name=repr(name[:40]), fields=", ".join(FIELDS)),
            place + 1,
        )
    if not colon:
        kind = "number" if name == "version" else "word"
    if kind not in TYPES or (name == "version" and kind != "number"):
        can = "number" if name == "version" else ", ".join(TYPES)
        raise _wrong(
            say("{name} can’t be of the type {kind}: use {can}.", name=name, kind=repr(kind[:40]), can=can),
            place + 2 + len(name),
        )
    return _Field(name, kind, place)


def _check_beside(parts: list[_Field | str], new: _Field) -> None:
    if any(isinstance(part, _Field) and part.name == new.name for part in parts):
        raise _wrong(say("{new} is there twice.", new=new.name), new.position)
    before = parts[-1] if parts else None
    if isinstance(before, _Field) and {before.type, new.type} != {"number", "letters"}:
        sentence = (
            f"Nothing stands between {before.name} and {new.name}: where does one end? Put a separator "
        )
        sentence += (
            "there, or make one a number and the other letters, as in {sequence:letters}{shot:number}."
        )
        raise _wrong(sentence, new.position)


def _expression(parts: list[_Field | str], at: int) -> str:
    part = parts[at]
    if isinstance(part, str):
        return re.escape(part)
    if part.type == "number":
        return f"(?P<{part.name}>[0-9]{{1,{DIGITS}}})"
    after = parts[at + 1] if at + 1 < len(parts) else None
    before = parts[at - 1] if at else None
    never = after[0] if isinstance(after, str) else before[0] if isinstance(before, str) else ""
    if part.type == "text":
        return f"(?P<{part.name}>.+?)"
    never = "".join(re.escape(one) for one in dict.fromkeys((never, never.lower(), never.upper())) if one)
    digits = "0-9" if part.type == "letters" else ""
    return f"(?P<{part.name}>[^{digits}{never}]+)" if digits or never else f"(?P<{part.name}>.+)"


_DEFAULT = Pattern.parse(DEFAULT)
