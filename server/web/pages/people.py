"""Who are you, and what of you is yours to change: the sign-in page, and My page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bottle

from server.disk.encoding import quote
from server.disk.speech import Said, say
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.people import User
    from server.web.pages.shell import Shell

FACES = 4  # of a team's people, where it has no picture of its own


def error_words(key: str) -> Said | str:
    """What was wrong with the last try; '' for a door that was only shown."""
    return {
        "wrong": say(
            "This name and password, or this code, don’t fit together. Try again, or ask your supervisor."
        ),
        "wait": say("Too many tries. Wait a few minutes, then try again, or ask your supervisor."),
        "event": say("Give the event’s code first."),
        "differ": say("The two PINs differ. Type the same one twice."),
        "pin-wrong": say("This PIN isn’t right. Try again, or ask your supervisor."),
        "pin-form": say("A PIN has four to eight digits, and isn’t one that everybody would try first."),
        "event-wrong": say("This code isn’t right. It stands on the poster, or ask your supervisor."),
    }.get(key, "")


def sign_in(shell: Shell, call: Call) -> bottle.HTTPResponse:
    """The event's code, once; team, then face; then PIN or password where there is one."""
    services, query = shell.services, call.query
    sessions = services.sessions
    past = sessions.past_event(call)
    users = [user for user in services.people.users() if sessions.door(user) != "closed"] if past else []
    teams = teams_of(shell, [user for user in users if not user.at_least("supervisor")])
    chosen = next((user for user in users if user.ident == query.get("user")), None)
    team = next((one for one in teams if one["key"] == query.get("team")), None)
    if team is None and len(teams) == 1:
        team = teams[0]
    goal = safe_next(query.get("next", ""))
    if goal == "/" and team is not None and team["project"]:
        goal = f"/p/{quote(team['project'], safe='')}/home"
    return shell.page(
        call,
        "sign_in.html",
        title=say("Sign in"),
        here="Sign in",
        next=goal,
        past=past,
        teams=teams,
        team=team,
        staff=[user for user in users if user.at_least("supervisor")],
        chosen=chosen,
        door=sessions.door(chosen) if chosen else "",
        doors={user.ident: sessions.door(user) for user in users},
        code_wanted=sessions.code_wanted(),
        error=error_words(query.get("error", "")),
    )


def teams_of(shell: Shell, users: list[User]) -> list[dict[str, Any]]:
    """Those who sign in, by team: the projects that they are in, other teams, and who is in none."""
    people: dict[str, list[User]] = {}
    projects = {project.ident: project for project in shell.services.projects.list()}
    named: dict[str, set[str]] = {}
    for ident, project in projects.items():
        for person in role_people(project.roles):
            named.setdefault(person, set()).add(ident)
    for user in users:
        mine = [ident for ident in projects if ident in user.projects or ident in named.get(user.ident, ())]
        for key in mine or [user.team]:
            people.setdefault(key, []).append(user)
    found = []
    for key, members in people.items():
        team = projects.get(key)
        others = say("Others") if len(people) > 1 else say("Everybody")
        found.append(
            {
                "key": key,
                "project": key if team else "",
                "title": team.title if team else key or others,
                "photo": shell.team_photo(key) if team else "",
                "faces": [shell.person(user.ident) for user in members[:FACES]],
                "people": members,
            }
        )
    return sorted(found, key=lambda one: (not one["key"], not one["project"], str(one["title"]).casefold()))


def role_people(roles: Any) -> set[str]:
    """Everybody whom a project's roles name."""
    entries = list(roles.values()) if isinstance(roles, dict) else list(roles) if roles else []
    found: set[str] = set()
    for entry in entries:
        people = entry.get("people") if isinstance(entry, dict) else getattr(entry, "people", entry)
        names = people if isinstance(people, (list, tuple)) else [people]
        found |= {name for name in names if isinstance(name, str)}
    return found


def me(shell: Shell, call: Call) -> bottle.HTTPResponse:
    """My page: picture, PIN or password, whether the credits may name me, where I am signed in."""
    user = call.require("guest")
    services = shell.services
    projects = {project.ident: project.title for project in services.projects.list()}
    return shell.page(
        call,
        "me.html",
        title=say("My page"),
        here="Me",
        own=services.people.view_whole(user),
        door=services.sessions.door(user),
        may_photo=services.sessions.looks_after(user, user),
        may_door=services.sessions.may_set_password(user, user) and user.at_least("student"),
        teams=[projects.get(ident, ident) for ident in user.projects] or [one for one in [user.team] if one],
        via=call.via,
    )


def safe_next(text: str) -> str:
    """A page of ours to go on to; anything else is the start page."""
    ours = text.startswith("/") and not text.startswith(("//", "/\\")) and not text.startswith("/sign-")
    return text if ours and text.isprintable() and "\\" not in text else "/"
