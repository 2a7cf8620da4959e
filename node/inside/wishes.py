"""Makes an opened scene what a command asks for."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Optional

import bpy

from .channel import Command, Refusal
from .outputs import hold_outputs
from .tiles import composited

ENGINES = {
    "cycles": ("CYCLES",),
    "eevee": ("BLENDER_EEVEE_NEXT", "BLENDER_EEVEE"),
    "workbench": ("BLENDER_WORKBENCH",),
}
MOVIES = {"FFMPEG", "AVI_JPEG", "AVI_RAW"}


def choose(command: Command) -> Any:
    """Makes the scene what the command asks for; without wishes it stays as the file has it."""
    if command.get("scene"):
        if command["scene"] not in bpy.data.scenes:
            raise Refusal("the file has no scene named %r" % command["scene"])
        for window in bpy.context.window_manager.windows:
            window.scene = bpy.data.scenes[command["scene"]]
    scene = bpy.data.scenes[command["scene"]] if command.get("scene") else bpy.context.scene
    if command.get("view_layer") and command["view_layer"] not in scene.view_layers:
        raise Refusal("the scene has no view layer named %r" % command["view_layer"])
    if command.get("camera"):
        camera = bpy.data.objects.get(command["camera"])
        if camera is None or camera.type != "CAMERA":
            raise Refusal("the file has no camera named %r" % command["camera"])
        for marker in scene.timeline_markers:
            marker.camera = None  # a bound marker would switch back
        scene.camera = camera
    image = scene.render.image_settings
    wanted = command.get("format")
    if not wanted and (image.file_format in MOVIES or getattr(image, "media_type", "") == "VIDEO"):
        wanted = "PNG"  # a film can't be made of separate frames
    if command.get("width") or command.get("height"):
        resize(scene.render, command.get("width"), command.get("height"))
    if command.get("percentage"):
        scene.render.resolution_percentage = command["percentage"]
    if command.get("engine"):
        render_with(scene, command["engine"])
    if command.get("samples"):
        sample(scene, command["samples"])
    if command.get("do") == "blender-video":
        film(scene)
        wanted = None
    if command.get("tile"):
        why = composited(scene)
        if why:
            raise Refusal("its picture can't be put together from parts: %s. Render it whole." % why)
        wanted = "OPEN_EXR"
    if wanted:
        if hasattr(image, "media_type"):
            image.media_type = "MULTI_LAYER_IMAGE" if wanted == "OPEN_EXR_MULTILAYER" else "IMAGE"
        image.file_format = wanted
    if command.get("tile"):
        image.color_mode, image.color_depth, image.exr_codec = "RGBA", "32", "ZIP"
    if command["folder"]:
        scene.render.use_file_extension = True
    scene.render.use_overwrite = True
    scene.render.use_placeholder = False
    if command["folder"] and command.get("do") != "blender-assemble" and not command.get("tile"):
        hold_outputs(scene, command)
    return scene


def render_with(scene: Any, engine: str) -> None:
    """The renderer by its plain name: Blender's own name for Eevee changed twice."""
    if engine == "cycles" and not hasattr(scene, "cycles"):
        bpy.ops.preferences.addon_enable(module="cycles")
    for name in ENGINES.get(engine, (engine,)):
        try:
            scene.render.engine = name
            return
        except TypeError:  # this Blender calls it otherwise, or hasn't got it
            continue
    raise Refusal("this Blender has no renderer %r" % engine)


def resize(render: Any, width: Optional[int], height: Optional[int]) -> None:
    """In pixels; where one of them isn't said, the picture keeps its shape."""
    shape = render.resolution_x / render.resolution_y
    render.resolution_x = width or max(4, round((height or 4) * shape))
    render.resolution_y = height or max(4, round((width or 4) / shape))
    render.resolution_percentage = 100


def sample(scene: Any, samples: int) -> None:
    """How often each pixel is looked at, whichever engine does it."""
    if hasattr(scene, "cycles"):
        scene.cycles.samples = samples
    if hasattr(scene.eevee, "taa_render_samples"):
        scene.eevee.taa_render_samples = samples


def is_film(scene: Any) -> bool:
    image = scene.render.image_settings
    return image.file_format in MOVIES or getattr(image, "media_type", "") == "VIDEO"


def film(scene: Any) -> None:
    """The scene's own kind of video; H.264 in MP4 where it has none."""
    if is_film(scene):
        return
    image = scene.render.image_settings
    if hasattr(image, "media_type"):
        image.media_type = "VIDEO"
    image.file_format = "FFMPEG"
    scene.render.ffmpeg.format = "MPEG4"
    scene.render.ffmpeg.codec = "H264"
    scene.render.ffmpeg.constant_rate_factor = "HIGH"


def operator_arguments(scene: Any, command: Command) -> Dict[str, Any]:
    arguments: Dict[str, Any] = {"animation": True, "scene": scene.name}
    if command.get("view_layer"):
        arguments["layer"] = command["view_layer"]
    return arguments


def missing_files() -> List[str]:
    """Libraries and pictures that the scene names and the disk hasn't; Blender itself only mutters."""
    libraries = [library.filepath for library in bpy.data.libraries]
    missing = [path for path in libraries if not os.path.exists(bpy.path.abspath(path))]
    for image in bpy.data.images:
        if image.source == "FILE" and image.filepath and not image.packed_file:
            path = bpy.path.abspath(image.filepath, library=image.library)
            if "<UDIM>" not in path and not os.path.exists(path):
                missing.append(image.filepath)
    return missing[:20]
