"""Users, passwords and tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from server.disk.errors import BadInput, Conflict, Forbidden, NotFound, NotSignedIn
from server.disk.settings import Settings
from server.library import people as rooms
from server.library.people import GUEST, People, hash_password, require, verify_password


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def people(tmp_path: Path, clock: Clock) -> People:
    return People(Settings(tmp_path / "config"), clock)


def test_the_embedded_users_have_roles_and_no_passwords(people: People) -> None:
    assert {user.ident: user.role for user in people.users()} == {
        "student": "student", "supervisor": "supervisor", "admin": "admin"
    }  # fmt: skip
    for user in people.users():
        assert not user.has_password
        for guess in ("", user.ident, "password"):
            with pytest.raises(NotSignedIn):
                people.sign_in(user.ident, guess)


def test_a_password_signs_in_and_only_its_hash_is_kept(people: People, tmp_path: Path) -> None:
    people.add("ana", title="Ana", password="correct horse")
    assert people.sign_in(" ANA ", "correct horse").title == "Ana"
    with pytest.raises(NotSignedIn):
        people.sign_in("ana", "correct horsf")
    stored = (tmp_path / "config/users/ana.json").read_text()
    assert "correct" not in stored
    people.set_password("ana", "another")
    assert people.sign_in("ana", "another").has_password
    with pytest.raises(NotSignedIn):
        people.sign_in("ana", "correct horse")
    with pytest.raises(NotSignedIn):
        people.sign_in("nobody", "another")


def test_what_cannot_be_a_user(people: People) -> None:
    for ident in ("", "../x", "Ana", "a b", "x" * 65):
        with pytest.raises(BadInput):
            people.add(ident)
    with pytest.raises(BadInput):
        people.add("ben", role="owner")
    with pytest.raises(BadInput):
        people.add("ben", password="x" * 2000)
    with pytest.raises(Conflict):
        people.add("student")
    with pytest.raises(NotFound):
        people.user("ben")


def test_a_token_opens_until_it_is_revoked(people: People, tmp_path: Path) -> None:
    text = people.make_token(user="student")
    token = people.check_token(text)
    assert (token.user, token.node) == ("student", "")
    assert people.check_token(text) == token
    ident = text.partition(".")[0]
    assert text.partition(".")[2] not in (tmp_path / f"config/tokens/{ident}.json").read_text()
    for wrong in (text + "x", text[:-1], ident, ident + ".", ident + ".é", "zz." + text, "", "."):
        with pytest.raises(NotSignedIn):
            people.check_token(wrong)
    assert [one["id"] for one in people.tokens()] == [ident]
    assert "hash" not in people.tokens()[0]
    people.revoke(ident)
    with pytest.raises(NotSignedIn):
        people.check_token(text)
    with pytest.raises(NotFound):
        people.revoke(ident)


def test_a_token_expires_and_goes_with_its_user(people: People, clock: Clock) -> None:
    people.add("ana")
    brief = people.make_token(user="ana", lasts_s=60)
    lasting = people.make_token(user="ana")
    assert people.check_token(brief).user == "ana"
    clock.now += 61
    with pytest.raises(NotSignedIn):
        people.check_token(brief)
    people._settings.write("users", "ana", {"role": "student", "disabled": True})
    with pytest.raises(NotSignedIn):
        people.check_token(lasting)


def test_a_node_s_token_is_bound_to_its_name(people: People) -> None:
    one = people.check_token(people.make_token(node="box-1"))
    assert one.allows_node("box-1")
    assert not one.allows_node("box-2")
    group = people.check_token(people.make_token(node="*"))
    assert group.allows_node("anything")
    assert not people.check_token(people.make_token(user="student")).allows_node("box-1")
    for bad in ({}, {"user": "student", "node": "x"}, {"node": "a/b"}, {"user": "student", "scope": "root"}):
        with pytest.raises(BadInput):
            people.make_token(**bad)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        people.make_token(user="nobody")


def test_a_token_made_by_another_process_is_known_at_once(tmp_path: Path) -> None:
    """Given a server that has just looked, when `run.py token` writes one, then it opens."""
    serving = People(Settings(tmp_path / "config"))
    assert serving.tokens() == []
    text = People(Settings(tmp_path / "config")).make_token(user="admin")
    assert serving.check_token(text).user == "admin"


def test_roles_stand_on_each_other(people: People) -> None:
    require(people.user("admin"), "student")
    require(people.user("student"), "student")
    with pytest.raises(Forbidden):
        require(people.user("student"), "supervisor")
    with pytest.raises(NotSignedIn):
        require(GUEST, "student")


@hypothesis_settings(max_examples=15, deadline=None)
@given(password=st.text(min_size=1, max_size=40), other=st.text(min_size=1, max_size=40))
def test_only_the_password_verifies(password: str, other: str) -> None:
    stored = hash_password(password)
    assert verify_password(password, stored)
    assert verify_password(other, stored) == (other == password)


def test_a_spoilt_or_hostile_hash_verifies_nothing() -> None:
    for stored in ("", "x", "scrypt$1$1$1$$", "scrypt$99999999$8$1$AA==$AA==", "scrypt$a$8$1$AA==$AA==",
                   "scrypt$16384$8$1$!!$AA==", rooms.NOBODY):  # fmt: skip
        assert not verify_password("x", stored)
