"""Who people and nodes are: users, roles, passwords, PINs, tokens, pictures.

Users are files of the configuration (`users/<ident>.json`), tokens too (`tokens/<id>.json`, only the
hash of the secret). Promises that no secret can be read back and that an unknown name costs an attacker
as much time as a wrong password. Limiting the rate of attempts, cookies and CSRF belong to the web wing.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from server.disk import encoding
from server.disk.errors import BadInput, Conflict, Forbidden, NotFound, NotSignedIn, Stale
from server.disk.records import Problem
from server.disk.speech import say

from .hashing import NOBODY, PINS, hash_password, verify_password
from .photos import Photos
from .tokens import Settings, Token, Tokens
from .user import (
    GUEST,
    IDENT,
    ROLES,
    SOMEONE,
    User,
    checked,
    checked_ident,
    checked_role,
    fields_of,
    rank,
    user_of,
    wrong_in,
)

__all__ = [
    "GUEST", "IDENT", "NOBODY", "ROLES", "SOMEONE", "People", "Photos", "Settings", "Token", "User",
    "check_pin", "checked", "checked_role", "fields_of", "hash_password", "rank", "require",
    "verify_password",
]  # fmt: skip

LOGINS_KEPT_S = 300.0  # a directory of people that is asked over the network is slow
REMOVED_KEPT = 100  # people who were removed and can be brought back
SECRETS = ("password", "pin")


class People(Tokens):
    """Users, their pictures and tokens of one configuration. Thread-safe; holds nothing that files don't."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.time,
        login_of: Callable[[int], str] | None = None,
        own_uid: int | None = None,
    ) -> None:
        """`login_of(uid)`: a uid's login name, '' for none; `own_uid`: whose process this is."""
        super().__init__(settings, clock)
        self.photos = Photos(settings.folder_path / "photos", self._rfams)
        self._login_of = login_of or _login_of
        self._own_uid = os.getuid() if own_uid is None else own_uid
        self._logins: dict[int, tuple[float, str]] = {}
        self._changing = threading.Lock()
        self._told: tuple[object, tuple[Problem, ...]] = (None, ())  # of these files, what is wrong in them
        self._removed: dict[str, tuple[dict[str, Any], bytes, list[str]]] = {}  # the newest, by ident

    def _rfams(self, kind: str) -> dict[str, Path]:
        """Where RFAM's pictures lie: `image` is a named path, as `images::ana.jpg`; one colon will do."""
        named = self._settings.folder("paths")
        found = {}
        for ident, data in self._settings.folder(kind).items():
            share, _, name = str(data.get("image") or "").replace("::", ":", 1).partition(":")
            place = named.get(share, {}).get("path")
            if isinstance(place, str) and name and not {"..", ""} & set(name.split("/")) and "\0" not in name:
                found[ident] = self._settings.folder_path / place / name
        return found

    # Who is there

    def users(self) -> list[User]:
        """Everybody, by ident. Disabled ones too."""
        found = self._settings.folder("users")
        return [user_of(ident, found[ident]) for ident in sorted(found)]

    def user(self, ident: str) -> User:
        """The user of that name. NotFound if there is none."""
        return user_of(ident, self._file(ident))

    def problems(self) -> tuple[Problem, ...]:
        """What files of people say that can't be: it counts as not said, which may shut somebody out."""
        found = self._settings.folder("users")
        if found is not self._told[0]:
            wrong = ((ident, *one) for ident, data in sorted(found.items()) for one in wrong_in(data))
            told = tuple(_problem(f"users/{ident}.json", key, why) for ident, key, why in wrong)
            self._told = (found, told)
        return self._told[1]

    def known(self, ident: str) -> bool:
        """Whether there is such a user."""
        return ident in self._settings.folder("users")

    def etag(self, ident: str) -> str:
        """Stands for what a user's file says now. NotFound if there is none."""
        return _etag(self._file(ident))

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
        user = user_of(said[0], found[said[0]]) if len(said) == 1 else None
        return None if user is None or user.disabled else user

    def view(self, user: User) -> dict[str, Any]:
        """What the API tells of a user: never a password or a PIN, not even their hash."""
        return {
            "id": user.ident,
            "title": user.title,
            "role": user.role,
            "color": user.color,
            "disabled": user.disabled,
            "photo": self.photos.url("users", user.ident),
            "projects": list(user.projects),
            "team": user.team,
            "language": user.language,
            "credit": user.credit,
        }

    def view_whole(self, user: User) -> dict[str, Any]:
        """What it tells of a user to themselves and to those who look after people."""
        data = self._file(user.ident)
        return {
            **self.view(user),
            "email": user.email,
            "door": user.door,
            "system": str(data.get("system") or ""),
            "uid": data.get("uid") if isinstance(data.get("uid"), int) else None,
            "etag": _etag(data),
        }

    # Signing in

    def sign_in(self, ident: str, password: str, *, pin: bool = False) -> User:
        """The user, if the password (or the PIN) is right. NotSignedIn otherwise, whatever was wrong, in the
        same time.

        Who has none never gets in this way, nor staff by a PIN.
        """
        found = self._settings.folder("users")
        ident = ident.strip()
        ident = ident if ident in found else ident.lower()
        data = found.get(ident)
        stored = str((data or {}).get("pin" if pin else "password") or "")
        right = verify_password(password, stored or NOBODY) and bool(stored)
        user = GUEST if data is None else user_of(ident, data)
        if data is None or not right or (pin and user.door not in ("pin", "closed")):
            if pin:
                raise NotSignedIn(say("This PIN isn't right. Try again, or ask your supervisor."))
            raise NotSignedIn(
                say("This name and password don't fit together. Try again, or ask your supervisor.")
            )
        if user.door == "closed":
            raise NotSignedIn(say("This account is switched off. Ask your supervisor."))
        return user

    def mark(self, ident: str) -> str:
        """Changes with the password, the PIN and each `end_sessions`; '' for nobody."""
        data = self._settings.folder("users").get(ident, {})
        return "\0".join(str(data.get(key) or "") for key in (*SECRETS, "sessions"))

    def end_sessions(self, ident: str) -> None:
        """Sign a user out everywhere."""
        self._write(ident, {"sessions": secrets.token_hex(4)})

    # Changing

    def add(
        self, ident: str, role: str = "student", title: str = "", password: str = "", pin: str = "",
        **more: Any,
    ) -> User:  # fmt: skip
        """Make a user. BadInput for an odd name or role, Conflict if the name is taken."""
        checked_ident(ident)
        fields = {"title": title or ident.capitalize(), "role": checked_role(role), **more}
        data = {key: value for key, value in checked(fields).items() if value not in (None, "", [])}
        data |= {key: fields[key] for key in fields if key in ("title", "role") and not data.get(key)}
        if password:
            data["password"] = hash_password(password)
        elif pin:
            data["pin"] = _hash_pin(role, pin)
        with self._changing:
            if self.known(ident):
                raise Conflict(say("There is already a user named '{ident}'.", ident=ident), user=ident)
            # Who was called so before stays signed out, also where neither has a password.
            self._settings.write("users", ident, {**data, "sessions": secrets.token_hex(4)})
        return self.user(ident)

    def change(self, ident: str, fields: Mapping[str, Any], etag: str = "") -> User:
        """Set fields of a user's file; what else stands there stays. `etag`: as it was when it was read.

        NotFound, BadInput, Stale with the present record, Conflict where nobody could configure Croft then.
        """
        return self._write(ident, checked(fields), etag)

    def choose_language(self, ident: str, code: str) -> None:
        """Which language this person reads from now on. NotFound if there is none of that name."""
        if self._file(ident).get("language") != code:
            self._write(ident, checked({"language": code}))

    def set_password(self, ident: str, password: str) -> None:
        """Give a user another password, in place of a PIN; ends their sessions. BadInput if it is empty or
        longer than PASSWORD_LIMIT."""
        self._write(ident, {"password": hash_password(password), "pin": None})

    def set_pin(self, ident: str, pin: str) -> None:
        """Give a student or guest a PIN, in place of a password; ends their sessions. BadInput for others."""
        self._write(ident, {"pin": _hash_pin(self.user(ident).role, pin), "password": None})

    def open_door(self, ident: str) -> None:
        """Take password and PIN away: a tap is enough again. Ends their sessions. BadInput for staff."""
        if self.user(ident).at_least("supervisor"):
            raise BadInput(say("Supervisors and admins need a password."), field="password")
        self._write(ident, {"pin": None, "password": None, "sessions": secrets.token_hex(4)})

    def remove(self, ident: str) -> None:
        """Take a user out, with their picture and tokens. What they made stays, and so does their name in it.

        NotFound if there is none, Conflict where nobody could configure Croft then.
        """
        with self._changing:
            self._settings.look_again("users")
            data = dict(self._file(ident))
            self._check_admins(ident, None)
            self._settings.remove("users", ident)
            photo = b""
            if self.photos.url("users", ident):
                photo = self.photos.remove("users", ident)
            tokens = self.revoke_user(ident)
            self._removed[ident] = (data, photo, tokens)
            while len(self._removed) > REMOVED_KEPT:
                del self._removed[next(iter(self._removed))]

    def check_removable(self, ident: str) -> None:
        """Conflict where nobody could configure Croft without this person."""
        self._check_admins(ident, None)

    def bring_back(self, ident: str) -> User:
        """Take `remove` back, as long as this process remembers it. NotFound where it doesn't."""
        with self._changing:
            kept = self._removed.pop(ident, None)
            if kept is None:
                raise NotFound(
                    say("There is no user '{ident}' who was removed lately.", ident=ident), user=ident
                )
            if self.known(ident):
                raise Conflict(say("There is already a user named '{ident}'.", ident=ident), user=ident)
            data, photo, tokens = kept
            self._settings.write("users", ident, data)
            if photo:
                self.photos.keep("users", ident, photo)
        for token in tokens:
            self.unrevoke(token)
        return self.user(ident)

    def forget_removed(self, ident: str) -> None:
        """Nobody of that name can be brought back any more, nor their tokens."""
        with self._changing:
            self._removed.pop(ident, None)
        self.forget_revoked(ident)

    # Within

    def _file(self, ident: str) -> Mapping[str, Any]:
        data = self._settings.folder("users").get(ident)
        if data is None:
            raise NotFound(say("There is no user named '{ident}'.", ident=ident), user=ident)
        return data

    def _write(self, ident: str, fields: Mapping[str, Any], etag: str = "") -> User:
        """Set fields, None takes one away; on what the file says at this moment."""
        with self._changing:
            self._settings.look_again("users")
            data = dict(self._file(ident))
            if etag and etag != _etag(data):
                view = self.view_whole(user_of(ident, data))
                raise Stale(say("Somebody changed this meanwhile."), record=view, etag=view["etag"])
            data |= fields
            data = {key: value for key, value in data.items() if value is not None}
            self._check_admins(ident, user_of(ident, data))
            self._settings.write("users", ident, data)
        return self.user(ident)

    def _check_admins(self, ident: str, after: User | None) -> None:
        """Conflict where an admin who can sign in is the last one, and wouldn't be any more."""
        able = [user.ident for user in self.users() if user.role == "admin" and user.door != "closed"]
        still = after is not None and after.role == "admin" and after.door != "closed"
        if able == [ident] and not still:
            raise Conflict(
                say(
                    "'{ident}' is the only admin who can sign in: make somebody else an admin first.",
                    ident=ident,
                )
            )

    def _login(self, uid: int) -> str:
        now = time.monotonic()
        kept = self._logins.get(uid)
        if kept is None or kept[0] < now:
            kept = self._logins[uid] = (now + LOGINS_KEPT_S, self._login_of(uid).casefold())
        return kept[1]


