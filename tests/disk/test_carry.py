"""Records that follow their files: joined with what is there, across shares, through crashes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disk_kit import FailingDisk, make_store, worker

from server.disk import carry, files, intents, paths, sidecar
from server.disk.errors import CroftError
from server.disk.paths import Share
from server.disk.settings import Settings
from server.disk.sites import Sites
from server.disk.store import Store
from server.disk.watcher import Watcher
from tests.disk.live import Live, asset, write


def history(path: Path, *events: dict[str, Any]) -> None:
    write(path, "".join(json.dumps(event) + "\n" for event in events))


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def make_two(root: Path) -> Share:
    """`a`, whose file went, and `b`, which Croft knows already; both have something of each kind."""
    for name in ("a", "b"):
        folder = root / f"p/.croft/{name}.blend"
        write(folder / "file.json", f'"{name}"')
        write(folder / "thumbs/1.png", name)
        write(folder / f"notes/{name}.json", name)
        write(folder / "notes/both.json", name)
        write(folder / "notes/same.json", "same")
        write(folder / "versions/v001/version.json", {"version": "v001", "who": name})
        write(folder / "versions/v001/x.blend", f"{name} one")
    write(root / "p/b.blend", "b")
    write(root / "p/a.blend.json", '{"owner": "ana"}')
    write(root / "p/b.blend.json", '{"owner": ""}')
    at = {"who": "ana", "fields": {}}
    history(root / "p/.croft/a.blend/history.s.jsonl", {"at": "1", **at}, {"at": "3", **at})
    history(root / "p/.croft/b.blend/history.s.jsonl", {"at": "2", **at}, {"at": "3", **at}, {"at": "4"})
    write(root / "p/.croft/a.blend/versions/v002/version.json", {"version": "v002", "who": "a"})
    return Share("data", root)


def check_joined(root: Path) -> None:
    assert not (root / "p/a.blend.json").exists()
    assert not (root / "p/.croft/a.blend").exists()
    assert json.loads((root / "p/b.blend.json").read_text()) == {"owner": "ana"}
    found = tree(root / "p/.croft/b.blend")
    lines = [json.loads(line)["at"] for line in found.pop("history.s.jsonl").splitlines()]
    assert lines == ["1", "3", "2", "4"], "each once; those of the record that came stay where they were"
    assert (found["file.json"], found["thumbs/1.png"]) == ('"b"', "b")
    assert (found["notes/a.json"], found["notes/b.json"], found["notes/same.json"]) == ("a", "b", "same")
    versions = {name: text for name, text in found.items() if name.endswith(".blend")}
    assert sorted(versions.values()) == ["a one", "b one"]
    whose = sorted(
        (json.loads(text)["who"], json.loads(text)["version"] == name.split("/")[1])
        for name, text in found.items()
        if name.endswith("version.json")
    )
    assert whose == [("a", True), ("a", True), ("b", True)]
    # Of two notes of one name both are there: one in its place, the other in old/.
    aside = [path.read_text() for path in (root / "p/old").rglob("both.json")]
    assert sorted([found["notes/both.json"], *aside]) == ["a", "b"]


def test_two_companions_become_one(disk_root: Path) -> None:
    share = make_two(disk_root)
    carry.carry(share, "p/a.blend", "p/b.blend")
    check_joined(disk_root)


def say(root: Path, name: str, site: str, **fields: Any) -> None:
    """An edit at one site, in the knowledge of all that lies there."""
    beside, companion = root / f"p/{name}.json", root / f"p/.croft/{name}"
    companion.mkdir(parents=True, exist_ok=True)
    here = Sites(site)
    before = sidecar.read(beside) if beside.exists() else sidecar.EMPTY
    known = here.bring_together(beside, companion, before, editing=True)
    raw = sidecar.dump({**before.data, **fields})
    write(beside, raw.decode())
    changed = {key: (before.data.get(key), value) for key, value in fields.items()}
    here.say(companion, "ana", changed, known.vector, sidecar.etag(raw))


def test_what_sites_saw_of_each_other_holds_where_two_companions_become_one(disk_root: Path) -> None:
    # Given a file that was renamed, and a record that two sites began for its new name meanwhile
    write(disk_root / "p/b.blend", "b")
    say(disk_root, "b.blend", "north", uuid="fresh", state="new", owner="")
    say(disk_root, "b.blend", "south", state="todo")
    for n, site in enumerate(("north", "south", "north", "south")):
        say(disk_root, "a.blend", site, uuid="old", state=f"step {n}", owner="ana")
    said = json.loads((disk_root / "p/a.blend.json").read_text())
    # When both become one
    carry.carry(Share("data", disk_root), "p/a.blend", "p/b.blend")
    # Then nobody is asked, and the record that came is what counts at each of them
    beside, companion = disk_root / "p/b.blend.json", disk_root / "p/.croft/b.blend"
    for site in ("north", "south"):
        found = Sites(site).bring_together(beside, companion, sidecar.read(beside))
        assert (found.conflicts, found.changed, dict(found.side.data)) == ({}, False, said)
    assert '"new"' in (companion / "history.north.jsonl").read_text(), "what was said is still told"
    # And what is said from now on is an edit of that record
    say(disk_root, "b.blend", "north", state="done")
    found = Sites("south").bring_together(beside, companion, sidecar.read(beside))
    assert (found.conflicts, found.side.data["state"]) == ({}, "done")


@pytest.mark.parametrize("call", ["replace", "rename", "unlink", "fsync", "mkdir", "rmdir", "write"])
def test_interrupted_and_done_again(tmp_path: Path, call: str) -> None:
    """Whatever call of the disk fails: nothing is lost, and the next try ends well."""
    for nth in range(1, 80):
        root = tmp_path / str(nth)
        share = make_two(root)
        disk = FailingDisk({call}, nth)
        try:
            carry.carry(share, "p/a.blend", "p/b.blend", disk)
        except (CroftError, OSError):
            carry.carry(share, "p/a.blend", "p/b.blend")
        check_joined(root)
        if disk.seen < nth:
            break
    else:
        pytest.fail("it never came through")


CIRCLE = {"p/a.blend": "p/b.blend", "p/b.blend": "p/c.blend", "p/c.blend": "p/a.blend"}
ROTATE = """
import os, sys
from pathlib import Path
from server.disk import carry, files
from server.disk.paths import Share

