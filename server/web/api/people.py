"""The API of people: who I am, signing in and out; users, their doors, and what becomes of them."""

from __future__ import annotations

from typing import Any

from server.disk.errors import Forbidden, NotSignedIn
from server.disk.records import Change
from server.disk.speech import Said, count, say
from server.library.people import User, fields_of
from server.library.setup.classlist import free_ident
from server.web.api.table import PAGING, Route, ref
from server.web.requests import Answer, Call, Headers, page_of
from server.web.services import Services

EDITED_ON = {
    "If-Match": "the ETag of the user that the edit was made on; without one it is made on the present"
}


# Being somebody


def session_of(services: Services, call: Call) -> dict[str, Any]:
    user = services.people.view(call.user) if call.user else None
    return {"user": user, "csrf": call.csrf, "via": call.via}


def show_session(services: Services, call: Call) -> Answer:
    text = say("You are {user}.", user=call.user.ident) if call.user else say("Nobody is signed in.")
    return Answer(session_of(services, call), text)


def sign_in(services: Services, call: Call) -> Answer:
    body, sessions = call.body, services.sessions
    address = str(call.environ.get("REMOTE_ADDR", ""))
    headers = []
    if not body.get("code") and not sessions.past_event(call):
        if not body.get("event"):
            raise NotSignedIn(say("Give the event's code first."))
        headers.append(sessions.give_event_code(body["event"], address, secure=call.secure))
    found = {name: body.get(name, "") for name in ("password", "pin", "new_pin", "code")}
    user, cookie = sessions.sign_in(body["user"], address=address, **found)
    sessions.adopt(call, user, cookie)
    headers.append(sessions.cookie_header(cookie, secure=call.secure))
    return Answer(
        session_of(services, call), say("You are signed in as {user}.", user=user.ident), headers=headers
    )


def sign_out(services: Services, call: Call) -> Answer:
    services.sessions.sign_out(call)
    headers = [services.sessions.cookie_header("", secure=call.secure)]
    data = {"user": None, "csrf": "", "via": ""}
    return Answer(data, say("You are signed out."), headers=headers)


# Users


def list_users(services: Services, call: Call) -> Answer:
    everybody = call.query.get("all") == "true"
    users = [user for user in services.people.users() if everybody or not user.disabled]
    rows, following = page_of(users, call.query)
    said = count("{n} user.", "{n} users.", len(users))
    return Answer([services.people.view(user) for user in rows], said, next=following, is_list=True)


def show_user(services: Services, call: Call) -> Answer:
    """All of it to themselves and to those who look after them."""
    user = services.people.user(call.params["user"])
    me = call.require("guest")
    if me.ident != user.ident and not services.sessions.looks_after(me, user):
        return Answer(services.people.view(user), user.title)
    data = services.people.view_whole(user)
    return Answer(data, user.title, headers=[("ETag", f'"{data["etag"]}"')])


def add_user(services: Services, call: Call) -> Answer:
    body = dict(call.body)
    ident = body.pop("id", "") or free_ident(body.get("title", ""), services.people)
    role = body.pop("role", "student")
    user = services.people.add(ident, role, **body)
    return told(services, user, say("{name} is there now.", name=user.title), status=201)


def change_user(services: Services, call: Call) -> Answer:
    me, user = call.require("student"), services.people.user(call.params["user"])
    may = fields_of(me, user)
    if not may or set(call.body) - set(may):
        raise Forbidden(say("You may not change this. Ask an admin."))
    before = services.people.view_whole(user)
    etag = call.header("if-match").strip().removeprefix("W/").strip('"')
    changed = services.people.change(user.ident, call.body, "" if etag == "*" else etag)
    undo = {"method": "PATCH", "path": path_of(user), "body": {key: before[key] for key in call.body}}
    return told(services, changed, say("{name} is changed.", name=changed.title), undo)


def remove_user(services: Services, call: Call) -> Answer:
    user = services.people.user(call.params["user"])
    data = services.people.view(user)
    services.people.remove(user.ident)
    services.events.notify([Change("people", user.ident)])
    undo = {"method": "POST", "path": path_of(user) + "/back", "body": None}
    said = say("{name} is removed. Their files stay, and say whose they were.", name=user.title)
    return Answer({**data, "undo": undo}, said)


def bring_back(services: Services, call: Call) -> Answer:
    user = services.people.bring_back(call.params["user"])
    return told(services, user, say("{name} is back.", name=user.title))


def forget_user(services: Services, call: Call) -> Answer:
    ident = call.params["user"]
    credit = {"keep": True, "remove": False}.get(call.body.get("credits", ""))
    done = services.forgetting.forget(ident, credit=credit)
    services.events.notify([Change("people", ident)])
    said = say("{name} is forgotten. What still names them, and why: {left}", name=ident,
               left=" ".join(done.left))  # fmt: skip
    return Answer(done.view(), said)


# Doors


def set_password(services: Services, call: Call) -> Answer:
    user = check_door(services, call)
    services.people.set_password(user.ident, call.body["password"])
    return door_changed(services, call, user, say("The password is set."))


def set_pin(services: Services, call: Call) -> Answer:
    user = check_door(services, call)
    services.people.set_pin(user.ident, call.body["pin"])
    return door_changed(services, call, user, say("The PIN of {name} is set.", name=user.title))


