"""From a file on a share to an asset with facts and a thumbnail, on a real store."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from server.disk.errors import BadInput, Conflict, Forbidden, NotFound, NotSignedIn, Stale
from server.disk.paths import Share
from server.disk.records import Stat
from server.disk.settings import Settings
from server.disk.store import Store
from server.library.assets import Assets, pretty
from server.library.ingest import Ingest, content_hash
from server.library.media import Media
from server.library.media.workers import Answer
from server.library.people import GUEST, People
from server.library.projects import Projects

from .conftest import Scenes


@dataclass
class House:
    """One server's disk and library wings on a temporary share."""

    root: Path
    settings: Settings
    store: Store
    people: People
    projects: Projects
    media: Media
    assets: Assets
    ingest: Ingest

    def put(self, inside: str, source: Path | bytes = b"") -> str:
        path = self.root / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, Path):
            shutil.copyfile(source, path)
        else:
            path.write_bytes(source)
        self.store.refresh(f"data::{inside}")
        return f"data::{inside}"

    def settle(self) -> None:
        assert self.ingest.wait(50)

    def sidecar(self, inside: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / f"{inside}.json").read_text())
        return found


def build(folder: Path, name: str = "config") -> House:
    root = folder / "data"
    settings = Settings(folder / name)
    store = Store(settings, [Share("data", root)])
    people, projects = People(settings), Projects(settings, store)
    media = Media(store, settings, cache=folder / "cache")
    assets = Assets(store, projects, people, media.hopeless)
    store.open()
    projects.prepare()
    ingest = Ingest(store, projects, assets, media)
    return House(root, settings, store, people, projects, media, assets, ingest)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = build(tmp_path)
    made.ingest.start()
    yield made
    made.ingest.close()
    made.media.close()
    made.store.close()
    assert not [t for t in threading.enumerate() if t.name.startswith(("ingest", "thumbnails"))]


def test_a_dropped_scene_becomes_an_asset_with_facts_and_a_thumbnail(house: House, scenes: Scenes) -> None:
    address = house.put("demo/shots/hero_walk-v2.blend", scenes.zstd)
    house.settle()
    record = house.sidecar("demo/shots/hero_walk-v2.blend")
    assert record["name"] == "Hero walk v2"
    assert (record["type"], record["state"], record["priority"]) == ("shot", "ns", 3)
    assert (record["owner"], record["creator"], record["render"]) == ("", "croft", True)
    view = house.assets.one(address)
    assert view["status"] == "ok"
    assert view["facts"]["frames"] == [3, 26]
    assert view["url"] == "/p/demo/asset/shots/hero_walk-v2.blend"
    thumb = house.media.thumbnail(address, 128, wait_s=30) or house.media.thumbnail(address)
    assert thumb is not None
    assert thumb.parent == house.root / "demo/shots/.croft/hero_walk-v2.blend/thumbs"
    kept = json.loads((house.root / "demo/shots/.croft/hero_walk-v2.blend/file.json").read_text())
    path = house.root / "demo/shots/hero_walk-v2.blend"
    assert kept["hash"] == content_hash(path, Stat.of(path.stat()))
    assert kept["size"] == path.stat().st_size
    # A second, ordinary user of the group can move and delete it.
    for made in (thumb, thumb.parent, thumb.parent.parent):
        assert made.stat().st_mode & stat.S_IWGRP


def test_nothing_more_is_written_while_nothing_changes(house: House, scenes: Scenes) -> None:
    house.put("demo/a.blend", scenes.plain)
    house.settle()

    def state() -> dict[str, tuple[int, int]]:
        found = house.root.rglob("*")
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_ino) for path in found if path.is_file()}

    before = state()
    house.store.rescan()
    house.ingest.sweep()
    house.ingest.ask(["data::demo/a.blend"])
    house.settle()
    assert house.ingest.current("data::demo/a.blend")
    assert state() == before


def test_a_saved_scene_is_read_again_and_its_old_thumbnail_goes(house: House, scenes: Scenes) -> None:
    address = house.put("demo/a.blend", scenes.plain)
    house.settle()
    old = house.media.thumbnail(address, wait_s=30)
    house.assets.edit(address, {"description": "mine"}, house.people.user("student"))
    house.put("demo/a.blend", scenes.zstd)
    house.settle()
    assert house.assets.facts(address)["compression"] == "zstd"
    new = house.media.thumbnail(address, wait_s=30)
    assert old is not None
    assert new is not None
    assert new != old
    assert not old.exists()
    assert house.sidecar("demo/a.blend")["description"] == "mine"


