"""What a message may hold, lost answers, reports, sick requests; and disks that fail in the middle."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from farm_kit import SCENE, Node, World, disagreements, events_of, until

from server.disk.errors import BadInput, Busy, DiskFull, Forbidden
from server.disk.files import Os
from server.disk.scan import Scanner
from server.farm.committer import MANY_FLUSHES
from server.farm.committer.decide import Op, Turn
from server.farm.farm import Farm
from server.farm.farm.talk import HANGING_S, MOST_INSIDE


def test_nonsense_is_refused_or_passed_over(farm: Farm, node: Node, world: World) -> None:
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-2"}).id
    for body in ({}, "task", None, 7, [{"id": "task"}] * 5001):
        with pytest.raises(BadInput):
            farm.talk("*", body)
    with pytest.raises(BadInput, match="says who it is"):
        farm.talk("*", [{"id": "task"}])
    with pytest.raises(Forbidden, match="for the node 'n1'"):
        farm.talk("n1", [{"id": "identity", "name": "n2"}])
    with pytest.raises(BadInput, match="printable"):
        farm.talk("*", [{"id": "identity", "name": "a\nb"}])
    done = node.render(node.one())
    odd: list[dict[str, Any]] = [
        {"id": "report", "uuid": None},
        {"id": "report", "uuid": done["uuid"], "progress": "half", "done": "x", "total": 0},
        {"id": "done", "uuid": "x.y.z"},
        {"id": "failed"},
        {"id": "release", "uuid": 7},
        {"id": "dance"},
        {"id": "task", "count": "many", "paths": 7, "provides": {"a": 1}},
    ]
    answers = node.say(*odd, done)
    assert {"id": "accepted", "uuid": done["uuid"]} in answers
    assert farm.view(job_id)["counts"]["done"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"path": "../../sh010.blend"}, "no name"),
        ({"path": ".hidden"}, "no name"),
        ({"temp": "sh010.0001.png"}, "not this attempt's name"),
        ({"size": 8}, "size that the node told"),
        ({"size": 0}, "size that the node told"),
        ({"size": "9"}, "lacks"),
        ({"path": None}, "lacks"),
    ],
)
def test_outputs_that_are_not_what_was_told_are_refused(
    world: World, farm: Farm, node: Node, change: dict[str, Any], words: str
) -> None:
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1"}).id
    before = world.path(SCENE).read_bytes()
    done = node.render(node.one())
    done["outputs"][0].update(change)
    answer = node.answer_to(done)
    assert answer["id"] == "refused"
    assert words in answer["why"]
    assert farm.task(job_id, 0)["reason"].startswith("bad output")
    assert node.deliver(node.one())["id"] == "accepted"
    assert world.path(SCENE).read_bytes() == before


def test_no_outputs_or_a_link_instead_of_one_is_refused(world: World, farm: Farm, node: Node) -> None:
    farm.submit("anna", {"file": SCENE, "frames": "1-2"})
    done = node.render(node.one())
    assert node.answer_to({**done, "outputs": []})["why"] == "the node wrote nothing"
    done = node.render(node.one())
    path = next(world.root.glob("demo/shots/render/sh010/v001/.*"))
    path.unlink()
    path.symlink_to("/etc/passwd")
    done["outputs"][0]["size"] = os.stat("/etc/passwd").st_size
    assert node.answer_to(done)["id"] == "refused"


def test_a_held_attempt_that_is_not_reported_comes_again(world: World, farm: Farm, node: Node) -> None:
    farm.submit("anna", {"file": SCENE, "frames": "1-3"})
    first = node.one()
    world.clock.now += 3
    (again,) = node.ask()
    assert (again["uuid"], again["frame"]) == (first["uuid"], first["frame"])
    other = node.one()
    assert other["frame"] == 2


def test_reports_push_the_deadline_and_show_progress(world: World, farm: Farm, node: Node) -> None:
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1"}).id
    task = node.one()
    for _ in range(5):
        world.clock.now += 20
        assert (
            node.say({"id": "report", "uuid": task["uuid"], "frame": 1, "progress": 0.5, "line": "Fra:1"})
            == []
        )
        farm.keeper.tick()
    assert farm.view(job_id)["counts"]["claimed"] == 1
    (doing,) = farm.machines.one("n1")["doing"]
    assert (doing["frame"], doing["progress"], doing["line"]) == (1, 0.5, "Fra:1")


def test_a_released_claim_goes_to_the_next(farm: Farm, node: Node, world: World) -> None:
    farm.submit("anna", {"file": SCENE, "frames": "1-2"})
    task = node.one()
    node.say({"id": "release", "uuid": task["uuid"]})
    assert node.one()["frame"] == 1


def test_a_node_with_other_data_under_our_name_gets_nothing(world: World, farm: Farm) -> None:
    farm.submit("anna", {"file": SCENE, "frames": "1"})
    identity = {"id": "identity", "name": "n9", "protocol": 2, "programs": {"blender": "3"}}
    ask = {"id": "task", "paths": ["data"], "provides": [], "count": 1}
    told = orjson.loads(farm.talk("n9", [{**identity, "paths": {"data": "another-marker"}}, ask]))
    assert told == []
    assert "other data" in farm.health.problems()[0].text
    marker = world.farms[0][1].share("data").id
    assert orjson.loads(farm.talk("n9", [{**identity, "paths": {"data": marker}}, ask]))[0]["id"] == "task"


def test_a_share_that_goes_away_loses_nothing(world: World, farm: Farm, node: Node, tmp_path: Path) -> None:
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-2"}).id
    done = node.render(node.one())
    os.rename(world.root, tmp_path / "unmounted")
    world.root.mkdir()
    assert node.say(done) == []  # no word: it keeps its frame
    assert node.ask() == []
    assert "mount it again" in farm.view(job_id)["why"]
    assert list(world.root.iterdir()) == []
    world.root.rmdir()
    os.rename(tmp_path / "unmounted", world.root)
    world.clock.now += 5
    until(lambda: farm.keeper.tick() or node.say(done))
    node.deliver(until(node.ask)[0])
    assert farm.view(job_id)["state"] == "done"
    assert disagreements(farm, job_id) == []


def test_a_share_that_comes_back_is_not_scanned_by_who_answers_nodes(
    world: World, farm: Farm, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pool of old disks takes minutes to look at: meanwhile the jobs of other shares go on
    threads: list[str] = []
    scan = Scanner.scan

    def noted(scanner: Scanner, *arguments: Any, **more: Any) -> Any:
        threads.append(threading.current_thread().name)
        return scan(scanner, *arguments, **more)

    job_id = farm.submit("anna", {"file": SCENE, "frames": "1"}).id
    task = node.one()
    os.rename(world.root, tmp_path / "unmounted")
    assert node.say({"id": "release", "uuid": task["uuid"]}) == []
    monkeypatch.setattr(Scanner, "scan", noted)
    shutil.rmtree(
        world.root, ignore_errors=True
    )  # Race: a lock that was being taken just then made its folder.
    os.rename(tmp_path / "unmounted", world.root)
    world.clock.now += 5
    until(lambda: node.say({"id": "release", "uuid": task["uuid"]}) or threads)
    assert "farm-committer" not in threads

    def waits() -> int:
        world.clock.now += 0.1  # Race: it may have been let be once more since the clock was put forward.
        return int(farm.view(job_id)["counts"]["waiting"])

    until(waits)


class Failing(Os):
    """A disk whose n-th call of one kind fails, from when it is told to."""

    def __init__(self) -> None:
        self.call, self.countdown, self.error, self.always = "", -1, errno.EIO, False

    def _step(self, call: str) -> None:
        if call == self.call:
            self.countdown -= 1
            if self.countdown == 0 or (self.always and self.countdown < 0):
                raise OSError(self.error, os.strerror(self.error))

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self._step("write")
        return super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        self._step("fdatasync")
        super().fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self._step("fsync")
        super().fsync(fd)

    def replace(self, source: str | Path, target: str | Path) -> None:
        self._step("replace")
        super().replace(source, target)


@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync", "replace"])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_disk_that_fails_accepts_nothing_and_heals(world: World, call: str, error: int) -> None:
    # Given a frame delivered while the disk fails once
    disk = Failing()
    farm = world.open(disk=disk)
    node = Node(farm, "n1", world.root)
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-2"}).id
    done = node.render(node.one())
    disk.call, disk.error, disk.countdown = call, error, 1
    assert node.say(done) == []
    # When the node says it again
    world.clock.now += 5
    assert until(lambda: node.say(done)) == [{"id": "accepted", "uuid": done["uuid"]}]
    # Then it counts once and is whole
    farm.keeper.tick()
    node.deliver(until(node.ask)[0])
    view = farm.view(job_id)
    assert (view["state"], view["counts"]["done"]) == ("done", 2)
    assert disagreements(farm, job_id) == []
    accepted = {(e["task"], e["attempt"]) for e in events_of(world, job_id) if e["event"] == "done"}
    assert len(accepted) == 2
    assert len(list(world.path(view["folder"]).glob("sh010.*.png"))) == 2


def test_a_frame_that_is_made_again_outlives_a_disk_that_fails(world: World) -> None:
    # Given a frame that was done, is asked for again, and is renamed while its line can't be written
    disk = Failing()
    farm = world.open(disk=disk)
    node = Node(farm, "n1", world.root)
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-2"}).id
    node.deliver(node.one(), b"old picture")
    farm.requeue(job_id, [0], "anna")
    done = node.render(node.one(), b"new picture")
    disk.call, disk.countdown = "write", 1
    assert node.say(done) == []
    # When the node says it again, then it is accepted: what lies there is known to be its own
    world.clock.now += 5
    assert until(lambda: node.say(done)) == [{"id": "accepted", "uuid": done["uuid"]}]
    assert (world.path(farm.view(job_id)["folder"]) / "sh010.0001.png").read_bytes() == b"new picture"


@pytest.mark.parametrize("fallen", [False, True], ids=["by us", "by a server that fell"])
def test_a_repeated_done_is_accepted_only_once_it_is_flushed(world: World, fallen: bool) -> None:
    # Given a done whose line stands in the journal, but on no disk yet
    disk = Failing()
    farm = world.open(disk=disk)
    node = Node(farm, "n1", world.root)
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-2"}).id
    done = node.render(node.one())
    disk.call, disk.countdown, disk.always = "fdatasync", 1, True
    assert node.say(done) == []
    if fallen:
        world.close()
        farm = world.open(disk=disk)
        node = Node(farm, "n1", world.root)
    assert events_of(world, job_id)[-1]["event"] == "done"
    # When the node says it again, and the disk still doesn't take it
    world.clock.now += 5
    farm.keeper.tick()
    assert node.say(done) == []
    # Then it is accepted once the disk has
    disk.call = ""
    world.clock.now += 5
    assert until(lambda: farm.keeper.tick() or node.say(done)) == [{"id": "accepted", "uuid": done["uuid"]}]
    assert farm.view(job_id)["counts"]["done"] == 1


class Telling(Os):
    """A disk that keeps what was asked of it, in order: the call, and the job or version it was about."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.bad = ""  # where flushes fail
        self.slow: Callable[[str], object] = str  # done at each flush

    def _flush(self, call: str, fd: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        name = path.parent.name if path.name == "journal.jsonl" else path.name
        self.asked.append((call, name))
        if self.bad and name == self.bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.slow(call)

    def fdatasync(self, fd: int) -> None:
        self._flush("fdatasync", fd)
        super().fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self._flush("fsync", fd)
        super().fsync(fd)

    def replace(self, source: str | Path, target: str | Path) -> None:
        self.asked.append(("replace", Path(target).parent.name))
        super().replace(source, target)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        self.asked.append(("write", Path(os.readlink(f"/proc/self/fd/{fd}")).parent.name))
        return super().write(fd, data)


def several(world: World, farm: Farm, count: int) -> tuple[Node, list[str], list[dict[str, Any]]]:
    """A node with a frame of each of so many jobs in its hands."""
    node = Node(farm, "n1", world.root)
    jobs = [farm.submit("anna", {"file": SCENE, "frames": "1-3"}).id for _ in range(count)]
    for _ in jobs:  # the first frames, which come before all others
        node.deliver(node.one())
    farm.keeper.tick()  # their versions are begun
    tasks = {task["job"]: task for task in node.ask(2 * count)}
    assert sorted(tasks) == sorted(jobs)
    return node, jobs, [node.render(task) for task in tasks.values()]


def test_jobs_of_one_commit_wait_for_their_disk_together(world: World) -> None:
    disk = Telling()
    farm = world.open(disk=disk)
    node, jobs, told = several(world, farm, 3)
    disk.asked.clear()
    assert [answer["id"] for answer in node.say(*told)] == ["accepted"] * 3
    asked = list(disk.asked[: 4 * 3])
    # First all frames have their names, then their folders are flushed, then the lines written and flushed
    assert [call for call, _ in asked] == [
        c for c in ("replace", "fsync", "write", "fdatasync") for _ in jobs
    ]
    for at, names in ((0, "versions"), (3, "versions"), (6, "jobs"), (9, "jobs")):
        folders = {farm.view(job_id)["folder"].rpartition("/")[2] for job_id in jobs}
        assert {name for _, name in asked[at : at + 3]} == (folders if names == "versions" else set(jobs))


def test_a_claim_waits_for_no_disk_but_a_done_takes_it_along(world: World) -> None:
    disk = Telling()
    farm = world.open(disk=disk)
    node = Node(farm, "n1", world.root)
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-3"}).id
    node.deliver(node.one())  # what begins a job is flushed
    farm.keeper.tick()
    disk.asked.clear()
    task = node.one()
    assert "fdatasync" not in {call for call, _ in disk.asked}
    assert events_of(world, job_id)[-1]["event"] == "claim"
    assert node.deliver(task)["id"] == "accepted"
    assert disk.asked[-1] == ("fdatasync", job_id)


@pytest.mark.parametrize("where", ["version", "journal"])
def test_many_jobs_of_which_one_cannot_be_flushed(world: World, where: str) -> None:
    # Given so many jobs that several threads flush them, one of which lies where the disk fails
    disk = Telling()
    farm = world.open(disk=disk)
    node = Node(farm, "n1", world.root)
    jobs = [farm.submit("anna", {"file": SCENE, "frames": "1"}).id for _ in range(2 * MANY_FLUSHES)]
    told = [node.render(task) for task in node.ask(len(jobs))]
    assert len(told) == len(jobs)
    bad = next(done for done in told if done["uuid"].startswith(jobs[-1]))
    disk.bad = str(farm.view(jobs[-1])["folder"]).rpartition("/")[2] if where == "version" else jobs[-1]
    # When its frames are told in one message, the others' are accepted
    assert {a["uuid"] for a in node.say(*told)} == {done["uuid"] for done in told} - {bad["uuid"]}
    # Then that one is, once its disk is well again
    disk.bad = ""
    world.clock.now += 5
    assert until(lambda: farm.keeper.tick() or node.say(bad)) == [{"id": "accepted", "uuid": bad["uuid"]}]
    assert all(disagreements(farm, job_id) == [] for job_id in jobs)


@pytest.mark.parametrize("where", ["version", "journal"])
def test_a_job_that_cannot_be_flushed_keeps_nobody_from_an_answer(world: World, where: str) -> None:
    # Given three jobs that one node has frames of, one of which lies where the disk fails
    disk = Telling()
    farm = world.open(disk=disk)
    node, jobs, told = several(world, farm, 3)
    bad = next(done for done in told if done["uuid"].startswith(jobs[1]))
    folder = str(farm.view(jobs[1])["folder"])
    disk.bad = folder.rpartition("/")[2] if where == "version" else jobs[1]
    # When it says all in one message, the others are accepted
    answers = node.say(*told)
    assert [a["id"] for a in answers] == ["accepted"] * 2
    assert bad["uuid"] not in {a["uuid"] for a in answers}
    # Then the third is, once its disk is well again
    disk.bad = ""
    world.clock.now += 5
    answer = until(lambda: farm.keeper.tick() or node.say(bad))
    assert answer == [{"id": "accepted", "uuid": bad["uuid"]}]
    assert [farm.view(job_id)["counts"]["done"] for job_id in jobs] == [2, 2, 2]
    assert disagreements(farm, jobs[1]) == []


def test_a_slow_disk_is_asked_for_many_flushes_at_once(world: World) -> None:
    disk = Telling()
    farm = world.open(disk=disk)
    node, _, told = several(world, farm, 3)
    known: set[str] = set()
    both = threading.Barrier(2, timeout=20)

    def slow(call: str) -> None:
        if call in known:
            both.wait()  # the other two come in together, or never
        else:
            known.add(call)
            world.clock.now += 1.0  # the first tells that the disk is slow

    disk.slow = slow
    try:
        assert [answer["id"] for answer in node.say(*told)] == ["accepted"] * 3
    finally:
        disk.slow = str


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "fdatasync"])
@pytest.mark.parametrize("countdown", range(1, 9))
def test_a_submission_on_a_disk_that_fails_leaves_nothing(world: World, call: str, countdown: int) -> None:
    disk = Failing()
    farm = world.open(disk=disk)
    world.farms[0][1].rescan()
    before = sorted(str(p) for p in world.root.rglob("*") if ".croft-locks" not in str(p))
    disk.call, disk.countdown, disk.error = call, countdown, errno.ENOSPC
    failed = ""
    try:
        farm.submit("anna", {"file": SCENE, "frames": "1-2"})
    except DiskFull as error:
        failed = error.message
    disk.call = ""
    after = sorted(str(p) for p in world.root.rglob("*") if ".croft-locks" not in str(p))
    assert (after == before) == bool(failed)
    assert len(farm.jobs()) == (0 if failed else 1)


