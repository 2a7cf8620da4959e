"""What an edit of an asset may say, field by field. Pure, but for asking who is known.

Refuses with a sentence that names the field, what is wrong, and the nearest word that would be right.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Callable, Mapping
from typing import Any

from server.disk.errors import BadInput, Forbidden

from ..people import People, User
from ..projects import AssetSet

TEXT_LIMITS = {"name": 200, "description": 20_000, "type": 100, "pipeline": 200, "start": 100, "end": 100}
LIST_LIMIT = 200
SUPERVISORS = ("protect", "creator", "final")  # fields that students can't set


def validate(changes: Mapping[str, Any], words: AssetSet, user: User, people: People) -> dict[str, Any]:
    """The changes, as they are stored. BadInput names what is wrong, Forbidden what a student can't."""
    if not isinstance(changes, Mapping):
        raise BadInput("The changes must be a JSON object of fields.")
    checked: dict[str, Any] = {}
    for field, value in changes.items():
        check = FIELDS.get(field)
        if check is None:
            if field in FIXED:
                raise BadInput(f"'{field}' can't be changed.", field=field)
            near = difflib.get_close_matches(str(field), FIELDS, 1, 0.5)
            hint = f" Did you mean '{near[0]}'?" if near else f" Known are {', '.join(FIELDS)}."
            raise BadInput(f"There is no field '{str(field)[:100]}'.{hint}", field=str(field)[:100])
        if field in SUPERVISORS and not user.at_least("supervisor"):
            raise Forbidden(f"Only a supervisor may set '{field}'.", field=field)
        checked[field] = check(field, value, words, people)
    return checked


def _text(field: str, value: Any, words: AssetSet, people: People) -> str:
    limit = TEXT_LIMITS.get(field, 1000)
    if not isinstance(value, str):
        raise BadInput(f"'{field}' must be a text.", field=field)
    if len(value) > limit:
        raise BadInput(f"'{field}' is longer than {limit} characters.", field=field)
    if any(ord(c) < 32 and c not in "\n\t\r" for c in value):
        raise BadInput(f"'{field}' holds control characters.", field=field)
    return value


def _line(field: str, value: Any, words: AssetSet, people: People) -> str:
    text = _text(field, value, words, people).strip()
    if not text:
        raise BadInput(f"'{field}' is empty.", field=field)
    if "\n" in text or "\r" in text:
        raise BadInput(f"'{field}' must be one line.", field=field)
    return text


def _one_of(field: str, value: Any, known: Mapping[str, Any]) -> str:
    if isinstance(value, str) and value in known:
        return value
    near = difflib.get_close_matches(str(value), known, 1, 0.5)
    hint = f"Did you mean '{near[0]}'?" if near else f"Use one of {', '.join(known)}."
    raise BadInput(f"'{str(value)[:100]}' isn't a {field} here. {hint}", field=field)


def _type(field: str, value: Any, words: AssetSet, people: People) -> str:
    return _one_of(field, value, words.types)


def _state(field: str, value: Any, words: AssetSet, people: People) -> str:
    return _one_of(field, value, words.states)


def _priority(field: str, value: Any, words: AssetSet, people: People) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value in words.priorities:
        return value
    least, most = min(words.priorities), max(words.priorities)
    raise BadInput(f"'priority' must be a whole number from {least} to {most}.", field=field)


def _person(field: str, value: Any, words: AssetSet, people: People) -> str:
    if value in ("", None):
        return ""
    if not isinstance(value, str):
        raise BadInput(f"'{field}' must be a user's name.", field=field)
    return _one_of(field, value, {user.ident: user for user in people.users()})


def _day(field: str, value: Any, words: AssetSet, people: People) -> str:
    if value in ("", None):
        return ""
    try:
        if isinstance(value, str) and len(value) == 10:
            return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise BadInput(f"'{field}' must be a day, written like 2026-11-22.", field=field)


def _persons(field: str, value: Any, words: AssetSet, people: People) -> list[str]:
    return [_person(field, one, words, people) for one in _list(field, value)]


def _yes_no(field: str, value: Any, words: AssetSet, people: People) -> bool:
    if isinstance(value, bool):
        return value
    raise BadInput(f"'{field}' must be true or false.", field=field)


def _seconds(field: str, value: Any, words: AssetSet, people: People) -> float | int | None:
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12:
        return value
    raise BadInput(f"'{field}' must be a number, 0 or more.", field=field)


def _texts(field: str, value: Any, words: AssetSet, people: People) -> list[str]:
    return list(dict.fromkeys(_line(field, one, words, people) for one in _list(field, value)))


def _list(field: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadInput(f"'{field}' must be a list.", field=field)
    if len(value) > LIST_LIMIT:
        raise BadInput(f"'{field}' holds more than {LIST_LIMIT} entries.", field=field)
    return value


def _plain(field: str, value: Any, words: AssetSet, people: People) -> Any:
    """RFAM's free fields: a short text, a number or nothing."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    return _text(field, value, words, people)


FIELDS: dict[str, Callable[[str, Any, AssetSet, People], Any]] = {
    "name": _line,
    "description": _text,
    "type": _type,
    "owner": _person,
    "support": _persons,
    "state": _state,
    "priority": _priority,
    "due": _day,
    "tags": _texts,
    "render": _yes_no,
    "final": _yes_no,
    "protect": _yes_no,
    "creator": _person,
    "time_budget": _seconds,
    "dependencies": _texts,
    "rating": _seconds,
    "pipeline": _plain,
    "start": _plain,
    "end": _plain,
    "render_time": _seconds,
}
FIXED = frozenset({
    "schema", "uuid", "derived_from", "address", "project", "path", "status", "kind", "size", "modified",
    "etag", "thumbnail", "facts", "jobs", "url", "broken",
})  # fmt: skip
