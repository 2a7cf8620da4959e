"""The named shapes of what people and programs send to the API."""

from __future__ import annotations

from server.web.api.schema import OUTPUTS, WHOLE, Schema, texts

MAYBE_TYPED: Schema = {"type": ["number", "string", "null"], "maxLength": 20}  # as a field of a page has it
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
    "time_budget": {**MAYBE_TYPED, "description": "hours of people's; a number may be typed: 1,5"},
    "time_spent": {**MAYBE_TYPED, "description": "hours of people's"},
    "start": {**MAYBE_TYPED, "description": "the first frame, where it isn't the scene's own"},
    "end": {**MAYBE_TYPED, "description": "the last frame"},
    "rating": {**MAYBE_TYPED, "description": "stars, 0 to 5"},
    "pipeline": {
        "type": "object",
        "maxProperties": 50,
        "additionalProperties": {"type": "string", "maxLength": 100},
        "description": "stages and the state of each: a stage that isn't named stays; '' takes one away",
    },
    "statistics_since": {
        "type": ["string", "null"],
        "maxLength": 40,
        "description": "renders before then don't count in its figures; 'now'; nothing: all do",
    },
    "due": {"type": ["string", "null"], "maxLength": 10, "description": "a day, as 2026-11-22; or nothing"},
    "tags": texts(100, 100),
    "protect": {"type": "boolean"},
    "dependencies": texts(10_000, 2000),
}

FRAMES: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 2000,
    "description": "instead of tasks: 5-8, 12",
}

KEY: Schema = {
    "type": ["string", "null"],
    "maxLength": 200,
    "description": "as the header Idempotency-Key",
}

BODIES: dict[str, Schema] = {
    "NewAsset": {
        "type": "object",
        "required": ["address"],
        "properties": {"address": {"type": "string", "minLength": 1, "maxLength": 2000}, **ASSET_FIELDS},
        "additionalProperties": False,
    },
    "Support": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "user": {"type": "string", "maxLength": 100, "description": "oneself, if not given"},
            "on": {"type": "boolean", "description": "false: no longer"},
        },
    },
    "Hours": {
        "type": "object",
        "required": ["hours"],
        "additionalProperties": False,
        "properties": {"hours": {"type": "number", "minimum": -100_000, "maximum": 100_000}},
    },
    "Clone": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string", "maxLength": 200, "description": "'… copy', if not given"},
            "file": {"type": "string", "maxLength": 400, "description": "a file name, else one by its name"},
        },
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
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "approved": {"type": "boolean"},
            "rejected": {"type": "boolean"},
            "comment": {"type": "string", "maxLength": 2000},
        },
    },
    "Prune": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "project": {"type": "string", "maxLength": 200},
            "yes": {
                "type": "boolean",
                "description": "do it: into old/, from where each can be brought back",
            },
        },
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
            "order": {"type": ["string", "null"], "enum": ["linear", "spread", None]},
            "after": {
                "type": ["array", "null"],
                "description": "jobs that must be done first: all of one, or frame by frame",
                "items": {
                    "type": "object",
                    "required": ["job"],
                    "additionalProperties": False,
                    "properties": {
                        "job": {"type": "string", "maxLength": 100},
                        "by": {"type": "string", "enum": ["all", "frame"]},
                    },
                },
                "maxItems": 100,
            },
            "start_after": {"type": ["string", "null"], "maxLength": 40, "description": "RFC 3339"},
            "nodes_most": {"type": ["integer", "null"], "minimum": 0, "maximum": 100_000},
            "licences": {"anyOf": [texts(20, 60), {"type": "null"}]},
            "groups": {"anyOf": [texts(20, 60), {"type": "null"}]},
            "out_path": {
                "type": ["string", "null"],
                "maxLength": 2000,
                "description": "where the renders of this file go, or where the scene itself writes",
            },
            "idempotency_key": KEY,
        },
    },
    "JobChange": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "paused": {"type": "boolean"},
            "priority": {"type": "integer", "minimum": 1, "maximum": 5},
            "nodes_most": {"type": "integer", "minimum": 0, "maximum": 100_000},
            "start_after": {"type": ["string", "null"], "maxLength": 40},
            "after": {"type": "array", "maxItems": 0, "description": "[]: wait for no other job"},
            "requeue": {
                "anyOf": [
                    {"type": "string", "enum": ["failed", "rest", "all"]},
                    {"type": "array", "items": WHOLE, "minItems": 1, "maxItems": 100_000},
                ]
            },
        },
    },
    "Requeue": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "frames": FRAMES,
            "tasks": {
                "anyOf": [
                    {"type": "string", "enum": ["failed", "rest", "all"]},
                    {"type": "array", "items": WHOLE, "minItems": 1, "maxItems": 100_000},
                ]
            },
        },
    },
    "Chosen": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "frames": FRAMES,
            "tasks": {"type": "array", "items": WHOLE, "minItems": 1, "maxItems": 100_000},
        },
    },
    "Forgiven": {
        "type": "object",
        "additionalProperties": False,
        "description": "which computers; without it all",
        "properties": {"nodes": {**texts(1000, 200), "minItems": 1}},
    },
    "NewJob": {
        "type": "object",
        "required": ["params"],
        "additionalProperties": False,
        "properties": {
            "user": {
                "type": ["string", "null"],
                "maxLength": 64,
                "description": "oneself, if not given; a supervisor may name anybody",
            },
            "timestamp": {
                "type": ["number", "string", "null"],
                "maxLength": 60,
                "description": "when it was asked for; Croft keeps its own time",
            },
            "priority": {"type": ["integer", "null"], "minimum": 1, "maximum": 5},
            "idempotency_key": KEY,
            "name": {"type": ["string", "null"], "maxLength": 200},
            "params": {
                "type": "object",
                "description": "besides these, any setting of the job type: samples, format, scene …",
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
            "pin": {"type": "string", "maxLength": 20},
            "new_pin": {"type": "string", "maxLength": 20, "description": "where one is to be chosen"},
            "code": {"type": "string", "maxLength": 100, "description": "of the first sign-in"},
            "event": {"type": "string", "maxLength": 200, "description": "the event's code, where wanted"},
        },
    },
    "Password": {
        "type": "object",
        "required": ["password"],
        "additionalProperties": False,
        "properties": {"password": {"type": "string", "minLength": 8, "maxLength": 1024}},
    },
}
