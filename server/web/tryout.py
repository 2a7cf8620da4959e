"""`/api/docs/try`: one call of the API as a form, and what it answered, without scripts.

A call that only looks is a form that is sent by its address; one that changes something is posted, with the
session's own token. It runs as the API's own call, with its checks and its rights, for whoever is signed in.
Calls that answer with a stream or take bytes are shown as the line for a terminal alone.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from html import escape
from typing import Any
from urllib.parse import urlencode

from server.disk import encoding
from server.disk.errors import BadInput, CroftError, Forbidden, NotFound
from server.web import do, openapi
from server.web.api.schema import Schema
from server.web.api.shapes import SHAPES
from server.web.api.table import PARAMETERS, Route, Table, resolved
from server.web.pages import words
from server.web.requests import REASONS, Answer, Call, Environ
from server.web.services import Services

PATH = "/api/docs/try"
MOST_SHOWN = 100_000  # characters of an answer
NESTED = 4  # how deep a body is laid out
EXAMPLES = {"address": "data::demo/shots/sh010.blend", "file": "data::demo/shots/sh010.blend"}
EXAMPLES |= {"scene_file": "data::demo/shots/sh010.blend", "frames": "1-24", "frange": "1-24"}

Failed = Callable[[Call | None, Environ, CroftError], Answer]


def answer(table: Table, services: Services, call: Call, failed: Failed) -> Answer:
    """The page: the call's form, and, where it was sent, what came of it."""
    posted = call.method == "POST"
    if posted:
        call.require("guest")
        services.sessions.guard(call)
    given = call.form() if posted else call.query
    route = route_of(table, given.get("call", ""))
    found: Answer | None = None
    line = curl(call, route, given)
    if tryable(route) and given.get("run"):
        if posted == (route.method == "GET"):
            raise Forbidden("Send this form as the page has it.")
        try:
            found = run(table, services, call, route, given)
        except CroftError as error:
            found = failed(None, call.environ, error)
    text = page(services, call, route, given, found, line)
    headers = [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")]
    return Answer(headers=headers, body=[text.encode("utf-8", "replace")])


def route_of(table: Table, asked: str) -> Route:
    """The call of this name, such as `GET /api/jobs`."""
    method, _, path = asked.partition(" ")
    found = next((route for route in table.routes if (route.method, route.path) == (method, path)), None)
    if found is None:
        raise NotFound("There is no such call. The calls are listed at /api/docs.")
    return found


def tryable(route: Route) -> bool:
    """May it be tried from a form?"""
    return not route.stream and not route.media and route.path not in do.CLOSED


def run(table: Table, services: Services, call: Call, route: Route, given: Mapping[str, str]) -> Answer:
    """The call's own answer, for who is signed in."""
    path, params = filled(route, given)
    body: Any = {}
    if route.body is not None and given.get("body", "").strip():
        try:
            body = encoding.loads(given["body"].encode())
        except ValueError as error:
            raise BadInput("The body isn't JSON: {e}.", e=error) from None
        if not isinstance(body, dict):
            raise BadInput("The body must be an object in braces.")
    inner = do.within(call, route.method, path, urlencode(asked_of(route, given)), body)
    for name in route.headers:
        if given.get(f"h.{name}"):
            inner.environ["HTTP_" + name.upper().replace("-", "_")] = given[f"h.{name}"]
    inner.params = params
    return table.run(services, inner, route)


def filled(route: Route, given: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The path with what stands in its places."""
    params = {}
    for name in re.findall(r"\{(\w+)\}", route.path):
        params[name] = given.get(f"p.{name}", "")
        if not params[name]:
            raise BadInput("{field} is needed: {what}.", field=name, what=PARAMETERS[name][1])
    return route.path.format(**params), params


def asked_of(route: Route, given: Mapping[str, str]) -> dict[str, str]:
    """The query, without what was left empty."""
    return {name: given[f"q.{name}"] for name in route.query if given.get(f"q.{name}")}


def curl(call: Call, route: Route, given: Mapping[str, str]) -> str:
    """The same from a terminal."""
    path = re.sub(
        r"\{(\w+)\}",
        lambda found: encoding.quote(given.get(f"p.{found[1]}", ""), safe="/:@") or found[0].upper(),
        route.path,
    )
    query = urlencode(asked_of(route, given))
    address = f"{call.scheme}://{call.header('host') or 'nas'}{path}{'?' if query else ''}{query}"
    parts = ["curl", *(["-X", route.method] if route.method != "GET" else [])]
    told = "-H 'Authorization: Bearer '$TOKEN" if route.role else ""
    more: list[str] = []
    for name in route.headers:
        if given.get(f"h.{name}"):
            more += ["-H", f"{name}: {given[f'h.{name}']}"]
    if route.stream:
        more += ["--data-binary", "@FILE"]
    elif route.body is not None:
        more += ["-H", "Content-Type: application/json", "-d", given.get("body") or example(route)]
    return " ".join(filter(None, [shlex.join(parts), told, shlex.join([*more, address])]))


def example(route: Route) -> str:
    """A body to begin with: what it must have, laid out."""
    schema = resolved(route.body or {})
    if "anyOf" in schema:
        schema = resolved(schema["anyOf"][0])
    return json.dumps(_value("", schema, 0), indent=2, ensure_ascii=False)


def _value(name: str, schema: Schema, depth: int) -> Any:
    schema = resolved(schema)
    if "anyOf" in schema:
        schema = resolved(schema["anyOf"][0])
    kind = schema.get("type", "string")
    kind = kind if isinstance(kind, str) else kind[0]
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "object":
        inner, needed = schema.get("properties", {}), schema.get("required", ())
        if depth >= NESTED:
            return {}
        return {key: _value(key, inner.get(key, {}), depth + 1) for key in needed}
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return {"array": [], "boolean": False, "null": None}.get(kind, EXAMPLES.get(name, ""))


# The page.


def page(
    services: Services, call: Call, route: Route, given: Mapping[str, str], found: Answer | None, line: str
) -> str:
    title, style = str(services.settings.get("title")), services.static.url("croft.css")
    icon = services.static.url("icons/favicon.svg")
    name = f"{route.method} {route.path}"
    back = encoding.quote(f"{PATH}?call={encoding.quote(name)}")
    who = f'<a href="/sign-in?next={escape(back)}">Sign in</a> to try it.'
    if call.user is not None:
        who = f"You are {escape(call.user.title)}."
    body = (
        f'<p><a href="/api/docs">All calls</a></p><h1>{escape(name)}</h1>'
        f"<p>{escape(words.capital(route.summary))}. For {escape(openapi.whom(route))}. "
        f"{who if route.role else ''}</p>"
        f"{form(call, route, given) if tryable(route) else ''}"
        '<section class="stack"><h2>From a terminal</h2>'
        f'<pre class="said" tabindex="0">{escape(line)}</pre></section>'
        f"{said(found) if found is not None else ''}{shape_of(route)}"
    )
    return openapi.frame(title, style, icon, body)


def form(call: Call, route: Route, given: Mapping[str, str]) -> str:
    """Its fields: what stands in the path, the query, the headers, the body."""
    places = re.findall(r"\{(\w+)\}", route.path)
    fields = [field(f"p.{name}", name, PARAMETERS[name][1], given, *PARAMETERS[name][:1]) for name in places]
    fields += [field(f"q.{name}", name, text, given, schema) for name, (schema, text) in route.query.items()]
    fields += [field(f"h.{name}", name, text, given, {}) for name, text in route.headers.items()]
    body = ""
    if route.body is not None:
        text = escape(given.get("body") or example(route))
        body = (
            '<label class="field"><span>the body, as JSON</span>'
            f'<textarea name="body" rows="10" spellcheck="false">{text}</textarea></label>'
        )
    method = "get" if route.method == "GET" else "post"
    token = f'<input type="hidden" name="csrf" value="{escape(call.csrf)}">' if method == "post" else ""
    return (
        f'<form class="panel stack" method="{method}" action="{PATH}">{token}'
        f'<input type="hidden" name="call" value="{escape(f"{route.method} {route.path}")}">'
        f'<input type="hidden" name="run" value="1"><div class="fields">{"".join(fields)}</div>{body}'
        f'<div><button class="primary">{"Ask" if method == "get" else "Do it"}</button></div></form>'
    )


def field(name: str, label: str, text: str, given: Mapping[str, str], schema: Schema) -> str:
    """One of the values that it takes."""
    head = f'<label class="field"><span>{escape(label)}: {escape(text)}</span>'
    value = given.get(name, "")
    if schema.get("enum") or schema.get("type") == "boolean":
        known = [str(one) for one in schema.get("enum", ("true", "false"))]
        options = "".join(
            f"<option{' selected' if one == value else ''}>{escape(one)}</option>" for one in ["", *known]
        )
        return f'{head}<select name="{escape(name)}">{options}</select></label>'
    if not value and name.startswith("p."):
        value = EXAMPLES.get(label, "")
    more = 'autocomplete="off" spellcheck="false"'
    return f'{head}<input name="{escape(name)}" value="{escape(value)}" {more}></label>'


def said(found: Answer) -> str:
    """What it answered."""
    raw = found.payload() if found.body is None else b"".join(found.body)
    text = json.dumps(json.loads(raw), indent=2, ensure_ascii=False) if raw else ""
    if len(text) > MOST_SHOWN:
        text = text[:MOST_SHOWN] + "\n…"
    status = f"{found.status} {REASONS.get(found.status, '')}".strip()
    glyph = "done" if found.status < 400 else "failed"
    return (
        f'<section class="stack" id="answer"><h2>The answer</h2><p><span class="s {glyph}">'
        f'<span class="g g-{glyph}" aria-hidden="true"></span>{escape(status)}</span></p>'
        f'<pre class="said" tabindex="0">{escape(text)}</pre></section>'
    )


def shape_of(route: Route) -> str:
    """What its body may hold."""
    names = [
        str(one["$ref"]).rpartition("/")[2]
        for one in (route.body or {}).get("anyOf", [route.body or {}])
        if "$ref" in one
    ]
    told = "".join(openapi.shape_details(name, SHAPES[name]) for name in names)
    return f'<section class="stack"><h2>What the body may hold</h2>{told}</section>' if told else ""
