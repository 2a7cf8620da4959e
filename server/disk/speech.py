"""Sentences for people that can be said in another language later.

`say` makes an English sentence that remembers what it was made from: its pattern and its values. Wherever
text is wanted it is that English sentence; the web wing, which knows who reads, says it in their language.
Knows no languages itself.
"""

from __future__ import annotations

from typing import Any


class Said(str):
    """A finished English sentence. `pattern` is its key in the languages, `many` the pattern of more than
    one (else ''), `values` fills the places; a value may be such a sentence itself."""

    __slots__ = ("many", "pattern", "values")

    pattern: str
    many: str
    values: dict[str, Any]


def say(pattern: str, **values: Any) -> Said:
    """A sentence, its places filled: `say("{user} changed this.", user=name)`."""
    return _said(pattern.format(**values), pattern, "", values)


def count(one: str, many: str, n: int, **values: Any) -> Said:
    """A sentence of a number: `count("{n} frame", "{n} frames", 24)`; thousands get their mark."""
    pattern = one if n == 1 else many
    return _said(pattern.format(n=f"{n:,}", **values), one, many, {"n": n, **values})


def _said(text: str, pattern: str, many: str, values: dict[str, Any]) -> Said:
    made = Said(text)
    made.pattern, made.many, made.values = pattern, many, values
    return made
