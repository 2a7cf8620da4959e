"""The API of the farm's figures: sums by day, project, person, computer and file; a file's renders; what is
due; what failed."""

from __future__ import annotations

import csv
import io
from typing import Any

from server.disk.speech import count, say
from server.farm.statistics import tables
from server.farm.statistics.tables import Table
from server.web import due
from server.web.api.table import PAGING, TEXT, Route, ref
from server.web.requests import Answer, Call, number, page_of
from server.web.services import Services

DAYS = 14  # where a request says nothing
CSV = "text/csv; charset=utf-8"
QUERY: dict[str, Any] = {
    "by": ({"type": "string", "enum": list(tables.BY)}, "what a row is for; day if not given"),
    "days": (
        {"type": "integer", "minimum": 0, "maximum": tables.DAYS_MOST},
        f"the last so many days, today among them; 0: all that is known; {DAYS} if not given",
    ),
    "project": (TEXT, "only this project's work"),
    "user": (TEXT, "only this person's work"),
}
COLUMNS = (
    *("key", "frames", "jobs", "hours", "hours_for_nothing", "hours_beside", "failed", "lost"),
    *("hours_available", "utilisation"),
)


def show(services: Services, call: Call) -> Answer:
    by, days, found = asked(services, call)
    figures = services.farm.figures
    data = {
        "by": by,
        "days": days,
        "timezone": str(figures.zone()),
        "rows": [row.view() for row in found.rows],
        "total": found.total.view(),
        "reasons": found.reasons,
        "saved_hours": round(figures.saved_hours(), 2),
    }
    return Answer(
        data,
        say(
            "{frames} frames in {busy:.1f} hours of computers.",
            frames=found.total.frames,
            busy=found.total.busy / 3600,
        ),
    )


def asked(services: Services, call: Call) -> tuple[str, int, Table]:
    """What a request wants to know."""
    query = call.query
    by = query.get("by") or "day"
    days = number(query, "days", DAYS, 0, tables.DAYS_MOST)
    figures = services.farm.figures
    found = figures.table(by, days, figures.zone(), query.get("project", ""), query.get("user", ""))
    return by, days, found


def download(services: Services, call: Call) -> Answer:
    """The same rows for a spreadsheet."""
    by, days, found = asked(services, call)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([by, *COLUMNS[1:]])
    for row in [*found.rows, found.total]:
        view = row.view()
        writer.writerow([plain(view["key"]), *("" if view[n] is None else view[n] for n in COLUMNS[1:])])
    body = text.getvalue().encode("utf-8", "replace")
    name = f"croft-{by}-{days or 'all'}.csv"
    headers = [
        ("Content-Type", CSV),
        ("Content-Length", str(len(body))),
        ("Content-Disposition", f'attachment; filename="{name}"'),
    ]
    return Answer(headers=headers, body=[body])


def plain(text: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def list_renders(services: Services, call: Call) -> Answer:
    address = call.params["address"]
    entry = services.assets.get(address)
    asset = services.assets.one(entry.address)
    span, since = asset["facts"].get("frames"), asset["statistics_since"]
    data = services.farm.figures.renders(entry.address, span if isinstance(span, list) else None, since)
    return Answer(data, count("{n} render.", "{n} renders.", data["count"]))


def list_deliveries(services: Services, call: Call) -> Answer:
    found = due.of_project(services, services.projects.get(call.params["project"]))
    late = sum(1 for one in found if one["late"])
    rows, following = page_of(found, call.query)
    return Answer(
        list(rows),
        say("{found} files with a day, {late} late.", found=len(found), late=late),
        next=following,
        is_list=True,
    )


def list_failures(services: Services, call: Call) -> Answer:
    user = call.require("student")
    found = services.farm.figures.failures(user.ident, call.query.get("project", ""), 1000)
    rows, following = page_of(found, call.query)
    text = say("{found} of your renders have failed frames.", found=len(found))
    return Answer(list(rows), text, next=following, is_list=True)


ROUTES = [
    Route("GET", "/api/farm/statistics", show, "what the farm did, by day, project, user, node or file",
          query=QUERY, data=ref("Statistics"), tag="statistics"),
    Route("GET", "/api/farm/statistics.csv", download, "the same rows for a spreadsheet", query=QUERY,
          media="text/csv", tag="statistics"),
    Route("GET", "/api/farm/failures", list_failures, "what of one's own renders failed and stands",
          role="student", query={"project": (TEXT, "only this project's"), **PAGING}, listing=True,
          data=ref("Failure"), tag="statistics"),
    Route("GET", "/api/assets/{address}/renders", list_renders, "a file's renders, and what they took",
          data=ref("Renders"), tag="statistics"),
    Route("GET", "/api/projects/{project}/deliveries", list_deliveries,
          "files with a day, and whether the present queue will bring them by then", query=PAGING,
          listing=True, data=ref("Delivery"), tag="statistics"),
]  # fmt: skip
