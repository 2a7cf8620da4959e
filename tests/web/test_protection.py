"""Protected files over the API and on their page: refused, unlocked for a reason, changed around Croft."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from house import SCENE, Browser, House

from server.library import versions
from server.web.app import build

CHAR = "demo/characters/fox.blend"
ADDRESS = f"data::{CHAR}"
URL = f"/api/assets/{ADDRESS}"
PAGE = "/p/demo/asset/characters/fox.blend"
OTHER = SCENE.replace(b"v304", b"v305")  # of the same size


def around(house: House, content: bytes = OTHER, inside: str = CHAR) -> None:
    """As Blender saves over Samba: aside, then a rename; then the watcher has seen it."""
    path = house.data / inside
    aside = path.with_name(path.name + "@")
    aside.write_bytes(content)
    os.replace(aside, path)
    house.croft.services.store.refresh(f"data::{inside}")


def published(house: House, inside: str = CHAR, **facts: Any) -> None:
    house.asset(inside, **{"type": "char", "owner": "student", "uuid": "u", **facts})
    done = house.browser("student").post(f"/api/assets/data::{inside}/publish", {"comment": "for the shots"})
    assert done.status == 201, done.message


def told(house: House) -> list[dict[str, Any]]:
    found = house.browser("student").get("/api/problems?kind=protected").data
    assert isinstance(found, list)
    return found


def until_told(house: House) -> dict[str, Any]:
    [problem] = house.until(lambda: told(house))
    assert problem["address"] == ADDRESS
    return dict(problem)


def undo(browser: Browser, data: dict[str, Any]) -> Any:
    call = data["undo"]
    return browser.ask(call["method"], unquote(call["path"]), call["body"])


def press(browser: Browser, problem: dict[str, Any], label: str) -> Any:
    [action] = [one for one in problem["actions"] if one["label"].startswith(label)]
    return browser.ask(action["method"], unquote(action["path"]), action["body"])


def content(house: House, inside: str = CHAR) -> bytes:
    return (house.data / inside).read_bytes()


def test_what_publishing_locks_is_neither_published_replaced_nor_deleted(house: House) -> None:
    student, supervisor = house.browser("student"), house.browser("supervisor")
    house.asset(CHAR, type="char", owner="student", uuid="u")
    kept = student.post(f"{URL}/checkpoint").data["id"]
    around(house)
    # Given a character, a type that is locked by publishing, and a shot, which isn't
    published(house, "demo/shots/sh010.blend", type="shot", uuid="v")
    assert student.get("/api/assets/data::demo/shots/sh010.blend").data["protection"] is None
    assert student.post(f"{URL}/publish").status == 201
    assert json.loads((house.data / f"{CHAR}.json").read_bytes())["protect"] is True
    mark = student.get(URL).data["protection"]
    assert (mark["version"], mark["who"], mark["changed"]) == ("v001", "student", False)
    assert mark["hash"].startswith("blake2b-160:")
    copy = house.make("demo/characters/fox - Copy.blend", SCENE)
    house.settle(copy)
    calls: list[tuple[str, str, Any]] = [
        ("POST", f"{URL}/publish", {}),
        ("POST", f"{URL}/restore", {"save": kept}),
        ("POST", f"{URL}/restore", {"save": "v001"}),
        ("POST", f"{URL}/away", {}),
        ("DELETE", URL, None),
        ("POST", f"/api/assets/{copy}/copy", {"do": "version"}),
        ("POST", "/api/problems/mend", {"mend": "move-back", "address": ADDRESS, "to": "data::demo/f.blend"}),
        ("POST", "/api/problems/mend", {"mend": "rename-back", "address": ADDRESS, "to": copy + "x"}),
    ]
    # Then nobody replaces, moves or deletes it, its owner and supervisors neither
    for method, path, body in calls:
        for browser in (student, supervisor):
            refused = browser.ask(method, path, body)
            assert refused.status == 403, (method, path, refused.message)
            assert "protected" in refused.message
    assert content(house) == OTHER
    assert student.patch(URL, {"protect": False}).status == 403
    for method, path, body in (
        ("PATCH", URL, {"protect": False}),
        ("POST", "/api/assets/change", {"addresses": [ADDRESS], "protect": False}),
    ):
        refused = supervisor.ask(method, path, body)
        assert refused.status == 400, refused.message
        assert "say why" in refused.message
    # What people say of it may change, and it can be brought back beside it.
    assert student.patch(URL, {"description": "the hero"}).status == 200
    assert student.post(f"{URL}/restore", {"save": "v001", "beside": True}).status == 200


def test_its_owner_or_a_supervisor_unlocks_it_for_a_reason(house: House) -> None:
    published(house, owner="supervisor")
    student, supervisor = house.browser("student"), house.browser("supervisor")
    for path, body in (("/api/assets/change", {"addresses": [ADDRESS], "owner": "student"}), (URL, None)):
        mine = {"owner": "student"}
        refused = student.post(path, body) if body else student.patch(path, mine)
        assert refused.status == 403, refused.message  # nobody makes it theirs to unlock it
    refused = student.post(f"{URL}/unlock", {"reason": "please"})
    assert (refused.status, student.get(URL).data["protect"]) == (403, True)
    assert "Unlock" not in student.get(PAGE).body.decode()
    assert "Supervisor or a supervisor can do that" in student.get(PAGE).body.decode()
    assert "Unlock it…" in supervisor.get(PAGE).body.decode()
    for reason in ("", " \n", "x" * 2001):
        assert supervisor.post(f"{URL}/unlock", {"reason": reason}).status == 400
    why = "<b>six</b> {fingers} \u202e " + "y" * 1900
    done = supervisor.post(f"{URL}/unlock", {"reason": why})
    assert done.status == 200, done.message
    assert done.data["protection"] is None
    [line] = [one for one in student.get(f"/api/history?address={ADDRESS}").data if "comment" in one["more"]
              and "protect" in one["fields"]]  # fmt: skip
    assert (line["who"], line["fields"]["protect"]) == ("supervisor", [True, False])
    assert line["more"]["comment"].startswith("<b>six</b> {fingers}")
    assert line["undo"] is None
    shown = student.get(PAGE).body.decode()
    assert "&lt;b&gt;six&lt;/b&gt;" in shown
    assert "<b>six" not in shown
    assert supervisor.post(f"{URL}/unlock", {"reason": why}).status == 409
    # Undone, it is as it was; unlocked again, it can be changed, published and is locked again.
    assert undo(supervisor, done.data).status == 200
    assert student.get(URL).data["protection"]["version"] == "v001"
    supervisor.post(f"{URL}/unlock", {"reason": "the tail"})
    around(house)
    assert student.post(f"{URL}/publish").data["id"] == "v002"
    assert student.get(URL).data["protection"]["version"] == "v002"
    house.croft.services.protection.wait()
    assert told(house) == []


def test_a_change_around_croft_is_asked_about_and_put_back(house: House) -> None:
    published(house)
    student = house.browser("student")
    house.croft.services.protection.wait()
    around(house)
    problem = until_told(house)
    assert "fox.blend is protected" in problem["text"]
    assert "Version 1 is kept" in problem["mend"]
    page = student.get(PAGE).body.decode()
    for label in ("Put the published one back", "Carry on as a new file", "Keep it as it is"):
        assert label in page
    assert student.get(URL).data["protection"]["changed"] is True
    done = press(student, problem, "Put the published one back")
    assert done.status == 200, done.message
    assert content(house) == SCENE
    assert b"changed all the same" not in student.get(PAGE).body  # at once, also without scripts
    assert told(house) == []
    # The undo asks again; any other save is still refused.
    kept = student.post(f"{URL}/checkpoint").data["id"]
    assert student.post(f"{URL}/put-back", {"save": kept}).status == 400
    assert undo(student, done.data).status == 200
    assert content(house) == OTHER
    assert told(house)
    assert undo(student, done.data).status == 400
    # The same bytes again, by whichever way: nothing is left to ask.
    around(house, SCENE)
    house.until(lambda: not told(house))
    assert student.post(f"{URL}/put-back").status == 409


def test_a_save_while_it_is_published_is_asked_about(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.asset(CHAR, type="char", owner="student", uuid="u")
    protection, plain = house.croft.services.protection, house.croft.services.protection.published

    def late(*arguments: Any) -> bool:
        around(house)  # after it was copied, before it is protected
        return plain(*arguments)

    monkeypatch.setattr(protection, "published", late)
    assert house.browser("student").post(f"{URL}/publish").status == 201
    assert "Version 1 " in until_told(house)["mend"]


def test_a_change_is_kept_or_carried_on(house: House) -> None:
    published(house)
    student, guest = house.browser("student"), house.browser("supervisor")
    around(house)
    problem = until_told(house)
    done = press(guest, problem, "Carry on as a new file")
    assert done.status == 201, done.message
    new = done.data["address"]
    assert new == "data::demo/characters/fox_2.blend"
    assert (content(house), content(house, new[6:])) == (SCENE, OTHER)
    made = student.get(f"/api/assets/{new}").data
    assert (made["owner"], made["protect"], made["type"]) == ("supervisor", False, "char")
    assert json.loads((house.data / f"{new[6:]}.json").read_bytes())["derived_from"] == "u"
    assert told(house) == []
    assert undo(guest, done.data).status == 200
    assert content(house) == OTHER
    assert student.get(f"/api/assets/{new}").status == 404
    problem = until_told(house)
    done = press(student, problem, "Keep it as it is")
    assert done.status == 200, done.message
    assert (content(house), told(house)) == (OTHER, [])
    assert student.get(URL).data["protect"] is False
    # Undone, the question is open again.
    assert undo(student, done.data).status == 200
    assert "Version 1 " in until_told(house)["mend"]


def test_one_carries_on_with_what_is_published_in_one_click(house: House) -> None:
    published(house, owner="supervisor", name="Fox")
    student = house.browser("student")
    assert house.browser().post(f"{URL}/carry-on").status == 401
    for number in (2, 3):
        done = student.post(f"{URL}/carry-on")
        assert done.status == 201, done.message
        inside = f"demo/characters/fox_{number}.blend"
        assert done.data["address"] == f"data::{inside}"
        assert (done.data["name"], done.data["owner"]) == (f"Fox {number}", "student")
        assert content(house, inside) == content(house) == SCENE
    assert student.get(URL).data["protect"] is True
    assert undo(student, done.data).status == 200
    assert not (house.data / inside).exists()


def test_a_change_made_while_nothing_ran_is_told_after_the_start(tmp_path: Path) -> None:
    config, data = tmp_path / "config", tmp_path / "data"
    config.mkdir()
    (config / "server.json").write_text('{"site": "test", "settle_s": 0}')
    first = build(config, data)
    house = House(first, config, data)
    published(house)
    around(house)
    until_told(house)
    first.close()
    # Given a stop with the question open, and a file whose time and size stayed as they were
    second = build(config, data)
    house = House(second, config, data)
    until_told(house)
    press(house.browser("student"), told(house)[0], "Put the published one back")
    second.close()
    path = data / CHAR
    before = path.stat()
    path.write_bytes(OTHER)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    third = build(config, data)
    house = House(third, config, data)
    try:
        until_told(house)
        path.unlink()
        house.croft.services.store.refresh(ADDRESS)
        house.until(lambda: any("is gone" in one["text"] for one in told(house)))
        done = press(house.browser("student"), told(house)[0], "Put the published one back")
        assert done.status == 200, done.message
        assert content(house) == SCENE
        assert told(house) == []
    finally:
        third.close()


def test_a_supervisors_word_alone_protects_what_is_there(house: House) -> None:
    house.asset(CHAR, type="char", owner="student", uuid="u")
    student, supervisor = house.browser("student"), house.browser("supervisor")
    assert supervisor.patch(URL, {"protect": True}).status == 200
    house.until(lambda: student.get(URL).data["protection"]["hash"])
    assert student.ask("DELETE", URL).status == 403
    around(house)
    problem = until_told(house)
    assert [action["label"] for action in problem["actions"]] == ["Keep it as it is, and unlock it"]
    assert student.post(f"{URL}/put-back").status == 409
    # Whoever takes the word out of the record by hand has unlocked it: nothing is asked about it later.
    record = house.data / f"{CHAR}.json"
    said = json.loads(record.read_bytes())
    record.write_text(json.dumps({**said, "protect": False}))
    house.croft.services.store.refresh(ADDRESS)
    house.until(lambda: not told(house))
    house.croft.services.protection.wait()
    assert student.post(f"{URL}/lock").status == 200  # its owner may
    house.croft.services.protection.wait()
    assert told(house) == []


def test_published_folders_are_closed_to_the_group(house: House) -> None:
    published(house)
    companion = house.data / "demo/characters/.croft/fox.blend"
    for place in ("..", "", "versions", "versions/v001"):
        assert stat.S_IMODE((companion / place).stat().st_mode) == 0o2755, place
    for file in (companion / "versions/v001").iterdir():
        assert not file.stat().st_mode & 0o022, file
    # Moved elsewhere with its versions, they are closed there, too.
    new = "demo/props/fox.blend"
    house.croft.services.store.move(ADDRESS, f"data::{new}", "student")
    moved = house.data / "demo/props/.croft/fox.blend"
    for place in ("..", "", "versions/v001"):
        house.until(lambda: stat.S_IMODE((moved / place).stat().st_mode) == 0o2755)  # noqa: B023


@pytest.mark.parametrize("name", [".croft-old", "mine"])
def test_versions_whose_folder_was_renamed_are_back(house: House, name: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("making a folder somebody else's needs root")
    published(house)
    student = house.browser("student")
    student.patch(URL, {"description": "the hero"})
    folder = house.data / "demo/characters"
    # When somebody renames what holds all that Croft knows, and copies something in its place
    os.rename(folder / ".croft", folder / name)
    forged = folder / ".croft/fox.blend/versions/v001"
    forged.mkdir(parents=True, mode=0o775)
    (forged / "fox.blend").write_bytes(OTHER)
    planted = folder / ".croft/wolf.blend"
    planted.mkdir()
    os.chown(planted, 54321, -1)
    for path in (forged / "fox.blend", forged, *forged.parents[:3]):
        os.chown(path, 54321, -1)
    # Then what was published has its place again, and what came in between is kept beside it
    house.until(lambda: (folder / ".croft/fox.blend/versions/v001/version.json").is_file())
    house.until(lambda: not (folder / name).exists())
    assert (folder / ".croft/fox.blend/versions/v001/fox.blend").read_bytes() == SCENE
    [aside] = folder.glob(".croft-????????")
    assert (aside / "fox.blend/versions/v001/fox.blend").read_bytes() == OTHER
    assert (aside / "wolf.blend").exists()
    assert [row["id"] for row in student.get(f"{URL}/versions").data] == ["v001"]
    house.until(lambda: student.get(URL).data["protection"]["version"] == "v001")
    assert student.get(f"/api/history?address={ADDRESS}&kind=version").data


def test_renders_whose_folder_was_renamed_are_back(house: House) -> None:
    """An approved render and the scene that is kept with it: somebody who may write beside the file renames
    `render` and `.croft`."""
    if os.geteuid() != 0:
        pytest.skip("making a folder somebody else's needs root")
    house.scene("demo/shots/sh010.blend")
    store, address = house.croft.services.store, "data::demo/shots/sh010.blend"
    scene = house.data / "demo/shots/.croft/sh010.blend/jobs/j1/snapshot.blend"
    scene.parent.mkdir(parents=True)
    scene.write_bytes(SCENE)
    name, _ = versions.make(store, address, {"job": "j1"})
    frame = house.data / "demo/shots/render/sh010" / name / "sh010.0001.png"
    frame.write_bytes(b"a frame")
    versions.judge(store, address, name, "sam", True)
    store.refresh("data::demo/shots")
    for wanted, renamed in ((frame, "render"), (scene, ".croft")):
        folder = house.data / "demo/shots"
        os.rename(folder / renamed, folder / "mine")
        planted = folder / renamed / "sh010"
        planted.mkdir(parents=True)
        for path in (planted, planted.parent):
            os.chown(path, 54321, -1)
        house.until(lambda: wanted.is_file() and not (folder / "mine").exists())  # noqa: B023
        [aside] = folder.glob(f"{renamed}-????????")
        assert (aside / "sh010").is_dir()
    assert (frame.parent.parent / "current").resolve() == frame.parent


@pytest.mark.parametrize("what", ["lock", "unlock", "put-back", "carry-on"])
def test_of_a_file_that_isnt_there(house: House, what: str) -> None:
    student = house.browser("student")
    assert (
        student.post(
            f"/api/assets/data::demo/no.blend/{what}", {"reason": "x"} if what == "unlock" else {}
        ).status
        == 404
    )
    assert student.post(
        f"/api/assets/{house.scene()}/{what}", {"reason": "x"} if what == "unlock" else {}
    ).status in (201, 403, 409)


def test_a_sequence_is_compared_frame_by_frame(house: House) -> None:
    frames = [f"demo/plates/walk.{n:04}.png" for n in (1, 2, 3)]
    for n, frame in enumerate(frames):
        house.make(frame, b"frame %d" % n)
    key = "data::demo/plates/walk.@.png"
    record = {"name": "Walk", "type": "plate", "owner": "student", "uuid": "w"}
    house.croft.services.store.edit(key, record, who="test")
    student = house.browser("student")
    house.until(lambda: student.get(f"/api/assets/{key}").data["status"] == "ok")
    assert student.post(f"/api/assets/{key}/publish", {"despite": True}).status == 201
    assert student.post(f"/api/assets/{key}/lock").data["protection"]["version"] == "v001"
    around(house, b"FRAME 1", frames[1])
    house.croft.services.store.refresh(key)
    [problem] = house.until(lambda: told(house))
    assert [action["label"] for action in problem["actions"]][:1] == ["Put the published one back"]
    done = press(student, problem, "Put the published one back")
    assert done.status == 200, done.message
    assert content(house, frames[1]) == b"frame 1"
    house.until(lambda: not told(house))
