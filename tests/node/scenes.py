"""Makes the tiny scenes that the node's tests render. Runs inside Blender, 3.4 or 5:

blender -b --factory-startup --python scenes.py -- KIND FILE
"""

import os
import sys

import bpy

LAST = 12


def base():
    """The start-up cube, moving, 64x36 pixels of two samples: a frame takes a few hundredths of a second."""
    bpy.ops.wm.read_factory_settings()
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 2
    scene.cycles.use_denoising = False
    scene.render.resolution_x, scene.render.resolution_y = 64, 36
    scene.render.resolution_percentage = 100
    scene.frame_start, scene.frame_end = 1, LAST
    return scene


def moving(scene):
    cube = bpy.data.objects["Cube"]
    cube.keyframe_insert("location", frame=1)
    cube.location.x = 3
    cube.keyframe_insert("location", frame=LAST)
    return cube


def floor():
    bpy.ops.mesh.primitive_plane_add(size=20, location=(0, 0, -1.2))
    return bpy.context.object


def active(thing):
    bpy.context.view_layer.objects.active = thing
    return thing


def rigid(scene):
    ground = floor()
    bpy.ops.rigidbody.object_add(type="PASSIVE")
    cube = active(bpy.data.objects["Cube"])
    cube.location.z, cube.rotation_euler = 1, (0.4, 0.3, 0)
    bpy.ops.rigidbody.object_add(type="ACTIVE")
    return ground


def subdivided():
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=12, y_subdivisions=12, size=4, location=(0, 0, 1))
    return bpy.context.object


def cloth(scene):
    sheet = subdivided()
    sheet.modifiers.new("Cloth", "CLOTH")
    cube = bpy.data.objects["Cube"]
    cube.modifiers.new("Collision", "COLLISION")


def soft(scene):
    sheet = subdivided()
    sheet.modifiers.new("Softbody", "SOFT_BODY")
    sheet.soft_body.use_goal = False
    bpy.data.objects["Cube"].modifiers.new("Collision", "COLLISION")


def particles(scene):
    cube = bpy.data.objects["Cube"]
    cube.modifiers.new("Particles", "PARTICLE_SYSTEM")
    settings = cube.particle_systems[0].settings
    settings.count, settings.frame_end, settings.lifetime = 60, 8, 30
    settings.particle_size = 0.15
    settings.render_type = "OBJECT"
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=1, location=(50, 0, 0))
    settings.instance_object = bpy.context.object


def paint(scene):
    canvas = subdivided()
    canvas.location.z = 0.5
    cube = moving(scene)
    active(canvas)
    bpy.ops.object.modifier_add(type="DYNAMIC_PAINT")
    bpy.ops.dpaint.type_toggle(type="CANVAS")
    surface = canvas.modifiers[0].canvas_settings.canvas_surfaces[0]
    surface.surface_type = "DISPLACE"
    active(cube)
    bpy.ops.object.modifier_add(type="DYNAMIC_PAINT")
    bpy.ops.dpaint.type_toggle(type="BRUSH")


def fluid(scene):
    cube = bpy.data.objects["Cube"]
    active(cube)
    bpy.ops.object.select_all(action="DESELECT")
    cube.select_set(True)
    bpy.ops.object.quick_smoke()
    for thing in bpy.data.objects:
        for modifier in thing.modifiers:
            if modifier.type == "FLUID" and modifier.fluid_type == "DOMAIN":
                modifier.domain_settings.resolution_max = 12
                modifier.domain_settings.cache_type = "REPLAY"


HANDLER = """
import bpy
def step(scene, *rest):
    cube = bpy.data.objects["Cube"]
    cube["steps"] = cube.get("steps", 0) + 1
    cube.location.x = cube["steps"] * 0.25
bpy.app.handlers.frame_change_pre.append(step)
"""

