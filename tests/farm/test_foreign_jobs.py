"""Job folders that a person, a restore or somebody with bad intentions has put on the share."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from farm_kit import SCENE, Node, World, until

from server.disk import encoding
from server.disk.errors import Busy, DiskError
from server.disk.records import Change
from server.farm.committer.decide import Op
from server.farm.committer.dressing import commandment
from server.farm.committer.live import Live
from server.farm.job_types.commands import words_in
from server.farm.jobs.place import Place

JOB = "20260101-120000-abcdef"


def put(world: World, state: str = "cancelled", **wrong: Any) -> Path:
    """A job's folder as a person may write it."""
    record = {
        "schema": 1, "id": JOB, "type": "blender-frames", "file": SCENE, "project": "demo", "user": "eve",
        "frames": "1-2", "total": 2, "output": "version", "priority": 3, "retries": 3, "base": "sh010.####",
        "parameters": {}, "requires": [], "site": "here", "snapshot": f".sh010.{JOB}.blend",
        "folder": "render/sh010/v001", **wrong,
    }  # fmt: skip
    folder = world.root / "demo/shots/.croft/sh010.blend/jobs" / JOB
    folder.mkdir(parents=True)
    (folder / "job.json").write_bytes(orjson.dumps(record))
    line = {"at": "2026-01-01T12:00:00.000Z", "event": "state", "to": state, "by": "eve"}
    (folder / "journal.jsonl").write_bytes(orjson.dumps(line) + b"\n")
    return folder


@pytest.mark.parametrize(
    "wrong",
    [
        {"retries": "many"},
        {"priority": None},
        {"requires": 5},
        {"order": ["linear"]},
        {"parameters": 3},
        {"folder": 5},
        {"snapshot": 5},
        {"frames": "abc"},
        {"base": ["x"]},
        {"type": {}},
        {"total": "all"},
        {"name": 7, "user": 8, "created": 9, "timeout_s": "long", "source": "here", "site": []},
    ],
    ids=str,
)
def test_one_that_makes_no_sense_stops_nobody(world: World, wrong: dict[str, Any]) -> None:
    # Given a job whose request holds what it may not
    put(world, "waiting", **wrong)
    # When a server starts
    farm = world.open()
    # Then it tells of that job, and the others are rendered
    assert farm.keeper.faults == 0
    assert JOB in farm.board.broken
    assert [p.address for p in farm.health.problems()] == [JOB]
    ident = farm.submit("anna", {"file": SCENE, "frames": "1"}).id
    node = Node(farm, "n1", world.root)
    assert node.deliver(node.one())["id"] == "accepted"
    assert farm.view(ident)["state"] == "done"


@pytest.mark.parametrize("state", ["waiting", "cancelled"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"snapshot": "../../../config/secret"},
        {"snapshot": "sh010.blend"},  # a student's own file isn't a snapshot
        {"snapshot": ".."},
        {"folder": "../../../config"},
        {"folder": "render/sh010/../../.."},
        {"version": "../../../../config/server"},
    ],
    ids=str,
)
def test_one_that_names_other_files_moves_none_of_them(
    world: World, state: str, wrong: dict[str, Any]
) -> None:
    # Given a request whose snapshot or folder lies where jobs have no business
    folder = put(world, state, **wrong)
    (world.config / "secret").write_text("nobody's business")
    # When the server takes it in, and puts ended jobs' snapshots away
    farm = world.open()
    until(lambda: JOB in farm.board.broken, 3)
    farm.keeper.tick()
    # Then every file is where it was
    assert (world.config / "secret").read_text() == "nobody's business"
    assert world.path(SCENE).exists()
    assert sorted(path.name for path in folder.iterdir()) == ["job.json", "journal.jsonl"]


def test_an_ended_job_that_cannot_be_summed_keeps_no_other_from_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = world.open()
    node = Node(farm, "n1", world.root)
    sick = {farm.submit("anna", {"file": SCENE, "frames": "1"}).id for _ in range(3)}
    well = farm.submit("anna", {"file": SCENE, "frames": "1"}).id
    real = Place.hash_journal

    def hash_journal(place: Place) -> tuple[int, str]:
        if place.job.id in sick:
            raise DiskError("The disk answered 'I/O error'.", path="")
        return real(place)

    monkeypatch.setattr(Place, "hash_journal", hash_journal)
    for _ in range(4):
        node.deliver(node.one())
    until(lambda: well in farm.board.over and farm.board.live[well].finalised, 5)


WORDS_OF_OLD: dict[str, Any] = {"format": None, "scene": None, "camera": None}  # when there were fewer


def test_a_job_from_before_there_were_stages_asks_for_nothing_that_nobody_said(world: World) -> None:
    # Given a request that knows fewer settings than its type does now
    put(world, "waiting", parameters=WORDS_OF_OLD)
    farm = world.open()
    # When a task of it is told to a node
    told = orjson.loads(commandment(farm.board.live[JOB], 1, f"{JOB}.1.1.abcd", 5))
    # Then no word is left for the node to stumble over, nor a key that an old node wouldn't know
    assert told["commands"][0]["frame"] == 2
    assert words_in(told["commands"]) == set()
    assert not {"percentage", "samples", "chunk"} & told["commands"][0].keys()


def stage(**wrong: Any) -> dict[str, Any]:
    return {"stages": [{"name": "render", "per": "frame", "tasks": 2, "commands": [], **wrong}]}


