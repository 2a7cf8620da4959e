#!/usr/bin/env python3
"""Task round trips a second: 200 simulated nodes against the real server, over HTTP.

A round trip is one request that carries a `done` (with its file on the share) and asks for the next task,
answered when the frame lies under its name and the journal is flushed. One job of 100,000 frames (plain);
jobs of 100, 1,000 and 10,000 frames, which end while it is measured and are summed up; with 1,000 other jobs
waiting; with 1,000 jobs of four projects and twenty people that all want their share; with a disk whose
every flush takes 10 ms (fsync and fdatasync of the server sleep for so long). Each runs in turn with a server
of one long job, a quarter of a second each, and is told as a share of that. `--folder` is best on a disk that
isn't mounted with `discard`: there what was deleted holds up a flush now and then. The ratio is to what RFAM
does for each `done`, run bare beside it: read the job's one JSON file, change one frame, write it whole.

Server and nodes share this machine's processors, so the nodes are one cheap process with epoll.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

FRAMES = 100_000
NODES = 200
FEW = 60_000  # frames of all the jobs that end while it is measured
WAITING_JOBS = 1000
JOBS_A_SCENE = 10
SETTLE_S = (
    2.0  # scenes that were saved just now are looked at once more when they have been quiet for a second
)
WARM_S = 2.0
SLICE_S = 0.25
PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763606060"
    "000000040001274334d00000000049454e44ae426082"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, help="of all but flush, in turn; medians count")
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--only", choices=list(KINDS), nargs="+", help="these kinds alone")
    parser.add_argument("--folder", type=Path, help="where the share is made (default: the temporary folder)")
    parser.add_argument("--serve", nargs=3, metavar=("CONFIG", "DATA", "FLUSH_S"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve(Path(given.serve[0]), Path(given.serve[1]), float(given.serve[2]))
    rates: dict[str, list[float]] = {}
    ratios: dict[str, list[float]] = {}
    for turn in range(given.rounds):
        for name, kind in KINDS.items():
            if (given.only is not None and name not in given.only) or (name == "flush" and turn):
                continue
            rate, plain = measure(given, kind)
            rates.setdefault(name, []).append(rate)
            rates.setdefault("plain", []).append(plain)
            ratios.setdefault(name, []).append(rate / plain)
    baseline = rewrite_rate(given.folder)
    absolute = {
        "round_trips_per_s": {name: round(statistics.median(each)) for name, each in rates.items()},
        "rewriting_one_file_per_s": round(baseline, 2),
        "nodes": given.nodes,
        "frames": FRAMES,
    }
    ratio = statistics.median(rates["plain"]) / baseline
    result: dict[str, Any] = {"script": "farm_swarm", "ratio": round(ratio, 1), "absolute": absolute}
    for name, each in ratios.items():
        result[f"{name}_ratio"] = round(statistics.median(each), 3)
        result[f"{name}_ratios"] = [round(one, 3) for one in each]
    print(json.dumps(result))
    return 0


@dataclass(frozen=True)
class Kind:
    """One thing to measure: which jobs there are, and how slow the disk is."""

    jobs: tuple[tuple[int, int], ...]  # how many, of how many frames each
    people: int = 1
    projects: int = 1
    flush_s: float = 0.0


PLAIN = Kind(((1, FRAMES),))
KINDS = {
    "frames_100": Kind(((FEW // 100, 100),)),
    "frames_1000": Kind(((FEW // 1000, 1000),)),
    "frames_10000": Kind(((FEW // 10_000, 10_000),)),
    "waiting": Kind(((1, FRAMES), (WAITING_JOBS, 250))),
    "sharing": Kind(((WAITING_JOBS, 250),), people=20, projects=4),
    "flush": Kind(((1, FRAMES),), flush_s=0.010),
}


# The server.


def serve(config: Path, data: Path, flush_s: float) -> int:
    """The real server; with a slow disk where that is asked for."""
    if flush_s:
        real_fsync, real_fdatasync = os.fsync, os.fdatasync

        def slow_fsync(fd: int) -> None:
            time.sleep(flush_s)
            real_fsync(fd)

        def slow_fdatasync(fd: int) -> None:
            time.sleep(flush_s)
            real_fdatasync(fd)

        os.fsync, os.fdatasync = slow_fsync, slow_fdatasync
    from server.web.serve import serve as run

    return run(config, data, "127.0.0.1", 0)


def prepare(folder: Path, kind: Kind) -> str:
    """A share with its jobs; the nodes' token."""
    from server.disk.settings import Settings
    from server.disk.store import Store, configured_shares
    from server.farm.farm import Farm
    from server.library.people import People

    scenes: list[str] = []
    for number in range(max(1, sum(count for count, _ in kind.jobs) // JOBS_A_SCENE)):
        project = f"swarm{number % kind.projects}"
        shots = folder / "data" / project / "shots"
        shots.mkdir(parents=True, exist_ok=True)
        (folder / "data" / project / "project.json").write_text("{}")
        (shots / f"sh{number:03}.blend").write_bytes(b"BLENDER-v304" + bytes(100_000) + b"ENDB")
        scenes.append(f"data::{project}/shots/sh{number:03}.blend")
    settings = Settings(folder / "config")
    token = People(settings).make_token(node="*")
    store = Store(settings, configured_shares(settings, folder / "data"))
    store.open()
    farm = Farm(settings, store)
    try:
        for priority, (count, frames) in zip((5, 3), kind.jobs, strict=False):
            for number in range(count):
                request: dict[str, Any] = {"type": "test-pattern", "frames": f"1-{frames}"}
                request["file"] = scenes[number % len(scenes)]
                farm.submit(f"person{number % kind.people}", {**request, "priority": priority})
    finally:
        farm.close()
        store.close()
    return token


def measure(given: argparse.Namespace, kind: Kind) -> tuple[float, float]:
    """Round trips a second of one server with such jobs and of one with a single long job. They go on by
    turns, a quarter of a second each, the other one stopped: what else a machine does slows down both."""
    with running(given, kind) as one, running(given, PLAIN) as other:
        os.sync()  # what was made for it, and deleted before, must not hold up their flushes
        for each in (one, other):
            each.go_on(WARM_S)
        accepted = [0, 0]
        for _ in range(round(given.seconds / SLICE_S)):
            for at, each in enumerate((one, other)):
                accepted[at] += each.go_on(SLICE_S)
        return accepted[0] / given.seconds, accepted[1] / given.seconds


@dataclass
class Running:
    """One server and its nodes. It stands still except while it is told to go on."""

    server: subprocess.Popen[str]
    swarm: Swarm

    def go_on(self, seconds: float) -> int:
        """For so long; frames accepted in that time."""
        before = self.swarm.accepted
        self.server.send_signal(signal.SIGCONT)
        self.swarm.run(seconds)
        self.server.send_signal(signal.SIGSTOP)
        return self.swarm.accepted - before


@contextmanager
def running(given: argparse.Namespace, kind: Kind) -> Iterator[Running]:
    """A server with such jobs, checked at its end."""
    folder = Path(tempfile.mkdtemp(prefix="croft-swarm-", dir=given.folder))
    try:
        token = prepare(folder, kind)
        command = [sys.executable, __file__, "--serve", str(folder / "config"), str(folder / "data")]
        command.append(str(kind.flush_s))
        with (
            open(folder / "server.log", "wb") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as server,
        ):
            try:
                assert server.stdout is not None
                port = int(server.stdout.readline().rpartition(":")[2].strip().rstrip("/"))
                time.sleep(SETTLE_S)
                swarm = Swarm(port, token, folder / "data", given.nodes)
                server.send_signal(signal.SIGSTOP)
                yield Running(server, swarm)
                swarm.close()
            finally:
                server.send_signal(signal.SIGCONT)
                server.terminate()
                server.wait(30)
        check(folder / "data", swarm)
    except BaseException:
        sys.stderr.write((folder / "server.log").read_text("utf-8", "replace")[-3000:])
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check(data: Path, swarm: Swarm) -> None:
    """Every accepted frame is in a journal once and on the disk."""
    accepted = 0
    for journal in data.glob("*/shots/.croft/*.blend/jobs/*/journal.jsonl"):
        done: dict[int, int] = {}
        for line in journal.read_bytes().splitlines():
            event = json.loads(line)
            if event["event"] == "done":
                done[event["task"]] = done.get(event["task"], 0) + 1
        assert not done or max(done.values()) == 1, "a frame was accepted twice"
        accepted += len(done)
    there = sum(1 for _ in data.glob("*/shots/render/*/v*/sh*.png"))
    assert accepted == there >= swarm.accepted, (accepted, there, swarm.accepted)


# The nodes.


class Swarm:
    """Many nodes in one thread. Each has one connection and one request out at a time."""

    def __init__(self, port: int, token: str, data: Path, count: int) -> None:
        self.data = data
        self.folders: dict[bytes, int] = {}  # address of a version folder -> its descriptor
        self.accepted = 0
        self.nodes: dict[int, Node] = {}
        self.poll = select.epoll()
        for number in range(count):
            node = Node(port, token, f"node{number:03}")
            self.nodes[node.socket.fileno()] = node
            self.poll.register(node.socket.fileno(), select.EPOLLIN)
            node.send(node.first)

    def run(self, seconds: float) -> None:
        """Go on for so long."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            for fd, _ in self.poll.poll(left):
                self.step(self.nodes[fd])

    def step(self, node: Node) -> None:
        """One answer: write the picture that it asks for, and say so."""
        answer = node.receive()
        if answer is None:
            return
        self.accepted += answer.count(b'{"id":"accepted"')
        at = answer.find(b'{"id":"task","uuid":"')
        if at < 0:
            raise RuntimeError(f"{node.name} got no task, of {self.accepted} done: {answer[:500]!r}")
        uuid = answer[at + 21 : answer.index(b'"', at + 21)].decode()
        at = answer.index(b'"frame":', at) + 8
        frame = answer[at : answer.index(b",", at)].decode()
        at = answer.index(b'"folder":"', at) + 10
        folder = self.folder(answer[at : answer.index(b'"', at)])
        at = answer.index(b'"name":"', at) + 8
        name = answer[at : answer.index(b'"', at)].decode().replace("####", f"{int(frame):04d}") + ".png"
        temp = f".{uuid}.{name}"
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o664, dir_fd=folder)
        os.write(fd, PICTURE)  # a real node flushes it on its own machine, not on this one
        os.close(fd)
        node.send(node.done % {"uuid": uuid, "frame": frame, "name": name, "temp": temp})

    def folder(self, address: bytes) -> int:
        """The descriptor of the folder that a task writes into."""
        found = self.folders.get(address)
        if found is None:
            path = self.data / address.decode().partition("::")[2]
            found = self.folders[address] = os.open(path, os.O_RDONLY)
        return found

    def close(self) -> None:
        for node in self.nodes.values():
            node.socket.close()
        self.poll.close()
        for folder in self.folders.values():
            os.close(folder)


class Node:
    """One connection, and its two requests as texts to fill in."""

    def __init__(self, port: int, token: str, name: str) -> None:
        self.name = name
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.head = (
            f"POST /farm HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        )
        identity = (
            f'[{{"id":"identity","name":"{name}","version":"1.0","protocol":2,"slots":1,"provides":[],'
            '"paths":{"data":""},"programs":{},"hardware":{"cores":2,"memory_mb":8000,"os":"Linux"}},'
        )
        task = '{"id":"task","paths":["data"],"provides":[],"count":1}]'
        self.first = identity + task
        self.done = (
            identity + '{"id":"done","uuid":"%(uuid)s","frame":%(frame)s,"time":0.05,"outputs":'
            '[{"name":"%(name)s","path":"%(name)s","temp":"%(temp)s","size":' + str(len(PICTURE)) + ","
            '"kind":"frame","width":1,"height":1}],"statistics":{"render_s":0.04,"memory_mb":120}},' + task
        )
        self.rest = b""
        self.body = ""

    def send(self, body: str) -> None:
        self.body = body
        self.socket.sendall(f"{self.head}{len(body)}\r\n\r\n{body}".encode())

    def receive(self) -> bytes | None:
        """The answer's body; None while a part of it is still to come."""
        data = self.socket.recv(65536)
        if not data:
            raise RuntimeError(f"{self.name} was cut off")
        data = self.rest + data
        end = data.find(b"\r\n\r\n")
        if end >= 0:
            head = data[:end].lower()
            at = head.index(b"content-length:") + 15
            stop = head.find(b"\r\n", at)
            length = int(head[at : stop if stop >= 0 else None])
            if len(data) >= end + 4 + length:
                self.rest = b""
                if data.startswith(b"HTTP/1.1 503"):
                    self.send(self.body)  # as a real node does: the same again
                    return None
                if not data.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"{self.name}: {data[:500]!r}")
                return data[end + 4 :]
        self.rest = data
        return None


# What it is compared with.


def rewrite_rate(folder: Path | None, seconds: float = 5.0) -> float:
    """The same job as one JSON file that every `done` reads, changes and writes whole, unflushed."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "job.json"
        frames = {str(n): {"node": None, "issued": 0, "done": None, "time": 0} for n in range(FRAMES)}
        path.write_text(json.dumps({"uuid": "x", "frames": frames}))
        count, began = 0, time.perf_counter()
        while (now := time.perf_counter()) - began < seconds:
            job = json.loads(path.read_text())
            job["frames"][str(count)] = {"node": "n", "issued": now, "done": now, "time": 0.05}
            path.write_text(json.dumps(job))
            count += 1
        return count / (time.perf_counter() - began)


if __name__ == "__main__":
    raise SystemExit(main())
