"""Does the store keep what people made, through edits, uploads, deletions and shares that come and go?"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from disk_kit import (
    CLONE,
    FILE,
    POLICIES,
    FailingDisk,
    Pool,
    leftovers,
    make_file,
    make_store,
    mount_pool,
    together,
    worker,
)

from server.disk import paths
from server.disk.errors import BadInput, Conflict, CroftError, DiskFull, NotFound, ReadOnly, ShareAway
from server.disk.mounts import configured_shares
from server.disk.records import Change
from server.disk.settings import Settings


def tree(root: Path) -> dict[str, bytes]:
    """Every file that isn't Croft's own housekeeping."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and paths.LOCKS not in path.parts
        and path.name not in (".croft-share.json", ".mergerfs")
        and path.parent.name != ".croft-sites"
    }


def test_an_edit_is_written_indexed_told_and_remembered(disk_root: Path, tmp_path: Path) -> None:
    make_file(disk_root)
    store = make_store(disk_root, tmp_path / "config")
    told: list[Change] = []
    store.subscribe(told.extend)
    store.edit(FILE, {"owner": "mia", "odd": [1]}, who="tom")
    after = store.edit(FILE, lambda old: {**old, "owner": "eve"}, who="eve")
    assert store.read(FILE).data == {"owner": "eve", "odd": [1]}
    entry = store.index.get(FILE)
    assert entry is not None
    assert entry.facts is not None
    assert (entry.facts.owner, entry.etag) == ("eve", after.etag)
    assert Change("asset", FILE) in told
    history = store.history(FILE)
    assert [(line["who"], line["fields"]["owner"]) for line in history] == [
        ("tom", [None, "mia"]),
        ("eve", ["mia", "eve"]),
    ]
    told.clear()
    store.edit(FILE, {"owner": "eve"}, who="eve")  # the same again
    assert (told, len(store.history(FILE))) == ([], 2)


def test_a_subscriber_that_fails_harms_nobody(tmp_path: Path) -> None:
    make_file(tmp_path / "share")
    store = make_store(tmp_path / "share")
    told: list[Change] = []

    def fail(changes: list[Change]) -> None:
        raise ZeroDivisionError

    store.subscribe(fail)
    end = store.subscribe(told.extend)
    store.edit(FILE, {"owner": "mia"}, who="tom")
    assert told
    end()
    told.clear()
    store.edit(FILE, {"owner": "tom"}, who="tom")
    assert told == []


@pytest.mark.parametrize("call", ["open", "write", "short", "fsync", "replace", "mkdir"])
def test_an_edit_leaves_old_or_new_whichever_call_fails(disk_root: Path, tmp_path: Path, call: str) -> None:
    root = disk_root
    make_file(root)
    first = make_store(root, tmp_path / "config")
    nth = 0
    while True:
        nth += 1
        first.edit(FILE, lambda _: {"owner": "old"}, who="tom")
        shutil.rmtree(root / "green/shots/.croft", ignore_errors=True)  # so that its folders are made again
        disk = FailingDisk({call}, nth, errno.ENOSPC)
        first.disk = disk
        try:
            first.edit(FILE, {"owner": "new", "long": "x" * 9000}, who="tom")
        except CroftError as error:
            assert isinstance(error, DiskFull)  # noqa: PT017 - which call it was decides whether it fails
        first.disk = type(disk)(set(), 0)
        data = json.loads((root / "green/shots/sh010.blend.json").read_bytes())
        assert data in ({"owner": "old"}, {"owner": "new", "long": "x" * 9000})
        entry = first.index.get(FILE)
        assert entry is not None
        assert entry.facts is not None
        assert entry.facts.owner == data["owner"]  # the index goes by the disk
        assert leftovers(root) == []
        if disk.seen < nth:
            break
    assert nth > 1


