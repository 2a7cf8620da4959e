"""A real server, real nodes here, a real prenode, and a Slurm for it: for tests and figures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image
from real_farm import CLONE, RealFarm, Record, until
from slurm_kit import Slurm


class BridgeFarm(RealFarm):
    """A farm whose prenode `lab` starts nodes on Slurm."""

    def __init__(self, folder: Path, slurm: Slurm, **settings: Any) -> None:
        super().__init__(folder, **settings)
        self.slurm = slurm
        self.prenode: subprocess.Popen[str] | None = None
        self.group = self.node_token("*")
        picture = self.shots / "pattern.png"
        Image.new("RGB", (64, 36)).save(picture)

    def write_prenode(self, **changes: Any) -> Path:
        path = self.folder / "prenode.json"
        node = {"paths": {"data": str(self.data)}, "processes": [1], "jitter": 0, **changes.pop("node", {})}
        told = {
            "name": "lab",
            "server": f"http://127.0.0.1:{self.port}",
            "token": self.group,
            "engine": "slurm",
            "check_time": 1,
            "retry_time": 1,
            "at_most": 4,
            "python": sys.executable,
            "folder": "over there",
            "node": node,
            **changes,
        }
        path.write_text(json.dumps(told))
        path.chmod(0o600)
        return path

    def slow_engine(self) -> str:
        """Slurm, with an sbatch that takes its time before it begins."""
        slow = self.folder / "slow"
        slow.write_text(f'#!/bin/sh\ntouch {self.folder}/submitting\nsleep 2\nexec sbatch "$@"\n')
        slow.chmod(0o755)
        told = json.loads((CLONE / "prenode/engines/slurm.json").read_text())
        told["submit"][0] = str(slow)
        (self.folder / "slow.json").write_text(json.dumps(told))
        return "slow.json"

    def book(self) -> Record:
        """What the prenode has written down."""
        path = self.folder / "over there/state.json"
        found: Record = json.loads(path.read_text()) if path.exists() else {"batches": []}
        return found

    def start_prenode(self, **changes: Any) -> None:
        path = self.write_prenode(**changes)
        with open(self.folder / "prenode.log", "a") as log:
            self.prenode = subprocess.Popen(
                [sys.executable, str(CLONE / "run.py"), "prenode", "--config", str(path)],
                stdin=subprocess.DEVNULL,
                stderr=log,
                text=True,
                env=self.slurm.environment,
            )
        self.processes.append(self.prenode)

    def kill_prenode(self) -> None:
        assert self.prenode is not None
        self.prenode.kill()
        self.prenode.wait()

    def check(self, **changes: Any) -> tuple[int, str]:
        """What `--check` says."""
        path = self.write_prenode(**changes)
        command = [sys.executable, str(CLONE / "run.py"), "prenode", "--config", str(path), "--check"]
        done = subprocess.run(
            [*command, "--wait", "50"],
            capture_output=True,
            text=True,
            env=self.slurm.environment,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def pattern(self, frames: int, seconds: float, **more: Any) -> str:
        """A job of predictable pictures; its id."""
        body = {
            "file": "data::demo/shots/pattern.png",
            "frames": f"1-{frames}",
            "type": "test-pattern",
            "parameters": {"seconds": seconds},
            **more,
        }
        status, job = until(lambda: self._submitted(body))
        assert status == 201, job
        return str(job["id"])

    def done_by(self, job: str) -> Counter[str]:
        """Frames by the node that did them, as the journal has it."""
        return Counter(str(event["node"]) for event in self.events(job, "done"))

    def told_to_end(self) -> list[int]:
        """How the nodes over there ended that were told to."""
        marks = [json.loads(path.read_text()) for path in self.folder.glob("over there/runs/*.ended")]
        return [mark["code"] for mark in marks if mark["told"]]

    def expect_once(self, ident: str, frames: int) -> Record:
        """Every frame is there, was accepted once, and nothing else lies beside it."""
        job = self.wait_for(ident, "done")
        done = Counter(event["task"] for event in self.events(ident, "done"))
        assert done == Counter(range(frames))
        names = [f"pattern.{frame:04d}.png" for frame in range(1, frames + 1)]
        # What a node that was killed had begun to write is swept away a little later.
        until(lambda: sorted(path.name for path in self.version(job).iterdir() if path.is_file()) == names)
        return job

    def said(self) -> str:
        return (self.folder / "prenode.log").read_text()[-4000:]
