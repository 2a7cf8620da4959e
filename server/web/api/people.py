"""The API of people: who I am, signing in and out, the list of users, one's password."""

from __future__ import annotations

from typing import Any

from server.disk.errors import Forbidden, NotSignedIn
from server.disk.speech import say
from server.web.api.table import PAGING, Route, ref
from server.web.requests import Answer, Call, page_of
from server.web.services import Services


def session_of(services: Services, call: Call) -> dict[str, Any]:
    user = services.people.view(call.user) if call.user else None
    return {"user": user, "csrf": call.csrf, "via": call.via}


def show_session(services: Services, call: Call) -> Answer:
    text = f"You are {call.user.ident}." if call.user else "Nobody is signed in."
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
    return Answer(session_of(services, call), f"You are signed in as {user.ident}.", headers=headers)


def sign_out(services: Services, call: Call) -> Answer:
    services.sessions.sign_out(call)
    headers = [services.sessions.cookie_header("", secure=call.secure)]
    data = {"user": None, "csrf": "", "via": ""}
    return Answer(data, "You are signed out.", headers=headers)


def list_users(services: Services, call: Call) -> Answer:
    users = [user for user in services.people.users() if not user.disabled]
    rows, following = page_of(users, call.query)
    return Answer(
        [services.people.view(user) for user in rows],
        f"{len(users)} users.",
        next=following,
        is_list=True,
    )


def set_password(services: Services, call: Call) -> Answer:
    ident = call.params["user"]
    me = call.require("student")
    if not services.sessions.may_set_password(me, services.people.user(ident)):
        raise Forbidden("You may not set this password. Ask a supervisor or an admin.")
    if ident == me.ident and call.via == "token" and me.role != "admin":
        raise Forbidden("A program's token may not change its owner's password: sign in to do that.")
    services.people.set_password(ident, call.body["password"])
    headers = []
    if ident == me.ident and call.via == "cookie":  # the change ended every session: begin a new one here
        headers = [
            services.sessions.cookie_header(services.sessions.issue(me, call.session), secure=call.secure)
        ]
    return Answer(services.people.view(services.people.user(ident)), "The password is set.", headers=headers)


ROUTES = [
    Route("GET", "/api/session", show_session, "who this request comes from", role="", data=ref("Session"),
          tag="people"),
    Route("POST", "/api/session", sign_in, "sign in: sets the session's cookie", role="", body=ref("SignIn"),
          data=ref("Session"), errors=(429,), tag="people"),
    Route("DELETE", "/api/session", sign_out, "sign out", role="", data=ref("Session"), tag="people"),
    Route("GET", "/api/users", list_users, "everybody", query=PAGING, listing=True, data=ref("User"),
          tag="people"),
    Route("PUT", "/api/users/{user}/password", set_password,
          "set one's password; supervisors also students', admins anybody's", role="student",
          body=ref("Password"), data=ref("User"), tag="people"),
]  # fmt: skip
