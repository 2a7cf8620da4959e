"""The table of the API: what each route is called, takes, gives, and who may use it.

One `Route` drives both the routing with its checks and the OpenAPI document, so neither can lie about the
other. Holds no routes itself: each room of the API lists its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from server.disk.errors import BadInput, NotFound
from server.web.api.check import REF, Schema, check
from server.web.api.note_shapes import ID
from server.web.api.shapes import SHAPES
from server.web.requests import Answer, Call, MethodNotAllowed
from server.web.services import Services

Handler = Callable[[Services, Call], Answer]

TEXT: Schema = {"type": "string"}
LIMIT: Schema = {"type": "integer", "minimum": 1, "maximum": 1000}
CURSOR: Schema = {"type": "string", "maxLength": 200}
PAGING: Mapping[str, tuple[Schema, str]] = {
    "limit": (LIMIT, "rows at most in one answer; 100 if not given"),
    "cursor": (CURSOR, "the `next` of the answer before"),
}
PARAMETERS: Mapping[str, tuple[Schema, str]] = {
    "address": ({"type": "string", "minLength": 1}, "share::path/inside; its slashes may stand as they are"),
    "id": ({"type": "string", "minLength": 1}, "the job's or the upload's id"),
    "n": ({"type": "integer", "minimum": 0}, "the task's number in its job"),
    "name": ({"type": "string", "minLength": 1}, "the node's name"),
    "code": ({"type": "string", "minLength": 1}, "the code of a computer that asks to join"),
    "token": ({"type": "string", "minLength": 1}, "a token's id, which is no secret"),
    "user": ({"type": "string", "minLength": 1}, "the user's name"),
    "step": ({"type": "string", "minLength": 1}, "you, pool, samba, people, nodes, render, speed …"),
    "project": ({"type": "string", "minLength": 1}, "the project's ident"),
    "kind": ({"type": "string", "enum": ["users", "projects"]}, "whose picture"),
    "tag": ({"type": "string", "minLength": 1}, "a state of the film, or 'now'"),
    "picture": ({"type": "string", "minLength": 1}, "as the address that a user or project tells"),
    "version": ({"type": "string", "minLength": 1}, "a version's id, as v002"),
    "note": (ID, "the note's id"),
}


def ref(name: str) -> Schema:
    """A reference to a named shape."""
    if name not in SHAPES:
        raise KeyError(name)
    return {"$ref": REF + name}


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API. `role` is what its user must at least be; empty: anybody, signed in or not."""

    method: str
    path: str  # with {address}, {id} …; an {address} may hold slashes
    handler: Handler
    summary: str
    role: str = "guest"
    query: Mapping[str, tuple[Schema, str]] = field(default_factory=dict)
    body: Schema | None = None
    body_limit: int = 0  # bytes; 0: the configuration's max_body_bytes
    stream: str = ""  # the body is bytes, which the handler reads itself
    headers: Mapping[str, str] = field(default_factory=dict)  # request headers and what they do
    data: Schema = field(default_factory=lambda: {"type": "null"})
    listing: bool = False
    status: int = 200
    errors: tuple[int, ...] = ()  # besides those that follow from the rest
    media: str = ""  # the answer isn't the usual JSON
    tag: str = ""


class Table:
    """Finds the route for a path and a method, checks the input, runs the handler."""

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        self._fixed: dict[str, dict[str, Route]] = {}
        patterns: dict[str, dict[str, Route]] = {}
        for route in routes:
            place = (patterns if "{" in route.path else self._fixed).setdefault(route.path, {})
            if route.method in place:
                raise ValueError(f"{route.method} {route.path} is there twice")
            place[route.method] = route
        # Longer patterns first: /api/assets/{address}/checkpoint before /api/assets/{address}.
        ordered = sorted(patterns, key=lambda path: (-path.count("/"), path.count("{"), path))
        self._patterns = [(pattern_of(path), patterns[path]) for path in ordered]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its path parameters. NotFound or MethodNotAllowed."""
        methods, params = self._fixed.get(path), {}
        if methods is None:
            for pattern, found in self._patterns:
                match = pattern.fullmatch(path)
                if match:
                    methods, params = found, match.groupdict()
                    break
        if methods is None:
            raise NotFound("There is nothing at {path}. The calls are listed at /api/docs.", path=path[:200])
        route = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if route is None:
            allow = ", ".join(sorted({*methods, *(("HEAD",) if "GET" in methods else ())}))
            raise MethodNotAllowed(
                "{method} isn't possible here, only {allow}.", allow=allow, method=method[:20]
            )
        return route, params

    def run(self, services: Services, call: Call, route: Route) -> Answer:
        """The handler's answer, after role, query and body were checked in this order."""
        if route.role:
            call.require(route.role)
        check_query(route.query, call.query)
        for name, value in call.params.items():
            if PARAMETERS[name][0].get("type") == "integer" and not (value.isascii() and value.isdigit()):
                raise NotFound(
                    "{value} isn't a number: there is nothing of that name.", value=repr(value[:40])
                )
        if route.body is not None:
            limit = route.body_limit or int(services.settings.get("max_body_bytes"))
            call.body = call.json(limit, optional="required" not in resolved(route.body))
            check(call.body, route.body, "body", SHAPES)
        return route.handler(services, call)


def resolved(schema: Schema) -> Schema:
    """The schema itself, where this only names it."""
    return SHAPES[str(schema["$ref"]).removeprefix(REF)] if "$ref" in schema else schema


def pattern_of(path: str) -> re.Pattern[str]:
    """The regular expression of a path with {parameters}."""
    parts = re.split(r"\{(\w+)\}", path)
    text = ""
    for n, part in enumerate(parts):
        if n % 2:
            # A note's id has a form of its own, lest a file in a folder called `notes` be taken for one.
            kinds = {"address": ".+", "note": ID["pattern"].strip("^$")}
            text += f"(?P<{part}>{kinds.get(part, '[^/]+')})"
        else:
            text += re.escape(part)
    return re.compile(text, re.DOTALL)


def check_query(known: Mapping[str, tuple[Schema, str]], query: dict[str, str]) -> None:
    """Nothing, or BadInput. An empty value counts as not given; names that aren't known are passed over."""
    for name, (schema, _) in known.items():
        text = query.get(name)
        if not text:
            continue
        value: Any = text
        kind = schema.get("type")
        if kind == "integer":
            if not re.fullmatch(r"-?[0-9]{1,15}", text):
                raise BadInput(
                    "{field} must be a whole number, not {text}.", field=name, text=repr(text[:40])
                )
            value = int(text)
        elif kind == "boolean":
            if text not in ("true", "false"):
                raise BadInput("{field} must be true or false, not {text}.", field=name, text=repr(text[:40]))
            value = text == "true"
        check(value, schema, name, SHAPES)
