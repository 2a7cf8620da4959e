"""Moving from RFAM, as docs/moving-from-rfam.md tells: its folders are copied, and everything is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House
from PIL import Image

from server.disk.mounts import chosen_data
from server.disk.settings import Settings
from server.web.app import build

SHARED = ("projects", "users", "defaults", "paths", "images")
SETS = Path(__file__).parents[2] / "config/sets"
ASSETS = (
    ("characters/fox.blend", "Fox", "char", "rig", 75, "tom", ["ana"]),
    ("shots/sh010.blend", "First", "shot", "us", 30, "ana", []),
    ("shots/sh020.blend", "Second", "shot", "ns", 0, None, []),
)
STATES = {
    "not_started": ("ns", "Not Started", True), "incomplete": ("ic", "Incomplete", True),
    "modelled": ("mod", "Modelled", True), "rigged": ("rig", "Rigged", True),
    "usable": ("us", "Usable", False), "polished": ("po", "Polished", False),
}  # fmt: skip
TYPES = {
    "character": ("char", "Character", "characters", 80, ["ns", "ic", "mod", "rig", "po"], "char.blend"),
    "shot": ("shot", "Shot", "shots", 30, ["ns", "ic", "us", "po"], "shot.blend"),
    "other": ("other", "Other", "other", 10, ["ns", "po"], ""),
}


def write(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1))


def lay_out(rfam: Path) -> None:
    """A server's folder as RFAM has it after a few days of work, with its data inside it."""
    for name in ("data", "images", "defaults"):
        write(rfam / f"paths/{name}.json", {"ident": name, "path": name})
    (rfam / "images").mkdir()
    Image.new("RGB", (64, 48), "#804000").save(rfam / "images/anon.jpg")
    for ident, name in (("tom", "Tom Weaver"), ("ana", "Ana Field")):
        write(rfam / f"users/{ident}.json", {
            "ident": ident, "name": name, "image": "images::anon.jpg", "projects": ["green"],
            "language": "english",
        })  # fmt: skip
    write(rfam / "projects/green.json", {
        "ident": "green", "name": "Green Team", "image": "images::anon.jpg", "directory": "data::green",
        "render.priority": 1.0,
    })  # fmt: skip
    defaults = rfam / "defaults/Full HD Cycles CPU"
    write(defaults / "priority.json", {
        "visible": True, "low": 0, "high": 100, "names": ["Meh", "Low", "Normal", "High", "Urgent"],
        "boosting": True, "boost": 1,
    })  # fmt: skip
    for file, (ident, name, boost) in STATES.items():
        write(defaults / f"states/{file}.json", {
            "ident": ident, "name": name, "render": not boost, "boost": boost, "time": True, "squeeze": False,
        })  # fmt: skip
    for n, (file, (ident, name, folder, priority, states, blend)) in enumerate(TYPES.items()):
        write(defaults / f"asset_types/{file}.json", {
            "ident": ident, "name": name, "directory": folder, "priority": priority, "state": "ns",
            "states": states, "time_budget": {"us": 30, "po": 30}, "render": ident == "shot", "final": False,
            "output": "//render/%(name)s", "sort": n, **({"file": blend} if blend else {}),
        })  # fmt: skip
    for ours, theirs in (("character", "char"), ("shot", "shot")):
        shutil.copy(SETS / f"{ours}.blend", defaults / f"asset_types/{theirs}.blend")
    write(rfam / "data/green/project.json", {
        "title": "The Fox", "description": "", "default": "Full HD Cycles CPU", "license": "CC BY 4.0",
        "roles": {"r1": {"role": "Story", "user": "tom", "order": 0}},
        "ext_assets": {"e1": {"description": "Wind", "license": "CC0", "origin": "https://example.org"}},
    })  # fmt: skip
    for inside, name, kind, state, priority, owner, support in ASSETS:
        scene = rfam / "data/green" / inside
        scene.parent.mkdir(exist_ok=True)
        shutil.copy(SETS / "shot.blend", scene)
        write(scene.with_name(scene.name + ".json"), {
            "name": name, "description": "", "type": kind, "creator": "tom", "owner": owner,
            "support": support, "state": state, "priority": priority, "render": kind == "shot",
            "final": False, "time_budget": {"us": 30, "po": 30},
            "dependencies": ["characters/fox.blend"] if kind == "shot" else [],
        })  # fmt: skip


