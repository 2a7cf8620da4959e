"""Does a move end up whole, across folders and the branches of a pool?"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_kit import POLICIES, FailingDisk, Pool, leftovers, make_store

from server.disk import files, moves
from server.disk.errors import Conflict, CroftError, DiskError, NotFound


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture(params=POLICIES)
def mounted(request: pytest.FixtureRequest, pool: Callable[[str], Pool]) -> Pool:
    return pool(request.param)


def branches_of(pool: Pool, seen: bool) -> tuple[Path, ...]:
    return pool.branches if seen else ()


@pytest.mark.parametrize("seen", [True, False], ids=["branches seen", "branches unseen"])
def test_a_file_whose_branch_lacks_the_target_folder(mounted: Pool, seen: bool) -> None:
    # Given a file on each branch, and a target folder on the first branch alone.
    for number, branch in enumerate(mounted.branches):
        put(branch / f"a/{number}.blend", b"scene %d" % number)
    (mounted.branches[0] / "b").mkdir()
    for number in range(3):
        source, target = mounted.root / f"a/{number}.blend", mounted.root / f"b/c/{number}.blend"
        files.make_folders(target.parent, mounted.root)
        moves.move(source, target, root=mounted.root, branches=branches_of(mounted, seen))
    assert tree(mounted.root / "b") == {f"c/{n}.blend": b"scene %d" % n for n in range(3)}
    assert os.listdir(mounted.root / "a") == []
    on_branches = [path for branch in mounted.branches for path in branch.rglob("*.blend")]
    assert len(on_branches) == 3  # nothing twice
    if seen:
        assert [path.parents[2] for path in on_branches] == list(mounted.branches)  # nor copied for nothing
    assert leftovers(mounted.root) == []


@pytest.mark.parametrize("seen", [True, False], ids=["branches seen", "branches unseen"])
@pytest.mark.parametrize("where", [(0,), (1,), (0, 1, 2)])
def test_a_folder_that_lies_on_several_branches(mounted: Pool, seen: bool, where: tuple[int, ...]) -> None:
    wanted = {}
    for number, branch in enumerate(mounted.branches):
        for name in ("x.png", "deep/er/y.png"):
            inside = f"{number}{name}" if "/" not in name else f"deep/{number}/{name}"
            put(branch / "a/version" / inside, b"%d" % number)
            wanted[inside] = b"%d" % number
    (mounted.branches[2] / "a/version/empty").mkdir()
    for number in where:
        (mounted.branches[number] / "b/kept").mkdir(parents=True)
    moves.move(
        mounted.root / "a/version", mounted.root / "b/moved", root=mounted.root,
        branches=branches_of(mounted, seen),
    )  # fmt: skip
    assert tree(mounted.root / "b/moved") == wanted
    assert (mounted.root / "b/moved/empty").is_dir()
    assert os.listdir(mounted.root / "a") == []
    for branch in mounted.branches:
        assert not (branch / "a/version").exists()


def test_a_rename_within_a_folder_takes_every_branch_along(mounted: Pool) -> None:
    for number, branch in enumerate(mounted.branches):
        put(branch / f"a/old name/{number}", b"x")
    moves.move(mounted.root / "a/old name", mounted.root / "a/new name", root=mounted.root)
    assert sorted(os.listdir(mounted.root / "a/new name")) == ["0", "1", "2"]
    assert os.listdir(mounted.root / "a") == ["new name"]


def test_the_store_moves_an_asset_with_all_that_belongs_to_it(mounted: Pool, tmp_path: Path) -> None:
    # Given a scene on one branch, its sidecar on another and halves of its companion on two.
    one, two, three = mounted.branches
    put(one / "green/shots/a.blend", b"scene")
    put(two / "green/shots/a.blend.json", b'{"owner": "mia"}')
    put(two / "green/shots/.croft/a.blend/file.json", b"{}")
    put(three / "green/shots/.croft/a.blend/jobs/j1/job.json", b"{}")
    store = make_store(mounted.root, tmp_path / "config")
    assert store.share("data").branches == mounted.branches
    store.move("data::green/shots/a.blend", "data::green/film/end/b.blend", "tom")
    assert tree(mounted.root / "green/film") == {
        "end/b.blend": b"scene",
        "end/b.blend.json": b'{"owner": "mia"}',
        "end/.croft/b.blend/file.json": b"{}",
        "end/.croft/b.blend/jobs/j1/job.json": b"{}",
    }
    assert tree(mounted.root / "green/shots") == {}
    entry = store.index.get("data::green/film/end/b.blend")
    assert entry is not None
    assert entry.jobs == ("j1",)
    assert store.index.get("data::green/shots/a.blend") is None
    aside = store.delete("data::green/film/end/b.blend", "tom")
    assert len(tree(store.path(aside))) == 5  # with its intent


def test_never_onto_something(tmp_path: Path) -> None:
    put(tmp_path / "a", b"a")
    put(tmp_path / "b", b"b")
    with pytest.raises(Conflict):
        moves.move(tmp_path / "a", tmp_path / "b", root=tmp_path)
    with pytest.raises(NotFound):
        moves.move(tmp_path / "none", tmp_path / "c", root=tmp_path)
    assert tree(tmp_path) == {"a": b"a", "b": b"b"}


@pytest.mark.parametrize("call", ["open", "write", "fsync", "link", "unlink", "rmdir", "mkdir"])
def test_whichever_call_fails_nothing_is_lost_and_resuming_finishes(tmp_path: Path, call: str) -> None:
    # A disk on which every folder's rename says EXDEV, as a pool's may, and whose n-th call fails.
    class Pooled(FailingDisk):
        def rename(self, source: str | Path, target: str | Path) -> None:
            if files.TEMPORARY not in str(source):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            super().rename(source, target)

    wanted = {"x": b"1", "d/y": b"2" * 3_000_000, "d/e/z": b"3"}
    nth = 0
    while True:
        nth += 1
        root = tmp_path / f"{nth}"
        for inside, content in wanted.items():
            put(root / "a" / inside, content)
        (root / "a/link").symlink_to("x")
        disk = Pooled({call}, nth, for_good=True)
        try:
            moves.move(root / "a", root / "b", root=root, disk=disk)
        except (DiskError, CroftError):
            for inside, content in wanted.items():
                there = [path for path in (root / "a" / inside, root / "b" / inside) if path.exists()]
                assert [path.read_bytes() for path in there] in ([content], [content, content])
            moves.resume(root / "a", root / "b", root=root)
        assert tree(root / "b") == {**wanted, "link": b"1"}
        assert (root / "b/link").is_symlink()
        assert not (root / "a").exists()
        assert leftovers(root) == []
        if disk.seen < nth:
            break
    assert nth > 1


def test_resuming_spares_other_content_of_that_name(tmp_path: Path) -> None:
    put(tmp_path / "a/x", b"newer")
    put(tmp_path / "b/x", b"older")
    with pytest.raises(Conflict, match="another content"):
        moves.resume(tmp_path / "a", tmp_path / "b", root=tmp_path)
    assert tree(tmp_path) == {"a/x": b"newer", "b/x": b"older"}


def test_a_file_that_is_saved_under_the_name_while_another_is_copied_to_it(tmp_path: Path) -> None:
    """Across disks a move copies, which may take minutes: who saves there meanwhile loses nothing."""

    class Pooled(files.Os):
        def rename(self, source: str | Path, target: str | Path) -> None:
            if files.TEMPORARY not in str(source):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            super().rename(source, target)

        def fsync(self, fd: int) -> None:
            put(tmp_path / "there/b", b"a student's")

    put(tmp_path / "a", b"1")
    (tmp_path / "there").mkdir()
    with pytest.raises(Conflict):
        moves.move(tmp_path / "a", tmp_path / "there/b", root=tmp_path, disk=Pooled())
    assert tree(tmp_path) == {"a": b"1", "there/b": b"a student's"}
