"""Which files are copies of the one beside them, and what becomes of them?"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.disk.errors import BadInput, Conflict, NotSignedIn
from server.disk.records import Change
from server.library.copies import Copies, Offer
from server.library.copies.naming import originals
from server.library.people import GUEST
from server.library.protection import Protection
from server.library.saves import Saves

from .conftest import Scenes
from .test_library import House, build


@pytest.mark.parametrize("name", [
    "hero (1).blend", "hero(1).blend", "hero (12).blend",
    "hero - Copy.blend", "hero - Copy (2).blend", "hero – Copy 2.blend", "Copy of hero.blend",
    "Copy (3) of hero.blend", "hero copy.blend", "hero copy 2.blend", "hero (copy).blend",
    "hero (another copy).blend", "hero (3rd copy).blend", "hero (Copy 2).blend",
    "hero - Kopie.blend", "hero - Kopie (2).blend", "Kopie von hero.blend", "hero Kopie 2.blend",
    "hero (Kopie).blend", "hero (weitere Kopie).blend", "hero (3. Kopie).blend",
    "hero - Copie.blend", "hero - Copie (2).blend", "Copie de hero.blend", "hero copie 2.blend",
    "hero (copie).blend", "hero (autre copie).blend", "hero (3e copie).blend",
    "hero - copia.blend", "hero - copia (2).blend", "Copia de hero.blend", "hero copia 2.blend",
    "hero (copia).blend", "hero (otra copia).blend", "hero (3.ª copia).blend",
    "HERO - COPY.blend".replace("HERO", "hero"), "hero - Copy - Copy.blend", "hero (1) (1).blend",
    "Copy of hero (1).blend", "Copy of Copy of hero.blend",
])  # fmt: skip
def test_each_systems_name_leads_to_the_original(name: str) -> None:
    assert "hero.blend" in originals(name)


@pytest.mark.parametrize("name", [
    "hero.blend", "copy.blend", "hero_copy.blend", "photocopy.blend", "hero (v2).blend", "(1).blend",
    "hero (1234).blend", "hero copyright.blend", "copy of.blend", "copies.txt", " (1)", "",
])  # fmt: skip
def test_other_names_are_nobodys_copies(name: str) -> None:
    assert originals(name) == ()


def test_the_nearest_original_comes_first() -> None:
    assert originals("hero - Copy (2).blend")[0] in ("hero - Copy.blend", "hero.blend")
    assert originals("hero - Copy - Copy.blend")[0] == "hero - Copy.blend"


def test_a_name_taken_apart_into_letters_and_accents() -> None:
    apart = unicodedata.normalize("NFD", "héros copie.blend")
    assert unicodedata.normalize("NFD", "héros.blend") in originals(apart)
    assert "héros.blend" in originals("héros copie.blend")


@given(st.text(max_size=120))
def test_any_name_gets_an_answer(name: str) -> None:
    assert name not in originals(name)


@dataclass
class Room:
    """A house with its room of copies."""

    house: House
    saves: Saves
    copies: Copies

    def put(self, inside: str, content: Path | bytes) -> str:
        address = self.house.put(inside, content)
        self.settle()
        return address

    def settle(self) -> None:
        self.house.settle()
        assert self.copies.wait(30)

    def told(self) -> dict[str, str]:
        return {problem.address.rpartition("/")[2]: problem.kind for problem in self.copies.problems()}


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    house = build(tmp_path)
    saves = Saves(
        house.store,
        house.projects,
        house.assets,
        Protection(house.store, house.projects, house.people, house.assets),
    )
    made = Room(house, saves, Copies(house.store, house.projects, house.assets, saves))
    house.ingest.start()
    made.copies.start()
    yield made
    made.copies.close()
    house.ingest.close()
    house.media.close()
    house.store.close()


def test_a_copy_with_the_same_content_may_be_discarded(room: Room, scenes: Scenes) -> None:
    """Given hero.blend and its copy, whichever came first, then the offer is there, and can be undone."""
    copy = room.put("demo/shots/hero (1).blend", scenes.plain)
    assert room.told() == {}, "no original lies beside it"
    room.put("demo/shots/hero.blend", scenes.plain)
    assert room.told() == {"hero (1).blend": "duplicate"}
    student = room.house.people.user("student")
    with pytest.raises(NotSignedIn):
        room.copies.do(copy, "discard", GUEST)
    done = room.copies.do(copy, "discard", student)
    room.settle()
    assert not (room.house.root / "demo/shots/hero (1).blend").exists()
    assert (room.house.root / "demo/shots/hero.blend").read_bytes() == scenes.plain.read_bytes()
    assert room.told() == {}
    assert done.undo is not None
    room.saves.bring_back(done.undo.body["folder"], student)
    room.settle()
    assert room.told() == {"hero (1).blend": "duplicate"}


def test_a_fault_at_one_file_takes_no_other_with_it(
    room: Room, scenes: Scenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = room.copies._judge
    failures = {"hero (1).blend": 1, "hero (2).blend": 99}

    def judge(address: str) -> Offer | None:
        name = address.rpartition("/")[2]
        if failures.get(name, 0) > 0:
            failures[name] -= 1
            raise RuntimeError("once")
        return plain(address)

    for name in ("hero.blend", "hero (2).blend", "hero (1).blend", "hero (3).blend"):
        room.house.put(f"demo/shots/{name}", scenes.plain)
    room.settle()
    room.copies._offers.clear()
    monkeypatch.setattr(room.copies, "_judge", judge)
    room.house.store.notify([Change("share", "data")])
    room.settle()
    assert sorted(room.told()) == ["hero (1).blend", "hero (3).blend"]
    assert room.copies.faults > 0


def test_a_copy_with_other_content_becomes_a_version_of_its_original(room: Room, scenes: Scenes) -> None:
    original = room.put("demo/shots/hero.blend", scenes.plain)
    copy = room.put("demo/shots/hero - Kopie.blend", scenes.zstd)
    student = room.house.people.user("student")
    room.house.assets.edit(original, {"description": "mine"}, student)
    room.settle()
    assert room.told() == {"hero - Kopie.blend": "copy"}
    with pytest.raises(Conflict):
        room.copies.do(copy, "discard", student)
    done = room.copies.do(copy, "version", student)
    room.settle()
    shots = room.house.root / "demo/shots"
    assert (shots / "hero.blend").read_bytes() == scenes.zstd.read_bytes()
    assert not (shots / "hero - Kopie.blend").exists()
    assert room.house.sidecar("demo/shots/hero.blend")["description"] == "mine"
    assert room.told() == {}
    # Undo: both are as they were.
    assert done.undo is not None
    room.copies.do(original, "undo", student, save=done.undo.body["save"], folder=done.undo.body["folder"])
    room.settle()
    assert (shots / "hero.blend").read_bytes() == scenes.plain.read_bytes()
    assert (shots / "hero - Kopie.blend").read_bytes() == scenes.zstd.read_bytes()
    assert room.told() == {"hero - Kopie.blend": "copy"}


@pytest.mark.parametrize("name", ["hero copy.blend", "notes copy.txt"])
def test_a_file_of_its_own_is_offered_no_more(room: Room, name: str, tmp_path: Path) -> None:
    """Whether it is an asset or a plain file: it is remembered beside it, whoever starts Croft anew."""
    content = b"BLENDER-v304" + bytes(300) + b"ENDB" + bytes(20)
    room.put(f"demo/{name.replace(' copy', '')}", content)
    copy = room.put(f"demo/{name}", content)
    student = room.house.people.user("student")
    assert room.told() == {name: "duplicate"}
    room.copies.do(copy, "own", student)
    room.settle()
    assert room.told() == {}
    assert room.copies.offer(copy) is None
    again = Copies(room.house.store, room.house.projects, room.house.assets, room.saves)
    again.start()
    assert again.wait(30)
    assert again.problems() == []
    again.close()
    room.copies.do(copy, "ask", student)
    room.settle()
    assert room.told() == {name: "duplicate"}


def test_what_changes_after_the_offer_is_compared_again(room: Room) -> None:
    room.put("demo/a.txt", b"one")
    copy = room.put("demo/Copy of a.txt", b"one")
    assert room.told() == {"Copy of a.txt": "duplicate"}
    # Race: somebody saved it between the page and the button.
    (room.house.root / "demo/Copy of a.txt").write_bytes(b"two")
    room.house.store.refresh(copy)
    with pytest.raises(Conflict):
        room.copies.do(copy, "discard", room.house.people.user("student"))
    room.settle()
    assert room.told() == {"Copy of a.txt": "copy"}
    (room.house.root / "demo/a.txt").unlink()
    room.house.store.refresh("data::demo/a.txt")
    room.settle()
    assert room.told() == {}
    with pytest.raises(Conflict):
        room.copies.do(copy, "version", room.house.people.user("student"))
    with pytest.raises(BadInput):
        room.copies.do(copy, "sing", room.house.people.user("student"))


def test_copies_of_pictures_of_equal_size_are_compared_byte_for_byte(room: Room) -> None:
    room.put("demo/tex/wood.tga", b"a" * 3_000_000)
    room.put("demo/tex/wood (1).tga", b"a" * 2_999_999 + b"b")
    room.put("demo/tex/wood (2).tga", b"a" * 3_000_000)
    assert room.told() == {"wood (1).tga": "copy", "wood (2).tga": "duplicate"}
    assert not (room.house.root / "demo/tex/.croft").exists()
