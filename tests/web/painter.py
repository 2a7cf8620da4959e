"""A node whose every step a test decides: it speaks the wire and draws one-coloured frames."""

from __future__ import annotations

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image


class Painter:
    """One computer with one slot."""

    def __init__(self, base: str, token: str, data: Path, name: str = "atom-3") -> None:
        self.base = base
        self.token = token
        self.data = data
        self.identity = {
            "id": "identity", "name": name, "version": "1", "provides": [], "protocol": 2, "slots": 1,
            "hardware": {"cores": 2, "memory_mb": 4096, "os": "Linux", "host": name}, "mac": "",
            "paths": {"data": json.loads((data / ".croft-share.json").read_text())["id"]},
            "programs": {"blender": "3.4.1"},
        }  # fmt: skip

    def talk(self, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        """One exchange with the server."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        body = json.dumps([self.identity, *requests]).encode()
        request = urllib.request.Request(f"{self.base}/farm", body, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def claim(self) -> dict[str, Any]:
        """A task; there must be one."""
        ask = {"id": "task", "paths": ["data"], "provides": [], "count": 1}
        tasks = [one for one in self.talk(ask) if one["id"] == "task"]
        assert tasks, "the server had no task"
        return tasks[0]

    def paint(self, seconds: float = 0.5) -> int:
        """Claims a frame, draws it, delivers it; its number."""
        task = self.claim()
        command = task["commands"][0]
        name = command["name"].replace("####", f"{command['frame']:04d}")
        name = name if name.endswith(".png") else f"{name}.png"
        folder = self.data / command["folder"].partition("::")[2]
        temp = f".{task['uuid']}.{name}"
        size = (int(command["width"]), int(command["height"]))
        with (folder / temp).open("wb") as file:
            Image.new("RGB", size, f"hsl({command['frame'] * 9 % 360}, 60%, 50%)").save(file, "PNG")
            file.flush()
            os.fsync(file.fileno())
        output = {
            "name": name, "path": name, "temp": temp, "size": (folder / temp).stat().st_size, "kind": "frame",
            "width": size[0], "height": size[1],
        }  # fmt: skip
        done = {"id": "done", "uuid": task["uuid"], "frame": task["frame"], "time": seconds}
        said = self.talk({**done, "outputs": [output], "statistics": {"render_s": seconds, "memory_mb": 90}})
        assert [one["id"] for one in said if one["id"] in ("accepted", "refused")] == ["accepted"], said
        return int(command["frame"])

    def fail(self, log: str) -> int:
        """Claims a frame and gives it up; its number."""
        task = self.claim()
        failed = {"id": "failed", "uuid": task["uuid"], "frame": task["frame"], "time": 0.1}
        self.talk({**failed, "reason": "renderer error", "log": log})
        return int(task["frame"])
