"""Assets over the API: what is shown, edited under its ETag, made, and moved to old/."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import pytest
from house import House

from server.disk import arrivals


def test_projects_and_their_words(house: House) -> None:
    browser = house.browser("student")
    assert [row["id"] for row in browser.get("/api/projects").data] == ["demo"]
    words = browser.get("/api/projects/demo").data["words"]
    assert words["types"]
    assert words["states"]
    assert browser.get("/api/projects/nowhere").status == 404


def test_a_folder_with_a_project_file_is_a_project_at_once(house: House) -> None:
    house.make("green/project.json", b"{}")
    assert {"demo", "green"} == {row["id"] for row in house.browser("student").get("/api/projects").data}


def test_search_filters_sorts_and_crosses_projects(house: House) -> None:
    house.make("green/project.json", b"{}")
    house.asset("demo/shots/b.blend", owner="student", state="done")
    house.asset("demo/shots/a.blend", owner="", state="todo")
    house.asset("green/shots/c.blend", owner="student")
    browser = house.browser("student")
    names = lambda query: [row["name"] for row in browser.get("/api/assets?" + query).data]  # noqa: E731
    assert names("") == ["a", "b", "c"]
    assert names("project=demo&sort=-name") == ["b", "a"]
    assert names("owner=student") == ["b", "c"]
    assert names("project=demo&q=a.blend") == ["a"]
    assert browser.get("/api/assets?project=nowhere").status == 404
    assert browser.get("/api/assets?project=demo&sort=colour").status == 400


def test_an_edit_names_the_record_that_it_was_made_on(house: House) -> None:
    address = house.asset("demo/shots/a.blend", odd="kept")
    browser = house.browser("supervisor")
    first = browser.get(f"/api/assets/{address}")
    etag = first.headers["etag"]
    assert first.data["etag"] == etag.strip('"')
    changed = browser.patch(f"/api/assets/{address}", {"description": "one"}, headers={"If-Match": etag})
    assert (changed.status, changed.data["description"]) == (200, "one")
    assert changed.headers["etag"] == f'"{changed.data["etag"]}"' != etag
    stale = browser.patch(f"/api/assets/{address}", {"description": "two"}, headers={"If-Match": etag})
    assert stale.status == 412
    assert stale.data["description"] == "one"
    assert stale.headers["etag"] == changed.headers["etag"]
    bare = {"If-Match": changed.data["etag"]}
    assert browser.patch(f"/api/assets/{address}", {"description": "three"}, headers=bare).status == 200
    assert browser.patch(f"/api/assets/{address}", {"description": "four"}).status == 200
    record = json.loads((house.data / "demo/shots/a.blend.json").read_text())
    assert (record["description"], record["odd"]) == ("four", "kept")
    assert browser.get(f"/api/assets/{address}", headers={"If-None-Match": etag}).status == 200
    now = browser.get(f"/api/assets/{address}").headers["etag"]
    assert browser.get(f"/api/assets/{address}", headers={"If-None-Match": now}).status == 304


def test_wrong_edits_say_what_is_wrong_and_change_nothing(house: House) -> None:
    address = house.asset("demo/shots/a.blend")
    before = (house.data / "demo/shots/a.blend.json").read_bytes()
    browser = house.browser("supervisor")
    for body in (
        {"priority": 9},
        {"priority": "high"},
        {"state": "no such state"},
        {"owner": "no such person"},
        {"nmae": "x"},
        {"etag": "x"},
        {"name": "x" * 500},
        {"support": "student"},
        {"tags": [1]},
        {},
    ):
        reply = browser.patch(f"/api/assets/{address}", body)
        assert reply.status == 400, body
        assert len(reply.message) > 15, body
    assert (house.data / "demo/shots/a.blend.json").read_bytes() == before
    assert browser.patch("/api/assets/data::demo/shots/none.blend", {"name": "x"}).status == 404


def test_a_broken_sidecar_is_shown_and_never_overwritten(house: House) -> None:
    address = house.asset("demo/shots/a.blend", description="last good")
    path = house.data / "demo/shots/a.blend.json"
    path.write_bytes(b'{"name": "half')
    house.croft.services.store.refresh(address)
    browser = house.browser("supervisor")
    shown = browser.get(f"/api/assets/{address}")
    assert (shown.data["status"], shown.data["description"]) == ("broken", "last good")
    reply = browser.patch(f"/api/assets/{address}", {"description": "new"})
    assert reply.status == 409
    assert path.read_bytes() == b'{"name": "half'
    assert any(p["address"].startswith(address) for p in browser.get("/api/problems").data)


def test_making_and_deleting(house: House) -> None:
    address = house.make("demo/textures/wood.png", b"\x89PNG")
    browser = house.browser("student")
    made = browser.post("/api/assets", {"address": address, "description": "planks"})
    assert (made.status, made.data["address"], made.data["description"]) == (201, address, "planks")
    assert browser.post("/api/assets", {"address": address}).status == 409
    assert browser.post("/api/assets", {"address": "data::demo/none.png"}).status == 404
    gone = browser.ask("DELETE", f"/api/assets/{address}")
    assert gone.status == 200
    assert "/old/" in gone.data["address"]
    kept = house.data / gone.data["address"].removeprefix("data::")
    assert (kept / "wood.png").read_bytes() == b"\x89PNG" or kept.read_bytes() == b"\x89PNG"
    assert browser.get(f"/api/assets/{address}").status == 404


def test_history_tells_who_changed_what(house: House) -> None:
    address = house.asset("demo/shots/a.blend")
    house.browser("supervisor").patch(f"/api/assets/{address}", {"description": "mist"})
    rows = house.browser("student").get(f"/api/history?address={address}").data
    assert rows[0]["who"] == "supervisor"
    assert rows[0]["fields"]["description"][1] == "mist"


def test_names_of_all_sorts(house: House) -> None:
    browser = house.browser("student")
    for name in ("größe 1.blend", "a%20b.blend", "a+b&c=d.blend", "日本.blend", "a#b?.blend", "a::b.blend"):
        address = house.asset(f"demo/shots/{name}")
        reply = browser.get(f"/api/assets/{address}".replace("?", "\x00")) if "?" not in name else None
        if reply is not None:
            assert (reply.status, reply.data["address"]) == (200, address)


def test_what_is_nobodys_can_be_taken_and_undone(house: House) -> None:
    address = house.asset("demo/shots/a.blend")
    student = house.browser("student")
    page = student.get("/p/demo/asset/shots/a.blend").body.decode()
    assert f'value="POST /api/assets/{address}/mine"' in page
    taken = student.post(f"/api/assets/{address}/mine")
    assert (taken.status, taken.data["owner"]) == (200, "student")
    assert "/mine" not in student.get("/p/demo/asset/shots/a.blend").body.decode()
    assert house.browser("supervisor").post(f"/api/assets/{address}/mine").status == 409
    again = student.post(f"/api/assets/{address}/mine")
    assert (again.status, "undo" in again.data) == (200, False)
    back = taken.data["undo"]
    assert student.ask(back["method"], back["path"], back["body"]).data["owner"] == ""
    assert student.post("/api/assets/data::demo/shots/none.blend/mine").status == 404


def test_a_texture_becomes_an_asset_by_a_button_and_a_file_again(house: House) -> None:
    address = house.make("demo/textures/wood.png", b"\x89PNG")
    student = house.browser("student")
    house.until(lambda: student.get(f"/api/assets/{address}").data["status"] == "ok")
    page = student.get("/p/demo/asset/textures/wood.png").body.decode()
    assert "Make it an asset" in page
    assert 'name="state"' not in page
    made = student.post("/api/assets", {"address": address})
    page = student.get("/p/demo/asset/textures/wood.png").body.decode()
    assert "Make it an asset" not in page
    assert 'name="state"' in page
    back = made.data["undo"]
    assert student.ask(back["method"], back["path"], back["body"]).status == 200
    assert (house.data / "demo/textures/wood.png").exists()
    assert not (house.data / "demo/textures/wood.png.json").exists()
    assert "Make it an asset" in student.get("/p/demo/asset/textures/wood.png").body.decode()


def test_half_a_copy_can_not_be_made_an_asset(house: House) -> None:
    student = house.browser("student")
    for name in ("shots/a.blend", "textures/b.png"):
        address = house.make(
            f"demo/{name}", b"\x89PNG\r\n\x1a\n" if name.endswith("png") else b"BLENDER-v304"
        )
        assert student.post("/api/assets", {"address": address}).status == 409
        assert student.patch(f"/api/assets/{address}", {"state": "done"}).status == 409
        assert student.post(f"/api/assets/{address}/mine").status == 409
        assert not (house.data / f"demo/{name}.json").exists()


def test_a_copy_is_offered_on_its_page_and_among_the_problems(house: House) -> None:
    house.make("demo/shots/hero.blend")
    address = house.make("demo/shots/hero (1).blend")
    student = house.browser("student")

    def offered() -> list[dict[str, Any]]:
        found = student.get("/api/problems").data
        return [problem for problem in found if problem["address"] == address]

    (problem,) = house.until(offered)
    assert problem["kind"] == "duplicate"
    page = student.get("/p/demo/asset/shots/hero (1).blend").body.decode()
    assert "looks like a copy of hero.blend" in page
    assert "Discard it" in page
    action = problem["actions"][0]
    assert house.browser().ask(action["method"], action["path"], action["body"]).status == 401
    done = student.ask(action["method"], unquote(action["path"]), action["body"])
    assert done.status == 200
    assert not (house.data / "demo/shots/hero (1).blend").exists()
    back = done.data["undo"]
    assert student.ask(back["method"], back["path"], back["body"]).status == 200
    (problem,) = house.until(offered)
    path = unquote(problem["actions"][1]["path"])
    kept = student.ask("POST", path, problem["actions"][1]["body"])
    assert kept.status == 200
    house.until(lambda: not offered())
    assert student.post(path, {"do": "sing"}).status == 400
    assert student.post(path, {"do": "undo"}).status == 400


def test_a_copy_that_was_cut_off_says_so_on_its_page_and_can_be_taken_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrivals, "INCOMPLETE_S", 0.0)  # instead of an hour
    address = house.make("demo/shots/half.blend", b"BLENDER-v304" + bytes(range(200)))
    student = house.browser("student")
    house.until(lambda: student.get(f"/api/assets/{address}").data["incomplete"])
    shown = student.get(f"/api/assets/{address}").data
    assert (shown["status"], shown["thumbnail"], shown["etag"]) == ("arriving", None, "")
    house.until(lambda: student.get("/api/problems?kind=incomplete").data)
    page = student.get("/p/demo/asset/shots/half.blend").body.decode()
    assert "Copy it again." in page
    assert f'value="DELETE /api/assets/{address}"' in page
    assert "half.blend" not in student.get("/p/demo/assets").body.decode()
    found = student.get("/api/assets?project=demo&files=true&q=is:incomplete").data
    assert [one["address"] for one in found] == [address]
    gone = student.ask("DELETE", f"/api/assets/{address}")
    assert gone.status == 200
    house.until(lambda: not student.get("/api/problems?kind=incomplete").data)
    back = gone.data["undo"]
    assert student.ask(back["method"], back["path"], back["body"]).status == 200
    house.until(lambda: student.get("/api/problems?kind=incomplete").data)
