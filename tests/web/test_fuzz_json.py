"""Sidecars, projects, facts, jobs and markers, spoilt hundreds of times: Croft starts, serves and says so.

Two kinds of damage: bytes (flips, cuts, stretches of zeros) and meaning (another type, a huge number, half a
character, too deep a nest where a name should be). Nothing of a person's is overwritten by it.
"""

from __future__ import annotations

import copy
import json
import logging
import random
import re
from pathlib import Path
from typing import Any

import pytest
from house import QUICK, SCENE, Browser, House

from server.web.app import build

ODD: tuple[Any, ...] = (
    None, True, -1, 0, 2**63, -(2**70), 1e308, 1e-300, "", "x" * 70_000, "\u202e\0\x1b[2J", "\udcff", [], {},
    [[]], {"a": {"b": [None]}}, ["x"] * 3000, "../../etc/passwd", "9999-99-99T99:99:99Z", "v001", [1, "a"],
    "data::demo/shots/s0.blend", "data::../x", float("nan"), float("inf"), [1, 2], [-1, 1e300], {"name": 4},
)  # fmt: skip


def spoilt_bytes(raw: bytes, chance: random.Random) -> bytes:
    data = bytearray(raw)
    for _ in range(chance.choice((1, 1, 3, 9))):
        at, way = chance.randrange(max(1, len(data))), chance.randrange(6)
        if way == 0:
            data[at : at + 1] = bytes([chance.randrange(256)])
        elif way == 1:
            del data[at:]
        elif way == 2:
            del data[at : at + chance.choice((1, 5, 40))]
        elif way == 3:
            data[at : at + 16] = bytes(len(data[at : at + 16]))
        elif way == 4:
            data[at:at] = chance.choice((b"[", b"{", b'"', b"\\u", b"NaN", b"\xff", b"[" * 3000, b"1e999"))
        else:
            data[at:at] = data[chance.randrange(max(1, len(data))) :][:60]
    return bytes(data)


def spoilt_meaning(raw: bytes, chance: random.Random) -> bytes:
    """Valid JSON that says something else: a value, deep or shallow, or the whole, is another."""
    value = json.loads(raw)
    for _ in range(chance.choice((1, 1, 2, 5))):
        place: Any = value
        while isinstance(place, (dict, list)) and place:
            key = chance.choice(list(place)) if isinstance(place, dict) else chance.randrange(len(place))
            if not isinstance(place[key], (dict, list)) or chance.random() < 0.4:
                way = chance.random()
                if way < 0.15:
                    del place[key]
                elif way < 0.25 and isinstance(place, dict):
                    place[chance.choice(("schema", "uuid", "id", "name", "x" * 300))] = odd(chance)
                else:
                    place[key] = odd(chance)
                break
            place = place[key]
        else:
            value = odd(chance)
    return json.dumps(value).encode()


def odd(chance: random.Random) -> Any:
    return copy.deepcopy(chance.choice(ODD))


def spoilt(raw: bytes, chance: random.Random) -> bytes:
    return (spoilt_bytes if chance.random() < 0.5 else spoilt_meaning)(raw, chance)


FACTS = {  # as a scene, a photograph, a film and a sequence have them, all in one
    "blender": "3.4", "scenes": [{"name": "A", "frames": [1, 9]}, {"name": "B", "frames": [2, 3]}],
    "scene": "A", "frames": [1, 9], "fps": 24.0, "resolution": [320, 180], "engine": "CYCLES", "camera": True,
    "output": "//x", "format": "PNG", "libraries": ["//lib.blend"], "textures": ["//wood.png"],
    "uses": [{"path": "//lib.blend", "kind": "library", "absolute": False, "packed": False}],
    "size": [4, 3], "mode": "RGB", "exif": {"camera": "X", "exposure": 0.01}, "duration_s": 3.0, "rate": 24,
    "codec": "h264", "audio": "", "first": 1, "last": 9, "count": 7, "missing": "3-4", "padding": 4,
}  # fmt: skip


