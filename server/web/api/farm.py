"""The API of the farm: computers, and pausing it all."""

from __future__ import annotations

from server.web.api.table import PAGING, Route, ref
from server.web.requests import Answer, Call, page_of
from server.web.services import Services


def list_nodes(services: Services, call: Call) -> Answer:
    nodes = services.farm.nodes()
    rows, following = page_of(nodes, call.query)
    return Answer(list(rows), f"{len(nodes)} computers.", next=following, is_list=True)


def show_node(services: Services, call: Call) -> Answer:
    node = services.farm.node(call.params["name"])
    return Answer(node, f"{node['name']} is {node['state']}.")


def change_node(services: Services, call: Call) -> Answer:
    user = call.require("supervisor")
    paused = call.body["paused"]
    services.farm.pause_node(call.params["name"], paused, user.ident)
    node = services.farm.node(call.params["name"])
    return Answer(node, f"{node['name']} {'takes no more frames' if paused else 'takes frames again'}.")


def pause_farm(services: Services, call: Call) -> Answer:
    services.farm.pause(call.require("supervisor").ident)
    return Answer({"paused": True}, "The farm is paused: frames that render now are finished.")


def resume_farm(services: Services, call: Call) -> Answer:
    services.farm.resume(call.require("supervisor").ident)
    return Answer({"paused": False}, "The farm goes on.")


ROUTES = [
    Route("GET", "/api/nodes", list_nodes, "every computer of the farm", query=PAGING, listing=True,
          data=ref("Node"), tag="farm"),
    Route("GET", "/api/nodes/{name}", show_node, "one computer", data=ref("Node"), tag="farm"),
    Route("PATCH", "/api/nodes/{name}", change_node, "pause a computer, or let it go on", role="supervisor",
          body=ref("NodeChange"), data=ref("Node"), tag="farm"),
    Route("POST", "/api/farm/pause", pause_farm, "give out no more frames", role="supervisor",
          data=ref("FarmState"), tag="farm"),
    Route("POST", "/api/farm/resume", resume_farm, "give out frames again", role="supervisor",
          data=ref("FarmState"), tag="farm"),
]  # fmt: skip
