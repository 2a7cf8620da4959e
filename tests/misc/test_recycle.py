"""What a student deleted and takes back from #recycle is known again, by a Croft that is an ordinary user."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.cli.children import Child
from server.cli.client import CallFailed, Client, quote
from tests.misc.kit import CLONE, Share, as_user, python_for, school
from tests.misc.people import GID, PEOPLE

SCENE = b"BLENDER-v304" + b"ENDB" + bytes(20)
PATIENCE_S = 30.0


class Croft:
    """The server at work on the school's share."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.config = share.home / "config"
        self.config.mkdir()
        os.chown(self.config, PEOPLE["croft"], GID)
        command = self.command("serve", "--port", "0", "--data", str(share.root))
        self.process = Child("server", command, share.home / "server.log")
        url = self.process.wait_for_first_line(PATIENCE_S).split()[-1]
        made = subprocess.run(self.command("token", "admin"), capture_output=True, text=True, check=True)
        self.api = Client(url, made.stdout.strip())

    def command(self, *words: str) -> list[str]:
        python = python_for(PEOPLE["croft"], self.share.home)
        environment = f"CROFT_VENV={python.parent.parent}"
        run = [str(python), str(CLONE / "run.py"), *words, "--config", str(self.config)]
        return [*as_user(PEOPLE["croft"]), "env", environment, *run]

    def asset(self, address: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self.api.get(f"/api/assets/{quote(address)}")
        except CallFailed as error:
            if error.status in (401, 404, 503):
                return None
            raise
        return found

    def until(self, address: str, status: str | None) -> dict[str, Any]:
        last = time.monotonic() + PATIENCE_S
        while ((found := self.asset(address)) or {}).get("status") != status:
            assert time.monotonic() < last, f"{address} is {found}, not {status}"
            time.sleep(0.05)
        return found or {}


@pytest.fixture
def croft(needs: Callable[[str], str]) -> Iterator[Croft]:
    with school(needs) as share:
        made = Croft(share)
        with made.process:
            yield made


def test_what_comes_back_from_the_recycle_bin_is_known_again(croft: Croft, tmp_path: Path) -> None:
    scene = tmp_path / "sh010.blend"
    scene.write_bytes(SCENE)
    ana, ben = croft.share.person("ana"), croft.share.person("ben")
    address = "data::demo/shots/sh010.blend"
    ana(f'mkdir demo\\shots; put "{scene}" demo\\shots\\sh010.blend')
    croft.until(address, "ok")
    told = json.dumps({"owner": "student", "description": "Two foxes meet."}).encode()
    croft.api._call("PATCH", f"/api/assets/{quote(address)}", told)
    before = croft.until(address, "ok")
    # The file alone: its record stays, and takes it in again.
    ben("del demo\\shots\\sh010.blend")
    croft.until(address, "missing")
    ben("rename #recycle\\ben\\demo\\shots\\sh010.blend demo\\shots\\sh010.blend")
    after = croft.until(address, "ok")
    assert known(after) == known(before)
    # The whole folder, with all that is hidden in it.
    ana("deltree demo\\shots")
    croft.until(address, None)
    assert not croft.asset("data::#recycle/ana/demo/shots/sh010.blend"), "what is in the bin is no asset"
    ana("rename #recycle\\ana\\demo\\shots demo\\shots")
    assert known(croft.until(address, "ok")) == known(before)


def known(asset: dict[str, Any]) -> dict[str, Any]:
    return {key: asset[key] for key in ("uuid", "owner", "description", "etag")}


def test_a_published_version_is_neither_overwritten_nor_deleted_nor_moved(
    croft: Croft, tmp_path: Path
) -> None:
    scene = tmp_path / "sh010.blend"
    scene.write_bytes(SCENE)
    ana, ben = croft.share.person("ana"), croft.share.person("ben")
    ana(f'mkdir demo\\shots; put "{scene}" demo\\shots\\sh010.blend')
    address = "data::demo/shots/sh010.blend"
    croft.until(address, "ok")
    croft.api.post(f"/api/assets/{quote(address)}/publish", {})
    inside = "demo/shots/.croft/sh010.blend/versions/v001/sh010.blend"
    version = inside.replace("/", "\\")
    scene.write_bytes(SCENE + b"by ben")
    assert ben.denied(f'put "{scene}" {version}')
    assert croft.share.file(inside).read_bytes() == SCENE
    assert ben.denied(f"del {version}")
    assert ben.denied(f"rename {version} demo\\shots\\mine.blend")
    assert croft.share.file(inside).read_bytes() == SCENE
