"""Makes misc/test_scene.blend, the small scene of setting up: four frames of a second each.

blender --background --factory-startup --python misc/test_scene.py -- misc/test_scene.blend
"""

import sys

import bpy

FRAMES, WIDTH, HEIGHT, SAMPLES = 4, 160, 90, 2


def main(target: str) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=1, radius=1)
    stone = bpy.context.object
    stone.keyframe_insert("rotation_euler", frame=1)
    stone.rotation_euler[2] = 1.5
    stone.keyframe_insert("rotation_euler", frame=FRAMES)
    bpy.ops.object.light_add(type="SUN", rotation=(0.6, 0.3, 0))
    bpy.context.object.data.energy = 3
    bpy.ops.object.camera_add(location=(0, -5, 0), rotation=(1.5708, 0, 0))
    scene.camera = bpy.context.object
    scene.frame_start, scene.frame_end = 1, FRAMES
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.device = SAMPLES, "CPU"
    scene.cycles.use_denoising = False  # Debian's Blender has no denoiser
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.image_settings.file_format = "PNG"
    bpy.context.preferences.filepaths.file_preview_type = "NONE"
    bpy.ops.wm.save_as_mainfile(filepath=target, compress=True)


main(sys.argv[-1])
