"""How the program inside Blender and the node talk: commands in, answers out, each a line of JSON."""

from __future__ import annotations

import ctypes
import json
import os
import sys
from typing import Any, Dict, List

Command = Dict[str, Any]
try:
    flush_all: Any = ctypes.CDLL(None).fflush  # Blender's own prints wait in a buffer of C's
except (OSError, AttributeError):
    flush_all = None


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
