"""Whose task is first, who rises by whom, who is named in the credits: from entries alone."""

from __future__ import annotations

from typing import Any

from server.disk.records import Entry, Facts, Stat
from server.library.credits import compose
from server.library.projects import read_project, read_set
from server.library.tasks import Work, ranked

WORDS = read_set("default", {
    "types": {"shot": {"title": "Shot", "order": 1}, "prop": {"title": "Prop", "order": 2}},
    "states": {"todo": {"title": "To do"}, "idea": {"title": "Idea", "boost": False},
               "done": {"title": "Done", "final": True}},
})  # fmt: skip
HERE = Stat(1, 1, 1, 1)


def entry(name: str, there: bool = True, **facts: Any) -> Entry:
    known = {"name": name, "type": "shot", "state": "todo", "priority": 3, **facts}
    return Entry(f"data::demo/{name}.blend", HERE if there else None, Facts(**known))


def names(entries: Any) -> list[str]:
    return [one.facts.name for one in entries]


def test_the_most_urgent_task_is_first_and_what_is_over_is_none() -> None:
    work = Work(ranked([
        entry("a", owner="ana"),
        entry("b", owner="ana", priority=4),
        entry("late", owner="ana", due="2026-11-20"),
        entry("soon", owner="ana", due="2026-11-21"),
        entry("waited", owner="ana", priority=1),
        entry("over", owner="ana", priority=5, state="done"),
        entry("final", owner="ana", priority=5, final=True),
        entry("gone", False, owner="ana", priority=5),
        entry("free"),
    ], {"data::demo/waited.blend": 5.001}, WORDS))  # fmt: skip
    assert names(work.of("ana")) == ["waited", "b", "late", "soon", "a"]
    assert work.primary("ana") is work.of("ana")[0]
    assert (names(work.free()), work.of(""), work.primary("ben")) == (["free"], (), None)


def test_nothing_rises_where_the_set_or_the_state_forbids_it() -> None:
    tasks = [entry("idea", owner="ana", state="idea", priority=1), entry("a", owner="ana", priority=2)]
    true = {"data::demo/idea.blend": 5.001, "data::demo/a.blend": 1.0}
    assert names(ranked(tasks, true, WORDS)["ana"]) == ["a", "idea"]
    still = read_set("default", {"boosting": False, "states": {"todo": {}, "idea": {"boost": True}}})
    assert names(ranked(tasks, true, still)["ana"]) == ["a", "idea"]
    rising = read_set("default", {"states": {"todo": {}, "idea": {"boost": True}}})
    assert names(ranked(tasks, true, rising)["ana"]) == ["idea", "a"]


def test_who_supports_sees_the_first_task_of_the_other_alone() -> None:
    work = Work(ranked([
        entry("first", owner="ana", priority=5, support=("ben", "ana")),
        entry("second", owner="ana", support=("cem",)),
        entry("theirs", owner="ben", support=("ben",)),
        entry("nobodys", support=("ben",)),
    ], {}, WORDS))  # fmt: skip
    assert names(work.to_support("ben")) == ["first"]
    assert work.to_support("cem") == []  # it isn't what Ana does now
    assert work.to_support("ana") == []


USERS = {
    "ana": {"title": "Ana"}, "ben": {"name": "Ben of RFAM"}, "cem": {"title": "Cem", "credit": False},
    "dora": {"title": "Dora"}, "emil": {"title": "Emil", "projects": ["demo"]},
    "eve": {"title": "Eve", "projects": ["other"]}, "guest": {"role": "guest", "projects": ["demo"]},
}  # fmt: skip
FILM = {
    "title": "Foxes", "licence": "CC BY 4.0", "description": "Two foxes.",
    "roles": [{"title": "Director", "people": ["ana", "ben"]}, {"title": "Music", "people": []},
              {"title": "Catering", "people": ["cem"]}, {"title": "Sound", "people": ["Greta"]}],
    "external": [{"name": "Snow", "licence": "CC0", "origin": "https://a.example"},
                 {"name": "Wind", "licence": "CC BY 4.0"}, {"name": "Font", "origin": "a friend"}],
}  # fmt: skip


def test_the_credits_say_who_did_what_and_what_is_missing() -> None:
    project = read_project("demo", "data::demo", FILM, True)
    files = [
        entry("lamp", type="prop", owner="dora", support=("ana", "cem")),
        entry("sh010", owner="ana"),
        entry("sh020", creator="ben"),
        entry("sh030", owner="cem", support=("gone", "somebody")),
        entry("gone", False, owner="dora"),
    ]
    roll = compose(project, files, USERS, WORDS)
    assert roll.roles == (("Director", ("Ana", "Ben of RFAM")), ("Sound", ("Greta",)))  # she was forgotten
    made = {title: [(one.name, one.by, one.helped) for one in rows] for title, rows in roll.made}
    assert list(made) == ["Shot", "Prop"]
    assert made["Shot"] == [("sh010", "Ana", ()), ("sh020", "Ben of RFAM", ())]
    assert made["Prop"] == [("lamp", "Dora", ("Ana",))]
    assert (roll.others, roll.unnamed) == (("Dora", "Emil"), 1)
    assert [one.text for one in roll.missing] == [
        "Nobody has the role ‘Music’ yet.",
        "Dora has no role yet.",
        "Emil has no role yet.",
        "1 file has no owner.",
        "Nobody knows who ‘gone’ is, whom a file names.",
        "Nobody says who made ‘Wind’.",
        "Nobody says where ‘Wind’ comes from.",
        "‘Font’ has no licence: without one it may not be shown.",
    ]
    assert "Cem" not in str(roll)
    found = compose(project, [entry("sh040", creator="croft")], USERS, WORDS)
    assert not [one.text for one in found.missing if "croft" in one.text]  # it found the file by itself
    empty = compose(read_project("demo", "data::demo", {}, True), [], {}, WORDS)
    assert [one.where for one in empty.missing] == ["project"] * 3
