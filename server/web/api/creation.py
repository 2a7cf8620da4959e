"""The API of new files: from their type's template, and what such a file would be called."""

from __future__ import annotations

from server.disk import paths
from server.disk.encoding import quote
from server.disk.speech import say
from server.web.api.saves import quoted, undo
from server.web.api.table import TEXT, Route, ref
from server.web.requests import Answer, Call
from server.web.services import Services

ASKED = {
    "name": (TEXT, "what it is called"),
    "type": (TEXT, "its type"),
    "file": (TEXT, "a file name that a person chose; empty: made from the name"),
}


def create(services: Services, call: Call) -> Answer:
    """`POST /api/assets` with a project, a name and a type."""
    body = call.body
    address = services.creation.create(
        body["project"], body["name"], body["type"], body.get("description", ""), call.require("student"),
        file_name=body.get("file", ""), owner=owner_of(services, body.get("owner")), of=body.get("of", ()),
    )  # fmt: skip
    data = services.assets.one(address)
    data = {**data, "undo": undo("DELETE", f"/api/assets/{quoted(address)}")}
    headers = [("ETag", f'"{data["etag"]}"'), ("Location", "/api/assets/" + quote(address, safe="/:@"))]
    said = say("{name} is made: {path}. Open it in Blender and save.", name=data["name"], path=data["path"])
    return Answer(data, said, 201, headers)


def owner_of(services: Services, asked: str | None) -> str | None:
    """Whose it is to be: `none` is nobody's, unless somebody is called so."""
    return "" if asked == "none" and not services.people.known("none") else asked


def show_file_name(services: Services, call: Call) -> Answer:
    query = call.query
    plan = services.creation.plan(
        call.params["project"], query.get("name", ""), query.get("type", ""), query.get("file", "")
    )
    said = say("{path} is there already. Choose another file name.", path=plan.path)
    free = say("It will be saved as {path}.", path=plan.path)
    data = {"path": plan.path, "address": plan.address, "taken": plan.taken, "name": paths.name_of(plan.path)}
    return Answer(data, said if plan.taken else free)


ROUTES = [
    Route("GET", "/api/projects/{project}/file_name", show_file_name,
          "what a new file would be called", query=ASKED, data=ref("FileName"), errors=(409,), tag="assets"),
]  # fmt: skip
