"""Uploads on a real pool: staged on one disk, added to a folder of another, then the students' own."""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.nas.kit import Nas, for_the_group, wait_for

SCENE = b"BLENDER-v304" + b"ENDB" + bytes(20)
OCTETS = "application/octet-stream"


class Student:
    """What Ana's browser asks."""

    def __init__(self, nas: Nas) -> None:
        self.nas = nas
        self.token = nas.run("token", "student").strip().split()[-1]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = OCTETS if isinstance(body, bytes) else "application/json"
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        request = urllib.request.Request(self.nas.api.url + path, raw, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def send(self, path: str, name: str, content: bytes) -> str:
        """A whole file, looked into; its id."""
        given = {"project": "demo", "path": path, "name": name, "size": len(content)}
        ident = str(self.ask("POST", "/api/uploads", given)["id"])
        for at in range(0, len(content), 1 << 20):
            self.ask("PUT", f"/api/uploads/{ident}?offset={at}", content[at : at + (1 << 20)])
        wait_for(lambda: self.ask("GET", f"/api/uploads/{ident}")["state"] == "ready", f"{name} isn't read")
        return ident

    def add(self, *idents: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("POST", "/api/uploads/add", {"ids": list(idents)})
        return found


@pytest.mark.parametrize("policy", ["mfs", "epmfs"])
def test_added_across_the_disks_of_a_pool(make_nas: Callable[..., Nas], policy: str, tmp_path: Path) -> None:
    """The folder is on the smallest disk alone, what is staged on the one with most room."""
    nas = make_nas(policy, keys={"settle_s": 0.2})
    assert nas.pool is not None
    smallest = nas.pool.branches[0]
    for folder in (smallest / "demo", smallest / "demo/shots"):
        folder.mkdir(exist_ok=True)
        for_the_group(folder)
    student = Student(nas)
    contents = {f"s{n:02d}.blend": SCENE[:12] + os.urandom(200_000 + n) + SCENE[12:] for n in range(12)}
    idents = [
        student.send(("shots", "new/deep")[n % 2], name, contents[name]) for n, name in enumerate(contents)
    ]
    results = student.add(*idents)
    assert [one["message"] for one in results if not one["ok"]] == []
    for one, name in zip(results, contents, strict=True):
        path = nas.data / one["address"].partition("::")[2]
        assert path.read_bytes() == contents[name], name
        assert json.loads(path.with_name(f"{name}.json").read_text())["owner"] == "student"
        copies = [branch for branch in nas.pool.branches if (branch / path.relative_to(nas.data)).exists()]
        assert len(copies) == 1, f"{name} lies on {copies}"
    # Facts and pictures of the newest are still being written, each beside its place first.
    wait_for(lambda: not [p for p in nas.data.rglob(".croft-tmp-*") if p.is_file()], "something is left")
    # A student works on with what was added, like with any other file.
    kept = tmp_path / "kept.blend"
    nas.ana(f'get demo/shots/s00.blend "{kept}"; rename demo/shots/s00.blend demo/shots/t00.blend')
    assert kept.read_bytes() == contents["s00.blend"]
    nas.ben("del demo/new/deep/s01.blend; del demo/new/deep/s01.blend.json")
    nas.until("data::demo/shots/t00.blend", "ok")
    # One that is there is kept when a new version is dropped.
    content = SCENE[:12] + os.urandom(100_000) + SCENE[12:]
    ident = student.send("shots", "t00.blend", content)
    assert not student.add(ident)[0]["ok"]
    student.ask("PATCH", f"/api/uploads/{ident}", {"choice": "version"})
    assert student.add(ident)[0]["ok"]
    assert (nas.data / "demo/shots/t00.blend").read_bytes() == content
    saves = [p.read_bytes() for p in (nas.data / "demo/shots/old").rglob("t00.blend") if p.is_file()]
    assert contents["s00.blend"] in saves


def test_killed_while_many_are_added_nothing_is_lost_or_half(make_nas: Callable[..., Nas]) -> None:
    nas = make_nas("mfs", keys={"settle_s": 0.2})
    student = Student(nas)
    contents = {f"k{n:02d}.blend": SCENE[:12] + os.urandom(20_000 + n) + SCENE[12:] for n in range(16)}
    idents = [student.send("shots", name, content) for name, content in contents.items()]

    def add() -> None:
        try:
            student.add(*idents)
        except (OSError, urllib.error.URLError):
            pass  # it died under our hands

    adding = threading.Thread(target=add)
    adding.start()
    shots = nas.data / "demo/shots"
    wait_for(lambda: len(list(shots.glob("k*.blend"))) >= 4, "nothing is added")
    os.kill(nas.server._process.pid, signal.SIGKILL)
    adding.join()
    nas.stop()
    nas.start()
    results = student.add(*idents)
    assert [one["message"] for one in results if not one["ok"]] == []
    for name, content in contents.items():
        assert (shots / name).read_bytes() == content
        assert json.loads((shots / f"{name}.json").read_text())["owner"] == "student"