class Field:
    """A share full of scenes whose files of Croft's are spoilt, each in its own way."""

    def __init__(self, folder: Path, seed: int, count: int) -> None:
        self.config, self.data = folder / "config", folder / "data"
        self.config.mkdir(parents=True)
        (self.config / "server.json").write_text(QUICK)
        self.chance = random.Random(seed)
        self.spoilt: dict[Path, bytes] = {}
        self._plant(folder / "whole", count)

    def _plant(self, whole: Path, count: int) -> None:
        """As many scenes as `count`, each copied from a real one, and of each one file spoilt."""
        shots = self.data / "demo/shots"
        shots.mkdir(parents=True)
        (self.data / "demo/project.json").write_text("{}")
        names = ("sidecar", "file", "job", "journal", "result", "version", "project", "none")
        model = Model(whole, self.config)
        for number in range(count):
            what = names[number % len(names)]
            for inside, raw in model.files(number).items():
                path = self.data / inside
                path.parent.mkdir(parents=True, exist_ok=True)
                if inside.endswith(model.ending(what, number)) and model.ending(what, number):
                    raw = spoilt(raw, self.chance) if what != "journal" else spoilt_bytes(raw, self.chance)
                    self.spoilt[path] = raw
                path.write_bytes(raw)


class Model:
    """What a real Croft writes of one scene with a render, to be copied under other names."""

    def __init__(self, folder: Path, config: Path) -> None:
        own = folder / "config"
        own.mkdir(parents=True)
        (own / "server.json").write_text(QUICK)
        croft = build(own, folder / "data")
        try:
            house = House(croft, own, folder / "data")
            house.make("demo/project.json", b'{"title": "Demo", "set": "default"}')
            address = house.asset("demo/shots/s0.blend", description="model", owner="student", tags=["a"])
            asked = {"file": address, "frames": "1-3", "paused": True}
            reply = house.browser("admin").post("/api/jobs", asked)
            assert reply.status == 201, reply.body
            self.job = reply.data["id"]
            record = house.data / "demo/shots/.croft/s0.blend/file.json"
            record.write_text(json.dumps({**json.loads(record.read_text()), "facts": FACTS}))
        finally:
            croft.close()
        self._files = {
            str(path.relative_to(folder / "data")): path.read_bytes()
            for path in (folder / "data").rglob("*")
            if path.is_file() and not path.is_symlink() and ".croft-" not in str(path)
        }
        (result,) = (name for name in self._files if name.endswith("job.json"))
        sums = {"journal": {"length": 5, "hash": "x"}, "state": "done", "counts": {"done": 3}, "total": 3}
        self._files[result.replace("job.json", "result.json")] = json.dumps({**sums, "cells": "ddd"}).encode()

    def files(self, number: int) -> dict[str, bytes]:
        """Inside path and content of all that scene `number` has; its job has an id of its own."""
        job = f"{self.job[:-6]}{number:06x}"
        found = {}
        for inside, raw in self._files.items():
            place = inside.replace("s0.blend", f"s{number}.blend").replace("/s0/", f"/s{number}/")
            place = place.replace(".s0.", f".s{number}.").replace(self.job, job)
            if inside == "demo/project.json":
                place = f"p{number}/project.json"
            elif not inside.endswith(".blend"):
                uuid = rb'("uuid": ?")[0-9a-f]{6}'
                raw = re.sub(uuid, lambda m: m[1] + f"{number:06x}".encode(), raw)
                raw = raw.replace(b"s0", f"s{number}".encode()).replace(self.job.encode(), job.encode())
            found[place] = raw
        return found

    @staticmethod
    def ending(what: str, number: int) -> str:
        return {
            "sidecar": f"s{number}.blend.json", "file": "file.json", "job": "job.json", "none": "",
            "journal": "journal.jsonl", "result": "result.json", "version": "v001.json",
            "project": "project.json",
        }[what]  # fmt: skip


def look_at_all(house: House, browser: Browser, count: int) -> None:
    """Every list, and every scene by API and page: an answer and a sentence, never 'something went wrong'."""
    places = ["/api/projects", "/api/assets?project=demo&limit=500&files=true", "/api/jobs?limit=500",
              "/api/problems?limit=500", "/problems", "/", "/p/demo/home", "/p/demo/assets", "/rendering",
              "/p/demo/rendering", "/jobs", "/healthz", "/metrics"]  # fmt: skip
    for number in range(count):
        places += [f"/api/assets/data::demo/shots/s{number}.blend", f"/p/demo/asset/shots/s{number}.blend"]
        places += [f"/p/p{number}/home", f"/api/assets/data::demo/shots/s{number}.blend/versions"]
    for job in browser.get("/api/jobs?limit=500").data:
        places += [f"/api/jobs/{job['id']}", f"/api/jobs/{job['id']}/tasks", f"/p/demo/job/{job['id']}"]
    for place in places:
        reply = browser.get(place)
        assert reply.status < 500, (place, reply.body[:300])
        if reply.status >= 400 and place.startswith("/api"):
            assert len(reply.message) > 10, place


