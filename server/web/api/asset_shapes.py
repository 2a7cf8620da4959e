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
}


def _list(name: str) -> Schema:
    return {"type": "array", "items": {"$ref": REF + name}}


ASSET_SHAPES: dict[str, Schema] = {
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
