"""A job's life, as nodes and people see it: every frame there once, whole, and the sums add up."""

from __future__ import annotations

import stat
from collections.abc import Callable

import orjson
import pytest
from farm_kit import SCENE, Node, World, disagreements, here_for_long, until

from server.disk.errors import BadContent, BadInput, Conflict, CroftError, NotFound, TooLarge
from server.farm.farm import Farm

Submit = Callable[..., str]


def test_a_job_from_submission_to_its_sum(world: World, farm: Farm, node: Node, submit: Submit) -> None:
    job_id = submit("1-4")
    view = farm.view(job_id)
    assert (view["state"], view["why"], view["cells"]) == ("waiting", "no computer is on", "wwww")
    snapshot = world.root / "demo/shots" / f".sh010.{job_id}.blend"
    assert snapshot.read_bytes() == world.path(SCENE).read_bytes()
    folder = world.path(view["folder"])
    assert stat.S_IMODE(folder.stat().st_mode) == 0o3775

    for frame in (1, 2, 3, 4):
        task = node.one()
        assert task["frame"] == frame
        assert task["n"] == frame - 1
        assert task["prmanCommands"] is None
        assert task["file"] == f"data::demo/shots/.sh010.{job_id}.blend"
        assert task["commands"][0] == {
            "do": "blender-frame", "file": task["file"], "frame": frame, "frames": "1-4",
            "folder": view["folder"], "name": "sh010.####", "format": None, "scene": None,
            "view_layer": None, "camera": None, "width": None, "height": None,
        }  # fmt: skip
        assert farm.view(job_id)["state"] == "running"
        assert node.deliver(task) == {"id": "accepted", "uuid": task["uuid"]}
    assert node.ask() == []

    view = farm.view(job_id)
    assert (view["state"], view["cells"], view["seconds"]) == ("done", "dddd", 6.0)
    assert view["nodes"] == {"n1": {"done": 4, "seconds": 6.0, "failed": 0, "lost": 0}}
    assert disagreements(farm, job_id) == []
    job_folder = world.root / "demo/shots/.croft/sh010.blend/jobs" / job_id
    until(lambda: (job_folder / "result.json").exists() and not snapshot.exists())
    assert sorted(path.name for path in folder.iterdir()) == [f"sh010.000{n}.png" for n in (1, 2, 3, 4)]
    assert (job_folder / "snapshot.blend").read_bytes() == world.path(SCENE).read_bytes()
    until(lambda: (folder.parent / "current").is_symlink())
    record = orjson.loads((folder.parent / "v001.json").read_bytes())
    assert (record["job"], record["approved"], record["outputs"][0]["done"]) == (job_id, False, 4)
    tasks, total = farm.tasks(job_id)
    assert total == 4
    assert tasks[0]["image"] == f"{view['folder']}/sh010.0001.png"
    assert view["newest"] == {"image": f"{view['folder']}/sh010.0004.png", "attempts": 1, "n": 3}


