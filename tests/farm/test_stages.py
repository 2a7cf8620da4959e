"""Jobs of several stages on the wire: chunks, comp after render, previews, parts, and commands by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from farm_kit import SCENE, Node, World, disagreements, events_of, until

from server.disk.errors import BadInput, Forbidden
from server.farm.committer.dressing import UNSEALED
from server.farm.farm import Farm
from server.farm.jobs import snapshots
from server.library.people import User

Submit = Callable[..., str]
COMP: dict[str, Any] = {
    "title": "Render and comp",
    "suffixes": [".blend"],
    "stages": [
        {"name": "render", "commands": [{"do": "test-pattern", "frame": "{frame}", "folder": "{folder}",
                                         "name": "{stem}.####"}]},
        {"name": "comp", "after": [{"stage": "render", "by": "frame"}], "writes": "{stem}_comp.####",
         "commands": [{"do": "run", "argv": ["nuke", "-x", "{file}", "{first},{last}",
                                             "{folder}/.{attempt}.{stem}_comp.{padded}.png"],
                       "folder": "{folder}"}]},
    ],
}  # fmt: skip


def add_type(world: World, ident: str, data: dict[str, Any]) -> None:
    (world.config / "job_types" / f"{ident}.json").write_bytes(orjson.dumps(data))


def frames_done(node: Node, task: dict[str, Any], *frames: int) -> list[dict[str, Any]]:
    """Write frames of a chunk as a node does; what it tells of them."""
    folder = node.root / task["commands"][0]["folder"].partition("::")[2]
    outputs = []
    for frame in frames:
        name = f"sh010.{frame:04d}.png"
        temp = f".{task['uuid']}.{name}"
        (folder / temp).write_bytes(b"pixels")
        told = {"name": name, "path": name, "temp": temp, "size": 6, "kind": "frame"}
        outputs.append({**told, "frame": frame, "seconds": 2.5})
    return outputs


def test_comp_of_a_frame_waits_for_its_render_alone(world: World, farm: Farm, node: Node) -> None:
    add_type(world, "comp", COMP)
    world.clock.now += 5
    until(lambda: "comp" in farm.types.all())
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-3", "type": "comp"}).id
    first, second = node.ask(2)
    assert (first["frame"], second["frame"]) == (1, 2)
    assert node.deliver(second)["id"] == "accepted"
    tasks = {task["n"]: task for task in node.ask(5)}
    assert sorted(tasks) == [2, 4]  # frame 3 to render; of the comp that of frame 2 alone
    command = tasks[4]["commands"][0]
    name = f".{tasks[4]['uuid']}.sh010_comp.0002.png"
    assert command["argv"][3:] == ["2,2", f"{farm.view(job_id)['folder']}/{name}"]
    # When the frame is asked for again, then what is made of the old one is refused
    farm.requeue(job_id, [1], "anna")
    assert farm.task(job_id, 4)["state"] == "waiting"
    (world.path(farm.view(job_id)["folder"]) / name).write_bytes(b"old")
    told = {"name": "x", "path": "sh010_comp.0002.png", "temp": name, "size": 3, "kind": "frame"}
    done = {"id": "done", "uuid": tasks[4]["uuid"], "frame": 2, "time": 1, "outputs": [told]}
    assert node.answer_to(done)["id"] == "refused"
    rows = farm.tasks(job_id)[0]
    assert [row["stage"] for row in rows] == ["render"] * 3 + ["comp"] * 3


def test_a_chunk_that_fails_keeps_what_it_has(world: World, farm: Farm, node: Node, submit: Submit) -> None:
    """Given a chunk of five frames, when its node tells of one and fails after two, the rest is left."""
    job_id = submit("1-10", chunk_size=5)
    task = node.one()
    command = task["commands"][0]
    assert (task["frame"], command["do"], command["chunk"]) == ([1, 5], "blender-frames", "1-5")
    folder = world.path(farm.view(job_id)["folder"])
    first = frames_done(node, task, 1)
    node.say({"id": "report", "uuid": task["uuid"], "frame": [1, 5], "progress": 0.2, "outputs": first})
    assert (folder / "sh010.0001.png").exists()
    assert [row["frame"] for row in farm.records(job_id)[0]] == [1]
    failed = {"id": "failed", "uuid": task["uuid"], "frame": [1, 5], "time": 9, "reason": "crash", "log": "x"}
    outputs = first + frames_done(node, task, 2)
    assert node.answer_to({**failed, "outputs": outputs})["id"] == "accepted"
    other = Node(farm, "n2", world.root)
    again = other.one()
    assert (again["frame"], again["commands"][0]["chunk"]) == ([1, 5], "3-5")
    done = {"id": "done", "uuid": again["uuid"], "frame": [1, 5], "time": 7.5}
    lacking = other.answer_to({**done, "outputs": frames_done(other, again, 3, 4)})
    assert (lacking["id"], lacking["why"]) == ("refused", "frame 5 was not rendered")
    last = node.one()
    done = {"id": "done", "uuid": last["uuid"], "frame": [1, 5], "time": 7.5}
    assert node.answer_to({**done, "outputs": frames_done(node, last, 3, 4, 5)})["id"] == "accepted"
    rows = farm.records(job_id)[0]
    assert [(row["frame"], row["seconds"], row["bytes"]) for row in rows] == [
        (f, 2.5, 6) for f in range(1, 6)
    ]
    assert rows[4]["path"].endswith("/sh010.0005.png")
    view = farm.view(job_id)
    assert (view["counts"]["done"], view["total"], view["output_bytes"]) == (1, 2, 30)
    assert disagreements(farm, job_id) == []
    world.close()
    again_open = world.open()
    assert [row["frame"] for row in again_open.records(job_id)[0]] == [1, 2, 3, 4, 5]


def test_a_preview_waits_for_all_and_stops_nothing(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    job_id = submit("1-2")
    filmer = Node(farm, "n2", world.root)
    told = {
        "id": "identity",
        "name": "n2",
        "version": "1",
        "provides": [],
        "protocol": 2,
        "paths": {"data": ""},
    }
    filmer.say({**told, "programs": {"ffmpeg": "5"}, "does": ["make-preview"]})
    identity = {**told, "programs": {"ffmpeg": "5"}, "does": ["make-preview"]}

    def ask() -> list[dict[str, Any]]:
        request = {"id": "task", "paths": ["data"], "provides": [], "count": 1}
        return [a for a in orjson.loads(farm.talk("n2", [identity, request])) if a["id"] == "task"]

    assert ask() == []
    for task in node.ask(2):
        node.deliver(task)
    assert farm.view(job_id)["state"] == "running"
    (task,) = ask()
    assert (task["frame"], task["commands"][0]["source"]) == ([1, 2], "sh010.####")
    folder = world.path(farm.view(job_id)["folder"])
    temp = f".{task['uuid']}.sh010.mp4"
    (folder / temp).write_bytes(b"film")
    output = {"name": "sh010.mp4", "path": "sh010.mp4", "temp": temp, "size": 4, "kind": "video"}
    done = {"id": "done", "uuid": task["uuid"], "frame": [1, 2], "time": 1, "outputs": [output]}
    answers = orjson.loads(farm.talk("n2", [identity, done]))
    assert [a["id"] for a in answers] == ["accepted"]
    view = farm.view(job_id)
    assert (view["state"], view["counts"]["done"], view["total"]) == ("done", 2, 2)
    assert (folder.parent / "v001.mp4").read_bytes() == b"film"
    assert view["preview"] == farm.film(job_id).video == view["folder"] + ".mp4"
    # When a frame is asked for again, then so is the video
    farm.requeue(job_id, [0], "anna")
    assert farm.view(job_id)["preview"] is None
    node.deliver(node.one())
    (task,) = ask()
    fail = {"id": "failed", "uuid": task["uuid"], "frame": [1, 2], "time": 1, "reason": "crash", "log": "x"}
    for _ in range(9):
        farm.talk("n2", [identity, {**fail, "uuid": task["uuid"]}])
        world.clock.now += 4000
        node.say()
        found = ask()
        if not found:
            break
        (task,) = found
    for _ in range(35):  # whoever was to come with them would be here by then
        world.clock.now += 2
        node.say()
        ask()
    farm.keeper.tick()
    view = farm.view(job_id)
    assert (view["state"], view["why"]) == ("done", "Preview video could not be made")


def test_without_a_computer_for_it_there_is_no_preview(farm: Farm, node: Node, submit: Submit) -> None:
    job_id = submit("1-2")
    for task in node.ask(2):
        node.deliver(task)
    view = farm.view(job_id)
    assert (view["state"], view["preview"], view["why"]) == ("done", None, "")
    assert view["stages"][1]["why"] == "it has no ffmpeg"


def test_commands_that_somebody_wrote_into_a_job_are_not_run(world: World, farm: Farm, node: Node) -> None:
    """Given a job of an admin's, when its file is changed by hand, then its program is given to nobody."""
    told = {"file": SCENE, "frames": "1", "type": "command-line", "command": "echo {frame} {file}"}
    job_id = farm.submit("anna", told).id
    assert farm.task(job_id, 0)["state"] == "waiting"
    path = world.root / "demo/shots/.croft/sh010.blend/jobs" / job_id / "job.json"
    world.close()
    record = orjson.loads(path.read_bytes())
    assert record["parameters"]["command"] == ["echo", "{frame}", "{file}"]
    record["parameters"]["command"] = ["rm", "-rf", "/"]
    path.write_bytes(orjson.dumps(record))
    again = world.open()
    spoilt = Node(again, "n1", world.root)
    assert spoilt.ask() == []
    assert again.view(job_id)["why"] == "its commands were not written by this server: submit it again"
    record["parameters"]["command"] = ["echo", "{frame}", "{file}"]
    path.write_bytes(orjson.dumps(record))
    world.close()
    mended = Node(world.open(), "n1", world.root)
    task = mended.one()
    assert task["commands"][0]["argv"] == ["echo", "1", task["file"]]
    assert mended.answer_to({"id": "done", "uuid": task["uuid"], "frame": 1, "time": 1, "outputs": []})
    assert [e["to"] for e in events_of(world, job_id) if e["event"] == "state"][-1] == "done"


