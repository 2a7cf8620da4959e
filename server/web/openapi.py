"""The OpenAPI 3.1 document of the API, made from the same table that routes its calls."""

from __future__ import annotations

from html import escape
from typing import Any

from server import __version__
from server.disk.encoding import quote
from server.web.api.schema import ANYTHING, Schema
from server.web.api.shapes import SHAPES
from server.web.api.table import PARAMETERS, Route
from server.web.requests import Answer, Call, dumps
from server.web.services import Services

TAGS = {
    "people": "signing in, users",
    "projects": "projects of the shares",
    "assets": "files that people track",
    "saves": "earlier saves and versions of files, deletions undone",
    "protection": "published files that are locked, and what becomes of them",
    "notes": "what people say of files",
    "files": "the files themselves, their thumbnails",
    "uploads": "files on their way into a project, in parts that can be gone on with",
    "jobs": "renders: jobs and their tasks",
    "farm": "computers and the farm as a whole",
    "statistics": "what the farm did, what is due, what failed",
    "operations": "events, problems, history, health",
    "setup": "setting up, step by step",
}
ROLE_WORDS = {"": "everybody", "guest": "who is signed in"}
SENTENCES = {
    400: "the request can't be understood; nothing was changed",
    401: "nobody is signed in, or the token isn't good",
    403: "this person or token may not do that",
    404: "there is no such thing",
    200: "there was nothing to do",
    409: "it exists already, or its present state doesn't allow this",
    411: "say how long the body is: Content-Length",
    412: "the edit was made on an older record; `data` is the present one",
    413: "more than is accepted here",
    415: "content of a kind that can't be used here",
    416: "no such part of the file",
    428: "say which record you edit: If-Match",
    429: "too many tries; Retry-After says when",
    503: "busy or away just now; Retry-After says when to try again",
    507: "the disk is full; nothing was changed",
}


def with_documentation(routes: list[Route]) -> list[Route]:
    """These routes, and those that describe all of them."""

    def show_openapi(services: Services, call: Call) -> Answer:
        body = dumps(document(everything, services.settings.get("title")))
        headers = [("Content-Type", "application/json"), ("Cache-Control", "no-cache")]
        return Answer(headers=headers, body=[body])

    def show_docs(services: Services, call: Call) -> Answer:
        text = page(
            everything,
            services.settings.get("title"),
            services.static.url("croft.css"),
            services.static.url("icons/favicon.svg"),
        )
        return Answer(headers=[("Content-Type", "text/html; charset=utf-8")], body=[text.encode()])

    everything = [
        *routes,
        Route("GET", "/api/openapi.json", show_openapi, "this document", role="", data=ANYTHING,
              media="application/json", tag="operations"),
        Route("GET", "/api/docs", show_docs, "the same, to read", role="", media="text/html",
              tag="operations"),
    ]  # fmt: skip
    return everything


