"""Where a file lies, as each system's file manager takes it. Pure.

A share's configuration may name its root on Windows, macOS and Linux (`windows`, `macos`, `linux`; `people`
is the older word for one of them). What isn't given follows from what is, where it can: a share that Windows
finds at `\\\\nas\\films` is `smb://nas/films` to the others. With nothing given there is the server's path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from server.disk.encoding import quote

SYSTEMS = {"windows": "Windows", "macos": "macOS", "linux": "Linux"}
SERVER = "server"
_DRIVE = re.compile(r"[A-Za-z]:")
_SIGNS = (("windows", "windows"), ("iphone", ""), ("ipad", ""), ("mac os", "macos"), ("macintosh", "macos"),
          ("android", ""), ("linux", "linux"), ("x11", "linux"))  # fmt: skip


def roots(share: Mapping[str, Any], on_server: str) -> dict[str, str]:
    """A share's root by system; under `server` where no system has one."""
    found = {system: text for system in SYSTEMS if (text := _text(share.get(system)))}
    people = _text(share.get("people"))
    if people:
        for system in _systems_of(people):
            found.setdefault(system, people)
    windows = found.get("windows", "")
    network = next((root for root in found.values() if root.lower().startswith("smb://")), "")
    if windows.startswith("\\\\"):
        for system in ("macos", "linux"):
            found.setdefault(system, "smb:" + windows.replace("\\", "/"))
    elif network and not windows:
        found["windows"] = "\\" + network[5:].replace("/", "\\")
    return {system: found[system] for system in SYSTEMS if system in found} or {SERVER: on_server}


def path(root: str, inside: str) -> str:
    """A place below a root, written as that root is."""
    if root.lower().startswith("smb://"):
        return root.rstrip("/") + "/" + quote(inside, safe="/") if inside else root
    mark = "\\" if "\\" in root or _DRIVE.match(root) else "/"
    base = root.rstrip("/\\")
    return base + mark + inside.replace("/", mark) if inside else base or mark


def system_of(agent: str) -> str:
    """The system that a browser says it runs on; '' for phones and what isn't known."""
    low = agent.lower()
    return next((system for sign, system in _SIGNS if sign in low), "")


def places(share: Mapping[str, Any], on_server: str, inside: str, agent: str) -> list[dict[str, str]]:
    """The file and its folder on each system that has a root, the reader's own system first."""
    own = system_of(agent)
    folder = inside.rpartition("/")[0]
    found = [
        {
            "system": system,
            "title": SYSTEMS.get(system, ""),
            "file": path(root, inside),
            "folder": path(root, folder),
        }
        for system, root in roots(share, on_server).items()
    ]
    return sorted(found, key=lambda one: one["system"] != own)


def _systems_of(root: str) -> tuple[str, ...]:
    if "\\" in root or _DRIVE.match(root):
        return ("windows",)
    if root.lower().startswith("smb://"):
        return ("macos", "linux")
    return ("macos",) if root.startswith("/Volumes/") else ("linux",)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
