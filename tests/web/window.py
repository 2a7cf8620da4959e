"""A real browser before a real server: Chromium, driven through its own protocol."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CLONE = Path(__file__).resolve().parents[2]
FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--hide-scrollbars", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SERVE = (
    "import sys; from server.web.serve import serve; sys.exit(serve(*sys.argv[1:3], port=int(sys.argv[3])))"
)
HOLDS = "return [...document.querySelectorAll(arguments[0])].some(e => e.textContent.includes(arguments[1]))"
STILL = """const still = new CSSStyleSheet();
still.replaceSync('*, ::before, ::after { animation: none !important; }');
document.adoptedStyleSheets.push(still);"""
RUN_AXE = """const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ['violations']}).then(r => done(r.violations), e => done(String(e)))"""
WAIT_S = 20.0
BUTTON_S = 5.0  # a page that is being brought up to date has its buttons soon


@contextmanager
def serving(config: Path, data: Path, port: int = 0) -> Iterator[str]:
    """The server as people run it, in a process of its own; its address."""
    command = [sys.executable, "-c", SERVE, str(config), str(data), str(port)]
    log = config.with_name(f"server-{os.urandom(3).hex()}.log")
    with log.open("wb") as errors, subprocess.Popen(
        command, cwd=CLONE, stdout=subprocess.PIPE, stderr=errors, text=True
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert "http://" in line, f"the server didn't start: {log.read_text()[-2000:]}"
            drain = threading.Thread(target=process.stdout.read, daemon=True)
            drain.start()
            yield "http://" + line.split("http://")[1].split()[0]
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            drain.join(5)


class Window:
    """One browser. Waits for what is expected instead of sleeping."""

    def __init__(self, driver: Any, base: str) -> None:
        self.driver = driver
        self.base = base

    def look(self, width: int, scheme: str) -> None:
        """The window's width, and dark or light."""
        command = self.driver.execute_cdp_cmd
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        command("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        command("Emulation.setDeviceMetricsOverride", size)

    def go(self, path: str) -> None:
        self.driver.get(self.base + path)
        self.until("return document.readyState == 'complete'")

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str, *arguments: Any, seconds: float = WAIT_S) -> Any:
        """The script's value as soon as it is true."""
        from selenium.webdriver.support.ui import WebDriverWait

        def check(driver: Any) -> Any:
            return driver.execute_script(script, *arguments)

        return WebDriverWait(self.driver, seconds, 0.05).until(check, f"never true: {script}")

    def wait(self, check: Callable[[], Any], seconds: float = WAIT_S) -> Any:
        """What this says as soon as it is true, where the page runs no scripts and may be loading."""
        from selenium.common.exceptions import WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        ignored = [WebDriverException]
        return WebDriverWait(self.driver, seconds, 0.05, ignored_exceptions=ignored).until(lambda _: check())

    def until_text(self, selector: str, text: str, seconds: float = WAIT_S) -> None:
        """Waits until an element of that selector holds the text."""
        self.until(HOLDS, selector, text, seconds=seconds)

    def find(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements("css selector", selector))

    def button(self, text: str) -> Any:
        """The visible button or link whose text begins so, as soon as it is there."""
        from selenium.common.exceptions import StaleElementReferenceException

        end = time.monotonic() + BUTTON_S
        while time.monotonic() < end:
            # Race: the page may change while its buttons are listed.
            with suppress(StaleElementReferenceException):
                for element in self.all("button, a.button, a.tile"):
                    lines = element.text.splitlines() if element.is_displayed() else []
                    if any(line.startswith(text) for line in lines):
                        self.run("arguments[0].scrollIntoView({block: 'center'})", element)
                        return element
            time.sleep(0.05)
        raise AssertionError(f"no button {text!r} on {self.driver.current_url}")

    def sign_in(self, name: str) -> None:
        self.go("/sign-in")
        self.button(name).click()
        self.until("return location.pathname != '/sign-in'")

    def logged(self) -> list[str]:
        """What the browser has complained of since the last look."""
        return [f"{entry['level']} {entry['message']}" for entry in self.driver.get_log("browser")]

    def asked(self) -> list[str]:
        """Every address that was asked for since the last look."""
        found = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(str(message["params"]["request"]["url"]))
        return found

    def violations(self) -> list[str]:
        """What axe-core finds wrong with the page: rule, and where."""
        # What appears is see-through for a moment, and of less contrast: also what appears while axe looks.
        self.run(STILL)
        self.run(axe())
        found = self.driver.execute_async_script(RUN_AXE)
        self.run("document.adoptedStyleSheets.pop()")
        assert isinstance(found, list), found
        return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


@contextmanager
def opened(base: str, profile: Path, needs: Callable[[str], str]) -> Iterator[Window]:
    """A fresh Chromium."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = needs("chromium")
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(needs("chromedriver")))
    driver.set_script_timeout(30)
    try:
        yield Window(driver, base)
    finally:
        driver.quit()


def axe() -> str:
    """axe-core's source, from the Python package that carries it, whose own code isn't needed."""
    spec = importlib.util.find_spec("axe_playwright_python")
    assert spec is not None
    assert spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text("utf-8")
