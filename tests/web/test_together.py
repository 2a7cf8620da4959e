"""Two people in two browsers at one file; keys, motion, what is fetched first; pages without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from studio import ASSET, Studio
from window import CLONE, Window, opened

from server.disk.settings import Settings

STATIC = CLONE / "templates" / "static"
HOLD = """const real = window.fetch; window.held = new Promise(go => { window.release = go; });
window.fetch = async (...asked) => { await window.held; return real(...asked); }"""
OFFLINE = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
VALUE = "return document.getElementById(arguments[0]).value"


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]) -> Iterator[Studio]:
    needs("chromedriver")
    folder = tmp_path_factory.mktemp("together")
    made = Studio(folder / "config", folder / "data")
    made.asset("shots/sh010.blend", owner="student", description="Two foxes meet.")
    (made.data / "demo/project.json").write_text('{"title": "Foxes"}')
    settings = Settings(made.config)
    settings.write("users", "ana", {"title": "Ana", "role": "student"})
    with made.open():
        yield made


@pytest.fixture(scope="module")
def both(
    studio: Studio, tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]
) -> Iterator[tuple[Window, Window]]:
    """The student's and Ana's browsers."""
    with ExitStack() as stack:
        windows = []
        for name in ("Student", "Ana"):
            profile = tmp_path_factory.mktemp("profile")
            window = stack.enter_context(opened(studio.base, profile, needs))
            window.look(1280, "light")
            window.sign_in(name)
            windows.append(window)
        yield windows[0], windows[1]


def saved(studio: Studio) -> dict[str, object]:
    found: dict[str, object] = json.loads((studio.data / "demo/shots/sh010.blend.json").read_text())
    return found


def test_edits_of_different_fields_merge_without_a_word(studio: Studio, both: tuple[Window, Window]) -> None:
    student, ana = both
    for window in both:
        window.go(ASSET)
    student.run(HOLD)
    student.find("#f-description").send_keys(" At night.")
    ana.find("#f-name").send_keys(" b")
    ana.until_text("output[for=f-name]", "Saved")
    student.run("window.release()")
    student.until_text("output[for=f-description]", "Saved")
    student.until(f"return ({VALUE.removeprefix('return ')}) == 'sh010 b'", "f-name")
    ana.until(f"return ({VALUE.removeprefix('return ')}) == 'Two foxes meet. At night.'", "f-description")
    assert (saved(studio)["name"], saved(studio)["description"]) == ("sh010 b", "Two foxes meet. At night.")
    assert not student.all(".theirs") + ana.all(".theirs")
    for window in both:
        window.logged()


def test_two_in_one_field_see_each_other_and_choose(studio: Studio, both: tuple[Window, Window]) -> None:
    student, ana = both
    for window in both:
        window.go(ASSET)
    student.run(HOLD)
    field = student.find("#f-description")
    field.send_keys(" Mine <b>.")
    text = ana.find("#f-description")
    text.send_keys(Keys.CONTROL, "a")
    text.send_keys("Ana’s “own” {{ 7*7 }}.")
    ana.until_text("output[for=f-description]", "Saved")
    student.run("window.release()")
    student.until_text("output[for=f-description]", "Ana changed this to “Ana’s “own” {{ 7*7 }}.”.")
    assert str(student.run(VALUE, "f-description")).endswith(" Mine <b>."), "what one types stays"
    assert saved(studio)["description"] == "Ana’s “own” {{ 7*7 }}.", "nothing is overwritten unasked"
    assert student.violations() == []
    student.button("Keep yours").click()
    student.until_text("output[for=f-description]", "Saved")
    ana.until(f"return ({VALUE.removeprefix('return ')}).endsWith(' Mine <b>.')", "f-description")
    # And the other way: Ana’s stays.
    student.run(HOLD)
    field.send_keys(" Once more.")
    ActionChains(ana.driver).key_down(Keys.CONTROL).send_keys(Keys.END).key_up(Keys.CONTROL).perform()
    ana.find("#f-description").send_keys(" Ana again.")
    ana.until("return document.getElementById('f-description').defaultValue.endsWith(' Ana again.')")
    student.run("window.release()")
    student.until_text("output[for=f-description]", "Ana changed this")
    student.button("Keep Ana’s").click()
    student.until(f"return ({VALUE.removeprefix('return ')}).endsWith(' Ana again.')", "f-description")
    assert str(saved(studio)["description"]).endswith(" Ana again.")
    for window in both:
        window.logged()


def test_a_field_being_typed_in_is_left_alone(studio: Studio, both: tuple[Window, Window]) -> None:
    student, ana = both
    student.go(ASSET)
    student.run("window.kept = true")
    field = student.find("#f-tags")
    field.send_keys("nig")
    student.run("document.addEventListener('input', e => e.stopImmediatePropagation(), true)")
    field.send_keys("ht, f")  # the pause before it is saved never comes
    ana.go(ASSET)
    ana.find("#f-name").send_keys("!")
    ana.until_text("output[for=f-name]", "Saved")
    student.until(f"return ({VALUE.removeprefix('return ')}).endsWith('!')", "f-name")
    assert str(student.run(VALUE, "f-tags")).endswith("night, f")
    assert student.run("return [document.activeElement.id, document.activeElement.selectionStart > 7]") == [
        "f-tags", True,
    ]  # fmt: skip
    assert student.run("return window.kept")
    student.logged()


def test_half_typed_text_stays_where_it_is_while_what_stands_above_it_goes(
    studio: Studio, both: tuple[Window, Window]
) -> None:
    """'Nobody's yet. Mine' goes once the file has an owner: the forms below it are still themselves."""
    student, ana = both
    ana.go(ASSET)
    ana.run("document.getElementById('f-owner').value = ''; arguments[0].dispatchEvent(new Event('change',"
            " {bubbles: true}))", ana.find("#f-owner"))  # fmt: skip
    student.go(ASSET)
    student.until_text("#s-about > p.line", "Nobody’s yet.")
    student.run(HOLD)
    student.find("#f-tags").send_keys("night")
    student.run("window.typed = document.getElementById('f-tags')")
    student.run("window.release()")
    ana.run("arguments[0].value = 'ana'; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))",
            ana.find("#f-owner"))  # fmt: skip
    student.until(f"return ({VALUE.removeprefix('return ')}) == 'ana'", "f-owner")
    assert student.run(
        "return window.typed === document.getElementById('f-tags') && window.typed.isConnected"
    )
    student.until_text("output[for=f-tags]", "Saved")
    assert student.run("return document.querySelector('output[for=f-time_spent]').textContent") == ""


