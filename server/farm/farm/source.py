"""A scene that a version was rendered from, brought back beside its file: what it needs besides its bytes.

Blender looks for a simulation's cache by the scene's own name: the copy gets one, where the scene's is still
what was rendered. What else changed that the scene links is told.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from server.disk import files, paths
from server.disk.errors import CroftError
from server.disk.store import Store
from server.farm.jobs import inputs, snapshots
from server.library import versions


def dress(
    store: Store, job: Callable[[str], Mapping[str, Any]], address: str, save: str, copy: str
) -> list[str]:
    """Give the scene of a file's render, brought back as `copy`, its caches; the files that aren't as they
    were then. `save` is a version's id, or the job's; `job` gives a job's request."""
    name = save.removeprefix("render-")
    try:
        if paths.version_number(name) is not None:
            name = str(versions.one(store, address, name).get("job") or "")
        return _dress(store, job(name), copy)
    except CroftError:
        return []  # Race: the render was put away.


def _dress(store: Store, record: Mapping[str, Any], address: str) -> list[str]:
    place = store.path(address)
    told = record.get("inputs")
    found = inputs.Files(place.parent, store.shares)
    changed = list(inputs.changed(found, told if isinstance(told, dict) else {}))
    caches = record.get("caches")
    if isinstance(caches, dict) and caches and not _bring(place, str(record.get("file")), caches):
        changed.append(snapshots.cache_folders(place, paths.name_of(str(record.get("file"))))[1].name)
    return changed


def _bring(place: Path, file: str, told: Mapping[str, Any]) -> bool:
    """Whether the caches are there now, as they were rendered."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = snapshots.take_caches(paths.name_of(file), place, Path(folder))
        except (CroftError, OSError):
            found = {}
    if not found or found.get("sha256") != told.get("sha256"):
        snapshots.drop_caches(place)
        return False
    ours = snapshots.cache_folder(place)
    with contextlib.suppress(OSError):  # a person's now, who may bake it anew
        os.chmod(ours, files.FOLDER_MODE)
        for name in os.listdir(ours):
            os.chmod(ours / name, files.FILE_MODE)
    return True
