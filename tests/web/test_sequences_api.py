"""Image sequences that are published where they lie: found, registered, compared; nothing is copied."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from house import Browser, House

from server.library.in_place import manifest
from server.library.publishing.pins import hash_of_list

OLD_S = 1_700_000_000  # nothing that is as old is still being written


def frames(folder: Path, pattern: str, numbers: Any, size: int = 5) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = folder / (pattern % number)
        path.write_bytes(b"x" * size)
        os.utime(path, (OLD_S, OLD_S))


def look(who: Browser, folder: str) -> dict[str, Any]:
    """What is told of a folder, once nothing in it counts as being written any more."""
    last = time.monotonic() + 30
    while True:
        reply = who.get(f"/api/sequences?folder={folder}")
        assert reply.status == 200, reply.message
        if all(row["state"] != "arriving" for row in reply.data["sequences"]) or time.monotonic() > last:
            return dict(reply.data)
        time.sleep(0.05)


def by_name(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["address"].rpartition("/")[2]: row for row in told["sequences"]}


def publish(who: Browser, address: str, **more: str) -> Any:
    """The answer, once the sequence doesn't count as being written any more."""
    last = time.monotonic() + 30
    while True:
        reply = who.post("/api/sequences", {"address": address, **more})
        if "still being written" not in reply.message or time.monotonic() > last:
            return reply
        time.sleep(0.05)


def test_what_lies_in_a_folder(house: House) -> None:
    """Several sequences, gaps, paddings, names of all kinds; what is none of them is said."""
    plates = house.data / "demo/shots/plates"
    frames(plates, "plate.%04d.exr", [*range(1, 17), *range(18, 30), *range(33, 41)])
    frames(plates, "plain.%d.png", range(1, 13))
    frames(plates, "GROSS.%03d.EXR", range(3))
    frames(plates, "façade été_%03d.png", range(990, 1003))
    frames(plates, "odd.%04d.png", [9])
    frames(plates, "odd.%d.png", [9, 10])
    for name in ("notes.txt", "IMG_0001.jpg", "single.png", ".hidden.0001.png", ".hidden.0002.png"):
        (plates / name).write_bytes(b"x")
    (plates / "sub").mkdir()
    (plates / "render").mkdir()
    (plates / "old").mkdir()
    os.symlink("/", plates / "elsewhere")
    house.make("demo/project.json", b"{}")
    student = house.browser("student")
    told = look(student, "data::demo/shots/plates")
    rows = by_name(told)
    assert sorted(rows) == ["GROSS.@.EXR", "façade été_@.png", "odd.@.png", "plain.@.png", "plate.@.exr"]
    plate = rows["plate.@.exr"]
    assert (plate["first"], plate["last"], plate["frames"], plate["padding"]) == (1, 40, 36, 4)
    assert (plate["missing"], plate["size"], plate["state"]) == ("17,30-32", 180, "new")
    assert (rows["plain.@.png"]["first"], rows["plain.@.png"]["frames"]) == (1, 12)
    assert (rows["odd.@.png"]["frames"], rows["odd.@.png"]["files"]) == (2, 3)
    assert rows["façade été_@.png"]["last"] == 1002
    assert told["folders"] == ["data::demo/shots/plates/sub"]
    assert told["renders"] == "data::demo/shots/plates/render"
    assert (told["others"], told["links"]) == (3, ["elsewhere"])
    assert told["others_named"] == ["IMG_0001.jpg", "notes.txt", "single.png"]

    assert student.get("/api/sequences?folder=data::demo/nowhere").status == 404
    assert student.get("/api/sequences?folder=data::demo/shots/plates/old").status == 400
    assert student.get("/api/sequences?folder=data::demo/../..").status == 400
    assert student.get("/api/sequences?folder=").status == 400
    assert house.browser().get("/api/sequences?folder=data::demo").status == 401


