"""The API of pictures of people and teams. What is sent is taken apart in the helper process that reads all
foreign pictures, and kept as a square of its own pixels alone: no file that somebody sent is ever shown.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from server.disk.errors import BadContent, BadInput, Busy, Forbidden, NotFound
from server.disk.records import Change
from server.disk.speech import say
from server.library.people.photos import KINDS
from server.web.api.table import Route, ref
from server.web.requests import Answer, Call, body_parts
from server.web.services import Services

EDGE = 512  # pixels
MOST_BYTES = 16 << 20  # what a telephone's camera makes
KEPT_S = 86400  # a browser may show a picture that is gone for so long
PASSING = ("dropped", "crash", "time")


def show_photo(services: Services, call: Call) -> Answer:
    """GET /photo/users/ana.1f3c9a5b7d20.jpg: to those who are in, or past the event's code."""
    if call.user is None and not services.sessions.past_event(call):
        raise NotFound(say("There is no such picture."))
    ident, _, rest = call.params["picture"].removesuffix(".jpg").rpartition(".")
    kind = call.params["kind"]
    if kind not in KINDS or not ident:
        raise NotFound(say("There is no such picture."))
    lasting = services.people.photos.url(kind, ident).endswith(f".{rest}.jpg")
    jpeg = services.people.photos.read(kind, ident)
    headers = [
        ("Content-Type", "image/jpeg"),
        ("Content-Length", str(len(jpeg))),
        ("Cache-Control", f"private, max-age={KEPT_S}" if lasting else "no-store"),
    ]
    return Answer(headers=headers, body=[jpeg])


def set_user_photo(services: Services, call: Call) -> Answer:
    user = services.people.user(call.params["user"])
    check_may(services, call, user.ident)
    services.people.photos.keep("users", user.ident, received(services, call))
    services.events.notify([Change("people", user.ident)])
    return Answer(services.people.view(user), say("{name} has a new picture.", name=user.title))


def remove_user_photo(services: Services, call: Call) -> Answer:
    user = services.people.user(call.params["user"])
    check_may(services, call, user.ident)
    services.people.photos.remove("users", user.ident)
    services.events.notify([Change("people", user.ident)])
    return Answer(services.people.view(user), say("The picture of {name} is gone.", name=user.title))


def set_team_photo(services: Services, call: Call) -> Answer:
    project = services.projects.get(call.params["project"])
    services.people.photos.keep("projects", project.ident, received(services, call))
    services.events.notify([Change("people", "")])
    return Answer(services.projects.view(project), say("{name} has a new picture.", name=project.title))


def remove_team_photo(services: Services, call: Call) -> Answer:
    project = services.projects.get(call.params["project"])
    services.people.photos.remove("projects", project.ident)
    services.events.notify([Change("people", "")])
    return Answer(services.projects.view(project), say("The picture of {name} is gone.", name=project.title))


def check_may(services: Services, call: Call, ident: str) -> None:
    me = call.require("student")
    if not services.sessions.looks_after(me, services.people.user(ident)):
        raise Forbidden(say("You may not change this picture. Ask a supervisor or an admin."))


def received(services: Services, call: Call) -> bytes:
    """The picture of the request's body, as it is kept. BadContent where there is none in it."""
    return squared(services, b"".join(body_parts(call.environ, MOST_BYTES)))


def squared(services: Services, raw: bytes) -> bytes:
    """A picture as it is kept: square, small, and told nothing else."""
    if not raw:
        raise BadInput(say("There is no picture in this."), field="photo")
    folder = Path(services.config_dir) / "cache"
    folder.mkdir(exist_ok=True)
    aside = folder / f".photo-{secrets.token_hex(8)}"
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(raw)
        answer = services.media.square(aside, EDGE)
    finally:
        aside.unlink(missing_ok=True)
    if answer.error in PASSING:
        raise Busy(say("The picture couldn't be looked at just now. Try again."), path="photo")
    if answer.error or not answer.content:
        raise BadContent(
            say("That isn't a picture that can be used: take a JPEG, PNG or WebP of usual size."),
            field="photo",
        )
    return answer.content


PHOTO = "image/*"
ROUTES = [
    Route("GET", "/photo/{kind}/{picture}", show_photo, "a picture of a person or a team, JPEG", role="",
          media="image/jpeg", tag="people"),
    Route("PUT", "/api/users/{user}/photo", set_user_photo,
          "one's picture; supervisors also set students', admins anybody's", role="student", stream=PHOTO,
          data=ref("User"), errors=(415, 503), tag="people"),
    Route("DELETE", "/api/users/{user}/photo", remove_user_photo, "remove that picture", role="student",
          data=ref("User"), tag="people"),
    Route("PUT", "/api/projects/{project}/photo", set_team_photo, "a team's picture", role="supervisor",
          stream=PHOTO, data=ref("Project"), errors=(415, 503), tag="people"),
    Route("DELETE", "/api/projects/{project}/photo", remove_team_photo, "remove that picture",
          role="supervisor", data=ref("Project"), tag="people"),
]  # fmt: skip