def test_a_broken_scene_is_an_asset_without_a_thumbnail(house: House) -> None:
    address = house.put("demo/bad.blend", b"BLENDER-v304" + os.urandom(3000) + b"ENDB" + bytes(20))
    house.settle()
    view = house.assets.one(address)
    assert view["status"] == "ok"
    assert house.media.thumbnail(address, wait_s=10) is None
    assert house.assets.view(house.assets.get(address))["thumbnail"] is None
    assert "error" in house.assets.file_record(address)
    assert house.assets.edit(address, {"state": "retake"}, house.people.user("student"))["state"] == "retake"


def test_textures_stay_files_until_someone_promotes_them(house: House) -> None:
    Image.new("RGBA", (300, 200), (1, 2, 3, 4)).save(house.root / "wood.png")
    address = house.put("demo/tex/wood.png", house.root / "wood.png")
    house.settle()
    assert not (house.root / "demo/tex/wood.png.json").exists()
    assert house.assets.search("demo").items == []
    assert [one["address"] for one in house.assets.search("demo", files=True).items] == [address]
    thumb = house.media.thumbnail(address, wait_s=30)
    assert thumb is not None
    assert thumb.suffix == ".png"
    student = house.people.user("student")
    assert house.assets.create(address, {"name": "Wood", "type": "material"}, student)["type"] == "material"
    assert [one["name"] for one in house.assets.search("demo").items] == ["Wood"]
    house.settle()
    assert house.assets.file_record(address)["hash"].startswith("blake2b-160:")
    with pytest.raises(Conflict):
        house.assets.create(address, {}, student)


def test_files_outside_projects_and_in_render_are_left_alone(house: House, scenes: Scenes) -> None:
    house.put("loose.blend", scenes.plain)
    house.put("elsewhere/x.blend", scenes.plain)
    house.put("demo/shots/render/x/v001/x.blend", scenes.plain)
    house.put("demo/shots/old/x/x.blend", scenes.plain)
    house.ingest.sweep()
    house.settle()
    assert not list(house.root.rglob("*.blend.json"))
    assert house.assets.search("demo").items == []


def test_a_folder_becomes_a_project_and_its_files_assets(house: House, scenes: Scenes) -> None:
    house.put("green/shots/a.blend", scenes.plain)
    house.settle()
    with pytest.raises(NotFound):
        house.projects.get("green")
    house.put("green/project.json", b"{}")
    house.settle()
    assert house.projects.get("green").title == "green"
    assert [one["project"] for one in house.assets.search("green").items] == ["green"]
    house.put("green/project.json", b'{"title": "Green Film", "set": "none such"}')
    assert house.projects.get("green").title == "Green Film"
    assert house.projects.set_of(house.projects.get("green")).default_state == "ns"
    house.put("green/project.json", b"[]")
    assert house.projects.get("green").title == "Green Film"


def test_two_servers_take_in_the_same_files_once(tmp_path: Path, scenes: Scenes) -> None:
    """Given two servers on one share, when both meet forty new scenes, then each has one sidecar."""
    first = build(tmp_path)
    for number in range(40):
        first.put(f"demo/s{number:02d}.blend", scenes.plain)
    # The second is configured anew, and finds the marker.
    second = build(tmp_path, "config2")
    try:
        first.ingest.start()
        second.ingest.start()
        first.settle()
        second.settle()
        for number in range(40):
            history = first.store.history(f"data::demo/s{number:02d}.blend")
            assert [event["who"] for event in history] == ["croft"]
            assert first.assets.facts(f"data::demo/s{number:02d}.blend")["scene"] == "Walk"
        assert first.ingest.faults + second.ingest.faults == 0
    finally:
        for one in (first, second):
            one.ingest.close()
            one.media.close()
            one.store.close()


def test_a_read_only_share_gets_thumbnails_in_the_cache_alone(house: House, tmp_path: Path) -> None:
    """Given a share that others lock in a way that this server can't, then nothing is written to it."""
    marker = house.root / ".croft-share.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "locks": "of another kind"}))
    Image.new("RGB", (300, 200)).save(house.root / "demo/a.png")
    (house.root / "demo/b.blend").write_bytes(b"no scene at all")
    guest = build(tmp_path, "config2")
    try:
        assert guest.store.share("data").read_only
        guest.ingest.start()
        thumb = guest.media.thumbnail("data::demo/a.png", wait_s=30)
        assert thumb is not None
        assert thumb.is_relative_to(tmp_path / "cache")
        guest.settle()
        assert guest.assets.one("data::demo/b.blend")["status"] == "ok"
        assert sorted(path.name for path in (house.root / "demo").iterdir()) == [
            "a.png", "b.blend", "project.json"
        ]  # fmt: skip
    finally:
        guest.ingest.close()
        guest.media.close()
        guest.store.close()


