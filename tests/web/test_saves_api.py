"""Earlier saves over the API: keeping, publishing, listing, bringing back, undoing a deletion."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from house import SCENE, Browser, House

from server.disk import intents

OTHER = SCENE.replace(b"v304", b"v305")


def save_as(path: Path, content: bytes) -> None:
    """As Blender does: aside, then a rename."""
    aside = path.with_name(path.name + "@")
    aside.write_bytes(content)
    os.replace(aside, path)


def undo(browser: Browser, data: dict[str, Any]) -> Any:
    call = data["undo"]
    return browser.ask(call["method"], unquote(call["path"]), call["body"])


def test_a_kept_save_comes_back_and_that_is_undone(house: House) -> None:
    address = house.scene()
    path = house.data / "demo/shots/sh010.blend"
    student = house.browser("student")
    url = f"/api/assets/{address}"
    student.patch(url, {"description": "a person's words"})
    kept = student.post(f"{url}/checkpoint", {"comment": "before the big change"})
    assert kept.status == 201
    assert (kept.data["kind"], kept.data["who"]) == ("checkpoint", "student")
    assert kept.data["size"] == len(SCENE)
    save_as(path, OTHER)
    record = path.with_name("sh010.blend.json").read_bytes()
    back = student.post(f"{url}/restore", {"save": kept.data["id"]})
    assert back.status == 200, back.message
    assert path.read_bytes() == SCENE
    assert path.with_name("sh010.blend.json").read_bytes() == record
    assert undo(student, back.data).status == 200
    assert path.read_bytes() == OTHER
    saves = student.get(f"{url}/saves").data
    assert [save["kind"] for save in saves] == ["checkpoint"] * 3
    assert saves[-1]["comment"] == "before the big change"
    assert len({save["id"] for save in saves}) == 3


def test_a_checkpoint_shares_nothing_with_the_file(house: House) -> None:
    """Samba's clients write in place: that must not reach a copy."""
    address = house.scene()
    path = house.data / "demo/shots/sh010.blend"
    ident = house.browser("student").post(f"/api/assets/{address}/checkpoint").data["id"]
    copy = path.parent / "old" / ident / "sh010.blend"
    assert copy.stat().st_nlink == path.stat().st_nlink == 1
    with open(path, "r+b") as file:
        file.write(b"XXXX")
    assert copy.read_bytes() == SCENE
    intent = json.loads((copy.parent / "intent.json").read_text())
    assert (intent["what"], intent["who"], intent["done"]) == ("checkpoint", "student", True)
    assert (copy.parent / "sh010.blend.json").is_file()


def test_opened_beside_it_is_another_asset_that_knows_where_it_came_from(house: House) -> None:
    address = house.scene()
    path = house.data / "demo/shots/sh010.blend"
    student = house.browser("student")
    url = f"/api/assets/{address}"
    version = student.post(f"{url}/publish", {"comment": "for the director"}).data
    assert (version["id"], version["kind"], version["approved"]) == ("v001", "published", False)
    save_as(path, OTHER)
    assert student.post(f"{url}/publish").data["id"] == "v002"
    beside = student.post(f"{url}/restore", {"save": "v001", "beside": True})
    assert beside.data["address"] == "data::demo/shots/sh010 v001.blend"
    assert path.read_bytes() == OTHER
    assert path.with_name("sh010 v001.blend").read_bytes() == SCENE
    house.settle(beside.data["address"])
    mine, other = student.get(url).data, student.get(f"/api/assets/{beside.data['address']}").data
    record = json.loads(path.with_name("sh010 v001.blend.json").read_text())
    assert record["derived_from"] == mine["uuid"] != other["uuid"]
    again = student.post(f"{url}/restore", {"save": "v001", "beside": True})
    assert again.data["address"] not in (address, beside.data["address"])
    assert undo(student, beside.data).status == 200
    assert not path.with_name("sh010 v001.blend").exists()


