"""Libraries, textures and caches that a render is made from: hashed with the job, watched while it runs."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest
from farm_kit import SCENE, Node, World, events_of, until
from test_checks import know

from server.disk import checkpoints
from server.disk.records import Change
from server.farm.farm import Farm
from server.library.dependencies import Use

HERO = "data::demo/props/hero.blend"


def uses(address: str) -> list[tuple[Use, str]]:
    def use(raw: str, kind: str, inside: str, scene: str = SCENE) -> tuple[Use, str]:
        return Use(raw, kind, f"data::demo/{inside}", "ok"), scene

    return [
        use("//../props/hero.blend", "library", "props/hero.blend"),
        use("//wood.png", "image", "tex/wood.png", HERO),
        use("//skin.<UDIM>.png", "image", "tex/skin.1001.png", HERO),
        use("//../cache/smoke", "cache", "cache/smoke"),
    ]


@pytest.fixture
def demo(world: World) -> Path:
    demo = world.root / "demo"
    for name in ("props", "tex", "cache/smoke/data", "props/blendcache_hero"):
        (demo / name).mkdir(parents=True)
    (demo / "props/hero.blend").write_bytes(b"BLENDER-v304 a hero ENDB")
    for name in ("wood.png", "skin.1001.png", "skin.1002.png", "skin.old.png"):
        (demo / "tex" / name).write_bytes(name.encode())
    (demo / "cache/smoke/data/f_0001.vdb").write_bytes(b"smoke")
    (demo / "props/blendcache_hero/1_000001_00.bphys").write_bytes(b"hair")
    know(world.path(SCENE))
    return demo


@pytest.fixture
def farm(world: World, demo: Path) -> Farm:
    return world.open(uses=uses)


def settled(farm: Farm) -> None:
    until(lambda: not farm.board.live.keys() - farm.watching._known.keys() and farm.watching.idle())


def test_every_file_that_is_rendered_from_is_hashed_with_the_job(
    world: World, demo: Path, farm: Farm
) -> None:
    # Given a library that was read in this state already, and one texture that wasn't read by anybody
    hero = demo / "props/hero.blend"
    st = hero.stat()
    folder = demo / "props/.croft/hero.blend"
    folder.mkdir(parents=True)
    record = {"size": st.st_size, "mtime_ns": st.st_mtime_ns, "hash": checkpoints.digest(hero)}
    (folder / "file.json").write_bytes(orjson.dumps(record))
    job = farm.submit("anna", {"file": SCENE})
    told = job.record["inputs"]
    assert sorted(told) == [
        "../cache/smoke", "../props/blendcache_hero", "../props/hero.blend",
        "../tex/skin.1001.png", "../tex/skin.1002.png", "../tex/wood.png",
    ]  # fmt: skip
    assert told["../props/hero.blend"] == [st.st_size, st.st_mtime_ns, record["hash"]]
    assert len(told["../tex/wood.png"]) == 2
    # Then the others' hashes follow without anybody waiting for them
    settled(farm)
    rows = {row["name"]: row for row in farm.inputs(job.id)}
    assert rows["../tex/wood.png"]["hash"] == checkpoints.digest(demo / "tex/wood.png")
    assert rows["../tex/wood.png"]["address"] == "data::demo/tex/wood.png"
    assert rows["../props/hero.blend"]["hash"] == record["hash"]
    assert rows["../cache/smoke"]["hash"] is None  # a folder: known by its files' sizes and times
    assert {row["state"] for row in rows.values()} == {"same"}
    # And after a restart nothing is read again
    world.close()
    again = world.open(uses=uses)
    settled(again)
    assert {row["name"]: row for row in again.inputs(job.id)} == rows
    assert again.watching._hashes == {}


def test_a_file_that_changes_mid_job_is_told_while_it_runs(world: World, demo: Path, farm: Farm) -> None:
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-6", "order": "linear"}).id
    settled(farm)
    node = Node(farm, "n1", world.root)
    for _ in range(3):
        node.deliver(node.one())
    running = node.one()
    (demo / "tex/wood.png").write_bytes(b"other wood")
    farm.watching.changed([Change("asset", "data::demo/tex/wood.png")])
    until(lambda: farm.view(job_id)["changes"])
    (change,) = farm.view(job_id)["changes"]
    assert (change["file"], change["what"], change["done"], change["before"]) == (
        "../tex/wood.png", "changed", 3, "1-3",
    )  # fmt: skip
    assert change["sentence"] == (
        "wood.png was changed while this is rendered: the frames 1-3 had it as it was, the others don't."
    )
    assert farm.view(job_id)["changed"] == ["../tex/wood.png"]
    # Nobody tells of what the index doesn't list: it is looked at while the job is rendered
    node.deliver(running)
    running = node.one()
    (demo / "props/blendcache_hero/1_000002_00.bphys").write_bytes(b"more hair")
    os.unlink(demo / "tex/skin.1002.png")
    world.clock.now += 20
    until(lambda: len(farm.view(job_id)["changes"]) == 3)
    found = {change["file"]: (change["what"], change["before"]) for change in farm.view(job_id)["changes"]}
    assert found["../props/blendcache_hero"] == ("changed", "1-4")
    assert found["../tex/skin.1002.png"] == ("gone", "1-4")
    states = {row["name"]: row["state"] for row in farm.inputs(job_id)}
    assert (states["../tex/skin.1002.png"], states["../props/hero.blend"]) == ("gone", "same")
    # Each once, also by a server that starts anew; and the sum keeps them
    world.clock.now += 20
    world.close()
    again = world.open(uses=uses)
    settled(again)
    node = Node(again, "n1", world.root)
    node.deliver(running)
    while tasks := node.ask():
        world.clock.now += 20
        node.deliver(tasks[0])
    until(lambda: again.board.live[job_id].finalised)
    assert len([event for event in events_of(world, job_id) if event["event"] == "input"]) == 3
    assert again.view(job_id)["why"].startswith("3 files that it links were changed while it was rendered")
    until((again.board.live[job_id].place.folder / "result.json").exists)
    world.close()
    last = world.open(uses=uses)
    assert [change["file"] for change in last.view(job_id)["changes"]] == list(found)


def test_changed_before_anything_was_rendered(world: World, demo: Path, farm: Farm) -> None:
    job_id = farm.submit("anna", {"file": SCENE, "frames": "1-6"}).id
    settled(farm)
    (demo / "props/hero.blend").write_bytes(b"BLENDER-v304 another hero ENDB")
    farm.watching.changed([Change("asset", HERO)])
    until(lambda: farm.view(job_id)["changes"])
    assert farm.view(job_id)["changes"][0]["sentence"] == (
        "hero.blend was changed after this was submitted, before its first frame was done."
    )


def test_submitting_waits_for_no_hash(
    world: World, demo: Path, farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = checkpoints.digest

    def digest(path: Path) -> str:
        read.append(path.name)
        return real(path)

    monkeypatch.setattr(checkpoints, "digest", digest)
    farm.watching._condition.acquire()  # the thread is held up
    try:
        job = farm.submit("anna", {"file": SCENE})
        assert read == []
        node = Node(farm, "n1", world.root)
        assert node.deliver(node.one())["id"] == "accepted"
        assert {row["hash"] for row in farm.inputs(job.id)} == {None}
    finally:
        farm.watching._condition.release()
    settled(farm)
    second = farm.submit("anna", {"file": SCENE})
    settled(farm)
    assert sorted(read) == ["hero.blend", "skin.1001.png", "skin.1002.png", "wood.png"]
    assert all(row["hash"] for row in farm.inputs(second.id) if row["name"].endswith("png"))