def test_an_ended_job_is_shown_without_its_journal(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    # A page of thirty long renders must not read thirty journals
    job_id = submit("1-2")
    node.deliver(node.one())
    node.deliver(node.one())
    live = farm.view(job_id)
    until(lambda: farm.board.live[job_id].finalised)
    until((farm.board.live[job_id].place.folder / "result.json").exists)
    world.close()
    again = world.open()
    assert job_id in again.board.ended
    assert again.view(job_id)["newest"] == live["newest"]
    assert job_id in again.board.ended


def test_a_done_said_three_times_counts_once(farm: Farm, node: Node, submit: Submit) -> None:
    job_id = submit("1-2")
    done = node.render(node.one())
    answers = [node.answer_to(done)["id"] for _ in range(3)]
    assert answers == ["accepted"] * 3
    last = node.render(node.one())
    assert node.answer_to(last)["id"] == "accepted"
    assert node.answer_to(last)["id"] == "accepted"  # the job is over by now
    assert farm.view(job_id)["counts"]["done"] == 2
    assert farm.view(job_id)["seconds"] == 3.0


def test_a_late_node_cannot_touch_the_accepted_frame(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    # Given a claim that expired and was given to another node
    job_id = submit("1-2")
    first = node.one()
    late = node.render(first, b"the late picture")
    world.clock.now += 31
    until(lambda: farm.view(job_id)["counts"]["waiting"] == 2)
    other = Node(farm, "n2", world.root)
    second = other.one()
    assert second["frame"] == first["frame"]
    # When the first one comes back, before and after the other has finished
    assert (
        node.say({"id": "report", "uuid": first["uuid"], "frame": 1, "done": 0, "total": 1})[-1]["id"]
        == "kill"
    )
    assert node.answer_to(late)["id"] == "refused"
    assert other.deliver(second, b"the accepted picture")["id"] == "accepted"
    answer = node.answer_to(node.render(first, b"the late picture"))
    # Then it is refused, and the frame is the other's
    assert (answer["id"], answer["why"]) == ("refused", "the frame was accepted from another attempt")
    folder = world.path(farm.view(job_id)["folder"])
    assert [(p.name, p.read_bytes()) for p in folder.iterdir()] == [
        ("sh010.0001.png", b"the accepted picture")
    ]
    assert disagreements(farm, job_id) == []


def test_an_expired_attempt_that_nobody_took_over_may_still_come_in(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    job_id = submit("1-1")
    done = node.render(node.one())
    world.clock.now += 31
    until(lambda: farm.view(job_id)["counts"]["waiting"] == 1)
    assert node.answer_to(done)["id"] == "accepted"
    assert farm.view(job_id)["state"] == "done"


@pytest.mark.parametrize("sent", ["never", "before"])
def test_what_was_rendered_before_a_frame_was_asked_for_again_is_refused(
    farm: Farm, node: Node, submit: Submit, sent: str
) -> None:
    # Given a frame that is rendered just now, or whose answer the node has not heard
    job_id = submit("1-2")
    task = node.one()
    if sent == "before":
        node.deliver(task)
    # When somebody asks for it again, and then the old one comes
    farm.requeue(job_id, [task["n"]], "anna")
    answer = node.answer_to(node.render(task, b"the old picture"))
    # Then it is refused, and the frame is rendered by the next attempt
    assert (answer["id"], answer["why"]) == ("refused", "the frame was asked for again")
    assert farm.view(job_id)["counts"] == {"waiting": 2, "claimed": 0, "done": 0, "failed": 0, "skipped": 0}
    again = node.one()
    assert (again["n"], again["uuid"].split(".")[2]) == (task["n"], "2")
    assert node.deliver(again)["id"] == "accepted"
    assert disagreements(farm, job_id) == []


def test_an_older_picture_of_the_same_size_is_not_taken_for_the_new_one(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    # Given a frame that was done and is rendered again
    job_id = submit("1-2")
    node.deliver(node.one(), b"old picture")
    farm.requeue(job_id, [0], "anna")
    done = node.render(node.one(), b"new picture")
    # When the new file isn't there
    folder = world.path(farm.view(job_id)["folder"])
    (folder / done["outputs"][0]["temp"]).unlink()
    # Then the old one doesn't stand for it
    assert node.answer_to(done)["id"] == "refused"
    assert farm.view(job_id)["counts"]["done"] == 0


def test_failures_are_kept_retried_and_end(world: World, farm: Farm, node: Node, submit: Submit) -> None:
    here_for_long(world, node)
    job_id = submit("1-2", retries=2)
    task = node.one()
    assert node.fail(task, log="line 1\nno memory")["id"] == "accepted"
    assert node.fail(task)["id"] == "accepted"  # a repeat counts once
    assert farm.log(job_id, 0).text == "line 1\nno memory"
    again = node.one()
    assert (again["frame"], again["uuid"] == task["uuid"]) == (1, False)
    node.fail(again, reason="out of memory")
    assert farm.task(job_id, 0)["state"] == "failed"
    assert farm.task(job_id, 0)["reason"] == "out of memory"
    node.deliver(node.one())
    view = farm.view(job_id)
    assert (view["state"], view["why"]) == ("failed", "1 frame of 2 could not be rendered")
    assert (view["failed_attempts"], view["counts"]["failed"], view["cells"]) == (2, 1, "fd")
    assert disagreements(farm, job_id) == []
    # And it can be had rendered again
    farm.requeue(job_id, "failed", "anna")
    assert farm.view(job_id)["state"] == "waiting"
    node.deliver(node.one())
    assert farm.view(job_id)["state"] == "done"


def test_a_sick_node_cannot_fail_a_job(world: World, farm: Farm, submit: Submit) -> None:
    # Given a node that fails whatever it gets, beside one that is well
    job_id = submit("1-6", retries=2)
    sick, well = Node(farm, "sick", world.root), Node(farm, "well", world.root)
    well.say()
    for task in sick.ask(6):
        sick.fail(task)
    # Then what failed on it is kept for the other
    assert sick.ask(6) == []
    for task in well.ask(6):
        well.deliver(task)
    assert farm.view(job_id)["state"] == "done"
    # And the node that failed where the other did well rests, and says why
    submit("1-9")
    assert farm.machines.one("sick")["state"] == "sick"
    assert "failed in a row where others do well" in farm.machines.one("sick")["closed"]
    assert sick.ask() == []


def test_a_hopeless_scene_stops_early(farm: Farm, node: Node, submit: Submit) -> None:
    job_id = submit("1-100", retries=1)
    while tasks := node.ask():
        node.fail(tasks[0])
    view = farm.view(job_id)
    assert (view["state"], view["counts"]["failed"], view["counts"]["waiting"]) == ("failed", 5, 95)
    assert "the first 5 frames could not be rendered" in view["why"]
    # And it can be gone on with
    farm.requeue(job_id, "rest", "anna")
    assert farm.view(job_id)["counts"]["waiting"] == 100
    assert node.deliver(node.one())["id"] == "accepted"


def test_pause_resume_cancel(world: World, farm: Farm, node: Node, submit: Submit) -> None:
    job_id = submit("1-3")
    task = node.one()
    farm.pause_job(job_id, "anna")
    assert node.ask() == []
    assert node.deliver(task)["id"] == "accepted"  # what was begun is still taken
    farm.resume_job(job_id, "anna")
    task = node.one()
    assert farm.view(job_id)["state"] == "running"
    farm.cancel(job_id, "anna")
    farm.cancel(job_id, "anna")
    assert farm.view(job_id)["why"] == "cancelled by anna"
    report = {"id": "report", "uuid": task["uuid"], "frame": task["frame"], "done": 0, "total": 1}
    assert node.say(report)[-1] == {"id": "kill", "uuid": task["uuid"], "frame": task["frame"]}
    assert node.deliver(task)["id"] == "refused"
    folder = world.path(farm.view(job_id)["folder"])
    assert [path.name for path in folder.iterdir()] == ["sh010.0001.png"]
    with pytest.raises(Conflict, match="cancelled already"):
        farm.pause_job(job_id, "anna")
    farm.requeue(job_id, "rest", "anna")
    assert node.one()["frame"] == 2


def test_the_farm_and_a_node_can_be_paused(farm: Farm, node: Node, submit: Submit) -> None:
    job_id = submit()
    farm.machines.pause_all(True)
    assert node.ask() == []
    assert farm.view(job_id)["why"] == "the farm is paused"
    farm.machines.pause_all(False)
    farm.machines.change("n1", {"paused": True}, "admin")
    assert node.ask() == []
    said = farm.view(job_id)["why"]
    assert said == "the only computer that can do it, n1, gets no work: paused by admin"
    farm.machines.change("n1", {"paused": False}, "admin")
    assert len(node.ask(3)) == 3


@pytest.mark.parametrize(
    ("request_", "kind", "words"),
    [
        ({"frames": "10-1"}, BadInput, "backwards"),
        ({"frames": "abc"}, BadInput, "no frame range"),
        ({"frames": "1-1000000,-1000000-0"}, TooLarge, "100,000"),
        ({"frames": "1-10000000"}, BadInput, "outside"),
        ({}, BadInput, "which frames"),
        ({"file": "data::demo/shots/none.blend", "frames": "1"}, NotFound, "no file"),
        ({"file": "nowhere::demo/x.blend", "frames": "1"}, NotFound, "no share"),
        ({"file": "data::../etc/passwd", "frames": "1"}, BadInput, "clean path"),
        ({"file": "/etc/passwd", "frames": "1"}, BadInput, "not an address"),
        ({"file": 7, "frames": "1"}, BadInput, "file is missing"),
        ({"file": "data::demo/shots/notes.txt", "frames": "1"}, BadContent, "can't be rendered"),
        ({"file": "data::demo/shots/fake.blend", "frames": "1"}, BadContent, "not what its name says"),
        ({"project": "nope", "frames": "1"}, NotFound, "not in 'nope'"),
        ({"type": "nope", "frames": "1"}, NotFound, "no job type"),
        ({"output": "nowhere", "frames": "1"}, BadInput, "output must be"),
        ({"priority": 9, "frames": "1"}, BadInput, "1 to 5"),
        ({"order": "random", "frames": "1"}, BadInput, "order must be"),
        ({"colour": 1, "frames": "1"}, BadInput, "has no 'colour'"),
        ({"camera": 7, "frames": "1"}, BadInput, "camera must be text"),
    ],
)
def test_wrong_input_gets_a_sentence_and_changes_nothing(
    world: World, farm: Farm, request_: dict[str, object], kind: type[CroftError], words: str
) -> None:
    before = sorted(str(path) for path in world.root.rglob("*"))
    with pytest.raises(kind, match=words):
        farm.submit("anna", {"file": SCENE, **request_})
    assert sorted(str(path) for path in world.root.rglob("*")) == before
    assert farm.jobs() == []


def test_what_is_swept_up_are_dead_attempts_alone(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    # Given a frame of an ended job that was asked for again, and is being written
    job_id = submit("1")
    node.deliver(node.one())
    farm.requeue(job_id, [0], "anna")
    task = node.one()
    done = node.render(task)
    live = farm.board.live[job_id]
    assert live.place.outputs is not None
    dead = live.place.outputs / f".{job_id}.0.1.abcd.sh010.0001.png"
    dead.write_bytes(b"left behind")
    # When what the end left is swept up only now
    assert live.place.sweep() == 1
    # Then the new one isn't touched
    assert not dead.exists()
    assert node.answer_to(done)["id"] == "accepted"
