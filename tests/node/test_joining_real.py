"""A real node's life in the farm: it asks to join, works, is updated, switches itself off, and is woken."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_farm import CLONE, RealFarm

MAC = "0a:1b:2c:3d:4e:5f"
WAIT_S = 40.0


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path)
    (made.shots / "sh010.blend").write_bytes(b"BLENDER-v304ENDB" + bytes(20))
    yield made
    made.close()


@pytest.fixture
def ear() -> Iterator[socket.socket]:
    """Where packets that wake computers are heard."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(WAIT_S)
        yield listener


class Studio(RealFarm):
    """A farm whose API an admin asks."""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        status, data = self.api(method, path, body)
        assert status < 300, (method, path, status, data)
        return data


class Pc:
    """A computer with the node's folder on it, and no token."""

    def __init__(self, farm: Studio, name: str) -> None:
        self.farm = farm
        self.name = name
        self.folder = farm.folder / f"disk of {name}"
        shutil.copytree(CLONE / "node", self.folder / "node", ignore=shutil.ignore_patterns("__pycache__"))
        self.off = self.folder / "off"
        command = f"{sys.executable} -c \"open('{self.off}', 'w')\""
        config = {
            "name": name,
            "server": f"http://127.0.0.1:{farm.port}",
            "paths": {"data": str(farm.data)},
            "processes": [1],
            "allow_shutdown": True,
            "shutdown_command": command,
        }
        self.config = self.folder / "config.json"
        self.config.write_text(json.dumps(config))

    def start(self) -> subprocess.Popen[str]:
        with open(self.folder / "said", "a") as said:
            process = subprocess.Popen(
                [sys.executable, "-u", str(self.folder / "node"), "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
            )
        self.farm.processes.append(process)
        return process

    def said(self) -> str:
        return (self.folder / "said").read_text()


def until(found: Callable[[], Any]) -> Any:
    """What it finds, as soon as that is true."""
    end = time.monotonic() + WAIT_S
    while not (value := found()):
        assert time.monotonic() < end, "never true"
        time.sleep(0.05)
    return value


def test_a_computer_joins_works_is_updated_sleeps_and_is_woken(farm: Studio, ear: socket.socket) -> None:
    settings = json.loads((farm.config / "server.json").read_text())
    settings["wake_to"] = [f"127.0.0.1:{ear.getsockname()[1]}"]
    (farm.config / "server.json").write_text(json.dumps(settings))
    # Given a computer without a token, whose program is another than the server's, …
    pc = Pc(farm, "pc07")
    with open(pc.folder / "node" / "spool.py", "a") as program:
        program.write("# older\n")
    process = pc.start()
    # …it shows a code, and so does the server; an admin admits it, and it is there.
    (asking,) = until(lambda: farm.ask("GET", "/api/farm/joining"))
    until(lambda: asking["code"] in pc.said())
    farm.ask("POST", f"/api/farm/joining/{asking['code']}", {"do": "admit"})
    node = until(lambda: next((n for n in farm.ask("GET", "/api/nodes") if n["seen"]), None))
    assert (node["name"], node["shares"], node["behind"]) == ("pc07", {"data": "same"}, True)
    assert json.loads(pc.config.read_text())["token"]
    assert pc.config.stat().st_mode & 0o077 == 0

    def state() -> str:
        return str(farm.ask("GET", "/api/nodes/pc07")["state"])

    def render() -> str:
        body = {"file": "data::demo/shots/sh010.blend", "frames": "1-3", "type": "test-pattern"}
        return str(farm.ask("POST", "/api/jobs", body)["id"])

    def done(job: str) -> bool:
        return bool(farm.ask("GET", f"/api/jobs/{job}")["state"] == "done")

    until(lambda: farm.ask("GET", "/api/assets/data::demo/shots/sh010.blend")["status"] == "ok")
    job = render()
    until(lambda: done(job))
    # It fetches the server's program, and starts again with it.
    farm.ask("POST", "/api/nodes/pc07/update")
    until(lambda: not farm.ask("GET", "/api/nodes/pc07")["behind"])
    # When nothing is left to do it switches itself off, …
    power = {"shutdown": True, "wake": True, "mac": MAC, "idle_minutes": 0.01}
    power |= {"least_up_minutes": 0, "least_down_minutes": 0}
    farm.ask("PATCH", "/api/nodes/pc07", {"power": power})
    until(lambda: state() == "off")
    assert process.wait(20) == 0
    assert pc.off.exists()
    # …and the next work wakes it: the packet is on the wire.
    job = render()
    assert ear.recv(2000) == b"\xff" * 6 + bytes.fromhex(MAC.replace(":", "")) * 16
    assert state() == "waking"
    farm.ask("PATCH", "/api/nodes/pc07", {"power": {"shutdown": False}})
    pc.start()
    until(lambda: done(job))
    until(lambda: not farm.ask("GET", "/api/nodes/pc07")["power_words"])
    lines = [json.loads(line) for line in (farm.config / "power.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines if line["event"] != "known"] == ["off", "on"]
