"""What people type is text, whatever they type: every field of every form, sent as a browser sends it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlencode

import pytest
from house import Browser, House
from test_live import PAGES, studio
from window import opened, serving

from server.disk.settings import Settings
from server.library.people import People

KIND = "application/x-www-form-urlencoded"
NASTY = (
    '<b id="inj">x</b>"\'><script>window.inj = 1</script>{{ 7*191 }}{% raw %}{}{0}{user}%s${7*191}&lt;'
    "\u202egnp.exe\u2066 ../../etc"
)
RAW = ("<b id=", "<script>window", "</b>\"'>")
CONTROL = f"{NASTY}\u0000\u001b[2J\ud83d\ufffe"
LONG = "é" * 10_000
TYPED = ("text", "search", "textarea", "date", "number", "time", "email", "")


@dataclass
class Form:
    """A form of a page: what it does, and its fields with what stands in them."""

    call: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)


class Forms(HTMLParser):
    """The forms of a page that people type into."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []
        self.form: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = {name: value or "" for name, value in attrs}
        if tag == "form" and of.get("action") == "/do" and of.get("id") != "do":
            self.form = Form(f"PATCH {of['data-edit']}" if "data-edit" in of else "")
            self.found.append(self.form)
        elif self.form is None or not of.get("name"):
            return
        elif of["name"] == "do" and not self.form.call:
            self.form.call = of["value"]
        elif tag == "textarea" or (tag == "input" and of.get("type", "") in TYPED):
            self.form.typed.append(of["name"])
            self.form.fields.append((of["name"], of.get("value", "")))
        elif of.get("type") == "hidden" and of["name"] not in ("do", "csrf", "etag"):
            self.form.fields.append((of["name"], of.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.form = None


def send(browser: Browser, call: str, fields: list[tuple[str, str]]) -> int:
    raw = urlencode([("do", call), *fields], errors="surrogatepass").encode()
    reply = browser.ask("POST", "/do", raw=raw, kind=KIND, headers={"Accept": "application/json"})
    assert reply.message, (call, reply.status)
    return reply.status


def forms_of(admin: Browser) -> list[Form]:
    """Every form of every page, once."""
    found: dict[tuple[str, tuple[str, ...]], Form] = {}
    for page in PAGES:
        parser = Forms()
        parser.feed(admin.get(page).body.decode())
        for form in parser.found:
            found.setdefault((form.call, tuple(form.typed)), form)
    return list(found.values())


@pytest.mark.parametrize("text", [NASTY, CONTROL, LONG], ids=["nasty", "control", "long"])
def test_every_field_of_every_form_takes_anything_as_text(house: House, text: str) -> None:
    """Given all forms, when each field gets the text, then nothing fails in the server, and each page that
    shows the text shows it as text."""
    admin = studio(house)
    admin.post("/api/assets/data::demo/shots/sh010.blend/notes", {"text": "A word."})
    forms = forms_of(admin)
    tried: dict[str, int] = {}
    for form in forms:
        for name in form.typed:
            status = send(admin, form.call, [(n, text if n == name else v) for n, v in form.fields])
            assert status < 500, f"{form.call}: {name} gave {status}"
            tried[f"{form.call.split(' {')[0]} {name}"] = status
        status = send(admin, form.call, [(n, text if n in form.typed else v) for n, v in form.fields])
        assert status < 500, f"{form.call} gave {status}"
    assert len(tried) > 25, tried
    assert any(status < 300 for status in tried.values())
    errors = house.croft.services.counts.errors
    assert errors == 0
    for page in [
        *PAGES,
        f"/p/demo/assets?{urlencode({'q': text[:4000]}, errors='replace')}",
        f"/search?{urlencode({'q': text[:4000]}, errors='replace')}",
    ]:
        reply = admin.get(page)
        shown = reply.body.decode()
        assert reply.status in (200, 400), (page, reply.status)
        assert not [one for one in RAW if one in shown], page
        assert "1337" not in shown, f"{page} worked a template out of what somebody typed"


def test_in_a_browser_it_stays_text(tmp_path: Path, needs: Callable[[str], str]) -> None:
    needs("chromedriver")
    config, data = tmp_path / "config", tmp_path / "data"
    shots = data / "demo/shots"
    shots.mkdir(parents=True)
    (data / "demo/project.json").write_text(json.dumps({"title": NASTY, "description": NASTY}))
    for name in ("fox", "<img src=x onerror=inj=1>{{ 7*191 }}"):
        (shots / f"{name}.blend").write_bytes(b"BLENDER-v304ENDB" + bytes(20))
        record = {
            "name": NASTY,
            "description": NASTY,
            "type": NASTY,
            "state": NASTY,
            "tags": [NASTY],
            "owner": NASTY,
        }
        (shots / f"{name}.blend.json").write_text(json.dumps({**record, "pipeline": {NASTY: NASTY}}))
    settings = Settings(config)
    settings.write("users", "ana", {"title": NASTY, "role": "admin", "email": NASTY})
    token = People(settings).make_token(user="ana")
    with serving(config, data) as base, opened(base, tmp_path / "profile", needs) as window:
        browser = window.driver
        browser.execute_cdp_cmd("Network.enable", {})
        headers = {"headers": {"Authorization": f"Bearer {token}"}}
        browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", headers)
        window.look(390, "light")
        wrong = []
        for page in ("/", "/p/demo/home", "/p/demo/assets", "/p/demo/asset/shots/fox.blend", "/p/demo/shots",
                     "/p/demo/team", "/p/demo/project", "/p/demo/credits", "/admin/users", "/admin/users/ana",
                     "/search?q=fox", "/p/demo/history"):  # fmt: skip
            window.go(page)
            if window.run(
                "return window.inj || document.getElementById('inj') || document.querySelector('[onerror]')"
            ):
                wrong.append(f"{page} took it for HTML")
            if "1337" in window.run("return document.body.innerText"):
                wrong.append(f"{page} worked it out")
            wide = window.run("const e = document.documentElement; return e.scrollWidth - e.clientWidth")
            if wide > 0:
                wrong.append(f"{page} scrolls sideways by {wide}")
        assert wrong == []
        assert [line for line in window.logged() if "SEVERE" in line] == []
