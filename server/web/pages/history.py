"""Who did what, newest first: a project's history, that of all projects, and a file's own on its page."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import bottle

from server.disk import paths
from server.disk.encoding import quote
from server.disk.errors import BadInput
from server.disk.speech import count, say, together
from server.library.history import KINDS, Entry
from server.library.history.lines import plain
from server.library.people import SOMEONE
from server.library.search import fold
from server.web.pages import words
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.people import User
    from server.library.projects import AssetSet, Project

ROWS = 50  # of one page
OWN = 12  # of a file, on its page
SHOWN = 140  # characters of a value
CROFT = "croft"
LABELS = {  # fields as people say them
    "name": say("Name"), "description": say("Description"), "type": say("Type"), "state": say("State"),
    "priority": say("Priority"), "owner": say("Owner"), "support": say("Supporters"),
    "render": say("To be rendered"), "final": say("Becomes a video"), "protect": say("Protected"),
    "start": say("First frame"), "end": say("Last frame"), "time_budget": say("Hours planned"),
    "time_spent": say("Hours spent"), "tags": say("Tags"), "rating": say("Stars"),
    "pipeline": say("Stages"), "due": say("To be delivered on"), "dependencies": say("Waits for"),
    "statistics_since": say("Figures count since"), "creator": say("Made by"),
    "title": say("Title"), "licence": say("Licence"), "set": say("Words and settings"),
    "roles": say("Roles"), "external": say("From elsewhere"),
    "render_priority": say("Its renders, among those of other projects"),
    "approve_by": say("Who approves renders"),
}  # fmt: skip
APPROVERS = {"supervisors": say("Supervisors"), "lighter": say("Supervisors, and who lights the shot")}
KIND_WORDS = {
    "edit": say("Changes"), "new": say("New files"), "upload": say("Uploads"), "saved": say("Saves"),
    "save": say("Kept saves"),
    "back": say("Brought back"), "version": say("Published"), "approved": say("Approvals"),
    "moved": say("Moved and renamed"), "deleted": say("Deleted"), "render": say("Renders"),
    "note": say("Notes"),
}  # fmt: skip
Row = dict[str, Any]


def page(shell: Shell, call: Call, ident: str = "") -> bottle.HTTPResponse:
    """`/history` and `/p/<project>/history`, with `?q= who= kind= file= from= to= cursor=`."""
    project = shell.project(ident) if ident else None
    history, titles = shell.services.history, shell.titles()
    asked = {name: call.query.get(name, "")[:500] for name in ("q", "who", "kind", "file", "from", "to")}
    wrong = ""
    try:
        found = history.entries(
            ident or None,
            asked["who"] or None,
            asked["file"] or None,
            asked["kind"] or None,
            day_begins(shell, asked["from"]),
            day_begins(shell, asked["to"], 1),
            asked["q"],
            people=meant(asked["q"], titles),
            limit=ROWS,
            cursor=call.query.get("cursor", ""),
        )
    except BadInput as error:
        found, wrong = None, error.message
    rows = [row(shell, entry, call.user, whole=True) for entry in found.entries] if found else []
    base = f"/p/{quote(ident, safe='')}/history" if ident else "/history"
    kept = {name: value for name, value in asked.items() if value}
    people = sorted(((ident, title) for ident, title in titles.items()), key=lambda one: one[1].casefold())
    unread = history.unread
    return shell.page(
        call,
        "history.html",
        title=say("History of {project}", project=project.title) if project else say("History"),
        here="History",
        project=project,
        asked=asked,
        people=[*people, (CROFT, say("Croft, by itself"))],
        kinds=[(kind, KIND_WORDS[kind]) for kind in KINDS],
        days=by_day(rows),
        wrong=wrong,
        filtered=bool(kept),
        base=base,
        older=f"{base}?{urlencode({**kept, 'cursor': found.next})}" if found and found.next else "",
        newest=f"{base}?{urlencode(kept)}" if call.query.get("cursor") else "",
        reading=count("{n} file is still to be read.", "{n} files are still to be read.", unread)
        if unread
        else "",
        since=words.when(history.since, shell.now()) if history.since and not (found and found.next) else "",
        summary=count("{n} change", "{n} changes", len(rows)),
    )


def of_file(shell: Shell, call: Call, address: str, project: Project) -> Row:
    """The newest of one file's own, for its page."""
    found = shell.services.history.of(address)
    inside = project.inside(address)
    return {
        "rows": [row(shell, entry, call.user) for entry in found[:OWN]],
        "more": f"/p/{quote(project.ident, safe='')}/history?{urlencode({'file': inside})}"
        if len(found) > OWN
        else "",
        "more_words": count("All {n} change", "All {n} changes", len(found)),
    }


def row(shell: Shell, entry: Entry, user: User | None, *, whole: bool = False) -> Row:
    """One entry as a template shows it; `whole`: with its file, as where there are many."""
    services = shell.services
    titles, now = shell.titles(), shell.now()
    project = services.projects.of(entry.address)
    wording = shell.wording(project)
    undo = services.history.action(entry, user)
    when = words.when(entry.at, now)
    made: Row = {
        "id": entry.id,
        "when": when,
        "day": words.day(local_day(entry.at, now), now),
        "clock": clock(entry.at, now),
        "who": who(entry.who, titles),
        "said": said(entry),
        "kind_of": entry.kind,
        "by_hand": bool(entry.more.get("hand")),
        "changes": [
            (LABELS.get(name, name), *(value(name, one, wording, titles, now) for one in change))
            for name, change in entry.fields.items()
        ],
        "comment": str(entry.more.get("comment") or ""),
        "undo": {"call": f"{undo.method} {undo.path}", "body": json.dumps(undo.body) if undo.body else ""}
        if undo is not None
        else None,
    }
    if whole:
        known = services.store.index.get(entry.address)
        facts = known.facts if known is not None else None
        inside = project.inside(entry.address) if project is not None else ""
        made |= {
            "name": (facts.name if facts is not None else "") or paths.name_of(entry.address),
            "path": inside or entry.address,
            "project": project.title if project is not None else "",
            "url": f"/p/{quote(project.ident, safe='')}/asset/{quote(inside, safe='/')}"
            if project is not None and (known is not None or entry.kind == "deleted")
            else "",
            "picture": services.assets.thumbnail_url(known) if known is not None else None,
        }
        if project is not None and inside == paths.PROJECT_FILE:
            made |= {"name": project.title, "url": f"/p/{quote(project.ident, safe='')}/project", "path": ""}
    return made


