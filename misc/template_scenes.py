"""Makes config/sets/*.blend, which new assets begin as: one small scene for each of a set's asset types.

    blender --background --factory-startup --python misc/template_scenes.py -- config/sets

Name, picture size, engine and output are set in the copy that Croft makes of one (server/library/creation),
so these serve all sets. The same Blender gives the same bytes: what is only of its memory is taken out.
"""

import gzip
import importlib.util
import math
import re
import struct
import sys
from pathlib import Path

import bpy

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))
# By its file: the folder around it stands on packages that Blender's Python doesn't have.
found = importlib.util.spec_from_file_location("dna", CLONE / "server/library/creation/dna.py")
dna = sys.modules["dna"] = importlib.util.module_from_spec(found)
found.loader.exec_module(dna)
Block, Scene = dna.Block, dna.Scene

FRAMES = 100
SLOTS = 16  # renders that a composite can load; Croft takes out those that it doesn't need
GREY = (0.22, 0.24, 0.26, 1)


def main(folder: str) -> None:
    for name, build in TEMPLATES.items():
        bpy.ops.wm.read_factory_settings(use_empty=True)
        scene = bpy.context.scene
        scene.name = name.capitalize()
        settle(scene)
        build(scene)
        save(Path(folder) / f"{name}.blend")


def settle(scene: "bpy.types.Scene") -> None:
    """What all of them share."""
    scene.frame_start, scene.frame_end = 1, FRAMES
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = 1920, 1080, 100
    render.fps = 24
    render.filepath = "//render/"
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGBA"
    render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.device = 64, "CPU"
    scene.cycles.use_denoising = False  # not every Blender has a denoiser
    scene.eevee.taa_render_samples = 32
    scene.unit_settings.system = "METRIC"
    world = scene.world = bpy.data.worlds.new("World")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = GREY


def nothing_more(scene: "bpy.types.Scene") -> None:
    look(scene, (6, -8, 4.5), (1.15, 0, 0.64))


def model(height: float, name: str) -> "object":
    """A builder for what is modelled: a collection of that name, a ruler as high as it usually is."""

    def build(scene: "bpy.types.Scene") -> None:
        collection = bpy.data.collections.new(name)
        scene.collection.children.link(collection)
        ruler = bpy.data.objects.new(f"{height:g} m high", None)
        ruler.empty_display_type, ruler.empty_display_size = "SINGLE_ARROW", height
        ruler.hide_render = True
        collection.objects.link(ruler)
        look(scene, (1.6 * height, -2.6 * height, 1.3 * height), (1.28, 0, 0.55))

    return build


def shot(scene: "bpy.types.Scene") -> None:
    for name in ("Set", "Characters", "Props", "Lights"):
        scene.collection.children.link(bpy.data.collections.new(name))
    look(scene, (0, -9, 1.6), (1.5708, 0, 0))


def composite(scene: "bpy.types.Scene") -> None:
    """Each render over the next: Over 01 goes to the picture, and takes what it lies on from Over 02."""
    scene.use_nodes = True
    scene.world = None
    tree = scene.node_tree
    tree.nodes.clear()
    out = tree.nodes.new("CompositorNodeComposite")
    out.location = (600, 0)
    viewer = tree.nodes.new("CompositorNodeViewer")
    viewer.location = (600, -200)
    below = [out.inputs["Image"], viewer.inputs["Image"]]
    for number in range(1, SLOTS + 1):
        image = bpy.data.images.new(f"Render {number:02d}", 8, 8)
        image.source = "SEQUENCE"
        image.filepath = f"//render-{number:02d}.0001.png"
        load = tree.nodes.new("CompositorNodeImage")
        load.name = load.label = f"Render {number:02d}"
        load.image = image
        load.frame_duration, load.frame_start, load.frame_offset = FRAMES, 1, 0
        load.location = (-200 - 260 * number, -320 * (number - 1))
        over = tree.nodes.new("CompositorNodeAlphaOver")
        over.name = over.label = f"Over {number:02d}"
        over.location = (300 - 260 * (number - 1), -160 * (number - 1))
        over.inputs[1].default_value = (0, 0, 0, 0)
        tree.links.new(load.outputs["Image"], over.inputs[2])
        for socket in below:
            tree.links.new(over.outputs["Image"], socket)
        below = [over.inputs[1]]


def final(scene: "bpy.types.Scene") -> None:
    scene.sequence_editor_create()
    scene.world = None
    scene.render.use_sequencer = True
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode = "FFMPEG", "RGB"
    ffmpeg = scene.render.ffmpeg
    ffmpeg.format, ffmpeg.codec, ffmpeg.constant_rate_factor = "MPEG4", "H264", "HIGH"
    ffmpeg.audio_codec = "AAC"


def materials(scene: "bpy.types.Scene") -> None:
    ball = round_thing(scene, "Ball to look at materials on")
    material = bpy.data.materials.new("First material")
    material.use_nodes, material.use_fake_user = True, True
    ball.data.materials.append(material)
    look(scene, (0, -4.2, 1), (1.5708, 0, 0))


