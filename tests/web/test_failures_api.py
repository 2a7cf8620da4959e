"""Frames again, frames left out, computers forgiven: over the API, by whom it may be."""

from __future__ import annotations

from typing import Any

from house import Browser, House
from talker import Node, submit


def fail(node: Node, log: str = "Segmentation fault") -> dict[str, Any]:
    task = node.claim()
    assert task, "there was nothing to fail at"
    node.say({"id": "failed", "uuid": task["uuid"], "frame": task["frame"], "reason": "crash", "log": log})
    return task


def failed_job(house: House) -> tuple[Browser, str, Node]:
    """A job of three frames of which the first failed for good on the only computer."""
    student, node = house.browser("student"), Node(house)
    ident = submit(student, house.scene(), retries=1).data["id"]
    fail(node)
    for _ in range(2):
        node.finish(node.claim())
    assert student.get(f"/api/jobs/{ident}").data["state"] == "failed"
    return student, ident, node


def test_a_failure_is_told_with_frame_computer_file_and_one_thing_to_do(house: House) -> None:
    student, ident, _ = failed_job(house)
    task = student.get(f"/api/jobs/{ident}/tasks/0").data
    name = student.get(f"/api/jobs/{ident}").data["file"].rpartition("/")[2]
    assert task["sentence"] == f"Frame 1 of {name} failed on n1: Segmentation fault."
    assert task["to_do"].startswith("Try the frame again")
    assert [(f["node"], f["reason"], f["counts"]) for f in task["failures"]] == [("n1", "crash", True)]


def test_failed_frames_again(house: House) -> None:
    student, ident, node = failed_job(house)
    again = student.post(f"/api/jobs/{ident}/requeue", {"tasks": "failed"})
    assert (again.status, again.data["state"], again.data["counts"]["waiting"]) == (200, "waiting", 1)
    node.finish(node.claim())
    assert student.get(f"/api/jobs/{ident}").data["state"] == "done"
    # Then two of the done ones, then all.
    assert student.post(f"/api/jobs/{ident}/requeue", {"tasks": [1, 2]}).data["counts"]["waiting"] == 2
    assert student.post(f"/api/jobs/{ident}/requeue", {"tasks": "all"}).data["counts"]["waiting"] == 3


def test_a_frame_that_hangs_is_given_to_another(house: House) -> None:
    student, node = house.browser("student"), Node(house)
    ident = submit(student, house.scene()).data["id"]
    task = node.claim()
    assert student.post(f"/api/jobs/{ident}/requeue", {"tasks": [task["n"]]}).data["counts"]["waiting"] == 3
    other = Node(house, "n2").claim()
    assert (other["n"], other["uuid"] == task["uuid"]) == (task["n"], False)
    said = node.say({"id": "report", "uuid": task["uuid"], "frame": task["frame"], "progress": 0.5})
    assert {"id": "kill", "uuid": task["uuid"], "frame": task["frame"]} in said
    assert "croft_refused_reports_total 1" in student.get("/metrics").body.decode()


def test_a_frame_left_out_and_that_undone(house: House) -> None:
    student, ident, node = failed_job(house)
    skipped = student.post(f"/api/jobs/{ident}/skip", {"tasks": [0]})
    assert (skipped.status, skipped.data["state"], skipped.data["counts"]["skipped"]) == (200, "done", 1)
    undo = skipped.data["undo"]
    back = student.ask(undo["method"], undo["path"], undo["body"])
    assert (back.data["state"], back.data["counts"]["waiting"]) == ("waiting", 1)
    node.finish(node.claim())
    assert student.post(f"/api/jobs/{ident}/skip", {"tasks": [0]}).status == 409
    assert student.post(f"/api/jobs/{ident}/skip", {"tasks": [7]}).status == 404


def test_what_waits_for_another_render_can_go_on_from_its_page(house: House) -> None:
    student = house.browser("student")
    scene = house.scene()
    first = submit(student, scene, start_after="2030-01-01T00:00:00Z").data["id"]
    ident = submit(student, scene, after=[{"job": first}]).data["id"]
    page = student.get(f"/p/demo/job/{ident}").body.decode()
    assert f"PATCH /api/jobs/{ident} {{&#34;after&#34;: []}}" in page
    assert student.patch(f"/api/jobs/{ident}", {"after": []}).status == 200
    assert "after&#34;" not in student.get(f"/p/demo/job/{ident}").body.decode()
    page = student.get(f"/p/demo/job/{first}").body.decode()
    assert "Begin now" in page
    assert f"POST /api/jobs/{first}/requeue {{&#34;tasks&#34;: &#34;all&#34;}}" in page.replace('"', "&#34;")


def test_computers_are_forgiven(house: House) -> None:
    student, boss = house.browser("student"), house.browser("supervisor")
    node, other = Node(house), Node(house, "n2")
    other.say({"id": "info"})
    ident = submit(student, house.scene()).data["id"]
    tasks = [fail(node) for _ in range(3)]
    assert {task["n"] for task in tasks} == {0, 1, 2}, "none was given to it twice"
    assert node.claim() == {}
    (kept,) = student.get(f"/api/jobs/{ident}").data["avoided"]
    assert (kept["node"], kept["why"]) == ("n1", "3 frames in a row failed there")
    assert kept["until"] > "2026"
    assert student.post(f"/api/jobs/{ident}/forgive", {"nodes": ["n1"]}).data["avoided"] == []
    assert node.claim()
    assert student.post("/api/nodes/n1/forgive").status == 403
    assert boss.post("/api/nodes/n1/forgive").status == 200
    assert boss.post("/api/nodes/none/forgive").status == 404


def test_only_whose_it_is_may(house: House) -> None:
    house.croft.services.people.add("ana")
    ident = submit(house.browser("supervisor"), house.scene()).data["id"]
    ana = house.browser("ana")
    for call, body in (("requeue", {"tasks": "all"}), ("skip", {"tasks": [0]}), ("forgive", {})):
        assert ana.post(f"/api/jobs/{ident}/{call}", body).status == 403
        assert ana.post(f"/api/jobs/none/{call}", body).status == 404
    boss = house.browser("supervisor")
    assert boss.post(f"/api/jobs/{ident}/requeue", {"tasks": "some"}).status == 400
    assert boss.post(f"/api/jobs/{ident}/skip", {"tasks": []}).status == 400
