"""Real scenes for the library's tests: made once by a real Blender, then taken apart as needed."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

MAKE = """
import bpy
bpy.context.preferences.filepaths.file_preview_type = 'CAMERA'
bpy.data.libraries.write('//lib.blend', set(bpy.data.materials))
scene = bpy.context.scene
scene.name = 'Walk'
scene.frame_start, scene.frame_end, scene.frame_step = 3, 26, 2
scene.render.fps, scene.render.fps_base = 30, 1.001
scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 640, 360, 50
scene.render.engine = 'CYCLES'
scene.render.filepath = '//render/walk_'
scene.render.image_settings.file_format = 'OPEN_EXR'
image = bpy.data.images.new('wood', 8, 8)
image.filepath, image.source, image.use_fake_user = '//tex/wood.png', 'FILE', True
packed = bpy.data.images.new('packed', 8, 8)
packed.use_fake_user = True
packed.pack()
bpy.data.scenes.new('Second')
with bpy.data.libraries.load('//lib.blend', link=True) as (there, here):
    here.materials = there.materials
bpy.data.meshes['Cube'].materials.append(here.materials[0])
for number in range(40):
    bpy.data.meshes.new('filler %d' % number).use_fake_user = True
bpy.ops.wm.save_as_mainfile(filepath='//plain.blend', compress=False)
bpy.ops.wm.save_as_mainfile(filepath='//zstd.blend', compress=True, copy=True)
bpy.ops.object.modifier_add(type='CLOTH')
bpy.ops.wm.save_as_mainfile(filepath='//cloth.blend', copy=True)
"""


@dataclass(frozen=True)
class Scenes:
    """The same scene, saved plain, packed as Blender 2.9 did (gzip) and as it does since 3.0 (zstd)."""

    plain: Path
    gzip: Path
    zstd: Path

    @property
    def all(self) -> tuple[Path, ...]:
        return (self.plain, self.gzip, self.zstd)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    """Scenes that a real Blender saved."""
    blender = shutil.which("blender")
    if blender is None:
        if os.environ.get("CI"):
            pytest.fail("needs Debian's package blender")
        pytest.skip("needs Debian's package blender")
    folder = tmp_path_factory.mktemp("scenes")
    script = folder / "make.py"
    script.write_text(MAKE.replace("//lib", f"{folder}/lib").replace("//plain", f"{folder}/plain").replace(
        "//zstd", f"{folder}/zstd").replace("//cloth", f"{folder}/cloth"))  # fmt: skip
    done = subprocess.run(
        [blender, "-b", "--factory-startup", "--python-exit-code", "3", "--python", str(script)],
        capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    packed = folder / "gzip.blend"
    packed.write_bytes(gzip.compress((folder / "plain.blend").read_bytes(), 4))
    return Scenes(folder / "plain.blend", packed, folder / "zstd.blend")
