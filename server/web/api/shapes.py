"""The named shapes of the API, as JSON Schema: what every asset, job, task, node … looks like.

Shown as the components of `/api/openapi.json`; the tests hold every answer against them.
"""

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
NODE_STATES = ["idle", "busy", "paused", "away", "sick"]
UPLOAD_STATES = ["receiving", "checking", "ready", "added", "removed", "expired"]
OUTPUTS = ["version", "scene"]
SAVE_KINDS = ["checkpoint", "deleted", "version", "render", "backup"]


def shape(required: str, **properties: Schema) -> Schema:
    """An object with these properties, of which some are always there."""
    return {"type": "object", "properties": properties, "required": required.split()}


def texts(most: int, longest: int) -> Schema:
    return {"type": "array", "items": {"type": "string", "maxLength": longest}, "maxItems": most}


UNDO: Schema = {
    "anyOf": [
        shape("method path", method=TEXT, path=TEXT, body={"type": ["object", "null"]}),
        {"type": "null"},
    ],
    "description": "the call that takes it back",
}
SETUP_STEP: Schema = shape(
    "id title about state checks lines",
    id=TEXT,
    title=TEXT,
    about=TEXT,
    state={"type": "string", "enum": ["right", "note", "todo", "wrong"]},
    checks={
        "type": "array",
        "items": shape("state text mend command", state=TEXT, text=TEXT, mend=TEXT, command=TEXT),
    },
    lines={
        "type": "array",
        "description": "what is to be copied: where it goes, and the text",
        "items": {"type": "array", "items": TEXT, "minItems": 2, "maxItems": 2},
    },
    undo=UNDO,
)
ASSET_FIELDS: dict[str, Schema] = {
    "name": {"type": "string", "maxLength": 200},
    "description": {"type": "string", "maxLength": 20_000},
    "type": {"type": "string", "maxLength": 100},
    "state": {"type": "string", "maxLength": 100},
    "owner": {"type": ["string", "null"], "maxLength": 100},
    "creator": {"type": ["string", "null"], "maxLength": 100},
    "support": texts(100, 100),
    "priority": {"type": "integer", "minimum": 1, "maximum": 5},
    "render": {"type": "boolean"},
    "final": {"type": ["boolean", "string"], "maxLength": 1000},
    "time_budget": {"type": "number", "minimum": 0, "maximum": 1e9},
    "tags": texts(100, 100),
    "protect": {"type": "boolean"},
    "dependencies": texts(10_000, 2000),
}


ACTION: Schema = shape(
    "label method path body role", label=TEXT, method=TEXT, path=TEXT, body=ANYTHING, role=TEXT
)

