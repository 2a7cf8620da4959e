"""The API of what people do with one file besides editing its fields: support it, add hours to it."""

from __future__ import annotations

from server.disk import paths
from server.disk.encoding import quote
from server.disk.speech import say
from server.library.assets import acts
from server.web.api.table import Route, ref
from server.web.requests import Answer, Call
from server.web.services import Services


def support(services: Services, call: Call) -> Answer:
    """One person more, or less: whoever else is added at the same time stays."""
    address, user = call.params["address"], call.require("student")
    who, on = call.body.get("user") or user.ident, call.body.get("on", True)
    changed = acts.support(services.store, services.people, services.assets, address, who, on, user)
    title = services.people.user(who).title if services.people.known(who) else who
    name = paths.name_of(address)
    told = say("{person} supports {file}.", person=title, file=name)
    if not on:
        told = say("{person} doesn’t support {file} any more.", person=title, file=name)
    back = undo(address, "support", {"user": who, "on": not on}) if changed else None
    return Answer({**services.assets.one(address), "undo": back}, told)


def spend(services: Services, call: Call) -> Answer:
    """Hours that somebody worked on it, added to those that are there."""
    address, hours = call.params["address"], call.body["hours"]
    before, spent = acts.spend(services.store, services.assets, address, hours, call.require("student"))
    told = say("{hours} h spent on {file} so far.", hours=f"{spent:g}", file=paths.name_of(address))
    back = undo(address, "time", {"hours": before - spent}) if before != spent else None
    return Answer({**services.assets.one(address), "undo": back}, told)


def clone(services: Services, call: Call) -> Answer:
    """A copy of the file beside it, with a record of its own."""
    address, user = call.params["address"], call.require("student")
    new = services.creation.clone(address, user, call.body.get("name") or "", call.body.get("file") or "")
    data = services.assets.one(new)
    back = {"method": "DELETE", "path": f"/api/assets/{quote(new, safe='/:@')}", "body": None}
    told = say("{name} lies beside it as {file}, and is yours.", name=data["name"], file=paths.name_of(new))
    headers = [("Location", "/api/assets/" + quote(new, safe="/:@"))]
    return Answer({**data, "undo": back}, told, 201, headers)


def undo(address: str, what: str, body: dict[str, object]) -> dict[str, object]:
    return {"method": "POST", "path": f"/api/assets/{quote(address, safe='/:@')}/{what}", "body": body}


ASSET = "/api/assets/{address}"
ROUTES = [
    Route("POST", ASSET + "/support", support, "support a file, or have somebody do so, or no longer",
          role="student", body=ref("Support"), data=ref("Asset"), errors=(409,), tag="assets"),
    Route("POST", ASSET + "/time", spend, "add hours to those that people spent on a file",
          role="student", body=ref("Hours"), data=ref("Asset"), errors=(409,), tag="assets"),
    Route("POST", ASSET + "/clone", clone, "copy a file beside itself, with a record of its own",
          role="student", body=ref("Clone"), data=ref("Asset"), status=201, errors=(409,), tag="assets"),
]  # fmt: skip
