"""The files of `templates/static`: served from memory with an ETag, for ever where the URL names the content.

A file of the configuration's folder `static` takes the place of ours of that name, from the moment it is
there; its `colours.css` is added to our style sheet, so that a page still needs one. A link that leads out
of that folder counts as not there.

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
SHEET, COLOURS, LOGOS = "croft.css", "colours.css", ("logo.svg", "logo.png")
IMMUTABLE = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class StaticFile:
    seen: tuple[tuple[int, int], ...]  # mtime in nanoseconds, size of each file that makes it
    data: bytes
    packed: bytes  # gzip, or nothing where it doesn't help
    etag: str


class Static:
    """The static files of one folder."""

    def __init__(self, root: Path, over: Path | None = None) -> None:
        """`over`: the folder whose files come before those of `root`."""
        self._root = root.resolve()
        self._over = over
        self._files: dict[str, StaticFile] = {}
        self._lock = threading.Lock()

    def url(self, name: str) -> str:
        """The address of a file, changing with its content."""
        return f"/static/{name}?v={self.load(name).etag}"

    def logo(self) -> str:
        """The address of the configuration's own logo; '' where it has none."""
        return next((self.url(name) for name in LOGOS if self._own(name) is not None), "")

    def load(self, name: str) -> StaticFile:
        """The file's present content. NotFound for everything but known kinds below the root."""
        if Path(name).suffix not in TYPES or "\0" in name or ".." in name.split("/") or name.startswith("/"):
            raise NotFound("There is no file /static/{name}.", name=name[:100])
        try:
            paths = self._paths(name)
            seen = tuple((st.st_mtime_ns, st.st_size) for st in (path.stat() for path in paths))
            known = self._files.get(name)
            if known is not None and known.seen == seen:
                return known
            data = b"\n".join(path.read_bytes() for path in paths)
        except (OSError, ValueError):
            raise NotFound("There is no file /static/{name}.", name=name[:100]) from None
        packed = gzip.compress(data, 9, mtime=0) if Path(name).suffix in PACKED else b""
        etag = hashlib.sha256(data).hexdigest()[:16]
        found = StaticFile(seen, data, packed if len(packed) < len(data) else b"", etag)
        with self._lock:
            self._files[name] = found
        return found

    def _paths(self, name: str) -> list[Path]:
        """The files that make this one."""
        found = [self._own(name) or self._root / name]
        colours = self._own(COLOURS) if name == SHEET else None
        return [*found, colours] if colours is not None else found

    def _own(self, name: str) -> Path | None:
        """The configuration's file of that name; None where it has none."""
        over = self._over
        if over is None or not (over / name).is_file():
            return None
        root = over.parent.resolve() / over.name
        return over / name if (over / name).resolve().is_relative_to(root) else None

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
