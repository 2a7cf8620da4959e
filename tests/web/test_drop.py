"""Dropping files in a real Chromium: folders, conflicts, broken connections, reloads, Add with a render."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys
from window import CLONE, SERVE, Window, opened

SCENE = b"BLENDER-v304" + b"ENDB" + bytes(20)
REAL = (Path(__file__).parents[1] / "library/blender-5.0.blend").read_bytes()
CHUNK = 1 << 14
PAGE = "/p/demo/drop"
ROW = "//li[@data-upload][.//h3='{name}']"
SLOW = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 150_000}
FAST = {**SLOW, "uploadThroughput": -1}
WIDTH = "return document.documentElement.scrollWidth"
TARGETS = "button, a.button, input:not([type=hidden], [type=checkbox]), select, summary"
SMALL = """return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())
  .map(e => [e.outerHTML.slice(0, 120), e.getBoundingClientRect()])
  .filter(([, box]) => box.height < 44 || box.width < 44).map(([html]) => html)"""
STATE = """return [...document.querySelectorAll('[data-upload]')]
  .find(e => e.querySelector('h3').textContent === arguments[0])?.dataset.state"""


def scene(content: bytes = b"") -> bytes:
    """A whole file, and none like it."""
    return SCENE[:12] + os.urandom(200) + content + SCENE[12:]


class Studio:
    """A server that can be killed and comes back on its port, and a folder of files to drop."""

    def __init__(self, folder: Path) -> None:
        self.config, self.data, self.desk = folder / "config", folder / "data", folder / "desk"
        self.config.mkdir()
        self.desk.mkdir()
        (self.data / "demo/shots").mkdir(parents=True)
        (self.data / "demo/project.json").write_text('{"title": "Foxes"}')
        text = {"site": "t", "settle_s": 0, "upload_chunk_bytes": CHUNK, "max_upload_bytes": 8_000_000}
        (self.config / "server.json").write_text(json.dumps(text))
        self.process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self) -> None:
        command = [sys.executable, "-c", SERVE, str(self.config), str(self.data), str(self.port)]
        self.process = subprocess.Popen(
            command, cwd=CLONE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().split("http://")[1].split()[0].rpartition(":")[2])
        self.drain = threading.Thread(target=self.process.stdout.read, daemon=True)
        self.drain.start()

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.drain.join(5)
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None

    def file(self, inside: str, content: bytes) -> Path:
        """A file on the student's own disk."""
        path = self.desk / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def there(self, inside: str) -> Path:
        return self.data / "demo" / inside


class Desk(Window):
    """A browser before the page Drop."""

    def drop(self, *paths: Path) -> None:
        """As from a file manager: files and folders."""
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for step in ("dragEnter", "dragOver", "drop"):
            event = {"type": step, "x": 300, "y": 200, "data": data}
            self.driver.execute_cdp_cmd("Input.dispatchDragEvent", event)

    def choose(self, *paths: Path, kind: str = "files") -> None:
        self.find(f"input[data-files={kind}]").send_keys("\n".join(str(path) for path in paths))

    def row(self, name: str) -> Any:
        return self.driver.find_element("xpath", ROW.format(name=name))

    def state(self, name: str, *wanted: str) -> None:
        """Waits until a file stands so."""
        self.until(f"const is = (() => {{ {STATE} }})(); return {json.dumps(wanted)}.includes(is)", name)

    def gone(self, name: str) -> None:
        self.until(f"return (() => {{ {STATE} }})() === undefined", name)

    def press(self, name: str, label: str) -> None:
        for button in self.row(name).find_elements("tag name", "button"):
            if button.text.startswith(label):
                self.run("arguments[0].scrollIntoView({block: 'center'})", button)
                button.click()
                return
        raise AssertionError(f"{name} has no {label!r}: {self.row(name).text}")

    def fill(self, name: str, field: str, text: str) -> None:
        control = self.row(name).find_element("name", field)
        if control.tag_name == "select":
            control.send_keys(text)
            return
        control.send_keys(Keys.CONTROL, "a")
        control.send_keys(text + Keys.TAB)

    def speed(self, conditions: dict[str, Any]) -> None:
        self.driver.execute_cdp_cmd("Network.enable", {})
        self.driver.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)

    def undo(self) -> None:
        """What was said last is taken back."""
        last = "[...document.querySelectorAll('.toast button')].findLast(e => e.textContent === 'Undo')"
        self.until(f"return {last}")
        self.run(f"{last}.click()")

    def fresh(self) -> None:
        """Nothing waits from the test before."""
        self.look(1280, "light")
        self.run("window.onbeforeunload = null")
        self.go(PAGE)
        self.driver.execute_async_script(
            """const done = arguments[0];
            const csrf = document.querySelector('meta[name="croft-csrf"]').content;
            (async () => {
              const { data } = await (await fetch('/api/uploads')).json();
              for (const { id } of data) {
                await fetch(`/api/uploads/${id}`, { method: 'DELETE', headers: { 'X-Croft-CSRF': csrf } });
              }
            })().then(done, done)"""
        )
        self.go(PAGE)
        self.logged()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    made = Studio(tmp_path_factory.mktemp("drop"))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def browser(
    studio: Studio, tmp_path_factory: pytest.TempPathFactory, needs: Callable[[str], str]
) -> Iterator[Desk]:
    base = f"http://127.0.0.1:{studio.port}"
    with opened(base, tmp_path_factory.mktemp("profile"), needs) as made:
        desk = Desk(made.driver, base)
        desk.look(1280, "light")
        desk.sign_in("Student")
        yield desk