def test_a_published_version_is_frozen_and_approved(house: House) -> None:
    address = house.scene()
    path = house.data / "demo/shots/sh010.blend"
    student, supervisor = house.browser("student"), house.browser("supervisor")
    url = f"/api/assets/{address}"
    assert student.post(f"{url}/publish").status == 201
    save_as(path, OTHER)
    student.post(f"{url}/publish")
    frozen = path.parent / ".croft/sh010.blend/versions/v001"
    assert (frozen / "sh010.blend").read_bytes() == SCENE
    assert (frozen / "sh010.blend").stat().st_mode & 0o222 == 0
    assert (frozen / "sh010.blend.json").is_file()
    record = json.loads((frozen / "version.json").read_text())
    assert (record["schema"], record["who"], record["size"]) == (1, "student", len(SCENE))
    assert record["hash"].startswith("blake2b-160:")
    assert student.patch(f"{url}/versions/v001", {"approved": True}).status == 403
    assert supervisor.patch(f"{url}/versions/v001", {"approved": True}).data["approved"]
    assert supervisor.patch(f"{url}/versions/v002", {"approved": True}).data["approved"]
    approved = {row["id"]: row["approved"] for row in student.get(f"{url}/versions").data}
    assert approved == {"v002": True, "v001": False}
    assert supervisor.patch(f"{url}/versions/v003", {"approved": True}).status == 404
    assert supervisor.patch(f"{url}/versions/../../x", {"approved": True}).status == 400
    (frozen / "Thumbs.db").write_bytes(b"what some program left")
    assert set(house.croft.services.saves.open(address, "v001")) == {"sh010.blend"}
    assert student.post(f"{url}/restore", {"save": "v001"}).status == 200
    assert path.read_bytes() == SCENE


def test_what_people_said_comes_back_only_when_asked(house: House) -> None:
    address = house.scene()
    student = house.browser("student")
    url = f"/api/assets/{address}"
    student.patch(url, {"description": "early"})
    ident = student.post(f"{url}/checkpoint").data["id"]
    student.patch(url, {"description": "late"})
    student.post(f"{url}/restore", {"save": ident})
    assert student.get(url).data["description"] == "late"
    student.post(f"{url}/restore", {"save": ident, "record": True})
    assert student.get(url).data["description"] == "early"


def test_a_deletion_is_listed_and_undone(house: House) -> None:
    address = house.scene()
    path = house.data / "demo/shots/sh010.blend"
    student = house.browser("student")
    url = f"/api/assets/{address}"
    student.patch(url, {"description": "mine"})
    uuid = student.get(url).data["uuid"]
    gone = student.ask("DELETE", url)
    assert gone.status == 200
    assert student.get(url).status == 404
    rows = student.get("/api/deleted?project=demo").data
    assert [(row["address"], row["who"], row["kind"]) for row in rows] == [(address, "student", "file")]
    assert student.get("/api/deleted").data == rows
    for page in ("/p/demo/deleted", "/p/demo/asset/shots/sh010.blend"):
        assert b"Bring it back" in student.get(page).body
    assert undo(student, gone.data).status == 200
    assert path.read_bytes() == SCENE
    assert student.get(url).data["uuid"] == uuid
    assert student.get("/api/deleted?project=demo").data == []
    assert not (path.parent / "old").exists()
    assert undo(student, gone.data).status == 404


def test_a_deletion_never_comes_back_over_a_file(house: House) -> None:
    address = house.scene()
    path = house.data / "demo/shots/sh010.blend"
    student = house.browser("student")
    gone = student.ask("DELETE", f"/api/assets/{address}").data
    path.write_bytes(OTHER)
    refused = undo(student, gone)
    assert refused.status == 409
    assert path.read_bytes() == OTHER
    house.croft.services.store.refresh(address)
    house.settle(address)
    # But its content can be had back as an earlier save of what is there now.
    saves = student.get(f"/api/assets/{address}/saves").data
    assert [save["kind"] for save in saves] == ["deleted"]
    assert student.post(f"/api/assets/{address}/restore", {"save": saves[0]["id"]}).status == 200
    assert path.read_bytes() == SCENE


def test_a_file_that_is_missing_comes_back_from_its_saves_or_is_forgotten(house: House) -> None:
    address = house.scene()
    path = house.data / "demo/shots/sh010.blend"
    student = house.browser("student")
    url = f"/api/assets/{address}"
    ident = student.post(f"{url}/checkpoint").data["id"]
    assert b"Keep this save" in student.get("/p/demo/asset/shots/sh010.blend").body
    assert student.post(f"{url}/forget").status == 400
    path.unlink()
    house.croft.services.store.refresh(address)
    assert student.get(url).data["status"] == "missing"
    assert [save["id"] for save in student.get(f"{url}/saves").data] == [ident]
    shown = student.get("/p/demo/asset/shots/sh010.blend").body
    assert b"Bring back the save of today" in shown
    assert b"Forget it" in shown
    back = student.post(f"{url}/restore", {"save": ident})
    assert (back.status, back.data["kept"]) == (200, "")
    assert path.read_bytes() == SCENE
    assert student.get(url).data["status"] != "missing"
    record = path.with_name("sh010.blend.json").read_bytes()
    away = undo(student, back.data)
    assert away.status == 200, away.message
    assert not path.exists()
    assert student.get(url).data["status"] == "missing"
    assert path.with_name("sh010.blend.json").read_bytes() == record
    assert undo(student, away.data).status == 200
    assert path.read_bytes() == SCENE
    assert path.with_name("sh010.blend.json").read_bytes() == record
    path.unlink()
    house.croft.services.store.refresh(address)
    forgotten = student.post(f"{url}/forget")
    assert student.get(url).status == 404
    assert not path.with_name("sh010.blend.json").exists()
    assert [row["kind"] for row in student.get("/api/deleted").data] == ["record"]
    assert undo(student, forgotten.data).status == 200
    assert student.get(url).data["status"] == "missing"


