"""What an edit of an asset may say, field by field. Pure, but for asking who is known.

Refuses with a sentence that names the field, what is wrong, and the nearest word that would be right.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

from server.disk.errors import BadInput, Forbidden
from server.disk.records import utc_now
from server.disk.speech import say

from ..people import People, User
from ..projects import AssetSet

TEXT_LIMITS = {"name": 200, "description": 20_000, "type": 100}
STAGES, STAGE_TEXT = 50, 100
LIST_LIMIT = 200
HOURS_MOST = 100_000
FRAME_MOST = 10_000_000
_NUMBER = re.compile(r"-?\d{1,12}(\.\d{0,6})?")
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
                raise BadInput("'{field}' can't be changed.", field=field)
            near = difflib.get_close_matches(str(field), FIELDS, 1, 0.5)
            hint = (
                say(" Did you mean '{near}'?", near=near[0])
                if near
                else say(" Known are {fields}.", fields=", ".join(FIELDS))
            )
            raise BadInput("There is no field '{field}'.{hint}", field=str(field)[:100], hint=hint)
        if field in SUPERVISORS and not user.at_least("supervisor"):
            raise Forbidden("Only a supervisor may set '{field}'.", field=field)
        checked[field] = check(field, value, words, people)
    return checked


def _text(field: str, value: Any, words: AssetSet, people: People) -> str:
    limit = TEXT_LIMITS.get(field, 1000)
    if not isinstance(value, str):
        raise BadInput("'{field}' must be a text.", field=field)
    if len(value) > limit:
        raise BadInput("'{field}' is longer than {limit} characters.", field=field, limit=limit)
    if any(ord(c) < 32 and c not in "\n\t\r" for c in value):
        raise BadInput("'{field}' holds control characters.", field=field)
    return value


def _line(field: str, value: Any, words: AssetSet, people: People) -> str:
    text = _text(field, value, words, people).strip()
    if not text:
        raise BadInput("'{field}' is empty.", field=field)
    if "\n" in text or "\r" in text:
        raise BadInput("'{field}' must be one line.", field=field)
    return text


def _one_of(field: str, value: Any, known: Mapping[str, Any]) -> str:
    if isinstance(value, str) and value in known:
        return value
    near = difflib.get_close_matches(str(value), known, 1, 0.5)
    hint = (
        say("Did you mean '{near}'?", near=near[0])
        if near
        else say("Use one of {known}.", known=", ".join(known))
    )
    raise BadInput(
        "There is no {field} '{value}' here. {hint}", field=field, value=str(value)[:100], hint=hint
    )


def _type(field: str, value: Any, words: AssetSet, people: People) -> str:
    return _one_of(field, value, words.types)


def _state(field: str, value: Any, words: AssetSet, people: People) -> str:
    return _one_of(field, value, words.states)


def _priority(field: str, value: Any, words: AssetSet, people: People) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value in words.priorities:
        return value
    least, most = min(words.priorities), max(words.priorities)
    raise BadInput(
        "'priority' must be a whole number from {least} to {most}.", field=field, least=least, most=most
    )


def _person(field: str, value: Any, words: AssetSet, people: People) -> str:
    if value in ("", None):
        return ""
    if not isinstance(value, str):
        raise BadInput("'{field}' must be a user's name.", field=field)
    return _one_of(field, value, {user.ident: user for user in people.users()})


def _day(field: str, value: Any, words: AssetSet, people: People) -> str:
    if value in ("", None):
        return ""
    try:
        if isinstance(value, str) and len(value) == 10:
            return datetime.date.fromisoformat(value).isoformat()
    except ValueError:
        pass
    raise BadInput("'{field}' must be a day, written like 2026-11-22.", field=field)


def _persons(field: str, value: Any, words: AssetSet, people: People) -> list[str]:
    return [_person(field, one, words, people) for one in _list(field, value)]


def _yes_no(field: str, value: Any, words: AssetSet, people: People) -> bool:
    if isinstance(value, bool):
        return value
    raise BadInput("'{field}' must be true or false.", field=field)


def _seconds(field: str, value: Any, words: AssetSet, people: People) -> float | int | None:
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e12:
        return value
    raise BadInput("'{field}' must be a number, 0 or more.", field=field)


def _texts(field: str, value: Any, words: AssetSet, people: People) -> list[str]:
    return list(dict.fromkeys(_line(field, one, words, people) for one in _list(field, value)))


def _list(field: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise BadInput("'{field}' must be a list.", field=field)
    if len(value) > LIST_LIMIT:
        raise BadInput("'{field}' holds more than {list_limit} entries.", field=field, list_limit=LIST_LIMIT)
    return value


def _typed(value: Any, least: float, most: float, wrong: str) -> float | int | None:
    """A number, also as people type it: '1,5'. None for nothing; BadInput with `wrong` for what is none."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        text = value.strip().replace(",", ".").replace("\N{MINUS SIGN}", "-")
        if _NUMBER.fullmatch(text):
            value = float(text) if "." in text else int(text)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and least <= value <= most:
        return value
    raise BadInput(wrong)


