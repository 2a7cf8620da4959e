"""Runs inside Blender: renders one frame after another of one file, as `blender -b FILE -a` would.

    blender -b FILE --python loop.py -- COMMANDS ANSWERS         (two file descriptors)
    python loop.py -- COMMANDS ANSWERS FILE SCRIPTS THREADS      (where Blender is the package `bpy`)

A command is a line of JSON, so is an answer; standard output stays Blender's. Frames that follow each other
are rendered by one call of the render operator, as by `-a`, which waits between them; so nothing is built
anew for each. A scene whose frames depend on each other (unbaked simulations, handlers) is rendered so from
the job's first frame on: only that gives the pixels of `-a`, since playing the earlier frames with
`frame_set` moves rigid bodies that `-a` leaves alone. Frames of such a job that other nodes render are
passed through at one percent of the size.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from typing import Any, Dict, List, Optional, Set, Tuple

import bpy

# Pillow can't make thumbnails of these, so their outputs get a preview.
NEEDS_PREVIEW = {"OPEN_EXR", "OPEN_EXR_MULTILAYER", "HDR", "CINEON", "DPX"}
PREVIEW_WIDTH = 1280
MOVIES = {"FFMPEG", "AVI_JPEG", "AVI_RAW"}
HANDLERS = (
    "frame_change_pre", "frame_change_post", "depsgraph_update_pre", "depsgraph_update_post",
    "render_pre", "render_post", "render_init", "render_write", "render_complete", "render_stats",
)  # fmt: skip

Command = Dict[str, Any]
try:
    flush_all: Any = ctypes.CDLL(None).fflush  # Blender's own prints wait in a buffer of C's
except (OSError, AttributeError):
    flush_all = None
held = ""  # what the names of File Output nodes' files begin with


class Refusal(RuntimeError):
    """What is asked for can't be done with this file; the message says why."""


class Channel:
    """Commands in, answers out, over two pipes that nobody else holds."""

    def __init__(self, commands_fd: int, answers_fd: int) -> None:
        for fd in (commands_fd, answers_fd):
            # A program that the scene starts must not keep the node waiting for the pipe's end.
            os.set_inheritable(fd, False)
        self.commands = os.fdopen(commands_fd, "r", encoding="utf-8")
        self.answers = os.fdopen(answers_fd, "w", encoding="utf-8")

    def next(self) -> Command:
        """The next command. The end of the pipe ends Blender: the node has closed it or is gone."""
        line = self.commands.readline()
        if not line.endswith("\n"):
            sys.stdout.flush()
            os._exit(0)
        command: Command = json.loads(line)
        return command

    def end_of_log(self, attempt: str) -> None:
        """Marks on standard output where a frame's log ends: the node reads that through another pipe."""
        sys.stdout.flush()
        if flush_all is not None:
            flush_all(None)
        os.write(1, ("\x1ecroft %s\x1e\n" % attempt).encode())

    def answer(self, event: str, **facts: Any) -> None:
        if event == "frame":
            self.end_of_log(facts["attempt"])
        sys.stdout.flush()
        self.answers.write(json.dumps({"event": event, **facts}) + "\n")
        self.answers.flush()


class Frames:
    """A job's frames in their order, `1-24x2,30`. Each part is what one `-a` with its step would render."""

    def __init__(self, text: str) -> None:
        self.parts: List[range] = []
        for part in str(text).split(","):
            span, _, step = part.strip().partition("x")
            # A dash in the first place is a minus sign.
            cut = span.find("-", 1)
            first = int(span if cut < 0 else span[:cut])
            last = first if cut < 0 else int(span[cut + 1 :])
            self.parts.append(range(first, last + 1, int(step or 1)))

    def rest_of_part(self, frame: int) -> range:
        """The frames from this one on, to the end of its part."""
        for part in self.parts:
            if frame in part:
                return part[part.index(frame) :]
        raise RuntimeError("frame %d isn't one of the job's" % frame)

    def position(self, frame: int) -> int:
        """How many frames come before this one."""
        before = 0
        for part in self.parts:
            if frame in part:
                return before + part.index(frame)
            before += len(part)
        raise RuntimeError("frame %d isn't one of the job's" % frame)


