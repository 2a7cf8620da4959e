"""The pages of computers in a real browser: who is there, who wants to join, how one is to work."""

from __future__ import annotations

import json
import secrets
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from painter import Painter
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from window import Window, opened, serving

from server.disk.settings import Settings
from server.library.people import People

SCENE = b"BLENDER-v304" + b"ENDB" + bytes(20)
PASSWORD = "three blind mice"
WIDE = "return document.documentElement.scrollWidth - arguments[0]"
SMALL = """return [...document.querySelectorAll('main button, main a.button, main .chips a, main input, main select')]
  .filter(e => e.checkVisibility()).map(e => [e.outerHTML.slice(0, 120), (e.closest('label') ?? e).getBoundingClientRect()])
  .filter(([, box]) => box.height < 44 || box.width < 44).map(([html]) => html)"""  # noqa: E501


class Lab:
    """A server with computers in every state."""

    def __init__(self, base: str, config: Path, data: Path) -> None:
        self.base = base
        people = People(Settings(config))
        people.set_password("admin", PASSWORD)
        self.token, node = people.make_token(user="admin"), people.make_token(node="*")
        self.nodes = {}
        for name in ("atlas", "bear", "lab-1", "lab-2", "lab-3", "slurm-8812"):
            self.nodes[name] = Painter(base, node, data, name)
        self.nodes["slurm-8812"].identity["single_use"] = True
        self.nodes["lab-3"].identity["paths"] = {"data": "another"}
        told = {"load": 1.5, "memory_free_mb": 2048, "temperature_c": 61, "can_shutdown": True}
        for name, painter in self.nodes.items():
            painter.talk({"id": "info", **told, "at_keyboard": name == "lab-1"})
        self.ask("PATCH", "/api/nodes/lab-1", {"idle_only": True, "groups": ["lab"]})
        self.ask("PATCH", "/api/nodes/lab-2", {"paused": True})

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)["data"]

    def knock(self, name: str, secret: str) -> Any:
        """A computer asks to join."""
        told = {"name": name, "secret": secret, "hardware": {"cores": 8, "memory_mb": 16384}}
        return self.ask("POST", "/register", told)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]) -> Iterator[Lab]:
    needs("chromedriver")
    folder = tmp_path_factory.mktemp("lab")
    shots = folder / "data/demo/shots"
    shots.mkdir(parents=True)
    (shots / "sh010.blend").write_bytes(SCENE)
    (folder / "data/demo/project.json").write_text("{}")
    (folder / "config").mkdir()
    # Long heartbeats: nobody speaks for these computers while the test looks.
    server = {"settle_s": 0.1, "heartbeat_s": 600.0, "lease_s": 3600.0, "timezone": "Europe/Berlin"}
    (folder / "config/server.json").write_text(json.dumps(server))
    with serving(folder / "config", folder / "data") as base:
        yield Lab(base, folder / "config", folder / "data")


@pytest.fixture(scope="module")
def window(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]
) -> Iterator[Window]:
    with opened(lab.base, tmp_path_factory.mktemp("profile"), needs) as made:
        made.look(1280, "light")
        made.go("/sign-in?next=/computers")
        end = time.monotonic() + 20
        while "Admin" not in made.find("main").text:  # the server reads its people again now and then
            assert time.monotonic() < end, "the password isn't known"
            time.sleep(0.1)
            made.go("/sign-in?next=/computers")
        made.button("Admin").click()
        made.until("return document.querySelector('input[type=password]')").send_keys(PASSWORD + Keys.ENTER)
        made.until("return location.pathname == '/computers'")
        yield made


@pytest.fixture(scope="module")
def job(lab: Lab) -> str:
    """A render of which a computer holds a frame, did one, and failed at one."""
    end = time.monotonic() + 20
    while lab.ask("GET", "/api/assets/data::demo/shots/sh010.blend")["status"] != "ok":
        assert time.monotonic() < end
        time.sleep(0.1)
    request = {"file": "data::demo/shots/sh010.blend", "frames": "1-40", "type": "test-pattern"}
    made = str(lab.ask("POST", "/api/jobs", request)["id"])
    lab.nodes["atlas"].paint()
    lab.nodes["atlas"].fail("Error: no camera")
    lab.nodes["atlas"].claim()
    lab.nodes["slurm-8812"].claim()
    return made


def test_they_are_accessible_and_fit(lab: Lab, window: Window, job: str) -> None:
    lab.knock("studio-imac", secrets.token_hex(20))
    hours = [{"days": ["sat", "sun"], "from": "09:00", "to": "18:00"}, {"from": "20:00", "to": "07:00"}]
    lab.ask("PATCH", "/api/nodes/bear", {"schedule": hours})
    wrong: list[str] = []
    for width, scheme in ((390, "light"), (1280, "dark")):
        window.look(width, scheme)
        for page in ("/computers", "/computers/atlas", "/computers/bear", "/rendering"):
            window.go(page)
            window.run("for (const fold of document.querySelectorAll('details')) fold.open = true")
            wrong += [f"{page} {width} {scheme}: {found}" for found in window.violations()]
            if page != "/rendering" and window.run(WIDE, width) > 0:
                wrong.append(f"{page} is wider than {width} by {window.run(WIDE, width)}")
            wrong += [f"{page} {width}: smaller than a finger: {html}" for html in window.run(SMALL)]
    assert wrong == []
    lab.ask("PATCH", "/api/nodes/bear", {"schedule": []})


