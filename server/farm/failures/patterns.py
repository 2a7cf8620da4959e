"""Regular expressions from configuration files, held to what is certain to end soon.

A pattern that repeats something that repeats could look at a line for longer than the farm will live, and
nothing can interrupt it. So nested and many open repeats and references back are refused, and the lines
that are looked at are short.
"""

from __future__ import annotations

import re

from server.disk.errors import BadInput

MOST_LENGTH = 300  # characters of a pattern
MOST_REPEATS = 2  # that are open, like `.*`


def compiled(text: object) -> re.Pattern[str]:
    """The pattern; BadInput says what is wrong with it."""
    if not isinstance(text, str) or not text or len(text) > MOST_LENGTH:
        raise BadInput(
            "A pattern is a text of 1 to {most_length} characters, not {text}.",
            most_length=MOST_LENGTH,
            text=repr(str(text)[:60]),
        )
    _check(text)
    try:
        return re.compile(text, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadInput("{text} is no pattern: {why}.", text=repr(text), why=error) from error


def _check(text: str) -> None:
    at, repeats = 0, 0
    open_groups: list[bool] = []  # whether something repeats within each
    closed_repeats = False  # whether something repeated in the group that ended just before
    while at < len(text):
        letter = text[at]
        step, repeat = 1, False
        if letter == "\\":
            if text[at + 1 : at + 2].isdigit() and text[at + 1] != "0":
                raise BadInput("{text} refers back to a group: say what it is instead.", text=repr(text))
            step = 2
        elif letter == "[":
            step = _end_of_set(text, at) - at
        elif letter == "(":
            if text.startswith("(?P=", at):
                raise BadInput("{text} refers back to a group: say what it is instead.", text=repr(text))
            open_groups.append(False)
            closed_repeats = False
            at += 2 if text.startswith("(?", at) else 1
            continue
        elif letter == ")":
            closed_repeats = open_groups.pop() if open_groups else False
            if closed_repeats and open_groups:
                open_groups[-1] = True
            at += 1
            continue
        elif letter in "*+" or (letter == "{" and re.match(r"\{\d*,?\d*\}", text[at:])):
            repeat = True
        if repeat:
            if closed_repeats:
                raise BadInput("{text} repeats what repeats: that could take for ever.", text=repr(text))
            if letter in "*+" or re.match(r"\{\d*,\}", text[at:]):
                repeats += 1
            if open_groups:
                open_groups[-1] = True
        closed_repeats = False
        at += step
    if repeats > MOST_REPEATS:
        raise BadInput(
            "{text} has more than {most_repeats} open repeats: that could take for ever.",
            text=repr(text),
            most_repeats=MOST_REPEATS,
        )


def _end_of_set(text: str, at: int) -> int:
    """One after the bracket that ends `[…]`."""
    end = at + 1
    if text[end : end + 1] == "^":
        end += 1
    if text[end : end + 1] == "]":
        end += 1
    while end < len(text) and text[end] != "]":
        end += 2 if text[end] == "\\" else 1
    return end + 1
