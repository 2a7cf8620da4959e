"""Is it shown who uses what, what is missing before it is rendered, and who rises by it? With Blender's
own scenes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from house import SCENE, Browser, House

from server.library.dependencies import hints
from server.library.media.kinds import READER

RELINK = Path(__file__).resolve().parents[2] / "misc" / "relink.py"
MAKE = """
import bpy, sys
root = sys.argv[-1]
def save(inside):
    bpy.ops.wm.save_as_mainfile(filepath=f'{root}/{inside}', compress=False, relative_remap=False)
def empty():
    bpy.ops.wm.read_factory_settings(use_empty=True)
def image(name, path):
    found = bpy.data.images.new(name, 4, 4)
    found.filepath, found.source, found.use_fake_user = path, 'FILE', True
def link(path, name):
    with bpy.data.libraries.load(path, link=True, relative=path.startswith(root)) as (there, here):
        here.objects = [name]
    bpy.context.collection.objects.link(here.objects[0])
empty()
for name in ('hero', 'tree'):
    empty()
    bpy.context.collection.objects.link(bpy.data.objects.new(name, None))
    image('skin', '//../tex/skin.png')
    save(f'props/{name}.blend')
empty()
bpy.context.scene.camera = bpy.data.objects.new('eye', bpy.data.cameras.new('eye'))
link(f'{root}/props/hero.blend', 'hero')
link(f'{root}/props/tree.blend', 'tree')
image('wood', '//../tex/wood.png')
image('mine', 'C:\\\\Users\\\\ana\\\\wood.png')
image('shared', 'Z:\\\\demo\\\\tex\\\\skin.png')
packed = bpy.data.images.new('packed', 4, 4)
packed.use_fake_user = True
packed.pack()
bpy.context.preferences.filepaths.use_relative_paths = True
for library in bpy.data.libraries:
    library.filepath = bpy.path.relpath(library.filepath, start=f'{root}/shots')
