"""What is looked at before a file is published: the table of checks, and what a version was made with."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.disk import files
from server.disk.errors import Busy, DiskFull
from server.library.dependencies import Dependencies, Use
from server.library.names import Pattern
from server.library.projects.sets import read_set
from server.library.protection import Protection
from server.library.publishing import CHECKS, SEVERITIES, Validations
from server.library.publishing.checks import Subject, found
from server.library.saves import Refused, Saves
from tests.disk.disk_kit import FailingDisk, worker

from .conftest import Scenes
from .test_library import House, build

SET = read_set("test", {
    "fps": 24, "resolution": [1920, 1080], "validations": {"frame-rate": "error", "resolution": "nonsense"},
    "types": {"shot": {"pattern": "{project}_{name}", "title": "Shot"}, "prop": {"title": "Prop"}},
})  # fmt: skip
GOOD = {"scenes": [{}], "fps": 24, "resolution": [1920, 1080], "percentage": 100}
HERE = "data::green/shots/green_fox.blend"


def scene(number: int) -> bytes:
    """A scene with its end, and other bytes for each number."""
    return b"BLENDER-v304" + number.to_bytes(52, "big") + bytes(number) + b"ENDB" + bytes(20)


SCENE = scene(0)


def subject(address: str = HERE, *uses: Use, **more: Any) -> Subject:
    facts = {**GOOD, **more.pop("facts", {})}
    rows = tuple((use, more.get("through", address)) for use in uses)
    more.pop("through", None)
    made = Subject(address, "scene", SET, SET.type("shot"), "Green", facts, uses=rows)
    return replace(made, **more)


def ids(subject: Subject, said: dict[str, str] | None = None) -> list[str]:
    return [finding.id for finding in found(subject, said or {})]


LIBRARY = Use("//chair.blend", "library", "data::green/props/chair.blend", "missing")
WOOD = Use("//wood.png", "image", "data::green/tex/wood.png", "missing")
HOME = Use("/home/ana/wood.png", "image", "", "outside")
DRIVE = Use("Z:/green/wood.png", "image", "data::green/wood.png", "absolute")


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (subject(), []),
        (subject(HERE, LIBRARY), ["missing-library"]),
        (subject(HERE, WOOD, through="data::green/props/chair.blend"), ["missing-file"]),
        (subject(HERE, HOME, DRIVE), ["absolute-path"] * 2),
        (subject(HERE, Use("fox", "asset", "", "missing")), []),
        (subject(facts={"fps": 23.976}), ["frame-rate"]),
        (subject(facts={"fps": 24.0}), []),
        (subject(facts={"resolution": [960, 540], "percentage": 50}), ["resolution"]),
        (subject(facts={"resolution": [1280, 720]}), ["resolution"]),
        (subject(facts={"resolution": None, "fps": None}), []),
        (subject("data::green/shots/fox.blend"), ["name-pattern"]),
        (subject("data::green/props/fox.blend", type=SET.type("prop")), []),
        (subject(facts={"scenes": []}), ["unread"]),
        (subject(facts={"partial": True}), ["unread"]),
        (subject(whole=False, facts={"scenes": []}), ["incomplete"]),
        (
            subject("data::g/shots/green_p.@.png", kind="sequence", facts={"missing": "4,9"}),
            ["missing-frames"],
        ),
        (subject("data::g/shots/green_p.mov", kind="film", facts={"fps": 60}), []),
    ],
)
def test_each_check_finds_what_it_is_called_for(one: Subject, expected: list[str]) -> None:
    assert ids(one) == expected
    for finding in found(one, {}):
        assert finding.text.endswith(".")
        assert finding.severity in SEVERITIES


def test_names_are_held_against_the_patterns_that_a_studio_wrote() -> None:
    words = replace(SET, patterns=(Pattern.parse("{shot}_{task}"),), naming=True)
    prop = SET.type("prop")
    assert ids(subject("data::g/fox.blend", words=words, type=prop)) == ["name-pattern"]
    assert ids(subject("data::g/sh010_anim.blend", words=words, type=prop)) == []
    assert ids(subject("data::g/fox.blend", words=replace(words, naming=False), type=prop)) == []


def test_severities_are_what_the_configuration_says() -> None:
    one = subject(HERE, LIBRARY, facts={"fps": 30})
    assert [finding.severity for finding in found(one, {})] == ["error", "warning"]
    said = {"missing-library": "off", "frame-rate": "note"}
    assert [(f.id, f.severity) for f in found(one, said)] == [("frame-rate", "note")]
    assert [f.severity for f in found(one, {"frame-rate": "loud"})] == ["error", "warning"], "as in the table"
    text = (Path(__file__).parents[2] / "docs/publishing.md").read_text("utf-8")
    for check in CHECKS:
        assert f"| `{check.id}` | {check.severity} |" in text, "docs/publishing.md has the same table"


class Shop:
    """A house whose files can be published."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.dependencies = Dependencies(house.store, house.projects)
        self.dependencies.start()
        self.checks = Validations(house.store, house.projects, house.assets, house.media, self.dependencies)
        protection = Protection(house.store, house.projects, house.people, house.assets)
        self.saves = Saves(house.store, house.projects, house.assets, protection, self.checks)
        self.ana = house.people.user("student")

    def publish(self, address: str, despite: Any = ()) -> dict[str, Any]:
        done = self.saves.publish(address, self.ana, "for the film", despite)
        return {**done.record, "made": done.made}

    def refused(self, address: str, despite: Any = ()) -> list[str]:
        with pytest.raises(Refused) as caught:
            self.publish(address, despite)
        return [finding.id for finding in caught.value.findings]

    def versions(self, address: str) -> Path:
        folder, _, name = address.partition("::")[2].rpartition("/")
        return self.house.root / folder / ".croft" / name / "versions"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    house = build(tmp_path)
    made = Shop(house)
    house.ingest.start()
    yield made
    made.dependencies.close()
    house.ingest.close()
    house.media.close()
    house.store.close()