@pytest.mark.parametrize("kind", ["disk", *POLICIES])
def test_edits_on_a_disk_that_fills_up(
    tiny: Callable[..., Path], request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    pool = request.getfixturevalue("pool")
    root = tiny("share", 2 << 20) if kind == "disk" else pool(kind, (1, 2, 1)).root
    for number in range(8):
        make_file(root, f"green/shots/sh{number}.blend", b"x" * 1000)
    store = make_store(root, tmp_path / "config")
    written: dict[int, int] = {}
    for size in range(1, 400):
        number = size % 8
        try:
            store.edit(
                f"data::green/shots/sh{number}.blend", {"size": size, "text": "y" * size * 40}, who="t"
            )
            written[number] = size
        except DiskFull:
            pass
        # Files of their own: a pool spreads them over its disks.
        with contextlib.suppress(OSError), open(root / f"filler{size}", "wb", buffering=0) as filler:
            filler.write(bytes(25_000))
    for number, size in written.items():
        assert store.read(f"data::green/shots/sh{number}.blend").data == {
            "size": size,
            "text": "y" * size * 40,
        }
    assert max(written.values()) < 399  # it was full indeed
    assert any(problem.id == "full:data::" for problem in store.problems())
    for filler_path in root.glob("filler*"):
        filler_path.unlink()
    store.edit("data::green/shots/sh0.blend", {"size": 0}, who="t")
    assert leftovers(root) == []


def test_a_start_on_a_full_disk_serves_as_soon_as_there_is_room(
    tiny: Callable[..., Path], tmp_path: Path
) -> None:
    root = tiny("share", 1 << 20)
    make_file(root)
    make_store(root, tmp_path / "config").edit(FILE, {"owner": "mia"}, who="tom")
    with contextlib.suppress(OSError), open(root / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    store = make_store(root, tmp_path / "config")
    with pytest.raises(DiskFull):
        store.edit(FILE, {"owner": "tom"}, who="tom")
    assert store.read(FILE).data == {"owner": "mia"}
    (root / "filler").unlink()
    store.edit(FILE, {"owner": "tom"}, who="tom")


def test_an_upload_never_replaces(disk_root: Path, tmp_path: Path) -> None:
    store = make_store(disk_root, tmp_path / "config")
    for content in (b"first", b"second"):
        temporary = store.temporary("data::green/new/a b.png")
        temporary.write_bytes(content)
        if content == b"first":
            store.place(temporary, "data::green/new/a b.png", "mia")
        else:
            with pytest.raises(Conflict, match="there already"):
                store.place(temporary, "data::green/new/a b.png", "mia")
            assert temporary.read_bytes() == b"second"  # whoever wrote it still has it
    assert (disk_root / "green/new/a b.png").read_bytes() == b"first"
    assert store.index.get("data::green/new/a b.png") is not None
    with pytest.raises(BadInput):
        store.place(temporary, "data::green/" + "x" * 254, "mia")


def test_a_deletion_moves_everything_to_old(disk_root: Path, tmp_path: Path) -> None:
    make_file(disk_root, content=b"scene")
    store = make_store(disk_root, tmp_path / "config")
    store.edit(FILE, {"owner": "mia"}, who="tom")
    make_file(disk_root, "green/shots/.croft/sh010.blend/jobs/j1/journal.jsonl", b"{}\n")
    make_file(disk_root, "green/shots/other.blend")
    before = tree(disk_root)
    aside = store.delete(FILE, "tom")
    inside = paths.parse(aside)[1]
    after = tree(disk_root)
    moved = {
        name.replace("green/shots/", inside + "/", 1): content
        for name, content in before.items()
        if "sh010" in name
    }
    intent = json.loads(after.pop(inside + "/intent.json"))
    assert after == {**moved, "green/shots/other.blend": b"BLENDER"}
    assert (intent["done"], intent["who"], intent["inside"]) == (True, "tom", "green/shots/sh010.blend")
    assert store.index.get(FILE) is None
    with pytest.raises(NotFound):
        store.delete(FILE, "tom")
    with pytest.raises(BadInput):
        store.delete("data::", "tom")


def test_a_sequence_is_deleted_as_one(tmp_path: Path) -> None:
    root = tmp_path / "share"
    for number in range(1, 4):
        make_file(root, f"green/s/wave.{number:04d}.png")
    make_file(root, "green/s/wave.@.png.json", b"{}")
    make_file(root, "green/s/wave.0001.jpg")
    store = make_store(root)
    inside = paths.parse(store.delete("data::green/s/wave.@.png", "tom"))[1]
    assert sorted(os.listdir(root / "green/s")) == ["old", "wave.0001.jpg"]
    assert len(os.listdir(root / inside)) == 5


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "rename", "unlink", "open"])
def test_an_interrupted_deletion_is_finished_at_the_next_start(
    disk_root: Path, tmp_path: Path, call: str
) -> None:
    # Given a deletion whose n-th call is its last, when Croft starts again, it is whole or never began.
    nth = 0
    while True:
        nth += 1
        make_file(disk_root, content=b"scene")
        make_file(disk_root, "green/shots/.croft/sh010.blend/file.json", b"{}")
        first = make_store(disk_root, tmp_path / "config")
        first.edit(FILE, {"owner": "mia"}, who="tom")
        disk = first.disk = FailingDisk({call}, nth, for_good=True)
        with contextlib.suppress(CroftError):
            first.delete(FILE, "tom")
        again = make_store(disk_root, tmp_path / "config")
        left = [name for name in tree(disk_root) if name.startswith("green/shots/") and "/old/" not in name]
        whole = len(left) == 4  # file, sidecar, file.json, history
        assert whole or left == [], left
        assert list((disk_root / paths.LOCKS).glob("intent-*")) == []
        olds = [name for name in tree(disk_root) if "/old/" in name and "intent" not in name]
        assert len(olds) == (0 if whole else 4), olds
        again.close()
        shutil.rmtree(disk_root / "green")
        if disk.seen < nth:
            assert not whole
            break
    assert nth > 1


