"""Publishing a file from its page and over the API: what is found is asked about, no change is told."""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlencode

import pytest
from house import SCENE, Browser, House

from server.library.saves.publication import Refused, refuse

FILE = "demo/shots/sh010.blend"


def told(house: House, **facts: Any) -> str:
    """A scene of which this was read. Its address."""
    address = house.scene(FILE)
    house.croft.services.ingest.close()  # or it reads once more what is in it
    path = house.data / FILE
    place = path.parent / ".croft" / path.name / "file.json"
    record = json.loads(place.read_text())
    known = {"scenes": [{"name": "Scene"}], "fps": 24, "resolution": [1920, 1080], "percentage": 100}
    place.write_text(json.dumps({**record, "facts": {**known, **facts}}))
    return address


def press(browser: Browser, action: str, **fields: str) -> Any:
    """A button of a page, without scripts."""
    form = urlencode({"do": action, "csrf": browser.csrf, **fields}).encode()
    kind = "application/x-www-form-urlencoded"
    return browser.ask("POST", "/do", raw=form, kind=kind, headers={"Referer": "http://croft.test/"})


def page(browser: Browser) -> str:
    reply = browser.get("/p/demo/asset/shots/sh010.blend")
    assert reply.status == 200
    return reply.body.decode()


def test_warnings_are_asked_about_and_errors_stop(house: House) -> None:
    address, student = told(house, fps=30, resolution=[1280, 720]), house.browser("student")
    url = f"/api/assets/{address}"
    seen = student.get(f"{url}/validations").data["findings"]
    assert [(one["id"], one["severity"]) for one in seen] == [
        ("frame-rate", "warning"), ("resolution", "warning")
    ]  # fmt: skip
    refused = student.post(f"{url}/publish", {"comment": "legs"})
    assert refused.status == 409
    assert refused.data == {"findings": seen}
    assert "Version 1 of sh010.blend isn’t published yet" in refused.message
    assert seen[0]["message"] in refused.message
    partly = student.post(f"{url}/publish", {"despite": ["frame-rate"]})
    assert [one["id"] for one in partly.data["findings"]] == ["resolution"]
    assert student.get(f"{url}/versions").data == []
    words = {"validations": {"resolution": "off", "frame-rate": "error", "no-such": "error"}}
    (house.data / "demo/project.json").write_text(json.dumps(words))
    house.croft.services.store.refresh("data::demo/project.json")
    stopped = student.post(f"{url}/publish", {"despite": True})
    assert [one["severity"] for one in stopped.data["findings"]] == ["error"]
    assert "can’t be published" in stopped.message
    mistakes = [one.text for one in house.croft.services.saves.validations.problems()]
    assert mistakes == ["demo/project.json names a check before publishing that there isn’t: no-such."]
    (house.data / "demo/project.json").write_text("{}")
    house.croft.services.store.refresh("data::demo/project.json")
    done = student.post(f"{url}/publish", {"comment": "legs", "despite": ["frame-rate", "resolution"]})
    assert done.status == 201
    assert [one["id"] for one in done.data["validations"]] == ["frame-rate", "resolution"]
    again = student.post(f"{url}/publish", {"comment": "once more"})
    assert (again.status, again.data["id"]) == (200, "v001")
    assert again.message == "Nothing changed since version 1."
    assert len(student.get(f"{url}/versions").data) == 1
    saves = house.croft.services.saves
    look, newest = saves.validations.look(address), next(iter(saves.versions(address)))
    with pytest.raises(Refused, match=r"Version 2 of sh010\.blend isn’t published yet"):
        refuse(address, look, (), newest)


def test_the_page_shows_what_is_found_and_publishes_all_the_same(house: House) -> None:
    told(house, fps=30)
    student = Browser(house.croft.wsgi)
    student.sign_in("student")
    text = page(student)
    assert "It runs at 30 frames a second; the project’s are 24." in text
    assert "as version 1" in text
    assert "Publish all the same" in text
    api = f"/api/assets/data::{FILE}"
    assert press(student, f"POST {api}/publish", comment="<b>no</b>").status == 303
    assert "isn’t published yet" in page(student)
    press(student, f'POST {api}/publish {{"despite": ["frame-rate"]}}', comment="<b>legs</b>")
    text = page(student)
    assert "Nothing changed since version 1." in text
    assert "&lt;b&gt;legs&lt;/b&gt;" in text
    assert "Published despite 1 warning" in text
    assert "Open version 1" in text
    assert "Publish all the same" not in text
    press(student, f'POST {api}/restore {{"save": "v001", "beside": true}}')
    assert (house.data / "demo/shots/sh010 v001.blend").read_bytes() == SCENE
    guest = page(house.browser("student"))
    assert 'id="publications"' in guest


def test_a_page_offers_what_can_be_done(house: House) -> None:
    """Errors are shown without the button; who may not publish sees what was."""
    told(house, uses=[{"path": "//gone.blend", "kind": "library", "packed": False}])
    text = page(house.browser("student"))
    assert "The scene gone.blend isn’t there." in text
    assert 'id="publishing"' not in text
    reply = house.browser("student").post(f"/api/assets/data::{FILE}/publish", {"despite": True})
    assert [one["id"] for one in reply.data["findings"]] == ["missing-library"]
    os.symlink("sh010.blend", house.data / "demo/shots/gone.blend")
    assert house.browser("student").get(f"/api/assets/data::{FILE}/validations").data["findings"] == []


@pytest.mark.parametrize(
    "body", [{"despite": "all"}, {"despite": [1]}, {"comment": "x" * 2001}, {"force": True}]
)
def test_what_cant_be_meant_is_refused(house: House, body: Any) -> None:
    address = house.scene()
    assert house.browser("student").post(f"/api/assets/{address}/publish", body).status == 400
