"""Two real servers, each with its copy of a share, and a program that synchronises them in between.

rsync as a script would run it, both ways; and, as Syncthing, Nextcloud and Dropbox do, conflict copies.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from server.cli.children import Child
from server.cli.client import Client, quote
from server.disk.settings import Settings
from server.library.people import People

CLONE = Path(__file__).resolve().parents[1]
SCENE = b"BLENDER-v304" + b"\0" * 200 + b"ENDB" + b"\0" * 20
SHOT = "demo/shots/sh010.blend"
PATIENCE_S = 25.0
PRIVATE = (".croft-locks", "thumbs")  # what no site needs of another
PROGRAM = "import sys; from server.web.serve import serve; sys.exit(serve(*sys.argv[1:3], port=0))"


def scene(text: str) -> bytes:
    return SCENE[:20] + text.encode().ljust(40, b"\0") + SCENE[60:]


def until(fact: Callable[[], Any], sentence: str) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (found := fact()):
        assert time.monotonic() < end, sentence
        time.sleep(0.05)
    return found


class Site:
    """One installation: its configuration, its copy of the share, its server."""

    def __init__(self, home: Path, name: str) -> None:
        self.name = name
        self.config, self.data = home / name / "config", home / name / "data"
        self.log = home / f"{name}.log"
        self.config.mkdir(parents=True)
        (self.config / "server.json").write_text(json.dumps({"site": name, "settle_s": 0.1}))
        self._child: Child | None = None

    def start(self) -> Site:
        command = [sys.executable, "-c", PROGRAM, str(self.config), str(self.data)]
        self._child = Child(self.name, command, self.log)
        url = self._child.wait_for_first_line(30).split()[-1]
        self.api = Client(url, People(Settings(self.config)).make_token(user="admin"))
        return self

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop()
        self._child = None

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        raw = None if body is None else json.dumps(body).encode()
        return self.api._json(method, path, raw)["data"]

    def asset(self, inside: str = SHOT) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("GET", self._path(inside))
        return found

    def change(self, inside: str = SHOT, **fields: Any) -> None:
        self.ask("PATCH", self._path(inside), fields)

    def note(self, text: str) -> None:
        self.ask("POST", self._path(SHOT) + "/notes", {"text": text})

    def notes(self) -> list[str]:
        return sorted(note["text"] for note in self.ask("GET", self._path(SHOT) + "/notes"))

    def conflicts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("GET", "/api/problems?kind=conflict")
        return found

    def press(self, problem: dict[str, Any], label: str) -> Any:
        """A button of a problem, by the beginning of its label."""
        [action] = [action for action in problem["actions"] if action["label"].startswith(label)]
        return self.ask(action["method"], action["path"], action["body"])

    def save(self, inside: str, text: str) -> None:
        """Somebody saves a scene, as Blender does."""
        path = self.data / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(path.name + "@")
        aside.write_bytes(scene(text))
        os.replace(aside, path)

    def known(self, inside: str = SHOT) -> bool:
        rows = self.ask("GET", "/api/assets?project=demo&q=path:" + quote(inside.rpartition("/")[2]))
        return any(row["path"] == inside.partition("/")[2] and row["uuid"] for row in rows)

    @staticmethod
    def _path(inside: str) -> str:
        return "/api/assets/" + quote(f"data::{inside}")


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[tuple[Site, Site]]:
    """`north` with a scene of Ana's; `south` began with a copy of its share."""
    north, south = Site(tmp_path, "north"), Site(tmp_path, "south")
    try:
        north.data.mkdir(parents=True)
        north.start()
        north.save(SHOT, "first")
        until(lambda: north.known(), "the scene isn't taken in")
        until((north.data / "demo/shots/.croft/sh010.blend/file.json").exists, "the scene isn't read")
        north.change(owner="student", description="first")
        copy = ["rsync", "-a", *(f"--exclude={name}/" for name in PRIVATE)]
        subprocess.run([*copy, f"{north.data}/", f"{south.data}/"], check=True)
        south.start()
        until(lambda: south.known(), "the other site doesn't know the scene")
        until(lambda: south.asset()["status"] == "ok", "the scene doesn't come to rest")
        yield north, south
        for site in (north, south):
            text = site.log.read_text("utf-8", "replace")
            assert "Traceback" not in text, text[-3000:]
    finally:
        north.stop()
        south.stop()


def rsync(one: Site, other: Site) -> None:
    """The newer file wins, both ways: the command of docs/shares.md."""
    for source, target in ((one, other), (other, one)):
        command = ["rsync", "-a", "--update", "--modify-window=-1", "--exclude=.croft-tmp-*"]
        command += [*(f"--exclude={name}/" for name in PRIVATE), f"--exclude=history.{target.name}.jsonl"]
        command += [f"{source.data}/", f"{target.data}/"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 24), done.stderr


