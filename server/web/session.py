"""Who sends this request: signed cookies, CSRF tokens, bearer tokens, and the doors to them.

Students without a password sign in by a tap; everybody else needs a password or the one-time code that
lies in the configuration as `first-sign-in.txt` while nobody who may configure Croft has a password.
Sessions are kept in the cookie alone, so that several server processes need nothing in common but the
configuration. A changed password or a removed user ends the session.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING

from itsdangerous import BadSignature, URLSafeTimedSerializer

from server.disk.errors import BadInput, CroftError, Forbidden, NotFound, NotSignedIn
from server.web.requests import Call, TooMany, rank

if TYPE_CHECKING:
    from server.disk.settings import Settings
    from server.library.people import People, Token, User

CODE_FILE = "first-sign-in.txt"
SESSION_S = 30 * 24 * 3600  # a school month; signing in again costs a student one tap
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
TRIES_OF_A_USER = 8  # failures in the window, then the door stays shut until the oldest is forgotten
TRIES_OF_AN_ADDRESS = 40  # a whole class sits behind one address
TRIES_FROM_ALL = 100  # of one user, from everywhere: few enough, and a prankster alone can't reach it
TRIES_WINDOW_S = 300
LOOK_AGAIN_S = 0.2  # between two looks that unknown tokens cause
COOKIE_BYTES = 4096


class Attempts:
    """Failed tries of late, by key. Remembers a bounded number of keys."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: dict[str, deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, key: str, limit: int) -> None:
        """Nothing, or TooMany with the seconds to wait."""
        with self._lock:
            times = self._failed.get(key)
            if times is None:
                return
            now = self._clock()
            while times and times[0] <= now - TRIES_WINDOW_S:
                times.popleft()
            if not times:
                del self._failed[key]
            elif len(times) >= limit:
                wait = int(times[0] + TRIES_WINDOW_S - now) + 1
                minutes = max(1, round(wait / 60))
                raise TooMany(f"Too many tries. Wait {minutes} min, then try again.", retry_after_s=wait)

    def failed(self, key: str) -> None:
        with self._lock:
            if len(self._failed) >= 10_000:
                self._failed.clear()
            self._failed.setdefault(key, deque(maxlen=TRIES_FROM_ALL)).append(self._clock())

    def forget(self, key: str) -> None:
        with self._lock:
            self._failed.pop(key, None)


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
            data = self._signer.loads(value, max_age=SESSION_S)
            ident, nonce, mark = str(data["u"]), str(data["n"]), str(data["f"])
            user = self._people.user(ident)
        except (BadSignature, KeyError, TypeError, NotFound):
            return
        if user.disabled or not hmac.compare_digest(mark, self._mark(ident)):
            return
        call.user, call.via, call.session = user, "cookie", nonce
        call.csrf = self._csrf(nonce)

    # Doors

    def sign_in(
        self, user: str, *, password: str = "", code: str = "", address: str = ""
    ) -> tuple[User, str]:
        """The user and the value of their new cookie. NotSignedIn or TooMany otherwise."""
        ident = user.strip().lower()
        keys = (
            (f"user {ident} at {address}", TRIES_OF_A_USER),
            (f"address {address}", TRIES_OF_AN_ADDRESS),
            (f"user {ident}", TRIES_FROM_ALL),
        )
        for key, limit in keys:
            self._attempts.check(key, limit)
        try:
            found = self._open(ident, password, code)
        except NotSignedIn:
            for key, _ in keys:
                self._attempts.failed(key)
            raise
        self._attempts.forget(keys[0][0])
        return found, self.issue(found)

    def _open(self, ident: str, password: str, code: str) -> User:
        if code:
            return self._by_code(ident, code)
        if password:
            with self._hashing:
                return self._people.sign_in(ident, password)
        if not ident:
            raise BadInput("Say who you are: user is missing.")
        if self._people.known(ident) and self.taps(self._people.user(ident)):
            return self._people.user(ident)
        raise NotSignedIn("This name needs a password.", key="password")

    def taps(self, user: User) -> bool:
        """Whether this user signs in by a tap: at most a student, and without a password."""
        return not user.disabled and rank(user.role) <= rank("student") and not user.has_password

    def tap_users(self) -> list[User]:
        return [user for user in self._people.users() if self.taps(user)]

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
        age = SESSION_S if value else 0
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

    def _stored(self, ident: str) -> str:
        return str(self._settings.folder("users").get(ident, {}).get("password") or "")

    def _mark(self, ident: str) -> str:
        """Changes with the password, so that a change signs out everywhere."""
        return hashlib.sha256(self._secret + self._stored(ident).encode()).hexdigest()[:12]

    def _csrf(self, nonce: str) -> str:
        return hmac.new(self._secret, b"csrf " + nonce.encode(), "sha256").hexdigest()[:32]

    def _csrf_fits(self, call: Call) -> bool:
        sent = call.header("x-croft-csrf")
        if not sent and call.content_type == "application/x-www-form-urlencoded":
            sent = call.form().get("csrf", "")
        return hmac.compare_digest(sent.encode(), call.csrf.encode())


def error_key(error: CroftError) -> str:
    """What the sign-in page is told of a failed try: wait, password or wrong."""
    if isinstance(error, TooMany):
        return "wait"
    return str(error.facts.get("key", "wrong"))


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
