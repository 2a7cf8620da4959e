"""One Blender that stays alive from frame to frame of one file; see `inside/loop.py`.

Used by one slot's thread; `cancel` may be called from any. A Renderer that has failed, was cancelled or
grew too large is stopped by its slot and replaced.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from .config import Program
from .hardware import oom_kills, process_memory_mb
from .output import Capture, begun
from .process import Child, Manner
from .progress import ANY, BLENDER, MOST_LINE, Progress, patterns_of
from .wire import Message
from .work import Attempt, Cancelled, Failed, Output, Result

LOOP = Path(__file__).with_name("inside") / "__main__.py"
WISHES = ("format", "camera", "scene", "view_layer", "width", "height", "percentage", "samples", "engine")
OWN = ("tile", "parts", "columns", "rows")  # what only some commands are told
MARK = b"\x1ecroft %b\x1e\n"  # ends a frame's log; `inside/channel.py` writes it
MARK_S = 2.0  # a Blender that doesn't say it within this time has closed its output
BETWEEN_BYTES = 64 << 10
LOOK_S = 30.0  # how often its limits are looked at, at least
STOP_S = 3.0  # a Blender between frames ends within milliseconds
MEMORY_WORDS = ("out of memory", "malloc returns null", "calloc returns null", "memoryerror", "bad_alloc")
REMAINING = re.compile(r"Remaining:\s*(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)")


class Restart(Exception):
    """The asked frame can only be rendered by a fresh Blender: it depends on frames that have passed."""


class Renderer:
    """Starts Blender at once; `render` waits for it to be ready."""

    def __init__(
        self,
        program: Program,
        file: Path,
        *,
        threads: int = 0,
        nice: int = 0,
        scripting: Optional[bool] = None,
        on_progress: Callable[[float, float, str], None] = lambda progress, left_s, line: None,
        output: Optional[Capture] = None,
        environment: Optional[Dict[str, str]] = None,
    ) -> None:
        self.file = file
        self.identity = identity(file)
        self.wishes: Tuple[Any, ...] = ()
        self.memory_mb = 0
        self.fresh = True
        self._missing: List[str] = []
        self._heard_at = 0.0
        self._said = Progress(BLENDER, ANY)
        self._oom_kills = oom_kills()
        self._on_progress = on_progress
        self._said_by = _Cut(output)
        self._events: "queue.Queue[Message]" = queue.Queue()
        # Blender and scripts leave things there; all of it goes with this process.
        self._scratch = tempfile.mkdtemp(prefix="croft-node-")
        commands_read, commands_write = os.pipe()
        answers_read, answers_write = os.pipe()
        self._commands = os.fdopen(commands_write, "w", encoding="utf-8")
        try:
            self._child = Child(
                command_line(program, file, threads, scripting, commands_read, answers_write),
                nice=nice,
                pass_fds=(commands_read, answers_write),
                environment={**os.environ, "TMPDIR": self._scratch, **(environment or {})},
                on_line=self._see,
                sink=self._said_by.add,
            )
        finally:
            os.close(commands_read)
            os.close(answers_write)
        self._pid = 0
        self._answers = _Answers(answers_read, self._events)

    def fits(self, file: Path, command: Message) -> bool:
        """Whether this Blender can go on with the command: same file, unchanged, same wishes."""
        if self._child.low and Manner.now == "go on":
            return False  # it stepped back for somebody, and can't come forward again
        return self.file == file and self.identity == identity(file) and self.wishes in ((), wishes(command))

    def render(self, attempt: Attempt, command: Message, folder: Optional[Path]) -> Result:
        """One frame. Raises Failed, Cancelled or Restart; after the first two this Renderer is done for."""
        self.wishes = wishes(command)
        self._said_by.begin(attempt)
        order = {
            "attempt": attempt.id,
            "frame": command["frame"],
            "frames": command.get("frames") or str(command["frame"]),
            "folder": str(folder) if folder else None,
            "name": command.get("name"),
            "do": "blender-frame" if command.get("do") == "blender-frames" else command.get("do"),
            **{key: command.get(key) for key in WISHES},
            **{key: command[key] for key in OWN if command.get(key) is not None},
        }
        self._said = Progress(*patterns_of(command.get("progress")), BLENDER, ANY)
        asked = begun = time.monotonic()
        try:
            self._commands.write(json.dumps(order) + "\n")
            self._commands.flush()
        except OSError:
            pass  # it is gone; the events say how
        while True:
            event = self._next(attempt)
            kind = event["event"]
            if kind in ("ready", "scene", "replay", "begun"):
                attempt.mark()
            if kind == "ready":
                self._pid = int(event["pid"])
                self._missing = list(event["missing"])
                if not same_file(event["file"], self.file):
                    raise Failed(
                        "renderer error", f"Blender can't open {self.file.name}.\n{self._child.tail()}"
                    )
            elif kind == "replay":
                self._on_progress(
                    0.0, 0.0, f"passing through frame {event['frame']}, on which this one depends"
                )
            elif kind == "progress":
                attempt.mark()
                self._on_progress(event["done"] / event["of"], 0.0, f"frame {event['frame']}")
            elif kind == "stats":
                self._see(str(event["line"]))
            elif kind == "begun":
                begun = time.monotonic()
            elif kind == "restart":
                raise Restart
            elif kind == "failed":
                raise self._failure("renderer error", str(event["text"]))
            elif kind == "frame":
                self._said_by.wait()
                break
        memory = process_memory_mb(self._pid)
        self.memory_mb = memory.get("now", 0)
        statistics: Dict[str, Any] = {
            "render_s": round(time.monotonic() - begun, 3),
            "waited_s": round(begun - asked, 3),
            "fresh": self.fresh,
        }
        if memory:
            statistics["memory_mb"] = memory.get("peak", 0)
        if self._missing:
            statistics["missing"] = self._missing
        self.fresh = False
        outputs = []
        for file in event["files"]:
            final = Path(file["final"]) if file.get("final") else None
            outputs.append(Output(Path(file["path"]), file["kind"], file["width"], file["height"], final))
        return Result(outputs, statistics, self._child.tail(4000))

    def cancel(self) -> None:
        self._events.put({"event": "cancel"})

    def stop(self, grace_s: Optional[float] = None) -> None:
        """Ends Blender: between frames by closing its pipe, else with SIGTERM and then SIGKILL."""
        try:
            self._commands.close()
        except OSError:
            pass
        if grace_s is not None or not self._child.wait(STOP_S):
            self._child.stop(grace_s if grace_s is not None else STOP_S)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _next(self, attempt: Attempt) -> Message:
        while True:
            attempt.heard_at = max(attempt.heard_at, self._heard_at)
            attempt.check(self._child.tail)
            left_s = attempt.deadline() - time.monotonic()
            try:
                event = self._events.get(timeout=max(0.001, min(left_s, LOOK_S)))
            except queue.Empty:
                continue
            if attempt.cancelled.is_set():
                raise Cancelled
            if event["event"] == "ended":
                raise self._ended()
            if event["event"] != "cancel":
                return event

    def _ended(self) -> Failed:
        """Blender has gone without an answer."""
        self._child.wait(STOP_S)
        code = self._child.code
        if code is None:
            return self._failure("crash", "Blender closed its pipe without an answer.")
        if code == 127:
            return self._failure("renderer error", "Blender can't be started.")
        if code == -9 and (self._oom_kills is None or oom_kills() != self._oom_kills):
            return self._failure("out of memory", "Blender was killed when this computer's memory ran out.")
        if code == -9:
            return self._failure("crash", "Blender was killed (signal 9), not for want of memory.")
        if code < 0:
            failed = self._failure("crash", f"Blender crashed (signal {-code}).")
            failed.told = code == -signal.SIGTERM
            return failed
        return self._failure("crash", f"Blender ended by itself (exit code {code}).")

    def _failure(self, reason: str, what: str) -> Failed:
        tail = self._child.tail(7000)
        if any(word in f"{what}\n{tail[-2000:]}".lower() for word in MEMORY_WORDS):
            reason = "out of memory"
        return Failed(reason, f"{what}\n{tail}")

    def _see(self, line: str) -> None:
        self._heard_at = time.monotonic()
        part = self._said.of(line)
        if part is not None:
            left = REMAINING.search(line[:MOST_LINE])
            left_s = int(left[1] or 0) * 3600 + int(left[2]) * 60 + float(left[3]) if left else 0.0
            self._on_progress(part, left_s, line[-200:])


class _Cut:
    """Gives each attempt what Blender says while it renders it: `inside/channel.py` marks the end of each."""

    def __init__(self, output: Optional[Capture]) -> None:
        self._lock = threading.Lock()
        self._output = output
        self._between = b""  # said after one attempt and before the next: it is the next one's
        self._mark = b""
        self._rest = b""
        self._over = threading.Event()

    def begin(self, attempt: Attempt) -> None:
        with self._lock:
            self._output, self._mark = attempt.output, MARK % attempt.id.encode()
            self._output.add(self._between)
            self._between = b""
            self._over.clear()

    def wait(self) -> None:
        """Until all of it has come through its pipe, which is another than the answers'."""
        self._over.wait(MARK_S)
        with self._lock:
            self._output = None

    def add(self, data: bytes) -> bytes:
        """The same without the mark, for those who look at lines."""
        with self._lock:
            said, self._rest = self._rest + data, b""
            before, found, after = said.partition(self._mark) if self._mark else (said, b"", b"")
            if data and not found:
                held = begun(before, self._mark) if self._mark else 0
                before, self._rest = before[: len(before) - held], before[len(before) - held :]
            if self._output is not None:
                self._output.add(before)
            else:
                self._between = (self._between + before)[-BETWEEN_BYTES:]
            if found:
                self._output, self._mark, self._between = None, b"", after[-BETWEEN_BYTES:]
                self._over.set()
            return before + after


