"""Real scenes, pictures and films, spoilt thousands of times: no crash, no hang, no memory, a sentence each.

`fuzzing.py` does it, in a process of its own; a failure prints the bytes that make it again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from .conftest import Scenes
from .fuzzing import MEMORY_MB, SECONDS

CLONE = Path(__file__).resolve().parents[2]
Needs = Callable[[str], str]

EXR = """
import bpy
scene = bpy.context.scene
scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = 'CYCLES', 1, False
scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 64, 36, 100
for kind, codec, name in (
    ('OPEN_EXR', 'ZIP', 'zip.exr'), ('OPEN_EXR', 'PIZ', 'piz.exr'),
    ('OPEN_EXR_MULTILAYER', 'ZIPS', 'many.exr'), ('PNG', None, 'frame.png'),
):
    scene.render.image_settings.file_format = kind
    if codec:
        scene.render.image_settings.exr_codec = codec
    scene.render.filepath = 'FOLDER/' + name
    bpy.ops.render.render(write_still=True)
"""


@pytest.fixture(scope="module")
def sources(scenes: Scenes, needs: Needs, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Whole files of each kind, made by the programs that people use."""
    folder = tmp_path_factory.mktemp("whole")
    script = folder / "render.py"
    script.write_text(EXR.replace("FOLDER", str(folder)))
    command = [needs("blender"), "-b", "--factory-startup", "--python-exit-code", "3"]
    command += ["--python", str(script)]
    subprocess.run(command, check=True, capture_output=True, timeout=50)
    film = folder / "film.mp4"
    command = [needs("ffmpeg"), "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x36:rate=24"]
    command += ["-f", "lavfi", "-i", "sine", "-t", "1", "-pix_fmt", "yuv420p", str(film)]
    subprocess.run(command, check=True, timeout=50)
    image = Image.effect_noise((96, 64), 60).convert("RGB")
    tags = image.getexif()
    tags[0x010F], tags[0x0110] = "Maker", "Camera"
    part = tags.get_ifd(0x8769)
    part[0x9003], part[0x829A], part[0x8827] = "2024:02:29 13:05:09", IFDRational(1, 250), 400
    image.save(folder / "photo.jpg", exif=tags)
    pictures = [folder / name for name in ("zip.exr", "piz.exr", "many.exr", "frame.png", "photo.jpg")]
    return [*scenes.all, film, *pictures]


def fuzz(sources: list[Path], seed: int, count: int, timeout_s: float) -> None:
    command = [sys.executable, "-m", "tests.library.fuzzing", str(seed), str(count), *map(str, sources)]
    done = subprocess.run(command, cwd=CLONE, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert not told["wrong"], json.dumps(told["wrong"][0])
    assert told["read"] == count
    assert told["memory_mb"] <= MEMORY_MB  # of the fork that took most
    assert told["own_mb"] < 300  # where ends are looked for, in the server itself
    assert told["slowest"][0] < 2 * SECONDS + 2
    read = sum(number for ending, number in told["ended"].items() if ending.endswith(" read"))
    assert count // 10 < read < count  # neither all refused nor all taken


@pytest.mark.timeout(180)  # each may take its seconds, on whatever machine
def test_spoilt_files_cost_nothing_but_themselves(sources: list[Path]) -> None:
    fuzz(sources, 20261122, 600, 150)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10))
def test_thousands_of_spoilt_files(sources: list[Path], seed: int) -> None:
    fuzz(sources, seed, 5000, 600)
