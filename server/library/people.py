"""Who people and nodes are: users, roles, passwords, tokens.

Users are files of the configuration (`users/<ident>.json`), tokens too (`tokens/<id>.json`, only the
hash of the secret). Promises that no secret can be read back and that an unknown name costs an attacker
as much time as a wrong password. Limiting the rate of attempts, cookies and CSRF belong to the web wing.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import os
import pwd
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from server.disk.errors import BadInput, Conflict, CroftError, Forbidden, NotFound, NotSignedIn

ROLES = ("guest", "student", "supervisor", "admin")  # each may do what those before it may
IDENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # user and token names: they are file names too
NODE_NAME = re.compile(r"\*|[^\x00-\x1f/\\]{1,128}")  # '*': a group of nodes that name themselves
SCOPES = ("all", "read")  # what a user's token may do; a node's token is for the farm's wire alone

SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 1  # 16 MB and some 40 ms: RFC 7914's figures for signing in
PASSWORD_LIMIT = 1024  # characters; scrypt would hash megabytes gladly
TOKENS_REMEMBERED = 4096
REVOKED_KEPT = 200  # revocations that can be taken back
LOGINS_KEPT_S = 300.0  # a directory of people that is asked over the network is slow
LOOK_AGAIN_S = 0.1  # between two looks for a token that another process has just made


class Settings(Protocol):
    """What of `server.disk.settings.Settings` is used here."""

    def folder(self, kind: str) -> Mapping[str, Mapping[str, Any]]: ...
    def write(self, kind: str, ident: str, data: Mapping[str, Any]) -> None: ...
    def remove(self, kind: str, ident: str) -> None: ...
    def look_again(self, kind: str) -> None: ...


@dataclass(frozen=True, slots=True)
class User:
    """A person. `role` is one of ROLES; without a password only the web wing's other ways in are open."""

    ident: str
    title: str
    role: str
    email: str = ""
    color: str = ""
    disabled: bool = False
    has_password: bool = False

    def at_least(self, role: str) -> bool:
        """Whether this person may do what `role` may."""
        return rank(self.role) >= rank(role)


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was checked: it stands for a `user` or else for a `node` name ('*': any)."""

    id: str
    user: str = ""
    node: str = ""
    scope: str = "all"
    expires: float | None = None  # seconds since the epoch

    def allows_node(self, name: str) -> bool:
        """Whether a node that calls itself `name` may use this token."""
        return bool(self.node) and self.node in ("*", name)


GUEST = User("", "Guest", "guest")  # nobody is signed in


class People:
    """Users and tokens of one configuration. Thread-safe; holds nothing that files don't."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        login_of: Callable[[int], str] | None = None,
        own_uid: int | None = None,
    ) -> None:
        """`login_of(uid)`: a uid's login name, '' for none; `own_uid`: whose process this is."""
        self._settings = settings
        self._clock = clock
        self._login_of = login_of or _login_of
        self._own_uid = os.getuid() if own_uid is None else own_uid
        self._logins: dict[int, tuple[float, str]] = {}
        self._lock = threading.Lock()
        self._looked_again = -LOOK_AGAIN_S
        self._used: set[str] = set()  # tokens that are known to have been used
        self._revoked: dict[str, dict[str, Any]] = {}  # the newest, by id
        self._checked: dict[bytes, tuple[Mapping[str, Any], Token]] = {}  # sha256 of the whole token

    # Users

    def users(self) -> list[User]:
        """Everybody, by ident. Disabled ones too."""
        found = self._settings.folder("users")
        return [_user(ident, found[ident]) for ident in sorted(found)]

    def user(self, ident: str) -> User:
        """The user of that name. NotFound if there is none."""
        data = self._settings.folder("users").get(ident)
        if data is None:
            raise NotFound(f"There is no user named '{ident}'.", user=ident)
        return _user(ident, data)

    def known(self, ident: str) -> bool:
        """Whether there is such a user."""
        return ident in self._settings.folder("users")

    def of_uid(self, uid: int) -> User | None:
        """Whose files of this uid are: the one user whose file says so (`uid`, or `system`, a login name),
        else the user who is called like the login name.

        root's, and those of the server's own user (which every file has where Samba says `force user`, and
        every upload), are nobody's as long as no user's file says otherwise.
        """
        found = self._settings.folder("users")
        login = self._login(uid)
        short = login.rpartition("\\")[2].partition("@")[0]  # of a domain: SCHOOL\ana, ana@school
        said = [ident for ident, data in found.items() if _is_said(data, uid, login, short)]
        called = found.get(short, {}) if uid not in (0, self._own_uid) else {}
        if not said and called and not called.get("system") and called.get("uid") is None:
            said = [short]
        user = _user(said[0], found[said[0]]) if len(said) == 1 else None
        return None if user is None or user.disabled else user

    def _login(self, uid: int) -> str:
        now = time.monotonic()
        kept = self._logins.get(uid)
        if kept is None or kept[0] < now:
            kept = self._logins[uid] = (now + LOGINS_KEPT_S, self._login_of(uid).casefold())
        return kept[1]

    def sign_in(self, ident: str, password: str) -> User:
        """The user, if the password is right. NotSignedIn otherwise, whatever was wrong, in the same time.

        Who has no password never gets in this way.
        """
        ident = ident.strip().lower()
        data = self._settings.folder("users").get(ident)
        stored = str((data or {}).get("password") or "")
        right = verify_password(password, stored or NOBODY) and bool(stored)
        if data is None or not right:
            raise NotSignedIn("This name and password don't fit together. Try again, or ask your supervisor.")
        user = _user(ident, data)
        if user.disabled:
            raise NotSignedIn("This account is switched off. Ask your supervisor.")
        return user

    def add(
        self, ident: str, role: str = "student", title: str = "", password: str = "", **more: Any
    ) -> User:
        """Make a user. BadInput for an odd name or role, Conflict if the name is taken."""
        if not IDENT.fullmatch(ident):
            raise BadInput(
                f"'{ident}' can't be a user's name: use small letters, digits, dots and dashes.",
                field="ident",
            )
        if role not in ROLES[1:]:
            raise BadInput(f"'{role}' isn't a role: use {', '.join(ROLES[1:])}.", field="role")
        if self.known(ident):
            raise Conflict(f"There is already a user named '{ident}'.", user=ident)
        data = {"title": title or ident.capitalize(), "role": role, **more}
        if password:
            data["password"] = hash_password(password)
        self._settings.write("users", ident, data)
        return _user(ident, data)

    def remove(self, ident: str) -> None:
        """Take a user out. What they made stays, and so does their name in it. NotFound if there is none."""
        if not self.known(ident):
            raise NotFound(f"There is no user named '{ident}'.", user=ident)
        self._settings.remove("users", ident)

    def set_password(self, ident: str, password: str) -> None:
        """Give a user another password. BadInput if it is empty or longer than PASSWORD_LIMIT."""
        data = self._settings.folder("users").get(ident)
        if data is None:
            raise NotFound(f"There is no user named '{ident}'.", user=ident)
        self._settings.write("users", ident, {**data, "password": hash_password(password)})

    def choose_language(self, ident: str, code: str) -> None:
        """Which language this person reads from now on. NotFound if there is none of that name."""
        data = self._settings.folder("users").get(ident)
        if data is None:
            raise NotFound("There is no user named '{user}'.", user=ident)
        if data.get("language") != code:
            self._settings.write("users", ident, {**data, "language": code})

    def view(self, user: User) -> dict[str, Any]:
        """What the API tells of a user: never the password, not even its hash."""
        return {
            "id": user.ident,
            "title": user.title,
            "role": user.role,
            "color": user.color,
            "disabled": user.disabled,
        }

    # Tokens

    def make_token(
        self,
        *,
        user: str = "",
        node: str = "",
        scope: str = "all",
        title: str = "",
        lasts_s: float | None = None,
    ) -> str:
        """A new token for a user or for a node name ('*': a group); the only time that it can be read.

        NotFound for an unknown user, BadInput for neither or both, an odd node name or scope.
        """
        if bool(user) == bool(node):
            raise BadInput("A token is for a user or for a node: name one of them.")
        if user:
            self.user(user)
        elif not NODE_NAME.fullmatch(node):
            raise BadInput(f"'{node}' can't be a node's name.", field="node")
        if scope not in SCOPES:
            raise BadInput(f"'{scope}' isn't a scope: use {' or '.join(SCOPES)}.", field="scope")
        ident = secrets.token_hex(6)
        secret = secrets.token_urlsafe(32)
        now = self._clock()
        data: dict[str, Any] = {
            "hash": _secret_hash(secret),
            "user": user,
            "node": node,
            "scope": scope,
            "title": title,
            "created": _rfc3339(now),
            "expires": None if lasts_s is None else _rfc3339(now + lasts_s),
        }
        self._settings.write("tokens", ident, data)
        return f"{ident}.{secret}"

    def check_token(self, text: str) -> Token:
        """What a token stands for. NotSignedIn if it is unknown, expired, revoked or its user is gone."""
        ident, _, secret = text.partition(".")
        data = self._settings.folder("tokens").get(ident)
        if data is None and self._may_look_again():
            data = self._settings.folder("tokens").get(ident)
        if data is None or not secret:
            raise NotSignedIn("This token is unknown or was revoked.")
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        seen = self._checked.get(digest)
        if seen is not None and seen[0] is data:
            token = seen[1]
        else:
            if not hmac.compare_digest(_secret_hash(secret), str(data.get("hash", ""))):
                raise NotSignedIn("This token is unknown or was revoked.")
            token = _token(ident, data)
            with self._lock:
                if len(self._checked) >= TOKENS_REMEMBERED:
                    self._checked.clear()
                self._checked[digest] = (data, token)
        if token.expires is not None and self._clock() >= token.expires:
            raise NotSignedIn("This token has expired. Make another: run.py token …")
        if token.user:
            owner = self._settings.folder("users").get(token.user)
            if owner is None or owner.get("disabled"):
                raise NotSignedIn(f"The user '{token.user}' of this token is gone or switched off.")
        return token

    def _may_look_again(self) -> bool:
        """Whether the folder is read anew for an unknown token: a script uses what it made at once."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked_again < LOOK_AGAIN_S:
                return False
            self._looked_again = now
        self._settings.look_again("tokens")
        return True

    def note_use(self, ident: str) -> None:
        """That a node's token was used: written once, with its first use."""
        if ident in self._used:
            return
        self._used.add(ident)
        data = self._settings.folder("tokens").get(ident)
        if data is not None and not data.get("used"):
            try:
                self._settings.write("tokens", ident, {**data, "used": _rfc3339(self._clock())})
            except (OSError, CroftError):
                self._used.discard(ident)  # the disk is full, perhaps: with a later message

    def revoke_unused(self, title: str) -> int:
        """Revoke the tokens of groups that have this title and were never used; how many there were."""
        found = [token for token in self.tokens() if token["title"] == title and token["node"] == "*"]
        unused = [token["id"] for token in found if not token["used"]]
        for ident in unused:
            self.revoke(ident)
        return len(unused)

    def tokens(self) -> list[dict[str, Any]]:
        """Every token's id, user, node, scope, title, created, expires and first use; nothing that would open
        a door."""
        found = self._settings.folder("tokens")
        keys = ("user", "node", "scope", "title", "created", "expires", "used")
        return [{"id": ident, **{key: found[ident].get(key) for key in keys}} for ident in sorted(found)]

    def revoke(self, ident: str) -> None:
        """Forget a token by its id (the part before the dot). NotFound if there is none."""
        if ident not in self._settings.folder("tokens"):
            raise NotFound(f"There is no token '{ident}'.", token=ident)
        kept = dict(self._settings.folder("tokens")[ident])
        self._settings.remove("tokens", ident)
        with self._lock:
            self._revoked[ident] = kept
            while len(self._revoked) > REVOKED_KEPT:
                del self._revoked[next(iter(self._revoked))]

    def unrevoke(self, ident: str) -> None:
        """Take a revocation back, as long as this process remembers it. NotFound where it doesn't."""
        with self._lock:
            kept = self._revoked.pop(ident, None)
        if kept is None:
            raise NotFound(f"There is no token '{ident}' that was revoked lately.", token=ident)
        self._settings.write("tokens", ident, kept)

    def node_tokens(self, name: str) -> list[dict[str, Any]]:
        """The tokens that are good for a node of this name: its own, and those of groups."""
        keys = ("id", "node", "title", "created", "expires", "used")
        return [{key: token[key] for key in keys} for token in self.tokens() if token["node"] in (name, "*")]

    def revoke_node(self, name: str) -> None:
        """Revoke every token that is bound to this node's name; those of groups stay."""
        for ident, data in list(self._settings.folder("tokens").items()):
            if data.get("node") == name and name != "*":
                self.revoke(ident)

    def restore_node(self, name: str) -> None:
        """Take back what `revoke_node` did."""
        for ident, data in list(self._revoked.items()):
            if data.get("node") == name:
                self.unrevoke(ident)


