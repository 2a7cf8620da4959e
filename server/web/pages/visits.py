"""What happened in a project since somebody's last visit. When that was is kept in their browser alone.

The cookie holds two times: since when things are told as new, and when the page was seen last. A visit is
over once the page wasn't seen for a while; the next one tells what came since.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

import bottle

from server.disk.encoding import quote
from server.disk.records import Entry
from server.disk.speech import say
from server.library.history import lines
from server.web.pages import history, sheets, words
from server.web.pages.shell import Shell
from server.web.requests import Call
from server.web.session import cookie_value

if TYPE_CHECKING:
    from server.library.projects import Project

COOKIE = "croft-seen"
AWAY_S = 30 * 60  # not seen for so long: the next look is another visit
NOTED_S = 60  # an open page that is brought up to date isn't noted each time
KEPT_S = 400 * 86400  # browsers keep no cookie longer
FUTURE_S = 300  # a clock that is off by less does no harm
NEWS = 12
CHANGES = 2  # of one edit
LOOKED_AT = 200  # of each kind, newest first

ENDED = {"done": say("is rendered"), "failed": say("failed to render"), "cancelled": say("was stopped")}
NEW = ("new", "upload")  # what says as much as that a file was saved


def times(call: Call) -> tuple[int, int]:
    """Since when things are new, and when this page was last seen; zeros at a first visit."""
    first, _, last = cookie_value(call.header("cookie"), COOKIE).partition(".")
    if not all(text.isascii() and text.isdigit() and len(text) < 12 for text in (first, last)):
        return 0, 0
    return int(first), int(last)


def since(call: Call, now: float) -> int:
    """Since when things are new at this visit; 0: never here before."""
    first, last = times(call)
    return last if last and now - last > AWAY_S else first


def note(call: Call, answer: bottle.HTTPResponse, project: Project, now: float) -> None:
    """Have the browser remember that its person was here."""
    _, last = times(call)
    if now - last > NOTED_S or now < last:
        set_times(answer, project, since(call, now) or int(now), int(now))


def caught_up(call: Call, project: Project, now: float) -> bottle.HTTPResponse:
    """All of it was seen: what comes from now on is new."""
    answer = bottle.HTTPResponse(status=303, headers={"Location": call.path})
    set_times(answer, project, int(now), int(now))
    return answer


def set_times(answer: bottle.HTTPResponse, project: Project, first: int, last: int) -> None:
    path = f"/p/{quote(project.ident, safe='')}/home"
    kept = f"Path={path}; Max-Age={KEPT_S}; HttpOnly; SameSite=Lax"
    answer.add_header("Set-Cookie", f"{COOKIE}={first}.{last}; {kept}")


def news(shell: Shell, call: Call, project: Project, since: int, present: float) -> dict[str, Any] | None:
    """What came since then, the newest first: what others did, files that were saved, renders that ended.
    None where that is nothing and this visit has only begun."""
    now = shell.now()
    done = did(shell, call, project, since)
    told = {one["address"] for one in done if one["kind"] in NEW}
    files = [one for one in saved(shell, project, since, now) if one["address"] not in told]
    found = [*done, *files, *ended(shell, project, since)]
    found.sort(key=lambda one: one["at"], reverse=True)
    if not found and present - since < AWAY_S:
        return None
    for one in found:
        one["when"] = words.when(one["at"], now)
    return {"rows": found[:NEWS], "more": max(0, len(found) - NEWS)}


def did(shell: Shell, call: Call, project: Project, since: int) -> list[dict[str, Any]]:
    """What others did to the project's files."""
    begun = datetime.datetime.fromtimestamp(since, datetime.UTC).isoformat(timespec="milliseconds")
    mine = call.user.ident if call.user else ""
    rows = []
    asked = shell.services.history.entries(project.ident, since=begun.replace("+00:00", "Z"), limit=LOOKED_AT)
    for entry in asked.entries:
        if entry.who == mine or entry.kind == "render":
            continue
        row = history.row(shell, entry, None, whole=True)
        changes = [(label, after) for label, _, after in row["changes"]]
        rows.append({
            "at": lines.seconds(entry.at),
            "address": entry.address,
            "kind": entry.kind,
            "who": entry.who if entry.who in shell.titles() else "",
            "name": row["name"],
            "text": row["said"] if not changes else "",
            "changes": changes[:CHANGES],
            "url": row["url"],
        })  # fmt: skip
    return rows


def saved(shell: Shell, project: Project, since: int, now: datetime.datetime) -> list[dict[str, Any]]:
    """Files that were saved or came."""
    found = []
    for row in shell.services.assets.rows(project.ident, sort="-modified")[:LOOKED_AT]:
        entry: Entry = row.entry
        if entry.stat is None:
            continue
        at = entry.stat.mtime_ns / 1e9
        if at > now.timestamp() + FUTURE_S:
            continue  # its computer's clock is wrong: Problems tells of it
        if at <= since:
            break
        view = shell.services.assets.view(entry, project)
        found.append({
            "at": at, "address": entry.address, "who": "", "name": view["name"], "text": say("was saved"),
            "changes": [], "url": view["url"],
        })  # fmt: skip
    return found


def ended(shell: Shell, project: Project, since: int) -> list[dict[str, Any]]:
    """Renders that are over."""
    found = []
    for job in shell.services.farm.jobs(project=project.ident)[:LOOKED_AT]:
        if job.state not in ENDED:
            continue
        view = shell.services.farm.view(job)
        then = words.moment(view.get("ended"))
        if then is None or then.timestamp() <= since:
            continue
        found.append({
            "at": then.timestamp(),
            "address": view["file"],
            "who": str(view.get("user") or ""),
            "name": view["name"],
            "text": ENDED[job.state],
            "changes": [],
            "url": sheets.page_of(view),
        })  # fmt: skip
    return found
