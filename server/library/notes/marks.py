"""What is drawn on a picture: lines of points, from 0 to 1 across and down, so that they fit it at any size.

`aspect` is the picture's width by its height: a page that shows it with bars beside it needs that. Pure.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from server.disk.errors import BadInput
from server.disk.speech import say

LINES_MOST = 200
NUMBERS_MOST = 20_000  # two for each point
ASPECT = 16 / 9
ROUND = 4  # decimals: a tenth of a pixel of the widest cinema picture
PLACES = {  # where one can point without drawing: (across, down)
    f"{row} {column}".replace("middle middle", "middle"): (x, y)
    for row, y in (("top", 1 / 6), ("middle", 1 / 2), ("bottom", 5 / 6))
    for column, x in (("left", 1 / 6), ("middle", 1 / 2), ("right", 5 / 6))
}
RADIUS = 0.14  # of such a ring, by the picture's height


@dataclass(frozen=True, slots=True)
class Marks:
    """Each line is x, y, x, y … of its points; a line of one point is a dot."""

    aspect: float
    lines: tuple[tuple[float, ...], ...]

    def data(self) -> dict[str, Any]:
        """As it stands in a note's file."""
        return {"aspect": self.aspect, "lines": [list(line) for line in self.lines]}


def read(value: object) -> Marks | None:
    """The marks of a note's file; None where there are none, or nobody could draw them."""
    try:
        return check(value)
    except BadInput:
        return None


def check(value: object) -> Marks | None:
    """What somebody drew: an object, or its JSON as a form sends it. None where that is nothing."""
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except (ValueError, RecursionError):
            raise BadInput(say("What was drawn can’t be read: draw it again."), field="marks") from None
    if value is None:
        return None
    lines = value.get("lines") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(lines, list):
        raise BadInput(say("What was drawn can’t be read: draw it again."), field="marks")
    if len(lines) > LINES_MOST or sum(len(line) if isinstance(line, list) else 0 for line in lines) > (
        NUMBERS_MOST
    ):
        raise BadInput(say("That is too much drawn for one note: write a second one."), field="marks")
    found = tuple(line for line in map(_line, lines) if line)
    aspect: Any = value.get("aspect")
    if not (_is_number(aspect) and 0.05 <= aspect <= 20):
        aspect = ASPECT
    return Marks(round(float(aspect), ROUND), found) if found else None


def ring(place: str, aspect: float = ASPECT) -> Marks:
    """A ring around a ninth of the picture, for who points without drawing."""
    if place not in PLACES:
        raise BadInput(
            say(
                "{place} is no place in the picture: one of {places}.",
                place=place[:40],
                places=", ".join(PLACES),
            ),
            field="where",
        )
    x, y = PLACES[place]
    turns = [n * math.tau / 32 for n in range(33)]
    points = [(x + RADIUS / aspect * math.cos(turn), y + RADIUS * math.sin(turn)) for turn in turns]
    line = tuple(round(min(1.0, max(0.0, at)), ROUND) for point in points for at in point)
    return Marks(round(aspect, ROUND), (line,))


def _line(line: object) -> tuple[float, ...]:
    if not isinstance(line, list) or len(line) % 2 or not all(_is_number(at) for at in line):
        raise BadInput(say("What was drawn can’t be read: draw it again."), field="marks")
    return tuple(round(min(1.0, max(0.0, float(at))), ROUND) for at in line)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
