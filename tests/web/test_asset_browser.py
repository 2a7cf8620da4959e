"""A file's page and the history in a real Chromium: buttons with Undo, a copy that is gone to, versions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from window import Window, opened, serving

SCENE = b"BLENDER-v304" + b"ENDB" + bytes(20)
PAGE = "/p/demo/asset/shots/sh010.blend"
SIDEWAYS = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A share with a shot, two versions of its render, and what was done to it."""
    folder = tmp_path_factory.mktemp("film") / "data"
    shots = folder / "demo/shots"
    shots.mkdir(parents=True)
    # Nobody has a role called after light: who owns a shot may approve its renders.
    (folder / "demo/project.json").write_text('{"title": "Foxes", "approve_by": "lighter"}')
    (shots / "sh010.blend").write_bytes(SCENE)
    record = {
        "name": "Two foxes",
        "type": "shot",
        "state": "todo",
        "priority": 3,
        "uuid": "u",
        "time_budget": 2,
    }
    (shots / "sh010.blend.json").write_text(json.dumps(record))
    for number, colour in ((1, "#8a5300"), (2, "#0a5e96")):
        place = shots / f"render/sh010/v00{number}"
        place.mkdir(parents=True)
        for frame in range(1, 4):
            Image.new("RGB", (320, 180), colour).save(place / f"sh010.{frame:04}.png")
        said = {
            "version": f"v00{number}",
            "user": "student",
            "created": "2026-11-20T10:00:00Z",
            "approved": number == 1,
        }
        place.with_suffix(".json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="module")
def window(
    data: Path, tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]
) -> Iterator[Window]:
    needs("chromedriver")
    with (
        serving(data.parent / "config", data) as base,
        opened(base, tmp_path_factory.mktemp("profile"), needs) as made,
    ):
        made.look(1280, "light")
        made.sign_in("Student")
        yield made


def press(window: Window, words: str) -> None:
    """The button that says this."""
    found = [one for one in window.driver.find_elements(By.TAG_NAME, "button") if one.text.startswith(words)]
    assert found, f"no button says {words}"
    window.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found[0])
    found[0].click()


def test_to_help_with_it_and_to_note_hours_can_be_taken_back(window: Window, data: Path) -> None:
    window.go(PAGE)
    press(window, "I help with it")
    window.until_text(".helpers", "Student")
    press(window, "Undo")
    window.until_text(".helpers", "Nobody yet")
    press(window, "+ ½ hour")
    window.until_text("main", "0.5 h of 2 h spent")
    assert json.loads((data / "demo/shots/sh010.blend.json").read_text())["time_spent"] == 0.5


def soon(what: Callable[[], bool]) -> None:
    """Until it is so."""
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def test_two_versions_are_compared_and_stepped_through(window: Window) -> None:
    window.go(PAGE)
    press(window, "Side by side")
    window.until_text("#compared", "Version 2")
    pictures = "return [...document.querySelectorAll('#compared img')].map(i => i.naturalWidth)"
    window.until(pictures.removesuffix(")") + ").join() === '320,320'")
    window.run("document.querySelector('#compared a.button').click()")
    window.until_text("#compared", "Frame 1")
    assert "at=1" in window.driver.current_url


def test_a_version_is_rejected_with_a_word_and_that_is_taken_back(window: Window, data: Path) -> None:
    sidecar, record = data / "demo/shots/sh010.blend.json", data / "demo/shots/render/sh010/v002.json"
    window.go(PAGE)
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "owner": "student"}))
    window.until("return document.querySelector('#say-render-v002')")
    window.run("document.querySelector('#unapproved').open = true")
    window.run("document.querySelector('#say-render-v002').open = true")
    window.find("#say-render-v002 input[name=comment]").send_keys("too dark")
    press(window, "Reject")
    window.until_text("#rejected", "too dark")
    assert json.loads(record.read_text())["rejected"]
    window.find(".toast:last-child button").click()
    window.until("return !document.querySelector('#rejected')")
    assert not json.loads(record.read_text())["rejected"]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_pages_are_accessible_and_fit(window: Window, width: int, scheme: str) -> None:
    window.look(width, scheme)
    for page in (
        f"{PAGE}?left=render-v001&right=render-v002",
        "/p/demo/history",
        "/history?q=nothing+at+all",
    ):
        window.go(page)
        window.run("for (const one of document.querySelectorAll('main details')) one.open = true")
        assert window.violations() == []
        assert window.run(SIDEWAYS) <= 0
    window.look(1280, "light")


def test_what_others_do_comes_into_the_history_by_itself_and_is_taken_back(
    window: Window, data: Path
) -> None:
    window.go("/p/demo/history")
    record = data / "demo/shots/sh010.blend.json"
    window.run(
        "fetch('/api/assets/data::demo/shots/sh010.blend', {method: 'PATCH', body: '{\"state\": \"review\"}',"
        " headers: {'Content-Type': 'application/json', 'X-Croft-CSRF':"
        " document.querySelector('meta[name=croft-csrf]').content}})"
    )
    window.until_text(".did li", "For review")
    press(window, "Undo")
    soon(lambda: json.loads(record.read_text())["state"] == "todo")


def test_a_copy_is_made_and_gone_to(window: Window, data: Path) -> None:
    window.go(PAGE)
    press(window, "Make a copy")
    window.until_text("h1", "Two foxes copy")
    assert "sh010.blend" not in window.driver.current_url
    assert len(list((data / "demo/shots").glob("*.blend"))) == 2
