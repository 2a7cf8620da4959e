"""The API of earlier saves: keeping one, publishing, listing, bringing back, and deletions undone.

What can be undone answers with its `undo`: the call that takes it back.
"""

from __future__ import annotations

from typing import Any

from server.disk import paths
from server.disk.encoding import quote
from server.disk.errors import NotFound
from server.disk.speech import count, say, together
from server.library.saves import Refused
from server.web.api.table import PAGING, TEXT, Route, ref
from server.web.requests import Answer, Call, page_of
from server.web.services import Services

CHANGES_SHOWN = 5
RENDERED = "render-"  # before the number of a render's version, to tell it from a published one's


def list_saves(services: Services, call: Call) -> Answer:
    address = call.params["address"]
    services.assets.get(address)
    found = services.saves.list_for(address, call.user)
    rows, following = page_of(found, call.query)
    return Answer(
        [row.view() for row in rows],
        count("{n} earlier save.", "{n} earlier saves.", len(found)),
        next=following,
        is_list=True,
    )


def keep_save(services: Services, call: Call) -> Answer:
    address = call.params["address"]
    ident = services.saves.checkpoint(address, call.require("student"), call.body.get("comment") or "")
    return Answer(
        one_save(services, address, ident), say("This save of {named} is kept.", named=named(address)), 201
    )


def publish(services: Services, call: Call) -> Answer:
    address, body = call.params["address"], call.body
    despite = body.get("despite") or ()
    if services.in_place.goes_on(address):
        _, record, made = services.in_place.publish(
            address, call.require("student"), body.get("comment") or ""
        )
        return published_in_place(address, record, made)
    try:
        done = services.saves.publish(address, call.require("student"), body.get("comment") or "", despite)
    except Refused as error:
        return Answer({"findings": [one.view() for one in error.findings]}, error.message, 409)
    data, n = version_view(done.record, "published"), paths.version_said(done.record["version"])
    if not done.made:
        return Answer(data, say("Nothing changed since version {n}.", n=n))
    text: str = say("{named} is published as version {n}.", named=named(address), n=n)
    if done.protected:
        text = together([text, say("It is protected from now on: unlock it to change it.")])
    return Answer(data, text, 201)


def published_in_place(address: str, record: dict[str, Any], made: bool) -> Answer:
    data, n = version_view(record, "published"), paths.version_said(record["version"])
    if not made:
        return Answer(data, say("Nothing changed since version {n}.", n=n))
    said = say("{named} is published as version {n}, where it lies.", named=named(address), n=n)
    return Answer(data, said, 201)


def look_before(services: Services, call: Call) -> Answer:
    address = call.params["address"]
    services.assets.get(address)
    found = services.saves.findings(address)
    text = count("{n} thing to know.", "{n} things to know.", len(found)) if found else say("All is well.")
    return Answer({"findings": [one.view() for one in found]}, text)


def bring_back_save(services: Services, call: Call) -> Answer:
    address, body = call.params["address"], call.body
    done = services.saves.restore(
        address, body["save"], call.require("student"),
        beside=body.get("beside", False), record=body.get("record", False),
    )  # fmt: skip
    data: dict[str, Any] = {"address": done.address, "kept": done.kept, "beside": done.beside, "undo": None}
    if done.beside and body["save"].startswith(RENDERED):
        data["changed"] = services.farm.dress_source(address, body["save"], done.address)
    if done.beside:
        data["undo"] = undo("DELETE", f"/api/assets/{quoted(done.address)}")
        if data.get("changed"):
            return Answer(data, with_changes(done.address, data["changed"]))
        return Answer(
            data, say("It lies beside {named} as {named2}.", named=named(address), named2=named(done.address))
        )
    if done.kept:
        data["undo"] = undo("POST", f"/api/assets/{quoted(address)}/restore", {"save": done.kept})
        return Answer(
            data, say("{named} is back as it was. What it was before is kept, too.", named=named(address))
        )
    # It came onto nothing.
    if done.was_missing:
        data["undo"] = undo("POST", f"/api/assets/{quoted(address)}/away")
    else:
        data["undo"] = undo("DELETE", f"/api/assets/{quoted(address)}")
    return Answer(data, say("{named} is back as it was.", named=named(address)))


def with_changes(address: str, changed: list[str]) -> str:
    """What isn't as it was when this scene was rendered."""
    shown = ", ".join(changed[:CHANGES_SHOWN])
    return count(
        "It lies beside it as {named}. {n} file that it uses was changed since: {files}.",
        "It lies beside it as {named}. {n} files that it uses were changed since: {files}.",
        len(changed), named=named(address), files=shown + (" …" if len(changed) > CHANGES_SHOWN else ""),
    )  # fmt: skip


