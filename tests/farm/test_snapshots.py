"""What was submitted is what is rendered: the scene's bytes, its simulations, shared and let go of."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from farm_kit import SCENE, Node, World, until

from server.disk import files
from server.disk.errors import Conflict, DiskFull
from server.farm.farm import Farm
from server.farm.jobs import snapshots, submit

Submit = Callable[..., str]


@pytest.fixture
def shots(world: World) -> Path:
    return world.root / "demo/shots"


@pytest.fixture
def baked(shots: Path) -> Path:
    folder = shots / "blendcache_sh010"
    folder.mkdir()
    for frame in range(1, 6):
        (folder / f"5061_{frame:06d}_00.bphys").write_bytes(b"BPHYSICS" + bytes([frame]) * 100)
    return folder


def copy_of(shots: Path, job_id: str) -> Path:
    return shots / f".sh010.{job_id}.blend"


def caches_of(shots: Path, job_id: str) -> Path:
    return shots / f"blendcache_.sh010.{job_id}"


class Reads(files.Os):
    """Counts the copies that are made."""

    def __init__(self) -> None:
        self.copies = 0

    def clone(self, source: int, target: int) -> None:
        self.copies += 1
        super().clone(source, target)


def test_jobs_of_the_same_bytes_share_them_and_the_last_takes_them_along(
    world: World, shots: Path, node: Node, farm: Farm, submit: Submit
) -> None:
    # Given two jobs of one state of a scene, and one of a later save
    first, second = submit("1"), submit("1")
    world.path(SCENE).write_bytes(world.path(SCENE).read_bytes() + b"saved again")
    world.farms[0][1].rescan()
    third = submit("1")
    copies = [copy_of(shots, job_id) for job_id in (first, second, third)]
    # Then the two are one file on the disk, the third is its own, and none is the student's
    assert [path.stat().st_nlink for path in copies] == [2, 2, 1]
    assert len({path.stat().st_ino for path in (*copies, world.path(SCENE))}) == 3
    sources = [farm.job(job_id).record["source"]["sha256"] for job_id in (first, second, third)]
    assert (sources[0] == sources[1], sources[0] == sources[2]) == (True, False)
    # When one ends, the other is rendered from the same bytes
    content = copies[1].read_bytes()
    assert node.deliver(node.one())["id"] == "accepted"
    until(lambda: not copies[0].exists())
    assert copies[1].read_bytes() == content
    assert node.one()["file"].endswith(second + ".blend")


def test_a_second_job_of_the_same_state_reads_nothing(world: World) -> None:
    disk = Reads()
    farm = world.open(disk=disk)
    for _ in range(3):
        farm.submit("anna", {"file": SCENE, "frames": "1"})
    assert disk.copies == 1
    # Saved anew with the same content: it has to be read to be known, and is then one file again
    scene = world.path(SCENE)
    aside = scene.with_name("x")
    aside.write_bytes(scene.read_bytes())
    os.replace(aside, scene)
    world.farms[0][1].rescan()
    last = farm.submit("anna", {"file": SCENE, "frames": "1"})
    assert disk.copies == 2
    assert copy_of(scene.parent, last.id).stat().st_nlink == 4


def test_a_copy_that_somebody_wrote_into_is_not_shared(shots: Path, submit: Submit) -> None:
    first = submit("1")
    copy_of(shots, first).write_bytes(b"BLENDER-v304 not what was submitted")
    second = submit("1")
    assert copy_of(shots, second).stat().st_nlink == 1
    assert copy_of(shots, second).read_bytes() == (shots / "sh010.blend").read_bytes()


def test_a_simulation_is_rendered_as_it_was_submitted(
    shots: Path, baked: Path, farm: Farm, submit: Submit
) -> None:
    first, second = submit("1"), submit("1")
    mine = [caches_of(shots, job_id) for job_id in (first, second)]
    told = farm.job(first).record["caches"]
    assert (told["folder"], told["files"], told["bytes"]) == (mine[0].name, 5, 540)
    assert farm.job(second).record["caches"]["sha256"] == told["sha256"]
    # When the student bakes anew, into the same files
    was = [path.read_bytes() for path in sorted(baked.iterdir())]
    for path in baked.iterdir():
        with open(path, "r+b") as file:
            file.write(b"otherwise")
    assert [path.read_bytes() for path in sorted(mine[0].iterdir())] == was
    # And the two jobs share one copy, which nobody can write into by mistake
    assert {path.stat().st_nlink for path in mine[0].iterdir()} == {2}
    assert {path.stat().st_mode & 0o777 for path in mine[0].iterdir()} == {0o444}
    third = submit("1")
    assert {path.stat().st_nlink for path in caches_of(shots, third).iterdir()} == {1}
    farm.cancel(first, "anna")
    until(lambda: not mine[0].exists())
    assert [path.read_bytes() for path in sorted(mine[1].iterdir())] == was


def test_a_running_bake_is_refused_in_words_and_leaves_nothing(
    world: World, shots: Path, baked: Path
) -> None:
    class Baking(files.Os):
        def clone(self, source: int, target: int) -> None:
            if os.fstat(source).st_size == 108:
                (baked / "5061_000006_00.bphys").write_bytes(b"BPHYSICS" + b"\6" * 100)
            super().clone(source, target)

    before = sorted(path.name for path in shots.iterdir())
    farm = world.open(disk=Baking())
    with pytest.raises(Conflict, match=r"being baked into blendcache_sh010 just now\. Submit when"):
        farm.submit("anna", {"file": SCENE, "frames": "1"})
    assert sorted(path.name for path in shots.iterdir()) == before

    class Within(files.Os):
        """Blender writes into a file that is there already, and the disk's clock doesn't move."""

        def clone(self, source: int, target: int) -> None:
            super().clone(source, target)
            if os.fstat(source).st_size == 108:
                raise AssertionError("not reached on disks without clones")

        def copy_range(self, source: int, target: int, count: int) -> int:
            done = super().copy_range(source, target, count)
            if os.fstat(source).st_size == 108:
                path = os.readlink(f"/proc/self/fd/{source}")
                st = os.stat(path)
                with open(path, "r+b") as file:
                    file.seek(8)
                    file.write(b"another")
                os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
            return done

    with pytest.raises(Conflict, match="being baked"):
        world.open(disk=Within()).submit("anna", {"file": SCENE, "frames": "1"})
    assert len(list(shots.glob("*blendcache*"))) == 1


def test_an_ended_job_goes_on_with_the_same_simulation_or_says_why_not(
    shots: Path, baked: Path, node: Node, farm: Farm, submit: Submit
) -> None:
    job_id = submit("1-2")
    farm.cancel(job_id, "anna")
    until(lambda: not caches_of(shots, job_id).exists())
    until(lambda: farm.board.live[job_id].finalised)
    farm.requeue(job_id, "rest", "anna")
    assert len(list(caches_of(shots, job_id).iterdir())) == 5
    assert node.one()["job"] == job_id
    farm.cancel(job_id, "anna")
    until(lambda: not caches_of(shots, job_id).exists())
    until(lambda: farm.board.live[job_id].finalised)
    next(baked.iterdir()).write_bytes(b"BPHYSICS baked anew")
    with pytest.raises(Conflict, match="baked anew: submit the scene again"):
        farm.requeue(job_id, "rest", "anna")
    assert not caches_of(shots, job_id).exists()
    assert farm.view(job_id)["state"] == "cancelled"


def test_a_job_whose_simulation_went_away_is_paused(
    shots: Path, baked: Path, node: Node, farm: Farm, submit: Submit
) -> None:
    job_id = submit("1-2")
    snapshots.drop_caches(copy_of(shots, job_id))
    assert node.ask() == []
    assert (farm.view(job_id)["state"], "baked anew" in farm.view(job_id)["why"]) == ("paused", True)


class Killed(BaseException):
    """The power goes: nothing runs any more."""


class Falls(files.Os):
    """Ends at the n-th thing that it is asked for."""

    def __init__(self, after: int) -> None:
        self.left = after

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def open(self, path: str | Path, flags: int, mode: int = files.FILE_MODE) -> int:
        self._step()
        return super().open(path, flags, mode)

    def fsync(self, fd: int) -> None:
        self._step()
        super().fsync(fd)

    def link(self, source: str | Path, target: str | Path) -> None:
        self._step()
        super().link(source, target)

    def replace(self, source: str | Path, target: str | Path) -> None:
        self._step()
        super().replace(source, target)

    def mkdir(self, path: str | Path) -> None:
        self._step()
        super().mkdir(path)


@pytest.mark.parametrize("after", range(34))
def test_a_crash_at_any_step_leaves_nothing_for_long_and_breaks_no_job(
    world: World, shots: Path, baked: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    # Given a job whose bytes the next one would share, and a student who has baked once more since
    farm = world.open()
    good = farm.submit("anna", {"file": SCENE, "frames": "1-2"}).id
    (baked / "5061_000001_00.bphys").write_bytes(b"BPHYSICS newer")
    world.close()
    # When the server falls while it takes in another
    disk = Falls(after)
    fallen = world.open(disk=disk)
    disk.left = after
    with monkeypatch.context() as dead, contextlib.suppress(Killed, Exception):
        dead.setattr(submit.Submitter, "_take_back", lambda *a: None)
        dead.setattr(submit.versions, "unmake", lambda *a: None)
        fallen.submit("anna", {"file": SCENE, "frames": "1-2"})
    disk.left = 10**9
    world.close()
    # Then, an hour later, there is a whole job or no trace of one
    monkeypatch.setattr("server.farm.committer.orphans.ORPHAN_S", -1.0)
    again = world.open()
    store = world.farms[0][1]
    store.rescan()
    folders = shots / ".croft/sh010.blend/jobs"
    until(lambda: again.keeper.tick() or all((path / "job.json").exists() for path in folders.iterdir()))
    jobs = {path.name for path in folders.iterdir()}
    assert good in jobs
    assert jobs == {job.id for job in again.jobs()}
    names = {
        path.name.removesuffix("-").removesuffix(".blend").rpartition(".")[2]
        for path in shots.glob(".sh010.*")
    }
    assert names == jobs
    assert {path.name.rpartition(".")[2] for path in shots.glob("blendcache_.*")} == jobs
    assert len([path for path in (shots / "render/sh010").iterdir() if path.is_dir()]) == len(jobs)
    node = Node(again, "n1", world.root)
    for task in node.ask(9):
        assert node.deliver(task)["id"] == "accepted"
    assert {again.view(job_id)["state"] for job_id in jobs} == {"done"}


def test_a_cache_that_does_not_fit_is_said_so(
    shots: Path, baked: Path, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.statvfs

    def full(path: str | Path) -> os.statvfs_result:
        found = real(path)
        return os.statvfs_result((*found[:3], 0, 0, *found[5:]))

    monkeypatch.setattr(os, "statvfs", full)
    with pytest.raises(DiskFull, match="no room for a copy of the simulation"):
        submit("1")
    assert list(shots.glob("blendcache_.*")) == []


def test_many_submit_one_scene_at_once(shots: Path, farm: Farm) -> None:
    made: list[str] = []

    def one() -> None:
        made.append(farm.submit("anna", {"file": SCENE, "frames": "1"}).id)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = (shots / "sh010.blend").read_bytes()
    assert [copy_of(shots, job_id).read_bytes() for job_id in made] == [content] * 8


def test_a_snapshot_whose_job_is_gone_for_long_goes_too(
    world: World, shots: Path, baked: Path, farm: Farm, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two jobs whose folders vanish, of which one comes back from a backup
    gone, back = submit("1"), submit("1")
    jobs = shots / ".croft/sh010.blend/jobs"
    for job_id in (gone, back):
        os.rename(jobs / job_id, world.folder / job_id)
    world.farms[0][1].rescan()
    until(lambda: farm.keeper.tick() or not farm.jobs())
    os.rename(world.folder / back, jobs / back)
    world.farms[0][1].rescan()
    until(lambda: farm.keeper.tick() or farm.jobs())
    assert copy_of(shots, gone).exists()
    world.clock.now += 4000
    until(lambda: farm.keeper.tick() or not copy_of(shots, gone).exists())
    assert not caches_of(shots, gone).exists()
    assert copy_of(shots, back).exists()
    assert caches_of(shots, back).exists()
