"""What is wrong in a file that a person wrote: the right line, the right words, no secrets."""

from __future__ import annotations

import pytest

from server.disk.mistakes import around, line_of_key, of_object


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('{"a": 1\n "b": 2}', 1, "A comma is missing after this."),
        ('{"a": [1\n\n 2]}', 1, "A comma is missing after this."),
        ('{"a": 1,\n "b": 2,\n}', 2, "This comma is one too many."),
        ('{"a": [1,\n]}', 1, "This comma is one too many."),
        ('{"a" 1}', 1, "A colon is missing after this."),
        ("{'a': 1}", 1, "This is another quotation mark."),
        ("{\n“a”: 1}", 2, "This is another quotation mark."),
        ('{"a": 1,\n// later\n"b": 2}', 2, "A comment can’t stand here."),
        ('{"a": 1, # later\n"b": 2}', 1, "A comment can’t stand here."),
        ('{"path": "C:\\films"}', 1, None),
        ('{"path": "\\\\nas\\_films"}', 1, "A backslash stands alone."),
        ('{"a": "one\ntwo"}', 1, "A text goes on over the end of its line."),
        ('{"a": 1}\n}', 2, "Something stands behind the last brace."),
        ('{"a": {"b": 1}\n\n', 1, "The file ends too early."),
        ('{"a": True}', 1, "True isn’t known here."),
        ('{"a": yes}', 1, "This text has no quotation marks."),
        ('{"a": }', 1, "A value is missing here."),
        ('{"a": 1, b: 2}', 1, "A key in quotation marks is missing here."),
        ('{"a": "no end}', 1, "This text has no end."),
        ("[1]", 1, "It doesn't hold an object in braces."),
        (" \n", 0, "The file is empty."),
        ("[" * 100_000, 0, "It is nested too deep."),
    ],
)
def test_the_mistake_itself_is_named(text: str, line: int, said: str | None) -> None:
    found = of_object(text.encode())
    assert (found and found.text) == said
    if found is not None:
        assert found.line == line
        assert found.mend


def test_what_is_right_is_no_mistake_and_what_isnt_text_is_one() -> None:
    assert of_object('\ufeff{"a": 1}'.encode()) is None
    found = of_object(b'{"a": 1,\n"b": "\xff"}')
    assert found is not None
    assert (found.line, found.text) == (2, "This line isn’t UTF-8.")


def test_lines_are_shown_without_secrets() -> None:
    raw = b'{\n"title": "Ana",\n"password": "scrypt$16384$8$1$c2FsdHNhbHQ$aGFzaA==",\n"role" "student"\n}'
    shown = around(raw, 4, secret=True)
    assert [one.number for one in shown] == [2, 3, 4, 5]
    assert [one.number for one in shown if one.wrong] == [4]
    assert shown[1].text == '"password": "…",'
    assert "scrypt" in around(raw, 4)[1].text
    torn = b'{"password": "scrypt$16384$8$1$' + b"aGFzaGhhc2ho" * 8
    assert "aGFz" not in around(torn, 1, secret=True)[0].text
    assert around(b"", 0) == []


def test_a_key_is_found_where_it_stands() -> None:
    raw = b'{\n  "host": "port",\n  "port" : 80\n}'
    assert (line_of_key(raw, "port"), line_of_key(raw, "none")) == (3, 0)
