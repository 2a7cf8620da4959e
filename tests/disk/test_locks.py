"""Does a lock exclude, whoever else wants it and whatever happens to its file?"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from disk_kit import together, worker

from server.disk import paths
from server.disk.errors import Busy, ShareAway
from server.disk.locks import Locks

COUNT = """
import sys
from pathlib import Path
from server.disk.locks import Locks
root, rounds = Path(sys.argv[1]), int(sys.argv[2])
locks = Locks(root, "counter")
number = root / "number"
print("ready", flush=True)
sys.stdin.readline()
for _ in range(rounds):
    with locks.hold("shared", timeout_s=60):
        number.write_text(str(int(number.read_text()) + 1))
"""

HOLD = """
import sys
from pathlib import Path
from server.disk.locks import Locks
with Locks(Path(sys.argv[1]), "host atlas process 7").hold("k"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def root(disk_root: Path) -> Path:
    (disk_root / paths.SHARE_MARKER).write_text('{"id": "x"}')
    return disk_root


def test_eight_processes_and_their_threads_count(root: Path) -> None:
    (root / "number").write_text("0")
    workers = [worker(COUNT, root, 60) for _ in range(8)]
    assert together(workers) == [0] * 8
    assert (root / "number").read_text() == "480"


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / paths.SHARE_MARKER).write_text("{}")
    locks, inside, most = Locks(tmp_path, "me"), [0], [0]

    def work() -> None:
        for _ in range(50):
            with locks.hold("k"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]


def test_a_wait_in_vain_names_the_holder_and_a_killed_holder_lets_go(root: Path) -> None:
    holder = worker(HOLD, root)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    locks = Locks(root, "me")
    with pytest.raises(Busy, match="host atlas process 7") as caught, locks.hold("k", timeout_s=0.05):
        pass
    assert caught.value.waited_s >= 0.05
    assert caught.value.path == str(root / ".croft-locks/k.lock")
    with locks.try_hold("k") as held:
        assert held is None
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with locks.hold("k", timeout_s=5):
        assert locks.holder_of("k") == "me"


def test_a_lock_file_replaced_while_it_is_waited_for(root: Path) -> None:
    # Given someone who holds the old file, when a restore puts another there, then the waiter gets that one.
    holder = worker(HOLD, root)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    locks = Locks(root, "me")
    got = threading.Event()

    def wait() -> None:
        with locks.hold("k", timeout_s=30) as held:
            assert held.still()
            got.set()

    thread = threading.Thread(target=wait)
    thread.start()
    fresh = root / ".croft-locks/fresh"
    fresh.write_text("restored")
    os.replace(fresh, root / ".croft-locks/k.lock")
    assert got.wait(20)
    thread.join()
    holder.communicate("done\n")


def test_a_lock_file_replaced_between_opening_and_locking_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = Locks(root, "me")
    with locks.hold("k"):
        pass
    replaced: list[int] = []

    class ReplacedMeanwhile:
        """The `os` of locks.py alone."""

        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def fstat(self, fd: int) -> os.stat_result:
            if not replaced:
                replaced.append(fd)
                fresh = root / ".croft-locks/fresh"
                fresh.write_text("")
                os.replace(fresh, root / ".croft-locks/k.lock")
            return os.fstat(fd)

    monkeypatch.setattr("server.disk.locks.os", ReplacedMeanwhile())
    with locks.hold("k") as held:
        assert replaced
        assert held.still()


def test_who_holds_a_replaced_lock_finds_out_before_writing(root: Path) -> None:
    locks = Locks(root, "me")
    with locks.hold("k") as held:
        held.check()
        fresh = root / ".croft-locks/fresh"
        fresh.write_text("")
        os.replace(fresh, root / ".croft-locks/k.lock")
        assert not held.still()
        with pytest.raises(Busy, match="replaced"):
            held.check()
        os.unlink(root / ".croft-locks/k.lock")
        assert not held.still()
    with locks.hold("k") as held:
        assert held.still()


def test_the_locks_folder_deleted_while_in_use(root: Path) -> None:
    locks = Locks(root, "me")
    with locks.hold("k"):
        pass
    (root / ".croft-locks/k.lock").unlink()
    (root / ".croft-locks").rmdir()
    with locks.hold("k") as held:
        assert held.still()
    (root / ".croft-locks/k.lock").unlink()
    (root / ".croft-locks").rmdir()
    with locks.try_hold("k") as held_at_once:
        assert held_at_once is not None


def test_every_server_of_the_group_may_write_a_lock_file_and_it_stays_as_it_is(root: Path) -> None:
    umask = os.umask(0o077)
    try:
        with Locks(root, "me").hold("k"):
            pass
    finally:
        os.umask(umask)
    place = root / ".croft-locks/k.lock"
    assert place.stat().st_mode & 0o777 == 0o664
    before = place.stat()
    for locks in (Locks(root, "me"), Locks(root, "me")):  # the same holder: nothing is written
        with locks.hold("k"), locks.hold("other"):
            pass
    assert place.stat().st_mtime_ns == before.st_mtime_ns
    mine, other = Locks(root, "me"), Locks(root, "somebody else")
    for locks in (mine, other, mine):
        with locks.hold("k"):
            assert place.read_text() == locks.holder


def test_a_lock_file_is_not_open_while_nobody_holds_it(root: Path) -> None:
    # Or else a share that is at rest could not be unmounted.
    locks = Locks(root, "me")
    with locks.hold("k"):
        pass
    with pytest.raises(Busy), locks.hold("k"), Locks(root, "other").hold("k", timeout_s=0):
        pass
    there = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)]
    assert not [path for path in there if path.startswith(str(root))]


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_a_share_that_is_not_mounted_gets_no_locks(tmp_path: Path) -> None:
    locks = Locks(tmp_path, "me")
    with pytest.raises(ShareAway), locks.hold("k"):
        pass
    assert os.listdir(tmp_path) == []


def test_several_at_once_never_wait_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / paths.SHARE_MARKER).write_text("{}")
    locks = Locks(tmp_path, "me")

    def work(keys: list[str]) -> None:
        for _ in range(100):
            with locks.hold_all(keys):
                pass

    threads = [threading.Thread(target=work, args=(keys,)) for keys in (["a", "b", "b"], ["b", "a"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_pruning_spares_what_is_held_and_breaks_no_exclusion(root: Path) -> None:
    (root / "number").write_text("0")
    locks = Locks(root, "pruner")
    for number in range(20):
        with locks.hold(f"old{number}"):
            pass
    with locks.hold("mine"):
        assert locks.prune(keep=0) == 20
        assert os.listdir(root / ".croft-locks") == ["mine.lock"]
    workers = [worker(COUNT, root, 60) for _ in range(4)]
    done = threading.Event()

    def prune() -> None:
        while not done.wait(0.001):
            locks.prune(keep=0)

    thread = threading.Thread(target=prune)
    thread.start()
    try:
        assert together(workers) == [0] * 4
    finally:
        done.set()
        thread.join()
    assert (root / "number").read_text() == "240"


def test_an_exception_inside_lets_go(tmp_path: Path) -> None:
    (tmp_path / paths.SHARE_MARKER).write_text("{}")
    locks = Locks(tmp_path, "me")
    with pytest.raises(ZeroDivisionError), locks.hold("k"):
        raise ZeroDivisionError
    with locks.hold("k", timeout_s=0):
        pass
