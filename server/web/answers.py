"""Answers every request: nodes go to the wire at once, the API's calls to its table, all else to pages.

The path alone decides. Here, and nowhere else, errors become answers and every answer gets its headers.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import bottle

from server.disk.encoding import quote
from server.disk.errors import BadInput, CroftError, Forbidden, NotFound, NotSignedIn, Stale
from server.disk.speech import say
from server.web import api, do, languages, openapi, pages, tryout
from server.web.requests import (
    RETRY_AFTER_S,
    Answer,
    Call,
    Environ,
    Headers,
    MethodNotAllowed,
    StartResponse,
    TooMany,
    status_line,
    status_of,
)
from server.web.services import Services
from server.web.session import SAFE_METHODS, error_key
from server.web.wire import Wire

log = logging.getLogger(__name__)

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
SECURITY: Headers = [
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
]
WIRE_PATHS = ("/farm", "/potential", "/register", "/node.zip")
TABLE_PATHS = ("/new_job", "/jobs", "/healthz", "/metrics", "/api")
TABLE_PREFIXES = ("/api/", "/files/", "/thumb/", "/photo/", "/jobs/")
JSON: Headers = [("Content-Type", "application/json")]


class Answers:
    """The WSGI application of these rooms."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.table = api.Table(openapi.with_documentation(api.ROUTES))
        self.wire = Wire(services)
        self._bottle = bottle.Bottle()
        self._bottle.config["catchall"] = False  # what pages raise is answered here
        self._bottle.default_error_handler = self._page_error
        self._error_page = pages.mount(self._bottle, services)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        with languages.read_in(languages.IN_ENGLISH):  # until it is known who asks
            return self._answer(environ, start_response)

    def _answer(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        counts = self.services.counts
        counts.requests += 1
        if (path in WIRE_PATHS or path.startswith("/t/")) and self.services.only != "pages":
            try:
                return self.wire(environ, start_response)
            except Exception as error:
                return self._send(self._unforeseen(None, environ, error), environ, start_response)
        if path not in ("/healthz", "/metrics"):  # a monitor is nobody
            self.services.store.someone_is_active()
        call: Call | None = None
        try:
            call = Call(environ)
            self._speak_with(call)  # a refusal of who it is shall be understood too
            found = self._find(call, start_response)
        except CroftError as error:
            found = self._error(call, environ, error)
        except Exception as error:
            found = self._unforeseen(call, environ, error)
        if not isinstance(found, Answer):
            return found  # bottle has answered by itself
        return self._send(found, environ, start_response)

    def _identify(self, call: Call) -> None:
        """Who asks, and so the language of all that is said from here on."""
        self.services.sessions.identify(call)
        if call.user is not None:
            self._speak_with(call)

    def _speak_with(self, call: Call) -> None:
        languages.speak(self.services.languages.of(call))

    # Finding the answer

    def _find(self, call: Call, start_response: StartResponse) -> Answer | Iterable[bytes]:
        path = call.path
        if path.startswith("/static/") and call.method in ("GET", "HEAD"):
            return self.services.static.answer(call, path.removeprefix("/static/"))
        only = self.services.only
        if path == tryout.PATH and only != "farm" and call.method in ("GET", "POST"):
            self._identify(call)
            return tryout.answer(self.table, self.services, call, self._error)
        if is_table(path):
            route, call.params = self.table.find(call.method, path)
            if only == "farm" and path not in ("/healthz", "/metrics"):
                raise NotFound("This server answers nodes alone: it was started with --only farm.")
            self._identify(call)
            if route.path != "/api/session" or call.header("sec-fetch-site") == "cross-site":
                self.services.sessions.guard(call)
            return self.table.run(self.services, call, route)
        if only == "farm":
            raise NotFound("This server answers nodes alone: it was started with --only farm.")
        if only == "pages" and (path in WIRE_PATHS or path.startswith("/t/")):
            raise NotFound("This server answers people alone: it was started with --only pages.")
        return self._page(call, start_response)

    def _page(self, call: Call, start_response: StartResponse) -> Answer | Iterable[bytes]:
        """A page of bottle's. No page changes something for somebody who isn't signed in."""
        environ = call.environ
        self._identify(call)
        environ["croft.call"] = call
        if call.path == "/sign-in" and call.method == "POST":
            return self._sign_in_form(call)
        if call.path == "/language" and call.method == "POST":
            return self._language_form(call)
        if call.method not in SAFE_METHODS:
            if call.user is None:
                raise NotSignedIn("Sign in first.")
            self.services.sessions.guard(call)
        if call.path == "/do" and call.method == "POST":
            return do.answer(self.table, self.services, call, self._error)
        if call.path == "/sign-out" and call.method == "POST":
            self.services.sessions.sign_out(call)
            headers = [("Location", "/sign-in"), self.services.sessions.cookie_header("", secure=call.secure)]
            return Answer(status=303, headers=headers, body=[])

        def begin(status: str, headers: Headers, exc_info: Any = None) -> Any:
            self._count(int(status[:3]))
            return start_response(status, [*headers, *missing(headers)], *((exc_info,) if exc_info else ()))

        body: Iterable[bytes] = self._bottle.wsgi(environ, begin)
        return body

    def _sign_in_form(self, call: Call) -> Answer:
        """The sign-in page's form: to where the person was going, or back with what was wrong."""
        if call.header("sec-fetch-site") == "cross-site":
            raise Forbidden("This request comes from another site's page.")
        form = call.form()
        goal = local(form.get("next", ""))
        sessions, address = self.services.sessions, str(call.environ.get("REMOTE_ADDR", ""))
        asked = {name: form[name][:200] for name in ("team", "user") if form.get(name)}
        try:
            if "event" in form:
                header = sessions.give_event_code(form["event"], address, secure=call.secure)
                return Answer(status=303, headers=[("Location", back_to({"next": goal})), header], body=[])
            if not form.get("code") and not sessions.past_event(call):
                raise NotSignedIn("Give the event's code first.", key="event")
            if form.get("again", form.get("new_pin", "")) != form.get("new_pin", ""):
                raise NotSignedIn("The two PINs differ.", key="differ")
            found = {name: form.get(name, "") for name in ("password", "pin", "new_pin", "code")}
            _, cookie = sessions.sign_in(form.get("user", ""), address=address, **found)
        except CroftError as error:
            if status_of(error) not in (400, 401, 403, 429):
                raise
            asked |= {"error": error_key(error, form), "next": goal}
            return Answer(status=303, headers=[("Location", back_to(asked))], body=[])
        if form.get("code"):
            goal = "/setup" if goal == "/setup" else "/me"  # the code is used up: a password comes next
        headers = [("Location", goal or "/"), sessions.cookie_header(cookie, secure=call.secure)]
        return Answer(status=303, headers=headers, body=[])

    def _language_form(self, call: Call) -> Answer:
        """A language that was chosen: kept in the person's file, or in this browser for whoever has none."""
        self.services.sessions.guard(call)
        form = call.form()
        code = form.get("language", "")
        if code not in self.services.languages.codes():
            raise BadInput("There is no such language here.")
        headers = [("Location", local(form.get("next", "")) or "/")]
        if call.user is not None and call.user.at_least("student"):
            self.services.people.choose_language(call.user.ident, code)
        else:
            headers.append(languages.cookie_header(code, secure=call.secure))
        return Answer(status=303, headers=headers, body=[])

    # Errors

    def _error(self, call: Call | None, environ: Environ, error: CroftError) -> Answer:
        status = status_of(error)
        headers: Headers = []
        data = None
        if call is not None and not call.via:
            with contextlib.suppress(CroftError):
                self._identify(call)  # it was refused before that: say why in their language
        if isinstance(error, TooMany):
            headers.append(("Retry-After", str(error.retry_after_s)))
        elif isinstance(error, MethodNotAllowed):
            headers.append(("Allow", error.allow))
        elif isinstance(error, NotSignedIn):
            headers.append(("WWW-Authenticate", "Bearer"))
        elif isinstance(error, Stale):
            data = error.facts.get("record")
            headers.append(("ETag", f'"{error.facts.get("etag", "")}"'))
        elif status == 503:
            headers.append(("Retry-After", str(RETRY_AFTER_S)))
        if call is None or is_table(call.path) or call.path.startswith("/static/") or asks_for_json(call):
            return Answer(data, error.message, status, headers)
        if status == 401 and call.method in SAFE_METHODS:
            goal = call.path + ("?" + environ["QUERY_STRING"] if environ.get("QUERY_STRING") else "")
            to = "/sign-in" + ("" if goal == "/" else "?next=" + quote(goal))
            return Answer(status=303, headers=[("Location", to)], body=[])
        return self._html(call, status, error.message, headers)

    def _unforeseen(self, call: Call | None, environ: Environ, error: Exception) -> Answer:
        number = secrets.token_hex(3)
        self.services.counts.errors += 1
        path = masked(environ.get("PATH_INFO", ""))
        log.error("Error %s at %s %s", number, environ.get("REQUEST_METHOD"), path, exc_info=error)
        text = say("Something went wrong in the server. Its log says more under {number}.", number=number)
        if call is None or is_table(call.path):
            return Answer(None, text, 500)
        return self._html(call, 500, text, [])

    def _html(self, call: Call, status: int, message: str, headers: Headers) -> Answer:
        text = self._error_page(call, status, message)
        kind = ("Content-Type", "text/html; charset=utf-8")
        return Answer(status=status, headers=[*headers, kind], body=[text.encode()])

    def _page_error(self, found: bottle.HTTPError) -> str:
        """What bottle itself answers with: no such page, wrong method."""
        call = self.services.call()
        bottle.response.content_type = "text/html; charset=utf-8"
        sentences = {404: say("There is no page here."), 405: say("That isn't possible on this page.")}
        sentence = sentences.get(found.status_code, say("This page can't be shown."))
        return self._error_page(call, found.status_code, sentence)

    # Sending

    def _send(self, answer: Answer, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self._count(answer.status)
        headers = answer.headers
        body = answer.body
        if body is None:
            english = languages.reading() is languages.IN_ENGLISH
            payload = answer.payload(None if english else languages.told)
            headers = [*headers, *JSON, ("Content-Length", str(len(payload)))]
            if not any(name == "Cache-Control" for name, _ in headers):
                headers.append(("Cache-Control", "no-store"))
            body = [payload]
        start_response(status_line(answer.status), [*headers, *missing(headers)])
        if environ["REQUEST_METHOD"] == "HEAD":
            close = getattr(body, "close", None)
            if close is not None:
                close()
            return []
        return body

    def _count(self, status: int) -> None:
        counts = self.services.counts
        counts.by_status[status] = counts.by_status.get(status, 0) + 1


def is_table(path: str) -> bool:
    """Whether the API's table answers this path, rather than a page."""
    return path in TABLE_PATHS or path.startswith(TABLE_PREFIXES)


def asks_for_json(call: Call) -> bool:
    """A page's script, which sends forms to a page's address."""
    return call.path == "/do" and "json" in call.header("accept")


def missing(headers: Headers) -> Headers:
    """The security headers that an answer doesn't set by itself."""
    names = {name.lower() for name, _ in headers}
    return [(name, value) for name, value in SECURITY if name.lower() not in names]


def back_to(asked: dict[str, str]) -> str:
    """The sign-in page, with what it has to know."""
    return "/sign-in?" + urlencode(asked)


def local(goal: str) -> str:
    """A path of this site to go on to, or nothing: never another site's address."""
    if goal.startswith("/") and not goal.startswith("//") and "\\" not in goal and goal.isprintable():
        return goal[:2000]
    return ""


def masked(path: str) -> str:
    """A path as it may be logged: without a node's token."""
    return "/t/…/" + path.rpartition("/")[2] if path.startswith("/t/") else path
