"""Checks values against the JSON schemas of the API: the same schemas that `/api/openapi.json` shows.

A small part of JSON Schema 2020-12, as much as our own schemas use. Pure. An error is a BadInput whose
sentence names the field and what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from server.disk.errors import BadInput

Schema = Mapping[str, Any]
REF = "#/components/schemas/"

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict,),
    "null": (type(None),),
}
WORDS = {
    "string": "text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "array": "a list", "object": "an object", "null": "null",
}  # fmt: skip


def check(value: Any, schema: Schema, where: str, shapes: Mapping[str, Schema]) -> None:
    """Nothing, or BadInput saying what of `value` doesn't fit `schema`."""
    if "$ref" in schema:
        schema = shapes[str(schema["$ref"]).removeprefix(REF)]
    if "anyOf" in schema:
        _any_of(value, schema["anyOf"], where, shapes)
        return
    kinds = schema.get("type")
    if kinds is not None:
        names = [kinds] if isinstance(kinds, str) else list(kinds)
        if not any(_is(value, name) for name in names):
            raise BadInput(
                "{field} must be {names}.", field=where, names=" or ".join(WORDS[name] for name in names)
            )
    if "enum" in schema and value not in schema["enum"]:
        known = ", ".join(str(v) for v in schema["enum"])
        raise BadInput("{field} must be one of: {known}.", field=where, known=known)
    if isinstance(value, str):
        _text(value, schema, where)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        _number(value, schema, where)
    elif isinstance(value, (list, tuple)):
        _list(value, schema, where, shapes)
    elif isinstance(value, dict):
        _object(value, schema, where, shapes)


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()  # JSON Schema counts 1.0 as an integer
    return isinstance(value, TYPES[name])


def _any_of(value: Any, schemas: Any, where: str, shapes: Mapping[str, Schema]) -> None:
    sentences = []
    for schema in schemas:
        try:
            check(value, schema, where, shapes)
            return
        except BadInput as e:
            sentences.append(e.message)
    raise BadInput(" Or: ".join(sentences), field=where)


def _text(value: str, schema: Schema, where: str) -> None:
    if len(value) < schema.get("minLength", 0):
        raise BadInput("{field} is too short.", field=where)
    if len(value) > schema.get("maxLength", len(value)):
        raise BadInput(
            "{field} is longer than {maxlength} characters.", field=where, maxlength=schema["maxLength"]
        )
    if "pattern" in schema and not re.search(schema["pattern"], value):
        raise BadInput(
            "{field} doesn't have the form {pattern_words}.", field=where, pattern_words=schema["pattern"]
        )


def _number(value: float, schema: Schema, where: str) -> None:
    low, high = schema.get("minimum"), schema.get("maximum")
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = [f"at least {low}"] if low is not None else []
        bounds += [f"at most {high}"] if high is not None else []
        raise BadInput("{field} must be {bounds}.", field=where, bounds=" and ".join(bounds))


def _list(value: Any, schema: Schema, where: str, shapes: Mapping[str, Schema]) -> None:
    if len(value) > schema.get("maxItems", len(value)):
        raise BadInput("{field} has more than {maxitems} entries.", field=where, maxitems=schema["maxItems"])
    if len(value) < schema.get("minItems", 0):
        raise BadInput("{field} has fewer than {minitems} entries.", field=where, minitems=schema["minItems"])
    items = schema.get("items")
    if items:
        for n, item in enumerate(value):
            check(item, items, f"{where}[{n}]", shapes)


def _object(value: dict[str, Any], schema: Schema, where: str, shapes: Mapping[str, Schema]) -> None:
    for name in schema.get("required", ()):
        if name not in value:
            meant = get_close_matches(name, value.keys() - schema.get("properties", {}).keys(), 1)
            if meant:
                raise BadInput(
                    "{inner} isn't known here; known: {known}.",
                    field=name,
                    inner=repr(meant[0][:80]),
                    known=name,
                )
            raise BadInput("{field} is missing.", field=name)
    if len(value) < schema.get("minProperties", 0):
        raise BadInput("{field} is empty: say what is to change.", field=where)
    properties = schema.get("properties", {})
    more = schema.get("additionalProperties", True)
    for name, item in value.items():
        inner = name if where == "body" else f"{where}.{name}"
        if name in properties:
            check(item, properties[name], inner, shapes)
        elif more is False:
            known = ", ".join(sorted(properties))
            raise BadInput(
                "{inner} isn't known here; known: {known}.", field=inner, inner=repr(inner[:80]), known=known
            )
        elif isinstance(more, Mapping):
            check(item, more, inner, shapes)
