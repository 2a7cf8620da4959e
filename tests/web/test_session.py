"""Signing in and out, tokens, CSRF: who may change something, and who may not."""

from __future__ import annotations

import stat

import pytest
from house import Browser, House

from server.web.requests import TooMany
from server.web.session import CODE_FILE, TRIES_OF_A_USER, TRIES_WINDOW_S, Attempts


def test_a_student_signs_in_by_a_tap_and_out_again(house: House) -> None:
    browser = house.browser()
    reply = browser.sign_in("student")
    assert reply.status == 200
    assert reply.data["user"]["id"] == "student"
    assert "HttpOnly" in reply.cookies[0]
    assert "SameSite=Lax" in reply.cookies[0]
    assert browser.get("/api/session").data["user"]["id"] == "student"
    assert browser.ask("DELETE", "/api/session").status == 200
    assert browser.get("/api/session").data["user"] is None


@pytest.mark.parametrize("user", ["supervisor", "admin", "nobody", "", "../admin", "student\0"])
def test_a_tap_opens_nothing_for_others(house: House, user: str) -> None:
    reply = house.browser().sign_in(user)
    assert reply.status in (400, 401)
    assert not reply.cookies


def test_a_student_with_a_password_needs_it(house: House) -> None:
    house.croft.services.people.set_password("student", "correct horse")
    assert house.browser().sign_in("student").status == 401
    sessions = house.croft.services.sessions
    assert not sessions.taps(house.croft.services.people.user("student"))
    assert house.browser().sign_in("student", password="correct horse").status == 200


def test_a_password_opens_and_its_change_signs_out_everywhere(house: House) -> None:
    house.croft.services.people.set_password("supervisor", "correct horse")
    first, second = house.browser(), house.browser()
    assert first.sign_in("supervisor", password="wrong horse").status == 401
    assert first.sign_in("supervisor", password="correct horse").status == 200
    assert second.sign_in("supervisor", password="correct horse").status == 200
    changed = first.ask("PUT", "/api/users/supervisor/password", {"password": "battery staple"})
    assert changed.status == 200
    assert first.get("/api/projects").status == 200, "who changed it stays signed in"
    assert second.get("/api/projects").status == 401


def test_who_may_set_whose_password(house: House) -> None:
    people = house.croft.services.people
    people.add("ana", "student")
    people.add("ben", "student", password="correct horse")
    word = {"password": "battery staple"}
    allowed = {
        ("admin", "supervisor"), ("admin", "admin"), ("admin", "ana"), ("supervisor", "ana"),
        ("supervisor", "ben"), ("supervisor", "supervisor"),
    }  # fmt: skip
    for who in ("admin", "supervisor", "ana", "ben"):
        for whose in ("admin", "supervisor", "ana", "ben"):
            browser = house.browser()
            cookie = house.croft.services.sessions.issue(people.user(who))
            browser.cookies = {house.croft.services.sessions.cookie: cookie}
            browser.csrf = browser.get("/api/session").data["csrf"]
            status = browser.ask("PUT", f"/api/users/{whose}/password", word).status
            wanted = (who, whose) in allowed or who == "admin" or (who, whose) == ("ben", "ben")
            if (who, whose) == ("ana", "ana"):
                wanted = True  # she was given a password above: it is hers to change
            assert (status == 200) == wanted, (who, whose, status)
    assert browser.get("/api/session").data["user"]["id"] == "ben", "the own session goes on"


def test_a_tapped_face_cant_be_shut_out(house: House) -> None:
    browser = house.browser()
    browser.sign_in("student")
    reply = browser.ask("PUT", "/api/users/student/password", {"password": "mine alone now"})
    assert reply.status == 403
    assert browser.get("/me").status == 200


def test_the_code_leads_to_a_password(house: House) -> None:
    code = (house.config / CODE_FILE).read_text().split("\n")[0]
    kind = "application/x-www-form-urlencoded"
    browser = house.browser()
    reply = browser.ask("POST", "/sign-in", raw=f"code={code}&next=/p/demo".encode(), kind=kind)
    assert (reply.status, reply.headers["location"]) == (303, "/me")
    assert "PUT /api/users/admin/password" in browser.get("/me").body.decode()
    browser.csrf = browser.get("/api/session").data["csrf"]
    for user in ("admin", "supervisor"):
        reply = browser.ask("PUT", f"/api/users/{user}/password", {"password": "correct horse"})
        assert reply.status == 200, "one page, one CSRF token: it stays good"
    assert house.browser().sign_in("supervisor", password="correct horse").status == 200


