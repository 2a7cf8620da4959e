"""`test-pattern`: draws a small picture after `seconds`, a render whose time is known beforehand."""

from __future__ import annotations

import time
from typing import List

from .. import pictures
from ..tools import Tools, frames_of, numbered
from ..wire import Message
from ..work import Attempt, Cancelled, Failed, Output, Result


def test_pattern(attempt: Attempt, command: Message, tools: Tools) -> Result:
    folder = tools.folder(command)
    width, height = int(command.get("width") or 64), int(command.get("height") or 36)
    if not 0 < width * height <= 4_000_000:
        raise Failed("renderer error", f"a test pattern of {width} x {height} pixels is too large")
    begun = time.monotonic()
    frames = frames_of(command["chunk"]) if command.get("chunk") else [int(command.get("frame") or 0)]
    made: List[Output] = []
    for n, frame in enumerate(frames):
        started = time.monotonic()
        wait(attempt, float(command.get("seconds") or 0), n, len(frames))
        name = numbered(str(command.get("name") or "test.####"), frame)
        if not name.lower().endswith(".png"):
            name += ".png"
        path = folder / (attempt.prefix() + name)
        try:
            pictures.draw_pattern(path, width, height, frame)
        except OSError as error:
            raise Failed("bad output", f"{name} can't be written: {error.strerror}") from None
        seconds = round(time.monotonic() - started, 3)
        made.append(Output(path, "frame", width, height))
        if len(frames) > 1:
            made[-1].frame, made[-1].seconds = frame, seconds
            attempt.keep(made[-1:])
    return Result(made, {"render_s": round(time.monotonic() - begun, 3)})


def wait(attempt: Attempt, seconds: float, n: int, of: int) -> None:
    seconds, begun = min(seconds, attempt.deadline() - time.monotonic()), time.monotonic()
    while time.monotonic() - begun < seconds:
        attempt.progress = (n + (time.monotonic() - begun) / seconds) / of
        if attempt.cancelled.wait(min(1.0, max(0.0, seconds - (time.monotonic() - begun)))):
            raise Cancelled
    attempt.check()
