"""Is each problem told, mended by its button, and gone by itself?"""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import Any

import pytest
from house import Browser, House

from server.disk.records import Change


def told(browser: Browser, kind: str = "") -> list[dict[str, Any]]:
    return list(browser.get(f"/api/problems?kind={kind}").data)


def press(browser: Browser, action: dict[str, Any]) -> dict[str, Any]:
    """What the page does when a button is pressed; its undo is in the answer."""
    reply = browser.ask(action["method"], action["path"], action["body"])
    assert reply.status in (200, 201), reply.message
    return dict(reply.data)


@pytest.fixture
def ana(house: House) -> Browser:
    house.make("demo/project.json", b'{"title": "Demo"}')
    return house.browser("supervisor")


def test_nothing_is_wrong(house: House, ana: Browser) -> None:
    house.scene()
    assert told(ana) == []
    page = ana.get("/p/demo/problems").body.decode()
    assert "Nothing is wrong" in page
    assert 'Problems<span class="count"' not in page


def test_a_broken_record_is_put_back_and_undone(house: House, ana: Browser) -> None:
    address = house.asset("demo/shots/sh010.blend", owner="student", description="the chase")
    beside = house.data / "demo/shots/sh010.blend.json"
    good = beside.read_bytes()
    beside.write_bytes(b'{\n  "owner": "student",\n  "name" oops\n}')
    house.croft.services.store.refresh(address)
    [problem] = told(ana)
    assert problem["kind"] == "sidecar"
    assert problem["severity"] == "error"
    assert "line 3, column 10" in problem["text"]
    [action] = problem["actions"]
    assert action["label"] == "Put the last good one back"
    page = ana.get("/p/demo/problems").body.decode()
    assert "line 3, column 10" in page
    assert "Put the last good one back" in page
    done = press(ana, action)
    assert told(ana) == []
    assert json.loads(beside.read_bytes()) == json.loads(good)
    kept = list((house.data / "demo/shots/old").glob("*/sh010.blend.json"))
    assert [path.read_bytes() for path in kept] == [b'{\n  "owner": "student",\n  "name" oops\n}']
    again = ana.ask(action["method"], action["path"], action["body"])
    assert again.status == 409
    press(ana, done["undo"])
    assert b"oops" in beside.read_bytes()
    assert [problem["kind"] for problem in told(ana)] == ["sidecar"]


def test_a_record_that_was_mended_by_hand_is_no_problem(house: House, ana: Browser) -> None:
    address = house.asset("demo/shots/sh010.blend")
    beside = house.data / "demo/shots/sh010.blend.json"
    good = beside.read_bytes()
    beside.write_bytes(b"{")
    house.until(lambda: told(ana, "sidecar"))
    assert house.croft.services.store.index.get(address).status == "broken"  # type: ignore[union-attr]
    beside.write_bytes(good)
    house.until(lambda: not told(ana))


def test_a_broken_project(house: House, ana: Browser) -> None:
    house.scene()
    path = house.data / "demo/project.json"
    assert ana.get("/api/projects").data[0]["title"] == "Demo"
    path.write_bytes(b'{"title": "Demo"')
    [problem] = house.until(lambda: told(ana))
    assert problem["address"] == "data::demo/project.json"
    done = press(ana, problem["actions"][0])
    assert path.read_bytes() == b'{\n  "title": "Demo"\n}\n'
    assert told(ana) == []
    press(ana, done["undo"])
    assert path.read_bytes() == b'{"title": "Demo"'
    path.write_bytes(b"{}")
    house.until(lambda: not told(ana))


def test_names_that_differ_in_case_alone(house: House, ana: Browser) -> None:
    house.asset("demo/props/hero.blend", owner="student")
    house.asset("demo/props/Hero.blend")
    [problem] = told(ana)
    assert problem["kind"] == "case-clash"
    done = press(ana, problem["actions"][0])
    assert sorted(os.listdir(house.data / "demo/props")) == [
        ".croft", "Hero.blend", "Hero.blend.json", "hero_2.blend", "hero_2.blend.json",
    ]  # fmt: skip
    assert told(ana) == []
    press(ana, done["undo"])
    assert [problem["kind"] for problem in told(ana)] == ["case-clash"]
    (house.data / "demo/props/Hero.blend").rename(house.data / "demo/props/villain.blend")
    house.until(lambda: not told(ana, "case-clash"))


def test_one_name_in_two_unicode_forms(house: House, ana: Browser) -> None:
    house.make("demo/tex/caf\u00e9.png", b"1")
    house.make("demo/tex/cafe\u0301.png", b"2")
    [problem] = told(ana)
    assert "accents" in problem["text"]
    press(ana, problem["actions"][0])
    assert told(ana) == []