def animations(scene: "bpy.types.Scene") -> None:
    scene.collection.children.link(bpy.data.collections.new("Rig to animate"))
    look(scene, (0, -6, 1.4), (1.5708, 0, 0))


def round_thing(scene: "bpy.types.Scene", name: str) -> "bpy.types.Object":
    """A sphere, made by hand: Blender's own comes with its corners in another order each time."""
    rings, around = 16, 32
    points = [(0.0, 0.0, 1.0)]
    for ring in range(1, rings):
        high, wide = math.cos(math.pi * ring / rings), math.sin(math.pi * ring / rings)
        for step in range(around):
            turn = 2 * math.pi * step / around
            points.append((wide * math.cos(turn), wide * math.sin(turn), high))
    points.append((0.0, 0.0, -1.0))
    faces = [(0, 1 + step, 1 + (step + 1) % around) for step in range(around)]
    for ring in range(rings - 2):
        low = 1 + ring * around
        for step in range(around):
            beside = (step + 1) % around
            faces.append((low + step, low + around + step, low + around + beside, low + beside))
    low, last = 1 + (rings - 2) * around, len(points) - 1
    faces += [(low + step, last, low + (step + 1) % around) for step in range(around)]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(points, [], faces)
    mesh.polygons.foreach_set("use_smooth", [True] * len(faces))
    ball = bpy.data.objects.new(name, mesh)
    ball.location.z = 1
    scene.collection.objects.link(ball)
    return ball


def look(scene: "bpy.types.Scene", place: tuple, turn: tuple) -> None:
    """A camera and a sun."""
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location, camera.rotation_euler = place, turn
    camera.data.lens = 35
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.rotation_euler = (0.7, 0.2, 0.6)
    sun.data.energy = 3
    for thing in (camera, sun):
        scene.collection.objects.link(thing)
    scene.camera = camera


TEMPLATES = {
    "default": nothing_more, "character": model(1.7, "Character"), "prop": model(0.5, "Prop"),
    "set": model(3, "Set"), "shot": shot, "composite": composite, "final": final, "materials": materials,
    "animations": animations,
}  # fmt: skip


def save(path: Path) -> None:
    bpy.ops.outliner.orphans_purge(do_recursive=True)
    # Without a screen the saved preview would be the factory's grey cube.
    bpy.context.preferences.filepaths.file_preview_type = "NONE"
    aside = path.with_suffix(".plain")
    bpy.ops.wm.save_as_mainfile(filepath=str(aside), compress=False, copy=True)
    raw = aside.read_bytes()
    aside.unlink()
    path.write_bytes(gzip.compress(plain(raw), 9, mtime=0))


def plain(raw: bytes) -> bytes:
    """The file without what is only of this run: pointers become numbers in the order of the blocks, what
    Blender has no use for in a file becomes zero."""
    scene = Scene(raw)
    numbers: dict[int, int] = {}
    for block in scene.blocks:
        if block.old:
            numbers.setdefault(block.old, 0x10000 + 16 * len(numbers))
    size = scene.pointer_size
    for block in scene.blocks:
        kind = scene.kind_of(block)
        if block.code == b"GLOB":
            scene.put(block, "filename", "")
        length = sum(field.size for field in scene.fields(kind))
        if block.kind == 0 and block.length % size == 0:  # bare memory: perhaps a list of pointers
            for at in range(block.at, block.at + block.length, size):
                (value,) = struct.unpack_from("<Q", scene.raw, at)
                if value in numbers:
                    struct.pack_into("<Q", scene.raw, at, numbers[value])
        elif length and block.code not in (b"DNA1", b"REND", b"TEST", b"ENDB"):
            for n in range(min(block.count, block.length // length)):
                tidy(scene, kind, block.at + n * length, numbers)
            if kind == "ScrEdge":  # which end comes first depends on where in memory they were
                ends = sorted(scene.number(block, end) for end in ("v1", "v2"))
                scene.put(block, "v1", ends[0])
                scene.put(block, "v2", ends[1])
        head(scene, block, numbers)
    return bytes(scene.raw)


def head(scene: Scene, block: Block, numbers: "dict[int, int]") -> None:
    if block.old:
        struct.pack_into("<Q", scene.raw, block.head + 8, numbers[block.old])


def tidy(scene: Scene, kind: str, at: int, numbers: "dict[int, int]") -> None:
    for field in scene.fields(kind):
        place = at + field.at
        if field.pointer:
            for n in range(place, place + field.size, scene.pointer_size):
                (value,) = struct.unpack_from("<Q", scene.raw, n)
                struct.pack_into("<Q", scene.raw, n, numbers.get(value, 0))
        elif re.match(r"_?_?pad\d*$|session_u?uid$|runtime$|face_sets_color_seed$", field.name):
            scene.raw[place : place + field.size] = bytes(field.size)
        elif fields := scene.fields(field.kind):
            length = sum(one.size for one in fields)
            for n in range(field.size // length if length else 0):
                tidy(scene, field.kind, place + n * length, numbers)


main(sys.argv[-1])
