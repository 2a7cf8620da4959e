"""Rendered versions: usable from their first frame, approved or rejected, `current`, no more frames."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from farm_kit import SCENE, Node, World, until

from server.disk import paths
from server.disk.errors import BadInput, Conflict, NotFound
from server.farm.farm import Farm
from server.library import versions
from server.library.versions import ways

Submit = Callable[..., str]
PLACE = "demo/shots/render/sh010"


def record(world: World, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((world.root / PLACE / f"{name}.json").read_text())
    return found


def current(world: World) -> str:
    link = world.root / PLACE / "current"
    return os.readlink(link) if link.is_symlink() else ""


def rendered(world: World, node: Node, submit: Submit, count: int) -> None:
    """So many versions of one frame each, all over."""
    for number in range(1, count + 1):
        submit(frames="1")
        node.deliver(node.one())
        until(lambda name=f"v{number:03}": record(world, name).get("state") == "done")
        until(lambda name=f"v{number:03}": current(world) == name)


def test_a_version_is_one_from_its_first_frame(world: World, farm: Farm, node: Node, submit: Submit) -> None:
    job = submit(frames="1-2")
    told = record(world, "v001")
    assert (told["job"], told["approved"]) == (job, False)
    assert told["source_hash"] == farm.job(job).record["source"]["sha256"]
    farm.keeper.tick()
    assert current(world) == ""
    assert node.deliver(node.one())["id"] == "accepted"
    until(lambda: current(world) == "v001")
    assert record(world, "v001")["state"] == "running"
    assert (world.root / PLACE / "current" / "sh010.0001.png").read_bytes() == b"a picture"
    node.deliver(node.one())
    told = until(lambda: (found := record(world, "v001")).get("state") == "done" and found)
    assert told["statistics"]["nodes"] == {"n1": {"done": 2, "seconds": 3.0, "failed": 0, "lost": 0}}


def test_current_leads_to_the_approved_one_else_to_the_newest(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    rendered(world, node, submit, 3)
    farm.judge(SCENE, "v001", "sam", True, comment=" good ")
    told = record(world, "v001")
    assert (told["approved"], told["approved_by"], told["comment"]) == (True, "sam", "good")
    assert told["approved_at"].endswith("Z")
    modes = [(world.root / PLACE / inside).stat().st_mode & 0o7777 for inside in ("", "v001", "v001.json")]
    assert modes == [0o3775, 0o2755, 0o644]  # Croft's own: nobody else changes it, or has its name
    assert (world.root / PLACE / "v001/sh010.0001.png").stat().st_mode & 0o777 == 0o644
    assert current(world) == "v001"
    kept = paths.companion_of(world.root / "demo/shots/sh010.blend") / "jobs" / told["job"]
    for folder in (kept, *kept.parents[:3]):  # so is the scene that it was made from
        assert folder.stat().st_mode & 0o7777 == 0o2755, folder
    farm.judge(SCENE, "v002", "sam", True)
    assert current(world) == "v002"
    assert not record(world, "v001")["approved"]
    # Whose approval another one took is open again, and rendered on if there is more to do
    assert (world.root / PLACE / "v001").stat().st_mode & 0o7777 == 0o3775
    farm.judge(SCENE, "v002", "sam", False)
    assert current(world) == "v003"
    farm.judge(SCENE, "v003", "sam", False, rejected=True, comment="too dark")
    assert (record(world, "v003")["rejected"], record(world, "v003")["comment"]) == (True, "too dark")
    assert current(world) == "v002"
    with pytest.raises(BadInput, match="not both"):
        farm.judge(SCENE, "v003", "sam", True, rejected=True)
    with pytest.raises(NotFound):
        farm.judge(SCENE, "v009", "sam", True)
    with pytest.raises(BadInput):
        farm.judge(SCENE, "v003", "sam", True, comment="x" * 2001)


def test_an_approved_version_takes_no_more_frames(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    job = submit(frames="1-3")
    node.deliver(node.one())
    held = node.one()
    farm.judge(SCENE, "v001", "sam", True)
    view = farm.view(job)
    assert (view["state"], view["counts"]["done"]) == ("cancelled", 1)
    assert "version 1 is approved" in view["why"]
    assert node.ask() == []
    assert node.deliver(held)["id"] == "refused"
    assert sorted(os.listdir(world.root / PLACE / "v001")) == ["sh010.0001.png"]
    for tasks in ("rest", "all", [0]):
        with pytest.raises(Conflict, match="takes no more frames"):
            farm.requeue(job, tasks, "sam")
    until(lambda: record(world, "v001").get("state") == "cancelled")
    assert record(world, "v001")["approved"]
    farm.judge(SCENE, "v001", "sam", False)  # what that had stopped goes on
    assert node.deliver(node.one())["id"] == "accepted"


def test_whoever_approved_it_a_version_takes_no_more_frames(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    """Another server, another site, or a person who edits the record."""
    job = submit(frames="1-3")
    held = node.one()
    path = world.root / PLACE / "v001.json"
    path.write_text(json.dumps({**record(world, "v001"), "approved": True}))
    assert node.deliver(held)["id"] == "refused"
    assert farm.view(job)["state"] == "cancelled"
    submit(frames="1-3")
    path = world.root / PLACE / "v002.json"
    path.write_text(json.dumps({**record(world, "v002"), "approved": True}))
    assert node.ask() == []


def test_what_a_crash_interrupted_while_approving_is_finished_at_the_start(
    world: World, farm: Farm, node: Node, submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered(world, node, submit, 2)
    farm.judge(SCENE, "v001", "sam", True)
    real = (ways.write, ways.point_current)

    def falls_at(wanted: int) -> tuple[Callable[..., None], ...]:
        """The writing of a record and of the link, of which one step is the last that isn't done."""
        steps = iter(range(9))

        def step(do: Callable[..., None], *arguments: Any) -> None:
            if next(steps) == wanted:
                raise KeyboardInterrupt  # as if the power went
            do(*arguments)

        return tuple(partial(step, one) for one in real)

    store = world.farms[0][1]
    for name, steps, stands in (("v002", 0, "v001"), ("v002", 1, "v002"), ("v001", 2, "v001")):
        with monkeypatch.context() as patch:
            write, point = falls_at(steps)
            patch.setattr(versions, "write", write)
            patch.setattr(versions, "point_current", point)
            with pytest.raises(KeyboardInterrupt):
                versions.judge(store, SCENE, name, "sam", True)
        assert len(list((world.root / ".croft-locks").glob("judge-*.json"))) == 1
        versions.settle_all(store)
        assert [one["version"] for one in versions.listed(store, SCENE) if one.get("approved")] == [stands]
        assert current(world) == stands
        assert versions.approved(store, SCENE) == stands
        for one in ("v001", "v002"):
            mode = (world.root / PLACE / one).stat().st_mode & 0o7777
            assert mode == (0o2755 if one == stands else 0o3775), one
        assert not list((world.root / ".croft-locks").glob("judge-*.json"))


