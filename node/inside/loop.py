"""Runs inside Blender: renders one frame after another of one file, as `blender -b FILE -a` would.

    blender -b FILE --python node/inside/__main__.py -- COMMANDS ANSWERS      (two file descriptors)
    python node/inside/__main__.py -- COMMANDS ANSWERS FILE SCRIPTS THREADS   (Blender is the package `bpy`)

A command is a line of JSON, so is an answer; standard output stays Blender's. Frames that follow each other
are rendered by one call of the render operator, as by `-a`, which waits between them; so nothing is built
anew for each. A scene whose frames depend on each other (unbaked simulations, handlers) is rendered so from
the job's first frame on: only that gives the pixels of `-a`, since playing the earlier frames with
`frame_set` moves rigid bodies that `-a` leaves alone. Frames of such a job that other nodes render are
passed through at one percent of the size.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
import traceback
from typing import Any, Dict, Iterator, List, Optional, Tuple

import bpy

from .channel import Channel, Command, Frames, Refusal
from .order import reasons_for_order
from .outputs import aim, aim_for_real, drop_outputs, escaped, results, writes_elsewhere
from .whole import special
from .wishes import choose, missing_files, operator_arguments


def main() -> None:
    """Until the node closes the pipe."""
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


class Statistics:
    """Passes on how far the renderer is, at most every half second."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.told_at = 0.0

    def __call__(self, line: Any, *rest: Any) -> None:
        if isinstance(line, str) and "Sample" in line and time.monotonic() > self.told_at + 0.5:
            self.told_at = time.monotonic()
            self.channel.answer("stats", line=line[:200])


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
