"""The shapes of the farm's figures: sums, a file's renders, what is due, what failed."""

from __future__ import annotations

from server.farm.statistics import tables
from server.farm.statistics.deliveries import VERDICTS
from server.web.api.schema import MAYBE_NUMBER, MAYBE_TEXT, TEXT, TIME, TRUTH, WHOLE, Schema, shape

ENDS: Schema = {
    "anyOf": [shape("earliest likely latest", earliest=TIME, likely=TIME, latest=TIME), {"type": "null"}],
    "description": "when it will be done, by the present queue; nine in ten end within",
}
ROW: Schema = shape(
    "key frames jobs seconds hours hours_for_nothing hours_beside failed lost hours_available utilisation",
    key={"type": "string", "description": "the day, project, user, node or file"},
    frames=WHOLE,
    jobs=WHOLE,
    seconds={"type": "number", "description": "of computers, for frames that count"},
    hours={"type": "number", "description": "the same"},
    hours_for_nothing={"type": "number", "description": "for attempts that gave no frame that counts"},
    hours_beside={"type": "number", "description": "for previews and the like"},
    failed={**WHOLE, "description": "attempts"},
    lost={**WHOLE, "description": "attempts whose node wasn't heard of any more"},
    hours_available={"type": ["number", "null"], "description": "in which slots were there to work"},
    utilisation={"type": ["number", "null"], "minimum": 0, "maximum": 1},
)
RENDER: Schema = shape(
    "id state total done seconds mean fastest slowest hours hours_for_nothing",
    id=TEXT,
    version=MAYBE_TEXT,
    user=MAYBE_TEXT,
    state=TEXT,
    frames=MAYBE_TEXT,
    total=WHOLE,
    done=WHOLE,
    submitted=TIME,
    ended=TIME,
    seconds={"type": "number"},
    mean=MAYBE_NUMBER,
    fastest=MAYBE_NUMBER,
    slowest=MAYBE_NUMBER,
    hours={"type": "number", "description": "of computers, all told"},
    hours_for_nothing={"type": "number"},
)

FIGURE_SHAPES: dict[str, Schema] = {
    "Statistics": shape(
        "by days timezone rows total reasons saved_hours",
        by={"type": "string", "enum": list(tables.BY)},
        days=WHOLE,
        timezone={"type": "string", "description": "in which days are counted"},
        rows={"type": "array", "items": ROW},
        total=ROW,
        reasons={
            "type": "object",
            "additionalProperties": WHOLE,
            "description": "why attempts failed: how many of each",
        },
        saved_hours={"type": "number", "description": "for which computers were kept switched off, ever"},
    ),
    "Renders": shape(
        "file count renders newest all whole advice",
        file=TEXT,
        count=WHOLE,
        renders={"type": "array", "items": RENDER},
        newest={"anyOf": [RENDER, {"type": "null"}]},
        all=shape(
            "frames mean fastest slowest hours hours_for_nothing",
            frames=WHOLE,
            mean=MAYBE_NUMBER,
            fastest=MAYBE_NUMBER,
            slowest=MAYBE_NUMBER,
            hours={"type": "number"},
            hours_for_nothing={"type": "number"},
        ),
        whole={
            "anyOf": [
                shape(
                    "first last frames seconds slots elapsed",
                    first={"type": "integer"},
                    last={"type": "integer"},
                    frames=WHOLE,
                    seconds={"type": "number", "description": "of one computer"},
                    slots={**WHOLE, "description": "frames that could be rendered at once just now"},
                    elapsed=MAYBE_NUMBER,
                ),
                {"type": "null"},
            ],
            "description": "what the scene's own range takes, by the newest render",
        },
        advice={"type": "array", "items": shape("kind text", kind=TEXT, text=TEXT)},
    ),
    "Delivery": shape(
        "address name due until verdict late jobs ends text",
        address=TEXT,
        name=TEXT,
        owner=MAYBE_TEXT,
        due=TEXT,
        until=TIME,
        verdict={"type": "string", "enum": list(VERDICTS)},
        late=TRUTH,
        jobs={"type": "array", "items": TEXT},
        ends=ENDS,
        text=TEXT,
    ),
    "Failure": shape(
        "job file state words node reason sentence to_do at count final",
        job=TEXT,
        name=MAYBE_TEXT,
        project=MAYBE_TEXT,
        user=TEXT,
        file=TEXT,
        state=TEXT,
        submitted=TIME,
        n={"type": ["integer", "null"]},
        frame={"type": ["integer", "array", "null"]},
        words={"type": "string", "description": "the frame in words"},
        node=TEXT,
        reason=TEXT,
        sentence={"type": "string", "description": "what happened: frame, computer and file named"},
        to_do={"type": "string", "description": "one thing to do"},
        at=TIME,
        attempts=WHOLE,
        count={**WHOLE, "description": "frames of this render that failed"},
        final={"type": "boolean", "description": "it isn't tried again by itself"},
    ),
}
