"""The node's end of the wire: one POST to `/farm`, a list of requests out, a list of commandments back.

One connection is kept open. A server that can't be reached raises Away; one that answers but won't have
this node raises Rejected. Both carry a sentence.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any, Dict, List, Optional
from urllib.parse import urlsplit

Message = Dict[str, Any]
TIMEOUT_S = 30.0
CONNECT_S = 10.0
MAX_ANSWER_BYTES = 16 << 20


class Away(Exception):
    """No answer, or none that can be used: try again later."""


class Rejected(Exception):
    """The server is there and refuses this node: its token, its name or its protocol."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """Used by one thread. `talk` may be called again after any error."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        port = parts.port or (443 if self._secure else 80)
        self.url = f"{parts.scheme}://{parts.hostname}:{port}"
        self._host = parts.hostname or ""
        self._port = parts.port
        self._prefix = parts.path.rstrip("/")
        self._path = self._prefix + "/farm"
        self._headers = {"Content-Type": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._connection: Optional[http.client.HTTPConnection] = None

    def talk(self, requests: List[Message], timeout_s: float = TIMEOUT_S) -> List[Message]:
        """The server's commandments. Repeating a request is harmless, so a lost answer costs little."""
        body = json.dumps(requests).encode()
        # A kept connection may have been closed by the server meanwhile: then once more on a new one.
        kept = self._connection is not None
        try:
            try:
                status, data = self._post(body, timeout_s)
            except (http.client.RemoteDisconnected, ConnectionError):
                if not kept:
                    raise
                self.close()
                status, data = self._post(body, timeout_s)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Away(f"the server at {self.url} can't be reached: {reason(error)}") from None
        return self._understand(status, data)

    def fetch(self, path: str, most_bytes: int) -> bytes:
        """A file of the server's. Safe beside `talk`: it has a connection of its own."""
        connection = self._connect(TIMEOUT_S)
        try:
            headers = {name: text for name, text in self._headers.items() if name == "Authorization"}
            connection.request("GET", self._prefix + path, headers=headers)
            answer = connection.getresponse()
            data = answer.read(most_bytes + 1)
        except (OSError, http.client.HTTPException) as error:
            raise Away(f"the server at {self.url} can't be reached: {reason(error)}") from None
        finally:
            connection.close()
        if answer.status != 200 or len(data) > most_bytes:
            raise Away(f"the server at {self.url} answers {answer.status} for {path}")
        return data

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, body: bytes, timeout_s: float) -> "tuple[int, bytes]":
        if self._connection is None:
            self._connection = self._connect(min(timeout_s, CONNECT_S))
            self._connection.connect()
            # Small requests, small answers: waiting to fill a packet would cost 40 ms each.
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.sock.settimeout(timeout_s)
        self._connection.request("POST", self._path, body, self._headers)
        answer = self._connection.getresponse()
        data = answer.read(MAX_ANSWER_BYTES)
        if answer.will_close or not answer.isclosed():
            self.close()
        return answer.status, data

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=timeout_s)

    def _understand(self, status: int, data: bytes) -> List[Message]:
        try:
            content: Any = json.loads(data)
        except ValueError:
            content = None
        if status == 200 and isinstance(content, list):
            return [item for item in content if isinstance(item, dict)]
        said = content.get("message") if isinstance(content, dict) else None
        if status in (401, 403, 404, 409) or (400 <= status < 500 and said):
            raise Rejected(status, str(said or f"the server at {self.url} answers {status}: is it Croft's?"))
        raise Away(f"the server at {self.url} answers {status}" + (f": {said}" if said else ""))


def reason(error: Exception) -> str:
    if isinstance(error, socket.timeout):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "nobody knows this host"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
