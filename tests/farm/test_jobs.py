"""Jobs over time: kept as sums, moved with their files, in whose order; what is told, and previews."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from farm_kit import SCENE, Node, World, disagreements, events_of, until

from server.disk import encoding
from server.disk.errors import Conflict, NotFound
from server.disk.records import Change
from server.farm.committer.live import Ended, Live
from server.farm.farm import Farm
from server.farm.jobs import record as records

Submit = Callable[..., str]


def render_all(node: Node) -> None:
    while tasks := node.ask(5):
        for task in tasks:
            node.deliver(task)


def test_a_finished_job_is_known_by_its_sum_and_read_again_when_asked(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    job_id = submit("1-4")
    render_all(node)
    folder = world.root / "demo/shots/.croft/sh010.blend/jobs" / job_id
    until(lambda: records.result_matches(folder))
    before = farm.view(job_id)
    world.close()
    again = world.open()
    assert isinstance(again.job(job_id), Ended)
    after = again.view(job_id)
    for stage in before["stages"]:  # how far each is, only its tasks tell
        assert stage.pop("counts")["waiting"] in (0, 1)
        stage.pop("why")
    assert {k: after[k] for k in before if k in after} == before
    tasks, total = again.tasks(job_id, state="done")
    assert (total, tasks[3]["node"], tasks[3]["seconds"]) == (4, "n1", 1.5)
    assert isinstance(again.job(job_id), Live)
    again.requeue(job_id, [1], "anna")
    node = Node(again, "n1", world.root)
    task = node.one()
    assert world.path(task["file"]).is_file()  # its snapshot is back beside the scene
    assert node.deliver(task)["id"] == "accepted"
    assert again.view(job_id)["state"] == "done"
    assert disagreements(again, job_id) == []


def test_a_sum_that_is_not_its_journal_s_is_ignored(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    job_id = submit("1-2")
    render_all(node)
    folder = world.root / "demo/shots/.croft/sh010.blend/jobs" / job_id
    until(lambda: records.result_matches(folder))
    world.close()
    lines = (folder / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "journal.jsonl").write_bytes(b"".join(lines[:2]))
    assert records.read_result(folder) is None
    again = world.open()
    assert again.view(job_id)["state"] in ("waiting", "running")


@pytest.mark.parametrize(
    "wrong",
    [
        *({"changed": 5}, {"changed": [5]}, {"state": []}, {"state": {}}, {"seconds": "x"}, {"seconds": [1]}),
        *({"frames_done": "x"}, {"nodes": 5}, {"nodes": {"n1": 5}}, {"changes": [5]}),
    ],
    ids=str,
)
def test_a_sum_that_makes_no_sense_is_made_anew_from_the_journal(
    world: World, farm: Farm, node: Node, submit: Submit, wrong: dict[str, object]
) -> None:
    job_id = submit("1")
    render_all(node)
    folder = world.root / "demo/shots/.croft/sh010.blend/jobs" / job_id
    until(lambda: records.result_matches(folder))
    world.close()
    told = orjson.loads((folder / "result.json").read_bytes())
    (folder / "result.json").write_bytes(orjson.dumps({**told, **wrong}))
    again = world.open()
    rows = orjson.loads(encoding.dumps(again.rows(again.jobs())))
    assert [(row["id"], row["state"]) for row in rows] == [(job_id, "done")]
    assert again.renders(SCENE, [1, 2])
    assert again.health.problems() == []


def test_jobs_go_by_priority_then_age(world: World, farm: Farm, node: Node, submit: Submit) -> None:
    first, second = submit("1-2"), submit("1-2", priority=5)
    assert node.one()["job"] == second
    farm.set_priority(first, 5, "anna")
    farm.set_priority(second, 1, "anna")
    assert node.one()["job"] == first
    assert farm.view(second)["priority"] == 1
    assert [job.id for job in farm.jobs()] == [second, first]  # newest first
    assert farm.jobs(state="done") == []
    assert len(farm.jobs(project="demo", user="anna", file=SCENE)) == 2


def test_jobs_of_one_second_go_in_the_order_they_came(farm: Farm, node: Node, submit: Submit) -> None:
    ids = [submit("1") for _ in range(6)]
    assert [node.one()["job"] for _ in ids] == ids


def test_spread_shows_the_ends_first(farm: Farm, node: Node, submit: Submit) -> None:
    submit("1-9", order="spread")
    assert [task["frame"] for task in node.ask(9)][:3] == [1, 9, 5]


def test_a_job_goes_on_when_its_file_or_its_folder_is_moved(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    job_id = submit("1-3")
    node.deliver(node.one())
    os.rename(world.root / "demo/shots", world.root / "demo/moved")
    store = world.farms[0][1]
    store.rescan()
    until(lambda: farm.keeper.tick() or farm.jobs()[0].address == "data::demo/moved/sh010.blend")
    task = node.one()
    assert task["commands"][0]["folder"] == "data::demo/moved/render/sh010/v001"
    assert node.deliver(task)["id"] == "accepted"
    store.move("data::demo/moved/sh010.blend", "data::demo/elsewhere.blend", "anna")
    until(lambda: farm.keeper.tick() or farm.jobs()[0].address == "data::demo/elsewhere.blend")
    until(lambda: farm.view(job_id)["counts"]["done"] == 2)
    assert [job.id for job in farm.jobs()] == [job_id]


def test_the_snapshot_finds_the_scene_s_caches(world: World, farm: Farm, submit: Submit) -> None:
    caches = world.root / "demo/shots/blendcache_sh010"
    caches.mkdir()
    (caches / "particles_000001.bphys").write_bytes(b"x")
    job_id = submit("1")
    link = world.root / f"demo/shots/blendcache_.sh010.{job_id}"
    assert (link / "particles_000001.bphys").read_bytes() == b"x"
    farm.cancel(job_id, "anna")
    until(lambda: not link.is_symlink())
    assert (caches / "particles_000001.bphys").exists()


def test_a_saved_scene_does_not_change_what_is_rendered(world: World, farm: Farm, submit: Submit) -> None:
    before = world.path(SCENE).read_bytes()
    job_id = submit("1")
    world.path(SCENE).write_bytes(b"BLENDER-v304 something else ENDB")
    assert (world.root / f"demo/shots/.sh010.{job_id}.blend").read_bytes() == before


def test_a_snapshot_that_is_gone_pauses_its_job(world: World, farm: Farm, node: Node, submit: Submit) -> None:
    job_id = submit("1-2")
    task = node.one()
    (world.root / f"demo/shots/.sh010.{job_id}.blend").unlink()
    node.fail(task, reason="missing file")
    assert node.ask() == []
    assert farm.view(job_id)["why"] == "its snapshot is gone: submit the scene again"


def test_a_version_folder_that_was_deleted_is_made_again(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    job_id = submit("1-2")
    task = node.one()
    folder = world.path(farm.view(job_id)["folder"])
    folder.rmdir()
    node.fail(task, reason="missing file")
    assert node.deliver(node.one())["id"] == "accepted"
    assert (folder / "sh010.0001.png").exists()


def test_news_are_told_and_previews_put_where_thumbnails_are(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    told: list[Change] = []
    end = farm.subscribe(told.extend)
    job_id = submit("1")
    done = node.render(node.one())
    name = "sh010.0001.exr"
    folder = world.path(farm.view(job_id)["folder"])
    outputs: list[dict[str, Any]] = []
    for path, kind in ((name, "frame"), (name + ".png", "preview")):
        temp = f".{done['uuid']}.{path}"
        (folder / temp).write_bytes(b"pixels")
        outputs.append({"name": path, "path": path, "temp": temp, "size": 6, "kind": kind})
    assert node.answer_to({**done, "outputs": outputs})["id"] == "accepted"
    assert (folder / ".croft" / name / "thumbs/node.png").read_bytes() == b"pixels"
    assert not (folder / (name + ".png")).exists()
    frame = f"data::demo/shots/render/sh010/v001/{name}"
    until(lambda: Change("frame", frame) in told and Change("job", job_id) in told)
    assert farm.task(job_id, 0)["image"] == frame
    end()
    until(lambda: len(list(folder.glob(".2*"))) == 0)  # what the node wrote besides is swept up


def test_of_frames_that_pour_in_the_newest_is_told_each_second(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    # Or else the thumbnails of all of them would be drawn by the processors that render.
    told: list[Change] = []
    farm.subscribe(told.extend)
    submit("1-6")

    def frames() -> list[str]:
        return [change.id.rpartition(".")[0][-4:] for change in told if change.kind == "frame"]

    node.deliver(node.one())
    until(lambda: frames() == ["0001"])
    for _ in range(4):
        node.deliver(node.one())
    farm.keeper.tick()
    assert frames() == ["0001"]
    world.clock.now += 1.0
    until(lambda: frames() == ["0001", "0005"])


def test_what_is_not_there_is_said_to_be_so(farm: Farm, node: Node, submit: Submit) -> None:
    job_id = submit("1-2")
    for wrong in ("nope", "20261121-000000-abcdef", "../x", ""):
        with pytest.raises(NotFound):
            farm.job(wrong)
        with pytest.raises(NotFound):
            farm.cancel(wrong, "anna")
    for call in (farm.task, farm.log):
        with pytest.raises(NotFound):
            call(job_id, 3)
    with pytest.raises(NotFound, match="no log"):
        farm.log(job_id, 0)
    with pytest.raises(NotFound, match="tasks 0 to 2"):
        farm.requeue(job_id, [7], "anna")
    with pytest.raises(NotFound):
        farm.machines.one("nobody")
    render_all(node)
    with pytest.raises(Conflict, match="done already"):
        farm.resume_job(job_id, "anna")
    with pytest.raises(Conflict, match="done already"):
        farm.cancel(job_id, "anna")


def test_a_waiting_job_says_what_it_waits_for(world: World, farm: Farm, submit: Submit) -> None:
    job_id = submit("1-2", requires=["gpu"])
    assert farm.view(job_id)["why"] == "no computer is on"
    node = Node(farm, "n1", world.root)
    node.say()
    assert farm.view(job_id)["why"] == "no computer here has gpu"
    first = submit("1-2", priority=5)
    second = submit("1-2", priority=3)
    assert farm.view(first)["why"] == "a computer will take it in a moment"
    assert farm.view(second)["why"] == "anna's sh010 is before it"
    paused = submit("1", paused=True)
    assert farm.view(paused)["why"] == "paused by anna"
    assert len(events_of(world, paused)) == 1


def test_two_holders_of_one_uuid_wait_until_it_is_clear_whose_job_it_is(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    store = world.farms[0][1]
    store.edit(SCENE, {"uuid": "11111111-1111-4111-8111-111111111111"}, who="anna")
    job_id = submit("1-2")
    copy = world.root / "demo/copy.blend"
    copy.write_bytes(world.path(SCENE).read_bytes())
    copy.with_name("copy.blend.json").write_bytes((world.path(SCENE + ".json")).read_bytes())
    store.rescan()
    assert node.ask() == []
    assert "copied or moved" in farm.view(job_id)["why"]
    copy.unlink()
    copy.with_name("copy.blend.json").unlink()
    store.rescan()
    world.clock.now += 5
    until(lambda: farm.keeper.tick() or node.ask())


def test_linked_files_that_change_meanwhile_are_reported(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    # Given a scene that links a texture and a library, one of them beside it, one in another folder
    (world.root / "demo/props").mkdir()
    (world.root / "demo/props/tree.blend").write_bytes(b"a tree")
    (world.root / "demo/shots/wood.png").write_bytes(b"wood")
    companion = world.root / "demo/shots/.croft/sh010.blend"
    companion.mkdir(parents=True)
    linked = {
        "libraries": ["//../props/tree.blend", "/etc/passwd", "//gone.blend"],
        "textures": ["//wood.png"],
    }
    (companion / "file.json").write_bytes(orjson.dumps({"facts": linked}))
    # When one changes while the job runs
    job_id = submit("1")
    assert sorted(farm.job(job_id).record["inputs"]) == ["../props/tree.blend", "wood.png"]
    (world.root / "demo/shots/wood.png").write_bytes(b"other wood")
    render_all(node)
    # Then it is told, now and after a restart
    told = "a file that it links was changed while it was rendered: wood.png"
    until(lambda: farm.view(job_id)["changed"] == ["wood.png"])
    assert farm.view(job_id)["why"] == told
    until(lambda: records.result_matches(companion / "jobs" / job_id))
    world.close()
    assert world.open().view(job_id)["why"] == told
