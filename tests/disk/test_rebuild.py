"""The promise that the index is disposable: whatever people do, a rebuild gives what is live.

Hypothesis does what people, programs and backups do to a share, with the real watcher on a real disk, and
on a real mergerfs pool through the mount and straight onto its branches.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk_kit import mount_pool
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from server.disk import paths
from server.disk.errors import CroftError
from tests.disk.live import Live, delete, living, write

FOLDERS = st.sampled_from(["p", "q", "p/s", "p/s/deep", "q/render/a", "p/old", "p/.croft/a.blend/jobs/j1"])
FILES = st.sampled_from(
    ["a.blend", "b.blend", "c.0001.png", "c.0002.png", "project.json", "camera.json", "a.blend1", "v001.json"]
)
UUIDS = st.sampled_from(["", "u1", "u2"])
JOBS = st.sampled_from(["j1", "j2"])


class People(RuleBasedStateMachine):
    """What happens to a share. `places` are the folders it happens in: the mount, or branches below it."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="croft-people-"))
        self.stack = contextlib.ExitStack()
        self.places = self.make_places()
        self.running = contextlib.ExitStack()
        self.is_off = True
        self.start()
        self.backups: list[tuple[str, Path]] = []
        self.count = 0

    @precondition(lambda self: self.is_off)
    @rule()
    def start(self) -> None:
        """With a snapshot of what was known when it stopped."""
        options: dict[str, Any] = {"contest_s": 0.1, "gone_s": 0.03, "keys": {"settle_s": 0.03}}
        self.live: Live = self.running.enter_context(living(self.places[0], self.home / "config", **options))
        self.is_off = False

    @precondition(lambda self: not self.is_off)
    @rule()
    def stop(self) -> None:
        self.running.close()
        self.is_off = True

    def make_places(self) -> list[Path]:
        root = self.home / "share"
        root.mkdir()
        return [root]

    def teardown(self) -> None:
        try:
            if self.is_off:
                self.start()
            self.live.assert_true("at the end", self.patience_s)
        finally:
            self.running.close()
            self.stack.close()
            shutil.rmtree(self.home, ignore_errors=True)

    patience_s = 0.0

    def at(self, data: st.DataObject, inside: str) -> Path:
        return data.draw(st.sampled_from(self.places), label="where") / inside

    @contextlib.contextmanager
    def trying(self) -> Any:
        """What the file system refuses, people live with."""
        with contextlib.suppress(OSError, CroftError, shutil.Error):
            yield

    @initialize(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        write(self.at(data, "p/s/a.blend"))
        write(self.at(data, "p/s/a.blend.json"), {"schema": 1, "uuid": "u1", "owner": "mia"})

    @rule(data=st.data(), folder=FOLDERS, name=FILES)
    def copy_a_file_in(self, data: st.DataObject, folder: str, name: str) -> None:
        self.count += 1
        with self.trying():
            write(self.at(data, f"{folder}/{name}"), f"BLENDER {self.count}")

    @rule(data=st.data(), folder=FOLDERS, name=FILES)
    def save_as_blender_does(self, data: st.DataObject, folder: str, name: str) -> None:
        path = self.at(data, f"{folder}/{name}")
        self.count += 1
        with self.trying():
            write(path.with_name(name + "@"), f"BLENDER saved {self.count}")
            if path.is_file():
                path.rename(path.with_name(name + "1"))
            path.with_name(name + "@").rename(path)

    @rule(data=st.data(), folder=FOLDERS, name=FILES, uuid=UUIDS, whole=st.booleans())
    def write_a_sidecar(self, data: st.DataObject, folder: str, name: str, uuid: str, whole: bool) -> None:
        text = json.dumps({"schema": 1, "uuid": uuid, "n": self.count})
        with self.trying():
            write(self.at(data, f"{folder}/{name}.json"), text if whole else text[:9])

    @rule(data=st.data(), folder=FOLDERS, name=FILES)
    def change_a_file_and_keep_its_time(self, data: st.DataObject, folder: str, name: str) -> None:
        """As rsync, a restore, or a clock that stands still: only inode or ctime tell."""
        for path in (self.at(data, f"{folder}/{name}"), self.at(data, f"{folder}/{name}.json")):
            with self.trying():
                before, raw = path.stat(), path.read_bytes()
                path.write_bytes(raw.replace(b"u1", b"u2").replace(b"mia", b"tom"))
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    @precondition(lambda self: not self.is_off)
    @rule(folder=FOLDERS, name=FILES, owner=st.sampled_from(["mia", "tom"]))
    def edit_on_a_page(self, folder: str, name: str, owner: str) -> None:
        with self.trying():
            self.live.store.edit(f"data::{folder}/{name}", {"owner": owner}, who="mia")

    @rule(data=st.data(), folder=FOLDERS, name=FILES, job=JOBS)
    def submit_a_job(self, data: st.DataObject, folder: str, name: str, job: str) -> None:
        with self.trying():
            write(self.at(data, f"{folder}/.croft/{name}/jobs/{job}/job.json"), {"id": job})

    @rule(data=st.data(), folder=FOLDERS, name=FILES, note=JOBS, gone=st.booleans())
    def say_something(self, data: st.DataObject, folder: str, name: str, note: str, gone: bool) -> None:
        path = self.at(data, f"{folder}/.croft/{name}/notes/{note}.json")
        with self.trying():
            path.unlink() if gone else write(path, {"text": note})

    @rule(
        data=st.data(), folder=FOLDERS, name=FILES, what=st.sampled_from(["", ".json", "companion", "folder"])
    )
    def delete(self, data: st.DataObject, folder: str, name: str, what: str) -> None:
        path = self.at(data, f"{folder}/{name}")
        with self.trying():
            if what == "folder":
                delete(path.parent)
            elif what == "companion":
                delete(path.parent / ".croft" / name)
            else:
                delete(path.with_name(name + what))

    @rule(data=st.data(), one=FOLDERS, two=FOLDERS, name=FILES, new=FILES, together=st.booleans())
    def move_a_file(
        self, data: st.DataObject, one: str, two: str, name: str, new: str, together: bool
    ) -> None:
        source, target = self.at(data, f"{one}/{name}"), self.at(data, f"{two}/{new}")
        with self.trying():
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(source, target)
            if together:
                os.rename(f"{source}.json", f"{target}.json")

    @rule(data=st.data(), one=FOLDERS, two=FOLDERS)
    def move_a_folder(self, data: st.DataObject, one: str, two: str) -> None:
        source = self.at(data, one)
        with self.trying():
            os.rename(source, self.at(data, two) / "moved" if one == two else self.at(data, two))

    @rule(data=st.data(), one=FOLDERS, two=FOLDERS)
    def copy_a_folder(self, data: st.DataObject, one: str, two: str) -> None:
        if not (paths.within(two, one) or paths.within(one, two)):
            with self.trying():
                shutil.copytree(self.at(data, one), self.at(data, two), dirs_exist_ok=True)

    @rule(data=st.data(), folder=FOLDERS)
    def back_up(self, data: st.DataObject, folder: str) -> None:
        self.count += 1
        target = self.home / f"backup{self.count}"
        with self.trying():
            shutil.copytree(self.places[0] / folder, target)
            self.backups.append((folder, target))

    @precondition(lambda self: self.backups)
    @rule(data=st.data(), before=st.booleans())
    def restore(self, data: st.DataObject, before: bool) -> None:
        folder, backup = data.draw(st.sampled_from(self.backups), label="backup")
        with self.trying():
            if before:
                delete(self.places[0] / folder)
            shutil.copytree(backup, self.at(data, folder), dirs_exist_ok=True)

    @precondition(lambda self: not self.is_off)
    @rule()
    def look(self) -> None:
        self.live.assert_true("after a while", self.patience_s)


@pytest.mark.timeout(240)  # some 15 s alone, more beside others; a time-out inside a step is no finding
def test_a_rebuild_gives_what_is_live() -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        People,
        settings=settings(
            max_examples=int(os.environ.get("CROFT_EXAMPLES", "15")),
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            phases=[phase for phase in Phase if phase not in (Phase.shrink, Phase.explain)],
        ),
    )


@pytest.mark.timeout(120)
def test_a_rebuild_gives_what_is_live_on_a_pool(needs: Callable[[str], str]) -> None:
    program = needs("mergerfs")

    class OnAPool(People):
        patience_s = 5.0

        def make_places(self) -> list[Path]:
            root = self.home / "pool"
            branches = tuple(self.home / f"d{n}" for n in range(3))
            for folder in (root, *branches):
                folder.mkdir()
            mount_pool(program, root, branches, "mfs")
            self.stack.callback(subprocess.run, ["umount", "--lazy", str(root)], check=True)
            return [root, *branches]

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        OnAPool,
        settings=settings(
            max_examples=int(os.environ.get("CROFT_EXAMPLES", "5")),
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            phases=[phase for phase in Phase if phase not in (Phase.shrink, Phase.explain)],
        ),
    )
