#!/usr/bin/env python3
"""What 500 idle nodes cost the server, and how soon a job that comes finds one of them.

The nodes are simulated over HTTP as the real one talks: `info` once a heartbeat, a request for tasks every
`idle` seconds as the server last told, varied by a tenth. The cost is the server's processor time over the
measured seconds, in parts of one core; the ratio is to the same requests, at the same rate, answered with
`[]` by the same web server without Croft. Then jobs come, one after the other, each with one frame: from
`POST /api/jobs` until a node has the frame; some of them ask for what one node of the 500 alone has.
"""

from __future__ import annotations

import argparse
import heapq
import http.client
import json
import os
import random
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

HEARTBEAT_S = 10.0  # config/server.json


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30.0, help="of idleness that are measured")
    parser.add_argument("--jobs", type=int, default=20, help="that are submitted one after the other")
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        return serve_nothing()
    folder = Path(tempfile.mkdtemp(prefix="croft-idle-"))
    try:
        croft = with_croft(given, folder)
        bare = with_nothing(given, croft["requests_per_s"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    absolute = {**croft, "bare_cores": round(bare, 4), "nodes": given.nodes}
    print(
        json.dumps({"script": "idle_nodes", "ratio": round(croft["cores"] / bare, 2), "absolute": absolute})
    )
    return 0


def with_croft(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from server.disk.settings import Settings
    from server.library.people import People

    shots = folder / "data" / "idle" / "shots"
    shots.mkdir(parents=True)
    (folder / "data" / "idle" / "project.json").write_text("{}")
    shutil.copy(CLONE / "misc/test_scene.blend", shots / "sh010.blend")
    people = People(Settings(folder / "config"))
    node, person = people.make_token(node="*"), people.make_token(user="admin")
    places = ["--config", str(folder / "config"), "--data", str(folder / "data")]
    command = [sys.executable, str(CLONE / "run.py"), "serve", *places, "--port", "0"]
    environment = {**os.environ, "CROFT_VENV": sys.prefix}
    log = open(folder / "server.log", "wb")  # noqa: SIM115 - closed with the server
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as server:
        try:
            port = port_of(server)
            swarm = Swarm(port, node, given.nodes)
            swarm.run(max(10.0, 1.2 * HEARTBEAT_S))  # all have come, and have heard how often to ask
            before, asked, began = processor_s(server.pid), swarm.asked, time.perf_counter()
            swarm.run(given.seconds)
            took = time.perf_counter() - began
            cores, rate = (processor_s(server.pid) - before) / took, (swarm.asked - asked) / took
            waits, rare = first_frames(given, swarm, port, person)
        except BaseException:
            sys.stderr.write((folder / "server.log").read_text("utf-8", "replace")[-3000:])
            raise
        finally:
            server.terminate()
            server.wait(30)
            log.close()
    return {
        "cores": round(cores, 4),
        "requests_per_s": round(rate, 1),
        "idle_s": swarm.idle_s,
        "first_frame_s": {"median": round(statistics.median(waits), 3), "most": round(max(waits), 3)},
        "first_frame_on_the_only_capable_s": {
            "median": round(statistics.median(rare), 3),
            "most": round(max(rare), 3),
        },
    }


def with_nothing(given: argparse.Namespace, rate: float) -> float:
    """Cores that the bare web server takes for so many requests a second."""
    with subprocess.Popen([sys.executable, __file__, "--bare"], stdout=subprocess.PIPE, text=True) as server:
        try:
            swarm = Swarm(port_of(server), "none", given.nodes, every_s=given.nodes / rate)
            swarm.run(3.0)
            before, began = processor_s(server.pid), time.perf_counter()
            swarm.run(given.seconds / 2)
            return (processor_s(server.pid) - before) / (time.perf_counter() - began)
        finally:
            server.terminate()
            server.wait(30)


def serve_nothing() -> int:
    """The same web server, answering every request with an empty list."""
    from granian.constants import HTTPModes, Interfaces, Loops

    from server.web.serve import OneProcess

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "2")])
        return [b"[]"]

    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        web = OneProcess(
            listener,
            lambda: None,
            interface=Interfaces.WSGI,
            http=HTTPModes.http1,
            loop=Loops.asyncio,
            websockets=False,
            blocking_threads=8,
            log_enabled=False,
        )
        web.on_startup(lambda: print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True))
        web.serve(target_loader=lambda: answer, wrap_loader=False)
    return 0


def port_of(server: subprocess.Popen[str]) -> int:
    assert server.stdout is not None
    return int(server.stdout.readline().rpartition(":")[2].strip().rstrip("/"))


