"""Is somebody working at this computer? A student's keyboard comes before any render.

Several probes say for how many seconds nobody has touched anything; the least counts. Each is small, and one
that can't tell is passed over: the input devices themselves (where they may be read), interrupts of the
keyboard, terminals, X's own idle time, and a command of one's own (`idle_command`). Windows and macOS have
theirs; those two are written from their documentation and were never tried.
"""

from __future__ import annotations

import ctypes
import glob
import logging
import os
import re
import select
import shlex
import subprocess
import sys
import threading
import time
from typing import Callable, Dict, List, Optional, Sequence

from .display import Displays

log = logging.getLogger("croft.node")
LOOK_S = 1.0
COMMAND_S = 5.0
TERMINALS = ("/dev/tty[1-9]*", "/dev/pts/[0-9]*")
# Interrupts that only a person causes. USB controllers' aren't among them: disks are there too.
INTERRUPTS = re.compile(r"i8042|i2c[_-]hid|hid|touchpad|keyboard", re.IGNORECASE)
Probe = Callable[[], Optional[float]]  # seconds since the last touch; None: it can't tell


class Devices:
    """/dev/input/event*: every key and every move of the mouse, where this user may read them."""

    def __init__(
        self, pattern: str = "/dev/input/event*", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pattern = pattern
        self._clock = clock
        self._open: Dict[str, int] = {}
        self._touched: Optional[float] = None
        self._began = clock()

    def __call__(self) -> Optional[float]:
        for path in glob.glob(self._pattern):
            if path not in self._open:
                try:
                    self._open[path] = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                except OSError:
                    continue
        if not self._open:
            return None
        ready = select.select(list(self._open.values()), [], [], 0)[0]
        for path, fd in list(self._open.items()):
            if fd in ready and not self._drain(fd):
                os.close(self._open.pop(path))  # unplugged
        # Before the node began, anything may have been.
        return self._clock() - (self._touched if self._touched is not None else self._began)

    def _drain(self, fd: int) -> bool:
        try:
            while True:
                data = os.read(fd, 4096)
                if not data:
                    return False
                self._touched = self._clock()
        except BlockingIOError:
            return True
        except OSError:
            return False


class Interrupts:
    """/proc/interrupts: the counts of keyboards that have a line of their own (PS/2, laptops)."""

    def __init__(self, path: str = "/proc/interrupts", clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._counts: Optional[List[str]] = None
        self._changed = clock()

    def __call__(self) -> Optional[float]:
        try:
            with open(self._path, encoding="ascii", errors="replace") as file:
                counts = [" ".join(line.split()) for line in file if INTERRUPTS.search(line)]
        except OSError:
            return None
        if not counts:
            return None
        if counts != self._counts:
            if self._counts is not None:
                self._changed = self._clock()
            self._counts = counts
        return self._clock() - self._changed


def terminals(patterns: Sequence[str] = TERMINALS, wall: Callable[[], float] = time.time) -> Optional[float]:
    """When somebody typed into a terminal last, as `w` tells it: terminals of people, not of services."""
    newest: Optional[float] = None
    for pattern in patterns:
        for path in glob.glob(pattern):
            try:
                stat = os.stat(path)
            except OSError:
                continue
            if stat.st_uid or path.startswith("/dev/pts/"):
                newest = max(newest or 0.0, stat.st_atime)
    return max(0.0, wall() - newest) if newest is not None else None


class Command:
    """A program that prints the seconds since somebody touched this computer, such as one's own script."""

    def __init__(self, command: str) -> None:
        self._argv = shlex.split(command)

    def __call__(self) -> Optional[float]:
        try:
            done = subprocess.run(
                self._argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_S, check=True
            )
            return max(0.0, float(done.stdout.split()[0]))
        except (OSError, ValueError, IndexError, subprocess.SubprocessError):
            return None


def windows() -> Optional[float]:
    """GetLastInputInfo (untried)."""

    class LastInput(ctypes.Structure):
        _fields_ = (("size", ctypes.c_uint), ("ticks", ctypes.c_uint))

    last = LastInput(ctypes.sizeof(LastInput), 0)
    system = getattr(ctypes, "windll")  # noqa: B009
    if not system.user32.GetLastInputInfo(ctypes.byref(last)):
        return None
    # Both count milliseconds in 32 bits, and begin anew after 49 days.
    return float((system.kernel32.GetTickCount() - last.ticks) % (1 << 32)) / 1000


def macos() -> Optional[float]:
    """HIDIdleTime of the IOKit registry, in nanoseconds (untried)."""
    try:
        done = subprocess.run(
            ["ioreg", "-c", "IOHIDSystem"], capture_output=True, timeout=COMMAND_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return read_ioreg(done.stdout)


def read_ioreg(text: bytes) -> Optional[float]:
    """What `ioreg` prints of the input devices: the least of their idle times, in seconds."""
    found = [int(number) for number in re.findall(rb'"HIDIdleTime"\s*=\s*(\d+)', text)]
    return min(found) / 1e9 if found else None


def probes(idle_command: str = "") -> List[Probe]:
    """Those that this computer has. One's own command alone, where there is one: it knows best."""
    if idle_command:
        return [Command(idle_command)]
    if sys.platform == "win32":
        return [windows]
    if sys.platform == "darwin":
        return [macos]
    return [Devices(), Interrupts(), terminals, Displays()]


class Keyboard:
    """Looks every second in a thread of its own, and tells who has asked when somebody comes or has gone."""

    def __init__(self, idle_s: float, found: Sequence[Probe]) -> None:
        self._idle_s = idle_s
        self._probes = found
        self._subscribers: List[Callable[[bool], None]] = []
        self._used: Optional[bool] = None
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="keyboard", daemon=True)

    def start(self) -> None:
        self.look()
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(LOOK_S + COMMAND_S)
        for probe in self._probes:
            getattr(probe, "close", lambda: None)()

    def known(self) -> bool:
        """Whether this computer can tell at all."""
        return self._used is not None

    def subscribe(self, function: Callable[[bool], None]) -> None:
        """Told at once where somebody is there already."""
        self._subscribers.append(function)
        if self._used:
            function(True)

    def look(self) -> None:
        """Ask all probes once."""
        idle = [seconds for seconds in (self._ask(probe) for probe in self._probes) if seconds is not None]
        used = min(idle) < self._idle_s if idle else None
        if used is not None and used != bool(self._used):
            self._used = used
            for function in list(self._subscribers):
                function(used)
        elif used is not None:
            self._used = used

    @staticmethod
    def _ask(probe: Probe) -> Optional[float]:
        try:
            return probe()
        except Exception as error:  # a probe that breaks must not end the watch over the others
            log.debug("a probe failed: %r", error)
            return None

    def _watch(self) -> None:
        while not self._ending.wait(LOOK_S):
            try:
                self.look()
            except Exception:
                log.exception("the watch over the keyboard stumbled")
