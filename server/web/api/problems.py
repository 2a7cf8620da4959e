"""The API of problems: what a person should look at, and the mends behind its buttons."""

from __future__ import annotations

from server.disk import faults
from server.disk.speech import count, say
from server.library.problems import of_project
from server.web.api.table import PAGING, TEXT, Route, ref
from server.web.requests import Answer, Call, page_of
from server.web.services import Services

FILTERS = {
    "project": (TEXT, "only what concerns this project; everything if not given"),
    "kind": (TEXT, "only problems of this kind"),
}


def list_problems(services: Services, call: Call) -> Answer:
    found = list(services.problems.all())
    project, kind = call.query.get("project", ""), call.query.get("kind", "")
    if project:
        found = of_project(found, services.projects.get(project).address)
    if kind:
        found = [problem for problem in found if problem.kind == kind]
    rows, following = page_of(found, call.query)
    text = count("{n} problem.", "{n} problems.", len(found)) if found else say("Nothing is wrong.")
    return Answer([faults.as_data(problem) for problem in rows], text, next=following, is_list=True)


def mend(services: Services, call: Call) -> Answer:
    user = call.require("student")
    more = dict(call.body)
    name, address = more.pop("mend"), more.pop("address")
    try:
        done = services.mending.mend(name, address, more, user)
    finally:
        services.problems.look_again()
    undo = faults.action_data(done.undo) if done.undo is not None else None
    return Answer({"undo": undo}, done.message)


ROUTES = [
    Route("GET", "/api/problems", list_problems, "what a person should look at, the worst first",
          query={**FILTERS, **PAGING}, listing=True, data=ref("Problem"), errors=(404,), tag="operations"),
    Route("POST", "/api/problems/mend", mend, "mend one problem, as its button says", role="student",
          body=ref("Mend"), data=ref("Mended"), errors=(404, 409), tag="operations"),
]  # fmt: skip
