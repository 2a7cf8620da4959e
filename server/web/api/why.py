"""The API's answers to 'why': why a job waits, why a node was given what it was given."""

from __future__ import annotations

from server.web.api.table import Route, ref
from server.web.requests import Answer, Call
from server.web.services import Services


def why_job(services: Services, call: Call) -> Answer:
    told = services.farm.why(call.params["id"])
    return Answer(told, told["sentence"])


def why_node(services: Services, call: Call) -> Answer:
    told = services.farm.why_node(call.params["name"])
    return Answer(told, told["sentence"])


ROUTES = [
    Route("GET", "/api/jobs/{id}/why", why_job, "why a job waits, and what each computer has to say to it",
          data=ref("WhyJob"), tag="jobs"),
    Route("GET", "/api/nodes/{name}/why", why_node, "what a computer does, and why it was given that",
          data=ref("WhyNode"), tag="farm"),
]  # fmt: skip