def open_door(services: Services, call: Call) -> Answer:
    me, user = call.require("supervisor"), services.people.user(call.params["user"])
    if not services.sessions.looks_after(me, user):
        raise Forbidden(say("You may not change this. Ask an admin."))
    services.people.open_door(user.ident)
    if services.settings.get("student_pins") and user.role == "student":
        said = say("{name} chooses a PIN at the next tap.", name=user.title)
    else:
        said = say("{name} signs in by a tap.", name=user.title)
    return door_changed(services, call, user, said)


def check_door(services: Services, call: Call) -> User:
    user, me = services.people.user(call.params["user"]), call.require("student")
    if not services.sessions.may_set_password(me, user):
        raise Forbidden(say("You may not set this password. Ask a supervisor or an admin."))
    if user.ident == me.ident and call.via == "token" and me.role != "admin":
        raise Forbidden(say("A program's token may not change its owner's password: sign in to do that."))
    return user


def door_changed(services: Services, call: Call, user: User, said: Said) -> Answer:
    services.sessions.forgive(user.ident)
    return told(
        services, services.people.user(user.ident), said, headers=fresh_cookie(services, call, user.ident)
    )


def end_sessions(services: Services, call: Call) -> Answer:
    me, user = call.require("student"), services.people.user(call.params["user"])
    if not services.sessions.looks_after(me, user):
        raise Forbidden(say("You may not change this. Ask an admin."))
    services.people.end_sessions(user.ident)
    said = say("{name} is signed out everywhere.", name=user.title)
    if user.ident == me.ident and call.via == "cookie":
        said = say("You are signed out everywhere else.")
    return told(services, user, said, headers=fresh_cookie(services, call, user.ident))


def fresh_cookie(services: Services, call: Call, ident: str) -> Headers:
    """A change of one's own door ended every session: begin a new one in this browser."""
    if call.user is None or call.user.ident != ident or call.via != "cookie":
        return []
    cookie = services.sessions.issue(services.people.user(ident), call.session)
    return [services.sessions.cookie_header(cookie, secure=call.secure)]


def told(
    services: Services, user: User, said: Said, undo: dict[str, Any] | None = None, *, status: int = 200,
    headers: Headers | None = None,
) -> Answer:  # fmt: skip
    """The user as they are now; browsers hear of it."""
    services.events.notify([Change("people", user.ident)])
    data = services.people.view_whole(user)
    return Answer({**data, "undo": undo}, said, status, [*(headers or []), ("ETag", f'"{data["etag"]}"')])


def path_of(user: User) -> str:
    return f"/api/users/{user.ident}"


ALL = {"all": ({"type": "boolean"}, "those who are switched off, too")}
WHOLE = ref("UserWhole")
ROUTES = [
    Route("GET", "/api/session", show_session, "who this request comes from", role="", data=ref("Session"),
          tag="people"),
    Route("POST", "/api/session", sign_in, "sign in: sets the session's cookie", role="", body=ref("SignIn"),
          data=ref("Session"), errors=(429,), tag="people"),
    Route("DELETE", "/api/session", sign_out, "sign out: the session ends", role="", data=ref("Session"),
          tag="people"),
    Route("GET", "/api/users", list_users, "everybody", query={**PAGING, **ALL}, listing=True,
          data=ref("User"), tag="people"),
    Route("POST", "/api/users", add_user, "add somebody", role="admin", body=ref("NewUser"), status=201,
          errors=(409,), data=WHOLE, tag="people"),
    Route("GET", "/api/users/{user}", show_user, "one person; all of them for those who look after them",
          data=ref("User"), tag="people"),
    Route("PATCH", "/api/users/{user}", change_user,
          "change somebody: admins all, supervisors students, everybody their own language and e-mail",
          role="student", body=ref("UserChange"), headers=EDITED_ON, errors=(409, 412), data=WHOLE,
          tag="people"),
    Route("DELETE", "/api/users/{user}", remove_user, "take somebody out; their files stay", role="admin",
          data=ref("UserGone"), errors=(409,), tag="people"),
    Route("POST", "/api/users/{user}/back", bring_back, "take that back", role="admin", errors=(409,),
          data=WHOLE, tag="people"),
    Route("POST", "/api/users/{user}/forget", forget_user,
          "take somebody's name out of everything that Croft wrote, for good", role="admin",
          body=ref("Forget"), data=ref("PersonForgotten"), errors=(409,), tag="people"),
    Route("PUT", "/api/users/{user}/password", set_password,
          "set one's password; supervisors also students', admins anybody's", role="student",
          body=ref("Password"), errors=(409,), data=WHOLE, tag="people"),
    Route("PUT", "/api/users/{user}/pin", set_pin, "set a student's PIN, in place of a password",
          role="student", body=ref("Pin"), errors=(409,), data=WHOLE, tag="people"),
    Route("DELETE", "/api/users/{user}/pin", open_door, "take PIN and password away: a tap is enough",
          role="supervisor", errors=(409,), data=WHOLE, tag="people"),
    Route("DELETE", "/api/users/{user}/sessions", end_sessions, "sign somebody out everywhere",
          role="student", errors=(409,), data=WHOLE, tag="people"),
]  # fmt: skip
