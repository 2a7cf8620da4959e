"""Files over HTTP: ranges, thumbnails, uploads; nothing is run by a browser, nothing overwritten."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from house import House, Reply
from PIL import Image

from server.web.api import files as files_api
from server.web.api.files import LARGE_AT_ONCE

OCTETS = "application/octet-stream"


def put(house: House, address: str, content: bytes, **more: Any) -> Reply:
    return house.browser("student").ask("PUT", f"/api/files/{address}", raw=content, kind=OCTETS, **more)


def leftovers(house: House) -> list[str]:
    house.croft.services.ingest.wait()  # it writes aside, too
    return [p.name for p in (house.data / "demo").rglob(".*") if p.is_file() and ".croft" not in p.parts]


def test_a_file_whole_and_in_parts(house: House) -> None:
    content = bytes(range(256)) * 10
    address = house.make("demo/film.mp4", content)
    browser = house.browser("student")
    whole = browser.get(f"/files/{address}")
    assert (whole.status, whole.body, whole.headers["content-type"]) == (200, content, "video/mp4")
    assert whole.headers["content-disposition"].startswith("inline")
    for header, part in (
        ("bytes=0-9", content[:10]),
        ("bytes=100-", content[100:]),
        ("bytes=-5", content[-5:]),
        ("bytes=2559-9999", content[2559:]),
    ):
        reply = browser.get(f"/files/{address}", headers={"Range": header})
        assert (reply.status, reply.body) == (206, part), header
        assert reply.headers["content-range"].endswith("/2560")
    for header in ("bytes=2560-", "bytes=9-3", "bytes=-0"):
        reply = browser.get(f"/files/{address}", headers={"Range": header})
        assert (reply.status, reply.headers["content-range"]) == (416, "bytes */2560"), header
    for header in ("bytes=0-1,5-6", "lines=1-2", "bytes=-", "nonsense"):
        assert browser.get(f"/files/{address}", headers={"Range": header}).body == content, header
    etag = whole.headers["etag"]
    assert browser.get(f"/files/{address}", headers={"If-None-Match": etag}).status == 304
    headers = {"Range": "bytes=0-1", "If-Range": '"other"'}
    assert browser.get(f"/files/{address}", headers=headers).status == 200
    head = browser.ask("HEAD", f"/files/{address}")
    assert (head.body, head.headers["content-length"]) == (b"", "2560")


def test_a_large_file_gives_its_place_back(house: House) -> None:
    content = os.urandom(3 << 20)
    address = house.make("demo/big.mp4", content)
    browser = house.browser("student")
    for _ in range(LARGE_AT_ONCE + 2):
        assert browser.get(f"/files/{address}").body == content


@pytest.mark.parametrize(
    "name", ["page.html", "drawing.svg", "a.js", "a.xml", "scene.blend", "x.pdf", "noext"]
)
def test_a_browser_runs_nothing(house: House, name: str) -> None:
    address = house.make(f"demo/{name}", b"<script>alert(1)</script>")
    headers = house.browser("student").get(f"/files/{address}").headers
    assert headers["content-type"] == OCTETS
    assert headers["content-disposition"].startswith("attachment")
    assert headers["content-security-policy"].startswith("sandbox")
    assert headers["x-content-type-options"] == "nosniff"


def test_what_is_crofts_own_is_not_a_file(house: House) -> None:
    house.asset("demo/shots/a.blend")
    browser = house.browser("admin")
    for inside in (
        ".croft-share.json",
        "demo/shots/.croft/a.blend/file.json",
        ".croft-locks",
        "demo",
        "demo/none",
    ):
        assert browser.get(f"/files/data::{inside}").status in (400, 404), inside
    os.mkfifo(house.data / "demo" / "pipe.png")
    assert browser.get("/files/data::demo/pipe.png").status == 404


def test_an_upload_arrives_whole(house: House) -> None:
    content = os.urandom(300_000)
    reply = put(house, "data::demo/shots/new.blend", content)
    assert (reply.status, reply.data["size"]) == (201, len(content))
    path = house.data / "demo/shots/new.blend"
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o060 == 0o060, "the group may change it"
    assert house.browser("student").get(reply.data["url"]).body == content
    assert leftovers(house) == []


def test_an_upload_never_replaces(house: House) -> None:
    house.make("demo/shots/a.blend", b"a student's work")
    reply = put(house, "data::demo/shots/a.blend", b"other")
    assert reply.status == 409
    assert (house.data / "demo/shots/a.blend").read_bytes() == b"a student's work"
    assert leftovers(house) == []


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("data::demo/a.blend.json", 415),
        ("data::demo/project.json", 415),
        ("data::demo/virus.exe", 415),
        ("data::demo/page.html", 415),
        ("data::demo/noext", 415),
        ("data::demo/.hidden.blend", 400),
        ("data::demo/.croft/a.blend", 400),
        ("data::.croft-locks/a.blend", 400),
        ("data::a.blend", 404),
        ("data::noproject/a.blend", 404),
        ("other::demo/a.blend", 404),
        ("data::demo/../a.blend", 400),
    ],
)
def test_uploads_that_are_refused(house: House, address: str, status: int) -> None:
    assert house.croft.services.history.wait()  # the project's history has begun
    before = sorted(str(p) for p in house.data.rglob("*"))
    assert put(house, address, b"x").status == status
    assert sorted(str(p) for p in house.data.rglob("*")) == before


def test_too_large_an_upload_leaves_nothing(house: House) -> None:
    (house.config / "server.json").write_text('{"max_upload_bytes": 1024, "site": "t"}')
    house.croft.services.settings._looked.clear()
    assert put(house, "data::demo/a.blend", b"x" * 1025).status == 413
    assert not (house.data / "demo/a.blend").exists()
    assert leftovers(house) == []


def test_an_upload_of_unknown_length_is_refused(house: House) -> None:
    """A broken connection would look like its end."""
    endless = io.BytesIO(b"x" * 5000)
    headers = {"Transfer-Encoding": "chunked", "Content-Type": OCTETS}
    reply = house.browser("student").ask(
        "PUT", "/api/files/data::demo/a.blend", headers=headers, stream=endless
    )
    assert reply.status == 411
    assert not (house.data / "demo/a.blend").exists()
    assert leftovers(house) == []


def test_uploads_never_take_every_thread(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_api, "_uploads", threading.BoundedSemaphore(1))
    monkeypatch.setattr(files_api, "UPLOAD_WAIT_S", 0.01)
    with files_api._uploads:
        reply = put(house, "data::demo/a.blend", b"x")
    assert reply.status == 503
    assert put(house, "data::demo/a.blend", b"x").status == 201, "its place came back"
    assert put(house, "data::demo/a.blend", b"x").status == 409
    assert put(house, "data::demo/b.blend", b"x").status == 201, "that of a refused one too"


def test_a_torn_upload_leaves_nothing(house: House) -> None:
    headers = {"Content-Length": "1000", "Content-Type": OCTETS}
    reply = house.browser("student").ask(
        "PUT", "/api/files/data::demo/a.blend", headers=headers, stream=io.BytesIO(b"x" * 500)
    )
    assert reply.status == 400
    assert not (house.data / "demo/a.blend").exists()
    assert leftovers(house) == []


def test_thumbnails(house: House, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (640, 360), "red").save(picture, "PNG")
    address = house.make("demo/a.png", picture.getvalue())
    browser = house.browser("student")
    for _ in range(200):
        reply = browser.get(f"/thumb/{address}?w=100&v=1")
        if reply.status != 503:
            break
    assert reply.status == 200, reply.body
    assert "immutable" in reply.headers["cache-control"]
    shown = Image.open(io.BytesIO(reply.body))
    assert shown.width in (100, 128)
    assert browser.get(f"/thumb/{address}", headers={"If-None-Match": reply.headers["etag"]}).status in (
        200,
        304,
    )
    assert browser.get("/thumb/" + house.make("demo/a.txt", b"x")).status == 404
    assert browser.get("/thumb/data::demo/none.png").status == 404
    assert browser.get(f"/thumb/{address}?w=99999").status == 400
