"""The API of histories: who did what, to one file or to all, and taking one change back."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from server.disk import faults, paths
from server.disk.errors import BadInput
from server.disk.speech import count, say
from server.library.history import KINDS, Entry
from server.web.api.table import PAGING, TEXT, Route, ref
from server.web.requests import Answer, Call, number, page_of
from server.web.services import Services

if TYPE_CHECKING:
    from server.library.people import User


def list_history(services: Services, call: Call) -> Answer:
    query = call.query
    address = query.get("address", "")
    if address:
        services.assets.get(address)
        own, following = page_of(services.history.of(address), query)
        return Answer([view(services, one, call.user) for one in own], "", next=following, is_list=True)
    found = services.history.entries(
        query.get("project") or None,
        query.get("who") or None,
        query.get("file") or None,
        query.get("kind") or None,
        time_of(query, "since"),
        time_of(query, "until"),
        query.get("q", ""),
        limit=number(query, "limit", 100, 1, 1000),
        cursor=query.get("cursor", ""),
    )
    rows = [view(services, one, call.user) for one in found.entries]
    return Answer(
        rows, count("{n} change.", "{n} changes.", len(rows)), next=found.next or None, is_list=True
    )


def time_of(query: Mapping[str, str], name: str) -> str | None:
    """A day or a time of a query; None where none is given."""
    given = query.get(name, "")
    try:
        datetime.datetime.fromisoformat(given or "2026-11-22")
    except ValueError:
        raise BadInput("'{field}' must be a day, written like 2026-11-22.", field=name) from None
    return given or None


def undo_change(services: Services, call: Call) -> Answer:
    address = call.body["address"]
    services.assets.get(address)
    id, fields = services.history.undo(address, call.body["id"], call.require("student"))
    back = {"method": "POST", "path": "/api/history/undo", "body": {"address": address, "id": id}}
    project = services.projects.of(address)
    film = project is not None and paths.name_of(address) == paths.PROJECT_FILE
    name = project.title if project is not None and film else paths.name_of(address)
    told = say("{file} is as it was before.", file=name)
    return Answer({"fields": fields, "undo": back if id else None}, told)


def view(services: Services, entry: Entry, user: User | None) -> dict[str, Any]:
    """An entry as the API shows it."""
    project = services.projects.of(entry.address)
    known = services.store.index.get(entry.address)
    undo = services.history.action(entry, user)
    name = known.facts.name if known is not None and known.facts is not None else ""
    return {
        "id": entry.id,
        "at": entry.at,
        "who": entry.who,
        "kind": entry.kind,
        "address": entry.address,
        "project": project.ident if project is not None else "",
        "name": name or paths.name_of(entry.address),
        "fields": {field: list(change) for field, change in entry.fields.items()},
        "more": dict(entry.more),
        "undo": faults.action_data(undo) if undo is not None else None,
    }


TIMES = "a stored time, as 2026-11-22T14:05:00Z"
ROUTES = [
    Route("GET", "/api/history", list_history, "who did what, newest first: to all files, or to one",
          query={
              "address": (TEXT, "only this file's, all that is known"),
              "project": (TEXT, "only this project's"),
              "who": (TEXT, "only this person's"),
              "file": ({"type": "string", "maxLength": 500}, "a part of the file's path"),
              "kind": (TEXT, ", ".join(KINDS)),
              "since": ({"type": "string", "maxLength": 40}, TIMES),
              "until": ({"type": "string", "maxLength": 40}, TIMES),
              "q": ({"type": "string", "maxLength": 500}, "words that were said"),
              **PAGING,
          },
          listing=True, data=ref("Change"), errors=(404,), tag="operations"),
    Route("POST", "/api/history/undo", undo_change, "set back what one change of a file's fields did",
          role="student", body=ref("HistoryUndo"), data=ref("Undone"), errors=(404, 409), tag="operations"),
]  # fmt: skip
