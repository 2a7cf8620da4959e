"""What the lines of a history say to people."""

from __future__ import annotations

from typing import Any

from server.library.history.lines import VALUE, entries, plain

FILE = "data::demo/shots/sh010.blend"


def line(at: str, who: str, **said: Any) -> dict[str, Any]:
    return {"at": f"2026-11-22T{at}Z", "who": who, **said}


def typed(at: str, before: Any, after: Any, field: str = "description", who: str = "ana") -> dict[str, Any]:
    return line(at, who, fields={field: [before, after]}, etag=at)


def test_what_somebody_types_is_one_change() -> None:
    lines = [
        typed("10:00:00.000", "", "Two"),
        typed("10:00:01.000", "Two", "Two fo"),
        typed("10:00:02.000", "Two fo", "Two foxes"),
    ]
    found = entries(FILE, "here", lines)
    assert [dict(entry.fields) for entry in found] == [{"description": ("", "Two foxes")}]
    assert found[0].at == "2026-11-22T10:00:02.000Z"


def test_roles_and_what_others_made_are_told_by_their_names() -> None:
    role = {"id": "3f2a", "title": "Sound", "people": ["ana", "ben"]}
    assert plain([role, {"id": "77", "title": "Story", "people": []}]) == "Sound (ana, ben), Story"
    made = {"id": "b1", "name": "Wood", "licence": "CC0", "origin": "", "files": []}
    assert plain([made]) == "Wood"
    assert plain({"layout": "done"}) == "layout: done"


def test_what_is_of_another_sitting_person_or_field_stands_by_itself() -> None:
    base = typed("10:00:00.000", "", "Two")
    for other in (
        typed("10:30:00.000", "Two", "Two foxes"),
        typed("10:00:01.000", "Two", "Two foxes", who="ben"),
        typed("10:00:01.000", "Three", "Two foxes"),
        typed("10:00:01.000", "Two", ""),  # taken back
    ):
        assert len(entries(FILE, "here", [base, other])) == 2
    states = [
        typed("10:00:00.000", "todo", "working", "state"),
        typed("10:00:01.000", "working", "done", "state"),
    ]
    assert len(entries(FILE, "here", states)) == 2


def test_kinds() -> None:
    record = {"uuid": [None, "u"], "name": [None, "Fox"], "type": [None, "shot"], "owner": [None, ""]}
    lines = [
        line("10:00:00.000", "croft", fields=record, etag="1"),
        line("10:01:00.000", "ana", kept="data::demo/shots/old/x", comment="before"),
        line("10:02:00.000", "ana", restored="x", kept="y"),
        line("10:03:00.000", "ana", published="v001", comment=""),
        line("10:04:00.000", "ana", approved="v001", on=True),
        line("10:05:00.000", "croft", was="data::demo/old.blend"),
        line("10:06:00.000", "", fields={}, etag="2", merged=True),
        line("10:07:00.000", "ana", **{"not": ["x"]}),
    ]
    found = entries(FILE, "here", lines)
    assert [entry.kind for entry in found] == ["new", "save", "back", "version", "approved", "moved"]
    assert dict(found[0].fields) == {"name": (None, "Fox"), "type": (None, "shot")}


def test_an_upload_stands_for_the_record_that_it_got() -> None:
    record = {"uuid": [None, "u"], "name": [None, "Fox"]}
    lines = [
        line("10:00:00.000", "ana", fields=record, etag="1"),
        line("10:00:00.100", "ana", uploaded="fox.blend", size=5),
    ]
    assert [entry.kind for entry in entries(FILE, "here", lines)] == ["upload"]
    project = entries(
        "data::demo/project.json", "here", [line("10:00:00.000", "ana", uploaded="f.png", file="tex/f.png")]
    )
    assert project[0].address == "data::demo/tex/f.png"


def test_lines_of_any_sort_do_no_harm() -> None:
    strange: list[Any] = [
        {}, {"at": 5, "who": ["x"], "fields": {"name": [1, 2]}}, {"at": "x" * 5000, "fields": "no"},
        {"fields": {"a": 1, "b": [1], "c": [{"deep": [1] * 900}, "y" * 9000]}, "who": None},
        {"kept": {"a": 1}, "comment": 10**400, "at": "9999-12-31T23:59:59+14:00"},
        {"uploaded": "x", "file": "../../etc/passwd", "who": "ana", "at": "2026-11-22"},
        {"fields": {"description": [None, "\ud800 {x} {{ 7 }} <b>"]}, "who": "\u202eana"},
    ]  # fmt: skip
    found = entries(FILE, "here", strange)
    assert [entry.kind for entry in found] == ["edit", "edit", "save", "upload", "edit"]
    assert all(
        len(str(value)) <= VALUE for entry in found for change in entry.fields.values() for value in change
    )
    assert len({entry.id for entry in found}) == 5
    assert [entry.address for entry in found] == [FILE] * 5  # never a place outside


def test_saves_that_follow_each_other_are_one() -> None:
    lines = [
        line("10:00:00.000", "ana", saved=5, of=1),
        line("10:00:00.000", "ana", saved=5, of=1),  # another server saw it, too
        line("10:05:00.000", "ana", saved=6, of=2),
        line("10:06:00.000", "ben", saved=7, of=3),
        line("10:07:00.000", "ana", restored="x", kept="y"),
        line("10:07:01.000", "", saved=5, of=4),  # which is what was brought back
    ]
    found = entries(FILE, "here", lines)
    assert [(entry.kind, entry.who, entry.more.get("times")) for entry in found] == [
        ("saved", "ana", 2), ("saved", "ben", None), ("back", "ana", None),
    ]  # fmt: skip
