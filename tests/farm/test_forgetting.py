"""Records, lines and roles without a person: only what speaks of persons changes; lines keep their length."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from server.disk import encoding
from server.farm.forgetting.without import ALSO, line_without, plain_name, replaced, without_role

LEAVES = st.sampled_from(["ana", "ben", "", 7, None, "by ana"])
KEYS = st.sampled_from(["who", "owner", "support", "name", "fields", "by", "why", "people", "text"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_a_line_keeps_its_length_and_names_nobody(data: dict[str, object]) -> None:
    line = encoding.dumps(data) + b"\n"
    fresh = line_without(line, "ana")
    assert len(fresh) == len(line)
    told = encoding.loads(fresh)
    assert replaced(told, "ana", "?") == told
    assert line_without(fresh, "ana") == fresh


def test_torn_lines_stay_as_they_are() -> None:
    for line in (b'{"who": "ana', b"", b"\n", b'["ana"]\n'):
        assert line_without(line, "ana") == line


def test_only_what_speaks_of_persons_changes() -> None:
    data = {"name": "ana", "owner": "ana", "creator": "ana", "support": ["ben", "ana"], "tags": ["ana"]}
    assert replaced(data, "ana", "somebody") == {
        "name": "ana", "owner": "", "creator": "somebody", "support": ["ben"], "tags": ["ana"],
    }  # fmt: skip
    history = {
        "who": "ana",
        "fields": {"owner": ["ana", "ben"], "support": [["ana"], []], "state": ["a", "b"]},
    }
    told = json.loads(line_without(json.dumps(history).encode() + b"\n", "ana"))
    assert told == {"who": "?", "fields": {"owner": ["", "ben"], "state": ["a", "b"]}}


def test_credits_keep_a_plain_name_or_nothing() -> None:
    roles = [
        {"id": "r1", "title": "Direction", "people": ["ana", "ben"]},
        {"title": "Music", "people": ["ana"]},
    ]
    kept = without_role(roles, "ana", "Ana Schmidt", worked=True)
    assert [role["people"] for role in kept] == [["Ana Schmidt", "ben"], ["Ana Schmidt"]]
    assert kept[0]["id"] == "r1"
    gone = without_role(roles, "ana", "", worked=True)
    assert [role["people"] for role in gone] == [["ben"], []]
    also = without_role([{"title": "Music", "people": ["ben"]}], "ana", "Ana Schmidt", worked=True)
    assert also[1:] == [{"title": ALSO, "people": ["Ana Schmidt"]}]
    more = without_role(also, "cem", "Cem", worked=True)
    assert more[1]["people"] == ["Ana Schmidt", "Cem"]
    assert without_role(None, "ana", "Ana Schmidt", worked=False) is None
    rfam = {
        "a": {"order": 1, "role": "Direction", "user": "ana"},
        "b": {"order": 2, "role": "Music", "user": "ben"},
    }
    assert without_role(rfam, "ana", "Ana Schmidt", worked=True)["a"]["user"] == "Ana Schmidt"
    assert without_role(rfam, "cem", "Cem", worked=True)["also"]["user"] == "Cem"
    assert plain_name("ana") == "Ana", "never one that could be an account's"
