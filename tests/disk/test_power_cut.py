"""Would what was accepted survive a power cut? By the order of what the disk was told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from disk_kit import FILE, make_file, make_store

from server.disk import deletions, files, moves
from server.disk.journal import Journal
from server.disk.store import Store


class Recorder(files.Os):
    """Writes down each call, with the path that it was about."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self._paths: dict[int, str] = {}

    def open(self, path: str | Path, flags: int, mode: int = files.FILE_MODE) -> int:
        made = bool(flags & os.O_CREAT) and not os.path.lexists(path)
        fd = super().open(path, flags, mode)
        self._paths[fd] = str(path)
        if made:
            self.calls.append(("made", str(path)))
        return fd

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.calls.append(("write", self._paths[fd]))
        return super().write(fd, data)

    def fsync(self, fd: int) -> None:
        super().fsync(fd)
        self.calls.append(("flush", self._paths[fd]))

    def fdatasync(self, fd: int) -> None:
        super().fdatasync(fd)
        self.calls.append(("flush", self._paths[fd]))

    def _named(self, source: str | Path, target: str | Path) -> None:
        self.calls.append(("from", str(source)))
        self.calls.append(("named", str(target)))

    def replace(self, source: str | Path, target: str | Path) -> None:
        super().replace(source, target)
        self._named(source, target)

    def rename(self, source: str | Path, target: str | Path) -> None:
        super().rename(source, target)
        self._named(source, target)

    def link(self, source: str | Path, target: str | Path) -> None:
        super().link(source, target)
        self._named(source, target)

    def mkdir(self, path: str | Path) -> None:
        super().mkdir(path)
        self.calls.append(("named", str(path)))

    def when(self, call: str, path: Path | str) -> int:
        """The last time of this call for this path; fails where there was none."""
        times = [n for n, seen in enumerate(self.calls) if seen == (call, str(path))]
        assert times, f"never: {call} {path}"
        return times[-1]

    def assert_kept(self, path: Path) -> None:
        """Content flushed before it got its name, and the name flushed after."""
        named = self.when("named", path)
        call, source = self.calls[named - 1]
        assert call == "from"
        if ("write", source) in self.calls:
            assert self.when("write", source) < self.when("flush", source) < named
        assert self.when("flush", path.parent) > named


@pytest.fixture
def store(tmp_path: Path) -> Store:
    make_file(tmp_path / "share")
    store = make_store(tmp_path / "share")
    store.disk = Recorder()
    return store


def recorder(store: Store) -> Recorder:
    assert isinstance(store.disk, Recorder)
    return store.disk


def test_an_edit(store: Store) -> None:
    store.edit(FILE, {"owner": "mia"}, who="tom")
    recorder(store).assert_kept(store.path(FILE + ".json"))


def test_a_file_of_crofts_own_in_new_folders(store: Store) -> None:
    store.write_json("data::green/shots/.croft/sh010.blend/jobs/j1/job.json", {"a": 1})
    path = store.path("data::green/shots/.croft/sh010.blend/jobs/j1/job.json")
    seen = recorder(store)
    seen.assert_kept(path)
    for folder in (path.parent, path.parents[1], path.parents[2], path.parents[3]):
        assert seen.when("flush", folder.parent) > seen.when("named", folder)


def test_an_upload(store: Store) -> None:
    temporary = store.temporary("data::green/shots/a.png")
    temporary.write_bytes(b"png")
    store.place(temporary, "data::green/shots/a.png", "mia")
    seen = recorder(store)
    named = seen.when("named", store.path("data::green/shots/a.png"))
    assert seen.when("flush", temporary) < named < seen.when("flush", temporary.parent)


def test_a_deletion_is_promised_before_it_begins_and_kept_before_it_is_told(store: Store) -> None:
    store.edit(FILE, {"owner": "mia"}, who="tom")
    aside = store.path(store.delete(FILE, "tom"))
    seen = recorder(store)
    moved = seen.when("named", aside / "sh010.blend")
    intents = [n for n, call in enumerate(seen.calls) if call == ("named", str(aside / deletions.INTENT))]
    flushes = [n for n, call in enumerate(seen.calls) if call == ("flush", str(aside))]
    assert len(intents) == 2  # begun, and done
    assert any(intents[0] < flush < moved for flush in flushes)
    assert any(moved < flush for flush in flushes)
    assert moved < intents[1]
    pointer = store.share("data").root / ".croft-locks" / f"intent-{aside.name}.json"
    assert seen.when("named", pointer) < seen.when("flush", pointer.parent) < intents[0]


def test_a_copy_across_disks(tmp_path: Path) -> None:
    class Apart(Recorder):
        def rename(self, source: str | Path, target: str | Path) -> None:
            if files.TEMPORARY not in str(source):
                raise OSError(18, "another disk")
            super().rename(source, target)

    seen = Apart()
    make_file(tmp_path, "a/x", b"content")
    (tmp_path / "b").mkdir()
    moves.move(tmp_path / "a/x", tmp_path / "b/x", root=tmp_path, disk=seen)
    seen.assert_kept(tmp_path / "b/x")
    assert not (tmp_path / "a/x").exists()


def test_an_event(tmp_path: Path) -> None:
    seen = Recorder()
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, seen)
    for number in range(3):
        journal.append([{"n": number}])
        journal.sync()
        assert seen.when("flush", path) > seen.when("write", path)
    assert seen.when("flush", tmp_path) > seen.when("made", path)
