"""A file's page: what people say of it, who helps, its hours, its versions side by side, its copy."""

from __future__ import annotations

import json
import re
from typing import Any

from house import House
from PIL import Image

FILE = "demo/shots/sh010.blend"
PAGE = "/p/demo/asset/shots/sh010.blend"


def record(house: House, inside: str = FILE) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((house.data / f"{inside}.json").read_text())
    return found


def version(house: House, number: int, frames: range, colour: str, **more: Any) -> None:
    """A render's version on the share, as one would come from a backup: no farm knows of it."""
    place = house.data / "demo/shots/render/sh010"
    folder = place / f"v{number:03}"
    folder.mkdir(parents=True)
    for frame in frames:
        Image.new("RGB", (32, 18), colour).save(folder / f"sh010.{frame:04}.png")
    said = {
        "schema": 1, "version": f"v{number:03}", "user": "student", "created": "2026-11-20T10:00:00Z",
        "outputs": [{"name": "sh010.####.png", "bytes": 1000 * number}], "approved": False, **more,
    }  # fmt: skip
    (place / f"v{number:03}.json").write_text(json.dumps(said))


def test_supporters_come_and_go_without_losing_each_other(house: House) -> None:
    address = house.asset(FILE, owner="supervisor", uuid="u")
    api, student, supervisor = f"/api/assets/{address}", house.browser("student"), house.browser("supervisor")
    first = student.post(f"{api}/support")
    second = supervisor.post(f"{api}/support", {"user": "admin"})  # made in no knowledge of the first
    assert (first.status, second.data["support"]) == (200, ["student", "admin"])
    page = student.get(PAGE).body.decode()
    assert "Remove<span" in page.replace("\n", "")
    back = student.ask(*first.data["undo"].values())
    assert back.data["support"] == ["admin"]
    assert student.post(f"{api}/support", {"user": "admin"}).data["undo"] is None  # nothing was changed
    assert student.post(f"{api}/support", {"user": "nobody"}).status == 400
    texture = house.make("demo/tex/wood.png", b"\x89PNG")
    assert student.post(f"/api/assets/{texture}/support").status == 409


def test_hours_add_up_and_are_shown_against_what_was_planned(house: House) -> None:
    address = house.asset(FILE, time_budget=2, uuid="u")
    student = house.browser("student")
    first = student.post(f"/api/assets/{address}/time", {"hours": 1})
    student.post(f"/api/assets/{address}/time", {"hours": 0.5})
    assert record(house)["time_spent"] == 1.5
    assert "1.5 h of 2 h spent" in student.get(PAGE).body.decode()
    student.ask(*first.data["undo"].values())  # takes its own hour back, not what came after
    assert record(house)["time_spent"] == 0.5
    student.post(f"/api/assets/{address}/time", {"hours": 4})
    assert "4.5 h spent, 2.5 h more than planned" in student.get(PAGE).body.decode()
    assert student.post(f"/api/assets/{address}/time", {"hours": -50}).data["time_spent"] == 0


def test_a_copy_is_a_file_of_its_own(house: House) -> None:
    address = house.asset(FILE, name="Fox", owner="supervisor", description="Mist", tags=["fox"], uuid="u")
    student = house.browser("student")
    reply = student.post(f"/api/assets/{address}/clone", {"name": "Fox at night"})
    assert reply.status == 201, reply.message
    copy = reply.data
    assert (copy["name"], copy["owner"], copy["description"]) == ("Fox at night", "student", "Mist")
    inside = copy["address"].removeprefix("data::")
    assert (house.data / inside).read_bytes() == (house.data / FILE).read_bytes()
    assert record(house, inside)["uuid"] != "u"
    again = student.post(f"/api/assets/{address}/clone", {"name": "Fox at night"})
    assert again.status in (201, 409)  # never over what is there
    assert student.ask(copy["undo"]["method"], copy["undo"]["path"]).status == 200
    assert not (house.data / inside).exists()
    assert "Make a copy" in student.get(PAGE).body.decode()


