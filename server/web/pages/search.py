"""Search over everything, in groups: files by project, people, projects, what was said, renders."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import bottle
from markupsafe import Markup

from server.disk import paths
from server.disk.encoding import quote, shown
from server.disk.speech import Said, count, say
from server.web import finding
from server.web.finding import Found
from server.web.pages import sheets, words
from server.web.pages.listing import Listing, page_of
from server.web.pages.shell import Shell
from server.web.requests import Call

SHOWN = 12  # of each kind
NOTE_MOST = 300  # characters of a note


def page(shell: Shell, call: Call, rows: Listing, ident: str = "") -> bottle.HTTPResponse:
    """`/search?q=` and `/p/<project>/search?q=`."""
    project = shell.project(ident) if ident else None
    text = call.query.get("q", "").strip()
    found = finding.find(shell.services, text, project, SHOWN)
    return shell.page(
        call,
        "search.html",
        title=say("Search in {project}", project=project.title) if project else say("Search"),
        here="Search",
        project=project,
        text=text,
        summary=summary(text, found),
        files=[files(shell, rows, one, found, text) for one in found.files],
        people=[
            {"ident": user.ident, "title": user.title, "url": person_url(shell, project, user.ident)}
            for user in found.people.first
        ],
        people_total=found.people.total,
        projects=[
            {
                "title": one.title,
                "description": one.description,
                "url": f"/p/{quote(one.ident, safe='')}/home",
            }
            for one in found.projects.first
        ],
        projects_total=found.projects.total,
        notes=[said(shell, note) for note in found.notes.first],
        notes_total=found.notes.total,
        renders=[render(shell, job) for job in found.renders.first],
        renders_total=found.renders.total,
        everywhere="/search?" + urlencode({"q": text}) if project and text else "",
    )


def summary(text: str, found: Found) -> Said:
    """One sentence, also for those who hear the page."""
    if not text:
        return say("Type a word: a file’s name, a person, something that was said.")
    if not found.total:
        return say("Nothing fits “{text}”.", text=text)
    return count("{n} thing fits “{text}”.", "{n} things fit “{text}”.", found.total, text=text)


def files(shell: Shell, rows: Listing, ident: str, found: Found, text: str) -> dict[str, Any]:
    """The files of one project that fit, as rows; the page of all of them."""
    project, group = shell.project(ident), found.files[ident]
    return {
        "title": project.title,
        "rows": Markup("".join(rows.rows(group.first, rows.wording(project)))),
        "total": group.total,
        "more": group.total - len(group.first),
        "url": f"{page_of(ident)}?{urlencode({'q': text, 'files': '1'})}",
    }


def person_url(shell: Shell, project: Any, user: str) -> str:
    """What a person does: their files, in this project or the first that has some."""
    projects = [project] if project is not None else shell.services.projects.list()
    theirs = (one for one in projects if shell.services.assets.rows(one.ident, owner=user))
    where = next(theirs, projects[0] if projects else None)
    return f"{page_of(where.ident)}?{urlencode({'owner': user})}" if where is not None else "/"


def said(shell: Shell, note: Any) -> dict[str, Any]:
    """A note, with the page of its file."""
    project = shell.services.projects.of(note.address)
    text = note.text if len(note.text) <= NOTE_MOST else note.text[:NOTE_MOST].rstrip() + "…"
    return {
        "text": text,
        "who": note.who,
        "who_title": shell.titles().get(note.who, note.who) or say("somebody"),
        "when": words.when(note.at, shell.now()),
        "file": shown(paths.name_of(note.address)),
        "url": sheets.asset_page(project.ident, note.address) if project is not None else "",
    }


def render(shell: Shell, job: Any) -> dict[str, Any]:
    """A render, with its page and how far it is."""
    view = shell.services.farm.view(job)
    glyph, word = words.JOB_STATES[str(view["state"])]
    about = sheets.about(view, shell.now(), shell.titles())
    return {"name": view["name"], "url": sheets.page_of(view), "glyph": glyph, "word": word, "about": about}
