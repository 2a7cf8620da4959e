"""In which hours may a node work? Nights over midnight, weekdays, zones, nights when clocks change."""

from __future__ import annotations

import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.disk.errors import BadInput
from server.farm.nodes import schedule

BERLIN = ZoneInfo("Europe/Berlin")
NIGHTS: list[dict[str, Any]] = [{"from": "20:00", "to": "07:00"}]
WEEK: list[dict[str, Any]] = [
    {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "18:00", "to": "07:00"},
    {"days": ["sat", "sun"], "from": "00:00", "to": "24:00"},
]


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("hours", "moment", "is_open", "until"),
    [
        ([], "2026-11-22T12:00", True, None),
        (NIGHTS, "2026-11-22T19:59:59", False, "2026-11-22T20:00"),
        (NIGHTS, "2026-11-22T20:00", True, "2026-11-23T07:00"),
        (NIGHTS, "2026-11-23T00:00", True, "2026-11-23T07:00"),
        (NIGHTS, "2026-11-23T06:59:59", True, "2026-11-23T07:00"),
        (NIGHTS, "2026-11-23T07:00", False, "2026-11-23T20:00"),
        # 2026-11-20 is a Friday: its night runs into Saturday, which is open as a whole, as is Sunday.
        (WEEK, "2026-11-20T17:00", False, "2026-11-20T18:00"),
        # Windows that touch or overlap are one.
        (WEEK, "2026-11-20T23:00", True, "2026-11-23T00:00"),
        (WEEK, "2026-11-22T12:00", True, "2026-11-23T00:00"),
        # Monday's early morning belongs to Sunday, which has no night of its own.
        (WEEK, "2026-11-23T03:00", False, "2026-11-23T18:00"),
        (WEEK, "2026-11-24T03:00", True, "2026-11-24T07:00"),
        ([{"days": ["Sat"], "from": "8:00", "to": "8:00"}], "2026-11-22T07:59", True, "2026-11-22T08:00"),
        ([{"days": ["sat"], "from": "08:00", "to": "08:00"}], "2026-11-22T08:00", False, "2026-11-28T08:00"),
        # Clocks go forward at 02:00 on 2026-03-29: that night lasts an hour less, and is one night.
        (NIGHTS, "2026-03-29T01:59", True, "2026-03-29T07:00"),
        (NIGHTS, "2026-03-29T03:00", True, "2026-03-29T07:00"),
        # What begins at a time that is never shown begins when it would have been.
        ([{"from": "02:30", "to": "05:00"}], "2026-03-29T03:29", False, "2026-03-29T03:30"),
        ([{"from": "02:30", "to": "05:00"}], "2026-03-29T03:30", True, "2026-03-29T05:00"),
        # Clocks go back at 03:00 on 2026-10-25: 02:30 comes twice; the first begins, the second ends.
        (NIGHTS, "2026-10-25T02:30", True, "2026-10-25T07:00"),
        ([{"from": "02:30", "to": "05:00"}], "2026-10-25T02:30", True, "2026-10-25T05:00"),
    ],
)
def test_hours(hours: list[dict[str, Any]], moment: str, is_open: bool, until: str | None) -> None:
    found = schedule.read(hours).look(at(moment), BERLIN)
    assert found == (is_open, at(until) if until else float("inf"))


def test_an_hour_that_comes_twice_is_not_torn() -> None:
    late = schedule.read([{"from": "20:00", "to": "02:30"}])
    assert late.look(at("2026-10-25T02:15", fold=0), BERLIN) == (True, at("2026-10-25T02:30", fold=1))
    assert late.look(at("2026-10-25T02:29", fold=1), BERLIN)[0]
    assert not late.look(at("2026-10-25T02:30", fold=1), BERLIN)[0]
    # Two windows that touch there leave no hole.
    both = schedule.read([{"from": "20:00", "to": "02:30"}, {"from": "02:30", "to": "07:00"}])
    assert both.look(at("2026-10-25T01:00"), BERLIN) == (True, at("2026-10-25T07:00"))


def test_the_zone_says_when_it_is_night() -> None:
    nights, noon = schedule.read(NIGHTS), at("2026-11-22T12:00", ZoneInfo("UTC"))
    zones = {zone: nights.look(noon, ZoneInfo(zone))[0] for zone in ("UTC", "Asia/Tokyo", "Pacific/Auckland")}
    assert zones == {"UTC": False, "Asia/Tokyo": True, "Pacific/Auckland": True}


WINDOWS = st.lists(
    st.fixed_dictionaries(
        {
            "days": st.lists(st.sampled_from(schedule.DAYS), min_size=1, unique=True),
            "from": st.times().map(lambda t: f"{t:%H:%M}"),
            "to": st.times().map(lambda t: f"{t:%H:%M}"),
        }
    ),
    max_size=4,
)
MOMENTS = st.floats(at("2026-01-01T00:00"), at("2027-12-31T00:00"))
ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"])


@given(hours=WINDOWS, moment=MOMENTS, zone=ZONES, parts=st.floats(0.01, 0.99))
def test_it_stays_as_it_is_until_it_says(
    hours: list[dict[str, Any]], moment: float, zone: str, parts: float
) -> None:
    # Given any schedule, when it is asked at any time before the moment it named…
    found, place = schedule.read(hours), ZoneInfo(zone)
    is_open, until = found.look(moment, place)
    assert until > moment
    later = moment + (min(until, moment + 1e6) - moment) * parts
    # …then it is as it was; and what is written of it says the same.
    assert found.look(later, place)[0] == is_open
    assert schedule.read(found.view()) == found


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        ("at night", "list of windows"),
        (["20:00"], "said like"),
        ([{"from": "25:00", "to": "07:00"}], "'25:00' is no time"),
        ([{"from": 20, "to": "07:00"}], "no time"),
        ([{"from": "20:00"}], "no time"),
        ([{"days": ["someday"], "from": "20:00", "to": "07:00"}], "'someday' is no day"),
        ([{"days": [], "from": "20:00", "to": "07:00"}], "Name the days"),
        ([{"from": "20:00", "to": "07:00"}] * 31, "At most"),
    ],
)
def test_nonsense_is_refused(hours: Any, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        schedule.read(hours)


def test_hours_in_words() -> None:
    assert schedule.read(NIGHTS).words() == "20:00–07:00"
    assert schedule.read(WEEK).words() == "18:00–07:00 Mon–Fri, all day Sat, Sun"
