"""Records that somebody edits on the share, past Croft: the history tells of it, and takes it back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from house import House

from server.disk.sidecar import facts
from server.library.history import History
from server.library.history.by_hand import changed

FILE = "demo/shots/sh010.blend"


def told(house: House, address: str, who: str = "student") -> list[dict[str, Any]]:
    """A file's own changes, newest first."""
    assert house.croft.services.history.wait()
    rows: list[dict[str, Any]] = house.browser(who).get(f"/api/history?address={address}").data
    return [row for row in rows if row["kind"] == "edit"]


def by_hand(house: House, inside: str = FILE, **said: Any) -> Path:
    """An editor writes the record anew; None takes a key away. The watcher sees it by itself."""
    path = house.data / f"{inside}.json"
    record = {**json.loads(path.read_text()), **said}
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}, indent=4))
    return path


def record(house: House, inside: str = FILE) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((house.data / f"{inside}.json").read_text())
    return found


def test_an_edit_by_hand_stands_in_the_history_and_is_taken_back(house: House) -> None:
    address = house.asset(FILE, type="shot", state="todo", priority=3, description="x" * 900)
    student = house.browser("student")
    student.patch(f"/api/assets/{address}", {"state": "working"})
    by_hand(house, state="done", description="Mist", mood="blue")
    row = house.until(lambda: [one for one in told(house, address) if one["more"].get("hand")])[0]
    assert row["fields"]["state"] == ["working", "done"]
    assert row["fields"]["description"][1] == "Mist"
    assert (row["who"], "mood" in row["fields"]) == ("", False)  # of what was never told nobody knows
    page = student.get("/p/demo/asset/shots/sh010.blend").body.decode()
    assert "changed it by hand, outside Croft" in page
    undone = student.ask(row["undo"]["method"], row["undo"]["path"], row["undo"]["body"])
    assert undone.status == 200, undone.message
    said = record(house)
    assert (said["state"], said["description"], said["mood"]) == ("working", "x" * 900, "blue")
    # What Croft did itself isn't told twice, nor what changes nothing but blanks.
    path = house.data / f"{FILE}.json"
    path.write_text(json.dumps(said))
    house.until(lambda: house.croft.services.store.read(address).etag == etag_of(house, address))
    assert [row["more"].get("hand", False) for row in told(house, address)].count(True) == 1


def etag_of(house: House, address: str) -> str:
    entry = house.croft.services.store.index.get(address)
    return entry.etag if entry is not None else ""


def test_a_record_without_a_history_is_compared_with_what_was_seen_last(house: House) -> None:
    """As RFAM's: its record is there, and nothing tells of it yet."""
    house.make("demo/props/hat.png", b"\x89PNG")
    path = house.data / "demo/props/hat.png.json"
    path.write_text(json.dumps({"name": "Hat", "state": "ns", "priority": 75, "type": "other"}))
    address = "data::demo/props/hat.png"
    house.until(lambda: etag_of(house, address))
    assert told(house, address) == []
    by_hand(house, "demo/props/hat.png", state="ip", owner="student")
    row = house.until(lambda: told(house, address))[0]
    assert row["fields"] == {"state": ["ns", "ip"], "owner": [None, "student"]}
    assert (
        house.browser("supervisor")
        .ask(row["undo"]["method"], row["undo"]["path"], row["undo"]["body"])
        .status
        == 200
    )
    assert record(house, "demo/props/hat.png")["state"] == "ns"
    assert "owner" not in record(house, "demo/props/hat.png")


def test_what_was_changed_while_no_croft_ran_is_told_once(house: House) -> None:
    address = house.asset(FILE, type="shot", state="todo")
    services = house.croft.services
    assert services.history.wait()
    services.history.close()
    path = by_hand(house, state="done")
    os.utime(path, (4102444800, 4102444800))  # a clock that is ahead: not told as of then
    services.store.refresh(address)
    student = services.people.user("student")
    for _ in range(2):
        fresh = History(services.store, services.projects, services.saves, whose=lambda uid: student)
        fresh.start()
        assert fresh.wait()
        found = [entry for entry in fresh.of(address) if entry.more.get("hand")]
        fresh.close()
        assert [(entry.who, dict(entry.fields)) for entry in found] == [
            ("student", {"state": ("todo", "done")})
        ]
        assert found[0].at < "2099"


def test_another_files_record_is_no_edit(house: House) -> None:
    address = house.asset(FILE, type="shot", state="todo", uuid="one")
    by_hand(house, state="done", uuid="two")
    house.until(
        lambda: (entry := house.croft.services.store.index.get(address)) and entry.facts.state == "done"
    )
    assert [row for row in told(house, address) if row["more"].get("hand")] == []


FILM = "data::demo/project.json"


def film(house: House, **said: Any) -> None:
    """An editor writes `project.json` anew, over Samba; the watcher sees it by itself."""
    path = house.data / "demo/project.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **said}, indent=4))


def told_of_film(house: House) -> list[dict[str, Any]]:
    assert house.croft.services.history.wait()
    rows: list[dict[str, Any]] = house.browser("supervisor").get("/api/history?project=demo&kind=edit").data
    return [row for row in rows if row["address"] == FILM]


def first_seen(house: House) -> None:
    path = house.data / "demo/.croft/project.json/history.test.jsonl"
    house.until(lambda: path.is_file() and '"base"' in path.read_text())