class _Answers:
    """Brings Blender's answers into a queue; at the end of the pipe one last event says so."""

    def __init__(self, fd: int, events: "queue.Queue[Message]") -> None:
        self._fd = fd
        self._events = events
        threading.Thread(target=self._read, name="answers", daemon=True).start()

    def _read(self) -> None:
        with os.fdopen(self._fd, "r", encoding="utf-8", errors="replace") as answers:
            for line in answers:
                try:
                    event = json.loads(line)
                    event["event"]
                except (ValueError, KeyError, TypeError):
                    continue  # torn by a crash
                self._events.put(event)
        self._events.put({"event": "ended"})


def command_line(
    program: Program, file: Path, threads: int, scripting: Optional[bool], commands_fd: int, answers_fd: int
) -> List[str]:
    """The same start as `blender -b FILE -a`, so that the pixels are the same."""
    fds = [str(commands_fd), str(answers_fd)]
    if program.package:
        flags = {None: "default", True: "scripts", False: "no-scripts"}[scripting]
        return [*program.argv, str(LOOP), "--", *fds, str(file), flags, str(threads)]
    argv = [*program.argv, "-b"]
    if threads:
        argv += ["-t", str(threads)]
    if scripting is not None:
        argv.append("-y" if scripting else "-Y")
    return [*argv, str(file), "--python", str(LOOP), "--", *fds]


def wishes(command: Message) -> Tuple[Any, ...]:
    kind = "blender-frame" if command.get("do") == "blender-frames" else command.get("do")
    return (kind, *(command.get(key) for key in (*WISHES, "frames")))


def identity(file: Path) -> Tuple[int, ...]:
    try:
        stat = os.stat(file)
    except OSError:
        return ()
    return (stat.st_ino, stat.st_size, stat.st_mtime_ns)


def same_file(one: str, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
