"""What is said before a render is submitted, and what is refused: one sentence and one thing to do each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from farm_kit import SCENE, Node, World

from server.disk.errors import BadContent
from server.farm.farm import Farm
from server.library.dependencies import Use

SCENE_FACTS = {
    "blender": "3.4", "reads_from": "3.4", "whole": True, "frames": [1, 24], "step": 1, "camera": True,
    "output": "//out/shot_####", "format": "PNG",
}  # fmt: skip
USES = [
    (Use("//wood.png", "image", "data::demo/tex/wood.png", "missing"), SCENE),
    (Use("//skin.png", "image", "data::demo/tex/skin.png", "ok"), SCENE),
    (Use("C:\\me\\sky.hdr", "image", "", "outside"), "data::demo/props/hero.blend"),
]


def know(path: Path, **facts: Any) -> None:
    """What the library would have read from the file."""
    st = path.stat()
    told = {**SCENE_FACTS, **facts}
    told["scenes"] = [{"name": "Scene", **told}, {"name": "Other", "frames": [5, 9], "camera": False}]
    folder = path.parent / ".croft" / path.name
    folder.mkdir(parents=True, exist_ok=True)
    record = {"size": st.st_size, "mtime_ns": st.st_mtime_ns, "facts": told}
    (folder / "file.json").write_bytes(orjson.dumps(record))


@pytest.fixture
def scene(world: World) -> Path:
    path = world.path(SCENE)
    know(path)
    return path


@pytest.fixture
def farm(world: World, scene: Path) -> Farm:
    farm = world.open(uses=lambda address: USES)
    Node(farm, "n1", world.root).say()
    return farm


def asked(farm: Farm, **request: Any) -> dict[str, tuple[str, str]]:
    found = farm.check("anna", {"file": SCENE, **request})
    assert found["ok"] == all(notice["severity"] != "error" for notice in found["notices"])
    return {
        notice["kind"]: (notice["severity"], f"{notice['text']} {notice['todo']}")
        for notice in found["notices"]
        if notice["kind"] not in ("missing", "elsewhere")
    }


def test_what_it_uses_and_the_farm_cannot_reach(world: World, farm: Farm) -> None:
    before = sorted(str(path) for path in world.root.rglob("*"))
    found = farm.check("anna", {"file": SCENE})
    assert (found["ok"], found["frames"], found["total"]) == (True, "1-24", 24)
    assert [(notice["severity"], notice["kind"], notice["text"]) for notice in found["notices"]] == [
        ("warning", "missing", "The texture wood.png isn’t there."),
        ("warning", "elsewhere", "C:\\me\\sky.hdr, which hero.blend uses, lies on one computer alone: "
         "others render without it."),
    ]  # fmt: skip
    assert all(notice["todo"] for notice in found["notices"])
    assert "Find Missing Files" in found["notices"][0]["todo"]
    assert sorted(str(path) for path in world.root.rglob("*")) == before
    # The job keeps them
    job = farm.submit("anna", {"file": SCENE})
    assert farm.view(job)["warnings"][0].startswith("The texture wood.png isn’t there.")


def test_what_cannot_be_meant_is_said_not_raised(farm: Farm) -> None:
    for request, words in (
        ({"frames": "9-1"}, "backwards"),
        ({"output": "nowhere"}, "output must be"),
        ({"type": "nope"}, "no job type"),
        ({"file": "data::demo/shots/none.blend"}, "There is no file"),
    ):
        found = farm.check("anna", {"file": SCENE, **request})
        assert (found["ok"], found["total"]) == (False, None)
        assert words in found["notices"][0]["text"]


def test_a_scene_without_a_camera_is_refused_unless_it_needs_none(farm: Farm, scene: Path) -> None:
    know(scene, camera=False, renderable=False)
    assert asked(farm)["camera"][0] == "error"
    with pytest.raises(BadContent, match=r"no camera: there is nothing .* Add › Camera"):
        farm.submit("anna", {"file": SCENE})
    assert "camera" not in asked(farm, camera="Other eye")
    know(scene, camera=False, renderable=True)  # the compositor alone makes its picture
    assert "camera" not in asked(farm)
    know(scene, camera=False)  # read by an older Croft: nobody knows
    assert asked(farm)["camera"][0] == "warning"
    farm.submit("anna", {"file": SCENE})
    assert "error" in asked(farm, scene="No such")["scene"]


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ("1-24", None), ("7", None), ("20-30", "Some frames lie outside of the scene, which runs from 1 to"),
        ("100-120", "All of these frames lie outside"), ("0", "All of these"),
    ],
)  # fmt: skip
def test_frames_that_are_not_the_scene_s(farm: Farm, frames: str, words: str | None) -> None:
    found = asked(farm, frames=frames).get("range")
    assert (found is None) == (words is None)
    if found is not None and words is not None:
        assert found[1].startswith(words)
        assert "Render 1-24, or" in found[1]
    assert "range" not in asked(farm, frames="5-9", scene="Other", camera="eye")


def test_a_step_of_the_scene(farm: Farm, scene: Path) -> None:
    know(scene, step=2)
    assert asked(farm, frames="1-24")["step"][0] == "note"
    assert "step" not in asked(farm, frames="1-24x2")
    assert "step" not in asked(farm, frames="7")


def test_no_computer_that_can(world: World, farm: Farm, scene: Path) -> None:
    assert "computers" not in asked(farm)
    assert "no computer here has gpu" in asked(farm, requires=["gpu"])["computers"][1]
    world.clock.now += 1000
    assert "no computer is on" in asked(farm)["computers"][1]
    job = farm.submit("anna", {"file": SCENE})  # it waits: that is no fault of the scene's
    assert not [text for text in farm.view(job)["warnings"] if "computer can" in text]


def test_a_file_of_a_newer_blender_than_the_computers_have(farm: Farm, scene: Path) -> None:
    know(scene, blender="4.2", reads_from="4.0")
    severity, text = asked(farm)["blender"]
    assert severity == "warning"
    assert text.startswith(
        "The file was saved with Blender 4.2; the computers have 3.4. It needs 4.0 at least."
    )
    know(scene, blender="2.93")
    assert "blender" not in asked(farm)


def test_where_the_frames_go(farm: Farm, scene: Path) -> None:
    assert "output" not in asked(farm, output="scene")
    for raw in ("/tmp/", "C:\\renders\\", ""):
        know(scene, output=raw)
        assert asked(farm, output="scene")["output"][0] == "warning"
        assert "output" not in asked(farm)
    know(scene, format="FFMPEG")
    assert "film" in asked(farm)
    assert "film" in asked(farm, output="scene")
    assert "film" not in asked(farm, format="PNG")


def test_a_save_that_is_under_way(farm: Farm, scene: Path) -> None:
    aside = scene.with_name(scene.name + "@")
    aside.write_bytes(b"BLENDER")
    assert asked(farm)["saving"][0] == "warning"
    aside.unlink()
    scene.write_bytes(scene.read_bytes() + b"more")
    assert asked(farm)["reading"][0] == "note"


def test_a_job_to_the_scene_s_own_path_says_where_that_is(world: World, farm: Farm, scene: Path) -> None:
    job = farm.submit("anna", {"file": SCENE, "output": "scene"})
    record = orjson.loads((world.path(farm.board.live[job.id].job.folder) / "job.json").read_bytes())
    assert record["writes"] == "data::demo/shots/out"
    assert farm.board.writes(farm.board.live[job.id].job) == "data::demo/shots/out"


def test_frames_at_the_scene_s_own_path_have_records_and_pictures(
    world: World, farm: Farm, scene: Path
) -> None:
    job = farm.submit("anna", {"file": SCENE, "output": "scene", "frames": "1-3"}).id
    node = Node(farm, "n1", world.root)
    place = scene.parent / "out"
    place.mkdir()
    for name in ("one.exr", "", "../../secret"):  # as it should be; not there; nonsense
        task = node.one()
        aside = f".{task['uuid']}.{name}.png"
        told = {"path": name, "temp": f".{task['uuid']}.{name}", "size": 4, "kind": "frame"}
        seen = {"path": f"{name}.png", "temp": aside, "size": 3, "kind": "preview"}
        if name == "one.exr":
            (place / name).write_bytes(b"EXR!")
            (place / aside).write_bytes(b"PNG")
        done = {
            "id": "done",
            "uuid": task["uuid"],
            "frame": task["frame"],
            "time": 1,
            "outputs": [told, seen],
        }
        assert node.answer_to(done)["id"] == "accepted"
    rows = farm.records(job)[0]
    assert [(row["path"], row["bytes"]) for row in rows if row["path"]] == [
        ("data::demo/shots/out/one.exr", 4)
    ]
    assert len(rows) == 3
    assert (place / ".croft/one.exr/thumbs/node.png").read_bytes() == b"PNG"
    assert sorted(path.name for path in place.iterdir()) == [".croft", "one.exr"]
    assert farm.task(job, 0)["image"] == "data::demo/shots/out/one.exr"


def test_a_chunk_s_frames_at_the_scene_s_own_path_are_found_by_the_names_they_have(
    world: World, farm: Farm, scene: Path
) -> None:
    more = {"chunk_size": 2}
    job = farm.submit("anna", {"file": SCENE, "output": "scene", "frames": "1-2", **more}).id
    node = Node(farm, "n1", world.root)
    (scene.parent / "out").mkdir()
    task = node.one()
    told = []
    for frame in (1, 2):
        name = f"f{frame}.png"
        (scene.parent / "out" / name).write_bytes(b"PNG!")
        told.append(
            {"path": name, "temp": f".{task['uuid']}.{name}", "size": 4, "kind": "frame", "frame": frame}
        )
    node.answer_to({"id": "done", "uuid": task["uuid"], "frame": task["frame"], "time": 1, "outputs": told})
    assert [row["path"] for row in farm.records(job)[0]] == [
        "data::demo/shots/out/f1.png",
        "data::demo/shots/out/f2.png",
    ]
