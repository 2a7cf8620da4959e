"""The page of files over WSGI: pills, looks, orders, and what is changed in its rows."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import quote

import pytest
from house import Browser, House

from server.web.pages import filters

PAGE = "/p/demo/assets"
ADDRESS = "data::demo/shots/sh010.blend"


@pytest.fixture
def ana(house: House) -> Browser:
    house.make("demo/project.json", b"{}")
    house.asset("demo/shots/sh010.blend", type="shot", state="done", owner="student", priority=1)
    house.asset("demo/shots/sh020.blend", type="shot", state="todo", owner="", priority=5)
    house.asset("demo/props/cup.blend", type="prop", state="todo", owner="student", priority=3)
    return house.browser("student")


def shown(page: str) -> list[str]:
    """The names in any of the looks, in their order."""
    return re.findall(r'href="/p/demo/asset/[^"]*/(\w+)\.blend"', page)


def pill(page: str, title: str) -> dict[str, str]:
    """The pill of a type: its address, the one that shows it alone, and whether it is on."""
    found = re.search(rf'<a href="([^"]*)" data-within data-solo="([^"]*)"([^>]*)>{title}</a>', page)
    assert found is not None, title
    url, solo = html.unescape(found[1]), html.unescape(found[2])
    return {"url": url, "solo": solo, "on": str("aria-current" in found[3])}


def test_a_pill_turns_a_type_off_and_on_and_a_double_click_shows_it_alone(ana: Browser) -> None:
    whole = ana.get(PAGE).body.decode()
    assert shown(whole) == ["cup", "sh010", "sh020"]
    assert pill(whole, "Shot") == {"url": "?type=-shot", "solo": "?type=shot", "on": "True"}
    without = ana.get(PAGE + "?type=-shot").body.decode()
    assert shown(without) == ["cup"]
    assert ">1 of 3 files<" in without
    assert pill(without, "Shot") == {"url": "?", "solo": "?type=shot", "on": "False"}
    assert pill(without, "Prop")["url"] == "?type=-prop%2C-shot"
    alone = ana.get(PAGE + "?type=prop").body.decode()
    assert shown(alone) == ["cup"]
    assert pill(alone, "Prop")["url"] == "?", "the last one that is turned off shows all again"
    assert pill(alone, "Shot")["url"] == "?type=prop%2Cshot"
    assert shown(ana.get(PAGE + "?type=shot,prop").body.decode()) == ["cup", "sh010", "sh020"]
    kept = ana.get(PAGE + "?type=prop&q=cup&state=todo&view=sheet&sort=-size").body.decode()
    assert pill(kept, "Shot")["url"] == "?q=cup&type=prop%2Cshot&state=todo&sort=-size&view=sheet"


@pytest.mark.parametrize("view", ["", "thumbs", "sheet"])
def test_each_look_shows_the_same_files(ana: Browser, view: str) -> None:
    page = ana.get(f"{PAGE}?view={view}&sort=-priority").body.decode()
    assert shown(page) == ["sh020", "cup", "sh010"]
    assert len(re.findall(r'id="a[0-9a-f]{12}"', page)) == 3
    assert page.count('name="addresses"') == 3
    assert ("<table" in page) is (view == "")


def test_every_order_offered_is_one(ana: Browser) -> None:
    assert len(filters.SORTS) >= 10
    for sort, title in filters.SORTS:
        page = ana.get(f"{PAGE}?sort={sort}").body.decode()
        assert sorted(shown(page)) == ["cup", "sh010", "sh020"]
        assert f'<option value="{sort}" selected>{title}</option>' in page
    for field in ("name", "type", "owner", "state", "priority"):
        orders = [shown(ana.get(f"{PAGE}?sort={sign}{field}").body.decode()) for sign in ("", "-")]
        assert orders[0] != orders[1], field


def test_words_and_pairs_are_found_together(ana: Browser) -> None:
    fitting = {"sh state:todo": ["sh020"], "owner:stu type:prop": ["cup"], "cup owner:none": []}
    for q, names in fitting.items():
        assert shown(ana.get(f"{PAGE}?q={q.replace(' ', '+')}").body.decode()) == names


def test_who_only_looks_is_offered_no_change(house: House, ana: Browser) -> None:
    house.croft.services.settings.write("users", "eve", {"role": "guest"})
    eve = house.browser("eve")
    assert '<button type="button" class="cell' in ana.get(PAGE).body.decode()
    page = eve.get(PAGE).body.decode()
    assert shown(page) == ["cup", "sh010", "sh020"]
    for mark in ('class="cell', 'name="addresses"', 'id="many"', "data-all"):
        assert mark not in page
    assert eve.post("/api/assets/change", {"addresses": [ADDRESS], "state": "todo"}).status == 403


def test_several_are_changed_at_once_and_taken_back(house: House, ana: Browser) -> None:
    addresses = [ADDRESS, "data::demo/shots/sh020.blend", "data::demo/props/cup.blend"]
    before = {one: ana.get(f"/api/assets/{one}").data for one in addresses}
    reply = ana.post("/api/assets/change", {"addresses": addresses, "state": "review", "owner": "none"})
    assert reply.status == 200
    assert reply.message == "3 files are changed."
    assert reply.data["changed"] == addresses
    now = [ana.get(f"/api/assets/{one}").data for one in addresses]
    assert {one["state"] for one in now} == {"review"}
    assert {one["owner"] for one in now} == {""}
    # Somebody changes one of them meanwhile: that one isn't taken back.
    house.browser("supervisor").patch(f"/api/assets/{ADDRESS}", {"state": "hold"})
    undo = reply.data["undo"]
    back = ana.ask(undo["method"], undo["path"], undo["body"])
    assert back.status == 200
    assert back.message.startswith("2 files are changed. Not changed: 1, such as sh010.blend: Supervisor")
    assert "On hold" in back.message
    after = {one: ana.get(f"/api/assets/{one}").data for one in addresses}
    for address in addresses[1:]:
        for field in ("state", "owner", "priority"):
            assert after[address][field] == before[address][field]
    assert after[ADDRESS]["state"] == "hold"


def test_several_are_changed_by_a_form_without_scripts(ana: Browser) -> None:
    session = Browser(ana.wsgi)
    session.sign_in("student")
    page = session.get(PAGE).body.decode()
    assert 'value="POST /api/assets/change"' in page
    fields = [("csrf", session.csrf), ("do", "POST /api/assets/change"), ("addresses", ADDRESS)]
    fields += [("addresses", "data::demo/props/cup.blend"), ("state", "us"), ("owner", ""), ("priority", "")]
    form = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields).encode()
    kind = "application/x-www-form-urlencoded"
    reply = session.ask("POST", "/do", raw=form, kind=kind, headers={"Referer": f"http://croft.test{PAGE}"})
    assert reply.status == 303
    for address in (ADDRESS, "data::demo/props/cup.blend"):
        assert ana.get(f"/api/assets/{address}").data["state"] == "us"
        assert ana.get(f"/api/assets/{address}").data["owner"] == "student"
    # What a browser fetches of a page that it has is nobody's own: it may be shared.
    assert session.csrf in page
    assert session.csrf not in session.get(PAGE + "?part=1").body.decode()


def test_a_row_that_somebody_else_changed_stays_and_says_who(house: House, ana: Browser) -> None:
    house.browser("supervisor").patch(f"/api/assets/{ADDRESS}", {"owner": "supervisor"})
    wish: dict[str, Any] = {"addresses": [ADDRESS], "owner": "", "was": {"owner": "student"}}
    reply = ana.post("/api/assets/change", wish)
    assert reply.status == 412
    assert reply.message.startswith("Supervisor changed this to “Supervisor” meanwhile")
    assert reply.data["owner"] == "supervisor"
    fields = {"addresses": [ADDRESS], "priority": 2, "was": {"priority": "1"}}  # a form's values are texts
    assert ana.post("/api/assets/change", fields).status == 200
    again = ana.post("/api/assets/change", {**wish, "was": {"owner": "supervisor"}})
    assert again.message == "sh010 is changed."
    assert ana.get(f"/api/assets/{ADDRESS}").data["owner"] == ""


def test_of_the_pipeline_only_the_stages_that_are_named_change_and_come_back(ana: Browser) -> None:
    address = f"/api/assets/{ADDRESS}"
    assert ana.patch(address, {"pipeline": {"layout": "done"}, "time_budget": 4}).status == 200
    wish = {"addresses": [ADDRESS], "pipeline": {"anim": "todo"}, "time_budget": None}
    reply = ana.post("/api/assets/change", wish)
    assert reply.status == 200
    now = ana.get(address).data
    assert (now["pipeline"], now["time_budget"]) == ({"layout": "done", "anim": "todo"}, 0)
    undo = reply.data["undo"]
    assert ana.ask(undo["method"], undo["path"], undo["body"]).status == 200
    now = ana.get(address).data
    assert (now["pipeline"], now["time_budget"]) == ({"layout": "done"}, 4)


def test_what_rfam_wrote_is_changed_in_its_row_as_it_is_shown(house: House, ana: Browser) -> None:
    house.asset("demo/shots/old.blend", type="shot", priority=90, time_budget={"ns": 90, "us": 30})
    address = "data::demo/shots/old.blend"
    shown = ana.get(f"/api/assets/{address}").data["priority"]
    wish = {"addresses": [address], "priority": 1, "was": {"priority": shown}}
    assert ana.post("/api/assets/change", wish).message == "old is changed."
    assert ana.get(f"/api/assets/{address}").data["priority"] == 1


@pytest.mark.parametrize(("body", "status", "said"), [
    ({"addresses": [], "state": "done"}, 400, "Choose at least one"),
    ({"addresses": [ADDRESS]}, 400, "Say what is to become"),
    ({"addresses": [ADDRESS], "state": "{nonsense} <b>"}, 400, "There is no state"),
    ({"addresses": [ADDRESS], "owner": "‮nobody"}, 400, "There is no owner"),
    ({"addresses": ["data::demo/none.blend"], "state": "done"}, 404, "no file"),
    ({"addresses": ["../../etc/passwd"], "state": "done"}, 400, ""),
    ({"addresses": [ADDRESS], "final": True}, 403, "supervisor"),
    ({"addresses": ["x" * 5000], "state": "done"}, 400, "longer"),
])  # fmt: skip
def test_what_cant_be_says_why(ana: Browser, body: dict[str, Any], status: int, said: str) -> None:
    reply = ana.post("/api/assets/change", body)
    assert reply.status == status
    assert said in reply.message
    assert ana.get(f"/api/assets/{ADDRESS}").data["state"] == "done"


def test_any_words_in_the_address_stay_words(ana: Browser) -> None:
    for nasty in ("<script>alert(1)</script>", "{{'ha'*3}}", "{n} {0} %s", "‮abc", '"><b>', "x" * 500):
        for field in ("q", "type", "state", "owner", "view"):
            reply = ana.ask("GET", f"{PAGE}?{field}=" + re.sub(r"[%&+#]", "", nasty))
            assert reply.status == 200, (field, nasty)
            page = reply.body.decode()
            assert "<script>alert" not in page
            assert '"><b>' not in page
            assert "hahaha" not in page
    assert ana.get(f"{PAGE}?q=" + "x" * 10_000).status == 400


def test_a_set_that_hides_priorities_offers_and_shows_none(house: House, ana: Browser) -> None:
    boss = house.browser("supervisor")
    pages = [
        (ana, PAGE), (ana, PAGE + "?view=sheet"), (ana, "/p/demo/home"),
        (boss, "/p/demo/asset/shots/sh010.blend"), (boss, "/p/demo/render/shots/sh010.blend"),
    ]  # fmt: skip
    words = 'Normal|Urgent|Most urgent|name="priority"'  # the history still tells what one was
    assert all(re.search(words, browser.get(page).body.decode()) for browser, page in pages)
    (house.data / "demo/set.json").write_text('{"visible": false}')
    house.croft.services.store.refresh("data::demo/set.json")
    for browser, page in pages:
        assert not re.search(words, browser.get(page).body.decode()), page
