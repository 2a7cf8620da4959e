"""The same application under another server: gunicorn with two processes behind nginx.

Nothing is shared but the configuration and the share, so whatever a request needs must lie there.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CLONE = Path(__file__).resolve().parents[2]
NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_max_body_size 0;
  upstream croft {{ server 127.0.0.1:{inner}; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://croft;
      proxy_http_version 1.1;
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_request_buffering off;
    }}
  }}
}}
"""


class Farmhouse:
    """nginx, gunicorn, and a client that asks through them."""

    def __init__(self, folder: Path, nginx: str) -> None:
        self.folder = folder
        self.config, self.data = folder / "config", folder / "data"
        self.port, inner = free_ports(2)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=self.port, inner=inner))
        environ = {**os.environ, "CROFT_CONFIG": str(self.config), "CROFT_DATA": str(self.data)}
        options = f"--workers 2 --threads 8 --worker-class gthread --bind 127.0.0.1:{inner}"
        options += " --graceful-timeout 1 --no-control-socket"
        log = os.open(folder / "gunicorn.err", os.O_WRONLY | os.O_CREAT)
        self.programs = [
            subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *options.split(), "server.web.app:application()"],
                cwd=CLONE,
                env=environ,
                stderr=log,
            ),
            subprocess.Popen(
                [nginx, "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.DEVNULL
            ),
        ]
        os.close(log)
        self.cookie = self.csrf = ""
        self.open: list[Any] = []

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        reply = self.raw(method, path, body, **headers)
        raw = reply.read()
        if reply.getheader("set-cookie"):
            self.cookie = reply.getheader("set-cookie").partition(";")[0]
        return reply.status, json.loads(raw)

    def raw(self, method: str, path: str, body: Any = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.open.append(connection)
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        if self.cookie and "Authorization" not in headers:
            headers["Cookie"] = self.cookie
            headers["X-Croft-CSRF"] = self.csrf
        connection.request(method, path, data, headers)
        reply = connection.getresponse()
        self.open.append(reply)
        return reply

    def process(self, **headers: str) -> str:
        """Which of the processes answered: its events' ids begin with a word of its own."""
        return str(self.ask("GET", "/api/events?since=x", **headers)[1]["data"]["id"].partition("-")[0])

    def stop(self) -> None:
        for part in self.open:
            part.close()
        for program in reversed(self.programs):
            program.send_signal(signal.SIGTERM)
        for program in self.programs:
            program.wait(30)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    found = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return found


def until(what: Callable[[], Any], timeout_s: float = 30) -> Any:
    """The first true answer."""
    last = time.monotonic() + timeout_s
    while True:
        try:
            found = what()
        except (OSError, ValueError, http.client.HTTPException):  # not there yet: nginx answers for it
            found = None
        if found:
            return found
        assert time.monotonic() < last, "it never came true"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farmhouse]:
    import shutil

    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/sbin")
    if nginx is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs Debian's package nginx-light")
    folder = tmp_path_factory.mktemp("many")
    shots = folder / "data" / "demo" / "shots"
    shots.mkdir(parents=True)
    (shots / "sh010.blend").write_bytes(b"BLENDER-v304" + b"\0" * 100 + b"ENDB" + b"\0" * 20)
    (shots / "sh010.blend.json").write_text('{"name": "sh010"}')
    made = Farmhouse(folder, nginx)
    try:
        until(lambda: made.ask("GET", "/healthz")[0] == 200)
        status, answer = made.ask("POST", "/api/session", {"user": "student"})
        assert status == 200
        made.csrf = answer["data"]["csrf"]
        yield made
    finally:
        made.stop()


ADDRESS = "data::demo/shots/sh010.blend"


def everywhere(house: Farmhouse, question: Callable[[], Any], timeout_s: float = 30) -> None:
    """Ask until the answer was true twenty times in a row: no process knows better."""
    row = [0]

    def ask() -> bool:
        row[0] = row[0] + 1 if question() else 0
        return row[0] >= 20

    until(ask, timeout_s)


