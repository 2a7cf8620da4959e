"""What goes in: bodies, queries, addresses, methods. Wrong input gets a sentence and changes nothing."""

from __future__ import annotations

import io
from typing import Any

import pytest
from house import House

from server.disk import errors
from server.web.requests import STATUS, status_of


class Never(io.RawIOBase):
    """A body that mustn't be read."""

    def read(self, size: int = -1) -> Any:
        raise AssertionError("the body was read")


class Endless(io.RawIOBase):
    """A body without an end, and how much of it was taken."""

    taken = 0

    def read(self, size: int = -1) -> bytes:
        assert size > 0, "read without a bound"
        self.taken += size
        return b"x" * size


def snapshot(house: House) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in house.data.rglob("*") if p.is_file() and ".croft" not in p.parts}


def test_every_error_has_a_status() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.CroftError)]
    for kind in kinds:
        if kind is not errors.CroftError:
            assert any(issubclass(kind, known) for known, _ in STATUS), f"{kind.__name__} has no status"
    assert status_of(ValueError()) == 500


def test_a_gigabyte_is_refused_unread(house: House) -> None:
    browser = house.browser("admin")
    headers = {"Content-Length": str(1 << 30), "Content-Type": "application/json"}
    for method, path in (("POST", "/api/jobs"), ("PATCH", "/api/assets/data::demo/a.blend")):
        reply = browser.ask(method, path, headers=headers, stream=Never())
        assert reply.status == 413
        assert "bytes" in reply.message


def test_a_body_without_length_is_cut_off(house: House) -> None:
    body = Endless()
    headers = {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    reply = house.browser("admin").ask("POST", "/api/jobs", headers=headers, stream=body)
    assert reply.status == 413
    assert body.taken < 9 << 20


@pytest.mark.parametrize("length", ["-1", "1e3", "abc", "١"])
def test_an_odd_content_length_is_refused(house: House, length: str) -> None:
    headers = {"Content-Length": length, "Content-Type": "application/json"}
    assert house.browser("admin").ask("POST", "/api/jobs", headers=headers, stream=Never()).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"nope",
        b"[" * 100_000,
        b'{"a": NaN}',
        b"\xff\xfe",
        b'"\\ud800"',
        b"null",
        b"[]",
        b"3",
        b'"x"',
    ],
)
def test_what_is_not_the_json_that_is_wanted(house: House, body: bytes) -> None:
    before = snapshot(house)
    browser = house.browser("admin")
    for path in ("/api/jobs", "/api/new_job", "/api/assets"):
        reply = browser.ask("POST", path, raw=body)
        assert reply.status == 400, path
        assert reply.message.endswith(".")
        assert reply.data is None
    assert snapshot(house) == before


def test_another_content_type_is_refused(house: House) -> None:
    browser = house.browser("admin")
    reply = browser.ask("POST", "/api/jobs", raw=b"file=x", kind="application/x-www-form-urlencoded")
    assert reply.status == 415
    assert "application/json" in reply.message


@pytest.mark.parametrize(
    "address",
    [
        "data::../../etc/passwd",
        "data::demo/../../x.blend",
        "data::/etc/passwd",
        "data::demo/a\0.blend",
        "nowhere::demo/a.blend",
        "demo/a.blend",
        "::",
        "data::",
        "data::" + "x/" * 3000,
        "data::demo/" + "y" * 300 + ".blend",
    ],
)
def test_nothing_outside_a_share_is_reached(house: House, address: str) -> None:
    browser = house.browser("admin")
    before = snapshot(house)
    replies = [
        browser.get(f"/api/assets/{address}"),
        browser.get(f"/files/{address}"),
        browser.get(f"/thumb/{address}"),
        browser.patch(f"/api/assets/{address}", {"description": "x"}),
        browser.ask("DELETE", f"/api/assets/{address}"),
        browser.ask("PUT", f"/api/files/{address}.blend", raw=b"x", kind="application/octet-stream"),
        browser.post("/api/jobs", {"file": address}),
        browser.post("/api/assets", {"address": address}),
        browser.get(f"/api/history?address={address}"),
    ]
    for reply in replies:
        assert reply.status in (400, 404), (reply.status, reply.body)
        assert len(reply.message) > 10
    assert snapshot(house) == before


