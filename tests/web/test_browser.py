"""The pages in a real Chromium: whole, accessible, usable by keyboard, true while things change."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from painter import Painter
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from studio import ASSET, SCENE, SIDEWAYS, SMALL, Studio
from window import Window, opened, serving

from server.disk.settings import Settings
from server.library.people import People

LATER = SCENE.replace(b"BLENDER-v304", b"BLENDER-v305")
PAGES = ["/", "/sign-in", "/p/demo/home", "/p/demo/assets", "/p/demo/drop", ASSET, "/p/demo/rendering"]
PAGES += ["/p/demo/assets?view=thumbs", "/p/demo/assets?view=sheet&type=-shot", "/search?q=s"]
PAGES += ["/p/demo/deleted", "/p/demo/assets?files=1", "/p/demo/asset/shots/board.png"]
PAGES += ["/p/demo/render/shots/sh010.blend", "/p/demo/render/shots/sh010.blend?type=blender-tiles"]
PAGES += ["/history", "/p/demo/history?who=student", "/p/demo/history?q=nothing+at+all"]
PAGES += ["/p/demo/team", "/p/demo/new", "/p/demo/project", "/p/demo/shots", "/p/demo/credits"]
PAGES += ["/notes", "/p/demo/notes?show=all"]
PAGES += ["/me/tokens"]
PAGES += [
    "/computers",
    "/me",
    "/api/docs",
    "/api/docs/try?call=POST%20/api/new_job",
    "/nowhere",
    "/statistics",
    "/p/demo/statistics?days=30",
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]) -> Iterator[Studio]:
    needs("chromedriver")
    folder = tmp_path_factory.mktemp("studio")
    made = Studio(folder / "config", folder / "data")
    made.asset("shots/sh010.blend", owner="student", description="Two foxes meet.")
    made.asset("shots/sh020.blend", state="review", priority=5)
    made.asset("characters/fox.blend", type="character", state="po")
    (made.data / "demo/project.json").write_text('{"title": "Foxes"}')
    Image.new("RGB", (320, 180), "#8a5300").save(made.data / "demo/shots/board.png")
    with made.open():
        yield made


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def window(studio: Studio, profile: Path, needs: Callable[[str], str]) -> Iterator[Window]:
    with opened(studio.base, profile, needs) as made:
        made.look(1280, "light")
        made.sign_in("Student")
        yield made


@pytest.fixture
def rendered(studio: Studio) -> Iterator[tuple[str, Painter]]:
    """A render of six frames: three done, one failed for good, two waiting."""
    job = studio.render("shots/sh010.blend", "1-6")
    painter = studio.painter(f"well-{job[-6:]}")
    painter.paint()
    painter.paint(1.5)
    log = "Warning: all well\nError: no camera <b>found</b>"
    painter.fail(log)
    painter.paint()  # it did another well since: so it is the frame
    for n in range(2):  # a frame that failed is tried elsewhere first; who fails often is sent to rest
        studio.painter(f"{job[-6:]}-{n}").fail(log)
    yield job, painter
    studio.ask("DELETE", f"/api/jobs/{job}")


def test_a_long_name_stays_on_a_phones_page(window: Window, studio: Studio) -> None:
    window.look(390, "light")
    before = studio.ask("GET", "/api/assets/data::demo/shots/sh010.blend")["name"]
    studio.ask("PATCH", "/api/assets/data::demo/shots/sh010.blend", {"name": "Fox" * 60})
    try:
        for page in ("home", "assets", "team", "credits", "history", "asset/shots/sh010.blend"):
            window.go(f"/p/demo/{page}")
            assert "FoxFox" in window.driver.page_source, page
            assert window.run(SIDEWAYS) <= 0, page
    finally:
        studio.ask("PATCH", "/api/assets/data::demo/shots/sh010.blend", {"name": before})


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_is_accessible_and_fits(
    window: Window, rendered: tuple[str, Painter], width: int, scheme: str, tmp_path: Path
) -> None:
    window.look(width, scheme)
    window.logged()
    window.asked()
    wrong: list[str] = []
    job = f"/p/demo/job/{rendered[0]}"
    for page in [*PAGES, job, f"{job}/frame/2", f"{job}/frame/0"]:
        window.go(page)
        wrong += [f"{page}: {found}" for found in window.violations()]
        if window.run(SIDEWAYS) > 0:
            wrong.append(f"{page} scrolls sideways by {window.run(SIDEWAYS)}")
        wrong += [f"{page}: smaller than a finger: {html}" for html in window.run(SMALL)]
        name = page.strip("/").replace("/", "-").replace("?", "-") or "start"
        window.driver.save_screenshot(str(tmp_path / f"{name}.png"))
    assert wrong == []
    elsewhere = [
        url for url in window.asked() if not url.startswith((window.base, "data:", "blob:", "chrome"))
    ]
    assert elsewhere == []
    assert [line for line in window.logged() if "/nowhere" not in line] == []


def test_frames_show_while_they_arrive(studio: Studio, window: Window) -> None:
    window.look(1280, "light")
    window.go("/p/demo/rendering")
    job = studio.render("shots/sh020.blend", "1-3")
    card = f"#j-{job}"
    window.until_text(f"{card} p", "0 of 3 frames")
    window.run(f"document.querySelector('{card} h3 a').focus(); window.kept = true")
    painter = studio.painter()
    painter.paint()
    window.until_text(f"{card} p", "1 of 3 frames")
    painter.paint()
    painter.paint()
    window.until_text(f"{card} p", "3 frames")
    window.until(f"return document.querySelectorAll('{card} .cells .d').length == 3")
    window.until_text(f"{card} .s", "Done")
    assert window.run("return window.kept"), "the page was loaded again"
    window.until("return document.getElementById('spoken').textContent.includes('done')")


def test_focus_and_scrolling_stay_while_a_page_changes(studio: Studio, window: Window) -> None:
    window.look(390, "light")
    job = studio.render("shots/sh020.blend", "1-2")
    window.go("/p/demo/rendering")
    window.until_text(f"#j-{job} p", "0 of 2 frames")
    window.run(f"document.querySelector('#j-{job} h3 a').focus(); scrollTo(0, 200)")
    before = window.run("return [document.activeElement.href, scrollY]")
    studio.painter().paint()
    window.until_text(f"#j-{job} p", "1 of 2 frames")
    assert window.run("return [document.activeElement.href, scrollY]") == before
    studio.ask("DELETE", f"/api/jobs/{job}")


def test_a_dropped_file_is_seen_at_once_and_its_row_follows(studio: Studio, window: Window) -> None:
    window.look(1280, "light")
    window.go("/p/demo/assets")
    window.until_text("tbody th", "sh020")
    window.run("window.kept = true")
    path = studio.asset("shots/sh030.blend", name="Fox runs")
    window.until_text("tbody th", "Fox runs")
    path.with_name("sh030.blend.json").write_text(json.dumps({"name": "Fox sleeps", "type": "shot"}))
    window.until_text("tbody th", "Fox sleeps")
    path.with_name("sh030.blend.json").unlink()
    path.unlink()
    window.until(
        "return ![...document.querySelectorAll('tbody th')].some(e => e.textContent.includes('Fox s'))"
    )
    assert window.run("return window.kept")


def test_frames_are_looked_at_with_the_arrow_keys(window: Window, rendered: tuple[str, Painter]) -> None:
    window.go(f"/p/demo/job/{rendered[0]}")
    window.until("return document.querySelectorAll('.strip a').length == 3")
    window.find(".strip a").click()
    window.until("return document.querySelector('#stage img').alt == 'Frame 1'")
    ActionChains(window.driver).send_keys(Keys.ARROW_RIGHT).perform()
    window.until("return document.querySelector('#stage img').alt == 'Frame 2'")
    assert window.until("return document.querySelector('#stage img').naturalWidth") == 160
    assert "/job/" in window.driver.current_url


def test_a_field_saves_itself(studio: Studio, window: Window) -> None:
    window.go(ASSET)
    window.find("#f-state").send_keys("Usable")
    window.until_text("output[for=f-state]", "Saved")
    field = window.find("#f-description")
    field.clear()
    field.send_keys("They meet at night." + Keys.TAB)
    window.until_text("output[for=f-description]", "Saved")
    saved = json.loads((studio.data / "demo/shots/sh010.blend.json").read_text())
    assert (saved["state"], saved["description"]) == ("us", "They meet at night.")


def test_a_save_is_kept_brought_back_opened_beside_and_deleted_with_undo(
    studio: Studio, window: Window
) -> None:
    path = studio.asset("shots/sh070.blend", owner="student")
    rows = lambda: studio.ask("GET", "/api/assets?project=demo&q=sh070")  # noqa: E731
    end = time.monotonic() + 20
    while [row["status"] for row in rows()] != ["ok"]:
        assert time.monotonic() < end, "it doesn't arrive"
        time.sleep(0.1)
    window.go("/p/demo/asset/shots/sh070.blend")
    window.find("#s-saves input[name=comment]").send_keys("before I try")
    window.button("Keep this save").click()
    window.until_text(".saves", "before I try")
    aside = path.with_name("aside")
    aside.write_bytes(LATER)
    aside.rename(path)
    window.button("Bring it back").click()
    window.until_text(".toast", "is back as it was")
    assert path.read_bytes() == SCENE
    window.button("Undo").click()
    window.until("return document.querySelectorAll('.saves li').length == 3")
    assert path.read_bytes() == LATER
    window.button("Publish").click()
    window.until_text(".saves", "Published as version 1")
    window.button("Open beside").click()
    window.until_text(".toast", "sh070 v001.blend")
    assert path.with_name("sh070 v001.blend").exists()
    window.button("Close").click()
    window.button("Delete this file").click()
    window.until_text("main", "This file was deleted")
    assert not path.exists()
    window.find(".toast:last-child button").click()
    window.until_text("main", "Earlier saves")
    assert path.exists()
    path.unlink()
    window.until_text(".notice", "Forget it")
    window.button("Bring back the save").click()
    window.until("return !document.querySelector('.notice')")
    assert path.exists()
    window.logged()


def test_somebody_elses_change_is_told_and_nobodys_is_lost(studio: Studio, window: Window) -> None:
    window.go(ASSET)
    window.run("const real = fetch; window.fetch = async (...asked) => { await held; return real(...asked) }")
    window.run("window.held = new Promise((go) => { window.release = go; })")
    field = window.find("#f-description")
    field.click()
    field.send_keys(" Mine.")
    studio.ask("PATCH", "/api/assets/data::demo/shots/sh010.blend", {"description": "Theirs."})
    window.run("window.release()")
    window.until_text("output[for=f-description]", "Supervisor changed this to “Theirs.”")
    sidecar = studio.data / "demo/shots/sh010.blend.json"
    assert json.loads(sidecar.read_text())["description"] == "Theirs."
    assert window.violations() == []
    window.button("Keep yours").click()
    window.until_text("output[for=f-description]", "Saved")
    assert json.loads(sidecar.read_text())["description"].endswith(" Mine.")
    window.logged()


def test_another_field_of_somebody_elses_is_no_conflict(studio: Studio, window: Window) -> None:
    window.go(ASSET)
    window.find("#f-name").send_keys(" b")
    studio.ask("PATCH", "/api/assets/data::demo/shots/sh010.blend", {"tags": ["night"]})
    window.find("#f-name").send_keys(Keys.TAB)
    window.until_text("output[for=f-name]", "Saved")
    saved = json.loads((studio.data / "demo/shots/sh010.blend.json").read_text())
    assert saved["name"].endswith(" b")
    assert saved["tags"] == ["night"]
    window.logged()


def test_stop_is_undone(studio: Studio, window: Window) -> None:
    window.look(1280, "light")
    studio.ask("PATCH", "/api/assets/data::demo/shots/sh020.blend", {"owner": "student"})
    request = {"file": "data::demo/shots/sh020.blend", "frames": "1-4", "type": "test-pattern"}
    window.go("/p/demo/rendering")
    job = window.run(
        """const csrf = document.querySelector('meta[name="croft-csrf"]').content;
        const answer = await fetch('/api/jobs', {method: 'POST', body: JSON.stringify(arguments[0]),
          headers: {'Content-Type': 'application/json', 'X-Croft-CSRF': csrf}});
        return (await answer.json()).data.id""",
        request,
    )
    window.until_text(f"#j-{job} p", "0 of 4 frames")
    window.button("Stop").click()
    window.until_text(f"#j-{job} .s", "Stopped")
    window.button("Undo").click()
    window.until_text(f"#j-{job} .s", "Waiting")
    assert studio.ask("GET", f"/api/jobs/{job}")["counts"]["waiting"] == 4
    studio.ask("DELETE", f"/api/jobs/{job}")


WATCH = """window.seen = new Promise((tell) => {
  const there = () => document.querySelector("main").textContent.includes("failed on");
  const look = () => there() && tell(performance.now());
  new MutationObserver(look).observe(document.body, {subtree: true, childList: true, characterData: true});
}); return performance.now()"""
SEEN = "const done = arguments[arguments.length - 1]; window.seen.then(done)"


def test_a_failure_stands_on_its_owners_home_within_five_seconds(studio: Studio, window: Window) -> None:
    mine = People(Settings(studio.config)).make_token(user="student")
    path = studio.asset("shots/sh090.blend")
    steady = studio.painter("steady")
    studio.render("shots/sh020.blend", "1")
    steady.paint()
    window.look(1280, "light")
    window.go("/p/demo/home")
    job = studio.render("shots/sh090.blend", "1-6", Authorization=f"Bearer {mine}")
    window.until_text("#ends ~ table", "sh090")
    node = studio.painter("berta")
    began = window.run(WATCH)
    node.fail("Error: no camera")
    took_ms = window.driver.execute_async_script(SEEN) - began
    assert took_ms < 5000, took_ms
    window.until_text(".notice.bad", "Frame 1 of sh090.blend failed on berta")
    window.until_text(".notice.bad", "mend the scene")
    window.until_text(".notice.bad", "tried again by itself")
    steady.fail("Error: no camera")
    steady.paint()  # it did another well since: so it is the frame
    studio.painter("other").fail("Error: no camera")
    window.until_text(".notice.bad button", "Try frame 1 again")
    window.button("Try frame 1 again").click()
    window.until("return !document.querySelector('.notice.bad')")
    studio.ask("DELETE", f"/api/jobs/{job}")
    path.unlink()


def test_a_failed_frame_says_why_and_is_tried_again(
    studio: Studio, window: Window, rendered: tuple[str, Painter], profile: Path
) -> None:
    job = rendered[0]
    window.go(f"/p/demo/job/{job}")
    window.until_text("#failed", "1 frame failed")
    window.until_text("pre.log", "Error: no camera <b>found</b>")
    assert window.all("pre.log b") == []
    assert studio.ask("GET", f"/api/jobs/{job}")["counts"]["failed"] == 1
    window.go(f"/p/demo/job/{job}/frame/2")
    window.until_text("pre.log", "Error: no camera <b>found</b>")
    assert len(window.all("main li")) == 3
    window.go(f"/p/demo/job/{job}")
    studio.ask("PATCH", f"/api/jobs/{job}", {"requeue": "failed"})
    window.until("return !document.getElementById('failed')")


def test_a_supervisor_gives_a_password_and_steers_the_farm(
    studio: Studio, rendered: tuple[str, Painter], tmp_path: Path, needs: Callable[[str], str]
) -> None:
    People(Settings(studio.config)).set_password("supervisor", "three blind mice")
    studio.token = People(Settings(studio.config)).make_token(user="supervisor")
    with opened(studio.base, tmp_path / "profile", needs) as window:
        window.go("/sign-in?next=/p/demo/rendering")
        window.until("if (document.querySelector('a.tile')) return true; location.reload()", seconds=5)
        window.button("Supervisor").click()
        window.until("return document.querySelector('input[type=password]')").send_keys("wrong" + Keys.ENTER)
        window.until_text("[role=alert]", "fit together")
        window.find("input[type=password]").send_keys("three blind mice" + Keys.ENTER)
        window.until("return location.pathname == '/p/demo/rendering'")
        assert window.violations() == []
        row = f"#j-{rendered[0]}"
        window.find(f"{row} select[name=priority]").send_keys("Priority: Urgent")
        window.until_text("#toasts", "priority")
        assert studio.ask("GET", f"/api/jobs/{rendered[0]}")["priority"] == 5
        window.button("Undo").click()
        window.until(f"return document.querySelector('{row} select').value == '3'")
        window.button("Pause all computers").click()
        window.until_text(".notice", "All computers are paused")
        window.button("Let all computers go on").click()
        window.until("return !document.querySelector('.notice')")
        window.go("/computers")
        link = f"document.querySelector('a[href=\"/computers/well-{rendered[0][-6:]}\"]')"
        window.until(f"return {link}")
        row = f"{link}.closest('tr')"
        for word, following in (("Pause", "Go on"), ("Go on", "Pause")):
            window.until(f"return {row}.querySelector('button').textContent.startsWith('{word}')")
            window.run(f"{row}.scrollIntoView({{block: 'center'}})")
            window.run(f"return {row}.querySelector('button')").click()
            window.until(f"return {row}.querySelector('button').textContent.startsWith('{following}')")


def test_the_keyboard_reaches_everything(window: Window) -> None:
    window.look(1280, "light")
    window.go("/p/demo/assets")
    seen: list[str] = []
    for _ in range(28):
        ActionChains(window.driver).send_keys(Keys.TAB).perform()
        seen.append(window.run("const e = document.activeElement; return e.name || e.textContent.trim()"))
        ring = window.run("return getComputedStyle(document.activeElement).outlineStyle")
        assert ring != "none", f"no visible focus on {seen[-1]}"
    seen = [name for name in seen if not name.startswith("Problems")]  # where there are some just now
    seen = [name for name in seen if name not in ("Shots", "Team", "Project")]
    assert seen[:6] == ["Skip to the page", "Foxes", "Home", "Files", "Rendering", "q"]
    assert seen[7:9] == ["St", "Not Student?"], "the bell stands before them"
    filters = [name for name in seen[6:] if name in ("q", "state", "owner", "sort")]
    assert filters == ["q", "state", "owner", "sort"]
    assert "Shot" in seen


def test_a_shot_is_rendered_with_the_keyboard_alone(window: Window) -> None:
    window.go("/p/demo/assets?q=sh010")
    window.find("tbody th a").send_keys(Keys.ENTER)
    window.until("return location.pathname.includes('/asset/')")
    first = window.until("return document.querySelector('input[name=first]')")
    first.send_keys(Keys.CONTROL, "a")
    first.send_keys("3", Keys.TAB, "5", Keys.ENTER)
    window.until_text("#toasts", "3 frames")
    window.until_text(".job p", "0 of 3 frames")
    window.button("Undo").click()
    window.until_text(".job .s", "Stopped")


def test_filters_go_into_the_address(window: Window) -> None:
    window.go("/p/demo/assets")
    window.run("window.kept = true")
    window.find("select[name=state]").send_keys("Polished")
    window.until("return location.search == '?state=po'")
    window.until("return document.querySelectorAll('tbody tr').length == 1")
    assert window.find("tbody th a").text == "fox"
    window.find(".filters input[name=q]").send_keys("nothing like it")
    window.until_text(".empty", "Nothing fits this")
    assert window.run("return document.activeElement.value") == "nothing like it"
    assert window.run("return window.kept")
    window.driver.back()
    window.until("return document.querySelectorAll('tbody tr').length == 1")


def test_on_a_phone_the_filters_are_folded(window: Window) -> None:
    window.look(390, "light")
    window.go("/p/demo/assets")
    assert not window.find("select[name=sort]").is_displayed()
    window.find(".fold summary").click()
    assert window.find("select[name=sort]").is_displayed()
    window.look(1280, "light")
    window.go("/p/demo/assets")
    assert window.find("select[name=sort]").is_displayed()


def test_two_tabs_share_one_stream(window: Window) -> None:
    window.go("/p/demo/assets")
    first = window.driver.current_window_handle
    window.driver.switch_to.new_window("tab")
    try:
        window.go("/p/demo/rendering")
        workers = window.driver.execute_cdp_cmd("Target.getTargets", {})["targetInfos"]
        assert len([one for one in workers if one["type"] == "shared_worker"]) == 1
    finally:
        window.driver.close()
        window.driver.switch_to.window(first)


def test_a_lost_connection_is_said_and_made_good(tmp_path: Path, needs: Callable[[str], str]) -> None:
    studio = Studio(tmp_path / "config", tmp_path / "data")
    studio.asset("shots/sh010.blend")
    (studio.data / "demo/project.json").write_text("{}")
    with ExitStack() as stack:
        with serving(studio.config, studio.data) as base:
            window = stack.enter_context(opened(base, tmp_path / "profile", needs))
            window.go("/")
            window.until_text(".steps .now", "Sign in")
            assert window.violations() == []
            assert window.all("[data-live]") == [], "somebody unknown is told of no change"
            window.sign_in("Student")
            window.go("/p/demo/assets")
            window.until_text("tbody th", "sh010")
            window.run("window.kept = true")
        window.until("return !document.getElementById('offline').hidden")
        window.until_text("#offline", "Connection lost")
        studio.asset("shots/sh020.blend")
        with serving(studio.config, studio.data, int(base.rpartition(":")[2])):
            window.until_text("tbody th", "sh020", seconds=40)
            window.until("return document.getElementById('offline').hidden")
            assert window.run("return window.kept")


def test_where_all_streams_are_taken_the_page_asks_now_and_then(
    tmp_path: Path, needs: Callable[[str], str]
) -> None:
    studio = Studio(tmp_path / "config", tmp_path / "data")
    studio.config.mkdir()
    (studio.config / "server.json").write_text('{"event_streams": 1}')
    studio.asset("shots/sh010.blend")
    (studio.data / "demo/project.json").write_text("{}")
    studio.token = People(Settings(studio.config)).make_token(user="supervisor")
    with serving(studio.config, studio.data) as studio.base:
        ask = urllib.request.Request(
            studio.base + "/api/events", headers={"Authorization": "Bearer " + studio.token}
        )
        with urllib.request.urlopen(ask), opened(studio.base, tmp_path / "profile", needs) as window:
            window.sign_in("Student")
            window.go("/p/demo/assets")
            window.until_text("tbody th", "sh010")
            studio.asset("shots/sh020.blend")
            window.until_text("tbody th", "sh020")
            assert not window.find("#offline").is_displayed()


def test_a_render_is_asked_for_with_the_settings_of_its_kind(studio: Studio, window: Window) -> None:
    """Given the form of a kind, when it is filled in by keyboard, then what is wrong is said before, and the
    render's page opens."""
    window.look(1280, "light")
    window.go(ASSET)
    window.button("Render\u2026").click()
    window.until("return location.pathname.includes('/render/')")
    window.button("Blender picture in parts").click()
    window.until_text("h2", "Blender picture in parts")
    across, frame = window.find("#s-columns"), window.find("#frames")
    frame.send_keys(Keys.CONTROL, "a")
    frame.send_keys("1-")
    window.until_text("#notices", "no frame range")
    frame.send_keys(Keys.CONTROL, "a")
    frame.send_keys("7")
    across.send_keys(Keys.CONTROL, "a")
    across.send_keys("99")
    window.until_text("#notices", "columns must be at most 16")
    across.send_keys(Keys.CONTROL, "a")
    across.send_keys("3")
    window.until("return !document.querySelector('#notices .bad')")
    across.send_keys(Keys.ENTER)
    window.until("return location.pathname.includes('/job/')")
    job = studio.ask("GET", "/api/jobs/" + window.run("return location.pathname.split('/').pop()"))
    try:
        assert (job["type"], job["frames"], job["total"]) == ("blender-tiles", "7", 7)
        assert [stage["tasks"] for stage in job["stages"]] == [6, 1]
    finally:
        studio.ask("DELETE", f"/api/jobs/{job['id']}")


