"""`run`: a program with its arguments, never a shell.

Arguments that are addresses become paths on this computer; what the program leaves in the command's folder
under the attempt's name (`.<attempt>.…`) is what it made.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from ..hardware import oom_kills
from ..process import Child
from ..progress import ANY, Progress, patterns_of
from ..tools import Tools, collected
from ..wire import Message
from ..work import Attempt, Cancelled, Failed, Result, environment_of

LOOK_S = 0.25  # how often a running program is looked at


def run(attempt: Attempt, command: Message, tools: Tools) -> Result:
    argv = command.get("argv")
    if not isinstance(argv, list) or not argv or not all(isinstance(part, str) for part in argv):
        raise Failed("renderer error", "the command has no list of arguments")
    folder = tools.folder(command) if command.get("folder") else None
    where = tools.path(str(command["where"])) if command.get("where") else None
    begun = time.monotonic()
    program(attempt, tools.arguments(argv), tools, where, patterns_of(command.get("progress")))
    made = collected(attempt, folder) if folder is not None else []
    known = {output.path for output in tools.made}
    return Result(
        [one for one in made if one.path not in known], {"render_s": round(time.monotonic() - begun, 3)}
    )


def program(
    attempt: Attempt,
    argv: List[str],
    tools: Tools,
    where: Optional[Path] = None,
    patterns: Sequence[str] = (),
) -> str:
    """Runs it to its end: its last lines. Raises Failed or Cancelled."""
    said = Progress(*patterns, ANY)
    kills = oom_kills()

    def see(line: str) -> None:
        attempt.line, attempt.heard_at = line, time.monotonic()
        attempt.progress = max(attempt.progress, said.of(line) or 0.0)

    attempt.mark()
    child = Child(
        argv,
        nice=tools.config.nice,
        folder=str(where) if where is not None else None,
        environment=environment_of(attempt),
        on_line=see,
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
        told = child.code == -signal.SIGTERM
        raise Failed(reason, f"{os.path.basename(argv[0])} {what}\n{child.tail(7000)}", told)
    return child.tail(7000)


def why(code: int, kills: Optional[int]) -> Tuple[str, str]:
    """Reason and words for a program's exit code. `kills`: the system's kills for memory when it began."""
    if code == -9 and (kills is None or oom_kills() != kills):
        return "out of memory", "was killed when this computer's memory ran out"
    if code < 0:
        return "crash", f"was ended by signal {-code}"
    if code == 127:
        return "renderer error", "isn't there, or can't be started"
    return "renderer error", f"ended with exit code {code}"
