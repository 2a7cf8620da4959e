"""Names that aren't UTF-8 go out and come back, in JSON and in URLs."""

from __future__ import annotations

import os
import urllib.parse
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.disk import encoding

SERVER = Path(__file__).resolve().parents[2] / "server"


@given(st.binary(max_size=60))
def test_any_name_comes_back(raw: bytes) -> None:
    name = os.fsdecode(raw)
    assert encoding.loads(encoding.dumps({name: [name, 1, None]})) == {name: [name, 1, None]}
    assert encoding.loads(encoding.dumps({name: name}, indent=True)) == {name: name}
    assert urllib.parse.unquote_to_bytes(encoding.quote(name)) == raw
    encoding.quote(name).encode("ascii")
    encoding.shown(name).encode("utf-8")


@pytest.mark.parametrize(
    "raw",
    [b'"\\ud800"', b'"\\ude00x"', b"[" * 5000 + b'"\\udcff"', b'["\\udcff", NaN]', b'"\\udcff', b"", b"{"],
)
def test_what_no_name_holds_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        encoding.loads(raw)


def test_no_room_quotes_by_itself() -> None:
    """The standard library's `quote` fails on a name that isn't UTF-8: one such file would end a page."""
    for path in SERVER.rglob("*.py"):
        if path.name == "encoding.py" or path.parent.name == "cli":
            continue
        for line in path.read_text("utf-8").splitlines():
            words = line.replace(",", " ").split()
            assert not (line.startswith("from urllib.parse import") and "quote" in words), path
            assert "parse.quote(" not in line, path
