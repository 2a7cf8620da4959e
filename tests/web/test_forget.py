"""Somebody is forgotten: nothing that Croft wrote names them any more, but the credits they agreed to."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import Browser, House
from PIL import Image

from server.disk.check import NOTES, check
from server.farm.job_types.seal import fits
from server.farm.jobs.record import result_matches

IDENT, TITLE = "zoe-quin", "Zoe Quintana"


def naming(folder: Path, *words: str) -> Iterator[str]:
    """Every file below that holds one of these words, in its content or its name."""
    for at, _, names in os.walk(folder):
        for name in names:
            path = Path(at, name)
            raw = path.read_bytes()
            if any(word.encode() in raw or word in name for word in words):
                yield path.relative_to(folder).as_posix()


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64), "#8a5300").save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def zoe(house: House) -> Browser:
    """Somebody who has done everything that leaves a name behind."""
    people = house.croft.services.people
    people.make_token(node="atom-3", title=f"admitted by {IDENT}")
    house.croft.services.settings.write("nodes", "atom-3", {"paused": True, "paused_by": IDENT})
    house.croft.services.settings.change(limits={"users": {IDENT: 4, "student": 2}})
    people.add(IDENT, "supervisor", TITLE, "correct horse", email="zoe@example.org", projects=["demo"])
    browser = house.browser(IDENT)
    address = house.scene("demo/shots/sh010.blend")
    for fields in ({"owner": IDENT, "support": [IDENT, "student"]}, {"state": "review"}, {"creator": IDENT}):
        assert browser.patch(f"/api/assets/{address}", fields).status == 200
    assert browser.post(f"/api/assets/{address}/publish", {"comment": "mine"}).status in (200, 201)
    assert browser.post(f"/api/assets/{address}/checkpoint", {"comment": "mine"}).status in (200, 201)
    said = {"text": f"Look at this, @{IDENT} and @student"}
    assert browser.post(f"/api/assets/{address}/notes", said).status == 201
    other = house.scene("demo/shots/sh020.blend")
    assert browser.patch(f"/api/assets/{other}", {"owner": IDENT}).status == 200
    assert browser.ask("DELETE", f"/api/assets/{other}").status == 200
    request = {"file": address, "frames": "1-3", "type": "test-pattern"}
    job = browser.post("/api/jobs", request).data["id"]
    assert browser.ask("DELETE", f"/api/jobs/{job}").status == 200
    assert browser.ask("PUT", f"/api/users/{IDENT}/photo", raw=picture(), kind="image/png").status == 200
    project = house.data / "demo/project.json"
    roles = [{"title": "Direction", "people": ["student", IDENT]}]
    project.write_text(json.dumps({**json.loads(project.read_text()), "roles": roles}))
    house.croft.services.store.refresh("data::demo/project.json")
    return browser


def forget(house: House, **body: str) -> dict[str, object]:
    reply = house.browser("admin").post(f"/api/users/{IDENT}/forget", {"sure": "yes", **body})
    assert reply.status == 200, reply.body
    found: dict[str, object] = reply.data
    return found


def test_nothing_names_who_is_forgotten_but_the_credits(house: House, zoe: Browser) -> None:
    before = sorted(naming(house.data, IDENT))
    assert len(before) > 5, "or this test tries nothing"
    lengths = {path: (house.data / path).stat().st_size for path in before if path.endswith(".jsonl")}
    told = forget(house)
    assert told["credits"] == 1
    assert list(naming(house.data, IDENT)) == []
    assert list(naming(house.config, IDENT, TITLE)) == []
    assert list(naming(house.data, TITLE)) == ["demo/project.json"]
    roles = json.loads((house.data / "demo/project.json").read_text())["roles"]
    assert roles == [{"title": "Direction", "people": ["student", TITLE]}]
    for path, size in lengths.items():
        if "jobs/" in path and (house.data / path).exists():
            assert (house.data / path).stat().st_size == size, (
                "other installations know places by their offset"
            )
    assert zoe.get("/api/session").status == 401, "the token is no good any more"
    admin = house.browser("admin")
    assert admin.post(f"/api/users/{IDENT}/back").status == 404, "nor can they be brought back"
    house.until(lambda: IDENT.encode() not in admin.get("/api/history").body)
    for page in ("/api/jobs", "/api/assets?project=demo", "/api/history", "/p/demo/home", "/p/demo/credits"):
        reply = admin.get(page)
        assert reply.status == 200, page
        at = reply.body.find(IDENT.encode())
        assert at < 0, (page, reply.body[max(0, at - 200) : at + 50])
    assert TITLE in admin.get("/p/demo/credits").body.decode()
    assert "somebody" in admin.get("/p/demo/history").body.decode()


def test_what_was_written_is_whole_afterwards(house: House, zoe: Browser) -> None:
    """Renders can still be read, with their sums; histories too; `check` has nothing to say."""
    services = house.croft.services
    (folder,) = (house.data / "demo/shots/.croft/sh010.blend/jobs").iterdir()
    house.until(lambda: result_matches(folder))
    secret = services.settings.secret("job-seal")
    assert fits(secret, json.loads((folder / "job.json").read_text())), "or this test tries nothing"
    forget(house)
    assert result_matches(folder)
    assert fits(secret, json.loads((folder / "job.json").read_text()))
    (job,) = house.browser("admin").get("/api/jobs").data
    assert (job["state"], job["user"]) == ("cancelled", "somebody")
    assert [one.text for one in check(services.store.shares) if one.kind not in NOTES] == []
    history = services.store.history("data::demo/shots/sh010.blend")
    assert len(history) > 3
    assert {event["who"] for event in history} <= {"", "somebody", "croft", "Croft"}
    assert services.assets.one("data::demo/shots/sh010.blend")["owner"] == ""
    assert services.assets.one("data::demo/shots/sh010.blend")["support"] == ["student"]


def test_the_credits_let_go_of_who_never_agreed(house: House, zoe: Browser) -> None:
    told = forget(house, credits="remove")
    assert told["credits"] == 0
    assert list(naming(house.data, IDENT, TITLE)) == []
    assert json.loads((house.data / "demo/project.json").read_text())["roles"][0]["people"] == ["student"]


def test_a_render_under_way_comes_first_and_nothing_is_changed_before(house: House, zoe: Browser) -> None:
    address = "data::demo/shots/sh010.blend"
    job = zoe.post("/api/jobs", {"file": address, "frames": "1-3", "type": "test-pattern"}).data["id"]
    admin = house.browser("admin")
    reply = admin.post(f"/api/users/{IDENT}/forget", {"sure": "yes"})
    assert reply.status == 409
    assert "1 render of theirs is under way" in reply.message
    assert house.croft.services.people.known(IDENT)
    assert house.croft.services.assets.one(address)["owner"] == IDENT
    assert admin.ask("DELETE", f"/api/jobs/{job}").status == 200
    forget(house)


def test_forgetting_twice_finds_what_came_back(house: House, zoe: Browser) -> None:
    """A folder restored from a backup names them again; the account is long gone."""
    forget(house)
    address = house.asset("demo/shots/back.blend", owner=IDENT, creator=IDENT)
    assert house.browser("admin").get(f"/api/assets/{address}").data["owner"] == IDENT
    told = forget(house)
    assert told["files"] == 1
    assert list(naming(house.data, IDENT)) == []


@pytest.mark.parametrize("who", ["student", "supervisor", IDENT])
def test_only_admins_forget(house: House, who: str) -> None:
    house.croft.services.people.add(IDENT, "supervisor", TITLE)
    assert house.browser(who).post(f"/api/users/{IDENT}/forget", {"sure": "yes"}).status == 403


def test_the_last_admin_cant_be_forgotten(house: House) -> None:
    house.croft.services.people.set_password("admin", "correct horse")
    reply = house.browser("admin").post("/api/users/admin/forget", {"sure": "yes"})
    assert reply.status == 409
    assert house.croft.services.people.known("admin")
