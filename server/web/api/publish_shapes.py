"""The named shapes of publishing a file: what is sent, and what the checks find."""

from __future__ import annotations

from server.web.api.schema import TEXT, WHOLE, Schema, shape, texts

FINDINGS: Schema = {
    "type": "array",
    "items": shape(
        "id severity message todo",
        id={"type": "string", "description": "of the check"},
        severity={"type": "string", "enum": ["error", "warning", "note"]},
        message=TEXT,
        todo=TEXT,
    ),
}
PINS: Schema = {
    "type": "array",
    "items": shape("path hash", path=TEXT, kind=TEXT, hash=TEXT, size=WHOLE, version=TEXT),
    "description": "the files that it was made with, as they were then",
}

PUBLISH_SHAPES: dict[str, Schema] = {"Findings": shape("findings", findings=FINDINGS)}

PUBLISH_BODIES: dict[str, Schema] = {
    "Publication": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "comment": {"type": ["string", "null"], "maxLength": 2000},
            "despite": {
                "anyOf": [{"type": "boolean"}, texts(100, 100)],
                "description": "warnings that are known, by their ids; true: all of them",
            },
        },
    },
}
