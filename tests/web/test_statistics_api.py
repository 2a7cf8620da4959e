"""The farm's figures over the API: they add up to the journals, and they say what a person needs."""

from __future__ import annotations

import csv
import datetime
import io
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from house import Browser, House
from talker import Node, submit

from server.web.app import build

BY = ("day", "project", "user", "node", "file")


def fail(node: Node, task: dict[str, Any], reason: str = "crash", log: str = "Segmentation fault") -> None:
    told = {"id": "failed", "uuid": task["uuid"], "frame": task["frame"], "time": 1}
    node.say({**told, "reason": reason, "log": log})


def journals(data: Path) -> Counter[str]:
    """All that the journals say, counted by somebody who knows nothing of folds: the last done line of a
    task counts, unless it was asked for again since; each failed and lost attempt counts."""
    found: Counter[str] = Counter()
    for journal in data.rglob("journal.jsonl"):
        record = json.loads(journal.with_name("job.json").read_text())
        done: dict[int, dict[str, Any]] = {}
        for line in journal.read_bytes().splitlines():
            event = json.loads(line)
            if event["event"] == "done":
                done[event["task"]] = event
            elif event["event"] == "requeue":
                for part in event["tasks"].split(","):
                    first, _, last = part.partition("-")
                    for task in range(int(first), int(last or first) + 1):
                        done.pop(task, None)
            elif event["event"] in ("failed", "expired"):
                found["failed" if event["event"] == "failed" else "lost"] += 1
        for event in done.values():
            if event["task"] < record["total"]:
                found["frames"] += 1
                found["milliseconds"] += round(event["seconds"] * 1000)
                found[f"node {event['node']}"] += 1
                found[f"user {record['user']}"] += 1
    return found


def agree(house: House, browser: Browser) -> None:
    """What the API says is what the journals say, whichever way it is cut."""
    told = journals(house.data)

    def frames() -> int:
        house.croft.services.farm.figures.forget()
        return int(browser.get("/api/farm/statistics?days=0").data["total"]["frames"])

    # A job whose file was moved is read again: for a moment its journal isn't.
    house.until(lambda: frames() == told["frames"])
    for by in BY:
        found = browser.get(f"/api/farm/statistics?by={by}&days=0").data
        total = found["total"]
        assert (total["frames"], total["failed"], total["lost"]) == (
            told["frames"], told["failed"], told["lost"],
        )  # fmt: skip
        assert total["seconds"] == told["milliseconds"] / 1000
        assert sum(row["frames"] for row in found["rows"]) == total["frames"]
        assert sum(row["failed"] for row in found["rows"]) == total["failed"]
        assert sum(found["reasons"].values()) == total["failed"] + total["lost"]
        if by in ("node", "user"):
            rows = {row["key"]: row["frames"] for row in found["rows"]}
            assert rows == {key: told[f"{by} {key}"] for key in rows}


def test_the_sums_are_those_of_the_journals_whatever_becomes_of_the_files(house: House) -> None:
    address, other = house.scene(), house.scene("demo/shots/sh020.blend")
    browser, admin = house.browser("student"), house.browser("admin")
    one, two = Node(house, "n1"), Node(house, "n2")
    first = submit(browser, address, frames="1-4", order="linear", retries=2).data["id"]
    second = submit(admin, other, frames="1-3").data["id"]
    agree(house, browser)
    for _ in range(3):
        one.finish(one.claim())
        two.finish(two.claim())
    fail(one, one.claim(), "out of memory: 12 GB")
    agree(house, browser)
    task = two.claim()
    two.finish(task)
    assert browser.get(f"/api/jobs/{first}").data["counts"]["done"] == 4
    assert admin.get(f"/api/jobs/{second}").data["state"] == "done"
    agree(house, browser)
    reasons = browser.get("/api/farm/statistics?by=node").data["reasons"]
    assert reasons == {"out of memory": 1}

    assert browser.post(f"/api/jobs/{first}/requeue", {"tasks": [1, 2]}).status == 200
    one.finish(one.claim())
    agree(house, browser)
    total = browser.get("/api/farm/statistics?days=0").data["total"]
    assert total["hours_for_nothing"] >= 3.0 / 3600 - 1e-3  # the two that were made again
    assert browser.ask("DELETE", f"/api/jobs/{first}").status == 200
    agree(house, browser)

    before = browser.get("/api/farm/statistics?by=user&days=0").data
    store = house.croft.services.store
    shots = house.data / "demo/shots"
    (shots / "act1").mkdir()
    for name in ("sh020.blend", "sh020.blend.json", ".croft/sh020.blend"):
        if (shots / name).exists():
            (shots / "act1" / name).parent.mkdir(exist_ok=True)
            (shots / name).rename(shots / "act1" / name)
    store.rescan("data")
    house.until(lambda: admin.get(f"/api/jobs/{second}").data["file"].endswith("act1/sh020.blend"))
    agree(house, browser)
    assert browser.get("/api/farm/statistics?by=user&days=0").data["rows"] == before["rows"]

    shutil.rmtree(shots / "act1")  # deleted is gone, and the sums say so, too
    store.rescan("data")
    house.until(lambda: admin.get(f"/api/jobs/{second}").status == 404)
    agree(house, browser)


def test_the_sums_are_the_same_after_a_start(house: House) -> None:
    browser, node = house.browser("student"), Node(house)
    submit(browser, house.scene(), frames="1-2")
    for _ in range(2):
        node.finish(node.claim())
    before = browser.get("/api/farm/statistics?by=node&days=0").data["rows"]
    house.croft.close()
    house.croft = build(house.config, house.data)
    found = house.browser("student").get("/api/farm/statistics?by=node&days=0").data["rows"]
    assert [(row["key"], row["frames"], row["seconds"]) for row in found] == [
        (row["key"], row["frames"], row["seconds"]) for row in before
    ]