def test_a_share_that_is_away_is_left_alone(house: House, scenes: Scenes) -> None:
    address = house.put("demo/a.blend", scenes.plain)
    house.settle()
    (house.root / ".croft-share.json").rename(house.root / ".gone")
    before = sorted(house.root.rglob("*"))
    (house.root / "demo/b.blend").write_bytes(scenes.plain.read_bytes())
    house.ingest.ask([address, "data::demo/b.blend"])
    house.settle()
    assert sorted(house.root.rglob("*")) == sorted([*before, house.root / "demo/b.blend"])


def test_a_node_s_preview_is_the_thumbnail_of_a_format_that_pillow_cannot_read(house: House) -> None:
    address = house.put("demo/shots/render/x/v001/x.0001.exr", b"v/1\x01")
    assert house.media.thumbnail(address, wait_s=5) is None
    folder = house.root / "demo/shots/render/x/v001/.croft/x.0001.exr/thumbs"
    folder.mkdir(parents=True)
    Image.new("RGBA", (640, 360), (9, 9, 9, 99)).save(folder / "node.png")
    thumb = house.media.thumbnail(address, 256, wait_s=30)
    assert thumb is not None
    with Image.open(thumb) as image:
        assert image.size == (256, 144)


def test_a_lost_thumbnail_is_made_again_and_an_empty_one_is_none(house: House) -> None:
    Image.new("RGB", (300, 200)).save(house.root / "a.png")
    address = house.put("demo/a.png", house.root / "a.png")
    spoils: list[Callable[[Path], object]] = [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: shutil.rmtree(path.parent),
    ]
    for spoil in spoils:
        thumb = house.media.thumbnail(address, wait_s=30)
        assert thumb is not None
        spoil(thumb)
    assert house.media.thumbnail(address, wait_s=30) is not None


def test_what_has_no_thumbnail(house: House) -> None:
    assert house.media.thumbnail(house.put("demo/notes.txt", b"x"), wait_s=5) is None
    assert house.media.thumbnail("data::demo/none.png", wait_s=5) is None
    (house.root / "demo/folder.png").mkdir()
    assert house.media.thumbnail("data::demo/folder.png", wait_s=5) is None
    for wrong in ("data::../x.png", "x.png", "data::/etc/passwd.png"):
        with pytest.raises(BadInput):
            house.media.thumbnail(wrong)
    with pytest.raises(NotFound):
        house.media.thumbnail("nowhere::x.png")
    os.symlink("/etc", house.root / "demo/link")
    with pytest.raises(NotFound):
        house.media.thumbnail("data::demo/link/x.png")


# Edits


def test_a_wrong_edit_says_what_is_wrong_and_changes_nothing(house: House, scenes: Scenes) -> None:
    address = house.put("demo/a.blend", scenes.plain)
    house.settle()
    student = house.people.user("student")
    before = (house.root / "demo/a.blend.json").read_bytes()
    for changes, words in (
        ({"state": "doen"}, "Did you mean 'done'"),
        ({"stat": "done"}, "Did you mean 'state'"),
        ({"priority": 9}, "from 1 to 5"),
        ({"priority": True}, "whole number"),
        ({"priority": "3"}, "whole number"),
        ({"owner": "studnt"}, "Did you mean 'student'"),
        ({"owner": 7}, "user's name"),
        ({"support": ["nobody"]}, "There is no support"),
        ({"support": "student"}, "must be a list"),
        ({"name": ""}, "empty"),
        ({"name": "a\nb"}, "one line"),
        ({"name": "x" * 300}, "longer than"),
        ({"description": "\x07"}, "control"),
        ({"type": None}, "There is no type"),
        ({"render": 1}, "true or false"),
        ({"time_budget": -1}, "0 or more"),
        ({"time_budget": float("nan")}, "0 or more"),
        ({"tags": ["x"] * 500}, "more than"),
        ({"uuid": "1"}, "can't be changed"),
        ({"x" * 5000: 1}, "no field"),
        ({"state": "done", "priority": 0}, "from 1 to 5"),
        ([], "JSON object"),
    ):
        with pytest.raises(BadInput, match=words):
            house.assets.edit(address, changes, student)  # type: ignore[arg-type]
    assert (house.root / "demo/a.blend.json").read_bytes() == before
    for wrong in ("data::demo/none.blend", "nowhere::x"):
        with pytest.raises(NotFound):
            house.assets.edit(wrong, {}, student)
    with pytest.raises(NotSignedIn):
        house.assets.edit(address, {"state": "done"}, GUEST)
    with pytest.raises(Forbidden):
        house.assets.edit(address, {"protect": True}, student)


