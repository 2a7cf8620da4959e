"""What people may change of a project, checked; and the change itself on what `project.json` says. Pure.

Keys that Croft doesn't know stay where they are. Roles and external assets are written as lists, in Croft's
form, the first time one of them is changed; until then RFAM's stay as they are.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from server.disk.errors import BadInput, Conflict, Forbidden, NotFound, Stale
from server.disk.speech import say

from ..people import User
from .approving import APPROVE_BY
from .record import External, Project, Role, read_project

LIMITS = {"title": 200, "description": 20_000, "licence": 500, "set": 200, "approve_by": 100}
SUPERVISORS = ("set", "render_priority", "approve_by")  # fields that students can't set
LISTS = ("roles", "external")
TOLD = frozenset((*LIMITS, *LISTS, "render_priority"))
EXTERNAL_LIMITS = {"name": 200, "description": 20_000, "licence": 500, "origin": 2000, "author": 500}
LIST_MOST = 500  # roles, external assets
PEOPLE_MOST = 200  # of one role
RFAM_KEYS = {"licence": "license", "set": "default"}  # written where the file has RFAM's alone

Data = dict[str, Any]


def may_change(user: User, project: Project) -> bool:
    """Whether somebody may change what is said of a project: students of other teams may not."""
    mine = not user.projects or project.ident in user.projects
    return user.at_least("supervisor") or (user.at_least("student") and mine)


def fields(data: Data, changes: Mapping[str, Any], user: User, sets: Mapping[str, Any]) -> Data:
    """Title, description, licence, set, priority. BadInput, Forbidden."""
    found = dict(data)
    for field, value in changes.items():
        if field in SUPERVISORS and not user.at_least("supervisor"):
            raise Forbidden(say("Only a supervisor may change this."), field=field)
        if field == "render_priority":
            found[field] = value
            continue
        text = _text(field, value, LIMITS[field])
        if field == "approve_by" and text and text not in APPROVE_BY:
            known = " or ".join(APPROVE_BY)
            raise BadInput(say("Who may approve is {known}.", known=known), field=field)
        if field == "title" and not text:
            raise BadInput(say("Give it a title."), field=field)
        if field == "set" and text not in sets:
            raise BadInput(say("There is no configuration set {name}.", name=text[:60]), field=field)
        theirs = RFAM_KEYS.get(field, field)
        found[theirs if theirs in found and field not in found else field] = text
    return found


def told(project: Project) -> Data:
    """What a history tells of a project's changes, and takes back."""
    return {field: value for field, value in project.view().items() if field in TOLD}


def set_back(
    data: Data, project: Project, said: Mapping[str, Any], user: User, sets: Mapping[str, Any]
) -> Data:
    """What a change said (field -> before, after) taken back. Conflict where it was changed again since."""
    now = told(project)
    if not TOLD.issuperset(said):
        raise BadInput(say("This can't be undone."))
    for field, (_, after) in said.items():
        if now.get(field) != after:
            again = say("'{field}' was changed again since: nothing was undone.", field=field)
            raise Conflict(again, field=field)
    plain = {field: change[0] for field, change in said.items() if field not in LISTS}
    data = fields(data, plain, user, sets)
    before = read_project("", "", {field: said[field][0] for field in LISTS if field in said}, True)
    if "roles" in said:
        data = _with_roles(data, before.roles)
    return _with_external(data, before.external) if "external" in said else data


def add_role(data: Data, project: Project, body: Mapping[str, Any]) -> tuple[Data, Role]:
    """A role at the end, or where `at` says; with its `id` where it comes back."""
    role = _role(Role(_ident(body, project.roles), ""), body)
    return _with_roles(data, _placed(project.roles, role, body)), role


def change_role(
    data: Data, project: Project, ident: str, body: Mapping[str, Any], etag: str | None = None
) -> tuple[Data, Role]:
    """Its title, its people, its place: `add`, `remove` one person; `move` it up (-1) or down (1). Stale."""
    roles = list(project.roles)
    place = _place(roles, ident)
    _check_fresh(roles[place], etag)
    role = roles[place] = _role(roles[place], body)
    step = place + int(body.get("move") or 0)
    if 0 <= step < len(roles):
        roles.insert(step, roles.pop(place))
    return _with_roles(data, roles), role


