"""HTML forms as the API takes them: text fields become the values that a call's schema asks for.

A field's name is a key of the body; dots nest (`pipeline.layout`), numbers among them make lists
(`roles.0.title`); several fields of one name, or one with commas in it, are a list. For what no schema
describes, `name:json` is a value written as JSON and `name:text` a text that may be none. Pure: what doesn't
fit is handed on as it is, and the call's own check says so.
"""

from __future__ import annotations

import contextlib
import json
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from server.disk import encoding
from server.disk.errors import BadInput

Schema = Mapping[str, Any]
Pairs = list[tuple[str, str]]

REF = "#/components/schemas/"
OWN = frozenset(("csrf", "do", "etag", "then"))  # the form's own fields, which aren't the call's
YES = ("true", "on", "1", "yes")
NO = ("false", "off", "0", "no", "")
FIELDS = 2000
DEPTH = 6
METHODS = ("POST", "PUT", "PATCH", "DELETE")


def pairs_of(text: str) -> Pairs:
    """The fields of a form in their order. BadInput for too many."""
    try:
        return urllib.parse.parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS)
    except ValueError:
        raise BadInput("The form has too many fields.") from None


def parts_of(body: bytes, kind: str) -> tuple[Pairs, bytes]:
    """The fields of a form that brings a file (multipart/form-data, RFC 7578), and the file; b'' for none."""
    found = re.search(r'boundary="?([^";,]{1,70})"?', kind)
    if found is None:
        raise BadInput("The form has no boundary between its fields.")
    pairs: Pairs = []
    file = b""
    for piece in (b"\r\n" + body).split(b"\r\n--" + found[1].encode("latin-1", "replace"))[1 : FIELDS + 1]:
        head, blank, content = piece.partition(b"\r\n\r\n")
        name = re.search(rb'[; ]name="([^"]{0,200})"', head)
        if blank and name and b'filename="' in head:
            file = content
        elif blank and name:
            pairs.append((name[1].decode("utf-8", "replace"), content.decode("utf-8", "replace")))
    return pairs, file


def call_of(text: str) -> tuple[str, str, dict[str, Any]]:
    """Method, address and body of what a button or a form does: 'PATCH /api/jobs/x {"paused": true}'."""
    method, _, rest = text.strip().partition(" ")
    address, _, written = rest.strip().partition(" ")
    if method not in METHODS or not address.startswith("/api/"):
        raise BadInput("The form doesn’t say what it does. Load the page again, then try once more.")
    try:
        body = encoding.loads(written.encode()) if written.strip() else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise BadInput("The form says what it does in a way that can’t be read.")
    return method, address, body


def body_of(pairs: Iterable[tuple[str, str]], schema: Schema | None, shapes: Mapping[str, Schema],
            sparse: bool = True) -> dict[str, Any]:  # fmt: skip
    """The body that the fields make. `sparse`: what is empty counts as not given."""
    known = resolved(schema or {}, shapes)
    gathered: dict[str, list[str]] = {}
    for name, text in pairs:
        if name not in OWN:
            gathered.setdefault(name, []).append(text.replace("\r\n", "\n"))
    ranged(gathered, known)
    body: dict[str, Any] = {}
    value: Any
    for name, values in gathered.items():
        place_of, _, written = name.partition(":")
        parts = place_of.split(".")
        if len(parts) > DEPTH:
            raise BadInput("The form’s field {name} lies too deep.", name=name[:80])
        if sparse and not any(values) and not written and len(parts) == 1:
            continue
        if written:
            value = as_json(values[-1]) if written == "json" else values[-1] or None
        else:
            value = fitted(values, within(known, parts, shapes), shapes)
        place(body, parts, value)
    listed = lists(body)
    assert isinstance(listed, dict)
    return listed


