"""Real Blender under the node: the pixels of bare `-a`, in whatever order the frames are asked for."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from node_farm import Farm, whole_log
from PIL import Image

SCENES = Path(__file__).with_name("scenes.py")
KINDS = ("plain", "rigid", "cloth", "particles", "handler", "crash", "compositor", "exr")
SCRIPTED = {"handler", "crash"}
LAST = 12
pytestmark = pytest.mark.timeout(150)  # real renders, on whatever machine


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all scenes, made by one run of Blender."""
    blender = shutil.which("blender")
    folder = tmp_path_factory.mktemp("scenes")
    if blender:
        wanted = [text for kind in KINDS for text in (kind, str(folder / f"{kind}.blend"))]
        command = [blender, "-b", "--factory-startup", "--python", str(SCENES), "--", *wanted]
        subprocess.run(command, check=True, capture_output=True, timeout=50)
    return folder


@pytest.fixture(scope="session")
def bare(scenes: Path) -> Callable[[str], dict[int, bytes]]:
    """The pixels of `blender -b FILE -a`, rendered once for each scene."""
    known: dict[str, dict[int, bytes]] = {}

    def pixels(kind: str) -> dict[int, bytes]:
        if kind not in known:
            folder = scenes / f"bare-{kind}"
            scripts = ["-y"] if kind in SCRIPTED else []
            command = [
                "blender",
                "-b",
                *scripts,
                str(scenes / f"{kind}.blend"),
                "-o",
                f"{folder}/x.####",
                "-a",
            ]
            subprocess.run(command, check=True, capture_output=True, timeout=50)
            known[kind] = {frame: picture(folder / f"x.{frame:04d}.png") for frame in range(1, LAST + 1)}
        return known[kind]

    return pixels


