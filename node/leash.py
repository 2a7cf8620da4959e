"""Holds a program on a leash: `leash.py LEASH STATUS NICE FDS -- PROGRAM ARGUMENTS…`

The node starts this in a session of its own; it starts the program, waits, and writes the exit code into
STATUS. When LEASH ends, because the node closed it or was killed, the program and everything that it has
started get SIGKILL, what has left the process group included (Linux). It stands alone: no imports from the
node, so that Python starts it in a few hundredths of a second.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
from typing import List, Optional, Tuple

PR_SET_PDEATHSIG = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER = 36
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # they are for the program; the leash stays


def prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the leash alone has to do."""
    try:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
    except (OSError, AttributeError):
        pass


def main(arguments: List[str]) -> None:
    leash, status, nice = int(arguments[0]), int(arguments[1]), int(arguments[2])
    passed = [int(text) for text in arguments[3].split(",") if text]
    command = arguments[5:]
    for fd in (leash, status):
        os.set_inheritable(fd, False)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    me = os.getpid()
    child = os.fork()
    if child == 0:
        begin(command, nice, me)
    # Only the program may hold its pipes open.
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    for fd in passed:
        os.close(fd)
    code = wait(child, leash, wake_read)
    if code is not None:
        os.write(status, f"{code}\n".encode())
    kill_all(me)


def begin(command: List[str], nice: int, parent: int) -> None:
    """In the forked child: becomes the program."""
    try:
        for number in (*IGNORED, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # Race: the leash was killed before the line above.
        if nice:
            try:
                os.nice(nice)
            except OSError:
                pass  # only root may be less nice
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]} can't be started: {error.strerror}\n".encode())
    os._exit(127)


def wait(child: int, leash: int, wake: int) -> Optional[int]:
    """The program's exit code, negative for a signal; None when the leash ended first."""
    while True:
        code = reap(child)
        if code is not None:
            return code
        ready = select.select([leash, wake], [], [])[0]
        if wake in ready:
            os.read(wake, 4096)
        if leash in ready and not os.read(leash, 1):
            return None


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


def kill_all(me: int) -> None:
    """Everything below the leash, then its group with itself."""
    for _ in range(100):  # a program that forks faster than this is beyond help
        below = descendants(me)
        if not below:
            break
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        reap(0)
    os.killpg(0, signal.SIGKILL)


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
