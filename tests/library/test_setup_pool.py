"""The folder for the films: is what would cost somebody their work refused, explained, mended as told?"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from server.library.setup import pool
from server.library.setup.machine import Machine, Mount, is_within
from server.library.setup.records import worst
from tests.misc.kit import pool as mounted_pool
from tests.misc.kit import tmpfs

CROFT, STUDENTS = 33, 100  # Debian's www-data, who is in nobody else's group; Debian's users
CLONE = Path(__file__).resolve().parents[2]


class Fake(Machine):
    """This machine, but for what a test says."""

    def __init__(self, **said: object) -> None:
        self.said = said

    def groups_of(self, uid: int) -> set[int]:
        return {STUDENTS} if "groups" not in self.said else set(self.said["groups"])  # type: ignore[call-overload]

    def members(self, gid: int) -> list[str]:
        return list(self.said.get("members", ["ana", "ben"]))  # type: ignore[call-overload]

    def filesystem(self, path: Path) -> str:
        return str(self.said.get("kind") or super().filesystem(path))

    def wanted(self) -> list[Mount]:
        return list(self.said.get("fstab", []))  # type: ignore[call-overload]

    def free(self, path: Path) -> tuple[int, int]:
        return self.said.get("free") or (400 << 30, 1000 << 30)  # type: ignore[return-value]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder as it should be: the students' group, setgid."""
    if os.geteuid() != 0:
        pytest.skip("giving folders to others needs root")
    with tempfile.TemporaryDirectory(prefix="croft-setup-") as place:
        os.chmod(place, 0o755)
        made = Path(place) / "film"
        made.mkdir()
        os.chown(made, CROFT, STUDENTS)
        made.chmod(0o2775)
        yield made


def look(folder: Path, **said: object) -> tuple[str, str, str]:
    """The state, all that was said, and the command that mends it."""
    checks = pool.look(folder, CROFT, Fake(**said), (CLONE, Path("/etc/croft")))
    bad = [check for check in checks if check.state == "wrong"]
    for check in bad:
        assert check.mend, f"{check.text} has no mend"
    text = " ".join(f"{check.text} {check.mend}" for check in checks)
    return worst(checks), text, next((check.command for check in bad), "")


