"""The API of what went wrong: render frames again, leave frames out, forgive computers that failed."""

from __future__ import annotations

from typing import Any

from server.disk.errors import BadInput
from server.disk.speech import count, say
from server.farm import frames
from server.web.api.jobs import allowed
from server.web.api.table import Route, ref
from server.web.requests import Answer, Call
from server.web.services import Services

JOB = "/api/jobs/{id}"
MOST = 100_000  # frames named at once


def requeue(services: Services, call: Call) -> Answer:
    user, ident = allowed(services, call), call.params["id"]
    farm = services.farm
    job = farm.requeue(ident, tasks_of(services, ident, call.body), user.ident)
    return Answer(farm.view(job), say("They are rendered again."))


def skip(services: Services, call: Call) -> Answer:
    """Left out frames can be had again: `undo` says how."""
    user, ident = allowed(services, call), call.params["id"]
    tasks = tasks_of(services, ident, call.body)
    if isinstance(tasks, str):
        raise BadInput("Say which frames are to be left out.", field="tasks")
    job = services.farm.skip(ident, tasks, user.ident)
    undo = {"method": "POST", "path": f"/api/jobs/{ident}/requeue", "body": {"tasks": tasks}}
    said = count("{n} frame is left out.", "{n} frames are left out.", len(set(tasks)))
    return Answer({**services.farm.view(job), "undo": undo}, said)


def tasks_of(services: Services, ident: str, body: dict[str, Any]) -> list[int] | str:
    """The tasks that a person means: by their numbers, by what became of them, or by the frames they make."""
    if "tasks" in body:
        named: list[int] | str = body["tasks"]
        return named
    film = services.farm.film(ident)
    known = frames.parse(film.numbers, max_frames=10**7)
    tasks: dict[int, None] = {}
    for frame in frames.parse(body["frames"], max_frames=MOST):
        if frame not in known:
            raise BadInput("Frame {frame} isn’t among those of this render.", field="frames", frame=frame)
        n = known.index(frame)
        made = range(n * film.tiles, (n + 1) * film.tiles) if film.tiles > 1 else (n // film.chunk,)
        tasks.update(dict.fromkeys(made))
    return list(tasks)


def forgive(services: Services, call: Call) -> Answer:
    user, ident = allowed(services, call), call.params["id"]
    body: dict[str, Any] = call.body or {}
    job = services.farm.forgive(ident, user.ident, body.get("nodes"))
    return Answer(services.farm.view(job), say("Every computer may try its frames again."))


def forgive_node(services: Services, call: Call) -> Answer:
    user, name = call.require("supervisor"), call.params["name"]
    node = services.farm.machines.forgive(name, user.ident)
    return Answer(node, say("{name} may try everything again.", name=name))


ROUTES = [
    Route("POST", JOB + "/requeue", requeue, "render frames again: those that failed, the rest, all, or some",
          role="student", body=ref("Requeue"), data=ref("Job"), errors=(404, 409), tag="jobs"),
    Route("POST", JOB + "/skip", skip, "leave frames out, so that the job can be done without them",
          role="student", body=ref("Chosen"), data=ref("Job"), errors=(404, 409), tag="jobs"),
    Route("POST", JOB + "/forgive", forgive, "let computers that failed at a job try it again at once",
          role="student", body=ref("Forgiven"), data=ref("Job"), errors=(404, 409), tag="jobs"),
    Route("POST", "/api/nodes/{name}/forgive", forgive_node, "a computer was looked after: it may try again",
          role="supervisor", data=ref("Node"), errors=(404, 409), tag="farm"),
]  # fmt: skip
