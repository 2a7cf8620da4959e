"""Is what is written there whole, whatever the disk does?"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_kit import FailingDisk, leftovers

from server.disk import files
from server.disk.errors import CroftError, DiskError, DiskFull, NotFound, ReadOnly

OLD, NEW = b'{"old": 1}\n', b'{"new": 2}\n' * 400


@pytest.mark.parametrize("call", ["open", "write", "short", "fsync", "replace"])
def test_old_or_new_whichever_call_fails(tmp_path: Path, call: str) -> None:
    path = tmp_path / "a.json"
    nth = 0
    while True:
        nth += 1
        path.write_bytes(OLD)
        disk = FailingDisk({call}, nth)
        with contextlib.suppress(DiskError):
            files.write_atomic(path, NEW, disk=disk)
        assert path.read_bytes() in (OLD, NEW)
        assert leftovers(tmp_path) == []
        if disk.seen < nth:
            break
    assert path.read_bytes() == NEW
    assert nth > 1  # the call is made at all


def test_before_the_replacement_a_failure_keeps_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(OLD)
    with pytest.raises(DiskError):
        files.write_atomic(path, NEW, disk=FailingDisk({"fsync"}, 1))
    assert path.read_bytes() == OLD


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFull),
        (errno.EDQUOT, DiskFull),
        (errno.EROFS, ReadOnly),
        (errno.EACCES, ReadOnly),
        (errno.EIO, DiskError),
        (errno.ENOENT, NotFound),
    ],
)
def test_what_the_disk_answers_becomes_a_sentence(
    tmp_path: Path, number: int, kind: type[CroftError]
) -> None:
    with pytest.raises(kind, match=r"a\.json"):
        files.write_atomic(tmp_path / "a.json", NEW, disk=FailingDisk({"write"}, 1, number))


def test_a_full_disk_keeps_the_old(tiny: Callable[..., Path]) -> None:
    root = tiny("small", 1 << 20)
    path = root / "a.json"
    files.write_atomic(path, OLD)
    with contextlib.suppress(OSError), open(root / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    with pytest.raises(DiskFull):
        files.write_atomic(path, NEW)
    assert path.read_bytes() == OLD
    assert leftovers(root) == []
    os.unlink(root / "filler")
    files.write_atomic(path, NEW)
    assert path.read_bytes() == NEW


def test_what_is_made_belongs_to_the_group(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a folder to another group needs root")
    os.chown(tmp_path, -1, 4242)
    before = os.umask(0o077)
    try:
        files.make_folders(tmp_path / "one/two", tmp_path)
        files.write_atomic(tmp_path / "one/two/a.json", NEW)
    finally:
        os.umask(before)
    for inside, mode in (("one", 0o2775), ("one/two", 0o2775), ("one/two/a.json", 0o664)):
        st = os.stat(tmp_path / inside)
        assert (inside, st.st_gid, stat.S_IMODE(st.st_mode)) == (inside, 4242, mode)


def test_reading_is_bounded_and_never_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(bytes(101))
    (tmp_path / "link").symlink_to("long")
    for name in ("pipe", "long", "link", "."):
        with pytest.raises(OSError, match=r".+"):
            files.read_bounded(tmp_path / name, 100)
    assert files.read_bounded(tmp_path / "long", 101)[0] == bytes(101)


def test_folders_are_made_below_their_root_only(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        files.make_folders(tmp_path / "share/../other", tmp_path / "share")
    with pytest.raises(NotFound):
        files.make_folders(tmp_path / "gone/a", tmp_path / "gone")
    assert os.listdir(tmp_path) == []
