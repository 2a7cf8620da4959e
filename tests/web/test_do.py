"""Forms and buttons of pages without scripts: POST /do runs a call of the API and goes back to the page."""

from __future__ import annotations

import json
import re
from urllib.parse import urlencode

import pytest
from house import Browser, House, Reply

from server.web import forms
from server.web.api.shapes import SHAPES
from server.web.requests import Call

KIND = "application/x-www-form-urlencoded"
SH010 = "data::demo/shots/sh010.blend"
PAGE = "/p/demo/asset/shots/sh010.blend"


def send(browser: Browser, call: str, *fields: tuple[str, str], accept: str = "text/html") -> Reply:
    """A form as a browser sends it."""
    pairs = [("csrf", browser.csrf), ("do", call), *fields]
    headers = {"Host": "croft.test", "Referer": f"http://croft.test{PAGE}?frame=2", "Accept": accept}
    csrf, browser.csrf = browser.csrf, ""  # it stands in the form, not in a header
    try:
        return browser.ask("POST", "/do", raw=urlencode(pairs).encode(), kind=KIND, headers=headers)
    finally:
        browser.csrf = csrf


@pytest.fixture
def student(house: House) -> Browser:
    house.asset("demo/shots/sh010.blend", type="shot")
    browser = house.browser()
    assert browser.sign_in("student").status == 200
    return browser


def test_a_form_changes_a_file_and_its_page_says_so_once(house: House, student: Browser) -> None:
    fields = [("description", "Two\r\nfoxes, <b>meet</b>"), ("tags", "night, fox"), ("name", "{{ 7*7 }}")]
    reply = send(student, "PATCH /api/assets/data::demo/shots/sh010.blend", *fields)
    assert (reply.status, reply.headers["location"]) == (303, f"{PAGE}?frame=2")
    data = student.get("/api/assets/data::demo/shots/sh010.blend").data
    assert (data["description"], data["tags"]) == ("Two\nfoxes, <b>meet</b>", ["night", "fox"])
    first, second = student.get(PAGE), student.get(PAGE)
    assert b"{{ 7*7 }} is changed." in first.body
    assert first.headers["cache-control"] == "no-store"
    assert b'<div class="toast">' not in second.body


def test_a_button_does_and_takes_back(house: House, student: Browser) -> None:
    job = student.post("/api/jobs", {"file": "data::demo/shots/sh010.blend", "frames": "1-3"}).data["id"]
    send(student, f'PATCH /api/jobs/{job} {{"paused": true}}')
    assert student.get(f"/api/jobs/{job}").data["state"] == "paused"
    send(student, f"DELETE /api/jobs/{job}")
    assert student.get(f"/api/jobs/{job}").data["state"] == "cancelled"


def test_an_undo_of_the_api_stands_on_the_next_page(house: House, student: Browser) -> None:
    send(student, "DELETE /api/assets/data::demo/shots/sh010.blend")
    page = student.get(PAGE).body.decode()
    found = re.search(r'name="do" value="([^"]+)">Undo', page)
    assert found, page[-2000:]
    send(student, found[1].replace("&#34;", '"'))
    assert (house.data / "demo/shots/sh010.blend").exists()


def test_a_render_is_asked_for_and_its_page_opens(student: Browser) -> None:
    fields = [("first", "2"), ("last", "9"), ("step", "3"), ("then", "/p/demo/job/{id}"), ("order", "")]
    reply = send(student, 'POST /api/jobs {"file": "data::demo/shots/sh010.blend"}', *fields)
    ident = reply.headers["location"].removeprefix("/p/demo/job/")
    assert student.get(f"/api/jobs/{ident}").data["frames"] == "2-8x3"


def test_scripts_get_the_apis_own_answer(student: Browser) -> None:
    fields = [("file", "data::demo/shots/sh010.blend"), ("first", "1"), ("then", "/p/demo/job/{id}")]
    reply = send(student, "POST /api/jobs", *fields, accept="application/json")
    assert (reply.status, reply.json["go"]) == (201, f"/p/demo/job/{reply.data['id']}")
    message = reply.message
    assert "toast" not in student.get(f"{PAGE}?part=1").body.decode(), "it is for where one goes on to"
    assert f"<span>{message}</span>" in student.get(reply.json["go"]).body.decode()
    assert f"<span>{message}</span>" not in student.get(reply.json["go"]).body.decode()
    wrong = send(student, "PATCH /api/assets/data::demo/nothing", ("name", "x"), accept="application/json")
    assert (wrong.status, wrong.data) == (404, None)


def test_an_older_version_is_refused_with_who_changed_what(house: House, student: Browser) -> None:
    call = "PATCH /api/assets/data::demo/shots/sh010.blend"
    etag = student.get("/api/assets/data::demo/shots/sh010.blend").data["etag"]
    house.browser("supervisor").patch("/api/assets/data::demo/shots/sh010.blend", {"description": "Theirs."})
    reply = send(student, call, ("etag", etag), ("description", "Mine."), accept="application/json")
    assert reply.status == 412
    assert (reply.data["description"], reply.data["changed_by"]["description"]) == ("Theirs.", "Supervisor")


