"""Putting renders away that nobody needs: what stays, what comes back, what is freed for good."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from house import QUICK
from test_home_pages import Studio

from server.disk import check, deletions, purge
from server.disk.errors import NotFound
from server.disk.locks import Locks
from server.disk.paths import Share
from server.web.app import build

SHOT = "data::demo/shots/sh010.blend"
API = f"/api/assets/{SHOT}"
PLACE = "demo/shots/render/sh010"
DAY = 86_400.0


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    config, data = tmp_path / "config", tmp_path / "data"
    config.mkdir()
    (config / "server.json").write_text(json.dumps({**json.loads(QUICK), "prune": {"keep_newest": 1}}))
    croft = build(config, data)
    made = Studio(croft, config, data)
    made.make("demo/project.json", b"{}")
    made.asset("demo/shots/sh010.blend", type="shot", render=True)
    yield made
    croft.close()


def lay(studio: Studio, number: int, days: float = 100.0, **more: Any) -> None:
    """A version as one would come from a backup."""
    place = studio.data / PLACE
    folder = place / f"v{number:03}"
    folder.mkdir(parents=True)
    (folder / "sh010.0001.png").write_bytes(b"x" * 100)
    (place / f"v{number:03}.mp4").write_bytes(b"film")
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - days * DAY))
    said = {"version": f"v{number:03}", "created": at, "state": "done", "approved": False, **more}
    (place / f"v{number:03}.json").write_text(json.dumps(said))
    studio.croft.services.store.refresh(f"data::{PLACE}/v{number:03}.json")


def goes(studio: Studio, **body: Any) -> list[str]:
    reply = studio.browser("admin").post("/api/prune", body)
    assert reply.status == 200, reply.message
    return [row["version"] for row in reply.data["rows"]]


def test_what_goes_is_shown_then_put_away_and_comes_back(studio: Studio) -> None:
    for number in range(1, 6):
        lay(studio, number, approved=number == 2)
    before = sorted(os.listdir(studio.data / PLACE))
    assert goes(studio) == ["v004", "v003", "v001"]
    assert sorted(os.listdir(studio.data / PLACE)) == before
    assert studio.browser("supervisor").post("/api/prune", {"yes": True}).status == 403
    assert goes(studio, yes=True, project="demo") == ["v004", "v003", "v001"]
    left = sorted(name for name in os.listdir(studio.data / PLACE) if name != "old")
    assert left == ["current", "v002", "v002.json", "v002.mp4", "v005", "v005.json", "v005.mp4"]
    assert os.readlink(studio.data / PLACE / "current") == "v002"
    store = studio.croft.services.store
    assert store.index.versions(f"data::{PLACE}") == ("v002", "v005")
    assert goes(studio, yes=True) == []
    assert [p for p in check.check(store.shares) if p.kind not in check.NOTES] == []
    deleted = studio.browser("student").get("/api/deleted?project=demo").data
    there = {row["address"]: row["folder"] for row in deleted}
    assert f"data::{PLACE}/v003" in there
    assert b"sh010 v003" in studio.browser("student").get("/p/demo/deleted").body  # says of what
    back = studio.browser("student").post("/api/restore", {"folder": there[f"data::{PLACE}/v003"]})
    assert back.status == 200, back.message
    assert store.index.versions(f"data::{PLACE}") == ("v002", "v003", "v005")
    assert (studio.data / PLACE / "v003.mp4").read_bytes() == b"film"
    assert studio.browser("admin").post("/api/prune", {"project": "nowhere"}).status == 404


def test_what_is_used_stays(studio: Studio) -> None:
    for number in range(1, 8):
        lay(studio, number)
    services = studio.croft.services
    # A composite loads one, people say of another that a shot waits for it, a note is about a third.
    comp = studio.asset(
        "demo/shots/comp.blend", type="shot", dependencies=["render/sh010/v002/sh010.0001.png"]
    )
    facts = studio.data / "demo/shots/.croft/comp.blend/file.json"
    uses = [{"kind": "image", "path": "//render/sh010/v001/sh010.0001.png"}]
    facts.write_text(json.dumps({**json.loads(facts.read_text()), "facts": {"uses": uses}}))
    services.store.refresh("data::demo/shots/.croft/comp.blend/file.json")
    studio.until(lambda: services.dependencies.used_by(f"data::{PLACE}/v001/sh010.0001.png") == [comp])
    note = {"text": "too dark", "version": "v003", "todo": "*"}
    assert studio.browser("student").post(f"{API}/notes", note).status == 201
    services.notes.wait()
    # Another was published where it lies.
    folder = studio.data / "demo/shots/.croft/sh010.blend/versions/v001"
    folder.mkdir(parents=True)
    said = {"version": "v001", "at": "2026-11-20T10:00:00Z", "name": "sh010.blend", "in_place": True,
            "sequence": "render/sh010/v004/sh010.@.png"}  # fmt: skip
    (folder / "version.json").write_text(json.dumps(said))
    # Of another a composite was made, which now loads what `current` leads to.
    folder = studio.data / "demo/shots/.croft/comp.blend/versions/v001"
    folder.mkdir(parents=True)
    pin = {"path": f"data::{PLACE}/current/sh010.@.png", "kind": "image", "version": "render-v005"}
    said = {"version": "v001", "name": "comp.blend", "dependencies": [pin, "odd", {"path": 3}]}
    (folder / "version.json").write_text(json.dumps(said))
    reply = studio.browser("admin").post("/api/prune", {})
    why = {row["version"]: row["why"] for row in reply.data["kept"]}
    assert [row["version"] for row in reply.data["rows"]] == ["v006"], why
    assert why["v001"] == "used by comp.blend"
    assert why["v002"] == "used by comp.blend"
    assert why["v003"] == "a note is about it"
    assert why["v004"] == "published as v001"
    assert why["v005"] == "used by v001 of comp.blend"


def test_what_is_rendered_or_waited_for_stays(studio: Studio) -> None:
    first = studio.render("sh010", "1", 1)
    going = studio.render("sh010", "1-2", 1)
    for _ in range(2):
        studio.render("sh010", "1", 1)
    body = {"file": SHOT, "frames": "1", "type": "test-pattern", "after": [{"job": first}], "paused": True}
    assert studio.browser("student").post("/api/jobs", body).status == 201
    later = studio.croft.services.pruning
    later._wall = lambda: time.time() + 50 * DAY
    rows = {row.version: row for row in later.plan()}
    assert [name for name, row in rows.items() if row.goes] == ["v003", "v002"]
    assert str(rows["v001"].why) == "a render of sh010 needs it"
    assert studio.croft.services.farm.job(going).state == "cancelled"  # by what came after it


def test_a_files_page_is_there_though_its_render_lost_its_record(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(job: str) -> None:
        raise NotFound("There is no job in {folder}.", folder=job)

    job = studio.render("sh010", "1", 1)
    monkeypatch.setattr(studio.croft.services.farm, "film", lost)
    assert studio.browser("student").get(f"/p/demo/job/{job}").status == 404
    studio.text("student", "/p/demo/asset/shots/sh010.blend")


def test_what_is_approved_meanwhile_stays(studio: Studio) -> None:
    for number in (1, 2):
        lay(studio, number)
    services = studio.croft.services
    row = next(row for row in services.pruning.plan() if row.goes)
    services.farm.judge(SHOT, "v001", "sam", True)
    assert services.pruning.put_away(row, "admin") == ""
    assert (studio.data / PLACE / "v001/sh010.0001.png").exists()


def test_a_fall_while_it_is_put_away_leaves_no_half_version(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        lay(studio, number)
    services = studio.croft.services
    row = next(row for row in services.pruning.plan() if row.goes)
    real, moved = deletions._move, []

    def fall(*arguments: Any) -> None:
        if moved:
            raise KeyboardInterrupt  # as if the power went
        moved.append(arguments)
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(deletions, "_move", fall)
        with pytest.raises(KeyboardInterrupt):
            services.pruning.put_away(row, "admin")
    studio.croft.close()
    studio.croft = build(studio.config, studio.data)  # a start finishes it
    assert sorted(name for name in os.listdir(studio.data / PLACE) if name.startswith("v001")) == []
    shares = studio.croft.services.store.shares
    assert [p for p in check.check(shares) if p.kind not in check.NOTES] == []


def test_a_purge_frees_what_is_old_and_nothing_else(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in (1, 2):
        lay(studio, number)
    assert goes(studio, yes=True) == ["v001"]
    lamp = studio.make("demo/props/lamp.blend")
    student = studio.browser("student")
    kept = student.post(f"/api/assets/{lamp}/checkpoint", {}).data["id"]
    assert student.ask("DELETE", f"/api/assets/{lamp}").status == 200
    share = Share("data", studio.data)
    locks = Locks(studio.data, "a test")
    assert list(purge.find(share, DAY, time.time())) == []
    now = time.time() + 31 * DAY
    found = list(purge.find(share, 30 * DAY, now))
    assert [(old.inside, old.what) for old in found] == [
        ("demo/props/lamp.blend", "delete"), (f"{PLACE}/v001", "delete"),
    ]  # fmt: skip
    assert found[1].bytes > 100
    assert [old.is_save for old in purge.find(share, 30 * DAY, now, saves=True)].count(True) == 1
    with monkeypatch.context() as patch:
        patch.setattr(purge, "_delete", lambda folder: None)  # it falls once the folder is out of sight
        assert purge.purge(share, locks, found[0])
    assert purge.sweep(share) == 1
    assert purge.purge(share, locks, found[1])
    assert not purge.purge(share, locks, found[1])
    assert not (studio.data / PLACE / "old").exists()
    assert os.listdir(studio.data / "demo/props/old") == [kept]
    assert student.get("/api/deleted?project=demo").data == []
    assert (studio.data / PLACE / "v002/sh010.0001.png").exists()
    for text, seconds in (("30d", 30 * DAY), ("12h", DAY / 2)):
        assert purge.seconds_of(text) == seconds
    for text in ("", "30", "d", "-3d", "3m", "²d"):
        with pytest.raises(purge.BadInput):
            purge.seconds_of(text)
