"""Every way in which people move, rename, copy and delete: is each asset what it was, and is all there?

One server with many folders, a case in each: all cases do their first step, Croft looks, all do their next.
So a whole column of the matrix costs one start. The columns: a plain folder and a real pool, through the
mount and straight on its disks, with the server watching and with the server off.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from disk_kit import Pool

from server.web.app import Croft, build

CONTEST_S = 1000.0  # ended by hand
REST = "rest"  # what a case waits for: that Croft has looked
Steps = Iterator[str]


@dataclass
class World:
    """A share with one server, that may be off."""

    root: Path
    config: Path
    branches: tuple[Path, ...] = ()  # where people work straight on the disks
    croft: Croft | None = None

    def start(self) -> None:
        self.croft = build(self.config, self.root)
        self.croft.services.store.looks.watcher.identity.contest_s = CONTEST_S  # type: ignore[union-attr]
        self.rest()

    def stop(self) -> None:
        if self.croft is not None:
            self.croft.close()
        self.croft = None

    def rest(self, beyond: bool = False) -> None:
        if self.croft is None:
            return
        services = self.croft.services
        watcher: Any = services.store.looks.watcher
        for _ in range(3):
            assert watcher.settled(30)
            assert services.ingest.wait(30)
        if beyond:
            self.end_contests(watcher)

    def end_contests(self, watcher: Any) -> None:
        """The time in which two may hold one uuid is over."""
        contests = watcher.identity._contests
        while contests:
            contests.update(dict.fromkeys(contests, 0.0))
            with watcher.hearing.condition:
                watcher.hearing.condition.notify_all()
            assert watcher.settled(30)

    # What people do, where they do it.

    def write(self, path: Path, content: bytes, beside: Path) -> None:
        """A new file, on the disk that another lies on."""
        folder = self.at(beside) if beside.is_dir() else self.at(beside).parent
        (folder / path.name).write_bytes(content)

    def at(self, path: Path) -> Path:
        """The same place on the disk that it lies on."""
        for branch in self.branches:
            there = branch / path.relative_to(self.root)
            if os.path.lexists(there):
                return there
        return path

    def mv(self, source: Path, target: Path) -> None:
        real = self.at(source)
        if self.branches and real != source:
            branch = next(b for b in self.branches if b in real.parents)
            target = branch / target.relative_to(self.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(real, target)

    def mv_folder(self, source: Path, target: Path) -> None:
        for base in self.branches or (self.root,):
            here = base / source.relative_to(self.root)
            if here.is_dir():
                there = base / target.relative_to(self.root)
                there.parent.mkdir(parents=True, exist_ok=True)
                os.rename(here, there)

    def cp(self, source: Path, target: Path) -> None:
        """As Explorer copies: the time is kept."""
        real = self.at(source)
        base = next((b for b in self.branches if b in real.parents), self.root)
        target = base / target.relative_to(self.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        if real.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy2(real, target)

    def rm(self, path: Path) -> None:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            self.at(path).unlink()


def side(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def companion(path: Path) -> Path:
    return path.parent / ".croft" / path.name


BARE, SIDE, ALL = "bare", "side", "all"  # what goes along: nothing; the sidecar; the hidden companion, too


def parts(path: Path, along: str) -> list[Path]:
    return [path, *([side(path)] if along != BARE else []), *([companion(path)] if along == ALL else [])]


def pairs(source: Path, target: Path, along: str) -> list[tuple[Path, Path]]:
    return list(zip(parts(source, along), parts(target, along), strict=True))


@dataclass
class Case:
    name: str
    steps: Callable[[World, Path], Steps]
    expect: dict[str, str]  # name in the case's folder -> whose record: a name; new; copy of a name; missing
    assets: tuple[str, ...] = ("a.blend",)
    off: dict[str, str] | None = None  # what comes of it while the server is off, where that differs
    late: bool = False  # waits until the contest is over
    known: dict[str, dict[str, Any]] = field(default_factory=dict)


CASES: list[Case] = []


def case(expect: dict[str, str], name: str = "", **more: Any) -> Callable[[Callable[..., Steps]], Any]:
    def add(steps: Callable[..., Steps]) -> Callable[..., Steps]:
        CASES.append(Case(name or steps.__name__, steps, expect, **more))
        return steps

    return add


def each_along(make: Callable[[str], None]) -> None:
    for along in (BARE, SIDE, ALL):
        make(along)


@each_along
def moves(along: str) -> None:
    def renamed(w: World, f: Path) -> Steps:
        for old, new in pairs(f / "a.blend", f / "b.blend", along):
            w.mv(old, new)
        yield REST

    def moved(w: World, f: Path) -> Steps:
        for old, new in pairs(f / "a.blend", f / "deep/er/a.blend", along):
            w.mv(old, new)
        yield REST

    def moved_and_renamed(w: World, f: Path) -> Steps:
        for old, new in pairs(f / "a.blend", f / "done/b.blend", along):
            w.mv(old, new)
        yield REST

    def into_another_project(w: World, f: Path) -> Steps:
        for old, new in pairs(f / "a.blend", w.root / "blue" / f.name / "a.blend", along):
            w.mv(old, new)
        yield REST

    def sidecar_later(w: World, f: Path) -> Steps:
        """Explorer moves one file after the other; Croft looks between them."""
        for old, new in pairs(f / "a.blend", f / "done/a.blend", along):
            if os.path.lexists(old):  # Croft may have brought it already
                w.mv(old, new)
            yield REST

    def copied_then_deleted(w: World, f: Path) -> Steps:
        for old, new in pairs(f / "a.blend", f / "done/a.blend", along):
            w.cp(old, new)
        yield REST
        for old in parts(f / "a.blend", along):
            if os.path.lexists(old):
                w.rm(old)
        yield REST

    def copied_then_deleted_late(w: World, f: Path) -> Steps:
        for old, new in pairs(f / "a.blend", f / "done/a.blend", along):
            w.cp(old, new)
        yield REST
        for old in parts(f / "a.blend", along):
            if os.path.lexists(old):
                w.rm(old)
        yield REST

    def copied(w: World, f: Path) -> Steps:
        for old, new in pairs(f / "a.blend", f / "done/a.blend", along):
            w.cp(old, new)
        yield REST

    def copied_beside(w: World, f: Path) -> Steps:
        for old, new in pairs(f / "a.blend", f / "a - Copy.blend", along):
            w.cp(old, new)
        yield REST

    for steps, there in (
        (renamed, "b.blend"), (moved, "deep/er/a.blend"), (moved_and_renamed, "done/b.blend"),
        (into_another_project, "../../blue/{}/a.blend"), (sidecar_later, "done/a.blend"),
        (copied_then_deleted, "done/a.blend"),
    ):  # fmt: skip
        case({there: "a.blend"}, f"{steps.__name__}-{along}")(steps)
    late = "a.blend" if along != ALL else "copy of a.blend"
    case({"done/a.blend": late}, f"copied_then_deleted_late-{along}", late=True)(copied_then_deleted_late)
    kind = "new" if along == BARE else "copy of a.blend"
    case({"a.blend": "a.blend", "done/a.blend": kind}, f"copied-{along}", late=True)(copied)
    case({"a.blend": "a.blend", "a - Copy.blend": kind}, f"copied_beside-{along}", late=True)(copied_beside)


@case({"done/a.blend": "a.blend"}, late=True)
def copied_with_its_sidecar_then_the_file_alone_deleted(w: World, f: Path) -> Steps:
    for old, new in pairs(f / "a.blend", f / "done/a.blend", SIDE):
        w.cp(old, new)
    w.rm(f / "a.blend")
    yield REST


@case({"a.blend": "missing"})
def deleted(w: World, f: Path) -> Steps:
    w.rm(f / "a.blend")
    yield REST


@case({"a.blend": "missing"})
def deleted_with_its_sidecar(w: World, f: Path) -> Steps:
    w.rm(f / "a.blend")
    w.rm(side(f / "a.blend"))
    yield REST


@case({"a.blend": "a.blend"})
def deleted_and_put_back(w: World, f: Path) -> Steps:
    w.cp(f / "a.blend", w.root / "aside" / f.name)
    w.rm(f / "a.blend")
    yield REST
    w.mv(w.root / "aside" / f.name, f / "a.blend")
    yield REST


@case({"a.blend": "a.blend"})
def deleted_and_another_put_there(w: World, f: Path) -> Steps:
    w.rm(f / "a.blend")
    yield REST
    w.write(f / "a.blend", scene("another " + f.name), f)
    yield REST


@case({"c.blend": "a.blend"})
def renamed_twice_at_once(w: World, f: Path) -> Steps:
    w.mv(f / "a.blend", f / "b.blend")
    w.mv(f / "b.blend", f / "c.blend")
    yield REST


@case({"c.blend": "a.blend"})
def renamed_twice(w: World, f: Path) -> Steps:
    w.mv(f / "a.blend", f / "b.blend")
    yield REST
    w.mv(f / "b.blend", f / "c.blend")
    yield REST


@case({"a.blend": "a.blend"})
def renamed_and_back(w: World, f: Path) -> Steps:
    w.mv(f / "a.blend", f / "b.blend")
    yield REST
    w.mv(f / "b.blend", f / "a.blend")
    yield REST


@case({"a.blend": "z.blend", "z.blend": "a.blend"}, assets=("a.blend", "z.blend"))
def swapped(w: World, f: Path) -> Steps:
    w.mv(f / "a.blend", f / "x.blend")
    w.mv(f / "z.blend", f / "a.blend")
    w.mv(f / "x.blend", f / "z.blend")
    yield REST


@case({"a.blend": "z.blend", "z.blend": "a.blend"}, assets=("a.blend", "z.blend"))
def swapped_while_croft_looks(w: World, f: Path) -> Steps:
    """Each look sees another part of it."""
    w.mv(f / "a.blend", f / "x.blend")
    time.sleep(0.03)
    w.mv(f / "z.blend", f / "a.blend")
    time.sleep(0.03)
    w.mv(f / "x.blend", f / "z.blend")
    yield REST


@case({"a.blend": "z.blend", "z.blend": "a.blend"}, assets=("a.blend", "z.blend"))
def swapped_slowly(w: World, f: Path) -> Steps:
    w.mv(f / "a.blend", f / "x.blend")
    yield REST
    w.mv(f / "z.blend", f / "a.blend")
    yield REST
    w.mv(f / "x.blend", f / "z.blend")
    yield REST


@case(
    {"b.blend": "a.blend", "c.blend": "b.blend", "d.blend": "c.blend"},
    assets=("a.blend", "b.blend", "c.blend"),
)
def all_one_on(w: World, f: Path) -> Steps:
    for old, new in (("c", "d"), ("b", "c"), ("a", "b")):
        w.mv(f / f"{old}.blend", f / f"{new}.blend")
    yield REST


@case({"a.blend": "a.blend", "b.blend": "new"})
def put_aside_and_saved_anew(w: World, f: Path) -> Steps:
    """The name goes on: who renames a file to save another under its name goes on with that."""
    w.mv(f / "a.blend", f / "b.blend")
    w.write(f / "a.blend", scene("newer " + f.name), f / "b.blend")
    yield REST


@case({"a.blend": "a.blend", "z.blend": "missing"}, assets=("a.blend", "z.blend"))
def renamed_over_another(w: World, f: Path) -> Steps:
    w.mv(f / "z.blend", f / "a.blend")
    yield REST


@case({"A.blend": "a.blend"})
def case_alone(w: World, f: Path) -> Steps:
    w.mv(f / "a.blend", f / "A.blend")
    yield REST


NFC, NFD = (unicodedata.normalize(form, "müß.blend") for form in ("NFC", "NFD"))


@case({NFD: NFC}, assets=(NFC,))
def unicode_form_alone(w: World, f: Path) -> Steps:
    w.mv(f / NFC, f / NFD)
    yield REST


@case({"a.blend": "a.blend"})
def blenders_own_save(w: World, f: Path) -> Steps:
    for turn in range(3):
        place = w.at(f / "a.blend").parent
        (place / "a.blend@").write_bytes(scene(f"{f.name} saved {turn}"))
        if (place / "a.blend1").exists():
            (place / "a.blend1").unlink()
        os.rename(place / "a.blend", place / "a.blend1")
        os.rename(place / "a.blend@", place / "a.blend")
        yield REST


@case({"a.blend": "a.blend", "b.blend": "new"})
def save_as(w: World, f: Path) -> Steps:
    w.write(f / "b.blend@", scene(f.name + " as another"), f / "a.blend")
    w.mv(f / "b.blend@", f / "b.blend")
    yield REST


WALK = "walk.@.png"


def frames(path: Path) -> list[tuple[Path, str]]:
    """The frames of the sequence of this name, and their numbers."""
    found = [(frame, frame.name.split(".")[1]) for frame in path.parent.glob(path.name.replace("@", "*"))]
    return sorted((frame, number) for frame, number in found if number.isdigit())


@case({"run.@.png": WALK}, assets=(WALK,))
def sequence_renamed(w: World, f: Path) -> Steps:
    for frame, number in frames(f / WALK):
        w.mv(frame, f / f"run.{number}.png")
    yield REST


@case({"done/walk.@.png": WALK}, assets=(WALK,))
def sequence_moved(w: World, f: Path) -> Steps:
    for frame, _ in frames(f / WALK):
        w.mv(frame, f / "done" / frame.name)
    yield REST


@case({"done/walk.@.png": WALK}, assets=(WALK,))
def sequence_and_sidecar_moved(w: World, f: Path) -> Steps:
    for frame, _ in frames(f / WALK):
        w.mv(frame, f / "done" / frame.name)
    w.mv(side(f / WALK), side(f / "done" / WALK))
    yield REST


@case({WALK: "missing"}, assets=(WALK,))
def sequence_deleted(w: World, f: Path) -> Steps:
    for frame, _ in frames(f / WALK):
        w.rm(frame)
    yield REST


TWO = ("g/a.blend", "g/b.blend")


@case({"h/a.blend": "g/a.blend", "h/b.blend": "g/b.blend"}, assets=TWO)
def folder_renamed(w: World, f: Path) -> Steps:
    w.mv_folder(f / "g", f / "h")
    yield REST


@case({"x/y/g/a.blend": "g/a.blend", "x/y/g/b.blend": "g/b.blend"}, assets=TWO)
def folder_moved(w: World, f: Path) -> Steps:
    w.mv_folder(f / "g", f / "x/y/g")
    yield REST


@case(
    {"g/a.blend": "g/a.blend", "g/b.blend": "g/b.blend",
     "h/a.blend": "copy of g/a.blend", "h/b.blend": "copy of g/b.blend"},
    assets=TWO, late=True,
)  # fmt: skip
def folder_copied(w: World, f: Path) -> Steps:
    w.cp(f / "g", f / "h")
    yield REST


@case({"h/a.blend": "g/a.blend", "h/b.blend": "g/b.blend"}, assets=TWO)
def folder_copied_then_deleted(w: World, f: Path) -> Steps:
    w.cp(f / "g", f / "h")
    yield REST
    w.rm(f / "g")
    yield REST


@case({"h/a.blend": "g/a.blend", "h/b.blend": "g/b.blend"}, assets=TWO)
def visible_part_of_a_folder_moved(w: World, f: Path) -> Steps:
    """Explorer with hidden files out of sight: what it sees is marked and moved, the companions stay."""
    for name in ("a.blend", "a.blend.json", "b.blend", "b.blend.json"):
        w.mv(f / "g" / name, f / "h" / name)
    yield REST


@case({"h/a.blend": "g/a.blend", "h/b.blend": "g/b.blend"}, assets=TWO)
def scenes_alone_of_a_folder_moved(w: World, f: Path) -> Steps:
    for name in ("a.blend", "b.blend"):
        w.mv(f / "g" / name, f / "h" / name)
    yield REST


# -- the columns


PNG = b"\x89PNG\r\n\x1a\n" + bytes(8) + b"\0\0\0\0IEND\xaeB`\x82"


def scene(text: str) -> bytes:
    return b"BLENDER-v304" + text.encode() + bytes(52) + b"ENDB" + bytes(20)


@contextmanager
def world(request: pytest.FixtureRequest, where: str) -> Iterator[World]:
    tmp_path: Path = request.getfixturevalue("tmp_path")
    if where == "folder":
        made = World(tmp_path / "data", tmp_path / "config")
    else:
        mount: Callable[..., Pool] = request.getfixturevalue("pool")
        pool = mount("mfs")
        made = World(pool.root, tmp_path / "config", pool.branches if where == "disks" else ())
    made.config.mkdir()
    (made.config / "server.json").write_text('{"site": "test", "settle_s": 0.1, "scan_every_s": 1.0}')
    for project in ("green", "blue", "aside"):
        (made.root / project).mkdir(parents=True)
        if project != "aside":
            (made.root / project / "project.json").write_text("{}")
    try:
        yield made
    finally:
        made.stop()


def prepare(w: World, cases: list[Case]) -> None:
    """Each asset with an owner, a history and a review note."""
    assert w.croft is not None
    for one in cases:
        for asset in one.assets:
            path = w.root / "green" / one.name / asset
            path.parent.mkdir(parents=True, exist_ok=True)
            if "@" in asset:
                for number in range(1, 5):
                    frame = path.with_name(path.name.replace("@", f"{number:04}"))
                    frame.write_bytes(PNG + f"{one.name} {number}".encode())
            else:
                path.write_bytes(scene(f"{one.name} {asset}"))
    w.rest()
    for one in cases:
        for asset in one.assets:
            inside = f"green/{one.name}/{asset}"
            record = w.croft.services.store.edit(
                f"data::{inside}", {"description": inside}, who="student"
            ).data
            one.known[asset] = record
            note = companion(w.root / inside) / "notes/n.json"
            note.parent.mkdir(exist_ok=True)
            note.write_text(json.dumps(inside))
    w.rest()


def check(w: World, one: Case, expect: dict[str, str]) -> list[str]:
    """What isn't as it should be."""
    assert w.croft is not None
    index = w.croft.services.store.index
    home = w.root / "green" / one.name
    wrong: list[str] = []
    expected = {}
    for name, whose in expect.items():
        inside = os.path.normpath(os.path.join("green", one.name, name.format(one.name)))
        expected[f"data::{inside}"] = whose
    there = {
        entry.address
        for folder in (f"data::green/{one.name}", f"data::blue/{one.name}")
        for entry in index.under(folder)
    }
    wrong += [f"unexpected {address}" for address in sorted(there - expected.keys())]
    for address, whose in expected.items():
        entry = index.get(address)
        if entry is None:
            wrong.append(f"nothing at {address}")
            continue
        path = w.root / address.removeprefix("data::")
        notes = [json.loads(n.read_text()) for n in companion(path).glob("notes/*.json")]
        history = w.croft.services.store.history(address)
        said = [e["fields"]["description"][1] for e in history if "description" in e.get("fields", {})]
        told = [text for text in said if text]
        facts = entry.facts
        if whose == "missing":
            origin = str((home / path.name).relative_to(w.root))
            if entry.stat is not None or notes != [origin] or told != [origin]:
                wrong.append(f"{address}: {entry.status}, notes {notes}, history {told}")
            continue
        if entry.status != "ok" or facts is None:
            wrong.append(f"{address} is {entry.status}, record {facts is not None}")
            continue
        if whose == "new":
            if facts.uuid in {r["uuid"] for r in one.known.values()} or facts.derived_from or notes:
                wrong.append(f"{address} should be new: {facts.uuid} {facts.derived_from} {notes}")
            continue
        asset = whose.removeprefix("copy of ")
        record, origin = one.known[asset], f"green/{one.name}/{asset}"
        if facts.description != origin:
            wrong.append(f"{address} says {facts.description!r}, not {origin!r}")
        if whose.startswith("copy of "):
            if facts.uuid == record["uuid"] or facts.derived_from != record["uuid"]:
                wrong.append(
                    f"{address} should be a copy: {facts.uuid} {facts.derived_from} {record['uuid']}"
                )
            continue
        if facts.uuid != record["uuid"] or facts.derived_from:
            wrong.append(f"{address} has another uuid ({facts.derived_from=})")
        if notes != [origin] or told != [origin]:
            wrong.append(f"{address}: notes {notes}, history {told}")
    for problem in w.croft.services.store.problems():
        if f"/{one.name}/" in problem.address and "missing" not in expected.values():
            wrong.append(f"problem: {problem.text}")
    return wrong