def test_a_disk_that_hangs_holds_only_so_many_threads(world: World) -> None:
    # Given a commit that waits for its disk, and as many messages as may wait with it
    class Hanging(Os):
        def __init__(self) -> None:
            self.hang, self.reached, self.go = False, threading.Event(), threading.Event()

        def fdatasync(self, fd: int) -> None:
            if self.hang:
                self.reached.set()
                assert self.go.wait(30)
            super().fdatasync(fd)

    disk = Hanging()
    farm = world.open(disk=disk)
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-300"}).id
    disk.hang = True
    threads = [
        threading.Thread(target=Node(farm, f"n{number}", world.root).ask) for number in range(MOST_INSIDE)
    ]
    threads[0].start()
    assert disk.reached.wait(20)
    for thread in threads[1:]:
        thread.start()
    until(lambda: farm._talk._inside._value == 0)
    world.clock.now += HANGING_S + 1
    # Then the next one is sent away at once, and pages are answered
    with pytest.raises(Busy, match="does not answer"):
        until(Node(farm, "late", world.root).ask)
    assert farm.view(job_id)["total"] == 300
    # When the disk is back, all get their tasks
    disk.go.set()
    for thread in threads:
        thread.join(20)
    assert farm.view(job_id)["counts"]["claimed"] == MOST_INSIDE


def test_a_fault_of_ours_is_taken_back_and_stops_nobody(world: World, farm: Farm, node: Node) -> None:
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-2"}).id
    other = farm.submit("anna", {"file": SCENE, "frames": "1-2"}).id

    def act(turn: Turn) -> None:
        turn.change("paused", by="nobody")
        raise RuntimeError("a fault")

    with pytest.raises(Busy):
        farm._committer.ask(Op("act", job_id, act=act))
    assert node.one()["job"] == other
    world.clock.now += 5
    until(lambda: farm.keeper.tick() or farm.view(job_id)["state"] == "waiting")
    assert len(events_of(world, job_id)) == 1
    assert farm.health.metrics()["faults_total"] == 1
