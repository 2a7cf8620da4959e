"""The shapes of changes of several assets at once, and of what search finds everywhere."""

from __future__ import annotations

from server.web.api.bodies import ASSET_FIELDS
from server.web.api.check import REF
from server.web.api.schema import TEXT, TEXTS, UNDO, WHOLE, Schema, shape, texts

MANY = 1000  # at once
FIELDS: Schema = {
    "type": "object", "minProperties": 1, "properties": ASSET_FIELDS, "additionalProperties": False,
}  # fmt: skip
WAS: Schema = {
    "type": "object",
    "description": "what these fields were when they were looked at: where one isn't, that asset stays",
}

ASSET_BODIES: dict[str, Schema] = {
    "AssetChanges": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "addresses": {**texts(MANY, 4000), "description": "those that the fields beside it are of"},
            **ASSET_FIELDS,
            "was": WAS,
            "each": {
                "type": "array",
                "maxItems": MANY,
                "items": {
                    "type": "object",
                    "required": ["address", "fields"],
                    "additionalProperties": False,
                    "properties": {
                        "address": {"type": "string", "minLength": 1, "maxLength": 4000},
                        "fields": FIELDS,
                        "was": WAS,
                    },
                },
            },
        },
    },
    "Lock": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"again": {"type": "boolean", "description": "undo: as it was when it was unlocked"}},
    },
    "Unlock": {
        "type": "object",
        "required": ["reason"],
        "additionalProperties": False,
        "properties": {"reason": {"type": "string", "minLength": 1, "maxLength": 2000}},
    },
    "PutBack": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "save": {"type": "string", "maxLength": 200, "description": "undo: what the putting back kept"},
            "discard": {"type": "string", "maxLength": 4000, "description": "undo: what was carried on as"},
        },
    },
}


def _list(name: str) -> Schema:
    return {"type": "array", "items": {"$ref": REF + name}}


ASSET_SHAPES: dict[str, Schema] = {
    "Protection": shape(
        "version hash at who changed",
        version={"type": "string", "description": "the published one that holds these bytes; may be empty"},
        hash=TEXT,
        at={"type": "string", "description": "since when; may be empty"},
        who=TEXT,
        changed={"type": "boolean", "description": "the file isn't these bytes any more, or is gone"},
    ),
    "ManyChanged": shape(
        "changed failed undo",
        changed=TEXTS,
        failed={"type": "array", "items": shape("address message", address=TEXT, message=TEXT)},
        undo=UNDO,
    ),
    "Everything": shape(
        "files people projects notes renders totals",
        files=_list("Asset"),
        people=_list("User"),
        projects=_list("Project"),
        notes=_list("Note"),
        renders=_list("Job"),
        totals={"type": "object", "description": "how many fit of each kind", "additionalProperties": WHOLE},
    ),
}