@pytest.fixture
def ended(world: World, farm: Farm, node: Node) -> str:
    """A command of an admin's that was done, and put away."""
    told = {"file": SCENE, "frames": "1", "type": "command-line", "command": "python3 {file}"}
    job_id = str(farm.submit("anna", told).id)
    done(node, node.one())
    until((folder_of(world, job_id) / "result.json").exists)
    return job_id


def folder_of(world: World, job_id: str) -> Path:
    return world.root / "demo/shots/.croft/sh010.blend/jobs" / job_id


def done(node: Node, task: dict[str, Any]) -> None:
    told = {"id": "done", "uuid": task["uuid"], "frame": 1, "time": 1, "outputs": []}
    assert node.answer_to(told)["id"] == "accepted"


@pytest.mark.parametrize("large", [False, True])
def test_a_program_runs_on_the_file_that_was_submitted_alone(
    world: World, farm: Farm, node: Node, ended: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given other bytes in the snapshot's place, when it is rendered again, then it pauses; with its own it
    goes on."""
    if large:
        monkeypatch.setattr(snapshots, "AT_ONCE_BYTES", 0)
    kept = folder_of(world, ended) / "snapshot.blend"
    own = kept.read_bytes()
    kept.unlink()
    kept.write_bytes(own.replace(b"ENDB", b"evil"))
    farm.requeue(ended, "all", "anna")
    until(lambda: node.ask() or farm.view(ended)["state"] == "paused")
    assert farm.view(ended)["why"] == snapshots.CHANGED
    (snapshot,) = (world.root / "demo/shots").glob(f".*{ended}*")
    snapshot.write_bytes(own)
    farm.resume_job(ended, "anna")
    (task,) = until(node.ask)
    done(node, task)


def test_a_program_runs_again_only_where_people_here_asked(
    world: World, farm: Farm, node: Node, ended: str
) -> None:
    """Given lines that somebody wrote into the journal of a job that is done, then it isn't given out."""
    journal = folder_of(world, ended) / "journal.jsonl"
    whole = journal.read_bytes()
    farm.requeue(ended, "all", "anna")
    done(node, node.one())
    signed = next(line for line in journal.read_bytes().splitlines() if b'"seal"' in line)
    until(lambda: farm.view(ended)["state"] == "done")
    with open(journal, "ab") as file:
        file.write(b'{"at":"2026-11-22T06:00:00Z","event":"requeue","tasks":"0"}\n' + signed + b"\n")

    def stopped() -> bool:
        world.clock.now += 3
        return bool(node.ask()) or farm.view(ended)["state"] == "paused"

    until(stopped)
    assert farm.view(ended)["why"] == "it was asked for again, but not on this server: submit it again"
    assert journal.read_bytes().startswith(whole)


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("file", "data::other/secret.blend"),
        ("folder", "data::other"),
        ("name", "../x"),
        ("chunk", "1-9999999"),
    ],
)
def test_a_changed_job_reaches_no_files_but_its_own(
    world: World, farm: Farm, node: Node, submit: Submit, key: str, other: str
) -> None:
    """Given a job that somebody changed, then it is given out with its own words, and with no others."""
    job_id = submit("1-2")
    path = folder_of(world, job_id) / "job.json"
    world.close()
    record = orjson.loads(path.read_bytes())
    record["stages"][0]["commands"][0]["width"] = 64
    path.write_bytes(orjson.dumps(record))
    assert Node(world.open(), "n1", world.root).one()["commands"][0]["width"] == 64
    world.close()
    record["stages"][0]["commands"][0][key] = other
    path.write_bytes(orjson.dumps(record))
    again = world.open()
    assert Node(again, "n2", world.root).ask() == []
    assert again.board.live[job_id].works[0].why == UNSEALED


