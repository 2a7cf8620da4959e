"""The index on a real mergerfs pool: through the mount, straight onto a disk of it, and while it is away."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disk_kit import Pool, mount_pool

from server.disk import mounts, watcher
from server.disk.branches import branches_of, filesystem_of, is_remote
from tests.disk.live import Live, asset, living, write

Make = Callable[[str], Pool]


@pytest.fixture
def on_pool(tmp_path: Path, pool: Make) -> Iterator[tuple[Live, Pool]]:
    made = pool("mfs")
    with living(made.root, tmp_path / "config") as live:
        assert live.store.share("data").branches == made.branches
        yield live, made


def shots(root: Path, count: int = 40) -> None:
    """What a backup holds: assets with sidecars, jobs and versions."""
    for n in range(count):
        asset(root / f"sh{n:03d}.blend", f"u{n}", jobs=(f"j{n}",), owner="mia")
        write(root / f"render/sh{n:03d}/v001.json", "{}")


def complete(live: Live, count: int = 40) -> bool:
    """Whether all of `shots` is known: assets, owners, jobs, versions."""
    index = live.store.index
    entries = index.folder("data::green/shots")
    return (
        len(entries) == count
        and all(e.facts and e.facts.owner == "mia" and e.jobs for e in entries)
        and len(index.jobs) == count
        and all(index.versions(f"data::green/shots/render/sh{n:03d}") for n in range(count))
    )


def test_what_kind_of_disk(tmp_path: Path, pool: Make) -> None:
    made = pool("mfs")
    write(made.root / ".croft-share.json", '{"id": "x"}')
    (made.root / "inside").mkdir()
    assert branches_of(made.root) == made.branches
    assert filesystem_of(made.root) == "fuse.mergerfs"
    assert is_remote(made.root)
    assert not is_remote(tmp_path)
    assert branches_of(tmp_path) == ()
    # The marker isn't there: these branches may be somebody else's folders of the same names.
    assert branches_of(made.root / "inside") == ()
    write(made.root / "inside/.croft-share.json", '{"id": "y"}')
    assert branches_of(made.root / "inside") == tuple(branch / "inside" for branch in made.branches)


@pytest.mark.parametrize("where", ["mount", "branch"])
def test_a_folder_copied_back_is_all_there(on_pool: tuple[Live, Pool], tmp_path: Path, where: str) -> None:
    live, made = on_pool
    shots(tmp_path / "backup")
    write(made.root / "green/project.json", "{}")
    live.settle()
    place = made.root if where == "mount" else made.branches[2]
    shutil.copytree(tmp_path / "backup", place / "green/shots")
    began = time.monotonic()
    live.until(lambda: complete(live), timeout_s=10)
    took = time.monotonic() - began
    print(f"all there {took:.2f} s after the copy, of 2 s promised")
    live.assert_true(patience_s=5)
    # Restored over what is there: files are written in place, only their closing tells.
    for sidecar in (tmp_path / "backup").glob("*.json"):
        sidecar.write_text(sidecar.read_text().replace("mia", "tom"))
    shutil.copytree(tmp_path / "backup", place / "green/shots", dirs_exist_ok=True)
    if where == "mount":
        entries = live.store.index.folder("data::green/shots")
        live.until(
            lambda: all(
                e.facts and e.facts.owner == "tom" for e in live.store.index.folder("data::green/shots")
            )
        )
        assert len(entries) == 40
    live.assert_true(patience_s=5)


def test_where_the_disks_are_hidden_folders_are_looked_at(
    tmp_path: Path, pool: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pool("mfs")
    monkeypatch.setattr(mounts, "branches_of", lambda root: ())
    shots(tmp_path / "backup")
    with living(made.root, tmp_path / "config") as live:
        write(made.root / "green/project.json", "{}")
        live.until(lambda: "data::green/project.json" in live.statuses())
        looks = live.watcher.looks
        shutil.copytree(tmp_path / "backup", made.branches[1] / "green/shots")

        def found() -> bool:
            live.store.someone_is_active()
            return complete(live)

        live.until(found)
        live.assert_true(patience_s=5)
        assert live.watcher.looks >= looks
        assert {e.status for e in live.store.index.folder("data::green/shots")} == {"ok"}


def test_a_pool_unmounted_and_mounted_again_loses_nothing(
    tmp_path: Path, pool: Make, needs: Callable[[str], str]
) -> None:
    made = pool("mfs")
    with living(made.root, tmp_path / "config") as live:
        shots(made.root / "green/shots")
        live.until(lambda: complete(live))
        live.settle()
        before = live.store.index.dump()
        missing: list[str] = []
        live.store.subscribe(
            lambda changes: missing.extend(e.address for e in live.store.index.entries() if e.stat is None)
        )
        for _ in range(2):
            subprocess.run(["umount", str(made.root)], check=True)
            assert live.store.away("data")
            live.store.rescan()
            live.store.refresh("data::green/shots/sh001.blend")
            asset(made.branches[0] / "green/shots/new.blend", "new")  # meanwhile, on a disk of the pool
            live.settle()
            assert live.store.index.dump() == before
            mount_pool(needs("mergerfs"), made.root, made.branches, "mfs")
            assert not live.store.away("data")
            live.settle()
            assert "data::green/shots/new.blend" in live.statuses()
            assert set(live.statuses().values()) == {"ok"}
            (made.root / "green/shots/new.blend").unlink()
            (made.root / "green/shots/new.blend.json").unlink()
            live.assert_true(patience_s=5)
            assert live.store.index.dump() == before
        assert not missing
        asset(made.root / "green/shots/later.blend", "later")
        live.assert_true(patience_s=5)
        assert "data::green/shots/later.blend" in live.statuses()


@pytest.mark.parametrize("policy", ["epmfs", "ff"])
def test_what_happens_through_the_mount_is_seen_on_the_branches(
    tmp_path: Path, pool: Make, policy: str
) -> None:
    made = pool(policy)
    with living(made.root, tmp_path / "config") as live:
        shots(made.root / "green/shots", 10)
        live.assert_true(patience_s=5)
        (made.root / "green/shots").rename(made.root / "green/scenes")
        live.assert_true(patience_s=5)
        live.store.edit("data::green/scenes/sh001.blend", {"owner": "tom"}, who="tom")
        facts = live.entry("data::green/scenes/sh001.blend").facts
        assert facts is not None
        assert facts.owner == "tom"
        shutil.rmtree(made.root / "green/scenes")
        live.assert_true(patience_s=5)
        assert not live.statuses()


def test_a_disk_of_the_pool_that_drops_out_takes_nothing_along(
    tmp_path: Path, tiny: Callable[..., Path], needs: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher, "IDLE_LOOK_S", 0.1)
    home = tiny("home", 20 << 20)
    branches = (tmp_path / "d1", tmp_path / "d2")
    for branch in branches:
        branch.mkdir()
        (home / branch.name).mkdir()
        subprocess.run(["mount", "--bind", str(home / branch.name), str(branch)], check=True)
    root = tmp_path / "pool"
    root.mkdir()
    mount_pool(needs("mergerfs"), root, branches, "mfs")
    try:
        asset(branches[0] / "p/a.blend", "u1", jobs=("j1",))
        asset(branches[1] / "p/b.blend", "u2", jobs=("j2",))
        asset(branches[1] / "q/c.blend", "u3")
        with living(root, tmp_path / "config") as live:
            live.settle()
            before = live.store.index.dump()
            subprocess.run(["umount", "--lazy", str(branches[1])], check=True)
            live.store.rescan()
            for address in ("data::p/b.blend", "data::q", "data::p/.croft/b.blend/jobs/j2"):
                live.store.refresh(address)
            assert live.store.index.dump() == before
            live.until(lambda: "disk:data" in {problem.id for problem in live.watcher.problems()})
            asset(root / "p/new.blend", "u4")  # the others go on
            live.settle()
            assert set(live.statuses().values()) == {"ok"}
            assert "data::p/new.blend" in live.statuses()
            (home / "d2/p/b.blend").unlink()  # in another machine, say
            subprocess.run(["mount", "--bind", str(home / "d2"), str(branches[1])], check=True)
            live.until(lambda: "disk:data" not in {problem.id for problem in live.watcher.problems()})
            live.assert_true(patience_s=5)
            assert live.entry("data::p/b.blend").status == "missing"
            asset(branches[1] / "q/d.blend", "u5")
            live.assert_true(patience_s=5)
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)
        for branch in branches:
            subprocess.run(["umount", "--lazy", str(branch)], check=False)
