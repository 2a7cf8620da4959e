"""An admin's path in a real Chromium: from the one-time code to a rendered frame.

A server without a folder of its own, a computer that joins by the line that the page shows, a real Blender.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from window import CLONE, Window, opened

from server.cli.children import Child
from server.web.session import CODE_FILE

SERVE = "import sys; from server.web.serve import serve; sys.exit(serve(sys.argv[1], None, port=0))"
OPEN_ALL = "document.querySelectorAll('.setup details').forEach(d => { d.open = true })"
SIDEWAYS = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
TAPPED = "main button, main a.button, main input:not([type=hidden], [type=checkbox]), main summary"
SMALL = """return [...document.querySelectorAll(arguments[0])]
  .filter(e => e.checkVisibility()).map(e => [e.outerHTML.slice(0, 120), e.getBoundingClientRect()])
  .filter(([, box]) => box.height < 44).map(([html]) => html)"""
RENDER_S = 50.0


class Admin:
    """A person before the page."""

    def __init__(self, window: Window) -> None:
        self.window = window

    def step(self, ident: str, word: str, seconds: float = 20.0) -> None:
        """Wait until a step is called right, to do or not right."""
        script = (
            "const s = document.querySelector(arguments[0]); return s && s.textContent.includes(arguments[1])"
        )
        self.window.until(script, f"#s-{ident} summary .s", word, seconds=seconds)

    def says(self, ident: str, text: str, seconds: float = 20.0) -> None:
        self.window.until_text(f"#s-{ident}", text, seconds=seconds)

    def type(self, ident: str, field: str, text: str) -> None:
        self.open(ident)
        element = self.window.find(f"#s-{ident} [name={field}]")
        self.window.run("arguments[0].scrollIntoView({block: 'center'})", element)
        element.clear()
        element.send_keys(text)

    def press(self, ident: str, words: str) -> None:
        self.open(ident)
        for button in self.window.all(f"#s-{ident} button"):
            if button.text.startswith(words):
                self.window.run("arguments[0].scrollIntoView({block: 'center'})", button)
                button.click()
                return
        raise AssertionError(f"no button {words!r} in the step {ident}")

    def open(self, ident: str) -> None:
        self.window.run(f"document.querySelector('#d-{ident}').open = true")


@pytest.fixture
def place() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("giving folders to others needs root")
    with tempfile.TemporaryDirectory(prefix="croft-setup-") as folder:
        yield Path(folder)


@pytest.fixture
def film(place: Path) -> Path:
    made = place / "film"
    made.mkdir()
    os.chown(made, 0, 100)
    made.chmod(0o2775)
    return made


@pytest.fixture
def server(place: Path) -> Iterator[tuple[str, Path]]:
    """The address and the configuration of a server that nobody has set up."""
    config = place / "config"
    (config / "shares").mkdir(parents=True)
    (config / "shares" / "data.json").write_text(f'{{"path": "{place}/trial"}}')
    with Child("server", [sys.executable, "-c", SERVE, str(config)], place / "server.log") as child:
        line = child.wait_for_first_line(30)
        yield "http://" + line.split("http://")[1].split()[0], config


@contextmanager
def computer(line: str, home: Path) -> Iterator[None]:
    """Another computer, on which somebody pasted the line and named the folder."""
    home.mkdir()
    environment = {**os.environ, "HOME": str(home)}
    environment.pop("CROFT_VENV", None)
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", line], cwd=home, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.timeout(150)
def test_from_the_code_to_a_rendered_frame(
    server: tuple[str, Path], film: Path, place: Path, needs: Callable[[str], str]
) -> None:
    needs("blender")
    base, config = server
    with opened(base, place / "profile", needs) as window:
        admin = Admin(window)
        window.look(1280, "light")
        window.go("/")
        window.button("Set Croft up").click()
        window.until("return location.pathname == '/setup'")
        code = (config / CODE_FILE).read_text().split("\n")[0]
        window.find("[name=code]").send_keys(code)
        window.button("Begin").click()
        window.until("return location.pathname == '/setup' && !!document.querySelector('.setup')")

        admin.type("you", "password", "correct horse")
        admin.press("you", "Set the password")
        admin.step("you", "Right")

        # A wrong folder is refused beside its field; the right one is taken by a server that starts again.
        admin.type("pool", "path", str(CLONE / "tests"))
        admin.press("pool", "Use this folder")
        admin.says("pool", "which is Croft's own")
        admin.type("pool", "path", str(film))
        admin.press("pool", "Use this folder")
        window.until_text("#toasts", "Croft starts again with it")
        admin.step("pool", "Right", seconds=30)
        assert (film / ".croft-share.json").exists()

        admin.type("people", "list", "Ana, a n a")
        admin.press("people", "Add them")
        admin.says("people", "Line 1: 'a n a' can't be an ident")
        admin.type("people", "list", "Ana Schmidt, ana\nMr Bo, bo, supervisor")
        admin.press("people", "Add them")
        admin.says("people", "1 student and 1 supervisor.")

        admin.press("nodes", "Make the line")
        window.until("return document.querySelectorAll('#s-nodes .copy code').length > 1")
        line = window.run("return document.querySelector('#s-nodes .copy code').textContent")
        with computer(f"{line} {film}", place / "atom"):
            admin.says("nodes", "answers, sees the same folder, and has blender", seconds=30)
            admin.press("render", "Start a test render")
            admin.says("render", "4 frames were rendered by", seconds=RENDER_S)
            admin.step("render", "Right")
        assert len(list((film / "croft-test" / "render" / "test" / "v001").glob("*.png"))) == 4

        admin.press("speed", "Measure")
        admin.says("speed", "a class")

        wrong = []
        for width in (1280, 390):
            for scheme in ("light", "dark"):
                window.look(width, scheme)
                window.go("/setup")
                window.run(OPEN_ALL)
                wrong += [f"{width} {scheme}: {found}" for found in window.violations()]
                wrong += [
                    f"{width} {scheme}: smaller than a finger: {html}" for html in window.run(SMALL, TAPPED)
                ]
                assert window.run(SIDEWAYS) <= 0
        assert wrong == []