@pytest.fixture
def moved(tmp_path: Path) -> Iterator[House]:
    """Croft on copies of RFAM's folders, its films where they are."""
    rfam, config = tmp_path / "rfam", tmp_path / "croft-config"
    lay_out(rfam)
    config.mkdir()
    for name in SHARED:
        shutil.copytree(rfam / name, config / name)
    write(config / "paths/data.json", {"ident": "data", "path": str(rfam / "data")})
    write(config / "server.json", {"settle_s": 0})
    assert chosen_data(Settings(config), tmp_path) == rfam / "data"
    croft = build(config, chosen_data(Settings(config), tmp_path))
    yield House(croft, config, rfam / "data")
    croft.close()


def test_everything_of_rfams_is_there(moved: House) -> None:
    """Given RFAM's folders, copied as the page says, when Croft is started on them, then people sign in with
    a tap and find their film: titles, types, states, priorities, owners, faces, roles; and a new file is
    made from RFAM's own template. RFAM's files are as they were."""
    before = {path: path.read_bytes() for path in moved.data.rglob("*.json") if path.is_file()}
    ana = moved.browser()
    assert ana.sign_in("ana").status == 200
    rows = {row["name"]: row for row in ana.get("/api/assets?project=green").data}
    fox, first, second = (rows[name] for name in ("Fox", "First", "Second"))
    assert (fox["type"], fox["state"], fox["priority"], fox["owner"], fox["support"]) == (
        "char", "rig", 4, "tom", ["ana"],
    )  # fmt: skip
    assert (first["priority"], second["priority"], second["owner"]) == (2, 1, "")
    words = ana.get("/api/projects/green").data["words"]
    assert [one["title"] for one in words["types"]] == ["Character", "Shot", "Other"]
    assert [one["title"] for one in words["priorities"]] == ["Meh", "Low", "Normal", "High", "Urgent"]
    text = ana.get("/p/green/assets").body.decode()
    for word in ("Rigged", "Usable", "Not Started", "High", "Tom Weaver"):
        assert word in text, word
    text = ana.get("/p/green/project").body.decode()
    for word in ("The Fox", "CC BY 4.0", "Story", "Tom Weaver", "https://example.org", "Full HD Cycles CPU"):
        assert word in text, word
    photo = ana.get("/api/users/tom").data["photo"]
    assert photo
    assert ana.get(photo).headers["content-type"] == "image/jpeg"
    assert [one["text"] for one in ana.get("/api/problems").data if one["kind"] == "config"] == []
    assert {path: path.read_bytes() for path in before} == before
    made = ana.post("/api/assets", {"project": "green", "name": "Third", "type": "shot"})
    assert made.data["path"] == "shots/third.blend"
    moved.settle(made.data["address"])
    told = ana.get(f"/api/assets/{made.data['address']}").data["facts"]
    assert (told["scene"], told["output"], told["resolution"]) == ("Third", "//render/third", [1920, 1080])
    other = ana.post("/api/assets", {"project": "green", "name": "Odd", "type": "other"})  # no template there
    assert other.data["path"] == "other/odd.blend"
    moved.until(lambda: ana.get("/api/assets/data::green/characters/fox.blend").data["waited_for_by"] == 2)


def test_an_edit_keeps_what_rfam_wrote(moved: House) -> None:
    ana = moved.browser("ana")
    address = "data::green/shots/sh020.blend"
    etag = ana.get(f"/api/assets/{address}").data["etag"]
    changed = ana.patch(f"/api/assets/{address}", {"state": "ic"}, headers={"If-Match": etag})
    assert (changed.status, changed.data["state"]) == (200, "ic")
    record = json.loads((moved.data / "green/shots/sh020.blend.json").read_text())
    assert (record["state"], record["priority"], record["time_budget"]) == ("ic", 0, {"us": 30, "po": 30})
    assert list(record)[:4] == ["name", "description", "type", "creator"]
    assert ana.patch(f"/api/assets/{address}", {"priority": 4}).data["priority"] == 4


def test_a_set_that_stayed_behind_is_crofts_own_of_that_name(moved: House) -> None:
    shutil.rmtree(moved.config / "defaults")
    projects = moved.croft.services.projects
    moved.until(lambda: projects.set_of(projects.get("green")).ident == "full-hd-cycles")
    text = moved.browser("ana").get("/p/green/assets").body.decode()
    for word in ("Rigged", "Usable", "Not started", "High"):
        assert word in text, word


def test_a_spoilt_file_of_rfams_is_told(moved: House) -> None:
    assert "Rigged" in moved.browser("ana").get("/p/green/assets").body.decode()
    bad = moved.config / "defaults/Full HD Cycles CPU/states/rigged.json"
    bad.write_text("{")
    projects = moved.croft.services.projects
    moved.until(lambda: any("rigged.json" in problem.text for problem in projects.problems()))
    assert "Rigged" in moved.browser("ana").get("/p/green/assets").body.decode()  # what it said before
