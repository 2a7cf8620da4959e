"""Holds programs on a leash, one after the other: `leash.py FD` (a socket to the node).

The node asks for a program; this starts it in a session of its own, says its number, waits, and says its
exit code. When the program is over, everything that it has started gets SIGKILL, what has left its process
group included (Linux); when the node closes the socket or is killed, so does the program. It stands alone:
no imports from the node. It stays from program to program, since starting a Python costs more than most
commands.

A request is four bytes of length and JSON: `{"run": [argv], "nice", "folder", "environment", "fds": [1, …]}`
comes with the descriptors that are to be what `fds` says; `{"signal": N}` is for the program's group;
`{"kill": true}` for all. An answer is a line: `pid N`, `end N`.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from typing import Any, Dict, List, Optional, Tuple

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # they are for the program; the leash stays
IDLE_S = 300.0  # without a program it ends: the node starts another
MAX_BYTES = 16 << 20
MAX_FDS = 16
try:
    _prctl: Any = ctypes.CDLL(None, use_errno=True).prctl
except (OSError, AttributeError):
    _prctl = None  # Linux only; elsewhere the leash alone has to do


def prctl(option: int, value: int) -> None:
    if _prctl is not None:
        _prctl(option, value, 0, 0, 0)


def main(arguments: List[str]) -> None:
    node = socket.socket(fileno=int(arguments[0]))
    node.set_inheritable(False)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    wake, wake_write = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    # Nothing of the node's may be held open here.
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    requests = Requests(node)
    try:
        while True:
            if not requests.waiting() and not select.select([node], [], [], IDLE_S)[0]:
                break
            request, fds = requests.next()
            if "run" in request:
                child = start(request, fds)
                node.sendall(b"pid %d\n" % child)
                code = wait(child, node, requests, wake)
                signal_group(child, signal.SIGKILL)
                kill_below()
                reap(0)
                node.sendall(b"end %d\n" % code)
            # Anything else was meant for a program that is over.
    except (EOFError, OSError, ValueError, KeyError):
        pass  # the node is gone
    finally:
        kill_below()


class Requests:
    """What the node asks, one by one, with the descriptors that came along."""

    def __init__(self, node: socket.socket) -> None:
        self._node = node
        self._data = b""

    def next(self) -> Tuple[Dict[str, Any], List[int]]:
        """EOFError when the node has closed its end."""
        fds: List[int] = []
        while True:
            length = struct.unpack(">I", self._data[:4])[0] if len(self._data) >= 4 else 0
            if length and len(self._data) >= 4 + length:
                request: Dict[str, Any] = json.loads(self._data[4 : 4 + length])
                self._data = self._data[4 + length :]
                return request, fds
            more, received, _, _ = socket.recv_fds(self._node, 1 << 20, MAX_FDS)
            if not more or len(self._data) > MAX_BYTES:
                raise EOFError
            for fd in received:
                os.set_inheritable(fd, False)
            fds += received
            self._data += more

    def waiting(self) -> bool:
        """Whether one has been read already, behind the last."""
        return len(self._data) >= 4 and len(self._data) >= 4 + struct.unpack(">I", self._data[:4])[0]


def start(request: Dict[str, Any], fds: List[int]) -> int:
    """Forks; the child becomes the program."""
    me = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            begin(request, fds, me)
        finally:
            os._exit(127)
    for fd in fds:
        os.close(fd)  # only the program may hold its pipes open
    return child


def begin(request: Dict[str, Any], fds: List[int], parent: int) -> None:
    """In the forked child."""
    for number in (*IGNORED, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    os.setsid()
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # Race: the leash was killed before the line above.
    wanted = [int(fd) for fd in request["fds"]]
    above = max([2, *wanted]) + 1
    aside = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in fds]
    for fd, place in zip(aside, wanted):
        os.dup2(fd, place)
    argv = [os.fsencode(part) for part in request["run"]]
    try:
        if request.get("folder"):
            os.chdir(request["folder"])
        if request.get("nice"):
            try:
                os.nice(int(request["nice"]))
            except OSError:
                pass  # only root may be less nice
        environment = request.get("environment")
        if environment is None:
            os.execvp(argv[0], argv)
        os.execvpe(argv[0], argv, environment)
    except OSError as error:
        os.write(2, b"%s can't be started: %s\n" % (argv[0], (error.strerror or "").encode()))
    except ValueError as error:  # a zero byte in an argument
        os.write(2, b"%r can't be started: %s\n" % (argv[0], str(error).encode()))


def wait(child: int, node: socket.socket, requests: Requests, wake: int) -> int:
    """The program's exit code, negative for a signal. EOFError when the node is gone."""
    while True:
        code = reap(child)
        if code is not None:
            return code
        ready: List[int] = [] if requests.waiting() else select.select([node.fileno(), wake], [], [])[0]
        if wake in ready:
            os.read(wake, 4096)
        if not ready or node.fileno() in ready:
            request, _ = requests.next()
            if "signal" in request:
                signal_group(child, int(request["signal"]))
            else:
                kill_below()


def signal_group(child: int, number: int) -> None:
    try:
        os.killpg(child, number)
    except OSError:
        pass


def reap(child: int) -> Optional[int]:
    """Buries whoever has died; the exit code where the program is among them."""
    found: Optional[int] = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if pid == 0:
            return found
        if pid == child:
            found = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def kill_below() -> None:
    """Everything below the leash."""
    for _ in range(100):  # a program that forks faster than this is beyond help
        below = descendants(os.getpid())
        if not below:
            break
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
    # Buried by `reap`, which must not lose the program's own code.


def descendants(pid: int) -> List[int]:
    found: List[int] = []
    waiting: Tuple[int, ...] = (pid,)
    while waiting:
        parent, waiting = waiting[0], waiting[1:]
        try:
            with open(f"/proc/{parent}/task/{parent}/children") as file:
                children = [int(text) for text in file.read().split()]
        except (OSError, ValueError):
            continue
        alive = [child for child in children if not is_zombie(child)]
        found += alive
        waiting += tuple(alive)
    return found


def is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return True


if __name__ == "__main__":
    main(sys.argv[1:])
