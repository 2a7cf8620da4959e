"""A class list as schools have them: read whole, told by line, all of it or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.disk.errors import BadInput
from server.disk.settings import Settings
from server.library.people import People
from server.library.setup import classlist
from server.library.setup.classlist import carry_out, decode, ident_of, read


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People(Settings(tmp_path / "config"))


def rows(text: str, people: People) -> list[tuple[str, str, str]]:
    listed = read(text, people)
    assert not listed.faults, listed.faults
    return [(row.ident, row.title, row.role) for row in listed.rows]


@pytest.mark.parametrize(
    "text",
    [
        "Ana Schmidt, ana, student\nMr Bo, bo, supervisor\n",
        "name,ident,role\nAna Schmidt,ana,student\nMr Bo,bo,supervisor",
        "\ufeffName;Rolle;Login;Ident\r\nAna Schmidt;student;aschmidt;ana\r\nMr Bo;supervisor;;bo\r\n",
        "# 7b\n\nrole\tident\tname\n\tana\tAna Schmidt\nsupervisor\tbo\tMr Bo\n",
        '"Ana Schmidt","ana"\n"Mr Bo","bo","SUPERVISOR"\n',
    ],
)
def test_lists_of_every_office_are_understood(text: str, people: People) -> None:
    assert rows(text, people) == [("ana", "Ana Schmidt", "student"), ("bo", "Mr Bo", "supervisor")]


def test_who_has_no_ident_gets_one_from_the_name(people: People) -> None:
    assert rows("Ana Müller-Lüdenscheid\nØystein Ås\nJosé  García", people) == [
        ("ana.mueller-luedenscheid", "Ana Müller-Lüdenscheid", "student"),
        ("oystein.as", "Øystein Ås", "student"),
        ("jose.garcia", "José  García", "student"),
    ]
    assert ident_of("李小龍") == ""


def test_excels_own_encodings_are_read() -> None:
    for encoding in ("utf-8", "utf-8-sig", "cp1252", "utf-16"):
        assert decode("Jörg;jörg".encode(encoding)).lstrip("\ufeff") == "Jörg;jörg"


def test_each_mistake_is_told_by_its_line_and_nothing_is_made(people: People) -> None:
    text = (
        "name,ident,role,uid\n"  # 1
        "Ana,ana,student,1001\n"
        "Ben,b e n,student,\n"  # 3
        "Cem,cem,boss,\n"  # 4
        "Dua,ana,,\n"  # 5
        "Eva,eva,student,many\n"  # 6
        "李小龍,,student,\n"  # 7
        "Fay,fay,student,1,2,3\n"  # 8
    )
    listed = read(text, people)
    told = dict(listed.faults)
    assert sorted(told) == [3, 4, 5, 6, 7, 8]
    assert "'b e n' can't be an ident" in told[3]
    assert "'boss' isn't a role" in told[4]
    assert "stands in line 2 already" in told[5]
    assert "isn't a uid" in told[6]
    assert "can't be an ident" in told[7]
    assert "6 columns" in told[8]
    before = {user.ident for user in people.users()}
    with pytest.raises(BadInput, match=r"Line 3: .* Nothing was changed"):
        carry_out(listed, people)
    assert {user.ident for user in people.users()} == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "The list is empty"),
        ("# nobody\n\n", "The list is empty"),
        ('name,ident\n"Ana,ana\n', "quotation mark"),
        ("name,shoe size\nAna,38", "no column 'shoe size'"),
        ("role,team\nstudent,7b", "A column 'name' or 'ident' is missing"),
        ("name,ident,Ident\nAna,ana,ana", "'ident' is there twice"),
        ("x\n" * 3000, "import them in parts"),
        ("A" * 300, "too long"),
    ],
)
def test_a_list_that_is_none_says_so(text: str, said: str, people: People) -> None:
    listed = read(text, people)
    assert said in listed.faults[0][1]


def test_a_list_is_carried_out_once(people: People) -> None:
    text = "name,ident,role,team,system,uid,password\nAna,ana,,7b,aschmidt,1001,\n"
    text += "Bo,bo,supervisor,,,,correct horse"
    assert carry_out(read(text, people), people) == ["ana", "bo"]
    found = people._settings.folder("users")
    assert {key: found["ana"][key] for key in ("title", "role", "team", "system", "uid")} == {
        "title": "Ana", "role": "student", "team": "7b", "system": "aschmidt", "uid": 1001,
    }  # fmt: skip
    assert people.sign_in("bo", "correct horse").role == "supervisor"
    again = read(text, people)
    assert [row.there for row in again.rows] == [True, True]
    assert carry_out(again, people) == []


def test_no_list_makes_it_stumble(people: People) -> None:
    """Whatever is pasted there: a sentence, never a crash."""
    from random import Random

    random = Random(4)
    letters = 'aä,;\t"\n\r #0\0\u202e名.{}|'
    for _ in range(400):
        text = "".join(random.choice(letters) for _ in range(random.randrange(60)))
        listed = classlist.read(text, people)
        assert listed.rows or listed.faults


def test_rfams_own_lists_put_everybody_into_projects(people: People) -> None:
    """Its rows are name, ident, and as many projects as one likes."""
    listed = read("Ana Schmidt, ana, The Green Door, blue\nBen, ben, blue\nBo, bo, supervisor, GREEN",
                  people, {"green": "The Green Door"})  # fmt: skip
    assert not listed.faults
    assert [row.more["projects"] for row in listed.rows] == [["green", "blue"], ["blue"], ["green"]]
    assert [row.role for row in listed.rows] == ["student", "student", "supervisor"]
    assert listed.projects == {"blue": "blue"}, "only the project that isn't there yet"
    made: list[tuple[str, str]] = []
    carry_out(listed, people, lambda ident, title: made.append((ident, title)))
    assert made == [("blue", "blue")]
    assert people.user("ana").projects == ("green", "blue")


def test_a_column_may_name_projects_and_pins(people: People) -> None:
    text = "name;project;project;pin\nAna;Red Fox|Blue;;4821\nBen;Red Fox;Blue Hour;\nCem;;;\n"
    listed = read(text, people)
    assert not listed.faults
    assert listed.projects == {"red-fox": "Red Fox", "blue": "Blue", "blue-hour": "Blue Hour"}
    carry_out(listed, people)
    assert people.user("ana").projects == ("red-fox", "blue")
    assert (people.user("ana").door, people.user("ben").door) == ("pin", "tap")
    assert people.sign_in("ana", "4821", pin=True).title == "Ana"


@pytest.mark.parametrize(
    "text", ["{0}, {x}", "Ana {}, ana, {nope}", "name,{x}\nAna,1", "name,ident\nAna,{a}"]
)
def test_braces_are_letters_like_others(text: str, people: People) -> None:
    listed = read(text, people)
    assert listed.rows or listed.faults


def test_a_class_of_thirty_is_there_at_once(people: People) -> None:
    text = "\n".join(f"Student {n:02}, s{n:02}, film-{n % 5}" for n in range(30))
    assert len(carry_out(read(text, people), people)) == 30
    assert len([user for user in people.users() if user.projects]) == 30
