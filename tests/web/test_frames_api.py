"""What is kept of each frame, and what its renderer said: over the API, part by part."""

from __future__ import annotations

import re

from house import House
from talker import Node, submit


def test_done_frames_are_listed_page_by_page(house: House) -> None:
    address = house.scene()
    browser, node = house.browser("student"), Node(house)
    ident = submit(browser, address, frames="10-14", order="linear").data["id"]
    for _ in range(3):
        node.finish(node.claim())
    first = browser.get(f"/api/jobs/{ident}/frames?limit=2").json
    assert [row["frame"] for row in first["data"]] == [10, 11]
    row = first["data"][0]
    assert (row["n"], row["seconds"], row["node"], row["attempts"]) == (0, 1.5, "n1", 1)
    assert row["at"].endswith("Z")
    assert row["bytes"] == len(b"\x89PNG\r\n\x1a\npixels")
    assert browser.get(row["image"]).body.startswith(b"\x89PNG")
    rest = browser.get(f"/api/jobs/{ident}/frames?cursor={first['next']}&limit=2").json
    assert [row["frame"] for row in rest["data"]] == [12]
    assert rest["next"] is None
    assert house.croft.services.farm.view(ident)["newest"]["n"] == 2


def test_a_log_is_read_on_from_where_one_stopped(house: House) -> None:
    address = house.scene()
    browser, node = house.browser("student"), Node(house)
    ident = submit(browser, address, frames="1-2").data["id"]
    task = node.claim()
    failed = {"id": "failed", "uuid": task["uuid"], "frame": task["frame"], "time": 1, "reason": "crash"}
    node.say({**failed, "log": "one\ntwo\n"})
    log = f"/api/jobs/{ident}/tasks/{task['n']}/log"
    whole = house.until(lambda: (reply := browser.get(log)).status == 200 and reply.data)
    assert whole["text"] == "one\ntwo\n"
    assert (whole["start"], whole["running"], whole["attempt"]) == (0, False, 1)
    rest = browser.get(f"{log}?attempt=1&offset=4").data
    assert (rest["text"], rest["start"], rest["next"]) == ("two\n", 4, whole["next"])
    assert browser.get(f"{log}?offset={whole['next']}").data["text"] == ""
    assert browser.get(f"{log}?attempt=7").status == 404


def test_the_film_of_a_render_is_on_its_page_and_can_be_sought_in(house: House) -> None:
    address = house.scene()
    able = {"does": ["test-pattern", "make-preview"], "programs": {"ffmpeg": "7"}}
    browser, node = house.browser("student"), Node(house, **able)
    ident = submit(browser, address, frames="1-2", parameters={"preview": True}).data["id"]
    page = f"/p/demo/job/{ident}"
    for _ in range(2):
        node.finish(node.claim())
    task = node.claim()
    assert "The film is being put together." in browser.get(page).body.decode()
    folder = house.data / task["commands"][0]["folder"].partition("::")[2]
    temp = f".{task['uuid']}.sh010.mp4"
    (folder / temp).write_bytes(bytes(range(200)))
    film = {"name": "sh010.mp4", "path": "sh010.mp4", "temp": temp, "size": 200, "kind": "video"}
    done = {"id": "done", "uuid": task["uuid"], "frame": task.get("frame"), "time": 1, "outputs": [film]}
    assert "accepted" in [answer["id"] for answer in node.say(done)]
    found = re.search(r'href="([^"]+)"><span class="g g-play"', browser.get(page).body.decode())
    assert found is not None
    part = browser.get(found[1], headers={"Range": "bytes=100-109"})
    assert (part.status, part.body) == (206, bytes(range(100, 110)))
    assert part.headers["content-type"] == "video/mp4"
