"""Programs that a command starts and must not leave behind: each with all that it starts itself."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

from server.disk.errors import CroftError

PR_SET_PDEATHSIG = 1  # prctl(2)
GRACE_S = 10.0  # what a node needs to give its claims back


class Child:
    """A running program whose output and errors go into a log file. It ends with us at the latest."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self.first_line = ""
        self._said_something = threading.Event()
        log.write_bytes(b"")
        with log.open("ab") as errors:
            self._process = self._start(command, errors)
        self._reader = threading.Thread(target=self._read, name=f"log of {name}", daemon=True)
        self._reader.start()

    def _start(self, command: Sequence[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        # No Ctrl-C of ours reaches it: it is told to end when we are done with it.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env={**os.environ, "CROFT_VENV": sys.prefix, "PYTHONUNBUFFERED": "1"},
            preexec_fn=_end_with_parent,
        )

    def wait_for_first_line(self, timeout_s: float) -> str:
        """What it prints first on standard output. CroftError if it ends, or says nothing for so long."""
        self._said_something.wait(timeout_s)
        if not self.first_line:
            raise CroftError(f"The {self.name} didn't start: {self.last_words()}")
        return self.first_line

    def ended(self) -> bool:
        return self._process.poll() is not None

    def last_words(self) -> str:
        """The last line of its log, for the sentence that says what went wrong."""
        try:
            lines = self.log.read_text("utf-8", "replace").split("\n")
        except OSError:
            lines = []
        last = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return f"{last[:300]} (all of it: {self.log})"

    def stop(self) -> None:
        """Ask it to end, then end its whole group."""
        for sent, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, GRACE_S)):
            if self._process.poll() is None:
                try:
                    self._process.send_signal(sent)
                    self._process.wait(patience_s)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue
        try:
            os.killpg(self._process.pid, signal.SIGKILL)  # what it may have left behind
        except (ProcessLookupError, PermissionError):
            pass
        self._reader.join(GRACE_S)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _read(self) -> None:
        output = self._process.stdout
        assert output is not None
        with output, self.log.open("ab", buffering=0) as log:
            for line in output:
                log.write(line)
                if not self.first_line and line.strip():
                    self.first_line = line.decode("utf-8", "replace").strip()
                    self._said_something.set()
        self._said_something.set()


def _end_with_parent() -> None:
    """Linux: a SIGTERM when the parent dies, however it dies; elsewhere nothing."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    except (OSError, AttributeError):
        pass
