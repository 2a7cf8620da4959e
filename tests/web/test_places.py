"""Where a file lies, said as Windows, macOS and Linux take it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from house import House

from server.web.pages.places import places, roots, system_of

NAS = "\\\\nas\\films"
SMB = "smb://nas/films"
INSIDE = "green/shots/sh 010.blend"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36"
MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15"


@pytest.mark.parametrize(
    ("share", "found"),
    [
        ({}, {"server": "/srv"}),
        ({"people": NAS}, {"windows": NAS, "macos": SMB, "linux": SMB}),
        ({"windows": "Z:"}, {"windows": "Z:"}),
        ({"macos": "/Volumes/films"}, {"macos": "/Volumes/films"}),
        ({"linux": "/mnt", "windows": NAS}, {"windows": NAS, "macos": SMB, "linux": "/mnt"}),
        ({"people": SMB}, {"windows": NAS, "macos": SMB, "linux": SMB}),
        ({"people": "/mnt/films", "macos": 5}, {"linux": "/mnt/films"}),
    ],
)  # fmt: skip
def test_what_isnt_given_follows_where_it_can(share: dict[str, Any], found: dict[str, str]) -> None:
    assert roots(share, "/srv") == found


def test_paths_are_written_as_their_system_does_and_the_readers_comes_first() -> None:
    share = {"windows": "Z:\\", "macos": "/Volumes/films/", "linux": "smb://nas/films"}
    found = places(share, "/srv", INSIDE, MAC)
    assert [one["system"] for one in found] == ["macos", "windows", "linux"]
    assert [one["file"] for one in found] == [
        "/Volumes/films/green/shots/sh 010.blend",
        "Z:\\green\\shots\\sh 010.blend",
        "smb://nas/films/green/shots/sh%20010.blend",
    ]
    assert found[1]["folder"] == "Z:\\green\\shots"
    assert places({}, "/srv", "a.blend", WINDOWS)[0]["folder"] == "/srv"
    phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)"
    assert (system_of(WINDOWS), system_of(MAC), system_of(phone), system_of("")) == (
        "windows",
        "macos",
        "",
        "",
    )


def test_the_page_offers_them_for_copying(house: House) -> None:
    (house.config / "shares").mkdir(exist_ok=True)
    (house.config / "shares/data.json").write_text(json.dumps({"windows": NAS, "macos": "/Volumes/films"}))
    house.until(lambda: house.croft.services.settings.folder("shares").get("data", {}).get("windows"))
    house.asset("demo/shots/a & b.blend")
    page = (
        house.browser("student")
        .get("/p/demo/asset/shots/a & b.blend", headers={"user-agent": MAC})
        .body.decode()
    )
    for shown in (
        "/Volumes/films/demo/shots", "\\\\nas\\films\\demo\\shots\\a &amp; b.blend",
        "smb://nas/films/demo/shots/a%20%26%20b.blend",
    ):  # fmt: skip
        assert f'data-copy="{shown}"' in page
    assert page.index('data-copy="/Volumes') < page.index('data-copy="\\\\nas')
