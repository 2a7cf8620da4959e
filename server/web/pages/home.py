"""A project's home: what failed, the one thing to do and all about it, whom to support, what comes next, what
is rendered, and what happened since the last visit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bottle

from server.disk.encoding import quote
from server.disk.errors import CroftError
from server.disk.records import Entry
from server.library import tasks
from server.web.pages import cards, listing, mine, sheets, visits, words
from server.web.pages.shell import Shell
from server.web.pages.start import next_step, steps_seen
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import AssetSet, Project

RENDERING = 3  # renders of mine
NEXT = 24  # tasks after the first
SUPPORT = 12  # cards
FREE = 6  # that anybody may take


def page(shell: Shell, call: Call, ident: str) -> bottle.HTTPResponse:
    """`/p/<project>/home`."""
    project = shell.project(ident)
    if call.query.get("seen"):
        return visits.caught_up(call, project, shell.services.clock())
    seen = {"project": True, **steps_seen(shell, project)}
    user = call.user.ident if call.user else ""
    work = shell.services.tasks.of(project)
    own = work.of(user)
    jobs = shell.services.farm.jobs(project=ident, user=user) if user else []
    opened = mine.by_end(shell, [job for job in jobs if job.state in cards.OPEN])[:RENDERING]
    since = visits.since(call, shell.services.clock())
    task = in_full(shell, project, own[0]) if own else None
    found = shell.page(
        call,
        "home.html",
        title=project.title,
        here="Home",
        project=project,
        base=f"/p/{quote(ident, safe='')}",
        under=project.address + "/",
        folder=shell.folder_for_people(project.address),
        todo=next_step(shell, call, project, seen) if task is None else None,  # one thing to do, not two
        seen=seen,
        task=task,
        may_edit=call.user is not None and call.user.at_least("student"),
        following=[line(shell, project, entry) for entry in own[1 : NEXT + 1]],
        more=len(own) - NEXT - 1 if len(own) > NEXT + 1 else 0,
        all_mine=f"{listing.page_of(ident)}?owner={quote(user)}&sort=-priority",
        support=[line(shell, project, entry) for entry in work.to_support(user)[:SUPPORT]],
        free=[line(shell, project, entry) for entry in work.free()[:FREE]] if not own else [],
        last=last_frame(shell, project),
        since=words.when(since, shell.now()) if since else "",
        news=visits.news(shell, call, project, since, shell.services.clock()) if since else None,
        jobs=cards.cards(shell, call, [shell.services.farm.view(job) for job in opened]),
        failures=mine.failures(shell, call, project),
        queue=mine.queue(shell, project, user),
        due=mine.deliveries(shell, project),
        priorities=cards.priorities(shell, project),
    )
    visits.note(call, found, project, shell.services.clock())
    return found


def line(shell: Shell, project: Project, entry: Entry) -> dict[str, Any]:
    """A task in a row or on a card."""
    view, wording = shell.services.assets.view(entry, project), shell.wording(project)
    priority = int(view["priority"]) if wording.visible and 1 <= view["priority"] <= 5 else 0
    return {
        "key": listing.key(entry.address),
        "name": view["name"],
        "url": view["url"],
        "path": view["path"],
        "api": "/api/assets/" + quote(entry.address, safe="/:"),
        "owner": view["owner"] or "",
        "support": tasks.supporters(entry),
        "thumbnail": view["thumbnail"],
        "type": wording.type(view["type"]).title,
        "state": state_of(wording, view["state"]),
        "priority": priority,
        "priority_word": wording.priorities.get(view["priority"], ""),
        "waited": view["waited_for_by"],
        "due": words.day(view["due"], shell.now()) if view["due"] else "",
        "late": bool(view["due"]) and view["due"] < shell.now().date().isoformat(),
    }


def state_of(wording: AssetSet, ident: str) -> tuple[str, str]:
    """A state's glyph and colour role, and its word."""
    state = wording.state(ident)
    return words.role(state.role), state.title


def states_of(wording: AssetSet, type: str, present: str) -> list[tuple[str, str]]:
    """The states that an asset may be given, the present one among them."""
    found = {state.ident: state.title for state in wording.offered_states(type)}
    return list({**found, present: wording.state(present).title}.items())


def in_full(shell: Shell, project: Project, entry: Entry) -> dict[str, Any]:
    """My first task, with all that is worth knowing while one works on it."""
    told, wording = line(shell, project, entry), shell.wording(project)
    try:
        view = shell.services.assets.one(entry.address)
    except CroftError:  # Race: it was moved a moment ago.
        view = {**shell.services.assets.view(entry, project), "facts": {}}
    hours = [view["time_spent"], view["time_budget"]]
    return {
        **told,
        "etag": view["etag"] or "",
        "description": view["description"],
        "picture": (told["thumbnail"] or "").replace("w=256", "w=1024"),
        "folder": shell.folder_for_people(entry.address.rpartition("/")[0]),
        "states": states_of(wording, view["type"], view["state"]),
        "state_now": view["state"],
        "priorities": wording.offered_priorities,
        "priority_now": view["priority"],
        "renders": view["kind"] == "scene" and view["status"] == "ok",
        "render_page": f"/p/{quote(project.ident, safe='')}/render/{quote(view['path'], safe='/')}",
        "range": view["facts"].get("frames"),
        "hours": [words.figure(one) for one in hours] if any(hours) else [],
        "statistics": sheets.whole(shell.services.farm.renders(entry.address, view["facts"].get("frames"))),
        "changed": words.when(view["modified"], shell.now()),
    }


def last_frame(shell: Shell, project: Project) -> dict[str, Any] | None:
    """The frame of the project that was rendered last: its picture, and where it is told of."""
    farm = shell.services.farm
    found = farm.figures.newest_frame(project.ident)
    if found is None:
        return None
    view = farm.view(found[0])
    newest = view.get("newest")
    if not newest:
        return None
    glyph, word = words.JOB_STATES.get(view["state"], ("waiting", view["state"]))
    now = shell.now()
    return {
        "picture": sheets.pictures(newest)["large"],
        "page": sheets.page_of(view),
        "name": view["name"],
        "who": str(view.get("user") or ""),
        "when": words.when(found[1], now),
        "state": (glyph, word),
        "progress": sheets.progress(view),
        "end": words.done_between(view.get("ends"), now),
    }
