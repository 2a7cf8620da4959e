"""The named shapes of image sequences that are published where they lie."""

from __future__ import annotations

from server.web.api.schema import MAYBE_TEXT, TEXT, TEXTS, TRUTH, WHOLE, Schema, shape

MAYBE_WHOLE: Schema = {"type": ["integer", "null"]}

SEQUENCE_SHAPES: dict[str, Schema] = {
    "SequenceChanges": shape(
        "other gone added frames",
        other={**WHOLE, "description": "frames of another size or time than when they were published"},
        gone=WHOLE,
        added=WHOLE,
        frames=shape("other gone added", other=TEXTS, gone=TEXTS, added=TEXTS),
    ),
    "Sequence": shape(
        "address asset state why frames files size version at changes",
        address=TEXT,
        asset={**MAYBE_TEXT, "description": "whose version it is, or would be; below render the file's"},
        state={"type": "string", "enum": ["new", "published", "changed", "arriving", "no"]},
        why={**TEXT, "description": "of 'no' and 'arriving': why it can't be published"},
        first=MAYBE_WHOLE,
        last=MAYBE_WHOLE,
        padding=MAYBE_WHOLE,
        missing={**MAYBE_TEXT, "description": "'4,9-12'; null where it is spread too wide to say"},
        frames=WHOLE,
        files={**WHOLE, "description": "more than frames where a number is there twice"},
        size=WHOLE,
        version=MAYBE_TEXT,
        at=MAYBE_TEXT,
        changes={"anyOf": [{"$ref": "#/components/schemas/SequenceChanges"}, {"type": "null"}]},
    ),
    "SequenceFolder": shape(
        "folder sequences folders renders others others_named links",
        folder=TEXT,
        sequences={"type": "array", "items": {"$ref": "#/components/schemas/Sequence"}},
        folders={**TEXTS, "description": "the folders below, to be asked for next"},
        renders={**TEXT, "description": "its folder of renders, which isn't among them; '' without one"},
        others={**WHOLE, "description": "files that are no frames of a sequence"},
        others_named={**TEXTS, "description": "the first of them"},
        links={**TEXTS, "description": "the first links that aren't followed"},
    ),
    "PublishedSequence": shape(
        "asset version made",
        asset={**TEXT, "description": "whose version it is"},
        version={"$ref": "#/components/schemas/Version"},
        made={**TRUTH, "description": "just now; else nothing had changed since this version"},
    ),
    "VersionChanges": shape(
        "version changes",
        version=TEXT,
        changes={"$ref": "#/components/schemas/SequenceChanges"},
    ),
}

SEQUENCE_BODIES: dict[str, Schema] = {
    "PublishSequence": {
        "type": "object",
        "required": ["address"],
        "additionalProperties": False,
        "properties": {
            "address": {"type": "string", "minLength": 1, "description": "share::folder/plate.@.exr"},
            "comment": {"type": ["string", "null"], "maxLength": 2000},
        },
    },
}
