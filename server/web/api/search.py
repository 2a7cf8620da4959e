"""The API of the search over everything."""

from __future__ import annotations

from server.disk.speech import count
from server.web import finding
from server.web.api.table import TEXT, Route, ref
from server.web.requests import Answer, Call, number
from server.web.services import Services

QUERY = {
    "q": ({"type": "string", "maxLength": 500}, "words, and for files field:value pairs such as state:us"),
    "project": (TEXT, "the project's ident; all projects if not given"),
    "limit": ({"type": "integer", "minimum": 1, "maximum": 100}, "of each kind; 20 if not given"),
}


def search_everything(services: Services, call: Call) -> Answer:
    one = call.query.get("project", "")
    project = services.projects.get(one) if one else None
    limit = number(call.query, "limit", finding.LIMIT, 1, 100)
    found = finding.find(services, call.query.get("q", "").strip(), project, limit)
    files = [
        services.assets.view(entry, services.projects.get(ident))
        for ident, group in found.files.items()
        for entry in group.first
    ]
    data = {
        "files": files,
        "people": [services.people.view(user) for user in found.people.first],
        "projects": [services.projects.view(project) for project in found.projects.first],
        "notes": [note.view() for note in found.notes.first],
        "renders": [services.farm.view(job) for job in found.renders.first],
        "totals": {
            "files": sum(group.total for group in found.files.values()),
            "people": found.people.total,
            "projects": found.projects.total,
            "notes": found.notes.total,
            "renders": found.renders.total,
        },
    }
    return Answer(data, count("{n} thing found.", "{n} things found.", found.total))


ROUTES = [
    Route("GET", "/api/search", search_everything, "files, people, projects, notes, renders",
          query=QUERY,
          data=ref("Everything"), errors=(404,), tag="assets"),
]  # fmt: skip
