"""The named shapes of computers that render: what they look like, and what people change about them."""

from __future__ import annotations

from server.web.api.schema import (
    ANYTHING,
    MAYBE_NUMBER,
    MAYBE_TEXT,
    NODE_STATES,
    TEXT,
    TEXTS,
    TIME,
    TRUTH,
    WHOLE,
    Schema,
    shape,
    texts,
)

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MINUTES: Schema = {"type": "number", "minimum": 0, "maximum": 10080}
CLOCK: Schema = {"type": "string", "maxLength": 5, "description": "as 20:00"}
WINDOW: Schema = {
    "type": "object",
    "required": ["from", "to"],
    "additionalProperties": False,
    "description": "crosses midnight where `to` isn't after `from`; `days` are those on which it begins",
    "properties": {
        "days": {"type": "array", "items": {"type": "string", "enum": DAYS}, "minItems": 1, "maxItems": 7},
        "from": CLOCK,
        "to": CLOCK,
    },
}
POWER: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "shutdown": {"type": "boolean", "description": "it may be shut down when there is nothing to do"},
        "wake": {"type": "boolean", "description": "it may be woken when there is"},
        "mac": {"type": "string", "maxLength": 17},
        "idle_minutes": MINUTES,
        "least_up_minutes": MINUTES,
        "least_down_minutes": MINUTES,
    },
}
NODE_SHAPES: dict[str, Schema] = {
    "Node": shape(
        "name state closed groups tags schedule power",
        name=TEXT,
        state={"type": "string", "enum": NODE_STATES},
        closed={"type": "string", "description": "why it gets no work now; empty where it may"},
        slots={"type": ["integer", "null"]},
        busy=WHOLE,
        doing={"type": "array", "items": ANYTHING},
        provides=TEXTS,
        version=MAYBE_TEXT,
        behind={"type": "boolean", "description": "its program is another than the server's"},
        seen=TIME,
        hardware=ANYTHING,
        pace=MAYBE_NUMBER,
        load=MAYBE_NUMBER,
        memory_free_mb=MAYBE_NUMBER,
        temperature_c=MAYBE_NUMBER,
        gpus={"type": "array", "items": ANYTHING},
        at_keyboard={"type": ["boolean", "null"]},
        single_use=TRUTH,
        prenode={
            "type": ["string", "null"],
            "description": "which started it elsewhere; null: the house's own",
        },
        paused=TRUTH,
        paused_by=TEXT,
        draining=TRUTH,
        groups=TEXTS,
        tags=TEXTS,
        slots_most=WHOLE,
        schedule={"type": "array", "items": ANYTHING},
        power=ANYTHING,
        idle_only=TRUTH,
        give_back=TRUTH,
        approved=TEXT,
        saved_hours={"type": "number", "description": "how long it was switched off instead of idle"},
        power_words={"type": "string", "description": "what became of switching it off or waking it"},
    ),
    "Asking": shape(
        "code name state",
        code={"type": "string", "description": "which the computer shows, too"},
        name=TEXT,
        state={"type": "string", "enum": ["waiting", "admitted", "refused"]},
        address=TEXT,
        hardware=ANYTHING,
        programs=ANYTHING,
        version=TEXT,
        since=TIME,
        by=TEXT,
        replaces={"type": "boolean", "description": "a computer of this name was here, and is away"},
    ),
    "NodeToken": shape(
        "id node",
        id=TEXT,
        node={"type": "string", "description": "the name it is bound to; *: any"},
        title=MAYBE_TEXT,
        created=MAYBE_TEXT,
        expires=MAYBE_TEXT,
        used={"type": ["string", "null"], "description": "when it was used first"},
    ),
    "Forgotten": shape("name", name=TEXT),
}
NODE_BODIES: dict[str, Schema] = {
    "NodeChange": {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "paused": {"type": "boolean"},
            "draining": {"type": "boolean", "description": "finish what it has, then nothing more"},
            "groups": texts(50, 60),
            "tags": texts(50, 60),
            "slots_most": {"type": "integer", "minimum": 0, "maximum": 256},
            "schedule": {"type": "array", "items": WINDOW, "maxItems": 30},
            "power": POWER,
            "idle_only": {"type": "boolean", "description": "only while nobody sits at it"},
            "give_back": {
                "type": "boolean",
                "description": "give frames back at once when somebody sits down or its hours end",
            },
        },
    },
    "Decision": {
        "type": "object",
        "required": ["do"],
        "additionalProperties": False,
        "properties": {"do": {"type": "string", "enum": ["admit", "refuse", "wait"]}},
    },
    "FarmPause": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"stop": {"type": "boolean", "description": "give back at once what renders"}},
    },
}