def expect_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing failed in a way that nobody foresaw."""
    loud = [r for r in caplog.records if r.levelno >= logging.ERROR or r.exc_info]
    assert not loud, f"{loud[0].name}: {loud[0].getMessage()[:500]}\n{loud[0].exc_text}"


def run(folder: Path, seed: int, count: int, caplog: pytest.LogCaptureFixture) -> None:
    field = Field(folder, seed, count)
    croft = build(field.config, field.data)
    try:
        house = House(croft, field.config, field.data)
        browser = house.browser("admin")
        croft.services.ingest.wait(120)
        look_at_all(house, browser, count)
        # Edits: where a record can't be read, refused; else made.
        for number in range(0, count, 5):
            reply = browser.patch(f"/api/assets/data::demo/shots/s{number}.blend", {"description": "new"})
            assert reply.status < 500, reply.body
            assert len(reply.message) > 10 or reply.status == 200
        croft.services.ingest.wait(120)
        problems = browser.get("/api/problems?limit=500").data
        assert all(len(problem["text"]) > 15 and problem["mend"] for problem in problems)
    finally:
        croft.close()
    expect_quiet(caplog)
    for path, raw in field.spoilt.items():
        if path.name.endswith(".blend.json") and not is_record(raw):
            assert path.read_bytes() == raw, f"{path.name} was overwritten"
        if path.name in ("job.json", "project.json", "journal.jsonl"):
            assert path.read_bytes().startswith(raw), f"{path} was overwritten"


def is_record(raw: bytes) -> bool:
    try:
        return isinstance(json.loads(raw.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False


def test_a_start_on_a_share_full_of_spoilt_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path, 20261122, 160, caplog)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(12))
def test_many_starts_on_spoilt_files(tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: int) -> None:
    run(tmp_path, seed, 480, caplog)


def test_a_marker_that_is_spoilt_never_takes_a_share_for_another(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Given a share whose marker is damaged, then requests are answered in a sentence and nothing is written
    over it; once it is whole again, so is the share."""
    address = house.asset("demo/shots/a.blend", description="stays")
    browser = house.browser("admin")
    marker = house.data / ".croft-share.json"
    whole = marker.read_bytes()
    chance = random.Random(5)
    store = house.croft.services.store
    for _ in range(120):
        raw = spoilt(whole, chance)
        marker.write_bytes(raw)
        for place in (f"/api/assets/{address}", "/api/problems", "/p/demo/assets", "/problems"):
            reply = browser.get(place)
            assert reply.status < 500 or reply.status == 503, (raw, reply.body)
        reply = browser.patch(f"/api/assets/{address}", {"description": "stays"})
        assert reply.status in (200, 404, 409, 412, 503), (raw, reply.body)
        assert marker.read_bytes() == raw
        store.refresh(address)
    marker.write_bytes(whole)
    house.until(lambda: browser.get(f"/api/assets/{address}").status == 200)
    view = house.until(lambda: (v := browser.get(f"/api/assets/{address}").data)["status"] == "ok" and v)
    assert view["description"] == "stays"
    expect_quiet(caplog)


def test_a_scene_s_own_bytes_are_never_touched(house: House) -> None:
    address = house.scene("demo/shots/a.blend")
    chance = random.Random(9)
    path = house.data / "demo/shots/a.blend.json"
    whole = path.read_bytes()
    browser = house.browser("admin")
    for _ in range(60):
        raw = spoilt(whole, chance)
        path.write_bytes(raw)
        house.croft.services.store.refresh(address)
        assert browser.get(f"/p/demo/asset/{address.partition('demo/')[2]}").status == 200
        reply = browser.patch(f"/api/assets/{address}", {"description": "n"})
        assert reply.status < 500, (raw, reply.body)
        assert len(reply.message) > 5
    assert (house.data / "demo/shots/a.blend").read_bytes() == SCENE