def test_a_real_scene_is_read_as_it_is_now(shop: Shop, scenes: Scenes) -> None:
    """Given a scene of 320 × 180 pixels at 29.97, which links lib.blend and wood.png, without Blender."""
    root = shop.house.root
    address = shop.house.put("demo/shots/walk.blend", scenes.plain)
    assert shop.refused(address, True) == [
        "missing-library", "missing-file", "frame-rate", "resolution",
    ], "errors stop it, whatever one says"  # fmt: skip
    (root / "demo/shots/lib.blend").write_bytes((scenes.plain.parent / "lib.blend").read_bytes())
    # The index may not have seen it yet: the disk is asked.
    assert shop.refused(address) == ["missing-file", "frame-rate", "resolution"]
    assert shop.refused(address, ["frame-rate", "resolution"]) == ["missing-file"]
    assert not shop.versions(address).exists()
    (root / "demo/shots/tex").mkdir()
    (root / "demo/shots/tex/wood.png").write_bytes(b"wood")
    said = {"fps": 30, "validations": {"frame-rate": "off"}}
    (root / "demo/set.json").write_text(json.dumps(said))
    shop.house.store.refresh("data::demo/set.json")
    assert shop.refused(address) == ["resolution"]
    made = shop.publish(address, ["resolution"])
    assert made["version"] == "v001"
    assert made["made"]
    assert [finding["id"] for finding in made["validations"]] == ["resolution"]
    pins = {pin["path"]: pin for pin in made["dependencies"]}
    assert set(pins) == {"data::demo/shots/lib.blend", "data::demo/shots/tex/wood.png"}
    wood = pins["data::demo/shots/tex/wood.png"]
    assert wood["hash"].startswith("blake2b-160:")
    assert wood["size"] == 4
    # The library is published, and a texture changes: the next version says so.
    shop.house.store.refresh("data::demo/shots/lib.blend")
    shop.house.settle()
    assert shop.publish("data::demo/shots/lib.blend", True)["version"] == "v001"
    (root / "demo/shots/tex/wood.png").write_bytes(b"other wood")
    shop.house.put("demo/shots/walk.blend", scenes.zstd)
    made = shop.publish(address, True)
    pins = {pin["path"]: pin for pin in made["dependencies"]}
    assert pins["data::demo/shots/lib.blend"]["version"] == "v001"
    assert pins["data::demo/shots/tex/wood.png"]["hash"] != wood["hash"]


