"""The API of computers elsewhere: what prenodes have there, where each job may run, and rules tried out."""

from __future__ import annotations

from server.disk.speech import count
from server.web.api.table import Route, ref
from server.web.requests import Answer, Call
from server.web.services import Services


def elsewhere(services: Services, call: Call) -> Answer:
    return Answer(services.farm.bridging.view())


def where(services: Services, call: Call) -> Answer:
    return Answer(services.farm.places.dry(None))


def dry_run(services: Services, call: Call) -> Answer:
    found = services.farm.places.dry(call.body)
    changed = sum(row["now"] != row["then"] for row in found["jobs"])
    said = count("Of {n} render it would be another.", "Of {n} renders it would be another.", changed)
    return Answer(found, said)


ROUTES = [
    Route("GET", "/api/farm/elsewhere", elsewhere, "computers elsewhere: what waits, runs and failed there",
          data=ref("Elsewhere"), tag="farm"),
    Route("GET", "/api/farm/where", where, "where each open job may run, and why",
          data=ref("WhereAll"), tag="farm"),
    Route("POST", "/api/farm/where", dry_run, "try rules out: what they would decide now; changes nothing",
          role="supervisor", body=ref("WhereRules"), data=ref("WhereAll"), tag="farm"),
]  # fmt: skip