def test_a_protected_file_is_not_replaced(house: House) -> None:
    address = house.scene()
    student, supervisor = house.browser("student"), house.browser("supervisor")
    url = f"/api/assets/{address}"
    ident = student.post(f"{url}/checkpoint").data["id"]
    supervisor.patch(url, {"protect": True})
    assert student.post(f"{url}/restore", {"save": ident}).status == 403
    assert supervisor.post(f"{url}/restore", {"save": ident}).status == 403
    assert supervisor.post(f"{url}/unlock", {"reason": "a last change"}).status == 200
    assert student.post(f"{url}/restore", {"save": ident}).status == 200


@pytest.mark.parametrize("ident", ["nothing", "v001", "render-x", "20260101-000000-abcdef", "../../x"])
def test_a_save_that_isnt_there(house: House, ident: str) -> None:
    address = house.scene()
    answer = house.browser("student").post(f"/api/assets/{address}/restore", {"save": ident})
    assert answer.status == 404
    assert not (house.data / "demo/shots/old").exists()


def test_the_snapshot_of_a_render_is_an_earlier_save(house: House) -> None:
    address = house.scene()
    path = house.data / "demo/shots/sh010.blend"
    student = house.browser("student")
    job = student.post("/api/jobs", {"file": address, "frames": "1-2", "type": "test-pattern"}).data
    save_as(path, OTHER)
    saves = student.get(f"/api/assets/{address}/saves").data
    assert [(save["id"], save["kind"]) for save in saves] == [(f"render-{job['id']}", "render")]
    assert student.post(f"/api/assets/{address}/restore", {"save": saves[0]["id"]}).status == 200
    assert path.read_bytes() == SCENE


def test_a_file_that_moved_keeps_its_earlier_saves(house: House) -> None:
    address = house.scene()
    path = house.data / "demo/shots/sh010.blend"
    student = house.browser("student")
    ident = student.post(f"/api/assets/{address}/checkpoint").data["id"]
    save_as(path, OTHER)
    house.croft.services.store.refresh(address)
    new = "data::demo/props/lamp.blend"
    house.croft.services.store.move(address, new, "student")
    assert [save["id"] for save in student.get(f"/api/assets/{new}/saves").data] == [ident]
    assert student.post(f"/api/assets/{new}/restore", {"save": ident}).status == 200
    assert (house.data / "demo/props/lamp.blend").read_bytes() == SCENE


def test_nobody_undoes_a_deletion_elsewhere(house: House) -> None:
    student = house.browser("student")
    house.scene()
    for folder in ("data::demo/shots", "data::demo/old/x", "data::", "nowhere::old/20260101-000000-abcdef",
                   "data::.croft/old/20260101-000000-abcdef", "demo"):  # fmt: skip
        assert student.post("/api/restore", {"folder": folder}).status in (400, 404), folder
    assert house.browser().post("/api/restore", {"folder": "data::x"}).status == 401


def test_a_record_in_old_that_somebody_wrote_leads_nowhere_else(house: House) -> None:
    folder = house.data / "demo/shots/old/20260101-000000-abcdef"
    folder.mkdir(parents=True)
    (folder / "victim").write_text("x")
    said = {
        "what": "delete",
        "inside": "demo/shots/a.blend",
        "done": True,
        "names": {"../../../a": [1, 1, 1]},
    }
    (folder / "intent.json").write_text(json.dumps(said))
    student = house.browser("student")
    answer = student.post("/api/restore", {"folder": "data::demo/shots/old/20260101-000000-abcdef"})
    assert answer.status == 400
    assert student.get("/api/deleted?project=demo").data == []