CRASH = """
import bpy, os
def boom(frame):
    if frame == 5:
        print("this scene ends Blender at frame 5", flush=True)
        os.abort()
    return frame / 10
bpy.app.driver_namespace["boom"] = boom
"""


def script(scene, text):
    block = bpy.data.texts.new("handler.py")
    block.write(text)
    block.use_module = True


def crash(scene):
    """A driver, which unlike a handler doesn't make the frames depend on each other."""
    script(scene, CRASH)
    bpy.data.objects["Cube"].driver_add("location", 0).driver.expression = "boom(frame)"


def compositor(scene):
    """Two File Output nodes: one of PNG images, one multilayer EXR."""
    moving(scene)
    view_layer = scene.view_layers[0]
    view_layer.use_pass_z = True
    if hasattr(scene, "compositing_node_group"):
        tree = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
        scene.compositing_node_group = tree
        layers = tree.nodes.new("CompositorNodeRLayers")
        group_out = tree.nodes.new("NodeGroupOutput")
        tree.interface.new_socket(name="Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        tree.links.new(layers.outputs["Image"], group_out.inputs[0])
        images = tree.nodes.new("CompositorNodeOutputFile")
        images.directory, images.file_name = "/tmp/never/", "beauty_"
        images.format.media_type = "IMAGE"
        images.format.file_format = "PNG"
        images.file_output_items.new("RGBA", "copy")
        deep = tree.nodes.new("CompositorNodeOutputFile")
        deep.directory, deep.file_name = "/tmp/never/", "depth"
        deep.format.media_type = "MULTI_LAYER_IMAGE"
        deep.file_output_items.new("FLOAT", "Z")
        tree.links.new(layers.outputs["Image"], images.inputs[0])
        tree.links.new(layers.outputs["Depth"], deep.inputs[0])
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        layers = tree.nodes["Render Layers"]
        images = tree.nodes.new("CompositorNodeOutputFile")
        images.base_path = "/tmp/never"
        images.file_slots[0].path = "sub/beauty_"
        deep = tree.nodes.new("CompositorNodeOutputFile")
        deep.base_path = "/tmp/never/depth"
        deep.format.file_format = "OPEN_EXR_MULTILAYER"
        tree.links.new(layers.outputs["Image"], images.inputs[0])
        tree.links.new(layers.outputs["Depth"], deep.inputs[0])


def exr(scene):
    moving(scene)
    if hasattr(scene.render.image_settings, "media_type"):
        scene.render.image_settings.media_type = "IMAGE"
    scene.render.image_settings.file_format = "OPEN_EXR"
    scene.render.image_settings.color_mode = "RGBA"
    scene.render.film_transparent = True


def slow(scene):
    """Long enough to be caught in the middle of a frame."""
    moving(scene)
    scene.cycles.samples, scene.cycles.use_adaptive_sampling = 3000, False


def denoised(scene):
    """What Debian's Blender can't do: it is built without a denoiser."""
    scene.cycles.use_denoising = True


def heavy(scene):
    """The figure's scene: light frames of a fair fraction of a second."""
    moving(scene)
    scene.render.resolution_x, scene.render.resolution_y = 320, 180
    scene.cycles.samples = 16


KINDS = {
    "plain": moving,
    "rigid": rigid,
    "cloth": cloth,
    "soft": soft,
    "particles": particles,
    "paint": paint,
    "fluid": fluid,
    "handler": lambda scene: script(scene, HANDLER),
    "crash": crash,
    "compositor": compositor,
    "exr": exr,
    "denoised": denoised,
    "light": heavy,
    "slow": slow,
}


def main():
    arguments = sys.argv[sys.argv.index("--") + 1 :]
    for kind, path in zip(arguments[::2], arguments[1::2], strict=True):
        scene = base()
        scene.render.filepath = os.path.splitext(path)[0] + "_"
        KINDS[kind](scene)
        scene.frame_set(1)
        bpy.ops.wm.save_as_mainfile(filepath=path)


main()
