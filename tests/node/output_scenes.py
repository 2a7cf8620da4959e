"""Makes tiny scenes that write in each of Blender's ways. Runs inside Blender 3.4:

blender -b --factory-startup --python output_scenes.py -- FOLDER NAME …
"""

import sys

import bpy

folder, *names = sys.argv[sys.argv.index("--") + 1 :]


def base(path, file_format="PNG"):
    """The start-up cube, moving, 32x18 pixels; nothing in its files tells when they were made."""
    bpy.ops.wm.read_factory_settings()
    scene = bpy.context.scene
    render = scene.render
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.cycles.use_denoising = False
    render.resolution_x, render.resolution_y, render.resolution_percentage = 32, 18, 100
    scene.frame_start, scene.frame_end = 1, 12
    for key in dir(render):
        if key.startswith("use_stamp_"):
            setattr(render, key, False)
    cube = bpy.data.objects["Cube"]
    cube.keyframe_insert("location", frame=1)
    cube.location.x = 3
    cube.keyframe_insert("location", frame=12)
    render.filepath = path
    render.image_settings.file_format = file_format
    return scene


def hashes():
    base("//out/shot_####")


def several():
    base("//out/a_##_b_###", "JPEG")


def bare():
    base("//out/sub/").render.use_file_extension = False


def exr():
    base("//out/e", "OPEN_EXR")


def layers():
    base("//out/m_####", "OPEN_EXR_MULTILAYER")


def nodes():
    scene = base("//out/n_####")
    scene.use_nodes = True
    tree = scene.node_tree
    source = next(node for node in tree.nodes if node.type == "R_LAYERS").outputs["Image"]
    pictures = tree.nodes.new("CompositorNodeOutputFile")
    pictures.base_path = "//passes"
    pictures.file_slots[0].path = "beauty_##"
    deep = tree.nodes.new("CompositorNodeOutputFile")
    deep.format.file_format = "OPEN_EXR_MULTILAYER"
    deep.base_path = "//passes/deep_####"
    for node in (pictures, deep):
        tree.links.new(source, node.inputs[0])


def stereo():
    base("//out/s_####").render.use_multiview = True


def baked():
    """Particles whose simulation lies on the disk alone."""
    scene = base("//out/p_####")
    cube = bpy.data.objects["Cube"]
    cube.modifiers.new("Particles", "PARTICLE_SYSTEM")
    system = cube.particle_systems[0]
    system.settings.count, system.settings.frame_end, system.settings.lifetime = 146, 11, 60
    system.settings.particle_size = 0.3
    system.settings.render_type = "OBJECT"
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=1, location=(50, 0, 0))
    system.settings.instance_object = bpy.context.object
    save("baked")
    system.point_cache.use_disk_cache = True
    system.point_cache.frame_end = 12
    with bpy.context.temp_override(scene=scene, point_cache=system.point_cache):
        bpy.ops.ptcache.bake_all(bake=True)


def save(name):
    bpy.ops.wm.save_as_mainfile(filepath=f"{folder}/{name}.blend", relative_remap=False)


for name in names:
    globals()[name]()
    save(name)
