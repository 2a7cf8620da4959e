"""`/farm` and `/potential`: bytes in, bytes out, for nodes and prenodes alone.

The hottest path of the server: no routing library, no session, one JSON parse. Who may talk is decided by
a token in the header or, for RFAM's nodes that send none, in the path (`/t/TOKEN/farm`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from server.disk import encoding
from server.disk.errors import BadInput, CroftError, Forbidden, NotFound, NotSignedIn
from server.disk.speech import say
from server.farm.farm import Farm
from server.library.people import Token
from server.web import join
from server.web.requests import Call, MethodNotAllowed, read_body, status_line, status_of

if TYPE_CHECKING:
    from server.web.services import Services

StartResponse = Callable[..., Any]
log = logging.getLogger("croft.wire")
JSON = "application/json"
JOIN, ARCHIVE, REGISTER = "/join", "/node.zip", "/register"
MAX_REGISTER_BYTES = 16_384
FAILED = b'{"data":null,"message":"The server failed at this; its log says more."}'


def farm(body: bytes, token_name: str, the_farm: Farm) -> bytes:
    """Answer a node's message. `token_name` is the name that its token is bound to, '*' for any."""
    return the_farm.talk(token_name, _parse(body))


def potential(body: bytes, the_farm: Farm) -> bytes:
    """Answer a prenode."""
    return encoding.dumps(the_farm.bridging.potential(_parse(body)))


def _parse(body: bytes) -> Any:
    try:
        return encoding.loads(body)
    except ValueError as error:
        raise BadInput("The body is not JSON: {why}.", why=error) from error


class Wire:
    """The WSGI application of these addresses."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        try:
            code, kind, body = self._answer(environ)
            status = status_line(code)
        except CroftError as error:
            kind, code = JSON, status_of(error)
            status = status_line(code)
            body = encoding.dumps({"data": None, "message": error.message})
        except Exception:
            log.exception("a node's message failed")
            status, kind, body = "500 Internal Server Error", JSON, FAILED
        start_response(
            status,
            [
                ("Content-Type", kind),
                ("Content-Length", str(len(body))),
                ("Cache-Control", "no-store"),
            ],
        )
        return [body]

    def _answer(self, environ: dict[str, Any]) -> tuple[int, str, bytes]:
        """The status, the type and the body."""
        path: str = environ.get("PATH_INFO", "")
        token = _bearer(environ.get("HTTP_AUTHORIZATION", ""))
        if path.startswith("/t/"):
            token, _, rest = path[3:].partition("/")
            token, path = unquote(token), "/" + rest
        if path in (JOIN, ARCHIVE) and environ.get("REQUEST_METHOD") == "GET":
            return 200, *self._joining(environ, path, token)
        if environ.get("REQUEST_METHOD") != "POST":
            raise MethodNotAllowed("Nodes POST to this address.")
        if path == REGISTER:
            return self._register(environ)
        checked = self._check(token)
        body = read_body(environ, self._services.settings.get("max_body_bytes"))
        if path == "/farm":
            answer = farm(body, checked.node, self._services.farm)
            self._services.people.note_use(checked.id)
            return 200, JSON, answer
        if path == "/potential":
            return 200, JSON, potential(body, self._services.farm)
        raise NotFound("There is nothing at this address.")

    def _joining(self, environ: dict[str, Any], path: str, token: str) -> tuple[str, bytes]:
        """What takes a computer into the farm, for whoever has a node's token."""
        self._check(token)
        if path == ARCHIVE:
            return "application/zip", join.archive()
        base = f"{Call(environ).scheme}://{environ.get('HTTP_HOST', '')}"
        return "text/plain; charset=utf-8", join.script(self._services, base, token)

    def _register(self, environ: dict[str, Any]) -> tuple[int, str, bytes]:
        """A computer without a token asks to join: an admin admits it on the page Computers."""
        services = self._services
        if not services.settings.get("joining"):
            raise NotFound("Computers can't ask to join here: have an admin make a token for this one.")
        told = _parse(read_body(environ, MAX_REGISTER_BYTES))
        waiting = services.farm.machines.waiting
        found = waiting.ask(told, str(environ.get("REMOTE_ADDR", "")), self._make_token)
        status = 200 if found["state"] == "admitted" else 202
        if status == 200:
            said = say("{name} is one of the farm's computers now.", name=found["name"])
        else:
            said = say(
                "{name} asks to join, with the code {code}. An admin admits it on the page Computers.",
                name=found["name"],
                code=found["code"],
            )
        return status, JSON, encoding.dumps({"data": found, "message": said})

    def _make_token(self, name: str, by: str) -> str:
        return self._services.people.make_token(node=name, title=f"admitted by {by}")

    def _check(self, token: str) -> Token:
        """A node's token, and the name that it is bound to."""
        if not token:
            raise NotSignedIn("A node needs a token: run.py token --node NAME makes one.")
        checked = self._services.people.check_token(token)
        if not checked.node:
            raise Forbidden("This is a person's token; a node needs its own (run.py token --node NAME).")
        return checked


def _bearer(header: str) -> str:
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
