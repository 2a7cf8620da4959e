"""A store with its watcher on a real folder, and how to ask whether its index is true."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from server.disk.index import Index
from server.disk.paths import Share
from server.disk.records import Change, Entry
from server.disk.scan import Scanner
from server.disk.settings import Settings
from server.disk.store import Store
from server.disk.watcher import Watcher

SETTLE_S = 0.15


@dataclass
class Live:
    """One server's disk wing at work."""

    store: Store
    watcher: Watcher
    root: Path
    heard: list[Change] = field(default_factory=list)

    def settle(self) -> None:
        assert self.watcher.settled(20), "the watcher doesn't come to rest"

    def entry(self, address: str) -> Entry:
        found = self.store.index.get(address)
        assert found is not None, f"{address} isn't known"
        return found

    def statuses(self) -> dict[str, str]:
        return {entry.address: entry.status for entry in self.store.index.entries()}

    def rebuilt(self) -> dict[str, Any]:
        """What a fresh scan makes of the disk."""
        index = Index()
        for share in self.store.shares:
            Scanner(share, index).scan()  # of the branches, where those can be seen
        return index.dump()

    def assert_true(self, why: str = "", patience_s: float = 0.0) -> None:
        """The index is what a rebuild gives. `patience_s`: FUSE closes files after the writer went on."""
        self.settle()
        end = time.monotonic() + patience_s
        while (live := self.store.index.dump()) != (fresh := self.rebuilt()):
            if time.monotonic() > end:
                for key, value in fresh.items():
                    was = live[key]
                    if isinstance(value, dict) and isinstance(was, dict):
                        names = sorted(k for k in {*was, *value} if was.get(k) != value.get(k))
                        told = [(name, "live", was.get(name), "disk", value.get(name)) for name in names]
                        assert not told, f"{key} {why}: {told[:3]}"
                    assert was == value, f"{key} {why}"
            self.settle()

    def until(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Waits for what the watcher has to find by its own clock."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, "it didn't come to be"
            time.sleep(0.01)


@contextlib.contextmanager
def living(root: Path, config: Path, **options: Any) -> Iterator[Live]:
    """A store opened on this folder as the share `data`, watched, and closed again."""
    config.mkdir(parents=True, exist_ok=True)
    keys = {"settle_s": SETTLE_S, "scan_every_s": 1.0}
    (config / "server.json").write_text(json.dumps({**keys, **options.pop("keys", {})}))
    root.mkdir(exist_ok=True)
    store = Store(Settings(config), [Share("data", root)])
    watcher = Watcher(store, **options)
    live = Live(store, watcher, root)
    store.subscribe(live.heard.extend)
    store.open()
    try:
        yield live
    finally:
        store.close()


def write(path: Path, content: str | bytes | dict[str, Any] = b"content") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def asset(path: Path, uuid: str = "", jobs: tuple[str, ...] = (), **facts: Any) -> Path:
    """A file with its sidecar and jobs."""
    write(path, f"BLENDER {path.name} {uuid}")
    write(path.with_name(path.name + ".json"), {"schema": 1, "uuid": uuid, **facts})
    for job in jobs:
        write(path.parent / ".croft" / path.name / "jobs" / job / "job.json", "{}")
    return path


def delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
