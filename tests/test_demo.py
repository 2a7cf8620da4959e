"""Does the demo do what it promises, and does it say so when it can't?

The real thing: `run.py demo --exit` with its own server, node and Blender, as a newcomer starts it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

CLONE = Path(__file__).resolve().parents[1]
BROKEN = """#!/bin/sh
[ "$1" = --version ] && exec echo Blender 3.4.1
echo no sun today
exit 1
"""


def demo(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CLONE / "run.py"), "demo", "--exit", "--port", "0", "--in", str(home)]
    return subprocess.run(
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "CROFT_VENV": sys.prefix, **environment},
        timeout=170,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str], home: Path) -> str:
    """Everything there is to see when a demo failed."""
    logs = [f"--- {log.name}\n{log.read_text()[-3000:]}" for log in sorted((home / "logs").glob("*.log"))]
    return "\n".join([done.stdout, done.stderr, *logs])


@pytest.mark.timeout(360)
def test_the_demo_renders_its_film_twice(tmp_path: Path, needs: Callable[[str], str]) -> None:
    needs("blender")
    first = demo(tmp_path)
    assert first.returncode == 0, told(first, tmp_path)
    assert "every frame whole" in first.stdout
    frames = sorted((tmp_path / "data" / "demo" / "shots" / "render" / "first-day" / "v001").glob("*.png"))
    assert len(frames) == 24
    before = [frame.read_bytes() for frame in frames]
    # Given the same folder again, the newcomer's second look makes another version and keeps the first.
    second = demo(tmp_path)
    assert second.returncode == 0, told(second, tmp_path)
    assert len(list(frames[0].parent.parent.glob("v002/*.png"))) == 24
    assert [frame.read_bytes() for frame in frames] == before
    assert not list((tmp_path / "config" / "tokens").glob("*.json")), "the demo's tokens stay behind"


@pytest.mark.timeout(180)
def test_a_miniature_farm_needs_no_renderer(tmp_path: Path) -> None:
    done = demo(tmp_path, "--nodes", "12")
    assert done.returncode == 0, told(done, tmp_path)
    assert "12 nodes have introduced themselves" in done.stdout
    assert "120 frames" in done.stdout


def starts(home: Path) -> list[str]:
    """The command lines of everything that still runs for this demo."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue  # it has ended meanwhile
        if str(home) in words:
            found.append(words)
    return found


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("arguments", "sign", "code"),
    [
        (["--nodes", "3"], "Press Ctrl-C", 0),  # at work on the long job, which is the end of the show
        ([], "/24 running", 130),  # Blender renders
    ],
)
def test_ctrl_c_leaves_nothing_behind(
    tmp_path: Path, needs: Callable[[str], str], arguments: list[str], sign: str, code: int
) -> None:
    needs("blender")
    command = [sys.executable, str(CLONE / "run.py"), "demo", "--port", "0", "--in", str(tmp_path)]
    command += arguments
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "CROFT_VENV": sys.prefix},
    ) as running:
        try:
            assert running.stdout is not None
            seen = []
            for line in running.stdout:
                seen.append(line)
                if sign in line:
                    break
            else:
                pytest.fail("".join(seen))
            assert len(starts(tmp_path)) >= 3, "the demo, its server, its node"
            running.send_signal(signal.SIGINT)
            rest = running.stdout.read()
        except BaseException:  # the time limit too: `with` would wait for its end for ever
            running.kill()
            raise
    assert running.returncode == code, rest
    last = time.monotonic() + 10
    while starts(tmp_path):
        assert time.monotonic() < last, starts(tmp_path)
        time.sleep(0.05)
    assert not list((tmp_path / "config" / "tokens").glob("*.json"))


@pytest.mark.timeout(180)
def test_a_blender_that_fails_is_told_in_one_sentence(tmp_path: Path) -> None:
    broken = tmp_path / "broken-blender"
    broken.write_text(BROKEN)
    broken.chmod(0o755)
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "here.json").write_text(f'{{"blender": "{broken}"}}')
    done = demo(tmp_path)
    assert done.returncode != 0
    assert done.stderr.strip().splitlines()[-1] == "run.py demo: Blender didn't make the scene: no sun today"
