"""Whatever is done through the store, in any order: does it lose nothing, and does the index follow?

Hypothesis makes up runs of uploads, edits, moves and deletions, and compares with a model in memory and with
what a fresh look at the disk says.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from disk_kit import leftovers, make_store
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from server.disk import check, paths
from server.disk.errors import Conflict, NotFound, Stale
from server.disk.index import Index
from server.disk.scan import Scanner

PLACES = st.sampled_from(["green/a.blend", "green/shots/B.blend", "blue/deep/er/ü ö.png"])
FIELDS = st.dictionaries(
    st.sampled_from(["owner", "state", "tags", "odd key", "uuid"]),
    st.none() | st.text(max_size=5) | st.integers() | st.lists(st.integers(), max_size=2),
    max_size=3,
)


class StoreRun(RuleBasedStateMachine):
    etags = Bundle("etags")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.root = self.folder / "share"
        self.store = make_store(self.root)
        self.files: dict[str, bytes] = {}
        self.records: dict[str, dict[str, Any]] = {}
        self.deleted: list[bytes] = []
        self.count = 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @initialize(target=etags, place=PLACES, fields=FIELDS)
    def begin(self, place: str, fields: dict[str, Any]) -> tuple[str, str]:
        self.upload(place)
        return self.edit(place, fields)

    @rule(place=PLACES)
    def upload(self, place: str) -> None:
        self.count += 1
        content = b"%d" % self.count
        temporary = self.store.temporary(f"data::{place}")
        temporary.write_bytes(content)
        try:
            self.store.place(temporary, f"data::{place}", "mia")
            assert place not in self.files
            self.files[place] = content
        except Conflict:
            assert place in self.files
            temporary.unlink()

    @rule(target=etags, place=PLACES, fields=FIELDS)
    def edit(self, place: str, fields: dict[str, Any]) -> tuple[str, str]:
        try:
            etag = self.store.edit(f"data::{place}", fields, who="tom").etag
        except NotFound:
            assert place not in self.files
            return place, "none"
        assert place in self.files
        self.records[place] = {**self.records.get(place, {}), **fields}
        return place, etag

    @rule(known=etags, fields=FIELDS)
    def edit_what_was_seen(self, known: tuple[str, str], fields: dict[str, Any]) -> None:
        place, etag = known
        if place not in self.files:
            return
        record = self.store.read(f"data::{place}") if place in self.records else None
        try:
            self.store.edit(f"data::{place}", fields, etag=etag, who="eve")
        except Stale:
            assert record is None or record.etag != etag
        else:
            assert record is not None
            assert record.etag == etag
            self.records[place] = {**self.records[place], **fields}

    @rule(old=PLACES, new=PLACES)
    def move(self, old: str, new: str) -> None:
        try:
            self.store.move(f"data::{old}", f"data::{new}", "tom")
        except NotFound:
            assert old not in self.files
        except Conflict:
            assert new in self.files
        else:
            self.files[new] = self.files.pop(old)
            if old in self.records:
                self.records[new] = self.records.pop(old)

    @rule(place=PLACES)
    def delete(self, place: str) -> None:
        try:
            self.store.delete(f"data::{place}", "tom")
        except NotFound:
            assert place not in self.files
        else:
            self.deleted.append(self.files.pop(place))
            self.records.pop(place, None)

    @rule()
    def start_again(self) -> None:
        self.store.close()
        self.store = make_store(self.root)

    @invariant()
    def nothing_is_lost(self) -> None:
        there = {place: (self.root / place).read_bytes() for place in self.files}
        assert there == self.files
        kept = [path.read_bytes() for path in self.root.rglob("old/*/*") if path.suffix in (".blend", ".png")]
        assert sorted(kept) == sorted(self.deleted)
        records = {place: self.store.read(f"data::{place}").data for place in self.records}
        assert records == self.records
        assert leftovers(self.root) == []
        assert list((self.root / paths.LOCKS).glob("intent-*")) == []

    @invariant()
    def the_index_is_what_the_disk_says(self) -> None:
        share = self.store.share("data")
        fresh = Index()
        Scanner(share, fresh).scan()
        assert self.store.index.dump() == fresh.dump()
        assert {entry.address for entry in fresh.entries()} == {f"data::{place}" for place in self.files}
        assert {problem.kind for problem in check.check([share])} <= {"identity"}


StoreRun.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestStore = StoreRun.TestCase