SHAPES: dict[str, Schema] = {
    "Error": shape("data message", data={}, message=TEXT),
    "User": shape("id title role", id=TEXT, title=TEXT, role=TEXT, color=TEXT, disabled=TRUTH),
    "Session": shape(
        "user csrf via",
        user={"anyOf": [{"$ref": "#/components/schemas/User"}, {"type": "null"}]},
        csrf=TEXT,
        via={"type": "string", "enum": ["", "cookie", "token"]},
    ),
    "Project": shape("id address title", id=TEXT, address=TEXT, title=TEXT, description=TEXT, licence=TEXT),
    "Asset": shape(
        "address project path name status kind etag",
        address=TEXT,
        project=TEXT,
        path=TEXT,
        name=TEXT,
        description=TEXT,
        type=TEXT,
        state=TEXT,
        status={"type": "string", "enum": ASSET_STATUS},
        incomplete=TRUTH,
        kind=TEXT,
        priority={"type": "integer"},
        owner=MAYBE_TEXT,
        creator=MAYBE_TEXT,
        support=TEXTS,
        tags=TEXTS,
        size={"type": ["integer", "null"]},
        modified=TIME,
        etag=TEXT,
        uuid=TEXT,
        thumbnail=MAYBE_TEXT,
        url=TEXT,
        facts=ANYTHING,
        named=ANYTHING,
        jobs=TEXTS,
        undo=UNDO,
        true_priority={"type": "number"},
        waited_for_by=WHOLE,
        uses={
            "type": "array",
            "items": shape(
                "path kind address status",
                path=TEXT,
                kind=TEXT,
                address=MAYBE_TEXT,
                status={"type": "string", "enum": ["ok", "missing", "absolute", "outside"]},
            ),
        },
        used_by=TEXTS,
    ),
    "Job": shape(
        "id name file project state total counts progress",
        id=TEXT,
        name=TEXT,
        file=MAYBE_TEXT,
        project=MAYBE_TEXT,
        user=MAYBE_TEXT,
        type=TEXT,
        state={"type": "string", "enum": JOB_STATES},
        frames=MAYBE_TEXT,
        output=MAYBE_TEXT,
        version=MAYBE_TEXT,
        folder=MAYBE_TEXT,
        priority={"type": "integer"},
        submitted=TIME,
        started=TIME,
        ended=TIME,
        counts={"type": "object", "additionalProperties": WHOLE},
        total=WHOLE,
        progress={"type": "number", "minimum": 0, "maximum": 1},
        seconds_per_task=MAYBE_NUMBER,
        estimated_end=TIME,
        why=MAYBE_TEXT,
        warnings=TEXTS,
        cells=TEXT,
    ),
    "Task": shape(
        "n state attempts",
        n=WHOLE,
        frame={"type": ["integer", "array", "null"]},
        state={"type": "string", "enum": TASK_STATES},
        node=MAYBE_TEXT,
        seconds=MAYBE_NUMBER,
        attempts=WHOLE,
        reason=MAYBE_TEXT,
        image=MAYBE_TEXT,
        thumbnail=MAYBE_TEXT,
        log=MAYBE_TEXT,
    ),
    "Node": shape(
        "name state",
        name=TEXT,
        state={"type": "string", "enum": NODE_STATES},
        slots={"type": ["integer", "null"]},
        busy=WHOLE,
        doing={"type": "array", "items": ANYTHING},
        provides=TEXTS,
        version=MAYBE_TEXT,
        seen=TIME,
        hardware=ANYTHING,
        pace=MAYBE_NUMBER,
    ),
    "Problem": shape(
        "id kind address text mend actions severity command",
        id=TEXT,
        kind=TEXT,
        address=TEXT,
        text=TEXT,
        mend=TEXT,
        severity={"type": "string", "enum": ["error", "warning", "note"]},
        command=TEXT,
        actions={"type": "array", "items": ACTION},
    ),
    "Mended": shape("undo", undo={"anyOf": [ACTION, {"type": "null"}]}),
    "Upload": shape(
        "id state project path name address kind size offset type render there",
        id=TEXT,
        state={"type": "string", "enum": UPLOAD_STATES},
        why=TEXT,
        project=TEXT,
        path={"type": "string", "description": "the folder inside the project"},
        name=TEXT,
        dropped={"type": "string", "description": "its path where it came from"},
        address={"type": "string", "description": "where it is to lie"},
        kind=TEXT,
        size=WHOLE,
        modified={"type": ["integer", "null"]},
        offset={"type": "integer", "minimum": 0, "description": "bytes that are here"},
        hash={"type": "string", "description": "SHA-256; empty while it isn't known"},
        type=TEXT,
        title=TEXT,
        render=TRUTH,
        frames={"type": "string", "description": "the scene's own range"},
        choice={"type": "string", "enum": ["", "version"]},
        facts=ANYTHING,
        unread={"type": "string", "description": "why its content couldn't be read"},
        cut={"type": "boolean", "description": "its end is missing: it can't be added"},
        picture=MAYBE_TEXT,
        named=ANYTHING,
        there={"type": ["object", "null"], "description": "what has the name already"},
        copy_of={"type": ["string", "null"], "description": "a file beside it that it is named a copy of"},
        created=TIME,
        chunks={
            "type": "array",
            "items": shape("at size crc32", at=WHOLE, size=WHOLE, crc32=TEXT),
            "description": "what is here, piece by piece (of one upload alone)",
        },
    ),
    "Received": shape("offset", offset=WHOLE),
    "Added": shape(
        "id ok message address job url",
        id=TEXT,
        ok=TRUTH,
        message=TEXT,
        address=MAYBE_TEXT,
        job=MAYBE_TEXT,
        url=TEXT,
    ),
    "File": shape("address size", address=TEXT, size=WHOLE, url=TEXT),
    "Changes": shape(
        "id changes reload",
        id=TEXT,
        changes={"type": "array", "items": shape("kind ids", kind=TEXT, ids=TEXTS)},
        reload=TRUTH,
    ),
    "Change": shape(
        "at who fields",
        at=TEXT,
        who=MAYBE_TEXT,
        fields={"type": "object", "description": "field: [before, after]"},
    ),
    "SetupStep": SETUP_STEP,
    "SetupSteps": {"type": "array", "items": SETUP_STEP},
    "SetupTry": {
        "type": "object",
        "additionalProperties": False,
        "description": "what the step needs: pool and backup a path, samba a student, people a list",
        "properties": {
            "path": {"type": "string", "maxLength": 4000},
            "student": {"type": "string", "maxLength": 100},
            "password": {"type": "string", "maxLength": 200},
            "share": {"type": "string", "pattern": "^[A-Za-z0-9_.$ -]{0,80}$"},
            "called": {"type": "string", "maxLength": 300},
            "list": {"type": "string", "maxLength": 1_000_000},
            "look": {"type": "string", "enum": ["", "yes"], "description": "only say what would be done"},
            "remove": texts(2000, 64),
        },
    },
    "Health": shape(
        "status", status=TEXT, version=TEXT, shares={"type": "object", "additionalProperties": TEXT}
    ),
    "Kept": shape("address folder", address=TEXT, folder=TEXT, undo=UNDO),
    "Back": shape("address", address=TEXT, undo=UNDO),
    "Restored": shape("address kept beside", address=TEXT, kept=TEXT, beside=TRUTH, undo=UNDO),
    "Note": shape("id at who text", id=TEXT, at=TEXT, who=TEXT, text=TEXT),
    "NewNote": {
        "type": "object",
        "required": ["text"],
        "additionalProperties": False,
        "properties": {"text": {"type": "string", "minLength": 1, "maxLength": 20_000}},
    },
    "Save": shape(
        "id kind at who comment size hash",
        id=TEXT,
        kind={"type": "string", "enum": SAVE_KINDS},
        at=TEXT,
        who=TEXT,
        comment=TEXT,
        size={"type": ["integer", "null"]},
        hash=TEXT,
        until=TEXT,
    ),
    "Version": shape(
        "id version kind approved",
        id=TEXT,
        version=TEXT,
        kind={"type": "string", "enum": ["published", "render"]},
        approved=TRUTH,
        at=TIME,
        who=MAYBE_TEXT,
        comment=MAYBE_TEXT,
        size={"type": ["integer", "null"]},
        hash=MAYBE_TEXT,
    ),
    "Deleted": shape(
        "folder address kind at who size",
        folder=TEXT,
        address=TEXT,
        kind={"type": "string", "enum": ["file", "record"]},
        at=TEXT,
        who=TEXT,
        size={"type": ["integer", "null"]},
    ),
    "Log": shape("text", text=TEXT),
    "FarmState": shape("paused", paused=TRUTH),
    # What people send.
    "NewAsset": {
        "type": "object",
        "required": ["address"],
        "properties": {"address": {"type": "string", "minLength": 1, "maxLength": 2000}, **ASSET_FIELDS},
        "additionalProperties": False,
    },
    "Mend": {
        "type": "object",
        "required": ["mend", "address"],
        "description": "the body of a problem's action; some mends take more",
        "properties": {
            "mend": {"type": "string", "maxLength": 60},
            "address": {"type": "string", "maxLength": 4500},
        },
    },
    "Comment": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"comment": {"type": ["string", "null"], "maxLength": 2000}},
    },
    "Restore": {
        "type": "object",
        "required": ["save"],
        "additionalProperties": False,
        "properties": {
            "save": {"type": "string", "minLength": 1, "maxLength": 200},
            "beside": {"type": "boolean"},
            "record": {"type": "boolean", "description": "what people had said of it then, too"},
        },
    },
    "Deletion": {
        "type": "object",
        "required": ["folder"],
        "additionalProperties": False,
        "properties": {"folder": {"type": "string", "minLength": 1, "maxLength": 4000}},
    },
    "Approval": {
        "type": "object",
        "required": ["approved"],
        "additionalProperties": False,
        "properties": {"approved": {"type": "boolean"}},
    },
    "NewUpload": {
        "type": "object",
        "required": ["project", "name", "size"],
        "additionalProperties": False,
        "properties": {
            "project": {"type": "string", "minLength": 1, "maxLength": 200},
            "name": {"type": "string", "minLength": 1, "maxLength": 400},
            "path": {"type": "string", "maxLength": 2000},
            "dropped": {"type": "string", "maxLength": 2000},
            "size": {"type": "integer", "minimum": 0, "maximum": 1 << 50},
            "modified": {"type": ["integer", "null"], "minimum": -(1 << 53), "maximum": 1 << 53},
            "hash": {"type": "string", "pattern": "^([0-9a-f]{64})?$"},
        },
    },
    "UploadChange": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "project": {"type": "string", "minLength": 1, "maxLength": 200},
            "path": {"type": "string", "maxLength": 2000},
            "name": {"type": "string", "minLength": 1, "maxLength": 400},
            "title": {"type": "string", "maxLength": 200},
            "type": {"type": "string", "maxLength": 100},
            "render": {"type": "boolean"},
            "choice": {"type": "string", "enum": ["", "version"]},
            "hash": {"type": "string", "pattern": "^([0-9a-f]{64})?$"},
            "removed": {"type": "boolean"},
        },
    },
    "Adding": {
        "type": "object",
        "required": ["ids"],
        "additionalProperties": False,
        "properties": {"ids": texts(2000, 100)},
    },
    "AboutCopy": {
        "type": "object",
        "required": ["do"],
        "additionalProperties": False,
        "properties": {
            "do": {"type": "string", "enum": ["discard", "version", "own", "ask", "undo"]},
            "save": {"type": "string", "maxLength": 200, "description": "with undo: what it was before"},
            "folder": {"type": "string", "maxLength": 2000, "description": "with undo: where the copy lies"},
        },
    },
    "Rescan": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"share": {"type": ["string", "null"], "maxLength": 100}},
    },
    "NodeChange": {
        "type": "object",
        "required": ["paused"],
        "additionalProperties": False,
        "properties": {"paused": {"type": "boolean"}},
    },
    "AssetChange": {
        "type": "object",
        "minProperties": 1,
        "properties": ASSET_FIELDS,
    },
    "JobRequest": {
        "type": "object",
        "description": "parameters of the job type (camera, scene, xres …) may stand beside these",
        "required": ["file"],
        "properties": {
            "file": {"type": "string", "minLength": 1, "maxLength": 2000},
            "frames": {"type": ["string", "null"], "maxLength": 2000},
            "output": {"type": "string", "enum": OUTPUTS},
            "type": {"type": ["string", "null"], "maxLength": 100},
            "name": {"type": ["string", "null"], "maxLength": 200},
            "priority": {"type": ["integer", "null"], "minimum": 1, "maximum": 5},
            "paused": {"type": "boolean"},
            "parameters": {"type": "object"},
            "description": {"type": "string", "maxLength": 1000},
        },
    },
    "JobChange": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "paused": {"type": "boolean"},
            "priority": {"type": "integer", "minimum": 1, "maximum": 5},
            "requeue": {
                "anyOf": [
                    {"type": "string", "enum": ["failed", "rest"]},
                    {"type": "array", "items": WHOLE, "minItems": 1, "maxItems": 100_000},
                ]
            },
        },
    },
    "NewJob": {
        "type": "object",
        "required": ["params"],
        "properties": {
            "name": {"type": ["string", "null"], "maxLength": 200},
            "params": {
                "type": "object",
                "required": ["scene_file"],
                "properties": {
                    "scene_file": {"type": "string", "minLength": 1, "maxLength": 2000},
                    "out_path": {"type": ["string", "null"], "maxLength": 2000},
                    "renderer": {"type": ["string", "null"], "maxLength": 100},
                    "frange": {"type": ["string", "null"], "maxLength": 2000},
                    "step": {"type": ["integer", "null"], "minimum": 1},
                    "chunk_size": {"type": ["integer", "null"], "minimum": 1},
                    "xres": {"type": ["integer", "null"], "minimum": 1, "maximum": 65536},
                    "yres": {"type": ["integer", "null"], "minimum": 1, "maximum": 65536},
                    "camera": {"type": ["string", "null"], "maxLength": 200},
                },
            },
        },
    },
    "SignIn": {
        "type": "object",
        "required": ["user"],
        "additionalProperties": False,
        "properties": {
            "user": {"type": "string", "maxLength": 64},
            "password": {"type": "string", "maxLength": 1024},
            "code": {"type": "string", "maxLength": 100},
        },
    },
    "Password": {
        "type": "object",
        "required": ["password"],
        "additionalProperties": False,
        "properties": {"password": {"type": "string", "minLength": 8, "maxLength": 1024}},
    },
}
