"""Jobs over the API and the wire: submitted, claimed, done, steered, and refused with a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from house import Browser, House
from talker import Node, submit


def test_a_job_from_submission_to_its_frames(house: House) -> None:
    address = house.scene()
    browser, node = house.browser("student"), Node(house)
    made = submit(browser, address)
    assert made.status == 201, made.body
    ident = made.data["id"]
    assert made.headers["location"] == f"/api/jobs/{ident}"
    assert (made.data["state"], made.data["total"], made.data["user"]) == ("waiting", 3, "student")
    for _ in range(3):
        task = node.claim()
        assert task["job"] == ident
        assert any(answer["id"] == "accepted" for answer in node.finish(task))
    job = browser.get(f"/api/jobs/{ident}").data
    assert (job["state"], job["counts"]["done"], job["progress"]) == ("done", 3, 1)
    tasks = browser.get(f"/api/jobs/{ident}/tasks").data
    assert [task["state"] for task in tasks] == ["done"] * 3
    assert browser.get(tasks[0]["image"]).body.startswith(b"\x89PNG")
    assert browser.get(f"/api/jobs/{ident}/tasks/0").data == tasks[0]
    assert [row["id"] for row in browser.get("/api/jobs?state=done&project=demo").data] == [ident]
    assert browser.get("/api/jobs?state=failed").data == []
    nodes = browser.get("/api/nodes").data
    assert [row["name"] for row in nodes] == ["n1"]
    assert "croft_jobs_done 1" in browser.get("/metrics").body.decode()


def test_a_node_with_its_token_in_the_path(house: House) -> None:
    submit(house.browser("student"), house.scene())
    assert Node(house, in_path=True).claim()["frame"] == 1
    assert Browser(house.croft.wsgi).post("/farm", []).status == 401
    assert Browser(house.croft.wsgi).post("/t/wrong/farm", []).status == 401
    assert Browser(house.croft.wsgi).get("/t/wrong/api/projects").status in (401, 404, 405)
    token = Node(house).token
    assert Browser(house.croft.wsgi).get(f"/t/{token}/api/projects").status in (404, 405)
    assert Browser(house.croft.wsgi).post(f"/t/{token}/api/jobs", {}).status == 404


def test_steering_a_job(house: House) -> None:
    address = house.scene()
    student, other, boss = house.browser("student"), house.browser("supervisor"), house.browser("admin")
    ident = submit(student, address).data["id"]
    path = f"/api/jobs/{ident}"
    assert student.patch(path, {"paused": True}).data["state"] == "paused"
    assert Node(house).claim() == {}
    assert other.patch(path, {"paused": False}).data["state"] in ("waiting", "running")
    assert student.patch(path, {"priority": 5}).status == 403
    assert boss.patch(path, {"priority": 5}).data["priority"] == 5
    assert boss.patch(path, {"priority": 6}).status == 400
    assert boss.patch(path, {"paused": "yes"}).status == 400
    assert boss.patch(path, {"colour": "red"}).status == 400
    stopped = student.ask("DELETE", path)
    assert (stopped.status, stopped.data["state"]) == (200, "cancelled")
    assert student.ask("DELETE", path).status == 200, "asking twice is safe"
    assert student.patch(path, {"paused": True}).status == 409
    again = student.patch(path, {"requeue": "rest"})
    assert (again.status, again.data["state"]) == (200, "waiting")
    assert student.get("/api/jobs/none").status == 404
    assert student.get(f"{path}/tasks/99").status == 404
    assert student.get(f"{path}/tasks/x").status == 404
    assert student.get(f"{path}/tasks/0/log").status == 404


def test_a_student_steers_only_their_own(house: House) -> None:
    house.croft.services.people.add("ana")
    ident = submit(house.browser("supervisor"), house.scene()).data["id"]
    ana = house.browser("ana")
    assert ana.ask("DELETE", f"/api/jobs/{ident}").status == 403
    assert ana.patch(f"/api/jobs/{ident}", {"paused": True}).status == 403
    assert ana.get(f"/api/jobs/{ident}").data["state"] == "waiting"
    assert ana.post("/api/farm/pause").status == 403
    assert ana.patch("/api/nodes/n1", {"paused": True}).status == 403


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"frames": "10-1"}, 400),
        ({"frames": "abc"}, 400),
        ({"frames": "1-10000000"}, (400, 413)),
        ({"frames": "1-1000000"}, 413),
        ({"frames": "1-1000000000000000000000"}, (400, 413)),
        ({"frames": "1,2,"}, (201, 400)),
        ({"frames": 3}, 400),
        ({"frames": "1-3x0"}, 400),
        ({"file": "data::demo/none.blend"}, 404),
        ({"file": "data::nowhere/a.blend"}, 404),
        ({"file": "other::demo/a.blend"}, 404),
        ({"file": "data::../etc/passwd"}, 400),
        ({"file": "data::demo"}, (400, 404, 415)),
        ({"file": ""}, 400),
        ({"file": None}, 400),
        ({"output": "elsewhere"}, 400),
        ({"type": "no-such-type"}, (400, 404)),
        ({"priority": 9}, 400),
        ({"priority": 5}, 403),
        ({"colour": "red"}, 400),
        ({"project": "nowhere"}, 404),
    ],
)
def test_wrong_requests_change_nothing(house: House, change: dict[str, Any], status: Any) -> None:
    address = house.scene()
    before = sorted(str(path) for path in house.data.rglob("*"))
    reply = submit(house.browser("student"), address, **change)
    if reply.status != 201:
        assert len(reply.message) > 10
        assert sorted(str(path) for path in house.data.rglob("*")) == before
    assert reply.status in (status if isinstance(status, tuple) else (status,)), reply.body


def test_a_job_for_a_text_file(house: House) -> None:
    browser = house.browser("student")
    for name, content in (("demo/notes.txt", b"hello"), ("demo/false.blend", b"hello, I am a text")):
        request = {"file": house.make(name, content), "frames": "1"}
        replies = [browser.post("/api/jobs", request)]
        while replies[-1].status == 409:  # it is still arriving
            replies.append(browser.post("/api/jobs", request))
        assert replies[-1].status == 415, name
    assert house.browser("student").get("/api/jobs").data == []


def test_the_agnostic_submission(house: House) -> None:
    address = house.scene()
    browser = house.browser("student")
    params = {
        "scene_file": address,
        "frange": "1-9",
        "step": 4,
        "renderer": "blender",
        "xres": 64,
        "yres": None,
    }
    for path in ("/api/new_job", "/new_job"):
        reply = browser.post(path, {"name": "from a tool", "params": params})
        assert reply.status == 201, reply.body
        job = browser.get(f"/api/jobs/{reply.data}").data
        assert (job["name"], job["total"]) == ("from a tool", 3)
    rows = browser.get("/jobs").data
    assert len(rows) == 2
    assert rows[0]["jobID"] == rows[0]["id"]
    assert rows[0]["jobs-status"] == rows[0]["state"]
    assert browser.ask("DELETE", f"/jobs/{rows[0]['id']}").data["state"] == "cancelled"
    full = str(house.data / "demo/shots/sh010.blend")
    assert browser.post("/new_job", {"params": {"scene_file": full, "frange": "1"}}).status == 201
    for wrong, status in (
        ({"scene_file": "/etc/passwd"}, 404),
        ({}, 400),
        ({"scene_file": address, "step": 2}, 400),
    ):
        reply = browser.post("/new_job", {"params": wrong})
        assert reply.status == status, wrong


def test_the_farm_pauses_and_goes_on(house: House) -> None:
    submit(house.browser("student"), house.scene())
    boss, node = house.browser("supervisor"), Node(house)
    node.say()
    assert boss.post("/api/farm/pause").data == {"paused": True}
    assert node.claim() == {}
    assert boss.post("/api/farm/resume").data == {"paused": False}
    assert boss.patch("/api/nodes/n1", {"paused": True}).data["state"] == "paused"
    assert node.claim() == {}
    boss.patch("/api/nodes/n1", {"paused": False})
    assert node.claim()["frame"] == 1
    assert boss.patch("/api/nodes/none", {"paused": True}).status == 404


def test_every_task_of_a_long_job_can_be_walked(house: House) -> None:
    browser = house.browser("student")
    ident = submit(browser, house.scene(), frames="1-2500").data["id"]
    seen, cursor = [], ""
    while True:
        reply = browser.get(f"/api/jobs/{ident}/tasks?limit=1000&cursor={cursor}")
        seen += [task["n"] for task in reply.data]
        cursor = reply.json["next"]
        if not cursor:
            break
    assert seen == list(range(2500))
    assert len(browser.get(f"/api/jobs/{ident}").data["cells"]) < 3000
