"""Runs the WSGI application in this process: granian's threads, one pid, one index.

Binds the port before anything else is opened, so that a port in use is told at once. Prints one line with
the URL when requests are answered. SIGTERM and Ctrl-C end the streams, finish what runs, close the disk.
"""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, Loops
from granian.server.mt import MTServer

from server.disk.settings import Settings
from server.web.api.files import LARGE_AT_ONCE
from server.web.app import CLONE, Croft, build
from server.web.session import CODE_FILE

BACKLOG = 1024
OPEN_FILES = 65_536
FARM_THREADS = 128  # so many nodes' requests share one flush of the disk


class OneProcess(MTServer):
    """granian's server of threads, on a Python that has its lock: one process, one worker."""

    def __init__(self, listener: socket.socket, stopping: Callable[[], None], **options: Any) -> None:
        self._listener = listener
        self._stopping = stopping
        super().__init__("croft", **options)

    def _check_gil(self) -> None:
        pass  # threads that wait for disks and locks release it

    def _init_shared_socket(self) -> None:
        # granian would share the port with whoever holds it; this socket is ours alone. It closes the copy.
        holder: Any = SocketHolder
        self._ssp: Any = None
        self._shd: Any = holder(os.dup(self._listener.fileno()), False, BACKLOG)

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
    settings = Settings(config)
    logging.basicConfig(
        level=str(settings.get("log_level")).upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    address = (str(host or settings.get("host")), int(settings.get("port") if port is None else port))
    try:
        listener = listen(*address)
    except OSError as error:
        print(f"Croft can't listen on {address[0]}:{address[1]}: {reason(error)}", file=sys.stderr)
        return 1
    allow_many_files()
    croft = build(config, data_dir or CLONE / "var" / "data", only=only or "")
    try:
        announce(croft, listener)
        run(croft, listener)
    finally:
        croft.close()
        listener.detach()  # the server has closed it
    return 0


def allow_many_files() -> None:
    """Raise the soft limit of open files: every node, stream and waiting job takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def run(croft: Croft, listener: socket.socket) -> None:
    """Answer requests until SIGTERM or SIGINT."""
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
    server.serve(target_loader=lambda: croft.wsgi, wrap_loader=False)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. OSError when the address isn't free or isn't this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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
        print(f"First sign-in of an admin: {url}/sign-in with the code in {path}", flush=True)


def reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "another program uses this port. Stop it, or choose another: --port 0 takes a free one."
    if error.errno in (errno.EADDRNOTAVAIL, -2, -5):
        return "this machine has no such address. --host 127.0.0.1 or 0.0.0.0 will do."
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports below 1024 are the administrator's. Choose another with --port."
    return f"{error.strerror or os.strerror(error.errno or 0)}."
