"""The settings of a job type: what a person may set when submitting, with types, limits, choices and help.

The API checks by them and the page is drawn from them. Pure.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.disk.errors import BadInput
from server.disk.speech import say

TYPES = ("text", "number", "whole", "flag", "arguments")
MAX_TEXT = 1000  # characters of a text
MAX_ARGUMENTS = 200
MAX_LINE = 8000  # characters of a command line
MAX_SETTINGS = 60
MAX_CHOICES = 200

_WORDS = {
    "text": "text",
    "number": say("a number"),
    "whole": say("a whole number"),
    "flag": say("true or false"),
    "arguments": say("a command line, or a list of texts"),
}
_KEYS = frozenset({"type", "title", "help", "unit", "default", "choices", "least", "most", "advanced"})


@dataclass(frozen=True)
class Setting:
    """One thing that a person may set when submitting."""

    name: str
    type: str
    title: str
    help: str
    unit: str
    default: Any
    choices: tuple[Any, ...]
    labels: tuple[str, ...]  # of the choices
    least: float | None
    most: float | None
    advanced: bool  # shown only to who asks for more

    def check(self, value: Any) -> Any:
        """The value, or BadInput with a sentence."""
        if value is None and (self.default is None or None in self.choices):
            return None
        if self.type == "arguments" and isinstance(value, str):
            value = self._split(value)
        if not self._fits(value):
            raise BadInput(
                "{field} must be {kind}, not {value}.",
                field=self.name,
                kind=_WORDS[self.type],
                value=repr(value)[:200],
            )
        if self.choices and value not in self.choices:
            known = ", ".join(str(choice) for choice in self.choices if choice is not None)
            raise BadInput(
                "{field} must be one of {known}, not {value}.",
                field=self.name,
                known=known[:200],
                value=repr(value)[:60],
            )
        if self.least is not None and value < self.least:
            raise BadInput(
                "{field} must be at least {least:g}, not {value}.",
                field=self.name,
                least=self.least,
                value=value,
            )
        if self.most is not None and value > self.most:
            raise BadInput(
                "{field} must be at most {most:g}, not {value}.", field=self.name, most=self.most, value=value
            )
        return value

    def view(self) -> dict[str, Any]:
        """As the API tells it."""
        return {
            "name": self.name,
            "type": self.type,
            "title": self.title,
            "help": self.help,
            "unit": self.unit,
            "default": self.default,
            "choices": [
                {"value": value, "title": title}
                for value, title in zip(self.choices, self.labels, strict=True)
            ],
            "least": self.least,
            "most": self.most,
            "advanced": self.advanced,
        }

    def _split(self, line: str) -> list[str]:
        if len(line) > MAX_LINE:
            raise BadInput(
                "{field} is longer than {max_line} characters.", field=self.name, max_line=MAX_LINE
            )
        try:
            return shlex.split(line)
        except ValueError as error:
            raise BadInput("{field} can't be read: {why}.", field=self.name, why=error) from error

    def _fits(self, value: Any) -> bool:
        if self.type == "flag":
            return isinstance(value, bool)
        if self.type == "text":
            return _is_text(value, MAX_TEXT)
        if self.type == "arguments":
            some = isinstance(value, list) and 0 < len(value) <= MAX_ARGUMENTS
            return some and all(_is_text(part, MAX_LINE) for part in value) and bool(value[0])
        whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
        return whole if self.type == "whole" else whole or (isinstance(value, float) and abs(value) < 1e15)


def _is_text(value: Any, most: int) -> bool:
    return isinstance(value, str) and len(value) <= most and "\0" not in value


def read(name: str, told: Any, place: str) -> Setting:
    """A setting from a type's file; BadInput names the key that is wrong."""
    if not isinstance(told, Mapping):
        raise BadInput("{place} must be an object in braces", place=place)
    for key in told:
        if key not in _KEYS and not str(key).startswith("_"):
            raise BadInput(
                "{place} has no key {key}: it may have {keys}",
                place=place,
                key=repr(str(key)[:40]),
                keys=", ".join(sorted(_KEYS)),
            )
    kind = told.get("type", "text")
    if kind not in TYPES:
        raise BadInput(
            "{place}.type must be one of {types}, not {kind}",
            place=place,
            types=", ".join(TYPES),
            kind=repr(kind),
        )
    listed = told.get("choices") or []
    if not isinstance(listed, list) or len(listed) > MAX_CHOICES:
        raise BadInput("{place}.choices must be a list", place=place)
    choices = [choice.get("value") if isinstance(choice, Mapping) else choice for choice in listed]
    labels = [_label(choice) for choice in listed]
    limits: list[float | None] = []
    for key in ("least", "most"):
        limit = told.get(key)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, (int, float))):
            raise BadInput(
                "{place}.{key} must be a number, not {limit}", place=place, key=key, limit=repr(limit)
            )
        limits.append(limit)
    setting = Setting(
        name=name,
        type=kind,
        title=say(str(told.get("title") or name.replace("_", " ").capitalize())),
        help=say(str(told.get("help") or "")),
        unit=say(str(told.get("unit") or "")),
        default=told.get("default"),
        choices=tuple(choices),
        labels=tuple(labels),
        least=limits[0],
        most=limits[1],
        advanced=bool(told.get("advanced", False)),
    )
    for key, value in [("default", setting.default), *(("choices", choice) for choice in choices)]:
        if value is not None:
            try:
                setting.check(value)
            except BadInput as error:
                raise BadInput(
                    "{place}.{key}: {why}", place=place, key=key, why=error.message.rstrip(".")
                ) from error
    return setting


def _label(choice: Any) -> str:
    if isinstance(choice, Mapping):
        return str(choice.get("title") or choice.get("value"))
    return say("as the file says") if choice is None else str(choice)
