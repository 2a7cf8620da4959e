"""A render of another site on the pages: shown, not run here, with a button that takes it over."""

from __future__ import annotations

import json

from house import House


def test_a_render_of_another_site_can_be_run_here(house: House) -> None:
    # Given a render that another installation was asked for
    address = house.scene()
    browser = house.browser("admin")
    job = browser.post("/api/jobs", {"file": address, "frames": "1-2"}).data
    [journal] = house.data.rglob("journal.jsonl")
    with open(journal, "a") as lines:
        line = {"at": "2026-01-01T00:00:00.000Z", "event": "site", "value": "south", "by": "ben"}
        lines.write(json.dumps(line) + "\n")
    house.until(lambda: browser.get(f"/api/jobs/{job['id']}").data["elsewhere"])
    # Then its card says so, and offers that alone
    page = browser.get("/p/demo/asset/shots/sh010.blend").body.decode()
    assert "it is rendered at south, not here" in page
    assert "Run it here" in page
    assert ">Pause<" not in page
    # And pressed, it is this site's
    assert browser.patch(f"/api/jobs/{job['id']}", {"paused": False}).status == 200
    assert not browser.get(f"/api/jobs/{job['id']}").data["elsewhere"]
    assert "Run it here" not in browser.get("/p/demo/asset/shots/sh010.blend").body.decode()
