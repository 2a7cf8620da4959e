"""The renderer that a job asks for, in real Blenders: by plain names, whatever each Blender calls it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from node_farm import Farm, whole_log
from test_renderer import order

pytestmark = pytest.mark.timeout(150)  # real renders, on whatever machine

CLONE = Path(__file__).parents[2]
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[-2])
import bpy
from node.inside.channel import Refusal
from node.inside.wishes import render_with, resize
scene, told = bpy.context.scene, {}
for engine in ("workbench", "cycles", "eevee"):
    render_with(scene, engine)
    told[engine] = scene.render.engine
try:
    render_with(scene, "luxcore")
except Refusal as refusal:
    told["luxcore"] = str(refusal)
render = scene.render
render.resolution_x, render.resolution_y = 200, 100
for width, height in ((None, 50), (64, None), (30, 40)):
    resize(render, width, height)
    told[f"{width} {height}"] = [render.resolution_x, render.resolution_y]
    if width is None:
        assert render.resolution_percentage == 100
with open(sys.argv[-1], "w") as file:
    json.dump(told, file)
"""


@pytest.mark.parametrize("kind", ["program", "package"])
def test_each_renderer_by_its_plain_name(needs: Callable[[str], str], tmp_path: Path, kind: str) -> None:
    script, told = tmp_path / "look.py", tmp_path / "told.json"
    script.write_text(SCRIPT)
    if kind == "program":
        command = [needs("blender"), "-b", "--factory-startup", "--python-exit-code", "3", "--python"]
        command += [str(script), "--"]
    else:
        if importlib.util.find_spec("bpy") is None:
            absent = pytest.fail if os.environ.get("CI") else pytest.skip
            absent("needs the packages of requirements-blender.txt")
        command = [sys.executable, str(script)]
    subprocess.run([*command, str(CLONE), str(told)], check=True, capture_output=True, timeout=100)
    found = json.loads(told.read_text())
    assert "no renderer 'luxcore'" in found.pop("luxcore")
    assert found.pop("eevee").startswith("BLENDER_EEVEE")
    assert [found.pop(size) for size in ("None 50", "64 None", "30 40")] == [[100, 50], [64, 32], [30, 40]]
    assert found == {"workbench": "BLENDER_WORKBENCH", "cycles": "CYCLES"}


def test_a_scene_of_eevee_is_rendered_by_cycles(
    needs: Callable[[str], str], farm: Farm, tmp_path: Path
) -> None:
    """Eevee can't render without a screen, Cycles tells its samples: so the frame says who made it."""
    lines = "import bpy; s = bpy.context.scene; s.render.engine = 'BLENDER_EEVEE'; "
    lines += "s.cycles.samples, s.cycles.use_denoising = 2, False; "
    lines += "s.render.resolution_x, s.render.resolution_y = 32, 18; "
    lines += f"bpy.ops.wm.save_as_mainfile(filepath={str(tmp_path / 'eevee.blend')!r})"
    command = [needs("blender"), "-b", "--factory-startup", "--python-expr", lines]
    subprocess.run(command, check=True, capture_output=True, timeout=50)
    farm.give(order(farm, tmp_path, "eevee", 1, engine="cycles"))
    farm.node()
    farm.server.wait(lambda: farm.server.of("done") or farm.server.of("failed"), 60)
    assert [item["log"] for item in farm.server.of("failed")] == []
    assert "Sample 2/2" in whole_log(farm, "a1")[0]
