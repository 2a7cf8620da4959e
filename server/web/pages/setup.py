"""The page of setting up: the admin's path, each step with what was found and what mends it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import bottle

from server.disk.errors import NotSignedIn
from server.disk.speech import say as say_later
from server.web.languages import say

if TYPE_CHECKING:
    from server.web.pages.shell import Shell
    from server.web.requests import Call

GLYPHS = {"right": "done", "note": "done", "todo": "waiting", "wrong": "failed"}
WORDS = {
    "right": say_later("Right"),
    "note": say_later("Right"),
    "todo": say_later("To do"),
    "wrong": say_later("Not right"),
}
OF_CHECK = {"right": "done", "note": "needs", "todo": "waiting", "wrong": "failed"}
CODE_LENGTH = 40


def page(shell: Shell, call: Call) -> bottle.HTTPResponse:
    """The steps for an admin; for whoever holds the one-time code the door to them."""
    services = shell.services
    if call.user is None:
        if not services.sessions.code_wanted():
            raise NotSignedIn("Sign in as an admin.")
        code = call.query.get("code", "")[:CODE_LENGTH]
        return shell.page(call, "setup_code.html", title=say("Set Croft up"), here="Sign in", code=code)
    call.require("admin")
    steps = services.setup.steps()
    following = next((step.ident for step in steps if step.state in ("todo", "wrong")), "")
    done = sum(step.state in ("right", "note") for step in steps)
    return shell.page(
        call,
        "setup.html",
        title=say("Setting up"),
        here="Setting up",
        steps=[shown(number, step, following) for number, step in enumerate(steps, 1)],
        summary=say("{done} of {steps} steps are right.", done=done, steps=len(steps)),
        finished=done == len(steps),
        folder=str(services.setup.data),
        named=services.data_named,
        called=services.setup.called() or services.setup.address(),
        backup=str(dict(services.settings.get("backup") or {}).get("path") or ""),
    )


def shown(number: int, step: Any, following: str) -> dict[str, Any]:
    return {
        "number": number,
        "ident": step.ident,
        "title": step.title,
        "about": step.about,
        "glyph": GLYPHS[step.state],
        "word": WORDS[step.state],
        "open": step.ident == following or step.state == "wrong",
        "checks": [{**asdict(check), "glyph": OF_CHECK[check.state]} for check in step.checks],
        "texts": step.texts,
        "short": all("\n" not in text for _, text in step.texts),
    }