def document(routes: list[Route], title: str = "Croft") -> dict[str, Any]:
    """The whole document, ready for JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": __version__,
            "description": 'Every answer is `{"data": …, "message": "what happened"}`, errors included; '
            "lists add `next`, the cursor of what follows.",
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": dict(SHAPES),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def operation(route: Route) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": route.handler.__name__ + ("" if route.path.startswith("/api/") else "_plain"),
        "summary": route.summary,
        "tags": [route.tag],
        "parameters": [*path_parameters(route), *query_parameters(route), *header_parameters(route)],
        "responses": responses(route),
    }
    if route.role:
        found["security"] = [{"token": []}]
        found["description"] = f"For everybody from {route.role} up."
    else:
        found["security"] = []
    if route.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": route.body}}}
    elif route.stream:
        found["requestBody"] = {"required": True, "content": {route.stream: {"schema": {}}}}
    return found


def path_parameters(route: Route) -> list[dict[str, Any]]:
    names = [part.split("}")[0] for part in route.path.split("{")[1:]]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": PARAMETERS[name][0],
            "description": PARAMETERS[name][1],
        }
        for name in names
    ]


def query_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
        for name, (schema, text) in route.query.items()
    ]


def header_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in route.headers.items()
    ]


def responses(route: Route) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "what was asked for"}
    if route.media:
        good["content"] = {route.media: {"schema": {}}}
    else:
        data = {"type": "array", "items": route.data} if route.listing else route.data
        properties: dict[str, Any] = {"data": data, "message": {"type": "string"}}
        if route.listing:
            properties["next"] = {"type": ["string", "null"]}
        envelope = {"type": "object", "properties": properties, "required": list(properties)}
        good["content"] = {"application/json": {"schema": envelope}}
    found = {str(route.status): good}
    for status in sorted(error_statuses(route)):
        if status in (206, 304):
            found[str(status)] = {"description": {206: "a part of it", 304: "it hasn't changed"}[status]}
            continue
        if status < 300:
            found[str(status)] = {**good, "description": SENTENCES[status]}
            continue
        error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        found[str(status)] = {"description": SENTENCES[status], "content": error}
    return found


def error_statuses(route: Route) -> set[int]:
    """The errors that follow from what the route takes, and those that it names."""
    found = {400, 403, *route.errors}
    found.add(401)
    if "{" in route.path:
        found.add(404)
    if route.body is not None or route.stream:
        found |= {413, 415}
    if route.method not in ("GET", "HEAD"):
        found |= {503, 507}
    return found


def page(routes: list[Route], title: str, style: str, icon: str) -> str:
    """The same to read: a sheet of calls for each part, the shapes below. No scripts."""
    sections = "".join(section(tag, text, [r for r in routes if r.tag == tag]) for tag, text in TAGS.items())
    shapes = "".join(shape_details(name, schema) for name, schema in SHAPES.items())
    return frame(
        title,
        style,
        icon,
        '<div class="stack"><h1>For scripts</h1>'
        '<p>Send <code>Authorization: Bearer TOKEN</code>; <a href="/me/tokens">make one</a>, or '
        "<code>run.py token USER</code> does. Every answer is <code>{&quot;data&quot;: …, "
        "&quot;message&quot;: …}</code>, errors included; lists add <code>next</code>, to be sent back as "
        "<code>cursor</code>. Press a call to try it. The same for programs: "
        '<a href="/api/openapi.json">openapi.json</a>.</p></div>'
        f'{sections}<section class="stack"><h2>Shapes</h2>{shapes}</section>',
    )


def frame(title: str, style: str, icon: str, body: str) -> str:
    """A page of these, around what it says."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>The API · {escape(title)}</title><link rel="stylesheet" href="{escape(style)}">'
        f'<link rel="icon" href="{escape(icon)}" type="image/svg+xml"></head><body>'
        '<header class="mast"><div><a class="mark" href="/"><span class="g g-mark" aria-hidden="true"></span>'
        f"{escape(title)}</a></div></header>"
        f'<main id="main">{body}</main></body></html>'
    )


def whom(route: Route) -> str:
    """For whom a call is."""
    return ROLE_WORDS.get(route.role, route.role + "s and up")


def section(tag: str, text: str, routes: list[Route]) -> str:
    rows = "".join(
        f'<tr><td><a href="/api/docs/try?call={quote(f"{route.method} {route.path}")}">'
        f"<code>{route.method} {escape(route.path)}</code></a></td><td>{escape(route.summary)}</td>"
        f'<td class="narrow-off">{escape(whom(route))}</td><td class="narrow-off">{takes(route)}</td></tr>'
        for route in routes
    )
    head = '<tr><th scope="col">Call</th><th scope="col">Does</th><th scope="col" class="narrow-off">For</th>'
    return (
        f'<section class="stack"><h2>{escape(tag.capitalize())}</h2><p class="quiet">{escape(text)}</p>'
        f'<table class="sheet"><thead>{head}<th scope="col" class="narrow-off">Takes</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
    )


def takes(route: Route) -> str:
    """What a call takes, each with its explanation as the title."""
    given = {**{name: text for name, (_, text) in route.query.items()}, **route.headers}
    parts = [f'<span title="{escape(text)}">{escape(name)}</span>' for name, text in given.items()]
    if route.body:
        found = [str(one["$ref"]).rpartition("/")[2] for one in route.body.get("anyOf", [route.body])]
        parts.append(" or ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in found))
    elif route.stream:
        parts.append("the bytes")
    return ", ".join(parts)


def shape_details(name: str, schema: Schema) -> str:
    needed = schema.get("required", [])
    rows = "".join(
        f"<dt><code>{escape(field)}</code></dt><dd>{escape(kind_of(inner))}"
        f"{', always' if field in needed else ''}</dd>"
        for field, inner in schema.get("properties", {}).items()
    )
    return (
        f'<details class="panel" id="{escape(name)}"><summary>{escape(name)}</summary>'
        f'<dl class="facts">{rows}</dl></details>'
    )


def kind_of(schema: Schema) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(kind_of(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(repr(value) for value in schema["enum"])
    kinds = schema.get("type", "anything")
    text = kinds if isinstance(kinds, str) else " or ".join(kinds)
    if text == "array" and schema.get("items"):
        return f"list of {kind_of(schema['items'])}"
    return f"{text}: {schema['description']}" if "description" in schema else text