@pytest.mark.parametrize("again", [False, True])
def test_a_deletion_goes_on_in_a_folder_that_was_renamed_meanwhile(
    disk_root: Path, tmp_path: Path, again: bool
) -> None:
    # Given a deletion that was cut off half way
    make_file(disk_root, content=b"scene")
    first = make_store(disk_root, tmp_path / "config")
    first.edit(FILE, {"owner": "mia"}, who="tom")
    first.disk = FailingDisk({"rename"}, 2, for_good=True)
    with pytest.raises(CroftError):
        first.delete(FILE, "tom")
    first.close()
    # When its folder is away at the next start
    os.rename(disk_root / "green/shots", disk_root / ".away")
    second = make_store(disk_root, tmp_path / "config")
    assert len(list((disk_root / paths.LOCKS).glob("intent-*"))) == 1
    # Then that is told
    assert [(problem.kind, problem.address) for problem in second.problems()] == [("interrupted", FILE)]
    second.close()
    # And when it is there again under another name, it is finished, though the old name be taken
    os.rename(disk_root / ".away", disk_root / "green/scenes")
    if again:
        (disk_root / "green/shots").mkdir()
    third = make_store(disk_root, tmp_path / "config")
    assert list((disk_root / paths.LOCKS).glob("intent-*")) == []
    assert third.problems() == []
    left = {name.rpartition("/")[2] for name in tree(disk_root) if "/old/" not in name and "/scenes/" in name}
    assert left == set()
    [aside] = (disk_root / "green/scenes/old").iterdir()
    back = third.bring_back(f"data::{aside.relative_to(disk_root)}", "tom")
    assert back == "data::green/scenes/sh010.blend"
    assert (disk_root / "green/scenes/sh010.blend").read_bytes() == b"scene"
    third.close()


def test_finishing_a_deletion_spares_what_came_after_it(tmp_path: Path) -> None:
    # Given a deletion interrupted before its first move, and a student who saves the scene anew meanwhile.
    root = tmp_path / "share"
    make_file(root, content=b"old scene")
    first = make_store(root)
    first.edit(FILE, {"owner": "mia"}, who="tom")
    first.disk = FailingDisk({"rename"}, 1, for_good=True)
    with pytest.raises(CroftError):
        first.delete(FILE, "tom")
    fresh = root / "green/shots/fresh"
    fresh.write_bytes(b"a new scene")
    os.replace(fresh, root / "green/shots/sh010.blend")
    make_store(root)
    assert (root / "green/shots/sh010.blend").read_bytes() == b"a new scene"