def main() -> None:
    arguments = sys.argv[sys.argv.index("--") + 1 :]
    channel = Channel(int(arguments[0]), int(arguments[1]))
    try:
        if len(arguments) > 2:
            open_file(*arguments[2:])
        serve(channel)
    except Refusal as error:
        channel.answer("failed", text=str(error))
        sys.stdout.flush()
        os._exit(1)
    except Exception as error:
        traceback.print_exc()
        channel.answer("failed", text="%s: %s" % (type(error).__name__, error))
        sys.stdout.flush()
        os._exit(1)


def open_file(path: str, scripts: str, threads: str) -> None:
    """What Blender's own command line does with FILE, -y, -Y and -t."""
    wishes: Dict[str, bool] = {
        "default": {},
        "scripts": {"use_scripts": True},
        "no-scripts": {"use_scripts": False},
    }[scripts]
    bpy.ops.wm.open_mainfile(filepath=path, **wishes)
    if int(threads):
        for scene in bpy.data.scenes:
            scene.render.threads_mode, scene.render.threads = "FIXED", int(threads)


def serve(channel: Channel) -> None:
    facts = {"version": bpy.app.version_string, "file": bpy.data.filepath, "missing": missing_files()}
    channel.answer("ready", pid=os.getpid(), **facts)
    command = channel.next()
    scene = choose(command)
    if command.get("do") in ("blender-video", "blender-assemble"):
        channel.answer("scene", ordered=[])
        special(channel, scene, command)
    why = reasons_for_order(scene)
    if bpy.app.version >= (5, 0, 0):
        bpy.app.handlers.render_stats.append(Statistics(channel))  # 5 prints them no more
    channel.answer("scene", ordered=why)
    frames = Frames(command["frames"])
    if why:
        Animation(channel, scene, frames, strict=True).all(command)
        while True:  # an earlier frame: the node starts another Blender
            channel.answer("restart", attempt=channel.next()["attempt"])
    following = -1
    while True:
        position = frames.position(command["frame"])
        if position == following and not command.get("tile") and not writes_elsewhere(scene):
            animation = Animation(channel, scene, frames, strict=False)
            command, position = animation.onwards(command, position)
        else:
            render_one(channel, scene, command)
            command = channel.next()
        following = position + 1


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


class Statistics:
    """Passes on how far the renderer is, at most every half second."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.told_at = 0.0

    def __call__(self, line: Any, *rest: Any) -> None:
        if isinstance(line, str) and "Sample" in line and time.monotonic() > self.told_at + 0.5:
            self.told_at = time.monotonic()
            self.channel.answer("stats", line=line[:200])


def choose(command: Command) -> Any:
    """Makes the scene what the command asks for; without wishes it stays as the file has it."""
    if command.get("scene"):
        if command["scene"] not in bpy.data.scenes:
            raise Refusal("the file has no scene named %r" % command["scene"])
        for window in bpy.context.window_manager.windows:
            window.scene = bpy.data.scenes[command["scene"]]
    scene = bpy.data.scenes[command["scene"]] if command.get("scene") else bpy.context.scene
    if command.get("view_layer") and command["view_layer"] not in scene.view_layers:
        raise Refusal("the scene has no view layer named %r" % command["view_layer"])
    if command.get("camera"):
        camera = bpy.data.objects.get(command["camera"])
        if camera is None or camera.type != "CAMERA":
            raise Refusal("the file has no camera named %r" % command["camera"])
        for marker in scene.timeline_markers:
            marker.camera = None  # a bound marker would switch back
        scene.camera = camera
    image = scene.render.image_settings
    wanted = command.get("format")
    if not wanted and (image.file_format in MOVIES or getattr(image, "media_type", "") == "VIDEO"):
        wanted = "PNG"  # a film can't be made of separate frames
    if command.get("width") and command.get("height"):
        scene.render.resolution_x, scene.render.resolution_y = command["width"], command["height"]
        scene.render.resolution_percentage = 100
    if command.get("percentage"):
        scene.render.resolution_percentage = command["percentage"]
    if command.get("samples"):
        sample(scene, command["samples"])
    if command.get("do") == "blender-video":
        film(scene)
        wanted = None
    if command.get("tile"):
        why = composited(scene)
        if why:
            raise Refusal("its picture can't be put together from parts: %s. Render it whole." % why)
        wanted = "OPEN_EXR"
    if wanted:
        if hasattr(image, "media_type"):
            image.media_type = "MULTI_LAYER_IMAGE" if wanted == "OPEN_EXR_MULTILAYER" else "IMAGE"
        image.file_format = wanted
    if command.get("tile"):
        image.color_mode, image.color_depth, image.exr_codec = "RGBA", "32", "ZIP"
    if command["folder"]:
        scene.render.use_file_extension = True
    scene.render.use_overwrite = True
    scene.render.use_placeholder = False
    if command["folder"] and command.get("do") != "blender-assemble" and not command.get("tile"):
        hold_outputs(scene, command)
    return scene


def sample(scene: Any, samples: int) -> None:
    """How often each pixel is looked at, whichever engine does it."""
    if hasattr(scene, "cycles"):
        scene.cycles.samples = samples
    if hasattr(scene.eevee, "taa_render_samples"):
        scene.eevee.taa_render_samples = samples


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


def is_film(scene: Any) -> bool:
    image = scene.render.image_settings
    return image.file_format in MOVIES or getattr(image, "media_type", "") == "VIDEO"


def film(scene: Any) -> None:
    """The scene's own kind of video; H.264 in MP4 where it has none."""
    if is_film(scene):
        return
    image = scene.render.image_settings
    if hasattr(image, "media_type"):
        image.media_type = "VIDEO"
    image.file_format = "FFMPEG"
    scene.render.ffmpeg.format = "MPEG4"
    scene.render.ffmpeg.codec = "H264"
    scene.render.ffmpeg.constant_rate_factor = "HIGH"


