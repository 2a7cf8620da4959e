"""A program that the node runs: in its own process group, on a leash, its output read to the end.

`Child.ended` is set when the program itself is over, whoever may still hold its output. Nothing that it
started outlives it, nor the node.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Callable, Deque, Dict, Optional, Sequence

LEASH = Path(__file__).with_name("leash.py")
LINES_KEPT = 200
LINE_BYTES = 2000  # longer lines are cut
LOG_BYTES = 8000  # what a failure carries at most
GRACE_S = 3.0  # between SIGTERM and SIGKILL


class Child:
    """Starts at once. `on_line` is called from a thread of its own for every line of output."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        nice: int = 0,
        pass_fds: Sequence[int] = (),
        folder: Optional[str] = None,
        environment: Optional[Dict[str, str]] = None,
        on_line: Optional[Callable[[str], None]] = None,
    ) -> None:
        self.ended = threading.Event()
        self.code: Optional[int] = None
        self.killed = False
        self._lines: Deque[str] = deque(maxlen=LINES_KEPT)
        self._on_line = on_line
        leash_read, self._leash = os.pipe()
        status_read, status_write = os.pipe()
        fds = ",".join(str(fd) for fd in pass_fds)
        leash = [
            sys.executable,
            "-I",
            "-S",
            str(LEASH),
            str(leash_read),
            str(status_write),
            str(nice),
            fds,
            "--",
        ]
        try:
            self._popen = subprocess.Popen(
                [*leash, *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=environment,
                pass_fds=(leash_read, status_write, *pass_fds),
                start_new_session=True,
            )
        except BaseException:
            os.close(self._leash)
            os.close(status_read)
            raise
        finally:
            os.close(leash_read)
            os.close(status_write)
        self._leash_lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, name="output", daemon=True)
        self._waiter = threading.Thread(target=self._wait, args=(status_read,), name="wait", daemon=True)
        self._reader.start()
        self._waiter.start()

    def tail(self, size_bytes: int = LOG_BYTES) -> str:
        """The last lines of output, for a person who wants to know why."""
        text = "\n".join(list(self._lines))
        return text if len(text) <= size_bytes else text[-size_bytes:].partition("\n")[2]

    def wait(self, timeout_s: Optional[float] = None) -> bool:
        """Whether the program ended in time. Then its output has been read, as far as it is its own."""
        if not self.ended.wait(timeout_s):
            return False
        # A process that left the group may hold the output for ever: don't wait for more than what is there.
        self._reader.join(1.0)
        return True

    def stop(self, grace_s: float = GRACE_S) -> None:
        """SIGTERM to the group, after the grace SIGKILL to everything that is left. Returns when over."""
        self.killed = True
        self._signal(signal.SIGTERM)
        if not self.ended.wait(grace_s):
            self._release_leash()
            if not self.ended.wait(1.0):
                self._signal(signal.SIGKILL)
                self.ended.wait()
        self._reader.join(1.0)

    def _signal(self, number: signal.Signals) -> None:
        with self._leash_lock:
            # Until the waiter has buried the leash, the group's number is nobody else's.
            if not self.ended.is_set():
                try:
                    os.killpg(self._popen.pid, number)
                except OSError:
                    pass

    def _release_leash(self) -> None:
        with self._leash_lock:
            if self._leash >= 0:
                os.close(self._leash)
                self._leash = -1

    def _wait(self, status_fd: int) -> None:
        with os.fdopen(status_fd, "rb") as status:
            text = status.read().strip()
        with self._leash_lock:
            # The leash has gone or is going; whatever is left of the group goes with it.
            try:
                os.killpg(self._popen.pid, signal.SIGKILL)
            except OSError:
                pass
            self._popen.wait()
            self.code = int(text) if text else -int(signal.SIGKILL)
            self.ended.set()
        self._release_leash()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as stream:
            rest = b""
            while True:
                try:
                    data = os.read(stream.fileno(), 65536)
                except OSError:
                    data = b""
                *lines, rest = re.split(rb"[\r\n]+", rest + data)
                for line in lines:
                    self._keep(line)
                if len(rest) > LINE_BYTES:
                    self._keep(rest)
                    rest = b""
                if not data:
                    self._keep(rest)
                    return

    def _keep(self, line: bytes) -> None:
        text = line[:LINE_BYTES].decode("utf-8", "replace").rstrip()
        if not text:
            return
        self._lines.append(text)
        if self._on_line is not None:
            try:
                self._on_line(text)
            except Exception as error:  # a line that can't be understood must not end the reading
                self._lines.append(f"(this line was not understood: {error})")