def test_a_share_whose_marker_is_gone_is_away(tmp_path: Path) -> None:
    root = tmp_path / "share"
    make_file(root)
    store = make_store(root)
    store.edit(FILE, {"owner": "mia"}, who="tom")
    before = store.index.dump()
    # A mount point without its mount: an empty folder.
    os.rename(root, tmp_path / "elsewhere")
    root.mkdir()
    assert store.away("data")
    for write in (
        lambda: store.edit(FILE, {"owner": "x"}, who="x"),
        lambda: store.delete(FILE, "x"),
        lambda: store.temporary(FILE),
        lambda: store.write_json("data::project.json", {}),
        lambda: store.make_folder("data::a"),
        lambda: store.move(FILE, FILE + "2", "x"),
    ):
        with pytest.raises(ShareAway, match="Nothing is lost"):
            write()
    assert store.refresh(FILE) == []
    assert store.rescan() == []
    assert os.listdir(root) == []
    assert store.index.dump() == before
    assert [problem.kind for problem in store.problems()] == ["share"]
    # A start while it is away neither makes a marker nor forgets the share.
    late = make_store(root, tmp_path / "share-config")
    assert late.away("data")
    assert os.listdir(root) == []
    # Mounted again.
    root.rmdir()
    os.rename(tmp_path / "elsewhere", root)
    assert not store.away("data")
    assert not late.away("data")
    assert store.index.dump() == late.index.dump() == before
    store.edit(FILE, {"owner": "x"}, who="x")


def test_another_share_mounted_in_its_place_is_not_touched(tmp_path: Path) -> None:
    root = tmp_path / "share"
    make_file(root)
    make_store(root)
    marker = root / paths.SHARE_MARKER
    data = json.loads(marker.read_text())
    marker.write_text(json.dumps({**data, "id": "another"}))
    store = make_store(root)
    with pytest.raises(ShareAway, match="another id"):
        store.edit(FILE, {"owner": "x"}, who="x")
    marker.write_text("{")
    assert make_store(root).away("data")
    assert marker.read_text() == "{"


def test_another_share_mounted_over_it_is_not_written_to(tiny: Callable[..., Path], tmp_path: Path) -> None:
    # Given a share, and between two looks another one in its place
    root, other = tmp_path / "share", tiny("other", 1 << 20)
    make_file(root, "green/a.blend")
    make_file(other, "green/a.blend")
    make_store(other, tmp_path / "other-config").close()
    store = make_store(root, tmp_path / "config")
    before = sorted(other.rglob("*"))
    subprocess.run(["mount", "--bind", str(other), str(root)], check=True)
    try:
        # Then it is away, and nothing is written
        with pytest.raises(ShareAway):
            store.edit("data::green/a.blend", {"owner": "ana"}, who="ana")
        assert "another share" in next(p.text for p in store.problems() if p.kind == "share")
        assert sorted(other.rglob("*")) == before
    finally:
        subprocess.run(["umount", str(root)], check=True)
    store.edit("data::green/a.blend", {"owner": "ana"}, who="ana")


def test_a_server_that_locks_otherwise_only_reads(tmp_path: Path) -> None:
    root = tmp_path / "share"
    make_file(root)
    make_store(root)
    marker = root / paths.SHARE_MARKER
    data = json.loads(marker.read_text())
    assert data["locks"] == "flock"
    marker.write_text(json.dumps({**data, "locks": "flock-nfs", "note": "mine"}))
    store = make_store(root)
    assert store.index.get(FILE) is not None
    with pytest.raises(ReadOnly, match="other servers lock it as flock-nfs"):
        store.edit(FILE, {"owner": "x"}, who="x")
    assert any(problem.id == "read-only:data::" for problem in store.problems())
    assert json.loads(marker.read_text())["note"] == "mine"


def test_a_disk_that_was_mounted_read_only(tiny: Callable[..., Path], tmp_path: Path) -> None:
    root = tiny("share", 1 << 20)
    make_file(root)
    make_store(root, tmp_path / "config").edit(FILE, {"owner": "mia"}, who="tom")
    subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
    store = make_store(root, tmp_path / "config")
    assert store.read(FILE).data == {"owner": "mia"}
    with pytest.raises(ReadOnly, match="mounted read-only"):
        store.edit(FILE, {"owner": "x"}, who="x")


def test_the_probe_says_what_the_disk_can(disk_root: Path, tmp_path: Path) -> None:
    store = make_store(disk_root, tmp_path / "config")
    probe = store.mounts.probes["data"]
    pooled = disk_root.name == "pool"
    assert probe.exclusion
    assert probe.replaces
    assert probe.case_sensitive
    assert probe.hard_links
    assert probe.free_bytes > 1 << 20
    assert probe.lock_class == ("flock-mergerfs" if pooled else "flock")
    assert probe.branches == (3 if pooled else 0)
    assert os.listdir(disk_root / paths.LOCKS) == []  # it leaves nothing


