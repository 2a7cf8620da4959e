"""A person as their file says, and the values that such a file may hold.

Pure. What a file says wrongly costs nothing but that field: an unknown role is a guest's.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from server.disk.errors import BadInput
from server.disk.speech import say

ROLES = ("guest", "student", "supervisor", "admin")  # each may do what those before it may
IDENT = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")  # user and token names: they are file names too
SOMEONE = "somebody"  # stands where a person was who is forgotten; nobody can be called so
TITLE_LIMIT = 200  # characters
LANGUAGES = {"english": "en", "french": "fr", "dutch": "nl", "german": "de"}  # as RFAM's files call them
OWN = ("language", "credit", "email", "color")  # what everybody may say of themselves
OF_STUDENTS = (*OWN, "title", "projects", "team", "disabled")  # what supervisors may say of students
TURNING = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)])  # would turn what follows a name


@dataclass(frozen=True, slots=True)
class User:
    """A person. `role` is one of ROLES; `door` says what opens for them, and how."""

    ident: str
    title: str
    role: str
    email: str = ""
    color: str = ""
    disabled: bool = False
    has_password: bool = False
    has_pin: bool = False
    projects: tuple[str, ...] = ()
    team: str = ""  # of those who have no project yet
    language: str = ""
    credit: bool = True  # whether the credits may name them

    def at_least(self, role: str) -> bool:
        """Whether this person may do what `role` may."""
        return rank(self.role) >= rank(role)

    @property
    def door(self) -> str:
        """How they sign in: `tap`, `pin` or `password`; `closed` where they can't. Staff need a password."""
        if self.disabled or (self.at_least("supervisor") and not self.has_password):
            return "closed"
        if self.has_password:
            return "password"
        return "pin" if self.has_pin else "tap"


GUEST = User("", "Guest", "guest")  # nobody is signed in


def rank(role: str) -> int:
    """The place of a role in ROLES; an unknown role counts as guest."""
    return ROLES.index(role) if role in ROLES else 0


def wrong_in(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The keys of a person's file that hold what they can't, and what they must hold."""
    texts = ("title", "team", "system")
    found: list[tuple[str, str]] = [
        (key, say("{key} must be text", key=key)) for key in texts if not isinstance(data.get(key) or "", str)
    ]
    if data.get("role", "student") not in ROLES:
        found.append(("role", say("role must be one of {roles}", roles=", ".join(ROLES))))
    if not isinstance(data.get("projects") or [], list):
        found.append(("projects", say("projects must be a list of texts")))
    return found


def fields_of(me: User, user: User) -> tuple[str, ...]:
    """What of a user's file somebody may change."""
    if me.role == "admin":
        return (*OF_STUDENTS, "role", "system", "uid")
    if me.at_least("supervisor") and not user.at_least("supervisor"):
        return OF_STUDENTS
    return OWN if me.ident == user.ident and me.at_least("student") else ()


def user_of(ident: str, data: Mapping[str, Any]) -> User:
    """What a file says of its person, as far as it can be used."""
    role = str(data.get("role", "student"))
    projects = data.get("projects")
    language = str(data.get("language") or "").lower()
    return User(
        ident=ident,
        title=str(data.get("title") or data.get("name") or ident),
        role=role if role in ROLES else "guest",
        email=str(data.get("email", "")),
        color=str(data.get("color", "")),
        disabled=bool(data.get("disabled", False)),
        has_password=bool(data.get("password")),
        has_pin=bool(data.get("pin")),
        projects=tuple(str(one) for one in projects) if isinstance(projects, list) else (),
        team=str(data.get("team") or ""),
        language=LANGUAGES.get(language, language),
        credit=data.get("credit") is not False,
    )


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as they are written. BadInput, naming the field, for one that can't be so."""
    found = {}
    for field, value in fields.items():
        check = CHECKS.get(field)
        if check is None:
            raise BadInput(say("'{field}' can't be set here.", field=field[:40]), field=field)
        found[field] = check(field, value)
    return found


def checked_ident(ident: str) -> str:
    """The ident, if somebody can be called so."""
    if not IDENT.fullmatch(ident) or ident == SOMEONE:
        raise BadInput(
            say("'{ident}' can't be a user's name: use small letters, digits, dots and dashes.", ident=ident),
            field="ident",
        )
    return ident


def checked_role(role: str) -> str:
    """The role, if there is one of that name."""
    if role not in ROLES:
        raise BadInput(
            say("'{role}' isn't a role: use {roles}.", role=role[:40], roles=", ".join(ROLES)), field="role"
        )
    return role


def seen(text: str) -> bool:
    """Whether a line of text has no characters that nobody can see or write: marks of direction are fine."""
    return not any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in text)


def _title(field: str, value: Any) -> str:
    text = " ".join(str(value).translate(TURNING).split())
    if not text or len(text) > TITLE_LIMIT or not seen(text):
        raise BadInput(
            say("A name has 1 to {most} characters, and none that can't be seen.", most=TITLE_LIMIT),
            field=field,
        )
    return text


def _color(field: str, value: Any) -> str:
    if value and not re.fullmatch(r"#[0-9a-fA-F]{6}", str(value)):
        raise BadInput(say("A colour is written as #8a5300."), field=field)
    return str(value or "")


def _line(field: str, value: Any) -> str:
    text = str(value or "").translate(TURNING).strip()
    if len(text) > TITLE_LIMIT or not seen(text):
        raise BadInput(say("That is too long, or holds odd characters."), field=field)
    return text


def _language(field: str, value: Any) -> str:
    text = str(value or "")
    if text and not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}", text):
        raise BadInput(say("A language is written as en, fr or nl."), field=field)
    return text


def _names(field: str, value: Any) -> list[str]:
    names = list(dict.fromkeys(str(one).strip() for one in value or () if str(one).strip()))
    if len(names) > 100 or any(len(name) > TITLE_LIMIT or not seen(name) for name in names):
        raise BadInput(say("That is too long, or holds odd characters."), field=field)
    return names


def _uid(field: str, value: Any) -> int | None:
    if value is None or value == "":
        return None
    if not re.fullmatch(r"[0-9]{1,10}", str(value)):
        raise BadInput(
            say("'{value}' isn't a uid: it is a number, as `id` prints it.", value=str(value)[:40]),
            field=field,
        )
    return int(value)


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "title": _title,
    "role": lambda field, value: checked_role(str(value)),
    "email": _line,
    "color": _color,
    "disabled": lambda field, value: bool(value),
    "projects": _names,
    "team": _line,
    "language": _language,
    "credit": lambda field, value: bool(value),
    "system": _line,
    "uid": _uid,
}
