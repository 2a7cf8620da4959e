"""Run by Blender, or by a Python that has bpy: saves a scene that uses a file of each kind, three ways.

blender -b --factory-startup --python many_uses.py -- FOLDER
"""

import os
import shutil
import struct
import sys
import wave

import bpy

folder = sys.argv[-1]


def at(name):
    return os.path.join(folder, name)


for part in ("tex", "frames", "snd", "abs"):
    os.makedirs(at(part), exist_ok=True)
if os.path.exists(bpy.data.filepath) or len(bpy.data.objects) == 0:
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)
scene = bpy.context.scene
cube = bpy.data.objects["Cube"]
bpy.data.libraries.write(at("lib.blend"), {bpy.data.materials[0]})
bpy.ops.wm.save_as_mainfile(filepath=at("uses.blend"), compress=False)

picture = bpy.data.images.new("made", 8, 8)
picture.file_format = "PNG"
for name in ("tex/wood.png", "abs/sky.png", "tex/pack.png", *(f"frames/f.{n:04d}.png" for n in range(1, 61))):
    picture.filepath_raw = at(name)
    picture.save()
with wave.open(at("snd/step.wav"), "wb") as sound:
    sound.setnchannels(1)
    sound.setsampwidth(2)
    sound.setframerate(8000)
    sound.writeframes(struct.pack("<800h", *([0] * 800)))
shutil.copy(at("snd/step.wav"), at("snd/packed.wav"))
with open(at("note.txt"), "w") as text:
    text.write("hello\n")
font = next((f for f in (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
) if os.path.exists(f)), "")  # fmt: skip

wood = bpy.data.images.load(at("tex/wood.png"))
wood.filepath, wood.use_fake_user = "//tex/wood.png", True
sky = bpy.data.images.load(at("abs/sky.png"))
sky.use_fake_user = True
packed = bpy.data.images.load(at("tex/pack.png"))
packed.filepath, packed.use_fake_user = "//tex/pack.png", True
packed.pack()
film = bpy.data.images.new("film", 8, 8)
film.source, film.filepath, film.use_fake_user = "MOVIE", "//clips/walk.mp4", True
tiles = bpy.data.images.new("tiles", 8, 8)
tiles.source, tiles.filepath, tiles.use_fake_user = "TILED", "//tex/skin.<UDIM>.png", True
drawn = bpy.data.images.new("drawn", 8, 8)
drawn.use_fake_user = True
step = bpy.data.sounds.load(at("snd/step.wav"))
step.filepath, step.use_fake_user = "//snd/step.wav", True
inside = bpy.data.sounds.load(at("snd/packed.wav"))
inside.filepath, inside.use_fake_user = "//snd/packed.wav", True
inside.pack()
if font:
    bpy.data.fonts.load(font).use_fake_user = True
note = bpy.data.texts.load(at("note.txt"))
note.filepath = "//note.txt"
volume = bpy.data.volumes.new("smoke")
volume.filepath, volume.use_fake_user = "//vdb/smoke.0001.vdb", True
with bpy.data.libraries.load(at("lib.blend"), link=True, relative=True) as (there, here):
    here.materials = there.materials
cube.data.materials.clear()
cube.data.materials.append(here.materials[0])

mesh_cache = cube.modifiers.new("cache", "MESH_CACHE")
mesh_cache.filepath = "//cache/cube.mdd"
cloth = cube.modifiers.new("cloth", "CLOTH")
cloth.point_cache.use_external = True
cloth.point_cache.filepath = "//cache/cloth"
bpy.ops.mesh.primitive_cube_add()
domain = bpy.context.object.modifiers.new("fluid", "FLUID")
domain.fluid_type = "DOMAIN"
domain.domain_settings.cache_directory = "//cache/fluid"

material = bpy.data.materials.new("lamp")
material.use_nodes, material.use_fake_user = True, True
ies = material.node_tree.nodes.new("ShaderNodeTexIES")
ies.mode, ies.filepath = "EXTERNAL", "//light/spot.ies"

editor = scene.sequence_editor_create()
strips = editor.strips if hasattr(editor, "strips") else editor.sequences
strip = strips.new_image("frames", at("frames/f.0001.png"), 1, 1)
for number in range(2, 61):
    strip.elements.append(f"f.{number:04d}.png")
strip.directory = "//frames/"

second = bpy.data.scenes.new("Other")
second.frame_start, second.frame_end = 101, 148
second.render.filepath = "//out/other_"
second.render.resolution_x, second.render.resolution_y = 1998, 1080
second.render.fps = 48
scene.render.filepath = "//out/main_"
bpy.ops.wm.save_as_mainfile(filepath=at("uses.blend"), compress=False, relative_remap=False)
bpy.ops.wm.save_as_mainfile(filepath=at("zstd.blend"), compress=True, copy=True, relative_remap=False)
sys.stdout.flush()
os._exit(0)  # as a package it may abort while its own library is taken down
