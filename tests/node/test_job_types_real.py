"""Job types with the real server, real nodes and real Blender: chunks, parts, videos, previews, new types."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops
from real_farm import RealFarm, make_scenes, until

pytestmark = pytest.mark.timeout(150)  # real renders, on whatever machine


@pytest.fixture(scope="module")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shots")
    if shutil.which("blender"):
        make_scenes(folder, "plain")
    return folder


@pytest.fixture
def farm(needs: Any, tmp_path: Path) -> Iterator[RealFarm]:
    for program in ("blender", "ffmpeg"):
        needs(program)
    made = RealFarm(tmp_path)
    yield made
    made.close()


def streams(film: Path) -> dict[str, Any]:
    """What ffprobe says of the first stream."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(film)]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    first: dict[str, Any] = json.loads(found.stdout)["streams"][0]
    return first


def same_pixels(one: Path, other: Path) -> bool:
    with Image.open(one) as a, Image.open(other) as b:
        return a.size == b.size and ImageChops.difference(a, b).getbbox() is None


def test_a_picture_in_parts_is_the_picture_in_one_piece(farm: RealFarm, shots: Path) -> None:
    """Given two nodes, when a frame is cut into 3 x 2 parts, then put together it has the same pixels."""
    for name in ("one", "two"):
        farm.start_node(name)
    whole = farm.submit(shots / "plain.blend", "5", samples=4)
    whole = farm.wait_for(whole, "done")
    ident = farm.submit(shots / "plain.blend", "5", type="blender-tiles", columns=3, rows=2, samples=4)
    job = farm.wait_for(ident, "done")
    assert (job["total"], job["counts"]["done"]) == (7, 7)
    folder = farm.version(job)
    assert same_pixels(folder / "plain.0005.png", farm.version(whole) / "plain.0005.png")
    until(lambda: [path.name for path in folder.iterdir() if path.is_file()] == ["plain.0005.png"])
    rows = farm.api("GET", f"/api/jobs/{ident}/tasks")[1]
    assert [row["tile"] for row in rows[:6]] == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]
    assert (rows[6]["stage"], rows[6]["frame"]) == ("picture", 5)
    assert job["newest"]["image"].endswith("plain.0005.png")


def test_chunks_and_the_preview_of_a_render(farm: RealFarm, shots: Path) -> None:
    """When frames are asked for in chunks, then each lies there as ever, and a video of them beside them."""
    farm.start_node("one")
    ident = farm.submit(shots / "plain.blend", "1-7x2,10", chunk_size=2)
    job = farm.wait_for(ident, "done")
    folder = farm.version(job)
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert names == [f"plain.{frame:04d}.png" for frame in (1, 3, 5, 7, 10)]
    rows = farm.api("GET", f"/api/jobs/{ident}/tasks")[1]
    assert [row.get("frames") or row["frame"] for row in rows] == [[1, 3], [5, 7], 10]
    done = next(event for event in farm.events(ident, "done") if event["task"] == 0)
    assert [output["frame"] for output in done["outputs"]] == [1, 3]
    assert all(output["seconds"] > 0 for output in done["outputs"])
    film = streams(folder.with_name(folder.name + ".mp4"))
    assert (film["codec_name"], film["pix_fmt"], film["nb_read_frames"]) == ("h264", "yuv420p", "5")
    assert (film["width"], film["height"]) == (64, 36)


def test_a_video_in_one_piece(farm: RealFarm, shots: Path) -> None:
    farm.start_node("one")
    ident = farm.submit(shots / "plain.blend", "1-6", type="blender-video", samples=1)
    job = farm.wait_for(ident, "done")
    film = streams(farm.version(job) / "plain.mp4")
    assert (film["codec_name"], film["nb_read_frames"]) == ("h264", "6")
    assert farm.api("GET", f"/api/jobs/{ident}/tasks")[1][0]["frames"] == [1, 6]
    assert job["newest"]["image"] == f"{job['folder']}/plain.mp4"


def test_a_new_type_is_a_file_and_its_comp_follows_frame_by_frame(farm: RealFarm, shots: Path) -> None:
    """Given a running farm, when a type's file is added, then it renders by programs that nobody knew of."""
    draw = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x36:rate=25", "-frames:v",
            "{count}", "-start_number", "{first}", "{scratch}/{stem}.%04d.png"]  # fmt: skip
    invert = ["ffmpeg", "-v", "error", "-i", "{folder}/{stem}.{padded}.png", ["-vf", "{filter}"],
              "{folder}/.{attempt}.{stem}_comp.{padded}.png"]  # fmt: skip
    stages = [
        {"name": "render", "per": "chunk", "chunk": 2, "programs": ["ffmpeg"], "commands": [
            {"do": "run", "argv": draw}, {"do": "move", "from": "{scratch}/*.png", "folder": "{folder}"},
            {"do": "verify", "least": "{count}", "width": 64, "height": 36}]},
        {"name": "comp", "after": [{"stage": "render", "by": "frame"}], "programs": ["ffmpeg"],
         "writes": "{stem}_comp.####", "commands": [{"do": "run", "argv": invert, "folder": "{folder}"}]},
    ]  # fmt: skip
    told = {
        "suffixes": [".blend"],
        "rank": 500,
        "settings": {"filter": {"default": "negate"}},
        "stages": stages,
    }
    (farm.config / "job_types" / "sketch.json").write_text(json.dumps(told))
    farm.start_node("one")
    until(lambda: "sketch" in [row["id"] for row in farm.api("GET", "/api/job_types")[1]])
    ident = farm.submit(shots / "plain.blend", "1-3", type="sketch")
    job = farm.wait_for(ident, "done", "failed")
    assert (job["state"], job["total"]) == ("done", 5), farm.api("GET", f"/api/jobs/{ident}/tasks")
    folder = farm.version(job)
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    assert names == [f"plain{comp}.{n:04d}.png" for comp in ("", "_comp") for n in (1, 2, 3)]
    with Image.open(folder / "plain.0003.png") as one, Image.open(folder / "plain_comp.0003.png") as other:
        pixels = [image.convert("RGB").getpixel((3, 3)) for image in (one, other)]
    assert [sum(pair) for pair in zip(*pixels, strict=True)] == [255, 255, 255]
    claims = [event["task"] for event in farm.events(ident, "claim")]
    assert sorted(claims) == [0, 1, 2, 3, 4]
