"""People in a real Chromium: in by team, face and PIN; a picture cropped and sent; everybody looked after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from selenium.webdriver.common.keys import Keys
from studio import SIDEWAYS, SMALL
from window import Window, opened, serving

from server.disk.settings import Settings
from server.library.people import People

WORD = "correct horse"
PAGES = ["/admin/users", "/admin/users?team=green", "/admin/users/ana", "/admin/users/admin", "/me"]
DOORS = ["/sign-in", "/sign-in?team=green", "/sign-in?team=green&user=ana", "/sign-in?user=admin"]
DOORS += ["/sign-in?error=wait"]
SIGN_IN = """const done = arguments[2];
fetch('/api/session', {method: 'POST', headers: {'Content-Type': 'application/json'},
  body: JSON.stringify({user: arguments[0], password: arguments[1]})}).then(r => done(r.status))"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("class") / "config"
    for name in ("green", "blue"):
        (folder.parent / "data" / name).mkdir(parents=True)
        (folder.parent / "data" / name / "project.json").write_text(f'{{"title": "The {name} door"}}')
    people = People(Settings(folder))
    for n, name in enumerate(("ana", "ben", "cem", "dua")):
        people.add(name, title=name.capitalize(), projects=[("green", "blue")[n % 2]])
    people.set_pin("ana", "4821")
    people.set_password("admin", WORD)
    return folder


@pytest.fixture(scope="module")
def window(
    config: Path, tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]
) -> Iterator[Window]:
    needs("chromedriver")
    profile = tmp_path_factory.mktemp("people-profile")
    with serving(config, config.parent / "data") as base, opened(base, profile, needs) as made:
        made.look(1280, "light")
        yield made


def test_two_taps_and_a_pin(window: Window) -> None:
    """As a student on a telephone does it, with nothing explained."""
    window.look(390, "dark")
    window.go("/")
    window.button("Sign in").click()
    window.until_text("h2", "Your team")
    window.button("The green door").click()
    window.until_text("h2", "The green door")
    window.button("Ana").click()
    window.until("return document.activeElement.name == 'pin'")
    for guess in ("1793", "4821"):
        window.find("[name=pin]").send_keys(guess + Keys.ENTER)
        if guess == "1793":
            window.until_text("[role=alert]", "This PIN isn’t right.")
    window.until("return location.pathname == '/p/green/home'")
    window.until_text("header", "Not Ana?")


def test_a_picture_is_cropped_by_the_keyboard_alone(window: Window, config: Path, tmp_path: Path) -> None:
    wide = Image.new("RGB", (1200, 400), "#1e6b52")  # its left third is another colour
    ImageDraw.Draw(wide).rectangle((0, 0, 399, 399), fill="#b3261e")
    wide.save(tmp_path / "wide.png")
    window.go("/me")
    window.until("return document.querySelector('[data-crop] input[type=file]')")
    window.find("[data-crop] input[type=file]").send_keys(str(tmp_path / "wide.png"))
    window.until("return document.activeElement.tagName == 'CANVAS'")
    canvas = window.find("canvas")
    for _ in range(40):
        canvas.send_keys(Keys.ARROW_RIGHT)
    window.button("Use this picture").click()
    window.until_text(".toast", "Ana has a new picture.")
    window.until("return document.querySelector('.portrait .face img')?.naturalWidth == 512")
    window.until("return document.querySelector('.cropper').hidden")
    with Image.open(config / "photos/users/ana.jpg") as kept:
        assert (kept.size, kept.format) == ((512, 512), "JPEG")
        for at in ((20, 20), (490, 490)):
            red, green, _ = kept.convert("RGB").getpixel(at)  # type: ignore[misc]
            assert red > 150 > green, "it was moved to the left third"
    (tmp_path / "none.png").write_text("no picture")
    window.find("[data-crop] input[type=file]").send_keys(str(tmp_path / "none.png"))
    window.until_text(".toast", "That isn’t a picture")


def test_an_edit_by_hand_shows_by_itself(window: Window, config: Path) -> None:
    path = config / "users/ana.json"
    path.write_text(path.read_text().replace('"Ana"', '"Anastasia"'))
    window.until_text("h1", "Anastasia")
    path.write_text(path.read_text().replace('"Anastasia"', '"Ana"'))
    window.until_text("h1", "Ana")


def test_an_admin_looks_after_people(window: Window, config: Path) -> None:
    window.look(1280, "light")
    window.driver.delete_all_cookies()
    window.go("/sign-in")
    assert window.driver.execute_async_script(SIGN_IN, "admin", WORD) == 200
    window.go("/admin/users")
    window.find("#add summary").click()
    window.find("#add [name=title]").send_keys("Eva Møller")
    window.button("Add").click()
    window.until_text(".toast", "Eva Møller is there now.")
    window.until_text("#u-eva\\.moeller, #u-eva\\.moller", "Eva Møller")
    window.find("#class summary").click()
    window.find("#class textarea").send_keys("Fay, fay, Red Fox\nGil, gil, guest\nHana, h a")
    window.button("Add them").click()
    window.until_text("#class [role=alert]", "Line 3: 'h a' can't be an ident")
    window.find("#class textarea").send_keys(Keys.BACKSPACE * 2 + "ana2")
    window.button("Add them").click()
    window.until_text("#u-fay", "Fay")
    window.until_text(".toast", "Added 3 people")
    window.go("/admin/users/ben")
    field = window.find("#f-title")
    field.clear()
    field.send_keys("Benjamin")
    window.until_text("output", "Saved")
    window.button("The green door").click()
    window.until("return document.querySelector('[aria-pressed=true]')?.textContent == 'The green door'"
                 " || document.querySelectorAll('[aria-pressed=true]').length == 2")  # fmt: skip
    window.button("Switch off").click()
    window.until_text("h1 + p", "switched off")
    [one for one in window.all(".toast button") if one.text == "Undo"][-1].click()
    window.until_text("h1 + p", "by a tap")
    people = People(Settings(config))
    assert people.user("ben").title == "Benjamin"
    assert set(people.user("ben").projects) == {"blue", "green"}
    assert (config.parent / "data/red-fox/project.json").exists()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_of_people_are_accessible_and_fit(
    window: Window, width: int, scheme: str, tmp_path: Path
) -> None:
    window.look(width, scheme)
    window.logged()
    wrong: list[str] = []
    for page in [*PAGES, *DOORS]:
        window.go(page)
        for details in window.all("main details > summary"):
            window.run("arguments[0].parentElement.open = true", details)
        wrong += [f"{page}: {found}" for found in window.violations()]
        if window.run(SIDEWAYS) > 0:
            wrong.append(f"{page} scrolls sideways by {window.run(SIDEWAYS)}")
        wrong += [f"{page}: smaller than a finger: {html}" for html in window.run(SMALL)]
        window.driver.save_screenshot(str(tmp_path / f"{page.strip('/').replace('/', '-')}.png"))
    assert wrong == []
    assert window.logged() == []


def test_somebody_is_forgotten_on_their_page(window: Window, config: Path) -> None:
    window.look(1280, "light")
    window.go("/admin/users/dua")
    window.find("#forget summary").click()
    window.button("Forget Dua").click()
    window.until("return document.querySelector('#forget [name=sure]').matches(':invalid')")
    assert (config / "users/dua.json").exists(), "not by one slip of a finger"
    window.find("#forget [name=sure]").click()
    window.button("Forget Dua").click()
    window.until_text(".toast, h1", "forgotten")
    assert not (config / "users/dua.json").exists()
