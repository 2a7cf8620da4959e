"""`POST /do`: a form or a button of a page runs a call of the API, with or without scripts.

The form says which (`do`), on which version of a record (`etag`) and where to go on (`then`); its other
fields are the body. The call is the API's own, with its checks and its rights. Scripts get its answer as
JSON; a browser without them is sent back to the page, which then says what came of it, once.
"""

from __future__ import annotations

import io
import json
import urllib.parse
from collections.abc import Callable
from typing import Any

from server.disk import encoding
from server.disk.errors import CroftError, Forbidden
from server.web import forms, said
from server.web.api.shapes import SHAPES
from server.web.api.table import Table
from server.web.requests import Answer, Call, Environ, Headers
from server.web.services import Services

PICTURE = "image/*"  # the only bytes that a form may bring: scripts send the others
CLOSED = ("/api/session", "/api/events")  # who signs in does so by a form of its own

Failed = Callable[[Call | None, Environ, CroftError], Answer]


def answer(table: Table, services: Services, call: Call, failed: Failed) -> Answer:
    """What the call answers, as JSON or as the way back. `failed` makes an answer of an error."""
    pairs = call.pairs()
    own = dict(pairs)
    goal = ""
    try:
        found, goal = run(table, services, call, pairs, own)
    except CroftError as error:
        found = failed(None, call.environ, error)
    if "json" in call.header("accept"):
        return with_goal(services, found, goal)
    return way_back(services, call, found, goal)


def run(
    table: Table, services: Services, call: Call, pairs: forms.Pairs, own: dict[str, str]
) -> tuple[Answer, str]:
    """The API's answer, and the page to go on to ('' for the same one)."""
    method, address, body = forms.call_of(own.get("do", ""))
    path, _, query = address.partition("?")
    path = urllib.parse.unquote(path, errors="surrogateescape")
    route, params = table.find(method, path)
    brought = call.file if route.stream == PICTURE else b""
    if route.path in CLOSED or (route.stream and not brought) or route.media:
        raise Forbidden("A form can’t do that.")
    given = forms.body_of(pairs, route.body, SHAPES, sparse=method != "PATCH")
    inner = within(call, method, path, query, merged(body, given) if route.body is not None else {})
    if own.get("etag"):
        inner.environ["HTTP_IF_MATCH"] = f'"{own["etag"]}"'
    if brought:
        inner.environ |= {"CONTENT_LENGTH": str(len(brought)), "wsgi.input": io.BytesIO(brought)}
    inner.params = params
    found = table.run(services, inner, route)
    goal = own.get("then", "")
    # A browser takes a backslash for a slash: `/\\elsewhere` is another site's page.
    here = goal.startswith("/") and not goal.startswith("//") and "\\" not in goal and goal.isprintable()
    good = here and found.status < 400
    return found, forms.filled(goal, found.data) if good else ""


def merged(body: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What the form says of itself, with what its person filled in."""
    result = dict(body)
    for key, value in given.items():
        before = result.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            value = merged(before, value)
        result[key] = value
    return result


def within(call: Call, method: str, path: str, query: str, body: dict[str, Any]) -> Call:
    """The call of the API, asked by the same person."""
    content = encoding.dumps(body)
    kept = call.environ.items()
    environ = {key: value for key, value in kept if not key.startswith(("HTTP_IF_", "croft."))}
    environ |= {
        "REQUEST_METHOD": method,
        "PATH_INFO": path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": query,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.input": io.BytesIO(content),
    }
    inner = Call(environ)
    inner.user, inner.via, inner.token_id = call.user, call.via, call.token_id
    inner.csrf, inner.session = call.csrf, call.session
    return inner


def with_goal(services: Services, found: Answer, goal: str) -> Answer:
    """The JSON answer, with the page that the form goes on to, which says what came of it."""
    if goal and found.body is None:
        payload = json.loads(found.payload())
        found.body = [encoding.dumps({**payload, "go": goal})]
        told = said.keep(services, found.message, undo_of(found))
        kind = [("Content-Type", "application/json"), ("Cache-Control", "no-store")]
        found.headers = [*found.headers, *kind, told]
    return found


# Without scripts


def way_back(services: Services, call: Call, found: Answer, goal: str) -> Answer:
    """Back to the page, which says what came of it."""
    told = said.keep(services, found.message, undo_of(found))
    headers: Headers = [("Location", goal or came_from(call)), told]
    headers += [
        pair for pair in found.headers if pair[0] == "Set-Cookie"
    ]  # another password, the same session
    return Answer(status=303, headers=headers, body=[])


def undo_of(found: Answer) -> str:
    """The call that takes it back, as a button has it; '' where none does."""
    data = found.data if isinstance(found.data, dict) else {}
    undo = data.get("undo") if found.status < 400 else None
    if not isinstance(undo, dict):
        return ""
    written = json.dumps(undo["body"]) if undo.get("body") else ""
    return f"{undo.get('method')} {undo.get('path')} {written}".strip()


def came_from(call: Call) -> str:
    """The page of this site that the form stands on."""
    found = urllib.parse.urlsplit(call.header("referer"))
    if found.netloc != call.header("host") or not found.path.startswith("/") or found.path.startswith("//"):
        return "/"
    return found.path + (f"?{found.query}" if found.query else "")
