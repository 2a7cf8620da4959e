"""The commands that need no Blender. A task is a list of them, done in order; the first that fails ends it.

    run       a program with its arguments
    files     copy, move into place, verify
    preview   a small video of frames, by ffmpeg
    pattern   test-pattern, for trainers and developers

Each takes the attempt, the command and `Tools`, and gives a Result. What it makes lies under the attempt's
own names (`.<attempt>.<name>`): only the server renames. Blender's commands are the slot's, which keeps
Blender alive from one to the next.
"""

from __future__ import annotations

from typing import Callable, Dict

from ..tools import Tools
from ..wire import Message
from ..work import Attempt, Result
from . import files, pattern, preview, run

PLAIN: Dict[str, Callable[[Attempt, Message, Tools], Result]] = {
    "run": run.run,
    "copy": files.copy,
    "move": files.move,
    "verify": files.verify,
    "make-preview": preview.make_preview,
    "test-pattern": pattern.test_pattern,
}
BLENDER = ("blender-frame", "blender-frames", "blender-video", "blender-assemble")