def test_which_file_it_is_is_asked_answered_and_undone(house: House) -> None:
    """Given an asset whose file went while two look just like it."""
    services = house.croft.services
    address = house.scene()
    student = house.browser("student")
    student.patch(f"/api/assets/{address}", {"description": "hers"})
    uuid = student.get(f"/api/assets/{address}").data["uuid"]
    shots = house.data / "demo/shots"
    for name in ("b.blend", "c.blend"):
        shutil.copy2(shots / "sh010.blend", shots / name)
    rest(house)
    (shots / "sh010.blend").unlink()

    def question() -> Any:
        rest(house)
        found = student.get("/api/problems?kind=identity").data
        return found[0] if found else None

    def press(label: str) -> Any:
        found = question()
        action = next(a for a in found["actions"] if a["label"] == label)
        answer = student.ask(action["method"], action["path"], action["body"])
        assert answer.status == 200, answer.message
        return answer.data

    house.until(question)
    assert [a["label"] for a in question()["actions"]] == ["It is b.blend", "It is c.blend", "Neither"]
    # Neither: it isn't asked again, and everything stays
    done = press("Neither")
    assert question() is None
    assert student.get(f"/api/assets/{address}").data["status"] == "missing"
    undo(student, done)
    house.until(question)
    # It is b: the record goes there, and comes back on Undo
    done = press("It is b.blend")
    told = student.get("/api/assets/data::demo/shots/b.blend").data
    assert (told["uuid"], told["description"]) == (uuid, "hers")
    assert question() is None
    assert undo(student, done).status == 200
    rest(house)
    assert student.get(f"/api/assets/{address}").data["status"] == "missing"
    assert student.get(f"/api/assets/{address}").data["uuid"] == uuid
    told = student.get("/api/assets/data::demo/shots/b.blend").data
    assert told["uuid"] not in ("", uuid)
    assert services.store.looks.watcher.errors == 0  # type: ignore[union-attr]


def rest(house: House) -> None:
    watcher: Any = house.croft.services.store.looks.watcher
    for _ in range(2):
        assert watcher.settled(20)
        assert house.croft.services.ingest.wait(20)


@pytest.mark.parametrize("body", [
    {"mend": "same", "other": "data::demo/shots/nothing.blend"}, {"mend": "same"},
    {"mend": "not-same", "others": []}, {"mend": "not-same", "others": ["data::demo/shots/sh010.blend"]},
    {"mend": "undo-same", "other": "data::demo/shots/sh010.blend"},
])  # fmt: skip
def test_a_file_that_is_there_is_not_asked_after(house: House, body: dict[str, Any]) -> None:
    address = house.scene()
    before = (house.data / "demo/shots/sh010.blend.json").read_bytes()
    answer = house.browser("student").post("/api/problems/mend", {**body, "address": address})
    assert answer.status in (400, 404, 409), answer.message
    assert (house.data / "demo/shots/sh010.blend.json").read_bytes() == before


def test_a_file_that_is_deleted_while_it_renders(house: House) -> None:
    """Its job is stopped, nothing stays behind, and Undo brings back all of it, the stopped job too."""
    address = house.scene()
    shots = house.data / "demo/shots"
    student = house.browser("student")
    job = student.post("/api/jobs", {"file": address, "frames": "1-3", "type": "test-pattern"}).data
    assert list(shots.glob(".sh010.*.blend"))
    gone = student.ask("DELETE", f"/api/assets/{address}")
    assert gone.status == 200
    assert sorted(path.name for path in shots.iterdir()) in (
        [".croft", "old", "render"], ["old", "render"]
    )  # fmt: skip
    assert undo(student, gone.data).status == 200
    house.until(lambda: student.get(f"/api/jobs/{job['id']}").status == 200)
    assert student.get(f"/api/jobs/{job['id']}").data["state"] == "cancelled"
    saves = student.get(f"/api/assets/{address}/saves").data
    assert [save["kind"] for save in saves] == ["render"]
    assert student.post(f"/api/assets/{address}/restore", {"save": saves[0]["id"]}).status == 200


def test_a_file_that_goes_by_hand_while_it_renders_is_rendered_on(house: House) -> None:
    """The job has its snapshot; once it has ended nothing of it lies beside the file."""
    address = house.scene()
    shots = house.data / "demo/shots"
    student = house.browser("student")
    job = student.post("/api/jobs", {"file": address, "frames": "1-3", "type": "test-pattern"}).data
    (shots / "sh010.blend").unlink()
    rest(house)
    assert student.get(f"/api/assets/{address}").data["status"] == "missing"
    assert student.get(f"/api/jobs/{job['id']}").data["state"] == "waiting"
    assert list(shots.glob(".sh010.*.blend"))
    student.ask("DELETE", f"/api/jobs/{job['id']}")
    house.until(lambda: not list(shots.glob(".sh010.*.blend")))
    # What it was rendered from is an earlier save now.
    saves = student.get(f"/api/assets/{address}/saves").data
    assert student.post(f"/api/assets/{address}/restore", {"save": saves[0]["id"]}).status == 200
    assert (shots / "sh010.blend").read_bytes() == SCENE


