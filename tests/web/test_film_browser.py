"""A student watches a render, in a real Chromium: the film, its sheet of cells, a log that is followed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from painter import Painter
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from studio import Studio
from window import Window, opened

from server.disk.settings import Settings
from server.library.people import People

SHOWN = "return document.querySelector('#stage img')?.alt"
CELLS = "return [...document.querySelectorAll('#sheet i')].map(cell => cell.className).join('')"
CHOSEN = "return document.querySelector('#chosen [name=frames]').value"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]) -> Iterator[Studio]:
    needs("chromedriver")
    folder = tmp_path_factory.mktemp("film")
    made = Studio(folder / "config", folder / "data")
    for name in ("sh010", "sh015", "sh020", "sh030", "sh040", "sh050"):
        made.asset(f"shots/{name}.blend", owner="student")
    (made.data / "demo/project.json").write_text('{"title": "Foxes"}')
    People(Settings(made.config)).set_password("admin", "long enough")
    with made.open("student"):
        yield made


@pytest.fixture(scope="module")
def window(
    studio: Studio, tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]
) -> Iterator[Window]:
    with opened(studio.base, tmp_path_factory.mktemp("profile"), needs) as made:
        made.look(1280, "light")
        made.sign_in("Student")
        yield made


def keys(window: Window, *pressed: str) -> None:
    ActionChains(window.driver).send_keys(*pressed).perform()


def test_frames_come_alive_and_the_newest_stands_on_the_stage(studio: Studio, window: Window) -> None:
    job = studio.render("shots/sh010.blend", "11-22")
    window.go(f"/p/demo/job/{job}")
    window.until_text("#stage", "The first frame shows here")
    window.run("window.kept = true")
    painter = studio.painter()
    first = painter.paint()
    window.until(f"return document.querySelector('#stage img')?.alt == 'Frame {first}'")
    assert window.until("return document.querySelector('#stage img').naturalWidth > 1")
    second = painter.paint(6.0)
    window.until(f"return document.querySelector('#stage img')?.alt == 'Frame {second}'")
    letters = str(window.until(CELLS))
    assert (letters.count("d"), letters.count("w")) == (2, 10)
    assert letters[first - 11] == letters[second - 11] == "d"
    assert window.run("return [...document.querySelectorAll('#sheet b')].map(e => e.textContent)") == ["11"]
    # A frame that is chosen stays, whatever arrives; its number goes into the page's address.
    window.run(f"document.querySelectorAll('#sheet i')[{first - 11}].click()")
    window.until(f"return location.search == '?frame={first}'")
    third = painter.paint()
    window.until(f"return document.querySelectorAll('#sheet i')[{third - 11}].className == 'd'")
    assert window.run(SHOWN) == f"Frame {first}"
    window.button("Newest frame").click()
    window.until(f"return document.querySelector('#stage img').alt == 'Frame {third}'")
    assert window.run("return location.search + window.kept") == "true"
    window.go(f"/p/demo/job/{job}?frame={second}")
    assert window.run(SHOWN) == f"Frame {second}"
    window.until_text("#caption", "6.0 s · on atom-3")
    studio.ask("DELETE", f"/api/jobs/{job}")


def test_the_film_is_scrubbed_and_played(studio: Studio, window: Window) -> None:
    job = studio.render("shots/sh020.blend", "1-24")
    painter = studio.painter()
    for _ in range(24):
        painter.paint()
    window.go(f"/p/demo/job/{job}?frame=1")
    window.until("return document.querySelector('.controls button').offsetParent")
    scrub = window.find("#scrub")
    scrub.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    window.until("return document.querySelector('#stage img').alt == 'Frame 3'")
    assert window.run("return document.getElementById('scrub').getAttribute('aria-valuetext')") == "Frame 3"
    scrub.send_keys(Keys.END)
    window.until("return document.querySelector('#stage img').alt == 'Frame 24'")
    stage = window.find("#stage")
    ActionChains(window.driver).click_and_hold(stage).move_by_offset(-200, 0).release().perform()
    window.until("return +document.querySelector('#stage img').alt.slice(6) < 22")
    scrub.send_keys(Keys.HOME)
    window.until("return document.querySelector('#stage img').alt == 'Frame 1'")
    window.run("""window.seen = new Set();
      new MutationObserver(() => seen.add(document.querySelector('#stage img').alt))
        .observe(document.getElementById('stage'), {subtree: true, attributes: true})""")
    scrub.send_keys(Keys.SPACE)
    window.until_text("[data-play]", "Pause")
    window.until("return window.seen.size > 12", seconds=40)  # it waits for pictures that aren't made yet
    scrub.send_keys(Keys.SPACE)
    window.until_text("[data-play]", "Play")
    window.until("return location.search.startsWith('?frame=')")


def test_chosen_frames_are_rendered_again_and_left_out(studio: Studio, window: Window) -> None:
    job = studio.render("shots/sh030.blend", "1-8")
    painter = studio.painter()
    for _ in range(8):
        painter.paint()
    window.go(f"/p/demo/job/{job}")
    window.until("return document.querySelector('#sheet [data-at]')")
    cells = window.all("#sheet i")
    window.run("arguments[0].scrollIntoView({block: 'center'})", cells[0])
    cells[1].click()
    window.until("return location.search == '?frame=2'")
    ActionChains(window.driver).key_down(Keys.SHIFT).click(cells[2]).key_up(Keys.SHIFT).perform()
    assert window.run(CHOSEN) == "2-3"
    window.until("return document.querySelectorAll('#sheet i')[2].title == 'Frame 3, done'")
    assert window.violations() == []
    window.button("Render again").click()
    window.until_text("#toasts", "rendered again")
    window.until("return document.querySelectorAll('#sheet i.w').length == 2")
    assert window.run(CELLS) == "dwwddddd"
    assert window.run(CHOSEN) == ""
    cells = window.all("#sheet i")
    window.run("arguments[0].scrollIntoView({block: 'center'})", cells[0])
    for cell in cells[1:3]:
        ActionChains(window.driver).key_down(Keys.CONTROL).click(cell).key_up(Keys.CONTROL).perform()
    assert window.run(CHOSEN) == "2, 3"
    window.button("Leave out").click()
    window.until_text("#toasts", "2 frames are left out")
    window.until("return document.querySelectorAll('#sheet i.s').length == 2")
    window.find(".toast:last-child button").click()  # Undo
    window.until("return document.querySelectorAll('#sheet i')[1].className == 'w'")
    field = window.find("#chosen [name=frames]")
    field.send_keys("7, 99" + Keys.ENTER)
    window.until_text("#chosen [role=alert]", "Frame 99 isn’t among those of this render.")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("7-8" + Keys.ENTER)
    window.until("return document.querySelectorAll('#sheet i')[7].className == 'w'")
    studio.ask("DELETE", f"/api/jobs/{job}")
    window.logged()


def test_a_log_is_followed_as_it_grows(studio: Studio, window: Window) -> None:
    job = studio.render("shots/sh040.blend", "1-2")
    painter: Painter = studio.painter("atom-9")
    task = painter.claim()
    lines = "".join(f"Fra:{task['frame']} sample {n}\n" for n in range(80))
    told = {"id": "report", "uuid": task["uuid"], "frame": task["frame"], "progress": 0.2}
    painter.talk({**told, "log": lines, "log_at": 0})
    window.go(f"/p/demo/job/{job}/frame/{task['n']}/log")
    window.until_text("#log", "sample 79")
    window.run("window.first = document.getElementById('log').firstChild")
    more = "Error: no <b>memory</b>\nSaved\n"
    painter.talk({**told, "log": more, "log_at": len(lines)})
    window.until_text("#log", "Error: no <b>memory</b>")
    assert window.all("#log b") == []
    assert window.run("return document.getElementById('log').firstChild === window.first"), "drawn again"
    window.until(
        "const e = document.getElementById('log'); return e.scrollHeight - e.scrollTop - e.clientHeight < 30"
    )
    window.button("First error").click()
    window.until("return getSelection().toString() == 'Error: no <b>memory</b>'")
    assert window.violations() == []
    failed = {"id": "failed", "uuid": task["uuid"], "frame": task["frame"], "time": 2, "reason": "crash"}
    painter.talk({**failed, "log": "Segmentation fault\n", "log_at": len(lines + more)})
    window.until_text("#log", "Segmentation fault")
    window.until_text("#log-news", "That is all of it")
    studio.ask("DELETE", f"/api/jobs/{job}")
    assert window.logged() == []


def test_renders_are_chosen_by_their_state(studio: Studio, window: Window) -> None:
    job = studio.render("shots/sh010.blend", "1-3")
    window.go("/rendering")
    window.until_text(f"#j-{job} p", "0 of 3 frames")
    window.find("select[name=state]").send_keys("Done")
    window.until("return location.search == '?state=done'")
    window.until(f"return !document.getElementById('j-{job}')")
    window.until("return document.querySelectorAll('.job').length == 1")
    window.go(f"/p/demo/job/{job}?why=1")
    window.until_text(".notice", "Hide that")
    assert window.violations() == []
    window.find(".notice a").click()
    window.until("return location.search == ''")
    window.until_text(".notice a", "Why?")
    studio.ask("DELETE", f"/api/jobs/{job}")


def test_a_files_page_becomes_its_newest_render(studio: Studio, window: Window) -> None:
    first = studio.render("shots/sh050.blend", "1-4")
    studio.painter().paint()
    window.go("/p/demo/asset/shots/sh050.blend")
    window.until("return document.querySelector('#stage img')?.naturalWidth > 1")
    window.run("window.kept = true")
    second = studio.render("shots/sh050.blend", "5-9")
    studio.ask("DELETE", f"/api/jobs/{first}")
    shown = studio.painter().paint()
    window.until("return document.querySelectorAll('#sheet i').length == 5")
    window.until(f"return document.querySelector('#stage img')?.alt == 'Frame {shown}'")
    window.run("document.querySelectorAll('#sheet i')[4].click()")
    window.until("return document.querySelector('#sheet i:last-child[data-at]')")
    window.until_text("#caption", "Frame 9")
    assert window.run("return window.kept")
    assert window.violations() == []
    studio.ask("DELETE", f"/api/jobs/{second}")


STEPPED = """const s = document.getElementById("scrub");
s.value = 0; s.dispatchEvent(new Event("input", {bubbles: true}))"""
SLATE = (
    "const p = document.querySelector('#stage img'); return p.src.includes('gap.svg') && p.naturalWidth > 1"
)
SEEN = """window.seen = new Set();
new MutationObserver(() => seen.add(document.querySelector('#stage img')?.getAttribute('src') ?? ''))
  .observe(document.getElementById('stage'), {subtree: true, attributes: true, childList: true});"""
PLAYED = "return ['gap.svg', 'sh010', 'sh030'].every(part => [...seen].some(src => src.includes(part)))"
TYPED = """const c = document.querySelector("form[data-edit$='/sh010.blend']").elements[arguments[0]];
c.focus(); c.value = arguments[1];
for (const kind of ["input", "change"]) c.dispatchEvent(new Event(kind, {bubbles: true}));"""
SAVED = """return document.querySelector("form[data-edit$='/sh010.blend']").elements[arguments[0]]
  .closest(".field").querySelector("output").className == "done" """
SIGN_IN = """const [body, done] = arguments; fetch('/api/session',
  {method: 'POST', headers: {'Content-Type': 'application/json'}, body}).then(done)"""


def test_the_shots_play_as_one_film(studio: Studio, window: Window) -> None:
    """Shot after shot: three frames, a gap of four, two frames."""
    shots = "/api/assets/data::demo/shots/"
    for name in ("sh010", "sh015", "sh030"):
        studio.ask("PATCH", f"{shots}{name}.blend", {"render": True, "type": "shot"})
    studio.ask("PATCH", f"{shots}sh015.blend", {"start": 1, "end": 4})
    for job in studio.ask("GET", "/api/jobs?limit=1000"):
        if job["state"] in ("waiting", "running", "paused"):
            studio.ask("DELETE", f"/api/jobs/{job['id']}")
    painter = studio.painter("film")
    for name, frames, count in (("sh010", "1-3", 3), ("sh030", "21-22", 2)):
        studio.render(f"shots/{name}.blend", frames)
        for _ in range(count):
            painter.paint()
    window.go("/p/demo/shots")
    window.until("return document.querySelector('#scrub').max == 8")
    window.run("window.kept = true")
    tiles = window.all(".cards a")
    assert [tile.text.splitlines() for tile in tiles] == [["sh010"], ["No picture yet", "sh015"], ["sh030"]]
    tiles[2].click()
    window.until("return document.querySelector('#stage img')?.alt == 'Frame 8'")
    window.until("return location.search == '?frame=8'")
    window.until_text("#caption", "frame 1 of 2")
    window.run("document.activeElement.blur()")
    keys(window, Keys.ARROW_LEFT)
    window.until(SLATE)
    window.until_text("#caption", "sh015")
    window.run(STEPPED)
    window.until("return document.querySelector('#stage img').alt == 'Frame 1'")
    window.run(SEEN)
    window.button("Play").click()
    window.until(PLAYED)
    window.button("Pause").click()
    studio.render("shots/sh015.blend", "1-4")
    painter.paint()
    window.until("return document.querySelectorAll('.cards .stage').length == 0")
    assert window.run("return window.kept") is True
    window.go("/p/demo/home")
    window.until("return document.querySelector('#last-picture')?.getAttribute('src').includes('/sh015')")
    before = window.run("return document.querySelector('#last-picture').getAttribute('src')")
    painter.paint()
    window.until("return document.querySelector('#last-picture').getAttribute('src') != arguments[0]", before)
    assert [line for line in window.logged() if "SEVERE" in line] == []


def test_a_shots_stars_and_stages_save_themselves(studio: Studio, window: Window) -> None:
    studio.ask("PATCH", "/api/assets/data::demo/shots/sh010.blend", {"render": True, "type": "shot"})
    window.go("/p/demo/shots")
    for name, value in (("rating", "4"), ("pipeline.layout", "ref"), ("due", "2026-12-24")):
        window.run(TYPED, name, value)
        window.until(SAVED, name)
    told = studio.ask("GET", "/api/assets/data::demo/shots/sh010.blend")
    assert (told["rating"], told["pipeline"], told["due"]) == (4, {"layout": "ref"}, "2026-12-24")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_admins_pages_are_accessible_and_fit(
    studio: Studio, window: Window, width: int, scheme: str
) -> None:
    wrong = studio.config / "sets" / "mine.json"
    wrong.write_text('{\n "title": "Mine",\n}')
    end = time.monotonic() + 20
    while "mine.json" not in str(studio.ask("GET", "/api/problems")):
        assert time.monotonic() < end
        time.sleep(0.05)
    window.look(width, scheme)
    window.go("/sign-in")  # which follows nothing
    window.driver.execute_async_script(SIGN_IN, '{"user": "admin", "password": "long enough"}')
    for page in ("/admin/configuration", "/admin"):
        window.go(page)
        window.until_text(".wrong", "This comma is one too many.")
        assert window.violations() == [], page
        assert window.run("const e = document.documentElement; return e.scrollWidth <= e.clientWidth"), page
    window.until_text("h1", "Health")
    wrong.unlink()
    if width > 1000:
        window.until("return !document.querySelector('.wrong .log')")
