"""The index follows what happens on the disk, whoever does it and however fast."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from watchdog.observers.inotify_c import InotifyConstants as In

from server.disk import hearing, watcher
from server.disk.entries import Entries
from server.disk.scan import Scanner
from tests.disk.live import Live, asset, living, write


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    with living(tmp_path / "share", tmp_path / "config") as live:
        yield live


def test_a_copied_file_arrives_then_is_usable(tmp_path: Path) -> None:
    ends = threading.Event()
    with living(tmp_path / "share", tmp_path / "config", complete=lambda path: ends.is_set()) as live:
        write(live.root / "p/a.blend", b"BLENDER")
        live.until(lambda: live.statuses().get("data::p/a.blend") == "arriving")
        # Quiet, but its end isn't there: a copy that stalled.
        with open(live.root / "p/a.blend", "ab") as file:
            file.write(b"...")
            file.flush()
            live.until(lambda: live.watcher.looks > 3)
            assert live.entry("data::p/a.blend").status == "arriving"
        ends.set()
        live.settle()
        assert live.entry("data::p/a.blend").status == "ok"
        live.assert_true()


def test_blenders_save_is_no_more_than_a_refresh(live: Live) -> None:
    path = asset(live.root / "p/a.blend", "u", jobs=("j1",))
    live.settle()
    before = live.entry("data::p/a.blend")
    live.heard.clear()
    seen = set()
    live.store.subscribe(lambda changes: seen.update(live.statuses().items()))
    for n in range(5):
        write(path.with_name("a.blend@"), f"BLENDER version {n}")
        path.rename(path.with_name("a.blend1"))
        path.with_name("a.blend@").rename(path)
        live.watcher.settled()
    after = live.entry("data::p/a.blend")
    assert after.stat != before.stat
    assert (after.facts, after.jobs) == (before.facts, before.jobs)
    assert {change.id for change in live.heard} == {"data::p/a.blend"}
    assert seen == {("data::p/a.blend", "ok")}
    live.assert_true()


def test_a_restored_folder_is_all_there(live: Live, tmp_path: Path) -> None:
    shots = live.root / "green/shots"
    write(live.root / "green/project.json", "{}")
    for n in range(30):
        asset(shots / f"sh{n:03d}.blend", f"u{n}", jobs=(f"j{n}",), owner="mia")
        write(shots / f"render/sh{n:03d}/v001.json", "{}")
    live.settle()
    before = live.store.index.dump()
    shutil.copytree(shots, tmp_path / "backup", symlinks=True)
    shutil.rmtree(shots)
    live.settle()
    assert not live.store.index.jobs
    shutil.copytree(tmp_path / "backup", shots, symlinks=True)
    live.settle()
    after = live.store.index.dump()
    assert after["jobs"] == before["jobs"]
    assert after["uuids"] == before["uuids"]
    assert {a: e[1] for a, e in after["entries"].items()} == {a: e[1] for a, e in before["entries"].items()}
    live.assert_true()


def test_a_job_restored_into_its_companion_is_told(live: Live, tmp_path: Path) -> None:
    path = asset(live.root / "p/a.blend", "u", jobs=("j1", "j2"))
    live.settle()
    job = path.parent / ".croft/a.blend/jobs/j1"
    shutil.copytree(job, tmp_path / "backup")
    shutil.rmtree(job)
    live.settle()
    assert live.entry("data::p/a.blend").jobs == ("j2",)
    live.heard.clear()
    shutil.copytree(tmp_path / "backup", job)
    live.settle()
    assert live.entry("data::p/a.blend").jobs == ("j1", "j2")
    assert ("job", "j1") in {(c.kind, c.id) for c in live.heard}
    # A journal that another program replaces inside a job that hasn't ended is told as well.
    live.heard.clear()
    write(job / "journal.jsonl", "{}\n")
    live.settle()
    assert {(c.kind, c.id) for c in live.heard} == {("job", "j1")}


def test_a_moved_folder_keeps_its_watches(live: Live) -> None:
    asset(live.root / "p/shots/deep/a.blend", "u", jobs=("j1",))
    live.settle()
    (live.root / "p/shots").rename(live.root / "p/scenes")
    live.settle()
    assert set(live.statuses()) == {"data::p/scenes/deep/a.blend"}
    watches = live.watcher.hearing.watches
    asset(live.root / "p/scenes/deep/b.blend", "v", jobs=("j2",))
    live.assert_true()
    (live.root / "p/scenes").rename(live.root / "q")
    (live.root / "p/shots").mkdir()
    asset(live.root / "p/shots/c.blend", "w")
    live.assert_true()
    assert live.watcher.hearing.watches >= watches


def test_what_is_ignored_costs_nothing(live: Live) -> None:
    asset(live.root / "p/a.blend", "u")
    live.settle()
    live.heard.clear()
    for name in ("a.blend1", "Thumbs.db", "a.blend@", "x.tmp", ".DS_Store", ".croft-tmp-1"):
        write(live.root / "p" / name)
    for inside in ("old/2026-x/a.blend", "render/a/v001/f.png", ".croft/a.blend/thumbs/256.png"):
        write(live.root / "p" / inside)
    live.settle()
    assert not [c for c in live.heard if c.id != "data::p/a.blend"]
    watches = live.watcher.hearing.watches
    for n in range(100):
        write(live.root / f"p/render/a/v001/f.{n}.png")
    live.settle()
    assert live.watcher.hearing.watches == watches
    live.assert_true()


def test_an_idle_croft_looks_at_nothing(live: Live) -> None:
    asset(live.root / "p/a.blend", "u")
    live.settle()
    looks = live.watcher.looks
    for _ in range(20):
        with open(live.root / "p/a.blend", "rb") as file:
            file.read()
    live.settle()
    assert live.watcher.looks == looks


def test_a_torn_sidecar_is_read_again_when_it_is_whole(live: Live) -> None:
    path = asset(live.root / "p/a.blend", "u", owner="mia")
    live.settle()
    side = path.with_name("a.blend.json")
    with open(side, "r+b") as file:  # an editor that writes in place
        file.truncate(5)
        live.store.refresh("data::p/a.blend")
        assert live.entry("data::p/a.blend").status == "broken"
        facts = live.entry("data::p/a.blend").facts
        assert facts is not None
        assert facts.owner == "mia"
        file.truncate(0)
        file.write(b'{"owner": "tom"}')
    live.settle()
    facts = live.entry("data::p/a.blend").facts
    assert facts is not None
    assert (live.entry("data::p/a.blend").status, facts.owner) == ("ok", "tom")


@pytest.fixture
def short_queue() -> Iterator[None]:
    """An inotify queue that runs over soon. Instances that exist keep theirs."""
    path = Path("/proc/sys/fs/inotify/max_queued_events")
    if not os.access(path, os.W_OK):
        pytest.skip("changing the kernel's inotify limits needs root")
    before = path.read_text()
    path.write_text("20")
    yield
    path.write_text(before)


@pytest.mark.usefixtures("short_queue")
def test_an_overflow_is_told_and_healed(tmp_path: Path) -> None:
    (tmp_path / "share/p").mkdir(parents=True)
    with living(tmp_path / "share", tmp_path / "config") as live:
        with live.watcher._condition:  # the reader stands still, so the queue must run over
            for n in range(400):
                write(live.root / f"p/b{n}.blend")
            shutil.rmtree(live.root / "p")
            for n in range(60):
                write(live.root / f"p/c{n}.blend")
        live.until(lambda: "overflow" in {problem.id for problem in live.watcher.problems()})
        live.assert_true()
        assert len(live.statuses()) == 60
        asset(live.root / "p/d.blend", "u")
        live.assert_true()


def test_an_exhausted_limit_is_told_and_healed(tmp_path: Path) -> None:
    # In a user namespace of its own, so that no other program's watches are taken away.
    command = ["unshare", "--user", "--map-root-user", sys.executable, "-m", "tests.disk.few_watches"]
    done = subprocess.run(
        [*command, str(tmp_path)],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare failed" in done.stderr:
        pytest.skip("needs user namespaces")
    assert done.returncode == 0, done.stderr


def test_without_inotify_folders_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(hearing, "Inotify", none_left)
    with living(tmp_path / "share", tmp_path / "config") as live:
        live.watcher.someone_is_active()
        asset(live.root / "p/shots/a.blend", "u", jobs=("j1",))
        live.until(lambda: live.statuses() == {"data::p/shots/a.blend": "ok"})
        # Written in place: no folder's mtime tells of it.
        side = live.root / "p/shots/a.blend.json"
        side.write_text('{"owner": "mia"}')

        def owner() -> str:
            live.watcher.someone_is_active()
            facts = live.entry("data::p/shots/a.blend").facts
            return facts.owner if facts else ""

        live.until(lambda: owner() == "mia")
        assert [problem.id for problem in live.watcher.problems()] == ["inotify"]


def test_the_thread_survives_its_work(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    scanner = live.store.scanner("data")
    failing = [True, True]
    real = scanner.refresh_names

    def fails(*args: object) -> object:
        if failing:
            failing.pop()
            raise RuntimeError("a fault that nobody thought of")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(scanner, "refresh_names", fails)
    write(live.root / "p/a.blend")
    live.until(lambda: "data::p/a.blend" in live.statuses())
    assert live.watcher.errors == 1
    live.assert_true()


def test_an_unmounted_share_is_away_and_comes_back(tmp_path: Path) -> None:
    root = tmp_path / "share"
    with living(root, tmp_path / "config") as live:
        asset(root / "p/a.blend", "u", jobs=("j1",))
        live.settle()
        before = live.store.index.dump()
        root.rename(tmp_path / "elsewhere")  # as an unmount leaves it: an empty folder
        root.mkdir()
        live.store.rescan()
        live.store.refresh("data::p/a.blend")
        live.settle()
        assert live.store.away("data")
        assert live.store.index.dump() == before
        asset(tmp_path / "elsewhere/p/b.blend", "v")
        root.rmdir()
        (tmp_path / "elsewhere").rename(root)
        assert not live.store.away("data")
        live.settle()
        assert set(live.statuses().values()) == {"ok"}
        assert "data::p/b.blend" in live.statuses()
        asset(root / "p/c.blend", "w")
        live.assert_true()


def test_a_disk_that_was_unmounted_for_a_blink_is_watched_again(tmp_path: Path) -> None:
    # Given that the marker is there again before anybody looks, and the kernel's watches are gone
    with living(tmp_path / "share", tmp_path / "config") as live:
        asset(live.root / "p/a.blend", "u")
        live.settle()
        live.watcher.hearing.forget("data::")
        live.watcher.hearing._on_event("data::", "", In.IN_UNMOUNT)
        live.settle()
        # Then what comes later is heard of
        asset(live.root / "p/b.blend", "v")
        live.until(lambda: "data::p/b.blend" in live.statuses())


def test_at_night_everything_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [datetime(2026, 3, 1, 22, tzinfo=UTC)]
    monkeypatch.setattr(watcher, "IDLE_LOOK_S", 0.05)
    with living(tmp_path / "share", tmp_path / "config", wall=lambda: clock[0]) as live:
        side = asset(live.root / "p/a.blend", "u").with_name("a.blend.json")
        live.settle()
        looked = []
        scanner = live.store.scanner("data")
        scan = scanner.scan
        monkeypatch.setattr(scanner, "scan", lambda *a, **k: looked.append(clock[0].day) or scan(*a, **k))
        live.watcher.hearing.forget("data::")  # nobody tells of what comes
        side.write_text('{"owner": "mia"}')
        clock[0] = datetime(2026, 3, 2, 3, 1, tzinfo=UTC)

        def owner() -> str:
            facts = live.entry("data::p/a.blend").facts
            return facts.owner if facts else ""

        live.until(lambda: owner() == "mia")
        clock[0] = datetime(2026, 3, 2, 3, 40, tzinfo=UTC)
        live.settle()
        assert looked == [2]


def test_frames_that_arrive_in_a_long_folder_are_looked_at_together(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given thousands of frames and more by the minute, then the folder isn't listed for each of them."""
    monkeypatch.setattr(watcher, "FRAMES_SHARE", 100)
    monkeypatch.setattr(watcher, "FRAMES_MOST_S", 1.0)
    folder = live.root / "p/plates"
    folder.mkdir(parents=True)
    for number in range(3000):
        (folder / f"sky.{number:05d}.exr").touch()
    live.settle()
    looks = live.watcher.looks
    for number in range(3000, 3100):
        (folder / f"sky.{number:05d}.exr").touch()
        time.sleep(0.015)  # each is heard by itself
    write(folder / "notes.txt")
    live.until(lambda: "data::p/plates/notes.txt" in live.statuses())  # others don't wait for them
    live.settle()
    assert live.watcher.looks - looks < 15
    entry = live.entry("data::p/plates/sky.@.exr")
    assert entry.stat is not None
    assert entry.stat.inode == 3100
    assert entry.status == "ok"
    live.assert_true()


