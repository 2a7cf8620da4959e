"""The first pages: who are you, what is here, what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bottle
from markupsafe import Markup

from server.disk.encoding import quote
from server.web.pages import cards, listing, mine
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import Project

MINE, RENDERING = 12, 3  # rows and renders on a project's home


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
        title="Start",
        here="Home",
        projects=projects,
        first=first,
        seen=seen,
        code_wanted=services.sessions.code_wanted(),
        folders=[shell.folder_for_people(f"{name}::") for name in services.settings.folder("shares")],
    )


def home(shell: Shell, call: Call, rows: listing.Listing, ident: str) -> bottle.HTTPResponse:
    """`/p/<project>/home`: one thing to do, the folder, what is yours, what renders."""
    project = shell.project(ident)
    seen = {"project": True, **steps_seen(shell, project)}
    user = call.user
    owned = shell.services.assets.rows(ident, owner=user.ident, sort="-modified")[:MINE] if user else []
    jobs = shell.services.farm.jobs(project=ident, user=user.ident) if user else []
    opened = mine.by_end(shell, [job for job in jobs if job.state in cards.OPEN])[:RENDERING]
    views = [shell.services.farm.view(job) for job in opened]
    return shell.page(
        call,
        "home.html",
        title=project.title,
        here="Home",
        project=project,
        under=project.address + "/",
        folder=shell.folder_for_people(project.address),
        todo=next_step(shell, call, project, seen),
        seen=seen,
        mine=Markup("".join(rows.rows((row.entry for row in owned), rows.wording(project)))),
        jobs=cards.cards(shell, call, views),
        failures=mine.failures(shell, call, project),
        queue=mine.queue(shell, project, user.ident if user else ""),
        due=mine.deliveries(shell, project),
        priorities=cards.priorities(shell, project),
    )


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
        text = "Tap your team, then your name."
        return {"title": "Say who you are", "text": text, "url": url, "button": "Sign in"}
    if not seen["file"]:
        text = "No files yet. Drop one on the next page, or copy the folder’s address and save into it."
        return {"title": "Add the first file", "text": text, "url": f"{base}/assets", "button": "Add a file"}
    if not seen["render"]:
        scenes = shell.services.assets.rows(project.ident, "kind:scene is:ok", sort="-modified")
        if scenes:
            newest = shell.services.assets.view(scenes[0].entry, project)
            text = f"{newest['name']} is ready: its frame range and camera are read already."
            button = f"Open {newest['name']}"
            return {"title": "Press Render", "text": text, "url": newest["url"], "button": button}
    return None
