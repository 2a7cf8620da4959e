"""An unmodified node of RFAM's: it echoes ids, knows no protocol, and says nothing when Blender fails.

Its messages as DESIGN tells of them: `identity` usually first, `info`, `task {paths, provides, count}`,
`report {uuid, frame, done, total}`, `done {uuid, frame, time}`; after a lost reply its resent `done`s stand
before the identity. It renders to the scene's own output path.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from farm_kit import SCENE, Node, World, until

from server.disk.errors import Busy, DiskError
from server.disk.journal import Journal
from server.farm.committer import fail, keeper
from server.farm.farm import Farm

IDENTITY = {"id": "identity", "name": "old-pc", "provides": [], "version": 7}
TASK = {"id": "task", "paths": ["data"], "provides": [], "count": 1}
NEVER = [{"from": "03:00", "to": "03:01"}]  # the test's clock stands at noon


class RfamNode:
    """Keeps what it was told by uuid, as the real one does."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.tasks: dict[str, dict[str, Any]] = {}
        self.killed: list[str] = []

    def post(self, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = orjson.loads(self.farm.talk("*", list(requests)))
        for commandment in answer:
            getattr(self, "on_" + commandment["id"])(commandment)  # an unknown one would end it
        return answer

    def on_info(self, told: dict[str, Any]) -> None:
        assert all(
            told[key] >= 0 for key in ("heartbeat", "arrhythmia", "error_scale", "hibernation", "memory")
        )

    def on_task(self, told: dict[str, Any]) -> None:
        for key in ("uuid", "file", "frame", "requires", "issued", "prmanCommands"):
            assert key in told
        video = isinstance(told["frame"], list)
        assert [type(frame) for frame in (told["frame"] if video else [told["frame"]])] == [int] * (1 + video)
        assert not told["prmanCommands"]  # else it is RenderMan's, of which it takes one at a time
        self.tasks[told["uuid"]] = told

    def on_kill(self, told: dict[str, Any]) -> None:
        assert isinstance(told["frame"], int)
        self.killed.append(told["uuid"])
        self.tasks.pop(told["uuid"], None)

    def report(self, uuid: str) -> dict[str, Any]:
        return {"id": "report", "uuid": uuid, "frame": self.tasks[uuid]["frame"], "done": 3, "total": 10}

    def done(self, uuid: str) -> dict[str, Any]:
        return {"id": "done", "uuid": uuid, "frame": self.tasks.pop(uuid)["frame"], "time": 2.5}


@pytest.fixture
def old(farm: Farm) -> RfamNode:
    return RfamNode(farm)


@pytest.fixture
def job(farm: Farm) -> Callable[..., str]:
    def make(**more: Any) -> str:
        request = {"file": SCENE, "frames": "1-3", "output": "scene", **more}
        return str(farm.submit("anna", request).id)

    return make


def test_it_renders_a_job_to_the_scene_s_own_output(
    farm: Farm, old: RfamNode, job: Callable[..., str]
) -> None:
    job_id = job()
    assert farm.view(job_id)["folder"] is None
    answer = old.post(IDENTITY, {"id": "info"}, TASK)
    assert [told["id"] for told in answer] == ["info", "task"]
    assert answer[1]["file"] == f"data::demo/shots/.sh010.{job_id}.blend"
    for _ in range(3):
        (uuid,) = old.tasks
        assert old.post(IDENTITY, old.report(uuid)) == []
        old.post(IDENTITY, old.done(uuid), TASK)
    view = farm.view(job_id)
    assert (view["state"], view["seconds"]) == ("done", 7.5)
    assert old.killed == []


def test_its_resent_dones_stand_before_the_identity(
    farm: Farm, old: RfamNode, job: Callable[..., str]
) -> None:
    job_id = job()
    old.post(IDENTITY, {**TASK, "count": 2})
    first, second = old.tasks
    lost = [{**old.done(first), "version": 7}, old.done(second)]
    old.post(*lost, IDENTITY)  # the answer to this is lost, so it says it again
    assert old.post(*lost, IDENTITY, TASK)[0]["frame"] == 3
    assert farm.view(job_id)["counts"]["done"] == 2


def test_a_done_that_the_disk_did_not_take_is_no_yes(
    farm: Farm, old: RfamNode, job: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # It hears a yes in any answer: so there must be none
    job_id = job()
    old.post(IDENTITY, TASK)
    (uuid,) = old.tasks
    told = old.done(uuid)

    def sync(journal: Journal) -> None:
        raise DiskError("The disk answered 'I/O error'.", path="")

    with monkeypatch.context() as broken:
        broken.setattr(Journal, "sync", sync)
        with pytest.raises(Busy):
            old.post(IDENTITY, told)
    old.post(told, IDENTITY)
    assert farm.view(job_id)["counts"]["done"] == 1


def test_it_is_never_offered_more_than_it_asks_for_nor_what_it_cannot_do(
    farm: Farm, old: RfamNode, job: Callable[..., str]
) -> None:
    farm.submit("anna", {"file": SCENE, "frames": "1-9"})  # into a version folder: not for it
    assert old.post(IDENTITY, TASK) == []
    job(requires=["gpu"])
    assert old.post(IDENTITY, TASK) == []
    assert old.post(IDENTITY, {**TASK, "provides": ["gpu"], "paths": ["other"]}) == []
    assert len(old.post(IDENTITY, {**TASK, "provides": ["gpu"], "count": 2})) == 2


def test_a_blender_that_ends_without_a_word_is_tried_once_more_then_has_failed(
    world: World, farm: Farm, old: RfamNode, job: Callable[..., str]
) -> None:
    job_id = job(frames="1")
    old.post(IDENTITY, TASK)
    (uuid,) = old.tasks
    world.clock.now += 5
    # It asks for work without reporting what it holds: the same claim comes again
    assert [told["uuid"] for told in old.post(IDENTITY, TASK)] == [uuid]
    world.clock.now += 5
    (again,) = old.post(IDENTITY, TASK)  # the attempt has failed, the next one is given out
    assert again["uuid"] != uuid
    assert farm.view(job_id)["failed_attempts"] == 1
    assert farm.task(job_id, 0)["reason"] is not None


def test_a_blender_that_always_ends_late_is_not_sent_again_for_ever(
    world: World, farm: Farm, old: RfamNode, job: Callable[..., str]
) -> None:
    job_id = job(frames="1", retries=1)
    old.post(IDENTITY, TASK)
    (uuid,) = old.tasks
    for _ in range(2):  # it runs for longer than a heartbeat, both times
        old.post(IDENTITY, old.report(uuid))
        world.clock.now += 5
        old.post(IDENTITY, TASK)
    view = farm.view(job_id)
    assert (view["state"], view["failed_attempts"]) == ("failed", 1)


def test_a_frame_that_nobody_else_can_try_fails_while_its_node_keeps_asking(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Looked at again and again for other servers' lines, it must be judged all the same
    monkeypatch.setattr(fail, "BEGIN_S", 0.5)
    monkeypatch.setattr(keeper, "JUDGE_S", 2.0)
    monkeypatch.setattr(keeper, "LOOK_RUNNING_S", 0.3)
    monkeypatch.setattr(keeper, "LOOK_AROUND_S", 0.1)
    farm = world.open(monotonic=time.monotonic)
    node = Node(farm, "n1", world.root)
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1"}).id

    def over() -> bool:
        for task in node.ask():
            node.fail(task)
        return bool(farm.view(job_id)["state"] == "failed")

    until(over)


def test_what_we_never_gave_is_killed_but_a_video_goes_on(farm: Farm, old: RfamNode) -> None:
    # It worked for another server before, or the job was deleted
    told = {"id": "report", "uuid": "5f3ac1d2e4b011eeb9620242ac120002", "frame": 7, "done": 0, "total": 1}
    assert old.post(IDENTITY, told) == [{"id": "kill", "uuid": told["uuid"], "frame": 7}]
    assert old.post(IDENTITY, {**told, "frame": [1, 24]}) == []
    assert old.post({**told, "id": "done", "time": 1.0}, IDENTITY) == []


def test_its_version_stands_on_what_it_says_first(farm: Farm, old: RfamNode, job: Callable[..., str]) -> None:
    job()
    bare = {key: value for key, value in IDENTITY.items() if key != "version"}
    old.post({**bare, "version": "R4"}, TASK)
    assert farm.machines.one("old-pc")["version"] == "R4"
    (uuid,) = old.tasks
    old.post({**old.done(uuid), "version": "R4"}, bare)
    assert farm.machines.one("old-pc")["version"] == "R4"


def test_a_cancelled_frame_is_killed(farm: Farm, old: RfamNode, job: Callable[..., str]) -> None:
    job_id = job()
    old.post(IDENTITY, TASK)
    (uuid,) = old.tasks
    farm.cancel(job_id, "anna")
    old.post(IDENTITY, old.report(uuid))
    assert old.killed == [uuid]


def test_what_is_given_back_when_its_hours_end_is_killed_by_its_frame(
    farm: Farm, old: RfamNode, job: Callable[..., str]
) -> None:
    # It prints the frame as a number: a kill without one ended the node
    job(frames="7")
    old.post(IDENTITY, TASK)
    (uuid,) = old.tasks
    farm.machines.change("old-pc", {"give_back": True, "schedule": NEVER}, "admin")
    old.post(IDENTITY, old.report(uuid))
    assert old.killed == [uuid]
    assert farm.machines.one("old-pc")["busy"] == 0


def test_a_video_is_not_given_back_since_its_node_would_go_on_writing_it(
    farm: Farm, old: RfamNode, job: Callable[..., str]
) -> None:
    job_id = job(type="blender-video", frames="1-4")
    old.post(IDENTITY, TASK)
    (uuid,) = old.tasks
    farm.machines.change("old-pc", {"give_back": True, "schedule": NEVER}, "admin")
    assert old.post(IDENTITY, old.report(uuid)) == []
    old.post(IDENTITY, old.done(uuid))
    assert farm.view(job_id)["state"] == "done"


def test_a_video_is_one_task_for_all_frames_and_never_killed(
    farm: Farm, old: RfamNode, job: Callable[..., str]
) -> None:
    job_id = job(type="blender-video", frames="3-12")
    assert [(told["video"], told["frames"]) for told in farm.bridging.potential("slurm")] == [(True, 10)]
    old.post(IDENTITY, {**TASK, "count": 2})
    ((uuid, told),) = old.tasks.items()
    assert told["frame"] == [3, 12]
    # It counts the frames that Blender has said
    assert old.post(IDENTITY, {**old.report(uuid), "done": 4, "total": 10}) == []
    assert farm.task(job_id, 0)["progress"] == 0.4
    old.post(IDENTITY, old.done(uuid))
    assert (farm.view(job_id)["state"], farm.view(job_id)["counts"]["done"]) == ("done", 1)
    # Cancelled, or gone: it goes on to its end, which nobody takes
    second = job(type="blender-video", frames="1-4")
    old.post(IDENTITY, TASK)
    ((uuid, _),) = old.tasks.items()
    farm.cancel(second, "anna")
    assert old.post(IDENTITY, old.report(uuid)) == []
    assert old.post(IDENTITY, old.done(uuid)) == []
    assert farm.view(second)["state"] == "cancelled"


def test_potential_tells_a_prenode_each_job_once(farm: Farm, job: Callable[..., str]) -> None:
    job_id = job()
    (told,) = farm.bridging.potential("slurm")
    assert told["uuid"] == job_id
    assert set(told) == {"uuid", "name", "created", "file", "priority", "video", "requires", "frames"}
    # It prints the frames and the priority as numbers, adds them up, and looks for each of `requires`
    assert all(type(told[key]) is int for key in ("priority", "frames"))
    assert (told["frames"], told["video"], list(told["requires"])) == (3, False, [])
    assert farm.bridging.potential("slurm") == []
    assert len(farm.bridging.potential("another")) == 1
