"""Students at a real Samba share: what they save appears, what Croft makes they may move and delete.

On a plain folder and on pools: two students who are ordinary users of the folder's group, a real server.
"""

from __future__ import annotations

import grp
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.nas.kit import CLONE, GROUP, Nas, wait_for


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]) -> Path:
    made = tmp_path_factory.mktemp("scene") / "sh010.blend"
    script = str(CLONE / "misc" / "demo_scene.py")
    command = [needs("blender"), "--background", "--factory-startup", "--python", script, "--", str(made)]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
    return made


@pytest.fixture(
    params=["", "mfs", pytest.param("epmfs", marks=pytest.mark.soak)], ids=["folder", "mfs", "epmfs"]
)
def school(request: pytest.FixtureRequest, make_nas: Callable[..., Nas]) -> Nas:
    return make_nas(request.param)


def test_a_students_day(school: Nas, scene: Path) -> None:
    address = "data::demo/shots/sh010.blend"
    # Given Ana's share, when she drops a scene into a folder of her own making…
    school.ana(f'mkdir demo/shots; put "{scene}" demo/shots/sh010.blend')
    # …then it appears by itself, first as arriving, then ready, with what is in it.
    assert school.until(address, "ok")[-2:] == ["arriving", "ok"]
    read = lambda: ((school.asset(address) or {}).get("facts") or {}).get("frames")  # noqa: E731
    assert wait_for(read, "nothing was read from the scene") == [1, 24]
    # What Croft wrote is the group's: setgid folders, group-writable files.
    sidecar = school.data / "demo" / "shots" / "sh010.blend.json"
    wait_for(sidecar.exists, "there is no sidecar")
    assert sidecar.stat().st_mode & stat.S_IWGRP
    assert grp.getgrgid(sidecar.stat().st_gid).gr_name == GROUP

    # When Ben renames Ana's scene, then it is known again under its new name.
    uuid = (school.asset(address) or {})["uuid"]
    school.ben("rename demo/shots/sh010.blend demo/shots/sh020.blend")
    renamed = "data::demo/shots/sh020.blend"
    school.until(renamed, "ok")
    wait_for(lambda: (school.asset(renamed) or {}).get("uuid") == uuid, "it lost its identity")

    # A folder with everything in it can be moved by another student too.
    school.ben("rename demo/shots demo/scenes")
    moved = "data::demo/scenes/sh020.blend"
    school.until(moved, "ok")
    assert (school.asset(moved) or {}).get("uuid") == uuid

    # And deleted: the scene and what Croft wrote beside it.
    school.ben("del demo/scenes/sh020.blend; del demo/scenes/sh020.blend.json")
    school.until(moved, None)


def test_a_folder_comes_back_from_the_backup_while_the_server_runs(school: Nas, scene: Path) -> None:
    address = "data::demo/shots/sh010.blend"
    school.ana(f'mkdir demo/shots; put "{scene}" demo/shots/sh010.blend')
    school.until(address, "ok")
    wait_for(lambda: (school.asset(address) or {}).get("uuid"), "there is no sidecar")
    before = school.asset(address)
    assert before is not None
    backup = school.data.parent / "backup"
    shutil.copytree(school.data / "demo" / "shots", backup, symlinks=True)
    # The whole folder is lost.
    shutil.rmtree(school.data / "demo" / "shots")
    school.until(address, None)
    # An admin copies it back with nothing but cp.
    subprocess.run(["cp", "-a", str(backup), str(school.data / "demo" / "shots")], check=True)
    school.until(address, "ok", within_s=10)
    after = school.asset(address)
    assert after is not None
    assert {key: after[key] for key in ("uuid", "etag", "state", "owner")} == {
        key: before[key] for key in ("uuid", "etag", "state", "owner")
    }
