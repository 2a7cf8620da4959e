"""Records, lines and roles without a person: pure.

Only values whose keys speak of persons are touched: whatever else has the same letters stays.
"""

from __future__ import annotations

from typing import Any

from server.disk import encoding
from server.library.people import IDENT, SOMEONE

PERSON = ("who", "user", "by", "owner", "creator", "approved_by", "paused_by", "approved", "author")
PERSONS = ("support", "people", "mentions")
ALSO = "Also worked on it"  # the role of those who had none, in a film's own file


def worked_on(entry: Any) -> tuple[str, ...]:
    """Everybody whom a file's record names."""
    facts = entry.facts
    return () if facts is None else (facts.owner, facts.creator, *facts.support)


def plain_name(title: str) -> str:
    """A name as the credits show it: never one that could be an account's."""
    return title if not IDENT.fullmatch(title) else title[:1].upper() + title[1:]


def cleaned(data: dict[str, Any], ident: str) -> dict[str, Any]:
    """A file's record without the person."""
    found: dict[str, Any] = replaced(data, ident, SOMEONE)
    return found


def replaced(value: Any, ident: str, by: str) -> Any:
    """A JSON value without the person, where its keys speak of persons. Who looked after something is nobody
    now; who did something is `by`."""
    if isinstance(value, list):
        return [replaced(one, ident, by) for one in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, one in value.items():
        if key in PERSON and one == ident:
            found[key] = "" if key == "owner" else by
        elif key in PERSON and isinstance(one, list):  # before and after, in a history
            found[key] = ["" if part == ident else part for part in one]
        elif key in PERSONS and isinstance(one, list):
            parts = [[p for p in part if p != ident] if isinstance(part, list) else part for part in one]
            found[key] = [part for part in parts if part != ident]
        elif key == "why" and isinstance(one, str) and one.endswith(f" by {ident}"):
            found[key] = f"{one.removesuffix(ident)}{by}"
        else:
            found[key] = replaced(one, ident, by)
    return found


def line_without(line: bytes, ident: str) -> bytes:
    """A line of a history or journal without the person, as long as it was: `by` a person stays so."""
    body = line.rstrip(b"\r\n")
    if encoding.dumps(ident) not in body:
        return line
    try:
        told = encoding.loads(body)
    except ValueError:
        return line  # torn
    fresh = replaced(told, ident, SOMEONE if len(ident) >= len(SOMEONE) else "?")
    fields = fresh.get("fields") if isinstance(fresh, dict) else None
    if isinstance(fields, dict) and fresh != told:
        said = fields.items()
        fresh["fields"] = {
            key: one for key, one in said if not (isinstance(one, list) and one[:1] == one[1:])
        }
    raw = encoding.dumps(fresh)
    if fresh == told or len(raw) > len(body):
        return line
    return raw + b" " * (len(body) - len(raw)) + line[len(body) :]


def without_role(roles: Any, ident: str, name: str, worked: bool) -> Any:
    """A film's roles: the name in place of the account, or nothing. `worked`: on a file, so that the credits
    would have named them."""
    named = False
    if isinstance(roles, dict):  # RFAM's form
        found: dict[str, Any] = {}
        for key, role in roles.items():
            if isinstance(role, dict) and role.get("user") == ident:
                named = True
                role = {**role, "user": name}
            found[key] = role
        if name and worked and not named:
            found["also"] = {"order": len(found) + 1, "role": ALSO, "user": name}
        return found
    if roles is not None and not isinstance(roles, list):
        return roles
    listed = []
    for role in roles or []:
        people = role.get("people") if isinstance(role, dict) else None
        if isinstance(people, list) and ident in people:
            named = True
            kept = [name if one == ident else one for one in people]
            role = {**role, "people": [one for one in dict.fromkeys(kept) if one]}
        listed.append(role)
    if name and worked and not named:
        also = next((role for role in listed if isinstance(role, dict) and role.get("title") == ALSO), None)
        if also is None:
            listed.append({"title": ALSO, "people": [name]})
        else:
            also["people"] = [*also.get("people", []), name]
    return listed if listed or roles is not None else None