def test_two_processes_answer_and_know_the_same_people(house: Farmhouse) -> None:
    seen: set[str] = set()

    def both() -> bool:
        assert house.ask("GET", "/api/session")[1]["data"]["user"]["id"] == "student"
        seen.add(house.process())
        return len(seen) == 2

    until(both)


def test_an_edit_through_either_is_seen_through_both(house: Farmhouse) -> None:
    everywhere(house, lambda: house.ask("GET", f"/api/assets/{ADDRESS}")[0] == 200)
    for n in range(6):
        status, answer = house.ask("PATCH", f"/api/assets/{ADDRESS}", {"description": f"number {n}"})
        assert status == 200, answer
    everywhere(
        house, lambda: house.ask("GET", f"/api/assets/{ADDRESS}")[1]["data"]["description"] == "number 5"
    )
    etag = house.ask("GET", f"/api/assets/{ADDRESS}")[1]["data"]["etag"]
    results = [
        house.ask("PATCH", f"/api/assets/{ADDRESS}", {"description": f"race {n}"}, **{"If-Match": etag})[0]
        for n in range(10)
    ]
    assert sorted(results) == [200] + [412] * 9, "one edit of one record wins, whoever answers"


def test_events_come_from_either(house: Farmhouse) -> None:
    stream = house.raw("GET", "/api/events")
    assert stream.status == 200
    heard = threading.Event()

    def listen() -> None:
        while True:
            line = stream.readline()
            if not line:
                return
            if line.startswith(b"data:") and ADDRESS.encode() in line:
                heard.set()
                return

    reader = threading.Thread(target=listen, daemon=True)
    reader.start()
    n = [0]

    def poke() -> bool:
        n[0] += 1
        house.ask("PATCH", f"/api/assets/{ADDRESS}", {"description": f"poke {n[0]}"})
        return heard.wait(0.5)

    until(poke)
    reader.join(10)


def test_a_job_is_claimed_and_done_through_either(house: Farmhouse) -> None:
    from server.disk.settings import Settings
    from server.library.people import People

    token = People(Settings(house.config)).make_token(node="n1")
    request = {"file": ADDRESS, "frames": "1-12", "type": "test-pattern"}

    def submit() -> Any:
        status, answer = house.ask("POST", "/api/jobs", request)
        assert status == 201 or "arriving" in answer["message"], answer
        return answer["data"]

    ident = until(submit)["id"]
    marker = json.loads((house.data / ".croft-share.json").read_text())["id"]
    identity = {"id": "identity", "name": "n1", "version": "1", "provides": [], "protocol": 2, "slots": 1,
                "paths": {"data": marker}}  # fmt: skip
    header = {"Authorization": f"Bearer {token}"}

    def say(*requests: dict[str, Any]) -> list[dict[str, Any]]:
        code, found = house.ask("POST", "/farm", [identity, *requests], **header)
        assert code == 200, found
        return list(found)

    frames: list[int] = []

    def render_one() -> bool:
        wanted = {"id": "task", "paths": ["data"], "provides": [], "count": 1}
        task = next((answer for answer in say(wanted) if answer["id"] == "task"), None)
        if task is not None:
            command = task["commands"][0]
            name = command["name"].replace("####", f"{task['frame']:04d}") + ".png"
            temp = f".{task['uuid']}.{name}"
            (house.data / command["folder"].partition("::")[2] / temp).write_bytes(b"\x89PNG pixels")
            output = {"name": name, "path": name, "temp": temp, "size": 11, "kind": "frame"}
            done = {
                "id": "done",
                "uuid": task["uuid"],
                "frame": task["frame"],
                "time": 1,
                "outputs": [output],
            }
            until(lambda: any(answer["id"] == "accepted" for answer in say(done)))
            frames.append(task["frame"])
        return len(frames) == 12

    until(render_one)
    assert sorted(frames) == list(range(1, 13)), "each frame was given out once"
    everywhere(house, lambda: house.ask("GET", f"/api/jobs/{ident}")[1]["data"].get("state") == "done")
    written = sorted((house.data / "demo/shots/render/sh010/v001").glob("sh010.*.png"))
    assert len(written) == 12
