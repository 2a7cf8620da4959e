"""Is every form of a sidecar read or told, and never spoilt?"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from disk_kit import FILE, make_file, make_store

from server.disk import sidecar
from server.disk.errors import BadInput, Broken, ReadOnly, Stale, TooLarge
from server.disk.store import Store

GOOD = {"name": "Hundert Fü\u00dfe \U0001f43e", "zz": {"a": [1, 2.5, None]}, "owner": "mia", "rating": 10**30}


@pytest.fixture
def store(disk_root: Path, tmp_path: Path) -> Store:
    make_file(disk_root)
    return make_store(disk_root, tmp_path / "config")


def beside(store: Store) -> Path:
    return store.path(FILE + ".json")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "it is empty"),
        (b"  \r\n", "it is empty"),
        (bytes(300), "zeros"),
        (b'{"name": "torn", "own', "line 1, column"),
        (b'{"name": "x"}}', "Extra data"),
        (b'["a list"]', "a list, not an object"),
        (b"null", "null, not an object"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": 1e999}', "too large"),
        ('{"name": "ü"}'.encode("latin-1"), "UTF-8"),
        ('{"name": "ü"}'.encode("utf-16"), "UTF-16"),
        (b'{"a":' * 5000, "nested"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "nested"),
    ],
)
def test_a_broken_one_is_told_and_never_overwritten(store: Store, raw: bytes, why: str) -> None:
    beside(store).write_bytes(raw)
    with pytest.raises(Broken, match=why):
        store.read(FILE)
    with pytest.raises(Broken, match=why):
        store.edit(FILE, {"owner": "tom"}, who="tom")
    assert beside(store).read_bytes() == raw


def test_two_hundred_megabytes_are_not_read(store: Store) -> None:
    with open(beside(store), "wb") as file:
        file.truncate(200 << 20)
    with pytest.raises(Broken, match="209715200 bytes"):
        store.edit(FILE, {"owner": "tom"}, who="tom")
    assert beside(store).stat().st_size == 200 << 20


def test_a_folder_a_pipe_or_a_link_of_that_name(store: Store) -> None:
    path = beside(store)
    path.mkdir()
    (path / "inside").write_text("kept")
    with pytest.raises(Broken, match="folder"):
        store.edit(FILE, {"owner": "tom"}, who="tom")
    assert (path / "inside").read_text() == "kept"
    (path / "inside").unlink()
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(Broken, match="regular"):
        store.edit(FILE, {"owner": "tom"}, who="tom")
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(Broken, match="link"):
        store.read(FILE)


@pytest.mark.parametrize("form", ["bom", "crlf", "both", "compact", "tabs", "surrogate"])
def test_what_others_write_survives_an_edit(store: Store, form: str) -> None:
    data = dict(GOOD)
    text = json.dumps(data, indent="\t" if form == "tabs" else None if form == "compact" else 4)
    if form == "surrogate":
        data["odd"] = "\ud800"
        text = json.dumps(data, indent=4)
    raw = text.encode()
    if form in ("crlf", "both"):
        raw = raw.replace(b"\n", b"\r\n")
    if form in ("bom", "both"):
        raw = b"\xef\xbb\xbf" + raw
    beside(store).write_bytes(raw)
    read = store.read(FILE)
    assert read.data == data
    store.edit(FILE, {"owner": "tom", "state": "done"}, etag=read.etag, who="tom")
    after = json.loads(beside(store).read_bytes())
    assert after == {**data, "owner": "tom", "state": "done"}
    assert list(after) == [*data, "state"]  # the order, too
    if form == "tabs":
        assert b'{\n\t"name"' in beside(store).read_bytes()


def test_an_edit_on_an_old_record_gets_the_present_one(store: Store) -> None:
    first = store.edit(FILE, {"owner": "mia"}, etag="", who="mia")
    store.edit(FILE, {"owner": "tom"}, etag=first.etag, who="tom")
    with pytest.raises(Stale) as caught:
        store.edit(FILE, {"owner": "eve"}, etag=first.etag, who="eve")
    assert caught.value.record == {"owner": "tom"}
    assert caught.value.etag == store.read(FILE).etag


def test_a_newer_schema_is_read_only(store: Store) -> None:
    raw = b'{"schema": 2, "owner": "mia"}'
    beside(store).write_bytes(raw)
    assert store.read(FILE).newer
    with pytest.raises(ReadOnly, match="newer"):
        store.edit(FILE, {"owner": "tom"}, who="tom")
    assert beside(store).read_bytes() == raw


def test_what_is_no_json_changes_nothing(store: Store) -> None:
    for bad in ({"a": {1, 2}}, {"a": float("nan")}, {"a": b"bytes"}):
        with pytest.raises(BadInput, match="JSON"):
            store.edit(FILE, bad, who="tom")
    with pytest.raises(TooLarge):
        store.edit(FILE, {"a": "x" * (5 << 20)}, who="tom")
    assert not beside(store).exists()


def test_values_of_a_wrong_type_count_as_absent() -> None:
    odd = {
        "name": ["a"], "owner": None, "support": "mia", "priority": True, "time_budget": "2",
        "tags": [1, {}, "x"], "state": 7, "render": 1, "schema": "new",
    }  # fmt: skip
    facts = sidecar.facts(odd)
    assert (facts.name, facts.owner, facts.support, facts.priority) == ("", "", ("mia",), 0)
    assert (facts.tags, facts.state, facts.render, facts.schema) == (("1", "x"), "7", False, 1)
