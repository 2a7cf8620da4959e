"""The API of protected files: locking and unlocking, and what was meant by a change made around it."""

from __future__ import annotations

from typing import Any

from server.disk import paths
from server.disk.encoding import quote
from server.disk.speech import say
from server.web.api.table import Route, ref
from server.web.requests import Answer, Call
from server.web.services import Services


def lock(services: Services, call: Call) -> Answer:
    address = call.params["address"]
    services.protection.lock(address, call.require("student"), again=call.body.get("again", False))
    services.problems.look_again()
    return Answer(services.assets.one(address), say("{name} is protected.", name=paths.name_of(address)))


def unlock(services: Services, call: Call) -> Answer:
    address = call.params["address"]
    services.protection.unlock(address, call.require("student"), call.body["reason"])
    services.problems.look_again()
    data = {**services.assets.one(address), "undo": undo(address, "lock", {"again": True})}
    return Answer(
        data, say("{name} is unlocked. The reason stands in its history.", name=paths.name_of(address))
    )


def put_back(services: Services, call: Call) -> Answer:
    address, user = call.params["address"], call.require("student")
    name, save, new = paths.name_of(address), call.body.get("save") or "", call.body.get("discard") or ""
    try:
        if save:
            services.meant.undo_put_back(address, save, new, user)
            return Answer({"address": address, "kept": "", "undo": undo(address, "put-back")},
                          say("{name} is what it was changed to.", name=name))  # fmt: skip
        done = services.meant.put_back(address, user)
    finally:
        services.problems.look_again()
    back = undo(address, "put-back", {"save": done.kept}) if done.kept else None
    data = {"address": address, "kept": done.kept, "undo": back}
    version = paths.version_said(done.version)
    if not done.kept:
        return Answer(data, say("{name} is version {version} again.", name=name, version=version))
    told = say("{name} is version {version} again. What it had become is kept.", name=name, version=version)
    return Answer(data, told)


def carry_on(services: Services, call: Call) -> Answer:
    address = call.params["address"]
    try:
        done = services.meant.carry_on(address, call.require("student"))
    finally:
        services.problems.look_again()
    new, old = paths.name_of(done.address), paths.name_of(address)
    data = services.assets.one(done.address)
    headers = [("Location", "/api/assets/" + quote(done.address, safe="/:@"))]
    back = {"method": "DELETE", "path": f"/api/assets/{quote(done.address, safe='/:@')}", "body": None}
    told = say("Go on with {new}: it lies beside {old}, and is yours.", new=new, old=old)
    if done.put_back is not None:
        back = undo(address, "put-back", {"save": done.put_back.kept, "discard": done.address})
        told = say(
            "What was changed goes on as {new}, which is yours. {old} is version {version} again.",
            new=new,
            old=old,
            version=done.put_back.version,
        )
    return Answer({**data, "undo": back}, told, 201, headers)


def undo(address: str, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"method": "POST", "path": f"/api/assets/{quote(address, safe='/:@')}/{what}", "body": body or {}}


ASSET = "/api/assets/{address}"
ROUTES = [
    Route("POST", ASSET + "/lock", lock, "protect a file as it is: for its owner and supervisors",
          role="student", body=ref("Lock"), data=ref("Asset"), errors=(409,), tag="protection"),
    Route("POST", ASSET + "/unlock", unlock, "unlock a protected file, for a reason that its history keeps",
          role="student", body=ref("Unlock"), data=ref("Asset"), errors=(409,), tag="protection"),
    Route("POST", ASSET + "/put-back", put_back,
          "put the published bytes back that a protected file was changed from; or undo that",
          role="student", body=ref("PutBack"), data=ref("Restored"), errors=(409,), tag="protection"),
    Route("POST", ASSET + "/carry-on", carry_on,
          "carry on with a protected file as a new one beside it, which is yours",
          role="student", data=ref("Asset"), status=201, errors=(409,), tag="protection"),
]  # fmt: skip
