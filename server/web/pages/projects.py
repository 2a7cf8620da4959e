"""What a project is: title, licence, set, roles, what others made of it; and the list of all projects."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import bottle

from server.disk import paths
from server.disk.encoding import quote
from server.disk.speech import count, say
from server.library.projects import changes, sets
from server.web.pages.history import APPROVERS
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.people import User
    from server.library.projects import External, Project, Role

LICENCES = ("CC0 1.0", "CC BY 4.0", "CC BY-SA 4.0", "CC BY-NC 4.0", "CC BY-NC-SA 4.0", "All rights reserved")
ENGINES = {"CYCLES": "Cycles", "BLENDER_EEVEE": "EEVEE", "BLENDER_WORKBENCH": "Workbench"}


def page(shell: Shell, call: Call, ident: str) -> bottle.HTTPResponse:
    """One project, every field of which saves itself."""
    project, user = shell.project(ident), call.user
    services = shell.services
    words = shell.wording(project)
    api = f"/api/projects/{quote(project.ident, safe='')}"
    found = services.projects.sets()
    return shell.page(
        call,
        "project.html",
        title=say("Project"),
        here="Project",
        project=project,
        api=api,
        etag=project.etag,
        may=user is not None and changes.may_change(user, project),
        boss=user is not None and user.at_least("supervisor"),
        sets=offered(sets.titles(found.values()), project.set, sets.find(found, project.set)),
        priorities=sorted(words.priorities.items(), reverse=True),
        approvers=list(APPROVERS.items()),
        about_set=about(shell, project),
        own_set=services.store.index.get(paths.join(project.address, paths.SET_FILE)) is not None,
        roles=[role(api, one, place, len(project.roles)) for place, one in enumerate(project.roles)],
        external=[external(api, one) for one in project.external],
        people=team(shell, project, user),
        licences=LICENCES,
        folder=shell.folder_for_people(project.address),
    )


def offered(
    known: list[tuple[str, str]], named: str, found: sets.AssetSet | None
) -> list[tuple[str, str, bool]]:
    """Value, title and whether it is chosen; RFAM's name for a set of ours stands for that set."""
    chosen = found.ident if found is not None else named
    rows = [(ident, title, ident == chosen) for ident, title in known]
    return rows if found is not None else [*rows, (named, named, True)]


def about(shell: Shell, project: Project) -> str:
    """What the project's set means for its new files."""
    words = shell.wording(project)
    width, height = words.resolution
    if not width:
        return say("New files are as large as their templates.")
    return say(
        "New files are {width} × {height} pixels large, {fps} frames a second, rendered by {engine}.",
        width=str(width), height=str(height), fps=words.fps or "24",
        engine=ENGINES.get(words.engine, words.engine or "Blender"),
    )  # fmt: skip


def role(api: str, one: Role, place: int, whole: int) -> dict[str, Any]:
    url = f"{api}/roles/{quote(one.id, safe='')}"
    return {
        "id": one.id,
        "title": one.title,
        "etag": one.etag,
        "url": url,
        "people": [(ident, f"PATCH {url} {json.dumps({'remove': ident})}") for ident in one.people],
        "up": f'PATCH {url} {{"move": -1}}' if place else "",
        "down": f'PATCH {url} {{"move": 1}}' if place + 1 < whole else "",
    }


def external(api: str, one: External) -> dict[str, Any]:
    return {**one.view(), "etag": one.etag, "url": f"{api}/external/{quote(one.id, safe='')}"}


def team(shell: Shell, project: Project, user: User | None) -> list[tuple[str, str]]:
    """Who may have a role: the project's people first, then everybody else."""
    titles = shell.titles()
    own = {one.ident for one in shell.services.people.users() if project.ident in one.projects}
    return sorted(titles.items(), key=lambda pair: (pair[0] not in own, pair[1].casefold()))


def admin(shell: Shell, call: Call) -> bottle.HTTPResponse:
    """Every project: what it is called, where it lies, how much is in it; and a new one."""
    user = call.require("supervisor")
    services = shell.services
    projects = services.projects.list()
    users = services.people.users()
    return shell.page(
        call,
        "projects.html",
        title=say("Projects"),
        here="Admin",
        rows=[
            {
                "ident": project.ident,
                "url": f"/p/{quote(project.ident, safe='')}/project",
                "title": project.title,
                "folder": shell.folder_for_people(project.address) if project.here else project.address,
                "here": project.here,
                "set": services.projects.set_of(project).title,
                "files": services.assets.count(project.ident),
                "people": sum(project.ident in one.projects for one in users),
                "photo": shell.team_photo(project.ident),
            }
            for project in projects
        ],
        summary=count("{n} project", "{n} projects", len(projects)),
        sets=sets.titles(services.projects.sets().values()),
        default=sets.DEFAULT_SET,
        admin=user.role == "admin",
    )
