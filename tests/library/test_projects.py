"""What is said of a project: its fields, roles, things from elsewhere; new projects; RFAM's folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.disk.errors import BadInput, Conflict, CroftError, Forbidden, NotFound, Stale
from server.disk.mounts import chosen_data, configured_shares
from server.disk.paths import Share
from server.disk.settings import Settings
from server.disk.store import Store
from server.library.people import People, User
from server.library.projects import Project, Projects, changes

TYPE = {
    "ident": "char", "name": "Character", "directory": "characters", "priority": 80, "state": "ns",
    "states": ["ns", "ic", "mod", "po"], "time_budget": {"mod": 480, "po": 240}, "file": "char.blend",
    "render": False, "final": False, "output": "//test_render/%(name)s", "sort": 1,
}  # fmt: skip
SHOT = {
    **TYPE, "ident": "shot", "name": "Shot", "directory": "shots", "priority": 30, "render": True, "sort": 5,
    "states": ["ns", "ic", "us", "po"], "time_budget": {"us": 30}, "file": "shot.blend",
}  # fmt: skip
STATES = [
    {"ident": ident, "name": name, "render": ident in ("us", "po"), "boost": boost, "time": True}
    for ident, name, boost in (
        ("ns", "Not Started", True), ("ic", "Incomplete", True), ("mod", "Modelled", True),
        ("us", "Usable", False), ("po", "Polished", False),
    )
]  # fmt: skip
PRIORITY = {
    "visible": True, "low": 0, "high": 100, "names": ["Meh", "Low", "Normal", "High", "Urgent"],
    "boosting": True, "boost": 1,
}  # fmt: skip


class Office:
    def __init__(self, home: Path) -> None:
        self.root, self.config = home / "data", home / "config"
        self.root.mkdir(parents=True, exist_ok=True)
        self.settings = Settings(self.config)
        self.store = Store(self.settings, [Share("data", self.root)])
        self.people, self.projects = People(self.settings), Projects(self.settings, self.store)
        self.store.open()
        self.projects.prepare()
        self.student, self.boss, self.admin = (
            self.people.user(name) for name in ("student", "supervisor", "admin")
        )

    def write(self, inside: str, data: Any) -> None:
        path = self.root / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        self.store.refresh(f"data::{inside}")

    def read(self, ident: str = "demo") -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.root / ident / "project.json").read_text())
        return found

    def change(self, etag: str | None = None, **fields: object) -> Project:
        sets, user = self.projects.sets(), self.boss
        return self.projects.change(
            "demo", lambda data, now: (changes.fields(data, fields, user, sets), None), user, etag
        )[0]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.store.close()


def rfam_layout(home: Path) -> None:
    """A folder as RFAM has it: paths, projects, users, defaults."""
    for inside, data in {
        "paths/data.json": {"ident": "data", "path": "data"},
        "paths/images.json": {"ident": "images", "path": "images"},
        "projects/green.json": {
            "ident": "green", "name": "Green Team", "image": "images::anons.jpg",
            "directory": "data::green", "render.priority": 2.0,
        },
        "users/tom.json": {
            "ident": "tom", "name": "Tom", "image": "images::anon.jpg", "projects": ["green"],
            "language": "english",
        },
        "defaults/Full HD Cycles CPU/priority.json": PRIORITY,
        "defaults/Full HD Cycles CPU/asset_types/character.json": TYPE,
        "defaults/Full HD Cycles CPU/asset_types/shot.json": SHOT,
        **{f"defaults/Full HD Cycles CPU/states/{one['name']}.json": one for one in STATES},
        "data/green/project.json": {
            "title": "Foxes", "description": "They run.", "license": "CC BY 4.0", "mine": 1,
            "default": "Full HD Cycles CPU",
            "roles": {
                "b": {"role": "Director", "user": "tom", "order": 1.0},
                "a": {"role": "Story", "user": "tom", "order": 0},
                "c": {"role": "Director", "user": "ana", "order": 2.0},
            },
            "ext_assets": {"x": {"description": "A wind sound\\nrecorded", "license": "CC0",
                                 "origin": "https://example.org/wind"}},
        },
        "data/green/characters/fox.blend.json": {
            "name": "Fox", "description": "", "type": "char", "creator": "tom", "owner": None, "support": [],
            "state": "mod", "priority": 75, "render": False, "final": False,
            "time_budget": {"mod": 480, "po": 240}, "dependencies": [],
        },
    }.items():  # fmt: skip
        path = home / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data).replace("\\\\n", "\\n"))
    (home / "data/green/characters/fox.blend").write_bytes(b"BLENDER-v280" + b"ENDB")


def test_an_rfam_folder_is_read_as_it_is(tmp_path: Path) -> None:
    """Given a folder with RFAM's paths, projects and defaults, when Croft is started on it, then the project,
    its set and its assets are there, and not a byte of RFAM's is changed."""
    home = tmp_path / "rfam"
    rfam_layout(home)
    before = {path: path.read_bytes() for path in home.rglob("*.json")}
    settings = Settings(home)
    assert chosen_data(settings, tmp_path / "nowhere") == home / "data"
    assert [(one.name, one.root) for one in configured_shares(settings, None)] == [("data", home / "data")]
    store = Store(settings, configured_shares(settings, None))
    projects = Projects(settings, store)
    store.open()
    try:
        green = projects.get("green")
        assert (green.title, green.licence, green.address) == ("Foxes", "CC BY 4.0", "data::green")
        assert (green.render_priority, green.image) == (4, "images::anons.jpg")
        assert [(role.title, role.people) for role in green.roles] == [
            ("Story", ("tom",)), ("Director", ("tom", "ana")),
        ]  # fmt: skip
        assert [(one.name, one.licence) for one in green.external] == [("A wind sound", "CC0")]
        words = projects.set_of(green)
        assert [one.title for one in words.offered_types] == ["Character", "Shot"]
        char = words.types["char"]
        assert (char.priority, char.time_budget, char.template) == (4, 12, "char.blend")
        assert [one.title for one in words.offered_states("char")] == [
            "Not Started", "Incomplete", "Modelled", "Polished",
        ]  # fmt: skip
        assert [words.state(ident).boost for ident in ("ic", "us", "po")] == [True, False, False]
        assert words.state("po").final
        assert list(words.priorities.values()) == PRIORITY["names"]
        fox = store.index.get("data::green/characters/fox.blend")
        assert fox is not None
        assert fox.facts is not None
        assert (fox.facts.state, fox.facts.priority, fox.facts.time_budget) == ("mod", 4, 12)
        assert {path: path.read_bytes() for path in before} == before
    finally:
        store.close()


