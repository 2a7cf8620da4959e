"""The files of `templates/static`: served from memory with an ETag, for ever where the URL names the content.

Read again when a file's size or time changes, so that a developer sees an edit at once.
"""

from __future__ import annotations

import gzip
import hashlib
import threading
from dataclasses import dataclass
from pathlib import Path

from server.disk.errors import NotFound
from server.web.requests import Answer, Call, etag_matches

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
    ".json": "application/json",
}
PACKED = (".css", ".js", ".svg", ".json", ".txt")
IMMUTABLE = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    seen: tuple[int, int]  # mtime in nanoseconds, size
    data: bytes
    packed: bytes  # gzip, or nothing where it doesn't help
    etag: str


class Static:
    """The static files of one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._files: dict[str, StaticFile] = {}
        self._lock = threading.Lock()

    def url(self, name: str) -> str:
        """The address of a file, changing with its content."""
        return f"/static/{name}?v={self.load(name).etag}"

    def load(self, name: str) -> StaticFile:
        """The file's present content. NotFound for everything but known kinds below the root."""
        path = self._root / name
        if path.suffix not in TYPES or "\0" in name or ".." in name.split("/"):
            raise NotFound("There is no file /static/{name}.", name=name[:100])
        try:
            st = path.stat()
            seen = (st.st_mtime_ns, st.st_size)
            known = self._files.get(name)
            if known is not None and known.seen == seen:
                return known
            data = path.read_bytes()
        except (OSError, ValueError):
            raise NotFound("There is no file /static/{name}.", name=name[:100]) from None
        packed = gzip.compress(data, 9, mtime=0) if path.suffix in PACKED else b""
        etag = hashlib.sha256(data).hexdigest()[:16]
        found = StaticFile(seen, data, packed if len(packed) < len(data) else b"", etag)
        with self._lock:
            self._files[name] = found
        return found

    def answer(self, call: Call, name: str) -> Answer:
        """The answer to GET /static/<name>."""
        file = self.load(name)
        lasting = call.query.get("v") == file.etag
        headers = [
            ("ETag", f'"{file.etag}"'),
            ("Cache-Control", IMMUTABLE if lasting else "no-cache"),
            ("Vary", "Accept-Encoding"),
        ]
        if etag_matches(call.header("if-none-match"), file.etag):
            return Answer(status=304, headers=headers, body=[])
        headers.append(("Content-Type", TYPES[Path(name).suffix]))
        body = file.data
        if file.packed and "gzip" in call.header("accept-encoding"):
            body = file.packed
            headers.append(("Content-Encoding", "gzip"))
        headers.append(("Content-Length", str(len(body))))
        return Answer(headers=headers, body=[body])