def judge(w: World, cases: list[Case], off: bool) -> None:
    wrong = {}
    for one in cases:
        expect = one.off if off and one.off is not None else one.expect
        if found := check(w, one, expect):
            wrong[one.name] = found
    assert not wrong, "\n".join(f"{name}: {'; '.join(found)}" for name, found in wrong.items())
    from tests.disk.live import Live

    assert w.croft is not None
    store: Any = w.croft.services.store
    Live(store, store.looks.watcher, w.root).assert_true(patience_s=5)


@pytest.mark.parametrize("where", ["folder", "mount", "disks"])
def test_while_the_server_watches(request: pytest.FixtureRequest, where: str) -> None:
    with world(request, where) as w:
        w.start()
        prepare(w, CASES)
        # Those that wait for the end of the contest come last: it ends for all at once.
        for late in (False, True):
            going = [one.steps(w, w.root / "green" / one.name) for one in CASES if one.late == late]
            while going:
                waits = {id(steps): next(steps, "") for steps in going}
                going = [steps for steps in going if waits[id(steps)]]
                w.rest(beyond=late)
        judge(w, CASES, off=False)


@pytest.mark.parametrize("where", ["folder", "mount", "disks"])
def test_while_the_server_is_off(request: pytest.FixtureRequest, where: str) -> None:
    cases = [one for one in CASES if "deleted_late" not in one.name]
    with world(request, where) as w:
        w.start()
        prepare(w, cases)
        w.stop()
        for one in cases:
            list(one.steps(w, w.root / "green" / one.name))
        w.start()
        w.rest(beyond=True)
        judge(w, cases, off=True)
