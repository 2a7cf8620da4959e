"""Croft's API as the commands use it: one request, its `data`, or a sentence that says what failed.

Standard library only; no proxy is asked, since the server is on this machine or in this house.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from server.disk.errors import CroftError

TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 64 << 20


class CallFailed(CroftError):
    """The server said no, or nothing. Facts: `status` (0 where there was no answer), `data` of the answer."""


class Client:
    def __init__(self, url: str, token: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str, **query: str | int) -> Any:
        """The answer's `data`."""
        asked = urllib.parse.urlencode(query, errors="surrogateescape")  # names that are no UTF-8
        return self._json("GET", path + ("?" + asked if asked else ""))["data"]

    def all(self, path: str, **query: str) -> list[Any]:
        """Every row of a list, page after page."""
        rows: list[Any] = []
        cursor = ""
        while True:
            answer = self._json(
                "GET", path + "?" + urllib.parse.urlencode({**query, "limit": 1000, "cursor": cursor})
            )
            rows += answer["data"]
            cursor = answer.get("next") or ""
            if not cursor:
                return rows

    def post(self, path: str, body: object) -> Any:
        return self.answer(path, body)["data"]

    def answer(self, path: str, body: object) -> dict[str, Any]:
        """All of what is answered to a POST: `data` and `message`."""
        return self._json("POST", path, json.dumps(body).encode())

    def patch(self, path: str, body: object) -> Any:
        return self._json("PATCH", path, json.dumps(body).encode())["data"]

    def delete(self, path: str) -> Any:
        return self._json("DELETE", path)["data"]

    def fetch(self, path: str) -> tuple[str, bytes]:
        """Content type and bytes of a page, a picture, a file."""
        return self._call("GET", path, None)

    def _json(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        kind, raw = self._call(method, path, body)
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "data" not in answer:
            raise CallFailed(f"{self.url}{path} answered {kind} that isn't Croft's.", status=200)
        return answer

    def _call(self, method: str, path: str, body: bytes | None) -> tuple[str, bytes]:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                return answer.headers.get("Content-Type", ""), answer.read(MAX_ANSWER_BYTES)
        except urllib.error.HTTPError as error:
            message, data = _said(error, path)
            raise CallFailed(message, status=error.code, data=data) from error
        except (OSError, ValueError) as error:
            why = getattr(error, "reason", error)
            raise CallFailed(f"There is no answer from {self.url}: {why}.", status=0) from error


def quote(address: str) -> str:
    """An address as it stands in a path."""
    return urllib.parse.quote(address, safe="/:@", errors="surrogateescape")


def _said(error: urllib.error.HTTPError, path: str) -> tuple[str, Any]:
    """The sentence of an answer that says no, and its `data`."""
    try:
        answer = json.loads(error.read(1 << 20))
        return str(answer["message"]), answer.get("data")
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return f"{path} was answered with {error.code} {error.reason}.", None
