"""Home, Team, Shots and Credits over WSGI: what each shows to whom, live figures of the farm, injection."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from house import QUICK, Browser, House
from painter import Painter

from server.disk.records import Change
from server.library import versions
from server.web.app import build
from server.web.pages import visits

NASTY = "<b>{{ 7*7 }}</b> \"quote\" 'n' {n} \u202eright to left"


class Local(Painter):
    """The painter, without a socket."""

    def __init__(self, house: House) -> None:
        token = house.croft.services.people.make_token(node="*")
        super().__init__("", token, house.data)
        self.browser = Browser(house.croft.wsgi, token)

    def talk(self, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.browser.post("/farm", [self.identity, *requests]).json
        return found


class Studio(House):
    """A house with a team and a film of three shots."""

    def text(self, who: str, page: str) -> str:
        reply = self.browser(who).get(page)
        assert reply.status == 200, (page, reply.status)
        return unescape(reply.body.decode())

    def render(self, shot: str, frames: str, count: int) -> str:
        """A render of which so many frames are painted; its id."""
        body = {"file": f"data::demo/shots/{shot}.blend", "frames": frames, "type": "test-pattern"}
        job = str(self.browser("student").post("/api/jobs", body).data["id"])
        self.stop_others(job)
        painter = Local(self)
        for _ in range(count):
            painter.paint()
        return job

    def approve(self, address: str, version: str, approved: bool) -> None:
        reply = self.browser("supervisor").patch(
            f"/api/assets/{address}/versions/{version}", {"approved": approved}
        )
        assert reply.status == 200, reply.message

    def stop_others(self, job: str) -> None:
        """So that the painter's next frames are of this one."""
        supervisor = self.browser("supervisor")
        for other in supervisor.get("/api/jobs?limit=1000").data:
            if other["id"] != job and other["state"] in ("waiting", "running"):
                supervisor.ask("DELETE", f"/api/jobs/{other['id']}")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    config, data = folder / "config", folder / "data"
    (config / "users").mkdir(parents=True)
    (config / "server.json").write_text(QUICK)
    for ident, title in (("ana", "Ana"), ("ben", "Ben")):
        (config / "users" / f"{ident}.json").write_text(json.dumps({"title": title, "role": "student"}))
    croft = build(config, data)
    made = Studio(croft, config, data)
    made.make("demo/project.json", json.dumps({
        "title": "Foxes", "roles": [{"title": "Director", "people": ["ana"]}],
        "external": [{"name": NASTY, "licence": "CC0", "origin": "javascript:alert(1)"}],
    }).encode())  # fmt: skip
    shot = {"type": "shot", "state": "todo", "render": True, "priority": 3}
    first = next(iter(croft.services.projects.set_of(None).states))
    shot["state"] = first
    made.asset("demo/shots/sh010.blend", **shot, owner="student", support=["ana"], rating=2)
    made.asset("demo/shots/sh020.blend", **{**shot, "priority": 5}, owner="student", description=NASTY)
    made.asset("demo/shots/sh030.blend", **shot, owner="ana", support=["student"], start=1, end=5)
    made.asset("demo/props/lamp.blend", type="prop", state=first, owner="", priority=4)
    yield made
    croft.close()


def test_home_shows_what_to_do_now_and_whom_to_support(studio: Studio) -> None:
    page = studio.text("student", "/p/demo/home")
    assert page.index("What to do now") < page.index("sh020") < page.index("To support") < page.index("sh030")
    assert page.index("sh030") < page.index("What comes next") < page.rindex("sh010")
    assert "sh020" not in page[page.index("What comes next") :]
    assert 'data-edit="/api/assets/data::demo/shots/sh020.blend"' in page
    assert NASTY in unescape(page)
    assert "<b>{{ 7*7 }}" not in studio.browser("student").get("/p/demo/home").body.decode()
    assert "is ready: its frame range" not in page, "one thing to do, not two"
    assert page.index("What to do now") < page.index("step by step"), "and that first, on a phone, too"
    free = studio.text("ben", "/p/demo/home")
    assert "Nothing waits for you" in free
    assert "is ready: its frame range" in free
    assert free.index("step by step") < free.index("Nothing waits for you")
    assert "POST /api/assets/data::demo/props/lamp.blend/mine" in free
    assert "Mine" not in studio.text("student", "/p/demo/home")


