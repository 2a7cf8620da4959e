"""After kill -9 amid publishing, approving, pruning: is every version whole, and does a check find nothing?

Several processes, as several servers on one share, save, publish (by copying, and in place), render, approve,
prune and purge. Each says what it did once the call has returned. They are killed at random moments and
started anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from server.disk import check, files, paths, purge, sidecar
from server.disk.errors import Busy, Conflict, NotFound
from server.disk.paths import Share
from server.disk.settings import Settings
from server.disk.store import Store
from server.farm.pruning import Pruning, Row
from server.library import versions
from server.library.assets import Assets
from server.library.in_place import InPlace, manifest
from server.library.people import People
from server.library.projects import Projects
from server.library.protection import Protection
from server.library.saves import Saves, frozen
from server.web.app import build

CLONE = Path(__file__).resolve().parents[2]
SCENES = [f"data::demo/shots/s{n}.blend" for n in range(3)]
SEQUENCE = "data::demo/shots/plate.@.png"
FRAMES = 6


def scene(token: str) -> bytes:
    return b"BLENDER-v304" + f"<{token}>".encode() * 3000 + b"ENDB" + bytes(20)


class Rooms:
    """What a server does it with, without its threads."""

    def __init__(self, root: Path, config: Path) -> None:
        settings = Settings(config, CLONE / "config")
        self.store = Store(settings, [Share("data", root)])
        people, projects = People(settings), Projects(settings, self.store)
        assets = Assets(self.store, projects, people)
        self.saves = Saves(self.store, projects, assets, Protection(self.store, projects, people, assets))
        self.in_place = InPlace(self.store, projects, assets)
        nothing: Any = None  # no job is known, and nobody asks what the policy says
        self.pruning = Pruning(settings, self.store, projects, nothing, nothing, nothing)
        self.store.open()
        projects.prepare()
        self.user = people.user("supervisor")


def tell(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # all of it or nothing: `print` may be cut off before the line's end


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it failed by itself, of which the test tells
        os.kill(pid, signal.SIGKILL)


def nest() -> None:
    """Servers, one after the other, of a process that has read the program: for each line its name and seed.
    Says which process it is, and how it ended."""
    root, config = map(Path, sys.argv[1:3])
    for line in sys.stdin:
        me, seed = line.split()
        pid = os.fork()
        if not pid:
            work(root, config, me, int(seed))
        _, status = os.waitpid(pid, 0)
        tell(f"ended {os.waitstatus_to_exitcode(status)}")


def work(root: Path, config: Path, me: str, seed: int) -> None:
    """One server, until it is killed."""
    tell(str(os.getpid()))
    rooms, chance = Rooms(root, config), random.Random(seed)
    tell("ready")
    for turn in range(10**9):
        act = chance.choice(ACTS)
        try:
            said = act(rooms, chance, f"{me}-{turn}")
        except (Busy, Conflict, NotFound):  # another was at the same file
            continue
        tell(said)


def publish(rooms: Rooms, chance: random.Random, token: str) -> str:
    address = chance.choice(SCENES)
    path = rooms.store.path(address)
    aside = path.with_name(f".{token}")
    aside.write_bytes(scene(token))
    os.replace(aside, path)
    done = rooms.saves.publish(address, rooms.user, token, despite=True)
    return f"published {address} {done.record['version']} {done.record['hash']}"


def publish_in_place(rooms: Rooms, chance: random.Random, token: str) -> str:
    frame = rooms.store.path(paths.folder_of(SEQUENCE)) / f"plate.{chance.randrange(FRAMES):04}.png"
    os.utime(frame, ns=(1, chance.randrange(10**18)))
    _, record, _ = rooms.in_place.publish(SEQUENCE, rooms.user, token)
    return f"lies {SEQUENCE} {record['version']} {record['comment']}"


def approve(rooms: Rooms, chance: random.Random, token: str) -> str:
    address = chance.choice([*SCENES, SEQUENCE])
    there = frozen.listed(rooms.store, address)
    if not there:
        raise Conflict("nothing to approve")
    version = chance.choice(there)["version"]
    frozen.approve(rooms.store, address, version, token, chance.random() < 0.8)
    return f"approved {address} {version}"


def render(rooms: Rooms, chance: random.Random, token: str) -> str:
    address = chance.choice(SCENES)
    name, folder = versions.make(rooms.store, address, {"user": token})
    files.write_atomic(rooms.store.path(folder) / "frame.0001.png", token.encode())
    versions.begin(rooms.store, address, name, "2026-11-22T10:00:00Z")
    versions.update(rooms.store, address, name, {"state": "done"})
    return f"rendered {address} {name} {token}"


def judge_render(rooms: Rooms, chance: random.Random, token: str) -> str:
    address = chance.choice(SCENES)
    there = [record for record in versions.listed(rooms.store, address) if record.get("user")]
    if not there:
        raise Conflict("nothing to approve")
    name, good = chance.choice(there)["version"], chance.random() < 0.7
    versions.judge(rooms.store, address, name, token, good, not good and chance.random() < 0.5)
    return f"judged {address} {name}"


def prune(rooms: Rooms, chance: random.Random, token: str) -> str:
    """As the policy does: never the newest, and put away at once."""
    address = chance.choice(SCENES)
    older = [record for record in versions.listed(rooms.store, address)[1:] if record.get("state") == "done"]
    if not older:
        raise Conflict("nothing to prune")
    name = str(chance.choice(older)["version"])
    if not rooms.pruning.put_away(Row(address, name, "demo", True, "old"), token):
        raise Conflict("it was approved meanwhile")
    return f"pruned {address} {name}"


def free(rooms: Rooms, chance: random.Random, token: str) -> str:
    share = rooms.store.share("data")
    there = list(purge.find(share, 0, time.time() + 60))
    if not there:
        raise Conflict("nothing to purge")
    old = chance.choice(there)
    if not purge.purge(share, rooms.store.locks("data"), old):
        raise Conflict("somebody was quicker")
    return f"purged {old.inside} {old.aside}"


ACTS = (publish, publish, publish_in_place, approve, render, render, judge_render, prune, free)
WORDS = {"published", "lies", "approved", "rendered", "judged", "pruned", "purged"}


class Storm:
    """Servers that are killed and started again, and what they said before."""

    def __init__(self, root: Path, config: Path, seed: int) -> None:
        self.root, self.config, self.chance = root, config, random.Random(seed)
        self.said: list[list[str]] = []
        self.kills = 0
        self._names = (f"w{number}" for number in itertools.count())

    def run(self, seconds: float, kills: int, enough: int, servers: int = 2) -> None:
        """Until so many were killed and so much was said; for so many seconds at most."""
        end = time.monotonic() + seconds
        seeds = [self.chance.random() for _ in range(servers)]
        threads = [threading.Thread(target=self._keep, args=(end, kills, enough, seed)) for seed in seeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _is_enough(self, least: int) -> bool:
        return len(self.said) >= least and {what for what, *_ in self.said} >= WORDS

    def _keep(self, end: float, kills: int, enough: int, seed: float) -> None:
        chance = random.Random(seed)
        with subprocess.Popen(
            [sys.executable, "-c", "from tests.library.test_kill_versions import nest; nest()",
             str(self.root), str(self.config)],
            cwd=CLONE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        ) as nested:  # fmt: skip
            assert nested.stdin is not None
            assert nested.stdout is not None
            while time.monotonic() < end and not (self.kills >= kills and self._is_enough(enough)):
                nested.stdin.write(f"{next(self._names)} {chance.randrange(10**6)}\n")
                pid = int(nested.stdout.readline())
                assert nested.stdout.readline() == "ready\n"
                timer = threading.Timer(chance.uniform(0.05, 0.5), kill, [pid])
                timer.start()
                for line in nested.stdout:
                    if line.startswith("ended"):
                        break
                    self.said.append(line.split())
                timer.join()
                assert line == "ended -9\n", "a server failed by itself"
                self.kills += 1


def storm(tmp_path: Path, seconds: float, kills: int, enough: int, seed: int) -> Storm:
    root, config = tmp_path / "data", tmp_path / "config"
    shots = root / "demo/shots"
    shots.mkdir(parents=True)
    config.mkdir()
    (config / "server.json").write_text('{"site": "test", "settle_s": 0}')
    (root / "demo/project.json").write_text("{}")
    for address in SCENES:
        (shots / paths.name_of(address)).write_bytes(scene("first"))
    for number in range(FRAMES):
        (shots / f"plate.{number:04}.png").write_bytes(bytes(100))
        os.utime(shots / f"plate.{number:04}.png", (1, 1))
    build(config, root).close()  # all of them are assets
    done = Storm(root, config, seed)
    done.run(seconds, kills, enough)
    return done


def judge(done: Storm) -> None:
    build(done.config, done.root).close()  # a start mends what was cut off
    rooms = Rooms(done.root, done.config)
    assert len(done.said) > 10
    locks = done.root / paths.LOCKS
    assert [path.name for path in locks.glob("*.json") if not path.name.startswith("share")] == []
    there = {address: frozen.listed(rooms.store, address) for address in (*SCENES, SEQUENCE)}
    for address, records in there.items():
        folder = frozen.folder_of(rooms.store.path(address))
        # Nothing half made lies there under any name, and each version is whole.
        assert sorted(os.listdir(folder)) == sorted(record["version"] for record in records)
        assert sum(record["approved"] for record in records) <= 1
        for record in records:
            judge_version(folder / record["version"], record)
    judge_said(done, there)
    purge.sweep(rooms.store.share("data"))  # as the next purge does
    for address in SCENES:
        judge_renders(rooms, address, done)
    # In two hours' time all that was left would be too old to be somebody's who is at it.
    found = list(check.check(rooms.store.shares, now=time.time() + 7200))
    assert [problem for problem in found if problem.kind != "leftover"] == []
    assert all(Path(problem.address).name.startswith(files.TEMPORARY) for problem in found)
    assert len(found) <= done.kills


def judge_version(place: Path, record: dict[str, object]) -> None:
    if record.get("in_place"):
        said = manifest.frames_of(sidecar.parse((place / "manifest.json").read_bytes(), place), "")
        assert len(said) == FRAMES
        assert sum(size for size, _ in said.values()) == record["size"]
        return
    raw = (place / str(record["name"])).read_bytes()
    token = re.search(rb"<([^>]*)>", raw)
    assert token is not None
    assert raw == scene(token[1].decode()), "a mix of two saves"
    assert record["hash"] == f"blake2b-160:{hashlib.blake2b(raw, digest_size=20).hexdigest()}"
    assert (place / str(record["name"])).stat().st_mode & 0o222 == 0


def judge_said(done: Storm, there: dict[str, list[dict[str, object]]]) -> None:
    """What was accepted is there as it was said, and no number was given to two."""
    for what, address, version, *more in done.said:
        if what in ("published", "lies"):
            known = [record for record in there[address] if record["version"] == version]
            assert len(known) == 1, f"{version} of {address} was said and is gone"
            assert known[0]["hash" if what == "published" else "comment"] == more[0]


def judge_renders(rooms: Rooms, address: str, done: Storm) -> None:
    # What a crash left before it was written whose it is: a start of the farm does this for each job.
    versions.unmake_of(rooms.store, address, "none")
    place = rooms.store.path(paths.render_folder(address))
    found = {record["version"]: record for record in versions.listed(rooms.store, address)}
    approved = [name for name, record in found.items() if record.get("approved")]
    assert len(approved) <= 1
    if approved:
        assert os.readlink(place / versions.CURRENT) == approved[0]
    for name, record in found.items():
        judge_render_at(place / name, record)
    # What was put away lies in old/, whole, with its record.
    away = {path.name: path for path in place.glob("old/*/v*") if path.is_dir()}
    for name, folder in away.items():
        judge_render_at(folder, versions.read(folder.with_name(f"{name}.json")))
    assert not away.keys() & found.keys()
    stem = paths.stem_of(paths.name_of(address))
    rendered = {name for what, of, name, *_ in done.said if (what, of) == ("rendered", address)}
    pruned = {name for what, of, name, *_ in done.said if (what, of) == ("pruned", address)}
    purged = {Path(of).name for what, of, *_ in done.said if what == "purged" and f"/render/{stem}/" in of}
    assert not pruned & found.keys()
    assert not purged & (found.keys() | away.keys())
    # A server that was killed may have purged something without having said so.
    assert len(rendered - found.keys() - away.keys() - purged) <= done.kills


def judge_render_at(folder: Path, record: dict[str, object]) -> None:
    assert record.get("user"), f"{folder} has no record"
    frame = folder / "frame.0001.png"
    assert not record.get("first_frame") or frame.read_bytes() == str(record["user"]).encode()


def test_killed_amid_publishing_approving_and_pruning(tmp_path: Path) -> None:
    judge(storm(tmp_path, 30, kills=8, enough=60, seed=11))


def test_a_version_that_is_undone_keeps_its_mark_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut off amid that, a start still knows it for one that never was."""
    names = [frozen.BEGUN, "s0.blend", "s0.blend.json"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    plain = os.unlink

    def cut_off(path: Path) -> None:
        if len(os.listdir(tmp_path)) == 1:
            raise KeyboardInterrupt
        plain(path)

    monkeypatch.setattr(os, "unlink", cut_off)
    with pytest.raises(KeyboardInterrupt):
        frozen._undo(tmp_path)
    assert os.listdir(tmp_path) == [frozen.BEGUN]


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(3))
def test_killed_amid_publishing_approving_and_pruning_for_long(tmp_path: Path, seed: int) -> None:
    judge(storm(tmp_path, 120, kills=10**9, enough=10**9, seed=seed))
