"""Uploads over HTTP: in parts, gone on with after a lost answer, a full disk, `kill -9`; each one's alone."""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from house import SCENE, Browser, House, Reply
from PIL import Image
from window import CLONE, SERVE

from server.disk.settings import Settings
from server.library.people import People

OCTETS = "application/octet-stream"


def begin(browser: Browser, name: str = "fox.blend", size: int = len(SCENE), **more: Any) -> Reply:
    given = {"project": "demo", "path": "shots", "name": name, "size": size, **more}
    return browser.post("/api/uploads", given)


def put(browser: Browser, ident: str, at: int, data: bytes, crc: str = "", **more: Any) -> Reply:
    crc = crc or f"{zlib.crc32(data):08x}"
    return browser.ask("PUT", f"/api/uploads/{ident}?offset={at}&crc32={crc}", raw=data, kind=OCTETS, **more)


def send(house: House, browser: Browser, name: str, content: bytes, **more: Any) -> dict[str, Any]:
    """A whole file, looked into; its view."""
    upload = begin(browser, name, len(content), **more)
    assert upload.status == 201, upload.body
    assert put(browser, upload.data["id"], 0, content).status == 200
    ident = upload.data["id"]
    found: dict[str, Any] = house.until(
        lambda: (view := browser.get(f"/api/uploads/{ident}").data)["state"] == "ready" and view
    )
    return found


def test_a_file_in_parts(house: House) -> None:
    ana = house.browser("student")
    upload = begin(ana).data
    ident = upload["id"]
    assert (upload["state"], upload["offset"], upload["address"]) == (
        "receiving", 0, "data::demo/shots/fox.blend",
    )  # fmt: skip
    assert put(ana, ident, 0, SCENE[:100]).data == {"offset": 100}
    assert put(ana, ident, 0, SCENE[:100]).data == {"offset": 100}, "its answer was lost"
    refused = put(ana, ident, 50, SCENE[50:100])
    assert (refused.status, refused.data) == (409, {"offset": 100})
    damaged = put(ana, ident, 100, SCENE[100:], crc="00000000")
    assert (damaged.status, damaged.data) == (409, {"offset": 100})
    there = ana.get(f"/api/uploads/{ident}").data
    assert there["chunks"] == [{"at": 0, "size": 100, "crc32": f"{zlib.crc32(SCENE[:100]):08x}"}]
    assert put(ana, ident, 100, SCENE[100:]).status == 200
    house.until(lambda: ana.get(f"/api/uploads/{ident}").data["state"] == "ready")
    assert [one["id"] for one in ana.get("/api/uploads?project=demo").data] == [ident]
    added = ana.post("/api/uploads/add", {"ids": [ident]})
    assert [(one["ok"], one["url"]) for one in added.data] == [(True, "/p/demo/asset/shots/fox.blend")]
    assert ana.post("/api/uploads/add", {"ids": [ident]}).data == added.data
    assert (house.data / "demo/shots/fox.blend").read_bytes() == SCENE
    assert ana.get("/api/assets/data::demo/shots/fox.blend").data["owner"] == "student"
    assert ana.get("/api/uploads").data == []
    assert ana.patch(f"/api/uploads/{ident}", {"name": "x.blend"}).status == 409


def test_nobody_reaches_another_ones_uploads(house: House) -> None:
    ana, others = house.browser("student"), [house.browser("supervisor"), house.browser("admin")]
    view = send(house, ana, "fox.blend", SCENE)
    ident = view["id"]
    for other in others:
        assert other.get("/api/uploads").data == []
        assert other.get(f"/api/uploads/{ident}").status == 404
        assert other.get(f"/api/uploads/{ident}/picture").status == 404
        assert put(other, ident, 0, b"x").status == 404
        assert other.patch(f"/api/uploads/{ident}", {"name": "mine.blend"}).status == 404
        assert other.ask("DELETE", f"/api/uploads/{ident}").status == 404
        results = other.post("/api/uploads/add", {"ids": [ident]}).data
        assert [one["ok"] for one in results] == [False]
        staged = f"data::demo/.croft/project.json/uploads/student/{ident}/content"
        assert other.get(f"/files/{staged}").status in (400, 404)
        assert other.get(f"/api/assets/{staged}").status in (400, 404)
    assert house.browser().get("/api/uploads").status == 401
    assert ana.get(f"/api/uploads/{ident}").data == view


