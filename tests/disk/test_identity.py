"""An asset is known again when people rename, move or copy it by hand; and content alone proves nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.disk import paths
from tests.disk.live import Live, asset, living, write

CONTEST_S = 0.4


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with living(tmp_path / "share", tmp_path / "config", contest_s=CONTEST_S) as live:
        yield live


def known(live: Live, path: Path, uuid: str = "u", jobs: tuple[str, ...] = ("j1",), **facts: Any) -> str:
    """An asset that Croft has read: `file.json` tells of its content."""
    asset(path, uuid, jobs, **facts)
    st = path.stat()
    write(
        path.parent / ".croft" / path.name / "file.json",
        {"size": st.st_size, "mtime_ns": st.st_mtime_ns},
    )
    live.settle()
    return live.store.share("data").address(path)


def held_by(live: Live, address: str) -> tuple[str, tuple[str, ...]]:
    """uuid and jobs of an asset that is there."""
    entry = live.entry(address)
    assert entry.status == "ok"
    return (entry.facts.uuid if entry.facts else ""), entry.jobs


def test_a_renamed_file_has_its_sidecar_and_jobs_back(live: Live) -> None:
    known(live, live.root / "p/a.blend")
    (live.root / "p/a.blend").rename(live.root / "p/b.blend")
    live.settle()
    assert live.statuses() == {"data::p/b.blend": "ok"}
    assert held_by(live, "data::p/b.blend") == ("u", ("j1",))
    assert live.store.index.jobs["j1"].folder == "data::p/.croft/b.blend/jobs/j1"
    assert ("job", "j1") in {(c.kind, c.id) for c in live.heard}
    assert (live.root / "p/.croft/b.blend/file.json").exists()
    live.assert_true()


def test_a_rename_is_known_before_anybody_takes_the_file_for_new(live: Live) -> None:
    known(live, live.root / "p/a.blend")
    bare = []

    def listener(changes: object) -> None:
        bare.extend(e.address for e in live.store.index.entries() if e.stat and e.facts is None)

    live.store.subscribe(listener)
    (live.root / "p/q").mkdir()
    (live.root / "p/a.blend").rename(live.root / "p/q/b.blend")
    live.settle()
    assert held_by(live, "data::p/q/b.blend") == ("u", ("j1",))
    assert not bare


@pytest.mark.parametrize("how", ["move", "copy, then delete"])
def test_a_move_into_another_folder(live: Live, how: str) -> None:
    known(live, live.root / "p/a.blend")
    target = live.root / "p/done/a.blend"
    target.parent.mkdir()
    if how == "move":
        (live.root / "p/a.blend").rename(target)
    else:  # as Explorer does between shares: the times are kept, the inode is another
        shutil.copy2(live.root / "p/a.blend", target)
        live.settle()
        assert live.entry("data::p/done/a.blend").facts is None
        (live.root / "p/a.blend").unlink()
    live.settle()
    assert live.statuses() == {"data::p/done/a.blend": "ok"}
    assert held_by(live, "data::p/done/a.blend") == ("u", ("j1",))
    live.assert_true()


def test_a_rename_while_the_server_was_down(tmp_path: Path) -> None:
    with living(tmp_path / "share", tmp_path / "config") as live:
        known(live, live.root / "p/a.blend")
        known(live, live.root / "p/other.blend", "w", ())
    (tmp_path / "share/p/a.blend").rename(tmp_path / "share/p/b.blend")
    with living(tmp_path / "share", tmp_path / "config") as live:
        live.settle()
        assert held_by(live, "data::p/b.blend") == ("u", ("j1",))
        assert len(live.statuses()) == 2
        live.assert_true()


def test_one_that_croft_had_taken_for_new_gets_its_own_record_back(live: Live) -> None:
    known(live, live.root / "p/a.blend", owner="mia")
    shutil.copy2(live.root / "p/a.blend", live.root / "p/b.blend")
    live.settle()
    live.store.edit("data::p/b.blend", {"schema": 1, "uuid": "fresh", "name": "b"}, who="croft")
    live.settle()
    (live.root / "p/a.blend").unlink()
    live.settle()
    assert held_by(live, "data::p/b.blend") == ("u", ("j1",))
    facts = live.entry("data::p/b.blend").facts
    assert facts is not None
    assert facts.owner == "mia"
    live.assert_true()


def test_one_that_somebody_has_worked_with_stays_as_it_is(live: Live) -> None:
    known(live, live.root / "p/a.blend", owner="mia")
    shutil.copy2(live.root / "p/a.blend", live.root / "p/b.blend")
    live.settle()
    live.store.edit("data::p/b.blend", {"uuid": "fresh", "state": "doing"}, who="tom")
    (live.root / "p/a.blend").unlink()
    live.settle()
    assert held_by(live, "data::p/b.blend")[0] == "fresh"
    assert live.entry("data::p/a.blend").status == "missing"


def test_one_whose_record_was_edited_as_a_file_stays_as_it_is(live: Live) -> None:
    # Given a record that Croft made, and that somebody changed in a text editor, which no history tells
    known(live, live.root / "p/a.blend", owner="mia")
    shutil.copy2(live.root / "p/a.blend", live.root / "p/b.blend")
    live.settle()
    live.store.edit("data::p/b.blend", {"schema": 1, "uuid": "fresh", "name": "b"}, who="croft")
    record = live.root / "p/b.blend.json"
    record.write_text(record.read_text().replace('"b"', '"my own words"'))
    live.settle()
    # When the other file goes
    (live.root / "p/a.blend").unlink()
    live.settle()
    # Then their words are still there
    assert "my own words" in record.read_text()
    assert live.entry("data::p/a.blend").status == "missing"


def test_one_with_a_broken_record_stays_as_it_is(live: Live) -> None:
    known(live, live.root / "p/a.blend", owner="mia")
    shutil.copy2(live.root / "p/a.blend", live.root / "p/b.blend")
    record = live.root / "p/b.blend.json"
    record.write_text('{"description": "many words, and one comma too much",,')
    live.settle()
    (live.root / "p/a.blend").unlink()
    live.settle()
    assert "many words" in record.read_text()


def test_copies_of_one_template_are_not_taken_for_each_other(live: Live, tmp_path: Path) -> None:
    template = write(tmp_path / "template.blend", b"BLENDER template")
    for n in (10, 20):
        path = live.root / f"p/sh{n}.blend"
        path.parent.mkdir(exist_ok=True)
        shutil.copy2(template, path)
        known_as = {"schema": 1, "uuid": f"u{n}", "owner": "mia"}
        write(path.with_name(path.name + ".json"), known_as)
        st = path.stat()
        write(path.parent / ".croft" / path.name / "file.json", {"size": 16, "mtime_ns": st.st_mtime_ns})
    live.settle()
    (live.root / "p/sh10.blend").unlink()
    live.settle()
    shutil.copy2(template, live.root / "p/sh30.blend")
    live.settle()
    assert live.entry("data::p/sh10.blend").status == "missing"
    assert live.entry("data::p/sh30.blend").facts is None


def test_two_that_fit_are_left_to_a_person(live: Live) -> None:
    known(live, live.root / "p/a.blend")
    for name in ("b.blend", "c.blend"):
        shutil.copy2(live.root / "p/a.blend", live.root / "p" / name)
    live.settle()
    (live.root / "p/a.blend").unlink()
    live.settle()
    assert live.entry("data::p/a.blend").status == "missing"
    problem = {p.id: p for p in live.store.problems()}["identity:data::p/a.blend"]
    assert "b.blend or c.blend" in problem.text
    # The person decides, the problem goes.
    (live.root / "p/a.blend.json").rename(live.root / "p/b.blend.json")
    shutil.move(live.root / "p/.croft/a.blend", live.root / "p/.croft/b.blend")
    live.settle()
    assert held_by(live, "data::p/b.blend") == ("u", ("j1",))
    assert not [p for p in live.store.problems() if p.kind == "identity"]


def test_a_copied_asset_gets_a_uuid_of_its_own_and_its_jobs_are_history(live: Live) -> None:
    known(live, live.root / "p/z.blend")
    shutil.copytree(live.root / "p", live.root / "a")  # by name it would come first
    live.until(lambda: bool(live.store.index.contested()))
    live.until(lambda: not live.store.index.contested())
    live.settle()
    assert held_by(live, "data::p/z.blend")[0] == "u"
    uuid, jobs = held_by(live, "data::a/z.blend")
    assert uuid not in ("", "u")
    assert jobs == ("j1",)
    facts = live.entry("data::a/z.blend").facts
    assert facts is not None
    assert facts.derived_from == "u"
    assert live.store.index.jobs["j1"].address == "data::p/z.blend"
    assert len(live.store.index.job_places("j1")) == 2
    side = json.loads((live.root / "a/z.blend.json").read_text())
    assert side["derived_from"] == "u"
    live.assert_true()


def test_a_copied_folder_whose_original_goes_was_moved(live: Live) -> None:
    known(live, live.root / "p/a.blend")
    shutil.copytree(live.root / "p", live.root / "q")
    live.until(lambda: bool(live.store.index.contested()))
    shutil.rmtree(live.root / "p")
    live.settle()
    live.until(lambda: not live.watcher.identity.undecided())
    assert held_by(live, "data::q/a.blend") == ("u", ("j1",))
    facts = live.entry("data::q/a.blend").facts
    assert facts is not None
    assert not facts.derived_from
    live.assert_true()


def test_the_hidden_companion_follows_the_file_and_its_sidecar(live: Live) -> None:
    known(live, live.root / "p/a.blend")
    (live.root / "p/done").mkdir()
    for name in ("a.blend", "a.blend.json"):  # a student sees no dot-folders
        (live.root / "p" / name).rename(live.root / "p/done" / name)
    live.settle()
    assert live.statuses() == {"data::p/done/a.blend": "ok"}
    assert held_by(live, "data::p/done/a.blend") == ("u", ("j1",))
    live.assert_true()


@pytest.mark.parametrize("policy", ["mfs", "epmfs"])
def test_on_a_pool_across_folders(tmp_path: Path, pool: Callable[[str], Any], policy: str) -> None:
    made = pool(policy)
    with living(made.root, tmp_path / "config") as live:
        assert live.store.share("data").branches
        known(live, live.root / "p/a.blend")
        for branch in made.branches:  # its companion lies on several disks
            (branch / "p/.croft/a.blend/notes").mkdir(parents=True, exist_ok=True)
            write(branch / "p/.croft/a.blend/notes" / f"{branch.name}.json", "{}")
        live.settle()
        (live.root / "p/done/deep").mkdir(parents=True)
        shutil.move(live.root / "p/a.blend", live.root / "p/done/deep/b.blend")
        live.settle()
        live.until(lambda: live.statuses() == {"data::p/done/deep/b.blend": "ok"})
        assert held_by(live, "data::p/done/deep/b.blend") == ("u", ("j1",))
        companion = live.root / "p/done/deep/.croft/b.blend"
        assert sorted(os.listdir(companion / "notes")) == sorted(f"{b.name}.json" for b in made.branches)
        assert not os.path.lexists(paths.companion_of(live.root / "p/a.blend"))
        live.assert_true(patience_s=5)
