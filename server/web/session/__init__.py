"""Who sends this request: signed cookies, CSRF tokens, bearer tokens, and the doors to them.

Students and guests sign in by a tap, a PIN or a password, as their file says; staff need a password or the
one-time code that lies in the configuration as `first-sign-in.txt` while nobody who may configure Croft has
a password. Where an event's code is wanted, a browser gives it once before it sees a name. Sessions are kept
in the cookie alone, so that several server processes need nothing in common but the configuration. Signing
out, a changed password or PIN, or a removed user ends a session.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING

from itsdangerous import BadSignature, URLSafeTimedSerializer

from server.disk.errors import BadInput, CroftError, Forbidden, NotFound, NotSignedIn
from server.disk.speech import say
from server.web.requests import MULTIPART, Call, TooMany, rank
from server.web.session.attempts import DAY_S, WINDOW_S, Attempts
from server.web.session.ended import Ended

if TYPE_CHECKING:
    from server.disk.settings import Settings
    from server.library.people import People, Token, User

CODE_FILE = "first-sign-in.txt"
EVENT_S = 180 * 24 * 3600  # a browser that gave the event's code isn't asked again for half a year
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
TRIES_OF_A_USER = 8  # failures in the window, then the door stays shut until the oldest is forgotten
TRIES_OF_AN_ADDRESS = 40  # a whole class sits behind one address
TRIES_FROM_ALL = 100  # of one user, from everywhere: few enough, and a prankster alone can't reach it
TRIES_OF_AN_EVENT = 20  # from one address
PIN_TRIES_A_DAY = 30  # of one user at one address: 10,000 PINs take a year
TRIES_WINDOW_S = WINDOW_S
LOOK_AGAIN_S = 0.2  # between two looks that unknown tokens cause
COOKIE_BYTES = 4096


class Sessions:
    """Signs people in and out, and tells who a request comes from."""

    def __init__(
        self,
        config_dir: Path,
        settings: Settings,
        people: People,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config_dir
        self._settings = settings
        self._clock = clock
        self._look_at = clock()
        self._people = people
        self._secret = settings.secret()
        self._signer = URLSafeTimedSerializer(self._secret, salt="croft session")
        # Cookies ignore ports: two Crofts on one machine must not sign each other's people out.
        self.cookie = "croft-" + hashlib.sha256(self._secret).hexdigest()[:8]
        self._event_signer = URLSafeTimedSerializer(self._secret, salt="croft event")
        self._ended = Ended(config_dir)
        self._attempts = Attempts(clock)
        self._hashing = threading.Lock()  # one password at a time: guessing can't take every core
        self.offer_code()

    # Who is it?

    def identify(self, call: Call) -> None:
        """Fill `call.user` from the bearer token or the cookie. NotSignedIn for a token that isn't good."""
        header = call.header("authorization")
        if header and not header.lower().startswith("basic "):  # which a proxy before us may want for itself
            self._by_token(call, header)
        else:
            self._by_cookie(call)

    def guard(self, call: Call) -> None:
        """Refuse a change that another site's page, or a token that only reads, asks for."""
        if call.method in SAFE_METHODS:
            return
        if call.header("sec-fetch-site") == "cross-site":
            raise Forbidden("This request comes from another site's page.")
        if call.via == "cookie" and not self._csrf_fits(call):
            raise Forbidden("The page is too old to change something. Load it again, then try once more.")

    def _by_token(self, call: Call, header: str) -> None:
        kind, _, text = header.partition(" ")
        if kind.lower() != "bearer" or not text.strip():
            raise NotSignedIn("Authorization must be: Bearer TOKEN.")
        token = self._token(text.strip())
        if not token.user:
            raise Forbidden("This is a node's token: it is good for /farm and /potential alone.")
        if token.scope == "read" and call.method not in SAFE_METHODS:
            raise Forbidden("This token may only read.")
        call.user, call.via, call.token_id = self._people.user(token.user), "token", token.id

    def _token(self, text: str) -> Token:
        try:
            return self._people.check_token(text)
        except NotSignedIn:
            # A token may be younger than the last look at the configuration: look again, but not for
            # everybody who tries one.
            now = self._clock()
            if now < self._look_at:
                raise
            self._look_at = now + LOOK_AGAIN_S
            self._settings.look_again("tokens")
            return self._people.check_token(text)

    def _by_cookie(self, call: Call) -> None:
        text = call.header("cookie")
        if self.cookie not in text:
            return
        value = cookie_value(text, self.cookie)
        try:
            data = self._signer.loads(value, max_age=self._lasts_s)
            ident, nonce, mark = str(data["u"]), str(data["n"]), str(data["f"])
            user = self._people.user(ident)
        except (BadSignature, KeyError, TypeError, NotFound):
            return
        if user.disabled or not hmac.compare_digest(mark, self._mark(ident)) or self._ended.has(nonce):
            return
        call.user, call.via, call.session = user, "cookie", nonce
        call.csrf = self._csrf(nonce)

    # Doors

    def sign_in(
        self, user: str, *, password: str = "", pin: str = "", new_pin: str = "", code: str = "",
        address: str = "",
    ) -> tuple[User, str]:  # fmt: skip
        """The user and the value of their new cookie. NotSignedIn or TooMany otherwise."""
        ident = user.strip()
        ident = ident if self._people.known(ident) else ident.lower()
        keys = [
            (f"user {ident} at {address}", TRIES_OF_A_USER, TRIES_WINDOW_S),
            (f"address {address}", TRIES_OF_AN_ADDRESS, TRIES_WINDOW_S),
            (f"user {ident}", TRIES_FROM_ALL, TRIES_WINDOW_S),
        ]
        if pin:
            keys += [
                (f"pin {ident} at {address}", PIN_TRIES_A_DAY, DAY_S),
                (f"pin {ident}", TRIES_FROM_ALL, DAY_S),
            ]
        for key, limit, window_s in keys:
            self._attempts.check(key, limit, window_s)
        try:
            found = self._open(ident, password, pin, new_pin, code)
        except NotSignedIn as error:
            if "key" not in error.facts:  # a door that is shown is no try
                for key, _, _ in keys:
                    self._attempts.failed(key)
            raise
        self._attempts.forget(keys[0][0], *(key for key, _, _ in keys[3:4]))
        return found, self.issue(found)

    def _open(self, ident: str, password: str, pin: str, new_pin: str, code: str) -> User:
        if code:
            return self._by_code(ident, code)
        if password or pin:
            with self._hashing:
                return self._people.sign_in(ident, password or pin, pin=not password)
        if not ident:
            raise BadInput(say("Say who you are: user is missing."))
        user = self._people.user(ident) if self._people.known(ident) else None
        door = self.door(user) if user else ""
        if user and door == "choose" and new_pin:
            self._people.set_pin(ident, new_pin)
            return self._people.user(ident)
        if user and door == "tap":
            return user
        if door == "choose":
            raise NotSignedIn(say("Choose a PIN first."), key="choose")
        if door == "pin":
            raise NotSignedIn(say("This name needs its PIN."), key="pin")
        if user and door == "password":
            raise NotSignedIn(say("This name needs a password."), key="password")
        raise NotSignedIn(say("This name needs a password."))

    def sign_out(self, call: Call) -> None:
        """End the session of this request's cookie: a copy of it is no good any more either."""
        if call.via == "cookie" and call.session:
            self._ended.add(call.session, time.time() + self._lasts_s)

    def door(self, user: User) -> str:
        """How somebody signs in: `tap`, `pin`, `password`, `choose` (a PIN, first) or `closed`."""
        if user.door == "tap" and user.role == "student" and self._settings.get("student_pins"):
            return "choose"
        return user.door

    def taps(self, user: User) -> bool:
        """Whether this user signs in by a tap alone: at most a student, without password or PIN."""
        return self.door(user) == "tap"

    def forgive(self, ident: str) -> None:
        """Whoever has another password or PIN may try it at once."""
        self._attempts.forget_about(ident)

    # The event's code

    def past_event(self, call: Call) -> bool:
        """Whether this browser may see names: no code is wanted, or it gave the present one."""
        code = plain_code(self._settings.get("event_code"))
        if not code or call.user is not None:
            return True
        value = cookie_value(call.header("cookie"), self.event_cookie)
        try:
            told = str(self._event_signer.loads(value, max_age=EVENT_S)) if value else ""
        except BadSignature:
            return False
        return hmac.compare_digest(told, self._event_mark(code))

    def give_event_code(self, code: str, address: str, *, secure: bool = False) -> tuple[str, str]:
        """The header that lets this browser see names from now on. NotSignedIn or TooMany otherwise."""
        key = f"event at {address}"
        self._attempts.check(key, TRIES_OF_AN_EVENT)
        right = plain_code(self._settings.get("event_code"))
        if not right or not hmac.compare_digest(plain_code(code).encode(), right.encode()):
            self._attempts.failed(key)
            raise NotSignedIn(say("This code isn't right. It stands on the poster, or ask your supervisor."))
        value = self._event_signer.dumps(self._event_mark(right))
        end = "; Secure" if secure else ""
        name = self.event_cookie
        return ("Set-Cookie", f"{name}={value}; Path=/; Max-Age={EVENT_S}; HttpOnly; SameSite=Lax{end}")

    @property
    def event_cookie(self) -> str:
        return self.cookie + "-event"

    def _event_mark(self, code: str) -> str:
        return hashlib.sha256(self._secret + b"event " + code.encode()).hexdigest()[:24]

    # Who may change whom

    def looks_after(self, user: User, other: User) -> bool:
        """Whether somebody may change another's picture and PIN: their own, supervisors students', admins
        anybody's."""
        if rank(user.role) >= rank("admin"):
            return True
        if user.ident == other.ident:
            return rank(user.role) >= rank("student")
        return rank(user.role) >= rank("supervisor") > rank(other.role)

    def may_set_password(self, user: User, other: User) -> bool:
        """An admin anybody's, a supervisor students', everybody their own.

        Except who signs in by a tap: whoever taps that face could shut its owner out.
        """
        if rank(user.role) >= rank("admin"):
            return True
        if user.ident == other.ident:
            return not self.taps(user)
        return rank(user.role) >= rank("supervisor") > rank(other.role)

    def issue(self, user: User, nonce: str = "") -> str:
        """A cookie value for this user; with the nonce of the present session its CSRF token stays good."""
        data = {"u": user.ident, "n": nonce or secrets.token_urlsafe(9), "f": self._mark(user.ident)}
        return str(self._signer.dumps(data))

    def adopt(self, call: Call, user: User, cookie: str) -> None:
        """Go on with this request as the user who just signed in."""
        nonce = str(self._signer.loads(cookie)["n"])
        call.user, call.via, call.session, call.csrf = user, "cookie", nonce, self._csrf(nonce)

    def cookie_header(self, value: str, *, secure: bool = False) -> tuple[str, str]:
        """The Set-Cookie header that signs in (or, with an empty value, out)."""
        age = self._lasts_s if value else 0
        end = "; Secure" if secure else ""
        return ("Set-Cookie", f"{self.cookie}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{end}")

    # The first sign-in

    def code_wanted(self) -> bool:
        """Whether the one-time code is still to be used."""
        return (self._config / CODE_FILE).exists()

    def offer_code(self) -> None:
        """Write the one-time code, unless an admin has a password or the code was used already."""
        path = self._config / CODE_FILE
        admins = [user for user in self._people.users() if user.role == "admin" and not user.disabled]
        if not admins or any(user.has_password for user in admins) or path.exists():
            return
        code = "-".join(f"{secrets.randbelow(10_000):04d}" for _ in range(3))
        text = (
            f"{code}\nThis code signs '{admins[0].ident}' in, once: type it on the sign-in page. "
            "Give the user a password then; without one, the server writes another code at its next start.\n"
        )
        with contextlib.suppress(FileExistsError):  # Race: another process of this server was first.
            write_private(path, text.encode())

    def _by_code(self, ident: str, code: str) -> User:
        path = self._config / CODE_FILE
        wrong = NotSignedIn("This code isn't right, or was used already. It stands in " + CODE_FILE + ".")
        try:
            right = path.read_text("utf-8").split("\n", 1)[0].strip()
        except OSError:
            raise wrong from None
        digits = "".join(c for c in code if c.isdigit())
        if not right or not hmac.compare_digest(digits, right.replace("-", "")):
            raise wrong
        admins = [u for u in self._people.users() if u.role == "admin" and not u.disabled]
        user = next((u for u in admins if ident in ("", u.ident)), None)
        if user is None:
            raise NotSignedIn("The code is for an admin: choose that name.")
        try:
            path.unlink()  # who removes it has used it: no second process can
        except FileNotFoundError:
            raise wrong from None
        return user

    # Helpers

    @property
    def _lasts_s(self) -> int:
        return int(float(self._settings.get("session_hours")) * 3600)

    def _mark(self, ident: str) -> str:
        """Changes with the password and the PIN, so that a change signs out everywhere."""
        return hashlib.sha256(self._secret + self._people.mark(ident).encode()).hexdigest()[:12]

    def _csrf(self, nonce: str) -> str:
        return hmac.new(self._secret, b"csrf " + nonce.encode(), "sha256").hexdigest()[:32]

    def _csrf_fits(self, call: Call) -> bool:
        sent = call.header("x-croft-csrf")
        if not sent and call.content_type in ("application/x-www-form-urlencoded", MULTIPART):
            sent = call.form().get("csrf", "")
        return hmac.compare_digest(sent.encode(), call.csrf.encode())


def error_key(error: CroftError, form: Mapping[str, str]) -> str:
    """What the sign-in page is told of a try that failed, or of a door that stands before it."""
    if isinstance(error, TooMany):
        return "wait"
    if "key" in error.facts:
        return str(error.facts["key"])
    if error.facts.get("field") == "pin":
        return "pin-form"
    given = next((name for name in ("event", "pin") if form.get(name)), "")
    return f"{given}-wrong" if given else "wrong"


def plain_code(text: object) -> str:
    """An event's code as it is compared: people write it large and small, with blanks and dashes."""
    return "".join(letter for letter in str(text).casefold() if letter.isalnum())


def cookie_value(header: str, name: str) -> str:
    if len(header) > COOKIE_BYTES:
        return ""
    try:
        jar: SimpleCookie = SimpleCookie(header)
    except CookieError:
        return ""
    morsel = jar.get(name)
    return morsel.value if morsel else ""


def write_private(path: Path, data: bytes) -> None:
    """A new file that only the server's user can read, whole or not at all; FileExistsError if it's there."""
    temp = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(temp, path)
    finally:
        temp.unlink()