BROKEN = """const list = document.querySelector('#pages ul'), more = list.lastElementChild.cloneNode(true);
more.firstChild.textContent = 'Problemen 12';
if (!list.querySelector('[href$=problems]')) list.append(more);
const words = document.createRange();
const lines = one => { words.selectNodeContents(one.firstChild); return words.getClientRects().length; };
const broken = [...list.querySelectorAll('a')].filter(one => lines(one) > 1).map(one => one.textContent);
return document.querySelector('.mast').offsetHeight > 64 ? [...broken, 'two rows'] : broken"""


def test_a_student_reads_another_language_and_it_fits_a_phone(window: Window) -> None:
    window.look(390, "light")
    try:
        for name, code, home, saved in (
            ("Français", "fr", "Accueil", "Enregistré"),
            ("Nederlands", "nl", "Begin", "Opgeslagen"),
        ):
            window.go("/me")
            Select(window.find("select[name=language]")).select_by_visible_text(name)
            window.find("form[action='/language'] button").click()
            window.until(f"return document.documentElement.lang == '{code}'")
            assert home in window.run("return document.querySelector('nav').textContent")
            wrong = []
            for page in ("/p/demo/assets", ASSET, "/p/demo/rendering", "/p/demo/new", "/p/demo/project"):
                window.go(page)
                wrong += [page] if window.run(SIDEWAYS) > 0 else []
                wrong += [f"{page}: smaller than a finger: {html}" for html in window.run(SMALL)]
            assert wrong == []
            window.look(1180, "light")
            window.go(ASSET)
            assert window.run(BROKEN) == []
            window.look(390, "light")
            window.go(ASSET)
            Select(window.find("#f-priority")).select_by_index(0 if code == "fr" else 1)
            window.until_text("output[for=f-priority]", saved)
    finally:
        window.go("/me")
        Select(window.find("select[name=language]")).select_by_visible_text("English")
        window.find("form[action='/language'] button").click()
        window.until("return document.documentElement.lang == 'en'")
