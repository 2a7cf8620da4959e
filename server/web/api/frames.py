"""The API of frames: what is kept of each that is done, and what its renderer said."""

from __future__ import annotations

import dataclasses
from typing import Any

from server.disk import paths
from server.disk.encoding import quote
from server.disk.speech import count
from server.web.api.table import PAGING, Route, ref
from server.web.requests import Answer, Call, number
from server.web.services import Services

LOG_QUERY: dict[str, Any] = {
    "attempt": ({"type": "integer", "minimum": 0}, "which try, 1 for the first; the newest without it"),
    "offset": ({"type": "integer", "minimum": 0}, "only what comes after: `next` of the last answer"),
}


def list_frames(services: Services, call: Call) -> Answer:
    start = number(call.query, "cursor", 0, 0, 10**9)
    limit = number(call.query, "limit", 100, 1, 1000)
    found, following = services.farm.records(call.params["id"], start, limit)
    rows = [with_urls(record) for record in found]
    return Answer(
        rows,
        count("{n} frame.", "{n} frames.", len(rows)),
        next=None if following is None else str(following),
        is_list=True,
    )


def with_urls(record: dict[str, Any]) -> dict[str, Any]:
    """A record with the address of its picture for browsers; another attempt's is another address, where no
    other render writes to the same one."""
    path = record["path"]
    place = quote(path, safe="/:@") if path else ""
    attempt = f"v={record['attempts']}" if path and paths.in_version(path) else ""
    return {
        **record,
        "image": f"/files/{place}?{attempt}".rstrip("?") if place else None,
        "thumbnail": f"/thumb/{place}?w=256&{attempt}".rstrip("&") if place else None,
    }


def show_log(services: Services, call: Call) -> Answer:
    attempt = number(call.query, "attempt", 0, 0, 10**9)
    offset = number(call.query, "offset", 0, 0, 10**15)
    found = services.farm.log(call.params["id"], int(call.params["n"]), attempt, offset)
    return Answer(dataclasses.asdict(found), count("{n} line.", "{n} lines.", len(found.text.splitlines())))


ROUTES = [
    Route("GET", "/api/jobs/{id}/frames", list_frames, "what is known of each frame that is done",
          query=PAGING, listing=True, data=ref("Frame"), errors=(409,), tag="jobs"),
    Route("GET", "/api/jobs/{id}/tasks/{n}/log", show_log, "what the renderer said, as it says it",
          query=LOG_QUERY, data=ref("Log"), errors=(409,), tag="jobs"),
]  # fmt: skip
