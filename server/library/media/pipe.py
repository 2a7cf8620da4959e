"""How the server and its helper processes talk: a length each, a JSON object, the bytes that go with it.

Apart from the helper, so that the server needn't load what only the helper may use.
"""

from __future__ import annotations

import json
import struct
from typing import Any

LENGTH = struct.Struct("<II")  # of the JSON and of the bytes that follow it
ANSWER_BYTES = 8 << 20  # longer answers aren't believed


def pack(data: dict[str, Any], content: bytes = b"") -> bytes:
    """One message as it goes through the pipe."""
    body = json.dumps(data).encode()
    return LENGTH.pack(len(body), len(content)) + body + content
