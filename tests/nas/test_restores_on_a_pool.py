"""A folder, a file, a project, the whole share from a real backup, while server and students are at work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from server.cli.client import quote
from server.disk import intents, restores
from server.disk.branches import branches_of
from server.disk.errors import Conflict, NotFound
from server.disk.locks import Locks
from server.disk.paths import Share
from tests.nas.kit import CLONE, Nas, wait_for
from tests.nas.test_crowd import rebuilt, shown

SCENE = b"BLENDER-v304" + b"\0" * 200 + b"ENDB" + b"\0" * 20  # whole, as far as its end goes


class School:
    """A NAS with a backup's disk beside it."""

    def __init__(self, nas: Nas) -> None:
        self.nas = nas
        self.target = nas.home / "backups"
        self.target.mkdir()
        self.made = 0

    def put(self, inside: str, text: str) -> str:
        """A student saves a scene; its address, once it is an asset."""
        local = self.nas.home / "local.blend"
        local.write_bytes(SCENE[:20] + text.encode().ljust(40, b"\0") + SCENE[60:])
        self.nas.ana(f'put "{local}" {inside}')
        address = f"data::{inside}"
        self.nas.until(address, "ok")
        wait_for(lambda: (self.nas.asset(address) or {}).get("uuid"), f"{address} doesn't become an asset")
        return address

    def says(self, inside: str) -> str:
        return (self.nas.data / inside).read_bytes()[20:60].rstrip(b"\0").decode()

    def change(self, address: str, **fields: Any) -> None:
        self.nas.api._json("PATCH", f"/api/assets/{quote(address)}", json.dumps(fields).encode())

    def backup(self) -> str:
        """One that was made some minutes ago; its name."""
        command = [sys.executable, str(CLONE / "misc/backup"), "--config", str(self.nas.config)]
        before = set(os.listdir(self.target))
        done = subprocess.run(
            [*command, "--to", str(self.target)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        [new] = [name for name in set(os.listdir(self.target)) - before if name.endswith("Z")]
        self.made += 1
        name = (datetime.now(UTC) - timedelta(hours=2, minutes=-self.made)).strftime("%Y-%m-%dT%H%M%SZ")
        (self.target / new).rename(self.target / name)
        return name

    def restore(self, address: str, *more: str, code: int = 0) -> str:
        """As an admin does, as root."""
        command = [sys.executable, str(CLONE / "run.py"), "restore-backup", *([address] if address else [])]
        command += [
            "--from",
            str(self.target),
            "--config",
            str(self.nas.config),
            "--data",
            str(self.nas.data),
        ]
        environment = {**os.environ, "CROFT_VENV": str(Path(sys.executable).parent.parent)}
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, env=environment, timeout=120, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def assert_true(self) -> None:
        """The live index is what a rebuild gives, and no look finds what wasn't known."""
        wait_for(lambda: shown(self.nas) == rebuilt(self.nas), "the index isn't what a rebuild gives", 20)
        assert self.nas.api.post("/api/rescan", {})["changed"] == []
        assert not [path for path in self.nas.data.rglob("*") if ".restoring" in path.name]
        assert not list((self.nas.data / ".croft-locks").glob("intent-*"))

    def aside(self, told: str) -> Path:
        """Where a restore says that what was there lies."""
        return self.nas.data / told.split("What was there lies in data::")[1].split(".\n")[0].rstrip(".")


@pytest.fixture(params=[pytest.param("mfs", marks=pytest.mark.soak), "epmfs"])
def school(
    request: pytest.FixtureRequest, make_nas: Callable[..., Nas], needs: Callable[[str], str]
) -> School:
    needs("rsync")
    return School(make_nas(request.param))


def test_a_folder_a_file_a_project_and_all(school: School) -> None:
    nas = school.nas
    # Given a folder with scenes, owners and a render that waits
    nas.ana("mkdir demo/shots; mkdir demo/props")
    first, second = school.put("demo/shots/sh010.blend", "one"), school.put("demo/shots/sh020.blend", "two")
    prop = school.put("demo/props/tree.blend", "tree")
    school.change(first, owner="student", description="as it was")
    job = nas.api.post("/api/jobs", {"file": first, "frames": "1-3"})["id"]
    uuids = {address: nas.asset(address)["uuid"] for address in (first, second, prop)}  # type: ignore[index]
    school.backup()
    # When a student spoils it afterwards: overwritten, deleted, new, changed
    nas.api._json("PATCH", f"/api/jobs/{job}", b'{"priority": 5}')
    school.put("demo/shots/sh010.blend", "spoilt")
    nas.ana("del demo/shots/sh020.blend; del demo/shots/sh020.blend.json")
    school.put("demo/shots/sh030.blend", "new work")
    school.change(first, description="spoilt", owner="")
    # And an admin puts the folder back, with the server running
    told = school.restore("data::demo/shots")
    # Then it is as it was, and so the pages tell
    wait_for(lambda: (nas.asset(first) or {}).get("description") == "as it was", "the folder isn't back")
    nas.until(second, "ok")
    assert (school.says("demo/shots/sh010.blend"), school.says("demo/shots/sh020.blend")) == ("one", "two")
    assert nas.asset(first)["owner"] == "student"  # type: ignore[index]
    assert {address: nas.asset(address)["uuid"] for address in uuids} == uuids  # type: ignore[index]
    school.assert_true()
    # And its render, which was put back to an earlier state, waits for somebody's word
    wait_for(lambda: nas.api.get(f"/api/jobs/{job}")["why"] == "restored, resume?", "the render goes on")
    assert (nas.data / f"demo/shots/.sh010.{job}.blend").exists()  # what it renders isn't in the backup
    # And nothing is lost: what a student made since lies where the admin was told
    assert "sh030.blend" in told
    assert (school.aside(told) / "shots/sh030.blend").exists()
    assert json.loads((school.aside(told) / "shots/sh010.blend.json").read_text())["description"] == "spoilt"
    # And a student may go on there
    school.put("demo/shots/sh010.blend", "on and on")
    school.change(first, description="on and on")

    # One file, all that is known of it with it
    told = school.restore("data::demo/shots/sh010.blend")
    wait_for(lambda: (nas.asset(first) or {}).get("description") == "as it was", "the file isn't back")
    assert school.says("demo/shots/sh010.blend") == "one"
    assert (school.aside(told) / "sh010.blend").exists()
    school.assert_true()

    # A project, by its path; the newest of two backups
    school.change(prop, description="later")
    school.backup()
    nas.ana("del demo/props/tree.blend; del demo/props/tree.blend.json")
    nas.until(prop, None)
    told = school.restore(str(nas.data / "demo"))
    nas.until(prop, "ok")
    assert nas.asset(prop)["description"] == "later"  # type: ignore[index]
    assert nas.asset(prop)["uuid"] == uuids[prop]  # type: ignore[index]
    school.assert_true()

    # The whole share as the first backup had it
    listed = school.restore("").splitlines()
    oldest = listed[-2].split()[0]
    told = school.restore("data::", "--at", oldest)
    wait_for(lambda: (nas.asset(prop) or {}).get("description") == "", "the share isn't back")
    assert school.says("demo/shots/sh010.blend") == "one"
    school.assert_true()
    nas.run("check", "--data", str(nas.data))  # nothing is at fault


def test_a_new_disk_is_filled_and_comes_back(
    make_nas: Callable[..., Nas], needs: Callable[[str], str]
) -> None:
    needs("rsync")
    school = School(make_nas(""))
    nas = school.nas
    nas.ana("mkdir demo/shots")
    address = school.put("demo/shots/sh010.blend", "one")
    before = nas.asset(address)
    school.backup()
    # When the disk dies and an empty one takes its place
    nas.data.rename(nas.home / "died")
    nas.data.mkdir()
    wait_for(lambda: nas.api.get("/healthz")["shares"]["data"] == "away", "nobody noticed")
    assert school.restore("data::demo", code=1).count("isn't mounted") == 1
    # Then the share comes back as a whole
    assert "data is back" in school.restore("data::")
    nas.until(address, "ok")
    same = ("uuid", "etag", "size", "modified", "state", "creator")
    after = nas.asset(address)
    assert before is not None
    assert after is not None
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    # but not onto a disk with something else
    (nas.data / ".croft-share.json").unlink()
    assert "isn't empty" in school.restore("data::", code=1)


# The swap itself.


@pytest.fixture
def place(tmp_path: Path, needs: Callable[[str], str]) -> tuple[Share, Locks, Path]:
    needs("rsync")
    root, copy = tmp_path / "share", tmp_path / "copy"
    for at, text in ((root, "present"), (copy, "backup")):
        (at / "demo/shots/.croft/a.blend").mkdir(parents=True)
        (at / "demo/shots/a.blend").write_text(text)
        (at / "demo/shots/a.blend.json").write_text(json.dumps({"state": text}))
    (root / ".croft-locks").mkdir()
    share = Share("data", root, branches=branches_of(root))
    return share, Locks(root, "a test"), copy


@pytest.mark.parametrize("at", range(1, 28, 2))
@pytest.mark.parametrize("inside", ["demo/shots", "demo/shots/a.blend"])
def test_a_crash_at_any_step_is_finished_at_the_start(
    place: tuple[Share, Locks, Path], at: int, inside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    share, locks, copy = place
    left = at

    class Crash(BaseException):
        """The power goes: nothing runs any more, no clean-up either."""

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise Crash
            if left < 0 and dead:
                raise Crash
            return function(*arguments, **more)

        return call

    dead = True
    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "link", "unlink", "mkdir"):
            patch.setattr(os, name, counted(getattr(os, name)))
        try:
            restores.restore(share, locks, copy, inside, "admin")
        except Crash:
            pass
        except Exception:
            assert left < 0
    crashed = left <= 0
    dead = False
    # When a server starts
    locks = Locks(share.root, "another")
    intents.finish_all(share, locks, {restores.WHAT: restores.finish})
    # Then the place has the one or the other, whole, and the present one isn't lost
    text = (share.root / "demo/shots/a.blend").read_text()
    record = json.loads((share.root / "demo/shots/a.blend.json").read_text())
    assert text == record["state"]
    assert text == "backup" or crashed
    if text == "backup":
        olds = [path.read_text() for path in share.root.rglob("old/*/**/a.blend") if path.is_file()]
        assert olds == ["present"]
    assert not list((share.root / ".croft-locks").glob("intent-*"))
    assert not [path for path in share.root.rglob(".*") if path.name.endswith((".restoring", ".replaced"))]


def test_a_folder_that_comes_into_being_meanwhile(
    place: tuple[Share, Locks, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A student saves into the place of a folder in the microsecond that it is away."""
    share, locks, copy = place
    real = os.rename

    def rename(source: Any, target: Any) -> None:
        real(source, target)
        if str(target).endswith(".replaced"):
            (share.root / "demo/shots").mkdir()
            (share.root / "demo/shots/quick.blend").write_text("quick")

    monkeypatch.setattr(os, "rename", rename)
    done = restores.restore(share, locks, copy, "demo/shots", "admin")
    assert (share.root / "demo/shots/a.blend").read_text() == "backup"
    assert (share.root / done.aside / "shots/a.blend").read_text() == "present"
    assert (share.root / done.aside / "shots.1/quick.blend").read_text() == "quick"


def test_what_a_backup_lacks(place: tuple[Share, Locks, Path]) -> None:
    share, locks, copy = place
    before = sorted(share.root.rglob("*"))
    for inside in ("demo/props", "demo/shots/b.blend"):
        with pytest.raises(NotFound):
            restores.restore(share, locks, copy, inside, "admin")
    with pytest.raises(Conflict):
        restores.refill(share, copy)
    assert sorted(share.root.rglob("*")) == before


@pytest.mark.parametrize("name", ["the_long_name_of_a_scene_that_nobody_ever_shortened.blend", "f" * 250])
def test_a_long_name_and_its_record(place: tuple[Share, Locks, Path], name: str) -> None:
    """Hidden names that are cut short are one name for a file, its record and its other frames."""
    share, locks, copy = place
    for root, text in ((share.root, "present"), (copy, "backup")):
        (root / "demo/shots" / name).write_text(text)
        if len(name) < 250:
            (root / "demo/shots" / f"{name}.json").write_text(json.dumps({"state": text}))
    done = restores.restore(share, locks, copy, f"demo/shots/{name}", "admin")
    assert (share.root / "demo/shots" / name).read_text() == "backup"
    assert (share.root / done.aside / name).read_text() == "present"
    if len(name) < 250:
        record = json.loads((share.root / "demo/shots" / f"{name}.json").read_text())
        assert record == {"state": "backup"}
        assert json.loads((share.root / done.aside / f"{name}.json").read_text()) == {"state": "present"}


def test_frames_with_a_long_name(place: tuple[Share, Locks, Path]) -> None:
    share, locks, copy = place
    stem = "the_long_name_of_a_plate_that_a_camera_gave_it"
    for number in range(1, 4):
        (share.root / f"demo/shots/{stem}.{number:04}.png").write_text("present")
        (copy / f"demo/shots/{stem}.{number:04}.png").write_text(str(number))
    restores.restore(share, locks, copy, f"demo/shots/{stem}.@.png", "admin")
    found = [path.read_text() for path in sorted((share.root / "demo/shots").glob(f"{stem}.*"))]
    assert found == ["1", "2", "3"]


@pytest.mark.parametrize("copied", [True, False])
@pytest.mark.parametrize("kind", ["elsewhere", "a file"])
def test_an_intent_that_somebody_changed(
    place: tuple[Share, Locks, Path], tmp_path: Path, kind: str, copied: bool
) -> None:
    """Students can write where intents lie: nothing outside the share, and no file, is touched for one."""
    share, locks, _ = place
    (tmp_path / "secret").write_text("the admin's")
    intent = intents.new(share, "demo/shots/a.blend", restores.WHAT, "eve", names={}, copied=copied)
    ident = Path(intent.aside).name
    up = "../../../"
    hidden = {"elsewhere": f"{up}.secret.{ident}.restoring", "a file": f".b.{ident}.replaced"}[kind]
    (share.root / "demo/shots" / hidden).write_text("kept")
    intent.data["swaps"] = {f"{up}secret" if kind == "elsewhere" else "b": [hidden, False]}
    intent.begin()
    intents.finish_all(share, locks, {restores.WHAT: restores.finish})
    assert (tmp_path / "secret").read_text() == "the admin's"
    assert (share.root / "demo/shots" / hidden).read_text() == "kept"


def test_a_pointer_that_somebody_changed(place: tuple[Share, Locks, Path], tmp_path: Path) -> None:
    share, locks, _ = place
    outside = tmp_path / "outside"
    aside = outside / "old/20260101-000000-abcdef"
    aside.mkdir(parents=True)
    (aside / ".croft-tmp-1").write_text("another server's")
    (share.root / "demo/way").symlink_to(outside)
    said = {"folder": "demo/way/old/20260101-000000-abcdef", "inside": "demo/way/a"}
    pointer = share.root / ".croft-locks/intent-20260101-000000-abcdef.json"
    pointer.write_text(json.dumps(said))
    other = pointer.with_name("intent-20260101-000000-abcdee.json")
    other.write_text(json.dumps({**said, "lock": "../../taken"}))
    (tmp_path / "taken.lock").write_text("another program's")
    intents.finish_all(share, locks, {})
    assert (aside / ".croft-tmp-1").exists()
    assert not pointer.exists()
    assert (tmp_path / "taken.lock").read_text() == "another program's"
