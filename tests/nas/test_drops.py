"""Files dropped over a real Samba server: whose they are, and what becomes of one that never ends."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from server.cli.client import CallFailed, quote
from server.disk import arrivals
from server.disk.records import Problem
from server.web.app import build
from tests.nas.kit import STUDENTS, Nas, Student, wait_for

SCENE = b"BLENDER-v304" + random.Random(3).randbytes(40 << 20) + b"ENDB" + bytes(20)
KEYS = {"settle_s": 0.3}


def put_half(student: Student, content: bytes, inside: str, lands: Path) -> None:
    """A `put` that is killed when half of it has landed."""
    command = [*student._command(), "-c", f"put - {inside}"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    try:
        process.stdin.write(content[: len(content) // 2])
        process.stdin.flush()
        wait_for(lambda: lands.exists() and lands.stat().st_size > 1 << 16, "nothing lands")
    finally:
        process.kill()
        process.wait()
        process.stdin.close()


def make_user(school: Nas, ident: str, **said: Any) -> None:
    path = school.config / "users" / f"{ident}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"role": "student", **said}))
    for made in (path, path.parent):
        shutil.chown(made, school.user)


@pytest.mark.parametrize("policy", ["", "mfs"], ids=["folder", "mfs"])
def test_a_put_killed_half_way_is_never_taken_for_a_file(
    make_nas: Callable[..., Nas], policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = make_nas(policy, keys=KEYS)
    shots = school.data / "demo/shots"
    Image.effect_noise((6000, 6000), 90).save(tmp_path / "wood.png", compress_level=1)
    (tmp_path / "whole.blend").write_bytes(SCENE)
    # Given two copies that are killed half way…
    school.ana("mkdir demo/shots")
    put_half(school.ana, SCENE, "demo/shots/half.blend", shots / "half.blend")
    put_half(school.ben, (tmp_path / "wood.png").read_bytes(), "demo/shots/wood.png", shots / "wood.png")
    halves = ("data::demo/shots/half.blend", "data::demo/shots/wood.png")

    def are_arriving() -> bool:
        found = [school.asset(half) for half in halves]
        return all(half is not None and half["status"] == "arriving" for half in found)

    wait_for(are_arriving, "they don't show")
    # …then one that comes later is whole before they ever are, and they have no record and no picture.
    school.ana(f'put "{tmp_path / "whole.blend"}" demo/shots/whole.blend')
    school.until("data::demo/shots/whole.blend", "ok")
    wait_for((shots / "whole.blend.json").exists, "the whole one has no sidecar")
    assert are_arriving()
    for half in halves:
        with pytest.raises(CallFailed):
            school.api.post("/api/assets", {"address": half})
        with pytest.raises(CallFailed):
            school.api.post("/api/jobs", {"file": half})
    # A server that starts anew sees them for what they are.
    school.stop()
    school.start()
    wait_for(are_arriving, "a restart takes them for whole")
    assert not [name for name in ("half.blend", "wood.png") if (shots / f"{name}.json").exists()]
    assert not [name for name in ("half.blend", "wood.png") if (shots / ".croft" / name).exists()]
    # Who copies it again has it.
    school.ana(f'put "{tmp_path / "whole.blend"}" demo/shots/half.blend')
    school.until(halves[0], "ok")
    school.stop()
    # When an hour has passed (here: none has to), then the other is told, with what takes it away.
    monkeypatch.setattr(arrivals, "INCOMPLETE_S", 0.0)
    croft = build(school.config, school.data)
    try:
        rooms = croft.services

        def told() -> list[Problem]:
            return [one for one in rooms.problems.all() if one.kind == "incomplete"]

        (problem,) = wait_for(told, "it isn't found out")
        assert (problem.address, problem.mend) == (halves[1], "Copy it again.")
        assert problem.actions[0].method == "DELETE"
        assert rooms.assets.search("demo", "wood").items == []
        rooms.assets.delete(problem.address, rooms.people.user("student"))
        wait_for(lambda: not told(), "it is told still")
    finally:
        croft.close()


def test_a_file_is_whose_login_put_it_there(make_nas: Callable[..., Nas], tmp_path: Path) -> None:
    school = make_nas("", keys=KEYS, students={**STUDENTS, "everybody": "www-data"}, start=False)
    make_user(school, "ana", title="Ana", system=STUDENTS["ana"])
    make_user(school, STUDENTS["ben"], title="Ben")
    school.start()
    (tmp_path / "a.blend").write_bytes(SCENE[:12] + SCENE[-24:])
    school.ana("mkdir demo/shots")
    for who in ("ana", "ben", "cem", "everybody"):
        school.samba[who](f'put "{tmp_path / "a.blend"}" demo/shots/{who}.blend')

    def owner(who: str) -> str | None:
        asset = school.asset(f"data::demo/shots/{who}.blend")
        return asset["owner"] if asset is not None and asset["etag"] else None

    owners = {"ana": "ana", "ben": STUDENTS["ben"], "cem": "", "everybody": ""}
    for who, ident in owners.items():
        wait_for(lambda who=who: owner(who) is not None, f"{who}'s has no sidecar")
        if school.user == "root" and who == "everybody":
            continue
        assert owner(who) == ident
    # What is nobody's can be taken by one, once.
    address = quote("data::demo/shots/cem.blend")
    assert school.api.post(f"/api/assets/{address}/mine", {})["owner"] == "admin"
    with pytest.raises(CallFailed):
        school.api.post(f"/api/assets/{quote('data::demo/shots/ana.blend')}/mine", {})


def test_frames_dropped_one_after_another_are_one_asset_with_its_gap(
    make_nas: Callable[..., Nas], tmp_path: Path
) -> None:
    school = make_nas("mfs", keys=KEYS)
    school.ana("mkdir demo/shots")
    Image.effect_noise((90, 60), 90).save(tmp_path / "f.png")
    frames = [n for n in range(1, 31) if n not in (7, 11, 12)]
    puts = [f'put "{tmp_path / "f.png"}" demo/shots/plate.{n:04d}.png' for n in frames]
    school.ana("; ".join(puts))
    address = "data::demo/shots/plate.@.png"
    school.until(address, "ok")

    def whole() -> Any:
        facts = (school.asset(address) or {}).get("facts") or {}
        return facts if facts.get("count") == 27 else None

    facts = wait_for(whole, "it isn't read")
    assert (facts["first"], facts["last"], facts["missing"]) == (1, 30, "7,11-12")
    assert [one["address"] for one in school.assets(project="demo")] == [address]
    assert (school.data / "demo/shots/plate.@.png.json").exists()
    # It grows.
    school.ben(f'put "{tmp_path / "f.png"}" demo/shots/plate.0031.png')
    wait_for(lambda: (school.asset(address) or {}).get("facts", {}).get("last") == 31, "it doesn't grow")