@pytest.fixture
def desk(browser: Desk) -> Desk:
    browser.fresh()
    return browser


def test_checksums_are_the_ones_that_everybody_knows(desk: Desk) -> None:
    blob = os.urandom(1000)
    found = desk.driver.execute_async_script(
        """const [hex, done] = arguments;
        import('/static/send.js').then(({ crc32 }) => {
          const bytes = Uint8Array.from(hex.match(/../g), (two) => parseInt(two, 16));
          return [crc32(new TextEncoder().encode('123456789')), crc32(bytes), crc32(new Uint8Array(0))];
        }).then(done, (error) => done(String(error)))""",
        blob.hex(),
    )
    assert found == ["cbf43926", f"{zlib.crc32(blob):08x}", "00000000"]


def test_a_folder_keeps_its_paths_and_says_what_it_leaves_out(studio: Studio, desk: Desk) -> None:
    studio.file("props/cup.blend", REAL)
    (studio.desk / "props/tex/wood").mkdir(parents=True)
    Image.new("RGB", (320, 180), "#8a5300").save(studio.desk / "props/tex/wood/oak.png")
    for junk in (".DS_Store", "tex/Thumbs.db", "cup.blend1", "run.exe", "render/cup0001.png"):
        studio.file(f"props/{junk}", b"x")
    studio.file("props/tex/huge.png", bytes(8_000_001))
    desk.drop(studio.desk / "props", studio.file("alone.blend", scene()))
    for name in ("cup.blend", "oak.png", "alone.blend"):
        desk.state(name, "ready")
    left = desk.find("#left-out").text
    for name in (
        ".DS_Store",
        "Thumbs.db",
        "cup.blend1",
        "run.exe",
        "cup0001.png",
        "huge.png (9 MB)",
        "at most 8.0 MB",
    ):
        assert name in left, left
    assert "320 × 180" in desk.row("oak.png").text
    assert "Blender 5.0" in desk.row("cup.blend").text
    desk.until("return [...document.querySelectorAll('.upload img')].some(e => e.naturalWidth > 1)")
    assert not studio.there("shots/props/cup.blend").exists()
    desk.button("Add all 3").click()
    desk.until_text("#toasts", "3 files were added.")
    desk.until("return !document.querySelector('[data-upload]')")
    assert studio.there("shots/props/cup.blend").read_bytes() == REAL
    assert studio.there("shots/props/tex/wood/oak.png").exists()
    record = json.loads(studio.there("shots/props/cup.blend.json").read_text())
    assert (record["owner"], record["type"]) == ("student", "prop"), "its folder says what it is"
    assert "cup.blend" in desk.find(".added").text
    assert desk.logged() == []


def test_fields_are_corrected_before_it_is_added(studio: Studio, desk: Desk) -> None:
    desk.choose(studio.file("draft.blend", scene()))
    desk.state("draft.blend", "ready")
    desk.fill("draft.blend", "name", "fox")
    desk.state("fox.blend", "ready")
    desk.fill("fox.blend", "path", "characters/fox")
    desk.until("return document.querySelector('select[name=type]').value == 'char'")
    desk.fill("fox.blend", "type", "Set")
    desk.until_text("output", "Saved")
    desk.press("fox.blend", "Add")
    desk.gone("fox.blend")
    record = json.loads(studio.there("characters/fox/fox.blend.json").read_text())
    assert (record["type"], record["name"]) == ("set", "Fox")
    assert desk.logged() == []


