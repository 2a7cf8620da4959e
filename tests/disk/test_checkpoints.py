"""Checkpoints and replacing a file's content: on folders and pools, on failing disks, after kill -9."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_kit import FILE, FailingDisk, make_file, make_store, worker

from server.disk import checkpoints, files, intents, paths
from server.disk.errors import Conflict, CroftError, DiskFull
from server.disk.store import Store

NAME = "sh010.blend"


def kept(root: Path, folder: str = "green/shots") -> dict[str, bytes]:
    """Content of every finished checkpoint, by its folder's name."""
    found = {}
    for ident in intents.names(root / folder / paths.OLD):
        place = root / folder / paths.OLD / ident
        assert (place / intents.INTENT).is_file(), place
        found[ident] = (place / NAME).read_bytes()
    return found


def pending(root: Path) -> list[str]:
    """What isn't finished, and forgotten temporary files but for those among the locks."""
    left = [str(path) for path in root.rglob(files.TEMPORARY + "*") if path.parent.name != paths.LOCKS]
    return left + [name for name in intents.names(root / paths.LOCKS) if name.startswith("intent-")]


def test_kept_and_replaced(disk_root: Path, tmp_path: Path) -> None:
    path = make_file(disk_root, content=b"one")
    store = make_store(disk_root)
    store.edit(FILE, {"owner": "ana"}, who="ana")
    first = paths.name_of(store.checkpoint(FILE, "ana", "mine"))
    new = tmp_path / "new"
    new.write_bytes(b"two")
    second = paths.name_of(store.replace(FILE, {NAME: new}, "ben"))
    assert path.read_bytes() == b"two"
    assert kept(disk_root) == {first: b"one", second: b"one"}
    assert path.with_name(NAME + ".json").is_file()
    assert new.read_bytes() == b"two"
    assert pending(disk_root) == []
    assert store.read(FILE).data["owner"] == "ana"
    entry = store.index.get(FILE)
    assert entry is not None
    assert entry.stat is not None
    assert entry.stat.size == 3
    intent = intents.read(store.share("data"), f"green/shots/old/{second}")
    assert intent.data["hash"] == checkpoints.digest(intent.folder / NAME)


def test_a_file_that_is_taken_moves(disk_root: Path) -> None:
    path = make_file(disk_root, content=b"one")
    store = make_store(disk_root)
    staged = make_file(disk_root, "green/.croft/project.json/uploads/ana/1/content", b"two")
    assert store.replace(FILE, {NAME: staged}, "ana", take=True)
    assert (path.read_bytes(), staged.exists()) == (b"two", False)
    staged.write_bytes(b"three")
    other = "data::green/shots/new.blend"
    assert store.replace(other, {"new.blend": staged}, "ana", take=True) == ""
    assert (disk_root / "green/shots/new.blend").read_bytes() == b"three"
    assert pending(disk_root) == []
    assert len(kept(disk_root)) == 1


def test_a_sequence_is_replaced_frame_by_frame(disk_root: Path, tmp_path: Path) -> None:
    for frame in (1, 2, 3):
        make_file(disk_root, f"green/shots/walk.{frame:04}.png", b"old %d" % frame)
    store = make_store(disk_root)
    address = "data::green/shots/walk.@.png"
    first = store.checkpoint(address, "ana")
    new = {}
    for frame in (2, 3, 4):
        source = tmp_path / f"walk.{frame:04}.png"
        source.write_bytes(b"new %d" % frame)
        new[source.name] = source
    store.replace(address, new, "ana")
    shots = disk_root / "green/shots"
    assert sorted((path.name, path.read_bytes()) for path in shots.glob("walk.*.png")) == [
        (f"walk.{frame:04}.png", b"new %d" % frame) for frame in (2, 3, 4)
    ]
    old = disk_root / paths.parse(first)[1]
    assert sorted(path.read_bytes() for path in old.glob("walk.*.png")) == [b"old 1", b"old 2", b"old 3"]
    again = checkpoints.content_of(intents.read(store.share("data"), paths.parse(first)[1]))
    store.replace(address, again, "ana")
    assert sorted(path.read_bytes() for path in shots.glob("walk.*.png")) == [b"old 1", b"old 2", b"old 3"]
    assert pending(disk_root) == []


