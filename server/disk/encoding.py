"""JSON and addresses of URLs that can also hold the names of files that aren't UTF-8.

Python gives such a name with lone surrogates (PEP 383). JSON has them as escapes, `"bad\\udcff.blend"`, and a
URL has the bytes themselves, `bad%FF.blend`: so every name that a file system has goes out and comes back.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable
from typing import Any

import orjson


def dumps(value: Any, *, indent: bool = False, told: Callable[[Any], Any] | None = None) -> bytes:
    """The value as JSON, UTF-8 where that is possible. TypeError for what no JSON can hold. `told` says a
    sentence of speech anew, wherever it stands."""
    option = orjson.OPT_INDENT_2 if indent else 0
    try:
        if told is not None:
            return orjson.dumps(value, _plainly(told), option | orjson.OPT_PASSTHROUGH_SUBCLASS)
        return orjson.dumps(value, option=option)
    except TypeError:  # lone surrogates, or whole numbers beyond 64 bits
        return json.dumps(value, indent=2 if indent else None).encode("ascii")


def ready(value: Any) -> Any:
    """The value as JSON already: `dumps` puts it as it is wherever it stands."""
    return orjson.Fragment(dumps(value))


def loads(raw: bytes) -> Any:
    """The value that JSON tells, escaped lone surrogates included. ValueError for what is none."""
    try:
        return orjson.loads(raw)
    except ValueError:
        if b"\\ud" not in raw and b"\\uD" not in raw:
            raise
        try:
            value = json.loads(raw, parse_constant=_no_constant)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        # Only those that stand for a byte of a name: others can't be written anywhere.
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogateescape")
        except (UnicodeEncodeError, RecursionError):
            raise ValueError("it holds half a character") from None
        return value


def quote(text: str, safe: str = "/") -> str:
    """An address or name as it stands in a URL."""
    return urllib.parse.quote(text, safe, errors="surrogateescape")


def shown(text: str) -> str:
    """A name as people can see it: what is no character is the sign for that."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _plainly(told: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What orjson does with a value of a class that stands on one of JSON's own."""

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return str(told(value))
        if isinstance(value, dict):
            return dict(value)
        if isinstance(value, list):
            return list(value)
        raise TypeError(f"{type(value)} is nothing that JSON has")

    return plain


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number that JSON has")
