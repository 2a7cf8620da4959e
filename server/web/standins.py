"""Stand-ins for rooms that aren't there yet. Goes away with the last of them."""

from __future__ import annotations

import importlib
from typing import Any


def room(name: str, what: str, otherwise: Any) -> Any:
    try:
        return getattr(importlib.import_module(name), what)
    except (ModuleNotFoundError, AttributeError):
        return otherwise


class Watcher:
    def __init__(self, store: Any, **kwargs: Any) -> None: ...