def test_a_sequence_is_published_where_it_lies(house: House) -> None:
    """Not a byte is copied; what is changed, gone or new since is told; what isn't, makes no version."""
    house.make("demo/project.json", b"{}")
    plates = house.data / "demo/shots/plates"
    frames(plates, "plate.%04d.exr", range(1, 11))
    folder, address = "data::demo/shots/plates", "data::demo/shots/plates/plate.@.exr"
    student = house.browser("student")
    before = {path.name: path.stat() for path in plates.iterdir()}
    reply = publish(student, address, comment="from set")
    assert reply.status == 200, reply.message
    made = reply.data["version"]
    assert (made["id"], made["who"], made["comment"], made["in_place"]) == (
        "v001",
        "student",
        "from set",
        True,
    )
    assert (made["size"], made["frames"], made["missing"]) == (50, 10, "")
    assert {name: (plates / name).stat() for name in before} == before
    # A scene that is made with it is pinned to this version by the same hash.
    assert made["hash"] == hash_of_list((name, 5, OLD_S * 10**9) for name in before)
    versions = plates / ".croft/plate.@.exr/versions"
    assert sorted(path.name for path in versions.rglob("*")) == ["manifest.json", "v001", "version.json"]
    assert student.get(f"/api/assets/{address}").data["etag"]  # it is tracked from now on
    assert by_name(look(student, folder))["plate.@.exr"]["state"] == "published"
    assert [one["id"] for one in student.get(f"/api/assets/{address}/versions").data] == ["v001"]

    again = publish(student, address)
    assert (again.data["made"], again.message) == (False, "Nothing changed since version 1.")

    (plates / "plate.0002.exr").write_bytes(b"longer than it was")
    os.utime(plates / "plate.0003.exr")
    (plates / "plate.0004.exr").unlink()
    frames(plates, "plate.%04d.exr", [11, 12])
    row = by_name(look(student, folder))["plate.@.exr"]
    assert row["state"] == "changed"
    assert {kind: row["changes"][kind] for kind in ("other", "gone", "added")} == {
        "other": 2, "gone": 1, "added": 2
    }  # fmt: skip
    assert row["changes"]["frames"] == {
        "other": ["0002", "0003"],
        "gone": ["0004"],
        "added": ["0011", "0012"],
    }
    assert publish(student, address).data["version"]["id"] == "v002"
    told = student.get(f"/api/assets/{address}/versions/changes").data
    assert [(one["version"], one["changes"]["other"]) for one in told] == [("v002", 0), ("v001", 2)]

    # The page's Publish goes on in the same way: it copies nothing, either.
    same = student.post(f"/api/assets/{address}/publish", {})
    assert (same.status, same.message) == (200, "Nothing changed since version 2.")
    frames(plates, "plate.%04d.exr", [13])
    further = student.post(f"/api/assets/{address}/publish", {})
    assert (further.status, further.data["id"], further.data["in_place"]) == (201, "v003", True)
    assert not list(versions.rglob("*.exr"))

    # It can't be brought back, since nothing was kept; and it is no earlier save.
    assert student.get(f"/api/assets/{address}/saves").data == []
    back = student.post(f"/api/assets/{address}/restore", {"save": "v001", "beside": True})
    assert back.status == 409
    assert "without a copy" in back.message
    # A supervisor's word on it is as on any other.
    good = house.browser("supervisor").patch(f"/api/assets/{address}/versions/v002", {"approved": True})
    assert good.data["approved"] is True

    # Renamed with all that is known of it, its frames are still the same.
    for path in [*plates.glob("plate.*"), plates / ".croft/plate.@.exr"]:
        path.rename(path.with_name(path.name.replace("plate", "wide")))
    assert by_name(look(student, folder))["wide.@.exr"]["version"] == "v003"
    assert by_name(look(student, folder))["wide.@.exr"]["state"] == "published"


