"""The named shapes of new files, projects, their roles and what they have from elsewhere."""

from __future__ import annotations

from server.web.api.schema import TEXT, TRUTH, Schema, shape, texts

PROJECT_BODIES: dict[str, Schema] = {
    "NewFile": {
        "type": "object",
        "description": "a file from its type's template",
        "required": ["project", "name", "type"],
        "additionalProperties": False,
        "properties": {
            "project": {"type": "string", "minLength": 1, "maxLength": 200},
            "name": {"type": "string", "minLength": 1, "maxLength": 1000},
            "type": {"type": "string", "minLength": 1, "maxLength": 100},
            "description": {"type": "string", "maxLength": 20_000},
            "file": {"type": "string", "maxLength": 2000, "description": "empty: made from the name"},
            "owner": {"type": "string", "maxLength": 100, "description": "whose; yours if not given"},
            "of": {**texts(100, 2000), "description": "assets whose pictures a composite loads"},
        },
    },
}

PROJECT_SHAPES: dict[str, Schema] = {
    "FileName": shape("path address taken", path=TEXT, address=TEXT, taken=TRUTH, name=TEXT),
}
