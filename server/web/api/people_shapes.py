"""The named shapes of people: what is told of them, and what is sent to change it."""

from __future__ import annotations

from server.library.people import ROLES
from server.web.api.schema import TEXT, TEXTS, TRUTH, UNDO, Schema, shape, texts
from server.web.api.schema import WHOLE as WHOLE_NUMBER

DOORS = ["tap", "pin", "password", "closed"]
FIELDS: dict[str, Schema] = {
    "title": {"type": "string", "minLength": 1, "maxLength": 200},
    "role": {"type": "string", "enum": list(ROLES)},
    "email": {"type": "string", "maxLength": 200},
    "color": {"type": "string", "maxLength": 7, "description": "as #8a5300"},
    "disabled": {"type": "boolean"},
    "projects": texts(100, 200),
    "team": {"type": "string", "maxLength": 200, "description": "of those without a project"},
    "language": {"type": "string", "maxLength": 20, "description": "en, fr, nl …; empty: the browser's"},
    "credit": {"type": "boolean", "description": "whether the credits may name them"},
    "system": {"type": "string", "maxLength": 200, "description": "login name whose files are theirs"},
    "uid": {"type": ["integer", "null"], "minimum": 0, "maximum": 4294967295},
}
USER: dict[str, Schema] = {
    "id": TEXT,
    "title": TEXT,
    "role": TEXT,
    "color": TEXT,
    "disabled": TRUTH,
    "photo": {"type": "string", "description": "address of the picture; empty: none"},
    "projects": TEXTS,
    "team": TEXT,
    "language": TEXT,
    "credit": TRUTH,
}
WHOLE: dict[str, Schema] = {
    **USER,
    "email": TEXT,
    "door": {"type": "string", "enum": DOORS, "description": "how they sign in"},
    "system": TEXT,
    "uid": {"type": ["integer", "null"]},
    "etag": TEXT,
}
PEOPLE_SHAPES: dict[str, Schema] = {
    "User": shape("id title role", **USER),
    "UserWhole": shape("id title role door etag", **WHOLE, undo=UNDO),
    "PersonForgotten": shape(
        "user files histories notes renders versions tokens credits left",
        user=TEXT,
        **dict.fromkeys(
            ("files", "histories", "notes", "renders", "versions", "tokens", "credits"), WHOLE_NUMBER
        ),
        left={**TEXTS, "description": "what still names them, and what to do about it"},
    ),
    "UserGone": shape("id title undo", **USER, undo=UNDO),
}
PIN: Schema = {"type": "string", "minLength": 1, "maxLength": 20, "description": "four to eight digits"}
PASSWORD: Schema = {"type": "string", "minLength": 8, "maxLength": 1024}
PEOPLE_BODIES: dict[str, Schema] = {
    "NewUser": {
        "type": "object",
        "required": ["title"],
        "additionalProperties": False,
        "properties": {
            **FIELDS,
            "id": {"type": "string", "maxLength": 64, "description": "empty: made of the name"},
            "password": PASSWORD,
            "pin": PIN,
        },
    },
    "UserChange": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": FIELDS,
    },
    "Forget": {
        "type": "object",
        "required": ["sure"],
        "additionalProperties": False,
        "properties": {
            "sure": {"type": "string", "enum": ["yes"], "description": "it can't be undone"},
            "credits": {"type": "string", "enum": ["keep", "remove"], "description": "else as they said"},
        },
    },
    "Pin": {"type": "object", "required": ["pin"], "additionalProperties": False, "properties": {"pin": PIN}},
}
