"""Is an event that was accepted still there, and one that wasn't never taken for one?"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from disk_kit import FailingDisk, together, worker

from server.disk.errors import Broken, DiskError, DiskFull, NotFound, Restored
from server.disk.journal import Journal


def events(*numbers: int) -> list[dict[str, int]]:
    return [{"n": number} for number in numbers]


@pytest.fixture
def path(disk_root: Path) -> Path:
    return disk_root / "journal.jsonl"


def test_what_is_appended_is_read_on_from_any_offset(path: Path) -> None:
    journal = Journal(path)
    assert journal.read() == ([], 0, 0)
    one = journal.append(events(1, 2))
    two = journal.append(events(3), expect=one)
    journal.sync()
    assert journal.read() == (events(1, 2, 3), two, 0)
    assert Journal(path).read(0)[0] == events(1, 2, 3)
    assert journal.append([], expect=two) == two


def test_a_reader_reads_on(path: Path) -> None:
    writer, reader = Journal(path), Journal(path)
    writer.append(events(1))
    _, offset, _ = reader.read()
    writer.append(events(2))
    assert reader.read(offset)[0] == events(2)


def test_a_torn_end_stays_and_is_counted(path: Path) -> None:
    Journal(path).append(events(1))
    with open(path, "ab") as file:
        file.write(b'{"n": 2, "to')
    journal = Journal(path)
    got, offset, bad = journal.read()
    assert (got, bad) == (events(1), 0)  # it may still be growing
    journal.append(events(3), expect=offset)
    assert journal.read()[0::2] == (events(1, 3), 1)
    assert b'{"n": 2, "to\n' in path.read_bytes()


def test_lines_that_are_no_objects_are_skipped(path: Path) -> None:
    path.write_bytes(b'{"n": 1}\n[1]\nnull\nxx\n\xff\xfe\n\n{"n": 2}')
    journal = Journal(path)
    got, offset, bad = journal.read()
    assert (got, bad) == (events(1, 2), 4)
    journal.append(events(3), expect=offset)
    assert journal.read()[0] == events(1, 2, 3)


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("how", ["replaced", "shorter", "overwritten", "gone"])
def test_a_restore_is_noticed_by_who_reads_and_who_appends(path: Path, how: str, local: bool) -> None:
    journal = Journal(path, local=local)
    offset = journal.append(events(1, 2, 3))
    journal.sync()
    journal.read(0)
    if how == "replaced":
        shutil.copy(path, path.with_name("backup"))
        os.replace(path.with_name("backup"), path)
    elif how == "shorter":
        path.write_bytes(b'{"n":1}\n')
    elif how == "overwritten":
        path.write_bytes(b'{"n":1}\n{"n":7}\n{"n":8}\n')
    else:
        path.unlink()
    assert journal.changed(offset)
    with pytest.raises(Restored):
        journal.read(offset)
    if how != "overwritten":
        with pytest.raises(Restored):
            journal.append(events(4), expect=offset if how != "replaced" else 1)
    got, offset, _ = journal.read(0)
    journal.append(events(4), expect=offset)
    journal.sync()
    assert Journal(path).read()[0] == got + events(4)


def test_the_last_events_are_read_without_the_rest(path: Path) -> None:
    journal = Journal(path)
    assert journal.last(1000) == []
    journal.append({"n": n, "text": "x" * 80} for n in range(1000))
    assert [event["n"] for event in journal.last(1000)] == list(range(991, 1000))
    assert len(journal.last(1 << 20)) == 1000


def test_a_look_at_a_local_journal_that_nobody_wrote_to_opens_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, other = Journal(path, local=True), Journal(path)
    offset = journal.append(events(1))
    assert journal.looks == (offset, path.stat().st_ino)
    opened: list[object] = []
    real = os.open
    monkeypatch.setattr("server.disk.journal.os.open", lambda *a, **k: opened.append(a) or real(*a, **k))
    assert journal.read(offset) == ([], offset, 0)
    assert not opened
    other.append(events(2))
    opened.clear()
    assert journal.read(offset)[0] == events(2)
    assert len(opened) == 1


@pytest.mark.parametrize("local", [False, True])
def test_an_open_journal_follows_its_name(path: Path, local: bool) -> None:
    # Given a journal with an open file, when another is restored in its place, the append goes there.
    journal = Journal(path, local=local)
    journal.append(events(1))
    shutil.copy(path, path.with_name("backup"))
    os.replace(path.with_name("backup"), path)
    journal.append(events(2))
    journal.sync()
    assert Journal(path).read()[0] == events(1, 2)


def test_a_whole_folder_replaced_by_a_restore(disk_root: Path) -> None:
    folder = disk_root / "jobs/1"
    folder.mkdir(parents=True)
    journal = Journal(folder / "journal.jsonl")
    offset = journal.append(events(1))
    shutil.copytree(folder, disk_root / "backup")
    offset = journal.append(events(2), expect=offset)
    shutil.rmtree(folder)
    with pytest.raises((Restored, NotFound)):
        journal.append(events(3), expect=offset)
    shutil.move(disk_root / "backup", folder)
    with pytest.raises(Restored):
        journal.append(events(3), expect=offset)
    got, offset, _ = journal.read(0)
    assert got == events(1)  # it went backwards: for its owner to say what that means
    journal.append(events(3), expect=offset)
    assert journal.read(0)[0] == events(1, 3)


def test_an_append_after_somebody_elses_is_refused(path: Path) -> None:
    mine, other = Journal(path), Journal(path)
    offset = mine.append(events(1))
    other.append(events(2))
    with pytest.raises(Restored):
        mine.append(events(3), expect=offset)
    assert mine.read(offset)[0] == events(2)


def test_a_failed_flush_is_written_again(path: Path) -> None:
    disk = FailingDisk({"fdatasync"}, 1)
    journal = Journal(path, disk)
    journal.append(events(1))
    with pytest.raises(DiskError):
        journal.sync()
    journal.append(events(2))
    journal.sync()
    assert disk.seen == 3  # the failed one, the one of the rewritten bytes, the usual one
    assert Journal(path).read() == (events(1, 2), path.stat().st_size, 0)


def test_a_disk_that_fills_up_in_mid_line(path: Path) -> None:
    journal = Journal(path, FailingDisk({"short"}, 4, errno.ENOSPC, for_good=True))
    with pytest.raises(DiskFull):
        journal.append([{"n": 1, "text": "x" * 200}])
    again = Journal(path)
    assert again.read()[0] == []
    again.append(events(2))
    assert again.read()[0::2] == (events(2), 1)


def test_a_folder_of_that_name_or_a_missing_folder(path: Path) -> None:
    path.mkdir()
    with pytest.raises(Broken):
        Journal(path).read()
    with pytest.raises((NotFound, Broken)):
        Journal(path.parent / "none/journal.jsonl").append(events(1))


APPEND = """
import sys
from pathlib import Path
from server.disk.journal import Journal
from server.disk.locks import Locks
root, me = Path(sys.argv[1]), int(sys.argv[2])
locks, journal, offset, seen = Locks(root, "w"), Journal(root / "journal.jsonl", local=me % 2 > 0), 0, 0
print("ready", flush=True)
sys.stdin.readline()
while seen < 400:
    with locks.hold("job", timeout_s=60) as held:
        events, offset, bad = journal.read(offset)
        assert not bad
        seen += len(events)
        if seen >= 400:
            break
        held.check()
        offset = journal.append([{"n": seen, "by": me}], expect=offset)
        journal.sync()
        seen += 1
"""


def test_eight_processes_claim_each_number_once(disk_root: Path) -> None:
    (disk_root / ".croft-share.json").write_text("{}")
    workers = [worker(APPEND, disk_root, number) for number in range(8)]
    assert together(workers) == [0] * 8
    got, _, bad = Journal(disk_root / "journal.jsonl").read()
    assert [event["n"] for event in got] == list(range(400))
    assert bad == 0
