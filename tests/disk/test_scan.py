"""A look at the disk: what becomes an entry, and that one path looked at equals a whole listing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.disk import paths
from server.disk.arrivals import Arrivals
from server.disk.index import Index
from server.disk.listing import frame_key, ignorer
from server.disk.paths import Share
from server.disk.scan import Found, Scanner


def write(path: Path, content: str | bytes | dict[str, object] = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def scanned(root: Path, **options: object) -> tuple[Scanner, Index, Found]:
    index = Index()
    scanner = Scanner(Share("data", root), index, **options)  # type: ignore[arg-type]
    return scanner, index, scanner.scan()


def test_a_file_with_its_sidecar_and_jobs_is_one_entry(tmp_path: Path) -> None:
    shots = tmp_path / "green/shots"
    write(tmp_path / "green/project.json", "{}")
    write(shots / "sh010.blend")
    write(shots / "sh010.blend.json", {"uuid": "u", "type": "shot", "more": 1})
    write(shots / ".croft/sh010.blend/jobs/j1/job.json", "{}")
    write(shots / "render/sh010/v001.json", "{}")
    write(shots / "render/sh010/v001/sh010.0001.png")
    write(shots / "old/2026-x/sh000.blend")
    write(shots / "sh010.blend1")
    _, index, _ = scanned(tmp_path)
    assert {e.address for e in index.entries()} == {
        "data::green/project.json",
        "data::green/shots/sh010.blend",
    }
    entry = index.get("data::green/shots/sh010.blend")
    assert entry is not None
    assert entry.facts is not None
    assert (entry.status, entry.facts.type, entry.jobs) == ("ok", "shot", ("j1",))
    assert index.jobs["j1"].folder == "data::green/shots/.croft/sh010.blend/jobs/j1"
    assert index.versions("data::green/shots/render/sh010") == ("v001",)
    assert index.projects() == ["data::green"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"torn": ', "line 1"),
        (b"[1, 2]", "a list"),
        (b"", "empty"),
        (b"\0" * 300, "zeros"),
        (b"{" + b" " * (200 << 20) + b"}", "long"),
    ],
    ids=["torn", "list", "empty", "zeros", "200 MB"],
)
def test_a_broken_sidecar_keeps_its_last_good_record(tmp_path: Path, content: bytes, why: str) -> None:
    write(tmp_path / "a.blend")
    side = write(tmp_path / "a.blend.json", {"uuid": "u", "owner": "mia"})
    scanner, index, _ = scanned(tmp_path)
    side.write_bytes(content)
    found = scanner.refresh("data::a.blend.json")
    entry = index.get("data::a.blend")
    assert found.addresses == {"data::a.blend"}
    assert entry is not None
    assert entry.facts is not None
    assert (entry.status, entry.facts.owner) == ("broken", "mia")
    assert why in entry.broken
    side.unlink()
    side.mkdir()
    scanner.refresh("data::a.blend")
    entry = index.get("data::a.blend")
    assert entry is not None
    assert entry.broken == "its sidecar is a folder"


@pytest.mark.parametrize(
    "content",
    [b'\xef\xbb\xbf{"owner":"mia"}', b'{\r\n "owner": "mia",\r\n "x": [1]}\r\n'],
    ids=["BOM", "CRLF"],
)
def test_what_editors_do_to_a_sidecar_is_read(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "a.blend")
    write(tmp_path / "a.blend.json", content)
    entry = scanned(tmp_path)[1].get("data::a.blend")
    assert entry is not None
    assert entry.facts is not None
    assert entry.facts.owner == "mia"


def test_a_json_file_is_a_sidecar_only_where_its_file_is_or_was(tmp_path: Path) -> None:
    write(tmp_path / "camera.json", {"fov": 50})
    write(tmp_path / "gone.blend.json", {"uuid": "u", "schema": 1})
    write(tmp_path / "rfam.blend.json", {"type": "shot", "state": "", "owner": None})
    write(tmp_path / ".croft/noted.blend/notes/1.json", "{}")
    write(tmp_path / ".croft/derived.png/file.json", "{}")
    write(tmp_path / "a.json")
    write(tmp_path / "a.json.json", {"owner": "mia"})
    _, index, _ = scanned(tmp_path)
    status = {e.address: e.status for e in index.entries()}
    assert status == {
        "data::camera.json": "ok",
        "data::gone.blend": "missing",
        "data::rfam.blend": "missing",
        "data::noted.blend": "missing",
        "data::a.json": "ok",
    }


def test_numbered_images_are_one_sequence(tmp_path: Path) -> None:
    for n in range(1, 4):
        write(tmp_path / f"sim.{n:04d}.exr", b"x" * n)
    write(tmp_path / "alone.0001.exr")
    write(tmp_path / "alone.@.exr.json", {"owner": "mia"})
    write(tmp_path / "sh010.png")
    write(tmp_path / "sh020.png")
    scanner, index, _ = scanned(tmp_path)
    assert {paths.name_of(e.address) for e in index.entries()} == {
        "sim.@.exr",
        "alone.@.exr",
        "sh010.png",
        "sh020.png",
    }
    write(tmp_path / "sim.0004.exr", b"1234")
    scanner.refresh("data::sim.0004.exr")
    entry = index.get("data::sim.@.exr")
    assert entry is not None
    assert entry.stat is not None
    assert (entry.stat.size, entry.stat.inode) == (10, 4)
    assert index.dump() == scanned(tmp_path)[1].dump()


def test_numbers_without_a_separator_are_frames_where_they_lie_close(tmp_path: Path) -> None:
    """As Blender writes them; pictures whose names merely end in a number are pictures."""
    frames = ["0001.png", "0002.png", "0004.png", "walk0010.exr", "walk0011.exr"]
    for name in (*frames, "sh0100.png", "sh0200.png", "IMG_0001.jpg", "IMG_0002.jpg"):
        write(tmp_path / name)
    index = Index()
    Scanner(Share("data", tmp_path), index).scan()
    assert sorted(entry.address for entry in index.entries()) == [
        f"data::{name}"
        for name in ("@.png", "IMG_0001.jpg", "IMG_0002.jpg", "sh0100.png", "sh0200.png", "walk@.exr")
    ]


def test_frame_keys() -> None:
    assert frame_key("a.0001.png") == "a.@.png"
    assert frame_key("a_001.png") == "a_@.png"
    assert frame_key("walk0012.png") == "walk@.png"
    assert frame_key("0012.png") == "@.png"
    assert not frame_key("IMG_0012.jpg")
    assert not frame_key("DSC00012.jpg")
    assert not frame_key("sh010.png")
    assert not frame_key("a_01.png")
    assert not frame_key("a.0001.blend")


def test_links_out_of_the_share_are_not_followed(tmp_path: Path) -> None:
    secret = write(tmp_path / "outside/secret.png")
    root = tmp_path / "share"
    write(root / "in.png")
    (root / "out.png").symlink_to(secret)
    (root / "near.png").symlink_to("in.png")
    (root / "loop").symlink_to(".")
    os.mkfifo(root / "pipe.json")
    os.mkfifo(root / "in.png.json")
    _, index, _ = scanned(root)
    assert {e.address for e in index.entries()} == {"data::in.png", "data::near.png"}


def test_names_that_are_not_utf8_are_files_like_others(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/gr\xfcn.png", "wb"):
        pass
    write(tmp_path / "grün.png")
    scanner, index, _ = scanned(tmp_path)
    assert {e.address for e in index.entries()} == {"data::grün.png", "data::gr\udcfcn.png"}
    assert not scanner.lister.unreadable


def test_nothing_is_lost_while_the_share_is_away(tmp_path: Path) -> None:
    root = tmp_path / "share"
    write(root / "p/a.blend")
    write(root / "p/a.blend.json", {"uuid": "u"})
    mounted = True
    scanner, index, _ = scanned(root, here=lambda: mounted)
    before = index.dump()
    mounted = False
    root.rename(tmp_path / "elsewhere")
    root.mkdir()
    assert not scanner.scan().complete
    assert not scanner.refresh("data::p/a.blend").complete
    assert not scanner.refresh("data::p").complete
    assert index.dump() == before


def test_each_folder_is_watched_before_it_is_listed(tmp_path: Path) -> None:
    write(tmp_path / "p/s/a.blend")
    write(tmp_path / "p/s/.croft/a.blend/jobs/j1/job.json")
    write(tmp_path / "p/s/.croft/a.blend/jobs/j0/result.json")
    write(tmp_path / "p/s/.croft/a.blend/thumbs/256.png")
    write(tmp_path / "p/s/render/a/v001/f.png")
    watched: list[str] = []

    def watch(path: str, folder: str) -> None:
        watched.append(folder)
        # A file that comes right after the watch is in the listing or gets an event; here: the former.
        if folder == "data::p/s":
            write(Path(path) / "late.blend")

    _, index, _ = scanned(tmp_path, watch=watch)
    assert index.get("data::p/s/late.blend")
    assert set(watched) == {
        "data::",
        "data::p",
        "data::p/s",
        "data::p/s/.croft",
        "data::p/s/.croft/a.blend",
        "data::p/s/.croft/a.blend/jobs",
        "data::p/s/.croft/a.blend/jobs/j1",
        "data::p/s/render",
        "data::p/s/render/a",
    }


def test_a_fresh_file_is_arriving_and_a_renamed_one_is_whole(tmp_path: Path) -> None:
    from server.disk.entries import CLOSED, CREATED, MOVED

    arrivals = Arrivals(2.0, clock=lambda: 0.0)
    scanner, index, _ = scanned(tmp_path, arrivals=arrivals)
    write(tmp_path / "new.blend")
    write(tmp_path / "saved.blend")
    scanner.refresh_names("data::", {"new.blend": CREATED | CLOSED, "saved.blend": MOVED})
    new, saved = index.get("data::new.blend"), index.get("data::saved.blend")
    assert new is not None
    assert new.status == "arriving"
    assert saved is not None
    assert saved.status == "ok"
    old = Scanner(Share("data", tmp_path), Index(), arrivals=arrivals, wall=lambda: 4e9)
    old.scan()
    assert {e.status for e in old.index.entries()} == {"arriving", "ok"}, "known to be arriving, or at rest"


def test_branches_lie_over_each_other_as_the_mount_shows_them(tmp_path: Path) -> None:
    one, two = tmp_path / "d1", tmp_path / "d2"
    write(one / "p/a.blend", b"first")
    write(two / "p/a.blend", b"second one")
    write(two / "p/a.blend.json", {"uuid": "u"})
    write(one / "p/.croft/a.blend/jobs/j1/job.json")
    write(two / "p/.croft/a.blend/jobs/j2/job.json")
    write(two / "p/deep/b.blend")
    index = Index()
    scanner = Scanner(Share("data", tmp_path / "pool", branches=(one, two)), index)
    scanner.scan()
    entry = index.get("data::p/a.blend")
    assert entry is not None
    assert entry.stat is not None
    assert entry.facts is not None
    assert (entry.stat.size, entry.facts.uuid, entry.jobs) == (5, "u", ("j1", "j2"))
    assert index.get("data::p/deep/b.blend")
    before = index.dump()
    scanner.refresh("data::p/a.blend")
    scanner.refresh("data::p")
    assert index.dump() == before


NAMES = st.sampled_from(
    [
        "a",
        "a.json",
        "a.json.json",
        "c.blend1",
        "c.blend1.json",
        "b.0001.png",
        "b.0002.png",
        "b.@.png",
        "b.@.png.json",
        "c.blend",
        "c.blend.json",
    ]
)
PLACES = st.sampled_from(
    ["p", "p/q", "p/.croft/a/jobs", "p/.croft/c.blend", "p/.croft/b.@.png/notes", "p/render/c"]
)
WHAT = st.sampled_from(["file", "sidecar", "broken", "folder", "delete", "version"])


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(PLACES, NAMES, WHAT), max_size=14))
def test_one_path_at_a_time_gives_what_a_whole_scan_gives(
    tmp_path: Path, steps: list[tuple[str, str, str]]
) -> None:
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    scanner, index, _ = scanned(tmp_path)
    for place, name, what in steps:
        path = tmp_path / place / ("v001.json" if what == "version" else name)
        touched = "data::" + str(path.relative_to(tmp_path))
        try:
            if what == "delete":
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            elif what == "folder":
                path.mkdir(parents=True, exist_ok=True)
            elif what == "broken":
                write(path, "{")
            else:
                write(path, {"uuid": name, "schema": 1, "n": what})
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
        scanner.refresh(touched)
        assert index.dump() == scanned(tmp_path)[1].dump(), f"after {what} {touched}"


@given(st.text(st.sampled_from("ab.@123~$#*blendtmp_-"), min_size=1, max_size=12))
def test_the_fast_way_to_ignore_is_the_same_way(name: str) -> None:
    globs = ("*.bak", "cache_*", "x?y")
    assert ignorer(globs)(name) == paths.is_ignored(name, globs)


def test_the_json_file_of_an_ignored_file_brings_it_not_in(tmp_path: Path) -> None:
    scanner, index, _ = scanned(tmp_path)
    write(tmp_path / "a.blend1")
    write(tmp_path / "a.blend1.json", {"owner": "mia"})
    scanner.refresh("data::a.blend1.json")
    assert index.dump() == scanned(tmp_path)[1].dump()