class Saving(files.Os):
    """A student saves just before the `nth` call of one kind."""

    def __init__(self, path: Path, call: str, nth: int) -> None:
        self.path, self.call, self.left = path, call, nth
        self.saved = 0

    def _count(self, call: str) -> None:
        if call != self.call:
            return
        self.left -= 1
        if self.left == 0:
            self.saved += 1
            aside = self.path.with_name(NAME + "@")
            aside.write_bytes(b"saved meanwhile")
            os.replace(aside, self.path)

    def exchange(self, one: str | Path, other: str | Path) -> None:
        self._count("exchange")
        super().exchange(one, other)

    def fsync(self, fd: int) -> None:
        self._count("fsync")
        super().fsync(fd)

    def mkdir(self, path: str | Path) -> None:
        self._count("mkdir")
        super().mkdir(path)


@pytest.mark.parametrize(("call", "most"), [("exchange", 1), ("fsync", 14), ("mkdir", 2)])
def test_a_save_in_the_middle_is_kept_whenever_it_comes(tmp_path: Path, call: str, most: int) -> None:
    """Given a student who saves while another brings an earlier save back: both contents are kept."""
    hit = 0
    for nth in range(1, most + 1):
        root = tmp_path / f"share{nth}"
        path = make_file(root, content=b"one")
        store = make_store(root)
        new = tmp_path / "new"
        new.write_bytes(b"two")
        store.disk = disk = Saving(path, call, nth)
        store.replace(FILE, {NAME: new}, "ben")
        hit += disk.saved
        there = {path.read_bytes(), *kept(root).values()}
        assert there >= ({b"saved meanwhile"} if disk.saved else {b"one", b"two"}), (call, nth)
        assert pending(root) == []
    assert hit >= min(most, 4)


def test_who_reads_sees_the_old_content_or_the_new(disk_root: Path, tmp_path: Path) -> None:
    path = make_file(disk_root, content=b"a" * 300_000)
    store = make_store(disk_root)
    seen: set[bytes] = set()
    lost: list[Exception] = []
    end = threading.Event()

    def read() -> None:
        while not end.is_set():
            try:
                seen.add(path.read_bytes())
            except OSError as error:
                lost.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    contents = []
    for turn in range(8):
        contents.append(bytes([98 + turn]) * 300_000)
        (tmp_path / "new").write_bytes(contents[-1])
        store.replace(FILE, {NAME: tmp_path / "new"}, "ana")
    end.set()
    thread.join()
    assert lost == []
    assert seen <= {b"a" * 300_000, *contents}


def test_a_file_that_is_written_into_is_not_kept_half(tmp_path: Path) -> None:
    path = make_file(tmp_path / "share", content=b"x" * 10)

    class Writing(files.Os):
        def fsync(self, fd: int) -> None:
            pass

        def copy_range(self, source: int, target: int, count: int) -> int:
            copied = super().copy_range(source, target, count)
            with open(path, "ab") as file:
                file.write(b"y")
            return copied

        def clone(self, source: int, target: int) -> None:
            raise OSError(errno.EOPNOTSUPP, "")

    store = make_store(tmp_path / "share")
    store.disk = Writing()
    with pytest.raises(Conflict, match="being written"):
        store.checkpoint(FILE, "ana")
    assert not (path.parent / paths.OLD).exists()
    assert pending(tmp_path / "share") == []


CALLS = ("open", "write", "fsync", "replace", "rename", "unlink", "mkdir", "link")


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("what", ["checkpoint", "replace", "take"])
def test_a_failing_disk_loses_nothing(tmp_path: Path, what: str, call: str) -> None:
    """Every call of a kind fails once, in turn: the old content or the new is there, a start tidies up."""
    failed = 0
    for nth in range(1, 60):
        root = tmp_path / f"share{nth}"
        path = make_file(root, content=b"one")
        store = make_store(root, tmp_path / "config")
        store.edit(FILE, {"owner": "ana"}, who="ana")
        staged = make_file(root, "green/.croft/project.json/uploads/1", b"two")
        store.disk = disk = FailingDisk({call}, nth, errno.ENOSPC)
        try:
            if what == "checkpoint":
                store.checkpoint(FILE, "ana")
            else:
                store.replace(FILE, {NAME: staged}, "ana", take=what == "take")
        except CroftError:
            failed += 1
        if disk.seen < nth:
            break
        store.close()
        make_store(root, tmp_path / "config").close()  # a start finishes what was under way
        check(root, path, staged, what)
    assert failed or call in ("write", "replace", "rename", "link", "mkdir")


