"""How soon a file that is copied onto the share shows in the API, through the real server.

Files are copied one after the other, each in pieces over some tenths of a second, as a network does. Asked
every 10 ms: `arriving` counts from the copy's first byte, `usable` (status ok) from its last. Beside it the
least that is possible: the quiet time after which a copy counts as over. Prints one JSON line; `ratio` is
the 95th of 100 usable times over that quiet time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

CLONE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CLONE))

from performance.assets_page import film, server  # noqa: E402

ARRIVING_S, USABLE_S = 1.0, 3.0
PIECE = 256 << 10
PIECES = 12
TOGETHER = 4  # copies going on at once


def ask(url: str, token: str) -> str:
    """The asset's status in the API; empty while it isn't known."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request) as answer:
            return str(json.load(answer)["data"]["status"])
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return ""
        raise


def make_token(root: Path) -> str:
    """A token of the user admin, from the command line."""
    command = [sys.executable, str(CLONE / "run.py"), "token", "admin", "--config", str(root / "config")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1]


def copy(path: Path) -> None:
    """Writes a scene in pieces over 0.3 s, its end last."""
    with open(path, "wb", buffering=0) as file:
        file.write(b"BLENDER-v304")
        for _ in range(PIECES):
            file.write(os.urandom(PIECE))
            time.sleep(0.025)
        file.write(b"\0" * 4 + b"ENDB" + b"\0" * 20)


class Copy(threading.Thread):
    """One file: copied, and asked for until it is usable."""

    def __init__(self, folder: Path, api: str, token: str, number: int) -> None:
        super().__init__()
        self.path = folder / f"new{number:04d}.blend"
        self.url = f"{api}/api/assets/data::demo/shots/{self.path.name}"
        self.token = token
        self.arriving_s = self.usable_s = float("inf")
        self.ended = 0.0

    def run(self) -> None:
        begun = time.monotonic()
        writer = threading.Thread(target=self._write)
        writer.start()
        while time.monotonic() - begun < 30:
            status = ask(self.url, self.token)
            now = time.monotonic()
            if status and self.arriving_s == float("inf"):
                self.arriving_s = now - begun
            if status == "ok" and self.ended:
                self.usable_s = now - self.ended
                break
            time.sleep(0.01)
        writer.join()

    def _write(self) -> None:
        copy(self.path)
        self.ended = time.monotonic()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100)
    parser.add_argument("--assets", type=int, default=1000, help="that lie on the share already")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="croft-freshness-") as folder:
        root = Path(folder)
        film(root / "data", chosen.assets)
        (root / "data/demo/shots").mkdir(exist_ok=True)
        with server(root) as api:
            token = make_token(root)
            copies = [Copy(root / "data/demo/shots", api, token, n) for n in range(chosen.files)]
            for at in range(0, len(copies), TOGETHER):
                for one in copies[at : at + TOGETHER]:
                    one.start()
                for one in copies[at : at + TOGETHER]:
                    one.join()
        quiet_s = float(json.loads((root / "config/server.json").read_text())["settle_s"])
    arriving = sorted(one.arriving_s for one in copies)
    usable = sorted(one.usable_s for one in copies)
    nth = max(0, round(len(copies) * 0.95) - 1)
    result = {
        "script": "freshness",
        "ratio": round(usable[nth] / quiet_s, 2),
        "absolute": {
            "arriving": f"95 of 100 within {arriving[nth]:.2f} s, median {statistics.median(arriving):.2f} s",
            "usable": f"95 of 100 within {usable[nth]:.2f} s, median {statistics.median(usable):.2f} s",
            "slowest": f"arriving {arriving[-1]:.2f} s, usable {usable[-1]:.2f} s",
        },
        "within": {
            "arriving": sum(1 for s in arriving if s <= ARRIVING_S),
            "usable": sum(1 for s in usable if s <= USABLE_S),
            "of": len(copies),
        },
        "reach": "arriving within 1 s, usable within 3 s after the copy ended, for 95 of 100",
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