NAMES = {
    "syncthing": lambda stem, ending: f"{stem}.sync-conflict-20260101-120000-ABCDEFG{ending}",
    "nextcloud": lambda stem, ending: f"{stem} (conflicted copy 2026-01-01 120000){ending}",
    "dropbox": lambda stem, ending: f"{stem} (Ana's conflicted copy 2026-01-01){ending}",
}


class Synchroniser:
    """What Syncthing and its like do: what changed on one side goes to the other; what changed on both gets
    a copy under another name, which goes to both."""

    def __init__(self, one: Site, other: Site, style: str) -> None:
        self.sides = (one, other)
        self.rename = NAMES[style]
        self.before = self._look(one)

    def run(self) -> None:
        one, other = self.sides
        now, there = self._look(one), self._look(other)
        for inside in sorted({*now, *there, *self.before}):
            was, mine, theirs = self.before.get(inside), now.get(inside), there.get(inside)
            if mine == theirs:
                continue
            if theirs == was or (theirs is None and was is None):
                self._carry(one, other, inside)
            elif mine == was or (mine is None and was is None):
                self._carry(other, one, inside)
            elif mine is None or theirs is None:  # changed here, deleted there: it comes back
                self._carry(*((other, one) if mine is None else (one, other)), inside)
            else:
                self._conflict(inside)
        self.before = self._look(one)

    def _conflict(self, inside: str) -> None:
        one, other = self.sides
        stem, dot, ending = inside.rpartition(".")
        copy = self.rename(stem, dot + ending) if dot else self.rename(inside, "")
        newer = max(self.sides, key=lambda site: (site.data / inside).stat().st_mtime_ns)
        older = other if newer is one else one
        os.rename(older.data / inside, older.data / copy)
        self._carry(newer, older, inside)
        self._carry(older, newer, copy)

    def _carry(self, source: Site, target: Site, inside: str) -> None:
        path, to = source.data / inside, target.data / inside
        if not path.exists():
            to.unlink(missing_ok=True)
            return
        to.parent.mkdir(parents=True, exist_ok=True)
        aside = to.with_name(".syncthing.tmp")
        shutil.copy2(path, aside)
        os.replace(aside, to)

    def _look(self, site: Site) -> dict[str, bytes]:
        found = {}
        for path in site.data.rglob("*"):
            inside = path.relative_to(site.data)
            if path.is_file() and not set(PRIVATE) & set(inside.parts) and ".croft-tmp-" not in path.name:
                found[inside.as_posix()] = path.read_bytes()
        return found