def test_what_was_read_is_told(house: House) -> None:
    ana = house.browser("student")
    picture = io.BytesIO()
    Image.new("RGB", (320, 180), "red").save(picture, "PNG")
    view = send(house, ana, "board.png", picture.getvalue())
    assert view["facts"]["size"] == [320, 180]
    shown = ana.get(view["picture"])
    assert Image.open(io.BytesIO(shown.body)).width in (256, 320)
    cut = send(house, ana, "cut.png", picture.getvalue()[:100])
    assert "cut off" in cut["why"]
    refused = ana.post("/api/uploads/add", {"ids": [cut["id"]]}).data[0]
    assert (refused["ok"], refused["message"]) == (False, cut["why"])


def test_a_new_version_keeps_what_was_there(house: House) -> None:
    address = house.asset("demo/shots/fox.blend", owner="supervisor")
    ana = house.browser("student")
    content = SCENE[:12] + b"more" + SCENE[12:]
    view = send(house, ana, "fox.blend", content)
    assert view["there"]["owner"] == "supervisor"
    assert not ana.post("/api/uploads/add", {"ids": [view["id"]]}).data[0]["ok"]
    ana.patch(f"/api/uploads/{view['id']}", {"choice": "version"})
    added = ana.post("/api/uploads/add", {"ids": [view["id"]]}).data[0]
    assert added["ok"], added
    assert (house.data / "demo/shots/fox.blend").read_bytes() == content
    assert ana.get(f"/api/assets/{address}").data["owner"] == "supervisor", "what people said stays"
    saves = ana.get(f"/api/assets/{address}/saves").data
    assert [save["kind"] for save in saves] == ["checkpoint"]
    assert saves[0]["size"] == len(SCENE)


def test_a_protected_file_gets_no_new_version(house: House) -> None:
    house.asset("demo/shots/fox.blend", protect=True)
    ana = house.browser("student")
    view = send(house, ana, "fox.blend", SCENE[:12] + b"more" + SCENE[12:])
    ana.patch(f"/api/uploads/{view['id']}", {"choice": "version"})
    added = ana.post("/api/uploads/add", {"ids": [view["id"]]}).data[0]
    assert not added["ok"]
    assert "protected" in added["message"]
    assert ana.get(f"/api/uploads/{view['id']}").data["state"] == "ready", "it waits on, whole"
    assert (house.data / "demo/shots/fox.blend").read_bytes() == SCENE


def test_it_is_rendered_once_it_is_added(house: House) -> None:
    ana = house.browser("student")
    content = (Path(__file__).parents[1] / "library/blender-5.0.blend").read_bytes()
    view = send(house, ana, "walk.blend", content)
    assert view["frames"]
    assert ana.patch(f"/api/uploads/{view['id']}", {"render": True}).data["render"]
    added = ana.post("/api/uploads/add", {"ids": [view["id"]]}).data[0]
    assert "waits to be rendered" in added["message"]
    job = ana.get(f"/api/jobs/{added['job']}").data
    assert (job["user"], job["frames"]) == ("student", view["frames"])
    assert ana.post("/api/uploads/add", {"ids": [view["id"]]}).data[0]["job"] == added["job"]
    assert len(ana.get("/api/jobs").data) == 1


@pytest.mark.parametrize(
    ("given", "status"),
    [({"name": "a.exe"}, 415), ({"name": "a.blend.json"}, 415), ({"name": ".a.blend"}, 400),
     ({"path": "../x"}, 400), ({"path": "old"}, 400), ({"project": "none"}, 404), ({"size": 1 << 40}, 413),
     ({"size": -1}, 400), ({"name": ""}, 400), ({"hash": "abc"}, 400)],
)  # fmt: skip
def test_what_is_refused_before_a_byte_is_sent(house: House, given: dict[str, Any], status: int) -> None:
    def there() -> list[Path]:
        # The project's own history begins at some moment.
        return sorted(p for p in house.data.rglob("*") if ".croft" not in p.parts)

    before = there()
    ana = house.browser("student")
    assert begin(ana, **given).status == status
    assert there() == before


