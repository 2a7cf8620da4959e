"""Keeping, publishing, listing, bringing back and deleting from a shell, with a server that runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.cli.client import Client
from server.web.app import build
from tests.cli.test_commands import call
from tests.web.window import serving

SCENE = b"BLENDER-v304" + bytes(52) + b"ENDB" + bytes(20)
OTHER = SCENE.replace(b"v304", b"v305")

Command = Callable[..., str]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Command]:
    """Commands against a running server, as a student; `shell("saves", file)` is what they print."""
    path = tmp_path / "data/demo/shots/sh010.blend"
    path.parent.mkdir(parents=True)
    (tmp_path / "data/demo/project.json").write_text("{}")
    path.write_bytes(SCENE)
    croft = build(tmp_path / "config", tmp_path / "data")
    token = croft.services.people.make_token(user="student")
    croft.close()
    with serving(tmp_path / "config", tmp_path / "data") as base:
        server = Client(base, token)
        while not server.get("/api/assets", project="demo", q="is:ok"):
            pass

        def run(*arguments: str, code: int = 0) -> str:
            places = ["--config", str(tmp_path / "config"), "--data", str(tmp_path / "data")]
            done = call(*arguments, *places, "--server", base, "--token", token)
            assert done.returncode == code, done.stderr
            return (done.stdout if code == 0 else done.stderr).strip()

        yield run


def test_from_a_shell(shell: Command, tmp_path: Path) -> None:
    path = tmp_path / "data/demo/shots/sh010.blend"
    ident = shell("checkpoint", str(path), "--comment", "before I try")
    aside = path.with_name("aside")
    aside.write_bytes(OTHER)
    os.replace(aside, path)
    assert shell("publish", "data::demo/shots/sh010.blend") == "v001"
    listed = shell("saves", str(path)).splitlines()
    assert [line.split()[:2] for line in listed] == [["v001", "version"], [ident, "checkpoint"]]
    assert listed[1].endswith("before I try")
    kept = shell("restore", str(path), ident)
    assert path.read_bytes() == SCENE
    assert shell("restore", str(path), kept)
    assert path.read_bytes() == OTHER
    beside = shell("restore", str(path), "v001", "--beside")
    assert beside == "data::demo/shots/sh010 v001.blend"
    folder = shell("delete", str(path))
    assert not path.exists()
    assert shell("restore", folder) == "data::demo/shots/sh010.blend"
    assert path.read_bytes() == OTHER
    # What can't be done is said in one line.
    assert "no version v009" in shell("restore", str(path), "v009", code=1)
    assert "There is no" in shell("delete", "data::demo/shots/nothing.blend", code=1)
    # What the checks find before a file is published is shown; where nobody can be asked, --yes says so.
    assert shell("publish", str(path)) == "v001", "nothing changed"
    path.write_bytes(SCENE)
    (tmp_path / "data/demo/set.json").write_text('{"patterns": ["{shot}_{task}"]}')
    said = shell("publish", str(path), code=1)
    assert "! name-pattern: sh010.blend isn’t called as files are here: {shot}_{task}." in said
    assert "say --yes" in said
    both = shell("publish", "--yes", str(path), "data::demo/shots/sh010 v001.blend").splitlines()
    assert both == ["v002 data::demo/shots/sh010.blend", "v001 data::demo/shots/sh010 v001.blend"]
    (tmp_path / "data/demo/project.json").write_text('{"validations": {"name-pattern": "error"}}')
    path.write_bytes(OTHER)
    assert "mend that first" in shell("publish", "--yes", str(path), code=1)
