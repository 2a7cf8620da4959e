"""Does Croft know who uses what, whatever systems the paths come from, and who rises above whom?"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.disk import paths
from server.disk.paths import Share
from server.disk.settings import Settings
from server.disk.store import Store
from server.library.dependencies import Dependencies, named
from server.library.dependencies.links import Link, Links, alike
from server.library.dependencies.ranks import components, ranks
from server.library.projects import Projects

SHARES = [Share("data", Path("/pool/films")), Share("lib", Path("/pool/library"))]
NAMES: Mapping[str, Mapping[str, object]] = {
    "data": {"people": "\\\\nas\\films", "aliases": ["Z:\\", "/Volumes/films", "/mnt/films/"]},
    "lib": {"aliases": "L:/"},
}


@pytest.mark.parametrize(
    ("raw", "address", "absolute"),
    [
        ("//hero.blend", "data::green/shots/hero.blend", False),
        ("//../props/hero.blend", "data::green/props/hero.blend", False),
        ("//..\\props\\hero.blend", "data::green/props/hero.blend", False),
        ("//./tex/../tex/wood.png", "data::green/shots/tex/wood.png", False),
        ("tex/wood.png", "data::green/shots/tex/wood.png", False),
        ("//../../../library/trees/oak.blend", "lib::trees/oak.blend", False),
        ("//../../../../etc/passwd", "", False),
        ("//../../../other/x.png", "", False),
        ("//tex/wood.<UDIM>.png", "data::green/shots/tex/wood.1001.png", False),
        ("/pool/films/green/props/hero.blend", "data::green/props/hero.blend", True),
        ("/pool/films/green/../blue/x.png", "data::blue/x.png", True),
        ("/pool/filmsofmine/x.png", "", True),
        ("Z:\\green\\props\\hero.blend", "data::green/props/hero.blend", True),
        ("z:/green/props/hero.blend", "data::green/props/hero.blend", True),
        ("\\\\nas\\films\\green\\tex\\wood.png", "data::green/tex/wood.png", True),
        ("\\\\NAS\\Films\\green\\tex\\wood.png", "data::green/tex/wood.png", True),
        ("/Volumes/films/green/x.png", "data::green/x.png", True),
        ("/mnt/films/green/x.png", "data::green/x.png", True),
        ("L:\\trees\\oak.blend", "lib::trees/oak.blend", True),
        ("C:\\Users\\ana\\Desktop\\wood.png", "", True),
        ("/home/ana/wood.png", "", True),
        ("//../../../../Z:/green/tex/wood.png", "data::green/tex/wood.png", True),
        ("//../../C:/Users/ana/wood.png", "", True),
        ("/pool/films", "", True),
    ],
)
def test_where_a_path_leads(raw: str, address: str, absolute: bool) -> None:
    found = Links(SHARES, NAMES).resolve("data::green/shots/sh010.blend", raw)
    assert found == Link(address, absolute)


@pytest.mark.parametrize("raw", ["", "<builtin>", "//", "a\0b"])
def test_what_is_no_path(raw: str) -> None:
    assert Links(SHARES, NAMES).resolve("data::green/x.blend", raw) is None


@given(st.text(alphabet=".:/\\aZ~ é<>%\n", max_size=40))
def test_any_text_is_borne(raw: str) -> None:
    """Scenes are foreign data: whatever stands there leads within a share, or nowhere."""
    found = Links(SHARES, NAMES).resolve("data::green/shots/x.blend", raw)
    if found is not None and found.address:
        inside = paths.parse(found.address)[1]
        assert not any(part in ("", ".", "..") for part in inside.split("/"))


def test_a_scene_at_the_top_of_a_share() -> None:
    assert Links(SHARES, {}).resolve("data::x.blend", "//tex/a.png") == Link("data::tex/a.png", False)
    assert Links(SHARES, {}).resolve("data::x.blend", "//..") == Link("", False)


def test_names_that_are_alike() -> None:
    assert alike("hero.blend", ["Villain.blend", "Hero.blend"]) == "Hero.blend"
    assert alike("caf\u00e9.png", ["cafe\u0301.png"]) == "cafe\u0301.png"
    assert alike("a", ["b"]) == ""


def test_what_facts_name() -> None:
    uses = [
        {"path": "//a.blend", "kind": "library", "packed": False},
        {"path": "//a.blend", "kind": "library"},
        {"path": "//in.png", "kind": "image", "packed": True},
        {"path": 7},
        "nonsense",
    ]
    assert named({"uses": uses}) == ("library://a.blend",)
    old = {"libraries": ["//a.blend", None], "textures": ["//b.png"]}
    assert named(old) == ("library://a.blend", "image://b.png")
    assert named(None) == named({"uses": 7, "libraries": 3}) == ()


# Who rises above whom.

NODES = [chr(97 + n) for n in range(9)]
NAMED = st.lists(st.sampled_from(NODES[:6]), max_size=3, unique=True)
EDITS = st.one_of(
    st.tuples(st.just("priority"), st.integers(1, 5)),
    st.tuples(st.just("final"), st.booleans()),
    st.tuples(st.just("state"), st.sampled_from(["ns", "us", "po"])),
    st.tuples(st.just("dependencies"), NAMED),
    st.tuples(st.just("uses"), NAMED),
    st.tuples(st.just("gone"), st.none()),
)
GRAPHS = st.tuples(
    st.dictionaries(st.sampled_from(NODES), st.integers(1, 5), min_size=1),
    st.dictionaries(st.sampled_from(NODES), st.lists(st.sampled_from(NODES), max_size=5)),
)


def reaches(edges: Mapping[str, list[str]], start: str) -> set[str]:
    """Whatever can be come to from here, at least one step away."""
    found: set[str] = set()
    waiting = list(edges.get(start, ()))
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += edges.get(node, ())
    return found


@settings(max_examples=400, deadline=None)
@given(GRAPHS)
def test_what_others_wait_for_rises_above_them(graph: tuple[dict[str, int], dict[str, list[str]]]) -> None:
    own, waits = graph
    edges = {node: [n for n in waits.get(node, ()) if n in own and n != node] for node in own}
    found = ranks({node: (priority, 0) for node, priority in own.items()}, waits)
    reach = {node: reaches(edges, node) for node in own}
    for node in own:
        together = {other for other in reach[node] if node in reach[other]}
        for other in edges[node]:
            if other in together:
                assert found[other] == found[node]  # a circle stands together
            else:
                assert found[other] > found[node]
        # Nobody rises above what is more urgent than all who wait for it.
        above = [own[other] for other in own if node in reach[other] or other == node]
        assert found[node][0] == max(above)
        if not any(node in edges[other] for other in own):
            assert found[node] == (own[node], 0)


@given(GRAPHS)
def test_components_come_after_what_they_lead_to(
    graph: tuple[dict[str, int], dict[str, list[str]]],
) -> None:
    own, waits = graph
    edges = {node: [n for n in waits.get(node, ()) if n in own] for node in own}
    groups = components(edges)
    assert sorted(node for group in groups for node in group) == sorted(own)
    place = {node: number for number, group in enumerate(groups) for node in group}
    for node, others in edges.items():
        assert all(place[other] <= place[node] for other in others)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(range(6)), EDITS), min_size=1, max_size=14))
def test_following_changes_gives_what_all_of_it_anew_would(steps: list[tuple[int, tuple[str, Any]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "share"
        (root / "green").mkdir(parents=True)
        (root / "green/project.json").write_text("{}")
        store = Store(Settings(Path(folder) / "config"), [Share("data", root)])
        store.open()
        projects = Projects(store.settings, store)
        follower = Dependencies(store, projects)
        follower._all = False
        for number, (key, value) in steps:
            scene = f"data::green/{NODES[number]}.blend"
            path = root / f"green/{NODES[number]}.blend"
            if key == "gone":
                path.unlink(missing_ok=True)
            elif key == "uses":
                path.touch()
                record = {"facts": {"libraries": [f"//{name}.blend" for name in value]}}
                store.write_json(f"data::green/.croft/{path.name}/file.json", record)
            else:
                path.touch()
                store.refresh(scene)
                store.edit(scene, {key: value, "uuid": NODES[number]}, who="ana")
            store.refresh(scene)
            follower._take([scene], (), False)
        fresh = Dependencies(store, projects)
        every = [entry.address for entry in store.index.entries()]
        fresh._take([], every, False)
        fresh._take(every, [], True)
        assert (follower.true, follower.waiting) == (fresh.true, fresh.waiting), steps
        assert follower.book.absent == fresh.book.absent
        for address in every:
            assert follower.used_by(address) == fresh.used_by(address)
        store.close()


def test_a_change_asks_only_those_who_wait_for_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "share"
    (root / "green/props").mkdir(parents=True)
    (root / "green/project.json").write_text("{}")
    store = Store(Settings(tmp_path / "config"), [Share("data", root)])
    store.open()
    follower = Dependencies(store, Projects(store.settings, store))
    follower._all = False

    def put(inside: str, **said: Any) -> str:
        address = f"data::green/{inside}"
        (root / "green" / inside).touch()
        store.refresh(address)
        store.edit(address, {"uuid": inside, **said}, who="ana")
        follower._take([address], (), False)
        return address

    names = ["Cup of tea", "props/cup2", "cup3.blend", "data::green/cup4.blend", "//props\\cup5.blend"]
    waiting = [put(f"s{number}.blend", dependencies=[name]) for number, name in enumerate(names)]
    idle = [put(f"t{number}.blend", dependencies=[f"nothing {number}"]) for number in range(30)]
    asked: list[str] = []
    plain = follower.rising._declare

    def declare(address: str, entry: Any) -> set[str]:
        asked.append(address)
        return plain(address, entry)

    monkeypatch.setattr(follower.rising, "_declare", declare)
    put("unrelated.blend")
    assert asked == []
    one = put("props/cup.blend", name="Cup of tea")
    assert follower.used_by(one) == [waiting[0]]
    for number, place in ((1, "props/cup2.blend"), (2, "props/cup3.blend"), (3, "cup4.blend")):
        assert follower.used_by(put(place)) == [waiting[number]]
    assert follower.used_by(put("props/cup5.blend")) == [waiting[4]]
    assert not set(idle) & set(asked)
    twin = put("props/mug.blend", name="Cup of tea")
    put("s0.blend", dependencies=["Cup of tea"])
    assert follower.used_by(one) == [], "two have this name"
    put("props/mug.blend", name="Mug")
    assert follower.used_by(one) == [waiting[0]]
    put("props/mug.blend", name="Cup of tea")
    put("s0.blend", dependencies=["Cup of tea"])
    assert follower.used_by(one) == []
    (root / "green/props/mug.blend").unlink()
    store.forget(twin, "ana")
    follower._take([twin], (), False)
    assert follower.used_by(one) == [waiting[0]]
    assert not set(idle) & set(asked)
    store.close()


def test_a_fault_at_one_scene_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "share"
    (root / "green").mkdir(parents=True)
    (root / "green/project.json").write_text("{}")
    names = [f"s{number}.blend" for number in range(4)]
    for name in (*names, "hero.blend"):
        (root / "green" / name).touch()
    store = Store(Settings(tmp_path / "config"), [Share("data", root)])
    store.open()
    store.edit("data::green/hero.blend", {"uuid": "h"}, who="ana")
    for name in names:
        store.edit(f"data::green/{name}", {"uuid": name, "priority": 5}, who="ana")
        record = {"facts": {"libraries": ["//hero.blend"]}}
        store.write_json(f"data::green/.croft/{name}/file.json", record)
    follower = Dependencies(store, Projects(store.settings, store))
    plain = follower._read
    asked: list[str] = []

    def read(address: str) -> set[str]:
        asked.append(address)
        if len(asked) == 1 or address == "data::green/s2.blend":
            raise RuntimeError("a fault")
        return plain(address)

    monkeypatch.setattr(follower, "_read", read)
    follower.start()
    try:
        assert follower.wait()
        hero = "data::green/hero.blend"
        assert follower.used_by(hero) == [f"data::green/s{number}.blend" for number in (0, 1, 3)]
        assert follower.waiting[hero] == 3
        assert follower.faults > 0
    finally:
        follower.close()
        store.close()


def test_what_is_fixed_keeps_its_rank_and_passes_that_on() -> None:
    own = {"shot": (5, 0), "hero": (2, 0), "fur": (1, 0)}
    waits = {"shot": ["hero"], "hero": ["fur"]}
    assert ranks(own, waits, {"hero"}) == {"shot": (5, 0), "hero": (2, 0), "fur": (2, 1)}
    assert ranks(own, waits)["fur"] == (5, 2)


@pytest.mark.parametrize(("state", "own_set", "rises"), [
    ("ns", None, True), ("us", None, False), ("gone from the set", None, True),
    ("ns", {"boosting": False}, False), ("us", {"states": {"us": {"boost": True}}}, True),
])  # fmt: skip
def test_a_state_and_a_set_say_whether_anything_rises(
    tmp_path: Path, state: str, own_set: dict[str, Any] | None, rises: bool
) -> None:
    root = tmp_path / "share"
    (root / "green").mkdir(parents=True)
    (root / "green/project.json").write_text("{}")
    if own_set is not None:
        (root / "green/set.json").write_text(json.dumps(own_set))
    for name in ("hero", "shot"):
        (root / f"green/{name}.blend").touch()
    store = Store(Settings(tmp_path / "config"), [Share("data", root)])
    store.open()
    store.edit("data::green/hero.blend", {"uuid": "h", "priority": 2, "state": state}, who="ana")
    asked = {"uuid": "s", "priority": 5, "dependencies": ["hero.blend"]}
    store.edit("data::green/shot.blend", asked, who="ana")
    follower = Dependencies(store, Projects(store.settings, store))
    follower._take([], [entry.address for entry in store.index.entries()], False)
    follower._take([], (), True)
    assert follower.true == ({"data::green/hero.blend": 5.001} if rises else {})
    assert follower.waiting == {"data::green/hero.blend": 1}
    store.close()


def test_a_long_chain_and_a_wide_circle_need_no_stack() -> None:
    count = 20_000
    chain = {str(n): [str(n + 1)] for n in range(count)}
    found = ranks({str(n): (3, 0) for n in range(count + 1)}, chain)
    assert found["0"] == (3, 0)
    assert found["500"] == (3, 500)
    assert found[str(count)] == (3, 999)
    circle = {str(n): [str((n + 1) % count)] for n in range(count)}
    assert set(ranks({str(n): (n % 5, 0) for n in range(count)}, circle).values()) == {(4, 0)}