def sidecar(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((site.data / (SHOT + ".json")).read_text())
    return found


def both(north: Site, south: Site, fact: Callable[[Site], Any], sentence: str) -> None:
    for site in (north, south):
        until(lambda site=site: fact(site), f"{sentence} ({site.name}: {sidecar(site)})")


@pytest.mark.parametrize(
    "way",
    ["rsync", "syncthing", *(pytest.param(way, marks=pytest.mark.soak) for way in ("nextcloud", "dropbox"))],
)
def test_what_both_sites_do_survives(sites: tuple[Site, Site], needs: Callable[[str], str], way: str) -> None:
    needs("rsync")
    north, south = sites
    tool = Synchroniser(north, south, way) if way != "rsync" else None

    def synchronise() -> None:
        tool.run() if tool is not None else rsync(north, south)

    # Given edits, notes and renders on both sides, while nobody was connected
    north.change(description="from the north")
    south.change(state="done", owner="supervisor")
    north.change(tags=["windy"])
    north.note("the sky is too dark")
    south.note("I like the sky")
    job_north = north.ask("POST", "/api/jobs", {"file": f"data::{SHOT}", "frames": "1-2"})
    job_south = south.ask("POST", "/api/jobs", {"file": f"data::{SHOT}", "frames": "3-4"})
    south.save("demo/shots/sh020.blend", "from the south")
    until(lambda: south.known("demo/shots/sh020.blend"), "the new scene isn't taken in")
    # When their shares are synchronised
    for _ in range(2):
        synchronise()
    # Then each has what was done on either side
    wanted = {"description": "from the north", "state": "done", "owner": "supervisor", "tags": ["windy"]}
    both(north, south, lambda site: wanted.items() <= site.asset().items(), "edits are missing")
    both(north, south, lambda site: wanted.items() <= sidecar(site).items(), "the sidecar lacks edits")
    both(north, south, lambda site: site.notes() == ["I like the sky", "the sky is too dark"], "notes")
    both(north, south, lambda site: site.known("demo/shots/sh020.blend"), "the new scene is missing")
    # And their renders: both see both, each runs its own, in a version of its own
    both(north, south, lambda site: len(site.ask("GET", "/api/jobs")) == 2, "renders are missing")
    assert job_north["version"] != job_south["version"]
    assert job_south["version"].endswith("-south")
    seen = south.ask("GET", f"/api/jobs/{job_north['id']}")
    assert (seen["elsewhere"], seen["why"]) == (True, "it is rendered at north, not here")
    assert not north.ask("GET", f"/api/jobs/{job_north['id']}")["elsewhere"]
    south.ask("PATCH", f"/api/jobs/{job_north['id']}", {"paused": False})  # 'Run it here'
    assert not south.ask("GET", f"/api/jobs/{job_north['id']}")["elsewhere"]
    # And nobody is asked anything, and no conflict copy is left beside people's files
    both(north, south, lambda site: site.conflicts() == [], "somebody is asked")
    for _ in range(3):
        synchronise()
    both(north, south, lambda site: wanted.items() <= sidecar(site).items(), "the sidecar lacks edits")

    def left(site: Site) -> list[str]:
        return [path.name for path in site.data.rglob("*onflict*") if "old" not in path.parts]

    both(north, south, lambda site: left(site) == [], "a conflict copy is left")


@pytest.mark.parametrize("way", ["rsync", "syncthing"])
def test_a_true_conflict_is_shown_and_decided_once(
    sites: tuple[Site, Site], needs: Callable[[str], str], way: str
) -> None:
    needs("rsync")
    north, south = sites
    tool = Synchroniser(north, south, way) if way != "rsync" else None

    def synchronise() -> None:
        tool.run() if tool is not None else rsync(north, south)

    north.change(description="windy")
    south.change(description="calm", state="done")
    for _ in range(2):
        synchronise()
    # Then both are asked, both values are there, and nothing is decided
    both(north, south, lambda site: len(site.conflicts()) == 1, "nobody is asked")
    both(north, south, lambda site: site.asset()["state"] == "done", "the other field is missing")
    for site in (north, south):
        [problem] = site.conflicts()
        assert [action["label"] for action in problem["actions"]] == ["Take windy", "Take calm"]
        assert "here" in problem["text"]
        assert site.asset()["description"] in ("windy", "calm")
    # When somebody decides at one site, then it is so at both
    [problem] = south.conflicts()
    south.press(problem, "Take windy")
    assert south.asset()["description"] == "windy"
    until(lambda: south.conflicts() == [], "it is still asked")
    for _ in range(2):
        synchronise()
    both(north, south, lambda site: site.asset()["description"] == "windy", "it isn't decided")
    both(north, south, lambda site: site.conflicts() == [], "somebody is still asked")


def test_a_scene_that_was_saved_on_both_sides(sites: tuple[Site, Site]) -> None:
    north, south = sites
    tool = Synchroniser(north, south, "syncthing")
    north.save(SHOT, "in the north")
    south.save(SHOT, "in the south")
    tool.run()
    # Then the copy is no asset of its own, and people are asked
    both(north, south, lambda site: len(site.conflicts()) == 1, "nobody is asked")
    [problem] = north.conflicts()
    copy = problem["address"].partition("::")[2]
    texts = {(north.data / inside).read_bytes() for inside in (SHOT, copy)}
    assert texts == {scene("in the north"), scene("in the south")}
    assert not (north.data / (copy + ".json")).exists()
    before = (north.data / SHOT).read_bytes()
    # Theirs: and Undo
    undo = north.press(problem, "Take the other one")["undo"]
    assert (north.data / SHOT).read_bytes() != before
    assert north.conflicts() == []
    north.ask(undo["method"], undo["path"], undo["body"])
    assert (north.data / SHOT).read_bytes() == before
    # Mine
    [problem] = south.conflicts()
    undo = south.press(problem, "Keep sh010.blend")["undo"]
    assert not (south.data / copy).exists()
    south.ask(undo["method"], undo["path"], undo["body"])
    assert (south.data / copy).exists()
    # Both
    [problem] = until(south.conflicts, "it isn't asked again")
    south.press(problem, "Keep both")
    until(lambda: south.known("demo/shots/sh010 other.blend"), "it doesn't become an asset")
    assert south.asset("demo/shots/sh010 other.blend")["uuid"] != south.asset()["uuid"]
    assert south.conflicts() == []


def test_an_equal_copy_is_no_question(sites: tuple[Site, Site]) -> None:
    north, _ = sites
    copy = north.data / "demo/shots/sh010.sync-conflict-20260101-120000-ABCDEFG.blend"
    copy.write_bytes((north.data / SHOT).read_bytes())
    until(lambda: not copy.exists(), "it stays")
    [kept] = (north.data / "demo/shots/old").glob("*/" + copy.name)
    assert filecmp.cmp(kept, north.data / SHOT, shallow=False)
