"""The pages' HTML, asked over WSGI: escaping, filters, what is kept and what is made anew."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from house import Browser, House

NASTY = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
PAGES = ["/", "/sign-in", "/rendering", "/p/demo/home", "/p/demo/assets", "/p/demo/rendering"]


class Names(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags_of(html: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Names()
    parser.feed(html)
    return parser.tags


def rows_of(html: str) -> list[str]:
    """The names in the table of files, in their order."""
    return re.findall(r'<th scope="row"><a href="[^"]*">([^<]*)</a>', html)


@pytest.fixture
def ana(house: House) -> Browser:
    house.make("demo/project.json", b"{}")
    return house.browser("student")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_whole_and_inline_free(house: House, ana: Browser, page: str) -> None:
    reply = ana.get(page)
    assert reply.status == 200
    html = reply.body.decode()
    assert html.startswith("<!doctype html>")
    assert html.rstrip().endswith("</html>")
    assert "unsafe" not in reply.headers["content-security-policy"]
    for tag, attributes in tags_of(html):
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} has {name}"
            assert name != "style"
            if name in ("src", "href", "action"):
                assert not re.match(r"(https?:)?//|javascript:|data:", value or ""), f"{tag} loads {value}"


@pytest.mark.parametrize("page", PAGES[2:])
def test_somebody_unknown_is_led_to_the_sign_in(house: House, page: str) -> None:
    reply = Browser(house.croft.wsgi).get(page)
    assert reply.status == 303
    assert reply.headers["location"].startswith("/sign-in?next=/")


def test_nothing_from_a_file_becomes_html(house: House, ana: Browser) -> None:
    address = house.asset(
        "demo/shots/<script>alert(1)<script>.blend",
        name=NASTY, description=NASTY, owner=NASTY, type=NASTY, state=NASTY, tags=[NASTY], creator=NASTY,
    )  # fmt: skip
    project = house.data / "demo" / "project.json"
    project.write_text('{"title": "<b onclick=x>T</b>", "description": "<i>D</i>"}')
    house.croft.services.store.refresh("data::demo/project.json")
    url = house.croft.services.assets.one(address)["url"]
    for page in ("/", "/p/demo/home", "/p/demo/assets", url, "/p/demo/assets?q=%3Cscript%3E&type=%3Cb%3E",
                 "/p/demo/asset/%3Cscript%3Enothing%3C/script%3E", "/p/%3Cb%3E/home"):  # fmt: skip
        html = ana.get(page).body.decode()
        assert "<script>" not in html, page
        assert "<img src=x" not in html, page
        assert "<b onclick" not in html, page
        assert "<i>D" not in html, page


def test_every_template_escapes(house: House) -> None:
    for path in TEMPLATES.glob("*.html"):
        text = path.read_text("utf-8")
        assert "|safe" not in text.replace(" ", ""), path.name
        assert "autoescape false" not in text, path.name


def test_every_form_that_saves_itself_is_known_again() -> None:
    """Without an id a live change takes it for another where something above it comes or goes."""
    for template in TEMPLATES.rglob("*.html"):
        for form in re.findall(r"<form[^>]*data-edit[^>]*>", template.read_text()):
            assert ' id="' in form, (template.name, form)


def test_filters_and_order_stand_in_the_address(house: House, ana: Browser) -> None:
    house.asset("demo/shots/sh010.blend", type="shot", state="done", owner="student", priority=1)
    house.asset("demo/shots/sh020.blend", type="shot", state="todo", owner="", priority=5)
    house.asset("demo/props/cup.blend", type="prop", state="todo", owner="student", priority=3)

    def names(query: str) -> list[str]:
        return rows_of(ana.get("/p/demo/assets" + query).body.decode())

    assert names("") == ["cup", "sh010", "sh020"]
    assert names("?type=shot") == ["sh010", "sh020"]
    assert names("?state=todo&owner=student") == ["cup"]
    assert names("?owner=none") == ["sh020"]
    assert names("?q=SH0&sort=-priority") == ["sh020", "sh010"]
    assert names("?q=nothing+fits") == []
    html = ana.get("/p/demo/assets?type=shot&sort=-priority").body.decode()
    assert '<input type="hidden" name="type" value="shot">' in html
    assert '<option value="-priority" selected>' in html


def test_a_columns_head_sorts_by_it_and_then_backwards(house: House, ana: Browser) -> None:
    house.asset("demo/shots/a.blend", priority=1, type="shot")
    house.asset("demo/shots/b.blend", priority=5, type="shot")
    html = ana.get("/p/demo/assets?type=shot").body.decode()
    assert '<th scope="col" aria-sort="ascending"><a href="?type=shot&amp;sort=-name">Name</a>' in html
    assert '<a href="?type=shot&amp;sort=-priority">Priority</a>' in html
    again = ana.get("/p/demo/assets?type=shot&sort=-priority").body.decode()
    assert 'aria-sort="descending"><a href="?type=shot&amp;sort=priority">Priority</a>' in again
    assert rows_of(again) == ["b", "a"]


def test_files_that_nobody_tracks_are_shown_when_asked_for(house: House, ana: Browser) -> None:
    house.asset("demo/shots/a.blend")
    house.make("demo/textures/wood.txt", b"brown")
    assert rows_of(ana.get("/p/demo/assets").body.decode()) == ["a"]
    assert "wood" in ana.get("/p/demo/assets?type=everything").body.decode()


def test_a_wrong_order_gets_a_sentence(house: House, ana: Browser) -> None:
    reply = ana.get("/p/demo/assets?sort=colour")
    assert reply.status == 400
    assert "isn&#39;t a way to sort" in reply.body.decode()
    assert ana.get("/p/demo/assets?from=-1").status == 400


def test_an_edit_shows_at_once_and_else_the_browsers_copy_is_good(house: House, ana: Browser) -> None:
    address = house.asset("demo/shots/sh010.blend", state="todo")
    end = time.monotonic() + 20
    etag, status = "", 0
    while status != 304:  # the file settles, its picture is tried: then the page is at rest
        assert time.monotonic() < end
        etag = ana.get("/p/demo/assets").headers["etag"]
        status = ana.get("/p/demo/assets", headers={"If-None-Match": etag}).status

    house.croft.services.store.edit(address, {"name": "Renamed", "state": "done"}, who="test")

    second = ana.get("/p/demo/assets", headers={"If-None-Match": etag})
    assert second.status == 200
    assert rows_of(second.body.decode()) == ["Renamed"]
    assert second.headers["etag"] != etag


def test_a_page_is_made_for_the_person_who_asks(house: House, ana: Browser) -> None:
    house.asset("demo/shots/sh010.blend")
    berta = house.browser("supervisor")
    assert "Not Student?" in ana.get("/p/demo/assets").body.decode()
    assert "Not Supervisor?" in berta.get("/p/demo/assets").body.decode()
    assert "Not Student?" in ana.get("/p/demo/assets").body.decode()


def test_a_browser_that_is_up_to_date_gets_only_what_changed(house: House, ana: Browser) -> None:
    addresses = [house.asset(f"demo/shots/sh{n:03d}.blend") for n in range(1, 5)]
    whole = ana.get("/p/demo/assets").body.decode()
    part = ana.get(f"/p/demo/assets?part=1&only={addresses[2]}").body.decode()
    assert not part.lstrip().startswith("<!doctype")
    assert rows_of(part) == ["sh003"]
    order = re.search(r'data-order="([^"]*)"', part)
    assert order is not None
    assert order[1].split() == re.findall(r'<tr id="(a[0-9a-f]+)"', whole)
    assert rows_of(ana.get("/p/demo/assets?part=1").body.decode()) == ["sh001", "sh002", "sh003", "sh004"]


def test_many_files_come_in_pages(house: House, ana: Browser) -> None:
    folder = house.data / "demo" / "shots"
    folder.mkdir(parents=True)
    for n in range(201):
        (folder / f"s{n:04d}.blend").write_bytes(b"BLENDER-v300")
        (folder / f"s{n:04d}.blend.json").write_text(f'{{"name": "Shot {n}", "type": "shot"}}')
    house.croft.services.store.rescan()
    first = ana.get("/p/demo/assets").body.decode()
    assert len(rows_of(first)) == 100
    assert ">201 files" in first
    following = re.search(r'href="(\?from=100)"', first)
    assert following is not None
    second = ana.get("/p/demo/assets" + following[1]).body.decode()
    assert rows_of(second)[0] == "Shot 100"
    assert "101 to 200 shown" in second
    assert "The next one<" in second
    assert rows_of(ana.get("/p/demo/assets?from=200").body.decode()) == ["Shot 200"]
    assert len(rows_of(ana.get("/p/demo/assets?rows=200").body.decode())) == 200
    assert ana.get("/p/demo/assets?rows=1001").status == 400


def test_an_empty_project_says_the_next_step(house: House, ana: Browser) -> None:
    assert "No files yet. Drop one here" in ana.get("/p/demo/assets").body.decode()
    assert "Add the first file" in ana.get("/p/demo/home").body.decode()
    assert "Open a file’s page and press Render" in ana.get("/p/demo/rendering").body.decode()


def test_what_isnt_there_says_so_and_where_to_go(house: House, ana: Browser) -> None:
    for page in ("/p/nowhere/home", "/p/demo/asset/shots/none.blend", "/p/demo/job/none", "/nowhere"):
        reply = ana.get(page)
        assert reply.status == 404, page
        assert "There is nothing here" in reply.body.decode()


def test_a_missing_file_keeps_its_page(house: House, ana: Browser) -> None:
    address = house.asset("demo/shots/sh010.blend")
    (house.data / "demo/shots/sh010.blend").unlink()
    house.croft.services.store.refresh(address)
    html = ana.get("/p/demo/asset/shots/sh010.blend").body.decode()
    assert "The file is gone" in html
    assert ">Render</button>" not in html


def test_a_broken_sidecar_is_told_and_the_last_record_shown(house: House, ana: Browser) -> None:
    address = house.asset("demo/shots/sh010.blend", name="Good name")
    (house.data / "demo/shots/sh010.blend.json").write_text("{not json")
    house.croft.services.store.refresh(address)
    html = ana.get("/p/demo/asset/shots/sh010.blend").body.decode()
    assert "can’t be read" in html
    assert "Good name" in html


def test_a_share_that_is_away_keeps_its_pages_and_says_so(house: House, ana: Browser) -> None:
    house.asset("demo/shots/sh010.blend")
    assert "isn’t connected" not in ana.get("/p/demo/assets").body.decode()
    (house.data / ".croft-share.json").rename(house.data / ".gone")
    for page in ("/p/demo/assets", "/p/demo/home", "/p/demo/asset/shots/sh010.blend", "/p/demo/rendering"):
        reply = ana.get(page)
        assert reply.status == 200, page
        assert "The project’s folder isn’t connected just now. Nothing is lost" in reply.body.decode(), page
    assert rows_of(ana.get("/p/demo/assets").body.decode()) == ["sh010"]


def test_teams_first_then_faces(house: House) -> None:
    people = house.croft.services.people
    people.add("ana", title="Ana", team="Foxes")
    people.add("ben", title="Ben", team="Owls")
    anonymous = Browser(house.croft.wsgi)
    html = anonymous.get("/sign-in?next=/p/demo/assets").body.decode()
    assert ">Foxes<" in html
    assert 'value="ana"' not in html
    inside = anonymous.get("/sign-in?team=Foxes&next=/p/demo/assets").body.decode()
    assert 'name="user" value="ana"' in inside
    assert 'value="ben"' not in inside
    assert 'name="next" value="/p/demo/assets"' in inside


@pytest.mark.parametrize(
    "goal", ["//evil.example", "https://evil.example", "/\\evil", "javascript:x", "/sign-out"]
)
def test_after_signing_in_nobody_is_sent_elsewhere(house: House, goal: str) -> None:
    html = Browser(house.croft.wsgi).get("/sign-in?next=" + goal).body.decode()
    assert 'name="next" value="/"' in html


def test_staff_give_a_password(house: House) -> None:
    house.croft.services.people.set_password("supervisor", "long enough")
    anonymous = Browser(house.croft.wsgi)
    assert "/sign-in?user=supervisor" in anonymous.get("/sign-in").body.decode()
    html = anonymous.get("/sign-in?user=supervisor&error=wrong").body.decode()
    assert 'type="password"' in html
    assert "don’t fit together" in html


def test_textures_and_other_files_are_a_tick_away(house: House) -> None:
    """Given a search that no asset fits, then the files that do are offered."""
    house.make("demo/textures/wood_oak.png", b"\x89PNG")
    house.asset("demo/shots/demo_sq01_sh010_anim_v003.blend")
    student = house.browser("student")
    page = student.get("/p/demo/assets").body.decode()
    assert "wood_oak.png" not in page
    assert "Textures and other files too" in page
    page = student.get("/p/demo/assets?q=oak").body.decode()
    assert "1 other file" in page
    assert "?q=oak&amp;sort=name&amp;files=1" in page or "?q=oak&amp;files=1" in page
    page = student.get("/p/demo/assets?q=oak&files=1").body.decode()
    assert "/p/demo/asset/textures/wood_oak.png" in page
    assert '<input type="hidden" name="files" value="1">' in page
    assert "Without textures" in page
    page = student.get("/p/demo/assets?q=shot:010").body.decode()
    assert "demo_sq01_sh010_anim_v003.blend" in page
    page = student.get("/p/demo/asset/shots/demo_sq01_sh010_anim_v003.blend").body.decode()
    assert "sequence sq01, shot sh010, task anim, version 3" in page


def test_who_may_not_drop_is_not_offered_it(house: House, ana: Browser) -> None:
    house.croft.services.settings.write("users", "eve", {"role": "guest"})
    for page in ("/p/demo/assets", "/p/demo/assets?view=thumbs"):
        mine, theirs = ana.get(page), house.browser("eve").get(page)
        assert (mine.status, theirs.status) == (200, 200)
        assert b'href="/p/demo/drop"' in mine.body
        assert b'href="/p/demo/drop"' not in theirs.body
        assert b"data-drop=" not in theirs.body
