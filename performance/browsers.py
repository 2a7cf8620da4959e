#!/usr/bin/env python3
"""A hundred open browsers on the page of files while 200 nodes keep the farm as busy as it can be.

Each browser holds its event stream and, when it hears of a change that concerns its page, asks for the page's
inside as live.js does, a tenth of a second later. Once a second somebody changes a file's name; what counts
is the time from then until a browser has the new name in its hands. The swarm runs in turns without and with
the browsers; the ratio is the median of its round trips with them to those without.

Browsers and nodes share this machine's processors with the server, so both are one cheap process with epoll.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import farm_swarm  # noqa: E402 - it lies beside this

BROWSERS = 100
JOBS = 5  # so that no node runs dry
PAGE = "/p/swarm0/assets"
FILES = 255
CHANGES_S = 1.0  # between two changes
GATHER_S = 0.1  # as live.js
KINDS = ("asset", "uses", "share")  # what the page says concerns it
UNDER = "data::swarm0/"
CHANGED = UNDER + "shots/extra000.blend"


class Browser:
    """One event stream, and one connection for what is asked meanwhile."""

    def __init__(self, port: int, token: str) -> None:
        self.port = port
        self.head = f"Host: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
        self.stream = self.connect()
        self.line = self.connect()
        self.ask(self.stream, "/api/events", "text/event-stream")
        self.heard = b""
        self.got = b""
        self.due = 0.0  # when it asks; 0: nothing to ask for
        self.asking = False
        self.length = -1

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port))
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def ask(self, line: socket.socket, path: str, kind: str) -> None:
        line.sendall(f"GET {path} HTTP/1.1\r\n{self.head}Accept: {kind}\r\n\r\n".encode())

    def hear(self) -> None:
        """News of the stream: whether a change concerns this page."""
        data = self.stream.recv(1 << 18)
        if not data:
            raise RuntimeError("a browser's stream was cut off")
        self.heard += data
        *whole, self.heard = self.heard.split(b"\n\n")
        for event in whole:
            if b"data: " not in event or b'"kind"' not in event:
                continue
            told = json.loads(event.partition(b"data: ")[2].splitlines()[0])
            if told["kind"] in KINDS and any(one.startswith(UNDER) for one in told["ids"]) and not self.due:
                self.due = time.perf_counter() + GATHER_S

    def look(self) -> None:
        """Ask for what changed."""
        self.due, self.asking, self.got, self.length = 0.0, True, b"", -1
        self.ask(self.line, f"{PAGE}?part=1&only={quote(CHANGED)}", "text/html")

    def take(self) -> bytes | None:
        """The page's inside, once it is whole."""
        data = self.line.recv(1 << 18)
        if not data:
            raise RuntimeError("a browser was cut off")
        self.got += data
        head, found, body = self.got.partition(b"\r\n\r\n")
        if not found:
            return None
        if self.length < 0:
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"a browser got {head[:200]!r}")
            self.length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < self.length:
            return None
        self.asking = False
        return body


def follow(port: int, token: str, supervisor: str, count: int, seconds: float) -> dict[str, Any]:
    """So many browsers for so long: how late each had each change."""
    browsers = [Browser(port, token) for _ in range(count)]
    poll = select.epoll()
    of: dict[int, Browser] = {}
    for browser in browsers:
        for line in (browser.stream, browser.line):
            poll.register(line.fileno(), select.EPOLLIN)
            of[line.fileno()] = browser
    late: list[float] = []
    changes, name, changed_at, waiting = 0, b"", 0.0, set(range(0))
    begun = time.perf_counter()
    changing = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while (now := time.perf_counter()) - begun < seconds or (waiting and now - changed_at < 10):
        if now - changed_at >= CHANGES_S and not waiting and now - begun < seconds:
            changes += 1
            name = f"Changed {changes} times".encode()
            body = json.dumps({"name": name.decode()})
            headers = {"Authorization": f"Bearer {supervisor}", "Content-Type": "application/json"}
            changed_at = time.perf_counter()
            changing.request("PATCH", "/api/assets/" + quote(CHANGED), body, headers)
            reply = changing.getresponse()
            reply.read()
            assert reply.status == 200, reply.status
            waiting = {id(browser) for browser in browsers}
        for fd, _ in poll.poll(0.02):
            browser = of[fd]
            if fd == browser.stream.fileno():
                browser.hear()
            elif (page := browser.take()) is not None and name in page and id(browser) in waiting:
                waiting.discard(id(browser))
                late.append(time.perf_counter() - changed_at)
        for browser in browsers:
            if browser.due and not browser.asking and browser.due <= time.perf_counter():
                browser.look()
    poll.close()
    for browser in browsers:
        browser.stream.close()
        browser.line.close()
    late.sort()
    return {
        "changes": changes, "seen": len(late), "missed": changes * count - len(late),
        "median_s": round(statistics.median(late), 2) if late else None,
        "of_100_95_s": round(late[int(len(late) * 0.95)], 2) if late else None,
        "latest_s": round(late[-1], 2) if late else None,
    }  # fmt: skip


