"""What a request says of when, where and on how many nodes at once a job may be rendered.

`check` takes it from a request, refusing with a sentence what makes no sense; `read` takes it from a record,
where what makes no sense counts as not said. Pure.
"""

from __future__ import annotations

import datetime
import zoneinfo
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from server.disk.errors import BadInput, NotFound
from server.farm.stages import BY

KEYS = ("after", "start_after", "nodes_most", "licences", "groups")
MOST_AFTER = 100  # jobs that one may wait for
MOST_NODES = 100_000
MOST_NAMES = 20
LONGEST_NAME = 60
FURTHEST_S = 366 * 86_400 * 10  # a start that is further away is a mistake


@dataclass(frozen=True, slots=True)
class After:
    """A job that must be done first: all of it, or the same frame."""

    job: str
    by: str  # all or frame


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one job."""

    after: tuple[After, ...] = ()
    start: float = 0.0  # seconds since the epoch: not before; 0: at once
    most: int = 0  # tasks that may be out at once; 0: any number


def read(told: Mapping[str, Any]) -> Plan:
    """The plan in a record or in a line of the journal."""
    after = told.get("after")
    found = [
        After(data["job"], "frame" if data.get("by") == "frame" else "all")
        for data in (after[:MOST_AFTER] if isinstance(after, list) else ())
        if isinstance(data, Mapping) and isinstance(data.get("job"), str)
    ]
    most = told.get("nodes_most")
    most = most if isinstance(most, int) and not isinstance(most, bool) and 0 < most <= MOST_NODES else 0
    return Plan(tuple(found), start_of(told.get("start_after")), most)


def start_of(text: object) -> float:
    """Seconds since the epoch of an RFC 3339 time; 0 where it is none."""
    try:
        when = datetime.datetime.fromisoformat(text) if isinstance(text, str) else None
        return max(0.0, when.timestamp()) if when is not None and when.tzinfo is not None else 0.0
    except (ValueError, OverflowError):
        return 0.0


def check(
    request: Mapping[str, Any], known: Callable[[str], bool], now: float, zone: str = "UTC"
) -> dict[str, Any]:
    """What of `KEYS` a record holds for this request; BadInput or NotFound for what can't be meant.

    `known` says whether there is a job of this id. Times without a zone are of the house's.
    """
    found: dict[str, Any] = {}
    after = _after(request.get("after"), known)
    if after:
        found["after"] = after
    start = _start(request.get("start_after"), now, zone)
    if start:
        found["start_after"] = start
    most = request.get("nodes_most")
    if most is not None and (
        isinstance(most, bool) or not isinstance(most, int) or not 0 <= most <= MOST_NODES
    ):
        raise BadInput(
            "nodes_most must be a whole number from 0 (any number) to {most_nodes}.", most_nodes=MOST_NODES
        )
    if most:
        found["nodes_most"] = most
    for key in ("licences", "groups"):
        names = _names(key, request.get(key))
        if names:
            found[key] = names
    return found


def _after(told: object, known: Callable[[str], bool]) -> list[dict[str, str]]:
    if told is None:
        return []
    if not isinstance(told, list) or len(told) > MOST_AFTER:
        raise BadInput(
            'after is a list of at most {most_after} jobs, such as [{"job": id, "by": "all"}].',
            most_after=MOST_AFTER,
        )
    found: dict[str, str] = {}
    for data in told:
        data = {"job": data} if isinstance(data, str) else data
        if (
            not isinstance(data, Mapping)
            or not isinstance(data.get("job"), str)
            or data.keys() - {"job", "by"}
        ):
            raise BadInput('Each of after names a job, such as {"job": id, "by": "frame"}.')
        by = data.get("by", "all")
        if by not in BY:
            raise BadInput(
                "after: by must be one of {by}, not {given}.", by=", ".join(BY), given=repr(str(by)[:40])
            )
        if not known(data["job"]):
            raise NotFound("after names the job {job}, which there is not.", job=repr(data["job"][:60]))
        found[data["job"]] = by
    return [{"job": job, "by": by} for job, by in found.items()]


def _start(told: object, now: float, zone: str) -> str:
    """The time in UTC; "" where none is given or it is over."""
    if told in (None, ""):
        return ""
    try:
        when = datetime.datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        when = None
    if when is None:
        raise BadInput('start_after is a time such as "2026-11-23T20:00:00+01:00".')
    if when.tzinfo is None:
        when = when.replace(tzinfo=_zone(zone))
    try:
        seconds = when.timestamp()
        utc = when.astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        raise BadInput("start_after: {told} is no time that a computer knows.", told=str(told)[:40]) from None
    if seconds > now + FURTHEST_S:
        raise BadInput("start_after: {utc:%Y-%m-%d} is more than ten years away.", utc=utc)
    return utc.isoformat(timespec="seconds").replace("+00:00", "Z") if seconds > now else ""


def _zone(name: str) -> datetime.tzinfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return datetime.UTC


def _names(key: str, told: object) -> list[str]:
    if told is None:
        return []
    if not isinstance(told, list) or len(told) > MOST_NAMES:
        raise BadInput("{key} is a list of at most {most_names} names.", key=key, most_names=MOST_NAMES)
    for name in told:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise BadInput(
                "{key}: a name is a text of 1 to {longest_name} characters.",
                key=key,
                longest_name=LONGEST_NAME,
            )
    return sorted(set(told))
