"""The real server, real nodes and real Blender through kills, cuts, repeats and crashes.

Whatever happens: every frame there once, whole, and the statistics add up.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from real_farm import RealFarm, make_scenes, until

pytestmark = pytest.mark.timeout(150)  # real renders, on whatever machine


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shots")
    if shutil.which("blender"):
        make_scenes(folder, "plain", "slow", "crash", "cloth")
    return folder


@pytest.fixture
def farm(needs: Any, tmp_path: Path) -> Iterator[RealFarm]:
    needs("blender")
    made = RealFarm(tmp_path)
    yield made
    made.close()


def blenders(scene: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"blender") and any(scene.encode() in word for word in words):
                found.append(int(folder.name))
    return found


def claims(farm: RealFarm, ident: str, total: int) -> list[dict[str, Any]]:
    """Of frames: the preview of them is a task of its own, after them."""
    return [event for event in farm.events(ident, "claim") if event["task"] < total]


def test_a_node_killed_in_the_middle_of_a_frame(farm: RealFarm, shots: Path) -> None:
    """When a node is killed, then its Blender ends with it and another node renders what it held."""
    ident = farm.submit(shots / "slow.blend", "1-3")
    first = farm.start_node("first")
    until(lambda: blenders(ident))
    first.kill()
    first.wait()
    until(lambda: not blenders(ident))
    farm.start_node("second")
    job = farm.wait_for(ident, "done")
    farm.expect_whole(job, [1, 2, 3])
    assert farm.events(ident, "expired")
    assert {event["node"] for event in farm.events(ident, "done")} >= {"second"}


def test_the_server_killed_in_the_middle_of_a_job(farm: RealFarm, shots: Path) -> None:
    """When the server is killed and started again, then the node goes on, and nothing is rendered twice."""
    ident = farm.submit(shots / "slow.blend", "1-4")
    farm.start_node("alpha")
    until(lambda: blenders(ident))
    until(lambda: farm.events(ident, "done"))
    farm.kill_server()
    farm.start_server()
    job = farm.wait_for(ident, "done")
    farm.expect_whole(job, [1, 2, 3, 4])
    assert len(claims(farm, ident, 4)) == 4


def test_a_server_that_is_away_gets_finished_frames_later(farm: RealFarm, shots: Path) -> None:
    """Given a server that is gone, when the node finishes what it holds, then it keeps the results, and they
    are taken when the server is back: nobody renders them again."""
    ident = farm.submit(shots / "slow.blend", "1-4")
    farm.start_node("alpha")
    until(lambda: blenders(ident))
    farm.kill_server()
    spool = farm.folder / "alpha.spool"
    until(lambda: list(spool.glob("*.json")))
    farm.start_server()
    job = farm.wait_for(ident, "done")
    farm.expect_whole(job, [1, 2, 3, 4])
    assert len(claims(farm, ident, 4)) == 4
    until(lambda: not list(spool.glob("*.json")))


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_a_server_that_is_away_for_a_minute(farm: RealFarm, shots: Path) -> None:
    """The same with two slots, and long enough for heartbeats to be missed and waits to have grown."""
    ident = farm.submit(shots / "slow.blend", "1-8")
    farm.start_node("alpha", processes=[1, 1])
    until(lambda: blenders(ident))
    farm.kill_server()
    spool = farm.folder / "alpha.spool"
    until(lambda: list(spool.glob("*.json")))
    time.sleep(60)  # nothing happens that could be awaited: that is what is tried
    held = len(list(spool.glob("*.json")))
    farm.start_server()
    job = farm.wait_for(ident, "done")
    farm.expect_whole(job, list(range(1, 9)))
    assert len(claims(farm, ident, 8)) == 8, "nothing was rendered twice"
    assert held >= 1
    until(lambda: not list(spool.glob("*.json")))


class Repeater:
    """Stands between a node and the server, and passes every result on three times."""

    def __init__(self, port: int) -> None:
        self.answers: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kinds = [item["id"] for item in json.loads(body)]
                results = [item for item in json.loads(body) if item["id"] in ("identity", "done")]
                for _ in range(2 if "done" in kinds else 0):
                    outer.answers.append(json.loads(self.forward(json.dumps(results).encode())[1]))
                status, data = self.forward(body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def forward(self, body: bytes) -> tuple[int, bytes]:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                headers = {"Authorization": self.headers["Authorization"], "Content-Type": "application/json"}
                connection.request("POST", self.path, body, headers)
                answer = connection.getresponse()
                data = answer.read()
                connection.close()
                return answer.status, data

            def log_message(self, *_: Any) -> None:
                pass

        ThreadingHTTPServer.daemon_threads = True
        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.httpd.shutdown()
        self.httpd.server_close()


def test_the_same_done_three_times(farm: RealFarm, shots: Path) -> None:
    repeater = Repeater(farm.port)
    try:
        ident = farm.submit(shots / "plain.blend", "1-6")
        farm.start_node("alpha", address=f"127.0.0.1:{repeater.httpd.server_port}")
        job = farm.wait_for(ident, "done")
    finally:
        repeater.close()
    farm.expect_whole(job, [1, 2, 3, 4, 5, 6])
    repeated = [item["id"] for answer in repeater.answers for item in answer]
    assert len(repeated) >= 12
    assert set(repeated) == {"accepted"}


def test_an_expired_claims_first_node_comes_back_too_late(farm: RealFarm, shots: Path) -> None:
    """Given a node that froze with a frame, when another has had the frame accepted and the first one comes
    to, then it is refused and the accepted file stays as it is."""
    ident = farm.submit(shots / "slow.blend", "1-2")
    first = farm.start_node("first")
    until(lambda: blenders(ident))  # it has the scene in hand, long before the frame is done
    os.kill(first.pid, signal.SIGSTOP)
    try:
        farm.start_node("second")
        job = farm.wait_for(ident, "done")
        folder = farm.version(job)

        def pictures() -> dict[str, tuple[int, int]]:
            found = {path.name: path.stat() for path in folder.glob("slow.*.png")}
            return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}

        accepted = pictures()
    finally:
        os.kill(first.pid, signal.SIGCONT)
    log = farm.folder / "first.log"
    until(lambda: "did not take a result" in log.read_text() or "taken back" in log.read_text(), 30)
    until(lambda: not [name for name in os.listdir(folder) if name.startswith(".") and name != ".croft"])
    assert pictures() == accepted
    farm.expect_whole(farm.job(ident), [1, 2])
    assert "second" in {event["node"] for event in farm.events(ident, "done")}


def test_a_cancelled_job_ends_its_blender(farm: RealFarm, shots: Path) -> None:
    ident = farm.submit(shots / "slow.blend", "1-30")
    farm.start_node("alpha")
    until(lambda: blenders(ident))
    assert farm.api("DELETE", f"/api/jobs/{ident}")[0] == 200
    until(lambda: not blenders(ident))
    job = farm.job(ident)
    assert job["state"] == "cancelled"
    done = len(farm.events(ident, "done"))
    until(lambda: len(os.listdir(farm.version(job))) == done)
    # The node is free for the next job.
    following = farm.submit(shots / "plain.blend", "1-2")
    farm.expect_whole(farm.wait_for(following, "done"), [1, 2])


def test_two_nodes_share_a_simulation(farm: RealFarm, shots: Path, tmp_path: Path) -> None:
    """Frames that depend on each other, rendered here and there: the pixels are those of one `-a`."""
    command = ["blender", "-b", str(shots / "cloth.blend"), "-o", f"{tmp_path}/bare/x.####", "-a"]
    subprocess.run(command, check=True, capture_output=True, timeout=50)
    for name in ("alpha", "beta"):
        farm.start_node(name, processes=[1])
    ident = farm.submit(shots / "cloth.blend", "1-12")
    job = farm.wait_for(ident, "done")
    farm.expect_whole(job, list(range(1, 13)))
    for frame in range(1, 13):
        paths = farm.version(job) / f"cloth.{frame:04d}.png", tmp_path / f"bare/x.{frame:04d}.png"
        with Image.open(paths[0]) as ours, Image.open(paths[1]) as bare:
            assert ours.tobytes() == bare.tobytes(), f"frame {frame}"


def test_a_scene_that_crashes_blender_on_one_frame(farm: RealFarm, shots: Path) -> None:
    """The frame is tried as often as the job allows, then the job says so; all others are there."""
    ident = farm.submit(shots / "crash.blend", "3-7")
    farm.start_node("alpha", scripting=True)
    job = farm.wait_for(ident, "failed", "done", "paused")
    assert job["state"] == "failed"
    farm.expect_whole(job, [3, 4, 6, 7], failed=1)
    failures = farm.events(ident, "failed")
    assert len(failures) == 3
    assert {event["task"] for event in failures} == {2}
    assert all("crash" in event["reason"] for event in failures)
    status, rows = farm.api("GET", f"/api/jobs/{ident}/tasks?state=failed")
    assert (status, [row["frame"] for row in rows]) == (200, [5])
    assert "crash" in rows[0]["reason"]
    # What Blender said stays: its last words, and each good frame's own.
    _, log = farm.api("GET", f"/api/jobs/{ident}/tasks/2/log")
    assert (log["attempt"], log["attempts"], log["running"]) == (3, [1, 2, 3], False)
    assert "this scene ends Blender at frame 5" in log["text"]
    _, log = farm.api("GET", f"/api/jobs/{ident}/tasks/3/log")
    assert log["text"].count("Saved:") == 1
    assert "crash.0006.png" in log["text"]


def test_a_missing_scene_file(farm: RealFarm, shots: Path) -> None:
    ident = farm.submit(shots / "plain.blend", "1-3")
    farm.snapshot(ident).unlink()
    farm.start_node("alpha")
    job = farm.wait_for(ident, "failed", "paused")
    assert "gone" in job["why"]
    assert job["counts"]["done"] == 0
    assert sum(job["counts"].values()) == 3
    assert not list(farm.version(job).glob("*"))


def test_a_scene_file_that_vanishes_while_it_is_rendered(farm: RealFarm, shots: Path) -> None:
    """What was accepted stays, the next frame says what is missing, and the job waits for a person."""
    ident = farm.submit(shots / "slow.blend", "1-4")
    farm.start_node("alpha")
    until(lambda: farm.events(ident, "done"))
    farm.snapshot(ident).unlink()
    job = farm.wait_for(ident, "failed", "paused")
    assert farm.events(ident, "failed")[0]["reason"].startswith("missing file")
    done = [event["task"] + 1 for event in farm.events(ident, "done")]
    assert 1 <= len(done) < 4
    assert sorted(path.name for path in farm.version(job).glob("*.png")) == [
        f"slow.{n:04d}.png" for n in done
    ]


def test_two_nodes_with_one_name_are_told(tmp_path: Path) -> None:
    """Given two computers whose configurations name them alike, one of them says so; a node that was
    killed and started again is no such case."""
    farm = RealFarm(tmp_path)
    try:
        first = farm.start_node("alpha")
        log = farm.folder / "alpha.log"
        until(lambda: "connected" in log.read_text())
        first.kill()
        first.wait()
        farm.start_node("alpha")
        until(lambda: log.read_text().count("connected") == 2)
        assert "called" not in log.read_text()
        farm.start_node("alpha", spool="elsewhere")
        until(lambda: "Another node is called 'alpha' too" in log.read_text())
    finally:
        farm.close()


ELSEWHERE = "import bpy; bpy.data.objects['Cube'].scale.x = 3; bpy.ops.wm.save_mainfile()"


def test_an_approved_version_can_be_rendered_again_from_its_exact_source(farm: RealFarm, shots: Path) -> None:
    """Publish, render, change and save the scene while it renders, render again, approve the first, bring its
    scene back, render that: the same pixels."""
    scene, place = farm.shots / "slow.blend", farm.shots / "render/slow"
    api = "/api/assets/data::demo/shots/slow.blend"
    first = farm.submit(shots / "slow.blend", "1-2")
    original = scene.read_bytes()
    assert farm.api("POST", f"{api}/publish", {"comment": "to the farm", "despite": True})[0] == 201
    farm.start_node("alpha")
    until(lambda: (place / "current/slow.0001.png").exists())  # one that can be used from its first frame
    command = ["blender", "-b", str(scene), "--factory-startup", "--python-expr", ELSEWHERE]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert scene.read_bytes() != original
    request = {"file": "data::demo/shots/slow.blend", "frames": "2"}
    _, later = until(lambda: (found := farm.api("POST", "/api/jobs", request))[0] == 201 and found)
    second = later["id"]
    for ident, frames in ((first, [1, 2]), (second, [2])):
        farm.expect_whole(farm.wait_for(ident, "done"), frames)
    assert pixels(place / "v001")[1:] != pixels(place / "v002")
    until(lambda: os.readlink(place / "current") == "v002")
    assert farm.api("GET", f"{api}/versions?kind=render")[1] == []
    status, version = farm.api(
        "PATCH", f"{api}/versions/render-v001", {"approved": True, "comment": "this one"}
    )
    assert (status, version["approved"], version["job"]) == (200, True, first)
    # They are summed up soon after the last frame.
    (version,) = until(
        lambda: [one for one in farm.api("GET", f"{api}/versions?kind=render")[1] if "statistics" in one]
    )
    assert version["statistics"]["nodes"]["alpha"]["done"] == 2
    assert os.readlink(place / "current") == "v001"
    status, said = farm.api("PATCH", f"/api/jobs/{first}", {"requeue": "all"})
    assert (status, "version 1 is approved" in said["message"]) == (409, True)
    status, back = farm.api("POST", f"{api}/restore", {"save": "render-v001", "beside": True})
    assert status == 200, back
    copy = farm.data / back["address"].partition("::")[2]
    assert copy.read_bytes() == original
    assert hashlib.sha256(original).hexdigest() == version["source_hash"]
    request = {"file": back["address"], "frames": "1-2"}
    status, again = until(lambda: (found := farm.api("POST", "/api/jobs", request))[0] == 201 and found)
    job = farm.wait_for(again["id"], "done")
    assert pixels(farm.version(job)) == pixels(place / "v001")
    assert (farm.shots / ".croft/slow.blend/versions/v001/slow.blend").read_bytes() == original


def pixels(folder: Path) -> list[bytes]:
    """Of each frame, in order."""
    found = []
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as image:
            found.append(image.tobytes())
    return found