def test_an_edit_is_kept_told_in_the_history_and_fenced_by_its_etag(house: House, scenes: Scenes) -> None:
    address = house.put("demo/a.blend", scenes.plain)
    house.settle()
    student = house.people.user("student")
    view = house.assets.one(address)
    changed = house.assets.edit(
        address, {"state": "working", "owner": "student", "tags": ["x", "x"], "name": " Big Walk "}, student,
        etag=view["etag"],
    )  # fmt: skip
    assert (changed["state"], changed["owner"], changed["tags"], changed["name"]) == (
        "working", "student", ["x"], "Big Walk"
    )  # fmt: skip
    assert changed["etag"] != view["etag"]
    with pytest.raises(Stale):
        house.assets.edit(address, {"state": "done"}, student, etag=view["etag"])
    told = house.assets.history(address)
    assert {"at", "who", "field", "old", "new", "address"} == set(told[0])
    lines = [(t["who"], t["field"], t["old"], t["new"]) for t in told]
    assert ("student", "state", "ns", "working") in lines
    assert told[-1]["who"] == "croft"


def test_unknown_keys_survive_an_edit(house: House, scenes: Scenes) -> None:
    (house.root / "demo").mkdir(exist_ok=True)
    text = '{"zebra": [1], "name": "A", "state": "weird", "apple": {"b": 2}}'
    (house.root / "demo/a.blend.json").write_text(text)
    address = house.put("demo/a.blend", scenes.plain)
    house.settle()
    house.assets.edit(address, {"priority": 5}, house.people.user("student"))
    assert list(house.sidecar("demo/a.blend")) == ["zebra", "name", "state", "apple", "priority"]


def test_a_deleted_asset_lies_in_old_and_a_protected_one_stays(house: House, scenes: Scenes) -> None:
    address = house.put("demo/a.blend", scenes.plain)
    house.settle()
    house.assets.edit(address, {"protect": True}, house.people.user("admin"))
    for user in ("student", "supervisor"):
        with pytest.raises(Forbidden, match="protected"):
            house.assets.delete(address, house.people.user(user))
    with pytest.raises(BadInput, match="say why"):
        house.assets.edit(address, {"protect": False}, house.people.user("supervisor"))
    house.store.edit(address, {"protect": False}, who="supervisor")
    kept = house.assets.delete(address, house.people.user("supervisor"))
    assert (house.store.path(kept) / "a.blend").read_bytes() == scenes.plain.read_bytes()
    assert house.assets.search("demo").items == []
    with pytest.raises(BadInput):
        house.assets.delete("data::demo/project.json", house.people.user("admin"))


def test_a_missing_file_is_shown_as_missing(house: House, scenes: Scenes) -> None:
    address = house.put("demo/a.blend", scenes.plain)
    house.settle()
    (house.root / "demo/a.blend").unlink()
    house.store.refresh(address)
    house.settle()
    view = house.assets.one(address)
    assert (view["status"], view["size"], view["thumbnail"]) == ("missing", None, None)
    assert [one["status"] for one in house.assets.search("demo", "is:missing").items] == ["missing"]
    assert not (house.root / "demo/a.blend").exists()


# Searching as the index moves


def test_a_search_follows_every_change(house: House, scenes: Scenes) -> None:
    student = house.people.user("student")
    addresses = [house.put(f"demo/shots/s{number}.blend", scenes.plain) for number in (10, 2, 1)]
    house.settle()
    assert [one["path"] for one in house.assets.search("demo").items] == [
        "shots/s1.blend", "shots/s2.blend", "shots/s10.blend"
    ]  # fmt: skip
    found = house.assets.find("demo", state="ns")
    assert house.assets.find("demo", state="ns") is found
    house.assets.edit(addresses[0], {"state": "done"}, student)
    assert len(house.assets.find("demo", state="ns")) == 2
    page = house.assets.search("demo", limit=2, sort="-name")
    assert (len(page.items), page.total) == (2, 3)
    rest = house.assets.search("demo", limit=2, sort="-name", cursor=page.next)
    assert [one["path"] for one in rest.items] == ["shots/s1.blend"]
    assert rest.next == ""
    assert house.assets.count("demo") == 3
    with pytest.raises(NotFound):
        house.assets.search("none")
    house.assets.delete(addresses[1], student)
    assert house.assets.count("demo") == 2


