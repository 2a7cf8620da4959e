"""The history of all files: fed in the background, searched, taken back, on its pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from house import SCENE, House, Reply

from server.library.history import History

FILE = "demo/shots/sh010.blend"


def asked(house: House, query: str = "", who: str = "student") -> list[dict[str, Any]]:
    assert house.croft.services.history.wait()
    reply = house.browser(who).get(f"/api/history{'?' if query else ''}{query}")
    assert reply.status == 200, reply.message
    rows: list[dict[str, Any]] = reply.data
    return rows


def said(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(row["who"], row["kind"]) for row in rows]


def undone(house: House, row: dict[str, Any], who: str = "student") -> Reply:
    undo = row["undo"]
    return house.browser(who).ask(undo["method"], undo["path"], undo["body"])


def test_everything_that_is_done_stands_there_and_is_found(house: House) -> None:
    address = house.asset(FILE, type="shot", state="todo")
    house.asset("demo/props/hat.blend")
    student, supervisor = house.browser("student"), house.browser("supervisor")
    student.patch(f"/api/assets/{address}", {"state": "working"})
    supervisor.patch(f"/api/assets/{address}", {"description": "Mist {{ 7 * 7 }}"})
    student.post(f"/api/assets/{address}/checkpoint", {"comment": "before the hat"})
    student.post(f"/api/assets/{address}/publish", {})
    supervisor.patch(f"/api/assets/{address}/versions/v001", {"approved": True})
    student.ask("PUT", "/api/files/data::demo/tex/wood.png", raw=b"\x89PNG", kind="image/png")
    rows = asked(house)
    assert said(rows)[:6] == [
        ("student", "upload"), ("supervisor", "approved"), ("student", "version"), ("student", "save"),
        ("supervisor", "edit"), ("student", "edit"),
    ]  # fmt: skip
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)
    assert rows[0]["address"] == "data::demo/tex/wood.png"
    assert "uploaded it" in student.get("/p/demo/asset/tex/wood.png").body.decode()
    assert said(asked(house, "who=supervisor")) == [("supervisor", "approved"), ("supervisor", "edit")]
    assert said(asked(house, "q=mist 7")) == [("supervisor", "edit")]
    assert {row["address"] for row in asked(house, "file=HAT")} == {"data::demo/props/hat.blend"}
    assert said(asked(house, "kind=save&project=demo")) == [("student", "save")]
    assert asked(house, f"since={rows[1]['at']}") == rows[:2]
    assert house.browser("student").get("/api/history?since=soon").status == 400
    assert asked(house, f"until={rows[1]['at']}") == rows[2:]
    assert house.browser("student").get("/api/history?project=none").status == 404
    assert house.browser("student").get("/api/history?kind=nonsense").status == 400
    assert house.browser("student").get("/api/history?cursor=5").status == 400
    own = house.browser("student").get(f"/api/history?address={address}").data
    assert [row["id"] for row in own] == [row["id"] for row in rows if row["address"] == address]


def test_pages_of_an_answer_continue_each_other(house: House) -> None:
    address = house.asset(FILE, state="todo")
    student = house.browser("student")
    for state in ("working", "review", "retake", "hold"):
        student.patch(f"/api/assets/{address}", {"state": state})
    whole = asked(house)
    first = student.get("/api/history?limit=2").json
    student.patch(f"/api/assets/{address}", {"state": "done"})  # what comes meanwhile moves nothing
    assert house.croft.services.history.wait()
    second = student.get(f"/api/history?limit=1000&cursor={first['next']}").json
    assert first["data"] + second["data"] == whole
    assert second["next"] is None


def test_a_change_is_taken_back_unless_somebody_changed_it_since(house: House) -> None:
    address = house.asset(FILE, state="todo", priority=3)
    student = house.browser("student")
    student.patch(f"/api/assets/{address}", {"state": "working", "priority": 5})
    row = asked(house, "kind=edit")[0]
    reply = undone(house, row)
    assert (reply.status, sorted(reply.data["fields"])) == (200, ["priority", "state"])
    record = json.loads((house.data / (FILE + ".json")).read_text())
    assert (record["state"], record["priority"]) == ("todo", 3)
    again = student.ask(*reply.data["undo"].values())  # and the taking back, too
    assert (again.status, json.loads((house.data / (FILE + ".json")).read_text())["state"]) == (
        200,
        "working",
    )
    house.browser("supervisor").patch(f"/api/assets/{address}", {"priority": 1})
    assert asked(house)[1]["undo"] is None  # it isn't offered any more, and refused to who asks all the same
    reply = undone(house, row)
    assert (reply.status, "changed again since" in reply.message) == (409, True)
    assert json.loads((house.data / (FILE + ".json")).read_text())["priority"] == 1
    gone = student.post("/api/history/undo", {"address": address, "id": "0" * 18})
    assert gone.status == 404


def test_what_students_may_not_set_they_dont_take_back(house: House) -> None:
    address = house.asset(FILE)
    house.browser("supervisor").patch(f"/api/assets/{address}", {"final": True})
    assert asked(house, "kind=edit")[0]["undo"] is None
    row = asked(house, "kind=edit", "supervisor")[0]
    assert undone(house, row).status == 403
    assert undone(house, row, "supervisor").status == 200
    assert asked(house, "", "student")[0]["undo"] is None


def test_deletions_and_uploads_are_taken_back(house: House) -> None:
    address = house.asset(FILE, state="todo")
    student = house.browser("student")
    student.patch(f"/api/assets/{address}", {"state": "working"})
    student.ask("DELETE", f"/api/assets/{address}")
    rows = asked(house)
    assert said(rows)[:2] == [
        ("student", "deleted"),
        ("student", "edit"),
    ]  # what was done before stays to be read
    assert rows[1]["undo"] is None
    assert undone(house, rows[0]).status == 200
    house.settle(address)
    assert said(asked(house))[0] == ("student", "edit")
    student.ask("PUT", "/api/files/data::demo/tex/wood.png", raw=b"\x89PNG", kind="image/png")
    row = asked(house)[0]
    assert (row["kind"], undone(house, row).status) == ("upload", 200)
    assert not (house.data / "demo/tex/wood.png").exists()


def test_a_foreign_edit_and_another_site_are_seen(house: House) -> None:
    address = house.asset(FILE, state="todo")
    companion = house.data / "demo/shots/.croft/sh010.blend"
    line = {"at": "2026-11-01T10:00:00.000Z", "who": "ben", "fields": {"state": ["x", "todo"]}, "etag": "e"}
    (companion / "history.north.jsonl").write_text(json.dumps(line) + "\n" + '{"torn')
    house.until(lambda: any(row["who"] == "ben" for row in asked(house)))
    moved = house.data / "demo/shots/sh011.blend"
    (house.data / FILE).rename(moved)
    (house.data / (FILE + ".json")).rename(Path(f"{moved}.json"))
    companion.rename(companion.with_name("sh011.blend"))
    house.croft.services.store.refresh("data::demo/shots")
    house.until(
        lambda: {row["address"] for row in asked(house, "who=ben")} == {address.replace("sh010", "sh011")}
    )


def test_memory_is_bounded(house: House) -> None:
    history = house.croft.services.history
    history._most = 20
    address = house.asset(FILE)
    for number in range(1, 40):
        house.browser("student").patch(f"/api/assets/{address}", {"priority": number % 5 + 1})
    rows = asked(house)
    assert 20 <= len(rows) <= 22
    assert history.since
    assert len(house.browser("student").get(f"/api/history?address={address}").data) >= 39


def test_a_start_reads_the_same(house: House) -> None:
    """Disposable: read anew from the disk it is what following the changes has made of it."""
    address = house.asset(FILE, state="todo")
    student = house.browser("student")
    student.patch(f"/api/assets/{address}", {"state": "working"})
    other = house.asset("demo/props/hat.blend")
    student.ask("DELETE", f"/api/assets/{other}")
    before = asked(house)
    services = house.croft.services
    fresh = History(services.store, services.projects, services.saves)
    fresh.start()
    assert fresh.wait()
    assert [entry.id for entry in fresh.entries().entries] == [row["id"] for row in before]
    fresh.close()


def test_the_pages_say_it_in_words(house: House) -> None:
    address = house.asset(FILE, name="The <b>fox</b>", state="todo")
    student = house.browser("student")
    student.patch(
        f"/api/assets/{address}", {"state": "working", "description": "{{ 7 * 7 }} {x} \u202e<script>"}
    )
    assert house.croft.services.history.wait()
    for page in ("/history", "/p/demo/history", "/p/demo/history?who=student&kind=edit&q=student&file=SH010"):
        text = student.get(page).body.decode()
        assert "The &lt;b&gt;fox&lt;/b&gt;" in text
        assert "<del>To do</del>" in text
        assert "<ins>In work</ins>" in text
        assert "{{ 7 * 7 }} {x} \u202e&lt;script&gt;" in text
        assert "/api/history/undo" in text
    assert "Nothing fits this" in student.get("/p/demo/history?from=2099-01-01").body.decode()
    assert "A day is written like" in student.get("/history?from=yesterday").body.decode()
    assert student.get("/history?cursor=x").status == 200
    (house.config / "users/gus.json").write_text('{"title": "Gus", "role": "guest"}')
    house.until(lambda: house.croft.services.people.known("gus"))
    assert "/api/history/undo" not in house.browser("gus").get("/history").body.decode()


def test_a_save_on_the_share_stands_there(house: House) -> None:
    address = house.asset(FILE)
    (house.data / FILE).write_bytes(SCENE.replace(b"v304", b"v305"))
    house.croft.services.store.refresh(address)
    house.until(lambda: said(asked(house, "kind=saved")))
    (house.data / FILE).touch()  # the same bytes under another time are no save
    house.croft.services.store.refresh(address)
    house.settle(address)
    assert len(asked(house, "kind=saved")) == 1
    assert "saved it (" in house.browser("student").get("/p/demo/asset/shots/sh010.blend").body.decode()


def test_what_is_said_of_a_project_is_taken_back(house: House) -> None:
    student, boss = house.browser("student"), house.browser("supervisor")
    path = house.data / "demo/project.json"

    def now() -> dict[str, Any]:
        record: dict[str, Any] = json.loads(path.read_text())
        return record

    before = now()["description"]
    student.patch("/api/projects/demo", {"description": "x" * 900})
    boss.patch("/api/projects/demo", {"title": "The Fox", "licence": "CC0", "render_priority": 5})
    first = student.post("/api/projects/demo/roles", {"title": "Sound", "people": ["student"]}).data["id"]
    student.ask("DELETE", f"/api/projects/demo/roles/{first}")
    student.post("/api/projects/demo/external", {"name": "Wood", "origin": "a shop"})
    rows = asked(house, "kind=edit")
    assert [sorted(row["fields"]) for row in rows] == [
        ["external"], ["roles"], ["roles"], ["licence", "render_priority", "title"], ["description"],
    ]  # fmt: skip
    assert [bool(row["undo"]) for row in rows] == [True, True, False, False, True]
    call = {"address": rows[3]["address"], "id": rows[3]["id"]}  # what students can't set, they don't undo
    assert student.post("/api/history/undo", call).status == 403
    for row in (rows[0], rows[1], rows[4]):
        reply = undone(house, row)
        assert (reply.status, reply.data["fields"]) == (200, list(row["fields"]))
        assert reply.message == "The Fox is as it was before."
    assert (now()["roles"][0]["title"], now()["external"], now()["description"]) == ("Sound", [], before)
    again = student.ask(*reply.data["undo"].values())  # and the taking back, too
    assert (again.status, now()["description"]) == (200, "x" * 900)
    assert boss.post("/api/history/undo", call).status == 200
    assert (now()["title"], now()["licence"], now()["render_priority"]) == ("Demo", "", 3)
    student.patch("/api/projects/demo", {"description": "Mist"})
    stale = student.post("/api/history/undo", {"address": rows[4]["address"], "id": rows[4]["id"]})
    assert (stale.status, "changed again since" in stale.message) == (409, True)
    (house.config / "users/zoe.json").write_text('{"title": "Zoe", "projects": ["other"]}')
    house.until(lambda: house.croft.services.people.known("zoe"))
    assert all(row["undo"] is None for row in asked(house, "kind=edit", "zoe"))
    boss.patch("/api/projects/demo", {"approve_by": "lighter"})
    assert asked(house, "kind=edit", "supervisor")[0]["undo"]
    page = boss.get("/p/demo/history").body.decode()
    assert "<ins>Supervisors, and who lights the shot</ins>" in page
    assert "Its renders, among those of other projects" in page
    assert "etag" not in {field for row in rows for field in row["fields"]}
