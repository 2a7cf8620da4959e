#!/usr/bin/env python3
"""Every page at 255 and at 20,000 assets: requests a second and bytes, HTML alone, through the real server.

An admin looks, who is shown the most. The ratio is that of the page which suffers most from many assets: its
requests a second at 20,000 to those at 255. Needs Debian's package wrk.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import urllib.error
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

from assets_page import fetch, film, rate_of_server, server, settled  # noqa: E402 - it lies beside this
from interactive import at_rest  # noqa: E402

ASSET = "/p/demo/asset/shots/000/shot000000.blend"
PAGES = (
    "/", "/sign-in", "/me", "/search?q=shot", "/history", "/rendering", "/problems", "/computers",
    "/statistics", "/admin", "/admin/users", "/admin/projects", "/admin/configuration", "/p/demo/home",
    "/p/demo/assets", "/p/demo/assets?rows=255", "/p/demo/assets?view=thumbs", "/p/demo/assets?view=sheet",
    "/p/demo/assets?q=hero+state:done&sort=-priority", "/p/demo/new", "/p/demo/team", "/p/demo/shots",
    "/p/demo/project", "/p/demo/credits", "/p/demo/rendering", "/p/demo/history", "/p/demo/drop",
    "/p/demo/search?q=shot", "/p/demo/notes", "/p/demo/problems", "/p/demo/deleted", "/p/demo/statistics",
    ASSET,
)  # fmt: skip


def measured(count: int, seconds: float) -> dict[str, tuple[int, int]]:
    """Requests a second and bytes of each page that there is."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="croft-pages-") as folder:
        root = Path(folder)
        film(root / "data", count, known=True)
        key = token(root)
        with server(root) as url:
            settled(f"{url}/p/demo/assets", count, key)
            at_rest(url, key)
            for page in PAGES:
                try:
                    length = len(fetch(url + page, key))
                except urllib.error.HTTPError as error:
                    if error.code != 404:
                        raise SystemExit(f"{page} answers {error.code}.") from error
                    continue
                found[page] = (round(rate_of_server(url + page, seconds, key)), length)
                if sys.stderr.isatty():
                    print(page, *found[page], file=sys.stderr)
    return found


def token(root: Path) -> str:
    """An admin's."""
    from server.disk.settings import Settings
    from server.library.people import People

    return People(Settings(root / "config")).make_token(user="admin")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=255)
    parser.add_argument("--many", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=2)
    given = parser.parse_args()
    few, many = measured(given.few, given.seconds), measured(given.many, given.seconds)
    ratios = {page: many[page][0] / max(1, few[page][0]) for page in few}
    worst = min(ratios, key=lambda page: ratios[page])
    absolute = {
        page: {"per_second": [few[page][0], many[page][0]], "bytes": [few[page][1], many[page][1]]}
        for page in few
    }
    print(json.dumps({
        "script": "pages", "ratio": round(ratios[worst], 2), "worst": worst,
        "assets": [given.few, given.many], "absolute": absolute, "load": round(os.getloadavg()[0], 1),
    }))  # fmt: skip


if __name__ == "__main__":
    main()
