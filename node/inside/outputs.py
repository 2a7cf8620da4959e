"""Where Blender writes a frame, what it left there, and a preview of what others can't show."""

from __future__ import annotations

import contextlib
import os
import traceback
from typing import Any, Dict, List, Optional, Set

import bpy

from .channel import Command
from .tiles import cut, percentage

# Pillow can't make thumbnails of these, so their outputs get a preview.
NEEDS_PREVIEW = {"OPEN_EXR", "OPEN_EXR_MULTILAYER", "HDR", "CINEON", "DPX"}
PREVIEW_WIDTH = 1280

held = ""  # what the names of File Output nodes' files begin with


def escaped(path: str) -> str:
    """Blender 5 reads braces in paths as variables."""
    return path.replace("{", "{{").replace("}", "}}") if bpy.app.version >= (5, 0, 0) else path


def aim_for_real(scene: Any, command: Command) -> None:
    """Aims at the attempt's own name. A job without a folder goes where the scene itself says: `final` is
    the name that Blender would give the frame; File Output nodes then keep their own paths."""
    if command.get("tile"):
        cut(scene, command["tile"])
    if not command["folder"]:
        scene["croft_output"] = scene.get("croft_output") or scene.render.filepath
        scene.render.filepath = scene["croft_output"]
        command["final"] = scene.render.frame_path(frame=command["frame"])
        folder = os.path.dirname(command["final"])
        os.makedirs(folder, exist_ok=True)
        scene.render.filepath = escaped(os.path.join(folder, ".%s.####" % command["attempt"]))
        return
    aim(scene, command["folder"], ".%s.%s" % (command["attempt"], command["name"]))


def aim(scene: Any, folder: str, name: str) -> None:
    scene.render.filepath = escaped(os.path.join(folder, name))


def holding_prefix(command: Command) -> str:
    """How names of File Output nodes' files begin until their frame is done. An animation under way doesn't
    see later changes of the nodes, so it is the same for all frames: it looks like one more attempt of the
    job, whose leavings the server sweeps up."""
    return ".%s.%x." % (command["attempt"].rpartition(".")[0] or command["attempt"], os.getpid() & 0xFFFF)


def hold_outputs(scene: Any, command: Command) -> None:
    """Lets File Output nodes write into the version's folder, aside."""
    global held
    held = holding_prefix(command)
    prefix = held + command["name"].replace("#", "").rstrip(".")
    used: Set[str] = set()
    for node in file_output_nodes(scene):
        redirect(node, command["folder"], prefix, used)


def held_outputs(folder: str) -> List[str]:
    return [name for name in os.listdir(folder) if held and name.startswith(held)]


def drop_outputs(scene: Any, folder: Optional[str]) -> None:
    """Of a frame that nobody has asked for."""
    if folder and file_output_nodes(scene):
        for name in held_outputs(folder):
            os.unlink(os.path.join(folder, name))


def file_output_nodes(scene: Any) -> List[Any]:
    if hasattr(scene, "compositing_node_group"):
        tree = scene.compositing_node_group
    else:
        tree = scene.node_tree if scene.use_nodes else None
    found: List[Any] = []
    seen: Set[str] = set()
    waiting = [tree]
    while waiting:
        tree = waiting.pop()
        if tree is None or tree.name in seen:
            continue
        seen.add(tree.name)
        for node in tree.nodes:
            if node.type == "OUTPUT_FILE" and not node.mute:
                found.append(node)
            elif getattr(node, "node_tree", None) is not None:
                waiting.append(node.node_tree)
    return found


def redirect(node: Any, folder: str, prefix: str, used: Set[str]) -> None:
    """Keeps what the artist called the output, within the version's flat folder."""
    known = described(node)

    def name(text: str, fallback: str) -> str:
        base = os.path.basename(text.replace("\\", "/").rstrip("/")).strip("_.# ").replace("#", "")
        base = plain(base) or plain(fallback)
        number, unique = 2, base
        while unique in used:
            unique, number = "%s%d" % (base, number), number + 1
        used.add(unique)
        return unique

    if known["new"]:
        node.directory = escaped(folder)
        node.file_name = escaped("%s.%s." % (prefix, name(known["base"], node.name)))
        if not known["layers"]:
            for item, text in zip(node.file_output_items, known["slots"]):
                item.name = plain(text) + "."  # the frame number follows at once
    elif known["layers"]:
        file_name = "%s.%s.####" % (prefix, name(known["base"], node.name))
        node.base_path = escaped(os.path.join(folder, file_name))
    else:
        node.base_path = escaped(folder)
        for slot, text in zip(node.file_slots, known["slots"]):
            slot.path = escaped("%s.%s.####" % (prefix, name(text, node.name)))


def described(node: Any) -> Dict[str, Any]:
    """The node's own paths, before they were changed. Blender 5 names them otherwise than 3 and 4."""
    layers = node.format.file_format == "OPEN_EXR_MULTILAYER"
    if hasattr(node, "file_output_items"):
        slots = [item.name for item in node.file_output_items]
        base = node.file_name or os.path.basename(node.directory.rstrip("/\\"))
        return {"new": True, "layers": layers, "base": base, "slots": slots}
    slots = [] if layers else [slot.path for slot in node.file_slots]
    return {"new": False, "layers": layers, "base": node.base_path, "slots": slots}


