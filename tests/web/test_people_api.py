"""People through the API and the sign-in page: who may do what, and every door."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from house import QUICK, Browser, House, Reply

from server.web import api
from server.web.app import build
from server.web.requests import TooMany
from server.web.session.attempts import COUNTED, DAY_S, WINDOW_S, Attempts
from server.web.session.ended import FILE, Ended

USERS = {"student": "student", "supervisor": "supervisor", "admin": "admin"}
FORM = "application/x-www-form-urlencoded"
OPEN = {("POST", "/api/session"), ("DELETE", "/api/session")}  # doors: signing in and out is no change
PLACES = {
    "address": "data::demo/shots/a.blend", "n": "0", "id": "x", "name": "x", "user": "gast",
    "project": "demo", "code": "x", "token": "x", "step": "people", "version": "v001",
    "kind": "users", "picture": "x.jpg",
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("people")
    (folder / "config").mkdir()
    (folder / "config/server.json").write_text(QUICK)
    croft = build(folder / "config", folder / "data")
    yield House(croft, folder / "config", folder / "data")
    croft.close()


@pytest.fixture
def house(shared: House) -> House:
    """The shared Croft with the people and the settings of its first day."""
    services = shared.croft.services
    services.settings.change(event_code="", student_pins=False, session_hours=720.0)
    for ident in services.settings.folder("users").keys() - USERS.keys():
        services.settings.remove("users", ident)
    for ident, role in USERS.items():
        services.settings.write("users", ident, {"title": ident.capitalize(), "role": role})
    services.sessions._attempts._failed.clear()
    return shared


def form(browser: Browser, path: str = "/sign-in", **fields: str) -> Reply:
    raw = "&".join(f"{name}={quote(value)}" for name, value in fields.items()).encode()
    return browser.ask("POST", path, raw=raw, kind=FORM)


def error_of(reply: Reply) -> str:
    assert reply.status == 303
    return parse_qs(urlsplit(reply.headers["location"]).query).get("error", [""])[0]


# Guests


def test_every_route_that_changes_something_refuses_a_guest(house: House) -> None:
    """Looks, changes nothing: whatever the body, whatever is named, by cookie and by token."""
    house.asset("demo/shots/a.blend")
    house.croft.services.people.add("gast", "guest")
    by_tap = house.browser()
    assert by_tap.sign_in("gast").status == 200
    asked = 0
    for route in api.ROUTES:
        if route.method == "GET" or (route.method, route.path) in OPEN:
            continue
        path = re.sub(r"\{(\w+)\}", lambda found: PLACES.get(found[1], "x"), route.path)
        for browser in (by_tap, house.browser("gast")):
            reply = browser.ask(route.method, path, {} if route.body else None)
            assert reply.status == 403, f"{route.method} {route.path}: {reply.status} {reply.body[:200]!r}"
        asked += 1
    assert asked > 40
    before = (house.config / "users/gast.json").read_bytes()
    form(by_tap, "/language", csrf=by_tap.csrf, language="fr")  # is kept in the browser alone
    assert (house.config / "users/gast.json").read_bytes() == before
    for path in ("/", "/p/demo/home", "/p/demo/assets", "/p/demo/asset/shots/a.blend", "/me", "/rendering"):
        assert by_tap.get(path).status == 200, path


def test_a_role_that_nobody_knows_is_a_guests(house: House) -> None:
    (house.config / "users/odd.json").write_text('{"role": "wizard", "projects": "x", "title": 7}')
    house.until(lambda: house.croft.services.people.known("odd"))
    browser = house.browser("odd")
    assert browser.get("/api/session").data["user"]["role"] == "guest"
    assert browser.post("/api/farm/pause").status == 403


# Looking after people


def test_an_admin_adds_edits_removes_and_brings_back(house: House) -> None:
    admin = house.browser("admin")
    reply = admin.post("/api/users", {"title": "Ana Müller", "projects": ["demo"]})
    assert (reply.status, reply.data["id"], reply.data["door"]) == (201, "ana.mueller", "tap")
    again = admin.post("/api/users", {"title": "Ana Müller"})
    assert again.data["id"] == "ana.mueller.2"
    assert admin.post("/api/users", {"title": "Ana", "id": "ana.mueller"}).status == 409
    path = "/api/users/ana.mueller"
    changed = admin.patch(path, {"title": "Ana M."}, headers={"If-Match": f'"{reply.data["etag"]}"'})
    assert (changed.status, changed.data["title"]) == (200, "Ana M.")
    stale = admin.patch(path, {"title": "X"}, headers={"If-Match": f'"{reply.data["etag"]}"'})
    assert (stale.status, stale.data["title"]) == (412, "Ana M.")
    undo = changed.data["undo"]
    assert admin.ask(undo["method"], undo["path"], undo["body"]).data["title"] == "Ana Müller"
    gone = admin.ask("DELETE", path)
    assert gone.status == 200
    assert admin.get(path).status == 404
    back = gone.data["undo"]
    assert admin.ask(back["method"], back["path"], back["body"]).data["title"] == "Ana Müller"
    listed = {user["id"] for user in admin.get("/api/users").data}
    assert {"ana.mueller", "ana.mueller.2", "admin"} <= listed
    assert admin.patch(path, {"disabled": True}).status == 200
    assert "ana.mueller" not in {user["id"] for user in admin.get("/api/users").data}
    assert "ana.mueller" in {user["id"] for user in admin.get("/api/users?all=true").data}
    assert house.browser().sign_in("ana.mueller").status == 401


def test_what_else_stands_in_a_users_file_stays(house: House) -> None:
    path = house.config / "users/ana.json"
    path.write_text('{"shoe": 38, "name": "Ana", "language": "french", "_note": "left-handed"}')
    house.until(lambda: house.croft.services.people.known("ana"))
    admin = house.browser("admin")
    found = admin.get("/api/users/ana").data
    assert (found["title"], found["language"], found["role"]) == ("Ana", "fr", "student")
    assert admin.patch("/api/users/ana", {"email": "ana@example.org"}).status == 200
    kept = json.loads(path.read_text())
    assert (kept["shoe"], kept["_note"], kept["email"]) == (38, "left-handed", "ana@example.org")


def test_who_may_change_what_of_whom(house: House) -> None:
    people = house.croft.services.people
    people.add("ana", "student")
    people.add("bo", "supervisor", password="correct horse")
    cases = [
        ("ana", "ana", {"language": "fr"}, 200), ("ana", "ana", {"credit": False}, 200),
        ("ana", "ana", {"role": "admin"}, 403), ("ana", "ana", {"title": "Queen"}, 403),
        ("ana", "student", {"language": "fr"}, 403), ("bo", "ana", {"projects": ["demo"]}, 200),
        ("bo", "ana", {"role": "supervisor"}, 403), ("bo", "admin", {"email": "x"}, 403),
        ("bo", "bo", {"role": "admin"}, 403), ("admin", "bo", {"role": "student"}, 200),
        ("admin", "ana", {"uid": 1001, "system": "aschmidt"}, 200), ("admin", "ana", {"password": "x"}, 400),
        ("admin", "ana", {"ident": "x"}, 400),
    ]  # fmt: skip
    for who, whose, fields, status in cases:
        assert house.browser(who).patch(f"/api/users/{whose}", fields).status == status, (who, whose, fields)
    for method, path in (("POST", "/api/users"), ("DELETE", "/api/users/student")):
        assert house.browser("bo").ask(method, path, {"title": "X"}).status == 403
    assert "email" not in house.browser("student").get("/api/users/ana").data, "nobody else's affair"
    assert "email" in house.browser("ana").get("/api/users/ana").data


def test_somebody_can_always_configure_croft(house: House) -> None:
    people = house.croft.services.people
    people.set_password("admin", "correct horse")
    admin = house.browser("admin")
    for fields in ({"disabled": True}, {"role": "student"}):
        reply = admin.patch("/api/users/admin", fields)
        assert reply.status == 409
        assert "only admin" in reply.message
    assert admin.ask("DELETE", "/api/users/admin").status == 409
    people.add("bo", "admin", password="correct horse")
    assert admin.ask("DELETE", "/api/users/admin").status == 200


NAMES = [
    "<script>alert(1)</script>", 'O"Neil & \'sons\'', "{{ 7*7 }} {x} {} %s", "\u200fעדה לובלייס", "名前",
    "é" * 200,
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_name_survives_everywhere(house: House, name: str) -> None:
    admin = house.browser("admin")
    made = admin.post("/api/users", {"title": name, "id": "odd", "team": name[:100]})
    assert made.status == 201, made.body
    assert made.data["title"] == name
    house.croft.services.people.set_pin("odd", "4821")
    for path in ("/admin/users", "/admin/users/odd", "/sign-in", "/sign-in?user=odd"):
        text = (house.browser() if path.startswith("/sign") else admin).get(path).body.decode()
        assert "<script>alert" not in text
        assert ">49<" not in text
    assert (
        admin.patch("/api/users/odd", {"title": name + "!"} if len(name) < 200 else {"email": "x"}).status
        == 200
    )
    assert admin.ask("DELETE", "/api/users/odd").status == 200
    assert admin.post("/api/users", {"title": "é" * 10_000}).status == 400
    assert admin.post("/api/users", {"title": "a\0b"}).status == 400


# Doors


def test_a_pin_is_asked_for_after_the_face(house: House) -> None:
    people = house.croft.services.people
    people.add("ana", title="Ana", projects=["demo"])
    assert house.browser("supervisor").ask("PUT", "/api/users/ana/pin", {"pin": "4821"}).status == 200
    stored = json.loads((house.config / "users/ana.json").read_text())
    assert stored["pin"].startswith("scrypt$")
    browser = house.browser()
    teams = browser.get("/sign-in").body.decode()
    assert 'href="/sign-in?team=demo' in teams
    faces = browser.get("/sign-in?team=demo").body.decode()
    assert 'href="/sign-in?user=ana&amp;team=demo&amp;next=/p/demo/home"' in faces
    assert 'name="pin"' in browser.get("/sign-in?user=ana&team=demo").body.decode()
    assert error_of(form(browser, user="ana", team="demo")) == "pin", "a tap alone opens nothing"
    assert error_of(form(browser, user="ana", pin="1111")) == "pin-wrong"
    assert browser.get("/api/projects").status == 401
    into = form(browser, user="ana", pin="4821", next="/p/demo/home")
    assert (into.status, into.headers["location"]) == (303, "/p/demo/home")
    assert browser.get("/api/session").data["user"]["id"] == "ana"
    assert house.browser("supervisor").ask("DELETE", "/api/users/ana/pin").data["door"] == "tap"
    assert browser.get("/api/projects").status == 401, "the session ended with the PIN"


@pytest.mark.parametrize("pin", ["123", "123456789", "abcd", "", "1111", "1234", "٤٨٢١"])
def test_what_is_no_pin(house: House, pin: str) -> None:
    reply = house.browser("admin").ask("PUT", "/api/users/student/pin", {"pin": pin})
    assert reply.status == 400
    assert house.croft.services.people.user("student").door == "tap"


def test_staff_never_sign_in_by_a_pin(house: House) -> None:
    people = house.croft.services.people
    assert house.browser("admin").ask("PUT", "/api/users/supervisor/pin", {"pin": "4821"}).status == 400
    people.set_pin("student", "4821")
    people.change("student", {"role": "supervisor"})
    assert people.user("student").door == "closed"
    assert house.browser().sign_in("student", pin="4821").status == 401


def test_each_student_chooses_a_pin_where_they_are_wanted(house: House) -> None:
    house.croft.services.settings.change(student_pins=True)
    house.croft.services.people.add("gast", "guest")
    browser = house.browser()
    assert error_of(form(browser, user="student")) == "choose"
    assert 'name="new_pin"' in browser.get("/sign-in?user=student").body.decode()
    assert error_of(form(browser, user="student", new_pin="4821", again="4822")) == "differ"
    assert error_of(form(browser, user="student", new_pin="1111", again="1111")) == "pin-form"
    assert form(browser, user="student", new_pin="4821", again="4821").headers["location"] == "/"
    assert browser.get("/api/session").data["user"]["id"] == "student"
    assert house.browser().sign_in("student", new_pin="9317").status == 401, "it is chosen once"
    assert house.browser().sign_in("student", pin="4821").status == 200
    assert house.browser().sign_in("gast").status == 200, "who changes nothing needs none"


def test_pins_cant_be_guessed(house: House) -> None:
    house.croft.services.people.set_pin("student", "4821")
    browser = house.browser()
    statuses = [browser.sign_in("student", pin=str(4000 + n)).status for n in range(9)]
    assert statuses[:8] == [401] * 8
    assert statuses[8] == 429
    assert browser.sign_in("student", pin="4821").status == 429, "the right one, too"
    assert error_of(form(browser, user="student", pin="4821")) == "wait"
    assert house.browser("supervisor").ask("PUT", "/api/users/student/pin", {"pin": "7306"}).status == 200
    assert browser.sign_in("student", pin="7306").status == 200, "whoever got another one may try it at once"


def test_a_day_of_guessing_isnt_enough() -> None:
    now = [0.0]
    attempts = Attempts(clock=lambda: now[0])
    for _ in range(30):
        now[0] += WINDOW_S  # patiently: never too many in the short window
        attempts.check("pin ana", 8)
        attempts.failed("pin ana")
    with pytest.raises(TooMany, match="today"):
        attempts.check("pin ana", 30, DAY_S)
    now[0] += DAY_S
    attempts.check("pin ana", 30, DAY_S)
    for _ in range(COUNTED * 2):
        attempts.failed("user ben at 10.0.0.1")
    attempts.forget_about("ben")
    attempts.check("user ben at 10.0.0.1", 1)


def test_a_patient_guesser_waits_until_tomorrow(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.croft.services.people.set_pin("student", "4821")
    attempts = house.croft.services.sessions._attempts
    monkeypatch.setattr(attempts, "_clock", lambda: 1000.0)
    for _ in range(30):
        attempts.failed("pin student at 127.0.0.1")
    monkeypatch.setattr(attempts, "_clock", lambda: 1000.0 + 2 * WINDOW_S)
    assert house.browser().sign_in("student", pin="4821").status == 429
    elsewhere = house.browser()
    elsewhere.address = "10.0.0.9"
    assert elsewhere.sign_in("student", pin="4821").status == 200, "a prankster keeps nobody out elsewhere"


def test_the_events_code_comes_first_once_a_browser(house: House) -> None:
    house.croft.services.settings.change(event_code="Red Fox 7")
    house.croft.services.people.set_password("admin", "correct horse")
    browser = house.browser()
    page = browser.get("/sign-in").body.decode()
    assert 'name="event"' in page
    for name in ("Student", "Admin", "Supervisor"):
        assert name not in page, "no name before the code"
    assert error_of(form(browser, user="student")) == "event"
    assert browser.sign_in("student").status == 401
    assert browser.sign_in("admin", password="correct horse").status == 401, "staff, too"
    assert error_of(form(browser, event="red ox")) == "event-wrong"
    given = form(browser, event=" red-fox 7 ", next="/p/demo/assets")
    assert (given.status, given.headers["location"]) == (303, "/sign-in?next=%2Fp%2Fdemo%2Fassets")
    assert "Student" in browser.get("/sign-in").body.decode()
    assert browser.sign_in("student").status == 200
    browser.ask("DELETE", "/api/session")
    assert "Student" in browser.get("/sign-in").body.decode(), "once is enough"
    house.croft.services.settings.change(event_code="Blue Fox 8")
    assert "Student" not in browser.get("/sign-in").body.decode(), "another code is asked for again"
    assert house.browser().sign_in("student", event="BLUE FOX 8").status == 200, "programs give it along"
    assert house.browser("student").get("/api/projects").status == 200, "tokens need none"


def test_the_events_code_cant_be_guessed(house: House) -> None:
    house.croft.services.settings.change(event_code="Red Fox 7")
    browser = house.browser()
    errors = [error_of(form(browser, event=f"fox {n}")) for n in range(21)]
    assert errors == ["event-wrong"] * 20 + ["wait"]


# Sessions end


def test_who_signed_out_is_out_with_every_copy_of_the_cookie(house: House) -> None:
    browser, thief = house.browser(), house.browser()
    browser.sign_in("student")
    thief.cookies = dict(browser.cookies)
    assert thief.get("/api/projects").status == 200
    assert form(browser, "/sign-out", csrf=browser.csrf).headers["location"] == "/sign-in"
    assert thief.get("/api/projects").status == 401
    assert browser.sign_in("student").status == 200
    assert (house.config / FILE).stat().st_mode & 0o077 == 0


def test_another_process_knows_what_ended_and_forgets_it_in_time(house: House) -> None:
    now = [1000.0]
    one, other = Ended(house.config), Ended(house.config)
    one.add("abc", 2000)
    assert other.has("abc")
    assert not other.has("abd")
    Ended(house.config, clock=lambda: now[0])
    assert "abc" in (house.config / FILE).read_text()
    now[0] = 3000
    Ended(house.config, clock=lambda: now[0])
    assert "abc" not in (house.config / FILE).read_text()


def test_a_full_disk_keeps_nobody_signed_in(tmp_path: Path) -> None:
    ended = Ended(tmp_path / "gone")
    ended.add("abc", 2000)
    assert ended.has("abc")


def test_a_session_ends_with_its_time_its_user_and_at_a_word(house: House) -> None:
    people = house.croft.services.people
    people.add("ana")
    here, there = house.browser(), house.browser()
    for browser in (here, there):
        assert browser.sign_in("ana").status == 200
    assert here.ask("DELETE", "/api/users/ana/sessions").status == 200
    assert (here.get("/api/projects").status, there.get("/api/projects").status) == (200, 401)
    assert house.browser("admin").ask("DELETE", "/api/users/ana/sessions").status == 200
    assert here.get("/api/projects").status == 401
    assert here.sign_in("ana").status == 200
    people.add("eva")
    assert there.sign_in("eva").status == 200
    people.remove("eva")
    people.add("eva", title="Another Eva")
    assert there.get("/api/projects").status == 401, "who is called so later is somebody else"
    assert here.sign_in("ana").status == 200
    house.croft.services.settings.change(session_hours=0.01)
    assert "Max-Age=36;" in house.browser().sign_in("ana").cookies[0]


def test_pages_of_people_are_for_those_who_look_after_them(house: House) -> None:
    house.croft.services.people.add("gast", "guest")
    for who, status in (("gast", 403), ("student", 403), ("supervisor", 200), ("admin", 200)):
        assert house.browser(who).get("/admin/users").status == status
        assert house.browser(who).get("/admin/users/student").status == status
        assert house.browser(who).get("/me").status == 200
    assert "Forget" not in house.browser("supervisor").get("/admin/users/student").body.decode()
    assert "Forget" in house.browser("admin").get("/admin/users/student").body.decode()
    assert house.browser("admin").get("/admin/users/nobody").status == 404
