"""Job folders that a person, a restore or somebody with bad intentions has put on the share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from farm_kit import SCENE, Node, World, until

from server.disk.errors import DiskError
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
    assert [p.address for p in farm.problems()] == [JOB]
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