def test_rfams_project_file_is_changed_in_its_own_keys(office: Office) -> None:
    rfam_layout(office.root.parent / "rfam")
    office.write("demo/project.json", (office.root.parent / "rfam/data/green/project.json").read_text())
    office.change(licence="CC0", title="Vixens", set="2k-eevee")
    told = office.read()
    assert (told["license"], told["title"], told["default"], told["mine"]) == ("CC0", "Vixens", "2k-eevee", 1)
    assert "licence" not in told
    assert isinstance(told["roles"], dict)  # nobody changed those
    more = {"add": "ben", "move": -1}
    project, role = office.projects.change(
        "demo", lambda data, now: changes.change_role(data, now, "b", more), office.student
    )
    assert role.people == ("tom", "ana", "ben")
    assert [one.title for one in project.roles] == ["Director", "Story"]
    project, _ = office.projects.change(
        "demo", lambda data, now: changes.change_external(data, now, "x", {"author": "Kim"}), office.student
    )
    assert office.read()["external"][0]["author"] == "Kim"
    assert "ext_assets" not in office.read()
    assert len(project.external) == 1


def test_two_edits_of_one_project_never_overwrite_each_other(office: Office) -> None:
    first = office.change(title="One").etag
    office.change(first, title="Two")
    with pytest.raises(Stale) as stale:
        office.change(first, title="Three")
    assert stale.value.facts["record"]["title"] == "Two"
    assert office.projects.get("demo").title == "Two"

    def do(make: Any) -> Any:
        return office.projects.change("demo", make, office.student)[1]

    role = do(lambda data, now: changes.add_role(data, now, {"title": "Sound"}))
    do(lambda data, now: changes.change_role(data, now, role.id, {"title": "Noise"}, role.etag))
    with pytest.raises(Stale) as stale:
        do(lambda data, now: changes.change_role(data, now, role.id, {"title": "Music"}, role.etag))
    assert stale.value.facts["record"]["title"] == "Noise"


def test_what_is_taken_away_comes_back_to_its_place(office: Office) -> None:
    def do(make: Any) -> Any:
        return office.projects.change("demo", make, office.student)[1]

    roles = [do(lambda data, now, t=t: changes.add_role(data, now, {"title": t})) for t in ("A", "B", "C")]
    back = do(lambda data, now: changes.remove_role(data, now, roles[1].id))
    assert [one.title for one in office.projects.get("demo").roles] == ["A", "C"]
    with pytest.raises(NotFound):
        do(lambda data, now: changes.remove_role(data, now, roles[1].id))
    do(lambda data, now: changes.add_role(data, now, back))
    assert [(one.id, one.title) for one in office.projects.get("demo").roles][1] == (roles[1].id, "B")
    one = do(lambda data, now: changes.add_external(data, now, {"name": "Wind", "licence": "CC0"}))
    gone = do(lambda data, now: changes.remove_external(data, now, one.id))
    assert not office.projects.get("demo").external
    do(lambda data, now: changes.add_external(data, now, gone))
    assert office.projects.get("demo").external[0].licence == "CC0"


