"""Is the configuration filled once, read again when it changes, and never worse than its last good state?"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from server.disk import settings as room
from server.disk.errors import BadInput, NotFound
from server.disk.settings import KEYS, Settings


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 2  # each look is a later second
        return self.now


@pytest.fixture
def defaults(tmp_path: Path) -> Path:
    folder = tmp_path / "defaults"
    for kind in ("users", "sets"):
        (folder / kind).mkdir(parents=True)
    (folder / "server.json").write_text('{"title": "Default"}')
    (folder / "users/admin.json").write_text('{"role": "admin"}')
    (folder / "users/student.json").write_text('{"role": "student"}')
    return folder


@pytest.fixture
def settings(tmp_path: Path, defaults: Path) -> Settings:
    return Settings(tmp_path / "config", defaults, Clock())


def test_what_is_missing_or_empty_is_filled_once(tmp_path: Path, defaults: Path) -> None:
    config = tmp_path / "config"
    (config / "users").mkdir(parents=True)
    (config / "users/admin.json").write_text("")
    (config / "users/mia.json").write_text("{}")
    settings = Settings(config, defaults, Clock())
    assert sorted(settings.folder("users")) == ["admin", "mia", "student"]
    assert settings.get("title") == "Default"
    settings.remove("users", "student")
    assert sorted(Settings(config, defaults, Clock()).folder("users")) == ["admin", "mia"]
    (config / "server.json").unlink()
    assert Settings(config, defaults, Clock()).get("title") == "Default"


def test_a_site_gets_its_name_and_keeps_it(settings: Settings, tmp_path: Path, defaults: Path) -> None:
    site = settings.get("site")
    assert len(site) == 6
    assert Settings(tmp_path / "config", defaults).get("site") == site
    (tmp_path / "config/server.json").write_text('{"site": "north"}')
    assert settings.get("site") == "north"
    (tmp_path / "config/server.json").write_text("{}")
    assert settings.get("site") == site
    (tmp_path / "config/site").write_text("../x")
    spoilt = Settings(tmp_path / "config", defaults)
    assert (spoilt.get("site"), [problem.address for problem in spoilt.problems()]) == ("here", ["site"])


def test_a_change_is_seen_and_a_bad_one_keeps_the_last_good(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "config/server.json"
    path.write_text('{"title": "Studio", "port": 9000}')
    assert (settings.get("title"), settings.get("port")) == ("Studio", 9000)
    path.write_text('{"title": "St')
    assert (settings.get("title"), settings.get("port")) == ("Studio", 9000)
    assert "server.json isn't valid" in settings.problems()[0].text
    path.write_text('\ufeff{"title": "Again", "port": "9000", "colour": 1, "_note": "mine", "retries": 0}')
    assert (settings.get("title"), settings.get("port")) == ("Again", 8080)
    assert [problem.text for problem in settings.problems()] == [
        "server.json: there is no key 'colour'.",
        "server.json: port must be a whole number, not '9000'.",
        "server.json: retries must be at least 1, not 0.",
    ]
    path.write_text("{}")
    assert settings.problems() == []
    path.unlink()
    assert settings.get("title") == "Croft"


def test_a_file_beside_server_json_may_be_missing(settings: Settings, tmp_path: Path) -> None:
    assert settings.single("where.json") == {}
    path = tmp_path / "config/where.json"
    path.write_text('{"rules": [{"then": "local"}]}')
    found = settings.single("where.json")
    assert (found["rules"], settings.single("where.json") is found) == ([{"then": "local"}], True)
    path.write_text("[")
    assert settings.single("where.json") is found
    assert [problem.address for problem in settings.problems()] == ["where.json"]
    path.unlink()
    assert (settings.single("where.json"), settings.problems()) == ({}, [])


def test_a_bad_file_of_a_folder_keeps_its_last_good(settings: Settings, tmp_path: Path) -> None:
    before = settings.folder("users")
    assert settings.folder("users") is before
    path = tmp_path / "config/users/admin.json"
    path.write_text("[]")
    assert settings.folder("users")["admin"] == {"role": "admin"}
    assert [problem.address for problem in settings.problems()] == ["users/admin.json"]
    path.write_text('{"role": "student"}')
    assert settings.folder("users")["admin"] == {"role": "student"}
    assert settings.problems() == []
    path.unlink()
    assert "admin" not in settings.folder("users")


def test_what_is_written_is_there_at_once(tmp_path: Path, defaults: Path) -> None:
    settings = Settings(tmp_path / "config", defaults, lambda: 1.0)  # no second ever passes
    assert "tom" not in settings.folder("users")
    settings.write("users", "tom", {"role": "student"})
    assert settings.folder("users")["tom"] == {"role": "student"}
    settings.remove("users", "tom")
    assert "tom" not in settings.folder("users")
    with pytest.raises(NotFound):
        settings.remove("users", "tom")


@pytest.mark.parametrize("ident", ["", "../x", "a/b", ".x", "a\0", "x" * 101, "ü"])
def test_no_ident_leads_elsewhere(settings: Settings, ident: str) -> None:
    with pytest.raises(BadInput):
        settings.write("users", ident, {})
    with pytest.raises(BadInput):
        settings.remove("users", ident)


def test_the_secret_is_made_once_and_for_this_user_alone(
    settings: Settings, tmp_path: Path, defaults: Path
) -> None:
    secret = settings.secret()
    assert (len(secret), settings.secret()) == (32, secret)
    assert Settings(tmp_path / "config", defaults).secret() == secret
    settings.write("tokens", "t", {})
    for inside in ("secret", "tokens/t.json", "users/admin.json"):
        assert stat.S_IMODE(os.stat(tmp_path / "config" / inside).st_mode) == 0o600
    (tmp_path / "config/secret").write_text("zz")
    assert len(settings.secret()) == 32


def test_the_shipped_defaults_are_valid_and_complete(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "config")
    assert settings.problems() == []
    shipped = json.loads((room.DEFAULTS / "server.json").read_text())
    assert shipped == {name: key.default for name, key in KEYS.items()}
    assert {"admin", "supervisor", "student"} <= set(settings.folder("users"))
