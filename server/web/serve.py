"""Runs the WSGI application in this process: granian's threads, one pid, one index.

Binds the port before anything else is opened, so that a port in use is told at once. Prints one line with
the URL when requests are answered. SIGTERM and Ctrl-C end the streams, finish what runs, close the disk.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, Loops
from granian.server.mt import MTServer

from server.disk.errors import CroftError
from server.disk.mounts import chosen_data
from server.disk.settings import Settings
from server.web.api.files import LARGE_AT_ONCE
from server.web.app import CLONE, Croft, build
from server.web.session import CODE_FILE

BACKLOG = 1024
# Seconds of silence before a client is asked whether it is there, between two such asks, and how many.
KEEPALIVE = {socket.TCP_KEEPIDLE: 60, socket.TCP_KEEPINTVL: 15, socket.TCP_KEEPCNT: 4}
HEED_S = 1.0  # a signal is heeded so late at most
STOP_S = 5.0  # for requests that are being answered when the signal comes
OPEN_FILES = 65_536
LISTENER = "CROFT_LISTENER"  # the socket of the server that starts again
ANSWER_S = 0.5  # for the answer that says so
FARM_THREADS = 256  # so many nodes' requests share one flush of the disk


class OneProcess(MTServer):
    """granian's server of threads, on a Python that has its lock: one process, one worker."""

    def __init__(self, listener: socket.socket, stopping: Callable[[], None], **options: Any) -> None:
        self._listener = listener
        self._stopping = stopping
        self.stuck = False  # some client held its thread beyond the end
        super().__init__("croft", **options)

    def _check_gil(self) -> None:
        pass  # threads that wait for disks and locks release it

    def _serve_loop(self, *args: Any) -> None:
        # A signal that came while the process was stopped may reach any of its threads, which wakes the main
        # one not: there Python would hear of it never, were it not for a look now and then.
        while not self.main_loop_interrupt.wait(HEED_S):
            pass
        super()._serve_loop(*args)  # type: ignore[no-untyped-call]

    def _init_shared_socket(self) -> None:
        # granian would share the port with whoever holds it; this socket is ours alone. It closes the copy.
        holder: Any = SocketHolder
        self._ssp: Any = None
        self._shd: Any = holder(os.dup(self._listener.fileno()), False, BACKLOG)

    def _stop_workers(self) -> None:
        """As granian's, but a client that stopped in the middle of a transfer is waited for no longer."""
        for worker in self.wrks:
            worker.terminate()  # type: ignore[no-untyped-call]
        end = time.monotonic() + STOP_S
        for worker in self.wrks:
            worker.join(max(0.0, end - time.monotonic()))  # type: ignore[no-untyped-call]
            self.stuck = self.stuck or worker.inner.is_alive()
        self.wrks.clear()

    def shutdown(self, exit_code: int = 0) -> None:
        self._stopping()  # a stream holds its thread until it is told to end
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]


def serve(
    config_dir: Path | str | None = None,
    data_dir: Path | str | None = None,
    host: str | None = None,
    port: int | None = None,
    only: str | None = None,
) -> int:
    """Serve until a signal comes. The exit code: 0 after a signal, 1 with one sentence on stderr."""
    config = Path(config_dir or CLONE / "var" / "config")
    try:
        settings = Settings(config)
    except OSError as error:
        return sorry(f"Croft can't use the configuration folder {config}: {error.strerror}.")
    data = Path(data_dir) if data_dir else chosen_data(settings, CLONE / "var" / "data")
    level = logging.getLevelNamesMapping().get(str(settings.get("log_level")).upper(), logging.INFO)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level, format=form, stream=sys.stderr)
    address = (str(host or settings.get("host")), int(settings.get("port") if port is None else port))
    try:
        listener = listen(*address)
    except (OSError, OverflowError) as error:
        return sorry(f"Croft can't listen on {address[0]}:{address[1]}: {reason(error)}")
    allow_many_files()
    again: list[bool] = []

    def restart() -> None:
        again.append(True)
        threading.Timer(ANSWER_S, os.kill, (os.getpid(), signal.SIGTERM)).start()

    with listener:
        try:
            croft = build(config, data, only=only or "")
        except CroftError as error:
            return sorry(f"Croft can't start: {error.message}")
        except OSError as error:
            place = error.filename or data
            return sorry(f"Croft can't start: {place} can't be used: {error.strerror}.")
        croft.services.data_named, croft.services.restart = bool(data_dir), restart
        croft.services.listens = listener.getsockname()[0]
        gc.freeze()  # the index stays: to look for garbage in 100,000 files would halt all for 0.1 s
        try:
            stuck = run(croft, listener)
        finally:
            croft.close()
        if again:
            start_again(listener)
    if stuck:
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)  # the threads of clients that neither read nor go would keep the process
    return 0


def start_again(listener: socket.socket) -> None:
    """The same command from its beginning, in this process; who connects meanwhile waits for it."""
    sys.stdout.flush()
    logging.shutdown()
    listener.set_inheritable(True)
    os.environ[LISTENER] = str(listener.fileno())
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def sorry(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1


def allow_many_files() -> None:
    """Raise the soft limit of open files: every node, stream and waiting job takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(croft: Croft, listener: socket.socket) -> bool:
    """Answer requests until SIGTERM or SIGINT. True if clients still hold threads then."""
    settings = croft.services.settings
    server = OneProcess(
        listener,
        croft.services.events.close,
        interface=Interfaces.WSGI,
        loop=Loops.asyncio,
        http=HTTPModes.http1,
        websockets=False,
        # A stream and a long download keep their threads, and a node's request waits for the disk: none
        # of them may keep a page waiting.
        blocking_threads=int(settings.get("threads"))
        + int(settings.get("event_streams"))
        + LARGE_AT_ONCE
        + FARM_THREADS,
        backpressure=BACKLOG,
        log_enabled=False,
    )
    server.on_startup(lambda: announce(croft, listener))  # signals are heeded from here on
    server.serve(target_loader=lambda: croft.wsgi, wrap_loader=False)
    return server.stuck


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. OSError when the address isn't free or isn't this machine's."""
    inherited = os.environ.pop(LISTENER, "")
    if inherited:
        listener = socket.socket(fileno=int(inherited))
        listener.set_inheritable(False)
        return listener
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What is accepted inherits it: a laptop closed amid an upload mustn't keep a thread for ever.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def announce(croft: Croft, listener: socket.socket) -> None:
    """One line with the URL, and one with the first sign-in's code while that is wanted."""
    host, port = listener.getsockname()[:2]
    name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
    url = f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"
    print(f"Croft listens at {url}", flush=True)
    path = croft.services.config_dir / CODE_FILE
    if croft.services.sessions.code_wanted():
        print(f"Set it up: {url}/setup{code_for_a_person(path)}, with the code in {path}", flush=True)


def code_for_a_person(path: Path) -> str:
    """The one-time code as part of the address, where a person reads it from a terminal; never in a log."""
    try:
        return "?code=" + path.read_text("utf-8").split("\n", 1)[0].strip() if sys.stdout.isatty() else ""
    except OSError:
        return ""


def reason(error: OSError | OverflowError) -> str:
    if isinstance(error, OverflowError):
        return "ports go from 0 to 65535."
    if error.errno == errno.EADDRINUSE:
        return "another program uses this port. Stop it, or choose another: --port 0 takes a free one."
    if error.errno in (errno.EADDRNOTAVAIL, -2, -5):
        return "this machine has no such address. --host 127.0.0.1 or 0.0.0.0 will do."
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 are the administrator's. Choose another with --port."
    return f"{error.strerror or os.strerror(error.errno or 0)}."
