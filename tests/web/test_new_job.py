"""Renders as tools ask for them that know nothing of Croft, and the same asked twice."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from house import Browser, House, Reply

import run
from server.cli.submit import asked
from server.disk.errors import BadInput
from server.farm.jobs import facts
from server.web.app import build

STAMP = 1763800000.5


def ask(browser: Browser, house_params: dict[str, Any], **more: Any) -> Reply:
    return browser.post("/api/jobs/", {"name": "from a tool", "params": house_params, **more})


def parameters(browser: Browser, reply: Reply) -> dict[str, Any]:
    assert reply.status == 201, reply.body
    job = browser.get(f"/api/jobs/{reply.data}").data
    return {"type": job["type"], "output": job["output"], "user": job["user"], **job["parameters"]}


def test_a_tool_of_another_farm(house: House) -> None:
    """All that it sends to the path with a slash is what the job has; it can be listed and ended."""
    address, browser = house.scene(), house.browser("student")
    params = {"scene_file": address, "frange": "1-9", "step": 2, "chunk_size": 3, "xres": 64, "yres": 36,
              "camera": "Camera", "renderer": "cycles", "samples": 8}  # fmt: skip
    made = ask(browser, params, user="student", timestamp=STAMP)
    assert made.headers["location"] == f"/api/jobs/{made.data}"
    assert made.message.startswith("from a tool waits for a computer: 5 frames.")
    found = parameters(browser, made)
    assert found["type"] == "blender-frames"
    assert {key: found[key] for key in ("chunk_size", "xres", "yres", "camera", "engine", "samples")} == {
        "chunk_size": 3, "xres": 64, "yres": 36, "camera": "Camera", "engine": "cycles", "samples": 8,
    }  # fmt: skip
    (row,) = browser.get("/api/jobs/").data
    assert (row["jobID"], row["jobs-status"], row["frames"]) == (made.data, "waiting", "1-9x2")
    assert [row["id"] for row in browser.get("/api/jobs").data] == [made.data]
    assert browser.ask("DELETE", f"/api/jobs/{made.data}").data["state"] == "cancelled"


def test_the_renderer_picks_the_kind_of_job(house: House) -> None:
    address, browser = house.scene(), house.browser("student")
    for renderer, kind, engine in (
        (None, "blender-frames", None),
        ("Blender", "blender-frames", None),
        ("BLENDER_EEVEE_NEXT", "blender-frames", "eevee"),
        ("workbench", "blender-frames", "workbench"),
        ("blender_video", "blender-video", None),
    ):
        params = {"scene_file": address, "frange": "1-2", "renderer": renderer}
        found = parameters(browser, ask(browser, params))
        assert (found["type"], found["engine"]) == (kind, engine)
    assert ask(browser, {"scene_file": address, "frange": "1", "renderer": "renderman"}).status == 415


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"frame_range": "1-2"}, "params has no 'frame_range': did you mean frange?"),
        ({"Xres": 3}, "did you mean xres?"),
        ({"zzz{0}": 3}, "params has no 'zzz{0}': it may have scene_file, "),
        ({"renderer": "cycels"}, "There is no renderer 'cycels': did you mean cycles?"),
        ({"renderer": "☃"}, "There is no renderer '☃': there are blender, cycles, "),
        ({"renderer": "blender-video", "chunk_size": 2}, "Blender video has no chunk_size: leave it out"),
        ({"xres": "wide"}, "params.xres must be a whole number or null."),
        ({"step": 0}, "params.step must be at least 1."),
        ({"frange": 3}, "params.frange must be text or null."),
        ({"frange": None, "step": 3}, "step needs frange"),
        ({"samples": "many"}, "samples must be a whole number, not 'many'."),
        ({"camera": ["a"]}, "params.camera must be text or null."),
        (
            {"out_path": "/elsewhere/frames"},
            "Frames can't go to '/elsewhere/frames': each render of this file",
        ),
        ({"out_path": "data::demo/shots"}, "data::demo/shots/render/sh010. Leave out_path out"),
        ({"out_path": "../.."}, "Frames can't go to"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_sentence(
    house: House, params: dict[str, Any], sentence: str
) -> None:
    address, browser = house.scene(), house.browser("student")
    reply = ask(browser, {"scene_file": address, "frange": "1-2", **params})
    assert reply.status == 400, reply.body
    assert sentence in reply.message
    assert browser.get("/api/jobs").data == []


def test_the_scene_under_another_name_is_told(house: House) -> None:
    reply = ask(house.browser("student"), {"scenefile": house.scene()})
    assert (reply.status, reply.message) == (400, "'scenefile' isn't known here; known: scene_file.")


def test_frames_go_where_they_are_asked_for(house: House) -> None:
    """The folder of this file's renders can be asked for, in each way of writing it."""
    address, browser = house.scene(), house.browser("student")
    for place in (
        "data::demo/shots/render/sh010",
        "data::demo/shots/render/sh010/",
        "//render/sh010/sh010.####.png",
        str(house.data / "demo/shots/render/sh010"),
        "shots/render/sh010",
        "render/sh010/sh010.####.png",
    ):
        params = {"scene_file": address, "frange": "1", "out_path": place}
        assert parameters(browser, ask(browser, params))["output"] == "version"


def test_the_scenes_own_output_can_be_asked_for_by_its_folder(house: House) -> None:
    address, store = house.scene(), house.croft.services.store
    own = "data::demo/frames/sh010"
    for asked_for in (own, own + "/", "//../frames/sh010/", "//../frames/sh010/x_####.png"):
        assert facts.output_for(store, address, asked_for, own) == "scene"
    assert facts.output_for(store, address, "frames/sh010", own) == "scene"
    for elsewhere in (
        "data::demo/frames",
        "//",
        "/tmp/",
        "data::demo/frames/sh010/more",
        "/frames/sh010",
        "sh010",
    ):
        assert facts.output_for(store, address, elsewhere, own) == ""
    assert facts.output_for(store, address, "/tmp/", "") == ""


