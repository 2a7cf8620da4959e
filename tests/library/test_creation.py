"""New files: their names, what is set in them without a Blender, and that none goes over another."""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from server.disk import paths
from server.disk.errors import BadInput, Conflict, CroftError, NotSignedIn
from server.disk.paths import Share
from server.disk.settings import Settings
from server.disk.store import Store
from server.library.assets import Assets
from server.library.creation import Creation, names
from server.library.creation.dna import Damaged, Scene
from server.library.creation.dress import Loaded, Wish, dressed, opened
from server.library.media import blend, scenes
from server.library.people import GUEST, People
from server.library.projects import Projects

TEMPLATES = Path(__file__).parents[2] / "config/sets"
SHOT = (TEMPLATES / "shot.blend").read_bytes()
COMP = (TEMPLATES / "composite.blend").read_bytes()


class Studio:
    """The rooms that make new files, on a folder."""

    def __init__(self, home: Path) -> None:
        self.root, self.config = home / "data", home / "config"
        self.settings = Settings(self.config)
        self.store = Store(self.settings, [Share("data", self.root)])
        self.people, self.projects = People(self.settings), Projects(self.settings, self.store)
        self.assets = Assets(self.store, self.projects, self.people)
        self.creation = Creation(self.store, self.projects, self.assets)
        self.store.open()
        self.projects.prepare()
        self.student = self.people.user("student")

    def create(self, name: str, type: str = "shot", **more: object) -> str:
        found: str = self.creation.create("demo", name, type, "", self.student, **more)  # type: ignore[arg-type]
        return found

    def scene(self, address: str) -> dict[str, object]:
        return scene_of(self.store.path(address).read_bytes())

    def write(self, inside: str, content: bytes | str) -> str:
        path = self.root / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        self.store.refresh(f"data::{inside}")
        return f"data::{inside}"


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(tmp_path)
    yield made
    made.store.close()


def scene_of(raw: bytes) -> dict[str, object]:
    """What Croft's own reader of scenes finds in these bytes."""
    return scenes.facts(blend.read(io.BytesIO(raw)))


def test_a_new_shot_has_its_name_size_engine_and_output_in_it(studio: Studio) -> None:
    address = studio.create("The Héro's 2nd walk!", file_name="")
    assert address == "data::demo/shots/the_heros_2nd_walk.blend"
    told = studio.scene(address)
    assert told["scene"] == "The Héro's 2nd walk!"
    assert (told["resolution"], told["engine"]) == ([1920, 1080], "CYCLES")
    assert (told["output"], told["fps"], told["whole"]) == (
        "//render/the_heros_2nd_walk/the_heros_2nd_walk.####", 24, True,
    )  # fmt: skip
    record = json.loads((studio.root / "demo/shots/the_heros_2nd_walk.blend.json").read_text())
    wanted = {"type": "shot", "state": "ns", "owner": "student", "creator": "student", "render": True}
    assert wanted.items() <= record.items()
    assert (record["name"], record["priority"], record["time_budget"]) == ("The Héro's 2nd walk!", 3, 2)


@pytest.mark.parametrize(("words", "size", "engine"), [
    ("full-hd-cycles", [1920, 1080], "CYCLES"), ("full-hd-eevee", [1920, 1080], "BLENDER_EEVEE"),
    ("2k-cycles", [2048, 858], "CYCLES"), ("2k-eevee", [2048, 858], "BLENDER_EEVEE"),
    ("2K Scope Eevee", [2048, 858], "BLENDER_EEVEE"), ("none such", [1920, 1080], "CYCLES"),
])  # fmt: skip
def test_every_type_of_every_set_has_a_template(
    studio: Studio, words: str, size: list[int], engine: str
) -> None:
    studio.write("green/project.json", json.dumps({"set": words}))
    found = studio.projects.set_of(studio.projects.get("green"))
    assert [one.ident for one in found.offered_types] == [
        "char", "prop", "set", "shot", "comp", "video", "mat", "ani", "other",
    ]  # fmt: skip
    assert len(found.offered_states()) == 8
    assert list(found.priorities.values()) == ["Meh", "Low", "Normal", "High", "Urgent"]
    for kind in found.offered_types if words == "2k-eevee" else found.offered_types[3:4]:
        address = studio.creation.create("green", f"Try {kind.title}", kind.ident, "", studio.student)
        assert address.startswith(f"data::green/{kind.folder}/try_")
        told = studio.scene(address)
        assert (told["resolution"], told["engine"], told["scene"]) == (size, engine, f"Try {kind.title}")
        assert told["format"] == ("FFMPEG" if kind.final else "PNG")


