"""Two and three sites edit one sidecar, files are carried between them in every way: nothing is lost."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.disk import conflicts
from server.disk.merge import BY_HAND, Event, Merged, heads, merge, vector_of
from server.disk.sidecar import dump, etag

FIELDS = ["state", "owner", "priority", "tags"]
VALUES: list[Any] = ["a", "b", "c", None, ["x"]]


@dataclass
class Site:
    """One copy of an asset: its sidecar, and every site's history as far as it came here."""

    name: str
    record: dict[str, Any]
    histories: dict[str, list[Event]] = field(default_factory=dict)

    @property
    def events(self) -> list[Event]:
        return [event for events in self.histories.values() for event in events]

    @property
    def etag(self) -> str:
        return etag(dump(self.record))

    def reconcile(self, editing: bool = False) -> Merged:
        """What the store does before each edit, and when something arrived."""
        vector, known = vector_of(self.etag, self.events, self.name)
        found = merge(self.record, vector, self.events, not known)
        if found.doubts:
            if found.complete and not editing:
                return found
            self.say(found.doubts, {}, self.etag, BY_HAND)
            return self.reconcile()
        if found.record != self.record:
            self.record = found.record
            self.say({}, found.vector, self.etag)
        return found

    def say(
        self, fields: dict[str, tuple[Any, Any]], vector: dict[str, int], tag: str, how: str = ""
    ) -> None:
        mine = self.histories.setdefault(self.name, [])
        site = self.name + how
        seen = {other: end for other, end in vector.items() if other != site}
        at = f"{len(self.events):06}"
        mine.append(Event(site, (mine[-1].end if mine else 0) + 10, at, self.name, fields, seen, tag))

    def edit(self, name: str, value: Any) -> None:
        found = self.reconcile(editing=True)
        before = self.record.get(name)
        if value == before and name not in found.conflicts:
            return
        self.record = {key: one for key, one in self.record.items() if key != name}
        if value is not None:
            self.record[name] = value
        self.say({name: (before, value)}, found.vector, self.etag)


def carry(source: Site, target: Site, *, sidecar: bool = True, histories: bool = True) -> None:
    """What a synchronising program does: histories, of which each has one writer; the sidecar as a whole."""
    if histories:
        for name, events in source.histories.items():
            if len(events) > len(target.histories.get(name, [])):
                target.histories[name] = list(events)
    if sidecar:
        target.record = dict(source.record)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.integers(0, 2), st.sampled_from(FIELDS), st.sampled_from(VALUES)),
        st.tuples(
            st.just("carry"), st.integers(0, 2), st.integers(0, 2), st.sampled_from(["all", "side", "hist"])
        ),
        st.tuples(st.just("look"), st.integers(0, 2)),
    ),
    max_size=40,
)


def play(steps: list[tuple[Any, ...]]) -> list[Site]:
    sites = [Site(name, {}) for name in "ABC"]
    sites[0].edit("state", "a")
    for site in sites[1:]:
        carry(sites[0], site)  # the copy of the share that each begins with
    for step in steps:
        if step[0] == "edit":
            sites[step[1]].edit(step[2], step[3])
        elif step[0] == "look":
            sites[step[1]].reconcile()
        else:
            source, target = sites[step[1]], sites[step[2]]
            if source is not target:
                carry(source, target, sidecar=step[3] != "hist", histories=step[3] != "side")
    return sites


def bring_together(sites: list[Site]) -> list[Merged]:
    """Histories everywhere; each keeps the sidecar that it has."""
    for _ in range(2):
        for source in sites:
            for target in sites:
                carry(source, target, sidecar=False)
        for site in sites:
            site.reconcile()
    return [site.reconcile() for site in sites]


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_no_change_is_lost_however_files_are_carried(steps: list[tuple[Any, ...]]) -> None:
    sites = play(steps)
    found = bring_together(sites)
    for name in FIELDS:
        last = heads(sites[0].events, name)
        values = [event.fields[name][1] for event in last]
        different = [value for n, value in enumerate(values) if value not in values[:n]]
        for site, merged in zip(sites, found, strict=True):
            if len(different) > 1:  # a true conflict: everybody is told of the same values
                told = [rival.value for rival in merged.conflicts[name]]
                assert sorted(map(repr, told)) == sorted(map(repr, different))
                assert site.record.get(name) in different, (site.name, name)
            else:
                assert name not in merged.conflicts
                if different:  # what was said last, in the knowledge of all before, stands on each site
                    assert site.record.get(name) == different[0], (site.name, name)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_the_order_does_not_count_and_twice_is_once(
    steps: list[tuple[Any, ...]], chance: random.Random
) -> None:
    sites = play(steps)
    for site in sites:
        vector, known = vector_of(site.etag, site.events, site.name)
        once = merge(site.record, vector, site.events, not known)
        shuffled = list(site.events)
        chance.shuffle(shuffled)
        assert merge(site.record, vector, shuffled, not known) == once
        if not once.doubts:
            assert merge(once.record, once.vector, site.events).record == once.record
            assert merge(once.record, once.vector, site.events).conflicts == once.conflicts


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_without_new_changes_nothing_is_written(steps: list[tuple[Any, ...]]) -> None:
    """Else two servers would answer each other for ever."""
    sites = play(steps)
    bring_together(sites)
    lines = [len(site.events) for site in sites]
    for source in sites:
        for target in sites:
            carry(source, target)  # whichever sidecar wins
            target.reconcile()
    settled = [len(site.histories.get(site.name, [])) for site in sites]
    bring_together(sites)
    assert [len(site.histories.get(site.name, [])) for site in sites] == settled
    assert sum(settled) <= max(lines, default=0) + 3 * len(FIELDS)