def test_a_name_that_is_there_offers_three_ways(studio: Studio, desk: Desk) -> None:
    contents = {name: scene() for name in ("a.blend", "b.blend", "c.blend")}
    for name in contents:
        studio.there("shots").mkdir(exist_ok=True)
        studio.there(f"shots/{name}").write_bytes(scene(b"theirs"))
    desk.choose(*(studio.file(name, content) for name, content in contents.items()))
    for name in contents:
        desk.state(name, "needs")
        assert f"{name} is there already" in desk.row(name).text
    before = studio.there("shots/a.blend").read_bytes()
    desk.press("a.blend", "Make it a new version")
    desk.state("a.blend", "ready")
    desk.press("a.blend", "Add")
    desk.gone("a.blend")
    assert studio.there("shots/a.blend").read_bytes() == contents["a.blend"]
    kept = [path.read_bytes() for path in studio.there("shots/old").rglob("a.blend") if path.is_file()]
    assert kept == [before]
    desk.press("b.blend", "Call mine b-2.blend")
    desk.state("b-2.blend", "ready")
    desk.press("b-2.blend", "Add")
    desk.gone("b-2.blend")
    assert studio.there("shots/b-2.blend").read_bytes() == contents["b.blend"]
    desk.press("c.blend", "Discard mine")
    desk.gone("c.blend")
    desk.undo()
    desk.state("c.blend", "needs")
    assert studio.there("shots/c.blend").read_bytes() != contents["c.blend"]
    assert desk.logged() == []


def test_the_same_that_is_there_is_not_sent_at_all(studio: Studio, desk: Desk) -> None:
    content = scene(bytes(100_000))
    studio.there("shots/same.blend").write_bytes(content)
    desk.asked()
    desk.choose(studio.file("same.blend", content))
    desk.until_text("#toasts", "same.blend: the same is there already.")
    assert not [url for url in desk.asked() if "offset=" in url]
    desk.until("return !document.querySelector('[data-upload]')")


def test_a_killed_server_is_gone_on_with(studio: Studio, desk: Desk) -> None:
    content = scene(os.urandom(20 * CHUNK))
    desk.speed(SLOW)
    try:
        desk.choose(studio.file("long.blend", content))
        desk.until("return document.querySelector('#sending li progress')?.value > 40000")
        studio.stop(signal.SIGKILL)
        desk.until_text("#sending", "The connection is lost. It goes on by itself.")
        studio.start()
        desk.speed(FAST)
        desk.state("long.blend", "ready")
    finally:
        desk.speed(FAST)
    desk.press("long.blend", "Add")
    desk.gone("long.blend")
    assert studio.there("shots/long.blend").read_bytes() == content
    desk.logged()


def test_after_a_reload_the_same_file_goes_on_and_another_begins_anew(studio: Studio, desk: Desk) -> None:
    content = scene(os.urandom(20 * CHUNK))
    path = studio.file("reload.blend", content)
    desk.speed(SLOW)
    try:
        desk.choose(path)
        desk.until("return document.querySelector('#sending li progress')?.value > 60000")
        desk.driver.refresh()
        desk.until_text("[data-upload]", "drop or choose reload.blend once more: it goes on from there.")
    finally:
        desk.speed(FAST)
    percent = desk.run("return parseInt(document.querySelector('[data-upload] p').textContent)")
    here = percent * len(content) // 100
    assert here >= CHUNK
    desk.asked()
    desk.choose(path)
    desk.state("reload.blend", "ready")
    offsets = [int(url.split("offset=")[1].split("&")[0]) for url in desk.asked() if "offset=" in url]
    assert min(offsets) >= here > 0  # a part that was on its way may have come since
    desk.press("reload.blend", "Add")
    desk.gone("reload.blend")
    assert studio.there("shots/reload.blend").read_bytes() == content

    # The same name, size and time, but not the same bytes.
    first, second = scene(os.urandom(20 * CHUNK)), scene(os.urandom(20 * CHUNK))
    path = studio.file("other.blend", first)
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    desk.speed(SLOW)
    try:
        desk.choose(path)
        desk.until("return document.querySelector('#sending li progress')?.value > 60000")
        desk.driver.refresh()
        desk.until_text("[data-upload]", "once more")
    finally:
        desk.speed(FAST)
    path.write_bytes(second)
    os.utime(path, ns=times)
    desk.choose(path)
    desk.state("other.blend", "ready")
    desk.press("other.blend", "Add")
    desk.gone("other.blend")
    assert studio.there("shots/other.blend").read_bytes() == second
    desk.logged()


def test_it_is_paused_gone_on_with_and_stopped_by_keyboard(studio: Studio, desk: Desk) -> None:
    desk.speed(SLOW)
    try:
        desk.choose(*(studio.file(f"{n}.blend", scene(os.urandom(30 * CHUNK))) for n in ("one", "two")))
        desk.until("return document.querySelectorAll('#sending li [name=pause]').length == 2")
        desk.until_text("#sending", "2 files on their way")
        desk.find("#sending li [name=pause]").send_keys(Keys.ENTER)
        desk.until_text("#sending li", "paused at")
        desk.until("return document.activeElement.textContent.startsWith('Go on')")
        desk.find("#sending [data-pause]").send_keys(Keys.ENTER)
        desk.until("return document.querySelectorAll('#sending li .paused').length == 2")
        desk.find("#sending [data-pause]").send_keys(Keys.ENTER)
        desk.until("return !document.querySelector('#sending li .paused')")
        desk.all("#sending li [name=stop]")[1].click()
        desk.gone("two.blend")
        desk.undo()
        desk.state("two.blend", "receiving", "checking", "ready")
    finally:
        desk.speed(FAST)
    desk.state("one.blend", "ready")
    desk.state("two.blend", "ready")
    desk.until_text("#toasts", "2 files sent.")
    desk.press("two.blend", "Remove")
    desk.gone("two.blend")