def prepare(folder: Path) -> tuple[str, str, str]:
    """The swarm's share, with more files than the one that renders; the nodes', a student's, a supervisor's
    token."""
    nodes = farm_swarm.prepare(folder, farm_swarm.Kind(((JOBS, farm_swarm.FRAMES),)))
    shots = folder / "data" / "swarm0" / "shots"
    for n in range(FILES):
        (shots / f"extra{n:03d}.blend").write_bytes(b"BLENDER-v304ENDB")
        (shots / f"extra{n:03d}.blend.json").write_text(json.dumps({"name": f"Extra {n}", "type": "shot"}))
    from server.disk.settings import Settings
    from server.library.people import People

    people = People(Settings(folder / "config"))
    return nodes, people.make_token(user="student"), people.make_token(user="supervisor")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--browsers", type=int, default=BROWSERS)
    parser.add_argument("--nodes", type=int, default=farm_swarm.NODES)
    parser.add_argument("--follow", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.follow:
        port, token, supervisor, seconds = given.follow
        print(json.dumps(follow(int(port), token, supervisor, given.browsers, float(seconds))))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="croft-browsers-"))
    alone, beside, told = [], [], []
    try:
        nodes, student, supervisor = prepare(folder)
        command = [sys.executable, farm_swarm.__file__, "--serve"]
        command += [str(folder / "config"), str(folder / "data"), "0"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server:
            try:
                assert server.stdout is not None
                port = int(server.stdout.readline().rpartition(":")[2].strip().rstrip("/"))
                swarm = farm_swarm.Swarm(port, nodes, folder / "data", given.nodes)
                swarm.run(2 * farm_swarm.WARM_S)
                for _ in range(given.turns):
                    alone.append(turn(swarm, server.pid, given.seconds))
                    watching = subprocess.Popen(
                        [sys.executable, __file__, "--browsers", str(given.browsers), "--follow", str(port),
                         student, supervisor, str(given.seconds + 1)], stdout=subprocess.PIPE, text=True,
                    )  # fmt: skip
                    swarm.run(1.0)  # while they open
                    beside.append(turn(swarm, server.pid, given.seconds))
                    while watching.poll() is None:
                        swarm.run(0.5)
                    told.append(json.loads(watching.communicate()[0]))
                swarm.close()
            finally:
                server.terminate()
                server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    pairs = list(zip(beside, alone, strict=True))
    absolute = {
        "round_trips_per_s_alone": [round(rate) for rate, _ in alone],
        "round_trips_per_s_beside": [round(rate) for rate, _ in beside],
        "processor_time_ratio": round(statistics.median(two[1] / one[1] for two, one in pairs), 3),
        "browsers": given.browsers,
        "a_change_seen": told,
        "load": round(os.getloadavg()[0], 1),
    }
    ratio = statistics.median(two[0] / one[0] for two, one in pairs)
    print(json.dumps({"script": "browsers", "ratio": round(ratio, 3), "absolute": absolute}))
    return 0


def turn(swarm: Any, pid: int, seconds: float) -> tuple[float, float]:
    """Round trips a second, and the server's processor time for each, in seconds: which tells of a busy
    machine too what the browsers cost."""
    before, began = processor_s(pid), swarm.accepted
    rate = swarm.run(seconds)
    return rate, (processor_s(pid) - before) / max(1, swarm.accepted - began)


def processor_s(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    raise SystemExit(main())
