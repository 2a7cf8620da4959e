"""What students and disks do to a real NAS: is it told, and does the command that is offered mend it?

Croft is an ordinary user here, so that rights matter.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.nas.kit import GROUP, Nas, wait_for

SCENE = b"BLENDER-v304" + b"\0" * 200 + b"ENDB" + b"\0" * 20


def as_admin(command: str) -> None:
    """What the page says, typed into a terminal of root's."""
    subprocess.run(command.replace("sudo ", ""), shell=True, check=True, capture_output=True, timeout=30)


@pytest.mark.parametrize("policy", ["", "mfs"])
def test_a_students_troubles(make_nas: Callable[..., Nas], policy: str, tmp_path: Path) -> None:
    school = make_nas(policy)
    scene = tmp_path / "a.blend"
    scene.write_bytes(SCENE)
    school.ana(f'mkdir demo/shots; put "{scene}" demo/shots/sh010.blend')
    address = "data::demo/shots/sh010.blend"
    school.until(address, "ok")
    record = school.data / "demo/shots/sh010.blend.json"
    wait_for(record.exists, "it has no record")
    change = json.dumps({"description": "the chase"}).encode()
    school.api._json("PATCH", f"/api/assets/{address}", change)

    # Ana opens the record in an editor over Samba and spoils it.
    spoilt = tmp_path / "spoilt.json"
    spoilt.write_text('{"description": "the ch')
    school.ana(f'put "{spoilt}" demo/shots/sh010.blend.json')
    wait_for(lambda: bool(school.problems("sidecar")), "nobody tells of the spoilt record")
    [problem] = school.problems("sidecar")
    [action] = problem["actions"]
    school.api.post(action["path"], action["body"])
    assert json.loads(record.read_bytes())["description"] == "the chase"
    assert school.problems() == []
    # What was put back is the group's: Ben may save over it, and delete it.
    assert record.stat().st_mode & 0o020
    school.ben("del demo/shots/sh010.blend.json")
    school.until(address, "ok")

    # Two names that Windows takes for one can't come from Windows; they come straight on the disk.
    upper = school.data / "demo/shots/SH010.blend"
    upper.write_bytes(SCENE)
    wait_for(lambda: bool(school.problems("case-clash")), "nobody tells of the clash")
    [problem] = school.problems("case-clash")
    school.api.post(problem["actions"][0]["path"], problem["actions"][0]["body"])
    wait_for(lambda: not school.problems("case-clash"), "it is still told")


def test_a_folder_that_croft_may_not_look_into(make_nas: Callable[..., Nas]) -> None:
    school = make_nas("")
    if school.user == "root":
        pytest.skip("root may look into everything")
    secret = school.data / "demo/secret"
    secret.mkdir(parents=True)
    (secret / "sh010.blend").write_bytes(SCENE)
    subprocess.run(["chown", "-R", f"root:{GROUP}", str(school.data / "demo")], check=True)
    (school.data / "demo").chmod(0o2775)
    subprocess.run(["chown", "-R", "root:root", str(secret)], check=True)
    secret.chmod(0o700)
    school.api.post("/api/rescan", {})
    wait_for(lambda: bool(school.problems("unreadable")), "nobody tells of the folder")
    [problem] = school.problems("unreadable")
    assert problem["address"] == "data::demo/secret"
    as_admin(problem["command"])
    wait_for(lambda: not school.problems("unreadable"), "it is still told")
    school.until("data::demo/secret/sh010.blend", "ok")
