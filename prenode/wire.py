"""The prenode's end of the wire: one POST to `/potential`, JSON out, JSON back.

A server that can't be reached, or has no answer yet, raises Away; one that won't have this prenode raises
Rejected. Both carry a sentence.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 30.0
MAX_ANSWER_BYTES = 16 << 20


class Away(Exception):
    """No answer, or none that can be used: try again later."""


class Rejected(Exception):
    """The server is there and refuses this prenode."""


def ask(url: str, token: str, message: Any, timeout_s: float = TIMEOUT_S) -> Any:
    """The server's answer to this message."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    shown = f"{parts.scheme}://{parts.netloc}"  # the path may hold a token
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("POST", parts.path.rstrip("/") + "/potential", json.dumps(message), headers)
        answer = connection.getresponse()
        status, data = answer.status, answer.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise Away(f"the server at {shown} can't be reached: {reason(error)}") from None
    finally:
        connection.close()
    try:
        content: Any = json.loads(data)
    except ValueError:
        content = None
    if status == 200 and content is not None:
        return content
    said = content.get("message") if isinstance(content, dict) else None
    if 400 <= status < 500 and status not in (408, 429):
        raise Rejected(str(said or f"the server at {shown} answers {status}: is it Croft's?"))
    raise Away(f"the server at {shown} answers {status}" + (f": {said}" if said else ""))


def reason(error: Exception) -> str:
    if isinstance(error, socket.timeout):
        return "no answer in time"
    if isinstance(error, socket.gaierror):
        return "nobody knows this host"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