def put_away(services: Services, call: Call) -> Answer:
    address = call.params["address"]
    folder = services.saves.put_away(address, call.require("student"))
    data = {"address": folder, "folder": folder, "undo": undo("POST", "/api/restore", {"folder": folder})}
    return Answer(data, say("{named} is missing again. What is known of it stays.", named=named(address)))


def forget(services: Services, call: Call) -> Answer:
    address = call.params["address"]
    folder = services.saves.forget(address, call.require("student"))
    data = {"address": folder, "folder": folder, "undo": undo("POST", "/api/restore", {"folder": folder})}
    return Answer(data, say("What was known of {named} is put away.", named=named(address)))


def list_deleted(services: Services, call: Call) -> Answer:
    ident = call.query.get("project", "")
    projects = [ident] if ident else [project.ident for project in services.projects.list()]
    found = [row for project in projects for row in services.saves.deleted(project)]
    if len(projects) > 1:
        found.sort(key=lambda row: (row.at, row.folder), reverse=True)
    rows, following = page_of(found, call.query)
    return Answer(
        [row.view() for row in rows], say("{found} deleted.", found=len(found)), next=following, is_list=True
    )


def undo_deletion(services: Services, call: Call) -> Answer:
    address = services.saves.bring_back(call.body["folder"], call.require("student"))
    data = {"address": address, "undo": undo("DELETE", f"/api/assets/{quoted(address)}")}
    return Answer(data, say("{named} is back.", named=named(address)))


def one_save(services: Services, address: str, ident: str) -> dict[str, Any]:
    for save in services.saves.list(address):
        if save.id == ident:
            return save.view()
    raise NotFound(
        "{named} has no earlier save {ident}.", named=named(address), ident=ident
    )  # Race: it was deleted at once.


def version_view(record: dict[str, Any], kind: str) -> dict[str, Any]:
    """The same for both kinds: a version's `id`, which is unique for its file, and what is known of it."""
    prefix = RENDERED if kind == "render" else ""
    return {
        **record,
        "id": f"{prefix}{record['version']}",
        "kind": kind,
        "approved": bool(record.get("approved")),
        "rejected": bool(record.get("rejected")),
    }


def undo(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"method": method, "path": path, "body": body}


def named(address: str) -> str:
    return paths.name_of(address)


def quoted(address: str) -> str:
    return quote(address, safe="/:")


ASSET = "/api/assets/{address}"
ROUTES = [
    Route("GET", ASSET + "/saves", list_saves, "earlier saves of a file, newest first", query=PAGING,
          listing=True, data=ref("Save"), tag="saves"),
    Route("POST", ASSET + "/checkpoint", keep_save, "keep the present content of a file", role="student",
          body=ref("Comment"), data=ref("Save"), status=201, errors=(409,), tag="saves"),
    Route("GET", ASSET + "/validations", look_before, "what there is to know before a file is published",
          role="student", data=ref("Findings"), errors=(409,), tag="saves"),
    Route("POST", ASSET + "/publish", publish,
          "freeze the present content as the next version; 200 where nothing changed since the last one, 409 "
          "with `findings` where a check stops it or asks",
          role="student", body=ref("Publication"), data=ref("Version"), status=201, errors=(200, 409),
          tag="saves"),
    Route("POST", ASSET + "/restore", bring_back_save,
          "bring an earlier save back, the present one is kept; or beside it, under a free name",
          role="student", body=ref("Restore"), data=ref("Restored"), errors=(409,), tag="saves"),
    Route("POST", ASSET + "/forget", forget, "put away what is known of a file that is gone",
          role="student", data=ref("Kept"), errors=(409,), tag="saves"),
    Route("POST", ASSET + "/away", put_away, "put a file away as if it were missing: its record stays",
          role="student", data=ref("Kept"), errors=(409,), tag="saves"),
    Route("GET", "/api/deleted", list_deleted, "what was deleted and can be brought back, newest first",
          query={"project": (TEXT, "only this project's"), **PAGING}, listing=True, data=ref("Deleted"),
          errors=(404,), tag="saves"),
    Route("POST", "/api/restore", undo_deletion, "undo a deletion, by its folder in old/", role="student",
          body=ref("Deletion"), data=ref("Back"), errors=(404, 409), tag="saves"),
]  # fmt: skip
