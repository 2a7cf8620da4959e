"""Computers elsewhere over HTTP: what prenodes say, where renders may run, rules tried out."""

from __future__ import annotations

import json
from typing import Any

from house import Browser, House


def test_prenodes_and_where_renders_may_run(house: House) -> None:
    admin = house.browser("admin")
    job = admin.post("/api/jobs", {"file": house.scene(), "frames": "1-5"}).data["id"]
    told: dict[str, Any] = {"protocol": 2, "name": "lab", "engine": "slurm", "version": "1"}
    run = {"run": "a.1", "job": job, "there": "12_1", "state": "waiting", "why": "Priority"}
    # A prenode needs a node's token
    assert house.browser("admin").post("/potential", told).status in (401, 403)
    token = house.croft.services.people.make_token(node="*", title="lab")
    answer = Browser(house.croft.wsgi, token).post("/potential", {**told, "runs": [run]}).json
    assert set(answer) == {"again", "demand", "ended", "shares"}
    # What it said is there to be seen, by those who are signed in
    assert house.browser().get("/api/farm/elsewhere").status == 401
    found = admin.get("/api/farm/elsewhere").data
    [one] = found["prenodes"]
    assert (one["name"], one["here"], one["counts"]["waiting"]) == ("lab", True, 1)
    assert one["runs"][0]["why"] == "Priority"
    # And on the page of all renders, with nothing of it taken for HTML
    spoilt = {**run, "run": "a.2", "state": "failed", "why": "<b>no blender</b>", "host": "<i>n7"}
    other = {**told, "name": 'uni"<', "error": "qsub {says} no", "runs": [spoilt]}
    Browser(house.croft.wsgi, token).post("/potential", other)
    page = admin.get("/p/demo/rendering").body.decode()
    for text in ("Elsewhere", "1 waits", "Priority", "uni&#34;&lt;", "&lt;b&gt;no blender", "qsub {says} no"):
        assert text in page, text
    assert "<b>no" not in page
    words = b"Elsewhere: 1 waits, 1 failed."
    house.until(lambda: words in admin.get(f"/p/demo/job/{job}").body)
    assert "1 failed" in admin.get("/rendering").body.decode()
    # And of each render where it may run
    house.until(lambda: admin.get(f"/api/jobs/{job}").data["where"])
    where = admin.get(f"/api/jobs/{job}").data["where"]
    assert (where["here"], where["rule"], where["runs"]["waiting"]) == (True, None, 1)
    rules = {"rules": [{"then": "never-elsewhere"}, {"then": "mars"}]}
    tried = admin.post("/api/farm/where", rules).data
    [row] = [row for row in tried["jobs"] if row["job"] == job]
    assert (row["now"]["elsewhere"], row["then"]["elsewhere"], row["then"]["rule"]) == (5, 0, 1)
    assert len(tried["wrong"]) == 1
    assert admin.get("/api/farm/where").data["jobs"][0]["then"]["rule"] is None
    assert house.browser("student").post("/api/farm/where", rules).status == 403
    # What is wrong with the rules is a problem
    (house.config / "where.json").write_text(json.dumps(rules))
    house.until(lambda: "rule 2" in str(admin.get("/api/problems").data))
    page = admin.get("/admin/configuration").body.decode()
    for text in ("where.json: rule 2: then must be one of", "docs/where.md"):
        assert text in page, text
    house.until(lambda: (admin.get(f"/api/jobs/{job}").data["where"] or {}).get("rule") == 1)


def test_who_looks_is_told_when_something_changes_elsewhere(house: House) -> None:
    token = house.croft.services.people.make_token(node="*")
    bridge, admin = Browser(house.croft.wsgi, token), house.browser("admin")
    job = admin.post("/api/jobs", {"file": house.scene(), "frames": "1-5"}).data["id"]
    run = {"run": "a.1", "job": job, "there": "12_1", "state": "waiting", "why": "Priority"}
    told = {"protocol": 2, "name": "lab", "runs": [run]}
    bridge.post("/potential", told)
    seen: list[Any] = []
    end = house.croft.services.farm.subscribe(lambda changes: seen.extend(changes))
    # The same again is no news
    house.until(lambda: not house.croft.services.farm.board.changed)
    seen.clear()
    bridge.post("/potential", told)
    assert ("farm", "") not in house.croft.services.farm.board.changed
    bridge.post("/potential", {**told, "runs": [{**run, "state": "running"}]})
    house.until(lambda: any(change.kind == "farm" for change in seen))
    end()
    # What it would be told can be asked without being noted
    bridge.post("/potential", {"protocol": 2, "name": "lab", "check": True})
    assert admin.get("/api/farm/elsewhere").data["prenodes"][0]["counts"]["running"] == 1
    assert bridge.post("/potential", {"protocol": 2}).status == 400
    assert bridge.post("/potential", {"protocol": 2, "name": "lab", "runs": {}}).status == 400