EDITS: list[dict[str, Any]] = [
    {"requires": [[1]]},
    {"licences": [5]},
    {"groups": [None]},
    {"stages": [5]},
    {"stages": [[1]]},
    {"stages": []},
    stage(memory_mb="abc"),
    stage(programs=5),
    stage(requires=[{}]),
    stage(does=True),
    stage(commands=5),
    stage(optional=True),
    stage(tasks=7),
    {"inputs": {"x": 5}},
    {"inputs": {"x": []}},
    {"inputs": {"x": ["a", 1]}},
    {"frames": "x"},
]


def edit(path: Path, **wrong: Any) -> None:
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), **wrong}))


@pytest.mark.parametrize("ended", [False, True], ids=["open", "ended"])
def test_one_edited_request_stops_no_other_job(world: World, ended: bool) -> None:
    # Given a job, over or not, that others come after frame by frame
    farm = world.open()
    node = Node(farm, "n1", world.root)
    bad = farm.submit("anna", {"file": SCENE, "frames": "1-2"}).id
    after = [{"job": bad, "by": "frame"}]
    follower = farm.submit("anna", {"file": SCENE, "frames": "1-2", "after": after}).id
    folder = world.root / "demo/shots/.croft/sh010.blend/jobs" / bad
    if ended:
        farm.cancel(bad, "anna")
        until((folder / "result.json").exists)
    world.close()
    request = (folder / "job.json").read_bytes()
    for wrong in EDITS:
        # When its request is edited and a server starts
        (folder / "job.json").write_bytes(request)
        edit(folder / "job.json", **wrong)
        farm = world.open()
        # Then that is told, and all else goes on: commits, the list, what is watched
        assert [p.address for p in farm.health.problems()] == [bad], wrong
        node = Node(farm, "n1", world.root)
        well = farm.submit("anna", {"file": SCENE, "frames": "1"}).id
        assert node.deliver(node.one())["id"] == "accepted"
        shown = {row["id"] for row in orjson.loads(encoding.dumps(farm.rows(farm.jobs())))}
        assert {well, follower} <= shown, wrong
        watched = farm.watching._known
        until(partial(watched.__contains__, follower))
        assert (farm.keeper.faults, farm._committer.faults, farm.watching.faults) == (0, 0, 0), wrong
        world.close()


def test_an_ended_job_whose_request_is_edited_meanwhile_fails_nobody_else(world: World) -> None:
    farm = world.open()
    node = Node(farm, "n1", world.root)
    bad = farm.submit("anna", {"file": SCENE, "frames": "1"}).id
    node.deliver(node.one())
    folder = world.root / "demo/shots/.croft/sh010.blend/jobs" / bad
    until((folder / "result.json").exists)
    world.close()
    farm = world.open()
    farm.submit("anna", {"file": SCENE, "frames": "1"})
    node = Node(farm, "n1", world.root)
    task = node.one()
    request = (folder / "job.json").read_bytes()
    edit(folder / "job.json", requires=[[1]])
    # When something is asked of it together with another job's frame
    done = node.render(task)
    late = {"id": "done", "uuid": f"{bad}.0.1.abcd", "frame": 1, "time": 1, "outputs": []}
    answers = node.say(late, done)
    # Then the frame is taken, and the bad one is told of until it is mended
    assert [a["id"] for a in answers if a.get("uuid") == task["uuid"]] == ["accepted"]
    assert [p.address for p in farm.health.problems()] == [bad]
    (folder / "job.json").write_bytes(request)
    farm.keeper.changed([Change("job", bad)])
    farm.keeper.tick_index()
    assert farm.health.problems() == []


def test_what_no_check_foresaw_stops_only_its_own_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given that one job raises wherever it is read, shown or followed
    farm = world.open()
    node = Node(farm, "n1", world.root)
    bad = farm.submit("anna", {"file": SCENE, "frames": "1"}).id
    node.deliver(node.one())
    until((world.root / "demo/shots/.croft/sh010.blend/jobs" / bad / "result.json").exists)
    world.close()
    farm = world.open()
    node = Node(farm, "n1", world.root)
    real_view, real_read = farm.view, farm.board.read

    def fail(ident: str) -> None:
        if ident == bad:
            raise TypeError("what is this?")

    monkeypatch.setattr(farm._rows, "_view", lambda job: fail(job.id) or real_view(job))
    monkeypatch.setattr(farm.board, "read", lambda place: fail(place.id) or real_read(place))
    after = [{"job": bad, "by": "frame"}]
    well = farm.submit("anna", {"file": SCENE, "frames": "1", "after": after}).id
    with pytest.raises(Busy):
        farm._committer.ask(Op("look", bad))
    # Then the others are rendered and shown, and it is told
    assert node.deliver(node.one())["id"] == "accepted"
    shown = [row["id"] for row in orjson.loads(encoding.dumps(farm.rows(farm.jobs())))]
    assert shown == [well]
    assert [p.address for p in farm.health.problems()] == [bad]


def test_a_job_whose_files_cannot_be_followed_keeps_no_other_from_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    farm = world.open()
    real, met = farm.watching._meet, list[str]()

    def meet(live: Live) -> None:
        met.append(live.id)
        if len(set(met)) == 1:
            raise TypeError("what is this?")
        real(live)

    monkeypatch.setattr(farm.watching, "_meet", meet)
    jobs = {farm.submit("anna", {"file": SCENE, "frames": "1"}).id for _ in range(3)}
    until(lambda: jobs == farm.watching._known.keys())
    assert farm.watching.faults == 1