def test_a_file_from_the_future(house: House, ana: Browser) -> None:
    house.scene()
    path = house.data / "demo/shots/sh010.blend"
    ahead = time.time_ns() + 10**9 * 86400 * 400
    os.utime(path, ns=(ahead, ahead))
    house.croft.services.store.refresh("data::demo/shots/sh010.blend")
    [problem] = told(ana)
    assert problem["kind"] == "clock"
    done = press(ana, problem["actions"][0])
    assert abs(path.stat().st_mtime - time.time()) < 60
    assert told(ana) == []
    press(ana, done["undo"])
    assert path.stat().st_mtime_ns == ahead
    assert [problem["kind"] for problem in told(ana)] == ["clock"]


def test_spoilt_facts_are_read_again_by_themselves(house: House, ana: Browser) -> None:
    house.scene()
    facts = house.data / "demo/shots/.croft/sh010.blend/file.json"
    good = json.loads(facts.read_bytes())
    facts.write_bytes(b"{half")

    def healed() -> bool:
        try:
            return bool(json.loads(facts.read_bytes())["hash"] == good["hash"])
        except ValueError:
            return False

    house.until(healed)
    assert told(ana) == []


def test_a_temporary_file_that_a_crash_left(house: House, ana: Browser) -> None:
    path = house.data / "demo/shots/.croft-tmp-0123456789abcdef"
    path.parent.mkdir()
    path.write_bytes(b"half")
    house.scene()
    house.croft.services.store.rescan()
    assert told(ana, "leftover") == []  # somebody may write it still
    yesterday = time.time() - 86400
    os.utime(path, (yesterday, yesterday))
    [problem] = house.until(lambda: told(ana))
    assert (problem["kind"], problem["severity"]) == ("leftover", "note")
    body = problem["actions"][0]["body"]
    os.utime(path)  # whoever writes it writes on
    assert ana.post("/api/problems/mend", body).status == 409
    os.utime(path, (yesterday, yesterday))
    with path.open("rb"):  # the server, in this process, is at it: a copy keeps the time of what is copied
        assert ana.post("/api/problems/mend", body).status == 409
    assert path.exists()
    done = press(ana, problem["actions"][0])
    assert told(ana) == []
    assert not path.exists()
    press(ana, done["undo"])
    assert path.read_bytes() == b"half"


def test_a_file_that_is_gone_and_its_record(house: House, ana: Browser) -> None:
    house.asset("demo/shots/sh010.blend", owner="student")
    house.asset("demo/shots/sh020.blend", owner="student")
    scene = house.data / "demo/shots/sh010.blend"
    content = scene.read_bytes()
    scene.unlink()
    [problem] = house.until(lambda: told(ana, "orphan"))
    assert "sh010.blend is gone" in problem["text"]
    scene.write_bytes(content)  # it is put back by hand
    house.until(lambda: not told(ana))
    scene.unlink()
    [problem] = house.until(lambda: told(ana, "orphan"))
    [action] = [action for action in problem["actions"] if action["label"] == "Let its record go"]
    done = press(ana, action)
    house.until(lambda: not told(ana))
    assert not (house.data / "demo/shots/sh010.blend.json").exists()
    press(ana, done["undo"])
    house.until(lambda: told(ana, "orphan"))
    assert (house.data / "demo/shots/sh010.blend.json").exists()


def test_the_share_is_away_and_comes_back(house: House, ana: Browser) -> None:
    house.scene()
    house.data.rename(house.data.with_name("unmounted"))
    [problem] = house.until(lambda: told(ana, "share"))
    assert problem["severity"] == "error"
    assert [p["id"] for p in ana.get("/api/problems?project=demo").data] == [problem["id"]]
    house.data.with_name("unmounted").rename(house.data)
    house.until(lambda: not told(ana))


