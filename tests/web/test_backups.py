"""'Bring back my file as it was': earlier saves from real backups, for whose file it is; and their age."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from house import SCENE, House

PROGRAM = Path(__file__).resolve().parents[2] / "misc" / "backup"


class Backed:
    """A house with a backup's disk."""

    def __init__(self, house: House, target: Path) -> None:
        self.house = house
        self.target = target
        self.start = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)
        target.mkdir()
        said = json.loads((house.config / "server.json").read_text())
        said["backup"] = {"path": str(target)}
        (house.config / "server.json").write_text(json.dumps(said))
        house.croft.services.settings.look_again("server.json")

    def run(self, at: int) -> None:
        """A real backup, as if it had been made so many minutes after the first one, hours ago."""
        command = [sys.executable, str(PROGRAM), "--config", str(self.house.config)]
        before = set(self.target.iterdir())
        subprocess.run(command, check=True, capture_output=True, timeout=50)
        [new] = [path for path in set(self.target.iterdir()) - before if path.name.endswith("Z")]
        new.rename(self.target / self.name(at))

    def name(self, minutes: int) -> str:
        return (self.start + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H%M%SZ")

    def at(self, minutes: int) -> str:
        return (self.start + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def saves(self, address: str, user: str = "student") -> list[dict[str, Any]]:
        reply = self.house.browser(user).get(f"/api/assets/{quote(address, safe='/:@')}/saves")
        assert reply.status == 200
        return [save for save in reply.data if save["kind"] == "backup"]

    def restore(self, address: str, save: str, user: str = "student", **more: Any) -> Any:
        path = f"/api/assets/{quote(address, safe='/:@')}/restore"
        return self.house.browser(user).post(path, {"save": save, **more})


@pytest.fixture
def backed(house: House, tmp_path: Path, needs: Callable[[str], str]) -> Backed:
    needs("rsync")
    return Backed(house, tmp_path / "backups")


def scene(text: bytes) -> bytes:
    return SCENE[:20] + text.ljust(20, b"\0") + SCENE[40:]


def make(backed: Backed, *texts: bytes, inside: str = "demo/shots/sh010.blend") -> str:
    """A student's file with these saves, a backup after each, ten minutes apart from 14:00 on."""
    house = backed.house
    address = house.asset(inside, owner="student")
    for number, text in enumerate(texts):
        (house.data / inside).write_bytes(scene(text))
        house.croft.services.store.refresh(address)
        backed.run(10 * number)
    return address


def test_bring_back_my_file_as_it_was(backed: Backed) -> None:
    # Given a file that was spoilt, and backups from before
    house = backed.house
    address = make(backed, b"good", b"good, too")
    backed.run(20)
    path = house.data / "demo/shots/sh010.blend"
    path.write_bytes(scene(b"spoilt"))
    house.croft.services.store.refresh(address)
    # Then its states are told, one for each, however many backups hold it
    newest, oldest = backed.saves(address)
    assert newest["id"] == "backup-" + backed.name(20)
    assert (newest["at"], newest["until"]) == (backed.at(10), backed.at(20))
    assert oldest["until"] == backed.at(0)
    # When its owner brings one back, then the file has it, and what it was before is kept
    reply = backed.restore(address, oldest["id"])
    assert reply.status == 200, reply.message
    assert path.read_bytes() == scene(b"good")
    assert (backed.target / backed.name(0) / "data/demo/shots/sh010.blend").read_bytes() == scene(b"good")
    assert path.stat().st_nlink == 1  # a copy: whoever saves over it changes no backup
    # And Undo takes it back
    undo = reply.data["undo"]
    done = house.browser("student").ask(undo["method"], undo["path"], undo["body"])
    assert done.status == 200
    assert path.read_bytes() == scene(b"spoilt")


def test_a_file_that_is_gone_comes_back(backed: Backed) -> None:
    house = backed.house
    address = make(backed, b"good")
    path = house.data / "demo/shots/sh010.blend"
    path.unlink()
    house.croft.services.store.refresh(address)
    [save] = backed.saves(address)
    assert backed.restore(address, save["id"]).status == 200
    assert path.read_bytes() == scene(b"good")
    assert house.croft.services.assets.one(address)["owner"] == "student"


def test_beside_the_present_one(backed: Backed) -> None:
    address = make(backed, b"good", b"better")
    save = backed.saves(address)[-1]
    reply = backed.restore(address, save["id"], beside=True)
    assert reply.data["address"] == f"data::demo/shots/sh010 ({backed.start:%Y-%m-%d %H.%M}).blend"


def test_a_sequence(backed: Backed) -> None:
    house = backed.house
    for number in (1, 2):
        house.make(f"demo/shots/walk.000{number}.png", b"good %d" % number)
    address = "data::demo/shots/walk.@.png"
    house.croft.services.store.edit(address, {"name": "Walk", "owner": "student"}, who="test")
    backed.run(0)
    assert backed.saves(address) == []  # it is as it was
    (house.data / "demo/shots/walk.0001.png").write_bytes(b"spoilt")
    (house.data / "demo/shots/walk.0002.png").unlink()
    house.croft.services.store.refresh(address)
    [save] = backed.saves(address)
    assert backed.restore(address, save["id"]).status == 200
    assert (house.data / "demo/shots/walk.0001.png").read_bytes() == b"good 1"
    assert (house.data / "demo/shots/walk.0002.png").read_bytes() == b"good 2"


def test_only_for_whose_file_it_is(backed: Backed) -> None:
    house = backed.house
    house.croft.services.settings.write("users", "eve", {"role": "student"})
    address = make(backed, b"good", b"spoilt")
    [save] = backed.saves(address)
    assert backed.saves(address, "supervisor") == [save]
    assert backed.saves(address, "eve") == []
    assert backed.restore(address, save["id"], "eve").status == 403
    assert backed.restore(address, save["id"], "eve", beside=True).status == 403
    assert (house.data / "demo/shots/sh010.blend").read_bytes() == scene(b"spoilt")
    assert backed.restore(address, save["id"], "supervisor").status == 200


def test_nothing_leads_out_of_a_backup(backed: Backed, tmp_path: Path) -> None:
    """A student can make links; a backup keeps them."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "sh020.blend").write_bytes(scene(b"secret"))
    address = make(backed, b"good", inside="demo/shots/sh020.blend")
    tree = backed.target / backed.name(0) / "data/demo"
    (tree / "shots").rename(tree / "was")
    (tree / "shots").symlink_to(secret)
    assert backed.saves(address) == []
    (tree / "shots").unlink()
    (tree / "shots").mkdir()
    (tree / "shots/sh020.blend").symlink_to(secret / "sh020.blend")
    assert backed.saves(address) == []
    for ident in (f"backup-{backed.name(0)}", "backup-../..", "backup-", f"backup-{backed.name(0)}/../x"):
        assert backed.restore(address, ident, "admin").status in (400, 404)
    assert backed.restore("data::demo/../../x", f"backup-{backed.name(0)}", "admin").status in (400, 404)


def problems(backed: Backed, ahead_s: float = 0.0) -> list[str]:
    from server.library.backups import Backups

    services = backed.house.croft.services
    room = Backups(services.settings, services.store, lambda: time.time() + ahead_s)
    return [problem.text for problem in room.problems()]


def test_a_backup_that_is_late_or_failed_is_told(backed: Backed, monkeypatch: pytest.MonkeyPatch) -> None:
    house = backed.house
    monkeypatch.setattr("server.library.backups.LOOKED_S", 0.0)
    assert ["There is no backup" in text for text in problems(backed)] == [True]
    command = [sys.executable, str(PROGRAM), "--config", str(house.config)]
    subprocess.run(command, check=True, capture_output=True, timeout=50)
    assert problems(backed) == []
    assert problems(backed, 50 * 60) == []
    [late] = problems(backed, 90 * 60)
    assert late.startswith("The newest backup is 90 minutes old.")
    (house.data / ".croft-share.json").rename(house.data / "away")
    assert subprocess.run(command, capture_output=True, timeout=50, check=False).returncode == 3
    (house.data / "away").rename(house.data / ".croft-share.json")
    [failed] = problems(backed)
    assert "away" in failed
    backed.target.rename(house.data.parent / "unmounted")
    [gone] = problems(backed)
    assert "can’t be read" in gone
    house.until(lambda: house.browser("admin").get("/api/problems?kind=backup").data)


def test_the_page_says_until_when_it_was_so(backed: Backed) -> None:
    address = make(backed, b"good", b"spoilt")
    [save] = backed.saves(address)
    page = backed.house.browser("student").get("/p/demo/asset/shots/sh010.blend")
    assert page.status == 200
    text = page.body.decode()
    assert f'id="save-{save["id"]}"' in text
    assert "It was so until" in text
    assert "From the backup" in text
    page = backed.house.browser("supervisor").get("/p/demo/asset/shots/sh010.blend")
    assert "It was so until" in page.body.decode()
