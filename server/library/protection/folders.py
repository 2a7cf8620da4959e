"""Whose the folders of published versions are: Croft's own user's. Nobody else changes what lies there.

Nobody but Croft writes into `versions/` and a version; in the companion and in `.croft` the group may still
make files, and take away its own, but neither rename nor delete what is Croft's (the sticky bit).
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from server.disk import files, paths
from server.disk.store import Store

HELD = 0o3775


def close(store: Store, address: str, version: str = "") -> None:
    """Close the folders of a file's versions; one that isn't ours, or on a disk without modes, stays."""
    companion = paths.companion_of(store.path(address))
    versions = companion / "versions"
    for folder in ((versions / version) if version else versions, versions):
        _give(folder, files.OWN_MODE)
    for folder in (companion, companion.parent):
        _give(folder, HELD)


def _give(folder: Path, mode: int) -> None:
    with contextlib.suppress(OSError):
        if stat.S_IMODE(os.stat(folder).st_mode) != mode:
            os.chmod(folder, mode)
