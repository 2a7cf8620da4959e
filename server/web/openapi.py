"""The OpenAPI 3.1 document of the API, made from the same table that routes its calls."""

from __future__ import annotations

import html
from typing import Any

from server import __version__
from server.web.api.shapes import ANYTHING, SHAPES
from server.web.api.table import PARAMETERS, Route
from server.web.requests import Answer, Call, dumps
from server.web.services import Services

TAGS = {
    "people": "signing in, users",
    "projects": "projects of the shares",
    "assets": "files that people track",
    "files": "the files themselves, their thumbnails, uploads",
    "jobs": "renders: jobs and their tasks",
    "farm": "computers and the farm as a whole",
    "operations": "events, problems, history, health",
}
SENTENCES = {
    400: "the request can't be understood; nothing was changed",
    401: "nobody is signed in, or the token isn't good",
    403: "this person or token may not do that",
    404: "there is no such thing",
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
        text = page(everything, services.settings.get("title"))
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


def page(routes: list[Route], title: str) -> str:
    """A readable list of the calls, without scripts."""
    rows = []
    for tag, text in TAGS.items():
        rows.append(f"<h2>{html.escape(tag)}</h2><p>{html.escape(text)}</p><dl>")
        for route in (r for r in routes if r.tag == tag):
            names = ", ".join([*route.query, *route.headers])
            takes = f" <small>takes {html.escape(names)}</small>" if names else ""
            body = str(route.body.get("$ref", "")).rpartition("/")[2] if route.body else route.stream
            sends = f" <small>body: {html.escape(body)}</small>" if body else ""
            role = f" <small>{html.escape(route.role)} and up</small>" if route.role else ""
            rows.append(
                f"<dt><code>{route.method} {html.escape(route.path)}</code></dt>"
                f"<dd>{html.escape(route.summary)}{role}{takes}{sends}</dd>"
            )
        rows.append("</dl>")
    rows.append("<h2>shapes</h2><dl>")
    for name, schema in SHAPES.items():
        fields = ", ".join(schema.get("properties", {}))
        rows.append(f"<dt><code>{html.escape(name)}</code></dt><dd>{html.escape(fields)}</dd>")
    rows.append("</dl>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{html.escape(title)}: the API</title>"
        '<link rel="stylesheet" href="/static/croft.css"></head><body><main class="page docs">'
        f"<h1>{html.escape(title)}: the API</h1>"
        "<p>Every answer is <code>{&quot;data&quot;: …, &quot;message&quot;: …}</code>; lists add "
        "<code>next</code>, to be sent back as <code>cursor</code>. Send "
        "<code>Authorization: Bearer TOKEN</code> (<code>run.py token USER</code> makes one). "
        'The same for programs: <a href="/api/openapi.json">openapi.json</a>.</p>'
        + "".join(rows)
        + "</main></body></html>"
    )
