"""The named shapes of new files, of projects, their sets, roles and what they have from elsewhere."""

from __future__ import annotations

from server.web.api.schema import MAYBE_TEXT, TEXT, TEXTS, TRUTH, UNDO, WHOLE, Schema, shape, texts


def said(most: int) -> Schema:
    return {"type": "string", "maxLength": most}


def body(required: list[str], **properties: Schema) -> Schema:
    made = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**made, "required": required} if required else {**made, "minProperties": 1}


FIELDS: dict[str, Schema] = {
    "title": said(20_000),
    "description": said(30_000),
    "licence": said(20_000),
    "set": said(200),
    "approve_by": {**said(100), "description": "supervisors, or lighter: the shot's lighter, too"},
    "render_priority": {"type": "integer", "minimum": 1, "maximum": 5},
}
ROLE: dict[str, Schema] = {"title": said(20_000), "people": texts(200, 200)}
EXTERNAL: dict[str, Schema] = {
    "name": said(20_000), "description": said(30_000), "licence": said(20_000), "origin": said(20_000),
    "author": said(20_000), "files": texts(200, 4000),
}  # fmt: skip
AGAIN: dict[str, Schema] = {
    "id": {**said(100), "description": "of one that comes back"},
    "at": {**WHOLE, "description": "its place; at the end if not given"},
}

PROJECT_BODIES: dict[str, Schema] = {
    "NewFile": {
        "description": "a file from its type's template",
        **body(
            ["project", "name", "type"],
            project={"type": "string", "minLength": 1, "maxLength": 200},
            name=said(20_000),
            type={"type": "string", "minLength": 1, "maxLength": 100},
            description=said(30_000),
            file={**said(20_000), "description": "empty: made from the name"},
            owner={**said(100), "description": "whose; yours if not given"},
            of={**texts(100, 4000), "description": "assets whose pictures a composite loads"},
        ),
    },
    "NewProject": body(["title"], title=said(20_000), set=said(200), id=said(100)),
    "ProjectChange": body([], **FIELDS),
    "NewRole": body(["title"], **ROLE, **AGAIN),
    "RoleChange": body(
        [],
        **ROLE,
        add={**said(200), "description": "one more person"},
        remove={**said(200), "description": "one person less"},
        move={"type": "integer", "minimum": -1, "maximum": 1, "description": "-1: up, 1: down"},
    ),
    "NewExternal": body(["name"], **EXTERNAL, **AGAIN),
    "ExternalChange": body([], **EXTERNAL),
}

ROLE_SHAPE = shape("id title people", id=TEXT, title=TEXT, people=TEXTS, etag=TEXT, undo=UNDO)
EXTERNAL_SHAPE = shape(
    "id name",
    **dict.fromkeys(("id", "name", "description", "licence", "origin", "author", "etag"), TEXT),
    files=TEXTS,
    undo=UNDO,
)
PROJECT_SHAPES: dict[str, Schema] = {
    "FileName": shape("path address taken", path=TEXT, address=TEXT, taken=TRUTH, name=TEXT),
    "Project": shape(
        "id address title",
        **dict.fromkeys(("id", "address", "title", "description", "licence", "set", "set_title"), TEXT),
        render_priority={"type": "integer"},
        approve_by=TEXT,
        roles={"type": "array", "items": ROLE_SHAPE},
        external={"type": "array", "items": EXTERNAL_SHAPE},
        etag=MAYBE_TEXT,
    ),
    "Role": ROLE_SHAPE,
    "External": EXTERNAL_SHAPE,
    "TakenAway": shape("undo", undo=UNDO),
    "Set": shape("id title types states priorities", id=TEXT, title=TEXT),
}
