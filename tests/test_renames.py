"""The whole server: a student renames and moves a scene by hand, and Croft knows it again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.web.app import Croft, build

SCENE = b"BLENDER-v304" + bytes(52) + b"ENDB" + bytes(20)


@pytest.fixture
def croft(tmp_path: Path) -> Iterator[Croft]:
    shots = tmp_path / "data/green/shots"
    shots.mkdir(parents=True)
    (tmp_path / "data/green/project.json").write_text("{}")
    croft = build(tmp_path / "config", tmp_path / "data")
    yield croft
    croft.close()


def rest(croft: Croft) -> None:
    """Until the disk was looked at, what is new was taken in, and that was looked at."""
    watcher = croft.services.store.looks.watcher
    for _ in range(2):
        assert watcher.settled(20)
        assert croft.services.ingest.wait(20)
    assert watcher.settled(20)


def who_is(croft: Croft, address: str) -> tuple[str, str]:
    entry = croft.services.store.index.get(address)
    assert entry is not None
    assert entry.status == "ok"
    assert entry.facts is not None
    return entry.facts.uuid, entry.facts.owner


def test_a_scene_keeps_its_record_through_a_rename_and_a_move(croft: Croft, tmp_path: Path) -> None:
    # Given a scene that Croft took in, and that has an owner
    scene = tmp_path / "data/green/shots/sh010.blend"
    scene.write_bytes(SCENE)
    rest(croft)
    croft.services.store.edit("data::green/shots/sh010.blend", {"owner": "student"}, who="supervisor")
    before = who_is(croft, "data::green/shots/sh010.blend")
    assert before[0]
    # When it is renamed without its sidecar
    renamed = scene.with_name("sh020.blend")
    scene.rename(renamed)
    rest(croft)
    # Then it is the same asset
    assert who_is(croft, "data::green/shots/sh020.blend") == before
    # And when it is moved as Explorer does it, by a copy that Croft takes for a new asset meanwhile
    moved = tmp_path / "data/green/done/sh020.blend"
    moved.parent.mkdir()
    shutil.copy2(renamed, moved)
    rest(croft)
    assert who_is(croft, "data::green/done/sh020.blend")[0] != before[0]
    renamed.unlink()
    rest(croft)
    # Then it is that asset still, and nothing else is left
    assert who_is(croft, "data::green/done/sh020.blend") == before
    assert [e.address for e in croft.services.store.index.entries() if e.facts] == [
        "data::green/done/sh020.blend"
    ]
    assert not list((tmp_path / "data/green/shots").glob("*.json"))
