"""The shapes of notes: as they are shown, and as they are said. Numbers may be text, as forms send them."""

from __future__ import annotations

from server.web.api.schema import TEXT, TEXTS, TIME, TRUTH, UNDO, Schema, shape

ID: Schema = {"type": "string", "pattern": "^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{6,12}$"}
DRAWN: Schema = shape(
    "aspect lines",
    aspect={"type": "number", "description": "the picture's width by its height"},
    lines={
        "type": "array",
        "description": "x, y, x, y … of each line's points, from 0 to 1 across and down the picture",
        "items": {"type": "array", "items": {"type": "number"}},
    },
)
MARKS: Schema = {"anyOf": [DRAWN, {"type": "null"}]}
SAID = {
    "text": {
        "type": "string",
        "maxLength": 20_000,
        "description": "at most 10,000 characters; @ana names somebody; each line with a dash is to be done",
    },
    "frame": {"type": ["integer", "string", "null"], "description": "that it is about", "maxLength": 20},
    "version": {"type": "string", "maxLength": 80, "description": "of the file's renders: v003"},
    "marks": {"type": ["object", "string", "null"], "description": "see Note; or its JSON as text"},
    "where": {
        "type": "string",
        "maxLength": 40,
        "description": "in place of drawing: a ring at 'top left', 'middle' … 'bottom right' of the picture",
    },
    "todo": {
        "type": "string",
        "maxLength": 64,
        "description": "who is to do it, '*' for whoever owns the file, '' nobody. If not "
        "given, a new note with lines that begin with dashes is to be done",
    },
}

NOTE_SHAPES: dict[str, Schema] = {
    "Note": shape(
        "id address at who text frame version reply_to marks todo ticks resolved open edited",
        id=ID,
        address={"type": "string", "description": "of the file that it is about"},
        at=TEXT,
        who={"type": "string", "description": "a person who was forgotten is 'somebody'"},
        text=TEXT,
        frame={"type": ["integer", "null"]},
        version=TEXT,
        reply_to={"type": "string", "description": "the note that it answers, or empty"},
        marks=MARKS,
        todo=TEXT,
        ticks={
            "type": "array",
            "description": "what there is to do: its lines, or all of it",
            "items": shape("key text done who", key=TEXT, text=TEXT, done=TRUTH, who=TEXT),
        },
        resolved=TRUTH,
        resolved_by=TEXT,
        open={"type": "boolean", "description": "neither resolved nor done, and no answer"},
        edited=TIME,
        why={
            "type": "string",
            "enum": ["todo", "mention", "reply", "mine"],
            "description": "why it concerns whoever asks",
        },
        read=TRUTH,
        undo=UNDO,
    ),
    "Unread": shape("unread", unread={"type": "integer", "minimum": 0}),
    "NewNote": {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": {**SAID, "reply_to": {"type": "string", "maxLength": 40}},
    },
    "NoteChange": {
        "type": "object",
        "additionalProperties": False,
        "minProperties": 1,
        "properties": {
            **SAID,
            "resolved": TRUTH,
            "deleted": {"type": "boolean", "description": "false brings it back"},
            "ticks": {"type": "object", "maxProperties": 100, "additionalProperties": TRUTH},
        },
    },
    "ReadNotes": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "ids": {**TEXTS, "maxItems": 1000, "description": "those; all that concern you if not given"}
        },
    },
}
SHOWN = ("mine", "todo", "open", "all")
