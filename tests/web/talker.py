"""A node that only talks, for tests that answer requests in their own process."""

from __future__ import annotations

import json
from typing import Any

from house import Browser, House, Reply


def submit(browser: Browser, address: str, **more: Any) -> Reply:
    """Ask for a render of three frames that needs no renderer."""
    request = {"file": address, "frames": "1-3", "type": "test-pattern", **more}
    return browser.post("/api/jobs", request)


class Node:
    """A node that does nothing but talk; protocol 2."""

    def __init__(self, house: House, name: str = "n1", in_path: bool = False, **more: Any) -> None:
        self.house, self.name, self.more = house, name, more
        self.token = house.croft.services.people.make_token(node=name)
        self.in_path = in_path

    def say(self, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        marker = json.loads((self.house.data / ".croft-share.json").read_text())["id"]
        identity = {"id": "identity", "name": self.name, "version": "9", "provides": [], "protocol": 2}
        identity |= {"slots": 1, "paths": {"data": marker}, **self.more}
        browser = Browser(self.house.croft.wsgi, "" if self.in_path else self.token)
        target = f"/t/{self.token}/farm" if self.in_path else "/farm"
        reply = browser.post(target, [identity, *requests])
        assert reply.status == 200, reply.body
        return list(reply.json)

    def claim(self) -> dict[str, Any]:
        answers = self.say({"id": "task", "paths": ["data"], "provides": [], "count": 1})
        return next((answer for answer in answers if answer["id"] == "task"), {})

    def finish(self, task: dict[str, Any]) -> list[dict[str, Any]]:
        """Draw what was asked for, as the real node does: aside, then told."""
        command = task["commands"][0]
        name = command["name"].replace("####", f"{task['frame']:04d}") + ".png"
        temp = f".{task['uuid']}.{name}"
        folder = self.house.data / command["folder"].partition("::")[2]
        content = b"\x89PNG\r\n\x1a\n" + b"pixels"
        (folder / temp).write_bytes(content)
        output = {"name": name, "path": name, "temp": temp, "size": len(content), "kind": "frame"}
        return self.say(
            {"id": "done", "uuid": task["uuid"], "frame": task["frame"], "time": 1.5, "outputs": [output]}
        )
