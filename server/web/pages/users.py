"""People, for those who look after them: the list with its teams, and one person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bottle

from server.disk.speech import Said, say
from server.library.people import fields_of
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.people import User
    from server.web.pages.shell import Shell

LIST = "Ana Schmidt, ana, green\nBen Okafor, ben, green\nCem Öztürk, cem, blue"


def role_words() -> dict[str, Said]:
    return {
        "guest": say("Guest"),
        "student": say("Student"),
        "supervisor": say("Supervisor"),
        "admin": say("Admin"),
    }


def door_words() -> dict[str, tuple[str, Said]]:
    """Glyph and words for each way of signing in."""
    return {
        "tap": ("done", say("by a tap")),
        "pin": ("done", say("by a PIN")),
        "choose": ("waiting", say("chooses a PIN at the first tap")),
        "password": ("done", say("by a password")),
        "closed": ("needs", say("needs a password first")),
        "disabled": ("skipped", say("switched off")),
    }


def page(shell: Shell, call: Call) -> bottle.HTTPResponse:
    """Everybody, filtered by team; adding somebody, a class, a team's picture."""
    me = call.require("supervisor")
    services = shell.services
    everybody = services.people.users()
    projects = services.projects.list()
    titles = {project.ident: project.title for project in projects}
    chosen = call.query.get("team", "")
    return shell.page(
        call,
        "users.html",
        title=say("People"),
        here="People",
        rows=[row(shell, user, titles) for user in everybody if in_team(user, chosen)],
        count=len(everybody),
        chosen=chosen,
        chips=[
            (key, name, sum(in_team(user, key) for user in everybody))
            for key, name in [("", say("Everybody")), *titles.items(), ("-", say("In no team"))]
        ],
        teams=[(project.ident, project.title, shell.team_photo(project.ident)) for project in projects],
        roles=list(role_words().items()),
        admin=me.role == "admin",
        example=LIST,
    )


def in_team(user: User, key: str) -> bool:
    return not key or key in user.projects or (key == "-" and not user.projects)


def row(shell: Shell, user: User, titles: dict[str, str]) -> dict[str, Any]:
    door = "disabled" if user.disabled else shell.services.sessions.door(user)
    glyph, words = door_words()[door]
    return {
        "user": user,
        "role": role_words()[user.role],
        "teams": [titles.get(ident, ident) for ident in user.projects] or [one for one in [user.team] if one],
        "glyph": glyph,
        "door": words,
    }


def one(shell: Shell, call: Call, ident: str) -> bottle.HTTPResponse:
    """One person: who they are, their picture, their teams, how they sign in, and taking them out."""
    me = call.require("supervisor")
    services = shell.services
    user = services.people.user(ident)
    may = fields_of(me, user)
    projects = services.projects.list()
    titles = {project.ident: project.title for project in projects}
    return shell.page(
        call,
        "user.html",
        title=user.title,
        here="People",
        other=user,
        whole=services.people.view_whole(user),
        row=row(shell, user, titles),
        may=may,
        fields=fields(services.people.view_whole(user), may),
        roles=list(role_words().items()) if "role" in may else [],
        door=services.sessions.door(user),
        may_door=services.sessions.may_set_password(me, user),
        may_photo=services.sessions.looks_after(me, user),
        teams=[
            (project.title, project.ident in user.projects, toggled(user, project.ident))
            for project in projects
        ],
        admin=me.role == "admin",
        own=me.ident == user.ident,
    )


def fields(whole: dict[str, Any], may: tuple[str, ...]) -> list[dict[str, Any]]:
    """The fields of text, as the form shows them."""
    words = {
        "title": say("Name, as everybody sees it"),
        "email": say("E-mail"),
        "team": say("Team, of those without a project"),
        "system": say("Login name, where files of theirs come under another"),
    }
    return [{"name": name, "label": words[name], "value": whole[name]} for name in words if name in may]


def toggled(user: User, project: str) -> dict[str, Any]:
    """The change that puts somebody into a team, or out of it."""
    others = [ident for ident in user.projects if ident != project]
    return {"projects": others if project in user.projects else [*others, project]}