def ranged(gathered: dict[str, list[str]], known: Schema) -> None:
    """First, last and step of a form become `frames`, where the call takes those."""
    if "frames" not in known.get("properties", {}) or not {"first", "last"} & gathered.keys():
        return
    first, last, step = ((gathered.pop(name, None) or [""])[-1].strip() for name in ("first", "last", "step"))
    text = first or last
    if first and last and first != last:
        text = f"{first}-{last}" + (f"x{step}" if step not in ("", "1") else "")
    gathered["frames"] = [text]


def resolved(schema: Schema, shapes: Mapping[str, Schema]) -> Schema:
    """The schema itself, where this only names it."""
    return shapes[str(schema["$ref"]).removeprefix(REF)] if "$ref" in schema else schema


def within(schema: Schema, parts: list[str], shapes: Mapping[str, Schema]) -> Schema:
    """What is known of a nested field."""
    for part in parts:
        schema = one_of(schema, "array" if part.isdigit() else "object", shapes)
        schema = resolved(
            schema.get("items", {}) if part.isdigit() and "items" in schema
            else schema.get("properties", {}).get(part, {}),
            shapes,
        )  # fmt: skip
    return schema


def one_of(schema: Schema, kind: str, shapes: Mapping[str, Schema]) -> Schema:
    """Among several shapes of a value the one of this kind."""
    for choice in schema.get("anyOf", ()):
        found = resolved(choice, shapes)
        if kind in kinds_of(found):
            return found
    return schema


def kinds_of(schema: Schema) -> list[str]:
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else list(kinds)


def fitted(values: list[str], schema: Schema, shapes: Mapping[str, Schema]) -> Any:
    """The text as the value that the schema asks for; as it is where that can't be."""
    choices = [resolved(one, shapes) for one in schema.get("anyOf", ())] or [schema]
    kinds = [kind for choice in choices for kind in kinds_of(choice)]
    text = values[-1]
    if "array" in kinds:
        items = resolved(one_of(schema, "array", shapes).get("items", {}), shapes)
        parts = values if len(values) > 1 else text.split(",")
        return [fitted([part.strip()], items, shapes) for part in parts if part.strip()]
    if "boolean" in kinds and ("string" not in kinds or text.lower() in (*YES, *NO)):
        return text.lower() in YES
    for kind, read in (("integer", int), ("number", float)):
        if kind in kinds and text.strip():
            with contextlib.suppress(ValueError):
                return read(text.strip().replace(",", "."))
    if not text.strip() and "string" not in kinds and ("null" in kinds or {"integer", "number"} & set(kinds)):
        return None
    if not text and "null" in kinds:
        return None
    return text


def as_json(text: str) -> Any:
    """What is written as JSON; nothing where nothing is."""
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text


def place(body: dict[str, Any], parts: list[str], value: Any) -> None:
    """Put a value where its name says."""
    here = body
    for part in parts[:-1]:
        inner = here.setdefault(part, {})
        if not isinstance(inner, dict):
            raise BadInput("The form has {parts} twice.", parts=".".join(parts)[:80])
        here = inner
    here[parts[-1]] = value


def lists(value: Any) -> Any:
    """Objects whose keys are all numbers are lists, in the order of the numbers. What has an empty list in
    it, such as hours without a day, is left out."""
    if not isinstance(value, dict):
        return value
    inner = {key: lists(one) for key, one in value.items()}
    if inner and all(key.isascii() and key.isdigit() for key in inner):
        made = [inner[key] for key in sorted(inner, key=int)]
        return [one for one in made if not (isinstance(one, dict) and [] in one.values())]
    return inner


def filled(path: str, data: Any) -> str:
    """An address with its {places} filled from the answer: '/p/x/job/{id}'."""
    found = data if isinstance(data, Mapping) else {}
    parts = path.split("{")
    text = parts[0]
    for part in parts[1:]:
        name, _, rest = part.partition("}")
        text += encoding.quote(str(found.get(name, "")), safe="/") + rest
    return text