def two() -> tuple[Site, Site]:
    a = Site("A", {"state": "todo"})
    a.edit("owner", "ana")
    b = Site("B", {})
    carry(a, b)
    return a, b


def test_different_fields_come_together() -> None:
    a, b = two()
    a.edit("state", "done")
    b.edit("priority", 5)
    carry(b, a)  # the newer sidecar wins, as with rsync --update
    assert "done" not in a.record.values()
    assert a.reconcile().record == {"state": "done", "owner": "ana", "priority": 5}
    carry(a, b)
    assert b.reconcile().record == a.record


def test_the_same_field_is_a_conflict_until_somebody_decides() -> None:
    a, b = two()
    a.edit("state", "done")
    b.edit("state", "review")
    for merged in bring_together([a, b]):
        assert [(r.value, r.site) for r in merged.conflicts["state"]] == [("done", "A"), ("review", "B")]
    assert (a.record["state"], b.record["state"]) == ("done", "review")  # each keeps what it has
    b.edit("state", "done")
    assert [merged.conflicts for merged in bring_together([a, b])] == [{}, {}]
    assert a.record["state"] == b.record["state"] == "done"


def test_the_same_value_on_both_sides_is_none() -> None:
    a, b = two()
    a.edit("state", "done")
    b.edit("state", "done")
    assert [merged.conflicts for merged in bring_together([a, b])] == [{}, {}]


def test_one_after_the_other_is_none() -> None:
    a, b = two()
    a.edit("state", "done")
    carry(a, b)
    b.edit("state", "review")
    assert [merged.conflicts for merged in bring_together([a, b])] == [{}, {}]
    assert a.record["state"] == "review"


def test_an_edit_by_hand_stays() -> None:
    a, b = two()
    b.edit("state", "review")
    a.record = {**a.record, "state": "by hand", "note": "mine"}
    carry(b, a, sidecar=False)
    merged = a.reconcile()
    assert a.record["state"] == "by hand"
    assert a.record["note"] == "mine"
    assert {rival.value for rival in merged.conflicts["state"]} == {"review", "by hand"}
    carry(a, b, sidecar=False)
    assert {rival.value for rival in b.reconcile().conflicts["state"]} == {"review", "by hand"}


def test_an_edit_by_hand_of_another_field_is_kept_beside() -> None:
    a, b = two()
    b.edit("state", "review")
    a.record = {**a.record, "note": "mine"}
    carry(b, a, sidecar=False)
    assert a.reconcile().record == {"state": "review", "owner": "ana", "note": "mine"}


def test_lines_of_before_several_sites_count_for_nothing() -> None:
    event = Event("A", 10, "1", "ana", {"state": ("todo", "done")}, {}, "x")
    assert merge({"state": "todo"}, {}, [event]).record == {"state": "done"}
    assert merge({"state": "todo"}, {"A": 10}, [event]).record == {"state": "todo"}
    assert heads([event, replace(event, end=20)], "state")[0].end == 20


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("sh010.sync-conflict-20260101-120000-ABCDEFG.blend", "sh010.blend"),
        ("sh010.blend.sync-conflict-20260101-120000-ABCDEFG.json", "sh010.blend.json"),
        ("journal.sync-conflict-20260101-120000-ABCDEFG.jsonl", "journal.jsonl"),
        ("README.sync-conflict-20260101-120000-ABCDEFG", "README"),
        ("sh010 (conflicted copy 2026-01-01 120000).blend", "sh010.blend"),
        ("sh010 (conflicted copy ana 2026-01-01 120000).blend", "sh010.blend"),
        ("sh010.blend (conflicted copy 2026-01-01 120000).json", "sh010.blend.json"),
        ("sh010 (Ana's conflicted copy 2026-01-01).blend", "sh010.blend"),
        ("sh010 (Ana’s conflicted copy 2026-01-01) (1).blend", "sh010.blend"),
        ("sh010 (Ana (laptop)'s conflicted copy 2026-01-01).blend", "sh010.blend"),
        ("sh010_conflict-20260101-120000.blend", "sh010.blend"),
        ("a.sync-conflict-20260101-120000-ABCDEFG.sync-conflict-20260102-120000-ABCDEFG.png", "a.png"),
        ("sh010.sync-conflict-20260101-120000-ABCDEFG.blend.json", ""),
        ("conflict.blend", ""),
        ("the conflict (copy).blend", ""),
        ("hero (1).blend", ""),
    ],
)
def test_names_of_conflict_copies(name: str, first: str) -> None:
    assert conflicts.original(name) == first
    assert conflicts.is_copy(name) == bool(first)
