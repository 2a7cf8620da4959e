"""A start from a snapshot gives what a full look gives, whatever happened while the server was off."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from server.disk import restart, scan, snapshot
from server.disk.records import Entry, Facts, Stat
from tests.disk.live import Live, asset, living, write

SHOTS = "green/shots"
QUICK: dict[str, Any] = {"contest_s": 0.1, "gone_s": 0.03, "keys": {"settle_s": 0.03}}


@pytest.fixture(params=["by itself", "with helpers"])
def helpers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small snapshots are compared by the server, large ones by processes of their own."""
    if request.param == "with helpers":
        monkeypatch.setattr(snapshot, "PART_ENTRIES", 2)


@pytest.fixture
def share(tmp_path: Path) -> Path:
    root = tmp_path / "share"
    write(root / "green/project.json", "{}")
    asset(root / SHOTS / "a.blend", "u1", owner="mia", jobs=("j1", "j2"))
    write(root / SHOTS / ".croft/a.blend/jobs/j2/result.json", "{}")
    asset(root / SHOTS / "b.blend", "u2", owner="ana", tags=["x", "y"])
    asset(root / SHOTS / "c.blend", "u3", derived_from="u2")
    write(root / SHOTS / ".croft/c.blend/notes/n1.json", "{}")
    write(root / SHOTS / "camera.json", '{"zoom": 2}')
    write(root / SHOTS / "wood.png")
    asset(root / "green/Brücke 🎬/d.blend", "u4")
    asset(root / "green/gone/e.blend", "u5")
    (root / "green/gone/e.blend").unlink()
    write(root / "green/gone/.croft/f.blend/notes/n.json", "{}")
    write(root / SHOTS / "render/a/v001.json", "{}")
    write(root / SHOTS / "plates/p.0001.png")
    write(root / SHOTS / "plates/p.0002.png")
    write(root / SHOTS / "old/x/z.blend")
    return root


def run(root: Path, config: Path) -> None:
    """A server that came and went: its snapshot stays."""
    with living(root, config, **QUICK) as live:
        live.settle()


def again(root: Path, config: Path, caplog: pytest.LogCaptureFixture) -> str:
    """The next one: its index is right from the first moment on. What it said of the snapshot."""
    caplog.clear()
    with caplog.at_level(logging.INFO), living(root, config, **QUICK) as live:
        assert live.store.index.dump() == live.rebuilt()
        assert_watched(live)
    return caplog.text


def assert_watched(live: Live) -> None:
    """As many folders are watched as after a full look."""
    before = set(live.watcher.watched("data") or ())
    live.store.rescan()
    assert set(live.watcher.watched("data") or ()) == before


