"""What people may say of a file: its fields, what they take, and what the index keeps of them."""

from __future__ import annotations

import json

import pytest
from house import House

FILE = "demo/shots/sh010.blend"


def test_fields_take_what_people_type(house: House) -> None:
    address = house.asset(FILE, note="kept")
    api, browser = f"/api/assets/{address}", house.browser("student")
    typed = {"start": "3", "end": "26", "time_budget": "1,5", "rating": 4, "time_spent": ""}
    reply = browser.patch(api, {**typed, "pipeline": {"layout": "done", "light": "todo"}})
    assert reply.status == 200, reply.message
    said = reply.data
    assert (said["start"], said["end"], said["time_budget"], said["rating"]) == (3, 26, 1.5, 4)
    assert said["pipeline"] == {"layout": "done", "light": "todo"}
    # A stage that isn't named stays; nothing takes one away, and a field.
    said = browser.patch(api, {"pipeline": {"light": ""}, "start": "", "time_budget": None}).data
    assert (said["pipeline"], said["start"], said["time_budget"]) == ({"layout": "done"}, None, 0)
    kept = json.loads((house.data / (FILE + ".json")).read_text())
    assert kept["note"] == "kept"
    assert "start" not in kept


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("start", "three"), ("end", 2.5), ("time_budget", -1), ("time_spent", "1e9"), ("rating", 6),
        ("pipeline", {"layout": "nonsense"}), ("pipeline", {" ": "done"}), ("statistics_since", "lately"),
    ],
)  # fmt: skip
def test_what_doesnt_fit_is_said_and_changes_nothing(house: House, field: str, value: object) -> None:
    address = house.asset(FILE)
    before = (house.data / (FILE + ".json")).read_bytes()
    reply = house.browser("student").patch(f"/api/assets/{address}", {field: value})
    assert reply.status == 400
    assert field.split("_")[0] in reply.message
    assert (house.data / (FILE + ".json")).read_bytes() == before


def test_a_long_description_is_given_back_whole(house: House) -> None:
    """The index keeps its beginning alone; who edits that would cut the rest off."""
    long = "A fox. " * 1400 + "{{ 7 * 7 }} <b>&"
    address = house.asset(FILE, description=long)
    browser = house.browser("student")
    assert browser.get(f"/api/assets/{address}").data["description"] == long
    page = browser.get("/p/demo/asset/shots/sh010.blend").body.decode()
    assert "{{ 7 * 7 }} &lt;b&gt;&amp;" in page


def test_rfams_files_are_read_as_they_are(house: House) -> None:
    address = house.asset(FILE, start="1", end="48", pipeline="wait", rating="4", render_time={"1": [3.5]})
    said = house.browser("student").get(f"/api/assets/{address}").data
    assert (said["start"], said["end"], said["pipeline"]) == (1, 48, {"": "wait"})
