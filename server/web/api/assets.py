"""The API of assets: search, one, editing with If-Match, creating, deleting, history."""

from __future__ import annotations

import logging
from typing import Any

from server.disk import faults, paths
from server.disk.encoding import shown
from server.disk.errors import BadInput, CroftError, Stale
from server.disk.speech import count, say
from server.farm.jobs import states
from server.library.assets.listing import becomes_asset
from server.library.assets.many import Outcome, Wish
from server.web.api import creation
from server.web.api.saves import quoted, undo
from server.web.api.table import PAGING, TEXT, Route, ref
from server.web.requests import Answer, Call, Headers, etag_matches, number
from server.web.services import Services

log = logging.getLogger(__name__)

FILTERS = {
    "project": (TEXT, "the project's ident; all projects if not given"),
    "q": ({"type": "string", "maxLength": 500}, "words, and field:value pairs such as state:done -tag:old"),
    "type": (TEXT, "only this type"),
    "state": (TEXT, "only this production state"),
    "owner": (TEXT, "only this person's; none: nobody's"),
    "sort": (TEXT, "name, path, type, state, priority, owner, modified, size, status, kind; -name reverses"),
    "files": ({"type": "boolean"}, "true: files that aren't assets too"),
}
EDITED_ON = {"If-Match": "the ETag of the record that the edit was made on"}


def search_assets(services: Services, call: Call) -> Answer:
    query = call.query
    limit = number(query, "limit", 100, 1, 1000)
    cursor = query.get("cursor", "")
    one = query.get("project", "")
    if one:
        rows, following, total = in_project(services, query, one, limit, cursor)
        return Answer(rows, count("{n} found.", "{n} found.", total), next=following or None, is_list=True)
    found: list[Any] = []
    begin, _, inner = cursor.partition("~")
    for project in services.projects.list():
        if project.ident < begin:
            continue
        if len(found) == limit:
            return Answer(
                found,
                count("{n} found so far.", "{n} found so far.", limit),
                next=project.ident + "~",
                is_list=True,
            )
        part = inner if project.ident == begin else ""
        rows, following, _ = in_project(services, query, project.ident, limit - len(found), part)
        found += rows
        if following:
            text = count("{n} found so far.", "{n} found so far.", len(found))
            return Answer(found, text, next=f"{project.ident}~{following}", is_list=True)
    return Answer(found, count("{n} found.", "{n} found.", len(found)), is_list=True)


def in_project(
    services: Services, query: dict[str, str], project: str, limit: int, cursor: str
) -> tuple[list[dict[str, Any]], str, int]:
    page = services.assets.search(
        project,
        query.get("q", ""),
        type=query.get("type", ""),
        state=query.get("state", ""),
        owner=query.get("owner", ""),
        sort=query.get("sort") or "name",
        limit=limit,
        cursor=cursor,
        files=query.get("files") == "true",
    )
    return page.items, page.next, page.total


def show_asset(services: Services, call: Call) -> Answer:
    data = services.assets.one(call.params["address"])
    headers = etag_of(data)
    if data["etag"] and etag_matches(call.header("if-none-match"), data["etag"]):
        return Answer(status=304, headers=headers, body=[])
    return Answer(data, data["name"], headers=headers)


def create_asset(services: Services, call: Call) -> Answer:
    if "address" not in call.body:
        return creation.create(services, call)
    fields = dict(call.body)
    address = fields.pop("address")
    data = services.assets.create(address, fields, call.require("student"))
    location = ("Location", "/api/assets/" + address)
    if not becomes_asset(address):  # else it would be one again at once
        data = {**data, "undo": undo("POST", f"/api/assets/{quoted(address)}/forget")}
    return Answer(data, say("{name} is an asset now.", name=data["name"]), 201, [*etag_of(data), location])


def take_asset(services: Services, call: Call) -> Answer:
    address = call.params["address"]
    before = services.assets.get(address)
    data = services.assets.take(address, call.require("student"))
    if before.facts is not None and not before.facts.owner:
        data = {**data, "undo": undo("PATCH", f"/api/assets/{quoted(address)}", {"owner": ""})}
    return Answer(data, say("{name} is yours now.", name=data["name"]), headers=etag_of(data))


def change_asset(services: Services, call: Call) -> Answer:
    address = call.params["address"]
    user = call.require("student")
    wanted = call.header("if-match").strip().removeprefix("W/").strip('"')
    before = services.assets.get(address)
    if wanted in ("", "*"):
        etag = None
    elif etag_matches(call.header("if-match"), before.etag):
        etag = before.etag  # checked once more under the lock, by the store
    else:
        etag = wanted
    try:
        data = services.assets.edit(address, call.body, user, etag=etag)
    except Stale as error:
        record = services.assets.one(address)
        record |= {"changed_by": changed_by(services, address)}
        raise Stale(error.message, etag=record["etag"], record=record) from error
    return Answer(data, say("{name} is changed.", name=data["name"]), headers=etag_of(data))