def test_team_tells_what_everybody_does_and_who_helps(studio: Studio) -> None:
    page = studio.text("ana", "/p/demo/team")
    assert page.count('<li class="panel stack" id="u-') == 3
    assert page.index('id="u-ana"') < page.index('id="u-ben"') < page.index('id="u-student"')
    card = page[page.index('id="u-student"') :]
    assert "sh020" in card
    assert "and 1 more file" in card
    assert "Helps Ana with" in card
    assert "Nothing to do just now." in page[page.index('id="u-ben"') : page.index('id="u-student"')]
    assert "lamp" in page[page.index("What nobody does yet") :]


def test_news_since_the_last_visit_are_kept_in_the_browser(studio: Studio, monkeypatch: Any) -> None:
    now = time.time() + 60
    services = studio.croft.services
    browser = studio.browser("ben")
    monkeypatch.setattr(services, "clock", lambda: now)
    assert "Since your last visit" not in unescape(browser.get("/p/demo/home").body.decode())
    assert browser.cookies[visits.COOKIE] == f"{int(now)}.{int(now)}"
    browser.cookies[visits.COOKIE] = f"{int(now - 9999)}.{int(now - 5000)}"  # an hour and more ago
    page = unescape(browser.get("/p/demo/home").body.decode())
    assert "was saved" in page[page.index("Since your last visit") :]
    assert browser.cookies[visits.COOKIE] == f"{int(now - 5000)}.{int(now)}"
    again = browser.get("/p/demo/home?part=1")  # the open page, brought up to date: nothing new to note
    assert not again.cookies
    assert "was saved" in unescape(again.body.decode())
    done = browser.get("/p/demo/home?seen=1")
    assert (done.status, done.headers["location"]) == (303, "/p/demo/home")
    assert "Since your last visit" not in unescape(browser.get("/p/demo/home").body.decode())
    later = now + 7200
    monkeypatch.setattr(services, "clock", lambda: later)
    assert "Nothing changed." in unescape(browser.get("/p/demo/home").body.decode())
    browser.cookies[visits.COOKIE] = "nonsense.<b>"
    assert browser.get("/p/demo/home").status == 200


def test_the_film_plays_what_is_approved_else_newest_and_shows_gaps(studio: Studio) -> None:
    empty = studio.text("student", "/p/demo/shots")
    assert "data-film" not in empty
    assert "No picture yet" in empty
    first = studio.render("sh010", "1-4", 4)
    second = studio.render("sh010", "1-2", 2)
    page = studio.text("student", "/p/demo/shots")
    assert 'data-frames="1-55"' in page  # two, the 48 of two seconds, and the five that people named
    film = page.split('data-film="')[1].split('"')[0]
    browser = studio.browser("student")
    rows = browser.get(f"{film}/frames?cursor=0&limit=200").data
    assert [row["n"] for row in rows] == list(range(55))
    assert [row["gap"] for row in rows] == [False] * 2 + [True] * 53
    assert "/v002/" in rows[0]["image"]
    assert "gap.svg" in rows[2]["image"]
    slate = browser.get(rows[2]["image"])
    assert slate.headers["content-type"].startswith("image/svg")
    assert b"sh020" in slate.body
    assert b"<script" not in browser.get("/p/demo/film/gap.svg?shot=%3Cscript%3Ealert(1)%3C/script%3E").body
    goal = browser.get("/p/demo/film/frame/1")
    assert goal.headers["location"] == f"/p/demo/job/{second}/frame/1"
    assert browser.get("/p/demo/film/frame/9").headers["location"] == "/p/demo/asset/shots/sh020.blend"
    assert browser.get("/p/demo/film/frame/99").status == 404

    studio.approve("data::demo/shots/sh010.blend", "render-v001", True)
    page = studio.text("student", "/p/demo/shots")
    assert 'data-frames="1-57"' in page
    assert "Approved" in page
    assert browser.get("/p/demo/film/frame/0").headers["location"] == f"/p/demo/job/{first}/frame/0"
    kept = browser.get(f"{film}/frames?cursor=0&limit=3").data  # who watches goes on with what they watch
    assert "/v002/" in kept[0]["image"]
    assert browser.get("/api/projects/demo/film/longago/frames").status == 404
    assert versions.approved(studio.croft.services.store, "data::demo/shots/sh010.blend") == "v001"


