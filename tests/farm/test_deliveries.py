"""Days on which shots are due, and for how long computers were there."""

from __future__ import annotations

import datetime
import json
import zoneinfo
from pathlib import Path

import pytest

from server.farm.statistics import deliveries as rules
from server.farm.statistics import presence as rooms
from server.farm.statistics.deliveries import Shot, deliveries, end_of
from server.farm.statistics.estimate import Ends
from server.farm.statistics.presence import Presence

VIENNA = zoneinfo.ZoneInfo("Europe/Vienna")
NOW = datetime.datetime(2026, 11, 22, 12, tzinfo=VIENNA).timestamp()
H = 3600.0


def shot(due: str = "2026-11-22", *jobs: str, delivered: bool = False) -> Shot:
    return Shot("data::p/a.blend", "a", due, "ana", delivered, jobs)


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (shot("2026-11-22", "early"), "safe"),
        (shot("2026-11-22", "tight"), "tight"),
        (shot("2026-11-22", "late"), "missed"),
        (shot("2026-11-22", "early", "late"), "missed"),  # the last of its jobs counts
        (shot("2026-11-22", "early", "nobody knows"), "unknown"),
        (shot("2026-11-22"), "nothing"),
        (shot("2026-11-21", "early"), "past"),
        (shot("2026-11-21", delivered=True), "delivered"),
        (shot("2026-11-23", "late"), "safe"),
    ],
)
def test_what_becomes_of_a_day(one: Shot, verdict: str) -> None:
    ends = {
        "early": Ends(NOW + 1 * H, NOW + 2 * H, NOW + 3 * H),
        "tight": Ends(NOW + 10 * H, NOW + 11 * H, NOW + 13 * H),
        "late": Ends(NOW + 11 * H, NOW + 13 * H, NOW + 15 * H),
    }
    (found,) = deliveries([one], ends, NOW, VIENNA)
    assert found.verdict == verdict


def test_a_day_ends_where_the_studio_is_and_the_soonest_stands_first() -> None:
    assert end_of("2026-11-22", VIENNA) == NOW + 12 * H
    assert end_of("2026-03-29", VIENNA) - end_of("2026-03-28", VIENNA) == 23 * H  # the clocks go forward
    found = deliveries([shot("2026-12-24"), shot("2026-11-21"), shot("2026-11-22")], {}, NOW, VIENNA)
    assert [one.shot.due for one in found] == ["2026-11-21", "2026-11-22", "2026-12-24"]
    assert found[0].verdict == rules.PAST


def test_presence_is_counted_by_the_hour_and_kept_over_a_start(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "presence.json"
    there = Presence(path)
    start = datetime.datetime(2026, 11, 22, 9, 59, tzinfo=datetime.UTC).timestamp()
    for second in (0, 30, 60, 65, 90):
        there.look(start + second, [("n1", 2), ("n2", 1)])
    there.look(start + 4000, [("n1", 2)])  # nobody looked for an hour: nothing is said of it
    there.look(start + 4010, [])
    there.look(start + 4030, [])
    assert there.snapshot() == {
        "2026-11-22T09": {"n1": 120.0, "n2": 60.0},
        "2026-11-22T10": {"n1": 60.0, "n2": 30.0},
        "2026-11-22T11": {"n1": 20.0},
    }
    there.save()
    assert Presence(path).snapshot() == there.snapshot()
    path.write_text("[1")
    assert Presence(path).snapshot() == {}
    path.write_text(json.dumps({"2026-11-22T09": {"n1": "much"}}))
    assert Presence(path).snapshot() == {}


def test_presence_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "MOST_CELLS", 100)
    monkeypatch.setattr(rooms, "MOST_HOURS", 30)
    there = Presence()
    for turn in range(40 * 60):
        there.look(1e9 + 60.0 * turn, [(f"n{n}", 1) for n in range(20)])
    hours = there.snapshot()
    assert len(hours) == 30
    assert sum(map(len, hours.values())) <= 130
    assert {round(sum(nodes.values())) for nodes in list(hours.values())[1:-1]} == {20 * 3600}
