"""The files themselves: reading with ranges, thumbnails, uploads.

Promises that nothing outside a share is ever read or written, that an upload never replaces a file and is
there whole or not at all, and that no browser runs what a file contains.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from server.disk import encoding, paths
from server.disk import files as disk_files
from server.disk.encoding import quote
from server.disk.errors import BadInput, Busy, Conflict, NotFound
from server.disk.speech import say
from server.library.history import tell_upload
from server.library.uploads import limits
from server.web.api.table import Route, ref
from server.web.requests import Answer, Call, Headers, body_parts, etag_matches, http_date, number, too_large
from server.web.services import Services

PART_BYTES = 1 << 18
SMALL_BYTES = 1 << 20  # sent at once; what is larger takes one of the places below
LARGE_AT_ONCE = 16  # long downloads may not hold every thread; `serve` has as many threads for them
SCRUB_BYTES = 4 << 20  # of a film that is played: a player that pauses must not hold a thread
BLANK = bytes.fromhex(  # a PNG of one transparent pixel
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000b494441"
    "5478da636000020000050001e9fadcd80000000049454e44ae426082"
)
UPLOADS_AT_ONCE = 48  # a slow one keeps its thread: a class that hands in may not take them all
UPLOAD_WAIT_S = 5.0
THUMBNAILS_AT_ONCE = 3  # requests that wait for one to be made
THUMBNAIL_WAIT_S = 3.0
WIDTHS = (64, 128, 256, 512, 1024)

# What a browser may show in place. Everything else is handed over to be saved.
INLINE = {
    ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp",
    ".gif": "image/gif", ".mp4": "video/mp4", ".webm": "video/webm", ".ogv": "video/ogg",
    ".mov": "video/quicktime", ".wav": "audio/wav", ".ogg": "audio/ogg", ".mp3": "audio/mpeg",
}  # fmt: skip
SANDBOX = "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"

_receiving: set[Path] = set()  # uploads on their way
_waiting = threading.BoundedSemaphore(THUMBNAILS_AT_ONCE)
_large = threading.BoundedSemaphore(LARGE_AT_ONCE)
_uploads = threading.BoundedSemaphore(UPLOADS_AT_ONCE)


def send_file(services: Services, call: Call) -> Answer:
    """GET /files/<address>, whole or in part."""
    address = call.params["address"]
    path = visible(services, address)
    file, st = open_inside(services, address, path)
    name = path.name
    kind = INLINE.get(path.suffix.lower())
    etag = f"{st.st_ino:x}-{st.st_mtime_ns:x}-{st.st_size:x}"
    headers: Headers = [
        ("ETag", f'"{etag}"'),
        ("Last-Modified", http_date(st.st_mtime)),
        ("Accept-Ranges", "bytes"),
        ("Cache-Control", "private, no-cache"),
        ("Content-Security-Policy", SANDBOX),
        ("Content-Type", kind or "application/octet-stream"),
        (
            "Content-Disposition",
            f"{'inline' if kind else 'attachment'}; filename*=UTF-8''{quote(encoding.shown(name), safe='')}",
        ),
    ]
    if etag_matches(call.header("if-none-match"), etag):
        os.close(file)
        return Answer(status=304, headers=headers[:5], body=[])
    size = st.st_size
    wanted = call.header("range")
    condition = call.header("if-range")
    span = None
    if wanted and (not condition or condition == f'"{etag}"'):
        span = byte_range(wanted, size)
    if span == (0, -1):
        os.close(file)
        error = Answer(None, say("The file has {size} bytes: there is no such part.", size=size), 416)
        error.headers = [("Content-Range", f"bytes */{size}")]
        return error
    first, last = span or (0, size - 1)
    if span and kind and wanted.strip().endswith("-"):
        last = min(last, first + SCRUB_BYTES - 1)  # RFC 9110, 15.3.7: a server may send less; players ask on
    count = last - first + 1
    headers.append(("Content-Length", str(count)))
    if span:
        headers.append(("Content-Range", f"bytes {first}-{last}/{size}"))
    body = file_body(call, file, first, count)
    return Answer(status=206 if span else 200, headers=headers, body=body)


def file_body(call: Call, file: int, first: int, count: int) -> Any:
    """The bytes: at once when few, else piece by piece in one of the places for long downloads."""
    if call.method == "HEAD":
        os.close(file)
        return []
    if count <= SMALL_BYTES:
        try:
            return [os.pread(file, count, first)] if count else [b""]
        finally:
            os.close(file)
    if not _large.acquire(timeout=5):
        os.close(file)
        raise Busy("Many large files are being fetched just now. Try again in a moment.", path="files")
    return Download(file, first, count)


class Download:
    """A file's bytes piece by piece. Gives its place back when the server closes it."""

    def __init__(self, file: int, first: int, count: int) -> None:
        self._file, self._at, self._left = file, first, count
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._left <= 0:
            self.close()
            raise StopIteration
        data = os.pread(self._file, min(PART_BYTES, self._left), self._at)
        if not data:  # Race: the file became shorter; the client sees that bytes are missing.
            self.close()
            raise StopIteration
        self._at += len(data)
        self._left -= len(data)
        return data

    def close(self) -> None:
        with self._lock:
            file, self._file = self._file, -1
        if file >= 0:
            self._left = 0
            os.close(file)
            _large.release()

    def __del__(self) -> None:
        self.close()