@pytest.mark.parametrize(("fields", "said"), [
    ({"title": ""}, "title"), ({"title": "x" * 201}, "200"), ({"title": "a\nb"}, "one line"),
    ({"set": "nothing"}, "nothing"), ({"description": "a\0b"}, "can’t be seen"),
])  # fmt: skip
def test_what_cannot_be_is_refused(office: Office, fields: dict[str, str], said: str) -> None:
    before = office.read()
    with pytest.raises(BadInput, match=said):
        office.change(**fields)
    assert office.read() == before


def test_students_leave_the_set_to_supervisors(office: Office) -> None:
    with pytest.raises(Forbidden):
        changes.fields({}, {"set": "default"}, office.student, office.projects.sets())
    assert changes.fields({}, {"title": "Ours"}, office.student, {}) == {"title": "Ours"}


def test_students_change_what_is_said_of_their_own_films(office: Office) -> None:
    def change(user: User, title: str) -> str:
        made, _ = office.projects.change(
            "demo", lambda data, now: (changes.fields(data, {"title": title}, user, {}), None), user
        )
        return made.title

    office.people.add("ana", projects=["demo"])
    office.people.add("ben", projects=["elsewhere"])
    office.people.add("boss2", role="supervisor", projects=["elsewhere"])
    assert change(office.people.user("ana"), "Ours") == "Ours"
    assert change(office.student, "Anybody's, who is of no team") == "Anybody's, who is of no team"
    assert change(office.people.user("boss2"), "Looked after") == "Looked after"
    with pytest.raises(Forbidden, match="Only its team"):
        change(office.people.user("ben"), "Taken over")
    assert office.projects.get("demo").title == "Looked after"


def test_a_new_project_has_a_folder_for_each_type(office: Office) -> None:
    made = office.projects.create("Der grüne Fuchs!", office.admin, set="2k-eevee")
    assert (made.ident, made.title, made.set) == ("der_grune_fuchs", "Der grüne Fuchs!", "2k-eevee")
    folders = {path.name for path in (office.root / "der_grune_fuchs").iterdir() if path.is_dir()}
    assert folders - {".croft"} == {
        "characters", "props", "sets", "shots", "composites", "final", "materials", "animations", "other",
    }  # fmt: skip
    with pytest.raises(Conflict):
        office.projects.create("Demo", office.admin)
    with pytest.raises(Forbidden):
        office.projects.create("Mine", office.student)
    for title in ("old", "render", ""):
        with pytest.raises(CroftError):
            office.projects.create(title, office.admin)
    assert office.projects.create("!!!", office.admin).ident == "project"


def test_a_project_that_the_configuration_names_later_gets_its_folder(office: Office) -> None:
    office.settings.write("projects", "late", {"title": "Late"})
    office.projects.problems()
    assert (office.root / "late/shots").is_dir()
    assert office.projects.get("late").title == "Late"


def test_a_set_that_is_like_none_or_like_itself_does_no_harm(office: Office) -> None:
    office.settings.write("sets", "ours", {"like": "gone", "types": {"puppet": {"title": "Puppet"}}})
    office.settings.write("sets", "round", {"like": "circle", "fps": 12})
    office.settings.write("sets", "circle", {"like": "round", "title": "Circle"})
    for odd in ({"types": [1]}, {"states": {"a": 1}, "priorities": "x"}, {"resolution": [1], "fps": "much"}):
        office.settings.write("sets", "odd", odd)
        assert office.projects.sets()["odd"].view()["types"]
    sets = office.projects.sets()
    assert list(sets["ours"].types) == ["puppet"]
    assert (sets["round"].fps, sets["circle"].title) == (12, "Circle")
    assert [one.text for one in office.projects.problems()] == [
        "The configuration set ours is like gone, which isn’t there."
    ]
    office.settings.write("sets", "ours", {"like": "2k-eevee"})
    assert not office.projects.problems()
    assert len(office.projects.sets()["ours"].offered_types) == 9


def test_a_spoilt_project_file_is_never_written_over(office: Office) -> None:
    office.write("demo/project.json", "{")
    with pytest.raises(CroftError):
        office.change(title="New")
    assert (office.root / "demo/project.json").read_text() == "{"
