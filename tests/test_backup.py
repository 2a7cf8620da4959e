"""misc/backup with real rsync: hard-linked trees, what is left out, rotation, and when it refuses."""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

PROGRAM = Path(__file__).resolve().parents[1] / "misc" / "backup"
JOB = "20260101-120000-abcdef"


def load() -> Any:
    loader = SourceFileLoader("croft_backup", str(PROGRAM))
    spec = spec_from_loader("croft_backup", loader)
    assert spec
    module = module_from_spec(spec)
    sys.modules["croft_backup"] = module  # its dataclasses look themselves up
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


backup = load()


class Place:
    """A share with one shot, a configuration, an empty folder for backups."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.share, self.config, self.target = home / "film", home / "config", home / "backups"
        self.target.mkdir()
        self.write(".croft-share.json", '{"schema": 1, "id": "abc"}')
        self.write("green/shots/sh010.blend", "BLENDER one")
        self.write("green/shots/sh010.blend.json", '{"state": "todo"}')
        (self.config / "shares").mkdir(parents=True)
        self.says({})
        (self.config / "shares/data.json").write_text(json.dumps({"root": str(self.share), "id": "abc"}))

    def says(self, keys: dict[str, Any]) -> None:
        said = {"backup": {"path": str(self.target), **keys}}
        (self.config / "server.json").write_text(json.dumps(said))

    def write(self, inside: str, text: str) -> Path:
        path = self.share / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self, *more: str, **options: Any) -> subprocess.Popen[str]:
        program = options.pop("program", [sys.executable, str(PROGRAM)])
        command = [*program, "--config", str(self.config), *more]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)

    def run(self, *more: str, code: int = 0, **options: Any) -> str:
        """One run, which prints one line; the line."""
        process = self.start(*more, **options)
        out, err = process.communicate(timeout=50)
        assert process.returncode == code, (process.returncode, out, err)
        assert out.count("\n") == 1, out
        assert not err, err
        return out

    def trees(self) -> list[Path]:
        return sorted(path for path in self.target.iterdir() if path.name.endswith("Z"))

    def age(self, tree: Path, **by: float) -> Path:
        """As if this one had been made earlier."""
        at = backup.time_of(tree.name) - timedelta(**by)
        return tree.rename(tree.with_name(at.strftime(backup.NAME)))

    def backed_up(self, **ago: float) -> Path:
        """A backup made so long ago."""
        self.run()
        return self.age(self.trees()[-1], **ago)


@pytest.fixture
def place(tmp_path: Path, needs: Callable[[str], str]) -> Iterator[Place]:
    needs("rsync")
    return Place(tmp_path)


def test_a_tree_is_whole_and_shares_what_did_not_change(place: Place) -> None:
    first = place.backed_up(minutes=10)
    place.write("green/shots/sh010.blend.json", '{"state": "done"}')
    line = place.run()
    assert "2 backups, 0 removed" in line
    assert "1 new" in line
    second = place.trees()[-1]
    scene, record = "data/green/shots/sh010.blend", "data/green/shots/sh010.blend.json"
    assert (first / scene).stat().st_ino == (second / scene).stat().st_ino
    assert (first / record).read_text() == '{"state": "todo"}'
    assert (second / record).read_text() == '{"state": "done"}'
    assert (second / ".config/server.json").exists()
    assert (second / ".config").stat().st_mode & 0o777 == 0o700
    told = json.loads((second / ".croft-backup.json").read_text())
    assert told["shares"]["data"]["id"] == "abc"
    assert not told["faults"]


def test_what_is_made_again_is_left_out(place: Place) -> None:
    out = [
        ".croft-locks/x.lock",
        "green/shots/.croft/sh010.blend/thumbs/256.png",
        f"green/shots/.sh010.{JOB}.blend",
        f"green/shots/render/sh010/v001/.{JOB}.3.1.ab12.sh010.0001.png",
        "green/.croft-tmp-0123456789abcdef",
    ]
    kept = [
        "green/shots/.croft/sh010.blend/history.a.jsonl",
        f"green/shots/.croft/sh010.blend/jobs/{JOB}/journal.jsonl",
        "green/shots/render/sh010/v001/sh010.0001.png",
        f"green/shots/old/{JOB}/sh020.blend",
        "green/shots/.hidden",
        "green/thumbs/mine.png",
    ]
    for inside in (*out, *kept):
        place.write(inside, "x")
    place.run()
    tree = place.trees()[0] / "data"
    assert not [inside for inside in out if (tree / inside).exists()]
    assert not [inside for inside in kept if not (tree / inside).exists()]


def test_owners_modes_attributes_and_links_come_along(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    path = place.write("green/shots/a.png", "x")
    path.chmod(0o640)
    os.chown(path, pwd.getpwnam("games").pw_uid, pwd.getpwnam("news").pw_gid)
    try:
        os.setxattr(path, "user.note", b"mine")
        attributes = True
    except OSError:
        attributes = False  # this disk has none
    (path.parent / "current").symlink_to("v001")
    place.run()
    copy = place.trees()[0] / "data/green/shots/a.png"
    now, was = copy.stat(), path.stat()
    assert (now.st_uid, now.st_gid, now.st_mode) == (was.st_uid, was.st_gid, was.st_mode)
    assert now.st_mtime_ns == was.st_mtime_ns
    assert not attributes or os.getxattr(copy, "user.note") == b"mine"
    assert os.readlink(copy.parent / "current") == "v001"


def test_a_share_that_is_away_is_not_copied_as_empty(place: Place) -> None:
    place.backed_up(minutes=10)
    shutil.rmtree(place.share)
    place.share.mkdir()
    line = place.run(code=backup.AWAY)
    assert "away" in line
    assert len(place.trees()) == 1
    # another disk in its place is as bad
    place.write(".croft-share.json", '{"schema": 1, "id": "other"}')
    place.run(code=backup.AWAY)


def test_one_share_away_does_not_keep_the_others(place: Place) -> None:
    other = place.home / "other"
    (other / "blue").mkdir(parents=True)
    (other / ".croft-share.json").write_text('{"id": "def"}')
    (place.config / "shares/pool.json").write_text(json.dumps({"path": str(other), "id": "def"}))
    both = place.backed_up(days=400, minutes=1)
    (other / ".croft-share.json").unlink()
    line = place.run(code=backup.AWAY)
    assert "pool is away" in line
    # and the newest backup of the one that is away stays, however old it is
    assert (both / "pool/blue").is_dir()
    assert not (place.trees()[-1] / "pool").exists()


def test_it_refuses_to_lie_within_a_share(place: Place) -> None:
    inside = place.share / "backups"
    inside.mkdir()
    assert "within each other" in place.run("--to", str(inside), code=backup.FAILED)
    assert "within each other" in place.run("--to", str(place.home), code=backup.FAILED)
    assert sorted(path.name for path in inside.iterdir()) == [".croft-backup.lock"]


def test_a_backup_disk_that_is_not_mounted_is_not_filled(place: Place) -> None:
    place.run()
    shutil.rmtree(place.target)
    place.target.mkdir()
    assert "isn't mounted" in place.run(code=backup.FAILED)
    assert not place.trees()


def test_two_at_once(place: Place) -> None:
    with open(place.target / ".croft-backup.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another run" in place.run(code=backup.BUSY)


def test_a_run_that_is_killed_never_counts(place: Place) -> None:
    # Given one good backup, and an rsync that never ends
    good = place.backed_up(minutes=10)
    folder = place.home / "bin"
    folder.mkdir()
    pipe = place.home / "began"
    os.mkfifo(pipe)
    (folder / "rsync").write_text(
        f'#!/bin/sh\nfor last; do :; done\nmkdir -p "$last"\necho >{pipe}\nexec sleep 60\n'
    )
    (folder / "rsync").chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    for sign, code in ((signal.SIGTERM, backup.FAILED), (signal.SIGKILL, -signal.SIGKILL)):
        # When the run is stopped in the middle
        process = place.start(env={**os.environ, "PATH": path}, start_new_session=True)
        pipe.read_text()
        if sign == signal.SIGKILL:
            os.killpg(process.pid, sign)
        else:
            process.send_signal(sign)
        out, _ = process.communicate(timeout=20)
        assert process.returncode == code, out
        # Then no tree stands there that isn't whole
        assert place.trees() == [good]
    # and the next run clears up and links to the good one
    place.run()
    assert len(place.trees()) == 2
    assert not [path for path in place.target.iterdir() if path.suffix in (".partial", ".deleting")]


def test_files_that_cannot_be_read_are_told(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    user = pwd.getpwnam("games")
    program = shutil.copy(PROGRAM, place.home)  # needs nothing beside it
    python = shutil.which("python3", path="/usr/bin") or pytest.skip("needs a Python for everybody")
    hidden = place.write("green/shots/secret.blend", "x")
    hidden.chmod(0o600)
    for folder in (place.target, place.config, place.config / "shares"):
        os.chown(folder, user.pw_uid, user.pw_gid)
    for folder in (place.home, *place.home.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o055)
    as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": [], "program": [python, program]}
    line = place.run(code=backup.FAULTY, **as_user)
    assert "1 couldn't be read" in line
    assert "secret.blend" in line
    assert json.loads((place.trees()[0] / ".croft-backup.json").read_text())["faults"]
    hidden.chmod(0o644)
    faulty = place.age(place.trees()[0], minutes=10)
    place.run(**as_user)
    assert faulty.exists()
    assert len(place.trees()) == 2


def test_a_full_disk_makes_room_but_never_takes_the_newest(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place.target], check=True)
    try:
        film = place.write("green/film.mp4", "a" * 2_000_000)
        oldest = place.backed_up(hours=3)
        film.write_text("b" * 2_000_000)
        newest = place.backed_up(hours=1)
        film.write_text("c" * 3_000_000)
        place.backed_up(minutes=10)  # there is room once the oldest is gone
        assert not oldest.exists()
        assert newest.exists()
        film.write_text("d" * 4_500_000)
        before = place.trees()
        line = place.run(code=backup.FULL)
        assert "full" in line
        assert place.trees() == before[-1:]
        assert (before[-1] / "data/green/film.mp4").read_text() == "c" * 3_000_000
    finally:
        subprocess.run(["umount", "--lazy", place.target], check=True)


def test_a_pool_and_its_disks(place: Place, needs: Callable[[str], str]) -> None:
    # Given a share on a mergerfs pool
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    disks = [place.home / "disk1", place.home / "disk2"]
    pool = place.home / "pool"
    for path in (*disks, pool):
        path.mkdir()
    joined = ":".join(map(str, disks))
    subprocess.run([needs("mergerfs"), "-o", "category.create=mfs", joined, pool], check=True)
    try:
        shutil.copytree(place.share, pool / "film")
        shared = {"root": str(pool / "film"), "id": "abc"}
        (place.config / "shares/data.json").write_text(json.dumps(shared))
        # Then it is copied through the mount, and a backup on a disk's part of it is refused
        place.run()
        assert (place.trees()[0] / "data/green/shots/sh010.blend").read_text() == "BLENDER one"
        hidden = disks[0] / "film/backups"
        hidden.mkdir(parents=True)
        assert "within each other" in place.run("--to", str(hidden), code=backup.FAILED)
    finally:
        subprocess.run(["umount", "--lazy", pool], check=True)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"keep": {"forever": 1}}, "forever"),
        ({"keep": {"all_hours": "x"}}, "all_hours"),
        ({"keep": 5}, "object"),
    ],
)
def test_wrong_configuration(place: Place, keys: dict[str, Any], says: str) -> None:
    place.says(keys)
    assert says in place.run(code=backup.FAILED)


# Rotation.

NOW = datetime(2026, 11, 22, 14, 10, tzinfo=UTC)
MOMENTS = st.lists(st.integers(0, 400 * 24 * 6), max_size=300).map(
    lambda tens: {NOW - timedelta(minutes=10 * n) for n in tens}
)


@settings(max_examples=60, deadline=None)
@given(MOMENTS)
def test_rotation_keeps_enough_and_twice_is_once(times: set[datetime]) -> None:
    kept = backup.keep(times, NOW, backup.KEEP)
    assert kept <= times
    assert not times or max(times) in kept
    assert {at for at in times if NOW - at <= timedelta(hours=24)} <= kept
    for at in times:  # what went has a neighbour that stayed: in its hour, day, week or month
        if NOW - at <= timedelta(days=7):
            assert any((k.date(), k.hour) == (at.date(), at.hour) for k in kept)
        if NOW - at <= timedelta(days=31):
            assert any(k.date() == at.date() for k in kept)
        if NOW - at <= timedelta(weeks=52):
            assert any(k.isocalendar()[:2] == at.isocalendar()[:2] for k in kept)
    assert backup.keep(kept, NOW, backup.KEEP) == kept


def test_rotation_as_time_goes_by() -> None:
    """A run every ten minutes for two months: thinned each time, the far past stays coarse but there."""
    kept: set[datetime] = set()
    for n in range(60 * 24 * 6):
        now = NOW + timedelta(minutes=10 * n)
        kept.add(now)
        if n % 36 == 0:
            kept = backup.keep(kept, now, backup.KEEP)
    assert len(backup.keep(kept, now, backup.KEEP)) < 145 + 169 + 32 + 10
    for days in range(31):
        assert any(at.date() == (now - timedelta(days=days)).date() for at in kept), days


def test_a_backup_from_the_future_stays(place: Place) -> None:
    """A clock that jumped: nobody may take such a backup for old."""
    ahead = place.backed_up(days=-3)
    place.run()
    assert ahead.exists()
    assert len(place.trees()) == 2


def make_trees(target: Path, times: Iterable[datetime]) -> None:
    for at in times:
        tree = target / at.strftime(backup.NAME)
        tree.mkdir(parents=True)
        (tree / backup.RECORD).write_text('{"shares": {"data": {}}}')


@pytest.mark.parametrize("ahead", [timedelta(days=100), timedelta(days=365 * 4), timedelta(days=365 * 30)])
def test_a_clock_that_jumps_ahead_takes_no_old_backup(tmp_path: Path, ahead: timedelta) -> None:
    # Given half a year of backups, thinned out as they should be
    times = {NOW - timedelta(minutes=10 * n) for n in range(180 * 24 * 6)}
    kept = backup.keep(times, NOW, backup.KEEP)
    make_trees(tmp_path, kept)
    assert backup.thin_out(tmp_path, backup.KEEP, NOW) == ([], 0)
    # When the clock is wrong for some runs
    for n in range(12):
        at = NOW + ahead + timedelta(minutes=10 * n)
        make_trees(tmp_path, [at])
        gone, spared = backup.thin_out(tmp_path, backup.KEEP, at)
        # Then nothing goes, and that is told
        assert not gone
        assert spared > 100
    # And once it is right again all goes on
    later = NOW + timedelta(days=1)
    make_trees(tmp_path, [later])
    gone, spared = backup.thin_out(tmp_path, backup.KEEP, later)
    assert gone
    assert not spared
    # A person who knows better says so
    gone, spared = backup.thin_out(tmp_path, backup.KEEP, at, anyway=True)
    assert len(gone) > 100
    assert not spared
