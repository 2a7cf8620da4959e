"""Helper processes and the queue before them.

Each worker is a thread that owns one helper process, starts it when there is work, lets it go after a
while without any, and replaces it when it doesn't answer. The queue is bounded and deduplicated: scenes'
facts first, in their order; then thumbnails, the newest asked first, the oldest forgotten when it is full.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.disk.speech import say

from .pipe import ANSWER_BYTES, LENGTH, pack

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[3]
QUEUE_LIMIT = 2000
IDLE_S = 30.0  # without work, until the helper process is let go
ANSWER_GRACE_S = 5.0  # what the helper gets beyond its own limit, before it is replaced


@dataclass(frozen=True, slots=True)
class Answer:
    """What a helper said. `error` is '' or one of none, gone, time, memory, damaged, crash, dropped."""

    data: dict[str, Any]
    content: bytes = b""

    @property
    def error(self) -> str:
        """Why there is no result, in one word; '' if there is."""
        return str(self.data.get("error", ""))


@dataclass(slots=True)
class Work:
    """One request waiting or being done; `done` is set once `answer` is there."""

    key: Hashable
    request: dict[str, Any]
    then: Callable[[Answer], None]
    done: threading.Event = field(default_factory=threading.Event)
    answer: Answer | None = None


class Workers:
    """`count` threads with a helper process each. All public methods are thread-safe."""

    def __init__(self, count: int = 1, *, idle_s: float = IDLE_S, limit: int = QUEUE_LIMIT) -> None:
        self._count = max(1, count)
        self._idle_s = idle_s
        self._limit = limit
        self._condition = threading.Condition()
        self._first: OrderedDict[Hashable, Work] = OrderedDict()
        self._latest: OrderedDict[Hashable, Work] = OrderedDict()
        self._doing: dict[Hashable, Work] = {}
        self._threads: list[threading.Thread] = []
        self._helpers: set[Helper] = set()
        self._closed = False
        self.restarts = 0  # helpers that had to be replaced

    def ask(
        self, key: Hashable, request: dict[str, Any], then: Callable[[Answer], None], *, first: bool = False
    ) -> Work:
        """Queue a request; `then` gets the answer in a worker's thread. Asked twice, it is done once."""
        forgotten: Work | None = None
        with self._condition:
            work = self._doing.get(key) or self._first.get(key) or self._latest.get(key)
            if work is not None:
                if key in self._latest:
                    self._latest.move_to_end(key)
                return work
            work = Work(key, request, then)
            if self._closed:
                forgotten = work
            else:
                (self._first if first else self._latest)[key] = work
                if len(self._latest) > self._limit:
                    _, forgotten = self._latest.popitem(last=False)
                if len(self._threads) < min(self._count, len(self._first) + len(self._latest)):
                    number = len(self._threads)
                    thread = threading.Thread(target=self._serve, name=f"thumbnails-{number}", daemon=True)
                    self._threads.append(thread)
                    thread.start()
                self._condition.notify()
        if forgotten is not None:
            _finish(forgotten, Answer({"error": "dropped", "why": say("too much else was asked for")}))
        return work

    def waiting(self) -> int:
        """How many requests wait."""
        with self._condition:
            return len(self._first) + len(self._latest)

    def close(self) -> None:
        """Stop: forget what waits, end the helpers, join the threads."""
        with self._condition:
            self._closed = True
            forgotten = [*self._first.values(), *self._latest.values()]
            self._first.clear()
            self._latest.clear()
            self._condition.notify_all()
            helpers = list(self._helpers)
        for helper in helpers:
            helper.kill()
        for work in forgotten:
            _finish(work, Answer({"error": "dropped", "why": say("the server stops")}))
        for thread in self._threads:
            thread.join(timeout=10)

    def _next(self, idle_s: float) -> Work | None:
        """The next request, or None after `idle_s` without one, or at the end."""
        with self._condition:
            self._condition.wait_for(lambda: self._closed or self._first or self._latest, idle_s)
            if self._closed:
                return None
            if self._first:
                key, work = self._first.popitem(last=False)
            elif self._latest:
                key, work = self._latest.popitem(last=True)
            else:
                return None
            self._doing[key] = work
            return work

    def _serve(self) -> None:
        """A worker's thread: lives as long as the server, its helper only while there is work."""
        helper: Helper | None = None
        while True:
            work = self._next(self._idle_s if helper is not None else 3600.0)
            if work is None:
                if helper is not None:
                    self._let_go(helper)
                    helper = None
                if self._closed:
                    return
                continue
            answer = Answer({"error": "crash", "why": say("the helper process failed")})
            try:
                if helper is not None and not helper.alive():
                    self._let_go(helper)
                    helper = None
                if helper is None:
                    helper = Helper()
                    with self._condition:
                        self._helpers.add(helper)
                answer = helper.ask(work.request)
            except Exception:
                log.warning("thumbnail helper replaced, at %s", work.request.get("path"), exc_info=True)
                self.restarts += 1
                if helper is not None:
                    self._let_go(helper)
                    helper = None
            finally:
                with self._condition:
                    self._doing.pop(work.key, None)
                _finish(work, answer)

    def _let_go(self, helper: Helper) -> None:
        with self._condition:
            self._helpers.discard(helper)
        helper.kill()


class Helper:
    """One helper process. Used by one thread; `kill` may come from another."""

    def __init__(self) -> None:
        environment = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *(p for p in sys.path if p)])
        self._process = subprocess.Popen(
            [_python(), "-m", "server.library.media.helper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment,
            start_new_session=True,
            close_fds=True,
        )

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """The helper's process id."""
        return self._process.pid

    def ask(self, request: dict[str, Any]) -> Answer:
        """One request and its answer. TimeoutError, EOFError or OSError if the process misbehaves."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(pack(request))
        self._process.stdin.flush()
        # A helper that starts on a busy machine takes seconds to load its libraries.
        deadline = time.monotonic() + float(request["seconds"]) + ANSWER_GRACE_S + 20
        source = self._process.stdout.fileno()
        lengths = LENGTH.unpack(self._read(source, LENGTH.size, deadline))
        if sum(lengths) > ANSWER_BYTES:
            raise EOFError("an answer of impossible length")
        body = self._read(source, lengths[0], deadline)
        content = self._read(source, lengths[1], deadline)
        data = json.loads(body)
        return Answer(data if isinstance(data, dict) else {"error": "crash"}, content)

    def kill(self) -> None:
        """End the process and whatever it forked."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()

    @staticmethod
    def _read(source: int, size: int, deadline: float) -> bytes:
        parts: list[bytes] = []
        poll = select.poll()
        poll.register(source, select.POLLIN)
        while size > 0:
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError("no answer from the thumbnail helper")
            part = os.read(source, min(size, 1 << 16))
            if not part:
                raise EOFError("the thumbnail helper ended")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _finish(work: Work, answer: Answer) -> None:
    work.answer = answer
    try:
        work.then(answer)
    except Exception:
        log.exception("what follows a thumbnail of %s failed", work.request.get("path"))
    finally:
        work.done.set()


def _python() -> str:
    """This Python's program; under another server `sys.executable` may be that server's."""
    program = Path(sys.executable or "")
    if program.name.startswith("python"):
        return str(program)
    return str(Path(sys.prefix) / "bin" / "python3")
