#!/usr/bin/env python3
"""How soon the page of files can be used in Chromium on a slow machine: four times slower than this one.

Time to interactive as browsers' own tools have it: from the start of the navigation until the page's scripts
have run and the last task of more than 50 ms before five quiet seconds has ended. Nothing is cached. Then a
person really uses it: a type is switched off, and the time until the count says so is told as well.
The ratio is 20,000 files to 255. Needs Debian's chromium and chromium-driver.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from assets_page import fetch, film, server, settled, token  # noqa: E402 - it lies beside this

SLOWER = 4
QUIET_S = 5.0
REST_S = 5.0
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WATCH = """
window.slow = [];
new PerformanceObserver((list) => list.getEntries().forEach((one) => slow.push(one.startTime + one.duration)))
  .observe({ type: "longtask", buffered: true });
"""
FACTS = """
const [page] = performance.getEntriesByType("navigation");
return page.loadEventEnd ? { interactive: Math.max(page.domContentLoadedEventEnd, ...slow),
  scripts: page.domContentLoadedEventEnd, now: performance.now(),
  painted: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0 } : null;
"""
USE = """
const done = arguments[arguments.length - 1];
const said = document.querySelector("[data-summary]");
const before = said.textContent, begun = performance.now();
new MutationObserver((_, all) => {
  if (said.textContent === before) return;
  all.disconnect();
  done(performance.now() - begun);
}).observe(said, { childList: true, characterData: true, subtree: true });
document.querySelector("a[data-solo]").click();
"""
SIGN_IN = """
const done = arguments[arguments.length - 1];
fetch("/api/session", { method: "POST", headers: { "Content-Type": "application/json" },
  body: JSON.stringify({ user: "student" }) }).then((answer) => done(answer.status));
"""


def opened(profile: Path) -> Any:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    driver.set_script_timeout(60)
    return driver


def at_rest(url: str, key: str) -> None:
    """Waits until the server has read all files, and nothing changes any more."""
    last, since, end = "", time.monotonic(), time.monotonic() + 600
    while time.monotonic() < end:
        told = json.loads(fetch(f"{url}/api/events?since={last}", key))["data"]["id"]
        if told != last:
            last, since = told, time.monotonic()
        elif time.monotonic() - since > REST_S:
            return
        time.sleep(0.5)
    raise SystemExit("The server doesn't come to rest.")


def measured(url: str, profile: Path, turns: int) -> dict[str, float]:
    """Medians in milliseconds."""
    from selenium.webdriver.support.ui import WebDriverWait

    driver = opened(profile)
    try:
        driver.get(url + "/sign-in")
        if driver.execute_async_script(SIGN_IN) != 200:
            raise SystemExit("Nobody could sign in.")
        driver.get(url + "/p/demo/assets")  # the browser's own first time counts for nobody
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        driver.execute_cdp_cmd("Network.enable", {})
        driver.execute_cdp_cmd("Network.setCacheDisabled", {"cacheDisabled": True})
        driver.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        found: list[dict[str, float]] = []
        for _ in range(turns):
            driver.get(url + "/p/demo/assets")

            def quiet(driver: Any) -> Any:
                facts = driver.execute_script(FACTS)
                return facts if facts and facts["now"] - facts["interactive"] > QUIET_S * 1000 else None

            facts = WebDriverWait(driver, 60, 0.5).until(quiet)
            facts["used"] = driver.execute_async_script(USE)
            found.append(facts)
    finally:
        driver.quit()
    return {
        name: round(statistics.median(one[name] for one in found))
        for name in ("painted", "scripts", "interactive", "used")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=255)
    parser.add_argument("--many", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=5)
    given = parser.parse_args()
    told: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="croft-interactive-") as folder:
        for count in (given.few, given.many):
            root = Path(folder) / str(count)
            film(root / "data", count, known=True)
            key = token(root)
            with server(root) as url:
                settled(f"{url}/p/demo/assets", count, key)
                at_rest(url, key)
                told[count] = measured(url, root / "profile", given.turns)
    few, many = told[given.few], told[given.many]
    absolute = {f"ms_of_{count}": one for count, one in told.items()} | {
        "slower": SLOWER, "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    ratio = round(many["interactive"] / few["interactive"], 2)
    print(json.dumps({"script": "interactive", "ratio": ratio, "absolute": absolute}))


if __name__ == "__main__":
    main()