def _hours(field: str, value: Any, words: AssetSet, people: People) -> float | int | None:
    return _typed(value, 0, HOURS_MOST, say("'{field}' must be a number of hours, 0 or more.", field=field))


def _stars(field: str, value: Any, words: AssetSet, people: People) -> float | int | None:
    return _typed(value, 0, 5, say("'{field}' must be a number of stars, from 0 to 5.", field=field))


def _frame(field: str, value: Any, words: AssetSet, people: People) -> int | None:
    wrong = say("'{field}' must be the number of a frame.", field=field)
    number = _typed(value, -FRAME_MOST, FRAME_MOST, wrong)
    if number is not None and number != int(number):
        raise BadInput(wrong)
    return None if number is None else int(number)


def _stages(field: str, value: Any, words: AssetSet, people: People) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > STAGES:
        raise BadInput(
            say("'{field}' must be a JSON object of at most {most} stages.", field=field, most=STAGES)
        )
    for stage, state in value.items():
        if not isinstance(stage, str) or not stage.strip() or len(stage) > STAGE_TEXT:
            wrong = say("'{field}': a stage has at most {most} characters.", field=field, most=STAGE_TEXT)
            raise BadInput(wrong, field=field)
        if state != "" and (not isinstance(state, str) or state not in words.states):
            _state(f"{field} {stage}"[:60], state, words, people)
    return dict(value)


def _since(field: str, value: Any, words: AssetSet, people: People) -> str:
    if value in ("", None):
        return ""
    if value == "now":
        return utc_now()
    try:
        if isinstance(value, str) and datetime.datetime.fromisoformat(value).tzinfo is not None:
            return value
    except ValueError:
        pass
    raise BadInput(say("'{field}' must be a time, written like 2026-11-22T14:05:00Z, or 'now'.", field=field))


def with_changes(record: Mapping[str, Any], checked: Mapping[str, Any]) -> dict[str, Any]:
    """A record with these changes: None takes a key away; of the pipeline's stages only the named change.

    BadInput for one that unlocks a protected file: that takes a reason.
    """
    if record.get("protect") is True and checked.get("protect", True) is not True:
        raise BadInput("It is protected. Unlock it, and say why: POST …/unlock.", field="protect")
    new = {key: value for key, value in {**record, **checked}.items() if checked.get(key, 0) is not None}
    if "pipeline" in checked:
        before = record.get("pipeline")
        stages = {**(before if isinstance(before, dict) else {}), **checked["pipeline"]}
        new["pipeline"] = {stage: state for stage, state in stages.items() if state != ""}
    return new


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
    "time_budget": _hours,
    "time_spent": _hours,
    "statistics_since": _since,
    "dependencies": _texts,
    "rating": _stars,
    "pipeline": _stages,
    "start": _frame,
    "end": _frame,
    "render_time": _seconds,
}
FIXED = frozenset({
    "schema", "uuid", "derived_from", "address", "project", "path", "status", "kind", "size", "modified",
    "etag", "thumbnail", "facts", "jobs", "url", "broken",
})  # fmt: skip
