"""Tokens of one's own programs, on a page: shown once, for what was chosen, until revoked or over."""

from __future__ import annotations

import re

from house import Browser, House, Reply


def send(browser: Browser, **fields: str) -> Reply:
    body = "&".join(f"{name}={value}" for name, value in {"csrf": browser.csrf, **fields}.items())
    kind = "application/x-www-form-urlencoded"
    return browser.ask("POST", "/me/tokens", raw=body.encode(), kind=kind)


def test_a_token_is_made_used_and_revoked(house: House) -> None:
    browser = Browser(house.croft.wsgi)
    browser.sign_in("student")
    reply = send(browser, title="my+script%3Cb%3E", scope="read", days="7")
    assert reply.status == 200, reply.body
    assert reply.headers["cache-control"] == "no-store"
    found = re.search(r'readonly value="([0-9a-f]{12}\.[\w-]+)"', reply.body.decode())
    assert found
    assert b"my script&lt;b&gt;" in reply.body
    program = Browser(house.croft.wsgi, found[1])
    assert program.get("/api/jobs").status == 200
    assert program.post("/api/new_job", {"params": {"scene_file": "x"}}).status == 403, "it may only look"
    page = browser.get("/me/tokens").body.decode()
    assert found[1] not in page, "it was shown once"
    ident = found[1].partition(".")[0]
    (token,) = [one for one in house.croft.services.people.tokens() if one["id"] == ident]
    assert (token["title"], token["scope"], bool(token["expires"])) == ("my script<b>", "read", True)
    other = Browser(house.croft.wsgi)
    house.croft.services.people.add("ana")
    other.sign_in("ana")
    assert send(other, revoke=ident).status == 404, "it isn't hers"
    assert send(browser, revoke=ident).status == 200
    assert program.get("/api/jobs").status == 401


def test_what_makes_no_token(house: House) -> None:
    browser = Browser(house.croft.wsgi)
    browser.sign_in("student")
    for wrong in (
        {"title": "", "scope": "all", "days": "7"},
        {"title": "a" * 101, "scope": "all", "days": "7"},
        {"title": "a", "scope": "everything", "days": "7"},
        {"title": "a", "scope": "all", "days": "100000"},
    ):
        assert send(browser, **wrong).status == 400, wrong
    assert house.browser("student").ask("POST", "/me/tokens", raw=b"title=a&scope=all&days=7",
                                        kind="application/x-www-form-urlencoded").status == 403  # fmt: skip
    csrf, browser.csrf = browser.csrf, "wrong"
    assert send(browser, title="a", scope="all", days="7").status == 403
    browser.csrf = csrf
    assert not [t for t in house.croft.services.people.tokens() if t["title"]]