@pytest.mark.parametrize(
    "call",
    ["", "GET /api/users", "PATCH /p/demo", "PATCH //evil.example/api/x", "POST /api/session",
     "PATCH /api/assets/x {", "PATCH /api/assets/x []", "PUT /api/uploads/x?offset=0", "POST /do",
     "DELETE /api/nothing/at/all"],
)  # fmt: skip
def test_what_is_no_call_of_the_api_is_refused(student: Browser, call: str) -> None:
    reply = send(student, call, accept="application/json")
    assert 400 <= reply.status < 500, reply.body
    assert reply.message


def test_it_goes_nowhere_else(student: Browser) -> None:
    evil = ("https://evil.example/", "//evil.example/", "\\\\evil.example", "/\\evil.example", "/p/\r\nX: y")
    for goal in evil:
        call = 'PATCH /api/assets/data::demo/shots/sh010.blend {"render": true}'
        reply = send(student, call, ("then", goal))
        assert reply.headers["location"] == f"{PAGE}?frame=2"


def test_it_needs_the_pages_own_token_and_somebody_signed_in(house: House, student: Browser) -> None:
    call = 'PATCH /api/assets/data::demo/shots/sh010.blend {"name": "x"}'
    right, student.csrf = student.csrf, "wrong"
    assert send(student, call, accept="application/json").status == 403
    student.csrf = right
    assert send(house.browser(), call, accept="application/json").status == 401
    assert student.get("/api/assets/data::demo/shots/sh010.blend").data["name"] == "sh010"


def test_fields_become_what_the_call_takes() -> None:
    pairs = [
        ("groups", "lab2, night"), ("idle_only", "false"), ("idle_only", "true"), ("slots_most", "3"),
        ("power.shutdown", "false"), ("power.idle_minutes", "12,5"), ("schedule.1.days", ""),
        ("schedule.1.from", "20:00"), ("schedule.1.to", "07:00"), ("schedule.0.days", ""),
        ("schedule.0.days", "sat"), ("schedule.0.days", "sun"), ("schedule.0.from", "09:00"),
        ("schedule.0.to", "18:00"), ("csrf", "x"), ("do", "y"),
    ]  # fmt: skip
    assert forms.body_of(pairs, SHAPES["NodeChange"], SHAPES) == {
        "groups": ["lab2", "night"],
        "idle_only": True,
        "slots_most": 3,
        "power": {"shutdown": False, "idle_minutes": 12.5},
        "schedule": [{"days": ["sat", "sun"], "from": "09:00", "to": "18:00"}],
    }
    written = [("parameters.columns:json", "3"), ("parameters.scene:text", ""), ("parameters.note", "{}")]
    assert forms.body_of(written, {}, {}) == {"parameters": {"columns": 3, "scene": None, "note": "{}"}}
    assert forms.body_of([("owner", "")], SHAPES["AssetChange"], SHAPES, sparse=False) == {"owner": None}


def test_a_form_of_ten_thousand_characters_is_taken(student: Browser) -> None:
    text = "é" * 10_000
    send(student, "PATCH /api/assets/data::demo/shots/sh010.blend", ("description", text))
    assert student.get("/api/assets/data::demo/shots/sh010.blend").data["description"] == text


def test_the_page_that_asks_for_a_render_says_what_is_wrong_before(student: Browser) -> None:
    page = "/p/demo/render/shots/sh010.blend?type=blender-tiles"
    wrong = student.get(f"{page}&frames=1&parameters.columns%3Ajson=99").body.decode()
    assert "columns must be at most 16, not 99." in wrong
    assert "notice bad" not in student.get(f"{page}&frames=7&parameters.columns%3Ajson=3").body.decode()
    assert "7 frames." in student.get("/p/demo/render/shots/sh010.blend?frames=1-7").body.decode()


def test_a_render_may_begin_later_and_after_others(student: Browser) -> None:
    first = student.post(
        "/api/jobs", {"file": SH010, "frames": "1-4", "start_after": "2030-01-01T00:00"}
    ).data
    page = student.get("/p/demo/render/shots/sh010.blend").body.decode().replace("&#34;", '"')
    wait = json.dumps([{"job": first["id"], "by": "frame"}])
    assert f'<option value="{wait}">' in page
    fields = [("file", SH010), ("frames", "1-4"), ("then", "/p/demo/job/{id}"), ("after:json", wait),
              ("start_after", "2031-05-01T20:00"), ("nodes_most", "2"), ("groups", "")]  # fmt: skip
    ident = send(student, "POST /api/jobs", *fields).headers["location"].rpartition("/")[2]
    told = student.get(f"/api/jobs/{ident}").data
    assert told["after"] == [{"job": first["id"], "by": "frame"}]
    assert (told["start_after"], told["nodes_most"], told["groups"]) == ("2031-05-01T20:00:00Z", 2, [])
    plain = send(student, "POST /api/jobs", *fields[:3], ("after:json", "null"), ("start_after", ""))
    told = student.get(f"/api/jobs/{plain.headers['location'].rpartition('/')[2]}").data
    assert (told["after"], told["start_after"]) == ([], None)


def test_a_form_with_far_too_many_fields_is_refused() -> None:
    environ = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": KIND, "CONTENT_LENGTH": "9000", "wsgi.input": None}
    call = Call(environ)
    with pytest.raises(forms.BadInput):
        forms.pairs_of("&".join("a=1" for _ in range(3000)))
    assert call.content_type == KIND
