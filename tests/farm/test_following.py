"""Jobs that wait: for other jobs, for their frames, for a time, for a limit; and what they say meanwhile."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
from farm_kit import SCENE, Node, World, disagreements, until

from server.disk.errors import BadInput, NotFound
from server.farm.farm import Farm

Submit = Callable[..., str]
TOMORROW = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)


def frames_given(node: Node, job: str, count: int = 10) -> list[int]:
    return [task["frame"] for task in node.ask(count) if task["job"] == job]


def deliver_all(node: Node, most: int = 100) -> list[tuple[str, int]]:
    done = []
    for _ in range(most):
        tasks = node.ask()
        if not tasks:
            break
        assert node.deliver(tasks[0])["id"] == "accepted"
        done.append((tasks[0]["job"], tasks[0]["frame"]))
    return done


def test_a_job_waits_for_all_of_another(farm: Farm, node: Node, submit: Submit) -> None:
    first = submit("1-2", name="sim")
    second = submit("1-2", after=[{"job": first}], priority=5)
    assert [job for job, _ in deliver_all(node)] == [first, first, second, second]


def test_a_job_waits_frame_by_frame(farm: Farm, node: Node, submit: Submit) -> None:
    render = submit("1-4", name="render")
    comp = submit("2-6", after=[{"job": render, "by": "frame"}])
    # Frames 5 and 6 are none of the other's, so nothing is to be waited for
    tasks = {(task["job"], task["frame"]): task for task in node.ask(20)}
    assert {frame for job, frame in tasks if job == comp} == {5, 6}
    node.deliver(tasks[render, 3])
    assert frames_given(node, comp) == [3]
    node.deliver(tasks[render, 1])
    assert frames_given(node, comp) == []
    assert farm.why(comp)["sentence"].startswith("it is being rendered on 1 computer")


def test_a_comp_of_a_done_frame_waits_again_when_it_is_rendered_again(
    farm: Farm, node: Node, submit: Submit
) -> None:
    render = submit("1-3", name="render")
    deliver_all(node)
    comp = submit("1-3", after=[{"job": render, "by": "frame"}])
    farm.requeue(render, [1], "anna")
    tasks = {(task["job"], task["frame"]): task for task in node.ask(20)}
    assert {key for key in tasks if key[0] == comp} == {(comp, 1), (comp, 3)}
    node.deliver(tasks[render, 2])
    assert frames_given(node, comp) == [2]


def test_several_jobs_are_waited_for(farm: Farm, node: Node, submit: Submit) -> None:
    one, two = submit("1-2", name="fg"), submit("1-2", name="bg")
    comp = submit("1-2", after=[{"job": one, "by": "frame"}, {"job": two, "by": "frame"}])
    tasks = {(task["job"], task["frame"]): task for task in node.ask(20)}
    assert not [key for key in tasks if key[0] == comp]
    node.deliver(tasks[one, 1])
    assert frames_given(node, comp) == []
    node.deliver(tasks[two, 1])
    assert frames_given(node, comp) == [1]


def test_a_predecessor_that_failed_or_is_gone_is_named(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    first = submit("1-2", name="sim")
    second = submit("1-2", after=[{"job": first}])
    assert farm.view(second)["why"] == "it waits for sim, of which 0 of 2 are done"
    farm.pause_job(first, "anna")
    assert farm.view(second)["why"] == "it waits for sim, which is paused"
    farm.cancel(first, "anna")
    assert farm.view(second)["why"] == "it waits for sim, which was cancelled"
    assert farm.why(second)["reasons"][0]["kind"] == "after"
    assert node.ask(5) == []
    # Somebody has it done after all
    farm.requeue(first, "rest", "anna")
    assert [job for job, _ in deliver_all(node)] == [first, first, second, second]


def test_a_person_may_have_it_wait_no_more(farm: Farm, node: Node, submit: Submit) -> None:
    first = submit("1-2", paused=True)
    second = submit("1-2", after=[{"job": first}])
    assert node.ask(5) == []
    farm.set_plan(second, {"after": []}, "anna")
    assert sorted(frames_given(node, second)) == [1, 2]
    assert farm.view(second)["after"] == []


def test_what_is_waited_for_is_known_again_after_a_start(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    render = submit("1-3", name="render")
    comp = submit("1-3", after=[{"job": render, "by": "frame"}])
    tasks = {task["frame"]: task for task in node.ask(20)}
    node.deliver(tasks[2])
    farm.cancel(render, "anna")
    until(lambda: farm.board.live[render].finalised)
    world.close()
    again = world.open()
    other = Node(again, "n1", world.root)
    assert frames_given(other, comp) == [2]
    assert again.view(comp)["counts"]["waiting"] == 2
    assert disagreements(again, comp) == []


def test_the_journal_of_one_that_ended_is_not_read_for_each_frame(
    world: World, farm: Farm, node: Node, submit: Submit
) -> None:
    # Given one that was cancelled with a frame done and is known by its sum alone
    ended = submit("1-6", name="fg")
    node.deliver(node.one())
    farm.cancel(ended, "anna")
    until(lambda: farm.board.live[ended].finalised)
    world.close()
    again = world.open()
    node = Node(again, "n1", world.root)
    reads: list[str] = []
    read = again.board.read_ended

    def counted(job: Any) -> Any:
        reads.append(job.id)
        return read(job)

    again.board.read_ended = counted  # type: ignore[method-assign]
    other = str(again.submit("anna", {"file": SCENE, "frames": "1-6", "name": "bg"}).id)
    after = [{"job": ended, "by": "frame"}, {"job": other, "by": "frame"}]
    comp = again.submit("anna", {"file": SCENE, "frames": "1-7", "after": after}).id
    # When the other's frames are done one by one, it is looked into once for all of them
    for task in [task for task in node.ask(20) if task["job"] == other][:5]:
        node.deliver(task)
    assert reads == [ended]
    assert frames_given(node, comp) == [1]
    # And what is done of it after all counts
    again.requeue(ended, "rest", "anna")
    tasks = {(task["job"], task["frame"]): task for task in node.ask(20)}
    node.deliver(tasks[ended, 2])
    assert frames_given(node, comp) == [2]
    assert reads == [ended]


def test_a_job_starts_when_it_may(world: World, submit: Submit, farm: Farm, node: Node) -> None:
    clock = [datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC).timestamp()]
    farm.board.wall = lambda: clock[0]
    job = submit("1-2", start_after="2036-01-01T20:00:00+01:00")
    assert node.ask() == []
    assert farm.view(job)["why"] == "it starts on 2036-01-01 at 19:00, as asked"
    assert farm.view(job)["start_after"] == "2036-01-01T19:00:00Z"
    clock[0] = datetime.datetime(2036, 1, 1, 12, tzinfo=datetime.UTC).timestamp()
    assert farm.view(job)["why"] == "it starts today at 19:00, as asked"
    clock[0] = datetime.datetime(2036, 1, 1, 19, 0, 1, tzinfo=datetime.UTC).timestamp()
    farm.keeper.tick()
    assert len(node.ask(5)) == 2


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("2026-11-22T20:00:00", "it starts today at 20:00, as asked"),
        ("2026-11-22T23:30:00Z", "it starts tomorrow at 00:30, as asked"),
        ("2026-11-24T06:00:00+01:00", "it starts on 2026-11-24 at 06:00, as asked"),
    ],
)
def test_a_start_is_told_in_the_time_zone_of_the_house(world: World, start: str, said: str) -> None:
    world.lay(timezone="Europe/Berlin")
    noon = datetime.datetime(2026, 11, 22, 12, tzinfo=datetime.UTC).timestamp()
    farm = world.open(wall=lambda: noon)
    job = farm.submit("anna", {"file": SCENE, "frames": "1-4", "start_after": start}).id
    assert farm.view(job)["why"] == said


def test_a_person_may_have_it_start_now(farm: Farm, node: Node, submit: Submit) -> None:
    job = submit("1-2", start_after="2035-01-01T00:00:00Z")
    assert node.ask() == []
    farm.set_plan(job, {"start_after": ""}, "anna")
    assert len(node.ask(5)) == 2
    assert farm.view(job)["start_after"] is None


def test_a_jobs_limit_and_its_reason(farm: Farm, node: Node, submit: Submit) -> None:
    job = submit("1-9", nodes_most=2)
    assert len(node.ask(5)) == 2
    said = [reason["text"] for reason in farm.why(job)["reasons"]]
    assert said == ["it is being rendered on 1 computer", "it may have 2 frames out at once, and has them"]
    Node(farm, "n2", node.root).say()
    assert [row["text"] for row in farm.why(job)["nodes"]] == ["renders it: frame 1, 2", "could do it"]
    assert farm.why_node("n2")["sentence"] == (
        "nothing that waits may begin now (sh010: it may have 2 frames out at once, and has them)"
    )
    farm.set_plan(job, {"nodes_most": 4}, "anna")
    assert len(node.ask(5)) == 2
    farm.set_plan(job, {"nodes_most": 0}, "anna")
    assert len(node.ask(9)) == 5


@pytest.mark.parametrize(
    ("limits", "given", "why"),
    [
        ({"projects": {"demo": 3}}, 3, "the project demo may have 3 frames out at once, and has them"),
        ({"users": {"anna": 1}}, 1, "anna may have 1 frame out at once, and has it"),
        ({"users_each": 2}, 2, "anna may have 2 frames out at once, and has them"),
        ({"licences": {"renderman": 3}}, 3, "all 3 licences of renderman are in use"),
        ({"licences": {"renderman": 1}}, 1, "the only licence of renderman is in use"),
        ({"licences": {"maya": 1}, "projects": {"demo": "many"}}, 8, ""),
    ],
)
def test_limits_of_the_house(world: World, limits: dict[str, Any], given: int, why: str) -> None:
    world.lay(limits=limits)
    farm = world.open()
    node = Node(farm, "n1", world.root)
    job = farm.submit("anna", {"file": SCENE, "frames": "1-4", "licences": ["renderman"]}).id
    other = farm.submit("anna", {"file": SCENE, "frames": "1-4", "licences": ["renderman"]}).id
    tasks = node.ask(20)
    assert len(tasks) == given
    said = [reason["text"] for each in (job, other) for reason in farm.why(each)["reasons"]]
    assert (why in said) or not why
    assert [p.text for p in farm.health.problems() if "limits" in p.text] == (
        ["server.json: limits: projects: demo must be a whole number, not 'many'"] if not why else []
    )
    if why:
        node.deliver(tasks[0])
        assert len(node.ask(20)) == 1


def test_limits_may_change_while_it_runs(world: World, farm: Farm, node: Node, submit: Submit) -> None:
    submit("1-9")
    config = world.config / "server.json"
    told = json.loads(config.read_text())
    config.write_text(json.dumps({**told, "limits": {"users_each": 1}}))
    until(lambda: farm.board.settings.get("limits") == {"users_each": 1})
    assert len(node.ask(5)) == 1
    assert node.ask(5) == []


@pytest.mark.parametrize(
    ("limits", "more", "first", "then"),
    [
        ({}, {}, 8, 7),
        ({}, {"nodes_most": 3}, 6, 5),
        ({"users": {"anna": 0}}, {}, 0, 0),
        ({"users_each": 3}, {}, 3, 2),
        ({"projects": {"demo": 5}}, {}, 5, 4),
        ({"licences": {"renderman": 1}}, {"licences": ["renderman"]}, 1, 0),
        ({}, {"paused": True}, 0, 0),
        ({}, {"start_after": TOMORROW.isoformat()}, 0, 0),
    ],
)
def test_what_limits_forbid_wakes_no_computer(
    world: World, limits: dict[str, Any], more: dict[str, Any], first: int, then: int
) -> None:
    world.lay(limits=limits)
    farm = world.open()
    node = Node(farm, "n1", world.root)
    for _ in range(2):
        farm.submit("anna", {"file": SCENE, "frames": "1-4", **more})
    assert sum(count for _, count in farm.board.waiting()) == first
    node.ask()
    assert sum(count for _, count in farm.board.waiting()) == then


def test_what_nobody_can_do_uses_up_no_limit_of_other_work(world: World) -> None:
    world.lay(limits={"users_each": 2})
    farm = world.open()
    farm.submit("anna", {"file": SCENE, "frames": "1-4", "groups": ["moon"], "priority": 5})
    farm.submit("anna", {"file": SCENE, "frames": "1-4"})
    assert [count for _, count in farm.board.waiting()] == [2, 2]


def test_a_limit_that_is_lifted_counts_though_nobody_asks(world: World) -> None:
    world.lay(limits={"users_each": 0, "users": {"anna": 0}})
    farm = world.open()
    farm.submit("anna", {"file": SCENE, "frames": "1-4"})
    assert list(farm.board.waiting()) == []
    farm._settings.change(limits={})
    assert [count for _, count in farm.board.waiting()] == [4]


def test_groups(world: World, farm: Farm, node: Node, submit: Submit) -> None:
    job = submit("1-2", groups=["fast"])
    assert node.ask(5) == []
    assert farm.view(job)["why"] == "no computer can do it: it is not in the group fast"
    farm.machines.change("n1", {"groups": ["fast", "lab"]}, "admin")
    assert len(node.ask(5)) == 2


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("after", [{"job": "no-such"}], "which there is not"),
        ("after", "x", "after is a list"),
        ("after", [{"job": 5}], "names a job"),
        ("after", [{"job": "x", "by": "night"}], "by must be one of all, frame"),
        ("start_after", "tomorrow", "start_after is a time"),
        ("start_after", "9999-12-31T23:59:59-23:00", "start_after"),
        ("start_after", 5, "start_after is a time"),
        ("nodes_most", -1, "nodes_most must be"),
        ("nodes_most", True, "nodes_most must be"),
        ("licences", ["a" * 100], "licences: a name"),
        ("groups", "fast", "groups is a list"),
        ("order", "random", "order must be one of"),
    ],
)
def test_what_can_not_be_meant_is_refused(submit: Submit, key: str, value: object, said: str) -> None:
    with pytest.raises((BadInput, NotFound), match=said):
        submit("1-2", **{key: value})


def test_a_start_that_is_over_is_no_wait(farm: Farm, node: Node, submit: Submit) -> None:
    job = submit("1-2", start_after="2020-01-01T00:00:00Z")
    assert farm.view(job)["start_after"] is None
    assert len(node.ask(5)) == 2