FIRST = """
import sys
from pathlib import Path
from server.disk.mounts import configured_shares
from server.disk.settings import Settings
from server.disk.store import Store
print("ready", flush=True)
sys.stdin.readline()
settings = Settings(Path(sys.argv[1]))
store = Store(settings, configured_shares(settings, sys.argv[2]))
store.open()
assert not store.away("data"), store.problems()
Path(sys.argv[3]).write_text(" ".join((store.site, settings.secret().hex(), store.share("data").id)))
"""


def test_processes_that_start_together_for_the_first_time_agree(tmp_path: Path) -> None:
    # Several workers of one WSGI server, on an empty configuration and an empty share.
    said = [tmp_path / f"said{number}" for number in range(6)]
    assert together([worker(FIRST, tmp_path / "config", tmp_path / "data", path) for path in said]) == [0] * 6
    assert len({path.read_text() for path in said}) == 1
    assert leftovers(tmp_path) == []


def test_a_folder_and_a_newer_record_are_left_alone_by_write_json(tmp_path: Path) -> None:
    root = tmp_path / "share"
    make_file(root)
    store = make_store(root)
    facts = "data::green/shots/.croft/sh010.blend/file.json"
    store.write_json(facts, {"size": 7})
    assert store.read_json(facts) == {"size": 7}
    make_file(root, "green/shots/.croft/sh010.blend/file.json", b'{"schema": 9}')
    with pytest.raises(ReadOnly):
        store.write_json(facts, {"size": 8})
    make_file(root, "green/shots/.croft/sh010.blend/file.json", b"{torn")
    store.write_json(facts, {"size": 8})  # derived: made again
    make_file(root, "green/project.json", b"{torn")
    with pytest.raises(CroftError):
        store.write_json("data::green/project.json", {})
    assert (root / "green/project.json").read_bytes() == b"{torn"


@pytest.mark.parametrize(
    "bad",
    ["", "data", "nope::a", "data::../x", "data::/etc/passwd", "data::a/../../x", "data::a//b", "data::a\0b",
     "data::" + "x" * 300, "data::" + "x/" * 3000 + "x", "..::a", "data::./a", "data::\ud800/../x"],
)  # fmt: skip
def test_no_address_leads_outside(tmp_path: Path, bad: str) -> None:
    make_file(tmp_path / "share")
    store = make_store(tmp_path / "share")
    for call in (
        store.path,
        store.read,
        lambda a: store.edit(a, {}, who="x"),
        lambda a: store.delete(a, "x"),
    ):
        with pytest.raises((BadInput, NotFound)):
            call(bad)  # type: ignore[operator]


@pytest.mark.parametrize(
    "own",
    [
        "data::.croft-share", "data::.croft-share.json", "data::.croft-locks/x.lock", "data::",
        "data::green/.croft/project.json",
        "data::green/shots/.croft/sh010.blend/jobs/j1/journal.jsonl", "data::green/shots/.sh010.j1.blend",
    ],
)  # fmt: skip
def test_what_is_crofts_own_is_no_persons_to_change(tmp_path: Path, own: str) -> None:
    root = tmp_path / "share"
    make_file(root)
    for inside in ("green/.croft/project.json", "green/shots/.croft/sh010.blend/jobs/j1/journal.jsonl"):
        make_file(root, inside)
    store = make_store(root)
    before = tree(root)
    for call in (
        lambda: store.edit(own, {"id": "mine"}, who="eve"),
        lambda: store.delete(own, "eve"),
        lambda: store.temporary(own),
        lambda: store.place(root / "green/shots/sh010.blend", own, "eve"),
        lambda: store.move(own, "data::green/mine", "eve"),
        lambda: store.move(FILE, own, "eve"),
    ):
        with pytest.raises(BadInput, match="Croft's own"):
            call()
    assert tree(root) == before


def test_a_json_file_of_a_persons_own_is_no_sidecar(tmp_path: Path) -> None:
    make_file(tmp_path / "share")
    own = make_file(tmp_path / "share", "green/data.json", b'{"mine": 1}')
    store = make_store(tmp_path / "share")
    with pytest.raises(NotFound):
        store.edit("data::green/data", {"owner": "eve"}, who="eve")
    assert own.read_bytes() == b'{"mine": 1}'
    store.edit(FILE, {"owner": "mia"}, who="tom")
    (tmp_path / "share/green/shots/sh010.blend").unlink()
    store.edit(FILE, {"owner": "eve"}, who="eve")  # a missing asset's record may still be changed
    assert store.read(FILE).data == {"owner": "eve"}


