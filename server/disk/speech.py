"""Sentences for people that can be said in another language later.

`say` makes an English sentence that remembers what it was made from: its pattern and its values. Wherever
text is wanted it is that English sentence; the web wing, which knows who reads, says it in their language.
Knows no languages itself.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Any

PLACE = re.compile(r"\{([A-Za-z_]\w*)(?::([^{}]*))?\}")  # {name}, {size:.1f}; all else in braces is text
PATTERNS_KEPT = 4096


class Said(str):
    """A finished English sentence. `pattern` is its key in the languages, `many` the pattern of more than
    one (else ''), `values` fills the places; a value may be such a sentence itself."""

    __slots__ = ("many", "pattern", "values")

    pattern: str
    many: str
    values: dict[str, Any]


def say(pattern: str, /, **values: Any) -> Said:
    """A sentence, its places filled: `say("{user} changed this.", user=name)`. Words that mean two things
    say in the end which one is meant, for the languages alone: `say("Rendering ‹just now›")`."""
    return _said(fill(pattern, values), pattern, "", values)


def count(one: str, many: str, n: int, /, **values: Any) -> Said:
    """A sentence of a number: `count("{n} frame", "{n} frames", 24)`; thousands get their mark."""
    text = fill(one if n == 1 else many, {"n": f"{n:,}", **values})
    return _said(text, one, many, {"n": n, **values})


def key(pattern: str) -> str:
    """A pattern that is said somewhere else: marked here, so that the languages have it."""
    return pattern


def pair(one: str, many: str) -> tuple[str, str]:
    """The two patterns of a number that is said somewhere else, marked as `key` does."""
    return one, many


def together(parts: Iterable[str], between: str = " ") -> str:
    """Several sentences one after the other, as one; those that are empty are left out."""
    found = [part for part in parts if part]
    if not any(isinstance(part, Said) for part in found):
        return between.join(found)
    names = [f"p{n}" for n in range(len(found))]
    return say(between.join(f"{{{name}}}" for name in names), **dict(zip(names, found, strict=True)))


def fill(pattern: str, values: dict[str, Any], show: Callable[[Any, str], str] = format) -> str:
    """The pattern with its places filled, once: what looks like a place inside a value is text, and a place
    without a value stays as it stands."""
    made = []
    for text, name, how in places(pattern):
        if text:
            made.append(text)
        if name:
            known = name in values
            made.append(show(values[name], how) if known else f"{{{name}:{how}}}" if how else f"{{{name}}}")
    return "".join(made)


@functools.lru_cache(PATTERNS_KEPT)
def places(pattern: str) -> tuple[tuple[str, str, str], ...]:
    """What a pattern consists of: a text, the name of the place that follows it ('': none), how it is to be
    shown."""
    if pattern.endswith("›"):  # what tells it from another of the same words isn't said
        pattern = pattern.rpartition(" ‹")[0] or pattern
    found, end = [], 0
    for place in PLACE.finditer(pattern):
        found.append((pattern[end : place.start()], place[1], place[2] or ""))
        end = place.end()
    return (*found, (pattern[end:], "", ""))


def _said(text: str, pattern: str, many: str, values: dict[str, Any]) -> Said:
    made = Said(text)
    made.pattern, made.many, made.values = pattern, many, values
    return made