def test_v1000_comes_after_v999(world: World, farm: Farm, node: Node, submit: Submit) -> None:
    place = world.root / PLACE
    (place / "v999").mkdir(parents=True)
    (place / "v999.json").write_text('{"state": "done", "approved": false}')
    submit(frames="1")
    node.deliver(node.one())
    until(lambda: current(world) == "v1000")
    store = world.farms[0][1]
    store.refresh(f"data::{PLACE}/v999.json")
    assert store.index.versions(f"data::{PLACE}") == ("v999", "v1000")
    assert [one["version"] for one in versions.listed(store, SCENE)] == ["v1000", "v999"]


def test_a_scene_that_is_brought_back_has_its_simulations(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    """Blender looks for them by the scene's name, and renders wrong without a word where there are none."""
    shots = world.root / "demo/shots"
    (shots / "blendcache_sh010").mkdir()
    (shots / "blendcache_sh010/cloth_000001_00.bphys").write_bytes(b"as it was")
    job = submit(frames="1")
    node.deliver(node.one())
    until(lambda: record(world, "v001").get("state") == "done")
    copy = "data::demo/shots/sh010 (render v001).blend"
    world.path(copy).write_bytes((shots / "sh010.blend").read_bytes())
    assert farm.dress_source(SCENE, "render-v001", copy) == []
    theirs = shots / "blendcache_sh010 (render v001)"
    assert (theirs / "cloth_000001_00.bphys").read_bytes() == b"as it was"
    assert os.stat(theirs / "cloth_000001_00.bphys").st_mode & 0o222  # a person's, who may bake it anew
    shutil.rmtree(theirs)
    (shots / "blendcache_sh010/cloth_000001_00.bphys").write_bytes(b"baked anew")
    farm.job(job).record["inputs"] = {"wood.png": [5, 1]}
    assert farm.dress_source(SCENE, f"render-{job}", copy) == ["wood.png", "blendcache_sh010"]
    assert not theirs.exists()
    assert farm.dress_source(SCENE, "render-v009", copy) == []
