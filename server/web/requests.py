"""One HTTP request and its answer, whichever WSGI server carries them.

Knows: how bodies are read within a limit, how JSON is read and written, which error becomes which status
(the one table), and how lists are cut into pages. Knows nothing of routes, sessions or what the answers mean.
"""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from server.disk import encoding, errors
from server.disk.speech import say
from server.web import forms

if TYPE_CHECKING:
    from server.library.people import User

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Headers = list[tuple[str, str]]

ROLES = ("guest", "student", "supervisor", "admin")
MAX_FORM_FILE_BYTES = 16 << 20  # of a form that brings a picture
MULTIPART = "multipart/form-data"
MAX_BODY_BYTES = 1 << 20  # where the configuration doesn't say otherwise
READ_BYTES = 1 << 16
MAX_LIMIT = 1000  # rows in one answer of a list
DEFAULT_LIMIT = 100

# Most specific first: the first class that the error is an instance of wins.
STATUS: tuple[tuple[type[BaseException], int], ...] = (
    (errors.BadInput, 400),
    (errors.NotSignedIn, 401),
    (errors.ReadOnly, 403),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Broken, 409),
    (errors.Conflict, 409),
    (errors.Stale, 412),
    (errors.TooLarge, 413),
    (errors.BadContent, 415),
    (errors.Busy, 503),
    (errors.ShareAway, 503),
    (errors.DiskFull, 507),
    (errors.DiskError, 500),
)

REASONS = {
    200: "OK", 201: "Created", 204: "No Content", 206: "Partial Content", 303: "See Other",
    304: "Not Modified", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found",
    405: "Method Not Allowed", 409: "Conflict", 411: "Length Required", 412: "Precondition Failed",
    413: "Content Too Large", 415: "Unsupported Media Type", 416: "Range Not Satisfiable",
    422: "Unprocessable Content",
    428: "Precondition Required", 429: "Too Many Requests", 500: "Internal Server Error",
    503: "Service Unavailable", 507: "Insufficient Storage",
}  # fmt: skip

RETRY_AFTER_S = 5


class TooMany(errors.CroftError):
    """Too many tries in a short time. Facts: `retry_after_s`."""


class MethodNotAllowed(errors.CroftError):
    """The address exists, but not for this method. Facts: `allow`."""


def status_of(error: BaseException) -> int:
    """The HTTP status that tells of this error; 500 for what nobody foresaw."""
    if isinstance(error, TooMany):
        return 429
    if isinstance(error, MethodNotAllowed):
        return 405
    for kind, status in STATUS:
        if isinstance(error, kind):
            return int(getattr(error, "facts", {}).get("status", status))
    return 500


def status_line(status: int) -> str:
    return f"{status} {REASONS.get(status, 'Unknown')}"


def loads(body: bytes) -> Any:
    """The JSON value of a body, or BadInput with a sentence."""
    try:
        return encoding.loads(body)
    except ValueError as e:  # orjson's own error is one; so is its word on too deep a nesting
        raise errors.BadInput("The body isn't JSON: {e}.", e=e) from None


def dumps(value: Any, told: Callable[[Any], Any] | None = None) -> bytes:
    try:
        return encoding.dumps(value, told=told)
    except (TypeError, ValueError):
        return json.dumps(value, default=str).encode()


def read_body(environ: Environ, limit: int = MAX_BODY_BYTES) -> bytes:
    """The whole body, or TooLarge before (or as soon as) it has more than `limit` bytes."""
    return b"".join(body_parts(environ, limit))


def body_parts(environ: Environ, limit: int) -> Iterable[bytes]:
    """The body piece by piece. A declared length beyond the limit is refused before anything is read."""
    stated = environ.get("CONTENT_LENGTH") or ""
    if stated:
        if not stated.isascii() or not stated.isdigit():
            raise errors.BadInput("Content-Length isn't a number.")
        left = int(stated)
        if left > limit:
            raise too_large(limit)
    else:
        chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        if not chunked and not environ.get("wsgi.input_terminated"):
            return
        left = -1
    read, seen = environ["wsgi.input"].read, 0
    while left:
        part = read(READ_BYTES if left < 0 else min(READ_BYTES, left))
        if not part:
            if left > 0:
                raise errors.BadInput("The body ended before its stated length.")
            return
        seen += len(part)
        if seen > limit:
            raise too_large(limit)
        if left > 0:
            left -= len(part)
        yield part


def too_large(limit: int) -> errors.TooLarge:
    return errors.TooLarge("That is more than the {limit:,} bytes that are accepted here.", limit=limit)


@dataclass(slots=True)
class Answer:
    """What a handler gives back: data and a sentence, or a body of its own."""

    data: Any = None
    message: str = ""
    status: int = 200
    headers: Headers = field(default_factory=list)
    next: str | None = None
    is_list: bool = False
    body: Iterable[bytes] | None = None  # instead of data: then `headers` name its type

    def payload(self, told: Callable[[Any], Any] | None = None) -> bytes:
        """The JSON of it; `told` says its sentences in another language."""
        shape: dict[str, Any] = {"data": self.data, "message": self.message}
        if self.is_list:
            shape["next"] = self.next
        return dumps(shape, told)