def who(ident: str, titles: dict[str, str]) -> str:
    """A person as a history names them."""
    if ident == CROFT:
        return say("Croft")
    return say("Somebody") if ident in ("", SOMEONE) else titles.get(ident, ident)


def said(entry: Entry) -> str:
    """What was done, in words; the changes of an edit stand beside it."""
    more, kind = entry.more, entry.kind
    if kind == "new":
        return say("New here") if entry.who == CROFT else say("made it")
    if kind == "upload":
        size = words.size(more.get("size") if isinstance(more.get("size"), int) else None)
        if more.get("kept"):
            return say("uploaded a new version ({size})", size=size)
        return say("uploaded it ({size})", size=size)
    if kind == "saved":
        weight, times = more.get("saved"), more.get("times")
        size = words.size(weight if isinstance(weight, int) else None)
        n = times if isinstance(times, int) else 1
        return count("saved it ({size})", "saved it {n} times ({size})", n, size=size)
    if kind == "save":
        return say("kept a save of it")
    if kind == "back":
        return say("brought an earlier save back")
    if kind == "version":
        return say("published it as version {n}", n=paths.version_said(str(more.get("published") or "")))
    if kind == "approved":
        number = paths.version_said(str(more.get("approved") or ""))
        if more.get("rejected"):
            return say("rejected version {n}", n=number)
        if more.get("on") is False:
            return say("took the approval of version {n} back", n=number)
        return say("approved version {n}", n=number)
    if kind == "moved":
        return say(
            "moved it here from {place}", place=str(more.get("was") or "").partition(paths.SEPARATOR)[2]
        )
    if kind == "deleted":
        return say("put away what was known of it") if more.get("record") else say("deleted it")
    if kind == "render":
        version = str(more.get("version") or "").partition("-")[0].removeprefix("v")
        if version.isdigit():
            return say("had it rendered, version {number}", number=int(version))
        return say("had it rendered")
    if kind == "note" and more.get("done"):
        return say("settled a note")
    if kind == "note":
        return say("left a note")
    if more.get("hand"):
        return say("changed it by hand, outside Croft")
    return (
        count("changed {n} thing", "changed {n} things", len(entry.fields))
        if entry.fields
        else say("changed it")
    )


def value(name: str, one: Any, wording: AssetSet, titles: dict[str, str], now: datetime.datetime) -> str:
    """A field's value as people say it; '' for nothing."""
    if one is None or one == "" or one == [] or one == {}:
        return ""
    if isinstance(one, bool):
        return say("yes") if one else say("no")
    if name in ("owner", "creator"):
        return who(str(one), titles)
    if name == "support" and isinstance(one, list):
        return ", ".join(titles.get(str(ident), str(ident)) for ident in one)
    if name == "state":
        return wording.states[one].title if one in wording.states else str(one)
    if name == "type":
        return wording.types[one].title if one in wording.types else str(one)
    if name in ("priority", "render_priority"):
        return wording.priorities.get(one, str(one)) if isinstance(one, int) else str(one)
    if name == "approve_by":
        return APPROVERS.get(str(one), str(one))
    if name == "due":
        return words.day(str(one), now) or str(one)
    if name == "statistics_since":
        return words.when(one, now)
    if name == "pipeline" and isinstance(one, dict):
        stages = ((stage, wording.states.get(str(state))) for stage, state in one.items())
        named = ((stage, state.title if state else one[stage]) for stage, state in stages)
        return together([say("{stage}: {state}", stage=stage, state=word) for stage, word in named], ", ")
    text = plain(one)
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def by_day(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    """Rows under the day that they are of."""
    days: list[tuple[str, list[Row]]] = []
    for one in rows:
        if not days or days[-1][0] != one["day"]:
            days.append((one["day"], []))
        days[-1][1].append(one)
    return days


def meant(text: str, titles: dict[str, str]) -> list[str]:
    """Whom these words name: all of them stand in the name."""
    asked = fold(text).split()
    return (
        [ident for ident, title in titles.items() if all(word in fold(title) for word in asked)]
        if asked
        else []
    )


def local_day(at: str, now: datetime.datetime) -> str:
    then = words.moment(at)
    return then.astimezone(now.tzinfo).date().isoformat() if then is not None else ""


def clock(at: str, now: datetime.datetime) -> str:
    then = words.moment(at)
    return f"{then.astimezone(now.tzinfo):%H:%M}" if then is not None else ""


def day_begins(shell: Shell, text: str, later: int = 0) -> str | None:
    """A day as a stored time: when it begins where the house is, or the day after it."""
    if not text:
        return None
    try:
        date = datetime.date.fromisoformat(text) + datetime.timedelta(days=later)
        begin = datetime.datetime.combine(date, datetime.time(), shell.now().tzinfo)
        return begin.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError) as error:
        raise BadInput(say("A day is written like 2026-11-22.")) from error
