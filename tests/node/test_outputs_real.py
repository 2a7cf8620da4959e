"""Where a render's files come to lie, and what is in them: as bare Blender has it, in both modes.

Each scene is rendered by `blender -b FILE -s … -e … -a`, and by the farm to the scene's own path and into a
version. Cycles notes in each file how long it took, so it is the pixels that are compared.
"""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from real_farm import RealFarm, Record, until

pytestmark = pytest.mark.timeout(150)  # real renders, on whatever machine

SCRIPT = Path(__file__).with_name("output_scenes.py")
FRAMES = ("11", "12")
COUNT = (
    "import bpy; g = bpy.context.evaluated_depsgraph_get(); "
    "bpy.context.scene.frame_set(12); g = bpy.context.evaluated_depsgraph_get(); "
    "s = bpy.data.objects['Cube'].evaluated_get(g).particle_systems[0]; "
    "print('PARTICLES', sum(p.alive_state == 'ALIVE' for p in s.particles))"
)
QUICK = ("several", "nodes", "stereo", "baked")
ALL = (*QUICK, "hashes", "bare", "exr", "layers")


def blender(*arguments: str) -> str:
    done = subprocess.run(["blender", "-b", *arguments], check=True, capture_output=True, timeout=55)
    return done.stdout.decode("utf-8", "replace")


class Rendered:
    """Scenes, what bare Blender made of them, and a farm that has rendered them twice."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self.bare = folder / "bare"
        self.bare.mkdir()
        blender("--factory-startup", "--python", str(SCRIPT), "--", str(self.bare), *names)
        self.farm = RealFarm(folder / "farm")
        self.farm.start_node("n1")
        self.jobs: dict[tuple[str, str], str] = {}
        for name in names:
            own = self.farm.shots / name
            own.mkdir()
            for path in self.bare.glob(f"*{name}"):  # its simulation
                shutil.copytree(path, own / path.name)
            shutil.copy(self.bare / f"{name}.blend", own)
            for output in ("scene", "version"):
                request: dict[str, Any] = {
                    "file": f"data::demo/shots/{name}/{name}.blend",
                    "frames": "-".join(FRAMES),
                    "output": output,
                }
                self.jobs[name, output] = self._submit(request)
        arguments = []
        for name in names:
            home = self.bare / f"of {name}"
            home.mkdir()
            for path in self.bare.glob(f"*{name}*"):
                if path != home:
                    path.rename(home / path.name)
            arguments += [str(home / f"{name}.blend"), "-s", FRAMES[0], "-e", FRAMES[1], "-a"]
        blender(*arguments)

    def _submit(self, request: Record) -> str:
        status, job = until(lambda: self.farm._submitted(request))
        assert status == 201, job
        return str(job["id"])

    def ended(self, ident: str) -> Record:
        """The job, once it is over and put away."""

        def over() -> Record | None:
            job = self.farm.job(ident)
            return job if job["state"] in ("done", "failed", "paused") else None

        found: Record = until(over, 50)
        return found

    def wanted(self, name: str) -> dict[str, bytes]:
        return made_in(self.bare / f"of {name}")

    def own(self, name: str) -> dict[str, bytes]:
        return made_in(self.farm.shots / name)


def pixels(path: Path) -> bytes:
    """What a picture shows; of OpenEXR all that comes after its header."""
    content = path.read_bytes()
    if path.suffix == ".mp4":
        return b""
    if content[:4] != b"\x76\x2f\x31\x01":
        with Image.open(io.BytesIO(content)) as image:
            return image.tobytes()
    place = 8
    while content[place]:  # name, type, size, value
        place = content.index(b"\0", content.index(b"\0", place) + 1) + 1
        place += 4 + int.from_bytes(content[place : place + 4], "little")
    return content[int.from_bytes(content[place + 1 : place + 9], "little") :]


def made_in(folder: Path) -> dict[str, bytes]:
    """What was rendered, by path."""
    return {
        str(path.relative_to(folder)): pixels(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not {".croft", "render"} & set(path.relative_to(folder).parts)
        and ".blend" not in path.name
        and path.suffix != ".json"
        and not path.parent.name.startswith("blendcache_")
    }


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Rendered]:
    asked = [
        getattr(item, "callspec", None) for item in request.session.items if item.fspath == request.fspath
    ]
    names = dict.fromkeys([*(spec.params["name"] for spec in asked if spec is not None), "baked"])
    made = Rendered(tmp_path_factory.mktemp("outputs"), tuple(names))
    yield made
    made.farm.close()


@pytest.mark.parametrize(
    "name", [*QUICK, *(pytest.param(name, marks=pytest.mark.soak) for name in ALL if name not in QUICK)]
)
def test_both_modes_give_what_bare_blender_gives(rendered: Rendered, name: str) -> None:
    farm, wanted = rendered.farm, rendered.wanted(name)
    assert wanted
    own = rendered.ended(rendered.jobs[name, "scene"])
    assert own["state"] == "done", own["why"]
    assert rendered.own(name) == wanted
    assert farm.api("GET", f"/api/jobs/{own['id']}")[1]["folder"] is None
    rows = farm.api("GET", f"/api/jobs/{own['id']}/frames")[1]
    assert all((farm.data / row["path"].partition("::")[2]).stat().st_size <= row["bytes"] for row in rows)
    assert [row["frame"] for row in rows] == [int(frame) for frame in FRAMES]
    job = rendered.ended(rendered.jobs[name, "version"])
    assert job["state"] == "done", job["why"]
    version = made_in(farm.data / job["folder"].partition("::")[2])
    frames = {path: content for path, content in version.items() if path.startswith(f"{name}.00")}
    assert sorted(frames.values()) == sorted(
        content for path, content in wanted.items() if path.startswith("out")
    )
    extras = [path for path in version if path not in frames and not path.endswith(".mp4")]
    assert len(extras) == len([path for path in wanted if not path.startswith("out")])
    assert [version[path] for path in sorted(extras)] == [
        wanted[path] for path in sorted(wanted) if not path.startswith("out")
    ]


def test_the_simulation_that_was_baked_is_the_one_that_is_rendered(rendered: Rendered) -> None:
    # Given a scene with 146 particles on the disk, and its snapshot while the job waits
    farm = rendered.farm
    home = farm.shots / "baked"
    farm.api("POST", "/api/farm/pause")
    request = {"file": "data::demo/shots/baked/baked.blend", "frames": "12"}
    ident = rendered._submit(request)
    copy = home / f".baked.{ident}.blend"
    # When the student frees the bake
    shutil.rmtree(home / "blendcache_baked")
    # Then the snapshot still has them all, and without its own caches it wouldn't
    assert "PARTICLES 146" in blender(str(copy), "--python-expr", COUNT)
    alone = home / "alone.blend"
    shutil.copy(copy, alone)
    assert "PARTICLES 146" not in blender(str(alone), "--python-expr", COUNT)
    farm.api("POST", "/api/farm/resume")
    job = rendered.ended(ident)
    version = made_in(farm.data / job["folder"].partition("::")[2])
    assert version["baked.0012.png"] == rendered.wanted("baked")["out/p_0012.png"]
    until(lambda: not list(home.glob("*blendcache_.*")))