def test_a_clock_that_was_set(house: House, ana: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = house.croft.services.store.clocks
    monkeypatch.setattr(clocks, "_wall", lambda: time.time() + 7200)
    [problem] = [one for one in told(ana, "clock") if one["id"] == "clock:server"]
    [action] = problem["actions"]
    assert ana.ask(action["method"], action["path"], action["body"]).status == 403
    press(house.browser("admin"), action)
    assert told(ana, "clock") == []


def test_a_share_whose_clock_is_off_is_looked_at_again(house: House, ana: Browser) -> None:
    house.croft.services.store.clocks.wrote("data", time.time() - 600)
    [problem] = told(ana, "clock")
    press(ana, problem["actions"][0])
    assert told(ana, "clock") == []


def test_a_change_of_the_list_is_told(house: House, ana: Browser) -> None:
    house.scene()
    assert told(ana) == []
    since = house.croft.services.events.last_id
    (house.data / "demo/shots/sh010.blend.json").write_bytes(b"{")

    def heard() -> bool:
        changes = ana.get(f"/api/events?since={since}").data["changes"]
        return any(change["kind"] == "problems" for change in changes)

    house.until(heard)
    page = ana.get("/p/demo/home").body.decode()
    assert 'Problems<span class="count">1</span>' in page


def test_who_may_not(house: House, ana: Browser) -> None:
    house.scene()
    mend = {"mend": "touch", "address": "data::demo/shots/sh010.blend"}
    assert house.browser().post("/api/problems/mend", mend).status == 401
    for wrong in (
        {"mend": "nonsense", "address": "data::demo/shots/sh010.blend"},
        {"mend": "put-back", "address": "data::demo/shots/sh010.blend"},
        {"mend": "touch", "address": "data::demo/.croft/project.json/x"},
        {"mend": "touch", "address": "data::../x"},
        {"mend": "drop", "address": "data::demo/shots/sh010.blend"},
        {"mend": "undo-put-back", "address": "data::demo/shots/sh010.blend.json", "kept": "data::demo/shots"},
    ):
        assert ana.post("/api/problems/mend", wrong).status == 400, wrong


def test_a_mend_moves_neither_what_is_protected_nor_a_project(house: House, ana: Browser) -> None:
    address = house.asset("demo/shots/sh010.blend", owner="student", protect=True)
    student = house.browser("student")
    for name, subject, more in (
        ("move-back", address, {"to": "data::demo/shots/mine.blend"}),
        ("rename-back", address, {"to": "data::demo/shots/mine.blend"}),
        ("move-back", "data::demo/project.json", {"to": "data::demo/shots/other.json"}),
        ("rename-back", "data::demo/project.json", {"to": "data::demo/other.json"}),
        ("move-back", "data::demo/shots", {"to": "data::demo/props"}),
    ):
        reply = student.post("/api/problems/mend", {"mend": name, "address": subject, **more})
        assert reply.status in (400, 403), (name, subject, reply.message)
    assert (house.data / "demo/project.json").exists()
    body = {"mend": "move-back", "address": address, "to": "data::demo/shots/mine.blend"}
    assert ana.post("/api/problems/mend", body).status == 403  # a supervisor's: she unlocks it first
    assert ana.post(f"/api/assets/{address}/unlock", {"reason": "it goes elsewhere"}).status == 200
    assert ana.post("/api/problems/mend", body).status == 200


def test_a_record_is_taken_from_a_file_only_where_somebody_gave_it(house: House, ana: Browser) -> None:
    address = house.asset("demo/shots/sh010.blend", owner="supervisor", protect=True)
    beside = house.data / "demo/shots/sh010.blend.json"
    before = beside.read_bytes()
    body = {"mend": "undo-same", "address": "data::demo/shots/nothing.blend", "other": address}
    reply = house.browser("student").post("/api/problems/mend", body)
    assert reply.status == 409, reply.message
    assert beside.read_bytes() == before


def test_a_changed_project_has_its_new_folders_alone_looked_at(
    house: House, ana: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        house.scene(f"demo/shots/s{number}/a.blend")
    assert told(ana) == []
    standing = house.croft.services.problems.standing
    looked: list[str] = []
    plain = standing._look_at

    def look_at(folder: str, limit: float) -> None:
        looked.append(folder)
        plain(folder, limit)

    monkeypatch.setattr(standing, "_look_at", look_at)
    store = house.croft.services.store
    store.notify([Change("project", "demo")])
    assert told(ana) == []
    assert looked == []
    store.notify([Change("asset", "data::demo/project.json"), Change("project", "demo")])
    told(ana)
    assert set(looked) == {"data::demo"}
    # A project that comes as a whole: two of its folders hold no file and are too much alike.
    for inside in ("new/deep/Shots/a/x.blend", "new/deep/shots/b/y.blend"):
        (house.data / inside).parent.mkdir(parents=True)
        (house.data / inside).touch()
    (house.data / "new/project.json").write_text("{}")
    store.rescan()
    assert "data::new/deep/shots" in [problem["address"] for problem in told(ana, "case-clash")]
    assert house.croft.services.history.wait()  # it begins the project's history within the folder
    shutil.rmtree(house.data / "new")
    store.rescan()
    assert told(ana, "case-clash") == []
