"""The API of notes: what people say of files, what of it concerns somebody, and what they have read."""

from __future__ import annotations

from typing import Any

from server.disk.encoding import quote
from server.disk.speech import count, say
from server.library.notes import Note
from server.web.api.note_shapes import SHOWN
from server.web.api.table import PAGING, TEXT, Route, ref
from server.web.requests import Answer, Call, page_of
from server.web.services import Services

OF_ALL = {
    "project": (TEXT, "the project's ident; all projects if not given"),
    "show": (
        {"type": "string", "enum": list(SHOWN)},
        "mine: what concerns you; todo: what you are to do; open: neither done nor resolved; else all",
    ),
    "q": ({"type": "string", "maxLength": 500}, "only those that hold all of these words"),
}


def list_notes(services: Services, call: Call) -> Answer:
    found = services.notes.of(call.params["address"])[::-1]
    rows, following = page_of(found, call.query)
    text = count("{n} note.", "{n} notes.", len(found))
    return Answer([note.view() for note in rows], text, next=following, is_list=True)


def list_all(services: Services, call: Call) -> Answer:
    user, query = call.require("guest"), call.query
    ident, show = query.get("project", ""), query.get("show") or "all"
    under = services.projects.get(ident).address + "/" if ident else ""
    found = services.notes.shown(user.ident, show, under, query.get("q", ""))
    news = {one.note.id: one for one in services.notes.for_user(user.ident)} if show == "mine" else {}
    rows, following = page_of(found, query)
    views = [
        {**note.view(), "why": news[note.id].why, "read": news[note.id].read}
        if note.id in news
        else note.view()
        for note in rows
    ]
    text = count("{n} note.", "{n} notes.", len(found))
    return Answer(views, text, next=following, is_list=True)


def add_note(services: Services, call: Call) -> Answer:
    address, body = call.params["address"], dict(call.body)
    note = services.notes.add(address, call.require("student"), body.pop("text", ""), **body)
    data = {**note.view(), "undo": undo("DELETE", note)}
    return Answer(data, say("It is noted."), 201, [("Location", path_of(note))])


def change_note(services: Services, call: Call) -> Answer:
    address, ident = call.params["address"], call.params["note"]
    note, back = services.notes.change(address, ident, call.require("student"), call.body)
    data = {**note.view(), "undo": undo("PATCH", note, back) if back else None}
    return Answer(data, told(note, back))


def told(note: Note, back: dict[str, Any]) -> str:
    """What has happened to it."""
    if "deleted" in back:
        return say("The note is deleted.") if note.deleted else say("The note is back.")
    if "resolved" in back:
        return say("The note is resolved.") if note.resolved else say("The note is open again.")
    if "ticks" in back:
        if not note.open and not note.resolved:
            return say("All of it is done.")
        return say("It isn’t done yet.") if all(back["ticks"].values()) else say("That is done.")
    return say("The note is changed.") if back else say("Nothing was changed.")


def delete_note(services: Services, call: Call) -> Answer:
    address, ident = call.params["address"], call.params["note"]
    note, back = services.notes.change(address, ident, call.require("student"), {"deleted": True})
    return Answer({**note.view(), "undo": undo("PATCH", note, back)}, told(note, back))


def read_notes(services: Services, call: Call) -> Answer:
    user = call.require("guest")
    n = services.notes.read(user.ident, call.body.get("ids"))
    text = count("{n} note is read.", "{n} notes are read.", n) if n else say("There was nothing new.")
    return Answer({"unread": services.notes.unread(user.ident)}, text)


def unread(services: Services, call: Call) -> Answer:
    n = services.notes.unread(call.require("guest").ident)
    return Answer({"unread": n}, count("{n} new note concerns you.", "{n} new notes concern you.", n))


def path_of(note: Note) -> str:
    return f"/api/assets/{quote(note.address, safe='/:@')}/notes/{note.id}"


def undo(method: str, note: Note, body: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"method": method, "path": path_of(note), "body": body}


ROUTES = [
    Route("GET", "/api/notes", list_all, "what people say of all files, newest first",
          query={**OF_ALL, **PAGING}, listing=True, data=ref("Note"), errors=(404,), tag="notes"),
    Route("GET", "/api/notes/unread", unread, "how many notes that concern you are new", data=ref("Unread"),
          tag="notes"),
    Route("POST", "/api/notes/read", read_notes, "you have read these", role="student",
          body=ref("ReadNotes"), data=ref("Unread"), tag="notes"),
    Route("GET", "/api/assets/{address}/notes", list_notes, "what people say of a file, newest first",
          query=PAGING, listing=True, data=ref("Note"), tag="notes"),
    Route("POST", "/api/assets/{address}/notes", add_note, "say something of a file", role="student",
          body=ref("NewNote"), data=ref("Note"), status=201, errors=(409,), tag="notes"),
    Route("PATCH", "/api/assets/{address}/notes/{note}", change_note,
          "change, tick, resolve or bring back a note", role="student", body=ref("NoteChange"),
          data=ref("Note"), errors=(409,), tag="notes"),
    Route("DELETE", "/api/assets/{address}/notes/{note}", delete_note, "delete a note", role="student",
          data=ref("Note"), errors=(409,), tag="notes"),
]  # fmt: skip
