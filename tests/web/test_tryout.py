"""Each call of the API can be tried from its page, without scripts, by whoever is signed in."""

from __future__ import annotations

import html
import json
from typing import Any
from urllib.parse import quote, urlencode

from house import Browser, House

from server.web import tryout

PATH = "/api/docs/try"


def signed_in(house: House, user: str) -> Browser:
    browser = Browser(house.croft.wsgi)
    browser.sign_in(user)
    return browser


def sent(browser: Browser, **fields: str) -> tuple[int, str]:
    """The form as a browser sends it, without scripts."""
    form = {key.replace("__", "."): value for key, value in fields.items()}
    kind = "application/x-www-form-urlencoded"
    csrf, browser.csrf = browser.csrf, ""
    reply = browser.ask("POST", PATH, raw=urlencode({"csrf": csrf, "run": "1", **form}).encode(), kind=kind)
    browser.csrf = csrf
    return reply.status, html.unescape(reply.body.decode())


def test_every_call_has_its_page(house: House) -> None:
    browser = house.browser()
    docs = browser.get("/api/docs").body.decode()
    for route in house.croft.wsgi.table.routes:
        name = f"{route.method} {route.path}"
        assert f"{PATH}?call={quote(name)}" in docs, name
        reply = browser.get(f"{PATH}?call={quote(name)}")
        assert reply.status == 200, name
        page = reply.body.decode()
        assert "<script" not in page
        assert ('name="run"' in page) == tryout.tryable(route), name
        assert "curl" in page
    assert browser.get(f"{PATH}?call=GET%20/api/nothing").status == 404
    assert browser.get(PATH).status == 404
    assert browser.ask("PUT", PATH, {}).status in (404, 405)


def test_a_call_that_looks_is_asked_and_answered(house: House) -> None:
    address, browser = house.scene(), signed_in(house, "student")
    house.browser("admin").patch(f"/api/assets/{address}", {"description": "<b>&{0}"})
    asked = urlencode({"call": "GET /api/assets", "run": "1", "q.q": "sh010", "q.limit": "5", "q.type": ""})
    page = browser.get(f"{PATH}?{asked}").body.decode()
    assert "200 OK" in page
    assert "&lt;b&gt;&amp;{0}" in page
    assert "<b>&" not in page
    assert "q=sh010&amp;limit=5" in page
    one = urlencode({"call": "GET /api/assets/{address}", "run": "1", "p.address": address})
    assert address in browser.get(f"{PATH}?{one}").body.decode()
    lacking = urlencode({"call": "GET /api/assets/{address}", "run": "1"})
    assert "address is needed" in browser.get(f"{PATH}?{lacking}").body.decode()
    assert "401" in house.browser().get(f"{PATH}?{asked}").body.decode()


def test_a_call_that_changes_is_done_with_the_persons_rights(house: House) -> None:
    address, browser = house.scene(), signed_in(house, "student")
    body = json.dumps({"params": {"scene_file": address, "frange": "1-3"}})
    status, page = sent(browser, call="POST /api/new_job", body=body)
    assert (status, "201 Created" in page) == (200, True)
    [job] = browser.get("/api/jobs").data
    assert job["id"] in page
    # Refused as the API refuses it
    wrong = body.replace("frange", "franje")
    assert "did you mean frange?" in sent(browser, call="POST /api/new_job", body=wrong)[1]
    assert "isn't JSON" in sent(browser, call="POST /api/new_job", body="{")[1]
    assert "in braces" in sent(browser, call="POST /api/new_job", body="[]")[1]
    assert "403" in sent(browser, call="POST /api/farm/pause")[1]
    # Never from another site's page, nor by an address alone
    foreign: dict[str, Any] = {
        "raw": b"call=POST+/api/new_job&run=1",
        "kind": "application/x-www-form-urlencoded",
    }
    assert browser.ask("POST", PATH, headers={"X-Croft-CSRF": "no"}, **foreign).status == 403
    by_address = urlencode({"call": "DELETE /api/jobs/{id}", "run": "1", "p.id": job["id"]})
    assert browser.get(f"{PATH}?{by_address}").status == 403
    assert browser.get(f"/api/jobs/{job['id']}").data["state"] == "waiting"
    assert Browser(house.croft.wsgi).ask("POST", PATH, raw=b"call=POST+/api/new_job").status == 401
    assert "200 OK" in sent(browser, call="DELETE /api/jobs/{id}", p__id=job["id"])[1]
    assert browser.get(f"/api/jobs/{job['id']}").data["state"] == "cancelled"


def test_the_line_for_a_terminal_says_the_same(house: House) -> None:
    browser = signed_in(house, "student")
    call = urlencode({"call": "GET /api/jobs", "q.state": "it's; done"})
    page = html.unescape(browser.get(f"{PATH}?{call}").body.decode())
    line = "curl -H 'Authorization: Bearer '$TOKEN 'http://nas/api/jobs?state=it%27s%3B+done'"
    assert line in page
