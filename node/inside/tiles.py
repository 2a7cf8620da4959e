"""Parts of a picture that are rendered each for itself, and put together again."""

from __future__ import annotations

import os
from typing import Any, List

import bpy

from .channel import Command


def percentage(render: Any) -> float:
    return float(render.resolution_percentage) / 100.0


def composited(scene: Any) -> str:
    """Why a part of the picture isn't a part of the whole; empty where it is."""
    tree = scene.compositing_node_group if hasattr(scene, "compositing_node_group") else scene.node_tree
    used = scene.use_nodes if not hasattr(scene, "compositing_node_group") else True
    if scene.render.use_compositing and used and tree is not None:
        return "the scene composites it"
    strips = scene.sequence_editor
    if (
        scene.render.use_sequencer
        and strips is not None
        and len(getattr(strips, "strips", None) or strips.sequences)
    ):
        return "the scene edits it"
    if scene.render.use_multiview:
        return "it has several views"
    return ""


def cut(scene: Any, tile: List[int]) -> None:
    """Only this part of the picture is rendered, in its place; the rest stays empty. The borders are whole
    pixels, the same for the parts on both sides."""
    column, row, columns, rows = tile
    render = scene.render
    width, height = (int(side * percentage(render)) for side in (render.resolution_x, render.resolution_y))
    render.use_border, render.use_crop_to_border = True, False

    def edge(at: int, of: int, size: int) -> float:
        return 1.0 if at == of else (size * at // of + 0.25) / size if at else 0.0

    render.border_min_x, render.border_max_x = edge(column, columns, width), edge(column + 1, columns, width)
    render.border_min_y, render.border_max_y = edge(row, rows, height), edge(row + 1, rows, height)


def part_paths(command: Command) -> List[str]:
    frame = command["frame"]
    digits = "%04d" % frame if frame >= 0 else "-%04d" % -frame
    base = os.path.join(command["folder"], command["parts"].replace("####", digits))
    places = [(column, row) for row in range(command["rows"]) for column in range(command["columns"])]
    return ["%s.c%dr%d.exr" % (base, column + 1, row + 1) for column, row in places]


def own_tree(scene: Any) -> Any:
    """The scene's compositor, made where there is none."""
    if hasattr(scene, "compositing_node_group"):
        if scene.compositing_node_group is None:
            scene.compositing_node_group = bpy.data.node_groups.new("croft", "CompositorNodeTree")
        return scene.compositing_node_group
    scene.use_nodes = True
    return scene.node_tree


def finish_tree(tree: Any, picture: Any) -> None:
    if hasattr(tree, "interface") and bpy.app.version >= (5, 0, 0):
        if not len(tree.interface.items_tree):
            tree.interface.new_socket(name="Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        end = tree.nodes.new("NodeGroupOutput")
    else:
        end = tree.nodes.new("CompositorNodeComposite")
    tree.links.new(picture, end.inputs[0])