def test_a_folder_that_cant_be_understood_stops_neither_the_start_nor_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "share"
    asset(root / "green/bad/a.blend", "u1")
    asset(root / "green/good/b.blend", "u2")
    real = Entries.of

    def of(self: Entries, folder: str, *rest: Any) -> Any:
        if folder.endswith("/bad"):
            raise ValueError("nobody foresaw this")
        return real(self, folder, *rest)

    monkeypatch.setattr(Entries, "of", of)
    with living(root, tmp_path / "config") as live:
        assert live.statuses().keys() == {"data::green/good/b.blend"}
        (told,) = [problem for problem in live.watcher.problems() if problem.address == "data::green/bad"]
        assert "nobody foresaw this" in told.text
        monkeypatch.undo()
        live.store.rescan()
        assert live.statuses().keys() == {"data::green/good/b.blend", "data::green/bad/a.blend"}
        assert not live.watcher.problems()


def test_a_first_look_that_fails_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "share"
    asset(root / "green/a.blend", "u1")
    fails = iter([True, True])

    def scan(self: Scanner, *rest: Any, **more: Any) -> Any:
        if next(fails, False):
            raise OSError(errno.EIO, "the disk coughed")
        return real(self, *rest, **more)

    real = Scanner.scan
    monkeypatch.setattr(Scanner, "scan", scan)
    with living(root, tmp_path / "config") as live:
        live.until(lambda: live.statuses() == {"data::green/a.blend": "ok"})
        live.until(lambda: not live.watcher.problems())