def test_what_couldnt_be_saved_says_so_and_is_saved_later(
    studio: Studio, both: tuple[Window, Window]
) -> None:
    student, _ = both
    student.go(ASSET)
    student.driver.execute_cdp_cmd("Network.enable", {})
    student.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**OFFLINE, "offline": True})
    try:
        field = student.find("#f-description")
        field.send_keys(" On the train.")
        student.until_text("output[for=f-description]", "Not saved: The server can’t be reached.")
    finally:
        student.driver.execute_cdp_cmd("Network.emulateNetworkConditions", {**OFFLINE, "offline": False})
    student.until_text("output[for=f-description]", "Saved")
    assert str(saved(studio)["description"]).endswith(" On the train.")
    field.send_keys(" Oops.")
    student.until_text("output[for=f-description]", "Saved")
    field.send_keys(Keys.ESCAPE)
    student.until(f"return !({VALUE.removeprefix('return ')}).includes('Oops')", "f-description")
    student.logged()


def press(window: Window, *keys: str) -> None:
    ActionChains(window.driver).send_keys(*keys).perform()


def test_keys_take_one_around_but_never_while_one_types(both: tuple[Window, Window]) -> None:
    window, _ = both
    window.go(ASSET)
    press(window, "g", "h")
    window.until("return location.pathname == '/p/demo/home'")
    press(window, "g", "f")
    window.until("return location.pathname == '/p/demo/assets'")
    press(window, "/")
    window.until("return document.activeElement.id == 'seek'")
    press(window, "gh?")
    assert window.run("return [document.activeElement.value, location.pathname]") == ["gh?", "/p/demo/assets"]
    window.run("document.activeElement.blur()")
    press(window, "?")
    window.until("return document.getElementById('keys').matches(':popover-open')")
    assert "Search everything" in window.find("#keys").text
    assert window.violations() == []
    window.find("#keys-on").click()
    press(window, Keys.ESCAPE)
    window.until("return !document.getElementById('keys').matches(':popover-open')")
    press(window, "g", "h")
    assert window.run("return location.pathname") == "/p/demo/assets", "they are switched off"
    press(window, "?")
    window.find("#keys-on").click()
    press(window, Keys.ESCAPE, "g", "h")
    window.until("return location.pathname == '/p/demo/home'")


def test_on_a_phone_the_menu_holds_the_pages(both: tuple[Window, Window]) -> None:
    window, _ = both
    window.look(390, "dark")
    try:
        window.go("/p/demo/home")
        assert not window.find("#pages a").is_displayed()
        window.find(".menu").click()
        window.until("return document.querySelector('#pages a').checkVisibility()")
        assert window.violations() == []
        window.find("#pages a[data-key='g f']").click()
        window.until("return location.pathname == '/p/demo/assets'")
        window.find("[popovertarget=who]").click()
        assert "Not Student?" in window.find("#who").text
    finally:
        window.look(1280, "light")