def require(user: User, role: str) -> None:
    """Nothing, if `user` may do what `role` may; else NotSignedIn for a guest, Forbidden for others."""
    if user.at_least(role):
        return
    if user.role == "guest":
        raise NotSignedIn("Please sign in first.")
    raise Forbidden(f"Only a {role} may do this. Ask one.", role=role)


def rank(role: str) -> int:
    """The place of a role in ROLES; an unknown role counts as guest."""
    return ROLES.index(role) if role in ROLES else 0


def hash_password(password: str) -> str:
    """`scrypt$n$r$p$salt$hash`, salt and hash in base64. BadInput if it is empty or too long."""
    if not password:
        raise BadInput("The password is empty.", field="password")
    if len(password) > PASSWORD_LIMIT:
        raise BadInput(f"The password is longer than {PASSWORD_LIMIT} characters.", field="password")
    salt = secrets.token_bytes(16)
    key = _scrypt(password, salt, SCRYPT_N, SCRYPT_R, SCRYPT_P)
    encoded = (base64.b64encode(part).decode() for part in (salt, key))
    return "$".join(("scrypt", str(SCRYPT_N), str(SCRYPT_R), str(SCRYPT_P), *encoded))


def verify_password(password: str, stored: str) -> bool:
    """Whether `password` gave `stored`. False for a `stored` that isn't one of ours."""
    parts = stored.split("$")
    if len(parts) != 6 or parts[0] != "scrypt" or len(password) > PASSWORD_LIMIT:
        return False
    try:
        n, r, p = (int(part) for part in parts[1:4])
        salt, key = (base64.b64decode(part, validate=True) for part in parts[4:])
        return hmac.compare_digest(_scrypt(password, salt, n, r, p), key)
    except (ValueError, MemoryError, binascii.Error):
        return False


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    if n > 2**18 or r > 32 or p > 16:
        raise ValueError("a password hash that asks for gigabytes")
    data = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r + 2**20, dklen=32)


