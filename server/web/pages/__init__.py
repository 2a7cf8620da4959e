"""The pages that people see. `mount` puts them into the application and gives back what
makes the page of an error.

Each room makes one kind of page; `shell` is what they stand on, `words` and `sheets` are pure. The pages
show what the rooms below tell and change nothing: every change is a call of the API, made by the scripts
in templates/static.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import bottle

from server.disk.encoding import quote
from server.disk.errors import CroftError
from server.disk.speech import say as say_later
from server.web.languages import say
from server.web.pages import (
    admin,
    asset,
    computer,
    computers,
    credits,
    drop,
    figures,
    frame,
    history,
    home,
    job,
    listing,
    new,
    notes,
    people,
    problems,
    projects,
    render,
    rendering,
    saves,
    search,
    setup,
    shots,
    start,
    team,
    tokens,
    users,
)
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.web.services import Services

HEADINGS = {
    400: say_later("That doesn’t fit"),
    401: say_later("Please sign in"),
    403: say_later("That isn’t allowed"),
    404: say_later("There is nothing here"),
    409: say_later("That can’t be done now"),
    503: say_later("Not at the moment"),
    500: say_later("Something went wrong here"),
}

ErrorPage = Callable[[Call, int, str], str]


def mount(app: bottle.Bottle, services: Services) -> ErrorPage:
    """Put the routes of all pages into `app`; gives back what makes the page of an error."""
    shell = Shell(services)
    services.problems.add(shell.templates.problems)
    rows = listing.Listing(shell)

    def call() -> Call:
        """The present request, of somebody who is signed in: a tap is all it takes."""
        found = services.call()
        found.require("guest")
        return found

    def to_home(project: str) -> bottle.HTTPResponse:
        return bottle.HTTPResponse(status=303, headers={"Location": f"/p/{quote(project, safe='')}/home"})

    def named(asked: Call) -> tuple[str, str]:
        """Project and path of a file's page: the framework drops what isn't UTF-8, and a name may not be."""
        _, _, project, _, path = asked.path.split("/", 4)
        return project, path

    routes: dict[str, Callable[..., bottle.HTTPResponse]] = {
        "/": lambda: start.start(shell, services.call()),
        "/mast": lambda: top(shell, call()),
        "/sign-in": lambda: people.sign_in(shell, services.call()),
        "/me": lambda: people.me(shell, call()),
        "/me/tokens": lambda: tokens.page(shell, call()),
        "/admin/users": lambda: users.page(shell, call()),
        "/admin/users/<ident>": lambda ident: users.one(shell, call(), ident),
        "/setup": lambda: setup.page(shell, services.call()),
        "/admin": lambda: admin.page(shell, call()),
        "/admin/configuration": lambda: admin.configuration(shell, call()),
        "/admin/projects": lambda: projects.admin(shell, call()),
        "/computers": lambda: computers.page(shell, call()),
        "/computers/<name>": lambda name: computer.page(shell, call(), call().path.split("/", 2)[2]),
        "/rendering": lambda: rendering.page(shell, call()),
        "/statistics": lambda: figures.page(shell, call()),
        "/p/<project>/statistics": lambda project: figures.page(shell, call(), project),
        "/search": lambda: search.page(shell, call(), rows),
        "/p/<project>/search": lambda project: search.page(shell, call(), rows, project),
        "/problems": lambda: problems.page(shell, call()),
        "/history": lambda: history.page(shell, call()),
        "/p/<project>/history": lambda project: history.page(shell, call(), project),
        "/p/<project>": to_home,
        "/p/<project>/": to_home,
        "/p/<project>/home": lambda project: home.page(shell, call(), project),
        "/p/<project>/team": lambda project: team.page(shell, call(), project),
        "/p/<project>/credits": lambda project: credits.page(shell, call(), project),
        "/p/<project>/credits.txt": lambda project: credits.text(shell, call(), project),
        "/p/<project>/credits.md": lambda project: credits.markdown(shell, call(), project),
        "/p/<project>/shots": lambda project: shots.page(shell, call(), project),
        "/p/<project>/film/gap.svg": lambda project: shots.slate(shell, call(), project),
        "/p/<project>/film/frame/<n>": lambda project, n: shots.to_frame(shell, project, n),
        "/p/<project>/assets": lambda project: rows.page(call(), project),
        "/p/<project>/new": lambda project: new.page(shell, call(), project),
        "/p/<project>/project": lambda project: projects.page(shell, call(), project),
        "/p/<project>/drop": lambda project: drop.page(shell, call(), rows, project),
        "/p/<project>/asset/<path:re:(?s:.+)>": lambda project, path: asset.page(
            shell, call(), *named(call())
        ),
        "/p/<project>/render/<path:re:(?s:.+)>": lambda project, path: render.page(
            shell, call(), *named(call())
        ),
        "/p/<project>/deleted": lambda project: saves.deleted(shell, call(), project),
        "/notes": lambda: notes.page(shell, call()),
        "/p/<project>/notes": lambda project: notes.page(shell, call(), project),
        "/p/<project>/rendering": lambda project: rendering.page(shell, call(), project),
        "/p/<project>/problems": lambda project: problems.page(shell, call(), project),
        "/p/<project>/job/<ident>": lambda project, ident: job.page(shell, call(), project, ident),
        "/p/<project>/job/<ident>/frame/<n>": lambda project, ident, n: frame.page(
            shell, call(), project, ident, n
        ),
        "/p/<project>/job/<ident>/frame/<n>/log": lambda project, ident, n: frame.log(
            shell, call(), project, ident, n
        ),
        "/p/<project>/job/<ident>/frame/<n>/log.txt": lambda project, ident, n: frame.raw(
            shell, project, ident, n, call()
        ),
    }
    for path, callback in routes.items():
        app.route(path, "GET", callback)
    app.route("/me/tokens", "POST", lambda: tokens.change(shell, call()))
    return partial(error_page, shell)


def top(shell: Shell, call: Call) -> bottle.HTTPResponse:
    """The top of a page alone, as it is now: `project` and `here` say of which."""
    ident, here = call.query.get("project", ""), call.query.get("here", "")
    return shell.page(call, "mast.html", title="", here=here, project=shell.project(ident) if ident else None)


def error_page(shell: Shell, call: Call, status: int, message: str) -> str:
    """What went wrong, in the error's own sentence, and where to go on."""
    project = None
    with contextlib.suppress(CroftError):
        parts = call.path.split("/")
        project = shell.project(parts[2]) if len(parts) > 2 and parts[1] == "p" else None
    return shell.render(
        call,
        "error.html",
        title=HEADINGS.get(status, say("That didn’t work")),
        project=project,
        heading=HEADINGS.get(status, say("That didn’t work")),
        message=message,
        status=status,
        back=listing.page_of(project.ident) if project else "/rendering",
        back_words=say("The files of {project}", project=project.title)
        if project
        else say("What is rendering"),
    )
