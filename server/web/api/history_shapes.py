"""The named shapes of histories."""

from __future__ import annotations

from server.library.history import KINDS
from server.web.api.schema import ANYTHING, TEXT, UNDO, Schema, shape

HISTORY_SHAPES: dict[str, Schema] = {
    "Change": shape(
        "id at who kind address project name fields",
        id=TEXT,
        at=TEXT,
        who=TEXT,
        kind={"type": "string", "enum": list(KINDS)},
        address=TEXT,
        project=TEXT,
        name=TEXT,
        fields={"type": "object", "description": "field: [before, after]; long values are cut"},
        more={**ANYTHING, "description": "what else was told: comment, kept, version, size …"},
        undo=UNDO,
    ),
    "Undone": shape(
        "fields",
        fields={"type": "array", "items": TEXT},
        undo=UNDO,
    ),
    "HistoryUndo": {
        "type": "object",
        "required": ["address", "id"],
        "additionalProperties": False,
        "properties": {
            "address": {"type": "string", "minLength": 1, "maxLength": 4500},
            "id": {"type": "string", "minLength": 1, "maxLength": 100},
        },
    },
}