def test_a_scene_is_added_and_rendered(studio: Studio, desk: Desk) -> None:
    desk.choose(studio.file("walk.blend", REAL))
    desk.state("walk.blend", "ready")
    desk.row("walk.blend").find_element("css selector", "[type=checkbox]").send_keys(Keys.SPACE)
    desk.until_text("output", "Saved")
    desk.press("walk.blend", "Add")
    desk.until_text("#toasts", "It waits to be rendered.")
    desk.go("/p/demo/rendering")
    desk.until_text(".job h3", "walk")


def test_numbered_pictures_are_one_thing(studio: Studio, desk: Desk) -> None:
    (studio.desk / "plates").mkdir()
    for number in (1, 2, 4, 5):
        Image.new("RGB", (64, 36), (number * 40, 0, 0)).save(studio.desk / f"plates/sky.{number:04d}.png")
    desk.drop(studio.desk / "plates")
    name = "sky.0001.png to sky.0005.png"
    desk.state(name, "ready")
    assert len(desk.all("[data-upload]")) == 1
    told = desk.row(name).text
    for part in ("4", "1 to 5", "Missing", "64 × 36"):
        assert part in told, told
    desk.press(name, "Remove")
    desk.gone(name)
    desk.until_text("#toasts", "4 pictures won’t be added.")
    desk.undo()
    desk.state(name, "ready")
    desk.fill(name, "path", "plates")
    desk.until_text("output", "Saved")
    desk.press(name, "Add")
    desk.until_text("#toasts", "4 files were added.")
    assert len(list(studio.there("plates").glob("sky.*.png"))) == 4
    assert json.loads(studio.there("plates/sky.@.png.json").read_text())["owner"] == "student"
    desk.logged()


def test_what_is_dropped_on_the_files_is_added_at_once(studio: Studio, desk: Desk) -> None:
    desk.go("/p/demo/assets")
    content = scene()
    desk.drop(studio.file("quick.blend", content))
    desk.until_text("#toasts", "quick.blend is in shots.")
    desk.until_text("tbody th", "quick")
    assert studio.there("shots/quick.blend").read_bytes() == content
    desk.choose(studio.file("quick.blend", scene()))
    desk.until_text("#sending .needs", "quick.blend is there already.")
    assert studio.there("shots/quick.blend").read_bytes() == content
    desk.find("#sending a").click()
    desk.state("quick.blend", "needs")
    assert desk.violations() == []


def test_with_files_that_wait_it_is_accessible_and_fits(studio: Studio, desk: Desk, tmp_path: Path) -> None:
    studio.there("shots/there.blend").write_bytes(scene())
    studio.file("set/a-rather-long-name-of-a-scene-that-nobody-would-choose.blend", REAL)
    studio.there("shots/a-rather-long-name-of-a-scene-that-nobody-would-choose.blend").write_bytes(scene())
    copied = "a-rather-long-name-of-a-scene-that-nobody-would-choose (1).blend"
    studio.file(f"set/{copied}", REAL)
    studio.file("set/there.blend", REAL)
    studio.file("set/cut.blend", REAL[: len(REAL) // 2])
    desk.choose(*sorted((studio.desk / "set").iterdir()))
    desk.state("there.blend", "needs")
    desk.state("cut.blend", "needs")
    assert "cut off" in desk.row("cut.blend").text
    desk.state("a-rather-long-name-of-a-scene-that-nobody-would-choose.blend", "needs")
    desk.state(copied, "ready")
    assert "it is a copy of" in desk.row(copied).text
    wrong: list[str] = []
    for width in (1280, 390):
        for scheme in ("light", "dark"):
            desk.look(width, scheme)
            wrong += [f"{width} {scheme}: {found}" for found in desk.violations()]
            if desk.run(WIDTH) > width:
                wrong.append(f"at {width} it is {desk.run(WIDTH)} wide")
            wrong += [f"{width}: smaller than a finger: {html}" for html in desk.run(SMALL, TARGETS)]
            desk.driver.save_screenshot(str(tmp_path / f"drop-{width}-{scheme}.png"))
    assert wrong == []
    desk.look(1280, "light")