def test_a_symlink_out_of_the_share_is_not_followed(house: House) -> None:
    (house.data / "demo").mkdir(exist_ok=True)
    secret = house.config / "server.json"
    (house.data / "demo" / "out.png").symlink_to(secret)
    (house.data / "demo" / "folder").symlink_to(house.config)
    house.croft.services.store.refresh("data::demo/out.png")
    browser = house.browser("admin")
    for inside in ("demo/out.png", "demo/folder/server.json"):
        assert browser.get(f"/files/data::{inside}").status in (400, 404)
    reply = browser.ask(
        "PUT", "/api/files/data::demo/folder/x.blend", raw=b"x", kind="application/octet-stream"
    )
    assert reply.status in (400, 404)
    assert not (house.config / "x.blend").exists()


def test_methods_and_places_that_are_not(house: House) -> None:
    browser = house.browser("admin")
    assert browser.get("/api/nowhere").status == 404
    reply = browser.ask("DELETE", "/api/projects")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, POST")
    assert browser.ask("BREW", "/api/jobs").status == 405
    assert browser.get("/api/assets/data::demo/%ff").status in (400, 404)
    assert browser.get("/api/").status == 404
    assert house.browser().get("/api/nowhere").status == 404


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=-1", "limit=x", "limit=1001", "limit=99999999999999999999"]
)
def test_limits_have_limits(house: House, query: str) -> None:
    browser = house.browser("student")
    for path in ("/api/projects", "/api/assets", "/api/jobs", "/api/nodes", "/api/problems", "/api/users"):
        reply = browser.get(f"{path}?{query}")
        assert reply.status == 400, path
        assert "limit" in reply.message


@pytest.mark.parametrize("cursor", ["-1", "x", "9" * 30, "{}", "~~", "zz~bad"])
def test_spoilt_cursors(house: House, cursor: str) -> None:
    house.asset("demo/shots/a.blend")
    browser = house.browser("student")
    for path in ("/api/projects", "/api/assets", "/api/assets?project=demo", "/api/users", "/api/jobs"):
        joint = "&" if "?" in path else "?"
        assert browser.get(f"{path}{joint}cursor={cursor}").status in (200, 400), path


def test_every_list_can_be_walked(house: House) -> None:
    for n in range(5):
        house.asset(f"demo/shots/s{n}.blend")
    browser = house.browser("student")
    for path, count in (("/api/users", 3), ("/api/assets", 5), ("/api/assets?project=demo", 5)):
        joint = "&" if "?" in path else "?"
        seen: list[Any] = []
        cursor = ""
        while True:
            reply = browser.get(f"{path}{joint}limit=2&cursor={cursor}")
            assert reply.status == 200
            seen += reply.data
            cursor = reply.json["next"]
            if not cursor:
                break
        keys = [row.get("address") or row["id"] for row in seen]
        assert len(keys) == len(set(keys)) == count, path


def test_security_headers_are_on_everything(house: House) -> None:
    browser = house.browser()
    for path in ("/", "/sign-in", "/healthz", "/static/croft.css", "/nothing", "/api/x", "/api/docs"):
        headers = browser.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"], path
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff", path
        assert "referrer-policy" in headers, path


def test_an_unforeseen_error_is_a_sentence_and_a_log(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def bug() -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(house.croft.services.projects, "list", bug)
    reply = house.browser("student").get("/api/projects")
    assert reply.status == 500
    assert "secret" not in reply.message
    number = reply.message.rstrip(".").split()[-1]
    assert number in caplog.text
    assert "secret detail" in caplog.text


def test_static_files_are_kept_by_content(house: House) -> None:
    browser = house.browser()
    url = house.croft.services.static.url("croft.css")
    reply = browser.get(url, headers={"Accept-Encoding": "gzip, br"})
    assert reply.status == 200
    assert "immutable" in reply.headers["cache-control"]
    assert reply.headers["content-encoding"] == "gzip"
    again = browser.get("/static/croft.css", headers={"If-None-Match": reply.headers["etag"]})
    assert (again.status, again.body) == (304, b"")
    assert "immutable" not in browser.get("/static/croft.css?v=old").headers["cache-control"]
    for path in (
        "/static/../base.html",
        "/static/%2e%2e/base.html",
        "/static/",
        "/static/x.py",
        "/static/a\0.css",
    ):
        assert browser.get(path).status in (400, 404), path