def test_a_film_edited_by_hand_stands_in_the_history_and_is_taken_back(house: House) -> None:
    supervisor = house.browser("supervisor")
    first_seen(house)
    assert told_of_film(house) == [], "that it was seen is no change"
    supervisor.patch("/api/projects/demo", {"description": "Two foxes."})
    assert house.croft.services.history.wait()  # roles are compared with what was seen last
    before = record(house, "demo/project")["title"]
    roles = [{"title": "Animation", "people": ["student", "A. Composer"]}]
    film(house, title="Foxes {{ 7*7 }} <b>", licence="CC BY 4.0", roles=roles, mood="blue")
    row = house.until(lambda: [one for one in told_of_film(house) if one["more"].get("hand")])[0]
    assert row["fields"]["title"] == [before, "Foxes {{ 7*7 }} <b>"]
    assert (row["who"], sorted(row["fields"])) == ("", ["licence", "roles", "title"])
    page = supervisor.get("/p/demo/history").body.decode()
    assert "changed it by hand, outside Croft" in page
    assert "Foxes {{ 7*7 }} &lt;b&gt;" in page
    assert len(told_of_film(house)) == 2, "what Croft did itself isn't told twice"
    undone = supervisor.ask(row["undo"]["method"], row["undo"]["path"], row["undo"]["body"])
    assert undone.status == 200, undone.message
    said = record(house, "demo/project")
    assert (said["title"], said["licence"], said["roles"], said["mood"]) == (before, "", [], "blue")
    assert said["description"] == "Two foxes."
    (house.data / "demo/project.json").write_text(json.dumps(said))  # other blanks, nothing else
    film(house, render_priority=5)
    house.until(lambda: told_of_film(house)[0]["fields"] == {"render_priority": [3, 5]})
    assert [row["more"].get("hand", False) for row in told_of_film(house)] == [True, False, True, False]


def test_a_film_edited_while_no_croft_ran_is_told_once(house: House) -> None:
    first_seen(house)
    services = house.croft.services
    assert services.history.wait()
    services.history.close()
    film(house, licence="CC0")
    services.store.refresh(FILM)
    student = services.people.user("student")
    for _ in range(2):
        fresh = History(services.store, services.projects, services.saves, whose=lambda uid: student)
        fresh.start()
        assert fresh.wait()
        found = [entry for entry in fresh.of(FILM) if entry.more.get("hand")]
        fresh.close()
        assert [(entry.who, dict(entry.fields)) for entry in found] == [("student", {"licence": ("", "CC0")})]


def test_who_was_forgotten_comes_back_by_no_comparison(house: House) -> None:
    """Neither who gave their name for the credits, nor who didn't; nor what is changed by hand just then."""
    supervisor, services = house.browser("supervisor"), house.croft.services
    for ident in ("zoe-quin", "max-moor"):
        services.people.add(ident, "student", ident.title().replace("-", " "), "", projects=["demo"])
    first_seen(house)
    both = {"title": "Animation", "people": ["zoe-quin", "student", "max-moor"]}
    assert supervisor.post("/api/projects/demo/roles", both).status in (200, 201)
    film(house, licence="one", roles=[{**both, "title": "Light"}])
    house.until(lambda: [one for one in told_of_film(house) if "licence" in one["fields"]])
    for ident, credits in (("zoe-quin", "keep"), ("max-moor", "remove")):
        body = {"sure": "yes", "credits": credits}
        assert house.browser("admin").post(f"/api/users/{ident}/forget", body).status == 200
        film(house, licence=ident[:3])
        house.until(lambda: ident[:3] in told_of_film(house)[0]["fields"].get("licence", ()))  # noqa: B023
    (role,) = record(house, "demo/project")["roles"]
    assert role["people"] == ["Zoe Quin", "student"]
    for path in (house.data / "demo/.croft/project.json").glob("history.*"):
        assert not [word for word in ("zoe-quin", "Zoe", "max-moor", "Max") if word in path.read_text()], path
    for row in told_of_film(house):
        if row["undo"] is not None:
            supervisor.ask(row["undo"]["method"], row["undo"]["path"], row["undo"]["body"])
    assert "zoe-quin" not in supervisor.get("/api/history?project=demo").body.decode()
    (role,) = record(house, "demo/project")["roles"]
    assert role["people"] == ["Zoe Quin", "student"]


def test_what_was_changed() -> None:
    lines: list[dict[str, Any]] = [
        {"fields": {"state": [None, "todo"], "owner": [None, "ana"]}, "etag": "1"},
        {"fields": {"state": ["x", "gone"]}},  # of a record that gave way
        {"fields": "spoilt", "etag": "2"},
        {"fields": {"owner": ["ana", ""]}, "etag": "3"},
    ]
    before = {"description": "y" * 600, "name": "Fox", "pipeline": {"layout": "done"}, "priority": 3}
    assert changed(lines, facts(before), {"state": "done", "description": "short", "name": "Wolf"}) == {
        "state": ("todo", "done"),
        "name": ("Fox", "Wolf"),
        "pipeline": ({"layout": "done"}, None),
        "priority": (3, None),
    }
    assert changed(lines, None, {"state": "todo", "name": "Wolf"}) == {}
