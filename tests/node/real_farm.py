"""The real server and real nodes as processes, for tests and figures that kill, stop and restart them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image

CLONE = Path(__file__).resolve().parents[2]
SCENES = Path(__file__).with_name("scenes.py")
Record = dict[str, Any]


def make_scenes(folder: Path, *kinds: str) -> Path:
    """Real scenes, by one run of Blender."""
    wanted = [text for kind in kinds for text in (kind, str(folder / f"{kind}.blend"))]
    command = ["blender", "-b", "--factory-startup", "--python", str(SCENES), "--", *wanted]
    subprocess.run(command, check=True, capture_output=True, timeout=50)
    return folder


class RealFarm:
    """One server on one share. `close` ends everything that was started."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.config, self.data = folder / "config", folder / "data"
        self.shots = self.data / "demo/shots"
        self.shots.mkdir(parents=True)
        (self.data / "demo/project.json").write_text("{}")
        self.config.mkdir()
        settings = {"settle_s": 0.2, "lease_s": 3, "heartbeat_s": 0.4, **settings}
        (self.config / "server.json").write_text(json.dumps(settings))
        self.environment = {**os.environ, "CROFT_VENV": sys.prefix}
        self.port = 0
        self.tokens: dict[str, str] = {}
        self.server: subprocess.Popen[str] | None = None
        self.processes: list[subprocess.Popen[Any]] = []
        self.start_server()
        self.token = self._token("admin")

    # -- processes

    def start_server(self) -> None:
        log = open(self.folder / "server.log", "a")  # noqa: SIM115
        with log:
            self.server = subprocess.Popen(
                [*self._run("serve"), "--data", str(self.data), "--port", str(self.port)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
            )
        self.processes.append(self.server)
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        assert "http://" in line, (self.folder / "server.log").read_text()[-2000:]
        self.port = int(line.rstrip().rstrip("/.").rpartition(":")[2])

    def kill_server(self) -> None:
        assert self.server is not None
        self.server.kill()
        self.server.wait()

    def start_node(
        self,
        name: str,
        address: str = "",
        environment: dict[str, str] | None = None,
        within: tuple[str, ...] = (),
        **changes: Any,
    ) -> subprocess.Popen[str]:
        """`address`: where it finds the server; `within`: the command that runs it, as `ip netns exec`."""
        data = {
            "name": name,
            "server": f"http://{address or f'127.0.0.1:{self.port}'}",
            "token": self.node_token(name),
            "paths": {"data": str(self.data)},
            "jitter": 0,
            **changes,
        }
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(data))
        with open(self.folder / f"{name}.log", "a") as log:
            command = [*within, sys.executable, str(CLONE / "run.py"), "node", "--config", str(path)]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stderr=log,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        self.processes.append(process)
        return process

    def node_token(self, name: str) -> str:
        """Made once: a node that is started again has it still."""
        if name not in self.tokens:
            self.tokens[name] = self._token("--node", name)
        return self.tokens[name]

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _run(self, command: str) -> list[str]:
        return [sys.executable, str(CLONE / "run.py"), command, "--config", str(self.config)]

    def _token(self, *whose: str) -> str:
        command = [*self._run("token"), *whose]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=self.environment)
        return done.stdout.strip()

    # -- the API

    def api(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def submit(self, scene: Path, frames: str, **more: Any) -> str:
        """Copies the scene in, as a student does, and asks for a render as soon as it is there."""
        shutil.copy(scene, self.shots / scene.name)
        request = {"file": f"data::demo/shots/{scene.name}", "frames": frames, **more}
        status, job = until(lambda: self._submitted(request))
        assert status == 201, job
        return str(job["id"])

    def _submitted(self, request: Record) -> Any:
        answer = self.api("POST", "/api/jobs", request)
        return answer if answer[0] not in (404, 409) else None

    def job(self, ident: str) -> Record:
        status, job = self.api("GET", f"/api/jobs/{ident}")
        assert status == 200, job
        found: Record = job
        return found

    def wait_for(self, ident: str, *states: str, timeout_s: float = 90) -> Record:
        """The job, once it is in one of the states, on the disk too."""

        def there() -> Record | None:
            job = self.job(ident)
            ended = job["state"] in states and self.events(ident, "state")[-1]["to"] == job["state"]
            return job if ended else None

        found: Record = until(there, timeout_s)
        return found

    # -- the share

    def version(self, job: Record) -> Path:
        address: str = job["folder"]
        if "::" in address:
            return self.data / address.partition("::")[2]
        return self.shots / address

    def journal(self, ident: str) -> list[Record]:
        (path,) = self.shots.glob(f".croft/*/jobs/{ident}/journal.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()]

    def events(self, ident: str, kind: str) -> list[Record]:
        return [event for event in self.journal(ident) if event["event"] == kind]

    def snapshot(self, ident: str) -> Path:
        (path,) = self.shots.glob(f".*{ident}*.blend")
        return path

    def expect_whole(self, job: Record, frames: list[int], failed: int = 0) -> None:
        """Every frame there once, whole, nothing beside it, and the statistics add up."""
        folder, ident = self.version(job), job["id"]
        stem = Path(job["file"]).stem
        names = sorted(path.name for path in folder.iterdir() if path.is_file())
        assert names == [f"{stem}.{frame:04d}.png" for frame in frames]
        for name in names:
            with Image.open(folder / name) as image:
                image.load()
                assert image.size == (64, 36)
        # The preview's task comes after those that were asked for.
        done = [event for event in self.events(ident, "done") if event["task"] < job["total"]]
        assert len({event["task"] for event in done}) == len(done) == len(frames)
        assert job["counts"]["done"] == len(frames)
        assert job["counts"]["failed"] == failed
        assert sum(job["counts"].values()) == job["total"] == len(frames) + failed
        seconds = [event["seconds"] for event in done]
        assert all(second > 0 for second in seconds)
        assert abs(job["seconds_per_task"] - sum(seconds) / len(seconds)) < 0.01
        rows = self.api("GET", f"/api/jobs/{ident}/tasks?limit=100")[1]
        assert [row["frame"] for row in rows if row["state"] == "done" and row["n"] < job["total"]] == frames


def until(predicate: Any, timeout_s: float = 60, look_s: float = 0.03) -> Any:
    end = time.monotonic() + timeout_s
    while not (found := predicate()):
        assert time.monotonic() < end, "it never came true"
        time.sleep(look_s)
    return found
