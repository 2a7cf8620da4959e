"""Rendered versions from pages and the API: who may approve, what lists hide, the exact source, undo."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode

import pytest
from house import QUICK, SCENE
from test_home_pages import Studio

from server.web.app import build

SHOT = "data::demo/shots/sh010.blend"
API = f"/api/assets/{SHOT}"
PAGE = "/p/demo/asset/shots/sh010.blend"
PLACE = "demo/shots/render/sh010"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("studio")
    config, data = folder / "config", folder / "data"
    (config / "users").mkdir(parents=True)
    (config / "server.json").write_text(QUICK)
    for ident in ("ana", "ben", "cleo"):
        (config / "users" / f"{ident}.json").write_text(json.dumps({"role": "student"}))
    croft = build(config, data)
    made = Studio(croft, config, data)
    made.make("demo/project.json", b'{"title": "Foxes"}')
    made.asset("demo/shots/sh010.blend", type="shot", render=True, owner="ana", support=["ben"], uuid="u")
    for _ in range(3):
        made.render("sh010", "1-2", 1)
    yield made
    croft.close()


def listed(studio: Studio, query: str = "") -> list[str]:
    return [row["id"] for row in studio.browser("student").get(f"{API}/versions{query}").data]


def judge(studio: Studio, who: str, version: str, **body: Any) -> Any:
    return studio.browser(who).patch(f"{API}/versions/{version}", body)


def test_what_nobody_approved_is_listed_where_it_is_asked_for(studio: Studio) -> None:
    every = ["render-v003", "render-v002", "render-v001"]
    reply = studio.browser("student").get(f"{API}/versions")
    assert reply.data == []
    assert reply.message == "0 published, 0 approved; ?unapproved=1 lists 3 more renders."
    assert listed(studio, "?unapproved=1") == every
    assert listed(studio, "?unapproved=1&kind=published") == []
    reply = judge(studio, "supervisor", "render-v002", approved=True, comment="the fox jumps")
    assert (reply.status, reply.data["comment"], reply.data["approved_by"]) == (
        200, "the fox jumps", "supervisor",
    )  # fmt: skip
    assert listed(studio) == ["render-v002"]
    rows = studio.browser("student").get(f"{API}/versions?unapproved=true&kind=render").data
    assert [(row["id"], row["approved"], row["current"]) for row in rows] == [
        ("render-v003", False, False), ("render-v002", True, True), ("render-v001", False, False),
    ]  # fmt: skip
    assert os.readlink(studio.data / PLACE / "current") == "v002"
    back = studio.browser("supervisor").ask(*reply.data["undo"].values())
    assert back.status == 200
    assert listed(studio) == []
    assert studio.browser("student").get(f"{API}/versions?unapproved=maybe").status == 400


def test_an_approval_that_replaced_another_is_undone_to_that_one(studio: Studio) -> None:
    judge(studio, "supervisor", "render-v001", approved=True, comment="first")
    reply = judge(studio, "supervisor", "render-v003", approved=True)
    assert listed(studio) == ["render-v003"]
    studio.browser("supervisor").ask(*reply.data["undo"].values())
    rows = studio.browser("student").get(f"{API}/versions").data
    assert [(row["id"], row["comment"]) for row in rows] == [("render-v001", "first")]
    judge(studio, "supervisor", "render-v001", approved=False)


def test_pages_group_what_is_approved_waiting_and_rejected(studio: Studio) -> None:
    evil = "<b>too dark</b> {{ 7*7 }} \u202e"
    reply = judge(studio, "supervisor", "render-v001", rejected=True, comment=evil)
    assert reply.message == "Version 1 of sh010.blend is rejected."
    judge(studio, "supervisor", "render-v002", approved=True)
    page = studio.browser("supervisor").get(PAGE).body.decode()
    section = page[page.index('id="s-versions"') : page.index('name="left"')]
    approved, waiting, rejected = (section.index(f'id="v-render-v00{n}"') for n in (2, 3, 1))
    assert approved < section.index('<details id="unapproved">') < waiting
    assert waiting < section.index('<details id="rejected">') < rejected
    assert "1 that isn’t approved yet" in section
    assert evil in unescape(section)
    assert "<b>too dark" not in page
    assert "Take the approval back" in section
    assert "Take the rejection back" in section
    assert '<details id="unapproved" open>' in studio.text("student", PAGE + "?unapproved=1")
    student = studio.text("student", PAGE)
    assert "Take the approval back" not in student
    assert "Bring its scene back" in student
    for who, sees in (("supervisor", True), ("cleo", False)):
        for place in ("/p/demo/shots", "/rendering"):
            shown = studio.text(who, place)
            assert "Approved" in shown
            assert ("versions/render-v00" in shown) is sees, (who, place)
    assert "Rejected" in studio.text("supervisor", "/rendering")
    judge(studio, "supervisor", "render-v001", approved=False)
    judge(studio, "supervisor", "render-v002", approved=False)


def test_an_approval_stops_what_is_still_to_come_and_says_so(studio: Studio) -> None:
    job = studio.render("sh010", "1-3", 1)
    row = studio.browser("student").get(f"{API}/versions?unapproved=1").data[0]
    assert (row["id"], row["state"]) == ("render-v004", "running")
    assert row["statistics"]["nodes"]["atom-3"]["done"] == 1
    reply = judge(studio, "supervisor", "render-v004", approved=True)
    assert (
        reply.message
        == "Version 4 of sh010.blend is approved. The frames that were still to come are stopped."
    )
    state = lambda: studio.browser("student").get(f"/api/jobs/{job}").data["state"]  # noqa: E731
    assert state() == "cancelled"
    again = studio.browser("supervisor").patch(f"/api/jobs/{job}", {"requeue": "all"})
    assert (again.status, again.message) == (
        409,
        "It can't be rendered again: version 4 is approved and takes no more frames: take the approval back, "
        "or render it anew.",
    )
    studio.browser("supervisor").ask(*reply.data["undo"].values())
    assert state() == "waiting"  # it goes on
    reply = judge(studio, "supervisor", "render-v004", rejected=True)
    assert reply.message == "Version 4 of sh010.blend is rejected."


def test_a_form_without_scripts_rejects_with_a_comment(studio: Studio) -> None:
    browser = studio.browser("supervisor")
    call = f'PATCH {API}/versions/render-v003 {{"rejected": true}}'
    body = urlencode({"comment": "late", "do": call})
    reply = browser.ask("POST", "/do", raw=body.encode(), kind="application/x-www-form-urlencoded")
    assert reply.status == 303
    rows = {row["id"]: row for row in studio.browser("student").get(f"{API}/versions?unapproved=1").data}
    assert (rows["render-v003"]["rejected"], rows["render-v003"]["comment"]) == (True, "late")
    assert os.readlink(studio.data / PLACE / "current") == "v002"
    history = studio.text("student", "/p/demo/history")
    assert "rejected version 3" in history
    judge(studio, "supervisor", "render-v003", approved=False)


def test_who_may_approve_is_the_projects_word(studio: Studio) -> None:
    assert [judge(studio, who, "render-v001", approved=True).status for who in ("ana", "ben")] == [403, 403]
    boss = studio.browser("supervisor")
    assert studio.browser("ana").patch("/api/projects/demo", {"approve_by": "lighter"}).status == 403
    assert boss.patch("/api/projects/demo", {"approve_by": "me"}).status == 400
    project = boss.patch("/api/projects/demo", {"approve_by": "lighter"}).data
    assert project["approve_by"] == "lighter"
    assert 'value="lighter" selected' in boss.get("/p/demo/project").body.decode()
    # Nobody has a role called after light: who owns the shot lights it.
    assert [judge(studio, who, "render-v001", approved=True).status for who in ("ana", "ben")] == [200, 403]
    assert "versions/render-v001" in studio.text("ana", PAGE)
    role = boss.post("/api/projects/demo/roles", {"title": "Lighting", "people": ["ben", "cleo"]}).data
    # Of those who light, who works on this shot.
    assert [judge(studio, who, "render-v001", approved=True).status for who in ("ana", "ben", "cleo")] == [
        403, 200, 403,
    ]  # fmt: skip
    boss.ask("DELETE", f"/api/projects/demo/roles/{role['id']}")
    boss.patch("/api/projects/demo", {"approve_by": "supervisors"})
    judge(studio, "supervisor", "render-v001", approved=False)


def test_what_another_server_approved_shows_by_itself(studio: Studio) -> None:
    judged = studio.croft.services.judged
    known = dict(judged.of(SHOT))
    path = studio.data / PLACE / "v001.json"
    before = path.read_bytes()
    aside = path.with_name(".croft-tmp-of-another")
    aside.write_text(json.dumps({**json.loads(before), "approved": True}))
    aside.replace(path)
    studio.until(lambda: judged.of(SHOT) == {**known, "v001": "approved"})
    path.write_bytes(before)
    studio.until(lambda: judged.of(SHOT) == known)


@pytest.mark.parametrize(
    ("version", "body", "status"),
    [
        ("render-v009", {"approved": True}, 404),
        ("render-v001.json", {"approved": True}, 404),
        ("render-current", {"approved": True}, 404),
        ("render-v001", {}, 400),
        ("render-v001", {"comment": "x"}, 400),
        ("render-v001", {"approved": True, "rejected": True}, 400),
        ("render-v001", {"approved": True, "comment": "x" * 2001}, 400),
    ],
)
def test_odd_words_change_nothing(studio: Studio, version: str, body: dict[str, Any], status: int) -> None:
    before = (studio.data / PLACE / "v001.json").read_bytes()
    reply = judge(studio, "supervisor", version, **body)
    assert reply.status == status, reply.message
    assert (studio.data / PLACE / "v001.json").read_bytes() == before


def test_the_exact_source_of_a_version_comes_back(studio: Studio) -> None:
    path: Path = studio.data / "demo/shots/sh010.blend"
    before = path.read_bytes()
    path.write_bytes(SCENE + b"more" + SCENE)
    studio.croft.services.store.refresh(SHOT)
    ana = studio.browser("ana")
    reply = ana.post(f"{API}/restore", {"save": "render-v001", "beside": True})
    assert reply.status == 200, reply.message
    assert reply.data["address"] == "data::demo/shots/sh010 (render v001).blend"
    assert (path.parent / "sh010 (render v001).blend").read_bytes() == before
    assert path.read_bytes() != before
    copy = json.loads((path.parent / "sh010 (render v001).blend.json").read_text())
    assert (copy["render"], bool(copy["derived_from"])) == (False, True)  # no further shot of the film
    assert ana.ask(reply.data["undo"]["method"], unquote(reply.data["undo"]["path"])).status == 200
    job = json.loads((studio.data / PLACE / "v001.json").read_text())["job"]
    kept = studio.data / f"demo/shots/.croft/sh010.blend/jobs/{job}/snapshot.blend"
    studio.until(kept.exists)
    kept.write_bytes(b"BLENDER of another")
    reply = ana.post(f"{API}/restore", {"save": "render-v001", "beside": True})
    assert (reply.status, reply.message) == (
        409, "What is kept of the scene of version 1 isn't what was rendered.",
    )  # fmt: skip
    kept.unlink()
    assert ana.post(f"{API}/restore", {"save": "render-v001"}).status == 404
    assert path.read_bytes() != before
