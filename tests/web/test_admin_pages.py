"""The admin's pages: every disk with its room, what is wrong with it, and mistakes of the configuration where
they stand."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from house import QUICK, House

from server.disk.branches import Pool
from server.disk.settings import KEYS, KINDS
from server.web.app import build
from server.web.pages import admin

CLONE = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("hall")
    config, data = folder / "config", folder / "data"
    config.mkdir()
    (config / "server.json").write_text(QUICK)
    croft = build(config, data)
    yield House(croft, config, data)
    croft.close()


def page(house: House, path: str, who: str = "admin") -> str:
    reply = house.browser(who).get(path)
    assert reply.status == 200, reply.body[:300]
    return unescape(reply.body.decode())


def look_again(house: House) -> None:
    for kind in ("server.json", *KINDS):
        house.croft.services.settings.look_again(kind)
    house.croft.services.problems.look_again()


@pytest.mark.parametrize("path", ["/admin", "/admin/configuration"])
def test_only_admins_may_look(hall: House, path: str) -> None:
    assert hall.browser("supervisor").get(path).status == 403
    assert hall.browser("student").get(path).status == 403
    assert hall.browser("admin").get(path).status == 200


def test_health_tells_of_shares_disks_people_and_computers(hall: House) -> None:
    text = page(hall, "/admin")
    assert "Connected" in text
    assert str(hall.data) in text
    assert "1 student" in text
    assert "No computers yet" in text
    assert "No backup is set up" in text
    assert "Every folder is watched" in text


def test_each_disk_of_a_pool_is_told_with_its_room(tmp_path: Path, monkeypatch: Any) -> None:
    real = os.statvfs(tmp_path)
    free = {"full": 1 << 20, "ro": 1 << 40, "small": 2 << 30, "well": 1 << 40}

    def room(path: Path) -> os.statvfs_result:
        name = Path(path).name
        if name == "lost":
            raise FileNotFoundError(2, "No such file or directory")
        values = list(real)
        values[0] = values[1] = 4096  # bsize, frsize
        values[2], values[4] = (2 << 40) // 4096, free.get(name, 1 << 40) // 4096
        values[8] = os.ST_RDONLY if name == "ro" else 0
        return os.statvfs_result(values)

    monkeypatch.setattr(admin.os, "statvfs", room)
    pool = Pool(
        tmp_path, tuple((tmp_path / name, name != "ro") for name in (*free, "lost")), "epmfs", 4 << 30
    )
    told = {name: admin.disk(tmp_path / name, None, pool) for name in (*free, "lost")}
    assert {name: str(row["state"][1]) for name, row in told.items()} == {
        "full": "Full", "ro": "Can only be read", "small": "Nearly full", "well": "Well",
        "lost": "not there: No such file or directory",
    }  # fmt: skip
    assert (told["well"]["free"], told["well"]["used"]) == ("1.1 TB", 50)
    takes = {name: str(admin.taking(pool, tmp_path / name, name != "ro")) for name in (*free, "lost")}
    assert takes["well"] == "takes new files (epmfs)"
    assert takes["small"].startswith("takes no new files: less than")
    assert takes["ro"] == takes["lost"] == "takes no new files"


def test_a_share_that_is_away_says_why(hall: House) -> None:
    marker = hall.data / ".croft-share.json"
    raw = marker.read_bytes()
    marker.unlink()
    try:
        hall.until(lambda: hall.croft.services.store.away("data"))
        look_again(hall)
        text = page(hall, "/admin")
        assert "Away" in text
        assert "isn't there" in text
    finally:
        marker.write_bytes(raw)
        hall.until(lambda: not hall.croft.services.store.away("data"))


def test_mistakes_are_shown_where_they_stand(hall: House) -> None:
    good = (hall.config / "server.json").read_text()
    (hall.config / "sets").mkdir(exist_ok=True)
    broken = hall.config / "sets" / "mine.json"
    broken.write_text('{\n  "title": "<b>Mine</b>",\n  "types": {},\n}\n')
    secret = hall.config / "users" / "ben.json"
    secret.write_text('{"password": "scrypt$16384$8$1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNo"\n"title": "Ben"}')
    (hall.config / "server.json").write_text(json.dumps({"site": "t", "port": "80", "nonsense": 1}, indent=1))
    try:
        look_again(hall)
        for path in ("/admin", "/admin/configuration"):
            text = page(hall, path)
            place = text[text.index(str(broken)) :][:1500]
            assert "line 3" in place
            assert "This comma is one too many." in place
            assert '"types": {},' in place
            assert "docs/sets.md" in place
            assert "port must be a whole number" in text
            assert "there is no key 'nonsense'" in text
            assert "aGFzaGhh" not in text
            raw = hall.browser("admin").get(path).body.decode()
            assert "<b>Mine" not in raw
        assert "port must be" in text[text.index('id="k-port"') :][:900]
        port = text[text.index("port must be") - 400 :]
        assert "line 3" in port[:400]
    finally:
        (hall.config / "server.json").write_text(good)
        broken.unlink()
        secret.unlink()
        look_again(hall)
    assert "Nothing is wrong in it." in page(hall, "/admin/configuration")


def test_every_key_stands_with_its_value_and_its_part_of_the_manual(hall: House) -> None:
    text = page(hall, "/admin/configuration")
    for name, key in KEYS.items():
        assert f'id="k-{name}"' in text
        assert key.sentence in text
    assert '<code>"test"</code>' in text
    assert admin.key_row("x1y2", "event_code")["value"] == "set; not shown"
    for kind in ("server.json", *KINDS):
        assert (CLONE / "docs" / admin.MANUAL[kind]).is_file()


def test_the_newest_backup_is_told(hall: House, tmp_path: Path) -> None:
    services = hall.croft.services
    services.settings.change(backup={"path": str(tmp_path)})
    try:
        look_again(hall)
        assert "There is none yet" in page(hall, "/admin")
        tree = tmp_path / "2026-11-21T081000Z"
        tree.mkdir()
        (tree / ".croft-backup.json").write_text("{}")
        os.utime(tmp_path)
        assert "The newest is of" in page(hall, "/admin")
    finally:
        services.settings.change(backup={})
        look_again(hall)


def test_a_mistake_of_now_is_counted_and_one_that_was_mended_isnt(hall: House) -> None:
    wrong = hall.config / "users" / "zed.json"
    wrong.write_text('{\n  "title": 5,\n  "role": "boss"\n}\n')
    try:
        hall.croft.services.settings.look_again("users")
        text = page(hall, "/admin/configuration")
        assert "2 mistakes" in text
        assert 'Problems<span class="count">2</span>' in hall.browser("admin").get("/admin").body.decode()
        place = text[text.index("users/zed.json: role must be one of") - 200 :][:900]
        assert "line 3" in place
        assert "docs/people.md" in place
    finally:
        wrong.unlink()
    hall.croft.services.settings.look_again("users")
    raw = hall.browser("admin").get("/admin/configuration").body.decode()
    assert "Nothing is wrong in it." in raw
    assert "/problems" not in raw


def test_who_looks_hears_of_a_mistake(hall: House) -> None:
    following = hall.croft.services.following
    following.look()
    wrong = hall.config / "sets" / "mine.json"
    wrong.write_text("[]")
    try:
        hall.croft.services.settings.look_again("sets")
        assert [change.kind for change in following.look()] == ["config"]
    finally:
        wrong.unlink()
        hall.croft.services.settings.look_again("sets")
