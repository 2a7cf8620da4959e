"""Search over everything: what is found, where it leads, and that any words stay words."""

from __future__ import annotations

import pytest
from house import Browser, House

SHOT = "data::demo/shots/sh010.blend"


@pytest.fixture
def ana(house: House) -> Browser:
    house.make("demo/project.json", b'{"title": "Foxes at dawn"}')
    house.make("green/project.json", b'{"title": "Green", "description": "Two foxes meet."}')
    house.asset("demo/shots/sh010.blend", name="Fox runs", type="shot", state="us", owner="student")
    house.asset("green/props/fox_tail.blend", name="Tail", type="prop")
    house.make("demo/textures/fox_fur.png", b"\x89PNG")
    house.croft.services.settings.write("users", "fox", {"title": "Foxy Lane", "role": "student"})
    ana = house.browser("student")
    ana.post(f"/api/assets/{SHOT}/notes", {"text": "The fox is too fast here."})
    house.until(lambda: house.croft.services.notes.search("fast"))
    ana.post("/api/jobs", {"file": SHOT, "frames": "1-2", "type": "test-pattern", "name": "Fox in the rain"})
    return ana


def test_every_kind_is_found_and_leads_on(house: House, ana: Browser) -> None:
    reply = ana.get("/search?q=FOX")
    assert reply.status == 200
    page = reply.body.decode()
    for link in (
        "/p/demo/asset/shots/sh010.blend", "/p/demo/asset/textures/fox_fur.png",
        "/p/green/asset/props/fox_tail.blend", "/p/demo/home", "/p/green/home", "/p/demo/job/", "?owner=fox",
    ):  # fmt: skip
        assert link in page, link
    for said in ("Foxy Lane", "The fox is too fast here.", "Fox in the rain", "8 things fit “FOX”."):
        assert said in page, said
    data = ana.get("/api/search?q=fox").data
    assert data["totals"] == {"files": 3, "people": 1, "projects": 2, "notes": 1, "renders": 1}
    assert [one["name"] for one in data["files"]] == ["Fox runs", "Fox fur", "Tail"]
    assert data["renders"][0]["name"] == "Fox in the rain"


def test_within_a_project_only_its_own_is_found(ana: Browser) -> None:
    page = ana.get("/p/green/search?q=fox").body.decode()
    assert "/p/green/asset/props/fox_tail.blend" in page
    assert "sh010" not in page
    assert "too fast" not in page
    assert 'href="/search?q=fox"' in page
    assert ana.get("/api/search?q=fox&project=green").data["totals"]["renders"] == 0
    assert ana.get("/api/search?q=fox&project=none").status == 404


def test_pairs_find_files_alone_and_nothing_finds_nothing(ana: Browser) -> None:
    found = ana.get("/api/search?q=fox+state:us").data
    assert found["totals"] == {"files": 1, "people": 0, "projects": 0, "notes": 0, "renders": 0}
    assert sum(ana.get("/api/search?q=").data["totals"].values()) == 0
    assert "Type a word" in ana.get("/search").body.decode()
    assert "Nothing fits “zebra”." in ana.get("/search?q=zebra").body.decode()


def test_any_words_stay_words(house: House, ana: Browser) -> None:
    house.asset("demo/shots/x.blend", name="<b>{x}</b>", description="{{'ha'*3}}")
    for q in ("<script>alert(1)</script>", "{{'ha'*3}}", "<b>{x}", "{n}", "‮x", '"', "%s"):
        reply = ana.ask("GET", "/search?q=" + q.replace("%", "%25"))
        assert reply.status == 200, q
        page = reply.body.decode()
        assert "<script>alert" not in page
        assert "<b>{x}" not in page
        assert "hahaha" not in page
    assert ana.get("/search?q=" + "x" * 10_000).status == 400
    assert Browser(house.croft.wsgi).get("/search?q=fox").status == 303
