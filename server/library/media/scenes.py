"""The facts of a scene, by blender-asset-tracer, from the blocks that `blend.read` kept.

Runs only inside the bounded helper: a malformed file makes the library raise anything.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from . import uses
from .blend import Blend

SCENES = 200  # how many are told
# What Blender itself allows; beyond it a number is damage.
FRAMES_MOST, RATE_MOST, PERCENTAGE_MOST, EDGE_MOST = 1_048_574, 1_000_000, 32_767, 1_000_000
DOSEQ, DOCOMP = 1 << 0, 1 << 6  # R_DOSEQ, R_DOCOMP of RenderData.scemode there
IMAGE_FORMATS = {  # R_IMF_IMTYPE_* of Blender's DNA_scene_types.h
    0: "TARGA", 1: "IRIS", 4: "JPEG", 14: "TARGA_RAW", 15: "AVI_RAW", 16: "AVI_JPEG", 17: "PNG", 20: "BMP",
    21: "HDR", 22: "TIFF", 23: "OPEN_EXR", 24: "FFMPEG", 26: "CINEON", 27: "DPX", 28: "OPEN_EXR_MULTILAYER",
    30: "JPEG2000", 34: "WEBP",
}  # fmt: skip


def facts(found: Blend) -> dict[str, Any]:
    """The facts for `file.json`, of what `read` found: see DESIGN's words; paths as the file has them.

    `blender` version, `compression`, `scenes` (each: name, frames [first, last], step, fps, resolution
    [w, h] in pixels as rendered, percentage, engine, output, format, camera, and where there is none
    whether it is `renderable` all the same), the present scene's own as `scene frames fps resolution engine
    output format camera renderable`, `libraries`, `textures`, and `uses` (each: path, kind
    `library image sound film font cache volume text`, absolute, packed); `simulated`: whether frames depend
    on those before them; `partial` where so much is in it that not every use was found, nor, perhaps, a
    simulation. Of a file that isn't `whole`: `why`, names and frames of scenes alone.
    """
    told: dict[str, Any] = {"blender": found.version, "compression": found.compression, "whole": found.whole}
    if not found.whole:
        told["why"] = found.why
        told["scenes"] = [
            {"name": name, "frames": [first, last]} for name, first, last in found.ranges[:SCENES]
        ]
        if found.ranges:
            told["scene"], told["frames"] = found.ranges[0][0], list(found.ranges[0][1:])
        return told
    current = 0
    with _opened(found.kept) as blendfile:
        glob = blendfile.find_blocks_from_code(b"GLOB")
        if glob:
            current = glob[0].get(b"curscene", default=0)
            minor = glob[0].get(b"minversion", default=0)
            told["reads_from"] = f"{minor // 100}.{minor % 100}" if minor else ""
        blocks = blendfile.find_blocks_from_code(b"SC")[:SCENES]
        scenes = [{**_scene(block), "_old": block.addr_old} for block in blocks]
        used = list(uses.of(blendfile))
        moves = uses.simulated(blendfile)
    present = next((scene for scene in scenes if scene["_old"] == current), scenes[0] if scenes else None)
    for scene in scenes:
        del scene["_old"]
    told["scenes"] = scenes
    if present is not None:
        told["scene"] = present["name"]
        told.update({key: value for key, value in present.items() if key != "name"})
    told["uses"] = used
    told["libraries"] = [one["path"] for one in used if one["kind"] == "library" and not one["packed"]]
    told["textures"] = [one["path"] for one in used if one["kind"] == "image" and not one["packed"]]
    if found.partial:
        told["partial"] = True
    if moves or not found.partial:
        told["simulated"] = moves
    return told


def _opened(kept: bytes) -> Any:
    """blender-asset-tracer's view of the kept blocks, through a file that is only in memory."""
    from blender_asset_tracer import blendfile

    memory = os.memfd_create("blend")
    with os.fdopen(memory, "wb") as file:
        file.write(kept)
        file.flush()
        return blendfile.BlendFile(Path(f"/proc/self/fd/{memory}"))


def _scene(block: Any) -> dict[str, Any]:
    """What one scene says of its render; what can't be is left out."""

    def render(name: bytes, default: Any = 0) -> Any:
        return block.get((b"r", name), default=default)

    told: dict[str, Any] = {"name": _text(block.id_name[2:])}
    first, last = int(render(b"sfra", 1)), int(render(b"efra", 1))
    if -FRAMES_MOST <= first <= FRAMES_MOST and -FRAMES_MOST <= last <= FRAMES_MOST:
        told["frames"] = [first, last]
        told["step"] = max(1, min(int(render(b"frame_step", 1)), FRAMES_MOST))
    rate, base = int(render(b"frs_sec", 24)), float(render(b"frs_sec_base", 1.0))
    if rate > 0 and math.isfinite(base) and base > 0 and rate / base < RATE_MOST:
        told["fps"] = round(rate / base, 3)
    percentage = int(render(b"size", 100)) or 100
    size = [int(render(b"xsch")) * percentage // 100, int(render(b"ysch")) * percentage // 100]
    if 0 < percentage <= PERCENTAGE_MOST and all(0 < edge <= EDGE_MOST for edge in size):
        told["resolution"], told["percentage"] = size, percentage
    told["engine"] = _text(render(b"engine", b""))
    told["output"] = _text(render(b"pic", b""))
    told["format"] = IMAGE_FORMATS.get(int(block.get((b"r", b"im_format", b"imtype"), default=-1)), "")
    told["camera"] = bool(block.get(b"camera", default=0))
    if not told["camera"]:
        told["renderable"] = _without_camera(block)
    return told


def _without_camera(block: Any) -> bool:
    """May a scene without a camera be rendered? By the video editor, the compositor or a marker's camera."""
    mode = int(block.get((b"r", b"scemode"), default=0))
    editing = block.get_pointer(b"ed", default=None) if mode & DOSEQ else None
    editor = editing is not None and bool(editing.get((b"seqbase", b"first"), default=0))
    nodes = block.get(b"use_nodes", default=0) or block.get(b"compositing_node_group", default=0)
    markers = block.get((b"markers", b"first"), default=0)
    return bool(editor or (mode & DOCOMP and nodes) or markers)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
