"""The commands that need no Blender: `test-pattern`, for trainers and developers, and `run`."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import List, Optional, Tuple

from . import pictures
from .config import Config
from .hardware import oom_kills
from .process import Child
from .progress import ANY, Progress, patterns_of
from .wire import Message
from .work import Attempt, Cancelled, Failed, Output, Result, environment_of

LOOK_S = 0.25  # how often a running program is looked at
ADDRESS = re.compile(r"^[A-Za-z0-9_.-]+::")


def test_pattern(attempt: Attempt, command: Message, folder: Path) -> Result:
    """Draws a small picture after `seconds`: a render whose time is known beforehand."""
    width, height = int(command.get("width") or 64), int(command.get("height") or 36)
    if not 0 < width * height <= 4_000_000:
        raise Failed("renderer error", f"a test pattern of {width} x {height} pixels is too large")
    seconds = min(float(command.get("seconds") or 0), attempt.deadline() - time.monotonic())
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        attempt.progress = (time.monotonic() - begun) / seconds
        if attempt.cancelled.wait(min(1.0, seconds - (time.monotonic() - begun))):
            raise Cancelled
    attempt.check()
    frame = int(command.get("frame") or 0)
    name = numbered(str(command.get("name") or "test.####"), frame)
    if not name.lower().endswith(".png"):
        name += ".png"
    path = folder / (attempt.prefix() + name)
    try:
        pictures.draw_pattern(path, width, height, frame)
    except OSError as error:
        raise Failed("bad output", f"{name} can't be written: {error.strerror}") from None
    statistics = {"render_s": round(time.monotonic() - begun, 3)}
    return Result([Output(path, "frame", width, height)], statistics)


def numbered(name: str, frame: int) -> str:
    """`sh010.####` at frame 7: `sh010.0007`."""
    return re.sub(r"#+", lambda marks: f"{frame:0{len(marks.group())}d}", name, count=1)


def run(attempt: Attempt, command: Message, config: Config) -> Result:
    """A program with its arguments, never a shell; arguments that are addresses become paths."""
    argv = command.get("argv")
    if not isinstance(argv, list) or not argv or not all(isinstance(part, str) for part in argv):
        raise Failed("renderer error", "the command has no list of arguments")
    begun = time.monotonic()
    said = Progress(*patterns_of(command.get("progress")), ANY)
    kills = oom_kills()

    def see(line: str) -> None:
        attempt.line, attempt.heard_at = line, time.monotonic()
        attempt.progress = max(attempt.progress, said.of(line) or 0.0)

    attempt.mark()
    child = Child(
        local_paths(argv, config),
        nice=config.nice,
        on_line=see,
        environment=environment_of(attempt),
        sink=attempt.output.add,
    )
    try:
        while not child.wait(LOOK_S):
            if attempt.cancelled.is_set():
                raise Cancelled
            attempt.check(child.tail)
    finally:
        if not child.ended.is_set():
            child.stop()
    if child.code:
        reason, what = why(child.code, kills)
        raise Failed(reason, f"{argv[0]} {what}\n{child.tail(7000)}")
    return Result([], {"render_s": round(time.monotonic() - begun, 3)})


def why(code: int, kills: Optional[int]) -> Tuple[str, str]:
    """Reason and words for a program's exit code. `kills`: the system's kills for memory when it began."""
    if code == -9 and (kills is None or oom_kills() != kills):
        return "out of memory", "was killed when this computer's memory ran out"
    if code < 0:
        return "crash", f"was ended by signal {-code}"
    return "renderer error", f"ended with exit code {code}"


def local_paths(argv: List[str], config: Config) -> List[str]:
    try:
        return [str(config.local(part)) if ADDRESS.match(part) else part for part in argv]
    except ValueError as error:
        raise Failed("missing file", str(error)) from None
