"""A sidecar's bytes, and what they say.

Reads what people and other programs write (byte-order marks, CRLF, any order, unknown keys) and raises
`Broken` for the rest; keeps every key and its order when it writes. Knows nothing of locks or shares.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from server.disk import files
from server.disk.errors import NotFound, broken
from server.disk.records import Facts, Stat
from server.disk.speech import say

MAX_BYTES = 4 << 20  # a sidecar is a few hundred bytes; what is longer isn't one
SCHEMA = 1  # the newest that this Croft writes; newer ones are read-only, older ones are read for ever
MAX_DEPTH = 100  # of nested lists and objects
TEXT = 500  # characters of a short text kept in the index
_BOM = b"\xef\xbb\xbf"
_INDENT = re.compile(rb'\{\r?\n([ \t]+)"')

write_atomic = files.write_atomic


@dataclass(frozen=True, slots=True)
class Sidecar:
    """One sidecar as it was on disk at one moment. An empty one (`etag` '') stands for none yet."""

    data: dict[str, Any]
    raw: bytes
    etag: str
    stat: Stat | None = None

    @property
    def newer(self) -> bool:
        """Written by a newer Croft: read-only for this one."""
        return schema_of(self.data) > SCHEMA


EMPTY = Sidecar({}, b"", "")


def read(path: Path | str) -> Sidecar:
    """The sidecar at this path. NotFound when there is none; Broken when it isn't a JSON object."""
    try:
        raw, st = files.read_bounded(path, MAX_BYTES)
    except FileNotFoundError as error:
        raise NotFound("There is no {path}.", path=str(path)) from error
    except OSError as error:
        why = say("it is a link") if error.errno == errno.ELOOP else str(error.strerror)
        raise broken(path, why) from error
    return Sidecar(parse(raw, path), raw, etag(raw), Stat.of(st))


def parse(raw: bytes, path: Path | str) -> dict[str, Any]:
    """The object in these bytes, every key in its order; Broken says what is wrong."""
    body = raw.removeprefix(_BOM)
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
        if not isinstance(data, dict):
            raise broken(path, say("it holds a {kind}, not an object in braces", kind=_kind(data)))
        _check_depth(data)
    except UnicodeDecodeError as error:
        if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise broken(path, say("it was saved as UTF-16; save it as UTF-8")) from error
        raise broken(path, say("it isn't UTF-8 at byte {start}", start=error.start)) from error
    except json.JSONDecodeError as error:
        if not body.strip():
            raise broken(path, say("it is empty")) from error
        if body.count(b"\0") == len(body):
            raise broken(path, say("it holds nothing but zeros, as after a power cut")) from error
        raise broken(path, f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError as error:
        raise broken(path, say("it is nested too deep")) from error
    except ValueError as error:
        raise broken(path, str(error)) from error
    return data


def etag(raw: bytes) -> str:
    """The hash of a file's bytes, as the ETag that an edit names."""
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def dump(data: Mapping[str, Any], like: bytes = b"") -> bytes:
    """Indented UTF-8, in the order of the keys, with the indentation of the file it replaces."""
    match = _INDENT.match(like.removeprefix(_BOM)[:200])
    indent: str | int = match[1].decode("ascii") if match else 2
    text = json.dumps(data, indent=indent, ensure_ascii=False, allow_nan=False)
    # A lone surrogate has no UTF-8; as an escape it survives.
    try:
        return (text + "\n").encode("utf-8")
    except UnicodeEncodeError:
        return (json.dumps(data, indent=indent, allow_nan=False) + "\n").encode("ascii")


def schema_of(data: Mapping[str, Any]) -> int:
    """Which schema a record was written by; RFAM's files say nothing and count as 1."""
    value = data.get("schema", 1)
    return value if isinstance(value, int) and not isinstance(value, bool) else 1


def facts(data: Mapping[str, Any]) -> Facts:
    """What the index keeps. Values of a wrong type count as absent: the file keeps them."""
    get = data.get
    return Facts(
        name=_text(get("name")),
        description=_text(get("description")),
        type=sys.intern(_text(get("type"))),
        creator=sys.intern(_text(get("creator"))),
        owner=sys.intern(_text(get("owner"))),
        support=_texts(get("support")),
        state=sys.intern(_text(get("state"))),
        priority=_priority(data),
        render=get("render") is True,
        final=get("final") is True,
        time_budget=_budget(get("time_budget")),
        tags=_texts(get("tags")),
        uuid=_text(get("uuid")),
        protect=get("protect") is True,
        schema=schema_of(data),
        derived_from=_text(get("derived_from")),
        dependencies=_texts(get("dependencies")),
        due=_day(get("due")),
        start=_frame(get("start")),
        end=_frame(get("end")),
        rating=min(5.0, max(0.0, _number(get("rating")))),
        pipeline=_stages(get("pipeline")),
        time_spent=_number(get("time_spent")),
    )


def _priority(data: Mapping[str, Any]) -> int:
    """1 to 5, or 0 where nothing is said. RFAM's go from 0 to 100, and its records tell no schema."""
    value = int(_number(data.get("priority")))
    if value > 5:
        return 1 + (min(value, 100) + 12) // 25
    return 1 if value == 0 and "priority" in data and "schema" not in data else value


def _budget(value: object) -> float:
    """Hours. RFAM tells minutes by state."""
    if isinstance(value, dict):
        return round(sum(_number(minutes) for minutes in value.values()) / 60, 2)
    return _number(value)


def _day(value: object) -> str:
    try:
        return date.fromisoformat(value).isoformat() if isinstance(value, str) and len(value) == 10 else ""
    except ValueError:
        return ""


def _frame(value: object) -> int | None:
    """RFAM's files hold frames as text, too."""
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal() and len(value) < 12:
        return int(value)
    return int(value) if isinstance(value, (int, float)) and _number(value) == value else None


def _stages(value: object) -> tuple[tuple[str, str], ...]:
    """Stages of a shot, each with its state; RFAM's one word for all of them is a stage without a name."""
    if isinstance(value, dict):
        pairs = [(_text(stage), _text(state)) for stage, state in list(value.items())[:50]]
        return tuple((sys.intern(stage), sys.intern(state)) for stage, state in pairs if stage and state)
    text = _text(value)
    return (("", sys.intern(text)),) if text else ()


def _text(value: object) -> str:
    if isinstance(value, str):
        return value[:TEXT]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return ""


def _texts(value: object) -> tuple[str, ...]:
    if not value:
        return ()
    if isinstance(value, str):
        return (sys.intern(value[:TEXT]),)
    if isinstance(value, list):
        return tuple(sys.intern(_text(item)) for item in value[:100] if _text(item))
    return ()


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0
    return value if abs(value) < 1e15 else 0


def _kind(value: object) -> str:
    names = {list: "list", str: "text", int: "number", float: "number", bool: "true or false"}
    return names.get(type(value), "null")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, (dict, list))
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise ValueError("it is nested too deep")
