"""What a person may say in a note and how it is stored, and how a person is taken out of one. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from server.disk.errors import BadInput
from server.disk.speech import say

from ..people import SOMEONE
from . import marks, record
from .record import ANYBODY, TEXT_MOST

YES = (True, "true", "on", "1")  # the texts are a form's


def check(
    given: Mapping[str, Any], known: Callable[[str], bool], aspect: Callable[[], float]
) -> dict[str, Any]:
    """The fields as they are stored, each checked; numbers may be text, as forms send them. `known(user)`;
    `aspect()`: the picture's, where somebody points without drawing. BadInput."""
    found: dict[str, Any] = {}
    if "text" in given:
        found["text"] = record.clean(str(given["text"] or ""))
        if len(found["text"]) > TEXT_MOST:
            raise BadInput(say("A note has at most {n} characters.", n=f"{TEXT_MOST:,}"), field="text")
    if "frame" in given:
        found["frame"] = frame(given["frame"])
    if "version" in given:
        found["version"] = version = str(given["version"] or "")
        if version and not record.is_version(version):
            text = say("A version is called v001, v002 …, not {name}.", name=version[:40])
            raise BadInput(text, field="version")
    place = str(given.get("where") or "")
    if "marks" in given or place:
        drawn = marks.check(given.get("marks"))
        if place:
            ring = marks.ring(place, drawn.aspect if drawn else aspect())
            drawn = marks.Marks(ring.aspect, ring.lines + (drawn.lines if drawn else ()))
        found["marks"] = drawn.data() if drawn else None
    if "todo" in given:
        found["todo"] = todo = str(given["todo"] or "").strip()
        if todo not in ("", ANYBODY) and not known(todo):
            raise BadInput(say("There is nobody named {name}.", name=todo[:64]), field="todo")
    for name in ("resolved", "deleted"):
        if name in given:
            found[name] = given[name] in YES
    if isinstance(ticks := given.get("ticks"), Mapping):
        found["ticks"] = {str(key)[:40]: done in YES for key, done in ticks.items()}
    return found


def frame(value: object) -> int | None:
    """A frame's number; None for nothing."""
    if value in (None, ""):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    number = re.fullmatch(r"-?\d{1,9}", text, re.ASCII)
    if isinstance(value, bool) or not number or int(text) not in record.FRAMES:
        raise BadInput(say("A frame is a whole number, not {text}.", text=text[:40]), field="frame")
    return int(text)


def without(data: Mapping[str, Any], user: str) -> dict[str, Any]:
    """What a note's file says, without a person's name."""
    fresh = dict(data)
    if fresh.get("who") == user:
        fresh["who"] = SOMEONE
    if fresh.get("todo") == user:
        fresh["todo"] = ANYBODY
    if isinstance(text := fresh.get("text"), str) and user in record.mentions(text):
        said = record.pieces_of(text)
        fresh["text"] = "".join("@" + SOMEONE if name == user else words for name, words in said)
    if isinstance(changed := fresh.get("set"), dict):
        fresh["set"] = without(changed, user)
    return fresh
