"""'Earlier saves' on a file's page, the page of a file that was deleted, and all that was deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import bottle

from server.disk import paths
from server.disk.encoding import quote
from server.disk.speech import key
from server.web.languages import known, say
from server.web.pages import words
from server.web.pages.shell import Shell
from server.web.requests import Call

if TYPE_CHECKING:
    from server.library.projects import Project
    from server.library.saves import Deleted, Save

SHOWN = 10  # the rest is folded away
MOST = 200
DELETED_MOST = 500
KINDS = {  # glyph and what it is
    "checkpoint": ("done", key("Kept")),
    "version": ("done", key("Published as version {n}")),
    "render": ("running", key("Rendered as version {n}")),
    "deleted": ("skipped", key("Deleted")),
    "backup": ("waiting", key("From the backup")),
}


def section(shell: Shell, call: Call, a: dict[str, Any]) -> dict[str, Any]:
    """What a template shows of a file's earlier saves."""
    found = shell.services.saves.list_for(a["address"], call.user)
    may = call.user is not None and call.user.at_least("student")
    api = "/api/assets/" + quote(a["address"], safe="/:@")
    rows = [row(shell, save, api) for save in found[:MOST]]
    return {
        "rows": rows[:SHOWN],
        "more": rows[SHOWN:],
        "more_words": words.number(len(found) - SHOWN, "earlier one"),
        "unshown": len(found) - MOST,
        "may": may,
        "missing": a["status"] == "missing",
        "whole": a["status"] in ("ok", "broken"),
        "api": api,
    }


def row(shell: Shell, save: Save, api: str) -> dict[str, Any]:
    glyph, word = KINDS.get(save.kind, ("waiting", save.kind))
    rendered = save.kind == "render"
    if rendered and not save.comment:
        word = key("Rendered")
    when = words.when(save.at, shell.now())
    comment = (
        say("It was so until {when}.", when=words.when(save.until, shell.now()))
        if save.until
        else save.comment
    )
    return {
        "id": save.id,
        "when": when,
        "glyph": glyph,
        "word": say(word, n=paths.version_said(save.comment if rendered else save.id)),
        "who": shell.titles().get(save.who, save.who),
        "comment": "" if rendered else known(comment),
        "size": words.size(save.size),
        "back": button(say("Bring it back"), f"POST {api}/restore", {"save": save.id}),
        "beside": button(say("Open beside"), f"POST {api}/restore", {"save": save.id, "beside": True}),
    }


def missing_actions(shell: Shell, call: Call, a: dict[str, Any]) -> list[dict[str, Any]]:
    """What can be done about a file that is gone: the newest save back, or its record away."""
    if call.user is None or not call.user.at_least("student"):
        return []
    api = "/api/assets/" + quote(a["address"], safe="/:@")
    actions = []
    newest = next(iter(shell.services.saves.list_for(a["address"], call.user)), None)
    if newest is not None:
        one = row(shell, newest, api)
        actions.append({**one["back"], "label": say("Bring back the save of {when}", when=one["when"])})
    return [*actions, button(say("Forget it"), f"POST {api}/forget")]


def button(label: str, act: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What the template's `act` shows; what takes it back stands in the answer."""
    return {"label": label, "act": act, "body": json.dumps(body) if body else "", "undo": "", "undo_body": ""}


def gone(shell: Shell, call: Call, project: Project, address: str) -> bottle.HTTPResponse | None:
    """The page of a file that isn't there any more but can be had back; None where there is nothing."""
    there = shell.services.saves.deleted(project.ident, paths.folder_of(address))
    found = [one for one in there if one.address == address]
    if not found:
        return None
    name = paths.name_of(address)
    return shell.page(
        call, "deleted.html", title=name, here="Files", project=project, rows=rows(shell, project, found),
        heading=name, said=say("This file was deleted. It can be brought back."), more=0,
        may=call.user is not None,
    )  # fmt: skip


def deleted(shell: Shell, call: Call, ident: str) -> bottle.HTTPResponse:
    """`/p/<project>/deleted`."""
    project = shell.project(ident)
    found = shell.services.saves.deleted(project.ident)
    said = (
        say("{files} can be brought back.", files=words.number(len(found), "file"))
        if found
        else say("Nothing was deleted here.")
    )
    return shell.page(
        call, "deleted.html", title=say("Deleted files"), here="Files", project=project,
        rows=rows(shell, project, found[:DELETED_MOST]), heading=say("Deleted files"), said=said,
        more=len(found) - DELETED_MOST, may=call.user is not None,
    )  # fmt: skip


def rows(shell: Shell, project: Project, found: Any) -> list[dict[str, Any]]:
    def one(n: int, item: Deleted) -> dict[str, Any]:
        name, of = paths.name_of(item.address), paths.folder_of(item.address)
        render = paths.version_number(name) is not None and paths.name_of(paths.folder_of(of)) == paths.RENDER
        return {
            "n": n,
            "name": f"{paths.name_of(of)} {name}" if render else name,
            "path": project.inside(item.address),
            "when": words.when(item.at, shell.now()),
            "who": shell.titles().get(item.who, item.who),
            "size": "" if render else words.size(item.size),  # of a folder nobody has counted it
            "what": "" if item.kind == "file" else say("what was known of it"),
            "body": json.dumps({"folder": item.folder}),
        }

    return [one(n, item) for n, item in enumerate(found)]