def test_the_top_of_every_page_follows(studio: Studio, both: tuple[Window, Window]) -> None:
    """Problems and names change there at once; an open menu, focus and what somebody types stay."""
    student, ana = both
    ana.look(390, "light")
    spoilt = studio.data / "demo/props/hat.blend.json"
    try:
        ana.go("/me/tokens")  # its main follows nothing: a token that is shown once stays
        ana.find(".menu").click()
        ana.find("#pages a").send_keys("")  # focus
        student.go("/p/demo/asset/shots/nothing.blend")  # nor has the page of an error anything to follow
        student.run("window.kept = true")
        student.find("#seek").send_keys("half a w")
        studio.asset("props/hat.blend")
        spoilt.write_text("{ spoilt")
        for window, there in ((student, "/p/demo/problems"), (ana, "/problems")):
            window.until_text(f"#pages a[href='{there}'] .count", "1")
        studio.ask("PATCH", "/api/users/student", {"title": "Zoë <b>"})
        student.until_text(".not-me", "Not Zoë <b>?")
        assert student.run("return [document.activeElement.value, window.kept]") == ["half a w", True]
        assert student.run("return document.querySelector('#who [name=csrf]').value")
        student.logged()
        student.go(ASSET)
        spoilt.unlink()
        for window in both:
            window.until("return !document.querySelector('#pages a[href$=problems]')")
        studio.ask(
            "POST", f"/api/assets/data::{ASSET[3:].replace('/asset', '')}/notes", {"text": "@ana look"}
        )
        ana.until_text("#bell .count", "1")
        assert ana.run("return document.querySelector('#pages').matches(':popover-open')")
        assert ana.run("return document.activeElement == document.querySelector('#pages a')")
    finally:
        ana.look(1280, "light")
        studio.ask("PATCH", "/api/users/student", {"title": "Student"})


def test_who_wants_no_motion_gets_none(both: tuple[Window, Window]) -> None:
    window, _ = both
    reduced = {"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}
    window.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", reduced)
    try:
        window.go("/p/demo/assets")
        moving = """const parts = ['', '::before', '::after'];
        return [...document.querySelectorAll('*')].filter(e => parts.some(part => {
          const style = getComputedStyle(e, part || null);
          return style.animationName != 'none' || parseFloat(style.transitionDuration) > 0;
        })).length"""
        assert window.run(moving) == 0
        assert window.run("return getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    finally:
        window.look(1280, "light")


def test_the_first_paint_takes_one_page_and_one_sheet_of_style(both: tuple[Window, Window]) -> None:
    """Nothing else holds it up: modules are deferred, pictures and glyphs come after."""
    window, _ = both
    for page in ("/p/demo/home", "/p/demo/assets", ASSET, "/p/demo/rendering"):
        window.go(page)
        blocking = """return performance.getEntriesByType('resource')
          .filter(one => one.renderBlockingStatus == 'blocking').map(one => new URL(one.name).pathname)"""
        assert window.run(blocking) == ["/static/croft.css"], page


def test_pages_work_without_scripts(studio: Studio, both: tuple[Window, Window]) -> None:
    window, _ = both
    window.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        window.driver.get(studio.base + ASSET)
        field = window.find("#f-description")
        field.clear()
        field.send_keys("Without scripts.")
        window.find("form.fields noscript button, form[data-edit] button[value^=PATCH]").click()
        window.until_text(".toast", "is changed.")
        assert saved(studio)["description"] == "Without scripts."
        window.find("input[name=first]").send_keys("1")
        window.find("input[name=last]").send_keys("3")
        window.find("form:has(input[name=first]) button.primary").click()
        window.until_text(".toast", "3 frames")
        (job,) = studio.ask("GET", "/api/jobs?limit=1000")
        window.driver.get(f"{studio.base}/p/demo/rendering")
        window.find(f"#j-{job['id']} button[value^=DELETE]").click()
        window.until_text(".toast", "sh010")
        assert studio.ask("GET", f"/api/jobs/{job['id']}")["state"] == "cancelled"
    finally:
        window.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_scripts_and_styles_stay_small() -> None:
    """Readable as they are, and no more than this: a phone on a school's network loads them in a moment."""
    scripts = {path.name: path.stat().st_size for path in STATIC.rglob("*.js")}
    styles = {path.name: path.stat().st_size for path in STATIC.rglob("*.css")}
    assert sum(scripts.values()) < 60_000, scripts
    assert sum(styles.values()) < 40_000, styles
    for path in STATIC.rglob("*.js"):
        assert max(map(len, path.read_text("utf-8").splitlines())) < 260, f"{path.name} looks minified"
        text = path.read_text("utf-8")
        assert not re.search(r"(inner|outer)HTML|insertAdjacentHTML|document\.write|eval\(", text), path.name


def test_no_class_is_laid_out_twice() -> None:
    """Two parts of the sheet that call different things by one name spoil each other."""
    text = re.sub(r"/\*.*?\*/", "", (STATIC / "croft.css").read_text(), flags=re.S)
    outside = re.sub(r"@[^{}]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", text)
    known: dict[tuple[str, str], str] = {}
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", outside):
        for selector in map(str.strip, selectors.split(",")):
            for said in body.split(";"):
                name, _, value = map(str.strip, said.partition(":"))
                if re.fullmatch(r"\.[\w-]+", selector) and name not in ("", "color"):
                    assert known.setdefault((selector, name), value) == value, (selector, name)
