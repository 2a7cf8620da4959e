"""Times as they are stored (RFC 3339, UTC) and as seconds since the epoch; days in a zone. Pure."""

from __future__ import annotations

import datetime
from functools import lru_cache

MOST = 253_402_300_799.0  # the end of the year 9999


def stamp(second: float) -> str:
    """`"2026-11-22T14:05:00Z"`."""
    found = datetime.datetime.fromtimestamp(min(max(0.0, second), MOST), datetime.UTC)
    return found.isoformat(timespec="seconds").replace("+00:00", "Z")


def epoch(text: str) -> float:
    """Seconds since the epoch; 0 where it is no time."""
    try:
        found = datetime.datetime.fromisoformat(text)
        return max(0.0, found.replace(tzinfo=found.tzinfo or datetime.UTC).timestamp())
    except (ValueError, OverflowError):
        return 0.0


@lru_cache(maxsize=100_000)
def day_of(hour: str, zone: datetime.tzinfo) -> str:
    """The day, in a zone, in which an hour of UTC (`"2026-11-22T14"`) begins."""
    try:
        found = datetime.datetime.fromisoformat(hour + ":00:00+00:00").astimezone(zone)
    except (ValueError, OverflowError):
        return hour[:10]
    return found.date().isoformat()