def remove_role(data: Data, project: Project, ident: str) -> tuple[Data, Data]:
    """What is left, and what would put it back."""
    roles = list(project.roles)
    place = _place(roles, ident)
    gone = roles.pop(place)
    return _with_roles(data, roles), {**gone.view(), "at": place}


def add_external(data: Data, project: Project, body: Mapping[str, Any]) -> tuple[Data, External]:
    """Something that others made, at the end or where `at` says."""
    made = _external(External(_ident(body, project.external), ""), body)
    if not made.name:
        raise BadInput(say("Give it a name."), field="name")
    return _with_external(data, _placed(project.external, made, body)), made


def change_external(
    data: Data, project: Project, ident: str, body: Mapping[str, Any], etag: str | None = None
) -> tuple[Data, External]:
    """Its name, author, licence, origin, description, files. Stale."""
    found = list(project.external)
    place = _place(found, ident)
    _check_fresh(found[place], etag)
    found[place] = _external(found[place], body)
    return _with_external(data, found), found[place]


def remove_external(data: Data, project: Project, ident: str) -> tuple[Data, Data]:
    """What is left, and what would put it back."""
    found = list(project.external)
    place = _place(found, ident)
    gone = found.pop(place)
    return _with_external(data, found), {**gone.view(), "at": place}


def _check_fresh(one: Role | External, etag: str | None) -> None:
    if etag is not None and etag != one.etag:
        record = {**one.view(), "etag": one.etag}
        raise Stale(say("Somebody else changed this meanwhile."), etag=one.etag, record=record)


def _role(role: Role, body: Mapping[str, Any]) -> Role:
    people = tuple(body.get("people", role.people))
    if body.get("add"):
        people = (*people, body["add"])
    people = tuple(dict.fromkeys(one for one in people if one and one != body.get("remove")))
    if len(people) > PEOPLE_MOST:
        raise BadInput(say("A role holds {n} people at most.", n=PEOPLE_MOST), field="people")
    title = _text("title", body.get("title", role.title), LIMITS["title"])
    if not title:
        raise BadInput(say("Give the role a name."), field="title")
    return replace(role, title=title, people=tuple(_text("people", one, 200) for one in people))


def _external(one: External, body: Mapping[str, Any]) -> External:
    said = {
        field: _text(field, body[field], most) for field, most in EXTERNAL_LIMITS.items() if field in body
    }
    files = tuple(_text("files", file, 4000) for file in body.get("files", one.files))
    return replace(one, **said, files=files)


def _text(field: str, value: Any, most: int) -> str:
    if not isinstance(value, str):
        raise BadInput(say("This must be text."), field=field)
    text = value.strip()
    if len(text) > most:
        raise BadInput(say("This is longer than {n} characters.", n=most), field=field)
    if any(ord(c) < 32 and c not in "\n\t\r" for c in text):
        raise BadInput(say("This holds characters that can’t be seen."), field=field)
    if field not in ("description", "origin") and ("\n" in text or "\r" in text):
        raise BadInput(say("This must be one line."), field=field)
    return text


def _ident(body: Mapping[str, Any], known: Any) -> str:
    asked = str(body.get("id") or "")
    taken = {one.id for one in known}
    if len(taken) >= LIST_MOST:
        raise BadInput(say("There are {n} already: that is the most.", n=LIST_MOST), field="id")
    return asked if asked and asked not in taken else secrets.token_hex(4)


def _placed(known: tuple[Any, ...], one: Any, body: Mapping[str, Any]) -> list[Any]:
    found = list(known)
    at = body.get("at")
    found.insert(len(found) if at is None else min(max(int(at), 0), len(found)), one)
    return found


def _place(known: list[Any], ident: str) -> int:
    for place, one in enumerate(known):
        if one.id == ident:
            return place
    raise NotFound(say("It is gone already: somebody took it away."), id=ident)


def _with_roles(data: Data, roles: Any) -> Data:
    return {**data, "roles": [role.view() for role in roles]}


def _with_external(data: Data, external: Any) -> Data:
    """Under Croft's key; RFAM's goes, or there would be two."""
    made = [{key: value for key, value in one.view().items() if value} for one in external]
    return {**{key: value for key, value in data.items() if key != "ext_assets"}, "external": made}


Change = Callable[[Data, Project], tuple[Data, Any]]