def test_names_that_are_not_utf8_and_numbers_that_are_huge(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.blend")
    make_file(tmp_path / "share", f"green/{name}")
    store = make_store(tmp_path / "share")
    store.edit(f"data::green/{name}", {"big": 10**30, "odd": "\ud800"}, who="tom")
    store.edit(f"data::green/{name}", {"big": 10**31}, who="tom")
    assert store.read(f"data::green/{name}").data == {"big": 10**31, "odd": "\ud800"}
    told = [line["fields"]["big"][1] for line in store.history(f"data::green/{name}")]
    assert told == pytest.approx([1e30, 1e31])
    assert [problem.kind for problem in store.problems()] == []


def test_no_link_leads_outside(tmp_path: Path) -> None:
    root = tmp_path / "share"
    make_file(root)
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/a.blend").write_text("secret")
    (root / "green/out").symlink_to(tmp_path / "secret")
    (root / "green/in").symlink_to("shots")
    store = make_store(root)
    for address in ("data::green/out/a.blend", "data::green/out"):
        with pytest.raises(NotFound, match="outside"):
            store.path(address)
    with pytest.raises(NotFound):
        store.edit("data::green/out/a.blend", {"owner": "x"}, who="x")
    assert os.listdir(tmp_path / "secret") == ["a.blend"]
    assert store.path("data::green/in/sh010.blend").is_file()


def test_a_share_within_a_share_is_refused(tmp_path: Path) -> None:
    settings = Settings(tmp_path / "config", CLONE / "config")
    settings.write("shares", "inner", {"path": str(tmp_path / "data/a")})
    settings.write("shares", "near", {"path": str(tmp_path / "data-2")})
    with pytest.raises(BadInput, match="inner lies within data"):
        configured_shares(settings, tmp_path / "data")
    settings.remove("shares", "inner")
    assert sorted(share.name for share in configured_shares(settings, tmp_path / "data")) == ["data", "near"]


@pytest.mark.parametrize("policy", POLICIES)
def test_a_pool_unmounted_and_mounted_again_loses_nothing(
    pool: Callable[[str], Pool], needs: Callable[[str], str], tmp_path: Path, policy: str
) -> None:
    mounted = pool(policy)
    for number in range(12):
        make_file(mounted.root, f"green/shots/{number}.blend")
    store = make_store(mounted.root, tmp_path / "config")
    for number in range(12):
        store.edit(f"data::green/shots/{number}.blend", {"owner": "mia"}, who="tom")
    before = store.index.dump()
    subprocess.run(["umount", str(mounted.root)], check=True)
    assert store.away("data")
    with pytest.raises(ShareAway):
        store.edit("data::green/shots/1.blend", {"owner": "eve"}, who="eve")
    store.rescan()
    store.refresh("data::green/shots/1.blend")
    assert store.index.dump() == before
    assert os.listdir(mounted.root) == []  # nothing was written onto the bare mount point
    mount_pool(needs("mergerfs"), mounted.root, mounted.branches, policy)
    assert not store.away("data")
    assert store.index.dump() == before
    store.edit("data::green/shots/1.blend", {"owner": "eve"}, who="eve")
    assert store.index.missing() == []


def test_a_folder_that_was_renamed_meanwhile_is_not_made_again(tmp_path: Path) -> None:
    """What is still to be written of its files mustn't bring the old name back."""
    store = make_store(tmp_path / "share")
    make_file(tmp_path / "share")
    store.refresh("data::")
    (tmp_path / "share/green/shots").rename(tmp_path / "share/green/scenes")
    with pytest.raises(NotFound):
        store.write_json("data::green/shots/.croft/sh010.blend/file.json", {"size": 7})
    with pytest.raises(CroftError):
        store.edit(FILE, {"owner": "ana"}, who="ana")
    assert sorted(os.listdir(tmp_path / "share/green")) == ["scenes"]
    store.write_json("data::green/scenes/.croft/sh010.blend/file.json", {"size": 7})
    assert (tmp_path / "share/green/scenes/.croft/sh010.blend/file.json").exists()
    store.close()