def test_no_file_is_ever_written_over(studio: Studio) -> None:
    first = studio.create("Walk")
    before = studio.store.path(first).read_bytes()
    assert studio.create("Walk") == "data::demo/shots/walk_2.blend"
    for name in ("walk", "WALK.blend", "shots/walk.blend"):
        with pytest.raises(Conflict, match="there already"):
            studio.create("Another", file_name=name)
    studio.write("demo/shots/left.blend.json", '{"schema": 1, "uuid": "x"}')
    with pytest.raises(Conflict, match="there already"):  # a record whose file may come back
        studio.create("Left", file_name="left")
    assert studio.store.path(first).read_bytes() == before


def test_of_eight_who_choose_one_name_at_once_each_gets_a_file_or_is_told(studio: Studio) -> None:
    """Given eight people at one moment, when they choose one file name, then one has it, and the others are
    told; where the name is made, each gets one of their own."""
    made: list[str] = []
    told: list[str] = []
    gate = threading.Barrier(8)

    def one(file_name: str) -> None:
        gate.wait(10)
        try:
            made.append(studio.create("Crowd", file_name=file_name))
        except Conflict as error:
            told.append(error.message)

    for file_name in ("crowd", ""):
        threads = [threading.Thread(target=one, args=(file_name,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert (len(made), len(told), len(set(made))) == (9, 7, 9)
    assert not [path for path in (studio.root / "demo/shots").iterdir() if path.name.endswith(".tmp")]
    assert all(studio.scene(address)["whole"] for address in made)


@pytest.mark.parametrize(("given_name", "said"), [
    ("a?b", "every computer"), ("con", "every computer"), ("x/../y", "itself"), (".hidden", "itself"),
    ("old/x", "itself"), ("render/x", "itself"), ("a\u202eb", "can’t be seen"), ("x" * 300, "every computer"),
    ("a/" * 600, "too long"), ("name ", None), ("act1/sh010", None), ("日本", None), ("a{b}", None),
])  # fmt: skip
def test_a_given_file_name_is_taken_as_it_is_or_refused(
    studio: Studio, given_name: str, said: str | None
) -> None:
    if said is None:
        address = studio.create("X", file_name=given_name)
        assert paths.name_of(address) == given_name.strip().rpartition("/")[2] + ".blend"
        return
    with pytest.raises(BadInput, match=said):
        studio.create("X", file_name=given_name)
    assert not list(studio.root.rglob("*.blend"))


@given(st.text(max_size=300))
@hypothesis_settings(max_examples=100)
def test_a_made_name_is_good_everywhere(name: str) -> None:
    made = names.made("{type}_{name}", name, "Shot", "Green")
    assert names.given(made, "") == made + ".blend"
    assert made == paths.plain_name(made)
    assert made.startswith("shot")


@pytest.mark.parametrize("packed", [
    gzip.decompress(SHOT), SHOT, zstandard.compress(gzip.decompress(SHOT)),
    (Path(__file__).parent / "blender-5.0.blend").read_bytes(),
], ids=["plain", "gzip", "zstd", "blender 5"])  # fmt: skip
def test_templates_of_every_blender_and_packing_are_taken(packed: bytes) -> None:
    """Then fields are found by the file's own words, whatever its header and its blocks look like."""
    wish = Wish("Ours", "BLENDER_EEVEE", (640, 360), 25, "//render/ours/ours.####", (3, 9))
    raw = dressed(opened(packed), wish)
    told = scene_of(raw)
    assert told["whole"] is True
    assert (told["scene"], told["engine"], told["resolution"]) == ("Ours", "BLENDER_EEVEE", [640, 360])
    assert (told["fps"], told["output"], told["frames"]) == (25, "//render/ours/ours.####", [3, 9])
    assert blend.read(io.BytesIO(raw)).ranges == [("Ours", 3, 9)]


def test_what_cannot_be_is_refused(studio: Studio) -> None:
    for name, kind, said in (("", "shot", "name"), ("x" * 201, "shot", "longer"), ("x", "nothing", "type")):
        with pytest.raises(BadInput, match=said):
            studio.create(name, kind)
    with pytest.raises(BadInput):
        studio.create("x", owner="nobody at all")
    with pytest.raises(NotSignedIn):
        studio.creation.create("demo", "x", "shot", "", GUEST)
    assert not list(studio.root.rglob("*.blend"))


def test_a_project_carries_its_own_set_and_templates(studio: Studio) -> None:
    own = {
        "resolution": [640, 360], "engine": "BLENDER_WORKBENCH", "fps": 12,
        "types": {"shot": {"template": "templates/ours.blend"}, "ani": None,
                  "puppet": {"title": "Puppet", "folder": "puppets", "order": 1}},
        "states": {"sewn": {"title": "Sewn"}},
    }  # fmt: skip
    studio.write("green/project.json", '{"set": "2k-eevee"}')
    studio.write("green/set.json", json.dumps(own))
    studio.write("green/templates/ours.blend", gzip.compress(dressed(opened(COMP), Wish("ours"))))
    words = studio.projects.set_of(studio.projects.get("green"))
    assert "puppet" in words.types
    assert "ani" not in words.types
    assert words.states["sewn"].title == "Sewn"
    address = studio.creation.create("green", "One", "shot", "", studio.student)
    told = studio.scene(address)
    assert (told["resolution"], told["engine"], told["fps"]) == ([640, 360], "BLENDER_WORKBENCH", 12)
    assert told["camera"] is False  # of its own template, a composite
    doll = studio.creation.create("green", "Doll", "puppet", "", studio.student)
    assert doll == "data::green/puppets/doll.blend"
    studio.write("green/set.json", "{")
    assert studio.projects.set_of(studio.projects.get("green")) is words
    assert any("own set can’t be read" in problem.text for problem in studio.projects.problems())


def test_templates_of_the_configuration_come_before_crofts(studio: Studio) -> None:
    """Then those of the set before those for all sets."""
    (studio.config / "sets/prop.blend").write_bytes(COMP)
    assert studio.scene(studio.create("Cup", "prop"))["camera"] is False
    (studio.config / "sets/default").mkdir()
    (studio.config / "sets/default/prop.blend").write_bytes(SHOT)
    assert studio.scene(studio.create("Jug", "prop"))["camera"] is True


def test_a_template_that_is_spoilt_or_leads_outside_is_told_or_passed_over(studio: Studio) -> None:
    outside = studio.root.parent / "secret.blend"
    outside.write_bytes(SHOT)
    studio.write("green/project.json", "{}")
    studio.write("green/set.json", json.dumps({"types": {"shot": {"template": "bad.blend"},
                                                         "prop": {"template": "out.blend"}}}))  # fmt: skip
    studio.write("green/bad.blend", SHOT[: len(SHOT) // 2])
    (studio.root / "green/out.blend").symlink_to(outside)
    with pytest.raises(Conflict, match="can’t be used"):
        studio.creation.create("green", "One", "shot", "", studio.student)
    assert studio.projects.template(studio.projects.set_of(studio.projects.get("green")), "out.blend") is None


@given(st.integers(0, 80_000), st.binary(max_size=8), st.booleans())
@hypothesis_settings(max_examples=60, deadline=None)
def test_a_spoilt_file_gives_one_error_or_a_file(place: int, noise: bytes, cut: bool) -> None:
    raw = PLAIN[:place] if cut else PLAIN[:place] + noise + PLAIN[place + len(noise) :]
    try:
        dressed(opened(raw), Wish("x", "CYCLES", (10, 10), 24, "//x", (1, 2), (Loaded("a", "//a.png"),)))
    except Damaged:
        pass


PLAIN = bytes(Scene(gzip.decompress(COMP)).raw)


def named_alike(studio: Studio) -> str:
    """Another shot of the same name as the first."""
    return studio.create("Sh010", file_name="another")


def test_a_comp_loads_the_approved_renders_of_what_was_chosen(studio: Studio) -> None:
    """Given one shot with an approved render, one with two versions, one without any, then each is loaded
    from where its pictures are or will be, the first on top."""
    shots = [studio.create(f"Sh0{n}0") for n in (1, 2, 3)]
    for version, first, last in (("v001", 1, 4), ("v002", 5, 8)):
        for frame in range(first, last + 1):
            studio.write(f"demo/shots/render/sh010/{version}/sh010.{frame:04d}.png", b"x")
        studio.write(f"demo/shots/render/sh010/{version}.json", "{}")
    (studio.root / "demo/shots/render/sh010/current").symlink_to("v001")
    for version in ("v001", "v002"):
        studio.write(f"demo/shots/render/sh020/{version}/sh020.0011.exr", b"x")
        studio.write(f"demo/shots/render/sh020/{version}.json", "{}")
    studio.store.rescan()
    address = studio.create("All of it", "comp", of=shots)
    assert address == "data::demo/composites/all_of_it.blend"
    scene = Scene(studio.store.path(address).read_bytes())
    known = scene.by_address()
    loads = []
    for node in scene.of("bNode"):
        picture = known.get(scene.number(node, "id"))
        if picture is not None and scene.text(node, "name").startswith("Render"):
            user = known[scene.number(node, "storage")]
            frames = tuple(scene.number(user, field) for field in ("sfra", "frames", "offset"))
            loads.append((scene.text(node, "label"), scene.text(picture, "name"), frames))
    render = "//../shots/render"
    assert loads == [
        ("Sh010", f"{render}/sh010/current/sh010.0001.png", (1, 4, 0)),
        ("Sh020", f"{render}/sh020/v002/sh020.0011.exr", (11, 1, 10)),
        ("Sh030", f"{render}/sh030/current/sh030.0001.png", (1, 100, 0)),
    ]
    assert studio.scene(address)["frames"] == [1, 100]
    assert studio.store.read(address).data["dependencies"] == [f"shots/sh0{n}0.blend" for n in (1, 2, 3)]
    both = studio.create("Two", "comp", of=[shots[0], named_alike(studio)])
    twice = Scene(studio.store.path(both).read_bytes())
    called = [twice.text(block, "id.name") for block in twice.with_code(b"IM")]
    assert len(set(called)) == len(called)
    with pytest.raises(BadInput, match="16"):
        studio.create("Too much", "comp", of=[f"data::demo/{n}" for n in range(17)])
    with pytest.raises(CroftError):
        studio.create("Gone", "comp", of=["data::demo/gone.blend"])


def test_a_copy_is_an_asset_of_its_own(studio: Studio) -> None:
    first = studio.create("Fox", "char")
    boss = studio.people.user("supervisor")
    studio.assets.edit(first, {"state": "po", "tags": ["red"], "description": "It runs."}, studio.student)
    copy = studio.creation.clone(first, boss, "Vixen")
    assert copy == "data::demo/characters/vixen.blend"
    assert studio.store.path(copy).read_bytes() == studio.store.path(first).read_bytes()
    old, new = studio.store.read(first).data, studio.store.read(copy).data
    assert (new["name"], new["tags"], new["description"]) == ("Vixen", ["red"], "It runs.")
    assert (new["state"], new["owner"], new["creator"]) == ("ns", "supervisor", "supervisor")
    assert new["uuid"] != old["uuid"]
    assert studio.creation.clone(first, boss) == "data::demo/characters/fox_copy.blend"
    with pytest.raises(Conflict):
        studio.creation.clone(first, boss, file_name="fox")
