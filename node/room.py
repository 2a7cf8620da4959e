"""Is a disk full that an attempt needed? Asked after a failure, so that the right one is blamed."""

from __future__ import annotations

import shutil
import tempfile
from typing import List

from .config import Config

LEAST_BYTES = 4 << 20  # a frame of less is rare, and so much is always free on a disk that isn't full


def full_disk(config: Config, folders: List[str]) -> str:
    """`This computer's disk is full: /tmp`, `The share data is full`, or nothing."""
    for folder in folders:
        try:
            if shutil.disk_usage(config.local(folder)).free < LEAST_BYTES:
                return f"The share {folder.partition('::')[0]} is full."
        except (OSError, ValueError):
            continue
    for place in (tempfile.gettempdir(), str(config.spool)):
        try:
            if shutil.disk_usage(place).free < LEAST_BYTES:
                return f"This computer's own disk is full: {place}."
        except OSError:
            continue
    return ""