def test_limits_are_configuration(house: House) -> None:
    text = '{"max_upload_bytes": 2000, "upload_kinds": ["blend", ".XYZ"], "site": "t", "settle_s": 0}'
    (house.config / "server.json").write_text(text)
    house.croft.services.settings._looked.clear()
    ana = house.browser("student")
    assert begin(ana, "a.xyz").status == 201
    assert begin(ana, "a.png").status == 415
    assert begin(ana, "a.blend", 2001).status == 413
    page = ana.get("/p/demo/drop").body.decode()
    sizes = {"set/a.blend": 2001, "a.png": 1, "b.xyz": 5, "render/x.xyz": 1, ".DS_Store": 1, "c.xyz": None}
    files = [{"path": path, "size": size} for path, size in sizes.items()]
    told = ana.post("/api/uploads/check", {"files": files}).data
    assert told["taken"] == [2]
    assert [text.rpartition(": ")[2] for text in told["left"]] == [
        ".DS_Store.", "x.xyz.", "a.png.", "a.blend (1 MB).", "c.xyz.",
    ]  # fmt: skip
    assert "Up to 2.0 KB each." in page


def test_a_chunk_says_how_long_it_is_and_is_not_too_long(house: House) -> None:
    ana = house.browser("student")
    ident = begin(ana, size=1 << 28).data["id"]
    headers = {"Transfer-Encoding": "chunked", "Content-Type": OCTETS}
    endless = ana.ask("PUT", f"/api/uploads/{ident}", headers=headers, stream=io.BytesIO(b"x" * 5000))
    assert endless.status == 411
    long = {"Content-Length": str(1 << 27), "Content-Type": OCTETS}
    assert ana.ask("PUT", f"/api/uploads/{ident}", headers=long, stream=io.BytesIO()).status == 413
    torn = {"Content-Length": "1000", "Content-Type": OCTETS}
    assert ana.ask("PUT", f"/api/uploads/{ident}", headers=torn, stream=io.BytesIO(b"x" * 500)).status == 400
    assert ana.get(f"/api/uploads/{ident}").data["offset"] == 0


def test_many_at_once_from_several_people(house: House) -> None:
    """Twenty files of two people by four threads: each lands whole with its own owner."""
    ana, ben = house.browser("student"), house.browser("supervisor")
    contents = {f"s{n:02d}.blend": SCENE[:12] + os.urandom(2000 + n) + SCENE[12:] for n in range(20)}
    failures: list[Any] = []

    def hand_in(names: list[str], browser: Browser) -> None:
        try:
            views = [send(house, browser, name, contents[name]) for name in names]
            results = browser.post("/api/uploads/add", {"ids": [view["id"] for view in views]}).data
            failures.extend(one for one in results if not one["ok"])
        except Exception as error:
            failures.append(error)

    names = sorted(contents)
    threads = [threading.Thread(target=hand_in, args=(names[n::4], (ana, ben)[n % 2])) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for n, name in enumerate(names):
        assert (house.data / "demo/shots" / name).read_bytes() == contents[name]
        record = json.loads((house.data / f"demo/shots/{name}.json").read_text())
        assert record["owner"] == ("student", "supervisor")[n % 2], name


# A real server, which is killed; a real disk, which is full.


class Server:
    """A server in a process of its own, on a port that it keeps."""

    def __init__(self, config: Path, data: Path) -> None:
        self.config, self.data = config, data
        config.mkdir(exist_ok=True)
        if not (config / "server.json").exists():
            (config / "server.json").write_text('{"site": "t", "settle_s": 0}')
        self.token = People(Settings(config)).make_token(user="student")
        self.process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self) -> None:
        command = [sys.executable, "-c", SERVE, str(self.config), str(self.data), str(self.port)]
        self.process = subprocess.Popen(
            command, cwd=CLONE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().split("http://")[1].split()[0].rpartition(":")[2])

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(20)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
            kind = OCTETS if isinstance(body, bytes) else "application/json"
            headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
            connection.request(method, path, raw, headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def begin(self, name: str, size: int) -> str:
        status, answer = self.ask("POST", "/api/uploads", {"project": "demo", "name": name, "size": size})
        assert status == 201, answer
        return str(answer["data"]["id"])

    def until(self, ident: str, state: str) -> dict[str, Any]:
        while (view := self.ask("GET", f"/api/uploads/{ident}")[1]["data"])["state"] != state:
            pass
        return dict(view)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "config", tmp_path / "data")
    made.start()
    yield made
    made.stop()