class Dying(files.Os):
    left = int(sys.argv[2])
    def __getattribute__(self, name):
        if name not in ("left", "__class__", "__dict__"):
            Dying.left -= 1
            if Dying.left == 0:
                os.kill(os.getpid(), 9)
        return object.__getattribute__(self, name)

carried = {"p/a.blend": "p/b.blend", "p/b.blend": "p/c.blend", "p/c.blend": "p/a.blend"}
carry.rotate(Share("data", Path(sys.argv[1])), carried, Dying())
"""


def make_circle(root: Path) -> None:
    make_store(root).close()
    for name in "abc":
        write(root / f"p/{name}.blend", f"content {name}")
        write(root / f"p/{name}.blend.json", {"schema": 1, "uuid": name, "owner": ""})
        write(root / f"p/.croft/{name}.blend/notes/n.json", name)


def records(root: Path) -> dict[str, tuple[str, str]]:
    found = {}
    for name in "abc":
        side, note = root / f"p/{name}.blend.json", root / f"p/.croft/{name}.blend/notes/n.json"
        found[name] = (
            json.loads(side.read_text())["uuid"] if side.exists() else "",
            note.read_text() if note.exists() else "",
        )
    return found


def test_three_in_a_circle(disk_root: Path) -> None:
    make_circle(disk_root)
    carry.rotate(Share("data", disk_root), CIRCLE)
    assert records(disk_root) == {"b": ("a", "a"), "c": ("b", "b"), "a": ("c", "c")}
    assert not (disk_root / "p/old").exists()
    assert not list((disk_root / paths.LOCKS).glob("intent-*"))


def test_killed_while_records_change_places(tmp_path: Path) -> None:
    """No record is ever gone: each is beside some file, or in `old/`, where the list of deleted has it."""
    for nth in (2, 5, 8, 11, 14, 17, 20, 23, 27, 31, 35, 40):
        root = tmp_path / str(nth)
        make_circle(root)
        process = worker(ROTATE, root, nth, stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=30)
        assert process.returncode in (-9, 0), said
        make_store(root).close()
        uuids = [json.loads(path.read_text())["uuid"] for path in (root / "p").rglob("*.blend.json")]
        notes = [path.read_text() for path in (root / "p").rglob("n.json")]
        assert sorted(uuids) == sorted(notes) == ["a", "b", "c"], nth
        assert not list((root / paths.LOCKS).glob("intent-*")), nth
        assert not [path for path in (root / "p").rglob(files.TEMPORARY + "*") if path.is_dir()]
        for ident in intents.names(root / "p/old"):
            assert intents.read(Share("data", root), f"p/old/{ident}").data["done"]


# -- two shares


@pytest.fixture
def late() -> bool:
    return False


@pytest.fixture
def two_shares(tmp_path: Path, late: bool) -> Iterator[Live]:
    config = tmp_path / "config"
    config.mkdir()
    (config / "server.json").write_text('{"settle_s": 0.1, "scan_every_s": 1.0}')
    shares = [Share("data", tmp_path / "one"), Share("more", tmp_path / "two")]
    for share in shares:
        share.root.mkdir()
    store = Store(Settings(config), shares)
    watcher = Watcher(store, contest_s=0.4 if late else 60)
    store.open()
    yield Live(store, watcher, tmp_path / "one")
    store.close()


@pytest.mark.parametrize("along", ["file", "sidecar", "all"])
@pytest.mark.parametrize("late", [False, True])
def test_to_another_share_by_copy_then_delete(
    two_shares: Live, tmp_path: Path, along: str, late: bool
) -> None:
    live = two_shares
    source, target = tmp_path / "one/p/a.blend", tmp_path / "two/q/a.blend"
    asset(source, "u", owner="mia")
    write(source.parent / ".croft/a.blend/notes/n.json", "hers")
    st = source.stat()
    write(source.parent / ".croft/a.blend/file.json", {"size": st.st_size, "mtime_ns": st.st_mtime_ns})
    live.settle()
    target.parent.mkdir(parents=True)
    shutil.copy2(source, target)
    if along != "file":
        shutil.copy2(f"{source}.json", f"{target}.json")
    if along == "all":
        shutil.copytree(source.parent / ".croft/a.blend", target.parent / ".croft/a.blend")
    live.settle()
    if late:
        live.until(lambda: not live.store.index.contested())
        live.until(lambda: not live.watcher.identity._contests)
        live.settle()
    source.unlink()
    if along != "file":
        os.unlink(f"{source}.json")
    if along == "all":
        shutil.rmtree(source.parent / ".croft/a.blend")
    live.settle()
    live.until(lambda: live.statuses() == {"more::q/a.blend": "ok"})
    facts = live.entry("more::q/a.blend").facts
    assert facts is not None
    assert (target.parent / ".croft/a.blend/notes/n.json").read_text() == "hers"
    if late and along == "all":
        assert (facts.derived_from, facts.owner) == ("u", "mia")  # nothing told any more what it was
    else:
        live.until(lambda: (live.entry("more::q/a.blend").facts or facts).uuid == "u")
        facts = live.entry("more::q/a.blend").facts
        assert facts is not None
        assert (facts.derived_from, facts.owner) == ("", "mia")
    assert live.watcher.errors == 0
