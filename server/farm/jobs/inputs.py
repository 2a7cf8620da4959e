"""The other files that a scene is rendered from: libraries and textures, as the scene's facts name them.

A job renders the scene that was submitted, from a snapshot; what the scene links is not copied. So the
size and time of each linked file is kept with the job, and what changed until its end is told. Only what
lies on the scene's own share can be looked at.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from server.disk import encoding, files, paths

MAX_INPUTS = 2000  # of one scene; the rest isn't watched
MAX_FACTS_BYTES = 16 << 20

Inputs = dict[str, list[int]]  # path from the scene's folder -> size, mtime in nanoseconds


def look(scene: Path, root: Path) -> Inputs:
    """The files that this scene links and that are there, as they are now."""
    found: Inputs = {}
    for path in _named(scene)[:MAX_INPUTS]:
        state = _state(scene.parent, path, root)
        if state is not None:
            found[path] = state
    return found


def changed(folder: Path, root: Path, inputs: Mapping[str, Any]) -> list[str]:
    """Which of these files of a scene in `folder` are no longer what they were, by name."""
    return [path for path, before in inputs.items() if _state(folder, path, root) != before]


def sentence(names: list[str]) -> str:
    """What to tell of files that changed; "" of none."""
    if not names:
        return ""
    some = ", ".join(os.path.basename(name) for name in names[:3]) + (", …" if len(names) > 3 else "")
    what = "a file that it links was" if len(names) == 1 else f"{len(names)} files that it links were"
    return f"{what} changed while it was rendered: {some}"


def _named(scene: Path) -> list[str]:
    """Paths from the scene's folder, as the facts read from its content tell; `//` is that folder."""
    try:
        raw, _ = files.read_bounded(paths.companion_of(scene) / "file.json", MAX_FACTS_BYTES)
        facts = encoding.loads(raw)["facts"]
        named = [*facts.get("libraries", ()), *facts.get("textures", ())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    found: dict[str, None] = {}
    for path in named:
        if not isinstance(path, str) or "\0" in path:
            continue
        path = path.replace("\\", "/")
        if path.startswith("//"):
            found[os.path.normpath(path[2:])] = None
        elif path.startswith("/"):
            found[os.path.relpath(path, scene.parent)] = None
    return list(found)


def _state(folder: Path, path: str, root: Path) -> list[int] | None:
    whole = os.path.normpath(os.path.join(folder, path))
    if not whole.startswith(str(root).rstrip("/") + "/"):
        return None  # on another disk: the nodes may see it, we don't
    try:
        st = os.stat(whole)
    except (OSError, ValueError):
        return None
    return [st.st_size, st.st_mtime_ns]
