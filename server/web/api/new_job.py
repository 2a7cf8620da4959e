"""The agnostic submission: renders as tools ask for them that know nothing of Croft.

`{name, user, params, timestamp}`, and the job's id as the answer. What such a tool says is mapped onto a job
type and its settings; what can't be done as it is asked for is refused, never left out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from server.disk import paths
from server.disk.errors import BadInput, Forbidden, NotFound
from server.farm.job_types import JobTypes
from server.library.people import User
from server.web.api.jobs import IDEMPOTENT, said, submit
from server.web.api.table import TEXT, Handler, Route, ref
from server.web.requests import Answer, Call
from server.web.services import Services

PARAMS = ("scene_file", "out_path", "renderer", "frange", "step", "chunk_size", "xres", "yres", "camera")
ENGINES = {  # as people and as Blender call them
    **{name: name for name in ("cycles", "eevee", "workbench")},
    "eevee-next": "eevee",
    "blender-eevee": "eevee",
    "blender-eevee-next": "eevee",
    "blender-workbench": "workbench",
    "blender-cycles": "cycles",
}


def submit_new_job(services: Services, call: Call) -> Answer:
    user = call.require("student")
    body = dict(call.body)
    owner = owner_of(services, user, body.get("user"))
    request = {**from_params(services, body), "idempotency_key": body.get("idempotency_key")}
    view = submit(services, user, request, call.header("idempotency-key"), owner)
    return Answer(view["id"], said(view), 201, [("Location", f"/api/jobs/{view['id']}")])


def owner_of(services: Services, user: User, asked: str | None) -> str:
    """Whose render it shall be: one's own, or, for supervisors, anybody's."""
    if not asked or asked == user.ident:
        return user.ident
    if not user.at_least("supervisor"):
        raise Forbidden(
            "Only a supervisor may submit for somebody else: you are {user}, not {asked}. Leave user out.",
            user=user.ident,
            asked=repr(asked[:60]),
        )
    if not services.people.known(asked) or services.people.user(asked).disabled:
        raise NotFound("There is nobody called {asked} here.", asked=repr(asked[:60]))
    return asked


def from_params(services: Services, body: dict[str, Any]) -> dict[str, Any]:
    """The agnostic submission's parameters as a request of ours."""
    params = {name: value for name, value in body["params"].items() if value is not None}
    scene = params["scene_file"]
    if paths.SEPARATOR not in scene:
        scene = address_of(services, scene)
    types = services.farm.types
    kind, engine = renderer_of(types, str(params.get("renderer") or ""))
    job_type = types.get(kind) if kind else types.for_file(paths.name_of(scene))
    for name in params:
        if name not in PARAMS and name not in job_type.settings:
            known = list(dict.fromkeys((*PARAMS, *job_type.settings)))
            near = nearest(name, known)
            if near:
                raise BadInput("params has no {name}: did you mean {near}?", name=repr(name[:60]), near=near)
            raise BadInput(
                "params has no {name}: it may have {known}.", name=repr(name[:60]), known=", ".join(known)
            )
    options = {name: value for name, value in params.items() if name in job_type.settings}
    for name in ("chunk_size", "xres", "yres", "camera"):
        if name in params and name not in options:
            raise BadInput(
                "{job_type} has no {name}: leave it out, or ask for another renderer.",
                job_type=job_type.title,
                name=name,
            )
    if engine:
        options["engine"] = engine
    request: dict[str, Any] = {"file": scene, "frames": frames_of(params), "name": body.get("name")}
    if body.get("priority") is not None:
        request["priority"] = body["priority"]
    if kind:
        request["type"] = kind
    if params.get("out_path"):
        request["out_path"] = params["out_path"]
    if options:
        request["parameters"] = options
    return request


def frames_of(params: dict[str, Any]) -> str | None:
    """`frange` and `step` as frames are written here."""
    frames, step = params.get("frange"), params.get("step") or 1
    if step == 1:
        return frames
    if not frames:
        raise BadInput("step needs frange: say which frames.", field="step")
    parts = [part.strip() for part in frames.split(",")]
    return ",".join(f"{p}x{step}" if "-" in p.lstrip("-") and "x" not in p else p for p in parts)


def renderer_of(types: JobTypes, asked: str) -> tuple[str, str]:
    """The job type and Blender's engine that `renderer` means; '' for the usual one of each."""
    plain = asked.strip().lower().replace("_", "-").replace(" ", "-")
    if plain in ("", "blender"):
        return "", ""
    if plain in ENGINES:
        return "", ENGINES[plain]
    known = types.all()
    if plain in known:
        return plain, ""
    begun = [ident for ident in known if ident.startswith(plain + "-")]
    if len(begun) == 1:  # renderman: renderman-alf
        return begun[0], ""
    names = ("blender", "cycles", "eevee", "workbench", *known)
    near = nearest(plain, names)
    if near:
        raise BadInput("There is no renderer {name}: did you mean {near}?", name=repr(asked[:60]), near=near)
    raise BadInput(
        "There is no renderer {name}: there are {known}.", name=repr(asked[:60]), known=", ".join(names)
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like it; '' when none is."""
    return next(iter(difflib.get_close_matches(name.lower(), known, 1, 0.5)), "")


def address_of(services: Services, path: str) -> str:
    """The address of a path on this machine, as tools know files that know no shares."""
    for share in services.store.shares:
        root = str(share.root).rstrip("/") + "/"
        if path.startswith(root) and len(path) > len(root):
            return paths.address(share.name, path[len(root) :])
    raise NotFound(
        "{path} lies on no share: send its address, such as data::demo/shots/sh010.blend.", path=path[:200]
    )


def submit_elsewhere(services: Services, call: Call) -> Answer:
    """The same under the addresses that tools of other farms know."""
    return submit_new_job(services, call)


def _route(path: str, summary: str, does: Handler = submit_elsewhere) -> Route:
    return Route("POST", path, does, summary, role="student", body=ref("NewJob"), data=TEXT,
                 status=201, errors=(404, 409, 415), headers=IDEMPOTENT, tag="jobs")  # fmt: skip


ROUTES = [
    _route(
        "/api/new_job", "submit a render by the agnostic parameters; its id is the answer", submit_new_job
    ),
    _route("/api/jobs/", "the same, for tools that end it in a slash"),
    _route("/new_job", "the same, for tools that know no /api"),
]
