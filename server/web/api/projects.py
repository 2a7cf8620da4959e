"""The API of projects: the list, and one with its words (types, states, priorities)."""

from __future__ import annotations

from server.web.api.table import PAGING, Route, ref
from server.web.requests import Answer, Call, page_of
from server.web.services import Services


def list_projects(services: Services, call: Call) -> Answer:
    projects = services.projects.list()
    rows, following = page_of(projects, call.query)
    views = [services.projects.view(project) for project in rows]
    return Answer(views, f"{len(projects)} projects.", next=following, is_list=True)


def show_project(services: Services, call: Call) -> Answer:
    project = services.projects.get(call.params["project"])
    data = {**services.projects.view(project), "words": services.projects.set_of(project).view()}
    return Answer(data, project.title)


ROUTES = [
    Route("GET", "/api/projects", list_projects, "every project", query=PAGING, listing=True,
          data=ref("Project"), tag="projects"),
    Route("GET", "/api/projects/{project}", show_project, "one project and its words", data=ref("Project"),
          tag="projects"),
]  # fmt: skip
