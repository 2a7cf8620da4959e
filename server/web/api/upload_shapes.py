"""The named shapes of what is looked over before it is uploaded."""

from __future__ import annotations

from server.web.api.schema import TEXT, WHOLE, Schema, shape

DROP_MOST = 50_000  # files of one drop; a person may have 2,000 waiting

UPLOAD_SHAPES: dict[str, Schema] = {
    "SortedOut": shape(
        "taken left",
        taken={"type": "array", "items": WHOLE, "description": "places in the list that was sent"},
        left={"type": "array", "items": TEXT, "description": "sentences: what is left out, and why"},
    ),
}

UPLOAD_BODIES: dict[str, Schema] = {
    "Drop": {
        "type": "object",
        "required": ["files"],
        "additionalProperties": False,
        "properties": {
            "files": {
                "type": "array",
                "maxItems": DROP_MOST,
                "items": {
                    "type": "object",
                    "required": ["path"],
                    "additionalProperties": False,
                    "properties": {
                        "path": {"type": "string", "minLength": 1, "maxLength": 2000},
                        "size": {"type": ["integer", "null"], "minimum": 0, "maximum": 1 << 50},
                    },
                },
            },
        },
    },
}