def send_thumbnail(services: Services, call: Call) -> Answer:
    """GET /thumb/<address>?w=256."""
    address = call.params["address"]
    visible(services, address)
    wanted = number(call.query, "w", 256, 16, 2048)
    width = next((w for w in WIDTHS if w >= wanted), WIDTHS[-1])
    path = services.media.thumbnail(address, width)
    if path is None:
        try:
            path = wait_for_thumbnail(services, address, width)
        except (Busy, NotFound):
            if call.header("sec-fetch-dest") != "image":
                raise
            return blank()
    try:
        st = path.stat()
        data = path.read_bytes()
    except FileNotFoundError:  # Race: thumbnails may be deleted at any time.
        raise NotFound("There is no picture of this file just now.") from None
    etag = f"{st.st_mtime_ns:x}-{st.st_size:x}"
    # A URL with the file's time in it (v) never shows another picture.
    cache = "private, max-age=31536000, immutable" if call.query.get("v") else "private, no-cache"
    headers: Headers = [("ETag", f'"{etag}"'), ("Cache-Control", cache)]
    if etag_matches(call.header("if-none-match"), etag):
        return Answer(status=304, headers=headers, body=[])
    headers += [
        ("Content-Type", INLINE.get(path.suffix.lower(), "image/png")),
        ("Content-Length", str(len(data))),
        ("Content-Security-Policy", SANDBOX),
    ]
    return Answer(headers=headers, body=[data])


def blank() -> Answer:
    """For a page's <img>: nothing to see yet, and no error in the browser's console. A page that listens to
    events asks again once the picture is made."""
    headers: Headers = [("Content-Type", "image/png"), ("Cache-Control", "no-store")]
    return Answer(headers=[*headers, ("Content-Length", str(len(BLANK)))], body=[BLANK])


def wait_for_thumbnail(services: Services, address: str, width: int) -> Path:
    """The thumbnail once it is made. Few may wait at once: a page of pictures must not take every thread."""
    again = Busy("The picture is being made. Ask again in a moment.", path=address)
    if not _waiting.acquire(blocking=False):
        raise again
    try:
        path = services.media.thumbnail(address, width, wait_s=THUMBNAIL_WAIT_S)
    finally:
        _waiting.release()
    if path is not None:
        return path
    if services.media.possible(address):
        raise again
    raise NotFound("There is no picture of this file.")


def upload(services: Services, call: Call) -> Answer:
    """PUT /api/files/<address>: streamed aside, flushed, then moved into place."""
    user = call.require("student")
    address = call.params["address"]
    _, inside = paths.parse(address)
    name = inside.rpartition("/")[2]
    check_upload(services, address, inside, name)
    target = services.store.path(address)
    if os.path.lexists(target):
        raise Conflict("There is already a file {name}. Give yours another name.", address=address, name=name)
    limit = int(services.settings.get("max_upload_bytes"))
    stated = str(call.environ.get("CONTENT_LENGTH") or "")
    if not stated:
        # Without a length a connection that breaks looks like the end: half a file would count as whole.
        raise BadInput("Say how long the file is: Content-Length.", status=411)
    if stated.isdigit() and int(stated) > limit:
        raise too_large(limit)
    if not _uploads.acquire(timeout=UPLOAD_WAIT_S):
        raise Busy("Many files are being uploaded just now. Try again in a moment.", path=address)
    try:
        size = keep(services, call, address, limit, user.ident)
    finally:
        _uploads.release()
    project = services.projects.of(address)
    tell_upload(services.store, address, user.ident, size, project=project.address if project else "")
    url = "/files/" + quote(address, safe="/:")
    data = {"address": address, "size": size, "url": url}
    return Answer(data, say("{name} is on the share.", name=name), 201, [("Location", url)])