ENDINGS = {
    "MPEG4": ".mp4", "QUICKTIME": ".mov", "MKV": ".mkv", "AVI": ".avi", "WEBM": ".webm", "OGG": ".ogv",
    "MPEG1": ".mpg", "MPEG2": ".dvd", "FLASH": ".flv", "DV": ".dv", "H264": ".avi", "XVID": ".avi",
}  # fmt: skip


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


def operator_arguments(scene: Any, command: Command) -> Dict[str, Any]:
    arguments: Dict[str, Any] = {"animation": True, "scene": scene.name}
    if command.get("view_layer"):
        arguments["layer"] = command["view_layer"]
    return arguments


def render_one(channel: Channel, scene: Any, command: Command) -> None:
    scene.frame_start = scene.frame_end = command["frame"]
    scene.frame_step = 1
    aim_for_real(scene, command)
    channel.answer("begun", attempt=command["attempt"])
    try:
        bpy.ops.render.render(**operator_arguments(scene, command))
        channel.answer("frame", attempt=command["attempt"], **results(scene, command))
    except RuntimeError as error:
        channel.answer("failed", attempt=command["attempt"], text=str(error).strip())


class Animation:
    """One run of the operator over many frames, held in the frame handlers until a frame is asked for.

    `strict`: each frame of the job is rendered in turn, small where it isn't asked for, since later ones
    depend on it. Otherwise the run ends where another frame than the next one is asked for.
    """

    def __init__(self, channel: Channel, scene: Any, frames: Frames, strict: bool) -> None:
        self.channel = channel
        self.scene = scene
        self.frames = frames
        self.strict = strict
        self.command: Optional[Command] = None
        self.percentage = scene.render.resolution_percentage
        self.ahead: List[int] = []  # of the present part, the next one last
        self.rendering = False  # motion blur changes frames within a frame
        self.leaving = False
        self.done_at = -1  # how many frames of the job come before the one rendered last
        self.writes_elsewhere = writes_elsewhere(scene)
        self.scratch = tempfile.mkdtemp(prefix="replay-")

    def all(self, command: Command) -> None:
        """Every frame of the job, the first ones included, whichever is asked for first."""
        self.command = command
        for part in self.frames.parts:
            self.run(part)

    def onwards(self, command: Command, position: int) -> Tuple[Command, int]:
        """From the command's frame on. The first command that asks for another frame than the next, and
        how many frames come before the one that was rendered last."""
        self.command = command
        try:
            self.run(self.frames.rest_of_part(command["frame"]))
        except RuntimeError as error:
            if not self.leaving:
                self.channel.answer("failed", attempt=self.command["attempt"], text=str(error).strip())
                self.command = None
        self.scene.render.resolution_percentage = self.percentage
        if self.leaving:
            drop_outputs(self.scene, command["folder"])
        shutil.rmtree(self.scratch, ignore_errors=True)
        return self.command or self.channel.next(), self.done_at

    def run(self, part: range) -> None:
        self.ahead = list(reversed(part))
        self.scene.frame_start, self.scene.frame_end = part[0], part[-1]
        self.scene.frame_step = part.step
        handlers = bpy.app.handlers
        handlers.frame_change_post.append(self.frame_changed)
        handlers.render_write.append(self.frame_written)
        try:
            arguments: Dict[str, Any] = {"animation": True, "scene": self.scene.name}
            if self.command is not None:
                arguments = operator_arguments(self.scene, self.command)
            bpy.ops.render.render(**arguments)
        finally:
            handlers.frame_change_post.remove(self.frame_changed)
            handlers.render_write.remove(self.frame_written)
        if self.ahead:
            raise RuntimeError("Blender ended the animation before frame %d" % self.ahead[-1])

    def frame_changed(self, scene: Any, *rest: Any) -> None:
        if self.rendering or not self.ahead or scene.name != self.scene.name:
            return
        if scene.frame_current == self.ahead[-1]:
            with self.fatal():
                self.prepare(self.ahead.pop())

    def prepare(self, frame: int) -> None:
        """Called after the frame's evaluation, before Blender decides where to render it."""
        position = self.frames.position(frame)
        while self.command is None:
            self.command = self.channel.next()
            if self.strict and self.frames.position(self.command["frame"]) < position:
                self.channel.answer("restart", attempt=self.command["attempt"])
                self.command = None
        command, render = self.command, self.scene.render
        if frame == command["frame"]:
            render.resolution_percentage = self.percentage
            aim_for_real(self.scene, command)
            self.channel.answer("begun", attempt=command["attempt"])
        else:
            if not self.writes_elsewhere:
                render.resolution_percentage = 1
            aim(self.scene, self.scratch, "replay.####")
            if self.strict:
                # It must really be rendered: cloth differs where a frame before was evaluated only.
                self.channel.answer("replay", attempt=command["attempt"], frame=frame)
            else:
                # Nothing else ends an animation from within: a frame that can't be written does.
                blocked = os.path.join(self.scratch, "blocked")
                with open(blocked, "wb"):
                    render.filepath = escaped(os.path.join(blocked, "x"))
                self.leaving = True
        self.rendering = True

    def frame_written(self, scene: Any, *rest: Any) -> None:
        with self.fatal():
            self.rendering = False
            command = self.command
            if command is None or scene.frame_current != command["frame"]:
                drop_outputs(self.scene, command["folder"] if command else None)
            else:
                self.command = None
                self.done_at = self.frames.position(command["frame"])
                self.channel.answer("frame", attempt=command["attempt"], **results(self.scene, command))

    @contextlib.contextmanager
    def fatal(self) -> Iterator[None]:
        """Blender swallows a handler's exception; the node must hear of it."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            attempt = self.command and self.command["attempt"]
            self.channel.answer("failed", attempt=attempt, text="%s: %s" % (type(error).__name__, error))
            os._exit(1)


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
        return {"files": own_files(render, files[0], command["final"]), "frame": frame}
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
    if render.image_settings.file_format in NEEDS_PREVIEW or deep_tiff(render.image_settings):
        preview = main + ".png"
        try:
            save_preview(scene, preview)
            files.append({"path": preview, "kind": "preview", "width": 0, "height": 0})
        except Exception:
            traceback.print_exc()  # a frame without a preview is still a frame
    return {"files": files, "frame": frame}


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


def percentage(render: Any) -> float:
    return float(render.resolution_percentage) / 100.0


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


def missing_files() -> List[str]:
    """Libraries and pictures that the scene names and the disk hasn't; Blender itself only mutters."""
    libraries = [library.filepath for library in bpy.data.libraries]
    missing = [path for path in libraries if not os.path.exists(bpy.path.abspath(path))]
    for image in bpy.data.images:
        if image.source == "FILE" and image.filepath and not image.packed_file:
            path = bpy.path.abspath(image.filepath, library=image.library)
            if "<UDIM>" not in path and not os.path.exists(path):
                missing.append(image.filepath)
    return missing[:20]


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


main()