def test_a_demo_project_is_there_from_the_start_and_made_once(house: House) -> None:
    assert [project.ident for project in house.projects.list()] == ["demo"]
    project = house.projects.get("demo")
    assert (project.address, project.title, project.here) == ("data::demo", "Demo", True)
    before = (house.root / "demo/project.json").stat()
    house.projects.prepare()
    assert (house.root / "demo/project.json").stat().st_ino == before.st_ino
    of = house.projects.of("data::demo/x/y.blend")
    assert of is not None
    assert of.ident == "demo"
    assert house.projects.of("data::demolition/y.blend") is None


def test_configured_projects_and_folders_of_two_shares(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "config")
    settings.write("projects", "film", {"path": "data::2024/film", "title": "The Film"})
    settings.write("projects", "odd", {"address": "nonsense"})
    for inside in ("data/green", "more/green", "data/demo"):
        (tmp_path / inside).mkdir(parents=True)
        (tmp_path / inside / "project.json").write_text("{}")
    store = Store(settings, [Share("data", tmp_path / "data"), Share("more", tmp_path / "more")])
    projects = Projects(settings, store)
    store.open()
    found = {project.ident: project.address for project in projects.list()}
    assert found == {
        "demo": "data::demo", "film": "data::2024/film", "green": "data::green", "green.more": "more::green",
        "odd": "data::odd",
    }  # fmt: skip
    assert not projects.get("film").here
    projects.prepare()
    assert (tmp_path / "data/2024/film/project.json").is_file()
    assert (tmp_path / "data/2024/film/shots").is_dir()  # a new one has a folder for each of its types
    assert not (tmp_path / "data/green/shots").exists()
    assert not (tmp_path / "data/demo/shots").exists()
    assert projects.get("film").here
    inside = projects.of("data::2024/film/shots/a.blend")
    assert inside is not None
    assert inside.ident == "film"
    store.close()


@pytest.mark.parametrize(("name", "words"), [
    ("hero_walk-v2.blend", "Hero walk v2"), ("sh010.blend", "Sh010"), (".blend", ".blend"),
    ("__.blend", "__.blend"), ("ünder_way.blend", "Ünder way"),
    ("plate_2.@.png", "Plate 2"), ("plate_@.exr", "Plate"),
])  # fmt: skip
def test_names_as_people_write_them(name: str, words: str) -> None:
    assert pretty(name) == words


def test_a_scene_without_a_preview_shows_its_newest_render(house: House) -> None:
    address = house.put("demo/shots/a.blend", Path(__file__).with_name("blender-5.0.blend"))
    house.settle()
    entry = house.assets.get(address)
    assert house.media.thumbnail(address, wait_s=30) is None
    assert house.assets.thumbnail_url(entry) is None
    for version, colour in (("v001", "red"), ("v002", "lime")):
        folder = house.root / f"demo/shots/render/a/{version}"
        folder.mkdir(parents=True)
        (folder.parent / f"{version}.json").write_text("{}")
        Image.new("RGB", (320, 180), colour).save(folder / "a.0007.png")
        house.store.refresh(f"data::demo/shots/render/a/{version}.json")
    assert house.assets.view(entry)["thumbnail"] == "/thumb/data::demo/shots/a.blend?w=256&of=v002"
    assert house.media.possible(address)
    thumb = house.media.thumbnail(address, wait_s=30)
    assert thumb is not None
    with Image.open(thumb) as image:
        red, green, _ = image.convert("RGB").getpixel((50, 50))
        assert (red < 20, green > 230) == (True, True)


def test_facts_that_are_out_of_date_are_read_again_when_looked_at(house: House, scenes: Scenes) -> None:
    """Given a scene that changed while no server ran, when someone looks at it, then it is read again."""
    address = house.put("demo/a.blend", scenes.plain)
    house.settle()
    record = house.root / "demo/.croft/a.blend/file.json"
    older = {"mtime_ns": 5, "facts": {"frames": [1, 2]}}
    record.write_text(json.dumps({**json.loads(record.read_text()), **older}))
    assert house.assets.one(address)["facts"] == {"frames": [1, 2]}
    house.settle()
    assert house.assets.one(address)["facts"]["frames"] == [3, 26]


