"""A scripted server that speaks the wire, and nodes as real processes from a copied folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NODE = Path(__file__).resolve().parents[2] / "node"
INFO = {"id": "info", "heartbeat": 0.3, "idle": 0.05, "server": "one"}
Message = dict[str, Any]


class ScriptedServer:
    """Gives the tasks it was told to, answers results as `verdict` says, remembers all it heard."""

    def __init__(self) -> None:
        self.tasks: list[Message] = []
        self.given: list[Message] = []
        self.kills: list[Message] = []
        self.heard: list[Message] = []
        self.verdict: Callable[[Message], list[Message]] = lambda result: [
            {"id": "accepted", "uuid": result["uuid"]}
        ]
        self.info = dict(INFO)
        self.status = 200
        self.files: dict[str, bytes] = {}  # what may be fetched, by its path
        self.asked: list[Message] = []  # to be admitted
        self.admit: Callable[[Message], tuple[int, Message, str]] = lambda request: (
            404,
            {},
            "no such address",
        )
        self.tokens: set[str] = set()
        self.changed = threading.Condition()
        self.port = 0
        self.httpd: ThreadingHTTPServer | None = None
        self.start()

    def start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                requests = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if outer.httpd is None:
                    self.close_connection = True
                    return
                if self.path == "/register":
                    with outer.changed:
                        outer.asked.append(requests)
                        outer.changed.notify_all()
                        status, data, message = outer.admit(requests)
                    self.reply(status, json.dumps({"data": data, "message": message}).encode())
                    return
                answers: Any = outer.answer(requests)
                if outer.status != 200:
                    answers = {"data": None, "message": "the token is unknown"}
                outer.tokens.add(self.headers.get("Authorization", ""))
                self.reply(outer.status, json.dumps(answers).encode())

            def do_GET(self) -> None:
                body = outer.files.get(self.path)
                self.reply(404 if body is None else 200, body or b"")

            def reply(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        ThreadingHTTPServer.daemon_threads = True
        self.httpd = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.httpd.server_port
        threading.Thread(target=self.httpd.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self.httpd is not None:
            httpd, self.httpd = self.httpd, None
            httpd.shutdown()
            httpd.server_close()

    def answer(self, requests: list[Message]) -> list[Message]:
        answers: list[Message] = []
        with self.changed:
            for request in requests:
                self.heard.append(request)
                if request["id"] == "info":
                    answers.append(self.info)
                elif request["id"] == "task":
                    for task in [
                        task for task in self.tasks if task.get("share", "data") in request["paths"]
                    ][: request["count"]]:
                        self.tasks.remove(task)
                        self.given.append(task)
                        answers.append(task)
                elif request["id"] in ("done", "failed"):
                    answers += self.verdict(request)
            answers += self.kills
            self.kills = []
            self.changed.notify_all()
        return answers

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.heard if message["id"] == kind]

    def wait(self, predicate: Callable[[], Any], timeout_s: float = 45) -> Any:
        """Until the predicate is true after some request."""
        with self.changed:
            assert self.changed.wait_for(predicate, timeout_s), f"heard only {self.heard[-5:]}"
            return predicate()


class Farm:
    """A share with a version folder, the scripted server, and as many nodes as a test starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.share = folder / "share"
        self.version = self.share / "demo/v001"
        self.version.mkdir(parents=True)
        (self.share / ".croft-share.json").write_text('{"ident": "data", "id": "marker"}')
        self.server = ScriptedServer()
        self.processes: list[subprocess.Popen[str]] = []
        self.program = folder / "copy of node 2.0"
        shutil.copytree(NODE, self.program, ignore=shutil.ignore_patterns("__pycache__"))

    def config(self, file: str = "config.json", **changes: Any) -> Path:
        data = {
            "name": "alpha",
            "token": "a node's token",
            "server": f"http://127.0.0.1:{self.server.port}",
            "paths": {"data": str(self.share)},
            "processes": [1],
            "jitter": 0,
            **changes,
        }
        path = self.folder / file
        path.write_text(json.dumps(data))
        return path

    def node(self, **changes: Any) -> subprocess.Popen[str]:
        return self.nodes(self.config(**changes))

    def nodes(self, *configs: Path) -> subprocess.Popen[str]:
        command = [sys.executable, str(self.program)]
        for config in configs:
            command += ["--config", str(config)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        self.processes.append(process)
        return process

    def task(self, attempt: str, frame: int = 1, **command: Any) -> Message:
        what = {"do": "test-pattern", "seconds": 0, "frame": frame, "name": "x.####", **command}
        what.setdefault("folder", "data::demo/v001")
        return {
            "id": "task",
            "uuid": attempt,
            "job": "j1",
            "n": frame,
            "frame": frame,
            "file": "",
            "commands": [what],
            "timeout": 60,
            "prmanCommands": None,
        }

    def give(self, *tasks: Message) -> None:
        with self.server.changed:
            self.server.tasks += tasks

    def close(self) -> None:
        self.server.stop()
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stderr:
                process.stderr.close()


def whole_log(farm: Farm, attempt: str) -> tuple[str, int]:
    """What a server gathers of an attempt's log from all messages, and where it ends."""
    pieces = [
        (m["log_at"], m["log"]) for m in farm.server.of("report") if m["uuid"] == attempt and "log" in m
    ]
    for result in (*farm.server.of("done"), *farm.server.of("failed")):
        if result["uuid"] == attempt:
            pieces += [(at, text) for at, text in result["output"]]
    text, end = b"", 0
    for at, piece in sorted(pieces):
        data = piece.encode()
        text += data[max(0, end - at) :]
        end = max(end, at + len(data))
    return text.decode(), end


def until(predicate: Callable[[], Any], timeout_s: float = 45) -> Any:
    """For what only the disk or the process table can tell."""
    end = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)
    return predicate()