class Call:
    """One request as handlers see it. `user` and `via` are filled by the session room."""

    __slots__ = (
        "_pairs",
        "_query",
        "body",
        "csrf",
        "environ",
        "file",
        "method",
        "params",
        "path",
        "session",
        "token_id",
        "user",
        "via",
    )

    def __init__(self, environ: Environ) -> None:
        self.environ = environ
        self.method: str = environ["REQUEST_METHOD"]
        self.path: str = text_of(environ.get("PATH_INFO", "/"))
        self.params: dict[str, str] = {}
        self.user: User | None = None
        self.via = ""  # "cookie", "token", or nothing for an anonymous request
        self.token_id = ""
        self.csrf = ""
        self.session = ""
        self.file = b""  # that a form brought
        self.body: Any = None
        self._query: dict[str, str] | None = None
        self._pairs: list[tuple[str, str]] | None = None

    @property
    def query(self) -> dict[str, str]:
        """The query's last value for each name."""
        if self._query is None:
            self._query = parse_form(self.environ.get("QUERY_STRING", ""))
        return self._query

    def header(self, name: str) -> str:
        return str(self.environ.get("HTTP_" + name.upper().replace("-", "_"), ""))

    @property
    def secure(self) -> bool:
        """Whether the browser came by https, here or up to the proxy."""
        scheme = self.header("x-forwarded-proto") or self.environ.get("wsgi.url_scheme", "")
        return str(scheme).lower() == "https"

    @property
    def scheme(self) -> str:
        return "https" if self.secure else "http"

    @property
    def content_type(self) -> str:
        return str(self.environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()

    def json(self, limit: int = MAX_BODY_BYTES, optional: bool = False) -> Any:
        """The body as JSON. A missing content type is taken for JSON, another one is refused. `optional`:
        none at all is an empty object."""
        kind = self.content_type
        body = read_body(self.environ, limit)
        if kind and body and kind != "application/json" and not kind.endswith("+json"):
            raise errors.BadContent("Send the body as application/json, not {kind}.", kind=kind)
        return loads(body or (b"{}" if optional else b""))

    def form(self) -> dict[str, str]:
        """The fields of an HTML form, each one's last value."""
        return dict(self.pairs())

    def pairs(self, limit: int = MAX_BODY_BYTES) -> list[tuple[str, str]]:
        """The fields of an HTML form in their order."""
        if self._pairs is None:
            if self.content_type == MULTIPART:
                body = read_body(self.environ, MAX_FORM_FILE_BYTES)
                self._pairs, self.file = forms.parts_of(body, str(self.environ.get("CONTENT_TYPE", "")))
                return self._pairs
            if self.content_type != "application/x-www-form-urlencoded":
                raise errors.BadContent("Send the form as application/x-www-form-urlencoded.")
            text = read_body(self.environ, limit).decode("utf-8", "replace")
            self._pairs = forms.pairs_of(text)
        return self._pairs

    def require(self, role: str) -> User:
        """The signed-in user, if they may do what `role` may."""
        if self.user is None:
            raise errors.NotSignedIn("Sign in first, or send a token: Authorization: Bearer TOKEN.")
        if ROLES.index(role) > rank(self.user.role):
            who = self.user.ident
            raise errors.Forbidden(
                "Only {people} may do that; you are signed in as {user}.", people=plural(role), user=who
            )
        return self.user


def rank(role: str) -> int:
    return ROLES.index(role) if role in ROLES else 0


def plural(role: str) -> str:
    return say("supervisors and admins") if role == "supervisor" else f"{role}s"


def text_of(latin: str) -> str:
    """WSGI hands bytes as latin-1 text: the UTF-8 that was meant, or the name of a file that isn't.

    BadInput where it isn't even bytes.
    """
    try:
        return latin.encode("latin-1").decode("utf-8", "surrogateescape")
    except UnicodeError:
        raise errors.BadInput("The address isn't one.") from None


def parse_form(text: str) -> dict[str, str]:
    if len(text) > (1 << 16):
        raise errors.BadInput("The query is too long.")
    try:
        return dict(urllib.parse.parse_qsl(text, keep_blank_values=True, max_num_fields=100))
    except ValueError:
        raise errors.BadInput("The query has too many fields.") from None


def number(query: dict[str, str], name: str, default: int, low: int, high: int) -> int:
    """A whole number of the query, within its bounds."""
    text = query.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) < 12):
        raise errors.BadInput("{name} must be a whole number, not {text}.", name=name, text=repr(text[:40]))
    value = int(text)
    if not low <= value <= high:
        raise errors.BadInput(
            "{name} must be between {low} and {high}, not {value}.",
            name=name,
            low=low,
            high=high,
            value=value,
        )
    return value


def page_of(rows: Sequence[Any], query: dict[str, str]) -> tuple[Sequence[Any], str | None]:
    """The rows that `limit` and `cursor` ask for, and the cursor of what follows.

    A cursor is a position; a list that changes between two calls may repeat or skip a row.
    """
    limit = number(query, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    start = number(query, "cursor", 0, 0, 10**9)
    end = start + limit
    return rows[start:end], str(end) if end < len(rows) else None


def etag_matches(header: str, etag: str) -> bool:
    """Whether an If-Match or If-None-Match header names this ETag (weak or strong)."""
    if header.strip() == "*":
        return True
    names = (part.strip().removeprefix("W/").strip('"') for part in header.split(","))
    return bool(etag) and etag in names


def http_date(seconds: float) -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))
