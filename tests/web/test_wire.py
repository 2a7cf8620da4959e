"""`/farm` and `/potential` over WSGI: who may talk, and what a body may be."""

from __future__ import annotations

import json

import pytest
from house import Browser, House


@pytest.fixture
def token(house: House) -> str:
    return house.croft.services.people.make_token(node="*")


@pytest.mark.parametrize(
    ("raw", "status", "words"),
    [
        (b"{", 400, "JSON"),
        (b"", 400, "JSON"),
        (b"\xff\xfe", 400, "JSON"),
        (b"{}", 400, "list of requests"),
        (b"[" * 5000, 400, "JSON"),
        (b"[]", 400, "who it is"),
        (b'[{"id":"task"}]', 400, "who it is"),
        (b'[{"id":"identity","name":""}]', 400, "name"),
        (b'[{"id":"identity","name":7}]', 400, "who it is"),
    ],
)
def test_bodies_that_are_no_message(house: House, token: str, raw: bytes, status: int, words: str) -> None:
    reply = Browser(house.croft.wsgi, token).ask("POST", "/farm", raw=raw)
    assert (reply.status, words in reply.message) == (status, True), reply.body


def test_a_body_beyond_the_limit_is_refused_before_it_is_read(house: House, token: str) -> None:
    headers = {"Content-Length": str(1 << 30)}
    reply = Browser(house.croft.wsgi, token).ask("POST", "/farm", raw=b"[]", headers=headers)
    assert reply.status == 413


def test_who_may_talk(house: House, token: str) -> None:
    browser = Browser(house.croft.wsgi, token)
    hello = [{"id": "identity", "name": "n1"}]
    assert browser.post("/farm", hello).json == []
    assert browser.ask("GET", "/farm").status == 405
    assert Browser(house.croft.wsgi).post("/farm", hello).status == 401
    assert Browser(house.croft.wsgi, "x.y").post("/farm", hello).status == 401
    people = house.croft.services.people
    person = people.make_token(user="student")
    assert Browser(house.croft.wsgi, person).post("/farm", hello).status == 403
    bound = people.make_token(node="n2")
    reply = Browser(house.croft.wsgi, bound).post("/farm", hello)
    assert (reply.status, "n2" in reply.message) == (403, True)
    people.revoke(token.partition(".")[0])
    assert browser.post("/farm", hello).status == 401


def test_a_token_in_the_path_opens_the_wire_alone(house: House, token: str) -> None:
    browser = Browser(house.croft.wsgi)
    info = browser.post(f"/t/{token}/farm", [{"id": "identity", "name": "old"}, {"id": "info"}]).json
    assert info[0]["id"] == "info"
    assert browser.ask("POST", f"/t/{token}/potential", raw=json.dumps("slurm").encode()).json == []
    assert browser.ask("POST", f"/t/{token}/potential", raw=b"7").status == 400
    assert browser.post(f"/t/{token}/api/jobs", {}).status == 404
    assert browser.post("/t/", []).status == 401