def check(root: Path, path: Path, staged: Path, what: str) -> None:
    contents = list(kept(root).values())
    assert set(contents) <= {b"one"}
    now = path.read_bytes()
    assert now == b"one" or (now == b"two" and contents), "the old content is gone"
    if what == "take":
        assert (now == b"two") != staged.exists(), "what was to be taken is gone, or there twice"
    else:
        assert staged.read_bytes() == b"two"
    assert pending(root) == []


def test_on_a_full_disk_nothing_changes(tiny: Callable[..., Path]) -> None:
    root = tiny("small", 600 << 10)
    path = make_file(root, content=os.urandom(400 << 10))
    before = path.read_bytes()
    store = make_store(root)
    with pytest.raises(DiskFull):
        store.checkpoint(FILE, "ana")
    with pytest.raises(DiskFull):
        store.replace(FILE, {NAME: path}, "ana")
    assert path.read_bytes() == before
    assert not (path.parent / paths.OLD).exists()
    assert pending(root) == []


# -- kill -9

STEPPED = """
import os, sys
from pathlib import Path
from disk_kit import FILE, make_store
from server.disk import files

class Dying(files.Os):
    left = int(sys.argv[4])
    def __getattribute__(self, name):
        if name not in ("left", "__class__", "__dict__"):
            Dying.left -= 1
            if Dying.left == 0:
                os.kill(os.getpid(), 9)
        return object.__getattribute__(self, name)

root, config, what = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
store = make_store(root, config)
store.disk = Dying()
staged = root / "green/.croft/project.json/uploads/1"
if what == "checkpoint":
    store.checkpoint(FILE, "ana")
elif what == "delete":
    store.delete(FILE, "ana")
elif what == "bring_back":
    store.bring_back("data::green/shots/old/" + os.listdir(root / "green/shots/old")[0], "ana")
else:
    store.replace(FILE, {"sh010.blend": staged}, "ana", take=what == "take")
"""


@pytest.mark.parametrize("what", ["checkpoint", "replace", "take", "delete", "bring_back"])
def test_killed_between_any_two_steps(tmp_path: Path, what: str) -> None:
    """Killed before the n-th call of the disk, for every n until it comes through."""
    steps = list(range(1, 90))
    random.Random(7).shuffle(steps)
    ended = 90  # the step from which on it comes through
    tried = 0
    for nth in steps:
        if nth >= ended or tried >= 14:
            continue
        tried += 1
        root = tmp_path / f"share{nth}"
        path = make_file(root, content=b"one")
        store = make_store(root, tmp_path / "config")
        store.edit(FILE, {"owner": "ana"}, who="ana")
        if what == "bring_back":
            store.delete(FILE, "ana")
        store.close()
        staged = make_file(root, "green/.croft/project.json/uploads/1", b"two")
        process = worker(STEPPED, root, tmp_path / "config", what, nth, stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=30)
        if process.returncode == 0:
            ended = nth
        else:
            assert process.returncode == -9, said
        store = make_store(root, tmp_path / "config")
        if what in ("delete", "bring_back"):
            whole(root, store, path)
        else:
            check(root, path, staged, what)
        store.close()
    assert ended > 10


def whole(root: Path, store: Store, path: Path) -> None:
    """The file, its sidecar and its companion are together, here or in `old/`."""
    old = [path.parent / paths.OLD / ident for ident in intents.names(path.parent / paths.OLD)]
    homes = [folder for folder in (path.parent, *old) if (folder / NAME).exists()]
    assert len(homes) == 1, homes
    assert (homes[0] / NAME).read_bytes() == b"one"
    assert (homes[0] / f"{NAME}.json").is_file()
    assert (homes[0] / ".croft" / NAME).is_dir()
    assert pending(root) == []
    if homes != [path.parent]:
        assert store.index.get(FILE) is None