def test_home_shows_the_frame_rendered_last(studio: Studio) -> None:
    job = studio.render("sh030", "7-8", 1)
    page = studio.text("ben", "/p/demo/home")
    last = page[page.index("The last frame rendered") :]
    assert f"/p/demo/job/{job}" in last[:800]
    assert "sh030.0007.png" in last or "/thumb/data::demo/shots/render/sh030/" in last
    assert last.index("Rendering") < 1200


def test_stars_and_stages_are_set_in_the_row(studio: Studio) -> None:
    page = studio.text("student", "/p/demo/shots")
    row = page[page.index('data-edit="/api/assets/data::demo/shots/sh010.blend"') :]
    assert '<option value="2" selected>★★☆☆☆' in row
    name = row.split('name="pipeline.')[1].split('"')[0]
    state = next(iter(studio.croft.services.projects.set_of(None).states))
    answer = studio.browser("student").patch(
        "/api/assets/data::demo/shots/sh010.blend", {"pipeline": {name: state}, "due": "2026-12-24"}
    )
    assert answer.status == 200
    page = studio.text("student", "/p/demo/shots")
    row = page[page.index('data-edit="/api/assets/data::demo/shots/sh010.blend"') :]
    assert f'<option value="{state}" selected>' in row
    assert 'value="2026-12-24"' in row
    guest = studio.croft.services.people.add("guest", role="guest")
    assert " disabled" in studio.text(guest.ident, "/p/demo/shots").split('name="rating"')[1][:40]


def test_credits_as_page_text_and_markdown(studio: Studio) -> None:
    page = studio.browser("student").get("/p/demo/credits").body.decode()
    assert "Director" in page
    assert "Student has no role yet." in unescape(page)
    assert 'href="javascript' not in page
    assert "<b>{{" not in page
    text = studio.browser("student").get("/p/demo/credits.txt")
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    lines = text.body.decode().splitlines()
    assert lines[0] == "FOXES"
    assert lines[lines.index("Director") + 1] == "    Ana"
    assert "    sh010: Student, with Ana" in lines
    assert NASTY in lines
    marked = studio.browser("student").get("/p/demo/credits.md?download=1")
    assert "demo-credits.md" in marked.headers["content-disposition"]
    body = marked.body.decode()
    assert body.startswith("# Foxes\n")
    assert "### " in body
    assert "<b>" not in body.replace("\\<b\\>", "")


def test_a_guest_may_look_and_a_stranger_not(studio: Studio) -> None:
    stranger = Browser(studio.croft.wsgi)
    for page in ("home", "team", "shots", "credits", "credits.txt"):
        assert stranger.get(f"/p/demo/{page}").status in (303, 401)
        assert studio.browser("ana").get(f"/p/nowhere/{page}").status == 404
    (studio.config / "users/gina.json").write_text('{"title": "Gina", "role": "guest"}')
    studio.croft.services.settings.look_again("users")
    home, credits = (studio.text("gina", f"/p/demo/{page}") for page in ("home", "credits"))
    assert "Render" in studio.text("ana", "/p/demo/home"), "or this test tries nothing"
    assert not [word for word in ("Press Render", "step by step", "Render…") if word in home]
    assert "Still missing" in credits
    assert "Add it" not in credits


def test_pages_ask_the_disk_for_no_single_file(studio: Studio, monkeypatch: Any) -> None:
    """Nothing but the first task's own record is read, however many files there are."""
    browser = studio.browser("student")
    for page in ("home", "team", "shots", "credits"):
        browser.get(f"/p/demo/{page}")
    asked: list[str] = []
    store = studio.croft.services.store
    real = store.read
    monkeypatch.setattr(store, "read", lambda address: asked.append(address) or real(address))
    monkeypatch.setattr(versions, "approved", lambda store, address: asked.append(address) or "")
    for page in ("home", "team", "shots", "credits"):
        browser.get(f"/p/demo/{page}")
    assert asked == ["data::demo/shots/sh020.blend"]


def test_the_cookie_is_sent_to_this_home_alone(studio: Studio, tmp_path: Path) -> None:
    cookie = studio.browser("ana").get("/p/demo/home").cookies[0]
    assert "Path=/p/demo/home;" in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_who_is_of_the_team_follows_from_the_files(studio: Studio) -> None:
    people = studio.croft.services.people
    people.add("zoe", projects=["elsewhere"])
    people.add("max", projects=["elsewhere"], disabled=True)
    assert 'id="u-zoe"' not in studio.text("ana", "/p/demo/team")
    for owner in ("zoe", "max"):
        studio.asset(f"demo/props/of-{owner}.blend", type="prop", owner=owner)
    page = studio.text("ana", "/p/demo/team")
    assert 'id="u-zoe"' in page
    assert 'id="u-max"' not in page


