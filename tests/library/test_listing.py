"""A listing that follows changes is the listing that a fresh look gives, whatever happens in between."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.disk import index as index_room
from server.disk.index import Index
from server.disk.records import Entry, Facts, Stat
from server.library.assets import listing as listing_room
from server.library.assets.listing import Listing
from server.library.projects import EMPTY_SET
from server.library.search import Query

PROJECT = "data::demo"
QUERIES = [
    Query.parse(),
    Query.parse(sort="-modified"),
    Query.parse(state="done", sort="-priority"),
    Query.parse("a", sort="owner", files=True),
    Query.parse("is:arriving"),
]
NAMES = [
    f"{PROJECT}/{folder}/{name}" for folder in ("shots", "a") for name in ("1.blend", "2.blend", "x.txt")
]
NAMES += ["data::demolition/shots/1.blend", f"{PROJECT}/shots/render/1/v001/1.0001.png"]

entries = st.builds(
    lambda address, size, state, priority, arriving, tracked: Entry(
        address,
        Stat(size, size, size, size),
        Facts(name=address[-9:], state=state, priority=priority, owner=state) if tracked else None,
        arriving=arriving,
    ),
    st.sampled_from(NAMES), st.integers(1, 3), st.sampled_from(["todo", "done"]), st.integers(1, 3),
    st.booleans(), st.booleans(),
)  # fmt: skip
steps = st.lists(
    st.one_of(
        entries.map(lambda entry: ("put", entry)),
        st.sampled_from(NAMES).map(lambda address: ("drop", address)),
        st.sampled_from([f"{PROJECT}/shots", f"{PROJECT}/a"]).map(lambda folder: ("drop_folder", folder)),
        st.integers(0, len(QUERIES) - 1).map(lambda number: ("ask", number)),
    ),
    max_size=40,
)


def store_of(index: Index) -> Any:
    return SimpleNamespace(index=index)


@settings(max_examples=200, deadline=None)
@given(steps, st.sampled_from([3, 5000]), st.sampled_from([2, 2000]))
def test_following_is_looking_anew(taken: list[tuple[str, Any]], kept: int, behind: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_room, "CHANGES_KEPT", kept)
        patch.setattr(listing_room, "BEHIND", behind)
        index = Index()
        live = Listing(store_of(index), PROJECT)
        for what, value in [*taken, *(("ask", number) for number in range(len(QUERIES)))]:
            if what != "ask":
                getattr(index, what)(value)
                continue
            query = QUERIES[value]
            before = live.rows(query, EMPTY_SET)
            seen = [row.entry for row in before]
            fresh = Listing(store_of(index), PROJECT)
            assert seen == [row.entry for row in fresh.rows(query, EMPTY_SET)]
            assert live.entries(query, EMPTY_SET) == fresh.entries(query, EMPTY_SET)
            assert live.count() == fresh.count()
            assert live.rows(query, EMPTY_SET) is before


def test_who_holds_an_answer_reads_on_while_it_changes() -> None:
    index = Index()
    index.put(Entry(f"{PROJECT}/1.blend", Stat(1, 1, 1, 1), Facts(name="one")))
    listing = Listing(store_of(index), PROJECT)
    held = listing.rows(Query.parse(), EMPTY_SET)
    index.put(Entry(f"{PROJECT}/2.blend", Stat(1, 1, 1, 1), Facts(name="two")))
    assert [row.entry.facts.name for row in listing.rows(Query.parse(), EMPTY_SET) if row.entry.facts] == [
        "one",
        "two",
    ]
    assert len(held) == 1


def test_a_change_that_doesnt_concern_an_answer_leaves_it() -> None:
    index = Index()
    index.put(Entry(f"{PROJECT}/1.blend", Stat(1, 1, 1, 1), Facts(state="done")))
    index.put(Entry(f"{PROJECT}/2.blend", Stat(1, 1, 1, 1), Facts(state="todo")))
    listing = Listing(store_of(index), PROJECT)
    query = Query.parse(state="done")
    held = listing.rows(query, EMPTY_SET)
    index.put(Entry(f"{PROJECT}/2.blend", Stat(2, 2, 2, 2), Facts(state="todo")))
    assert listing.rows(query, EMPTY_SET) is held