def test_two_versions_stand_side_by_side(house: House) -> None:
    address = house.asset(FILE, uuid="u")
    version(house, 1, range(1, 5), "red")
    version(house, 2, range(3, 9), "blue", approved=True, approved_by="supervisor")
    house.croft.services.store.refresh("data::demo/shots")
    student = house.browser("student")
    page = student.get(PAGE).body.decode()
    assert "Version 2" in page
    assert "6 frames · 2.0 KB" in page.replace("2 KB", "2.0 KB")
    assert page.count("Approved") == 1
    assert "sh010.0006.png?w=256" in page  # the one in the middle stands for all
    page = student.get(f"{PAGE}?left=render-v001&right=render-v002&at=1").body.decode()
    assert re.findall(r'src="/thumb/[^"]*/(v00\d/sh010.\d+).png\?w=1024"', page) == [
        "v001/sh010.0003",
        "v002/sh010.0003",
    ]
    assert "at=4" in page  # the next one that both have
    assert "by Supervisor" in page
    for odd in ("left=v9&right=render-v001", "left=render-v001&right=render-v001&at=x", "at=5", "left=%00"):
        assert student.get(f"{PAGE}?{odd}").status == 200
    assert "Take the approval back" not in page
    assert "Take the approval back" in house.browser("supervisor").get(PAGE).body.decode()
    assert address in page


def test_figures_begin_anew_and_count_all_again(house: House) -> None:
    address = house.asset(FILE, uuid="u", render_time={"1": [9.0, 2.0], "2": [4.0], "x": "y"})
    student = house.browser("student")
    page = student.get(PAGE).body.decode()
    assert "4.0 s, frame 2" in page  # as RFAM noted it
    assert "Count from now on" in page
    assert (
        student.patch(f"/api/assets/{address}", {"statistics_since": "now"}).data["statistics_since"] > "2026"
    )
    page = student.get(PAGE).body.decode()
    assert "frame 2" not in page
    assert "Counted since today" in page
    assert record(house)["render_time"] == {"1": [9.0, 2.0], "2": [4.0], "x": "y"}
    student.patch(f"/api/assets/{address}", {"statistics_since": ""})
    assert "4.0 s, frame 2" in student.get(PAGE).body.decode()


def test_what_is_said_of_a_file_stays_text(house: House) -> None:
    evil = "<img src=x onerror=alert(1)>{{ 7 * 7 }}{% raw %} {x} \u202e \"'&"
    address = house.asset(
        FILE, name=evil[:200], description=evil, tags=[evil], uuid="u", pipeline={evil: evil}
    )
    version(house, 1, range(1, 2), "red", user=evil, approved_by=evil, comment=evil)
    house.croft.services.store.tell(address, evil, {"kept": evil, "comment": evil})
    page = house.browser("supervisor").get(PAGE).body.decode()
    assert "<img src=x" not in page
    assert "{{ 7 * 7 }}{% raw %} {x} \u202e" in page


def test_the_scenes_range_gives_way_to_what_people_say(house: House) -> None:
    address = house.asset(FILE, uuid="u", start=7, end=9)
    page = house.browser("student").get(PAGE).body.decode()
    assert 'name="first" value="7"' in page
    assert 'name="last" value="9"' in page
    house.browser("student").patch(f"/api/assets/{address}", {"start": ""})
    assert 'name="first" value="7"' not in house.browser("student").get(PAGE).body.decode()


def test_a_guest_sees_and_changes_nothing(house: House) -> None:
    address = house.asset(FILE, owner="student", uuid="u")
    (house.config / "users/gus.json").write_text('{"title": "Gus", "role": "guest"}')
    house.until(lambda: house.croft.services.people.known("gus"))
    guest = house.browser("gus")
    page = guest.get(PAGE).body.decode()
    for word in ("I help with it", "Make a copy", "Delete this file", "+ 1 hour", "What is this save?"):
        assert word not in page
    assert "POST /api/jobs" not in page
    assert "/p/demo/render/" not in page
    assert "disabled" in page
    for call, body in (("support", {}), ("time", {"hours": 1}), ("clone", {})):
        assert guest.post(f"/api/assets/{address}/{call}", body).status == 403


def test_a_render_of_no_said_frames_is_of_those_that_people_say_of_the_file(house: House) -> None:
    address = house.asset(FILE, uuid="u", start=7, end=9)
    student = house.browser("student")
    job = student.post("/api/jobs", {"file": address, "type": "test-pattern"})
    assert (job.status, job.data["total"]) == (201, 3)
    assert 'value="7-9"' in student.get("/p/demo/render/shots/sh010.blend").body.decode()
    student.patch(f"/api/assets/{address}", {"end": 3})  # no range: the scene's own counts, which has none
    assert student.post("/api/jobs", {"file": address, "type": "test-pattern"}).status == 400
