"""A studio for tests in a browser: a running server, its folders, and what people and computers do there."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from painter import Painter
from window import serving

from server.disk.settings import Settings
from server.library.people import People

SCENE = b"BLENDER-v304" + b"ENDB" + bytes(20)  # a whole file of nothing
ASSET = "/p/demo/asset/shots/sh010.blend"
# Not the window's width: a phone's browser widens that to what the page needs.
SIDEWAYS = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
TARGETS = "button, a.button, input:not([type=hidden], [type=checkbox], [type=radio], .aside), label.tick, "
TARGETS += "label.choice, select, nav a"
SMALL = (
    f"return [...document.querySelectorAll('{TARGETS}')]"
    + """
  .filter(e => e.checkVisibility()).map(e => [e.outerHTML.slice(0, 120), e.getBoundingClientRect()])
  .filter(([, box]) => box.height < 44 || box.width < 44).map(([html]) => html)"""
)


@dataclass
class Studio:
    """A running server with its folders."""

    config: Path
    data: Path
    base: str = ""
    token: str = ""
    node_token: str = ""

    @contextmanager
    def open(self, user: str = "supervisor") -> Iterator[Studio]:
        """Serve it. Who asks below is this user; any computer may render."""
        people = People(Settings(self.config))
        self.token, self.node_token = people.make_token(user=user), people.make_token(node="*")
        with serving(self.config, self.data) as self.base:
            yield self

    def asset(self, inside: str, **facts: object) -> Path:
        """A file with its sidecar, as a student and Croft would have left them."""
        path = self.data / "demo" / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SCENE)
        record = {"name": path.stem, "type": "shot", "state": "todo", "priority": 3, **facts}
        path.with_name(path.name + ".json").write_text(json.dumps(record))
        return path

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The API's data, asked with the token."""
        usual = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        headers = usual | headers
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)["data"]

    def render(self, inside: str, frames: str, **headers: str) -> str:
        """A job that any node can do without a renderer; its id."""
        end = time.monotonic() + 20
        while self.ask("GET", f"/api/assets/data::demo/{inside}")["status"] != "ok":
            assert time.monotonic() < end, f"{inside} doesn't settle"
            time.sleep(0.1)
        request = {"file": f"data::demo/{inside}", "frames": frames, "type": "test-pattern"}
        return str(self.ask("POST", "/api/jobs", request, **headers)["id"])

    def painter(self, name: str = "atom-3") -> Painter:
        return Painter(self.base, self.node_token, self.data, name)