def test_a_command_line_is_for_admins(farm: Farm) -> None:
    request = {"file": SCENE, "frames": "1", "type": "command-line", "command": "id"}
    with pytest.raises(Forbidden, match="for an admin"):
        farm.submit(User("ben", "Ben", "supervisor"), request)
    with pytest.raises(BadInput, match="No closing quotation"):
        farm.submit(User("ada", "Ada", "admin"), {**request, "command": "echo 'x"})


def test_a_picture_in_parts_that_is_done_is_made_again_with_its_parts(farm: Farm, node: Node) -> None:
    """Given a picture whose parts went once it was whole, when it is asked for again, then so are they."""
    job_id = farm.submit(
        "anna", {"file": SCENE, "frames": "3", "type": "blender-tiles", "columns": 2, "rows": 1}
    ).id
    folder = node.root / farm.view(job_id)["folder"].partition("::")[2]

    def deliver(task: dict[str, Any], name: str, kind: str) -> None:
        temp = f".{task['uuid']}.{name}"
        (folder / temp).write_bytes(b"pixels")
        output = {"name": name, "path": name, "temp": temp, "size": 6, "kind": kind}
        done = {"id": "done", "uuid": task["uuid"], "frame": 3, "time": 1, "outputs": [output]}
        assert node.answer_to(done)["id"] == "accepted"

    for task in node.ask(5):
        column, row, *_ = task["commands"][0]["tile"]
        deliver(task, f"sh010.0003.c{column + 1}r{row + 1}.exr", "part")
    assert sorted(path.name for path in folder.iterdir()) == [
        f".{job_id}.part.sh010.0003.c1r1.exr", f".{job_id}.part.sh010.0003.c2r1.exr",
    ]  # fmt: skip
    whole = node.one()
    assert whole["commands"][0]["parts"] == f".{job_id}.part.sh010.####"
    deliver(whole, "sh010.0003.png", "frame")
    assert farm.view(job_id)["state"] == "done"
    until(lambda: [path.name for path in folder.iterdir() if path.is_file()] == ["sh010.0003.png"])
    farm.requeue(job_id, [2], "anna")
    assert [task["n"] for task in node.ask(5)] == [0, 1]


