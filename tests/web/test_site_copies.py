"""Conflict copies that a synchronising program left: of sidecars, journals, histories, project files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from house import House

from server.disk.journal import united
from server.library import sites

MARK = ".sync-conflict-20260101-120000-ABCDEFG"


@pytest.fixture
def quick(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """Nobody waits for a history that may be on the way."""
    monkeypatch.setattr(sites, "RETRY_S", 0.05)
    house.croft.services.sites._patience_s = 0.2
    return house


def conflicts(house: House) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = house.browser("admin").get("/api/problems?kind=conflict").data
    return found


def test_a_record_that_no_history_knows(quick: House) -> None:
    # Given the other side's record, edited by hand there: no history tells of it
    address = quick.asset("demo/shots/sh010.blend", description="mine", state="todo")
    place = quick.data / "demo/shots"
    said = json.loads((place / "sh010.blend.json").read_text())
    copy = place / f"sh010.blend{MARK}.json"
    copy.write_text(json.dumps({**said, "description": "theirs"}))
    (place / ".croft/sh010.blend/history.south.jsonl").write_text("")
    # Then it is no missing file, and goes once what it says is known
    quick.until(lambda: not copy.exists())
    [problem] = quick.until(lambda: conflicts(quick))
    assert problem["address"] == address
    assert {action["label"] for action in problem["actions"]} == {"Take mine", "Take theirs"}
    assert list(place.glob(f"old/*/{copy.name}"))
    assert json.loads((place / "sh010.blend.json").read_text())["description"] == "mine"
    # And whoever decides, decides
    [take] = [action for action in problem["actions"] if action["label"] == "Take theirs"]
    reply = quick.browser("student").ask(take["method"], take["path"], take["body"])
    assert reply.status == 200, reply.message
    assert quick.croft.services.assets.one(address)["description"] == "theirs"
    quick.until(lambda: conflicts(quick) == [])
    # Pressed again nothing is changed; Undo brings mine back
    assert quick.browser("student").ask(take["method"], take["path"], take["body"]).status == 409
    undo = reply.data["undo"]
    assert quick.browser("student").ask(undo["method"], undo["path"], undo["body"]).status == 200
    assert quick.croft.services.assets.one(address)["description"] == "mine"


def test_lines_of_both_journals(quick: House) -> None:
    address = quick.scene()
    job = quick.browser("admin").post("/api/jobs", {"file": address, "frames": "1-2"}).data["id"]
    [journal] = quick.data.rglob("journal.jsonl")
    begun = journal.read_bytes()
    line = {"at": "2099-01-01T00:00:00.000Z", "event": "priority", "value": 5, "by": "ben"}
    copy = journal.with_name(f"journal{MARK}.jsonl")
    copy.write_bytes(begun + orjson.dumps(line) + b"\n")
    companion = quick.data / "demo/shots/.croft/sh010.blend"
    (companion / "history.south.jsonl").write_text("")
    quick.until(lambda: not copy.exists())
    assert journal.read_bytes() == begun + orjson.dumps(line) + b"\n"
    quick.until(lambda: quick.browser("admin").get(f"/api/jobs/{job}").data["priority"] == 5)
    # Of its own history, too
    own = companion / "history.test.jsonl"
    lost = b'{"at":"2026-01-01T00:00:00Z","who":"eve","fields":{}}\n'
    (companion / f"history.test{MARK}.jsonl").write_bytes(own.read_bytes() + lost)
    quick.until(lambda: own.read_bytes().endswith(lost))


def test_a_copy_that_comes_before_its_original(quick: House) -> None:
    # A synchronising program renames one first and puts the other in its place afterwards.
    quick.asset("demo/shots/sh010.blend")
    companion = quick.data / "demo/shots/.croft/sh010.blend"
    own = companion / "history.test.jsonl"
    copy = companion / f"history.test{MARK}.jsonl"
    line = b'{"at":"2026-01-01T00:00:00Z","who":"eve","fields":{}}\n'
    copy.write_bytes(line)
    own.rename(companion / "history.kept")
    quick.croft.services.sites._tidy("data::demo/shots/sh010.blend")
    assert copy.exists()
    (companion / "history.kept").rename(own)
    quick.croft.services.sites._tidy("data::demo/shots/sh010.blend")
    assert not copy.exists()
    assert own.read_bytes().endswith(line)


def test_a_project_file(quick: House) -> None:
    quick.make("demo/shots/x.png", b"x")
    copy = quick.data / f"demo/project{MARK}.json"
    copy.write_text('{"title": "theirs"}')
    [problem] = quick.until(lambda: conflicts(quick))
    assert [action["label"] for action in problem["actions"]] == ["Keep project.json as it is"]
    action = problem["actions"][0]
    assert quick.browser("student").ask(action["method"], action["path"], action["body"]).status == 200
    assert not copy.exists()


def test_a_student_decides_no_supervisors_field(quick: House) -> None:
    address = quick.asset("demo/shots/sh010.blend")
    body = {"mend": "decide", "address": address, "field": "protect", "value": "false"}
    assert quick.browser("student").post("/api/problems/mend", body).status == 403
    assert quick.browser("supervisor").post("/api/problems/mend", body).status == 409


def at(n: int, what: str = "") -> bytes:
    return orjson.dumps({"at": f"2026-01-01T00:00:{n:02}Z", "what": what})


def test_lines_come_in_the_order_of_their_times() -> None:
    both = [at(1), at(2)]
    one, other = [*both, at(3), at(6)], [*both, at(4, "b"), at(5, "b")]
    assert united(one, other) == [*both, at(3), at(4, "b"), at(5, "b"), at(6)]
    assert united(one, one) == one
    assert united(one, both) == united(both, one) == one
    assert sorted(united(one, other)) == sorted(united(other, one))
    assert united(united(one, other), other) == united(one, other)
    assert united([], [b"torn"]) == [b"torn"]


def test_files_stay_where_they_are(quick: House) -> None:
    """A conflict copy of a scene becomes no asset, and no sidecar is made for it."""
    address = quick.scene()
    copy = Path(f"demo/shots/sh010{MARK}.blend")
    quick.make(str(copy), b"BLENDER-v304" + b"x" * 200 + b"ENDB" + b"\0" * 20)
    [problem] = quick.until(lambda: conflicts(quick))
    assert problem["address"] == f"data::{copy}"
    quick.croft.services.ingest.wait()
    assert not (quick.data / f"{copy}.json").exists()
    assert quick.croft.services.assets.one(address)["status"] == "ok"


def test_what_is_protected_or_croft_s_own_is_not_put_away(quick: House) -> None:
    # Given a conflict copy of a protected scene, and one of what Croft keeps
    quick.asset("demo/shots/sh010.blend", protect=True)
    copy = quick.data / f"demo/shots/sh010{MARK}.blend"
    quick.make(f"demo/shots/sh010{MARK}.blend", b"BLENDER-v304" + b"x" * 200 + b"ENDB" + b"\0" * 20)
    [problem] = quick.until(lambda: conflicts(quick))
    [mine] = [action for action in problem["actions"] if action["label"].startswith("Keep sh010.blend")]
    own = quick.data / f"demo/shots/.croft/sh010.blend/lost{MARK}.json"  # its original may be on the way
    own.write_text("{}")
    # Then no student puts either away, and no supervisor the latter
    student, supervisor = quick.browser("student"), quick.browser("supervisor")
    assert student.post("/api/problems/mend", mine["body"]).status == 403
    body = {"mend": "keep-mine", "address": f"data::{own.relative_to(quick.data)}"}
    assert student.post("/api/problems/mend", body).status == 400
    assert supervisor.post("/api/problems/mend", body).status == 400
    assert copy.exists()
    assert own.exists()
    assert supervisor.post("/api/problems/mend", mine["body"]).status == 200
    assert not copy.exists()
