"""The API of a project's film: which picture stands at each frame, shot after shot."""

from __future__ import annotations

from server.disk.speech import say
from server.web.api.table import PAGING, Route, ref
from server.web.pages.shots import record
from server.web.requests import Answer, Call, number
from server.web.services import Services


def frames(services: Services, call: Call) -> Answer:
    project = services.projects.get(call.params["project"])
    tag = call.params["tag"]
    reel = services.reels.of(project) if tag == "now" else services.reels.kept(project, tag)
    start = number(call.query, "cursor", 0, 0, 10**9)
    limit = number(call.query, "limit", 100, 1, 1000)
    rows = [record(project, one) for one in services.reels.records(reel, start, limit)]
    said = say("{frames} frames in {shots} shots.", frames=reel.total, shots=len(reel.shots))
    following = str(start + limit) if start + limit < reel.total else None
    return Answer(rows, said, next=following, is_list=True)


ROUTES = [
    Route("GET", "/api/projects/{project}/film/{tag}/frames", frames,
          "the frames of the film that have a picture; the tag 'now' is the film as it is", query=PAGING,
          listing=True, data=ref("FilmFrame"), errors=(404,), tag="projects"),
]  # fmt: skip