def keep(services: Services, call: Call, address: str, limit: int, who: str) -> int:
    """Receive the file beside its place, then give it its name. Its size in bytes."""
    temp = services.store.temporary(address)
    _receiving.add(temp)
    try:
        size = receive(call, temp, limit)
        services.store.place(temp, address, who)
    except OSError as error:
        disk_files.fail(error, services.store.path(address))
    finally:
        temp.unlink(missing_ok=True)
        _receiving.discard(temp)
    return size


def drop_unfinished() -> None:
    """Take away what has come of uploads whose clients neither send nor go: the server ends."""
    for temp in list(_receiving):
        with contextlib.suppress(OSError):
            temp.unlink(missing_ok=True)


def receive(call: Call, temp: Path, limit: int) -> int:
    """The body into a new file, on disk when this returns. Its size in bytes."""
    size = 0
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o664)
    with os.fdopen(fd, "wb", buffering=0) as file:
        for part in body_parts(call.environ, limit):
            view = memoryview(part)
            while view:
                view = view[file.write(view) :]
            size += len(part)
        os.fsync(file.fileno())
    return size


def check_upload(services: Services, address: str, inside: str, name: str) -> None:
    if not inside or hidden(inside):
        raise BadInput(
            "{address} can't be the name of a file: parts that begin with a dot are Croft's.", address=address
        )
    if services.projects.of(address) is None:
        raise NotFound("{address} lies in no project: begin with a project's folder.", address=address)
    limits.check_name(services.settings, name)


# Helpers


def visible(services: Services, address: str) -> Path:
    """The path of a file that people may see: inside its share, no part hidden."""
    _, inside = paths.parse(address)
    if not inside or hidden(inside):
        raise NotFound("There is no file {address}.", address=address[:200])
    path: Path = services.store.path(address)
    return path


def hidden(inside: str) -> bool:
    return any(part.startswith(".") for part in inside.split("/"))


def open_inside(services: Services, address: str, path: Path) -> tuple[int, os.stat_result]:
    """The opened file, once it is certain that it lies inside its share."""
    missing = NotFound("There is no file {address}.", address=address[:200])
    try:
        # Non-blocking: a named pipe on the share must not hold the thread.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        raise missing from None
    st = os.fstat(file)
    root = os.path.realpath(services.store.share(paths.parse(address)[0]).root)
    # Race: a folder may have become a symlink since the path was checked; ask what was really opened.
    real = os.path.realpath(f"/proc/self/fd/{file}")
    if not stat.S_ISREG(st.st_mode) or not real.startswith(root.rstrip("/") + "/"):
        os.close(file)
        raise missing
    return file, st


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a simple Range header; None to send it all; (0, -1): no such part."""
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip())
    if not match or match.groups() == ("", ""):
        return None
    first_text, last_text = match.groups()
    if not first_text:
        count = int(last_text)
        return (max(0, size - count), size - 1) if count and size else (0, -1)
    first = int(first_text)
    last = min(int(last_text), size - 1) if last_text else size - 1
    if first >= size or (last_text and int(last_text) < first):
        return (0, -1)
    return first, last


ROUTES = [
    Route("GET", "/files/{address}", send_file, "a file's bytes; takes Range",
          headers={"Range": "bytes=first-last", "If-None-Match": "an ETag that is known already"},
          media="application/octet-stream", errors=(206, 304, 416, 503), tag="files"),
    Route("GET", "/thumb/{address}", send_thumbnail, "a picture of a file, PNG or JPEG",
          query={"w": ({"type": "integer", "minimum": 16, "maximum": 2048}, "width in pixels")},
          media="image/png", errors=(304, 503), tag="files"),
    Route("PUT", "/api/files/{address}", upload, "upload a file; never over one that is there",
          role="student", stream="application/octet-stream", data=ref("File"), status=201, errors=(409, 411),
          tag="files"),
]  # fmt: skip
