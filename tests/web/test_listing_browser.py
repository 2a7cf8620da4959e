"""The page of files in a real Chromium: pills, changes in a row and of several at once, and pieces."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from window import Window, opened, serving

SCENE = b"BLENDER-v304" + b"ENDB" + bytes(20)
PAGE = "/p/demo/assets"
NAMES = "return [...document.querySelectorAll('[data-rows] th a')].map(e => e.textContent)"
SHOTS = 230


def record(root: Path, n: int) -> Path:
    return root / "data" / "demo" / "shots" / f"sh{n:03d}.blend.json"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("film")
    (root / "data/demo/shots").mkdir(parents=True)
    (root / "data/demo/project.json").write_text('{"title": "Foxes"}')
    for n in range(SHOTS):
        side = record(root, n)
        side.with_suffix("").write_bytes(SCENE)
        kind = "shot" if n % 10 else "prop"
        side.write_text(json.dumps({"name": f"Sh {n}", "type": kind, "state": "ns", "priority": 3}))
    return root


@pytest.fixture(scope="module")
def window(root: Path, needs: Callable[[str], str]) -> Iterator[Window]:
    with serving(root / "config", root / "data") as base, opened(base, root / "profile", needs) as made:
        made.look(1280, "light")
        made.sign_in("Student")
        yield made


def test_a_pill_is_clicked_and_double_clicked(window: Window) -> None:
    window.go(PAGE)
    window.run("window.kept = true")
    pill = "//ul[contains(@class, 'types')]//a[.='Prop']"
    window.driver.find_element("xpath", pill).click()
    window.until("return location.search == '?type=-prop'")
    window.until_text("[data-summary]", f"{SHOTS - SHOTS // 10} of {SHOTS} files")
    ActionChains(window.driver).double_click(window.driver.find_element("xpath", pill)).perform()
    window.until("return location.search == '?type=prop'")
    window.until_text("[data-summary]", f"{SHOTS // 10} of {SHOTS} files")
    window.driver.find_element("xpath", pill).click()
    window.until("return location.search == ''")
    window.until_text("[data-summary]", f"{SHOTS} files")
    assert window.run("return window.kept"), "the page was loaded again"


def test_more_come_as_one_scrolls_and_stay_through_a_change(root: Path, window: Window) -> None:
    window.go(PAGE)
    assert len(window.run(NAMES)) == 100
    while (count := len(window.run(NAMES))) < SHOTS:
        window.run("scrollTo(0, document.body.scrollHeight)")
        window.until(f"return document.querySelectorAll('[data-rows] > *').length > {count}")
    assert window.run(NAMES) == [f"Sh {n}" for n in range(SHOTS)]
    assert window.all("[data-more]") == []
    assert window.run("return location.search") == "?rows=300"
    side = record(root, 200)
    side.write_text(json.dumps({**json.loads(side.read_text()), "name": "Sh 200 with foxes"}))
    window.until_text("[data-rows] th", "Sh 200 with foxes")
    assert len(window.run(NAMES)) == SHOTS


def test_a_state_is_changed_in_its_row_and_undone(root: Path, window: Window) -> None:
    window.go(PAGE + "?q=%22sh+7%22")
    row = window.run("return document.querySelector('[data-rows] > *').id")
    window.find(f"#{row} [name=state]").send_keys(Keys.ENTER)
    chosen = window.find(f"#{row} select")
    assert window.run("return document.activeElement === arguments[0]", chosen)
    assert chosen.get_attribute("aria-label") == "State: Sh 7"
    offered = [one.text for one in Select(chosen).options]
    assert offered == ["Not started", "Incomplete", "Usable", "Acceptable", "Polished"], "a shot isn't rigged"
    Select(chosen).select_by_visible_text("Usable")
    window.until_text("#toasts", "Sh 7 is changed.")
    window.until_text(f"#{row} button", "Usable")
    assert json.loads(record(root, 7).read_text())["state"] == "us"
    window.button("Undo").click()
    window.until_text(f"#{row} button", "Not started")
    assert json.loads(record(root, 7).read_text())["state"] == "ns"


def test_escape_leaves_a_field_as_it_was(root: Path, window: Window) -> None:
    window.go(PAGE + "?q=%22sh+7%22")
    window.find("[data-rows] [name=owner]").send_keys(Keys.ENTER)
    window.find("[data-rows] select").send_keys(Keys.ESCAPE, Keys.ESCAPE)
    window.until("return !document.querySelector('[data-rows] select')")
    assert window.run("return document.activeElement.name") == "owner"
    assert not json.loads(record(root, 7).read_text()).get("owner")


def test_several_are_changed_at_once_and_undone(root: Path, window: Window) -> None:
    window.go(PAGE + "?type=prop")
    assert not window.find("#many").is_displayed()
    ticks = window.all("[data-rows] [name=addresses]")
    ticks[1].click()
    window.until_text("#many strong", "1 chosen")
    ActionChains(window.driver).key_down(Keys.SHIFT).click(ticks[3]).key_up(Keys.SHIFT).perform()
    window.until_text("#many strong", "3 chosen")
    assert window.violations() == []
    ticks[3].send_keys(Keys.ENTER)
    assert window.run("return document.activeElement.name") == "state", "Enter leads to what changes them"
    assert "of=data%3A%3Ademo%2Fshots%2Fsh010.blend" in window.find("[data-comp]").get_attribute("href")
    Select(window.find("#many [name=owner]")).select_by_visible_text("Student")
    window.until_text("#toasts", "3 files are changed.")
    owners = [json.loads(record(root, n).read_text()).get("owner") for n in (0, 10, 20, 30, 40)]
    assert owners == [None, "student", "student", "student", None]
    window.until("return document.querySelectorAll('[data-rows] :checked').length == 3")
    window.button("Undo").click()
    window.until_text("#toasts", "3 files are changed.")
    assert [json.loads(record(root, n).read_text()).get("owner") or "" for n in (10, 20, 30)] == [""] * 3
    window.find("[data-all]").click()
    window.until_text("#many strong", f"{SHOTS // 10} chosen")
    window.button("Choose none").click()
    window.until("return !document.querySelector('#many').checkVisibility()")


def test_words_are_found_as_one_types(window: Window) -> None:
    window.go(PAGE)
    window.find(".filters input[name=q]").send_keys('"sh 11" type:prop')
    window.until("return new URLSearchParams(location.search).get('q') == '\"sh 11\" type:prop'")
    window.until_text("[data-summary]", f"1 of {SHOTS} files")
    before = window.run("return history.length")
    window.find(".filters input[name=q]").send_keys(" sh")
    window.until("return new URLSearchParams(location.search).get('q').endsWith(' sh')")
    assert window.run("return history.length") == before, "one step back for all that was typed"
    assert window.run(NAMES) == ["Sh 110"]
    assert window.run("return document.activeElement.name") == "q"
