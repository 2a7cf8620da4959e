"""Disks that are full: in the middle of a copy over Samba, and of a record's write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.cli.client import CallFailed
from tests.nas.crowd import blend
from tests.nas.kit import MB, Nas, wait_for

POLICIES = pytest.mark.parametrize("policy", ["", "mfs", "epmfs"], ids=["one disk", "mfs", "epmfs"])
SIZES_MB = (6, 5, 4)
ADDRESS = "data::demo/shots/sh010.blend"


def small(make_nas: Callable[..., Nas], policy: str) -> Nas:
    return make_nas(policy or "mfs", sizes_mb=SIZES_MB if policy else (6,))


def disks(nas: Nas) -> tuple[Path, ...]:
    assert nas.pool is not None
    return nas.pool.branches


def fill_up(place: Path) -> Path:
    """Somebody else's file takes all the room that is left."""
    path = place / "ballast"
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\1" * 4096)
        except OSError:
            pass
    return path


@POLICIES
def test_in_the_middle_of_a_copy(make_nas: Callable[..., Nas], policy: str, tmp_path: Path) -> None:
    nas = small(make_nas, policy)
    tmp_path.chmod(0o755)
    big, fits = tmp_path / "big.blend", tmp_path / "fits.blend"
    big.write_bytes(b"BLENDER-v304" + os.urandom(8 * MB) + blend(1)[-24:])
    fits.write_bytes(blend(2))
    nas.ana(f'mkdir demo/shots; put "{fits}" demo/shots/sh010.blend')
    nas.until(ADDRESS, "ok")
    # Given a scene that is longer than any disk, when it is copied, then Samba says so (smbclient on its
    # error output; that the close failed too it says on the other, where it did)…
    said = nas.ana.ask(f'put "{big}" demo/shots/big.blend')
    assert "NT_STATUS_DISK_FULL" in said.stdout + said.stderr
    # …what came of it, if anything stayed, is no asset and has no record…
    half = nas.data / "demo/shots/big.blend"
    if half.exists():
        wait_for(lambda: nas.asset("data::demo/shots/big.blend"), "it isn't shown")
        seen = nas.asset("data::demo/shots/big.blend")
        assert seen is not None
        assert seen["status"] == "arriving"
        assert not half.with_name("big.blend.json").exists()
    # …what was there before is as it was…
    assert (nas.data / "demo/shots/sh010.blend").read_bytes() == fits.read_bytes()
    assert (nas.asset(ADDRESS) or {})["status"] == "ok"
    # …and when there is room again, a copy comes through.
    nas.ana.ask("del demo/shots/big.blend")
    nas.ana(f'put "{fits}" demo/shots/sh020.blend')
    nas.until("data::demo/shots/sh020.blend", "ok")
    nas.until("data::demo/shots/big.blend", None)


@POLICIES
def test_in_the_middle_of_a_records_write(make_nas: Callable[..., Nas], policy: str, tmp_path: Path) -> None:
    nas = small(make_nas, policy)
    tmp_path.chmod(0o755)
    scene = tmp_path / "scene.blend"
    scene.write_bytes(blend(1))
    nas.ana(f'mkdir demo/shots; put "{scene}" demo/shots/sh010.blend')
    nas.until(ADDRESS, "ok")
    record = nas.data / "demo/shots/sh010.blend.json"
    wait_for(record.exists, "there is no record")
    settled(nas)
    before = record.read_bytes()
    # Given disks without room for one block more…
    ballast = [fill_up(disk) for disk in disks(nas)]
    # …when somebody writes a long description, then it is refused in words, and nothing has changed.
    with pytest.raises(CallFailed, match="full"):
        patch(nas, {"description": "x" * 20_000})
    assert record.read_bytes() == before
    assert nas.asset(ADDRESS)
    assert not [name for name in os.listdir(record.parent) if name.startswith(".croft-")]
    # A student's scene has no room either, and no record is made of it.
    nas.ana.ask(f'put "{scene}" demo/shots/sh020.blend')
    assert not (nas.data / "demo/shots/sh020.blend.json").exists()
    assert nas.problems(), "nobody is told"
    # When there is room again, both go on; nothing was started anew.
    for path in ballast:
        path.unlink()
    patch(nas, {"description": "x" * 20_000})
    assert json.loads(record.read_bytes())["description"] == "x" * 20_000
    nas.ana(f'put "{scene}" demo/shots/sh020.blend')
    nas.until("data::demo/shots/sh020.blend", "ok")
    wait_for((nas.data / "demo/shots/sh020.blend.json").exists, "there is no record")
    assert nas.api.post("/api/rescan", {})["changed"] == []
    nas.stop()
    nas.run("check", "--data", str(nas.data))


def patch(nas: Nas, changes: dict[str, Any]) -> None:
    nas.api._json("PATCH", f"/api/assets/{ADDRESS}", json.dumps(changes).encode())


def settled(nas: Nas) -> None:
    """Until Croft has written what it writes of a new file."""
    facts = nas.data / "demo/shots/.croft/sh010.blend/file.json"
    wait_for(facts.exists, "its facts aren't written")