@pytest.mark.usefixtures("helpers")
def test_nothing_changed(share: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(share, tmp_path / "config")
    said = again(share, tmp_path / "config", caplog)
    # A sequence is many files: its folder is looked at.
    assert "as the last run left it but for 1 folders" in said
    assert not list(share.rglob("*.index")), "the snapshot lies on the share"


def keep_time(path: Path, change: Callable[[Path], object]) -> None:
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path) -> None:
    """Another file of the same size in its place."""
    other = path.with_name("other")
    other.write_bytes(path.read_bytes().replace(b"mia", b"tom"))
    os.rename(other, path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a file grew": lambda s: (s / "a.blend").write_bytes(b"BLENDER and more"),
    "a file changed, its time didn't": lambda s: keep_time(s / "a.blend", lambda p: p.write_bytes(b"x")),
    "a sidecar changed, its time and size didn't": lambda s: keep_time(
        s / "a.blend.json", lambda p: p.write_bytes(p.read_bytes().replace(b"mia", b"tom"))
    ),
    "a sidecar was replaced, its time and size stayed": lambda s: keep_time(s / "a.blend.json", replaced),
    "a sidecar went": lambda s: (s / "a.blend.json").unlink(),
    "a sidecar came": lambda s: write(s / "wood.png.json", '{"schema": 1, "uuid": "w"}'),
    "a sidecar became a folder": lambda s: ((s / "b.blend.json").unlink(), (s / "b.blend.json").mkdir()),
    "a JSON file became an orphan's": lambda s: write(s / "camera.json", '{"schema": 1, "uuid": "c"}'),
    "a file went": lambda s: (s / "b.blend").unlink(),
    "a file came": lambda s: write(s / "new.blend"),
    "a file was renamed": lambda s: (s / "b.blend").rename(s / "z.blend"),
    "two files changed places": lambda s: (
        (s / "b.blend").rename(s / "t"),
        (s / "c.blend").rename(s / "b.blend"),
        (s / "t").rename(s / "c.blend"),
    ),
    "a file became a link": lambda s: ((s / "b.blend").unlink(), (s / "b.blend").symlink_to(s / "c.blend")),
    "a folder was renamed": lambda s: s.rename(s.with_name("scenes")),
    "a folder was moved into another": lambda s: s.rename(s.parent / "gone" / "shots"),
    "a folder went": lambda s: shutil.rmtree(s),
    "a folder was copied": lambda s: shutil.copytree(s, s.with_name("copy")),
    "a folder came": lambda s: asset(s / "deep/er/x.blend", "u9"),
    "a link lies where a folder was": lambda s: (
        s.rename(s.parent.parent.parent / "elsewhere"), s.symlink_to(s.parent.parent.parent / "elsewhere")
    ),
    "a link lies where a folder of folders was": lambda s: (
        s.parent.rename(s.parent.parent / "elsewhere"), s.parent.symlink_to(s.parent.parent / "elsewhere")
    ),
    "a job came": lambda s: write(s / ".croft/b.blend/jobs/j9/job.json", "{}"),
    "a job went": lambda s: shutil.rmtree(s / ".croft/a.blend/jobs/j1"),
    "a job has no result any more": lambda s: (s / ".croft/a.blend/jobs/j2/result.json").unlink(),
    "a companion came": lambda s: write(s / ".croft/wood.png/file.json", "{}"),
    "a companion went": lambda s: shutil.rmtree(s / ".croft/a.blend"),
    "a first note came": lambda s: write(s / ".croft/b.blend/notes/n1.json", "{}"),
    "another note came": lambda s: write(s / ".croft/c.blend/notes/n2.json", "{}"),
    "a note went": lambda s: (s / ".croft/c.blend/notes/n1.json").unlink(),
    "a missing file's notes went": lambda s: shutil.rmtree(s.parent / "gone/.croft/f.blend/notes"),
    "a missing file came back": lambda s: write(s.parent / "gone/e.blend"),
    "another missing file's notes came": lambda s: write(s.parent / "gone/.croft/g.blend/notes/n.json", "{}"),
    "a version came": lambda s: write(s / "render/a/v002.json", "{}"),
    "a version went": lambda s: (s / "render/a/v001.json").unlink(),
    "a render folder came": lambda s: write(s / "render/b/v001.json", "{}"),
    "the frames of a render came": lambda s: write(s / "render/a/v001/a.0001.png"),
    "a frame changed": lambda s: write(s / "plates/p.0001.png", "another"),
    "a project went": lambda s: (s.parent / "project.json").unlink(),
    "something ignored came": lambda s: write(s / "Thumbs.db"),
    "a name that isn't text came": lambda s: Path(os.fsdecode(os.fsencode(s) + b"/\xff.blend")).touch(),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_while_the_server_was_off(
    what: str, share: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(share, tmp_path / "config")
    CHANGES[what](share / SHOTS)
    said = again(share, tmp_path / "config", caplog)
    assert "as the last run left it but for" in said
    assert "as the last run left it but for 0" not in said


def spoil_end(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def spoil_byte(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def another_version(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw.replace(snapshot.MAGIC, b"CROFT INDEX 0\n"))


@pytest.mark.parametrize(
    "spoil", [spoil_end, spoil_byte, another_version, lambda p: p.write_bytes(b""), lambda p: p.unlink()]
)
def test_what_isnt_a_good_snapshot_is_ignored(
    spoil: Callable[[Path], object], share: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(share, tmp_path / "config")
    spoil(tmp_path / "config/cache/data.index")
    assert "no snapshot of the index" in again(share, tmp_path / "config", caplog)


@pytest.mark.usefixtures("helpers")
def test_helpers_tell_of_what_changed(share: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(share, tmp_path / "config")
    for what in ("a file changed, its time didn't", "a version came", "a folder came", "a project went"):
        CHANGES[what](share / SHOTS)
    again(share, tmp_path / "config", caplog)


def test_every_torn_snapshot_is_ignored(share: Path, tmp_path: Path) -> None:
    """Cut off anywhere, it is none: marshal never sees a byte of it."""
    run(share, tmp_path / "config")
    path = tmp_path / "config/cache/data.index"
    raw = path.read_bytes()
    for length in range(0, len(raw), 7):
        path.write_bytes(raw[:length])
        with pytest.raises(snapshot.NoSnapshot):
            snapshot.Snapshot(path)


def test_another_share_under_this_name(share: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(share, tmp_path / "config")
    # The same files at another place, with another marker: a share of its own.
    other = tmp_path / "other"
    shutil.copytree(share, other)
    (other / ".croft-share.json").unlink()
    shutil.rmtree(tmp_path / "config/shares")
    assert "it is of another share" in again(other, tmp_path / "config", caplog)


def test_other_ignored_names(share: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(share, tmp_path / "config")
    caplog.clear()
    with caplog.at_level(logging.INFO), living(share, tmp_path / "config", keys={"ignore": ["b*"]}) as live:
        assert f"data::{SHOTS}/b.blend" not in live.statuses()
        assert f"data::{SHOTS}/c.blend" in live.statuses()
    assert "of other settings" in caplog.text


def test_a_helper_that_fails(
    share: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(snapshot, "PART_ENTRIES", 2)
    run(share, tmp_path / "config")
    monkeypatch.setattr(restart.unchanged, "__file__", str(tmp_path / "nothing.py"))
    assert "no snapshot of the index: a helper" in again(share, tmp_path / "config", caplog)


def test_what_passes_is_not_kept(share: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broken sidecar's folder is read again: its last good record was in nobody's file."""
    write(share / SHOTS / "c.blend.json", "{")
    run(share, tmp_path / "config")
    assert "but for 1 folders" in again(share, tmp_path / "config", caplog)


def test_kept_now_and_then_while_people_are_active(share: Path, tmp_path: Path) -> None:
    """So that a start after a crash has something to begin with; an idle server writes nothing."""
    now = [0.0]
    path = tmp_path / "config/cache/data.index"
    with living(share, tmp_path / "config", clock=lambda: now[0]) as live:
        live.until(lambda: not live.watcher.hearing.waiting)
        now[0] += 10_000
        live.watcher.hearing.ask_for_everything("to wake it")
        live.until(lambda: not live.watcher.hearing.waiting)
        assert not path.exists()
        live.store.someone_is_active()
        live.until(path.exists)


def test_entries_come_out_as_they_went_in(tmp_path: Path) -> None:
    facts = Facts(
        name="Ä", support=("x",), priority=3, time_budget=1.5, tags=("a", "b"), uuid="u", render=True
    )
    stat = Stat(1 << 40, -5, 1 << 61, (1 << 64) - 1)  # a pool's inodes take all 64 bits
    entries = [
        Entry("data::f/a", None, facts, "e", jobs=("j",), notes=("n.json",), side=-5),
        Entry("data::f/b", stat),
    ]
    look = snapshot.Look(
        "f", snapshot.FILES, {"a": 1}, frozenset(("g",)), {"a": ((), (), True, ("n.json",), 7)}, ()
    )
    known = snapshot.Known(look, ("g",), [("a", entries[0]), ("b", entries[1])])
    path = tmp_path / "kept"
    assert snapshot.write(path, {"share": "x"}, ["data::f"], [known]) == 2
    read = snapshot.Snapshot(path, {"share": "x"})
    assert read.looks(0) == [look]
    ((folder, names, versions, files),) = next(read.folders("data"))
    assert (folder, names, versions) == ("data::f", ("g",), ())
    assert list(files.values()) == entries
    assert [entry.side for entry in files.values()] == [-5, 0]
    assert scan.Found().complete