def test_a_page_is_told_later_what_changed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What became of the frames is known without looking, once it was found out in the background."""
    house.make("demo/project.json", b"{}")
    plates = house.data / "demo/shots"
    frames(plates, "plate.%04d.png", range(1, 4))
    address = "data::demo/shots/plate.@.png"
    assert publish(house.browser("student"), address).status == 200
    room, told = house.croft.services.in_place, []
    plain = room.changed
    room.changed = lambda file: (told.append(file), plain(file))[1]
    house.until(lambda: room.known(address))
    assert room.wait()
    assert told == [address]
    known = room.known(address)
    assert known is not None
    assert not known["v001"]
    (plates / "plate.0002.png").unlink()
    house.croft.services.store.refresh(address)
    house.until(lambda: (now := room.known(address)) and now["v001"].told() == ["1 frame is gone since."])
    assert room.wait()
    assert room.faults == 0
    student, scandir, listed = house.browser("student"), os.scandir, set()

    def listing(path: Any = ".") -> Any:
        listed.add((threading.get_ident(), str(path)))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listing)
    page = student.get("/p/demo/asset/shots/plate.@.png").body.decode()
    assert (threading.get_ident(), str(plates)) not in listed  # thousands of frames would lie there
    assert "1 frame is gone since." in page
    assert "Frames 1 to 3." in page
    assert "Not copied: it lies where it was." in page
    assert "Open version 1" not in page


def test_what_lies_in_render_is_a_version_of_its_scene(house: House) -> None:
    house.make("demo/project.json", b"{}")
    address = house.scene()
    shots = house.data / "demo/shots"
    frames(shots / "render/sh010/v003", "sh010.%04d.png", range(1, 4))
    frames(shots / "render", "sh010_%03d.png", range(1, 4))
    frames(shots / "render/gone", "a.%04d.png", range(1, 4))
    student = house.browser("student")
    reply = publish(student, "data::demo/shots/render/sh010/v003/sh010.@.png")
    assert reply.status == 200, reply.message
    assert reply.data["asset"] == address
    assert reply.data["version"]["sequence"] == "render/sh010/v003/sh010.@.png"
    assert publish(student, "data::demo/shots/render/sh010_@.png").data["version"]["id"] == "v002"
    told = look(student, "data::demo/shots/render/sh010/v003")
    assert [(row["state"], row["version"]) for row in told["sequences"]] == [("published", "v001")]
    told = look(student, "data::demo/shots/render/gone")
    assert told["sequences"][0]["state"] == "no"
    refused = publish(student, "data::demo/shots/render/gone/a.@.png")
    assert refused.status == 409
    assert "belongs to the file" in refused.message
    changes = student.get(f"/api/assets/{address}/versions/changes").data
    assert [(one["version"], one["changes"]["other"]) for one in changes] == [("v002", 0), ("v001", 0)]


def test_a_protected_sequence_is_not_published_again(house: House) -> None:
    house.make("demo/project.json", b"{}")
    frames(house.data / "demo/shots", "plate.%04d.exr", range(1, 4))
    address, supervisor = "data::demo/shots/plate.@.exr", house.browser("supervisor")
    assert publish(supervisor, address).status == 200
    house.croft.services.store.edit(address, {"protect": True}, who="supervisor")
    os.utime(house.data / "demo/shots/plate.0002.exr", (OLD_S, OLD_S + 1))
    refused = publish(supervisor, address)
    assert refused.status == 403
    assert "is protected" in refused.message


@pytest.mark.parametrize(("address", "status"), [
    ("data::demo/shots/none.@.exr", 404), ("data::demo/shots/sh010.blend", 404), ("data::../x.@.exr", 400),
    ("nowhere::demo/x.@.exr", 404), ("/etc/x.@.exr", 400), ("data::demo/old/x.@.exr", 400),
    ("data::loose/a.@.png", 409), ("data::demo/.croft/a.@.png", 400),
])  # fmt: skip
def test_what_cannot_be_published(house: House, address: str, status: int) -> None:
    house.make("demo/project.json", b"{}")
    house.make("demo/shots/sh010.blend")
    for folder in ("loose", "demo/old", "demo/.croft"):
        frames(house.data / folder, "a.%04d.png", range(1, 4))
    reply = publish(house.browser("student"), address)
    assert reply.status == status, reply.message
    assert not list(house.data.rglob("manifest.json"))


def test_nothing_is_published_while_a_disk_of_the_pool_is_missing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames would seem to be gone."""
    house.make("demo/project.json", b"{}")
    frames(house.data / "demo/shots", "plate.%04d.exr", range(1, 4))
    lister = house.croft.services.store.scanner("data").lister
    monkeypatch.setattr(lister, "lost_branches", lambda: ["/mnt/disk2"])
    student = house.browser("student")
    refused = publish(student, "data::demo/shots/plate.@.exr")
    assert refused.status == 503
    assert "/mnt/disk2" in refused.message
    assert student.get("/api/sequences?folder=data::demo/shots").status == 503


def test_what_a_crash_left_is_never_a_version(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off before its name was given, there is none; the next one takes the same number and tidies up."""
    house.make("demo/project.json", b"{}")
    plates = house.data / "demo/shots"
    frames(plates, "plate.%04d.exr", range(1, 4))
    address, student = "data::demo/shots/plate.@.exr", house.browser("student")
    disk = house.croft.services.store.disk

    class PowerCut(BaseException):
        pass

    def cut(source: object, target: object) -> None:
        raise PowerCut

    monkeypatch.setattr(disk, "rename", cut)
    monkeypatch.setattr("server.library.in_place._drop", lambda folder: None)
    look(student, "data::demo/shots")
    with pytest.raises(PowerCut):
        house.croft.services.in_place.publish(address, house.croft.services.people.user("student"))
    monkeypatch.undo()
    versions = plates / ".croft/plate.@.exr/versions"
    assert [path.name[:11] for path in versions.iterdir()] == [".croft-tmp-"]
    assert student.get(f"/api/assets/{address}/versions").data == []
    assert publish(student, address).data["version"]["id"] == "v001"
    assert [path.name for path in versions.iterdir()] == ["v001"]


def test_times_of_a_disk_that_keeps_whole_seconds_are_the_same() -> None:
    was = {"0001": (5, 1_000_000_000_123), "0002": (5, 2_500_000_000), "0003": (5, 1)}
    now = {"0001": (5, 1_000_000_000_000), "0002": (5, 2_500_000_001), "0003": (6, 1)}
    assert manifest.compare(was, now) == manifest.Difference(("0002", "0003"))
    huge = {f"{n}": (1, n) for n in range(100_000)}
    found = manifest.compare(huge, {**huge, "9": (2, 9)})
    assert found.other == ("9",)
    assert found.view()["other"] == 1
