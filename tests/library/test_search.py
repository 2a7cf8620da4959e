"""Queries, sorts and cursors, on entries made up in memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from server.disk.errors import BadInput
from server.disk.records import Entry, Facts, Stat
from server.library.projects import AssetSet, read_set
from server.library.projects.sets import resolved
from server.library.search import SORTS, Query, Row, parse_cursor

SETS = Path(__file__).parents[2] / "config/sets"
FILES = {path.stem: json.loads(path.read_text()) for path in SETS.glob("*.json")}
WORDS: AssetSet = read_set("default", resolved("default", FILES))


def row(path: str, *, mtime: int = 1, size: int = 1, gone: bool = False, **facts: object) -> Row:
    stat = None if gone else Stat(size, mtime, 1, 1)
    return Row(Entry(f"data::film/{path}", stat, Facts(**facts) if facts else None), bool(facts))  # type: ignore[arg-type]


ROWS = [
    row("shots/sh2.blend", name="Walk", type="shot", state="todo", priority=3, owner="ana", tags=("hero",)),
    row("shots/sh10.blend", name="Run", type="shot", state="done", priority=5, owner="ben"),
    row("chars/hero.blend", name="Héro Ünicode", type="character", state="review", priority=1),
    row("props/box.blend", name="Box", type="prop", state="todo", priority=3, description="a walk-in box"),
    row("props/lost.blend", name="Lost", type="prop", state="todo", gone=True),
    row("tex/hero.png"),
]


def names(q: str = "", **more: str) -> list[str]:
    query = Query.parse(q, sort="path", **more)
    return [one.entry.address.rpartition("/")[2].partition(".")[0] for one in query.run(ROWS, WORDS)]


@pytest.mark.parametrize(("q", "found"), [
    ("", ["hero", "box", "lost", "sh2", "sh10"]),
    ("hero", ["hero", "sh2"]),
    ("HERO unicode", ["hero"]),
    ("walk", ["box", "sh2"]),
    ('"walk-in"', ["box"]),
    ("-walk type:prop", ["lost"]),
    ("state:to", ["box", "lost", "sh2"]),
    ("state:rev", ["hero"]),
    ('state:"for review"', ["hero"]),
    ("owner:ana", ["sh2"]),
    ("owner:none type:prop", ["box", "lost"]),
    ("tag:hero", ["sh2"]),
    ("is:missing", ["lost"]),
    ("priority:>=3", ["box", "sh2", "sh10"]),
    ("priority:5", ["sh10"]),
    ("priority:meh", ["hero"]),
    ("path:shots", ["sh2", "sh10"]),
    ("kind:scene type:shot", ["sh2", "sh10"]),
    ("colon:word", []),
    ("hero state:", ["hero", "sh2"]),
    ("zzz", []),
])  # fmt: skip
def test_a_query_finds(q: str, found: list[str]) -> None:
    assert names(q) == found


def test_the_filters_of_the_api_are_exact() -> None:
    assert names(type="shot") == ["sh2", "sh10"]
    assert names(type="sho") == []
    assert names(owner="none", state="todo") == ["box", "lost"]


def test_files_are_found_only_when_asked_for() -> None:
    query = Query.parse("hero", files=True, sort="path")
    assert len(query.run(ROWS, WORDS)) == 3


def test_an_unknown_sort_and_a_spoilt_cursor_say_so() -> None:
    with pytest.raises(BadInput, match="way to sort"):
        Query.parse(sort="colour")
    with pytest.raises(BadInput):
        Query.parse("x" * 501)
    query = Query.parse()
    for text in ("x", "é", "AAAA", Query.parse(sort="-size").cursor(ROWS[0], WORDS)):
        with pytest.raises(BadInput, match="ursor"):
            parse_cursor(text, query)


@hypothesis_settings(max_examples=80, deadline=None)
@given(
    owners=st.lists(
        st.tuples(st.integers(0, 3), st.text("ab1é\ud800", max_size=3), st.integers(0, 5)), max_size=30
    ),
    sort=st.sampled_from([*SORTS, *("-" + sort for sort in SORTS)]),
    limit=st.integers(1, 7),
    gone=st.integers(0, 30),
)
def test_pages_show_everything_once_whatever_happens_between(
    owners: list[tuple[int, str, int]], sort: str, limit: int, gone: int
) -> None:
    """Given any rows, when paged through while one of those shown goes, then each stands there once."""
    rows = [
        row(f"{number}.blend", name=name or "x", owner=name, priority=priority, size=size, mtime=priority)
        for number, (size, name, priority) in enumerate(owners)
    ]
    query = Query.parse(sort=sort)
    all_of = query.run(rows, WORDS)
    seen: list[Row] = []
    after = None
    left = list(all_of)
    while True:
        start = query.place(left, after, WORDS) if after is not None else 0
        part = left[start : start + limit]
        if not part:
            break
        seen += part
        after = parse_cursor(query.cursor(part[-1], WORDS), query)
        if gone < len(seen) and seen[gone] in left:
            left.remove(seen[gone])
    assert seen == all_of


@pytest.mark.parametrize(("inside", "kind", "ident"), [
    ("shots/010/plate.@.png", "sequence", "plate"), ("plate.@.png", "sequence", "plate"),
    ("plates/a.@.exr", "sequence", "plate"), ("characters/fox/turn.@.png", "sequence", "char"),
    ("shots/010/take.mov", "film", "film"), ("plates/take.mov", "film", "film"),
    ("shots/sh010.blend", "scene", "shot"), ("plates/grade.blend", "scene", "other"),
])  # fmt: skip
def test_the_type_of_what_is_new(inside: str, kind: str, ident: str) -> None:
    assert WORDS.type_for(inside, kind) == ident