def test_a_folder_as_it_should_be_is_taken_and_nothing_stays_in_it(folder: Path) -> None:
    state, text, _ = look(folder)
    assert state == "right", text
    assert "wrote, renamed and deleted a file" in text
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: os.chown(path, CROFT, 0), "in which no student is"),
        (lambda path: path.chmod(0o775), "isn't setgid"),
        (lambda path: path.chmod(0o2755), "may not write"),
        (lambda path: os.rmdir(path), "There is no folder"),
    ],
)
def test_what_is_wrong_is_mended_by_the_command_that_is_told(
    folder: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(folder)
    state, text, command = look(folder)
    assert state == "wrong"
    assert said in text
    # As the admin does it, with the group that there is here.
    command = re.sub(r"(chgrp|-g) film", r"\1 users", command)
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    state, text, _ = look(folder)
    assert state == "right", text


@pytest.mark.parametrize(
    ("here", "said"),
    [
        ({"groups": [33]}, "isn't in the group users"),
        ({"kind": "vfat"}, "lies on FAT, which knows neither owners nor groups"),
        ({"kind": "fuseblk"}, "lies on NTFS or exFAT"),
        ({"kind": "ntfs3"}, "lies on NTFS"),
        ({"free": (100 << 20, 1 << 40)}, "The disk is full: 0.1 of 1099.5 GB are free"),
    ],
)
def test_what_the_machine_says_against_it(folder: Path, here: dict[str, object], said: str) -> None:
    state, text, _ = look(folder, **here)
    assert state == "wrong"
    assert said in text


def test_what_is_good_to_know_forbids_nothing(folder: Path) -> None:
    for here, said in (
        ({"free": (5 << 30, 1 << 40)}, "There is little room"),
        ({"members": ["www-data"]}, "Nobody but www-data is in the group"),
        ({"kind": "nfs4"}, "hears of changes late"),
    ):
        state, text, _ = look(folder, **here)
        assert (state, said in text) == ("note", True), text


def test_a_private_group_is_refused(folder: Path) -> None:
    os.chown(folder, CROFT, 33)  # the group of www-data alone
    state, text, _ = look(folder, groups=[33], members=["www-data"])
    assert state == "wrong"
    assert "no student may write there" in text


def test_a_mount_that_is_missing_is_refused_even_where_the_folder_is_there(folder: Path) -> None:
    fstab = [Mount("/dev/sdb1", str(folder.parent), "ext4")]
    state, text, command = look(folder, fstab=fstab)
    assert state == "wrong"
    assert "would lie on the system's disk" in text
    assert command == f"mount {folder.parent}"


def test_a_folder_in_the_program_and_one_around_it_are_refused() -> None:
    for path in (CLONE / "templates", CLONE, CLONE.parent):
        state, text, _ = look(path)
        assert state == "wrong"
        assert "Croft's own" in text


@pytest.mark.parametrize("path", ["film", "/etc/passwd", "/nowhere/at/all"])
def test_what_is_no_folder_is_told(path: str) -> None:
    assert look(Path(path))[0] == "wrong"


def test_a_full_disk_for_real(folder: Path) -> None:
    small = folder.parent / "small"
    with tmpfs(small, 2 << 20):
        os.chown(small, CROFT, STUDENTS)
        small.chmod(0o2775)
        checks = pool.look(small, CROFT, Machine())
        assert worst(checks) == "wrong"
        assert any("The disk is full" in check.text for check in checks)


def test_croft_that_may_not_write_is_told(folder: Path) -> None:
    """The folder is right, a folder above it is closed."""
    folder.parent.chmod(0o700)
    state, text, _ = look(folder)
    assert state == "wrong"
    assert "Croft (as www-data) can't write" in text


def test_one_disk_of_a_real_pool_is_refused_and_the_pool_named(
    folder: Path, needs: Callable[[str], str]
) -> None:
    with mounted_pool(folder.parent, needs) as disks:
        through = folder.parent / "pool" / "film"
        through.mkdir()
        os.chown(through, CROFT, STUDENTS)
        through.chmod(0o2775)
        branch = next(disk / "film" for disk in disks if (disk / "film").exists())
        state, text, _ = look(branch)
        assert state == "wrong"
        assert f"{branch} is one disk of the pool {folder.parent}/pool" in text
        assert f"Choose it through the pool: {through}" in text
        state, text, _ = look(through)
        assert state == "right", text
        assert "New files go to the disk with room (category.create=mfs)" in text
    # Not mounted: /etc/fstab knows the disks, too.
    fstab = [Mount(f"{folder.parent}/disk*", f"{folder.parent}/pool", "fuse.mergerfs")]
    state, text, _ = look(folder.parent / "disk1", fstab=fstab)
    assert state == "wrong"
    assert "is one disk of the pool" in text


def test_a_path_preserving_pool_is_mended_while_it_is_mounted(
    folder: Path, needs: Callable[[str], str]
) -> None:
    with mounted_pool(folder.parent, needs, change=lambda line: line.replace("=mfs", "=epmfs")):
        through = folder.parent / "pool" / "film"
        through.mkdir()
        os.chown(through, CROFT, STUDENTS)
        through.chmod(0o2775)
        state, text, command = look(through)
        assert state == "wrong"
        assert "category.create=epmfs" in text
        os.setxattr(command.split()[-1], "user.mergerfs.category.create", b"mfs")  # what setfattr does
        assert command.startswith("setfattr -n user.mergerfs.category.create -v mfs ")
        state, text, _ = look(through)
        assert state == "right", text


def test_wildcards_of_fstab() -> None:
    assert is_within("/mnt/disk1/film", "/mnt/disk*")
    assert is_within("/mnt/disk1", "/mnt/disk1/")
    assert not is_within("/mnt/disk10", "/mnt/disk1")
    assert not is_within("/mnt", "/mnt/disk*")
