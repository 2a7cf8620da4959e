"""A program that the node runs: in its own session, on a leash, its output read to the end.

`Child.ended` is set when the program itself is over, whoever may still hold its output. Nothing that it
started outlives it, nor the node. Leashes are kept for the next program: see `leash.py`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections import deque
from pathlib import Path
from typing import Any, Callable, ClassVar, Deque, Dict, List, Optional, Sequence, Set

from .output import Mask, secrets_of

LEASH = Path(__file__).with_name("leash.py")
LEASHES_KEPT = 32
LINES_KEPT = 200
LINE_BYTES = 2000  # longer lines are cut
LOG_BYTES = 8000  # what a failure carries at most
LOWEST = 19  # nice
GRACE_S = 3.0  # between SIGTERM and SIGKILL
START_S = 30.0  # a leash that doesn't start a program within this time has failed


class Leash:
    """A process that starts programs for us, one at a time, and ends with us."""

    _kept: ClassVar[List["Leash"]] = []
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        self._rest = b""
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LEASH), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except BaseException:
            self._socket.close()
            raise
        finally:
            theirs.close()

    @staticmethod
    def begin(request: Dict[str, Any], fds: Sequence[int]) -> "tuple[Leash, int]":
        """A leash that has started the program, and the program's number."""
        with Leash._lock:
            leash = Leash._kept.pop() if Leash._kept else None
        if leash is not None:
            try:
                return leash, leash._start(request, fds)
            except OSError:
                leash.drop()  # it had waited too long for a program
        leash = Leash()
        try:
            return leash, leash._start(request, fds)
        except BaseException:
            leash.drop()
            raise

    def _start(self, request: Dict[str, Any], fds: Sequence[int]) -> int:
        data = json.dumps({**request, "fds": [1, 2, *fds[2:]]}).encode()
        self._socket.settimeout(START_S)
        sent = socket.send_fds(self._socket, [struct.pack(">I", len(data)) + data[:1024]], list(fds))
        self._socket.sendall((struct.pack(">I", len(data)) + data)[sent:])
        answer = self._answer()
        self._socket.settimeout(None)
        if not answer.startswith(b"pid "):
            raise ConnectionError("the leash has gone")
        return int(answer[4:])

    def say(self, **request: Any) -> None:
        """Something for the program that runs."""
        data = json.dumps(request).encode()
        try:
            self._socket.sendall(struct.pack(">I", len(data)) + data)
        except OSError:
            pass  # it has gone, and its program with it

    def wait(self) -> Optional[int]:
        """The program's exit code; None where the leash itself was killed."""
        answer = self._answer()
        return int(answer[4:]) if answer.startswith(b"end ") else None

    def _answer(self) -> bytes:
        while b"\n" not in self._rest:
            try:
                data = self._socket.recv(4096)
            except socket.timeout:
                raise
            except OSError:
                data = b""
            if not data:
                return b""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def keep(self) -> None:
        """Its program is over: it may start another."""
        with Leash._lock:
            if len(Leash._kept) < LEASHES_KEPT:
                Leash._kept.append(self)
                return
        self.drop()

    def drop(self) -> None:
        """It ends, with all that it has started."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()
        try:
            self._popen.wait(START_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()


class Manner:
    """How the programs of this node behave: "go on", or, while somebody works at the computer, "lower" (they
    step back as far as they can) or "suspend" (they stand still)."""

    now = "go on"
    lock = threading.Lock()
    children: ClassVar[Set["Child"]] = set()

    @classmethod
    def set(cls, manner: str) -> None:
        with cls.lock:
            cls.now = manner
            for child in list(cls.children):
                child.behave(manner)


class Child:
    """Starts at once. `on_line` is called from a thread of its own for every line of output; `sink` before
    that with the bytes as they come, passwords masked: what it gives back, if anything, is seen instead."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        nice: int = 0,
        pass_fds: Sequence[int] = (),
        folder: Optional[str] = None,
        environment: Optional[Dict[str, str]] = None,
        on_line: Optional[Callable[[str], None]] = None,
        sink: Optional[Callable[[bytes], Optional[bytes]]] = None,
    ) -> None:
        self.ended = threading.Event()
        self.code: Optional[int] = None
        self.killed = False
        self._lines: Deque[str] = deque(maxlen=LINES_KEPT)
        self._on_line = on_line
        self._sink = sink
        self._nice = nice
        self.low = False  # it steps back, and may not be allowed to come forward again
        self._mask = Mask(secrets_of(environment))
        request = {"run": list(argv), "nice": nice, "folder": folder, "environment": environment}
        output, theirs = os.pipe()
        try:
            self._leash, self.pid = Leash.begin(request, [theirs, theirs, *pass_fds])
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(theirs)
        self._reader = threading.Thread(target=self._read, args=(output,), name="output", daemon=True)
        self._waiter = threading.Thread(target=self._wait, name="wait", daemon=True)
        with Manner.lock:
            Manner.children.add(self)
            self._reader.start()
            self._waiter.start()
            if Manner.now != "go on":
                self.behave(Manner.now)

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
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        if not self.ended.wait(grace_s):
            self._leash.say(kill=True)
            if not self.ended.wait(2.0):
                self._leash.drop()
                self.ended.wait()
        self._reader.join(1.0)

    def signal(self, number: signal.Signals) -> None:
        """To the program's whole group, by the leash: only that knows whether the number is still its own."""
        if not self.ended.is_set():
            self._leash.say(signal=int(number))

    def behave(self, manner: str) -> None:
        """See Manner."""
        if manner == "suspend":
            self.signal(signal.SIGSTOP)
            return
        self.signal(signal.SIGCONT)
        try:
            usual = min(LOWEST, os.getpriority(os.PRIO_PROCESS, 0) + self._nice)  # as it was started
            os.setpriority(os.PRIO_PGRP, self.pid, LOWEST if manner == "lower" else usual)
            self.low = manner == "lower"
        except OSError:
            pass  # over, or only root may bring it forward again: then a fresh one takes its place

    def _wait(self) -> None:
        code = self._leash.wait()
        if code is None:  # somebody has killed the leash, or it was told to end
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except OSError:
                pass
            self._leash.drop()
        else:
            self._leash.keep()
        with Manner.lock:
            Manner.children.discard(self)
        self.code = -int(signal.SIGKILL) if code is None else code
        self.ended.set()

    def _read(self, fd: int) -> None:
        with os.fdopen(fd, "rb", buffering=0) as stream:
            rest = b""
            while True:
                try:
                    raw = os.read(stream.fileno(), 65536)
                except OSError:
                    raw = b""
                data = self._mask.feed(raw) if raw else self._mask.end()
                if self._sink is not None:
                    data = self._show(self._sink, data)
                *lines, rest = re.split(rb"[\r\n]+", rest + data)
                for line in lines:
                    self._keep(line)
                if len(rest) > LINE_BYTES:
                    self._keep(rest)
                    rest = b""
                if not raw:
                    self._keep(rest)
                    return

    def _show(self, sink: Callable[[bytes], Optional[bytes]], data: bytes) -> bytes:
        try:
            seen = sink(data)
        except Exception as error:  # a log that can't be kept must not end the reading
            self._lines.append(f"(the log is not whole: {error})")
            return data
        return data if seen is None else seen

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