def require(user: User, role: str) -> None:
    """Nothing, if `user` may do what `role` may; else NotSignedIn for nobody, Forbidden for others."""
    if user.at_least(role):
        return
    if not user.ident:
        raise NotSignedIn(say("Please sign in first."))
    if user.role == "guest":
        raise Forbidden(say("Guests look at everything and change nothing. Ask a supervisor."), role=role)
    raise Forbidden("Only a {role} may do this. Ask one.", role=role)


def _hash_pin(role: str, pin: str) -> str:
    check_pin(role, pin)
    return hash_password(pin)


def check_pin(role: str, pin: str) -> None:
    """Nothing, or BadInput where somebody of that role can't have that PIN."""
    if rank(role) >= rank("supervisor"):
        raise BadInput(say("Supervisors and admins need a password: a PIN is too short."), field="pin")
    if not PINS.fullmatch(pin):
        raise BadInput(say("A PIN has four to eight digits."), field="pin")
    if len(set(pin)) == 1 or pin in "0123456789876543210":
        raise BadInput(say("That PIN is the first that anybody would try: take another."), field="pin")


def _problem(file: str, key: str, why: str) -> Problem:
    text = say("{file}: {why}.", file=file, why=why)
    mend = say("Correct it: until then it counts as not said, and an unknown role as a guest’s.")
    return Problem(f"config:{file}: {key}", "config", f"{file}: {key}", text, mend)


def _etag(data: Mapping[str, Any]) -> str:
    return hashlib.blake2b(encoding.dumps(dict(data)), digest_size=12).hexdigest()


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
