"""Bringing together what several sites changed in one sidecar, field by field. Pure.

Each site writes a history of its own, which nobody else changes; each line says what the sidecar held when it
was written (`seen`: how far the other sites' histories were in it, and `etag`: the sidecar that came of it).
So for any sidecar it can be told which changes it lacks, however a synchronising program treated it, and of
two changes of a field whether one was made in the knowledge of the other. If none was, and they differ, that
is a conflict: shown, and not decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Vector = Mapping[str, int]  # site -> how many bytes of its history
Record = Mapping[str, Any]

BY_HAND = "~"  # after a site's name: what somebody there did past every Croft


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a history."""

    site: str
    end: int  # offset behind it: its number among its site's
    at: str
    who: str
    fields: Mapping[str, tuple[Any, Any]]  # field -> before, after; None: not there
    seen: Vector = field(default_factory=dict)  # of the other sites
    etag: str = ""

    @property
    def vector(self) -> dict[str, int]:
        """All that the sidecar held after it."""
        return {**self.seen, self.site: self.end}


@dataclass(frozen=True, slots=True)
class Rival:
    """One of the values of a field that was changed on several sides."""

    value: Any
    site: str
    who: str
    at: str


@dataclass(frozen=True, slots=True)
class Merged:
    """What a sidecar is to say, and which of its fields somebody has to decide."""

    record: dict[str, Any]
    vector: dict[str, int]
    conflicts: dict[str, tuple[Rival, ...]]
    doubts: dict[str, tuple[Any, Any]]  # what no history tells of: said before, found there
    complete: bool  # it held all changes before


def read_event(site: str, end: int, line: Mapping[str, Any]) -> Event | None:
    """A line of a history; None for what isn't one, or is older than several sites."""
    etag = line.get("etag")
    if not isinstance(etag, str) or not etag:
        return None
    said, seen = line.get("fields"), line.get("seen")
    fields = {
        str(name): (change[0], change[1])
        for name, change in (said.items() if isinstance(said, dict) else ())
        if isinstance(change, list) and len(change) == 2
    }
    vector = {
        str(other): offset
        for other, offset in (seen.items() if isinstance(seen, dict) else ())
        if isinstance(offset, int) and not isinstance(offset, bool)
    }
    if line.get("by_hand") is True:
        # Found in the sidecar, made on nobody knows what: as if by a site of its own.
        site, vector = site + BY_HAND, {}
    return Event(site, end, str(line.get("at", "")), str(line.get("who", "")), fields, vector, etag)


def vector_of(etag: str, events: Iterable[Event], own: str) -> tuple[dict[str, int], bool]:
    """Which changes a sidecar with this ETag holds, and whether a history knows it at all.

    One that none knows was edited by hand: it counts as made on what this site wrote last.
    """
    found: dict[str, int] = {}
    mine: dict[str, int] = {}
    known = False
    for event in events:
        if event.etag == etag:
            found, known = joined(found, event.vector), True
        if event.site == own:
            mine = joined(mine, event.vector)
    return (found, True) if known else (mine, False)


def joined(one: Vector, other: Vector) -> dict[str, int]:
    """The changes of both."""
    return {site: max(one.get(site, 0), other.get(site, 0)) for site in {*one, *other}}


def holds(vector: Vector, event: Event) -> bool:
    return vector.get(event.site, 0) >= event.end


def heads(events: Sequence[Event], name: str) -> list[Event]:
    """The last changes of a field: those that no other one was made in the knowledge of. By site."""
    touching = [event for event in events if name in event.fields]
    return sorted(
        (
            event
            for event in touching
            if not any(holds(other.vector, event) for other in touching if other is not event)
        ),
        key=lambda event: (event.site, event.end),
    )


def merge(record: Record, vector: Vector, events: Sequence[Event], by_hand: bool = False) -> Merged:
    """What `record`, which holds the changes of `vector`, becomes with all changes of `events`.

    The same whatever the order of the events; of the result again it is the result. A field in conflict
    keeps its present value. `by_hand`: no history tells of this record, so a value that is none of the
    last ones may be somebody's edit, or an old sidecar that came before its history: it stays, in `doubts`.
    """
    new = dict(record)
    conflicts: dict[str, tuple[Rival, ...]] = {}
    doubts: dict[str, tuple[Any, Any]] = {}
    everything = dict(vector)
    for event in events:
        everything = joined(everything, {event.site: event.end})
    for name in sorted({name for event in events for name in event.fields}):
        last = heads(events, name)
        rivals = _rivals(last, name)
        present = record.get(name)
        held = all(holds(vector, event) for event in last)
        if any(present == rival.value for rival in rivals):
            if len(rivals) > 1:
                conflicts[name] = rivals
        elif by_hand and present != _expected(events, vector, last, name):
            doubts[name] = (rivals[-1].value, present)
        elif len(rivals) > 1:
            conflicts[name] = rivals
            # It holds none of them but what all changed. The latest is as good as any until then.
            _put(new, name, max(rivals, key=lambda rival: (rival.at, rival.site)).value)
        elif not held:
            _put(new, name, rivals[0].value)
    return Merged(new, everything, conflicts, doubts, everything == dict(vector))


def _rivals(last: Sequence[Event], name: str) -> tuple[Rival, ...]:
    """The different values among the last changes, the latest to have said each."""
    found: list[Rival] = []
    for event in sorted(last, key=lambda event: (event.at, event.site), reverse=True):
        value = event.fields[name][1]
        if all(value != rival.value for rival in found):
            found.append(Rival(value, event.site, event.who, event.at))
    return tuple(sorted(found, key=lambda rival: (rival.site, rival.at)))


def _expected(events: Sequence[Event], vector: Vector, last: Sequence[Event], name: str) -> Any:
    """What a record of this vector says of a field."""
    held = heads([event for event in events if holds(vector, event)], name)
    return held[-1].fields[name][1] if held else last[0].fields[name][0]


def _put(record: dict[str, Any], name: str, value: Any) -> None:
    if value is None:
        record.pop(name, None)
    else:
        record[name] = value
