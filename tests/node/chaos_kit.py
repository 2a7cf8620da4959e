"""A farm of real nodes with real Blender on which disasters fall by a seeded dice, and the accounts after.

Each node is a process with a configuration of its own; it reaches the server through a cable that can be cut.
One of them is broken: its Blender crashes at whatever it is given.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image
from real_farm import RealFarm, Record, until

BROKEN = "broken"
SICK_BLENDER = """#!/bin/sh
for word in "$@"; do [ "$word" = --version ] && { echo "Blender 3.4.1"; exit 0; }; done
kill -SEGV $$
"""


class Cable:
    """Stands between one node and the server. Cut, it swallows what is under way and answers nobody."""

    within: tuple[str, ...] = ()  # the command that a node at its end is started by

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.server_port = port
        self.cut = False
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((host, 0))
        self.address = f"{host}:{self._listener.getsockname()[1]}"
        self._ended = False
        threading.Thread(target=self._accept, daemon=True).start()

    def sever(self) -> None:
        self.cut = True
        for one in list(self._open):
            _shut(one)

    def mend(self) -> None:
        self.cut = False

    def close(self) -> None:
        self._ended = True
        _shut(self._listener)
        self._listener.close()
        self.sever()

    def _accept(self) -> None:
        while not self._ended:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self.cut:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.server_port), timeout=5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            for source, target in ((near, far), (far, near)):
                self._open.add(source)
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        finally:
            _shut(source)
            _shut(target)
            self._open.discard(source)
            source.close()


class PulledCable(Cable):
    """The one wire out of a network namespace, in which the node lives. Pulled, not a packet passes and
    nobody is told: what was under way hangs until it is put back or given up. OSError where not allowed."""

    number = 0

    def __init__(self, port: int) -> None:
        PulledCable.number += 1
        here = f"{os.getpid()}-{self.number}"
        self.space, self.wire, inside = f"croft-{here}", f"w{here}", f"n{here}"
        self.within = ("ip", "netns", "exec", self.space)
        # Addresses that are set aside for tests of networks: nobody's house has them.
        net, at = f"198.18.{os.getpid() % 256}", self.number % 64 * 4
        if not shutil.which("ip"):
            raise OSError("there is no command ip")
        try:
            _ip("netns", "add", self.space)
            _ip("link", "add", self.wire, "type", "veth", "peer", "name", inside, "netns", self.space)
            _ip("addr", "add", f"{net}.{at + 1}/30", "dev", self.wire)
            _ip("link", "set", self.wire, "up")
            _ip("-n", self.space, "addr", "add", f"{net}.{at + 2}/30", "dev", inside)
            _ip("-n", self.space, "link", "set", inside, "up")
            _ip("-n", self.space, "link", "set", "lo", "up")
            super().__init__(port, f"{net}.{at + 1}")
        except OSError:
            self._take_down()
            raise

    def sever(self) -> None:
        _ip("link", "set", self.wire, "down")

    def mend(self) -> None:
        _ip("link", "set", self.wire, "up")

    def close(self) -> None:
        self._ended = True
        for one in [self._listener, *self._open]:
            _shut(one)
        self._listener.close()
        self._take_down()

    def _take_down(self) -> None:
        for words in (("link", "del", self.wire), ("netns", "del", self.space)):
            subprocess.run(["ip", *words], capture_output=True, check=False)


def cable_to(port: int) -> Cable:
    """A network of its own for the node where we may make one, else a relay that can be cut."""
    try:
        return PulledCable(port)
    except OSError:
        return Cable(port)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.strip())


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # closed already


class Machine:
    """One computer of the farm: its process, its cable, its own small disk."""

    def __init__(self, farm: RealFarm, name: str, disk: Path | None, **changes: Any) -> None:
        self.farm, self.name, self.disk, self.changes = farm, name, disk, changes
        self.cable = cable_to(farm.port)
        self.process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        if self.disk is not None:
            self.changes["spool"] = str(self.disk / "spool")
        environment = {"TMPDIR": str(self.disk)} if self.disk is not None else {}
        self.process = self.farm.start_node(
            self.name,
            address=self.cable.address,
            environment=environment,
            within=self.cable.within,
            processes=[1],
            **self.changes,
        )

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def blenders(self) -> list[int]:
        """The Blenders below this node."""
        return [pid for pid in below(self.pid) if name_of(pid) == "blender"]


def below(pid: int) -> list[int]:
    found: list[int] = []
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        try:
            for task in Path(f"/proc/{one}/task").iterdir():
                children = [int(text) for text in (task / "children").read_text().split()]
                found += children
                waiting += children
        except OSError:
            continue
    return found


def name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class Chaos:
    """Three projects' jobs on a farm that is being mistreated. `run`, `recover`, `check`."""

    def __init__(self, folder: Path, scenes: Path, seed: int, nodes: int) -> None:
        self.random = random.Random(seed)
        self.scenes = scenes
        self.log: list[str] = []
        self.began = time.monotonic()
        settings = {"lease_s": 4, "heartbeat_s": 0.5, "timeout_least_s": 8, "avoid_s": 30}
        self.farm = RealFarm(folder, **settings)
        for project in ("red", "blue"):
            (self.farm.data / project / "shots").mkdir(parents=True)
            (self.farm.data / project / "project.json").write_text("{}")
        self.mounts: list[Path] = []
        self.sick_said: set[str] = set()
        self.jobs: dict[str, tuple[str, str, int]] = {}  # id -> project, scene, frames
        self.done: Counter[str] = Counter()  # disasters
        self.machines = [self._machine(f"n{number}") for number in range(1, nodes + 1)]
        wrapper = folder / "bad" / "blender"
        wrapper.parent.mkdir()
        wrapper.write_text(SICK_BLENDER)
        wrapper.chmod(0o755)
        self.broken = Machine(self.farm, BROKEN, None, blender=str(wrapper))

    def _machine(self, name: str) -> Machine:
        disk = self.farm.folder / f"disk-{name}"
        disk.mkdir()
        if (
            os.geteuid() == 0
            and not subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(disk)], capture_output=True
            ).returncode
        ):
            self.mounts.append(disk)
        return Machine(self.farm, name, disk, scripting=True)

    # -- what is asked for

    def submit(self, project: str, kind: str, frames: int, **more: Any) -> str:
        number = len(self.jobs)
        name = f"{kind}{number}.blend"
        shutil.copy(self.scenes / f"{kind}.blend", self.farm.data / project / "shots" / name)
        request = {"file": f"data::{project}/shots/{name}", "frames": f"1-{frames}", **more}

        def asked() -> Any:
            try:
                status, data = self.farm.api("POST", "/api/jobs", request)
            except OSError:
                return None  # the server was just killed
            return data if status == 201 else None

        ident = str(until(asked)["id"])
        self.jobs[ident] = (project, kind, frames)
        return ident

    def keep_busy(self, frames: int) -> None:
        """Give each project another job where it has none that isn't over."""
        for project, kind in (("demo", "slow"), ("red", "plain"), ("blue", "plain")):
            mine = [ident for ident, job in self.jobs.items() if job[0] == project]
            try:
                states = [self.farm.job(ident)["state"] for ident in mine[-2:]]
            except (OSError, AssertionError):
                continue
            if not any(state in ("waiting", "running") for state in states):
                self.submit(project, kind, frames if kind == "plain" else max(2, frames // 3))

    # -- disasters

    def run(self, seconds: float, frames: int, pause: tuple[float, float]) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.keep_busy(frames)
            self.look_at_the_broken_one()
            what = self.random.choice(
                ["kill", "kill", "hang", "freeze", "slow", "fill", "cut", "cut", "kill blender", "server"]
            )
            machine = self.random.choice(self.machines)
            self.done[what] += 1
            self.log.append(f"{time.monotonic() - self.began:7.1f} {what} {machine.name}")
            getattr(self, what.replace(" ", "_"))(machine)
            time.sleep(self.random.uniform(*pause))

    def kill(self, machine: Machine) -> None:
        """The power goes: the node and all below it must be gone, and it comes back."""
        pid = machine.pid
        own = machine.blenders()
        os.kill(pid, signal.SIGKILL)
        assert machine.process is not None
        machine.process.wait()
        until(lambda: not any(name_of(child) == "blender" for child in own), 15)
        time.sleep(self.random.uniform(0, 2))
        machine.start()

    def kill_blender(self, machine: Machine) -> None:
        for pid in machine.blenders():
            _signal(pid, signal.SIGKILL)

    def hang(self, machine: Machine) -> None:
        """Its Blender stands still for ever: whoever notices must end it."""
        for pid in machine.blenders():
            _signal(pid, signal.SIGSTOP)

    def freeze(self, machine: Machine) -> None:
        """The whole node stands still for a while, and goes on as if nothing had been."""
        _signal(machine.pid, signal.SIGSTOP)
        time.sleep(self.random.uniform(1, 7))
        _signal(machine.pid, signal.SIGCONT)

    def slow(self, machine: Machine) -> None:
        end = time.monotonic() + self.random.uniform(1, 4)
        while time.monotonic() < end:
            own = machine.blenders()
            for number, seconds in ((signal.SIGSTOP, 0.2), (signal.SIGCONT, 0.05)):
                for pid in own:
                    _signal(pid, number)
                time.sleep(seconds)

    def fill(self, machine: Machine) -> None:
        if machine.disk not in self.mounts:
            return
        assert machine.disk is not None
        junk = machine.disk / "junk"
        try:
            with open(junk, "wb") as file:
                while file.write(bytes(1 << 20)):
                    file.flush()
        except OSError:
            pass  # full
        time.sleep(self.random.uniform(1, 5))
        junk.unlink()

    def cut(self, machine: Machine) -> None:
        machine.cable.sever()
        time.sleep(self.random.uniform(0.5, 8))
        machine.cable.mend()

    def server(self, machine: Machine) -> None:
        self.farm.kill_server()
        time.sleep(self.random.uniform(0, 1))
        self.farm.start_server()

    def look_at_the_broken_one(self) -> None:
        try:
            node = self.farm.api("GET", f"/api/nodes/{BROKEN}")[1]
        except OSError:
            return
        if isinstance(node, dict) and node.get("state") == "sick":
            self.sick_said.add(str(node.get("closed")).partition("; rests")[0])

    # -- afterwards

    def recover(self, timeout_s: float) -> None:
        """Everything is mended, and the farm is waited for."""
        for machine in self.machines:
            machine.cable.mend()
            for pid in machine.blenders():
                _signal(pid, signal.SIGCONT)
            if machine.process is None or machine.process.poll() is not None:
                machine.start()
        end = time.monotonic() + timeout_s

        def over() -> bool:
            self.look_at_the_broken_one()
            states = {ident: self.farm.job(ident)["state"] for ident in self.jobs}
            open_jobs = [ident for ident, state in states.items() if state in ("waiting", "running")]
            assert time.monotonic() < end, [self.farm.job(ident) for ident in open_jobs]
            return not open_jobs

        until(over, timeout_s + 30)

    def check(self) -> None:
        """Every frame of every healthy job is there once, whole; the sums are those of the journals."""
        for ident, (project, kind, frames) in self.jobs.items():
            job = self.farm.job(ident)
            events = self.journal(ident)
            wanted = list(range(1, frames + 1))
            if kind == "crash":
                wanted.remove(5)
                assert job["state"] == "failed", job
                told = self.farm.api("GET", f"/api/jobs/{ident}/tasks/4")[1]
                assert "Frame 5 of" in told["sentence"]
                real = {e["node"] for e in events if e["event"] == "failed" and e["task"] == 4}
                assert len(real) >= 2, f"only {real} had tried it"
            else:
                assert job["state"] == "done", (job["why"], [e for e in events if e["event"] == "failed"])
            self.expect_frames(project, job, wanted)
            self.expect_sums(job, events)
        self.expect_farms_sums()
        assert any("crash" in said or "signal" in said for said in self.sick_said), self.sick_said

    def journal(self, ident: str) -> list[Record]:
        project = self.jobs[ident][0]
        (path,) = (self.farm.data / project / "shots").glob(f".croft/*/jobs/{ident}/journal.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()]

    def expect_frames(self, project: str, job: Record, frames: list[int]) -> None:
        folder = self.farm.data / str(job["folder"]).partition("::")[2]
        stem = Path(job["file"]).stem
        names = [f"{stem}.{frame:04d}.png" for frame in frames]

        def there() -> list[str]:
            return sorted(path.name for path in folder.iterdir() if path.is_file())

        until(lambda: there() == names, 30)  # what dead attempts left is swept up once the job has ended
        for name in names:
            with Image.open(folder / name) as image:
                image.load()
                assert image.size == (64, 36)

    def expect_sums(self, job: Record, events: list[Record]) -> None:
        """The job's sums are those of its journal. Tasks from `total` on, previews, nobody asked for."""
        count = Counter(event["event"] for event in events)
        ends = [event for event in events if event["event"] == "done"]
        assert max(Counter(event["task"] for event in ends).values()) == 1, "a frame was accepted twice"
        ends = [event for event in ends if event["task"] < job["total"]]
        assert job["counts"]["done"] == len(ends)
        assert job["attempts"] == count["claim"]
        assert (job["failed_attempts"], job["lost_attempts"]) == (count["failed"], count["expired"])
        assert job["refused_attempts"] == count["refused"]
        assert job["free_attempts"] == sum(bool(e.get("free")) for e in events if e["event"] == "failed")
        for name, sums in job["nodes"].items():
            own = [event for event in events if event.get("node") == name]
            assert sums["done"] == sum(event["node"] == name for event in ends), name
            for key, kind in (("failed", "failed"), ("lost", "expired")):
                assert sums[key] == sum(event["event"] == kind for event in own), (name, key)
        seconds = sum(event["seconds"] for event in ends)
        assert abs(job["seconds"] - seconds) < 0.01 * max(1, len(ends))

    def expect_farms_sums(self) -> None:
        """What the farm says it did, computer by computer, is what all journals say together."""
        told: Counter[tuple[str, str]] = Counter()
        for ident in self.jobs:
            total = self.farm.job(ident)["total"]
            for event in self.journal(ident):
                if event["event"] in ("failed", "expired") or (
                    event["event"] == "done" and event["task"] < total
                ):
                    told[event["node"], event["event"]] += 1
        rows = self.farm.api("GET", "/api/farm/statistics?by=node&days=0")[1]["rows"]
        for row in rows:
            for key, kind in (("frames", "done"), ("failed", "failed"), ("lost", "expired")):
                assert row[key] == told.pop((row["key"], kind), 0), (row, kind)
        assert not told

    def close(self) -> None:
        for machine in [*self.machines, self.broken]:
            if machine.process is not None and machine.process.poll() is None:
                _signal(machine.pid, signal.SIGCONT)
                for pid in machine.blenders():
                    _signal(pid, signal.SIGCONT)
        self.farm.close()
        for machine in [*self.machines, self.broken]:
            machine.cable.close()
        for mount in self.mounts:
            subprocess.run(["umount", "--lazy", str(mount)], check=False)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended meanwhile
