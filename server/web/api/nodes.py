"""The API of the computers that render: those that are there, those that ask to join, their tokens."""

from __future__ import annotations

import datetime
from typing import Any

from server.disk.errors import NotFound
from server.disk.speech import count, say
from server.web.api.table import PAGING, Route, ref
from server.web.requests import Answer, Call, page_of
from server.web.services import Services


def list_nodes(services: Services, call: Call) -> Answer:
    nodes = services.farm.machines.all()
    rows, following = page_of(nodes, call.query)
    return Answer(
        list(rows), count("{n} computer.", "{n} computers.", len(nodes)), next=following, is_list=True
    )


def show_node(services: Services, call: Call) -> Answer:
    node = services.farm.machines.one(call.params["name"])
    return Answer(
        node,
        say(
            "{name} is {state}{words}{closed}.",
            name=node["name"],
            state=node["state"],
            words=": " if node["closed"] else "",
            closed=node["closed"],
        ),
    )


def change_node(services: Services, call: Call) -> Answer:
    user = call.require("supervisor")
    node = services.farm.machines.change(call.params["name"], call.body, user.ident)
    return Answer(node, said(node, call.body))


def said(node: dict[str, Any], changes: dict[str, Any]) -> str:
    """What a change means, in a sentence."""
    name = node["name"]
    if "paused" in changes:
        return f"{name} {say('takes no more frames') if node['paused'] else say('takes frames again')}."
    if "draining" in changes:
        if node["draining"]:
            return say("{name} finishes what it has, and takes nothing more.", name=name)
        return say("{name} takes frames again.", name=name)
    if "schedule" in changes:
        return say(
            "{name} works {words}.",
            name=name,
            words="in its hours alone" if node["schedule"] else "at any time",
        )
    if "power" in changes:
        power = node["power"]
        off, on = power["shutdown"], power["wake"]
        words = {
            (True, True): say("is switched off when there is nothing to do, and woken when there is"),
            (True, False): say("is switched off when there is nothing to do"),
            (False, True): say("is woken when there is work"),
            (False, False): say("is neither switched off nor woken by the farm"),
        }
        return f"{name} {words[off, on]}."
    if "idle_only" in changes:
        return say(
            "{name} works {words}.",
            name=name,
            words="only while nobody sits at it" if node["idle_only"] else "at any time",
        )
    return say("{name} is changed.", name=name)


def wake_node(services: Services, call: Call) -> Answer:
    node = services.farm.machines.wake(call.params["name"], call.require("supervisor").ident)
    return Answer(node, say("{name} is called: it may take some minutes to start.", name=node["name"]))


def shut_node_down(services: Services, call: Call) -> Answer:
    node = services.farm.machines.shut_down(call.params["name"], call.require("supervisor").ident)
    return Answer(node, say("{name} is told to switch itself off.", name=node["name"]))


def update_node(services: Services, call: Call) -> Answer:
    node = services.farm.machines.update(call.params["name"])
    return Answer(
        node, say("{name} fetches the server's program, and starts again with it.", name=node["name"])
    )


def forget_node(services: Services, call: Call) -> Answer:
    kept = services.farm.machines.forget(call.params["name"], services.people.revoke_node)
    return Answer(
        {"name": kept["name"]}, say("{name} is forgotten, and its tokens are revoked.", name=kept["name"])
    )


def remember_node(services: Services, call: Call) -> Answer:
    name = call.params["name"]
    node = services.farm.machines.remember(name)
    services.people.restore_node(name)
    return Answer(node, say("{name} is one of the farm's computers again.", name=name))


# Who asks to join


def list_asking(services: Services, call: Call) -> Answer:
    found = [shown(one) for one in services.farm.machines.asking()]
    rows, following = page_of(found, call.query)
    return Answer(
        list(rows),
        count("{n} computer wants to join.", "{n} computers want to join.", len(found)),
        next=following,
        is_list=True,
    )


