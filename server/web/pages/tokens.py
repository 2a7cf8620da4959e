"""Tokens of one's own programs: made, shown once, revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import bottle

from server.disk.errors import BadInput, Forbidden, NotFound
from server.disk.speech import say
from server.library.people.tokens import SCOPES
from server.web.pages import words
from server.web.requests import Call

if TYPE_CHECKING:
    from server.web.pages.shell import Shell

DAYS = (1, 7, 30, 90, 365)
USUAL_DAYS = 30
MOST = 50  # of one person
LONGEST_TITLE = 100


def page(shell: Shell, call: Call, made: str = "", notice: str = "") -> bottle.HTTPResponse:
    """One's own tokens. `made`: one that is shown now and never again."""
    user = call.require("student")
    found = [token for token in shell.services.people.tokens() if token["user"] == user.ident]
    now = shell.now()
    rows = [
        {
            **token,
            "made": words.when(token["created"], now),
            "until": words.when(token["expires"], now) if token["expires"] else "",
            "over": (ends := words.moment(token["expires"])) is not None and ends <= now,
        }
        for token in sorted(found, key=lambda token: str(token["created"]), reverse=True)
    ]
    text = shell.render(
        call,
        "tokens.html",
        title=say("Tokens for programs"),
        here="Me",
        tokens=rows,
        made=made,
        notice=notice,
        days=DAYS,
        usual=USUAL_DAYS,
        may_make=call.via == "cookie",
    )
    headers = {"Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"}
    return bottle.HTTPResponse(text.encode("utf-8", "replace"), 200, headers)


def change(shell: Shell, call: Call) -> bottle.HTTPResponse:
    """The page's forms: a new token, or one that is revoked. No token makes others: a person does."""
    user, form = call.require("student"), call.form()
    if call.via != "cookie":
        raise Forbidden("Tokens are made by whoever is signed in with a browser, not by another token.")
    people = shell.services.people
    own = [token["id"] for token in people.tokens() if token["user"] == user.ident]
    if "revoke" in form:
        if form["revoke"] not in own:
            raise NotFound("This token is unknown or was revoked.")
        people.revoke(form["revoke"])
        return page(shell, call, notice=say("It is revoked: a program that has it is refused from now on."))
    title, scope, days = form.get("title", "").strip(), form.get("scope", ""), form.get("days", "")
    if not title or len(title) > LONGEST_TITLE or not title.isprintable():
        raise BadInput("Say what the token is for, in at most {most} characters.", most=LONGEST_TITLE)
    if scope not in SCOPES or days not in map(str, DAYS):
        raise BadInput("Choose what it may do, and for how long.")
    if len(own) >= MOST:
        raise BadInput("You have {most} tokens: revoke some that nobody uses.", most=MOST)
    made = people.make_token(user=user.ident, scope=scope, title=title, lasts_s=int(days) * 86_400.0)
    return page(shell, call, made=made)
