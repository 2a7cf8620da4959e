"""The words that the node's rooms share: an attempt, what came of it, and why it didn't."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from . import pictures
from .output import Capture
from .wire import Message


class Failed(Exception):
    """The attempt came to nothing. `reason` is one of the wire's: renderer error, crash, out of memory,
    time-out, missing file, bad output. `log` is for the person who asks why. `told`: somebody asked its
    program to end, perhaps because this computer is to end."""

    def __init__(self, reason: str, log: str, told: bool = False) -> None:
        super().__init__(f"{reason}: {log}")
        self.reason = reason
        self.log = log
        self.told = told


def shortened(log: str, most: int = 8000) -> str:
    """A failure's log for the wire: its first line, which says what happened, and as much of its end."""
    if len(log) <= most:
        return log
    first = log.partition("\n")[0][: most // 4]
    return f"{first}\n…\n{log[len(first) - most + 3 :]}"


class Cancelled(Exception):
    """The server took the attempt back, or the node is stopping. Nothing is to be reported."""


@dataclass
class Output:
    """A file that an attempt wrote under a name of its own; `kind` is frame, preview, extra, video or part.

    `final`: where it belongs, for a job that writes to the scene's own output path; else the server moves it.
    """

    path: Path
    kind: str
    width: int = 0
    height: int = 0
    final: Optional[Path] = None
    frame: Optional[int] = None  # of one of several frames
    seconds: float = 0.0  # that it took
    facts: Optional[Dict[str, Any]] = None  # once it was verified and brought to the disk


@dataclass
class Result:
    """What an attempt made, before it is verified."""

    outputs: List[Output]
    statistics: Dict[str, Any]
    log: str = ""  # the renderer's last lines, should its outputs turn out bad

    def add(self, part: "Result") -> None:
        """What came after it: seconds add up, of other figures the newest count."""
        self.outputs += part.outputs
        self.log = part.log
        for key, value in part.statistics.items():
            added = key.endswith("_s") and key in self.statistics
            self.statistics[key] = round(self.statistics[key] + value, 3) if added else value


@dataclass(eq=False)
class Attempt:
    """One claim of a task. It is held from the server's answer until the server has taken the result."""

    id: str
    job: str
    frame: Any
    file: str
    commands: List[Message]
    timeout_s: float  # all of it, at most; 0: no limit
    bound_s: float = 0.0  # at most so long between two milestones: what other computers' pace makes strange
    silence_s: float = 0.0  # at most so long without a line of output
    taken_at: float = field(default_factory=time.monotonic)
    begun_at: float = 0.0  # a slot has started on it
    marked_at: float = 0.0  # the last milestone: begun, the renderer was ready, an earlier frame was passed
    heard_at: float = 0.0  # the renderer's last line
    ended_at: float = 0.0  # and is through with it, its files not yet verified
    progress: float = 0.0
    ends_at: float = 0.0  # as the renderer guesses; 0: it hasn't said
    line: str = ""
    cancelled: threading.Event = field(default_factory=threading.Event)
    home: str = ""  # the address of the server that gave it
    site: str = ""  # and the installation that this belongs to
    environment: Dict[str, str] = field(default_factory=dict)  # of its slot, for all that it starts
    suspended_at: float = 0.0  # since when it waits for a person at the keyboard to go
    parts: List[Dict[str, Any]] = field(default_factory=list)  # frames that are there already
    kept: List[Dict[str, Any]] = field(default_factory=list)  # the same, flushed: what may be told
    parts_told: int = 0  # how many of those were told in reports
    output: Capture = field(default_factory=Capture)  # all that its programs say

    @staticmethod
    def of(message: Message) -> "Attempt":
        """From the server's `task`. Raises KeyError, TypeError or ValueError where it isn't one."""
        commands = message.get("commands") or []
        if not all(letter.isalnum() or letter in "-_." for letter in str(message["uuid"])):
            raise ValueError("the attempt's id can't be part of a file's name")
        if not isinstance(commands, list) or not all(isinstance(command, dict) for command in commands):
            raise ValueError("commands must be a list of objects")
        return Attempt(
            id=str(message["uuid"]),
            job=str(message.get("job", "")),
            frame=message.get("frame"),
            file=str(message.get("file") or ""),
            commands=commands,
            timeout_s=float(message.get("timeout") or 0),
            bound_s=float(message.get("bound") or 0),
            silence_s=float(message.get("silence") or 0),
        )

    def keep(self, outputs: List[Output]) -> None:
        """One of several frames is there: verified and flushed, to be told before the whole task is done."""
        for output in outputs:
            self.parts.append(facts_of(self, output))
        pictures.flush(tuple(output.path for output in outputs))
        self.kept = list(self.parts)

    def prefix(self) -> str:
        """How the names of its files begin until the server has accepted them."""
        return f".{self.id}."

    def line_now(self) -> str:
        """The last line of its renderer, or why there is none."""
        return "waits until nobody works at this computer" if self.suspended_at else self.line

    def progress_now(self) -> float:
        """From 0 to 1. Cycles tells its samples rarely, but how long it will take: time tells the rest."""
        if not self.begun_at or self.ends_at <= self.begun_at:
            return self.progress
        guess = (time.monotonic() - self.begun_at) / (self.ends_at - self.begun_at)
        return max(self.progress, min(guess, 0.99))

    def folders(self) -> List[str]:
        """Addresses of the folders that it writes into."""
        return sorted({str(command.get("folder") or "") for command in self.commands} - {""})

    def seconds(self) -> float:
        """How long the slot was busy with it."""
        return round((self.ended_at or time.monotonic()) - self.begun_at, 3) if self.begun_at else 0.0

    def begin(self) -> None:
        """A slot starts on it now."""
        self.begun_at = self.marked_at = self.heard_at = time.monotonic()

    def mark(self) -> None:
        """It came a step further: what is measured against other computers' times begins here."""
        self.marked_at = self.heard_at = time.monotonic()

    def strained_s(self) -> float:
        """How long it has taken since the last milestone; 0 before it was begun."""
        return round((self.ended_at or time.monotonic()) - self.marked_at, 3) if self.marked_at else 0.0

    def suspend(self) -> None:
        """Its programs are halted: no time passes for it."""
        self.suspended_at = self.suspended_at or time.monotonic()

    def resume(self) -> None:
        if self.suspended_at:
            slept_s, self.suspended_at = time.monotonic() - self.suspended_at, 0.0
            for name in ("begun_at", "marked_at", "heard_at", "ends_at"):
                if getattr(self, name):
                    setattr(self, name, getattr(self, name) + slept_s)

    def limits(self) -> List[Tuple[float, str]]:
        """When each of its limits passes, on the monotonic clock, and what is said then."""
        found: List[Tuple[float, str]] = []
        if self.suspended_at:
            return found
        if self.begun_at and self.timeout_s > 0:
            found.append((self.begun_at + self.timeout_s, f"not over within {self.timeout_s:g} s"))
        if self.marked_at and self.bound_s > 0:
            text = f"it took more than {self.bound_s:g} s, far longer than such a frame usually takes"
            found.append((self.marked_at + self.bound_s, text))
        if self.heard_at and self.silence_s > 0:
            found.append((self.heard_at + self.silence_s, f"no line of output for {self.silence_s:g} s"))
        return found

    def deadline(self) -> float:
        """When the first of its limits passes; far away where there is none."""
        return min((at for at, _ in self.limits()), default=float("inf"))

    def check(self, tail: Callable[[], str] = str) -> None:
        """Failed with "time-out" once a limit has passed. `tail`: the renderer's last lines."""
        now = time.monotonic()
        for at, text in self.limits():
            if now >= at:
                raise Failed("time-out", f"{text}\n{tail()}".rstrip())


def environment_of(attempt: Attempt) -> Optional[Dict[str, str]]:
    """What a program of this attempt's finds around it; None: what the node itself has."""
    return {**os.environ, **attempt.environment} if attempt.environment else None


def facts_of(attempt: Attempt, output: Output) -> Dict[str, Any]:
    """What the server is told of a file, once it was looked at. Raises pictures.BadPicture."""
    if output.facts is not None:
        return output.facts
    width, height = pictures.check(output.path, output.width, output.height)
    name = output.final.name if output.final is not None else output.path.name[len(attempt.prefix()) :]
    facts: Dict[str, Any] = {"name": name, "path": name, "temp": attempt.prefix() + name}
    facts.update(size=output.path.stat().st_size, kind=output.kind, width=width, height=height)
    if output.frame is not None:
        facts["frame"] = output.frame
    if output.seconds:
        facts["seconds"] = output.seconds
    output.facts = facts
    return facts
