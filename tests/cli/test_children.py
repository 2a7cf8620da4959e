"""Does a command leave nothing behind, however it and its children end?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from server.cli.children import Child
from server.disk.errors import CroftError

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
grandchild = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"])
print(grandchild.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except OSError:
        return False


def gone(pid: int) -> None:
    last = time.monotonic() + 20
    while alive(pid):
        assert time.monotonic() < last, f"{pid} lives on"
        time.sleep(0.02)


def test_a_child_that_ignores_the_signal_ends_with_its_own_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.cli.children.GRACE_S", 0.5)
    with Child("stubborn", [sys.executable, "-c", STUBBORN], tmp_path / "log") as child:
        grandchild = int(child.wait_for_first_line(20))
        assert alive(grandchild)
    gone(grandchild)


def test_what_a_child_said_last_is_told(tmp_path: Path) -> None:
    words = "import sys; print('no port is free', file=sys.stderr); sys.exit(1)"
    with (
        Child("server", [sys.executable, "-c", words], tmp_path / "log") as child,
        pytest.raises(CroftError, match=r"The server didn't start: no port is free \(all of it: "),
    ):
        child.wait_for_first_line(20)


def test_a_child_ends_when_the_command_is_killed(tmp_path: Path) -> None:
    source = f"""
import sys, time
from pathlib import Path
from server.cli.children import Child
words = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
child = Child("sleeper", [sys.executable, "-c", words], Path({str(tmp_path / "log")!r}))
print(child.wait_for_first_line(20), flush=True)
time.sleep(600)
"""
    clone = Path(__file__).resolve().parents[2]
    with subprocess.Popen([sys.executable, "-c", source], cwd=clone, stdout=subprocess.PIPE) as command:
        assert command.stdout is not None
        sleeper = int(command.stdout.readline())
        os.kill(command.pid, signal.SIGKILL)
    gone(sleeper)