def change_assets(services: Services, call: Call) -> Answer:
    """The same fields of several, or of each its own. What can't be changed is told beside the rest."""
    fields = dict(call.body)
    addresses, each, was = fields.pop("addresses", []), fields.pop("each", []), fields.pop("was", {})
    wishes = [Wish(address, fields, was) for address in dict.fromkeys(addresses)]
    wishes += [Wish(one["address"], one["fields"], one.get("was", {})) for one in each]
    if not wishes:
        raise BadInput(say("Choose at least one file first."), field="addresses")
    if any(not wish.fields for wish in wishes):
        raise BadInput(say("Say what is to become of them: choose a state, an owner or a priority."))
    outcome = services.assets.many.change(wishes, call.require("student"))
    back = [{"address": one.address, "fields": one.fields, "was": one.was} for one in outcome.undo]
    failed = [{"address": address, "message": error.message} for address, error in outcome.failed]
    data = {
        "changed": outcome.changed,
        "failed": failed,
        "undo": undo("POST", "/api/assets/change", {"each": back}) if back else None,
    }
    return Answer(data, said_of_many(services, outcome))


def said_of_many(services: Services, outcome: Outcome) -> str:
    """What happened, in one sentence."""
    if len(outcome.changed) == 1 and not outcome.failed:
        entry = services.assets.get(outcome.changed[0])
        return say("{name} is changed.", name=services.assets.view(entry)["name"])
    if not outcome.failed:
        return count("{n} file is changed.", "{n} files are changed.", len(outcome.changed))
    address, error = outcome.failed[0]
    return count(
        "{n} file is changed. Not changed: {left}, such as {file}: {why}",
        "{n} files are changed. Not changed: {left}, such as {file}: {why}",
        len(outcome.changed),
        left=len(outcome.failed), file=shown(paths.name_of(address)), why=error.message,
    )  # fmt: skip


def about_copy(services: Services, call: Call) -> Answer:
    body = call.body
    done = services.copies.do(
        call.params["address"], body["do"], call.require("student"),
        save=body.get("save", ""), folder=body.get("folder", ""),
    )  # fmt: skip
    back = faults.action_data(done.undo) if done.undo is not None else None
    return Answer({"undo": back}, done.message)


def delete_asset(services: Services, call: Call) -> Answer:
    address, user = call.params["address"], call.require("student")
    services.assets.check_deletable(address, user)
    stop_renders(services, address, user.ident)
    kept = services.assets.delete(address, user)
    back = {"method": "POST", "path": "/api/restore", "body": {"folder": kept}}
    data = {"address": kept, "folder": kept, "undo": back}
    return Answer(
        data,
        say(
            "{address} is deleted. It lies in the folder old beside it, and can be brought back.",
            address=paths.name_of(call.params["address"]),
        ),
    )


def stop_renders(services: Services, address: str, who: str) -> None:
    """A file that is deleted isn't rendered any more; what is done of it stays."""
    for job in services.farm.jobs(file=address):
        if job.state not in states.ENDED:
            try:
                services.farm.cancel(job.id, who)
            except CroftError as error:
                log.info("%s goes on although its file is deleted: %s", job.id, error.message)


def changed_by(services: Services, address: str) -> dict[str, str]:
    """Who changed each field last, by the name that people know: for who edits the same one."""
    users = services.settings.folder("users")
    found: dict[str, str] = {}
    for event in services.assets.history(address):
        who = str(event["who"] or "")
        found.setdefault(str(event["field"]), str(users.get(who, {}).get("title") or who))
    return found


def etag_of(data: dict[str, Any]) -> Headers:
    return [("ETag", f'"{data["etag"]}"')] if data.get("etag") else []


ROUTES = [
    Route("GET", "/api/assets", search_assets, "search", query={**FILTERS, **PAGING}, listing=True,
          data=ref("Asset"), errors=(404,), tag="assets"),
    Route("POST", "/api/assets", create_asset,
          "a new file from its type's template; or make an asset of a file that is there", role="student",
          body={"anyOf": [ref("NewFile"), ref("NewAsset")]}, data=ref("Asset"), status=201,
          errors=(404, 409), tag="assets"),
    Route("POST", "/api/assets/change", change_assets, "change fields of several assets", role="student",
          body=ref("AssetChanges"), data=ref("ManyChanged"), errors=(404, 409, 412), tag="assets"),
    Route("GET", "/api/assets/{address}", show_asset, "one asset, with what its content tells",
          data=ref("Asset"), headers={"If-None-Match": "an ETag that is known already"}, errors=(304,),
          tag="assets"),
    Route("PATCH", "/api/assets/{address}", change_asset, "change fields of one asset", role="student",
          body=ref("AssetChange"), data=ref("Asset"), headers=EDITED_ON, errors=(409, 412), tag="assets"),
    Route("POST", "/api/assets/{address}/mine", take_asset, "take an asset that nobody owns", role="student",
          data=ref("Asset"), errors=(409,), tag="assets"),
    Route("POST", "/api/assets/{address}/copy", about_copy,
          "discard a file that is a copy, make it a version of its original, or keep it as its own",
          role="student", body=ref("AboutCopy"), data=ref("Mended"), errors=(409,), tag="assets"),
    Route("DELETE", "/api/assets/{address}", delete_asset,
          "move an asset to old/, with all that is known of it", role="student", data=ref("Kept"),
          errors=(409,), tag="assets"),
]  # fmt: skip