def test_the_first_code_signs_an_admin_in_once(house: House) -> None:
    path = house.config / CODE_FILE
    code = path.read_text().split("\n")[0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert house.browser().sign_in("admin", code="0000-0000-0000").status == 401
    assert house.browser().sign_in("supervisor", code=code).status == 401
    assert house.browser().sign_in("admin", code=code).status == 200
    assert house.browser().sign_in("admin", code=code).status == 401
    assert not path.exists()


def test_no_code_is_offered_once_an_admin_has_a_password(house: House) -> None:
    (house.config / CODE_FILE).unlink()
    house.croft.services.people.set_password("admin", "correct horse")
    house.croft.services.sessions.offer_code()
    assert not house.croft.services.sessions.code_wanted()


def test_guessing_is_slowed_down(house: House) -> None:
    house.croft.services.people.set_password("admin", "correct horse")
    browser = house.browser()
    for _ in range(TRIES_OF_A_USER):
        assert browser.sign_in("admin", code="1").status == 401
    reply = browser.sign_in("admin", password="correct horse")
    assert reply.status == 429
    assert int(reply.headers["retry-after"]) > 0
    assert house.browser().sign_in("student").status == 200, "others aren't kept out"
    elsewhere = house.browser()
    elsewhere.address = "192.168.0.9"
    assert elsewhere.sign_in("admin", password="correct horse").status == 200, "nor the person, elsewhere"


def test_attempts_are_forgotten_after_their_time() -> None:
    now = [0.0]
    attempts = Attempts(clock=lambda: now[0])
    for _ in range(3):
        attempts.failed("ana")
    with pytest.raises(TooMany):
        attempts.check("ana", 3)
    now[0] = TRIES_WINDOW_S + 1
    attempts.check("ana", 3)


def test_a_cookie_alone_changes_nothing(house: House) -> None:
    address = house.asset("demo/shots/a.blend")
    browser = house.browser()
    browser.sign_in("student")
    browser.csrf = ""
    reply = browser.patch(f"/api/assets/{address}", {"description": "by another site"})
    assert reply.status == 403
    browser.csrf = "0" * 32
    assert browser.patch(f"/api/assets/{address}", {"description": "guessed"}).status == 403
    assert not house.croft.services.store.read(address).data.get("description")


def test_another_sites_page_is_refused_even_with_a_token(house: House) -> None:
    address = house.asset("demo/shots/a.blend")
    headers = {"Sec-Fetch-Site": "cross-site"}
    browser = house.browser("admin")
    assert browser.patch(f"/api/assets/{address}", {"description": "x"}, headers=headers).status == 403
    assert house.browser().post("/api/session", {"user": "student"}, headers=headers).status == 403


def test_anonymous_sees_only_the_doors(house: House) -> None:
    browser = house.browser()
    for path in ("/healthz", "/api/openapi.json", "/api/docs", "/api/session"):
        assert browser.get(path).status == 200, path
    for route in house.croft.wsgi.table.routes:
        if not route.role:
            continue
        path = route.path.replace("{address}", "data::demo/a.blend").replace("{n}", "0")
        for name in ("id", "name", "user", "project"):
            path = path.replace("{" + name + "}", "x")
        reply = browser.ask(route.method, path, {} if route.body else None)
        assert reply.status == 401, f"{route.method} {path}"
        assert reply.data is None


def test_tokens_act_as_their_user_and_node_tokens_as_nobody(house: House) -> None:
    people = house.croft.services.people
    wsgi = house.croft.wsgi
    assert Browser(wsgi, people.make_token(user="admin")).get("/api/session").data["user"]["id"] == "admin"
    assert Browser(wsgi, people.make_token(node="n1")).get("/api/projects").status == 403
    assert Browser(wsgi, "nonsense").get("/api/projects").status == 401
    reader = Browser(wsgi, people.make_token(user="admin", scope="read"))
    assert reader.get("/api/projects").status == 200
    assert reader.post("/api/farm/pause").status == 403
    token = people.make_token(user="admin")
    people.revoke(token.partition(".")[0])
    assert Browser(wsgi, token).get("/api/projects").status == 401


def test_a_proxys_own_password_is_not_ours(house: House) -> None:
    browser = house.browser()
    browser.sign_in("student")
    headers = {"Authorization": "Basic dXNlcjpwYXNz"}
    assert browser.get("/api/projects", headers=headers).status == 200
    assert house.browser().get("/api/projects", headers=headers).status == 401


def test_a_forged_or_foreign_cookie_is_nobody(house: House) -> None:
    browser = house.browser()
    browser.sign_in("student")
    name, value = next(iter(browser.cookies.items()))
    for bad in (value[:-2] + "xx", "x" * 300, "", value + "."):
        browser.cookies = {name: bad}
        assert browser.get("/api/session").data["user"] is None
    browser.cookies = {name: '"; \\x'}
    assert browser.get("/api/session").status == 200


def test_the_form_signs_in_and_never_sends_elsewhere(house: House) -> None:
    kind = "application/x-www-form-urlencoded"
    for goal, place in (("/p/demo/assets", "/p/demo/assets"), ("//evil.example", "/"), ("http://evil", "/")):
        browser = house.browser()
        form = f"user=student&next={goal}".encode()
        reply = browser.ask("POST", "/sign-in", raw=form, kind=kind)
        assert (reply.status, reply.headers["location"]) == (303, place)
        assert reply.cookies
    wrong = house.browser().ask("POST", "/sign-in", raw=b"user=admin&password=x", kind=kind)
    assert wrong.headers["location"].startswith("/sign-in?user=admin&error=wrong")
    assert not wrong.cookies
