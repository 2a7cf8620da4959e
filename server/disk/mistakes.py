"""What is wrong in a JSON file that a person wrote: where, in their words, and what to do. Pure.

A parser says where it gave up, which is often a line after the mistake; here the mistake itself is named: the
comma that is one too many, the quotation mark that is missing, the backslash of a Windows path.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from server.disk.speech import say

AROUND = 2  # lines shown before and after
LINE = 200  # characters of a line that are shown
LONG = 24  # a value longer than this may be a secret
_VALUES = re.compile(rf':(\s*)"(?:[^"\\]|\\.){{{LONG},}}"')
_OTHER_QUOTES = "'‘’“”„«»"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake. `line` and `column` count from 1; 0: of the file as a whole."""

    text: str
    mend: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Shown:
    """A line of a file, as it is shown beside the mistake."""

    number: int
    text: str
    wrong: bool


def of_object(raw: bytes) -> Mistake | None:
    """What keeps these bytes from being a JSON object; None where nothing does."""
    if not raw.strip():
        return Mistake(say("The file is empty."), say("Write {} into it, or delete it."))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        return Mistake(say("This line isn’t UTF-8."), say("Save the file as UTF-8."), line, 1)
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        return _explained(text, error)
    except RecursionError:
        return Mistake(say("It is nested too deep."), say("Write it with fewer brackets inside brackets."))
    except ValueError:  # a number with more digits than are read
        return Mistake(say("A number is too long."), say("Write it with fewer digits."))
    if not isinstance(data, dict):
        return Mistake(
            say("It doesn't hold an object in braces."), say("Put all of it between { and }."), 1, 1
        )
    return None


def around(raw: bytes, line: int, *, secret: bool = False) -> list[Shown]:
    """The lines before and after a mistake. Of a file with secrets long values are left out."""
    lines = raw.decode("utf-8-sig", "replace").splitlines()
    first, last = max(1, line - AROUND), min(len(lines), line + AROUND)
    found = []
    for number in range(first, last + 1):
        text = lines[number - 1]
        if secret:
            text = _VALUES.sub(r':\1"…"', text)
            text = text if len(text) <= 4 * LONG else text[:LONG] + "…"
        found.append(Shown(number, text.rstrip()[:LINE], number == line))
    return found


def line_of_key(raw: bytes, key: str) -> int:
    """The line on which a key of the outermost object stands; 0 where it can't be found."""
    text = raw.decode("utf-8-sig", "replace")
    found = re.search(re.escape(json.dumps(key, ensure_ascii=False)) + r"\s*:", text)
    return text.count("\n", 0, found.start()) + 1 if found else 0


def _explained(text: str, error: json.JSONDecodeError) -> Mistake:
    at = error.pos
    before = text[:at].rstrip()
    here = text[at : at + 1]

    def mistake(said: str, mend: str, place: int = at) -> Mistake:
        line = text.count("\n", 0, place) + 1
        return Mistake(said, mend, line, place - (text.rfind("\n", 0, place) + 1) + 1)

    end = max(0, len(before) - 1)
    if error.msg.startswith("Invalid \\escape"):
        return mistake(
            say("A backslash stands alone."),
            say("Write each backslash twice: \\\\\\\\nas\\\\films for \\\\nas\\films."),
        )
    if error.msg.startswith("Invalid control character"):
        return mistake(
            say("A text goes on over the end of its line."),
            say("Put the quotation mark at its end, on this line."),
        )
    if error.msg.startswith("Unterminated string"):
        return mistake(say("This text has no end."), say("Put a quotation mark at its end."))
    if error.msg.startswith("Extra data"):
        return mistake(
            say("Something stands behind the last brace."), say("Take it away, or move it before the brace.")
        )
    if here in ("#", "/"):
        return mistake(
            say("A comment can’t stand here."),
            say('Write it as a value: "_note": "…". Keys with _ are comments.'),
        )
    if here and here in _OTHER_QUOTES:
        return mistake(say("This is another quotation mark."), say('Use the plain ones: "…".'))
    if before.endswith(",") and here in ("}", "]"):
        return mistake(say("This comma is one too many."), say("Take it away: nothing follows it."), end)
    if not text[at:].strip():
        return mistake(
            say("The file ends too early."),
            say("Close every brace and bracket that was opened: } and ]."),
            end,
        )
    if "',' delimiter" in error.msg:
        return mistake(
            say("A comma is missing after this."), say("Put a comma between this and what follows."), end
        )
    if "':' delimiter" in error.msg:
        return mistake(say("A colon is missing after this."), say('Write "key": value.'), end)
    if "property name" in error.msg:
        return mistake(say("A key in quotation marks is missing here."), say('Write "key": value.'))
    word = re.match(r"[A-Za-z_][\w.-]*", text[at:])
    if word and word[0] in ("True", "False", "None"):
        return mistake(
            say("{word} isn’t known here.", word=word[0]), say("Write true, false or null, in small letters.")
        )
    if word:
        return mistake(say("This text has no quotation marks."), say('Write "{word}".', word=word[0][:40]))
    return mistake(
        say("A value is missing here."), say("Write a number, true, false, or a text in quotation marks.")
    )
