"""Stand-ins for rooms that aren't there yet. Goes away with the last of them."""

from __future__ import annotations

import importlib
from typing import Any

from server.disk.errors import NotFound


def room(name: str, what: str, otherwise: Any) -> Any:
    try:
        return getattr(importlib.import_module(name), what)
    except (ModuleNotFoundError, AttributeError):
        return otherwise


class Farm:
    paused = False

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def jobs(self, **wanted: str) -> list[Any]:
        return []

    def job(self, ident: str) -> Any:
        raise NotFound(f"There is no job {ident}.")

    cancel = pause_job = resume_job = set_priority = requeue = tasks = log = lambda self, ident, *a: self.job(
        ident
    )

    def node(self, name: str) -> Any:
        raise NotFound(f"There is no computer {name}.")

    def pause_node(self, name: str, *a: Any) -> Any:
        return self.node(name)

    def nodes(self) -> list[Any]:
        return []

    problems = nodes

    def metrics(self) -> dict[str, float]:
        return {}

    def pause(self, who: str) -> None: ...

    resume = pause

    def view(self, job: Any) -> Any:
        return job

    def submit(self, user: Any, request: Any) -> Any:
        raise NotFound("There is no farm yet.")

    def subscribe(self, function: Any) -> None: ...
    def close(self) -> None: ...


class Wire:
    def __init__(self, services: Any) -> None: ...
    def __call__(self, environ: Any, start_response: Any) -> Any:
        start_response("503 Service Unavailable", [])
        return [b"[]"]


class Watcher:
    def __init__(self, store: Any, **kwargs: Any) -> None: ...
