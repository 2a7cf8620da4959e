"""The practised restore, with the real backup program; and what is told of missing or old backups."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.disk.errors import BadInput
from server.disk.settings import Settings
from server.disk.store import Store, configured_shares
from server.library.people import People
from server.library.setup import Setup, practice
from server.library.setup.machine import Machine
from server.library.setup.records import worst


@pytest.fixture
def setup(tmp_path: Path, needs: Callable[[str], str]) -> Setup:
    needs("rsync")
    data = tmp_path / "film"
    data.mkdir()
    settings = Settings(tmp_path / "config")
    store = Store(settings, configured_shares(settings, data))
    store.open()  # marks the share
    store.close()
    (data / "green").mkdir()
    (data / "green" / "project.json").write_text("{}")
    return Setup(settings, People(settings), data)


def test_a_file_is_lost_and_comes_back(setup: Setup, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    with pytest.raises(BadInput, match="Choose a folder for the backup first"):
        setup.practise()
    with pytest.raises(BadInput, match="There is no folder"):
        setup.choose_backup(target)
    target.mkdir()
    checks = setup.choose_backup(target)
    assert any("on the share's own disk" in check.text for check in checks)
    assert any("There is no backup" in check.text for check in checks)
    before = sorted(path.name for path in setup.data.iterdir())
    checks = setup.practise()
    assert worst(checks) == "right", checks
    assert "came back whole" in checks[0].text
    assert sorted(path.name for path in setup.data.iterdir()) == before
    texts = [check.text for check in setup.step("backup").checks]
    assert any("1 backups are in" in text and "0 min old" in text for text in texts)
    assert any("came back whole" in text for text in texts)


def test_a_backup_that_fails_is_told_with_its_reason(setup: Setup, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    target.mkdir()
    setup.choose_backup(target)
    (setup.data / ".croft-share.json").unlink()  # as if it weren't mounted
    checks = setup.practise()
    assert worst(checks) == "wrong"
    assert "the share data is away" in checks[0].text


def test_backups_that_are_missing_or_old_are_told(setup: Setup, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    target.mkdir()
    setup.choose_backup(target)
    setup.practise()
    old = time.time() + 3 * 86400
    checks = practice.look({"path": str(target)}, setup.data, Machine(), old)
    assert any("The newest of 1 backups is 3 days old" in check.text for check in checks)
    shutil.rmtree(target)
    checks = practice.look({"path": str(target)}, setup.data, Machine())
    assert checks[0].state == "wrong"
    assert "isn't there" in checks[0].text


def test_a_backup_into_the_share_is_refused(setup: Setup) -> None:
    inside = setup.data / "backup"
    inside.mkdir()
    for place in (inside, setup.data, setup.data.parent):
        with pytest.raises(BadInput, match="have to lie apart"):
            setup.choose_backup(place)


def test_every_step_can_be_looked_at_at_any_time(setup: Setup) -> None:
    for step in setup.steps():
        assert step.checks, step.ident
        for check in step.checks:
            assert not check.text[0].islower()
            assert check.state != "wrong" or check.mend, check
    assert not os.path.exists(setup.data / "croft-practice")
