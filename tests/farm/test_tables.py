"""The farm's sums by day, person and computer: of whatever slices, the same total."""

from __future__ import annotations

import datetime
import zoneinfo

from hypothesis import given
from hypothesis import strategies as st

from server.farm.statistics import tables
from server.farm.statistics.tables import BY, Part, table, window

UTC = datetime.UTC
VIENNA = zoneinfo.ZoneInfo("Europe/Vienna")
HOURS = [f"2026-03-{day:02}T{hour:02}" for day in (27, 28, 29, 30) for hour in (0, 7, 22, 23)]
SUMS = st.lists(st.integers(0, 5_000), min_size=7, max_size=7)
COUNTS = st.dictionaries(st.sampled_from(["crash", "new"]), st.integers(0, 9))
PARTS = st.lists(
    st.builds(
        Part,
        st.sampled_from(["j1", "j2", "j3"]), st.sampled_from(["green", "blue"]),
        st.sampled_from(["ana", "ben"]), st.sampled_from(["data::a.blend", "data::b.blend"]),
        st.dictionaries(st.sampled_from(HOURS), st.dictionaries(st.sampled_from(["n1", "n2"]), SUMS)),
        st.dictionaries(st.sampled_from(HOURS), COUNTS),
    ),
    max_size=6,
)  # fmt: skip


@given(PARTS, st.sampled_from(BY), st.sampled_from([UTC, VIENNA]), st.booleans())
def test_every_slice_sums_up_to_the_same(
    parts: list[Part], by: str, zone: datetime.tzinfo, some_days: bool
) -> None:
    days = window(2, datetime.datetime(2026, 3, 29, 12, tzinfo=zone)) if some_days else []
    found = table(parts, by, days, zone)
    again = table(parts, "node", days, zone)
    assert sum(row.frames for row in found.rows) == found.total.frames == again.total.frames
    assert round(sum(row.busy for row in found.rows) - found.total.busy, 6) == 0
    assert found.reasons == again.reasons
    if not some_days:
        whole = sum(sums[6] for part in parts for nodes in part.hours.values() for sums in nodes.values())
        assert found.total.frames == whole
        assert sum(found.reasons.values()) == sum(
            n for part in parts for counts in part.reasons.values() for n in counts.values()
        )


def part(hour: str, frames: int = 1) -> Part:
    return Part("j", "green", "ana", "f", {hour: {"n1": [frames, 1000, 0, 0, 500, 0, frames]}})


def test_a_day_is_that_of_the_zone_and_counts_what_ended_in_it() -> None:
    late = part("2026-03-28T23")  # 00:00 to 01:00 of the 29th in Vienna
    now = datetime.datetime(2026, 3, 29, 12, tzinfo=VIENNA)
    assert window(3, now) == ["2026-03-27", "2026-03-28", "2026-03-29"]
    rows = table([late], "day", window(3, now), VIENNA).rows
    assert [(row.key, row.frames) for row in rows] == [
        ("2026-03-27", 0),
        ("2026-03-28", 0),
        ("2026-03-29", 1),
    ]
    rows = table([late], "day", window(3, now), UTC).rows
    assert [row.frames for row in rows] == [0, 1, 0]
    # The clocks went forward at 02:00 of the 29th: that day had 23 hours, and midnight is 22:00 UTC since.
    assert table([part("2026-03-29T22")], "day", [], VIENNA).rows[0].key == "2026-03-30"


def test_utilisation_is_what_worked_over_what_was_there() -> None:
    available = {"2026-03-28T10": {"n1": 6.0, "idle": 2.0}}
    found = table([part("2026-03-28T10")], "node", [], UTC, available)
    assert {row.key: row.utilisation() for row in found.rows} == {"n1": 0.25, "idle": 0.0}
    assert found.total.view()["utilisation"] == 0.1875
    before = part("2026-03-27T10")  # of an hour in which nobody looked who was there
    assert table([part("2026-03-28T10"), before], "node", [], UTC, available).total.utilisation() == 0.1875
    assert table([part("2026-03-28T10")], "project", [], UTC, available).rows[0].utilisation() is None


def test_a_sum_from_before_there_were_hours_counts_where_the_job_ended() -> None:
    old = {
        "ended": "2026-03-28T10:05:00Z",
        "nodes": {"n1": {"done": 3, "seconds": 4.5, "failed": 1, "lost": 0}},
    }
    assert tables.hours_of(old) == {"2026-03-28T10": {"n1": [3, 4500, 1, 0, 0, 0, 3]}}
    assert tables.hours_of({"by_hour": {"h": {"n": [1, "x", 3]}, "i": 5}}) == {
        "h": {"n": [1, 0, 3, 0, 0, 0, 0]}
    }
    assert tables.hours_of({}) == {} == tables.reasons_of({})
