"""The API of job types: what can be asked of the farm, and with which settings."""

from __future__ import annotations

from typing import Any

from server.disk import paths
from server.disk.speech import count
from server.web.api.table import TEXT, Route, ref
from server.web.requests import Answer, Call
from server.web.services import Services

FILTER: dict[str, Any] = {
    "file": (TEXT, "only those that this file can be rendered with, the usual one first")
}


def list_types(services: Services, call: Call) -> Answer:
    address = call.query.get("file", "")
    types = services.farm.types
    found = types.that_take(paths.name_of(address)) if address else list(types.all().values())
    return Answer(
        [job_type.view() for job_type in found],
        count("{n} kind of job.", "{n} kinds of job.", len(found)),
        is_list=True,
    )


ROUTES = [
    Route("GET", "/api/job_types", list_types, "kinds of job, with their settings and stages", query=FILTER,
          listing=True, data=ref("JobType"), tag="jobs"),
]  # fmt: skip
