"""The parts of which the API's shapes are made: JSON Schema, and the words that fields are limited to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
MAYBE_NUMBER: Schema = {"type": ["number", "null"]}
WHOLE: Schema = {"type": "integer", "minimum": 0}
TRUTH: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "array", "items": TEXT}
TIME: Schema = {"type": ["string", "null"], "description": "RFC 3339, UTC"}
ANYTHING: Schema = {"type": "object"}

JOB_STATES = ["waiting", "running", "paused", "done", "failed", "cancelled"]
TASK_STATES = ["waiting", "claimed", "done", "failed", "skipped"]
ASSET_STATUS = ["arriving", "ok", "missing", "broken"]
NODE_STATES = ["idle", "busy", "paused", "draining", "sick", "hours", "used", "updating", "leaving", "away"]
NODE_STATES += ["off", "waking"]
UPLOAD_STATES = ["receiving", "checking", "ready", "added", "removed", "expired"]
OUTPUTS = ["version", "scene"]
SAVE_KINDS = ["checkpoint", "deleted", "version", "render", "backup"]


def shape(required: str, **properties: Schema) -> Schema:
    """An object with these properties, of which some are always there."""
    return {"type": "object", "properties": properties, "required": required.split()}


def texts(most: int, longest: int) -> Schema:
    """A list of so many texts, each so long, at most."""
    return {"type": "array", "items": {"type": "string", "maxLength": longest}, "maxItems": most}


UNDO: Schema = {
    "anyOf": [
        shape("method path", method=TEXT, path=TEXT, body={"type": ["object", "null"]}),
        {"type": "null"},
    ],
    "description": "the call that takes it back",
}
