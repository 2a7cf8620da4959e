"""Which files of a project are to be delivered when, and what the present queue makes of that, in words.

Asks the assets for the days and the farm for the ends; pages and API tell the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from server.disk.speech import count, say
from server.farm.statistics import deliveries as found_deliveries
from server.farm.statistics import moments
from server.farm.statistics.deliveries import Delivery, Shot

if TYPE_CHECKING:
    from server.disk.records import Entry
    from server.library.projects import Project
    from server.web.services import Services


def of_project(services: Services, project: Project) -> list[dict[str, Any]]:
    """Every file of a project that has a day, the soonest first."""
    return told(services, project, services.assets.due(project.ident))


def of_file(services: Services, project: Project, entry: Entry) -> dict[str, Any] | None:
    """The same of one file; None where it has no day."""
    if entry.facts is None or not entry.facts.due:
        return None
    return told(services, project, [entry])[0]


def told(services: Services, project: Project, entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """What the present queue makes of these files' days."""
    final = {state.ident for state in services.projects.set_of(project).states.values() if state.final}
    shots = []
    for entry in entries:
        facts = entry.facts
        assert facts is not None
        name = facts.name or entry.address.rpartition("/")[2]
        shots.append(Shot(entry.address, name, facts.due, facts.owner, facts.final or facts.state in final))
    zone = services.farm.figures.zone()
    return [view(services, one) for one in services.farm.figures.deliveries(shots, zone)]


def view(services: Services, one: Delivery) -> dict[str, Any]:
    """As the API tells it."""
    ends = one.ends
    why = _why(services, one) if one.verdict == found_deliveries.UNKNOWN else ""
    return {
        "address": one.shot.address,
        "name": one.shot.name,
        "owner": one.shot.owner or None,
        "due": one.shot.due,
        "until": moments.stamp(one.due),
        "verdict": one.verdict,
        "late": one.verdict in (found_deliveries.PAST, found_deliveries.MISSED),
        "jobs": list(one.shot.jobs),
        "ends": None
        if ends is None
        else {
            "earliest": moments.stamp(ends.earliest),
            "likely": moments.stamp(ends.likely),
            "latest": moments.stamp(ends.latest),
        },
        "text": text(one, why),
    }


def _why(services: Services, one: Delivery) -> str:
    for job in one.shot.jobs:
        why = str(services.farm.view(job).get("why") or "")
        if why:
            return why
    return ""


def text(one: Delivery, why: str = "") -> str:
    """A sentence that says what becomes of it."""
    ends = one.ends
    if one.verdict == found_deliveries.DELIVERED:
        return say("Delivered.")
    if one.verdict == found_deliveries.PAST:
        return say("Its day has passed.")
    if one.verdict == found_deliveries.NOTHING:
        return say("Nothing of it is being rendered.")
    if one.verdict == found_deliveries.UNKNOWN or ends is None:
        if why:
            return say("Nobody can say when it will be done: {why}.", why=why)
        return say("Nobody can say when it will be done.")
    if one.verdict == found_deliveries.MISSED:
        return say("The present queue misses it by about {span}.", span=_span(ends.likely - one.due))
    if one.verdict == found_deliveries.TIGHT:
        return say("It may be {span} late.", span=_span(ends.latest - one.due))
    return say("It will be there, {span} before the day is over.", span=_span(one.due - ends.latest))


def _span(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 1:
        return say("{minutes} min", minutes=max(1, round(seconds / 60)))
    if hours < 36:
        return say("{hours} h", hours=round(hours))
    return count("{n} day", "{n} days", round(hours / 24))