def test_unchanged_content_makes_nothing(shop: Shop) -> None:
    address = shop.house.put("demo/shots/fox.blend", SCENE)
    path = shop.house.root / "demo/shots/fox.blend"
    assert shop.publish(address)["made"]
    before = sorted(shop.versions(address).rglob("*"))
    os.utime(path)  # saved again: other times, the same bytes
    again = shop.publish(address)
    assert (again["version"], again["made"]) == ("v001", False)
    assert sorted(shop.versions(address).rglob("*")) == before
    path.write_bytes(scene(1))
    assert shop.publish(address)["version"] == "v002"
    path.write_bytes(SCENE)
    assert shop.publish(address)["version"] == "v003", "it is the newest that counts"


def test_a_sequence_is_known_by_its_frames(shop: Shop) -> None:
    for number in (1, 2, 4):
        shop.house.put(f"demo/plates/p.{number:04}.png", b"frame %d" % number)
    address = "data::demo/plates/p.@.png"
    assert shop.refused(address) == ["missing-frames"]
    made = shop.publish(address, True)
    assert (made["frames"], made["size"]) == (3, 21)
    assert not shop.publish(address)["made"]
    first = shop.house.root / "demo/plates/p.0001.png"
    stat = os.stat(first)
    first.write_bytes(b"frame X")
    assert shop.publish(address, True)["version"] == "v002"
    first.write_bytes(b"frame 1")
    os.utime(first, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert shop.publish(address, True)["hash"] == made["hash"]
    os.rename(first, first.with_name("p.0003.png"))
    shop.house.store.refresh("data::demo/plates")
    assert shop.publish(address, True)["made"], "other numbers, another sequence"


def test_a_version_is_a_copy_that_nobody_else_may_write(shop: Shop) -> None:
    """A reflink where the disk can, never a hard link."""
    asked: list[str] = []

    class Cloning(files.Os):
        def clone(self, source: int, target: int) -> None:
            asked.append(os.readlink(f"/proc/self/fd/{source}"))
            raise OSError(errno.EOPNOTSUPP, "not here")

    shop.house.store.disk = Cloning()
    address = shop.house.put("demo/shots/fox.blend", SCENE)
    path, place = shop.house.root / "demo/shots/fox.blend", shop.versions(address) / "v001"
    path.parent.chmod(0o2775)  # a class works in it
    shop.publish(address)
    assert str(path) in asked
    assert (place / "fox.blend").stat().st_mode & 0o777 == 0o444
    for folder in (place, place.parent):
        assert folder.stat().st_mode & 0o777 == 0o755
    assert (place / "version.json").stat().st_mode & 0o022 == 0
    assert path.stat().st_nlink == 1
    with open(path, "r+b") as file:
        file.write(b"written in place")
    assert (place / "fox.blend").read_bytes() == SCENE
    # Opened again it is a file like any other, that can be written.
    beside = shop.saves.restore(address, "v001", shop.ana, beside=True).address
    opened = shop.house.root / beside.partition("::")[2]
    assert opened == path.with_name("fox v001.blend")
    assert opened.stat().st_mode & 0o664 == 0o664
    assert opened.read_bytes() == SCENE


def test_a_full_disk_leaves_no_version(shop: Shop) -> None:
    address = shop.house.put("demo/shots/fox.blend", SCENE)
    shop.house.settle()
    shop.house.ingest.close()  # it writes, too: the n-th call shall be one of publishing
    for call in ("fsync", "rename", "replace", "open"):
        for nth in range(1, 12):
            shop.house.store.disk = FailingDisk({call}, nth, errno.ENOSPC)
            try:
                shop.saves.publish(address, shop.ana)
            except DiskFull:
                left = list(shop.versions(address).glob("v*"))
            else:
                break
            assert left == []
        else:
            pytest.fail("it never came through")
        shop.house.store.disk = files.REAL
        shop.house.put("demo/shots/fox.blend", scene(nth))
        for place in shop.versions(address).glob("v*"):
            for frozen in place.iterdir():
                frozen.unlink()
            place.rmdir()


def test_a_copy_that_is_still_coming_waits(shop: Shop) -> None:
    """What has an end is known by it; what has none, by being quiet."""
    house = shop.house
    address = house.put("demo/shots/rig.abc", b"the beginning")
    with pytest.MonkeyPatch.context() as patch:
        entry = house.store.index.get(address)
        assert entry is not None
        patch.setattr(house.store.index, "get", lambda _: replace(entry, arriving=True))
        with pytest.raises(Busy):
            shop.publish(address)
    house.settle()
    cut = house.put("demo/shots/cut.blend", SCENE[:40])
    assert shop.refused(cut, True) == ["incomplete"]


def test_saved_again_while_it_is_looked_at(shop: Shop) -> None:
    """The checks and the copy are of the same bytes."""
    address = shop.house.put("demo/shots/fox.blend", SCENE)
    path = shop.house.root / "demo/shots/fox.blend"
    look = shop.checks.look
    seen: list[int] = []

    def saved_meanwhile(address: str, now: Any = None) -> Any:
        if len(seen) < 2:
            path.write_bytes(scene(len(seen) + 1))
        seen.append(path.stat().st_size)
        return look(address, now)

    shop.checks.look = saved_meanwhile  # type: ignore[method-assign]
    made = shop.publish(address, True)
    assert len(seen) == 3
    assert made["size"] == len(SCENE) + 2
    assert (shop.versions(address) / "v001/fox.blend").stat().st_size == made["size"]
    assert [place.name for place in shop.versions(address).iterdir()] == ["v001"]


DYING = """
import os, sys
from pathlib import Path
from server.disk import files
from server.disk.store import Store
from server.disk.paths import Share
from server.disk.settings import Settings
from server.library.saves import frozen

class Dying(files.Os):
    left = int(sys.argv[3])
    def __getattribute__(self, name):
        if name not in ("left", "__class__", "__dict__"):
            Dying.left -= 1
            if Dying.left == 0:
                os.kill(os.getpid(), 9)
        return object.__getattribute__(self, name)

store = Store(Settings(Path(sys.argv[2])), [Share("data", Path(sys.argv[1]))])
store.open()
store.disk = Dying()
address = "data::demo/shots/fox.blend"
frozen.publish(store, address, "ana", "", frozen.look(store, address), lambda stat: "", {})
"""


def test_killed_between_any_two_steps(shop: Shop, tmp_path: Path) -> None:
    """Given kill -9 at some step, then there is no version or a whole one, and the next one sweeps."""
    address = shop.house.put("demo/shots/fox.blend", SCENE)
    path, whole = shop.house.root / "demo/shots/fox.blend", 0
    killed = 0
    steps = [1, *random.Random(5).sample(range(2, 40), 5), 1000]
    for nth in steps:
        path.write_bytes(scene(nth))
        process = worker(DYING, shop.house.root, tmp_path / "config", nth, stderr=subprocess.PIPE)
        _, said = process.communicate(timeout=60)
        assert process.returncode in (0, -9), said
        killed += process.returncode == -9
        records = shop.saves.versions(address)
        assert len(records) in (whole, whole + 1)
        for record in records:
            frozen = shop.versions(address) / record["version"] / "fox.blend"
            assert frozen.stat().st_size == record["size"]
        made = shop.publish(address, True)
        whole = len(shop.saves.versions(address))
        names = {place.name for place in shop.versions(address).iterdir()}
        assert names == {record["version"] for record in shop.saves.versions(address)}
        assert (shop.versions(address) / made["version"]).exists()
    assert killed >= 3


def test_what_isnt_our_own_leftover_is_left_alone(shop: Shop) -> None:
    """A version that a backup or another site is just bringing has no record yet."""
    address = shop.house.put("demo/shots/fox.blend", SCENE)
    coming = shop.versions(address) / "v007"
    coming.mkdir(parents=True)
    (coming / "fox.blend").write_bytes(b"half of it")
    assert shop.publish(address)["version"] == "v008"
    assert (coming / "fox.blend").exists()


def test_any_name_that_the_disk_takes_can_be_published(shop: Shop) -> None:
    names = [
        'a"b<c>{d}.blend',
        "new\nline.blend",
        "Füße.blend",
        "\u202ebir.blend",
        os.fsdecode(b"bad\xff.blend"),
    ]
    for name in names:
        address = shop.house.put(f"demo/shots/{name}", SCENE)
        assert shop.publish(address, True)["version"] == "v001"
        assert not shop.publish(address)["made"]
        assert shop.saves.versions(address)[0]["name"] == name
        assert list(shop.saves.open(address, "v001")) == [name]
        beside = shop.saves.restore(address, "v001", shop.ana, beside=True).address
        assert (shop.house.root / beside.partition("::")[2]).read_bytes() == SCENE


def test_what_many_files_are_is_pinned_by_their_list(shop: Shop) -> None:
    """Frames, tiles and folders of caches: by names, sizes and times, not by reading them all."""
    root = shop.house.root / "demo"
    for inside in (
        "plates/p.0001.png", "plates/p.0002.png", "tex/t.1001.png", "tex/t.1002.png", "cache/a.vdb",
        "shots/render/fox/v003/fox.0001.exr", "props/chair.blend",
    ):  # fmt: skip
        shop.house.put(f"demo/{inside}", b"12345")
    os.symlink("v003", root / "shots/render/fox/current")
    uses = [
        Use(path, kind, f"data::demo/{inside}", "ok")
        for path, kind, inside in (
            ("//../plates/p.0001.png", "image", "plates/p.0001.png"),
            ("//../tex/t.<UDIM>.png", "image", "tex/t.1001.png"),
            ("//../cache", "cache", "cache"),
            ("//render/fox/current/fox.0001.exr", "image", "shots/render/fox/current/fox.0001.exr"),
            ("//../props/chair.blend", "library", "props/chair.blend"),
            ("//../props/chair.blend", "library", "props/chair.blend"),
            ("//gone.png", "image", "shots/gone.png"),
        )
    ]
    look = replace(shop.checks.look("data::demo/props/chair.blend"), uses=tuple((use, "") for use in uses))
    pins = {pin["path"].rpartition("/")[2]: pin for pin in shop.checks.pins(look, lambda address: [])}
    files_of = {name: pin.get("files") for name, pin in pins.items()}
    assert files_of == {
        "p.@.png": 2, "t.@.png": 2, "cache": 1, "fox.@.exr": 1, "chair.blend": None, "gone.png": None,
    }  # fmt: skip
    assert pins["fox.@.exr"]["version"] == "render-v003"
    assert pins["p.@.png"]["hash"].startswith("list:")
    assert pins["gone.png"]["hash"] == ""
    shop.house.put("demo/plates/p.0002.png", b"1234567")
    again = shop.checks.pins(look, lambda address: [], list(pins.values()))
    assert [pin["path"] for pin in again if pin not in pins.values()] == ["data::demo/plates/p.@.png"]
