"""What is known of a scene's content, as the library read it when the file arrived (`file.json`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.disk import encoding, files, paths
from server.disk.store import Store
from server.library.dependencies.links import Links

MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class Facts:
    """Facts of a file. Never certain to be there: a key that isn't known is absent."""

    told: Mapping[str, Any] = field(default_factory=dict)
    present: bool = False  # they are those of the bytes that are there now
    hash: str = ""  # of the content that they are of
    state: tuple[int, int] = (-1, -1)  # its size and mtime in nanoseconds

    def scene(self, name: object = None) -> Mapping[str, Any]:
        """What is told of one scene of the file; of the present one without a name."""
        scenes = self.told.get("scenes")
        for scene in scenes if isinstance(scenes, list) else ():
            if name and isinstance(scene, dict) and scene.get("name") == name:
                return scene
        return {} if name else self.told

    def frames(self, name: object = None) -> tuple[int, int] | None:
        """First and last frame of a scene."""
        found = self.scene(name).get("frames")
        if isinstance(found, list) and len(found) == 2 and all(type(frame) is int for frame in found):
            return (found[0], found[1]) if found[0] <= found[1] else None
        return None


def of(path: Path) -> Facts:
    """The facts of the file at this path; none where there are none, or what lies there makes no sense."""
    try:
        raw, _ = files.read_bounded(paths.companion_of(path) / "file.json", MAX_BYTES)
        record = encoding.loads(raw)
        told, state = record.get("facts"), (record.get("size"), record.get("mtime_ns"))
        found = os.stat(path)
        digest = record.get("hash")
    except (OSError, ValueError, AttributeError):
        return Facts()
    present = state == (found.st_size, found.st_mtime_ns)
    known = told if isinstance(told, dict) else {}
    return Facts(known, present, digest if isinstance(digest, str) else "", state)


def said(span: tuple[int, int] | None, start: int | None, end: int | None) -> tuple[int, int] | None:
    """A scene's range with the ends that people have said of the file; the scene's own if that is none."""
    first = start if start is not None else span[0] if span else None
    last = end if end is not None else span[1] if span else None
    return (first, last) if first is not None and last is not None and first <= last else span


def output_folder(store: Store, address: str, raw: str) -> str:
    """The address of the folder that a scene's own output path leads to; '' where that is on no share."""
    if not raw:
        return ""
    link = Links(store.shares, store.settings.folder("shares")).resolve(address, raw)
    if link is None or not link.address:
        return paths.folder_of(address) if raw == "//" else ""
    return link.address if raw.endswith(("/", "\\")) else paths.folder_of(link.address)


def output_for(store: Store, address: str, asked: str, scenes: str) -> str:
    """Which output puts a scene's frames into the folder that was asked for; '' where none does. `scenes`:
    the folder that the scene itself writes to. A file's name, as `x/sh010.####.png`, counts as its folder."""
    plain = asked.replace("\\", "/")
    if paths.SEPARATOR in plain:
        place = paths.address(*paths.parse(plain.rstrip("/")))
    else:
        link = Links(store.shares, store.settings.folder("shares")).resolve(address, asked)
        place = link.address if link is not None else ""
    last = plain.rstrip("/").rpartition("/")[2]
    if not plain.endswith("/") and ("#" in last or "." in last.strip(".")):
        place, plain = paths.folder_of(place) if place else "", plain.rpartition("/")[0]
    places = {place, *_inside_of(address, plain)} - {""}
    if renders_of(address) in places:
        return "version"
    return "scene" if scenes in places else ""


def _inside_of(address: str, asked: str) -> set[str]:
    """A path that begins nowhere, as `shots/render/sh010`, may count from any folder that holds the file."""
    relative, found, folder = asked.rstrip("/"), set(), address
    while relative and not asked.startswith("/") and folder != paths.folder_of(folder):
        folder = paths.folder_of(folder)
        found.add(paths.join(folder, relative))
    return found


def renders_of(address: str) -> str:
    """The folder in which each render of a file gets a new one."""
    return paths.join(paths.folder_of(address), paths.RENDER, paths.own_stem(paths.name_of(address)))