def test_the_list_says_how_everybody_is(window: Window, lab: Lab, job: str) -> None:
    window.look(1280, "light")
    window.go("/computers")
    assert window.find(".figure").text == "2 of 6 rendering"
    rows = {row.find_element(By.TAG_NAME, "th").text: row.text for row in window.all("tbody tr")}
    assert "Rendering" in rows["atlas"]
    assert "frame 3" in rows["atlas"]
    assert "1.5 of 2" in rows["atlas"]
    assert "2 of 4 GB" in rows["atlas"]
    assert "61 °C" in rows["atlas"]
    assert "Somebody works at it" in rows["lab-1\nlab"]
    assert "by admin" in rows["lab-2"]
    assert "mount the same one" in rows["lab-3"]
    assert "Lent for a while" in window.find("main").text
    window.go("/computers?show=paused")
    assert [row.text for row in window.all("tbody th")] == ["lab-2", "lab-1\nlab"]


def test_a_computer_is_admitted_and_that_is_taken_back(window: Window, lab: Lab) -> None:
    window.look(1280, "light")
    window.go("/computers")
    secret = secrets.token_hex(20)
    code = lab.knock("pc-77", secret)["code"]
    # It shows up by itself, with the code that it shows, too.
    window.until_text(".code-word", code)
    card = window.run(
        "return [...document.querySelectorAll('.asking li')].find(e => e.textContent.includes('pc-77'))"
    )
    card.find_element(By.CSS_SELECTOR, "button.primary").click()
    window.until_text("#toasts", "pc-77 is admitted")
    window.until("return ![...document.querySelectorAll('.asking h3')].some(e => e.textContent == 'pc-77')")
    assert lab.knock("pc-77", secret)["token"]
    window.button("Undo").click()
    window.until_text(".asking h3", "pc-77")
    assert lab.knock("pc-77", secret)["state"] == "waiting"


def test_pausing_and_stopping_all(window: Window, lab: Lab, job: str) -> None:
    window.look(1280, "light")
    window.go("/computers")
    window.button("Stop all at once").click()
    window.until_text(".notice", "All computers are paused")
    window.until_text(".figure", "6 computers on")
    assert [node for node in lab.ask("GET", "/api/nodes") if node["busy"]] == []
    window.button("Let all go on").click()
    window.until("return !document.querySelector('.notice')")


def test_how_one_is_to_work(window: Window, lab: Lab, job: str) -> None:
    window.look(1280, "light")
    window.go("/computers/bear")
    # Groups and power are saved as they are left, …
    groups = window.find("#f-groups")
    groups.send_keys("render-room, night" + Keys.TAB)
    window.until_text("output", "Saved")
    assert lab.ask("GET", "/api/nodes/bear")["groups"] == ["night", "render-room"]
    window.find("input[type=checkbox][name='power.shutdown']").send_keys(Keys.SPACE)
    window.until("return document.querySelector('#power output').textContent == 'Saved'")
    minutes = window.find("[name='power.idle_minutes']")
    minutes.clear()
    minutes.send_keys("45" + Keys.TAB)
    window.until("return document.querySelector('#power .fields output').textContent == 'Saved'")
    power = lab.ask("GET", "/api/nodes/bear")["power"]
    assert (power["shutdown"], power["wake"], power["idle_minutes"]) == (True, False, 45.0)
    # …hours by their button, with the keyboard alone, and with Undo.
    window.run("document.querySelector('#own-hours').open = true")
    for day in window.all("#hours li input[type=checkbox]")[:6]:
        day.send_keys(Keys.SPACE)
    window.find("#hours button.primary").send_keys(Keys.ENTER)
    window.until_text("#toasts", "in its hours alone")
    window.until_text("main", "20:00–07:00 Mon–Sat")
    (hours,) = lab.ask("GET", "/api/nodes/bear")["schedule"]
    assert (hours["days"], hours["from"], hours["to"]) == (
        ["mon", "tue", "wed", "thu", "fri", "sat"], "20:00", "07:00",
    )  # fmt: skip
    window.button("Undo").click()
    window.until_text("main", "It works at any time")
    assert lab.ask("GET", "/api/nodes/bear")["schedule"] == []
    # What it did last, and why it got that, stand on its page.
    window.go("/computers/atlas")
    text = window.find("main").text
    assert "frame 1" in text
    assert "Done" in text
    assert "Why it got that" in text
    assert "is the same folder as the server’s" in text


def test_a_student_looks_and_changes_nothing(lab: Lab, tmp_path: Path, needs: Callable[[str], str]) -> None:
    with opened(lab.base, tmp_path / "profile", needs) as window:
        window.look(390, "light")
        window.sign_in("Student")
        for page in ("/computers", "/computers/atlas"):
            window.go(page)
            assert window.all("main button[data-act], main form") == []
        window.go("/computers/nobody")
        window.until_text("main", "nothing here")