def test_what_was_deleted_is_looked_for_where_something_was(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders that never had an old/ aren't listed each time, nor is one forgotten that gets it."""
    addresses = [house.scene(f"demo/shots/s{number}/a.blend") for number in range(5)]
    student = house.browser("student")
    assert student.get("/api/deleted?project=demo").data == []
    listed: list[str] = []
    plain = intents.names

    def names(folder: Path) -> Any:
        listed.append(str(folder))
        return plain(folder)

    monkeypatch.setattr(intents, "names", names)
    assert student.get("/api/deleted?project=demo").data == []
    assert listed == []
    student.ask("DELETE", f"/api/assets/{addresses[3]}")
    whole = student.ask("DELETE", "/api/assets/data::demo/shots/s1/a.blend")
    assert house.croft.services.history.wait()  # which looks there, too
    listed.clear()
    rows = student.get("/api/deleted?project=demo").data
    assert sorted(row["address"] for row in rows) == [addresses[1], addresses[3]]
    assert sorted(Path(folder).parent.name for folder in listed) == ["s1", "s3"]
    assert undo(student, whole.data).status == 200
    assert [row["address"] for row in student.get("/api/deleted").data] == [addresses[3]]
    os.rename(house.data / "demo/shots/s3", house.data / "demo/shots/s9")
    house.croft.services.store.refresh("data::demo/shots/s3")
    house.croft.services.store.refresh("data::demo/shots/s9")
    assert [row["folder"].split("/old/")[0] for row in student.get("/api/deleted").data] == [
        "data::demo/shots/s9"
    ]


def test_an_image_sequence_is_kept_brought_back_published_and_deleted_whole(house: House) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(8) + b"\0\0\0\0IEND\xaeB`\x82"
    for number in range(1, 4):
        house.make(f"demo/shots/walk.{number:04}.png", png + b"old %d" % number)
    address = "data::demo/shots/walk.@.png"
    shots = house.data / "demo/shots"
    rest(house)
    student = house.browser("student")
    url = f"/api/assets/{address}"
    assert student.get(url).data["kind"] == "sequence"
    if not student.get(url).data["etag"]:
        assert student.post("/api/assets", {"address": address}).status == 201
    there = lambda: sorted((p.name, p.read_bytes()[-5:]) for p in shots.glob("walk*.png"))  # noqa: E731
    old = there()
    kept = student.post(f"{url}/checkpoint").data
    assert kept["size"] == 3 * len(png + b"old 1")
    assert student.post(f"{url}/publish").data["id"] == "v001"
    for number in range(2, 6):
        save_as(shots / f"walk.{number:04}.png", png + b"new %d" % number)
    rest(house)
    new = there()
    back = student.post(f"{url}/restore", {"save": kept["id"]})
    assert back.status == 200, back.message
    assert there() == old
    undo(student, back.data)
    assert there() == new
    beside = student.post(f"{url}/restore", {"save": "v001", "beside": True}).data
    assert beside["address"] == "data::demo/shots/walk (v001).@.png"
    assert sorted(p.name for p in shots.glob("walk (v001)*.png"))[-1] == "walk (v001).0003.png"
    assert undo(student, beside).status == 200
    gone = student.ask("DELETE", url)
    assert there() == []
    assert undo(student, gone.data).status == 200
    assert there() == new


def test_an_old_record_brings_a_student_nothing_that_only_a_supervisor_says(house: House) -> None:
    address = house.scene()
    url = f"/api/assets/{address}"
    student, supervisor = house.browser("student"), house.browser("supervisor")
    assert supervisor.patch(url, {"final": True, "description": "old"}).status == 200
    save = student.post(f"{url}/checkpoint", {}).data["id"]
    assert supervisor.patch(url, {"final": False, "description": "new"}).status == 200
    for who, final in ((student, False), (supervisor, True)):
        assert who.post(f"{url}/restore", {"save": save, "record": True}).status == 200
        told = who.get(url).data
        assert (told["description"], told["final"]) == ("old", final)
