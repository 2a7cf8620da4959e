"""Does `run.py publish DIR` list, ask, publish and skip as somebody with plates on the share expects?"""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.web.app import build
from tests.cli.test_commands import CLONE, call
from tests.web.window import serving


@dataclass
class Shell:
    """Commands against a running server, as a student."""

    data: Path
    options: list[str]

    def publish(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return call("publish", *arguments, *self.options)

    def answering(self, text: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """The command at a terminal, where somebody types this."""
        ours, theirs = pty.openpty()
        try:
            os.write(ours, text.encode())
            command = [sys.executable, str(CLONE / "run.py"), "publish", *arguments, *self.options]
            environment = {**os.environ, "CROFT_VENV": sys.prefix}
            return subprocess.run(
                command, stdin=theirs, capture_output=True, env=environment, timeout=50, check=False
            )
        finally:
            os.close(ours)
            os.close(theirs)


def frames(folder: Path, pattern: str, numbers: range) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / (pattern % number)).write_bytes(bytes(1000))
        os.utime(folder / (pattern % number), (1_700_000_000, 1_700_000_000))


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    folder = tmp_path_factory.mktemp("publish")
    config, data = folder / "config", folder / "data"
    config.mkdir()
    (config / "server.json").write_text('{"settle_s": 0}')
    plates = data / "demo/shots/plates"
    frames(plates, "plate.%04d.exr", range(1, 25))
    frames(plates / "sh020", "über.%d.png", range(8, 12))
    frames(plates / "sh030", "c.%03d.jpg", range(2))
    frames(plates / "render", "r.%03d.png", range(2))
    (plates / "plate.0007.exr").unlink()
    (plates / "notes.txt").write_text("x")
    (data / "demo/project.json").write_text("{}")
    croft = build(config, data)
    token = croft.services.people.make_token(user="student")
    croft.close()
    with serving(config, data) as base:
        places = ["--config", str(config), "--data", str(data)]
        yield Shell(data, [*places, "--server", base, "--token", token])


def test_a_folder_of_sequences(shell: Shell) -> None:
    """In one story, since each step begins with what the one before left."""
    plates = shell.data / "demo/shots/plates"
    listed = shell.publish(str(plates), "--dry-run")
    assert listed.returncode == 0, listed.stderr
    lines = listed.stdout.splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["plate.@.exr", "0001-0024", "23", "frames", "23.0", "KB", "new;", "missing", "7"],
        ["sh020/über.@.png", "8-11", "4", "frames", "4.0", "KB", "new"],
        ["sh030/c.@.jpg", "000-001", "2", "frames", "2.0", "KB", "new"],
    ]
    assert lines[3:] == [
        "Left out: 1 file that is no frame of a sequence (notes.txt).",
        "Left out: render: renders are versions already. Name the folder to publish it.",
    ]
    # Nobody is asked where nobody can answer, and nothing is done.
    refused = shell.publish(str(plates))
    assert refused.returncode == 1
    assert "say --yes to publish 3 sequences" in refused.stderr
    assert not list(plates.rglob("manifest.json"))
    # One yes, then enough.
    asked = shell.answering("maybe\ny\nq\n", str(plates), "--comment", "from set")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.decode().splitlines()[5:] == ["plate.@.exr is published as v001."]
    # By its address, without what lies below: all is done already.
    done = shell.publish("data::demo/shots/plates", "--here", "--yes")
    assert done.stdout.splitlines()[-1] == "Nothing is to be published."
    assert "published as v001; missing 7" in done.stdout
    (plates / "plate.0002.exr").unlink()
    os.utime(plates / "plate.0003.exr")
    frames(plates, "plate.%04d.exr", range(25, 27))
    rest = shell.publish(str(plates), "--yes")
    assert rest.returncode == 0, rest.stderr
    assert "changed since v001: 1 frame other, 1 gone, 2 new" in rest.stdout
    assert rest.stdout.splitlines()[-3:] == [
        "plate.@.exr is published as v002.",
        "sh020/über.@.png is published as v001.",
        "sh030/c.@.jpg is published as v001.",
    ]


def test_what_lies_elsewhere_or_holds_none(shell: Shell, tmp_path: Path) -> None:
    frames(tmp_path, "a.%04d.png", range(3))
    elsewhere = shell.publish(str(tmp_path))
    assert elsewhere.returncode == 1
    assert "lies on no share of this server; the shares are data" in elsewhere.stderr
    (shell.data / "demo/empty").mkdir()
    none = shell.publish("data::demo/empty")
    assert none.returncode == 1
    assert "no image sequence lies in data::demo/empty" in none.stderr
    assert "There is no" in shell.publish("data::demo/nowhere").stderr
