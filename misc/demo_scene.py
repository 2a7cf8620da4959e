"""Makes the demo's film: a croft, a day from dawn to dusk in 24 frames. Runs inside Blender:

blender --background --factory-startup --python misc/demo_scene.py -- first-day.blend
"""

import math
import sys

import bpy

FRAMES = 24
WIDTH, HEIGHT, SAMPLES = 480, 270, 12  # light enough for a class-room computer


def main(target: str) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    build(scene)
    animate_sun(scene)
    set_render(scene)
    # Without a screen the saved preview would be the factory's grey cube.
    bpy.context.preferences.filepaths.file_preview_type = "NONE"
    bpy.ops.wm.save_as_mainfile(filepath=target, compress=True)


def build(scene: "bpy.types.Scene") -> None:
    bpy.ops.mesh.primitive_uv_sphere_add(radius=40, location=(0, 0, -40), segments=96, ring_count=48)
    paint(bpy.context.object, "Meadow", (0.10, 0.30, 0.08))
    box("Walls", (0, 0, 0.9), (3.2, 2.2, 1.8), (0.80, 0.74, 0.62))
    box("Door", (0.5, -1.11, 0.6), (0.6, 0.06, 1.2), (0.05, 0.18, 0.30))
    box("Window", (-0.8, -1.11, 1.0), (0.7, 0.06, 0.6), (0.95, 0.80, 0.35))
    box("Chimney", (1.0, 0.2, 2.8), (0.4, 0.4, 1.0), (0.35, 0.18, 0.14))
    roof((3.8, 2.8, 1.3), 1.8, (0.42, 0.13, 0.08))
    for number, (x, y, size) in enumerate([(-3.6, 1.2, 1.3), (3.4, 2.0, 1.6), (4.6, -0.2, 1.0)]):
        bpy.ops.mesh.primitive_cone_add(radius1=size * 0.6, depth=size * 2.4, location=(x, y, size * 1.1))
        bpy.context.object.name = f"Fir {number + 1}"
        paint(bpy.context.object, "Fir", (0.04, 0.16, 0.08))
    smoke()
    bpy.ops.object.camera_add(location=(-5.5, -9.0, 3.0))
    camera = bpy.context.object
    bpy.ops.object.empty_add(location=(0.2, 0, 1.5))
    follow = camera.constraints.new("TRACK_TO")
    follow.target = bpy.context.object
    camera.data.lens = 31
    scene.camera = camera


def box(name: str, place: tuple, size: tuple, colour: tuple) -> None:
    bpy.ops.mesh.primitive_cube_add(size=1, location=place, scale=size)
    bpy.context.object.name = name
    paint(bpy.context.object, name, colour)


def roof(size: tuple, height: float, colour: tuple) -> None:
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    corners = [(-x, -y, 0), (x, -y, 0), (x, y, 0), (-x, y, 0), (-x, 0, z), (x, 0, z)]
    mesh = bpy.data.meshes.new("Roof")
    mesh.from_pydata(corners, [], [(0, 1, 5, 4), (2, 3, 4, 5), (0, 4, 3), (1, 2, 5), (0, 3, 2, 1)])
    made = bpy.data.objects.new("Roof", mesh)
    made.location.z = height
    bpy.context.collection.objects.link(made)
    paint(made, "Roof", colour)


def smoke() -> None:
    """Puffs that rise from the chimney, each a few frames behind the one before."""
    for number in range(4):
        bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=3, radius=0.25)
        puff = bpy.context.object
        paint(puff, "Smoke", (0.85, 0.85, 0.88))
        for frame in (1, FRAMES):
            risen = frame / FRAMES * 0.9 + number * 0.4
            puff.location = (1.0 + risen * 0.5, 0.2, 3.4 + risen)
            puff.scale = [0.6 + risen * 0.5] * 3
            puff.keyframe_insert("location", frame=frame)
            puff.keyframe_insert("scale", frame=frame)


def animate_sun(scene: "bpy.types.Scene") -> None:
    bpy.ops.object.light_add(type="SUN")
    sun = bpy.context.object
    sun.data.angle = math.radians(2)
    world = bpy.data.worlds.new("Sky")
    world.use_nodes = True
    scene.world = world
    sky = world.node_tree.nodes["Background"].inputs["Color"]
    for frame in range(1, FRAMES + 1):
        day = (frame - 1) / (FRAMES - 1)  # 0 at dawn, 1 at dusk
        height = math.sin(day * math.pi)
        sun.rotation_euler = (math.radians(80 - 45 * height), 0, math.radians(-75 + 150 * day))
        sun.data.energy = 1.2 + 1.5 * height
        sun.data.color = (1.0, 0.62 + 0.33 * height, 0.38 + 0.52 * height)
        sky.default_value = (0.30 + 0.05 * height, 0.28 + 0.25 * height, 0.36 + 0.50 * height, 1)
        sun.keyframe_insert("rotation_euler", frame=frame)
        sun.data.keyframe_insert("energy", frame=frame)
        sun.data.keyframe_insert("color", frame=frame)
        sky.keyframe_insert("default_value", frame=frame)


def set_render(scene: "bpy.types.Scene") -> None:
    scene.frame_start, scene.frame_end = 1, FRAMES
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = SAMPLES
    scene.cycles.use_denoising = False  # Debian's Blender is built without the denoiser
    scene.cycles.max_bounces = 3
    scene.render.resolution_x, scene.render.resolution_y = WIDTH, HEIGHT
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = "//render/first-day.####"


def paint(thing: "bpy.types.Object", name: str, colour: tuple) -> None:
    material = bpy.data.materials.get(name) or bpy.data.materials.new(name)
    material.use_nodes = True
    surface = material.node_tree.nodes["Principled BSDF"]
    surface.inputs["Base Color"].default_value = (*colour, 1)
    surface.inputs["Roughness"].default_value = 0.9
    thing.data.materials.append(material)


main(sys.argv[sys.argv.index("--") + 1])
