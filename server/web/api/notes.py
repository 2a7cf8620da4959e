"""The API of notes: what people say of a file."""

from __future__ import annotations

from server.web.api.table import PAGING, Route, ref
from server.web.requests import Answer, Call, page_of
from server.web.services import Services


def list_notes(services: Services, call: Call) -> Answer:
    found = services.notes.list(call.params["address"])
    rows, following = page_of(found, call.query)
    return Answer(rows, f"{len(found)} notes.", next=following, is_list=True)


def add_note(services: Services, call: Call) -> Answer:
    user = call.require("student")
    return Answer(services.notes.add(call.params["address"], call.body["text"], user), "It is noted.", 201)


ROUTES = [
    Route("GET", "/api/assets/{address}/notes", list_notes, "what people say of a file, newest first",
          query=PAGING, listing=True, data=ref("Note"), tag="notes"),
    Route("POST", "/api/assets/{address}/notes", add_note, "say something of a file", role="student",
          body=ref("NewNote"), data=ref("Note"), status=201, errors=(409,), tag="notes"),
]  # fmt: skip
