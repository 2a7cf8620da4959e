"""Notes in a real Chromium: said, drawn, ticked, answered, seen by another at once; without scripts, too."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from painter import Painter
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from studio import SIDEWAYS, SMALL, Studio
from window import Window, opened

SHOT = "/p/demo/asset/shots/sh010.blend"
BOARD = "/p/demo/asset/shots/board.png"
NASTY = '<img src=x onerror="window.hit=1"> {{ 7 * 7 }} {who} %s \u202etxt'
DRAWN = "return document.querySelectorAll('#marks > svg:not([hidden]) path').length"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]) -> Iterator[Studio]:
    needs("chromedriver")
    folder = tmp_path_factory.mktemp("notes")
    made = Studio(folder / "config", folder / "data")
    made.asset("shots/sh010.blend", owner="ana")
    (made.data / "demo/project.json").write_text('{"title": "Foxes"}')
    Image.new("RGB", (320, 180), "#8a5300").save(made.data / "demo/shots/board.png")
    (made.data / "demo/shots/board.png.json").write_text(json.dumps({"name": "Board", "type": "image"}))
    (made.config / "users").mkdir(parents=True)
    for ident, title in (("ana", "Ana Ash"), ("ben", "Ben Birch")):
        (made.config / f"users/{ident}.json").write_text(json.dumps({"title": title, "role": "student"}))
    with made.open():
        yield made


@pytest.fixture(scope="module")
def windows(
    studio: Studio, tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]
) -> Iterator[tuple[Window, Window]]:
    """Ana's and Ben's."""
    with ExitStack() as stack:
        made = []
        for name in ("Ana Ash", "Ben Birch"):
            window = stack.enter_context(opened(studio.base, tmp_path_factory.mktemp("profile"), needs))
            window.look(1280, "light")
            window.sign_in(name)
            made.append(window)
        yield made[0], made[1]


@pytest.fixture(scope="module")
def job(studio: Studio) -> str:
    """A render of four frames."""
    ident = studio.render("shots/sh010.blend", "1-4")
    painter: Painter = studio.painter()
    for _ in range(4):
        painter.paint()
    return ident


def field(window: Window, name: str) -> Any:
    return window.find(f"#say [name={name}]")


def stroke(window: Window, kind: str = "mouse") -> None:
    """A line across the picture."""
    box = window.run("return document.getElementById('drawing').getBoundingClientRect().toJSON()")
    at = [
        (box["x"] + box["width"] * x, box["y"] + box["height"] * y)
        for x, y in ((0.4, 0.4), (0.5, 0.6), (0.6, 0.4))
    ]
    command = window.driver.execute_cdp_cmd
    if kind == "touch":
        for n, (x, y) in enumerate(at):
            command(
                "Input.dispatchTouchEvent",
                {"type": "touchMove" if n else "touchStart", "touchPoints": [{"x": x, "y": y}]},
            )
        command("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        return
    for n, (x, y) in enumerate(at):
        more = {"x": x, "y": y, "button": "left", "pointerType": kind, "buttons": 1, "clickCount": 1}
        command("Input.dispatchMouseEvent", {"type": "mouseMoved" if n else "mousePressed", **more})
    command(
        "Input.dispatchMouseEvent", {"type": "mouseReleased", "x": at[2][0], "y": at[2][1], "button": "left"}
    )


def press(window: Window, selector: str) -> None:
    """Whatever lies over it: what was just said stands in a corner of the window."""
    window.run("arguments[0].click()", window.find(selector))


def notes(studio: Studio) -> list[dict[str, Any]]:
    return list(studio.ask("GET", "/api/notes"))


def test_said_beside_the_film_and_seen_by_another_at_once(
    studio: Studio, windows: tuple[Window, Window], job: str
) -> None:
    ana, ben = windows
    ana.go("/p/demo/home")
    assert not ana.all("#bell .count:not([hidden])")
    ben.go(f"/p/demo/job/{job}?frame=3")
    ben.until("return document.querySelector('#stage img')?.naturalWidth")
    assert field(ben, "frame").get_attribute("value") == "3"
    box = field(ben, "text")
    box.send_keys(f"{NASTY}\n- hold longer\n- see @an")
    ben.button("Ana Ash").click()
    assert box.get_attribute("value").endswith("see @ana ")
    assert ben.run("return document.activeElement.name") == "text"
    ben.button("Draw on the picture").click()
    stroke(ben)
    stroke(ben, "pen")
    stroke(ben)
    ben.button("Take the last line back").click()
    field(ben, "todo").send_keys("Ana")
    ben.button("Say it").click()
    ben.until_text(".note", "hold longer")
    assert ben.run("return window.hit ?? document.querySelector('.note img:not(.face img)')") is None
    (note,) = notes(studio)
    assert (note["frame"], note["version"], note["todo"]) == (3, "v001", "ana")
    assert note["text"].startswith(NASTY)
    first, second = note["marks"]["lines"]
    assert (round(first[0], 1), round(first[-1], 1), len(second) >= 6) == (0.4, 0.4, True)
    ben.until("return document.querySelector('#say [name=text]').value == ''")
    ben.until(DRAWN + " == 2")
    assert not ben.run("return document.querySelector('#drawing path').getAttribute('d')")
    ana.until("return document.querySelector('#bell .count:not([hidden])')?.textContent == '1'")
    ana.find("#bell").click()
    ana.until_text(".note", "For you to do")
    ana.find(".note a").click()
    ana.until("return location.search == '?frame=3'")
    ana.until(DRAWN + " == 2")
    assert not ana.all("#bell .count:not([hidden])")
    ana.run("window.fetch = () => new Promise(() => 0)")  # the page alone knows what it hides
    scrub = "arguments[0].value = 0; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
    ana.run(scrub, ana.find("#scrub"))
    ana.until(DRAWN + " == 0")
    ana.go(f"{SHOT}?frame=1")
    assert ana.run(DRAWN) == 0
    ana.find(".note a[data-frame]").click()
    ana.until(DRAWN + " == 2")
    for tick in range(2):
        ana.run("arguments[0].focus()", ana.all(".tick button")[tick])
        ActionChains(ana.driver).send_keys(Keys.SPACE).perform()
        ana.until("return document.querySelectorAll('[aria-checked=true]').length == arguments[0]", tick + 1)
    ben.until("return document.querySelectorAll('[aria-checked=true]').length == 2")
    ana.find(".toast:last-child button").click()
    ben.until("return document.querySelectorAll('[aria-checked=true]').length == 1")


def test_changed_answered_and_deleted_with_undo(studio: Studio, windows: tuple[Window, Window]) -> None:
    ana, ben = windows
    for window in windows:
        window.go(BOARD)
    field(ben, "text").send_keys("too dark")
    ben.button("Say it").click()
    ana.until_text(".note", "too dark")
    press(ana, "details[id^=r-] summary")
    ana.find("details[id^=r-] textarea").send_keys("better now?")
    studio.ask("POST", "/api/assets/data::demo/shots/board.png/notes", {"text": "me too"})
    ana.until_text(".note", "me too")
    assert ana.find("details[id^=r-][open] textarea").get_attribute("value") == "better now?"
    ben.until_text(".note", "me too")
    press(ben, ".note details[id^=e-] summary")
    ben.find(".note details[id^=e-] textarea").send_keys(" indeed")
    press(ana, "details[id^=r-][open] button:not([type=button])")
    ben.until_text(".note .note", "better now?")
    ana.until("return !document.querySelector('details[id^=r-][open]')")
    assert ben.find(".note details[id^=e-] textarea").get_attribute("value") == "too dark indeed"
    press(ben, ".note details[id^=e-] button:not([type=button])")
    ana.until_text(".says", "too dark indeed")
    ben.run(
        "[...document.querySelectorAll('.note button')].find(b => b.textContent.startsWith('Delete')).click()"
    )
    ana.until_text(".note", "This note was deleted.")
    ben.find(".toast:last-child button").click()
    ana.until_text(".says", "too dark indeed")
    ana.button("Resolve").click()
    ben.until("return document.getElementById('notes-closed')")


def test_a_finger_draws_and_the_keyboard_points(studio: Studio, windows: tuple[Window, Window]) -> None:
    ben = windows[1]
    ben.look(390, "dark")
    ben.go(BOARD)
    ben.until("return document.querySelector('#stage img')?.naturalWidth")
    field(ben, "text").send_keys("by finger")
    ben.button("Draw on the picture").click()
    stroke(ben, "touch")
    ben.until("return document.querySelector('#say [name=marks]').value")
    field(ben, "where").send_keys("Top left")
    field(ben, "text").send_keys(Keys.TAB)
    ben.button("Say it").click()
    ben.until_text(".note", "by finger")
    assert [len(note["marks"]["lines"]) for note in notes(studio) if note["text"] == "by finger"] == [2]
    ben.until(DRAWN + " == 2")
    ben.look(1280, "light")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_of_notes_are_accessible_and_fit(
    windows: tuple[Window, Window], job: str, width: int, scheme: str, tmp_path: Path
) -> None:
    ana = windows[0]
    ana.look(width, scheme)
    wrong: list[str] = []
    pages = ["/notes", "/notes?show=all", "/p/demo/notes?show=open&q=nothing", SHOT, BOARD]
    for page in [*pages, f"/p/demo/job/{job}?frame=3"]:
        ana.go(page)
        ana.run("for (const fold of document.querySelectorAll('#notes details')) fold.open = true")
        wrong += [f"{page}: {found}" for found in ana.violations()]
        if ana.run(SIDEWAYS) > 0:
            wrong.append(f"{page} scrolls sideways by {ana.run(SIDEWAYS)}")
        wrong += [f"{page}: smaller than a finger: {html}" for html in ana.run(SMALL)]
        ana.driver.save_screenshot(
            str(tmp_path / f"{page.strip('/').replace('/', '-').replace('?', '-')}.png")
        )
    assert wrong == []
    ana.look(1280, "light")


def test_works_without_scripts(studio: Studio, windows: tuple[Window, Window]) -> None:
    ana = windows[0]
    studio.ask("POST", "/api/assets/data::demo/shots/board.png/notes", {"text": "- one thing", "todo": "ana"})
    ana.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        ana.driver.get(ana.base + BOARD)
        field(ana, "text").send_keys("said without scripts")
        ana.find("#say .primary").click()
        ana.wait(lambda: "said without scripts" in ana.find(".note").text)
        ana.find(".tick button[aria-checked=false]").send_keys(Keys.ENTER)
        ana.wait(lambda: ana.all(".tick button[aria-checked=true]"))
    finally:
        ana.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
