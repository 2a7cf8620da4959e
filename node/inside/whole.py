"""What is made in one run: videos, and pictures put together from their parts."""

from __future__ import annotations

import os
from typing import Any, Dict, List

import bpy

from .channel import Channel, Command, Frames, Refusal
from .outputs import aim_for_real, escaped, results
from .tiles import composited, finish_tree, own_tree, part_paths
from .wishes import operator_arguments

ENDINGS = {
    "MPEG4": ".mp4", "QUICKTIME": ".mov", "MKV": ".mkv", "AVI": ".avi", "WEBM": ".webm", "OGG": ".ogv",
    "MPEG1": ".mpg", "MPEG2": ".dvd", "FLASH": ".flv", "DV": ".dv", "H264": ".avi", "XVID": ".avi",
}  # fmt: skip


def special(channel: Channel, scene: Any, command: Command) -> None:
    """Videos, and pictures put together from parts: one after another."""
    while True:
        channel.answer("begun", attempt=command["attempt"])
        try:
            if command["do"] == "blender-video":
                found = render_video(channel, scene, command)
            else:
                found = assemble(scene, command)
            channel.answer("frame", attempt=command["attempt"], **found)
        except RuntimeError as error:
            channel.answer("failed", attempt=command["attempt"], text=str(error).strip())
        command = channel.next()


def assemble(scene: Any, command: Command) -> Dict[str, Any]:
    """Lays the parts over each other and has Blender write the picture as it writes any other, so that
    colours, dithering and the file format are those of a picture that was rendered whole."""
    why = composited(scene) if not scene.get("croft_parts") else ""
    if why:
        raise Refusal("its picture can't be put together from parts: %s. Render it whole." % why)
    scene["croft_parts"] = True
    tree = own_tree(scene)
    tree.nodes.clear()
    for image in [image for image in bpy.data.images if image.name.startswith("croft part")]:
        bpy.data.images.remove(image)
    below = None
    for path in part_paths(command):
        if not os.path.exists(path):
            raise Refusal("a part of the picture is missing: %s" % os.path.basename(path))
        image = bpy.data.images.load(path)
        image.name, image.alpha_mode = "croft part", "PREMUL"
        node = tree.nodes.new("CompositorNodeImage")
        node.image = image
        if below is None:
            below = node.outputs[0]
            continue
        over = tree.nodes.new("CompositorNodeAlphaOver")
        sockets = [socket for socket in over.inputs if socket.type == "RGBA"]
        tree.links.new(below, sockets[0])
        tree.links.new(node.outputs[0], sockets[1])
        below = over.outputs[0]
    finish_tree(tree, below)
    render = scene.render
    render.use_compositing, render.use_sequencer, render.use_border = True, False, False
    scene.frame_start = scene.frame_end = command["frame"]
    scene.frame_step = 1
    aim_for_real(scene, command)
    bpy.ops.render.render(**operator_arguments(scene, command))
    return results(scene, {**command, "view_layer": None})


def render_video(channel: Channel, scene: Any, command: Command) -> Dict[str, Any]:
    """All frames in one run, as `-a` does, into one file."""
    frames = Frames(command["frames"])
    if len(frames.parts) != 1:
        raise Refusal("a video is made of one range of frames, not of %r" % command["frames"])
    (part,) = frames.parts
    render = scene.render
    scene.frame_start, scene.frame_end, scene.frame_step = part[0], part[-1], part.step
    ffmpeg = render.image_settings.file_format == "FFMPEG"
    ending = ENDINGS.get(render.ffmpeg.format, ".mp4") if ffmpeg else ".avi"
    final = None
    if command["folder"]:
        name = os.path.splitext(command["name"])[0] + ending
        path = os.path.join(command["folder"], ".%s.%s" % (command["attempt"], name))
    else:
        final = bpy.path.abspath(render.frame_path(frame=part[0]))
        os.makedirs(os.path.dirname(final), exist_ok=True)
        path = os.path.join(os.path.dirname(final), ".%s.%s" % (command["attempt"], os.path.basename(final)))
    render.filepath = escaped(path)
    done: List[int] = []

    def written(scene: Any, *rest: Any) -> None:
        done.append(scene.frame_current)
        channel.answer("progress", done=len(done), of=len(part), frame=scene.frame_current)

    bpy.app.handlers.render_write.append(written)
    try:
        bpy.ops.render.render(**operator_arguments(scene, command))
    finally:
        bpy.app.handlers.render_write.remove(written)
    if len(done) != len(part):
        raise RuntimeError("Blender ended the video after %d of %d frames" % (len(done), len(part)))
    if not os.path.exists(path):
        raise RuntimeError("Blender wrote no video to %s" % path)
    file = {"path": path, "kind": "frame", "width": 0, "height": 0}
    return {"files": [{**file, "final": final} if final else file], "frame": [part[0], part[-1]]}