def test_days_are_those_of_the_studio_and_a_spreadsheet_gets_the_same(house: House) -> None:
    browser, node = house.browser("student"), Node(house)
    submit(browser, house.scene(), frames="1-2")
    node.finish(node.claim())
    found = browser.get("/api/farm/statistics?days=3").data
    today = datetime.datetime.now(datetime.UTC).date()
    assert [row["key"] for row in found["rows"]] == [
        (today - datetime.timedelta(days=ago)).isoformat() for ago in (2, 1, 0)
    ]
    assert [row["frames"] for row in found["rows"]] == [0, 0, 1]
    assert found["timezone"] == "UTC"
    reply = browser.get("/api/farm/statistics.csv?days=3&by=day")
    assert reply.headers["content-type"].startswith("text/csv")
    assert "croft-day-3.csv" in reply.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(reply.body.decode())))
    assert [(row["day"], row["frames"]) for row in rows[2:]] == [(today.isoformat(), "1"), ("total", "1")]
    assert browser.get("/api/farm/statistics?by=colour").status == 400
    assert browser.get("/api/farm/statistics?days=9999").status == 400
    assert browser.get("/api/farm/statistics?project=none&days=0").data["rows"] == []


def test_a_file_tells_of_all_its_renders_and_what_its_whole_range_takes(house: House) -> None:
    address = house.scene()
    browser, node = house.browser("student"), Node(house)
    empty = browser.get(f"/api/assets/{address}/renders").data
    assert (empty["count"], empty["newest"], empty["all"]["mean"]) == (0, None, None)
    ident = submit(browser, address, frames="1-4").data["id"]
    for _ in range(4):
        node.finish(node.claim())
    found = browser.get(f"/api/assets/{address}/renders").data
    assert [row["id"] for row in found["renders"]] == [ident]
    newest = found["newest"]
    assert (newest["mean"], newest["fastest"], newest["slowest"], newest["done"]) == (1.5, 1.5, 1.5, 4)
    assert newest["hours"] == pytest.approx(6 / 3600, abs=1e-4)
    assert found["all"]["frames"] == 4
    figures = house.croft.services.farm.figures
    whole = figures.renders(address, [1, 101])["whole"]
    assert whole == {"first": 1, "last": 101, "frames": 101, "seconds": 151.5, "slots": 1, "elapsed": 151.5}
    assert browser.get("/api/assets/data::demo/none.blend/renders").status == 404


def test_a_shot_that_the_queue_will_miss_is_told(house: House) -> None:
    address = house.scene()
    supervisor, browser = house.browser("supervisor"), house.browser("student")
    asset = f"/api/assets/{address}"

    def due(day: str) -> dict[str, Any]:
        etag = browser.get(asset).data["etag"]
        reply = browser.patch(asset, {"due": day}, headers={"If-Match": etag})
        assert reply.status == 200, reply.body
        rows = browser.get("/api/projects/demo/deliveries").data
        return dict(rows[0]) if rows else {}

    today = datetime.datetime.now(datetime.UTC).date()
    assert (
        browser.patch(asset, {"due": "soon"}, headers={"If-Match": browser.get(asset).data["etag"]}).status
        == 400
    )
    far = (today + datetime.timedelta(days=30)).isoformat()
    assert due(far)["verdict"] == "nothing"
    sidecar = json.loads((house.data / "demo/shots/sh010.blend.json").read_text())
    assert sidecar["due"] == far
    node = Node(house)
    submit(browser, address, frames="1-100000")
    assert due(far)["verdict"] == "unknown"
    task = node.claim()
    node.finish(task)
    house.croft.services.farm.forecast.work_out()
    tight = browser.get("/api/projects/demo/deliveries").data[0]
    assert tight["verdict"] == "safe", tight
    assert "before the day is over" in tight["text"]
    late = due(today.isoformat())
    assert (late["verdict"], late["late"]) == ("missed", True)
    assert late["text"].startswith("The present queue misses it by about")
    assert due((today - datetime.timedelta(days=1)).isoformat())["verdict"] == "past"
    assert (
        supervisor.patch(
            asset, {"state": "done"}, headers={"If-Match": browser.get(asset).data["etag"]}
        ).status
        == 200
    )
    assert browser.get("/api/projects/demo/deliveries").data[0]["verdict"] == "delivered"
    assert due("") == {}


def test_a_failure_is_its_owners_until_it_is_put_right(house: House) -> None:
    address = house.scene()
    browser, other = house.browser("student"), house.browser("supervisor")
    one, two = Node(house, "n1"), Node(house, "n2")
    two.say()
    ident = submit(browser, address, frames="1-4", retries=2, order="linear").data["id"]
    assert browser.get("/api/farm/failures").data == []
    fail(one, one.claim(), "renderer error", "Error: no camera")
    (told,) = browser.get("/api/farm/failures").data
    assert (told["job"], told["words"], told["node"], told["final"]) == (ident, "frame 1", "n1", False)
    assert "sh010.blend" in told["sentence"]
    assert told["to_do"]
    assert other.get("/api/farm/failures").data == []
    two.finish(two.claim())  # it was that computer
    assert browser.get("/api/farm/failures").data == []
    assert browser.get("/api/farm/failures?project=demo").status == 200