def plain(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text)


def results(scene: Any, command: Command) -> Dict[str, Any]:
    """What the frame left in the folder: the frame itself, a preview where needed, other outputs."""
    folder, frame = command["folder"], command["frame"]
    render = scene.render
    main = render.frame_path(frame=frame)
    width = int(render.resolution_x * percentage(render))
    height = int(render.resolution_y * percentage(render))
    if render.use_border and render.use_crop_to_border:
        width = height = 0  # rounding is Blender's affair
    kind = "part" if command.get("tile") else "frame"
    files = [{"path": main, "kind": kind, "width": width, "height": height}]
    if command.get("tile"):
        return {"files": files, "frame": frame}
    if not folder:
        files = own_files(render, files[0], command["final"])
        place, name = os.path.split(files[0]["final"])
        add_preview(scene, files, os.path.join(place, ".%s.%s.png" % (command["attempt"], name)))
        return {"files": files, "frame": frame}
    extras = bool(file_output_nodes(scene))
    if extras or render.use_multiview:
        prefix = ".%s." % command["attempt"]
        for name in held_outputs(folder):
            os.rename(os.path.join(folder, name), os.path.join(folder, prefix + name[len(held) :]))
        views = os.path.splitext(main)[0] + "_"
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            if not name.startswith(prefix) or path == main:
                continue
            view = render.use_multiview and path.startswith(views)
            size = {"width": width, "height": height} if view else {"width": 0, "height": 0}
            files.append({"path": path, "kind": "frame" if view else "extra", **size})
        if render.use_multiview and not os.path.exists(main):
            files.pop(0)
    add_preview(scene, files, main + ".png")
    return {"files": files, "frame": frame}


def add_preview(scene: Any, files: List[Dict[str, Any]], path: str) -> None:
    """Of a picture that others can't show."""
    image = scene.render.image_settings
    if image.file_format not in NEEDS_PREVIEW and not deep_tiff(image):
        return
    try:
        save_preview(scene, path)
        files.append({"path": path, "kind": "preview", "width": 0, "height": 0})
    except Exception:
        traceback.print_exc()  # a frame without a preview is still a frame


def own_files(render: Any, main: Dict[str, Any], final: str) -> List[Dict[str, Any]]:
    """What belongs where the scene itself says: the frame, or each of its views."""
    if os.path.exists(main["path"]) or not render.use_multiview:
        return [{**main, "final": final}]
    folder, name = os.path.split(main["path"])
    stem, found = os.path.splitext(name)[0] + "_", []
    for view in sorted(other for other in os.listdir(folder) if other.startswith(stem)):
        place = os.path.splitext(final)[0] + "_" + view[len(stem) :]
        found.append({**main, "path": os.path.join(folder, view), "final": place})
    return found or [{**main, "final": final}]


def writes_elsewhere(scene: Any) -> bool:
    """Nodes keep their own paths: what they write must always be the whole picture of a frame in its turn."""
    return not held and bool(file_output_nodes(scene))


def deep_tiff(image_settings: Any) -> bool:
    return bool(image_settings.file_format == "TIFF" and image_settings.color_depth == "16")


def save_preview(scene: Any, path: str) -> None:
    """The picture as the screen shows it, with its transparency, at most PREVIEW_WIDTH wide."""
    image = scene.render.image_settings
    keys = ("media_type", "file_format", "color_mode", "color_depth", "views_format")
    kept = {key: getattr(image, key, None) for key in keys}
    alpha = image.color_mode == "RGBA"
    try:
        if kept["media_type"] is not None:
            image.media_type = "IMAGE"
        image.file_format, image.color_mode, image.color_depth = "PNG", "RGBA" if alpha else "RGB", "8"
        if scene.render.use_multiview:
            image.views_format = "INDIVIDUAL"
        bpy.data.images["Render Result"].save_render(path, scene=scene)
        if scene.render.use_multiview:
            keep_first_view(path)
    finally:
        for key, value in kept.items():
            if value is not None:
                with contextlib.suppress(TypeError):
                    setattr(image, key, value)
    if scene.render.resolution_x * percentage(scene.render) > PREVIEW_WIDTH:
        picture = bpy.data.images.load(path)
        try:
            width, height = picture.size
            picture.scale(PREVIEW_WIDTH, max(1, height * PREVIEW_WIDTH // width))
            picture.save()
        finally:
            bpy.data.images.remove(picture)


def keep_first_view(path: str) -> None:
    """Several views were saved as `x_L.png`, `x_R.png`: one is enough to show."""
    folder, name = os.path.split(path)
    stem = os.path.splitext(name)[0] + "_"
    views = sorted(other for other in os.listdir(folder) if other.startswith(stem))
    for number, view in enumerate(views):
        if number:
            os.unlink(os.path.join(folder, view))
        else:
            os.replace(os.path.join(folder, view), path)
