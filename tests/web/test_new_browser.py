"""New files, the project's page and the admin's projects in a real Chromium."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver.support.ui import Select
from window import Window, opened, serving

from server.disk.settings import Settings
from server.library.people import People


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("new")
    People(Settings(root / "config")).set_password("admin", "correct horse battery")
    return root


@pytest.fixture(scope="module")
def window(root: Path, needs: Callable[[str], str]) -> Iterator[Window]:
    with serving(root / "config", root / "data") as base, opened(base, root / "profile", needs) as made:
        made.look(1280, "light")
        made.sign_in("Student")
        yield made


def project(root: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((root / "data/demo/project.json").read_text())
    return found


def test_a_file_is_made_with_a_name_alone(root: Path, window: Window) -> None:
    """Given a student on the page New, when a name is typed, then it says where the file will be; and one
    press of the button makes it and opens its page."""
    window.go("/p/demo/new")
    window.find("[name=name]").send_keys("Der Fuchs läuft")
    window.until_text("#where", "shots/der_fuchs_lauft.blend")
    window.find("input[value=char]").click()
    window.until_text("#where", "characters/der_fuchs_lauft.blend")
    window.button("Make it").click()
    window.until("return location.pathname.endsWith('/asset/characters/der_fuchs_lauft.blend')")
    assert (root / "data/demo/characters/der_fuchs_lauft.blend").read_bytes().startswith(b"BLENDER")
    window.until_text(".toast", "Open it in Blender and save")
    window.button("Close").click()
    window.go(window.run("return location.pathname"))
    assert window.all(".toast") == [], "said once"
    window.go("/p/demo/new")
    window.find("[name=name]").send_keys("x")
    window.find("details summary").click()
    window.find("[name=file]").send_keys("characters/der_fuchs_lauft")
    window.until_text("#where", "there already")
    window.button("Make it").click()
    window.until_text("[role=alert]", "there already")
    assert window.run("return location.pathname") == "/p/demo/new"


def test_the_project_saves_itself_and_roles_come_and_go(root: Path, window: Window) -> None:
    window.go("/p/demo/project")
    title = window.find("#p-title")
    title.clear()
    title.send_keys("The Fox")
    window.until_text("output[for=p-title]", "Saved")
    assert project(root)["title"] == "The Fox"
    form = window.find("form[data-clear]")
    form.find_element("name", "title").send_keys("Sound")
    Select(form.find_element("name", "people")).select_by_visible_text("Student")
    form.find_element("tag name", "button").click()
    window.until("return document.querySelector('[id^=role-]')?.textContent.includes('Student')")
    window.find("[id^=role-] [name=title]").send_keys("s")
    window.until_text("[id^=role-] output", "Saved")
    assert [role["title"] for role in project(root)["roles"]] == ["Sounds"]  # type: ignore[attr-defined]
    window.find("[id^=role-] button[value^='DELETE']").click()
    window.until("return !document.querySelector('[id^=role-]')")
    window.find("#toasts .toast:last-child button").click()  # Undo
    window.until("return document.querySelector('[id^=role-]')")


def test_an_admin_makes_a_project(root: Path, window: Window) -> None:
    window.driver.delete_all_cookies()
    window.go("/sign-in?user=admin")
    window.find("[name=password]").send_keys("correct horse battery", "\n")
    window.until("return location.pathname !== '/sign-in'")
    for width, scheme in ((390, "dark"), (1280, "light")):
        window.look(width, scheme)
        window.go("/admin/projects")
        assert window.violations() == []
        assert window.run("const e = document.documentElement; return e.scrollWidth <= e.clientWidth")
    window.find("form [name=title]").send_keys("Blue Team")
    window.find("form .primary").click()
    window.until("return location.pathname === '/p/blue_team/project'")
    assert (root / "data/blue_team/shots").is_dir()