def test_a_spoilt_file_of_somebody_leaves_the_team_as_it_is(studio: Studio) -> None:
    settings = studio.croft.services.settings
    for n, wrong in enumerate((True, 5, "demo", {"demo": 1}, [None, ["demo"]])):
        settings.write("users", f"odd{n}", {"projects": wrong, "role": "student"})
    settings.write("users", "bare", {"title": "Bare Hand", "projects": ["demo"]})
    page = studio.text("ana", "/p/demo/team")
    assert 'id="u-bare"' in page
    assert 'id="u-ana"' in page


def test_what_others_wait_for_is_to_be_done_first(studio: Studio) -> None:
    """Ben's rig counts less than his walk, until Ana's urgent shot waits for it."""
    state = {"type": "prop", "state": next(iter(studio.croft.services.projects.set_of(None).states))}
    studio.asset("demo/props/walk.blend", **state, owner="ben", priority=2)
    studio.asset("demo/props/rig.blend", **state, owner="ben", priority=1)
    project = studio.croft.services.projects.get("demo")
    tasks = studio.croft.services.tasks

    def first() -> str:
        assert studio.croft.services.dependencies.wait()
        entry = tasks.of(project).primary("ben")
        return entry.facts.name if entry is not None and entry.facts is not None else ""

    assert first() == "walk"
    studio.asset("demo/shots/sh090.blend", **state, owner="ana", priority=5, dependencies=["rig"])
    assert first() == "rig"
    assert "1 file waits for it" in studio.text("ben", "/p/demo/home")
    assert tasks.of(project) is tasks.of(project)


def test_supervisors_see_whose_render_failed(studio: Studio) -> None:
    body = {"file": "data::demo/shots/sh020.blend", "frames": "1-2", "type": "test-pattern"}
    job = studio.browser("student").post("/api/jobs", body).data["id"]
    studio.stop_others(job)
    Local(studio).fail("Error: no camera <b>found</b>")
    for who, sees in (("student", ""), ("supervisor", "Student · "), ("ben", None)):
        page = studio.text(who, "/p/demo/home")
        assert (f'id="x-{job}"' in page) is (sees is not None)
        if sees:
            assert sees in page[page.index(f'id="x-{job}"') :][:600]


def test_a_render_that_was_deleted_leaves_the_film(studio: Studio, monkeypatch: Any) -> None:
    reels, project = studio.croft.services.reels, studio.croft.services.projects.get("demo")
    studio.browser("supervisor").patch(
        "/api/assets/data::demo/shots/sh010.blend/versions/render-v001", {"approved": False}
    )
    job = studio.render("sh010", "1-3", 3)
    assert reels.of(project).shots[0].job == job
    monkeypatch.setattr(reels, "_wall", lambda: time.time() + 60)
    version = studio.croft.services.farm.job(job).record["version"]
    folder = studio.data / "demo/shots/render/sh010"
    studio.until(lambda: versions.read(folder / f"{version}.json").get("state") == "done")
    (folder / version).rename(studio.data / "gone")  # in one step, whatever is still looked at in there
    (folder / f"{version}.json").unlink()
    studio.croft.services.store.rescan()
    assert reels.of(project).shots[0].job not in ("", job)


def test_an_approval_shows_at_once_whatever_the_index_has_seen(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = studio.croft.services
    address, project = (
        studio.asset("demo/shots/sh040.blend", type="shot", render=True),
        services.projects.get("demo"),
    )
    job = studio.render("sh040", "1-2", 2)

    def approved() -> list[bool]:
        return [shot.approved for shot in services.reels.of(project).shots if shot.job == job]

    assert approved() == [False]
    monkeypatch.setattr(services.store.index, "versions", lambda folder: ())  # it hasn't seen the folder yet
    studio.approve(address, "render-v001", True)
    assert approved() == [True]

    real = versions.approved

    def slow(store: Any, asked: str) -> str:
        found = real(store, asked)
        monkeypatch.setattr(versions, "approved", real)
        studio.approve(address, "render-v001", False)  # after this look has read the disk
        return found

    services.store.notify([Change("asset", address)])
    monkeypatch.setattr(versions, "approved", slow)
    assert approved() == [True]  # as it was when it looked
    assert approved() == [False]  # which isn't remembered