def first_frames(
    given: argparse.Namespace, swarm: Swarm, port: int, token: str
) -> tuple[list[float], list[float]]:
    """Seconds from submitting until a node has the frame: any node's, and the only capable one's."""
    waits: list[float] = []
    rare: list[float] = []
    for number in range(2 * given.jobs):
        request: dict[str, Any] = {
            "file": "data::idle/shots/sh010.blend",
            "type": "test-pattern",
            "frames": "1",
            "requires": ["rare"] if number % 2 else [],
        }
        told: list[float] = []
        swarm.told = told
        made: list[str] = []
        asking = threading.Thread(target=submit, args=(port, token, request, made))
        began = time.perf_counter()
        asking.start()
        while not told:
            swarm.run(0.05)
            if time.perf_counter() - began > 60:
                raise RuntimeError("nobody took the frame")
        asking.join()
        # Nobody renders here: a node that delivered nothing would soon count as sick.
        ask(port, token, "DELETE", f"/api/jobs/{made[0]}")
        (rare if number % 2 else waits).append(told[0] - began)
        swarm.run(random.uniform(0.1, 0.5))
    return waits, rare


def submit(port: int, token: str, request: dict[str, Any], made: list[str]) -> None:
    made.append(str(ask(port, token, "POST", "/api/jobs", request)["id"]))


def ask(port: int, token: str, method: str, path: str, body: Any = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status not in (200, 201):
        raise RuntimeError(content[:500])
    return json.loads(content)["data"]


class Swarm:
    """Idle nodes in one thread. Each has one connection; at most one request of it is out."""

    def __init__(self, port: int, token: str, count: int, every_s: float = 0.0) -> None:
        self.asked = 0
        self.idle_s = every_s or 1.0
        self.told: list[float] = []  # when a task came
        self._every_s = every_s
        self._poll = select.epoll()
        self._nodes: dict[int, Node] = {}
        self._due: list[tuple[float, int]] = []
        now = time.perf_counter()
        for number in range(count):
            node = Node(port, token, f"node{number:03}", rare=number == 0)
            self._nodes[node.socket.fileno()] = node
            self._poll.register(node.socket.fileno(), select.EPOLLIN)
            self._due.append((now + random.uniform(0, 3), node.socket.fileno()))
        heapq.heapify(self._due)

    def run(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        while (now := time.perf_counter()) < end:
            while self._due and self._due[0][0] <= now:
                self._ask(self._nodes[heapq.heappop(self._due)[1]], now)
            wait_s = min(end, self._due[0][0] if self._due else end) - now
            for fd, _ in self._poll.poll(max(0.0, min(wait_s, 0.1))):
                self._hear(self._nodes[fd])

    def _ask(self, node: Node, now: float) -> None:
        beat = now - node.beat_at >= HEARTBEAT_S
        if beat:
            node.beat_at = now
        self.asked += 1
        node.send(beat)

    def _hear(self, node: Node) -> None:
        body = node.receive()
        if body is None:
            return
        now = time.perf_counter()
        for told in json.loads(body) if body != b"[]" else ():
            if told["id"] == "info":
                node.idle_s = self._every_s or float(told["idle"])
                self.idle_s = node.idle_s
            elif told["id"] == "task":
                self.told.append(now)
                node.release = told["uuid"]  # given back at once: what is measured is that it came
        wait_s = node.idle_s if not self._every_s else self._every_s
        heapq.heappush(self._due, (now + wait_s * random.uniform(0.9, 1.1), node.socket.fileno()))


class Node:
    """One connection and what it says."""

    def __init__(self, port: int, token: str, name: str, rare: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.idle_s = 1.0
        self.beat_at = -HEARTBEAT_S
        self.release = ""
        self._rest = b""
        self._head = (
            f"POST /farm HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        labels = ["rare"] if rare else []
        self._identity = {
            "id": "identity", "name": name, "version": "1.0", "protocol": 2, "slots": 1, "provides": labels,
            "paths": {"data": ""}, "programs": {}, "does": ["test-pattern"],
            "hardware": {"cores": 2, "memory_mb": 8000, "os": "Linux"},
        }  # fmt: skip
        self._task = {"id": "task", "paths": ["data"], "provides": labels, "count": 1}

    def send(self, beat: bool) -> None:
        requests: list[dict[str, Any]] = [self._identity]
        if beat:
            requests.append({"id": "info"})
        if self.release:
            requests.append({"id": "release", "uuid": self.release})
            self.release = ""
        body = json.dumps([*requests, self._task])
        self.socket.sendall(f"{self._head}{len(body)}\r\n\r\n{body}".encode())

    def receive(self) -> bytes | None:
        """The answer's body; None while a part of it is still to come."""
        data = self.socket.recv(65536)
        if not data:
            raise RuntimeError("a node was cut off")
        data = self._rest + data
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            head = data[:end].lower()
            at = head.index(b"content-length:") + 15
            stop = head.find(b"\r\n", at)
            length = int(head[at : stop if stop >= 0 else None])
            if len(data) >= end + 4 + length:
                self._rest = b""
                if not data.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"a node was told: {data[:500]!r}")
                return data[end + 4 :]
        self._rest = data
        return None


def processor_s(pid: int) -> float:
    """Processor time of a process and of all below it."""
    total, below = 0.0, [pid]
    while below:
        one = below.pop()
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
            for thread in Path(f"/proc/{one}/task").iterdir():
                below += map(int, (thread / "children").read_text().split())
        except OSError:
            continue
    return total


if __name__ == "__main__":
    raise SystemExit(main())