def test_a_killed_server_goes_on_from_what_it_had_flushed(server: Server) -> None:
    content = os.urandom(3_000_000)
    part = 500_000
    ident = server.begin("big.bin", len(content))
    kills = 0
    at = 0
    while at < len(content):
        if at in (500_000, 1_500_000) and kills < 2:  # in the midst of a part: half of its bytes were sent
            sending = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            sending.putrequest("PUT", f"/api/uploads/{ident}?offset={at}")
            sending.putheader("Authorization", f"Bearer {server.token}")
            sending.putheader("Content-Length", str(part))
            sending.endheaders()
            sending.send(content[at : at + part // 2])
            server.stop(signal.SIGKILL)
            sending.close()
            kills += 1
            server.start()
        offset = server.ask("GET", f"/api/uploads/{ident}")[1]["data"]["offset"]
        assert offset == at, "what was answered is there, and nothing else"
        status, answer = server.ask("PUT", f"/api/uploads/{ident}?offset={at}", content[at : at + part])
        assert status == 200, answer
        at = answer["data"]["offset"]
    assert kills == 2
    assert server.until(ident, "ready")["hash"] == hashlib.sha256(content).hexdigest()
    server.stop(signal.SIGKILL)
    server.start()
    added = server.ask("POST", "/api/uploads/add", {"ids": [ident]})[1]["data"][0]
    assert added["ok"], added
    assert (server.data / "demo/big.bin").read_bytes() == content


def test_two_servers_share_the_waiting_files(server: Server, tmp_path: Path) -> None:
    other = Server(server.config, server.data)
    other.start()
    try:
        content = os.urandom(400_000)
        ident = server.begin("two.bin", len(content))
        both = (server, other)
        for n, at in enumerate(range(0, len(content), 50_000)):
            assert (
                both[n % 2].ask("PUT", f"/api/uploads/{ident}?offset={at}", content[at : at + 50_000])[0]
                == 200
            )
        server.until(ident, "ready")
        results: list[Any] = []
        threads = [
            threading.Thread(
                target=lambda one=one: results.append(one.ask("POST", "/api/uploads/add", {"ids": [ident]}))
            )
            for one in both
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [answer["data"][0]["ok"] for _, answer in results] == [True, True]
        assert results[0][1]["data"] == results[1][1]["data"]
        assert (server.data / "demo/two.bin").read_bytes() == content
    finally:
        other.stop()


@pytest.fixture
def small_disk(tmp_path: Path, needs: Callable[[str], str]) -> Iterator[Path]:
    """A disk of 80 MB: uploads leave 64 of them to others, until somebody else takes those."""
    path = tmp_path / "disk"
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_is_told_and_gone_on_from(small_disk: Path, tmp_path: Path) -> None:
    server = Server(tmp_path / "config", small_disk / "data")
    server.start()
    try:
        status, answer = server.ask(
            "POST", "/api/uploads", {"project": "demo", "name": "a.bin", "size": 40 << 20}
        )
        assert status == 507
        assert "no room" in answer["message"]
        content = os.urandom(4 << 20)
        ident = server.begin("a.bin", len(content))
        assert server.ask("PUT", f"/api/uploads/{ident}", content[: 1 << 20])[0] == 200
        free = shutil.disk_usage(small_disk).free
        with (small_disk / "hog").open("wb") as hog:
            hog.write(bytes(free - (1 << 20)))
        status, answer = server.ask("PUT", f"/api/uploads/{ident}?offset={1 << 20}", content[1 << 20 :])
        assert status == 507
        assert "full" in answer["message"]
        assert server.ask("GET", f"/api/uploads/{ident}")[1]["data"]["offset"] == 1 << 20
        (small_disk / "hog").unlink()
        assert server.ask("PUT", f"/api/uploads/{ident}?offset={1 << 20}", content[1 << 20 :])[0] == 200
        server.until(ident, "ready")
        assert server.ask("POST", "/api/uploads/add", {"ids": [ident]})[1]["data"][0]["ok"]
        assert (server.data / "demo/a.bin").read_bytes() == content
    finally:
        server.stop()
