"""Is everything where the layout says, and no name dangerous?"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.disk import paths
from server.disk.errors import BadInput, CroftError
from server.disk.paths import Share

NAMES = st.text(min_size=1, max_size=12).filter(
    lambda text: not set(text) & {"/", "\0"} and text not in (".", "..") and text.isprintable()
)


def test_the_layout() -> None:
    file = "data::green/shots/sh010.blend"
    assert paths.sidecar_of(file) == "data::green/shots/sh010.blend.json"
    assert paths.companion_of(file) == "data::green/shots/.croft/sh010.blend"
    assert paths.job_folder(file, "j1") == "data::green/shots/.croft/sh010.blend/jobs/j1"
    assert paths.render_folder(file) == "data::green/shots/render/sh010"
    assert paths.snapshot_name(file, "j1") == ".sh010.j1.blend"
    assert paths.companion_of("data::a.blend") == "data::.croft/a.blend"
    assert paths.companion_of(Path("/x/a.blend")) == Path("/x/.croft/a.blend")
    assert (paths.version_folder(3), paths.version_folder(12, "north")) == ("v003", "v012-north")
    numbers = [paths.version_number(name) for name in ("v003", "v003-north.json", "v1", "version", "current")]
    assert numbers == [3, 3, None, None, None]
    assert paths.sequence_key("wave.0012.png") == ("wave.@.png", 12)
    assert paths.sequence_key("wave.png") is None
    assert paths.join("p", "q") == "p/q"
    assert paths.top_of(file) == "data::green"


@given(st.lists(NAMES, min_size=1, max_size=4))
def test_names_come_back_from_what_is_made_of_them(parts: list[str]) -> None:
    inside = "/".join(parts)
    address = paths.address("data", inside)
    try:
        assert paths.parse(address) == ("data", inside)
    except BadInput:
        return  # too long, or not a file name: refused, not garbled
    assert paths.file_of_sidecar(paths.sidecar_of(address)) == address
    if ".croft" not in parts:
        assert paths.file_of_companion(paths.job_folder(address, "j")) == address
    assert paths.join(paths.folder_of(address), paths.name_of(address)) == address


@given(st.text(max_size=40))
def test_no_text_leads_outside(text: str) -> None:
    share = Share("data", Path("/nonexistent/share"))
    try:
        path = share.path(text)
    except CroftError:
        return
    assert path == share.root or share.root in path.parents
    assert ".." not in path.parts


@given(st.text(max_size=300))
def test_a_safe_name_is_one_on_every_system(text: str) -> None:
    name = paths.safe_name(text)
    assert 0 < len(name.encode()) <= 255
    assert not set(name) & set('/\\:*?"<>|\0')
    assert name.strip(" .") == name
    paths.check_inside(name)


@pytest.mark.parametrize(
    "name",
    [
        ".hidden", "old", "a.blend1", "a.blend32", "a.blend@", "blendcache_x", "Thumbs.db", ".DS_Store",
        "._a", "#recycle", "@eaDir", "lost+found", ".sync", "snapraid.content", "a.blend.part",
    ],
)  # fmt: skip
def test_what_is_never_an_asset(name: str) -> None:
    assert paths.is_ignored(name)


@pytest.mark.parametrize("name", ["a.blend", "older", "wave.@.png", "render", "a@b.png", "blend1", "recycle"])
def test_what_may_be_one(name: str) -> None:
    assert not paths.is_ignored(name)
    assert paths.is_ignored(name, (name,))


def test_one_lock_for_the_names_that_a_disk_takes_for_one() -> None:
    assert paths.lock_key("data::Shots/Ü.blend") == paths.lock_key("shots/u\u0308.blend")
    assert paths.lock_key("a") != paths.lock_key("b")


@given(st.binary(min_size=1, max_size=250).filter(lambda raw: b"/" not in raw and b"\0" not in raw))
def test_what_croft_makes_of_a_file_is_named_safely_and_apart(raw: bytes) -> None:
    """Given any name that a disk takes, then what is made of it has room for more, and a name of its own."""
    name = os.fsdecode(raw)
    stem = paths.own_stem(name)
    assert paths.safe_name(stem) == stem
    assert len(stem.encode()) <= paths.STEM_BYTES + 1
    assert not paths.is_ignored(stem)
    if stem != paths.stem_of(name):
        assert paths.own_stem("x" + name) != stem
    assert len(os.fsencode(paths.snapshot_name(name, "20261122-015318-b7b170"))) < 150


@pytest.mark.parametrize(
    "name", ["con", "COM1.txt", "aux .txt", "NUL", "lpt².x", "a.", " a", "a\u0308", "a\udcff", "CONIN$"]
)
def test_a_name_that_some_system_refuses_is_changed(name: str) -> None:
    assert paths.safe_name(name) != name
    assert paths.safe_name(paths.safe_name(name)) == paths.safe_name(name)
    assert paths.own_stem(name + ".blend") != name