def decide(services: Services, call: Call) -> Answer:
    user = call.require("admin")
    do = call.body["do"]
    one = services.farm.machines.decide(call.params["code"], do, user.ident, services.people.revoke_node)
    words = {
        "admit": say("is admitted: it begins within seconds"),
        "refuse": say("is refused"),
        "wait": say("waits to be admitted again"),
    }
    return Answer(shown(one), f"{one['name']} {words[do]}.")


def shown(one: dict[str, Any]) -> dict[str, Any]:
    since = datetime.datetime.fromtimestamp(one["since"], datetime.UTC)
    return {**one, "since": since.isoformat(timespec="seconds").replace("+00:00", "Z")}


# Tokens


def list_tokens(services: Services, call: Call) -> Answer:
    found = services.people.node_tokens(call.params["name"])
    rows, following = page_of(found, call.query)
    return Answer(list(rows), count("{n} token.", "{n} tokens.", len(found)), next=following, is_list=True)


def revoke_token(services: Services, call: Call) -> Answer:
    token = token_of(services, call)
    services.people.revoke(token["id"])
    return Answer(token, say("The token {id} is revoked: whoever has it is refused.", id=token["id"]))


def token_of(services: Services, call: Call) -> dict[str, Any]:
    for token in services.people.node_tokens(call.params["name"]):
        if token["id"] == call.params["token"]:
            return token
    raise NotFound(
        "{name} has no token {token}.", name=call.params["name"], token=repr(call.params["token"][:40])
    )


def restore_token(services: Services, call: Call) -> Answer:
    services.people.unrevoke(call.params["token"])
    return Answer(
        token_of(services, call), say("The token {token} is good again.", token=call.params["token"])
    )


NODE = "/api/nodes/{name}"
ROUTES = [
    Route("GET", "/api/nodes", list_nodes, "every computer of the farm", query=PAGING, listing=True,
          data=ref("Node"), tag="farm"),
    Route("GET", "/api/farm/joining", list_asking, "computers that ask to join", query=PAGING, listing=True,
          role="admin", data=ref("Asking"), tag="farm"),
    Route("POST", "/api/farm/joining/{code}", decide, "admit a computer, refuse it, or let it wait again",
          role="admin", body=ref("Decision"), data=ref("Asking"), errors=(404, 409), tag="farm"),
    Route("GET", NODE, show_node, "one computer", data=ref("Node"), tag="farm"),
    Route("PATCH", NODE, change_node,
          "pause or drain a computer; its groups, tags, hours, power; whether people at it come first",
          role="supervisor", body=ref("NodeChange"), data=ref("Node"), tag="farm"),
    Route("DELETE", NODE, forget_node, "forget a computer, and revoke its tokens", role="admin",
          data=ref("Forgotten"), errors=(409,), tag="farm"),
    Route("POST", NODE + "/remember", remember_node, "take that back", role="admin", data=ref("Node"),
          tag="farm"),
    Route("POST", NODE + "/wake", wake_node, "wake a computer that is switched off", role="supervisor",
          data=ref("Node"), errors=(409,), tag="farm"),
    Route("POST", NODE + "/shutdown", shut_node_down, "have a computer switch itself off", role="supervisor",
          data=ref("Node"), errors=(409,), tag="farm"),
    Route("POST", NODE + "/update", update_node, "have a computer fetch the server's own program",
          role="admin", data=ref("Node"), errors=(409,), tag="farm"),
    Route("GET", NODE + "/tokens", list_tokens, "what a computer is known by", role="admin", query=PAGING,
          listing=True, data=ref("NodeToken"), tag="farm"),
    Route("DELETE", NODE + "/tokens/{token}", revoke_token, "revoke a token", role="admin",
          data=ref("NodeToken"), tag="farm"),
    Route("POST", NODE + "/tokens/{token}", restore_token, "take that back", role="admin",
          data=ref("NodeToken"), errors=(409,), tag="farm"),
]  # fmt: skip
