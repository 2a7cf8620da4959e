"""The first pages: who are you, what is here, what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bottle

from server.disk.encoding import quote
from server.disk.speech import say
from server.library import tasks
from server.web.pages import sheets
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import Project


def start(shell: Shell, call: Call) -> bottle.HTTPResponse:
    """`/`: the four steps for a newcomer; the projects for those who are in."""
    services = shell.services
    projects = services.projects.list()
    first = projects[0] if projects else None
    seen = {"project": bool(projects), "file": False, "render": False}
    if first is not None:
        seen |= steps_seen(shell, first)
    return shell.page(
        call,
        "start.html",
        title=say("Start"),
        here="Home",
        projects=[tile(shell, call, project) for project in projects] if call.user else [],
        first=first,
        seen=seen,
        code_wanted=services.sessions.code_wanted(),
        folders=[shell.folder_for_people(f"{name}::") for name in services.settings.folder("shares")],
    )


def tile(shell: Shell, call: Call, project: Project) -> dict[str, str]:
    """A project as one chooses it: by the team's photo or its newest frame, and what one has to do there."""
    services, user = shell.services, call.user.ident if call.user else ""
    picture = shell.team_photo(project.ident)
    if not picture and (found := services.farm.figures.newest_frame(project.ident)) is not None:
        picture = sheets.pictures(services.farm.view(found[0]).get("newest") or {})["thumbnail"]
    task = services.tasks.of(project).primary(user)
    return {
        "ident": project.ident,
        "title": project.title,
        "description": project.description,
        "picture": picture,
        "task": tasks.name_of(task) if task is not None else "",
    }


def steps_seen(shell: Shell, project: Project) -> dict[str, bool]:
    """Which of a newcomer's steps somebody has done in this project."""
    return {
        "file": shell.services.assets.count(project.ident) > 0,
        "render": bool(shell.services.farm.jobs(project=project.ident)),
    }


def next_step(shell: Shell, call: Call, project: Project, seen: dict[str, bool]) -> dict[str, Any] | None:
    """The one thing to do now."""
    base = f"/p/{quote(project.ident, safe='')}"
    if call.user is None:
        url = f"/sign-in?next={quote(call.path)}"
        text = say("Tap your team, then your name.")
        return {"title": say("Say who you are"), "text": text, "url": url, "button": say("Sign in")}
    if not call.user.at_least("student"):
        return None  # who only looks has nothing to do
    if not seen["file"]:
        text = say("No files yet. Drop one on the next page, or copy the folder’s address and save into it.")
        title, button = say("Add the first file"), say("Add a file")
        return {"title": title, "text": text, "url": f"{base}/assets", "button": button}
    if not seen["render"]:
        scenes = shell.services.assets.rows(project.ident, "kind:scene is:ok", sort="-modified")
        if scenes:
            newest = shell.services.assets.view(scenes[0].entry, project)
            name = newest["name"]
            text = say("{name} is ready: its frame range and camera are read already.", name=name)
            button = say("Open {name}", name=name)
            return {"title": say("Press Render"), "text": text, "url": newest["url"], "button": button}
    return None