def test_a_link_in_place_of_a_thumbnail_opens_nothing(house: House, tmp_path: Path) -> None:
    """Given a student who may write beside every file, when a link stands where Croft keeps its own."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"keys")
    Image.new("RGB", (300, 200)).save(house.root / "a.png")
    address = house.put("demo/a.png", house.root / "a.png")
    thumb = house.media.thumbnail(address, wait_s=30)
    assert thumb is not None
    thumb.unlink()
    thumb.symlink_to(secret)
    again = house.media.thumbnail(address, wait_s=30)
    assert again is not None
    assert not again.is_symlink()
    shutil.rmtree(thumb.parent)
    thumb.parent.symlink_to(tmp_path)
    with pytest.raises(NotFound):
        house.media.thumbnail(address, wait_s=30)
    assert secret.read_bytes() == b"keys"
    frame = house.put("demo/x.exr", b"v/1")
    folder = house.root / "demo/.croft/x.exr/thumbs"
    folder.mkdir(parents=True)
    Image.new("RGB", (30, 20)).save(tmp_path / "outside.png")
    (folder / "node.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(NotFound):
        house.media.thumbnail(frame, wait_s=30)


def test_a_link_within_the_share_shows_what_it_points_to(house: House) -> None:
    Image.new("RGB", (300, 200)).save(house.root / "demo/real.png")
    os.symlink("real.png", house.root / "demo/link.png")
    house.store.refresh("data::demo/link.png")
    assert house.media.thumbnail("data::demo/link.png", wait_s=30) is not None


def test_a_sequence_is_one_asset_with_a_frame_for_its_picture(house: House) -> None:
    for number, colour in enumerate(("red", "lime", "blue"), 8):
        Image.new("RGB", (300, 200), colour).save(house.root / f"demo/plate.{number:04d}.png")
    house.store.rescan()
    house.settle()
    address = "data::demo/plate.@.png"
    thumb = house.media.thumbnail(address, wait_s=30)
    assert thumb is not None
    assert thumb.parent == house.root / "demo/.croft/plate.@.png/thumbs"
    with Image.open(thumb) as image:
        assert image.convert("RGB").getpixel((50, 50))[1] > 230
    view = house.assets.one(address)
    assert (view["kind"], view["name"], view["status"]) == ("sequence", "Plate", "ok")
    assert house.sidecar("demo/plate.@.png")["name"] == "Plate"
    assert [one["address"] for one in house.assets.search("demo").items] == [address]
    # It grows, with a gap; its picture stays that of the same frame until there are twice as many.
    Image.new("RGB", (300, 200)).save(house.root / "demo/plate.0013.png")
    house.store.rescan()
    house.settle()
    facts = house.assets.facts(address)
    assert (facts["first"], facts["last"], facts["count"], facts["missing"]) == (8, 13, 4, "11-12")


def test_tiles_of_a_texture_are_no_film(house: House) -> None:
    for number in (1001, 1002):
        house.put(f"demo/props/textures/wood.{number}.png", b"x")
    house.store.rescan()
    house.settle()
    assert not (house.root / "demo/props/textures/wood.@.png.json").exists()
    assert house.assets.search("demo").items == []
    address = "data::demo/props/textures/wood.@.png"
    assert [one["address"] for one in house.assets.search("demo", files=True).items] == [address]
    house.assets.create(address, {}, house.people.user("student"))
    assert [one["address"] for one in house.assets.search("demo").items] == [address]


def test_a_files_owner_is_whom_its_uid_says(house: House) -> None:
    """Given people whose files say their uid or login name, then what they drop is theirs."""
    logins = {
        4001: "SCHOOL\\Ana",
        4002: "ben",
        4003: "cem@school",
        4004: "nobody-here",
        4005: "dua",
        0: "root",
    }
    house.people._login_of = lambda uid: logins.get(uid, "")
    house.people._own_uid = 4005
    for ident, more in {
        "ana": {}, "ben": {"uid": 4999}, "bo": {"system": "Ben"}, "cem": {}, "dua": {}, "root": {},
        "eva": {"uid": 4010}, "fay": {"uid": 4010}, "gus": {"uid": 4011, "disabled": True},
    }.items():  # fmt: skip
        house.people.add(ident, **more)
    owners = {
        4001: "ana",
        4002: "bo",
        4003: "cem",
        4999: "ben",
        4004: "",
        4005: "",
        0: "",
        4010: "",
        4011: "",
    }
    assert {uid: getattr(house.people.of_uid(uid), "ident", "") for uid in owners} == owners
    house.settings.write("users", "dua", {"role": "student", "uid": 4005})
    assert getattr(house.people.of_uid(4005), "ident", "") == "dua", "a user's file has the last word"


def test_what_is_nobodys_can_be_taken_and_given_back(house: House, scenes: Scenes) -> None:
    house.people._login_of = lambda uid: ""
    address = house.put("demo/a.blend", scenes.plain)
    house.settle()
    assert house.sidecar("demo/a.blend")["owner"] == ""
    student, other = house.people.user("student"), house.people.user("supervisor")
    assert house.assets.take(address, student)["owner"] == "student"
    assert house.assets.take(address, student)["owner"] == "student"
    with pytest.raises(Conflict, match="Student"):
        house.assets.take(address, other)
    with pytest.raises(Conflict):
        house.assets.take(house.put("demo/notes.txt", b"x"), student)
    with pytest.raises(NotSignedIn):
        house.assets.take(address, GUEST)


def test_what_a_name_says_stands_in_the_view_and_is_found(house: House, scenes: Scenes) -> None:
    house.put("demo/shots/demo_sq01_sh010_anim_v003.blend", scenes.plain)
    house.put("demo/shots/other.blend", scenes.plain)
    house.settle()
    view = house.assets.search("demo", "shot:010 task:anim version:>2 sequence:sq").items[0]
    said = {"project": "demo", "sequence": "sq01", "shot": "sh010", "task": "anim", "version": 3}
    assert view["named"] == said
    assert house.assets.search("demo", "shot:01 version:4").items == []
    assert house.assets.search("demo", "shot:sh02").items == []
    record = house.assets.file_record(view["address"])
    assert record["named"] == said
    assert "named" not in house.assets.file_record("data::demo/shots/other.blend")
    # Another pattern is in use as soon as it is written down, and one with a mistake isn't.
    words = dict(house.settings.folder("sets")["default"])
    house.settings.write("sets", "default", {**words, "patterns": ["{project}_{sequence}_{shot:text}"]})
    assert house.assets.one(view["address"])["named"]["shot"] == "sh010_anim_v003"
    house.settings.write("sets", "default", {**words, "patterns": ["{project}_{shoot}"]})
    assert house.assets.one(view["address"])["named"]["shot"] == "sh010_anim_v003"
    (problem,) = [one for one in house.projects.problems() if one.kind == "name"]
    assert "character 12" in problem.text
    house.settings.write("sets", "default", words)
    assert house.assets.one(view["address"])["named"] == said
    assert not house.projects.problems()


def test_a_file_that_no_index_knows_is_read_where_it_lies(house: House, scenes: Scenes) -> None:
    """Given an upload under a name of its own, when it is looked at as what it will be, then it tells."""
    waiting = house.root / "demo/.croft/project.json/uploads/ana/1/content"
    waiting.parent.mkdir(parents=True)
    shutil.copyfile(scenes.zstd, waiting)
    answer = house.media.look_path(waiting, "scene")
    assert answer.data["facts"]["frames"] == [3, 26]
    assert answer.content[:2] == b"\xff\xd8" or answer.content[:4] == b"\x89PNG"
    Image.new("RGB", (64, 32)).save(waiting, "PNG")
    answer = house.media.look_path(waiting, "image")
    assert answer.data["facts"]["size"] == [64, 32]
    assert house.media.look_path(waiting, "scene").error == "damaged"
    assert house.media.look_path(waiting, "file").error == "none"
    assert house.media.look_path(waiting.with_name("gone"), "image").error == "gone"
    assert os.listdir(waiting.parent) == ["content"]


def test_a_copy_that_was_cut_off_while_no_server_ran_is_no_asset_and_has_no_picture(
    tmp_path: Path, scenes: Scenes
) -> None:
    """Given halves of files that came before the start, then nobody takes them for whole ones."""
    Image.effect_noise((400, 300), 90).save(tmp_path / "wood.png")
    for inside, source in (("a.blend", scenes.zstd), ("tex/wood.png", tmp_path / "wood.png")):
        path = tmp_path / "data/demo" / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    made = build(tmp_path)
    try:
        made.ingest._wall = lambda: 9e9  # nothing came lately: only who asks for the picture sees it
        made.ingest.start()
        made.settle()
        assert made.assets.get("data::demo/a.blend").status == "arriving"
        assert not (made.root / "demo/a.blend.json").exists()
        assert made.assets.get("data::demo/tex/wood.png").status == "ok"
        assert made.media.thumbnail("data::demo/tex/wood.png", wait_s=5) is None
        assert made.assets.get("data::demo/tex/wood.png").status == "arriving"
        assert not (made.root / "demo/tex/.croft").exists()
        # The rest comes: now it is one.
        address = made.put("demo/a.blend", scenes.zstd)
        made.settle()
        assert made.assets.one(address)["facts"]["frames"] == [3, 26]
    finally:
        made.ingest.close()
        made.media.close()
        made.store.close()


def test_an_asset_overwritten_by_half_a_copy_is_arriving(house: House, scenes: Scenes) -> None:
    address = house.put("demo/a.blend", scenes.plain)
    house.settle()
    (house.root / "cut").write_bytes(scenes.zstd.read_bytes()[:-1000])
    house.put("demo/a.blend", house.root / "cut")
    house.settle()
    assert house.assets.get(address).status == "arriving"
    assert house.assets.get(address).facts is not None


def test_a_film_becomes_an_asset_with_facts_and_a_picture(
    house: House, needs: Callable[[str], str], tmp_path: Path
) -> None:
    source = tmp_path / "a.mp4"
    command = [needs("ffmpeg"), "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=24", "-t", "2"]
    subprocess.run([*command, "-pix_fmt", "yuv420p", str(source)], check=True, timeout=50)
    address = house.put("demo/shots/walk.mp4", source)
    house.settle()
    facts = house.assets.one(address)["facts"]
    assert facts == {"duration_s": 2.0, "rate": 24.0, "size": [320, 180], "codec": "h264", "audio": ""}
    thumb = house.media.thumbnail(address, wait_s=30) or house.media.thumbnail(address)
    assert thumb is not None
    with Image.open(thumb) as image:
        assert image.size == (256, 144)


def test_a_sequence_s_facts_say_what_is_missing(house: House) -> None:
    picture = Path(house.root / "demo/frame.png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 18)).save(picture)
    for number in (1, 2, 5):
        house.put(f"demo/shots/plate.{number:04d}.png", picture.read_bytes())
    house.settle()
    facts = house.assets.one("data::demo/shots/plate.@.png")["facts"]
    assert facts == {"first": 1, "last": 5, "count": 3, "padding": 4, "missing": "3-4", "size": [32, 18],
                     "mode": "RGB"}  # fmt: skip
    kept = json.loads((house.root / "demo/shots/.croft/plate.@.png/file.json").read_text())
    assert kept["facts"] == facts


def test_what_failed_for_a_passing_reason_is_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a picture that took too long, when a while has passed, then it is asked for again; never a
    damaged one."""
    now = [1000.0]
    monkeypatch.setattr(house.media, "_clock", lambda: now[0])
    address = house.put("demo/a.png", b"")
    Image.new("RGB", (8, 8)).save(house.root / "demo/a.png")
    house.store.refresh(address)
    stat = Stat.of((house.root / "demo/a.png").stat())
    path = house.root / "demo/a.png"
    for wait_s in (30, 120, 480):
        house.media._take(address, path, stat, 256, Answer({"error": "time", "why": "it took too long"}))
        assert house.media.hopeless(address, stat)
        assert not house.media.possible(address)
        now[0] += wait_s - 1
        assert house.media.hopeless(address, stat)
        now[0] += 1
        assert not house.media.hopeless(address, stat)
    assert house.media.thumbnail(address, wait_s=30) is not None
    house.media._take(address, path, stat, 256, Answer({"error": "damaged", "why": "it is damaged"}))
    now[0] += 1e9
    assert house.media.hopeless(address, stat)


def test_a_scene_that_was_too_slow_once_is_read_all_the_same(
    house: House, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.library.ingest.SLOW_RETRY_S", (0.01, 0.02))
    look, asked = house.media.look, []

    def slow(address: str, **more: Any) -> Answer:
        asked.append(address)
        if len(asked) < 3:
            return Answer({"error": "time", "why": "it took more than 20 s"})
        return look(address, **more)

    monkeypatch.setattr(house.media, "look", slow)
    address = house.put("demo/shots/slow.blend", scenes.zstd)
    deadline = time.monotonic() + 30
    while not house.assets.facts(address) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert house.assets.facts(address)["frames"] == [3, 26]
    assert len(asked) == 3
