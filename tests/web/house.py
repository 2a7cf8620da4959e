"""A whole Croft in a temporary folder, asked over WSGI without a socket."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from server.web.app import Croft

SCENE = b"BLENDER-v304" + b"\0" * 200 + b"ENDB" + b"\0" * 20  # has its end: it counts as arrived


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes
    cookies: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        return self.json["data"]

    @property
    def message(self) -> str:
        return str(self.json["message"])


class Browser:
    """Asks the application; keeps its cookies, CSRF token or bearer token."""

    def __init__(self, wsgi: Callable[..., Any], token: str = "") -> None:
        self.wsgi = wsgi
        self.token = token
        self.cookies: dict[str, str] = {}
        self.csrf = ""
        self.address = "127.0.0.1"

    def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
        kind: str = "application/json",
        stream: Any = None,
    ) -> Reply:
        environ = self.environ(method, target, body, headers, raw, kind, stream)
        answer: dict[str, Any] = {}

        def start_response(status: str, found: list[tuple[str, str]], exc_info: Any = None) -> None:
            answer["status"], answer["headers"] = int(status[:3]), found

        parts = self.wsgi(environ, start_response)
        try:
            content = b"".join(parts)
        finally:
            getattr(parts, "close", lambda: None)()
        cookies = [value for name, value in answer["headers"] if name.lower() == "set-cookie"]
        for cookie in cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        found = {name.lower(): value for name, value in answer["headers"]}
        return Reply(answer["status"], found, content, cookies)

    def environ(
        self, method: str, target: str, body: Any, headers: Any, raw: Any, kind: str, stream: Any
    ) -> dict[str, Any]:
        path, _, query = target.partition("?")
        data = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path.encode().decode("latin-1"),
            "QUERY_STRING": quote(query, safe="%=&:/?+@,;!'()*~-._$"),
            "SERVER_NAME": "croft.test",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": self.address,
            "wsgi.url_scheme": "http",
            "wsgi.input": stream if stream is not None else io.BytesIO(data),
            "wsgi.errors": io.StringIO(),
        }
        if body is not None or raw is not None:
            environ["CONTENT_LENGTH"] = str(len(data))
            environ["CONTENT_TYPE"] = kind
        if self.token:
            environ["HTTP_AUTHORIZATION"] = f"Bearer {self.token}"
        if self.cookies:
            environ["HTTP_COOKIE"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items() if v)
        if self.csrf:
            environ["HTTP_X_CROFT_CSRF"] = self.csrf
        for name, value in (headers or {}).items():
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_LENGTH", "CONTENT_TYPE") else "HTTP_" + key] = value
        return environ

    def get(self, target: str, **more: Any) -> Reply:
        return self.ask("GET", target, **more)

    def post(self, target: str, body: Any = None, **more: Any) -> Reply:
        return self.ask("POST", target, {} if body is None else body, **more)

    def patch(self, target: str, body: Any, **more: Any) -> Reply:
        return self.ask("PATCH", target, body, **more)

    def sign_in(self, user: str, **more: str) -> Reply:
        reply = self.post("/api/session", {"user": user, **more})
        if reply.status == 200:
            self.csrf = reply.data["csrf"]
        return reply


QUICK = '{"site": "test", "settle_s": 0}'  # server.json: nobody waits for a file to settle


@dataclass
class House:
    """A running Croft with its folders."""

    croft: Croft
    config: Path
    data: Path

    def browser(self, user: str = "") -> Browser:
        """Somebody's browser, with a token of `user`; anonymous without one."""
        token = self.croft.services.people.make_token(user=user) if user else ""
        return Browser(self.croft.wsgi, token)

    def make(self, inside: str, content: bytes = SCENE) -> str:
        """A file on the share, known to the index; its address."""
        path = self.data / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        address = f"data::{inside}"
        self.croft.services.store.refresh(address)
        return address

    def scene(self, inside: str = "demo/shots/sh010.blend") -> str:
        """A scene that has arrived and was looked into: nothing more is written by itself. Its address."""
        address = self.make(inside)
        self.settle(address)
        return address

    def settle(self, address: str) -> None:
        """Wait until a scene has arrived and all that is read from it is known."""
        path = self.data / address.partition("::")[2]
        index = self.croft.services.store.index
        self.until((path.parent / ".croft" / path.name / "file.json").exists)
        self.until(lambda: (entry := index.get(address)) is not None and entry.status == "ok")
        self.croft.services.ingest.wait()

    def until(self, what: Callable[[], Any], timeout_s: float = 20) -> Any:
        """The first true answer."""
        last = time.monotonic() + timeout_s
        while not (found := what()):
            assert time.monotonic() < last, "it never came true"
            time.sleep(0.005)
        return found

    def asset(self, inside: str, **facts: Any) -> str:
        """An asset with its sidecar."""
        address = self.make(inside)
        self.croft.services.store.edit(address, {"name": Path(inside).stem, **facts}, who="test")
        if inside.endswith(".blend"):
            self.settle(address)
        return address
