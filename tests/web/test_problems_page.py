"""Does the Problems page work for real: in Chromium, live, with its buttons and their Undo?"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from house import SCENE
from window import Window, opened, serving

from server.library.media.kinds import READER

PAGES = ["/problems", "/p/demo/problems", "/p/demo/asset/shots/sh010.blend", "/p/demo/asset/props/fox.blend"]
PAGES += ["/p/demo/asset/shots/sh020.blend", "/p/demo/assets"]
SIDEWAYS = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
SMALL = """return [...document.querySelectorAll('button, a.button, nav a')]
  .filter(e => e.checkVisibility()).map(e => [e.outerHTML.slice(0, 120), e.getBoundingClientRect()])
  .filter(([, box]) => box.height < 44 || box.width < 44).map(([html]) => html)"""
BROKEN = '{"name": "sh020",\n "state" oops}'


def scene(data: Path, inside: str, *uses: tuple[str, str], **facts: object) -> Path:
    """A scene with its sidecar, read already: it uses these."""
    path = data / "demo" / inside
    (path.parent / ".croft" / path.name).mkdir(parents=True)
    path.write_bytes(SCENE)
    path.with_name(path.name + ".json").write_text(json.dumps({"name": path.stem, "type": "shot", **facts}))
    st = path.stat()
    record = {
        "schema": 1, "size": st.st_size, "mtime_ns": st.st_mtime_ns, "reader": READER, "hash": "x",
        "facts": {"uses": [{"path": name, "kind": kind} for name, kind in uses], "frames": [1, 24]},
    }  # fmt: skip
    (path.parent / ".croft" / path.name / "file.json").write_text(json.dumps(record))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("troubled") / "data"
    (data / "demo/tex").mkdir(parents=True)
    (data / "demo/project.json").write_text('{"title": "Foxes"}')
    used = (
        ("//../props/fox.blend", "library"),
        ("//../props/owl.blend", "library"),
        ("//../tex/fur.png", "image"),
    )
    scene(data, "shots/sh010.blend", *used, ("C:\\Users\\ana\\a very long name of a picture.png", "image"))
    scene(data, "shots/sh020.blend", ("//../props/fox.blend", "library"), priority=4)
    scene(data, "props/fox.blend", ("//../tex/Fur.png", "image"), priority=1)
    (data / "demo/tex/Fur.png").write_bytes(b"png")
    scene(data, "shots/sh030.blend").unlink()
    late = scene(data, "shots/sh040.blend")
    os.utime(late, (time.time() + 10**7,) * 2)
    return data


@pytest.fixture(scope="module")
def window(data: Path, needs: Callable[[str], str]) -> Iterator[Window]:
    needs("chromedriver")
    config, profile = data.with_name("config"), data.with_name("profile")
    with serving(config, data) as base, opened(base, profile, needs) as made:
        made.look(1280, "light")
        made.sign_in("Student")
        yield made


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_pages_are_accessible_and_fit(window: Window, width: int, scheme: str, tmp_path: Path) -> None:
    window.look(width, scheme)
    wrong: list[str] = []
    for page in PAGES:
        window.go(page)
        window.until_text("main", "owl.blend" if "problems" in page else "")
        wrong += [f"{page}: {found}" for found in window.violations()]
        if window.run(SIDEWAYS) > 0:
            wrong.append(f"{page} scrolls sideways by {window.run(SIDEWAYS)}")
        wrong += [f"{page}: smaller than a finger: {html}" for html in window.run(SMALL)]
        window.driver.save_screenshot(str(tmp_path / f"{page.strip('/').replace('/', '-')}.png"))
    assert wrong == []


def test_a_problem_appears_is_mended_undone_and_goes(window: Window, data: Path) -> None:
    window.look(1280, "light")
    window.go("/p/demo/problems")
    window.until_text("main", "owl.blend isn’t there")
    # Given the page is open, when somebody spoils a record by hand, then it is told at once.
    beside = data / "demo/shots/sh020.blend.json"
    good = beside.read_bytes()
    beside.write_text(BROKEN)
    window.until_text("main", "What people said of sh020.blend can’t be read: line 2, column 10")
    # When its button is pressed, then it is mended, and gone from the page.
    window.button("Put the last good one back").click()
    window.until_text("#toasts", "What was said last is back")
    window.until("return !document.querySelector('main').textContent.includes('column 10')")
    assert json.loads(beside.read_bytes())["priority"] == 4
    # When that is undone, it is as it was.
    window.button("Undo").click()
    window.until_text("main", "line 2, column 10")
    assert beside.read_text() == BROKEN
    # When it is mended in a text editor, it goes by itself.
    beside.write_bytes(good)
    window.until("return !document.querySelector('main').textContent.includes('column 10')")


def test_what_is_missing_is_said_before_it_is_rendered(window: Window) -> None:
    window.look(1280, "light")
    window.go("/p/demo/asset/shots/sh010.blend")
    window.until_text("[aria-labelledby=render]", "The scene owl.blend isn’t there.")
    window.until_text("[aria-labelledby=uses]", "It is there as Fur.png: upper and lower case differ.")
    window.button("Render").click()
    window.until_text("#toasts", "But: The scene owl.blend isn’t there.")
    window.button("Undo").click()
    window.find("[aria-labelledby=uses] a[href$='fox.blend']").click()
    window.until_text("[aria-labelledby=uses]", "Waited for by 2. So it stands above them")
    window.go("/p/demo/assets?sort=-priority")
    first = window.until("return document.querySelector('tbody tr')")
    assert "fox" in first.text
    assert "waited for by 2" in first.text


def test_nothing_is_wrong(tmp_path: Path, needs: Callable[[str], str]) -> None:
    (tmp_path / "data/demo").mkdir(parents=True)
    (tmp_path / "data/demo/project.json").write_text('{"title": "Foxes"}')
    config, data, profile = tmp_path / "config", tmp_path / "data", tmp_path / "profile"
    with serving(config, data) as base, opened(base, profile, needs) as window:
        window.look(390, "light")
        window.sign_in("Student")
        window.go("/p/demo/problems")
        window.until_text("main", "Nothing is wrong here.")
        assert window.violations() == []
        assert "Problems" not in window.find("nav").text