save('shots/sh010.blend')
"""


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]) -> Path:
    """A project of three scenes that a real Blender saved, one of which uses the others."""
    root = tmp_path_factory.mktemp("film")
    script = root / "make.py"
    script.write_text(MAKE)
    for folder in ("props", "shots", "tex"):
        (root / folder).mkdir()
    command = [
        needs("blender"),
        "-b",
        "--factory-startup",
        "--python-exit-code",
        "3",
        "--python",
        str(script),
    ]
    done = subprocess.run(
        [*command, "--", str(root)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    script.unlink()
    return root


@pytest.fixture
def demo(house: House, film: Path, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """The film on the share, all read; its textures `skin.png` there and `wood.png` not."""
    monkeypatch.setattr(hints, "LOOK_S", 0.1)
    shutil.copytree(film, house.data / "demo", dirs_exist_ok=True)
    (house.data / "demo/project.json").write_text('{"title": "Demo"}')
    (house.data / "demo/tex/skin.png").write_bytes(b"png")
    share = {"aliases": ["Z:\\"], **json.loads((house.config / "shares/data.json").read_text())}
    (house.config / "shares/data.json").write_text(json.dumps(share))
    house.croft.services.store.rescan()
    for inside in ("props/hero.blend", "props/tree.blend", "shots/sh010.blend"):
        house.settle(f"data::demo/{inside}")
    browser = house.browser("supervisor")
    house.until(lambda: len(uses(browser)) == 5)
    settled(house)
    return browser


def settled(house: House) -> None:
    assert house.croft.services.dependencies.wait()


def uses(browser: Browser, inside: str = "shots/sh010.blend") -> dict[str, str]:
    found = browser.get(f"/api/assets/data::demo/{inside}").data["uses"]
    return {(use["address"] or use["path"]).replace("data::demo/", ""): use["status"] for use in found}


def used_by(browser: Browser, inside: str) -> list[str]:
    return list(browser.get(f"/api/assets/data::demo/{inside}").data["used_by"])


def told(browser: Browser, kind: str = "") -> list[dict[str, Any]]:
    return list(browser.get(f"/api/problems?kind={kind}").data)


def test_uses_and_used_by_across_the_project(house: House, demo: Browser) -> None:
    assert uses(demo) == {
        "props/hero.blend": "ok",
        "props/tree.blend": "ok",
        "tex/wood.png": "missing",
        "C:\\Users\\ana\\wood.png": "outside",
        "tex/skin.png": "absolute",
    }
    assert used_by(demo, "props/hero.blend") == ["data::demo/shots/sh010.blend"]
    assert used_by(demo, "tex/skin.png") == [
        "data::demo/props/hero.blend", "data::demo/props/tree.blend", "data::demo/shots/sh010.blend",
    ]  # fmt: skip
    page = demo.get("/p/demo/asset/shots/sh010.blend").body.decode()
    assert "/p/demo/asset/props/hero.blend" in page
    assert "wood.png</span>" in page
    assert "The texture wood.png isn’t there. What it covers will be pink in the picture." in page
    page = demo.get("/p/demo/assets?files=1&q=skin").body.decode()
    assert "used by 3 files" in page
    page = demo.get("/p/demo/asset/tex/skin.png").body.decode()
    assert "Used by" in page
    assert "/p/demo/asset/props/hero.blend" in page


def test_a_library_that_goes_and_comes_back(house: House, demo: Browser) -> None:
    away, hero = house.data / "hero.blend", house.data / "demo/props/hero.blend"
    hero.rename(away)
    house.until(lambda: uses(demo)["props/hero.blend"] == "missing")
    settled(house)
    [problem] = house.until(lambda: told(demo, "missing-library"))
    assert problem["address"] == "data::demo/props/hero.blend"
    assert "hero.blend isn’t there. sh010.blend uses it." in problem["text"]
    page = demo.get("/p/demo/asset/shots/sh010.blend").body.decode()
    assert "The scene hero.blend isn’t there. What it holds will be missing in the picture." in page
    reply = demo.post("/api/jobs", {"file": "data::demo/shots/sh010.blend", "frames": "1"})
    assert reply.status == 201
    assert "But: " in reply.message
    warnings = demo.get(f"/api/jobs/{reply.data['id']}").data["warnings"]
    assert any("hero.blend isn’t there" in text for text in warnings)
    assert reply.data["warnings"] == warnings
    assert "more like this" in demo.get("/p/demo/rendering").body.decode()
    away.rename(hero)
    house.until(lambda: uses(demo)["props/hero.blend"] == "ok")
    house.until(lambda: not told(demo, "missing-library"))


def test_a_texture_of_a_library_is_missed_by_who_uses_it(house: House, demo: Browser) -> None:
    (house.data / "demo/tex/skin.png").unlink()
    dependencies = house.croft.services.dependencies
    address = "data::demo/shots/sh010.blend"

    def warned() -> bool:
        return any("skin.png, which hero.blend uses," in text for text in dependencies.warnings(address))

    house.until(warned)


def test_a_library_that_was_renamed_is_pointed_at(house: House, demo: Browser) -> None:
    hero = house.data / "demo/props/hero.blend"
    hero.rename(hero.with_name("heroine.blend"))
    house.until(lambda: (house.data / "demo/props/heroine.blend.json").exists())
    problem = house.until(
        lambda: [one for one in told(demo, "missing-library") if "was moved" in one["text"]]
    )[0]
    assert "It was moved: it is demo/props/heroine.blend now." in problem["text"]
    [action] = problem["actions"]
    assert action["label"] == "Move it back"
    done = demo.post(action["path"], action["body"])
    assert done.status == 200, done.message
    house.until(lambda: not told(demo, "missing-library"))
    assert hero.exists()
    assert demo.post(done.data["undo"]["path"], done.data["undo"]["body"]).status == 200
    house.until(lambda: told(demo, "missing-library"))


def test_upper_and_lower_case(house: House, demo: Browser) -> None:
    tex = house.data / "demo/tex"
    (tex / "Wood.png").write_bytes(b"png")
    problem = house.until(lambda: [one for one in told(demo, "missing-texture") if "differ" in one["text"]])[
        0
    ]
    assert "It is there as Wood.png: upper and lower case differ." in problem["text"]
    [action] = problem["actions"]
    assert demo.post(action["path"], action["body"]).status == 200
    house.until(lambda: not told(demo, "missing-texture"))
    assert (tex / "wood.png").exists()


def test_a_texture_that_was_deleted_is_brought_back(house: House, demo: Browser) -> None:
    assert demo.ask("DELETE", "/api/assets/data::demo/tex/skin.png").status == 200
    problem = house.until(
        lambda: [one for one in told(demo, "missing-texture") if "skin.png" in one["address"]]
    )[0]
    assert "Somebody deleted it" in problem["text"]
    [action] = problem["actions"]
    done = demo.ask(action["method"], action["path"], action["body"])
    assert done.status == 200, done.message
    house.until(lambda: (house.data / "demo/tex/skin.png").exists())
    house.until(lambda: all("skin.png" not in one["address"] for one in told(demo, "missing-texture")))


def test_the_command_that_names_files_anew(house: House, demo: Browser, needs: Callable[[str], str]) -> None:
    """What the page offers to an admin does what it says, in a real Blender."""
    needs("blender")
    tex = house.data / "demo/textures"
    tex.mkdir()
    (tex / "wood.png").write_bytes(b"png")
    problem = house.until(lambda: [one for one in told(demo, "missing-texture") if one["command"]])[0]
    assert "A file of that name is demo/textures/wood.png." in problem["text"]
    subprocess.run(problem["command"], shell=True, check=True, capture_output=True, timeout=50)
    house.until(lambda: uses(demo).get("textures/wood.png") == "ok")
    house.until(lambda: not told(demo, "missing-texture"))
    library = house.data / "demo/props/tree.blend"
    (house.data / "demo/trees").mkdir()
    library.rename(house.data / "demo/trees/tree.blend")
    problem = house.until(lambda: [one for one in told(demo, "missing-library") if one["command"]])[0]
    subprocess.run(problem["command"], shell=True, check=True, capture_output=True, timeout=50)
    house.until(lambda: uses(demo).get("trees/tree.blend") == "ok")
    house.until(lambda: not told(demo, "missing-library"))


def test_paths_of_one_computer(house: House, demo: Browser, needs: Callable[[str], str]) -> None:
    [problem] = told(demo, "absolute-path")
    assert problem["address"] == "data::demo/shots/sh010.blend"
    assert "names 2 files by a path of one computer" in problem["text"]
    blender = [
        needs("blender"),
        "-b",
        str(house.data / "demo/shots/sh010.blend"),
        "--python",
        str(RELINK),
        "--",
    ]
    (house.data / "demo/tex/mine.png").write_bytes(b"png")
    pairs = ["C:\\Users\\ana\\wood.png", str(house.data / "demo/tex/mine.png")]
    subprocess.run([*blender, *pairs], check=True, capture_output=True, timeout=50)
    house.until(lambda: uses(demo).get("tex/mine.png") == "ok")
    [problem] = house.until(lambda: [one for one in told(demo, "absolute-path") if one["command"]])
    subprocess.run(problem["command"], shell=True, check=True, capture_output=True, timeout=50)
    house.until(lambda: uses(demo).get("tex/skin.png") == "ok")
    house.until(lambda: not told(demo, "absolute-path"))


def test_what_others_wait_for_stands_above_them(house: House, demo: Browser) -> None:
    shot, hero = "data::demo/shots/sh010.blend", "data::demo/props/hero.blend"
    demo.patch(f"/api/assets/{shot}", {"priority": 4})
    demo.patch(f"/api/assets/{hero}", {"priority": 1})
    demo.patch("/api/assets/data::demo/props/tree.blend", {"final": True})
    house.asset("demo/shots/sh020.blend", priority=5)
    asked = "/api/assets?project=demo&sort=-priority"

    def order() -> list[str]:
        return [row["path"].partition("/")[2] for row in demo.get(asked).data]

    house.until(lambda: order() == ["sh020.blend", "hero.blend", "sh010.blend", "tree.blend"])
    view = demo.get(f"/api/assets/{hero}").data
    assert (view["priority"], view["true_priority"], view["waited_for_by"]) == (1, 4.001, 1)
    assert "waited for by 1" in demo.get("/p/demo/assets").body.decode()
    assert "Waited for by 1." in demo.get("/p/demo/asset/props/hero.blend").body.decode()
    # A cycle: they share one rank. By name, as RFAM's files have it.
    demo.patch(f"/api/assets/{hero}", {"dependencies": ["sh010"]})
    house.until(lambda: demo.get(f"/api/assets/{hero}").data["true_priority"] == 4)
    assert demo.get(f"/api/assets/{shot}").data["waited_for_by"] == 1
    # What is final waits for nothing.
    demo.patch(f"/api/assets/{hero}", {"dependencies": []})
    demo.patch(f"/api/assets/{shot}", {"final": True})
    house.until(lambda: demo.get(f"/api/assets/{hero}").data["waited_for_by"] == 0)
    assert demo.get(f"/api/assets/{hero}").data["true_priority"] == 1


@pytest.mark.parametrize(
    "name", ["sh020", "shots/sh020.blend", "shots/sh020", "data::demo/shots/sh020.blend", "sh020.blend"]
)
def test_people_name_what_an_asset_waits_for(house: House, name: str) -> None:
    house.make("demo/project.json", b"{}")
    house.asset("demo/shots/sh010.blend", priority=5)
    house.asset("demo/shots/sh020.blend", priority=2)
    ana = house.browser("supervisor")
    assert ana.patch("/api/assets/data::demo/shots/sh010.blend", {"dependencies": [name]}).status == 200
    house.until(lambda: used_by(ana, "shots/sh020.blend") == ["data::demo/shots/sh010.blend"])
    assert uses(ana) == {"shots/sh020.blend": "ok"}
    house.until(lambda: ana.get("/api/assets/data::demo/shots/sh020.blend").data["true_priority"] == 5.001)


def test_scenes_that_come_and_move_together(house: House) -> None:
    """Facts are read as they arrive, and a folder that is renamed takes its users along."""
    house.make("demo/project.json", b"{}")
    for number in range(50):
        scene = house.data / f"demo/shots/sh{number:03d}.blend"
        house.make(f"demo/shots/{scene.name}", SCENE)
        st = scene.stat()
        facts = {"uses": [{"path": "//../props/hero.blend", "kind": "library"}]}
        state = {"size": st.st_size, "mtime_ns": st.st_mtime_ns, "reader": READER}
        place = f"data::demo/shots/.croft/{scene.name}/file.json"
        house.croft.services.store.write_json(place, {"schema": 1, **state, "facts": facts})
        house.croft.services.store.refresh(place)
    dependencies = house.croft.services.dependencies
    hero = house.make("demo/props/hero.blend", SCENE)
    house.until(lambda: len(dependencies.used_by(hero)) == 50)
    (house.data / "demo/shots").rename(house.data / "demo/sequence")
    moved = [f"data::demo/sequence/sh{number:03d}.blend" for number in range(50)]
    house.until(lambda: dependencies.used_by(hero) == moved)