def test_a_picture_whose_parts_were_asked_for_again_meanwhile_is_refused(farm: Farm, node: Node) -> None:
    # Given all parts of a picture, and a computer that puts them together
    request = {"file": SCENE, "frames": "3", "type": "blender-tiles", "columns": 2, "rows": 1}
    job_id = farm.submit("anna", request).id
    for task in node.ask(5):
        assert node.deliver(task)["id"] == "accepted"
    whole = node.one()
    # When both parts are asked for again at once, then the picture of the old ones comes too late
    farm.requeue(job_id, [0, 1], "anna")
    assert node.deliver(whole, b"of old parts")["id"] == "refused"
    assert farm.view(job_id)["state"] == "running"
    for task in node.ask(5):
        assert node.deliver(task)["id"] == "accepted"
    assert node.deliver(node.one())["id"] == "accepted"
    assert farm.view(job_id)["state"] == "done"


def test_a_chunk_made_again_takes_frames_told_before_and_no_older_ones(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    # Given a chunk that was done and is rendered again, its first frame told already
    job_id = submit("1-4", chunk_size=2)
    task = node.one()
    done = {"id": "done", "uuid": task["uuid"], "frame": task["frame"], "time": 5}
    assert node.answer_to({**done, "outputs": frames_done(node, task, 1, 2)})["id"] == "accepted"
    farm.requeue(job_id, [0], "anna")
    task = node.one()
    outputs = frames_done(node, task, 1, 2)
    node.say({"id": "report", "uuid": task["uuid"], "frame": task["frame"], "outputs": outputs[:1]})
    # When the second's file isn't there at the end, then it is refused for that one
    folder = world.path(farm.view(job_id)["folder"])
    (folder / outputs[1]["temp"]).unlink()
    answer = node.answer_to({**done, "uuid": task["uuid"], "outputs": outputs})
    assert (answer["id"], answer["why"][:14]) == ("refused", "sh010.0002.png")
    # Then it is rendered alone, and that is accepted
    task = next(found for found in node.ask(2) if found["n"] == 0)
    assert task["commands"][0]["chunk"] == "2"
    last = {**done, "uuid": task["uuid"], "outputs": frames_done(node, task, 2)}
    assert node.answer_to(last)["id"] == "accepted"


def test_a_file_for_a_frame_that_is_no_number_is_refused_alone(
    farm: Farm, node: Node, submit: Submit
) -> None:
    submit("1-10", chunk_size=5)
    task = node.one()
    output = {"path": "x.png", "temp": f".{task['uuid']}.x.png", "size": 1, "frame": [1]}
    told = {"id": "done", "uuid": task["uuid"], "frame": task["frame"], "time": 1, "outputs": [output]}
    # Given an attempt whose id makes no sense, in the same breath
    odd = {"id": "report", "uuid": ["x"]}
    answers = node.say(told, odd, {"id": "task", "count": 1})
    assert [a["id"] for a in answers if a.get("uuid") == task["uuid"]] == ["refused"]
    assert farm._committer.faults == 0
    node.ask()
    assert node.say(odd, {"id": "task", "count": 1}) is not None  # with one that it holds
