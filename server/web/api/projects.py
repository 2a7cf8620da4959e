"""The API of projects: the list, one with its words, new ones; roles, and what they have from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from server.disk.encoding import quote
from server.disk.speech import count, say
from server.library.projects import Project, changes
from server.web.api.saves import undo
from server.web.api.table import PAGING, Route, ref
from server.web.requests import Answer, Call, Headers, page_of
from server.web.services import Services

EDITED_ON = {"If-Match": "the ETag of the project that the edit was made on"}


def list_projects(services: Services, call: Call) -> Answer:
    projects = services.projects.list()
    rows, following = page_of(projects, call.query)
    views = [services.projects.view(project) for project in rows]
    said = count("{n} project.", "{n} projects.", len(projects))
    return Answer(views, said, next=following, is_list=True)


def show_project(services: Services, call: Call) -> Answer:
    project = services.projects.get(call.params["project"])
    data = {**services.projects.view(project), "words": services.projects.set_of(project).view()}
    return Answer(data, project.title, headers=etag_of(project))


def list_sets(services: Services, call: Call) -> Answer:
    found = sorted(services.projects.sets().values(), key=lambda one: one.title.casefold())
    rows, following = page_of(found, call.query)
    said = count("{n} configuration set.", "{n} configuration sets.", len(found))
    return Answer([one.view() for one in rows], said, next=following, is_list=True)


def create_project(services: Services, call: Call) -> Answer:
    body = call.body
    project = services.projects.create(
        body["title"], call.require("admin"), ident=body.get("id", ""), set=body.get("set", "")
    )
    said = say("{title} is made, with a folder for each kind of file.", title=project.title)
    return Answer(services.projects.view(project), said, 201, etag_of(project))


def change_project(services: Services, call: Call) -> Answer:
    user, body, sets = call.require("student"), call.body, services.projects.sets()
    project, _ = services.projects.change(
        call.params["project"],
        lambda data, now: (changes.fields(data, body, user, sets), None),
        user,
        named(call),
    )
    said = say("{title} is changed.", title=project.title)
    return Answer(services.projects.view(project), said, headers=etag_of(project))


def add_role(services: Services, call: Call) -> Answer:
    return add(services, call, changes.add_role, "roles")


def change_role(services: Services, call: Call) -> Answer:
    return change(services, call, changes.change_role)


def remove_role(services: Services, call: Call) -> Answer:
    return remove(services, call, changes.remove_role, "roles")


def add_external(services: Services, call: Call) -> Answer:
    return add(services, call, changes.add_external, "external")


def change_external(services: Services, call: Call) -> Answer:
    return change(services, call, changes.change_external)


def remove_external(services: Services, call: Call) -> Answer:
    return remove(services, call, changes.remove_external, "external")


def add(services: Services, call: Call, make: Callable[..., Any], what: str) -> Answer:
    body = call.body
    project, one = services.projects.change(
        call.params["project"], lambda data, now: make(data, now, body), call.require("student")
    )
    view = one.view()
    back = undo("DELETE", f"{path_of(project)}/{what}/{quote(one.id, safe='')}")
    said = say("{name} is added.", name=view.get("name") or view["title"])
    return Answer({**view, "etag": one.etag, "undo": back}, said, 201, [("ETag", f'"{one.etag}"')])


def change(services: Services, call: Call, make: Callable[..., Any]) -> Answer:
    body, ident, etag = call.body, call.params["id"], named(call)
    _, one = services.projects.change(
        call.params["project"], lambda data, now: make(data, now, ident, body, etag), call.require("student")
    )
    return Answer({**one.view(), "etag": one.etag}, say("Saved."), headers=[("ETag", f'"{one.etag}"')])


def remove(services: Services, call: Call, make: Callable[..., Any], what: str) -> Answer:
    ident = call.params["id"]
    project, gone = services.projects.change(
        call.params["project"], lambda data, now: make(data, now, ident), call.require("student")
    )
    back = undo("POST", f"{path_of(project)}/{what}", {key: gone[key] for key in gone if gone[key] != ""})
    said = say("{name} is taken away.", name=gone.get("name") or gone.get("title", ""))
    return Answer({"undo": back}, said)


def named(call: Call) -> str | None:
    """The ETag that the edit was made on; None for one that is made on the present."""
    asked = call.header("if-match").strip().removeprefix("W/").strip('"')
    return asked if asked not in ("", "*") else None


def path_of(project: Project) -> str:
    return f"/api/projects/{quote(project.ident, safe='')}"


def etag_of(project: Project) -> Headers:
    return [("ETag", f'"{project.etag}"')] if project.etag else []


ROLE, EXTERNAL = "/api/projects/{project}/roles", "/api/projects/{project}/external"
ROUTES = [
    Route("GET", "/api/projects", list_projects, "every project", query=PAGING, listing=True,
          data=ref("Project"), tag="projects"),
    Route("POST", "/api/projects", create_project, "a new project, with its folders", role="admin",
          body=ref("NewProject"), data=ref("Project"), status=201, errors=(409,), tag="projects"),
    Route("GET", "/api/projects/{project}", show_project, "one project and its words", data=ref("Project"),
          tag="projects"),
    Route("PATCH", "/api/projects/{project}", change_project, "change what is said of a project",
          role="student", body=ref("ProjectChange"), data=ref("Project"), headers=EDITED_ON,
          errors=(409, 412), tag="projects"),
    Route("POST", ROLE, add_role, "add a role", role="student", body=ref("NewRole"), data=ref("Role"),
          status=201, errors=(409,), tag="projects"),
    Route("PATCH", ROLE + "/{id}", change_role, "change a role, its people or its place", role="student",
          body=ref("RoleChange"), data=ref("Role"), headers=EDITED_ON, errors=(409, 412), tag="projects"),
    Route("DELETE", ROLE + "/{id}", remove_role, "take a role away", role="student", data=ref("TakenAway"),
          errors=(409,), tag="projects"),
    Route("POST", EXTERNAL, add_external, "add something that others made", role="student",
          body=ref("NewExternal"), data=ref("External"), status=201, errors=(409,), tag="projects"),
    Route("PATCH", EXTERNAL + "/{id}", change_external, "change what is said of it", role="student",
          body=ref("ExternalChange"), data=ref("External"), headers=EDITED_ON, errors=(409, 412),
          tag="projects"),
    Route("DELETE", EXTERNAL + "/{id}", remove_external, "take it away", role="student",
          data=ref("TakenAway"), errors=(409,), tag="projects"),
    Route("GET", "/api/sets", list_sets, "every configuration set", query=PAGING, listing=True,
          data=ref("Set"), tag="projects"),
]  # fmt: skip