def picture(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGBA").tobytes()


def order(farm: Farm, scenes: Path, kind: str, frame: int, **command: Any) -> dict[str, Any]:
    file = farm.share / "demo" / f".{kind}.j1.blend"
    if not file.exists():
        shutil.copy(scenes / f"{kind}.blend", file)
    address = f"data::demo/{file.name}"
    what = {"do": "blender-frame", "file": address, "frames": f"1-{LAST}", **command}
    return {**farm.task(f"a{frame}", frame, **what), "file": address}


def starts(farm: Farm) -> int:
    return sum(result["statistics"]["fresh"] for result in farm.server.of("done"))


FORWARDS, BACKWARDS = (1, 2, 3, 5, 9, 12), (7, 4)


@pytest.mark.parametrize(
    ("kind", "frames"),
    [
        *((kind, FORWARDS) for kind in ("plain", "rigid", "cloth", "particles", "handler")),
        *((kind, BACKWARDS) for kind in ("plain", "cloth")),
    ],
)
def test_the_pixels_are_those_of_a_bare_animation(
    needs: Callable[[str], str], farm: Farm, scenes: Path, bare: Any, kind: str, frames: tuple[int, ...]
) -> None:
    """Given a scene with or without an unbaked simulation, when some of its frames are asked for, each has
    the pixels that it has among all frames of `-a`; one Blender does it, but for going back in time."""
    needs("blender")
    farm.give(*(order(farm, scenes, kind, frame) for frame in frames))
    farm.node(scripting=kind in SCRIPTED)
    farm.server.wait(lambda: len(farm.server.of("done") + farm.server.of("failed")) == len(frames), 100)
    assert not farm.server.of("failed")
    got = {n: picture(farm.version / f".a{n}.x.{n:04d}.png") for n in frames}
    wanted = bare(kind)
    assert [frame for frame in frames if got[frame] != wanted[frame]] == []
    assert starts(farm) == (2 if frames == BACKWARDS and kind != "plain" else 1)


def test_a_step_is_blenders_own_step(needs: Callable[[str], str], farm: Farm, scenes: Path) -> None:
    """`-a -j 5` doesn't evaluate the frames between, so neither may the farm: a handler would count them."""
    needs("blender")
    file = str(scenes / "handler.blend")
    folder = scenes / "step"
    command = ["blender", "-b", "-y", file, "-o", f"{folder}/x.####", "-s", "2", "-e", "12", "-j", "5", "-a"]
    subprocess.run(command, check=True, capture_output=True, timeout=50)
    farm.give(*(order(farm, scenes, "handler", frame, frames="2-12x5") for frame in (7, 12)))
    farm.node(scripting=True)
    farm.server.wait(lambda: len(farm.server.of("done") + farm.server.of("failed")) == 2, 100)
    for frame in (7, 12):
        assert picture(farm.version / f".a{frame}.x.{frame:04d}.png") == picture(
            folder / f"x.{frame:04d}.png"
        )


def test_a_blender_that_grows_too_large_is_started_afresh(
    needs: Callable[[str], str], farm: Farm, scenes: Path
) -> None:
    needs("blender")
    farm.give(*(order(farm, scenes, "plain", frame) for frame in (1, 2, 3)))
    farm.node(memory_mb=1)
    farm.server.wait(lambda: len(farm.server.of("done")) == 3, 100)
    assert starts(farm) == 3
    assert all(result["statistics"]["memory_mb"] > 50 for result in farm.server.of("done"))


def test_a_frame_that_crashes_blender_takes_no_other_with_it(
    needs: Callable[[str], str], farm: Farm, scenes: Path
) -> None:
    needs("blender")
    farm.give(*(order(farm, scenes, "crash", frame) for frame in (3, 4, 5, 6, 7)))
    farm.node(scripting=True)
    farm.server.wait(lambda: len(farm.server.of("done") + farm.server.of("failed")) == 5, 100)
    (failed,) = farm.server.of("failed")
    assert failed["frame"] == 5
    assert failed["reason"] == "crash"
    assert "this scene ends Blender at frame 5" in failed["log"]
    assert starts(farm) == 2


def test_file_output_nodes_write_into_the_version(
    needs: Callable[[str], str], farm: Farm, scenes: Path
) -> None:
    needs("blender")
    frames = (4, 5, 6, 9, 10)  # one by one, in one animation, and out of it again
    farm.give(*(order(farm, scenes, "compositor", frame) for frame in frames))
    farm.node()
    farm.server.wait(lambda: len(farm.server.of("done")) == len(frames), 100)
    for result in farm.server.of("done"):
        frame = result["frame"]
        assert [(output["name"], output["kind"]) for output in result["outputs"]] == [
            (f"x.{frame:04d}.png", "frame"),
            (f"x.beauty.{frame:04d}.png", "extra"),
            (f"x.depth.{frame:04d}.exr", "extra"),
        ]
        paths = [farm.version / output["temp"] for output in result["outputs"]]
        assert picture(paths[0]) == picture(paths[1])
    assert len(list(farm.version.iterdir())) == 3 * len(frames)
    assert not Path("/tmp/never").exists()


def test_a_format_pillow_cannot_read_gets_a_preview_with_its_transparency(
    needs: Callable[[str], str], farm: Farm, scenes: Path
) -> None:
    needs("blender")
    farm.give(*(order(farm, scenes, "exr", frame) for frame in (2, 3, 4)))
    farm.node()
    for result in farm.server.wait(lambda: len(farm.server.of("done")) == 3 and farm.server.of("done"), 100):
        frame, preview = result["outputs"]
        number = result["frame"]
        assert (frame["name"], frame["kind"]) == (f"x.{number:04d}.exr", "frame")
        assert (frame["width"], frame["height"]) == (64, 36)
        assert (preview["name"], preview["kind"]) == (f"x.{number:04d}.exr.png", "preview")
        with Image.open(farm.version / preview["temp"]) as image:
            assert image.mode == "RGBA"
            assert image.getchannel("A").getextrema() == (0, 255)


def test_wishes_of_the_command_and_scenes_that_blender_cannot_open(
    needs: Callable[[str], str], farm: Farm, scenes: Path
) -> None:
    needs("blender")
    broken = farm.share / "demo/broken.blend"
    broken.write_bytes((scenes / "plain.blend").read_bytes()[:5000])
    address = "data::demo/broken.blend"
    farm.give(
        order(farm, scenes, "plain", 1, format="JPEG"),
        order(farm, scenes, "plain", 2, camera="Nobody"),
        {**farm.task("a3", 3, do="blender-frame", file=address), "file": address},
    )
    farm.node()
    farm.server.wait(lambda: len(farm.server.of("done") + farm.server.of("failed")) == 3, 100)
    assert [result["outputs"][0]["name"] for result in farm.server.of("done")] == ["x.0001.jpg"]
    camera, cut = farm.server.of("failed")
    assert "no camera named 'Nobody'" in camera["log"]
    assert cut["reason"] in ("renderer error", "crash")


def test_a_job_that_writes_to_the_scenes_own_output_path(
    needs: Callable[[str], str], farm: Farm, scenes: Path, bare: Any
) -> None:
    """Written aside there too, then moved to the name that Blender gives the frame."""
    needs("blender")
    farm.give(*(order(farm, scenes, "plain", frame, folder=None, name=None) for frame in (3, 4)))
    farm.node()
    farm.server.wait(lambda: len(farm.server.of("done") + farm.server.of("failed")) == 2, 100)
    told = [one["path"] for result in farm.server.of("done") for one in result["outputs"]]
    assert sorted(told) == ["plain_0003.png", "plain_0004.png"]
    wanted = bare("plain")
    assert [picture(scenes / f"plain_{frame:04d}.png") for frame in (3, 4)] == [wanted[3], wanted[4]]
    assert not [path for path in scenes.iterdir() if path.name.startswith(".")]


def test_layers_sizes_and_other_wishes(needs: Callable[[str], str], farm: Farm, scenes: Path) -> None:
    needs("blender")
    wishes = {"format": "OPEN_EXR_MULTILAYER", "width": 48, "height": 32, "view_layer": "ViewLayer"}
    farm.give(order(farm, scenes, "plain", 1, **wishes))
    farm.node()
    (result,) = farm.server.wait(lambda: farm.server.of("done"), 100)
    frame, preview = result["outputs"]
    assert (frame["name"], frame["width"], frame["height"]) == ("x.0001.exr", 48, 32)
    with Image.open(farm.version / preview["temp"]) as image:
        assert image.size == (48, 32)
        assert len(image.getcolors(10000) or []) > 5


def test_each_frame_has_its_own_log(needs: Callable[[str], str], farm: Farm, scenes: Path) -> None:
    """One Blender renders them all; what it says of a frame is that frame's, to the last line."""
    needs("blender")
    farm.give(*(order(farm, scenes, "plain", frame) for frame in range(1, 6)))
    farm.node()
    ended = ("done", "failed")
    farm.server.wait(lambda: len({m["uuid"] for kind in ended for m in farm.server.of(kind)}) == 5)
    assert [item["log"] for item in farm.server.of("failed")] == []
    for n in range(1, 6):
        log, _ = whole_log(farm, f"a{n}")
        assert f"Saved: '{farm.version}/.a{n}." in log, log
        assert log.count("Saved:") == 1
        assert log.rstrip().splitlines()[-1].strip().startswith(("Time:", "Saved:")), log
        assert "\x1e" not in log
    assert whole_log(farm, "a1")[0].startswith("Blender 3.")


def test_the_package_bpy_in_the_place_of_a_program(farm: Farm, scenes: Path) -> None:
    if importlib.util.find_spec("bpy") is None:
        absent = pytest.fail if os.environ.get("CI") else pytest.skip
        absent("needs the packages of requirements-blender.txt")
    wanted = [text for kind in ("plain", "cloth") for text in (kind, str(scenes / f"{kind}.blend"))]
    subprocess.run([sys.executable, str(SCENES), "--", *wanted], check=True, capture_output=True, timeout=50)
    farm.give(order(farm, scenes, "plain", 2), order(farm, scenes, "cloth", 1))
    farm.node(blender="bpy")
    farm.server.wait(lambda: len(farm.server.of("done")) == 2, 100)
    assert farm.server.of("identity")[0]["programs"]["blender"].startswith("5.")
