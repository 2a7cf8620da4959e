"""Why a frame of a scene may depend on the frames before it."""

from __future__ import annotations

from typing import Any, List, Set

import bpy

HANDLERS = (
    "frame_change_pre", "frame_change_post", "depsgraph_update_pre", "depsgraph_update_post",
    "render_pre", "render_post", "render_init", "render_write", "render_complete", "render_stats",
)  # fmt: skip


def reasons_for_order(scene: Any) -> List[str]:
    """Why a frame of this scene may depend on the frames before it; empty where it doesn't."""
    reasons: List[str] = []
    for name in HANDLERS:
        for function in getattr(bpy.app.handlers, name, ()):
            module = str(getattr(function, "__module__", ""))
            if not module.startswith(("bl_", "cycles", "bpy")):
                reasons.append("%s handler %s" % (name, getattr(function, "__name__", function)))
    world = scene.rigidbody_world
    if world is not None and world.enabled and world.collection and len(world.collection.objects):
        unbaked(reasons, "rigid body world", world.point_cache)
    for thing in scene.objects:
        for modifier in thing.modifiers:
            if modifier.show_render:
                simulation(reasons, "%s of %s" % (modifier.name, thing.name), modifier)
    return reasons[:20]


def unbaked(reasons: List[str], label: str, cache: Any) -> None:
    if cache is None or not cache.is_baked:
        reasons.append(label)


def simulation(reasons: List[str], label: str, modifier: Any) -> None:
    kind = modifier.type
    if kind in {"CLOTH", "SOFT_BODY"}:
        unbaked(reasons, label, modifier.point_cache)
    elif kind == "PARTICLE_SYSTEM":
        system = modifier.particle_system
        if system.settings.type != "HAIR" or system.use_hair_dynamics:
            unbaked(reasons, label, system.point_cache)
    elif kind == "DYNAMIC_PAINT" and modifier.canvas_settings is not None:
        for surface in modifier.canvas_settings.canvas_surfaces:
            if surface.is_active:
                unbaked(reasons, label, surface.point_cache)
    elif kind == "FLUID" and modifier.fluid_type == "DOMAIN":
        if not modifier.domain_settings.has_cache_baked_data:
            reasons.append(label)
    elif kind == "NODES" and modifier.node_group is not None and has_simulation(modifier.node_group, set()):
        reasons.append(label)


def has_simulation(tree: Any, seen: Set[str]) -> bool:
    if tree.name in seen:
        return False
    seen.add(tree.name)
    for node in tree.nodes:
        if node.bl_idname == "GeometryNodeSimulationOutput":
            return True
        inner = getattr(node, "node_tree", None)
        if inner is not None and has_simulation(inner, seen):
            return True
    return False