# The hash of nothing: verifying against it takes as long as against a real one.
NOBODY = "$".join(("scrypt", str(SCRYPT_N), str(SCRYPT_R), str(SCRYPT_P), "A" * 22 + "==", "A" * 43 + "="))


def _login_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return ""


def _is_said(data: Mapping[str, Any], uid: int, login: str, short: str) -> bool:
    """Whether a user's file claims the files of this uid."""
    system = str(data.get("system") or "").casefold()
    own = data.get("uid")
    return (isinstance(own, int) and not isinstance(own, bool) and own == uid) or (
        bool(system) and system in (login, short)
    )


def _secret_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _user(ident: str, data: Mapping[str, Any]) -> User:
    role = str(data.get("role", "student"))
    return User(
        ident=ident,
        title=str(data.get("title") or data.get("name") or ident),
        role=role if role in ROLES else "guest",
        email=str(data.get("email", "")),
        color=str(data.get("color", "")),
        disabled=bool(data.get("disabled", False)),
        has_password=bool(data.get("password")),
    )


def _token(ident: str, data: Mapping[str, Any]) -> Token:
    scope = str(data.get("scope", "all"))
    return Token(
        id=ident,
        user=str(data.get("user") or ""),
        node=str(data.get("node") or ""),
        scope=scope if scope in SCOPES else "read",
        expires=_seconds(data.get("expires")),
    )


def _rfc3339(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _seconds(text: Any) -> float | None:
    """Seconds since the epoch of a stored time; an unreadable one has passed already."""
    if text is None or text == "":
        return None
    try:
        moment = datetime.datetime.fromisoformat(str(text))
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()
