"""What people say of a file: its fields, supporters and hours; and where it lies on their computers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from server.disk import paths
from server.disk.encoding import quote
from server.disk.errors import CroftError
from server.farm.jobs import facts
from server.library.assets.fields import SUPERVISORS
from server.web.languages import count, known, say
from server.web.pages import words
from server.web.pages.places import places
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.people import User
    from server.library.projects import AssetSet, Project

Thing = dict[str, Any]  # an API view, or what a template shows of one

OFFERED = 200  # supporters that a page lists


def fields(shell: Shell, a: Thing, wording: AssetSet, user: User | None) -> list[Thing]:
    """What people may change, each with its value, in the order in which it is needed."""
    titles = shell.titles()
    people = sorted(titles.items(), key=lambda pair: pair[1].casefold())
    supervisor = user is not None and user.at_least("supervisor")

    def field(name: str, label: str, kind: str = "text", **more: Any) -> Thing:
        value = a.get(name)
        base: Thing = {
            "name": name,
            "label": label,
            "kind": kind,
            "value": "" if value in (None, 0) else value,
        }
        return {**base, "options": [], "wide": False, "may": True, "hint": "", **more}

    def offered(name: str, options: list[tuple[Any, str]], title: str) -> list[tuple[Any, str]]:
        value = "" if a.get(name) is None else a[name]
        if any(value == option for option, _ in options):
            return options
        return [(value, title or "–"), *options]

    states = [(state.ident, known(state.title)) for state in wording.offered_states(a["type"])]
    types = [(kind.ident, known(kind.title)) for kind in wording.offered_types]
    priorities = [(number, known(title)) for number, title in wording.offered_priorities]
    stars = [(0, say("None yet")), *((n, count("{n} star", "{n} stars", n)) for n in range(1, 6))]
    owner = titles.get(a["owner"] or "", a["owner"] or "")
    return [
        field("state", say("State"), "choice",
              options=offered("state", states, known(wording.state(str(a["state"])).title))),
        field("owner", say("Owner"), "choice",
              options=offered("owner", [("", say("Nobody yet")), *people], owner)),
        *([field("priority", say("Priority"), "choice",
                 options=offered("priority", priorities, str(a["priority"])))] if priorities else []),
        field("due", say("To be delivered on"), "date"),
        field("name", say("Name"), wide=True),
        field("description", say("Description"), "long", wide=True),
        field("tags", say("Tags, with commas between"), wide=True, value=", ".join(a["tags"])),
        field("type", say("Type"), "choice",
              options=offered("type", types, known(wording.type(str(a["type"])).title))),
        field("rating", say("Stars"), "choice", options=offered("rating", stars, f"{a['rating']:g}"),
              value=a["rating"]),
        field("start", say("First frame"), "digits", value="" if a["start"] is None else a["start"],
              hint=own_frame(a, 0)),
        field("end", say("Last frame"), "digits", value="" if a["end"] is None else a["end"],
              hint=own_frame(a, 1)),
        field("render", say("It is to be rendered"), "tick", value=bool(a["render"])),
        field("final", say("Its frames become a video"), "tick", value=bool(a["final"]),
              may=supervisor or "final" not in SUPERVISORS),
    ]  # fmt: skip


def span(a: Thing) -> list[int] | None:
    """Which frames a render is of where nobody says others: what people say of the file, else the scene's."""
    frames = a["facts"].get("frames")
    own = (frames[0], frames[1]) if isinstance(frames, list) and len(frames) == 2 else None
    found = facts.said(own, a["start"], a["end"])
    return list(found) if found is not None else None


def own_frame(a: Thing, place: int) -> str:
    """What the scene itself says, where nothing else is said."""
    frames = a["facts"].get("frames")
    return str(frames[place]) if isinstance(frames, list) and len(frames) == 2 else ""


def supporters(shell: Shell, a: Thing, project: Project, user: User | None) -> Thing:
    """Who supports it, and a button for each who may."""
    may = user is not None and user.at_least("student")
    there = list(a["support"])
    users = {one.ident: one for one in shell.services.people.users()}
    others = [
        one.ident
        for one in users.values()
        if one.ident not in there
        and one.ident != a["owner"]
        and not one.disabled
        and one.role != "guest"
        and (not one.projects or project.ident in one.projects)
    ]
    titles = shell.titles()
    others.sort(key=lambda ident: (titles.get(ident) or ident).casefold())

    def one(ident: str, on: bool) -> Thing:
        return {
            "person": shell.person(ident),
            "call": f"POST {api_of(a)}/support",
            "body": json.dumps({"user": ident, "on": not on}),
        }

    mine = user.ident if user is not None and may else ""
    return {
        "there": [one(ident, True) for ident in there],
        "others": [one(ident, False) for ident in others[:OFFERED] if ident != mine] if may else [],
        "own": one(mine, False) if mine and mine not in there and mine != a["owner"] else None,
        "may": may,
    }


def hours(a: Thing, may: bool) -> Thing:
    """The hours that were planned and those that went into it, as a bar and in words."""
    budget, spent = float(a["time_budget"] or 0), float(a["time_spent"] or 0)
    if budget and spent > budget:
        said = say(
            "{spent} h spent, {over} h more than planned", spent=figure(spent), over=figure(spent - budget)
        )
    elif budget:
        said = say("{spent} h of {budget} h spent", spent=figure(spent), budget=figure(budget))
    else:
        said = say("{spent} h spent", spent=figure(spent)) if spent else say("No time was noted yet.")
    call = f"POST {api_of(a)}/time"
    steps = [(0.5, say("+ ½ hour")), (1, say("+ 1 hour"))]
    return {
        "budget": f"{budget:g}",
        "spent": f"{spent:g}",
        "value": min(spent, budget),
        "most": budget,
        "over": bool(budget) and spent > budget,
        "words": said,
        "steps": [
            {"label": label, "act": call, "body": json.dumps({"hours": step}), "undo": "", "undo_body": ""}
            for step, label in steps
        ]
        if may
        else [],
    }


def lies(shell: Shell, call: Call, address: str) -> list[Thing]:
    """The file and its folder as each system takes them, the reader's own first."""
    name, _, inside = address.partition(paths.SEPARATOR)
    share = shell.services.settings.folder("shares").get(name, {})
    try:
        on_server = str(shell.services.store.path(paths.address(name)))
    except CroftError:
        on_server = "/"
    return places(share, on_server, inside, call.header("user-agent"))


def figure(value: float) -> str:
    """'3', '1.5': hours as the reader writes numbers."""
    return words.figure(value, 0 if value == int(value) else 2 if (value * 10) % 1 else 1)


def api_of(a: Thing) -> str:
    return "/api/assets/" + quote(a["address"], safe="/:@")