def test_whose_render_it_is(house: House) -> None:
    house.croft.services.people.add("ana")
    address = house.scene()
    params = {"scene_file": address, "frange": "1"}
    ana, boss = house.browser("ana"), house.browser("supervisor")
    assert parameters(ana, ask(ana, params, user="ana"))["user"] == "ana"
    assert parameters(boss, ask(boss, params, user="ana"))["user"] == "ana"
    assert parameters(boss, ask(boss, params))["user"] == "supervisor"
    refused = ask(ana, params, user="supervisor")
    assert (refused.status, "Leave user out" in refused.message) == (403, True)
    assert ask(boss, params, user="nobody-here").status == 404
    assert ask(boss, params, user=3).status == 400
    assert ask(boss, params, owner="ana").status == 400


def test_asked_twice_it_is_one_job(house: House) -> None:
    address, browser = house.scene(), house.browser("student")
    body = {"name": "a", "params": {"scene_file": address, "frange": "1-3"}}
    key = {"Idempotency-Key": "4711"}
    first = browser.ask("POST", "/api/new_job", body, headers=key)
    assert first.status == 201, first.body
    assert browser.ask("POST", "/api/jobs/", {**body, "timestamp": 5}, headers=key).data == first.data
    assert browser.post("/new_job", {**body, "idempotency_key": "4711"}).data == first.data
    other = browser.ask("POST", "/api/new_job", {**body, "name": "b"}, headers=key)
    assert (other.status, first.data in other.message) == (409, True)
    assert browser.post("/new_job", {**body, "idempotency_key": "4712"}).data != first.data
    boss = house.browser("supervisor")
    assert boss.ask("POST", "/api/new_job", body, headers=key).data != first.data, "a key is a person's own"
    request = {"file": address, "frames": "5", "idempotency_key": "x"}
    assert browser.post("/api/jobs", request).data["id"] == browser.post("/api/jobs", request).data["id"]
    assert browser.post("/new_job", {**body, "idempotency_key": "k" * 201}).status == 400
    assert browser.ask("POST", "/new_job", body, headers={"Idempotency-Key": "k" * 201}).status == 400


def test_asked_at_the_same_moment_it_is_one_job(house: House) -> None:
    address, found = house.scene(), list[Any]()
    body = {"params": {"scene_file": address, "frange": "1"}, "idempotency_key": "now"}
    browsers = [house.browser("student") for _ in range(4)]
    threads = [
        threading.Thread(target=lambda one=one: found.append(one.post("/api/new_job", body).data))
        for one in browsers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(browsers[0].get("/api/jobs").data) == 1


def test_asked_again_after_a_restart_or_another_server_it_is_the_same_job(house: House) -> None:
    """The key lies in job.json alone: whoever looks there knows it, for a week."""
    address, browser = house.scene(), house.browser("student")
    body = {"params": {"scene_file": address, "frange": "1"}, "idempotency_key": "later"}
    first = browser.post("/api/new_job", body).data
    once = house.croft.services.farm._once
    (record,) = house.data.glob(f"demo/shots/.croft/sh010.blend/jobs/{first}/job.json")
    assert "later" not in record.read_text()
    assert first.endswith(json.loads(record.read_text())["asked"]["key"][:6])
    all_jobs = once._jobs
    once._jobs = list  # as on a server that hasn't heard of it yet
    assert browser.post("/api/new_job", body).data == first
    once._jobs = all_jobs
    started = build(house.config, house.data)  # it has read the share from nothing
    try:
        browser = House(started, house.config, house.data).browser("student")
        assert browser.post("/api/new_job", body).data == first
        assert len(browser.get("/api/jobs").data) == 1
        wall = started.services.farm._once._wall
        started.services.farm._once._wall = lambda: wall() + 8 * 86_400
        assert browser.post("/api/new_job", body).data != first
    finally:
        started.close()


def test_the_command_submit_says_the_same() -> None:
    """`run.py submit` sends what the page of calls tells: the plain request, or the agnostic one."""

    def sent(*words: str) -> tuple[str, dict[str, Any]]:
        return asked(run.command_line().parse_args(["submit", "data::demo/a.blend", *words]))

    file = "data::demo/a.blend"
    plain = {"file": file, "frames": "1-3", "output": "scene", "priority": 2, "idempotency_key": "k"}
    words = ["--frames", "1-3", "--output", "scene", "--key", "k", "--priority", "2"]
    assert sent(*words) == ("/api/jobs", plain)
    params = {"scene_file": file, "frange": "1-9", "step": 2, "xres": 64, "renderer": "cycles"}
    words = ["--renderer", "cycles", "--step", "2", "--xres", "64", "--user", "ana", "--name", "quick"]
    agnostic = {"name": "quick", "user": "ana", "params": params}
    assert sent("--frames", "1-9", *words) == ("/api/new_job", agnostic)
    for wrong in (("--step", "2", "--output", "version"), ("--type", "x", "--renderer", "cycles")):
        with pytest.raises(BadInput):
            sent(*wrong)


def test_a_priority_is_a_supervisors_word_here_too(house: House) -> None:
    params = {"scene_file": house.scene(), "frange": "1"}
    student, boss = house.browser("student"), house.browser("supervisor")
    assert ask(student, params, priority=5).status == 403
    assert boss.get(f"/api/jobs/{ask(boss, params, priority=5).data}").data["priority"] == 5
